/*
 * test_fcgx.c - whole, odd and broken FastCGI requests against the one door.
 *
 * The web server's side is played by hand: records are written to a unix
 * socket before (or, if large, while) the request is accepted, and what comes
 * back is read to its end.
 */
#include <config.h>

#include "fcgi/fcgx.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sig.h"
#include "fcgi/stream.h"
#include "t.h"

#define ID 7

enum { BEGIN = 1, ABORT = 2, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6 };

static const struct span nothing;

/* --- the web server's side -------------------------------------------------- */

static int listening = -1;
static struct sockaddr_un address;
static socklen_t address_len;

/* An abstract name of the kernel's choice: no file to clean up. */
static bool listen_somewhere(void)
{
	address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	address_len = sizeof(address);
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return listening >= 0 &&
	       bind(listening, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0 &&
	       getsockname(listening, (struct sockaddr *)&address, &address_len) == 0 &&
	       listen(listening, 16) == 0;
}

static int dial(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, address_len) != 0)
		fd_close(&fd);
	return fd;
}

static void record(struct buf *b, int type, const void *p, size_t len)
{
	const char head[8] = { 1, (char)type, 0, ID, (char)(len >> 8), (char)len,
		                   0, 0 };

	if (buf_add(b, head, 8) || buf_add(b, p, len))
		abort();
}

static void begin_with(struct buf *b, int role, int flags)
{
	const char body[8] = { 0, (char)role, (char)flags };

	record(b, BEGIN, body, sizeof(body));
}

/* Parameters "NAME=value", NULL at the end. */
static void params(struct buf *b, const char *const *list)
{
	struct buf p;

	buf_init(&p, 60000);
	for (; list && *list; list++) {
		const char *eq = strchr(*list, '=');
		size_t name = (size_t)(eq - *list), value = strlen(eq + 1);
		char lens[5] = { (char)name, (char)0x80, (char)(value >> 16),
			             (char)(value >> 8), (char)value };

		if (buf_add(&p, lens, 5) || buf_add(&p, *list, name) ||
		    buf_add(&p, eq + 1, value))
			abort();
	}
	if (p.len)
		record(b, PARAMS, p.p, p.len);
	record(b, PARAMS, NULL, 0);
	buf_done(&p);
}

struct ask {
	const char *const *params;
	const char *body;      /* sent in two records if it has two bytes */
	size_t body_len;
	bool cut;              /* no end of STDIN */
	bool abort;
};

static void encode(struct buf *b, const struct ask *ask)
{
	size_t half = ask->body_len / 2;

	begin_with(b, 1, 0);
	params(b, ask->params);
	if (half)
		record(b, STDIN, ask->body, half);
	if (ask->body_len > half)
		record(b, STDIN, ask->body + half, ask->body_len - half);
	if (ask->abort)
		record(b, ABORT, NULL, 0);
	else if (!ask->cut)
		record(b, STDIN, NULL, 0);
}

/* Send raw bytes on a new connection; nothing will follow them. */
static int send_raw(const struct buf *b)
{
	int fd = dial();

	if (fd < 0 || fd_write_all(fd, b->p, b->len, 5000) ||
	    shutdown(fd, SHUT_WR) != 0)
		abort();
	return fd;
}

static int send_ask(const struct ask *ask)
{
	struct buf b;
	int fd;

	buf_init(&b, 1 << 20);
	encode(&b, ask);
	fd = send_raw(&b);
	buf_done(&b);
	return fd;
}

/* Everything that comes until the connection is closed: the STDOUT bytes;
 * *ended: END_REQUEST came last. Closes the connection. */
static void hear(int *fd, struct buf *out, bool *ended)
{
	struct buf raw;
	const unsigned char *p;
	size_t left;
	ssize_t n;
	char *to;

	buf_init(&raw, 1 << 20);
	buf_clear(out);
	*ended = false;
	while ((to = buf_reserve(&raw, 4096)) && (n = read(*fd, to, 4096)) > 0)
		buf_commit(&raw, (size_t)n);
	for (p = (const unsigned char *)raw.p, left = raw.len; left >= 8;) {
		size_t len = (size_t)p[4] << 8 | p[5], whole = 8 + len + p[6];

		if (left < whole || p[3] != ID || *ended)
			break;
		if (p[1] == STDOUT && buf_add(out, p + 8, len))
			break;
		*ended = p[1] == END;
		p += whole;
		left -= whole;
	}
	*ended = *ended && left == 0;
	buf_done(&raw);
	fd_close(fd);
}

