/*
 * test_follow.c - asking for a job, waiting for it, cancelling and removing it.
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
}

static void down(void)
{
	foreman_free(f);
	served_down();
}

static void a_job_tells_what_the_service_told(void)
{
	static const char text[] = SERVED_JOB(
	    "failed",
	    ",\"terminal\":true,\"reason\":\"timeout\",\"error\":\"too long\","
	    "\"model\":\"m\",\"position\":3,\"seq\":7");
	foreman_job *job = NULL;

	up();
	served_says(200, "", text);
	REQUIRE(foreman_get(f, SERVED_ID, &job, NULL) == FOREMAN_OK);
	CHECK_STR(foreman_job_id(job), SERVED_ID);
	CHECK_STR(foreman_job_state(job), "failed");
	CHECK_INT(foreman_job_terminal(job), 1);
	CHECK_STR(foreman_job_reason(job), "timeout");
	CHECK_STR(foreman_job_error(job), "too long");
	CHECK_STR(foreman_job_model(job), "m");
	CHECK_INT(foreman_job_position(job), 3);
	CHECK_INT(foreman_job_seq(job), 7);
	CHECK_STR(foreman_job_json(job), text);
	foreman_job_free(job);
	down();
}

static void what_a_job_lacks_is_null_or_0(void)
{
	foreman_job *job = NULL;

	up();
	served_says(200, "",
	            SERVED_JOB("queued", ",\"reason\":null,\"position\":null"));
	REQUIRE(foreman_get(f, SERVED_ID, &job, NULL) == FOREMAN_OK);
	CHECK_STR(foreman_job_reason(job), NULL);
	CHECK_STR(foreman_job_error(job), NULL);
	CHECK_STR(foreman_job_model(job), NULL);
	CHECK_INT(foreman_job_position(job), 0);
	CHECK_INT(foreman_job_seq(job), 0);
	CHECK_INT(foreman_job_terminal(job), 0);
	foreman_job_free(job);
	foreman_job_free(NULL);
	down();
}

static void what_is_no_id_is_not_sent(void)
{
	static const char *const ids[] = {
		NULL, "", "01", "../queue", SERVED_ID "0", "0IM7XTZDW58JFZWPE0P2PW2C7G"
	};
	foreman_error e;

	up();
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		CHECK_INT(foreman_get(f, ids[i], NULL, &e), FOREMAN_INVALID);
		CHECK_INT(foreman_wait(f, ids[i], 0, NULL, &e), FOREMAN_INVALID);
		CHECK_INT(foreman_cancel(f, ids[i], NULL, &e), FOREMAN_INVALID);
		CHECK_INT(foreman_remove(f, ids[i], &e), FOREMAN_INVALID);
		CHECK_STR(e.text, "not a job id");
	}
	CHECK_INT(served_count(), 0);
	served_says(200, "", SERVED_DONE);
	CHECK_INT(foreman_get(f, "01m7xtzdw58jfzwpe0p2pw2c7g", NULL, &e), FOREMAN_OK);
	CHECK(served_asked(0, "GET /jobs/" SERVED_ID));
	down();
}

static void waiting_asks_until_it_has_ended(void)
{
	foreman_job *job = NULL;

	up();
	served_says(200, "", SERVED_QUEUED);
	served_says(200, "", SERVED_JOB("working", ""));
	served_says(200, "", SERVED_JOB("failed", ",\"terminal\":true"));
	CHECK_INT(foreman_wait(f, SERVED_ID, -1, &job, NULL), FOREMAN_OK);
	CHECK_STR(foreman_job_state(job), "failed");
	foreman_job_free(job);
	CHECK_INT(served_count(), 3);
	CHECK(served_asked(0, "GET /jobs/" SERVED_ID "?wait=30"));
	down();
}

static void a_wait_that_is_over_still_gives_the_job(void)
{
	foreman_job *job = NULL;
	foreman_error e;

	up();
	served_says(200, "", SERVED_QUEUED);
	CHECK_INT(foreman_wait(f, SERVED_ID, 0, &job, &e), FOREMAN_TIMEOUT);
	CHECK_STR(foreman_job_state(job), "queued");
	CHECK_STR(e.text, "the job is still queued");
	CHECK_INT(served_count(), 1);
	CHECK(served_asked(0, "GET /jobs/" SERVED_ID "?wait=0"));
	foreman_job_free(job);
	CHECK_INT(foreman_wait(f, SERVED_ID, 0, NULL, NULL), FOREMAN_TIMEOUT);
	down();
}

static void waits_are_whole_seconds_of_at_most_half_a_minute(void)
{
	static const struct {
		int64_t ms;
		const char *asked;
	} rows[] = {
		{ 1, "GET /jobs/" SERVED_ID "?wait=1" },
		{ 29001, "GET /jobs/" SERVED_ID "?wait=30" },
		{ 31000, "GET /jobs/" SERVED_ID "?wait=30" },
		{ INT64_MAX, "GET /jobs/" SERVED_ID "?wait=30" },
	};

	up();
	served_says(200, "", SERVED_DONE);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CHECK_INT(foreman_wait(f, SERVED_ID, rows[i].ms, NULL, NULL), FOREMAN_OK);
		t_note(served_asked(i, rows[i].asked), __FILE__, __LINE__, rows[i].asked);
	}
	down();
}

static void who_is_answered_at_once_asks_slowly(void)
{
	foreman_error e;

	up();
	served_says(200, "", SERVED_JOB("queued", ",\"terminal\":false"));
	CHECK_INT(foreman_wait(f, SERVED_ID, 100, NULL, &e), FOREMAN_TIMEOUT);
	/* at first, once more as nothing moved, and at the end */
	CHECK(served_count() <= 3);
	down();
}

