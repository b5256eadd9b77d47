/* A job's words, its arrows, and the object everyone sees. */
#include <config.h>

#include "core/job.h"

#include <stdlib.h>

#include "base/attr.h"
#include "base/json.h"
#include "t.h"

#define ID "01JD0000000000000000000000"
#define T0 INT64_C(1795197600000) /* 2026-11-20T18:00:00.000Z */

/* --- words --------------------------------------------------------------- */

static void the_words_are_the_contracts(void)
{
	static const char *const states[] = { "queued", "loading", "working", "done",
		                                  "failed" };
	static const char *const reasons[] = {
		"canceled",
		"expired",
		"timeout",
		"model_not_found",
		"invalid_request",
		"upstream_error",
		"upstream_incomplete",
		"response_too_large",
		"attempts_exhausted",
		"worker_restarted",
		"internal",
		"target_lost",
		"target_busy",
		"foreman_stopped",
		"retry",
	};

	for (int i = 0; i < JOB_STATE_COUNT; i++)
		CHECK_STR(job_state_name((enum job_state)i), states[i]);
	CHECK_STR(job_reason_name(REASON_NONE), NULL);
	CHECK_INT(ARRAY_LEN(reasons), REASON_COUNT - 1);
	for (int i = 1; i < REASON_COUNT; i++)
		CHECK_STR(job_reason_name((enum job_reason)i), reasons[i - 1]);
	CHECK_STR(job_waiting_name(WAITING_NONE), NULL);
	CHECK_STR(job_waiting_name(WAITING_WORKER), "worker");
	CHECK_STR(job_waiting_name(WAITING_MODEL), "model");
	CHECK_STR(job_waiting_name(WAITING_TARGET), "target");
	CHECK_STR(artifact_mode_name(ARTIFACT_AUTO), "auto");
	CHECK_STR(artifact_mode_name(ARTIFACT_INLINE), "inline");
	CHECK_STR(artifact_mode_name(ARTIFACT_FETCH), "fetch");
	CHECK_STR(job_event_type(JOB_QUEUED), "job.queued");
	CHECK_STR(job_event_type(JOB_FAILED), "job.failed");
}

static void every_word_is_read_back(void)
{
	for (int i = 0; i < JOB_STATE_COUNT; i++) {
		enum job_state s = JOB_STATE_COUNT;

		CHECK_INT(job_state_parse(span_of(job_state_name((enum job_state)i)), &s),
		          ERR_OK);
		CHECK_INT(s, i);
	}
	for (int i = 1; i < REASON_COUNT; i++) {
		enum job_reason r = REASON_COUNT;

		CHECK_INT(
		    job_reason_parse(span_of(job_reason_name((enum job_reason)i)), &r),
		    ERR_OK);
		CHECK_INT(r, i);
	}
	for (int i = 0; i < ARTIFACT_MODE_COUNT; i++) {
		enum artifact_mode m = ARTIFACT_MODE_COUNT;

		CHECK_INT(artifact_mode_parse(
		              span_of(artifact_mode_name((enum artifact_mode)i)), &m),
		          ERR_OK);
		CHECK_INT(m, i);
	}
}

static void other_words_are_refused(void)
{
	static const char *const bad[] = { "",        "Queued",     "queue",
		                               "queued ", "job.queued", "null" };
	enum artifact_mode m = ARTIFACT_FETCH;
	enum job_reason r = REASON_RETRY;
	enum job_state s = JOB_DONE;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_INT(job_state_parse(span_of(bad[i]), &s), ERR_INVAL);
		CHECK_INT(job_reason_parse(span_of(bad[i]), &r), ERR_INVAL);
		CHECK_INT(artifact_mode_parse(span_of(bad[i]), &m), ERR_INVAL);
	}
	CHECK_INT(job_state_parse(span_of(NULL), &s), ERR_INVAL);
	CHECK_INT(s, JOB_DONE);
	CHECK_INT(r, REASON_RETRY);
	CHECK_INT(m, ARTIFACT_FETCH);
	CHECK_STR(job_state_name(JOB_STATE_COUNT), NULL);
	CHECK_STR(job_event_type(JOB_STATE_COUNT), NULL);
}

/* --- arrows -------------------------------------------------------------- */

