/*
 * ask.c - Go's struct decoding, by a table of fields per endpoint.
 *
 * A member of the wrong type is noted and decoding goes on, the first such
 * note being the answer; a field that reads itself (keep_alive, think) ends
 * it at once. The last of repeated members wins, null leaves things alone or
 * clears a pointer.
 */
#include <config.h>

#include "ask.h"

#include "text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S 1000000000.0

enum field {
	F_MODEL,
	F_NAME,
	F_MESSAGES,
	F_PROMPT,
	F_SUFFIX,
	F_SYSTEM,
	F_TEMPLATE,
	F_CONTEXT,
	F_STREAM,
	F_RAW,
	F_FORMAT,
	F_KEEP,
	F_IMAGES,
	F_OPTIONS,
	F_THINK,
	F_TOOLS,
	F_TRUNCATE,
	F_SHIFT,
	F_LOGPROBS,
	F_TOP_LOGPROBS,
	F_INPUT,
	F_DIMENSIONS,
	F_STREAM_OPTIONS,
	F_MAX_TOKENS,
	F_DEST,
	F_OTHER,
	FIELD_COUNT
};

enum shape { S_STRING, S_BOOL, S_INT, S_OBJECT, S_ARRAY, S_ANY, S_KEEP, S_THINK };

struct rule {
	const char *key;
	enum field field;
	enum shape shape;
	const char *go_type;
	unsigned kinds; /* bits of ask_kind */
};

#define K(kind) (1u << (kind))
#define TEXTS (K(ASK_CHAT) | K(ASK_GENERATE))
#define NATIVE (TEXTS | K(ASK_EMBED) | K(ASK_EMBEDDINGS))
#define V1_TEXTS \
	(K(ASK_V1_CHAT) | K(ASK_V1_TEXT) | K(ASK_V1_RESPONSE) | K(ASK_V1_MESSAGE))
#define V1 (V1_TEXTS | K(ASK_V1_EMBED))
#define NAMED (K(ASK_SHOW) | K(ASK_PULL) | K(ASK_DELETE))
#define OPTIONS_TYPE "map[string]interface {}"

static const struct rule rules[] = {
	{ "model", F_MODEL, S_STRING, "string", NATIVE | V1 | NAMED },
	{ "name", F_NAME, S_STRING, "string", NAMED },
	{ "source", F_MODEL, S_STRING, "string", K(ASK_COPY) },
	{ "destination", F_DEST, S_STRING, "string", K(ASK_COPY) },
	{ "messages", F_MESSAGES, S_ARRAY, "[]api.Message", K(ASK_CHAT) },
	{ "messages", F_MESSAGES, S_ARRAY, "[]openai.Message", K(ASK_V1_CHAT) },
	{ "messages", F_MESSAGES, S_ARRAY, "[]anthropic.MessageParam",
	  K(ASK_V1_MESSAGE) },
	{ "prompt", F_PROMPT, S_STRING, "string",
	  K(ASK_GENERATE) | K(ASK_EMBEDDINGS) | K(ASK_V1_TEXT) },
	{ "suffix", F_SUFFIX, S_STRING, "string", K(ASK_GENERATE) },
	{ "system", F_SYSTEM, S_STRING, "string", K(ASK_GENERATE) | K(ASK_SHOW) },
	{ "template", F_TEMPLATE, S_STRING, "string", K(ASK_GENERATE) | K(ASK_SHOW) },
	{ "context", F_CONTEXT, S_ARRAY, "[]int", K(ASK_GENERATE) },
	{ "stream", F_STREAM, S_BOOL, "bool", TEXTS | V1_TEXTS | K(ASK_PULL) },
	{ "raw", F_RAW, S_BOOL, "bool", K(ASK_GENERATE) },
	{ "format", F_FORMAT, S_ANY, "", TEXTS },
	{ "keep_alive", F_KEEP, S_KEEP, "", NATIVE },
	{ "images", F_IMAGES, S_ARRAY, "[]api.ImageData", K(ASK_GENERATE) },
	{ "options", F_OPTIONS, S_OBJECT, OPTIONS_TYPE, NATIVE | K(ASK_SHOW) },
	/* no field of OpenAI's, so of any type: read for its fake_ keys only */
	{ "options", F_OPTIONS, S_ANY, "", V1 },
	{ "think", F_THINK, S_THINK, "", TEXTS },
	{ "tools", F_TOOLS, S_ARRAY, "api.Tools", K(ASK_CHAT) },
	{ "tools", F_TOOLS, S_ARRAY, "[]api.Tool", K(ASK_V1_CHAT) },
	{ "truncate", F_TRUNCATE, S_BOOL, "bool", TEXTS | K(ASK_EMBED) },
	{ "shift", F_SHIFT, S_BOOL, "bool", TEXTS },
	{ "logprobs", F_LOGPROBS, S_BOOL, "bool", TEXTS | K(ASK_V1_CHAT) },
	{ "top_logprobs", F_TOP_LOGPROBS, S_INT, "int", TEXTS | K(ASK_V1_CHAT) },
	{ "_debug_render_only", F_OTHER, S_BOOL, "bool", TEXTS },
	{ "input", F_INPUT, S_ANY, "",
	  K(ASK_EMBED) | K(ASK_V1_EMBED) | K(ASK_V1_RESPONSE) },
	{ "dimensions", F_DIMENSIONS, S_INT, "int", K(ASK_EMBED) | K(ASK_V1_EMBED) },
	{ "stream_options", F_STREAM_OPTIONS, S_OBJECT, "openai.StreamOptions",
	  K(ASK_V1_CHAT) | K(ASK_V1_TEXT) },
	{ "max_tokens", F_MAX_TOKENS, S_INT, "int",
	  K(ASK_V1_CHAT) | K(ASK_V1_TEXT) | K(ASK_V1_MESSAGE) },
	{ "max_output_tokens", F_MAX_TOKENS, S_INT, "int", K(ASK_V1_RESPONSE) },
	{ "verbose", F_OTHER, S_BOOL, "bool", K(ASK_SHOW) },
	{ "insecure", F_OTHER, S_BOOL, "bool", K(ASK_PULL) },
};

