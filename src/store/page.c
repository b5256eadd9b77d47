/*
 * page.c - which jobs stand on one page.
 *
 * A page costs the same however many jobs there are. Jobs that do not wait are
 * found by index, whatever the filter. Waiting ones have no index by id, which
 * would cost every arrival a tenth more: while those of the filter are few they
 * are gathered and sorted; else they are looked for among all, newest first,
 * LIMIT_LIST_SEEK ids at a time, so that such a page may be short.
 */
#include <config.h>

#include "store/page.h"

#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "store/row.h"

/* Load keys of a model: its name alone, or a space and options behind. */
#define OF_RANGE "load_key >= ?2 AND load_key < ?3"
#define RANGE_END "\x7f" /* above every load key: they are printable ASCII */

struct page {
	struct db *db;
	const char *before;    /* ids below this one ... */
	char floor[ULID_SIZE]; /* ... and not below this one, "": all */
	const char *model;     /* its key; NULL: any */
	char range[2][LIMIT_MODEL_NAME + 2];
	int want; /* so many, and the next one */
	struct job *found;
	size_t count, room;
};

/* --- gathering rows --------------------------------------------------------- */

static enum err take_rows(struct page *p, struct sql *q)
{
	while (sql_row(q)) {
		if (p->count == p->room) {
			size_t room = p->room ? 2 * p->room : 64;
			struct job *more = realloc(p->found, room * sizeof(*more));

			if (!more) {
				sql_fail(q, SQLITE_NOMEM);
				break;
			}
			p->found = more;
			p->room = room;
		}
		row_read(q, &p->found[p->count]);
		if (q->rc != SQLITE_OK)
			break;
		p->count++;
	}
	return sql_end(q, NULL);
}

static enum err take_any(struct page *p)
{
	static const char read[] =
	    "SELECT " ROW_JOB " FROM jobs WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
	struct sql q = sql_use(p->db, read);

	sql_text(&q, p->before);
	sql_int(&q, p->want);
	return take_rows(p, &q);
}

/* Jobs in a state other than queued. */
static enum err take_state(struct page *p, enum job_state state)
{
	static const char of_any[] =
	    "SELECT " ROW_JOB " FROM jobs INDEXED BY jobs_by_state"
	    " WHERE id < ?1 AND id >= ?2 AND state = ?3 AND state <> 'queued'"
	    " ORDER BY id DESC LIMIT ?4";
	static const char of_model[] =
	    "SELECT " ROW_JOB " FROM jobs INDEXED BY jobs_by_model"
	    " WHERE id < ?1 AND id >= ?2 AND state = ?3 AND state <> 'queued'"
	    " AND " ROW_MODEL " = ?5 ORDER BY id DESC LIMIT ?4";
	struct sql q = sql_use(p->db, p->model ? of_model : of_any);

	sql_text(&q, p->before);
	sql_text(&q, p->floor);
	sql_text(&q, job_state_name(state));
	sql_int(&q, p->want);
	if (p->model)
		sql_text(&q, p->model);
	return take_rows(p, &q);
}

/* --- those that wait -------------------------------------------------------- */

static enum err count_waiting(const struct page *p, int64_t *out)
{
	static const char read[] =
	    "SELECT coalesce(sum(count), 0) FROM waiting WHERE load_key >= ? AND"
	    " load_key < ?";
	struct sql q = sql_use(p->db, read);

	sql_text(&q, p->range[0]);
	sql_text(&q, p->range[1]);
	*out = sql_row(&q) ? sql_get_int(&q) : 0;
	return sql_end(&q, NULL);
}

static enum err gather_waiting(struct page *p)
{
	static const char read[] =
	    "SELECT * FROM (SELECT " ROW_JOB " FROM jobs INDEXED BY jobs_claimable"
	    " WHERE id < ?1 AND state = 'queued' AND held_until_ms IS NULL"
	    " AND " OF_RANGE " UNION ALL SELECT " ROW_JOB
	    " FROM jobs INDEXED BY jobs_held"
	    " WHERE held_until_ms IS NOT NULL AND id < ?1 AND " OF_RANGE
	    ") ORDER BY id DESC LIMIT ?4";
	struct sql q = sql_use(p->db, read);

	sql_text(&q, p->before);
	sql_text(&q, p->range[0]);
	sql_text(&q, p->range[1]);
	sql_int(&q, p->want);
	return take_rows(p, &q);
}

/* The seq of the oldest that waits, held or not; INT64_MAX: nobody does. */
static enum err oldest_waiting(const struct page *p, int64_t *out)
{
	static const char read[] =
	    "SELECT min(coalesce((SELECT min(head_seq) FROM waiting), ?1),"
	    " coalesce((SELECT min(seq) FROM jobs INDEXED BY jobs_held"
	    "  WHERE held_until_ms IS NOT NULL), ?1))";
	struct sql q = sql_use(p->db, read);

