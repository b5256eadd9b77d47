/*
 * scale.c - what the store's looks and moves cost in a large file, against the
 * same in a small one, measured in turns.
 *
 * usage: scale DIRECTORY QUEUED FINISHED TIMES
 *
 * Makes DIRECTORY/small.db with 1,000 jobs queued and 1,000 finished, and
 * DIRECTORY/large.db with as many as asked for, unless they are there. Prints a
 * line of JSON: for each operation the median of TIMES in microseconds, small
 * and large.
 */
#include <config.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/limits.h"
#include "figures.h"
#include "store/db.h"
#include "store/look.h"
#include "store/queue.h"
#include "store/status.h"

#define SMALL 1000
#define RARE 20     /* jobs of the rare model, queued and finished */
#define SLICE 50000 /* rows a transaction while a file is made */

enum size { IN_SMALL, IN_LARGE, SIZE_COUNT };

struct place {
	char path[512];
	int64_t queued, finished;
	struct db *writer, *reader;
};

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "scale: %s\n", what);
	exit(1);
}

/* --- making the files ------------------------------------------------------- */

static void run(sqlite3 *db, const char *sql)
{
	char *why = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &why) == SQLITE_OK)
		return;
	fprintf(stderr, "scale: %s: %s\n", why, sql);
	exit(1);
}

/* ?1 and ?2 are seqs; ?3 and ?4 may be looked at. */
static void run_between(sqlite3 *db, const char *sql, int64_t from, int64_t to,
                        int finished, int64_t rare)
{
	sqlite3_stmt *stmt = NULL;

	must(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK,
	     sqlite3_errmsg(db));
	sqlite3_bind_int64(stmt, 1, from);
	sqlite3_bind_int64(stmt, 2, to);
	sqlite3_bind_int(stmt, 3, finished);
	sqlite3_bind_int64(stmt, 4, rare);
	must(sqlite3_step(stmt) == SQLITE_DONE, sqlite3_errmsg(db));
	sqlite3_finalize(stmt);
}

/* Jobs `from` to `to`, in order of arrival: finished ones of four models and
 * a few of a rare one, with their events and a small answer, or queued ones.
 * The triggers keep the figures. */
static void fill(sqlite3 *db, int64_t from, int64_t to, int finished, int64_t rare)
{
	static const char jobs[] =
	    "WITH RECURSIVE n (i) AS (VALUES (?1) UNION ALL SELECT i + 1 FROM n"
	    "  WHERE i < ?2), j AS (SELECT i, ?3 AS fin, iif(i % ?4 = 7, 'rare',"
	    "  char(97 + i % 4)) || ':latest' AS model FROM n)"
	    " INSERT INTO jobs (seq, id, state, reason, attended, endpoint, model,"
	    "  load_key, attempts, interruptions, event_seq, cancel_requested,"
	    "  created_ms, queued_ms, loading_ms, working_ms, finished_ms,"
	    "  prompt_tokens, completion_tokens, artifact_mode, webhook_events)"
	    " SELECT i, printf('01K%023d', i), iif(fin, iif(i % 50, 'done', 'failed'),"
	    "  'queued'), iif(fin AND i % 50 = 0, 'canceled', NULL), 0, '/api/chat',"
	    "  model, model, fin, 0, iif(fin, 4, 1), 0, 1760000000000 + i,"
	    "  1760000000000 + i, iif(fin, 1760000000000 + i, NULL),"
	    "  iif(fin, 1760000000000 + i, NULL), iif(fin, 1760000000000 + i, NULL),"
	    "  10, 20, 'auto', 31 FROM j";
	static const char inputs[] =
	    "INSERT INTO inputs SELECT seq, randomblob(200), NULL FROM jobs"
	    " WHERE seq BETWEEN ?1 AND ?2";
	static const char events[] =
	    "INSERT INTO events SELECT seq, e.n, e.state, NULL, created_ms FROM jobs,"
	    " (SELECT 1 n, 'queued' state UNION ALL SELECT 2, 'loading'"
	    "  UNION ALL SELECT 3, 'working' UNION ALL SELECT 4, 'done') e"
	    " WHERE seq BETWEEN ?1 AND ?2 AND (finished_ms IS NOT NULL OR n = 1)";
	static const char artifacts[] =
	    "INSERT INTO artifacts (job_seq, name, content_type, bytes, sha256,"
	    " complete) SELECT seq, 'response', 'application/json', 100,"
	    " hex(randomblob(32)), 1 FROM jobs WHERE seq BETWEEN ?1 AND ?2"
	    " AND state = 'done'";

	run_between(db, jobs, from, to, finished, rare);
	run_between(db, inputs, from, to, finished, rare);
	run_between(db, events, from, to, finished, rare);
	run_between(db, artifacts, from, to, finished, rare);
}

