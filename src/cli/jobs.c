/*
 * jobs.c - jobs that are there: listed, shown, waited for, ended, fetched.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/page.h"
#include "cli/screen.h"

/* --- the list -------------------------------------------------------------- */

static void print_row(const cJSON *job, int columns)
{
	char model[256], state[64], span[SCREEN_WORDS];
	const char *reason = cli_text(job, "reason");
	const char *word = cli_text(job, "state");
	int64_t created_ms = screen_time(cli_text(job, "created_at"));

	snprintf(state, sizeof(state), "%s", reason ? reason : word ? word : "?");
	screen_span(clock_wall_ms() - created_ms, span);
	/* id 26, state 19, age 11, blanks 4: the model has the rest */
	printf("%-26.26s  %-19.19s  %-11s %s\n", cli_text(job, "id"), state, span,
	       screen_fit(cli_text(job, "model"), columns - 61, model, sizeof(model)));
}

int run_jobs(struct cli *c)
{
	static const char *const filters[] = { "state", "model", "limit", "before",
		                                   NULL };
	static const struct page page = {
		.path = "/jobs",
		.list = "jobs",
		.filters = filters,
		.heading = "ID                          STATE                AGE         MODEL",
		.print_row = print_row,
	};

	return page_show(c, &page);
}

/* --- one job --------------------------------------------------------------- */

static void print_line(const char *name, const char *text)
{
	char fitted[1100];

	if (text)
		printf("%-10s %s\n", name, screen_fit(text, 1000, fitted, sizeof(fitted)));
}

static void print_timings(const cJSON *job)
{
	const cJSON *t = cli_member(job, "timings"), *u = cli_member(job, "usage");
	char queued[SCREEN_WORDS], loading[SCREEN_WORDS], working[SCREEN_WORDS];

	screen_span((int64_t)cli_value(t, "queued_ms"), queued);
	screen_span((int64_t)cli_value(t, "loading_ms"), loading);
	screen_span((int64_t)cli_value(t, "working_ms"), working);
	printf("%-10s queued %s, loading %s, working %s\n", "time", queued, loading,
	       working);
	if (cJSON_IsNumber(cli_member(u, "completion_tokens")))
		printf("%-10s %.0f of the prompt, %.0f of the answer\n", "tokens",
		       cli_value(u, "prompt_tokens"), cli_value(u, "completion_tokens"));
}

static void print_artifacts(const cJSON *job)
{
	const cJSON *a;

	cJSON_ArrayForEach(a, cli_member(job, "artifacts"))
	    printf("%-10s %s, %.0f bytes of %s%s\n", "artifact", cli_text(a, "name"),
	           cli_value(a, "bytes"), cli_text(a, "content_type"),
	           cJSON_IsFalse(cli_member(a, "complete")) ? ", cut short" : "");
}

static void print_job(const cJSON *job)
{
	const cJSON *webhook = cli_member(job, "webhook");
	char state[96];

	snprintf(state, sizeof(state), "%s%s%s", cli_text(job, "state"),
	         cli_text(job, "reason") ? ": " : "",
	         cli_text(job, "reason") ? cli_text(job, "reason") : "");
	print_line("job", cli_text(job, "id"));
	print_line("state", state);
	print_line("error", cli_text(job, "error"));
	print_line("model", cli_text(job, "model"));
	print_line("endpoint", cli_text(job, "endpoint"));
	if (cli_value(job, "position") > 0)
		printf("%-10s %.0f in line\n", "place", cli_value(job, "position"));
	print_line("waits for", cli_text(job, "waiting_on"));
	print_line("created", cli_text(job, "created_at"));
	print_line("finished", cli_text(job, "finished_at"));
	print_timings(job);
	print_artifacts(job);
	if (cli_text(webhook, "url")) {
		print_line("webhook", cli_text(webhook, "url"));
		printf("%-10s %.0f owed, %.0f given up\n", "",
		       cli_value(webhook, "pending"), cli_value(webhook, "dead"));
	}
}

/* Takes the job over. */
int jobs_print(struct cli *c, foreman_job *job)
{
	cJSON *tree = NULL;
	bool failed = strcmp(foreman_job_state(job), "failed") == 0;

	if (c->json) {
		puts(foreman_job_json(job));
	} else if (json_parse(span_of(foreman_job_json(job)), &tree, NULL) == ERR_OK) {
		print_job(tree);
		cJSON_Delete(tree);
	}
	foreman_job_free(job);
	return failed ? CLI_JOB_FAILED : EX_OK;
}

