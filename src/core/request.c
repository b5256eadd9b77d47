/*
 * request.c - the little that foreman reads of a request to Ollama.
 *
 * One walk over the body, which may be large; only the members named in the
 * table are looked at, and only for endpoints whose request has them. What
 * stays true: where foreman and the target could read a body differently, the
 * target's reading is used (Go's encoding/json), and what it would refuse is
 * refused here, so that the caller can pass it on for the target's own words.
 * Not here: messages, images, formats and all else that is none of our
 * business.
 */
#include <config.h>

#include "core/request.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/jscan.h"

/* --- endpoints ----------------------------------------------------------- */

enum member {
	M_MODEL,
	M_STREAM,
	M_KEEP_ALIVE,
	M_OPTIONS,
	M_SHIFT,
	M_MESSAGES,
	M_PROMPT,
	M_INPUT,
	M_COUNT
};

#define BIT(m) (1u << (m))

static const char *const member_names[M_COUNT] = {
	[M_MODEL] = "model",
	[M_STREAM] = "stream",
	[M_KEEP_ALIVE] = "keep_alive",
	[M_OPTIONS] = "options",
	[M_SHIFT] = "shift",
	[M_MESSAGES] = "messages",
	[M_PROMPT] = "prompt",
	[M_INPUT] = "input",
};

/* What each endpoint's request has; other members are not ours to judge. */
static const struct {
	const char *path;
	unsigned members;
	bool streams; /* unless told otherwise */
} endpoints[ENDPOINT_COUNT] = {
	[ENDPOINT_CHAT] = { "/api/chat",
	                    BIT(M_MODEL) | BIT(M_STREAM) | BIT(M_KEEP_ALIVE) |
	                        BIT(M_OPTIONS) | BIT(M_SHIFT) | BIT(M_MESSAGES),
	                    true },
	[ENDPOINT_GENERATE] = { "/api/generate",
	                        BIT(M_MODEL) | BIT(M_STREAM) | BIT(M_KEEP_ALIVE) |
	                            BIT(M_OPTIONS) | BIT(M_SHIFT) | BIT(M_PROMPT),
	                        true },
	[ENDPOINT_EMBED] = { "/api/embed",
	                     BIT(M_MODEL) | BIT(M_KEEP_ALIVE) | BIT(M_OPTIONS) |
	                         BIT(M_INPUT),
	                     false },
	[ENDPOINT_EMBEDDINGS] = { "/api/embeddings",
	                          BIT(M_MODEL) | BIT(M_KEEP_ALIVE) | BIT(M_OPTIONS) |
	                              BIT(M_PROMPT),
	                          false },
	[ENDPOINT_V1_CHAT] = { "/v1/chat/completions",
	                       BIT(M_MODEL) | BIT(M_STREAM) | BIT(M_MESSAGES), false },
	/* no options under /v1, so nothing there shapes a load but the model */
	[ENDPOINT_V1_COMPLETIONS] = { "/v1/completions", BIT(M_MODEL) | BIT(M_STREAM),
	                              false },
	[ENDPOINT_V1_RESPONSES] = { "/v1/responses", BIT(M_MODEL) | BIT(M_STREAM),
	                            false },
	[ENDPOINT_V1_MESSAGES] = { "/v1/messages", BIT(M_MODEL) | BIT(M_STREAM),
	                           false },
	[ENDPOINT_V1_EMBEDDINGS] = { "/v1/embeddings", BIT(M_MODEL), false },
};

const char *endpoint_path(enum endpoint e)
{
	return e < ENDPOINT_COUNT ? endpoints[e].path : NULL;
}

enum err endpoint_parse(struct span path, enum endpoint *out)
{
	for (int i = 0; i < ENDPOINT_COUNT; i++) {
		if (span_eq(path, endpoints[i].path)) {
			*out = (enum endpoint)i;
			return ERR_OK;
		}
	}
	return ERR_NOENT;
}

/* --- keep_alive ---------------------------------------------------------- */

struct unit {
	const char *name;
	uint64_t ns;
};

static const struct unit units[] = {
	{ "ns", 1 },
	{ "us", 1000 },
	{ "\xc2\xb5s", 1000 }, /* micro sign */
	{ "\xce\xbcs", 1000 }, /* Greek mu */
	{ "ms", 1000000 },
	{ "s", 1000000000 },
	{ "m", 60 * UINT64_C(1000000000) },
	{ "h", 3600 * UINT64_C(1000000000) },
};

static bool digit_at(struct span s)
{
	return s.len > 0 && *s.p >= '0' && *s.p <= '9';
}

/* "1.5h" off the front of *s: the nanoseconds, each part rounded down. */
static enum err duration_piece(struct span *s, uint64_t *ns)
{
	uint64_t whole = 0;
	double part = 0, scale = 1;
	bool digits = digit_at(*s);
	struct span name;

