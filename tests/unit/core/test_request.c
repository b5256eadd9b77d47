/* What foreman reads of a request, and that it reads it as Go would. */
#include <config.h>

#include "core/request.h"

#include <stdlib.h>

#include "base/attr.h"
#include "t.h"

/* Read a heap copy of exactly the body, so that a sanitizer sees its end. */
static enum err read_len(enum endpoint e, const char *body, size_t len,
                         struct request *r, struct errtext *why)
{
	char *copy = malloc(len ? len : 1);
	enum err err;

	memcpy(copy, body, len);
	err = request_read(e, (struct span){ copy, len }, r, why);
	free(copy);
	return err;
}

static enum err read_as(enum endpoint e, const char *body, struct request *r)
{
	return read_len(e, body, strlen(body), r, NULL);
}

static void every_endpoint_has_one_path(void)
{
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		enum endpoint e = ENDPOINT_COUNT;
		const char *path = endpoint_path((enum endpoint)i);

		CHECK_INT(endpoint_parse(span_of(path), &e), ERR_OK);
		CHECK_INT(e, i);
	}
	CHECK_STR(endpoint_path(ENDPOINT_COUNT), NULL);
	CHECK_STR(endpoint_path(ENDPOINT_V1_CHAT), "/v1/chat/completions");
}

static void other_paths_are_no_endpoints(void)
{
	static const char *const bad[] = { "",           "/",          "/api/chat/",
		                               "/API/chat",  "//api/chat", "/api/chat?x=1",
		                               "/api/chat ", "/api/cha",   "/api/tags" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		enum endpoint e = ENDPOINT_EMBED;

		CHECK_INT(endpoint_parse(span_of(bad[i]), &e), ERR_NOENT);
		CHECK_INT(e, ENDPOINT_EMBED);
	}
}

static void under_v1_only_the_model_shapes_a_load(void)
{
	static const enum endpoint endpoints[] = {
		ENDPOINT_V1_CHAT, ENDPOINT_V1_COMPLETIONS, ENDPOINT_V1_RESPONSES,
		ENDPOINT_V1_MESSAGES, ENDPOINT_V1_EMBEDDINGS,
	};

	for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
		struct request r;

		REQUIRE(read_as(endpoints[i],
		                "{\"model\":\"M\",\"options\":{\"num_ctx\":8192},"
		                "\"shift\":false}",
		                &r) == ERR_OK);
		CHECK_STR(r.load_key, "m:latest");
		request_done(&r);
	}
}

static void a_plain_chat_is_read(void)
{
	struct request r;

	REQUIRE(
	    read_as(
	        ENDPOINT_CHAT,
	        "{\"model\":\"Qwen3:8b\",\"messages\":[{\"role\":\"user\",\"content\":"
	        "\"hi\"}],\"stream\":false,\"options\":{\"num_ctx\":8192},"
	        "\"shift\":false}",
	        &r) == ERR_OK);
	CHECK_STR(r.model_raw, "Qwen3:8b");
	CHECK(r.named);
	CHECK_STR(r.model.key, "qwen3:8b");
	CHECK_STR(r.load_key, "qwen3:8b num_ctx=8192 shift=false");
	CHECK_INT(r.stream, STREAM_FALSE);
	CHECK(r.has_work);
	CHECK(!r.unload);
	request_done(&r);
	CHECK_STR(r.model_raw, NULL);
}

/* --- the model ----------------------------------------------------------- */

