/*
 * test_upkeep.c - what is done now and then.
 */
#include <config.h>

#include "worker/upkeep.h"

#include <sys/stat.h>

#include "store/sql.h"
#include "world.h"

struct yard {
	struct world w;
	struct upkeep *upkeep;
	int released, expired;
	bool busy;
};

static void on_released(void *arg)
{
	struct yard *y = arg;

	y->released++;
}

static void on_expired(void *arg)
{
	struct yard *y = arg;

	y->expired++;
}

static bool on_busy(void *arg)
{
	struct yard *y = arg;

	return y->busy;
}

static bool yard_begin(struct yard *y, const char *extra)
{
	static const struct upkeep_calls calls = { on_released, on_expired, on_busy };

	*y = (struct yard){ .upkeep = NULL };
	if (!world_begin(&y->w, extra))
		return false;
	return CHECK(upkeep_new(y->w.loop, y->w.db, &y->w.conf, &calls, y,
	                        &y->upkeep) == ERR_OK);
}

static void yard_end(struct yard *y)
{
	upkeep_free(y->upkeep);
	world_end(&y->w);
}

static void a_wal_is_emptied_when_large_or_left_alone(void)
{
	CHECK(!upkeep_wal_due(0, 0, 1 << 30));
	CHECK(!upkeep_wal_due(LIMIT_WAL_IDLE_BYTES, LIMIT_WAL_IDLE_BYTES, 1 << 30));
	CHECK(upkeep_wal_due(LIMIT_WAL_IDLE_BYTES + 1, LIMIT_WAL_IDLE_BYTES + 1,
	                     LIMIT_WAL_IDLE_MS));
	CHECK(!upkeep_wal_due(LIMIT_WAL_IDLE_BYTES + 1, LIMIT_WAL_IDLE_BYTES + 1,
	                      LIMIT_WAL_IDLE_MS - 1));
	CHECK(!upkeep_wal_due(LIMIT_WAL_IDLE_BYTES + 2, LIMIT_WAL_IDLE_BYTES + 1,
	                      1 << 30));
	CHECK(!upkeep_wal_due(LIMIT_WAL_BYTES, 0, 0));
	CHECK(upkeep_wal_due(LIMIT_WAL_BYTES + 1, 0, 0));
}

static void a_wal_gives_its_room_back_when_idle_or_far_too_large(void)
{
	CHECK(upkeep_wal_shrink(LIMIT_WAL_BYTES));
	CHECK(!upkeep_wal_shrink(LIMIT_WAL_BYTES + 1)); /* it will be used again */
	CHECK(!upkeep_wal_shrink(LIMIT_WAL_LARGE));
	CHECK(upkeep_wal_shrink(LIMIT_WAL_LARGE + 1));
}

static int64_t file_bytes(struct yard *y, const char *suffix)
{
	struct stat st = { .st_size = -1 };
	char name[128];

	snprintf(name, sizeof(name), "%s%s", y->w.conf.db, suffix);
	stat(name, &st);
	return st.st_size;
}

/* A table of so many MiB in transactions of 1 MiB, as jobs would come. */
static void write_much(struct yard *y, int mib)
{
	struct errtext why;

	CHECK(sql_exec(y->w.db, "CREATE TABLE IF NOT EXISTS much (bytes)", &why) ==
	      ERR_OK);
	for (int i = 0; i < mib; i++)
		CHECK(sql_exec(y->w.db, "INSERT INTO much VALUES (zeroblob(1048576))",
		               &why) == ERR_OK);
}

static void the_wal_stays_small_while_readers_come_and_go(void)
{
	struct errtext why;
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	for (int i = 0; i < 8; i++) {
		struct db *reader = NULL;
		int64_t before = db_wal_bytes(y.w.db);

		write_much(&y, 10);
		REQUIRE(db_open(&(struct db_conf){ .path = y.w.conf.db }, DB_READER,
		                &reader, &why) == ERR_OK);
		CHECK(sql_exec(reader, "SELECT count(*) FROM much", &why) == ERR_OK);
		CHECK(db_wal_bytes(y.w.db) > before);
		upkeep_look(y.upkeep);
		WORLD_UNTIL(&y.w, db_wal_bytes(y.w.db) <= LIMIT_WAL_BYTES);
		db_close(reader);
	}
	CHECK(file_bytes(&y, "-wal") < 3 * LIMIT_WAL_BYTES);
	yard_end(&y);
}

/* How often the log says this while the looks are made so many times. */
static int told(struct yard *y, const char *what, int looks)
{
	FILE *caught = tmpfile();
	int before = dup(STDERR_FILENO), count = 0;
	char line[1024];

	if (!caught || before < 0)
		return -1;
	dup2(fileno(caught), STDERR_FILENO);
	for (int i = 0; i < looks; i++) {
		upkeep_look(y->upkeep);
		CHECK(loop_turn(y->w.loop, 300, NULL) == ERR_OK);
	}
	dup2(before, STDERR_FILENO);
	close(before);
	rewind(caught);
	while (fgets(line, sizeof(line), caught))
		count += strstr(line, what) != NULL;
	fclose(caught);
	return count;
}

