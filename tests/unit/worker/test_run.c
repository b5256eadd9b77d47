/*
 * test_run.c - one job's life, at a target that answers as it is told.
 */
#include <config.h>

#include "worker/run.h"

#include "disk.h"
#include "store/remove.h"
#include "store/sql.h"
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

static void start_model(struct stage *s, const char *model, bool attended)
{
	struct errtext why = { "" };
	int64_t seq = world_submit(&s->w, model, attended, s->id);

	CHECK_INT(run_start(s->run, seq, &why), ERR_OK);
	CHECK_STR(why.s, "");
}

static void start(struct stage *s, bool attended)
{
	start_model(s, "m:latest", attended);
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

/* A job that begins while probes fail has its own time, all of it. */
static void a_hang_is_counted_from_the_runs_own_silence(void)
{
	struct stage s;
	int64_t began_ms, now_ms;

	REQUIRE(stage_begin(&s, "FOREMAN_TARGET_STALL=3s"));
	s.w.version = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
	WORLD_UNTIL(&s.w, target_missing_ms(s.target) > 0);
	now_ms = clock_mono_ms() + 60000;
	clock_fake(clock_wall_ms(), now_ms, now_ms);
	CHECK(target_missing_ms(s.target) > 60000);
	start(&s, false);
	began_ms = now_ms;
	while (s.over == 0 && now_ms < began_ms + 60000) {
		now_ms += 10;
		clock_fake(clock_wall_ms(), now_ms, now_ms);
		CHECK(loop_turn(s.w.loop, 1, NULL) == ERR_OK);
	}
	clock_real();
	CHECK(now_ms >= began_ms + 3000);
	CHECK(now_ms <= began_ms + 3000 + LIMIT_IDLE_LOOK_MS);
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

static void bounds_on_silence_can_be_set_aside(void)
{
	struct stage s;
	int64_t now_ms;

	REQUIRE(stage_begin(&s, "FOREMAN_MAX_SILENCE=0"));
	s.w.conf.target_stall_ms = 0;
	start(&s, false);
	WORLD_UNTIL(&s.w, s.w.posts == 1);
	s.w.version = "HTTP/1.1 500 No\r\n\r\n"; /* a hang, and then none */
	WORLD_UNTIL(&s.w, target_missing_ms(s.target) > 0);
	now_ms = clock_mono_ms() + 24 * 3600 * 1000;
	clock_fake(clock_wall_ms(), now_ms, now_ms);
	CHECK(loop_turn(s.w.loop, 10, NULL) == ERR_OK);
	target_hit(s.target);
	now_ms += 24 * 3600 * 1000;
	clock_fake(clock_wall_ms(), now_ms, now_ms);
	CHECK(loop_turn(s.w.loop, 10, NULL) == ERR_OK);
	clock_real();
	CHECK_INT(s.over, 0);
	CHECK(run_busy(s.run));
	stage_end(&s);
}

static void a_silent_model_that_stands_in_no_slot_is_not_unloaded(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, "FOREMAN_MAX_SILENCE=1s"));
	target_set_loaded(s.target, "m:latest");
	start_model(&s, "gpt-oss:120b-cloud", false);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_INT(s.wedged, 0);
	CHECK(world_job_is(&s.w, s.id, JOB_QUEUED, REASON_NONE));
	stage_end(&s);
}

static void a_job_is_cut_off_when_its_time_is_over(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, NULL));
	s.w.job_timeout_ms = 50;
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(world_job_is(&s.w, s.id, JOB_FAILED, REASON_TIMEOUT));
	stage_end(&s);
}

/* --- what goes out and what it is told -------------------------------------- */

static void the_target_is_given_its_token_and_not_the_clients(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, "FOREMAN_OLLAMA_TOKEN=key-of-the-target"));
	s.w.answer = WORLD_DONE;
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(strstr(s.w.last_head, "\r\nAuthorization: Bearer key-of-the-target\r\n"));
	stage_end(&s);
}

static void the_log_names_the_request_and_its_trace(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = WORLD_DONE;
	s.w.job_headers =
	    "X-Request-Id: abc\n"
	    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n";
	world_catch_log(LOG_INFO);
	start(&s, true);
	CHECK_INT(world_caught("request=abc trace=4bf92f3577b34da6a3ce929d0e0e4736 "),
	          1);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(
	    strstr(s.w.last_head, "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"));
	s.w.job_headers = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4\n"; /* cut */
	s.id[0] = '\0';
	world_catch_log(LOG_INFO);
	start(&s, true);
	CHECK_INT(world_caught("request=- trace=- "), 1);
	WORLD_UNTIL(&s.w, s.over == 2);
	stage_end(&s);
}

