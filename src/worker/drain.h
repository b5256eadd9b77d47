/*
 * drain.h - which job runs now: the queue, drained by model, one at a time.
 *
 * Looks at the queue when nudged, when a job has ended, when the target comes
 * back, and once a second unasked; takes the store's heads to core/order and
 * lets its choice run. Also here: clients who left, and those who have not
 * come back yet after a restart.
 */
#ifndef FOREMAN_WORKER_DRAIN_H
#define FOREMAN_WORKER_DRAIN_H

#include "base/attr.h"
#include "base/err.h"
#include "core/frame.h"
#include "worker/embed.h"
#include "worker/run.h"

#include <stdbool.h>

struct drain;

struct drain_calls {
	void (*moved)(void *arg);                  /* a webhook may be owed */
	void (*held)(void *arg, int64_t until_ms); /* a job is on hold; wall */
};

/* `env` as for run_new; what it names outlives the drain. */
enum err drain_new(const struct run_env *env, const struct drain_calls *calls,
                   void *arg, struct drain **out) MUST_CHECK;
/* Tears down what runs without settling it (the next worker does). */
void drain_free(struct drain *d);

/* The queue or the target may have changed: look in the next step. Never
 * starts anything itself; so are all four below. */
void drain_look(struct drain *d);
void drain_attached(struct drain *d, const char *id, enum frame_role role);
void drain_gone(struct drain *d, const char *id);
void drain_cancel(struct drain *d, const char *id);
/* Waiting jobs have ended by themselves: tell whoever reads along. */
void drain_expired(struct drain *d);

/* Do what is to be done now; once per turn, from the main loop only. True:
 * there is more, do not sleep. */
bool drain_step(struct drain *d);

/* Claim no more. */
void drain_leave(struct drain *d);
/* Nothing runs. */
bool drain_empty(const struct drain *d);
/* Send the running job back to the line, now. */
void drain_abandon(struct drain *d);

#endif