static const char *const struct_names[ASK_KIND_COUNT][2] = {
	[ASK_CHAT] = { "api", "ChatRequest" },
	[ASK_GENERATE] = { "api", "GenerateRequest" },
	[ASK_EMBED] = { "api", "EmbedRequest" },
	[ASK_EMBEDDINGS] = { "api", "EmbeddingRequest" },
	[ASK_V1_CHAT] = { "openai", "ChatCompletionRequest" },
	[ASK_V1_TEXT] = { "openai", "CompletionRequest" },
	[ASK_V1_RESPONSE] = { "openai", "ResponsesRequest" },
	[ASK_V1_MESSAGE] = { "anthropic", "MessagesRequest" },
	[ASK_V1_EMBED] = { "openai", "EmbedRequest" },
	[ASK_SHOW] = { "api", "ShowRequest" },
	[ASK_PULL] = { "api", "PullRequest" },
	[ASK_DELETE] = { "api", "DeleteRequest" },
	[ASK_COPY] = { "api", "CopyRequest" },
};

struct reader {
	enum ask_kind kind;
	struct gojson values[FIELD_COUNT];
	struct ask *out;
	struct errtext *why;
	bool noted; /* a wrong type has been found */
};

/* --- keep_alive and think read themselves --------------------------------- */

static double unit_seconds(struct span unit)
{
	static const struct {
		const char *name;
		double seconds;
	} units[] = {
		{ "ns", 1e-9 },        { "us", 1e-6 }, { "\xc2\xb5s", 1e-6 },
		{ "\xce\xbcs", 1e-6 }, { "ms", 1e-3 }, { "s", 1 },
		{ "m", 60 },           { "h", 3600 },
	};

	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (span_eq(unit, units[i].name))
			return units[i].seconds;
	return -1;
}

static bool bad_duration(struct errtext *why, const char *what, struct span unit,
                         struct span all)
{
	struct buf b;

	buf_init(&b, TEXT_MAX);
	put_f(&b, "time: %s ", what);
	if (unit.p) {
		put_quoted(&b, unit);
		put_s(&b, " in duration ");
	}
	put_quoted(&b, all);
	errtext_set(why, "%.*s", (int)b.len, b.p);
	buf_done(&b);
	return false;
}

static size_t run_of(struct span s, const char *of, bool not_of)
{
	size_t n = 0;

	while (n < s.len && (strchr(of, s.p[n]) != NULL) != not_of)
		n++;
	return n;
}

