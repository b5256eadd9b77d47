/*
 * header.h - the header lines of an HTTP head: "Name: value\n" each, without
 * the first line of the head and the empty one behind it.
 */
#ifndef FOREMAN_CORE_HEADER_H
#define FOREMAN_CORE_HEADER_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

/* One line, without its line break: the name as it stands and the value without
 * the blanks around it, which may be empty. False: it is no header. */
bool header_split(struct span line, struct span *name, struct span *value);

/* Cut the next header off the front of *lines, past what is none; false at the
 * end. */
bool header_next(struct span *lines, struct span *name, struct span *value);

/* The value of the first header called `name` (any case); absent: there is
 * none. */
struct span header_find(struct span lines, const char *name);

/* The same, copied to `out`. False: not there, or longer than fits; then `out`
 * is as it was. */
bool header_copy(struct span lines, const char *name, char *out, size_t size);

/* Add to `out` what a proxy may pass on, in order, each "Name: value\n": not what
 * is for this hop alone (Connection and what it names, Keep-Alive, TE, Trailer,
 * Transfer-Encoding and a length beside it, Upgrade, Proxy-*). */
enum err header_pass_on(struct span lines, struct buf *out) MUST_CHECK;

#endif
