/*
 * test_range.c - what a Range header asks for, at every edge.
 */
#include <config.h>

#include "core/range.h"

#include "t.h"

static void check(const char *header, int64_t size, enum range_answer want,
                  int64_t first, int64_t len)
{
	struct range r = { -1, -1 };

	if (!CHECK(range_read(span_of(header), size, &r) == want))
		printf("#   %s of %lld\n", header ? header : "(none)", (long long)size);
	if (want == RANGE_UNSATISFIABLE)
		return;
	CHECK_INT(r.first, first);
	CHECK_INT(r.len, len);
}

static void a_part_is_first_to_last_both_included(void)
{
	check("bytes=0-0", 10, RANGE_PART, 0, 1);
	check("bytes=0-9", 10, RANGE_PART, 0, 10);
	check("bytes=9-9", 10, RANGE_PART, 9, 1);
	check("bytes=3-5", 10, RANGE_PART, 3, 3);
	check("Bytes= 3-5 ", 10, RANGE_PART, 3, 3);
}

static void an_end_behind_the_last_byte_is_the_last_byte(void)
{
	check("bytes=0-10", 10, RANGE_PART, 0, 10);
	check("bytes=9-99", 10, RANGE_PART, 9, 1);
	check("bytes=5-99999999999999999999999", 10, RANGE_PART, 5, 5);
}

static void without_an_end_it_is_the_rest(void)
{
	check("bytes=0-", 10, RANGE_PART, 0, 10);
	check("bytes=9-", 10, RANGE_PART, 9, 1);
}

static void without_a_begin_it_is_the_last_so_many(void)
{
	check("bytes=-1", 10, RANGE_PART, 9, 1);
	check("bytes=-10", 10, RANGE_PART, 0, 10);
	check("bytes=-11", 10, RANGE_PART, 0, 10);
	check("bytes=-99999999999999999999999", 10, RANGE_PART, 0, 10);
}

static void no_byte_of_it_is_unsatisfiable(void)
{
	check("bytes=10-", 10, RANGE_UNSATISFIABLE, 0, 0);
	check("bytes=10-20", 10, RANGE_UNSATISFIABLE, 0, 0);
	check("bytes=-0", 10, RANGE_UNSATISFIABLE, 0, 0);
	check("bytes=0-", 0, RANGE_UNSATISFIABLE, 0, 0);
	check("bytes=0-0", 0, RANGE_UNSATISFIABLE, 0, 0);
	check("bytes=-1", 0, RANGE_UNSATISFIABLE, 0, 0);
	check("bytes=9223372036854775807-", 10, RANGE_UNSATISFIABLE, 0, 0);
	check("bytes=99999999999999999999-", 10, RANGE_UNSATISFIABLE, 0, 0);
}

static void several_ranges_or_nonsense_are_all_of_it(void)
{
	static const char *const all[] = {
		NULL,          "",           "bytes",       "bytes=",        "bytes=-",
		"bytes=a-b",   "bytes=1",    "bytes=5-3",   "bytes=0-1,3-4", "bytes=-1,-2",
		"bytes=0-1,",  "bytes=1-x",  "bytes=x-1",   "bytes= 1 - 2",  "items=0-1",
		"bytes=+1-2",  "bytes=1--2", "bytes=--1",   "=0-1",          "bytes 0-1",
		"bytes=0x1-2", "bytes=-x",   "bytes=1.0-2",
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		check(all[i], 10, RANGE_ALL, 0, 10);
	check(NULL, 0, RANGE_ALL, 0, 0);
}

static void large_things_have_large_offsets(void)
{
	check("bytes=9223372036854775806-", INT64_MAX, RANGE_PART, INT64_MAX - 1, 1);
	check("bytes=0-9223372036854775807", INT64_MAX, RANGE_PART, 0, INT64_MAX);
	check("bytes=-9223372036854775807", INT64_MAX, RANGE_PART, 0, INT64_MAX);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_part_is_first_to_last_both_included),
		T(an_end_behind_the_last_byte_is_the_last_byte),
		T(without_an_end_it_is_the_rest),
		T(without_a_begin_it_is_the_last_so_many),
		T(no_byte_of_it_is_unsatisfiable),
		T(several_ranges_or_nonsense_are_all_of_it),
		T(large_things_have_large_offsets),
	};

	return t_run(cases, sizeof(cases) / sizeof(cases[0]));
}
