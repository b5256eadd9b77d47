/*
 * submit.h - POST /jobs: a job, or a batch of them, stored durably.
 */
#ifndef FOREMAN_RESPONDER_SUBMIT_H
#define FOREMAN_RESPONDER_SUBMIT_H

#include "responder/call.h"

/* The handler. 202 only after it is on disk. */
void submit_handle(struct call *c);

#endif
