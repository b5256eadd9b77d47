/*
 * test_stream.c - what a web server reads from a detached request, byte for
 * byte, and what happens when it reads slowly or not at all.
 */
#include <config.h>

#include "fcgi/stream.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "t.h"

#define ID 0x0102
#define MAX 4096

struct pair {
	struct stream s;
	int peer;
};

static bool pair_init(struct pair *p, size_t max)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds))
		return false;
	stream_init(&p->s, fds[0], ID, max);
	p->peer = fds[1];
	return true;
}

static void pair_done(struct pair *p)
{
	stream_done(&p->s);
	fd_close(&p->peer);
}

/* All that has arrived so far. */
static void arrived(const struct pair *p, struct buf *b)
{
	char *to;
	ssize_t n;

	while ((to = buf_reserve(b, 65536)) && (n = read(p->peer, to, 65536)) > 0)
		buf_commit(b, (size_t)n);
}

/* Take records apart: the STDOUT bytes, and whether it ended rightly. */
struct heard {
	struct buf out;
	int records;   /* STDOUT records with content */
	bool closed;   /* the empty STDOUT record */
	bool ended;    /* END_REQUEST, status 0, complete */
	bool wrong;
};

static void hear(const struct buf *raw, struct heard *h)
{
	const unsigned char *p = (const unsigned char *)raw->p;
	size_t left = raw->len;

	*h = (struct heard){ .records = 0 };
	buf_init(&h->out, 1 << 24);
	while (left >= 8) {
		size_t len = (size_t)p[4] << 8 | p[5];

		if (p[0] != 1 || (p[2] << 8 | p[3]) != ID || h->ended ||
		    left < 8 + len + p[6])
			break;
		if (p[1] == 6 && len && !h->closed) {
			h->records++;
			h->wrong |= buf_add(&h->out, p + 8, len) != ERR_OK;
		} else if (p[1] == 6 && !len && !h->closed) {
			h->closed = true;
		} else if (p[1] == 3 && h->closed && len == 8) {
			h->ended = memcmp(p + 8, "\0\0\0\0\0\0\0\0", 8) == 0;
		} else {
			break;
		}
		left -= 8 + len + p[6];
		p += 8 + len + p[6];
	}
	h->wrong |= left != 0;
}

static const char *text(struct heard *h)
{
	return h->out.len ? buf_str(&h->out) : "";
}

static void an_answer_is_a_head_bytes_and_an_end(void)
{
	struct pair p;
	struct buf raw;
	struct heard h;

	REQUIRE(pair_init(&p, MAX));
	buf_init(&raw, 1 << 20);
	CHECK_INT(stream_head(&p.s, 201, SPAN_LIT("Content-Type: text/plain\n"
	                                          "X-One: 1\n")), ERR_OK);
	CHECK(p.s.head_sent);
	CHECK_INT(stream_write(&p.s, "hello ", 6), ERR_OK);
	CHECK_INT(stream_write(&p.s, "you", 3), ERR_OK);
	CHECK_INT(stream_end(&p.s), ERR_OK);
	CHECK(p.s.ended);
	CHECK(stream_pending(&p.s) > 0);
	CHECK_INT(stream_flush(&p.s), ERR_OK);
	CHECK_INT(stream_pending(&p.s), 0);
	arrived(&p, &raw);
	hear(&raw, &h);
	CHECK_STR(text(&h), "Status: 201\r\nContent-Type: text/plain\r\nX-One: 1\r\n"
	          "\r\nhello you");
	CHECK_INT(h.records, 3);
	CHECK(h.closed && h.ended && !h.wrong);
	buf_done(&h.out);
	buf_done(&raw);
	pair_done(&p);
}

static void writing_nothing_does_not_end_the_answer(void)
{
	struct pair p;
	struct buf raw;
	struct heard h;

	REQUIRE(pair_init(&p, MAX));
	buf_init(&raw, 1 << 20);
	CHECK_INT(stream_head(&p.s, 200, (struct span){ NULL, 0 }), ERR_OK);
	CHECK_INT(stream_write(&p.s, NULL, 0), ERR_OK);
	CHECK_INT(stream_flush(&p.s), ERR_OK);
	arrived(&p, &raw);
	hear(&raw, &h);
	CHECK_STR(text(&h), "Status: 200\r\n\r\n");
	CHECK(!h.closed && !h.wrong);
	buf_done(&h.out);
	buf_done(&raw);
	pair_done(&p);
}

static void a_long_write_becomes_several_records(void)
{
	static const size_t sizes[] = { 65534, 65535, 65536, 131070, 131071 };
	static const int records[] = { 1, 1, 2, 2, 3 };
	static char bytes[131071];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 31);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct pair p;
		struct buf raw;
		struct heard h;

		REQUIRE(pair_init(&p, 1 << 20));
		buf_init(&raw, 1 << 20);
		CHECK_INT(stream_head(&p.s, 200, (struct span){ NULL, 0 }), ERR_OK);
		CHECK_INT(stream_write(&p.s, bytes, sizes[i]), ERR_OK);
		while (stream_flush(&p.s) == ERR_AGAIN)
			arrived(&p, &raw);
		arrived(&p, &raw);
		hear(&raw, &h);
		CHECK_INT(h.records, 1 + records[i]);
		CHECK(!h.wrong);
		REQUIRE(h.out.len > sizes[i]);
		CHECK(memcmp(h.out.p + h.out.len - sizes[i], bytes, sizes[i]) == 0);
		buf_done(&h.out);
		buf_done(&raw);
		pair_done(&p);
	}
}

