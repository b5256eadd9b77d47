/*
 * queue.c - how a job enters the line, and where it may go from there.
 *
 * Every move is one transaction: the row (guarded by the id, state and event
 * number it must have), the event, the owed webhook with its body frozen. One
 * function makes them all (move.c); here stands which arrow, and how durable
 * it must be. No matching row means someone else was first: ERR_STALE, an
 * answer and not a failure.
 * Not here: which job is next (core/order), how it runs (worker/run), and the
 * figures that follow from the rows (triggers, schema.c).
 */
#include <config.h>

#include "store/queue.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "store/move.h"
#include "store/pace.h"
#include "store/row.h"

/* --- entering -------------------------------------------------------------- */

static enum err insert_job(struct db *db, struct job *job,
                           const struct queue_key *key, struct errtext *why)
{
	static const char insert[] =
	    "INSERT INTO jobs (id, state, attended, endpoint, model, load_key,"
	    " attempts, interruptions, event_seq, cancel_requested, created_ms,"
	    " queued_ms, expires_ms, timeout_ms, artifact_mode, metadata, webhook_url,"
	    " webhook_secret, webhook_events, idempotency_key, fingerprint, batch_last)"
	    " VALUES (?, 'queued', ?, ?, ?, ?, 0, 0, 1, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
	    " ?, ?, ?)";
	struct sql q = sql_use(db, insert);
	enum err err;

	sql_text(&q, job->id);
	sql_int(&q, job->attended);
	sql_text(&q, job->endpoint);
	sql_text(&q, job->model);
	sql_text(&q, job->load_key);
	sql_int(&q, job->created_ms);
	sql_int(&q, job->queued_ms);
	sql_time(&q, job->expires_ms);
	sql_time(&q, job->timeout_ms);
	sql_text(&q, artifact_mode_name(job->artifact_mode));
	sql_text(&q, job->metadata);
	sql_text(&q, job->webhook_url);
	sql_text(&q, job->webhook_secret);
	sql_int(&q, job->webhook_events);
	sql_text(&q, key ? key->text : NULL);
	sql_text(&q, key ? key->fingerprint : NULL);
	sql_text(&q, key ? key->last : NULL);
	err = sql_run(&q, why);
	if (err == ERR_OK)
		job->seq = sql_last_seq(db);
	return err;
}

static enum err insert_body(struct db *db, const struct submission *sub,
                            struct errtext *why)
{
	static const char insert[] =
	    "INSERT INTO inputs (job_seq, body, headers) VALUES (?, ?, ?)";
	struct sql q = sql_use(db, insert);
	char *headers = NULL;
	enum err err;

	if (sub->headers.len) {
		headers = span_dup(sub->headers);
		if (!headers)
			sql_fail(&q, SQLITE_NOMEM);
	}
	sql_int(&q, sub->job->seq);
	sql_blob(&q, sub->body.p, sub->body.len);
	sql_text(&q, headers);
	err = sql_run(&q, why);
	free(headers);
	return err;
}

/* The job insert comes first: alone it can meet an id that exists, and then
 * nothing of this submission has been written. */
static enum err submit_one(struct db *db, struct submission *sub,
                           struct errtext *why)
{
	struct job *job = sub->job;
	enum err err;

	assert(job->state == JOB_QUEUED && job->event_seq == 1);
	assert(!sub->event_json || job->webhook_url);
	sub->result = insert_job(db, job, sub->key, why);
	if (sub->result != ERR_OK)
		return sub->result == ERR_CONFLICT ? ERR_OK : sub->result;
	err = insert_body(db, sub, why);
	if (err == ERR_OK)
		err = move_event(db, job, REASON_NONE, job->created_ms, why);
	job->webhook_pending = sub->event_json ? 1 : 0;
	if (err == ERR_OK && sub->event_json)
		err = move_owe(db, job, sub->event_json, true, job->created_ms, why);
	return err;
}

static enum err read_waiting(struct db *db, int64_t waiting[2], struct errtext *why)
{
	static const char read[] =
	    "SELECT attended, count FROM tallies WHERE state = 'queued'";
	struct sql q = sql_use(db, read);

	while (sql_row(&q)) {
		int64_t attended = sql_get_int(&q);

		waiting[attended != 0] = sql_get_int(&q);
	}
	return sql_end(&q, why);
}

/* ERR_STALE: the key stands on a job; who came with it is told in *key. */
static enum err find_key(struct db *db, struct queue_key *key, struct errtext *why)
{
	static const char read[] =
	    "SELECT id, coalesce(batch_last, id), fingerprint FROM jobs"
	    " WHERE idempotency_key = ?";
	struct sql q = sql_use(db, read);
	bool found;
	enum err err;

