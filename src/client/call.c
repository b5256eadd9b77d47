/*
 * call.c - one HTTP call to the service.
 *
 * Owns the handle: the service's place, the token, and the lines to libcurl
 * that lie idle, one for each thread that was here at once. A call holds its
 * line alone, so nothing but the shelf of idle ones is shared.
 * Refused here: redirects, and bodies above CALL_ANSWER_MAX.
 */
#include <config.h>

#include "client/call.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "core/header.h"
#include "http/xfer.h"

#define SHELF 8 /* idle lines kept */
#define URL_MAX 2048
#define TOKEN_MAX 4096
#define DEFAULT_URL "http://localhost:8080"

struct foreman {
	char *url;           /* without a slash at its end */
	char *authorization; /* the header line, or NULL */
	int64_t patience_ms;
	pthread_mutex_t lock; /* the shelf */
	struct xfer_line *shelf[SHELF];
	size_t idle;
};

/* --- errors ---------------------------------------------------------------- */

static const char *const code_texts[] = {
	[FOREMAN_OK] = "ok",
	[FOREMAN_JOB_FAILED] = "the job has failed",
	[FOREMAN_INVALID] = "the request is wrong",
	[FOREMAN_UNAUTHORIZED] = "not authorized",
	[FOREMAN_NOT_FOUND] = "not found",
	[FOREMAN_GONE] = "the job has been removed",
	[FOREMAN_BUSY] = "too busy, try later",
	[FOREMAN_UNREACHABLE] = "the service cannot be reached",
	[FOREMAN_TIMEOUT] = "the time is over",
	[FOREMAN_STOPPED] = "stopped by the caller",
	[FOREMAN_PROTOCOL] = "no foreman answers there",
	[FOREMAN_NO_MEMORY] = "out of memory",
};

const char *foreman_strerror(foreman_code code)
{
	/* a caller may hold any number */
	if ((size_t)code >= ARRAY_LEN(code_texts))
		return "unknown error";
	return code_texts[code];
}

const char *foreman_version(void)
{
	return PACKAGE_VERSION;
}

foreman_code call_error(foreman_error *e, foreman_code code, const char *fmt, ...)
{
	va_list args;

	if (!e)
		return code;
	*e = (foreman_error){ .code = code };
	e->retryable = code == FOREMAN_BUSY || code == FOREMAN_UNREACHABLE ||
	               code == FOREMAN_TIMEOUT;
	va_start(args, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, args);
	va_end(args);
	return code;
}

/* --- the handle ------------------------------------------------------------ */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static enum err global_state;

static void global_init(void)
{
	global_state = xfer_global_init();
}

/* A base that paths are put behind: a host, no user (libcurl would make a header
 * of it), no query. */
static bool url_ok(const char *url)
{
	size_t scheme = strncasecmp(url, "http://", 7) == 0    ? 7
	                : strncasecmp(url, "https://", 8) == 0 ? 8
	                                                       : 0;
	const char *host = url + scheme;

	for (const char *c = url; *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("?#@\\", *c))
			return false;
	return scheme > 0 && strlen(url) <= URL_MAX && host[0] &&
	       !strchr("/:", host[0]) && url[strlen(url) - 1] != ':';
}

