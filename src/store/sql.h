/*
 * sql.h - the store's own door to SQLite: a connection, and the short use of
 * one prepared statement.
 *
 *   struct sql q = sql_use(db, SELECT_STATE);
 *   sql_int(&q, seq);
 *   if (sql_row(&q))
 *       state = sql_get_int(&q);
 *   err = sql_end(&q, why);
 *
 * Parameters are bound and columns read in the order they are written. The
 * first failure sticks: whatever follows does nothing, and sql_end tells.
 * Everything bound is borrowed until sql_end. Only src/store/ .c files
 * include this header.
 */
#ifndef FOREMAN_STORE_SQL_H
#define FOREMAN_STORE_SQL_H

#include "base/attr.h"
#include "base/err.h"
#include "store/db.h"
#include "store/gate.h"

#include <sqlite3.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SQL_CACHE 128 /* statements a connection can hold; a power of two */

struct db {
	sqlite3 *handle;
	struct gate *gate; /* NULL for DB_READER */
	enum db_role role;
	struct db_conf conf;
	enum db_sync sync; /* of the open transaction */
	int64_t changes;   /* rows this connection had changed when it began */
	bool entered; /* the gate is held, the transaction not begun */
	bool in_transaction;
	bool leans;    /* it tells of what another may not have synced yet */
	bool in_doubt; /* the last commit happened, but its sync failed */
	int64_t data_version; /* what db_changed saw last; 0: never asked */
	struct {
		const char *text; /* the key is its address: SQL stands in constants */
		sqlite3_stmt *stmt;
	} cache[SQL_CACHE];
};

/* One place that says what an SQLite result means to us; ERR_OK for OK, ROW
 * and DONE. */
enum err sql_meaning(sqlite3 *handle, int rc);
/* The same with SQLite's own text, after "what: ". */
enum err sql_err(struct db *db, int rc, const char *what, struct errtext *why);

/* Run SQL that has neither parameters nor rows; any number of statements. */
enum err sql_exec(struct db *db, const char *text, struct errtext *why) MUST_CHECK;

struct sql {
	struct db *db;
	sqlite3_stmt *stmt; /* NULL when it could not be prepared */
	int rc;             /* the first failure, or SQLITE_OK */
	int at;             /* the next parameter or column */
};

/* `text` is a constant with static storage: it is prepared once. */
struct sql sql_use(struct db *db, const char *text);

void sql_int(struct sql *q, int64_t v);
void sql_time(struct sql *q, int64_t wall_ms);  /* 0 becomes NULL */
void sql_count(struct sql *q, int64_t n);       /* below 0 becomes NULL */
void sql_real(struct sql *q, double v);         /* below 0 becomes NULL */
void sql_text(struct sql *q, const char *s);    /* NULL stays NULL */
void sql_blob(struct sql *q, const void *p, size_t len);

/* Step. True: there is a row, and the columns are read from its first on. */
bool sql_row(struct sql *q);

int64_t sql_get_int(struct sql *q);             /* NULL reads as 0 */
double sql_get_real(struct sql *q);             /* NULL reads as 0 */
char *sql_get_text(struct sql *q);              /* a heap copy; NULL stays NULL */
const char *sql_peek_text(struct sql *q);       /* until the next step or end */
const void *sql_peek_blob(struct sql *q, size_t *len);

/* Let it fail with this SQLite code: what was read makes no sense. */
void sql_fail(struct sql *q, int rc);

/* Give the statement back; a read is over with this. */
enum err sql_end(struct sql *q, struct errtext *why);
/* Step to the end and give it back: for statements without rows. */
enum err sql_run(struct sql *q, struct errtext *why) MUST_CHECK;

/* Rows the last INSERT, UPDATE or DELETE of ours touched, not its triggers. */
int64_t sql_changes(struct db *db);
int64_t sql_last_seq(struct db *db);

void sql_close(struct db *db); /* finalizes the statements and closes */

#endif