int run_show(struct cli *c)
{
	foreman_job *job;
	foreman_error e;

	if (foreman_get(c->service, c->operands[0], &job, &e))
		return cli_fail(&e);
	/* showing a failed job is no failure */
	jobs_print(c, job);
	return EX_OK;
}

int run_wait(struct cli *c)
{
	foreman_job *job = NULL;
	int64_t timeout_ms;
	int status;

	if (!cli_duration(c, "timeout", -1, &timeout_ms))
		return EX_USAGE;
	status = follow_job(c, c->operands[0], timeout_ms, &job);
	if (status)
		return status;
	return jobs_print(c, job);
}

/* --- ending ---------------------------------------------------------------- */

int run_cancel(struct cli *c)
{
	int status = EX_OK;

	for (int i = 0; i < c->operand_count; i++) {
		foreman_job *job = NULL;
		foreman_error e;

		if (foreman_cancel(c->service, c->operands[i], &job, &e)) {
			status = cli_fail(&e);
			continue;
		}
		if (c->json)
			puts(foreman_job_json(job));
		else
			printf("%s %s\n", foreman_job_id(job),
			       foreman_job_terminal(job) ? foreman_job_state(job)
			                                 : "is being canceled");
		foreman_job_free(job);
	}
	return status;
}

int run_rm(struct cli *c)
{
	int status = EX_OK;

	for (int i = 0; i < c->operand_count; i++) {
		foreman_error e;

		if (foreman_remove(c->service, c->operands[i], &e))
			status = cli_fail(&e);
		else if (c->json)
			printf("{\"removed\":\"%s\"}\n", c->operands[i]);
	}
	return status;
}

/* --- fetching -------------------------------------------------------------- */

static int write_line(void *arg, const char *line, size_t len)
{
	FILE *out = arg;

	fwrite(line, 1, len, out);
	fputc('\n', out);
	return !cli_flushed(out);
}

static int write_piece(void *arg, const char *bytes, size_t len)
{
	return fwrite(bytes, 1, len, arg) != len;
}

/* A sink that failed has stopped the call. */
static int fetched(foreman_code code, const foreman_error *e, FILE *out)
{
	if (code == FOREMAN_STOPPED)
		return cli_lost(out);
	return code ? cli_fail(e) : EX_OK;
}

int run_stream(struct cli *c)
{
	foreman_error e = { 0 };
	foreman_code code =
	    foreman_stream(c->service, c->operands[0], write_line, stdout, &e);

	return fetched(code, &e, stdout);
}

/* What the job object tells of it, instead of its bytes. */
static int print_artifact_row(struct cli *c, const char *name)
{
	foreman_job *job;
	foreman_error e;
	cJSON *tree = NULL;
	const cJSON *row, *found = NULL;

	if (foreman_get(c->service, c->operands[0], &job, &e))
		return cli_fail(&e);
	if (json_parse(span_of(foreman_job_json(job)), &tree, NULL))
		tree = NULL;
	cJSON_ArrayForEach(
	    row, cli_member(tree, "artifacts")) if (cli_text(row, "name") &&
	                                            strcmp(cli_text(row, "name"),
	                                                   name) == 0) found = row;
	if (found)
		cli_print_json(found);
	cJSON_Delete(tree);
	foreman_job_free(job);
	return found ? EX_OK : cli_say(EX_NOINPUT, "the job has no artifact %s", name);
}

int run_artifact(struct cli *c)
{
	const char *path = cli_option(c, "output");
	const char *name = c->operands[1] ? c->operands[1] : "content";
	foreman_error e = { 0 };
	foreman_code code;
	FILE *out;
	int status;

	if (c->json)
		return print_artifact_row(c, name);
	out = path ? fopen(path, "we") : stdout;
	if (!out)
		return cli_say(EX_CANTCREAT, "cannot write %s: %s", path, strerror(errno));
	code = foreman_fetch(c->service, c->operands[0], name, write_piece, out, &e);
	status = fetched(code, &e, out);
	if (path && fclose(out) != 0 && !status)
		return cli_say(EX_IOERR, "cannot write %s: %s", path, strerror(errno));
	return status;
}
