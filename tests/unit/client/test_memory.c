/*
 * test_memory.c - calls whose first, second, ... allocation fails: each says so,
 * gives nothing, and works the next time.
 */
#include <config.h>

#include "client/foreman.h"

#include "client/served.h"
#include "starve.h"

static foreman *f;
static foreman_error e;

static void begin(const char *type, const char *body)
{
	served_up();
	served_says(200, type, body);
	f = foreman_new(served_url(), "token");
	SERVED_MUST(f != NULL);
	foreman_set_patience(f, 0);
}

static void end(void)
{
	foreman_free(f);
	served_down();
}

/* The service was not what failed: nobody is to ask again for that. */
static void is_want_of_memory(foreman_code code)
{
	CHECK(code == FOREMAN_NO_MEMORY || code == FOREMAN_INVALID ||
	      code == FOREMAN_PROTOCOL);
	CHECK_INT(e.code, code);
	CHECK(e.text[0]);
}

static void a_handle_is_made_whole_or_not_at_all(void)
{
	STARVE_EACH(f = foreman_new("http://localhost/", "token"))
	{
		CHECK(!f);
	}
	CHECK(f);
	foreman_free(f);
}

static void a_job_is_told_whole_or_not_at_all(void)
{
	foreman_job *job = NULL;
	foreman_code code;

	begin("", SERVED_DONE);
	STARVE_EACH(code = foreman_get(f, SERVED_ID, &job, &e))
	{
		is_want_of_memory(code);
		CHECK(!job);
	}
	CHECK_INT(code, FOREMAN_OK);
	CHECK_STR(foreman_job_state(job), "done");
	foreman_job_free(job);
	end();
}

static void a_submission_is_sent_whole_or_not_at_all(void)
{
	const foreman_submission what = { .request = "{\"model\":\"m\"}",
		                              .webhook_url = "http://r/",
		                              .webhook_secret = "whsec_",
		                              .webhook_events = "done,failed",
		                              .metadata = "{\"a\":\"b\"}",
		                              .artifact = "inline",
		                              .expires_in = "1h",
		                              .timeout = "1m",
		                              .idempotency_key = "k" };
	foreman_job *job = NULL;
	foreman_code code;
	char sent[512];

	begin("", SERVED_QUEUED);
	CHECK_INT(foreman_submit(f, &what, NULL, &e), FOREMAN_OK);
	snprintf(sent, sizeof(sent), "%s", served_body(0));
	STARVE_EACH(code = foreman_submit(f, &what, &job, &e))
	{
		is_want_of_memory(code);
		CHECK(!job);
	}
	CHECK_INT(code, FOREMAN_OK);
	for (size_t i = 1; i < served_count(); i++)
		CHECK_STR(served_body(i), sent);
	foreman_job_free(job);
	end();
}

static int take(void *arg, const char *bytes, size_t len)
{
	return buf_add(arg, bytes, len) != ERR_OK;
}

static void lines_come_whole_or_not_at_all(void)
{
	foreman_code code;
	struct buf lines;

	begin("Content-Type: application/x-ndjson\r\n", "{\"a\":1}\n{\"b\":2}");
	buf_init(&lines, 1000);
	CHECK_INT(foreman_stream(f, SERVED_ID, take, &lines, &e), FOREMAN_OK);
	CHECK_STR(buf_str(&lines), "{\"a\":1}{\"b\":2}");
	STARVE_EACH((buf_clear(&lines), /* which keeps its room */
	             code = foreman_stream(f, SERVED_ID, take, &lines, &e)))
	{
		is_want_of_memory(code);
		CHECK(lines.len == 0 || strcmp(buf_str(&lines), "{\"a\":1}") == 0);
	}
	CHECK_INT(code, FOREMAN_OK);
	buf_done(&lines);
	end();
}

static void an_artifact_is_fetched_whole_or_not_at_all(void)
{
	static const char *const bodies[] = { "Hello", "" };

	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		char *bytes = NULL;
		size_t len = 77;
		foreman_code code;

		begin("", bodies[i]);
		STARVE_EACH(
		    code = foreman_fetch_all(f, SERVED_ID, "content", &bytes, &len, &e))
		{
			is_want_of_memory(code);
			CHECK(!bytes);
			CHECK_INT(len, 77);
		}
		CHECK_INT(code, FOREMAN_OK);
		CHECK_STR(bytes, bodies[i]);
		CHECK_INT(len, strlen(bodies[i]));
		free(bytes);
		end();
	}
}

static int ignore(void *arg, const char *bytes, size_t len)
{
	(void)arg, (void)bytes, (void)len;
	return 0;
}

#define CHUNK "{\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"}}\n"

/* Where the pieces cannot be shown the answer is there all the same. */
static void a_chat_gives_its_text_or_says_why_not(void)
{
	for (long nth = 1;; nth++) {
		char *text = NULL;
		foreman_code code;

		served_up();
		served_says(202, "", SERVED_QUEUED);
		served_says(200, "Content-Type: application/x-ndjson\r\n", CHUNK);
		served_says(200, "", SERVED_DONE);
		served_says(200, "", "Hi");
		f = foreman_new(served_url(), NULL);
		foreman_set_patience(f, 0);
		starve_at(nth);
		code = foreman_chat(f, "m", "Hello", ignore, NULL, &text, &e);
		if (code != FOREMAN_OK)
			is_want_of_memory(code);
		CHECK_STR(text, code == FOREMAN_OK ? "Hi" : NULL);
		free(text);
		end();
		if (!starve_end())
			break;
	}
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_handle_is_made_whole_or_not_at_all),
		T(a_job_is_told_whole_or_not_at_all),
		T(a_submission_is_sent_whole_or_not_at_all),
		T(lines_come_whole_or_not_at_all),
		T(an_artifact_is_fetched_whole_or_not_at_all),
		T(a_chat_gives_its_text_or_says_why_not),
	};

	starve_cjson();
	return t_run(cases, ARRAY_LEN(cases));
}
