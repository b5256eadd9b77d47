/*
 * test_pass.c - what reaches the target and what comes back, and what is said
 * when it is not there.
 */
#include <config.h>

#include "responder/pass.h"

#include "responder/route.h"
#include "responder/tally.h"
#include "stage.h"

#define TAGS "{\"models\":[{\"name\":\"m:latest\"}]}"

static void heartbeat(enum target_state target, int64_t age_ms)
{
	stage_worker_says(&(struct status){ .heartbeat_ms = clock_wall_ms() - age_ms,
	                                    .target = target });
}

static void a_name_goes_to_the_target_only_if_it_is_harmless(void)
{
	static const char *const good[] = { "m", "library/llama3:latest", "_m",
		                                "hf.co/u/Repo-GGUF:Q4_K_M",
		                                "localhost:5000/ns/m:t", "bad",
		                                "sha256:0123abc", "m-", "m.." };
	static const char *const bad[] = { "", ".", "..", "../x", "a/..", "a/../b",
		                               "a/./b", "/a", "a/", "a//b", "-a", ":a",
		                               "a b", "a%2fb", "a\n", "a?b", "a#b",
		                               "a\\b", "a@b", "m\xc3\xa9" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!CHECK(pass_name_ok(span_of(good[i]))))
			printf("# %s\n", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!CHECK(!pass_name_ok(span_of(bad[i]))))
			printf("# %s\n", bad[i]);
	CHECK(!pass_name_ok(SPAN_LIT("a\0b")));
	CHECK(!pass_name_ok((struct span){ 0 }));
}

static void status_headers_and_bytes_are_the_targets(void)
{
	struct said a;

	stage_up(NULL);
	stage_target_says("HTTP/1.1 418 Short\r\nContent-Type: text/x\r\nX-A: 1\r\n"
	                  "Connection: close\r\nKeep-Alive: timeout=5\r\n"
	                  "Status: 200\r\nContent-Length: 3\r\n\r\na\nb");
	a = stage_ask("GET", "/api/version?x=1", NULL, NULL);
	CHECK_INT(a.status, 418);
	CHECK_STR(a.body, "a\nb");
	CHECK(strstr(a.headers, "Content-Type: text/x\r\n") != NULL);
	CHECK(strstr(a.headers, "X-A: 1\r\n") != NULL);
	CHECK(strstr(a.headers, "Content-Length: 3\r\n") != NULL);
	CHECK(!strcasestr(a.headers, "Connection:"));
	CHECK(!strcasestr(a.headers, "Keep-Alive:"));
	CHECK(!strstr(a.headers, "Status: 200"));
	/* the constant path, without the query */
	CHECK(strstr(stage_target_heard(), "GET /api/version HTTP/1.1\r\n") ==
	      stage_target_heard());
	stage_down();
}

