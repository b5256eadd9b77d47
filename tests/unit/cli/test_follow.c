/*
 * test_follow.c - a job on its way: what is told of it, and of its end.
 */
#include <config.h>

#include "cli/follow.h"

#include "base/clock.h"
#include "run.h"

/* A file with this in it, for submit to read; until the next. */
static const char *file_with(const char *text)
{
	static char path[64];
	const char *tmp = getenv("TMPDIR");
	int fd;

	if (path[0])
		unlink(path);
	snprintf(path, sizeof(path), "%.40s/foreman-XXXXXX", tmp ? tmp : "/tmp");
	fd = mkstemp(path);
	SERVED_MUST(fd >= 0 && !fd_write_all(fd, text, strlen(text), -1));
	close(fd);
	return path;
}

#define WAITING(rest)                                                              \
	SERVED_JOB("queued", ",\"terminal\":false,\"model\":\"m\"" rest)

/* What is told of a job like this, until a short time is over. */
static const char *told_of(const char *job)
{
	served_up();
	served_says(200, "", job);
	CHECK_INT(RUN("wait", SERVED_ID, "--timeout=20ms"), EX_TEMPFAIL);
	served_down();
	return said.err;
}

static void the_way_of_a_job_is_told(void)
{
	CHECK(strstr(told_of(WAITING(",\"position\":3,\"waiting_on\":\"worker\","
	                             "\"created_at\":\"2026-01-01T00:00:00.000Z\","
	                             "\"estimate\":{\"starts_at\":"
	                             "\"2999-01-01T00:00:00.000Z\"}")),
	             ", place 3 for m, about "));
	CHECK(strstr(told_of(WAITING(",\"position\":3,\"estimate\":{\"starts_at\":"
	                             "\"2026-01-01T00:00:00.000Z\"}")),
	             ", place 3 for m\n")); /* a time that is over is none */
	CHECK(strstr(told_of(WAITING(",\"waiting_on\":\"target\"")),
	             ", the target cannot be reached\n"));
	CHECK(strstr(told_of(WAITING("")), SERVED_ID " queued "));
	CHECK(strstr(told_of(SERVED_JOB("loading", ",\"terminal\":false")),
	             SERVED_ID " loading "));
}

static void a_done_job_is_told_with_its_speed(void)
{
	served_up();
	served_says(200, "",
	            SERVED_JOB("done",
	                       ",\"terminal\":true,\"timings\":{\"queued_ms\":1000,"
	                       "\"loading_ms\":1000,\"working_ms\":2000},"
	                       "\"usage\":{\"completion_tokens\":30}"));
	CHECK_INT(RUN("wait", SERVED_ID), EX_OK);
	CHECK(strstr(said.err, SERVED_ID " done in 4 s: 30 tokens, 15.0 a second\n"));
	served_down();
}

static void an_end_without_figures_is_told_as_well(void)
{
	served_up();
	served_says(200, "", SERVED_DONE);
	CHECK_INT(RUN("wait", SERVED_ID), EX_OK);
	CHECK(strstr(said.err, SERVED_ID " done in "));
	CHECK(!strstr(said.err, "tokens"));
	served_down();
	served_up();
	served_says(200, "",
	            SERVED_JOB("failed", ",\"terminal\":true,"
	                                 "\"reason\":\"expired\""));
	CHECK_INT(RUN("wait", SERVED_ID), CLI_JOB_FAILED);
	CHECK(strstr(said.err, SERVED_ID " has failed, expired: "));
	served_down();
}

static void time_that_is_over_is_told_by_its_code(void)
{
	served_up();
	served_says(200, "", SERVED_QUEUED);
	CHECK_INT(RUN("wait", SERVED_ID, "--timeout=0s"), EX_TEMPFAIL);
	served_down();
}

#define CHUNK(text)                                                                \
	"{\"message\":{\"role\":\"assistant\",\"content\":\"" text                     \
	"\"},\"done\":false}\n"

