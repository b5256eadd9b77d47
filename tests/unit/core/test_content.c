/*
 * test_content.c - the assistant's text, whatever the answer's form, and
 * whatever is wrong with it.
 */
#include <config.h>

#include "core/content.h"

#include <stdlib.h>

#include "t.h"

#define LINES "application/x-ndjson"
#define WHOLE "application/json; charset=utf-8"
#define EVENTS "text/event-stream"

/* The text of `body` for this endpoint, read `step` bytes at a time. */
static const char *text_by(const char *endpoint, const char *type, const char *body,
                           size_t step, size_t max)
{
	static char text[512];
	size_t len = strlen(body);
	struct content c;
	struct span got;

	content_init(&c, endpoint, type, max);
	for (size_t n = step; n < len; n += step)
		content_more(&c, (struct span){ body, n });
	content_end(&c, (struct span){ body, len });
	got = content_text(&c);
	snprintf(text, sizeof(text), "%.*s", (int)got.len, got.p ? got.p : "(absent)");
	if (!got.p)
		snprintf(text, sizeof(text), "(absent)");
	content_done(&c);
	return text;
}

static const char *text_of(const char *endpoint, const char *type, const char *body)
{
	return text_by(endpoint, type, body, 1000, 1000);
}

static void lines_of_a_chat_are_put_together(void)
{
	CHECK_STR(text_of("/api/chat", LINES,
	                  "{\"message\":{\"role\":\"assistant\",\"content\":\"He\"}}\n"
	                  "{\"message\":{\"content\":\"llo\"},\"done\":false}\n"
	                  "{\"message\":{\"content\":\"\"},\"done\":true}\n"),
	          "Hello");
}

static void it_does_not_matter_how_the_bytes_come(void)
{
	const char *body = "{\"message\":{\"content\":\"a\\u00e9\"}}\r\n\n"
	                   "{\"message\":{\"content\":\"\\n\\\"b\"}}";

	for (size_t step = 1; step <= strlen(body); step++)
		CHECK_STR(text_by("/api/chat", LINES, body, step, 100), "a\u00e9\n\"b");
}

static void generate_says_it_in_response(void)
{
	CHECK_STR(text_of("/api/generate", LINES,
	                  "{\"response\":\"x\",\"thinking\":\"no\"}\n"
	                  "{\"response\":\"y\",\"context\":[1,2],\"done\":true}"),
	          "xy");
	CHECK_STR(text_of("/api/generate", WHOLE, "{\"response\":\"whole\"}"), "whole");
}

static void a_whole_chat_is_one_value(void)
{
	const char *body =
	    "{\"model\":\"m\",\n \"message\":{\"content\":\"one\\ntwo\"}}";

	for (size_t step = 1; step < 9; step++)
		CHECK_STR(text_by("/api/chat", WHOLE, body, step, 100), "one\ntwo");
}

static void events_carry_deltas(void)
{
	CHECK_STR(
	    text_of("/v1/chat/completions", EVENTS,
	            ": comment\n\n"
	            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":"
	            "\"assistant\",\"content\":\"a\"}}]}\n\n"
	            "event: x\ndata:{\"choices\":[{\"delta\":{\"content\":\"b\"}}]}"
	            "\r\n\r\n"
	            "data: {\"choices\":[],\"usage\":{}}\n\n"
	            "data: [DONE]\n\n"),
	    "ab");
	CHECK_STR(text_of("/v1/chat/completions", WHOLE,
	                  "{\"choices\":[{\"message\":{\"content\":\"m\"}},"
	                  "{\"message\":{\"content\":\"second\"}}]}"),
	          "m");
}

static void only_the_first_choice_counts(void)
{
	CHECK_STR(text_of("/v1/chat/completions", EVENTS,
	                  "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":"
	                  "\"n\"}}]}\n"
	                  "data: {\"choices\":[{\"delta\":{\"content\":\"n\"},"
	                  "\"index\":1}]}\n"
	                  "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":"
	                  "\"y\"}}]}\n"),
	          "y");
}

static void thinking_and_tool_calls_are_no_content(void)
{
	CHECK_STR(
	    text_of("/api/chat", LINES,
	            "{\"message\":{\"thinking\":\"hm\",\"content\":\"\"}}\n"
	            "{\"message\":{\"content\":null,\"tool_calls\":[{\"function\":"
	            "{\"name\":\"f\",\"arguments\":{\"content\":\"no\"}}}]}}\n"),
	    "");
	CHECK_STR(text_of("/v1/chat/completions", WHOLE,
	                  "{\"choices\":[{\"message\":{\"reasoning\":\"r\",\"content\":"
	                  "null}}]}"),
	          "");
}

