/*
 * submission.c - from what a caller wants to the body of POST /jobs.
 *
 * The request is put in byte for byte, so what the target is sent is what the
 * caller wrote. What is wrong in it is the service's to say, except for what
 * would break the envelope around it.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/jscan.h"
#include "base/json.h"
#include "base/ulid.h"
#include "client/call.h"
#include "client/job.h"

#define KEY_MAX 255 /* characters of an Idempotency-Key */

static bool is_object(const char *text)
{
	static const struct jscan_rules strict = { .max_depth = JSON_DEPTH_MAX };
	struct jscan_value top;

	return text &&
	       jscan(span_of(text), &strict, NULL, NULL, &top, NULL) == ERR_OK &&
	       top.type == JSCAN_OBJECT;
}

/* "done,failed" as a list. */
static void add_events(cJSON *webhook, const char *events)
{
	cJSON *list = json_add_array(webhook, "events");
	struct span rest = span_of(events), piece;

	while (span_cut(&rest, ',', &piece)) {
		char *word = span_dup(span_trim(piece));
		cJSON *item = word ? cJSON_CreateString(word) : NULL;

		free(word);
		json_append(list, item);
	}
}

static void add_if(cJSON *o, const char *name, const char *value)
{
	if (value)
		json_add_str(o, name, value);
}

static char *envelope(const foreman_submission *what)
{
	cJSON *o = cJSON_CreateObject();
	char *text;

	json_add_raw(o, "request", what->request);
	add_if(o, "endpoint", what->endpoint);
	add_if(o, "artifact", what->artifact);
	add_if(o, "expires_in", what->expires_in);
	add_if(o, "timeout", what->timeout);
	if (what->metadata)
		json_add_raw(o, "metadata", what->metadata);
	if (what->webhook_url || what->webhook_secret || what->webhook_events) {
		cJSON *webhook = json_add_object(o, "webhook");

		add_if(webhook, "url", what->webhook_url);
		add_if(webhook, "secret", what->webhook_secret);
		if (what->webhook_events)
			add_events(webhook, what->webhook_events);
	}
	text = json_text(o);
	cJSON_Delete(o);
	return text;
}

static bool key_ok(const char *key)
{
	size_t len = 0;

	for (; key[len]; len++)
		if (key[len] <= ' ' || key[len] > '~' || key[len] == ',' || key[len] == '"')
			return false;
	return len > 0 && len <= KEY_MAX;
}

foreman_code foreman_submit(foreman *f, const foreman_submission *what,
                            foreman_job **job, foreman_error *e)
{
	char key[ULID_SIZE], header[sizeof("Idempotency-Key: ") + KEY_MAX];
	struct call_reply reply;
	foreman_job *made = NULL;
	foreman_code code;
	char *body;

	if (!is_object(what->request))
		return call_error(e, FOREMAN_INVALID, "the request is no JSON object");
	if (what->metadata && !is_object(what->metadata))
		return call_error(e, FOREMAN_INVALID, "metadata is no JSON object");
	if (what->idempotency_key && !key_ok(what->idempotency_key))
		return call_error(e, FOREMAN_INVALID,
		                  "an idempotency key has 1 to 255 visible characters "
		                  "without commas and quotes");
	body = envelope(what);
	if (!body)
		return call_error(e, FOREMAN_NO_MEMORY, "out of memory");
	ulid_new(key);
	snprintf(header, sizeof(header), "Idempotency-Key: %s",
	         what->idempotency_key ? what->idempotency_key : key);
	code = call_service(f,
	                    &(struct call_ask){ .method = "POST",
	                                        .path = "/jobs",
	                                        .type = "application/json",
	                                        .body = span_of(body),
	                                        .header = header },
	                    &reply, e);
	free(body);
	if (code == FOREMAN_OK)
		code = job_from(&reply.body, &made, e);
	buf_done(&reply.body);
	if (job)
		*job = code == FOREMAN_OK ? made : *job;
	else
		foreman_job_free(made);
	return code;
}
