/*
 * http.h - an HTTP/1 server that frames its answers as Go's net/http does.
 *
 * A request is given to the handler whole, body included. The handler answers
 * it during the call or later: one http_reply, or http_stream, http_line …,
 * http_end, or one of the ways to break off. Until then the connection is the
 * request's; afterwards the handler must not name it again.
 */
#ifndef FAKE_OLLAMA_HTTP_H
#define FAKE_OLLAMA_HTTP_H

#include "head.h"

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

/* Above this many bytes Go can no longer set Content-Length by itself. */
#define HTTP_LENGTH_MAX 2048

struct http_conn;

enum http_want {
	HTTP_READ_BODY,
	HTTP_IGNORE_BODY, /* answer without: nobody says 100-continue */
	HTTP_DROP,        /* close at once, as a dead process does */
};

struct http_handler {
	/* The head is here: what about the rest? */
	enum http_want (*head)(const struct head *h);
	/* All of it is here. Head and body are good until the answer ends. */
	void (*request)(struct http_conn *c, const struct head *h, struct span body);
	/* The client left while an answer is owed (work: see http_set_work).
	 * Unless `reset` it may still read, so what Go would still write can be
	 * written. If the answer is not over on return, the connection is cut. */
	void (*gone)(struct http_conn *c, void *work, bool reset);
	/* What was written has left, after http_blocked had said true. */
	void (*drained)(void *work);
};

/* Listen on "127.…:PORT" or "[::1]:PORT"; the address goes to `bound`. */
enum err http_listen(const char *address, const struct http_handler *h, char *bound,
                     size_t size, struct errtext *why) MUST_CHECK;
void http_stop(void);

/* Cut every connection but `but`, as the death of the process would. */
void http_cut_all(const struct http_conn *but);

/* What gone and drained are called with; NULL: neither is called. */
void http_set_work(struct http_conn *c, void *work);

/* A field for the head of this answer; both texts must be static or live until
 * the answer has begun. At most HTTP_EXTRA_MAX. */
#define HTTP_EXTRA_MAX 12
void http_field(struct http_conn *c, const char *name, const char *value);

/* From now on every byte of this answer is a write of its own. */
void http_split(struct http_conn *c);

/* A whole answer. `type` NULL: no Content-Type. */
void http_reply(struct http_conn *c, int status, const char *type,
                struct span body);

/* A chunked answer: the head leaves with the first line, each line in one
 * chunk and one write. */
void http_stream(struct http_conn *c, int status, const char *type);
void http_line(struct http_conn *c, struct span line);
void http_end(struct http_conn *c);

/* Bytes wait for the client to read; drained will tell. */
bool http_blocked(const struct http_conn *c);

void http_reset(struct http_conn *c); /* RST */
void http_cut(struct http_conn *c);   /* FIN without the last chunk */
/* The head and half of the body, then FIN. */
void http_reply_half(struct http_conn *c, int status, const char *type,
                     struct span body);

#endif
