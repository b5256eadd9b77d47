/*
 * err.c - the names of the error codes, and the text beside them.
 *
 * A text is always one line: control characters, which could only come from
 * outside, become '?', so that it may go into a log or an answer as it is.
 */
#include <config.h>

#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

const char *err_name(enum err e)
{
	static const char *const names[ERR_COUNT] = {
		[ERR_OK] = "ok",
		[ERR_STALE] = "stale",
		[ERR_NOENT] = "noent",
		[ERR_CONFLICT] = "conflict",
		[ERR_INVAL] = "inval",
		[ERR_TOOBIG] = "toobig",
		[ERR_LIMIT] = "limit",
		[ERR_FULL] = "full",
		[ERR_BUSY] = "busy",
		[ERR_AGAIN] = "again",
		[ERR_TIMEOUT] = "timeout",
		[ERR_CLOSED] = "closed",
		[ERR_DENIED] = "denied",
		[ERR_VERSION] = "version",
		[ERR_IO] = "io",
		[ERR_NOMEM] = "nomem",
	};

	assert((unsigned)e < ERR_COUNT);
	return names[e];
}

enum err err_of_errno(int number)
{
	switch (number) {
	case EPIPE:
	case ECONNRESET:
		return ERR_CLOSED;
	case ENOSPC:
	case EDQUOT:
		return ERR_FULL;
	case ENOENT:
	case ENOTDIR:
	case ECONNREFUSED:
		return ERR_NOENT;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_DENIED;
	case EAGAIN:
	case EADDRINUSE:
		return ERR_BUSY;
	case ENOMEM:
		return ERR_NOMEM;
	default:
		return ERR_IO;
	}
}

/* Through a copy: the arguments may point into the text that is replaced. */
static void keep_one_line(struct errtext *t, const struct errtext *text)
{
	size_t i;

	for (i = 0; text->s[i]; i++) {
		unsigned char c = (unsigned char)text->s[i];

		t->s[i] = c < 0x20 || c == 0x7f ? '?' : text->s[i];
	}
	t->s[i] = '\0';
}

void errtext_set(struct errtext *t, const char *fmt, ...)
{
	struct errtext text;
	va_list args;

	if (!t)
		return;
	va_start(args, fmt);
	vsnprintf(text.s, sizeof(text.s), fmt, args);
	va_end(args);
	keep_one_line(t, &text);
}

void errtext_wrap(struct errtext *t, const char *fmt, ...)
{
	struct errtext text;
	size_t len;
	va_list args;

	if (!t)
		return;
	va_start(args, fmt);
	vsnprintf(text.s, sizeof(text.s), fmt, args);
	va_end(args);
	len = strlen(text.s);
	if (t->s[0] && str_copy(text.s + len, sizeof(text.s) - len, ": "))
		str_copy(text.s + len + 2, sizeof(text.s) - len - 2, t->s);
	keep_one_line(t, &text);
}