/* --- cases ------------------------------------------------------------------ */

static const char *const post[] = {
	"REQUEST_METHOD=POST", "PATH_INFO=/api/chat", "CONTENT_LENGTH=11",
	"HTTP_PREFER=", NULL
};

static void an_empty_line_is_an_answer(void)
{
	struct fcgx *r = NULL;

	CHECK_INT(fcgx_accept(listening, &r), ERR_AGAIN);
	CHECK(!r);
}

static void a_request_is_read_and_answered(void)
{
	const struct ask ask = { post, "hello world", 11, false, false };
	struct fcgx *r;
	struct buf b;
	bool ended;
	int fd = send_ask(&ask);

	buf_init(&b, 1000);
	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	CHECK_STR(fcgx_param(r, "PATH_INFO"), "/api/chat");
	CHECK_STR(fcgx_param(r, "HTTP_PREFER"), "");
	CHECK_STR(fcgx_param(r, "PATH_INF"), NULL);
	CHECK_STR(fcgx_param(r, "HTTP_ACCEPT"), NULL);
	CHECK_INT(fcgx_body(r, &b), ERR_OK);
	CHECK_STR(buf_str(&b), "hello world");
	CHECK_INT(fcgx_reply(r, 200, "application/json", SPAN_LIT("X-A: 1\n"),
	                     SPAN_LIT("{}")), ERR_OK);
	fcgx_finish(r);
	hear(&fd, &b, &ended);
	CHECK(ended);
	CHECK_STR(buf_str(&b), "Status: 200\r\nContent-Type: application/json\r\n"
	          "Content-Length: 2\r\nX-A: 1\r\n\r\n{}");
	buf_done(&b);
}

/* Read in pieces of `max`; the bytes, or "!" where it was cut short. */
static const char *read_pieces(const struct ask *ask, size_t max)
{
	static char text[64];
	struct fcgx *r;
	size_t len = 0, got = 1;
	int fd = send_ask(ask);
	enum err e = ERR_OK;

	if (fcgx_accept(listening, &r))
		abort();
	while (!e && got) {
		e = fcgx_read(r, text + len, max, &got);
		len += e ? 0 : got;
	}
	text[len] = '\0';
	fcgx_finish(r);
	fd_close(&fd);
	return e ? "!" : text;
}

static void a_body_can_be_read_in_pieces(void)
{
	static const char *const chunked[] = { "REQUEST_METHOD=POST",
		                                   "CONTENT_LENGTH=-1", NULL };
	static const char *const longer[] = { "REQUEST_METHOD=POST",
		                                  "CONTENT_LENGTH=12", NULL };
	const struct ask whole = { post, "hello world", 11, false, false };

	for (size_t max = 1; max <= 12; max++)
		CHECK_STR(read_pieces(&whole, max), "hello world");
	CHECK_STR(read_pieces(&(struct ask){ chunked, "hello", 5, false, false }, 4),
	          "hello");
	CHECK_STR(read_pieces(&(struct ask){ chunked, "", 0, false, false }, 4), "");
	CHECK_STR(read_pieces(&(struct ask){ post, "hello", 5, true, false }, 4), "!");
	CHECK_STR(read_pieces(&(struct ask){ post, "hello", 5, false, true }, 4), "!");
	CHECK_STR(read_pieces(&(struct ask){ longer, whole.body, 11, false, false }, 4),
	          "!");
}

