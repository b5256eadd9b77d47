/*
 * http.c - connections: read, hand over, write, again.
 *
 * A connection is HEAD (reading one), BODY, WORK (the handler owes an answer)
 * or FLUSH (the answer is whole, but not all of it has left). While in WORK
 * the socket is read on, for the end of it means that the client left, unless
 * another request stands before that end: Go stops looking there, too.
 * Not here: what is answered (api.c, task.c).
 */
#include <config.h>

#include "http.h"

#include "loop.h"
#include "text.h"

#include "base/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096
#define READ_BYTES (64 * 1024)
#define AHEAD_MAX (256 * 1024) /* read beyond the request that is answered */

enum state { HEAD, BODY, WORK, FLUSH };

/* Where a chunked upload stands. */
enum chunk { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER };

struct http_conn {
	struct watch watch; /* fd -1: closed, freed after the turn */
	struct http_conn *next, **link;
	enum state state;
	bool advancing;   /* advance() is on the stack */
	bool eof;         /* the client will send no more */
	bool gone;        /* the handler has been told */
	bool broken;      /* nothing can be written any more */
	bool close_after; /* this answer */
	bool split;
	bool begun;    /* the head of the answer has been written */
	bool framed;   /* chunked; else the end of the connection ends it */
	bool bodyless; /* HEAD */
	uint32_t events;
	struct buf in, text, body, out, scratch;
	struct head head; /* points into `text` */
	enum chunk chunk;
	size_t chunk_left;
	void *work;
	int status;
	const char *type;
	struct {
		const char *name, *value;
	} extra[HTTP_EXTRA_MAX + 1];
	size_t extra_count;
};

static struct http_conn *all;
static struct watch listener = { .fd = -1 };
static const struct http_handler *handler;

static void advance(struct http_conn *c);

/* --- the socket ----------------------------------------------------------- */

static void conn_close(struct http_conn *c, bool reset)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };
	int fd = c->watch.fd;

	if (fd < 0)
		return;
	if (reset)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	loop_forget(&c->watch);
	close(fd);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	buf_done(&c->in);
	buf_done(&c->text);
	buf_done(&c->body);
	buf_done(&c->out);
	buf_done(&c->scratch);
	head_done(&c->head);
	c->work = NULL;
	loop_free(c);
}

static void listen_for(struct http_conn *c)
{
	uint32_t events = 0;

	if (!c->eof && (c->state < WORK || c->in.len < AHEAD_MAX))
		events |= EPOLLIN;
	if (c->out.len)
		events |= EPOLLOUT;
	if (c->watch.fd >= 0 && events != c->events) {
		loop_change(&c->watch, events);
		c->events = events;
	}
}

/* Write what the socket takes; the number of bytes that have gone. */
static size_t write_some(struct http_conn *c, const char *p, size_t len)
{
	size_t done = 0;

	while (done < len && !c->broken) {
		size_t piece = c->split ? 1 : len - done;
		ssize_t n = send(c->watch.fd, p + done, piece, MSG_NOSIGNAL);

		if (n > 0)
			done += (size_t)n;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			c->broken = true;
	}
	return c->broken ? len : done;
}

static void send_bytes(struct http_conn *c, struct span s)
{
	size_t done = 0;

	if (!c->out.len)
		done = write_some(c, s.p, s.len);
	if (done < s.len)
		put(&c->out, s.p + done, s.len - done);
}

/* --- one answer ----------------------------------------------------------- */

static const char *status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 204, "No Content" },
		{ 301, "Moved Permanently" },
		{ 307, "Temporary Redirect" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 413, "Request Entity Too Large" },
		{ 417, "Expectation Failed" },
		{ 422, "Unprocessable Entity" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return NULL;
}

void http_set_work(struct http_conn *c, void *work)
{
	c->work = work;
}

/* Kept sorted by name, as Go writes them. */
void http_field(struct http_conn *c, const char *name, const char *value)
{
	size_t at = c->extra_count++;

	for (; at && strcmp(c->extra[at - 1].name, name) > 0; at--)
		c->extra[at] = c->extra[at - 1];
	c->extra[at].name = name;
	c->extra[at].value = value;
}

void http_split(struct http_conn *c)
{
	c->split = true;
}

