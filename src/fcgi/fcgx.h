/*
 * fcgx.h - FastCGI requests: the one door to fcgi2.
 *
 * fcgi2 treats an interrupted call as an end, installs signal handlers, and
 * exits on some errors: behind this door signals are blocked (sig.h), sockets
 * are ours, and every accept is non-blocking. One thread at a time per
 * request; a request may be handed to another thread.
 */
#ifndef FOREMAN_FCGI_FCGX_H
#define FOREMAN_FCGI_FCGX_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

struct fcgx;

/* A web server sends the parameters at once; silence in between ends it. */
#define FCGX_PARAMS_MS 2000

/* Once per process, before threads; after sig_block_all. */
enum err fcgx_init(void) MUST_CHECK;

/* The next connection's request with its parameters read. ERR_AGAIN: none is
 * waiting. ERR_CLOSED: the peer went before it was whole, said nothing for
 * FCGX_PARAMS_MS, or speaks something else; there may be more to accept. */
enum err fcgx_accept(int listen_fd, struct fcgx **out) MUST_CHECK;

/* A CGI parameter ("REQUEST_METHOD", "HTTP_PREFER"), NULL if absent. Valid
 * until the request is finished or detached. */
const char *fcgx_param(const struct fcgx *r, const char *name);

/*
 * Read the whole body to its end into `b` (cleared first; at most b->max
 * bytes). ERR_TOOBIG: it was larger; it has been read to the end and dropped,
 * so that an answer can be given. ERR_CLOSED: it was cut short; do nothing
 * for it. CONTENT_LENGTH is only believed when it contradicts what came.
 */
enum err fcgx_body(struct fcgx *r, struct buf *b) MUST_CHECK;

/*
 * The body in pieces, for one too large to hold: instead of fcgx_body. *got
 * bytes at `to`, fewer than `max` only at the end, 0 behind it. ERR_CLOSED: it
 * was cut short. fcgx_length: what CONTENT_LENGTH says; -1: not known.
 */
enum err fcgx_read(struct fcgx *r, void *to, size_t max, size_t *got) MUST_CHECK;
int64_t fcgx_length(const struct fcgx *r);

/*
 * Answer: the head once (content_type NULL: none; extra header lines
 * "Name: value\n", may be absent), then any number of writes; each write is
 * flushed. The head travels with the first write, so that it costs no packet
 * of its own; an empty write sends it alone. What is written to a HEAD request
 * is dropped. ERR_CLOSED: nobody listens any more. ERR_INVAL: a header line is
 * none, or has a control character in it; nothing was written.
 */
enum err fcgx_head(struct fcgx *r, int status, const char *content_type,
                   struct span headers) MUST_CHECK;
enum err fcgx_write(struct fcgx *r, const void *p, size_t len) MUST_CHECK;
/* As fcgx_write, for what is of no use until it is whole: it leaves with what
 * follows, at the latest with the end. */
enum err fcgx_add(struct fcgx *r, const void *p, size_t len) MUST_CHECK;

/* Head (with Content-Length, for HEAD requests too; not for 204 and 304) and
 * body; they leave together with the end, in fcgx_finish. */
enum err fcgx_reply(struct fcgx *r, int status, const char *content_type,
                    struct span headers, struct span body) MUST_CHECK;

/* End the request and free it. NULL is fine. */
void fcgx_finish(struct fcgx *r);

/*
 * Give up the library's part and keep the bare connection: for requests that
 * wait or stream inside an event loop (stream.h). Nothing may have been
 * written, the body must have been read. *id is the FastCGI request id; the
 * descriptor is non-blocking and the caller's. The request is freed.
 */
enum err fcgx_detach(struct fcgx *r, int *fd, int *id) MUST_CHECK;

#endif
