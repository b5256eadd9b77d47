/*
 * test_answer.c - the shapes of errors.
 */
#include <config.h>

#include "responder/answer.h"

#include <stdlib.h>

#include "t.h"

static void check_body(enum family family, int status, const char *code,
                       bool retryable, const char *text, const char *want)
{
	char *got = answer_error_body(family, status, code, retryable, text);

	CHECK_STR(got, want);
	free(got);
}

static void ollama_says_error(void)
{
	check_body(FAMILY_OLLAMA, 404, "not_found", false, "no such path",
	           "{\"error\":\"no such path\"}");
	CHECK_STR(answer_error_type(FAMILY_OLLAMA), "application/json; charset=utf-8");
}

static void the_full_line_has_ollamas_two_blanks(void)
{
	check_body(FAMILY_OLLAMA, 503, "queue_full", true, ANSWER_BUSY_TEXT,
	           "{\"error\":\"server busy, please try again.  "
	           "maximum pending requests exceeded\"}");
}

static void openai_says_message_type_param_and_code(void)
{
	check_body(FAMILY_OPENAI, 400, "invalid_request", false, "no",
	           "{\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\","
	           "\"param\":null,\"code\":\"invalid_request\"}}");
	check_body(FAMILY_OPENAI, 503, NULL, true, "no",
	           "{\"error\":{\"message\":\"no\",\"type\":\"api_error\","
	           "\"param\":null,\"code\":null}}");
}

static void anthropic_says_type_error(void)
{
	check_body(FAMILY_ANTHROPIC, 503, NULL, true, "no",
	           "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
	           "\"message\":\"no\"}}");
}

static void a_problem_has_all_of_rfc_9457_and_code_and_retryable(void)
{
	check_body(FAMILY_PROBLEM, 429, "too_many_jobs", true, "full",
	           "{\"type\":\"about:blank\",\"title\":\"Too Many Requests\","
	           "\"status\":429,\"detail\":\"full\",\"code\":\"too_many_jobs\","
	           "\"retryable\":true}");
	CHECK_STR(answer_error_type(FAMILY_PROBLEM), "application/problem+json");
}

static void text_is_escaped(void)
{
	check_body(FAMILY_OLLAMA, 400, NULL, false, "a\"b\\c\nd",
	           "{\"error\":\"a\\\"b\\\\c\\nd\"}");
}

static void every_fault_has_a_row(void)
{
	for (int f = 0; f < FAULT_COUNT; f++) {
		const struct fault_row *row = fault_row((enum fault)f);

		CHECK(row->status >= 400 && row->status <= 599);
		REQUIRE(row->code != NULL);
		CHECK(strspn(row->code, "abcdefghijklmnopqrstuvwxyz_") ==
		      strlen(row->code));
		/* who may come again is told when, but for what is our own fault */
		if (row->status == 429 || row->status == 503 || row->status == 507)
			CHECK(row->retryable && row->retry_after_s > 0);
		if (row->status < 429)
			CHECK(!row->retryable);
	}
}

int main(void)
{
	static const struct t_case cases[] = {
		T(ollama_says_error),
		T(the_full_line_has_ollamas_two_blanks),
		T(openai_says_message_type_param_and_code),
		T(anthropic_says_type_error),
		T(a_problem_has_all_of_rfc_9457_and_code_and_retryable),
		T(text_is_escaped),
		T(every_fault_has_a_row),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