/* What submit --stream hears, from the 202 on. */
static void stream_begins(const char *job, const char *lines)
{
	served_up();
	served_says(202, "Location: /jobs/" SERVED_ID "\r\n", SERVED_QUEUED);
	served_says(200, "", SERVED_QUEUED);
	served_says(200, "", SERVED_JOB("working", ",\"terminal\":false"));
	served_says(200, "Content-Type: application/x-ndjson\r\n", lines);
	served_says(200, "", job);
}

static void a_stream_is_the_answers_text(void)
{
	const char *file = file_with("{\"model\":\"m\"}");

	stream_begins(SERVED_DONE, CHUNK("Hel") CHUNK("lo") CHUNK(""));
	served_says(200, "Content-Type: text/plain\r\n", "Hello, all");
	CHECK_INT(RUN("submit", file, "--stream"), EX_OK);
	CHECK_STR(said.out, "Hello, all\n"); /* what the stream lacked included */
	served_down();
}

static void a_run_that_began_anew_is_told_whole(void)
{
	const char *file = file_with("{\"model\":\"m\"}");

	stream_begins(SERVED_DONE, CHUNK("Hel"));
	served_says(200, "Content-Type: text/plain\r\n", "Good day");
	CHECK_INT(RUN("submit", file, "--stream"), EX_OK);
	CHECK_STR(said.out, "Hel\n\nGood day\n");
	CHECK(strstr(said.err, "the run was interrupted"));
	served_down();
	stream_begins(SERVED_DONE, CHUNK("Hello"));
	served_says(200, "Content-Type: text/plain\r\n", "He");
	CHECK_INT(RUN("submit", file, "--stream"), EX_OK);
	CHECK_STR(said.out, "Hello\n\nHe\n");
	served_down();
}

static void an_answer_without_text_is_none_on_a_stream(void)
{
	const char *file = file_with("{\"model\":\"m\"}");

	stream_begins(SERVED_DONE, "{\"embeddings\":[]}\n");
	served_says(404, "", "{\"code\":\"no_such_artifact\"}");
	CHECK_INT(RUN("submit", file, "--stream"), EX_OK);
	CHECK_STR(said.out, "");
	served_down();
}

static void a_stream_whose_job_fails_leaves_with_1(void)
{
	const char *file = file_with("{\"model\":\"m\"}");

	stream_begins(SERVED_JOB("failed", ",\"terminal\":true,\"reason\":\"timeout\","
	                                   "\"error\":\"cut off\""),
	              CHUNK("Hel"));
	CHECK_INT(RUN("submit", file, "--stream"), CLI_JOB_FAILED);
	CHECK_STR(said.out, "Hel\n");
	CHECK(strstr(said.err, "timeout: cut off"));
	served_down();
}

static void of_a_stream_in_json_the_lines_are_as_they_came(void)
{
	const char *file = file_with("{\"model\":\"m\"}");

	stream_begins(SERVED_DONE, CHUNK("Hel"));
	CHECK_INT(RUN("submit", file, "--stream", "--json"), EX_OK);
	CHECK_STR(said.out, CHUNK("Hel"));
	served_down();
}

static void a_stream_that_is_refused_is_told(void)
{
	const char *file = file_with("{\"model\":\"m\"}");

	served_up();
	served_says(202, "Location: /jobs/" SERVED_ID "\r\n", SERVED_QUEUED);
	served_says(410, "", "{\"code\":\"gone\",\"detail\":\"it is gone\"}");
	CHECK_INT(RUN("submit", file, "--stream"), EX_NOINPUT);
	served_down();
	served_up();
	served_says(202, "Location: /jobs/" SERVED_ID "\r\n", SERVED_QUEUED);
	served_says(200, "", "{}"); /* no state: it may be gone, ask for its stream */
	served_says(410, "", "{\"code\":\"gone\",\"detail\":\"it is gone\"}");
	CHECK_INT(RUN("submit", file, "--stream"), EX_NOINPUT);
	served_down();
}

/* --- submit without a stream -------------------------------------------------- */

