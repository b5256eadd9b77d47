/*
 * verdict.c - what the target's answer means for the job.
 *
 * The body is read where it stands, a line at a time, never copied and never
 * changed; a line of megabytes (generate's `context`) is walked once. The
 * judgement is a cascade: what foreman did itself, then a success however it
 * ended, then the transport, then the status, then the body.
 * Not here: moving the job (store/queue), telling readers (run, reply).
 */
#include <config.h>

#include "worker/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/jscan.h"
#include "core/retry.h"

/* As lenient as Ollama's own clients. */
static const struct jscan_rules rules = {
	.max_depth = JSCAN_DEPTH_MAX,
	.trailing = false,
	.any_utf8 = true,
};

/* --- scanning -------------------------------------------------------------- */

static int64_t number_of(const struct jscan_value *v)
{
	uint64_t n;

	if (v->type != JSCAN_NUMBER || str_u64(v->raw, &n) != ERR_OK || n > INT32_MAX)
		return -1;
	return (int64_t)n;
}

/* A duration in nanoseconds. */
static int64_t ns_of(const struct jscan_value *v)
{
	uint64_t n;

	if (v->type != JSCAN_NUMBER || str_u64(v->raw, &n) != ERR_OK || n > INT64_MAX)
		return -1;
	return (int64_t)n;
}

static void copy_text(struct span raw, char *out, size_t size)
{
	size_t len;
	char *text = jscan_unescape(raw, &len);

	str_escape(text ? (struct span){ text, len } : SPAN_LIT("error"), out, size);
	free(text);
}

struct text_into {
	char *out;
	size_t size;
	bool found;
};

static bool message_member(void *arg, struct span key, const struct jscan_value *v)
{
	struct text_into *to = arg;

	if (span_eq(key, "message") && v->type == JSCAN_STRING) {
		copy_text(v->raw, to->out, to->size);
		to->found = true;
	}
	return true;
}

/* The value of an "error" member: a text, or an object with a message. */
static void error_value(const struct jscan_value *v, char *out, size_t size)
{
	struct text_into to = { out, size, false };

	if (v->type == JSCAN_STRING) {
		copy_text(v->raw, out, size);
		return;
	}
	if (v->type == JSCAN_OBJECT &&
	    jscan(v->raw, &rules, message_member, &to, NULL, NULL) == ERR_OK &&
	    to.found)
		return;
	str_escape(v->raw, out, size);
}

static bool usage_member(void *arg, struct span key, const struct jscan_value *v)
{
	struct scan *s = arg;

	/* OpenAI's first words for it; then those of responses and Anthropic */
	if (span_eq(key, "prompt_tokens") || span_eq(key, "input_tokens"))
		s->prompt_tokens = number_of(v);
	else if (span_eq(key, "completion_tokens") || span_eq(key, "output_tokens"))
		s->completion_tokens = number_of(v);
	return true;
}

static void read_usage(struct scan *s, const struct jscan_value *v)
{
	if (v->type == JSCAN_OBJECT &&
	    jscan(v->raw, &rules, usage_member, s, NULL, NULL) != ERR_OK)
		s->prompt_tokens = s->completion_tokens = -1;
}

/* What an event carries whole: the response so far, or the message begun. */
static bool carried_member(void *arg, struct span key, const struct jscan_value *v)
{
	if (span_eq(key, "usage"))
		read_usage(arg, v);
	return true;
}

/* Events under /v1 name themselves, except for OpenAI's oldest. */
static void read_event_type(struct scan *s, struct span type)
{
	if (span_eq(type, "\"response.completed\"") ||
	    span_eq(type, "\"response.incomplete\"") || /* as long as was wanted */
	    span_eq(type, "\"message_stop\"")) {
		s->done = true;
	} else if (span_eq(type, "\"response.failed\"")) {
		s->error = true;
		str_copy(s->text, sizeof(s->text), "the target says: response.failed");
	}
}

static bool reply_member(void *arg, struct span key, const struct jscan_value *v)
{
	struct scan *s = arg;

	if (s->form == SCAN_EVENTS && span_eq(key, "type")) {
		read_event_type(s, v->raw);
		return true;
	}
	if (s->form == SCAN_EVENTS && v->type == JSCAN_OBJECT &&
	    (span_eq(key, "response") || span_eq(key, "message"))) {
		if (jscan(v->raw, &rules, carried_member, s, NULL, NULL) != ERR_OK)
			s->nonsense = true;
		return true;
	}
	if (span_eq(key, "done")) {
		s->done = s->done || v->type == JSCAN_TRUE;
	} else if (span_eq(key, "error") && v->type != JSCAN_NULL) {
		s->error = true;
		error_value(v, s->text, sizeof(s->text));
	} else if (span_eq(key, "prompt_eval_count")) {
		s->prompt_tokens = number_of(v);
	} else if (span_eq(key, "eval_count")) {
		s->completion_tokens = number_of(v);
	} else if (span_eq(key, "load_duration")) {
		s->load_ns = ns_of(v);
	} else if (span_eq(key, "eval_duration")) {
		s->eval_ns = ns_of(v);
	} else if (span_eq(key, "usage")) {
		read_usage(s, v);
	}
	return true;
}

