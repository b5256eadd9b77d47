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
#include "store/row.h"
#include "store/status.h"

/* --- where a job stands ---------------------------------------------------- */

/* What decides on places in line, read once for a whole page; give `status`
 * to status_done whatever read_line answered. */
struct line {
	struct status status; /* the target, and the loaded key */
	int64_t queued;       /* how many wait */
	int64_t attended;     /* how many of those are attended */
};

static enum err read_tallies(struct db *db, int64_t states[JOB_STATE_COUNT],
                             int64_t *attended)
{
	static const char read[] = "SELECT state, attended, count FROM tallies";
	struct sql q = sql_use(db, read);

	memset(states, 0, JOB_STATE_COUNT * sizeof(states[0]));
	*attended = 0;
	while (sql_row(&q)) {
		const char *name = sql_peek_text(&q);
		bool is_attended = sql_get_int(&q) != 0;
		int64_t count = sql_get_int(&q);
		enum job_state state;

		if (job_state_parse(span_of(name), &state) != ERR_OK)
			continue;
		states[state] += count;
		if (state == JOB_QUEUED && is_attended)
			*attended = count;
	}
	return sql_end(&q, NULL);
}

static enum err read_line(struct db *db, struct line *line)
{
	int64_t states[JOB_STATE_COUNT];
	enum err err;

	*line = (struct line){ .queued = 0 };
	err = status_read(db, false, &line->status);
	if (err == ERR_OK)
		err = read_tallies(db, states, &line->attended);
	if (err == ERR_OK)
		line->queued = states[JOB_QUEUED];
	return err;
}

/* Jobs of the same class whose load key is served before this job's: all of
 * the loaded one, and those whose head is older; more than LIMIT_POSITION
 * when there are too many keys to say. */
static enum err count_keys_ahead(struct db *db, const struct job *job,
                                 const char *loaded_key, int64_t *out)
{
	static const char count[] =
	    "SELECT coalesce(sum(count), 0) + iif(count(*) > ?1, ?1, 0) FROM ("
	    " SELECT count FROM waiting WHERE attended = ?2 AND load_key = ?4"
	    "  AND load_key <> ?3"
	    " UNION ALL SELECT * FROM (SELECT count FROM waiting"
	    "  INDEXED BY waiting_heads WHERE attended = ?2 AND head_seq IS NOT NULL"
	    "  AND head_seq <"
	    "   (SELECT head_seq FROM waiting WHERE attended = ?2 AND load_key = ?3)"
	    "  AND load_key <> ?4 AND ?3 <> ?4 LIMIT ?1 + 1))";
	struct sql q = sql_use(db, count);

	sql_int(&q, LIMIT_POSITION);
	sql_int(&q, job->attended);
	sql_text(&q, job->load_key);
	sql_text(&q, loaded_key ? loaded_key : "");
	*out = sql_row(&q) ? sql_get_int(&q) : 0;
	return sql_end(&q, NULL);
}

/* Jobs of the same load key and class that are older, at most one more than
 * LIMIT_POSITION of them. */
static enum err count_jobs_ahead(struct db *db, const struct job *job, int64_t *out)
{
	static const char count[] =
	    "SELECT count(*) FROM (SELECT 1 FROM jobs INDEXED BY jobs_claimable"
	    " WHERE load_key = ? AND attended = ? AND seq < ? AND state = 'queued'"
	    " AND held_until_ms IS NULL LIMIT ?)";
	struct sql q = sql_use(db, count);

	sql_text(&q, job->load_key);
	sql_int(&q, job->attended);
	sql_int(&q, job->seq);
	sql_int(&q, LIMIT_POSITION + 1);
	*out = sql_row(&q) ? sql_get_int(&q) : 0;
	return sql_end(&q, NULL);
}

/* A queued job's position and what it waits for; a held one has no position. */
static enum err place(struct db *db, const struct line *line, struct job *job)
{
	int64_t ahead = job->attended ? 0 : line->attended;
	int64_t keys = 0, jobs = 0;
	enum err err;

	if (job->state != JOB_QUEUED)
		return ERR_OK;
	if (line->status.target == TARGET_SUSPECT || line->status.target == TARGET_DOWN)
		job->waiting_on = WAITING_TARGET;
	if (job->held_until_ms || ahead >= LIMIT_POSITION)
		return ERR_OK;
	err = count_keys_ahead(db, job, line->status.loaded_key, &keys);
	if (err == ERR_OK)
		err = count_jobs_ahead(db, job, &jobs);
	ahead += keys + jobs;
	if (err == ERR_OK && ahead < LIMIT_POSITION)
		job->position = ahead + 1;
	return err;
}

