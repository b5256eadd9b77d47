/*
 * test_exchange.c - every way an exchange can end, and what is asked; each both
 * in a loop and blocking.
 */
#include <config.h>

#include "http/exchange.h"

#include <fcntl.h>
#include <netinet/tcp.h>

#include "base/sig.h"
#include "core/limits.h"
#include "http/guard.h"
#include "http/hub.h"
#include "peers.h"

/* --- both ways ----------------------------------------------------------- */

enum mode { IN_LOOP, BLOCKING, MODES };

static void run(enum mode mode, const struct xfer_ask *ask, struct client *c)
{
	struct xfer_line *line = NULL;
	struct loop *l = NULL;

	if (mode == BLOCKING) {
		line = xfer_line_new();
		if (!line)
			abort();
		xfer_call(line, ask, &calls, c, &c->result);
		CHECK_INT(c->dones, 0);
	} else {
		if (loop_new(&l))
			abort();
		if (!CHECK(xfer_start(l, ask, &calls, c, &c->x, &c->result.why) ==
		           ERR_OK)) {
			printf("#   %s\n", c->result.why.s);
		} else {
			CHECK_INT(c->heads + c->bodies + c->dones, 0);
			turn_until(l, &c->dones);
		}
		loop_free(l);
	}
	xfer_line_free(line);
}

/* --- ends ---------------------------------------------------------------- */

struct row {
	const char *what;
	const char *method;
	struct script script;
	enum xfer_outcome outcome;
	int status;                /* -1: either is fine */
	const char *body;          /* NULL: not looked at */
	const char *lines;
	int64_t length;
};

