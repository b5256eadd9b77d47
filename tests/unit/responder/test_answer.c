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

static const char *word(enum family family, int status, const char *key)
{
	static char out[64];
	char *body = answer_error_body(family, status, "code", false, "no"), *at;
	char want[32];

	snprintf(want, sizeof(want), "\"%s\":\"", key);
	/* of Anthropic's the second is the error's own */
	at = strstr(body, want);
	if (at && family == FAMILY_ANTHROPIC)
		at = strstr(at + 1, want);
	snprintf(out, sizeof(out), "%.*s",
	         at ? (int)strcspn(at + strlen(want), "\"") : 0,
	         at ? at + strlen(want) : "");
	free(body);
	return out;
}

static void each_status_has_the_familys_own_type(void)
{
	static const struct {
		int status;
		const char *openai, *anthropic, *title;
	} want[] = {
		{ 400, "invalid_request_error", "invalid_request_error", "Bad Request" },
		{ 401, "api_error", "authentication_error", "Unauthorized" },
		{ 403, "api_error", "permission_error", "Forbidden" },
		{ 404, "not_found_error", "not_found_error", "Not Found" },
		{ 405, "api_error", "api_error", "Method Not Allowed" },
		{ 410, "api_error", "api_error", "Gone" },
		{ 413, "api_error", "request_too_large", "Content Too Large" },
		{ 415, "api_error", "api_error", "Unsupported Media Type" },
		{ 416, "api_error", "api_error", "Range Not Satisfiable" },
		{ 422, "api_error", "api_error", "Unprocessable Content" },
		{ 429, "api_error", "rate_limit_error", "Too Many Requests" },
		{ 431, "api_error", "api_error", "Request Header Fields Too Large" },
		{ 500, "api_error", "api_error", "Internal Server Error" },
		{ 502, "api_error", "api_error", "Bad Gateway" },
		{ 503, "api_error", "overloaded_error", "Service Unavailable" },
		{ 507, "api_error", "api_error", "Insufficient Storage" },
	};

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		CHECK_STR(word(FAMILY_OPENAI, want[i].status, "type"), want[i].openai);
		CHECK_STR(word(FAMILY_ANTHROPIC, want[i].status, "type"),
		          want[i].anthropic);
		CHECK_STR(word(FAMILY_PROBLEM, want[i].status, "title"), want[i].title);
	}
	/* none is a title of its own but what is ours or nobody's */
	for (int f = 0; f < FAULT_COUNT; f++) {
		int status = fault_row((enum fault)f)->status;

		if (!CHECK(status == 500 || strcmp(word(FAMILY_PROBLEM, status, "title"),
		                                   "Internal Server Error") != 0))
			printf("# %d\n", status);
	}
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
		T(each_status_has_the_familys_own_type),
		T(a_problem_has_all_of_rfc_9457_and_code_and_retryable),
		T(text_is_escaped),
		T(every_fault_has_a_row),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