/* time.ParseDuration, in seconds. */
static bool parse_duration(struct span all, double *out, struct errtext *why)
{
	struct span s = all, unit;
	bool minus = s.len && *s.p == '-';
	double sum = 0, seconds;
	size_t n;

	if (s.len && (*s.p == '-' || *s.p == '+')) {
		s.p++;
		s.len--;
	}
	if (!s.len)
		return bad_duration(why, "invalid duration", (struct span){ NULL, 0 }, all);
	*out = 0;
	if (span_eq(s, "0"))
		return true;
	while (s.len) {
		n = run_of(s, "0123456789.", false);
		if (!n || !strpbrk(s.p, "0123456789") || n > 40)
			return bad_duration(why, "invalid duration", (struct span){ NULL, 0 },
			                    all);
		seconds = strtod(s.p, NULL);
		s.p += n;
		s.len -= n;
		n = run_of(s, "0123456789.", true);
		if (!n)
			return bad_duration(why, "missing unit in duration",
			                    (struct span){ NULL, 0 }, all);
		unit = (struct span){ s.p, n };
		if (unit_seconds(unit) < 0)
			return bad_duration(why, "unknown unit", unit, all);
		sum += seconds * unit_seconds(unit);
		s.p += n;
		s.len -= n;
	}
	*out = minus ? -sum : sum;
	return true;
}

static bool read_keep(struct reader *r, const struct gojson *v)
{
	double seconds = 0;
	char *s;
	size_t len;
	bool ok = true;

	r->out->has_keep = v->type != GOJSON_NULL;
	switch (v->type) {
	case GOJSON_NULL:
		return true;
	case GOJSON_NUMBER:
		seconds = gojson_number(v);
		break;
	case GOJSON_STRING:
		s = gojson_string(v, &len);
		ok = parse_duration((struct span){ s, len }, &seconds, r->why);
		free(s);
		break;
	default:
		errtext_set(r->why, "Unsupported type: '%s'",
		            v->type == GOJSON_BOOL    ? "bool"
		            : v->type == GOJSON_ARRAY ? "[]interface {}"
		                                      : OPTIONS_TYPE);
		return false;
	}
	r->out->keep_ns =
	    seconds < 0 || seconds > 9e9 ? KEEP_FOREVER : (int64_t)(seconds * NS_PER_S);
	return ok;
}

#define THINK_VALUES "\"high\", \"medium\", \"low\", \"max\", true, or false)"

static bool read_think(struct reader *r, const struct gojson *v)
{
	static const char *const levels[] = { "high", "medium", "low", "max" };
	struct buf b;
	char *s;
	bool known = false;

	r->out->think = v->type == GOJSON_NULL                      ? THINK_UNSET
	                : v->type == GOJSON_BOOL && !gojson_true(v) ? THINK_OFF
	                                                            : THINK_ON;
	if (v->type == GOJSON_NULL || v->type == GOJSON_BOOL)
		return true;
	if (v->type != GOJSON_STRING) {
		errtext_set(r->why, "think must be a boolean or string (" THINK_VALUES);
		return false;
	}
	s = gojson_string(v, NULL);
	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		known = known || !strcmp(s, levels[i]);
	if (!known) {
		buf_init(&b, TEXT_MAX);
		put_quoted(&b, span_of(s));
		errtext_set(r->why, "invalid think value: %.*s (must be " THINK_VALUES,
		            (int)b.len, b.p);
		buf_done(&b);
	}
	free(s);
	return known;
}

/* --- the members ---------------------------------------------------------- */

static const struct rule *rule_for(enum ask_kind kind, const char *key)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (rules[i].kinds & K(kind) && gojson_same_name(key, rules[i].key))
			return &rules[i];
	return NULL;
}

static bool fits(enum shape shape, const struct gojson *v)
{
	switch (shape) {
	case S_STRING:
		return v->type == GOJSON_STRING;
	case S_BOOL:
		return v->type == GOJSON_BOOL;
	case S_INT:
		return v->type == GOJSON_NUMBER && !memchr(v->raw.p, '.', v->raw.len) &&
		       !memchr(v->raw.p, 'e', v->raw.len);
	case S_OBJECT:
		return v->type == GOJSON_OBJECT;
	case S_ARRAY:
		return v->type == GOJSON_ARRAY;
	default:
		return true;
	}
}

static void note_type(struct reader *r, const char *path, const struct gojson *v,
                      const char *go_type)
{
	bool inexact = v->type == GOJSON_NUMBER && !strcmp(go_type, "int");

	if (!r->noted)
		errtext_set(
		    r->why,
		    "json: cannot unmarshal %s%s%.*s into Go struct field %s.%s of type %s",
		    gojson_type_name(v->type), inexact ? " " : "",
		    inexact ? (int)v->raw.len : 0, v->raw.p, struct_names[r->kind][1], path,
		    go_type);
	r->noted = true;
}

