/*
 * buf.h - bytes that grow up to a stated bound.
 *
 * A buf never holds more than its `max`; an append that would is refused
 * whole (ERR_TOOBIG) and leaves what was there. Embed it; init before use,
 * done after (done on a zeroed buf is fine).
 */
#ifndef FOREMAN_BASE_BUF_H
#define FOREMAN_BASE_BUF_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

struct buf {
	char *p; /* `len` bytes; NULL while empty and never filled */
	size_t len;
	size_t cap;
	size_t max;
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b); /* frees; the buf is as after buf_init */
void buf_clear(struct buf *b); /* keeps the memory, forgets the bytes */

enum err buf_add(struct buf *b, const void *p, size_t len) MUST_CHECK;
enum err buf_add_str(struct buf *b, const char *s) MUST_CHECK;
enum err buf_addf(struct buf *b, const char *fmt, ...)
    PRINTF_LIKE(2, 3) MUST_CHECK;

/* Room for `len` more bytes; the address to write them to, NULL if refused.
 * Follow with buf_commit(b, n) for the n <= len bytes written. */
char *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);

/* Drop the first `len` bytes (moves the rest down). */
void buf_consume(struct buf *b, size_t len);

/* The bytes as a C string: adds a NUL behind them that `len` does not count.
 * NULL when there is no memory. Valid until the next call on this buf. */
const char *buf_str(struct buf *b);

/* The caller gets the bytes (free() them), a NUL behind them, and the buf is
 * empty; NULL if it was. `len` may be NULL. */
char *buf_take(struct buf *b, size_t *len);

#endif
