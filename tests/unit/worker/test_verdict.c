/*
 * test_verdict.c - what an answer means: the scan of a body, and every class
 * of outcome for a job and for an attended client.
 */
#include <config.h>

#include "worker/verdict.h"

#include "t.h"

#include <stdlib.h>

#include "base/attr.h"

#define NDJSON "application/x-ndjson"
#define JSON "application/json; charset=utf-8"

/* --- the scan -------------------------------------------------------------- */

/* In two pieces, split at `at`: where a body is cut must not matter. */
static struct scan scanned(const char *endpoint, const char *type, const char *body,
                           size_t at)
{
	struct scan s;
	struct span all = span_of(body);

	scan_init(&s, endpoint, type);
	scan_more(&s, (struct span){ all.p, at });
	scan_more(&s, all);
	scan_end(&s, all);
	return s;
}

static void done_true_is_found_wherever_the_body_is_cut(void)
{
	static const char body[] =
	    "{\"message\":{\"content\":\"\\\"done\\\":true\"},\"done\":false}\n"
	    "{\"done\":true,\"prompt_eval_count\":7,\"eval_count\":42}\n";

	for (size_t at = 0; at < sizeof(body); at++) {
		struct scan s = scanned("/api/chat", NDJSON, body, at);

		CHECK(s.wants_done && s.done && !s.error && !s.nonsense);
		CHECK_INT(s.prompt_tokens, 7);
		CHECK_INT(s.completion_tokens, 42);
	}
}

static void a_text_that_says_done_is_not_done(void)
{
	struct scan s = scanned("/api/chat", NDJSON,
	                        "{\"message\":{\"done\":true},\"done\":false}\n", 0);

	CHECK(!s.done);
	s = scanned("/api/chat", NDJSON, "{\"done\":\"true\"}\n", 0);
	CHECK(!s.done);
}

static void the_last_line_counts_without_its_newline(void)
{
	struct scan s = scanned("/api/generate", NDJSON, "{\"done\":true}", 5);

	CHECK(s.done);
}

static void an_error_line_is_read_out(void)
{
	struct scan s =
	    scanned("/api/chat", NDJSON,
	            "{\"done\":false}\n{\"error\":\"ran out\\nof luck\"}\n", 20);

	CHECK(s.error && !s.done);
	CHECK_STR(s.text, "ran out\\x0aof luck");
}

static void a_line_that_is_no_object_is_nonsense(void)
{
	CHECK(scanned("/api/chat", NDJSON, "<html>\n", 0).nonsense);
	CHECK(scanned("/api/chat", NDJSON, "[1]\n", 0).nonsense);
	CHECK(scanned("/api/chat", NDJSON, "{\"done\":tru\n", 0).nonsense);
	CHECK(!scanned("/api/chat", NDJSON, "\n  \n{\"done\":true}\n", 0).nonsense);
}

static void an_error_of_any_shape_is_told(void)
{
	static const struct {
		const char *line, *text;
	} shapes[] = {
		{ "{\"error\":{\"message\":\"so\",\"code\":7}}", "so" },
		{ "{\"error\":{\"message\":7}}", "{\"message\":7}" },
		{ "{\"error\":{\"code\":7}}", "{\"code\":7}" },
		{ "{\"error\":[1]}", "[1]" },
		{ "{\"error\":7}", "7" },
		{ "{\"error\":true}", "true" },
	};

	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		struct scan s = scanned("/api/chat", NDJSON, shapes[i].line, 0);

		CHECK(s.error && !s.nonsense);
		CHECK_STR(s.text, shapes[i].text);
	}
	CHECK(!scanned("/api/chat", NDJSON, "{\"error\":null}", 0).error);
}

static void an_end_once_told_stays_told(void)
{
	CHECK(scanned("/api/chat", NDJSON, "{\"done\":true}\n{\"done\":false}\n", 0)
	          .done);
}

static void figures_that_are_none_are_not_known(void)
{
	struct scan s = scanned("/api/chat", JSON,
	                        "{\"done\":true,\"prompt_eval_count\":\"7\","
	                        "\"eval_count\":2147483648,\"load_duration\":1.5,"
	                        "\"eval_duration\":9223372036854775808}",
	                        0);

	CHECK_INT(s.prompt_tokens, -1);
	CHECK_INT(s.completion_tokens, -1);
	CHECK_INT(s.load_ns, -1);
	CHECK_INT(s.eval_ns, -1);
	s = scanned("/api/chat", JSON,
	            "{\"prompt_eval_count\":-1,\"eval_count\":2147483647,"
	            "\"load_duration\":\"1\",\"eval_duration\":9223372036854775807}",
	            0);
	CHECK_INT(s.prompt_tokens, -1);
	CHECK_INT(s.completion_tokens, INT32_MAX);
	CHECK_INT(s.load_ns, -1);
	CHECK_INT(s.eval_ns, INT64_MAX);
	s = scanned("/v1/chat/completions", JSON, "{\"usage\":[1,2]}", 0);
	CHECK_INT(s.prompt_tokens, -1);
	s = scanned("/v1/chat/completions", JSON,
	            "{\"usage\":{\"total_tokens\":9,\"prompt_tokens\":4}}", 0);
	CHECK_INT(s.prompt_tokens, 4);
	CHECK_INT(s.completion_tokens, -1);
}