static void the_length_is_known_or_not(void)
{
	static const struct {
		const char *param;
		int64_t want;
	} rows[] = { { "CONTENT_LENGTH=11", 11 }, { "CONTENT_LENGTH=0", 0 },
		         { "CONTENT_LENGTH=-1", -1 }, { "CONTENT_LENGTH=", -1 },
		         { "X=1", -1 }, { "CONTENT_LENGTH=18446744073709551615", -1 } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *const params[] = { "REQUEST_METHOD=POST", rows[i].param, NULL };
		int fd = send_ask(&(struct ask){ params, "", 0, false, false });
		struct fcgx *r;

		REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
		CHECK_INT(fcgx_length(r), rows[i].want);
		fcgx_finish(r);
		fd_close(&fd);
	}
}

static void requests_wait_their_turn_in_the_backlog(void)
{
	const struct ask ask = { post, "hello world", 11, false, false };
	int a = send_ask(&ask), b = send_ask(&ask);
	struct fcgx *r, *s;

	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	REQUIRE(fcgx_accept(listening, &s) == ERR_OK);
	fcgx_finish(r);
	fcgx_finish(s);
	CHECK_INT(fcgx_accept(listening, &r), ERR_AGAIN);
	fd_close(&a);
	fd_close(&b);
}

static void a_request_without_parameters_has_none(void)
{
	const struct ask ask = { NULL, NULL, 0, false, false };
	int fd = send_ask(&ask);
	struct fcgx *r;
	struct buf b;

	buf_init(&b, 10);
	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	CHECK_STR(fcgx_param(r, "REQUEST_METHOD"), NULL);
	CHECK_INT(fcgx_body(r, &b), ERR_OK);
	CHECK_INT(b.len, 0);
	fcgx_finish(r);
	fd_close(&fd);
	buf_done(&b);
}

/* One row: bytes that are no whole request. */
static void refused(const char *what, const struct buf *b)
{
	struct fcgx *r;
	int fd = send_raw(b);
	char c;

	if (!CHECK(fcgx_accept(listening, &r) == ERR_CLOSED))
		printf("#   %s\n", what);
	if (!CHECK(read(fd, &c, 1) <= 0)) /* closed, nothing was said */
		printf("#   %s\n", what);
	fd_close(&fd);
}

static void what_is_no_whole_request_is_closed(void)
{
	struct buf b;
	size_t whole;

	buf_init(&b, 100000);
	refused("nothing", &b);
	CHECK_INT(buf_add_str(&b, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), ERR_OK);
	refused("HTTP", &b);

	buf_clear(&b);
	begin_with(&b, 9, 0);
	params(&b, post);
	refused("no such role", &b);

	buf_clear(&b);
	params(&b, post);
	refused("no beginning", &b);

	buf_clear(&b);
	begin_with(&b, 1, 0);
	record(&b, STDIN, NULL, 0);
	refused("body before parameters", &b);

	buf_clear(&b);
	begin_with(&b, 1, 0);
	record(&b, PARAMS, "\x05\x7f" "short", 7);
	record(&b, PARAMS, NULL, 0);
	refused("a parameter longer than its stream", &b);

	buf_clear(&b);
	begin_with(&b, 1, 0);
	params(&b, post);
	whole = b.len;
	for (size_t cut = 1; cut < whole; cut += 5) {
		b.len = cut;
		refused("cut short", &b);
	}
	buf_done(&b);
	CHECK_INT(fcgx_accept(listening, &(struct fcgx *){ NULL }), ERR_AGAIN);
}

static void a_peer_that_says_nothing_is_not_waited_for_for_ever(void)
{
	struct fcgx *r;
	int fd = dial();

	REQUIRE(fd >= 0);
	CHECK_INT(fcgx_accept(listening, &r), ERR_CLOSED);
	fd_close(&fd);
}

struct body_row {
	const char *what;
	const char *length;    /* CONTENT_LENGTH, NULL: no such parameter */
	size_t sent, max;
	bool cut, abort;
	enum err want;
};

