/*
 * run.c - one job's life at the target.
 *
 * Owns the claimed job, its body, its transfer; holds its reply. True
 * throughout: at most one transfer is open, and it is closed before the
 * verdict is committed, so that no second generation can begin beside it.
 * Each move is the store's; an answer of ERR_STALE means the job was removed
 * or moved by somebody with the right to, and the run ends without a word.
 *
 * Head and bytes go to the reader before `working` is committed. A crash in
 * between leaves `loading`: an unattended job runs again, which is what a
 * crash one line later would do as well; an attended client has seen bytes,
 * so its responder does not attach again, and the next worker fails the job
 * with worker_restarted. The end goes out after the commit: who has read to
 * the end finds the job finished. A 503 or 429 is shown to nobody: the job
 * goes back to its place in line, and who waits for it waits on.
 */
#include <config.h>

#include "worker/run.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/content.h"
#include "core/header.h"
#include "core/model.h"
#include "core/retry.h"
#include "http/hub.h"
#include "store/queue.h"

enum phase { RUN_IDLE, RUN_SENDING, RUN_ANSWERING, RUN_SETTLING };

struct run {
	struct run_env env;
	struct run_calls calls;
	void *arg;
	enum phase phase;

	struct job job;
	struct queue_input input;
	char *url;
	char *auth;
	const char *headers[3];
	struct xfer *xfer;
	struct reply *reply;
	int64_t began_mono_ms;
	int64_t heard_mono_ms; /* when the last byte came, or it began */
	char *before;          /* load key in the slot before this run */
	bool rotates;          /* it turns the slot */
	bool swap;             /* ... from another known key */

	int status;
	char content_type[64];
	int64_t retry_after_ms;
	bool good;        /* a 2xx: `scan` follows it */
	int64_t head_ms;  /* when its head came */
	struct pace pace; /* of a success */
	bool busy;        /* a "not now": kept from the readers */
	struct scan scan;
	struct content content; /* of an unattended job's 2xx */
	struct buf refusal;     /* the words of any other status, cut */
	enum run_stop stop;
	struct errtext stop_why;
	struct verdict verdict;
	bool told; /* readers have been told the end */
	bool settle_failing;

	struct loop_timer watch;    /* looks for a cancel; retries the settling */
	struct loop_timer deadline; /* the job's own timeout */
};

static int64_t ran_ms(const struct run *r)
{
	return clock_mono_ms() - r->began_mono_ms;
}

/* --- telling --------------------------------------------------------------- */

static void log_start(const struct run *r)
{
	struct span lines = span_of(r->input.headers);
	char request[128], parent[256]; /* as long as a responder lets them be */
	bool asked = header_copy(lines, "X-Request-Id", request, sizeof(request));
	bool traced = header_copy(lines, "traceparent", parent, sizeof(parent)) &&
	              strlen(parent) > 35;

	if (traced)
		parent[35] = '\0'; /* "00-", and behind it the trace id alone */
	log_event(LOG_INFO, "job loading", KV_S("job", r->job.id),
	          KV_S("request", asked ? request : NULL),
	          KV_S("trace", traced ? parent + 3 : NULL),
	          KV_S("model", r->job.model), KV_S("endpoint", r->job.endpoint),
	          KV_S("attended", r->job.attended ? "yes" : "no"),
	          KV_S("swap", r->swap ? "yes" : "no"),
	          KV_I("queue_ms", r->job.loading_ms - r->job.created_ms));
}

static void log_verdict(const struct run *r)
{
	static const char *const words[] = { "job done", "job failed", "job back",
		                                 "job gone" };
	const struct verdict *v = &r->verdict;
	enum log_level level = v->kind == VERDICT_DONE ? LOG_INFO : LOG_WARN;
	const char *why =
	    v->quoted ? "the target said why: see the job's error" : v->error;

	log_event(
	    level, words[v->kind], KV_S("job", r->job.id), KV_S("model", r->job.model),
	    KV_S("reason", job_reason_name(v->reason)), KV_S("why", *why ? why : NULL),
	    KV_I("ms", ran_ms(r)), KV_I("bytes", reply_body(r->reply).len),
	    KV_I("status", r->status), KV_I("held_ms", v->hold_ms));
}

/* Whoever reads along learns the end; whoever has seen nothing of a run that
 * went back waits for the next one. */
static void tell_readers(struct run *r)
{
	const struct verdict *v = &r->verdict;

	if (r->told)
		return;
	r->told = true;
	if (v->kind == VERDICT_BACK) {
		relay_unbind(r->env.relay, r->job.id);
		reply_withdraw(r->reply);
	}
	reply_end(r->reply, v->end, v->end_status, v->end_text);
}

