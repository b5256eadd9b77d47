/*
 * xfer.h - one HTTP exchange with the target or a webhook receiver: the one
 * door to libcurl.
 *
 * Two ways to run it: inside a loop (xfer_start, in hub.h), or blocking
 * (xfer_call) for a responder's thread. Each uses a fresh connection that is not reused, for on
 * a reused one libcurl silently sends a POST again; only a blocking exchange
 * that is `repeatable` may use the one before's. Never a proxy, a redirect, a
 * signal, a decoded body, or a guess.
 */
#ifndef FOREMAN_HTTP_XFER_H
#define FOREMAN_HTTP_XFER_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct guard;

struct xfer_ask {
	const char *method;          /* "GET", "HEAD", "POST" … */
	const char *url;
	const char *const *headers;  /* "Name: value", NULL at the end; may be NULL.
	                                Sent as they are, and none else but Host,
	                                Content-Length and, if not among them, a
	                                User-Agent; a bare "User-Agent:" sends none */
	struct span header_lines;    /* more of them, "Name: value\n" each; or absent */
	struct span body;            /* absent: none; else sent with Content-Length */
	/* Instead of `body`, one that is not held in memory: called for each next
	 * piece of at most `max` bytes; 0: the end; -1: give up (XFER_STOPPED). It
	 * may block, so only in xfer_call. NULL: none. */
	int64_t (*upload)(void *arg, void *to, size_t max);
	int64_t upload_size;         /* -1: not known, then sent in chunks */
	int connect_ms;
	int total_ms;                /* 0: no limit; silence is legitimate */
	int dead_ms;                 /* TCP keepalive and TCP_USER_TIMEOUT; 0: off */
	const struct guard *guard;   /* every address connected to must pass; or NULL */
	/* It does no harm if the server sees it twice: xfer_call may send it on the
	 * connection the line has kept and, if that dies before a line of the reply,
	 * once more on a fresh one; then keeps the connection. Without `upload` and
	 * `guard`. In a loop it means nothing. */
	bool repeatable;
};                               /* all of it must outlive the exchange */

/* The reply's head, once: header lines "Name: value\n" without hop-by-hop
 * headers (Connection, Keep-Alive, TE, Trailer, Transfer-Encoding, Upgrade,
 * Proxy-*). Interim 1xx replies are not shown. */
struct xfer_head {
	int status;
	struct span headers;
	int64_t content_length;      /* -1: not told */
	char content_type[128];      /* "" if none */
};

enum xfer_outcome {
	XFER_OK,          /* a whole HTTP reply, of whatever status */
	XFER_UNREACHABLE, /* nothing was sent: no address, refused, no route, asleep */
	XFER_LOST,        /* sent, then the connection died before the reply's end */
	XFER_TIMEOUT,     /* total_ms over */
	XFER_STOPPED,     /* a callback said so, or xfer_stop */
	XFER_DENIED,      /* the guard refused the address */
	XFER_NONSENSE,    /* not HTTP, or over LIMIT_HEAD of headers */
	XFER_FAILED       /* our own doing: memory, descriptors, TLS set-up */
};

struct xfer_result {
	enum xfer_outcome outcome;
	int status;                  /* 0 when no head came */
	bool refused;                /* UNREACHABLE because something said no at once */
	int64_t total_ms;
	struct errtext why;          /* for anything but XFER_OK */
};

struct xfer_calls {
	bool (*head)(void *arg, const struct xfer_head *head); /* false: stop */
	bool (*body)(void *arg, const void *p, size_t len);    /* false: stop */
	/* loop only; the last call, the xfer is gone after it */
	void (*done)(void *arg, const struct xfer_result *result);
};

/* Once per process, before threads. */
enum err xfer_global_init(void) MUST_CHECK;
const char *xfer_curl_version(void);

/* A responder thread's handle: keeps what is costly to make, and for repeatable
 * requests one connection. */
struct xfer_line;
struct xfer_line *xfer_line_new(void);
void xfer_line_free(struct xfer_line *line);
/* How long the kept connection may yet lie idle, of LIMIT_KEPT_IDLE_MS; -1: none
 * is kept. When that time is over, xfer_line_rest closes it; so does the next
 * exchange, and when this host slept in between: the peer may be gone without
 * our having heard. */
int xfer_line_idle_ms(const struct xfer_line *line);
void xfer_line_rest(struct xfer_line *line);
/* Blocks until the end; calls head and body on the way. */
void xfer_call(struct xfer_line *line, const struct xfer_ask *ask,
               const struct xfer_calls *calls, void *arg, struct xfer_result *out);

#endif