static void what_is_pending_stays_below_max_and_is_refused_whole(void)
{
	static const char bytes[MAX];
	size_t before;
	struct pair p;

	REQUIRE(pair_init(&p, MAX));
	CHECK_INT(stream_head(&p.s, 200, (struct span){ NULL, 0 }), ERR_OK);
	before = stream_pending(&p.s);
	CHECK_INT(stream_write(&p.s, bytes, MAX - before - 8 + 1), ERR_TOOBIG);
	CHECK_INT(stream_write(&p.s, bytes, MAX - 7), ERR_TOOBIG); /* its header */
	CHECK_INT(stream_pending(&p.s), before);
	CHECK_INT(stream_write(&p.s, bytes, MAX - before - 8), ERR_OK);
	CHECK_INT(stream_pending(&p.s), MAX);
	CHECK_INT(stream_write(&p.s, bytes, 1), ERR_TOOBIG);
	CHECK_INT(stream_write(&p.s, bytes, SIZE_MAX), ERR_TOOBIG);
	CHECK_INT(stream_end(&p.s), ERR_OK); /* the end has room of its own */
	CHECK_INT(stream_flush(&p.s), ERR_OK);
	pair_done(&p);
}

static void a_head_may_be_larger_than_max(void)
{
	static char big[STREAM_HEAD_MAX + 1];
	struct span lines = { big, 0 };
	const size_t frame = strlen("Status: 200\r\n") + 2 /* its line end */ + 2;
	struct pair p;

	memset(big, 'v', sizeof(big));
	memcpy(big, "X: ", 3);
	REQUIRE(pair_init(&p, 16));
	lines.len = STREAM_HEAD_MAX - frame + 1;
	CHECK_INT(stream_head(&p.s, 200, lines), ERR_TOOBIG);
	CHECK_INT(stream_pending(&p.s), 0);
	CHECK(!p.s.head_sent);
	lines.len--;
	CHECK_INT(stream_head(&p.s, 200, lines), ERR_OK);
	CHECK_INT(stream_pending(&p.s), 8 + STREAM_HEAD_MAX);
	CHECK_INT(stream_end(&p.s), ERR_OK);
	pair_done(&p);
}

static void lines_that_are_no_headers_are_refused(void)
{
	static const struct span bad[] = {
		SPAN_LIT("no colon\n"),        SPAN_LIT(": no name\n"),
		SPAN_LIT("a b: space\n"),      SPAN_LIT("X: a\r\n"),
		SPAN_LIT("X: a\rY: b\n"),      SPAN_LIT("X: a\0b\n"),
		SPAN_LIT("X: a\n\nbody\n"),    SPAN_LIT("\n"),
		SPAN_LIT("X: \x1b[31m\n"),     SPAN_LIT("X: \x7f\n"),
		SPAN_LIT(" folded: x\n"),      SPAN_LIT("X\t: y\n"),
		SPAN_LIT("token\n"),           SPAN_LIT("{}: x\n"),
	};
	struct pair p;

	REQUIRE(pair_init(&p, MAX));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (!CHECK(stream_head(&p.s, 200, bad[i]) == ERR_INVAL))
			printf("#   row %zu\n", i);
		CHECK_INT(stream_pending(&p.s), 0);
	}
	CHECK_INT(stream_head(&p.s, 200, SPAN_LIT("X: tab\tis fine\xc3\xa4\nY:\n")),
	          ERR_OK);
	pair_done(&p);
}

/* RFC 9110's tchar, and nothing else. */
static void a_name_is_of_token_characters(void)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (int c = 0; c < 256; c++) {
		const char line[] = { 'X', (char)c, 'Y', ':', 'z', '\n' };
		bool token = c && c != ':' &&
		             ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		              (c >= 'A' && c <= 'Z') || strchr(others, c));
		struct buf b;
		enum err e;

		/* after a colon or a newline the rest is something else */
		if (c == ':' || c == '\n')
			continue;
		buf_init(&b, 1000);
		e = stream_head_text(&b, 200, NULL, (struct span){ line, sizeof(line) });
		if (!CHECK(e == (token ? ERR_OK : ERR_INVAL)))
			printf("#   character %d\n", c);
		buf_done(&b);
	}
}

static void a_content_type_has_a_limit(void)
{
	char type[256];
	struct buf b;

	memset(type, 'x', sizeof(type));
	buf_init(&b, 1000);
	type[255 - strlen("Content-Type: ")] = '\0';
	CHECK_INT(stream_head_text(&b, 200, type, (struct span){ 0 }), ERR_OK);
	CHECK(strstr(buf_str(&b), type) != NULL);
	type[255 - strlen("Content-Type: ")] = 'x';
	type[256 - strlen("Content-Type: ")] = '\0';
	CHECK_INT(stream_head_text(&b, 200, type, (struct span){ 0 }), ERR_INVAL);
	CHECK_INT(stream_head_text(&b, 200, "a\nX: b", (struct span){ 0 }), ERR_INVAL);
	buf_done(&b);
}