static const struct row rows[] = {
	{ "a length", "GET",
	  { SPAN_LIT(OK_HEAD "Content-Length: 5\r\n\r\nhello"), HOLD },
	  XFER_OK, 200, "hello", "Content-Length: 5\n", 5 },
	{ "chunks", "GET",
	  { SPAN_LIT(CHUNKED "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"), HOLD },
	  XFER_OK, 200, "hello!", "", -1 },
	{ "chunks with a trailer, which is not shown", "GET",
	  { SPAN_LIT(CHUNKED "1\r\n!\r\n0\r\nX-Late: 1\r\n\r\n"), HOLD },
	  XFER_OK, 200, "!", "", -1 },
	{ "up to the end of the connection", "GET",
	  { SPAN_LIT(OK_HEAD "\r\nhello"), CLOSE }, XFER_OK, 200, "hello", "", -1 },
	{ "HTTP/1.0", "GET",
	  { SPAN_LIT("HTTP/1.0 200 OK\r\n\r\nhello"), CLOSE },
	  XFER_OK, 200, "hello", "", -1 },
	{ "nothing to say", "GET",
	  { SPAN_LIT("HTTP/1.1 204 No Content\r\n\r\n"), HOLD },
	  XFER_OK, 204, "", "", -1 },
	{ "an error is a reply like any other", "POST",
	  { SPAN_LIT("HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad"), HOLD },
	  XFER_OK, 500, "bad", "Content-Length: 3\n", 3 },
	{ "a redirect is not followed", "GET",
	  { SPAN_LIT("HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\n"
	             "Content-Length: 0\r\n\r\n"), HOLD },
	  XFER_OK, 302, "", "Location: http://127.0.0.1:1/\nContent-Length: 0\n", 0 },
	{ "a wish for a password is not granted", "GET",
	  { SPAN_LIT("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n"
	             "Content-Length: 0\r\n\r\n"), HOLD },
	  XFER_OK, 401, "", "WWW-Authenticate: Basic\nContent-Length: 0\n", 0 },
	{ "HEAD has a length and no body", "HEAD",
	  { SPAN_LIT(OK_HEAD "Content-Length: 12345\r\n\r\n"), HOLD },
	  XFER_OK, 200, "", "Content-Length: 12345\n", 12345 },
	{ "interim replies are not shown", "POST",
	  { SPAN_LIT("HTTP/1.1 100 Continue\r\n\r\n"
	             "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
	             OK_HEAD "X: 1\r\nContent-Length: 1\r\n\r\n."), HOLD },
	  XFER_OK, 200, ".", "X: 1\nContent-Length: 1\n", 1 },
	{ "packed bytes stay packed", "GET",
	  { SPAN_LIT(OK_HEAD "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n"
	             "\x1f\x8b."), HOLD },
	  XFER_OK, 200, "\x1f\x8b.", "Content-Encoding: gzip\nContent-Length: 3\n", 3 },
	{ "headers for this hop only are not shown", "GET",
	  { SPAN_LIT(OK_HEAD "connection: close, X-Hop\r\nKeep-Alive: timeout=5\r\n"
	             "TE: x\r\nTrailer: Y\r\nUpgrade: h2c\r\nProxy-Thing: 1\r\n"
	             "x-hop: 1\r\nX-Stay:1\r\nX-Stay: 2 \r\n\r\n"), CLOSE },
	  XFER_OK, 200, "", "X-Stay: 1\nX-Stay: 2\n", -1 },
	{ "a length beside chunks is not shown", "GET",
	  { SPAN_LIT(OK_HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
	             "1\r\n!\r\n0\r\n\r\n"), HOLD },
	  XFER_OK, 200, "!", "", -1 },
	{ "what is no header is not shown, what is folded is unfolded", "GET",
	  { SPAN_LIT(OK_HEAD ": no name\r\nA b: 1\r\nX: \x1b[1m\r\n"
	             "Y: 1\r\n  2\r\n\r\n"), CLOSE },
	  XFER_OK, 200, "", "Y: 1   2\n", -1 },
	{ "a tab folds as well", "GET",
	  { SPAN_LIT(OK_HEAD "Y: 1\r\n\t2\r\n\r\n"), CLOSE },
	  XFER_OK, 200, "", "Y: 1 \t2\n", -1 },
	{ "a length beyond all is none", "GET",
	  { SPAN_LIT(OK_HEAD "Content-Length: 99999999999999999999\r\n\r\nhello"),
	    CLOSE },
	  XFER_OK, 200, "hello", "Content-Length: 99999999999999999999\n", -1 },
	{ "... nor is one beyond ours", "GET",
	  { SPAN_LIT(OK_HEAD "Content-Length: 9223372036854775808\r\n\r\nhello"),
	    CLOSE },
	  XFER_OK, 200, "hello", "Content-Length: 9223372036854775808\n", -1 },

	{ "chunks without an end", "GET",
	  { SPAN_LIT(CHUNKED "5\r\nhello\r\n"), CLOSE },
	  XFER_LOST, 200, "hello", "", -1 },
	{ "half a chunk", "GET",
	  { SPAN_LIT(CHUNKED "5\r\nhel"), CLOSE }, XFER_LOST, 200, "hel", "", -1 },
	{ "shorter than told", "GET",
	  { SPAN_LIT(OK_HEAD "Content-Length: 6\r\n\r\nhello"), CLOSE },
	  XFER_LOST, 200, "hello", NULL, 6 },
	{ "silence, then the end", "POST",
	  { { NULL, 0 }, CLOSE }, XFER_LOST, 0, "", "", 0 },
	{ "silence, then a reset", "POST",
	  { { NULL, 0 }, RESET }, XFER_LOST, 0, "", "", 0 },
	{ "half a head", "GET",
	  { SPAN_LIT(OK_HEAD "X: 1\r\n"), CLOSE }, XFER_LOST, 0, "", "", 0 },
	{ "only an interim reply", "GET",
	  { SPAN_LIT("HTTP/1.1 100 Continue\r\n\r\n"), CLOSE },
	  XFER_LOST, 0, "", "", 0 },
	{ "a reset amid the body", "GET",
	  { SPAN_LIT(OK_HEAD "Content-Length: 6\r\n\r\nhello"), RESET },
	  XFER_LOST, -1, NULL, NULL, -1 },

	{ "no HTTP at all", "GET",
	  { SPAN_LIT("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), CLOSE },
	  XFER_NONSENSE, 0, "", "", 0 },
	{ "a header without a colon", "GET",
	  { SPAN_LIT(OK_HEAD "no colon\r\n\r\n"), CLOSE },
	  XFER_NONSENSE, 0, "", "", 0 },
	{ "chunks that are none", "GET",
	  { SPAN_LIT(CHUNKED "xyz\r\nhello\r\n"), HOLD },
	  XFER_NONSENSE, 200, "", "", -1 },
	{ "a protocol nobody asked for", "GET",
	  { SPAN_LIT("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nxxx"), HOLD },
	  XFER_NONSENSE, 0, "", "", 0 },
};

static void check_row(const struct row *row, enum mode mode, struct server *s)
{
	struct xfer_ask ask = { .method = row->method, .url = s->url,
		                    .body = SPAN_LIT("{}"), .connect_ms = 5000 };
	struct client c;
	bool was = t_failed;

	if (strcmp(row->method, "POST") != 0)
		ask.body.p = NULL;
	t_failed = false;
	client_init(&c);
	REQUIRE(server_run(s, &row->script));
	run(mode, &ask, &c);
	server_join(s);
	CHECK_INT(c.result.outcome, row->outcome);
	if (row->status >= 0)
		CHECK_INT(c.result.status, row->status);
	CHECK_INT(c.heads, c.result.status != 0);
	if (row->body)
		CHECK_STR(c.body.len ? buf_str(&c.body) : "", row->body);
	if (row->lines && row->status > 0) {
		CHECK_STR(c.lines.len ? buf_str(&c.lines) : "", row->lines);
		CHECK_INT(c.head.content_length, row->length);
		CHECK_INT(c.head.status, row->status);
	}
	CHECK_INT(c.result.why.s[0] != '\0', row->outcome != XFER_OK);
	CHECK(!s->more && !c.result.refused);
	if (t_failed)
		printf("#   %s, %s: %s\n", row->what, mode == BLOCKING ? "blocking" :
		       "in a loop", c.result.why.s);
	t_failed |= was;
	client_done(&c);
}

static void an_exchange_ends_as_its_server_makes_it_end(void)
{
	struct server s;

	REQUIRE(server_listen(&s));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int mode = 0; mode < MODES; mode++)
			check_row(&rows[i], (enum mode)mode, &s);
	server_done(&s);
}

static void a_port_nobody_listens_on_is_unreachable_at_once(void)
{
	struct server s;
	struct xfer_ask ask = { .method = "GET", .url = s.url, .connect_ms = 5000 };
	int taken;

	/* bound, so that nobody else gets it; not listening */
	REQUIRE(server_listen(&s));
	taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	REQUIRE(taken >= 0);
	{
		struct sockaddr_in in = { .sin_family = AF_INET };
		socklen_t len = sizeof(in);

		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		REQUIRE(bind(taken, (struct sockaddr *)&in, sizeof(in)) == 0);
		REQUIRE(getsockname(taken, (struct sockaddr *)&in, &len) == 0);
		snprintf(s.url, sizeof(s.url), "http://127.0.0.1:%d", ntohs(in.sin_port));
	}
	for (int mode = 0; mode < MODES; mode++) {
		struct client c;

		client_init(&c);
		run((enum mode)mode, &ask, &c);
		CHECK_INT(c.result.outcome, XFER_UNREACHABLE);
		CHECK(c.result.refused);
		CHECK(strstr(c.result.why.s, "Connection refused"));
		CHECK_INT(c.heads + c.bodies, 0);
		client_done(&c);
	}
	fd_close(&taken);
	server_done(&s);
}

/* A network there is no way to: no host of it can be asked. */
static void where_no_way_leads_is_unreachable_at_once(void)
{
	const struct xfer_ask ask = { .method = "GET", .url = "http://255.255.255.255/",
		                          .connect_ms = 60000 };

	for (int mode = 0; mode < MODES; mode++) {
		struct client c;

		client_init(&c);
		run((enum mode)mode, &ask, &c);
		CHECK_INT(c.result.outcome, XFER_UNREACHABLE);
		CHECK(c.result.refused);
		client_done(&c);
	}
}

static void a_host_that_takes_no_connection_is_unreachable_in_time(void)
{
	struct server s;
	struct xfer_ask ask = { .method = "GET", .url = s.url, .connect_ms = 100 };
	struct sockaddr_in in;
	socklen_t len = sizeof(in);
	int waiting[16];

	REQUIRE(server_listen(&s));
	REQUIRE(listen(s.listening, 0) == 0);
	REQUIRE(getsockname(s.listening, (struct sockaddr *)&in, &len) == 0);
	for (size_t i = 0; i < ARRAY_LEN(waiting); i++) { /* fill its backlog */
		waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(waiting[i], (struct sockaddr *)&in, sizeof(in));
	}
	for (int mode = 0; mode < MODES; mode++) {
		struct client c;

		client_init(&c);
		run((enum mode)mode, &ask, &c);
		CHECK_INT(c.result.outcome, XFER_UNREACHABLE);
		CHECK(!c.result.refused);
		client_done(&c);
	}
	for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
		fd_close(&waiting[i]);
	server_done(&s);
}

static void a_time_limit_ends_silence_and_only_if_there_is_one(void)
{
	static const struct script scripts[] = {
		{ { NULL, 0 }, HOLD },
		{ SPAN_LIT(OK_HEAD "Content-Length: 6\r\n\r\nhel"), HOLD },
	};
	struct server s;
	struct xfer_ask ask = { .method = "POST", .url = s.url, .connect_ms = 5000,
		                    .total_ms = 50 };

	REQUIRE(server_listen(&s));
	for (int i = 0; i < MODES * 2; i++) {
		struct client c;

		client_init(&c);
		REQUIRE(server_run(&s, &scripts[i / 2]));
		run((enum mode)(i % 2), &ask, &c);
		server_join(&s);
		CHECK_INT(c.result.outcome, XFER_TIMEOUT);
		CHECK_INT(c.result.status, i / 2 ? 200 : 0);
		CHECK(c.result.total_ms >= 50);
		client_done(&c);
	}
	server_done(&s);
}

static void headers_are_taken_up_to_the_limit(void)
{
	static char reply[2 * LIMIT_HEAD];
	const size_t frame = strlen(OK_HEAD "Content-Length: 0\r\nX: \r\n\r\n");
	struct server s;
	struct xfer_ask ask = { .method = "GET", .url = s.url, .connect_ms = 5000 };

	REQUIRE(server_listen(&s));
	for (int over = 0; over < 2; over++)
		for (int mode = 0; mode < MODES; mode++) {
			size_t fill = LIMIT_HEAD - frame + (size_t)over;
			struct client c;
			struct script script = { { reply, 0 }, CLOSE };
			int n = snprintf(reply, sizeof(reply), OK_HEAD
			                 "Content-Length: 0\r\nX: %0*d\r\n\r\n", (int)fill, 0);

			script.reply.len = (size_t)n;
			client_init(&c);
			REQUIRE(server_run(&s, &script));
			run((enum mode)mode, &ask, &c);
			server_join(&s);
			CHECK_INT(script.reply.len, LIMIT_HEAD + over);
			CHECK_INT(c.result.outcome, over ? XFER_NONSENSE : XFER_OK);
			CHECK_INT(c.heads, !over);
			client_done(&c);
		}
	server_done(&s);
}

static void interim_replies_without_end_are_nonsense(void)
{
	static const char one[] = "HTTP/1.1 102 Wait\r\n\r\n";
	struct server s;
	struct xfer_ask ask = { .method = "GET", .url = s.url, .connect_ms = 5000 };
	struct buf many;
	struct script script = { .then = CLOSE };
	struct client c;

	REQUIRE(server_listen(&s));
	buf_init(&many, 1 << 20);
	while (many.len < 2 * LIMIT_HEAD)
		REQUIRE(buf_add_str(&many, one) == ERR_OK);
	script.reply = (struct span){ many.p, many.len };
	client_init(&c);
	REQUIRE(server_run(&s, &script));
	run(IN_LOOP, &ask, &c);
	server_join(&s);
	CHECK_INT(c.result.outcome, XFER_NONSENSE);
	CHECK_INT(c.heads, 0);
	client_done(&c);
	buf_done(&many);
	server_done(&s);
}

static void a_chunk_is_a_call_and_bytes_are_not_touched(void)
{
	struct server s;
	struct xfer_ask ask = { .method = "GET", .url = s.url, .connect_ms = 5000 };
	struct buf reply;
	char all[256];
	struct script script = { .then = HOLD };

	REQUIRE(server_listen(&s));
	buf_init(&reply, 1 << 16);
	REQUIRE(buf_add_str(&reply, CHUNKED) == ERR_OK);
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	for (int i = 0; i < 8; i++) {
		REQUIRE(buf_add_str(&reply, "20\r\n") == ERR_OK);
		REQUIRE(buf_add(&reply, all + 32 * i, 32) == ERR_OK);
		REQUIRE(buf_add_str(&reply, "\r\n") == ERR_OK);
	}
	REQUIRE(buf_add_str(&reply, "0\r\n\r\n") == ERR_OK);
	script.reply = (struct span){ reply.p, reply.len };
	for (int mode = 0; mode < MODES; mode++) {
		struct client c;

		client_init(&c);
		REQUIRE(server_run(&s, &script));
		run((enum mode)mode, &ask, &c);
		server_join(&s);
		CHECK_INT(c.bodies, 8);
		CHECK(c.body.len == 256 && memcmp(c.body.p, all, 256) == 0);
		client_done(&c);
	}
	buf_done(&reply);
	server_done(&s);
}

static void a_content_type_is_told_if_it_fits(void)
{
	struct server s;
	struct xfer_ask ask = { .method = "GET", .url = s.url, .connect_ms = 5000 };

	REQUIRE(server_listen(&s));
	for (int len = 127; len <= 128; len++) {
		char reply[512];
		struct script script = { { reply, 0 }, HOLD };
		struct client c;

		script.reply.len = (size_t)snprintf(
			reply, sizeof(reply), OK_HEAD "Content-Length: 0\r\n"
			"content-TYPE:  %0*d \r\n\r\n", len, 0);
		client_init(&c);
		REQUIRE(server_run(&s, &script));
		run(IN_LOOP, &ask, &c);
		server_join(&s);
		CHECK_INT(strlen(c.head.content_type), len == 127 ? 127 : 0);
		client_done(&c);
	}
	server_done(&s);
}

/* --- requests ------------------------------------------------------------ */

/* Does the server read just that: the first line, Host, the rest? */
static void request_is(const struct xfer_ask *ask, struct server *s,
                       const char *first, const char *rest)
{
	char expected[2048];
	struct client c;

	snprintf(expected, sizeof(expected), "%s HTTP/1.1\r\nHost: %s\r\n%s", first,
	         s->url + strlen("http://"), rest);
	for (int mode = 0; mode < MODES; mode++) {
		client_init(&c);
		if (!server_run(s, &fine))
			abort();
		run((enum mode)mode, ask, &c);
		server_join(s);
		CHECK_INT(c.result.outcome, XFER_OK);
		CHECK_STR(buf_str(&s->request), expected);
		CHECK(!s->more);
		client_done(&c);
	}
}

static void a_request_says_what_was_asked_and_nothing_else(void)
{
	static const char *const headers[] = {
		"Content-Type: application/json", "Accept: text/plain", "X-Id: 1",
		"User-Agent: other/1", NULL
	};
	static const char *const quiet[] = { "User-Agent:", NULL };
	struct server s;
	char url[128];
	struct xfer_ask ask = { .method = "GET", .url = url, .connect_ms = 5000 };

	REQUIRE(server_listen(&s));
	snprintf(url, sizeof(url), "%s/a/../b%%2fc?d=e", s.url);
	request_is(&ask, &s, "GET /a/../b%2fc?d=e",
	           "User-Agent: foreman/" PACKAGE_VERSION "\r\n\r\n");
	ask.headers = quiet;
	request_is(&ask, &s, "GET /a/../b%2fc?d=e", "\r\n");
	snprintf(url, sizeof(url), "%s/", s.url);
	ask = (struct xfer_ask){ .method = "POST", .url = url, .headers = headers,
		                     .body = SPAN_LIT("{\"a\":1}"), .connect_ms = 5000 };
	request_is(&ask, &s, "POST /",
	           "Content-Type: application/json\r\nAccept: text/plain\r\nX-Id: 1\r\n"
	           "User-Agent: other/1\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
	ask.headers = quiet; /* a body without a type has none invented */
	request_is(&ask, &s, "POST /", "Content-Length: 7\r\n\r\n{\"a\":1}");
	ask.body = SPAN_LIT("");
	request_is(&ask, &s, "POST /", "Content-Length: 0\r\n\r\n");
	ask.body.p = NULL;
	request_is(&ask, &s, "POST /", "Content-Length: 0\r\n\r\n");
	ask = (struct xfer_ask){ .method = "DELETE", .url = url, .headers = quiet,
		                     .body = SPAN_LIT("{}"), .connect_ms = 5000 };
	request_is(&ask, &s, "DELETE /", "Content-Length: 2\r\n\r\n{}");
	server_done(&s);
}

static void a_large_body_with_every_byte_arrives_whole(void)
{
	static char body[1500000]; /* libcurl alone would ask leave for over 1 MiB */
	struct server s;
	struct xfer_ask ask = { .method = "POST", .url = s.url, .connect_ms = 5000,
		                    .body = { body, sizeof(body) } };

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)(i * 7 >> 3);
	REQUIRE(server_listen(&s));
	for (int mode = 0; mode < MODES; mode++) {
		struct client c;

		client_init(&c);
		REQUIRE(server_run(&s, &fine));
		run((enum mode)mode, &ask, &c);
		server_join(&s);
		CHECK_INT(c.result.outcome, XFER_OK);
		REQUIRE(s.request.len > sizeof(body));
		CHECK(memcmp(s.request.p + s.request.len - sizeof(body), body,
		             sizeof(body)) == 0);
		CHECK(!memmem(s.request.p, s.request.len, "Expect", 6));
		client_done(&c);
	}
	server_done(&s);
}

/* A body of `left` bytes in pieces, that fails at its end if told to. */
struct source {
	struct client c;           /* first: what the other callbacks get */
	size_t left;
	bool fails;
};

static int64_t on_upload(void *arg, void *to, size_t max)
{
	struct source *s = arg;
	size_t n = s->left < max ? s->left : max;

	if (!s->left && s->fails)
		return -1;
	memset(to, 'u', n);
	s->left -= n;
	return (int64_t)n;
}

static void a_body_that_is_not_held_is_sent_piece_by_piece(void)
{
	enum { SIZE = 3000000 };
	struct xfer_line *line = xfer_line_new();
	struct server s;
	struct source src = { .left = SIZE };
	struct xfer_ask ask = { .method = "DELETE", .url = s.url, .connect_ms = 5000,
		                    .upload = on_upload, .upload_size = SIZE };

	REQUIRE(line && server_listen(&s));
	client_init(&src.c);
	REQUIRE(server_run(&s, &fine));
	xfer_call(line, &ask, &calls, &src, &src.c.result);
	server_join(&s);
	CHECK_INT(src.c.result.outcome, XFER_OK);
	REQUIRE(s.request.len > SIZE);
	CHECK(memcmp(s.request.p, "DELETE ", 7) == 0);
	CHECK(memmem(s.request.p, 500, "Content-Length: 3000000\r\n", 25) != NULL);
	CHECK_INT(s.request.p[s.request.len - SIZE], 'u');
	CHECK_INT(s.request.p[s.request.len - SIZE - 1], '\n');
	client_done(&src.c);
	xfer_line_free(line);
	server_done(&s);
}

static void a_body_of_unknown_length_goes_in_chunks(void)
{
	struct xfer_line *line = xfer_line_new();
	struct server s;
	struct source src = { .left = 5 };
	struct xfer_ask ask = { .method = "POST", .url = s.url, .connect_ms = 5000,
		                    .upload = on_upload, .upload_size = -1 };

	REQUIRE(line && server_listen(&s));
	client_init(&src.c);
	REQUIRE(server_run(&s, &fine));
	xfer_call(line, &ask, &calls, &src, &src.c.result);
	server_join(&s);
	CHECK_INT(src.c.result.outcome, XFER_OK);
	CHECK(strstr(buf_str(&s.request), "\r\nTransfer-Encoding: chunked\r\n"));
	CHECK(strstr(buf_str(&s.request), "\r\n\r\n5\r\nuuuuu\r\n0\r\n\r\n") != NULL);
	CHECK(!strcasestr(buf_str(&s.request), "Content-Length"));
	client_done(&src.c);
	xfer_line_free(line);
	server_done(&s);
}

static void a_body_that_fails_ends_its_exchange(void)
{
	struct xfer_line *line = xfer_line_new();
	struct server s;
	struct source src = { .left = 5, .fails = true };
	struct xfer_ask ask = { .method = "POST", .url = s.url, .connect_ms = 5000,
		                    .upload = on_upload, .upload_size = 10 };

	REQUIRE(line && server_listen(&s));
	client_init(&src.c);
	REQUIRE(server_run(&s, &fine));
	xfer_call(line, &ask, &calls, &src, &src.c.result);
	server_join_idle(&s);
	CHECK_INT(src.c.result.outcome, XFER_STOPPED);
	CHECK_INT(src.c.heads, 0);
	client_done(&src.c);
	xfer_line_free(line);
	server_done(&s);
}

static void header_lines_are_headers_like_the_others(void)
{
	static const char *const headers[] = { "X: 1", NULL };
	struct server s;
	struct xfer_ask ask = { .method = "POST", .url = s.url, .connect_ms = 5000,
		                    .headers = headers, .body = SPAN_LIT("{}"),
		                    .header_lines = SPAN_LIT("Y: 2\nuser-agent: z\n") };

	REQUIRE(server_listen(&s));
	for (int mode = 0; mode < MODES; mode++) {
		struct client c;

		client_init(&c);
		REQUIRE(server_run(&s, &fine));
		run((enum mode)mode, &ask, &c);
		server_join(&s);
		CHECK(strstr(buf_str(&s.request), "\r\nX: 1\r\nY: 2\r\nuser-agent: z\r\n"));
		CHECK(!strstr(buf_str(&s.request), "foreman/"));
		client_done(&c);
	}
	server_done(&s);
}

static void what_cannot_be_asked_is_refused(void)
{
	static const struct {
		const char *url;
		const char *header;
	} bad[] = {
		{ "127.0.0.1:1/", NULL },
		{ "//127.0.0.1:1/", NULL },
		{ "", NULL },
		{ "http://127.0.0.1:99999/", NULL },
		{ "http://127.0.0.1:1/ x", NULL },
		{ "http://127.0.0.1:1/\r\nX: y", NULL },
		{ "http://127.0.0.1:1/", "no colon" },
		{ "http://127.0.0.1:1/", ": no name" },
		{ "http://127.0.0.1:1/", "X: a\r\nY: b" },
		{ "http://127.0.0.1:1/", "X: a\nY: b" },
		{ "http://127.0.0.1:1/", "" },
	};
	struct xfer_line *line = xfer_line_new();
	struct loop *l;

	REQUIRE(line && loop_new(&l) == ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *const headers[] = { bad[i].header, NULL };
		const struct xfer_ask ask = { .method = "GET", .url = bad[i].url,
			                          .headers = headers, .connect_ms = 50 };
		struct xfer_result result;
		struct errtext why = { "" };
		struct xfer *x = NULL;

		if (!CHECK(xfer_start(l, &ask, &calls, NULL, &x, &why) == ERR_INVAL))
			printf("#   row %zu\n", i);
		CHECK(!x && why.s[0]);
		xfer_call(line, &ask, &calls, NULL, &result);
		CHECK_INT(result.outcome, XFER_FAILED);
		CHECK_STR(result.why.s, why.s);
	}
	xfer_line_free(line);
	loop_free(l);
}

static void no_other_protocol_is_spoken(void)
{
	static const char *const urls[] = {
		"file:///etc/hostname", "ftp://127.0.0.1/", "gopher://127.0.0.1/",
		"dict://127.0.0.1/", "ws://127.0.0.1/"
	};

	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		const struct xfer_ask ask = { .method = "GET", .url = urls[i],
			                          .connect_ms = 50 };
		struct xfer_line *line = xfer_line_new();
		struct client c;

		REQUIRE(line);
		client_init(&c);
		xfer_call(line, &ask, &calls, &c, &c.result);
		CHECK_INT(c.result.outcome, XFER_FAILED);
		CHECK_INT(c.heads + c.bodies, 0);
		client_done(&c);
		xfer_line_free(line);
	}
}

