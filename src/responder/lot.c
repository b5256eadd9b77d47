/*
 * lot.c - the parking lot: who is in it, and how other threads reach it.
 *
 * The keeper's thread has the one loop, with the guests (guest.c), what is sent
 * to clients (shelf.c) and the bell (relay.c). Cancelling in the database
 * blocks, so a second, mostly idle thread does that, one id at a time.
 */
#include <config.h>

#include "responder/lot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/fd.h"
#include "responder/guest.h"
#include "responder/keeper.h"
#include "responder/relay.h"

struct note { /* for the keeper */
	struct keeper_note link;
	enum { PARK, SEND, CANCEL } kind;
	union {
		struct lot_ticket ticket;
		struct lot_sending sending;
		char id[ULID_SIZE]; /* CANCEL: for the worker, through the bell */
	};
};

struct lost { /* a job whose client left while no worker could be told */
	struct lost *next;
	char id[ULID_SIZE];
};

struct lot {
	struct lot_conf conf;
	struct keeper keeper;
	atomic_bool nudge; /* the worker is to be nudged */

	pthread_t canceller;
	pthread_mutex_t lock; /* for the next three */
	pthread_cond_t cancel_wanted;
	struct lost *lost; /* for the database, through conf.cancel */
	bool over;         /* no more of them will come */

	struct yard yard; /* the rest is the keeper's */
	struct shelf shelf;
	struct bell bell;
	struct loop_timer nudge_timer;
	int64_t nudged_mono_ms;
};

/* --- from other threads --------------------------------------------------- */

void lot_park(struct lot *lot, const struct lot_ticket *ticket)
{
	struct note *n = malloc(sizeof(*n));

	if (!n) {
		int fd = ticket->fd, relay = ticket->relay;

		fd_close(&fd);
		fd_close(&relay);
		trail_drop(&ticket->trail, ticket->id);
		return;
	}
	n->kind = PARK;
	n->ticket = *ticket;
	keeper_put(&lot->keeper, &n->link);
}

void lot_send(struct lot *lot, const struct lot_sending *sending)
{
	struct note *n = malloc(sizeof(*n));

	if (!n) {
		int fd = sending->fd;

		fd_close(&fd);
		trail_drop(&sending->order.trail, sending->order.id);
		return;
	}
	n->kind = SEND;
	n->sending = *sending;
	keeper_put(&lot->keeper, &n->link);
}

void lot_nudge(struct lot *lot)
{
	if (!atomic_exchange(&lot->nudge, true))
		keeper_wake(&lot->keeper);
}

void lot_cancel(struct lot *lot, const char id[ULID_SIZE])
{
	struct note *n = malloc(sizeof(*n));

	if (!n)
		return;
	n->kind = CANCEL;
	str_copy(n->id, sizeof(n->id), id);
	keeper_put(&lot->keeper, &n->link);
}

size_t lot_count(const struct lot *lot)
{
	return keeper_count(&lot->keeper);
}

void lot_drain(struct lot *lot, int64_t ms)
{
	keeper_drain(&lot->keeper, ms);
}

void lot_close(struct lot *lot)
{
	keeper_close(&lot->keeper);
}

int lot_ended_fd(const struct lot *lot)
{
	return keeper_ended_fd(&lot->keeper);
}

/* --- the canceller -------------------------------------------------------- */

static void *canceller_main(void *arg)
{
	struct lot *lot = arg;

	pthread_mutex_lock(&lot->lock);
	for (;;) {
		struct lost *l = lot->lost;

		if (l) {
			lot->lost = l->next;
			pthread_mutex_unlock(&lot->lock);
			lot->conf.cancel(lot->conf.arg, l->id);
			free(l);
			pthread_mutex_lock(&lot->lock);
		} else if (lot->over) {
			break;
		} else {
			pthread_cond_wait(&lot->cancel_wanted, &lot->lock);
		}
	}
	pthread_mutex_unlock(&lot->lock);
	return NULL;
}

static void end_canceller(struct lot *lot)
{
	pthread_mutex_lock(&lot->lock);
	lot->over = true;
	pthread_cond_signal(&lot->cancel_wanted);
	pthread_mutex_unlock(&lot->lock);
	pthread_join(lot->canceller, NULL);
}

static void cancel_in_database(void *arg, const char id[ULID_SIZE])
{
	struct lot *lot = arg;
	struct lost *l = malloc(sizeof(*l));

	if (!l)
		return;
	str_copy(l->id, sizeof(l->id), id);
	pthread_mutex_lock(&lot->lock);
	l->next = lot->lost;
	lot->lost = l;
	pthread_cond_signal(&lot->cancel_wanted);
	pthread_mutex_unlock(&lot->lock);
}

/* --- nudging ---------------------------------------------------------------- */

