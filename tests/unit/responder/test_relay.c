/*
 * test_relay.c - what is said to the worker, and that nobody waits for it.
 */
#include <config.h>

#include "responder/relay.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "core/frame.h"
#include "core/limits.h"
#include "t.h"

#define ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"

static char dir[64], path[96];
static int listener = -1, worker = -1;
static struct buf heard;

static void listen_on(void)
{
	struct errtext why;

	if (fd_listen_unix(path, 4, &listener, &why))
		abort();
}

static void set_up(void)
{
	strcpy(dir, "/tmp/foreman-relay-XXXXXX");
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/relay", dir);
	buf_init(&heard, 1 << 16);
}

static void tear_down(void)
{
	fd_close(&worker);
	fd_close(&listener);
	buf_done(&heard);
	unlink(path);
	rmdir(dir);
}

static bool take(void)
{
	fd_close(&worker);
	buf_clear(&heard);
	worker = accept(listener, NULL, NULL);
	return worker >= 0;
}

/* What has been said; FRAME_TYPE_COUNT when that was all. */
static struct frame hear(void)
{
	struct frame f;
	size_t used;
	char *to = buf_reserve(&heard, 4096);
	ssize_t n = recv(worker, to, 4096, MSG_DONTWAIT);

	if (n > 0)
		buf_commit(&heard, (size_t)n);
	if (frame_decode((struct span){ heard.p, heard.len }, &f, &used))
		return (struct frame){ .type = FRAME_TYPE_COUNT };
	buf_consume(&heard, used);
	return f;
}

static void attaching_says_hello_and_whose_client_it_is(void)
{
	struct frame f;
	int fd = -1;

	set_up();
	listen_on();
	REQUIRE(relay_attach(path, ID, FRAME_OWNER, &fd) == ERR_OK);
	REQUIRE(take());
	f = hear();
	CHECK_INT(f.type, FRAME_HELLO);
	CHECK_INT(f.version, FRAME_VERSION);
	f = hear();
	CHECK_INT(f.type, FRAME_ATTACH);
	CHECK_INT(f.role, FRAME_OWNER);
	CHECK_STR(f.id, ID);
	CHECK_INT(hear().type, FRAME_TYPE_COUNT);
	CHECK_INT(relay_nudge(fd), ERR_OK);
	CHECK_INT(hear().type, FRAME_NUDGE);
	close(fd);
	tear_down();
}

static void without_a_worker_attaching_fails_at_once(void)
{
	int fd = -1;

	set_up();
	CHECK(relay_attach(path, ID, FRAME_OWNER, &fd) != ERR_OK);
	listen_on();
	fd_close(&listener);
	CHECK(relay_attach(path, ID, FRAME_OWNER, &fd) != ERR_OK);
	CHECK_INT(fd, -1);
	tear_down();
}

static void a_full_backlog_is_not_waited_for(void)
{
	enum { MANY = 64 };
	int fds[MANY], n = 0;

	set_up();
	listen_on();
	while (n < MANY && relay_attach(path, ID, FRAME_OWNER, &fds[n]) == ERR_OK)
		n++;
	CHECK(n < MANY);
	while (n > 0)
		close(fds[--n]);
	tear_down();
}

static void nudging_a_worker_that_has_gone_says_so(void)
{
	int fd = -1;

	set_up();
	listen_on();
	REQUIRE(relay_attach(path, ID, FRAME_OWNER, &fd) == ERR_OK);
	REQUIRE(take());
	fd_close(&worker);
	CHECK_INT(relay_nudge(fd), ERR_CLOSED);
	close(fd);
	tear_down();
}

static void the_bell_keeps_one_connection(void)
{
	struct loop *loop;
	struct frame f;
	struct bell bell;

	set_up();
	listen_on();
	REQUIRE(loop_new(&loop) == ERR_OK);
	bell_init(&bell, loop, path);
	bell_nudge(&bell);
	bell_nudge(&bell);
	bell_cancel(&bell, ID);
	REQUIRE(take());
	CHECK_INT(hear().type, FRAME_HELLO);
	CHECK_INT(hear().type, FRAME_NUDGE);
	CHECK_INT(hear().type, FRAME_NUDGE);
	f = hear();
	CHECK_INT(f.type, FRAME_CANCEL);
	CHECK_STR(f.id, ID);
	CHECK(accept(listener, NULL, NULL) < 0);
	bell_done(&bell);
	loop_free(loop);
	tear_down();
}

static void the_bell_looks_for_a_worker_only_so_often(void)
{
	struct loop *loop;
	struct bell bell;

	set_up();
	clock_fake(1, 1000, 1000);
	REQUIRE(loop_new(&loop) == ERR_OK);
	bell_init(&bell, loop, path);
	bell_nudge(&bell); /* nobody there */
	listen_on();
	clock_fake(1, 1000 + LIMIT_RELAY_RETRY_MS - 1, 1000);
	bell_nudge(&bell);
	CHECK(!take());
	clock_fake(1, 1000 + LIMIT_RELAY_RETRY_MS, 1000);
	bell_nudge(&bell);
	CHECK(take());
	/* its end is noticed by the loop, before anybody rings */
	fd_close(&worker);
	CHECK(!loop_turn(loop, 0, NULL));
	CHECK_INT(bell.fd, -1);
	bell_done(&bell);
	loop_free(loop);
	clock_real();
	tear_down();
}

/* Its greeting is all it says on the bell; with a reset it is gone as well. */
static void the_bell_hears_nothing_but_the_end(void)
{
	struct loop *loop;
	struct bell bell;

	set_up();
	listen_on();
	REQUIRE(loop_new(&loop) == ERR_OK);
	bell_init(&bell, loop, path);
	bell_nudge(&bell);
	REQUIRE(take());
	CHECK(send(worker, "hello", 5, 0) == 5);
	CHECK(!loop_turn(loop, 0, NULL));
	CHECK(bell.fd >= 0);
	fd_close(&worker); /* with the nudge unread: a reset */
	CHECK(!loop_turn(loop, 0, NULL));
	CHECK_INT(bell.fd, -1);
	bell_done(&bell);
	loop_free(loop);
	tear_down();
}

static void a_worker_that_does_not_listen_holds_nobody(void)
{
	struct loop *loop;
	struct bell bell;

	set_up();
	listen_on();
	REQUIRE(loop_new(&loop) == ERR_OK);
	bell_init(&bell, loop, path);
	for (int i = 0; i < 100000; i++) /* far more than a socket holds */
		bell_nudge(&bell);
	CHECK(bell.fd >= 0);
	bell_done(&bell);
	loop_free(loop);
	tear_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(attaching_says_hello_and_whose_client_it_is),
		T(without_a_worker_attaching_fails_at_once),
		T(a_full_backlog_is_not_waited_for),
		T(nudging_a_worker_that_has_gone_says_so),
		T(the_bell_keeps_one_connection),
		T(the_bell_looks_for_a_worker_only_so_often),
		T(the_bell_hears_nothing_but_the_end),
		T(a_worker_that_does_not_listen_holds_nobody),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
