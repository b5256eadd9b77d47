/*
 * test_outlet.c - what is queued for a parked client leaves, and how it ends.
 */
#include <config.h>

#include "responder/outlet.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "t.h"

#define MAX (64 * 1024)

static struct {
	struct loop *loop;
	struct outlet out;
	struct loop_timer closing;
	int web;        /* our end */
	uint32_t heard; /* all events fn was told of */
	bool closed;    /* the timer fired */
} s;

static void on_out(void *arg, uint32_t events)
{
	(void)arg;
	s.heard |= events;
}

static void on_closing(void *arg)
{
	(void)arg;
	s.closed = true;
}

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void set_up(void)
{
	int pair[2];

	memset(&s, 0, sizeof(s));
	must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	must(!fd_nonblock(pair[0], true));
	s.web = pair[1];
	must(!loop_new(&s.loop));
	loop_timer_init(&s.closing, on_closing, NULL);
	must(!outlet_open(&s.out, s.loop, pair[0], 1, MAX, on_out, NULL));
	must(!stream_head(&s.out.stream, 200, (struct span){ 0 }));
}

static void tear_down(void)
{
	loop_timer_stop(&s.closing);
	outlet_close(&s.out);
	loop_free(s.loop);
	fd_close(&s.web);
	clock_real();
}

static void turn(void)
{
	must(!loop_turn(s.loop, 0, NULL));
}

/* All that is there to read. */
static size_t taken(void)
{
	char got[65536];
	size_t sum = 0;
	ssize_t n;

	while ((n = recv(s.web, got, sizeof(got), MSG_DONTWAIT)) > 0)
		sum += (size_t)n;
	return sum;
}

static void what_is_queued_leaves_at_once(void)
{
	set_up();
	CHECK_INT(outlet_flush(&s.out, &s.closing), ERR_OK);
	CHECK(taken() > 0);
	turn();
	CHECK_INT(s.heard, 0); /* room is not told of when nothing waits for it */
	CHECK(!s.out.shut && !s.closing.armed);
	tear_down();
}

static void a_client_that_is_behind_is_told_of_when_it_reads(void)
{
	static char bytes[32 * 1024];

	set_up();
	while (outlet_flush(&s.out, &s.closing) == ERR_OK)
		must(!stream_write(&s.out.stream, bytes, sizeof(bytes)));
	turn();
	CHECK_INT(s.heard, 0);
	while (taken() > 0)
		;
	turn();
	CHECK_INT(s.heard, EPOLLOUT);
	CHECK_INT(outlet_flush(&s.out, &s.closing), ERR_OK);
	CHECK_INT(stream_pending(&s.out.stream), 0);
	tear_down();
}

static void behind_the_end_the_connection_is_half_closed(void)
{
	char byte;

	set_up();
	must(!stream_end(&s.out.stream));
	CHECK_INT(outlet_flush(&s.out, &s.closing), ERR_OK);
	CHECK(taken() > 0);
	CHECK_INT(read(s.web, &byte, 1), 0);
	CHECK(s.out.shut && s.closing.armed);
	/* our reading half is open: the web server's close is an event */
	turn();
	CHECK_INT(s.heard, 0);
	fd_close(&s.web);
	turn();
	CHECK(s.heard & EPOLLRDHUP);
	tear_down();
}

static void the_web_server_has_so_long_to_close(void)
{
	set_up();
	clock_fake(0, 1000, 1000);
	must(!stream_end(&s.out.stream));
	CHECK_INT(outlet_flush(&s.out, &s.closing), ERR_OK);
	clock_fake(0, 1000 + LIMIT_SHUTDOWN_READ_MS - 1, 0);
	turn();
	CHECK(!s.closed);
	/* a second flush does not prolong it */
	CHECK_INT(outlet_flush(&s.out, &s.closing), ERR_OK);
	clock_fake(0, 1000 + LIMIT_SHUTDOWN_READ_MS, 0);
	turn();
	CHECK(s.closed);
	tear_down();
}

static void the_end_is_not_half_closed_before_it_is_out(void)
{
	static char bytes[32 * 1024];

	set_up();
	while (outlet_flush(&s.out, &s.closing) == ERR_OK)
		must(!stream_write(&s.out.stream, bytes, sizeof(bytes)));
	must(!stream_end(&s.out.stream));
	CHECK_INT(outlet_flush(&s.out, &s.closing), ERR_AGAIN);
	CHECK(!s.out.shut && !s.closing.armed);
	while (taken() > 0)
		;
	CHECK_INT(outlet_flush(&s.out, &s.closing), ERR_OK);
	CHECK(s.out.shut && s.closing.armed);
	tear_down();
}

static void a_client_that_left_is_an_event_and_then_an_answer(void)
{
	set_up();
	fd_close(&s.web);
	turn();
	CHECK(s.heard & EPOLLRDHUP);
	CHECK_INT(outlet_flush(&s.out, &s.closing), ERR_CLOSED);
	tear_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(what_is_queued_leaves_at_once),
		T(a_client_that_is_behind_is_told_of_when_it_reads),
		T(behind_the_end_the_connection_is_half_closed),
		T(the_web_server_has_so_long_to_close),
		T(the_end_is_not_half_closed_before_it_is_out),
		T(a_client_that_left_is_an_event_and_then_an_answer),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