/* At most one nudge per gap, and one behind the last request for it. */
static void nudge(void *arg)
{
	struct lot *lot = arg;

	atomic_store(&lot->nudge, false);
	lot->nudged_mono_ms = loop_now_ms(lot->keeper.loop);
	bell_nudge(&lot->bell);
}

static void nudge_soon(struct lot *lot)
{
	int64_t since = loop_now_ms(lot->keeper.loop) - lot->nudged_mono_ms;

	if (since >= LIMIT_NUDGE_GAP_MS)
		nudge(lot);
	else if (!lot->nudge_timer.armed)
		loop_timer_set(lot->keeper.loop, &lot->nudge_timer,
		               LIMIT_NUDGE_GAP_MS - since);
}

/* --- the keeper's calls ----------------------------------------------------- */

static void take(void *arg, struct keeper_note *note)
{
	struct lot *lot = arg;
	struct note *n = (struct note *)note;
	const struct lot_sending *s = &n->sending;

	switch (n->kind) {
	case PARK:
		yard_enter(&lot->yard, &n->ticket);
		break;
	case SEND:
		shelf_enter(&lot->shelf, s->fd, s->fcgi_id, s->status, s->headers,
		            &s->order);
		break;
	case CANCEL:
		bell_cancel(&lot->bell, n->id);
		break;
	}
	free(n);
}

static void woken(void *arg)
{
	struct lot *lot = arg;

	if (atomic_load(&lot->nudge))
		nudge_soon(lot);
}

/* The shelf first: what it gives back to the yard ends there. */
static void dismiss(void *arg)
{
	struct lot *lot = arg;

	shelf_dismiss(&lot->shelf);
	yard_dismiss(&lot->yard);
}

static size_t turned(void *arg)
{
	struct lot *lot = arg;

	yard_sweep(&lot->yard);
	shelf_sweep(&lot->shelf);
	return lot->yard.guests.count + lot->shelf.items.count;
}

static void ended(void *arg)
{
	struct lot *lot = arg;

	loop_timer_stop(&lot->nudge_timer);
	bell_done(&lot->bell);
}

static void drop(struct keeper_note *note)
{
	struct note *n = (struct note *)note;

	if (n->kind == PARK) {
		fd_close(&n->ticket.fd);
		fd_close(&n->ticket.relay);
	} else if (n->kind == SEND) {
		fd_close(&n->sending.fd);
	}
	free(n);
}

static const struct keeper_calls calls = {
	.name = "foreman-lot",
	.take = take,
	.woken = woken,
	.dismiss = dismiss,
	.turned = turned,
	.ended = ended,
	.drop = drop,
};

/* A stream whose job will still run. */
static void follow(void *arg, struct outlet *from, const struct shelf_order *order)
{
	struct lot *lot = arg;
	bool events = order->coda.events;
	struct lot_ticket ticket = { .fd = -1,
		                         .relay = -1,
		                         .family = events ? FAMILY_OPENAI : FAMILY_OLLAMA,
		                         .ndjson = !events,
		                         .events = events,
		                         .reader = true,
		                         .trail = order->trail };

	str_copy(ticket.id, sizeof(ticket.id), order->id);
	yard_follow(&lot->yard, from, &ticket);
}

/* --- made and unmade ------------------------------------------------------ */

static enum err prepare(struct lot *lot)
{
	enum err e = keeper_init(&lot->keeper, &calls, lot);
	struct loop *loop = lot->keeper.loop;

	shelf_init(&lot->shelf, loop, lot->conf.db);
	lot->shelf.follow = follow;
	lot->shelf.arg = lot;
	if (!e)
		e = yard_init(&lot->yard, loop, &lot->conf);
	if (e)
		return e;
	lot->yard.cancel = cancel_in_database;
	lot->yard.cancel_arg = lot;
	lot->yard.shelf = &lot->shelf;
	bell_init(&lot->bell, loop, lot->conf.relay);
	loop_timer_init(&lot->nudge_timer, nudge, lot);
	return ERR_OK;
}

static enum err start(struct lot *lot)
{
	enum err e;

	if (pthread_create(&lot->canceller, NULL, canceller_main, lot))
		return ERR_NOMEM;
	e = keeper_start(&lot->keeper);
	if (e)
		end_canceller(lot);
	return e;
}

static void release(struct lot *lot)
{
	yard_done(&lot->yard);
	shelf_done(&lot->shelf);
	keeper_done(&lot->keeper);
	pthread_cond_destroy(&lot->cancel_wanted);
	pthread_mutex_destroy(&lot->lock);
	free(lot);
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
	e = prepare(lot);
	if (!e)
		e = start(lot);
	if (e) {
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
	keeper_join(&lot->keeper);
	end_canceller(lot);
	release(lot);
}
