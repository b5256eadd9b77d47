/*
 * look.c - reading: one job, pages of jobs, the state of the queue.
 *
 * Every statement is stepped to its end before the next begins, so an answer
 * is put together from moments close to each other and no read transaction
 * stays open. Nothing here grows with the number of jobs: counts come from
 * tallies, places in line and pages stop at a limit.
 */
#include <config.h>

#include "store/look.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/model.h"
#include "store/artifact.h"
#include "store/line.h"
#include "store/pace.h"
#include "store/page.h"
#include "store/row.h"

/* How many jobs are in each state. */
static enum err read_tallies(struct db *db, int64_t states[JOB_STATE_COUNT])
{
	static const char read[] = "SELECT state, count FROM tallies";
	struct sql q = sql_use(db, read);

	memset(states, 0, JOB_STATE_COUNT * sizeof(states[0]));
	while (sql_row(&q)) {
		const char *name = sql_peek_text(&q);
		int64_t count = sql_get_int(&q);
		enum job_state state;

		if (job_state_parse(span_of(name), &state) == ERR_OK)
			states[state] += count;
	}
	return sql_end(&q, NULL);
}

/* What stands outside the job's row. */
static enum err complete(struct db *db, struct line *line, int64_t inline_limit,
                         struct job *job)
{
	enum err err = line_place(db, line, job);

	if (err == ERR_OK && job_state_terminal(job->state))
		err = artifact_list(db, job, inline_limit, NULL);
	return err;
}

/* --- one job --------------------------------------------------------------- */

static enum err read_job(struct db *db, const char *id, struct job *out)
{
	static const char read[] = "SELECT " ROW_JOB " FROM jobs WHERE id = ?";
	struct sql q = sql_use(db, read);
	bool found;
	enum err err;

	sql_text(&q, id);
	found = sql_row(&q);
	if (found)
		row_read(&q, out);
	err = sql_end(&q, NULL);
	return err == ERR_OK && !found ? ERR_NOENT : err;
}

/* ERR_DENIED when there was a job of this id, ERR_NOENT when there never was. */
static enum err read_retired(struct db *db, const char *id)
{
	static const char read[] = "SELECT 1 FROM retired WHERE id = ?";
	struct sql q = sql_use(db, read);
	bool found;
	enum err err;

	sql_text(&q, id);
	found = sql_row(&q);
	err = sql_end(&q, NULL);
	return err != ERR_OK ? err : found ? ERR_DENIED : ERR_NOENT;
}

enum err look_job(struct db *db, const char *id, int64_t inline_limit,
                  struct job *out)
{
	struct line line;
	struct job job;
	enum err err = read_job(db, id, &job);

	if (err != ERR_OK)
		return err == ERR_NOENT ? read_retired(db, id) : err;
	err = line_read(db, &line);
	if (err == ERR_OK)
		err = complete(db, &line, inline_limit, &job);
	line_done(&line);
	if (err != ERR_OK) {
		job_done(&job);
		return err;
	}
	*out = job;
	return ERR_OK;
}

enum err look_body(struct db *db, const char *id, char **body, size_t *len)
{
	static const char read[] = "SELECT body FROM inputs WHERE job_seq ="
	                           " (SELECT seq FROM jobs WHERE id = ?)";
	struct sql q = sql_use(db, read);
	struct span found = { 0 };
	char *copy = NULL;
	enum err err;

	sql_text(&q, id);
	if (sql_row(&q)) {
		found.p = sql_peek_blob(&q, &found.len);
		copy = span_dup(found);
		if (!copy)
			sql_fail(&q, SQLITE_NOMEM);
	}
	err = sql_end(&q, NULL);
	if (err == ERR_OK && !copy)
		err = ERR_NOENT;
	if (err != ERR_OK) {
		free(copy);
		return err;
	}
	*body = copy;
	*len = found.len;
	return ERR_OK;
}

/* --- a job's moves --------------------------------------------------------- */

enum err look_step(struct db *db, const char *id, struct look_step *out)
{
	static const char read[] = "SELECT event_seq, state FROM jobs WHERE id = ?";
	struct sql q = sql_use(db, read);
	struct look_step step = { 0 };
	bool found;
	enum err err;

	sql_text(&q, id);
	found = sql_row(&q);
	if (found) {
		step.event_seq = sql_get_int(&q);
		if (job_state_parse(span_of(sql_peek_text(&q)), &step.state) != ERR_OK)
			sql_fail(&q, SQLITE_CORRUPT);
	}
	err = sql_end(&q, NULL);
	if (err == ERR_OK && !found)
		return read_retired(db, id);
	if (err == ERR_OK)
		*out = step;
	return err;
}

