/*
 * loop.h - the one event loop: descriptors and timers.
 *
 * Single-threaded. A callback may watch, forget, start and stop anything,
 * itself included; memory that an event of this turn may still name is given
 * to loop_free and goes when the turn is over.
 */
#ifndef FAKE_OLLAMA_LOOP_H
#define FAKE_OLLAMA_LOOP_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embed one for each descriptor; it must stay until after loop_forget. */
struct watch {
	void (*fn)(void *arg, uint32_t events); /* EPOLLIN … */
	void *arg;
	int fd;
};

/* Embed; set fn and arg once. A zeroed timer is stopped. */
struct timer {
	void (*fn)(void *arg);
	void *arg;
	int64_t due_us;
	size_t slot; /* place in the heap, from 1; 0: stopped */
};

bool loop_init(void);
bool loop_watch(struct watch *w, uint32_t events) MUST_CHECK;
void loop_change(struct watch *w, uint32_t events);
void loop_forget(struct watch *w);

/* Call fn once when the monotonic clock reads due_us, a past one meaning the
 * next turn; an armed timer is moved. */
void timer_at(struct timer *t, int64_t due_us);
void timer_stop(struct timer *t);

int64_t loop_now_us(void); /* monotonic; read afresh */

/* free(p) after this turn's last callback. */
void loop_free(void *p);

/* Turn until loop_stop; `idle` runs before each wait (flushing logs). */
void loop_run(void (*idle)(void));
void loop_stop(void);

#endif
