/*
 * content.h - the assistant's text out of a target's answer, as it grows. Pure.
 *
 *   /api/chat             message.content        of each line, or of the whole
 *   /api/generate         response               likewise
 *   /v1/chat/completions  choices[0].delta.content of each event, or
 *                         choices[0].message.content of the whole
 *   anything else         there is none
 *
 * Thinking and tool calls are no content. It never fails: what does not fit
 * (a line that is no JSON, a member of another type, an answer cut in the
 * middle) adds nothing, and what was found before stays.
 */
#ifndef FOREMAN_CORE_CONTENT_H
#define FOREMAN_CORE_CONTENT_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum content_from { CONTENT_NONE, CONTENT_CHAT, CONTENT_GENERATE, CONTENT_CHOICES };

enum content_form {
	CONTENT_LINES,  /* NDJSON */
	CONTENT_EVENTS, /* server-sent events */
	CONTENT_WHOLE   /* one JSON value */
};

struct content { /* embed it; content_init, content_done */
	enum content_from from;
	enum content_form form;
	struct buf text;
	bool full;   /* a piece went beyond the bound: no more is taken */
	size_t line; /* where the line in hand begins */
	size_t seen; /* no newline between `line` and here */
};

/* For an answer of this endpoint ("/api/chat") and content type; at most `max`
 * bytes of text are kept. */
void content_init(struct content *c, const char *endpoint, const char *content_type,
                  size_t max);
void content_done(struct content *c); /* a zeroed one is fine */

/* `body` is all of it so far; what was read before is not read again. */
void content_more(struct content *c, struct span body);

/* The end: what stands behind the last newline counts as well. */
void content_end(struct content *c, struct span body);

/* The text so far, UTF-8; absent when answers of this kind have none. Valid
 * until the next call. */
struct span content_text(const struct content *c);

#endif
