/*
 * test_remove.c - jobs that go: one, the old ones, and the memory of them.
 */
#include <config.h>

#include "store/remove.h"

#include "core/limits.h"
#include "store.h"
#include "store/look.h"

static int64_t rows(struct db *db, const char *table)
{
	char sql[64];

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table);
	return ask_int(db, sql);
}

static enum err take_away(struct db *db, const char *id)
{
	enum err err = db_begin(db, DB_SYNC_FULL, NULL);

	if (err != ERR_OK)
		return err;
	return db_finish(db, remove_job_in(db, id, NULL), NULL);
}

static void all_that_belongs_to_a_job_goes_with_it(void)
{
	static const char *const tables[] = {
		"jobs",     "inputs",          "events", "artifacts", "artifact_chunks",
		"webhooks", "webhook_attempts"
	};
	const struct queue_result result = { .response = SPAN_LIT("{}"),
		                                 .content = SPAN_LIT("text"),
		                                 .complete = true };
	struct db *db = db_fresh();
	struct job job, gone;

	job_make_told(&job, "m:latest", JOB_EVENTS_ALL);
	CHECK_INT(job_store(db, &job), ERR_OK);
	job_done(&job);
	CHECK_INT(job_claim(db, 1, &job), ERR_OK);
	CHECK_INT(queue_working(db, &job, NOW, NULL), ERR_OK);
	CHECK_INT(queue_done(db, &job, &result, NOW + 20, NULL), ERR_OK);
	CHECK_INT(rows(db, "artifacts"), 2);
	CHECK(rows(db, "webhooks") > 0); /* owed: it does not matter here */
	CHECK_INT(take_away(db, job.id), ERR_OK);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		CHECK_INT(rows(db, tables[i]), 0);
	CHECK_INT(wrong_figures(db), 0);
	CHECK_INT(look_job(db, job.id, 0, &gone), ERR_DENIED);
	CHECK_INT(take_away(db, job.id), ERR_NOENT);
	job_done(&job);
	db_gone(db);
}

static void a_job_may_go_in_any_state(void)
{
	struct db *db = db_fresh();

	for (int i = 0; i < JOB_STATE_COUNT; i++) {
		struct job job;

		job_in(db, (enum job_state)i, &job);
		CHECK_INT(take_away(db, job.id), ERR_OK);
		CHECK_INT(wrong_figures(db), 0);
		job_done(&job);
	}
	CHECK_INT(rows(db, "jobs"), 0);
	db_gone(db);
}

static void an_unknown_one_is_not_there(void)
{
	struct db *db = db_fresh();

	CHECK_INT(take_away(db, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), ERR_NOENT);
	CHECK_INT(rows(db, "retired"), 0);
	db_gone(db);
}

/* Whoever commits first wins; the other one finds nothing. */
static void a_run_whose_job_went_can_move_it_nowhere(void)
{
	const struct queue_result none = { .complete = true };
	struct db *db = db_fresh();
	bool wanted;
	struct job job;

	job_in(db, JOB_WORKING, &job);
	CHECK_INT(take_away(db, job.id), ERR_OK);
	CHECK_INT(queue_cancel_wanted(db, job.seq, &wanted), ERR_NOENT);
	CHECK_INT(queue_done(db, &job, &none, NOW, NULL), ERR_STALE);
	CHECK_INT(queue_failed(db, &job, REASON_TIMEOUT, NULL, true, &none, NOW, NULL),
	          ERR_STALE);
	CHECK_INT(queue_back(db, &job, REASON_RETRY, NULL, true, 0, NOW, NULL),
	          ERR_STALE);
	CHECK_INT(rows(db, "artifacts"), 0);
	CHECK_INT(rows(db, "events"), 0);
	CHECK_INT(wrong_figures(db), 0);
	job_done(&job);
	db_gone(db);
}

static void old_jobs_go_in_batches_the_oldest_first(void)
{
	struct db *db = db_fresh();
	int64_t count = -1;

	for (int i = 0; i < 5; i++) {
		struct job job;

		job_in(db, JOB_DONE, &job); /* at NOW + 30 */
		job_done(&job);
	}
	CHECK_INT(remove_old(db, NOW + 30, 10, &count, NULL), ERR_OK);
	CHECK_INT(count, 0); /* the edge: finished then is not older */
	CHECK_INT(remove_old(db, NOW + 31, 3, &count, NULL), ERR_OK);
	CHECK_INT(count, 3);
	CHECK_INT(remove_old(db, NOW + 31, 3, &count, NULL), ERR_OK);
	CHECK_INT(count, 2);
	CHECK_INT(rows(db, "retired"), 5);
	db_gone(db);
}

