/*
 * test_watch.c - clients that wait for a job's moves, and what they are told.
 */
#include <config.h>

#include "responder/watch.h"


#include "stage.h"
#include "store/sql.h"

#define JOB "{\"request\":{\"model\":\"m\",\"messages\":[]}}"
#define LARGE_JOB                                                                  \
	"{\"request\":{\"model\":\"m\",\"messages\":[]},\"artifact\":\"inline\"}"
#define UNKNOWN "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define LONG_MS 60000 /* a wait that only an event ends */

/* --- jobs ----------------------------------------------------------------- */

static char id[ULID_SIZE]; /* of the case's job */

static void submit(const char *body)
{
	struct said a = stage_ask("POST", "/jobs", NULL, body);
	const char *at = strstr(a.body, "\"id\":\"");

	STAGE_MUST(a.status == 202 && at);
	snprintf(id, sizeof(id), "%.26s", at + 6);
}

static void set_up(void)
{
	stage_up(NULL);
	submit(JOB);
}

/* queued -> loading, by another connection than the watch's. */
static void claim(struct job *job)
{
	struct queue_input in;

	STAGE_MUST(!queue_claim(stage.worker_db, 1, clock_wall_ms(), job, &in, NULL));
	free(in.body);
	free(in.headers);
}

static void move_on(void)
{
	struct job job;

	claim(&job);
	job_done(&job);
}

static void run_to_the_end(void)
{
	stage_run_job(1, "application/json", SPAN_LIT("{\"done\":true}"));
}

static void remove_it(void)
{
	struct db *db = stage.worker_db;

	STAGE_MUST(!db_begin(db, DB_SYNC_NORMAL, NULL));
	STAGE_MUST(!sql_exec(db, "DELETE FROM jobs", NULL));
	STAGE_MUST(!db_commit(db, NULL));
}

/* --- watchers ------------------------------------------------------------- */

/* Park a client; its end of the connection. */
static int park_in(struct watch *w, struct watch_ticket ticket)
{
	int pair[2];

	STAGE_MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	STAGE_MUST(!fd_nonblock(pair[0], true));
	ticket.fd = pair[0];
	ticket.fcgi_id = 1;
	if (!ticket.id[0])
		str_copy(ticket.id, sizeof(ticket.id), id);
	watch_park(w, &ticket);
	return pair[1];
}

static int park(struct watch_ticket ticket)
{
	return park_in(stage.service.watch, ticket);
}

static struct said told(int fd)
{
	struct said a = stage_listen(fd, NULL);

	close(fd);
	return a;
}

static struct said park_and_hear(struct watch_ticket ticket)
{
	return told(park(ticket));
}

static bool becomes_in(const struct watch *w, size_t count)
{
	int64_t end = clock_mono_ms() + STAGE_PATIENCE_MS;

	while (watch_count(w) != count && clock_mono_ms() < end)
		usleep(1000);
	return watch_count(w) == count;
}

static bool becomes(size_t count)
{
	return becomes_in(stage.service.watch, count);
}

static int ask_to_wait(const char *query, const char *headers)
{
	char uri[96];

	snprintf(uri, sizeof(uri), "/jobs/%s%s", id, query);
	return stage_send("GET", uri, headers, NULL, true);
}

static struct said ask(const char *method, const char *tail, const char *headers)
{
	char uri[128];

	snprintf(uri, sizeof(uri), "/jobs/%s%s", id, tail);
	return stage_ask(method, uri, headers, NULL);
}

static bool has(const char *text, const char *part)
{
	bool found = strstr(text, part) != NULL;

	if (!found)
		printf("# no '%s' in '%.1500s'\n", part, text);
	return found;
}

/* Does it come, sooner or later, in one record? What stood before it is lost. */
static bool hears(int fd, const char *part)
{
	char got[8192];
	size_t len = 0;
	ssize_t n = 1;

	while (!memmem(got, len, part, strlen(part))) {
		n = stage_readable(fd) ? read(fd, got + len, sizeof(got) - len) : 0;
		if (n <= 0)
			return false;
		len += (size_t)n;
	}
	return true;
}

