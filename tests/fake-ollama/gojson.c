/*
 * gojson.c - a scanner that stops where Go's stops and says what Go says.
 *
 * Nesting is a bit a level, not recursion. The walk over a value that has
 * been passed trusts it.
 */
#include <config.h>

#include "gojson.h"

#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX 10000 /* encoding/json's own */

struct scan {
	const char *p, *end;
	struct errtext *why;
	unsigned char in_object[DEPTH_MAX / 8 + 1];
	size_t depth;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(struct scan *s)
{
	while (s->p < s->end && is_space(*s->p))
		s->p++;
}

/* "invalid character 'x' <context>", with Go's way of quoting a byte. */
static bool fail(struct scan *s, const char *context)
{
	unsigned char c = (unsigned char)*s->p;
	char quoted[12];

	if (c == '\'')
		strcpy(quoted, "\\'");
	else if (c == '\\')
		strcpy(quoted, "\\\\");
	else if (c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f')
		snprintf(quoted, sizeof(quoted), "\\%c",
		         c == '\n'   ? 'n'
		         : c == '\r' ? 'r'
		         : c == '\t' ? 't'
		         : c == '\b' ? 'b'
		                     : 'f');
	else if (c == '\a' || c == '\v')
		snprintf(quoted, sizeof(quoted), "\\%c", c == '\a' ? 'a' : 'v');
	else if (c < 0x20 || c == 0x7f)
		snprintf(quoted, sizeof(quoted), "\\x%02x", c);
	else if (c < 0x80)
		snprintf(quoted, sizeof(quoted), "%c", c);
	else if (c < 0xa1 || c == 0xad) /* the byte as a rune, not printable */
		snprintf(quoted, sizeof(quoted), "\\u%04x", c);
	else
		snprintf(quoted, sizeof(quoted), "%c%c", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
	errtext_set(s->why, "invalid character '%s' %s", quoted, context);
	return false;
}

static bool cut_off(struct scan *s)
{
	errtext_set(s->why, "unexpected EOF");
	return false;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
	       (c >= 'A' && c <= 'F');
}

static bool scan_escape(struct scan *s)
{
	if (s->p == s->end)
		return cut_off(s);
	if (*s->p != 'u') {
		if (!*s->p || !strchr("bfnrt\\/\"", *s->p))
			return fail(s, "in string escape code");
		s->p++;
		return true;
	}
	s->p++;
	for (int i = 0; i < 4; i++, s->p++) {
		if (s->p == s->end)
			return cut_off(s);
		if (!is_hex(*s->p))
			return fail(s, "in \\u hexadecimal character escape");
	}
	return true;
}

static bool scan_string(struct scan *s)
{
	for (s->p++; s->p < s->end; s->p++) {
		if (*s->p == '"') {
			s->p++;
			return true;
		}
		if ((unsigned char)*s->p < 0x20)
			return fail(s, "in string literal");
		if (*s->p == '\\') {
			s->p++;
			if (!scan_escape(s))
				return false;
			s->p--;
		}
	}
	return cut_off(s);
}

static bool is_digit(const struct scan *s)
{
	return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static bool scan_digits(struct scan *s, const char *context)
{
	if (s->p == s->end)
		return cut_off(s);
	if (!is_digit(s))
		return fail(s, context);
	while (is_digit(s))
		s->p++;
	return true;
}

static bool scan_number(struct scan *s)
{
	if (*s->p == '-') {
		s->p++;
		if (s->p == s->end)
			return cut_off(s);
		if (!is_digit(s))
			return fail(s, "in numeric literal");
	}
	if (*s->p == '0')
		s->p++;
	else
		while (is_digit(s))
			s->p++;
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!scan_digits(s, "after decimal point in numeric literal"))
			return false;
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!scan_digits(s, "in exponent of numeric literal"))
			return false;
	}
	return true;
}

static bool scan_word(struct scan *s, const char *word)
{
	char context[48];

	for (const char *w = word; *w; w++, s->p++) {
		if (s->p == s->end)
			return cut_off(s);
		if (*s->p != *w) {
			snprintf(context, sizeof(context), "in literal %s (expecting '%c')",
			         word, *w);
			return fail(s, context);
		}
	}
	return true;
}

static bool scan_scalar(struct scan *s)
{
	switch (*s->p) {
	case '"':
		return scan_string(s);
	case 't':
		return scan_word(s, "true");
	case 'f':
		return scan_word(s, "false");
	case 'n':
		return scan_word(s, "null");
	default:
		if (*s->p == '-' || is_digit(s))
			return scan_number(s);
		return fail(s, "looking for beginning of value");
	}
}

static bool enter(struct scan *s)
{
	if (s->depth == DEPTH_MAX) {
		errtext_set(s->why, "exceeded max depth");
		return false;
	}
	if (*s->p == '{')
		s->in_object[s->depth / 8] |= (unsigned char)(1u << s->depth % 8);
	else
		s->in_object[s->depth / 8] &= (unsigned char)~(1u << s->depth % 8);
	s->depth++;
	s->p++;
	return true;
}

static bool is_object(const struct scan *s)
{
	return s->in_object[(s->depth - 1) / 8] >> (s->depth - 1) % 8 & 1;
}

/* A key and its colon. */
static bool scan_key(struct scan *s)
{
	skip_space(s);
	if (s->p == s->end)
		return cut_off(s);
	if (*s->p != '"')
		return fail(s, "looking for beginning of object key string");
	if (!scan_string(s))
		return false;
	skip_space(s);
	if (s->p == s->end)
		return cut_off(s);
	if (*s->p != ':')
		return fail(s, "after object key");
	s->p++;
	return true;
}

/* After a value: close what ends, and stand before the next value.
 * *over: the outermost one has ended. */
static bool scan_between(struct scan *s, bool *over)
{
	for (;;) {
		bool object;

		*over = !s->depth;
		if (*over)
			return true;
		object = is_object(s);
		skip_space(s);
		if (s->p == s->end)
			return cut_off(s);
		if (*s->p == ',') {
			s->p++;
			return object ? scan_key(s) : true;
		}
		if (*s->p != (object ? '}' : ']'))
			return fail(s, object ? "after object key:value pair"
			                      : "after array element");
		s->p++;
		s->depth--;
	}
}

static bool scan_value(struct scan *s)
{
	bool over = false;

	while (!over) {
		skip_space(s);
		if (s->p == s->end)
			return cut_off(s);
		if (*s->p == '{' || *s->p == '[') {
			char closer = *s->p == '{' ? '}' : ']';

			if (!enter(s))
				return false;
			skip_space(s);
			if (s->p == s->end)
				return cut_off(s);
			if (*s->p != closer) {
				if (closer == '}' && !scan_key(s))
					return false;
				continue;
			}
			s->p++;
			s->depth--;
		} else if (!scan_scalar(s)) {
			return false;
		}
		if (!scan_between(s, &over))
			return false;
	}
	return true;
}

static enum gojson_type type_of(char c)
{
	switch (c) {
	case '{':
		return GOJSON_OBJECT;
	case '[':
		return GOJSON_ARRAY;
	case '"':
		return GOJSON_STRING;
	case 'n':
		return GOJSON_NULL;
	case 't':
	case 'f':
		return GOJSON_BOOL;
	default:
		return GOJSON_NUMBER;
	}
}

enum err gojson_first(struct span text, struct gojson *out, struct errtext *why)
{
	static struct scan s;
	const char *from;

