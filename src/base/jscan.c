/*
 * jscan.c - one strict pass over JSON text, without recursion or allocation.
 *
 * A value is walked by a loop that keeps one bit per open array or object
 * (set: object), so a hostile body costs at most JSCAN_DEPTH_MAX bits and is
 * refused at the first byte that is too deep. Nearly all bytes of a large
 * body stand in strings: those are passed eight at a time.
 */
#include <config.h>

#include "base/jscan.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct walk {
	const char *at; /* the next byte */
	const char *start, *end;
	const struct jscan_rules *rules;
	struct errtext *why;
	size_t depth; /* open arrays and objects */
	uint64_t is_object[(JSCAN_DEPTH_MAX + 63) / 64];
};

/* --- saying no ------------------------------------------------------------- */

/* All of these return false, so that a caller can `return refuse(…)`. */
static bool refuse(struct walk *w, const char *what, const char *where)
{
	errtext_set(w->why, "invalid JSON: %s at byte %zu", what,
	            (size_t)(where - w->start));
	return false;
}

static bool refuse_here(struct walk *w)
{
	char what[] = "unexpected '?'";
	unsigned char c;

	if (w->at == w->end)
		return refuse(w, "unexpected end", w->at);
	c = (unsigned char)*w->at;
	if (c < 0x20 || c > 0x7e)
		return refuse(w, "unexpected character", w->at);
	what[sizeof(what) - 3] = (char)c;
	return refuse(w, what, w->at);
}

/* --- what stands between and below values ---------------------------------- */

static void skip_space(struct walk *w)
{
	while (w->at < w->end &&
	       (*w->at == ' ' || *w->at == '\n' || *w->at == '\r' || *w->at == '\t'))
		w->at++;
}

/* Is `c` next? White space before it is passed, `c` itself is not. */
static bool sees(struct walk *w, char c)
{
	skip_space(w);
	return w->at < w->end && *w->at == c;
}

#define EACH_BYTE(c) (0x0101010101010101 * (uint64_t)(c))

/* Not zero if a byte of `word` is below `n` (n <= 0x80). */
static uint64_t any_below(uint64_t word, unsigned char n)
{
	return (word - EACH_BYTE(n)) & ~word & EACH_BYTE(0x80);
}

/*
 * The first byte from `p` on that is not plain within a string: a quote, a
 * backslash, a control character, or `end`. Tells whether any byte passed
 * over was not ASCII.
 */
