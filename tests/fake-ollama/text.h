/*
 * text.h - texts as Go writes them: JSON strings, times, floats.
 *
 * All of it appends to a buf and cannot fail: a double without memory has
 * nothing true left to say, so it says so and dies.
 */
#ifndef FAKE_OLLAMA_TEXT_H
#define FAKE_OLLAMA_TEXT_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

#define TEXT_MAX ((size_t)1 << 30) /* bytes of any body or reply */

void put(struct buf *b, const void *p, size_t len);
void put_s(struct buf *b, const char *s);
void put_f(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A quoted JSON string, escaped as encoding/json does: <, >, & and the two
 * line separators too; bytes that are not UTF-8 become \ufffd. */
void put_json(struct buf *b, struct span s);

/* The length of the UTF-8 sequence at `p` (left > 0), 0 if it is not one. */
size_t text_utf8_at(const char *p, size_t left);

/* What Go's %q makes of a text of printable ASCII: quotes, backslashes. */
void put_quoted(struct buf *b, struct span s);

/* RFC3339Nano, trailing zeros trimmed: ...Z, and with the zone's offset. */
void put_utc(struct buf *b, int64_t wall_ns);
void put_local(struct buf *b, int64_t wall_ns);

/* "Sun, 06 Nov 1994 08:49:37 GMT" of now; changes once a second. */
const char *text_http_date(void);

int64_t text_wall_ns(void);
int64_t text_mono_ns(void);

/* calloc that does not come back empty-handed; a NUL-terminated copy. */
void *text_alloc(size_t size);
char *text_dup(struct span s);

#endif
