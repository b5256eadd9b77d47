/*
 * pass.c - one exchange with the target in the request's own thread.
 *
 * Until the target's head has come, nothing was said to the client, and a
 * failure is a plain error or the fallback of tags and ps. After it, a reply
 * that breaks off ends as it can: short of its Content-Length, which the web
 * server turns into an abort, or with an error line in a stream.
 * Refused: any path but the table's constant, any redirect, any proxy (xfer).
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
#include "responder/route.h"
#include "store/status.h"

#define HEADERS_MAX 8

struct passing {
	struct call *call;
	bool begun;      /* the head went to the client */
	bool ndjson;
	bool gone;       /* the client does not listen any more */
	bool line_open;  /* the last byte sent was no newline */
	struct buf headers[HEADERS_MAX];
	size_t header_count;
	const char *lines[HEADERS_MAX + 1];
};

/* --- asking --------------------------------------------------------------- */

static bool add_header(struct passing *p, const char *name, const char *value)
{
	struct buf *b = &p->headers[p->header_count];

	buf_init(b, LIMIT_HEAD);
	p->header_count++;
	if (buf_addf(b, "%s: %s", name, value))
		return false;
	p->lines[p->header_count - 1] = buf_str(b);
	return p->lines[p->header_count - 1] != NULL;
}

/* What of the client's headers the target may see; a value that is too long
 * for the web server never came this far. */
static bool add_headers(struct passing *p)
{
	static const char *const forwarded[][2] = {
		{ "HTTP_ACCEPT", "Accept" },
		{ "HTTP_CONTENT_TYPE", "Content-Type" },
		{ "HTTP_ORIGIN", "Origin" },
		{ "HTTP_USER_AGENT", "User-Agent" },
	};
	const char *token = p->call->seat->service->conf->ollama_token;
	bool ok = true;

	for (size_t i = 0; ok && i < ARRAY_LEN(forwarded); i++) {
		const char *value = fcgx_param(p->call->req, forwarded[i][0]);

		if (value && value[0])
			ok = add_header(p, forwarded[i][1], value);
	}
	if (ok && token) {
		char bearer[LIMIT_HEAD / 2];

		snprintf(bearer, sizeof(bearer), "Bearer %s", token);
		ok = add_header(p, "Authorization", bearer);
	}
	return ok;
}

/* --- answering as it comes ------------------------------------------------ */

static bool on_head(void *arg, const struct xfer_head *head)
{
	struct passing *p = arg;
	enum err e;

	p->begun = true;
	p->ndjson = strncmp(head->content_type, "application/x-ndjson", 20) == 0;
	p->call->status = head->status;
	e = fcgx_head(p->call->req, head->status, NULL, head->headers);
	p->gone = e != ERR_OK;
	return !p->gone;
}

/* A line of a stream is one write; anything else goes as it came. */
static bool on_body(void *arg, const void *bytes, size_t len)
{
	struct passing *p = arg;
	struct span rest = { bytes, len };

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

/* The reply broke off behind its head. */
static void end_broken(struct passing *p)
{
	char *error, *line = NULL;

	if (p->gone || !p->ndjson)
		return;
	error = answer_error_body(FAMILY_OLLAMA, 502, NULL, true,
	                          "foreman: the target went away");
	if (error && asprintf(&line, "%s%s\n", p->line_open ? "\n" : "", error) >= 0)
		on_body(p, line, strlen(line));
	free(line);
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

/*
 * Ask and stream the answer back. True: it was answered, somehow. False: no
 * head came, *result says why, nothing was said to the client.
 */
static bool exchange(struct call *c, struct xfer_line *line, int connect_ms,
                     int total_ms, struct xfer_result *result)
{
	static const struct xfer_calls calls = { .head = on_head, .body = on_body };
	const struct conf *conf = c->seat->service->conf;
	struct passing p = { .call = c };
	char url[4096];
	struct xfer_ask ask = {
		.method = c->method,
		.url = url,
		.headers = p.lines,
		.body = c->body,
		.connect_ms = connect_ms,
		.total_ms = total_ms,
		.dead_ms = LIMIT_TARGET_DEAD_MS,
	};

	snprintf(url, sizeof(url), "%s%s", conf->ollama_url, c->route->upstream);
	if (add_headers(&p)) {
		xfer_call(line, &ask, &calls, &p, result);
	} else {
		*result = (struct xfer_result){ .outcome = XFER_FAILED };
		errtext_set(&result->why, "out of memory");
	}
	for (size_t i = 0; i < p.header_count; i++)
		buf_done(&p.headers[i]);
	if (result->outcome != XFER_OK && !p.gone) {
		c->why = result->why;
		if (p.begun)
			end_broken(&p);
	}
	return p.begun;
}

/* --- what is known without asking ----------------------------------------- */

/*
 * Does the worker know that the target is down? Its word is only taken while
 * it is fresh, so that a worker that died in a bad moment closes no door.
 */
static bool known_down(struct call *c)
{
	struct status s;
	struct db *db = c->seat->db;
	struct errtext why;
	bool down;

	if (!db && db_open(&c->seat->service->db_conf, DB_READER, &c->seat->db, &why))
		return false;
	if (status_read(c->seat->db, false, &s))
		return false;
	down = s.target == TARGET_DOWN &&
	       clock_wall_ms() - s.heartbeat_ms < LIMIT_HEARTBEAT_STALE_MS;
	status_done(&s);
	return down;
}

/* Ask, unless it is known to be in vain. False as exchange(). */
static bool ask_at_once(struct call *c, int total_ms, struct xfer_result *result)
{
	struct xfer_line *line = call_line(c);

	if (!line)
		return true;
	if (known_down(c)) {
		*result = (struct xfer_result){ .outcome = XFER_UNREACHABLE };
		errtext_set(&result->why, "the worker found the target unreachable");
		return false;
	}
	return exchange(c, line, LIMIT_PROBE_CONNECT_MS, total_ms, result);
}

/* --- handlers ------------------------------------------------------------- */

void pass_through(struct call *c, int total_ms)
{
	struct xfer_result result;

	if (!ask_at_once(c, total_ms, &result)) {
		c->why = result.why;
		answer_failure(c, &result);
	}
}

void pass_handle(struct call *c)
{
	pass_through(c, LIMIT_PASS_MS);
}

#define UNREACHABLE_LINE "Foreman-Target: unreachable\n"

void pass_tags(struct call *c)
{
	struct xfer_result result;
	struct status s;
	struct db *db;
	enum err e;

	if (ask_at_once(c, LIMIT_PASS_MS, &result) || call_db(c, &db))
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
	struct xfer_result result;

	if (ask_at_once(c, LIMIT_PS_MS, &result))
		return;
	c->why = result.why;
	answer_text(c, 200, UNREACHABLE_LINE, SPAN_LIT("{\"models\":[]}"));
}

void pass_admin(struct call *c)
{
	if (!c->seat->service->conf->model_admin)
		answer_fault(c, FAULT_FORBIDDEN,
		             "model administration is not relayed by foreman "
		             "(FOREMAN_MODEL_ADMIN=deny)");
	else if (!c->route->upstream)
		answer_fault(c, FAULT_FORBIDDEN,
		             "blobs are not relayed by foreman: "
		             "push them to the target itself");
	else
		pass_through(c, 0);
}
