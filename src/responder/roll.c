/*
 * roll.c - who is here, and who has left in this turn of the loop.
 */
#include <config.h>

#include "responder/roll.h"

#include <stdlib.h>

void roll_add(struct roll *r, struct rolled *who)
{
	who->prev = NULL;
	who->next = r->first;
	if (who->next)
		who->next->prev = who;
	r->first = who;
	r->count++;
}

bool roll_leave(struct roll *r, struct rolled *who)
{
	if (who->gone)
		return false;
	if (who->prev)
		who->prev->next = who->next;
	else
		r->first = who->next;
	if (who->next)
		who->next->prev = who->prev;
	who->gone = true;
	who->next = r->gone;
	r->gone = who;
	r->count--;
	return true;
}

void roll_sweep(struct roll *r)
{
	while (r->gone) {
		struct rolled *who = r->gone;

		r->gone = who->next;
		free(who);
	}
}
