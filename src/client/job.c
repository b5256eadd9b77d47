/*
 * job.c - a job as the service told it: its text, and what callers ask of it.
 */
#include <config.h>

#include "client/job.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/ulid.h"

struct foreman_job {
	char *json;
	cJSON *tree;
};

foreman_code job_from(struct buf *body, foreman_job **out, foreman_error *e)
{
	foreman_job *job = calloc(1, sizeof(*job));
	char id[ULID_SIZE];
	enum err err;

	if (!job)
		return call_error(e, FOREMAN_NO_MEMORY, "out of memory");
	err = json_parse((struct span){ body->p, body->len }, &job->tree, NULL);
	if (err || ulid_parse(span_of(foreman_job_id(job)), id) ||
	    !foreman_job_state(job)) {
		foreman_job_free(job);
		return call_error(e,
		                  err == ERR_NOMEM ? FOREMAN_NO_MEMORY : FOREMAN_PROTOCOL,
		                  "the answer is no job");
	}
	job->json = buf_take(body, NULL);
	*out = job;
	return FOREMAN_OK;
}

void foreman_job_free(foreman_job *job)
{
	if (!job)
		return;
	cJSON_Delete(job->tree);
	free(job->json);
	free(job);
}

static const char *text(const foreman_job *job, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(job->tree, name));
}

static int64_t number(const foreman_job *job, const char *name)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(job->tree, name);

	return cJSON_IsNumber(n) ? (int64_t)n->valuedouble : 0;
}

const char *foreman_job_id(const foreman_job *job)
{
	return text(job, "id");
}

const char *foreman_job_state(const foreman_job *job)
{
	return text(job, "state");
}

int foreman_job_terminal(const foreman_job *job)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(job->tree, "terminal"));
}

const char *foreman_job_reason(const foreman_job *job)
{
	return text(job, "reason");
}

const char *foreman_job_error(const foreman_job *job)
{
	return text(job, "error");
}

const char *foreman_job_model(const foreman_job *job)
{
	return text(job, "model");
}

int64_t foreman_job_position(const foreman_job *job)
{
	return number(job, "position");
}

int64_t foreman_job_seq(const foreman_job *job)
{
	return number(job, "seq");
}

const char *foreman_job_json(const foreman_job *job)
{
	return job->json;
}