/* --- the socket ---------------------------------------------------------- */

static int found_idle, found_interval, found_user_ms, found_alive, found_flags;

/* The client's socket is the one whose peer is the server. */
static bool looks_at_its_socket(void *arg, const struct xfer_head *head)
{
	struct sockaddr_in want, have;
	socklen_t len = sizeof(want);
	const struct server *s = arg;

	(void)head;
	getsockname(s->listening, (struct sockaddr *)&want, &len);
	for (int fd = 3; fd < 256; fd++) {
		len = sizeof(have);
		if (getpeername(fd, (struct sockaddr *)&have, &len) != 0 ||
		    have.sin_family != AF_INET || have.sin_port != want.sin_port)
			continue;
		len = sizeof(int);
		getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &found_alive, &len);
		getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &found_idle, &len);
		getsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &found_interval, &len);
		getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &found_user_ms, &len);
		found_flags = fcntl(fd, F_GETFD);
	}
	return true;
}

static void a_dead_peer_will_be_noticed_by_the_kernel(void)
{
	static const struct xfer_calls looks = { .head = looks_at_its_socket };
	struct xfer_line *line = xfer_line_new();
	struct server s;
	struct xfer_ask ask = { .method = "GET", .url = s.url, .connect_ms = 5000,
		                    .dead_ms = 120000 };
	struct xfer_result result;

	REQUIRE(line && server_listen(&s));
	REQUIRE(server_run(&s, &fine));
	xfer_call(line, &ask, &looks, &s, &result);
	server_join(&s);
	CHECK_INT(result.outcome, XFER_OK);
	CHECK_INT(found_alive, 1);
	CHECK_INT(found_idle, 30);
	CHECK_INT(found_interval, 10);
	CHECK_INT(found_user_ms, 120000);
	CHECK(found_flags & FD_CLOEXEC);
	ask.dead_ms = 1000; /* seconds are the least the kernel takes */
	REQUIRE(server_run(&s, &fine));
	xfer_call(line, &ask, &looks, &s, &result);
	server_join(&s);
	CHECK_INT(found_idle, 1);
	CHECK_INT(found_interval, 1);
	CHECK_INT(found_user_ms, 1000);
	ask.dead_ms = 0;
	REQUIRE(server_run(&s, &fine));
	xfer_call(line, &ask, &looks, &s, &result);
	server_join(&s);
	CHECK_INT(found_alive, 0);
	CHECK_INT(found_user_ms, 0);
	xfer_line_free(line);
	server_done(&s);
}

