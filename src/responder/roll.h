/*
 * roll.h - who is here, and who has left in this turn of the loop.
 *
 * Whoever leaves is off the list at once, but stays in memory until the turn is
 * over: so a handler may let anybody go, itself included, and look around after
 * it.
 */
#ifndef FOREMAN_RESPONDER_ROLL_H
#define FOREMAN_RESPONDER_ROLL_H

#include <stdbool.h>
#include <stddef.h>

struct rolled { /* the first member of who is on a roll; on the heap */
	struct rolled *next, *prev;
	bool gone;
};

struct roll {             /* embed it; zero is empty */
	struct rolled *first; /* newest first */
	struct rolled *gone;
	size_t count; /* without those gone */
};

void roll_add(struct roll *r, struct rolled *who);
/* False: has left before. */
bool roll_leave(struct roll *r, struct rolled *who);
/* After the turn: free who has left. */
void roll_sweep(struct roll *r);

#endif