static void a_wait_for_nothing_fails_at_once(void)
{
	up();
	served_says(404, "", "{\"code\":\"job_not_found\"}");
	CHECK_INT(foreman_wait(f, SERVED_ID, -1, NULL, NULL), FOREMAN_NOT_FOUND);
	CHECK_INT(served_count(), 1);
	down();
}

static void cancelling_is_a_post(void)
{
	foreman_job *job = NULL;

	up();
	served_says(202, "", SERVED_JOB("working", ""));
	CHECK_INT(foreman_cancel(f, SERVED_ID, &job, NULL), FOREMAN_OK);
	CHECK(served_asked(0, "POST /jobs/" SERVED_ID "/cancel"));
	CHECK_STR(foreman_job_state(job), "working");
	foreman_job_free(job);
	down();
}

static void removing_is_a_delete(void)
{
	up();
	served_says_raw("HTTP/1.1 204 No Content\r\n\r\n");
	served_says(410, "", "{\"code\":\"job_gone\"}");
	CHECK_INT(foreman_remove(f, SERVED_ID, NULL), FOREMAN_OK);
	CHECK(served_asked(0, "DELETE /jobs/" SERVED_ID));
	CHECK_INT(foreman_remove(f, SERVED_ID, NULL), FOREMAN_GONE);
	down();
}

static void a_removal_whose_answer_was_lost_is_one(void)
{
	up();
	foreman_set_patience(f, 60000);
	served_says_raw("");
	served_says(410, "", "{\"code\":\"job_gone\"}");
	CHECK_INT(foreman_remove(f, SERVED_ID, NULL), FOREMAN_OK);
	CHECK_INT(served_count(), 2);
	down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_job_tells_what_the_service_told),
		T(what_a_job_lacks_is_null_or_0),
		T(what_is_no_id_is_not_sent),
		T(waiting_asks_until_it_has_ended),
		T(a_wait_that_is_over_still_gives_the_job),
		T(waits_are_whole_seconds_of_at_most_half_a_minute),
		T(who_is_answered_at_once_asks_slowly),
		T(a_wait_for_nothing_fails_at_once),
		T(cancelling_is_a_post),
		T(removing_is_a_delete),
		T(a_removal_whose_answer_was_lost_is_one),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
