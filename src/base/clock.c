/*
 * clock.c - reading the clocks, or what a test says they show, and times as text.
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

/* `digits` digits at *text, which moves on; -1 if they are not there. */
static int take_digits(const char **text, int digits)
{
	int n = 0;

	for (; digits > 0; digits--, (*text)++) {
		if (**text < '0' || **text > '9')
			return -1;
		n = 10 * n + (**text - '0');
	}
	return n;
}

/* The same behind this character, in either case. */
static int take_after(const char **text, char c, int digits)
{
	if (**text != c && **text != c + ('a' - 'A'))
		return -1;
	(*text)++;
	return take_digits(text, digits);
}

static int days_in(int month, int year)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* ".123456" as 123; 0 without; -1 if it is none. */
static int take_fraction(const char **text)
{
	int ms = 0, scale = 100;

	if (**text != '.')
		return 0;
	++*text;
	if (**text < '0' || **text > '9')
		return -1;
	for (; **text >= '0' && **text <= '9'; ++*text, scale /= 10)
		ms += (**text - '0') * scale;
	return ms;
}

/* "Z", "+02:00": the offset in minutes. False: it is none, or not the end. */
static bool take_offset(const char *text, int *minutes)
{
	int sign = *text == '-' ? -1 : 1, hour, minute;

	*minutes = 0;
	if (*text == 'Z' || *text == 'z')
		return text[1] == '\0';
	if (*text != '+' && *text != '-')
		return false;
	text++;
	hour = take_digits(&text, 2);
	if (*text++ != ':')
		return false;
	minute = take_digits(&text, 2);
	*minutes = sign * (60 * hour + minute);
	return hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && *text == '\0';
}

/* At *text; false if no such time can be. A leap second is one too many. */
static bool take_time(const char **text, struct tm *tm)
{
	int year = take_digits(text, 4);
	int month = take_after(text, '-', 2);
	int day = take_after(text, '-', 2);
	int hour = take_after(text, 'T', 2);
	int minute = take_after(text, ':', 2);
	int second = take_after(text, ':', 2);

	if (year < 1970 || month < 1 || month > 12 || day < 1 ||
	    day > days_in(month, year) || hour < 0 || hour > 23 || minute < 0 ||
	    minute > 59 || second < 0 || second > 60)
		return false;
	*tm = (struct tm){ .tm_year = year - 1900,
		               .tm_mon = month - 1,
		               .tm_mday = day,
		               .tm_hour = hour,
		               .tm_min = minute,
		               .tm_sec = second };
	return true;
}

enum err clock_parse(const char *text, int64_t *wall_ms)
{
	int ms, offset;
	struct tm tm;

	if (!take_time(&text, &tm))
		return ERR_INVAL;
	ms = take_fraction(&text);
	if (ms < 0 || !take_offset(text, &offset))
		return ERR_INVAL;
	*wall_ms = ((int64_t)timegm(&tm) - 60 * offset) * 1000 + ms;
	return ERR_OK;
}
