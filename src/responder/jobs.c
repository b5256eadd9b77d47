/*
 * jobs.c - the job resources that do not run anything.
 *
 * Reads are short statements on the thread's own connection; an artifact goes
 * out chunk by chunk, and no statement stays open while a client reads.
 * Query parameters foreman does not know are refused, so that a filter never
 * silently filters nothing.
 */
#include <config.h>

#include "responder/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "core/limits.h"
#include "core/model.h"
#include "responder/answer.h"
#include "responder/lot.h"
#include "responder/route.h"
#include "store/artifact.h"
#include "store/group.h"
#include "store/look.h"
#include "store/status.h"

#define RETRY_AFTER_S 2

/* The path's job id, in canonical form, into c->job. */
static bool id_ok(struct call *c)
{
	if (ulid_parse(c->id, c->job) == ERR_OK)
		return true;
	c->job[0] = '\0';
	answer_fault(c, FAULT_INVALID_JOB_ID, "not a job id");
	return false;
}

static void answer_job_error(struct call *c, enum err e)
{
	if (e == ERR_NOENT)
		answer_fault(c, FAULT_NOT_FOUND, "no such job");
	else if (e == ERR_DENIED)
		answer_fault(c, FAULT_RETIRED, "the job was removed after its time");
	else
		answer_store_error(c, e);
}

static void answer_job(struct call *c, int status, const char *headers,
                       const struct job *job)
{
	struct job_view view = call_view(c);

	answer_json(c, status, headers, job_json(job, &view));
}

/*
 * The job with those artifacts' bytes that ride inline. Only one that asked
 * for it carries large ones, so they are loaded when that is known.
 */
static enum err look_shown(const struct call *c, struct db *db, struct job *out)
{
	enum err e = look_job(db, c->job, c->seat->service->conf->inline_max, out);

	if (e || out->artifact_mode != ARTIFACT_INLINE)
		return e;
	job_done(out);
	return look_job(db, c->job, INT64_MAX, out);
}

/* Does If-None-Match name this entity tag (given with its quotes)? */
static bool none_match(const struct call *c, const char *tag)
{
	struct span list = call_header(c, "HTTP_IF_NONE_MATCH"), one;

	while (span_cut(&list, ',', &one)) {
		one = span_trim(one);
		if (one.len > 2 && one.p[0] == 'W' && one.p[1] == '/')
			one = (struct span){ one.p + 2, one.len - 2 };
		if (span_eq(one, tag) || span_eq(one, "*"))
			return true;
	}
	return false;
}

/* --- one job -------------------------------------------------------------- */

void jobs_show(struct call *c)
{
	char tag[32], headers[128];
	struct span query = c->query;
	struct job job;
	struct db *db;
	enum err e;

	if (!id_ok(c))
		return;
	if (query.len) {
		answer_fault(c, FAULT_INVALID_REQUEST,
		             "there are no query parameters here");
		return;
	}
	if (call_db(c, &db))
		return;
	e = look_shown(c, db, &job);
	if (e) {
		answer_job_error(c, e);
		return;
	}
	snprintf(tag, sizeof(tag), "\"%lld\"", (long long)job.event_seq);
	snprintf(headers, sizeof(headers),
	         "ETag: W/%s\nCache-Control: no-store\n", tag);
	if (!job_state_terminal(job.state))
		snprintf(headers + strlen(headers), sizeof(headers) - strlen(headers),
		         "Retry-After: %d\n", RETRY_AFTER_S);
	if (none_match(c, tag))
		answer_empty(c, 304, headers);
	else
		answer_job(c, 200, headers, &job);
	job_done(&job);
}

void jobs_cancel(struct call *c)
{
	const struct service *service = c->seat->service;
	enum queue_cancel_answer answer;
	struct job job;
	struct db *db;
	enum err e;

	if (!id_ok(c) || call_db(c, &db))
		return;
	e = group_cancel(service->group, c->job, clock_wall_ms(), &answer, &c->why);
	/* one that is not there may have been retired: only looking tells */
	if (e && e != ERR_NOENT) {
		answer_store_error(c, e);
		return;
	}
	if (!e && answer != CANCEL_TERMINAL)
		lot_cancel(service->lot, c->job);
	e = look_shown(c, db, &job);
	if (e) {
		answer_job_error(c, e);
		return;
	}
	answer_job(c, job_state_terminal(job.state) ? 200 : 202,
	           "Cache-Control: no-store\n", &job);
	job_done(&job);
}

/* --- the list ------------------------------------------------------------- */

