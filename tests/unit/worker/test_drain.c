/*
 * test_drain.c - which job runs, whose client is there, and whose has left.
 */
#include <config.h>

#include "worker/drain.h"

#include "disk.h"
#include "store/remove.h"
#include "world.h"

struct yard {
	struct world w;
	struct replies *replies;
	struct relay *relay;
	int relay_fd;
	struct target *target;
	struct drain *drain;
	int moved, held;
	int fd; /* a client's, on the relay */
};

static void on_nudge(void *arg)
{
	struct yard *y = arg;

	drain_look(y->drain);
}

static void on_attached(void *arg, const char *id, enum frame_role role)
{
	struct yard *y = arg;

	drain_attached(y->drain, id, role);
}

static void on_gone(void *arg, const char *id)
{
	struct yard *y = arg;

	drain_gone(y->drain, id);
}

static void on_cancel(void *arg, const char *id)
{
	struct yard *y = arg;

	drain_cancel(y->drain, id);
}

static void on_target(void *arg)
{
	struct yard *y = arg;

	if (y->drain)
		drain_look(y->drain);
}

static void on_moved(void *arg)
{
	struct yard *y = arg;

	y->moved++;
}

static void on_held(void *arg, int64_t until_ms)
{
	struct yard *y = arg;

	(void)until_ms;
	y->held++;
}

static bool yard_begin(struct yard *y, const char *extra)
{
	static const struct relay_calls relay_calls = { on_nudge, on_attached, on_gone,
		                                            on_cancel };
	static const struct drain_calls drain_calls = { on_moved, on_held };
	struct run_env env;
	struct errtext why;

	*y = (struct yard){ .fd = -1 };
	if (!world_begin(&y->w, extra))
		return false;
	y->replies = replies_new(y->w.loop, 1 << 20);
	CHECK(fd_listen_unix(y->w.relay_path, 16, &y->relay_fd, &why) == ERR_OK);
	CHECK(relay_new(y->w.loop, y->relay_fd, y->w.relay_path, y->replies,
	                &relay_calls, y, &y->relay) == ERR_OK);
	CHECK(target_new(y->w.loop, y->w.db, &y->w.conf, on_target, y, &y->target) ==
	      ERR_OK);
	env = (struct run_env){ y->w.loop, y->w.db,    &y->w.conf,
		                    y->target, y->replies, y->relay };
	CHECK(drain_new(&env, &drain_calls, y, &y->drain) == ERR_OK);
	return !t_failed;
}

static void yard_end(struct yard *y)
{
	fd_close(&y->fd);
	drain_free(y->drain);
	target_free(y->target);
	relay_free(y->relay);
	replies_free(y->replies);
	fd_close(&y->relay_fd);
	world_end(&y->w);
}

/* Turns with their step, until `cond`. */
#define YARD_UNTIL(y, cond)                                                        \
	do {                                                                           \
		int64_t yard_end_ms = clock_mono_ms() + 10000;                             \
		while (!(cond) && clock_mono_ms() < yard_end_ms) {                         \
			drain_step((y)->drain);                                                \
			CHECK(loop_turn((y)->w.loop, 10, NULL) == ERR_OK);                     \
		}                                                                          \
		REQUIRE(cond);                                                             \
	} while (0)

/* A client attaches to a job. */
static void attach_as(struct yard *y, const char *id, enum frame_role role)
{
	struct frame hello = { .type = FRAME_HELLO, .version = FRAME_VERSION };
	struct frame owner = { .type = FRAME_ATTACH, .role = role };
	struct buf out;

	str_copy(owner.id, sizeof(owner.id), id);
	buf_init(&out, 200);
	CHECK(frame_encode(&hello, &out) == ERR_OK);
	CHECK(frame_encode(&owner, &out) == ERR_OK);
	CHECK(fd_connect_unix(y->w.relay_path, true, &y->fd) == ERR_OK);
	CHECK(fd_write_all(y->fd, out.p, out.len, 1000) == ERR_OK);
	buf_done(&out);
}

static void attach(struct yard *y, const char *id)
{
	attach_as(y, id, FRAME_OWNER);
}

