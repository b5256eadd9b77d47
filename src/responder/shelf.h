/*
 * shelf.h - stored answers on their way to clients of any speed.
 *
 *   entered ──► sending ──all is queued──► ending ──► gone
 *      │           └── the client leaves, or takes nothing for
 *      │               LIMIT_SHELF_STALL_MS ──► gone
 *      └── a stream whose job is not finished ──► back to the yard (guest.h)
 *
 * Part of the parking lot: its thread, its loop, one reading connection. Bytes
 * are read in small pieces, a short statement each, when the client has taken
 * the last ones: so a client holds no thread, no read transaction, and of an
 * artifact of any size a fixed part of memory.
 */
#ifndef FOREMAN_RESPONDER_SHELF_H
#define FOREMAN_RESPONDER_SHELF_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ulid.h"
#include "http/loop.h"
#include "responder/call.h"
#include "responder/coda.h"
#include "responder/outlet.h"
#include "responder/roll.h"
#include "store/db.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum shelf_what {
	SHELF_BYTES,  /* a part of an artifact; the head has told its length */
	SHELF_REPLAY, /* a stream: the finished job's response, and how it ended */
	SHELF_TAIL,   /* ... of which everything was shown live: how it ended */
	SHELF_CUT     /* ... that broke off: only that */
};

struct shelf_order {
	enum shelf_what what;
	char id[ULID_SIZE];
	int64_t handle;  /* BYTES: of the artifact, */
	int64_t offset;  /* from here, */
	int64_t left;    /* so many */
	struct coda coda; /* of a stream: how its next bytes are to begin */
	struct trail trail;
};

struct shelf { /* embed it; shelf_init, shelf_done */
	struct loop *loop;
	const struct db_conf *db_conf;
	struct db *db; /* a DB_READER, opened at its first use */
	struct buf piece;
	struct roll items;
	/* A stream whose job will still run: take the connection, which has its
	 * head already, to wait and follow. */
	void (*follow)(void *arg, struct outlet *from, const struct shelf_order *order);
	void *arg;
};

void shelf_init(struct shelf *s, struct loop *l, const struct db_conf *conf);
void shelf_done(struct shelf *s); /* nothing may be left on it */

/* Answer a detached request (fcgx_detach) with this head, then as ordered.
 * Above LIMIT_SHELF_CLIENTS the answer is 503. */
void shelf_enter(struct shelf *s, int fd, int fcgi_id, int status,
                 const char *headers, const struct shelf_order *order);

/* Go on with a stream that has its head; `from` is empty after it. */
void shelf_take(struct shelf *s, struct outlet *from,
                const struct shelf_order *order);

/* After each turn of the loop: free who has left. */
void shelf_sweep(struct shelf *s);

/* foreman stops: end the streams, cut the rest. */
void shelf_dismiss(struct shelf *s);

#endif