struct listing {
	struct look_filter filter;
	char *model;
	char before[ULID_SIZE];
	unsigned seen;
};

static enum err take_state(struct listing *l, struct span value)
{
	l->filter.any_state = false;
	return job_state_parse(value, &l->filter.state);
}

static enum err take_model(struct listing *l, struct span value)
{
	struct model_name name;

	if (model_parse(value, &name, NULL))
		return ERR_INVAL;
	l->model = span_dup(value);
	l->filter.model = l->model;
	return l->model ? ERR_OK : ERR_NOMEM;
}

static enum err take_limit(struct listing *l, struct span value)
{
	uint64_t n;

	if (str_u64(value, &n) || n < 1 || n > LIMIT_LIST_MAX)
		return ERR_INVAL;
	l->filter.limit = (int)n;
	return ERR_OK;
}

static enum err take_before(struct listing *l, struct span value)
{
	l->filter.before = l->before;
	return ulid_parse(value, l->before);
}

static const struct {
	const char *name;
	enum err (*take)(struct listing *l, struct span value);
	const char *wanted;
} parameters[] = {
	{ "state", take_state,
	  "state must be queued, loading, working, done or failed" },
	{ "model", take_model, "model must be a model's name" },
	{ "limit", take_limit, "limit must be a number from 1 to 200" },
	{ "before", take_before, "before must be a job id" },
};

static const char *take_parameter(struct listing *l, struct span name,
                                  struct span value)
{
	for (size_t i = 0; i < ARRAY_LEN(parameters); i++) {
		if (!span_eq(name, parameters[i].name))
			continue;
		if (l->seen & (1u << i))
			return "a query parameter is given twice";
		l->seen |= 1u << i;
		return parameters[i].take(l, value) ? parameters[i].wanted : NULL;
	}
	return "query parameters are state, model, limit and before";
}

/* NULL: all are good. */
static const char *read_query(struct span query, struct listing *l)
{
	const char *text = NULL;
	struct span name;
	char *value;
	enum err e;

	l->filter = (struct look_filter){ .any_state = true,
		                              .limit = LIMIT_LIST_DEFAULT };
	while (!text && (e = call_query_next(&query, &name, &value)) != ERR_NOENT) {
		if (e)
			return "the query is not properly encoded";
		text = take_parameter(l, name, span_of(value));
		free(value);
	}
	return text;
}

static char *list_json(struct call *c, const struct job *jobs, size_t count,
                       const char *next)
{
	struct job_view view = call_view(c);
	cJSON *o = cJSON_CreateObject();
	cJSON *list = cJSON_AddArrayToObject(o, "jobs");
	char *text;

	for (size_t i = 0; i < count; i++) {
		char *job = job_json(&jobs[i], &view);
		cJSON *raw = job ? cJSON_CreateRaw(job) : NULL;

		free(job);
		if (!cJSON_AddItemToArray(list, raw))
			cJSON_Delete(raw);
	}
	json_add_str(o, "next", next[0] ? next : NULL);
	text = json_text(o);
	cJSON_Delete(o);
	return text;
}

void jobs_list(struct call *c)
{
	struct listing l = { 0 };
	const char *wrong = read_query(c->query, &l);
	char next[ULID_SIZE];
	struct job *jobs;
	size_t count;
	struct db *db;
	enum err e;

	if (wrong) {
		answer_fault(c, FAULT_INVALID_REQUEST, "%s", wrong);
	} else if (!call_db(c, &db)) {
		e = look_jobs(db, &l.filter, &jobs, &count, next);
		if (e) {
			answer_store_error(c, e);
		} else {
			answer_json(c, 200, "Cache-Control: no-store\n",
			            list_json(c, jobs, count, next));
			for (size_t i = 0; i < count; i++)
				job_done(&jobs[i]);
			free(jobs);
		}
	}
	free(l.model);
}

/* --- the artifact --------------------------------------------------------- */

/* No artifact: say whether it is the job that is missing. */
static void answer_no_artifact(struct call *c, struct db *db)
{
	struct job job;
	enum err e = look_job(db, c->job, 0, &job);

	if (e) {
		answer_job_error(c, e);
		return;
	}
	answer_fault(c, FAULT_NOT_FOUND,
	             job_state_terminal(job.state) ? "the job left no response"
	                                           : "the job has no response yet");
	job_done(&job);
}

/*
 * The head promises the length; should the artifact be removed while it is
 * sent, the answer ends short and the client sees that.
 */
