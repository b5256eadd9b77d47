/*
 * job.c - what a job is, where it may go, and how it is shown.
 *
 * The words of the contract stand here once: states, reasons, what a job
 * waits on, the arrows between states, and the job object. What stays true:
 * the object has the same members in the same order everywhere, is one line,
 * and is valid JSON whatever the target sent.
 * Not here: moving a job (store/queue), which one is next (core/order).
 */
#include <config.h>

#include "core/job.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jscan.h"
#include "base/json.h"

/* --- words --------------------------------------------------------------- */

static const char *const state_names[JOB_STATE_COUNT] = {
	[JOB_QUEUED] = "queued",
	[JOB_LOADING] = "loading",
	[JOB_WORKING] = "working",
	[JOB_DONE] = "done",
	[JOB_FAILED] = "failed",
};

static const char *const event_types[JOB_STATE_COUNT] = {
	[JOB_QUEUED] = "job.queued",
	[JOB_LOADING] = "job.loading",
	[JOB_WORKING] = "job.working",
	[JOB_DONE] = "job.done",
	[JOB_FAILED] = "job.failed",
};

static const char *const reason_names[REASON_COUNT] = {
	[REASON_NONE] = NULL,
	[REASON_CANCELED] = "canceled",
	[REASON_EXPIRED] = "expired",
	[REASON_TIMEOUT] = "timeout",
	[REASON_MODEL_NOT_FOUND] = "model_not_found",
	[REASON_INVALID_REQUEST] = "invalid_request",
	[REASON_UPSTREAM_ERROR] = "upstream_error",
	[REASON_UPSTREAM_INCOMPLETE] = "upstream_incomplete",
	[REASON_RESPONSE_TOO_LARGE] = "response_too_large",
	[REASON_ATTEMPTS_EXHAUSTED] = "attempts_exhausted",
	[REASON_WORKER_RESTARTED] = "worker_restarted",
	[REASON_INTERNAL] = "internal",
	[REASON_TARGET_LOST] = "target_lost",
	[REASON_TARGET_BUSY] = "target_busy",
	[REASON_FOREMAN_STOPPED] = "foreman_stopped",
	[REASON_RETRY] = "retry",
};

static const char *const waiting_names[WAITING_COUNT] = {
	[WAITING_NONE] = NULL,
	[WAITING_WORKER] = "worker",
	[WAITING_MODEL] = "model",
	[WAITING_TARGET] = "target",
};

static const char *const mode_names[ARTIFACT_MODE_COUNT] = {
	[ARTIFACT_AUTO] = "auto",
	[ARTIFACT_INLINE] = "inline",
	[ARTIFACT_FETCH] = "fetch",
};

/* Which of the names `s` is, -1 for none. */
static int name_index(const char *const *names, int count, struct span s)
{
	for (int i = 0; i < count; i++)
		if (names[i] && span_eq(s, names[i]))
			return i;
	return -1;
}

const char *job_state_name(enum job_state s)
{
	return s < JOB_STATE_COUNT ? state_names[s] : NULL;
}

enum err job_state_parse(struct span s, enum job_state *out)
{
	int i = name_index(state_names, JOB_STATE_COUNT, s);

	if (i < 0)
		return ERR_INVAL;
	*out = (enum job_state)i;
	return ERR_OK;
}

bool job_state_terminal(enum job_state s)
{
	return s == JOB_DONE || s == JOB_FAILED;
}

const char *job_reason_name(enum job_reason r)
{
	return r < REASON_COUNT ? reason_names[r] : NULL;
}

enum err job_reason_parse(struct span s, enum job_reason *out)
{
	int i = name_index(reason_names, REASON_COUNT, s);

	if (i < 0)
		return ERR_INVAL;
	*out = (enum job_reason)i;
	return ERR_OK;
}

const char *job_waiting_name(enum job_waiting w)
{
	return w < WAITING_COUNT ? waiting_names[w] : NULL;
}

const char *artifact_mode_name(enum artifact_mode m)
{
	return m < ARTIFACT_MODE_COUNT ? mode_names[m] : NULL;
}

enum err artifact_mode_parse(struct span s, enum artifact_mode *out)
{
	int i = name_index(mode_names, ARTIFACT_MODE_COUNT, s);

	if (i < 0)
		return ERR_INVAL;
	*out = (enum artifact_mode)i;
	return ERR_OK;
}

const char *job_event_type(enum job_state s)
{
	return s < JOB_STATE_COUNT ? event_types[s] : NULL;
}

/* --- arrows -------------------------------------------------------------- */

#define TO(state) (1u << (state))

static const unsigned arrows[JOB_STATE_COUNT] = {
	[JOB_QUEUED] = TO(JOB_LOADING) | TO(JOB_FAILED),
	[JOB_LOADING] = TO(JOB_WORKING) | TO(JOB_FAILED) | TO(JOB_QUEUED),
	[JOB_WORKING] = TO(JOB_DONE) | TO(JOB_FAILED) | TO(JOB_QUEUED),
};

