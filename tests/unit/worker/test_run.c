/*
 * test_run.c - one job's life, at a target that answers as it is told.
 */
#include <config.h>

#include "worker/run.h"

#include "store/remove.h"
#include "world.h"

struct stage {
	struct world w;
	struct replies *replies;
	struct relay *relay;
	int relay_fd;
	struct target *target;
	struct run *run;
	int moved, over, wedged;
	int64_t hold_until_ms;
	char id[ULID_SIZE];
};

static void ignore(void *arg)
{
	(void)arg;
}

static void ignore_attached(void *arg, const char *id, enum frame_role role)
{
	(void)arg;
	(void)id;
	(void)role;
}

static void ignore_id(void *arg, const char *id)
{
	(void)arg;
	(void)id;
}

static void on_moved(void *arg)
{
	struct stage *s = arg;

	s->moved++;
}

static void on_wedged(void *arg, const char *model)
{
	struct stage *s = arg;

	CHECK_STR(model, "m:latest");
	CHECK_INT(s->over, 0); /* first this, then `over` */
	s->wedged++;
}

static void on_over(void *arg, int64_t hold_until_ms)
{
	struct stage *s = arg;

	s->over++;
	s->hold_until_ms = hold_until_ms;
}

static bool stage_begin(struct stage *s, const char *extra)
{
	static const struct relay_calls relay_calls = { ignore, ignore_attached,
		                                            ignore_id, ignore_id };
	static const struct run_calls run_calls = { on_moved, on_wedged, on_over };
	struct run_env env;
	struct errtext why;

	*s = (struct stage){ .id = "" };
	if (!world_begin(&s->w, extra))
		return false;
	s->replies = replies_new(s->w.loop, 1 << 20);
	CHECK(fd_listen_unix(s->w.relay_path, 4, &s->relay_fd, &why) == ERR_OK);
	CHECK(relay_new(s->w.loop, s->relay_fd, s->w.relay_path, s->replies,
	                &relay_calls, s, &s->relay) == ERR_OK);
	CHECK(target_new(s->w.loop, s->w.db, &s->w.conf, ignore, s, &s->target) ==
	      ERR_OK);
	env = (struct run_env){ s->w.loop, s->w.db,    &s->w.conf,
		                    s->target, s->replies, s->relay };
	CHECK(run_new(&env, &run_calls, s, &s->run) == ERR_OK);
	return !t_failed;
}

static void stage_end(struct stage *s)
{
	run_free(s->run);
	target_free(s->target);
	relay_free(s->relay);
	replies_free(s->replies);
	fd_close(&s->relay_fd);
	world_end(&s->w);
}

static void start(struct stage *s, bool attended)
{
	struct errtext why = { "" };
	int64_t seq = world_submit(&s->w, "m:latest", attended, s->id);

	CHECK_INT(run_start(s->run, seq, &why), ERR_OK);
	CHECK_STR(why.s, "");
}

static void a_job_runs_through_its_states_and_leaves_its_answer(void)
{
	struct stage s;
	struct job job;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = WORLD_DONE;
	start(&s, false);
	CHECK(run_busy(s.run));
	CHECK_STR(run_id(s.run), s.id);
	CHECK(world_job_is(&s.w, s.id, JOB_LOADING, REASON_NONE));
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(!run_busy(s.run));
	CHECK_INT(s.moved, 3); /* loading, working, done */
	CHECK_STR(s.w.last_post, "/api/chat");
	CHECK_STR(s.w.last_body, "{\"the\":\"body\"}");
	CHECK_STR(target_loaded(s.target), "m:latest");
	job = world_job(&s.w, s.id);
	CHECK_INT(job.state, JOB_DONE);
	CHECK_INT(job.attempts, 1);
	CHECK_INT(job.prompt_tokens, 1);
	CHECK_INT(job.completion_tokens, 2);
	REQUIRE(job.artifact_count == 2);
	CHECK_STR(job.artifacts[0].name, "response");
	CHECK_STR(job.artifacts[1].name, "content");
	CHECK(job.artifacts[0].complete && job.artifacts[1].complete);
	job_done(&job);
	stage_end(&s);
}

static void a_success_is_remembered_as_its_load_keys_pace(void)
{
	struct stage s;
	struct pace pace = PACE_UNKNOWN;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = WORLD_DONE;
	start(&s, true);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(!pace_read(s.w.db, "m:latest", &pace) && pace.run_ms < 0);
	s.id[0] = '\0';
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 2);
	CHECK_INT(pace_read(s.w.db, "m:latest", &pace), ERR_OK);
	CHECK(pace.run_ms >= 0);
	stage_end(&s);
}