/* Has our client been told END_REFUSED with this status? Takes nothing. */
static bool refused(struct yard *y, int status)
{
	char bytes[512];
	ssize_t n = recv(y->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_PEEK);
	struct span rest = { bytes, n > 0 ? (size_t)n : 0 };
	struct frame f;
	size_t used;

	while (frame_decode(rest, &f, &used) == ERR_OK) {
		if (f.type == FRAME_END)
			return f.end == FRAME_END_REFUSED && f.status == status;
		rest.p += used;
		rest.len -= used;
	}
	return false;
}

static void jobs_run_one_after_the_other_by_model(void)
{
	static const char *const models[] = { "a:latest", "b:latest", "a:latest",
		                                  "b:latest" };
	char ids[4][ULID_SIZE] = { "" };
	struct yard y;
	struct job jobs[4];

	REQUIRE(yard_begin(&y, NULL));
	y.w.answer = WORLD_DONE;
	y.w.ps = "{\"models\":[{\"name\":\"a\"},{\"name\":\"b\"}]}";
	for (int i = 0; i < 4; i++)
		world_submit(&y.w, models[i], false, ids[i]);
	YARD_UNTIL(&y, world_job_is(&y.w, ids[3], JOB_DONE, REASON_NONE));
	for (int i = 0; i < 4; i++)
		jobs[i] = world_job(&y.w, ids[i]);
	for (int i = 0; i < 4; i++)
		CHECK_INT(jobs[i].state, JOB_DONE);
	CHECK(jobs[2].finished_ms <= jobs[1].loading_ms); /* a, a, b, b */
	CHECK_INT(y.w.posts, 4);
	for (int i = 0; i < 4; i++)
		job_done(&jobs[i]);
	yard_end(&y);
}

static void nothing_is_dispatched_to_a_target_that_is_away(void)
{
	char id[ULID_SIZE] = "";
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	y.w.dead = true;
	y.w.answer = WORLD_DONE;
	world_submit(&y.w, "m", false, id);
	for (int i = 0; i < 20; i++) {
		drain_look(y.drain);
		drain_step(y.drain);
		CHECK(loop_turn(y.w.loop, 10, NULL) == ERR_OK);
	}
	/* One probe was missed: it may be tried; but never while it is away. */
	target_miss(y.target, true, "refused");
	target_miss(y.target, true, "refused");
	drain_look(y.drain);
	drain_step(y.drain);
	CHECK(drain_empty(y.drain));
	y.w.dead = false;
	YARD_UNTIL(&y, world_job_is(&y.w, id, JOB_DONE, REASON_NONE));
	yard_end(&y);
}

static void an_attended_job_runs_for_its_attached_owner(void)
{
	char id[ULID_SIZE];
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	y.w.answer = WORLD_DONE;
	YARD_UNTIL(&y, target_ready(y.target));
	ulid_new(id);
	attach(&y, id);
	world_submit(&y.w, "m", true, id); /* and no turn in between */
	drain_look(y.drain);
	drain_step(y.drain);
	CHECK(!drain_empty(y.drain));
	YARD_UNTIL(&y, world_job_is(&y.w, id, JOB_DONE, REASON_NONE));
	yard_end(&y);
}

static void an_orphan_waits_out_the_grace_and_fails(void)
{
	char id[ULID_SIZE] = "", other[ULID_SIZE] = "";
	struct yard y;
	int64_t began_ms = clock_mono_ms();

	REQUIRE(yard_begin(&y, NULL));
	y.w.answer = WORLD_DONE;
	world_submit(&y.w, "m", true, id);
	world_submit(&y.w, "m", false, other);
	YARD_UNTIL(&y, world_job_is(&y.w, id, JOB_FAILED, REASON_CANCELED));
	CHECK(clock_mono_ms() - began_ms >= LIMIT_REATTACH_MS);
	YARD_UNTIL(&y, world_job_is(&y.w, other, JOB_DONE, REASON_NONE));
	CHECK_INT(y.w.posts, 1);
	attach_as(&y, id, FRAME_OWNER); /* its client was only late */
	YARD_UNTIL(&y, refused(&y, 503));
	yard_end(&y);
}