/* One message: only what is looked at is checked. */
static void check_message(struct reader *r, const struct gojson *m)
{
	struct gojson_walk w = { .rest = m->raw };
	struct gojson v;
	char *key;

	if (m->type == GOJSON_NULL)
		return;
	if (m->type != GOJSON_OBJECT) {
		note_type(r, "messages", m,
		          r->kind == ASK_CHAT ? "api.Alias" : "openai.Message");
		return;
	}
	while (gojson_next(&w, &key, &v)) {
		bool text = gojson_same_name(key, "role") ||
		            (r->kind == ASK_CHAT && gojson_same_name(key, "content"));
		char path[32];

		if (text && v.type != GOJSON_STRING && v.type != GOJSON_NULL) {
			snprintf(path, sizeof(path), "messages.%s",
			         gojson_same_name(key, "role") ? "role" : "content");
			note_type(r, path, &v, "string");
		}
		free(key);
	}
}

static void check_messages(struct reader *r, const struct gojson *v)
{
	struct gojson_walk w = { .rest = v->raw };
	struct gojson m;
	char *key;

	while (gojson_next(&w, &key, &m))
		check_message(r, &m);
}

/* Take one member; false: decoding is over, the text is set. */
static bool take_member(struct reader *r, const char *key, const struct gojson *v)
{
	const struct rule *rule = rule_for(r->kind, key);
	struct gojson *slot;

	if (!rule)
		return true;
	slot = &r->values[rule->field];
	if (rule->shape == S_KEEP)
		return read_keep(r, v);
	if (rule->shape == S_THINK)
		return read_think(r, v);
	if (v->type == GOJSON_NULL) {
		if (rule->shape != S_STRING && rule->shape != S_INT)
			slot->type = GOJSON_NULL;
		return true;
	}
	if (!fits(rule->shape, v)) {
		note_type(r, rule->key, v, rule->go_type);
		return true;
	}
	if (rule->field == F_MESSAGES)
		check_messages(r, v);
	*slot = *v;
	return true;
}

static enum err decode(struct reader *r, struct span body)
{
	struct gojson top, v;
	struct gojson_walk w;
	enum err e = gojson_first(body, &top, r->why);
	char *key;

	if (e || top.type == GOJSON_NULL)
		return e;
	if (top.type != GOJSON_OBJECT) {
		errtext_set(r->why, "json: cannot unmarshal %s into Go value of type %s.%s",
		            gojson_type_name(top.type), struct_names[r->kind][0],
		            struct_names[r->kind][1]);
		return ERR_INVAL;
	}
	w = (struct gojson_walk){ .rest = top.raw };
	while (gojson_next(&w, &key, &v)) {
		bool on = take_member(r, key, &v);

		free(key);
		if (!on)
			return ERR_INVAL;
	}
	return r->noted ? ERR_INVAL : ERR_OK;
}

/* --- options -------------------------------------------------------------- */

static const struct {
	const char *key;
	char type; /* i, f, b or a: integer, float32, boolean, array */
} known_options[] = {
	{ "num_ctx", 'i' },
	{ "num_batch", 'i' },
	{ "num_gpu", 'i' },
	{ "main_gpu", 'i' },
	{ "num_thread", 'i' },
	{ "draft_num_predict", 'i' },
	{ "num_keep", 'i' },
	{ "seed", 'i' },
	{ "num_predict", 'i' },
	{ "top_k", 'i' },
	{ "repeat_last_n", 'i' },
	{ "use_mmap", 'b' },
	{ "top_p", 'f' },
	{ "min_p", 'f' },
	{ "typical_p", 'f' },
	{ "temperature", 'f' },
	{ "repeat_penalty", 'f' },
	{ "presence_penalty", 'f' },
	{ "frequency_penalty", 'f' },
	{ "stop", 'a' },
};

static const char *wanted_type(char type, const struct gojson *v)
{
	switch (type) {
	case 'i':
		return v->type == GOJSON_NUMBER ? NULL : "integer";
	case 'f':
		return v->type == GOJSON_NUMBER ? NULL : "float32";
	case 'b':
		return v->type == GOJSON_BOOL ? NULL : "boolean";
	default:
		return v->type == GOJSON_ARRAY ? NULL : "array";
	}
}

