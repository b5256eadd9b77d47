/*
 * test_jobs.c - submitted jobs: shown, listed, cancelled, fetched.
 */
#include <config.h>

#include "responder/jobs.h"

#include "base/json.h"
#include "stage.h"
#include "store/pace.h"
#include "store/remove.h"

#define JOB "{\"request\":{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}}"
#define UNKNOWN "01ARZ3NDEKTSV4RRFFQ69G5FAV"

/* A member of a JSON text as text: "id", "webhook.url"; "" if it is not there. */
static const char *member(const char *json, const char *path)
{
	static char value[600];
	struct span rest = span_of(path), name;
	cJSON *tree = NULL;
	const cJSON *at;
	char *text;

	value[0] = '\0';
	if (json_parse(span_of(json), &tree, NULL))
		return "not JSON";
	at = tree;
	while (span_cut(&rest, '.', &name)) {
		char *key = span_dup(name);

		at = cJSON_GetObjectItemCaseSensitive(at, key);
		free(key);
	}
	text = at ? json_text(at) : NULL;
	snprintf(value, sizeof(value), "%s", text ? text : "");
	free(text);
	cJSON_Delete(tree);
	return value;
}

/* Submit and return the id. */
static const char *submit(const char *body)
{
	static char id[ULID_SIZE];
	struct said a = stage_ask("POST", "/jobs", NULL, body);

	STAGE_MUST(a.status == 202);
	snprintf(id, sizeof(id), "%.26s", member(a.body, "id") + 1);
	return id;
}

static struct said ask(const char *method, const char *fmt, const char *id)
{
	char uri[128];
	struct span rest = span_of(fmt), before;

	span_cut(&rest, '@', &before);
	snprintf(uri, sizeof(uri), "%.*s%s%.*s", (int)before.len, before.p, id,
	         (int)rest.len, rest.len ? rest.p : "");
	return stage_ask(method, uri, NULL, NULL);
}

/* --- submitting ----------------------------------------------------------- */

static void a_job_is_accepted_with_its_place_and_its_object(void)
{
	struct said a;
	char location[64];

	stage_up(NULL);
	a = stage_ask("POST", "/jobs", NULL, JOB);
	CHECK_INT(a.status, 202);
	snprintf(location, sizeof(location), "Location: /jobs/%.26s\r\n",
	         member(a.body, "id") + 1);
	CHECK(strstr(a.headers, location) != NULL);
	CHECK(strstr(a.headers, "Retry-After: ") != NULL);
	CHECK_STR(member(a.body, "state"), "\"queued\"");
	CHECK_STR(member(a.body, "position"), "1");
	CHECK_STR(member(a.body, "waiting_on"), "\"worker\"");
	CHECK_STR(member(a.body, "seq"), "1");
	CHECK_STR(member(a.body, "attended"), "false");
	stage_down();
}

static void a_job_nudges_the_worker(void)
{
	struct buf heard;
	int relay;

	stage_up(NULL);
	buf_init(&heard, 4096);
	submit(JOB);
	relay = stage_accept_relay();
	REQUIRE(relay >= 0);
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_HELLO);
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_NUDGE);
	close(relay);
	buf_done(&heard);
	stage_down();
}

static void a_webhook_is_owed_from_the_start_if_it_is_wanted(void)
{
	struct said a;

	stage_up("FOREMAN_WEBHOOK_URL=http://d.example/", NULL);
	a = stage_ask("POST", "/jobs", NULL, JOB);
	CHECK_STR(member(a.body, "webhook.url"), "\"http://d.example/\"");
	CHECK_STR(member(a.body, "webhook.pending"), "1");
	a = stage_ask(
	    "POST", "/jobs", NULL,
	    "{\"request\":{\"model\":\"m\"},\"webhook\":{\"events\":[\"done\"]}}");
	CHECK_STR(member(a.body, "webhook.pending"), "0");
	stage_down();
}

