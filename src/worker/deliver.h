/*
 * deliver.h - webhooks: what is owed is posted, beside the running job.
 *
 * Standard Webhooks 1.0.0. At most LIMIT_WEBHOOK_FLIGHTS at once, of them
 * LIMIT_WEBHOOK_FRESH in their first second, and LIMIT_WEBHOOK_PER_HOST to one
 * receiver: so receivers that keep us waiting use up neither the others' turns
 * nor the network. The store hands out a job's webhooks one after the other, so
 * their order holds. A delivery is settled in the store when its answer is
 * known: made but not settled (a crash), it is made again under the same id. A
 * success wakes what waits for the same receiver.
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
#include "store/db.h"

#include <stdbool.h>
#include <stdint.h>

/* --- pure parts ------------------------------------------------------------ */

enum deliver_end { DELIVER_OK, DELIVER_AGAIN, DELIVER_DEAD };

struct deliver_verdict {
	enum deliver_end end;
	int64_t delay_ms; /* AGAIN */
	bool told;        /* ... not sooner, said the receiver */
	char error[256];  /* "" when OK */
};

/* What an attempt came to. `status` 0: no head came, then `why` tells.
 * `made` counts the attempts before this one; retry_after_ms -1: not told. */
void deliver_judge(int status, const char *why, int64_t retry_after_ms,
                   int64_t made, const struct conf_schedule *schedule,
                   uint32_t random, struct deliver_verdict *out);

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
