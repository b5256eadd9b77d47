/*
 * backup.c - the file as a whole: is it sound, a copy of it, what is in it.
 *
 * Opened read-only and outside the cache of statements: each of these runs
 * once. The copy is made under another name and gets its own when it is whole
 * and on disk, so a file that is there is a backup.
 */
#include <config.h>

#include "store/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/limits.h"
#include "store/schema.h"
#include "store/sql.h"

static enum err failed(sqlite3 *db, int rc, struct errtext *why)
{
	errtext_set(why, "%s", db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
	/* damage is what is looked for here */
	return (rc & 0xff) == SQLITE_CORRUPT ? ERR_INVAL : sql_meaning(db, rc);
}

/* The first value of the first row, as a number and, with `text`, as text. */
static int read_value(sqlite3 *db, const char *sql, int64_t *number, char *text,
                      size_t size)
{
	sqlite3_stmt *q;
	int rc = sqlite3_prepare_v2(db, sql, -1, &q, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(q);
	if (rc == SQLITE_ROW) {
		const char *found = (const char *)sqlite3_column_text(q, 0);

		*number = sqlite3_column_int64(q, 0);
		if (text)
			snprintf(text, size, "%s", found ? found : "");
	}
	rc = sqlite3_finalize(q);
	return rc;
}

static enum err open_file(const char *path, sqlite3 **out, struct errtext *why)
{
	sqlite3 *db = NULL;
	int64_t application = 0;
	int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL);
	enum err e;

	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(db, LIMIT_SQLITE_BUSY_MS);
		rc = read_value(db, "PRAGMA application_id", &application, NULL, 0);
	}
	if (rc == SQLITE_OK && application == SCHEMA_APPLICATION_ID) {
		*out = db;
		return ERR_OK;
	}
	e = rc == SQLITE_OK ? ERR_INVAL : failed(db, rc, why);
	if (rc == SQLITE_OK)
		errtext_set(why, "%s is not foreman's", path);
	sqlite3_close(db);
	return e;
}

enum err backup_check(const char *path, struct errtext *why)
{
	char said[200] = "";
	int64_t broken = 0;
	sqlite3 *db = NULL;
	int rc;
	enum err e = open_file(path, &db, why);

	if (e)
		return e;
	rc = read_value(db, "PRAGMA integrity_check(1)", &broken, said, sizeof(said));
	if (rc == SQLITE_OK)
		rc = read_value(db, "SELECT count(*) FROM pragma_foreign_key_check",
		                &broken, NULL, 0);
	if (rc != SQLITE_OK) {
		e = failed(db, rc, why);
	} else if (strcmp(said, "ok") != 0) {
		errtext_set(why, "%s", said);
		e = ERR_INVAL;
	} else if (broken > 0) {
		errtext_set(why, "%lld rows refer to others that are gone",
		            (long long)broken);
		e = ERR_INVAL;
	}
	sqlite3_close(db);
	return e;
}

/* --- the copy -------------------------------------------------------------- */

static enum err sync_path(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return ok ? ERR_OK : ERR_IO;
}

static enum err sync_directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory =
	    slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	enum err e =
	    directory ? sync_path(directory, O_RDONLY | O_DIRECTORY) : ERR_NOMEM;

	free(directory);
	return e;
}

static enum err vacuum_into(sqlite3 *db, const char *to, struct errtext *why)
{
	sqlite3_stmt *q = NULL;
	int rc = sqlite3_prepare_v2(db, "VACUUM INTO ?", -1, &q, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(q, 1, to, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		sqlite3_step(q);
	rc = sqlite3_finalize(q) == SQLITE_OK ? rc : sqlite3_errcode(db);
	return rc == SQLITE_OK ? ERR_OK : failed(db, rc, why);
}

/* Whole and on disk first, then it gets its name; never another's. */
static enum err put_in_place(const char *partial, const char *to,
                             struct errtext *why)
{
	enum err e = sync_path(partial, O_RDWR);

	if (!e && (chmod(partial, 0640) != 0 || link(partial, to) != 0))
		e = errno == EEXIST ? ERR_CONFLICT : ERR_IO;
	if (!e)
		e = sync_directory_of(to);
	if (e)
		errtext_set(why, "%s: %s", to, strerror(errno));
	return e;
}

enum err backup_copy(const char *path, const char *to, struct errtext *why)
{
	char *partial = NULL;
	sqlite3 *db = NULL;
	enum err e;

	if (access(to, F_OK) == 0) {
		errtext_set(why, "%s exists", to);
		return ERR_CONFLICT;
	}
	e = open_file(path, &db, why);
	if (e)
		return e;
	if (asprintf(&partial, "%s.partial-%ld", to, (long)getpid()) < 0) {
		sqlite3_close(db);
		return ERR_NOMEM;
	}
	e = vacuum_into(db, partial, why);
	sqlite3_close(db);
	if (!e)
		e = put_in_place(partial, to, why);
	unlink(partial);
	free(partial);
	return e;
}

/* --- figures --------------------------------------------------------------- */

static int64_t file_bytes(const char *path, const char *behind)
{
	char *name = NULL;
	struct stat st;
	int64_t bytes = 0;

	if (asprintf(&name, "%s%s", path, behind) < 0)
		return 0;
	if (stat(name, &st) == 0)
		bytes = st.st_size;
	free(name);
	return bytes;
}

enum err backup_stats(const char *path, struct backup_stats *out,
                      struct errtext *why)
{
#define IN_STATE(state)                                                            \
	"SELECT coalesce(sum(count), 0) FROM tallies WHERE state = '" state "'"
	struct backup_stats s = { .bytes = 0 };
	int64_t version = 0;
	const struct {
		const char *sql;
		int64_t *to;
	} figures[] = {
		{ "PRAGMA user_version", &version },
		{ "SELECT freelist_count * page_size FROM pragma_freelist_count, "
		  "pragma_page_size",
		  &s.free_bytes },
		{ IN_STATE("queued"), &s.queued },
		{ IN_STATE("loading"), &s.loading },
		{ IN_STATE("working"), &s.working },
		{ IN_STATE("done"), &s.done },
		{ IN_STATE("failed"), &s.failed },
		{ "SELECT count(*) FROM artifacts", &s.artifacts },
		{ "SELECT coalesce(sum(bytes), 0) FROM artifacts", &s.artifact_bytes },
		{ "SELECT coalesce(sum(count), 0) FROM webhook_tallies "
		  "WHERE state = 'pending'",
		  &s.webhooks_pending },
		{ "SELECT coalesce(sum(count), 0) FROM webhook_tallies "
		  "WHERE state = 'dead'",
		  &s.webhooks_dead },
		{ "SELECT count(*) FROM retired", &s.retired },
	};
#undef IN_STATE
	struct statvfs disk;
	sqlite3 *db = NULL;
	int rc = SQLITE_OK;
	enum err e = open_file(path, &db, why);

	if (e)
		return e;
	s.bytes = file_bytes(path, "");
	s.wal_bytes = file_bytes(path, "-wal");
	for (size_t i = 0; i < ARRAY_LEN(figures) && rc == SQLITE_OK; i++)
		rc = read_value(db, figures[i].sql, figures[i].to, NULL, 0);
	if (rc != SQLITE_OK)
		e = failed(db, rc, why);
	s.version = (int)version;
	if (statvfs(path, &disk) == 0)
		s.disk_free_bytes = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
	sqlite3_close(db);
	if (!e)
		*out = s;
	return e;
}