	sql_int(&q, INT64_MAX);
	*out = sql_row(&q) ? sql_get_int(&q) : INT64_MAX;
	return sql_end(&q, NULL);
}

/*
 * How far down to look: to p->floor; there are more below unless that is "".
 * Where nothing is as young as the oldest that waits, none is: ids and seqs
 * grow together but for a clock that stepped back over all of these jobs.
 */
static enum err find_floor(struct page *p)
{
	static const char read[] =
	    "SELECT count(*), max(seq), min(id) FROM (SELECT seq, id FROM jobs"
	    " WHERE id < ? ORDER BY id DESC LIMIT ?)";
	struct sql q = sql_use(p->db, read);
	int64_t rows = 0, youngest = 0, oldest = 0;
	enum err err;

	sql_text(&q, p->before);
	sql_int(&q, LIMIT_LIST_SEEK);
	if (sql_row(&q)) {
		rows = sql_get_int(&q);
		youngest = sql_get_int(&q);
		if (rows == LIMIT_LIST_SEEK)
			str_copy(p->floor, sizeof(p->floor), sql_peek_text(&q));
	}
	err = sql_end(&q, NULL);
	if (err == ERR_OK && p->floor[0])
		err = oldest_waiting(p, &oldest);
	if (err == ERR_OK && youngest < oldest)
		p->floor[0] = '\0'; /* of those that wait none is left */
	return err;
}

static enum err seek_waiting(struct page *p)
{
	/* the pluses leave SQLite the ids as the one way to go */
	static const char read[] =
	    "SELECT " ROW_JOB " FROM jobs WHERE id < ?1 AND id >= ?4"
	    " AND +state = 'queued' AND +load_key >= ?2 AND +load_key < ?3"
	    " ORDER BY id DESC LIMIT ?5";
	char bottom[ULID_SIZE];
	struct sql q;
	enum err err = find_floor(p);

	if (err != ERR_OK)
		return err;
	str_copy(bottom, sizeof(bottom), p->floor);
	q = sql_use(p->db, read);
	sql_text(&q, p->before);
	sql_text(&q, p->range[0]);
	sql_text(&q, p->range[1]);
	sql_text(&q, bottom);
	sql_int(&q, p->want);
	return take_rows(p, &q);
}

static enum err take_waiting(struct page *p)
{
	int64_t waiting = 0;
	enum err err = count_waiting(p, &waiting);

	if (err != ERR_OK || waiting == 0)
		return err;
	return waiting <= LIMIT_LIST_WAITING ? gather_waiting(p) : seek_waiting(p);
}

/* --- the page ----------------------------------------------------------------- */

/* A model's jobs in every state: those that wait first, for they say how far
 * down the page may reach. */
static enum err take_model(struct page *p)
{
	enum err err = take_waiting(p);

	for (int s = 0; s < JOB_STATE_COUNT && err == ERR_OK; s++)
		if (s != JOB_QUEUED)
			err = take_state(p, (enum job_state)s);
	return err;
}

static int newest_first(const void *pa, const void *pb)
{
	return strcmp(((const struct job *)pb)->id, ((const struct job *)pa)->id);
}

/* What is on it goes to the caller, the rest away. */
static void hand_over(struct page *p, struct job *jobs, size_t *count,
                      char next[ULID_SIZE])
{
	size_t limit = (size_t)p->want - 1;

	if (p->count > 1)
		qsort(p->found, p->count, sizeof(*p->found), newest_first);
	*count = p->count < limit ? p->count : limit;
	str_copy(next, ULID_SIZE, p->count > limit ? p->found[limit - 1].id : p->floor);
	if (*count > 0)
		memcpy(jobs, p->found, *count * sizeof(*jobs));
	for (size_t i = *count; i < p->count; i++)
		job_done(&p->found[i]);
}

enum err page_read(struct db *db, const struct look_filter *f,
                   const struct model_name *model, struct job *jobs, size_t *count,
                   char next[ULID_SIZE])
{
	struct page p = { .db = db,
		              .before = f->before ? f->before : "8", /* above all */
		              .model = model ? model->key : NULL,
		              .want = f->limit + 1 };
	enum err err;

	str_copy(p.range[0], sizeof(p.range[0]), model ? model->key : "");
	str_copy(p.range[1], sizeof(p.range[1]), model ? model->key : RANGE_END);
	if (model)
		strcat(p.range[1], "!"); /* what follows a space */
	if (f->any_state)
		err = model ? take_model(&p) : take_any(&p);
	else if (f->state == JOB_QUEUED)
		err = take_waiting(&p);
	else
		err = take_state(&p, f->state);
	if (err == ERR_OK) {
		hand_over(&p, jobs, count, next);
	} else {
		*count = 0;
		while (p.count > 0)
			job_done(&p.found[--p.count]);
	}
	free(p.found);
	return err;
}