static const struct {
	const char *body;
	const char *raw; /* NULL: absent */
	const char *key; /* NULL: not named */
} models[] = {
	{ "{}", NULL, NULL },
	{ "{\"model\":null}", NULL, NULL },
	{ "{\"model\":\"\"}", "", NULL },
	{ "{\"model\":\"llama 3\"}", "llama 3", NULL },
	{ "{\"model\":\"a\"}", "a", "a:latest" },
	{ "  {\"model\" : \" A \" }  ", " A ", "a:latest" },
	{ "{\"model\":\"\\u0061\\/b\"}", "a/b", "a/b:latest" },
	{ "{\"model\":\"a\\u0000b\"}", "a", NULL },
	/* the last one wins, null leaves what was there */
	{ "{\"model\":\"a\",\"model\":\"b\"}", "b", "b:latest" },
	{ "{\"model\":\"a\",\"Model\":\"b\"}", "b", "b:latest" },
	{ "{\"MODEL\":\"b\",\"model\":\"a\"}", "a", "a:latest" },
	{ "{\"model\":\"a\",\"model\":null}", "a", "a:latest" },
	{ "{\"model\":\"a\",\"model\":\"x y\"}", "x y", NULL },
	/* keys as Go folds them */
	{ "{\"mOdEl\":\"a\"}", "a", "a:latest" },
	{ "{\"\\u006dod\\u0065l\":\"a\"}", "a", "a:latest" },
	{ "{\"\\u004dODEL\":\"a\"}", "a", "a:latest" },
	{ "{\"model \":\"a\"}", NULL, NULL },
	{ "{\"model\\u0000\":\"a\"}", NULL, NULL },
	{ "{\"xmodel\":\"a\",\"mode\":\"b\",\"\":\"c\"}", NULL, NULL },
	/* only at the top */
	{ "{\"options\":{\"model\":\"a\"},\"messages\":[{\"model\":\"b\"}]}", NULL,
	  NULL },
	/* what follows the value is not there */
	{ "{\"model\":\"a\"}garbage {\"model\":\"b\"}", "a", "a:latest" },
	/* not UTF-8, in places where Go does not mind */
	{ "{\"model\":\"a\",\"\xff\":\"\xc0\xaf\"}", "a", "a:latest" },
};

static void the_model_is_found_as_go_would(void)
{
	for (size_t i = 0; i < ARRAY_LEN(models); i++) {
		struct request r = { 0 };

		CHECK_INT(read_as(ENDPOINT_CHAT, models[i].body, &r), ERR_OK);
		CHECK_STR(r.model_raw, models[i].raw);
		CHECK_INT(r.named, models[i].key != NULL);
		if (models[i].key)
			CHECK_STR(r.load_key, models[i].key);
		request_done(&r);
		if (t_failed) {
			printf("#   for %s\n", models[i].body);
			return;
		}
	}
}

static void keys_fold_the_two_letters_outside_ascii(void)
{
	struct request r;

	/* long s in messages, stream, shift; the Kelvin sign in keep_alive */
	REQUIRE(
	    read_as(ENDPOINT_CHAT,
	            "{\"model\":\"m\",\"\xc5\xbftream\":false,\"\\u017fhift\":false,"
	            "\"me\xc5\xbf\xc5\xbf"
	            "age\\u017f\":[1]}",
	            &r) == ERR_OK);
	CHECK_INT(r.stream, STREAM_FALSE);
	CHECK(r.has_work);
	CHECK_STR(r.load_key, "m:latest shift=false");
	request_done(&r);
	REQUIRE(read_as(ENDPOINT_CHAT,
	                "{\"model\":\"m\",\"\xe2\x84\xaa"
	                "eep_alive\":0}",
	                &r) == ERR_OK);
	CHECK(r.unload);
	request_done(&r);
	REQUIRE(read_as(ENDPOINT_CHAT,
	                "{\"\\u212A\\u0045\\u0045\\u0050\\u005f\\u0041"
	                "\\u004c\\u0049\\u0056\\u0045\":0}",
	                &r) == ERR_OK);
	CHECK(r.unload);
	request_done(&r);
}

static void long_keys_of_strange_bytes_do_no_harm(void)
{
	char body[512];
	struct request r;

	for (int len = 60; len <= 70; len++) {
		char key[80];

		memset(key, 0xff, sizeof(key));
		snprintf(body, sizeof(body), "{\"%.*s\":1,\"model\":\"m\"}", len, key);
		CHECK_INT(read_as(ENDPOINT_CHAT, body, &r), ERR_OK);
		CHECK(r.named);
		request_done(&r);
	}
}