static void an_orphan_of_another_worker_fails_as_such(void)
{
	char id[ULID_SIZE] = "";
	struct errtext why;
	struct yard y;
	struct job job;
	struct queue_input in = { 0 };
	int64_t count;

	REQUIRE(yard_begin(&y, NULL));
	CHECK(queue_claim(y.w.db, world_submit(&y.w, "m", true, id), clock_wall_ms(),
	                  &job, &in, &why) == ERR_OK);
	job_done(&job);
	free(in.body);
	CHECK(queue_recover(y.w.db, clock_wall_ms(), &count, &why) == ERR_OK);
	CHECK_INT(count, 1);
	YARD_UNTIL(&y, world_job_is(&y.w, id, JOB_FAILED, REASON_WORKER_RESTARTED));
	yard_end(&y);
}

static void a_client_that_leaves_while_waiting_never_reaches_the_target(void)
{
	char id[ULID_SIZE], first[ULID_SIZE] = "";
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	world_submit(&y.w, "m", false, first); /* silence: it runs on and on */
	YARD_UNTIL(&y, y.w.posts == 1);
	ulid_new(id);
	attach(&y, id);
	world_submit(&y.w, "m", true, id);
	YARD_UNTIL(&y, relay_has_owner(y.relay, id));
	fd_close(&y.fd);
	YARD_UNTIL(&y, world_job_is(&y.w, id, JOB_FAILED, REASON_CANCELED));
	CHECK_INT(y.w.posts, 1);
	yard_end(&y);
}

static void a_client_that_leaves_while_it_runs_stops_the_target(void)
{
	char id[ULID_SIZE];
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	ulid_new(id);
	attach(&y, id);
	world_submit(&y.w, "m", true, id);
	YARD_UNTIL(&y, y.w.posts == 1);
	fd_close(&y.fd);
	YARD_UNTIL(&y, y.w.left == 1);
	CHECK(world_job_is(&y.w, id, JOB_FAILED, REASON_CANCELED));
	yard_end(&y);
}

static void a_cancel_reaches_waiting_and_running_jobs(void)
{
	char a[ULID_SIZE] = "", b[ULID_SIZE] = "";
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	world_submit(&y.w, "m", false, a);
	YARD_UNTIL(&y, y.w.posts == 1);
	world_submit(&y.w, "m", false, b);
	drain_cancel(y.drain, b);
	drain_cancel(y.drain, a);
	drain_cancel(y.drain, "01ARZ3NDEKTSV4RRFFQ69G5FAV"); /* nobody's */
	drain_step(y.drain);
	CHECK(world_job_is(&y.w, a, JOB_FAILED, REASON_CANCELED));
	CHECK(world_job_is(&y.w, b, JOB_FAILED, REASON_CANCELED));
	CHECK(drain_empty(y.drain));
	yard_end(&y);
}

static void many_departures_are_seen_off_a_few_at_a_time(void)
{
	struct yard y;
	char ids[LIMIT_STEP_MOVES + 1][ULID_SIZE] = { "" };

	REQUIRE(yard_begin(&y, NULL));
	for (int i = 0; i <= LIMIT_STEP_MOVES; i++) {
		world_submit(&y.w, "m", false, ids[i]);
		drain_cancel(y.drain, ids[i]);
	}
	CHECK(drain_step(y.drain)); /* there is more */
	CHECK(
	    world_job_is(&y.w, ids[LIMIT_STEP_MOVES - 1], JOB_FAILED, REASON_CANCELED));
	CHECK(world_job_is(&y.w, ids[LIMIT_STEP_MOVES], JOB_QUEUED, REASON_NONE));
	drain_step(y.drain);
	CHECK(world_job_is(&y.w, ids[LIMIT_STEP_MOVES], JOB_FAILED, REASON_CANCELED));
	yard_end(&y);
}

