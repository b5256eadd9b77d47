/*
 * test_upkeep.c - what is done now and then.
 */
#include <config.h>

#include "worker/upkeep.h"

#include <sys/stat.h>

#include "disk.h"
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
	world_catch_log(LOG_INFO);
	for (int i = 0; i < looks; i++) {
		upkeep_look(y->upkeep);
		CHECK(loop_turn(y->w.loop, 300, NULL) == ERR_OK);
	}
	return world_caught(what);
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
	write_much(&y, LIMIT_WAL_BYTES / (1024 * 1024) + 4);
	CHECK_INT(told(&y, "a reader keeps the WAL", 3), 0); /* nobody's fault yet */
	write_much(&y, (LIMIT_WAL_LARGE - LIMIT_WAL_BYTES) / (1024 * 1024));
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

/* --- a disk in trouble ------------------------------------------------------- */

static void what_cannot_be_done_is_told_once_and_done_later(void)
{
	struct yard y;
	struct job job;
	struct errtext why;
	char old[ULID_SIZE] = "";

	REQUIRE(yard_begin(&y, "FOREMAN_RETENTION=1h"));
	world_submit(&y.w, "m", false, old);
	job = world_job(&y.w, old);
	CHECK(queue_failed(y.w.db, &job, REASON_CANCELED, NULL, false, NULL,
	                   clock_wall_ms() - 2 * 3600 * 1000, &why) == ERR_OK);
	job_done(&job);
	disk_forget(&y.w);
	disk.unreadable = true;
	CHECK_INT(told(&y, "level=error", 3), 4); /* holds, expiry, prune, room */
	CHECK(y.released > 0); /* the line is looked at for all that */
	disk.unreadable = false;
	upkeep_look(y.upkeep);
	WORLD_UNTIL(&y.w, retired(&y, old));
	disk_forget(&y.w);
	disk.unreadable = true;
	CHECK_INT(told(&y, "cannot remove old jobs", 2), 1); /* it is news again */
	disk.unreadable = false;
	yard_end(&y);
}

static void a_full_disk_keeps_the_wal_and_says_so_once(void)
{
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	write_much(&y, LIMIT_WAL_BYTES / (1024 * 1024) + 1);
	disk.full = true;
	CHECK_INT(told(&y, "cannot checkpoint", 3), 1);
	CHECK(db_wal_bytes(y.w.db) > LIMIT_WAL_BYTES);
	disk.full = false;
	upkeep_look(y.upkeep);
	WORLD_UNTIL(&y.w, db_wal_bytes(y.w.db) == 0);
	yard_end(&y);
}

/* --- batches and paces -------------------------------------------------------- */

/* Time stands still until turns_at. */
static int64_t freeze(void)
{
	int64_t now_ms = clock_mono_ms();

	clock_fake(clock_wall_ms(), now_ms, now_ms);
	return now_ms;
}

/* Turns of the loop while no time passes. */
static void turns_at(struct yard *y, int64_t mono_ms)
{
	int64_t wall_ms = clock_wall_ms();

	clock_fake(wall_ms, mono_ms, mono_ms);
	for (int i = 0; i < 20; i++)
		CHECK(loop_turn(y->w.loop, 0, NULL) == ERR_OK);
}

static void more_than_a_batch_expires_without_a_pause(void)
{
	static char ids[2 * LIMIT_STEP_MOVES][ULID_SIZE];
	struct yard y;
	struct errtext why;

	REQUIRE(yard_begin(&y, NULL));
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		ids[i][0] = '\0';
		world_submit(&y.w, "m", false, ids[i]);
	}
	CHECK(sql_exec(y.w.db, "UPDATE jobs SET expires_ms = 1", &why) == ERR_OK);
	turns_at(&y, clock_mono_ms());
	clock_real();
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		CHECK(world_job_is(&y.w, ids[i], JOB_FAILED, REASON_EXPIRED));
	CHECK_INT(y.expired, 2);
	yard_end(&y);
}

#define MANY(n)                                                                    \
	"WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n"            \
	" WHERE i < " #n ") "

/* One more old job than go at once. */
static void make_old_jobs(struct yard *y)
{
	static const char jobs[] =
	    MANY(201) "INSERT INTO jobs (id, state, reason, attended, endpoint, model,"
	              " load_key, attempts, interruptions, event_seq, cancel_requested,"
	              " created_ms, queued_ms, finished_ms, artifact_mode,"
	              " webhook_events) SELECT printf('01ARZ3NDEKTSV4RRFFQ%07d', i),"
	              " 'failed', 'canceled', 0, '/api/chat', 'm', 'm:latest', 0, 0, 1,"
	              " 0, 1, 1, 1, 'auto', 0 FROM n";
	struct errtext why = { "" };

	CHECK_INT(LIMIT_PRUNE_BATCH, 200);
	CHECK(sql_exec(y->w.db, jobs, &why) == ERR_OK);
	CHECK_STR(why.s, "");
}