static void an_attended_job_leaves_no_answer_behind(void)
{
	struct stage s;
	struct job job;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = WORLD_DONE;
	start(&s, true);
	WORLD_UNTIL(&s.w, s.over == 1);
	job = world_job(&s.w, s.id);
	CHECK_INT(job.state, JOB_DONE);
	CHECK_INT(job.artifact_count, 0);
	job_done(&job);
	stage_end(&s);
}

static void an_unknown_model_fails_and_leaves_the_slot_as_it_was(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = "HTTP/1.1 404 No\r\n\r\n{\"error\":\"model 'm' not found\"}";
	target_set_loaded(s.target, "other:latest");
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(world_job_is(&s.w, s.id, JOB_FAILED, REASON_MODEL_NOT_FOUND));
	CHECK_STR(target_loaded(s.target), "other:latest");
	stage_end(&s);
}

static void a_connection_that_dies_sends_it_back_uncounted(void)
{
	struct stage s;
	struct job job;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	job = world_job(&s.w, s.id);
	CHECK_INT(job.state, JOB_QUEUED);
	CHECK_INT(job.attempts, 0);
	CHECK_INT(job.interruptions, 1);
	job_done(&job);
	CHECK_INT(s.hold_until_ms, 0);
	CHECK(!target_ready(s.target)); /* it must show itself first */
	WORLD_UNTIL(&s.w, target_ready(s.target));
	stage_end(&s);
}

static void a_failing_target_puts_it_on_hold(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = "HTTP/1.1 500 No\r\n\r\n{\"error\":\"boom\"}";
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(world_job_is(&s.w, s.id, JOB_QUEUED, REASON_NONE));
	CHECK(s.hold_until_ms > clock_wall_ms());
	stage_end(&s);
}

static void woken(void *arg)
{
	bool *headed = arg;

	*headed = true;
}

/* A client waits while the target answers so: it is shown nothing of it. */
static void goes_back_unseen(const char *answer, bool held)
{
	struct stage s;
	struct job job;
	bool headed = false;
	struct reply_reader reader = { .wake = woken, .drop = woken, .arg = &headed };

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = answer;
	start(&s, true);
	reply_attach(reply_find(s.replies, s.id), &reader);
	WORLD_UNTIL(&s.w, headed);
	CHECK(reader.reply && reader.stage == READ_HEAD);
	CHECK_INT(s.over, 1); /* so what it was woken for is the end */
	CHECK(reply_find(s.replies, s.id) == NULL);
	reply_detach(&reader);
	job = world_job(&s.w, s.id);
	CHECK_INT(job.state, JOB_QUEUED);
	CHECK_INT(job.attempts, 0);
	CHECK_INT(job.interruptions, 1);
	CHECK_INT(s.hold_until_ms > 0, held);
	job_done(&job);
	stage_end(&s);
}

static void a_client_is_not_shown_that_the_target_is_busy(void)
{
	goes_back_unseen("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", true);
	goes_back_unseen("HTTP/1.1 429 Busy\r\nContent-Length: 4\r\n\r\nbusy", true);
}

static void who_is_cut_off_while_the_target_says_it_is_busy_waits_on(void)
{
	goes_back_unseen("HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nbusy", false);
}

static void an_end_without_done_keeps_what_came(void)
{
	struct stage s;
	struct job job;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
	             "Content-Length: 15\r\n\r\n{\"done\":false}\n";
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	job = world_job(&s.w, s.id);
	CHECK_INT(job.reason, REASON_UPSTREAM_INCOMPLETE);
	REQUIRE(job.artifact_count == 2);
	CHECK(!job.artifacts[0].complete && !job.artifacts[1].complete);
	CHECK_INT(job.artifacts[0].bytes, 15);
	CHECK_INT(job.artifacts[1].bytes, 0);
	job_done(&job);
	stage_end(&s);
}

#define LINES_HEAD                                                                 \
	"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"                \
	"{\"message\":{\"content\":\"so \"}}\n{\"message\":{\"content\":\"far\"}}\n"

/* Both artifacts of the failed job, incomplete, with what came. */
static void check_kept(struct stage *s, enum job_reason reason,
                       const char *response)
{
	struct job job = world_job(&s->w, s->id);

	CHECK_INT(job.state, JOB_FAILED);
	CHECK_INT(job.reason, reason);
	if (CHECK(job.artifact_count == 2)) {
		CHECK(!job.artifacts[0].complete && !job.artifacts[1].complete);
		CHECK_STR(job.artifacts[0].inline_bytes, response);
		CHECK_STR(job.artifacts[1].name, "content");
		CHECK_STR(job.artifacts[1].content_type, "text/plain; charset=utf-8");
		CHECK_STR(job.artifacts[1].inline_bytes, "so far");
	}
	job_done(&job);
}

