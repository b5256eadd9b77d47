/*
 * answer.c - the table of faults, and how each family words one.
 *
 * What reaches a client is a stable code and a text of ours; client bytes in
 * it were escaped and cut by whoever wrote the text. What the operator reads
 * besides goes through c->why to the request's log line.
 */
#include <config.h>

#include "responder/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static const struct fault_row faults[FAULT_COUNT] = {
	[FAULT_INVALID_REQUEST] = { 400, "invalid_request", false, 0 },
	[FAULT_INVALID_JOB_ID] = { 400, "invalid_job_id", false, 0 },
	[FAULT_INVALID_WEBHOOK_ID] = { 400, "invalid_webhook_id", false, 0 },
	[FAULT_UNAUTHORIZED] = { 401, "unauthorized", false, 0 },
	[FAULT_FORBIDDEN] = { 403, "forbidden", false, 0 },
	[FAULT_NOT_FOUND] = { 404, "not_found", false, 0 },
	[FAULT_METHOD_NOT_ALLOWED] = { 405, "method_not_allowed", false, 0 },
	[FAULT_RETIRED] = { 410, "retired", false, 0 },
	[FAULT_TOO_LARGE] = { 413, "body_too_large", false, 0 },
	[FAULT_MEDIA_TYPE] = { 415, "unsupported_media_type", false, 0 },
	[FAULT_RANGE] = { 416, "range_not_satisfiable", false, 0 },
	[FAULT_WEBHOOK_REFUSED] = { 422, "webhook_refused", false, 0 },
	[FAULT_TOO_MANY_JOBS] = { 429, "too_many_jobs", true, 30 },
	[FAULT_HEADERS_TOO_LARGE] = { 431, "headers_too_large", false, 0 },
	[FAULT_INTERNAL] = { 500, "internal", true, 0 },
	[FAULT_TARGET_NONSENSE] = { 502, "target_failed", true, 0 },
	[FAULT_BUSY] = { 503, "busy", true, 2 },
	[FAULT_QUEUE_FULL] = { 503, "queue_full", true, 5 },
	[FAULT_TARGET_UNREACHABLE] = { 503, "target_unreachable", true, 10 },
	[FAULT_NOT_READY] = { 503, "not_ready", true, 5 },
	[FAULT_STOPPING] = { 503, "stopping", true, 2 },
	[FAULT_KEY_REUSED] = { 422, "idempotency_key_reused", false, 0 },
	[FAULT_BATCH_TOO_LARGE] = { 413, "batch_too_large", false, 0 },
	[FAULT_STORAGE_FULL] = { 507, "storage_full", true, 60 },
};

const struct fault_row *fault_row(enum fault f)
{
	return &faults[f];
}

/* --- bodies --------------------------------------------------------------- */

static const char *status_title(int status)
{
	switch (status) {
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 410: return "Gone";
	case 413: return "Content Too Large";
	case 415: return "Unsupported Media Type";
	case 416: return "Range Not Satisfiable";
	case 422: return "Unprocessable Content";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 507: return "Insufficient Storage";
	default: return "Internal Server Error";
	}
}

/* As Ollama's own /v1 names them. */
static const char *openai_type(int status)
{
	switch (status) {
	case 400: return "invalid_request_error";
	case 404: return "not_found_error";
	default: return "api_error";
	}
}

static const char *anthropic_type(int status)
{
	switch (status) {
	case 400: return "invalid_request_error";
	case 401: return "authentication_error";
	case 403: return "permission_error";
	case 404: return "not_found_error";
	case 413: return "request_too_large";
	case 429: return "rate_limit_error";
	case 503: return "overloaded_error";
	default: return "api_error";
	}
}

const char *answer_error_type(enum family family)
{
	if (family == FAMILY_PROBLEM)
		return "application/problem+json";
	return "application/json; charset=utf-8";
}

static void add_problem(cJSON *o, int status, const char *code, bool retryable,
                        const char *text)
{
	json_add_str(o, "type", "about:blank");
	json_add_str(o, "title", status_title(status));
	json_add_int(o, "status", status);
	json_add_str(o, "detail", text);
	json_add_str(o, "code", code ? code : "internal");
	json_add_bool(o, "retryable", retryable);
}