static void what_cannot_be_written_is_told_and_not_done(void)
{
	const char *id;
	struct said a;

	stage_up(NULL);
	id = submit(JOB);
	stage_files_may_grow(false);
	a = stage_ask("POST", "/jobs", NULL, JOB);
	CHECK_INT(a.status, 500);
	CHECK(strstr(a.body, "\"code\":\"internal\",\"retryable\":true") != NULL);
	CHECK_INT(ask("POST", "/jobs/@/cancel", id).status, 500);
	CHECK_INT(ask("DELETE", "/jobs/@", id).status, 500);
	stage_files_may_grow(true);
	a = stage_ask("GET", "/jobs", NULL, NULL);
	CHECK(strstr(a.body, id) != NULL);
	CHECK(strstr(a.body, "\"state\":\"queued\"") != NULL);
	CHECK_STR(member(a.body, "next"), "null");
	CHECK_INT(ask("POST", "/jobs/@/cancel", id).status, 200);
	submit(JOB);
	stage_down();
}

static void too_many_jobs_are_told_to_come_again(void)
{
	struct said a;

	stage_up("FOREMAN_MAX_JOBS=1", NULL);
	submit(JOB);
	a = stage_ask("POST", "/jobs", NULL, JOB);
	CHECK_INT(a.status, 429);
	CHECK(strstr(a.headers, "Retry-After: ") != NULL);
	CHECK_STR(member(a.body, "code"), "\"too_many_jobs\"");
	CHECK_STR(member(a.body, "retryable"), "true");
	stage_down();
}

static void what_is_no_job_is_a_problem(void)
{
	struct said a;

	stage_up("FOREMAN_MAX_BODY=4K", NULL);
	a = stage_ask("POST", "/jobs", NULL, "{}");
	CHECK_INT(a.status, 400);
	CHECK(strstr(a.headers, "Content-Type: application/problem+json\r\n") != NULL);
	CHECK_STR(member(a.body, "detail"), "\"request is required\"");
	CHECK_INT(stage_ask("POST", "/jobs", "HTTP_CONTENT_ENCODING=gzip", JOB).status,
	          415);
	CHECK_INT(stage_ask("POST", "/jobs", "HTTP_IDEMPOTENCY_KEY=a, b", JOB).status,
	          400);
	CHECK_INT(stage_ask("POST", "/jobs", "HTTP_IDEMPOTENCY_KEY=", JOB).status, 400);
	CHECK_INT(stage_ask("POST", "/jobs", NULL,
	                    "{\"request\":{\"model\":\"m\"},\"webhook\":"
	                    "{\"url\":\"http://127.0.0.1/\"}}")
	              .status,
	          422);
	stage_down();
}

static void a_body_over_the_limit_is_413_in_the_paths_own_shape(void)
{
	char *body = malloc(4098);
	struct said a;

	memset(body, ' ', 4097);
	body[4097] = '\0';
	stage_up("FOREMAN_MAX_BODY=4K", NULL);
	a = stage_ask("POST", "/jobs", NULL, body);
	CHECK_INT(a.status, 413);
	CHECK_STR(member(a.body, "code"), "\"body_too_large\"");
	a = stage_ask("POST", "/api/chat", NULL, body);
	CHECK_INT(a.status, 413);
	CHECK_STR(a.body, "{\"error\":\"the body is larger than 4K\"}");
	body[4096] = '\0';
	CHECK_INT(stage_ask("POST", "/jobs", NULL, body).status, 400);
	free(body);
	stage_down();
}

/* --- one job -------------------------------------------------------------- */

static void a_job_is_shown_and_its_state_can_be_asked_after(void)
{
	struct said a;
	const char *id;

	stage_up(NULL);
	id = submit(JOB);
	a = ask("GET", "/jobs/@", id);
	CHECK_INT(a.status, 200);
	CHECK(strstr(a.headers, "ETag: W/\"1\"\r\n") != NULL);
	CHECK(strstr(a.headers, "Retry-After: ") != NULL);
	CHECK_STR(member(a.body, "model"), "\"m\"");
	a = stage_ask("GET", "/jobs", "HTTP_IF_NONE_MATCH=W/\"1\"", NULL);
	CHECK_INT(a.status, 200); /* the list has no tag */
	stage_down();
}