static void what_came_is_kept_whyever_foreman_ended_it(void)
{
	static const struct {
		enum run_stop stop;
		enum job_reason reason;
	} ends[] = { { STOP_CANCELED, REASON_CANCELED },
		         { STOP_TIMEOUT, REASON_TIMEOUT } };

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		struct stage s;

		REQUIRE(stage_begin(&s, NULL));
		s.w.answer = LINES_HEAD;
		s.w.stays = true;
		start(&s, false);
		WORLD_UNTIL(&s.w, world_job_is(&s.w, s.id, JOB_WORKING, REASON_NONE));
		WORLD_UNTIL(&s.w, reply_body(reply_find(s.replies, s.id)).len ==
		                      strlen(strstr(LINES_HEAD, "{")));
		run_stop(s.run, ends[i].stop);
		CHECK_INT(s.over, 1);
		check_kept(&s, ends[i].reason, strstr(LINES_HEAD, "{"));
		stage_end(&s);
	}
}

static void what_came_before_an_error_line_is_kept(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, "FOREMAN_MAX_ATTEMPTS=1"));
	s.w.answer = LINES_HEAD "{\"error\":\"boom\"}\n";
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	check_kept(&s, REASON_ATTEMPTS_EXHAUSTED,
	           strstr(LINES_HEAD "{\"error\":\"boom\"}\n", "{"));
	stage_end(&s);
}

static void a_job_removed_under_its_run_ends_without_a_word(void)
{
	struct stage s;
	struct job job;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = LINES_HEAD;
	s.w.stays = true;
	start(&s, false);
	WORLD_UNTIL(&s.w, world_job_is(&s.w, s.id, JOB_WORKING, REASON_NONE));
	CHECK(db_begin(s.w.db, DB_SYNC_FULL, NULL) == ERR_OK);
	CHECK(db_finish(s.w.db, remove_job_in(s.w.db, s.id, NULL), NULL) == ERR_OK);
	WORLD_UNTIL(&s.w, s.over == 1); /* found without being told */
	CHECK(look_job(s.w.db, s.id, 0, &job) == ERR_DENIED);
	WORLD_UNTIL(&s.w, s.w.left == 1);
	stage_end(&s);
}

static void a_cancel_tears_the_transfer_down(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, NULL));
	start(&s, false);
	WORLD_UNTIL(&s.w, s.w.posts == 1);
	run_stop(s.run, STOP_CANCELED);
	CHECK_INT(s.over, 1);
	CHECK(world_job_is(&s.w, s.id, JOB_FAILED, REASON_CANCELED));
	WORLD_UNTIL(&s.w, s.w.left == 1);
	CHECK_STR(target_loaded(s.target), NULL); /* its load was cut: who knows */
	run_stop(s.run, STOP_CANCELED);           /* nothing runs: nothing happens */
	CHECK_INT(s.over, 1);
	stage_end(&s);
}

static void a_cancel_that_only_the_database_knows_is_found(void)
{
	struct stage s;
	enum queue_cancel_answer answer;
	struct errtext why;

	REQUIRE(stage_begin(&s, NULL));
	start(&s, false);
	CHECK(queue_cancel(s.w.db, s.id, clock_wall_ms(), &answer, &why) == ERR_OK);
	CHECK_INT(answer, CANCEL_REQUESTED);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(world_job_is(&s.w, s.id, JOB_FAILED, REASON_CANCELED));
	stage_end(&s);
}

static void a_canceled_job_does_not_go_back(void)
{
	struct stage s;
	enum queue_cancel_answer answer;
	struct errtext why;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = "HTTP/1.1 500 No\r\n\r\n{\"error\":\"boom\"}"; /* else: on hold */
	start(&s, false);
	CHECK(queue_cancel(s.w.db, s.id, clock_wall_ms(), &answer, &why) == ERR_OK);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(world_job_is(&s.w, s.id, JOB_FAILED, REASON_CANCELED));
	CHECK_INT(s.hold_until_ms, 0);
	stage_end(&s);
}

