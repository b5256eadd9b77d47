/*
 * status.c - how it stands, on one screen.
 */
#include <config.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/screen.h"

#define MODELS_SHOWN 10

static void age(const cJSON *o, const char *name, char out[SCREEN_WORDS])
{
	int64_t at_ms = screen_time(cli_text(o, name));

	if (at_ms < 0)
		snprintf(out, SCREEN_WORDS, "-");
	else
		screen_span(clock_wall_ms() - at_ms, out);
}

static void print_head(const struct cli *c, int columns)
{
	char url[256], clock[16];
	time_t now = time(NULL);
	struct tm tm;

	strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&now, &tm));
	printf("%-*s%8s\n", columns - 9,
	       screen_fit(c->url, columns - 20, url, sizeof(url)), clock);
}

static void print_target(const cJSON *queue, int columns)
{
	const cJSON *target = cli_member(queue, "target");
	char since[SCREEN_WORDS], text[512], fitted[600];
	const char *version = cli_text(target, "version");
	const char *loaded = cli_text(target, "loaded");
	const char *error = cli_text(target, "error");

	age(target, "since", since);
	if (error)
		snprintf(text, sizeof(text), "%s for %s: %s", cli_text(target, "state"),
		         since, error);
	else
		snprintf(text, sizeof(text), "%s for %s, Ollama %s, loaded: %s",
		         cli_text(target, "state"), since, version ? version : "?",
		         loaded ? loaded : "nothing");
	printf("target    %s\n",
	       screen_fit(text, columns - 10, fitted, sizeof(fitted)));
}

static void print_running(const cJSON *queue, int columns)
{
	const cJSON *job = cli_member(queue, "running");
	const char *state = cli_text(job, "state"), *id = cli_text(job, "id");
	char since[SCREEN_WORDS], model[64], name[32], rate[48] = "", text[300],
	                                               fitted[400];
	int64_t end_ms = screen_time(cli_text(cli_member(job, "estimate"), "ends_at"));
	double tokens = cli_value(queue, "tokens_per_s");

	if (!state || !id) {
		printf("running   nothing\n");
		return;
	}
	snprintf(name, sizeof(name), "%s_at", state);
	age(job, name, since);
	screen_fit(cli_text(job, "model"), 32, model, sizeof(model));
	snprintf(text, sizeof(text), "%s %s %s", model, state, since);
	if (end_ms >= 0) {
		screen_span(end_ms - clock_wall_ms(), since);
		snprintf(text + strlen(text), 64, ", about %s more", since);
	}
	if (tokens > 0)
		snprintf(rate, sizeof(rate), ", %.1f tokens/s", tokens);
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", rate);
	printf("running   %s\n",
	       screen_fit(text, columns - 10, fitted, sizeof(fitted)));
	printf("          %.26s\n", id);
}

static void print_waiting(const cJSON *queue, int columns)
{
	const cJSON *list = cli_member(queue, "waiting"), *row;
	int shown = 0, count = cJSON_GetArraySize(list);
	double jobs = 0;

	cJSON_ArrayForEach(row, list) jobs += cli_value(row, "count");
	printf("waiting   %.0f%s\n", jobs, jobs > 0 ? "" : ", the line is empty");
	cJSON_ArrayForEach(row, list)
	{
		char model[300], oldest[SCREEN_WORDS];
		bool attended = cJSON_IsTrue(cli_member(row, "attended"));

		if (shown++ == MODELS_SHOWN) {
			printf("          ... and %d more\n", count - MODELS_SHOWN);
			break;
		}
		age(row, "oldest_at", oldest);
		printf(
		    "  %7.0f %-11s oldest %-9s %s\n", cli_value(row, "count"),
		    attended ? "attended" : "unattended", oldest,
		    screen_fit(cli_text(row, "model"), columns - 41, model, sizeof(model)));
	}
}

static void print_rest(const cJSON *queue)
{
	const cJSON *jobs = cli_member(queue, "jobs"),
	            *hooks = cli_member(queue, "webhooks");
	const cJSON *swaps = cli_member(queue, "swaps");

	printf("jobs      %.0f done, %.0f failed\n", cli_value(jobs, "done"),
	       cli_value(jobs, "failed"));
	printf("webhooks  %.0f owed, %.0f given up\n", cli_value(hooks, "pending"),
	       cli_value(hooks, "dead"));
	printf("loads     %.0f, in order of arrival %.0f\n", cli_value(swaps, "made"),
	       cli_value(swaps, "in_order_of_arrival"));
}

static int show(struct cli *c, bool again)
{
	int columns = screen_columns();
	cJSON *queue = NULL;
	int status = cli_get(c, "/queue", &queue);

	if (status)
		return status;
	if (again)
		screen_restart();
	if (c->json) {
		cli_print_json(queue);
	} else {
		print_head(c, columns);
		print_target(queue, columns);
		print_running(queue, columns);
		print_waiting(queue, columns);
		print_rest(queue);
	}
	cJSON_Delete(queue);
	return EX_OK;
}

int run_status(struct cli *c)
{
	struct timespec second = { .tv_sec = 1 };
	int status;

	if (!cli_flag(c, "watch"))
		return show(c, false);
	/* until Ctrl-C; a foreman that is away for a moment is waited for */
	foreman_set_patience(c->service, CALL_PATIENCE_MS);
	for (;;) {
		status = show(c, screen_is_terminal(stdout));
		if (status)
			return status;
		if (!cli_flushed(stdout))
			return cli_lost(stdout);
		nanosleep(&second, NULL);
	}
}
