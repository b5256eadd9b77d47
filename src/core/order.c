/*
 * order.c - which job runs next.
 *
 * Two questions, in this turn: has a job been passed over for too long, and
 * if not, what does draining by model want? Pure: the same heads, state and
 * time give the same choice, so every rule is a row of a test. Clocks may
 * step: a wait below zero is no wait, and a drain that seems to end in the
 * future is not lingered for.
 * Not here: what is loaded, which jobs may be claimed at all (the store).
 */
#include <config.h>

#include "core/order.h"

#include <stddef.h>

#include "base/attr.h"

/* One head with what choosing it would mean. */
struct candidate {
	const struct order_head *head;
	enum order_class cls;
	bool other;
	int64_t waited_ms; /* how long it has been passed over; below zero when
	                      the clock stepped back */
};

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/*
 * Since when has this head been passed over? Not before it stood in line, and
 * not before the present drain began. A head of the loaded key is served as
 * its drain goes on, so for it the time since its class was last served
 * counts: attended jobs of the same key may go by for ever otherwise.
 */
static int64_t waited(const struct candidate *c, const struct order_state *state,
                      int64_t now_ms)
{
	int64_t since = later(c->head->queued_ms, state->drain_began_ms);

	if (!c->other)
		since = later(since, state->class_served_ms[c->cls]);
	return now_ms - since;
}

/* Longest wait first; then whom someone waits for; then first come. */
static bool more_overdue(const struct candidate *a, const struct candidate *b)
{
	if (a->waited_ms != b->waited_ms)
		return a->waited_ms > b->waited_ms;
	if (a->cls != b->cls)
		return a->cls == ORDER_ATTENDED;
	return a->head->seq < b->head->seq;
}

/* The head that drain by model would take: whom someone waits for first, then
 * what needs no swap. False when all heads are empty. */
static bool by_drain(const struct order_heads *heads, struct candidate *out)
{
	for (int c = ORDER_ATTENDED; c < ORDER_CLASS_COUNT; c++) {
		const struct order_head *turns[] = { &heads->loaded[c], &heads->other[c] };

		for (int other = 0; other < 2; other++) {
			if (turns[other]->seq == 0)
				continue;
			*out = (struct candidate){
				.head = turns[other],
				.cls = (enum order_class)c,
				.other = other == 1,
			};
			return true;
		}
	}
	return false;
}

/*
 * The head that has been passed over the longest, if that is max_wait or
 * more. Attended jobs of the loaded key are what the drain takes first, so
 * nothing passes them over but this bound; its unattended ones are passed over
 * while there are attended ones of any key.
 */
static bool by_wait(const struct order_heads *heads,
                    const struct order_state *state,
                    const struct order_rules *rules, int64_t now_ms,
                    struct candidate *out)
{
	struct candidate passed[] = {
		{ &heads->other[ORDER_ATTENDED], ORDER_ATTENDED, true, 0 },
		{ &heads->other[ORDER_UNATTENDED], ORDER_UNATTENDED, true, 0 },
		{ &heads->loaded[ORDER_UNATTENDED], ORDER_UNATTENDED, false, 0 },
	};
	bool overtaken = heads->loaded[ORDER_ATTENDED].seq != 0 ||
	                 heads->other[ORDER_ATTENDED].seq != 0;
	const struct candidate *best = NULL;

	if (rules->max_wait_ms <= 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
		struct candidate *c = &passed[i];

		if (c->head->seq == 0 || (!c->other && !overtaken))
			continue;
		c->waited_ms = waited(c, state, now_ms);
		if (c->waited_ms < rules->max_wait_ms)
			continue;
		if (!best || more_overdue(c, best))
			best = c;
	}
	if (best)
		*out = *best;
	return best != NULL;
}

/* How long to wait for one more job of the loaded key before a swap; 0 when
 * it has some, when there is nothing to keep, or when the moment is over. */
static int64_t linger_for(const struct order_heads *heads,
                          const struct order_state *state,
                          const struct order_rules *rules, int64_t now_ms)
{
	int64_t since_ms = now_ms - state->last_end_ms;

	if (!state->any_loaded || state->last_end_ms == 0)
		return 0;
	if (heads->loaded[ORDER_ATTENDED].seq || heads->loaded[ORDER_UNATTENDED].seq)
		return 0;
	if (since_ms < 0 || since_ms >= rules->linger_ms)
		return 0;
	return rules->linger_ms - since_ms;
}

struct order_choice order_next(const struct order_heads *heads,
                               const struct order_state *state,
                               const struct order_rules *rules, int64_t now_ms)
{
	struct order_choice choice = { .why = ORDER_NONE };
	struct candidate pick;

	if (by_wait(heads, state, rules, now_ms, &pick)) {
		choice.why = ORDER_OVERDUE;
	} else if (by_drain(heads, &pick)) {
		choice.why = pick.other ? ORDER_SWAP : ORDER_DRAIN;
		if (pick.other)
			choice.wait_ms = linger_for(heads, state, rules, now_ms);
		if (choice.wait_ms > 0) {
			choice.why = ORDER_LINGER;
			return choice;
		}
	} else {
		return choice;
	}
	choice.seq = pick.head->seq;
	choice.other = pick.other;
	choice.cls = pick.cls;
	return choice;
}
