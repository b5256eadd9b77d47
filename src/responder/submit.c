/*
 * submit.c - the envelope of a job, checked member by member, and its storing.
 *
 * The envelope is foreman's own, so it is read strictly: a typing error must
 * not vanish. Unknown and repeated members are refused by name, null means
 * absent. What stands in `request` is the target's and is kept byte for byte,
 * but for "stream":false where it names no stream.
 */
#include <config.h>

#include "responder/submit.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jscan.h"
#include "core/limits.h"
#include "core/request.h"
#include "http/guard.h"
#include "responder/lot.h"
#include "store/group.h"

#define RETRY_AFTER_S 2 /* when a client that got a 202 may look again */

/* A larger body keeps its thread until it is stored, so that what is in hand
 * at once stays below GROUP_POSTS_MAX of these and FOREMAN_THREADS bodies. */
#define POST_BODY_MAX (64 * 1024)

/* --- walking objects whose members are known ------------------------------ */

struct reading {
	struct draft *draft;
	const struct guard *guard;
	struct span request;    /* raw, absent until seen */
	struct span endpoint;   /* raw string, absent: the default */
	bool webhook;           /* an object was given */
	enum fault fault;
	struct errtext *why;
};

struct member {
	const char *name;
	/* ERR_OK, or a text in r->why, and r->fault if it is no invalid request. */
	enum err (*read)(struct reading *r, const struct jscan_value *v);
};

struct walk {
	struct reading *reading;
	const struct member *members;
	size_t count;
	const char *prefix;     /* "webhook." in texts */
	unsigned seen;          /* a bit per member */
	enum err err;
};

static enum err wrong(struct reading *r, const char *text)
{
	errtext_set(r->why, "%s", text);
	return ERR_INVAL;
}

static bool on_member(void *arg, struct span key, const struct jscan_value *v)
{
	struct walk *w = arg;
	char shown[ANSWER_ECHO_SIZE];

	for (size_t i = 0; i < w->count; i++) {
		if (!span_eq(key, w->members[i].name))
			continue;
		if (w->seen & (1u << i)) {
			errtext_set(w->reading->why, "duplicate field \"%s%s\"", w->prefix,
			            w->members[i].name);
			w->err = ERR_INVAL;
		} else if (v->type != JSCAN_NULL) {
			w->err = w->members[i].read(w->reading, v);
		}
		w->seen |= 1u << i;
		return w->err == ERR_OK;
	}
	str_escape(key, shown, sizeof(shown));
	errtext_set(w->reading->why, "unknown field \"%s%s\"", w->prefix, shown);
	w->err = ERR_INVAL;
	return false;
}

static enum err read_object(struct reading *r, struct span text,
                            const struct member *members, size_t count,
                            const char *prefix)
{
	static const struct jscan_rules strict = { .max_depth = LIMIT_JOB_DEPTH };
	struct walk w = {
		.reading = r, .members = members, .count = count, .prefix = prefix
	};
	struct jscan_value top;
	enum err e = jscan(text, &strict, on_member, &w, &top, r->why);

	if (w.err)
		return w.err;
	if (e)
		return e;
	if (top.type != JSCAN_OBJECT)
		return wrong(r, "the body must be a JSON object");
	return ERR_OK;
}

/* --- values --------------------------------------------------------------- */

/* A string of at most `max` bytes without NULs, on the heap. */
static enum err read_string(struct reading *r, const struct jscan_value *v,
                            const char *name, size_t max, char **out)
{
	size_t len;
	char *text;

	if (v->type != JSCAN_STRING) {
		errtext_set(r->why, "%s must be a string", name);
		return ERR_INVAL;
	}
	text = jscan_unescape(v->raw, &len);
	if (!text)
		return ERR_NOMEM;
	if (len > max)
		errtext_set(r->why, "%s is longer than %zu bytes", name, max);
	else if (strlen(text) != len)
		errtext_set(r->why, "%s: NUL not allowed", name);
	else {
		free(*out);
		*out = text;
		return ERR_OK;
	}
	free(text);
	return ERR_INVAL;
}