static const struct body_row bodies[] = {
	{ "empty", "0", 0, 100, false, false, ERR_OK },
	{ "empty, length empty", "", 0, 100, false, false, ERR_OK },
	{ "one byte", "1", 1, 100, false, false, ERR_OK },
	{ "length not told", NULL, 50, 100, false, false, ERR_OK },
	{ "length unknown", "-1", 50, 100, false, false, ERR_OK },
	{ "length no number", "5x", 50, 100, false, false, ERR_OK },
	{ "just as large as allowed", "100", 100, 100, false, false, ERR_OK },
	{ "one too many", "101", 101, 100, false, false, ERR_TOOBIG },
	{ "one too many, length unknown", "-1", 101, 100, false, false, ERR_TOOBIG },
	{ "much too many", "40000", 40000, 100, false, false, ERR_TOOBIG },
	{ "nothing allowed, nothing sent", "0", 0, 0, false, false, ERR_OK },
	{ "nothing allowed", "1", 1, 0, false, false, ERR_TOOBIG },
	{ "over two steps", "70000", 70000, 70000, false, false, ERR_OK },
	{ "exactly a step", "65536", 65536, 100000, false, false, ERR_OK },
	{ "shorter than told", "51", 50, 100, false, false, ERR_CLOSED },
	{ "longer than told", "49", 50, 100, false, false, ERR_CLOSED },
	{ "too large, shorter than told", "102", 101, 100, false, false, ERR_CLOSED },
	{ "cut short", "50", 50, 100, true, false, ERR_CLOSED },
	{ "cut short before its first byte", "-1", 0, 100, true, false, ERR_CLOSED },
	{ "cut short beyond the bound", "-1", 40000, 100, true, false, ERR_CLOSED },
	{ "aborted", "50", 50, 100, false, true, ERR_CLOSED },
};

static void a_body_is_whole_or_it_is_an_error(void)
{
	static char bytes[70000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7);
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		const struct body_row *row = &bodies[i];
		char length[32];
		const char *list[] = { row->length ? length : NULL, NULL };
		const struct ask ask = { list, bytes, row->sent, row->cut, row->abort };
		struct fcgx *r;
		struct buf b;
		int fd;

		if (row->length)
			snprintf(length, sizeof(length), "CONTENT_LENGTH=%s", row->length);
		fd = send_ask(&ask);
		buf_init(&b, row->max);
		REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
		if (!CHECK(fcgx_body(r, &b) == row->want))
			printf("#   %s\n", row->what);
		if (row->want == ERR_OK)
			CHECK(b.len == row->sent &&
			      (!b.len || memcmp(b.p, bytes, b.len) == 0));
		fcgx_finish(r);
		fd_close(&fd);
		buf_done(&b);
	}
}

#define HUGE_BYTES (4 * 1024 * 1024)

static void *send_huge(void *arg)
{
	static char bytes[32768];
	struct buf b;
	int fd = *(int *)arg;

	buf_init(&b, 2 * HUGE_BYTES);
	begin_with(&b, 1, 0);
	params(&b, NULL);
	for (size_t n = 0; n < HUGE_BYTES; n += sizeof(bytes))
		record(&b, STDIN, bytes, sizeof(bytes));
	record(&b, STDIN, NULL, 0);
	/* as Caddy does: all of it, before a byte of the answer is read */
	if (fd_write_all(fd, b.p, b.len, 10000) || shutdown(fd, SHUT_WR) != 0)
		abort();
	buf_done(&b);
	return NULL;
}

static void a_body_far_too_large_still_gets_its_answer(void)
{
	struct fcgx *r;
	struct buf b;
	pthread_t thread;
	bool ended;
	int fd = dial();

	REQUIRE(fd >= 0);
	REQUIRE(pthread_create(&thread, NULL, send_huge, &fd) == 0);
	buf_init(&b, 1000);
	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	CHECK_INT(fcgx_body(r, &b), ERR_TOOBIG);
	CHECK_INT(fcgx_reply(r, 413, "text/plain", nothing, SPAN_LIT("no")), ERR_OK);
	REQUIRE(pthread_join(thread, NULL) == 0);
	fcgx_finish(r);
	hear(&fd, &b, &ended);
	CHECK(ended && b.len);
	CHECK(strncmp(buf_str(&b), "Status: 413\r\n", 13) == 0);
	buf_done(&b);
}

