/*
 * exchange.c - one exchange: how libcurl is asked, what its end means.
 *
 * The same in a loop and blocking: options, callbacks, verdict. All that
 * libcurl holds of an exchange stands in its struct; the handle is lent.
 * Each uses a fresh connection, unless the handle may keep one.
 * Refused: a header line with a line break in it, a URL without its scheme,
 * interim replies without end, more than LIMIT_HEAD of headers.
 */
#include <config.h>

#include "http/exchange.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/header.h"
#include "core/limits.h"
#include "http/guard.h"

#define DNS_CACHE_S 5L    /* a laptop's address changes; a name need not be asked
                             for every webhook of a burst */

/* --- the reply's head ------------------------------------------------------ */

static bool give_head(struct exchange *x)
{
	struct xfer_head head = { .status = x->status, .content_length = -1 };
	struct buf lines;
	struct span value;
	uint64_t length;

	x->head_given = true;
	buf_init(&lines, 2 * LIMIT_HEAD); /* "a:b" grows by a blank */
	if (header_pass_on((struct span){ x->head.p, x->head.len }, &lines)) {
		buf_done(&lines);
		return false;
	}
	head.headers = (struct span){ lines.p, lines.len };
	value = header_find(head.headers, "content-length");
	if (value.p && str_u64(value, &length) == ERR_OK && length <= INT64_MAX)
		head.content_length = (int64_t)length;
	(void)header_copy(head.headers, "content-type", head.content_type,
	                  sizeof(head.content_type));
	if (x->calls.head && !x->calls.head(x->arg, &head))
		x->stopped = true;
	buf_done(&lines);
	return !x->stopped;
}

/* A line of a head, without its line break. */
static bool take_head_line(struct exchange *x, struct span line)
{
	long status = 0;

	if (line.len >= 5 && memcmp(line.p, "HTTP/", 5) == 0) {
		buf_clear(&x->head);
		return true;
	}
	if (line.len) {
		/* a folded line continues the one before */
		if ((*line.p == ' ' || *line.p == '\t') && x->head.len)
			x->head.p[x->head.len - 1] = ' ';
		return !buf_add(&x->head, line.p, line.len) &&
		       !buf_add_str(&x->head, "\n");
	}
	curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status == 101) { /* nobody asked for another protocol */
		x->nonsense = true;
		return false;
	}
	if (status < 200)
		return true;
	x->status = (int)status;
	return give_head(x);
}

static size_t on_header(char *p, size_t size, size_t count, void *arg)
{
	struct exchange *x = arg;
	struct span line = { p, size * count };

	if (x->head_given) /* trailers */
		return size * count;
	x->head_seen += line.len;
	if (x->head_seen > LIMIT_HEAD) {
		x->nonsense = true;
		return CURL_WRITEFUNC_ERROR;
	}
	while (line.len && (p[line.len - 1] == '\n' || p[line.len - 1] == '\r'))
		line.len--;
	if (x->stopped || !take_head_line(x, line))
		return CURL_WRITEFUNC_ERROR;
	return size * count;
}

static size_t on_body(char *p, size_t size, size_t count, void *arg)
{
	struct exchange *x = arg;

	if (!x->stopped && x->calls.body && !x->calls.body(x->arg, p, size * count))
		x->stopped = true;
	return x->stopped ? CURL_WRITEFUNC_ERROR : size * count;
}

/* --- the body of the request ------------------------------------------------ */

static size_t on_upload(char *to, size_t size, size_t count, void *arg)
{
	struct exchange *x = arg;
	int64_t n = x->stopped ? -1 : x->ask.upload(x->arg, to, size * count);

	if (n >= 0)
		return (size_t)n;
	x->stopped = true;
	return CURL_READFUNC_ABORT;
}

/* --- sockets --------------------------------------------------------------- */

static curl_socket_t on_open(void *arg, curlsocktype purpose,
                             struct curl_sockaddr *addr)
{
	struct exchange *x = arg;
	int fd;

	(void)purpose;
	if (x->ask.guard && !guard_allows(x->ask.guard, x->host, &addr->addr,
	                                  &x->denied_why)) {
		x->denied = true;
		return CURL_SOCKET_BAD;
	}
	fd = socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
	if (fd < 0)
		x->no_socket = errno != EAFNOSUPPORT;
	else
		x->opened = true;
	return fd;
}

