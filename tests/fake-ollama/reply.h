/*
 * reply.h - what a model says, and the JSON it is said in.
 *
 * The words are always the same ones: token i of a reply is a function of the
 * request. Keys stand in Go's struct order, zero metrics are left out.
 */
#ifndef FAKE_OLLAMA_REPLY_H
#define FAKE_OLLAMA_REPLY_H

#include "ask.h"
#include "models.h"

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* The tokens of one reply, in order. Points into the ask. */
struct speech {
	const char *echo; /* what of "echo …" is still to be said; NULL: words */
	int64_t thoughts; /* tokens of thinking still to come, before all others */
	int64_t left;     /* tokens still to come, after those */
	int64_t said;
	int64_t token_bytes; /* 0: a word each */
	bool cut;            /* num_predict left some unsaid: done_reason length */
};

void speech_begin(struct speech *s, const struct ask *a, const struct model *m);
/* The next token's text replaces what is in `text`; false at the end. */
bool speech_next(struct speech *s, struct buf *text, bool *thinking);

struct totals {
	int64_t total_ns, load_ns, prompt_ns, eval_ns;
	int64_t prompt_count, eval_count;
	const char *reason; /* "stop", "length"; NULL: it ends without being done */
};

/* One line of a stream: NDJSON with its newline, or an event; `first`: with
 * what the API says before all parts. */
void put_part(struct buf *b, const struct ask *a, struct span text, bool thinking,
              bool first);
/* The last of a stream: with the totals, and what the API says at its end.
 * `content` is all that the parts said. */
void put_last(struct buf *b, const struct ask *a, struct span content,
              const struct totals *t);
/* All of it at once. */
void put_whole(struct buf *b, const struct ask *a, struct span content,
               struct span thinking, const struct totals *t);
/* The answer to a request without work: "load" or "unload". */
void put_idle(struct buf *b, const struct ask *a, const char *reason);

/* Vectors for all inputs (none: the load-only answer). */
void put_embeddings(struct buf *b, const struct ask *a, const struct model *m,
                    const struct totals *t);

/* How an error is worded. */
enum voice { VOICE_OLLAMA, VOICE_OPENAI, VOICE_ANTHROPIC };

enum voice voice_of(enum ask_kind kind);

/* {"error":"…"}, or OpenAI's or Anthropic's shape for that status. No newline. */
void put_error(struct buf *b, enum voice voice, int status, const char *text);

#endif