static void a_head_request_gets_the_length_and_no_body(void)
{
	static const char *const list[] = { "REQUEST_METHOD=HEAD", NULL };
	const struct ask ask = { list, NULL, 0, false, false };
	struct fcgx *r;
	struct buf b;
	bool ended;
	int fd = send_ask(&ask);

	buf_init(&b, 1000);
	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	CHECK_INT(fcgx_body(r, &b), ERR_OK);
	CHECK_INT(fcgx_reply(r, 200, "text/plain", nothing, SPAN_LIT("12345")), ERR_OK);
	fcgx_finish(r);
	hear(&fd, &b, &ended);
	CHECK(ended);
	CHECK_STR(buf_str(&b), "Status: 200\r\nContent-Type: text/plain\r\n"
	          "Content-Length: 5\r\n\r\n");
	buf_done(&b);
}

static void an_answer_without_content_has_no_length(void)
{
	const struct ask ask = { NULL, NULL, 0, false, false };
	static const int codes[] = { 204, 304 };
	struct fcgx *r;
	struct buf b;
	bool ended;

	buf_init(&b, 1000);
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		int fd = send_ask(&ask);
		char want[32];

		REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
		CHECK_INT(fcgx_reply(r, codes[i], NULL, nothing, nothing), ERR_OK);
		fcgx_finish(r);
		hear(&fd, &b, &ended);
		snprintf(want, sizeof(want), "Status: %d\r\n\r\n", codes[i]);
		CHECK_STR(buf_str(&b), want);
	}
	buf_done(&b);
}

static void the_head_travels_with_the_first_write_and_each_write_at_once(void)
{
	const struct ask ask = { NULL, NULL, 0, false, false };
	struct fcgx *r;
	char got[200];
	ssize_t n;
	int fd = send_ask(&ask);

	REQUIRE(fd_nonblock(fd, true) == ERR_OK);
	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	CHECK_INT(fcgx_head(r, 200, "a/b", nothing), ERR_OK);
	CHECK_INT(read(fd, got, sizeof(got)), -1);
	CHECK_INT(fcgx_write(r, NULL, 0), ERR_OK);
	n = read(fd, got, sizeof(got));
	REQUIRE(n > 8);
	CHECK(memcmp(got + 8, "Status: 200\r\n", 13) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(fcgx_write(r, "line\n", 5), ERR_OK);
		n = read(fd, got, sizeof(got));
		REQUIRE(n == 16); /* one record, padded by the library */
		CHECK(memcmp(got + 8, "line\n", 5) == 0);
	}
	fcgx_finish(r);
	fd_close(&fd);
}

static void what_is_added_leaves_with_the_end(void)
{
	const struct ask ask = { NULL, NULL, 0, false, false };
	struct fcgx *r;
	struct buf b;
	bool ended;
	int fd = send_ask(&ask);
	char byte;

	buf_init(&b, 1000);
	REQUIRE(fd_nonblock(fd, true) == ERR_OK);
	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	CHECK_INT(fcgx_head(r, 200, NULL, nothing), ERR_OK);
	CHECK_INT(fcgx_add(r, "{", 1), ERR_OK);
	CHECK_INT(fcgx_add(r, "}", 1), ERR_OK);
	CHECK_INT(read(fd, &byte, 1), -1);
	REQUIRE(fd_nonblock(fd, false) == ERR_OK);
	fcgx_finish(r);
	hear(&fd, &b, &ended);
	CHECK(ended);
	CHECK_STR(buf_str(&b), "Status: 200\r\n\r\n{}");
	buf_done(&b);
}

static void a_bad_header_line_is_refused_before_anything_is_said(void)
{
	const struct ask ask = { NULL, NULL, 0, false, false };
	struct fcgx *r;
	struct buf b;
	bool ended;
	int fd = send_ask(&ask);

	buf_init(&b, 1000);
	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	CHECK_INT(fcgx_head(r, 200, "a/b", SPAN_LIT("X: a\r\n\r\nevil\n")), ERR_INVAL);
	CHECK_INT(fcgx_head(r, 200, "a/b\r\nX: y", nothing), ERR_INVAL);
	CHECK_INT(fcgx_reply(r, 500, NULL, nothing, SPAN_LIT("x")), ERR_OK);
	fcgx_finish(r);
	hear(&fd, &b, &ended);
	CHECK_STR(buf_str(&b), "Status: 500\r\nContent-Length: 1\r\n\r\nx");
	buf_done(&b);
}

