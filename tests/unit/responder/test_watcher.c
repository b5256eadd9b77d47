/*
 * test_watcher.c - one waiting client: what reaches it, and how it goes.
 */
#include <config.h>

#include "responder/watcher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "core/limits.h"
#include "t.h"

#define ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"

static struct {
	struct conf conf;
	struct watchers all;
	struct watcher *p;
	int client;
	struct buf raw;   /* what the client has read, */
	struct buf heard; /* and of it the bytes of the answer */
	bool over;        /* the request's end was among it */
	int looks;
} b;

static void on_look(void *arg, struct watcher *p)
{
	if (arg != &b || p != b.p)
		abort();
	b.looks++;
}

static void set_up(struct watch_ticket ticket)
{
	int pair[2];

	b.looks = 0;
	b.over = false;
	b.all = (struct watchers){ .conf = &b.conf, .look = on_look, .arg = &b };
	if (loop_new(&b.all.loop) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
	    fd_nonblock(pair[0], true))
		abort();
	ticket.fd = pair[0];
	ticket.fcgi_id = 1;
	str_copy(ticket.id, sizeof(ticket.id), ID);
	b.client = pair[1];
	buf_init(&b.raw, 1 << 24);
	buf_init(&b.heard, 1 << 24);
	b.p = watcher_enter(&b.all, &ticket, false);
	if (!b.p)
		abort();
	CHECK(watcher_waits(b.p));
	CHECK_INT(b.all.roll.count + b.all.waiting, 2);
}

static void turn(void)
{
	if (loop_turn(b.all.loop, -1, NULL))
		abort();
}

/* The client goes, and nothing is left of it. */
static void tear_down(void)
{
	fd_close(&b.client);
	while (b.all.roll.count)
		turn();
	roll_sweep(&b.all.roll);
	CHECK(!b.all.roll.first && !b.all.roll.gone);
	CHECK_INT(b.all.waiting + b.all.held, 0);
	loop_free(b.all.loop);
	buf_done(&b.raw);
	buf_done(&b.heard);
}

/* The stdout bytes of the records that came whole (FastCGI 1.0, section 3.3). */
static void take_records(void)
{
	while (b.raw.len >= 8) {
		const unsigned char *p = (const unsigned char *)b.raw.p;
		size_t len = (size_t)(p[4] << 8 | p[5]), whole = 8 + len + p[6];

		if (b.raw.len < whole)
			return;
		if (p[1] == 6 && len && buf_add(&b.heard, p + 8, len))
			abort();
		b.over |= p[1] == 3;
		buf_consume(&b.raw, whole);
	}
}

/* What there is to read for the client, once; then a turn if there was none. */
static void listen_on(void)
{
	char *to = buf_reserve(&b.raw, 4096);
	ssize_t n = recv(b.client, to, 4096, MSG_DONTWAIT);

	if (n > 0) {
		buf_commit(&b.raw, (size_t)n);
		take_records();
	} else if (n < 0 && errno == EAGAIN) {
		turn();
	} else {
		abort();
	}
}

static const char *hear_all(void)
{
	while (!b.over)
		listen_on();
	return b.heard.len ? buf_str(&b.heard) : "";
}

static bool hears(const char *text)
{
	while (!b.over && (!b.heard.len || !strstr(buf_str(&b.heard), text)))
		listen_on();
	return strstr(buf_str(&b.heard), text) != NULL;
}

/* --- answers -------------------------------------------------------------- */

static void an_answer_is_told_with_its_length_and_ended(void)
{
	set_up((struct watch_ticket){ .what = WATCH_MOVE });
	watcher_answer(b.p, 200, "X: 1\n", strdup("{}"), "answered");
	CHECK(!watcher_waits(b.p));
	CHECK_INT(b.all.waiting, 0);
	CHECK_STR(hear_all(), "Status: 200\r\nX: 1\r\nContent-Length: 2\r\n\r\n{}");
	CHECK_INT(b.all.roll.count, 1); /* until the other side has closed */
	tear_down();
}

static void a_head_request_is_told_the_length_alone(void)
{
	set_up((struct watch_ticket){ .what = WATCH_MOVE, .head = true });
	watcher_answer(b.p, 200, "", strdup("{}"), "answered");
	CHECK_STR(hear_all(), "Status: 200\r\nContent-Length: 2\r\n\r\n");
	tear_down();
}

static void an_answer_without_a_body_has_no_length(void)
{
	set_up((struct watch_ticket){ .what = WATCH_MOVE });
	watcher_answer(b.p, 304, "ETag: W/\"1\"\n", NULL, "not moved");
	CHECK_STR(hear_all(), "Status: 304\r\nETag: W/\"1\"\r\n\r\n");
	tear_down();
}

static void a_refusal_is_a_problem(void)
{
	set_up((struct watch_ticket){ .what = WATCH_EVENTS });
	watcher_refuse(b.p, FAULT_BUSY, "too many");
	CHECK(strstr(hear_all(), "Status: 503\r\n"));
	CHECK(strstr(buf_str(&b.heard), "application/problem+json\r\n"));
	CHECK(strstr(buf_str(&b.heard), "Retry-After: "));
	CHECK(strstr(buf_str(&b.heard), "too many"));
	tear_down();
}

