/*
 * test_schema.c - the tables refuse what cannot be, the triggers keep the
 * figures true whoever writes, the views read well.
 */
#include <config.h>

#include "store/schema.h"

#include "store.h"

static void a_new_file_says_whose_it_is(void)
{
	struct db *db = db_fresh();

	CHECK_INT(ask_int(db, "PRAGMA application_id"), SCHEMA_APPLICATION_ID);
	CHECK_INT(ask_int(db, "PRAGMA user_version"), SCHEMA_VERSION);
	CHECK_INT(ask_int(db, "PRAGMA auto_vacuum"), 2); /* INCREMENTAL */
	CHECK_STR(ask_text(db, "PRAGMA journal_mode"), "wal");
	CHECK_STR(ask_text(db, "PRAGMA integrity_check"), "ok");
	db_gone(db);
}

static void every_table_is_strict_and_every_column_is_explained(void)
{
	struct db *db = db_fresh();

	CHECK_INT(
	    ask_int(db,
	            "SELECT count(*) FROM pragma_table_list WHERE schema = 'main'"
	            " AND type = 'table' AND name NOT LIKE 'sqlite%' AND NOT strict"),
	    0);
	/* A comment for the table and one for each column (some share a line). */
	CHECK_INT(
	    ask_int(db, "SELECT count(*) FROM sqlite_schema s WHERE type = 'table' AND"
	                " name NOT LIKE 'sqlite%' AND"
	                " (length(sql) - length(replace(sql, '--', ''))) / 2 <"
	                " 1 + (SELECT count(*) FROM pragma_table_info(s.name))"),
	    0);
	db_gone(db);
}

static void a_finished_job_keeps_its_state(void)
{
	struct db *db = db_fresh();
	struct job done, failed;

	job_in(db, JOB_DONE, &done);
	job_in(db, JOB_FAILED, &failed);
	CHECK(shell(db, "UPDATE jobs SET state = 'queued', finished_ms = NULL, "
	                "loading_ms = NULL,"
	                " working_ms = NULL, reason = NULL") != SQLITE_OK);
	CHECK(shell(db, "UPDATE jobs SET state = 'done', reason = NULL, loading_ms = 1,"
	                " working_ms = 1 WHERE state = 'failed'") != SQLITE_OK);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs WHERE state = 'done'"), 1);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs WHERE state = 'failed'"), 1);
	CHECK_INT(wrong_figures(db), 0);
	job_done(&done);
	job_done(&failed);
	db_gone(db);
}

static void states_and_times_must_fit(void)
{
	static const char *const nonsense[] = {
		"UPDATE jobs SET state = 'asleep'",
		"UPDATE jobs SET state = 'done', finished_ms = 1",
		"UPDATE jobs SET state = 'failed', finished_ms = 1",     /* no reason */
		"UPDATE jobs SET state = 'failed', reason = 'internal'", /* no time */
		"UPDATE jobs SET state = 'loading'",
		"UPDATE jobs SET state = 'working', working_ms = 1",
		"UPDATE jobs SET loading_ms = 1",
		"UPDATE jobs SET finished_ms = 1",
		"UPDATE jobs SET reason = 'internal'",
		"UPDATE jobs SET attended = 2",
		"UPDATE jobs SET attempts = 'many'",
		"UPDATE jobs SET idempotency_key = 'k'",
		"UPDATE jobs SET state = 'loading', loading_ms = 1, held_until_ms = 2",
	};
	struct db *db = db_fresh();

	job_put(db, "m:latest", false);
	for (size_t i = 0; i < ARRAY_LEN(nonsense); i++)
		if (!CHECK((shell(db, nonsense[i]) & 0xff) == SQLITE_CONSTRAINT))
			printf("#   accepted: %s\n", nonsense[i]);
	CHECK_STR(ask_text(db, "SELECT state FROM jobs"), "queued");
	db_gone(db);
}

static void an_idempotency_key_is_there_once(void)
{
	struct db *db = db_fresh();

	job_put(db, "a:latest", false);
	job_put(db, "a:latest", false);
	CHECK_INT(shell(db, "UPDATE jobs SET idempotency_key = 'k', fingerprint = 'f'"
	                    " WHERE seq = 1"),
	          SQLITE_OK);
	CHECK(shell(db, "UPDATE jobs SET idempotency_key = 'k', fingerprint = 'g'"
	                " WHERE seq = 2") != SQLITE_OK);
	db_gone(db);
}

