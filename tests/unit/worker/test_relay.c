/*
 * test_relay.c - responders on the relay, over a real unix socket.
 */
#include <config.h>

#include "worker/relay.h"

#include "t.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sig.h"
#include "core/limits.h"

#define ID_A "01ARZ3NDEKTSV4RRFFQ69G5FAA"
#define ID_B "01ARZ3NDEKTSV4RRFFQ69G5FAB"

struct heard {
	int nudges, attached, gone, cancels;
	char id[ULID_SIZE]; /* of the last call */
	enum frame_role role;
};

static char dir[64], path[80];
static struct loop *loop;
static struct replies *replies;
static struct relay *relay;
static int listen_fd;
static struct heard heard;

static void on_nudge(void *arg)
{
	(void)arg;
	heard.nudges++;
}

static void on_attached(void *arg, const char *id, enum frame_role role)
{
	(void)arg;
	heard.attached++;
	heard.role = role;
	str_copy(heard.id, sizeof(heard.id), id);
}

static void on_gone(void *arg, const char *id)
{
	(void)arg;
	heard.gone++;
	str_copy(heard.id, sizeof(heard.id), id);
}

static void on_cancel(void *arg, const char *id)
{
	(void)arg;
	heard.cancels++;
	str_copy(heard.id, sizeof(heard.id), id);
}