static void a_client_shows_the_target_only_what_it_may_see(void)
{
	const char *heard;

	stage_up("FOREMAN_OLLAMA_TOKEN=t0ken", NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	stage_ask("POST", "/api/show",
	          "HTTP_AUTHORIZATION=Bearer mine\nHTTP_COOKIE=c\nHTTP_X_A=b\n"
	          "HTTP_USER_AGENT=GitHubCopilotChat/1\nHTTP_ACCEPT=a/b\n"
	          "HTTP_CONTENT_TYPE=application/json\nHTTP_ORIGIN=http://localhost\n"
	          "HTTP_PROXY=http://evil\nHTTP_HOST=h",
	          "{\"model\":\"m\"}");
	heard = stage_target_heard();
	CHECK(strstr(heard, "POST /api/show HTTP/1.1\r\n") == heard);
	CHECK(strstr(heard, "Authorization: Bearer t0ken\r\n") != NULL);
	CHECK(strstr(heard, "User-Agent: GitHubCopilotChat/1\r\n") != NULL);
	CHECK(strstr(heard, "Accept: a/b\r\n") != NULL);
	CHECK(strstr(heard, "Content-Type: application/json\r\n") != NULL);
	CHECK(strstr(heard, "Origin: http://localhost\r\n") != NULL);
	CHECK(strstr(heard, "\r\n\r\n{\"model\":\"m\"}") != NULL);
	CHECK(!strstr(heard, "mine"));
	CHECK(!strcasestr(heard, "cookie"));
	CHECK(!strcasestr(heard, "X-A"));
	CHECK(!strstr(heard, "evil"));
	stage_down();
}

static void a_head_has_the_length_and_no_body(void)
{
	struct said a;

	stage_up(NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
	                  "Content-Length: 17\r\n\r\n");
	a = stage_ask("HEAD", "/", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK(strstr(a.headers, "Content-Length: 17\r\n") != NULL);
	CHECK_STR(a.body, "");
	CHECK(strstr(stage_target_heard(), "HEAD / HTTP/1.1\r\n") ==
	      stage_target_heard());
	stage_down();
}

static void a_target_that_refuses_is_503_for_now(void)
{
	struct said a;

	stage_up(NULL);
	a = stage_ask("GET", "/api/version", NULL, NULL);
	CHECK_INT(a.status, 503);
	CHECK(strstr(a.headers, "Retry-After: ") != NULL);
	CHECK_STR(a.body, "{\"error\":\"foreman: the target is unreachable\"}");
	stage_down();
}

static void a_target_known_to_be_down_is_not_asked(void)
{
	struct said a;

	stage_up(NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	heartbeat(TARGET_DOWN, 0);
	a = stage_ask("GET", "/api/version", NULL, NULL);
	CHECK_INT(a.status, 503);
	CHECK_INT(stage.target_heard.len, 0);
	/* but the word of a worker that is gone counts for nothing */
	heartbeat(TARGET_DOWN, LIMIT_HEARTBEAT_STALE_MS);
	a = stage_ask("GET", "/api/version", NULL, NULL);
	CHECK_INT(a.status, 200);
	stage_down();
}

static void a_good_word_of_the_target_is_believed_for_a_moment(void)
{
	clock_fake(0, 1000000, 0);
	CHECK(!pass_believes(0)); /* none was read */
	CHECK(pass_believes(1000000));
	CHECK(pass_believes(1000000 - LIMIT_GOOD_WORD_MS + 1));
	CHECK(!pass_believes(1000000 - LIMIT_GOOD_WORD_MS));
	clock_real();

	stage_up(NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	heartbeat(TARGET_DOWN, 0);
	stage.seat.up_mono_ms = clock_mono_ms() + 60000; /* a moment without end */
	CHECK_INT(stage_ask("GET", "/api/version", NULL, NULL).status, 200);
	stage.seat.up_mono_ms = clock_mono_ms() - LIMIT_GOOD_WORD_MS;
	CHECK_INT(stage_ask("GET", "/api/version", NULL, NULL).status, 503);
	CHECK_INT(stage.seat.up_mono_ms, 0); /* a bad one is not remembered */
	heartbeat(TARGET_UP, 0);
	CHECK_INT(stage_ask("GET", "/api/version", NULL, NULL).status, 200);
	CHECK(stage.seat.up_mono_ms != 0);
	stage_down();
}

static void nonsense_and_a_lost_answer_are_502(void)
{
	struct said a;

	stage_up(NULL);
	stage_target_says("hello?\r\n\r\n");
	a = stage_ask("GET", "/api/version", NULL, NULL);
	CHECK_INT(a.status, 502);
	stage_target_says("");
	a = stage_ask("GET", "/api/version", NULL, NULL);
	CHECK_INT(a.status, 502);
	stage_down();
}

static void an_answer_that_breaks_off_stays_short(void)
{
	struct said a;

	stage_up(NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	                  "Content-Length: 100\r\n\r\n{\"a\":");
	a = stage_ask("GET", "/api/version", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK(strstr(a.headers, "Content-Length: 100\r\n") != NULL);
	CHECK_STR(a.body, "{\"a\":");
	stage_down();
}

static void a_stream_that_breaks_off_ends_with_an_error_line(void)
{
	struct said a;

	stage_up("FOREMAN_MODEL_ADMIN=allow", NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
	                  "Transfer-Encoding: chunked\r\n\r\n"
	                  "8\r\n{\"a\":1}\n\r\n4\r\n{\"b\"\r\n");
	a = stage_ask("POST", "/api/pull", NULL, "{\"model\":\"m\"}");
	CHECK_INT(a.status, 200);
	CHECK_STR(a.body,
	          "{\"a\":1}\n{\"b\"\n{\"error\":\"foreman: the target went away\"}\n");
	CHECK(!strcasestr(a.headers, "Transfer-Encoding"));
	stage_down();
}

static void a_stream_that_breaks_off_behind_a_line_gets_one_more(void)
{
	struct said a;

	stage_up("FOREMAN_MODEL_ADMIN=allow", NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
	                  "Transfer-Encoding: chunked\r\n\r\n"
	                  "8\r\n{\"a\":1}\n\r\n");
	a = stage_ask("POST", "/api/pull", NULL, "{\"model\":\"m\"}");
	CHECK_STR(a.body, "{\"a\":1}\n{\"error\":\"foreman: the target went away\"}\n");
	stage_down();
}

static void without_descriptors_the_fault_is_ours(void)
{
	struct rlimit was, none;
	struct fcgx *req;
	struct said a;
	int fd;

	stage_up(NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	CHECK_INT(stage_ask("GET", "/api/version", NULL, NULL).status, 200);
	fd = stage_call("GET", "/api/version", NULL, NULL);
	shutdown(fd, SHUT_WR);
	STAGE_MUST(!fcgx_accept(stage.listener, &req));
	STAGE_MUST(!getrlimit(RLIMIT_NOFILE, &was));
	none = (struct rlimit){ .rlim_cur = 3, .rlim_max = was.rlim_max };
	xfer_line_rest(stage.seat.line);
	STAGE_MUST(!setrlimit(RLIMIT_NOFILE, &none));
	serve_request(&stage.seat, req);
	STAGE_MUST(!setrlimit(RLIMIT_NOFILE, &was));
	a = stage_listen(fd, NULL);
	close(fd);
	CHECK_INT(a.status, 500);
	CHECK_STR(a.body, "{\"error\":\"foreman: cannot ask the target\"}");
	CHECK_INT(stage_ask("GET", "/api/version", NULL, NULL).status, 200);
	stage_down();
}

/* --- clients who leave ----------------------------------------------------- */

static char long_text[100000];

/* A target's answer with that type, all of it at once. */
static void target_says_much(const char *type)
{
	int n = snprintf(long_text, sizeof(long_text),
	                 "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n"
	                 "Content-Length: %d\r\n\r\n", type, 90000);

	memset(long_text + n, 'x', 90000);
	long_text[n + 40000] = long_text[n + 89999] = '\n';
	long_text[n + 90000] = '\0';
	stage_target_says(long_text);
}

/* It holds neither the thread nor what comes after. */
static void who_leaves_is_not_sent_the_rest(void)
{
	static const char *const types[] = { "application/json", "application/x-ndjson",
		                                 "text/event-stream", "text/plain" };

	stage_up(NULL);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		target_says_much(types[i]);
		stage_call_and_leave("GET", "/api/version", NULL, NULL);
		CHECK(strstr(stage_target_heard(), "GET /api/version ") != NULL);
		stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
		CHECK_STR(stage_ask("GET", "/api/version", NULL, NULL).body, "ok");
	}
	stage_down();
}

/* Send a request but for its last bytes, leave, and have it served. */
static void call_and_break_off(const char *uri, const char *body, size_t missing)
{
	struct buf b;
	int fd;

	buf_init(&b, 1 << 16);
	stage_request(&b, "POST", uri, NULL, body);
	STAGE_MUST(!fd_connect_unix(stage.socket_path, false, &fd));
	STAGE_MUST(!fd_write_all(fd, b.p, b.len - missing, 0));
	close(fd);
	buf_done(&b);
	stage_serve();
}

/* The second lacks only the record which says that the body was whole. */
static void an_upload_that_is_cut_short_gets_no_answer(void)
{
	const struct tally_names names = route_names();
	struct said a;

	stage_up("FOREMAN_MODEL_ADMIN=allow", NULL);
	STAGE_MUST(!tally_open(-1, &names));
	stage_target_says("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
	call_and_break_off("/api/blobs/sha256:0", "abcdef", 8 + 3);
	call_and_break_off("/api/blobs/sha256:0", "abcdef", 8);
	a = stage_ask("GET", "/metrics", NULL, NULL);
	CHECK(strstr(a.body, "foreman_http_requests_total{method=\"POST\","
	                     "route=\"/api/blobs/{id}\",code=\"0\"} 2\n") != NULL);
	CHECK_INT(stage_ask("GET", "/api/version", NULL, NULL).status, 201);
	tally_close();
	stage_down();
}

static void a_body_that_is_cut_short_is_not_for_the_target(void)
{
	stage_up(NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	call_and_break_off("/api/show", "{\"model\":\"m\"}", 8);
	CHECK_STR(stage_target_heard(), "");
	stage_down();
}

/* --- tags and ps ---------------------------------------------------------- */

static void tags_come_from_the_target_while_it_is_there(void)
{
	struct said a;

	stage_up(NULL);
	STAGE_MUST(!status_write_tags(stage.worker_db, TAGS, NULL));
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
	a = stage_ask("GET", "/api/tags", NULL, NULL);
	CHECK_STR(a.body, "{}");
	CHECK(!strstr(a.headers, "Foreman-Target"));
	stage_down();
}

static void tags_are_the_last_known_while_it_is_not(void)
{
	struct said a;

	stage_up(NULL);
	a = stage_ask("GET", "/api/tags", NULL, NULL);
	CHECK_INT(a.status, 503); /* nothing is known yet */
	STAGE_MUST(!status_write_tags(stage.worker_db, TAGS, NULL));
	a = stage_ask("GET", "/api/tags", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK_STR(a.body, TAGS);
	CHECK(strstr(a.headers, "Foreman-Target: unreachable\r\n") != NULL);
	heartbeat(TARGET_DOWN, 0);
	a = stage_ask("GET", "/api/tags", NULL, NULL);
	CHECK_STR(a.body, TAGS);
	stage_down();
}

static void tags_without_target_and_database_are_an_error(void)
{
	struct said a;

	stage_up(NULL);
	stage_reads("/nonexistent/foreman.db");
	a = stage_ask("GET", "/api/tags", NULL, NULL);
	CHECK_INT(a.status, 500);
	CHECK_STR(a.body, "{\"error\":\"the database cannot be used\"}");
	stage_reads(stage_hollow_db(SCHEMA_VERSION));
	CHECK_INT(stage_ask("GET", "/api/tags", NULL, NULL).status, 500);
	/* the target alone will do */
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
	CHECK_STR(stage_ask("GET", "/api/tags", NULL, NULL).body, "{}");
	CHECK_STR(stage_ask("GET", "/api/ps", NULL, NULL).body, "{}");
	stage_down();
}

static void nothing_is_loaded_on_a_target_that_is_not_there(void)
{
	struct said a;

	stage_up(NULL);
	a = stage_ask("GET", "/api/ps", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK_STR(a.body, "{\"models\":[]}");
	CHECK(strstr(a.headers, "Foreman-Target: unreachable\r\n") != NULL);
	stage_down();
}

/* --- model administration ------------------------------------------------- */

static void administration_is_refused_unless_allowed(void)
{
	static const char *const paths[] = { "/api/pull", "/api/push", "/api/create",
		                                 "/api/copy" };
	struct said a;

	stage_up(NULL);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		a = stage_ask("POST", paths[i], NULL, "{\"model\":\"m\"}");
		CHECK_INT(a.status, 403);
		CHECK(strstr(a.body, "{\"error\":\"") == a.body);
	}
	CHECK_INT(stage_ask("DELETE", "/api/delete", NULL, "{}").status, 403);
	CHECK_INT(stage_ask("POST", "/api/blobs/sha256:0", NULL, "x").status, 403);
	stage_down();
}

static void events_that_break_off_end_with_an_error_event(void)
{
	struct said a;

	stage_up(NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	                  "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n");
	a = stage_ask("POST", "/v1/chat/completions", NULL, "{\"model\":\"m:cloud\"}");
	CHECK_INT(a.status, 200);
	CHECK_STR(a.body, "data: 1\n\n\n\ndata: {\"error\":{\"message\":"
	                  "\"foreman: the target went away\",\"type\":\"api_error\","
	                  "\"param\":null,\"code\":null}}\n\n");
	a = stage_ask("POST", "/v1/messages", NULL, "{\"model\":\"m:cloud\"}");
	CHECK(strstr(a.body, "\n\nevent: error\ndata: {\"type\":\"error\"") != NULL);
	stage_down();
}

static void a_model_is_asked_for_by_its_name(void)
{
	struct said a;

	stage_up(NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
	a = stage_ask("GET", "/v1/models/library/m:latest?x=y", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK(strstr(stage_target_heard(),
	             "GET /v1/models/library/m:latest HTTP/1.1\r\n") ==
	      stage_target_heard());
	stage_target_says("HTTP/1.1 500 Never\r\nContent-Length: 0\r\n\r\n");
	a = stage_ask("GET", "/v1/models/../../api/tags", NULL, NULL);
	CHECK_INT(a.status, 404);
	CHECK(strstr(a.body, "{\"error\":{\"message\":") == a.body);
	stage_down();
}

static void a_preflight_is_the_targets_to_answer(void)
{
	struct said a;

	stage_up(NULL);
	stage_target_says("HTTP/1.1 204 No Content\r\nVary: Origin\r\n\r\n");
	a = stage_ask("OPTIONS", "/api/chat",
	              "HTTP_ORIGIN=http://o\nHTTP_ACCESS_CONTROL_REQUEST_METHOD=POST",
	              NULL);
	CHECK_INT(a.status, 204);
	CHECK(strstr(a.headers, "Vary: Origin\r\n") != NULL);
	CHECK(strstr(stage_target_heard(), "OPTIONS /api/chat HTTP/1.1\r\n") ==
	      stage_target_heard());
	CHECK(strstr(stage_target_heard(), "\r\nOrigin: http://o\r\n") != NULL);
	CHECK(strstr(stage_target_heard(),
	             "\r\nAccess-Control-Request-Method: POST\r\n") != NULL);
	a = stage_ask("OPTIONS", "/api/chat", NULL, NULL);
	CHECK_INT(a.status, 204);
	CHECK(strstr(a.headers, "Allow: POST\r\n") != NULL);
	a = stage_ask("OPTIONS", "/jobs", "HTTP_ORIGIN=http://o", NULL);
	CHECK(strstr(a.headers, "Allow: HEAD, GET, POST\r\n") != NULL);
	stage_down();
}

static void a_preflight_needs_no_token_and_nothing_short_of_one_does_without(void)
{
	static const char full[] =
		"HTTP_ORIGIN=http://o\nHTTP_ACCESS_CONTROL_REQUEST_METHOD=POST";
	static const struct {
		const char *method, *path, *headers;
	} refused[] = {
		{ "OPTIONS", "/api/chat", NULL },
		{ "OPTIONS", "/api/chat", "HTTP_ORIGIN=http://o" },
		{ "OPTIONS", "/api/chat", "HTTP_ACCESS_CONTROL_REQUEST_METHOD=POST" },
		{ "OPTIONS", "/jobs", full },
		{ "OPTIONS", "/nope", full },
		{ "POST", "/api/chat", full },
		{ "GET", "/api/tags", full },
	};

	stage_up("FOREMAN_API_TOKEN=s3cret-s3cret-s3cret", NULL);
	stage_target_says("HTTP/1.1 204 No Content\r\nVary: Origin\r\n\r\n");
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		CHECK_INT(stage_ask(refused[i].method, refused[i].path, refused[i].headers,
		                    NULL)
		              .status,
		          401);
	CHECK_STR(stage_target_heard(), "");
	CHECK_INT(stage_ask("OPTIONS", "/api/chat", full, NULL).status, 204);
	CHECK(strstr(stage_target_heard(), "OPTIONS /api/chat HTTP/1.1\r\n") ==
	      stage_target_heard());
	stage_down();
}

static void allowed_administration_is_passed_on(void)
{
	struct said a;

	stage_up("FOREMAN_MODEL_ADMIN=allow", NULL);
	stage_target_says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	a = stage_ask("DELETE", "/api/delete", NULL, "{\"model\":\"m\"}");
	CHECK_INT(a.status, 200);
	CHECK(strstr(stage_target_heard(), "DELETE /api/delete HTTP/1.1\r\n") != NULL);
	CHECK(strstr(stage_target_heard(), "{\"model\":\"m\"}") != NULL);
	a = stage_ask("POST", "/api/blobs/sha256:0", NULL, "x");
	CHECK_INT(a.status, 200);
	CHECK(strstr(stage_target_heard(), "POST /api/blobs/sha256:0 HTTP/1.1\r\n") ==
	      stage_target_heard());
	CHECK(strstr(stage_target_heard(), "\r\nContent-Length: 1\r\n") != NULL);
	CHECK(strstr(stage_target_heard(), "\r\n\r\nx") != NULL);
	CHECK_INT(stage_ask("POST", "/api/blobs/..", NULL, "x").status, 404);
	CHECK_INT(stage_ask("HEAD", "/api/blobs/sha256:0", NULL, NULL).status, 200);
	CHECK(strstr(stage_target_heard(), "HEAD /api/blobs/sha256:0 HTTP/1.1\r\n") ==
	      stage_target_heard());
	a = stage_ask("POST", "/api/copy", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK(strstr(stage_target_heard(), "\r\nContent-Length: 0\r\n") != NULL);
	stage_down();
}

static void an_administrator_may_send_more_than_a_body_may_have(void)
{
	char body[5000];

	memset(body, 'x', sizeof(body) - 1);
	body[sizeof(body) - 1] = '\0';
	stage_up("FOREMAN_MODEL_ADMIN=allow", "FOREMAN_MAX_BODY=4K", NULL);
	stage_target_says("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
	CHECK_INT(stage_ask("POST", "/api/blobs/sha256:0", NULL, body).status, 201);
	CHECK(strstr(stage_target_heard(), body) != NULL);
	CHECK_INT(stage_ask("POST", "/api/show", NULL, body).status, 413);
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_name_goes_to_the_target_only_if_it_is_harmless),
		T(status_headers_and_bytes_are_the_targets),
		T(a_client_shows_the_target_only_what_it_may_see),
		T(a_head_has_the_length_and_no_body),
		T(a_target_that_refuses_is_503_for_now),
		T(a_target_known_to_be_down_is_not_asked),
		T(a_good_word_of_the_target_is_believed_for_a_moment),
		T(nonsense_and_a_lost_answer_are_502),
		T(an_answer_that_breaks_off_stays_short),
		T(a_stream_that_breaks_off_ends_with_an_error_line),
		T(a_stream_that_breaks_off_behind_a_line_gets_one_more),
		T(without_descriptors_the_fault_is_ours),
		T(who_leaves_is_not_sent_the_rest),
		T(an_upload_that_is_cut_short_gets_no_answer),
		T(a_body_that_is_cut_short_is_not_for_the_target),
		T(tags_without_target_and_database_are_an_error),
		T(tags_come_from_the_target_while_it_is_there),
		T(tags_are_the_last_known_while_it_is_not),
		T(nothing_is_loaded_on_a_target_that_is_not_there),
		T(administration_is_refused_unless_allowed),
		T(events_that_break_off_end_with_an_error_event),
		T(a_model_is_asked_for_by_its_name),
		T(a_preflight_is_the_targets_to_answer),
		T(a_preflight_needs_no_token_and_nothing_short_of_one_does_without),
		T(allowed_administration_is_passed_on),
		T(an_administrator_may_send_more_than_a_body_may_have),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