static void make(struct place *p)
{
	struct db_conf conf = { .path = p->path };
	int64_t all = p->finished + p->queued;
	struct errtext why = { "" };
	sqlite3 *db = NULL;
	struct db *first = NULL;

	if (access(p->path, F_OK) == 0)
		return;
	must(db_open(&conf, DB_WORKER, &first, &why) == ERR_OK, why.s);
	db_close(first);
	must(sqlite3_open(p->path, &db) == SQLITE_OK, "sqlite3_open");
	run(db, "PRAGMA synchronous = OFF; PRAGMA cache_size = -500000");
	for (int64_t i = 1; i <= all;) {
		int64_t to = i + SLICE - 1;

		if (i <= p->finished && to > p->finished)
			to = p->finished;
		if (to > all)
			to = all;
		run(db, "BEGIN");
		fill(db, i, to, i <= p->finished,
		     (i <= p->finished ? p->finished : p->queued) / RARE);
		run(db, "COMMIT");
		i = to + 1;
	}
	run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	sqlite3_close(db);
}

static void open_place(struct place *p)
{
	const struct db_conf conf = { .path = p->path };
	struct status up = { .heartbeat_ms = clock_wall_ms(), .target = TARGET_UP };
	char key[] = "b:latest";
	struct errtext why = { "" };

	must(db_open(&conf, DB_WORKER, &p->writer, &why) == ERR_OK, why.s);
	must(db_open(&conf, DB_READER, &p->reader, &why) == ERR_OK, why.s);
	up.loaded_key = key;
	must(status_write(p->writer, &up, NULL) == ERR_OK, "status");
}

/* --- what is measured ------------------------------------------------------- */

/* Returns when the measured part is over; what is undone comes after. */
static int64_t claim(struct place *p)
{
	struct order_heads heads;
	struct queue_input in = { 0 };
	struct job job;
	int64_t over;

	must(queue_heads(p->writer, "b:latest", &heads) == ERR_OK, "heads");
	must(queue_claim(p->writer, heads.loaded[ORDER_UNATTENDED].seq, clock_wall_ms(),
	                 &job, &in, NULL) == ERR_OK,
	     "claim");
	over = now_us();
	must(queue_back(p->writer, &job, REASON_TARGET_LOST, NULL, false, 0,
	                clock_wall_ms(), NULL) == ERR_OK,
	     "back");
	free(in.body);
	free(in.headers);
	job_done(&job);
	return over;
}

static int64_t insert(struct place *p)
{
	static const struct queue_limits limits = { INT64_MAX, INT64_MAX };
	struct job job;
	struct submission sub = { .job = &job, .body = SPAN_LIT("{\"model\":\"c\"}") };
	struct submission *subs[] = { &sub };
	int64_t over;

	job_init(&job);
	ulid_new(job.id);
	job.endpoint = strdup("/api/chat");
	job.model = strdup("c");
	job.load_key = strdup("c:latest");
	job.created_ms = job.queued_ms = clock_wall_ms();
	job.event_seq = 1;
	must(db_begin(p->writer, DB_SYNC_NORMAL, NULL) == ERR_OK, "begin");
	must(queue_submit(p->writer, subs, 1, &limits, NULL) == ERR_OK, "submit");
	must(db_commit(p->writer, NULL) == ERR_OK, "commit");
	over = now_us();
	job_done(&job);
	return over;
}

static int64_t queue(struct place *p)
{
	struct look_queue q;
	struct status s;

	must(look_queue(p->reader, &q) == ERR_OK, "look_queue");
	must(status_read(p->reader, false, &s) == ERR_OK, "status_read");
	look_queue_done(&q);
	status_done(&s);
	return now_us();
}

static int64_t ready(struct place *p)
{
	struct errtext why = { "" };
	struct status s;

	must(db_writable(p->writer, &why) == ERR_OK, why.s);
	must(status_read(p->reader, false, &s) == ERR_OK, "status_read");
	status_done(&s);
	return now_us();
}

static int64_t page(struct place *p, const struct look_filter *f)
{
	struct job *jobs;
	char next[ULID_SIZE];
	size_t count;

	must(look_jobs(p->reader, f, &jobs, &count, next) == ERR_OK, "look_jobs");
	for (size_t i = 0; i < count; i++)
		job_done(&jobs[i]);
	free(jobs);
	return now_us();
}

