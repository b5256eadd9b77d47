/*
 * pass.c - one exchange with the target in the request's own thread.
 *
 * Until the target's head has come, nothing was said to the client, and a
 * failure is a plain error or the fallback of tags and ps. After it, a reply
 * that breaks off ends as it can: short of its Content-Length, which the web
 * server turns into an abort, or with an error line in a stream.
 * The body is the one already read, or, for model administration, taken off the
 * web server piece by piece while it is sent.
 * Refused: any path but the table's, any redirect, any proxy (xfer).
 */
#include <config.h>

#include "responder/pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "core/limits.h"
#include "responder/answer.h"
#include "store/status.h"

struct passing {
	struct call *call;
	bool begun;      /* the head went to the client */
	bool ndjson;
	bool events;     /* server-sent ones */
	bool whole;      /* of no use before its end */
	bool gone;       /* the client does not listen any more, or speak */
	bool line_open;  /* the last byte sent was no newline */
};

/* --- asking --------------------------------------------------------------- */

/* The next piece of a body that is not held. */
static int64_t on_upload(void *arg, void *to, size_t max)
{
	struct passing *p = arg;
	size_t got;

	if (fcgx_read(p->call->req, to, max, &got)) {
		p->gone = true; /* cut short: nobody is there to be answered */
		return -1;
	}
	return (int64_t)got;
}

static bool letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

bool pass_name_ok(struct span name)
{
	bool first = true; /* of a segment */

	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (!letter_or_digit(c) && c != '_' &&
		    (first || !strchr("-.:/", c) || c == '\0'))
			return false;
		first = c == '/';
	}
	return !first;
}

/* Where to, on the heap; NULL without memory. */
static char *target_url(const struct call *c)
{
	const char *upstream = c->upstream;
	size_t n = strlen(upstream);
	bool more = n > 1 && upstream[n - 1] == '/';
	char *url;

	if (asprintf(&url, "%s%s%.*s", c->seat->service->conf->ollama_url, upstream,
	             more ? (int)c->id.len : 0, more ? c->id.p : "") < 0)
		return NULL;
	return url;
}

/* --- answering as it comes ------------------------------------------------ */

static bool on_head(void *arg, const struct xfer_head *head)
{
	struct passing *p = arg;
	enum err e;

	p->begun = true;
	p->ndjson = strncmp(head->content_type, "application/x-ndjson", 20) == 0;
	p->events = strncmp(head->content_type, "text/event-stream", 17) == 0;
	p->whole = strncmp(head->content_type, "application/json", 16) == 0;
	p->call->status = head->status;
	e = fcgx_head(p->call->req, head->status, NULL, head->headers);
	p->gone = e != ERR_OK;
	return !p->gone;
}

/* A line of a stream is one write, a JSON text as few as can be; anything else
 * goes as it came. */
static bool on_body(void *arg, const void *bytes, size_t len)
{
	struct passing *p = arg;
	struct span rest = { bytes, len };

	if (p->whole) {
		p->gone = p->gone || fcgx_add(p->call->req, bytes, len) != ERR_OK;
		return !p->gone;
	}

	while (!p->gone && rest.len) {
		const char *end = p->ndjson ? memchr(rest.p, '\n', rest.len) : NULL;
		size_t n = end ? (size_t)(end - rest.p) + 1 : rest.len;

		p->gone = fcgx_write(p->call->req, rest.p, n) != ERR_OK;
		p->line_open = rest.p[n - 1] != '\n';
		rest.p += n;
		rest.len -= n;
	}
	return !p->gone;
}

/* The reply broke off behind its head. Empty lines more than needed mean
 * nothing among events. */
static void end_broken(struct passing *p)
{
	enum family family = p->call->family;
	char *error, *text = NULL;
	int n = -1;

	if (p->gone || !(p->ndjson || p->events))
		return;
	error = answer_error_body(family, 502, NULL, true,
	                          "foreman: the target went away");
	if (error && p->events)
		n = asprintf(&text, "\n\n%s%s\n\n", answer_event_prefix(family), error);
	else if (error)
		n = asprintf(&text, "%s%s\n", p->line_open ? "\n" : "", error);
	if (n > 0)
		on_body(p, text, (size_t)n);
	if (n >= 0)
		free(text);
	free(error);
}

static void answer_failure(struct call *c, const struct xfer_result *r)
{
	switch (r->outcome) {
	case XFER_UNREACHABLE:
	case XFER_TIMEOUT:
		answer_fault(c, FAULT_TARGET_UNREACHABLE,
		             "foreman: the target is unreachable");
		break;
	case XFER_LOST:
	case XFER_NONSENSE:
		answer_fault(c, FAULT_TARGET_NONSENSE,
		             "foreman: the target gave no proper answer");
		break;
	default:
		answer_fault(c, FAULT_INTERNAL, "foreman: cannot ask the target");
		break;
	}
}

struct asking {
	int total_ms;    /* of the whole exchange; 0: no bound */
	bool upload;     /* the body was not read yet: pass it on as it comes */
	bool repeatable; /* no harm if the target sees it twice (xfer.h) */
};

/*
 * Ask and stream the answer back. True: it was answered, somehow. False: no
 * head came, *result says why, nothing was said to the client.
 */