static const char *pass_plain(const char *p, const char *end, bool *high)
{
	uint64_t seen = 0, word;

	while ((size_t)(end - p) >= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		if (any_below(word, 0x20) | any_below(word ^ EACH_BYTE('"'), 1) |
		    any_below(word ^ EACH_BYTE('\\'), 1))
			break;
		seen |= word;
		p += sizeof(word);
	}
	while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
		seen |= (unsigned char)*p++;
	*high |= (seen & EACH_BYTE(0x80)) != 0;
	return p;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* At a backslash. */
static bool skip_escape(struct walk *w)
{
	const char *from = w->at++;

	if (w->at == w->end)
		return refuse_here(w);
	if (*w->at != 'u') {
		if (*w->at == '\0' || !strchr("\"\\/bfnrt", *w->at))
			return refuse(w, "bad escape in string", from);
		w->at++;
		return true;
	}
	w->at++;
	for (int i = 0; i < 4; i++, w->at++) {
		if (w->at == w->end)
			return refuse_here(w);
		if (hex_value(*w->at) < 0)
			return refuse(w, "bad escape in string", from);
	}
	return true;
}

/* At the opening quote; ends behind the closing one. */
static bool skip_string(struct walk *w)
{
	struct span inside = { ++w->at, 0 };
	bool high = false;
	size_t bad;

	for (;;) {
		w->at = pass_plain(w->at, w->end, &high);
		if (w->at == w->end)
			return refuse_here(w);
		if (*w->at == '"')
			break;
		if (*w->at != '\\')
			return refuse(w, "control character in string", w->at);
		if (!skip_escape(w))
			return false;
	}
	inside.len = (size_t)(w->at - inside.p);
	if (high && !w->rules->any_utf8 && !str_utf8_ok(inside, &bad))
		return refuse(w, "invalid UTF-8", inside.p + bad);
	w->at++;
	return true;
}

static bool skip_digits(struct walk *w)
{
	const char *from = w->at;

	while (w->at < w->end && *w->at >= '0' && *w->at <= '9')
		w->at++;
	return w->at > from || refuse_here(w);
}

/* A digit too many, as in 01, is left for what follows the value to refuse. */
static bool skip_number(struct walk *w)
{
	if (*w->at == '-')
		w->at++;
	if (w->at < w->end && *w->at == '0')
		w->at++;
	else if (!skip_digits(w))
		return false;
	if (w->at < w->end && *w->at == '.') {
		w->at++;
		if (!skip_digits(w))
			return false;
	}
	if (w->at < w->end && (*w->at == 'e' || *w->at == 'E')) {
		w->at++;
		if (w->at < w->end && (*w->at == '+' || *w->at == '-'))
			w->at++;
		return skip_digits(w);
	}
	return true;
}

static bool skip_word(struct walk *w, const char *word)
{
	for (; *word; word++, w->at++)
		if (w->at == w->end || *w->at != *word)
			return refuse_here(w);
	return true;
}

/* --- one value, whatever is in it ------------------------------------------ */

static bool in_object(const struct walk *w)
{
	size_t level = w->depth - 1;

	return w->is_object[level / 64] >> level % 64 & 1;
}

/* At '{' or '['. */
static bool open_level(struct walk *w)
{
	uint64_t bit = UINT64_C(1) << w->depth % 64;
	uint64_t *bits = &w->is_object[w->depth / 64];

	if (w->depth == w->rules->max_depth) {
		errtext_set(w->why, "JSON nested deeper than %zu", w->rules->max_depth);
		return false;
	}
	*bits = *w->at == '{' ? *bits | bit : *bits & ~bit;
	w->depth++;
	w->at++;
	return true;
}

/* A member's key and colon; ends at the first byte of its value. */
static bool skip_key(struct walk *w, struct span *key)
{
	if (!sees(w, '"'))
		return refuse_here(w);
	key->p = w->at + 1;
	if (!skip_string(w))
		return false;
	key->len = (size_t)(w->at - 1 - key->p);
	if (!sees(w, ':'))
		return refuse_here(w);
	w->at++;
	skip_space(w);
	return true;
}

/* Close the level if its bracket is next; *closed says whether it was. */
static void close_level(struct walk *w, bool *closed)
{
	*closed = sees(w, in_object(w) ? '}' : ']');
	if (*closed) {
		w->at++;
		w->depth--;
	}
}

/* What comes before an element: the key, if in an object. */
static bool enter_element(struct walk *w)
{
	struct span key;

	if (in_object(w))
		return skip_key(w, &key);
	skip_space(w);
	return true;
}

/*
 * At a value's first byte: pass a scalar or an empty array or object whole
 * (*complete), or go into an array or object up to its first element.
 */
static bool begin_value(struct walk *w, bool *complete)
{
	*complete = true;
	if (w->at == w->end)
		return refuse_here(w);
	switch (*w->at) {
	case '"':
		return skip_string(w);
	case '{':
	case '[':
		if (!open_level(w))
			return false;
		close_level(w, complete);
		return *complete || enter_element(w);
	case 't':
		return skip_word(w, "true");
	case 'f':
		return skip_word(w, "false");
	case 'n':
		return skip_word(w, "null");
	case '-':
	case '0' ... '9':
		return skip_number(w);
	default:
		return refuse_here(w);
	}
}

/* Behind an element: on to the next one, or out of the level (*complete). */
static bool after_element(struct walk *w, bool *complete)
{
	close_level(w, complete);
	if (*complete)
		return true;
	if (!sees(w, ','))
		return refuse_here(w);
	w->at++;
	return enter_element(w);
}

static bool skip_value(struct walk *w)
{
	size_t outside = w->depth;
	bool complete;

	for (;;) {
		if (!begin_value(w, &complete))
			return false;
		while (complete) {
			if (w->depth == outside)
				return true;
			if (!after_element(w, &complete))
				return false;
		}
	}
}

/* --- the value at the top -------------------------------------------------- */

/* What well-formed bytes are. */
static struct jscan_value describe(const char *from, const char *to)
{
	struct jscan_value v = { .raw = { from, (size_t)(to - from) } };
	struct span inside;

	switch (*from) {
	case 'n':
		v.type = JSCAN_NULL;
		return v;
	case 't':
		v.type = JSCAN_TRUE;
		return v;
	case 'f':
		v.type = JSCAN_FALSE;
		return v;
	case '"':
		v.type = JSCAN_STRING;
		v.empty = v.raw.len == 2;
		return v;
	case '[':
	case '{':
		v.type = *from == '{' ? JSCAN_OBJECT : JSCAN_ARRAY;
		inside = (struct span){ from + 1, v.raw.len - 2 };
		v.empty = span_trim(inside).len == 0;
		return v;
	default:
		v.type = JSCAN_NUMBER;
		return v;
	}
}

/* At '{': as skip_value, but every member is shown to `fn`. */
static bool walk_members(struct walk *w, jscan_member_fn *fn, void *arg,
                         bool *stopped)
{
	bool closed;

	if (!open_level(w))
		return false;
	close_level(w, &closed);
	while (!closed) {
		struct jscan_value value;
		struct span key;
		const char *from;

		if (!skip_key(w, &key))
			return false;
		from = w->at;
		if (!skip_value(w))
			return false;
		value = describe(from, w->at);
		if (!fn(arg, key, &value)) {
			*stopped = true;
			return true;
		}
		close_level(w, &closed);
		if (closed)
			break;
		if (!sees(w, ','))
			return refuse_here(w);
		w->at++;
	}
	return true;
}

enum err jscan(struct span text, const struct jscan_rules *rules,
               jscan_member_fn *fn, void *arg, struct jscan_value *top,
               struct errtext *why)
{
	struct walk w = { .at = text.p, .start = text.p, .rules = rules, .why = why };
	bool stopped = false;
	const char *from;

	assert(rules->max_depth <= JSCAN_DEPTH_MAX);
	w.end = text.len ? text.p + text.len : text.p;
	skip_space(&w);
	if (w.at == w.end) {
		errtext_set(why, "missing request body");
		return ERR_NOENT;
	}
	from = w.at;
	if (fn && *from == '{' ? !walk_members(&w, fn, arg, &stopped) : !skip_value(&w))
		return ERR_INVAL;
	if (!stopped && !rules->trailing) {
		const char *to = w.at;

		skip_space(&w);
		if (w.at < w.end) {
			refuse_here(&w);
			return ERR_INVAL;
		}
		w.at = to;
	}
	if (top)
		*top = describe(from, w.at);
	return ERR_OK;
}

/* --- unescaping ------------------------------------------------------------ */

#define REPLACEMENT 0xfffd

static char *put_utf8(char *out, unsigned long c)
{
	static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if (len == 1) {
		*out = (char)c;
		return out + 1;
	}
	for (size_t i = len - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(lead[len] | c);
	return out + len;
}

/* Bytes as they are, but each one that is not UTF-8 replaced. */
static char *put_bytes(char *out, struct span s)
{
	while (s.len) {
		size_t good = s.len;
		bool ok = str_utf8_ok(s, &good);

		memcpy(out, s.p, good);
		out += good;
		if (ok)
			break;
		out = put_utf8(out, REPLACEMENT);
		s.p += good + 1;
		s.len -= good + 1;
	}
	return out;
}

/* The code unit of a \uXXXX at `p`, -1 if there is none. */
static long code_unit(const char *p, const char *end)
{
	long unit = 0;

	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++) {
		int value = hex_value(p[i]);

		if (value < 0)
			return -1;
		unit = unit << 4 | value;
	}
	return unit;
}

/* The escape at *p, passed over. One that is none stays as it stands. */
static char *put_escape(char *out, const char **p, const char *end)
{
	static const char from[] = "bfnrt\"\\/", to[] = "\b\f\n\r\t\"\\/";
	long unit = code_unit(*p, end), low;
	const char *known;

	if (unit >= 0) {
		*p += 6;
		if (unit < 0xd800 || unit > 0xdfff)
			return put_utf8(out, (unsigned long)unit);
		low = code_unit(*p, end);
		if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff)
			return put_utf8(out, REPLACEMENT);
		*p += 6;
		unit = 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
		return put_utf8(out, (unsigned long)unit);
	}
	known = end - *p < 2 ? NULL : memchr(from, (*p)[1], sizeof(from) - 1);
	*out = known ? to[known - from] : '\\';
	*p += known ? 2 : 1;
	return out + 1;
}

char *jscan_unescape(struct span raw, size_t *len)
{
	const char *p = raw.p, *end = p + raw.len;
	char *text, *out;

	if (raw.len >= 2 && *p == '"' && end[-1] == '"') {
		p++;
		end--;
	}
	/* escapes only shrink; a byte that is not UTF-8 grows to three */
	text = malloc((str_utf8_ok(raw, NULL) ? raw.len : 3 * raw.len) + 1);
	if (!text)
		return NULL;
	out = text;
	while (p < end) {
		const char *next = memchr(p, '\\', (size_t)(end - p));

		next = next ? next : end;
		out = put_bytes(out, (struct span){ p, (size_t)(next - p) });
		p = next;
		if (p < end)
			out = put_escape(out, &p, end);
	}
	*out = '\0';
	if (len)
		*len = (size_t)(out - text);
	return text;
}
