/*
 * db.c - one connection: how it is opened, and how its transactions run.
 *
 * What stays true: nobody writes without the gate; no connection checkpoints
 * unless it is told to (every SQLite before 3.51.3 can corrupt a WAL that two
 * connections checkpoint); a transaction that was not committed left nothing.
 * The file is made with mknod, never with open: closing a descriptor of the
 * database would drop the locks other connections of this process hold on it.
 */
#include <config.h>

#include "store/db.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/limits.h"
#include "store/schema.h"
#include "store/sql.h"

#define FREE_BYTES_MIN (16 * 1024 * 1024) /* db_writable wants as much */
#define CHECKPOINT_BUSY_MS 100            /* a reader in the way, gate held */

/* --- opening --------------------------------------------------------------- */

static enum err make_file(const char *path, struct errtext *why)
{
	int e;

	if (mknod(path, S_IFREG | 0640, 0) == 0 || errno == EEXIST)
		return ERR_OK;
	e = errno;
	errtext_set(why, "cannot create: %s", strerror(e));
	return err_of_errno(e);
}

static enum err open_gate(struct db *db, struct errtext *why)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s.gate", db->conf.path) >=
	    sizeof(path)) {
		errtext_set(why, "the path is too long");
		return ERR_INVAL;
	}
	return gate_open(path, &db->gate, why);
}

static pthread_once_t configured = PTHREAD_ONCE_INIT;

/* Memory statistics, which nobody reads, cost a process-wide lock at every
 * allocation. */
static void configure(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static enum err open_handle(struct db *db, struct errtext *why)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	int rc;

	pthread_once(&configured, configure);
	rc = sqlite3_open_v2(db->conf.path, &db->handle, flags, NULL);
	if (!db->handle)
		return ERR_NOMEM;
	if (rc != SQLITE_OK)
		return sql_err(db, rc, "cannot open", why);
	sqlite3_busy_timeout(db->handle, LIMIT_SQLITE_BUSY_MS);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return sql_exec(db,
	                "PRAGMA wal_autocheckpoint = 0;"
	                "PRAGMA mmap_size = 0;"
	                "PRAGMA temp_store = MEMORY;",
	                why);
}

/* For a reader: it must be there and current; it is not ours to change. */
static enum err look_only(struct db *db, struct errtext *why)
{
	int version = 0;
	enum err err =
	    sql_exec(db, "PRAGMA query_only = ON; PRAGMA cache_size = -1000", why);

	if (err == ERR_OK)
		err = schema_check(db, &version, why);
	if (err == ERR_OK && version < SCHEMA_VERSION) {
		errtext_set(why, "not set up yet; a worker or responder does that");
		err = ERR_NOENT;
	}
	return err;
}

static enum err enter_wal(struct db *db, struct errtext *why)
{
	static const char pragma[] = "PRAGMA journal_mode = WAL";
	struct sql q = sql_use(db, pragma);
	const char *mode = sql_row(&q) ? sql_peek_text(&q) : NULL;
	bool entered = mode && strcmp(mode, "wal") == 0;
	enum err err = sql_end(&q, why);

	if (err == ERR_OK && !entered) {
		errtext_set(why, "no write-ahead log is possible here");
		err = ERR_IO;
	}
	return err;
}

/* With the gate held: who comes second finds the work done. auto_vacuum must
 * be chosen before anything, the WAL mode included, is written to the file. */
static enum err set_up(struct db *db, struct errtext *why)
{
	int version = 0;
	enum err err = schema_check(db, &version, why);

	if (err == ERR_OK && version == 0)
		err = sql_exec(db, "PRAGMA auto_vacuum = INCREMENTAL", why);
	if (err == ERR_OK)
		err = enter_wal(db, why);
	if (err == ERR_OK)
		err = sql_exec(db, "PRAGMA synchronous = FULL; PRAGMA cache_size = -8000",
		               why);
	if (err == ERR_OK)
		err = schema_update(db, version, why);
	/* from here on db_commit syncs */
	return err == ERR_OK ? sql_exec(db, "PRAGMA synchronous = NORMAL", why) : err;
}

/* What set_up found in order may still be open for reading alone. */
static enum err try_write(struct db *db, struct errtext *why)
{
	enum err err = sql_exec(db, "BEGIN IMMEDIATE; ROLLBACK", why);

	if (err == ERR_OK && sqlite3_db_readonly(db->handle, "main") != 0) {
		errtext_set(why, "it can only be read");
		err = ERR_DENIED;
	}
	return err == ERR_BUSY ? ERR_OK : err; /* it would have been allowed to */
}

/*
 * What did not go well though the file is there and may be written: SQLite
 * opens it, or one of those beside it, for reading alone when it gets no
 * descriptor at the first try, and then never writes. That is no wrong setting,
 * and the next start may do better.
 */
static enum err passing(const struct db *db, enum err err)
{
	bool allowed = access(db->conf.path, W_OK) == 0;

	return err == ERR_NOENT || (err == ERR_DENIED && allowed) ? ERR_IO : err;
}