static void a_question_is_made_into_a_request_of_its_endpoint(void)
{
	static const struct {
		const char *endpoint, *has;
	} cases[] = {
		{ "--endpoint=/api/chat",
		  "\"messages\":[{\"role\":\"user\",\"content\":\"Q\"}]" },
		{ "--endpoint=/api/generate", "\"prompt\":\"Q\"" },
		{ "--endpoint=/api/embed", "\"input\":\"Q\"" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		served_up();
		served_says(202, "Location: /jobs/" SERVED_ID "\r\n", SERVED_QUEUED);
		CHECK_INT(RUN("submit", file_with("Q"), "--model=m", cases[i].endpoint),
		          EX_OK);
		CHECK_STR(said.out, SERVED_ID "\n");
		CHECK(strstr(served_body(0), cases[i].has));
		CHECK(strstr(served_body(0), "\"model\":\"m\""));
		served_down();
	}
}

static void an_answer_that_was_waited_for_is_printed(void)
{
	const char *file = file_with("{\"model\":\"m\"}");

	served_up();
	served_says(202, "Location: /jobs/" SERVED_ID "\r\n", SERVED_QUEUED);
	served_says(200, "", SERVED_DONE);
	served_says(200, "Content-Type: text/plain\r\n", "Hello");
	CHECK_INT(RUN("submit", file, "--wait", "--timeout=1m"), EX_OK);
	CHECK_STR(said.out, "Hello\n");
	served_down();
	served_up(); /* an embedding has no text: its job is shown */
	served_says(202, "Location: /jobs/" SERVED_ID "\r\n", SERVED_QUEUED);
	served_says(200, "", SERVED_DONE);
	served_says(404, "", "{\"code\":\"no_such_artifact\"}");
	CHECK_INT(RUN("submit", file, "--wait"), EX_OK);
	CHECK(strstr(said.out, "job        " SERVED_ID));
	served_down();
	served_up();
	served_says(202, "Location: /jobs/" SERVED_ID "\r\n", SERVED_QUEUED);
	served_says(200, "", SERVED_DONE);
	CHECK_INT(RUN("submit", file, "--wait", "--json"), EX_OK);
	CHECK_STR(said.out, SERVED_DONE "\n");
	served_down();
}

static void what_is_no_submission_is_not_sent(void)
{
	const char *file = file_with("{\"model\":\"m\"}");

	served_up();
	CHECK_INT(RUN("submit", "/nonexistent/file"), EX_NOINPUT);
	CHECK_INT(RUN("submit", "/"), EX_IOERR); /* a directory cannot be read */
	CHECK_STR(said.err, "foreman: cannot read /\n");
	CHECK_INT(RUN("submit", "/dev/null"), EX_DATAERR);
	CHECK_INT(RUN("submit", file, "--timeout=1m"), EX_USAGE);
	CHECK_INT(RUN("submit", file, "--timeout=1m", "--wait", "--stream"), EX_USAGE);
	CHECK_INT(RUN("submit", file, "--timeout=x", "--wait"), EX_USAGE);
	CHECK_INT(served_count(), 0);
	served_says(400, "", "{\"code\":\"invalid\",\"detail\":\"no receiver\"}");
	CHECK_INT(RUN("submit", file, "--events=done"), EX_USAGE);
	CHECK(strstr(said.err, "no receiver: --events needs --webhook"));
	CHECK_INT(RUN("submit", file, "--events=done", "--webhook=http://r/"),
	          EX_USAGE);
	CHECK(!strstr(said.err, "needs --webhook"));
	served_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(the_way_of_a_job_is_told),
		T(a_done_job_is_told_with_its_speed),
		T(an_end_without_figures_is_told_as_well),
		T(time_that_is_over_is_told_by_its_code),
		T(a_stream_is_the_answers_text),
		T(a_run_that_began_anew_is_told_whole),
		T(an_answer_without_text_is_none_on_a_stream),
		T(a_stream_whose_job_fails_leaves_with_1),
		T(of_a_stream_in_json_the_lines_are_as_they_came),
		T(a_stream_that_is_refused_is_told),
		T(a_question_is_made_into_a_request_of_its_endpoint),
		T(an_answer_that_was_waited_for_is_printed),
		T(what_is_no_submission_is_not_sent),
	};
	int failed = t_run(cases, ARRAY_LEN(cases));

	unlink(file_with(""));
	said_forget();
	return failed;
}