/* --- the end --------------------------------------------------------------- */

static void clean_up(struct run *r)
{
	loop_timer_stop(&r->watch);
	loop_timer_stop(&r->deadline);
	job_done(&r->job);
	buf_done(&r->refusal);
	content_done(&r->content);
	free(r->input.body);
	free(r->input.headers);
	free(r->url);
	free(r->auth);
	free(r->before);
	r->input = (struct queue_input){ 0 };
	r->url = r->auth = r->before = NULL;
	reply_release(r->reply);
	r->reply = NULL;
	r->phase = RUN_IDLE;
}

static struct queue_result result_of(const struct run *r)
{
	struct queue_result result = {
		.content_type = r->content_type,
		.complete = r->verdict.kind == VERDICT_DONE,
		.prompt_tokens = r->scan.prompt_tokens,
		.completion_tokens = r->scan.completion_tokens,
		.pace = r->verdict.kind == VERDICT_DONE ? &r->pace : NULL,
	};

	/* An attended client had its answer; only jobs leave it in the store. */
	if (!r->job.attended && (result.complete || r->verdict.keep)) {
		result.response = reply_body(r->reply);
		result.content = content_text(&r->content);
	}
	return result;
}

/* One try to commit the verdict. */
static enum err commit(struct run *r, int64_t now_ms, struct errtext *why)
{
	const struct verdict *v = &r->verdict;
	const char *error = v->error[0] ? v->error : NULL;
	struct queue_result result = result_of(r);
	struct db *db = r->env.db;
	enum err e = ERR_OK;

	switch (v->kind) {
	case VERDICT_DONE:
		if (r->job.state == JOB_LOADING) /* its commit failed at the head */
			e = queue_working(db, &r->job, now_ms, why);
		return e == ERR_OK ? queue_done(db, &r->job, &result, now_ms, why) : e;
	case VERDICT_FAILED:
		return queue_failed(db, &r->job, v->reason, error, v->counted,
		                    r->good ? &result : NULL, now_ms, why);
	case VERDICT_BACK:
		return queue_back(db, &r->job, v->reason, error, v->counted,
		                  v->hold_ms ? now_ms + v->hold_ms : 0, now_ms, why);
	default:
		return ERR_OK;
	}
}

/* Where asking again will not help, the job fails, and nobody waits behind it:
 * an answer that is within FOREMAN_MAX_RESPONSE may be more, as it goes inline
 * into a webhook, than SQLite takes in one piece. */
static enum err commit_or_fail(struct run *r, int64_t now_ms, struct errtext *why)
{
	enum err e = commit(r, now_ms, why);

	if (e != ERR_TOOBIG && e != ERR_INVAL && e != ERR_CONFLICT)
		return e;
	log_event(LOG_ERROR, "what a job came to cannot be stored",
	          KV_S("job", r->job.id), KV_S("why", why->s));
	verdict_unstorable(&r->verdict);
	return commit(r, now_ms, why);
}

static void settle(struct run *r)
{
	struct errtext why = { "" };
	int64_t now_ms = clock_wall_ms();
	int64_t hold_until_ms = 0;
	enum err e = commit_or_fail(r, now_ms, &why);

	if (e != ERR_OK && job_state_terminal(r->job.state)) {
		log_event(LOG_ERROR, "a power cut may undo what a job came to",
		          KV_S("job", r->job.id), KV_S("why", why.s));
		e = ERR_OK;
	}
	if (e != ERR_OK && e != ERR_STALE) {
		if (!r->settle_failing)
			log_event(LOG_ERROR, "cannot store what a job came to; trying again",
			          KV_S("job", r->job.id), KV_S("why", why.s));
		r->settle_failing = true;
		tell_readers(r); /* the client need not wait for our disk */
		loop_timer_set(r->env.loop, &r->watch, LIMIT_SETTLE_RETRY_MS);
		return;
	}
	if (e != ERR_OK)
		r->verdict.kind = VERDICT_NOTHING;
	else if (r->verdict.kind == VERDICT_BACK && r->job.state == JOB_FAILED)
		verdict_canceled(&r->verdict); /* asked for meanwhile; the store saw it */
	log_verdict(r);
	tell_readers(r);
	if (r->verdict.kind == VERDICT_BACK && r->verdict.hold_ms)
		hold_until_ms = now_ms + r->verdict.hold_ms;
	clean_up(r);
	r->calls.moved(r->arg);
	r->calls.over(r->arg, hold_until_ms);
}