/* --- stream -------------------------------------------------------------- */

static const struct {
	enum endpoint endpoint;
	const char *body;
	enum request_stream stream;
	bool streams;
} streams[] = {
	{ ENDPOINT_CHAT, "{}", STREAM_ABSENT, true },
	{ ENDPOINT_CHAT, "{\"stream\":true}", STREAM_TRUE, true },
	{ ENDPOINT_CHAT, "{\"stream\":false}", STREAM_FALSE, false },
	{ ENDPOINT_CHAT, "{\"stream\":null}", STREAM_TRUE, true },
	{ ENDPOINT_CHAT, "{\"stream\":false,\"stream\":null}", STREAM_TRUE, true },
	{ ENDPOINT_CHAT, "{\"stream\":true,\"STREAM\":false}", STREAM_FALSE, false },
	{ ENDPOINT_GENERATE, "{}", STREAM_ABSENT, true },
	{ ENDPOINT_GENERATE, "{\"stream\":false}", STREAM_FALSE, false },
	{ ENDPOINT_V1_CHAT, "{}", STREAM_ABSENT, false },
	{ ENDPOINT_V1_CHAT, "{\"stream\":true}", STREAM_TRUE, true },
	{ ENDPOINT_V1_CHAT, "{\"stream\":null}", STREAM_FALSE, false },
	{ ENDPOINT_V1_CHAT, "{\"stream\":true,\"stream\":null}", STREAM_TRUE, true },
	{ ENDPOINT_V1_COMPLETIONS, "{}", STREAM_ABSENT, false },
	{ ENDPOINT_V1_COMPLETIONS, "{\"stream\":true}", STREAM_TRUE, true },
	{ ENDPOINT_V1_RESPONSES, "{\"stream\":true}", STREAM_TRUE, true },
	{ ENDPOINT_V1_RESPONSES, "{\"stream\":null}", STREAM_FALSE, false },
	{ ENDPOINT_V1_MESSAGES, "{\"stream\":true}", STREAM_TRUE, true },
	{ ENDPOINT_V1_MESSAGES, "{\"stream\":false}", STREAM_FALSE, false },
	{ ENDPOINT_V1_EMBEDDINGS, "{\"stream\":true}", STREAM_FALSE, false },
	{ ENDPOINT_EMBED, "{}", STREAM_ABSENT, false },
	{ ENDPOINT_EMBED, "{\"stream\":true}", STREAM_FALSE, false },
	{ ENDPOINT_EMBEDDINGS, "{\"stream\":\"no\"}", STREAM_FALSE, false },
};

static void stream_means_what_the_endpoint_makes_of_it(void)
{
	for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
		struct request r = { 0 };

		CHECK_INT(read_as(streams[i].endpoint, streams[i].body, &r), ERR_OK);
		CHECK_INT(r.stream, streams[i].stream);
		CHECK_INT(request_streams(streams[i].endpoint, &r), streams[i].streams);
		request_done(&r);
		if (t_failed) {
			printf("#   for %s %s\n", endpoint_path(streams[i].endpoint),
			       streams[i].body);
			return;
		}
	}
}

static void is_sent(const char *body, const char *want)
{
	struct request r;
	size_t len = 0;
	char *sent;

	REQUIRE(read_as(ENDPOINT_CHAT, body, &r) == ERR_OK);
	sent = request_with_stream(span_of(body), &r, &len);
	CHECK_STR(sent, want);
	CHECK_INT(len, strlen(want));
	free(sent);
	request_done(&r);
}

static void a_job_without_stream_gets_stream_false_in_front(void)
{
	is_sent("{\"model\":\"m\"}", "{\"stream\":false,\"model\":\"m\"}");
	is_sent(" {\n \"a\": 1 }\n", " {\"stream\":false,\n \"a\": 1 }\n");
	is_sent("{}", "{\"stream\":false}");
	is_sent("{ \t\r\n}", "{\"stream\":false \t\r\n}");
	is_sent("{\"a\":\"{\"}", "{\"stream\":false,\"a\":\"{\"}");
}

