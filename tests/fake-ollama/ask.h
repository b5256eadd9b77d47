/*
 * ask.h - what a request body asks for, decoded as Ollama's handlers do.
 */
#ifndef FAKE_OLLAMA_ASK_H
#define FAKE_OLLAMA_ASK_H

#include "faults.h"
#include "gojson.h"
#include "sched.h"

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ask_kind {
	ASK_CHAT,
	ASK_GENERATE,
	ASK_EMBED,
	ASK_EMBEDDINGS,
	ASK_V1_CHAT,
	ASK_V1_TEXT,     /* /v1/completions */
	ASK_V1_RESPONSE, /* /v1/responses */
	ASK_V1_MESSAGE,  /* /v1/messages */
	ASK_V1_EMBED,
	ASK_SHOW,
	ASK_PULL, /* and push, delete: a model and perhaps stream */
	ASK_DELETE,
	ASK_COPY,
	ASK_KIND_COUNT
};

enum ask_think { THINK_UNSET, THINK_OFF, THINK_ON };

/* All texts are heap; NULL where the body has none. */
struct ask {
	enum ask_kind kind;
	char *model; /* "" when absent */
	char *name;  /* the deprecated spelling of model; destination of a copy */
	bool stream;
	bool has_keep;
	int64_t keep_ns;
	bool has_work; /* messages, prompt or input not empty */
	bool images;
	char *prompt;        /* the prompt, or the last message's content */
	size_t prompt_words; /* of all messages or inputs */
	bool raw, templated; /* generate: raw; template, system or context */
	bool suffix, tools;
	enum ask_think think;
	bool usage; /* v1: stream_options.include_usage */
	int64_t top_logprobs;
	int64_t dimensions;
	bool no_truncate;
	int64_t num_predict; /* v1: max_tokens; -1: not given */
	char **inputs; /* embed */
	size_t input_count;
	bool bad_input; /* not a string nor an array of them */
	struct runner_opts opts;
	char *option_error; /* "option \"num_ctx\" must be of type integer" */
	char *format_error; /* "invalid format: …" */
	struct faults faults;
};

/*
 * Decode. ERR_OK: *out is filled. Else the text is what Go says; ERR_NOENT is
 * the empty body, which each API calls by another name. ask_done either way.
 */
enum err ask_read(enum ask_kind kind, struct span body, const struct pace *pace,
                  struct ask *out, struct errtext *why) MUST_CHECK;
void ask_done(struct ask *a);

#endif
