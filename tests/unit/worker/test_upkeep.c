/*
 * test_upkeep.c - what is done now and then.
 */
#include <config.h>

#include "worker/upkeep.h"

#include "world.h"

struct yard {
	struct world w;
	struct upkeep *upkeep;
	int released, expired;
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

static bool yard_begin(struct yard *y, const char *extra)
{
	static const struct upkeep_calls calls = { on_released, on_expired };

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
	REQUIRE(queue_claim(y.w.db, seq, clock_wall_ms(), &job, &in, &why) ==
	        ERR_OK);
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
		T(a_hold_ends_when_it_is_over),
		T(old_jobs_go_and_young_ones_stay),
		T(a_job_not_started_in_time_expires),
		T(sleep_is_what_boot_time_gains_on_monotonic),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