static void read_value(struct scan *s, struct span text)
{
	struct jscan_value top;

	if (jscan(text, &rules, reply_member, s, &top, NULL) != ERR_OK ||
	    top.type != JSCAN_OBJECT)
		s->nonsense = true;
}

/* Events: "data: …". Their JSON is the client's business, but for the end, an
 * error, and the usage of the last chunk. */
static void read_event(struct scan *s, struct span line)
{
	struct span data = line;
	struct span field;

	if (!span_cut(&data, ':', &field) || !span_eq(field, "data"))
		return;
	data = span_trim(data);
	if (span_eq(data, "[DONE]"))
		s->done = true;
	else if (data.len > 0)
		read_value(s, data);
}

static void read_line(struct scan *s, struct span line)
{
	line = span_trim(line);
	if (line.len == 0)
		return;
	if (s->form == SCAN_EVENTS)
		read_event(s, line);
	else
		read_value(s, line);
}

static bool begins(const char *text, const char *with)
{
	return strncasecmp(text, with, strlen(with)) == 0;
}

void scan_init(struct scan *s, const char *endpoint, const char *content_type)
{
	bool native = strcmp(endpoint, "/api/chat") == 0 ||
	              strcmp(endpoint, "/api/generate") == 0;
	bool v1 = strncmp(endpoint, "/v1/", 4) == 0;

	*s = (struct scan){ .form = SCAN_WHOLE,
		                .prompt_tokens = -1,
		                .completion_tokens = -1,
		                .load_ns = -1,
		                .eval_ns = -1 };
	if (begins(content_type, "application/x-ndjson"))
		s->form = SCAN_LINES;
	else if (begins(content_type, "text/event-stream"))
		s->form = SCAN_EVENTS;
	s->wants_done = native || (v1 && s->form == SCAN_EVENTS);
}

void scan_more(struct scan *s, struct span body)
{
	const char *newline;

	if (s->form == SCAN_WHOLE)
		return;
	while (s->seen < body.len) {
		newline = memchr(body.p + s->seen, '\n', body.len - s->seen);
		if (!newline) {
			s->seen = body.len;
			return;
		}
		s->seen = (size_t)(newline - body.p);
		read_line(s, (struct span){ body.p + s->line, s->seen - s->line });
		s->line = ++s->seen;
	}
}

void scan_end(struct scan *s, struct span body)
{
	scan_more(s, body);
	if (s->line < body.len)
		read_line(s, (struct span){ body.p + s->line, body.len - s->line });
	s->line = s->seen = body.len;
}

static bool error_member(void *arg, struct span key, const struct jscan_value *v)
{
	struct text_into *to = arg;

	if (span_eq(key, "error")) {
		error_value(v, to->out, to->size);
		to->found = true;
	}
	return true;
}

void verdict_error_text(struct span body, int status, char *out, size_t size)
{
	struct text_into to = { out, size, false };
	struct span text = span_trim(body);

	if (jscan(text, &rules, error_member, &to, NULL, NULL) == ERR_OK && to.found)
		return;
	if (text.len > 0)
		str_escape(text, out, size < 256 ? size : 256);
	else
		snprintf(out, size, "status %d without a word", status);
}

/* --- pace ------------------------------------------------------------------ */

/*
 * What the load took, below 0: there was none, or it cannot be told from the
 * rest. Ollama calls the moment it takes to find a loaded model loading as
 * well; a change of models counts however short, for that is what it costs.
 * Without Ollama's figure a stream's first byte ends the load.
 */
static double load_ms_of(const struct scan *s, const struct run_times *t)
{
	bool turned = t->rotates && !t->same;

	if (s->load_ns >= LIMIT_PACE_LOAD_MS * INT64_C(1000000) ||
	    (s->load_ns >= 0 && turned && t->known))
		return (double)s->load_ns / 1e6;
	if (s->load_ns < 0 && turned && s->form != SCAN_WHOLE)
		return (double)t->head_ms;
	return -1;
}

static double tokens_per_s(const struct scan *s, const struct run_times *t)
{
	double ms = 0;

	if (s->eval_ns > 0)
		ms = (double)s->eval_ns / 1e6;
	else if (s->form != SCAN_WHOLE)
		ms = (double)(t->all_ms - t->head_ms);
	return s->completion_tokens > 0 && ms > 0
	           ? (double)s->completion_tokens * 1000 / ms
	           : -1;
}

