/*
 * coda.c - how a stream is ended that foreman did not write.
 *
 * All that must be known of it is how far its last byte is from the end of a
 * line, and of an event.
 */
#include <config.h>

#include "responder/coda.h"

#include <string.h>

void coda_note(struct coda *c, struct span bytes)
{
	bool blank = bytes.len == 1 ? !c->line_open : bytes.p[bytes.len - 2] == '\n';

	c->line_open = bytes.p[bytes.len - 1] != '\n';
	c->event_open = c->line_open || !blank;
}

enum err coda_close(const struct coda *c, struct stream *s)
{
	size_t breaks = c->line_open;

	if (c->events && c->event_open)
		breaks++;
	return breaks ? stream_write(s, "\n\n", breaks) : ERR_OK;
}

enum err coda_say(const struct coda *c, struct stream *s, enum family family,
                  const char *text)
{
	const char *const pieces[] = { c->events ? answer_event_prefix(family) : "",
		                           text, c->events ? "\n\n" : "\n" };
	enum err e = coda_close(c, s);

	for (size_t i = 0; !e && i < ARRAY_LEN(pieces); i++)
		if (*pieces[i])
			e = stream_write(s, pieces[i], strlen(pieces[i]));
	return e;
}
