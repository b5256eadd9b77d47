/*
 * test_drain.c - which job runs, whose client is there, and whose has left.
 */
#include <config.h>

#include "worker/drain.h"

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
	guest_say(y.w.guests, WORLD_DONE);
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
	guest_say(y.w.guests, WORLD_DONE);
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
		T(a_reader_of_a_finished_job_is_refused),
		T(an_orphan_waits_out_the_grace_and_fails),
		T(an_orphan_of_another_worker_fails_as_such),
		T(a_client_that_leaves_while_waiting_never_reaches_the_target),
		T(a_client_that_leaves_while_it_runs_stops_the_target),
		T(a_cancel_reaches_waiting_and_running_jobs),
		T(many_departures_are_seen_off_a_few_at_a_time),
		T(one_that_leaves_claims_no_more_and_puts_back_what_runs),
		T(nothing_runs_while_the_embedder_loads),
		T(nothing_runs_before_a_wedged_model_is_unloaded),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