static void send_chunks(struct call *c, struct db *db, int64_t handle)
{
	struct buf chunk;
	enum err e = ERR_OK;

	buf_init(&chunk, LIMIT_ARTIFACT_CHUNK);
	for (int64_t n = 0; !e; n++) {
		e = artifact_chunk(db, handle, n, &chunk);
		if (!e)
			e = fcgx_write(c->req, chunk.p, chunk.len);
	}
	if (e != ERR_NOENT)
		errtext_set(&c->why, "artifact cut short: %s", err_name(e));
	buf_done(&chunk);
}

void jobs_response(struct call *c)
{
	char tag[80], headers[256];
	struct artifact a;
	int64_t handle;
	struct db *db;
	enum err e;

	if (!id_ok(c) || call_db(c, &db))
		return;
	e = artifact_find(db, c->job, "response", &a, &handle);
	if (e == ERR_NOENT) {
		answer_no_artifact(c, db);
		return;
	}
	if (e) {
		answer_store_error(c, e);
		return;
	}
	snprintf(tag, sizeof(tag), "\"%s\"", a.sha256);
	snprintf(headers, sizeof(headers), "ETag: %s\n", tag);
	if (none_match(c, tag)) {
		answer_empty(c, 304, headers);
		return;
	}
	snprintf(headers + strlen(headers), sizeof(headers) - strlen(headers),
	         "Content-Length: %lld\nX-Content-Type-Options: nosniff\n",
	         (long long)a.bytes);
	c->status = 200;
	if (fcgx_head(c->req, 200, a.content_type[0] ? a.content_type : NULL,
	              span_of(headers)) == ERR_OK)
		send_chunks(c, db, handle);
}

/* --- the queue ------------------------------------------------------------ */

static void add_running(cJSON *o, struct call *c, const struct look_queue *q)
{
	struct job_view view = call_view(c);
	char *job = q->running_job ? job_json(q->running_job, &view) : NULL;

	json_add_raw(o, "running", job ? job : "null");
	free(job);
}

static void add_waiting(cJSON *o, const struct look_queue *q)
{
	cJSON *list = cJSON_AddArrayToObject(o, "waiting");

	for (size_t i = 0; i < q->waiting_count; i++) {
		const struct look_waiting *w = &q->waiting[i];
		cJSON *one = cJSON_CreateObject();

		json_add_str(one, "model", w->load_key);
		json_add_bool(one, "attended", w->attended);
		json_add_int(one, "count", w->count);
		json_add_time(one, "oldest_at", w->oldest_ms);
		if (!cJSON_AddItemToArray(list, one))
			cJSON_Delete(one);
	}
}

static void add_target(cJSON *o, const struct status *s)
{
	cJSON *target = cJSON_AddObjectToObject(o, "target");

	json_add_str(target, "state", target_state_name(s->target));
	json_add_time(target, "since", s->target_since_ms);
	json_add_time(target, "seen_at", s->target_seen_ms);
	json_add_str(target, "error", s->target_error);
	json_add_str(target, "version", s->version);
	json_add_str(target, "loaded", s->loaded_key);
}

static char *queue_json(struct call *c, const struct look_queue *q,
                        const struct status *s)
{
	cJSON *o = cJSON_CreateObject(), *part;
	char *text;

	add_running(o, c, q);
	add_waiting(o, q);
	part = cJSON_AddObjectToObject(o, "jobs");
	for (int i = 0; i < JOB_STATE_COUNT; i++)
		json_add_int(part, job_state_name((enum job_state)i), q->states[i]);
	add_target(o, s);
	part = cJSON_AddObjectToObject(o, "webhooks");
	json_add_int(part, "pending", q->webhooks_pending);
	json_add_int(part, "dead", q->webhooks_dead);
	part = cJSON_AddObjectToObject(o, "swaps");
	json_add_int(part, "made", q->swaps);
	json_add_int(part, "in_order_of_arrival", q->fifo_swaps);
	text = json_text(o);
	cJSON_Delete(o);
	return text;
}

void jobs_queue(struct call *c)
{
	struct look_queue q;
	struct status s;
	struct db *db;
	enum err e;

	if (call_db(c, &db))
		return;
	e = look_queue(db, &q);
	if (e) {
		answer_store_error(c, e);
		return;
	}
	e = status_read(db, false, &s);
	if (e) {
		answer_store_error(c, e);
	} else {
		answer_json(c, 200, "Cache-Control: no-store\n", queue_json(c, &q, &s));
		status_done(&s);
	}
	look_queue_done(&q);
}
