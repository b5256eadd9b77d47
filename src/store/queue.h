/*
 * queue.h - how a job enters the line and moves: one function per arrow.
 *
 * Every move is one transaction: the row (guarded by the state and event
 * number it must have), the event, the owed webhook with its body frozen. A
 * row that does not match means someone else was first: ERR_STALE, an answer
 * and not a failure; nothing was written.
 * Not here: which job is next (core/order), how it runs (worker/run).
 */
#ifndef FOREMAN_STORE_QUEUE_H
#define FOREMAN_STORE_QUEUE_H

#include "core/job.h"
#include "core/order.h"
#include "store/db.h"
#include "store/result.h"
#include "store/pace.h"

/* --- entering -------------------------------------------------------------- */

/*
 * A client's Idempotency-Key. It stands on the job it came with (of a batch,
 * the first) and is forgotten with it.
 */
struct queue_key {
	const char *text;
	const char *fingerprint; /* SHA-256 of what came with it, in hex */
	const char *last;        /* the last id of the batch; NULL: one job alone */
	/* out, with ERR_STALE: */
	bool same;               /* what came with it then has this fingerprint */
	char first_id[ULID_SIZE]; /* the job it stands on */
	char last_id[ULID_SIZE]; /* of its batch; the same id for a job alone */
};

/*
 * What a client wants queued. The caller fills `job` (id, attended, endpoint,
 * model, load_key, created_ms = queued_ms = now, expires_ms, timeout_ms,
 * artifact_mode, metadata, webhook_*; state JOB_QUEUED, event_seq 1) and the
 * body to send to the target; owns all of it throughout.
 */
struct submission {
	struct job *job;        /* out: job->seq; job->position, at most so far back;
	                           job->webhook_pending */
	struct span body;
	struct span headers;    /* to send with it, "Name: value\n" lines; may be
	                           absent */
	char *event_json;       /* the job.queued webhook's body, or NULL for none */
	struct queue_key *key;  /* or NULL */
	enum err result;        /* out: ERR_OK; ERR_LIMIT: too many wait;
	                           ERR_STALE: the key was used before, see there;
	                           ERR_CONFLICT: the id exists */
	int64_t room_ms;        /* out, with ERR_LIMIT: until there may be room;
	                           0: not known */
};

struct queue_limits {
	int64_t max_queue;      /* attended jobs that may wait */
	int64_t max_jobs;       /* unattended ones */
};

/*
 * Insert them in the open transaction (db_begin first): job, body, event,
 * owed webhook. A submission over a limit gets ERR_LIMIT as its own result and
 * leaves no trace (likewise ERR_STALE, ERR_CONFLICT); the others go in. Anything but
 * ERR_OK returned: roll back, none is in.
 */
enum err queue_submit(struct db *db, struct submission *const *subs, size_t count,
                      const struct queue_limits *limits, struct errtext *why) MUST_CHECK;

/*
 * The same for a batch: all or none. A key stands on the first only, and all
 * are unattended. Anything but ERR_OK: roll back; *at says whose own result it
 * is (0 for one the batch as a whole meets), `count` that it is nobody's.
 */
enum err queue_submit_all(struct db *db, struct submission *const *subs,
                          size_t count, const struct queue_limits *limits,
                          size_t *at, struct errtext *why) MUST_CHECK;

/* --- choosing -------------------------------------------------------------- */

/* The heads order_next wants, for the loaded key (NULL: nothing is loaded;
 * then all are `other`). Held jobs are no heads. O(log n). */
enum err queue_heads(struct db *db, const char *loaded_key,
                     struct order_heads *out) MUST_CHECK;

/* The id of the job at `seq`, without claiming it. ERR_NOENT: none there. */
enum err queue_id(struct db *db, int64_t seq, char id[ULID_SIZE]) MUST_CHECK;

/* Holds that are over (held_until_ms <= now, or absurdly far ahead because the
 * clock stepped back) end; *next_ms is the wall time of the next one, 0 none. */
