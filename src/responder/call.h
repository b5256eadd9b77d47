/*
 * call.h - one request in the hands of one thread, and what it may use.
 *
 * Every handler has the same shape: void handler(struct call *). It answers
 * (answer.h), or passes on (pass.h), or parks the request (lot.h) and sets
 * `req` to NULL; whoever called it ends what is left.
 */
#ifndef FOREMAN_RESPONDER_CALL_H
#define FOREMAN_RESPONDER_CALL_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/ulid.h"
#include "core/conf.h"
#include "core/job.h"
#include "core/limits.h"
#include "fcgi/fcgx.h"
#include "http/xfer.h"
#include "responder/trail.h"
#include "store/db.h"

#include <stdbool.h>
#include <stdint.h>

struct group;
struct guard;
struct health;
struct lot;
struct watch;

/* What all requests of one responder share. */
struct service {
	const struct conf *conf;
	struct db_conf db_conf;
	struct group *group;
	struct guard *guard;
	struct lot *lot;
	struct watch *watch;
	struct health *health;
};

/* What one thread keeps from request to request. */
struct seat {
	const struct service *service;
	struct db *db;          /* a DB_READER; call_db opens it */
	struct xfer_line *line; /* call_line makes it */
	int64_t up_mono_ms;     /* the worker's good word of the target ... */
	int64_t ready_mono_ms;  /* ... and of the embedder was read then; 0: never */
	char known[LIMIT_MODEL_NAME + 1]; /* the target's list had this model ... */
	int64_t known_mono_ms;            /* ... then; 0: never */
	struct buf body;        /* the request's; at most FOREMAN_MAX_BODY */
};

/* How an error is worded, by the face of foreman it happens on. */
enum family { FAMILY_OLLAMA, FAMILY_OPENAI, FAMILY_ANTHROPIC, FAMILY_PROBLEM };

struct call {
	struct seat *seat;
	struct fcgx *req;        /* NULL: parked, no longer ours */
	const char *method;
	struct span path;        /* raw, up to the '?' */
	struct span query;       /* behind it */
	enum family family;
	const char *upstream;    /* the route's path at the target; NULL: not for it */
	struct span id;          /* the path's {id} segment or {name}, absent if none */
	struct span body;        /* read before the handler runs, where routed so */
	int status;              /* what was answered; 0 = nothing (yet) */
	char job[ULID_SIZE];     /* the job it is about, "" = none; for the log */
	struct errtext why;      /* of a failure; for the log */
	struct trail trail;      /* goes along where the request goes */
};

/*
 * The thread's reading connection, opened at its first use. An error has been
 * answered; the handler only returns.
 */
enum err call_db(struct call *c, struct db **out) MUST_CHECK;

/* The thread's line to the target; NULL (answered) without memory. */
struct xfer_line *call_line(struct call *c);

/* Is this the method it was asked by? ("HEAD") */
bool call_by(const struct call *c, const char *method);

/* A header of the request by its CGI name ("HTTP_ACCEPT"); absent if not sent
 * or empty. */
struct span call_header(const struct call *c, const char *name);

/*
 * What of the client's headers the target may see, as "Name: value\n" lines in
 * `out` (initialised here, buf_done it): how the body is to be read, what may
 * come back, and who asks. Never Authorization or cookies; no Origin that is
 * this very server's, for the target knows itself by another name and would
 * take it for a stranger's. ERR_TOOBIG: above LIMIT_REQUEST_HEADERS; that and
 * any other error has been answered.
 */
enum err call_forwarded(struct call *c, struct buf *out) MUST_CHECK;

/*
 * What of the client's headers goes wherever its request leads, as lines: its
 * X-Request-Id, traceparent and tracestate, where they are of the right form.
 * Behind what is in `out`. ERR_TOOBIG, ERR_NOMEM.
 */
enum err call_traced(const struct call *c, struct buf *out) MUST_CHECK;

/* How job objects are rendered in answers given now. */
struct job_view call_view(const struct call *c);

/* Log the request as answered with c->status, and end it; c->req is NULL then. */
void call_end(struct call *c);

/* What a request leaves in the seat: a large body's memory is given back. */
void seat_tidy(struct seat *s);
void seat_done(struct seat *s);

#endif