static void set_option(struct ask *a, const char *key, const struct gojson *v)
{
	struct runner_opts *o = &a->opts;
	const struct {
		const char *key;
		int64_t *to;
	} numbers[] = {
		{ "num_ctx", &o->num_ctx },
		{ "num_batch", &o->num_batch },
		{ "num_gpu", &o->num_gpu },
		{ "main_gpu", &o->main_gpu },
		{ "num_thread", &o->num_thread },
		{ "draft_num_predict", &o->draft_num_predict },
		{ "num_predict", &a->num_predict },
	};
	double n = gojson_number(v);

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (!strcmp(key, numbers[i].key) && fabs(n) < 1e15)
			*numbers[i].to = (int64_t)n;
	if (!strcmp(key, "use_mmap"))
		o->use_mmap = gojson_true(v);
	if (o->num_gpu < 0)
		o->num_gpu = -1;
}

static void read_options(struct ask *a, const struct gojson *options)
{
	struct gojson_walk w = { .rest = options->raw };
	struct gojson v;
	const char *wanted;
	char *key;

	if (options->type != GOJSON_OBJECT)
		return;
	while (gojson_next(&w, &key, &v)) {
		faults_take(&a->faults, key, &v);
		wanted = NULL;
		for (size_t i = 0; i < ARRAY_LEN(known_options); i++)
			if (!strcmp(key, known_options[i].key) && v.type != GOJSON_NULL)
				wanted = wanted_type(known_options[i].type, &v);
		if (wanted && !a->option_error) {
			if (asprintf(&a->option_error, "option \"%s\" must be of type %s", key,
			             wanted) < 0)
				abort();
		} else if (!wanted && v.type != GOJSON_NULL) {
			set_option(a, key, &v);
		}
		free(key);
	}
}

/* --- texts ---------------------------------------------------------------- */

static size_t words_in(const char *s)
{
	size_t n = 0;

	for (bool inside = false; *s; s++) {
		bool space = *s == ' ' || *s == '\n' || *s == '\t';

		n += !space && !inside;
		inside = !space;
	}
	return n;
}

/* Content as a text: a string, or OpenAI's array of parts joined. */
static char *content_of(const struct gojson *v)
{
	struct gojson_walk w = { .rest = v->raw };
	struct gojson part, text;
	struct buf b;
	char *key, *s;

	if (v->type == GOJSON_STRING)
		return gojson_string(v, NULL);
	buf_init(&b, TEXT_MAX);
	while (v->type == GOJSON_ARRAY && gojson_next(&w, &key, &part)) {
		struct gojson_walk in = { .rest = part.raw };

		while (part.type == GOJSON_OBJECT && gojson_next(&in, &key, &text)) {
			if (gojson_same_name(key, "text") && text.type == GOJSON_STRING) {
				s = gojson_string(&text, NULL);
				put_s(&b, s);
				free(s);
			}
			free(key);
		}
	}
	s = text_dup((struct span){ b.p, b.len });
	buf_done(&b);
	return s;
}

static void read_messages(struct ask *a, const struct gojson *messages)
{
	struct gojson_walk w = { .rest = messages->raw };
	struct gojson m, v;
	char *key;

	if (messages->type != GOJSON_ARRAY)
		return;
	while (gojson_next(&w, &key, &m)) {
		struct gojson_walk in = { .rest = m.raw };

		a->has_work = true;
		while (m.type == GOJSON_OBJECT && gojson_next(&in, &key, &v)) {
			if (gojson_same_name(key, "content")) {
				free(a->prompt);
				a->prompt = content_of(&v);
				a->prompt_words += words_in(a->prompt);
			}
			free(key);
		}
	}
}

static void add_input(struct ask *a, const struct gojson *v)
{
	a->inputs = realloc(a->inputs, (a->input_count + 1) * sizeof(char *));
	if (!a->inputs)
		abort();
	a->inputs[a->input_count] = gojson_string(v, NULL);
	a->prompt_words += words_in(a->inputs[a->input_count]);
	a->input_count++;
}

static void read_input(struct ask *a, const struct gojson *input)
{
	struct gojson_walk w = { .rest = input->raw };
	struct gojson v;
	char *key;

	a->has_work = !gojson_empty(input);
	if (input->type == GOJSON_STRING && a->has_work)
		add_input(a, input);
	else if (input->type == GOJSON_ARRAY)
		while (gojson_next(&w, &key, &v)) {
			if (v.type == GOJSON_STRING)
				add_input(a, &v);
			else
				a->bad_input = true;
		}
	else
		a->bad_input = a->has_work;
}

static char *string_or(const struct gojson *v, const char *none)
{
	if (v->type == GOJSON_STRING)
		return gojson_string(v, NULL);
	return none ? text_dup(span_of(none)) : NULL;
}