static void a_job_with_stream_is_sent_as_it_is(void)
{
	is_sent("{\"model\":\"m\",\"stream\":true}",
	        "{\"model\":\"m\",\"stream\":true}");
	is_sent("{\"stream\" : false }", "{\"stream\" : false }");
	is_sent("{\"stream\":null}", "{\"stream\":null}");
	is_sent("{\"\\u0053tream\":true}", "{\"\\u0053tream\":true}");
}

/* --- work and unload ----------------------------------------------------- */

static const struct {
	enum endpoint endpoint;
	const char *body;
	bool has_work, unload;
} works[] = {
	{ ENDPOINT_CHAT, "{}", false, false },
	{ ENDPOINT_CHAT, "{\"messages\":null}", false, false },
	{ ENDPOINT_CHAT, "{\"messages\":[]}", false, false },
	{ ENDPOINT_CHAT, "{\"messages\":[ ]}", false, false },
	{ ENDPOINT_CHAT, "{\"messages\":[{}]}", true, false },
	{ ENDPOINT_CHAT, "{\"messages\":[{}],\"messages\":[]}", false, false },
	{ ENDPOINT_CHAT, "{\"messages\":[{}],\"messages\":null}", false, false },
	{ ENDPOINT_CHAT, "{\"prompt\":\"hi\",\"input\":\"hi\"}", false, false },
	{ ENDPOINT_CHAT, "{\"keep_alive\":0}", false, true },
	{ ENDPOINT_CHAT, "{\"keep_alive\":0,\"messages\":[{}]}", true, false },
	{ ENDPOINT_CHAT, "{\"keep_alive\":0,\"keep_alive\":5}", false, false },
	{ ENDPOINT_CHAT, "{\"keep_alive\":0,\"keep_alive\":null}", false, false },
	{ ENDPOINT_CHAT, "{\"keep_alive\":5,\"Keep_Alive\":\"0\"}", false, true },
	{ ENDPOINT_GENERATE, "{\"prompt\":\"hi\"}", true, false },
	{ ENDPOINT_GENERATE, "{\"prompt\":\"\"}", false, false },
	{ ENDPOINT_GENERATE, "{\"prompt\":\"\",\"images\":[\"x\"],\"system\":\"y\"}",
	  false, false },
	{ ENDPOINT_GENERATE, "{\"prompt\":\"hi\",\"prompt\":null}", true, false },
	{ ENDPOINT_GENERATE, "{\"prompt\":\"hi\",\"prompt\":\"\"}", false, false },
	{ ENDPOINT_GENERATE, "{\"prompt\":\"\",\"keep_alive\":0}", false, true },
	{ ENDPOINT_GENERATE, "{\"messages\":5,\"keep_alive\":0}", false, true },
	{ ENDPOINT_EMBED, "{\"input\":\"hi\"}", true, false },
	{ ENDPOINT_EMBED, "{\"input\":[\"hi\"]}", true, false },
	{ ENDPOINT_EMBED, "{\"input\":[]}", false, false },
	{ ENDPOINT_EMBED, "{\"input\":\"\"}", false, false },
	{ ENDPOINT_EMBED, "{\"input\":\"hi\",\"input\":null}", false, false },
	/* with nothing to embed this loads and then unloads: it needs a slot */
	{ ENDPOINT_EMBED, "{\"input\":[],\"keep_alive\":0}", false, false },
	{ ENDPOINT_EMBEDDINGS, "{\"prompt\":\"hi\"}", true, false },
	{ ENDPOINT_EMBEDDINGS, "{\"prompt\":\"\",\"keep_alive\":0}", false, false },
	{ ENDPOINT_V1_CHAT, "{\"messages\":[{}]}", true, false },
	/* /v1 does not know keep_alive, so even a wrong one is nothing */
	{ ENDPOINT_V1_CHAT, "{\"keep_alive\":0}", false, false },
	{ ENDPOINT_V1_CHAT, "{\"keep_alive\":true,\"options\":7,\"shift\":8}", false,
	  false },
	/* what else stands there under /v1 is not looked at at all */
	{ ENDPOINT_V1_COMPLETIONS, "{\"prompt\":[1],\"keep_alive\":0}", false, false },
	{ ENDPOINT_V1_RESPONSES, "{\"input\":7,\"keep_alive\":0}", false, false },
	{ ENDPOINT_V1_MESSAGES, "{\"messages\":\"x\",\"keep_alive\":0}", false, false },
	{ ENDPOINT_V1_EMBEDDINGS, "{\"input\":[[1]],\"keep_alive\":0}", false, false },
};

