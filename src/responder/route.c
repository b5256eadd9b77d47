/*
 * route.c - the table of routes, and what every request goes through first.
 *
 * The order is: token, path, method, body, handler. A refusal here is small,
 * so the body may be left unread: it is drained when the request is finished.
 * Several rows may share a path, one for each handler of its methods.
 */
#include <config.h>

#include "responder/route.h"

#include <stdio.h>
#include <string.h>

#include "base/sha.h"
#include "core/limits.h"
#include "responder/answer.h"
#include "responder/artifacts.h"
#include "responder/chat.h"
#include "responder/follow.h"
#include "responder/health.h"
#include "responder/jobs.h"
#include "responder/metrics.h"
#include "responder/pass.h"
#include "responder/submit.h"
#include "responder/webhooks.h"

#define READ (METHOD_GET | METHOD_HEAD)

static const struct route routes[] = {
	/* queued: a client waits on an open connection */
	{ METHOD_POST, "/api/chat", chat_handle, true, false, "/api/chat" },
	{ METHOD_POST, "/api/generate", chat_handle, true, false, "/api/generate" },
	{ METHOD_POST, "/v1/chat/completions", chat_handle, true, false,
	  "/v1/chat/completions" },
	{ METHOD_POST, "/v1/completions", chat_handle, true, false,
	  "/v1/completions" },
	{ METHOD_POST, "/v1/responses", chat_handle, true, false, "/v1/responses" },
	{ METHOD_POST, "/v1/messages", chat_handle, true, false, "/v1/messages" },

	/* around the queue, or into it */
	{ METHOD_POST, "/api/embed", chat_embed, true, false, "/api/embed" },
	{ METHOD_POST, "/api/embeddings", chat_embed, true, false,
	  "/api/embeddings" },
	{ METHOD_POST, "/v1/embeddings", chat_embed, true, false,
	  "/v1/embeddings" },

	/* at once */
	{ READ, "/", pass_handle, false, false, "/" },
	{ READ, "/api/version", pass_handle, false, false, "/api/version" },
	{ READ, "/api/tags", pass_tags, false, false, "/api/tags" },
	{ METHOD_GET, "/api/ps", pass_ps, false, false, "/api/ps" },
	{ METHOD_POST, "/api/show", pass_handle, true, false, "/api/show" },
	{ METHOD_GET, "/api/status", pass_handle, false, false, "/api/status" },
	{ METHOD_GET, "/v1/models", pass_handle, false, false, "/v1/models" },
	{ METHOD_GET, "/v1/models/{name}", pass_handle, false, false, "/v1/models/" },

	/* model administration: bodies are not held, so not read here either */
	{ METHOD_POST, "/api/pull", pass_admin, false, false, "/api/pull" },
	{ METHOD_POST, "/api/push", pass_admin, false, false, "/api/push" },
	{ METHOD_POST, "/api/create", pass_admin, false, false, "/api/create" },
	{ METHOD_POST, "/api/copy", pass_admin, false, false, "/api/copy" },
	{ METHOD_DELETE, "/api/delete", pass_admin, false, false, "/api/delete" },
	{ METHOD_HEAD | METHOD_POST, "/api/blobs/{id}", pass_admin, false, false,
	  "/api/blobs/" },

	/* jobs */
	{ READ, "/jobs", jobs_list, false, false, NULL },
	{ METHOD_POST, "/jobs", submit_handle, true, false, NULL },
	{ READ, "/jobs/{id}", jobs_show, true, false, NULL },
	{ READ, "/jobs/{id}/events", jobs_events, true, false, NULL },
	{ METHOD_POST, "/jobs/{id}/cancel", jobs_cancel, false, false, NULL },
	{ METHOD_DELETE, "/jobs/{id}", jobs_remove, false, false, NULL },
	{ READ, "/jobs/{id}/stream", follow_handle, true, false, NULL },
	{ READ, "/jobs/{id}/artifacts/response", artifacts_response, true, false,
	  NULL },
	{ READ, "/jobs/{id}/artifacts/content", artifacts_content, true, false, NULL },
	{ READ, "/queue", jobs_queue, false, false, NULL },

	/* webhooks */
	{ READ, "/webhooks", webhooks_list, false, false, NULL },
	{ METHOD_POST, "/webhooks/redeliver", webhooks_again_all, false, false, NULL },
	{ READ, "/webhooks/{id}", webhooks_show, false, false, NULL },
	{ METHOD_POST, "/webhooks/{id}/redeliver", webhooks_again, false, false, NULL },

	/* health */
	{ READ, "/healthz", health_live, false, true, NULL },
	{ READ, "/readyz", health_ready, false, false, NULL },
	{ READ, "/metrics", metrics_handle, false, false, NULL },
};

