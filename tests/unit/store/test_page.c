/*
 * test_page.c - pages hold what their filter says, all of it, once.
 */
#include <config.h>

#include "store/page.h"

#include "core/limits.h"
#include "store.h"
#include "store/row.h"

/* Page through with this limit: the seqs, and how many pages it took. */
static const char *paged(struct db *db, struct look_filter f, int *page_count)
{
	static char text[4096];
	struct model_name model;
	char next[ULID_SIZE] = "";
	struct job jobs[16];
	size_t len = 0, count;

	if (f.model && model_parse(span_of(f.model), &model, NULL) != ERR_OK)
		abort();
	text[0] = '\0';
	*page_count = 0;
	do {
		if (page_read(db, &f, f.model ? &model : NULL, jobs, &count, next) !=
		    ERR_OK)
			return "failed";
		CHECK(count <= (size_t)f.limit);
		for (size_t i = 0; i < count; i++) {
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%lld,",
			                        (long long)jobs[i].seq);
			job_done(&jobs[i]);
		}
		f.before = next;
		++*page_count;
	} while (next[0]);
	return text;
}

/* Queued jobs `from` to `to` of this load key, in the order of their ids. */
static void fill(struct db *db, int from, int to, const char *key)
{
	char sql[512];

	snprintf(sql, sizeof(sql),
	         "WITH RECURSIVE n(i) AS (VALUES (%d) UNION ALL SELECT i + 1 FROM n"
	         " WHERE i < %d) INSERT INTO jobs (seq, id, state, attended, endpoint,"
	         " model, load_key, attempts, interruptions, event_seq,"
	         " cancel_requested, created_ms, queued_ms, artifact_mode,"
	         " webhook_events) SELECT i, printf('7%%025d', i), 'queued', 0, '', '',"
	         " '%s', 0, 0, 1, 0, 1, 1, 'auto', 0 FROM n",
	         from, to, key);
	if (shell(db, sql) != SQLITE_OK)
		abort();
}

static void finish(struct db *db, int from, int to)
{
	char sql[160];

	snprintf(sql, sizeof(sql),
	         "UPDATE jobs SET state = 'failed', reason = 'canceled',"
	         " finished_ms = 1 WHERE seq BETWEEN %d AND %d",
	         from, to);
	if (shell(db, sql) != SQLITE_OK)
		abort();
}

static void any_filter_gives_what_sql_would(void)
{
	static const char *const keys[] = { "a:latest", "a:latest num_ctx=4096",
		                                "a:latest-x", "b:latest" };
	static const char *const models[] = { NULL, "a", "B:latest", "nosuch" };
	struct db *db = db_fresh();
	struct job job;

	srand(3);
	for (int i = 0; i < 60; i++) {
		job_in(db, (enum job_state)(rand() % JOB_STATE_COUNT), &job);
		job_done(&job);
	}
	for (int i = 1; i <= 60; i++) {
		char sql[128];

		snprintf(sql, sizeof(sql), "UPDATE jobs SET load_key = '%s' WHERE seq = %d",
		         keys[rand() % 4], i);
		shell(db, sql);
	}
	shell(db, "UPDATE jobs SET held_until_ms = 5"
	          " WHERE state = 'queued' AND seq % 3 = 0");
	for (int s = 0; s <= JOB_STATE_COUNT; s++) {
		for (size_t m = 0; m < ARRAY_LEN(models); m++) {
			const struct look_filter f = { .any_state = s == JOB_STATE_COUNT,
				                           .state = (enum job_state)s,
				                           .model = models[m],
				                           .limit = 1 + rand() % 15 };
			char sql[512];
			int page_count;

			snprintf(sql, sizeof(sql),
			         "SELECT coalesce(group_concat(seq, ',') || ',', '') FROM"
			         " (SELECT seq FROM jobs WHERE %s%s%s AND %s%.1s%s"
			         " ORDER BY id DESC)",
			         f.any_state ? "1" : "state = '",
			         f.any_state ? "" : job_state_name(f.state),
			         f.any_state ? "" : "'", m ? ROW_MODEL " = '" : "1",
			         m == 1   ? "a"
			         : m == 2 ? "b"
			                  : "",
			         m ? ":latest'" : "");
			CHECK_STR(paged(db, f, &page_count), ask_text(db, sql));
		}
	}
	db_gone(db);
}

