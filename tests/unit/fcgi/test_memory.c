/*
 * test_memory.c - requests and streams whose every allocation fails once: an
 * error, nothing half said, and nothing left behind (for ASan to find).
 */
#include <config.h>

#include "fcgi/fcgx.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sig.h"
#include "fcgi/stream.h"
#include "starve.h"
#include "t.h"

#define MAX 400000

static const struct span nothing;
static char path[64] = "/tmp/foreman-fcgi-XXXXXX";

/* --- streams ---------------------------------------------------------------- */

/* A whole answer; what failed has queued nothing, and can be said again. */
static enum err answer(void)
{
	static const char bytes[150000]; /* three records */
	struct stream s;
	size_t before;
	enum err e;

	stream_init(&s, -1, 1, MAX);
	e = stream_head(&s, 200, SPAN_LIT("X: 1\n"));
	CHECK(!e || (!s.head_sent && stream_pending(&s) == 0));
	before = stream_pending(&s);
	if (!e) {
		e = stream_write(&s, bytes, sizeof(bytes));
		CHECK(!e || stream_pending(&s) == before);
	}
	before = stream_pending(&s);
	if (!e) {
		e = stream_end(&s);
		CHECK(!e || (!s.ended && stream_pending(&s) == before));
	}
	stream_done(&s);
	return e;
}

static void a_stream_queues_all_of_it_or_nothing(void)
{
	enum err e;
	int failed = 0;

	STARVE_EACH(e = answer())
	{
		CHECK_INT(e, ERR_NOMEM);
		failed++;
	}
	CHECK_INT(e, ERR_OK);
	CHECK(failed > 1);
}

/* --- requests --------------------------------------------------------------- */

static void record(struct buf *b, int type, const char *p, size_t len)
{
	const char head[8] = { 1, (char)type, 0, 1, (char)(len >> 8), (char)len };

	if (buf_add(b, head, sizeof(head)) || buf_add(b, p, len))
		abort();
}

/* A connection with a request, whose body is `body`. */
static int ask(struct span body)
{
	static const char begin[8] = { 0, 1 };
	struct buf b;
	int fd;

	buf_init(&b, 1 << 20);
	record(&b, 1, begin, sizeof(begin));
	record(&b, 4, NULL, 0);
	record(&b, 5, body.p, body.len);
	record(&b, 5, NULL, 0);
	if (fd_connect_unix(path, false, &fd) || fd_write_all(fd, b.p, b.len, 5000) ||
	    shutdown(fd, SHUT_WR))
		abort();
	buf_done(&b);
	return fd;
}

/* Read a body of at most `max` bytes and answer. */
static enum err serve(int listener, size_t max)
{
	struct fcgx *r;
	struct buf b;
	enum err e = fcgx_accept(listener, &r), answered;

	if (e)
		return e;
	buf_init(&b, max);
	e = fcgx_body(r, &b);
	answered = fcgx_reply(r, e ? 500 : 200, "text/plain", nothing, SPAN_LIT("x"));
	fcgx_finish(r);
	buf_done(&b);
	return e ? e : answered;
}

/* As long as there is one to fail, it is an error; a body too large is drained
 * even without the buffer for that. */
static void check_request(struct span body, size_t max, enum err want)
{
	struct errtext why;
	int listener, fd, failed = 0;
	enum err e;

	REQUIRE(fd_listen_unix(path, 4, &listener, &why) == ERR_OK);
	fd = ask(body);
	STARVE_EACH(e = serve(listener, max))
	{
		CHECK(e == ERR_NOMEM || e == want);
		failed += e == ERR_NOMEM;
		close(fd);
		fd = ask(body);
	}
	CHECK_INT(e, want);
	CHECK(failed > 1);
	close(fd);
	close(listener);
	unlink(path);
}

static void a_request_without_memory_is_an_error(void)
{
	check_request(SPAN_LIT("hello"), 100, ERR_OK);
}

static void a_large_body_is_drained_without_memory(void)
{
	static const char large[5000];

	check_request((struct span){ large, sizeof(large) }, 100, ERR_TOOBIG);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_stream_queues_all_of_it_or_nothing),
		T(a_request_without_memory_is_an_error),
		T(a_large_body_is_drained_without_memory),
	};

	sig_block_all();
	if (!mkdtemp(path) || fcgx_init())
		return 1;
	strcat(path, "/s");
	return t_run(cases, ARRAY_LEN(cases));
}