static enum err open_writer(struct db *db, struct errtext *why)
{
	enum err err = open_gate(db, why);

	if (err != ERR_OK)
		return err;
	err = gate_take(db->gate, LIMIT_GATE_WAIT_MS);
	if (err != ERR_OK) {
		errtext_set(why, "the write gate stayed closed");
		return err;
	}
	err = make_file(db->conf.path, why);
	if (err == ERR_OK) {
		err = open_handle(db, why);
		if (err == ERR_OK)
			err = set_up(db, why);
		if (err == ERR_OK)
			err = try_write(db, why);
		err = passing(db, err);
	}
	gate_give(db->gate);
	return err;
}

enum err db_open(const struct db_conf *conf, enum db_role role, struct db **out,
                 struct errtext *why)
{
	struct db *db = calloc(1, sizeof(*db));
	enum err err;

	if (!db)
		return ERR_NOMEM;
	db->conf = *conf;
	db->role = role;
	if (role == DB_READER) {
		err = open_handle(db, why);
		if (err == ERR_OK)
			err = look_only(db, why);
	} else {
		err = open_writer(db, why);
	}
	if (err != ERR_OK) {
		errtext_wrap(why, "database '%s'", conf->path);
		db_close(db);
		return err;
	}
	*out = db;
	return ERR_OK;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	if (db->in_transaction)
		db_rollback(db);
	sql_close(db);
	gate_close(db->gate);
	free(db);
}

/* --- transactions ---------------------------------------------------------- */

static enum err take_gate(struct db *db, struct errtext *why)
{
	enum err err;

	if (!db->gate) {
		errtext_set(why, "this connection only reads");
		return ERR_DENIED;
	}
	err = gate_take(db->gate, LIMIT_GATE_WAIT_MS);
	if (err == ERR_BUSY)
		errtext_set(why, "the write gate stayed closed for %d ms",
		            LIMIT_GATE_WAIT_MS);
	return err;
}

enum err db_enter(struct db *db, struct errtext *why)
{
	enum err err;

	assert(!db->entered && !db->in_transaction);
	err = take_gate(db, why);
	db->entered = err == ERR_OK;
	return err;
}

enum err db_begin(struct db *db, enum db_sync sync, struct errtext *why)
{
	static const char begin[] = "BEGIN IMMEDIATE";
	struct sql q;
	enum err err;

	assert(!db->in_transaction);
	err = db->entered ? ERR_OK : take_gate(db, why);
	if (err != ERR_OK)
		return err;
	db->entered = false;
	db->sync = sync;
	db->leans = db->in_doubt = false;
	db->changes = sqlite3_total_changes64(db->handle);
	q = sql_use(db, begin);
	err = sql_run(&q, why);
	if (err != ERR_OK) {
		gate_give(db->gate);
		return err;
	}
	db->in_transaction = true;
	return ERR_OK;
}

/*
 * The log onto the disk, whoever wrote to it. SQLite would do so inside COMMIT,
 * with the gate held; here the next writer is at work meanwhile, and what it
 * commits may leave with the same sync. A checkpoint that comes between syncs
 * the log before it copies, so nothing is missed (ADR 0034).
 */
static enum err sync_log(struct db *db, struct errtext *why)
{
	sqlite3_file *log = NULL;
	int rc = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_JOURNAL_POINTER,
	                              &log);

	if (rc == SQLITE_OK && log && log->pMethods)
		rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
	if (rc == SQLITE_OK)
		return ERR_OK;
	/* past SQLite's own calls: what it remembers is another failure's errno */
	errtext_set(why, "sync: %s", sqlite3_errstr(rc));
	return ERR_IO;
}

/* On disk, if that was asked for: what it wrote, and what its answer tells of.
 * The gate is given back. */
static enum err make_durable(struct db *db, bool wrote, struct errtext *why)
{
	enum err err = ERR_OK;

	if (db->sync == DB_SYNC_FULL && (wrote || db->leans))
		err = sync_log(db, why);
	db->in_doubt = wrote && err != ERR_OK;
	return err;
}

enum err db_commit(struct db *db, struct errtext *why)
{
	static const char commit[] = "COMMIT";
	bool wrote = sqlite3_total_changes64(db->handle) != db->changes;
	struct sql q;
	enum err err;

	assert(db->in_transaction);
	q = sql_use(db, commit);
	err = sql_run(&q, why);
	if (err != ERR_OK) {
		db_rollback(db);
		return err;
	}
	db->in_transaction = false;
	gate_give(db->gate);
	return make_durable(db, wrote, why);
}

void db_rollback(struct db *db)
{
	assert(db->in_transaction);
	/* After some failures SQLite has rolled back by itself already. */
	if (!sqlite3_get_autocommit(db->handle))
		sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
	db->in_transaction = false;
	gate_give(db->gate);
}

enum err db_finish(struct db *db, enum err err, struct errtext *why)
{
	enum err synced;