static void a_tag_that_still_holds_is_304(void)
{
	char uri[64];
	struct said a;

	stage_up(NULL);
	snprintf(uri, sizeof(uri), "/jobs/%s", submit(JOB));
	a = stage_ask("GET", uri, "HTTP_IF_NONE_MATCH=W/\"1\"", NULL);
	CHECK_INT(a.status, 304);
	CHECK_STR(a.body, "");
	CHECK_INT(stage_ask("GET", uri, "HTTP_IF_NONE_MATCH=\"0\", \"1\"", NULL).status,
	          304);
	CHECK_INT(stage_ask("GET", uri, "HTTP_IF_NONE_MATCH=*", NULL).status, 304);
	CHECK_INT(stage_ask("GET", uri, "HTTP_IF_NONE_MATCH=W/\"2\"", NULL).status,
	          200);
	CHECK_INT(stage_ask("GET", uri, "HTTP_IF_NONE_MATCH=1", NULL).status, 200);
	stage_down();
}

static void ids_are_taken_in_lower_case_and_refused_when_they_are_none(void)
{
	static const char *const bad[] = { "x",
		                               "01ARZ3NDEKTSV4RRFFQ69G5FA",
		                               "01ARZ3NDEKTSV4RRFFQ69G5FAVX",
		                               "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
		                               "01ARZ3NDEKTSV4RRFFQ69G5FAU",
		                               "01ARZ3NDEKTSV4RRFFQ69G5FA-",
		                               "01ARZ3NDEKTSV4RRFFQ69G5FA%56" };
	char lower[ULID_SIZE];
	struct said a;

	stage_up(NULL);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		a = ask("GET", "/jobs/@", bad[i]);
		CHECK_INT(a.status, 400);
		CHECK_STR(member(a.body, "code"), "\"invalid_job_id\"");
		CHECK_INT(ask("POST", "/jobs/@/cancel", bad[i]).status, 400);
		CHECK_INT(ask("GET", "/jobs/@/artifacts/response", bad[i]).status, 400);
	}
	str_copy(lower, sizeof(lower), submit(JOB));
	for (char *c = lower; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	CHECK_INT(ask("GET", "/jobs/@", lower).status, 200);
	stage_down();
}

static void an_unknown_job_is_404_everywhere(void)
{
	stage_up(NULL);
	CHECK_INT(ask("GET", "/jobs/@", UNKNOWN).status, 404);
	CHECK_INT(ask("POST", "/jobs/@/cancel", UNKNOWN).status, 404);
	CHECK_INT(ask("GET", "/jobs/@/artifacts/response", UNKNOWN).status, 404);
	stage_down();
}

static void a_retired_job_is_410_everywhere(void)
{
	const char *id;
	int64_t count;

	stage_up(NULL);
	id = submit(JOB);
	stage_run_job(1, "application/json", SPAN_LIT("{}"));
	STAGE_MUST(
	    !remove_old(stage.worker_db, clock_wall_ms() + 1000, 10, &count, NULL));
	CHECK_INT(count, 1);
	CHECK_INT(ask("GET", "/jobs/@", id).status, 410);
	CHECK_INT(ask("POST", "/jobs/@/cancel", id).status, 410);
	CHECK_INT(ask("GET", "/jobs/@/artifacts/response", id).status, 410);
	stage_down();
}

static void a_question_foreman_does_not_know_is_refused(void)
{
	stage_up(NULL);
	CHECK_INT(ask("GET", "/jobs/@?limit=1", submit(JOB)).status, 400);
	stage_down();
}

/* --- cancelling ----------------------------------------------------------- */

