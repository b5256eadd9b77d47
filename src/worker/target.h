/*
 * target.h - is the target there, and what does it hold?
 *
 *                    hit                  miss
 *      UNKNOWN ────────────────► UP ─────────────────► SUSPECT
 *         │                       ▲ ◄──────────────────── │
 *         │ refused               │          hit          │ 3rd miss in a row,
 *         ▼                       │                       │ or 2nd refused
 *       DOWN ─────────────────────┘                       │
 *         ▲   two hits, a moment apart                    │
 *         └───────────────────────────────────────────────┘
 *
 * (A miss of another kind takes UNKNOWN to SUSPECT. One hit alone after DOWN
 * may be a Mac in dark wake, which answers once and is gone.)
 *
 * The poller looks at /api/version, then /api/ps, now and then /api/tags. Its
 * word holds dispatch back and is told to people; it never ends a transfer.
 * Bytes on any stream are as good as a hit; a run that found the target gone
 * is as good as a miss, and dispatch then waits for a fresh hit.
 */
#ifndef FOREMAN_WORKER_TARGET_H
#define FOREMAN_WORKER_TARGET_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "core/conf.h"
#include "core/limits.h"
#include "http/loop.h"
#include "store/db.h"
#include "store/status.h"

#include <stdbool.h>
#include <stdint.h>

/* --- pure parts ------------------------------------------------------------ */

struct target_judge { /* zeroed: UNKNOWN */
	enum target_state state;
	int misses; /* in a row */
	int refusals;
	int hits; /* while DOWN */
};

/* Both tell whether the state changed. */
bool target_judge_hit(struct target_judge *j);
bool target_judge_miss(struct target_judge *j, bool refused);

/* When to look again: the setting, and slower the longer it is away. */
int64_t target_interval_ms(enum target_state state, int64_t away_ms,
                           int64_t poll_interval_ms);

struct target_ps {
	bool embed_resident;
	bool ours_resident;
	int others;                       /* neither ours nor the embedder */
	char other[LIMIT_MODEL_NAME + 1]; /* the first of them, canonical */
};

/* Read an /api/ps reply. `loaded_key` and `embed_model` may be NULL.
 * ERR_INVAL: it is not one. */
enum err target_read_ps(struct span reply, const char *loaded_key,
                        const char *embed_model, struct target_ps *out) MUST_CHECK;

/* Does a job of this load key turn the rotating slot? Not if it is the
 * resident embedder, nor if the model runs in the cloud. */
bool target_key_rotates(const char *model, const char *embed_model);

/* --- the poller ------------------------------------------------------------ */

struct target;

/* `changed` is called when readiness, the loaded key or the embedder's
 * residence may have changed; it must not start transfers itself. */
enum err target_new(struct loop *l, struct db *db, const struct conf *conf,
                    void (*changed)(void *arg), void *arg,
                    struct target **out) MUST_CHECK;
void target_free(struct target *t); /* NULL is fine */

/* May a job be dispatched? */
bool target_ready(const struct target *t);
/* The load key in the rotating slot; NULL: unknown. Valid until a change. */
const char *target_loaded(const struct target *t);
bool target_embed_ready(const struct target *t);
/* Was the last probe, or a byte since, good? */
bool target_answers(const struct target *t);
/* For how long has every probe failed, and no byte come; 0: not now. */
int64_t target_missing_ms(const struct target *t);
/* Has /api/ps told us yet what is resident? */
bool target_knows_slots(const struct target *t);

/* A request that may load something leaves (loading) or has been answered:
 * what /api/ps says in between, or began to say before, is not believed. */
void target_disturb(struct target *t, bool loading);
/* What the slot holds now, by our own doing; NULL: who knows. */
void target_set_loaded(struct target *t, const char *load_key);
void target_set_embed_ready(struct target *t, bool ready);

void target_hit(struct target *t); /* a stream moves; cheap */
void target_miss(struct target *t, bool refused, const char *why);
/* What is wrong though it answers, for people; NULL: nothing any more. */
void target_trouble(struct target *t, const char *why);
/* Work has come: an unreachable target is looked at within the interval. */
void target_nudge(struct target *t);
/* We slept: what was known is old. Dispatch waits for a fresh hit, looked for
 * at once; a running transfer is left to TCP, whose timers stood still. */
void target_slept(struct target *t);
/* Look now (something ended). */
void target_look(struct target *t);

#endif