	sql_text(&q, key->text);
	found = sql_row(&q);
	if (found) {
		str_copy(key->first_id, sizeof(key->first_id), sql_peek_text(&q));
		str_copy(key->last_id, sizeof(key->last_id), sql_peek_text(&q));
		key->same = strcmp(sql_peek_text(&q), key->fingerprint) == 0;
	}
	err = sql_end(&q, why);
	if (err == ERR_OK && found)
		db->leans = true; /* who is told of that job takes it for durable */
	return err == ERR_OK && found ? ERR_STALE : err;
}

/* What is known while submissions are taken in, one after the other. */
struct intake {
	struct db *db;
	const struct queue_limits *limits;
	int64_t waiting[2]; /* jobs in line: unattended, attended */
	int64_t missing;    /* places, when there is no room */
	int64_t ms_per_job; /* how fast they get free; -1: not looked at yet */
};

/* Over the limit: its result, not the transaction's. */
static enum err turn_away(struct intake *in, struct submission *sub)
{
	enum err err = ERR_OK;

	if (in->ms_per_job < 0)
		err = pace_drain_ms(in->db, &in->ms_per_job);
	sub->result = ERR_LIMIT;
	if (in->ms_per_job > INT64_MAX / in->missing)
		sub->room_ms = INT64_MAX;
	else
		sub->room_ms = in->ms_per_job * in->missing;
	return err;
}

/* A result that is the submission's own is in sub->result; for anything
 * returned: roll back. */
static enum err take_in(struct intake *in, struct submission *sub,
                        struct errtext *why)
{
	struct job *job = sub->job;
	int64_t max = job->attended ? in->limits->max_queue : in->limits->max_jobs;
	enum err err;

	sub->result = sub->key ? find_key(in->db, sub->key, why) : ERR_OK;
	if (sub->result != ERR_OK)
		return sub->result == ERR_STALE ? ERR_OK : sub->result;
	if (in->waiting[job->attended] >= max)
		return turn_away(in, sub);
	err = submit_one(in->db, sub, why);
	if (sub->result == ERR_OK) {
		in->waiting[job->attended]++;
		job->position = in->waiting[1] + (job->attended ? 0 : in->waiting[0]);
	}
	return err;
}

enum err queue_submit(struct db *db, struct submission *const *subs, size_t count,
                      const struct queue_limits *limits, struct errtext *why)
{
	struct intake in = {
		.db = db, .limits = limits, .missing = 1, .ms_per_job = -1
	};
	enum err err = read_waiting(db, in.waiting, why);

	assert(db->in_transaction);
	for (size_t i = 0; i < count && err == ERR_OK; i++)
		err = take_in(&in, subs[i], why);
	return err;
}

enum err queue_submit_all(struct db *db, struct submission *const *subs,
                          size_t count, const struct queue_limits *limits,
                          size_t *at, struct errtext *why)
{
	struct intake in = {
		.db = db, .limits = limits, .missing = 1, .ms_per_job = -1
	};
	struct queue_limits room = *limits;
	enum err err = read_waiting(db, in.waiting, why);
	size_t i = 0;

	assert(db->in_transaction && count > 0);
	/* found out before the work: who is over the limit is so from the start */
	if (in.waiting[0] > room.max_jobs - (int64_t)count) {
		in.missing = in.waiting[0] + (int64_t)count - room.max_jobs;
		in.limits = &room;
		room.max_jobs = 0;
	}
	for (; i < count && err == ERR_OK; i++) {
		assert(!subs[i]->job->attended && (i == 0 || !subs[i]->key));
		err = take_in(&in, subs[i], why);
		if (err == ERR_OK && subs[i]->result != ERR_OK) {
			*at = i;
			return subs[i]->result;
		}
	}
	*at = count;
	return err;
}

/* --- choosing -------------------------------------------------------------- */

/* One statement, so that the four heads are of one moment. */
enum err queue_heads(struct db *db, const char *loaded_key, struct order_heads *out)
{
#define OTHER_HEAD(attended)                                                       \
	" UNION ALL SELECT * FROM (SELECT 0, attended, head_seq, head_queued_ms"       \
	"  FROM waiting INDEXED BY waiting_heads WHERE attended = " attended           \
	"  AND head_seq IS NOT NULL AND load_key <> ?1 ORDER BY head_seq LIMIT 1)"
	static const char read[] =
	    "SELECT 1, attended, head_seq, head_queued_ms FROM waiting"
	    " WHERE load_key = ?1 AND head_seq IS NOT NULL" OTHER_HEAD("1")
	        OTHER_HEAD("0");
	struct sql q = sql_use(db, read);
	struct order_heads heads = { 0 };
	enum err err;

