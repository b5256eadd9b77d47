/*
 * webhooks.h - looking at webhooks, and having them sent again.
 */
#ifndef FOREMAN_RESPONDER_WEBHOOKS_H
#define FOREMAN_RESPONDER_WEBHOOKS_H

#include "responder/call.h"

void webhooks_list(struct call *c);      /* GET /webhooks */
void webhooks_show(struct call *c);      /* GET /webhooks/{id} */
void webhooks_again(struct call *c);     /* POST /webhooks/{id}/redeliver */
void webhooks_again_all(struct call *c); /* POST /webhooks/redeliver */

#endif