static void odd_lines_between_events_mean_nothing(void)
{
	struct scan s = scanned("/v1/chat/completions", "text/event-stream",
	                        ": a comment\n"
	                        "a line without a colon\n"
	                        "event: [DONE]\n"
	                        "data:\n"
	                        "data\n\n",
	                        0);

	CHECK(!s.done && !s.nonsense && !s.error);
	CHECK(scanned("/v1/chat/completions", "text/event-stream", "data: [\n\n", 0)
	          .nonsense);
	CHECK(scanned("/v1/chat/completions", "text/event-stream", "data:[DONE]", 0)
	          .done);
}

static void a_whole_answer_needs_done_true_where_it_has_one(void)
{
	struct scan s =
	    scanned("/api/chat", JSON, "{\n\"done\":true,\n\"eval_count\":3}", 4);

	CHECK(s.done && s.wants_done);
	CHECK_INT(s.completion_tokens, 3);
	CHECK_INT(s.prompt_tokens, -1);
	CHECK(!scanned("/api/embed", JSON, "{\"embeddings\":[]}", 0).wants_done);
	CHECK(!scanned("/v1/chat/completions", JSON, "{}", 0).wants_done);
}

static void events_end_with_done(void)
{
	static const char body[] =
	    "data: {\"choices\":[]}\n\n"
	    "data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\n"
	    "data: [DONE]\n\n";
	struct scan s = scanned("/v1/chat/completions", "text/event-stream", body, 30);

	CHECK(s.done && s.wants_done && !s.nonsense);
	CHECK_INT(s.prompt_tokens, 5);
	CHECK_INT(s.completion_tokens, 6);
	s = scanned("/v1/chat/completions", "text/event-stream", "data: {}\n\n", 0);
	CHECK(!s.done);
}

#define SSE "text/event-stream"

static void responses_end_with_their_completed_event(void)
{
	static const char body[] =
	    "event: response.created\n"
	    "data: {\"type\":\"response.created\",\"response\":{\"error\":null,"
	    "\"usage\":null}}\n\n"
	    "event: response.output_text.delta\n"
	    "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n"
	    "event: response.completed\n"
	    "data: {\"type\":\"response.completed\",\"response\":{\"error\":null,"
	    "\"usage\":{\"input_tokens\":5,\"output_tokens\":6}}}\n\n";
	const char *last = strstr(body, "event: response.completed");
	char cut[sizeof(body)];

	for (size_t at = 0; at < sizeof(body); at++) {
		struct scan s = scanned("/v1/responses", SSE, body, at);

		CHECK(s.wants_done && s.done && !s.error && !s.nonsense);
		CHECK_INT(s.prompt_tokens, 5);
		CHECK_INT(s.completion_tokens, 6);
	}
	snprintf(cut, sizeof(cut), "%.*s", (int)(last - body), body);
	CHECK(!scanned("/v1/responses", SSE, cut, 0).done);
	CHECK(!scanned("/v1/responses", SSE, "event: response.completed\n\n", 0).done);
	CHECK(scanned("/v1/responses", SSE,
	              "data: {\"type\":\"response.incomplete\"}\n\n", 0)
	          .done);
	CHECK(
	    scanned("/v1/responses", SSE, "data: {\"type\":\"response.failed\"}\n\n", 0)
	        .error);
}

static void messages_end_with_message_stop(void)
{
	static const char body[] =
	    "event: message_start\n"
	    "data: {\"type\":\"message_start\",\"message\":{\"usage\":"
	    "{\"input_tokens\":5,\"output_tokens\":1}}}\n\n"
	    "event: message_delta\n"
	    "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":6}}\n\n"
	    "event: message_stop\n"
	    "data: {\"type\":\"message_stop\"}\n\n";
	struct scan s = scanned("/v1/messages", SSE, body, 40);

	CHECK(s.wants_done && s.done && !s.error && !s.nonsense);
	CHECK_INT(s.prompt_tokens, 5);
	CHECK_INT(s.completion_tokens, 6);
	s = scanned("/v1/messages", SSE,
	            "event: error\ndata: {\"type\":\"error\",\"error\":"
	            "{\"type\":\"overloaded_error\",\"message\":\"too much\"}}\n\n",
	            0);
	CHECK(s.error && !s.done);
	CHECK_STR(s.text, "too much");
}