/* The bytes of the answer to its end. */
static size_t swallow(int fd)
{
	struct buf in;
	size_t sum = 0;
	ssize_t n = 1;

	buf_init(&in, 1 << 20);
	while (n > 0) {
		char *to = buf_reserve(&in, 65536);

		n = stage_readable(fd) ? read(fd, to, 65536) : 0;
		if (n > 0)
			buf_commit(&in, (size_t)n);
		while (in.len >= 8) {
			const unsigned char *p = (const unsigned char *)in.p;
			size_t len = (size_t)(p[4] << 8 | p[5]);

			if (in.len < 8 + len)
				break;
			sum += p[1] == 6 ? len : 0;
			buf_consume(&in, 8 + len);
		}
	}
	buf_done(&in);
	close(fd);
	return sum;
}

/* --- GET /jobs/{id}?wait= -------------------------------------------------- */

static void a_wait_ends_when_the_job_moves(void)
{
	struct said a;
	int fd;

	set_up();
	fd = ask_to_wait("?wait=60", NULL);
	CHECK(becomes(1));
	move_on();
	a = told(fd);
	CHECK_INT(a.status, 200);
	CHECK(has(a.body, "\"state\":\"loading\""));
	CHECK(has(a.headers, "ETag: W/\"2\"\r\n"));
	CHECK(has(a.headers, "Cache-Control: no-store\r\n"));
	CHECK(has(a.headers, "Retry-After: "));
	CHECK(has(a.headers, "Content-Type: application/json\r\n"));
	CHECK(has(a.headers, "Content-Length: "));
	stage_down();
}

static void the_answer_after_a_wait_is_the_one_at_once(void)
{
	struct said now, later;

	set_up();
	run_to_the_end();
	now = ask("GET", "", NULL);
	later = park_and_hear((struct watch_ticket){ .what = WATCH_MOVE });
	CHECK_INT(now.status, 200);
	CHECK_INT(later.status, 200);
	CHECK_STR(later.body, now.body);
	CHECK(!strstr(now.headers, "Retry-After"));
	CHECK(!strstr(later.headers, "Retry-After"));
	stage_down();
}

static void a_finished_job_is_not_waited_for(void)
{
	set_up();
	run_to_the_end();
	CHECK_INT(ask("GET", "?wait=60", NULL).status, 200);
	CHECK_INT(ask("GET", "?wait=60", "HTTP_IF_NONE_MATCH=W/\"4\"").status, 304);
	stage_down();
}

static void a_tag_that_is_not_the_jobs_any_more_is_answered_at_once(void)
{
	struct said a;

	set_up();
	move_on();
	a = ask("GET", "?wait=60", "HTTP_IF_NONE_MATCH=W/\"1\"");
	CHECK_INT(a.status, 200);
	CHECK(has(a.headers, "ETag: W/\"2\"\r\n"));
	stage_down();
}

static void a_known_tag_waits_for_the_move(void)
{
	struct said a;
	int fd;

	set_up();
	fd = ask_to_wait("?wait=60", "HTTP_IF_NONE_MATCH=\"7\", W/\"1\"");
	CHECK(becomes(1));
	move_on();
	a = told(fd);
	CHECK_INT(a.status, 200);
	CHECK(has(a.headers, "ETag: W/\"2\"\r\n"));
	stage_down();
}

static void time_up_is_304_to_who_has_a_tag_and_the_job_to_others(void)
{
	struct watch_ticket t = { .what = WATCH_MOVE, .since_seq = 1, .wait_ms = 1 };
	struct said a;

	set_up();
	a = park_and_hear(t);
	CHECK_INT(a.status, 200);
	CHECK(has(a.body, "\"state\":\"queued\""));
	t.conditional = true;
	a = park_and_hear(t);
	CHECK_INT(a.status, 304);
	CHECK(has(a.headers, "ETag: W/\"1\"\r\n"));
	CHECK_STR(a.body, "");
	stage_down();
}

static void no_time_is_one_look(void)
{
	struct watch_ticket t = { .what = WATCH_MOVE, .since_seq = 1 };

	set_up();
	CHECK_INT(park_and_hear(t).status, 200);
	CHECK_INT(ask("GET", "?wait=0", NULL).status, 200);
	stage_down();
}