static void a_target_says_when_to_come_again(void)
{
	struct stage s;
	int64_t began_ms;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = "HTTP/1.1 503 Busy\r\nRetry-After: 77\r\n\r\n{}";
	began_ms = clock_wall_ms();
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(s.hold_until_ms >= began_ms + 77000);
	CHECK(s.hold_until_ms <= clock_wall_ms() + 77000);
	stage_end(&s);
}

static void the_embedders_own_job_shows_that_it_is_resident(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, "FOREMAN_EMBED_MODEL=m"));
	s.w.answer = WORLD_DONE;
	target_set_loaded(s.target, "other:latest");
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(target_embed_ready(s.target));
	CHECK_STR(target_loaded(s.target), "other:latest"); /* another slot */
	s.id[0] = '\0';
	target_set_embed_ready(s.target, false);
	start_model(&s, "n:latest", false);
	WORLD_UNTIL(&s.w, s.over == 2);
	CHECK(!target_embed_ready(s.target)); /* this one's says nothing of it */
	stage_end(&s);
}

static void a_refusal_of_any_length_leaves_its_beginning(void)
{
	static char answer[80000] = "HTTP/1.1 400 No\r\n\r\n";
	struct stage s;
	struct job job;

	memset(answer + strlen(answer), 'x', sizeof(answer) - 1 - strlen(answer));
	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = answer;
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	job = world_job(&s.w, s.id);
	CHECK_INT(job.reason, REASON_INVALID_REQUEST);
	CHECK(job.error && strncmp(job.error, "xxxx", 4) == 0);
	CHECK(job.error && strlen(job.error) <= LIMIT_ERROR_TEXT);
	CHECK_INT(job.artifact_count, 0);
	job_done(&job);
	stage_end(&s);
}

static void a_target_nobody_can_connect_to_has_loaded_nothing(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, NULL));
	WORLD_UNTIL(&s.w, target_ready(s.target));
	loop_fd_del(s.w.watch);
	s.w.watch = NULL;
	fd_close(&s.w.listen_fd);
	target_set_loaded(s.target, "other:latest");
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_STR(target_loaded(s.target), "other:latest");
	CHECK(world_job_is(&s.w, s.id, JOB_QUEUED, REASON_NONE));
	CHECK(!target_ready(s.target));
	stage_end(&s);
}

/* The target was given up as down, and its stream comes to a good end. */
static void an_end_told_while_it_counts_as_down_makes_it_no_more_than_that(void)
{
	struct stage s;
	struct status status;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
	s.w.stays = true;
	start(&s, false);
	WORLD_UNTIL(&s.w, world_job_is(&s.w, s.id, JOB_WORKING, REASON_NONE));
	s.w.version = NULL;
	for (int i = 0; i < 3; i++)
		target_miss(s.target, false, "no probe is answered");
	world_answer(&s.w, "{\"done\":true}");
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(world_job_is(&s.w, s.id, JOB_DONE, REASON_NONE));
	CHECK(!target_answers(s.target)); /* one hit is not two */
	for (int i = 0; i < 3; i++)
		CHECK(loop_turn(s.w.loop, 10, NULL) == ERR_OK);
	REQUIRE(status_read(s.w.db, false, &status) == ERR_OK);
	CHECK_STR(status.target_error, "no probe is answered");
	status_done(&status);
	stage_end(&s);
}

static uint32_t queue_ms_told(int64_t age_ms)
{
	struct stage s;
	bool headed = false;
	struct reply_reader reader = { .wake = woken, .drop = woken, .arg = &headed };
	struct frame f = { .queue_ms = 1 };
	struct buf out;
	size_t used;

	if (!stage_begin(&s, NULL))
		return 1;
	buf_init(&out, 1 << 20);
	s.w.job_age_ms = age_ms;
	s.w.answer = WORLD_DONE;
	s.w.stays = true;
	start(&s, true);
	reply_attach(reply_find(s.replies, s.id), &reader);
	for (int i = 0; i < 1000 && !headed; i++)
		CHECK(loop_turn(s.w.loop, 10, NULL) == ERR_OK);
	CHECK(reply_read(&reader, &out));
	CHECK(frame_decode((struct span){ out.p, out.len }, &f, &used) == ERR_OK);
	CHECK_INT(f.type, FRAME_HEAD);
	reply_detach(&reader);
	buf_done(&out);
	stage_end(&s);
	return f.queue_ms;
}

static void a_clock_that_jumped_makes_no_odd_waiting_time(void)
{
	CHECK_INT(queue_ms_told(-3600000), 0); /* it came tomorrow */
	CHECK_INT(queue_ms_told(INT64_C(90) * 24 * 3600000), UINT32_MAX);
}

/* --- who else moves a job --------------------------------------------------- */

/* As a second worker would, were there no lock. */
static void put_back_behind_its_back(struct stage *s)
{
	struct errtext why;
	int64_t count = 0;

	CHECK(queue_recover(s->w.db, clock_wall_ms(), &count, &why) == ERR_OK);
	CHECK_INT(count, 1);
}

