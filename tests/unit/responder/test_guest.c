/*
 * test_guest.c - one parked client, with the test as its client and its worker.
 *
 * Everything runs in this thread: the clock is a fake one, the loop is turned
 * until nothing happens any more, then both ends are looked at.
 */
#include <config.h>

#include "responder/guest.h"

#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "t.h"

#define ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define NDJSON "Content-Type: application/x-ndjson\n"
#define ID_LINE "Foreman-Job-Id: " ID "\r\n"

/* The yard, a listening relay, and what came out at the client's end. */
static struct {
	char dir[64], path[96];
	struct lot_conf conf;
	struct loop *loop;
	struct yard yard;
	struct shelf shelf; /* without a database: who comes there is told so */
	struct db_conf no_db;
	int listener;
	int client;         /* our end of the FastCGI connection */
	int worker;         /* our end of the relay connection; -1 */
	struct buf heard;   /* undecoded, from the lot */
	struct buf records; /* undecoded, for the client */
	struct buf out;     /* what STDOUT records held */
	int record_count;
	bool ended, eof;
	int cancels;
	int64_t mono_ms;
} b;

static void on_cancel(void *arg, const char id[ULID_SIZE])
{
	(void)arg;
	b.cancels += strcmp(id, ID) == 0;
}

static void listen_on(void)
{
	struct errtext why;

	if (fd_listen_unix(b.path, 16, &b.listener, &why))
		abort();
}

static void set_up(int64_t keepalive_ms, int64_t max_wait_ms)
{
	memset(&b, 0, sizeof(b));
	strcpy(b.dir, "/tmp/foreman-guest-XXXXXX");
	if (!mkdtemp(b.dir))
		abort();
	snprintf(b.path, sizeof(b.path), "%s/relay", b.dir);
	b.client = b.worker = b.listener = -1;
	buf_init(&b.heard, 1 << 20);
	buf_init(&b.records, 64 << 20);
	buf_init(&b.out, 64 << 20);
	b.mono_ms = 1000;
	clock_fake(1700000000000, b.mono_ms, b.mono_ms);
	b.conf = (struct lot_conf){ .relay = b.path,
		                        .keepalive_ms = keepalive_ms,
		                        .max_wait_ms = max_wait_ms };
	if (loop_new(&b.loop) || yard_init(&b.yard, b.loop, &b.conf))
		abort();
	b.yard.cancel = on_cancel;
	b.yard.shelf = &b.shelf;
	b.no_db.path = "/nonexistent/foreman.db";
	shelf_init(&b.shelf, b.loop, &b.no_db);
	listen_on();
}

static void turn(void)
{
	bool busy = true;

	for (int i = 0; busy && i < 10000; i++) {
		if (loop_turn(b.loop, 0, &busy))
			abort();
		yard_sweep(&b.yard);
		shelf_sweep(&b.shelf);
	}
}

static void tear_down(void)
{
	fd_close(&b.client);
	turn();
	fd_close(&b.worker);
	fd_close(&b.listener);
	yard_done(&b.yard);
	CHECK_INT(b.shelf.items.count, 0);
	shelf_done(&b.shelf);
	loop_free(b.loop);
	buf_done(&b.heard);
	buf_done(&b.records);
	buf_done(&b.out);
	unlink(b.path);
	rmdir(b.dir);
	clock_real();
}

static void pass_ms(int64_t ms)
{
	b.mono_ms += ms;
	clock_fake(1700000000000 + b.mono_ms, b.mono_ms, b.mono_ms);
	turn();
}

/* --- the client's end ----------------------------------------------------- */

static void take_records(void)
{
	while (b.records.len >= 8) {
		const unsigned char *p = (const unsigned char *)b.records.p;
		size_t len = (size_t)(p[4] << 8 | p[5]);

		if (b.records.len < 8 + len + p[6])
			return;
		if (p[1] == 3) {
			b.ended = true;
		} else if (len) {
			b.record_count++;
			if (buf_add(&b.out, b.records.p + 8, len))
				abort();
		}
		buf_consume(&b.records, 8 + len + p[6]);
	}
}

/* Read what there is, without waiting. */
static void client_reads(void)
{
	char *to;
	ssize_t n;

	do {
		to = buf_reserve(&b.records, 65536);
		n = recv(b.client, to, 65536, MSG_DONTWAIT);
		if (n > 0)
			buf_commit(&b.records, (size_t)n);
		b.eof = b.eof || n == 0;
		turn();
	} while (n > 0);
	take_records();
}

static const char *out(void)
{
	client_reads();
	return buf_str(&b.out);
}

/* The body behind the CGI head. */
static const char *body(void)
{
	const char *at = strstr(out(), "\r\n\r\n");

	return at ? at + 4 : "";
}

/* --- the worker's end ----------------------------------------------------- */

static struct frame hear(void)
{
	struct frame f = { 0 };
	size_t used;
	char *to = buf_reserve(&b.heard, 4096);
	ssize_t n = recv(b.worker, to, 4096, MSG_DONTWAIT);

	if (n > 0)
		buf_commit(&b.heard, (size_t)n);
	if (frame_decode((struct span){ b.heard.p, b.heard.len }, &f, &used))
		return (struct frame){ .type = FRAME_TYPE_COUNT };
	buf_consume(&b.heard, used);
	return f;
}

static bool say(const struct frame *f)
{
	struct buf bytes;
	bool ok;

	buf_init(&bytes, LIMIT_FRAME + 64);
	if (frame_encode(f, &bytes))
		abort();
	ok = fd_write_all(b.worker, bytes.p, bytes.len, 0) == ERR_OK;
	buf_done(&bytes);
	turn();
	return ok;
}

