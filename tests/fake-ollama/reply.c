/*
 * reply.c - tokens, lines, vectors, errors.
 */
#include <config.h>

#include "reply.h"

#include "text.h"
#include "v1.h"

#include "base/sha.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THOUGHTS 2     /* a thinking model thinks twice before it speaks */
#define PLACES 1000000 /* vectors carry six decimals: exact as float32 texts */

static const char *const words[] = {
	"The",  " quick", " brown", " fox",     " jumps",  " over",  " the",   " lazy",
	" dog", " while", " seven", " patient", " clerks", " count", " every", " line",
};

enum voice voice_of(enum ask_kind kind)
{
	switch (kind) {
	case ASK_V1_CHAT:
	case ASK_V1_TEXT:
	case ASK_V1_RESPONSE:
	case ASK_V1_EMBED:
		return VOICE_OPENAI;
	case ASK_V1_MESSAGE:
		return VOICE_ANTHROPIC;
	default:
		return VOICE_OLLAMA;
	}
}

/* --- speech --------------------------------------------------------------- */

/* A word with the white space before it, and behind it if it is the last. */
static size_t echo_token(const char *s)
{
	size_t n = strspn(s, " \t\n");

	n += strcspn(s + n, " \t\n");
	return s[n + strspn(s + n, " \t\n")] ? n : n + strspn(s + n, " \t\n");
}

static int64_t echo_count(const char *s)
{
	int64_t n = 0;

	for (; *s; s += echo_token(s))
		n++;
	return n;
}

void speech_begin(struct speech *s, const struct ask *a, const struct model *m)
{
	bool echo = a->prompt && !strncmp(a->prompt, "echo ", 5);

	*s = (struct speech){ .token_bytes = a->faults.line_bytes };
	s->echo = echo ? a->prompt + 5 : NULL;
	s->left = echo ? echo_count(s->echo) : a->faults.tokens;
	if (a->num_predict > 0 && a->num_predict < s->left) {
		s->left = a->num_predict;
		s->cut = true;
	}
	if (m->can & CAN_THINK && a->think != THINK_OFF && !voice_of(a->kind))
		s->thoughts = THOUGHTS;
}

static void put_filler(struct buf *text, int64_t from, size_t len)
{
	while (text->len < len) {
		const char *w = words[(size_t)from++ % ARRAY_LEN(words)];
		size_t n = strlen(w), room = len - text->len;

		put(text, w, n < room ? n : room);
	}
}

bool speech_next(struct speech *s, struct buf *text, bool *thinking)
{
	size_t n;

	buf_clear(text);
	*thinking = s->thoughts > 0;
	if (s->thoughts) {
		put_s(text, s->thoughts-- == THOUGHTS ? "Hmm," : " well.");
		return true;
	}
	if (s->left <= 0)
		return false;
	s->left--;
	if (s->echo) {
		n = echo_token(s->echo);
		put(text, s->echo, n);
		s->echo += n;
	} else if (s->token_bytes) {
		put_filler(text, s->said, (size_t)s->token_bytes);
	} else {
		/* The second round begins with a space, too. */
		put_s(text, s->said && s->said % (int64_t)ARRAY_LEN(words) == 0 ? " " : "");
		put_s(text, words[(size_t)s->said % ARRAY_LEN(words)]);
	}
	s->said++;
	return true;
}

/* --- native lines --------------------------------------------------------- */

static void put_open(struct buf *b, const struct ask *a)
{
	put_s(b, "{\"model\":");
	put_json(b, span_of(a->model));
	put_s(b, ",\"created_at\":\"");
	put_utc(b, text_wall_ns());
	put_s(b, "\",");
}

static void put_words(struct buf *b, const struct ask *a, struct span content,
                      struct span thinking)
{
	put_s(b, a->kind == ASK_CHAT
	             ? "\"message\":{\"role\":\"assistant\",\"content\":"
	             : "\"response\":");
	put_json(b, content);
	if (thinking.len) {
		put_s(b, ",\"thinking\":");
		put_json(b, thinking);
	}
	if (a->kind == ASK_CHAT)
		put_s(b, "}");
}

