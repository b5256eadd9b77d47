/*
 * test_show.c - one job as an answer: what is loaded, tag and lines, faults.
 */
#include <config.h>

#include "responder/show.h"

#include "stage.h"

#define JOB(mode)                                                                  \
	"{\"request\":{\"model\":\"m\",\"messages\":[]},\"artifact\":\"" mode "\"}"

static void the_tag_is_the_latest_events_number(void)
{
	struct job job = { .event_seq = 7 };
	char tag[SHOW_TAG_SIZE];

	show_tag(&job, tag);
	CHECK_STR(tag, "\"7\"");
	job.event_seq = INT64_MAX;
	show_tag(&job, tag);
	CHECK_STR(tag, "\"9223372036854775807\"");
}

static void a_job_that_is_not_finished_is_worth_another_look(void)
{
	char lines[SHOW_LINES_SIZE];

	for (int state = 0; state < JOB_STATE_COUNT; state++) {
		struct job job = { .state = (enum job_state)state, .event_seq = INT64_MAX };

		show_lines(&job, lines);
		CHECK(strstr(lines, "ETag: W/\"9223372036854775807\"\n") == lines);
		CHECK(strstr(lines, "\nCache-Control: no-store\n") != NULL);
		CHECK_INT(strstr(lines, "\nRetry-After: 2\n") != NULL,
		          !job_state_terminal(job.state));
	}
}

static void each_error_is_its_fault(void)
{
	static const struct {
		enum err e;
		enum fault fault;
	} wanted[] = { { ERR_NOENT, FAULT_NOT_FOUND },
		           { ERR_DENIED, FAULT_RETIRED },
		           { ERR_FULL, FAULT_STORAGE_FULL },
		           { ERR_BUSY, FAULT_BUSY },
		           { ERR_IO, FAULT_INTERNAL } };

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		const char *text = NULL;

		CHECK_INT(show_fault(wanted[i].e, &text), wanted[i].fault);
		CHECK(text && text[0]);
	}
}

/* The response's bytes as loaded for a job of that mode, with 4 bytes inline. */
static void shown(const char *body, struct job *out)
{
	char id[ULID_SIZE];
	struct said a;
	const char *at;

	stage_up(NULL);
	a = stage_ask("POST", "/jobs", NULL, body);
	at = strstr(a.body, "\"id\":\"");
	STAGE_MUST(a.status == 202 && at);
	snprintf(id, sizeof(id), "%.26s", at + 6);
	stage_run_job(1, "text/plain", SPAN_LIT("12345"));
	STAGE_MUST(!show_look(stage.worker_db, id, 4, out));
	STAGE_MUST(out->artifact_count >= 1);
	stage_down();
}

static void only_a_job_that_asked_for_it_is_loaded_beyond_the_limit(void)
{
	struct job job;

	shown(JOB("auto"), &job);
	CHECK_STR(job.artifacts[0].inline_bytes, NULL);
	job_done(&job);
	shown(JOB("inline"), &job);
	CHECK(job.artifacts[0].inline_bytes != NULL);
	job_done(&job);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(the_tag_is_the_latest_events_number),
		T(a_job_that_is_not_finished_is_worth_another_look),
		T(each_error_is_its_fault),
		T(only_a_job_that_asked_for_it_is_loaded_beyond_the_limit),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
