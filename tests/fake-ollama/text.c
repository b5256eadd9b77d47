/*
 * text.c - texts as Go writes them.
 *
 * The calendar part of a time is formatted once a second and kept, because a
 * stream of thirty thousand lines a second carries a time in each.
 */
#include <config.h>

#include "text.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)

static void die(void)
{
	fputs("fake-ollama: out of memory, or a text over its bound\n", stderr);
	abort();
}

void put(struct buf *b, const void *p, size_t len)
{
	if (buf_add(b, p, len))
		die();
}

void put_s(struct buf *b, const char *s)
{
	put(b, s, strlen(s));
}

void put_f(struct buf *b, const char *fmt, ...)
{
	char *s;
	int n;
	va_list ap;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		die();
	put(b, s, (size_t)n);
	free(s);
}

void *text_alloc(size_t size)
{
	void *p = calloc(1, size);

	if (!p)
		die();
	return p;
}

char *text_dup(struct span s)
{
	char *p = text_alloc(s.len + 1);

	if (s.len)
		memcpy(p, s.p, s.len);
	return p;
}

size_t text_utf8_at(const char *p, size_t left)
{
	unsigned char c = (unsigned char)*p;
	size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	if (!n || n > left || !str_utf8_ok((struct span){ p, n }, NULL))
		return 0;
	return n;
}

/* What one ASCII byte becomes in a JSON string; NULL: itself. */
static const char *escape_of(unsigned char c, char room[8])
{
	switch (c) {
	case '"':
		return "\\\"";
	case '\\':
		return "\\\\";
	case '\b':
		return "\\b";
	case '\f':
		return "\\f";
	case '\n':
		return "\\n";
	case '\r':
		return "\\r";
	case '\t':
		return "\\t";
	default:
		break;
	}
	if (c >= 0x20 && c != '<' && c != '>' && c != '&')
		return NULL;
	snprintf(room, 8, "\\u%04x", c);
	return room;
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' &&
	       c != '&';
}

void put_json(struct buf *b, struct span s)
{
	size_t at = 0, plain = 0;
	char room[8];

	put(b, "\"", 1);
	while (at < s.len) {
		const unsigned char *p = (const unsigned char *)s.p + at;
		const char *as = NULL;
		size_t n = 1;

		if (is_plain(*p)) {
			at++;
			continue;
		}
		if (*p < 0x80) {
			as = escape_of(*p, room);
		} else {
			n = text_utf8_at(s.p + at, s.len - at);
			if (!n)
				as = "\\ufffd";
			else if (n == 3 && p[0] == 0xe2 && p[1] == 0x80 &&
			         (p[2] & 0xfe) == 0xa8)
				as = p[2] == 0xa8 ? "\\u2028" : "\\u2029";
			n = n ? n : 1;
		}
		if (as) {
			put(b, s.p + plain, at - plain);
			put_s(b, as);
			plain = at + n;
		}
		at += n;
	}
	if (s.len > plain)
		put(b, s.p + plain, s.len - plain);
	put(b, "\"", 1);
}

void put_quoted(struct buf *b, struct span s)
{
	put(b, "\"", 1);
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			put(b, "\\", 1);
		put(b, s.p + i, 1);
	}
	put(b, "\"", 1);
}

static int64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t text_wall_ns(void)
{
	return now_ns(CLOCK_REALTIME);
}

int64_t text_mono_ns(void)
{
	return now_ns(CLOCK_MONOTONIC);
}

/* ".123456789" without trailing zeros; nothing at all for zero. */
static void put_fraction(struct buf *b, int64_t ns)
{
	char s[10];
	size_t len = 9;

	if (!ns)
		return;
	for (size_t i = len; i-- > 0; ns /= 10)
		s[i] = (char)('0' + ns % 10);
	while (s[len - 1] == '0')
		len--;
	put(b, ".", 1);
	put(b, s, len);
}

void put_utc(struct buf *b, int64_t wall_ns)
{
	static time_t known = -1;
	static char text[32];
	static size_t len;
	time_t sec = wall_ns / NS_PER_S;

	if (sec != known) {
		struct tm tm;

		gmtime_r(&sec, &tm);
		len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
		known = sec;
	}
	put(b, text, len);
	put_fraction(b, wall_ns % NS_PER_S);
	put(b, "Z", 1);
}

void put_local(struct buf *b, int64_t wall_ns)
{
	time_t sec = wall_ns / NS_PER_S;
	char text[48];
	struct tm tm;
	long off;

	localtime_r(&sec, &tm);
	put(b, text, strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm));
	put_fraction(b, wall_ns % NS_PER_S);
	off = tm.tm_gmtoff / 60;
	if (!off)
		put(b, "Z", 1);
	else
		put_f(b, "%c%02ld:%02ld", off < 0 ? '-' : '+', labs(off) / 60,
		      labs(off) % 60);
}

const char *text_http_date(void)
{
	static time_t known = -1;
	static char text[40];
	time_t sec = time(NULL);

	if (sec != known) {
		struct tm tm;

		gmtime_r(&sec, &tm);
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		known = sec;
	}
	return text;
}