static void completions_end_with_done(void)
{
	struct scan s = scanned("/v1/completions", SSE,
	                        "data: {\"choices\":[{\"text\":\"x\"}]}\n\n"
	                        "data: [DONE]\n\n",
	                        3);

	CHECK(s.wants_done && s.done && !s.nonsense);
}

static void a_whole_v1_answer_is_done_when_it_is_whole(void)
{
	static const char *const paths[] = { "/v1/chat/completions", "/v1/completions",
		                                 "/v1/responses", "/v1/messages",
		                                 "/v1/embeddings" };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct scan s = scanned(paths[i], "application/json",
		                        "{\"type\":\"message\",\"error\":null,\"usage\":"
		                        "{\"input_tokens\":5,\"output_tokens\":6}}\n",
		                        0);

		CHECK(!s.wants_done && !s.error && !s.nonsense);
		CHECK_INT(s.prompt_tokens, 5);
		CHECK_INT(s.completion_tokens, 6);
	}
}

static void a_count_that_makes_no_sense_is_unknown(void)
{
	CHECK_INT(
	    scanned("/api/chat", NDJSON, "{\"eval_count\":-1}", 0).completion_tokens,
	    -1);
	CHECK_INT(
	    scanned("/api/chat", NDJSON, "{\"eval_count\":1.5}", 0).completion_tokens,
	    -1);
	CHECK_INT(scanned("/api/chat", NDJSON, "{\"eval_count\":99999999999}", 0)
	              .completion_tokens,
	          -1);
}

static void a_line_of_megabytes_is_walked_once(void)
{
	size_t len = 4 << 20;
	char *body = malloc(len);
	struct scan s;

	memset(body, ' ', len);
	memcpy(body, "{\"context\":[1", 13);
	memcpy(body + len - 15, "],\"done\":true}\n", 15);
	scan_init(&s, "/api/generate", NDJSON);
	for (size_t at = 0; at < len; at += 16384) {
		scan_more(&s, (struct span){ body, at });
		CHECK_INT(s.seen, at); /* nothing is looked at twice */
	}
	scan_more(&s, (struct span){ body, len });
	CHECK(s.done);
	free(body);
}

/* --- pace ------------------------------------------------------------------ */

/* How a stream of these last words is paced, with the head after 2 s and the
 * end after 5. */
static struct pace paced(const char *endpoint, const char *type, const char *body,
                         bool rotates, bool known, bool same)
{
	const struct run_times times = { rotates, known, same, 2000, 5000 };
	struct scan s = scanned(endpoint, type, body, 0);

	return verdict_pace(&s, &times);
}

static void ollamas_own_figures_tell_load_and_rate(void)
{
	static const char body[] =
	    "{\"done\":true,\"eval_count\":50,\"load_duration\":1500000000,"
	    "\"eval_duration\":2000000000,\"total_duration\":4900000000}\n";
	struct pace p = paced("/api/chat", NDJSON, body, true, true, false);

	CHECK_INT(p.load_ms, 1500);
	CHECK_INT(p.run_ms, 3500);
	CHECK_INT(p.tokens_per_s, 25);
	/* seen though the slot was thought to hold it: somebody else unloaded it */
	p = paced("/api/chat", NDJSON, body, true, true, true);
	CHECK_INT(p.load_ms, 1500);
	CHECK_INT(p.run_ms, 3500);
	/* a load does not outlast the run it is in */
	p = paced("/api/chat", NDJSON,
	          "{\"done\":true,\"load_duration\":9000000000000000}\n", true, true,
	          false);
	CHECK_INT(p.load_ms, 5000);
	CHECK_INT(p.run_ms, 0);
}

static void a_moment_is_no_load_unless_models_were_changed(void)
{
	static const char least[] = "{\"done\":true,\"load_duration\":100000000}\n";
	static const char less[] = "{\"done\":true,\"load_duration\":99999999}\n";
	struct pace p = paced("/api/chat", NDJSON, least, true, true, true);

	CHECK_INT(p.load_ms, LIMIT_PACE_LOAD_MS);
	CHECK_INT(p.run_ms, 4900);
	p = paced("/api/chat", NDJSON, less, true, true, true);
	CHECK(p.load_ms < 0);
	CHECK_INT(p.run_ms, 5000);
	p = paced("/api/chat", NDJSON, less, true, true, false);
	CHECK_INT(p.load_ms, 99);
	/* what was there before is not known: it may have been this very model */
	p = paced("/api/chat", NDJSON, less, true, false, false);
	CHECK(p.load_ms < 0);
	CHECK_INT(p.run_ms, 5000);
}

