/*
 * answer.h - every answer that foreman itself words, in one place.
 *
 * An error is one of the table of faults below; how it looks is the family's:
 *   Ollama     {"error":"..."}
 *   OpenAI     {"error":{"message":...,"type":...,"param":null,"code":...}}
 *   Anthropic  {"type":"error","error":{"type":...,"message":...}}
 *   problem    application/problem+json, RFC 9457, with `code`, `retryable`
 */
#ifndef FOREMAN_RESPONDER_ANSWER_H
#define FOREMAN_RESPONDER_ANSWER_H

#include "responder/call.h"

enum fault {
	FAULT_INVALID_REQUEST,    /* 400 */
	FAULT_INVALID_JOB_ID,
	FAULT_INVALID_WEBHOOK_ID,
	FAULT_UNAUTHORIZED,       /* 401 */
	FAULT_FORBIDDEN,          /* 403 */
	FAULT_NOT_FOUND,          /* 404 */
	FAULT_METHOD_NOT_ALLOWED, /* 405 */
	FAULT_RETIRED,            /* 410 */
	FAULT_TOO_LARGE,          /* 413 */
	FAULT_MEDIA_TYPE,         /* 415 */
	FAULT_RANGE,              /* 416 */
	FAULT_WEBHOOK_REFUSED,    /* 422 */
	FAULT_TOO_MANY_JOBS,      /* 429 */
	FAULT_HEADERS_TOO_LARGE,  /* 431 */
	FAULT_INTERNAL,           /* 500 */
	FAULT_TARGET_NONSENSE,    /* 502 */
	FAULT_BUSY,               /* 503 */
	FAULT_QUEUE_FULL,
	FAULT_TARGET_UNREACHABLE,
	FAULT_NOT_READY,
	FAULT_STOPPING,
	FAULT_STORAGE_FULL,       /* 507 */
	FAULT_KEY_REUSED,         /* 422 */
	FAULT_BATCH_TOO_LARGE,    /* 413 */
	FAULT_COUNT
};

struct fault_row {
	int status;
	const char *code;     /* snake_case, stable */
	bool retryable;
	int retry_after_s;    /* 0: no Retry-After */
};

const struct fault_row *fault_row(enum fault f);

/* The words of a full line, which are Ollama's own (two blanks and all). */
#define ANSWER_BUSY_TEXT \
	"server busy, please try again.  maximum pending requests exceeded"

/* The bounded text of a client's bytes inside an error. */
#define ANSWER_ECHO_SIZE 65

/* --- without a request at hand (pure) ------------------------------------- */

/* The media type of a family's errors. */
const char *answer_error_type(enum family family);

/*
 * The error's body: heap, free it; NULL without memory. `code` may be NULL
 * (then it comes from the status).
 */
char *answer_error_body(enum family family, int status, const char *code,
                        bool retryable, const char *text);

/* What stands before that body where it is one of server-sent events; an empty
 * line ends it. */
const char *answer_event_prefix(enum family family);

/* The same with a Retry-After that was measured; 0: the fault's own. */
void answer_fault_after(struct call *c, enum fault f, int retry_after_s,
                        const char *text);

/* The fault that a store function's error amounts to, and what a client is told
 * of it. */
enum fault answer_store_fault(enum err e, const char **text);

/* --- to a request; each sets c->status ------------------------------------- */

/* The fault with a text for the client ("model is required"). */
void answer_fault(struct call *c, enum fault f, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The same with header lines of its own ("Allow: GET\n"). */
void answer_fault_with(struct call *c, enum fault f, const char *headers,
                       const char *text);

/* The same as an answer; c->why says more to the log. */
void answer_store_error(struct call *c, enum err e);

/* JSON text (NULL: 500, out of memory), which is freed. `headers` may be NULL. */
void answer_json(struct call *c, int status, const char *headers, char *json);

/* JSON bytes of somebody else's, in Ollama's media type. */
void answer_text(struct call *c, int status, const char *headers,
                 struct span json);

/* Text of that media type. */
void answer_typed(struct call *c, int status, const char *type, const char *headers,
                  struct span text);

/* Status and header lines only. */
void answer_empty(struct call *c, int status, const char *headers);

#endif