static bool say_hello(uint16_t version)
{
	return say(&(struct frame){ .type = FRAME_HELLO, .version = version });
}

static bool say_head(int status, const char *headers)
{
	return say(&(struct frame){ .type = FRAME_HEAD,
	                            .status = (uint16_t)status,
	                            .queue_ms = 12,
	                            .load_ms = 34,
	                            .data = span_of(headers) });
}

static bool say_bytes(const char *text)
{
	return say(&(struct frame){ .type = FRAME_BYTES, .data = span_of(text) });
}

static bool say_end(enum frame_end how, int status, const char *text)
{
	return say(&(struct frame){ .type = FRAME_END,
	                            .end = how,
	                            .status = (uint16_t)status,
	                            .data = span_of(text) });
}

/* Take the lot's connection: it must greet and attach to our job. */
static bool accept_attach_as(enum frame_role role)
{
	struct frame hello, attach;

	fd_close(&b.worker);
	buf_clear(&b.heard);
	b.worker = accept(b.listener, NULL, NULL);
	if (b.worker < 0)
		return false;
	hello = hear();
	attach = hear();
	return hello.type == FRAME_HELLO && hello.version == FRAME_VERSION &&
	       attach.type == FRAME_ATTACH && attach.role == role &&
	       strcmp(attach.id, ID) == 0;
}

static bool accept_attach(void)
{
	return accept_attach_as(FRAME_OWNER);
}

static bool worker_sees_eof(void)
{
	char byte;

	while (hear().type != FRAME_TYPE_COUNT)
		;
	return recv(b.worker, &byte, 1, MSG_DONTWAIT) == 0;
}

/* --- a guest -------------------------------------------------------------- */

static int kernel_takes; /* of what guests that enter now are told; 0: as ever */

static void enter_ticket(struct lot_ticket ticket)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	if (kernel_takes)
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &kernel_takes, sizeof(int));
	ticket.fcgi_id = 1;
	str_copy(ticket.id, sizeof(ticket.id), ID);
	ticket.fd = pair[0];
	b.client = pair[1];
	yard_enter(&b.yard, &ticket);
	turn();
}

static void enter(int relay, bool ndjson)
{
	enter_ticket((struct lot_ticket){ .relay = relay, .family = FAMILY_OLLAMA,
	                                  .ndjson = ndjson });
}

/* A guest that was attached before it was parked, as chat.c does it. */
static void enter_attached(bool ndjson)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	b.worker = pair[1];
	enter(pair[0], ndjson);
	say_hello(FRAME_VERSION);
}

/* One that waits for events, attached. */
static void enter_for_events(enum family family)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	b.worker = pair[1];
	enter_ticket((struct lot_ticket){ .relay = pair[0], .family = family,
	                                  .events = true });
	say_hello(FRAME_VERSION);
}

/* --- streaming -------------------------------------------------------------------- */

static void the_head_is_the_targets_with_the_job_and_its_times(void)
{
	set_up(0, 0);
	enter_attached(true);
	CHECK_STR(out(), "");
	say_head(200, NDJSON "X-Y: z\n");
	CHECK_STR(out(), "Status: 200\r\n" ID_LINE
	                 "Server-Timing: queue;dur=12, load;dur=34\r\n"
	                 "Content-Type: application/x-ndjson\r\nX-Y: z\r\n\r\n");
	tear_down();
}

static void each_line_is_one_record(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_head(200, NDJSON);
	client_reads();
	b.record_count = 0;
	say_bytes("{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n");
	CHECK_STR(body(), "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n");
	CHECK_INT(b.record_count, 3);
	tear_down();
}

static void an_answer_that_is_no_stream_is_not_cut_at_newlines(void)
{
	set_up(0, 0);
	enter_attached(false);
	say_head(200, "Content-Type: application/json\nContent-Length: 5\n");
	client_reads();
	b.record_count = 0;
	say_bytes("{\n\n\n}");
	CHECK_STR(body(), "{\n\n\n}");
	CHECK_INT(b.record_count, 1);
	tear_down();
}

static void a_clean_end_ends_the_request_and_lets_the_worker_go(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_head(200, NDJSON);
	say_bytes("{\"done\":true}\n");
	say_end(FRAME_END_CLEAN, 0, "");
	CHECK_STR(body(), "{\"done\":true}\n");
	CHECK(b.ended);
	CHECK(b.eof); /* half closed: nothing more will come */
	CHECK(worker_sees_eof());
	CHECK_INT(b.yard.guests.count, 1); /* until the client has closed too */
	fd_close(&b.client);
	turn();
	CHECK_INT(b.yard.guests.count, 0);
	CHECK_INT(b.cancels, 0);
	tear_down();
}

static void a_client_that_never_closes_is_closed(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_head(200, NDJSON);
	say_end(FRAME_END_CLEAN, 0, "");
	CHECK_INT(b.yard.guests.count, 1);
	pass_ms(LIMIT_SHUTDOWN_READ_MS - 1);
	CHECK_INT(b.yard.guests.count, 1);
	pass_ms(1);
	CHECK_INT(b.yard.guests.count, 0);
	tear_down();
}

static void an_aborted_stream_ends_with_an_error_line(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_head(200, NDJSON);
	say_bytes("{\"a\":1}\n{\"b\"");
	say_end(FRAME_END_ABORTED, 502, "the target went away");
	CHECK_STR(body(), "{\"a\":1}\n{\"b\"\n{\"error\":\"the target went away\"}\n");
	CHECK(b.ended);
	tear_down();
}

static void an_aborted_answer_of_known_length_ends_short(void)
{
	set_up(0, 0);
	enter_attached(false);
	say_head(200, "Content-Type: application/json\nContent-Length: 100\n");
	say_bytes("{\"a\":");
	say_end(FRAME_END_ABORTED, 502, "gone");
	CHECK_STR(body(), "{\"a\":");
	CHECK(b.ended);
	tear_down();
}

