/*
 * test_chat.c - a chat as one call: what is asked on the way, what comes of it.
 */
#include <config.h>

#include "client/foreman.h"

#include "served.h"

#define LINE(text) "{\"message\":{\"content\":\"" text "\"}}\n"

static foreman *f;

static void up(void)
{
	served_up();
	f = foreman_new(served_url(), NULL);
	SERVED_MUST(f != NULL);
	foreman_set_patience(f, 0);
	served_says(202, "", SERVED_QUEUED);
}

static void down(void)
{
	foreman_free(f);
	served_down();
}

struct pieces {
	char text[128];
	int calls;
	bool stop;
};

static int add_piece(void *arg, const char *bytes, size_t len)
{
	struct pieces *p = arg;

	snprintf(p->text + strlen(p->text), sizeof(p->text) - strlen(p->text), "%.*s",
	         (int)len, bytes);
	p->calls++;
	return p->stop;
}

static void a_question_becomes_an_answer(void)
{
	char *text = NULL;
	foreman_error e;

	up();
	served_says(200, "", SERVED_DONE);
	served_says(200, "", "because");
	CHECK_INT(foreman_chat(f, "m", "why \"this\"?", NULL, NULL, &text, &e),
	          FOREMAN_OK);
	CHECK_STR(text, "because");
	free(text);
	CHECK_STR(
	    served_body(0),
	    "{\"request\":{\"model\":\"m\",\"stream\":false,\"messages\":[{\"role\":"
	    "\"user\",\"content\":\"why "
	    "\\\"this\\\"?\"}]},\"endpoint\":\"/api/chat\"}");
	CHECK(served_asked(1, "GET /jobs/" SERVED_ID "?wait=30"));
	CHECK(served_asked(2, "GET /jobs/" SERVED_ID "/artifacts/content"));
	down();
}

/* The messages that were sent for this prompt. */
static bool sends(const char *prompt, const char *messages)
{
	bool sent;

	up();
	served_says(200, "", SERVED_DONE);
	CHECK_INT(foreman_chat(f, "m", prompt, NULL, NULL, NULL, NULL), FOREMAN_OK);
	sent = strstr(served_body(0), messages) != NULL;
	down();
	return sent;
}

static void an_array_of_messages_goes_as_it_is(void)
{
	CHECK(sends("[{\"role\":\"user\", \"content\":\"a\"}]",
	            "\"messages\":[{\"role\":\"user\", \"content\":\"a\"}]"));
	CHECK(sends("\n [{\"a\":1},{}]", "\"messages\":\n [{\"a\":1},{}]"));
}

static void any_other_text_is_a_question(void)
{
	CHECK(sends("[1, 2]", "\"content\":\"[1, 2]\""));
	CHECK(sends("[]", "\"content\":\"[]\""));
	CHECK(sends("[{}] sort", "\"content\":\"[{}] sort\""));
	CHECK(sends("[", "\"content\":\"[\""));
	CHECK(sends("", "\"content\":\"\""));
	CHECK(sends("{\"role\":1}", "\"content\":\"{\\\"role\\\":1}\""));
}

static void a_text_is_shown_while_it_is_written(void)
{
	struct pieces p = { .text = "" };
	char *text = NULL;

	up();
	served_says(200, "", LINE("be") LINE("") LINE("cause"));
	served_says(200, "", SERVED_DONE);
	served_says(200, "", "because");
	CHECK_INT(foreman_chat(f, "m", "why?", add_piece, &p, &text, NULL), FOREMAN_OK);
	CHECK(strstr(served_body(0), "\"stream\":true") != NULL);
	CHECK(served_asked(1, "GET /jobs/" SERVED_ID "/stream"));
	CHECK_STR(p.text, "because");
	CHECK_INT(p.calls, 2);
	CHECK_STR(text, "because");
	free(text);
	down();
}

static void a_stream_that_breaks_costs_nothing(void)
{
	struct pieces p = { .text = "" };
	char *text = NULL;

	up();
	served_says_raw("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" LINE("be"));
	served_says(200, "", SERVED_DONE);
	served_says(200, "", "because");
	CHECK_INT(foreman_chat(f, "m", "why?", add_piece, &p, &text, NULL), FOREMAN_OK);
	CHECK_STR(p.text, "be");
	CHECK_STR(text, "because");
	free(text);
	down();
}

static void a_failed_job_tells_its_reason(void)
{
	char *text = (char *)&served;
	foreman_error e;

	up();
	served_says(200, "",
	            SERVED_JOB("failed", ",\"terminal\":true,\"reason\":"
	                                 "\"model_not_found\",\"error\":\"no m\""));
	CHECK_INT(foreman_chat(f, "m", "why?", NULL, NULL, &text, &e),
	          FOREMAN_JOB_FAILED);
	CHECK_INT(e.code, FOREMAN_JOB_FAILED);
	CHECK_STR(e.name, "model_not_found");
	CHECK_STR(e.text, "no m");
	CHECK(text == (char *)&served);
	CHECK_INT(foreman_chat(f, "m", "why?", NULL, NULL, NULL, NULL),
	          FOREMAN_JOB_FAILED); /* nobody need ask */
	down();
	up();
	served_says(200, "", SERVED_JOB("failed", ",\"terminal\":true"));
	CHECK_INT(foreman_chat(f, "m", "why?", NULL, NULL, &text, &e),
	          FOREMAN_JOB_FAILED);
	CHECK_STR(e.name, "");
	CHECK_STR(e.text, "failed");
	down();
}

static void a_callback_that_stops_cancels_the_job(void)
{
	struct pieces p = { .stop = true };
	foreman_error e;

	up();
	served_says(200, "", LINE("be") LINE("cause"));
	served_says(202, "", SERVED_QUEUED);
	CHECK_INT(foreman_chat(f, "m", "why?", add_piece, &p, NULL, &e),
	          FOREMAN_STOPPED);
	CHECK_INT(p.calls, 1);
	CHECK(served_asked(2, "POST /jobs/" SERVED_ID "/cancel"));
	down();
}

static void it_needs_a_model_and_a_prompt(void)
{
	up();
	CHECK_INT(foreman_chat(f, NULL, "a", NULL, NULL, NULL, NULL), FOREMAN_INVALID);
	CHECK_INT(foreman_chat(f, "m", NULL, NULL, NULL, NULL, NULL), FOREMAN_INVALID);
	CHECK_INT(served_count(), 0);
	down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_question_becomes_an_answer),
		T(an_array_of_messages_goes_as_it_is),
		T(any_other_text_is_a_question),
		T(a_text_is_shown_while_it_is_written),
		T(a_stream_that_breaks_costs_nothing),
		T(a_failed_job_tells_its_reason),
		T(a_callback_that_stops_cancels_the_job),
		T(it_needs_a_model_and_a_prompt),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
