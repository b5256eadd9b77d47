/*
 * content.c - the assistant's text out of a target's answer.
 *
 * The answer is read where it stands, a line at a time, and never copied; of
 * a line only the one string that counts is decoded. Where a name is given
 * twice the last one counts, as it does for the target's own clients.
 * Not here: whether the answer is a good one (worker/verdict).
 */
#include <config.h>

#include "core/content.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/jscan.h"

/* As lenient as Ollama's own clients; what stands behind the first element of
 * an array is not looked at. */
static const struct jscan_rules rules = {
	.max_depth = JSCAN_DEPTH_MAX,
	.any_utf8 = true,
};
static const struct jscan_rules first_rules = {
	.max_depth = JSCAN_DEPTH_MAX,
	.trailing = true,
	.any_utf8 = true,
};

struct finder {
	enum content_from from;
	struct span text; /* the string with its quotes; absent: none */
	bool other;       /* it is of another choice than the first */
};

/* --- one value of the answer ----------------------------------------------- */

static bool message_member(void *arg, struct span key, const struct jscan_value *v)
{
	struct finder *f = arg;

	if (span_eq(key, "content"))
		f->text = v->type == JSCAN_STRING ? v->raw : (struct span){ 0 };
	return true;
}

/* What cannot be walked to its end has told what stood before. */
static void walk(struct span text, const struct jscan_rules *how,
                 jscan_member_fn *fn, struct finder *f)
{
	(void)!jscan(text, how, fn, f, NULL, NULL);
}

static bool choice_member(void *arg, struct span key, const struct jscan_value *v)
{
	struct finder *f = arg;

	if (span_eq(key, "index"))
		f->other = !span_eq(v->raw, "0");
	else if (v->type == JSCAN_OBJECT &&
	         (span_eq(key, "delta") || span_eq(key, "message")))
		walk(v->raw, &rules, message_member, f);
	return true;
}

static bool answer_member(void *arg, struct span key, const struct jscan_value *v)
{
	struct finder *f = arg;
	struct span inside = { v->raw.p + 1, v->raw.len - 1 };

	if (f->from == CONTENT_GENERATE && span_eq(key, "response"))
		f->text = v->type == JSCAN_STRING ? v->raw : (struct span){ 0 };
	else if (f->from == CONTENT_CHAT && span_eq(key, "message") &&
	         v->type == JSCAN_OBJECT)
		walk(v->raw, &rules, message_member, f);
	else if (f->from == CONTENT_CHOICES && span_eq(key, "choices") &&
	         v->type == JSCAN_ARRAY)
		walk(inside, &first_rules, choice_member, f);
	return true;
}

static void add_text(struct content *c, struct span raw)
{
	size_t len;
	char *text = jscan_unescape(raw, &len);

	if (!text || buf_add(&c->text, text, len) != ERR_OK)
		c->full = true;
	free(text);
}

static void read_value(struct content *c, struct span value)
{
	struct finder f = { .from = c->from };

	walk(value, &rules, answer_member, &f);
	if (f.text.p && !f.other)
		add_text(c, f.text);
}

/* --- lines ----------------------------------------------------------------- */

static void read_line(struct content *c, struct span line)
{
	struct span field;

	if (c->form == CONTENT_EVENTS &&
	    (!span_cut(&line, ':', &field) || !span_eq(field, "data")))
		return;
	line = span_trim(line);
	if (line.len > 0 && !c->full)
		read_value(c, line);
}

void content_more(struct content *c, struct span body)
{
	const char *newline;

	if (c->from == CONTENT_NONE || c->form == CONTENT_WHOLE)
		return;
	while (c->seen < body.len) {
		newline = memchr(body.p + c->seen, '\n', body.len - c->seen);
		if (!newline) {
			c->seen = body.len;
			return;
		}
		c->seen = (size_t)(newline - body.p);
		read_line(c, (struct span){ body.p + c->line, c->seen - c->line });
		c->line = ++c->seen;
	}
}

void content_end(struct content *c, struct span body)
{
	if (c->from == CONTENT_NONE)
		return;
	content_more(c, body);
	if (c->line < body.len)
		read_line(c, (struct span){ body.p + c->line, body.len - c->line });
	c->line = c->seen = body.len;
}

/* --- the extractor --------------------------------------------------------- */

static const struct {
	const char *endpoint;
	enum content_from from;
} sources[] = {
	{ "/api/chat", CONTENT_CHAT },
	{ "/api/generate", CONTENT_GENERATE },
	{ "/v1/chat/completions", CONTENT_CHOICES },
};

static bool begins(const char *text, const char *with)
{
	return strncasecmp(text, with, strlen(with)) == 0;
}

void content_init(struct content *c, const char *endpoint, const char *content_type,
                  size_t max)
{
	*c = (struct content){ .form = CONTENT_WHOLE };
	for (size_t i = 0; i < ARRAY_LEN(sources); i++)
		if (strcmp(endpoint, sources[i].endpoint) == 0)
			c->from = sources[i].from;
	if (begins(content_type, "application/x-ndjson"))
		c->form = CONTENT_LINES;
	else if (begins(content_type, "text/event-stream"))
		c->form = CONTENT_EVENTS;
	buf_init(&c->text, max);
}

void content_done(struct content *c)
{
	buf_done(&c->text);
}

struct span content_text(const struct content *c)
{
	if (c->from == CONTENT_NONE)
		return (struct span){ 0 };
	return (struct span){ c->text.p ? c->text.p : "", c->text.len };
}