/* The head of an answer whose body is `length` bytes, or unknown (-1). */
static void put_head(struct http_conn *c, struct buf *b, ssize_t length)
{
	const char *known = status_text(c->status);

	if (c->type)
		http_field(c, "Content-Type", c->type);
	put_f(b, "HTTP/1.%d %03d ", c->head.minor ? 1 : 0, c->status);
	if (known)
		put_f(b, "%s\r\n", known);
	else
		put_f(b, "status code %d\r\n", c->status);
	for (size_t i = 0; i < c->extra_count; i++)
		put_f(b, "%s: %s\r\n", c->extra[i].name, c->extra[i].value);
	put_f(b, "Date: %s\r\n", text_http_date());
	if (length >= 0)
		put_f(b, "Content-Length: %zd\r\n", length);
	c->framed = length < 0 && c->head.minor && !c->bodyless;
	if (!c->head.minor && length < 0)
		c->close_after = true;
	if (c->head.minor && c->close_after)
		put_s(b, "Connection: close\r\n");
	else if (!c->head.minor && !c->close_after)
		put_s(b, "Connection: keep-alive\r\n");
	if (c->framed)
		put_s(b, "Transfer-Encoding: chunked\r\n");
	put_s(b, "\r\n");
	c->begun = true;
}

static void put_body(struct http_conn *c, struct buf *b, struct span body)
{
	if (c->bodyless || !body.len)
		return;
	if (c->framed)
		put_f(b, "%zx\r\n", body.len);
	put(b, body.p, body.len);
	if (c->framed)
		put_s(b, "\r\n");
}

/* The answer is whole: next request, or the end. */
static void answered(struct http_conn *c)
{
	c->work = NULL;
	c->state = FLUSH;
	if (!c->advancing)
		advance(c);
}

void http_reply(struct http_conn *c, int status, const char *type, struct span body)
{
	struct buf *b = &c->scratch;
	ssize_t length = body.len <= HTTP_LENGTH_MAX ? (ssize_t)body.len : -1;

	buf_clear(b);
	c->status = status;
	c->type = type;
	if (status == 204) {
		c->bodyless = true;
		length = -1;
	}
	put_head(c, b, length);
	put_body(c, b, body);
	if (c->framed)
		put_s(b, "0\r\n\r\n");
	send_bytes(c, (struct span){ b->p, b->len });
	answered(c);
}

void http_reply_half(struct http_conn *c, int status, const char *type,
                     struct span body)
{
	struct buf *b = &c->scratch;

	buf_clear(b);
	c->status = status;
	c->type = type;
	put_head(c, b, body.len <= HTTP_LENGTH_MAX ? (ssize_t)body.len : -1);
	if (c->framed)
		put_f(b, "%zx\r\n", body.len);
	put(b, body.p, body.len / 2);
	send_bytes(c, (struct span){ b->p, b->len });
	http_cut(c);
}

void http_stream(struct http_conn *c, int status, const char *type)
{
	c->status = status;
	c->type = type;
}

void http_line(struct http_conn *c, struct span line)
{
	struct buf *b = &c->scratch;

	buf_clear(b);
	if (!c->begun)
		put_head(c, b, -1);
	put_body(c, b, line);
	send_bytes(c, (struct span){ b->p, b->len });
	listen_for(c);
}

void http_end(struct http_conn *c)
{
	struct buf *b = &c->scratch;

	buf_clear(b);
	if (!c->begun)
		put_head(c, b, -1);
	if (c->framed)
		put_s(b, "0\r\n\r\n");
	send_bytes(c, (struct span){ b->p, b->len });
	answered(c);
}

bool http_blocked(const struct http_conn *c)
{
	/* Asking is enough to be told: drained is called whenever out empties. */
	return c->out.len > 0 && !c->broken;
}

void http_reset(struct http_conn *c)
{
	conn_close(c, true);
}

void http_cut(struct http_conn *c)
{
	c->close_after = true;
	answered(c);
}

void http_cut_all(const struct http_conn *but)
{
	struct http_conn *next;

	for (struct http_conn *c = all; c; c = next) {
		void *work = c->work;

		next = c->next;
		if (c == but)
			continue;
		c->broken = true;
		c->advancing = true;
		c->work = NULL;
		if (work && !c->gone)
			handler->gone(c, work, true);
		conn_close(c, true);
	}
}

/* --- one request ---------------------------------------------------------- */

/* Refused before any handler saw it, in Go's own words. */
static void refuse(struct http_conn *c, int status, const char *why)
{
	struct buf *b = &c->scratch;

	buf_clear(b);
	put_f(b, "HTTP/1.1 %d %s\r\n", status, status_text(status));
	if (status == 417)
		put_f(b, "Connection: close\r\nDate: %s\r\nContent-Length: 0\r\n\r\n",
		      text_http_date());
	else
		put_f(b,
		      "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
		      "%d %s%s%s",
		      status, status_text(status), *why ? ": " : "", why);
	send_bytes(c, (struct span){ b->p, b->len });
	http_cut(c);
}

