/*
 * store.h - what the store's tests share: a database in a directory of its
 * own, jobs by number, and questions put to the file behind the store's back.
 */
#ifndef FOREMAN_TESTS_STORE_H
#define FOREMAN_TESTS_STORE_H

#include "base/clock.h"
#include "base/str.h"
#include "store/db.h"
#include "store/queue.h"
#include "store/sql.h"
#include "t.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOW INT64_C(1800000000000) /* some day in 2027 */

static char home[64]; /* the directory of the present case */
static char path[96];
static struct db_conf conf;
static const struct queue_limits no_limits = { INT64_MAX, INT64_MAX };

/* A fresh directory; `path` is where a database would be. */
static inline void home_new(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(home, sizeof(home), "%.40s/foreman-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(home))
		abort();
	snprintf(path, sizeof(path), "%s/foreman.db", home);
	conf = (struct db_conf){ .path = path, .inline_max = 100 };
}

static inline void home_remove(void)
{
	static const char *const files[] = { "", "-wal", "-shm", "-journal", ".gate" };
	char name[128];

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(name, sizeof(name), "%s%s", path, files[i]);
		unlink(name);
	}
	rmdir(home);
}

static inline struct db *db_of(enum db_role role)
{
	struct errtext why = { "" };
	struct db *db = NULL;

	if (db_open(&conf, role, &db, &why) != ERR_OK) {
		printf("# %s\n", why.s);
		abort();
	}
	return db;
}

static inline struct db *db_fresh(void)
{
	home_new();
	return db_of(DB_WORKER);
}

static inline void db_gone(struct db *db)
{
	db_close(db);
	home_remove();
}

/* The first column of the first row as an integer; -1 when there is no row. */
static inline int64_t ask_int(struct db *db, const char *sql)
{
	sqlite3_stmt *stmt = NULL;
	int64_t n = -1;

	if (sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL) != SQLITE_OK) {
		printf("# %s: %s\n", sql, sqlite3_errmsg(db->handle));
		abort();
	}
	if (sqlite3_step(stmt) == SQLITE_ROW)
		n = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return n;
}

/* The same as text; valid until the next call. */
static inline const char *ask_text(struct db *db, const char *sql)
{
	static char text[4096];
	sqlite3_stmt *stmt = NULL;
	const unsigned char *s = NULL;

	if (sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL) != SQLITE_OK)
		abort();
	if (sqlite3_step(stmt) == SQLITE_ROW)
		s = sqlite3_column_text(stmt, 0);
	snprintf(text, sizeof(text), "%s", s ? (const char *)s : "NULL");
	sqlite3_finalize(stmt);
	return text;
}

/* What somebody with a sqlite3 shell does; SQLite's answer. */
static inline int shell(struct db *db, const char *sql)
{
	return sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
}

/* --- what reaches the disk ------------------------------------------------- */

/* SQLite's syncs come here, for the program's own functions go first. */
static int64_t syncs;
static void (*at_sync)(void);         /* called during each, if set */
static int sync_errno;                /* the log's fail so, if set */
static void (*at_fsync)(void) UNUSED; /* called during each of another file */
static int fsync_errno UNUSED;        /* other files' fail so, if set */
static bool no_sync UNUSED;           /* they are counted and no more */

int fsync(int fd)
{
	__atomic_fetch_add(&syncs, 1, __ATOMIC_RELAXED);
	if (at_fsync)
		at_fsync();
	if (fsync_errno) {
		errno = fsync_errno;
		return -1;
	}
	return no_sync ? 0 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	__atomic_fetch_add(&syncs, 1, __ATOMIC_RELAXED);
	if (at_sync)
		at_sync();
	if (sync_errno) {
		errno = sync_errno;
		return -1;
	}
	return no_sync ? 0 : (int)syscall(SYS_fdatasync, fd);
}

/* How many there were since the last time this was asked. */
static inline int64_t syncs_taken(void)
{
	return __atomic_exchange_n(&syncs, 0, __ATOMIC_RELAXED);
}

/* --- jobs ------------------------------------------------------------------ */

static inline void job_make(struct job *job, const char *key, bool attended)
{
	job_init(job);
	ulid_new(job->id);
	job->attended = attended;
	job->endpoint = strdup("/api/chat");
	job->model = strdup(key);
	job->load_key = strdup(key);
	job->created_ms = job->queued_ms = NOW;
	job->event_seq = 1;
}

static inline void job_make_told(struct job *job, const char *key, unsigned events)
{
	job_make(job, key, false);
	job->webhook_url = strdup("https://receiver.example/hook");
	job->webhook_secret = strdup("whsec_c2VjcmV0");
	job->webhook_events = events;
}