static void work_and_unload_are_told_by_endpoint(void)
{
	for (size_t i = 0; i < ARRAY_LEN(works); i++) {
		struct request r = { 0 };

		CHECK_INT(read_as(works[i].endpoint, works[i].body, &r), ERR_OK);
		CHECK_INT(r.has_work, works[i].has_work);
		CHECK_INT(r.unload, works[i].unload);
		request_done(&r);
		if (t_failed) {
			printf("#   for %s %s\n", endpoint_path(works[i].endpoint),
			       works[i].body);
			return;
		}
	}
}

static const struct {
	const char *value;
	int zero; /* 1 zero, 0 not, -1 refused */
} keep_alives[] = {
	{ "0", 1 },
	{ "0.0", 1 },
	{ "-0", 1 },
	{ "0e9", 1 },
	{ "1e-10", 1 },
	{ "1e-9", 0 },
	{ "-1e-10", 0 },
	{ "-1", 0 },
	{ "5", 0 },
	{ "0.5", 0 },
	{ "42.5", 0 },
	{ "1e99", 0 },
	{ "null", 0 },
	{ "\"0\"", 1 },
	{ "\"-0\"", 1 },
	{ "\"+0\"", 1 },
	{ "\"0s\"", 1 },
	{ "\"-0s\"", 1 },
	{ "\"0h0m0.0s\"", 1 },
	{ "\"0.s\"", 1 },
	{ "\".0s\"", 1 },
	{ "\"0.4ns\"", 1 },
	{ "\"\\u0030\"", 1 },
	{ "\"0\xc2\xb5s\"", 1 },
	{ "\"0\xce\xbcs\"", 1 },
	{ "\"5m\"", 0 },
	{ "\"1h30m\"", 0 },
	{ "\"500ms\"", 0 },
	{ "\"-1s\"", 0 },
	{ "\"1.5h\"", 0 },
	{ "\"1us\"", 0 },
	{ "\"0.001us\"", 0 },
	{ "\"0s1ns\"", 0 },
	{ "\"9223372036s\"", 0 },
	{ "\"300\"", -1 },
	{ "\"\"", -1 },
	{ "\"abc\"", -1 },
	{ "\"5\xc2\xb5\"", -1 },
	{ "\"5 m\"", -1 },
	{ "\" 0\"", -1 },
	{ "\"s\"", -1 },
	{ "\".s\"", -1 },
	{ "\"-\"", -1 },
	{ "\"1d\"", -1 },
	{ "\"00\"", -1 },
	{ "\"0s0\"", -1 },
	{ "\"--0s\"", -1 },
	{ "\"0S\"", -1 },
	{ "\"0s\\u0000\"", -1 },
	{ "\"9223372037s\"", -1 },
	{ "\"99999999999999999999h\"", -1 },
	{ "\"9000000000s9000000000s\"", -1 },
	{ "true", -1 },
	{ "false", -1 },
	{ "{}", -1 },
	{ "[]", -1 },
	{ "1e999", -1 },
};

static void keep_alive_is_zero_as_go_counts_it(void)
{
	for (size_t i = 0; i < ARRAY_LEN(keep_alives); i++) {
		struct request r = { 0 };
		char body[128];
		enum err e;

		snprintf(body, sizeof(body), "{\"keep_alive\":%s}", keep_alives[i].value);
		e = read_as(ENDPOINT_GENERATE, body, &r);
		CHECK_INT(e, keep_alives[i].zero < 0 ? ERR_INVAL : ERR_OK);
		CHECK_INT(r.unload, keep_alives[i].zero == 1);
		request_done(&r);
		if (t_failed) {
			printf("#   for %s\n", body);
			return;
		}
	}
}