static void a_waiting_job_is_cancelled_at_once_and_again(void)
{
	struct said a;
	const char *id;

	stage_up(NULL);
	id = submit(JOB);
	a = ask("POST", "/jobs/@/cancel", id);
	CHECK_INT(a.status, 200);
	CHECK_STR(member(a.body, "reason"), "\"canceled\"");
	a = ask("POST", "/jobs/@/cancel", id);
	CHECK_INT(a.status, 200);
	CHECK_STR(member(a.body, "seq"), "2");
	stage_down();
}

static void a_running_job_is_asked_to_stop(void)
{
	struct buf heard;
	struct frame f;
	struct said a;
	struct job job;
	const char *id;
	struct queue_input in = { 0 };
	int relay;

	stage_up(NULL);
	buf_init(&heard, 1 << 16);
	id = submit(JOB);
	STAGE_MUST(!queue_claim(stage.worker_db, 1, clock_wall_ms(), &job, &in, NULL));
	a = ask("POST", "/jobs/@/cancel", id);
	CHECK_INT(a.status, 202);
	CHECK_STR(member(a.body, "state"), "\"loading\"");
	relay = stage_accept_relay();
	REQUIRE(relay >= 0);
	while ((f = stage_hear(relay, &heard)).type != FRAME_CANCEL)
		REQUIRE(f.type != FRAME_TYPE_COUNT);
	CHECK_STR(f.id, id);
	close(relay);
	job_done(&job);
	free(in.body);
	buf_done(&heard);
	stage_down();
}

/* --- removing ------------------------------------------------------------- */

static void a_removed_job_is_gone_and_stays_gone(void)
{
	const char *id;

	stage_up(NULL);
	id = submit(JOB);
	CHECK_INT(ask("DELETE", "/jobs/@", id).status, 204);
	CHECK_INT(ask("GET", "/jobs/@", id).status, 410);
	CHECK_INT(ask("DELETE", "/jobs/@", id).status, 410);
	CHECK_INT(ask("DELETE", "/jobs/@", UNKNOWN).status, 404);
	CHECK_INT(ask("DELETE", "/jobs/@", "x").status, 400);
	stage_down();
}

static void a_removed_job_is_torn_down_where_it_runs(void)
{
	struct queue_input in = { 0 };
	struct buf heard;
	struct job job;
	struct frame f;
	const char *id;
	int relay;

	stage_up(NULL);
	buf_init(&heard, 4096);
	id = submit(JOB);
	STAGE_MUST(!queue_claim(stage.worker_db, 1, clock_wall_ms(), &job, &in, NULL));
	CHECK_INT(ask("DELETE", "/jobs/@", id).status, 204);
	relay = stage_accept_relay();
	REQUIRE(relay >= 0);
	do
		f = stage_hear(relay, &heard);
	while (f.type == FRAME_HELLO || f.type == FRAME_NUDGE);
	CHECK_INT(f.type, FRAME_CANCEL);
	CHECK_STR(f.id, id);
	CHECK_INT(queue_working(stage.worker_db, &job, clock_wall_ms(), NULL),
	          ERR_STALE);
	close(relay);
	job_done(&job);
	free(in.body);
	buf_done(&heard);
	stage_down();
}

/* --- the list ------------------------------------------------------------- */

