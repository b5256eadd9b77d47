/*
 * test_webhooks.c - webhooks: listed, shown with their log, sent again.
 */
#include <config.h>

#include "responder/webhooks.h"

#include "base/json.h"
#include "core/limits.h"
#include "stage.h"
#include "store/ledger.h"
#include "store/outbox.h"

#define JOB                                                                        \
	"{\"request\":{\"model\":\"m\"},\"webhook\":{\"url\":\"http://d.example/\","   \
	"\"secret\":\"whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0IQ==\"}}"
#define SECRET "c2VjcmV0"
#define UNKNOWN "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV"

static const struct outbox_attempt good = { .now_ms = INT64_C(1795197600000),
	                                        .status = 204,
	                                        .latency_ms = 3 };
static const struct outbox_attempt bad = { .now_ms = INT64_C(1795197600000),
	                                       .status = 500,
	                                       .latency_ms = 5,
	                                       .error = "status 500",
	                                       .reply = "\"no\"" };

/* A member of a JSON text as text: "id", "webhooks.0.url"; "" if not there. */
static const char *member(const char *json, const char *path)
{
	static char value[4][600];
	static unsigned turn;
	char *out = value[turn++ % 4];
	struct span rest = span_of(path), name;
	cJSON *tree = NULL;
	const cJSON *at;
	char *text;

	out[0] = '\0';
	if (json_parse(span_of(json), &tree, NULL))
		return "not JSON";
	at = tree;
	while (span_cut(&rest, '.', &name)) {
		char *key = span_dup(name);
		uint64_t n;

		at = str_u64(name, &n) ? cJSON_GetObjectItemCaseSensitive(at, key)
		                       : cJSON_GetArrayItem(at, (int)n);
		free(key);
	}
	text = at ? json_text(at) : NULL;
	snprintf(out, sizeof(value[0]), "%s", text ? text : "");
	free(text);
	cJSON_Delete(tree);
	return out;
}

/* A job that owes its first webhook; that one's id. */
static const char *owe(void)
{
	static char id[LEDGER_ID_SIZE];
	struct said a = stage_ask("POST", "/jobs", NULL, JOB);

	STAGE_MUST(a.status == 202);
	a = stage_ask("GET", "/webhooks?limit=1", NULL, NULL);
	STAGE_MUST(a.status == 200);
	snprintf(id, sizeof(id), "%.30s", member(a.body, "webhooks.0.id") + 1);
	return id;
}

static struct said ask(const char *method, const char *id, const char *tail)
{
	char uri[128];

	snprintf(uri, sizeof(uri), "/webhooks/%s%s", id, tail);
	return stage_ask(method, uri, NULL, NULL);
}

/* How many a list holds. */
static int listed(const char *query)
{
	char uri[128], path[32];
	struct said a;
	int n = 0;

	snprintf(uri, sizeof(uri), "/webhooks%s", query);
	a = stage_ask("GET", uri, NULL, NULL);
	CHECK_INT(a.status, 200);
	do
		snprintf(path, sizeof(path), "webhooks.%d.id", n++);
	while (member(a.body, path)[0]);
	return n - 1;
}

