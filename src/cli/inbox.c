/*
 * inbox.c - a receiver of webhooks for looking at them.
 *
 * The least HTTP that foreman's deliveries need: one request a connection, with
 * a Content-Length. One at a time, each bounded in size and time, so that
 * whoever connects by mistake holds it up for seconds only; what they send is
 * made harmless before it is printed.
 */
#include <config.h>

#include "cli/inbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/screen.h"
#include "core/signature.h"

#define HEAD_MAX 16384
#define BODY_MAX (96u * 1024 * 1024) /* a job with FOREMAN_MAX_RESPONSE inline */
#define PATIENCE_S 10                /* with a peer that says nothing */
#define PATIENCE_MAX_MS 60000        /* with one that is slow */

struct delivery {
	char id[160];
	char timestamp[32];
	char signature[1024];
	size_t length;
	bool has_length;
	struct buf bytes; /* head and body */
	size_t head;      /* the head's length in it; 0: not whole yet */
};

static int listen_on(unsigned port)
{
	int on = 1, off = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 at = { .sin6_family = AF_INET6,
		                       .sin6_port = htons((uint16_t)port) };

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 16) == 0)
		return fd;
	close(fd);
	return -1;
}

static void take_header(struct delivery *d, struct span name, struct span value)
{
	struct {
		const char *name;
		char *to;
		size_t size;
	} const wanted[] = {
		{ "webhook-id", d->id, sizeof(d->id) },
		{ "webhook-timestamp", d->timestamp, sizeof(d->timestamp) },
		{ "webhook-signature", d->signature, sizeof(d->signature) },
	};
	uint64_t n;

	if (span_eq_nocase(name, "content-length") && !str_u64(value, &n)) {
		d->has_length = n <= BODY_MAX;
		d->length = (size_t)n;
	}
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		if (span_eq_nocase(name, wanted[i].name) && value.len < wanted[i].size) {
			memcpy(wanted[i].to, value.p, value.len);
			wanted[i].to[value.len] = '\0';
		}
}

static void read_head(struct delivery *d)
{
	const char *end = memmem(d->bytes.p, d->bytes.len, "\r\n\r\n", 4);
	struct span rest, line, name;

	if (!end)
		return;
	d->head = (size_t)(end - d->bytes.p) + 4;
	rest = (struct span){ d->bytes.p, d->head };
	while (span_cut(&rest, '\n', &line))
		if (span_cut(&line, ':', &name) && line.p)
			take_header(d, span_trim(name), span_trim(line));
}

/* 0, or the status of what is wrong with it; -1: it went away. */
static int receive(int fd, struct delivery *d)
{
	int64_t end_ms = clock_mono_ms() + PATIENCE_MAX_MS;

	while (!d->head || d->bytes.len < d->head + d->length) {
		char *to = buf_reserve(&d->bytes, 16384);
		ssize_t got = to ? read(fd, to, 16384) : 0;

		if (!to)
			return 413;
		if (clock_mono_ms() > end_ms)
			return 408;
		if (got <= 0)
			return -1;
		buf_commit(&d->bytes, (size_t)got);
		if (d->head)
			continue;
		read_head(d);
		if (d->head && !d->has_length)
			return 411;
		if (!d->head && d->bytes.len > HEAD_MAX)
			return 431;
	}
	return 0;
}

static void print_delivery(const struct delivery *d, struct span body, bool json)
{
	cJSON *tree = NULL;
	char type[64], hook[96], id[64], reason[96];
	const cJSON *job;

	if (json || json_parse(body, &tree, NULL)) {
		printf("%.*s\n", (int)body.len, body.p);
		return;
	}
	job = cli_member(cli_member(tree, "data"), "job");
	screen_fit(cli_text(tree, "type"), 12, type, sizeof(type));
	screen_fit(d->id[0] ? d->id : NULL, 40, hook, sizeof(hook));
	screen_fit(cli_text(job, "id"), 26, id, sizeof(id));
	screen_fit(cli_text(job, "reason"), 20, reason, sizeof(reason));
	printf("%s  %-12s %s %s%s%s\n", hook, type, id,
	       d->signature[0] ? "signed" : "unsigned",
	       cli_text(job, "reason") ? ", " : "",
	       cli_text(job, "reason") ? reason : "");
	cJSON_Delete(tree);
}

static int judge(const struct delivery *d, const char *secrets, struct span body)
{
	uint64_t timestamp;

	if (!secrets)
		return 204;
	if (str_u64(span_of(d->timestamp), &timestamp) || timestamp > INT64_MAX)
		return 400;
	if (signature_check(secrets, d->id, (int64_t)timestamp, body,
	                    span_of(d->signature)))
		return 401;
	return 204;
}

static void answer(int fd, int status)
{
	char text[96];
	int len = snprintf(text, sizeof(text),
	                   "HTTP/1.1 %d %s\r\nContent-Length: 0\r\n"
	                   "Connection: close\r\n\r\n",
	                   status, status == 204 ? "No Content" : "Refused");

	/* who has gone has gone */
	if (write(fd, text, (size_t)len) == len)
		shutdown(fd, SHUT_WR);
}

/* False: nobody reads what is printed. */
static bool serve(int fd, const char *secrets, bool json)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	struct delivery d = { 0 };
	char hook[96];
	struct span body;
	int status;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	buf_init(&d.bytes, BODY_MAX + HEAD_MAX);
	status = receive(fd, &d);
	if (status == 0) {
		body = (struct span){ d.bytes.p + d.head, d.length };
		status = judge(&d, secrets, body);
		if (status == 204)
			print_delivery(&d, body, json);
		else
			cli_say(
			    0, "%s: its signature does not fit",
			    screen_fit(d.id[0] ? d.id : "a request", 40, hook, sizeof(hook)));
	}
	if (status > 0)
		answer(fd, status);
	buf_done(&d.bytes);
	close(fd);
	return cli_flushed(stdout);
}

int inbox_serve(unsigned port, const char *secrets, bool json)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6 };
	socklen_t len = sizeof(at);
	int fd = listen_on(port);

	if (fd < 0 || getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		return cli_say(EX_OSERR, "cannot listen on port %u: %s", port,
		               strerror(errno));
	fprintf(stderr, "listening on http://localhost:%u/\n",
	        (unsigned)ntohs(at.sin6_port));
	for (;;) {
		int one = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (one >= 0 && !serve(one, secrets, json))
			return cli_lost(stdout);
		if (one < 0 && errno != EINTR && errno != ECONNABORTED)
			return cli_say(EX_OSERR, "cannot accept: %s", strerror(errno));
	}
}