/* Take the head off `in` once it is whole. */
static bool take_head(struct http_conn *c)
{
	const char *end;
	const char *why;
	size_t skip = 0, len;
	int status;
	enum http_want want;

	while (skip < c->in.len && (c->in.p[skip] == '\r' || c->in.p[skip] == '\n'))
		skip++;
	buf_consume(&c->in, skip);
	end = c->in.len ? memmem(c->in.p, c->in.len, "\r\n\r\n", 4) : NULL;
	if (!end) {
		if (c->in.len <= HEAD_BYTES_MAX)
			return false;
		c->head.minor = 1;
		refuse(c, 431, "");
		return true;
	}
	len = (size_t)(end - c->in.p) + 4;
	buf_clear(&c->text);
	buf_clear(&c->body);
	put(&c->text, c->in.p, len);
	buf_consume(&c->in, len);
	head_done(&c->head);
	status = head_parse((struct span){ c->text.p, len }, &c->head, &why);
	c->begun = c->split = c->framed = false;
	c->extra_count = 0;
	c->bodyless = span_eq(c->head.method, "HEAD");
	c->close_after = !c->head.keep_alive;
	if (status) {
		refuse(c, status, why);
		return true;
	}
	want = handler->head(&c->head);
	if (want == HTTP_DROP) {
		conn_close(c, true);
		return true;
	}
	c->chunk = CHUNK_SIZE;
	c->state = BODY;
	if (c->head.wants_continue && (c->head.chunked || c->head.length)) {
		if (want == HTTP_READ_BODY) {
			send_bytes(c, SPAN_LIT("HTTP/1.1 100 Continue\r\n\r\n"));
		} else {
			c->head.chunked = false;
			c->head.length = 0;
			c->close_after = true;
		}
	}
	return true;
}

/* The bytes of `in` up to and with the next newline; 0: not here yet. */
static size_t line_length(const struct http_conn *c, size_t at)
{
	const char *nl = memchr(c->in.p + at, '\n', c->in.len - at);

	return nl ? (size_t)(nl - c->in.p) - at + 1 : 0;
}

/* The size line at `at`; false: not a size. */
static bool read_size(struct http_conn *c, size_t at)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(c->in.p + at, &end, 16);
	if (end == c->in.p + at || errno || n > TEXT_MAX || !strchr(";\r\n \t", *end) ||
	    c->in.p[at] == '-' || c->in.p[at] == '+' || c->in.p[at] == ' ')
		return false;
	c->chunk_left = (size_t)n;
	c->chunk = n ? CHUNK_DATA : CHUNK_TRAILER;
	return true;
}

/* Move what is here of a chunked body. 1: whole, 0: not yet, -1: broken. */
static int take_chunks(struct http_conn *c)
{
	size_t at = 0, n;
	int verdict = 0;

	while (!verdict && at < c->in.len) {
		if (c->chunk == CHUNK_DATA) {
			n = c->in.len - at < c->chunk_left ? c->in.len - at : c->chunk_left;
			put(&c->body, c->in.p + at, n);
			at += n;
			c->chunk_left -= n;
			if (!c->chunk_left)
				c->chunk = CHUNK_END;
			continue;
		}
		n = line_length(c, at);
		if (!n)
			break;
		if (c->chunk == CHUNK_SIZE && !read_size(c, at))
			verdict = -1;
		else if (c->chunk == CHUNK_END && n > 2)
			verdict = -1;
		else if (c->chunk == CHUNK_END)
			c->chunk = CHUNK_SIZE;
		else if (c->chunk == CHUNK_TRAILER && n <= 2)
			verdict = 1;
		at += n;
	}
	buf_consume(&c->in, at);
	return verdict;
}

/* A body of known length: when nothing stands behind it, `in` becomes it. */
static bool take_length(struct http_conn *c)
{
	size_t len = (size_t)c->head.length;

	if (c->in.len < len)
		return false;
	if (c->in.len == len) {
		struct buf swap = c->body;

		c->body = c->in;
		c->in = swap;
		return true;
	}
	put(&c->body, c->in.p, len);
	buf_consume(&c->in, len);
	return true;
}

/* Gather the body and hand the request over. */
static bool take_body(struct http_conn *c)
{
	int verdict = 1;

	if (c->head.chunked) {
		verdict = take_chunks(c);
	} else if (c->head.length > TEXT_MAX / 2) {
		refuse(c, 413, "");
		return true;
	} else if (c->head.length) {
		verdict = take_length(c);
	}
	if (verdict < 0) {
		refuse(c, 400, "");
		return true;
	}
	if (!verdict)
		return false;
	c->state = WORK;
	handler->request(c, &c->head, (struct span){ c->body.p, c->body.len });
	return true;
}