static void a_wait_that_is_no_number_of_seconds_is_refused(void)
{
	static const char *const queries[] = {
		"?wait",          "?wait=",    "?wait=x",
		"?wait=-1",       "?wait=1.5", "?wait=%zz",
		"?wait=1&wait=1", "?other=1",  "?wait=18446744073709551616"
	};

	set_up();
	for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
		struct said a = ask("GET", queries[i], NULL);

		CHECK_INT(a.status, 400);
		CHECK(has(a.body, "\"code\":\"invalid_request\""));
	}
	stage_down();
}

static void a_longer_wait_than_there_is_is_the_longest(void)
{
	int fd;

	set_up();
	fd = ask_to_wait("?wait=18446744073709551615", NULL);
	CHECK(becomes(1));
	close(fd);
	CHECK(becomes(0));
	stage_down();
}

static void a_head_request_gets_the_head_and_no_body(void)
{
	struct watch_ticket t = { .what = WATCH_MOVE, .head = true };
	struct said a;

	set_up();
	a = park_and_hear(t);
	CHECK_INT(a.status, 200);
	CHECK(has(a.headers, "Content-Length: "));
	CHECK_STR(a.body, "");
	a = ask("HEAD", "", NULL);
	CHECK_INT(a.status, 200);
	CHECK_STR(a.body, "");
	stage_down();
}

static void a_job_that_is_removed_meanwhile_is_gone(void)
{
	struct watch_ticket t = { .what = WATCH_MOVE,
		                      .since_seq = 1,
		                      .wait_ms = LONG_MS };
	struct said a;
	int fd;

	set_up();
	fd = park(t);
	CHECK(becomes(1));
	remove_it();
	a = told(fd);
	CHECK_INT(a.status, 410);
	CHECK(has(a.headers, "application/problem+json"));
	CHECK(has(a.body, "\"code\":\"retired\""));
	str_copy(t.id, sizeof(t.id), UNKNOWN);
	a = park_and_hear(t);
	CHECK_INT(a.status, 404);
	CHECK(has(a.body, "\"code\":\"not_found\""));
	stage_down();
}

/* --- waiting for the end --------------------------------------------------- */

static void the_end_is_waited_for_over_all_moves(void)
{
	struct watch_ticket t = {
		.what = WATCH_END, .wait_ms = LONG_MS, .submitted = true, .preferred = true
	};
	char location[64];
	struct said a;
	struct job job;
	int end, move;

	set_up();
	end = park(t);
	move = park((struct watch_ticket){
	    .what = WATCH_MOVE, .since_seq = 1, .wait_ms = LONG_MS });
	CHECK(becomes(2));
	claim(&job);
	CHECK_INT(told(move).status, 200); /* the first was looked at as well, then: */
	CHECK(becomes(1));
	STAGE_MUST(!queue_failed(stage.worker_db, &job, REASON_TIMEOUT, "over", true,
	                         NULL, clock_wall_ms(), NULL));
	job_done(&job);
	a = told(end);
	CHECK_INT(a.status, 200);
	CHECK(has(a.body, "\"state\":\"failed\""));
	snprintf(location, sizeof(location), "Location: /jobs/%s\r\n", id);
	CHECK(has(a.headers, location));
	CHECK(has(a.headers, "Preference-Applied: wait\r\n"));
	CHECK(!strstr(a.headers, "Idempotency-Replayed"));
	CHECK(!strstr(a.headers, "Retry-After"));
	stage_down();
}

static void time_up_before_the_end_is_accepted_again_later(void)
{
	struct said a;

	set_up();
	a = park_and_hear((struct watch_ticket){
	    .what = WATCH_END, .wait_ms = 1, .submitted = true, .replayed = true });
	CHECK_INT(a.status, 202);
	CHECK(has(a.headers, "Location: /jobs/"));
	CHECK(has(a.headers, "Retry-After: "));
	CHECK(has(a.headers, "Idempotency-Replayed: true\r\n"));
	CHECK(!strstr(a.headers, "Preference-Applied"));
	stage_down();
}

