/*
 * test_lot.c - the parking lot from the outside: parking, nudges, cancels,
 * draining, with its own thread running.
 */
#include <config.h>

#include "responder/lot.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "core/frame.h"
#include "core/limits.h"
#include "responder/relay.h"
#include "t.h"

#define ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define PATIENCE_MS 10000 /* what never comes fails a case after this */

static struct {
	char dir[64], path[96];
	int listener;
	struct lot *lot;
	struct buf heard;
	int cancels; /* an eventfd */
} b;

static void on_cancel(void *arg, const char *id)
{
	(void)arg;
	if (strcmp(id, ID) == 0 && eventfd_write(b.cancels, 1))
		abort();
}

static void set_up(void)
{
	struct errtext why;
	struct lot_conf conf = { .relay = b.path, .cancel = on_cancel };

	strcpy(b.dir, "/tmp/foreman-lot-XXXXXX");
	if (!mkdtemp(b.dir))
		abort();
	snprintf(b.path, sizeof(b.path), "%s/relay", b.dir);
	if (fd_listen_unix(b.path, 16, &b.listener, &why) ||
	    fd_nonblock(b.listener, false))
		abort();
	buf_init(&b.heard, 1 << 20);
	b.cancels = eventfd(0, EFD_CLOEXEC);
	if (lot_new(&conf, &b.lot))
		abort();
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, PATIENCE_MS) == 1;
}

static void tear_down(void)
{
	lot_close(b.lot);
	CHECK(readable(lot_ended_fd(b.lot)));
	lot_free(b.lot);
	fd_close(&b.listener);
	fd_close(&b.cancels);
	buf_done(&b.heard);
	unlink(b.path);
	rmdir(b.dir);
}

static int accept_worker(void)
{
	buf_clear(&b.heard);
	return readable(b.listener) ? accept4(b.listener, NULL, NULL, SOCK_CLOEXEC)
	                            : -1;
}

/* The next frame on the connection; FRAME_TYPE_COUNT at its end. */
static struct frame hear(int fd)
{
	struct frame f = { 0 };
	size_t used;

	while (frame_decode((struct span){ b.heard.p, b.heard.len }, &f, &used)) {
		char *to = buf_reserve(&b.heard, 4096);
		ssize_t n = readable(fd) ? read(fd, to, 4096) : 0;

		if (n <= 0)
			return (struct frame){ .type = FRAME_TYPE_COUNT };
		buf_commit(&b.heard, (size_t)n);
	}
	buf_consume(&b.heard, used);
	return f;
}

/* Park a client that is not attached; its end of the connection. */
static int park(void)
{
	struct lot_ticket ticket = {
		.fcgi_id = 1, .relay = -1, .id = ID, .family = FAMILY_OLLAMA, .ndjson = true
	};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
	    fd_nonblock(pair[0], true))
		abort();
	ticket.fd = pair[0];
	lot_park(b.lot, &ticket);
	return pair[1];
}