bool job_may_move(enum job_state from, enum job_state to)
{
	return from < JOB_STATE_COUNT && to < JOB_STATE_COUNT &&
	       (arrows[from] & TO(to)) != 0;
}

/* --- the struct ---------------------------------------------------------- */

void job_init(struct job *job)
{
	*job = (struct job){
		.prompt_tokens = -1,
		.completion_tokens = -1,
		.webhook_events = JOB_EVENTS_ALL,
	};
}

void job_done(struct job *job)
{
	free(job->error);
	free(job->endpoint);
	free(job->model);
	free(job->load_key);
	free(job->metadata);
	free(job->webhook_url);
	free(job->webhook_secret);
	for (size_t i = 0; i < job->artifact_count; i++)
		free(job->artifacts[i].inline_bytes);
	free(job->artifacts);
	job_init(job);
}

/* --- the job object ------------------------------------------------------ */

/* Text that came from outside: what is not UTF-8 in it is shown as '?'. */
static void add_text(cJSON *o, const char *key, const char *s)
{
	char *copy = s ? span_dup(span_of(s)) : NULL;
	size_t bad = 0;

	while (copy && !str_utf8_ok(span_of(copy), &bad))
		copy[bad] = '?';
	if (s && !copy)
		json_lack(o);
	else
		json_add_str(o, key, copy);
	free(copy);
}

/* A number, or null for one below `least`. */
static void add_count(cJSON *o, const char *key, int64_t n, int64_t least)
{
	if (n < least)
		json_add_str(o, key, NULL);
	else
		json_add_int(o, key, n);
}

/* A link to `tail` of the job: "/jobs/ID" and what follows, under the public
 * URL if there is one. */
static void add_link(cJSON *o, const char *key, const struct job_view *view,
                     const struct job *job, const char *tail)
{
	struct span base = span_of(view->public_url);
	char *link = NULL;
	size_t size;

	while (base.len > 0 && base.p[base.len - 1] == '/')
		base.len--;
	size = base.len + sizeof("/jobs/") + ULID_LEN + strlen(tail);
	link = malloc(size);
	if (!link) {
		json_lack(o);
		return;
	}
	snprintf(link, size, "%.*s/jobs/%s%s", (int)base.len, base.len ? base.p : "",
	         job->id, tail);
	json_add_str(o, key, link);
	free(link);
}

/* How long a part lasted: to `end`, but nothing if it has not begun or the
 * clock stepped back. */
static int64_t lasted(int64_t begin, int64_t end)
{
	return begin == 0 || end < begin ? 0 : end - begin;
}

/* When the latest run began to load and to work: a job that is back in line
 * has left its earlier runs behind. */
static int64_t loading_at(const struct job *job)
{
	return job->state == JOB_QUEUED ? 0 : job->loading_ms;
}

static int64_t working_at(const struct job *job)
{
	return job->state == JOB_QUEUED || job->state == JOB_LOADING ? 0
	                                                             : job->working_ms;
}

static void add_timings(cJSON *o, const struct job *job, int64_t now_ms)
{
	cJSON *timings = json_add_object(o, "timings");
	int64_t queued = job->queued_ms ? job->queued_ms : job->created_ms;
	int64_t loading = loading_at(job), working = working_at(job);
	int64_t end = job->finished_ms ? job->finished_ms : now_ms;

	json_add_int(timings, "queued_ms", lasted(queued, loading ? loading : end));
	json_add_int(timings, "loading_ms", lasted(loading, working ? working : end));
	json_add_int(timings, "working_ms", lasted(working, end));
}

/* All or nothing: an end without a start helps nobody. */
static void add_estimate(cJSON *o, const struct job *job)
{
	cJSON *estimate;

	if (!job->starts_ms || !job->ends_ms) {
		json_add_str(o, "estimate", NULL);
		return;
	}
	estimate = json_add_object(o, "estimate");
	json_add_time(estimate, "starts_at", job->starts_ms);
	json_add_time(estimate, "ends_at", job->ends_ms);
}

static void add_usage(cJSON *o, const struct job *job)
{
	cJSON *usage = json_add_object(o, "usage");

	add_count(usage, "prompt_tokens", job->prompt_tokens, 0);
	add_count(usage, "completion_tokens", job->completion_tokens, 0);
}

static bool is_json_type(const char *content_type)
{
	struct span rest = span_of(content_type), type;

	return span_cut(&rest, ';', &type) &&
	       span_eq_nocase(span_trim(type), "application/json");
}

static bool is_json(struct span text)
{
	static const struct jscan_rules rules = { .max_depth = JSON_DEPTH_MAX };

	return jscan(text, &rules, NULL, NULL, NULL, NULL) == ERR_OK;
}

/*
 * A JSON value without the white space around its tokens, so that a job object
 * stays one line; NULL when there is no memory.
 */
static char *one_line(struct span text)
{
	bool in_string = false;
	size_t n = 0;
	char *out = malloc(text.len + 1);

	if (!out)
		return NULL;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.p[i];

		if (!in_string && (c == ' ' || c == '\t' || c == '\n' || c == '\r'))
			continue;
		out[n++] = c;
		if (in_string && c == '\\')
			out[n++] = text.p[++i];
		else if (c == '"')
			in_string = !in_string;
	}
	out[n] = '\0';
	return out;
}