/* --- events ---------------------------------------------------------------- */

static void a_finished_jobs_events_are_told_in_order_and_end(void)
{
	struct said a;
	char first[160];

	set_up();
	run_to_the_end();
	snprintf(first, sizeof(first), "/jobs/%s/events", id);
	a = told(stage_send("GET", first, NULL, NULL, true));
	CHECK_INT(a.status, 200);
	CHECK(has(a.headers, "Content-Type: text/event-stream\r\n"));
	CHECK(has(a.headers, "Cache-Control: no-store\r\n"));
	snprintf(
	    first, sizeof(first),
	    "retry: 1000\n\nid: 1\nevent: job.queued\ndata: {\"id\":\"%s\",\"seq\":1,"
	    "\"state\":\"queued\",\"reason\":null,\"at\":\"20",
	    id);
	CHECK(strncmp(a.body, first, strlen(first)) == 0);
	CHECK(has(a.body, "\"terminal\":false}\n\nid: 2\nevent: job.loading\ndata: {"));
	CHECK(has(a.body, "\"terminal\":false}\n\nid: 3\nevent: job.working\ndata: {"));
	CHECK(has(a.body, "\"terminal\":false}\n\nid: 4\nevent: job.done\ndata: {"));
	CHECK(strlen(a.body) > 20 &&
	      strcmp(a.body + strlen(a.body) - 18, "\"terminal\":true}\n\n") == 0);
	stage_down();
}

static void events_come_as_the_job_moves(void)
{
	struct job job;
	int fd;

	set_up();
	fd = park((struct watch_ticket){ .what = WATCH_EVENTS });
	CHECK(hears(fd, "id: 1\nevent: job.queued\n"));
	claim(&job);
	CHECK(hears(fd, "id: 2\nevent: job.loading\n"));
	STAGE_MUST(!queue_back(stage.worker_db, &job, REASON_TARGET_LOST, NULL, false,
	                       0, clock_wall_ms(), NULL));
	job_done(&job);
	CHECK(hears(fd, "\"state\":\"queued\",\"reason\":\"target_lost\""));
	run_to_the_end();
	CHECK(hears(fd, "id: 6\nevent: job.done\n"));
	CHECK(!hears(fd, "id: 7\n")); /* but the end */
	close(fd);
	stage_down();
}

static void events_resume_behind_the_last_one_known(void)
{
	char uri[64];
	struct said a;

	set_up();
	run_to_the_end();
	snprintf(uri, sizeof(uri), "/jobs/%s/events", id);
	a = told(stage_send("GET", uri, "HTTP_LAST_EVENT_ID=2", NULL, true));
	CHECK_INT(a.status, 200);
	CHECK(!strstr(a.body, "id: 2\n"));
	CHECK(has(a.body, "id: 3\n"));
	CHECK(has(a.body, "id: 4\n"));
	stage_down();
}

static void a_finished_job_has_no_content_for_who_knows_all(void)
{
	struct watch_ticket t = { .what = WATCH_EVENTS, .since_seq = 4 };
	struct said a;

	set_up();
	run_to_the_end();
	for (int i = 0; i < 2; i++) { /* the last, and one beyond it */
		a = park_and_hear(t);
		CHECK_INT(a.status, 204);
		CHECK_STR(a.body, "");
		t.since_seq = INT64_MAX;
	}
	stage_down();
}

static void a_number_beyond_the_latest_is_taken_for_it(void)
{
	int fd;

	set_up();
	fd = park((struct watch_ticket){ .what = WATCH_EVENTS, .since_seq = 77 });
	CHECK(hears(fd, "retry:"));
	move_on();
	CHECK(hears(fd, "id: 2\n"));
	close(fd);
	CHECK(becomes(0));
	stage_down();
}

