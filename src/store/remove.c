/*
 * remove.c - how a job leaves the store.
 *
 * Only rows of `jobs` are deleted here; the trigger on them (schema.c) takes
 * what belongs to them along and notes the id as retired. So nobody, the
 * sqlite3 shell included, leaves a half of a job behind.
 * Batches are small transactions, and none is begun for nothing: the gate
 * belongs to those who submit.
 */
#include <config.h>

#include "store/remove.h"

#include <stdbool.h>

#include "core/job.h"
#include "store/sql.h"

enum err remove_job_in(struct db *db, const char *id, struct errtext *why)
{
	static const char delete[] = "DELETE FROM jobs WHERE id = ?";
	struct sql q = sql_use(db, delete);
	enum err err;

	sql_text(&q, id);
	err = sql_run(&q, why);
	return err == ERR_OK && sql_changes(db) == 0 ? ERR_NOENT : err;
}

/* Does the statement `look`, ready bound, find a row? */
static enum err finds(struct sql *look, bool *out, struct errtext *why)
{
	bool any = sql_row(look);
	enum err err = sql_end(look, why);

	if (err == ERR_OK)
		*out = any;
	return err;
}

static enum err old_in(struct db *db, int64_t before_ms, int batch,
                       struct errtext *why)
{
	static const char delete[] =
	    "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs"
	    " INDEXED BY jobs_finished WHERE finished_ms < ? AND webhook_pending = 0"
	    " ORDER BY finished_ms LIMIT ?)";
	struct sql q = sql_use(db, delete);

	sql_int(&q, before_ms);
	sql_int(&q, batch);
	return sql_run(&q, why);
}

static enum err any_old(struct db *db, int64_t before_ms, bool *out,
                        struct errtext *why)
{
	static const char look[] =
	    "SELECT 1 FROM jobs INDEXED BY jobs_finished"
	    " WHERE finished_ms < ? AND webhook_pending = 0 LIMIT 1";
	struct sql q = sql_use(db, look);

	sql_int(&q, before_ms);
	return finds(&q, out, why);
}

static enum err retired_in(struct db *db, const char *before, int batch,
                           struct errtext *why)
{
	static const char delete[] = "DELETE FROM retired WHERE id IN"
	                             " (SELECT id FROM retired WHERE id < ?"
	                             " ORDER BY id LIMIT ?)";
	struct sql q = sql_use(db, delete);

	sql_text(&q, before);
	sql_int(&q, batch);
	return sql_run(&q, why);
}

static enum err any_retired(struct db *db, const char *before, bool *out,
                            struct errtext *why)
{
	static const char look[] = "SELECT 1 FROM retired WHERE id < ? LIMIT 1";
	struct sql q = sql_use(db, look);

	sql_text(&q, before);
	return finds(&q, out, why);
}

enum err remove_old(struct db *db, int64_t before_ms, int batch, int64_t *count,
                    struct errtext *why)
{
	int64_t removed = 0;
	bool any = false;
	enum err err = any_old(db, before_ms, &any, why);

	if (err == ERR_OK && any)
		err = db_begin(db, DB_SYNC_NORMAL, why);
	if (err == ERR_OK && any) {
		err = old_in(db, before_ms, batch, why);
		removed = sql_changes(db);
		err = db_finish(db, err, why);
	}
	if (err == ERR_OK)
		*count = removed;
	return err;
}

enum err remove_retired(struct db *db, int64_t before_ms, int batch, int64_t *count,
                        struct errtext *why)
{
	char before[ULID_SIZE];
	int64_t removed = 0;
	bool any = false;
	enum err err;

	ulid_floor(before_ms, before);
	err = any_retired(db, before, &any, why);
	if (err == ERR_OK && any)
		err = db_begin(db, DB_SYNC_NORMAL, why);
	if (err == ERR_OK && any) {
		err = retired_in(db, before, batch, why);
		removed = sql_changes(db);
		err = db_finish(db, err, why);
	}
	if (err == ERR_OK)
		*count = removed;
	return err;
}
