/*
 * test_health.c - alive, and ready.
 */
#include <config.h>

#include "responder/health.h"

#include "stage.h"

static void worker_beats(int64_t age_ms, enum target_state target)
{
	stage_worker_says(&(struct status){ .heartbeat_ms = clock_wall_ms() - age_ms,
	                                    .worker_pid = 42,
	                                    .target = target });
}

static void who_answers_and_can_read_is_alive(void)
{
	struct said a;

	stage_up(NULL);
	a = stage_ask("GET", "/healthz", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK_STR(a.body, "{\"status\":\"ok\"}");
	CHECK_INT(stage_ask("HEAD", "/healthz", NULL, NULL).status, 200);
	stage_down();
}

static void without_a_database_it_is_not_alive(void)
{
	struct said a;

	stage_up(NULL);
	stage.service.db_conf.path = "/nonexistent/foreman.db";
	a = stage_ask("GET", "/healthz", NULL, NULL);
	CHECK_INT(a.status, 500);
	CHECK(strstr(a.body, "\"detail\":\"the database cannot be used\"") != NULL);
	CHECK(!strstr(a.body, "nonexistent")); /* paths are for the log */
	stage_down();
}

static void no_worker_ever_is_not_ready(void)
{
	struct said a;

	stage_up(NULL);
	a = stage_ask("GET", "/readyz", NULL, NULL);
	CHECK_INT(a.status, 503);
	CHECK(strstr(a.body, "\"code\":\"not_ready\"") != NULL);
	CHECK(strstr(a.body, "no worker") != NULL);
	stage_down();
}

static void a_fresh_heartbeat_is_ready(void)
{
	struct said a;

	stage_up(NULL);
	worker_beats(0, TARGET_UP);
	a = stage_ask("GET", "/readyz", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK(strstr(a.body, "{\"status\":\"ready\",\"target\":\"up\",") == a.body);
	CHECK(strstr(a.body, "\"pid\":42") != NULL);
	stage_down();
}

static void a_sleeping_target_is_ready_and_named(void)
{
	struct said a;

	stage_up(NULL);
	worker_beats(0, TARGET_DOWN);
	a = stage_ask("GET", "/readyz", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK(strstr(a.body, "\"target\":\"unreachable\"") != NULL);
	stage_down();
}

static void a_stale_heartbeat_is_not_ready(void)
{
	struct said a;

	stage_up(NULL);
	worker_beats(LIMIT_HEARTBEAT_STALE_MS + 1000, TARGET_UP);
	a = stage_ask("GET", "/readyz", NULL, NULL);
	CHECK_INT(a.status, 503);
	CHECK(strstr(a.body, "last heartbeat was 16 s ago") != NULL);
	stage_down();
}

static void a_database_that_cannot_be_written_is_not_ready(void)
{
	struct said a;

	stage_up(NULL);
	worker_beats(0, TARGET_UP);
	stage.service.db_conf.path = "/nonexistent/foreman.db";
	a = stage_ask("GET", "/readyz", NULL, NULL);
	CHECK_INT(a.status, 503);
	CHECK(strstr(a.body, "the database cannot be written") != NULL);
	stage_down();
}

/* Writing is tried only so often, however many ask. */
static void what_was_found_a_moment_ago_is_believed(void)
{
	stage_up(NULL);
	worker_beats(0, TARGET_UP);
	CHECK_INT(stage_ask("GET", "/readyz", NULL, NULL).status, 200);
	stage.service.db_conf.path = "/nonexistent/foreman.db"; /* for who opens it */
	CHECK_INT(stage_ask("GET", "/readyz", NULL, NULL).status, 200);
	stage_down();
}

static void who_cannot_read_is_not_ready(void)
{
	stage_up(NULL);
	worker_beats(0, TARGET_UP);
	CHECK_INT(stage_ask("GET", "/readyz", NULL, NULL).status, 200);
	stage_reads("/nonexistent/foreman.db");
	CHECK_INT(stage_ask("GET", "/readyz", NULL, NULL).status, 500);
	stage_reads(stage_hollow_db(SCHEMA_VERSION));
	CHECK_INT(stage_ask("GET", "/readyz", NULL, NULL).status, 500);
	CHECK_INT(stage_ask("GET", "/healthz", NULL, NULL).status, 500);
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(who_answers_and_can_read_is_alive),
		T(without_a_database_it_is_not_alive),
		T(no_worker_ever_is_not_ready),
		T(a_fresh_heartbeat_is_ready),
		T(a_sleeping_target_is_ready_and_named),
		T(a_stale_heartbeat_is_not_ready),
		T(a_database_that_cannot_be_written_is_not_ready),
		T(what_was_found_a_moment_ago_is_believed),
		T(who_cannot_read_is_not_ready),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
