/*
 * test_envelope.c - envelopes: what is read of good ones, why bad ones are
 * refused.
 */
#include <config.h>

#include "responder/envelope.h"

#include <stdlib.h>

#include "core/limits.h"
#include "http/guard.h"
#include "t.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" /* 24 bytes */
#define TARGET "http://127.0.0.1:11434"

static struct draft draft;
static enum fault fault;
static struct errtext why;

static enum err read_with(struct span text, const char *default_url)
{
	struct guard *guard;
	enum err e;

	fault = FAULT_COUNT;
	why.s[0] = '\0';
	if (guard_new("public,lan", TARGET, &guard, NULL))
		abort();
	e = envelope_read(text, guard, default_url, &draft, &fault, &why);
	guard_free(guard);
	return e;
}

static bool good(const char *text)
{
	if (!read_with(span_of(text), NULL))
		return true;
	printf("# %s: %s\n", text, why.s);
	return false;
}

static void refused(const char *text, enum fault f, const char *want)
{
	if (!read_with(span_of(text), NULL)) {
		draft_done(&draft);
		CHECK_STR(text, "refused");
		return;
	}
	CHECK_INT(fault, f);
	if (want)
		CHECK_STR(why.s, want);
	CHECK(why.s[0] != '\0');
}

static void invalid(const char *text, const char *want)
{
	refused(text, FAULT_INVALID_REQUEST, want);
}

/* --- good ones ------------------------------------------------------------ */

static void the_least_envelope_is_a_chat_with_defaults(void)
{
	REQUIRE(good("{\"request\":{\"model\":\"LLaMA3\"}}"));
	CHECK_STR(draft.job.endpoint, "/api/chat");
	CHECK_STR(draft.job.model, "LLaMA3");
	CHECK_STR(draft.job.load_key, "llama3:latest");
	CHECK_INT(draft.job.state, JOB_QUEUED);
	CHECK_INT(draft.job.event_seq, 1);
	CHECK_INT(draft.job.artifact_mode, ARTIFACT_AUTO);
	CHECK_INT(draft.job.timeout_ms, 0);
	CHECK_INT(draft.expires_in_ms, 0);
	CHECK(!draft.job.attended);
	CHECK(!draft.job.webhook_url);
	CHECK(!draft.job.metadata);
	draft_done(&draft);
}

static void the_request_is_kept_but_for_stream_false(void)
{
	REQUIRE(good("{ \"request\" : { \"model\":\"m\",  \"x\":[1.50, 1e999] } }"));
	CHECK_STR(draft.body,
	          "{\"stream\":false, \"model\":\"m\",  \"x\":[1.50, 1e999] }");
	CHECK_INT(draft.body_len, strlen(draft.body));
	draft_done(&draft);
	REQUIRE(good("{\"request\":{\"model\":\"m\",\"STREAM\":true}}"));
	CHECK_STR(draft.body, "{\"model\":\"m\",\"STREAM\":true}");
	draft_done(&draft);
}

static void every_member_is_read(void)
{
	REQUIRE(good(
	    "{\"request\":{\"model\":\"m\"},\"endpoint\":\"/api/generate\","
	    "\"webhook\":{\"url\":\"https://example.com/x\",\"secret\":\"" SECRET
	    "\",\"events\":[ \"done\" , \"failed\" ]},\"artifact\":\"fetch\","
	    "\"metadata\":{\"k\":\"v\"},\"expires_in\":\"2h\",\"timeout\":\"15m\"}"));
	CHECK_STR(draft.job.endpoint, "/api/generate");
	CHECK_STR(draft.job.webhook_url, "https://example.com/x");
	CHECK_STR(draft.job.webhook_secret, SECRET);
	CHECK_INT(draft.job.webhook_events, 1u << JOB_DONE | 1u << JOB_FAILED);
	CHECK_INT(draft.job.artifact_mode, ARTIFACT_FETCH);
	CHECK_STR(draft.job.metadata, "{\"k\":\"v\"}");
	CHECK_INT(draft.expires_in_ms, 7200000);
	CHECK_INT(draft.job.timeout_ms, 900000);
	draft_done(&draft);
}

