/*
 * api.h - the routes: Ollama's, and the double's own under /fake/.
 */
#ifndef FAKE_OLLAMA_API_H
#define FAKE_OLLAMA_API_H

#include "faults.h"
#include "http.h"

/* The pace is copied. */
void api_init(const struct pace *pace);
void api_done(void);
extern const struct http_handler api_handler;

#endif
