/*
 * store.c - the store without anything in front: durable inserts per second.
 *
 * usage: store group FILE SECONDS PROCESSES THREADS
 *        store raw FILE SECONDS
 *
 * `group`: threads that submit a job of 1 KiB, wait until it is on disk, and
 * submit the next, each process through its own group; this process keeps the
 * log short meanwhile, as the worker does. `us` is what one submission took.
 * `raw`: the peer. One process, one connection of plain SQLite, the same bytes
 * in one table with the same id, 64 rows a transaction, each on disk; `us` is
 * what one transaction took.
 */
#include <config.h>

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/limits.h"
#include "figures.h"
#include "store/db.h"
#include "store/group.h"

#define BODY 1024
#define ROWS 64 /* of `raw`, a transaction */
#define THREADS_MAX 256
#define PROCESSES_MAX 32
#define LOOK_US 20000 /* between two looks at the log */

static const char *file;
static int64_t run_us;
static char body[BODY];

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "store: %s\n", what);
	exit(1);
}

/* --- what reaches the disk: SQLite's syncs come here ------------------------- */

static int64_t syncs;

int fsync(int fd)
{
	__atomic_fetch_add(&syncs, 1, __ATOMIC_RELAXED);
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	__atomic_fetch_add(&syncs, 1, __ATOMIC_RELAXED);
	return (int)syscall(SYS_fdatasync, fd);
}

static void report(int64_t count, int64_t took_us, struct figures *us)
{
	printf("{\"per_s\":%.1f,\"syncs\":%lld,", (double)count * 1e6 / (double)took_us,
	       (long long)syncs);
	figures_print(us, "us");
	printf("}\n");
	figures_done(us);
}

/* --- group -------------------------------------------------------------------- */

struct writer {
	pthread_t thread;
	struct group *group;
	struct figures took;
	int64_t end_us;
};

static void job_make(struct job *job)
{
	job_init(job);
	ulid_new(job->id);
	job->endpoint = strdup("/api/chat");
	job->model = strdup("qwen3:8b");
	job->load_key = strdup("qwen3:8b");
	job->created_ms = job->queued_ms = clock_wall_ms();
	job->event_seq = 1;
}

static void *write_jobs(void *arg)
{
	struct writer *w = arg;

	for (int64_t began = now_us(); began < w->end_us; began = now_us()) {
		struct submission sub = { .body = { body, sizeof(body) } };
		struct job job;

		job_make(&job);
		sub.job = &job;
		must(group_submit(w->group, &sub, NULL) == ERR_OK, "a job was refused");
		job_done(&job);
		figures_add(&w->took, now_us() - began);
	}
	return NULL;
}

static void send_all(int to, const void *bytes, size_t len)
{
	const char *p = bytes;

	for (ssize_t n; len; p += n, len -= (size_t)n) {
		n = write(to, p, len);
		must(n > 0, "write");
	}
}

static void receive_all(int from, void *bytes, size_t len)
{
	char *p = bytes;

	for (ssize_t n; len; p += n, len -= (size_t)n) {
		n = read(from, p, len);
		must(n > 0, "a process ended early");
	}
}

struct told { /* by a process at its end; then the figures */
	int64_t syncs;
	size_t count;
};

/* A process: says when it is ready, begins when `go` is closed. */
static void write_in_process(int threads, int go, int tell)
{
	static struct writer writers[THREADS_MAX];
	const struct queue_limits limits = { .max_queue = 1, .max_jobs = INT64_MAX };
	const struct db_conf conf = { .path = file };
	struct figures all = { 0 };
	struct told told;
	struct group *group;
	struct errtext why = { "" };
	char ready = 'r';

	must(group_open(&conf, &limits, &group, &why) == ERR_OK, why.s);
	send_all(tell, &ready, 1);
	must(read(go, &ready, 1) == 0, "read");
	for (int i = 0; i < threads; i++) {
		writers[i].group = group;
		writers[i].end_us = now_us() + run_us;
		must(!pthread_create(&writers[i].thread, NULL, write_jobs, &writers[i]),
		     "pthread_create");
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(writers[i].thread, NULL);
		figures_join(&all, &writers[i].took);
	}
	group_close(group);
	told = (struct told){ .syncs = syncs, .count = all.count };
	send_all(tell, &told, sizeof(told));
	send_all(tell, all.us, all.count * sizeof(*all.us));
	exit(0);
}

