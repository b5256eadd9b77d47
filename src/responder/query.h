/*
 * query.h - the query of a request, read against what a route knows of.
 */
#ifndef FOREMAN_RESPONDER_QUERY_H
#define FOREMAN_RESPONDER_QUERY_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call;

struct query_parameter {
	const char *name;
	/* The value, decoded, and only until this returns. ERR_NOMEM is told as
	 * such; any other error: it is not what is `wanted`. */
	enum err (*take)(void *to, struct span value);
	const char *wanted; /* "model must be a model's name" */
};

/* Take every parameter of the request, each at most once. False: one is bad, not
 * among the `count` known, or given twice, and the fault has been answered. */
bool query_read(struct call *c, const struct query_parameter *known, size_t count,
                void *to) MUST_CHECK;

/* How many entries of a list: 1 to LIMIT_LIST_MAX, or ERR_INVAL. */
enum err query_limit(struct span value, int *out) MUST_CHECK;
#define QUERY_LIMIT_WANTED "limit must be a number from 1 to 200"

/* How long to wait: whole seconds, of which more than LIMIT_WAIT_MAX_S count as
 * so many; ERR_INVAL. */
enum err query_wait(struct span value, int64_t *wait_ms) MUST_CHECK;

/* There are no parameters. False: there are, and the fault has been answered. */
bool query_none(struct call *c) MUST_CHECK;

/*
 * Cut the next `name=value` off the query. The value is percent-decoded to a
 * heap copy (free it). ERR_NOENT: no more. ERR_INVAL: a bad escape, or a NUL.
 */
enum err query_next(struct span *query, struct span *name, char **value) MUST_CHECK;

#endif