static void a_job_moves_along_the_arrows_and_no_other_way(void)
{
	static const bool may[JOB_STATE_COUNT][JOB_STATE_COUNT] = {
		/*               queued loading working done   failed */
		[JOB_QUEUED] = { false, true, false, false, true },
		[JOB_LOADING] = { true, false, true, false, true },
		[JOB_WORKING] = { true, false, false, true, true },
		[JOB_DONE] = { false, false, false, false, false },
		[JOB_FAILED] = { false, false, false, false, false },
	};

	for (int from = 0; from <= JOB_STATE_COUNT; from++)
		for (int to = 0; to <= JOB_STATE_COUNT; to++) {
			bool wanted =
			    from < JOB_STATE_COUNT && to < JOB_STATE_COUNT && may[from][to];

			if (!CHECK(job_may_move((enum job_state)from, (enum job_state)to) ==
			           wanted))
				printf("#   from state %d to %d\n", from, to);
		}
}

static void nothing_leaves_a_terminal_state(void)
{
	for (int i = 0; i < JOB_STATE_COUNT; i++)
		CHECK_INT(job_state_terminal((enum job_state)i),
		          i == JOB_DONE || i == JOB_FAILED);
}

/* --- the object ---------------------------------------------------------- */

static struct job sample(void)
{
	struct job job;

	job_init(&job);
	job.seq = 4711;
	memcpy(job.id, ID, sizeof(job.id));
	job.endpoint = span_dup(span_of("/api/chat"));
	job.model = span_dup(span_of("qwen3:8b"));
	job.event_seq = 1;
	job.created_ms = T0 + 123;
	job.queued_ms = T0 + 123;
	job.position = 3;
	job.starts_ms = T0 + 123;
	job.ends_ms = T0 + 1000;
	job.waiting_on = WAITING_WORKER;
	return job;
}

static const struct job_view view = { .now_ms = T0 + 1123, .inline_max = 16384 };

static void is_json(const struct job *job, const struct job_view *v,
                    const char *want)
{
	char *text = job_json(job, v);

	CHECK_STR(text, want);
	free(text);
}

static void a_queued_job_looks_like_this(void)
{
	struct job job = sample();

	is_json(
	    &job, &view,
	    "{\"id\":\"" ID "\",\"state\":\"queued\",\"terminal\":false,"
	    "\"reason\":null,\"error\":null,\"attended\":false,"
	    "\"endpoint\":\"/api/chat\",\"model\":\"qwen3:8b\",\"position\":3,"
	    "\"estimate\":{\"starts_at\":\"2026-11-20T18:00:00.123Z\","
	    "\"ends_at\":\"2026-11-20T18:00:01.000Z\"},"
	    "\"waiting_on\":\"worker\",\"attempts\":0,\"seq\":1,"
	    "\"created_at\":\"2026-11-20T18:00:00.123Z\",\"loading_at\":null,"
	    "\"working_at\":null,\"finished_at\":null,"
	    "\"timings\":{\"queued_ms\":1000,\"loading_ms\":0,\"working_ms\":0},"
	    "\"usage\":{\"prompt_tokens\":null,\"completion_tokens\":null},"
	    "\"artifacts\":[],\"webhook\":null,\"metadata\":{},"
	    "\"urls\":{\"self\":\"/jobs/" ID "\",\"stream\":\"/jobs/" ID "/stream\","
	    "\"events\":\"/jobs/" ID "/events\",\"cancel\":\"/jobs/" ID "/cancel\"}}");
	job_done(&job);
}

/* The sample, done, with one artifact of these bytes. */
static struct job finished(const char *content_type, struct span bytes)
{
	struct job job = sample();
	struct artifact *a = calloc(1, sizeof(*a));

	job.state = JOB_DONE;
	job.position = 0;
	job.starts_ms = 0; /* an end alone is not told */
	job.waiting_on = WAITING_NONE;
	job.attempts = 1;
	job.event_seq = 4;
	job.loading_ms = T0 + 1000;
	job.working_ms = T0 + 3000;
	job.finished_ms = T0 + 7000;
	job.prompt_tokens = 0;
	job.completion_tokens = INT64_C(9007199254740993);
	snprintf(a->name, sizeof(a->name), "response");
	snprintf(a->content_type, sizeof(a->content_type), "%s", content_type);
	snprintf(a->sha256, sizeof(a->sha256), "ab12");
	a->bytes = (int64_t)bytes.len;
	a->complete = true;
	a->inline_bytes = span_dup(bytes);
	job.artifacts = a;
	job.artifact_count = 1;
	return job;
}