	sql_text(&q, loaded_key ? loaded_key : ""); /* no job's key is empty */
	while (sql_row(&q)) {
		bool of_loaded = sql_get_int(&q) != 0;
		int c = sql_get_int(&q) ? ORDER_ATTENDED : ORDER_UNATTENDED;
		struct order_head *head = of_loaded ? &heads.loaded[c] : &heads.other[c];

		head->seq = sql_get_int(&q);
		head->queued_ms = sql_get_int(&q);
	}
	err = sql_end(&q, NULL);
	if (err == ERR_OK)
		*out = heads;
	return err;
}

enum err queue_id(struct db *db, int64_t seq, char id[ULID_SIZE])
{
	static const char read[] = "SELECT id FROM jobs WHERE seq = ?";
	struct sql q = sql_use(db, read);
	char found[ULID_SIZE] = "";
	enum err err;

	sql_int(&q, seq);
	if (sql_row(&q))
		str_copy(found, sizeof(found), sql_peek_text(&q));
	err = sql_end(&q, NULL);
	if (err != ERR_OK)
		return err;
	if (!found[0])
		return ERR_NOENT;
	str_copy(id, ULID_SIZE, found);
	return ERR_OK;
}

/* How many holds are over, and when the next one is. A hold is never set more
 * than LIMIT_RETRY_MAX_MS ahead: further off, the clock has stepped back. */
static enum err look_held(struct db *db, int64_t now_ms, int64_t *over,
                          int64_t *next_ms)
{
	static const char look[] =
	    "SELECT count(*) FILTER (WHERE held_until_ms <= ?1 OR held_until_ms > ?2),"
	    " min(held_until_ms) FILTER (WHERE held_until_ms > ?1)"
	    " FROM jobs WHERE held_until_ms IS NOT NULL";
	struct sql q = sql_use(db, look);

	sql_int(&q, now_ms);
	sql_int(&q, now_ms + LIMIT_RETRY_MAX_MS);
	*over = *next_ms = 0;
	if (sql_row(&q)) {
		*over = sql_get_int(&q);
		*next_ms = sql_get_int(&q);
	}
	return sql_end(&q, NULL);
}

static enum err release(struct db *db, int64_t now_ms)
{
	static const char update[] =
	    "UPDATE jobs SET held_until_ms = NULL WHERE held_until_ms IS NOT NULL"
	    " AND (held_until_ms <= ?1 OR held_until_ms > ?2)";
	enum err err = db_begin(db, DB_SYNC_NORMAL, NULL);
	struct sql q;

	if (err != ERR_OK)
		return err;
	q = sql_use(db, update);
	sql_int(&q, now_ms);
	sql_int(&q, now_ms + LIMIT_RETRY_MAX_MS);
	return db_finish(db, sql_run(&q, NULL), NULL);
}

enum err queue_release_held(struct db *db, int64_t now_ms, int64_t *next_ms)
{
	int64_t over, next;
	enum err err = look_held(db, now_ms, &over, &next);

	if (err == ERR_OK && over > 0) {
		err = release(db, now_ms);
		if (err == ERR_OK)
			err = look_held(db, now_ms, &over, &next);
	}
	if (err == ERR_OK)
		*next_ms = next;
	return err;
}

static enum err move_now(struct db *db, struct job *job, const struct move *s,
                         enum db_sync sync, struct errtext *why)
{
	struct job next;
	enum err moved, err = db_begin(db, sync, why);

	if (err != ERR_OK)
		return err;
	moved = move_in(db, job, s, &next, why);
	err = db_finish(db, moved, why);
	if (err == ERR_OK || (moved == ERR_OK && db->in_doubt))
		move_adopt(job, &next);
	else if (moved == ERR_OK)
		move_drop(&next);
	return err;
}

/* --- the arrows ------------------------------------------------------------ */

/* The one job `q` finds; ERR_NOENT when there is none. */
static enum err one_job(struct sql *q, struct job *out, struct errtext *why)
{
	bool found = sql_row(q);
	enum err err;

	if (found)
		row_read(q, out);
	err = sql_end(q, why);
	return err == ERR_OK && !found ? ERR_NOENT : err;
}

static enum err job_by_seq(struct db *db, int64_t seq, struct job *out,
                           struct errtext *why)
{
	static const char read[] = "SELECT " ROW_JOB " FROM jobs WHERE seq = ?";
	struct sql q = sql_use(db, read);

	sql_int(&q, seq);
	return one_job(&q, out, why);
}

