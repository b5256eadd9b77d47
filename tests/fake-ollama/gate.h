/*
 * gate.h - who may ask: Ollama's checks of Host and Origin on a loopback
 * listener, and the answers to preflights.
 */
#ifndef FAKE_OLLAMA_GATE_H
#define FAKE_OLLAMA_GATE_H

#include "http.h"

#include <stdbool.h>

/* True: go on (fields may have been added to the answer). False: answered,
 * 403 or 204. `allow` is the path's other methods, NULL for an unknown path. */
bool gate_pass(struct http_conn *c, const struct head *h, const char *allow);

#endif
