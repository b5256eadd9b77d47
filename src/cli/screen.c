/*
 * screen.c - how things look on a terminal, and without one.
 */
#include <config.h>

#include "cli/screen.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"

#define COLUMNS 80
#define COLUMNS_MIN 40

int screen_columns(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= COLUMNS_MIN)
		return size.ws_col;
	return COLUMNS;
}

bool screen_is_terminal(FILE *f)
{
	const char *term = getenv("TERM");

	return isatty(fileno(f)) && !(term && strcmp(term, "dumb") == 0);
}

void screen_span(int64_t ms, char out[SCREEN_WORDS])
{
	int64_t s = ms / 1000, min = s / 60, h = min / 60;

	if (ms < 1000)
		snprintf(out, SCREEN_WORDS, "%d ms", ms > 0 ? (int)ms : 0);
	else if (s < 120)
		snprintf(out, SCREEN_WORDS, "%d s", (int)s);
	else if (min < 120)
		snprintf(out, SCREEN_WORDS, "%d min", (int)min);
	else if (h < 48)
		snprintf(out, SCREEN_WORDS, "%d h %d min", (int)h, (int)(min % 60));
	else
		snprintf(out, SCREEN_WORDS, "%lld d", (long long)(h / 24));
}

int64_t screen_time(const char *iso)
{
	struct tm tm = { 0 };
	int ms = 0, used = 0;

	if (!iso ||
	    sscanf(iso, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &tm.tm_year, &tm.tm_mon,
	           &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms, &used) != 7 ||
	    iso[used])
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return (int64_t)timegm(&tm) * 1000 + ms;
}

/* The bytes of the character at `p`, 1 for one that is broken. */
static size_t character(const char *p, bool *good)
{
	unsigned char c = (unsigned char)*p;
	size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	*good = strnlen(p, len) == len && str_utf8_ok((struct span){ p, len }, NULL) &&
	        c >= 0x20 && c != 0x7f && !(c == 0xc2 && (unsigned char)p[1] < 0xa0);
	return *good ? len : 1;
}

const char *screen_fit(const char *text, int width, char *out, size_t size)
{
	size_t n = 0, before_last = 0;
	int columns = 0;

	if (!text)
		text = "-";
	while (*text && columns < width && n + 8 < size) {
		bool good;
		size_t len = character(text, &good);

		before_last = n;
		if (good)
			memcpy(out + n, text, len);
		else
			out[n] = '?';
		n += len;
		text += len;
		columns++;
	}
	if (*text) {
		memcpy(out + before_last, "…", sizeof("…"));
		return out;
	}
	out[n] = '\0';
	return out;
}

void screen_restart(void)
{
	fputs("\033[H\033[J", stdout);
}

void progress_show(struct progress *p, const char *words, const char *fmt, ...)
{
	char line[256], fitted[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (screen_is_terminal(stderr)) {
		fprintf(stderr, "\r\033[K%s",
		        screen_fit(line, screen_columns() - 1, fitted, sizeof(fitted)));
		p->drawn = true;
	} else if (strcmp(p->last, words) != 0) {
		fprintf(stderr, "%s\n", screen_fit(line, 200, fitted, sizeof(fitted)));
		str_copy(p->last, sizeof(p->last), words);
	}
}

void progress_clear(struct progress *p)
{
	if (p->drawn)
		fputs("\r\033[K", stderr);
	p->drawn = false;
}
