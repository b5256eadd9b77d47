/*
 * test_screen.c - spans, times, and strangers' texts on a terminal.
 */
#include <config.h>

#include "cli/screen.h"

#include "t.h"

static const char *span(int64_t ms)
{
	static char out[SCREEN_WORDS];

	screen_span(ms, out);
	return out;
}

static void spans_are_words(void)
{
	CHECK_STR(span(-5), "0 ms");
	CHECK_STR(span(0), "0 ms");
	CHECK_STR(span(999), "999 ms");
	CHECK_STR(span(1000), "1 s");
	CHECK_STR(span(119999), "119 s");
	CHECK_STR(span(120000), "2 min");
	CHECK_STR(span(119 * 60000), "119 min");
	CHECK_STR(span(125 * 60000), "2 h 5 min");
	CHECK_STR(span(INT64_C(48) * 3600000 - 1), "47 h 59 min");
	CHECK_STR(span(INT64_C(48) * 3600000), "2 d");
	CHECK(strlen(span(INT64_MAX)) < SCREEN_WORDS);
}

static void times_are_milliseconds(void)
{
	CHECK_INT(screen_time("1970-01-01T00:00:01.002Z"), 1002);
	CHECK_INT(screen_time("2026-11-20T18:00:00.123Z"), INT64_C(1795197600123));
	CHECK_INT(screen_time(NULL), -1);
	CHECK_INT(screen_time(""), -1);
	CHECK_INT(screen_time("2026-11-20"), -1);
	CHECK_INT(screen_time("2026-11-20T18:00:00Z"), -1);
	CHECK_INT(screen_time("2026-11-20T18:00:00.123Z "), -1);
}

static const char *fit(const char *text, int width)
{
	static char out[64];

	return screen_fit(text, width, out, sizeof(out));
}

static void texts_fit_their_columns(void)
{
	CHECK_STR(fit("abc", 3), "abc");
	CHECK_STR(fit("abcd", 3), "ab…");
	CHECK_STR(fit("äöüß", 4), "äöüß");
	CHECK_STR(fit("äöüß", 3), "äö…");
	CHECK_STR(fit("", 3), "");
	CHECK_STR(fit(NULL, 3), "-");
}

static void what_could_move_the_cursor_is_made_harmless(void)
{
	CHECK_STR(fit("a\x1b[2Jb", 20), "a?[2Jb");
	CHECK_STR(fit("a\r\nb\tc", 20), "a??b?c");
	CHECK_STR(fit("a\x7f", 20), "a?");
	CHECK_STR(fit("\xc2\x9b"
	              "31m",
	              20),
	          "??31m"); /* C1's CSI */
	CHECK_STR(fit("\xff\xfe", 20), "??");
	CHECK_STR(fit("\xe2\x82", 20), "??"); /* cut off */
	CHECK_STR(fit("\xed\xa0\x80", 20), "???");
}

static void a_long_text_stays_in_its_buffer(void)
{
	char small[16], text[100];

	memset(text, 'a', sizeof(text));
	text[99] = '\0';
	screen_fit(text, 90, small, sizeof(small));
	CHECK(strlen(small) < sizeof(small));
	CHECK(strstr(small, "…") != NULL);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(spans_are_words),
		T(times_are_milliseconds),
		T(texts_fit_their_columns),
		T(what_could_move_the_cursor_is_made_harmless),
		T(a_long_text_stays_in_its_buffer),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
