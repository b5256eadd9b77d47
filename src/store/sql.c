/*
 * sql.c - statements prepared once, used briefly, and what their failures mean.
 *
 * A statement is looked up by the address of its text, so SQL must stand in
 * constants. It is reset and its parameters forgotten at sql_end: no read
 * transaction outlives a use, and no borrowed pointer does.
 */
#include <config.h>

#include "store/sql.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum err sql_meaning(sqlite3 *handle, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return ERR_OK;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_BUSY;
	case SQLITE_FULL:
		return ERR_FULL;
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_TOOBIG:
		return ERR_TOOBIG;
	case SQLITE_CONSTRAINT:
		return ERR_CONFLICT;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return ERR_DENIED;
	case SQLITE_NOTADB:
		return ERR_INVAL;
	case SQLITE_IOERR: /* a full disk shows here when the -shm cannot grow */
	case SQLITE_CANTOPEN:
		return err_of_errno(sqlite3_system_errno(handle));
	default: /* SQLITE_CORRUPT among them: sqlite3_errmsg says it plainly */
		return ERR_IO;
	}
}

enum err sql_err(struct db *db, int rc, const char *what, struct errtext *why)
{
	enum err err = sql_meaning(db->handle, rc);

	if (err != ERR_OK)
		errtext_set(why, "%s: %s", what,
		            sqlite3_extended_errcode(db->handle) == rc
		                ? sqlite3_errmsg(db->handle)
		                : sqlite3_errstr(rc));
	return err;
}

enum err sql_exec(struct db *db, const char *text, struct errtext *why)
{
	int rc = sqlite3_exec(db->handle, text, NULL, NULL, NULL);

	return sql_err(db, rc, "database", why);
}

struct sql sql_use(struct db *db, const char *text)
{
	struct sql q = { .db = db, .rc = SQLITE_OK };
	size_t i = ((uintptr_t)text >> 4) % SQL_CACHE;

	for (size_t probes = 0; db->cache[i].text && db->cache[i].text != text;
	     probes++) {
		assert(probes < SQL_CACHE);
		i = (i + 1) % SQL_CACHE;
	}
	if (!db->cache[i].text) {
		q.rc = sqlite3_prepare_v3(db->handle, text, -1, SQLITE_PREPARE_PERSISTENT,
		                          &db->cache[i].stmt, NULL);
		if (q.rc != SQLITE_OK)
			return q;
		db->cache[i].text = text;
	}
	q.stmt = db->cache[i].stmt;
	assert(!sqlite3_stmt_busy(q.stmt));
	return q;
}

void sql_fail(struct sql *q, int rc)
{
	if (q->rc == SQLITE_OK)
		q->rc = rc;
}

void sql_int(struct sql *q, int64_t v)
{
	if (q->rc == SQLITE_OK)
		q->rc = sqlite3_bind_int64(q->stmt, ++q->at, v);
}

/* A parameter nothing is bound to is NULL. */
static void skip(struct sql *q)
{
	q->at++;
}

void sql_time(struct sql *q, int64_t wall_ms)
{
	if (wall_ms)
		sql_int(q, wall_ms);
	else
		skip(q);
}

void sql_count(struct sql *q, int64_t n)
{
	if (n >= 0)
		sql_int(q, n);
	else
		skip(q);
}

void sql_real(struct sql *q, double v)
{
	if (!(v >= 0))
		skip(q);
	else if (q->rc == SQLITE_OK)
		q->rc = sqlite3_bind_double(q->stmt, ++q->at, v);
}

void sql_text(struct sql *q, const char *s)
{
	if (!s)
		skip(q);
	else if (q->rc == SQLITE_OK)
		q->rc = sqlite3_bind_text(q->stmt, ++q->at, s, -1, SQLITE_STATIC);
}

void sql_blob(struct sql *q, const void *p, size_t len)
{
	/* SQLite takes a NULL address for NULL; an empty body is not that. */
	if (q->rc == SQLITE_OK)
		q->rc =
		    sqlite3_bind_blob64(q->stmt, ++q->at, p ? p : "", len, SQLITE_STATIC);
}

bool sql_row(struct sql *q)
{
	int rc;

	if (q->rc != SQLITE_OK)
		return false;
	q->at = 0;
	rc = sqlite3_step(q->stmt);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		sql_fail(q, rc);
	return rc == SQLITE_ROW;
}

int64_t sql_get_int(struct sql *q)
{
	return sqlite3_column_int64(q->stmt, q->at++);
}

double sql_get_real(struct sql *q)
{
	return sqlite3_column_double(q->stmt, q->at++);
}

const char *sql_peek_text(struct sql *q)
{
	return (const char *)sqlite3_column_text(q->stmt, q->at++);
}

char *sql_get_text(struct sql *q)
{
	bool null = sqlite3_column_type(q->stmt, q->at) == SQLITE_NULL;
	const char *s = sql_peek_text(q);
	char *copy = s ? strdup(s) : NULL;

	if (!null && !copy)
		sql_fail(q, SQLITE_NOMEM);
	return copy;
}

const void *sql_peek_blob(struct sql *q, size_t *len)
{
	const void *p = sqlite3_column_blob(q->stmt, q->at);

	*len = (size_t)sqlite3_column_bytes(q->stmt, q->at++);
	return p;
}

enum err sql_end(struct sql *q, struct errtext *why)
{
	enum err err;

	/* repeats the error of the step; where it was not stepped to its end and is
	 * a transaction of its own, this is the commit */
	if (q->stmt)
		sql_fail(q, sqlite3_reset(q->stmt));
	err = sql_err(q->db, q->rc, "database", why);
	if (q->stmt)
		sqlite3_clear_bindings(q->stmt);
	return err;
}

enum err sql_run(struct sql *q, struct errtext *why)
{
	while (sql_row(q))
		;
	return sql_end(q, why);
}

int64_t sql_changes(struct db *db)
{
	return sqlite3_changes64(db->handle);
}

int64_t sql_last_seq(struct db *db)
{
	return sqlite3_last_insert_rowid(db->handle);
}

void sql_close(struct db *db)
{
	for (size_t i = 0; i < SQL_CACHE; i++)
		sqlite3_finalize(db->cache[i].stmt);
	sqlite3_close(db->handle);
	db->handle = NULL;
}