/* JSON as JSON, other text as a string; bytes that are neither stay behind
 * their link. */
static void add_inline(cJSON *o, const struct artifact *a)
{
	struct span bytes = { a->inline_bytes, (size_t)a->bytes };
	bool json = is_json_type(a->content_type) && is_json(bytes);
	char *text;

	if (!json && (memchr(bytes.p, '\0', bytes.len) || !str_utf8_ok(bytes, NULL)))
		return;
	text = json ? one_line(bytes) : span_dup(bytes);
	if (!text)
		json_lack(o);
	else if (json)
		json_add_raw(o, "inline", text);
	else
		json_add_str(o, "inline", text);
	free(text);
}

static bool rides_inline(const struct artifact *a, const struct job *job,
                         const struct job_view *view)
{
	if (!a->inline_bytes || job->artifact_mode == ARTIFACT_FETCH)
		return false;
	return job->artifact_mode == ARTIFACT_INLINE || a->bytes <= view->inline_max;
}

static void add_artifact(cJSON *list, const struct artifact *a,
                         const struct job *job, const struct job_view *view)
{
	char tail[sizeof("/artifacts/") + sizeof(a->name)];
	cJSON *o = cJSON_CreateObject();

	snprintf(tail, sizeof(tail), "/artifacts/%s", a->name);
	json_add_str(o, "name", a->name);
	add_text(o, "content_type", a->content_type);
	json_add_int(o, "bytes", a->bytes);
	json_add_str(o, "sha256", a->sha256);
	add_link(o, "href", view, job, tail);
	if (!a->complete)
		json_add_bool(o, "complete", false);
	if (rides_inline(a, job, view))
		add_inline(o, a);
	json_append(list, o);
}

static void add_webhook(cJSON *o, const struct job *job)
{
	cJSON *webhook;

	if (!job->webhook_url) {
		json_add_str(o, "webhook", NULL);
		return;
	}
	webhook = json_add_object(o, "webhook");
	add_text(webhook, "url", job->webhook_url);
	json_add_int(webhook, "pending", job->webhook_pending);
	json_add_int(webhook, "dead", job->webhook_dead);
}

static void add_urls(cJSON *o, const struct job *job, const struct job_view *view)
{
	cJSON *urls = json_add_object(o, "urls");

	add_link(urls, "self", view, job, "");
	add_link(urls, "stream", view, job, "/stream");
	add_link(urls, "events", view, job, "/events");
	add_link(urls, "cancel", view, job, "/cancel");
}

static void add_metadata(cJSON *o, const struct job *job)
{
	struct span given = span_of(job->metadata);
	char *text = one_line(is_json(given) ? given : SPAN_LIT("{}"));

	if (text)
		json_add_raw(o, "metadata", text);
	else
		json_lack(o);
	free(text);
}

char *job_json(const struct job *job, const struct job_view *view)
{
	cJSON *o = cJSON_CreateObject(), *artifacts;
	char *text;

	json_add_str(o, "id", job->id);
	json_add_str(o, "state", job_state_name(job->state));
	json_add_bool(o, "terminal", job_state_terminal(job->state));
	json_add_str(o, "reason", job_reason_name(job->reason));
	add_text(o, "error", job->error);
	json_add_bool(o, "attended", job->attended);
	add_text(o, "endpoint", job->endpoint);
	add_text(o, "model", job->model);
	add_count(o, "position", job->position, 1);
	add_estimate(o, job);
	json_add_str(o, "waiting_on", job_waiting_name(job->waiting_on));
	json_add_int(o, "attempts", job->attempts);
	json_add_int(o, "seq", job->event_seq);
	json_add_time(o, "created_at", job->created_ms);
	json_add_time(o, "loading_at", loading_at(job));
	json_add_time(o, "working_at", working_at(job));
	json_add_time(o, "finished_at", job->finished_ms);
	add_timings(o, job, view->now_ms);
	add_usage(o, job);
	artifacts = json_add_array(o, "artifacts");
	for (size_t i = 0; i < job->artifact_count; i++)
		add_artifact(artifacts, &job->artifacts[i], job, view);
	add_webhook(o, job);
	add_metadata(o, job);
	add_urls(o, job, view);
	text = json_text(o);
	cJSON_Delete(o);
	return text;
}

char *job_event_json(const struct job *job, const struct job_view *view,
                     int64_t at_ms)
{
	char *object = job_json(job, view);
	char at[CLOCK_ISO_SIZE];
	char *text = NULL;
	struct buf b;

	if (!object)
		return NULL;
	clock_iso(at_ms, at);
	buf_init(&b, SIZE_MAX);
	if (!buf_addf(&b, "{\"type\":\"%s\",\"timestamp\":\"%s\",\"data\":{\"job\":",
	              job_event_type(job->state), at) &&
	    !buf_add_str(&b, object) && !buf_add_str(&b, "}}"))
		text = buf_take(&b, NULL);
	buf_done(&b);
	free(object);
	return text;
}
