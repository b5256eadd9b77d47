/*
 * fcgx.c - one FCGX_Request at a time, and what the library must not do.
 *
 * We accept the connection ourselves (close-on-exec, never blocking) and give
 * it to the library, which then only reads parameters and body and writes
 * records: its own accept loop waits, retries and cannot be stopped. A request
 * lives on the heap, for its streams point back into it.
 * After a body was read in full, whatever comes on the connection is its end.
 * Not here: answering without blocking (stream.h), what an answer says.
 */
#include <config.h>

#include "fcgi/fcgx.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <fcgiapp.h>

#include "base/fd.h"
#include "fcgi/stream.h"

#define BODY_STEP (64 * 1024)

/* What the library waits for a peer to close after our last byte; its own
 * default of 2 s would hold a thread that long behind a stuck web server. */
#define CLOSE_WAIT_MS "200"

struct fcgx {
	FCGX_Request req;
	bool head_only; /* a HEAD request: no body goes out */
	bool answered;
	uint64_t pieces; /* bytes of the body that fcgx_read has given */
	bool read_out;  /* the body was read to the peer's end of it */
};

enum err fcgx_init(void)
{
	/* the library puts handlers on these three, whatever was there */
	static const int taken[] = { SIGPIPE, SIGTERM, SIGUSR1 };
	struct sigaction before[ARRAY_LEN(taken)];
	int rc;

	if (setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", CLOSE_WAIT_MS, 0) != 0)
		return ERR_NOMEM;
	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		if (sigaction(taken[i], NULL, &before[i]) != 0)
			return ERR_IO;
	rc = FCGX_Init();
	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		if (sigaction(taken[i], &before[i], NULL) != 0)
			return ERR_IO;
	return rc == 0 ? ERR_OK : ERR_IO;
}

/* --- accepting ------------------------------------------------------------- */

static enum err accept_one(int listen_fd, int *out)
{
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
	socklen_t len;
	int fd;