static void a_deleted_job_takes_everything_along(void)
{
	struct db *db = db_fresh();
	struct job job;

	job_in(db, JOB_DONE, &job);
	job_done(&job);
	job_make_told(&job, "m:latest", JOB_EVENTS_ALL);
	CHECK_INT(job_store(db, &job), ERR_OK);
	CHECK_INT(shell(db, "DELETE FROM jobs"), SQLITE_OK);
	CHECK_INT(ask_int(db, "SELECT (SELECT count(*) FROM inputs) +"
	                      " (SELECT count(*) FROM events) +"
	                      " (SELECT count(*) FROM artifacts) +"
	                      " (SELECT count(*) FROM artifact_chunks) +"
	                      " (SELECT count(*) FROM webhooks) +"
	                      " (SELECT count(*) FROM waiting)"),
	          0);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM retired"), 2);
	CHECK_INT(ask_int(db, "SELECT sum(count) FROM tallies"), 0);
	CHECK_INT(ask_int(db, "SELECT sum(count) FROM webhook_tallies"), 0);
	job_done(&job);
	db_gone(db);
}

static void a_shell_may_change_what_jobs_are_and_the_line_follows(void)
{
	struct db *db = db_fresh();

	for (int i = 0; i < 6; i++)
		job_put(db, i % 2 ? "a:latest" : "b:latest", i > 3);
	CHECK_INT(
	    shell(db, "UPDATE jobs SET load_key = 'c:latest' WHERE seq IN (1, 2)"),
	    SQLITE_OK);
	CHECK_INT(wrong_figures(db), 0);
	CHECK_INT(shell(db, "UPDATE jobs SET attended = 1 - attended"), SQLITE_OK);
	CHECK_INT(wrong_figures(db), 0);
	CHECK_INT(shell(db, "UPDATE jobs SET queued_ms = queued_ms + seq"), SQLITE_OK);
	CHECK_INT(wrong_figures(db), 0);
	CHECK_INT(shell(db, "UPDATE jobs SET held_until_ms = 5 WHERE seq % 2"),
	          SQLITE_OK);
	CHECK_INT(wrong_figures(db), 0);
	CHECK_INT(shell(db, "DELETE FROM jobs WHERE seq < 4"), SQLITE_OK);
	CHECK_INT(wrong_figures(db), 0);
	db_gone(db);
}

static void fifo_swaps_count_changes_of_key_between_arrivals(void)
{
	struct db *db = db_fresh();

	job_put(db, "a:latest", false); /* nothing was there to be swapped out */
	CHECK_INT(ask_int(db, "SELECT fifo_swaps FROM drain"), 0);
	job_put(db, "a:latest", true);
	job_put(db, "b:latest", false); /* 1 */
	job_put(db, "a:latest", false); /* 2 */
	CHECK_INT(ask_int(db, "SELECT fifo_swaps FROM drain"), 2);
	CHECK_INT(ask_int(db, "SELECT swaps FROM drain"), 0);
	db_gone(db);
}

static void the_queue_view_shows_running_order(void)
{
	struct db *db = db_fresh();

	job_put(db, "a:latest", false);      /* 1 */
	job_put(db, "loaded:latest", false); /* 2 */
	job_put(db, "b:latest", true);       /* 3 */
	job_put(db, "a:latest", false);      /* 4 */
	job_put(db, "c:latest", false);      /* 5, held */
	job_put(db, "loaded:latest", false); /* 6 */
	shell(db, "UPDATE jobs SET held_until_ms = 1800000000001 WHERE seq = 5");
	shell(db, "UPDATE status SET loaded_key = 'loaded:latest'");
	CHECK_STR(ask_text(db,
	                   "SELECT group_concat(seq) FROM (SELECT j.seq FROM queue q"
	                   " JOIN jobs j USING (id) ORDER BY q.position)"),
	          "3,1,4,2,6,5"); /* b is loaded when its own are done */
	CHECK_STR(ask_text(db, "SELECT group_concat(position) FROM queue"),
	          "1,2,3,4,5,6");
	CHECK_STR(ask_text(db, "SELECT queued_at FROM queue"),
	          "2027-01-15T08:00:00.000Z");
	CHECK_STR(
	    ask_text(db, "SELECT held_until FROM queue WHERE held_until NOT NULL"),
	    "2027-01-15T08:00:00.001Z");
	db_gone(db);
}