/* The raw text between a string's quotes; for words that need no escapes. */
static struct span plain(const struct jscan_value *v)
{
	if (v->type != JSCAN_STRING)
		return (struct span){ 0 };
	return (struct span){ v->raw.p + 1, v->raw.len - 2 };
}

static enum err read_duration(struct reading *r, const struct jscan_value *v,
                              const char *name, int64_t *out)
{
	int64_t ms;

	if (str_duration_ms(plain(v), &ms) || ms <= 0 || ms > LIMIT_JOB_SPAN_MS) {
		errtext_set(r->why,
		            "%s must be a duration like \"30s\", \"15m\" or \"2h\"", name);
		return ERR_INVAL;
	}
	*out = ms;
	return ERR_OK;
}

/* --- webhook -------------------------------------------------------------- */

static enum err read_url(struct reading *r, const struct jscan_value *v)
{
	struct job *job = &r->draft->job;
	struct errtext why = { 0 };
	enum err e = read_string(r, v, "webhook.url", LIMIT_WEBHOOK_URL,
	                         &job->webhook_url);

	if (!e && guard_check_url(r->guard, job->webhook_url, &why)) {
		errtext_set(r->why, "webhook.url: %s", why.s);
		e = ERR_INVAL;
	}
	if (e == ERR_INVAL)
		r->fault = FAULT_WEBHOOK_REFUSED;
	return e;
}

static enum err read_secret(struct reading *r, const struct jscan_value *v)
{
	static const char prefix[] = "whsec_";
	struct job *job = &r->draft->job;
	unsigned char key[LIMIT_WEBHOOK_SECRET_MAX];
	size_t len = sizeof(key);
	struct span text;
	enum err e = read_string(r, v, "webhook.secret", 256, &job->webhook_secret);

	if (e)
		return e;
	text = span_of(job->webhook_secret);
	if (text.len < strlen(prefix) || memcmp(text.p, prefix, strlen(prefix)) != 0)
		return wrong(r, "webhook.secret must begin with \"whsec_\"");
	text.p += strlen(prefix);
	text.len -= strlen(prefix);
	e = str_unbase64(text, key, &len);
	explicit_bzero(key, sizeof(key));
	if (e || len < LIMIT_WEBHOOK_SECRET_MIN)
		return wrong(r, "webhook.secret must be whsec_ and the base64 of "
		                "24 to 64 bytes");
	return ERR_OK;
}

static enum err read_events(struct reading *r, const struct jscan_value *v)
{
	static const char text[] = "webhook.events must be a list of different ones of "
	                           "queued, loading, working, done, failed";
	struct span list = { v->raw.p + 1, v->raw.len - 2 };
	struct span item;
	unsigned events = 0;

	if (v->type != JSCAN_ARRAY || v->empty)
		return wrong(r, text);
	/* state names hold no comma, so a cut list of anything else never fits */
	while (span_cut(&list, ',', &item)) {
		enum job_state state;

		item = span_trim(item);
		if (item.len < 2 || item.p[0] != '"' || item.p[item.len - 1] != '"')
			return wrong(r, text);
		item = (struct span){ item.p + 1, item.len - 2 };
		if (job_state_parse(item, &state) || (events & (1u << state)))
			return wrong(r, text);
		events |= 1u << state;
	}
	r->draft->job.webhook_events = events;
	return ERR_OK;
}

static enum err read_webhook(struct reading *r, const struct jscan_value *v)
{
	static const struct member members[] = {
		{ "url", read_url },
		{ "secret", read_secret },
		{ "events", read_events },
	};

	if (v->type != JSCAN_OBJECT)
		return wrong(r, "webhook must be an object");
	r->webhook = true;
	return read_object(r, v->raw, members, ARRAY_LEN(members), "webhook.");
}

/* --- metadata ------------------------------------------------------------- */

struct metadata {
	struct reading *reading;
	char *keys[LIMIT_METADATA_KEYS];
	size_t count;
	enum err err;
};

