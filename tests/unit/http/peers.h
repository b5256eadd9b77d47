/*
 * peers.h - both ends of an exchange: a server that does just what a script
 * says, a connection at a time, and a client that notes what it was told.
 *
 *   server_listen(&s); client_init(&c);
 *   server_run(&s, &fine);            the next connection, in a thread
 *   …the exchange, with `calls` and &c…
 *   server_join(&s); CHECK_INT(c.heads, 1); CHECK_STR(buf_str(&s.request), "…");
 *   client_done(&c); server_done(&s);
 */
#ifndef FOREMAN_TESTS_PEERS_H
#define FOREMAN_TESTS_PEERS_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "http/loop.h"
#include "http/xfer.h"
#include "t.h"

/* --- the server: one connection, one script ------------------------------ */

enum then { CLOSE, RESET, HOLD /* until the client closes */ };

struct script {
	struct span reply;
	enum then then;
};

struct server {
	int listening;
	char url[64]; /* "http://127.0.0.1:port" */
	struct script script;
	pthread_t thread;
	struct buf request; /* head and body as they came */
	bool more;          /* something came after the request */
	bool unheard;       /* the client left before the reply's end */
};

static inline bool server_listen(struct server *s)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);

	*s = (struct server){ .listening = -1 };
	buf_init(&s->request, 1 << 22);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->listening < 0 ||
	    bind(s->listening, (struct sockaddr *)&in, sizeof(in)) != 0 ||
	    getsockname(s->listening, (struct sockaddr *)&in, &len) != 0 ||
	    listen(s->listening, 8) != 0)
		return false;
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", ntohs(in.sin_port));
	return true;
}

/* How long the request in `b` is by its own words; 0: not yet known. */
static inline size_t whole(struct buf *b)
{
	const char *text = b->len ? buf_str(b) : "";
	const char *end = strstr(text, "\r\n\r\n"), *length;

	if (!end)
		return 0;
	if (memmem(text, (size_t)(end - text), "chunked", 7))
		return memmem(end, b->len - (size_t)(end - text), "\r\n0\r\n\r\n", 7)
		           ? b->len
		           : b->len + 1;
	length = strcasestr(text, "\r\nContent-Length: ");
	return (size_t)(end + 4 - text) +
	       (length && length < end ? (size_t)atoi(length + 18) : 0);
}

static inline void *serve(void *arg)
{
	struct server *s = arg;
	int fd = accept4(s->listening, NULL, NULL, SOCK_CLOEXEC);
	char bytes[4096];
	ssize_t n = 1;

	while (!whole(&s->request) || s->request.len < whole(&s->request)) {
		n = read(fd, bytes, sizeof(bytes));
		if (n <= 0 || buf_add(&s->request, bytes, (size_t)n))
			break;
	}
	s->unheard = fd_write_all(fd, s->script.reply.p, s->script.reply.len, 5000);
	if (s->script.then == HOLD)
		s->more = read(fd, bytes, 1) > 0;
	if (s->script.then == RESET)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 },
		           sizeof(struct linger));
	fd_close(&fd);
	return NULL;
}

static inline bool server_run(struct server *s, const struct script *script)
{
	s->script = *script;
	s->more = false;
	buf_clear(&s->request);
	return pthread_create(&s->thread, NULL, serve, s) == 0;
}

static inline void server_join(struct server *s)
{
	if (pthread_join(s->thread, NULL) != 0)
		abort();
}

/* The client may not even have connected: end the waiting for it. */
static inline void server_join_idle(struct server *s)
{
	shutdown(s->listening, SHUT_RDWR);
	server_join(s);
}

static inline void server_done(struct server *s)
{
	fd_close(&s->listening);
	buf_done(&s->request);
}

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"

static const struct script fine = { SPAN_LIT(OK_HEAD "Content-Length: 2\r\n\r\nok"),
	                                HOLD };

/* --- the client: what it was told ---------------------------------------- */

struct client {
	int heads, bodies, dones;
	struct xfer_head head;
	struct buf lines; /* the head's, copied */
	struct buf body;
	struct xfer_result result;
	bool stop_at_head, stop_at_body;
	void (*in_body)(struct client *c);
	void (*in_done)(struct client *c);
	struct xfer *x;  /* in a loop */
	struct duo *duo; /* test_hub's: it is one of two */
};

static inline bool on_head(void *arg, const struct xfer_head *head)
{
	struct client *c = arg;

	c->heads++;
	c->head = *head;
	if (buf_add(&c->lines, head->headers.p, head->headers.len))
		abort();
	return !c->stop_at_head;
}

static inline bool on_body(void *arg, const void *p, size_t len)
{
	struct client *c = arg;

	c->bodies++;
	if (buf_add(&c->body, p, len))
		abort();
	if (c->in_body)
		c->in_body(c);
	return !c->stop_at_body;
}

static inline void on_done(void *arg, const struct xfer_result *result)
{
	struct client *c = arg;

	c->dones++;
	c->result = *result;
	if (c->in_done)
		c->in_done(c);
}

static const struct xfer_calls calls = { on_head, on_body, on_done };

static inline void client_init(struct client *c)
{
	*c = (struct client){ .heads = 0 };
	buf_init(&c->lines, 1 << 16);
	buf_init(&c->body, 1 << 24);
}

static inline void client_done(struct client *c)
{
	buf_done(&c->lines);
	buf_done(&c->body);
}

/* Turn the loop until *done. */
static inline void turn_until(struct loop *l, const int *done)
{
	while (!*done)
		if (loop_turn(l, -1, NULL))
			abort();
}

#endif