/* ... and one more id. */
static void make_old_ids(struct yard *y)
{
	static const char ids[] =
	    MANY(2001) "INSERT INTO retired SELECT printf('0000000000TSV4RRFFQ%07d', i)"
	               " FROM n";
	struct errtext why = { "" };

	CHECK_INT(LIMIT_RETIRED_BATCH, 2000);
	CHECK(sql_exec(y->w.db, ids, &why) == ERR_OK);
	CHECK_STR(why.s, "");
}

static int64_t count_of(struct yard *y, const char *sql)
{
	struct sql q = sql_use(y->w.db, sql);
	int64_t n = sql_row(&q) ? sql_get_int(&q) : -1;

	CHECK(sql_end(&q, NULL) == ERR_OK);
	return n;
}

/* What is more than a batch is not left for LIMIT_PRUNE_MS, but others may write
 * in between. */
static void a_backlog_of_old_things_goes_in_batches(void)
{
	static const char jobs[] = "SELECT count(*) FROM jobs";
	static const char ids[] = "SELECT count(*) FROM retired WHERE id < '01'";
	struct yard y;
	int64_t now_ms = freeze();

	REQUIRE(yard_begin(&y, "FOREMAN_RETENTION=1h"));
	make_old_jobs(&y);
	turns_at(&y, now_ms);
	CHECK_INT(count_of(&y, jobs), 1);
	turns_at(&y, now_ms + LIMIT_WAL_CHECK_MS - 1);
	CHECK_INT(count_of(&y, jobs), 1);
	now_ms += LIMIT_WAL_CHECK_MS;
	turns_at(&y, now_ms);
	CHECK_INT(count_of(&y, jobs), 0);
	make_old_ids(&y); /* alone they are reason enough */
	turns_at(&y, now_ms + LIMIT_PRUNE_MS - 1);
	CHECK_INT(count_of(&y, ids), 2001);
	now_ms += LIMIT_PRUNE_MS;
	turns_at(&y, now_ms);
	CHECK_INT(count_of(&y, ids), 1);
	turns_at(&y, now_ms + LIMIT_WAL_CHECK_MS);
	CHECK_INT(count_of(&y, ids), 0);
	clock_real();
	yard_end(&y);
}

static void removed_ids_are_remembered_for_a_time(void)
{
	char old[ULID_SIZE], young[ULID_SIZE], sql[160];
	struct yard y;
	int64_t now_ms = freeze();

	REQUIRE(yard_begin(&y, "FOREMAN_RETENTION=0"));
	ulid_floor(clock_wall_ms() - LIMIT_RETIRED_MS - 1, old);
	ulid_floor(clock_wall_ms() - LIMIT_RETIRED_MS, young);
	snprintf(sql, sizeof(sql), "INSERT INTO retired VALUES ('%s'), ('%s')", old,
	         young);
	CHECK(sqlite3_exec(y.w.db->handle, sql, NULL, NULL, NULL) == SQLITE_OK);
	CHECK(retired(&y, old));
	turns_at(&y, now_ms);
	CHECK(!retired(&y, old));
	CHECK(retired(&y, young));
	clock_real();
	yard_end(&y);
}

/* With so many bytes unused in the file, how many are given back? */
static int64_t given_back(int64_t unused)
{
	struct errtext why;
	struct yard y;
	char sql[64];
	int64_t now_ms = freeze(), after;

	if (!yard_begin(&y, NULL))
		return -1;
	write_much(&y, LIMIT_FREE_BYTES / (1024 * 1024) + 1);
	CHECK(sql_exec(y.w.db, "DROP TABLE much", &why) == ERR_OK);
	snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)",
	         (int)((free_bytes(&y) - unused) / 4096));
	CHECK(sqlite3_exec(y.w.db->handle, sql, NULL, NULL, NULL) == SQLITE_OK);
	CHECK_INT(free_bytes(&y), unused);
	turns_at(&y, now_ms);
	after = free_bytes(&y);
	clock_real();
	yard_end(&y);
	return unused - after;
}

static void a_little_room_is_kept(void)
{
	CHECK_INT(given_back(LIMIT_FREE_BYTES), 0);
	CHECK_INT(given_back(LIMIT_FREE_BYTES + 4096), LIMIT_VACUUM_PAGES * 4096);
}

