/*
 * deliver.h - webhooks: what is owed is posted, beside the running job.
 *
 * Standard Webhooks 1.0.0. At most LIMIT_WEBHOOK_FLIGHTS at once and
 * LIMIT_WEBHOOK_PER_HOST to one receiver; the store hands out a job's
 * webhooks one after the other, so their order holds. A delivery is settled
 * in the store when its answer is known: made but not settled (a crash), it
 * is made again under the same id.
 */
#ifndef FOREMAN_WORKER_DELIVER_H
#define FOREMAN_WORKER_DELIVER_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "core/conf.h"
#include "http/guard.h"
#include "http/loop.h"
#include "http/xfer.h"
#include "store/db.h"

#include <stdbool.h>
#include <stdint.h>

/* --- pure parts ------------------------------------------------------------ */

/*
 * The webhook-signature of these bytes, appended to `out`: "v1,<base64>" for
 * each of the space-separated secrets "whsec_<base64>". ERR_INVAL: one of
 * them is not of that form; then nothing was appended.
 */
enum err deliver_sign(const char *secrets, const char *id, int64_t timestamp_s,
                      struct span body, struct buf *out) MUST_CHECK;

enum deliver_end { DELIVER_OK, DELIVER_AGAIN, DELIVER_DEAD };

struct deliver_verdict {
	enum deliver_end end;
	int64_t delay_ms; /* AGAIN */
	char error[256];  /* "" when OK */
};

/* What an attempt came to. `status` 0: no head came, then `why` tells.
 * `made` counts the attempts before this one; retry_after_ms -1: not told. */
void deliver_judge(int status, const char *why, int64_t retry_after_ms,
                   int64_t made, const struct conf_schedule *schedule,
                   uint32_t random, struct deliver_verdict *out);

/* "host:port" of a URL as written, lower case: receivers are told apart by it. */
void deliver_host(const char *url, char *out, size_t size);

/* --- the deliveries -------------------------------------------------------- */

struct deliver;

enum err deliver_new(struct loop *l, struct db *db, const struct conf *conf,
                     const struct guard *guard, struct deliver **out) MUST_CHECK;
void deliver_free(struct deliver *d); /* what is under way is left; NULL is fine */

/* Something may be owed: look in the next step. */
void deliver_look(struct deliver *d);
/* Once per turn, from the main loop: one bounded look at what is due. */
void deliver_step(struct deliver *d);

/* Begin no more. */
void deliver_leave(struct deliver *d);
bool deliver_idle(const struct deliver *d); /* none under way */

#endif
