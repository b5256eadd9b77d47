/*
 * log.c - an event becomes a line of ASCII and one write.
 *
 * A line never exceeds PIPE_BUF, so lines of processes that share a pipe do
 * not mix; pairs that would not fit are left out and counted. Values pass
 * through str_escape in both formats, so they look the same in both and no
 * byte from outside can end a line or a quoted value.
 */
#include <config.h>

#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

#define TAIL_ROOM 32 /* for the count of pairs left out, "}" and "\n" */
#define ESCAPED_MAX (4 * LOG_VALUE_MAX + 1)

struct line {
	char s[PIPE_BUF];
	size_t len;
	size_t room; /* how long it may get for now */
	bool full;   /* something did not fit */
};

static struct {
	const char *prog;
	enum log_level level;
	enum log_format format;
} config = { "foreman", LOG_INFO, LOG_LOGFMT };

void log_init(const char *prog, enum log_level level, enum log_format format)
{
	config.prog = prog;
	config.level = level;
	config.format = format;
}

static void put(struct line *l, const char *s, size_t len)
{
	if (l->full || len > l->room - l->len) {
		l->full = true;
		return;
	}
	memcpy(l->s + l->len, s, len);
	l->len += len;
}

static void put_str(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

static void put_key(struct line *l, const char *key)
{
	bool json = config.format == LOG_JSON;

	if (l->len)
		put_str(l, json ? "," : " ");
	put_str(l, !json ? "" : l->len ? "\"" : "{\"");
	put_str(l, key);
	put_str(l, json ? "\":" : "=");
}

/* Cut to LOG_VALUE_MAX, then ASCII without control characters. */
static void escape(const char *value, char out[ESCAPED_MAX])
{
	size_t len = strnlen(value, LOG_VALUE_MAX + 1);
	bool cut = len > LOG_VALUE_MAX;

	if (cut)
		len = LOG_VALUE_MAX - 3;
	str_escape((struct span){ value, len }, out, ESCAPED_MAX);
	if (cut)
		strcat(out, "...");
}

static void put_value(struct line *l, const char *value)
{
	char text[ESCAPED_MAX];
	bool json = config.format == LOG_JSON;

	escape(value ? value : "-", text);
	if (!json && *text && !strpbrk(text, " =\"")) {
		put_str(l, text);
		return;
	}
	put_str(l, "\"");
	for (const char *c = text; *c; c++) {
		/* logfmt keeps the backslash of \xNN bare; JSON knows no \x */
		if (*c == '"' || (json && *c == '\\'))
			put_str(l, "\\");
		put(l, c, 1);
	}
	put_str(l, "\"");
}

static void put_int(struct line *l, int64_t n)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%lld", (long long)n);
	put_str(l, digits);
}

static void put_pair(struct line *l, const char *key, const char *value)
{
	put_key(l, key);
	put_value(l, value);
}

/* All of the pair, or false and nothing. */
static bool put_kv(struct line *l, const struct log_kv *kv)
{
	size_t before = l->len;

	put_key(l, kv->key);
	if (kv->type == LOG_KV_INT)
		put_int(l, kv->num);
	else
		put_value(l, kv->str);
	if (!l->full)
		return true;
	l->len = before;
	l->full = false;
	return false;
}

void log_write(enum log_level level, const char *msg, const struct log_kv *kv,
               size_t kv_count)
{
	static const char *const levels[LOG_LEVEL_COUNT] = { "error", "warn", "info",
		                                                 "debug" };
	struct line l = { .len = 0, .room = sizeof(l.s) - TAIL_ROOM };
	char iso[CLOCK_ISO_SIZE];
	int64_t left_out = 0;
	int number = errno; /* logging must not disturb who reports errno next */

	if (level > config.level)
		return;
	clock_iso(clock_wall_ms(), iso);
	put_pair(&l, "ts", iso);
	put_pair(&l, "level", levels[level]);
	put_pair(&l, "prog", config.prog);
	put_pair(&l, "msg", msg);
	for (size_t i = 0; i < kv_count; i++)
		left_out += !put_kv(&l, &kv[i]);
	l.room = sizeof(l.s);
	if (left_out) {
		put_key(&l, "left_out");
		put_int(&l, left_out);
	}
	put_str(&l, config.format == LOG_JSON ? "}\n" : "\n");
	while (write(STDERR_FILENO, l.s, l.len) < 0 && errno == EINTR)
		;
	errno = number;
}
