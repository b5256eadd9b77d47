/*
 * jobs.c - the job resources that do not run anything.
 *
 * Reads are short statements on the thread's own connection.
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
#include "responder/query.h"
#include "responder/show.h"
#include "responder/watch.h"
#include "store/group.h"
#include "store/look.h"
#include "store/status.h"

bool jobs_id_ok(struct call *c)
{
	if (ulid_parse(c->id, c->job) == ERR_OK)
		return true;
	c->job[0] = '\0';
	answer_fault(c, FAULT_INVALID_JOB_ID, "not a job id");
	return false;
}

void jobs_answer_error(struct call *c, enum err e)
{
	const char *text;
	enum fault f = show_fault(e, &text);

	if (e == ERR_NOENT || e == ERR_DENIED)
		answer_fault(c, f, "%s", text);
	else
		answer_store_error(c, e);
}

static void answer_job(struct call *c, int status, const char *headers,
                       const struct job *job)
{
	struct job_view view = call_view(c);

	answer_json(c, status, headers, job_json(job, &view));
}

static enum err look_shown(const struct call *c, struct db *db, struct job *out)
{
	return show_look(db, c->job, c->seat->service->conf->inline_max, out);
}

bool jobs_none_match(const struct call *c, const char *tag)
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

static enum err take_wait(void *to, struct span value)
{
	return query_wait(value, to);
}

/* `?wait=30`; 0 if it is not there. False: it is answered. */
static bool read_wait(struct call *c, int64_t *wait_ms)
{
	static const struct query_parameter known[] = {
		{ "wait", take_wait, "wait must be a number of seconds" },
	};

	*wait_ms = 0;
	return query_read(c, known, ARRAY_LEN(known), wait_ms);
}

/* Give the request to the watch. */
static void park(struct call *c, struct watch_ticket *ticket)
{
	enum err e = fcgx_detach(c->req, &ticket->fd, &ticket->fcgi_id);

	if (e) {
		answer_fault(c, FAULT_INTERNAL, "cannot wait: %s", err_name(e));
		return;
	}
	str_copy(ticket->id, sizeof(ticket->id), c->job);
	ticket->head = call_by(c, "HEAD");
	ticket->trail = c->trail;
	c->req = NULL;
	watch_park(c->seat->service->watch, ticket);
}

/* The job as it is now; or, if that is not what the client waits for, later. */
static void show_or_wait(struct call *c, const struct job *job, int64_t wait_ms)
{
	bool conditional = call_header(c, "HTTP_IF_NONE_MATCH").p != NULL;
	char tag[SHOW_TAG_SIZE], lines[SHOW_LINES_SIZE];
	bool known;

	show_tag(job, tag);
	show_lines(job, lines);
	known = jobs_none_match(c, tag);
	if (wait_ms && !job_state_terminal(job->state) && (known || !conditional))
		park(c, &(struct watch_ticket){ .what = WATCH_MOVE,
		                                .since_seq = job->event_seq,
		                                .wait_ms = wait_ms,
		                                .conditional = conditional });
	else if (known)
		answer_empty(c, 304, lines);
	else
		answer_job(c, 200, lines, job);
}

void jobs_show(struct call *c)
{
	int64_t wait_ms;
	struct job job;
	struct db *db;
	enum err e;

	if (!jobs_id_ok(c) || !read_wait(c, &wait_ms) || call_db(c, &db))
		return;
	e = look_shown(c, db, &job);
	if (e) {
		jobs_answer_error(c, e);
		return;
	}
	show_or_wait(c, &job, wait_ms);
	job_done(&job);
}

void jobs_events(struct call *c)
{
	struct span last = call_header(c, "HTTP_LAST_EVENT_ID");
	uint64_t seq = 0;

	if (!jobs_id_ok(c) || !query_none(c))
		return;
	if (last.p && (str_u64(last, &seq) || seq > INT64_MAX))
		answer_fault(c, FAULT_INVALID_REQUEST,
		             "Last-Event-ID is not an event's number");
	else
		park(c, &(struct watch_ticket){ .what = WATCH_EVENTS,
		                                .since_seq = (int64_t)seq });
}

void jobs_cancel(struct call *c)
{
	const struct service *service = c->seat->service;
	enum queue_cancel_answer answer;
	struct job job;
	struct db *db;
	enum err e;

	if (!jobs_id_ok(c) || call_db(c, &db))
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
		jobs_answer_error(c, e);
		return;
	}
	answer_job(c, job_state_terminal(job.state) ? 200 : 202,
	           "Cache-Control: no-store\n", &job);
	job_done(&job);
}

void jobs_remove(struct call *c)
{
	const struct service *service = c->seat->service;
	struct job job;
	struct db *db;
	enum err e;

	if (!jobs_id_ok(c) || call_db(c, &db))
		return;
	e = group_remove(service->group, c->job, &c->why);
	if (e == ERR_NOENT) { /* never there, or removed before? */
		e = look_job(db, c->job, -1, &job);
		if (!e) /* made in between: as if it came after us */
			job_done(&job);
		jobs_answer_error(c, e ? e : ERR_NOENT);
	} else if (e) {
		answer_store_error(c, e);
	} else {
		lot_cancel(service->lot, c->job); /* who runs it, and who follows it */
		answer_empty(c, 204, NULL);
	}
}

