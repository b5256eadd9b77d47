/*
 * follow.c - a job on its way, told on stderr, and what it came to.
 *
 * A stream is only for showing what is being written. What counts is the job's
 * end and the text it left: where the stream broke off, or the run began anew,
 * the rest is printed then.
 */
#include <config.h>

#include "cli/follow.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/screen.h"
#include "core/content.h"

#define REDRAW_MS 1000
#define REST_WORDS (SCREEN_WORDS + 16)
#define TEXT_MAX (64u * 1024 * 1024) /* FOREMAN_MAX_RESPONSE's default */

/* --- who leaves ------------------------------------------------------------ */

static char farewell[128];

static void on_interrupt(int number)
{
	/* there is nobody to tell of a failure */
	if (write(STDERR_FILENO, farewell, strlen(farewell)) >= 0)
		raise(number); /* once this returns, as if there was no handler */
	else
		_exit(128 + number);
}

static void say_on_interrupt(const char *id)
{
	struct sigaction act = { .sa_handler = on_interrupt,
		                     .sa_flags = (int)SA_RESETHAND };
	struct sigaction before;

	snprintf(farewell, sizeof(farewell),
	         "\nforeman: %s goes on; foreman wait %s, or cancel\n", id, id);
	if (sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
		sigaction(SIGINT, &act, NULL);
}

/* --- the line that tells --------------------------------------------------- */

/* Since when it is in its state, in words. */
static void since(const cJSON *job, const char *state, char out[SCREEN_WORDS])
{
	char name[32];
	int64_t at_ms;

	snprintf(name, sizeof(name), "%s_at",
	         strcmp(state, "queued") == 0 ? "created" : state);
	at_ms = screen_time(cli_text(job, name));
	screen_span(at_ms < 0 ? 0 : clock_wall_ms() - at_ms, out);
}

/* ", about 12 s more", as the service estimates; "" when it cannot. */
static void more(const cJSON *job, const char *name, char out[REST_WORDS])
{
	int64_t at_ms = screen_time(cli_text(cli_member(job, "estimate"), name));
	char span[SCREEN_WORDS];

	out[0] = '\0';
	if (at_ms <= clock_wall_ms())
		return;
	screen_span(at_ms - clock_wall_ms(), span);
	snprintf(out, REST_WORDS, ", about %s more", span);
}

static void tell(struct progress *p, const cJSON *job)
{
	const char *state = cli_text(job, "state"), *id = cli_text(job, "id");
	const char *waiting = cli_text(job, "waiting_on");
	char span[SCREEN_WORDS], rest[REST_WORDS], model[128], words[64];
	double position = cli_value(job, "position");

	if (!state || !id)
		return;
	since(job, state, span);
	more(job, strcmp(state, "queued") == 0 ? "starts_at" : "ends_at", rest);
	screen_fit(cli_text(job, "model"), 32, model, sizeof(model));
	snprintf(words, sizeof(words), "%s %s", state, waiting ? waiting : "");
	if (strcmp(state, "queued") == 0 && waiting && strcmp(waiting, "target") == 0)
		progress_show(p, words, "%.26s queued %s, the target cannot be reached", id,
		              span);
	else if (strcmp(state, "queued") == 0 && position > 0)
		progress_show(p, words, "%.26s queued %s, place %.0f for %s%s", id, span,
		              position, model, rest);
	else
		progress_show(p, words, "%.26s %s %s, %s%s", id, state, span, model, rest);
}

static void tell_job(struct progress *p, const foreman_job *job)
{
	cJSON *tree = NULL;

	if (json_parse(span_of(foreman_job_json(job)), &tree, NULL))
		return;
	tell(p, tree);
	cJSON_Delete(tree);
}

/* "done in 12 s: 512 tokens, 44 a second" */
static void tell_done(const foreman_job *job)
{
	double tokens, working_ms;
	char span[SCREEN_WORDS];
	const cJSON *times;
	cJSON *tree = NULL;

	if (json_parse(span_of(foreman_job_json(job)), &tree, NULL))
		return;
	times = cli_member(tree, "timings");
	working_ms = cli_value(times, "working_ms");
	tokens = cli_value(cli_member(tree, "usage"), "completion_tokens");
	screen_span((int64_t)(cli_value(times, "queued_ms") +
	                      cli_value(times, "loading_ms") + working_ms),
	            span);
	fprintf(stderr, "%s done in %s", foreman_job_id(job), span);
	if (tokens > 0)
		fprintf(stderr, ": %.0f tokens", tokens);
	if (tokens > 0 && working_ms > 0) /* else it came in one piece */
		fprintf(stderr, ", %.1f a second", tokens * 1000 / working_ms);
	fputc('\n', stderr);
	cJSON_Delete(tree);
}

static void tell_end(struct progress *p, const foreman_job *job)
{
	const char *reason = foreman_job_reason(job);
	char why[256];

	progress_clear(p);
	if (reason)
		cli_say(CLI_JOB_FAILED, "%s has failed, %s: %s", foreman_job_id(job),
		        reason, screen_fit(foreman_job_error(job), 200, why, sizeof(why)));
	else
		tell_done(job);
}

int follow_job(struct cli *c, const char *id, int64_t timeout_ms, foreman_job **job)
{
	int64_t began_ms = clock_mono_ms();
	struct progress p = { 0 };
	foreman_error e;

	say_on_interrupt(id);
	for (;;) {
		int64_t left_ms =
		    timeout_ms < 0 ? REDRAW_MS : began_ms + timeout_ms - clock_mono_ms();
		foreman_job *now = NULL;
		foreman_code code = foreman_wait(c->service, id,
		                                 left_ms < 0           ? 0
		                                 : left_ms < REDRAW_MS ? left_ms
		                                                       : REDRAW_MS,
		                                 &now, &e);

		if (code == FOREMAN_OK) {
			tell_end(&p, now);
			*job = now;
			return EX_OK;
		}
		if (code != FOREMAN_TIMEOUT || left_ms <= 0) {
			progress_clear(&p);
			foreman_job_free(now);
			return cli_fail(&e);
		}
		tell_job(&p, now);
		foreman_job_free(now);
	}
}

/* --- the text, while it is written ----------------------------------------- */

struct text {
	struct content content;
	struct buf lines;
	size_t shown;
};

static int on_line(void *arg, const char *line, size_t len)
{
	struct text *t = arg;
	struct span text;

	if (buf_add(&t->lines, line, len) || buf_add(&t->lines, "\n", 1))
		return 0;
	content_more(&t->content, (struct span){ t->lines.p, t->lines.len });
	text = content_text(&t->content);
	if (!text.p || text.len <= t->shown)
		return 0;
	fwrite(text.p + t->shown, 1, text.len - t->shown, stdout);
	t->shown = text.len;
	return !cli_flushed(stdout);
}

static int on_line_as_it_is(void *arg, const char *line, size_t len)
{
	(void)arg;
	fwrite(line, 1, len, stdout);
	putchar('\n');
	return !cli_flushed(stdout);
}

/* The stream is opened when something is about to come. */
static int wait_for_work(struct cli *c, const char *id)
{
	struct progress p = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/jobs/%.26s?wait=1", id);
	for (;;) {
		cJSON *job;
		int status = cli_get(c, path, &job);
		const char *state = cli_text(job, "state");
		bool begun = !state || strcmp(state, "working") == 0 ||
		             cJSON_IsTrue(cli_member(job, "terminal"));

		if (!status && !begun)
			tell(&p, job);
		cJSON_Delete(job);
		if (status || begun) {
			progress_clear(&p);
			return status;
		}
	}
}

/* What the stream did not bring: of a run that began anew, all of it. */
static void print_rest(struct cli *c, const foreman_job *ended,
                       const struct text *t)
{
	struct span shown = content_text(&t->content);
	foreman_error e;
	char *all;
	size_t len;

	if (foreman_fetch_all(c->service, foreman_job_id(ended), "content", &all, &len,
	                      &e))
		return; /* an embedding has no text */
	if (len < t->shown || (t->shown && memcmp(all, shown.p, t->shown) != 0)) {
		fputs("\n\n", stdout);
		cli_say(0, "the run was interrupted; this is all of the answer:");
		fwrite(all, 1, len, stdout);
	} else {
		fwrite(all + t->shown, 1, len - t->shown, stdout);
	}
	putchar('\n');
	free(all);
}

int follow_text(struct cli *c, const char *id, const char *endpoint,
                foreman_job **job)
{
	bool events = strncmp(endpoint, "/v1/", 4) == 0;
	struct text t = { 0 };
	foreman_error e = { 0 };
	foreman_code code = FOREMAN_OK;
	int status;

	say_on_interrupt(id);
	buf_init(&t.lines, TEXT_MAX);
	content_init(&t.content, endpoint,
	             events ? "text/event-stream" : "application/x-ndjson", TEXT_MAX);
	status = wait_for_work(c, id);
	if (!status) {
		code = foreman_stream(c->service, id, c->json ? on_line_as_it_is : on_line,
		                      &t, &e);
		status = code == FOREMAN_STOPPED               ? cli_lost(stdout)
		         : code && code != FOREMAN_UNREACHABLE ? cli_fail(&e)
		                                               : EX_OK;
	}
	/* the stream's end is not the job's: that is what it came to */
	if (!status && code != FOREMAN_STOPPED)
		status = follow_job(c, id, -1, job);
	if (*job && !c->json && strcmp(foreman_job_state(*job), "done") == 0)
		print_rest(c, *job, &t);
	else if (t.shown)
		putchar('\n');
	content_done(&t.content);
	buf_done(&t.lines);
	return status;
}