static void read_event(struct sql *q, struct look_event *out)
{
	const char *reason;

	out->seq = sql_get_int(q);
	out->at_ms = sql_get_int(q);
	out->reason = REASON_NONE;
	if (job_state_parse(span_of(sql_peek_text(q)), &out->state) != ERR_OK)
		sql_fail(q, SQLITE_CORRUPT);
	reason = sql_peek_text(q);
	if (reason && job_reason_parse(span_of(reason), &out->reason) != ERR_OK)
		sql_fail(q, SQLITE_CORRUPT);
}

enum err look_events(struct db *db, const char *id, int64_t after,
                     struct look_event *events, size_t max, size_t *count)
{
	static const char read[] =
	    "SELECT e.seq, e.at_ms, e.state, e.reason FROM jobs j"
	    " CROSS JOIN events e ON e.job_seq = j.seq"
	    " WHERE j.id = ? AND e.seq > ? ORDER BY e.seq LIMIT ?";
	struct sql q = sql_use(db, read);
	struct look_step step;
	size_t n = 0;
	enum err err;

	sql_text(&q, id);
	sql_int(&q, after);
	sql_int(&q, (int64_t)max);
	while (sql_row(&q))
		read_event(&q, &events[n++]);
	err = sql_end(&q, NULL);
	if (err == ERR_OK && n == 0)
		err = look_step(db, id, &step); /* is there such a job? */
	if (err == ERR_OK)
		*count = n;
	return err;
}

/* --- pages of jobs --------------------------------------------------------- */

enum err look_jobs(struct db *db, const struct look_filter *f, struct job **jobs,
                   size_t *count, char next[ULID_SIZE])
{
	struct model_name model;
	char after[ULID_SIZE];
	struct line line;
	struct job *page;
	size_t n = 0;
	enum err err;

	assert(f->limit > 0);
	if (f->model && model_parse(span_of(f->model), &model, NULL) != ERR_OK)
		return ERR_INVAL;
	page = calloc((size_t)f->limit, sizeof(*page));
	if (!page)
		return ERR_NOMEM;
	err = line_read(db, &line);
	if (err == ERR_OK)
		err = page_read(db, f, f->model ? &model : NULL, page, &n, after);
	for (size_t i = 0; i < n && err == ERR_OK; i++)
		err = complete(db, &line, -1, &page[i]);
	line_done(&line);
	if (err != ERR_OK) {
		while (n > 0)
			job_done(&page[--n]);
		free(page);
		return err;
	}
	*jobs = page;
	*count = n;
	str_copy(next, ULID_SIZE, after);
	return ERR_OK;
}

/* --- a batch --------------------------------------------------------------- */

static enum err read_batch(struct db *db, const char *first, const char *last,
                           const char *after, int limit, struct job *jobs,
                           size_t *count)
{
	static const char read[] = "SELECT " ROW_JOB " FROM jobs"
	                           " WHERE id >= ? AND id <= ? AND id > ?"
	                           " ORDER BY id LIMIT ?";
	struct sql q = sql_use(db, read);

	sql_text(&q, first);
	sql_text(&q, last);
	sql_text(&q, after);
	sql_int(&q, limit);
	while (sql_row(&q)) {
		row_read(&q, &jobs[*count]);
		if (q.rc == SQLITE_OK)
			++*count;
	}
	return sql_end(&q, NULL);
}

enum err look_batch(struct db *db, const char *first, const char *last,
                    const char *after, int limit, struct job **jobs, size_t *count)
{
	struct job *page = calloc((size_t)limit, sizeof(*page));
	struct line line;
	size_t n = 0;
	enum err err;

	if (!page)
		return ERR_NOMEM;
	err = line_read(db, &line);
	if (err == ERR_OK)
		err = read_batch(db, first, last, after, limit, page, &n);
	for (size_t i = 0; i < n && err == ERR_OK; i++)
		err = complete(db, &line, -1, &page[i]);
	line_done(&line);
	if (err != ERR_OK) {
		while (n > 0)
			job_done(&page[--n]);
		free(page);
		return err;
	}
	*jobs = page;
	*count = n;
	return ERR_OK;
}

/* --- the state of the queue ------------------------------------------------ */

static enum err read_running(struct db *db, struct look_queue *out)
{
	static const char read[] =
	    "SELECT " ROW_JOB " FROM jobs INDEXED BY jobs_by_state"
	    " WHERE state IN ('loading', 'working') AND state <> 'queued'"
	    " ORDER BY seq LIMIT 1";
	struct sql q = sql_use(db, read);
	struct job *job;

