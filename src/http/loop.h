/*
 * loop.h - one thread, one epoll: descriptors, timers, transfers.
 *
 * A turn: wait, handle what fired, handle what is due. The time is read once
 * a turn. Handlers never block. Whatever is removed while a turn runs is
 * freed after it, so that no handler finds its feet gone.
 */
#ifndef FOREMAN_HTTP_LOOP_H
#define FOREMAN_HTTP_LOOP_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_fd;

enum err loop_new(struct loop **out) MUST_CHECK;
void loop_free(struct loop *l); /* after everything in it was removed */

/* One slot for what a module keeps per loop (the transfers' shared handle, see
 * hub.c); `destroy` is called by loop_free while the loop still works. */
void loop_attach(struct loop *l, void *p, void (*destroy)(void *p));
void *loop_attached(const struct loop *l); /* NULL: nothing yet */

/* `events` as for epoll (EPOLLIN …, level-triggered). */
typedef void loop_fd_fn(void *arg, uint32_t events);

enum err loop_fd_add(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn,
                     void *arg, struct loop_fd **out) MUST_CHECK;
void loop_fd_want(struct loop_fd *f, uint32_t events);
/* Stop watching; does not close. No call comes after this. NULL is fine. */
void loop_fd_del(struct loop_fd *f);

typedef void loop_timer_fn(void *arg);

struct loop_timer {          /* embed it; init before use, stop before it goes */
	loop_timer_fn *fn;
	void *arg;
	int64_t due_mono_ms;
	bool armed;
	struct loop *loop;
	struct loop_timer *next, *prev;
};

void loop_timer_init(struct loop_timer *t, loop_timer_fn *fn, void *arg);
/* Fire once, delay_ms from now (0: in the next turn); re-arms if armed. The
 * loop keeps the timers in a list and looks from its end, so that many of the
 * same delay cost nothing. */
void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *t);

/* One turn, waiting at most max_wait_ms (-1: until something happens).
 * *busy (may be NULL): something was handled. */
enum err loop_turn(struct loop *l, int max_wait_ms, bool *busy) MUST_CHECK;

int64_t loop_now_ms(const struct loop *l); /* monotonic; one time for a turn */

#endif
