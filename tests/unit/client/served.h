/*
 * served.h - a service for the client's tests: it hears requests and says what
 * the test told it to, a reply a request, the last one again and again.
 *
 *   served_up();
 *   served_says(200, "Retry-After: 1\r\n", "{…}");
 *   foreman *f = foreman_new(served_url(), NULL);
 *   …; CHECK_INT(served_count(), 1); CHECK(strstr(served_heard(0), "…"));
 *   foreman_free(f); served_down();
 */
#ifndef FOREMAN_TESTS_SERVED_H
#define FOREMAN_TESTS_SERVED_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/fd.h"
#include "t.h"

#define SERVED_MAX 16
#define SERVED_HEARD_MAX 512
#define SERVED_ID "01M7XTZDW58JFZWPE0P2PW2C7G"
/* a job object, as far as the client reads it */
#define SERVED_JOB(state, rest)                                                    \
	"{\"id\":\"" SERVED_ID "\",\"state\":\"" state "\"" rest "}"
#define SERVED_DONE SERVED_JOB("done", ",\"terminal\":true")
#define SERVED_QUEUED SERVED_JOB("queued", ",\"terminal\":false")

static struct {
	int fd;
	char url[64];
	pthread_t thread;
	pthread_mutex_t lock;
	struct buf replies[SERVED_MAX];
	size_t reply_count, replied;
	struct buf heard[SERVED_HEARD_MAX];
	size_t heard_count;
} served;

static inline void served_must(bool ok, const char *what)
{
	if (ok)
		return;
	printf("Bail out! served: %s\n", what);
	fflush(stdout);
	abort();
}

#define SERVED_MUST(cond) served_must((cond), #cond)

static inline bool served_whole(struct buf *b)
{
	const char *text = buf_str(b), *end = text ? strstr(text, "\r\n\r\n") : NULL;
	const char *length = text ? strcasestr(text, "\r\nContent-Length:") : NULL;

	return end && (size_t)(end + 4 - text) +
	                      (length ? strtoul(length + 17, NULL, 10) : 0) <=
	                  b->len;
}

static inline void served_one(int fd)
{
	struct buf heard;
	struct span reply = { NULL, 0 };
	char chunk[4096];
	ssize_t n = 1;

	buf_init(&heard, 1 << 20);
	while (!served_whole(&heard) && (n = read(fd, chunk, sizeof(chunk))) > 0)
		SERVED_MUST(!buf_add(&heard, chunk, (size_t)n));
	pthread_mutex_lock(&served.lock);
	SERVED_MUST(served.heard_count < SERVED_HEARD_MAX);
	served.heard[served.heard_count++] = heard;
	if (served.reply_count > 0) {
		struct buf *b = &served.replies[served.replied];

		reply = (struct span){ b->p, b->len };
		served.replied += served.replied + 1 < served.reply_count;
	}
	pthread_mutex_unlock(&served.lock);
	/* who has gone has gone */
	if (reply.len && fd_write_all(fd, reply.p, reply.len, -1))
		return;
	shutdown(fd, SHUT_WR);
}

static inline void *served_main(void *arg)
{
	int fd;

	(void)arg;
	while ((fd = accept4(served.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		served_one(fd);
		close(fd);
	}
	return NULL; /* shut down by served_down */
}

static inline void served_up(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);

	memset(&served, 0, sizeof(served));
	pthread_mutex_init(&served.lock, NULL);
	served.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SERVED_MUST(!bind(served.fd, (struct sockaddr *)&a, sizeof(a)));
	SERVED_MUST(!getsockname(served.fd, (struct sockaddr *)&a, &size));
	SERVED_MUST(!listen(served.fd, 64));
	snprintf(served.url, sizeof(served.url), "http://127.0.0.1:%d",
	         ntohs(a.sin_port));
	SERVED_MUST(!pthread_create(&served.thread, NULL, served_main, NULL));
}

static inline void served_down(void)
{
	shutdown(served.fd, SHUT_RDWR);
	pthread_join(served.thread, NULL);
	close(served.fd);
	for (size_t i = 0; i < served.reply_count; i++)
		buf_done(&served.replies[i]);
	for (size_t i = 0; i < served.heard_count; i++)
		buf_done(&served.heard[i]);
	pthread_mutex_destroy(&served.lock);
}

static inline const char *served_url(void)
{
	return served.url;
}

/* Bytes as they are; "" closes the connection without a word. */
static inline void served_says_raw(const char *bytes)
{
	struct buf *b;

	pthread_mutex_lock(&served.lock);
	SERVED_MUST(served.reply_count < SERVED_MAX);
	b = &served.replies[served.reply_count++];
	buf_init(b, 128u << 20);
	SERVED_MUST(!buf_add_str(b, bytes));
	pthread_mutex_unlock(&served.lock);
}

static inline void served_says(int status, const char *headers, const char *body)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	SERVED_MUST(!buf_addf(&b, "HTTP/1.1 %d Word\r\n%sContent-Length: %zu\r\n\r\n%s",
	                      status, headers, strlen(body), body));
	served_says_raw(buf_str(&b));
	buf_done(&b);
}

/* How many requests came. */
static inline size_t served_count(void)
{
	size_t count;

	pthread_mutex_lock(&served.lock);
	count = served.heard_count;
	pthread_mutex_unlock(&served.lock);
	return count;
}

/* Request `i`, as text; "" if there was none. */
static inline const char *served_heard(size_t i)
{
	const char *text;

	pthread_mutex_lock(&served.lock);
	text = i < served.heard_count ? buf_str(&served.heard[i]) : "";
	pthread_mutex_unlock(&served.lock);
	return text ? text : "";
}

/* Its body. */
static inline const char *served_body(size_t i)
{
	const char *end = strstr(served_heard(i), "\r\n\r\n");

	return end ? end + 4 : "";
}

/* Does it begin with this request line ("GET /jobs")? */
static inline bool served_asked(size_t i, const char *line)
{
	size_t len = strlen(line);

	return strncmp(served_heard(i), line, len) == 0 && served_heard(i)[len] == ' ';
}

#endif