enum err queue_release_held(struct db *db, int64_t now_ms, int64_t *next_ms) MUST_CHECK;

/* --- moving; each is its own transaction ----------------------------------- */

/* All of them: ERR_STALE as above, ERR_INVAL for a move the table in
 * core/job.c does not have, ERR_FULL, ERR_BUSY, ERR_IO. *job changes when the
 * move is made, so one that failed can be made again: with ERR_OK, and with
 * ERR_IO where all but the sync went well (see db_commit). */

/* What a claimed job sends to the target; both heap, free them. */
struct queue_input {
	char *body;             /* never NULL */
	size_t body_len;
	char *headers;          /* "Name: value\n" lines; NULL: none */
};

/* queued -> loading. On ERR_OK *job (job_done it) and what is in *input are the
 * caller's. ERR_STALE: it is not queued any more, or on hold. */
enum err queue_claim(struct db *db, int64_t seq, int64_t now_ms, struct job *job,
                     struct queue_input *input, struct errtext *why) MUST_CHECK;

/* loading -> working: the target answers. Updates *job. */
enum err queue_working(struct db *db, struct job *job, int64_t now_ms,
                       struct errtext *why) MUST_CHECK;

/* working -> done, artifact and usage in the same transaction, on disk when
 * this returns; one more attempt. An attended job's body is removed from the
 * store with its end, however it ends. */
enum err queue_done(struct db *db, struct job *job, const struct queue_result *result,
                    int64_t now_ms, struct errtext *why) MUST_CHECK;

/* queued|loading|working -> failed; `result` may be NULL. `counted`: this run
 * counts as an attempt. */
enum err queue_failed(struct db *db, struct job *job, enum job_reason reason,
                      const char *error, bool counted,
                      const struct queue_result *result, int64_t now_ms,
                      struct errtext *why) MUST_CHECK;

/* loading|working -> queued, not before held_until_ms (0: at once; at most
 * LIMIT_RETRY_MAX_MS ahead). Counted adds to attempts, else to interruptions.
 * It keeps its place in the line. A job somebody asked to cancel fails with
 * `canceled` instead: see job->state. */
enum err queue_back(struct db *db, struct job *job, enum job_reason reason,
                    const char *error, bool counted, int64_t held_until_ms,
                    int64_t now_ms, struct errtext *why) MUST_CHECK;

/* At the active worker's start: every loading|working row back to queued,
 * not counted (canceled ones fail, as above). *count says how many. */
enum err queue_recover(struct db *db, int64_t now_ms, int64_t *count,
                       struct errtext *why) MUST_CHECK;

/* Queued jobs past their expires_ms -> failed(expired), at most `batch`. */
enum err queue_expire(struct db *db, int64_t now_ms, int batch, int64_t *count,
                      struct errtext *why) MUST_CHECK;

enum queue_cancel_answer { CANCEL_DONE, CANCEL_REQUESTED, CANCEL_TERMINAL };

/*
 * A queued job fails with `canceled` now (CANCEL_DONE); a running one is
 * marked, and whoever runs it tears it down (CANCEL_REQUESTED); a finished one
 * stays as it is (CANCEL_TERMINAL). ERR_NOENT: no such job.
 */
enum err queue_cancel(struct db *db, const char *id, int64_t now_ms,
                      enum queue_cancel_answer *out, struct errtext *why) MUST_CHECK;

/* The same as part of the open transaction; after any other answer than
 * ERR_OK and ERR_NOENT roll back. */
enum err queue_cancel_in(struct db *db, const char *id, int64_t now_ms,
                         enum queue_cancel_answer *out, struct errtext *why) MUST_CHECK;

/* Running jobs somebody asked to cancel: is this one of them? ERR_NOENT: the
 * row is gone. */
enum err queue_cancel_wanted(struct db *db, int64_t seq, bool *out) MUST_CHECK;

/* --- counting -------------------------------------------------------------- */

/* A model was loaded because another job's turn came: one more swap. */
enum err queue_count_swap(struct db *db) MUST_CHECK;

#endif
