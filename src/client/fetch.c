/*
 * fetch.c - what a job answers: its stream, line by line, and its artifacts.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ulid.h"
#include "client/call.h"

#define LINE_MAX_BYTES (64u * 1024 * 1024) /* FOREMAN_MAX_RESPONSE's default */
#define FETCH_MAX_BYTES (64u * 1024 * 1024)

/* --- the stream ------------------------------------------------------------ */

struct lines {
	foreman_sink sink;
	void *arg;
	struct buf rest; /* of a line whose end has not come */
	bool too_long;
};

/* What keeps the connection alive is blanks, which are no line. */
static int give(struct lines *l, struct span line)
{
	line = span_trim(line);
	return line.len ? l->sink(l->arg, line.p, line.len) : 0;
}

static int on_bytes(void *arg, const char *bytes, size_t len)
{
	struct lines *l = arg;
	const char *end;
	int stop = 0;

	while (!stop && (end = memchr(bytes, '\n', len)) != NULL) {
		size_t upto = (size_t)(end - bytes);

		if (l->rest.len == 0) {
			stop = give(l, (struct span){ bytes, upto });
		} else if (buf_add(&l->rest, bytes, upto)) {
			l->too_long = true;
			return 1;
		} else {
			stop = give(l, (struct span){ l->rest.p, l->rest.len });
			buf_clear(&l->rest);
		}
		bytes += upto + 1;
		len -= upto + 1;
	}
	if (stop)
		return stop;
	l->too_long = buf_add(&l->rest, bytes, len) != ERR_OK;
	return l->too_long;
}

foreman_code foreman_stream(foreman *f, const char *id, foreman_sink line,
                            void *arg, foreman_error *e)
{
	struct lines l = { .sink = line, .arg = arg };
	struct call_ask ask = {
		.method = "GET", .wait_ms = -1, .sink = on_bytes, .arg = &l
	};
	char canonical[ULID_SIZE], path[64];
	struct call_reply reply;
	foreman_code code;

	if (!id || ulid_parse(span_of(id), canonical))
		return call_error(e, FOREMAN_INVALID, "not a job id");
	snprintf(path, sizeof(path), "/jobs/%s/stream", canonical);
	ask.path = path;
	buf_init(&l.rest, LINE_MAX_BYTES);
	code = call_service(f, &ask, &reply, e);
	if (l.too_long)
		code = call_error(e, FOREMAN_INVALID, "a line is too long to hold");
	else if (code == FOREMAN_OK && give(&l, (struct span){ l.rest.p, l.rest.len }))
		code = call_error(e, FOREMAN_STOPPED, "stopped by the caller");
	buf_done(&l.rest);
	buf_done(&reply.body);
	return code;
}

/* --- artifacts ------------------------------------------------------------- */

static bool name_ok(const char *name)
{
	size_t len = name ? strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") : 0;

	return len > 0 && len < 64 && name[len] == '\0';
}

foreman_code foreman_fetch(foreman *f, const char *id, const char *name,
                           foreman_sink piece, void *arg, foreman_error *e)
{
	struct call_ask ask = {
		.method = "GET", .wait_ms = -1, .sink = piece, .arg = arg
	};
	char canonical[ULID_SIZE], path[160];
	struct call_reply reply;
	foreman_code code;

	if (!id || ulid_parse(span_of(id), canonical))
		return call_error(e, FOREMAN_INVALID, "not a job id");
	if (!name_ok(name))
		return call_error(e, FOREMAN_INVALID, "not an artifact's name");
	snprintf(path, sizeof(path), "/jobs/%s/artifacts/%s", canonical, name);
	ask.path = path;
	code = call_service(f, &ask, &reply, e);
	buf_done(&reply.body);
	return code;
}

static int collect(void *arg, const char *bytes, size_t len)
{
	return buf_add(arg, bytes, len) != ERR_OK;
}

foreman_code foreman_fetch_all(foreman *f, const char *id, const char *name,
                               char **bytes, size_t *len, foreman_error *e)
{
	struct buf all;
	foreman_code code;
	size_t length;
	char *taken;

	buf_init(&all, FETCH_MAX_BYTES);
	code = foreman_fetch(f, id, name, collect, &all, e);
	if (code == FOREMAN_STOPPED)
		code = call_error(e, FOREMAN_INVALID, "the artifact is too large to hold");
	if (code != FOREMAN_OK) {
		buf_done(&all);
		return code;
	}
	length = all.len;
	taken = length ? buf_take(&all, NULL) : strdup("");
	if (!taken)
		return call_error(e, FOREMAN_NO_MEMORY, "out of memory");
	*bytes = taken;
	if (len)
		*len = length;
	return FOREMAN_OK;
}