	do {
		len = sizeof(peer);
		fd = accept4(listen_fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		return errno == EAGAIN ? ERR_AGAIN : ERR_IO;
	if (peer.ss_family == AF_INET || peer.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	*out = fd;
	return ERR_OK;
}

/* 0: for ever. A failure is seen by the read it should have bounded. */
static void bound_reads(int fd, int ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

enum err fcgx_accept(int listen_fd, struct fcgx **out)
{
	struct fcgx *r;
	const char *method;
	enum err e;
	int fd;

	e = accept_one(listen_fd, &fd);
	if (e)
		return e;
	r = calloc(1, sizeof(*r));
	/* No listening socket of its own: where the library would go back to
	 * accept the next connection, it returns an error instead. */
	if (!r || FCGX_InitRequest(&r->req, -1, 0) != 0) {
		free(r);
		fd_close(&fd);
		return ERR_NOMEM;
	}
	bound_reads(fd, FCGX_PARAMS_MS);
	/* "Kept from the request before" is how it takes a connection it has not
	 * accepted. */
	r->req.ipcFd = fd;
	r->req.keepConnection = 1;
	if (FCGX_Accept_r(&r->req) != 0) {
		free(r); /* the library closed the connection */
		return ERR_CLOSED;
	}
	/* It takes parameters that break off between two for their end. */
	if (FCGX_GetError(r->req.in) != 0) {
		FCGX_Free(&r->req, 1);
		free(r);
		return ERR_CLOSED;
	}
	bound_reads(fd, 0);
	/* One request a connection: a kept one would lie where nobody looks. */
	r->req.keepConnection = 0;
	method = fcgx_param(r, "REQUEST_METHOD");
	r->head_only = method && strcmp(method, "HEAD") == 0;
	*out = r;
	return ERR_OK;
}

const char *fcgx_param(const struct fcgx *r, const char *name)
{
	return FCGX_GetParam(name, r->req.envp);
}

/* --- the body -------------------------------------------------------------- */

/* Read what is left and drop it; how many bytes. */
static uint64_t drain(FCGX_Stream *in)
{
	char *waste = malloc(BODY_STEP);
	char little[512];
	char *to = waste ? waste : little;
	int size = waste ? BODY_STEP : (int)sizeof(little);
	uint64_t total = 0;
	int n;

	do {
		n = FCGX_GetStr(to, size, in);
		total += (uint64_t)n;
	} while (n == size);
	free(waste);
	return total;
}

/* Read into `b` up to its bound; *ended: the peer's end was reached. */
static enum err read_up_to_max(FCGX_Stream *in, struct buf *b, bool *ended)
{
	*ended = false;
	while (b->len < b->max && !*ended) {
		size_t room = b->max - b->len;
		size_t step = room < BODY_STEP ? room : BODY_STEP;
		char *to = buf_reserve(b, step);
		int n;

		if (!to)
			return ERR_NOMEM;
		n = FCGX_GetStr(to, (int)step, in);
		buf_commit(b, (size_t)n);
		*ended = (size_t)n < step;
	}
	return ERR_OK;
}

int64_t fcgx_length(const struct fcgx *r)
{
	uint64_t said;

	/* "-1" and "" are how web servers say that they do not know */
	if (str_u64(span_of(fcgx_param(r, "CONTENT_LENGTH")), &said) != ERR_OK ||
	    said > INT64_MAX)
		return -1;
	return (int64_t)said;
}

enum err fcgx_read(struct fcgx *r, void *to, size_t max, size_t *got)
{
	FCGX_Stream *in = r->req.in;
	int64_t said = fcgx_length(r);
	int n;

	assert(max <= INT32_MAX);
	n = FCGX_GetStr(to, (int)max, in);
	r->pieces += (uint64_t)n;
	if (FCGX_GetError(in) != 0)
		return ERR_CLOSED;
	if ((size_t)n < max && said >= 0 && (uint64_t)said != r->pieces)
		return ERR_CLOSED;
	*got = (size_t)n;
	return ERR_OK;
}

enum err fcgx_body(struct fcgx *r, struct buf *b)
{
	FCGX_Stream *in = r->req.in;
	int64_t said = fcgx_length(r);
	uint64_t extra = 0;
	bool ended;
	enum err e;

	buf_clear(b);
	e = read_up_to_max(in, b, &ended);
	if (!ended)
		extra = drain(in);
	if (FCGX_GetError(in) != 0)
		return ERR_CLOSED;
	r->read_out = true;
	if (said >= 0 && (uint64_t)said != b->len + extra)
		return ERR_CLOSED;
	if (e)
		return e;
	return extra ? ERR_TOOBIG : ERR_OK;
}

/* --- the answer ------------------------------------------------------------ */

static enum err put(struct fcgx *r, const char *p, size_t len)
{
	while (len) {
		int n = len < INT32_MAX ? (int)len : INT32_MAX;

		if (FCGX_PutStr(p, n, r->req.out) != n)
			return ERR_CLOSED;
		p += n;
		len -= (size_t)n;
	}
	return ERR_OK;
}

enum err fcgx_head(struct fcgx *r, int status, const char *content_type,
                   struct span headers)
{
	struct buf text;
	enum err e;

	assert(!r->answered);
	buf_init(&text, STREAM_HEAD_MAX);
	e = stream_head_text(&text, status, content_type, headers);
	if (!e) {
		r->answered = true;
		e = put(r, text.p, text.len);
	}
	buf_done(&text);
	return e;
}

enum err fcgx_add(struct fcgx *r, const void *p, size_t len)
{
	assert(r->answered);
	return r->head_only ? ERR_OK : put(r, p, len);
}

enum err fcgx_write(struct fcgx *r, const void *p, size_t len)
{
	enum err e = fcgx_add(r, p, len);

	/* a stream that failed before flushes "well", so ask it */
	if (!e && (FCGX_FFlush(r->req.out) != 0 || FCGX_GetError(r->req.out) != 0))
		e = ERR_CLOSED;
	return e;
}

enum err fcgx_reply(struct fcgx *r, int status, const char *content_type,
                    struct span headers, struct span body)
{
	struct buf lines;
	enum err e = ERR_OK;

	buf_init(&lines, STREAM_HEAD_MAX);
	if (status != 204 && status != 304)
		e = buf_addf(&lines, "Content-Length: %zu\n", body.len);
	if (!e && headers.len)
		e = buf_add(&lines, headers.p, headers.len);
	if (!e)
		e = fcgx_head(r, status, content_type,
		              (struct span){ lines.p, lines.len });
	if (!e && !r->head_only)
		e = put(r, body.p, body.len);
	buf_done(&lines);
	return e;
}

/*
 * The library half-closes and then waits for the peer to close as well, for
 * bytes the peer has sent and nobody has read would turn our close into a
 * reset, and the answer might be lost with it. When all was read there is
 * nothing to wait for: "keep" makes it leave the connection to us.
 */
void fcgx_finish(struct fcgx *r)
{
	int fd;

	if (!r)
		return;
	fd = r->req.ipcFd;
	if (r->read_out)
		r->req.keepConnection = 1;
	FCGX_Finish_r(&r->req);
	if (r->req.ipcFd == fd) /* else it met an error and has closed */
		fd_close(&fd);
	free(r);
}

enum err fcgx_detach(struct fcgx *r, int *fd, int *id)
{
	enum err e;

	assert(!r->answered);
	e = fd_nonblock(r->req.ipcFd, true);
	if (e)
		return e;
	*fd = r->req.ipcFd;
	*id = r->req.requestId;
	FCGX_Free(&r->req, 0);
	free(r);
	return ERR_OK;
}
