/*
 * test_batch.c - batches: lines read, stored all or none, answered in order.
 */
#include <config.h>

#include "responder/batch.h"

#include "core/limits.h"
#include "stage.h"
#include "store/look.h"

#define LINE(model) "{\"request\":{\"model\":\"" model "\"}}"
#define NDJSON "HTTP_CONTENT_TYPE=application/x-ndjson"

static struct batch batch;
static enum fault fault;
static struct errtext why;

static enum err read_lines(struct span text)
{
	struct guard *guard;
	enum err e;

	fault = FAULT_COUNT;
	why.s[0] = '\0';
	if (guard_new("public,lan", "http://127.0.0.1:11434", &guard, NULL))
		abort();
	e = batch_read(text, guard, NULL, &batch, &fault, &why);
	guard_free(guard);
	return e;
}

static void refused(const char *text, enum fault want, const char *want_why)
{
	if (!read_lines(span_of(text))) {
		batch_done(&batch);
		CHECK_STR(text, "refused");
		return;
	}
	CHECK_INT(fault, want);
	if (want_why)
		CHECK_STR(why.s, want_why);
}

/* --- lines -------------------------------------------------------------------- */

static void every_line_is_an_envelope(void)
{
	REQUIRE(!read_lines(SPAN_LIT(LINE("a") "\n" LINE("b") "\n")));
	CHECK_INT(batch.count, 2);
	CHECK_STR(batch.drafts[0].job.model, "a");
	CHECK_STR(batch.drafts[1].job.model, "b");
	batch_done(&batch);
}

static void blank_lines_carriage_returns_and_a_missing_end_are_fine(void)
{
	REQUIRE(!read_lines(SPAN_LIT(
	    "\r\n\n" LINE("a") "\r\n  \t\r\n " LINE("b") " \r\n\n" LINE("c"))));
	CHECK_INT(batch.count, 3);
	CHECK_STR(batch.drafts[2].job.model, "c");
	batch_done(&batch);
	REQUIRE(!read_lines(SPAN_LIT(LINE("a"))));
	CHECK_INT(batch.count, 1);
	batch_done(&batch);
}

static void a_bad_line_is_told_by_its_number(void)
{
	refused(LINE("a") "\n\n{\"bogus\":1}\n" LINE("b"), FAULT_INVALID_REQUEST,
	        "line 3: unknown field \"bogus\"");
	refused(LINE("a") LINE("b"), FAULT_INVALID_REQUEST, NULL);
	refused(LINE("a") "\n[]", FAULT_INVALID_REQUEST,
	        "line 2: the body must be a JSON object");
	refused(LINE("a") "\n{\n", FAULT_INVALID_REQUEST,
	        "line 2: invalid JSON: unexpected end at byte 1");
}

static void a_fault_of_its_own_stays_one(void)
{
	REQUIRE(read_lines(
	    SPAN_LIT(LINE("a") "\n{\"request\":{\"model\":\"m\"},\"webhook\":"
	                       "{\"url\":\"http://169.254.169.254/\"}}")));
	CHECK_INT(fault, FAULT_WEBHOOK_REFUSED);
	CHECK(strncmp(why.s, "line 2: webhook.url: ", 21) == 0);
}

static void nothing_is_no_batch(void)
{
	refused("", FAULT_INVALID_REQUEST, "there is no job in the body");
	refused("\n \r\n\t\n", FAULT_INVALID_REQUEST, "there is no job in the body");
}

static bool lines_ok(int count, const char *line)
{
	struct buf b;
	bool ok;

	buf_init(&b, SIZE_MAX);
	for (int i = 0; i < count; i++)
		STAGE_MUST(!buf_add_str(&b, line));
	ok = !read_lines((struct span){ b.p, b.len });
	if (ok) {
		CHECK_INT(batch.count, count);
		batch_done(&batch);
	}
	buf_done(&b);
	return ok;
}

static void a_batch_has_at_most_so_many_jobs(void)
{
	CHECK(lines_ok(LIMIT_BATCH_JOBS, LINE("m") "\n\n"));
	CHECK(!lines_ok(LIMIT_BATCH_JOBS + 1, LINE("m") "\n"));
	CHECK_INT(fault, FAULT_BATCH_TOO_LARGE);
	CHECK_STR(why.s, "a batch has at most 10000 jobs");
	CHECK(!lines_ok(LIMIT_BATCH_JOBS + 1, "bad\n")); /* before they are read */
	CHECK_INT(fault, FAULT_BATCH_TOO_LARGE);
}

/* --- stored and answered --------------------------------------------------------
 */