static void a_large_answer_is_queued_as_it_is_taken(void)
{
	enum { SIZE = 1000000 };
	char *body = malloc(SIZE + 1);

	REQUIRE(body);
	memset(body, 'x', SIZE);
	body[SIZE] = '\0';
	set_up((struct watch_ticket){ .what = WATCH_MOVE });
	watcher_answer(b.p, 200, "", body, "answered");
	CHECK_INT(b.all.held, SIZE);
	CHECK(stream_pending(&b.p->out.stream) < SIZE / 4);
	CHECK_INT(strlen(strstr(hear_all(), "\r\n\r\n")), SIZE + 4);
	CHECK_INT(b.p->at, SIZE);
	tear_down();
}

static void who_leaves_amid_an_answer_is_let_go(void)
{
	enum { SIZE = 1000000 };
	char *body = malloc(SIZE + 1);

	REQUIRE(body);
	memset(body, 'x', SIZE);
	body[SIZE] = '\0';
	set_up((struct watch_ticket){ .what = WATCH_MOVE });
	watcher_answer(b.p, 200, "", body, "answered");
	tear_down();
	CHECK_INT(b.looks, 0);
}

/* --- events --------------------------------------------------------------- */

static void events_follow_their_head(void)
{
	set_up((struct watch_ticket){ .what = WATCH_EVENTS });
	watcher_open_events(b.p);
	watcher_open_events(b.p); /* is told once */
	watcher_event(b.p, "id: 1\n\n");
	CHECK(watcher_settle(b.p));
	watcher_event(b.p, "id: 2\n\n");
	watcher_finish(b.p, "all told");
	CHECK(!watcher_settle(b.p));
	CHECK_STR(hear_all(), "Status: 200\r\nContent-Type: text/event-stream\r\n"
	                      "Cache-Control: no-store\r\n\r\n"
	                      "retry: 1000\n\nid: 1\n\nid: 2\n\n");
	tear_down();
}

static void a_ping_that_was_begun_ends_before_an_event(void)
{
	const char *at;

	b.conf.keepalive_ms = 1;
	set_up((struct watch_ticket){ .what = WATCH_EVENTS });
	watcher_open_events(b.p);
	watcher_settle(b.p);
	watcher_wait(b.p);
	CHECK(hears("\n\n:"));
	watcher_event(b.p, "id: 1\n\n");
	watcher_finish(b.p, "all told");
	at = strstr(hear_all(), "retry: 1000\n\n:");
	REQUIRE(at);
	at = strstr(at, "id: 1\n\n");
	REQUIRE(at);
	CHECK(memcmp(at - 8, ": ping\n\n", 8) == 0);
	CHECK_STR(at, "id: 1\n\n");
	tear_down();
	b.conf.keepalive_ms = 0;
}

/* --- time ----------------------------------------------------------------- */

static void a_wait_that_is_over_is_due_and_looked_at(void)
{
	set_up((struct watch_ticket){ .what = WATCH_END, .wait_ms = 1 });
	watcher_wait(b.p);
	while (!b.looks)
		turn();
	CHECK(b.p->due);
	CHECK(watcher_waits(b.p));
	tear_down();
}

/* Turns of the loop while no time passes. */
static void turns_at(int64_t ms)
{
	clock_fake(ms, ms, ms);
	for (int i = 0; i < 10; i++)
		if (loop_turn(b.all.loop, 0, NULL))
			abort();
}

static void an_answer_that_is_not_taken_is_not_kept_for_ever(void)
{
	enum { SIZE = 1000000 };
	static char some[SIZE / 4];
	char *body = malloc(SIZE + 1);
	int64_t now_ms = clock_mono_ms();

	REQUIRE(body);
	memset(body, 'x', SIZE);
	body[SIZE] = '\0';
	clock_fake(now_ms, now_ms, now_ms);
	set_up((struct watch_ticket){ .what = WATCH_MOVE });
	watcher_answer(b.p, 200, "", body, "answered");
	turns_at(now_ms + 1000); /* all there is room for has been written */
	CHECK(recv(b.client, some, sizeof(some), MSG_DONTWAIT) > 0);
	turns_at(now_ms + 1000);
	turns_at(now_ms + 1000 + LIMIT_WATCH_STALL_MS - 1);
	CHECK_INT(b.all.roll.count, 1);
	turns_at(now_ms + 1000 + LIMIT_WATCH_STALL_MS);
	CHECK_INT(b.all.roll.count, 0);
	CHECK_INT(b.all.held, 0);
	clock_real();
	tear_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_answer_is_told_with_its_length_and_ended),
		T(a_head_request_is_told_the_length_alone),
		T(an_answer_without_a_body_has_no_length),
		T(a_refusal_is_a_problem),
		T(a_large_answer_is_queued_as_it_is_taken),
		T(who_leaves_amid_an_answer_is_let_go),
		T(events_follow_their_head),
		T(a_ping_that_was_begun_ends_before_an_event),
		T(a_wait_that_is_over_is_due_and_looked_at),
		T(an_answer_that_is_not_taken_is_not_kept_for_ever),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
