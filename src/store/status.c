/*
 * status.c - the worker's one row, and the target's last list of models.
 *
 * The list stands in a table of its own: a heartbeat would otherwise rewrite
 * it every few seconds.
 */
#include <config.h>

#include "store/status.h"

#include <stdlib.h>

#include "base/str.h"
#include "store/sql.h"

static const char *const target_names[TARGET_STATE_COUNT] = {
	[TARGET_UNKNOWN] = "unknown",
	[TARGET_UP] = "up",
	[TARGET_SUSPECT] = "suspect",
	[TARGET_DOWN] = "unreachable",
};

const char *target_state_name(enum target_state s)
{
	return s < TARGET_STATE_COUNT ? target_names[s] : NULL;
}

static enum target_state target_of(const char *name)
{
	for (int i = 0; i < TARGET_STATE_COUNT; i++)
		if (span_eq(span_of(name), target_names[i]))
			return (enum target_state)i;
	return TARGET_UNKNOWN;
}

void status_done(struct status *s)
{
	free(s->target_error);
	free(s->version);
	free(s->loaded_key);
	free(s->tags);
	*s = (struct status){ 0 };
}

static enum err read_row(struct db *db, struct status *s)
{
	static const char read[] =
	    "SELECT heartbeat_ms, worker_pid, worker_started_ms, target,"
	    " target_since_ms, target_seen_ms, target_error, version, loaded_key,"
	    " embed_ready FROM status WHERE one = 1";
	struct sql q = sql_use(db, read);

	if (sql_row(&q)) {
		s->heartbeat_ms = sql_get_int(&q);
		s->worker_pid = sql_get_int(&q);
		s->worker_started_ms = sql_get_int(&q);
		s->target = target_of(sql_peek_text(&q));
		s->target_since_ms = sql_get_int(&q);
		s->target_seen_ms = sql_get_int(&q);
		s->target_error = sql_get_text(&q);
		s->version = sql_get_text(&q);
		s->loaded_key = sql_get_text(&q);
		s->embed_ready = sql_get_int(&q) != 0;
	}
	return sql_end(&q, NULL);
}

static enum err read_tags(struct db *db, struct status *s)
{
	static const char read[] = "SELECT reply FROM target_tags WHERE one = 1";
	struct sql q = sql_use(db, read);

	if (sql_row(&q))
		s->tags = sql_get_text(&q);
	return sql_end(&q, NULL);
}

enum err status_read(struct db *db, bool with_tags, struct status *out)
{
	struct status s = { 0 };
	enum err err = read_row(db, &s);

	if (err == ERR_OK && with_tags)
		err = read_tags(db, &s);
	if (err == ERR_OK)
		*out = s;
	else
		status_done(&s);
	return err;
}

static enum err write_row(struct db *db, const struct status *s,
                          struct errtext *why)
{
	static const char update[] =
	    "UPDATE status SET heartbeat_ms = ?, worker_pid = ?, worker_started_ms = ?,"
	    " target = ?, target_since_ms = ?, target_seen_ms = ?, target_error = ?,"
	    " version = ?, loaded_key = ?, embed_ready = ? WHERE one = 1";
	struct sql q = sql_use(db, update);

	sql_time(&q, s->heartbeat_ms);
	sql_time(&q, s->worker_pid);
	sql_time(&q, s->worker_started_ms);
	sql_text(&q, target_state_name(s->target));
	sql_time(&q, s->target_since_ms);
	sql_time(&q, s->target_seen_ms);
	sql_text(&q, s->target_error);
	sql_text(&q, s->version);
	sql_text(&q, s->loaded_key);
	sql_int(&q, s->embed_ready);
	return sql_run(&q, why);
}

static enum err write_tags(struct db *db, const char *tags, struct errtext *why)
{
	static const char replace[] =
	    "INSERT OR REPLACE INTO target_tags (one, reply) VALUES (1, ?)";
	struct sql q = sql_use(db, replace);

	sql_text(&q, tags);
	return sql_run(&q, why);
}

enum err status_write(struct db *db, const struct status *s, struct errtext *why)
{
	enum err err = db_begin(db, DB_SYNC_NORMAL, why);

	return err == ERR_OK ? db_finish(db, write_row(db, s, why), why) : err;
}

enum err status_write_tags(struct db *db, const char *tags, struct errtext *why)
{
	enum err err = db_begin(db, DB_SYNC_NORMAL, why);

	return err == ERR_OK ? db_finish(db, write_tags(db, tags, why), why) : err;
}