static enum err check_pair(struct metadata *m, struct span key,
                           const struct jscan_value *v)
{
	struct reading *r = m->reading;
	size_t key_len, value_len;
	char *name, *value;

	if (m->count == LIMIT_METADATA_KEYS)
		return wrong(r, "metadata has more than 16 keys");
	if (v->type != JSCAN_STRING)
		return wrong(r, "metadata must hold strings only");
	name = jscan_unescape(key, &key_len);
	value = jscan_unescape(v->raw, &value_len);
	free(value);
	if (!name || !value) {
		free(name);
		return ERR_NOMEM;
	}
	m->keys[m->count++] = name;
	if (!key_len || key_len > LIMIT_METADATA_KEY)
		return wrong(r, "a metadata key must have 1 to 64 bytes");
	if (value_len > LIMIT_METADATA_VALUE)
		return wrong(r, "a metadata value is longer than 512 bytes");
	for (size_t i = 0; i + 1 < m->count; i++)
		if (strcmp(m->keys[i], name) == 0)
			return wrong(r, "metadata names a key twice");
	return ERR_OK;
}

static bool on_pair(void *arg, struct span key, const struct jscan_value *v)
{
	struct metadata *m = arg;

	m->err = check_pair(m, key, v);
	return m->err == ERR_OK;
}

static enum err read_metadata(struct reading *r, const struct jscan_value *v)
{
	static const struct jscan_rules strict = { .max_depth = LIMIT_JOB_DEPTH };
	struct metadata m = { .reading = r };
	enum err e;

	if (v->type != JSCAN_OBJECT)
		return wrong(r, "metadata must be an object");
	e = jscan(v->raw, &strict, on_pair, &m, NULL, r->why);
	for (size_t i = 0; i < m.count; i++)
		free(m.keys[i]);
	if (m.err)
		return m.err;
	if (e)
		return e;
	r->draft->job.metadata = span_dup(v->raw);
	return r->draft->job.metadata ? ERR_OK : ERR_NOMEM;
}

/* --- the other members ---------------------------------------------------- */

static enum err read_request(struct reading *r, const struct jscan_value *v)
{
	if (v->type != JSCAN_OBJECT)
		return wrong(r, "request must be an object");
	r->request = v->raw;
	return ERR_OK;
}

static enum err read_endpoint(struct reading *r, const struct jscan_value *v)
{
	r->endpoint = plain(v);
	return r->endpoint.p ? ERR_OK : wrong(r, "endpoint must be a string");
}

static enum err read_artifact(struct reading *r, const struct jscan_value *v)
{
	if (artifact_mode_parse(plain(v), &r->draft->job.artifact_mode))
		return wrong(r, "artifact must be auto, inline or fetch");
	return ERR_OK;
}

static enum err read_expires_in(struct reading *r, const struct jscan_value *v)
{
	return read_duration(r, v, "expires_in", &r->draft->expires_in_ms);
}

static enum err read_timeout(struct reading *r, const struct jscan_value *v)
{
	return read_duration(r, v, "timeout", &r->draft->job.timeout_ms);
}

static const struct member envelope[] = {
	{ "request", read_request },
	{ "endpoint", read_endpoint },
	{ "webhook", read_webhook },
	{ "artifact", read_artifact },
	{ "metadata", read_metadata },
	{ "expires_in", read_expires_in },
	{ "timeout", read_timeout },
};

/* --- the envelope as a whole ---------------------------------------------- */

static enum err find_endpoint(struct reading *r, enum endpoint *out)
{
	*out = ENDPOINT_CHAT;
	if (!r->endpoint.p)
		return ERR_OK;
	if (endpoint_parse(r->endpoint, out) == ERR_OK &&
	    (*out == ENDPOINT_CHAT || *out == ENDPOINT_GENERATE ||
	     *out == ENDPOINT_EMBED || *out == ENDPOINT_V1_CHAT))
		return ERR_OK;
	return wrong(r, "endpoint must be /api/chat, /api/generate, /api/embed or "
	                "/v1/chat/completions");
}

/* The request within: what it is for, and what will be sent. */
static enum err take_request(struct reading *r)
{
	struct draft *d = r->draft;
	enum endpoint endpoint;
	struct request request;
	enum err e = find_endpoint(r, &endpoint);