static void a_last_event_id_that_is_no_number_is_refused(void)
{
	static const char *const junk[] = { "HTTP_LAST_EVENT_ID=x",
		                                "HTTP_LAST_EVENT_ID=-1",
		                                "HTTP_LAST_EVENT_ID=1x",
		                                "HTTP_LAST_EVENT_ID=9223372036854775808" };

	set_up();
	for (size_t i = 0; i < ARRAY_LEN(junk); i++) {
		struct said a = ask("GET", "/events", junk[i]);

		CHECK_INT(a.status, 400);
		CHECK(has(a.body, "\"code\":\"invalid_request\""));
	}
	CHECK_INT(ask("GET", "/events?x=1", NULL).status, 400);
	stage_down();
}

static void events_of_no_job_are_a_problem(void)
{
	struct watch_ticket t = { .what = WATCH_EVENTS, .id = UNKNOWN };
	struct said a;

	set_up();
	a = park_and_hear(t);
	CHECK_INT(a.status, 404);
	remove_it();
	str_copy(t.id, sizeof(t.id), id);
	CHECK_INT(park_and_hear(t).status, 410);
	CHECK_INT(stage_ask("GET", "/jobs/x/events", NULL, NULL).status, 400);
	stage_down();
}

static void events_tell_that_the_job_was_removed(void)
{
	char text[80];
	int fd;

	set_up();
	fd = park((struct watch_ticket){ .what = WATCH_EVENTS, .since_seq = 1 });
	CHECK(hears(fd, "retry:"));
	remove_it();
	snprintf(text, sizeof(text), "event: job.removed\ndata: {\"id\":\"%s\"}\n\n",
	         id);
	CHECK(hears(fd, text));
	CHECK(!hears(fd, "event:")); /* but the end */
	close(fd);
	stage_down();
}

static void events_of_a_head_request_are_only_the_head(void)
{
	struct said a;

	set_up();
	a = park_and_hear((struct watch_ticket){ .what = WATCH_EVENTS, .head = true });
	CHECK_INT(a.status, 200);
	CHECK(has(a.headers, "text/event-stream"));
	CHECK_STR(a.body, "");
	stage_down();
}

/* --- leaving, bounds, ends -------------------------------------------------- */

static void who_leaves_makes_room(void)
{
	static const enum watch_for whats[] = { WATCH_MOVE, WATCH_END, WATCH_EVENTS };

	set_up();
	for (size_t i = 0; i < ARRAY_LEN(whats); i++) {
		int fd = park((struct watch_ticket){
		    .what = whats[i], .since_seq = 1, .wait_ms = LONG_MS });

		CHECK(becomes(1));
		close(fd);
		CHECK(becomes(0));
	}
	stage_down();
}

static void one_more_than_may_wait_is_answered_at_once(void)
{
	struct watch_ticket t = { .what = WATCH_END,
		                      .wait_ms = LONG_MS,
		                      .submitted = true };
	int fds[LIMIT_WATCHERS];
	struct said a;

	REQUIRE(!fd_raise_limit(NULL));
	set_up();
	for (size_t i = 0; i < LIMIT_WATCHERS; i++)
		fds[i] = park(t);
	CHECK(becomes(LIMIT_WATCHERS));
	CHECK_INT(park_and_hear(t).status, 202);
	a = park_and_hear((struct watch_ticket){ .what = WATCH_EVENTS });
	CHECK_INT(a.status, 503);
	CHECK(has(a.headers, "Retry-After: "));
	CHECK(has(a.body, "\"code\":\"busy\""));
	CHECK(becomes(LIMIT_WATCHERS)); /* and nobody else was told to go */
	close(fds[0]);
	CHECK(becomes(LIMIT_WATCHERS - 1));
	fds[0] = park(t);
	CHECK(becomes(LIMIT_WATCHERS));
	run_to_the_end();
	for (size_t i = 0; i < LIMIT_WATCHERS; i++)
		CHECK_INT(told(fds[i]).status, 200);
	stage_down();
}

static void a_silent_stream_of_events_is_pinged(void)
{
	int fd;

	stage_up("FOREMAN_KEEPALIVE=100ms", NULL);
	submit(JOB);
	fd = park((struct watch_ticket){ .what = WATCH_EVENTS });
	/* in four writes, so that the web server notices who has left */
	for (int i = 0; i < 2; i++) {
		CHECK(hears(fd, ":"));
		CHECK(hears(fd, " ping"));
	}
	close(fd);
	stage_down();
}

