/*
 * test_xfer.c - a line: one blocking exchange after the other, and the
 * connection it keeps in between.
 */
#include <config.h>

#include "http/xfer.h"

#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/sig.h"
#include "core/limits.h"
#include "peers.h"

static void a_line_asks_again_on_a_fresh_connection(void)
{
	struct xfer_line *line = xfer_line_new();
	struct server s;
	struct xfer_ask ask = {
		.method = "POST", .url = s.url, .connect_ms = 5000, .body = SPAN_LIT("{}")
	};

	REQUIRE(line && server_listen(&s));
	for (int i = 0; i < 3; i++) {
		struct client c;

		client_init(&c);
		/* the first keeps its connection open until the client closes it */
		REQUIRE(server_run(&s, &fine));
		xfer_call(line, &ask, &calls, &c, &c.result);
		server_join(&s);
		CHECK(!s.more);
		CHECK_INT(c.result.outcome, XFER_OK);
		CHECK_INT(c.heads, 1);
		client_done(&c);
		ask.method = i ? "POST" : "HEAD"; /* nothing sticks from one to the next */
		ask.body = i ? SPAN_LIT("{}") : (struct span){ NULL, 0 };
	}
	xfer_line_free(line);
	server_done(&s);
}

/* --- kept connections ---------------------------------------------------- */

/* What becomes of one connection: so many requests are answered, and then … */
enum parting {
	STAYS,    /* until the client closes */
	HANGS_UP, /* at once, with nothing asked */
	RESETS,   /* one more request is read, and answered by a reset */
	MUMBLES,  /* … by half a head */
};

struct visit {
	int answers;
	enum parting parting;
};

struct host {
	struct server server; /* its port; its thread is not used */
	pthread_t thread;
	const struct visit *visits;
	int count;
	int parted;  /* an eventfd: counts visits that are over */
	int heard;   /* requests */
	bool closes; /* the port, before the last visit's parting */
};

static void hear(struct host *h, int fd)
{
	struct buf *b = &h->server.request;
	char bytes[4096];
	ssize_t n = 1;

	buf_clear(b);
	while (n > 0 && (!whole(b) || b->len < whole(b))) {
		n = read(fd, bytes, sizeof(bytes));
		if (n > 0 && buf_add(b, bytes, (size_t)n))
			abort();
	}
	h->heard += n > 0;
}

static void part(int fd, enum parting how)
{
	static const char half[] = OK_HEAD "Content-";
	char byte;

	if (how == STAYS && read(fd, &byte, 1) > 0)
		abort();
	if (how == MUMBLES && send(fd, half, strlen(half), MSG_NOSIGNAL) < 0)
		abort();
	if (how == RESETS)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 },
		           sizeof(struct linger));
}

static void *host_main(void *arg)
{
	struct host *h = arg;

	for (int i = 0; i < h->count; i++) {
		const struct visit *v = &h->visits[i];
		int fd = accept4(h->server.listening, NULL, NULL, SOCK_CLOEXEC);

		for (int n = 0; n < v->answers; n++) {
			hear(h, fd);
			if (send(fd, fine.reply.p, fine.reply.len, MSG_NOSIGNAL) < 0)
				abort();
		}
		if (v->parting == RESETS || v->parting == MUMBLES)
			hear(h, fd);
		if (h->closes && i == h->count - 1)
			fd_close(&h->server.listening);
		part(fd, v->parting);
		fd_close(&fd);
		(void)!eventfd_write(h->parted, 1);
	}
	return NULL;
}

static bool host_up(struct host *h, const struct visit *visits, int count)
{
	*h = (struct host){ .visits = visits, .count = count };
	h->parted = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	return h->parted >= 0 && server_listen(&h->server);
}

static bool host_opens(struct host *h)
{
	return pthread_create(&h->thread, NULL, host_main, h) == 0;
}

/* Wait until one more visit is over. */
static void host_parted(struct host *h)
{
	eventfd_t n;

	if (eventfd_read(h->parted, &n) != 0)
		abort();
}

/* All visits are over; nobody may stand at the door. */
static void host_down(struct host *h)
{
	pthread_join(h->thread, NULL);
	if (h->server.listening >= 0) {
		CHECK(fd_nonblock(h->server.listening, true) == ERR_OK);
		CHECK_INT(accept4(h->server.listening, NULL, NULL, SOCK_CLOEXEC), -1);
	}
	server_done(&h->server);
	fd_close(&h->parted);
}

static struct xfer_result call_host(struct xfer_line *line, struct host *h,
                                    bool repeatable)
{
	struct xfer_ask ask = { .method = "POST",
		                    .url = h->server.url,
		                    .connect_ms = 5000,
		                    .total_ms = 20000,
		                    .body = SPAN_LIT("{}"),
		                    .repeatable = repeatable };
	struct client c;

	client_init(&c);
	xfer_call(line, &ask, &calls, &c, &c.result);
	CHECK_INT(c.heads, c.result.outcome == XFER_OK);
	client_done(&c);
	return c.result;
}

static void what_may_be_repeated_goes_on_the_kept_connection(void)
{
	static const struct visit visits[] = { { 3, STAYS } };
	struct xfer_line *line = xfer_line_new();
	struct host h;

	REQUIRE(line && host_up(&h, visits, 1) && host_opens(&h));
	CHECK_INT(xfer_line_idle_ms(line), -1);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
		CHECK(xfer_line_idle_ms(line) > 0);
	}
	xfer_line_free(line);
	host_down(&h);
	CHECK_INT(h.heard, 3);
}

