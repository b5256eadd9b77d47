/*
 * fuzz_retry.c - a Retry-After value a line.
 */
#include <config.h>

#include <time.h>

#include "core/retry.h"
#include "fuzz.h"

#define DAY_MS INT64_C(86400000)
#define NOW_MS (20000 * DAY_MS) /* October 2024 */

/* The same moment in the form that is to be preferred. */
static void rewrite(int64_t at_ms)
{
	time_t at = (time_t)(at_ms / 1000);
	char date[64];
	struct tm tm;

	HOLDS(at_ms >= 0 && at_ms % 1000 == 0 && gmtime_r(&at, &tm));
	if (tm.tm_year > 9999 - 1900)
		return;
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	HOLDS(retry_after_ms(date, 0, INT64_MAX) == at_ms);
}

static void check(const char *value)
{
	struct span text = span_trim(span_of(value));
	int64_t at = retry_after_ms(value, 0, INT64_MAX);
	int64_t wait = retry_after_ms(value, NOW_MS, DAY_MS);
	char *trimmed = fuzz_text(text);

	HOLDS(at >= -1 && wait >= -1 && wait <= DAY_MS);
	HOLDS((at < 0) == (wait < 0));
	HOLDS(retry_after_ms(trimmed, NOW_MS, DAY_MS) == wait);
	HOLDS(wait < 1 || retry_after_ms(value, NOW_MS, wait) == wait);
	HOLDS(wait < 1 || retry_after_ms(value, NOW_MS, wait - 1) <= wait - 1);
	if (text.len > 0 && strspn(trimmed, "0123456789") == text.len) {
		HOLDS(wait == (at < DAY_MS ? at : DAY_MS));
	} else if (at >= 0) {
		HOLDS(wait == (at < NOW_MS            ? 0
		               : at < NOW_MS + DAY_MS ? at - NOW_MS
		                                      : DAY_MS));
		rewrite(at);
	}
	free(trimmed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = fuzz_span(data, size), piece;

	while (span_cut(&rest, '\n', &piece)) {
		char *line = fuzz_text(piece);

		check(line);
		free(line);
	}
	return 0;
}
