/*
 * route.h - which handler a request belongs to.
 *
 * One table of (methods, path), compared byte for byte with the raw path of
 * the request line: nothing is decoded, cleaned or guessed, so no spelling of
 * a path reaches a handler, or the target, that the table does not hold. What
 * goes upstream is the table's constant.
 */
#ifndef FOREMAN_RESPONDER_ROUTE_H
#define FOREMAN_RESPONDER_ROUTE_H

#include "responder/call.h"
#include "responder/tally.h"

enum method {
	METHOD_GET = 1,
	METHOD_HEAD = 2,
	METHOD_POST = 4,
	METHOD_DELETE = 8,
	METHOD_OPTIONS = 16 /* never in a row: answered here, or by the target */
};

struct route {
	unsigned methods;       /* a set of the above */
	const char *path;       /* one "{id}" stands for any one segment; "{name}"
	                           at the end for all that is left */
	void (*handle)(struct call *c);
	bool body;              /* read the request's body first: also for those that
	                           have none, if they may be parked */
	bool open;              /* needs no token */
	const char *upstream;   /* the target's path, NULL when it never goes there;
	                           ending in '/', but for "/": what stood for {id}
	                           or {name} goes behind it */
};

/* --- pure ----------------------------------------------------------------- */

struct route_match {
	const struct route *route; /* NULL: no such path, or not by this method */
	const struct route *any;   /* the path's, by some method; NULL: no such path */
	unsigned methods;          /* all that the path has; 0: no such path */
	struct span id;            /* what stood for {id} or {name}, absent if none */
};

struct route_match route_find(struct span path, unsigned method);

/* 0 for a method the table does not know. Case matters. */
unsigned route_method(const char *name);

/* "GET, HEAD" for an Allow header, in Ollama's order. */
#define ROUTE_ALLOW_SIZE 40
void route_allow(unsigned methods, char out[ROUTE_ALLOW_SIZE]);

/* How errors under a path are worded, whether or not it has a row. */
enum family route_family(struct span path);

/* Does an Authorization header carry the token? Constant time in the token. */
bool route_authorized(struct span header, const char *token);

/* The table's rows by their numbers, for the log and for metrics. */
struct tally_names route_names(void);

/* --- the way in ----------------------------------------------------------- */

/* Answer, pass on or park the request: token, path, method, body, handler. */
void route_call(struct call *c);

#endif
