/*
 * test_line.c - places and times of waiting jobs, against what really runs.
 */
#include <config.h>

#include "store/line.h"

#include "core/limits.h"
#include "store.h"
#include "store/look.h"

static void look(struct db *db, int64_t seq, struct job *out)
{
	char question[64], id[ULID_SIZE];

	snprintf(question, sizeof(question), "SELECT id FROM jobs WHERE seq = %lld",
	         (long long)seq);
	str_copy(id, sizeof(id), ask_text(db, question));
	if (look_job(db, id, 0, out) != ERR_OK)
		abort();
}

static int64_t position_of(struct db *db, int64_t seq)
{
	int64_t position;
	struct job seen;

	look(db, seq, &seen);
	position = seen.position;
	job_done(&seen);
	return position;
}

static void load(struct db *db, const char *key)
{
	char *copy = key ? strdup(key) : NULL;
	const struct status status = { .loaded_key = copy,
		                           .target = TARGET_UP,
		                           .heartbeat_ms = clock_wall_ms() };

	if (status_write(db, &status, NULL) != ERR_OK)
		abort();
	free(copy);
}

/* --- places ---------------------------------------------------------------- */

/* What the worker would run next, and that it then runs. */
static int64_t run_next(struct db *db, char loaded[32])
{
	static const struct order_rules rules = { 0, 0 };
	struct order_state state = { .any_loaded = loaded[0] != '\0' };
	struct order_heads heads;
	struct order_choice choice;
	struct job job;

	if (queue_heads(db, loaded[0] ? loaded : NULL, &heads) != ERR_OK)
		abort();
	choice = order_next(&heads, &state, &rules, NOW);
	if (job_claim(db, choice.seq, &job) != ERR_OK ||
	    queue_working(db, &job, NOW, NULL) != ERR_OK ||
	    queue_done(db, &job, &(struct queue_result){ .complete = true }, NOW,
	               NULL) != ERR_OK)
		abort();
	snprintf(loaded, 32, "%s", job.load_key);
	load(db, loaded);
	job_done(&job);
	return choice.seq;
}

#define JOBS 24

/* Some are held; those have no place and do not run. */
static void positions_are_the_order_in_which_the_worker_runs_them(void)
{
	static const char *const keys[] = { "a", "b", "c", "d num_ctx=8192" };

	srand(11);
	for (int round = 0; round < 20; round++) {
		struct db *db = db_fresh();
		int64_t place[JOBS + 1];
		char loaded[32] = "";
		int mix = rand() % 4, may_run = 0;

		for (int i = 0; i < JOBS; i++)
			job_put(db, keys[rand() % 4], rand() % 3 < mix);
		if (round % 2)
			shell(db, "UPDATE jobs SET held_until_ms = 1 WHERE seq % 5 = 2");
		if (round % 3)
			snprintf(loaded, sizeof(loaded), "%s", keys[rand() % 4]);
		load(db, loaded[0] ? loaded : NULL);
		for (int i = 1; i <= JOBS; i++) {
			place[i] = position_of(db, i);
			may_run += place[i] > 0;
		}
		CHECK_INT(may_run, ask_int(db, "SELECT count(*) FROM jobs"
		                               " WHERE held_until_ms IS NULL"));
		/* the view for people says the same */
		CHECK_INT(ask_int(db, "SELECT count(*) FROM queue"), JOBS);
		for (int i = 1; i <= JOBS; i++) {
			char question[128];

			snprintf(question, sizeof(question),
			         "SELECT iif(held_until IS NULL, position, 0) FROM queue"
			         " JOIN jobs USING (id) WHERE seq = %d",
			         i);
			CHECK_INT(ask_int(db, question), place[i]);
		}
		for (int n = 1; n <= may_run; n++)
			CHECK_INT(place[run_next(db, loaded)], n);
		db_gone(db);
	}
}

static void jobs_of_attended_keys_change_what_is_loaded_for_the_rest(void)
{
	struct db *db = db_fresh();

	job_put(db, "a:latest", false);      /* 1 */
	job_put(db, "loaded:latest", false); /* 2 */
	job_put(db, "b:latest", true);       /* 3 */
	job_put(db, "a:latest", false);      /* 4 */
	job_put(db, "loaded:latest", true);  /* 5 */
	job_put(db, "b:latest", false);      /* 6 */
	job_put(db, "c:latest", false);      /* 7 */
	load(db, "loaded:latest");
	CHECK_INT(position_of(db, 5), 1);
	CHECK_INT(position_of(db, 3), 2);
	CHECK_INT(position_of(db, 6), 3);
	CHECK_INT(position_of(db, 1), 4);
	CHECK_INT(position_of(db, 4), 5);
	CHECK_INT(position_of(db, 2), 6);
	CHECK_INT(position_of(db, 7), 7);
	shell(db, "UPDATE jobs SET held_until_ms = 1 WHERE seq = 1");
	CHECK_INT(position_of(db, 1), 0);
	CHECK_INT(position_of(db, 2), 4);
	db_gone(db);
}