static void no_event_stands_inside_a_ping(void)
{
	struct said a;
	int fd;

	stage_up("FOREMAN_KEEPALIVE=100ms", NULL);
	submit(JOB);
	fd = park((struct watch_ticket){ .what = WATCH_EVENTS });
	for (int i = 0; i < 10; i++) { /* some fall into one */
		struct job job;

		claim(&job);
		STAGE_MUST(!queue_back(stage.worker_db, &job, REASON_TARGET_LOST, NULL,
		                       false, 0, clock_wall_ms(), NULL));
		job_done(&job);
		usleep(LIMIT_WATCH_MS * 1000);
	}
	a = stage_listen(fd, "id: 21\n");
	for (const char *at = a.body; (at = strstr(at, "id: ")); at++)
		CHECK(at - a.body >= 2 && strncmp(at - 2, "\n\n", 2) == 0);
	CHECK(has(a.body, "\n\n: ping\n\n"));
	close(fd);
	stage_down();
}

static void a_large_answer_is_taken_bit_by_bit(void)
{
	size_t size = 3 << 20;
	char *text = malloc(size + 3);
	int fd;

	STAGE_MUST(text != NULL);
	memset(text, 'x', size + 2);
	text[0] = text[size + 1] = '"';
	stage_up(NULL);
	submit(LARGE_JOB);
	stage_run_job(1, "application/json", (struct span){ text, size + 2 });
	fd = park((struct watch_ticket){ .what = WATCH_MOVE });
	CHECK(swallow(fd) > size);
	free(text);
	stage_down();
}

static void answers_that_are_not_taken_hold_up_the_next_one(void)
{
	size_t size = LIMIT_WATCH_HELD / 2 + 1000;
	char *text = malloc(size);
	struct pollfd p = { .events = POLLIN };
	int fds[3];

	STAGE_MUST(text != NULL);
	memset(text, 'x', size);
	text[0] = text[size - 1] = '"';
	stage_up(NULL);
	submit(LARGE_JOB);
	stage_run_job(1, "application/json", (struct span){ text, size });
	free(text);
	for (size_t i = 0; i < 2; i++) {
		fds[i] = park((struct watch_ticket){ .what = WATCH_MOVE });
		CHECK(stage_readable(fds[i]));
	}
	fds[2] = park((struct watch_ticket){ .what = WATCH_MOVE });
	CHECK(becomes(3));
	p.fd = fds[2];
	CHECK_INT(poll(&p, 1, 0), 0);
	close(fds[0]);
	CHECK(swallow(fds[2]) > size);
	close(fds[1]);
	stage_down();
}

static void draining_answers_who_waits_and_ends_events(void)
{
	struct watch_ticket move = {
		.what = WATCH_MOVE, .since_seq = 1, .wait_ms = LONG_MS, .conditional = true
	};
	struct watch_ticket end = { .what = WATCH_END,
		                        .wait_ms = LONG_MS,
		                        .submitted = true };
	struct watch_ticket events = { .what = WATCH_EVENTS };
	struct watch *w;
	struct said a;
	int fds[3];

	set_up();
	w = stage.service.watch;
	fds[0] = park(move);
	fds[1] = park(end);
	fds[2] = park(events);
	CHECK(becomes(3));
	watch_drain(w, 0);
	for (int i = 0; i < 2; i++) { /* those here, and those who come later */
		CHECK_INT(told(fds[0]).status, 304);
		CHECK_INT(told(fds[1]).status, 202);
		a = told(fds[2]);
		CHECK_INT(a.status, 200);
		CHECK(has(a.body, "id: 1\n"));
		fds[0] = park(move);
		fds[1] = park(end);
		fds[2] = park(events);
	}
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
	stage_down();
}

