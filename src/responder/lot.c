/*
 * lot.c - the parking lot's thread, and how other threads reach it.
 *
 * Everything about guests (guest.c), what is sent to clients (shelf.c) and the
 * bell (relay.c) happens in the one loop; other threads leave what they want
 * under `lock` and wake it by an eventfd. Cancelling in the database blocks, so
 * a second, mostly idle thread does that, one id at a time.
 */
#include <config.h>

#include "responder/lot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "responder/guest.h"
#include "responder/relay.h"

struct note {                /* something for a thread to do about a job */
	struct note *next;
	char id[ULID_SIZE];
};

struct parked {
	struct parked *next;
	struct lot_ticket ticket;
};

struct sent {
	struct sent *next;
	struct lot_sending sending;
};

struct lot {
	struct lot_conf conf;
	pthread_t thread, canceller;
	int wake;                /* an eventfd: look at the inbox */
	atomic_size_t count;

	pthread_mutex_t lock;    /* for all of the next */
	pthread_cond_t cancel_wanted;
	struct parked *parked;   /* newest first */
	struct sent *sent;       /* likewise */
	struct note *cancels;    /* for the worker, through the bell */
	struct note *lost;       /* for the database, through conf.cancel */
	bool nudge;
	bool closed;
	bool ended;              /* the canceller may leave */
	int64_t drain_mono_ms;   /* 0: not asked for */

	struct loop *loop;       /* the rest is the loop thread's own */
	struct loop_fd *wake_watch;
	struct yard yard;
	struct shelf shelf;
	struct bell bell;
	struct loop_timer nudge_timer;
	struct loop_timer drain_timer;
	int64_t nudged_mono_ms;
	bool dismissed;          /* the drain's time is over */
	bool leaving;            /* closed, as seen by the loop */
};

/* --- from other threads --------------------------------------------------- */

static void wake(struct lot *lot)
{
	/* fails only when it is full of wake-ups already */
	(void)!eventfd_write(lot->wake, 1);
}

static void note_add(struct note **list, const char *id)
{
	struct note *n = malloc(sizeof(*n));

	if (!n)
		return;
	str_copy(n->id, sizeof(n->id), id);
	n->next = *list;
	*list = n;
}

void lot_park(struct lot *lot, const struct lot_ticket *ticket)
{
	struct parked *p = malloc(sizeof(*p));

	if (!p) {
		int fd = ticket->fd, relay = ticket->relay;

		fd_close(&fd);
		fd_close(&relay);
		return;
	}
	p->ticket = *ticket;
	pthread_mutex_lock(&lot->lock);
	p->next = lot->parked;
	lot->parked = p;
	pthread_mutex_unlock(&lot->lock);
	wake(lot);
}

void lot_send(struct lot *lot, const struct lot_sending *sending)
{
	struct sent *s = malloc(sizeof(*s));

	if (!s) {
		int fd = sending->fd;

		fd_close(&fd);
		return;
	}
	s->sending = *sending;
	pthread_mutex_lock(&lot->lock);
	s->next = lot->sent;
	lot->sent = s;
	pthread_mutex_unlock(&lot->lock);
	wake(lot);
}

void lot_nudge(struct lot *lot)
{
	bool was;

	pthread_mutex_lock(&lot->lock);
	was = lot->nudge;
	lot->nudge = true;
	pthread_mutex_unlock(&lot->lock);
	if (!was)
		wake(lot);
}

void lot_cancel(struct lot *lot, const char id[ULID_SIZE])
{
	pthread_mutex_lock(&lot->lock);
	note_add(&lot->cancels, id);
	pthread_mutex_unlock(&lot->lock);
	wake(lot);
}

size_t lot_count(const struct lot *lot)
{
	return atomic_load(&lot->count);
}

void lot_drain(struct lot *lot, int64_t ms)
{
	pthread_mutex_lock(&lot->lock);
	lot->drain_mono_ms = clock_mono_ms() + ms;
	pthread_mutex_unlock(&lot->lock);
	wake(lot);
}

void lot_close(struct lot *lot)
{
	pthread_mutex_lock(&lot->lock);
	lot->closed = true;
	pthread_mutex_unlock(&lot->lock);
	wake(lot);
}