static void null_is_as_good_as_absent(void)
{
	REQUIRE(
	    good("{\"request\":{\"model\":\"m\"},\"endpoint\":null,\"webhook\":null,"
	         "\"artifact\":null,\"metadata\":null,\"expires_in\":null,"
	         "\"timeout\":null}"));
	draft_done(&draft);
	invalid("{\"request\":null}", "request is required");
}

static void the_four_endpoints_are_taken_and_no_other(void)
{
	static const char *const paths[] = { "/api/chat", "/api/generate", "/api/embed",
		                                 "/v1/chat/completions" };
	char text[128];

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		snprintf(text, sizeof(text),
		         "{\"endpoint\":\"%s\",\"request\":{\"model\":\"m\"}}", paths[i]);
		REQUIRE(good(text));
		CHECK_STR(draft.job.endpoint, paths[i]);
		draft_done(&draft);
	}
	invalid("{\"endpoint\":\"/api/embeddings\",\"request\":{\"model\":\"m\"}}",
	        NULL);
	invalid("{\"endpoint\":\"/api/pull\",\"request\":{\"model\":\"m\"}}", NULL);
	invalid("{\"endpoint\":\"\",\"request\":{\"model\":\"m\"}}", NULL);
	invalid("{\"endpoint\":1,\"request\":{\"model\":\"m\"}}",
	        "endpoint must be a string");
}

/* --- the form ------------------------------------------------------------- */

static void what_is_no_json_object_is_refused(void)
{
	invalid("", "missing request body");
	invalid(" \n ", "missing request body");
	invalid("{", "invalid JSON: unexpected end at byte 1");
	invalid("null", "the body must be a JSON object");
	invalid("[]", "the body must be a JSON object");
	invalid("\"x\"", "the body must be a JSON object");
	invalid("1", "the body must be a JSON object");
	invalid("{\"request\":{\"model\":\"m\"}}x", NULL);
	invalid("{\"request\":{\"model\":\"m\"}}{}", NULL);
	invalid("{\"request\":{\"model\":\"m\"},}", NULL);
	invalid("\xef\xbb\xbf{\"request\":{\"model\":\"m\"}}", NULL);
	invalid("{\"request\":{\"model\":\"m\",\"prompt\":\"\xc0\xaf\"}}", NULL);
	invalid("{\"request\":{\"model\":\"m\",\"prompt\":\"a\nb\"}}", NULL);
}

static void nesting_is_bounded(void)
{
	char text[600];
	size_t at;

	for (size_t depth = LIMIT_JOB_DEPTH; depth <= LIMIT_JOB_DEPTH + 1; depth++) {
		at = (size_t)snprintf(text, sizeof(text),
		                      "{\"request\":{\"model\":\"m\",\"x\":");
		memset(text + at, '[', depth - 2);
		memset(text + at + depth - 2, ']', depth - 2);
		strcpy(text + at + 2 * (depth - 2), "}}");
		if (depth == LIMIT_JOB_DEPTH) {
			REQUIRE(good(text));
			draft_done(&draft);
		} else {
			invalid(text, NULL);
			CHECK(strstr(why.s, "deeper than 128") != NULL);
		}
	}
}

static void unknown_and_repeated_members_are_named(void)
{
	invalid("{\"request\":{\"model\":\"m\"},\"webook\":{}}",
	        "unknown field \"webook\"");
	invalid("{\"Request\":{\"model\":\"m\"}}", "unknown field \"Request\"");
	invalid("{\"request\":{\"model\":\"a\"},\"request\":{\"model\":\"b\"}}",
	        "duplicate field \"request\"");
	invalid("{\"request\":{\"model\":\"m\"},\"webhook\":{\"ulr\":\"x\"}}",
	        "unknown field \"webhook.ulr\"");
	invalid("{\"request\":{\"model\":\"m\"},\"webhook\":{\"events\":[\"done\"],"
	        "\"events\":[\"done\"]}}",
	        "duplicate field \"webhook.events\"");
}

static void an_unknown_member_is_shown_escaped_and_cut(void)
{
	char text[400];

	invalid("{\"a\xc3\xa9\":1}", "unknown field \"a\\xc3\\xa9\"");
	snprintf(text, sizeof(text), "{\"%0300d\":1}", 0);
	invalid(text, NULL);
	CHECK(strlen(why.s) < 100);
}