static void the_other_views_read_well(void)
{
	struct db *db = db_fresh();
	struct job jobs[4], told;

	job_in(db, JOB_DONE, &jobs[0]);
	job_in(db, JOB_FAILED, &jobs[1]);
	job_in(db, JOB_WORKING, &jobs[2]);
	job_make_told(&told, "b:latest", JOB_EVENTS_ALL);
	CHECK_INT(job_store(db, &told), ERR_OK);
	CHECK_STR(ask_text(db, "SELECT state || ' ' || loading_at || ' ' || working_at"
	                       " FROM running"),
	          "working 2027-01-15T08:00:00.010Z 2027-01-15T08:00:00.020Z");
	CHECK_INT(ask_int(db, "SELECT count(*) FROM history"), 2);
	CHECK_STR(ask_text(db, "SELECT finished_at || ' ' || reason || ' ' || error"
	                       " FROM history WHERE state = 'failed'"),
	          "2027-01-15T08:00:00.030Z internal because");
	CHECK_STR(ask_text(db, "SELECT type || ' ' || due_at FROM owed_webhooks"),
	          "job.queued 2027-01-15T08:00:00.000Z");
	CHECK_STR(
	    ask_text(db,
	             "SELECT load_key || ' ' || waiting || running || done || failed"
	             " || ' ' || last_used_at FROM models"),
	    "NULL"); /* b was never used */
	CHECK_STR(ask_text(db, "SELECT waiting || running || done || failed || ' ' ||"
	                       " last_used_at FROM models WHERE load_key = 'm:latest'"),
	          "0111 2027-01-15T08:00:00.030Z");
	for (int i = 0; i < 3; i++)
		job_done(&jobs[i]);
	job_done(&told);
	db_gone(db);
}

static void a_newer_schema_is_refused(void)
{
	struct errtext why = { "" };
	struct db *db = db_fresh();

	shell(db, "PRAGMA user_version = 3");
	db_close(db);
	db = NULL;
	CHECK_INT(db_open(&conf, DB_WORKER, &db, &why), ERR_VERSION);
	CHECK(strstr(why.s, "version 3") != NULL);
	CHECK_INT(db_open(&conf, DB_READER, &db, &why), ERR_VERSION);
	CHECK(!db);
	home_remove();
}

static void a_foreign_database_is_refused_and_not_touched(void)
{
	struct errtext why = { "" };
	struct db *db = NULL;
	sqlite3 *other;
	char wal[128];

	home_new();
	REQUIRE(sqlite3_open(path, &other) == SQLITE_OK);
	sqlite3_exec(other, "CREATE TABLE theirs (x)", NULL, NULL, NULL);
	CHECK_INT(db_open(&conf, DB_WORKER, &db, &why), ERR_INVAL);
	CHECK(strstr(why.s, "another program's database") != NULL);
	CHECK_INT(db_open(&conf, DB_READER, &db, NULL), ERR_INVAL);
	CHECK_INT(
	    sqlite3_exec(other, "INSERT INTO theirs VALUES (1)", NULL, NULL, NULL),
	    SQLITE_OK);
	sqlite3_close(other);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	CHECK_INT(access(wal, F_OK), -1); /* its journal mode is as it was */
	home_remove();
}

static void a_file_that_is_no_database_is_refused(void)
{
	struct errtext why = { "" };
	struct db *db = NULL;
	FILE *f;

	home_new();
	f = fopen(path, "w");
	for (int i = 0; i < 300; i++)
		fputs("Dear diary, ", f);
	fclose(f);
	CHECK_INT(db_open(&conf, DB_WORKER, &db, &why), ERR_INVAL);
	CHECK(strstr(why.s, "not a database") != NULL);
	CHECK(strstr(why.s, path) != NULL);
	home_remove();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_new_file_says_whose_it_is),
		T(every_table_is_strict_and_every_column_is_explained),
		T(a_finished_job_keeps_its_state),
		T(states_and_times_must_fit),
		T(an_idempotency_key_is_there_once),
		T(a_deleted_job_takes_everything_along),
		T(a_shell_may_change_what_jobs_are_and_the_line_follows),
		T(fifo_swaps_count_changes_of_key_between_arrivals),
		T(the_queue_view_shows_running_order),
		T(the_other_views_read_well),
		T(a_newer_schema_is_refused),
		T(a_foreign_database_is_refused_and_not_touched),
		T(a_file_that_is_no_database_is_refused),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