static void a_done_job_under_a_public_url_looks_like_this(void)
{
	struct job_view public = view;
	struct job job = finished("application/json", SPAN_LIT("{\"x\":1}"));

	public.public_url = "https://f.example/base";
	job.attended = true;
	job.metadata = span_dup(span_of("{ \"any\":\n\"a b\" }"));
	job.webhook_url = span_dup(span_of("https://r.example/h?a=\"1\""));
	job.webhook_secret = span_dup(span_of("whsec_never"));
	job.webhook_pending = 1;
	job.webhook_dead = 2;
	is_json(
	    &job, &public,
	    "{\"id\":\"" ID "\",\"state\":\"done\",\"terminal\":true,"
	    "\"reason\":null,\"error\":null,\"attended\":true,"
	    "\"endpoint\":\"/api/chat\",\"model\":\"qwen3:8b\",\"position\":null,"
	    "\"estimate\":null,"
	    "\"waiting_on\":null,\"attempts\":1,\"seq\":4,"
	    "\"created_at\":\"2026-11-20T18:00:00.123Z\","
	    "\"loading_at\":\"2026-11-20T18:00:01.000Z\","
	    "\"working_at\":\"2026-11-20T18:00:03.000Z\","
	    "\"finished_at\":\"2026-11-20T18:00:07.000Z\","
	    "\"timings\":{\"queued_ms\":877,\"loading_ms\":2000,\"working_ms\":4000},"
	    "\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":9007199254740993},"
	    "\"artifacts\":[{\"name\":\"response\",\"content_type\":"
	    "\"application/json\",\"bytes\":7,\"sha256\":\"ab12\",\"href\":"
	    "\"https://f.example/base/jobs/" ID "/artifacts/response\","
	    "\"inline\":{\"x\":1}}],"
	    "\"webhook\":{\"url\":\"https://r.example/h?a=\\\"1\\\"\",\"pending\":1,"
	    "\"dead\":2},\"metadata\":{\"any\":\"a b\"},"
	    "\"urls\":{\"self\":\"https://f.example/base/jobs/" ID "\","
	    "\"stream\":\"https://f.example/base/jobs/" ID "/stream\","
	    "\"events\":\"https://f.example/base/jobs/" ID "/events\","
	    "\"cancel\":\"https://f.example/base/jobs/" ID "/cancel\"}}");
	job_done(&job);
}

/* One member of the object as text; "" when it is absent. */
static const char *member(const struct job *job, const struct job_view *v,
                          const char *name, const char *inner)
{
	static char out[512];
	char *text = job_json(job, v), *found = NULL;
	const cJSON *item = NULL;
	cJSON *tree = NULL;

	out[0] = '\0';
	if (CHECK(text && !strchr(text, '\n') &&
	          json_parse(span_of(text), &tree, NULL) == ERR_OK))
		item = cJSON_GetObjectItemCaseSensitive(tree, name);
	if (cJSON_IsArray(item))
		item = cJSON_GetArrayItem(item, 0);
	if (inner)
		item = cJSON_GetObjectItemCaseSensitive(item, inner);
	found = item ? json_text(item) : NULL;
	if (found)
		snprintf(out, sizeof(out), "%s", found);
	free(found);
	free(text);
	cJSON_Delete(tree);
	return out;
}

static void is_inline(const char *type, struct span bytes, const char *want)
{
	struct job job = finished(type, bytes);

	CHECK_STR(member(&job, &view, "artifacts", "inline"), want);
	job_done(&job);
}

static void json_rides_inline_as_json_and_the_rest_as_text(void)
{
	is_inline("application/json", SPAN_LIT("[1, 2]"), "[1,2]");
	is_inline("Application/JSON; charset=utf-8", SPAN_LIT("{}\n"), "{}");
	is_inline("application/json",
	          SPAN_LIT(" {\"a\" :\t\"x  \\\" \\\\\",\r\n\"b\": [ ] } "),
	          "{\"a\":\"x  \\\" \\\\\",\"b\":[]}");
	is_inline("application/json", SPAN_LIT("{\"cut\":"), "\"{\\\"cut\\\":\"");
	is_inline("application/json", SPAN_LIT(""), "\"\"");
	is_inline("application/jsonx", SPAN_LIT("1"), "\"1\"");
	is_inline("application/x-ndjson", SPAN_LIT("{}\n{}\n"), "\"{}\\n{}\\n\"");
	is_inline("text/plain", SPAN_LIT("gr\xc3\xbc\xc3\x9f"),
	          "\"gr\xc3\xbc\xc3\x9f\"");
	is_inline("", SPAN_LIT("x"), "\"x\"");
}

