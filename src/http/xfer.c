/*
 * xfer.c - one exchange: how libcurl is asked, what its end means.
 *
 * An exchange is the same in a loop and blocking: options, callbacks, verdict.
 * In a loop, all exchanges share one multi handle (the hub), made with the
 * first and attached to the loop. libcurl calls us from inside itself and may
 * not be called back from there, so what a callback starts or stops is only
 * noted, and settled when libcurl has returned.
 * A line's connection is kept by libcurl and dropped with its handle. What is
 * sent on it may be sent twice: libcurl repeats what died before a line of the
 * reply, and as a line keeps no second connection, on a fresh one, thus once.
 * Refused: a header line with a line break in it, a URL without its scheme,
 * interim replies without end, more than LIMIT_HEAD of headers.
 */
#include <config.h>

#include "http/xfer.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "core/limits.h"
#include "http/guard.h"

#define DNS_CACHE_S 5L    /* a laptop's address changes; a name need not be asked
                             for every webhook of a burst */

struct exchange {
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
	bool stopped;            /* by a callback, or xfer_stop */
	bool nonsense;
	bool opened;             /* at least one address was tried */
	bool no_socket;          /* the system gave us none */
	bool denied;
	struct errtext denied_why;
};

/* --- the reply's head ------------------------------------------------------ */

