/*
 * test_call.c - the query, and what a request leaves in its seat.
 */
#include <config.h>

#include "responder/call.h"

#include <stdlib.h>

#include "t.h"

/* The query as "name=value;" pieces, "!" for a refused one. */
static const char *read_all(const char *text)
{
	static char all[512];
	struct span query = span_of(text), name;
	char *value;
	size_t len = 0;
	enum err e;

	all[0] = '\0';
	while ((e = call_query_next(&query, &name, &value)) != ERR_NOENT) {
		if (e) {
			len += (size_t)snprintf(all + len, sizeof(all) - len, "!");
			continue;
		}
		len += (size_t)snprintf(all + len, sizeof(all) - len, "%.*s=%s;",
		                        (int)name.len, name.p, value);
		free(value);
	}
	return all;
}

static void a_query_is_cut_and_decoded(void)
{
	CHECK_STR(read_all(NULL), "");
	CHECK_STR(read_all(""), "");
	CHECK_STR(read_all("a=1"), "a=1;");
	CHECK_STR(read_all("a=1&b=2"), "a=1;b=2;");
	CHECK_STR(read_all("a=1&&b=2&"), "a=1;b=2;");
	CHECK_STR(read_all("a"), "a=;");
	CHECK_STR(read_all("a="), "a=;");
	CHECK_STR(read_all("=1"), "=1;");
	CHECK_STR(read_all("a=b=c"), "a=b=c;");
	CHECK_STR(read_all("model=qwen3%3A8b"), "model=qwen3:8b;");
	CHECK_STR(read_all("a=%41%7a%e2"), "a=Az\xe2;");
}

static void bad_escapes_and_nuls_are_refused(void)
{
	CHECK_STR(read_all("a=%"), "!");
	CHECK_STR(read_all("a=%4"), "!");
	CHECK_STR(read_all("a=%zz"), "!");
	CHECK_STR(read_all("a=%4g"), "!");
	CHECK_STR(read_all("a=%00"), "!");
	CHECK_STR(read_all("a=x%&b=1"), "!b=1;");
}

static void a_large_body_leaves_no_memory_behind(void)
{
	struct seat seat = { 0 };

	buf_init(&seat.body, 1 << 20);
	CHECK(buf_reserve(&seat.body, 64) != NULL);
	buf_commit(&seat.body, 64);
	seat_tidy(&seat);
	CHECK_INT(seat.body.len, 0);
	CHECK(seat.body.cap > 0);
	CHECK(buf_reserve(&seat.body, 1 << 20) != NULL);
	buf_commit(&seat.body, 1 << 20);
	seat_tidy(&seat);
	CHECK_INT(seat.body.cap, 0);
	CHECK_INT(seat.body.max, 1 << 20);
	seat_done(&seat);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_query_is_cut_and_decoded),
		T(bad_escapes_and_nuls_are_refused),
		T(a_large_body_leaves_no_memory_behind),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
