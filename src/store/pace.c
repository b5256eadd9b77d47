/*
 * pace.c - what runs of each load key take.
 *
 * Owns the table `pace`. A row changes in the transaction that ends its job,
 * so no run is counted twice or lost. What stays true: no mean is below zero,
 * and there are at most LIMIT_PACE_KEYS rows.
 * Not here: what follows from the figures (core/estimate).
 */
#include <config.h>

#include "store/pace.h"

#include <assert.h>

#include "core/limits.h"
#include "store/sql.h"

/* The mean of what was and, for an eighth, of what came; of a NULL neither. */
#define MEAN(column)                                                               \
	column " = coalesce(" column " + (excluded." column " - " column ") / 8.0,"    \
	       " excluded." column ", " column ")"

/* True in *fresh when the load key had no row. */
static enum err write_row(struct db *db, const char *load_key,
                          const struct pace *run, int64_t now_ms, bool *fresh,
                          struct errtext *why)
{
	static const char upsert[] =
	    "INSERT INTO pace (load_key, loads, load_ms, runs, run_ms, tokens_per_s,"
	    " updated_ms) VALUES (?1, ?2 IS NOT NULL, ?2, 1, ?3, ?4, ?5)"
	    " ON CONFLICT (load_key) DO UPDATE SET loads = loads + excluded.loads,"
	    " runs = runs + 1, " MEAN("load_ms") ", " MEAN("run_ms") ", " MEAN(
	        "tokens_per_s") ", updated_ms = excluded.updated_ms RETURNING runs";
	struct sql q = sql_use(db, upsert);

	sql_text(&q, load_key);
	sql_real(&q, run->load_ms);
	sql_real(&q, run->run_ms);
	sql_real(&q, run->tokens_per_s);
	sql_int(&q, now_ms);
	while (sql_row(&q))
		*fresh = sql_get_int(&q) == 1;
	return sql_end(&q, why);
}

/* The longest unused go; never the newest, whatever the clock says of it. */
static enum err forget(struct db *db, const char *newest, struct errtext *why)
{
	static const char delete[] =
	    "DELETE FROM pace WHERE load_key IN (SELECT load_key FROM pace"
	    " WHERE load_key <> ?1 ORDER BY updated_ms"
	    " LIMIT max(0, (SELECT count(*) FROM pace) - ?2))";
	struct sql q = sql_use(db, delete);

	sql_text(&q, newest);
	sql_int(&q, LIMIT_PACE_KEYS);
	return sql_run(&q, why);
}

enum err pace_record(struct db *db, const char *load_key, const struct pace *run,
                     int64_t now_ms, struct errtext *why)
{
	bool fresh = false;
	enum err err;

	assert(db->in_transaction);
	err = write_row(db, load_key, run, now_ms, &fresh, why);
	return err == ERR_OK && fresh ? forget(db, load_key, why) : err;
}

enum err pace_read(struct db *db, const char *load_key, struct pace *out)
{
	static const char read[] =
	    "SELECT coalesce(load_ms, -1), coalesce(run_ms, -1),"
	    " coalesce(tokens_per_s, -1) FROM pace WHERE load_key = ?";
	struct pace pace = PACE_UNKNOWN;
	struct sql q = sql_use(db, read);
	enum err err;

	sql_text(&q, load_key);
	if (sql_row(&q)) {
		pace.load_ms = sql_get_real(&q);
		pace.run_ms = sql_get_real(&q);
		pace.tokens_per_s = sql_get_real(&q);
	}
	err = sql_end(&q, NULL);
	if (err == ERR_OK)
		*out = pace;
	return err;
}

/* The time all that wait would take, and how many they are. */
static enum err sum_waiting(struct db *db, double *sum_ms, int64_t *jobs)
{
	static const char read[] =
	    "SELECT total(w.count * p.run_ms"
	    "  + iif(w.load_key IS s.loaded_key, 0, coalesce(p.load_ms, 0))),"
	    " coalesce(sum(w.count), 0)"
	    " FROM (SELECT load_key, sum(count) AS count"
	    "  FROM (SELECT load_key, count FROM waiting LIMIT ?)"
	    "  GROUP BY load_key) w"
	    " JOIN pace p USING (load_key) JOIN status s ON s.one = 1"
	    " WHERE p.run_ms IS NOT NULL";
	struct sql q = sql_use(db, read);

	sql_int(&q, LIMIT_QUEUE_KEYS);
	if (sql_row(&q)) {
		*sum_ms = sql_get_real(&q);
		*jobs = sql_get_int(&q);
	}
	return sql_end(&q, NULL);
}

static enum err read_running(struct db *db, double *sum_ms, int64_t *jobs)
{
	static const char read[] =
	    "SELECT p.run_ms FROM jobs j INDEXED BY jobs_by_state"
	    " JOIN pace p USING (load_key) WHERE j.state IN ('loading', 'working')"
	    " AND j.state <> 'queued' AND p.run_ms IS NOT NULL LIMIT 1";
	struct sql q = sql_use(db, read);

	if (sql_row(&q)) {
		*sum_ms = sql_get_real(&q);
		*jobs = 1;
	}
	return sql_end(&q, NULL);
}

enum err pace_drain_ms(struct db *db, int64_t *ms_per_job)
{
	double sum_ms = 0;
	int64_t jobs = 0;
	enum err err = sum_waiting(db, &sum_ms, &jobs);

	if (err == ERR_OK && jobs == 0)
		err = read_running(db, &sum_ms, &jobs);
	if (err == ERR_OK && jobs == 0)
		*ms_per_job = 0;
	else if (err == ERR_OK) /* known, so not 0 */
		*ms_per_job = sum_ms < (double)jobs ? 1 : (int64_t)(sum_ms / (double)jobs);
	return err;
}