static void without_ollamas_figures_the_first_byte_ends_a_load(void)
{
	static const char body[] =
	    "data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":60}}\n\n"
	    "data: [DONE]\n\n";
	struct pace p = paced("/v1/chat/completions", SSE, body, true, true, false);

	CHECK_INT(p.load_ms, 2000);
	CHECK_INT(p.run_ms, 3000);
	CHECK_INT(p.tokens_per_s, 20);
	p = paced("/v1/chat/completions", SSE, body, true, true, true);
	CHECK(p.load_ms < 0);
	CHECK_INT(p.run_ms, 5000);
}

static void a_load_that_cannot_be_told_from_the_run_tells_nothing(void)
{
	static const char body[] = "{\"usage\":{\"completion_tokens\":60}}";
	struct pace p = paced("/v1/chat/completions", JSON, body, true, true, false);

	CHECK(p.load_ms < 0);
	CHECK(p.run_ms < 0);
	CHECK(p.tokens_per_s < 0);
	p = paced("/v1/chat/completions", JSON, body, true, true, true);
	CHECK(p.load_ms < 0);
	CHECK_INT(p.run_ms, 5000);
}

static void a_model_with_a_place_of_its_own_is_never_loaded(void)
{
	struct pace p =
	    paced("/api/embed", JSON, "{\"embeddings\":[]}", false, true, false);

	CHECK_INT(p.load_ms, 0);
	CHECK_INT(p.run_ms, 5000);
}

static void a_duration_that_makes_no_sense_is_not_told(void)
{
	struct scan s = scanned("/api/chat", NDJSON,
	                        "{\"done\":true,\"load_duration\":-5,"
	                        "\"eval_duration\":9223372036854775808}\n",
	                        0);

	CHECK_INT(s.load_ns, -1);
	CHECK_INT(s.eval_ns, -1);
	s = scanned("/api/chat", NDJSON,
	            "{\"done\":true,\"load_duration\":\"1\","
	            "\"eval_duration\":1.5}\n",
	            0);
	CHECK_INT(s.load_ns, -1);
	CHECK_INT(s.eval_ns, -1);
}

static void an_error_text_is_taken_out_of_its_wrapping(void)
{
	char out[64];

	verdict_error_text(SPAN_LIT("{\"error\":\"model 'x' not found\"}"), 404, out,
	                   sizeof(out));
	CHECK_STR(out, "model 'x' not found");
	verdict_error_text(
	    SPAN_LIT("{\"error\":{\"type\":\"t\",\"message\":\"no\"}}\n"), 400, out,
	    sizeof(out));
	CHECK_STR(out, "no");
	verdict_error_text(SPAN_LIT("Bad\tGateway"), 502, out, sizeof(out));
	CHECK_STR(out, "Bad\\x09Gateway");
	verdict_error_text(SPAN_LIT("{\"detail\":\"no\"}"), 502, out, sizeof(out));
	CHECK_STR(out, "{\"detail\":\"no\"}");
	verdict_error_text(SPAN_LIT(""), 500, out, sizeof(out));
	CHECK_STR(out, "status 500 without a word");
}

/* --- the judgement --------------------------------------------------------- */

static struct run_facts facts_of(bool attended)
{
	return (struct run_facts){ .attended = attended,
		                       .max_attempts = 3,
		                       .outcome = XFER_OK,
		                       .why = "why",
		                       .retry_after_ms = -1,
		                       .error = "" };
}

static struct verdict judged(const struct run_facts *f)
{
	struct verdict v;

	verdict_judge(f, &v);
	return v;
}

static void the_targets_own_words_are_marked(void)
{
	struct run_facts f = facts_of(false);
	struct scan s = scanned("/api/chat", NDJSON, "{\"error\":\"boom\"}\n", 0);

	f.status = 500;
	f.error = "error parsing tool call: raw='something private'";
	CHECK(judged(&f).quoted);
	f.status = 400;
	CHECK(judged(&f).quoted);
	f.status = 404;
	f.error = "model 'x' not found"; /* a name alone */
	CHECK(!judged(&f).quoted);
	f.status = 200;
	f.scan = &s;
	CHECK(judged(&f).quoted);
	s = scanned("/api/chat", NDJSON, "{}\n", 0);
	CHECK(!judged(&f).quoted); /* it is we who miss done:true */
}

