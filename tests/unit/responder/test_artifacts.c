/*
 * test_artifacts.c - what a job left, asked for in every way.
 */
#include <config.h>

#include "responder/artifacts.h"

#include "stage.h"

#define JOB "{\"request\":{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}}"
#define SHA /* of "{}" */                                                          \
	"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
#define DIGEST "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:"

static char id[ULID_SIZE];

static void submit(void)
{
	struct said a = stage_ask("POST", "/jobs", NULL, JOB);
	const char *at = strstr(a.body, "\"id\":\"");

	STAGE_MUST(a.status == 202 && at);
	snprintf(id, sizeof(id), "%.26s", at + 6);
}

/* A finished job with these two. */
static void leave_behind(const char *type, struct span response,
                         struct span content)
{
	struct queue_result result = { .content_type = type,
		                           .response = response,
		                           .content = content,
		                           .complete = true };
	int64_t now = clock_wall_ms();
	struct queue_input in = { 0 };
	struct job job;

	submit();
	STAGE_MUST(!queue_claim(stage.worker_db, 1, now, &job, &in, NULL));
	STAGE_MUST(!queue_working(stage.worker_db, &job, now, NULL));
	STAGE_MUST(!queue_done(stage.worker_db, &job, &result, now, NULL));
	job_done(&job);
	free(in.body);
}

static struct said fetch(const char *method, const char *name, const char *headers)
{
	char uri[128];

	snprintf(uri, sizeof(uri), "/jobs/%s/artifacts/%s", id, name);
	return stage_ask(method, uri, headers, NULL);
}

static bool has(const struct said *a, const char *line)
{
	char text[256];
	bool found;

	snprintf(text, sizeof(text), "\n%s\r\n", line);
	found = strstr(a->headers, text) != NULL;
	if (!found)
		printf("# no '%s' in\n# %s\n", line, a->headers);
	return found;
}

static void it_says_what_it_is(void)
{
	char line[128];
	struct said a, head;

	stage_up(NULL);
	leave_behind("application/json; charset=utf-8", SPAN_LIT("{}"), SPAN_LIT("hi"));
	a = fetch("GET", "response", NULL);
	CHECK_INT(a.status, 200);
	CHECK_STR(a.body, "{}");
	CHECK(has(&a, "Content-Type: application/json; charset=utf-8"));
	CHECK(has(&a, "Content-Length: 2"));
	CHECK(has(&a, "ETag: \"" SHA "\""));
	CHECK(has(&a, "Accept-Ranges: bytes"));
	CHECK(has(&a, "Content-Digest: " DIGEST));
	CHECK(has(&a, "Repr-Digest: " DIGEST));
	CHECK(has(&a, "X-Content-Type-Options: nosniff"));
	snprintf(line, sizeof(line),
	         "Content-Disposition: attachment; filename=\"%s-response.json\"", id);
	CHECK(has(&a, line));
	head = fetch("HEAD", "response", NULL);
	CHECK_INT(head.status, 200);
	CHECK_STR(head.body, "");
	CHECK_STR(head.headers, a.headers);
	a = fetch("GET", "content", NULL);
	CHECK_STR(a.body, "hi");
	CHECK(has(&a, "Content-Type: text/plain; charset=utf-8"));
	stage_down();
}