static bool exchange(struct call *c, struct xfer_line *line,
                     const struct asking *how, struct span headers,
                     struct xfer_result *result)
{
	static const struct xfer_calls calls = { .head = on_head, .body = on_body };
	const char *token = c->seat->service->conf->ollama_token;
	struct passing p = { .call = c };
	const char *lines[2] = { NULL, NULL };
	char *url = target_url(c), *bearer = NULL;
	bool ok = url != NULL;
	struct xfer_ask ask = {
		.method = c->method,
		.url = url,
		.headers = lines,
		.header_lines = headers,
		.body = c->body,
		.connect_ms = LIMIT_PROBE_CONNECT_MS,
		.total_ms = how->total_ms,
		.dead_ms = (int)c->seat->service->conf->target_dead_ms,
		.repeatable = how->repeatable,
	};

	if (how->upload) {
		ask.upload = on_upload;
		ask.upload_size = fcgx_length(c->req);
	}
	if (ok && token) {
		if (asprintf(&bearer, "Authorization: Bearer %s", token) < 0)
			bearer = NULL;
		lines[0] = bearer;
		ok = bearer != NULL;
	}
	if (ok) {
		xfer_call(line, &ask, &calls, &p, result);
	} else {
		*result = (struct xfer_result){ .outcome = XFER_FAILED };
		errtext_set(&result->why, "out of memory");
	}
	free(bearer);
	free(url);
	if (p.gone && !p.begun) {
		errtext_set(&c->why, "the body was cut short");
		return true;
	}
	if (result->outcome != XFER_OK && !p.gone) {
		c->why = result->why;
		if (p.begun)
			end_broken(&p);
	}
	return p.begun;
}

/* --- what is known without asking ----------------------------------------- */

bool pass_believes(int64_t read_mono_ms)
{
	return read_mono_ms && clock_mono_ms() - read_mono_ms < LIMIT_GOOD_WORD_MS;
}

/*
 * Does the worker know that the target is down? Its word is only taken while
 * it is fresh, so that a worker that died in a bad moment closes no door.
 */
static bool known_down(struct call *c)
{
	struct seat *seat = c->seat;
	struct status s;
	struct errtext why;
	bool down;

	if (pass_believes(seat->up_mono_ms))
		return false;
	if (!seat->db && db_open(&seat->service->db_conf, DB_READER, &seat->db, &why))
		return false;
	if (status_read(seat->db, false, &s))
		return false;
	down = s.target == TARGET_DOWN &&
	       clock_wall_ms() - s.heartbeat_ms < LIMIT_HEARTBEAT_STALE_MS;
	seat->up_mono_ms = down ? 0 : clock_mono_ms();
	status_done(&s);
	return down;
}

/* Ask, unless it is known to be in vain. False as exchange(). */
static bool ask_at_once(struct call *c, const struct asking *how,
                        struct xfer_result *result)
{
	struct xfer_line *line = call_line(c);
	struct buf headers;
	bool answered;

	if (!line)
		return true;
	if (c->id.p && !pass_name_ok(c->id)) {
		answer_fault(c, FAULT_NOT_FOUND, "no such path");
		return true;
	}
	if (known_down(c)) {
		*result = (struct xfer_result){ .outcome = XFER_UNREACHABLE };
		errtext_set(&result->why, "the worker found the target unreachable");
		return false;
	}
	if (call_forwarded(c, &headers))
		return true;
	answered = exchange(c, line, how, (struct span){ headers.p, headers.len },
	                    result);
	buf_done(&headers);
	return answered;
}

/* --- handlers ------------------------------------------------------------- */

static void pass_as(struct call *c, const struct asking *how)
{
	struct xfer_result result;

	if (!ask_at_once(c, how, &result)) {
		c->why = result.why;
		answer_failure(c, &result);
	}
}

void pass_through(struct call *c, int total_ms)
{
	pass_as(c, &(struct asking){ .total_ms = total_ms });
}

void pass_again(struct call *c, int total_ms)
{
	pass_as(c, &(struct asking){ .total_ms = total_ms, .repeatable = true });
}

void pass_handle(struct call *c)
{
	pass_again(c, LIMIT_PASS_MS);
}

#define UNREACHABLE_LINE "Foreman-Target: unreachable\n"

void pass_tags(struct call *c)
{
	const struct asking how = { .total_ms = LIMIT_PASS_MS, .repeatable = true };
	struct xfer_result result;
	struct status s;
	struct db *db;
	enum err e;

	if (ask_at_once(c, &how, &result) || call_db(c, &db))
		return;
	c->why = result.why;
	e = status_read(db, true, &s);
	if (e) {
		answer_store_error(c, e);
		return;
	}
	if (s.tags)
		answer_text(c, 200, UNREACHABLE_LINE, span_of(s.tags));
	else
		answer_failure(c, &result);
	status_done(&s);
}

void pass_ps(struct call *c)
{
	const struct asking how = { .total_ms = LIMIT_PS_MS, .repeatable = true };
	struct xfer_result result;

	if (ask_at_once(c, &how, &result))
		return;
	c->why = result.why;
	answer_text(c, 200, UNREACHABLE_LINE, SPAN_LIT("{\"models\":[]}"));
}

void pass_admin(struct call *c)
{
	/* a HEAD's body, were there one, would stand in nobody's way */
	struct asking how = { .upload = !call_by(c, "HEAD") &&
		                            fcgx_length(c->req) != 0 };

	if (!c->seat->service->conf->model_admin)
		answer_fault(c, FAULT_FORBIDDEN,
		             "model administration is not relayed by foreman "
		             "(FOREMAN_MODEL_ADMIN=deny)");
	else
		pass_as(c, &how);
}
