/*
 * watcher.h - one client that waits for a job to move, and all it is told.
 *
 *   waiting ──answered, refused, or its events end──► ending ──taken──► gone
 *   either: the client leaves, or takes nothing for too long ──► gone
 *
 * What to tell, and when, is the watch's to know (watch.c), whose thread all of
 * this belongs to; nothing blocks.
 */
#ifndef FOREMAN_RESPONDER_WATCHER_H
#define FOREMAN_RESPONDER_WATCHER_H

#include "base/attr.h"
#include "core/conf.h"
#include "http/loop.h"
#include "responder/answer.h"
#include "responder/outlet.h"
#include "responder/roll.h"
#include "responder/watch.h"

#include <stdbool.h>
#include <stddef.h>

struct watcher {
	struct rolled on_roll;
	struct watchers *all;
	struct watch_ticket ticket; /* since_seq: what the client knows by now */
	bool due;                   /* answer at the next look, moved or not */
	int status;                 /* what the client was told; 0: nothing yet */
	bool ending;     /* the rest is watcher.c's own: all is said, or in `body` */
	const char *how; /* it ended, for the log */
	struct outlet out;
	char *body; /* of an answer, queued up to `at` */
	size_t body_len, at;
	int pings;               /* pieces left of the comment begun */
	struct loop_timer limit; /* of waiting; then of taking the answer; then
	                            of closing */
	struct loop_timer beat;
};

struct watchers { /* embed it; zero but for the first four */
	struct loop *loop;
	const struct conf *conf;
	/* There may be something to tell it: its time is over, or it has taken what
	 * it was told. */
	void (*look)(void *arg, struct watcher *p);
	void *arg;
	struct roll roll;
	size_t waiting; /* ... that are not ending */
	size_t held;    /* bytes of all their bodies */
};

/* Take in a parked client, which has `due` set if so told; the descriptor is
 * closed if that fails (NULL). */
struct watcher *watcher_enter(struct watchers *all,
                              const struct watch_ticket *ticket, bool due);
/* Begin to count its time, and to ping it. */
void watcher_wait(struct watcher *p);
/* Neither ending nor gone. */
bool watcher_waits(const struct watcher *p);
void watcher_leave(struct watcher *p, const char *how);

/* --- what it is told: after each of these it may be ending, or gone ---------- */

/* The whole answer; `body` (may be NULL) is taken over. `how` outlives it. */
void watcher_answer(struct watcher *p, int status, const char *lines, char *body,
                    const char *how);
void watcher_refuse(struct watcher *p, enum fault f, const char *text);

/* The head of a stream of events, and how soon a client that lost us may ask
 * again; nothing if it was told already. */
void watcher_open_events(struct watcher *p);
/* One event, queued; never in the middle of a ping. */
void watcher_event(struct watcher *p, const char *text);
/* Hand over what is queued. False: the client is behind, or not waiting. */
bool watcher_settle(struct watcher *p);
/* Nothing more will be said. */
void watcher_finish(struct watcher *p, const char *how);

#endif