/* What the slot holds after a run that did not get its 2xx. */
static void put_back_loaded(struct run *r, const struct xfer_result *result)
{
	bool untouched = result->outcome == XFER_UNREACHABLE ||
	                 result->outcome == XFER_FAILED ||
	                 (result->outcome == XFER_OK && r->status < 500);

	if (r->rotates && !r->good)
		target_set_loaded(r->env.target, untouched ? r->before : NULL);
	target_disturb(r->env.target, false);
}

static struct pace pace_of(const struct run *r)
{
	const struct run_times times = {
		.rotates = r->rotates,
		.known = r->before != NULL,
		.same = r->before && strcmp(r->before, r->job.load_key) == 0,
		.head_ms = r->head_ms,
		.all_ms = ran_ms(r),
	};

	return verdict_pace(&r->scan, &times);
}

/* What follows the body as it grows. */
static void scan_on(struct run *r)
{
	struct span body = reply_body(r->reply);

	scan_more(&r->scan, body);
	if (!r->job.attended)
		content_more(&r->content, body);
}

static void end_scans(struct run *r)
{
	struct span body = reply_body(r->reply);

	scan_end(&r->scan, body);
	if (!r->job.attended)
		content_end(&r->content, body);
}

/* The transfer is closed; what did it come to? */
static void finish(struct run *r, const struct xfer_result *result)
{
	char words[LIMIT_ERROR_TEXT + 1] = "";
	struct run_facts facts = {
		.attended = r->job.attended,
		.attempts = r->job.attempts,
		.max_attempts = (int)r->env.conf->max_attempts,
		.interruptions = r->job.interruptions,
		.stop = r->stop,
		.outcome = result->outcome,
		.why = result->why.s,
		.status = r->busy && result->outcome != XFER_OK ? 0 : r->status,
		.retry_after_ms = r->retry_after_ms,
		.scan = r->good ? &r->scan : NULL,
		.error = words,
	};

	r->xfer = NULL;
	r->phase = RUN_SETTLING;
	loop_timer_stop(&r->watch);
	loop_timer_stop(&r->deadline);
	if (r->good)
		end_scans(r);
	else if (r->status)
		verdict_error_text((struct span){ r->refusal.p, r->refusal.len }, r->status,
		                   words, sizeof(words));
	verdict_judge(&facts, &r->verdict);
	if (r->verdict.kind == VERDICT_DONE)
		r->pace = pace_of(r);
	put_back_loaded(r, result);
	if (r->verdict.lost)
		target_miss(r->env.target, result->refused, result->why.s);
	else if (r->stop == STOP_WEDGED)
		target_trouble(r->env.target, result->why.s);
	else if (r->verdict.kind == VERDICT_DONE && target_answers(r->env.target))
		target_trouble(r->env.target, NULL);
	if (r->stop == STOP_WEDGED && target_key_rotates(r->job.model, NULL))
		r->calls.wedged(r->arg, r->job.model);
	settle(r);
}

/* --- the transfer's callbacks ---------------------------------------------- */

