/*
 * stream.h - the answering half of a detached FastCGI request, non-blocking.
 *
 * A client that waits in line, or reads slowly, must cost no thread: fcgi2
 * can only write by blocking, so detached requests write their STDOUT records
 * here. Nothing is buffered beyond `max`: when the kernel takes no more, the
 * caller stops asking its source for more.
 */
#ifndef FOREMAN_FCGI_STREAM_H
#define FOREMAN_FCGI_STREAM_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "core/limits.h"

#include <stdbool.h>
#include <stddef.h>

/* Bytes a head may have, on top of `max`: a target's, and what we add. */
#define STREAM_HEAD_MAX (LIMIT_HEAD + 4096)

struct stream {           /* embed it */
	int fd;
	int id;
	bool head_sent;
	bool ended;
	struct buf out;       /* encoded records the kernel has not taken */
};

/* Takes over fd (from fcgx_detach). `max` bounds what may be pending; the head
 * and the end of the request have room beyond it. */
void stream_init(struct stream *s, int fd, int id, size_t max);
void stream_done(struct stream *s); /* closes the descriptor */

/*
 * The CGI head as text, for both ways of answering: "Status: …", the content
 * type (NULL: none), then `headers` ("Name: value\n" lines, may be absent)
 * and the empty line. A line named Status is left out: in CGI it would be the
 * status. ERR_INVAL: a line is no header line, or has a control character in
 * it; what is in `b` is then of no use.
 */
enum err stream_head_text(struct buf *b, int status, const char *content_type,
                          struct span headers) MUST_CHECK;

/* Queue the CGI head: status, "Name: value\n" lines. Once. ERR_INVAL as
 * above, ERR_TOOBIG above STREAM_HEAD_MAX; nothing was queued then. */
enum err stream_head(struct stream *s, int status, struct span headers) MUST_CHECK;
/* Queue bytes as one record (several if above 65,535 bytes; none if there are
 * none, for an empty record would be the end). ERR_TOOBIG: would exceed max,
 * nothing was queued; flush first. */
enum err stream_write(struct stream *s, const void *p, size_t len) MUST_CHECK;
/* Queue the end of the request; nothing may follow. */
enum err stream_end(struct stream *s) MUST_CHECK;

/* Hand to the kernel what it takes. ERR_OK: nothing is pending. ERR_AGAIN:
 * wait for EPOLLOUT. ERR_CLOSED: the peer is gone. */
enum err stream_flush(struct stream *s) MUST_CHECK;
size_t stream_pending(const struct stream *s);

#endif