/* What stands outside the job's row. */
static enum err complete(struct db *db, const struct line *line,
                         int64_t inline_limit, struct job *job)
{
	enum err err = place(db, line, job);

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
	err = read_line(db, &line);
	if (err == ERR_OK)
		err = complete(db, &line, inline_limit, &job);
	status_done(&line.status);
	if (err != ERR_OK) {
		job_done(&job);
		return err;
	}
	*out = job;
	return ERR_OK;
}

/* --- pages of jobs --------------------------------------------------------- */

/* Is this a load key of the model: its canonical name alone, or options after? */
static bool is_of_model(const char *load_key, const struct model_name *model)
{
	size_t len = strlen(model->key);

	return strncmp(load_key, model->key, len) == 0 &&
	       (load_key[len] == '\0' || load_key[len] == ' ');
}

/*
 * The rows to look through, newest first: id below ?1, at most ?2, in state ?3.
 * Queued jobs have no index by id. While they are few they are gathered and
 * sorted; else they are found among all: they are the newest there are.
 */
static const char *list_text(const struct look_filter *f, int64_t queued)
{
	static const char all[] =
	    "SELECT " ROW_JOB " FROM jobs"
	    " WHERE id < ?1 AND ?3 IS NULL ORDER BY id DESC LIMIT ?2";
	static const char in_state[] =
	    "SELECT " ROW_JOB " FROM jobs INDEXED BY jobs_by_state"
	    " WHERE id < ?1 AND state = ?3 AND state <> 'queued'"
	    " ORDER BY id DESC LIMIT ?2";
	static const char few_queued[] =
	    "SELECT * FROM (SELECT " ROW_JOB " FROM jobs INDEXED BY jobs_claimable"
	    " WHERE id < ?1 AND state = ?3 AND state = 'queued'"
	    " AND held_until_ms IS NULL"
	    " UNION ALL SELECT " ROW_JOB " FROM jobs INDEXED BY jobs_held"
	    " WHERE held_until_ms IS NOT NULL AND id < ?1) ORDER BY id DESC LIMIT ?2";
	static const char among_all[] =
	    "SELECT " ROW_JOB " FROM jobs"
	    " WHERE id < ?1 AND ?3 = 'queued' ORDER BY id DESC LIMIT ?2";

	if (f->any_state)
		return all;
	if (f->state != JOB_QUEUED)
		return in_state;
	return queued <= LIMIT_LIST_SCAN ? few_queued : among_all;
}

static struct sql use_list(struct db *db, const struct look_filter *f,
                           int64_t queued)
{
	struct sql q = sql_use(db, list_text(f, queued));

	sql_text(&q, f->before ? f->before : "8"); /* above every ULID */
	sql_int(&q, LIMIT_LIST_SCAN);
	sql_text(&q, f->any_state ? NULL : job_state_name(f->state));
	return q;
}

static bool wanted(const struct look_filter *f, const struct model_name *model,
                   const struct job *job)
{
	return (f->any_state || job->state == f->state) &&
	       (!model || is_of_model(job->load_key, model));
}

/* Up to f->limit jobs into `jobs`; `next` becomes the last id looked at if
 * there may be more behind it. */
static enum err read_page(struct db *db, const struct look_filter *f,
                          const struct model_name *model, int64_t queued,
                          struct job *jobs, size_t *count, char next[ULID_SIZE])
{
	struct sql q = use_list(db, f, queued);
	char last[ULID_SIZE] = "";
	int looked = 0;
	bool full = false;
	struct job job;

	while (sql_row(&q)) {
		if (*count == (size_t)f->limit) {
			full = true; /* and there is one more */
			break;
		}
		row_read(&q, &job);
		if (q.rc != SQLITE_OK)
			break;
		looked++;
		str_copy(last, sizeof(last), job.id);
		if (wanted(f, model, &job))
			jobs[(*count)++] = job;
		else
			job_done(&job);
	}
	str_copy(next, ULID_SIZE, full || looked == LIMIT_LIST_SCAN ? last : "");
	return sql_end(&q, NULL);
}

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
	err = read_line(db, &line);
	if (err == ERR_OK)
		err = read_page(db, f, f->model ? &model : NULL, line.queued, page, &n,
		                after);
	for (size_t i = 0; i < n && err == ERR_OK; i++)
		err = complete(db, &line, -1, &page[i]);
	status_done(&line.status);
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

/* --- the state of the queue ------------------------------------------------ */

static enum err read_running(struct db *db, struct look_queue *out)
{
	static const char read[] =
	    "SELECT " ROW_JOB " FROM jobs WHERE state IN ('loading', 'working')"
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
	while (sql_row(&q)) {
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

enum err look_queue(struct db *db, struct look_queue *out)
{
	struct look_queue seen = { .running = "" };
	int64_t attended;
	enum err err = read_running(db, &seen);

	if (err == ERR_OK)
		err = read_waiting(db, &seen);
	if (err == ERR_OK)
		err = read_tallies(db, seen.states, &attended);
	if (err == ERR_OK)
		err = read_figures(db, &seen);
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