static void room_is_given_back_slowly_while_a_job_runs(void)
{
	struct errtext why;
	struct yard y;
	int64_t before, now_ms = freeze();

	REQUIRE(yard_begin(&y, NULL));
	write_much(&y, LIMIT_FREE_BYTES / (1024 * 1024) + 4);
	CHECK(sql_exec(y.w.db, "DROP TABLE much", &why) == ERR_OK);
	before = free_bytes(&y);
	y.busy = true;
	upkeep_look(y.upkeep);
	turns_at(&y, now_ms);
	CHECK_INT(free_bytes(&y), before - LIMIT_VACUUM_PAGES * 4096);
	turns_at(&y, now_ms + LIMIT_VACUUM_BUSY_MS - 1);
	CHECK_INT(free_bytes(&y), before - LIMIT_VACUUM_PAGES * 4096);
	y.busy = false;
	turns_at(&y, now_ms + LIMIT_VACUUM_BUSY_MS);
	CHECK_INT(free_bytes(&y), before - 2 * LIMIT_VACUUM_PAGES * 4096);
	turns_at(&y, now_ms + LIMIT_VACUUM_BUSY_MS + LIMIT_VACUUM_IDLE_MS);
	CHECK_INT(free_bytes(&y), before - 3 * LIMIT_VACUUM_PAGES * 4096);
	disk.full = true; /* what cannot be done now is not tried at every turn */
	turns_at(&y, now_ms + LIMIT_VACUUM_BUSY_MS + 2 * LIMIT_VACUUM_IDLE_MS);
	disk.full = false;
	turns_at(&y, now_ms + 2 * LIMIT_VACUUM_BUSY_MS);
	CHECK_INT(free_bytes(&y), before - 3 * LIMIT_VACUUM_PAGES * 4096);
	clock_real();
	yard_end(&y);
}

static void a_reader_in_the_way_is_not_met_again_at_once(void)
{
	struct db *reader = NULL;
	struct errtext why;
	struct yard y;
	int64_t now_ms = freeze();

	REQUIRE(yard_begin(&y, NULL));
	REQUIRE(db_open(&(struct db_conf){ .path = y.w.conf.db }, DB_READER, &reader,
	                &why) == ERR_OK);
	CHECK(sql_exec(reader, "BEGIN; SELECT count(*) FROM jobs", &why) == ERR_OK);
	write_much(&y, LIMIT_WAL_LARGE / (1024 * 1024) + 1);
	turns_at(&y, now_ms);
	db_close(reader);
	turns_at(&y, now_ms + LIMIT_WAL_BUSY_MS - 1);
	CHECK(db_wal_bytes(y.w.db) > LIMIT_WAL_LARGE);
	turns_at(&y, now_ms + LIMIT_WAL_BUSY_MS);
	CHECK_INT(db_wal_bytes(y.w.db), 0);
	clock_real();
	yard_end(&y);
}

static void a_hold_far_ahead_is_looked_at_in_its_time(void)
{
	struct yard y;
	int64_t now_ms = freeze();
	int seen;

	REQUIRE(yard_begin(&y, NULL));
	turns_at(&y, now_ms);
	seen = y.released;
	CHECK(seen > 0);
	turns_at(&y, now_ms + LIMIT_UPKEEP_MS / 2);
	upkeep_held(y.upkeep, clock_wall_ms() + 10 * LIMIT_UPKEEP_MS);
	turns_at(&y, now_ms + LIMIT_UPKEEP_MS - 1);
	CHECK_INT(y.released, seen);
	turns_at(&y, now_ms + LIMIT_UPKEEP_MS); /* the usual look comes when it does */
	CHECK_INT(y.released, seen + 1);
	upkeep_held(y.upkeep, clock_wall_ms() - 1); /* over already */
	turns_at(&y, now_ms + LIMIT_UPKEEP_MS);
	CHECK_INT(y.released, seen + 2);
	clock_real();
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
		T(what_cannot_be_done_is_told_once_and_done_later),
		T(a_full_disk_keeps_the_wal_and_says_so_once),
		T(more_than_a_batch_expires_without_a_pause),
		T(a_backlog_of_old_things_goes_in_batches),
		T(a_little_room_is_kept),
		T(room_is_given_back_slowly_while_a_job_runs),
		T(a_reader_in_the_way_is_not_met_again_at_once),
		T(a_hold_far_ahead_is_looked_at_in_its_time),
		T(sleep_is_what_boot_time_gains_on_monotonic),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