static void read_format(struct ask *a, const struct gojson *v)
{
	struct buf b;

	if (gojson_empty(v) || v->type == GOJSON_OBJECT || span_eq(v->raw, "\"json\""))
		return;
	buf_init(&b, TEXT_MAX);
	put_s(&b, "invalid format: ");
	put_quoted(&b, v->raw);
	put_s(&b, "; expected \"json\" or a valid JSON Schema object");
	a->format_error = text_dup((struct span){ b.p, b.len });
	buf_done(&b);
}

static bool wants_usage(const struct gojson *v)
{
	struct gojson_walk w = { .rest = v->raw };
	struct gojson flag;
	bool yes = false;
	char *key;

	while (v->type == GOJSON_OBJECT && gojson_next(&w, &key, &flag)) {
		if (gojson_same_name(key, "include_usage"))
			yes = gojson_true(&flag);
		free(key);
	}
	return yes;
}

static void fill(struct ask *a, const struct gojson *v)
{
	a->model = string_or(&v[F_MODEL], "");
	a->name = string_or(&v[a->kind == ASK_COPY ? F_DEST : F_NAME], "");
	a->stream = v[F_STREAM].type == GOJSON_BOOL ? gojson_true(&v[F_STREAM])
	                                            : !(V1_TEXTS & K(a->kind));
	a->raw = gojson_true(&v[F_RAW]);
	a->templated = !gojson_empty(&v[F_TEMPLATE]) || !gojson_empty(&v[F_SYSTEM]) ||
	               !gojson_empty(&v[F_CONTEXT]);
	a->suffix = !gojson_empty(&v[F_SUFFIX]);
	a->tools = !gojson_empty(&v[F_TOOLS]);
	a->images = !gojson_empty(&v[F_IMAGES]);
	a->top_logprobs = (int64_t)gojson_number(&v[F_TOP_LOGPROBS]);
	a->dimensions = (int64_t)gojson_number(&v[F_DIMENSIONS]);
	a->no_truncate =
	    v[F_TRUNCATE].type == GOJSON_BOOL && !gojson_true(&v[F_TRUNCATE]);
	a->opts.no_shift = v[F_SHIFT].type == GOJSON_BOOL && !gojson_true(&v[F_SHIFT]);
	a->num_predict = -1;
	read_options(a, &v[F_OPTIONS]);
	if (v[F_MAX_TOKENS].type == GOJSON_NUMBER)
		a->num_predict = (int64_t)gojson_number(&v[F_MAX_TOKENS]);
	a->usage = wants_usage(&v[F_STREAM_OPTIONS]);
	read_format(a, &v[F_FORMAT]);
	read_messages(a, &v[F_MESSAGES]);
	if (a->kind == ASK_V1_RESPONSE && v[F_INPUT].type == GOJSON_STRING) {
		a->prompt = gojson_string(&v[F_INPUT], NULL);
		a->prompt_words = words_in(a->prompt);
		a->has_work = *a->prompt != '\0';
	} else if (a->kind == ASK_V1_RESPONSE) {
		read_messages(a, &v[F_INPUT]); /* items of this API are such, too */
	}
	if (a->kind == ASK_GENERATE || a->kind == ASK_EMBEDDINGS ||
	    a->kind == ASK_V1_TEXT) {
		a->prompt = string_or(&v[F_PROMPT], "");
		a->prompt_words = words_in(a->prompt);
		a->has_work = *a->prompt != '\0';
	}
	if (a->kind == ASK_EMBED || a->kind == ASK_V1_EMBED)
		read_input(a, &v[F_INPUT]);
}

enum err ask_read(enum ask_kind kind, struct span body, const struct pace *pace,
                  struct ask *out, struct errtext *why)
{
	struct reader r = { .kind = kind, .out = out, .why = why };
	enum err e;

	*out = (struct ask){ .kind = kind, .opts = RUNNER_OPTS_DEFAULT };
	faults_init(&out->faults, pace);
	e = decode(&r, body);
	if (!e)
		fill(out, r.values);
	return e;
}

void ask_done(struct ask *a)
{
	free(a->model);
	free(a->name);
	free(a->prompt);
	free(a->option_error);
	free(a->format_error);
	for (size_t i = 0; i < a->input_count; i++)
		free(a->inputs[i]);
	free(a->inputs);
	faults_done(&a->faults);
	*a = (struct ask){ .kind = a->kind };
}
