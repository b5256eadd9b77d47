/*
 * test_pace.c - means of what runs took, and how many load keys are remembered.
 */
#include <config.h>

#include "store/pace.h"

#include "core/limits.h"
#include "store.h"

static enum err record(struct db *db, const char *key, struct pace run, int64_t at)
{
	enum err err = db_begin(db, DB_SYNC_NORMAL, NULL);

	if (err != ERR_OK)
		return err;
	return db_finish(db, pace_record(db, key, &run, at, NULL), NULL);
}

static void of_a_key_that_never_ran_nothing_is_known(void)
{
	struct db *db = db_fresh();
	struct pace pace = { 1, 1, 1 };

	CHECK_INT(pace_read(db, "m:latest", &pace), ERR_OK);
	CHECK(pace.load_ms < 0);
	CHECK(pace.run_ms < 0);
	CHECK(pace.tokens_per_s < 0);
	db_gone(db);
}

static void the_first_figure_counts_whole_and_a_later_one_an_eighth(void)
{
	struct db *db = db_fresh();
	struct pace pace;

	CHECK_INT(record(db, "m", (struct pace){ 8000, 800, 40 }, NOW), ERR_OK);
	CHECK_INT(pace_read(db, "m", &pace), ERR_OK);
	CHECK_INT(pace.load_ms, 8000);
	CHECK_INT(pace.run_ms, 800);
	CHECK_INT(pace.tokens_per_s, 40);
	CHECK_INT(record(db, "m", (struct pace){ 0, 1600, 80 }, NOW), ERR_OK);
	CHECK_INT(pace_read(db, "m", &pace), ERR_OK);
	CHECK_INT(pace.load_ms, 7000);
	CHECK_INT(pace.run_ms, 900);
	CHECK_INT(pace.tokens_per_s, 45);
	CHECK_INT(ask_int(db, "SELECT runs * 10 + loads FROM pace"), 22);
	db_gone(db);
}

static void what_a_run_did_not_show_leaves_its_mean_alone(void)
{
	struct db *db = db_fresh();
	struct pace pace;

	CHECK_INT(record(db, "m", (struct pace)PACE_UNKNOWN, NOW), ERR_OK);
	CHECK_INT(pace_read(db, "m", &pace), ERR_OK);
	CHECK(pace.load_ms < 0 && pace.run_ms < 0 && pace.tokens_per_s < 0);
	CHECK_INT(record(db, "m", (struct pace){ -1, 500, -1 }, NOW), ERR_OK);
	CHECK_INT(record(db, "m", (struct pace){ 3000, -1, 20 }, NOW), ERR_OK);
	CHECK_INT(pace_read(db, "m", &pace), ERR_OK);
	CHECK_INT(pace.load_ms, 3000);
	CHECK_INT(pace.run_ms, 500);
	CHECK_INT(pace.tokens_per_s, 20);
	CHECK_INT(ask_int(db, "SELECT runs * 10 + loads FROM pace"), 31);
	db_gone(db);
}

static void a_record_that_is_rolled_back_was_not_made(void)
{
	const struct pace run = { 1, 1, 1 };
	struct db *db = db_fresh();

	REQUIRE(db_begin(db, DB_SYNC_NORMAL, NULL) == ERR_OK);
	CHECK_INT(pace_record(db, "m", &run, NOW, NULL), ERR_OK);
	db_rollback(db);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM pace"), 0);
	db_gone(db);
}

static void the_longest_unused_is_forgotten_beyond_the_limit(void)
{
	const struct pace run = { 1, 1, 1 };
	struct db *db = db_fresh();
	char key[32];

	REQUIRE(db_begin(db, DB_SYNC_NORMAL, NULL) == ERR_OK);
	for (int i = 0; i < LIMIT_PACE_KEYS; i++) {
		snprintf(key, sizeof(key), "m%d", i);
		CHECK_INT(pace_record(db, key, &run, NOW + i, NULL), ERR_OK);
	}
	CHECK_INT(pace_record(db, "m0", &run, NOW + LIMIT_PACE_KEYS, NULL), ERR_OK);
	CHECK_INT(db_commit(db, NULL), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM pace"), LIMIT_PACE_KEYS);
	/* one more, by a clock that stepped far back: it stays all the same */
	CHECK_INT(record(db, "new", run, 5), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM pace"), LIMIT_PACE_KEYS);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM pace WHERE load_key = 'm1'"), 0);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM pace WHERE load_key = 'm0'"), 1);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM pace WHERE load_key = 'new'"), 1);
	db_gone(db);
}

/* --- how long the queue takes for a job ------------------------------------ */

static int64_t drain_ms(struct db *db)
{
	int64_t ms = -1;

	CHECK_INT(pace_drain_ms(db, &ms), ERR_OK);
	return ms;
}

static void with_nothing_known_the_drain_is_not_known_either(void)
{
	struct db *db = db_fresh();

	CHECK_INT(drain_ms(db), 0);
	job_put(db, "m", false);
	CHECK_INT(drain_ms(db), 0);
	CHECK_INT(record(db, "m", (struct pace){ 100, -1, 5 }, NOW), ERR_OK);
	CHECK_INT(drain_ms(db), 0);
	db_gone(db);
}

static void each_job_waiting_weighs_in_and_each_key_is_loaded_once(void)
{
	struct db *db = db_fresh();

	for (int i = 0; i < 3; i++)
		job_put(db, "a", i == 0);
	job_put(db, "b", false);
	job_put(db, "strange", false);
	CHECK_INT(record(db, "a", (struct pace){ 400, 1000, -1 }, NOW), ERR_OK);
	CHECK_INT(record(db, "b", (struct pace){ 600, 3000, -1 }, NOW), ERR_OK);
	CHECK_INT(drain_ms(db), (3 * 1000 + 400 + 3000 + 600) / 4);
	/* what is loaded needs no load */
	REQUIRE(shell(db, "UPDATE status SET loaded_key = 'a'") == SQLITE_OK);
	CHECK_INT(drain_ms(db), (3 * 1000 + 3000 + 600) / 4);
	db_gone(db);
}

static void with_nobody_waiting_the_running_job_sets_the_pace(void)
{
	struct db *db = db_fresh();
	struct job job;

	job_in(db, JOB_WORKING, &job);
	CHECK_INT(drain_ms(db), 0);
	CHECK_INT(record(db, job.load_key, (struct pace){ -1, 750, -1 }, NOW), ERR_OK);
	CHECK_INT(drain_ms(db), 750);
	job_done(&job);
	db_gone(db);
}

static void a_pace_that_is_known_is_never_nothing(void)
{
	struct db *db = db_fresh();

	job_put(db, "m", false);
	CHECK_INT(record(db, "m", (struct pace){ 0, 0.2, -1 }, NOW), ERR_OK);
	CHECK_INT(drain_ms(db), 1);
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(of_a_key_that_never_ran_nothing_is_known),
		T(the_first_figure_counts_whole_and_a_later_one_an_eighth),
		T(what_a_run_did_not_show_leaves_its_mean_alone),
		T(a_record_that_is_rolled_back_was_not_made),
		T(the_longest_unused_is_forgotten_beyond_the_limit),
		T(with_nothing_known_the_drain_is_not_known_either),
		T(each_job_waiting_weighs_in_and_each_key_is_loaded_once),
		T(with_nobody_waiting_the_running_job_sets_the_pace),
		T(a_pace_that_is_known_is_never_nothing),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
