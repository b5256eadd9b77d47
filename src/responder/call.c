/*
 * call.c - what a request borrows from its thread.
 *
 * A reading connection and a line to the target are made when a request first
 * needs one and stay with the thread. Bodies are read into one buffer per
 * thread, which is small again after a large one.
 */
#include <config.h>

#include "responder/call.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "responder/answer.h"

#define BODY_KEEP (64 * 1024) /* bytes of buffer a thread keeps for the next */

enum err call_db(struct call *c, struct db **out)
{
	struct seat *seat = c->seat;

	if (!seat->db) {
		enum err e = db_open(&seat->service->db_conf, DB_READER, &seat->db,
		                     &c->why);

		if (e) {
			answer_store_error(c, e);
			return e;
		}
	}
	*out = seat->db;
	return ERR_OK;
}

struct xfer_line *call_line(struct call *c)
{
	struct seat *seat = c->seat;

	if (!seat->line)
		seat->line = xfer_line_new();
	if (!seat->line)
		answer_fault(c, FAULT_INTERNAL, "out of memory");
	return seat->line;
}

bool call_by(const struct call *c, const char *method)
{
	return strcmp(c->method, method) == 0;
}

struct span call_header(const struct call *c, const char *name)
{
	struct span s = span_trim(span_of(fcgx_param(c->req, name)));

	return s.len ? s : (struct span){ 0 };
}

/* Is this Origin the address the client itself reached us by? */
static bool same_origin(const struct call *c, struct span origin)
{
	static const char *const schemes[] = { "http://", "https://" };
	struct span host = call_header(c, "HTTP_HOST");

	for (size_t i = 0; host.p && i < ARRAY_LEN(schemes); i++) {
		size_t n = strlen(schemes[i]);

		if (origin.len == n + host.len && memcmp(origin.p, schemes[i], n) == 0 &&
		    memcmp(origin.p + n, host.p, host.len) == 0)
			return true;
	}
	return false;
}

static bool one_line(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
			return false;
	return true;
}

static enum err add_line(struct buf *out, const char *name, struct span value)
{
	enum err e = buf_add_str(out, name);

	if (!e)
		e = buf_add_str(out, ": ");
	if (!e)
		e = buf_add(out, value.p, value.len);
	return e ? e : buf_add_str(out, "\n");
}

enum err call_traced(const struct call *c, struct buf *out)
{
	struct span state = call_header(c, "HTTP_TRACESTATE");
	enum err e = ERR_OK;

	if (c->trail.given)
		e = add_line(out, "X-Request-Id", span_of(c->trail.id));
	if (!e && c->trail.trace[0])
		e = add_line(out, "traceparent", call_header(c, "HTTP_TRACEPARENT"));
	if (!e && c->trail.trace[0] && state.p && state.len <= LIMIT_TRACESTATE &&
	    one_line(state))
		e = add_line(out, "tracestate", state);
	return e;
}

enum err call_forwarded(struct call *c, struct buf *out)
{
	static const char *const forwarded[][2] = {
		{ "HTTP_ACCEPT", "Accept" },
		{ "HTTP_CONTENT_TYPE", "Content-Type" },
		{ "HTTP_CONTENT_ENCODING", "Content-Encoding" },
		{ "HTTP_USER_AGENT", "User-Agent" },
		{ "HTTP_ORIGIN", "Origin" },
		{ "HTTP_ACCESS_CONTROL_REQUEST_METHOD", "Access-Control-Request-Method" },
		{ "HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "Access-Control-Request-Headers" },
		{ "HTTP_ANTHROPIC_VERSION", "Anthropic-Version" },
		{ "HTTP_ANTHROPIC_BETA", "Anthropic-Beta" },
		{ "HTTP_OPENAI_BETA", "OpenAI-Beta" },
	};
	enum err e = ERR_OK;

	buf_init(out, LIMIT_REQUEST_HEADERS);
	for (size_t i = 0; !e && i < ARRAY_LEN(forwarded); i++) {
		struct span value = call_header(c, forwarded[i][0]);

		if (!value.p || !one_line(value) ||
		    (strcmp(forwarded[i][1], "Origin") == 0 && same_origin(c, value)))
			continue;
		e = add_line(out, forwarded[i][1], value);
	}
	if (!e)
		e = call_traced(c, out);
	if (!e)
		return ERR_OK;
	buf_done(out);
	if (e == ERR_TOOBIG)
		answer_fault(c, FAULT_HEADERS_TOO_LARGE,
		             "the request's headers are too large");
	else
		answer_fault(c, FAULT_INTERNAL, "out of memory");
	return e;
}

struct job_view call_view(const struct call *c)
{
	const struct conf *conf = c->seat->service->conf;

	return (struct job_view){ .public_url = conf->public_url,
		                      .now_ms = clock_wall_ms(),
		                      .inline_max = conf->inline_max };
}

void call_end(struct call *c)
{
	char path[LOG_VALUE_MAX];
	struct trail_end end = { .path = path,
		                     .method = c->method,
		                     .status = c->status,
		                     .job = c->job,
		                     .how = c->why.s };

	str_escape(c->path, path, sizeof(path));
	trail_close(&c->trail, &end);
	fcgx_finish(c->req);
	c->req = NULL;
}

void seat_tidy(struct seat *s)
{
	if (s->body.cap > BODY_KEEP)
		buf_done(&s->body);
	else
		buf_clear(&s->body);
}

void seat_done(struct seat *s)
{
	db_close(s->db);
	xfer_line_free(s->line);
	buf_done(&s->body);
	s->db = NULL;
	s->line = NULL;
}