static void jobs_are_listed_newest_first_in_pages(void)
{
	char ids[3][ULID_SIZE], uri[128];
	struct said a;

	stage_up(NULL);
	for (int i = 0; i < 3; i++)
		str_copy(ids[i], sizeof(ids[i]), submit(JOB));
	a = stage_ask("GET", "/jobs?limit=2", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK(strstr(a.body, ids[2]) < strstr(a.body, ids[1]));
	CHECK(!strstr(a.body, ids[0]));
	snprintf(uri, sizeof(uri), "\"%s\"", ids[1]);
	CHECK_STR(member(a.body, "next"), uri);
	snprintf(uri, sizeof(uri), "/jobs?before=%s&state=queued&model=M%%3alatest",
	         ids[1]);
	a = stage_ask("GET", uri, NULL, NULL);
	CHECK(strstr(a.body, ids[0]) != NULL);
	CHECK(!strstr(a.body, ids[1]));
	CHECK_STR(member(a.body, "next"), "null");
	a = stage_ask("GET", "/jobs?state=done", NULL, NULL);
	CHECK_STR(a.body, "{\"jobs\":[],\"next\":null}");
	stage_down();
}

static void a_page_of_jobs_has_a_usual_length(void)
{
	char second[ULID_SIZE] = "", want[ULID_SIZE + 2];

	stage_up(NULL);
	for (int i = 1; i <= LIMIT_LIST_DEFAULT; i++) {
		const char *id = submit(JOB);

		if (i == 2)
			str_copy(second, sizeof(second), id);
	}
	CHECK_STR(member(stage_ask("GET", "/jobs", NULL, NULL).body, "next"), "null");
	submit(JOB);
	snprintf(want, sizeof(want), "\"%s\"", second);
	CHECK_STR(member(stage_ask("GET", "/jobs", NULL, NULL).body, "next"), want);
	stage_down();
}

static void bad_questions_are_refused(void)
{
	static const char *const bad[] = {
		"limit=0",
		"limit=-1",
		"limit=abc",
		"limit=",
		"limit=1&limit=1",
		"limit=99999999999999999999",
		"state=foo",
		"state=",
		"state=Queued",
		"before=x",
		"before=",
		"model=",
		"model=a%20b",
		"x=1",
		"=1",
		"limit",
		"model=%zz",
		"model=%00",
	};
	char uri[128];

	stage_up(NULL);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(uri, sizeof(uri), "/jobs?%s", bad[i]);
		if (!CHECK(stage_ask("GET", uri, NULL, NULL).status == 400))
			printf("# %s\n", bad[i]);
	}
	CHECK_INT(stage_ask("GET", "/jobs?limit=1", NULL, NULL).status, 200);
	snprintf(uri, sizeof(uri), "/jobs?limit=%d", LIMIT_LIST_MAX);
	CHECK_INT(stage_ask("GET", uri, NULL, NULL).status, 200);
	snprintf(uri, sizeof(uri), "/jobs?limit=%d", LIMIT_LIST_MAX + 1);
	CHECK_INT(stage_ask("GET", uri, NULL, NULL).status, 400);
	CHECK_INT(stage_ask("GET", "/jobs?", NULL, NULL).status, 200);
	stage_down();
}

/* --- the queue, and the door ---------------------------------------------- */