static uint32_t clip_ms(int64_t ms)
{
	if (ms < 0)
		return 0;
	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

/* The 2xx is there: the model is loaded, the job works. */
static void begin_working(struct run *r)
{
	struct errtext why = { "" };
	struct target *target = r->env.target;
	enum err e = queue_working(r->env.db, &r->job, clock_wall_ms(), &why);

	if (e == ERR_STALE)
		r->stop = STOP_GONE;
	else if (e != ERR_OK) /* the end of the run tries again */
		log_event(LOG_ERROR, "cannot note that a job works", KV_S("job", r->job.id),
		          KV_S("why", why.s));
	r->calls.moved(r->arg);
	log_event(LOG_INFO, "job working", KV_S("job", r->job.id),
	          KV_I("load_ms", ran_ms(r)));
	if (r->swap && queue_count_swap(r->env.db) != ERR_OK)
		log_event(LOG_ERROR, "cannot count a swap", KV_S("job", r->job.id));
	if (r->env.conf->embed_model &&
	    model_same(span_of(r->job.model), span_of(r->env.conf->embed_model)))
		target_set_embed_ready(target, true);
}

static bool run_head(void *arg, const struct xfer_head *head)
{
	struct run *r = arg;
	int64_t wall_ms = clock_wall_ms();
	char value[64];
	bool lines = strncmp(head->content_type, "application/x-ndjson", 20) == 0;

	r->phase = RUN_ANSWERING;
	r->heard_mono_ms = clock_mono_ms();
	r->status = head->status;
	r->good = head->status < 300; /* of heads below 200 nobody is told */
	str_copy(r->content_type, sizeof(r->content_type),
	         head->content_type[0] ? head->content_type
	                               : "application/octet-stream");
	if (header_copy(head->headers, "Retry-After", value, sizeof(value)))
		r->retry_after_ms = retry_after_ms(value, wall_ms, LIMIT_RETRY_AFTER_MS);
	target_hit(r->env.target);
	target_disturb(r->env.target, false);
	r->busy = verdict_busy(head->status);
	if (r->busy)
		return true;
	if (reply_head(r->reply, (uint16_t)head->status,
	               clip_ms(r->job.loading_ms - r->job.created_ms),
	               clip_ms(ran_ms(r)), head->headers, lines) != ERR_OK) {
		r->status = 0;
		r->stop = STOP_INTERNAL;
		return false;
	}
	if (r->good) {
		r->head_ms = ran_ms(r);
		scan_init(&r->scan, r->job.endpoint, r->content_type);
		content_init(&r->content, r->job.endpoint, r->content_type,
		             (size_t)r->env.conf->max_response);
		begin_working(r);
	}
	return r->stop == STOP_NONE;
}

static bool run_body(void *arg, const void *p, size_t len)
{
	struct run *r = arg;
	enum err e;

	r->heard_mono_ms = clock_mono_ms();
	target_hit(r->env.target);
	if (!r->good && r->refusal.len < r->refusal.max) {
		size_t room = r->refusal.max - r->refusal.len;

		if (buf_add(&r->refusal, p, len < room ? len : room) != ERR_OK)
			buf_clear(&r->refusal);
	}
	if (r->busy)
		return true;
	e = reply_add(r->reply, p, len);
	if (e != ERR_OK) {
		r->stop = e == ERR_TOOBIG ? STOP_TOO_LARGE : STOP_INTERNAL;
		return false;
	}
	if (r->good)
		scan_on(r);
	return true;
}

static void run_done(void *arg, const struct xfer_result *result)
{
	finish(arg, result);
}

static const struct xfer_calls xfer_calls = { run_head, run_body, run_done };

/* --- stopping -------------------------------------------------------------- */

void run_stop(struct run *r, enum run_stop stop)
{
	struct xfer_result result = { .outcome = XFER_STOPPED, .status = r->status };

	if (r->phase != RUN_SENDING && r->phase != RUN_ANSWERING)
		return;
	r->stop = stop;
	result.why = r->stop_why;
	xfer_stop(r->xfer);
	finish(r, &result);
}

static void deadline_due(void *arg)
{
	run_stop(arg, STOP_TIMEOUT);
}

/*
 * Silence alone means nothing, prompts and loads take their time; but not for
 * ever. True: the run was stopped.
 */
static bool out_of_patience(struct run *r)
{
	const struct conf *conf = r->env.conf;
	int64_t silent_ms = clock_mono_ms() - r->heard_mono_ms;
	int64_t missing_ms = target_missing_ms(r->env.target);

	if (missing_ms > silent_ms)
		missing_ms = silent_ms;
	if (conf->target_stall_ms && missing_ms >= conf->target_stall_ms) {
		errtext_set(&r->stop_why, "the target hangs: no byte, no probe for %lld s",
		            (long long)missing_ms / 1000);
		run_stop(r, STOP_STALLED);
		return true;
	}
	if (conf->max_silence_ms && silent_ms >= conf->max_silence_ms &&
	    target_answers(r->env.target)) {
		errtext_set(&r->stop_why,
		            "the target is wedged: it answers, but no byte for %lld s",
		            (long long)silent_ms / 1000);
		run_stop(r, STOP_WEDGED);
		return true;
	}
	return false;
}

/* A cancel is nudged through the relay; should that be lost, it is found here. */
static void watch_due(void *arg)
{
	struct run *r = arg;
	bool wanted = false;
	enum err e;

	if (r->phase == RUN_SETTLING) {
		settle(r);
		return;
	}
	e = queue_cancel_wanted(r->env.db, r->job.seq, &wanted);
	if (e == ERR_NOENT)
		run_stop(r, STOP_GONE);
	else if (e == ERR_OK && wanted)
		run_stop(r, STOP_CANCELED);
	else if (!out_of_patience(r))
		loop_timer_set(r->env.loop, &r->watch, LIMIT_IDLE_LOOK_MS);
}

/* --- starting -------------------------------------------------------------- */

static void note_slot(struct run *r)
{
	const char *loaded = target_loaded(r->env.target);

	r->rotates = target_key_rotates(r->job.model, r->env.conf->embed_model);
	r->swap = r->rotates && loaded && strcmp(loaded, r->job.load_key) != 0;
	r->before = loaded ? strdup(loaded) : NULL;
	target_disturb(r->env.target, true);
	if (r->rotates)
		target_set_loaded(r->env.target, r->job.load_key);
}

/* A waiting client's request goes with its own headers; of a job foreman knows
 * only that it is JSON. */
static enum err send(struct run *r, struct errtext *why)
{
	const struct conf *conf = r->env.conf;
	int n = 0;
	struct xfer_ask ask = {
		.method = "POST",
		.headers = r->headers,
		.header_lines = span_of(r->input.headers),
		.body = { r->input.body, r->input.body_len },
		.connect_ms = LIMIT_CONNECT_MS,
		.dead_ms = (int)conf->target_dead_ms,
	};

	if (asprintf(&r->url, "%s%s", conf->ollama_url, r->job.endpoint) < 0)
		r->url = NULL;
	if (conf->ollama_token &&
	    asprintf(&r->auth, "Authorization: Bearer %s", conf->ollama_token) < 0)
		r->auth = NULL;
	if (!r->url || (conf->ollama_token && !r->auth))
		return ERR_NOMEM;
	if (!r->job.attended)
		r->headers[n++] = "Content-Type: application/json";
	r->headers[n++] = r->auth;
	r->headers[n] = NULL;
	ask.url = r->url;
	return xfer_start(r->env.loop, &ask, &xfer_calls, r, &r->xfer, why);
}

static void reset(struct run *r)
{
	r->phase = RUN_SENDING;
	r->xfer = NULL;
	r->began_mono_ms = r->heard_mono_ms = clock_mono_ms();
	r->status = 0;
	r->content_type[0] = '\0';
	r->retry_after_ms = -1;
	r->good = r->busy = false;
	r->content = (struct content){ 0 };
	r->scan.prompt_tokens = r->scan.completion_tokens = -1;
	buf_init(&r->refusal, 4 * LIMIT_ERROR_TEXT);
	r->stop = STOP_NONE;
	r->stop_why.s[0] = '\0';
	r->told = false;
	r->settle_failing = false;
}

/* Claimed: off it goes. */
static void begin(struct run *r)
{
	struct xfer_result result = { .outcome = XFER_FAILED };
	enum err e;

	reset(r);
	note_slot(r);
	log_start(r);
	r->calls.moved(r->arg);
	reply_name(r->reply, r->job.id);
	relay_bind(r->env.relay, r->job.id, r->reply);
	loop_timer_set(r->env.loop, &r->watch, LIMIT_IDLE_LOOK_MS);
	if (r->job.timeout_ms > 0)
		loop_timer_set(r->env.loop, &r->deadline, r->job.timeout_ms);
	errtext_set(&result.why, "out of memory");
	e = send(r, &result.why);
	if (e != ERR_OK)
		finish(r, &result);
}

enum err run_start(struct run *r, int64_t seq, struct errtext *why)
{
	struct job job;
	enum err e;

	assert(r->phase == RUN_IDLE);
	r->reply = reply_open(r->env.replies, (size_t)r->env.conf->max_response);
	if (!r->reply)
		return ERR_NOMEM;
	e = queue_claim(r->env.db, seq, clock_wall_ms(), &job, &r->input, why);
	if (e != ERR_OK) {
		reply_end(r->reply, FRAME_END_REFUSED, 503, NULL);
		reply_release(r->reply);
		r->reply = NULL;
		return e;
	}
	r->job = job;
	begin(r);
	return ERR_OK;
}

/* --- the run --------------------------------------------------------------- */

enum err run_new(const struct run_env *env, const struct run_calls *calls,
                 void *arg, struct run **out)
{
	struct run *r = calloc(1, sizeof(*r));

	if (!r)
		return ERR_NOMEM;
	r->env = *env;
	r->calls = *calls;
	r->arg = arg;
	loop_timer_init(&r->watch, watch_due, r);
	loop_timer_init(&r->deadline, deadline_due, r);
	*out = r;
	return ERR_OK;
}

void run_free(struct run *r)
{
	if (!r)
		return;
	xfer_stop(r->xfer);
	if (r->phase != RUN_IDLE) {
		if (!r->told)
			reply_end(r->reply, FRAME_END_ABORTED, 503, "foreman restarted");
		clean_up(r);
	}
	free(r);
}

bool run_busy(const struct run *r)
{
	return r->phase != RUN_IDLE;
}

const char *run_id(const struct run *r)
{
	return r->phase != RUN_IDLE ? r->job.id : NULL;
}

bool run_settling(const struct run *r)
{
	return r->phase == RUN_SETTLING;
}
