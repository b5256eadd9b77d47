/*
 * lookup.h - where a name leads, asked anew each time and waited for a moment.
 */
#ifndef FOREMAN_HTTP_LOOKUP_H
#define FOREMAN_HTTP_LOOKUP_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/socket.h>

struct lookup;

/* NULL: no memory, or no name is that long. */
struct lookup *lookup_new(const char *host);
void lookup_free(struct lookup *k); /* NULL is fine */

/* Ask, and say whether `match` holds for any of the name's addresses. ERR_AGAIN:
 * not known in time, or there is no such name; *out is as it was. Any thread;
 * blocks for LOOKUP_MS at most, and for those that asked before. */
#define LOOKUP_MS 250
enum err lookup_any(struct lookup *k,
                    bool (*match)(void *arg, const struct sockaddr *found),
                    void *arg, bool *out) MUST_CHECK;

#endif
