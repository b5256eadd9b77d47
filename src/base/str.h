/*
 * str.h - checked parsing of small texts, and the encodings on the wire.
 *
 * Every parser takes the whole text or refuses it; nothing is skipped.
 */
#ifndef FOREMAN_BASE_STR_H
#define FOREMAN_BASE_STR_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of somebody else's bytes; not NUL-terminated. */
struct span {
	const char *p; /* NULL: absent */
	size_t len;
};

#define SPAN_LIT(lit) ((struct span){ (lit), sizeof(lit) - 1 })

struct span span_of(const char *s); /* of a C string; NULL gives absent */
bool span_eq(struct span a, const char *s);
bool span_eq_nocase(struct span a, const char *s); /* ASCII */
struct span span_trim(struct span s);              /* ASCII white space */
/* Cut the next piece before `sep` off the front of *rest; false at the end.
 * Pieces may be empty: "a," has two, "" has one, an absent span has none. */
bool span_cut(struct span *rest, char sep, struct span *piece);
/* A NUL-terminated heap copy; NULL when there is no memory. */
char *span_dup(struct span s);

/* Decimal digits only, no sign, no blanks. ERR_INVAL otherwise or on overflow. */
enum err str_u64(struct span s, uint64_t *out) MUST_CHECK;

/* "250ms", "30s", "10m", "2h", "7d", or "0"; milliseconds. Whole numbers only. */
enum err str_duration_ms(struct span s, int64_t *out) MUST_CHECK;

/* "512", "512K", "64M", "1G": bytes, powers of 1024. */
enum err str_size(struct span s, int64_t *out) MUST_CHECK;

/* Write a duration / size the way the parsers read it, in the largest exact
 * unit: "10m", "64M". `out` needs 32 bytes. */
void str_format_duration(int64_t ms, char *out);
void str_format_size(int64_t bytes, char *out);

/* Copy with a guaranteed NUL; false if it did not fit (then cut). */
bool str_copy(char *dst, size_t size, const char *src);

/* Lower-case hex of `len` bytes; `out` needs 2*len+1. */
void str_hex(const void *p, size_t len, char *out);

/* Standard base64 with padding. out: 4*((len+2)/3)+1 bytes. */
void str_base64(const void *p, size_t len, char *out);
/* Strict decoding; `*out_len` is in: room, out: bytes. ERR_INVAL, ERR_TOOBIG. */
enum err str_unbase64(struct span s, void *out, size_t *out_len) MUST_CHECK;

/* Well-formed UTF-8 (no surrogates, no overlong forms)? The byte it fails at
 * goes to *bad when not NULL. */
bool str_utf8_ok(struct span s, size_t *bad);

/* Copy `s` for a log or an error text: bytes outside 0x20-0x7e and '\\' as
 * \xNN, cut to fit with "..." at the end. Always NUL-terminated. */
void str_escape(struct span s, char *out, size_t size);

/* Copy a stranger's text for people: well-formed UTF-8 stays as it is, but
 * control characters (of which tab and newline stay, returns go) and all other
 * bytes become U+FFFD. Cut between characters to fit; a character that `s` ends
 * in the middle of is left out. Always NUL-terminated. */
void str_readable(struct span s, char *out, size_t size);

#endif