/* A token goes into a header line: nothing may end that early. */
static bool token_ok(const char *token)
{
	if (strlen(token) > TOKEN_MAX)
		return false;
	for (const char *c = token; *c; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return true;
}

static const char *or_environment(const char *given, const char *name)
{
	const char *set = given ? given : getenv(name);

	return set && set[0] ? set : NULL;
}

static bool keep_url(foreman *f, const char *url)
{
	size_t len = strlen(url);

	while (len > 0 && url[len - 1] == '/')
		len--;
	f->url = strndup(url, len);
	return f->url != NULL;
}

static bool keep_token(foreman *f, const char *token)
{
	return !token ||
	       asprintf(&f->authorization, "Authorization: Bearer %s", token) > 0;
}

foreman *foreman_new(const char *url, const char *token)
{
	foreman *f;

	url = or_environment(url, "FOREMAN_URL");
	if (!url)
		url = DEFAULT_URL;
	token = or_environment(token, "FOREMAN_API_TOKEN");
	if (!url_ok(url) || (token && !token_ok(token)))
		return NULL;
	pthread_once(&once, global_init);
	f = global_state == ERR_OK ? calloc(1, sizeof(*f)) : NULL;
	if (!f)
		return NULL;
	f->patience_ms = CALL_PATIENCE_MS;
	pthread_mutex_init(&f->lock, NULL);
	if (keep_url(f, url) && keep_token(f, token))
		return f;
	foreman_free(f);
	return NULL;
}

void foreman_free(foreman *f)
{
	if (!f)
		return;
	while (f->idle > 0)
		xfer_line_free(f->shelf[--f->idle]);
	pthread_mutex_destroy(&f->lock);
	if (f->authorization)
		explicit_bzero(f->authorization, strlen(f->authorization));
	free(f->authorization);
	free(f->url);
	free(f);
}

void foreman_set_patience(foreman *f, int64_t ms)
{
	f->patience_ms = ms > 0 ? ms : 0;
}

static struct xfer_line *take_line(foreman *f)
{
	struct xfer_line *line = NULL;

	pthread_mutex_lock(&f->lock);
	if (f->idle > 0)
		line = f->shelf[--f->idle];
	pthread_mutex_unlock(&f->lock);
	return line ? line : xfer_line_new();
}

static void put_line(foreman *f, struct xfer_line *line)
{
	pthread_mutex_lock(&f->lock);
	if (f->idle < SHELF) {
		f->shelf[f->idle++] = line;
		line = NULL;
	}
	pthread_mutex_unlock(&f->lock);
	xfer_line_free(line);
}

/* --- one exchange ---------------------------------------------------------- */

struct exchange {
	const struct call_ask *ask;
	struct call_reply *reply;
	int64_t retry_after_ms; /* -1: not told */
	bool given;             /* the sink has seen bytes: no second try */
	bool stopped;           /* by the sink */
	bool full;              /* CALL_ANSWER_MAX, or no memory */
};

static bool is_good(int status)
{
	return status >= 200 && status < 300;
}

/* Nothing of what does not fit. */
static void keep_text(struct span value, char *to, size_t size)
{
	if (value.len >= size)
		return;
	memcpy(to, value.p, value.len);
	to[value.len] = '\0';
}

static void take_header(struct exchange *x, struct span name, struct span value)
{
	struct call_reply *reply = x->reply;
	uint64_t n;

	if (span_eq_nocase(name, "Location")) {
		keep_text(value, reply->location, sizeof(reply->location));
	} else if (span_eq_nocase(name, "Date")) {
		keep_text(value, reply->date, sizeof(reply->date));
	} else if (span_eq_nocase(name, "Idempotency-Replayed")) {
		reply->replayed = span_eq_nocase(value, "true");
	} else if (span_eq_nocase(name, "Retry-After") && !str_u64(value, &n)) {
		x->retry_after_ms = n < 3600 ? (int64_t)n * 1000 : 3600000;
	}
}

static bool on_head(void *arg, const struct xfer_head *head)
{
	struct exchange *x = arg;
	struct span lines = head->headers, name, value;

	x->reply->status = head->status;
	str_copy(x->reply->type, sizeof(x->reply->type), head->content_type);
	while (header_next(&lines, &name, &value))
		take_header(x, name, value);
	return true;
}

static bool on_body(void *arg, const void *p, size_t len)
{
	struct exchange *x = arg;

	if (!x->ask->sink || !is_good(x->reply->status)) {
		x->full = buf_add(&x->reply->body, p, len) != ERR_OK;
		return !x->full;
	}
	x->given = true;
	x->stopped = x->ask->sink(x->ask->arg, p, len) != 0;
	return !x->stopped;
}

/* Sums that an `int` of milliseconds cannot hold are no limit. */
static int total_ms(const struct call_ask *ask)
{
	if (ask->at_most_ms > 0)
		return ask->at_most_ms;
	if (ask->wait_ms < 0 || ask->wait_ms > INT32_MAX - CALL_TOTAL_MS)
		return 0;
	return (int)ask->wait_ms + CALL_TOTAL_MS;
}

static void exchange(foreman *f, struct xfer_line *line, const char *url,
                     struct exchange *x, struct xfer_result *result)
{
	static const struct xfer_calls calls = { .head = on_head, .body = on_body };
	const struct call_ask *ask = x->ask;
	const char *headers[5];
	char type[160];
	size_t n = 0;
	struct xfer_ask http = {
		.method = ask->method,
		.url = url,
		.headers = headers,
		.body = ask->body,
		.connect_ms = CALL_CONNECT_MS,
		.total_ms = total_ms(ask),
		.dead_ms = CALL_DEAD_MS,
	};

	headers[n++] = "User-Agent: foreman/" PACKAGE_VERSION;
	if (f->authorization)
		headers[n++] = f->authorization;
	if (ask->type) {
		snprintf(type, sizeof(type), "Content-Type: %s", ask->type);
		headers[n++] = type;
	}
	if (ask->header)
		headers[n++] = ask->header;
	headers[n] = NULL;
	x->reply->status = 0;
	x->reply->replayed = false;
	x->reply->location[0] = x->reply->type[0] = x->reply->date[0] = '\0';
	buf_clear(&x->reply->body);
	x->retry_after_ms = -1;
	xfer_call(line, &http, &calls, x, result);
}

/* --- what it came to ------------------------------------------------------- */

static foreman_code code_of_status(int status)
{
	switch (status) {
	case 401:
	case 403:
		return FOREMAN_UNAUTHORIZED;
	case 404:
		return FOREMAN_NOT_FOUND;
	case 410:
		return FOREMAN_GONE;
	case 429:
	case 503:
	case 507:
		return FOREMAN_BUSY;
	case 502:
	case 504:
		return FOREMAN_UNREACHABLE; /* the proxy is there, foreman is not */
	default:
		return status >= 400 && status < 500 ? FOREMAN_INVALID : FOREMAN_PROTOCOL;
	}
}

static const char *member(const cJSON *o, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
}

/* An answer that is no success: its own words where it is a problem. */
static foreman_code judge_status(const struct call_reply *reply, foreman_error *e)
{
	foreman_code code = code_of_status(reply->status);
	cJSON *problem = NULL;
	const char *detail, *name;

	if (json_parse((struct span){ reply->body.p, reply->body.len }, &problem, NULL))
		problem = NULL;
	name = member(problem, "code");
	detail = member(problem, "detail");
	if (!detail)
		detail = member(problem, "title");
	if (!name && (code == FOREMAN_INVALID || code == FOREMAN_NOT_FOUND ||
	              code == FOREMAN_GONE))
		code = FOREMAN_PROTOCOL; /* another server's words */
	call_error(e, code, "%s", detail ? detail : foreman_strerror(code));
	if (e) {
		e->http_status = reply->status;
		if (cJSON_IsBool(cJSON_GetObjectItemCaseSensitive(problem, "retryable")))
			e->retryable = cJSON_IsTrue(
			    cJSON_GetObjectItemCaseSensitive(problem, "retryable"));
		str_copy(e->name, sizeof(e->name), name ? name : "");
	}
	cJSON_Delete(problem);
	return code;
}

static foreman_code judge(const struct exchange *x,
                          const struct xfer_result *result, foreman_error *e)
{
	if (x->stopped)
		return call_error(e, FOREMAN_STOPPED, "stopped by the caller");
	if (x->full)
		return call_error(e, FOREMAN_INVALID, "the answer is too large to hold");
	switch (result->outcome) {
	case XFER_OK:
		if (is_good(x->reply->status))
			return call_error(e, FOREMAN_OK, "ok");
		return judge_status(x->reply, e);
	case XFER_TIMEOUT: /* not the caller's time: the service's to answer */
		return call_error(e, FOREMAN_UNREACHABLE, "no answer in time");
	case XFER_NONSENSE:
		return call_error(e, FOREMAN_PROTOCOL, "%s", result->why.s);
	case XFER_FAILED:
		return call_error(e, FOREMAN_NO_MEMORY, "%s", result->why.s);
	default:
		return call_error(e, FOREMAN_UNREACHABLE, "%s", result->why.s);
	}
}

void call_pause(int64_t ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* Before the next try: what the service asked for, else a growing while. False:
 * the patience is over before that. */
static bool pause_before(const foreman *f, const struct exchange *x, int tries,
                         int64_t began_ms)
{
	int64_t ms = CALL_PAUSE_MS << (tries < 5 ? tries : 5);

	if (ms > CALL_PAUSE_MAX_MS)
		ms = CALL_PAUSE_MAX_MS;
	if (x->retry_after_ms > ms)
		ms = x->retry_after_ms;
	if (clock_mono_ms() + ms - began_ms > f->patience_ms)
		return false;
	call_pause(ms);
	return true;
}

foreman_code call_service(foreman *f, const struct call_ask *ask,
                          struct call_reply *reply, foreman_error *e)
{
	struct exchange x = { .ask = ask, .reply = reply };
	struct xfer_result result;
	int64_t began_ms = clock_mono_ms();
	struct xfer_line *line = take_line(f);
	foreman_code code = FOREMAN_NO_MEMORY;
	char *url = NULL;

	*reply = (struct call_reply){ 0 };
	buf_init(&reply->body, CALL_ANSWER_MAX);
	if (!line || asprintf(&url, "%s%s", f->url, ask->path) < 0) {
		xfer_line_free(line);
		return call_error(e, FOREMAN_NO_MEMORY, "out of memory");
	}
	for (int tries = 0;; tries++) {
		reply->tries = tries + 1;
		exchange(f, line, url, &x, &result);
		code = judge(&x, &result, e);
		if ((code != FOREMAN_BUSY && code != FOREMAN_UNREACHABLE) || x.given ||
		    (ask->once && result.outcome != XFER_UNREACHABLE) ||
		    !pause_before(f, &x, tries, began_ms))
			break;
	}
	put_line(f, line);
	free(url);
	return code;
}
