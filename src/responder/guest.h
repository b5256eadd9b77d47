/*
 * guest.h - one client in the parking lot, and the yard it stands in.
 *
 * The states and what moves a guest between them are drawn in lot.h. All of
 * this belongs to the lot's one thread; nothing blocks.
 */
#ifndef FOREMAN_RESPONDER_GUEST_H
#define FOREMAN_RESPONDER_GUEST_H

#include "core/frame.h"
#include "core/limits.h"
#include "http/loop.h"
#include "responder/lot.h"
#include "responder/roll.h"

/* What is decoded at once: less than a frame left over, and one read. */
#define GUEST_SCRATCH (2 * (FRAME_HEADER + LIMIT_FRAME))

struct guest;

struct yard {                /* embed it; yard_init, yard_done */
	struct loop *loop;
	const struct lot_conf *conf;
	char *scratch;           /* GUEST_SCRATCH bytes */
	struct roll guests;
	struct loop_timer retry; /* connects those whose relay was lost */
	/* A waiting guest left while its relay was down: see lot_conf.cancel. Must
	 * not block. */
	void (*cancel)(void *arg, const char id[ULID_SIZE]);
	void *cancel_arg;
	struct shelf *shelf;     /* where readers' streams end */
};

enum err yard_init(struct yard *y, struct loop *loop, const struct lot_conf *conf)
    MUST_CHECK;
void yard_done(struct yard *y); /* no guest may be left */

/* Take in a parked client; the descriptors are closed if that fails. */
void yard_enter(struct yard *y, const struct lot_ticket *ticket);

/* A reader whose connection has its head already, to wait and follow; `from`
 * is empty after it. Of the ticket the descriptors do not count. */
void yard_follow(struct yard *y, struct outlet *from,
                 const struct lot_ticket *ticket);

/* After each turn of the loop: free who has left. */
void yard_sweep(struct yard *y);

/* Tell everybody who waits or reads that foreman stops, and end them. */
void yard_dismiss(struct yard *y);

#endif