static void none_is_404_and_says_whether_it_may_come(void)
{
	struct said a;

	stage_up(NULL);
	leave_behind("application/json", SPAN_LIT("{}"), (struct span){ 0 });
	a = fetch("GET", "content", NULL);
	CHECK_INT(a.status, 404);
	CHECK(strstr(a.body, "the job left no content") != NULL);
	CHECK_INT(fetch("GET", "other", NULL).status, 404);
	submit();
	a = fetch("GET", "response", NULL);
	CHECK_INT(a.status, 404);
	CHECK(strstr(a.body, "no response yet") != NULL);
	str_copy(id, sizeof(id), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
	CHECK_INT(fetch("GET", "response", NULL).status, 404);
	str_copy(id, sizeof(id), "x");
	CHECK_INT(fetch("GET", "content", NULL).status, 400);
	stage_down();
}

static void an_empty_one_is_there(void)
{
	struct said a;

	stage_up(NULL);
	leave_behind("application/json", SPAN_LIT("{}"), SPAN_LIT(""));
	a = fetch("GET", "content", NULL);
	CHECK_INT(a.status, 200);
	CHECK(has(&a, "Content-Length: 0"));
	CHECK_STR(a.body, "");
	a = fetch("GET", "content", "HTTP_RANGE=bytes=0-");
	CHECK_INT(a.status, 416);
	CHECK(has(&a, "Content-Range: bytes */0"));
	stage_down();
}

static void a_download_has_a_name_by_its_type(void)
{
	static const char *const types[][2] = {
		{ "application/json", ".json\"" },  { "application/x-ndjson", ".ndjson\"" },
		{ "text/event-stream", ".txt\"" },  { "text/plain; charset=x", ".txt\"" },
		{ "image/png", ".bin\"" },          { "", ".bin\"" },
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct said a;
		char want[64];

		stage_up(NULL);
		leave_behind(types[i][0], SPAN_LIT("{}"), (struct span){ 0 });
		a = fetch("GET", "response", NULL);
		CHECK(strstr(a.headers, types[i][1]) != NULL);
		snprintf(want, sizeof(want), "Content-Type: %s",
		         types[i][0][0] ? types[i][0] : "application/octet-stream");
		CHECK(has(&a, want));
		stage_down();
	}
}

static void the_head_of_a_large_one_is_the_head_alone(void)
{
	size_t size = LIMIT_ARTIFACT_DIRECT + 1;
	char *bytes = calloc(1, size + 1);
	char want[64];
	struct said a;

	memset(bytes, 'x', size);
	stage_up(NULL);
	leave_behind("text/plain", (struct span){ bytes, size }, (struct span){ 0 });
	a = fetch("HEAD", "response", NULL);
	snprintf(want, sizeof(want), "Content-Length: %zu", size);
	CHECK_INT(a.status, 200);
	CHECK(has(&a, want));
	CHECK_STR(a.body, "");
	free(bytes);
	stage_down();
}

static void who_has_it_gets_304(void)
{
	static const char *const same[] = { "\"" SHA "\"", "W/\"" SHA "\"", "*",
		                                "\"a\", \"" SHA "\"" };
	char line[256];
	struct said a;

	stage_up(NULL);
	leave_behind("application/json", SPAN_LIT("{}"), (struct span){ 0 });
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		snprintf(line, sizeof(line), "HTTP_IF_NONE_MATCH=%s\nHTTP_RANGE=bytes=9-",
		         same[i]);
		a = fetch("GET", "response", line);
		CHECK_INT(a.status, 304);
		CHECK_STR(a.body, "");
		CHECK(has(&a, "ETag: \"" SHA "\""));
		CHECK(!strstr(a.headers, "Content-Digest"));
	}
	CHECK_INT(fetch("GET", "response", "HTTP_IF_NONE_MATCH=\"b\"").status, 200);
	stage_down();
}

static void a_part_says_which_it_is(void)
{
	struct said a;

	stage_up(NULL);
	leave_behind("text/plain", SPAN_LIT("0123456789"), (struct span){ 0 });
	a = fetch("GET", "response", "HTTP_RANGE=bytes=2-4");
	CHECK_INT(a.status, 206);
	CHECK_STR(a.body, "234");
	CHECK(has(&a, "Content-Range: bytes 2-4/10"));
	CHECK(has(&a, "Content-Length: 3"));
	CHECK(strstr(a.headers, "Repr-Digest: ") != NULL);
	CHECK(!strstr(a.headers, "Content-Digest: ")); /* it would be the part's */
	a = fetch("GET", "response", "HTTP_RANGE=bytes=-3");
	CHECK_STR(a.body, "789");
	a = fetch("GET", "response", "HTTP_RANGE=bytes=10-");
	CHECK_INT(a.status, 416);
	CHECK(has(&a, "Content-Range: bytes */10"));
	CHECK(strstr(a.body, "\"code\":\"range_not_satisfiable\"") != NULL);
	a = fetch("GET", "response", "HTTP_RANGE=bytes=0-1,4-5");
	CHECK_INT(a.status, 200);
	CHECK_STR(a.body, "0123456789");
	a = fetch("HEAD", "response", "HTTP_RANGE=bytes=2-4"); /* only GET has parts */
	CHECK_INT(a.status, 200);
	CHECK(has(&a, "Content-Length: 10"));
	stage_down();
}

