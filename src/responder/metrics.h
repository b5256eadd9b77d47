/*
 * metrics.h - GET /metrics: figures in Prometheus' text format.
 *
 * Nothing is counted here: the store's triggers and the pool's shared page do,
 * so any responder tells the same, and a restart forgets only what counters
 * may forget. docs/metrics.md says what each family is good for.
 */
#ifndef FOREMAN_RESPONDER_METRICS_H
#define FOREMAN_RESPONDER_METRICS_H

#include "responder/call.h"
#include "store/gauge.h"

void metrics_handle(struct call *c);

/* The text, into `b`; of the pool's shared page besides what `g` holds.
 * ERR_TOOBIG, ERR_NOMEM. */
enum err metrics_text(const struct gauge *g, int64_t now_ms, struct buf *b) MUST_CHECK;

#endif
