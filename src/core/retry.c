/*
 * retry.c - when to try again.
 *
 * Arithmetic on delays, and the one header a server answers delays in. What
 * stays true: no result is below zero except the two -1 answers, and none is
 * above the bound the caller gave. Not here: what counts as a failure, and
 * who is asked again.
 */
#include <config.h>

#include "core/retry.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/str.h"

int64_t retry_backoff_ms(int64_t base_ms, int64_t max_ms, unsigned n)
{
	int64_t delay = base_ms;

	for (; n > 0 && delay > 0 && delay < max_ms; n--)
		delay = delay > max_ms / 2 ? max_ms : delay * 2;
	return delay < max_ms ? delay : max_ms;
}

int64_t retry_schedule_ms(const int64_t *schedule_ms, size_t count,
                          unsigned attempt, uint32_t random)
{
	int64_t delay, fifth;

	if (attempt >= count)
		return -1;
	delay = schedule_ms[attempt];
	fifth = delay / 5;
	/* Between 80 % and 120 %: the lower edge, and a share of two fifths. A
	 * double holds centuries of milliseconds exactly. */
	return delay - fifth + (int64_t)(2.0 * (double)fifth * random / UINT32_MAX);
}

/* "Nov" is 10; -1 when it is no month. */
static int month_of(const char *name)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int i = 0; i < 12; i++)
		if (strncmp(months + 3 * i, name, 3) == 0)
			return i;
	return -1;
}

/*
 * The three dates of RFC 9110, 5.6.7, whatever weekday they name. Seconds
 * since 1970, or -1. In each form %n is reached, and `end` set, only when all
 * before it fits.
 */
static time_t http_date(const char *text)
{
	struct tm tm = { 0 };
	char month[4] = "";
	int year = 0, end = 0;

	/* Sun, 06 Nov 1994 08:49:37 GMT */
	sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &tm.tm_mday,
	       month, &year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end);
	if (end == 0) {
		/* Sunday, 06-Nov-94 08:49:37 GMT */
		sscanf(text, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n",
		       &tm.tm_mday, month, &year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec,
		       &end);
		year += year < 70 ? 2000 : 1900;
	}
	if (end == 0)
		/* Sun Nov  6 08:49:37 1994 */
		sscanf(text, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", month,
		       &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &year, &end);
	tm.tm_mon = month_of(month);
	tm.tm_year = year - 1900;
	if (end == 0 || text[end] != '\0' || tm.tm_mon < 0 || year < 1970 ||
	    tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour < 0 || tm.tm_hour > 23 ||
	    tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
		return -1;
	return timegm(&tm);
}

int64_t retry_after_ms(const char *value, int64_t now_ms, int64_t max_ms)
{
	struct span text = span_trim(span_of(value));
	char date[40];
	uint64_t seconds;
	int64_t wait_ms;
	time_t at;

	if (text.len == 0)
		return -1;
	if (strspn(text.p, "0123456789") >= text.len) {
		/* More digits than a number holds: a very long time all the same. */
		if (str_u64(text, &seconds) || seconds > (uint64_t)max_ms / 1000)
			return max_ms;
		return (int64_t)seconds * 1000;
	}
	if (text.len >= sizeof(date))
		return -1;
	memcpy(date, text.p, text.len);
	date[text.len] = '\0';
	at = http_date(date);
	if (at < 0)
		return -1;
	wait_ms = (int64_t)at * 1000 - now_ms;
	return wait_ms < 0 ? 0 : wait_ms < max_ms ? wait_ms : max_ms;
}
