/*
 * follow.h - reading along with a job's answer.
 */
#ifndef FOREMAN_RESPONDER_FOLLOW_H
#define FOREMAN_RESPONDER_FOLLOW_H

#include "responder/call.h"

void follow_handle(struct call *c); /* GET /jobs/{id}/stream */

#endif
