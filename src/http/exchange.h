/*
 * exchange.h - one exchange on a libcurl handle: what it asks, what its
 * callbacks are told, what its end means. For hub.c and xfer.c, which differ in
 * who drives the handle.
 *
 *   exchange_init ──► the handle is driven to its end ──► exchange_judge
 *                 └─► exchange_done, before it or after it
 */
#ifndef FOREMAN_HTTP_EXCHANGE_H
#define FOREMAN_HTTP_EXCHANGE_H

#include <curl/curl.h>

#include "base/attr.h"
#include "base/buf.h"
#include "http/xfer.h"

struct exchange {            /* embed it; its fields are exchange.c's own */
	struct xfer_ask ask;
	struct xfer_calls calls;
	void *arg;
	CURL *easy;              /* lent */
	bool keep;               /* ... and its connection may be an old one */
	CURLU *url;
	struct curl_slist *headers;
	char *host;              /* of the URL, for the guard */
	char curl_says[CURL_ERROR_SIZE];
	struct buf head;         /* the reply's header lines, "…\n" each */
	size_t head_seen;        /* bytes of all heads, interim ones too */
	int status;              /* of the final head */
	bool head_given;
	bool stopped;            /* by a callback, or exchange_stop */
	bool nonsense;
	bool opened;             /* at least one address was tried */
	bool no_socket;          /* the system gave us none */
	bool denied;
	struct errtext denied_why;
};

/* Set the handle up, which points to *x from here on: it must be reset or
 * cleaned up before x goes. `keep`: it may use the connection it has kept, and
 * keep this one. ERR_INVAL: what is asked cannot be; exchange_done it then too. */
enum err exchange_init(struct exchange *x, CURL *easy, const struct xfer_ask *ask,
                       const struct xfer_calls *calls, void *arg, bool keep,
                       struct errtext *why) MUST_CHECK;
void exchange_done(struct exchange *x);

/* No head or body is told any more; libcurl gives up where it asks next. */
void exchange_stop(struct exchange *x);

/* What came of it, by what libcurl says; while the handle has its answers. */
void exchange_judge(const struct exchange *x, CURLcode rc, struct xfer_result *out);

/* It cannot go on, for a reason of ours. */
void exchange_fail(const struct exchange *x, const char *why,
                   struct xfer_result *out);

#endif
