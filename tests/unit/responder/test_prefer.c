/*
 * test_prefer.c - Prefer headers: what counts, and how much is ignored.
 */
#include <config.h>

#include "responder/prefer.h"

#include "core/limits.h"
#include "t.h"

static struct prefer p;

static bool waits(const char *header, int64_t seconds)
{
	prefer_read(span_of(header), &p);
	if (p.wait_ms == seconds * 1000)
		return true;
	printf("# %s: %lld ms\n", header, (long long)p.wait_ms);
	return false;
}

static void none_is_no_preference(void)
{
	prefer_read((struct span){ 0 }, &p);
	CHECK_INT(p.wait_ms, 0);
	CHECK(!p.respond_async);
	CHECK(waits("", 0));
	CHECK(waits(",;=,\"", 0));
}

static void a_wait_is_seconds(void)
{
	CHECK(waits("wait=20", 20));
	CHECK(waits("WAIT=20", 20));
	CHECK(waits(" wait = 20 ", 20));
	CHECK(waits("wait=\"20\"", 20));
	CHECK(waits("wait=007", 7));
	CHECK(waits("wait=0", 0));
	CHECK(waits("wait=20; strict", 20));
}

static void a_longer_wait_is_the_limit(void)
{
	char text[32];

	for (int over = -1; over <= 1; over++) {
		snprintf(text, sizeof(text), "wait=%d", LIMIT_WAIT_MAX_S + over);
		CHECK(waits(text, LIMIT_WAIT_MAX_S + (over < 0 ? over : 0)));
	}
	CHECK(waits("wait=99999999999999999999999999999999", LIMIT_WAIT_MAX_S));
}

static void what_is_no_number_of_seconds_is_ignored(void)
{
	static const char *const bad[] = { "wait",      "wait=",      "wait=-1",
		                               "wait=1.5",  "wait=10s",   "wait=+5",
		                               "wait=\"\"", "wait=\"5",   "wait=5\"",
		                               "wait=0x10", "wait=1 000", "waiting=5",
		                               "x-wait=5" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK(waits(bad[i], 0));
}

static void several_headers_are_one_list_and_the_first_of_a_kind_counts(void)
{
	CHECK(waits("respond-async, wait=10", 10));
	CHECK(p.respond_async);
	CHECK(waits("wait=10, wait=20", 10));
	CHECK(waits("wait=never, wait=20", 0));
	CHECK(waits("return=minimal,handling=lenient , wait=5", 5));
	CHECK(!p.respond_async);
	CHECK(waits("Respond-Async", 0));
	CHECK(p.respond_async);
}

static void quoted_text_is_not_looked_into(void)
{
	CHECK(waits("foo=\"a, wait=9\", wait=5", 5));
	CHECK(waits("foo=\"\\\", wait=9\", wait=5", 5));
	CHECK(waits("foo; bar=\"; wait=9\", wait=5", 5));
	CHECK(waits("foo=\"never ends, wait=9", 0));
	CHECK(waits("foo=\"ends in \\", 0));
}

int main(void)
{
	static const struct t_case cases[] = {
		T(none_is_no_preference),
		T(a_wait_is_seconds),
		T(a_longer_wait_is_the_limit),
		T(what_is_no_number_of_seconds_is_ignored),
		T(several_headers_are_one_list_and_the_first_of_a_kind_counts),
		T(quoted_text_is_not_looked_into),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