static void only_done_true_is_a_success(void)
{
	struct run_facts f = facts_of(false);
	struct scan s = scanned("/api/chat", NDJSON, "{\"done\":true}\n", 0);

	f.status = 200;
	f.scan = &s;
	CHECK_INT(judged(&f).kind, VERDICT_DONE);
	CHECK_INT(judged(&f).end, FRAME_END_CLEAN);
	s.done = false;
	CHECK_INT(judged(&f).kind, VERDICT_FAILED);
	CHECK_INT(judged(&f).reason, REASON_UPSTREAM_INCOMPLETE);
	CHECK(judged(&f).keep);
	CHECK_INT(judged(&f).end, FRAME_END_CLEAN); /* as the target ended it */
}

static void done_true_beside_an_error_is_none(void)
{
	struct run_facts f = facts_of(true);
	struct scan s =
	    scanned("/api/chat", NDJSON, "{\"done\":true}\n{\"error\":\"boom\"}\n", 0);

	f.status = 200;
	f.scan = &s;
	CHECK_INT(judged(&f).kind, VERDICT_FAILED);
	CHECK_STR(judged(&f).error, "boom");
	s = scanned("/api/chat", NDJSON, "{\"done\":true}\n<html>\n", 0);
	CHECK_INT(judged(&f).kind, VERDICT_FAILED);
	CHECK_STR(judged(&f).error, "the target's answer is not JSON");
}

/* Not every 404 is about the model, nor is every word about a model its name. */
static void only_a_404_that_says_so_is_a_missing_model(void)
{
	struct run_facts f = facts_of(false);

	f.status = 404;
	f.error = "model 'x' not found";
	CHECK_INT(judged(&f).reason, REASON_MODEL_NOT_FOUND);
	f.error = "model runner has unexpectedly stopped";
	CHECK_INT(judged(&f).reason, REASON_INVALID_REQUEST);
	f.error = "404 page not found";
	CHECK_INT(judged(&f).reason, REASON_INVALID_REQUEST);
	f.status = 400;
	f.error = "model 'x' not found";
	CHECK_INT(judged(&f).reason, REASON_INVALID_REQUEST);
}

static void whatever_a_good_answer_failed_for_what_came_is_kept(void)
{
	static const enum run_stop stops[] = { STOP_CANCELED, STOP_TIMEOUT,
		                                   STOP_TOO_LARGE };
	struct run_facts f = facts_of(false);
	struct scan s = scanned("/api/chat", NDJSON, "{\"error\":\"boom\"}\n", 0);

	f.status = 200;
	f.scan = &s;
	CHECK_INT(judged(&f).kind, VERDICT_BACK);
	CHECK(!judged(&f).keep); /* it will run again */
	f.attempts = 2;
	CHECK_INT(judged(&f).reason, REASON_ATTEMPTS_EXHAUSTED);
	CHECK(judged(&f).keep);
	f.outcome = XFER_STOPPED;
	for (size_t i = 0; i < ARRAY_LEN(stops); i++) {
		f.stop = stops[i];
		f.scan = &s;
		CHECK_INT(judged(&f).kind, VERDICT_FAILED);
		CHECK(judged(&f).keep);
		f.scan = NULL;
		CHECK(!judged(&f).keep);
	}
}

static void what_comes_after_done_true_changes_nothing(void)
{
	struct run_facts f = facts_of(true);
	struct scan s = scanned("/api/chat", NDJSON, "{\"done\":true}\n", 0);

	f.status = 200;
	f.scan = &s;
	f.outcome = XFER_LOST;
	CHECK_INT(judged(&f).kind, VERDICT_DONE);
	CHECK(!judged(&f).lost);
	f.outcome = XFER_STOPPED;
	f.stop = STOP_CANCELED;
	CHECK_INT(judged(&f).kind, VERDICT_DONE);
	f.stop = STOP_TOO_LARGE;
	CHECK_INT(judged(&f).reason, REASON_RESPONSE_TOO_LARGE);
	f.stop = STOP_GONE; /* nobody is there to be told */
	CHECK_INT(judged(&f).kind, VERDICT_NOTHING);
}

static void a_whole_embedding_is_done_and_a_torn_one_is_not(void)
{
	struct run_facts f = facts_of(false);
	struct scan s = scanned("/api/embed", JSON, "{\"embeddings\":[]}", 0);

	f.status = 200;
	f.scan = &s;
	CHECK_INT(judged(&f).kind, VERDICT_DONE);
	f.outcome = XFER_LOST;
	CHECK_INT(judged(&f).kind, VERDICT_BACK);
}

