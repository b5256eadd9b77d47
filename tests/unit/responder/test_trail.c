/*
 * test_trail.c - request ids and trace context: what is believed of a client,
 * where it goes, and that a request is known by it in the log.
 */
#include <config.h>

#include "responder/trail.h"

#include "stage.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00-" TRACE "-00f067aa0ba902b7-01"

static void an_id_is_of_harmless_characters_and_bounded(void)
{
	static const char *const good[] = { "a", "7f3c-11", "Root=1-67891233-abc",
		                                "a.b:c+d/e@f_g" };
	static const char *const bad[] = {
		"",     "a b",        "a\"b",  "a\nb", "a,b",
		"a\\b", "gr\xc3\xbc", "a%20b", "{a}",  "a;b"
	};
	char edge[TRAIL_ID_SIZE + 1];

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		CHECK(trail_id_ok(span_of(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!CHECK(!trail_id_ok(span_of(bad[i]))))
			printf("#   accepted: %s\n", bad[i]);
	CHECK(!trail_id_ok((struct span){ "a\0b", 3 }));
	CHECK(!trail_id_ok((struct span){ 0 }));
	memset(edge, 'x', sizeof(edge));
	CHECK(trail_id_ok((struct span){ edge, TRAIL_ID_SIZE - 1 }));
	CHECK(!trail_id_ok((struct span){ edge, TRAIL_ID_SIZE }));
}

static void a_traceparent_is_of_the_form_w3c_gives_it(void)
{
	static const char *const bad[] = {
		"",
		"00",
		"00-" TRACE "-00f067aa0ba902b7",
		"00-" TRACE "-00f067aa0ba902b7-0",
		"00-" TRACE "-00f067aa0ba902b7-0G",
		"00-" TRACE "-00f067aa0ba902b7-01-more", /* of version 00 nothing follows */
		"00-" TRACE "-00f067aa0ba902b7-01x",
		"ff-" TRACE "-00f067aa0ba902b7-01",
		"0g-" TRACE "-00f067aa0ba902b7-01",
		"00_" TRACE "-00f067aa0ba902b7-01",
		"00-" TRACE "_00f067aa0ba902b7-01",
		"00-" TRACE "-00f067aa0ba902b7_01",
		"00-" TRACE "-00f067aa0ba902bg-01",
		"00-" TRACE "-00f067aa0ba902b/-01",
		"/0-" TRACE "-00f067aa0ba902b7-01",
		"cc-" TRACE "-00f067aa0ba902b7-01-\x7f",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-" TRACE "-0000000000000000-01",
		"cc-" TRACE "-00f067aa0ba902b7-01.more",
		"cc-" TRACE "-00f067aa0ba902b7-01-mo re",
	};

	CHECK(trail_traceparent_ok(span_of(PARENT)));
	CHECK(trail_traceparent_ok(span_of("cc-" TRACE "-00f067aa0ba902b7-01")));
	CHECK(trail_traceparent_ok(span_of("cc-" TRACE "-00f067aa0ba902b7-01-more")));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!CHECK(!trail_traceparent_ok(span_of(bad[i]))))
			printf("#   accepted: %s\n", bad[i]);
}

static void what_a_client_gives_is_kept_and_told_apart(void)
{
	struct trail t;

	trail_begin(&t, span_of("my-request"), span_of(PARENT));
	CHECK(t.given);
	CHECK_STR(t.id, "my-request");
	CHECK_STR(t.trace, TRACE);
	CHECK_INT(t.route, -1);
	trail_begin(&t, span_of("my request"), span_of("nonsense"));
	CHECK(!t.given);
	CHECK_STR(t.trace, "");
	CHECK(trail_id_ok(span_of(t.id)));
}

static void ids_of_our_own_are_all_different(void)
{
	enum { COUNT = 2000 };
	static struct trail t[COUNT];
	int same = 0;

	for (int i = 0; i < COUNT; i++) {
		trail_begin(&t[i], (struct span){ 0 }, (struct span){ 0 });
		for (int k = 0; k < i; k++)
			same += strcmp(t[i].id, t[k].id) == 0;
	}
	CHECK_INT(same, 0);
	CHECK_INT(strlen(t[0].id), 16);
}

/* The lines kept with the latest job, or "NULL". */
static void kept_lines(char *out, size_t size)
{
	struct job job;
	struct queue_input in = { 0 };
	int64_t seq = 1;

	out[0] = '\0';
	STAGE_MUST(
	    !queue_claim(stage.worker_db, seq, clock_wall_ms(), &job, &in, NULL));
	str_copy(out, size, in.headers ? in.headers : "NULL");
	free(in.body);
	free(in.headers);
	job_done(&job);
}

static const char envelope[] = "{\"request\":{\"model\":\"a\",\"messages\":[]}}";

static void a_jobs_target_is_told_what_its_client_sent(void)
{
	char lines[2048];

	stage_up(NULL);
	CHECK_INT(stage_ask("POST", "/jobs",
	                    "HTTP_X_REQUEST_ID=my-request\nHTTP_TRACEPARENT=" PARENT
	                    "\nHTTP_TRACESTATE=vendor=1,other=2\nHTTP_COOKIE=no",
	                    envelope)
	              .status,
	          202);
	kept_lines(lines, sizeof(lines));
	CHECK_STR(lines, "X-Request-Id: my-request\ntraceparent: " PARENT
	                 "\ntracestate: vendor=1,other=2\n");
	stage_down();
}

static void a_batchs_jobs_carry_it_each(void)
{
	char lines[2048], text[256];

	stage_up(NULL);
	snprintf(text, sizeof(text), "%s\n%s\n", envelope, envelope);
	CHECK_INT(stage_ask("POST", "/jobs",
	                    "CONTENT_TYPE=application/x-ndjson\n"
	                    "HTTP_CONTENT_TYPE=application/x-ndjson\n"
	                    "HTTP_TRACEPARENT=" PARENT,
	                    text)
	              .status,
	          202);
	kept_lines(lines, sizeof(lines));
	CHECK_STR(lines, "traceparent: " PARENT "\n");
	stage_down();
}

static void an_id_of_ours_goes_nowhere(void)
{
	char lines[2048];

	stage_up(NULL);
	CHECK_INT(stage_ask("POST", "/jobs",
	                    "HTTP_X_REQUEST_ID=two words\nHTTP_TRACEPARENT=00-nonsense"
	                    "\nHTTP_TRACESTATE=vendor=1",
	                    envelope)
	              .status,
	          202);
	kept_lines(lines, sizeof(lines));
	CHECK_STR(lines, "NULL");
	stage_down();
}

static void who_is_passed_on_takes_it_along(void)
{
	stage_up(NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
	CHECK_INT(stage_ask("GET", "/api/version",
	                    "HTTP_X_REQUEST_ID=my-request\nHTTP_TRACEPARENT=" PARENT,
	                    NULL)
	              .status,
	          200);
	CHECK(strstr(stage_target_heard(), "\r\nX-Request-Id: my-request\r\n") != NULL);
	CHECK(strstr(stage_target_heard(), "\r\ntraceparent: " PARENT "\r\n") != NULL);
	stage_down();
}

static void a_tracestate_that_is_too_long_stays_behind(void)
{
	char headers[1024], state[LIMIT_TRACESTATE + 2], lines[2048];

	for (size_t over = 0; over < 2; over++) {
		stage_up(NULL);
		memset(state, 's', sizeof(state));
		state[LIMIT_TRACESTATE + over] = '\0';
		snprintf(headers, sizeof(headers),
		         "HTTP_TRACEPARENT=" PARENT "\nHTTP_TRACESTATE=%s", state);
		CHECK_INT(stage_ask("POST", "/jobs", headers, envelope).status, 202);
		kept_lines(lines, sizeof(lines));
		CHECK((strstr(lines, "tracestate: ") == NULL) == (over == 1));
		stage_down();
	}
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_id_is_of_harmless_characters_and_bounded),
		T(a_traceparent_is_of_the_form_w3c_gives_it),
		T(what_a_client_gives_is_kept_and_told_apart),
		T(ids_of_our_own_are_all_different),
		T(a_jobs_target_is_told_what_its_client_sent),
		T(a_batchs_jobs_carry_it_each),
		T(an_id_of_ours_goes_nowhere),
		T(who_is_passed_on_takes_it_along),
		T(a_tracestate_that_is_too_long_stays_behind),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
