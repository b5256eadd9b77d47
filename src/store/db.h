/*
 * db.h - one connection to the queue's file, and its transactions.
 *
 * The rules that keep SQLite fast and whole under many processes:
 *   - a write takes the gate, then BEGIN IMMEDIATE (db_begin);
 *   - only the worker's connection checkpoints (db_checkpoint), gate held;
 *   - no mmap; no read transaction stays open while anything waits: every
 *     read in this layer steps its statement to the end and resets it.
 * Open after fork; one thread at a time per connection.
 */
#ifndef FOREMAN_STORE_DB_H
#define FOREMAN_STORE_DB_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct db;

enum db_role {
	DB_WORKER, /* writes, migrates, checkpoints */
	DB_WRITER, /* writes (a responder's group committer); migrates if first */
	DB_READER  /* reads; refuses to write */
};

struct db_conf {
	const char *path;       /* FOREMAN_DB */
	const char *public_url; /* links in frozen webhook bodies; may be NULL */
	int64_t inline_max;     /* FOREMAN_INLINE_MAX, bytes */
	int64_t max_wait_ms;    /* FOREMAN_DRAIN_MAX_WAIT, for estimates */
};                          /* strings must outlive the connection */

/*
 * Open; the file is made 0640 if missing (its directory must exist), and the
 * schema is brought up to date under the gate by any role but DB_READER.
 * ERR_VERSION: made by a newer foreman. ERR_INVAL: not foreman's file.
 * ERR_NOENT, ERR_DENIED, ERR_IO, ERR_FULL, ERR_BUSY otherwise.
 */
enum err db_open(const struct db_conf *conf, enum db_role role, struct db **out,
                 struct errtext *why) MUST_CHECK;
void db_close(struct db *db); /* rolls back what is open; NULL is fine */

enum db_sync {
	DB_SYNC_NORMAL, /* survives kill -9; a power cut may undo it */
	DB_SYNC_FULL    /* on disk when db_commit returns */
};

/* Take the gate ahead of db_begin, which must follow: what else the transaction
 * is to do can be gathered when the wait is over. ERR_BUSY as there. */
enum err db_enter(struct db *db, struct errtext *why) MUST_CHECK;
/* Take the gate and begin. ERR_BUSY: not within LIMIT_GATE_WAIT_MS. */
enum err db_begin(struct db *db, enum db_sync sync, struct errtext *why) MUST_CHECK;
/* ERR_FULL: the disk is; everything since db_begin is undone. Whatever the
 * answer, the transaction is over and the gate given back. Others see it before
 * it is on disk, for as long as the sync takes: ERR_IO from that leaves it
 * committed, and nobody knows whether the power may be cut. */
enum err db_commit(struct db *db, struct errtext *why) MUST_CHECK;
void db_rollback(struct db *db);
/* The end of a write: commit when `err` is ERR_OK, else roll back and say it
 * (ERR_IO if what that answer tells of could not be synced). */
enum err db_finish(struct db *db, enum err err, struct errtext *why) MUST_CHECK;

/* Is there room and permission to write? A dry run: gate, BEGIN IMMEDIATE,
 * rollback, and at least 16 MB free on the file system (ERR_FULL). */
enum err db_writable(struct db *db, struct errtext *why) MUST_CHECK;

/* What a checkpoint would have to work through: the log's bytes, 0 when all of
 * it is in the file already. */
int64_t db_wal_bytes(const struct db *db);
/* Worker only: copy the WAL into the file, gate held, so that the next writer
 * begins it again; `shrink` empties it as well.
 * ERR_BUSY: a reader was in the way; try again later. */
enum err db_checkpoint(struct db *db, bool shrink, struct errtext *why) MUST_CHECK;

/* Has any other connection, of whatever program, committed since this was last
 * asked? True the first time. Costs a look at shared memory, no I/O. */
enum err db_changed(struct db *db, bool *out) MUST_CHECK;

/* What the file holds that nothing uses: room for rows to come. */
enum err db_free_bytes(struct db *db, int64_t *out) MUST_CHECK;
/* Give at most LIMIT_VACUUM_PAGES of its pages back; the file becomes shorter
 * with the next checkpoint. One short transaction. */
enum err db_vacuum(struct db *db, struct errtext *why) MUST_CHECK;

const char *db_sqlite_version(void);

#endif