static void an_owed_webhook_is_listed_without_its_secret(void)
{
	const char *id;
	struct said a;
	char want[128];

	stage_up("FOREMAN_PUBLIC_URL=http://f.example/", NULL);
	id = owe();
	a = stage_ask("GET", "/webhooks", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK_STR(member(a.body, "next"), "null");
	CHECK_STR(member(a.body, "webhooks.0.type"), "\"job.queued\"");
	CHECK_STR(member(a.body, "webhooks.0.url"), "\"http://d.example/\"");
	CHECK_STR(member(a.body, "webhooks.0.state"), "\"pending\"");
	CHECK_STR(member(a.body, "webhooks.0.attempts"), "0");
	CHECK_STR(member(a.body, "webhooks.0.settled_at"), "null");
	CHECK_STR(member(a.body, "webhooks.0.last_status"), "null");
	CHECK_STR(member(a.body, "webhooks.0.last_latency_ms"), "null");
	CHECK_STR(member(a.body, "webhooks.0.last_error"), "null");
	CHECK_STR(member(a.body, "webhooks.0.due_at"),
	          member(a.body, "webhooks.0.created_at"));
	snprintf(want, sizeof(want), "\"http://f.example/webhooks/%s/redeliver\"", id);
	CHECK_STR(member(a.body, "webhooks.0.urls.redeliver"), want);
	snprintf(want, sizeof(want), "\"http://f.example/jobs/%.26s\"",
	         member(a.body, "webhooks.0.job_id") + 1);
	CHECK_STR(member(a.body, "webhooks.0.urls.job"), want);
	CHECK(strstr(a.body, SECRET) == NULL);
	stage_down();
}

static void one_is_shown_with_its_log_and_its_body(void)
{
	struct said a;
	char id[LEDGER_ID_SIZE];

	stage_up(NULL);
	str_copy(id, sizeof(id), owe());
	CHECK_INT(outbox_retry(stage.worker_db, 1, &bad, 1), ERR_OK);
	CHECK_INT(outbox_delivered(stage.worker_db, 1, &good), ERR_OK);
	a = ask("GET", id, "");
	CHECK_INT(a.status, 200);
	CHECK_STR(member(a.body, "state"), "\"delivered\"");
	CHECK_STR(member(a.body, "due_at"), "null");
	CHECK_STR(member(a.body, "settled_at"), "\"2026-11-20T18:00:00.000Z\"");
	CHECK_STR(
	    member(a.body, "log.0"),
	    "{\"at\":\"2026-11-20T18:00:00.000Z\",\"status\":500,\"latency_ms\":5,"
	    "\"error\":\"status 500\",\"reply\":\"\\\"no\\\"\"}");
	CHECK_STR(
	    member(a.body, "log.1"),
	    "{\"at\":\"2026-11-20T18:00:00.000Z\",\"status\":204,\"latency_ms\":3,"
	    "\"error\":null,\"reply\":null}");
	CHECK_STR(member(a.body, "body.type"), "\"job.queued\"");
	CHECK_STR(member(a.body, "body.data.job.state"), "\"queued\"");
	CHECK(strstr(a.body, SECRET) == NULL);
	CHECK_STR(member(a.body, "id") + 31, "\"");
	stage_down();
}

static void the_list_is_filtered_and_paged(void)
{
	struct said a;
	char uri[128];

	stage_up(NULL);
	for (int i = 0; i < 4; i++)
		owe();
	CHECK_INT(outbox_dead(stage.worker_db, 1, &bad), ERR_OK);
	CHECK_INT(outbox_delivered(stage.worker_db, 2, &good), ERR_OK);
	CHECK_INT(listed(""), 3);
	CHECK_INT(listed("?state=pending"), 2);
	CHECK_INT(listed("?state=dead"), 1);
	CHECK_INT(listed("?state=delivered"), 1);
	snprintf(uri, sizeof(uri), "?limit=%d", LIMIT_LIST_MAX);
	CHECK_INT(listed(uri), 3);
	snprintf(uri, sizeof(uri), "/webhooks?limit=%d", LIMIT_LIST_MAX + 1);
	CHECK_INT(stage_ask("GET", uri, NULL, NULL).status, 400);
	a = stage_ask("GET", "/webhooks?limit=2", NULL, NULL);
	snprintf(uri, sizeof(uri), "?limit=2&before=%.30s", member(a.body, "next") + 1);
	CHECK_INT(listed(uri), 1);
	snprintf(uri, sizeof(uri), "?job=%.26s",
	         member(a.body, "webhooks.0.job_id") + 1);
	CHECK_INT(listed(uri), 1);
	stage_down();
}

static void a_page_of_webhooks_has_a_usual_length(void)
{
	stage_up(NULL);
	for (int i = 0; i < LIMIT_LIST_DEFAULT; i++)
		owe();
	CHECK_INT(listed(""), LIMIT_LIST_DEFAULT);
	owe();
	CHECK_INT(listed(""), LIMIT_LIST_DEFAULT);
	CHECK_INT(listed("?limit=100"), LIMIT_LIST_DEFAULT + 1);
	stage_down();
}

static void a_query_not_understood_is_refused(void)
{
	static const struct {
		const char *method, *path, *names; /* what the text must name */
	} rows[] = {
		{ "GET", "/webhooks?state=gone", "state" },
		{ "GET", "/webhooks?state=dead&state=dead", "twice" },
		{ "GET", "/webhooks?limit=0", "limit" },
		{ "GET", "/webhooks?job=x", "job" },
		{ "GET", "/webhooks?before=01ARZ3NDEKTSV4RRFFQ69G5FAV", "before" },
		{ "GET", "/webhooks?colour=blue", "no such" },
		{ "GET", "/webhooks?state=%zz", "encoded" },
		{ "GET", "/webhooks/" UNKNOWN "?x=1", "no query" },
		{ "POST", "/webhooks/" UNKNOWN "/redeliver?x=1", "no query" },
		{ "POST", "/webhooks/redeliver", "since" },
		{ "POST", "/webhooks/redeliver?since=yesterday", "since" },
		{ "POST", "/webhooks/redeliver?since=2026-11-20T18:00:00Z&state=pending",
		  "state" },
		{ "POST", "/webhooks/redeliver?since=2026-11-20T18:00:00Z&until=1",
		  "until" },
	};

	stage_up(NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct said a = stage_ask(rows[i].method, rows[i].path, NULL, NULL);

		if (!CHECK(a.status == 400) ||
		    !CHECK(strcmp(member(a.body, "code"), "\"invalid_request\"") == 0) ||
		    !CHECK(strstr(member(a.body, "detail"), rows[i].names)))
			printf("#   %s: %d %s\n", rows[i].path, a.status, a.body);
	}
	stage_down();
}

static void ids_are_judged_before_they_are_looked_for(void)
{
	static const struct {
		const char *method, *id, *tail;
		int status;
		const char *code;
	} rows[] = {
		{ "GET", "x", "", 400, "\"invalid_webhook_id\"" },
		{ "GET", "redeliver", "", 400, "\"invalid_webhook_id\"" },
		{ "POST", "evt_x", "/redeliver", 400, "\"invalid_webhook_id\"" },
		{ "GET", UNKNOWN, "", 404, "\"not_found\"" },
		{ "POST", UNKNOWN, "/redeliver", 404, "\"not_found\"" },
		{ "DELETE", UNKNOWN, "", 405, "\"method_not_allowed\"" },
		{ "GET", UNKNOWN, "/redeliver", 405, "\"method_not_allowed\"" },
	};
	struct said a;

	stage_up(NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		a = ask(rows[i].method, rows[i].id, rows[i].tail);
		CHECK_INT(a.status, rows[i].status);
		CHECK_STR(member(a.body, "code"), rows[i].code);
		CHECK(strstr(a.headers, "application/problem+json") != NULL);
	}
	a = stage_ask("GET", "/webhooks?before=" UNKNOWN, NULL, NULL);
	CHECK_INT(a.status, 404);
	stage_down();
}

static void a_dead_one_is_sent_again_and_the_worker_is_told(void)
{
	struct said a;
	struct buf heard;
	char id[LEDGER_ID_SIZE];
	int relay;

	stage_up(NULL);
	buf_init(&heard, 4096);
	str_copy(id, sizeof(id), owe());
	relay = stage_accept_relay();
	REQUIRE(relay >= 0);
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_HELLO);
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_NUDGE); /* of the job */
	CHECK_INT(outbox_dead(stage.worker_db, 1, &bad), ERR_OK);
	a = ask("POST", id, "/redeliver");
	CHECK_INT(a.status, 202);
	CHECK_STR(member(a.body, "state"), "\"pending\"");
	CHECK_STR(member(a.body, "attempts"), "0");
	CHECK_STR(member(a.body, "settled_at"), "null");
	CHECK_STR(member(a.body, "log.0.status"), "500");
	CHECK(strcmp(member(a.body, "due_at"), "null") != 0);
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_NUDGE);
	/* once more makes no difference */
	CHECK_INT(ask("POST", id, "/redeliver").status, 202);
	CHECK_INT(listed(""), 1);
	close(relay);
	buf_done(&heard);
	stage_down();
}