/* A body that is missing reads as an empty one: such a job fails at the target
 * instead of standing in everybody's way. */
static enum err read_input(struct db *db, int64_t seq, struct queue_input *in,
                           struct errtext *why)
{
	static const char read[] = "SELECT body, headers FROM inputs WHERE job_seq = ?";
	struct sql q = sql_use(db, read);
	const void *p = NULL;
	bool found;

	sql_int(&q, seq);
	found = sql_row(&q);
	if (found)
		p = sql_peek_blob(&q, &in->body_len);
	in->body = malloc(in->body_len + 1);
	if (in->body && p)
		memcpy(in->body, p, in->body_len);
	if (in->body)
		in->body[in->body_len] = '\0';
	else
		sql_fail(&q, SQLITE_NOMEM);
	if (found)
		in->headers = sql_get_text(&q);
	return sql_end(&q, why);
}

static enum err claim_in(struct db *db, int64_t seq, int64_t now_ms,
                         struct job *job, struct queue_input *input,
                         struct errtext *why)
{
	const struct move step = { .to = JOB_LOADING, .now_ms = now_ms };
	struct job next;
	enum err err = job_by_seq(db, seq, job, why);

	if (err != ERR_OK)
		return err == ERR_NOENT ? ERR_STALE : err;
	if (job->state != JOB_QUEUED || job->held_until_ms)
		return ERR_STALE;
	err = read_input(db, seq, input, why);
	if (err == ERR_OK)
		err = move_in(db, job, &step, &next, why);
	if (err == ERR_OK)
		move_adopt(job, &next);
	return err;
}

enum err queue_claim(struct db *db, int64_t seq, int64_t now_ms, struct job *job,
                     struct queue_input *input, struct errtext *why)
{
	enum err err = db_begin(db, DB_SYNC_NORMAL, why);
	struct queue_input in = { 0 };
	struct job claimed;

	if (err != ERR_OK)
		return err;
	job_init(&claimed);
	err = db_finish(db, claim_in(db, seq, now_ms, &claimed, &in, why), why);
	if (err != ERR_OK) {
		job_done(&claimed);
		free(in.body);
		free(in.headers);
		return err;
	}
	*job = claimed;
	*input = in;
	return ERR_OK;
}

enum err queue_working(struct db *db, struct job *job, int64_t now_ms,
                       struct errtext *why)
{
	const struct move step = { .to = JOB_WORKING, .now_ms = now_ms };

	return move_now(db, job, &step, DB_SYNC_NORMAL, why);
}

enum err queue_done(struct db *db, struct job *job,
                    const struct queue_result *result, int64_t now_ms,
                    struct errtext *why)
{
	const struct move step = {
		.to = JOB_DONE, .attempts = 1, .result = result, .now_ms = now_ms
	};

	return move_now(db, job, &step, DB_SYNC_FULL, why);
}

enum err queue_failed(struct db *db, struct job *job, enum job_reason reason,
                      const char *error, bool counted,
                      const struct queue_result *result, int64_t now_ms,
                      struct errtext *why)
{
	const struct move step = { .to = JOB_FAILED,
		                       .reason = reason,
		                       .error = error,
		                       .attempts = counted,
		                       .result = result,
		                       .now_ms = now_ms };

	return move_now(db, job, &step, DB_SYNC_FULL, why);
}

enum err queue_back(struct db *db, struct job *job, enum job_reason reason,
                    const char *error, bool counted, int64_t held_until_ms,
                    int64_t now_ms, struct errtext *why)
{
	const struct move step = { .to = JOB_QUEUED,
		                       .reason = reason,
		                       .error = error,
		                       .attempts = counted,
		                       .interruptions = !counted,
		                       .now_ms = now_ms,
		                       .held_until_ms =
		                           held_until_ms < now_ms + LIMIT_RETRY_MAX_MS
		                               ? held_until_ms
		                               : now_ms + LIMIT_RETRY_MAX_MS };

	return move_now(db, job, &step, DB_SYNC_NORMAL, why);
}

/* --- many at once ---------------------------------------------------------- */

/*
 * Move, one after the other in one transaction, at most `max` of the jobs
 * that `first` (one parameter: arg) finds; a moved job must not be found
 * again. Takes the gate only if there is one.
 */
