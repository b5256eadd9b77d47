/*
 * prefer.h - how long a client would rather wait: the Prefer header, RFC 7240.
 */
#ifndef FOREMAN_RESPONDER_PREFER_H
#define FOREMAN_RESPONDER_PREFER_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct prefer {
	int64_t wait_ms;    /* `wait=N`, at most LIMIT_WAIT_MAX_S; 0: do not */
	bool respond_async; /* `respond-async`; beside a wait it says no more */
};

/*
 * Read the header; several of them arrive joined by commas, none is absent.
 * Of a preference that is named twice the first counts. Others, and values
 * that make no sense, are ignored, as the RFC wants it: a preference is never
 * a reason to refuse.
 */
void prefer_read(struct span header, struct prefer *out);

#endif