	for (; digit_at(*s); s->p++, s->len--)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*s->p - '0'), &whole))
			return ERR_INVAL;
	if (s->len > 0 && *s->p == '.') {
		s->p++, s->len--;
		digits = digits || digit_at(*s);
		for (; digit_at(*s); s->p++, s->len--)
			part += (*s->p - '0') * (scale /= 10);
	}
	for (name = *s; s->len > 0 && *s->p != '.' && !digit_at(*s); s->p++, s->len--)
		;
	name.len -= s->len;
	for (size_t i = 0; digits && i < ARRAY_LEN(units); i++) {
		if (!span_eq(name, units[i].name))
			continue;
		if (__builtin_mul_overflow(whole, units[i].ns, ns) ||
		    __builtin_add_overflow(*ns, (uint64_t)(part * (double)units[i].ns), ns))
			return ERR_INVAL;
		return ERR_OK;
	}
	return ERR_INVAL;
}

/* Go's time.ParseDuration, as far as: is it one, and is it zero? */
static enum err go_duration_zero(struct span s, bool *zero)
{
	uint64_t sum = 0, ns;

	if (s.len > 0 && (*s.p == '-' || *s.p == '+'))
		s.p++, s.len--;
	if (span_eq(s, "0")) {
		*zero = true;
		return ERR_OK;
	}
	if (s.len == 0)
		return ERR_INVAL;
	while (s.len > 0)
		if (duration_piece(&s, &ns) || __builtin_add_overflow(sum, ns, &sum) ||
		    sum > UINT64_C(1) << 63)
			return ERR_INVAL;
	*zero = sum == 0;
	return ERR_OK;
}

/* Is this keep_alive zero? A number is seconds, a string a Go duration. */
static enum err keep_alive_zero(const struct jscan_value *v, bool *zero)
{
	struct span text;
	char *heap;
	enum err e = ERR_OK;

	if (v->type == JSCAN_NULL) {
		*zero = false;
		return ERR_OK;
	}
	if (v->type != JSCAN_NUMBER && v->type != JSCAN_STRING)
		return ERR_INVAL;
	heap = v->type == JSCAN_STRING ? jscan_unescape(v->raw, &text.len)
	                               : span_dup(v->raw);
	if (!heap)
		return ERR_NOMEM;
	if (v->type == JSCAN_STRING) {
		text.p = heap;
		e = go_duration_zero(text, zero);
	} else {
		double seconds = strtod(heap, NULL);

		if (isinf(seconds))
			e = ERR_INVAL; /* Go's decoder: no float64 holds it */
		else
			*zero = seconds >= 0 && seconds * 1e9 < 1;
	}
	free(heap);
	return e;
}

/* --- the walk ------------------------------------------------------------ */

struct reading {
	enum endpoint endpoint;
	struct request *r;
	struct span options; /* the last ones */
	struct span shift;
	bool keep_alive_zero;
	enum err err;
	struct errtext *why;
};

/*
 * Which member a key is, by Go's folding: ASCII case, and the two letters
 * outside ASCII that fold into it. M_COUNT: none of ours.
 */
static enum err find_member(struct span raw_key, enum member *found)
{
	enum { KEY_MAX = 64 }; /* "keep_alive" in \u escapes is 60 */
	size_t len, n = 0;
	char *key;

	*found = M_COUNT;
	if (raw_key.len > KEY_MAX)
		return ERR_OK;
	key = jscan_unescape(raw_key, &len);
	if (!key)
		return ERR_NOMEM;
	for (size_t i = 0; i < len; i++) {
		if (strncmp(key + i, "\xe2\x84\xaa", 3) == 0) { /* U+212A, Kelvin */
			key[n++] = 'k';
			i += 2;
		} else if (strncmp(key + i, "\xc5\xbf", 2) == 0) { /* U+017F, long s */
			key[n++] = 's';
			i += 1;
		} else {
			key[n++] = key[i];
		}
	}
	for (int m = 0; m < M_COUNT && *found == M_COUNT; m++)
		if (span_eq_nocase((struct span){ key, n }, member_names[m]))
			*found = (enum member)m;
	free(key);
	return ERR_OK;
}

static enum err read_model(struct reading *rd, const struct jscan_value *v)
{
	struct request *r = rd->r;
	struct span name;
	char *text;
	enum err e;

	text = jscan_unescape(v->raw, &name.len);
	if (!text)
		return ERR_NOMEM;
	name.p = text;
	free(r->model_raw);
	r->model_raw = text;
	e = model_parse(name, &r->model, NULL);
	r->named = e == ERR_OK;
	return e == ERR_INVAL ? ERR_OK : e;
}

/* null of a pointer in Go means "not given", of a plain bool nothing at all;
 * either way the member is there, and ours must not be put beside it. */
static void read_stream(struct reading *rd, enum jscan_type type)
{
	enum request_stream *stream = &rd->r->stream;

	if (type == JSCAN_TRUE)
		*stream = STREAM_TRUE;
	else if (type == JSCAN_FALSE)
		*stream = STREAM_FALSE;
	else if (endpoints[rd->endpoint].streams)
		*stream = STREAM_TRUE;
	else if (*stream == STREAM_ABSENT)
		*stream = STREAM_FALSE;
}