static void all_dead_since_a_time_are_sent_again(void)
{
	struct said a;

	stage_up(NULL);
	for (int i = 0; i < 3; i++)
		owe();
	CHECK_INT(outbox_dead(stage.worker_db, 1, &bad), ERR_OK);
	CHECK_INT(outbox_dead(stage.worker_db, 2, &bad), ERR_OK);
	CHECK_INT(outbox_delivered(stage.worker_db, 3, &good), ERR_OK);
	a = stage_ask("POST", "/webhooks/redeliver?since=2026-11-20T18:00:00.001Z",
	              NULL, NULL);
	CHECK_INT(a.status, 202);
	CHECK_STR(member(a.body, "redelivered"), "0");
	a = stage_ask("POST",
	              "/webhooks/redeliver?since=2026-11-20T17:00:00Z"
	              "&until=2026-11-20T18:00:00Z",
	              NULL, NULL);
	CHECK_STR(member(a.body, "redelivered"), "0");
	CHECK_STR(member(a.body, "until"), "\"2026-11-20T18:00:00.000Z\"");
	a = stage_ask("POST",
	              "/webhooks/redeliver?since=2026-11-20T20:00:00%2B02:00"
	              "&until=2026-11-20T18:00:01Z",
	              NULL, NULL);
	CHECK_STR(member(a.body, "redelivered"), "2");
	CHECK_STR(member(a.body, "more"), "false");
	CHECK_INT(listed("?state=pending"), 2);
	a = stage_ask("POST",
	              "/webhooks/redeliver?since=2026-11-20T18:00:00Z&state=delivered"
	              "&until=2026-11-20T18:00:01Z",
	              NULL, NULL);
	CHECK_STR(member(a.body, "redelivered"), "1");
	CHECK_INT(listed("?state=pending"), 3);
	stage_down();
}

