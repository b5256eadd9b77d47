/*
 * loop.c - epoll, a heap of timers, and what is freed after the turn.
 *
 * A turn: wait for descriptors or the earliest timer, handle what fired, what
 * is due, then free. A watch forgotten during the turn gets no more events of
 * it: its fd reads -1.
 */
#include <config.h>

#include "loop.h"

#include "text.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define EVENTS_PER_TURN 256

static int poll_fd = -1;
static bool running;
static struct timer **heap; /* heap[1..count], the earliest first */
static size_t count, room;
static void **corpses;
static size_t corpse_count, corpse_room;

bool loop_init(void)
{
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	return poll_fd >= 0;
}

bool loop_watch(struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	return epoll_ctl(poll_fd, EPOLL_CTL_ADD, w->fd, &ev) == 0;
}

void loop_change(struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	epoll_ctl(poll_fd, EPOLL_CTL_MOD, w->fd, &ev);
}

void loop_forget(struct watch *w)
{
	epoll_ctl(poll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
}

int64_t loop_now_us(void)
{
	return text_mono_ns() / 1000;
}

static void place(size_t slot, struct timer *t)
{
	heap[slot] = t;
	t->slot = slot;
}

/* Move `t` from `slot` to where it belongs, towards the root or the leaves. */
static void settle(size_t slot, struct timer *t)
{
	while (slot > 1 && t->due_us < heap[slot / 2]->due_us) {
		place(slot, heap[slot / 2]);
		slot /= 2;
	}
	for (;;) {
		size_t kid = slot * 2;

		if (kid < count && heap[kid + 1]->due_us < heap[kid]->due_us)
			kid++;
		if (kid > count || heap[kid]->due_us >= t->due_us)
			break;
		place(slot, heap[kid]);
		slot = kid;
	}
	place(slot, t);
}

void timer_at(struct timer *t, int64_t due_us)
{
	t->due_us = due_us;
	if (!t->slot) {
		if (count + 2 > room) {
			room = room ? room * 2 : 64;
			heap = realloc(heap, room * sizeof(struct timer *));
			if (!heap)
				abort();
		}
		t->slot = ++count;
	}
	settle(t->slot, t);
}

void timer_stop(struct timer *t)
{
	size_t slot = t->slot;
	struct timer *last;

	if (!slot)
		return;
	t->slot = 0;
	last = heap[count--];
	if (last != t)
		settle(slot, last);
}

void loop_free(void *p)
{
	if (corpse_count == corpse_room) {
		corpse_room = corpse_room ? corpse_room * 2 : 64;
		corpses = realloc(corpses, corpse_room * sizeof(void *));
		if (!corpses)
			abort();
	}
	corpses[corpse_count++] = p;
}

/* Milliseconds to the earliest timer, rounded up: never early. */
static int wait_ms(void)
{
	int64_t us;

	if (!count)
		return -1;
	us = heap[1]->due_us - loop_now_us();
	if (us <= 0)
		return 0;
	us = (us + 999) / 1000;
	return us > INT_MAX ? INT_MAX : (int)us;
}

/* Those due when the turn began; one that arms itself again waits a turn. */
static void run_timers(void)
{
	int64_t now = loop_now_us();
	size_t most = count;

	while (count && heap[1]->due_us <= now && most--) {
		struct timer *t = heap[1];

		timer_stop(t);
		t->fn(t->arg);
	}
}

void loop_run(void (*idle)(void))
{
	static struct epoll_event events[EVENTS_PER_TURN];

	running = true;
	while (running) {
		int n;

		idle();
		n = epoll_wait(poll_fd, events, EVENTS_PER_TURN, wait_ms());
		if (n < 0 && errno != EINTR)
			abort();
		for (int i = 0; i < n; i++) {
			struct watch *w = events[i].data.ptr;

			if (w->fd >= 0)
				w->fn(w->arg, events[i].events);
		}
		run_timers();
		while (corpse_count)
			free(corpses[--corpse_count]);
	}
	idle();
}

void loop_stop(void)
{
	running = false;
}
