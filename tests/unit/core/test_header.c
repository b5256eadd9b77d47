/*
 * test_header.c - the header lines of a head: found, copied, passed on.
 */
#include <config.h>

#include "core/header.h"

#include "base/attr.h"
#include "t.h"

static const struct span head = SPAN_LIT(
    "Content-Type: text/plain\nRETRY-after:  7 \nRetry-After: 9\nX:\nodd\n");

static void a_header_is_found_in_any_case_and_trimmed(void)
{
	struct span value = header_find(head, "Retry-After");

	REQUIRE(value.p);
	CHECK(span_eq(value, "7"));
}

static void a_header_without_a_value_is_there_and_empty(void)
{
	char value[8] = "?";

	CHECK(header_find(head, "x").p && !header_find(head, "x").len);
	REQUIRE(header_copy(head, "x", value, sizeof(value)));
	CHECK_STR(value, "");
}

static void a_header_that_is_not_there_is_not_found(void)
{
	char value[8] = "?";

	CHECK(!header_find(head, "Retry").p);
	CHECK(!header_find(head, "after").p);
	CHECK(!header_find(head, "odd").p);
	CHECK(!header_find((struct span){ NULL, 0 }, "X").p);
	CHECK(!header_find(SPAN_LIT(""), "").p);
	CHECK(!header_copy(head, "Retry", value, sizeof(value)));
	CHECK_STR(value, "?");
}

static void a_value_that_does_not_fit_is_not_cut_but_refused(void)
{
	char value[10] = "?";

	CHECK(!header_copy(head, "content-type", value, sizeof(value)));
	CHECK_STR(value, "?");
	CHECK(header_copy(SPAN_LIT("A: 123456789\n"), "a", value, sizeof(value)));
	CHECK_STR(value, "123456789");
	CHECK(!header_copy(SPAN_LIT("A: 1234567890\n"), "a", value, sizeof(value)));
}

static void a_line_is_split_at_its_first_colon(void)
{
	struct span name, value;

	REQUIRE(header_split(SPAN_LIT("Location:\thttp://x/ "), &name, &value));
	CHECK(span_eq(name, "Location"));
	CHECK(span_eq(value, "http://x/"));
	REQUIRE(header_split(SPAN_LIT("a:b\tc"), &name, &value));
	CHECK(span_eq(value, "b\tc"));
}

static void what_is_no_header_is_refused(void)
{
	static const struct span bad[] = {
		SPAN_LIT(""),
		SPAN_LIT("no colon"),
		SPAN_LIT(": no name"),
		SPAN_LIT("a b: 1"),
		SPAN_LIT("a : 1"),
		SPAN_LIT("\tfolded: 1"),
		SPAN_LIT("\xc3\xa9: 1"),
		SPAN_LIT("a: 1\r"),
		SPAN_LIT("a: \x1b[1m"),
		SPAN_LIT("a: \0"),
		SPAN_LIT("a: \x7f"),
		SPAN_LIT("a: 1\nb: 2"),
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct span name, value;

		if (!CHECK(!header_split(bad[i], &name, &value)))
			printf("#   row %zu\n", i);
	}
	CHECK(!header_split((struct span){ NULL, 0 }, &(struct span){ NULL, 0 },
	                    &(struct span){ NULL, 0 }));
}

static void headers_come_one_by_one_past_what_is_none(void)
{
	struct span lines = SPAN_LIT("odd\nA: 1\n\nB b: 2\nC: 3"), name, value;

	REQUIRE(header_next(&lines, &name, &value));
	CHECK(span_eq(name, "A") && span_eq(value, "1"));
	REQUIRE(header_next(&lines, &name, &value));
	CHECK(span_eq(name, "C") && span_eq(value, "3"));
	CHECK(!header_next(&lines, &name, &value));
}

static void check_passed_on(struct span lines, const char *expected)
{
	struct buf out;

	buf_init(&out, 1000);
	CHECK_INT(header_pass_on(lines, &out), ERR_OK);
	CHECK_STR(out.len ? buf_str(&out) : "", expected);
	buf_done(&out);
}

static void what_is_for_this_hop_alone_is_not_passed_on(void)
{
	check_passed_on(SPAN_LIT("connection: close, X-Hop ,\nKeep-Alive: 5\nTE: x\n"
	                         "Trailer: Y\nUpgrade: h2c\nProxy-Thing: 1\n"
	                         "x-hop: 1\nX-Stay:1\nconnection: x-too\nX-Too: 1\n"
	                         "X-Stay: 2 \nodd\nX-Hop-Too: \n"),
	                "X-Stay: 1\nX-Stay: 2\nX-Hop-Too: \n");
	check_passed_on(SPAN_LIT("Content-Length: 5\n"), "Content-Length: 5\n");
	check_passed_on(SPAN_LIT("Content-Length: 5\nTransfer-Encoding: chunked\n"),
	                "");
	check_passed_on(SPAN_LIT(""), "");
}

static void what_has_no_room_is_told(void)
{
	struct buf out;

	buf_init(&out, 5);
	CHECK_INT(header_pass_on(SPAN_LIT("a:1\n"), &out), ERR_OK);
	CHECK_INT(out.len, 5);
	CHECK_INT(header_pass_on(SPAN_LIT("b:1\n"), &out), ERR_TOOBIG);
	buf_done(&out);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_header_is_found_in_any_case_and_trimmed),
		T(a_header_without_a_value_is_there_and_empty),
		T(a_header_that_is_not_there_is_not_found),
		T(a_value_that_does_not_fit_is_not_cut_but_refused),
		T(a_line_is_split_at_its_first_colon),
		T(what_is_no_header_is_refused),
		T(headers_come_one_by_one_past_what_is_none),
		T(what_is_for_this_hop_alone_is_not_passed_on),
		T(what_has_no_room_is_told),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
