/*
 * lot.h - the parking lot: clients that wait in line or read a stream.
 *
 * One thread and one loop per process, whatever the number of clients; a
 * parked client costs a few hundred bytes and two descriptors, and no thread.
 *
 *             relay HEAD                relay END, or broken off
 *   WAITING ─────────────► STREAMING ──────────────────────────► ENDING ──► gone
 *      │                                                            ▲
 *      └─── refused, waited too long, drained ──────────────────────┘
 *   from WAITING and STREAMING: the client leaves ──► gone
 *
 * WAITING    nothing of the answer is known. After `keepalive_ms`, and then
 *            every so often, four spaces go out (of events: four empty
 *            comments); the first of them commits the status 200, and an error
 *            is told in-band from then on. The relay
 *            may be gone: it is connected to again until the worker is there.
 * STREAMING  the head is out, relay bytes are copied, a line a record; while
 *            the client takes nothing, the relay is not read.
 * ENDING     all is said: what is pending is written, the connection shut, and
 *            closed when the web server has closed it too.
 *
 * A reader (GET /jobs/{id}/stream) is like any guest, but for its beginning and
 * its end: its head goes out when it is parked, and how its stream ends is for
 * the shelf to say. Who is sent something stored stands on the shelf from the
 * start.
 *
 * Who leaves is noticed by any event on the FastCGI connection or a failed
 * write; then the relay connection is closed, which cancels the job.
 */
#ifndef FOREMAN_RESPONDER_LOT_H
#define FOREMAN_RESPONDER_LOT_H

#include "base/attr.h"
#include "base/err.h"
#include "base/ulid.h"
#include "responder/call.h"
#include "responder/shelf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lot;

struct lot_conf {
	const char *relay;      /* FOREMAN_RELAY; must outlive the lot */
	const struct db_conf *db; /* for the shelf; outlives the lot */
	int64_t keepalive_ms;   /* 0: never */
	int64_t max_wait_ms;    /* 0: no limit */
	/* Cancel a waiting job in the database, for a client that left while no
	 * worker could be told. Called in a thread of its own; may block. */
	void (*cancel)(void *arg, const char *id);
	void *arg;
};

enum err lot_new(const struct lot_conf *conf, struct lot **out) MUST_CHECK;

struct lot_ticket {
	int fd;                 /* from fcgx_detach */
	int fcgi_id;
	int relay;              /* attached as the job's owner; -1: not yet */
	char id[ULID_SIZE];
	enum family family;     /* of errors */
	bool ndjson;            /* the answer will be a stream of lines */
	bool events;            /* ... or of server-sent events */
	bool doubtful;          /* it may well be refused: no keepalive commits a
	                           status for it before the target's */
	bool reader;            /* not its client: it follows along, gets its head
	                           at once, and cancels nothing; `relay` likewise */
	struct trail trail;
};

/* Any thread. Takes over both descriptors, whatever happens. */
void lot_park(struct lot *lot, const struct lot_ticket *ticket);

/* In the head of every stream of GET /jobs/{id}/stream, behind its type. */
#define LOT_STREAM_LINES                                                           \
	"Cache-Control: no-store\nX-Content-Type-Options: nosniff\n"

/* What the shelf (shelf.h) shall send: from fcgx_detach, and the head. */
#define LOT_HEADERS_SIZE 1024
struct lot_sending {
	int fd;
	int fcgi_id;
	int status;
	char headers[LOT_HEADERS_SIZE]; /* "Name: value\n" lines */
	struct shelf_order order;
};

/* Any thread. Takes over the descriptor, whatever happens. */
void lot_send(struct lot *lot, const struct lot_sending *sending);

/* Any thread, never blocks: tell the worker to look at the queue (many calls
 * make one message), or that a running job is to be cancelled. Lost when no
 * worker is there; it looks at the database itself when it comes. */
void lot_nudge(struct lot *lot);
void lot_cancel(struct lot *lot, const char id[ULID_SIZE]);

/* Clients parked now, or being sent something. */
size_t lot_count(const struct lot *lot);

/* Give those parked now and later `ms` from now; who is left then gets an error
 * and the end. May be called again to shorten it. */
void lot_drain(struct lot *lot, int64_t ms);

/* Nobody will park any more: the loop ends when the last client has gone. */
void lot_close(struct lot *lot);

/* Readable when the loop has ended; the lot's own until lot_free. */
int lot_ended_fd(const struct lot *lot);

/* After lot_close: wait for the end and free it. NULL is fine. */
void lot_free(struct lot *lot);

#endif
