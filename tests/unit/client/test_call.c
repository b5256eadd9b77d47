/*
 * test_call.c - which URL and token are none, what an answer amounts to, when a
 * call is tried again, and one handle in many threads.
 */
#include <config.h>

#include "client/call.h"

#include "served.h"

static foreman *here(int64_t patience_ms)
{
	foreman *f = foreman_new(served_url(), "");

	SERVED_MUST(f != NULL);
	foreman_set_patience(f, patience_ms);
	return f;
}

static foreman_code get_job(int64_t patience_ms, foreman_error *e)
{
	foreman *f = here(patience_ms);
	foreman_job *job = NULL;
	foreman_code code = foreman_get(f, SERVED_ID, &job, e);

	foreman_job_free(job);
	foreman_free(f);
	return code;
}

/* --- the handle ------------------------------------------------------------ */

static bool takes(const char *url, const char *token)
{
	foreman *f = foreman_new(url, token);

	foreman_free(f);
	return f != NULL;
}

static void a_url_has_a_scheme_and_a_host(void)
{
	static const char *const good[] = { "http://a",        "https://a",
		                                "HTTP://a.b:8080", "http://a/b/c/",
		                                "http://[::1]:80", "http://a//" };
	static const char *const bad[] = {
		"a",          "a:80",       "ftp://a",    "http://",     "http:///",
		"http://a:",  "http://a?b", "http://a#b", "http://a b",  "http://a\n",
		"http://u@a", "http:/a",    "http://:80", "http://a\\b", "file:///etc"
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		t_note(takes(good[i], NULL), __FILE__, __LINE__, good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		t_note(!takes(bad[i], NULL), __FILE__, __LINE__, bad[i]);
}

static void a_url_and_a_token_have_a_longest_one(void)
{
	char url[2100] = "http://", token[4200];

	memset(url + 7, 'a', sizeof(url) - 7);
	memset(token, 'a', sizeof(token));
	url[2048] = token[4096] = '\0';
	CHECK(takes(url, token));
	url[2048] = 'a', url[2049] = '\0';
	CHECK(!takes(url, NULL));
	token[4096] = 'a', token[4097] = '\0';
	CHECK(!takes("http://a", token));
}

static void a_token_cannot_end_its_header(void)
{
	CHECK(takes("http://a", "secret"));
	CHECK(takes("http://a", ""));
	CHECK(!takes("http://a", "a b"));
	CHECK(!takes("http://a", "a\r\nX: y"));
	CHECK(!takes("http://a", "a\x7f"));
	CHECK(!takes("http://a", "\xc3\xa4"));
}

static void what_is_not_given_comes_from_the_environment(void)
{
	foreman *f;

	served_up();
	served_says(200, "", SERVED_DONE);
	setenv("FOREMAN_URL", served_url(), 1);
	setenv("FOREMAN_API_TOKEN", "t0ken", 1);
	f = foreman_new(NULL, NULL);
	REQUIRE(f != NULL);
	CHECK_INT(foreman_get(f, SERVED_ID, NULL, NULL), FOREMAN_OK);
	CHECK(strstr(served_heard(0), "\r\nAuthorization: Bearer t0ken\r\n") != NULL);
	foreman_free(f);

	f = here(0); /* with an empty token */
	CHECK_INT(foreman_get(f, SERVED_ID, NULL, NULL), FOREMAN_OK);
	CHECK(!strstr(served_heard(1), "Authorization"));
	foreman_free(f);

	setenv("FOREMAN_URL", "nonsense", 1);
	CHECK(!takes(NULL, NULL));
	setenv("FOREMAN_URL", "", 1); /* as if it was not set */
	CHECK(takes(NULL, NULL));
	unsetenv("FOREMAN_URL");
	unsetenv("FOREMAN_API_TOKEN");
	served_down();
}

static void paths_go_behind_the_urls_own(void)
{
	char url[96];
	foreman *f;

	served_up();
	served_says(200, "", SERVED_DONE);
	snprintf(url, sizeof(url), "%s/prefix//", served_url());
	f = foreman_new(url, NULL);
	REQUIRE(f != NULL);
	CHECK_INT(foreman_get(f, SERVED_ID, NULL, NULL), FOREMAN_OK);
	CHECK(served_asked(0, "GET /prefix/jobs/" SERVED_ID));
	CHECK(strstr(served_heard(0),
	             "\r\nUser-Agent: foreman/" PACKAGE_VERSION "\r\n") != NULL);
	foreman_free(f);
	served_down();
}

/* --- what an answer amounts to --------------------------------------------- */

static void each_status_has_its_code(void)
{
	static const struct {
		int status;
		foreman_code code;
		bool retryable;
	} rows[] = {
		{ 400, FOREMAN_INVALID, false },      { 401, FOREMAN_UNAUTHORIZED, false },
		{ 403, FOREMAN_UNAUTHORIZED, false }, { 404, FOREMAN_NOT_FOUND, false },
		{ 410, FOREMAN_GONE, false },         { 413, FOREMAN_INVALID, false },
		{ 422, FOREMAN_INVALID, false },      { 429, FOREMAN_BUSY, true },
		{ 500, FOREMAN_PROTOCOL, false },     { 502, FOREMAN_UNREACHABLE, true },
		{ 503, FOREMAN_BUSY, true },          { 504, FOREMAN_UNREACHABLE, true },
		{ 507, FOREMAN_BUSY, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		foreman_error e = { 0 };

		served_up();
		served_says(rows[i].status, "", "{\"code\":\"a_word\",\"detail\":\"why\"}");
		CHECK_INT(get_job(0, &e), rows[i].code);
		CHECK_INT(e.code, rows[i].code);
		CHECK_INT(e.http_status, rows[i].status);
		CHECK_INT(e.retryable, rows[i].retryable);
		CHECK_STR(e.name, "a_word");
		CHECK_STR(e.text, "why");
		CHECK_INT(served_count(), 1);
		served_down();
	}
}

static void the_service_says_itself_what_may_be_asked_again(void)
{
	foreman_error e;

	served_up();
	served_says(503, "",
	            "{\"code\":\"full\",\"title\":\"Full\",\"retryable\":false}");
	CHECK_INT(get_job(0, &e), FOREMAN_BUSY);
	CHECK_INT(e.retryable, false);
	CHECK_STR(e.text, "Full");
	served_down();
}

static void another_servers_words_are_no_foremans(void)
{
	static const int statuses[] = { 200, 301, 400, 404, 410, 418, 500 };

	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		foreman_error e;

		served_up();
		served_says(statuses[i], "Location: /elsewhere\r\n", "<h1>Not here</h1>");
		CHECK_INT(get_job(0, &e), FOREMAN_PROTOCOL);
		CHECK(e.text[0] != '\0');
		CHECK_INT(served_count(), 1); /* nor is a redirect followed */
		served_down();
	}
}

static void what_is_no_job_object_is_no_answer(void)
{
	static const char *const bodies[] = { "",
		                                  "{}",
		                                  "[]",
		                                  "{\"id\":\"01\",\"state\":\"done\"}",
		                                  "{\"id\":\"" SERVED_ID "\"}",
		                                  "{\"id\":\"" SERVED_ID "\",\"state\":7}",
		                                  SERVED_DONE "x" };

	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		served_up();
		served_says(200, "", bodies[i]);
		t_note(get_job(0, NULL) == FOREMAN_PROTOCOL, __FILE__, __LINE__, bodies[i]);
		served_down();
	}
}

static void what_does_not_speak_http_is_no_foreman(void)
{
	foreman_error e;

	served_up();
	served_says_raw("SSH-2.0-OpenSSH\r\n\r\n");
	CHECK_INT(get_job(0, &e), FOREMAN_PROTOCOL);
	CHECK_INT(e.http_status, 0);
	served_down();
}

static void nobody_there_is_unreachable(void)
{
	foreman_error e;
	foreman *f;

	served_up();
	f = here(0);
	served_down();
	CHECK_INT(foreman_get(f, SERVED_ID, NULL, &e), FOREMAN_UNREACHABLE);
	CHECK_INT(e.http_status, 0);
	CHECK_INT(e.retryable, true);
	CHECK(e.text[0] != '\0');
	foreman_free(f);
}

static void results_are_left_alone_when_it_fails(void)
{
	foreman_job *job = (foreman_job *)(void *)&served;
	foreman *f;

	served_up();
	served_says(404, "", "{\"code\":\"job_not_found\"}");
	f = here(0);
	CHECK_INT(foreman_get(f, SERVED_ID, &job, NULL), FOREMAN_NOT_FOUND);
	CHECK(job == (foreman_job *)(void *)&served);
	foreman_free(f);
	served_down();
}

static void every_code_has_words_and_so_has_any_number(void)
{
	for (int i = 0; i <= FOREMAN_NO_MEMORY; i++)
		CHECK(strlen(foreman_strerror((foreman_code)i)) > 1);
	CHECK_STR(foreman_strerror((foreman_code)(FOREMAN_NO_MEMORY + 1)),
	          "unknown error");
	CHECK_STR(foreman_strerror((foreman_code)-1), "unknown error");
	CHECK_STR(foreman_version(), PACKAGE_VERSION);
}

/* --- trying again ---------------------------------------------------------- */

static void a_busy_service_is_asked_again(void)
{
	foreman_error e;

	served_up();
	served_says(503, "Retry-After: 0\r\n", "{\"code\":\"busy\"}");
	served_says_raw(""); /* and one that goes away */
	served_says(200, "", SERVED_DONE);
	CHECK_INT(get_job(60000, &e), FOREMAN_OK);
	CHECK_INT(e.code, FOREMAN_OK);
	CHECK_INT(served_count(), 3);
	served_down();
}

static void without_patience_it_is_asked_once(void)
{
	served_up();
	served_says(503, "", "");
	CHECK_INT(get_job(0, NULL), FOREMAN_BUSY);
	CHECK_INT(get_job(-5, NULL), FOREMAN_BUSY);
	CHECK_INT(served_count(), 2);
	served_down();
}

static void patience_does_not_outlast_itself(void)
{
	served_up();
	served_says(429, "Retry-After: 100\r\n", "");
	served_says(200, "", SERVED_DONE);
	CHECK_INT(get_job(99000, NULL), FOREMAN_BUSY);
	CHECK_INT(served_count(), 1);
	served_down();
}

/* An hour is all that a service can ask for; what is no number asks nothing. */
static void what_a_service_asks_for_has_its_bound(void)
{
	served_up();
	served_says(429, "Retry-After: 99999999999\r\n", "");
	CHECK_INT(get_job(3599000, NULL), FOREMAN_BUSY);
	CHECK_INT(served_count(), 1);
	served_says(429, "Retry-After: tomorrow\r\n", "");
	served_says(200, "", SERVED_DONE);
	CHECK_INT(get_job(0, NULL), FOREMAN_BUSY); /* moves on to the second */
	CHECK_INT(get_job(60000, NULL), FOREMAN_OK);
	served_down();
}

static void what_will_not_get_better_is_not_asked_again(void)
{
	served_up();
	served_says(404, "", "{\"code\":\"job_not_found\"}");
	CHECK_INT(get_job(60000, NULL), FOREMAN_NOT_FOUND);
	CHECK_INT(served_count(), 1);
	served_down();
}

static void what_is_not_safe_is_sent_once(void)
{
	struct call_ask ask = { .method = "POST", .path = "/x", .once = true };
	struct call_reply reply;
	foreman *f;

	served_up();
	served_says_raw("");
	f = here(60000);
	CHECK_INT(call_service(f, &ask, &reply, NULL), FOREMAN_UNREACHABLE);
	CHECK_INT(served_count(), 1);
	CHECK_INT(reply.tries, 1);
	buf_done(&reply.body);
	foreman_free(f);
	served_down();
}

static int count_bytes(void *arg, const char *bytes, size_t len)
{
	(void)bytes;
	*(size_t *)arg += len;
	return 0;
}

static void bytes_are_not_given_twice(void)
{
	size_t given = 0;
	foreman *f;

	served_up();
	served_says_raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
	f = here(60000);
	CHECK_INT(foreman_fetch(f, SERVED_ID, "content", count_bytes, &given, NULL),
	          FOREMAN_UNREACHABLE);
	CHECK_INT(given, 3);
	CHECK_INT(served_count(), 1);
	foreman_free(f);
	served_down();
}

static void the_answers_lines_are_told(void)
{
	struct call_ask ask = { .method = "GET", .path = "/x" };
	struct call_reply reply;
	foreman *f;

	served_up();
	served_says(201,
	            "Location: /jobs/1\r\nDate: now\r\nIdempotency-Replayed: true\r\n"
	            "Content-Type: text/x\r\n",
	            "body");
	f = here(0);
	CHECK_INT(call_service(f, &ask, &reply, NULL), FOREMAN_OK);
	CHECK_INT(reply.status, 201);
	CHECK_STR(reply.location, "/jobs/1");
	CHECK_STR(reply.date, "now");
	CHECK_STR(reply.type, "text/x");
	CHECK(reply.replayed);
	CHECK_STR(buf_str(&reply.body), "body");
	buf_done(&reply.body);
	foreman_free(f);
	served_down();
}

static void a_service_that_says_nothing_is_given_up(void)
{
	struct call_ask ask = { .method = "GET", .path = "/x", .at_most_ms = 50 };
	struct sockaddr_in a = { .sin_family = AF_INET,
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* accepts nobody */
	struct call_reply reply;
	char url[64];
	foreman *f;

	REQUIRE(!bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 1));
	REQUIRE(!getsockname(fd, (struct sockaddr *)&a, &size));
	snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(a.sin_port));
	f = foreman_new(url, NULL);
	REQUIRE(f != NULL);
	foreman_set_patience(f, 0);
	CHECK_INT(call_service(f, &ask, &reply, NULL), FOREMAN_UNREACHABLE);
	CHECK_INT(reply.status, 0);
	buf_done(&reply.body);
	foreman_free(f);
	close(fd);
}