struct pace verdict_pace(const struct scan *s, const struct run_times *t)
{
	double load_ms = load_ms_of(s, t);
	struct pace pace = { .load_ms = load_ms, .tokens_per_s = tokens_per_s(s, t) };

	if (load_ms > (double)t->all_ms)
		load_ms = pace.load_ms = (double)t->all_ms; /* by another clock */
	pace.run_ms = (double)t->all_ms - (load_ms > 0 ? load_ms : 0);
	if (load_ms < 0 && s->load_ns < 0 && t->rotates && !t->same)
		pace.run_ms = -1; /* a load may be in it */
	if (!t->rotates)
		pace.load_ms = 0; /* a job of this model swaps nothing */
	return pace;
}

/* --- the judgement --------------------------------------------------------- */

static void say(struct verdict *v, const char *text)
{
	str_copy(v->error, sizeof(v->error), text);
}

/* Readers' end for a run that foreman or the network cut: before the head an
 * answer of our own, after it an abort. */
static void end_cut(const struct run_facts *f, struct verdict *v, uint16_t status,
                    const char *text)
{
	v->end = f->status ? FRAME_END_ABORTED : FRAME_END_REFUSED;
	v->end_status = status;
	v->end_text = text;
}

static void fail(struct verdict *v, enum job_reason reason, bool counted)
{
	v->kind = VERDICT_FAILED;
	v->reason = reason;
	v->counted = counted;
}

/* The run failed for a reason of its own: another one, unless that was it. */
static void retry(const struct run_facts *f, struct verdict *v,
                  enum job_reason attended)
{
	if (f->attended) {
		fail(v, attended, true);
	} else if (f->attempts + 1 >= f->max_attempts) {
		fail(v, REASON_ATTEMPTS_EXHAUSTED, true);
	} else {
		v->kind = VERDICT_BACK;
		v->reason = REASON_RETRY;
		v->counted = true;
		v->hold_ms = retry_backoff_ms(LIMIT_RETRY_BASE_MS, LIMIT_RETRY_MAX_MS,
		                              (unsigned)f->attempts);
	}
}

/*
 * The target was not there, or went away. Never counted. The first loss costs
 * nothing; a job that is lost again and again (one that takes the target
 * down with it?) lets others pass for a while.
 */
static void lost(const struct run_facts *f, struct verdict *v)
{
	v->lost = true;
	say(v, f->why);
	if (f->attended && f->status) {
		/* Its client has seen the beginning: tokens must not come twice. */
		fail(v, REASON_UPSTREAM_INCOMPLETE, false);
		end_cut(f, v, 502, "target lost mid-answer");
		return;
	}
	v->kind = VERDICT_BACK;
	v->reason = REASON_TARGET_LOST;
	end_cut(f, v, 503, "target lost mid-answer; the job will run again");
	if (f->outcome == XFER_UNREACHABLE || f->interruptions == 0)
		return;
	v->hold_ms = retry_backoff_ms(LIMIT_LOST_HOLD_MS,
	                              f->attended ? LIMIT_LOST_HOLD_ATTENDED_MS
	                                          : LIMIT_RETRY_MAX_MS,
	                              (unsigned)f->interruptions - 1);
}

/*
 * The target lives and says nothing. That may be a deadlock of its own or this
 * very prompt: free the first times, then counted, so that it comes to an end.
 */
static void wedged(const struct run_facts *f, struct verdict *v)
{
	if (f->interruptions < LIMIT_WEDGES_FREE || (f->attended && f->status)) {
		lost(f, v);
		v->lost = false; /* it does show itself */
		return;
	}
	say(v, f->why);
	retry(f, v, REASON_UPSTREAM_ERROR);
	end_cut(f, v, 502, "the target does not answer");
}

static void stopped(const struct run_facts *f, struct verdict *v)
{
	switch (f->stop) {
	case STOP_CANCELED:
		fail(v, REASON_CANCELED, false);
		end_cut(f, v, 499, "canceled");
		break;
	case STOP_TIMEOUT:
		fail(v, REASON_TIMEOUT, true);
		say(v, "cut off: it ran longer than its timeout");
		end_cut(f, v, 504, "the job ran longer than its timeout");
		break;
	case STOP_TOO_LARGE:
		fail(v, REASON_RESPONSE_TOO_LARGE, true);
		say(v, "the reply is larger than FOREMAN_MAX_RESPONSE");
		end_cut(f, v, 502, "the reply is larger than FOREMAN_MAX_RESPONSE");
		break;
	case STOP_LEAVING:
		v->kind = VERDICT_BACK;
		v->reason = REASON_FOREMAN_STOPPED;
		end_cut(f, v, 503, "foreman restarted");
		if (f->attended && f->status)
			fail(v, REASON_WORKER_RESTARTED, false);
		break;
	case STOP_STALLED:
		lost(f, v);
		break;
	case STOP_WEDGED:
		wedged(f, v);
		break;
	case STOP_GONE:
		v->kind = VERDICT_NOTHING;
		end_cut(f, v, 410, "the job was removed");
		break;
	default:
		say(v, "out of memory for the reply");
		retry(f, v, REASON_INTERNAL);
		end_cut(f, v, 503, "foreman is out of memory");
		break;
	}
}