static int64_t stored(void)
{
	int64_t states[JOB_STATE_COUNT] = { 0 }, n = 0;
	struct look_queue q;

	STAGE_MUST(!look_queue(stage.worker_db, &q));
	memcpy(states, q.states, sizeof(states));
	look_queue_done(&q);
	for (int i = 0; i < JOB_STATE_COUNT; i++)
		n += states[i];
	return n;
}

/* The id of the job object on the answer's nth line; "" if there is none. */
static const char *id_at(const struct said *a, int n)
{
	static char ids[4][ULID_SIZE];
	const char *at = a->body;

	for (int i = 0; i < n && at; i++) {
		at = strchr(at, '\n');
		at = at ? at + 1 : NULL;
	}
	if (!at || strncmp(at, "{\"id\":\"", 7) != 0)
		return "";
	snprintf(ids[n % 4], ULID_SIZE, "%s", at + 7);
	return ids[n % 4];
}

static void a_batch_is_answered_a_job_a_line_in_its_order(void)
{
	struct said a;

	stage_up(NULL);
	a = stage_ask("POST", "/jobs", NDJSON,
	              LINE("a") "\n" LINE("b") "\r\n\n" LINE("c"));
	CHECK_INT(a.status, 202);
	CHECK(strstr(a.headers, "application/x-ndjson"));
	CHECK(strstr(a.headers, "Retry-After: 2\r\n"));
	CHECK(!strstr(a.headers, "Location"));
	CHECK(strcmp(id_at(&a, 0), id_at(&a, 1)) < 0);
	CHECK(strcmp(id_at(&a, 1), id_at(&a, 2)) < 0);
	CHECK_STR(id_at(&a, 3), "");
	CHECK(strstr(a.body, "\"model\":\"a\",\"position\":1,"));
	CHECK(strstr(a.body, "\"model\":\"c\",\"position\":3,"));
	CHECK_INT(stored(), 3);
	stage_down();
}

static void a_batch_with_a_bad_line_stores_nothing(void)
{
	struct said a;

	stage_up(NULL);
	a = stage_ask("POST", "/jobs", NDJSON, LINE("a") "\n{}\n" LINE("b"));
	CHECK_INT(a.status, 400);
	CHECK(strstr(a.body, "line 2: request is required"));
	CHECK_INT(stored(), 0);
	stage_down();
}

static void a_batch_goes_in_whole_or_is_429(void)
{
	struct said a;

	stage_up("FOREMAN_MAX_JOBS=2", NULL);
	a = stage_ask("POST", "/jobs", NDJSON, LINE("a") "\n" LINE("b") "\n" LINE("c"));
	CHECK_INT(a.status, 429);
	CHECK(strstr(a.body, "\"code\":\"too_many_jobs\""));
	CHECK_INT(stored(), 0);
	a = stage_ask("POST", "/jobs", NDJSON, LINE("a") "\n" LINE("b"));
	CHECK_INT(a.status, 202);
	stage_down();
}

static void a_repeated_batch_is_answered_as_it_is_now(void)
{
	static const char two[] = LINE("a") "\n" LINE("b");
	static const char keyed[] = NDJSON "\nHTTP_IDEMPOTENCY_KEY=k";
	struct said a, b;

	stage_up("FOREMAN_MAX_JOBS=2", NULL);
	a = stage_ask("POST", "/jobs", keyed, two);
	CHECK_INT(a.status, 202);
	CHECK(!strstr(a.headers, "Idempotency-Replayed"));
	stage_run_job(1, "application/json", SPAN_LIT("{}"));
	b = stage_ask("POST", "/jobs", keyed, two);
	CHECK_INT(b.status, 202);
	CHECK(strstr(b.headers, "application/x-ndjson"));
	CHECK(strstr(b.headers, "Idempotency-Replayed: true\r\n"));
	CHECK_STR(id_at(&b, 0), id_at(&a, 0));
	CHECK_STR(id_at(&b, 1), id_at(&a, 1));
	CHECK_STR(id_at(&b, 2), "");
	CHECK(strstr(b.body, "\"state\":\"done\""));
	CHECK_INT(stored(), 2);
	/* the same bytes, the same key, as one job; and another batch */
	CHECK_INT(stage_ask("POST", "/jobs", keyed, LINE("a")).status, 422);
	b = stage_ask("POST", "/jobs", "HTTP_IDEMPOTENCY_KEY=k", LINE("a"));
	CHECK_INT(b.status, 422);
	CHECK(strstr(b.body, "\"code\":\"idempotency_key_reused\""));
	CHECK_INT(stored(), 2);
	stage_down();
}