static int on_socket_options(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	const struct exchange *x = arg;
	unsigned ms = (unsigned)x->ask.dead_ms;

	(void)purpose;
	/* keepalive notices a dead peer in silence, this one during an upload */
	if (ms && setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)) != 0)
		return CURL_SOCKOPT_ERROR;
	return CURL_SOCKOPT_OK;
}

/* --- asking ---------------------------------------------------------------- */

static bool asks_header(const struct xfer_ask *ask, const char *wanted)
{
	struct span name, value;

	for (const char *const *h = ask->headers; h && *h; h++)
		if (header_split(span_of(*h), &name, &value) &&
		    span_eq_nocase(name, wanted))
			return true;
	return header_find(ask->header_lines, wanted).p != NULL;
}

static enum err add_header(struct exchange *x, const char *line)
{
	struct curl_slist *more = curl_slist_append(x->headers, line);

	if (!more)
		return ERR_NOMEM;
	x->headers = more;
	return ERR_OK;
}

/* One of the caller's; ERR_INVAL when it is none. */
static enum err add_asked(struct exchange *x, struct span line, struct errtext *why)
{
	struct span name, value;
	char *copy;
	enum err e;

	if (!header_split(line, &name, &value)) {
		errtext_set(why, "not a header line");
		return ERR_INVAL;
	}
	copy = span_dup(line);
	e = copy ? add_header(x, copy) : ERR_NOMEM;
	free(copy);
	return e;
}

/* The caller's headers, and no other: a bare "Name:" tells libcurl to leave
 * its own out. Without an Expect of ours it would wait a second for a 100. */
static enum err make_headers(struct exchange *x, struct errtext *why)
{
	static const char *const ours[] = { "Accept", "Content-Type", "Expect" };
	struct span lines = x->ask.header_lines, line;
	enum err e = ERR_OK;

	for (const char *const *h = x->ask.headers; !e && h && *h; h++)
		e = add_asked(x, span_of(*h), why);
	while (!e && lines.len && span_cut(&lines, '\n', &line))
		e = add_asked(x, line, why);
	if (!e && x->ask.upload && x->ask.upload_size < 0)
		e = add_header(x, "Transfer-Encoding: chunked");
	for (size_t i = 0; !e && i < ARRAY_LEN(ours); i++) {
		char bare[32];

		if (asks_header(&x->ask, ours[i]))
			continue;
		snprintf(bare, sizeof(bare), "%s:", ours[i]);
		e = add_header(x, bare);
	}
	if (!e && !asks_header(&x->ask, "User-Agent"))
		e = add_header(x, "User-Agent: foreman/" PACKAGE_VERSION);
	return e;
}

/* No guessing of schemes, and the path as it was written. */
static enum err make_url(struct exchange *x, struct errtext *why)
{
	CURLUcode rc;
	char *host;

	x->url = curl_url();
	if (!x->url)
		return ERR_NOMEM;
	rc = curl_url_set(x->url, CURLUPART_URL, x->ask.url, CURLU_PATH_AS_IS);
	if (!rc)
		rc = curl_url_get(x->url, CURLUPART_HOST, &host, 0);
	if (rc == CURLUE_OUT_OF_MEMORY)
		return ERR_NOMEM;
	if (rc) {
		errtext_set(why, "not a URL: %s", curl_url_strerror(rc));
		return ERR_INVAL;
	}
	x->host = host;
	return ERR_OK;
}

/* setopt fails for lack of memory, or where libcurl was built without. */
#define SET(x, option, value) \
	(failed |= curl_easy_setopt((x)->easy, (option), (value)) != CURLE_OK)