static void a_job_moved_before_the_answer_is_let_go_of(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = LINES_HEAD;
	s.w.stays = true;
	start(&s, false);
	put_back_behind_its_back(&s);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(world_job_is(&s.w, s.id, JOB_QUEUED, REASON_NONE));
	WORLD_UNTIL(&s.w, s.w.left == 1); /* the target need not go on */
	stage_end(&s);
}

static void a_job_moved_during_the_answer_is_let_go_of(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
	s.w.stays = true;
	start(&s, false);
	WORLD_UNTIL(&s.w, world_job_is(&s.w, s.id, JOB_WORKING, REASON_NONE));
	put_back_behind_its_back(&s);
	world_catch_log(LOG_INFO);
	world_answer(&s.w, "{\"done\":true}");
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_INT(world_caught("msg=\"job gone\""), 1);
	CHECK(world_job_is(&s.w, s.id, JOB_QUEUED, REASON_NONE));
	stage_end(&s);
}

/* --- a disk in trouble ------------------------------------------------------- */

static void a_disk_that_takes_no_claim_leaves_the_job_queued(void)
{
	struct stage s;
	struct errtext why = { "" };
	int64_t seq;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = WORLD_DONE;
	seq = world_submit(&s.w, "m:latest", false, s.id);
	disk.full = true;
	CHECK_INT(run_start(s.run, seq, &why), ERR_FULL);
	disk.full = false;
	CHECK(!run_busy(s.run));
	CHECK_STR(run_id(s.run), NULL);
	CHECK(world_job_is(&s.w, s.id, JOB_QUEUED, REASON_NONE));
	CHECK_INT(run_start(s.run, seq, &why), ERR_OK);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(world_job_is(&s.w, s.id, JOB_DONE, REASON_NONE));
	stage_end(&s);
}

/* A claim stands on no sync, so none can fail behind it and leave a job that
 * nobody runs; an end does, and is one for all that. */
static void a_disk_that_does_not_sync_neither_sticks_nor_repeats_a_job(void)
{
	struct stage s;
	struct job job;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = WORLD_DONE;
	disk.unsynced = true;
	world_catch_log(LOG_INFO);
	start(&s, false);
	WORLD_UNTIL(&s.w, world_job_is(&s.w, s.id, JOB_DONE, REASON_NONE));
	disk.unsynced = false;
	CHECK(!run_settling(s.run)); /* nothing is left to try again */
	CHECK_INT(world_caught("a power cut may undo what a job came to"), 1);
	CHECK_INT(s.over, 1);
	CHECK_INT(s.moved, 3);
	job = world_job(&s.w, s.id);
	CHECK_INT(job.attempts, 1);
	CHECK_INT(job.interruptions, 0);
	CHECK_INT(job.event_seq, 4);
	CHECK_INT(job.artifact_count, 2);
	job_done(&job);
	stage_end(&s);
}

static bool end_read(struct reply_reader *reader)
{
	struct frame f = { .type = FRAME_HELLO };
	struct buf out;
	size_t used;

	buf_init(&out, 1 << 20);
	while (f.type != FRAME_END && reply_read(reader, &out)) {
		CHECK(frame_decode((struct span){ out.p, out.len }, &f, &used) == ERR_OK);
		buf_clear(&out);
	}
	buf_done(&out);
	return f.type == FRAME_END && f.end == FRAME_END_CLEAN;
}

/* From the head on nothing can be stored: not that it works, not the swap, not
 * the end. */
static void what_a_full_disk_refuses_is_stored_when_there_is_room(void)
{
	bool headed = false;
	struct reply_reader reader = { .wake = woken, .drop = woken, .arg = &headed };
	struct stage s;
	struct job job;

	REQUIRE(stage_begin(&s, NULL));
	target_set_loaded(s.target, "other:latest");
	start(&s, false);
	reply_attach(reply_find(s.replies, s.id), &reader);
	WORLD_UNTIL(&s.w, s.w.posts == 1);
	disk.full = true;
	world_catch_log(LOG_INFO);
	world_answer(&s.w, WORLD_DONE);
	WORLD_UNTIL(&s.w, run_settling(s.run));
	CHECK(end_read(&reader));       /* who reads along need not wait for our disk */
	run_stop(s.run, STOP_CANCELED); /* too late */
	CHECK(run_settling(s.run));
	CHECK(world_job_is(&s.w, s.id, JOB_LOADING, REASON_NONE));
	for (int64_t end_ms = clock_mono_ms() + 2 * LIMIT_SETTLE_RETRY_MS;
	     clock_mono_ms() < end_ms;)
		CHECK(loop_turn(s.w.loop, 100, NULL) == ERR_OK);
	CHECK_INT(world_caught("cannot store what a job came to"),
	          1); /* not each try */
	CHECK_INT(s.over, 0);
	disk.full = false;
	WORLD_UNTIL(&s.w, s.over == 1);
	reply_detach(&reader);
	job = world_job(&s.w, s.id);
	CHECK_INT(job.state, JOB_DONE);
	CHECK_INT(job.attempts, 1);
	CHECK_INT(job.artifact_count, 2);
	job_done(&job);
	CHECK_INT(s.w.posts, 1);
	stage_end(&s);
}

