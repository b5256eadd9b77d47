/*
 * buf.c - growing, bounded bytes.
 *
 * Behind the `cap` bytes one more is always allocated, so that buf_str and
 * buf_take can put their NUL there without growing.
 */
#include <config.h>

#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_done(struct buf *b)
{
	free(b->p);
	buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
}

/* Make room for `more` bytes behind those held. */
static enum err grow(struct buf *b, size_t more)
{
	size_t need = b->len + more;
	size_t cap = b->cap ? b->cap : FIRST_CAP;
	char *p;

	if (more > b->max - b->len)
		return ERR_TOOBIG;
	if (b->p && need <= b->cap)
		return ERR_OK;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	if (cap > b->max)
		cap = b->max;
	if (cap >= PTRDIFF_MAX)
		return ERR_NOMEM;
	p = realloc(b->p, cap + 1);
	if (!p)
		return ERR_NOMEM;
	b->p = p;
	b->cap = cap;
	return ERR_OK;
}

enum err buf_add(struct buf *b, const void *p, size_t len)
{
	enum err e;

	if (!len)
		return ERR_OK;
	e = grow(b, len);
	if (e)
		return e;
	memcpy(b->p + b->len, p, len);
	b->len += len;
	return ERR_OK;
}

enum err buf_add_str(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

enum err buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	enum err e;
	int len;

	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len < 0)
		return ERR_INVAL;
	e = grow(b, (size_t)len);
	if (e)
		return e;
	va_start(args, fmt);
	vsnprintf(b->p + b->len, (size_t)len + 1, fmt, args);
	va_end(args);
	b->len += (size_t)len;
	return ERR_OK;
}

char *buf_reserve(struct buf *b, size_t len)
{
	return grow(b, len) ? NULL : b->p + b->len;
}

void buf_commit(struct buf *b, size_t len)
{
	assert(len <= b->cap - b->len);
	b->len += len;
}

void buf_consume(struct buf *b, size_t len)
{
	assert(len <= b->len);
	if (!len)
		return;
	b->len -= len;
	memmove(b->p, b->p + len, b->len);
}

const char *buf_str(struct buf *b)
{
	if (grow(b, 0))
		return NULL;
	b->p[b->len] = '\0';
	return b->p;
}

char *buf_take(struct buf *b, size_t *len)
{
	char *p = b->p;

	if (len)
		*len = b->len;
	if (!b->len)
		return NULL;
	p[b->len] = '\0';
	buf_init(b, b->max);
	return p;
}
