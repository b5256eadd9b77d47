/*
 * test_fetch.c - a stream cut into lines wherever its pieces end, and artifacts.
 */
#include <config.h>

#include "client/foreman.h"

#include "served.h"

#define FETCH_MAX (64u << 20)

static foreman *f;

struct got {
	char lines[16][64];
	size_t count;
	size_t stop_at; /* 0: never */
};

static void up(void)
{
	served_up();
	f = foreman_new(served_url(), NULL);
	SERVED_MUST(f != NULL);
	foreman_set_patience(f, 0);
}

static void down(void)
{
	foreman_free(f);
	served_down();
}

/* A chunk is a piece of its own to whoever receives it. */
static void says_chunks(const char *const *pieces)
{
	struct buf b;

	buf_init(&b, 1 << 16);
	SERVED_MUST(
	    !buf_add_str(&b, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
	for (; *pieces; pieces++)
		SERVED_MUST(!buf_addf(&b, "%zx\r\n%s\r\n", strlen(*pieces), *pieces));
	SERVED_MUST(!buf_add_str(&b, "0\r\n\r\n"));
	served_says_raw(buf_str(&b));
	buf_done(&b);
}

static int keep_line(void *arg, const char *line, size_t len)
{
	struct got *g = arg;

	if (g->count < ARRAY_LEN(g->lines))
		snprintf(g->lines[g->count], sizeof(g->lines[0]), "%.*s", (int)len, line);
	g->count++;
	return g->count == g->stop_at;
}

static void lines_come_whole_however_they_are_cut(void)
{
	static const char *const pieces[] = { "{\"a\"", ":1}\n{\"b\":2}\n{",
		                                  "\"c\":", "3}",
		                                  "\n",     NULL };
	struct got g = { .count = 0 };

	up();
	says_chunks(pieces);
	CHECK_INT(foreman_stream(f, SERVED_ID, keep_line, &g, NULL), FOREMAN_OK);
	CHECK(served_asked(0, "GET /jobs/" SERVED_ID "/stream"));
	CHECK_INT(g.count, 3);
	CHECK_STR(g.lines[0], "{\"a\":1}");
	CHECK_STR(g.lines[1], "{\"b\":2}");
	CHECK_STR(g.lines[2], "{\"c\":3}");
	down();
}

static void blanks_that_keep_a_connection_are_no_lines(void)
{
	static const char *const pieces[] = { "    ", "    \n",
		                                  "\r\n", "  {\"a\":1}\r\n",
		                                  " ",    NULL };
	struct got g = { .count = 0 };

	up();
	says_chunks(pieces);
	CHECK_INT(foreman_stream(f, SERVED_ID, keep_line, &g, NULL), FOREMAN_OK);
	CHECK_INT(g.count, 1);
	CHECK_STR(g.lines[0], "{\"a\":1}");
	down();
}

static void the_last_line_needs_no_end(void)
{
	static const char *const pieces[] = { "a\nb", NULL };
	struct got g = { .count = 0 };

	up();
	says_chunks(pieces);
	CHECK_INT(foreman_stream(f, SERVED_ID, keep_line, &g, NULL), FOREMAN_OK);
	CHECK_INT(g.count, 2);
	CHECK_STR(g.lines[1], "b");
	down();
}

static void a_callback_stops_at_any_line(void)
{
	static const char *const pieces[] = { "a\nb\nc\n", "d", NULL };

	for (size_t at = 1; at <= 4; at++) {
		struct got g = { .stop_at = at };
		foreman_error e;

		up();
		says_chunks(pieces);
		CHECK_INT(foreman_stream(f, SERVED_ID, keep_line, &g, &e), FOREMAN_STOPPED);
		CHECK_INT(e.code, FOREMAN_STOPPED);
		CHECK_INT(g.count, at);
		down();
	}
}

static void a_stream_that_breaks_is_told(void)
{
	struct got g = { .count = 0 };

	up();
	served_says_raw(
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n");
	CHECK_INT(foreman_stream(f, SERVED_ID, keep_line, &g, NULL),
	          FOREMAN_UNREACHABLE);
	CHECK_INT(g.count, 1);
	down();
}

static void what_names_nothing_is_not_asked_for(void)
{
	struct got g = { .count = 0 };

	up();
	CHECK_INT(foreman_stream(f, NULL, keep_line, &g, NULL), FOREMAN_INVALID);
	CHECK_INT(foreman_stream(f, "x", keep_line, &g, NULL), FOREMAN_INVALID);
	CHECK_INT(foreman_fetch(f, NULL, "content", keep_line, &g, NULL),
	          FOREMAN_INVALID);
	CHECK_INT(foreman_fetch(f, "x", "content", keep_line, &g, NULL),
	          FOREMAN_INVALID);
	CHECK_INT(foreman_fetch(f, SERVED_ID, NULL, keep_line, &g, NULL),
	          FOREMAN_INVALID);
	CHECK_INT(foreman_fetch(f, SERVED_ID, "a/b", keep_line, &g, NULL),
	          FOREMAN_INVALID);
	CHECK_INT(served_count(), 0);
	down();
}

static void an_errors_body_is_no_line(void)
{
	struct got g = { .count = 0 };
	foreman_error e;

	up();
	served_says(404, "",
	            "{\"code\":\"job_not_found\",\"detail\":\"no such job\"}\n");
	CHECK_INT(foreman_stream(f, SERVED_ID, keep_line, &g, &e), FOREMAN_NOT_FOUND);
	CHECK_INT(g.count, 0);
	CHECK_STR(e.text, "no such job");
	CHECK_INT(foreman_stream(f, "x", keep_line, &g, &e), FOREMAN_INVALID);
	down();
}

static void an_artifact_comes_in_one_piece(void)
{
	size_t len = 0;
	char *text = NULL;

	up();
	served_says(200, "", "line\nline");
	CHECK_INT(foreman_fetch_all(f, SERVED_ID, "content", &text, &len, NULL),
	          FOREMAN_OK);
	CHECK(served_asked(0, "GET /jobs/" SERVED_ID "/artifacts/content"));
	CHECK_INT(len, 9);
	CHECK_STR(text, "line\nline");
	free(text);
	down();
}

static void an_empty_artifact_is_an_empty_text(void)
{
	size_t len = 1;
	char *text = NULL;

	up();
	served_says(200, "", "");
	CHECK_INT(foreman_fetch_all(f, SERVED_ID, "content", &text, &len, NULL),
	          FOREMAN_OK);
	CHECK_INT(len, 0);
	CHECK_STR(text, "");
	free(text);
	CHECK_INT(foreman_fetch_all(f, SERVED_ID, "content", &text, NULL, NULL),
	          FOREMAN_OK);
	free(text);
	down();
}

static void a_name_cannot_lead_elsewhere(void)
{
	static const char *const names[] = { NULL, "",    "../queue", "a/b",
		                                 "A",  "a b", "%2e",      "a?b" };
	char longest[65], *text = NULL;

	up();
	served_says(200, "", "x");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		CHECK_INT(foreman_fetch_all(f, SERVED_ID, names[i], &text, NULL, NULL),
		          FOREMAN_INVALID);
	memset(longest, 'a', sizeof(longest));
	longest[64] = '\0';
	CHECK_INT(foreman_fetch_all(f, SERVED_ID, longest, &text, NULL, NULL),
	          FOREMAN_INVALID);
	CHECK_INT(served_count(), 0);
	longest[63] = '\0';
	CHECK_INT(foreman_fetch_all(f, SERVED_ID, longest, &text, NULL, NULL),
	          FOREMAN_OK);
	free(text);
	down();
}

/* The reply is one of `len` bytes. */
static foreman_code fetch_of(size_t len, size_t *got)
{
	char *body = malloc(len + 1), *text = NULL;
	struct buf b;
	foreman_code code;

	SERVED_MUST(body != NULL);
	memset(body, 'x', len);
	body[len] = '\0';
	buf_init(&b, len + 256);
	SERVED_MUST(
	    !buf_addf(&b, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len));
	SERVED_MUST(!buf_add(&b, body, len));
	free(body);
	up();
	served_says_raw(buf_str(&b));
	buf_done(&b);
	code = foreman_fetch_all(f, SERVED_ID, "response", &text, got, NULL);
	free(text);
	down();
	return code;
}

static void what_is_held_in_one_piece_has_a_bound(void)
{
	size_t len = 0;

	CHECK_INT(fetch_of(FETCH_MAX, &len), FOREMAN_OK);
	CHECK_INT(len, FETCH_MAX);
	CHECK_INT(fetch_of(FETCH_MAX + 1, &len), FOREMAN_INVALID);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(lines_come_whole_however_they_are_cut),
		T(blanks_that_keep_a_connection_are_no_lines),
		T(the_last_line_needs_no_end),
		T(a_callback_stops_at_any_line),
		T(a_stream_that_breaks_is_told),
		T(what_names_nothing_is_not_asked_for),
		T(an_errors_body_is_no_line),
		T(an_artifact_comes_in_one_piece),
		T(an_empty_artifact_is_an_empty_text),
		T(a_name_cannot_lead_elsewhere),
		T(what_is_held_in_one_piece_has_a_bound),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