static void an_unreachable_target_is_never_the_jobs_fault(void)
{
	struct run_facts f = facts_of(false);
	struct verdict v;

	f.outcome = XFER_UNREACHABLE;
	f.attempts = 2;
	f.interruptions = 1000;
	v = judged(&f);
	CHECK_INT(v.kind, VERDICT_BACK);
	CHECK_INT(v.reason, REASON_TARGET_LOST);
	CHECK(!v.counted && v.lost);
	CHECK_INT(v.hold_ms, 0); /* the poller says when */
	CHECK_STR(v.error, "why");
	f.attended = true;
	CHECK_INT(judged(&f).kind, VERDICT_BACK);
}

static void a_job_that_is_lost_again_and_again_lets_others_pass(void)
{
	struct run_facts f = facts_of(false);

	f.outcome = XFER_LOST;
	CHECK_INT(judged(&f).hold_ms, 0);
	f.interruptions = 1;
	CHECK_INT(judged(&f).hold_ms, LIMIT_LOST_HOLD_MS);
	f.interruptions = 4;
	CHECK_INT(judged(&f).hold_ms, 8 * LIMIT_LOST_HOLD_MS);
	f.interruptions = 100;
	CHECK_INT(judged(&f).hold_ms, LIMIT_RETRY_MAX_MS);
	f.attended = true;
	CHECK_INT(judged(&f).hold_ms, LIMIT_LOST_HOLD_ATTENDED_MS);
}

static void a_wedged_target_is_free_twice_then_counted(void)
{
	struct run_facts f = facts_of(false);
	struct verdict v;

	f.outcome = XFER_STOPPED;
	f.stop = STOP_WEDGED;
	f.interruptions = LIMIT_WEDGES_FREE - 1;
	v = judged(&f);
	CHECK_INT(v.kind, VERDICT_BACK);
	CHECK_INT(v.reason, REASON_TARGET_LOST);
	CHECK(!v.counted && !v.lost);
	CHECK_STR(v.error, "why");
	f.interruptions = LIMIT_WEDGES_FREE;
	v = judged(&f);
	CHECK_INT(v.kind, VERDICT_BACK);
	CHECK_INT(v.reason, REASON_RETRY);
	CHECK(v.counted);
	f.attempts = 2;
	v = judged(&f);
	CHECK_INT(v.reason, REASON_ATTEMPTS_EXHAUSTED);
	CHECK_STR(v.error, "why");
	f.attended = true; /* it has waited long enough */
	v = judged(&f);
	CHECK_INT(v.reason, REASON_UPSTREAM_ERROR);
	CHECK_INT(v.end, FRAME_END_REFUSED);
	CHECK_INT(v.end_status, 502);
}

static void a_hanging_target_is_a_lost_one(void)
{
	struct run_facts f = facts_of(false);
	struct verdict v;

	f.outcome = XFER_STOPPED;
	f.stop = STOP_STALLED;
	f.attempts = 2;
	f.interruptions = 100;
	v = judged(&f);
	CHECK_INT(v.kind, VERDICT_BACK);
	CHECK_INT(v.reason, REASON_TARGET_LOST);
	CHECK(!v.counted && v.lost);
	f.attended = true;
	f.status = 200;
	f.stop = STOP_WEDGED; /* as much as it saw must not come twice */
	CHECK_INT(judged(&f).reason, REASON_UPSTREAM_INCOMPLETE);
	CHECK(!judged(&f).lost);
}

static void a_client_that_saw_the_beginning_never_sees_it_twice(void)
{
	struct run_facts f = facts_of(true);
	struct scan s = scanned("/api/chat", NDJSON, "{}\n", 0);
	struct verdict v;

	f.outcome = XFER_LOST;
	f.status = 200;
	f.scan = &s;
	v = judged(&f);
	CHECK_INT(v.kind, VERDICT_FAILED);
	CHECK_INT(v.reason, REASON_UPSTREAM_INCOMPLETE);
	CHECK_INT(v.end, FRAME_END_ABORTED);
	CHECK(v.lost);
	f.attended = false;
	CHECK_INT(judged(&f).kind, VERDICT_BACK);
}

static void a_target_that_fails_is_tried_so_often(void)
{
	struct run_facts f = facts_of(false);
	struct verdict v;

	f.status = 500;
	f.error = "boom";
	v = judged(&f);
	CHECK_INT(v.kind, VERDICT_BACK);
	CHECK_INT(v.reason, REASON_RETRY);
	CHECK(v.counted);
	CHECK_INT(v.hold_ms, LIMIT_RETRY_BASE_MS);
	CHECK_STR(v.error, "boom");
	f.attempts = 1;
	CHECK_INT(judged(&f).hold_ms, 2 * LIMIT_RETRY_BASE_MS);
	f.attempts = 2;
	v = judged(&f);
	CHECK_INT(v.kind, VERDICT_FAILED);
	CHECK_INT(v.reason, REASON_ATTEMPTS_EXHAUSTED);
	CHECK_STR(v.error, "boom");
}

