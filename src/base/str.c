/*
 * str.c - spans, numbers with units, hex, base64, UTF-8, escapes.
 *
 * No locale, no allocation but span_dup's, no parser that stops half-way:
 * a text is of the form or it is ERR_INVAL.
 */
#include <config.h>

#include "base/str.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- spans ----------------------------------------------------------------- */

struct span span_of(const char *s)
{
	return (struct span){ s, s ? strlen(s) : 0 };
}

bool span_eq(struct span a, const char *s)
{
	size_t len = strlen(s);

	return a.p && a.len == len && memcmp(a.p, s, len) == 0;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool span_eq_nocase(struct span a, const char *s)
{
	if (!a.p || a.len != strlen(s))
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (lower(a.p[i]) != lower(s[i]))
			return false;
	return true;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct span span_trim(struct span s)
{
	while (s.len && is_space(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len && is_space(s.p[s.len - 1]))
		s.len--;
	return s;
}

bool span_cut(struct span *rest, char sep, struct span *piece)
{
	const char *at;

	if (!rest->p)
		return false;
	at = rest->len ? memchr(rest->p, sep, rest->len) : NULL;
	if (!at) {
		*piece = *rest;
		*rest = (struct span){ NULL, 0 };
		return true;
	}
	*piece = (struct span){ rest->p, (size_t)(at - rest->p) };
	rest->len -= piece->len + 1;
	rest->p = at + 1;
	return true;
}

char *span_dup(struct span s)
{
	char *copy = malloc(s.len + 1);

	if (!copy)
		return NULL;
	if (s.len)
		memcpy(copy, s.p, s.len);
	copy[s.len] = '\0';
	return copy;
}

/* --- numbers, durations, sizes --------------------------------------------- */

enum err str_u64(struct span s, uint64_t *out)
{
	uint64_t n = 0;

	if (!s.len)
		return ERR_INVAL;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';

		if (digit > 9 || n > (UINT64_MAX - digit) / 10)
			return ERR_INVAL;
		n = n * 10 + digit;
	}
	*out = n;
	return ERR_OK;
}

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first, for the formatters. */
static const struct unit durations[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};
static const struct unit sizes[] = {
	{ "G", 1 << 30 },
	{ "M", 1 << 20 },
	{ "K", 1 << 10 },
	{ "", 1 },
};

static enum err parse_unit(struct span s, const struct unit *units, size_t count,
                           int64_t *out)
{
	size_t digits = 0;
	struct span name;
	uint64_t n;

	while (digits < s.len && s.p[digits] >= '0' && s.p[digits] <= '9')
		digits++;
	if (str_u64((struct span){ s.p, digits }, &n))
		return ERR_INVAL;
	name = (struct span){ s.p + digits, s.len - digits };
	for (size_t i = 0; i < count; i++) {
		if (!span_eq(name, units[i].name))
			continue;
		if (n > (uint64_t)(INT64_MAX / units[i].factor))
			return ERR_INVAL;
		*out = (int64_t)n * units[i].factor;
		return ERR_OK;
	}
	return ERR_INVAL;
}

enum err str_duration_ms(struct span s, int64_t *out)
{
	if (span_eq(s, "0")) {
		*out = 0;
		return ERR_OK;
	}
	return parse_unit(s, durations, ARRAY_LEN(durations), out);
}

enum err str_size(struct span s, int64_t *out)
{
	return parse_unit(s, sizes, ARRAY_LEN(sizes), out);
}

static void format_unit(int64_t n, const struct unit *units, char *out)
{
	while (n % units->factor)
		units++;
	snprintf(out, 32, "%lld%s", (long long)(n / units->factor), units->name);
}

void str_format_duration(int64_t ms, char *out)
{
	if (ms == 0)
		str_copy(out, 32, "0");
	else
		format_unit(ms, durations, out);
}

void str_format_size(int64_t bytes, char *out)
{
	if (bytes == 0)
		str_copy(out, 32, "0");
	else
		format_unit(bytes, sizes, out);
}

bool str_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);
	size_t fits;

	assert(size > 0);
	fits = len < size ? len : size - 1;
	memcpy(dst, src, fits);
	dst[fits] = '\0';
	return fits == len;
}

/* --- hex and base64 -------------------------------------------------------- */

static const char hex_digits[] = "0123456789abcdef";

void str_hex(const void *p, size_t len, char *out)
{
	const unsigned char *bytes = p;

	for (size_t i = 0; i < len; i++) {
		*out++ = hex_digits[bytes[i] >> 4];
		*out++ = hex_digits[bytes[i] & 15];
	}
	*out = '\0';
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void str_base64(const void *p, size_t len, char *out)
{
	const unsigned char *in = p;

	for (; len >= 3; len -= 3, in += 3) {
		*out++ = base64_digits[in[0] >> 2];
		*out++ = base64_digits[(in[0] & 3) << 4 | in[1] >> 4];
		*out++ = base64_digits[(in[1] & 15) << 2 | in[2] >> 6];
		*out++ = base64_digits[in[2] & 63];
	}
	if (len) {
		unsigned second = len == 2 ? in[1] : 0;

		*out++ = base64_digits[in[0] >> 2];
		*out++ = base64_digits[(in[0] & 3U) << 4 | second >> 4];
		*out++ = len == 2 ? base64_digits[(second & 15) << 2] : '=';
		*out++ = '=';
	}
	*out = '\0';
}

/* The six bits of a digit, 64 for anything else. */
static unsigned base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0') + 52;
	return c == '+' ? 62 : c == '/' ? 63 : 64;
}