static void put_metric(struct buf *b, const char *name, int64_t n)
{
	if (n)
		put_f(b, ",\"%s\":%" PRId64, name, n);
}

static void put_context(struct buf *b, const struct totals *t)
{
	int64_t n = t->prompt_count + t->eval_count;

	put_s(b, ",\"context\":[");
	for (int64_t i = 0; i < n; i++)
		put_f(b, "%s%" PRId64, i ? "," : "", 1000 + i);
	put_s(b, "]");
}

static void put_end(struct buf *b, const struct ask *a, const struct totals *t)
{
	if (!t->reason) {
		put_s(b, ",\"done\":false}");
		return;
	}
	put_f(b, ",\"done\":true,\"done_reason\":\"%s\"", t->reason);
	if (a->kind == ASK_GENERATE && !a->raw)
		put_context(b, t);
	put_metric(b, "total_duration", t->total_ns);
	put_metric(b, "load_duration", t->load_ns);
	put_metric(b, "prompt_eval_count", t->prompt_count);
	put_metric(b, "prompt_eval_duration", t->prompt_ns);
	put_metric(b, "eval_count", t->eval_count);
	put_metric(b, "eval_duration", t->eval_ns);
	put_s(b, "}");
}

void put_idle(struct buf *b, const struct ask *a, const char *reason)
{
	put_open(b, a);
	put_words(b, a, SPAN_LIT(""), SPAN_LIT(""));
	put_f(b, ",\"done\":true,\"done_reason\":\"%s\"}", reason);
}

/* --- either --------------------------------------------------------------- */

void put_part(struct buf *b, const struct ask *a, struct span text, bool thinking,
              bool first)
{
	if (voice_of(a->kind)) {
		put_v1_part(b, a, text, first);
		return;
	}
	put_open(b, a);
	put_words(b, a, thinking ? SPAN_LIT("") : text, thinking ? text : SPAN_LIT(""));
	put_s(b, ",\"done\":false}\n");
}

void put_last(struct buf *b, const struct ask *a, struct span content,
              const struct totals *t)
{
	if (voice_of(a->kind)) {
		put_v1_last(b, a, content, t);
		return;
	}
	put_open(b, a);
	put_words(b, a, SPAN_LIT(""), SPAN_LIT(""));
	put_end(b, a, t);
	put_s(b, "\n");
}

void put_whole(struct buf *b, const struct ask *a, struct span content,
               struct span thinking, const struct totals *t)
{
	if (voice_of(a->kind)) {
		put_v1_whole(b, a, content, t);
		return;
	}
	put_open(b, a);
	put_words(b, a, content, thinking);
	put_end(b, a, t);
}

static const char *anthropic_type(int status)
{
	switch (status) {
	case 400: return "invalid_request_error";
	case 401: return "authentication_error";
	case 403: return "permission_error";
	case 404: return "not_found_error";
	case 429: return "rate_limit_error";
	case 503: return "overloaded_error";
	default: return "api_error";
	}
}

static const char *openai_type(int status)
{
	return status == 400   ? "invalid_request_error"
	       : status == 404 ? "not_found_error"
	                       : "api_error";
}

void put_error(struct buf *b, enum voice voice, int status, const char *text)
{
	if (voice == VOICE_ANTHROPIC) {
		put_f(b, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
		      anthropic_type(status));
		put_json(b, span_of(text));
		put_s(b, "},\"request_id\":\"req_123\"}");
		return;
	}
	put_s(b, voice == VOICE_OPENAI ? "{\"error\":{\"message\":" : "{\"error\":");
	put_json(b, span_of(text));
	if (voice == VOICE_OPENAI)
		put_f(b, ",\"type\":\"%s\",\"param\":null,\"code\":null}",
		      openai_type(status));
	put_s(b, "}");
}