_Static_assert(ARRAY_LEN(routes) <= TALLY_ROUTES, "the tally has a row for each");

/* --- finding -------------------------------------------------------------- */

/* Take what stands before a pattern's next hole, or its end, off both. */
static bool skip_text(const char **pattern, struct span *path)
{
	for (; **pattern && **pattern != '{'; (*pattern)++, path->p++, path->len--)
		if (!path->len || *path->p != **pattern)
			return false;
	return true;
}

/* A pattern has at most one hole: "{id}", a segment, or "{name}", all the rest;
 * what fills it is not empty. */
static bool path_matches(const char *pattern, struct span path, struct span *id)
{
	struct span found = { 0 };
	const char *slash;

	if (!skip_text(&pattern, &path))
		return false;
	if (*pattern == '{') {
		slash = memchr(path.p, '/', path.len);
		found = path;
		if (slash && strcmp(pattern, "{name}") != 0)
			found.len = (size_t)(slash - path.p);
		path.p += found.len;
		path.len -= found.len;
		pattern = strchr(pattern, '}') + 1;
		if (!found.len || !skip_text(&pattern, &path))
			return false;
	}
	if (path.len)
		return false;
	*id = found;
	return true;
}

struct route_match route_find(struct span path, unsigned method)
{
	struct route_match m = { 0 };

	if (!path.len || path.len > LIMIT_PATH)
		return m;
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (!path_matches(routes[i].path, path, &m.id))
			continue;
		m.methods |= routes[i].methods;
		m.any = &routes[i];
		if (routes[i].methods & method)
			m.route = &routes[i];
	}
	return m;
}

static const struct {
	const char *name;
	unsigned bit;
} methods[] = {
	{ "HEAD", METHOD_HEAD },
	{ "GET", METHOD_GET },
	{ "POST", METHOD_POST },
	{ "DELETE", METHOD_DELETE },
	{ "OPTIONS", METHOD_OPTIONS },
};

unsigned route_method(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (strcmp(methods[i].name, name) == 0)
			return methods[i].bit;
	return 0;
}

void route_allow(unsigned set, char out[ROUTE_ALLOW_SIZE])
{
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (set & methods[i].bit)
			len += (size_t)snprintf(out + len, ROUTE_ALLOW_SIZE - len, "%s%s",
			                        len ? ", " : "", methods[i].name);
}

static struct tally_name name_of(int row)
{
	struct tally_name name = { "", routes[row].path };

	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (routes[row].methods & methods[i].bit)
			name.method = methods[i].name; /* the last: HEAD stands before GET */
	return name;
}

struct tally_names route_names(void)
{
	return (struct tally_names){ .count = (int)ARRAY_LEN(routes), .of = name_of };
}

static bool under(struct span path, const char *root)
{
	size_t len = strlen(root);

	return path.len >= len && memcmp(path.p, root, len) == 0 &&
	       (path.len == len || path.p[len] == '/');
}