	if (err == ERR_OK)
		return db_commit(db, why);
	db_rollback(db);
	if (err == ERR_NOMEM) /* of ours, who had no text for it */
		errtext_set(why, "out of memory");
	synced = make_durable(db, false, why);
	return synced != ERR_OK ? synced : err;
}

/* --- room and upkeep ------------------------------------------------------- */

enum err db_writable(struct db *db, struct errtext *why)
{
	struct statvfs fs;
	enum err err = db_begin(db, db->sync, why);

	if (err != ERR_OK)
		return err;
	db_rollback(db);
	if (statvfs(db->conf.path, &fs) != 0) {
		errtext_set(why, "cannot stat '%s': %s", db->conf.path, strerror(errno));
		return ERR_IO;
	}
	if (fs.f_bavail < FREE_BYTES_MIN / fs.f_frsize) {
		errtext_set(why, "less than %d MB free", FREE_BYTES_MIN / (1024 * 1024));
		return ERR_FULL;
	}
	return ERR_OK;
}

/*
 * SQLite's WAL-index, its first page as the file format documents it: frames
 * written, and of those, frames copied into the database. The file's size
 * would not tell: a log that is begun again keeps it.
 */
struct wal_index {
	uint32_t version; /* WAL_INDEX_VERSION */
	uint32_t unused, changes;
	uint8_t flags[2];
	uint16_t page_size; /* 1 means 65,536 */
	uint32_t frames;
	uint32_t rest_and_second_copy[19];
	uint32_t copied;
};

#define WAL_INDEX_VERSION 3007000
#define WAL_INDEX_REGION 32768
#define WAL_FRAME_HEADER 24

_Static_assert(offsetof(struct wal_index, frames) == 16 &&
                   offsetof(struct wal_index, copied) == 96,
               "as the file format says");

int64_t db_wal_bytes(const struct db *db)
{
	const volatile struct wal_index *index;
	volatile void *region = NULL;
	sqlite3_file *file = NULL;
	uint32_t frames, copied, page;

	if (sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER,
	                         &file) ||
	    !file || !file->pMethods || file->pMethods->iVersion < 2 ||
	    file->pMethods->xShmMap(file, 0, WAL_INDEX_REGION, 0, &region) || !region)
		return 0;
	index = region;
	if (index->version != WAL_INDEX_VERSION)
		return 0;
	frames = index->frames;
	copied = index->copied;
	page = index->page_size == 1 ? 65536 : index->page_size;
	return frames > copied ? (int64_t)frames * (page + WAL_FRAME_HEADER) : 0;
}

/*
 * RESTART lets the next writer begin the log again in the file that is there:
 * a log that keeps its size is synced without its metadata, and the disk need
 * not find the blocks again. TRUNCATE gives them back.
 */
enum err db_checkpoint(struct db *db, bool shrink, struct errtext *why)
{
	enum err err;
	int rc;

	assert(db->role == DB_WORKER && !db->in_transaction);
	err = take_gate(db, why);
	if (err != ERR_OK)
		return err;
	sqlite3_busy_timeout(db->handle, CHECKPOINT_BUSY_MS); /* writers wait outside */
	rc = sqlite3_wal_checkpoint_v2(db->handle, NULL,
	                               shrink ? SQLITE_CHECKPOINT_TRUNCATE
	                                      : SQLITE_CHECKPOINT_RESTART,
	                               NULL, NULL);
	sqlite3_busy_timeout(db->handle, LIMIT_SQLITE_BUSY_MS);
	gate_give(db->gate);
	return sql_err(db, rc, "checkpoint", why);
}

enum err db_changed(struct db *db, bool *out)
{
	static const char read[] = "PRAGMA data_version";
	struct sql q = sql_use(db, read);
	int64_t version = sql_row(&q) ? sql_get_int(&q) : 0;
	enum err err = sql_end(&q, NULL);

	if (err != ERR_OK)
		return err;
	*out = version != db->data_version;
	db->data_version = version;
	return ERR_OK;
}

enum err db_free_bytes(struct db *db, int64_t *out)
{
	static const char read[] =
	    "SELECT freelist_count * page_size FROM pragma_freelist_count,"
	    " pragma_page_size";
	struct sql q = sql_use(db, read);
	int64_t bytes = sql_row(&q) ? sql_get_int(&q) : 0;
	enum err err = sql_end(&q, NULL);

	if (err == ERR_OK)
		*out = bytes;
	return err;
}

#define TEXT_OF(number) #number
#define VACUUM(pages) "PRAGMA incremental_vacuum(" TEXT_OF(pages) ")"

/* The pragma frees a page a step: it must be stepped to its end. */
enum err db_vacuum(struct db *db, struct errtext *why)
{
	static const char vacuum[] = VACUUM(LIMIT_VACUUM_PAGES);
	enum err err = db_begin(db, DB_SYNC_NORMAL, why);
	struct sql q;

	if (err != ERR_OK)
		return err;
	q = sql_use(db, vacuum);
	return db_finish(db, sql_run(&q, why), why);
}

const char *db_sqlite_version(void)
{
	return sqlite3_libversion();
}