/* The client left while an answer is owed: say so, once. */
static void left(struct http_conn *c, bool reset)
{
	void *work = c->work;

	c->gone = true;
	if (work)
		handler->gone(c, work, reset);
	if (c->watch.fd >= 0 && (c->state == WORK || reset))
		conn_close(c, true);
}

/* All that can be done with what is here. */
static void advance(struct http_conn *c)
{
	bool more = true;

	c->advancing = true;
	while (more && c->watch.fd >= 0) {
		switch (c->state) {
		case HEAD:
			more = take_head(c);
			break;
		case BODY:
			more = take_body(c);
			break;
		case WORK:
			more = c->eof && !c->gone && !c->in.len;
			if (more)
				left(c, false);
			break;
		case FLUSH:
			more = !c->out.len;
			if (more && (c->close_after || c->broken || c->gone))
				conn_close(c, false);
			else if (more)
				c->state = HEAD;
			break;
		}
	}
	if (c->watch.fd < 0)
		return;
	c->advancing = false;
	if (c->eof && c->state < WORK)
		conn_close(c, false);
	else
		listen_for(c);
}

/* The connection is reset: nothing can be read or written any more. */
static void lost(struct http_conn *c)
{
	c->broken = true;
	c->advancing = true; /* what the handler says now goes nowhere */
	if (c->state == WORK && !c->gone)
		left(c, true);
	conn_close(c, true);
}

static void on_readable(struct http_conn *c)
{
	char *room = buf_reserve(&c->in, READ_BYTES);
	ssize_t n;

	if (!room) {
		conn_close(c, true);
		return;
	}
	n = recv(c->watch.fd, room, READ_BYTES, 0);
	if (n > 0)
		buf_commit(&c->in, (size_t)n);
	else if (n == 0)
		c->eof = true;
	else if (errno != EAGAIN && errno != EINTR)
		lost(c);
}

static void on_writable(struct http_conn *c)
{
	buf_consume(&c->out, write_some(c, c->out.p, c->out.len));
	if (!c->out.len && c->state == WORK && c->work)
		handler->drained(c->work);
}

static void on_event(void *arg, uint32_t events)
{
	struct http_conn *c = arg;

	if (events & EPOLLIN)
		on_readable(c);
	if (c->watch.fd >= 0 && events & (EPOLLERR | EPOLLHUP))
		lost(c);
	if (c->watch.fd >= 0 && events & EPOLLOUT && c->out.len)
		on_writable(c);
	if (c->watch.fd >= 0)
		advance(c);
}

static void on_connection(void *arg UNUSED, uint32_t events UNUSED)
{
	int one = 1, fd;

	while ((fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
	       0) {
		struct http_conn *c = text_alloc(sizeof(*c));

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		c->watch = (struct watch){ .fn = on_event, .arg = c, .fd = fd };
		c->events = EPOLLIN;
		buf_init(&c->in, TEXT_MAX);
		buf_init(&c->text, TEXT_MAX);
		buf_init(&c->body, TEXT_MAX);
		buf_init(&c->out, TEXT_MAX);
		buf_init(&c->scratch, TEXT_MAX);
		c->next = all;
		c->link = &all;
		if (all)
			all->link = &c->next;
		all = c;
		if (!loop_watch(&c->watch, EPOLLIN))
			conn_close(c, true);
	}
}

/* --- the door ------------------------------------------------------------- */

static void say_address(int fd, char *out, size_t size)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char host[INET6_ADDRSTRLEN] = "?";

	getsockname(fd, (struct sockaddr *)&ss, &len);
	if (ss.ss_family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(out, size, "[%s]:%d", host, ntohs(in6->sin6_port));
	} else {
		struct sockaddr_in *in = (struct sockaddr_in *)&ss;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(out, size, "%s:%d", host, ntohs(in->sin_port));
	}
}

enum err http_listen(const char *address, const struct http_handler *h, char *bound,
                     size_t size, struct errtext *why)
{
	enum err e;
	int fd;

	if (strncmp(address, "127.", 4) && strncmp(address, "[::1]:", 6)) {
		errtext_set(why, "only 127.… and [::1] are listened on");
		return ERR_DENIED;
	}
	e = fd_listen_tcp(address, BACKLOG, &fd, why);
	if (e)
		return e;
	handler = h;
	listener = (struct watch){ .fn = on_connection, .fd = fd };
	say_address(fd, bound, size);
	return loop_watch(&listener, EPOLLIN) ? ERR_OK : ERR_IO;
}

void http_stop(void)
{
	int fd = listener.fd;

	http_cut_all(NULL);
	if (fd >= 0) {
		loop_forget(&listener);
		close(fd);
	}
}