static void an_owed_webhook_keeps_its_job(void)
{
	const struct queue_result none = { .complete = true };
	struct db *db = db_fresh();
	int64_t count = -1;
	struct job job;

	job_make_told(&job, "m:latest", 1u << JOB_DONE);
	CHECK_INT(job_store(db, &job), ERR_OK);
	job_done(&job);
	CHECK_INT(job_claim(db, 1, &job), ERR_OK);
	CHECK_INT(queue_working(db, &job, NOW, NULL), ERR_OK);
	CHECK_INT(queue_done(db, &job, &none, NOW + 20, NULL), ERR_OK);
	CHECK_INT(remove_old(db, NOW + 100, 10, &count, NULL), ERR_OK);
	CHECK_INT(count, 0);
	shell(db, "UPDATE webhooks SET state = 'dead', due_ms = NULL");
	CHECK_INT(remove_old(db, NOW + 100, 10, &count, NULL), ERR_OK);
	CHECK_INT(count, 1);
	job_done(&job);
	db_gone(db);
}

static void nothing_to_remove_takes_no_gate(void)
{
	struct db *db = db_fresh(), *other = db_of(DB_WRITER);
	int64_t count = -1;

	CHECK_INT(db_begin(other, DB_SYNC_NORMAL, NULL), ERR_OK);
	CHECK_INT(remove_old(db, NOW, 10, &count, NULL), ERR_OK);
	CHECK_INT(count, 0);
	CHECK_INT(remove_retired(db, NOW, 10, &count, NULL), ERR_OK);
	CHECK_INT(count, 0);
	db_rollback(other);
	db_close(other);
	db_gone(db);
}

static void retired_ids_are_forgotten_by_their_own_time(void)
{
	struct db *db = db_fresh();
	char before[ULID_SIZE], at[ULID_SIZE], sql[128];
	int64_t count = -1;
	struct job job;

	ulid_floor(NOW - 1, before);
	ulid_floor(NOW, at);
	snprintf(sql, sizeof(sql), "INSERT INTO retired VALUES ('%s'), ('%s')", before,
	         at);
	CHECK_INT(shell(db, sql), 0);
	CHECK_INT(remove_retired(db, NOW - 1, 10, &count, NULL), ERR_OK);
	CHECK_INT(count, 0); /* the edge */
	CHECK_INT(look_job(db, before, 0, &job), ERR_DENIED);
	CHECK_INT(remove_retired(db, NOW, 10, &count, NULL), ERR_OK);
	CHECK_INT(count, 1);
	CHECK_INT(look_job(db, before, 0, &job), ERR_NOENT);
	CHECK_INT(look_job(db, at, 0, &job), ERR_DENIED);
	db_gone(db);
}

static void retired_ids_are_forgotten_in_batches(void)
{
	struct db *db = db_fresh();
	int64_t count = -1;

	CHECK_INT(shell(db, "INSERT INTO retired WITH RECURSIVE n (i) AS (VALUES (1)"
	                    " UNION ALL SELECT i + 1 FROM n WHERE i < 7)"
	                    " SELECT printf('01ARZ3NDEKTSV4RRFFQ69G5F%02d', i) FROM n"),
	          0);
	CHECK_INT(remove_retired(db, NOW, 5, &count, NULL), ERR_OK);
	CHECK_INT(count, 5);
	CHECK_INT(remove_retired(db, NOW, 5, &count, NULL), ERR_OK);
	CHECK_INT(count, 2);
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(all_that_belongs_to_a_job_goes_with_it),
		T(a_job_may_go_in_any_state),
		T(an_unknown_one_is_not_there),
		T(a_run_whose_job_went_can_move_it_nowhere),
		T(old_jobs_go_in_batches_the_oldest_first),
		T(an_owed_webhook_keeps_its_job),
		T(nothing_to_remove_takes_no_gate),
		T(retired_ids_are_forgotten_by_their_own_time),
		T(retired_ids_are_forgotten_in_batches),
	};

	return t_run(cases, sizeof(cases) / sizeof(cases[0]));
}