static bool answered_with(int fd, const char *text)
{
	char got[4096];
	size_t len = 0;
	ssize_t n;

	while (readable(fd) && (n = read(fd, got + len, sizeof(got) - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	/* records hold NULs; look behind the first header */
	return len > 8 && memmem(got, len, text, strlen(text)) != NULL;
}

/* --- cases ---------------------------------------------------------------- */

static void an_empty_lot_ends_when_it_is_closed(void)
{
	set_up();
	CHECK_INT(lot_count(b.lot), 0);
	tear_down();
}

static void a_parked_client_is_attached(void)
{
	struct frame f;
	int client, worker;

	set_up();
	client = park();
	worker = accept_worker();
	REQUIRE(worker >= 0);
	CHECK_INT(hear(worker).type, FRAME_HELLO);
	f = hear(worker);
	CHECK_INT(f.type, FRAME_ATTACH);
	CHECK_INT(f.role, FRAME_OWNER);
	CHECK_STR(f.id, ID);
	CHECK_INT(lot_count(b.lot), 1);
	close(client);
	CHECK_INT(hear(worker).type, FRAME_TYPE_COUNT);
	close(worker);
	tear_down();
}

static void a_client_that_leaves_without_a_worker_is_cancelled_elsewhere(void)
{
	eventfd_t n = 0;
	int client;

	set_up();
	fd_close(&b.listener);
	client = park();
	close(client);
	CHECK(readable(b.cancels) && eventfd_read(b.cancels, &n) == 0 && n == 1);
	tear_down();
}

static void many_nudges_become_few_and_none_is_lost(void)
{
	int worker, nudges = 0;

	set_up();
	for (int i = 0; i < 1000; i++)
		lot_nudge(b.lot);
	worker = accept_worker();
	REQUIRE(worker >= 0);
	CHECK_INT(hear(worker).type, FRAME_HELLO);
	CHECK_INT(hear(worker).type, FRAME_NUDGE);
	/* the cancel comes behind all nudges that were asked for before it, but
	 * for one that waits for its gap */
	lot_cancel(b.lot, ID);
	for (struct frame f; (f = hear(worker)).type != FRAME_CANCEL; nudges++)
		REQUIRE(f.type == FRAME_NUDGE);
	CHECK(nudges < 900);
	lot_nudge(b.lot);
	CHECK_INT(hear(worker).type, FRAME_NUDGE);
	close(worker);
	tear_down();
}

static void a_cancel_names_the_job(void)
{
	struct frame f;
	int worker;

	set_up();
	lot_cancel(b.lot, ID);
	worker = accept_worker();
	REQUIRE(worker >= 0);
	CHECK_INT(hear(worker).type, FRAME_HELLO);
	f = hear(worker);
	CHECK_INT(f.type, FRAME_CANCEL);
	CHECK_STR(f.id, ID);
	close(worker);
	tear_down();
}

static void a_bell_that_was_lost_is_hung_again(void)
{
	int worker;

	set_up();
	lot_nudge(b.lot);
	worker = accept_worker();
	REQUIRE(worker >= 0);
	CHECK_INT(hear(worker).type, FRAME_HELLO);
	CHECK_INT(hear(worker).type, FRAME_NUDGE);
	close(worker);
	/* not sooner than its gap allows, so ask until it comes */
	for (struct pollfd p = { .fd = b.listener, .events = POLLIN };
	     poll(&p, 1, LIMIT_RELAY_RETRY_MS / 4) == 0;)
		lot_nudge(b.lot);
	worker = accept_worker();
	CHECK_INT(hear(worker).type, FRAME_HELLO);
	CHECK_INT(hear(worker).type, FRAME_NUDGE);
	close(worker);
	tear_down();
}

static void draining_ends_who_is_parked_and_who_comes_later(void)
{
	int first, second;

	set_up();
	first = park();
	lot_drain(b.lot, 0);
	CHECK(answered_with(first, "Status: 503"));
	second = park();
	CHECK(answered_with(second, "Status: 503"));
	close(first);
	close(second);
	tear_down();
}

static void a_closed_lot_waits_for_who_is_parked(void)
{
	struct pollfd p;
	int client;

	set_up();
	client = park();
	lot_close(b.lot);
	p = (struct pollfd){ .fd = lot_ended_fd(b.lot), .events = POLLIN };
	CHECK_INT(poll(&p, 1, 0), 0);
	close(client);
	CHECK(readable(lot_ended_fd(b.lot)));
	tear_down();
}

static void who_comes_after_the_end_is_let_go(void)
{
	struct lot_sending sending = { .fcgi_id = 1, .status = 200 };
	int parked, pair[2];

	set_up();
	lot_close(b.lot);
	CHECK(readable(lot_ended_fd(b.lot)));
	parked = park();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	sending.fd = pair[0];
	lot_send(b.lot, &sending);
	lot_cancel(b.lot, ID);
	tear_down();
	CHECK(readable(parked) && read(parked, &(char){ 0 }, 1) == 0);
	CHECK(readable(pair[1]) && read(pair[1], &(char){ 0 }, 1) == 0);
	close(parked);
	close(pair[1]);
}

static void *park_and_leave(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++) {
		int client = park();

		lot_nudge(b.lot);
		close(client);
	}
	return NULL;
}

static void many_threads_may_park_at_once(void)
{
	pthread_t threads[4];
	eventfd_t n = 0, sum = 0;

	set_up();
	fd_close(&b.listener);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		if (pthread_create(&threads[i], NULL, park_and_leave, NULL))
			abort();
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	while (sum < 200 && readable(b.cancels) && eventfd_read(b.cancels, &n) == 0)
		sum += n;
	CHECK_INT(sum, 200);
	tear_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_empty_lot_ends_when_it_is_closed),
		T(a_parked_client_is_attached),
		T(a_client_that_leaves_without_a_worker_is_cancelled_elsewhere),
		T(many_nudges_become_few_and_none_is_lost),
		T(a_cancel_names_the_job),
		T(a_bell_that_was_lost_is_hung_again),
		T(draining_ends_who_is_parked_and_who_comes_later),
		T(a_closed_lot_waits_for_who_is_parked),
		T(many_threads_may_park_at_once),
		T(who_comes_after_the_end_is_let_go),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