/* --- vectors -------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* n millionths as Go prints such a float32: no trailing zeros. */
static void put_millionths(struct buf *b, int64_t n)
{
	char s[24];
	int len = snprintf(s, sizeof(s), "%s%" PRId64 ".%06" PRId64, n < 0 ? "-" : "",
	                   n / PLACES < 0 ? -(n / PLACES) : n / PLACES,
	                   (n < 0 ? -n : n) % PLACES);

	while (s[len - 1] == '0')
		len--;
	put(b, s, (size_t)(s[len - 1] == '.' ? len - 1 : len));
}

/* The float32 nearest to n millionths as a float64 in its shortest form. */
static void put_widened(struct buf *b, int64_t n)
{
	double d = (double)(float)((double)n / PLACES);
	char s[40];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(s, sizeof(s), "%.*g", digits, d);
		if (strtod(s, NULL) >= d && strtod(s, NULL) <= d)
			break;
	}
	if (strchr(s, 'e')) /* below 1e-4, where %g goes over earlier than Go */
		snprintf(s, sizeof(s), "%.21f", d);
	put_s(b, s);
}

static void put_vector(struct buf *b, const struct model *m, const char *text,
                       size_t width, bool wide)
{
	double *v = text_alloc(width * sizeof(*v)), square = 0;
	unsigned char digest[SHA256_LEN];
	uint64_t state = 1;
	struct buf seed;

	buf_init(&seed, TEXT_MAX);
	put_f(&seed, "%s %s", m->blob, text);
	sha256(seed.p, seed.len, digest);
	buf_done(&seed);
	memcpy(&state, digest, sizeof(state));
	state |= 1;
	for (size_t i = 0; i < width; i++) {
		v[i] = (double)(int64_t)(next_random(&state) >> 40) / (1 << 23) - 1;
		square += v[i] * v[i];
	}
	put_s(b, "[");
	for (size_t i = 0; i < width; i++) {
		int64_t n = llround(v[i] / sqrt(square) * PLACES);

		put_s(b, i ? "," : "");
		if (wide)
			put_widened(b, n);
		else
			put_millionths(b, n);
	}
	put_s(b, "]");
	free(v);
}

static void put_v1_vectors(struct buf *b, const struct ask *a,
                           const struct model *m, size_t width,
                           const struct totals *t)
{
	put_s(b, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < a->input_count; i++) {
		put_s(b, i ? ",{\"object\":\"embedding\",\"embedding\":"
		           : "{\"object\":\"embedding\",\"embedding\":");
		put_vector(b, m, a->inputs[i], width, false);
		put_f(b, ",\"index\":%zu}", i);
	}
	put_s(b, "],\"model\":");
	put_json(b, span_of(a->model));
	put_f(b,
	      ",\"usage\":{\"prompt_tokens\":%" PRId64 ",\"total_tokens\":%" PRId64
	      "}}\n",
	      t->prompt_count, t->prompt_count);
}

void put_embeddings(struct buf *b, const struct ask *a, const struct model *m,
                    const struct totals *t)
{
	size_t width = (size_t)m->width;

	if (a->dimensions > 0 && a->dimensions < m->width)
		width = (size_t)a->dimensions;
	if (a->kind == ASK_V1_EMBED) {
		put_v1_vectors(b, a, m, width, t);
		return;
	}
	if (a->kind == ASK_EMBEDDINGS) {
		put_s(b, "{\"embedding\":");
		if (a->has_work)
			put_vector(b, m, a->prompt, width, true);
		put_s(b, a->has_work ? "}" : "[]}");
		return;
	}
	put_s(b, "{\"model\":");
	put_json(b, span_of(a->model));
	put_s(b, ",\"embeddings\":[");
	for (size_t i = 0; i < a->input_count; i++) {
		put_s(b, i ? "," : "");
		put_vector(b, m, a->inputs[i], width, false);
	}
	put_s(b, "]");
	if (a->has_work) {
		put_metric(b, "total_duration", t->total_ns);
		put_metric(b, "load_duration", t->load_ns);
		put_metric(b, "prompt_eval_count", t->prompt_count);
	}
	put_s(b, "}");
}
