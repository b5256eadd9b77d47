/*
 * watch.h - clients that wait for a job to move, not for its reply.
 *
 *   parked ──moved, ended, or time is up──► answered ──► gone
 *   parked (events) ──each move──► one event ──end──► gone
 *   either: the client leaves ──► gone
 *
 * One thread, one loop and one reading connection per process, whatever the
 * number of clients. While somebody is here the loop asks SQLite every
 * LIMIT_WATCH_MS whether anything was committed (PRAGMA data_version, no I/O),
 * and only then looks at the jobs it watches: so whoever moves a job is seen,
 * another responder and the sqlite3 shell included, and no read transaction is
 * open in between.
 *
 * An event is `id: SEQ`, `event: job.STATE`, `data: {"id","seq","state",
 * "reason","at","terminal"}`; the last is the terminal one, or `job.removed`.
 * Above LIMIT_WATCHERS clients nobody else waits: MOVE and END are answered as
 * if the time were over, EVENTS are refused with 503.
 */
#ifndef FOREMAN_RESPONDER_WATCH_H
#define FOREMAN_RESPONDER_WATCH_H

#include "base/attr.h"
#include "base/err.h"
#include "base/ulid.h"
#include "core/conf.h"
#include "responder/trail.h"
#include "store/db.h"

#include <stdbool.h>
#include <stdint.h>

struct watch;

/* `conf` and what `db` names outlive the watch. */
enum err watch_new(const struct conf *conf, const struct db_conf *db,
                   struct watch **out) MUST_CHECK;

enum watch_for {
	WATCH_MOVE,   /* until its event number is not since_seq; GET /jobs/{id} */
	WATCH_END,    /* until it is terminal; POST /jobs with Prefer: wait */
	WATCH_EVENTS, /* server-sent events after since_seq, to the end */
};

struct watch_ticket {
	int fd;              /* from fcgx_detach */
	int fcgi_id;
	char id[ULID_SIZE];
	enum watch_for what;
	int64_t since_seq;   /* MOVE, EVENTS: already known to the client */
	int64_t wait_ms;     /* MOVE, END: at most so long; 0: look once, answer */
	bool submitted;      /* the answer to POST /jobs: Location, 202 unless the job
	                        is terminal (then 200) */
	bool replayed;       /* ... with Idempotency-Replayed: true */
	bool preferred;      /* ... with Preference-Applied: wait */
	bool head;           /* a HEAD request: no body */
	bool conditional;    /* MOVE: without a move in time 304, not the job */
	struct trail trail;
};

/* Any thread, never blocks. Takes the descriptor over, whatever happens. */
void watch_park(struct watch *w, const struct watch_ticket *ticket);

/* Clients parked now. */
size_t watch_count(const struct watch *w);

/* Those parked now and later are answered with what is known then, at the
 * latest `ms` from now; events end. May be called again to shorten it. */
void watch_drain(struct watch *w, int64_t ms);

/* Nobody will park any more: the loop ends when the last client has gone. */
void watch_close(struct watch *w);

/* Readable when the loop has ended; the watch's own until watch_free. */
int watch_ended_fd(const struct watch *w);

/* After watch_close: wait for the end and free it. NULL is fine. */
void watch_free(struct watch *w);

#endif