static void a_queue_as_deep_as_may_be_is_gathered_at_once(void)
{
	const struct look_filter f = { .state = JOB_QUEUED, .limit = 2, .model = "m" };
	struct db *db = db_fresh();
	char next[ULID_SIZE];
	struct model_name model;
	struct job jobs[2];
	size_t count = 9;

	REQUIRE(model_parse(span_of("m"), &model, NULL) == ERR_OK);
	fill(db, 1, LIMIT_LIST_WAITING, "m:latest");
	fill(db, LIMIT_LIST_WAITING + 1, LIMIT_LIST_WAITING + LIMIT_LIST_SEEK,
	     "n:latest");
	REQUIRE(page_read(db, &f, &model, jobs, &count, next) == ERR_OK);
	REQUIRE(count == 2);
	CHECK_INT(jobs[0].seq, LIMIT_LIST_WAITING);
	job_done(&jobs[0]);
	job_done(&jobs[1]);
	db_gone(db);
}

#define DEEP (LIMIT_LIST_WAITING + 1)

static void a_deep_queue_is_looked_through_in_steps(void)
{
	struct look_filter f = { .state = JOB_QUEUED, .limit = 2, .model = "m" };
	struct db *db = db_fresh();
	char next[ULID_SIZE], want[ULID_SIZE];
	struct model_name model;
	struct job jobs[2];
	size_t count = 9;

	REQUIRE(model_parse(span_of("m"), &model, NULL) == ERR_OK);
	fill(db, 1, DEEP, "m:latest");
	fill(db, DEEP + 1, DEEP + LIMIT_LIST_SEEK, "n:latest");
	/* all that is looked at is of another model */
	REQUIRE(page_read(db, &f, &model, jobs, &count, next) == ERR_OK);
	CHECK_INT(count, 0);
	snprintf(want, sizeof(want), "7%025d", DEEP + 1);
	CHECK_STR(next, want);
	f.before = next;
	REQUIRE(page_read(db, &f, &model, jobs, &count, next) == ERR_OK);
	REQUIRE(count == 2);
	CHECK_INT(jobs[0].seq, DEEP);
	CHECK_STR(next, jobs[1].id);
	job_done(&jobs[0]);
	job_done(&jobs[1]);
	db_gone(db);
}

static void the_other_model_is_few_enough_to_be_gathered(void)
{
	const struct look_filter f = { .state = JOB_QUEUED, .limit = 2, .model = "n" };
	const struct look_filter any = { .any_state = true, .limit = 2, .model = "n" };
	struct db *db = db_fresh();
	int page_count;

	fill(db, 1, 3, "n:latest");
	fill(db, 4, DEEP + 4, "m:latest");
	finish(db, 2, 2);
	CHECK_STR(paged(db, f, &page_count), "3,1,");
	CHECK_INT(page_count, 1);
	CHECK_STR(paged(db, any, &page_count), "3,2,1,");
	CHECK_INT(page_count, 2);
	db_gone(db);
}

static void a_page_ends_where_nothing_waits_any_more(void)
{
	const struct look_filter f = { .state = JOB_QUEUED,
		                           .limit = 5,
		                           .before = "70000000000000000000010004" };
	struct db *db = db_fresh();
	int page_count;

	fill(db, 1, 3 * LIMIT_LIST_SEEK, "m:latest");
	finish(db, 1, 3 * LIMIT_LIST_SEEK);
	fill(db, 10001, 10000 + DEEP, "m:latest");
	CHECK_STR(paged(db, f, &page_count), "10003,10002,10001,");
	CHECK_INT(page_count, 2); /* the second finds finished ones alone */
	/* one on hold among them, older than all: they are looked through */
	shell(db, "UPDATE jobs SET seq = 0 WHERE seq = 10500;"
	          "UPDATE jobs SET held_until_ms = 5 WHERE seq = 0");
	CHECK_STR(paged(db, f, &page_count), "10003,10002,10001,");
	CHECK_INT(page_count, 4);
	db_gone(db);
}

static void a_model_in_any_state_is_one_list_even_when_it_is_deep(void)
{
	const struct look_filter f = { .any_state = true,
		                           .model = "m",
		                           .limit = 16,
		                           .before = "70000000000000000000000012" };
	struct db *db = db_fresh();
	int page_count;

	fill(db, 1, DEEP + 12, "m:latest");
	finish(db, 5, 6);
	CHECK_STR(paged(db, f, &page_count), "11,10,9,8,7,6,5,4,3,2,1,");
	CHECK_INT(page_count, 1);
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(any_filter_gives_what_sql_would),
		T(a_queue_as_deep_as_may_be_is_gathered_at_once),
		T(a_deep_queue_is_looked_through_in_steps),
		T(the_other_model_is_few_enough_to_be_gathered),
		T(a_page_ends_where_nothing_waits_any_more),
		T(a_model_in_any_state_is_one_list_even_when_it_is_deep),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