	if (sql_row(&q)) {
		job = calloc(1, sizeof(*job));
		if (job)
			row_read(&q, job);
		else
			sql_fail(&q, SQLITE_NOMEM);
		out->running_job = job;
		if (job)
			str_copy(out->running, sizeof(out->running), job->id);
	}
	return sql_end(&q, NULL);
}

/* Attended first, then by the age of what may run; those wholly on hold last,
 * their age taken from the held jobs, which are few. */
static enum err read_waiting(struct db *db, struct look_queue *out)
{
	static const char read[] =
	    "SELECT load_key, attended, count, coalesce(head_queued_ms,"
	    "  (SELECT min(queued_ms) FROM jobs INDEXED BY jobs_held"
	    "   WHERE held_until_ms IS NOT NULL AND load_key = w.load_key"
	    "   AND attended = w.attended))"
	    " FROM (SELECT * FROM waiting LIMIT ?1) w"
	    " ORDER BY attended DESC, head_seq IS NULL, head_seq";
	struct sql q = sql_use(db, read);

	out->waiting = calloc(LIMIT_QUEUE_KEYS, sizeof(*out->waiting));
	if (!out->waiting)
		sql_fail(&q, SQLITE_NOMEM);
	sql_int(&q, LIMIT_QUEUE_KEYS);
	while (out->waiting && sql_row(&q)) {
		struct look_waiting *w = &out->waiting[out->waiting_count++];

		w->load_key = sql_get_text(&q);
		w->attended = sql_get_int(&q) != 0;
		w->count = sql_get_int(&q);
		w->oldest_ms = sql_get_int(&q);
	}
	return sql_end(&q, NULL);
}

static enum err read_figures(struct db *db, struct look_queue *out)
{
	static const char read[] =
	    "SELECT (SELECT count FROM webhook_tallies WHERE state = 'pending'),"
	    " (SELECT count FROM webhook_tallies WHERE state = 'dead'),"
	    " swaps, fifo_swaps FROM drain WHERE one = 1";
	struct sql q = sql_use(db, read);

	if (sql_row(&q)) {
		out->webhooks_pending = sql_get_int(&q);
		out->webhooks_dead = sql_get_int(&q);
		out->swaps = sql_get_int(&q);
		out->fifo_swaps = sql_get_int(&q);
	}
	return sql_end(&q, NULL);
}

static enum err read_rate(struct db *db, const char *load_key, double *tokens_per_s)
{
	struct pace pace = PACE_UNKNOWN;
	enum err err = pace_read(db, load_key, &pace);

	*tokens_per_s = pace.tokens_per_s > 0 ? pace.tokens_per_s : 0;
	return err;
}

static enum err read_estimates(struct db *db, struct look_queue *out)
{
	struct line line;
	enum err err = line_read(db, &line);

	if (err == ERR_OK)
		err = line_plan(db, &line);
	for (size_t i = 0; i < out->waiting_count && err == ERR_OK; i++) {
		struct look_waiting *w = &out->waiting[i];

		if (!line_times(&line, w->load_key, w->attended, &w->starts_ms,
		                &w->ends_ms))
			w->starts_ms = w->ends_ms = 0;
	}
	if (err == ERR_OK)
		out->empty_ms = line_empty_ms(&line);
	line_done(&line);
	if (err == ERR_OK)
		err = pace_drain_ms(db, &out->ms_per_job);
	if (err == ERR_OK && out->running_job)
		err = read_rate(db, out->running_job->load_key, &out->tokens_per_s);
	return err;
}

enum err look_queue(struct db *db, struct look_queue *out)
{
	struct look_queue seen = { .running = "" };
	enum err err = read_running(db, &seen);

	if (err == ERR_OK)
		err = read_waiting(db, &seen);
	if (err == ERR_OK)
		err = read_tallies(db, seen.states);
	if (err == ERR_OK)
		err = read_figures(db, &seen);
	if (err == ERR_OK)
		err = read_estimates(db, &seen);
	if (err == ERR_OK)
		*out = seen;
	else
		look_queue_done(&seen);
	return err;
}

void look_queue_done(struct look_queue *q)
{
	if (q->running_job)
		job_done(q->running_job);
	free(q->running_job);
	for (size_t i = 0; i < q->waiting_count; i++)
		free(q->waiting[i].load_key);
	free(q->waiting);
	*q = (struct look_queue){ .running = "" };
}