static bool header_split(struct span line, struct span *name, struct span *value)
{
	struct span rest = line;

	if (!line.len || !memchr(line.p, ':', line.len) ||
	    !span_cut(&rest, ':', name) || !name->len)
		return false;
	for (size_t i = 0; i < name->len; i++)
		if (name->p[i] <= ' ' || name->p[i] > '~')
			return false;
	for (size_t i = 0; i < rest.len; i++) {
		unsigned char c = (unsigned char)rest.p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	*value = span_trim(rest);
	return true;
}

static bool next_line(struct span *rest, struct span *line)
{
	return rest->len && span_cut(rest, '\n', line);
}

/* The value of the first header of that name; absent if there is none. */
static struct span find_header(struct span lines, const char *wanted)
{
	struct span line, name, value;

	while (next_line(&lines, &line))
		if (header_split(line, &name, &value) && span_eq_nocase(name, wanted))
			return value;
	return (struct span){ NULL, 0 };
}

/* Is `name` among the names that some Connection header lists? */
static bool named_in_connection(struct span lines, struct span name)
{
	struct span line, other, list, item;

	while (next_line(&lines, &line)) {
		if (!header_split(line, &other, &list) ||
		    !span_eq_nocase(other, "connection"))
			continue;
		while (span_cut(&list, ',', &item)) {
			item = span_trim(item);
			if (item.len == name.len &&
			    strncasecmp(item.p, name.p, name.len) == 0)
				return true;
		}
	}
	return false;
}

static bool is_hop_by_hop(struct span lines, struct span name)
{
	static const char *const always[] = {
		"connection", "keep-alive", "te", "trailer", "transfer-encoding",
		"upgrade"
	};

	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		if (span_eq_nocase(name, always[i]))
			return true;
	if (name.len >= 6 && strncasecmp(name.p, "proxy-", 6) == 0)
		return true;
	/* a length beside a transfer coding means nothing (RFC 9112, 6.3) */
	if (span_eq_nocase(name, "content-length") &&
	    find_header(lines, "transfer-encoding").p)
		return true;
	return named_in_connection(lines, name);
}

/* Keep what may be passed on, in order, each line "Name: value\n". */
static enum err filter_head(struct span lines, struct buf *out)
{
	struct span all = lines, line, name, value;

	while (next_line(&lines, &line)) {
		enum err e;

		if (!header_split(line, &name, &value) || is_hop_by_hop(all, name))
			continue;
		e = buf_addf(out, "%.*s: %.*s\n", (int)name.len, name.p,
		             (int)value.len, value.p ? value.p : "");
		if (e)
			return e;
	}
	return ERR_OK;
}

static bool give_head(struct exchange *x)
{
	struct xfer_head head = { .status = x->status, .content_length = -1 };
	struct buf lines;
	struct span value;
	uint64_t length;

	x->head_given = true;
	buf_init(&lines, 2 * LIMIT_HEAD); /* "a:b" grows by a blank */
	if (filter_head((struct span){ x->head.p, x->head.len }, &lines)) {
		buf_done(&lines);
		return false;
	}
	head.headers = (struct span){ lines.p, lines.len };
	value = find_header(head.headers, "content-length");
	if (value.p && str_u64(value, &length) == ERR_OK && length <= INT64_MAX)
		head.content_length = (int64_t)length;
	value = find_header(head.headers, "content-type");
	if (value.len < sizeof(head.content_type) && value.len)
		memcpy(head.content_type, value.p, value.len);
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
	return find_header(ask->header_lines, wanted).p != NULL;
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
	while (!e && next_line(&lines, &line))
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

static void exchange_done(struct exchange *x)
{
	curl_slist_free_all(x->headers);
	curl_url_cleanup(x->url);
	curl_free(x->host);
	buf_done(&x->head);
}

/* On failure, exchange_done it all the same. */
static enum err exchange_init(struct exchange *x, CURL *easy,
                              const struct xfer_ask *ask,
                              const struct xfer_calls *calls, void *arg,
                              bool keep, struct errtext *why)
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

static void judge(const struct exchange *x, CURLcode rc, struct xfer_result *out)
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

/* --- blocking -------------------------------------------------------------- */

struct xfer_line {
	CURL *easy;              /* NULL: made when needed */
	bool keeps;              /* a connection, since then: */
	int64_t kept_mono_ms;
	int64_t kept_gap_ms;     /* boot - mono, which grows while this host sleeps */
};

enum err xfer_global_init(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? ERR_OK : ERR_NOMEM;
}

const char *xfer_curl_version(void)
{
	return curl_version();
}

struct xfer_line *xfer_line_new(void)
{
	return calloc(1, sizeof(struct xfer_line));
}

static int64_t sleep_gap_ms(void)
{
	return clock_boot_ms() - clock_mono_ms();
}

static void line_drop(struct xfer_line *line)
{
	curl_easy_cleanup(line->easy);
	line->easy = NULL;
	line->keeps = false;
}

void xfer_line_free(struct xfer_line *line)
{
	if (!line)
		return;
	line_drop(line);
	free(line);
}

int xfer_line_idle_ms(const struct xfer_line *line)
{
	int64_t left;

	if (!line || !line->keeps)
		return -1;
	left = line->kept_mono_ms + LIMIT_KEPT_IDLE_MS - clock_mono_ms();
	if (left < 0 || sleep_gap_ms() - line->kept_gap_ms >= LIMIT_SLEPT_MS)
		return 0;
	return (int)left;
}

void xfer_line_rest(struct xfer_line *line)
{
	if (xfer_line_idle_ms(line) == 0)
		line_drop(line);
}

static void line_kept(struct xfer_line *line)
{
	line->keeps = true;
	line->kept_mono_ms = clock_mono_ms();
	line->kept_gap_ms = sleep_gap_ms();
}

void xfer_call(struct xfer_line *line, const struct xfer_ask *ask,
               const struct xfer_calls *calls, void *arg, struct xfer_result *out)
{
	struct errtext why = { "" };
	struct exchange x;

	assert(!ask->repeatable || (!ask->upload && !ask->guard));
	xfer_line_rest(line);
	if (!line->easy)
		line->easy = curl_easy_init();
	if (!line->easy) {
		*out = (struct xfer_result){ .outcome = XFER_FAILED };
		errtext_set(&out->why, "out of memory");
		return;
	}
	if (exchange_init(&x, line->easy, ask, calls, arg, ask->repeatable, &why))
		*out = (struct xfer_result){ .outcome = XFER_FAILED, .why = why };
	else
		judge(&x, curl_easy_perform(line->easy), out);
	if (ask->repeatable && out->outcome == XFER_OK)
		line_kept(line);
	curl_easy_reset(line->easy); /* before what it points to goes */
	exchange_done(&x);
}

/* --- in a loop: the hub ---------------------------------------------------- */

struct hub {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer timer;
	bool inside;             /* libcurl is on the stack: only take notes */
	bool unsettled;          /* there are notes */
	struct xfer *xfers;
};

struct xfer {
	struct exchange x;
	struct hub *hub;
	struct xfer *next, *prev;
	bool added;              /* libcurl has it */
	bool dropped;            /* xfer_stop from inside: no more calls */
	bool unwatched;          /* its socket cannot be watched: it would hang */
	bool ending;             /* in its last call */
};

struct watch {               /* a socket libcurl wants to hear of */
	struct hub *hub;
	curl_socket_t fd;
	struct loop_fd *in_loop;
};

static void xfer_release(struct xfer *x)
{
	struct hub *h = x->hub;

	if (x->next)
		x->next->prev = x->prev;
	if (x->prev)
		x->prev->next = x->next;
	else
		h->xfers = x->next;
	if (x->added)
		curl_multi_remove_handle(h->multi, x->x.easy);
	curl_easy_cleanup(x->x.easy);
	exchange_done(&x->x);
}

/* The last call. It may start and stop others; this one is out of the hub. */
static void xfer_end(struct xfer *x, const struct xfer_result *result)
{
	struct xfer_calls calls = x->x.calls;
	void *arg = x->x.arg;

	xfer_release(x);
	x->ending = true;
	if (calls.done)
		calls.done(arg, result);
	free(x);
}

static void xfer_fail(struct xfer *x, const char *why)
{
	struct xfer_result result = {
		.outcome = XFER_FAILED, .status = x->x.status
	};

	errtext_set(&result.why, "%s", why);
	xfer_end(x, &result);
}

static bool xfer_add(struct xfer *x)
{
	x->added = curl_multi_add_handle(x->hub->multi, x->x.easy) == CURLM_OK;
	return x->added;
}

/* Do what was noted while libcurl was on the stack. */
static void hub_settle(struct hub *h)
{
	struct xfer *x;

	while (h->unsettled) {
		h->unsettled = false;
		for (x = h->xfers; x; x = x->next)
			/* xfer_release took what is freed off this list:
			 * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
			if (x->dropped || x->unwatched || !x->added)
				break;
		if (!x)
			return;
		h->unsettled = true; /* look again from the start */
		if (x->dropped) {
			xfer_release(x);
			free(x);
		} else if (x->unwatched) {
			xfer_fail(x, "cannot watch a socket");
		} else if (!xfer_add(x)) {
			xfer_fail(x, "out of memory");
		}
	}
}

static void hub_harvest(struct hub *h)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(h->multi, &left))) {
		CURLcode rc = msg->data.result;
		struct xfer_result result;
		char *private;
		struct xfer *x;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
		x = (struct xfer *)(void *)private;
		if (x->dropped)
			continue; /* hub_settle's */
		judge(&x->x, rc, &result);
		xfer_end(x, &result);
	}
}