static void begin_keeping(size_t keep)
{
	static const struct relay_calls calls = { on_nudge, on_attached, on_gone,
		                                      on_cancel };
	struct errtext why;

	sig_block_all();
	log_init("test", LOG_ERROR, LOG_LOGFMT);
	heard = (struct heard){ 0 };
	snprintf(dir, sizeof(dir), "/tmp/foreman-unit-XXXXXX");
	REQUIRE(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/r.sock", dir);
	REQUIRE(fd_listen_unix(path, 16, &listen_fd, &why) == ERR_OK);
	REQUIRE(loop_new(&loop) == ERR_OK);
	replies = replies_new(loop, keep);
	REQUIRE(replies);
	REQUIRE(relay_new(loop, listen_fd, path, replies, &calls, NULL, &relay) ==
	        ERR_OK);
}

static void begin(void)
{
	begin_keeping(1 << 24);
}

static void finish(void)
{
	relay_free(relay);
	replies_free(replies);
	loop_free(loop);
	fd_close(&listen_fd);
	unlink(path);
	rmdir(dir);
}

#define UNTIL(cond)                                                                \
	do {                                                                           \
		int64_t end_ms = clock_mono_ms() + 10000;                                  \
		while (!(cond) && clock_mono_ms() < end_ms)                                \
			CHECK(loop_turn(loop, 10, NULL) == ERR_OK);                            \
		REQUIRE(cond);                                                             \
	} while (0)

/* --- a responder ----------------------------------------------------------- */

struct peer {
	int fd;
	struct buf in;
	bool closed;
};

static void say(struct peer *p, const struct frame *f)
{
	struct buf out;

	buf_init(&out, LIMIT_FRAME + FRAME_HEADER);
	CHECK(frame_encode(f, &out) == ERR_OK);
	CHECK(fd_write_all(p->fd, out.p, out.len, 1000) == ERR_OK);
	buf_done(&out);
}

static void say_hello(struct peer *p, uint16_t version)
{
	say(p, &(struct frame){ .type = FRAME_HELLO, .version = version });
}

static void say_id(struct peer *p, enum frame_type type, const char *id,
                   enum frame_role role)
{
	struct frame f = { .type = type, .role = role };

	str_copy(f.id, sizeof(f.id), id);
	say(p, &f);
}

static void peer_open(struct peer *p)
{
	*p = (struct peer){ .fd = -1 };
	buf_init(&p->in, 1 << 24);
	CHECK(fd_connect_unix(path, true, &p->fd) == ERR_OK);
}

static void peer_new(struct peer *p)
{
	peer_open(p);
	say_hello(p, FRAME_VERSION);
}

static void peer_close(struct peer *p)
{
	fd_close(&p->fd);
	buf_done(&p->in);
}

/* Read what is there. */
static void peer_read(struct peer *p)
{
	char bytes[65536];
	ssize_t n;

	while ((n = recv(p->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		CHECK(buf_add(&p->in, bytes, (size_t)n) == ERR_OK);
	p->closed = n == 0 || (n < 0 && errno != EAGAIN);
}

/* The next frame, if it is whole; its bytes stay until peer_drop. */
static bool peer_frame(struct peer *p, struct frame *f, size_t *used)
{
	peer_read(p);
	return p->in.len > 0 &&
	       frame_decode((struct span){ p->in.p, p->in.len }, f, used) == ERR_OK;
}

/* Wait for the next frame and check its type. */
static struct frame expect(struct peer *p, enum frame_type type)
{
	struct frame f = { .type = FRAME_TYPE_COUNT };
	int64_t end_ms = clock_mono_ms() + 10000;
	size_t used = 0;

	while (!peer_frame(p, &f, &used) && clock_mono_ms() < end_ms)
		CHECK(loop_turn(loop, 10, NULL) == ERR_OK);
	CHECK_INT(f.type, type);
	buf_consume(&p->in, used);
	f.data = (struct span){ NULL, f.data.len }; /* only its length stays true */
	return f;
}

static struct reply *running(const char *id)
{
	struct reply *r = reply_open(replies, 1 << 24);

	reply_name(r, id);
	relay_bind(relay, id, r);
	return r;
}

static void over(struct reply *r)
{
	reply_end(r, FRAME_END_CLEAN, 200, NULL);
	reply_release(r);
}

/* --- the cases ------------------------------------------------------------- */

static void a_peer_is_greeted_and_its_nudge_heard(void)
{
	struct peer p;

	begin();
	peer_new(&p);
	say(&p, &(struct frame){ .type = FRAME_NUDGE });
	CHECK_INT(expect(&p, FRAME_HELLO).version, FRAME_VERSION);
	UNTIL(heard.nudges == 1);
	peer_close(&p);
	finish();
}

static void an_owner_is_known_as_soon_as_its_words_are_read(void)
{
	struct peer p;

	begin();
	peer_new(&p);
	say_id(&p, FRAME_ATTACH, ID_A, FRAME_OWNER);
	CHECK(!relay_has_owner(relay, ID_A));
	relay_catch_up(relay); /* no turn of the loop is needed */
	CHECK(relay_has_owner(relay, ID_A));
	CHECK(!relay_has_owner(relay, ID_B));
	CHECK_INT(heard.attached, 1);
	peer_close(&p);
	finish();
}

static void a_reader_is_no_owner(void)
{
	struct peer p;

	begin();
	peer_new(&p);
	say_id(&p, FRAME_ATTACH, ID_A, FRAME_READER);
	relay_catch_up(relay);
	CHECK_INT(heard.role, FRAME_READER);
	CHECK(!relay_has_owner(relay, ID_A));
	peer_close(&p);
	UNTIL(!relay_has_owner(relay, ID_A));
	CHECK_INT(heard.gone, 0);
	finish();
}

static void an_owner_that_leaves_is_told_once(void)
{
	struct peer p;

	begin();
	peer_new(&p);
	say_id(&p, FRAME_ATTACH, ID_A, FRAME_OWNER);
	UNTIL(heard.attached == 1);
	peer_close(&p);
	UNTIL(heard.gone == 1);
	CHECK_STR(heard.id, ID_A);
	CHECK(!relay_has_owner(relay, ID_A));
	finish();
}

static void an_owner_that_leaves_after_the_end_cancels_nothing(void)
{
	struct peer p;
	struct reply *r;

	begin();
	peer_new(&p);
	say_id(&p, FRAME_ATTACH, ID_A, FRAME_OWNER);
	UNTIL(heard.attached == 1);
	r = running(ID_A);
	CHECK(reply_head(r, 200, 0, 0, SPAN_LIT(""), false) == ERR_OK);
	over(r);
	expect(&p, FRAME_HELLO);
	expect(&p, FRAME_HEAD);
	expect(&p, FRAME_END);
	peer_close(&p);
	for (int i = 0; i < 3; i++)
		CHECK(loop_turn(loop, 10, NULL) == ERR_OK);
	CHECK_INT(heard.gone, 0);
	finish();
}

static void everybody_who_waits_reads_and_so_does_who_comes_late(void)
{
	struct peer p[3];
	struct reply *r;

	begin();
	for (int i = 0; i < 2; i++) {
		peer_new(&p[i]);
		say_id(&p[i], FRAME_ATTACH, ID_A, i ? FRAME_READER : FRAME_OWNER);
	}
	UNTIL(heard.attached == 2);
	r = running(ID_A);
	CHECK(reply_head(r, 200, 0, 0, SPAN_LIT("A: b\n"), false) == ERR_OK);
	CHECK(reply_add(r, "hello", 5) == ERR_OK);
	peer_new(&p[2]);
	say_id(&p[2], FRAME_ATTACH, ID_A, FRAME_READER);
	for (int i = 0; i < 3; i++) {
		expect(&p[i], FRAME_HELLO);
		CHECK_INT(expect(&p[i], FRAME_HEAD).data.len, 5);
		CHECK_INT(expect(&p[i], FRAME_BYTES).data.len, 5);
	}
	CHECK_INT(heard.attached, 2); /* the late one found the reply */
	over(r);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(expect(&p[i], FRAME_END).end, FRAME_END_CLEAN);
		peer_close(&p[i]);
	}
	finish();
}

static void a_reader_that_stalls_stays_behind_and_gets_it_all(void)
{
	size_t piece = 1 << 20, got = 0;
	char *bytes = calloc(1, piece);
	struct peer p;
	struct reply *r;

	begin();
	peer_new(&p);
	say_id(&p, FRAME_ATTACH, ID_A, FRAME_OWNER);
	UNTIL(heard.attached == 1);
	r = running(ID_A);
	CHECK(reply_head(r, 200, 0, 0, SPAN_LIT(""), false) == ERR_OK);
	for (int i = 0; i < 8; i++) /* far more than any socket buffer */
		CHECK(reply_add(r, bytes, piece) == ERR_OK);
	over(r);
	expect(&p, FRAME_HELLO);
	expect(&p, FRAME_HEAD);
	while (got < 8 * piece && !t_failed)
		got += expect(&p, FRAME_BYTES).data.len;
	CHECK_INT(got, 8 * piece);
	expect(&p, FRAME_END);
	peer_close(&p);
	free(bytes);
	finish();
}

static void an_owner_that_is_cut_loose_cancels_nothing(void)
{
	size_t piece = 1 << 20;
	char *bytes = calloc(1, piece);
	struct peer p;
	struct reply *r;

	begin_keeping(1000);
	peer_new(&p);
	say_id(&p, FRAME_ATTACH, ID_A, FRAME_OWNER);
	UNTIL(heard.attached == 1);
	r = running(ID_A);
	CHECK(reply_head(r, 200, 0, 0, SPAN_LIT(""), false) == ERR_OK);
	CHECK(reply_add(r, bytes, piece) == ERR_OK); /* more than a socket holds */
	over(r);
	UNTIL((peer_read(&p), p.closed));
	CHECK(p.in.len < piece);
	CHECK_INT(heard.gone, 0); /* its job has ended well */
	peer_close(&p);
	free(bytes);
	finish();
}

static void a_run_that_goes_back_keeps_those_who_saw_nothing_waiting(void)
{
	struct peer early, late;
	struct reply *r;

	begin();
	peer_new(&early);
	say_id(&early, FRAME_ATTACH, ID_A, FRAME_OWNER);
	UNTIL(heard.attached == 1);
	r = running(ID_A);
	relay_unbind(relay, ID_A);
	reply_withdraw(r);
	reply_end(r, FRAME_END_REFUSED, 503, "lost");
	reply_release(r);
	peer_new(&late);
	say_id(&late, FRAME_ATTACH, ID_A, FRAME_READER);
	UNTIL(heard.attached == 2); /* the old reply is not found any more */
	r = running(ID_A);
	CHECK(reply_head(r, 200, 0, 0, SPAN_LIT(""), false) == ERR_OK);
	over(r);
	expect(&early, FRAME_HELLO);
	expect(&early, FRAME_HEAD);
	expect(&late, FRAME_HELLO);
	expect(&late, FRAME_HEAD);
	peer_close(&early);
	peer_close(&late);
	finish();
}

static void one_who_saw_the_beginning_is_told_of_the_end(void)
{
	struct peer p;
	struct reply *r;

	begin();
	peer_new(&p);
	say_id(&p, FRAME_ATTACH, ID_A, FRAME_READER);
	UNTIL(heard.attached == 1);
	r = running(ID_A);
	CHECK(reply_head(r, 200, 0, 0, SPAN_LIT(""), false) == ERR_OK);
	relay_unbind(relay, ID_A);
	reply_withdraw(r);
	reply_end(r, FRAME_END_ABORTED, 503, "lost");
	reply_release(r);
	expect(&p, FRAME_HELLO);
	expect(&p, FRAME_HEAD);
	CHECK_INT(expect(&p, FRAME_END).end, FRAME_END_ABORTED);
	peer_close(&p);
	finish();
}

static void who_waits_in_vain_is_refused(void)
{
	struct peer a, b;
	struct frame f;

	begin();
	peer_new(&a);
	peer_new(&b);
	say_id(&a, FRAME_ATTACH, ID_A, FRAME_OWNER);
	say_id(&b, FRAME_ATTACH, ID_B, FRAME_OWNER);
	UNTIL(heard.attached == 2);
	relay_refuse(relay, ID_A, 499, "canceled");
	expect(&a, FRAME_HELLO);
	f = expect(&a, FRAME_END);
	CHECK_INT(f.end, FRAME_END_REFUSED);
	CHECK_INT(f.status, 499);
	CHECK_INT(f.data.len, 8);
	CHECK(!relay_has_owner(relay, ID_A));
	CHECK(relay_has_owner(relay, ID_B));
	peer_close(&a);
	peer_close(&b);
	finish();
}

static void a_cancel_needs_no_attachment(void)
{
	struct peer p;

	begin();
	peer_new(&p);
	say_id(&p, FRAME_CANCEL, ID_B, FRAME_OWNER);
	UNTIL(heard.cancels == 1);
	CHECK_STR(heard.id, ID_B);
	peer_close(&p);
	finish();
}

/* What each of these says ends its connection, and nobody else's. */
static void whoever_breaks_the_protocol_is_put_out(void)
{
	static const struct frame bytes = { .type = FRAME_BYTES,
		                                .data = SPAN_LIT("x") };
	static const struct frame nudge = { .type = FRAME_NUDGE };
	struct peer good, p;

	begin();
	peer_new(&good);
	for (int i = 0; i < 6; i++) {
		peer_open(&p);
		if (i == 0)
			say(&p, &nudge); /* before the hello */
		else if (i == 1)
			say_hello(&p, FRAME_VERSION + 1);
		else
			say_hello(&p, FRAME_VERSION);
		if (i == 2)
			say(&p, &bytes); /* the worker's own */
		if (i == 3)
			CHECK(fd_write_all(p.fd, "\xff\xff\xff\xff\xff", 5, 1000) == ERR_OK);
		if (i == 4)
			say_hello(&p, FRAME_VERSION); /* twice */
		if (i == 5) {
			say_id(&p, FRAME_ATTACH, ID_A, FRAME_READER);
			say_id(&p, FRAME_ATTACH, ID_B, FRAME_READER);
		}
		UNTIL((peer_read(&p), p.closed));
		peer_close(&p);
	}
	CHECK_INT(heard.nudges, 0);
	say(&good, &nudge);
	UNTIL(heard.nudges == 1);
	peer_close(&good);
	finish();
}

static void half_a_frame_waits_for_its_other_half(void)
{
	struct peer p;
	struct buf out;

	begin();
	peer_new(&p);
	buf_init(&out, 100);
	CHECK(frame_encode(&(struct frame){ .type = FRAME_CANCEL, .id = ID_A }, &out) ==
	      ERR_OK);
	for (size_t i = 0; i < out.len; i++) {
		CHECK_INT(heard.cancels, 0);
		CHECK(fd_write_all(p.fd, out.p + i, 1, 1000) == ERR_OK);
		CHECK(loop_turn(loop, 10, NULL) == ERR_OK);
	}
	UNTIL(heard.cancels == 1);
	buf_done(&out);
	peer_close(&p);
	finish();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_peer_is_greeted_and_its_nudge_heard),
		T(an_owner_is_known_as_soon_as_its_words_are_read),
		T(a_reader_is_no_owner),
		T(an_owner_that_leaves_is_told_once),
		T(an_owner_that_leaves_after_the_end_cancels_nothing),
		T(everybody_who_waits_reads_and_so_does_who_comes_late),
		T(a_reader_that_stalls_stays_behind_and_gets_it_all),
		T(an_owner_that_is_cut_loose_cancels_nothing),
		T(a_run_that_goes_back_keeps_those_who_saw_nothing_waiting),
		T(one_who_saw_the_beginning_is_told_of_the_end),
		T(who_waits_in_vain_is_refused),
		T(a_cancel_needs_no_attachment),
		T(whoever_breaks_the_protocol_is_put_out),
		T(half_a_frame_waits_for_its_other_half),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