static void a_reader_that_stays_lets_it_grow_until_it_goes(void)
{
	struct db *reader = NULL;
	struct errtext why;
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	REQUIRE(db_open(&(struct db_conf){ .path = y.w.conf.db }, DB_READER, &reader,
	                &why) == ERR_OK);
	CHECK(sql_exec(reader, "BEGIN; SELECT count(*) FROM jobs", &why) == ERR_OK);
	write_much(&y, LIMIT_WAL_LARGE / (1024 * 1024) + 4);
	log_init("test", LOG_INFO, LOG_LOGFMT);
	CHECK_INT(told(&y, "a reader keeps the WAL", 3), 1);
	CHECK(file_bytes(&y, "-wal") > LIMIT_WAL_LARGE);
	CHECK(db_wal_bytes(y.w.db) > LIMIT_WAL_LARGE);
	CHECK(sql_exec(reader, "ROLLBACK", &why) == ERR_OK);
	CHECK_INT(told(&y, "the WAL is emptied again", 2), 1);
	WORLD_UNTIL(&y.w, file_bytes(&y, "-wal") == 0);
	db_close(reader);
	yard_end(&y);
}

static void a_wal_that_another_empties_is_only_watched(void)
{
	struct errtext why;
	struct yard y;
	int64_t large;

	REQUIRE(yard_begin(&y, "FOREMAN_CHECKPOINTER=other"));
	write_much(&y, LIMIT_WAL_LARGE / (1024 * 1024) - 4);
	log_init("test", LOG_INFO, LOG_LOGFMT);
	CHECK_INT(told(&y, "does not empty the WAL", 2), 0);
	write_much(&y, 8);
	large = db_wal_bytes(y.w.db);
	CHECK(large > LIMIT_WAL_LARGE);
	CHECK_INT(told(&y, "the other checkpointer does not empty the WAL", 3), 1);
	CHECK_INT(db_wal_bytes(y.w.db), large);
	CHECK(db_checkpoint(y.w.db, false, &why) == ERR_OK); /* as the other would */
	write_much(&y, LIMIT_WAL_BYTES / (1024 * 1024) + 1);
	CHECK_INT(told(&y, "the WAL is emptied again", 2), 1);
	CHECK(db_wal_bytes(y.w.db) > LIMIT_WAL_BYTES);
	yard_end(&y);
}

static int64_t free_bytes(struct yard *y)
{
	int64_t bytes = -1;

	CHECK(db_free_bytes(y->w.db, &bytes) == ERR_OK);
	return bytes;
}

static void what_removed_rows_leave_goes_back_to_the_file_system(void)
{
	struct errtext why;
	struct yard y;
	int64_t before;

	REQUIRE(yard_begin(&y, NULL));
	write_much(&y, LIMIT_FREE_BYTES / (1024 * 1024) + 4);
	CHECK(sql_exec(y.w.db, "DROP TABLE much", &why) == ERR_OK);
	before = free_bytes(&y);
	CHECK(before > LIMIT_FREE_BYTES);
	CHECK(db_vacuum(y.w.db, &why) == ERR_OK); /* one step, not all of it */
	CHECK_INT(free_bytes(&y), before - LIMIT_VACUUM_PAGES * 4096);
	REQUIRE(db_checkpoint(y.w.db, true, &why) == ERR_OK);
	before = file_bytes(&y, "");
	upkeep_look(y.upkeep);
	WORLD_UNTIL(&y.w, free_bytes(&y) <= LIMIT_FREE_BYTES);
	CHECK(free_bytes(&y) > LIMIT_FREE_BYTES - LIMIT_VACUUM_PAGES * 4096);
	REQUIRE(db_checkpoint(y.w.db, true, &why) == ERR_OK);
	CHECK(file_bytes(&y, "") <= before - 2 * 1024 * 1024);
	yard_end(&y);
}

static void a_hold_ends_when_it_is_over(void)
{
	struct yard y;
	struct job job;
	struct errtext why;
	struct order_heads heads;
	char id[ULID_SIZE] = "";
	struct queue_input in = { 0 };
	int64_t seq, until_ms;

	REQUIRE(yard_begin(&y, NULL));
	seq = world_submit(&y.w, "m", false, id);
	REQUIRE(queue_claim(y.w.db, seq, clock_wall_ms(), &job, &in, &why) == ERR_OK);
	free(in.body);
	until_ms = clock_wall_ms() + 100;
	CHECK(queue_back(y.w.db, &job, REASON_RETRY, "x", true, until_ms,
	                 clock_wall_ms(), &why) == ERR_OK);
	job_done(&job);
	WORLD_UNTIL(&y.w, y.released == 1); /* its first look: too early */
	CHECK(queue_heads(y.w.db, NULL, &heads) == ERR_OK);
	CHECK_INT(heads.other[ORDER_UNATTENDED].seq, 0);
	upkeep_held(y.upkeep, until_ms);
	WORLD_UNTIL(&y.w, y.released == 2);
	CHECK(clock_wall_ms() >= until_ms);
	CHECK(queue_heads(y.w.db, NULL, &heads) == ERR_OK);
	CHECK_INT(heads.other[ORDER_UNATTENDED].seq, seq);
	yard_end(&y);
}

