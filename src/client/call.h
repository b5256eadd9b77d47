/*
 * call.h - one HTTP call to the service, for the rest of the client.
 *
 * Tries again while foreman cannot be reached or has no room, as long as the
 * handle's patience lasts and the call is safe to repeat; turns what came back
 * into a foreman_code. Not part of the library's interface.
 */
#ifndef FOREMAN_CLIENT_CALL_H
#define FOREMAN_CLIENT_CALL_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"
#include "client/foreman.h"

#include <stdbool.h>

/* The longest answer taken whole: an artifact of FOREMAN_MAX_RESPONSE inside
 * a job object, where each byte may be escaped to two. */
#define CALL_ANSWER_MAX (160u * 1024 * 1024)
#define CALL_CONNECT_MS 10000
#define CALL_TOTAL_MS                                                              \
	60000                   /* for the service to answer, beyond what it was       \
	                           asked to wait */
#define CALL_DEAD_MS 120000 /* a silent peer that acknowledges nothing */
#define CALL_PATIENCE_MS 30000
#define CALL_PAUSE_MS 200 /* between tries: 0.2 s x 2^n ... */
#define CALL_PAUSE_MAX_MS 5000

struct call_ask {
	const char *method;
	const char *path; /* behind the service's URL: "/jobs/01J..." */
	const char *type; /* of the body; NULL: none */
	struct span body;
	const char *header; /* one more line "Name: value", or NULL */
	int64_t wait_ms;    /* the answer may take so much longer; -1: no limit */
	int at_most_ms;     /* for all of it, instead; 0: as above */
	bool once;          /* not safe to send again */
	foreman_sink sink;  /* takes a good answer's body; NULL: `body` does */
	void *arg;
};

struct call_reply {
	int status;
	char type[128]; /* its media type */
	char location[256];
	char date[40];   /* the server's clock, as it wrote it, or "" */
	bool replayed;   /* Idempotency-Replayed: true */
	int tries;       /* 2: an earlier one may have been carried out */
	struct buf body; /* without a sink, and of every error; buf_done it */
};

/* *reply needs buf_done(&reply->body), whatever the answer. */
foreman_code call_service(foreman *f, const struct call_ask *ask,
                          struct call_reply *reply, foreman_error *e) MUST_CHECK;

/* Sleep so long; not at all if that is negative. */
void call_pause(int64_t ms);

/* Fill in `e` (may be NULL) and return its code. */
foreman_code call_error(foreman_error *e, foreman_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
