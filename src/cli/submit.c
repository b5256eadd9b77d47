/*
 * submit.c - a request out of a file or stdin becomes a job.
 *
 * With --model the file is a question's text, and the request is made around
 * it; without, it is the request itself and goes as it is.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/buf.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "core/request.h"

#define FILE_MAX_BYTES (64u * 1024 * 1024) /* FOREMAN_MAX_BODY's default */

/* The request around a question's text. */
static char *request_around(const char *model, const char *endpoint,
                            const char *text, bool stream)
{
	cJSON *o = cJSON_CreateObject();
	char *request;

	json_add_str(o, "model", model);
	if (strcmp(endpoint, "/api/generate") == 0) {
		json_add_str(o, "prompt", text);
	} else if (strcmp(endpoint, "/api/embed") == 0) {
		json_add_str(o, "input", text);
	} else {
		cJSON *message = cJSON_CreateObject();

		json_add_str(message, "role", "user");
		json_add_str(message, "content", text);
		json_append(json_add_array(o, "messages"), message);
	}
	if (stream)
		json_add_bool(o, "stream", true);
	request = json_text(o);
	cJSON_Delete(o);
	return request;
}

/* The job it becomes: submitted, and told. */
static int submit(struct cli *c, const char *endpoint, const char *request,
                  foreman_job **job)
{
	foreman_submission what = {
		.endpoint = endpoint,
		.request = request,
		.webhook_url = cli_option(c, "webhook"),
		.webhook_events = cli_option(c, "events"),
		.metadata = cli_option(c, "metadata"),
		.expires_in = cli_option(c, "expires-in"),
		.timeout = cli_option(c, "run-timeout"),
		.idempotency_key = cli_option(c, "key"),
	};
	foreman_error e;
	foreman_code code = foreman_submit(c->service, &what, job, &e);

	/* only the service knows whether it has a receiver of its own */
	if (code == FOREMAN_INVALID && what.webhook_events && !what.webhook_url)
		return cli_say(EX_USAGE, "%s: --events needs --webhook", e.text);
	return code ? cli_fail(&e) : EX_OK;
}

/* The answer's text of a job that was waited for; all of it with --json. */
static int print_answer(struct cli *c, foreman_job *ended)
{
	foreman_error e;
	char *text = NULL;

	if (c->json || strcmp(foreman_job_state(ended), "done") != 0)
		return jobs_print(c, ended);
	if (foreman_fetch_all(c->service, foreman_job_id(ended), "content", &text, NULL,
	                      &e) == FOREMAN_OK) {
		puts(text);
		free(text);
		foreman_job_free(ended);
		return EX_OK;
	}
	return jobs_print(c, ended); /* an embedding has no text */
}

static int carry_out(struct cli *c, const char *endpoint, const char *request)
{
	foreman_job *job = NULL, *ended = NULL;
	int64_t timeout_ms;
	int status;

	if (!cli_duration(c, "timeout", -1, &timeout_ms))
		return EX_USAGE;
	if (timeout_ms >= 0 && (!cli_flag(c, "wait") || cli_flag(c, "stream")))
		return cli_say(EX_USAGE, "--timeout goes with --wait; --run-timeout is the "
		                         "job's own");
	status = submit(c, endpoint, request, &job);
	if (status)
		return status;
	if (cli_flag(c, "stream")) {
		status = follow_text(c, foreman_job_id(job), endpoint, &ended);
		if (!status && ended && strcmp(foreman_job_state(ended), "failed") == 0)
			status = CLI_JOB_FAILED;
		foreman_job_free(ended);
	} else if (cli_flag(c, "wait")) {
		status = follow_job(c, foreman_job_id(job), timeout_ms, &ended);
		if (!status)
			status = print_answer(c, ended);
	} else {
		puts(c->json ? foreman_job_json(job) : foreman_job_id(job));
	}
	foreman_job_free(job);
	return status;
}

int run_submit(struct cli *c)
{
	const char *endpoint = cli_option(c, "endpoint");
	const char *model = cli_option(c, "model");
	char *around = NULL;
	struct buf file;
	int status;

	if (!endpoint)
		endpoint = endpoint_path(ENDPOINT_CHAT);
	buf_init(&file, FILE_MAX_BYTES);
	status = cli_read(c->operands[0], "the request is larger than 64 MiB", &file);
	if (!status && (!file.len || strlen(buf_str(&file)) != file.len))
		status = cli_say(EX_DATAERR, "the request is empty, or no text");
	if (!status && model) {
		around =
		    request_around(model, endpoint, buf_str(&file), cli_flag(c, "stream"));
		if (!around)
			status = cli_say(EX_SOFTWARE, "out of memory");
	}
	if (!status)
		status = carry_out(c, endpoint, around ? around : buf_str(&file));
	free(around);
	buf_done(&file);
	return status;
}