/* Store it in a transaction of its own; its result. */
static inline enum err job_store_limited(struct db *db, struct job *job,
                                         const struct queue_limits *limits)
{
	static char event[] = "{\"type\":\"job.queued\"}";
	struct submission sub = { .job = job, .body = SPAN_LIT("{\"model\":\"m\"}") };
	struct submission *subs[] = { &sub };
	enum err err = db_begin(db, DB_SYNC_NORMAL, NULL);

	if (job->webhook_url && job->webhook_events & 1u << JOB_QUEUED)
		sub.event_json = event;
	if (err != ERR_OK)
		return err;
	err = db_finish(db, queue_submit(db, subs, 1, limits, NULL), NULL);
	return err != ERR_OK ? err : sub.result;
}

static inline enum err job_store(struct db *db, struct job *job)
{
	return job_store_limited(db, job, &no_limits);
}

/* A stored job of its load key; its seq. */
static inline int64_t job_put(struct db *db, const char *key, bool attended)
{
	struct job job;
	int64_t seq;

	job_make(&job, key, attended);
	if (job_store(db, &job) != ERR_OK)
		abort();
	seq = job.seq;
	job_done(&job);
	return seq;
}

/* Claim it, dropping the body. */
static inline enum err job_claim(struct db *db, int64_t seq, struct job *job)
{
	struct queue_input in = { 0 };
	enum err err = queue_claim(db, seq, NOW + 10, job, &in, NULL);

	free(in.body);
	return err;
}

/* A job in that state, to be given to job_done. */
static inline void job_in(struct db *db, enum job_state state, struct job *job)
{
	const struct queue_result result = { .content_type = "application/json",
		                                 .response = SPAN_LIT("{}"),
		                                 .complete = true,
		                                 .prompt_tokens = 3,
		                                 .completion_tokens = 4 };
	enum err err;

	job_make(job, "m:latest", false);
	err = job_store(db, job);
	if (err == ERR_OK && state != JOB_QUEUED && state != JOB_FAILED) {
		int64_t seq = job->seq;

		job_done(job);
		err = job_claim(db, seq, job);
		if (err == ERR_OK && state != JOB_LOADING)
			err = queue_working(db, job, NOW + 20, NULL);
		if (err == ERR_OK && state == JOB_DONE)
			err = queue_done(db, job, &result, NOW + 30, NULL);
	}
	if (err == ERR_OK && state == JOB_FAILED)
		err = queue_failed(db, job, REASON_INTERNAL, "because", false, NULL,
		                   NOW + 30, NULL);
	if (err != ERR_OK)
		abort();
}

/* Everything triggers keep, counted afresh: what differs, 0 if all is true. */
static inline int64_t wrong_figures(struct db *db)
{
	return ask_int(
	    db,
	    "WITH"
	    " t AS (SELECT count(*) n FROM tallies a WHERE count <> (SELECT count(*)"
	    "   FROM jobs j WHERE j.state = a.state AND j.attended = a.attended)),"
	    " w AS (SELECT load_key, attended, count(*) count,"
	    "   min(seq) FILTER (WHERE held_until_ms IS NULL) head FROM jobs"
	    "   WHERE state = 'queued' GROUP BY load_key, attended),"
	    " d AS (SELECT count(*) n FROM (SELECT load_key, attended, count, head "
	    "FROM w"
	    "   EXCEPT SELECT load_key, attended, count, head_seq FROM waiting)),"
	    " e AS (SELECT count(*) n FROM (SELECT load_key, attended, count, head_seq"
	    "   FROM waiting EXCEPT SELECT load_key, attended, count, head FROM w)),"
	    " q AS (SELECT count(*) n FROM waiting h WHERE head_queued_ms IS NOT"
	    "   (SELECT queued_ms FROM jobs j WHERE j.seq = h.head_seq)),"
	    " p AS (SELECT count(*) n FROM jobs j WHERE webhook_pending <> (SELECT "
	    "count(*)"
	    "   FROM webhooks h WHERE h.job_seq = j.seq AND h.state = 'pending')"
	    "   OR webhook_dead <> (SELECT count(*) FROM webhooks h"
	    "   WHERE h.job_seq = j.seq AND h.state = 'dead')),"
	    " x AS (SELECT count(*) n FROM webhook_tallies a WHERE count <>"
	    "   (SELECT count(*) FROM webhooks h WHERE h.state = a.state)),"
	    " o AS (SELECT count(*) n FROM (SELECT min(seq) first, min(seq) FILTER"
	    "   (WHERE due_ms IS NOT NULL) due FROM webhooks WHERE state = 'pending'"
	    "   GROUP BY job_seq) WHERE due IS NOT first)"
	    "SELECT t.n + d.n + e.n + q.n + p.n + x.n + o.n FROM t, d, e, q, p, x, o");
}

#endif