static enum err sweep(struct db *db, const char *first, int64_t arg,
                      const struct move *step, int max, enum db_sync sync,
                      int64_t *count, struct errtext *why)
{
	struct job job, next;
	bool begun = false;
	int64_t moved = 0;
	enum err err = ERR_OK;

	while (moved < max) {
		struct sql q = sql_use(db, first);

		sql_int(&q, arg);
		err = one_job(&q, &job, why);
		if (err != ERR_OK)
			break;
		if (begun)
			err = move_in(db, &job, step, &next, why);
		if (begun && err == ERR_OK) {
			move_adopt(&job, &next);
			moved++;
		}
		job_done(&job);
		if (!begun && err == ERR_OK)
			err = db_begin(db, sync, why);
		if (err != ERR_OK)
			break;
		begun = true; /* with the gate held, look again */
	}
	if (err == ERR_NOENT)
		err = ERR_OK;
	if (begun)
		err = db_finish(db, err, why);
	if (err == ERR_OK)
		*count = moved;
	return err;
}

enum err queue_recover(struct db *db, int64_t now_ms, int64_t *count,
                       struct errtext *why)
{
	static const char first[] =
	    "SELECT " ROW_JOB " FROM jobs INDEXED BY jobs_by_state"
	    " WHERE state IN ('loading', 'working') AND state <> 'queued'"
	    " ORDER BY seq LIMIT ?";
	const struct move step = { .to = JOB_QUEUED,
		                       .reason = REASON_FOREMAN_STOPPED,
		                       .interruptions = 1,
		                       .now_ms = now_ms };

	return sweep(db, first, 1, &step, INT_MAX, DB_SYNC_NORMAL, count, why);
}

enum err queue_expire(struct db *db, int64_t now_ms, int batch, int64_t *count,
                      struct errtext *why)
{
	static const char first[] =
	    "SELECT " ROW_JOB " FROM jobs INDEXED BY jobs_expiring"
	    " WHERE state = 'queued' AND expires_ms <= ?"
	    " ORDER BY expires_ms LIMIT 1";
	const struct move step = { .to = JOB_FAILED,
		                       .reason = REASON_EXPIRED,
		                       .error = "not started in the time it was given",
		                       .now_ms = now_ms };

	return sweep(db, first, now_ms, &step, batch, DB_SYNC_FULL, count, why);
}

/* --- cancel ---------------------------------------------------------------- */

static enum err job_by_id(struct db *db, const char *id, struct job *out,
                          struct errtext *why)
{
	static const char read[] = "SELECT " ROW_JOB " FROM jobs WHERE id = ?";
	struct sql q = sql_use(db, read);

	sql_text(&q, id);
	return one_job(&q, out, why);
}

static enum err request_cancel(struct db *db, int64_t seq, struct errtext *why)
{
	static const char update[] =
	    "UPDATE jobs SET cancel_requested = 1 WHERE seq = ?";
	struct sql q = sql_use(db, update);

	sql_int(&q, seq);
	return sql_run(&q, why);
}

enum err queue_cancel_in(struct db *db, const char *id, int64_t now_ms,
                         enum queue_cancel_answer *out, struct errtext *why)
{
	const struct move step = move_canceled(now_ms);
	enum queue_cancel_answer answer = CANCEL_TERMINAL;
	struct job job, next;
	enum err err = job_by_id(db, id, &job, why);

	if (err != ERR_OK)
		return err;
	if (job.state == JOB_QUEUED) {
		answer = CANCEL_DONE;
		err = move_in(db, &job, &step, &next, why);
		if (err == ERR_OK)
			move_adopt(&job, &next);
	} else if (!job_state_terminal(job.state)) {
		answer = CANCEL_REQUESTED;
		err = request_cancel(db, job.seq, why);
	}
	job_done(&job);
	if (err == ERR_OK)
		*out = answer;
	return err;
}

enum err queue_cancel(struct db *db, const char *id, int64_t now_ms,
                      enum queue_cancel_answer *out, struct errtext *why)
{
	enum queue_cancel_answer answer = CANCEL_TERMINAL;
	enum err err = db_begin(db, DB_SYNC_FULL, why);

	if (err != ERR_OK)
		return err;
	err = db_finish(db, queue_cancel_in(db, id, now_ms, &answer, why), why);
	if (err == ERR_OK)
		*out = answer;
	return err;
}

enum err queue_cancel_wanted(struct db *db, int64_t seq, bool *out)
{
	return move_cancel_wanted(db, seq, out);
}

/* --- counting -------------------------------------------------------------- */

enum err queue_count_swap(struct db *db)
{
	static const char update[] = "UPDATE drain SET swaps = swaps + 1 WHERE one = 1";
	enum err err = db_begin(db, DB_SYNC_NORMAL, NULL);
	struct sql q;

	if (err != ERR_OK)
		return err;
	q = sql_use(db, update);
	return db_finish(db, sql_run(&q, NULL), NULL);
}