/* --- the canceller -------------------------------------------------------- */

static void *canceller_main(void *arg)
{
	struct lot *lot = arg;

	pthread_mutex_lock(&lot->lock);
	for (;;) {
		struct note *n = lot->lost;

		if (n) {
			lot->lost = n->next;
			pthread_mutex_unlock(&lot->lock);
			lot->conf.cancel(lot->conf.arg, n->id);
			free(n);
			pthread_mutex_lock(&lot->lock);
		} else if (lot->ended) {
			break;
		} else {
			pthread_cond_wait(&lot->cancel_wanted, &lot->lock);
		}
	}
	pthread_mutex_unlock(&lot->lock);
	return NULL;
}

static void cancel_in_database(void *arg, const char id[ULID_SIZE])
{
	struct lot *lot = arg;

	pthread_mutex_lock(&lot->lock);
	note_add(&lot->lost, id);
	pthread_cond_signal(&lot->cancel_wanted);
	pthread_mutex_unlock(&lot->lock);
}

/* --- the loop's thread ---------------------------------------------------- */

/* At most one nudge per gap, and one behind the last request for it. */
static void nudge(void *arg)
{
	struct lot *lot = arg;

	pthread_mutex_lock(&lot->lock);
	lot->nudge = false;
	pthread_mutex_unlock(&lot->lock);
	lot->nudged_mono_ms = loop_now_ms(lot->loop);
	bell_nudge(&lot->bell);
}

static void nudge_soon(struct lot *lot)
{
	int64_t since = loop_now_ms(lot->loop) - lot->nudged_mono_ms;

	if (since >= LIMIT_NUDGE_GAP_MS)
		nudge(lot);
	else if (!lot->nudge_timer.armed)
		loop_timer_set(lot->loop, &lot->nudge_timer,
		               LIMIT_NUDGE_GAP_MS - since);
}

/* The shelf first: what it gives back to the yard ends there. */
static void dismiss(struct lot *lot)
{
	shelf_dismiss(&lot->shelf);
	yard_dismiss(&lot->yard);
}

static void on_drained(void *arg)
{
	struct lot *lot = arg;

	lot->dismissed = true;
	dismiss(lot);
}

static void take_parked(struct lot *lot, struct parked *p)
{
	while (p) {
		struct parked *next = p->next;

		yard_enter(&lot->yard, &p->ticket);
		free(p);
		p = next;
	}
}

static void take_sent(struct lot *lot, struct sent *s)
{
	while (s) {
		const struct lot_sending *sending = &s->sending;
		struct sent *next = s->next;

		shelf_enter(&lot->shelf, sending->fd, sending->fcgi_id, sending->status,
		            sending->headers, &sending->order);
		free(s);
		s = next;
	}
}

/* A stream whose job will still run. */
static void follow(void *arg, struct outlet *from, const struct shelf_order *order)
{
	struct lot *lot = arg;
	struct lot_ticket ticket = { .fd = -1,
		                         .relay = -1,
		                         .family = order->events ? FAMILY_OPENAI
		                                                 : FAMILY_OLLAMA,
		                         .ndjson = !order->events,
		                         .events = order->events,
		                         .reader = true,
		                         .trail = order->trail };

	str_copy(ticket.id, sizeof(ticket.id), order->id);
	yard_follow(&lot->yard, from, &ticket);
}

static void ring_cancels(struct lot *lot, struct note *n)
{
	while (n) {
		struct note *next = n->next;

		bell_cancel(&lot->bell, n->id);
		free(n);
		n = next;
	}
}

static void on_wake(void *arg, uint32_t events)
{
	struct lot *lot = arg;
	struct parked *parked;
	struct sent *sent;
	struct note *cancels;
	eventfd_t waste;
	int64_t drain;
	bool wants_nudge;

	(void)events;
	(void)!eventfd_read(lot->wake, &waste);
	pthread_mutex_lock(&lot->lock);
	parked = lot->parked;
	sent = lot->sent;
	cancels = lot->cancels;
	wants_nudge = lot->nudge;
	drain = lot->drain_mono_ms;
	lot->parked = NULL;
	lot->sent = NULL;
	lot->cancels = NULL;
	lot->drain_mono_ms = 0;
	lot->leaving = lot->closed;
	pthread_mutex_unlock(&lot->lock);
	if (drain)
		loop_timer_set(lot->loop, &lot->drain_timer,
		               drain - loop_now_ms(lot->loop));
	take_parked(lot, parked);
	take_sent(lot, sent);
	if (lot->dismissed)
		dismiss(lot);
	ring_cancels(lot, cancels);
	if (wants_nudge)
		nudge_soon(lot);
}

