/*
 * line.c - where a waiting job stands.
 *
 * The line is a few rows, one for each load key and class, whatever its length;
 * core/estimate puts them in running order. Only a job's place among those of
 * its own load key is counted, up to LIMIT_POSITION. Jobs on hold have no
 * place and take nobody's.
 */
#include <config.h>

#include "store/line.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/limits.h"
#include "store/pace.h"
#include "store/row.h"

#define ROWS_MAX (2 * (LIMIT_QUEUE_KEYS + 1)) /* the loaded key, and others */

enum err line_read(struct db *db, struct line *out)
{
	enum err err;

	*out = (struct line){ .now_ms = clock_wall_ms() };
	err = status_read(db, false, &out->status);
	out->live = err == ERR_OK && out->status.target == TARGET_UP &&
	            out->now_ms - out->status.heartbeat_ms <= LIMIT_HEARTBEAT_STALE_MS;
	return err;
}

static void drop_plan(struct line *line)
{
	assert(line->rows || line->count == 0);
	for (size_t i = 0; i < line->count; i++)
		free((char *)(uintptr_t)line->rows[i].load_key);
	free(line->rows);
	free(line->marks);
	estimate_done(&line->plan);
	line->rows = NULL;
	line->marks = NULL;
	line->count = 0;
}

void line_done(struct line *line)
{
	drop_plan(line);
	status_done(&line->status);
}

/* --- the line by load keys ------------------------------------------------- */

/* The loaded key's rows, and of each class those whose heads are oldest. */
static enum err read_rows(struct db *db, struct line *line)
{
#define OTHER_ROWS(attended)                                                       \
	" UNION ALL SELECT * FROM (SELECT load_key, attended, count, head_seq"         \
	"  FROM waiting INDEXED BY waiting_heads WHERE attended = " attended           \
	"  AND head_seq IS NOT NULL AND load_key <> ?1 ORDER BY head_seq LIMIT ?2)"
	static const char read[] =
	    "SELECT w.load_key, w.attended, w.count, w.head_seq,"
	    " coalesce(p.load_ms, -1), coalesce(p.run_ms, -1)"
	    " FROM (SELECT load_key, attended, count, head_seq FROM waiting"
	    "  WHERE load_key = ?1 AND head_seq IS NOT NULL" OTHER_ROWS("1")
	        OTHER_ROWS("0") ") w LEFT JOIN pace p USING (load_key)";
	const char *loaded = line->status.loaded_key;
	struct sql q = sql_use(db, read);
	size_t others[2] = { 0, 0 };

	sql_text(&q, loaded ? loaded : ""); /* no job's key is empty */
	sql_int(&q, LIMIT_QUEUE_KEYS);
	while (line->count < ROWS_MAX && sql_row(&q)) {
		struct estimate_row *row = &line->rows[line->count];

		line->marks[line->count++].far_seq = INT64_MAX;
		row->load_key = sql_get_text(&q);
		row->attended = sql_get_int(&q) != 0;
		row->count = sql_get_int(&q);
		row->head_seq = sql_get_int(&q);
		row->load_ms = sql_get_real(&q);
		row->run_ms = sql_get_real(&q);
		if (q.rc == SQLITE_OK && (!loaded || strcmp(row->load_key, loaded) != 0))
			others[row->attended]++;
	}
	line->whole = others[0] < LIMIT_QUEUE_KEYS && others[1] < LIMIT_QUEUE_KEYS;
	return sql_end(&q, NULL);
}

static struct estimate_row *row_of(const struct line *line, const char *load_key,
                                   bool attended)
{
	for (size_t i = 0; i < line->count; i++)
		if (line->rows[i].attended == attended &&
		    strcmp(line->rows[i].load_key, load_key) == 0)
			return &line->rows[i];
	return NULL;
}

/* The rows count those on hold as well; these are few. */
static enum err leave_out_held(struct db *db, struct line *line)
{
	static const char read[] =
	    "SELECT load_key, attended, count(*) FROM (SELECT load_key, attended"
	    " FROM jobs INDEXED BY jobs_held WHERE held_until_ms IS NOT NULL LIMIT ?)"
	    " GROUP BY load_key, attended";
	struct sql q = sql_use(db, read);

	sql_int(&q, LIMIT_QUEUE_KEYS);
	while (sql_row(&q)) {
		const char *load_key = sql_peek_text(&q);
		bool attended = sql_get_int(&q) != 0;
		struct estimate_row *row = row_of(line, load_key ? load_key : "", attended);

		line->whole = false;
		if (row)
			row->count -= sql_get_int(&q);
	}
	return sql_end(&q, NULL);
}

/* How long what runs will go on. */
static enum err read_busy(struct db *db, const struct line *line, double *busy_ms)
{
	static const char read[] =
	    "SELECT j.loading_ms, coalesce(j.working_ms, 0), coalesce(p.load_ms, -1),"
	    " coalesce(p.run_ms, -1)"
	    " FROM jobs j INDEXED BY jobs_by_state LEFT JOIN pace p USING (load_key)"
	    " WHERE j.state IN ('loading', 'working') AND j.state <> 'queued' LIMIT 1";
	struct sql q = sql_use(db, read);

	*busy_ms = 0;
	if (sql_row(&q)) {
		int64_t loading_ms = sql_get_int(&q);
		int64_t working_ms = sql_get_int(&q);
		double load_ms = sql_get_real(&q);
		double run_ms = sql_get_real(&q);

		*busy_ms =
		    estimate_rest(load_ms, run_ms, (double)(line->now_ms - loading_ms),
		                  working_ms ? (double)(line->now_ms - working_ms) : -1);
	}
	return sql_end(&q, NULL);
}