static void a_peer_that_left_is_noticed_when_written_to(void)
{
	const struct ask ask = { NULL, NULL, 0, false, false };
	struct fcgx *r;
	int fd = send_ask(&ask);

	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	fd_close(&fd);
	CHECK_INT(fcgx_head(r, 200, NULL, nothing), ERR_OK); /* leaves with the first */
	CHECK_INT(fcgx_write(r, "x", 1), ERR_CLOSED);
	CHECK_INT(fcgx_write(r, NULL, 0), ERR_CLOSED);
	fcgx_finish(r);
}

static void a_peer_that_wants_to_keep_the_connection_may_not(void)
{
	struct fcgx *r;
	struct buf b;
	bool ended;
	int fd;

	buf_init(&b, 1000);
	begin_with(&b, 1, 1); /* FCGI_KEEP_CONN */
	params(&b, NULL);
	record(&b, STDIN, NULL, 0);
	fd = send_raw(&b);
	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	CHECK_INT(fcgx_reply(r, 204, NULL, nothing, nothing), ERR_OK);
	fcgx_finish(r);
	hear(&fd, &b, &ended); /* would wait for ever */
	CHECK(ended);
	buf_done(&b);
}

static void a_detached_request_is_a_bare_connection(void)
{
	const struct ask ask = { post, "hello world", 11, false, false };
	struct stream s;
	struct fcgx *r;
	struct buf b;
	bool ended;
	int fd = send_ask(&ask), bare = -1, id = 0;

	buf_init(&b, 1000);
	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	CHECK_INT(fcgx_body(r, &b), ERR_OK);
	REQUIRE(fcgx_detach(r, &bare, &id) == ERR_OK);
	CHECK_INT(id, ID);
	CHECK(fcntl(bare, F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(bare, F_GETFD) & FD_CLOEXEC);
	stream_init(&s, bare, id, 1000);
	CHECK_INT(stream_head(&s, 200, nothing), ERR_OK);
	CHECK_INT(stream_write(&s, "x", 1), ERR_OK);
	CHECK_INT(stream_end(&s), ERR_OK);
	CHECK_INT(stream_flush(&s), ERR_OK);
	stream_done(&s);
	hear(&fd, &b, &ended);
	CHECK(ended);
	CHECK_STR(buf_str(&b), "Status: 200\r\n\r\nx");
	buf_done(&b);
}

/* FOREMAN_SOCKET may be an address. */
static void tcp_is_served_without_delay(void)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET,
		                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
		                       .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr *const places[] = { (struct sockaddr *)&v4,
		                                (struct sockaddr *)&v6 };
	const socklen_t sizes[] = { sizeof(v4), sizeof(v6) };

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		int l = socket(places[i]->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int fd = socket(places[i]->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int accepted = -1, id, prompt = 0;
		socklen_t size = sizes[i];
		struct fcgx *r;
		struct buf b;

		/* a machine may have no IPv6 */
		if (bind(l, places[i], size) == 0) {
			REQUIRE(getsockname(l, places[i], &size) == 0 && listen(l, 1) == 0);
			REQUIRE(connect(fd, places[i], size) == 0);
			buf_init(&b, 1000);
			begin_with(&b, 1, 0);
			params(&b, NULL);
			record(&b, STDIN, NULL, 0);
			REQUIRE(fd_write_all(fd, b.p, b.len, 5000) == ERR_OK);
			buf_done(&b);
			REQUIRE(fcgx_accept(l, &r) == ERR_OK);
			REQUIRE(fcgx_detach(r, &accepted, &id) == ERR_OK);
			size = sizeof(prompt);
			CHECK(getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &prompt, &size) ==
			      0);
			CHECK(prompt);
		} else {
			CHECK(i > 0);
		}
		fd_close(&accepted);
		close(fd);
		close(l);
	}
}

static void what_does_not_listen_is_an_error(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct fcgx *r;

	CHECK_INT(fcgx_accept(fd, &r), ERR_IO);
	close(fd);
	CHECK_INT(fcgx_accept(fd, &r), ERR_IO);
	fcgx_finish(NULL);
}