/* More lines than a page of the list has, and than are gathered for a write. */
static void a_repeated_batch_of_many_jobs_is_answered_whole(void)
{
	enum { many = LIMIT_LIST_MAX + 1 };
	static const char keyed[] = NDJSON "\nHTTP_IDEMPOTENCY_KEY=k";
	static char lines[many * sizeof(LINE("a") "\n")];
	static struct said a, b;

	for (int i = 0; i < many; i++)
		strcat(lines, LINE("a") "\n");
	stage_up(NULL);
	a = stage_ask("POST", "/jobs", keyed, lines);
	CHECK_INT(a.status, 202);
	b = stage_ask("POST", "/jobs", keyed, lines);
	CHECK_INT(b.status, 202);
	for (int i = 0; i < many; i += 10)
		CHECK_STR(id_at(&b, i), id_at(&a, i));
	CHECK_STR(id_at(&b, many), "");
	CHECK_INT(stored(), many);
	stage_down();
}

static void a_repeated_batch_that_cannot_be_read_is_an_error(void)
{
	static const char keyed[] = NDJSON "\nHTTP_IDEMPOTENCY_KEY=k";

	stage_up(NULL);
	CHECK_INT(stage_ask("POST", "/jobs", keyed, LINE("a")).status, 202);
	stage_reads("/nonexistent/foreman.db");
	CHECK_INT(stage_ask("POST", "/jobs", keyed, LINE("a")).status, 500);
	stage_reads(stage_hollow_db(SCHEMA_VERSION));
	CHECK_INT(stage_ask("POST", "/jobs", keyed, LINE("a")).status, 500);
	stage_down();
}

static void a_batch_that_cannot_be_written_stores_nothing(void)
{
	stage_up(NULL);
	stage_files_may_grow(false);
	CHECK_INT(stage_ask("POST", "/jobs", NDJSON, LINE("a") "\n" LINE("b")).status,
	          500);
	stage_files_may_grow(true);
	CHECK_INT(stored(), 0);
	stage_down();
}

static void who_leaves_has_its_batch_stored_all_the_same(void)
{
	stage_up(NULL);
	stage_call_and_leave("POST", "/jobs", NDJSON, LINE("a") "\n" LINE("b"));
	CHECK_INT(stored(), 2);
	stage_down();
}

/* Who has left is not rendered what nobody reads. */
static void who_leaves_has_its_large_batch_stored_too(void)
{
	enum { many = 1001 };
	static char lines[many * sizeof(LINE("a") "\n")];

	for (int i = 0; i < many; i++)
		strcat(lines, LINE("a") "\n");
	stage_up(NULL);
	stage_call_and_leave("POST", "/jobs", NDJSON, lines);
	CHECK_INT(stored(), many);
	stage_down();
}

static void a_batch_owes_its_webhooks(void)
{
	struct look_queue q;

	stage_up("FOREMAN_WEBHOOK_URL=http://d.example/", NULL);
	CHECK_INT(stage_ask("POST", "/jobs", NDJSON, LINE("a") "\n" LINE("b")).status,
	          202);
	STAGE_MUST(!look_queue(stage.worker_db, &q));
	CHECK_INT(q.webhooks_pending, 2);
	look_queue_done(&q);
	stage_down();
}

static void a_batch_is_never_waited_for(void)
{
	struct said a;

	stage_up(NULL);
	a = stage_ask("POST", "/jobs", NDJSON "\nHTTP_PREFER=wait=60", LINE("a"));
	CHECK_INT(a.status, 202);
	CHECK(!strstr(a.headers, "Preference-Applied"));
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(every_line_is_an_envelope),
		T(blank_lines_carriage_returns_and_a_missing_end_are_fine),
		T(a_bad_line_is_told_by_its_number),
		T(a_fault_of_its_own_stays_one),
		T(nothing_is_no_batch),
		T(a_batch_has_at_most_so_many_jobs),
		T(a_batch_is_answered_a_job_a_line_in_its_order),
		T(a_batch_with_a_bad_line_stores_nothing),
		T(a_batch_goes_in_whole_or_is_429),
		T(a_repeated_batch_is_answered_as_it_is_now),
		T(a_repeated_batch_of_many_jobs_is_answered_whole),
		T(a_repeated_batch_that_cannot_be_read_is_an_error),
		T(a_batch_that_cannot_be_written_stores_nothing),
		T(who_leaves_has_its_batch_stored_all_the_same),
		T(who_leaves_has_its_large_batch_stored_too),
		T(a_batch_owes_its_webhooks),
		T(a_batch_is_never_waited_for),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
