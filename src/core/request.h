/*
 * request.h - the little that foreman reads of a request to Ollama.
 *
 * model, stream, keep_alive, the options that shape a load, and whether there
 * is work to do; by Go's rules (keys in any case, the last one wins, bytes
 * after the value ignored). The body itself is never changed.
 */
#ifndef FOREMAN_CORE_REQUEST_H
#define FOREMAN_CORE_REQUEST_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "core/limits.h"
#include "core/model.h"

#include <stdbool.h>

/* The endpoints of the target that need a model; paths are constants. */
enum endpoint {
	ENDPOINT_CHAT,       /* /api/chat */
	ENDPOINT_GENERATE,   /* /api/generate */
	ENDPOINT_EMBED,      /* /api/embed */
	ENDPOINT_EMBEDDINGS, /* /api/embeddings */
	ENDPOINT_V1_CHAT,    /* /v1/chat/completions */
	ENDPOINT_V1_COMPLETIONS, /* /v1/completions */
	ENDPOINT_V1_RESPONSES,   /* /v1/responses */
	ENDPOINT_V1_MESSAGES,    /* /v1/messages, Anthropic's */
	ENDPOINT_V1_EMBEDDINGS,  /* /v1/embeddings */
	ENDPOINT_COUNT
};

const char *endpoint_path(enum endpoint e);
enum err endpoint_parse(struct span path, enum endpoint *out) MUST_CHECK;

/* Absent: the member is not there at all. `null` is what the target makes of
 * it: true for Ollama's own endpoints, false under /v1. */
enum request_stream { STREAM_ABSENT, STREAM_TRUE, STREAM_FALSE };

struct request {
	char *model_raw;         /* unescaped, heap; NULL when absent */
	struct model_name model; /* valid when `named` */
	bool named;              /* model_raw is a valid name */
	enum request_stream stream;
	bool has_work;           /* messages, prompt or input not empty; told for
	                            Ollama's own endpoints and V1_CHAT only */
	bool unload;             /* keep_alive 0 and no work: never needs a slot
	                            (chat and generate only) */
	char load_key[LIMIT_LOAD_KEY + 1]; /* valid when `named` */
};

/*
 * Read `body`. ERR_OK: it is an object and *out is filled (request_done it).
 * ERR_INVAL: the target would not be able to parse it either, or one of the
 * members read here has the wrong type: let the target say so in its words.
 * ERR_NOENT: empty body. ERR_NOMEM.
 */
enum err request_read(enum endpoint e, struct span body, struct request *out,
                      struct errtext *why) MUST_CHECK;
void request_done(struct request *r);

/* Would the target answer this endpoint as a stream: of NDJSON lines, or of
 * server-sent events under /v1? */
bool request_streams(enum endpoint e, const struct request *r);

/*
 * What a stored job sends: the body itself when it names `stream`, else a
 * copy with "stream":false put in front of its first member; nothing else of
 * it changes. Heap; NULL when there is no memory.
 */
char *request_with_stream(struct span body, const struct request *r, size_t *len);

#endif