static void bytes_that_are_no_text_stay_behind_their_link(void)
{
	is_inline("text/plain", SPAN_LIT("a\xff"), "");
	is_inline("application/json", SPAN_LIT("\"\xff\""), "");
	is_inline("text/plain", SPAN_LIT("a\0b"), "");
}

static void json_keeps_its_numbers_and_escapes(void)
{
	struct job job =
	    finished("application/json", SPAN_LIT("{\"n\":1.50e+3,\"big\":"
	                                          "12345678901234567890123,"
	                                          "\"s\":\"\\u003c\\/\"}"));
	char *text = job_json(&job, &view);

	CHECK(text && strstr(text, "\"inline\":{\"n\":1.50e+3,\"big\":"
	                           "12345678901234567890123,\"s\":\"\\u003c\\/\"}"));
	free(text);
	job_done(&job);
}

static void mode_and_size_decide_what_rides_inline(void)
{
	struct job job = finished("text/plain", SPAN_LIT("12345"));
	struct job_view v = view;

	v.inline_max = 5;
	CHECK_STR(member(&job, &v, "artifacts", "inline"), "\"12345\"");
	v.inline_max = 4;
	CHECK_STR(member(&job, &v, "artifacts", "inline"), "");
	job.artifact_mode = ARTIFACT_INLINE;
	CHECK_STR(member(&job, &v, "artifacts", "inline"), "\"12345\"");
	job.artifact_mode = ARTIFACT_FETCH;
	v.inline_max = 5;
	CHECK_STR(member(&job, &v, "artifacts", "inline"), "");
	CHECK_STR(member(&job, &v, "artifacts", "bytes"), "5");
	job.artifact_mode = ARTIFACT_AUTO;
	free(job.artifacts[0].inline_bytes);
	job.artifacts[0].inline_bytes = NULL;
	CHECK_STR(member(&job, &v, "artifacts", "inline"), "");
	job_done(&job);
}

static void only_an_incomplete_artifact_says_so(void)
{
	struct job job = finished("text/plain", SPAN_LIT("x"));

	CHECK_STR(member(&job, &view, "artifacts", "complete"), "");
	job.artifacts[0].complete = false;
	CHECK_STR(member(&job, &view, "artifacts", "complete"), "false");
	job_done(&job);
}

static void are_timings(const struct job *job, const char *want)
{
	CHECK_STR(member(job, &view, "timings", NULL), want);
}

static void timings_run_until_the_next_step_or_now(void)
{
	struct job job = sample();

	job.state = JOB_LOADING;
	job.loading_ms = T0 + 223;
	are_timings(&job, "{\"queued_ms\":100,\"loading_ms\":900,\"working_ms\":0}");
	job.state = JOB_WORKING;
	job.working_ms = T0 + 523;
	are_timings(&job, "{\"queued_ms\":100,\"loading_ms\":300,\"working_ms\":600}");
	job.state = JOB_FAILED;
	job.finished_ms = T0 + 623;
	are_timings(&job, "{\"queued_ms\":100,\"loading_ms\":300,\"working_ms\":100}");
	job.working_ms = 0;
	are_timings(&job, "{\"queued_ms\":100,\"loading_ms\":400,\"working_ms\":0}");
	job.loading_ms = 0;
	are_timings(&job, "{\"queued_ms\":500,\"loading_ms\":0,\"working_ms\":0}");
	job_done(&job);
}

static void a_job_back_in_line_has_left_its_run_behind(void)
{
	struct job job = sample();

	job.queued_ms = T0 + 1000;
	job.loading_ms = T0 + 200;
	job.working_ms = T0 + 300;
	are_timings(&job, "{\"queued_ms\":123,\"loading_ms\":0,\"working_ms\":0}");
	CHECK_STR(member(&job, &view, "loading_at", NULL), "null");
	job.state = JOB_LOADING;
	job.loading_ms = T0 + 1100;
	are_timings(&job, "{\"queued_ms\":100,\"loading_ms\":23,\"working_ms\":0}");
	CHECK_STR(member(&job, &view, "working_at", NULL), "null");
	job_done(&job);
}

