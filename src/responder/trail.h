/*
 * trail.h - a request from its first line in the log to its last.
 *
 * It goes along when a request changes hands (tickets of the lot, the watch and
 * the shelf), so that whoever ends it can tell which it was: in the log, by
 * the request id, and in the tally.
 */
#ifndef FOREMAN_RESPONDER_TRAIL_H
#define FOREMAN_RESPONDER_TRAIL_H

#include "base/attr.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define TRAIL_ID_SIZE 65    /* with its NUL */
#define TRAIL_TRACE_SIZE 33 /* a trace id in hex, and a NUL */

struct trail {
	char id[TRAIL_ID_SIZE];        /* the client's X-Request-Id, or one of ours */
	char trace[TRAIL_TRACE_SIZE];  /* of its traceparent; "" = none */
	bool given;                    /* the id is the client's */
	int route;                     /* row of the table (route.h); -1: none */
	int64_t began_mono_us;
};

/* Now. What the client sent may be absent; what of it is not of the right form
 * is as if it were. */
void trail_begin(struct trail *t, struct span request_id, struct span traceparent);

struct trail_end {
	const char *path; /* as it was asked for; NULL: the table's is told */
	const char *method;
	int status;       /* what the client was told; 0: nothing */
	const char *job;  /* "" or NULL: none */
	const char *how;  /* or why; NULL: nothing to say */
};

/* The request's last line in the log, and its place in the tally. */
void trail_close(const struct trail *t, const struct trail_end *end);
/* The same for one that there was no memory to go on with: its connection is
 * closed without a word, and the web server says 502. */
void trail_drop(const struct trail *t, const char *job);

/* --- what a client may send (pure) ----------------------------------------- */

/* Letters, digits and "-_.:+/=@", at most TRAIL_ID_SIZE - 1 of them. */
bool trail_id_ok(struct span id);

/* W3C Trace Context: "00-<32 hex>-<16 hex>-<2 hex>", neither id all zeros; of
 * versions to come, more may follow. */
bool trail_traceparent_ok(struct span value);

#endif
