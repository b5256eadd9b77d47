/*
 * coda.h - how a stream is ended that foreman did not write: what is open is
 * closed, and a last line or event said.
 */
#ifndef FOREMAN_RESPONDER_CODA_H
#define FOREMAN_RESPONDER_CODA_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "fcgi/stream.h"
#include "responder/answer.h"

#include <stdbool.h>

struct coda {
	bool events;     /* the stream is server-sent events, else lines */
	bool line_open;  /* its last byte was no newline */
	bool event_open; /* ... or, of events, it ended in no empty line */
};

/* These bytes of the stream, at least one, have gone out. */
void coda_note(struct coda *c, struct span bytes);

/* End the line, and of events the event, that is unfinished. The stream's own
 * errors; nothing is noted. */
enum err coda_close(const struct coda *c, struct stream *s) MUST_CHECK;
/* The same, and behind it `text` as a line, or as the family's event. */
enum err coda_say(const struct coda *c, struct stream *s, enum family family,
                  const char *text) MUST_CHECK;

#endif