static void an_attended_client_gets_the_targets_answer_as_it_is(void)
{
	static const struct {
		int status;
		enum job_reason reason;
	} rows[] = {
		{ 307, REASON_UPSTREAM_ERROR },  { 400, REASON_INVALID_REQUEST },
		{ 404, REASON_MODEL_NOT_FOUND }, { 428, REASON_INVALID_REQUEST },
		{ 500, REASON_UPSTREAM_ERROR },  { 502, REASON_UPSTREAM_ERROR },
	};
	struct run_facts f = facts_of(true);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct verdict v;

		f.status = rows[i].status;
		f.error = "model 'x' not found";
		v = judged(&f);
		CHECK_INT(v.kind, VERDICT_FAILED);
		CHECK_INT(v.reason, rows[i].reason);
		CHECK_INT(v.end, FRAME_END_CLEAN);
	}
}

static void what_the_request_did_wrong_is_not_tried_again(void)
{
	struct run_facts f = facts_of(false);

	f.status = 404;
	f.error = "model \"x\" not found, try pulling it first";
	CHECK_INT(judged(&f).reason, REASON_MODEL_NOT_FOUND);
	f.error = "404 page not found";
	CHECK_INT(judged(&f).reason, REASON_INVALID_REQUEST);
	f.status = 400;
	CHECK_INT(judged(&f).kind, VERDICT_FAILED);
	CHECK_INT(judged(&f).reason, REASON_INVALID_REQUEST);
	CHECK_STR(judged(&f).error, "404 page not found");
}

static void busy_means_later(bool attended, int status)
{
	struct run_facts f = facts_of(attended);
	struct verdict v;

	f.status = status;
	v = judged(&f);
	CHECK_INT(v.kind, VERDICT_BACK);
	CHECK_INT(v.reason, REASON_TARGET_BUSY);
	CHECK(!v.counted);
	CHECK_INT(v.hold_ms, LIMIT_BUSY_HOLD_MS);
	f.retry_after_ms = 30000;
	CHECK_INT(judged(&f).hold_ms, 30000);
	f.retry_after_ms = 0;
	CHECK_INT(judged(&f).hold_ms, LIMIT_LOST_HOLD_MS);
	f.retry_after_ms = LIMIT_RETRY_AFTER_MS;
	CHECK_INT(judged(&f).hold_ms, LIMIT_RETRY_MAX_MS);
}

static void a_busy_target_is_not_counted_and_its_retry_after_believed(void)
{
	busy_means_later(false, 503);
	busy_means_later(false, 429);
}

static void a_client_whose_target_is_busy_keeps_its_place(void)
{
	busy_means_later(true, 503);
	busy_means_later(true, 429);
	CHECK(!verdict_busy(502));
	CHECK(!verdict_busy(504));
	CHECK(!verdict_busy(428));
	CHECK(!verdict_busy(200));
}

static void an_error_inside_a_stream_counts_for_a_job(void)
{
	struct run_facts f = facts_of(false);
	struct scan s = scanned("/api/chat", NDJSON, "{\"error\":\"oops\"}\n", 0);

	f.status = 200;
	f.scan = &s;
	CHECK_INT(judged(&f).reason, REASON_RETRY);
	CHECK_STR(judged(&f).error, "oops");
	f.attended = true;
	CHECK_INT(judged(&f).reason, REASON_UPSTREAM_ERROR);
	CHECK_INT(judged(&f).end, FRAME_END_CLEAN);
}

static void nonsense_is_tried_again(void)
{
	struct run_facts f = facts_of(false);
	struct scan s = scanned("/api/chat", NDJSON, "<html>\n", 0);

	f.outcome = XFER_NONSENSE;
	CHECK_INT(judged(&f).reason, REASON_RETRY);
	f.outcome = XFER_OK;
	f.status = 200;
	f.scan = &s;
	CHECK_INT(judged(&f).reason, REASON_RETRY);
}