static void a_place_is_told_up_to_the_limit(void)
{
	struct db *db = db_fresh();

	for (int i = 0; i <= LIMIT_POSITION; i++)
		job_put(db, "a:latest", false);
	CHECK_INT(position_of(db, LIMIT_POSITION), LIMIT_POSITION);
	CHECK_INT(position_of(db, LIMIT_POSITION + 1), 0);
	shell(db, "UPDATE jobs SET load_key = 'k' || seq || ':latest'");
	CHECK_INT(position_of(db, LIMIT_POSITION), LIMIT_POSITION);
	CHECK_INT(position_of(db, LIMIT_POSITION + 1), 0);
	db_gone(db);
}

/* --- times ----------------------------------------------------------------- */

static void pace(struct db *db, const char *key, double load_ms, double run_ms)
{
	const struct pace run = { load_ms, run_ms, -1 };

	if (db_begin(db, DB_SYNC_NORMAL, NULL) != ERR_OK ||
	    pace_record(db, key, &run, NOW, NULL) != ERR_OK ||
	    db_commit(db, NULL) != ERR_OK)
		abort();
}

static void a_waiting_job_is_told_when_it_starts_and_ends(void)
{
	struct db *db = db_fresh();
	int64_t began = clock_wall_ms();
	struct job seen;

	job_put(db, "a", false);
	job_put(db, "b", false);
	pace(db, "a", 60000, 10000);
	pace(db, "b", 90000, 20000);
	load(db, "a");
	look(db, 2, &seen);
	CHECK(seen.starts_ms >= began + 10000);
	CHECK(seen.starts_ms <= clock_wall_ms() + 10000);
	CHECK_INT(seen.ends_ms - seen.starts_ms, 110000);
	job_done(&seen);
	db_gone(db);
}

static void no_time_is_told_when_it_cannot_be_known(void)
{
	struct db *db = db_fresh();
	struct job seen;

	job_put(db, "a", false);
	load(db, "a");
	look(db, 1, &seen); /* it never ran */
	CHECK_INT(seen.position, 1);
	CHECK_INT(seen.starts_ms, 0);
	job_done(&seen);
	pace(db, "a", 60000, 10000);
	look(db, 1, &seen);
	CHECK(seen.starts_ms > 0);
	job_done(&seen);
	shell(db, "UPDATE status SET target = 'unreachable'");
	look(db, 1, &seen);
	CHECK_INT(seen.starts_ms, 0);
	job_done(&seen);
	shell(db, "UPDATE status SET target = 'up', heartbeat_ms = 5"); /* no worker */
	look(db, 1, &seen);
	CHECK_INT(seen.starts_ms, 0);
	job_done(&seen);
	db_gone(db);
}

static void what_runs_comes_first(void)
{
	struct db *db = db_fresh();
	struct job running, seen;

	job_in(db, JOB_LOADING, &running);
	job_put(db, "m:latest", false);
	load(db, "m:latest");
	pace(db, "m:latest", 500, 3600000);
	shell(db, "UPDATE jobs SET loading_ms = (SELECT heartbeat_ms FROM status)"
	          " WHERE state = 'loading'");
	look(db, 2, &seen);
	CHECK(seen.starts_ms > clock_wall_ms() + 3500000);
	CHECK_INT(seen.ends_ms - seen.starts_ms, 3600000);
	job_done(&seen);
	job_done(&running);
	db_gone(db);
}

static void the_queue_says_when_it_is_empty(void)
{
	struct db *db = db_fresh();
	int64_t began = clock_wall_ms();
	struct look_queue q;

	load(db, "a");
	REQUIRE(look_queue(db, &q) == ERR_OK);
	CHECK(q.empty_ms >= began); /* it is */
	CHECK_INT(q.ms_per_job, 0);
	look_queue_done(&q);
	job_put(db, "a", false);
	job_put(db, "a", false);
	job_put(db, "b", true);
	pace(db, "a", 60000, 10000);
	REQUIRE(look_queue(db, &q) == ERR_OK);
	CHECK_INT(q.empty_ms, 0); /* b is not known */
	look_queue_done(&q);
	pace(db, "b", 90000, 20000);
	REQUIRE(look_queue(db, &q) == ERR_OK);
	CHECK(q.empty_ms >= began + 90000 + 20000 + 60000 + 2 * 10000);
	CHECK_INT(q.ms_per_job, (90000 + 20000 + 2 * 10000) / 3);
	REQUIRE(q.waiting_count == 2);
	CHECK_STR(q.waiting[0].load_key, "b");
	CHECK_INT(q.waiting[0].ends_ms - q.waiting[0].starts_ms, 110000);
	CHECK_INT(q.waiting[1].starts_ms, q.waiting[0].ends_ms);
	CHECK_INT(q.waiting[1].ends_ms, q.empty_ms);
	look_queue_done(&q);
	/* who is on hold comes nobody knows when */
	shell(db, "UPDATE jobs SET held_until_ms = 1 WHERE seq = 1");
	REQUIRE(look_queue(db, &q) == ERR_OK);
	CHECK_INT(q.empty_ms, 0);
	CHECK(q.waiting[1].ends_ms > 0);
	look_queue_done(&q);
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(positions_are_the_order_in_which_the_worker_runs_them),
		T(jobs_of_attended_keys_change_what_is_loaded_for_the_rest),
		T(a_place_is_told_up_to_the_limit),
		T(a_waiting_job_is_told_when_it_starts_and_ends),
		T(no_time_is_told_when_it_cannot_be_known),
		T(what_runs_comes_first),
		T(the_queue_says_when_it_is_empty),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