/* --- threads --------------------------------------------------------------- */

#define THREADS 16 /* more than there is place for idle lines */
#define CALLS 12

static void *ask_often(void *arg)
{
	size_t good = 0;

	for (int i = 0; i < CALLS; i++) {
		foreman_job *job = NULL;
		foreman_error e;

		good += foreman_get(arg, SERVED_ID, &job, &e) == FOREMAN_OK &&
		        strcmp(foreman_job_id(job), SERVED_ID) == 0;
		foreman_job_free(job);
	}
	return (void *)good;
}

static void many_threads_share_one_handle(void)
{
	pthread_t threads[THREADS];
	foreman *f;

	served_up();
	served_says(200, "", SERVED_DONE);
	f = here(30000);
	for (size_t i = 0; i < THREADS; i++)
		SERVED_MUST(!pthread_create(&threads[i], NULL, ask_often, f));
	for (size_t i = 0; i < THREADS; i++) {
		void *good;

		SERVED_MUST(!pthread_join(threads[i], &good));
		CHECK_INT((size_t)good, CALLS);
	}
	CHECK_INT(served_count(), THREADS * CALLS);
	foreman_free(f);
	served_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_url_has_a_scheme_and_a_host),
		T(a_url_and_a_token_have_a_longest_one),
		T(a_token_cannot_end_its_header),
		T(what_is_not_given_comes_from_the_environment),
		T(paths_go_behind_the_urls_own),
		T(each_status_has_its_code),
		T(the_service_says_itself_what_may_be_asked_again),
		T(another_servers_words_are_no_foremans),
		T(what_is_no_job_object_is_no_answer),
		T(what_does_not_speak_http_is_no_foreman),
		T(nobody_there_is_unreachable),
		T(results_are_left_alone_when_it_fails),
		T(every_code_has_words_and_so_has_any_number),
		T(a_busy_service_is_asked_again),
		T(without_patience_it_is_asked_once),
		T(patience_does_not_outlast_itself),
		T(what_a_service_asks_for_has_its_bound),
		T(what_will_not_get_better_is_not_asked_again),
		T(what_is_not_safe_is_sent_once),
		T(bytes_are_not_given_twice),
		T(the_answers_lines_are_told),
		T(a_service_that_says_nothing_is_given_up),
		T(many_threads_share_one_handle),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