static void a_request_needs_a_model_with_a_good_name(void)
{
	invalid("{}", "request is required");
	invalid("{\"request\":[]}", "request must be an object");
	invalid("{\"request\":\"x\"}", "request must be an object");
	invalid("{\"request\":{}}", "request: model is required");
	invalid("{\"request\":{\"model\":\"\"}}", "request: model is required");
	invalid("{\"request\":{\"model\":null}}", "request: model is required");
	invalid("{\"request\":{\"model\":\"a b\"}}", "request: invalid model name");
	invalid("{\"request\":{\"model\":\"../x\"}}", "request: invalid model name");
	invalid("{\"request\":{\"model\":1}}", NULL);
	invalid("{\"request\":{\"model\":\"m\",\"stream\":\"yes\"}}", NULL);
}

static void durations_are_texts_above_zero(void)
{
	invalid("{\"request\":{\"model\":\"m\"},\"timeout\":900}", NULL);
	invalid("{\"request\":{\"model\":\"m\"},\"timeout\":\"0\"}", NULL);
	invalid("{\"request\":{\"model\":\"m\"},\"timeout\":\"0s\"}", NULL);
	invalid("{\"request\":{\"model\":\"m\"},\"timeout\":\"-1s\"}", NULL);
	invalid("{\"request\":{\"model\":\"m\"},\"timeout\":\"1.5h\"}", NULL);
	invalid("{\"request\":{\"model\":\"m\"},\"expires_in\":\"\"}",
	        "expires_in must be a duration like \"30s\", \"15m\" or \"2h\"");
}

static const char *lasting(const char *member, int64_t ms)
{
	static char text[128];

	snprintf(text, sizeof(text),
	         "{\"request\":{\"model\":\"m\"},\"%s\":\"%lldms\"}", member,
	         (long long)ms);
	return text;
}

static void durations_have_a_longest_one(void)
{
	static const char *const members[] = { "expires_in", "timeout" };

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		if (CHECK(good(lasting(members[i], LIMIT_JOB_SPAN_MS))))
			draft_done(&draft);
		invalid(lasting(members[i], LIMIT_JOB_SPAN_MS + 1), NULL);
	}
}

static void artifact_is_one_of_three_words(void)
{
	invalid("{\"request\":{\"model\":\"m\"},\"artifact\":\"Inline\"}", NULL);
	invalid("{\"request\":{\"model\":\"m\"},\"artifact\":true}",
	        "artifact must be auto, inline or fetch");
}

/* --- webhook -------------------------------------------------------------- */

#define WEBHOOK(inner) "{\"request\":{\"model\":\"m\"},\"webhook\":" inner "}"

static void a_webhook_that_must_not_be_reached_is_refused_at_once(void)
{
	static const char *const urls[] = {
		"http://127.0.0.1/",
		"http://[::1]/",
		"http://169.254.169.254/x",
		"http://127.0.0.1:11434/api/pull",
		"http://0/",
		"http://2130706433/",
		"file:///etc/passwd",
		"gopher://x/",
		"http:x",
		"//h",
		"x",
		"",
		" ",
		"http://a@b/",
		"http://a#b",
		"http://a:0/",
		"http://a:65536/",
		"http://a/\\\\b",
		"http://a/\\nb",
		"http://a/\\u0000",
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		snprintf(text, sizeof(text), WEBHOOK("{\"url\":\"%s\"}"), urls[i]);
		refused(text, FAULT_WEBHOOK_REFUSED, NULL);
	}
	refused(WEBHOOK("{\"url\":1}"), FAULT_WEBHOOK_REFUSED,
	        "webhook.url must be a string");
}

static void a_webhook_url_is_bounded(void)
{
	size_t size = LIMIT_WEBHOOK_URL + 200;
	char *text = malloc(size), *url = malloc(LIMIT_WEBHOOK_URL + 2);

	memset(url, 'x', LIMIT_WEBHOOK_URL + 1);
	memcpy(url, "http://example.com/", 19);
	url[LIMIT_WEBHOOK_URL + 1] = '\0';
	snprintf(text, size, WEBHOOK("{\"url\":\"%s\"}"), url);
	refused(text, FAULT_WEBHOOK_REFUSED, "webhook.url is longer than 2048 bytes");
	url[LIMIT_WEBHOOK_URL] = '\0';
	snprintf(text, size, WEBHOOK("{\"url\":\"%s\"}"), url);
	if (CHECK(good(text)))
		draft_done(&draft);
	free(url);
	free(text);
}

