/*
 * test_memory.c - a request whose thread lacks memory, at whichever point, gets
 * an error and takes nothing along: the next is served as ever.
 *
 * Where there is none even for the head of the error the connection ends
 * without an answer, and the web server says 502. What the group's, the lot's
 * and the watch's threads allocate does not fail here. What is left behind is
 * for ASan to find.
 */
#include <config.h>

#include "responder/serve.h"

#include "responder/relay.h"
#include "stage.h"
#include "starve.h"
#include "store/look.h"

#define CHAT                                                                       \
	"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define JOB                                                                        \
	"{\"request\":{\"model\":\"m\",\"messages\":[{}]},\"metadata\":{\"a\":\"b\"}," \
	"\"webhook\":{\"url\":\"http://d.example/\"}}"
#define NDJSON "HTTP_CONTENT_TYPE=application/x-ndjson"

static char done[ULID_SIZE], queued[ULID_SIZE];

static void submit(char id[ULID_SIZE])
{
	struct said a = stage_ask("POST", "/jobs", NULL, JOB);
	const char *at = strstr(a.body, "\"id\":\"");

	STAGE_MUST(a.status == 202 && at);
	snprintf(id, ULID_SIZE, "%s", at + 6);
}

/* A finished job, one in line, and a target. */
static void set_up(void)
{
	stage_up("FOREMAN_MODEL_ADMIN=allow", "FOREMAN_OLLAMA_TOKEN=t0ken", NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
	                  "Content-Length: 3\r\n\r\n{}\n");
	submit(done);
	submit(queued);
	stage_run_job(1, "application/json", SPAN_LIT("{}"));
}

/* Have it served with the nth allocation failing; did one? */
static bool serve_starved(long nth, const char *method, const char *uri,
                          const char *headers, const char *body, int *status)
{
	int fd = stage_call(method, uri, headers, body);
	struct fcgx *req;
	bool fired;

	shutdown(fd, SHUT_WR);
	STAGE_MUST(!fcgx_accept(stage.listener, &req));
	starve_at(nth);
	serve_request(&stage.seat, req);
	fired = starve_end();
	*status = stage_listen(fd, NULL).status;
	close(fd);
	return fired;
}

static void check_request(int want, const char *method, const char *uri,
                          const char *headers, const char *body)
{
	int status = 0, errors = 0;
	long nth = 1;

	while (serve_starved(nth, method, uri, headers, body, &status)) {
		if (!CHECK(status == want || status == 500 || status == 0))
			printf("# %s %s: %d at %ld\n", method, uri, status, nth);
		errors += status == 500;
		nth++;
	}
	CHECK(errors > 0);
	CHECK_INT(status, want);
}

static void looking_fails_cleanly(void)
{
	static const char *const uris[] = {
		"/jobs?model=m%3Ab&limit=2",
		"/jobs/@",
		"/jobs/@/artifacts/response",
		"/queue",
		"/webhooks",
		"/metrics",
	};

	set_up();
	for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
		struct span rest = span_of(uris[i]), before;
		char uri[128];

		span_cut(&rest, '@', &before);
		snprintf(uri, sizeof(uri), "%.*s%s%.*s", (int)before.len, before.p,
		         rest.p ? done : "", (int)rest.len, rest.p ? rest.p : "");
		check_request(200, "GET", uri, NULL, NULL);
	}
	stage_down();
}

static void submitting_fails_cleanly(void)
{
	set_up();
	check_request(202, "POST", "/jobs", NULL, JOB);
	check_request(202, "POST", "/jobs", NDJSON, JOB "\n" JOB "\n");
	check_request(202, "POST", "/jobs", NDJSON "\nHTTP_IDEMPOTENCY_KEY=k", JOB);
	check_request(202, "POST", "/jobs", "HTTP_IDEMPOTENCY_KEY=l", JOB);
	stage_down();
}

static void cancelling_fails_cleanly(void)
{
	char uri[128];

	set_up();
	snprintf(uri, sizeof(uri), "/jobs/%s/cancel", done);
	check_request(200, "POST", uri, NULL, "");
	stage_down();
}

static void passing_on_fails_cleanly(void)
{
	set_up();
	check_request(200, "GET", "/api/version", NULL, NULL);
	check_request(200, "GET", "/api/tags", NULL, NULL);
	check_request(200, "POST", "/api/show", NULL, CHAT);
	check_request(200, "POST", "/api/chat", NULL, "{\"model\":\"m:cloud\"}");
	check_request(200, "POST", "/v1/embeddings", NULL, CHAT);
	stage_down();
}

/* Who is refused has no job; who is not waits, and leaves. */
static void waiting_fails_cleanly(void)
{
	long nth = 1;
	bool fired = true;

	set_up();
	while (fired) {
		int fd = stage_call("POST", "/api/chat", NULL, CHAT);
		struct fcgx *req;

		STAGE_MUST(!fcgx_accept(stage.listener, &req));
		starve_at(nth++);
		serve_request(&stage.seat, req);
		fired = starve_end();
		close(fd);
	}
	CHECK(nth > 3);
	stage_down();
}

/* --- what a responder is made of ------------------------------------------- */

static void what_is_shared_is_made_whole_or_not_at_all(void)
{
	const struct lot_conf conf = { .relay = "/nonexistent",
		                           .cancel = stage_cancel };
	struct watch *watch = NULL;
	struct health *health = NULL;
	struct lot *lot = NULL;
	int failed = 0;
	enum err e;

	stage_up(NULL);
	STARVE_EACH(e = health_new(&health)) CHECK_INT(e, ERR_NOMEM);
	STARVE_EACH(e = lot_new(&conf, &lot))
	{
		CHECK_INT(e, ERR_NOMEM);
		failed++;
	}
	CHECK_INT(e, ERR_OK);
	STARVE_EACH(e = watch_new(&stage.conf, &stage.service.db_conf, &watch))
	{
		CHECK_INT(e, ERR_NOMEM);
		failed++;
	}
	CHECK_INT(e, ERR_OK);
	CHECK(failed > 3);
	lot_close(lot);
	lot_free(lot);
	watch_close(watch);
	watch_free(watch);
	health_free(health);
	lot_free(NULL);
	watch_free(NULL);
	stage_down();
}

static void attaching_fails_cleanly(void)
{
	int fd = -1, failed = 0;
	enum err e;

	stage_up(NULL);
	STARVE_EACH(e = relay_attach(stage.relay_path, done, FRAME_OWNER, &fd))
	{
		CHECK_INT(e, ERR_NOMEM);
		CHECK_INT(fd, -1);
		failed++;
	}
	CHECK_INT(e, ERR_OK);
	CHECK(failed > 0);
	STARVE_EACH(e = relay_nudge(fd)) CHECK_INT(e, ERR_NOMEM);
	CHECK_INT(e, ERR_OK);
	close(fd);
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(looking_fails_cleanly),    T(submitting_fails_cleanly),
		T(cancelling_fails_cleanly), T(passing_on_fails_cleanly),
		T(waiting_fails_cleanly),    T(what_is_shared_is_made_whole_or_not_at_all),
		T(attaching_fails_cleanly),
	};

	starve_cjson();
	return t_run(cases, ARRAY_LEN(cases));
}
