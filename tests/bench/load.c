/*
 * load.c - an HTTP client for measuring, on 127.0.0.1.
 *
 * usage: load rate PORT METHOD PATH BODY CLIENTS SECONDS
 *            that many clients, a thread and a kept connection each, one request
 *            after the other
 *        load lines PORT PATH BODY TIMES
 *            a streamed answer, one after the other, a connection each: when its
 *            first byte came, and how much later than its created_at each line
 *        load park PORT PATH BODY COUNT
 *            so many requests, a connection each, whose answers are not awaited;
 *            they stay until the standard input ends
 *
 * Prints one line of JSON. Answers other than 2xx are counted as `bad`; an
 * exchange that breaks ends the run.
 */
#include <config.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "figures.h"

#define CLIENTS_MAX 1024

struct wire {
	int fd;
	char bytes[65536]; /* received, from `at` to `end` unread */
	size_t at, end;
};

static void give_up(const char *what)
{
	perror(what);
	exit(1);
}

/* --- an exchange ------------------------------------------------------------ */

static void wire_connect(struct wire *w, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	w->at = w->end = 0;
	w->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (w->fd < 0 || connect(w->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		give_up("connect");
	setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void wire_send(struct wire *w, const char *request, size_t len)
{
	while (len) {
		ssize_t n = send(w->fd, request, len, MSG_NOSIGNAL);

		if (n <= 0)
			give_up("send");
		request += n;
		len -= (size_t)n;
	}
}

/* More bytes behind what is unread. False at the end of the connection. */
static bool wire_more(struct wire *w)
{
	ssize_t n;

	if (w->at) {
		memmove(w->bytes, w->bytes + w->at, w->end - w->at);
		w->end -= w->at;
		w->at = 0;
	}
	n = recv(w->fd, w->bytes + w->end, sizeof(w->bytes) - w->end, 0);
	if (n < 0)
		give_up("recv");
	w->end += (size_t)n;
	return n > 0;
}

/* The next line with its end, NUL in place of the '\n'; it stays until the
 * next call. */
static char *wire_line(struct wire *w)
{
	for (;;) {
		char *from = w->bytes + w->at;
		char *nl = memchr(from, '\n', w->end - w->at);

		if (nl) {
			*nl = '\0';
			w->at = (size_t)(nl + 1 - w->bytes);
			return from;
		}
		if (!wire_more(w)) {
			fprintf(stderr, "the connection ended within a line\n");
			exit(1);
		}
	}
}

struct head {
	int status;
	bool chunked;
	size_t length;
};

static struct head wire_head(struct wire *w)
{
	struct head h = { .status = atoi(wire_line(w) + strlen("HTTP/1.1 ")) };
	char *line;

	while ((line = wire_line(w))[0] != '\r') {
		if (strncasecmp(line, "content-length:", 15) == 0)
			h.length = strtoul(line + 15, NULL, 10);
		else if (strncasecmp(line, "transfer-encoding: chunked", 26) == 0)
			h.chunked = true;
	}
	return h;
}

/* Take up to `len` body bytes that are there, at least one; where they are. */
static const char *wire_take(struct wire *w, size_t *len)
{
	const char *from;

	if (w->at == w->end && !wire_more(w)) {
		fprintf(stderr, "the body was cut short\n");
		exit(1);
	}
	if (*len > w->end - w->at)
		*len = w->end - w->at;
	from = w->bytes + w->at;
	w->at += *len;
	return from;
}

typedef void piece_fn(void *ctx, const char *bytes, size_t len);

static void wire_part(struct wire *w, size_t len, piece_fn *piece, void *ctx)
{
	while (len) {
		size_t n = len;
		const char *bytes = wire_take(w, &n);

		if (piece)
			piece(ctx, bytes, n);
		len -= n;
	}
}

static void wire_body(struct wire *w, const struct head *h, piece_fn *piece, void *ctx)
{
	size_t len;

	if (!h->chunked) {
		wire_part(w, h->length, piece, ctx);
		return;
	}
	while ((len = strtoul(wire_line(w), NULL, 16)) > 0) {
		wire_part(w, len, piece, ctx);
		wire_line(w);
	}
	wire_line(w);
}

static char *request_text(const char *method, const char *path, const char *body,
                          size_t *len)
{
	char *text;
	int n = asprintf(&text,
	                 "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	                 "Content-Type: application/json\r\nContent-Length: %zu\r\n"
	                 "\r\n%s",
	                 method, path, strlen(body), body);

	if (n < 0)
		give_up("asprintf");
	*len = (size_t)n;
	return text;
}

/* --- rate ------------------------------------------------------------------- */

struct client {
	pthread_t thread;
	uint16_t port;
	const char *request;
	size_t request_len;
	int64_t end_us;
	struct figures took;
	size_t bad;
};

static void *client_run(void *arg)
{
	struct client *c = arg;
	struct wire w;
	int64_t began;

	wire_connect(&w, c->port);
	for (began = now_us(); began < c->end_us; began = now_us()) {
		struct head h;

		wire_send(&w, c->request, c->request_len);
		h = wire_head(&w);
		wire_body(&w, &h, NULL, NULL);
		figures_add(&c->took, now_us() - began);
		c->bad += h.status / 100 != 2;
	}
	close(w.fd);
	return NULL;
}

static int rate(char **argv)
{
	static struct client clients[CLIENTS_MAX];
	struct figures all = { 0 };
	int64_t start = now_us(), seconds = strtol(argv[5], NULL, 10);
	size_t count = strtoul(argv[4], NULL, 10), bad = 0, least = SIZE_MAX, len;
	char *request = request_text(argv[1], argv[2], argv[3], &len);

	if (count < 1 || count > CLIENTS_MAX)
		return 64;
	for (size_t i = 0; i < count; i++) {
		struct client *c = &clients[i];

		c->port = (uint16_t)atoi(argv[0]);
		c->request = request;
		c->request_len = len;
		c->end_us = start + seconds * 1000000;
		if (pthread_create(&c->thread, NULL, client_run, c) != 0)
			give_up("pthread_create");
	}
	for (size_t i = 0; i < count; i++) {
		struct client *c = &clients[i];

		pthread_join(c->thread, NULL);
		bad += c->bad;
		if (c->took.count < least)
			least = c->took.count;
		figures_join(&all, &c->took);
	}
	printf("{\"per_s\":%.1f,\"bad\":%zu,\"least_of_a_client\":%zu,",
	       (double)all.count * 1e6 / (double)(now_us() - start), bad, least);
	figures_print(&all, "us");
	printf("}\n");
	figures_done(&all);
	free(request);
	return 0;
}

/* --- lines ------------------------------------------------------------------ */

struct stream {
	struct figures *late; /* each line: receipt - created_at */
	char line[4096];      /* the one that is coming; a longer one is cut */
	size_t len;
};

static int64_t wall_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The line's "created_at":"2026-11-20T18:00:00.123456789Z", -1 if it has none. */
static int64_t created_us(const char *line)
{
	static const char key[] = "\"created_at\":\"";
	const char *at = strstr(line, key), *rest;
	struct tm tm = { 0 };
	double fraction = 0;

	if (!at || !(rest = strptime(at + strlen(key), "%Y-%m-%dT%H:%M:%S", &tm)))
		return -1;
	if (*rest == '.')
		fraction = strtod(rest, NULL);
	return (int64_t)timegm(&tm) * 1000000 + (int64_t)(fraction * 1e6);
}

static void stream_piece(void *ctx, const char *bytes, size_t len)
{
	struct stream *s = ctx;
	int64_t now = wall_us();

	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != '\n') {
			if (s->len + 1 < sizeof(s->line))
				s->line[s->len++] = bytes[i];
			continue;
		}
		s->line[s->len] = '\0';
		s->len = 0;
		if (created_us(s->line) >= 0)
			figures_add(s->late, now - created_us(s->line));
	}
}

static int lines(char **argv)
{
	struct figures first = { 0 }, late = { 0 };
	size_t len, bad = 0;
	char *request = request_text("POST", argv[1], argv[2], &len);
	long times = strtol(argv[3], NULL, 10);

	for (long i = 0; i < times; i++) {
		struct stream s = { .late = &late };
		struct wire w;
		struct head h;
		int64_t began;

		wire_connect(&w, (uint16_t)atoi(argv[0]));
		began = now_us();
		wire_send(&w, request, len);
		h = wire_head(&w);
		figures_add(&first, now_us() - began);
		wire_body(&w, &h, stream_piece, &s);
		bad += h.status / 100 != 2;
		close(w.fd);
	}
	printf("{\"bad\":%zu,", bad);
	figures_print(&first, "first_byte_us");
	printf(",");
	figures_print(&late, "late_us");
	printf("}\n");
	figures_done(&first);
	figures_done(&late);
	free(request);
	return 0;
}

/* --- park -------------------------------------------------------------------- */

static int park(char **argv)
{
	static struct wire w; /* for one after the other: only the sockets stay */
	long count = strtol(argv[3], NULL, 10);
	size_t len;
	char *request = request_text("POST", argv[1], argv[2], &len), byte;

	for (long i = 0; i < count; i++) {
		wire_connect(&w, (uint16_t)atoi(argv[0]));
		wire_send(&w, request, len);
	}
	free(request);
	printf("{\"parked\":%ld}\n", count);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 8 && strcmp(argv[1], "rate") == 0)
		return rate(argv + 2);
	if (argc == 6 && strcmp(argv[1], "lines") == 0)
		return lines(argv + 2);
	if (argc == 6 && strcmp(argv[1], "park") == 0)
		return park(argv + 2);
	fprintf(stderr, "usage: load rate PORT METHOD PATH BODY CLIENTS SECONDS\n"
	                "       load lines PORT PATH BODY TIMES\n"
	                "       load park PORT PATH BODY COUNT\n");
	return 64;
}
