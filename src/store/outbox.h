/*
 * outbox.h - webhooks owed: written with the move that causes them, kept until
 * delivered or dead.
 *
 * In order per job: only a job's earliest pending webhook has a due time, the
 * next gets one when that is settled. At least once: a delivery that was made
 * but not recorded is made again, with the same id.
 */
#ifndef FOREMAN_STORE_OUTBOX_H
#define FOREMAN_STORE_OUTBOX_H

#include "store/db.h"

#include <stddef.h>

struct owed {
	int64_t seq;
	char *id;          /* webhook-id, stable over retries; holds no '.' */
	char *job_id;
	char *type;        /* "job.done" */
	char *url;
	char *secret;      /* the job's own, or NULL: the configured one */
	char *body;        /* frozen JSON */
	size_t body_len;
	int64_t attempts;  /* made so far */
};

void owed_done(struct owed *o);

/* At most `max` that are due and not in `skip` (seqs in flight), earliest
 * first; *count filled. Each out[i] needs owed_done. *next_ms: wall time when
 * the next one falls due that is not in out or skip, 0 for none. */
enum err outbox_due(struct db *db, int64_t now_ms, const int64_t *skip,
                    size_t skip_count, struct owed *out, size_t max, size_t *count,
                    int64_t *next_ms) MUST_CHECK;

/* Not before due_ms, without an attempt: their receiver is in trouble, and
 * those due for others must not stand behind them. One transaction. */
enum err outbox_defer(struct db *db, const int64_t *seqs, size_t count,
                      int64_t due_ms) MUST_CHECK;

struct outbox_attempt {
	int64_t now_ms;
	int status;          /* HTTP, 0 if none came */
	int64_t latency_ms;
	const char *error;   /* NULL when delivered */
	const char *reply;   /* the first bytes of the receiver's reply; may be NULL */
};

/* Settle an attempt: delivered (the job's next webhook becomes due), to be
 * tried again at retry_ms, or dead (the next becomes due as well). */
enum err outbox_delivered(struct db *db, int64_t seq, const struct outbox_attempt *a) MUST_CHECK;
enum err outbox_retry(struct db *db, int64_t seq, const struct outbox_attempt *a,
                      int64_t retry_ms) MUST_CHECK;
enum err outbox_dead(struct db *db, int64_t seq, const struct outbox_attempt *a) MUST_CHECK;

#endif
