/*
 * health.h - is it alive, and may work be sent to it?
 */
#ifndef FOREMAN_RESPONDER_HEALTH_H
#define FOREMAN_RESPONDER_HEALTH_H

#include "base/err.h"
#include "responder/call.h"

struct health; /* what is remembered between two /readyz */

enum err health_new(struct health **out) MUST_CHECK;
void health_free(struct health *h);

/* GET /healthz: this process answers, and so does the database. */
void health_live(struct call *c);

/* GET /readyz: the database can be written and has our schema, the worker's
 * heartbeat is fresh. A target that sleeps is ready, and is named. */
void health_ready(struct call *c);

#endif