static bool set_method(struct exchange *x)
{
	bool failed = false;
	bool post = strcmp(x->ask.method, "POST") == 0;

	if (x->ask.upload) {
		SET(x, CURLOPT_POST, 1L);
		SET(x, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->ask.upload_size);
		SET(x, CURLOPT_READFUNCTION, on_upload);
		SET(x, CURLOPT_READDATA, x);
		if (!post)
			SET(x, CURLOPT_CUSTOMREQUEST, x->ask.method);
	} else if (post || x->ask.body.p) {
		SET(x, CURLOPT_POST, 1L);
		SET(x, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->ask.body.len);
		SET(x, CURLOPT_POSTFIELDS, x->ask.body.p ? x->ask.body.p : "");
		if (!post)
			SET(x, CURLOPT_CUSTOMREQUEST, x->ask.method);
	} else if (strcmp(x->ask.method, "HEAD") == 0) {
		SET(x, CURLOPT_NOBODY, 1L);
	} else {
		SET(x, CURLOPT_HTTPGET, 1L);
		SET(x, CURLOPT_CUSTOMREQUEST, x->ask.method);
	}
	return !failed;
}

static bool set_bounds(struct exchange *x)
{
	bool failed = false;
	long dead_s = x->ask.dead_ms / 1000;

	SET(x, CURLOPT_CONNECTTIMEOUT_MS, (long)x->ask.connect_ms);
	SET(x, CURLOPT_TIMEOUT_MS, (long)x->ask.total_ms);
	SET(x, CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S);
	SET(x, CURLOPT_TCP_NODELAY, 1L);
	if (!x->ask.dead_ms)
		return !failed;
	SET(x, CURLOPT_TCP_KEEPALIVE, 1L);
	SET(x, CURLOPT_TCP_KEEPIDLE, dead_s >= 4 ? dead_s / 4 : 1L);
	SET(x, CURLOPT_TCP_KEEPINTVL, dead_s >= 12 ? dead_s / 12 : 1L);
	return !failed;
}

static bool set_options(struct exchange *x)
{
	bool failed = false;

	SET(x, CURLOPT_CURLU, x->url);
	SET(x, CURLOPT_HTTPHEADER, x->headers);
	SET(x, CURLOPT_ERRORBUFFER, x->curl_says);
	SET(x, CURLOPT_HEADERFUNCTION, on_header);
	SET(x, CURLOPT_HEADERDATA, x);
	SET(x, CURLOPT_WRITEFUNCTION, on_body);
	SET(x, CURLOPT_WRITEDATA, x);
	SET(x, CURLOPT_OPENSOCKETFUNCTION, on_open);
	SET(x, CURLOPT_OPENSOCKETDATA, x);
	SET(x, CURLOPT_SOCKOPTFUNCTION, on_socket_options);
	SET(x, CURLOPT_SOCKOPTDATA, x);
	SET(x, CURLOPT_FRESH_CONNECT, x->keep ? 0L : 1L);
	SET(x, CURLOPT_FORBID_REUSE, x->keep ? 0L : 1L);
	SET(x, CURLOPT_MAXCONNECTS, 1L);
	SET(x, CURLOPT_NOSIGNAL, 1L);
	/* else a dead resolver's thread is waited for, and all else with it */
	SET(x, CURLOPT_QUICK_EXIT, 1L);
	SET(x, CURLOPT_PROXY, "");
	SET(x, CURLOPT_PROTOCOLS_STR, "http,https");
	SET(x, CURLOPT_FOLLOWLOCATION, 0L);
	SET(x, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(x, CURLOPT_HTTP09_ALLOWED, 0L);
	SET(x, CURLOPT_PATH_AS_IS, 1L);
	return !failed && set_method(x) && set_bounds(x);
}

void exchange_done(struct exchange *x)
{
	curl_slist_free_all(x->headers);
	curl_url_cleanup(x->url);
	curl_free(x->host);
	buf_done(&x->head);
}

enum err exchange_init(struct exchange *x, CURL *easy, const struct xfer_ask *ask,
                       const struct xfer_calls *calls, void *arg, bool keep,
                       struct errtext *why)
{
	enum err e;

	*x = (struct exchange){
		.ask = *ask, .calls = *calls, .arg = arg, .easy = easy, .keep = keep
	};
	assert(!ask->upload || !ask->body.p);
	buf_init(&x->head, 2 * LIMIT_HEAD);
	e = make_url(x, why);
	if (!e)
		e = make_headers(x, why);
	if (!e && !set_options(x))
		e = ERR_NOMEM;
	if (e == ERR_NOMEM)
		errtext_set(why, "out of memory");
	return e;
}

void exchange_stop(struct exchange *x)
{
	x->stopped = true;
}

/* --- the verdict ----------------------------------------------------------- */

static enum xfer_outcome unsent_outcome(const struct exchange *x, CURLcode rc)
{
	if (!x->opened && x->denied)
		return XFER_DENIED;
	if (!x->opened && x->no_socket)
		return XFER_FAILED;
	switch (rc) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
		return XFER_UNREACHABLE;
	default:
		return XFER_FAILED;
	}
}