/* True when the transfer itself went wrong. */
static bool broken(const struct run_facts *f, struct verdict *v)
{
	switch (f->outcome) {
	case XFER_OK:
		return false;
	case XFER_UNREACHABLE:
	case XFER_LOST:
	case XFER_TIMEOUT:
		lost(f, v);
		return true;
	default: /* not HTTP at all, or our own doing */
		say(v, f->why);
		retry(f, v, REASON_UPSTREAM_ERROR);
		end_cut(f, v, 502, "the target's answer cannot be used");
		return true;
	}
}

static bool names_no_model(const char *error)
{
	return strncmp(error, "model", 5) == 0 && strstr(error, "not found") != NULL;
}

/* At least a second: it has just said no. */
static int64_t busy_hold_ms(int64_t retry_after_ms)
{
	if (retry_after_ms < 0)
		return LIMIT_BUSY_HOLD_MS;
	if (retry_after_ms < LIMIT_LOST_HOLD_MS)
		return LIMIT_LOST_HOLD_MS;
	return retry_after_ms < LIMIT_RETRY_MAX_MS ? retry_after_ms
	                                           : LIMIT_RETRY_MAX_MS;
}

bool verdict_busy(int status)
{
	return status == 503 || status == 429;
}

/* A whole answer that is not 2xx. An attended client gets it as it is, unless
 * it says that the target is busy: then it keeps its place in line. */
static void refused(const struct run_facts *f, struct verdict *v)
{
	say(v, f->error);
	v->quoted = true;
	if (f->status == 404 && names_no_model(v->error)) {
		v->quoted = false; /* of a name alone */
		fail(v, REASON_MODEL_NOT_FOUND, true);
	} else if (verdict_busy(f->status)) {
		v->kind = VERDICT_BACK;
		v->reason = REASON_TARGET_BUSY;
		v->hold_ms = busy_hold_ms(f->retry_after_ms);
	} else if (f->status >= 500) {
		retry(f, v, REASON_UPSTREAM_ERROR);
	} else if (f->status >= 400) {
		fail(v, REASON_INVALID_REQUEST, true);
	} else {
		fail(v, REASON_UPSTREAM_ERROR, true);
	}
}

/* A whole 2xx. */
static void answered(const struct run_facts *f, struct verdict *v)
{
	const struct scan *s = f->scan;

	if (s->error) {
		say(v, s->text);
		v->quoted = true;
		retry(f, v, REASON_UPSTREAM_ERROR);
	} else if (s->nonsense) {
		say(v, "the target's answer is not JSON");
		retry(f, v, REASON_UPSTREAM_ERROR);
	} else if (s->wants_done) { /* with done:true it would be a success */
		fail(v, REASON_UPSTREAM_INCOMPLETE, true);
		say(v, "the target ended its answer without done:true");
	} else {
		v->kind = VERDICT_DONE;
	}
}

void verdict_judge(const struct run_facts *f, struct verdict *out)
{
	bool success = f->scan && f->scan->wants_done && f->scan->done &&
	               !f->scan->error && !f->scan->nonsense;

	*out = (struct verdict){ .end = FRAME_END_CLEAN };
	out->end_status = (uint16_t)f->status;
	if (success && f->stop != STOP_TOO_LARGE && f->stop != STOP_GONE)
		out->kind = VERDICT_DONE; /* whatever came after done:true */
	else if (f->stop != STOP_NONE)
		stopped(f, out);
	else if (!broken(f, out) && f->scan)
		answered(f, out);
	else if (f->outcome == XFER_OK)
		refused(f, out);
	/* Whatever it failed for, what came of a good answer is the client's. */
	out->keep = out->kind == VERDICT_FAILED && f->scan;
}

void verdict_unstorable(struct verdict *v)
{
	v->keep = false;
	v->hold_ms = 0;
	if (v->kind == VERDICT_FAILED)
		return;
	fail(v, REASON_INTERNAL, true);
	say(v, "its result cannot be stored");
}

void verdict_canceled(struct verdict *v)
{
	fail(v, REASON_CANCELED, false);
	v->hold_ms = 0;
	v->end_text = "canceled";
	v->end_status = 499;
}
