/*
 * test_submission.c - the envelope that is posted, and what is not.
 */
#include <config.h>

#include "client/foreman.h"

#include "served.h"

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

static void a_request_goes_byte_for_byte(void)
{
	foreman_submission what = { .request =
		                            " {\"model\": \"m\",\n \"n\":1.50, \"n\":2}" };
	foreman_job *job = NULL;

	up();
	CHECK_INT(foreman_submit(f, &what, &job, NULL), FOREMAN_OK);
	CHECK_STR(foreman_job_id(job), SERVED_ID);
	foreman_job_free(job);
	CHECK(served_asked(0, "POST /jobs"));
	CHECK(strstr(served_heard(0), "\r\nContent-Type: application/json\r\n") !=
	      NULL);
	CHECK_STR(served_body(0),
	          "{\"request\": {\"model\": \"m\",\n \"n\":1.50, \"n\":2}}");
	down();
}

static void all_members_have_their_place(void)
{
	foreman_submission what = { .request = "{}",
		                        .endpoint = "/api/generate",
		                        .webhook_url = "http://a/b",
		                        .webhook_secret = "whsec_x",
		                        .webhook_events = "done, failed",
		                        .artifact = "inline",
		                        .metadata = "{\"k\":\"v\"}",
		                        .expires_in = "2h",
		                        .timeout = "15m" };

	up();
	CHECK_INT(foreman_submit(f, &what, NULL, NULL), FOREMAN_OK);
	CHECK_STR(
	    served_body(0),
	    "{\"request\":{},\"endpoint\":\"/api/generate\",\"artifact\":\"inline\","
	    "\"expires_in\":\"2h\",\"timeout\":\"15m\",\"metadata\":{\"k\":\"v\"},"
	    "\"webhook\":{\"url\":\"http://a/b\",\"secret\":\"whsec_x\","
	    "\"events\":[\"done\",\"failed\"]}}");
	down();
}

static void what_would_break_the_envelope_is_refused(void)
{
	static const char *const bad[] = { NULL,      "",
		                               "null",    "[]",
		                               "\"a\"",   "{",
		                               "{}}",     "{},\"endpoint\":\"/x\"",
		                               "{'a':1}", "{}{}" };
	foreman_error e;

	up();
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		foreman_submission what = { .request = bad[i] };

		CHECK_INT(foreman_submit(f, &what, NULL, &e), FOREMAN_INVALID);
		CHECK_STR(e.text, "the request is no JSON object");
		if (!bad[i])
			continue;
		what = (foreman_submission){ .request = "{}", .metadata = bad[i] };
		CHECK_INT(foreman_submit(f, &what, NULL, &e), FOREMAN_INVALID);
		CHECK_STR(e.text, "metadata is no JSON object");
	}
	CHECK_INT(served_count(), 0);
	down();
}

static foreman_code with_key(const char *key)
{
	foreman_submission what = { .request = "{}", .idempotency_key = key };

	return foreman_submit(f, &what, NULL, NULL);
}

static void a_key_cannot_end_its_header(void)
{
	char key[257];

	up();
	memset(key, 'k', sizeof(key));
	key[256] = '\0';
	CHECK_INT(with_key(key), FOREMAN_INVALID);
	CHECK_INT(with_key(""), FOREMAN_INVALID);
	CHECK_INT(with_key("a b"), FOREMAN_INVALID);
	CHECK_INT(with_key("a\r\nX: y"), FOREMAN_INVALID);
	CHECK_INT(with_key("a,b"), FOREMAN_INVALID);
	CHECK_INT(with_key("\"a\""), FOREMAN_INVALID);
	CHECK_INT(with_key("\xc3\xa4"), FOREMAN_INVALID);
	CHECK_INT(served_count(), 0);
	key[255] = '\0';
	CHECK_INT(with_key(key), FOREMAN_OK);
	CHECK(strstr(served_heard(0), key) != NULL);
	CHECK_INT(with_key("my-key"), FOREMAN_OK);
	CHECK(strstr(served_heard(1), "\r\nIdempotency-Key: my-key\r\n") != NULL);
	down();
}

/* The line with the key of request `i`. */
static void key_of(size_t i, char out[64])
{
	const char *line = strstr(served_heard(i), "Idempotency-Key: ");

	snprintf(out, 64, "%.*s", line ? (int)strcspn(line, "\r") : 0,
	         line ? line : "");
}

static void tries_of_one_submission_have_one_key(void)
{
	foreman_submission what = { .request = "{}" };
	char first[64], second[64], next[64];

	served_up();
	f = foreman_new(served_url(), NULL);
	REQUIRE(f != NULL);
	served_says_raw("");
	served_says(202, "", SERVED_QUEUED);
	CHECK_INT(foreman_submit(f, &what, NULL, NULL), FOREMAN_OK);
	CHECK_INT(foreman_submit(f, &what, NULL, NULL), FOREMAN_OK);
	CHECK_INT(served_count(), 3);
	key_of(0, first);
	key_of(1, second);
	key_of(2, next);
	CHECK(strlen(first) > 26);
	CHECK_STR(second, first);
	CHECK(strcmp(next, first) != 0);
	down();
}

static void the_services_no_is_told_in_its_words(void)
{
	foreman_submission what = { .request = "{}" };
	foreman_job *job = NULL;
	foreman_error e;

	served_up();
	served_says(400, "",
	            "{\"code\":\"model_required\",\"detail\":\"name a model\"}");
	f = foreman_new(served_url(), NULL);
	REQUIRE(f != NULL);
	CHECK_INT(foreman_submit(f, &what, &job, &e), FOREMAN_INVALID);
	CHECK(job == NULL);
	CHECK_STR(e.name, "model_required");
	CHECK_STR(e.text, "name a model");
	down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_request_goes_byte_for_byte),
		T(all_members_have_their_place),
		T(what_would_break_the_envelope_is_refused),
		T(a_key_cannot_end_its_header),
		T(tries_of_one_submission_have_one_key),
		T(the_services_no_is_told_in_its_words),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
