/*
 * outbox.h - webhooks owed: written with the move that causes them, kept until
 * delivered or dead; and then sent again, if somebody asks for that.
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
	char *headers;     /* lines that came with the job, to go with all it sends;
	                      NULL: none */
	int64_t attempts;  /* made so far, since it was owed or sent again */
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
	const char *reply;   /* how the receiver's reply began, UTF-8; may be NULL */
	bool told;           /* the receiver said when to come again: not sooner */
};

/*
 * Settle an attempt and put it into the log, of which the last
 * LIMIT_WEBHOOK_LOG are kept. It was delivered (the job's next webhook becomes
 * due), is to be tried again at retry_ms (or after an earlier webhook of the
 * job that was sent again meanwhile), or is dead (the next becomes due as
 * well). ERR_STALE: it is not pending; nothing was written.
 */
enum err outbox_delivered(struct db *db, int64_t seq, const struct outbox_attempt *a) MUST_CHECK;
enum err outbox_retry(struct db *db, int64_t seq, const struct outbox_attempt *a,
                      int64_t retry_ms) MUST_CHECK;
enum err outbox_dead(struct db *db, int64_t seq, const struct outbox_attempt *a) MUST_CHECK;

/*
 * This receiver takes webhooks again: those that wait for their next attempt
 * there are due now. Not one that was hurried so the last time and failed all
 * the same: its trouble is its own, and it waits as the schedule says; nor one
 * whose time the receiver named. At most LIMIT_WEBHOOK_WAKE, the soonest due:
 * the next success wakes more. *count: so many.
 */
enum err outbox_wake(struct db *db, const char *receiver, int64_t now_ms,
                     int64_t *count) MUST_CHECK;

/* --- once more ------------------------------------------------------------- */

/* What somebody wants to be sent again. */
struct outbox_wish {
	const char *id;    /* one, whatever its state; or NULL: */
	const char *state; /* those "dead", or "delivered" ... */
	int64_t since_ms;  /* ... that were settled from then */
	int64_t until_ms;  /* to before then, the longest settled first ... */
	int max;           /* ... and no more than these */
	int64_t now_ms;
	int64_t count;     /* out: so many will be sent */
	bool more;         /* out: others are left */
};

/*
 * In the open transaction: they are pending again, under the same id and with
 * the whole schedule before them. Each is due now, or, while an earlier webhook
 * of its job is pending, after that; later ones of the job wait for it.
 * ERR_NOENT: there is none of this id.
 */
enum err outbox_again(struct db *db, struct outbox_wish *wish,
                      struct errtext *why) MUST_CHECK;

#endif
