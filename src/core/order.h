/*
 * order.h - which job runs next. Pure: heads in, choice out.
 *
 * Someone waiting on an open connection goes before jobs nobody waits for;
 * within each, the loaded load key goes on until it is empty, then the oldest
 * job decides. The bound: a job that has been passed over for max_wait - since
 * it entered the line or since the present drain began, whichever is later -
 * takes the turn. (Counting from the drain's beginning keeps a deep backlog,
 * in which everything is old, from turning into FIFO and its reloads.) For an
 * unattended job of the loaded key that attended ones overtake, it counts from
 * when its class was last served, if that is later still.
 * Before a swap, the choice may be to linger a moment for one more job of the
 * loaded model: a swap costs seconds, a lock-step client's next request is
 * usually a few milliseconds away.
 */
#ifndef FOREMAN_CORE_ORDER_H
#define FOREMAN_CORE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

/* The oldest claimable job of one kind; seq 0 means there is none. */
struct order_head {
	int64_t seq;
	int64_t queued_ms; /* wall */
};

enum order_class { ORDER_ATTENDED, ORDER_UNATTENDED, ORDER_CLASS_COUNT };

struct order_heads {
	struct order_head loaded[ORDER_CLASS_COUNT]; /* of the loaded load key */
	struct order_head other[ORDER_CLASS_COUNT];  /* of any other load key */
};

struct order_state {
	bool any_loaded;          /* some load key is loaded */
	int64_t drain_began_ms;   /* wall; when the present drain began */
	int64_t class_served_ms[ORDER_CLASS_COUNT]; /* when a job of the class last
	                             was dispatched; 0 = never */
	int64_t last_end_ms;      /* when the last job of this drain ended; 0 */
};

struct order_rules {
	int64_t max_wait_ms;      /* FOREMAN_DRAIN_MAX_WAIT; 0 = no bound */
	int64_t linger_ms;
};

enum order_why { ORDER_NONE, ORDER_DRAIN, ORDER_SWAP, ORDER_OVERDUE, ORDER_LINGER };

struct order_choice {
	enum order_why why;   /* NONE and LINGER: nothing runs now */
	int64_t seq;          /* the job to run */
	bool other;           /* it is of another load key: a swap */
	enum order_class cls;
	int64_t wait_ms;      /* LINGER: look again after this */
};

struct order_choice order_next(const struct order_heads *heads,
                               const struct order_state *state,
                               const struct order_rules *rules, int64_t now_ms);

#endif
