/*
 * outbox.c - webhooks owed: which are due, and what became of an attempt.
 *
 * Rows are written with the move that causes them (move.c). Only a pending
 * row can be settled, so an attempt that comes back twice counts once, in the
 * row and in the log; the trigger that sees it settled makes the job's next
 * one due. True throughout, redeliveries included: of a job's pending webhooks
 * the earliest alone has a due time.
 * Not here: reading them for people (ledger.c).
 */
#include <config.h>

#include "store/outbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "core/limits.h"
#include "store/sql.h"

void owed_done(struct owed *o)
{
	free(o->id);
	free(o->job_id);
	free(o->type);
	free(o->url);
	free(o->secret);
	free(o->body);
	free(o->headers);
	*o = (struct owed){ 0 };
}

static bool is_in(int64_t seq, const int64_t *set, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (set[i] == seq)
			return true;
	return false;
}

/* The rest of the row after due_ms and seq. */
static void read_owed(struct sql *q, int64_t seq, struct owed *o)
{
	*o = (struct owed){ .seq = seq };
	o->id = sql_get_text(q);
	o->job_id = sql_get_text(q);
	o->type = sql_get_text(q);
	o->url = sql_get_text(q);
	o->secret = sql_get_text(q);
	o->body = sql_get_text(q);
	o->body_len = o->body ? strlen(o->body) : 0;
	o->attempts = sql_get_int(q);
	o->headers = sql_get_text(q);
}

enum err outbox_due(struct db *db, int64_t now_ms, const int64_t *skip,
                    size_t skip_count, struct owed *out, size_t max, size_t *count,
                    int64_t *next_ms)
{
	static const char due[] =
	    "SELECT due_ms, seq, id, job_id, type, url, secret, body, attempts,"
	    " (SELECT headers FROM inputs i WHERE i.job_seq = webhooks.job_seq)"
	    " FROM webhooks INDEXED BY webhooks_due"
	    " WHERE due_ms IS NOT NULL ORDER BY due_ms, seq";
	struct sql q = sql_use(db, due);
	int64_t next = 0;
	size_t n = 0;
	enum err err;

	while (next == 0 && sql_row(&q)) {
		int64_t due_ms = sql_get_int(&q);
		int64_t seq = sql_get_int(&q);

		if (is_in(seq, skip, skip_count))
			continue;
		if (due_ms <= now_ms && n < max)
			read_owed(&q, seq, &out[n++]);
		else
			next = due_ms;
	}
	err = sql_end(&q, NULL);
	if (err != ERR_OK) {
		while (n > 0)
			owed_done(&out[--n]);
		return err;
	}
	*count = n;
	*next_ms = next;
	return ERR_OK;
}

enum err outbox_defer(struct db *db, const int64_t *seqs, size_t count,
                      int64_t due_ms)
{
	static const char update[] = "UPDATE webhooks SET due_ms = ?"
	                             " WHERE seq = ? AND due_ms IS NOT NULL";
	enum err err = db_begin(db, DB_SYNC_NORMAL, NULL);

	if (err != ERR_OK)
		return err;
	for (size_t i = 0; i < count && err == ERR_OK; i++) {
		struct sql q = sql_use(db, update);

		sql_time(&q, due_ms);
		sql_int(&q, seqs[i]);
		err = sql_run(&q, NULL);
	}
	return db_finish(db, err, NULL);
}

/* At most the first `max` bytes of s, cut between characters, on the heap;
 * *failed when there is no memory. */
static char *first_bytes(const char *s, size_t max, bool *failed)
{
	struct span part = span_of(s);
	char *copy;

	if (!s)
		return NULL;
	if (part.len > max)
		part.len = max;
	while (part.len > 0 && ((unsigned char)s[part.len] & 0xc0) == 0x80)
		part.len--;
	copy = span_dup(part);
	if (!copy)
		*failed = true;
	return copy;
}

/* An attempt as it is written: the texts cut. */
struct outcome {
	int64_t seq;
	const char *state;
	int64_t due_ms; /* 0: settled */
	const struct outbox_attempt *attempt;
	char *error;
	char *reply;
};