enum err str_unbase64(struct span s, void *out, size_t *out_len)
{
	unsigned char *to = out;
	size_t pad = 0, len;
	unsigned last = 0;

	if (s.len % 4)
		return ERR_INVAL;
	while (pad < 2 && pad < s.len && s.p[s.len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < s.len - pad; i++) {
		last = base64_value(s.p[i]);
		if (last > 63)
			return ERR_INVAL;
	}
	/* bits behind the last whole byte must be zero: one text per value */
	if (last & (pad == 1 ? 3U : pad == 2 ? 15U : 0U))
		return ERR_INVAL;
	len = s.len / 4 * 3 - pad;
	if (len > *out_len)
		return ERR_TOOBIG;
	for (size_t i = 0, bits = 0, held = 0; i < s.len - pad; i++) {
		held = (held & 0xfff) << 6 | base64_value(s.p[i]);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*to++ = (unsigned char)(held >> bits & 0xff);
		}
	}
	*out_len = len;
	return ERR_OK;
}

/* --- UTF-8 and escapes ----------------------------------------------------- */

/* Bytes of the well-formed sequence at `p` (RFC 3629), 0 if it is none. */
static size_t utf8_sequence(const unsigned char *p, size_t room)
{
	unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (room < len)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0; /* below: overlong */
	else if (p[0] == 0xed)
		high = 0x9f; /* above: surrogates */
	else if (p[0] == 0xf0)
		low = 0x90; /* below: overlong */
	else if (p[0] == 0xf4)
		high = 0x8f; /* above: past U+10FFFF */
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool str_utf8_ok(struct span s, size_t *bad)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t at = 0;

	while (at < s.len) {
		uint64_t word;
		size_t len;

		if (s.len - at >= sizeof(word)) { /* most text is ASCII */
			memcpy(&word, p + at, sizeof(word));
			if (!(word & 0x8080808080808080)) {
				at += sizeof(word);
				continue;
			}
		}
		len = utf8_sequence(p + at, s.len - at);
		if (!len) {
			if (bad)
				*bad = at;
			return false;
		}
		at += len;
	}
	return true;
}

void str_escape(struct span s, char *out, size_t size)
{
	size_t at = 0, keep = 0; /* keep: the last place with room for "..." */

	assert(size > 0);
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool plain = c >= 0x20 && c <= 0x7e && c != '\\';

		if (at + (plain ? 1 : 4) >= size) {
			for (at = keep; at < size - 1 && at < keep + 3; at++)
				out[at] = '.';
			break;
		}
		if (plain) {
			out[at++] = (char)c;
		} else {
			out[at++] = '\\';
			out[at++] = 'x';
			out[at++] = hex_digits[c >> 4];
			out[at++] = hex_digits[c & 15];
		}
		if (at + 3 < size)
			keep = at;
	}
	out[at] = '\0';
}

/* C0 but tab and newline, DEL, and C1 in its two bytes. */
static bool is_control(const unsigned char *p, size_t len)
{
	if (len == 1)
		return (p[0] < 0x20 && p[0] != '\t' && p[0] != '\n') || p[0] == 0x7f;
	return len == 2 && p[0] == 0xc2 && p[1] < 0xa0;
}

/* Is there the beginning of a character, and nothing else? */
static bool is_beginning(const unsigned char *p, size_t room)
{
	size_t len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	for (size_t i = 1; i < room; i++)
		if ((p[i] & 0xc0) != 0x80)
			return false;
	return room < len && p[0] >= 0xc2 && p[0] <= 0xf4;
}

void str_readable(struct span s, char *out, size_t size)
{
	static const unsigned char unknown[] = { 0xef, 0xbf, 0xbd }; /* U+FFFD */
	const unsigned char *p = (const unsigned char *)s.p;
	size_t at = 0;

	assert(size > 0);
	for (size_t i = 0; i < s.len;) {
		size_t len = utf8_sequence(p + i, s.len - i);
		const unsigned char *from = p + i;
		size_t copy = len;

		if (len == 0 && is_beginning(from, s.len - i))
			break;
		i += len > 0 ? len : 1;
		if (*from == '\r')
			continue;
		if (len == 0 || is_control(from, len)) {
			from = unknown;
			copy = sizeof(unknown);
		}
		if (at + copy >= size)
			break;
		memcpy(out + at, from, copy);
		at += copy;
	}
	out[at] = '\0';
}
