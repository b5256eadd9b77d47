/*
 * test_submit.c - what a submission is answered: at once, again, or later.
 */
#include <config.h>

#include "responder/submit.h"
#include "responder/terms.h"

#include "core/limits.h"
#include "stage.h"
#include "store/pace.h"

#define JOB "{\"request\":{\"model\":\"m\"}}"
#define KEY "HTTP_IDEMPOTENCY_KEY=the-key"

/* An answer that comes from the watch: who half closes would have left. */
static struct said ask_watch(const char *headers, const char *body)
{
	int fd = stage_send("POST", "/jobs", headers, body, true);
	struct said a = stage_listen(fd, NULL);

	close(fd);
	return a;
}

static const char *id_of(const struct said *a)
{
	static char ids[2][ULID_SIZE];
	static int turn;

	turn = !turn;
	if (strncmp(a->body, "{\"id\":\"", 7) != 0)
		return "no job";
	snprintf(ids[turn], ULID_SIZE, "%s", a->body + 7);
	return ids[turn];
}

static bool has(const struct said *a, const char *line)
{
	return strstr(a->headers, line) != NULL;
}

/* --- keys --------------------------------------------------------------------- */

static void the_same_again_is_the_same_job(void)
{
	char location[64];
	struct said a, b;

	stage_up("FOREMAN_MAX_JOBS=1", NULL);
	a = stage_ask("POST", "/jobs", KEY, JOB);
	CHECK_INT(a.status, 202);
	CHECK(!has(&a, "Idempotency-Replayed"));
	b = ask_watch("HTTP_IDEMPOTENCY_KEY=\"the-key\"", JOB);
	CHECK_INT(b.status, 202);
	CHECK(has(&b, "Idempotency-Replayed: true\r\n"));
	CHECK_STR(id_of(&b), id_of(&a));
	snprintf(location, sizeof(location), "Location: /jobs/%s\r\n", id_of(&a));
	CHECK(has(&b, location));
	stage_down();
}

static void the_same_again_is_answered_as_it_is_now(void)
{
	struct said a;

	stage_up(NULL);
	CHECK_INT(stage_ask("POST", "/jobs", KEY, JOB).status, 202);
	stage_run_job(1, "application/json", SPAN_LIT("{\"x\":1}"));
	a = ask_watch(KEY, JOB);
	CHECK_INT(a.status, 200);
	CHECK(has(&a, "Idempotency-Replayed: true\r\n"));
	CHECK(strstr(a.body, "\"state\":\"done\""));
	CHECK(strstr(a.body, "\"inline\":{\"x\":1}"));
	stage_down();
}

static void another_body_under_the_key_is_422(void)
{
	struct said a;

	stage_up(NULL);
	CHECK_INT(stage_ask("POST", "/jobs", KEY, JOB).status, 202);
	a = stage_ask("POST", "/jobs", KEY, JOB " ");
	CHECK_INT(a.status, 422);
	CHECK(has(&a, "application/problem+json"));
	CHECK(strstr(a.body, "\"code\":\"idempotency_key_reused\""));
	CHECK(strstr(a.body, "\"retryable\":false"));
	CHECK(!has(&a, "Idempotency-Replayed"));
	CHECK_INT(
	    stage_ask("POST", "/jobs", "HTTP_IDEMPOTENCY_KEY=The-Key", JOB).status,
	    202); /* that is another key */
	stage_down();
}

static void a_body_that_keeps_its_thread_is_remembered_too(void)
{
	size_t size = 100000;
	char *body = malloc(size);
	struct said a, b;

	STAGE_MUST(body != NULL);
	snprintf(body, size, "{\"request\":{\"model\":\"m\",\"prompt\":\"%0*d\"}}",
	         90000, 1);
	stage_up(NULL);
	a = stage_ask("POST", "/jobs", KEY, body);
	CHECK_INT(a.status, 202);
	b = ask_watch(KEY, body);
	CHECK_INT(b.status, 202);
	CHECK_STR(id_of(&b), id_of(&a));
	CHECK_INT(stage_ask("POST", "/jobs", KEY, JOB).status, 422);
	stage_down();
	free(body);
}

/* --- preferences ----------------------------------------------------------------
 */

static void who_prefers_to_wait_gets_the_finished_job(void)
{
	struct said a;
	int fd;

	stage_up(NULL);
	fd = stage_send("POST", "/jobs", "HTTP_PREFER=respond-async, wait=60", JOB,
	                true);
	group_settle(stage.service.group); /* it is stored */
	stage_run_job(1, "application/json", SPAN_LIT("{}"));
	a = stage_listen(fd, NULL);
	CHECK_INT(a.status, 200);
	CHECK(has(&a, "Preference-Applied: wait\r\n"));
	CHECK(has(&a, "Location: /jobs/"));
	CHECK(!has(&a, "Idempotency-Replayed"));
	CHECK(strstr(a.body, "\"state\":\"done\""));
	close(fd);
	stage_down();
}