static enum err read_member(struct reading *rd, enum member m,
                            const struct jscan_value *v)
{
	struct request *r = rd->r;

	switch (m) {
	case M_MODEL:
		return v->type == JSCAN_NULL ? ERR_OK : read_model(rd, v);
	case M_STREAM:
		read_stream(rd, v->type);
		return ERR_OK;
	case M_KEEP_ALIVE:
		return keep_alive_zero(v, &rd->keep_alive_zero);
	case M_OPTIONS:
		rd->options = v->raw;
		return ERR_OK;
	case M_SHIFT:
		rd->shift = v->raw;
		return ERR_OK;
	case M_PROMPT:
		if (v->type != JSCAN_NULL)
			r->has_work = !v->empty;
		return ERR_OK;
	case M_MESSAGES:
	case M_INPUT:
		r->has_work = v->type != JSCAN_NULL && !v->empty;
		return ERR_OK;
	case M_COUNT:
		break;
	}
	return ERR_OK;
}

/* The JSON types the target takes for each member; null it takes for all. */
static bool type_fits(enum member m, enum jscan_type type)
{
	static const unsigned boolean = BIT(JSCAN_TRUE) | BIT(JSCAN_FALSE);
	static const unsigned any = ~0u;
	const unsigned fits[M_COUNT] = {
		[M_MODEL] = BIT(JSCAN_STRING),
		[M_STREAM] = boolean,
		[M_KEEP_ALIVE] = any, /* has a reader that judges */
		[M_OPTIONS] = BIT(JSCAN_OBJECT),
		[M_SHIFT] = boolean,
		[M_MESSAGES] = BIT(JSCAN_ARRAY),
		[M_PROMPT] = BIT(JSCAN_STRING),
		[M_INPUT] = BIT(JSCAN_STRING) | BIT(JSCAN_ARRAY),
	};

	return type == JSCAN_NULL || (fits[m] & BIT(type));
}

static bool on_member(void *arg, struct span key, const struct jscan_value *value)
{
	struct reading *rd = arg;
	enum member m;

	rd->err = find_member(key, &m);
	if (rd->err || m == M_COUNT)
		return !rd->err;
	if (!(endpoints[rd->endpoint].members & BIT(m))) {
		if (m == M_STREAM) /* means nothing there, but is named */
			rd->r->stream = STREAM_FALSE;
		return true;
	}
	rd->err = type_fits(m, value->type) ? read_member(rd, m, value) : ERR_INVAL;
	if (rd->err == ERR_INVAL)
		errtext_set(rd->why, "%s is of the wrong type or form", member_names[m]);
	return rd->err == ERR_OK;
}

enum err request_read(enum endpoint e, struct span body, struct request *out,
                      struct errtext *why)
{
	static const struct jscan_rules rules = { .max_depth = JSCAN_DEPTH_MAX,
		                                      .trailing = true,
		                                      .any_utf8 = true };
	struct request r = { 0 };
	struct reading rd = { .endpoint = e, .r = &r, .why = why };
	struct jscan_value top;
	enum err err;

	err = jscan(body, &rules, on_member, &rd, &top, why);
	if (!err)
		err = rd.err;
	if (!err && top.type != JSCAN_OBJECT) {
		errtext_set(why, "body must be a JSON object");
		err = ERR_INVAL;
	}
	if (!err && r.named)
		err = model_load_key(&r.model, rd.options, rd.shift, r.load_key, why);
	if (err) {
		request_done(&r);
		return err;
	}
	r.unload = rd.keep_alive_zero && !r.has_work &&
	           (e == ENDPOINT_CHAT || e == ENDPOINT_GENERATE);
	*out = r;
	return ERR_OK;
}

void request_done(struct request *r)
{
	free(r->model_raw);
	r->model_raw = NULL;
}

bool request_streams(enum endpoint e, const struct request *r)
{
	if (!(endpoints[e].members & BIT(M_STREAM)))
		return false;
	return r->stream == STREAM_ABSENT ? endpoints[e].streams
	                                  : r->stream == STREAM_TRUE;
}

char *request_with_stream(struct span body, const struct request *r, size_t *len)
{
	static const char member[] = "\"stream\":false,";
	size_t add = r->stream == STREAM_ABSENT ? sizeof(member) - 1 : 0;
	const char *open = memchr(body.p, '{', body.len);
	struct span rest;
	size_t front;
	char *copy;

	if (!open) /* not what request_read said yes to */
		return NULL;
	front = (size_t)(open + 1 - body.p);
	rest = span_trim((struct span){ body.p + front, body.len - front });
	if (add > 0 && rest.len > 0 && *rest.p == '}')
		add--; /* nothing follows the comma in {} */
	copy = malloc(body.len + add + 1);
	if (!copy)
		return NULL;
	memcpy(copy, body.p, front);
	memcpy(copy + front, member, add);
	memcpy(copy + front + add, body.p + front, body.len - front);
	copy[body.len + add] = '\0';
	*len = body.len + add;
	return copy;
}