static void a_reply_over_the_bound_fails_it(void)
{
	static char answer[70000];
	struct stage s;
	struct job job;

	snprintf(answer, sizeof(answer),
	         "HTTP/1.1 200 OK\r\nContent-Length: 66000\r\n\r\n");
	memset(answer + strlen(answer), 'x', 66000);
	REQUIRE(stage_begin(&s, "FOREMAN_MAX_RESPONSE=64K"));
	s.w.answer = answer;
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	job = world_job(&s.w, s.id);
	CHECK_INT(job.reason, REASON_RESPONSE_TOO_LARGE);
	REQUIRE(job.artifact_count == 2);
	CHECK_INT(job.artifacts[0].bytes, 65536);
	job_done(&job);
	stage_end(&s);
}

/* Whether the head came or not: */
static void silent_run(const char *answer)
{
	struct stage s;
	struct job job;

	REQUIRE(stage_begin(&s, "FOREMAN_MAX_SILENCE=1s"));
	s.w.answer = answer;
	s.w.stays = true;
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_INT(s.wedged, 1);
	CHECK_INT(s.hold_until_ms, 0);
	CHECK(target_ready(s.target)); /* it does answer */
	job = world_job(&s.w, s.id);
	CHECK_INT(job.state, JOB_QUEUED);
	CHECK_INT(job.attempts, 0);
	CHECK_INT(job.interruptions, 1);
	CHECK(job.error && strstr(job.error, "wedged"));
	job_done(&job);
	WORLD_UNTIL(&s.w, s.w.left == 1); /* the transfer is closed */
	stage_end(&s);
}

static void a_target_that_never_begins_is_wedged(void)
{
	silent_run(NULL);
}

static void a_target_that_falls_silent_is_wedged(void)
{
	silent_run("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
}

static void silence_and_no_probe_answered_is_a_stall(void)
{
	struct stage s;
	struct job job;

	REQUIRE(stage_begin(&s, "FOREMAN_TARGET_STALL=1s"));
	start(&s, false);
	WORLD_UNTIL(&s.w, s.w.posts == 1);
	s.w.dead = true;
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_INT(s.wedged, 0);
	job = world_job(&s.w, s.id);
	CHECK_INT(job.state, JOB_QUEUED);
	CHECK_INT(job.attempts, 0);
	CHECK_INT(job.interruptions, 1);
	CHECK(job.error && strstr(job.error, "hangs"));
	job_done(&job);
	CHECK(!target_ready(s.target));
	stage_end(&s);
}

static void silence_alone_is_neither(void)
{
	struct stage s;

	/* Probes fail: not wedged, and not for long enough to be a stall. */
	REQUIRE(stage_begin(&s, "FOREMAN_MAX_SILENCE=3s"));
	start(&s, false);
	WORLD_UNTIL(&s.w, s.w.posts == 1);
	s.w.dead = true;
	WORLD_UNTIL(&s.w, target_missing_ms(s.target) >= 4000);
	CHECK_INT(s.over, 0);
	s.w.dead = false; /* it comes back, and is still silent */
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_INT(s.wedged, 1);
	stage_end(&s);
}

static void a_job_that_is_not_queued_is_not_run(void)
{
	struct stage s;
	struct errtext why;
	int64_t seq;

	REQUIRE(stage_begin(&s, NULL));
	seq = world_submit(&s.w, "m:latest", false, s.id);
	CHECK_INT(run_start(s.run, seq + 1, &why), ERR_STALE);
	CHECK(!run_busy(s.run));
	CHECK_INT(s.over, 0);
	stage_end(&s);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_job_runs_through_its_states_and_leaves_its_answer),
		T(a_success_is_remembered_as_its_load_keys_pace),
		T(an_attended_job_leaves_no_answer_behind),
		T(an_unknown_model_fails_and_leaves_the_slot_as_it_was),
		T(a_connection_that_dies_sends_it_back_uncounted),
		T(a_failing_target_puts_it_on_hold),
		T(a_client_is_not_shown_that_the_target_is_busy),
		T(who_is_cut_off_while_the_target_says_it_is_busy_waits_on),
		T(an_end_without_done_keeps_what_came),
		T(what_came_is_kept_whyever_foreman_ended_it),
		T(what_came_before_an_error_line_is_kept),
		T(a_job_removed_under_its_run_ends_without_a_word),
		T(a_cancel_tears_the_transfer_down),
		T(a_cancel_that_only_the_database_knows_is_found),
		T(a_canceled_job_does_not_go_back),
		T(a_reply_over_the_bound_fails_it),
		T(a_target_that_never_begins_is_wedged),
		T(a_target_that_falls_silent_is_wedged),
		T(silence_and_no_probe_answered_is_a_stall),
		T(silence_alone_is_neither),
		T(a_job_that_is_not_queued_is_not_run),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