enum family route_family(struct span path)
{
	static const char *const own[] = { "/jobs", "/queue", "/webhooks",
		                               "/healthz", "/readyz", "/metrics" };

	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (under(path, own[i]))
			return FAMILY_PROBLEM;
	if (under(path, "/v1/messages"))
		return FAMILY_ANTHROPIC;
	return under(path, "/v1") ? FAMILY_OPENAI : FAMILY_OLLAMA;
}

bool route_authorized(struct span header, const char *token)
{
	struct span scheme;

	header = span_trim(header);
	if (!span_cut(&header, ' ', &scheme) || !span_eq_nocase(scheme, "Bearer"))
		return false;
	header = span_trim(header);
	return sha_same_secret(header.p, header.len, token, strlen(token));
}

/* --- the way in ----------------------------------------------------------- */

/*
 * Is it a browser's question whether it may ask, on a path of the target's?
 * Who may is the target's to say (OLLAMA_ORIGINS).
 */
static bool asks_whether(const struct call *c, const struct route *route)
{
	return route_method(c->method) == METHOD_OPTIONS && route && route->upstream &&
	       call_header(c, "HTTP_ORIGIN").p;
}

/* ... as browsers put it: without a token, which they cannot send with it. */
static bool preflight(const struct call *c, const struct route *route)
{
	return asks_whether(c, route) &&
	       call_header(c, "HTTP_ACCESS_CONTROL_REQUEST_METHOD").p;
}

static bool allowed_in(struct call *c, const struct route_match *m)
{
	const char *token = c->seat->service->conf->api_token;

	if (!token || (m->route && m->route->open) || preflight(c, m->any) ||
	    route_authorized(call_header(c, "HTTP_AUTHORIZATION"), token))
		return true;
	answer_fault_with(c, FAULT_UNAUTHORIZED, "WWW-Authenticate: Bearer\n",
	                  "a valid bearer token is required");
	return false;
}

/* No row for this path and method: say which it is. */
static void answer_no_route(struct call *c, unsigned there)
{
	char allow[ROUTE_ALLOW_SIZE], lines[ROUTE_ALLOW_SIZE + 16];

	if (!there) {
		answer_fault(c, FAULT_NOT_FOUND, "no such path");
		return;
	}
	route_allow(there, allow);
	snprintf(lines, sizeof(lines), "Allow: %s\n", allow);
	if (route_method(c->method) == METHOD_OPTIONS)
		answer_empty(c, 204, lines);
	else
		answer_fault_with(c, FAULT_METHOD_NOT_ALLOWED, lines,
		                  "method not allowed");
}

/* ERR_CLOSED: the client left in the middle of it; nothing is to be done. */
static bool body_read(struct call *c)
{
	struct buf *body = &c->seat->body;
	enum err e = fcgx_body(c->req, body);

	switch (e) {
	case ERR_OK:
		c->body = (struct span){ body->p ? body->p : "", body->len };
		return true;
	case ERR_TOOBIG: {
		char size[32];

		str_format_size((int64_t)body->max, size);
		answer_fault(c, FAULT_TOO_LARGE, "the body is larger than %s", size);
		return false;
	}
	case ERR_CLOSED:
		errtext_set(&c->why, "the body was cut short");
		return false;
	default:
		answer_fault(c, FAULT_INTERNAL, "cannot read the body: %s", err_name(e));
		return false;
	}
}

void route_call(struct call *c)
{
	struct route_match m = route_find(c->path, route_method(c->method));

	c->family = route_family(c->path);
	if (!allowed_in(c, &m))
		return;
	c->id = m.id;
	if (m.route)
		c->trail.route = (int)(m.route - routes);
	if (!m.route && asks_whether(c, m.any)) {
		c->upstream = m.any->upstream;
		pass_handle(c);
		return;
	}
	if (!m.route) {
		answer_no_route(c, m.methods);
		return;
	}
	c->upstream = m.route->upstream;
	if (m.route->body && !body_read(c))
		return;
	m.route->handle(c);
}