static void a_guard_denies_before_anything_is_connected(void)
{
	struct server s;
	struct xfer_ask ask = { .method = "POST", .url = s.url, .connect_ms = 5000,
		                    .body = SPAN_LIT("{}") };
	struct guard *closed, *open;

	REQUIRE(server_listen(&s));
	REQUIRE(guard_new("public,lan", "http://127.0.0.2:9", &closed, NULL) == ERR_OK);
	REQUIRE(guard_new("loopback", "http://127.0.0.2:9", &open, NULL) == ERR_OK);
	REQUIRE(fd_nonblock(s.listening, true) == ERR_OK);
	for (int mode = 0; mode < MODES; mode++) {
		struct client c;

		client_init(&c);
		ask.guard = closed;
		run((enum mode)mode, &ask, &c);
		CHECK_INT(c.result.outcome, XFER_DENIED);
		CHECK(strstr(c.result.why.s, "loopback"));
		CHECK_INT(accept4(s.listening, NULL, NULL, SOCK_CLOEXEC), -1);
		CHECK_INT(c.heads + c.bodies, 0);
		client_done(&c);
	}
	REQUIRE(fd_nonblock(s.listening, false) == ERR_OK);
	for (int mode = 0; mode < MODES; mode++) {
		struct client c;

		client_init(&c);
		ask.guard = open;
		REQUIRE(server_run(&s, &fine));
		run((enum mode)mode, &ask, &c);
		server_join(&s);
		CHECK_INT(c.result.outcome, XFER_OK);
		client_done(&c);
	}
	guard_free(closed);
	guard_free(open);
	server_done(&s);
}

