/*
 * database.c - foreman db: the file itself, without the service.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "core/limits.h"
#include "store/backup.h"
#include "store/status.h"

#define NOT_READY 1
#define DEFAULT_DB "/var/lib/foreman/foreman.db" /* as in the settings' table */

static const char *path_of(const struct cli *c)
{
	const char *given = cli_option(c, "db");

	if (!given)
		given = getenv("FOREMAN_DB");
	return given && given[0] ? given : DEFAULT_DB;
}

static int failed(enum err e, const struct errtext *why)
{
	int status = e == ERR_NOENT                       ? EX_NOINPUT
	             : e == ERR_INVAL                     ? EX_DATAERR
	             : e == ERR_CONFLICT || e == ERR_FULL ? EX_CANTCREAT
	             : e == ERR_BUSY                      ? EX_TEMPFAIL
	                                                  : EX_IOERR;

	return cli_say(status, "%s", why->s[0] ? why->s : err_name(e));
}

int run_db_check(struct cli *c)
{
	struct errtext why = { "" };
	enum err e = backup_check(path_of(c), &why);

	if (e)
		return failed(e, &why);
	puts(c->json ? "{\"ok\":true}" : "ok");
	return EX_OK;
}

int run_db_backup(struct cli *c)
{
	struct errtext why = { "" };
	enum err e = backup_copy(path_of(c), c->operands[0], &why);
	cJSON *o;

	if (e)
		return failed(e, &why);
	if (c->json) {
		o = cJSON_CreateObject();
		json_add_str(o, "backup", c->operands[0]);
		cli_print_json(o);
		cJSON_Delete(o);
	}
	return EX_OK;
}

int run_db_stats(struct cli *c)
{
	struct errtext why = { "" };
	struct backup_stats s;
	enum err e = backup_stats(path_of(c), &s, &why);
	const struct {
		const char *name;
		int64_t n;
	} rows[] = {
		{ "schema_version", s.version },
		{ "bytes", s.bytes },
		{ "free_bytes", s.free_bytes },
		{ "wal_bytes", s.wal_bytes },
		{ "disk_free_bytes", s.disk_free_bytes },
		{ "queued", s.queued },
		{ "loading", s.loading },
		{ "working", s.working },
		{ "done", s.done },
		{ "failed", s.failed },
		{ "artifacts", s.artifacts },
		{ "artifact_bytes", s.artifact_bytes },
		{ "webhooks_pending", s.webhooks_pending },
		{ "webhooks_dead", s.webhooks_dead },
		{ "retired", s.retired },
	};
	cJSON *o;

	if (e)
		return failed(e, &why);
	if (!c->json) {
		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			printf("%-17s %lld\n", rows[i].name, (long long)rows[i].n);
		return EX_OK;
	}
	o = cJSON_CreateObject();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		json_add_int(o, rows[i].name, rows[i].n);
	cli_print_json(o);
	cJSON_Delete(o);
	return EX_OK;
}

/* --- ready: what the image's health check runs ------------------------------ */

static enum err read_status(const char *path, struct status *out,
                            struct errtext *why)
{
	struct db *db = NULL;
	enum err e = db_open(&(struct db_conf){ .path = path }, DB_READER, &db, why);

	if (!e)
		e = status_read(db, false, out);
	db_close(db);
	return e;
}

/* The same two questions as GET /readyz asks, but that it writes nothing. */
int run_db_ready(struct cli *c)
{
	struct errtext why = { "" };
	struct status s;
	int64_t beat_ms, age_ms;
	enum err e = read_status(path_of(c), &s, &why);

	if (e)
		return cli_say(NOT_READY, "%s", why.s[0] ? why.s : err_name(e));
	beat_ms = s.heartbeat_ms;
	age_ms = clock_wall_ms() - beat_ms;
	status_done(&s);
	if (!beat_ms)
		return cli_say(NOT_READY, "no worker has been here yet");
	if (age_ms > LIMIT_HEARTBEAT_STALE_MS)
		return cli_say(NOT_READY, "the worker's last heartbeat was %lld s ago",
		               (long long)age_ms / 1000);
	if (c->json)
		printf("{\"ready\":true,\"heartbeat_age_ms\":%lld}\n", (long long)age_ms);
	else
		puts("ready");
	return EX_OK;
}
