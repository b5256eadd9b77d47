/*
 * test_follow.c - where a stream begins: at the worker, or in the store.
 */
#include <config.h>

#include "responder/follow.h"

#include "stage.h"

#define CHAT "{\"request\":{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}}"
#define EVENTS_JOB                                                                 \
	"{\"endpoint\":\"/v1/chat/completions\",\"request\":{\"model\":\"m\","         \
	"\"stream\":true,\"messages\":[{\"role\":\"user\"}]}}"

static char id[ULID_SIZE];

static void submit(const char *body)
{
	struct said a = stage_ask("POST", "/jobs", NULL, body);
	const char *at = strstr(a.body, "\"id\":\"");

	STAGE_MUST(a.status == 202 && at);
	snprintf(id, sizeof(id), "%.26s", at + 6);
}

static int open_stream(void)
{
	char uri[128];

	snprintf(uri, sizeof(uri), "/jobs/%s/stream", id);
	return stage_send("GET", uri, NULL, NULL, true);
}

static struct said stream(void)
{
	int fd = open_stream();
	struct said a = stage_listen(fd, NULL);

	close(fd);
	return a;
}

static struct said head(const char *of)
{
	char uri[128];

	snprintf(uri, sizeof(uri), "/jobs/%s/stream", of);
	return stage_ask("HEAD", uri, NULL, NULL);
}

static void fail_job(const char *error, const struct queue_result *result)
{
	int64_t now = clock_wall_ms();
	struct queue_input in = { 0 };
	struct job job;

	STAGE_MUST(!queue_claim(stage.worker_db, 1, now, &job, &in, NULL));
	STAGE_MUST(!queue_working(stage.worker_db, &job, now, NULL));
	STAGE_MUST(!queue_failed(stage.worker_db, &job, REASON_UPSTREAM_INCOMPLETE,
	                         error, true, result, now, NULL));
	job_done(&job);
	free(in.body);
}

static void a_finished_job_is_replayed(void)
{
	struct said a;

	stage_up(NULL);
	submit(CHAT);
	stage_run_job(1, "application/x-ndjson", SPAN_LIT("{\"a\":1}\n{\"b\":2}\n"));
	a = stream();
	CHECK_INT(a.status, 200);
	CHECK_STR(a.body, "{\"a\":1}\n{\"b\":2}\n");
	CHECK(strstr(a.headers, "Content-Type: application/x-ndjson\r\n") != NULL);
	CHECK(strstr(a.headers, id) != NULL);
	stage_down();
}

static void what_was_sent_in_events_is_replayed_as_events(void)
{
	struct said a;

	stage_up(NULL);
	submit(CHAT);
	stage_run_job(1, "text/event-stream; charset=utf-8", SPAN_LIT("data: {}\n\n"));
	a = stream();
	CHECK(strstr(a.headers, "Content-Type: text/event-stream\r\n") != NULL);
	CHECK_STR(a.body, "data: {}\n\n");
	stage_down();
}

static void a_failed_job_says_why_behind_what_it_left(void)
{
	const struct queue_result part = { .content_type = "application/x-ndjson",
		                               .response = SPAN_LIT("{\"a\":1}\n{\"cu") };

	stage_up(NULL);
	submit(CHAT);
	fail_job("it \"broke\"", &part);
	CHECK_STR(stream().body, "{\"a\":1}\n{\"cu\n{\"error\":\"it \\\"broke\\\"\","
	                         "\"reason\":\"upstream_incomplete\"}\n");
	stage_down();
}

static void a_failed_job_that_left_nothing_is_one_line(void)
{
	stage_up(NULL);
	submit(CHAT);
	fail_job("boom", NULL);
	CHECK_STR(stream().body,
	          "{\"error\":\"boom\",\"reason\":\"upstream_incomplete\"}\n");
	stage_down();
}

static void any_other_job_is_followed_at_the_worker(void)
{
	struct buf heard;
	struct frame f;
	struct said a;
	int fd, relay, bell;

	stage_up(NULL);
	buf_init(&heard, 4096);
	submit(CHAT);
	bell = stage_accept_relay(); /* of the submission */
	fd = open_stream();
	a = stage_listen(fd, "\r\n\r\n"); /* the head is there at once */
	CHECK_INT(a.status, 200);
	CHECK(strstr(a.headers, "Content-Type: application/x-ndjson\r\n") != NULL);
	relay = stage_accept_relay();
	REQUIRE(relay >= 0);
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_HELLO);
	f = stage_hear(relay, &heard);
	CHECK_INT(f.type, FRAME_ATTACH);
	CHECK_INT(f.role, FRAME_READER);
	CHECK_STR(f.id, id);
	close(fd);
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_TYPE_COUNT); /* let go */
	CHECK_INT(head(id).status, 200);
	close(relay);
	close(bell);
	buf_done(&heard);
	stage_down();
}

