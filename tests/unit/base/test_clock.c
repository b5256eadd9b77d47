/* test_clock.c - clocks can be set by a test, times are written one way. */
#include <config.h>

#include "base/clock.h"

#include "base/attr.h"
#include "t.h"

static void a_fake_clock_shows_what_it_was_told(void)
{
	clock_fake(1000, 20, 30);
	CHECK_INT(clock_wall_ms(), 1000);
	CHECK_INT(clock_mono_ms(), 20);
	CHECK_INT(clock_boot_ms(), 30);
	CHECK_INT(clock_mono_us(), 20000);
	clock_fake(999, 21, 31);
	CHECK_INT(clock_wall_ms(), 999);
	clock_real();
	CHECK(clock_wall_ms() > INT64_C(1700000000000));
}

static void real_durations_do_not_run_backwards(void)
{
	int64_t before_us = clock_mono_us(), before_ms = clock_mono_ms();

	for (int i = 0; i < 1000; i++) {
		int64_t now_us = clock_mono_us();

		CHECK(now_us >= before_us);
		before_us = now_us;
	}
	CHECK(clock_mono_ms() >= before_ms);
	CHECK(clock_boot_ms() >= clock_mono_ms() - 1000);
}

static void times_are_iso_8601_in_utc(void)
{
	static const struct {
		int64_t wall_ms;
		const char *iso;
	} rows[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ 1, "1970-01-01T00:00:00.001Z" },
		{ -1, "1969-12-31T23:59:59.999Z" },
		{ -1000, "1969-12-31T23:59:59.000Z" },
		{ INT64_C(951782400000), "2000-02-29T00:00:00.000Z" },
		{ INT64_C(1795197600123), "2026-11-20T18:00:00.123Z" },
		{ INT64_C(253402300799999), "9999-12-31T23:59:59.999Z" },
		{ INT64_C(-62167219200000), "0000-01-01T00:00:00.000Z" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char iso[CLOCK_ISO_SIZE];

		clock_iso(rows[i].wall_ms, iso);
		CHECK_STR(iso, rows[i].iso);
	}
}

static void times_past_the_form_stop_at_its_ends(void)
{
	char iso[CLOCK_ISO_SIZE];

	clock_iso(INT64_C(253402300800000), iso);
	CHECK_STR(iso, "9999-12-31T23:59:59.999Z");
	clock_iso(INT64_MAX, iso);
	CHECK_STR(iso, "9999-12-31T23:59:59.999Z");
	clock_iso(INT64_MIN, iso);
	CHECK_STR(iso, "0000-01-01T00:00:00.000Z");
}

static void a_time_is_read_in_every_form_of_rfc_3339(void)
{
	static const struct {
		const char *text;
		int64_t wall_ms; /* -1: refused */
	} rows[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1970-01-01T00:00:00.5Z", 500 },
		{ "1970-01-01T00:00:00.1239999Z", 123 },
		{ "2026-11-20T18:00:00.123Z", INT64_C(1795197600123) },
		{ "2026-11-20t18:00:00z", INT64_C(1795197600000) },
		{ "2026-11-20T20:00:00+02:00", INT64_C(1795197600000) },
		{ "2026-11-20T12:30:00-05:30", INT64_C(1795197600000) },
		{ "2024-02-29T00:00:00Z", INT64_C(1709164800000) },
		{ "9999-12-31T23:59:59.999Z", INT64_C(253402300799999) },
		{ "2016-12-31T23:59:60Z", INT64_C(1483228800000) },
		{ "", -1 },
		{ "2026-11-20", -1 },
		{ "2026-11-20T18:00:00", -1 },
		{ "2026-11-20T18:00Z", -1 },
		{ "2026-11-20 18:00:00Z", -1 },
		{ "2026-11-20T18:00:00.Z", -1 },
		{ "2026-11-20T18:00:00Z ", -1 },
		{ "2026-11-20T18:00:00+2:00", -1 },
		{ "2026-11-20T18:00:00+02", -1 },
		{ "2026-11-20T18:00:00+0200", -1 },
		{ "2026-11-20T18:00:00+24:00", -1 },
		{ "2026-11-20T18:00:00+02:60", -1 },
		{ "2000-02-29T00:00:00Z", INT64_C(951782400000) },
		{ "2025-02-29T00:00:00Z", -1 },
		{ "2100-02-29T00:00:00Z", -1 },
		{ "2026-11-00T18:00:00Z", -1 },
		{ "2026-11-2/T18:00:00Z", -1 },
		{ "2026-11-20T18:00:00.+Z", -1 },
		{ "2026-11-20T18:00:00.1/Z", -1 },
		{ "2026-11-20T18:00:00+0x:00", -1 },
		{ "2026-11-20T18:00:00+02:0x", -1 },
		{ "2026-11-20T1x:00:00Z", -1 },
		{ "2026-11-20T18:0x:00Z", -1 },
		{ "2026-00-20T18:00:00Z", -1 },
		{ "2026-13-20T18:00:00Z", -1 },
		{ "2026-11-31T18:00:00Z", -1 },
		{ "2026-11-20T24:00:00Z", -1 },
		{ "2026-11-20T18:60:00Z", -1 },
		{ "2026-11-20T18:00:61Z", -1 },
		{ "1969-12-31T23:59:59Z", -1 },
		{ "1795197600", -1 },
		{ "-026-11-20T18:00:00Z", -1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t wall_ms = -1;
		enum err want = rows[i].wall_ms < 0 ? ERR_INVAL : ERR_OK;

		if (!CHECK(clock_parse(rows[i].text, &wall_ms) == want) ||
		    !CHECK(wall_ms == rows[i].wall_ms))
			printf("#   %s: %lld\n", rows[i].text, (long long)wall_ms);
	}
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_fake_clock_shows_what_it_was_told),
		T(real_durations_do_not_run_backwards),
		T(times_are_iso_8601_in_utc),
		T(times_past_the_form_stop_at_its_ends),
		T(a_time_is_read_in_every_form_of_rfc_3339),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
