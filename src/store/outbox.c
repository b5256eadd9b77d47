/*
 * outbox.c - webhooks owed: which are due, and what became of an attempt.
 *
 * Rows are written with the move that causes them (queue.c). Only a pending
 * row can be settled, so an attempt that comes back twice counts once; the
 * trigger that sees it settled makes the job's next one due.
 */
#include <config.h>

#include "store/outbox.h"

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
}

enum err outbox_due(struct db *db, int64_t now_ms, const int64_t *skip,
                    size_t skip_count, struct owed *out, size_t max, size_t *count,
                    int64_t *next_ms)
{
	static const char due[] =
	    "SELECT due_ms, seq, id, job_id, type, url, secret, body, attempts"
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

/* The first `max` bytes of s, on the heap; *failed when there is no memory. */
static char *first_bytes(const char *s, size_t max, bool *failed)
{
	struct span part = span_of(s);
	char *copy;

	if (!s)
		return NULL;
	if (part.len > max)
		part.len = max;
	copy = span_dup(part);
	if (!copy)
		*failed = true;
	return copy;
}

static enum err settle_in(struct db *db, int64_t seq, const char *state,
                          int64_t due_ms, const struct outbox_attempt *a)
{
	static const char update[] =
	    "UPDATE webhooks SET state = ?, due_ms = ?, settled_ms = ?,"
	    " attempts = attempts + 1, last_status = ?, last_latency_ms = ?,"
	    " last_error = ?, last_reply = ?"
	    " WHERE seq = ? AND state = 'pending'";
	bool failed = false;
	char *error = first_bytes(a->error, LIMIT_ERROR_TEXT, &failed);
	char *reply = first_bytes(a->reply, LIMIT_WEBHOOK_REPLY, &failed);
	struct sql q = sql_use(db, update);
	enum err err;

	sql_text(&q, state);
	sql_time(&q, due_ms);
	sql_time(&q, due_ms ? 0 : a->now_ms);
	sql_time(&q, a->status);
	sql_int(&q, a->latency_ms);
	sql_text(&q, error);
	sql_text(&q, reply);
	sql_int(&q, seq);
	if (failed)
		sql_fail(&q, SQLITE_NOMEM);
	err = sql_run(&q, NULL);
	if (err == ERR_OK && sql_changes(db) == 0)
		err = ERR_STALE;
	free(error);
	free(reply);
	return err;
}

static enum err settle(struct db *db, int64_t seq, const char *state,
                       int64_t due_ms, const struct outbox_attempt *a)
{
	enum err err = db_begin(db, DB_SYNC_NORMAL, NULL);

	if (err != ERR_OK)
		return err;
	return db_finish(db, settle_in(db, seq, state, due_ms, a), NULL);
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