static void a_callback_can_stop_its_exchange(void)
{
	struct server s;
	struct xfer_ask ask = { .method = "GET", .url = s.url, .connect_ms = 5000 };

	REQUIRE(server_listen(&s));
	for (int i = 0; i < MODES * 2; i++) {
		struct client c;

		client_init(&c);
		c.stop_at_head = i / 2 == 0;
		c.stop_at_body = i / 2 == 1;
		REQUIRE(server_run(&s, &fine));
		run((enum mode)(i % 2), &ask, &c);
		server_join(&s);
		CHECK_INT(c.result.outcome, XFER_STOPPED);
		CHECK_INT(c.result.status, 200);
		CHECK_INT(c.heads, 1);
		CHECK_INT(c.bodies, i / 2);
		client_done(&c);
	}
	server_done(&s);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_exchange_ends_as_its_server_makes_it_end),
		T(a_port_nobody_listens_on_is_unreachable_at_once),
		T(where_no_way_leads_is_unreachable_at_once),
		T(a_host_that_takes_no_connection_is_unreachable_in_time),
		T(a_time_limit_ends_silence_and_only_if_there_is_one),
		T(headers_are_taken_up_to_the_limit),
		T(interim_replies_without_end_are_nonsense),
		T(a_chunk_is_a_call_and_bytes_are_not_touched),
		T(a_content_type_is_told_if_it_fits),
		T(a_request_says_what_was_asked_and_nothing_else),
		T(a_large_body_with_every_byte_arrives_whole),
		T(a_body_that_is_not_held_is_sent_piece_by_piece),
		T(a_body_of_unknown_length_goes_in_chunks),
		T(a_body_that_fails_ends_its_exchange),
		T(header_lines_are_headers_like_the_others),
		T(what_cannot_be_asked_is_refused),
		T(no_other_protocol_is_spoken),
		T(a_dead_peer_will_be_noticed_by_the_kernel),
		T(a_guard_denies_before_anything_is_connected),
		T(a_callback_can_stop_its_exchange),
	};

	sig_block_all();
	if (xfer_global_init())
		return 1;
	return t_run(cases, ARRAY_LEN(cases));
}