static void a_webhook_secret_has_its_form(void)
{
	invalid(WEBHOOK("{\"url\":\"http://e.com/\",\"secret\":\"x\"}"),
	        "webhook.secret must begin with \"whsec_\"");
	invalid(WEBHOOK("{\"url\":\"http://e.com/\",\"secret\":\"whsec_\"}"), NULL);
	invalid(WEBHOOK("{\"url\":\"http://e.com/\",\"secret\":"
	                "\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa!!\"}"),
	        NULL);
	invalid(WEBHOOK("{\"url\":\"http://e.com/\",\"secret\":1}"),
	        "webhook.secret must be a string");
	/* a text of ours must not give it away */
	CHECK(!strstr(why.s, "MfKQ"));
}

/* A job whose webhook has a secret of so many bytes. */
static const char *secret_of(size_t bytes)
{
	static const unsigned char key[LIMIT_WEBHOOK_SECRET_MAX + 1];
	static char text[512];
	char secret[128];

	str_base64(key, bytes, secret);
	snprintf(text, sizeof(text),
	         WEBHOOK("{\"url\":\"http://e.com/\",\"secret\":\"whsec_%s\"}"),
	         secret);
	return text;
}

static void a_webhook_secret_is_neither_too_short_nor_too_long(void)
{
	static const char want[] = "webhook.secret must be whsec_ and the base64 of 24 "
	                           "to 64 bytes";

	if (CHECK(good(secret_of(LIMIT_WEBHOOK_SECRET_MIN))))
		draft_done(&draft);
	invalid(secret_of(LIMIT_WEBHOOK_SECRET_MIN - 1), want);
	if (CHECK(good(secret_of(LIMIT_WEBHOOK_SECRET_MAX))))
		draft_done(&draft);
	invalid(secret_of(LIMIT_WEBHOOK_SECRET_MAX + 1), want);
}

static void webhook_events_are_a_set_of_states(void)
{
	static const char *const bad[] = {
		"[]",
		"\"done\"",
		"{}",
		"[\"Done\"]",
		"[\"done\",\"done\"]",
		"[1]",
		"[\"done\",1]",
		"[[\"done\"]]",
		"[\"job.done\"]",
		"[\"\"]",
		"[\"done,failed\"]",
	};
	char text[200];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(text, sizeof(text),
		         WEBHOOK("{\"url\":\"http://e.com/\",\"events\":%s}"), bad[i]);
		invalid(text, NULL);
	}
	REQUIRE(good(WEBHOOK("{\"url\":\"http://e.com/\"}")));
	CHECK_INT(draft.job.webhook_events, JOB_EVENTS_ALL);
	draft_done(&draft);
}

static void a_webhook_without_url_goes_to_the_default_or_nowhere(void)
{
	invalid(WEBHOOK("{\"events\":[\"done\"]}"), "webhook.url is required");
	invalid(WEBHOOK("{}"), "webhook.url is required");
	invalid(WEBHOOK("[]"), "webhook must be an object");
	REQUIRE(!read_with(span_of(WEBHOOK("{\"events\":[\"done\"]}")),
	                   "http://default.example/"));
	CHECK_STR(draft.job.webhook_url, "http://default.example/");
	CHECK_INT(draft.job.webhook_events, 1u << JOB_DONE);
	draft_done(&draft);
	REQUIRE(!read_with(span_of("{\"request\":{\"model\":\"m\"}}"),
	                   "http://default.example/"));
	CHECK_STR(draft.job.webhook_url, "http://default.example/");
	draft_done(&draft);
}

/* --- metadata ------------------------------------------------------------- */

/* {"request":…,"metadata":{"k0":"v",…}} with `count` keys. */
static bool metadata_ok(int count, int key_len, int value_len)
{
	struct buf b;
	bool ok;

	buf_init(&b, 1 << 20);
	if (buf_add_str(&b, "{\"request\":{\"model\":\"m\"},\"metadata\":{"))
		abort();
	for (int i = 0; i < count; i++)
		if (buf_addf(&b, "%s\"%0*d\":\"%0*d\"", i ? "," : "", key_len, i, value_len,
		             1))
			abort();
	if (buf_add_str(&b, "}}"))
		abort();
	ok = !read_with((struct span){ b.p, b.len }, NULL);
	if (ok)
		draft_done(&draft);
	else
		CHECK_INT(fault, FAULT_INVALID_REQUEST);
	buf_done(&b);
	return ok;
}

