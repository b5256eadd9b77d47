/*
 * loop.c - the turn: wait, handle what fired, handle what is due.
 *
 * Timers stand in one list, by due time. What is due when a turn begins moves
 * to a list of its own first, so that a timer set by a handler waits for the
 * next turn, however short its delay: no turn is endless.
 * A watch removed during a turn stays in memory, without its function, until
 * the turn is over: the batch of events in hand may still name it.
 */
#include <config.h>

#include "http/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/fd.h"

#define BATCH 64 /* events a turn; the rest come with the next */

struct loop_fd {
	struct loop *loop;
	int fd;
	uint32_t events;
	loop_fd_fn *fn; /* NULL: removed */
	void *arg;
	struct loop_fd *next_gone;
};

struct loop {
	int epoll;
	bool turning;
	int64_t now_mono_ms;       /* of this turn; only good while turning */
	size_t fds;                /* watched */
	struct loop_fd *gone;      /* to be freed after the turn */
	struct loop_timer timers;  /* heads of two rings */
	struct loop_timer due;
	void *attached;
	void (*destroy)(void *p);
};

/* --- timers ---------------------------------------------------------------- */

static void ring_init(struct loop_timer *head)
{
	head->next = head->prev = head;
}

static bool ring_empty(const struct loop_timer *head)
{
	return head->next == head;
}

static void ring_remove(struct loop_timer *t)
{
	t->prev->next = t->next;
	t->next->prev = t->prev;
	t->next = t->prev = NULL;
}

static void ring_put_after(struct loop_timer *at, struct loop_timer *t)
{
	t->prev = at;
	t->next = at->next;
	at->next->prev = t;
	at->next = t;
}

void loop_timer_init(struct loop_timer *t, loop_timer_fn *fn, void *arg)
{
	*t = (struct loop_timer){ .fn = fn, .arg = arg };
}

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t delay_ms)
{
	int64_t now = loop_now_ms(l);
	struct loop_timer *at;

	loop_timer_stop(t);
	if (delay_ms < 0)
		delay_ms = 0;
	t->due_mono_ms = delay_ms < INT64_MAX - now ? now + delay_ms : INT64_MAX;
	t->loop = l;
	t->armed = true;
	at = l->timers.prev;
	while (at != &l->timers && at->due_mono_ms > t->due_mono_ms)
		at = at->prev;
	ring_put_after(at, t);
}

void loop_timer_stop(struct loop_timer *t)
{
	if (!t->armed)
		return;
	t->armed = false;
	ring_remove(t);
}

/* --- descriptors ----------------------------------------------------------- */

enum err loop_fd_add(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn,
                     void *arg, struct loop_fd **out)
{
	struct loop_fd *f = calloc(1, sizeof(*f));
	struct epoll_event ev = { .events = events, .data.ptr = f };

	if (!f)
		return ERR_NOMEM;
	*f = (struct loop_fd){
		.loop = l, .fd = fd, .events = events, .fn = fn, .arg = arg
	};
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
		free(f);
		return ERR_IO;
	}
	l->fds++;
	*out = f;
	return ERR_OK;
}

void loop_fd_want(struct loop_fd *f, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = f };
	int rc;

	if (f->events == events)
		return;
	f->events = events;
	rc = epoll_ctl(f->loop->epoll, EPOLL_CTL_MOD, f->fd, &ev);
	assert(rc == 0); /* fails only for a descriptor closed under us */
	(void)rc;
}

void loop_fd_del(struct loop_fd *f)
{
	struct loop *l;

	if (!f)
		return;
	l = f->loop;
	l->fds--;
	/* it may have been closed already; then the kernel has forgotten it */
	(void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, f->fd, NULL);
	if (!l->turning) {
		free(f);
		return;
	}
	f->fn = NULL;
	f->next_gone = l->gone;
	l->gone = f;
}

/* --- the loop -------------------------------------------------------------- */

enum err loop_new(struct loop **out)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return ERR_NOMEM;
	ring_init(&l->timers);
	ring_init(&l->due);
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0) {
		free(l);
		return ERR_IO;
	}
	*out = l;
	return ERR_OK;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	assert(!l->turning);
	if (l->attached)
		l->destroy(l->attached);
	assert(l->fds == 0 && ring_empty(&l->timers));
	fd_close(&l->epoll);
	free(l);
}

void loop_attach(struct loop *l, void *p, void (*destroy)(void *p))
{
	assert(!l->attached);
	l->attached = p;
	l->destroy = destroy;
}

void *loop_attached(const struct loop *l)
{
	return l->attached;
}

int64_t loop_now_ms(const struct loop *l)
{
	return l->turning ? l->now_mono_ms : clock_mono_ms();
}

static int wait_ms(const struct loop *l, int max_wait_ms)
{
	int64_t left;

	if (ring_empty(&l->timers))
		return max_wait_ms;
	left = l->timers.next->due_mono_ms - clock_mono_ms();
	if (left <= 0)
		return 0;
	if (max_wait_ms >= 0 && left > max_wait_ms)
		return max_wait_ms;
	return left < INT_MAX ? (int)left : INT_MAX;
}

static void gather_due(struct loop *l)
{
	while (!ring_empty(&l->timers) &&
	       l->timers.next->due_mono_ms <= l->now_mono_ms) {
		struct loop_timer *t = l->timers.next;

		ring_remove(t);
		ring_put_after(l->due.prev, t);
	}
}

static bool handle_fired(const struct epoll_event *events, int count)
{
	bool busy = false;

	for (int i = 0; i < count; i++) {
		struct loop_fd *f = events[i].data.ptr;

		if (f->fn) {
			f->fn(f->arg, events[i].events);
			busy = true;
		}
	}
	return busy;
}

static bool handle_due(struct loop *l)
{
	bool busy = false;

	while (!ring_empty(&l->due)) {
		struct loop_timer *t = l->due.next;

		loop_timer_stop(t);
		t->fn(t->arg); /* `t` may be gone now */
		busy = true;
	}
	return busy;
}

static void free_gone(struct loop *l)
{
	while (l->gone) {
		struct loop_fd *f = l->gone;

		l->gone = f->next_gone;
		free(f);
	}
}

enum err loop_turn(struct loop *l, int max_wait_ms, bool *busy)
{
	struct epoll_event events[BATCH];
	bool fired, due;
	int n;

	assert(!l->turning);
	n = epoll_wait(l->epoll, events, BATCH, wait_ms(l, max_wait_ms));
	if (n < 0 && errno != EINTR)
		return ERR_IO;
	l->now_mono_ms = clock_mono_ms();
	l->turning = true;
	gather_due(l);
	fired = handle_fired(events, n);
	due = handle_due(l);
	l->turning = false;
	free_gone(l);
	if (busy)
		*busy = fired || due;
	return ERR_OK;
}
