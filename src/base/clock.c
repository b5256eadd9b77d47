/*
 * clock.c - reading the clocks, or what a test says they show.
 */
#include <config.h>

#include "base/clock.h"

#include <assert.h>
#include <stdbool.h>
#include <time.h>

static struct {
	bool on;
	int64_t wall_ms, mono_ms, boot_ms;
} fake;

void clock_fake(int64_t wall_ms, int64_t mono_ms, int64_t boot_ms)
{
	fake.wall_ms = wall_ms;
	fake.mono_ms = mono_ms;
	fake.boot_ms = boot_ms;
	fake.on = true;
}

void clock_real(void)
{
	fake.on = false;
}

static int64_t read_us(clockid_t id)
{
	struct timespec t;
	int failed = clock_gettime(id, &t);

	assert(!failed); /* every kernel we run on has all three */
	(void)failed;
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
	return fake.on ? fake.wall_ms : read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_mono_ms(void)
{
	return fake.on ? fake.mono_ms : read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_boot_ms(void)
{
	return fake.on ? fake.boot_ms : read_us(CLOCK_BOOTTIME) / 1000;
}

int64_t clock_mono_us(void)
{
	return fake.on ? fake.mono_ms * 1000 : read_us(CLOCK_MONOTONIC);
}

static void put_digits(char *out, int digits, int n)
{
	while (digits--) {
		out[digits] = (char)('0' + n % 10);
		n /= 10;
	}
}

/* 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z: the form's ends. */
#define ISO_FIRST_MS INT64_C(-62167219200000)
#define ISO_LAST_MS INT64_C(253402300799999)

void clock_iso(int64_t wall_ms, char out[CLOCK_ISO_SIZE])
{
	static const char form[CLOCK_ISO_SIZE] = "yyyy-mm-ddThh:mm:ss.mmmZ";
	int64_t ms;
	time_t seconds;
	struct tm tm;

	if (wall_ms < ISO_FIRST_MS)
		wall_ms = ISO_FIRST_MS;
	if (wall_ms > ISO_LAST_MS)
		wall_ms = ISO_LAST_MS;
	ms = (wall_ms % 1000 + 1000) % 1000; /* before 1970 too */
	seconds = (time_t)((wall_ms - ms) / 1000);
	gmtime_r(&seconds, &tm);
	for (int i = 0; i < CLOCK_ISO_SIZE; i++)
		out[i] = form[i];
	put_digits(out, 4, tm.tm_year + 1900);
	put_digits(out + 5, 2, tm.tm_mon + 1);
	put_digits(out + 8, 2, tm.tm_mday);
	put_digits(out + 11, 2, tm.tm_hour);
	put_digits(out + 14, 2, tm.tm_min);
	put_digits(out + 17, 2, tm.tm_sec);
	put_digits(out + 20, 3, (int)ms);
}