static void *loop_main(void *arg)
{
	struct lot *lot = arg;
	enum err e = ERR_OK;

	while (!e && !(lot->leaving && !lot->yard.count && !lot->shelf.count)) {
		e = loop_turn(lot->loop, -1, NULL);
		yard_sweep(&lot->yard);
		shelf_sweep(&lot->shelf);
		atomic_store(&lot->count, lot->yard.count + lot->shelf.count);
	}
	if (e)
		log_event(LOG_ERROR, "parking lot failed", KV_S("reason", err_name(e)));
	loop_timer_stop(&lot->nudge_timer);
	loop_timer_stop(&lot->drain_timer);
	bell_done(&lot->bell);
	loop_fd_del(lot->wake_watch);
	if (lot->conf.ended_fd >= 0)
		(void)!eventfd_write(lot->conf.ended_fd, 1);
	return NULL;
}

/* --- made and unmade ------------------------------------------------------ */

static enum err start(struct lot *lot)
{
	if (pthread_create(&lot->canceller, NULL, canceller_main, lot))
		return ERR_NOMEM;
	if (pthread_create(&lot->thread, NULL, loop_main, lot) == 0)
		return ERR_OK;
	lot->ended = true;
	pthread_cond_signal(&lot->cancel_wanted);
	pthread_join(lot->canceller, NULL);
	return ERR_NOMEM;
}

static void release(struct lot *lot)
{
	yard_done(&lot->yard);
	shelf_done(&lot->shelf);
	loop_free(lot->loop);
	fd_close(&lot->wake);
	pthread_cond_destroy(&lot->cancel_wanted);
	pthread_mutex_destroy(&lot->lock);
	free(lot);
}

static enum err prepare(struct lot *lot)
{
	enum err e = loop_new(&lot->loop);

	shelf_init(&lot->shelf, lot->loop, lot->conf.db);
	lot->shelf.follow = follow;
	lot->shelf.arg = lot;
	if (!e)
		e = yard_init(&lot->yard, lot->loop, &lot->conf);
	if (!e)
		e = loop_fd_add(lot->loop, lot->wake, EPOLLIN, on_wake, lot,
		                &lot->wake_watch);
	if (e)
		return e;
	lot->yard.cancel = cancel_in_database;
	lot->yard.cancel_arg = lot;
	lot->yard.shelf = &lot->shelf;
	bell_init(&lot->bell, lot->loop, lot->conf.relay);
	loop_timer_init(&lot->nudge_timer, nudge, lot);
	loop_timer_init(&lot->drain_timer, on_drained, lot);
	return ERR_OK;
}

enum err lot_new(const struct lot_conf *conf, struct lot **out)
{
	struct lot *lot = calloc(1, sizeof(*lot));
	enum err e;

	if (!lot)
		return ERR_NOMEM;
	lot->conf = *conf;
	pthread_mutex_init(&lot->lock, NULL);
	pthread_cond_init(&lot->cancel_wanted, NULL);
	lot->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e = lot->wake < 0 ? ERR_IO : prepare(lot);
	if (!e)
		e = start(lot);
	if (e) {
		loop_fd_del(lot->wake_watch);
		release(lot);
		return e;
	}
	*out = lot;
	return ERR_OK;
}

void lot_free(struct lot *lot)
{
	if (!lot)
		return;
	pthread_join(lot->thread, NULL);
	pthread_mutex_lock(&lot->lock);
	lot->ended = true;
	pthread_cond_signal(&lot->cancel_wanted);
	pthread_mutex_unlock(&lot->lock);
	pthread_join(lot->canceller, NULL);
	release(lot);
}