static void of_many_departures_none_is_forgotten(void)
{
	static char ids[130][ULID_SIZE]; /* noted in a list that grows by doubling */
	struct yard y;
	int left = 0;

	REQUIRE(yard_begin(&y, NULL));
	y.w.dead = true;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		ids[i][0] = '\0';
		world_submit(&y.w, "m", false, ids[i]);
		drain_cancel(y.drain, ids[i]);
	}
	while (drain_step(y.drain))
		continue;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		left += !world_job_is(&y.w, ids[i], JOB_FAILED, REASON_CANCELED);
	CHECK_INT(left, 0);
	CHECK_INT(y.moved, ARRAY_LEN(ids));
	yard_end(&y);
}

/* Claimed by nobody knows whom; only who runs it can end it. */
static void a_cancel_of_what_another_runs_is_left_to_it(void)
{
	char id[ULID_SIZE] = "";
	struct errtext why;
	struct yard y;
	struct job job;
	struct queue_input in = { 0 };
	bool wanted = false;

	REQUIRE(yard_begin(&y, NULL));
	CHECK(queue_claim(y.w.db, world_submit(&y.w, "m", false, id), clock_wall_ms(),
	                  &job, &in, &why) == ERR_OK);
	free(in.body);
	drain_cancel(y.drain, id);
	drain_step(y.drain);
	CHECK(world_job_is(&y.w, id, JOB_LOADING, REASON_NONE));
	CHECK(queue_cancel_wanted(y.w.db, job.seq, &wanted) == ERR_OK);
	CHECK(wanted);
	job_done(&job);
	yard_end(&y);
}

static void a_job_on_hold_is_told_of(void)
{
	char id[ULID_SIZE] = "";
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	y.w.answer = "HTTP/1.1 500 No\r\n\r\n{\"error\":\"boom\"}";
	world_submit(&y.w, "m", false, id);
	YARD_UNTIL(&y, y.held == 1);
	CHECK(world_job_is(&y.w, id, JOB_QUEUED, REASON_NONE));
	CHECK_INT(y.w.posts, 1);
	yard_end(&y);
}

/* --- a disk in trouble ------------------------------------------------------- */

static void a_disk_that_takes_no_claim_holds_up_and_loses_nothing(void)
{
	char id[ULID_SIZE] = "";
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	y.w.answer = WORLD_DONE;
	YARD_UNTIL(&y, target_knows_slots(y.target));
	world_submit(&y.w, "m", false, id);
	disk.full = true;
	world_catch_log(LOG_ERROR);
	for (int i = 0; i < 3; i++) {
		drain_look(y.drain);
		CHECK(!drain_step(y.drain)); /* not again and again at once */
	}
	CHECK(drain_empty(y.drain));
	CHECK_INT(world_caught("cannot claim a job"), 1);
	CHECK_INT(y.w.posts, 0);
	disk.full = false;
	YARD_UNTIL(&y, world_job_is(&y.w, id, JOB_DONE, REASON_NONE)); /* by itself */
	CHECK_INT(y.w.posts, 1);
	yard_end(&y);
}

static void a_cancel_the_disk_refuses_is_made_when_there_is_room(void)
{
	char id[ULID_SIZE] = "";
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	y.w.dead = true;
	world_submit(&y.w, "m", false, id);
	disk.full = true;
	world_catch_log(LOG_ERROR);
	drain_cancel(y.drain, id);
	CHECK(!drain_step(y.drain));
	CHECK(!drain_step(y.drain));
	CHECK_INT(world_caught("cannot cancel a job"), 1);
	disk.full = false;
	CHECK(world_job_is(&y.w, id, JOB_QUEUED, REASON_NONE));
	drain_step(y.drain);
	CHECK(world_job_is(&y.w, id, JOB_FAILED, REASON_CANCELED));
	yard_end(&y);
}