static void hub_act(struct hub *h, curl_socket_t fd, int events)
{
	int running;

	h->inside = true;
	curl_multi_socket_action(h->multi, fd, events, &running);
	h->inside = false;
	hub_harvest(h);
	hub_settle(h);
}

static void on_watch(void *arg, uint32_t events)
{
	struct watch *w = arg;
	int bits = 0;

	if (events & EPOLLIN)
		bits |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		bits |= CURL_CSELECT_OUT;
	/* told of an error, libcurl gives up; told to read, it learns which */
	if (events & (EPOLLERR | EPOLLHUP))
		bits |= CURL_CSELECT_IN | CURL_CSELECT_OUT;
	hub_act(w->hub, w->fd, bits); /* `w` may be gone now */
}

static void on_timer(void *arg)
{
	hub_act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct hub *h = arg;

	(void)multi;
	if (timeout_ms < 0)
		loop_timer_stop(&h->timer);
	else
		loop_timer_set(h->loop, &h->timer, timeout_ms);
	return 0;
}

static enum err watch_new(struct hub *h, curl_socket_t fd, uint32_t events)
{
	struct watch *w = calloc(1, sizeof(*w));
	enum err e;

	if (!w)
		return ERR_NOMEM;
	*w = (struct watch){ .hub = h, .fd = fd };
	e = loop_fd_add(h->loop, fd, events, on_watch, w, &w->in_loop);
	if (e) {
		free(w);
		return e;
	}
	curl_multi_assign(h->multi, fd, w);
	return ERR_OK;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
                          void *watch)
{
	struct hub *h = arg;
	struct watch *w = watch;
	uint32_t events = 0;

	if (what == CURL_POLL_REMOVE) {
		if (w)
			loop_fd_del(w->in_loop);
		free(w);
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	if (w) {
		loop_fd_want(w->in_loop, events);
	} else if (watch_new(h, fd, events)) {
		char *private = NULL;

		/* -1 would be the end of the whole multi handle */
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
		if (private) {
			((struct xfer *)(void *)private)->unwatched = true;
			h->unsettled = true;
		}
	}
	return 0;
}

static void hub_free(void *p)
{
	struct hub *h = p;

	assert(!h->xfers);
	if (h->multi)
		curl_multi_cleanup(h->multi);
	loop_timer_stop(&h->timer);
	free(h);
}

static struct hub *hub_new(struct loop *l)
{
	struct hub *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->loop = l;
	loop_timer_init(&h->timer, on_timer, h);
	h->multi = curl_multi_init();
	if (!h->multi ||
	    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket) ||
	    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h) ||
	    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer) ||
	    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h)) {
		hub_free(h);
		return NULL;
	}
	loop_attach(l, h, hub_free);
	return h;
}

/* --- in a loop: the exchange ----------------------------------------------- */

enum err xfer_start(struct loop *l, const struct xfer_ask *ask,
                    const struct xfer_calls *calls, void *arg, struct xfer **out,
                    struct errtext *why)
{
	struct hub *h = loop_attached(l);
	struct xfer *x = NULL;
	CURL *easy = NULL;
	enum err e = ERR_NOMEM;

	if (!h)
		h = hub_new(l);
	if (h)
		x = calloc(1, sizeof(*x));
	if (x)
		easy = curl_easy_init();
	if (!easy) {
		errtext_set(why, "out of memory");
		free(x);
		return e;
	}
	x->hub = h;
	e = exchange_init(&x->x, easy, ask, calls, arg, false, why);
	if (!e && (curl_easy_setopt(easy, CURLOPT_PRIVATE, (void *)x) ||
	           (!h->inside && !xfer_add(x))))
		e = ERR_NOMEM;
	if (e) {
		curl_easy_cleanup(easy);
		exchange_done(&x->x);
		free(x);
		return e;
	}
	h->unsettled |= h->inside;
	x->next = h->xfers;
	if (x->next)
		x->next->prev = x;
	h->xfers = x;
	*out = x;
	return ERR_OK;
}

void xfer_stop(struct xfer *x)
{
	if (!x || x->ending)
		return;
	if (x->hub->inside) {
		x->dropped = true;
		x->x.stopped = true;
		x->hub->unsettled = true;
		return;
	}
	xfer_release(x);
	free(x);
}