static void an_embedding_has_none_and_an_empty_answer_an_empty_one(void)
{
	CHECK_STR(text_of("/api/embed", WHOLE, "{\"response\":\"x\"}"), "(absent)");
	CHECK_STR(text_of("/v1/completions", WHOLE, "{\"response\":\"x\"}"),
	          "(absent)");
	CHECK_STR(text_of("/api/chat", LINES, ""), "");
	CHECK_STR(text_of("/api/chat", WHOLE, ""), "");
}

static void what_does_not_fit_adds_nothing(void)
{
	static const char *const bad[] = {
		"not json",
		"[1,2]",
		"7",
		"\"text\"",
		"{}",
		"{\"message\":\"text\"}",
		"{\"message\":{\"content\":7}}",
		"{\"message\":{\"content\":[\"x\"]}}",
		"{\"message\":{}}",
		"{\"message\":[{\"content\":\"x\"}]}",
		"{\"Message\":{\"content\":\"x\"}}",
		"{\"error\":\"boom\"}",
		"{\"message\":{\"content\":\"cut",
		"\x00\xff",
		"{\"response\":\"x\"}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char body[256];

		snprintf(body, sizeof(body),
		         "{\"message\":{\"content\":\"a\"}}\n%s\n"
		         "{\"message\":{\"content\":\"b\"}}\n",
		         bad[i]);
		CHECK_STR(text_of("/api/chat", LINES, body), "ab");
		CHECK_STR(text_of("/api/chat", WHOLE, bad[i]), "");
	}
}

static void choices_that_are_none_add_nothing(void)
{
	static const char *const bad[] = {
		"[]", "{}",           "null", "[7]", "[[]]", "[{}]", "[{\"delta\":7}]",
		"[",  "[{\"delta\":{"
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char body[128];

		snprintf(body, sizeof(body), "data: {\"choices\":%s}\n", bad[i]);
		CHECK_STR(text_of("/v1/chat/completions", EVENTS, body), "");
	}
}

static void a_name_given_twice_counts_as_last_given(void)
{
	CHECK_STR(text_of("/api/chat", LINES,
	                  "{\"message\":{\"content\":\"a\",\"content\":\"b\"}}\n"),
	          "b");
}

static void a_line_cut_behind_its_text_still_counts(void)
{
	CHECK_STR(text_of("/api/chat", LINES,
	                  "{\"message\":{\"content\":\"a\"}}\n"
	                  "{\"message\":{\"content\":\"b\"},\"do"),
	          "ab");
}

static void text_up_to_the_bound_is_kept_and_none_behind_it(void)
{
	const char *body = "{\"response\":\"abc\"}\n{\"response\":\"def\"}\n"
	                   "{\"response\":\"g\"}\n";

	CHECK_STR(text_by("/api/generate", LINES, body, 10, 7), "abcdefg");
	CHECK_STR(text_by("/api/generate", LINES, body, 10, 6), "abcdef");
	/* no holes in it: what would fit again is not taken either */
	CHECK_STR(text_by("/api/generate", LINES, body, 10, 5), "abc");
	CHECK_STR(text_by("/api/generate", LINES, body, 10, 2), "");
}

static void bytes_that_are_no_text_become_text(void)
{
	CHECK_STR(text_of("/api/generate", LINES,
	                  "{\"response\":\"a\xff"
	                  "b\"}\n"),
	          "a\ufffd"
	          "b");
}

int main(void)
{
	static const struct t_case cases[] = {
		T(lines_of_a_chat_are_put_together),
		T(it_does_not_matter_how_the_bytes_come),
		T(generate_says_it_in_response),
		T(a_whole_chat_is_one_value),
		T(events_carry_deltas),
		T(only_the_first_choice_counts),
		T(thinking_and_tool_calls_are_no_content),
		T(an_embedding_has_none_and_an_empty_answer_an_empty_one),
		T(what_does_not_fit_adds_nothing),
		T(choices_that_are_none_add_nothing),
		T(a_name_given_twice_counts_as_last_given),
		T(a_line_cut_behind_its_text_still_counts),
		T(text_up_to_the_bound_is_kept_and_none_behind_it),
		T(bytes_that_are_no_text_become_text),
	};

	return t_run(cases, sizeof(cases) / sizeof(cases[0]));
}