	s.p = text.p;
	s.end = text.p + text.len;
	s.why = why;
	s.depth = 0;
	skip_space(&s);
	if (s.p == s.end) {
		errtext_set(why, "EOF");
		return ERR_NOENT;
	}
	from = s.p;
	if (!scan_value(&s))
		return ERR_INVAL;
	*out = (struct gojson){ type_of(*from), { from, (size_t)(s.p - from) } };
	return ERR_OK;
}

/* The end of a sound string that begins at `p`. */
static const char *string_end(const char *p)
{
	for (p++; *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p + 1;
}

/* The end of a sound value that begins at `p`. */
static const char *value_end(const char *p, const char *end)
{
	size_t depth = 0;

	do {
		if (*p == '"') {
			p = string_end(p);
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		else if (!depth)
			while (p + 1 < end && !is_space(p[1]) && !strchr(",]}", p[1]))
				p++;
		p++;
	} while (depth);
	return p;
}

static void walk_space(struct gojson_walk *w)
{
	while (w->rest.len && (is_space(*w->rest.p) || *w->rest.p == ',')) {
		w->rest.p++;
		w->rest.len--;
	}
}

static struct span walk_take(struct gojson_walk *w, const char *end)
{
	struct span taken = { w->rest.p, (size_t)(end - w->rest.p) };

	w->rest.p = end;
	w->rest.len -= taken.len;
	return taken;
}

bool gojson_next(struct gojson_walk *w, char **key, struct gojson *out)
{
	if (!w->inside) {
		w->inside = true;
		walk_take(w, w->rest.p + 1);
	}
	walk_space(w);
	*key = NULL;
	if (*w->rest.p == '}' || *w->rest.p == ']')
		return false;
	out->raw = walk_take(w, value_end(w->rest.p, w->rest.p + w->rest.len));
	out->type = type_of(*out->raw.p);
	walk_space(w);
	if (*w->rest.p == ':') {
		*key = gojson_string(out, NULL);
		walk_take(w, w->rest.p + 1);
		walk_space(w);
		out->raw = walk_take(w, value_end(w->rest.p, w->rest.p + w->rest.len));
		out->type = type_of(*out->raw.p);
	}
	return true;
}

static unsigned hex4(const char *p)
{
	char s[5] = { p[0], p[1], p[2], p[3], 0 };

	return (unsigned)strtoul(s, NULL, 16);
}

static char *put_rune(char *o, unsigned r)
{
	if (r < 0x80) {
		*o++ = (char)r;
	} else if (r < 0x800) {
		*o++ = (char)(0xc0 | r >> 6);
		*o++ = (char)(0x80 | (r & 0x3f));
	} else if (r < 0x10000) {
		*o++ = (char)(0xe0 | r >> 12);
		*o++ = (char)(0x80 | (r >> 6 & 0x3f));
		*o++ = (char)(0x80 | (r & 0x3f));
	} else {
		*o++ = (char)(0xf0 | r >> 18);
		*o++ = (char)(0x80 | (r >> 12 & 0x3f));
		*o++ = (char)(0x80 | (r >> 6 & 0x3f));
		*o++ = (char)(0x80 | (r & 0x3f));
	}
	return o;
}

/* \uXXXX at `p` (on the u), with its second half if it is a pair. */
static const char *unescape_u(const char *p, char **o)
{
	unsigned r = hex4(p + 1);

	p += 5;
	if (r >= 0xd800 && r < 0xdc00 && p[0] == '\\' && p[1] == 'u') {
		unsigned low = hex4(p + 2);

		if (low >= 0xdc00 && low < 0xe000) {
			*o = put_rune(*o, 0x10000 + ((r - 0xd800) << 10) + (low - 0xdc00));
			return p + 6;
		}
	}
	*o = put_rune(*o, r >= 0xd800 && r < 0xe000 ? 0xfffd : r);
	return p;
}

char *gojson_string(const struct gojson *v, size_t *len)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *p = v->raw.p + 1, *end = v->raw.p + v->raw.len - 1;
	size_t grows = str_utf8_ok(v->raw, NULL) ? 1 : 3; /* U+FFFD takes three */
	char *s = text_alloc(grows * v->raw.len + 1), *o = s;

	while (p < end) {
		size_t n = 1;

		if (*p == '\\') {
			const char *known = strchr(from, p[1]);

			if (p[1] == 'u') {
				p = unescape_u(p + 1, &o);
				continue;
			}
			*o++ = known ? to[known - from] : p[1];
			p += 2;
			continue;
		}
		if (*p & 0x80) {
			n = text_utf8_at(p, (size_t)(end - p));
			if (!n) {
				o = put_rune(o, 0xfffd);
				p++;
				continue;
			}
		}
		memcpy(o, p, n);
		o += n;
		p += n;
	}
	*o = '\0';
	if (len)
		*len = (size_t)(o - s);
	return s;
}

double gojson_number(const struct gojson *v)
{
	char s[64];

	if (v->type != GOJSON_NUMBER)
		return 0;
	snprintf(s, sizeof(s), "%.*s", (int)(v->raw.len < 63 ? v->raw.len : 63),
	         v->raw.p);
	return strtod(s, NULL);
}

bool gojson_true(const struct gojson *v)
{
	return v->type == GOJSON_BOOL && *v->raw.p == 't';
}

bool gojson_empty(const struct gojson *v)
{
	struct gojson_walk w = { .rest = v->raw };
	struct gojson first;
	char *key;
	bool any;

	if (v->type == GOJSON_STRING)
		return v->raw.len == 2;
	if (v->type != GOJSON_ARRAY && v->type != GOJSON_OBJECT)
		return v->type == GOJSON_ABSENT || v->type == GOJSON_NULL;
	any = gojson_next(&w, &key, &first);
	free(key);
	return !any;
}

const char *gojson_type_name(enum gojson_type t)
{
	static const char *const names[] = {
		[GOJSON_ABSENT] = "nothing", [GOJSON_NULL] = "null",
		[GOJSON_BOOL] = "bool",      [GOJSON_NUMBER] = "number",
		[GOJSON_STRING] = "string",  [GOJSON_ARRAY] = "array",
		[GOJSON_OBJECT] = "object",
	};

	return names[t];
}

bool gojson_same_name(const char *key, const char *field)
{
	while (*key && *field) {
		if (!strncmp(key, "\xc5\xbf", 2) && (*field | 0x20) == 's')
			key += 2;
		else if (!strncmp(key, "\xe2\x84\xaa", 3) && (*field | 0x20) == 'k')
			key += 3;
		else if (!strncasecmp(key, field, 1))
			key++;
		else
			return false;
		field++;
	}
	return !*key && !*field;
}