static void a_part_is_of_what_the_client_has(void)
{
	stage_up(NULL);
	leave_behind("text/plain", SPAN_LIT("{}"), (struct span){ 0 });
	CHECK_INT(
	    fetch("GET", "response", "HTTP_RANGE=bytes=0-0\nHTTP_IF_RANGE=\"" SHA "\"")
	        .status,
	    206);
	CHECK_INT(fetch("GET", "response", "HTTP_RANGE=bytes=0-0\nHTTP_IF_RANGE=\"x\"")
	              .status,
	          200);
	/* a weak tag, or a date, is never a match here */
	CHECK_INT(fetch("GET", "response",
	                "HTTP_RANGE=bytes=0-0\nHTTP_IF_RANGE=W/\"" SHA "\"")
	              .status,
	          200);
	stage_down();
}

/* How many STDOUT bytes come, to the end or until there are `enough` (0: all). */
static size_t read_out(int fd, size_t enough)
{
	struct buf in;
	size_t bytes = 0;
	ssize_t n = 1;
	bool ended = false;

	buf_init(&in, 1 << 20);
	while (n > 0 && !ended) {
		char *to = buf_reserve(&in, 65536);

		n = stage_readable(fd) ? read(fd, to, 65536) : 0;
		if (n > 0)
			buf_commit(&in, (size_t)n);
		while (in.len >= 8 && !ended) {
			const unsigned char *p = (const unsigned char *)in.p;
			size_t len = (size_t)(p[4] << 8 | p[5]);

			if (in.len < 8 + len + p[6])
				break;
			bytes += p[1] == 6 ? len : 0;
			ended = p[1] == 3;
			buf_consume(&in, 8 + len + p[6]);
		}
		if (enough && bytes >= enough)
			break;
	}
	buf_done(&in);
	return bytes;
}

static void at_the_edge_of_one_write(size_t size)
{
	char *bytes = malloc(size), uri[128];
	size_t got;
	int fd;

	memset(bytes, 'x', size);
	stage_up(NULL);
	leave_behind("text/plain", (struct span){ bytes, size }, (struct span){ 0 });
	snprintf(uri, sizeof(uri), "/jobs/%s/artifacts/response", id);
	fd = stage_send("GET", uri, NULL, NULL, true);
	got = read_out(fd, 0);
	CHECK(got > size && got < size + 700); /* and the head */
	close(fd);
	free(bytes);
	stage_down();
}

static void large_ones_come_whole(void)
{
	at_the_edge_of_one_write(LIMIT_ARTIFACT_DIRECT);
	at_the_edge_of_one_write(LIMIT_ARTIFACT_DIRECT + 1);
	at_the_edge_of_one_write(2 * LIMIT_ARTIFACT_CHUNK + 7);
}

static void one_that_is_removed_while_it_is_sent_ends_short(void)
{
	size_t size = 8 * LIMIT_ARTIFACT_CHUNK, got;
	char *bytes = malloc(size), uri[128];
	int fd;

	memset(bytes, 'x', size);
	stage_up(NULL);
	leave_behind("text/plain", (struct span){ bytes, size }, (struct span){ 0 });
	snprintf(uri, sizeof(uri), "/jobs/%s/artifacts/response", id);
	fd = stage_send("GET", uri, NULL, NULL, true); /* returns: no thread is held */
	got = read_out(fd, 1);
	STAGE_MUST(!group_remove(stage.service.group, id, NULL));
	got += read_out(fd, 0);
	CHECK(got < size);
	close(fd);
	free(bytes);
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(it_says_what_it_is),
		T(none_is_404_and_says_whether_it_may_come),
		T(an_empty_one_is_there),
		T(a_download_has_a_name_by_its_type),
		T(the_head_of_a_large_one_is_the_head_alone),
		T(who_has_it_gets_304),
		T(a_part_says_which_it_is),
		T(a_part_is_of_what_the_client_has),
		T(large_ones_come_whole),
		T(one_that_is_removed_while_it_is_sent_ends_short),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