/* The first page, or the last one of those (to the end of the file). */
#define PAGE(name, any, of_state, of_model, seq)                                   \
	static int64_t name(struct place *p)                                           \
	{                                                                              \
		char before[ULID_SIZE];                                                    \
		struct look_filter f = { .any_state = any,                                 \
			                     .state = of_state,                                \
			                     .model = of_model,                                \
			                     .limit = LIMIT_LIST_DEFAULT };                    \
                                                                                   \
		snprintf(before, sizeof(before), "01K%023lld", (long long)(seq));          \
		if ((seq) > 0)                                                             \
			f.before = before;                                                     \
		return page(p, &f);                                                        \
	}

PAGE(first, true, JOB_DONE, NULL, 0)
PAGE(last, true, JOB_DONE, NULL, 51)
PAGE(done_first, false, JOB_DONE, NULL, 0)
PAGE(done_last, false, JOB_DONE, NULL, 52)
PAGE(queued_first, false, JOB_QUEUED, NULL, 0)
PAGE(queued_last, false, JOB_QUEUED, NULL, p->finished + 51)
PAGE(working_first, false, JOB_WORKING, NULL, 0)
PAGE(model_first, true, JOB_DONE, "a", 0)
PAGE(model_last, true, JOB_DONE, "a", 201)
PAGE(rare_first, true, JOB_DONE, "rare", 0)
PAGE(model_done, false, JOB_DONE, "a", 0)
PAGE(model_queued, false, JOB_QUEUED, "a", 0)
PAGE(model_queued_last, false, JOB_QUEUED, "a", p->finished + 201)
PAGE(rare_failed, false, JOB_FAILED, "rare", 0)
PAGE(unknown_model, true, JOB_DONE, "nosuch", 0)

static int64_t one_job(struct place *p, int64_t seq)
{
	char id[ULID_SIZE];
	struct job job;

	snprintf(id, sizeof(id), "01K%023lld", (long long)seq);
	must(look_job(p->reader, id, 0, &job) == ERR_OK, "look_job");
	job_done(&job);
	return now_us();
}

static int64_t finished_job(struct place *p)
{
	return one_job(p, p->finished / 2 + 1);
}

static int64_t queued_job(struct place *p)
{
	return one_job(p, p->finished + 500);
}

static const struct {
	const char *name;
	int64_t (*fn)(struct place *p);
} operations[] = {
	{ "claim", claim },
	{ "insert", insert },
	{ "GET /queue", queue },
	{ "GET /readyz", ready },
	{ "GET /jobs/{id}, finished", finished_job },
	{ "GET /jobs/{id}, queued", queued_job },
	{ "GET /jobs", first },
	{ "GET /jobs, last page", last },
	{ "GET /jobs?state=done", done_first },
	{ "GET /jobs?state=done, last page", done_last },
	{ "GET /jobs?state=queued", queued_first },
	{ "GET /jobs?state=queued, last page", queued_last },
	{ "GET /jobs?state=working, none", working_first },
	{ "GET /jobs?model=", model_first },
	{ "GET /jobs?model=, last page", model_last },
	{ "GET /jobs?model=, rare", rare_first },
	{ "GET /jobs?model=, none", unknown_model },
	{ "GET /jobs?state=done&model=", model_done },
	{ "GET /jobs?state=queued&model=", model_queued },
	{ "GET /jobs?state=queued&model=, last page", model_queued_last },
	{ "GET /jobs?state=failed&model=, rare", rare_failed },
};

int main(int argc, char **argv)
{
	struct place places[SIZE_COUNT] = { { .queued = SMALL, .finished = SMALL } };
	int times;

	if (argc != 5) {
		fprintf(stderr, "usage: scale DIRECTORY QUEUED FINISHED TIMES\n");
		return 64;
	}
	places[IN_LARGE].queued = atoll(argv[2]);
	places[IN_LARGE].finished = atoll(argv[3]);
	times = atoi(argv[4]);
	for (int s = 0; s < SIZE_COUNT; s++) {
		snprintf(places[s].path, sizeof(places[s].path), "%s/%s.db", argv[1],
		         s == IN_SMALL ? "small" : "large");
		make(&places[s]);
		open_place(&places[s]);
	}
	printf("{");
	for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
		struct figures took[SIZE_COUNT] = { { .us = NULL } };

		for (int n = 0; n < times; n++) {
			for (int s = 0; s < SIZE_COUNT; s++) {
				int64_t began = now_us();

				figures_add(&took[s], operations[i].fn(&places[s]) - began);
			}
		}
		printf("%s\"%s\":{", i ? "," : "", operations[i].name);
		figures_print(&took[IN_SMALL], "small");
		printf(",");
		figures_print(&took[IN_LARGE], "large");
		printf("}");
		for (int s = 0; s < SIZE_COUNT; s++)
			figures_done(&took[s]);
	}
	printf("}\n");
	for (int s = 0; s < SIZE_COUNT; s++) {
		db_close(places[s].reader);
		db_close(places[s].writer);
	}
	return 0;
}