static void who_repeats_may_wait_as_well(void)
{
	struct said a;
	int fd;

	stage_up(NULL);
	CHECK_INT(stage_ask("POST", "/jobs", KEY, JOB).status, 202);
	fd = stage_send("POST", "/jobs", KEY "\nHTTP_PREFER=wait=60", JOB, true);
	group_settle(stage.service.group);
	stage_run_job(1, "application/json", SPAN_LIT("{}"));
	a = stage_listen(fd, NULL);
	CHECK_INT(a.status, 200);
	CHECK(has(&a, "Idempotency-Replayed: true\r\n"));
	CHECK(strstr(a.body, "\"state\":\"done\""));
	close(fd);
	stage_down();
}

static void who_does_not_want_to_wait_is_told_at_once(void)
{
	struct said a;

	stage_up(NULL);
	a = stage_ask("POST", "/jobs", "HTTP_PREFER=respond-async", JOB);
	CHECK_INT(a.status, 202);
	CHECK(has(&a, "Preference-Applied: respond-async\r\n"));
	a = stage_ask("POST", "/jobs", "HTTP_PREFER=wait=0", JOB);
	CHECK_INT(a.status, 202);
	a = stage_ask("POST", "/jobs", "HTTP_PREFER=wait=soon, handling=lenient", JOB);
	CHECK_INT(a.status, 202);
	CHECK(!has(&a, "Preference-Applied"));
	stage_down();
}

/* --- a full queue
 * ----------------------------------------------------------------- */

static void retry_after_is_how_long_the_places_take_to_get_free(void)
{
	CHECK_INT(terms_retry_after(0), 0); /* not known */
	CHECK_INT(terms_retry_after(1), 1);
	CHECK_INT(terms_retry_after(1000), 1);
	CHECK_INT(terms_retry_after(1001), 2);
	CHECK_INT(terms_retry_after(LIMIT_RETRY_JOBS_S * 1000 - 999),
	          LIMIT_RETRY_JOBS_S);
	CHECK_INT(terms_retry_after(LIMIT_RETRY_JOBS_S * 1000 - 1000),
	          LIMIT_RETRY_JOBS_S - 1);
	CHECK_INT(terms_retry_after(LIMIT_RETRY_JOBS_S * 1000 + 1),
	          LIMIT_RETRY_JOBS_S);
	CHECK_INT(terms_retry_after(INT64_MAX), LIMIT_RETRY_JOBS_S);
}

static void record_pace(int64_t run_ms)
{
	const struct pace run = { .load_ms = 0,
		                      .run_ms = (double)run_ms,
		                      .tokens_per_s = 1 };

	STAGE_MUST(!db_begin(stage.worker_db, DB_SYNC_NORMAL, NULL));
	STAGE_MUST(
	    !pace_record(stage.worker_db, "m:latest", &run, clock_wall_ms(), NULL));
	STAGE_MUST(!db_commit(stage.worker_db, NULL));
}

static void a_full_queue_says_when_to_come_back(void)
{
	struct said a;

	stage_up("FOREMAN_MAX_JOBS=1", NULL);
	CHECK_INT(stage_ask("POST", "/jobs", NULL, JOB).status, 202);
	a = stage_ask("POST", "/jobs", NULL, JOB);
	CHECK_INT(a.status, 429);
	CHECK(has(&a, "Retry-After: 30\r\n")); /* nothing is known yet */
	record_pace(6400);
	a = stage_ask("POST", "/jobs", NULL, JOB);
	CHECK_INT(a.status, 429);
	CHECK(has(&a, "Retry-After: 7\r\n"));
	CHECK(strstr(a.body, "\"code\":\"too_many_jobs\""));
	a = stage_ask("POST", "/jobs", "HTTP_CONTENT_TYPE=application/x-ndjson",
	              JOB "\n" JOB "\n" JOB);
	CHECK_INT(a.status, 429);
	CHECK(has(&a, "Retry-After: 20\r\n")); /* three places */
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(the_same_again_is_the_same_job),
		T(the_same_again_is_answered_as_it_is_now),
		T(another_body_under_the_key_is_422),
		T(a_body_that_keeps_its_thread_is_remembered_too),
		T(who_prefers_to_wait_gets_the_finished_job),
		T(who_repeats_may_wait_as_well),
		T(who_does_not_want_to_wait_is_told_at_once),
		T(retry_after_is_how_long_the_places_take_to_get_free),
		T(a_full_queue_says_when_to_come_back),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
