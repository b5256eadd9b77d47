/*
 * upkeep.h - what must be done now and then: holds that are over, jobs that
 * expire, old jobs to be removed, the WAL to be emptied, unused room to be
 * given back.
 *
 * Short transactions on timers, each only when its look found something.
 */
#ifndef FOREMAN_WORKER_UPKEEP_H
#define FOREMAN_WORKER_UPKEEP_H

#include "base/attr.h"
#include "base/err.h"
#include "core/conf.h"
#include "http/loop.h"
#include "store/db.h"

#include <stdbool.h>
#include <stdint.h>

struct upkeep;

struct upkeep_calls {
	void (*released)(void *arg); /* held jobs may run again */
	void (*expired)(void *arg);  /* waiting jobs have failed */
	bool (*busy)(void *arg);     /* does a job run? */
};

enum err upkeep_new(struct loop *l, struct db *db, const struct conf *conf,
                    const struct upkeep_calls *calls, void *arg,
                    struct upkeep **out) MUST_CHECK;
void upkeep_free(struct upkeep *u); /* NULL is fine */

/* A job has been put on hold until then (wall). */
void upkeep_held(struct upkeep *u, int64_t until_ms);
/* The clocks have jumped: every look is due. */
void upkeep_look(struct upkeep *u);

/* Has this host slept since *gap_ms (boot - mono) was last noted here? For how
 * long; 0: no, or less than LIMIT_SLEPT_MS since the last that was told. The
 * wall clock has no say: it may be set. */
int64_t upkeep_slept_ms(int64_t *gap_ms);

/* Shall that checkpoint give the file's room back as well? When nothing goes on
 * anyway, and when it has become large. */
bool upkeep_wal_shrink(int64_t bytes);

/* Is it time to checkpoint? Pure: so many bytes in the WAL now, so many at the
 * last look, and unchanged for so long. */
bool upkeep_wal_due(int64_t bytes, int64_t bytes_before, int64_t unchanged_ms);

#endif
