/*
 * status.h - what the worker tells everybody: that it lives, and how the
 * target is. One row, written by the worker, read by the responders.
 */
#ifndef FOREMAN_STORE_STATUS_H
#define FOREMAN_STORE_STATUS_H

#include "store/db.h"

#include <stdbool.h>

enum target_state { TARGET_UNKNOWN, TARGET_UP, TARGET_SUSPECT, TARGET_DOWN, TARGET_STATE_COUNT };
const char *target_state_name(enum target_state s); /* "unknown", "up", "suspect", "unreachable" */

struct status {
	int64_t heartbeat_ms;    /* wall; 0 = no worker ever */
	int64_t worker_pid;
	int64_t worker_started_ms;
	enum target_state target;
	int64_t target_since_ms; /* wall; of the present state */
	int64_t target_seen_ms;  /* wall; of the last good answer */
	char *target_error;      /* why not, NULL when up */
	char *version;           /* the target's, NULL unknown */
	char *loaded_key;        /* what the rotating slot holds, NULL unknown */
	bool embed_ready;        /* FOREMAN_EMBED_MODEL is resident */
	char *tags;              /* the last /api/tags reply, verbatim; may be NULL */
};

void status_done(struct status *s);

/* All of it, with tags (NULL when with_tags is false: it can be large).
 * ERR_OK even before any worker ran (zeros, TARGET_UNKNOWN). */
enum err status_read(struct db *db, bool with_tags, struct status *out) MUST_CHECK;

/* The worker's: rewrite everything but tags (NORMAL, no fsync). */
enum err status_write(struct db *db, const struct status *s, struct errtext *why) MUST_CHECK;
enum err status_write_tags(struct db *db, const char *tags, struct errtext *why) MUST_CHECK;

#endif