/* What the worker does while others write. */
static void keep_log_short(struct db *db, int64_t end_us)
{
	for (; now_us() < end_us; usleep(LOOK_US))
		if (db_wal_bytes(db) > LIMIT_WAL_BYTES)
			(void)!db_checkpoint(db, false, NULL);
}

static void gather(int from, struct figures *all)
{
	struct figures one = { 0 };
	struct told told;

	receive_all(from, &told, sizeof(told));
	one.us = malloc((told.count + 1) * sizeof(*one.us));
	must(one.us != NULL, "malloc");
	one.count = told.count;
	receive_all(from, one.us, told.count * sizeof(*one.us));
	figures_join(all, &one);
	syncs += told.syncs;
}

static void run_group(int processes, int threads)
{
	const struct db_conf conf = { .path = file };
	int go[2], tell[PROCESSES_MAX][2];
	struct figures all = { 0 };
	struct errtext why = { "" };
	int64_t began, count;
	struct db *db;
	char ready;

	must(pipe(go) == 0, "pipe");
	for (int i = 0; i < processes; i++) {
		pid_t pid;

		must(pipe(tell[i]) == 0, "pipe");
		pid = fork();
		must(pid >= 0, "fork");
		if (pid == 0) {
			close(go[1]);
			write_in_process(threads, go[0], tell[i][1]);
		}
		close(tell[i][1]);
	}
	for (int i = 0; i < processes; i++)
		receive_all(tell[i][0], &ready, 1);
	must(db_open(&conf, DB_WORKER, &db, &why) == ERR_OK, why.s);
	began = now_us();
	syncs = 0;
	close(go[1]);
	keep_log_short(db, began + run_us);
	for (int i = 0; i < processes; i++)
		gather(tell[i][0], &all);
	while (wait(NULL) > 0)
		;
	count = (int64_t)all.count;
	db_close(db);
	report(count, run_us, &all);
}

/* --- raw -----------------------------------------------------------------------
 */

static void sql(sqlite3 *db, const char *text)
{
	must(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK, sqlite3_errmsg(db));
}

static void run_raw(void)
{
	static const char insert[] = "INSERT INTO rows (id, body) VALUES (?, ?)";
	struct figures all = { 0 };
	int64_t start, began, count = 0;
	sqlite3_stmt *stmt;
	sqlite3 *db;

	must(sqlite3_open(file, &db) == SQLITE_OK, "sqlite3_open");
	sql(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
	        "CREATE TABLE rows (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
	        " body BLOB NOT NULL)");
	must(sqlite3_prepare_v2(db, insert, -1, &stmt, NULL) == SQLITE_OK, "prepare");
	syncs = 0;
	start = now_us();
	for (began = start; began < start + run_us; began = now_us()) {
		sql(db, "BEGIN IMMEDIATE");
		for (int i = 0; i < ROWS; i++) {
			char id[ULID_SIZE];

			ulid_new(id);
			sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
			sqlite3_bind_blob(stmt, 2, body, sizeof(body), SQLITE_STATIC);
			must(sqlite3_step(stmt) == SQLITE_DONE, sqlite3_errmsg(db));
			sqlite3_reset(stmt);
		}
		sql(db, "COMMIT");
		figures_add(&all, now_us() - began);
		count += ROWS;
	}
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	report(count, began - start, &all);
}

int main(int argc, char **argv)
{
	memset(body, 'x', sizeof(body));
	if (argc > 3) {
		file = argv[2];
		run_us = strtol(argv[3], NULL, 10) * 1000000;
	}
	if (argc == 6 && strcmp(argv[1], "group") == 0 &&
	    atoi(argv[4]) <= PROCESSES_MAX && atoi(argv[5]) <= THREADS_MAX)
		run_group(atoi(argv[4]), atoi(argv[5]));
	else if (argc == 4 && strcmp(argv[1], "raw") == 0)
		run_raw();
	else {
		fprintf(stderr, "usage: store group FILE SECONDS PROCESSES THREADS\n"
		                "       store raw FILE SECONDS\n");
		return 64;
	}
	return 0;
}