/* --- what is not read ---------------------------------------------------- */

static void what_the_target_would_refuse_is_refused(void)
{
	static const struct {
		enum endpoint endpoint;
		const char *body;
	} bad[] = {
		{ ENDPOINT_CHAT, "{\"model\":1}" },
		{ ENDPOINT_CHAT, "{\"model\":[]}" },
		{ ENDPOINT_CHAT, "{\"model\":\"a\",\"model\":true}" },
		{ ENDPOINT_CHAT, "{\"model\":\"m\",\"stream\":\"no\"}" },
		{ ENDPOINT_CHAT, "{\"model\":\"m\",\"stream\":1}" },
		{ ENDPOINT_V1_CHAT, "{\"model\":\"m\",\"stream\":1}" },
		{ ENDPOINT_V1_COMPLETIONS, "{\"model\":\"m\",\"stream\":1}" },
		{ ENDPOINT_V1_RESPONSES, "{\"model\":7}" },
		{ ENDPOINT_V1_MESSAGES, "{\"model\":\"m\",\"stream\":\"yes\"}" },
		{ ENDPOINT_V1_EMBEDDINGS, "{\"model\":[]}" },
		{ ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":\"x\"}" },
		{ ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":{}}" },
		{ ENDPOINT_GENERATE, "{\"model\":\"m\",\"prompt\":[]}" },
		{ ENDPOINT_EMBED, "{\"model\":\"m\",\"input\":5}" },
		{ ENDPOINT_EMBED, "{\"model\":\"m\",\"input\":{}}" },
		{ ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"prompt\":[\"x\"]}" },
		{ ENDPOINT_CHAT, "{\"model\":\"m\",\"options\":[]}" },
		{ ENDPOINT_CHAT, "{\"model\":\"m\",\"options\":\"x\"}" },
		{ ENDPOINT_CHAT, "{\"model\":\"m\",\"options\":{\"num_ctx\":\"x\"}}" },
		{ ENDPOINT_CHAT, "{\"model\":\"m\",\"shift\":0}" },
		{ ENDPOINT_CHAT, "[]" },
		{ ENDPOINT_CHAT, "null" },
		{ ENDPOINT_CHAT, "\"x\"" },
		{ ENDPOINT_CHAT, "1" },
		{ ENDPOINT_CHAT, "{" },
		{ ENDPOINT_CHAT, "{\"a\":" },
		{ ENDPOINT_CHAT, "{\"a\":\"abc" },
		{ ENDPOINT_CHAT, "hello" },
		{ ENDPOINT_CHAT, "{\"model\":\"m\",}" },
		{ ENDPOINT_CHAT, "{\"model\":'m'}" },
		{ ENDPOINT_CHAT, "{\"model\":\"m\",\"n\":01}" },
		{ ENDPOINT_CHAT, "{\"model\":\"m\",\"n\":NaN}" },
		{ ENDPOINT_CHAT, "{\"model\":\"a\nb\"}" },
		{ ENDPOINT_CHAT, "\xef\xbb\xbf{\"model\":\"m\"}" },
		{ ENDPOINT_CHAT, "\x1f\x8b\x08" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct request r = { .stream = STREAM_FALSE };
		struct errtext why = { "" };

		CHECK_INT(
		    read_len(bad[i].endpoint, bad[i].body, strlen(bad[i].body), &r, &why),
		    ERR_INVAL);
		CHECK(why.s[0] != '\0');
		CHECK(r.model_raw == NULL && r.stream == STREAM_FALSE);
		if (t_failed) {
			printf("#   for %s\n", bad[i].body);
			return;
		}
	}
}

static void members_of_other_endpoints_are_nobodys_business(void)
{
	struct request r;

	CHECK_INT(read_as(ENDPOINT_CHAT,
	                  "{\"prompt\":5,\"input\":{},\"format\":7,"
	                  "\"think\":\"?\",\"tools\":0}",
	                  &r),
	          ERR_OK);
	request_done(&r);
	CHECK_INT(
	    read_as(ENDPOINT_EMBED, "{\"messages\":5,\"prompt\":[],\"shift\":9}", &r),
	    ERR_OK);
	request_done(&r);
}

static void a_refusal_names_the_member(void)
{
	struct errtext why;
	struct request r;

	CHECK_INT(request_read(ENDPOINT_CHAT, SPAN_LIT("{\"STREAM\":3}"), &r, &why),
	          ERR_INVAL);
	CHECK_STR(why.s, "stream is of the wrong type or form");
	CHECK_INT(request_read(ENDPOINT_CHAT, SPAN_LIT("[1]"), &r, &why), ERR_INVAL);
	CHECK_STR(why.s, "body must be a JSON object");
}

static void an_empty_body_is_its_own_answer(void)
{
	struct errtext why;
	struct request r;

	CHECK_INT(read_as(ENDPOINT_CHAT, "", &r), ERR_NOENT);
	CHECK_INT(request_read(ENDPOINT_CHAT, SPAN_LIT(" \r\n\t"), &r, &why),
	          ERR_NOENT);
	CHECK_STR(why.s, "missing request body");
	CHECK_INT(request_read(ENDPOINT_CHAT, (struct span){ NULL, 0 }, &r, NULL),
	          ERR_NOENT);
}

static void nesting_is_bounded_where_go_bounds_it(void)
{
	enum { DEEPEST = 10000 };
	static char body[2 * DEEPEST + 16];
	struct request r;

	/* the object is one level, the arrays in it are the others */
	for (int deep = DEEPEST - 1; deep <= DEEPEST; deep++) {
		size_t at = (size_t)snprintf(body, sizeof(body), "{\"a\":");

		memset(body + at, '[', (size_t)deep);
		memset(body + at + deep, ']', (size_t)deep);
		snprintf(body + at + 2 * deep, 2, "}");
		CHECK_INT(read_as(ENDPOINT_CHAT, body, &r),
		          deep < DEEPEST ? ERR_OK : ERR_INVAL);
		if (deep < DEEPEST)
			request_done(&r);
	}
}

static void every_beginning_of_a_body_is_survived(void)
{
	static const char body[] =
	    "{\"model\":\"a\\u00e4\",\"keep_alive\":\"1h\",\"options\":{\"num_ctx\":"
	    "1e3},"
	    "\"messages\":[{\"content\":\"\\ud83d\\ude00\"}],\"stream\":true}";

	for (size_t len = 0; len + 1 < sizeof(body) - 1; len++) {
		struct request r;

		CHECK_INT(read_len(ENDPOINT_CHAT, body, len, &r, NULL),
		          len ? ERR_INVAL : ERR_NOENT);
	}
}

int main(void)
{
	static const struct t_case cases[] = {
		T(every_endpoint_has_one_path),
		T(other_paths_are_no_endpoints),
		T(under_v1_only_the_model_shapes_a_load),
		T(a_plain_chat_is_read),
		T(the_model_is_found_as_go_would),
		T(keys_fold_the_two_letters_outside_ascii),
		T(long_keys_of_strange_bytes_do_no_harm),
		T(stream_means_what_the_endpoint_makes_of_it),
		T(a_job_without_stream_gets_stream_false_in_front),
		T(a_job_with_stream_is_sent_as_it_is),
		T(work_and_unload_are_told_by_endpoint),
		T(keep_alive_is_zero_as_go_counts_it),
		T(what_the_target_would_refuse_is_refused),
		T(members_of_other_endpoints_are_nobodys_business),
		T(a_refusal_names_the_member),
		T(an_empty_body_is_its_own_answer),
		T(nesting_is_bounded_where_go_bounds_it),
		T(every_beginning_of_a_body_is_survived),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
