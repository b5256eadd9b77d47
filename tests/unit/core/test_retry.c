/* Delays: how they grow, when they end, and what a server may say of them. */
#include <config.h>

#include "core/retry.h"

#include "base/attr.h"
#include "core/limits.h"
#include "t.h"

static void backoff_doubles_from_its_base_to_its_maximum(void)
{
	static const int64_t want[] = { 5000,   10000,  20000,  40000, 80000,
		                            160000, 320000, 600000, 600000 };

	for (unsigned n = 0; n < ARRAY_LEN(want); n++)
		CHECK_INT(retry_backoff_ms(LIMIT_RETRY_BASE_MS, LIMIT_RETRY_MAX_MS, n),
		          want[n]);
}

static void backoff_never_overflows(void)
{
	CHECK_INT(retry_backoff_ms(1, INT64_MAX, 62), INT64_C(1) << 62);
	CHECK_INT(retry_backoff_ms(1, INT64_MAX, 63), INT64_MAX);
	CHECK_INT(retry_backoff_ms(3, INT64_MAX, UINT32_MAX), INT64_MAX);
	CHECK_INT(retry_backoff_ms(INT64_MAX, INT64_MAX, 5), INT64_MAX);
	CHECK_INT(retry_backoff_ms(100, 7, 0), 7);
	CHECK_INT(retry_backoff_ms(0, 1000, UINT32_MAX), 0);
}

static void the_schedule_gives_each_attempt_its_delay_within_a_fifth(void)
{
	static const int64_t schedule[] = { 0, 5000, 86400000 };

	CHECK_INT(retry_schedule_ms(schedule, 3, 0, 0), 0);
	CHECK_INT(retry_schedule_ms(schedule, 3, 0, UINT32_MAX), 0);
	CHECK_INT(retry_schedule_ms(schedule, 3, 1, 0), 4000);
	CHECK_INT(retry_schedule_ms(schedule, 3, 1, UINT32_MAX), 6000);
	CHECK_INT(retry_schedule_ms(schedule, 3, 2, 0), 69120000);
	CHECK_INT(retry_schedule_ms(schedule, 3, 2, UINT32_MAX), 103680000);
	for (uint32_t r = 0; r < UINT32_MAX - 100000000; r += 99999989) {
		int64_t ms = retry_schedule_ms(schedule, 3, 1, r);

		CHECK(ms >= 4000 && ms <= 6000);
	}
}

static void jitter_is_spread_over_its_range(void)
{
	static const int64_t schedule[] = { 1000 };

	CHECK_INT(retry_schedule_ms(schedule, 1, 0, UINT32_MAX / 4), 899);
	CHECK_INT(retry_schedule_ms(schedule, 1, 0, UINT32_MAX / 2), 999);
	CHECK_INT(retry_schedule_ms(schedule, 1, 0, UINT32_MAX / 4 * 3), 1099);
}

static void a_used_up_schedule_says_so(void)
{
	static const int64_t schedule[] = { 0, 5000 };

	CHECK_INT(retry_schedule_ms(schedule, 2, 2, 0), -1);
	CHECK_INT(retry_schedule_ms(schedule, 2, UINT32_MAX, 0), -1);
	CHECK_INT(retry_schedule_ms(schedule, 0, 0, 0), -1);
}

static void retry_after_in_seconds(void)
{
	CHECK_INT(retry_after_ms("0", 0, 60000), 0);
	CHECK_INT(retry_after_ms("3", 0, 60000), 3000);
	CHECK_INT(retry_after_ms(" 59\t", 0, 60000), 59000);
	CHECK_INT(retry_after_ms("60", 0, 60000), 60000);
	CHECK_INT(retry_after_ms("61", 0, 60000), 60000);
	CHECK_INT(retry_after_ms("18446744073709551615", 0, 60000), 60000);
	CHECK_INT(retry_after_ms("99999999999999999999999999", 0, 60000), 60000);
	CHECK_INT(retry_after_ms("9223372036854775807", 0, INT64_MAX), INT64_MAX);
}

static void retry_after_as_each_of_the_three_dates(void)
{
	const int64_t at_ms = INT64_C(784111777000);

	CHECK_INT(retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT", at_ms - 5000, 60000),
	          5000);
	CHECK_INT(retry_after_ms("Sunday, 06-Nov-94 08:49:37 GMT", at_ms - 5000, 60000),
	          5000);
	CHECK_INT(retry_after_ms("Sun Nov  6 08:49:37 1994", at_ms - 5000, 60000),
	          5000);
	CHECK_INT(retry_after_ms("Wednesday, 01-Jan-69 00:00:00 GMT", 0, INT64_MAX),
	          INT64_C(3124224000000));
}

static void a_date_is_capped_and_one_that_is_over_is_now(void)
{
	const int64_t at_ms = INT64_C(784111777000);

	CHECK_INT(retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT", at_ms - 99999, 60000),
	          60000);
	CHECK_INT(retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT", at_ms, 60000), 0);
	CHECK_INT(retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT", at_ms + 1, 60000), 0);
}

static void what_is_neither_is_refused(void)
{
	static const char *const bad[] = {
		"",
		" ",
		"-1",
		"+1",
		"1.5",
		"0x10",
		"1 2",
		"soon",
		"5s",
		"Sun, 06 Nov 1994 08:49:37",
		"Sun, 06 Nov 1994 08:49:37 GMT+1",
		"Sun, 06 Nov 1994 08:49:37 CET",
		"Sun, 32 Nov 1994 08:49:37 GMT",
		"Sun, 06 Foo 1994 08:49:37 GMT",
		"Sun, 06 nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 24:49:37 GMT",
		"Sun, 06 Nov 1994 08:60:37 GMT",
		"Sun, 06 Nov 1969 08:49:37 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 08:49:61 GMT",
		"1994-11-06T08:49:37Z",
		"Sun, 06 Nov 1994 08:49:37 GMT                                   x",
	};

	CHECK_INT(retry_after_ms(NULL, 0, 60000), -1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!CHECK(retry_after_ms(bad[i], 0, 60000) == -1))
			printf("#   for '%s'\n", bad[i]);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(backoff_doubles_from_its_base_to_its_maximum),
		T(backoff_never_overflows),
		T(the_schedule_gives_each_attempt_its_delay_within_a_fifth),
		T(jitter_is_spread_over_its_range),
		T(a_used_up_schedule_says_so),
		T(retry_after_in_seconds),
		T(retry_after_as_each_of_the_three_dates),
		T(a_date_is_capped_and_one_that_is_over_is_now),
		T(what_is_neither_is_refused),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
