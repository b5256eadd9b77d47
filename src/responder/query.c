/*
 * query.c - "a=1&b=2": cut, decoded, and each parameter given to who wants it.
 *
 * Refused, with 400: what is not known, not wanted, given twice or badly encoded;
 * a client that mistypes `state` must not be shown all states.
 */
#include <config.h>

#include "responder/query.h"

#include <assert.h>
#include <stdlib.h>

#include "core/limits.h"
#include "responder/answer.h"
#include "responder/call.h"

/* --- cutting and decoding --------------------------------------------------- */

static int hex_digit(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	if (ch >= 'a' && ch <= 'f')
		return ch - 'a' + 10;
	if (ch >= 'A' && ch <= 'F')
		return ch - 'A' + 10;
	return -1;
}

/* The byte that "%41" stands for; -1: not an escape. */
static int unescape(struct span s)
{
	int high, low;

	if (s.len < 3)
		return -1;
	high = hex_digit(s.p[1]);
	low = hex_digit(s.p[2]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static enum err percent_decode(struct span s, char **out)
{
	char *text = malloc(s.len + 1);
	size_t n = 0;

	if (!text)
		return ERR_NOMEM;
	for (size_t i = 0; i < s.len; i++) {
		int byte = (unsigned char)s.p[i];

		if (byte == '%') {
			byte = unescape((struct span){ s.p + i, s.len - i });
			i += 2;
		}
		if (byte <= 0) {
			free(text);
			return ERR_INVAL;
		}
		text[n++] = (char)byte;
	}
	text[n] = '\0';
	*out = text;
	return ERR_OK;
}

enum err query_next(struct span *query, struct span *name, char **value)
{
	struct span piece, key;

	do {
		if (!span_cut(query, '&', &piece))
			return ERR_NOENT;
	} while (!piece.len);
	if (!span_cut(&piece, '=', &key))
		return ERR_NOENT;
	*name = key;
	return percent_decode(piece, value);
}

/* --- against what is known -------------------------------------------------- */

#define KNOWN_MAX 32 /* bits of `seen` */

/* NULL: it was taken, or *failed says why not. */
static const char *take_one(const struct query_parameter *known, size_t count,
                            unsigned *seen, void *to, struct span name,
                            struct span value, enum err *failed)
{
	for (size_t i = 0; i < count; i++) {
		if (!span_eq(name, known[i].name))
			continue;
		if (*seen & 1u << i)
			return "a query parameter is given twice";
		*seen |= 1u << i;
		*failed = known[i].take(to, value);
		return *failed && *failed != ERR_NOMEM ? known[i].wanted : NULL;
	}
	return "there is no such query parameter here";
}

bool query_read(struct call *c, const struct query_parameter *known, size_t count,
                void *to)
{
	struct span query = c->query, name;
	const char *wrong = NULL;
	enum err e = ERR_OK;
	unsigned seen = 0;
	char *value;

	assert(count <= KNOWN_MAX);
	while (!wrong && !e) {
		e = query_next(&query, &name, &value);
		if (e)
			break;
		wrong = take_one(known, count, &seen, to, name, span_of(value), &e);
		free(value);
	}
	if (e == ERR_INVAL && !wrong)
		wrong = "the query is not properly encoded";
	if (e == ERR_NOMEM)
		answer_fault(c, FAULT_INTERNAL, "out of memory");
	else if (wrong)
		answer_fault(c, FAULT_INVALID_REQUEST, "%s", wrong);
	return e == ERR_NOENT && !wrong;
}

enum err query_limit(struct span value, int *out)
{
	uint64_t n;

	_Static_assert(LIMIT_LIST_MAX == 200, "as QUERY_LIMIT_WANTED says");
	if (str_u64(value, &n) || n < 1 || n > LIMIT_LIST_MAX)
		return ERR_INVAL;
	*out = (int)n;
	return ERR_OK;
}

enum err query_wait(struct span value, int64_t *wait_ms)
{
	uint64_t seconds;

	if (str_u64(value, &seconds))
		return ERR_INVAL;
	if (seconds > LIMIT_WAIT_MAX_S)
		seconds = LIMIT_WAIT_MAX_S;
	*wait_ms = (int64_t)seconds * 1000;
	return ERR_OK;
}

bool query_none(struct call *c)
{
	if (c->query.len)
		answer_fault(c, FAULT_INVALID_REQUEST,
		             "there are no query parameters here");
	return !c->query.len;
}