static void a_worker_lost_in_the_stream_is_told_in_a_line(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_head(200, NDJSON);
	say_bytes("{\"a\":1}\n");
	fd_close(&b.worker);
	turn();
	CHECK_STR(body(), "{\"a\":1}\n{\"error\":\"foreman: the worker went away\"}\n");
	CHECK(b.ended);
	tear_down();
}

static void what_is_no_frame_is_a_lost_worker(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_head(200, NDJSON);
	say_head(200, NDJSON);
	CHECK_STR(body(), "{\"error\":\"foreman: the worker went away\"}\n");
	CHECK(worker_sees_eof());
	tear_down();
}

static void bytes_before_a_head_are_a_lost_worker(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_bytes("x");
	CHECK_STR(out(), "");
	CHECK(worker_sees_eof());
	pass_ms(LIMIT_RELAY_RETRY_MS);
	CHECK(accept_attach());
	tear_down();
}

static void headers_that_are_none_become_an_error(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_head(200, "no header line\n");
	CHECK(strstr(out(), "Status: 502\r\n") != NULL);
	CHECK(strstr(body(), "{\"error\":\"foreman: ") == body());
	CHECK(b.ended);
	CHECK(worker_sees_eof());
	tear_down();
}

static void who_does_not_greet_is_no_worker(void)
{
	int pair[2];

	set_up(0, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	b.worker = pair[1];
	enter(pair[0], true);
	say_head(200, NDJSON);
	CHECK_STR(out(), "");
	CHECK(worker_sees_eof());
	tear_down();
}

static void what_only_responders_say_is_no_workers_word(void)
{
	set_up(0, 0);
	enter_attached(true);
	say(&(struct frame){ .type = FRAME_NUDGE });
	CHECK(worker_sees_eof());
	CHECK_INT(b.yard.guests.count, 1);
	tear_down();
}

static void a_head_may_be_a_status_alone(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_head(204, "");
	say_end(FRAME_END_CLEAN, 0, "");
	CHECK_STR(out(), "Status: 204\r\n" ID_LINE
	                 "Server-Timing: queue;dur=12, load;dur=34\r\n\r\n");
	CHECK(b.ended);
	tear_down();
}

static void two_who_lose_one_worker_are_both_attached_to_the_next(void)
{
	int workers[2], clients[2];

	set_up(0, 0);
	for (int i = 0; i < 2; i++) {
		enter_attached(true);
		workers[i] = b.worker;
		clients[i] = b.client;
	}
	for (int i = 0; i < 2; i++)
		close(workers[i]);
	b.worker = -1;
	turn();
	CHECK_INT(b.yard.guests.count, 2);
	pass_ms(LIMIT_RELAY_RETRY_MS);
	CHECK(accept_attach());
	CHECK(accept_attach());
	CHECK(!accept_attach()); /* once each */
	for (int i = 0; i < 2; i++)
		close(clients[i]);
	b.client = -1;
	turn();
	CHECK_INT(b.yard.guests.count, 0);
	tear_down();
}

static void only_who_lost_the_worker_is_attached_again(void)
{
	int clients[3], lost, kept;

	set_up(0, 0);
	enter_attached(true);
	clients[0] = b.client;
	lost = b.worker;
	enter_attached(true);
	clients[1] = b.client;
	kept = b.worker;
	enter_attached(true);
	clients[2] = b.client;
	say_end(FRAME_END_REFUSED, 503, "no");
	fd_close(&b.worker);
	close(lost);
	turn();
	CHECK_INT(b.yard.guests.count, 3); /* the last is not closed yet */
	pass_ms(LIMIT_RELAY_RETRY_MS);
	CHECK(accept_attach());
	CHECK(!accept_attach());
	close(kept);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		close(clients[i]);
	b.client = -1;
	turn();
	CHECK_INT(b.yard.guests.count, 0);
	tear_down();
}

static void who_is_in_doubt_gets_no_keepalive_from_the_next_worker_either(void)
{
	int pair[2];

	set_up(1000, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	b.worker = pair[1];
	enter_ticket((struct lot_ticket){ .relay = pair[0], .doubtful = true });
	fd_close(&b.worker);
	turn();
	pass_ms(LIMIT_RELAY_RETRY_MS);
	CHECK(accept_attach());
	pass_ms(5000);
	CHECK_STR(out(), "");
	tear_down();
}

/* --- events ------------------------------------------------------------------ */

#define EVENTS "Content-Type: text/event-stream\n"
#define OPENAI_GONE "data: {\"error\":{\"message\":\"gone\"," \
	"\"type\":\"api_error\",\"param\":null,\"code\":null}}\n\n"
#define ANTHROPIC_GONE "event: error\ndata: {\"type\":\"error\",\"error\":" \
	"{\"type\":\"api_error\",\"message\":\"gone\"}}\n\n"

static void events_are_passed_on_as_they_come(void)
{
	set_up(0, 0);
	enter_for_events(FAMILY_OPENAI);
	say_head(200, EVENTS);
	client_reads();
	b.record_count = 0;
	say_bytes("data: 1\n\ndata: 2\n\n");
	CHECK_STR(body(), "data: 1\n\ndata: 2\n\n");
	CHECK_INT(b.record_count, 1);
	tear_down();
}

static void who_waits_for_events_gets_four_comments_one_by_one(void)
{
	set_up(15000, 0);
	enter_for_events(FAMILY_OPENAI);
	pass_ms(15000);
	CHECK_STR(out(), "Status: 200\r\nContent-Type: text/event-stream\r\n" ID_LINE
	                 "\r\n:\n\n");
	for (int i = 0; i < 3; i++)
		pass_ms(LIMIT_HEARTBEAT_GAP_MS);
	CHECK_STR(body(), ":\n\n:\n\n:\n\n:\n\n");
	say_head(200, EVENTS);
	say_bytes("data: 1\n\n");
	say_end(FRAME_END_CLEAN, 0, "");
	CHECK_STR(body(), ":\n\n:\n\n:\n\n:\n\ndata: 1\n\n");
	CHECK(b.ended);
	tear_down();
}

/* What the client reads of events that end badly after `said`. */
static void broken_events(enum family family, const char *said, const char *want)
{
	set_up(0, 0);
	enter_for_events(family);
	say_head(200, EVENTS);
	say_bytes(said);
	say_end(FRAME_END_ABORTED, 502, "gone");
	CHECK_STR(body(), want);
	CHECK(b.ended);
	tear_down();
}

static void events_that_break_off_end_with_an_error_event(void)
{
	broken_events(FAMILY_OPENAI, "data: 1\n\n", "data: 1\n\n" OPENAI_GONE);
	broken_events(FAMILY_OPENAI, "data: 1\n", "data: 1\n\n" OPENAI_GONE);
	broken_events(FAMILY_OPENAI, "data: 1", "data: 1\n\n" OPENAI_GONE);
	broken_events(FAMILY_OPENAI, "", OPENAI_GONE);
	broken_events(FAMILY_ANTHROPIC, "data: 1\n\n", "data: 1\n\n" ANTHROPIC_GONE);
}

static void an_empty_line_is_seen_across_frames(void)
{
	set_up(0, 0);
	enter_for_events(FAMILY_OPENAI);
	say_head(200, EVENTS);
	say_bytes("data: 1\n");
	say_bytes("\n");
	say_end(FRAME_END_ABORTED, 502, "gone");
	CHECK_STR(body(), "data: 1\n\n" OPENAI_GONE);
	tear_down();
}

static void an_error_behind_comments_is_an_event(void)
{
	set_up(15000, 0);
	enter_for_events(FAMILY_OPENAI);
	pass_ms(15000);
	say_head(500, "Content-Type: application/json\n");
	say_bytes("{\"error\":\n");
	say_bytes("{}}\n");
	say_end(FRAME_END_CLEAN, 0, "");
	CHECK_STR(body(), ":\n\ndata: {\"error\": {}} \n\n");
	CHECK(b.ended);
	tear_down();

	set_up(15000, 0);
	enter_for_events(FAMILY_ANTHROPIC);
	pass_ms(15000);
	say_end(FRAME_END_REFUSED, 503, "gone");
	CHECK_STR(body(), ":\n\nevent: error\ndata: {\"type\":\"error\",\"error\":"
	                  "{\"type\":\"overloaded_error\",\"message\":\"gone\"}}\n\n");
	tear_down();
}

static void who_asked_for_events_and_gets_an_error_gets_its_status(void)
{
	set_up(0, 0);
	enter_for_events(FAMILY_OPENAI);
	say_head(404, "Content-Type: application/json\n");
	say_bytes("{}\n");
	say_end(FRAME_END_CLEAN, 0, "");
	CHECK(strstr(out(), "Status: 404\r\n") == b.out.p);
	CHECK_STR(body(), "{}\n");
	tear_down();
}

static void who_is_in_doubt_gets_no_keepalive(void)
{
	int pair[2];

	set_up(15000, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	b.worker = pair[1];
	enter_ticket((struct lot_ticket){ .relay = pair[0], .ndjson = true,
	                                  .doubtful = true });
	say_hello(FRAME_VERSION);
	for (int i = 0; i < 10; i++)
		pass_ms(15000);
	CHECK_STR(out(), "");
	say_head(404, "Content-Type: application/json\n");
	CHECK(strstr(out(), "Status: 404\r\n") == b.out.p);
	tear_down();
}

/* --- refusals ----------------------------------------------------------------------- */

static void a_refusal_is_an_error_with_its_status(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_end(FRAME_END_REFUSED, 504, "took too \"long\"");
	CHECK_STR(out(),
	          "Status: 504\r\nContent-Type: application/json; charset=utf-8\r\n"
	          "Content-Length: 29\r\n" ID_LINE "\r\n"
	          "{\"error\":\"took too \\\"long\\\"\"}");
	CHECK(b.ended);
	tear_down();
}

static void a_refusal_for_now_says_when_to_come_again(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_end(FRAME_END_REFUSED, 503, "busy");
	CHECK(strstr(out(), "\r\nRetry-After: 5\r\n") != NULL);
	tear_down();
}

static void a_refusal_to_too_many_says_when_to_come_again(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_end(FRAME_END_REFUSED, 429, "later");
	CHECK(strstr(out(), "Status: 429\r\n") == b.out.p);
	CHECK(strstr(out(), "\r\nRetry-After: 5\r\n") != NULL);
	tear_down();
}

static void a_refusal_is_cut_at_the_limit(void)
{
	char text[LIMIT_ERROR_TEXT + 2], want[LIMIT_ERROR_TEXT + 32];

	memset(text, 'x', sizeof(text));
	for (size_t more = 0; more < 2; more++) {
		text[LIMIT_ERROR_TEXT + more] = '\0';
		snprintf(want, sizeof(want), "{\"error\":\"%.*s\"}", LIMIT_ERROR_TEXT,
		         text);
		set_up(0, 0);
		enter_attached(true);
		say_end(FRAME_END_REFUSED, 599, text);
		CHECK_STR(body(), want);
		CHECK(strstr(out(), "Status: 599\r\n") == b.out.p);
		tear_down();
		text[LIMIT_ERROR_TEXT + more] = 'x';
	}
}

static void a_refusal_without_sense_is_a_bad_gateway(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_end(FRAME_END_REFUSED, 200, "");
	CHECK(strstr(out(), "Status: 502\r\n") == b.out.p);
	CHECK_STR(body(), "{\"error\":\"foreman: the answer broke off\"}");
	tear_down();

	set_up(0, 0);
	enter_attached(true);
	say_end(FRAME_END_REFUSED, 600, "");
	CHECK(strstr(out(), "Status: 502\r\n") == b.out.p);
	tear_down();
}

static void an_end_without_an_answer_is_a_bad_gateway(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_end(FRAME_END_CLEAN, 0, "");
	CHECK(strstr(out(), "Status: 502\r\n") == b.out.p);
	tear_down();
}

/* --- keepalive ------------------------------------------------------------ */

static void who_waits_gets_four_spaces_one_by_one(void)
{
	set_up(15000, 0);
	enter_attached(true);
	pass_ms(14999);
	CHECK_STR(out(), "");
	pass_ms(1);
	CHECK_STR(out(), "Status: 200\r\nContent-Type: application/x-ndjson\r\n" ID_LINE
	                 "\r\n ");
	for (int i = 0; i < 3; i++)
		pass_ms(LIMIT_HEARTBEAT_GAP_MS);
	CHECK_STR(body(), "    ");
	pass_ms(14999);
	CHECK_STR(body(), "    ");
	pass_ms(1);
	CHECK_STR(body(), "     ");
	tear_down();
}

static void a_keepalive_promises_the_media_type_of_the_answer(void)
{
	set_up(1, 0);
	enter_attached(false);
	pass_ms(1);
	CHECK(strstr(out(), "Content-Type: application/json; charset=utf-8\r\n") !=
	      NULL);
	tear_down();
}

static void no_keepalive_when_it_is_zero(void)
{
	set_up(0, 0);
	enter_attached(true);
	pass_ms(86400000);
	CHECK_STR(out(), "");
	tear_down();
}

static void the_answer_follows_the_spaces_and_ends_them(void)
{
	set_up(100, 0);
	enter_attached(true);
	pass_ms(100);
	say_head(200, NDJSON "X-Late: 1\n");
	pass_ms(1000);
	say_bytes("{\"done\":true}\n");
	say_end(FRAME_END_CLEAN, 0, "");
	CHECK_STR(body(), " {\"done\":true}\n");
	CHECK(!strstr(out(), "X-Late"));
	CHECK(b.ended);
	tear_down();
}

static void an_error_behind_spaces_is_one_line(void)
{
	set_up(100, 0);
	enter_attached(true);
	pass_ms(100);
	say_head(404, "Content-Type: application/json\n");
	say_bytes("{\"error\":\r\n\"model not found\"}");
	say_end(FRAME_END_CLEAN, 0, "");
	CHECK_STR(body(), " {\"error\":  \"model not found\"}\n");
	CHECK(b.ended);
	tear_down();
}

static void an_empty_error_behind_spaces_gets_words(void)
{
	set_up(100, 0);
	enter_attached(true);
	pass_ms(100);
	say_head(500, "");
	say_end(FRAME_END_CLEAN, 0, "");
	CHECK_STR(body(),
	          " {\"error\":\"foreman: the target answered with an error\"}\n");
	CHECK(b.ended);
	tear_down();
}

static void a_refusal_behind_spaces_is_a_line(void)
{
	set_up(100, 0);
	enter_attached(true);
	pass_ms(100);
	say_end(FRAME_END_REFUSED, 503, "foreman: canceled");
	CHECK_STR(body(), " {\"error\":\"foreman: canceled\"}\n");
	CHECK(b.ended);
	tear_down();
}

static void a_client_that_takes_no_space_gets_no_more(void)
{
	int size = 1;

	set_up(10, 0);
	enter_attached(true);
	/* nobody reads: fill the socket, then count what waits in the guest */
	setsockopt(b.client, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (int i = 0; i < 100000; i++)
		pass_ms(10);
	CHECK_INT(b.yard.guests.count, 1);
	client_reads();
	CHECK(b.out.len < 400000);
	tear_down();
}

/* --- leaving -------------------------------------------------------------- */

static void a_client_that_leaves_the_line_closes_its_relay(void)
{
	set_up(0, 0);
	enter_attached(true);
	fd_close(&b.client);
	turn();
	CHECK_INT(b.yard.guests.count, 0);
	CHECK(worker_sees_eof());
	CHECK_INT(b.cancels, 0); /* the worker does it */
	tear_down();
}

static void a_half_close_is_a_leave(void)
{
	set_up(0, 0);
	enter_attached(true);
	shutdown(b.client, SHUT_WR);
	turn();
	CHECK_INT(b.yard.guests.count, 0);
	CHECK(worker_sees_eof());
	tear_down();
}

static void a_client_that_leaves_the_stream_closes_its_relay(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_head(200, NDJSON);
	fd_close(&b.client);
	turn();
	CHECK_INT(b.yard.guests.count, 0);
	CHECK(worker_sees_eof());
	tear_down();
}

static void who_leaves_while_no_worker_is_there_is_cancelled_in_the_database(void)
{
	set_up(0, 0);
	enter(-1, true);
	fd_close(&b.client);
	turn();
	CHECK_INT(b.yard.guests.count, 0);
	CHECK_INT(b.cancels, 1);
	tear_down();
}

/* --- attaching again ------------------------------------------------------ */

static void who_is_not_attached_is_attached_when_a_worker_comes(void)
{
	set_up(0, 0);
	fd_close(&b.listener);
	unlink(b.path);
	enter(-1, true);
	pass_ms(LIMIT_RELAY_RETRY_MS);
	pass_ms(LIMIT_RELAY_RETRY_MS);
	listen_on();
	CHECK(!accept_attach());
	pass_ms(LIMIT_RELAY_RETRY_MS);
	REQUIRE(accept_attach());
	say_hello(FRAME_VERSION);
	say_head(200, NDJSON);
	say_bytes("{}\n");
	CHECK_STR(body(), "{}\n");
	tear_down();
}

static void who_has_seen_nothing_survives_a_worker(void)
{
	set_up(1000, 0);
	enter_attached(true);
	pass_ms(1000);
	CHECK_STR(body(), " ");
	fd_close(&b.worker);
	turn();
	pass_ms(LIMIT_RELAY_RETRY_MS);
	REQUIRE(accept_attach());
	say_hello(FRAME_VERSION);
	say_head(200, NDJSON);
	say_bytes("{}\n");
	say_end(FRAME_END_CLEAN, 0, "");
	CHECK_STR(body() + strspn(body(), " "), "{}\n");
	CHECK(b.ended);
	CHECK_INT(b.cancels, 0);
	tear_down();
}

static void a_worker_of_another_build_is_not_believed(void)
{
	set_up(0, 0);
	enter(-1, true);
	pass_ms(LIMIT_RELAY_RETRY_MS);
	REQUIRE(accept_attach());
	say_hello(FRAME_VERSION + 1);
	say_head(200, NDJSON);
	CHECK_STR(out(), "");
	CHECK(worker_sees_eof());
	pass_ms(LIMIT_RELAY_RETRY_MS);
	CHECK(accept_attach());
	tear_down();
}

/* --- waiting too long, stopping ------------------------------------------- */

static void who_waits_too_long_gets_503_and_loses_the_place(void)
{
	set_up(0, 5000);
	enter_attached(true);
	pass_ms(4999);
	CHECK_STR(out(), "");
	pass_ms(1);
	CHECK(strstr(out(), "Status: 503\r\n") == b.out.p);
	CHECK(strstr(out(), "Retry-After: ") != NULL);
	CHECK(worker_sees_eof());
	tear_down();
}

static void waiting_too_long_behind_spaces_is_a_line(void)
{
	set_up(3000, 5000);
	enter_attached(true);
	pass_ms(3000);
	pass_ms(2000);
	CHECK(strstr(body(), "{\"error\":\"foreman: waited in line for too long\"}\n"));
	CHECK(b.ended);
	tear_down();
}

static void waiting_too_long_without_a_worker_cancels_in_the_database(void)
{
	set_up(0, 5000);
	fd_close(&b.listener);
	unlink(b.path);
	enter(-1, true);
	pass_ms(5000);
	CHECK(strstr(out(), "Status: 503\r\n") == b.out.p);
	CHECK_INT(b.cancels, 1);
	tear_down();
}

static void who_reads_has_no_limit_on_waiting(void)
{
	set_up(0, 5000);
	enter_attached(true);
	say_head(200, NDJSON);
	pass_ms(50000);
	CHECK_STR(body(), "");
	CHECK(!b.ended);
	tear_down();
}

static void stopping_ends_who_waits_with_503(void)
{
	set_up(0, 0);
	enter_attached(true);
	yard_dismiss(&b.yard);
	turn();
	CHECK(strstr(out(), "Status: 503\r\n") == b.out.p);
	CHECK(worker_sees_eof());
	tear_down();
}

static void stopping_ends_who_reads_with_a_line(void)
{
	set_up(0, 0);
	enter_attached(true);
	say_head(200, NDJSON);
	say_bytes("{\"a\":1}\n");
	yard_dismiss(&b.yard);
	turn();
	CHECK_STR(body(), "{\"a\":1}\n"
	                  "{\"error\":\"foreman: is stopping, please try again\"}\n");
	CHECK(worker_sees_eof());
	tear_down();
}

/* --- bounds --------------------------------------------------------------- */

static void a_client_that_does_not_read_stops_the_relay_and_loses_nothing(void)
{
	char *line = malloc(LIMIT_FRAME + 1);
	size_t sent = 0, enough = 8 << 20;

	memset(line, 'x', LIMIT_FRAME);
	line[LIMIT_FRAME - 1] = '\n';
	line[LIMIT_FRAME] = '\0';
	set_up(0, 0);
	enter_attached(true);
	say_head(200, NDJSON);
	if (fd_nonblock(b.worker, true))
		abort();
	/* whole frames only: stop when the next might not fit */
	while (sent < enough) {
		struct pollfd p = { .fd = b.worker, .events = POLLOUT };
		int room = 4 * LIMIT_FRAME;

		setsockopt(b.worker, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
		if (poll(&p, 1, 0) != 1 || !say_bytes(line))
			break;
		sent += LIMIT_FRAME;
	}
	CHECK(sent < enough);
	CHECK(sent >= LIMIT_FRAME);
	for (int i = 0; i < 1000 && strlen(body()) < sent; i++)
		turn();
	/* a frame that was cut by the full socket is none of ours to count */
	CHECK(strlen(body()) >= sent);
	free(line);
	tear_down();
}

/* Three frames in one write, of which two and a part are read at once: the
 * client takes one, and the rest has to wait for it here. */
static void what_was_read_too_early_waits_for_the_client(void)
{
	enum { size = LIMIT_FRAME - 1000 };
	static char line[size + 1];
	struct frame f = { .type = FRAME_BYTES, .data = { line, size } };
	struct buf bytes;

	memset(line, 'x', size);
	set_up(0, 0);
	kernel_takes = 4096;
	enter_attached(false);
	kernel_takes = 0;
	say_head(200, "");
	buf_init(&bytes, 4 * LIMIT_FRAME);
	for (int i = 0; i < 3; i++) {
		line[0] = (char)('1' + i);
		REQUIRE(!frame_encode(&f, &bytes));
	}
	REQUIRE(!fd_write_all(b.worker, bytes.p, bytes.len, 0));
	buf_done(&bytes);
	turn();
	CHECK_INT(b.yard.guests.count, 1);
	CHECK_INT(strlen(body()), 3 * size);
	for (int i = 0; i < 3; i++)
		CHECK_INT(body()[i * size], '1' + i);
	tear_down();
}

static void many_short_lines_in_one_frame_stay_within_bounds(void)
{
	char *lines = malloc(LIMIT_FRAME + 1);

	memset(lines, '\n', LIMIT_FRAME);
	lines[LIMIT_FRAME] = '\0';
	set_up(0, 0);
	enter_attached(true);
	say_head(200, NDJSON);
	say_bytes(lines);
	say_bytes(lines);
	CHECK_INT(strlen(body()), 2 * LIMIT_FRAME);
	CHECK_INT(b.yard.guests.count, 1);
	free(lines);
	tear_down();
}

static void a_frame_that_comes_byte_by_byte_is_one(void)
{
	struct frame f = { .type = FRAME_BYTES, .data = SPAN_LIT("{\"a\":1}\n") };
	struct buf bytes;

	set_up(0, 0);
	enter_attached(true);
	say_head(200, NDJSON);
	client_reads();
	b.record_count = 0;
	buf_init(&bytes, 100);
	REQUIRE(!frame_encode(&f, &bytes));
	for (size_t i = 0; i < bytes.len; i++) {
		CHECK(!fd_write_all(b.worker, bytes.p + i, 1, 0));
		turn();
	}
	buf_done(&bytes);
	CHECK_STR(body(), "{\"a\":1}\n");
	CHECK_INT(b.record_count, 1);
	tear_down();
}

static void a_parked_client_costs_less_than_16_kb(void)
{
	enum { GUESTS = 64 };
	static int clients[GUESTS], workers[GUESTS];
	size_t before, after;

	set_up(15000, 0);
	before = mallinfo2().uordblks;
	for (int i = 0; i < GUESTS; i++) {
		enter_attached(true);
		clients[i] = b.client;
		workers[i] = b.worker;
		b.client = b.worker = -1;
	}
	pass_ms(15000); /* a keepalive for each is part of it */
	after = mallinfo2().uordblks;
	CHECK((after - before) / GUESTS < 16 * 1024 - 2048); /* and the kernel's */
	for (int i = 0; i < GUESTS; i++) {
		close(clients[i]);
		close(workers[i]);
	}
	tear_down();
}

/* --- readers of other clients' jobs --------------------------------------- */

#define READER_HEAD \
	"Status: 200\r\nContent-Type: application/x-ndjson\r\n"                        \
	"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n" ID_LINE "\r\n"
#define ON_THE_SHELF "{\"error\":\"the job cannot be read\",\"reason\":\"internal\"}\n"

/* One that follows along, attached unless `relay` is -1. */
static void enter_reader(bool attached, bool events)
{
	int pair[2] = { -1, -1 };

	if (attached && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	b.worker = pair[1];
	enter_ticket((struct lot_ticket){ .relay = pair[0],
	                                  .family = events ? FAMILY_OPENAI
	                                                   : FAMILY_OLLAMA,
	                                  .ndjson = !events,
	                                  .events = events,
	                                  .reader = true });
	if (attached)
		say_hello(FRAME_VERSION);
}

static void a_readers_head_is_out_at_once(void)
{
	set_up(0, 1000);
	enter_reader(true, false);
	CHECK_STR(out(), READER_HEAD);
	pass_ms(5000); /* waiting has no limit here */
	say_head(200, "Content-Type: application/json\n");
	say_bytes("{\"a\":1}\n");
	CHECK_STR(out(), READER_HEAD "{\"a\":1}\n");
	tear_down();
}

static void a_reader_gets_keepalives_and_cancels_nothing(void)
{
	set_up(1000, 0);
	enter_reader(true, false);
	pass_ms(1000);
	CHECK_STR(body(), " ");
	fd_close(&b.client);
	turn();
	CHECK(worker_sees_eof());
	CHECK_INT(b.yard.guests.count, 0);
	enter_reader(false, false); /* nor where no worker could be told */
	fd_close(&b.client);
	turn();
	CHECK_INT(b.cancels, 0);
	tear_down();
}

static void a_reader_attaches_as_one_when_a_worker_comes(void)
{
	set_up(0, 0);
	enter_reader(false, false);
	pass_ms(LIMIT_RELAY_RETRY_MS);
	CHECK(accept_attach_as(FRAME_READER));
	tear_down();
}

static void a_reader_that_was_refused_goes_to_the_shelf(void)
{
	set_up(0, 0);
	enter_reader(true, false);
	say_end(FRAME_END_REFUSED, 410, "the job has ended");
	CHECK_STR(body(), ON_THE_SHELF);
	CHECK(b.ended);
	CHECK_INT(b.yard.guests.count, 0);
	tear_down();
}

static void a_reader_at_the_end_goes_to_the_shelf(void)
{
	set_up(0, 0);
	enter_reader(true, false);
	say_head(200, NDJSON);
	say_bytes("{\"a\":1}\n{");
	say_end(FRAME_END_CLEAN, 200, "");
	CHECK_STR(body(), "{\"a\":1}\n{\n" ON_THE_SHELF); /* and knows the open line */
	CHECK(b.ended);
	tear_down();
}

static void a_readers_error_is_told_by_the_shelf(void)
{
	set_up(0, 0);
	enter_reader(true, false);
	say_head(404, "Content-Type: application/json\n");
	say_bytes("{\"error\":\"no model\"}");
	say_end(FRAME_END_CLEAN, 404, "");
	CHECK_STR(body(), ON_THE_SHELF);
	tear_down();
}

static void a_reader_that_has_seen_nothing_survives_a_worker(void)
{
	set_up(0, 0);
	enter_reader(true, false);
	say_head(200, NDJSON);
	fd_close(&b.worker);
	turn();
	CHECK_INT(b.yard.guests.count, 1);
	pass_ms(LIMIT_RELAY_RETRY_MS);
	CHECK(accept_attach_as(FRAME_READER));
	say_hello(FRAME_VERSION);
	say_head(200, NDJSON);
	say_bytes("{\"a\":1}\n");
	CHECK_STR(body(), "{\"a\":1}\n");
	tear_down();
}

static void a_reader_whose_worker_dies_is_told_of_an_interruption(void)
{
	set_up(0, 0);
	enter_reader(true, true);
	say_head(200, "Content-Type: text/event-stream\n");
	say_bytes("data: 1\n");
	fd_close(&b.worker);
	turn();
	CHECK(strstr(body(), "data: 1\n\ndata: {\"error\":{") != NULL);
	CHECK(strstr(body(), "\"code\":\"interrupted\"") != NULL);
	CHECK(b.ended);
	tear_down();
}

static void stopping_ends_readers_with_a_line(void)
{
	set_up(0, 0);
	enter_reader(true, false);
	yard_dismiss(&b.yard);
	turn();
	CHECK(strstr(body(), "{\"error\":\"foreman: is stopping") == body());
	CHECK(b.ended);
	CHECK_INT(b.cancels, 0);
	tear_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(the_head_is_the_targets_with_the_job_and_its_times),
		T(each_line_is_one_record),
		T(an_answer_that_is_no_stream_is_not_cut_at_newlines),
		T(a_clean_end_ends_the_request_and_lets_the_worker_go),
		T(a_client_that_never_closes_is_closed),
		T(an_aborted_stream_ends_with_an_error_line),
		T(an_aborted_answer_of_known_length_ends_short),
		T(a_worker_lost_in_the_stream_is_told_in_a_line),
		T(what_is_no_frame_is_a_lost_worker),
		T(bytes_before_a_head_are_a_lost_worker),
		T(headers_that_are_none_become_an_error),
		T(who_does_not_greet_is_no_worker),
		T(what_only_responders_say_is_no_workers_word),
		T(a_head_may_be_a_status_alone),
		T(two_who_lose_one_worker_are_both_attached_to_the_next),
		T(only_who_lost_the_worker_is_attached_again),
		T(who_is_in_doubt_gets_no_keepalive_from_the_next_worker_either),
		T(a_refusal_to_too_many_says_when_to_come_again),
		T(a_refusal_is_cut_at_the_limit),
		T(a_refusal_is_an_error_with_its_status),
		T(a_refusal_for_now_says_when_to_come_again),
		T(a_refusal_without_sense_is_a_bad_gateway),
		T(an_end_without_an_answer_is_a_bad_gateway),
		T(who_waits_gets_four_spaces_one_by_one),
		T(a_keepalive_promises_the_media_type_of_the_answer),
		T(no_keepalive_when_it_is_zero),
		T(the_answer_follows_the_spaces_and_ends_them),
		T(an_error_behind_spaces_is_one_line),
		T(an_empty_error_behind_spaces_gets_words),
		T(a_refusal_behind_spaces_is_a_line),
		T(a_client_that_takes_no_space_gets_no_more),
		T(a_client_that_leaves_the_line_closes_its_relay),
		T(a_half_close_is_a_leave),
		T(a_client_that_leaves_the_stream_closes_its_relay),
		T(who_leaves_while_no_worker_is_there_is_cancelled_in_the_database),
		T(who_is_not_attached_is_attached_when_a_worker_comes),
		T(who_has_seen_nothing_survives_a_worker),
		T(a_worker_of_another_build_is_not_believed),
		T(who_waits_too_long_gets_503_and_loses_the_place),
		T(waiting_too_long_behind_spaces_is_a_line),
		T(waiting_too_long_without_a_worker_cancels_in_the_database),
		T(who_reads_has_no_limit_on_waiting),
		T(stopping_ends_who_waits_with_503),
		T(stopping_ends_who_reads_with_a_line),
		T(a_client_that_does_not_read_stops_the_relay_and_loses_nothing),
		T(what_was_read_too_early_waits_for_the_client),
		T(many_short_lines_in_one_frame_stay_within_bounds),
		T(a_frame_that_comes_byte_by_byte_is_one),
		T(a_parked_client_costs_less_than_16_kb),
		T(events_are_passed_on_as_they_come),
		T(who_waits_for_events_gets_four_comments_one_by_one),
		T(events_that_break_off_end_with_an_error_event),
		T(an_empty_line_is_seen_across_frames),
		T(an_error_behind_comments_is_an_event),
		T(who_asked_for_events_and_gets_an_error_gets_its_status),
		T(who_is_in_doubt_gets_no_keepalive),
		T(a_readers_head_is_out_at_once),
		T(a_reader_gets_keepalives_and_cancels_nothing),
		T(a_reader_attaches_as_one_when_a_worker_comes),
		T(a_reader_that_was_refused_goes_to_the_shelf),
		T(a_reader_at_the_end_goes_to_the_shelf),
		T(a_readers_error_is_told_by_the_shelf),
		T(a_reader_that_has_seen_nothing_survives_a_worker),
		T(a_reader_whose_worker_dies_is_told_of_an_interruption),
		T(stopping_ends_readers_with_a_line),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
