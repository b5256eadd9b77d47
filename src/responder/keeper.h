/*
 * keeper.h - the one thread that keeps parked clients, whatever their number.
 *
 * It turns a loop. Other threads leave it notes, which it takes in its next
 * turn in the order they came; none of them ever waits for it. It ends when it
 * was closed and nobody is here any more. The lot and the watch have one each.
 */
#ifndef FOREMAN_RESPONDER_KEEPER_H
#define FOREMAN_RESPONDER_KEEPER_H

#include "base/attr.h"
#include "base/err.h"
#include "http/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keeper_note { /* the first member of what is left for the keeper */
	struct keeper_note *next;
};

/* All but `drop` in the keeper's thread, which they must not block. */
struct keeper_calls {
	const char *name; /* of the thread, for top -H and the log */
	/* A note; it is the callee's to free. */
	void (*take)(void *arg, struct keeper_note *note);
	/* All notes of a wake-up are taken. NULL: nothing to do. */
	void (*woken)(void *arg);
	/* The drain's time is over: let go who is here. Called again after each
	 * wake-up from then on. */
	void (*dismiss)(void *arg);
	/* After each turn: free who has left, and say how many are here. */
	size_t (*turned)(void *arg);
	/* The last of these: take out of the loop what is in it. */
	void (*ended)(void *arg);
	/* By keeper_done: a note that nobody took, to be freed. */
	void (*drop)(struct keeper_note *note);
};

struct keeper {        /* embed it; keeper_init, keeper_done */
	struct loop *loop; /* until keeper_start the owner's, then the thread's */
	const struct keeper_calls *calls;
	void *arg;
	pthread_t thread;
	int wake;  /* an eventfd: there are notes, or something else to see to */
	int ended; /* another: the thread has left the loop */
	atomic_size_t count;

	pthread_mutex_t lock; /* for all of the next */
	struct keeper_note *first, **end;
	bool closed;
	int64_t drain_mono_ms; /* 0: not asked for */

	struct loop_fd *wake_watch; /* the rest is the thread's own */
	struct loop_timer drain;
	bool dismissed; /* the drain's time is over */
	bool leaving;   /* closed, as seen by the loop */
};

/* Make the loop. On failure, keeper_done it all the same. */
enum err keeper_init(struct keeper *k, const struct keeper_calls *calls,
                     void *arg) MUST_CHECK;
/* Start the thread. */
enum err keeper_start(struct keeper *k) MUST_CHECK;
/* After keeper_close: wait for the thread's end. */
void keeper_join(struct keeper *k);
/* Never started, or joined; and nothing is in the loop any more. */
void keeper_done(struct keeper *k);

/* --- from any thread -------------------------------------------------------- */

/* Takes the note over. */
void keeper_put(struct keeper *k, struct keeper_note *note);
/* See to something that is not in a note: `woken` is called. */
void keeper_wake(struct keeper *k);
/* How many were here after the last turn. */
size_t keeper_count(const struct keeper *k);
/* Dismiss everybody `ms` from now. May be called again to shorten it. */
void keeper_drain(struct keeper *k, int64_t ms);
/* No note will come any more. */
void keeper_close(struct keeper *k);
/* Readable when the thread has left the loop; the keeper's own. */
int keeper_ended_fd(const struct keeper *k);

#endif
