/*
 * envelope.c - the envelope of a job, checked member by member.
 *
 * The envelope is foreman's own, so it is read strictly: a typing error must
 * not vanish. Unknown and repeated members are refused by name, null means
 * absent. What stands in `request` is the target's and is kept byte for byte,
 * but for "stream":false where it names no stream.
 */
#include <config.h>

#include "responder/envelope.h"

#include <stdlib.h>
#include <string.h>

#include "base/jscan.h"
#include "core/limits.h"
#include "core/request.h"
#include "http/guard.h"

/* --- walking objects whose members are known ------------------------------ */

struct reading {
	struct draft *draft;
	const struct guard *guard;
	struct span request;  /* raw, absent until seen */
	struct span endpoint; /* raw string, absent: the default */
	bool webhook;         /* an object was given */
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
	const char *prefix; /* "webhook." in texts */
	unsigned seen;      /* a bit per member */
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
		errtext_set(r->why, "%s must be a duration like \"30s\", \"15m\" or \"2h\"",
		            name);
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
	enum err e =
	    read_string(r, v, "webhook.url", LIMIT_WEBHOOK_URL, &job->webhook_url);

	if (!e) {
		e = guard_check_url(r->guard, job->webhook_url, &why);
		if (e && e != ERR_NOMEM) {
			errtext_set(r->why, "webhook.url: %s", why.s);
			e = ERR_INVAL;
		}
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
	{ "request", read_request },   { "endpoint", read_endpoint },
	{ "webhook", read_webhook },   { "artifact", read_artifact },
	{ "metadata", read_metadata }, { "expires_in", read_expires_in },
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

enum err envelope_read(struct span text, const struct guard *guard,
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

/* --- the draft as a submission --------------------------------------------- */

enum err draft_enter(struct draft *d, const char *id, const struct job_view *view,
                     struct submission *sub)
{
	struct job *job = &d->job;

	str_copy(job->id, sizeof(job->id), id);
	job->created_ms = job->queued_ms = view->now_ms;
	if (d->expires_in_ms)
		job->expires_ms = job->created_ms + d->expires_in_ms;
	if (job->webhook_url && (job->webhook_events & (1u << JOB_QUEUED))) {
		job->webhook_pending = 1;
		d->event_json = job_event_json(job, view, job->created_ms);
		if (!d->event_json)
			return ERR_NOMEM;
	}
	*sub = (struct submission){
		.job = job,
		.body = { d->body, d->body_len },
		.event_json = d->event_json,
	};
	return ERR_OK;
}

void draft_done(struct draft *d)
{
	job_done(&d->job);
	free(d->body);
	free(d->event_json);
	d->body = d->event_json = NULL;
}