static void metadata_is_bounded_in_keys_and_lengths(void)
{
	CHECK(metadata_ok(0, 1, 1));
	CHECK(
	    metadata_ok(LIMIT_METADATA_KEYS, LIMIT_METADATA_KEY, LIMIT_METADATA_VALUE));
	CHECK(!metadata_ok(LIMIT_METADATA_KEYS + 1, 2, 1));
	CHECK(!metadata_ok(1, LIMIT_METADATA_KEY + 1, 1));
	CHECK(!metadata_ok(1, 1, LIMIT_METADATA_VALUE + 1));
}

static void metadata_holds_strings_under_different_keys(void)
{
	invalid("{\"request\":{\"model\":\"m\"},\"metadata\":[]}",
	        "metadata must be an object");
	invalid("{\"request\":{\"model\":\"m\"},\"metadata\":{\"a\":1}}",
	        "metadata must hold strings only");
	invalid("{\"request\":{\"model\":\"m\"},\"metadata\":{\"a\":\"1\",\"\\u0061\":"
	        "\"2\"}}",
	        "metadata names a key twice");
	invalid("{\"request\":{\"model\":\"m\"},\"metadata\":{\"\":\"1\"}}", NULL);
}

/* --- the draft as a submission --------------------------------------------- */

static void a_draft_enters_with_id_times_and_what_it_owes(void)
{
	static const char id[] = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
	const struct job_view view = { .now_ms = INT64_C(1800000000000) };
	struct submission sub;

	REQUIRE(good("{\"request\":{\"model\":\"m\",\"stream\":true},"
	             "\"expires_in\":\"2h\",\"webhook\":{\"url\":\"http://e.com/\"}}"));
	REQUIRE(draft_enter(&draft, id, &view, &sub) == ERR_OK);
	CHECK(sub.job == &draft.job);
	CHECK_STR(sub.job->id, id);
	CHECK_INT(sub.job->created_ms, view.now_ms);
	CHECK_INT(sub.job->queued_ms, view.now_ms);
	CHECK_INT(sub.job->expires_ms, view.now_ms + 7200000);
	CHECK_INT(sub.job->webhook_pending, 1);
	CHECK(strstr(sub.event_json, "\"job.queued\"") && strstr(sub.event_json, id));
	CHECK_INT(sub.body.len, strlen("{\"model\":\"m\",\"stream\":true}"));
	CHECK(!sub.key);
	draft_done(&draft);
	REQUIRE(good("{\"request\":{\"model\":\"m\"},\"webhook\":{"
	             "\"url\":\"http://e.com/\",\"events\":[\"done\"]}}"));
	REQUIRE(draft_enter(&draft, id, &view, &sub) == ERR_OK);
	CHECK(!sub.event_json); /* nobody wants to hear of `queued` */
	CHECK_INT(sub.job->webhook_pending, 0);
	CHECK_INT(sub.job->expires_ms, 0);
	draft_done(&draft);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(the_least_envelope_is_a_chat_with_defaults),
		T(the_request_is_kept_but_for_stream_false),
		T(every_member_is_read),
		T(null_is_as_good_as_absent),
		T(the_four_endpoints_are_taken_and_no_other),
		T(what_is_no_json_object_is_refused),
		T(nesting_is_bounded),
		T(unknown_and_repeated_members_are_named),
		T(an_unknown_member_is_shown_escaped_and_cut),
		T(a_request_needs_a_model_with_a_good_name),
		T(durations_are_texts_above_zero),
		T(durations_have_a_longest_one),
		T(artifact_is_one_of_three_words),
		T(a_webhook_that_must_not_be_reached_is_refused_at_once),
		T(a_webhook_url_is_bounded),
		T(a_webhook_secret_has_its_form),
		T(a_webhook_secret_is_neither_too_short_nor_too_long),
		T(webhook_events_are_a_set_of_states),
		T(a_webhook_without_url_goes_to_the_default_or_nowhere),
		T(metadata_is_bounded_in_keys_and_lengths),
		T(metadata_holds_strings_under_different_keys),
		T(a_draft_enters_with_id_times_and_what_it_owes),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