/* SQLite has a bound of its own on one value; here it is a low one. */
static void what_can_never_be_stored_fails_and_holds_up_nobody(void)
{
	static char answer[9000] = "HTTP/1.1 200 OK\r\n"
	                           "Content-Type: application/json\r\n\r\n"
	                           "{\"done\":true,\"response\":\"";
	struct stage s;
	struct job job;
	size_t len = strlen(answer);

	memset(answer + len, 'x', sizeof(answer) - len - 3);
	strcpy(answer + sizeof(answer) - 3, "\"}");
	REQUIRE(stage_begin(&s, NULL));
	sqlite3_limit(s.w.db->handle, SQLITE_LIMIT_LENGTH, 8000);
	s.w.answer = answer;
	world_catch_log(LOG_ERROR);
	start(&s, false);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_INT(world_caught("what a job came to cannot be stored"), 1);
	job = world_job(&s.w, s.id);
	CHECK_INT(job.state, JOB_FAILED);
	CHECK_INT(job.reason, REASON_INTERNAL);
	CHECK_STR(job.error, "its result cannot be stored");
	CHECK_INT(job.attempts, 1);
	CHECK_INT(job.artifact_count, 0);
	job_done(&job);
	stage_end(&s);
}

static void one_that_must_leave_unsettled_leaves_it_to_the_next(void)
{
	struct stage s;

	REQUIRE(stage_begin(&s, NULL));
	s.w.answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
	s.w.stays = true;
	start(&s, false);
	WORLD_UNTIL(&s.w, world_job_is(&s.w, s.id, JOB_WORKING, REASON_NONE));
	disk.full = true;
	world_answer(&s.w, "{\"done\":true}");
	WORLD_UNTIL(&s.w, run_settling(s.run));
	disk.full = false;
	run_free(s.run);
	s.run = NULL;
	CHECK(world_job_is(&s.w, s.id, JOB_WORKING, REASON_NONE));
	put_back_behind_its_back(&s); /* as the next worker does */
	CHECK(world_job_is(&s.w, s.id, JOB_QUEUED, REASON_NONE));
	stage_end(&s);
}

static void a_file_that_cannot_be_read_for_a_while_ends_no_run(void)
{
	struct stage s;
	int64_t end_ms;

	REQUIRE(stage_begin(&s, NULL));
	start(&s, false);
	WORLD_UNTIL(&s.w, s.w.posts == 1);
	disk_forget(&s.w);
	disk.unreadable = true;
	end_ms = clock_mono_ms() + 2 * LIMIT_IDLE_LOOK_MS;
	WORLD_UNTIL(&s.w, clock_mono_ms() > end_ms);
	disk.unreadable = false;
	CHECK_INT(s.over, 0);
	world_answer(&s.w, WORLD_DONE);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(world_job_is(&s.w, s.id, JOB_DONE, REASON_NONE));
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
		T(a_hang_is_counted_from_the_runs_own_silence),
		T(silence_alone_is_neither),
		T(bounds_on_silence_can_be_set_aside),
		T(a_silent_model_that_stands_in_no_slot_is_not_unloaded),
		T(a_job_is_cut_off_when_its_time_is_over),
		T(the_target_is_given_its_token_and_not_the_clients),
		T(the_log_names_the_request_and_its_trace),
		T(a_target_says_when_to_come_again),
		T(the_embedders_own_job_shows_that_it_is_resident),
		T(a_refusal_of_any_length_leaves_its_beginning),
		T(a_target_nobody_can_connect_to_has_loaded_nothing),
		T(an_end_told_while_it_counts_as_down_makes_it_no_more_than_that),
		T(a_clock_that_jumped_makes_no_odd_waiting_time),
		T(a_job_moved_before_the_answer_is_let_go_of),
		T(a_job_moved_during_the_answer_is_let_go_of),
		T(a_disk_that_takes_no_claim_leaves_the_job_queued),
		T(a_disk_that_does_not_sync_neither_sticks_nor_repeats_a_job),
		T(what_a_full_disk_refuses_is_stored_when_there_is_room),
		T(what_can_never_be_stored_fails_and_holds_up_nobody),
		T(one_that_must_leave_unsettled_leaves_it_to_the_next),
		T(a_file_that_cannot_be_read_for_a_while_ends_no_run),
		T(a_job_that_is_not_queued_is_not_run),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