static enum err settle_row(struct db *db, const struct outcome *o)
{
	/* after a hurried attempt the next one comes in its own time */
	static const char update[] =
	    "UPDATE webhooks SET state = ?1,"
	    " due_ms = iif(EXISTS (SELECT 1 FROM webhooks e"
	    "  WHERE e.job_seq = webhooks.job_seq AND e.seq < webhooks.seq"
	    "  AND e.state = 'pending'), NULL, ?2),"
	    " settled_ms = ?3, attempts = attempts + 1, last_status = ?4,"
	    " last_latency_ms = ?5, last_error = ?6, last_reply = ?7,"
	    " hurry = iif(?8 OR hurry = 1, 2, 0)"
	    " WHERE seq = ?9 AND state = 'pending'";
	struct sql q = sql_use(db, update);
	enum err err;

	sql_text(&q, o->state);
	sql_time(&q, o->due_ms);
	sql_time(&q, o->due_ms ? 0 : o->attempt->now_ms);
	sql_time(&q, o->attempt->status);
	sql_int(&q, o->attempt->latency_ms);
	sql_text(&q, o->error);
	sql_text(&q, o->reply);
	sql_int(&q, o->attempt->told);
	sql_int(&q, o->seq);
	err = sql_run(&q, NULL);
	return err == ERR_OK && sql_changes(db) == 0 ? ERR_STALE : err;
}

static enum err settle_log(struct db *db, const struct outcome *o)
{
	static const char insert[] =
	    "INSERT INTO webhook_attempts"
	    " (webhook_seq, n, at_ms, status, latency_ms, error, reply)"
	    " SELECT ?1, coalesce(max(n), 0) + 1, ?2, ?3, ?4, ?5, ?6"
	    " FROM webhook_attempts WHERE webhook_seq = ?1";
	static const char forget[] =
	    "DELETE FROM webhook_attempts WHERE webhook_seq = ?1 AND n <="
	    " (SELECT max(n) FROM webhook_attempts WHERE webhook_seq = ?1) - ?2";
	struct sql q = sql_use(db, insert);
	enum err err;

	sql_int(&q, o->seq);
	sql_int(&q, o->attempt->now_ms);
	sql_time(&q, o->attempt->status);
	sql_int(&q, o->attempt->latency_ms);
	sql_text(&q, o->error);
	sql_text(&q, o->reply);
	err = sql_run(&q, NULL);
	if (err != ERR_OK)
		return err;
	q = sql_use(db, forget);
	sql_int(&q, o->seq);
	sql_int(&q, LIMIT_WEBHOOK_LOG);
	return sql_run(&q, NULL);
}

static enum err settle(struct db *db, int64_t seq, const char *state,
                       int64_t due_ms, const struct outbox_attempt *a)
{
	bool failed = false;
	struct outcome o = {
		.seq = seq,
		.state = state,
		.due_ms = due_ms,
		.attempt = a,
		.error = first_bytes(a->error, LIMIT_ERROR_TEXT, &failed),
		.reply = first_bytes(a->reply, LIMIT_WEBHOOK_REPLY, &failed),
	};
	enum err err = failed ? ERR_NOMEM : db_begin(db, DB_SYNC_NORMAL, NULL);

	if (err == ERR_OK) {
		err = settle_row(db, &o);
		if (err == ERR_OK)
			err = settle_log(db, &o);
		err = db_finish(db, err, NULL);
	}
	free(o.error);
	free(o.reply);
	return err;
}

enum err outbox_delivered(struct db *db, int64_t seq,
                          const struct outbox_attempt *a)
{
	return settle(db, seq, "delivered", 0, a);
}

enum err outbox_retry(struct db *db, int64_t seq, const struct outbox_attempt *a,
                      int64_t retry_ms)
{
	return settle(db, seq, "pending", retry_ms, a);
}

enum err outbox_dead(struct db *db, int64_t seq, const struct outbox_attempt *a)
{
	return settle(db, seq, "dead", 0, a);
}

/* --- a receiver that is back ------------------------------------------------ */

#define WAITS_THERE                                                                \
	" FROM webhooks INDEXED BY webhooks_by_receiver"                               \
	" WHERE receiver = ?1 AND due_ms > ?2 AND attempts > 0 AND hurry = 0"

static enum err anyone_waits(struct db *db, const char *receiver, int64_t now_ms)
{
	static const char read[] = "SELECT 1" WAITS_THERE " LIMIT 1";
	struct sql q = sql_use(db, read);
	bool found;
	enum err err;

	sql_text(&q, receiver);
	sql_int(&q, now_ms);
	found = sql_row(&q);
	err = sql_end(&q, NULL);
	return err == ERR_OK && !found ? ERR_NOENT : err;
}