	if (e)
		return e;
	if (!r->request.p)
		return wrong(r, "request is required");
	e = request_read(endpoint, r->request, &request, r->why);
	if (e) {
		errtext_wrap(r->why, "request");
		return e == ERR_NOMEM ? e : ERR_INVAL;
	}
	if (!request.named) {
		bool none = !request.model_raw || !request.model_raw[0];

		request_done(&request);
		return wrong(r, none ? "request: model is required"
		                     : "request: invalid model name");
	}
	d->body = request_with_stream(r->request, &request, &d->body_len);
	d->job.endpoint = strdup(endpoint_path(endpoint));
	d->job.load_key = strdup(request.load_key);
	d->job.model = request.model_raw;
	request.model_raw = NULL;
	request_done(&request);
	return d->body && d->job.endpoint && d->job.load_key ? ERR_OK : ERR_NOMEM;
}

static enum err take_webhook(struct reading *r, const char *default_url)
{
	struct job *job = &r->draft->job;

	if (!job->webhook_url && default_url) {
		job->webhook_url = strdup(default_url);
		return job->webhook_url ? ERR_OK : ERR_NOMEM;
	}
	if (!job->webhook_url && r->webhook)
		return wrong(r, "webhook.url is required");
	return ERR_OK;
}

enum err submit_read(struct span text, const struct guard *guard,
                     const char *default_url, struct draft *out,
                     enum fault *fault, struct errtext *why)
{
	struct draft d = { 0 };
	struct reading r = {
		.draft = &d, .guard = guard, .fault = FAULT_INVALID_REQUEST, .why = why
	};
	enum err e;

	job_init(&d.job);
	d.job.state = JOB_QUEUED;
	d.job.event_seq = 1;
	d.job.waiting_on = WAITING_WORKER;
	e = read_object(&r, text, envelope, ARRAY_LEN(envelope), "");
	if (!e)
		e = take_request(&r);
	if (!e)
		e = take_webhook(&r, default_url);
	if (!e) {
		*out = d;
		return ERR_OK;
	}
	if (e == ERR_NOMEM) {
		r.fault = FAULT_INTERNAL;
		errtext_set(why, "out of memory");
	}
	*fault = r.fault;
	draft_done(&d);
	return e;
}

void draft_done(struct draft *d)
{
	job_done(&d->job);
	free(d->body);
	d->body = NULL;
}

/* --- headers -------------------------------------------------------------- */

bool submit_media_ok(struct span type, struct span encoding, struct errtext *why)
{
	struct span name, parameter;

	if (encoding.p && !span_eq_nocase(span_trim(encoding), "identity")) {
		errtext_set(why, "encoded request bodies are not read");
		return false;
	}
	if (!type.p || !span_cut(&type, ';', &name))
		return true;
	name = span_trim(name);
	if (span_eq_nocase(name, "multipart/form-data") ||
	    span_eq_nocase(name, "application/x-ndjson")) {
		errtext_set(why, "the body must be one JSON object");
		return false;
	}
	while (span_cut(&type, ';', &parameter)) {
		struct span key;

		if (!span_cut(&parameter, '=', &key) ||
		    !span_eq_nocase(span_trim(key), "charset"))
			continue;
		parameter = span_trim(parameter);
		if (!span_eq_nocase(parameter, "utf-8") &&
		    !span_eq_nocase(parameter, "\"utf-8\"")) {
			errtext_set(why, "the body must be UTF-8");
			return false;
		}
	}
	return true;
}

bool submit_key_ok(struct span key)
{
	if (!key.len || key.len > LIMIT_IDEMPOTENCY_KEY)
		return false;
	/* a header sent twice arrives joined by a comma */
	for (size_t i = 0; i < key.len; i++)
		if (key.p[i] <= 0x20 || key.p[i] > 0x7e || key.p[i] == ',')
			return false;
	return true;
}

static bool headers_ok(struct call *c)
{
	const char *key = fcgx_param(c->req, "HTTP_IDEMPOTENCY_KEY");
	struct errtext why;

	if (!submit_media_ok(call_header(c, "HTTP_CONTENT_TYPE"),
	                     call_header(c, "HTTP_CONTENT_ENCODING"), &why)) {
		answer_fault(c, FAULT_MEDIA_TYPE, "%s", why.s);
		return false;
	}
	if (key && !submit_key_ok(span_of(key))) {
		answer_fault(c, FAULT_INVALID_REQUEST,
		             "Idempotency-Key must be one key of 1 to 255 visible "
		             "ASCII characters");
		return false;
	}
	return true;
}