static void a_clock_that_stepped_back_gives_no_negative_times(void)
{
	struct job job = sample();

	job.state = JOB_DONE;
	job.loading_ms = T0 + 100;
	job.working_ms = T0 + 90;
	job.finished_ms = T0 + 80;
	are_timings(&job, "{\"queued_ms\":0,\"loading_ms\":0,\"working_ms\":0}");
	job_done(&job);
}

static void a_failure_tells_why_whatever_bytes_it_came_in(void)
{
	struct job job = sample();

	job.state = JOB_FAILED;
	job.reason = REASON_UPSTREAM_ERROR;
	job.error = span_dup(span_of("\"no\"\n\xff\xc3"));
	CHECK_STR(member(&job, &view, "reason", NULL), "\"upstream_error\"");
	CHECK_STR(member(&job, &view, "error", NULL), "\"\\\"no\\\"\\n??\"");
	job_done(&job);
}

static void metadata_that_is_no_json_does_not_break_the_object(void)
{
	struct job job = sample();

	job.metadata = span_dup(span_of("{\"a\":"));
	CHECK_STR(member(&job, &view, "metadata", NULL), "{}");
	job_done(&job);
}

static void a_public_url_may_end_in_a_slash(void)
{
	struct job_view v = view;
	struct job job = sample();

	v.public_url = "https://f.example/";
	CHECK_STR(member(&job, &v, "urls", "self"),
	          "\"https://f.example/jobs/" ID "\"");
	v.public_url = "";
	CHECK_STR(member(&job, &v, "urls", "self"), "\"/jobs/" ID "\"");
	job_done(&job);
}

static void no_secret_is_ever_shown(void)
{
	struct job job = sample();
	char *text;

	job.webhook_url = span_dup(span_of("https://r.example/"));
	job.webhook_secret = span_dup(span_of("whsec_never"));
	job.load_key = span_dup(span_of("qwen3:8b num_ctx=1"));
	text = job_json(&job, &view);
	CHECK(text && !strstr(text, "whsec_never") && !strstr(text, "num_ctx"));
	free(text);
	job_done(&job);
}

static void an_event_holds_the_same_object(void)
{
	struct job job = sample();
	char *object, *event, want[2048];

	job.state = JOB_FAILED;
	job.reason = REASON_CANCELED;
	object = job_json(&job, &view);
	event = job_event_json(&job, &view, T0 + 5);
	snprintf(want, sizeof(want),
	         "{\"type\":\"job.failed\",\"timestamp\":\"2026-11-20T18:00:00.005Z\","
	         "\"data\":{\"job\":%s}}",
	         object);
	CHECK_STR(event, want);
	free(object);
	free(event);
	job_done(&job);
}

static void a_done_job_struct_can_be_used_again(void)
{
	struct job job = finished("text/plain", SPAN_LIT("x"));

	job_done(&job);
	CHECK_INT(job.artifact_count, 0);
	CHECK_INT(job.prompt_tokens, -1);
	CHECK_INT(job.webhook_events, JOB_EVENTS_ALL);
	CHECK_STR(job.model, NULL);
	job_done(&job);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(the_words_are_the_contracts),
		T(every_word_is_read_back),
		T(other_words_are_refused),
		T(a_job_moves_along_the_arrows_and_no_other_way),
		T(nothing_leaves_a_terminal_state),
		T(a_queued_job_looks_like_this),
		T(a_done_job_under_a_public_url_looks_like_this),
		T(json_rides_inline_as_json_and_the_rest_as_text),
		T(bytes_that_are_no_text_stay_behind_their_link),
		T(json_keeps_its_numbers_and_escapes),
		T(mode_and_size_decide_what_rides_inline),
		T(only_an_incomplete_artifact_says_so),
		T(timings_run_until_the_next_step_or_now),
		T(a_job_back_in_line_has_left_its_run_behind),
		T(a_clock_that_stepped_back_gives_no_negative_times),
		T(a_failure_tells_why_whatever_bytes_it_came_in),
		T(metadata_that_is_no_json_does_not_break_the_object),
		T(a_public_url_may_end_in_a_slash),
		T(no_secret_is_ever_shown),
		T(an_event_holds_the_same_object),
		T(a_done_job_struct_can_be_used_again),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