static void an_orphan_the_disk_keeps_fails_when_there_is_room(void)
{
	char id[ULID_SIZE] = "";
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	y.w.answer = WORLD_DONE;
	world_submit(&y.w, "m", true, id);
	disk.full = true;
	world_catch_log(LOG_ERROR);
	for (int64_t end_ms = clock_mono_ms() + LIMIT_REATTACH_MS + 500;
	     clock_mono_ms() < end_ms;) {
		drain_step(y.drain);
		CHECK(loop_turn(y.w.loop, 50, NULL) == ERR_OK);
	}
	drain_look(y.drain);
	drain_step(y.drain);
	drain_look(y.drain);
	drain_step(y.drain);
	CHECK_INT(world_caught("cannot fail a job whose client has gone"), 1);
	disk.full = false;
	CHECK(world_job_is(&y.w, id, JOB_QUEUED, REASON_NONE));
	disk.unsynced = true; /* and then it fails, whatever a sync says */
	world_catch_log(LOG_INFO);
	YARD_UNTIL(&y, world_job_is(&y.w, id, JOB_FAILED, REASON_CANCELED));
	disk.unsynced = false;
	CHECK_INT(world_caught("msg=\"job failed\""), 1);
	CHECK_INT(y.w.posts, 0);
	yard_end(&y);
}

/* One is perhaps canceled, one has lost its client, one runs; and after so many
 * reads of the file the others fail for a while. */
static void reads_fail_after(int reads, bool cancel)
{
	char gone[ULID_SIZE] = "", orphan[ULID_SIZE] = "", id[ULID_SIZE] = "";
	struct yard y;

	/* it began so long ago that nobody can still be on the way */
	clock_fake(clock_wall_ms(), clock_mono_ms() - LIMIT_REATTACH_MS,
	           clock_boot_ms());
	REQUIRE(yard_begin(&y, NULL));
	clock_real();
	y.w.answer = WORLD_DONE;
	YARD_UNTIL(&y, target_knows_slots(y.target));
	world_submit(&y.w, "m", true, gone);
	if (cancel)
		drain_cancel(y.drain, gone);
	world_submit(&y.w, "m", true, orphan);
	world_submit(&y.w, "m", false, id);
	disk_forget(&y.w);
	disk.reads_left = reads;
	disk.unreadable = true;
	drain_look(y.drain);
	for (int i = 0; i < 4; i++)
		drain_step(y.drain);
	CHECK(!drain_step(y.drain)); /* what fails is not tried without end */
	disk.unreadable = false;
	drain_look(y.drain); /* as the idle timer will */
	YARD_UNTIL(&y, world_job_is(&y.w, id, JOB_DONE, REASON_NONE));
	CHECK(world_job_is(&y.w, gone, JOB_FAILED, REASON_CANCELED));
	CHECK(world_job_is(&y.w, orphan, JOB_FAILED, REASON_CANCELED));
	CHECK_INT(y.w.posts, 1);
	yard_end(&y);
}

static void whichever_read_fails_everything_happens_once(void)
{
	for (int reads = 0; reads < 14 && !t_failed; reads++) {
		reads_fail_after(reads, true);
		reads_fail_after(reads, false);
	}
}

static void a_file_that_cannot_be_read_refuses_nobody(void)
{
	char id[ULID_SIZE] = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	YARD_UNTIL(&y, target_knows_slots(y.target));
	disk_forget(&y.w);
	disk.reads_left = 0;
	disk.unreadable = true;
	attach_as(&y, id, FRAME_READER);
	for (int i = 0; i < 10; i++)
		CHECK(loop_turn(y.w.loop, 10, NULL) == ERR_OK);
	CHECK(!refused(&y, 404)); /* who knows */
	disk.unreadable = false;
	yard_end(&y);
}

static void one_that_leaves_claims_no_more_and_puts_back_what_runs(void)
{
	char a[ULID_SIZE] = "", b[ULID_SIZE] = "";
	struct yard y;
	struct job job;

	REQUIRE(yard_begin(&y, NULL));
	world_submit(&y.w, "m", false, a);
	world_submit(&y.w, "m", false, b);
	YARD_UNTIL(&y, y.w.posts == 1);
	drain_leave(y.drain);
	CHECK(!drain_empty(y.drain));
	drain_abandon(y.drain);
	CHECK(drain_empty(y.drain));
	drain_step(y.drain);
	CHECK(drain_empty(y.drain));
	job = world_job(&y.w, a);
	CHECK_INT(job.state, JOB_QUEUED);
	CHECK_INT(job.attempts, 0);
	CHECK_INT(job.interruptions, 1);
	job_done(&job);
	yard_end(&y);
}