/* Takes the reader's connection; what it says first. */
static int accept_reader(struct buf *heard)
{
	int relay = stage_accept_relay();
	struct frame f;

	while (relay >= 0 && (f = stage_hear(relay, heard)).type != FRAME_ATTACH) {
		if (f.type != FRAME_TYPE_COUNT)
			continue;
		close(relay); /* the bell */
		relay = stage_accept_relay();
	}
	return relay;
}

static void worker_says(int relay, const struct frame *f)
{
	struct buf b;

	buf_init(&b, 1 << 16);
	STAGE_MUST(!frame_encode(f, &b) && !fd_write_all(relay, b.p, b.len, 0));
	buf_done(&b);
}

/* The worker that refused it did not have the job any more; another will. */
static void who_is_refused_while_the_job_waits_follows_on(void)
{
	const struct frame hello = { .type = FRAME_HELLO, .version = FRAME_VERSION };
	struct buf heard;
	struct said a;
	int relay;

	stage_up(NULL);
	buf_init(&heard, 1 << 16);
	submit(EVENTS_JOB);
	stage.web = open_stream();
	close(stage_accept_relay()); /* the bell, of the submission */
	relay = accept_reader(&heard);
	REQUIRE(relay >= 0);
	worker_says(relay, &hello);
	worker_says(relay, &(struct frame){ .type = FRAME_END,
	                                    .end = FRAME_END_REFUSED,
	                                    .status = 410 });
	buf_clear(&heard);
	close(relay);
	relay = accept_reader(&heard);
	REQUIRE(relay >= 0);
	worker_says(relay, &hello);
	worker_says(relay, &(struct frame){ .type = FRAME_HEAD, .status = 200,
	                                    .data = SPAN_LIT("Content-Type: "
	                                                     "text/event-stream\n") });
	worker_says(relay, &(struct frame){ .type = FRAME_BYTES,
	                                    .data = SPAN_LIT("data: 1\n\n") });
	a = stage_listen(stage.web, "data: 1\n\n");
	CHECK(strstr(a.headers, "Content-Type: text/event-stream\r\n") != NULL);
	CHECK_STR(a.body, "data: 1\n\n");
	close(relay);
	buf_done(&heard);
	stage_down();
}

static void without_a_worker_it_waits_for_one(void)
{
	struct buf heard;
	struct errtext why;
	int relay;

	stage_up(NULL);
	buf_init(&heard, 1 << 16);
	submit(CHAT);
	fd_close(&stage.relay);
	unlink(stage.relay_path);
	stage.web = open_stream();
	CHECK(stage_listen(stage.web, "\r\n\r\n").status == 200);
	STAGE_MUST(!fd_listen_unix(stage.relay_path, 64, &stage.relay, &why));
	relay = accept_reader(&heard);
	CHECK(relay >= 0);
	close(relay);
	buf_done(&heard);
	stage_down();
}

/* Of what the target will be asked there is no word in the path. */
static void another_endpoints_job_is_lines_and_so_is_one_that_streams_not(void)
{
	static const char *const jobs[] = {
		"{\"endpoint\":\"/v1/chat/completions\",\"request\":{\"model\":\"m\","
		"\"stream\":false,\"messages\":[{}]}}",
		"{\"endpoint\":\"/api/embed\",\"request\":{\"model\":\"m\","
		"\"input\":\"x\"}}",
	};

	stage_up(NULL);
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
		struct said a;

		submit(jobs[i]);
		a = head(id);
		CHECK(strstr(a.headers, "Content-Type: application/x-ndjson\r\n") != NULL);
	}
	stage_down();
}

static void events_are_promised_to_who_asked_for_them(void)
{
	struct said a;

	stage_up(NULL);
	submit(EVENTS_JOB);
	a = head(id);
	CHECK(strstr(a.headers, "Content-Type: text/event-stream\r\n") != NULL);
	CHECK_STR(a.body, "");
	stage_down();
}

static void what_cannot_be_streamed_is_a_problem(void)
{
	char uri[128];

	stage_up(NULL);
	CHECK_INT(head("x").status, 400);
	CHECK_INT(head("01ARZ3NDEKTSV4RRFFQ69G5FAV").status, 404);
	submit(CHAT);
	snprintf(uri, sizeof(uri), "/jobs/%s/stream?from=2", id);
	CHECK_INT(stage_ask("GET", uri, NULL, NULL).status, 400);
	CHECK_INT(stage_ask("POST", "/jobs/x/stream", NULL, "").status, 405);
	stage_run_job(1, NULL, (struct span){ 0 }); /* as an attended one ends */
	CHECK_INT(head(id).status, 404);
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_finished_job_is_replayed),
		T(what_was_sent_in_events_is_replayed_as_events),
		T(a_failed_job_says_why_behind_what_it_left),
		T(a_failed_job_that_left_nothing_is_one_line),
		T(any_other_job_is_followed_at_the_worker),
		T(who_is_refused_while_the_job_waits_follows_on),
		T(without_a_worker_it_waits_for_one),
		T(another_endpoints_job_is_lines_and_so_is_one_that_streams_not),
		T(events_are_promised_to_who_asked_for_them),
		T(what_cannot_be_streamed_is_a_problem),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