static void the_queue_says_who_waits_and_how_the_target_is(void)
{
	struct said a;

	stage_up(NULL);
	submit(JOB);
	stage_worker_says(
	    &(struct status){ .heartbeat_ms = clock_wall_ms(), .target = TARGET_DOWN });
	a = stage_ask("GET", "/queue", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK_STR(member(a.body, "running"), "null");
	CHECK(strstr(member(a.body, "waiting"), "\"count\":1") != NULL);
	CHECK_STR(member(a.body, "jobs.queued"), "1");
	CHECK_STR(member(a.body, "target.state"), "\"unreachable\"");
	stage_down();
}

/* A pace is known of one model: of a second one in line nothing can be said. */
static void the_queue_says_who_runs_how_fast_and_until_when(void)
{
	const struct pace pace = { .run_ms = 30000, .tokens_per_s = 12.5 };
	struct queue_input in = { 0 };
	struct job job;
	struct said a;

	stage_up(NULL);
	stage_worker_says(&(struct status){ .heartbeat_ms = clock_wall_ms(),
	                                    .target = TARGET_UP });
	STAGE_MUST(!db_begin(stage.worker_db, DB_SYNC_NORMAL, NULL));
	STAGE_MUST(
	    !pace_record(stage.worker_db, "m:latest", &pace, clock_wall_ms(), NULL));
	STAGE_MUST(!db_commit(stage.worker_db, NULL));
	submit(JOB);
	submit(JOB);
	STAGE_MUST(!queue_claim(stage.worker_db, 1, clock_wall_ms(), &job, &in, NULL));
	STAGE_MUST(!queue_working(stage.worker_db, &job, clock_wall_ms(), NULL));
	a = stage_ask("GET", "/queue", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK(strstr(member(a.body, "running"), job.id) != NULL);
	CHECK_STR(member(a.body, "tokens_per_s"), "12.5");
	CHECK(strstr(member(a.body, "waiting"), "\"starts_at\":\"20") != NULL);
	CHECK_STR(member(a.body, "estimate.jobs_per_minute"), "2");
	CHECK(strncmp(member(a.body, "estimate.empty_at"), "\"20", 3) == 0);
	job_done(&job);
	free(in.body);
	stage_down();
}

static void a_token_is_asked_of_everybody_but_the_health_check(void)
{
	struct said a;

	stage_up("FOREMAN_API_TOKEN=s3cret-s3cret-s3cret", NULL);
	a = stage_ask("GET", "/jobs", NULL, NULL);
	CHECK_INT(a.status, 401);
	CHECK(strstr(a.headers, "WWW-Authenticate: Bearer\r\n") != NULL);
	CHECK_INT(stage_ask("GET", "/nope", NULL, NULL).status, 401);
	CHECK_INT(stage_ask("PUT", "/jobs", NULL, NULL).status, 401);
	CHECK_INT(stage_ask("GET", "/jobs", "HTTP_AUTHORIZATION=Bearer x", NULL).status,
	          401);
	CHECK_INT(stage_ask("GET", "/jobs",
	                    "HTTP_AUTHORIZATION=Bearer s3cret-s3cret-s3cret", NULL)
	              .status,
	          200);
	CHECK_INT(stage_ask("GET", "/healthz", NULL, NULL).status, 200);
	stage_down();
}

static void other_methods_are_told_which_there_are(void)
{
	struct said a;

	stage_up(NULL);
	a = stage_ask("PUT", "/jobs", NULL, NULL);
	CHECK_INT(a.status, 405);
	CHECK(strstr(a.headers, "Allow: HEAD, GET, POST\r\n") != NULL);
	a = stage_ask("OPTIONS", "/api/chat", NULL, NULL);
	CHECK_INT(a.status, 204);
	CHECK(strstr(a.headers, "Allow: POST\r\n") != NULL);
	a = stage_ask("GET", "/api/chat", NULL, NULL);
	CHECK_INT(a.status, 405);
	CHECK_STR(a.body, "{\"error\":\"method not allowed\"}");
	a = stage_ask("GET", "/a\nb", NULL, NULL);
	CHECK_INT(a.status, 404);
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_job_is_accepted_with_its_place_and_its_object),
		T(a_job_nudges_the_worker),
		T(a_webhook_is_owed_from_the_start_if_it_is_wanted),
		T(what_cannot_be_written_is_told_and_not_done),
		T(too_many_jobs_are_told_to_come_again),
		T(what_is_no_job_is_a_problem),
		T(a_body_over_the_limit_is_413_in_the_paths_own_shape),
		T(a_job_is_shown_and_its_state_can_be_asked_after),
		T(a_tag_that_still_holds_is_304),
		T(ids_are_taken_in_lower_case_and_refused_when_they_are_none),
		T(an_unknown_job_is_404_everywhere),
		T(a_retired_job_is_410_everywhere),
		T(a_question_foreman_does_not_know_is_refused),
		T(a_waiting_job_is_cancelled_at_once_and_again),
		T(a_running_job_is_asked_to_stop),
		T(a_removed_job_is_gone_and_stays_gone),
		T(a_removed_job_is_torn_down_where_it_runs),
		T(jobs_are_listed_newest_first_in_pages),
		T(a_page_of_jobs_has_a_usual_length),
		T(bad_questions_are_refused),
		T(the_queue_says_who_waits_and_how_the_target_is),
		T(the_queue_says_who_runs_how_fast_and_until_when),
		T(a_token_is_asked_of_everybody_but_the_health_check),
		T(other_methods_are_told_which_there_are),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