static void nothing_runs_while_the_embedder_loads(void)
{
	char id[ULID_SIZE] = "";
	struct yard y;

	REQUIRE(yard_begin(&y, "FOREMAN_EMBED_MODEL=e"));
	YARD_UNTIL(&y, y.w.posts == 1); /* the embedder's; it is not answered */
	CHECK_STR(y.w.last_post, "/api/embed");
	world_submit(&y.w, "m", false, id);
	for (int i = 0; i < 5; i++) {
		drain_look(y.drain);
		drain_step(y.drain);
		CHECK(loop_turn(y.w.loop, 10, NULL) == ERR_OK);
	}
	CHECK_INT(y.w.posts, 1);
	y.w.answer = WORLD_DONE;
	world_answer(&y.w, WORLD_DONE);
	YARD_UNTIL(&y, world_job_is(&y.w, id, JOB_DONE, REASON_NONE));
	yard_end(&y);
}

static void nothing_runs_before_a_wedged_model_is_unloaded(void)
{
	char a[ULID_SIZE] = "", b[ULID_SIZE] = "";
	struct yard y;

	REQUIRE(yard_begin(&y, "FOREMAN_MAX_SILENCE=1s"));
	world_submit(&y.w, "m", false, a); /* it is not answered */
	YARD_UNTIL(&y, y.w.posts == 2);    /* nor is what comes of that */
	CHECK_STR(y.w.last_post, "/api/generate");
	CHECK_STR(y.w.last_body, "{\"model\":\"m\",\"keep_alive\":0}");
	CHECK(world_job_is(&y.w, a, JOB_QUEUED, REASON_NONE));
	world_submit(&y.w, "n", false, b);
	for (int i = 0; i < 5; i++) {
		drain_look(y.drain);
		drain_step(y.drain);
		CHECK(loop_turn(y.w.loop, 10, NULL) == ERR_OK);
	}
	CHECK_INT(y.w.posts, 2);
	y.w.answer = WORLD_DONE;
	world_answer(&y.w, WORLD_DONE);
	YARD_UNTIL(&y, world_job_is(&y.w, a, JOB_DONE, REASON_NONE));
	YARD_UNTIL(&y, world_job_is(&y.w, b, JOB_DONE, REASON_NONE));
	yard_end(&y);
}

static void note_id(void *arg, const char *id)
{
	(void)id;
	*(bool *)arg = true;
}

static bool somebody_waits(struct yard *y)
{
	bool any = false;

	relay_each_waiting(y->relay, note_id, &any);
	return any;
}

static void who_reads_along_learns_that_the_job_was_removed(void)
{
	char id[ULID_SIZE] = "";
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	y.w.dead = true; /* the job waits */
	world_submit(&y.w, "m:latest", false, id);
	attach_as(&y, id, FRAME_READER);
	YARD_UNTIL(&y, somebody_waits(&y));
	CHECK(db_begin(y.w.db, DB_SYNC_FULL, NULL) == ERR_OK);
	CHECK(db_finish(y.w.db, remove_job_in(y.w.db, id, NULL), NULL) == ERR_OK);
	drain_cancel(y.drain, id);
	YARD_UNTIL(&y, refused(&y, 410));
	yard_end(&y);
}

/* Turns with their step while no time passes. */
static void turns_at(struct yard *y, int64_t ms)
{
	clock_fake(ms, ms, ms);
	for (int i = 0; i < 20; i++) {
		drain_step(y->drain);
		CHECK(loop_turn(y->w.loop, 1, NULL) == ERR_OK);
	}
}

static void a_removal_nobody_told_of_is_found_in_time(void)
{
	char id[ULID_SIZE] = "";
	int64_t began_ms = clock_wall_ms();
	struct yard y;

	clock_fake(began_ms, began_ms, began_ms);
	REQUIRE(yard_begin(&y, NULL));
	y.w.dead = true; /* the job waits */
	world_submit(&y.w, "m:latest", false, id);
	attach_as(&y, id, FRAME_READER);
	turns_at(&y, began_ms);
	REQUIRE(somebody_waits(&y));
	CHECK(db_begin(y.w.db, DB_SYNC_FULL, NULL) == ERR_OK);
	CHECK(db_finish(y.w.db, remove_job_in(y.w.db, id, NULL), NULL) == ERR_OK);
	turns_at(&y, began_ms + LIMIT_WAITING_LOOK_MS - 1);
	CHECK(!refused(&y, 410));
	turns_at(&y, began_ms + LIMIT_WAITING_LOOK_MS);
	CHECK(refused(&y, 410));
	clock_real();
	yard_end(&y);
}