enum err line_plan(struct db *db, struct line *line)
{
	struct estimate_now now = { .loaded_key = line->status.loaded_key,
		                        .max_wait_ms = db->conf.max_wait_ms };
	enum err err;

	if (line->planned)
		return ERR_OK;
	line->rows = calloc(ROWS_MAX, sizeof(*line->rows));
	line->marks = calloc(ROWS_MAX, sizeof(*line->marks));
	err = line->rows && line->marks ? read_rows(db, line) : ERR_NOMEM;
	if (err == ERR_OK)
		err = leave_out_held(db, line);
	if (err == ERR_OK)
		err = read_busy(db, line, &now.busy_ms);
	if (err == ERR_OK)
		err = estimate_make(&now, line->rows, line->count, &line->plan);
	if (err != ERR_OK)
		drop_plan(line);
	line->planned = err == ERR_OK;
	return err;
}

/* --- one job --------------------------------------------------------------- */

/* Jobs of its load key and class from seq `from` to before `to`, at most `max`;
 * *last is the youngest counted. */
static enum err count_between(struct db *db, const struct job *job, int64_t from,
                              int64_t to, int64_t max, int64_t *out, int64_t *last)
{
	static const char count[] =
	    "SELECT count(*), max(seq) FROM (SELECT seq FROM jobs"
	    " INDEXED BY jobs_claimable WHERE load_key = ? AND attended = ?"
	    " AND seq >= ? AND seq < ? AND state = 'queued' AND held_until_ms IS NULL"
	    " ORDER BY seq LIMIT ?)";
	struct sql q = sql_use(db, count);

	sql_text(&q, job->load_key);
	sql_int(&q, job->attended);
	sql_int(&q, from);
	sql_int(&q, to);
	sql_int(&q, max);
	*out = sql_row(&q) ? sql_get_int(&q) : 0;
	*last = *out ? sql_get_int(&q) : 0;
	return sql_end(&q, NULL);
}

/*
 * Jobs of the same load key and class that are older, at most LIMIT_POSITION.
 * Counted from the job that was placed last, for those of a page are neighbours.
 */
static enum err count_ahead(struct db *db, const struct job *job,
                            struct line_mark *mark, int64_t *out)
{
	int64_t n = 0, last = 0;
	enum err err;

	*out = LIMIT_POSITION;
	if (job->seq >= mark->far_seq)
		return ERR_OK;
	if (mark->seq > job->seq) {
		err = count_between(db, job, job->seq, mark->seq, mark->ahead, &n, &last);
		n = mark->ahead - n;
	} else {
		err = count_between(db, job, mark->seq, job->seq,
		                    LIMIT_POSITION - mark->ahead, &n, &last);
		n += mark->ahead;
	}
	if (err != ERR_OK)
		return err;
	if (n >= LIMIT_POSITION) {
		mark->far_seq = last + 1;
		return ERR_OK;
	}
	mark->seq = job->seq;
	mark->ahead = *out = n;
	return ERR_OK;
}

static void take_answer(const struct line *line, const struct estimate_answer *a,
                        struct job *job)
{
	if (a->place <= LIMIT_POSITION)
		job->position = a->place;
	if (!line->live || a->starts_ms < 0 || a->ends_ms < 0)
		return;
	job->starts_ms = line->now_ms + (int64_t)a->starts_ms;
	job->ends_ms = line->now_ms + (int64_t)a->ends_ms;
}

enum err line_place(struct db *db, struct line *line, struct job *job)
{
	struct estimate_answer answer;
	const struct estimate_row *found;
	int64_t ahead = 0;
	size_t row;
	enum err err;

	if (job->state != JOB_QUEUED)
		return ERR_OK;
	if (line->status.target == TARGET_SUSPECT || line->status.target == TARGET_DOWN)
		job->waiting_on = WAITING_TARGET;
	if (job->held_until_ms)
		return ERR_OK;
	err = line_plan(db, line);
	found = err == ERR_OK ? row_of(line, job->load_key, job->attended) : NULL;
	if (!found)
		return err;
	row = (size_t)(found - line->rows);
	err = count_ahead(db, job, &line->marks[row], &ahead);
	if (err == ERR_OK && ahead < LIMIT_POSITION &&
	    estimate_job(&line->plan, row, ahead, &answer))
		take_answer(line, &answer, job);
	return err;
}

/* --- the whole ------------------------------------------------------------- */

bool line_times(const struct line *line, const char *load_key, bool attended,
                int64_t *starts_ms, int64_t *ends_ms)
{
	const struct estimate_row *row = row_of(line, load_key, attended);
	struct estimate_answer a;

	if (!row || !line->live ||
	    !estimate_all(&line->plan, (size_t)(row - line->rows), row->count, &a) ||
	    a.starts_ms < 0 || a.ends_ms < 0)
		return false;
	*starts_ms = line->now_ms + (int64_t)a.starts_ms;
	*ends_ms = line->now_ms + (int64_t)a.ends_ms;
	return true;
}

int64_t line_empty_ms(const struct line *line)
{
	if (!line->live || !line->whole || line->plan.empty_ms < 0)
		return 0;
	return line->now_ms + (int64_t)line->plan.empty_ms;
}
