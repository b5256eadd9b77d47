/*
 * run.h - one job's life at the target. There is only ever one.
 *
 *   idle ──start──► sending ──head──► answering ──end──► settling ──► idle
 *                      │                                    ▲
 *                      └──── end, or stopped by foreman ────┘
 *
 * sending: claimed (`loading`), the target has not answered. answering: it
 * does; a 2xx is `working`. settling: the transfer is closed and the verdict
 * is being committed; while the disk refuses, again every
 * LIMIT_SETTLE_RETRY_MS, so that what the target has done is not lost.
 */
#ifndef FOREMAN_WORKER_RUN_H
#define FOREMAN_WORKER_RUN_H

#include "base/attr.h"
#include "base/err.h"
#include "core/conf.h"
#include "http/loop.h"
#include "store/db.h"
#include "worker/relay.h"
#include "worker/reply.h"
#include "worker/target.h"
#include "worker/verdict.h"

#include <stdbool.h>
#include <stdint.h>

struct run;

/* What a run uses; all of it outlives the run. */
struct run_env {
	struct loop *loop;
	struct db *db;
	const struct conf *conf;
	struct target *target;
	struct replies *replies;
	struct relay *relay;
};

/* Both may come from inside a transfer's callback: they must not start or stop
 * one. */
struct run_calls {
	void (*moved)(void *arg); /* a move was committed; a webhook may be owed */
	/* The target answers, yet nothing came of this model: it should be unloaded
	 * before anything else runs. Comes before `over`. */
	void (*wedged)(void *arg, const char *model);
	/* The job is settled; it will not run again before hold_until_ms (wall,
	 * 0: no hold). */
	void (*over)(void *arg, int64_t hold_until_ms);
};

enum err run_new(const struct run_env *env, const struct run_calls *calls,
                 void *arg, struct run **out) MUST_CHECK;
void run_free(struct run *r); /* tears down what runs, settles nothing */

bool run_busy(const struct run *r);
/* The running job's id, or NULL. */
const char *run_id(const struct run *r);
/* Is its verdict being committed? Then run_stop comes too late. */
bool run_settling(const struct run *r);

/* Claim the job and send it. ERR_STALE: it is not queued any more. Only when
 * nothing is busy. After ERR_OK, `over` will come, maybe at once. */
enum err run_start(struct run *r, int64_t seq, struct errtext *why) MUST_CHECK;

/* Tear the transfer down for this reason and settle. Not from inside a
 * transfer's callback. */
void run_stop(struct run *r, enum run_stop stop);

#endif