static bool retired(struct yard *y, const char *id)
{
	struct job job;
	enum err e = look_job(y->w.db, id, 0, &job);

	if (e == ERR_OK)
		job_done(&job);
	return e == ERR_DENIED;
}

static void old_jobs_go_and_young_ones_stay(void)
{
	struct yard y;
	struct job job;
	struct errtext why;
	char old[ULID_SIZE] = "", young[ULID_SIZE] = "";
	char *ids[] = { old, young };

	REQUIRE(yard_begin(&y, "FOREMAN_RETENTION=1h"));
	for (int i = 0; i < 2; i++) {
		world_submit(&y.w, "m", false, ids[i]);
		job = world_job(&y.w, ids[i]);
		CHECK(queue_failed(y.w.db, &job, REASON_CANCELED, NULL, false, NULL,
		                   clock_wall_ms() - (i ? 0 : 2 * 3600 * 1000),
		                   &why) == ERR_OK);
		job_done(&job);
	}
	WORLD_UNTIL(&y.w, retired(&y, old));
	CHECK(world_job_is(&y.w, young, JOB_FAILED, REASON_CANCELED));
	yard_end(&y);
}

static void removed_ids_are_remembered_for_a_time(void)
{
	char old[ULID_SIZE], young[ULID_SIZE], sql[160];
	struct yard y;

	REQUIRE(yard_begin(&y, "FOREMAN_RETENTION=0"));
	ulid_floor(clock_wall_ms() - LIMIT_RETIRED_MS - 1000, old);
	ulid_floor(clock_wall_ms() - LIMIT_RETIRED_MS + 3600000, young);
	snprintf(sql, sizeof(sql), "INSERT INTO retired VALUES ('%s'), ('%s')", old,
	         young);
	CHECK(sqlite3_exec(y.w.db->handle, sql, NULL, NULL, NULL) == SQLITE_OK);
	CHECK(retired(&y, old));
	WORLD_UNTIL(&y.w, !retired(&y, old));
	CHECK(retired(&y, young));
	yard_end(&y);
}

static void a_job_not_started_in_time_expires(void)
{
	struct yard y;
	struct job job;
	struct submission sub = { .job = &job, .body = SPAN_LIT("{}") };
	struct submission *subs[] = { &sub };
	struct queue_limits limits = { 10, 10 };
	struct errtext why;
	char id[ULID_SIZE];

	REQUIRE(yard_begin(&y, NULL));
	job_init(&job);
	ulid_new(job.id);
	str_copy(id, sizeof(id), job.id);
	job.endpoint = strdup("/api/chat");
	job.model = strdup("m");
	job.load_key = strdup("m");
	job.created_ms = job.queued_ms = clock_wall_ms();
	job.expires_ms = job.created_ms + 1;
	job.event_seq = 1;
	CHECK(db_begin(y.w.db, DB_SYNC_NORMAL, &why) == ERR_OK);
	CHECK(queue_submit(y.w.db, subs, 1, &limits, &why) == ERR_OK);
	CHECK(db_commit(y.w.db, &why) == ERR_OK);
	job_done(&job);
	WORLD_UNTIL(&y.w, y.expired > 0);
	CHECK(world_job_is(&y.w, id, JOB_FAILED, REASON_EXPIRED));
	yard_end(&y);
}

static void sleep_is_what_boot_time_gains_on_monotonic(void)
{
	int64_t gap_ms = 100;

	clock_fake(0, 1000, 1100);
	CHECK_INT(upkeep_slept_ms(&gap_ms), 0);
	clock_fake(86400000, 5000, 5100); /* the wall clock was set, time passed */
	CHECK_INT(upkeep_slept_ms(&gap_ms), 0);
	clock_fake(0, 5000, 5100 + LIMIT_SLEPT_MS - 1);
	CHECK_INT(upkeep_slept_ms(&gap_ms), 0);
	clock_fake(0, 5000, 5100 + LIMIT_SLEPT_MS); /* naps add up */
	CHECK_INT(upkeep_slept_ms(&gap_ms), LIMIT_SLEPT_MS);
	CHECK_INT(upkeep_slept_ms(&gap_ms), 0); /* told once */
	clock_fake(0, 6000, 6000 + 3600000);
	CHECK_INT(upkeep_slept_ms(&gap_ms), 3600000 - 100 - LIMIT_SLEPT_MS);
	clock_real();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_wal_is_emptied_when_large_or_left_alone),
		T(a_wal_gives_its_room_back_when_idle_or_far_too_large),
		T(the_wal_stays_small_while_readers_come_and_go),
		T(a_reader_that_stays_lets_it_grow_until_it_goes),
		T(a_wal_that_another_empties_is_only_watched),
		T(what_removed_rows_leave_goes_back_to_the_file_system),
		T(a_hold_ends_when_it_is_over),
		T(old_jobs_go_and_young_ones_stay),
		T(removed_ids_are_remembered_for_a_time),
		T(a_job_not_started_in_time_expires),
		T(sleep_is_what_boot_time_gains_on_monotonic),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