static enum xfer_outcome sent_outcome(const struct exchange *x, CURLcode rc,
                                      long os_errno)
{
	switch (rc) {
	case CURLE_OPERATION_TIMEDOUT:
		return XFER_TIMEOUT;
	case CURLE_RECV_ERROR:
		/* what the system did not complain of, libcurl did: chunks that are
		 * none (TLS has failures of its own) */
		if (os_errno == 0 && strncasecmp(x->ask.url, "http:", 5) == 0)
			return XFER_NONSENSE;
		return XFER_LOST;
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_FILESIZE_EXCEEDED:
		return XFER_NONSENSE;
	case CURLE_OUT_OF_MEMORY:
	case CURLE_WRITE_ERROR: /* ours, and not because we were told to stop */
	case CURLE_ABORTED_BY_CALLBACK:
		return XFER_FAILED;
	default:
		return XFER_LOST;
	}
}

static enum xfer_outcome outcome_of(const struct exchange *x, CURLcode rc,
                                    long os_errno)
{
	curl_off_t ready_us = 0; /* not 0: connected, and the request under way */

	if (x->stopped)
		return XFER_STOPPED;
	if (x->nonsense)
		return XFER_NONSENSE;
	if (rc == CURLE_OK) /* a head cut short is fine with libcurl */
		return x->head_given ? XFER_OK : XFER_LOST;
	curl_easy_getinfo(x->easy, CURLINFO_PRETRANSFER_TIME_T, &ready_us);
	/* repeated in vain, it was ready the first time */
	if (ready_us == 0 || rc == CURLE_COULDNT_CONNECT ||
	    rc == CURLE_COULDNT_RESOLVE_HOST)
		return unsent_outcome(x, rc);
	return sent_outcome(x, rc, os_errno);
}

static void say_why(const struct exchange *x, CURLcode rc, long os_errno,
                    struct xfer_result *out)
{
	const char *what = x->curl_says[0] ? x->curl_says : curl_easy_strerror(rc);
	const char *system = os_errno ? strerrordesc_np((int)os_errno) : NULL;
	char clean[192];

	str_escape(span_of(what), clean, sizeof(clean));
	if (out->outcome == XFER_DENIED)
		out->why = x->denied_why;
	else if (out->outcome == XFER_STOPPED)
		errtext_set(&out->why, "stopped");
	else if (out->outcome == XFER_NONSENSE && x->head_seen > LIMIT_HEAD)
		errtext_set(&out->why, "more than %d bytes of headers", LIMIT_HEAD);
	else if (rc == CURLE_OK || x->nonsense)
		errtext_set(&out->why, "%s", x->nonsense ? "unasked protocol switch" :
		            "connection closed within the headers");
	else
		errtext_set(&out->why, "%s%s%s", clean, system ? ": " : "",
		            system ? system : "");
}

void exchange_judge(const struct exchange *x, CURLcode rc, struct xfer_result *out)
{
	curl_off_t total_us = 0;
	long os_errno = 0;

	curl_easy_getinfo(x->easy, CURLINFO_TOTAL_TIME_T, &total_us);
	curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &os_errno);
	*out = (struct xfer_result){
		.outcome = outcome_of(x, rc, os_errno),
		.status = x->status,
		.total_ms = total_us / 1000
	};
	if (out->outcome == XFER_UNREACHABLE)
		out->refused = os_errno == ECONNREFUSED || os_errno == EHOSTUNREACH ||
		               os_errno == ENETUNREACH;
	if (out->outcome != XFER_OK)
		say_why(x, rc, os_errno, out);
}

void exchange_fail(const struct exchange *x, const char *why,
                   struct xfer_result *out)
{
	*out = (struct xfer_result){ .outcome = XFER_FAILED, .status = x->status };
	errtext_set(&out->why, "%s", why);
}