static void an_answer_whose_head_is_too_large_is_refused_whole(void)
{
	static char line[STREAM_HEAD_MAX + 16];
	static const size_t sizes[] = { STREAM_HEAD_MAX + 1, STREAM_HEAD_MAX - 8 };
	const struct ask ask = { post, NULL, 0, false, false };

	memset(line, 'x', sizeof(line));
	line[1] = ':';
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct fcgx *r;
		struct buf b;
		bool ended;
		int fd = send_ask(&ask);

		buf_init(&b, 1000);
		line[sizes[i] - 1] = '\n';
		REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
		CHECK_INT(fcgx_reply(r, 200, NULL, (struct span){ line, sizes[i] },
		                     SPAN_LIT("x")), ERR_TOOBIG);
		CHECK_INT(fcgx_reply(r, 500, NULL, nothing, SPAN_LIT("y")), ERR_OK);
		fcgx_finish(r);
		hear(&fd, &b, &ended);
		CHECK_STR(buf_str(&b), "Status: 500\r\nContent-Length: 1\r\n\r\ny");
		buf_done(&b);
		line[sizes[i] - 1] = 'x';
	}
}

static void what_is_added_to_a_head_request_is_dropped(void)
{
	static const char *const head[] = { "REQUEST_METHOD=HEAD", NULL };
	const struct ask ask = { head, NULL, 0, false, false };
	struct fcgx *r;
	struct buf b;
	bool ended;
	int fd = send_ask(&ask);

	buf_init(&b, 1000);
	REQUIRE(fcgx_accept(listening, &r) == ERR_OK);
	CHECK_INT(fcgx_head(r, 200, "text/plain", nothing), ERR_OK);
	CHECK_INT(fcgx_add(r, "abc", 3), ERR_OK);
	CHECK_INT(fcgx_write(r, "def", 3), ERR_OK);
	fcgx_finish(r);
	hear(&fd, &b, &ended);
	CHECK_STR(buf_str(&b), "Status: 200\r\nContent-Type: text/plain\r\n\r\n");
	CHECK(ended);
	buf_done(&b);
}

static void the_library_leaves_no_signal_handlers(void)
{
	static const int taken[] = { SIGPIPE, SIGTERM, SIGUSR1 };

	for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
		struct sigaction now;

		REQUIRE(sigaction(taken[i], NULL, &now) == 0);
		CHECK(now.sa_handler == (taken[i] == SIGPIPE ? SIG_IGN : SIG_DFL));
	}
	CHECK_STR(getenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT"), "200");
}

int main(void)
{
	static const struct t_case cases[] = {
		T(tcp_is_served_without_delay),
		T(what_does_not_listen_is_an_error),
		T(an_answer_whose_head_is_too_large_is_refused_whole),
		T(what_is_added_to_a_head_request_is_dropped),
		T(the_library_leaves_no_signal_handlers),
		T(an_empty_line_is_an_answer),
		T(a_request_is_read_and_answered),
		T(a_body_can_be_read_in_pieces),
		T(the_length_is_known_or_not),
		T(requests_wait_their_turn_in_the_backlog),
		T(a_request_without_parameters_has_none),
		T(what_is_no_whole_request_is_closed),
		T(a_peer_that_says_nothing_is_not_waited_for_for_ever),
		T(a_body_is_whole_or_it_is_an_error),
		T(a_body_far_too_large_still_gets_its_answer),
		T(a_head_request_gets_the_length_and_no_body),
		T(an_answer_without_content_has_no_length),
		T(the_head_travels_with_the_first_write_and_each_write_at_once),
		T(what_is_added_leaves_with_the_end),
		T(a_bad_header_line_is_refused_before_anything_is_said),
		T(a_peer_that_left_is_noticed_when_written_to),
		T(a_peer_that_wants_to_keep_the_connection_may_not),
		T(a_detached_request_is_a_bare_connection),
	};

	sig_block_all();
	if (fcgx_init() || !listen_somewhere())
		return 1;
	return t_run(cases, ARRAY_LEN(cases));
}