char *answer_error_body(enum family family, int status, const char *code,
                        bool retryable, const char *text)
{
	cJSON *o = cJSON_CreateObject();
	cJSON *error;
	char *out;

	switch (family) {
	case FAMILY_OLLAMA:
		json_add_str(o, "error", text);
		break;
	case FAMILY_OPENAI:
		error = json_add_object(o, "error");
		json_add_str(error, "message", text);
		json_add_str(error, "type", openai_type(status));
		json_add_str(error, "param", NULL);
		json_add_str(error, "code", code);
		break;
	case FAMILY_ANTHROPIC:
		json_add_str(o, "type", "error");
		error = json_add_object(o, "error");
		json_add_str(error, "type", anthropic_type(status));
		json_add_str(error, "message", text);
		break;
	case FAMILY_PROBLEM:
		add_problem(o, status, code, retryable, text);
		break;
	}
	out = json_text(o);
	cJSON_Delete(o);
	return out;
}

const char *answer_event_prefix(enum family family)
{
	/* Anthropic's clients look at the event's name, OpenAI's into its data */
	return family == FAMILY_ANTHROPIC ? "event: error\ndata: " : "data: ";
}

enum fault answer_store_fault(enum err e, const char **text)
{
	switch (e) {
	case ERR_FULL:
		*text = "the disk is full";
		return FAULT_STORAGE_FULL;
	case ERR_BUSY:
	case ERR_TIMEOUT:
		*text = "the database is busy, please try again";
		return FAULT_BUSY;
	case ERR_NOMEM:
		*text = "out of memory";
		return FAULT_INTERNAL;
	default:
		*text = "the database cannot be used";
		return FAULT_INTERNAL;
	}
}

/* --- answers --------------------------------------------------------------- */

static void reply(struct call *c, int status, const char *type,
                  struct span headers, struct span body)
{
	enum err e;

	c->status = status;
	e = fcgx_reply(c->req, status, type, headers, body);
	if (e)
		errtext_set(&c->why, "cannot answer: %s", err_name(e));
}

static void fault_reply(struct call *c, enum fault f, int retry_after_s,
                        const char *headers, const char *text)
{
	const struct fault_row *row = &faults[f];
	char *body = answer_error_body(c->family, row->status, row->code,
	                               row->retryable, text);
	char lines[256] = "";

	if (retry_after_s)
		snprintf(lines, sizeof(lines), "Retry-After: %d\n%s", retry_after_s,
		         headers ? headers : "");
	else if (headers)
		str_copy(lines, sizeof(lines), headers);
	/* what a client is told of its own mistake may repeat its words: not for the
	 * log */
	if (!c->why.s[0])
		errtext_set(&c->why, "%s", row->status < 500 ? row->code : text);
	reply(c, row->status, answer_error_type(c->family), span_of(lines),
	      body ? span_of(body) : SPAN_LIT("{\"error\":\"out of memory\"}"));
	free(body);
}

void answer_fault_with(struct call *c, enum fault f, const char *headers,
                       const char *text)
{
	fault_reply(c, f, faults[f].retry_after_s, headers, text);
}

void answer_fault_after(struct call *c, enum fault f, int retry_after_s,
                        const char *text)
{
	fault_reply(c, f, retry_after_s ? retry_after_s : faults[f].retry_after_s, NULL,
	            text);
}

void answer_fault(struct call *c, enum fault f, const char *fmt, ...)
{
	char text[LIMIT_ERROR_TEXT];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	answer_fault_with(c, f, NULL, text);
}

void answer_store_error(struct call *c, enum err e)
{
	enum fault fault;
	const char *text;

	if (!c->why.s[0])
		errtext_set(&c->why, "store: %s", err_name(e));
	fault = answer_store_fault(e, &text);
	answer_fault(c, fault, "%s", text);
}

void answer_json(struct call *c, int status, const char *headers, char *json)
{
	if (!json) {
		answer_fault(c, FAULT_INTERNAL, "out of memory");
		return;
	}
	reply(c, status, "application/json", span_of(headers), span_of(json));
	free(json);
}

void answer_text(struct call *c, int status, const char *headers,
                 struct span json)
{
	reply(c, status, "application/json; charset=utf-8", span_of(headers), json);
}

void answer_typed(struct call *c, int status, const char *type, const char *headers,
                  struct span text)
{
	reply(c, status, type, span_of(headers), text);
}

void answer_empty(struct call *c, int status, const char *headers)
{
	reply(c, status, NULL, span_of(headers), (struct span){ 0 });
}