static void a_head_that_has_no_room_is_refused(void)
{
	static const struct span lines = SPAN_LIT("X-One: 1\nX-Two: 2\n");

	/* none of these is enough, down to the empty line at its end */
	for (size_t max = 0; max < strlen("Status: 200\r\nContent-Type: t\r\n"
	                                  "X-One: 1\r\nX-Two: 2\r\n\r\n");
	     max++) {
		struct buf b;

		buf_init(&b, max);
		CHECK_INT(stream_head_text(&b, 200, "t", lines), ERR_TOOBIG);
		buf_done(&b);
	}
}

static void a_targets_status_line_is_not_passed_on(void)
{
	struct buf b;

	buf_init(&b, 1000);
	CHECK_INT(stream_head_text(&b, 200, "a/b", SPAN_LIT("status: 500\nX: y\n"
	                                                    "STATUS : 1\n")),
	          ERR_INVAL);
	buf_clear(&b);
	CHECK_INT(stream_head_text(&b, 200, "a/b", SPAN_LIT("sTatus: 500\nX: y")),
	          ERR_OK);
	CHECK_STR(buf_str(&b), "Status: 200\r\nContent-Type: a/b\r\nX: y\r\n\r\n");
	buf_clear(&b);
	CHECK_INT(stream_head_text(&b, 200, "a/b\r\nX: y", (struct span){ NULL, 0 }),
	          ERR_INVAL);
	buf_done(&b);
}

static void a_reader_that_stops_leaves_the_rest_pending_then_gets_it(void)
{
	static char bytes[100000];
	struct pair p;
	struct buf raw;
	struct heard h;
	size_t total = 0, pending;
	enum err e;

	REQUIRE(pair_init(&p, 1 << 20));
	buf_init(&raw, 1 << 24);
	CHECK_INT(stream_head(&p.s, 200, (struct span){ NULL, 0 }), ERR_OK);
	do {
		memset(bytes, 'a' + (int)(total / sizeof(bytes)) % 26, sizeof(bytes));
		REQUIRE(stream_write(&p.s, bytes, sizeof(bytes)) == ERR_OK);
		total += sizeof(bytes);
		e = stream_flush(&p.s);
	} while (e == ERR_OK && total < 50 * sizeof(bytes));
	CHECK_INT(e, ERR_AGAIN);
	pending = stream_pending(&p.s);
	CHECK(pending > 0);
	CHECK_INT(stream_flush(&p.s), ERR_AGAIN); /* nobody has read */
	CHECK_INT(stream_pending(&p.s), pending);
	CHECK_INT(stream_end(&p.s), ERR_OK);
	while (stream_flush(&p.s) == ERR_AGAIN)
		arrived(&p, &raw);
	arrived(&p, &raw);
	hear(&raw, &h);
	CHECK(h.ended && !h.wrong);
	REQUIRE(h.out.len == strlen("Status: 200\r\n\r\n") + total);
	for (size_t i = 0; i < total; i += 997)
		REQUIRE(h.out.p[strlen("Status: 200\r\n\r\n") + i] ==
		        'a' + (int)(i / sizeof(bytes)) % 26);
	buf_done(&h.out);
	buf_done(&raw);
	pair_done(&p);
}

static void a_peer_that_left_is_told_without_a_signal(void)
{
	struct pair p;

	REQUIRE(pair_init(&p, MAX));
	fd_close(&p.peer);
	CHECK_INT(stream_flush(&p.s), ERR_OK); /* nothing to say, nothing seen */
	CHECK_INT(stream_head(&p.s, 200, (struct span){ NULL, 0 }), ERR_OK);
	CHECK_INT(stream_flush(&p.s), ERR_CLOSED);
	CHECK_INT(stream_flush(&p.s), ERR_CLOSED);
	pair_done(&p);
}

static void done_closes_the_descriptor(void)
{
	struct pair p;
	char c;

	REQUIRE(pair_init(&p, MAX));
	stream_done(&p.s);
	CHECK_INT(p.s.fd, -1);
	CHECK_INT(read(p.peer, &c, 1), 0);
	pair_done(&p);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_answer_is_a_head_bytes_and_an_end),
		T(writing_nothing_does_not_end_the_answer),
		T(a_long_write_becomes_several_records),
		T(what_is_pending_stays_below_max_and_is_refused_whole),
		T(a_head_may_be_larger_than_max),
		T(lines_that_are_no_headers_are_refused),
		T(a_name_is_of_token_characters),
		T(a_content_type_has_a_limit),
		T(a_head_that_has_no_room_is_refused),
		T(a_targets_status_line_is_not_passed_on),
		T(a_reader_that_stops_leaves_the_rest_pending_then_gets_it),
		T(a_peer_that_left_is_told_without_a_signal),
		T(done_closes_the_descriptor),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
