/*
 * trivial.c - a FastCGI program that does next to nothing: the peer of what a
 * responder does besides.
 *
 * usage: trivial SOCKET THREADS BYTES
 *            answer each request with that many bytes of JSON
 *        trivial SOCKET THREADS :PORT
 *            ask 127.0.0.1 there: a POST to the request's path with its body, a
 *            kept connection for each thread, and answer with the reply's body
 *
 * SOCKET is a unix socket that does not exist yet. FastCGI is spoken by the same
 * means as foreman's responders do: fcgi/fcgx, and threads that wait with an
 * epoll each. Whatever does not go as it should ends the program.
 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi/fcgx.h"

#define BODY_MAX (1024 * 1024)
#define BACKLOG 4096
#define REPLY_MAX 65536

struct trivial {
	int listening;
	struct span answer; /* absent: ask */
	uint16_t port;
};

struct worker {
	const struct trivial *t;
	struct buf body; /* of the request */
	int target;      /* -1: not connected */
	char bytes[REPLY_MAX];
};

static void give_up(const char *what)
{
	perror(what);
	exit(1);
}

static int listen_on(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(at.sun_path)) {
		errno = ENAMETOOLONG;
		give_up(path);
	}
	strcpy(at.sun_path, path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    listen(fd, BACKLOG) != 0)
		give_up(path);
	return fd;
}

/* --- asking ------------------------------------------------------------------ */

static int target_connect(uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		give_up("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

/* The reply's body, which lies in w->bytes. */
static struct span target_read(struct worker *w)
{
	size_t len = 0, whole = 0, head = 0;

	while (!whole || len < whole) {
		ssize_t n = recv(w->target, w->bytes + len, sizeof(w->bytes) - 1 - len, 0);
		const char *end, *length;

		if (n <= 0)
			give_up("recv");
		len += (size_t)n;
		w->bytes[len] = '\0';
		end = whole ? NULL : strstr(w->bytes, "\r\n\r\n");
		length = end ? strcasestr(w->bytes, "\r\nContent-Length:") : NULL;
		if (end && !length)
			give_up("a reply without a length");
		if (length) {
			head = (size_t)(end + 4 - w->bytes);
			whole =
			    head + strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
		}
	}
	return (struct span){ w->bytes + head, whole - head };
}

static struct span ask(struct worker *w, const char *path)
{
	int n = snprintf(w->bytes, sizeof(w->bytes),
	                 "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	                 "Content-Length: %zu\r\n\r\n%s",
	                 path, w->body.len, buf_str(&w->body));

	if (w->target < 0)
		w->target = target_connect(w->t->port);
	if (n >= (int)sizeof(w->bytes) ||
	    send(w->target, w->bytes, (size_t)n, MSG_NOSIGNAL) != n)
		give_up("send");
	return target_read(w);
}

/* --- answering --------------------------------------------------------------- */

static void serve(struct worker *w)
{
	const struct trivial *t = w->t;
	struct fcgx *req;

	if (fcgx_accept(t->listening, &req) != ERR_OK)
		return;
	if (fcgx_body(req, &w->body) == ERR_OK &&
	    fcgx_reply(req, 200, "application/json; charset=utf-8", (struct span){ 0 },
	               t->answer.p ? t->answer
	                           : ask(w, fcgx_param(req, "REQUEST_URI"))) != ERR_OK)
		give_up("an answer was not taken");
	fcgx_finish(req);
}

static void *run(void *arg)
{
	const struct trivial *t = arg;
	struct epoll_event want = { .events = EPOLLIN | EPOLLEXCLUSIVE }, got;
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct worker *w = calloc(1, sizeof(*w));

	if (!w || epoll < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, t->listening, &want) != 0)
		give_up("a thread");
	w->t = t;
	w->target = -1;
	buf_init(&w->body, BODY_MAX);
	for (;;)
		if (epoll_wait(epoll, &got, 1, -1) > 0)
			serve(w);
	return NULL;
}

/* {"x":"…"} of so many bytes. */
static struct span answer_of(size_t size)
{
	static const char before[] = "{\"x\":\"", after[] = "\"}";
	size_t frame = strlen(before) + strlen(after);
	char *text = malloc(size + frame + 1);

	if (!text)
		give_up("malloc");
	size = size > frame ? size - frame : 0;
	memcpy(text, before, strlen(before));
	memset(text + strlen(before), 'x', size);
	memcpy(text + strlen(before) + size, after, sizeof(after));
	return span_of(text);
}

int main(int argc, char **argv)
{
	struct trivial t = { 0 };
	long threads = argc == 4 ? strtol(argv[2], NULL, 10) : 0;

	if (threads < 1) {
		fprintf(stderr, "usage: trivial SOCKET THREADS BYTES|:PORT\n");
		return 64;
	}
	if (fcgx_init() != ERR_OK)
		give_up("fcgx_init");
	if (argv[3][0] == ':')
		t.port = (uint16_t)atoi(argv[3] + 1);
	else
		t.answer = answer_of(strtoul(argv[3], NULL, 10));
	t.listening = listen_on(argv[1]);
	for (long i = 1; i < threads; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, run, &t) != 0)
			give_up("pthread_create");
	}
	run(&t);
	return 0;
}
