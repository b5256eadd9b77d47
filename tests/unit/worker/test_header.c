/*
 * test_header.c - one header out of a reply's head.
 */
#include <config.h>

#include "worker/header.h"

#include "t.h"

#include "base/attr.h"

static const struct span head = SPAN_LIT(
    "Content-Type: text/plain\nRETRY-after:  7 \nRetry-After: 9\nX:\nodd\n");

static void a_header_is_found_in_any_case_and_trimmed(void)
{
	char value[8];

	REQUIRE(header_find(head, "Retry-After", value, sizeof(value)));
	CHECK_STR(value, "7");
}

static void a_header_without_a_value_is_there_and_empty(void)
{
	char value[8] = "?";

	REQUIRE(header_find(head, "x", value, sizeof(value)));
	CHECK_STR(value, "");
}

static void a_header_that_is_not_there_is_not_found(void)
{
	char value[8];

	CHECK(!header_find(head, "Retry", value, sizeof(value)));
	CHECK(!header_find(head, "after", value, sizeof(value)));
	CHECK(!header_find((struct span){ NULL, 0 }, "X", value, sizeof(value)));
}

static void a_value_that_does_not_fit_is_not_cut_but_refused(void)
{
	char value[10];

	CHECK(!header_find(head, "content-type", value, sizeof(value)));
	CHECK(header_find(SPAN_LIT("A: 123456789\n"), "a", value, sizeof(value)));
	CHECK_STR(value, "123456789");
	CHECK(!header_find(SPAN_LIT("A: 1234567890\n"), "a", value, sizeof(value)));
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_header_is_found_in_any_case_and_trimmed),
		T(a_header_without_a_value_is_there_and_empty),
		T(a_header_that_is_not_there_is_not_found),
		T(a_value_that_does_not_fit_is_not_cut_but_refused),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
