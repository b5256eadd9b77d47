/*
 * look.h - reading: one job, pages of jobs, the state of the queue.
 *
 * Short statements, stepped to the end; counts come from tallies that
 * triggers keep, never from counting rows.
 */
#ifndef FOREMAN_STORE_LOOK_H
#define FOREMAN_STORE_LOOK_H

#include "core/job.h"
#include "store/db.h"

/* The whole job with its artifacts and, up to LIMIT_POSITION, its place in
 * line (counts as if nothing more arrived); artifacts not above inline_limit
 * bytes have them loaded. ERR_NOENT, ERR_DENIED when the job was retired (410). */
enum err look_job(struct db *db, const char *id, int64_t inline_limit,
                  struct job *out) MUST_CHECK;

/* How far a job has come, and nothing else of it. */
struct look_step {
	int64_t event_seq;   /* of the latest event */
	enum job_state state;
};

/* As look_job answers. */
enum err look_step(struct db *db, const char *id, struct look_step *out) MUST_CHECK;

struct look_event {      /* one move of a job */
	int64_t seq;
	enum job_state state; /* the one it came to */
	enum job_reason reason;
	int64_t at_ms;       /* wall */
};

/* The first `max` of the job's moves numbered above `after`, oldest first; none
 * is an answer too. ERR_NOENT, ERR_DENIED as look_job. */
enum err look_events(struct db *db, const char *id, int64_t after,
                     struct look_event *events, size_t max, size_t *count) MUST_CHECK;

/* The request of a job as it goes to the target: *body is heap, free it.
 * ERR_NOENT: no such job, or its body went with its end. */
enum err look_body(struct db *db, const char *id, char **body, size_t *len) MUST_CHECK;

struct look_filter {
	bool any_state;
	enum job_state state;
	const char *model;   /* as written or any equivalent spelling; NULL = any */
	const char *before;  /* ULID, exclusive; NULL = from the newest */
	int limit;           /* at least 1 */
};

/* Newest first. *jobs is an array of *count (each job_done, then free);
 * next[0] = 0 when there is no further page, else the `before` of
 * it. Artifacts are listed without bytes. Of waiting jobs in a
 * deep queue (LIMIT_LIST_WAITING) a page may be short, or empty, and still have
 * a next one.
 * ERR_INVAL: `model` is no model name. */
enum err look_jobs(struct db *db, const struct look_filter *f, struct job **jobs,
                   size_t *count, char next[ULID_SIZE]) MUST_CHECK;

/* The jobs of a batch that are left, in its order: ids from `first` to `last`,
 * behind `after` ("": from the first), at most `limit`; as a page of look_jobs. */
enum err look_batch(struct db *db, const char *first, const char *last,
                    const char *after, int limit, struct job **jobs,
                    size_t *count) MUST_CHECK;

struct look_waiting {
	char *load_key;
	bool attended;
	int64_t count;
	int64_t oldest_ms;   /* wall: when its oldest job entered the line */
	int64_t starts_ms;   /* estimated: the first of them; 0: not known */
	int64_t ends_ms;     /* ... and the last */
};

struct look_queue {
	char running[ULID_SIZE]; /* "" when nothing runs */
	struct job *running_job; /* or NULL */
	struct look_waiting *waiting; /* attended first, then the oldest */
	size_t waiting_count;    /* at most LIMIT_QUEUE_KEYS */
	int64_t states[JOB_STATE_COUNT];  /* how many jobs are in each state */
	int64_t webhooks_pending;
	int64_t webhooks_dead;
	int64_t swaps;           /* loads caused by a change of load key */
	int64_t fifo_swaps;      /* what order of arrival would have caused */
	int64_t empty_ms;        /* wall, estimated: when all of them have run; 0:
	                            not known */
	int64_t ms_per_job;      /* pace_drain_ms; 0: not known */
	double tokens_per_s;     /* mean of the running job's load key; 0: not known */
};

enum err look_queue(struct db *db, struct look_queue *out) MUST_CHECK;
void look_queue_done(struct look_queue *q);

#endif