enum err outbox_wake(struct db *db, const char *receiver, int64_t now_ms,
                     int64_t *count)
{
	static const char update[] =
	    "UPDATE webhooks SET due_ms = ?2, hurry = 1 WHERE seq IN"
	    " (SELECT seq" WAITS_THERE " ORDER BY due_ms LIMIT ?3)";
	enum err err = anyone_waits(db, receiver, now_ms);
	int64_t woken = 0;

	if (err == ERR_OK)
		err = db_begin(db, DB_SYNC_NORMAL, NULL);
	if (err == ERR_OK) {
		struct sql q = sql_use(db, update);

		sql_text(&q, receiver);
		sql_int(&q, now_ms);
		sql_int(&q, LIMIT_WEBHOOK_WAKE);
		err = sql_run(&q, NULL);
		woken = sql_changes(db);
		err = db_finish(db, err, NULL);
	} else if (err == ERR_NOENT) {
		err = ERR_OK;
	}
	if (err == ERR_OK)
		*count = woken;
	return err;
}

/* --- once more ------------------------------------------------------------- */

static enum err send_again(struct db *db, int64_t seq, int64_t now_ms,
                           struct errtext *why)
{
	static const char revive[] =
	    "UPDATE webhooks SET state = 'pending', settled_ms = NULL, attempts = 0,"
	    " hurry = 0, due_ms = iif(EXISTS (SELECT 1 FROM webhooks e"
	    "  WHERE e.job_seq = webhooks.job_seq AND e.seq < webhooks.seq"
	    "  AND e.state = 'pending'), NULL, ?2)"
	    " WHERE seq = ?1";
	static const char hold_back[] =
	    "UPDATE webhooks SET due_ms = NULL WHERE due_ms IS NOT NULL AND seq > ?1"
	    " AND job_seq = (SELECT job_seq FROM webhooks WHERE seq = ?1)";
	struct sql q = sql_use(db, revive);
	enum err err;

	sql_int(&q, seq);
	sql_int(&q, now_ms);
	err = sql_run(&q, why);
	if (err != ERR_OK)
		return err;
	q = sql_use(db, hold_back);
	sql_int(&q, seq);
	return sql_run(&q, why);
}

static enum err find_one(struct db *db, const char *id, int64_t *seq,
                         struct errtext *why)
{
	static const char read[] = "SELECT seq FROM webhooks WHERE id = ?";
	struct sql q = sql_use(db, read);
	enum err err;

	sql_text(&q, id);
	*seq = sql_row(&q) ? sql_get_int(&q) : 0;
	err = sql_end(&q, why);
	return err == ERR_OK && *seq == 0 ? ERR_NOENT : err;
}

/* At most wish->max of them into seqs. */
static enum err find_settled(struct db *db, struct outbox_wish *wish, int64_t *seqs,
                             struct errtext *why)
{
	static const char read[] =
	    "SELECT seq FROM webhooks INDEXED BY webhooks_settled"
	    " WHERE state = ? AND settled_ms IS NOT NULL AND settled_ms >= ?"
	    " AND settled_ms < ? ORDER BY settled_ms, seq LIMIT ?";
	struct sql q = sql_use(db, read);

	sql_text(&q, wish->state);
	sql_int(&q, wish->since_ms);
	sql_int(&q, wish->until_ms);
	sql_int(&q, wish->max + 1);
	while (sql_row(&q)) {
		wish->more = wish->count == wish->max;
		if (!wish->more)
			seqs[wish->count++] = sql_get_int(&q);
	}
	return sql_end(&q, why);
}

enum err outbox_again(struct db *db, struct outbox_wish *wish, struct errtext *why)
{
	int64_t *seqs = calloc(wish->id ? 1 : (size_t)wish->max, sizeof(*seqs));
	enum err err = ERR_NOMEM;

	assert(db->in_transaction && (wish->id || wish->max > 0));
	wish->count = wish->id ? 1 : 0;
	wish->more = false;
	if (seqs && wish->id)
		err = find_one(db, wish->id, seqs, why);
	else if (seqs)
		err = find_settled(db, wish, seqs, why);
	for (int64_t i = 0; i < wish->count && err == ERR_OK; i++)
		err = send_again(db, seqs[i], wish->now_ms, why);
	free(seqs);
	return err;
}