static void a_closed_watch_ends_when_the_last_one_has_left(void)
{
	struct pollfd p = { .events = POLLIN };
	struct watch *w;
	int fd;

	set_up();
	STAGE_MUST(!watch_new(&stage.conf, &stage.service.db_conf, &w));
	p.fd = watch_ended_fd(w);
	fd = park_in(w, (struct watch_ticket){ .what = WATCH_END, .wait_ms = LONG_MS });
	watch_close(w);
	CHECK_INT(poll(&p, 1, 0), 0);
	close(fd);
	CHECK(poll(&p, 1, STAGE_PATIENCE_MS) == 1);
	watch_free(w);
	watch_free(NULL);
	stage_down();
}

/* --- without a database ------------------------------------------------------ */

static void a_database_that_cannot_be_read_is_asked_again(void)
{
	struct watch_ticket t = { .what = WATCH_MOVE, .wait_ms = LONG_MS };
	char away[128];
	struct watch *w;
	struct said a;
	int fds[2];

	set_up();
	run_to_the_end();
	snprintf(away, sizeof(away), "%s.away", stage.db_path);
	STAGE_MUST(!watch_new(&stage.conf, &stage.service.db_conf, &w));
	STAGE_MUST(rename(stage.db_path, away) == 0);
	fds[0] = park_in(w, t);
	fds[1] = park_in(w, (struct watch_ticket){ .what = WATCH_EVENTS });
	t.wait_ms = 0;
	a = told(park_in(w, t));
	CHECK_INT(a.status, 500);
	CHECK(has(a.body, "the database cannot be used"));
	CHECK(becomes_in(w, 2)); /* the others wait on */
	STAGE_MUST(rename(away, stage.db_path) == 0);
	CHECK_INT(told(fds[0]).status, 200);
	a = told(fds[1]);
	CHECK(has(a.body, "id: 4\n"));
	watch_close(w);
	watch_free(w);
	stage_down();
}

/* --- from many threads ---------------------------------------------------------
 */

static void *park_and_leave(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++) {
		int fd = park((struct watch_ticket){
		    .what = i % 2 ? WATCH_EVENTS : WATCH_END, .wait_ms = LONG_MS });

		(void)watch_count(stage.service.watch);
		close(fd);
	}
	return NULL;
}

static void many_threads_may_park_at_once(void)
{
	pthread_t threads[4];

	set_up();
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		STAGE_MUST(!pthread_create(&threads[i], NULL, park_and_leave, NULL));
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	CHECK(becomes(0));
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_wait_ends_when_the_job_moves),
		T(the_answer_after_a_wait_is_the_one_at_once),
		T(a_finished_job_is_not_waited_for),
		T(a_tag_that_is_not_the_jobs_any_more_is_answered_at_once),
		T(a_known_tag_waits_for_the_move),
		T(time_up_is_304_to_who_has_a_tag_and_the_job_to_others),
		T(no_time_is_one_look),
		T(a_wait_that_is_no_number_of_seconds_is_refused),
		T(a_longer_wait_than_there_is_is_the_longest),
		T(a_head_request_gets_the_head_and_no_body),
		T(a_job_that_is_removed_meanwhile_is_gone),
		T(the_end_is_waited_for_over_all_moves),
		T(time_up_before_the_end_is_accepted_again_later),
		T(a_finished_jobs_events_are_told_in_order_and_end),
		T(events_come_as_the_job_moves),
		T(events_resume_behind_the_last_one_known),
		T(a_finished_job_has_no_content_for_who_knows_all),
		T(a_number_beyond_the_latest_is_taken_for_it),
		T(a_last_event_id_that_is_no_number_is_refused),
		T(events_of_no_job_are_a_problem),
		T(events_tell_that_the_job_was_removed),
		T(events_of_a_head_request_are_only_the_head),
		T(who_leaves_makes_room),
		T(one_more_than_may_wait_is_answered_at_once),
		T(a_silent_stream_of_events_is_pinged),
		T(no_event_stands_inside_a_ping),
		T(a_large_answer_is_taken_bit_by_bit),
		T(answers_that_are_not_taken_hold_up_the_next_one),
		T(draining_answers_who_waits_and_ends_events),
		T(a_closed_watch_ends_when_the_last_one_has_left),
		T(a_database_that_cannot_be_read_is_asked_again),
		T(many_threads_may_park_at_once),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