/* --- the handler ---------------------------------------------------------- */

/*
 * From here on nobody waits: the thread hands the receipt in and takes the next
 * request, and the group's thread answers when the job is on disk. So a hundred
 * submissions need no hundred threads, and none is woken for a commit that it
 * shared with others.
 */
struct receipt {
	struct call call;      /* a copy; its seat is the next */
	struct seat seat;      /* has no more than the service */
	struct draft draft;
	struct submission sub;
	struct group_post post;
};

static void receipt_free(struct receipt *r)
{
	free(r->sub.event_json);
	draft_done(&r->draft);
	free(r);
}

/* Takes the draft over. NULL: no memory. */
static struct receipt *receipt_new(const struct call *c, struct draft *d)
{
	struct receipt *r = calloc(1, sizeof(*r));

	if (!r) {
		draft_done(d);
		return NULL;
	}
	r->call = *c;
	r->call.seat = &r->seat;
	r->call.method = "POST"; /* the only one here; the caller's text goes */
	r->seat.service = c->seat->service;
	r->draft = *d;
	r->sub.job = &r->draft.job;
	r->sub.body = (struct span){ r->draft.body, r->draft.body_len };
	return r;
}

static enum err fill_in(struct receipt *r)
{
	struct job *job = &r->draft.job;
	struct job_view view;

	ulid_new(job->id);
	str_copy(r->call.job, sizeof(r->call.job), job->id);
	job->created_ms = job->queued_ms = clock_wall_ms();
	if (r->draft.expires_in_ms)
		job->expires_ms = job->created_ms + r->draft.expires_in_ms;
	if (!job->webhook_url || !(job->webhook_events & (1u << JOB_QUEUED)))
		return ERR_OK;
	job->webhook_pending = 1;
	view = call_view(&r->call);
	r->sub.event_json = job_event_json(job, &view, job->created_ms);
	return r->sub.event_json ? ERR_OK : ERR_NOMEM;
}

static void answer_accepted(struct call *c, const struct job *job)
{
	struct job_view view = call_view(c);
	char headers[128];

	snprintf(headers, sizeof(headers), "Location: /jobs/%s\nRetry-After: %d\n",
	         job->id, RETRY_AFTER_S);
	answer_json(c, 202, headers, job_json(job, &view));
}

/* The answer, the end of the request and of the receipt. */
static void conclude(struct receipt *r, enum err e)
{
	struct call *c = &r->call;

	if (!e) {
		lot_nudge(c->seat->service->lot);
		answer_accepted(c, r->sub.job);
	} else if (e == ERR_LIMIT) {
		answer_fault(c, FAULT_TOO_MANY_JOBS, "too many jobs are queued");
	} else {
		answer_store_error(c, e);
	}
	call_end(c);
	receipt_free(r);
}

static void posted(struct group_post *post, const struct errtext *why)
{
	struct receipt *r =
	    (struct receipt *)((char *)post - offsetof(struct receipt, post));

	r->call.why = *why;
	conclude(r, r->sub.result);
}

static void hand_in(struct receipt *r)
{
	struct group *group = r->seat.service->group;
	enum err e = fill_in(r);

	r->post = (struct group_post){ .sub = &r->sub, .done = posted };
	if (!e && r->sub.body.len <= POST_BODY_MAX && !group_post(group, &r->post))
		return;
	if (!e)
		e = group_submit(group, &r->sub, &r->call.why);
	conclude(r, e);
}

void submit_handle(struct call *c)
{
	const struct service *service = c->seat->service;
	struct errtext why = { 0 };
	struct receipt *r;
	enum fault fault;
	struct draft d;

	if (!headers_ok(c))
		return;
	if (submit_read(c->body, service->guard, service->conf->webhook_url, &d, &fault,
	                &why)) {
		answer_fault(c, fault, "%s", why.s);
		return;
	}
	r = receipt_new(c, &d);
	if (!r) {
		answer_fault(c, FAULT_INTERNAL, "out of memory");
		return;
	}
	c->req = NULL; /* the receipt's now */
	hand_in(r);
}