static void what_may_not_be_repeated_has_a_connection_of_its_own(void)
{
	static const struct visit kept[] = { { 1, STAYS } };
	static const struct visit fresh[] = { { 0, RESETS } };
	struct xfer_line *line = xfer_line_new();
	struct host h, other;

	/* `other` stands for the same server: its port is all that differs */
	REQUIRE(line && host_up(&h, kept, 1) && host_opens(&h));
	REQUIRE(host_up(&other, fresh, 1) && host_opens(&other));
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
	CHECK_INT(call_host(line, &other, false).outcome, XFER_LOST);
	xfer_line_free(line);
	host_down(&h);
	host_down(&other);
	CHECK_INT(other.heard, 1);
}

static void a_kept_connection_that_dies_unanswered_is_replaced_once(void)
{
	static const struct visit once[] = { { 1, RESETS }, { 1, STAYS } };
	static const struct visit twice[] = { { 1, RESETS }, { 0, RESETS } };
	struct xfer_line *line = xfer_line_new();
	struct host h;

	REQUIRE(line && host_up(&h, once, 2) && host_opens(&h));
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
	xfer_line_free(line);
	host_down(&h);
	CHECK_INT(h.heard, 3);

	line = xfer_line_new();
	REQUIRE(line && host_up(&h, twice, 2) && host_opens(&h));
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
	CHECK_INT(call_host(line, &h, true).outcome, XFER_LOST);
	xfer_line_free(line);
	host_down(&h); /* and nobody came a third time */
	CHECK_INT(h.heard, 3);
}

static void a_reply_that_has_begun_is_not_asked_for_again(void)
{
	static const struct visit visits[] = { { 1, MUMBLES } };
	struct xfer_line *line = xfer_line_new();
	struct host h;

	REQUIRE(line && host_up(&h, visits, 1) && host_opens(&h));
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
	CHECK_INT(call_host(line, &h, true).outcome, XFER_LOST);
	xfer_line_free(line);
	host_down(&h);
	CHECK_INT(h.heard, 2);
}

static void a_peer_that_is_gone_for_good_is_unreachable(void)
{
	static const struct visit visits[] = { { 1, RESETS } };
	struct xfer_line *line = xfer_line_new();
	struct xfer_result result;
	struct host h;

	REQUIRE(line && host_up(&h, visits, 1));
	h.closes = true;
	REQUIRE(host_opens(&h));
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
	result = call_host(line, &h, true);
	CHECK_INT(result.outcome, XFER_UNREACHABLE);
	CHECK(result.refused);
	xfer_line_free(line);
	host_down(&h);
}

static void a_connection_closed_while_it_was_kept_is_not_used(void)
{
	static const struct visit visits[] = { { 1, HANGS_UP }, { 1, STAYS } };
	struct xfer_line *line = xfer_line_new();
	struct host h;

	REQUIRE(line && host_up(&h, visits, 2) && host_opens(&h));
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
	host_parted(&h);
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
	xfer_line_free(line);
	host_down(&h);
	CHECK_INT(h.heard, 2);
}

static void a_connection_is_kept_for_so_long_and_not_over_a_sleep(void)
{
	static const struct visit visits[] = { { 2, STAYS },
		                                   { 2, STAYS },
		                                   { 1, STAYS } };
	struct xfer_line *line = xfer_line_new();
	int64_t now = 1000000;
	struct host h;

	REQUIRE(line && host_up(&h, visits, ARRAY_LEN(visits)) && host_opens(&h));
	clock_fake(0, now, now);
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
	CHECK_INT(xfer_line_idle_ms(line), LIMIT_KEPT_IDLE_MS);
	now += LIMIT_KEPT_IDLE_MS - 1;
	clock_fake(0, now, now);
	CHECK_INT(xfer_line_idle_ms(line), 1);
	xfer_line_rest(line);
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
	now += LIMIT_KEPT_IDLE_MS;
	clock_fake(0, now, now);
	CHECK_INT(xfer_line_idle_ms(line), 0);
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK); /* the second visit */
	host_parted(&h);
	clock_fake(0, now, now + LIMIT_SLEPT_MS - 1);
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK);
	clock_fake(0, now, now + 2 * LIMIT_SLEPT_MS - 1);
	CHECK_INT(xfer_line_idle_ms(line), 0);
	CHECK_INT(call_host(line, &h, true).outcome, XFER_OK); /* the third */
	host_parted(&h);
	now += LIMIT_KEPT_IDLE_MS;
	clock_fake(0, now, now + 2 * LIMIT_SLEPT_MS - 1);
	xfer_line_rest(line);
	host_parted(&h); /* it was closed without another request */
	CHECK_INT(xfer_line_idle_ms(line), -1);
	clock_real();
	xfer_line_free(line);
	host_down(&h);
	CHECK_INT(h.heard, 5);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_line_asks_again_on_a_fresh_connection),
		T(what_may_be_repeated_goes_on_the_kept_connection),
		T(what_may_not_be_repeated_has_a_connection_of_its_own),
		T(a_kept_connection_that_dies_unanswered_is_replaced_once),
		T(a_reply_that_has_begun_is_not_asked_for_again),
		T(a_peer_that_is_gone_for_good_is_unreachable),
		T(a_connection_closed_while_it_was_kept_is_not_used),
		T(a_connection_is_kept_for_so_long_and_not_over_a_sleep),
	};

	sig_block_all();
	if (xfer_global_init())
		return 1;
	return t_run(cases, ARRAY_LEN(cases));
}
