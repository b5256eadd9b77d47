/*
 * test_call.c - what a request borrows from its seat, and what it leaves there.
 */
#include <config.h>

#include "responder/call.h"

#include <stdlib.h>

#include "stage.h"

static void a_large_body_leaves_no_memory_behind(void)
{
	struct seat seat = { 0 };

	buf_init(&seat.body, 1 << 20);
	CHECK(buf_reserve(&seat.body, 64) != NULL);
	buf_commit(&seat.body, 64);
	seat_tidy(&seat);
	CHECK_INT(seat.body.len, 0);
	CHECK(seat.body.cap > 0);
	CHECK(buf_reserve(&seat.body, 1 << 20) != NULL);
	buf_commit(&seat.body, 1 << 20);
	seat_tidy(&seat);
	CHECK_INT(seat.body.cap, 0);
	CHECK_INT(seat.body.max, 1 << 20);
	seat_done(&seat);
}

/* --- headers ----------------------------------------------------------------- */

static void a_header_that_is_no_line_stays_here(void)
{
	const char *heard;

	stage_up(NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	stage_ask("GET", "/api/version",
	          "HTTP_ACCEPT=a\rX-Evil: 1\nHTTP_USER_AGENT=a\x7f\n"
	          "HTTP_ANTHROPIC_BETA=tab\tis fine\nHTTP_OPENAI_BETA=\x01\n"
	          "HTTP_HOST=h\nHTTP_ORIGIN=other:/h\n"
	          "HTTP_TRACEPARENT=00-4bf92f3577b34da6a3ce929d0e0e4736-"
	          "00f067aa0ba902b7-01\nHTTP_TRACESTATE=a=1\x02",
	          NULL);
	heard = stage_target_heard();
	CHECK(!strstr(heard, "Evil"));
	CHECK(!strstr(heard, "\x7f") && !strstr(heard, "\x01"));
	CHECK(!strstr(heard, "tracestate"));
	CHECK(strstr(heard, "traceparent: 00-4bf92f3577b34da6") != NULL);
	CHECK(strstr(heard, "Anthropic-Beta: tab\tis fine\r\n") != NULL);
	/* as long as our own address with its scheme, but another */
	CHECK(strstr(heard, "Origin: other:/h\r\n") != NULL);
	stage_down();
}

static void who_leaves_before_a_long_answer_harms_nobody(void)
{
	stage_up(NULL);
	for (int i = 0; i < 3; i++)
		stage_call_and_leave("GET", "/metrics", NULL, NULL);
	CHECK_INT(stage_ask("GET", "/healthz", NULL, NULL).status, 200);
	CHECK_INT(stage_ask("GET", "/metrics", NULL, NULL).status, 200);
	stage_down();
}

/* --- a database that is not there -------------------------------------------- */

#define JOB "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define EVT "evt_" JOB

/* What has to look something up before it can answer. */
static const struct {
	const char *method, *uri;
} lookups[] = {
	{ "GET", "/jobs" },
	{ "GET", "/jobs/" JOB },
	{ "POST", "/jobs/" JOB "/cancel" },
	{ "DELETE", "/jobs/" JOB },
	{ "GET", "/jobs/" JOB "/stream" },
	{ "GET", "/jobs/" JOB "/artifacts/response" },
	{ "HEAD", "/jobs/" JOB "/artifacts/content" },
	{ "GET", "/queue" },
	{ "GET", "/webhooks" },
	{ "GET", "/webhooks/" EVT },
	{ "GET", "/healthz" },
	{ "GET", "/metrics" },
};

static void check_all_say(int status, const char *detail)
{
	for (size_t i = 0; i < ARRAY_LEN(lookups); i++) {
		struct said a = stage_ask(lookups[i].method, lookups[i].uri, NULL, NULL);
		bool ok = a.status == status;

		if (strcmp(lookups[i].method, "HEAD") != 0)
			ok = ok && strstr(a.body, detail) != NULL;
		if (!CHECK(ok))
			printf("# %s %s: %d %s\n", lookups[i].method, lookups[i].uri,
			       a.status, a.body);
	}
}

static void without_a_database_every_path_that_needs_it_says_so(void)
{
	stage_up(NULL);
	stage_reads("/nonexistent/foreman.db");
	check_all_say(500, "\"detail\":\"the database cannot be used\"");
	CHECK_INT(stage_ask("POST", "/webhooks/" EVT "/redeliver", NULL, NULL).status,
	          500);
	stage_down();
}

static void a_database_without_its_tables_is_as_none(void)
{
	stage_up(NULL);
	stage_reads(stage_hollow_db(SCHEMA_VERSION));
	check_all_say(500, "\"detail\":\"the database cannot be used\"");
	stage_down();
}

static void a_database_of_a_newer_foreman_is_not_read(void)
{
	stage_up(NULL);
	stage_reads(stage_hollow_db(SCHEMA_VERSION + 1));
	check_all_say(500, "\"detail\":\"the database cannot be used\"");
	stage_down();
}

static void a_database_that_comes_back_is_used_again(void)
{
	stage_up(NULL);
	stage_reads("/nonexistent/foreman.db");
	CHECK_INT(stage_ask("GET", "/queue", NULL, NULL).status, 500);
	stage.service.db_conf.path = stage.db_path;
	CHECK_INT(stage_ask("GET", "/queue", NULL, NULL).status, 200);
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_large_body_leaves_no_memory_behind),
		T(a_header_that_is_no_line_stays_here),
		T(who_leaves_before_a_long_answer_harms_nobody),
		T(without_a_database_every_path_that_needs_it_says_so),
		T(a_database_without_its_tables_is_as_none),
		T(a_database_of_a_newer_foreman_is_not_read),
		T(a_database_that_comes_back_is_used_again),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