static void so_many_at_a_time_and_whether_there_are_more(void)
{
	static const char again[] = "/webhooks/redeliver?since=1970-01-01T00:00:00Z";
	struct errtext why = { "" };
	struct said a;

	stage_up(NULL);
	owe();
	CHECK_INT(outbox_dead(stage.worker_db, 1, &bad), ERR_OK);
	REQUIRE(db_begin(stage.worker_db, DB_SYNC_NORMAL, &why) == ERR_OK);
	for (int i = 0; i < LIMIT_REDELIVER; i++) {
		struct job job;
		struct submission sub = { .job = &job, .body = SPAN_LIT("{}") };
		struct submission *subs[] = { &sub };
		struct queue_limits limits = { 9999, 9999 };
		char event[] = "{}";

		job_init(&job);
		ulid_new(job.id);
		job.endpoint = strdup("/api/chat");
		job.model = strdup("m");
		job.load_key = strdup("m");
		job.created_ms = job.queued_ms = 1;
		job.event_seq = 1;
		job.webhook_url = strdup("http://d.example/");
		job.webhook_events = JOB_EVENTS_ALL;
		sub.event_json = event;
		CHECK_INT(queue_submit(stage.worker_db, subs, 1, &limits, &why), ERR_OK);
		job_done(&job);
	}
	REQUIRE(db_commit(stage.worker_db, &why) == ERR_OK);
	for (int i = 0; i < LIMIT_REDELIVER; i++)
		CHECK_INT(outbox_dead(stage.worker_db, i + 2, &bad), ERR_OK);
	a = stage_ask("POST", again, NULL, NULL);
	snprintf(a.headers, sizeof(a.headers), "%d", LIMIT_REDELIVER);
	CHECK_STR(member(a.body, "redelivered"), a.headers);
	CHECK_STR(member(a.body, "more"), "true");
	a = stage_ask("POST", again, NULL, NULL);
	CHECK_STR(member(a.body, "redelivered"), "1");
	CHECK_STR(member(a.body, "more"), "false");
	stage_down();
}

static void what_cannot_be_written_is_not_sent_again(void)
{
	const char *id;

	stage_up(NULL);
	id = owe();
	CHECK_INT(outbox_dead(stage.worker_db, 1, &bad), ERR_OK);
	stage_files_may_grow(false);
	CHECK_INT(ask("POST", id, "/redeliver").status, 500);
	CHECK_INT(stage_ask("POST", "/webhooks/redeliver?since=2020-01-01T00:00:00Z",
	                    NULL, NULL)
	              .status,
	          500);
	stage_files_may_grow(true);
	CHECK_INT(listed("?state=dead"), 1);
	CHECK_INT(ask("POST", id, "/redeliver").status, 202);
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_owed_webhook_is_listed_without_its_secret),
		T(one_is_shown_with_its_log_and_its_body),
		T(the_list_is_filtered_and_paged),
		T(a_page_of_webhooks_has_a_usual_length),
		T(a_query_not_understood_is_refused),
		T(ids_are_judged_before_they_are_looked_for),
		T(a_dead_one_is_sent_again_and_the_worker_is_told),
		T(all_dead_since_a_time_are_sent_again),
		T(so_many_at_a_time_and_whether_there_are_more),
		T(what_cannot_be_written_is_not_sent_again),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