static void the_loaded_model_lingers_for_one_more_job(void)
{
	char first[ULID_SIZE] = "", other[ULID_SIZE] = "";
	int64_t ms = clock_wall_ms();
	struct job job;
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	y.w.answer = WORLD_DONE;
	y.w.ps = "{\"models\":[{\"name\":\"m\"}]}";
	world_submit(&y.w, "m:latest", false, first);
	world_submit(&y.w, "n:latest", false, other);
	for (int i = 0; i < 5000 && !world_job_is(&y.w, first, JOB_DONE, REASON_NONE);
	     i++) {
		ms++; /* transfers have timers */
		clock_fake(ms, ms, ms);
		drain_step(y.drain);
		CHECK(loop_turn(y.w.loop, 1, NULL) == ERR_OK);
	}
	job = world_job(&y.w, first);
	CHECK_INT(job.state, JOB_DONE);
	turns_at(&y, job.finished_ms + LIMIT_LINGER_MS - 1);
	CHECK(world_job_is(&y.w, other, JOB_QUEUED, REASON_NONE));
	turns_at(&y, job.finished_ms + LIMIT_LINGER_MS);
	CHECK(!world_job_is(&y.w, other, JOB_QUEUED, REASON_NONE));
	job_done(&job);
	clock_real();
	yard_end(&y);
}

static void a_reader_of_a_finished_job_is_refused(void)
{
	char id[ULID_SIZE] = "", nobody[ULID_SIZE] = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
	struct yard y;

	REQUIRE(yard_begin(&y, NULL));
	y.w.answer = WORLD_DONE;
	world_submit(&y.w, "m:latest", false, id);
	YARD_UNTIL(&y, world_job_is(&y.w, id, JOB_DONE, REASON_NONE));
	attach_as(&y, id, FRAME_READER);
	YARD_UNTIL(&y, refused(&y, 410));
	fd_close(&y.fd);
	attach_as(&y, nobody, FRAME_READER);
	YARD_UNTIL(&y, refused(&y, 404));
	yard_end(&y);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(jobs_run_one_after_the_other_by_model),
		T(nothing_is_dispatched_to_a_target_that_is_away),
		T(an_attended_job_runs_for_its_attached_owner),
		T(who_reads_along_learns_that_the_job_was_removed),
		T(a_removal_nobody_told_of_is_found_in_time),
		T(the_loaded_model_lingers_for_one_more_job),
		T(a_reader_of_a_finished_job_is_refused),
		T(an_orphan_waits_out_the_grace_and_fails),
		T(an_orphan_of_another_worker_fails_as_such),
		T(a_client_that_leaves_while_waiting_never_reaches_the_target),
		T(a_client_that_leaves_while_it_runs_stops_the_target),
		T(a_cancel_reaches_waiting_and_running_jobs),
		T(many_departures_are_seen_off_a_few_at_a_time),
		T(of_many_departures_none_is_forgotten),
		T(a_cancel_of_what_another_runs_is_left_to_it),
		T(a_job_on_hold_is_told_of),
		T(a_disk_that_takes_no_claim_holds_up_and_loses_nothing),
		T(a_cancel_the_disk_refuses_is_made_when_there_is_room),
		T(an_orphan_the_disk_keeps_fails_when_there_is_room),
		T(whichever_read_fails_everything_happens_once),
		T(a_file_that_cannot_be_read_refuses_nobody),
		T(one_that_leaves_claims_no_more_and_puts_back_what_runs),
		T(nothing_runs_while_the_embedder_loads),
		T(nothing_runs_before_a_wedged_model_is_unloaded),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