/* --- the list ------------------------------------------------------------- */

struct listing {
	struct look_filter filter;
	char *model;
	char before[ULID_SIZE];
};

static enum err take_state(void *to, struct span value)
{
	struct listing *l = to;

	l->filter.any_state = false;
	return job_state_parse(value, &l->filter.state);
}

static enum err take_model(void *to, struct span value)
{
	struct listing *l = to;
	struct model_name name;

	if (model_parse(value, &name, NULL))
		return ERR_INVAL;
	l->model = span_dup(value);
	l->filter.model = l->model;
	return l->model ? ERR_OK : ERR_NOMEM;
}

static enum err take_limit(void *to, struct span value)
{
	struct listing *l = to;

	return query_limit(value, &l->filter.limit);
}

static enum err take_before(void *to, struct span value)
{
	struct listing *l = to;

	l->filter.before = l->before;
	return ulid_parse(value, l->before);
}

static char *list_json(struct call *c, const struct job *jobs, size_t count,
                       const char *next)
{
	struct job_view view = call_view(c);
	cJSON *o = cJSON_CreateObject();
	cJSON *list = json_add_array(o, "jobs");
	char *text;

	for (size_t i = 0; i < count; i++) {
		char *job = job_json(&jobs[i], &view);
		cJSON *raw = job ? cJSON_CreateRaw(job) : NULL;

		free(job);
		json_append(list, raw);
	}
	json_add_str(o, "next", next[0] ? next : NULL);
	text = json_text(o);
	cJSON_Delete(o);
	return text;
}

void jobs_list(struct call *c)
{
	static const struct query_parameter known[] = {
		{ "state", take_state,
		  "state must be queued, loading, working, done or failed" },
		{ "model", take_model, "model must be a model's name" },
		{ "limit", take_limit, QUERY_LIMIT_WANTED },
		{ "before", take_before, "before must be a job id" },
	};
	struct listing l = {
		.filter = { .any_state = true, .limit = LIMIT_LIST_DEFAULT }
	};
	char next[ULID_SIZE];
	struct job *jobs;
	size_t count;
	struct db *db;
	enum err e;

	if (query_read(c, known, ARRAY_LEN(known), &l) && !call_db(c, &db)) {
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

/* --- the queue ------------------------------------------------------------ */

static void add_running(cJSON *o, struct call *c, const struct look_queue *q)
{
	struct job_view view = call_view(c);
	char *job = q->running_job ? job_json(q->running_job, &view) : NULL;
	char rate[32];

	json_add_raw(o, "running", job);
	if (q->running_job && !job)
		json_lack(o);
	free(job);
	snprintf(rate, sizeof(rate), "%.1f", q->tokens_per_s);
	json_add_raw(o, "tokens_per_s", q->tokens_per_s > 0 ? rate : NULL);
}

/* When the first of them starts and the last one ends, or null. */
static void add_span(cJSON *o, int64_t starts_ms, int64_t ends_ms)
{
	cJSON *estimate;

	if (!starts_ms || !ends_ms) {
		json_add_str(o, "estimate", NULL);
		return;
	}
	estimate = json_add_object(o, "estimate");
	json_add_time(estimate, "starts_at", starts_ms);
	json_add_time(estimate, "ends_at", ends_ms);
}

/* Of the whole queue; its pace may be unknown though it is known to be empty. */
static void add_estimate(cJSON *o, const struct look_queue *q)
{
	cJSON *estimate;
	char rate[32];

	if (!q->empty_ms) {
		json_add_str(o, "estimate", NULL);
		return;
	}
	snprintf(rate, sizeof(rate), "%.1f", 60000.0 / (double)q->ms_per_job);
	estimate = json_add_object(o, "estimate");
	json_add_time(estimate, "empty_at", q->empty_ms);
	json_add_raw(estimate, "jobs_per_minute", q->ms_per_job > 0 ? rate : NULL);
}

static void add_waiting(cJSON *o, const struct look_queue *q)
{
	cJSON *list = json_add_array(o, "waiting");

	for (size_t i = 0; i < q->waiting_count; i++) {
		const struct look_waiting *w = &q->waiting[i];
		cJSON *one = cJSON_CreateObject();

		json_add_str(one, "model", w->load_key);
		json_add_bool(one, "attended", w->attended);
		json_add_int(one, "count", w->count);
		json_add_time(one, "oldest_at", w->oldest_ms);
		add_span(one, w->starts_ms, w->ends_ms);
		json_append(list, one);
	}
}

static void add_target(cJSON *o, const struct status *s)
{
	cJSON *target = json_add_object(o, "target");

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
	part = json_add_object(o, "jobs");
	for (int i = 0; i < JOB_STATE_COUNT; i++)
		json_add_int(part, job_state_name((enum job_state)i), q->states[i]);
	add_estimate(o, q);
	add_target(o, s);
	part = json_add_object(o, "webhooks");
	json_add_int(part, "pending", q->webhooks_pending);
	json_add_int(part, "dead", q->webhooks_dead);
	part = json_add_object(o, "swaps");
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
