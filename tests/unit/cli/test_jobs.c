/*
 * test_jobs.c - jobs as they are listed, shown, ended and fetched.
 */
#include <config.h>

#include "cli/commands.h"

#include "run.h"

static void a_job_is_shown_with_all_it_has(void)
{
	served_up();
	served_says(200, "",
	            SERVED_JOB("queued",
	                       ",\"terminal\":false,\"model\":\"m\",\"position\":3,"
	                       "\"waiting_on\":\"model\",\"endpoint\":\"/api/chat\","
	                       "\"webhook\":{\"url\":\"http://r/\",\"pending\":2,"
	                       "\"dead\":1}"));
	CHECK_INT(RUN("show", SERVED_ID), EX_OK);
	CHECK(strstr(said.out, "\nplace      3 in line\nwaits for  model\n"));
	CHECK(strstr(said.out,
	             "\nwebhook    http://r/\n           2 owed, 1 given up\n"));
	served_down();
}

static void a_failed_job_is_shown_with_its_reason(void)
{
	served_up();
	served_says(
	    200, "",
	    SERVED_JOB("failed",
	               ",\"terminal\":true,\"reason\":\"timeout\",\"error\":\"cut\","
	               "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4},"
	               "\"artifacts\":[{\"name\":\"response\",\"bytes\":5,"
	               "\"content_type\":\"t/x\",\"complete\":false},"
	               "{\"name\":\"content\",\"bytes\":2,\"content_type\":\"t/y\","
	               "\"complete\":true}]"));
	CHECK_INT(RUN("show", SERVED_ID), EX_OK); /* showing it is no failure */
	CHECK(strstr(said.out, "state      failed: timeout\n"));
	CHECK(strstr(said.out, "tokens     3 of the prompt, 4 of the answer\n"));
	CHECK(strstr(said.out, "artifact   response, 5 bytes of t/x, cut short\n"
	                       "artifact   content, 2 bytes of t/y\n"));
	CHECK_INT(RUN("artifact", SERVED_ID, "response", "--json"), EX_OK);
	CHECK(strstr(said.out, "\"bytes\":5"));
	CHECK_INT(RUN("artifact", SERVED_ID, "other", "--json"), EX_NOINPUT);
	CHECK_STR(said.err, "foreman: the job has no artifact other\n");
	served_down();
}

static void what_cannot_be_had_is_told(void)
{
	served_up();
	served_says(404, "", "{\"code\":\"job_not_found\",\"detail\":\"no such job\"}");
	CHECK_INT(RUN("show", SERVED_ID), EX_NOINPUT);
	CHECK_INT(RUN("artifact", SERVED_ID, "--json"), EX_NOINPUT);
	CHECK_INT(RUN("artifact", SERVED_ID), EX_NOINPUT);
	CHECK_INT(RUN("cancel", SERVED_ID), EX_NOINPUT);
	CHECK_INT(RUN("rm", SERVED_ID), EX_NOINPUT);
	CHECK_INT(RUN("stream", SERVED_ID), EX_NOINPUT);
	CHECK_INT(RUN("wait", SERVED_ID), EX_NOINPUT);
	CHECK_STR(said.out, "");
	CHECK_INT(RUN("wait", SERVED_ID, "--timeout=soon"), EX_USAGE);
	CHECK_INT(RUN("artifact", SERVED_ID, "--output=/nonexistent/file"),
	          EX_CANTCREAT);
	served_down();
}

/* /dev/full takes what is written and has no room for it. */
static void a_file_that_cannot_be_written_is_told(void)
{
	served_up();
	served_says(200, "Content-Type: text/plain\r\n", "a little");
	CHECK_INT(RUN("artifact", SERVED_ID, "--output=/dev/full"), EX_IOERR);
	CHECK(strstr(said.err, "cannot write /dev/full: No space left on device"));
	served_down();
}

static void jobs_that_say_little_are_listed_all_the_same(void)
{
	served_up();
	served_says(200, "",
	            "{\"jobs\":[{\"id\":\"1\"},{\"id\":\"2\",\"state\":\"done\"},"
	            "{\"id\":\"3\",\"state\":\"failed\",\"reason\":\"expired\"}],"
	            "\"next\":\"N\"}");
	CHECK_INT(RUN("jobs", "--model=a b/c?"), EX_OK);
	CHECK(served_asked(0, "GET /jobs?model=a%20b%2Fc%3F"));
	CHECK(strstr(said.out, "  ?  "));
	CHECK(strstr(said.out, "  expired  "));
	CHECK_STR(said.err, "more: foreman jobs --before=N\n");
	served_down();
}

static void a_page_that_says_nothing_has_no_rows(void)
{
	static char lengthy[9000];

	served_up();
	served_says(200, "", "{}");
	CHECK_INT(RUN("jobs"), EX_OK);
	CHECK(strncmp(said.out, "ID", 2) == 0);
	memset(lengthy, ' ', sizeof(lengthy) - 1);
	CHECK_INT(RUN("jobs", "--model", lengthy), EX_USAGE);
	CHECK_STR(said.err, "foreman: --model is too long\n");
	CHECK_INT(served_count(), 1);
	served_down();
}

static void an_answer_that_is_none_is_told(void)
{
	served_up();
	served_says(200, "", "");
	CHECK_INT(RUN("jobs"), EX_PROTOCOL);
	CHECK(strstr(said.err, "answers nothing"));
	served_down();
	served_up();
	served_says(200, "", "<html>");
	CHECK_INT(RUN("jobs"), EX_PROTOCOL);
	CHECK(strstr(said.err, "no JSON"));
	served_down();
}

static void each_is_ended_whatever_becomes_of_the_others(void)
{
	served_up();
	served_says(404, "", "{\"code\":\"job_not_found\"}");
	served_says(200, "", SERVED_DONE);
	served_says(202, "", SERVED_QUEUED);
	CHECK_INT(RUN("cancel", SERVED_ID, SERVED_ID, SERVED_ID), EX_NOINPUT);
	CHECK_STR(said.out, SERVED_ID " done\n" SERVED_ID " is being canceled\n");
	served_down();
	served_up();
	served_says(204, "", "");
	CHECK_INT(RUN("rm", SERVED_ID, "--json"), EX_OK);
	CHECK_STR(said.out, "{\"removed\":\"" SERVED_ID "\"}\n");
	CHECK_INT(RUN("rm", SERVED_ID), EX_OK);
	CHECK_STR(said.out, "");
	served_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_job_is_shown_with_all_it_has),
		T(a_failed_job_is_shown_with_its_reason),
		T(what_cannot_be_had_is_told),
		T(a_file_that_cannot_be_written_is_told),
		T(jobs_that_say_little_are_listed_all_the_same),
		T(a_page_that_says_nothing_has_no_rows),
		T(an_answer_that_is_none_is_told),
		T(each_is_ended_whatever_becomes_of_the_others),
	};
	int failed = t_run(cases, ARRAY_LEN(cases));

	said_forget();
	return failed;
}