static void a_stop_is_what_foreman_meant_by_it(void)
{
	static const struct {
		enum run_stop stop;
		bool attended;
		int status;
		enum verdict_kind kind;
		enum job_reason reason;
		enum frame_end end;
	} rows[] = {
		{ STOP_CANCELED, false, 0, VERDICT_FAILED, REASON_CANCELED,
		  FRAME_END_REFUSED },
		{ STOP_CANCELED, true, 200, VERDICT_FAILED, REASON_CANCELED,
		  FRAME_END_ABORTED },
		{ STOP_TIMEOUT, false, 200, VERDICT_FAILED, REASON_TIMEOUT,
		  FRAME_END_ABORTED },
		{ STOP_TOO_LARGE, true, 200, VERDICT_FAILED, REASON_RESPONSE_TOO_LARGE,
		  FRAME_END_ABORTED },
		{ STOP_LEAVING, false, 200, VERDICT_BACK, REASON_FOREMAN_STOPPED,
		  FRAME_END_ABORTED },
		{ STOP_LEAVING, true, 0, VERDICT_BACK, REASON_FOREMAN_STOPPED,
		  FRAME_END_REFUSED },
		{ STOP_LEAVING, true, 200, VERDICT_FAILED, REASON_WORKER_RESTARTED,
		  FRAME_END_ABORTED },
		{ STOP_INTERNAL, false, 200, VERDICT_BACK, REASON_RETRY,
		  FRAME_END_ABORTED },
		{ STOP_GONE, false, 200, VERDICT_NOTHING, REASON_NONE, FRAME_END_ABORTED },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct run_facts f = facts_of(rows[i].attended);
		struct verdict v;

		f.outcome = XFER_STOPPED;
		f.stop = rows[i].stop;
		f.status = rows[i].status;
		v = judged(&f);
		CHECK_INT(v.kind, rows[i].kind);
		CHECK_INT(v.reason, rows[i].reason);
		CHECK_INT(v.end, rows[i].end);
		CHECK(!v.lost);
	}
}

static void what_cannot_be_stored_fails_unless_it_failed_already(void)
{
	struct run_facts f = facts_of(false);
	struct scan s = scanned("/api/chat", NDJSON, "{\"done\":true}\n", 0);
	struct verdict v;

	f.status = 200;
	f.scan = &s;
	v = judged(&f);
	verdict_unstorable(&v);
	CHECK_INT(v.kind, VERDICT_FAILED);
	CHECK_INT(v.reason, REASON_INTERNAL);
	CHECK_STR(v.error, "its result cannot be stored");
	CHECK(v.counted && !v.keep);
	s.done = false;
	v = judged(&f);
	CHECK(v.keep);
	verdict_unstorable(&v);
	CHECK_INT(v.reason, REASON_UPSTREAM_INCOMPLETE); /* why it failed stays */
	CHECK(!v.keep);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(done_true_is_found_wherever_the_body_is_cut),
		T(a_text_that_says_done_is_not_done),
		T(the_last_line_counts_without_its_newline),
		T(an_error_line_is_read_out),
		T(a_line_that_is_no_object_is_nonsense),
		T(an_error_of_any_shape_is_told),
		T(an_end_once_told_stays_told),
		T(figures_that_are_none_are_not_known),
		T(odd_lines_between_events_mean_nothing),
		T(a_whole_answer_needs_done_true_where_it_has_one),
		T(events_end_with_done),
		T(responses_end_with_their_completed_event),
		T(messages_end_with_message_stop),
		T(completions_end_with_done),
		T(a_whole_v1_answer_is_done_when_it_is_whole),
		T(a_count_that_makes_no_sense_is_unknown),
		T(a_line_of_megabytes_is_walked_once),
		T(ollamas_own_figures_tell_load_and_rate),
		T(a_moment_is_no_load_unless_models_were_changed),
		T(without_ollamas_figures_the_first_byte_ends_a_load),
		T(a_load_that_cannot_be_told_from_the_run_tells_nothing),
		T(a_model_with_a_place_of_its_own_is_never_loaded),
		T(a_duration_that_makes_no_sense_is_not_told),
		T(an_error_text_is_taken_out_of_its_wrapping),
		T(the_targets_own_words_are_marked),
		T(only_done_true_is_a_success),
		T(done_true_beside_an_error_is_none),
		T(only_a_404_that_says_so_is_a_missing_model),
		T(whatever_a_good_answer_failed_for_what_came_is_kept),
		T(what_comes_after_done_true_changes_nothing),
		T(a_whole_embedding_is_done_and_a_torn_one_is_not),
		T(an_unreachable_target_is_never_the_jobs_fault),
		T(a_job_that_is_lost_again_and_again_lets_others_pass),
		T(a_wedged_target_is_free_twice_then_counted),
		T(a_hanging_target_is_a_lost_one),
		T(a_client_that_saw_the_beginning_never_sees_it_twice),
		T(a_target_that_fails_is_tried_so_often),
		T(an_attended_client_gets_the_targets_answer_as_it_is),
		T(what_the_request_did_wrong_is_not_tried_again),
		T(a_busy_target_is_not_counted_and_its_retry_after_believed),
		T(a_client_whose_target_is_busy_keeps_its_place),
		T(an_error_inside_a_stream_counts_for_a_job),
		T(nonsense_is_tried_again),
		T(a_stop_is_what_foreman_meant_by_it),
		T(what_cannot_be_stored_fails_unless_it_failed_already),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
