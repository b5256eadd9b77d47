/*
 * test_relay.c - responders on the relay, over a real unix socket.
 */
#include <config.h>

#include "worker/relay.h"

#include "t.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sig.h"
#include "core/limits.h"

#define ID_A "01ARZ3NDEKTSV4RRFFQ69G5FAA"
#define ID_B "01ARZ3NDEKTSV4RRFFQ69G5FAB"
/* In one slot of the table with A: */
#define ID_LIKE_A "01ARZ3NDEKTSV4RRFFQ69G518Y"

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

static void one_who_hangs_up_unheard_is_noticed_when_told_something(void)
{
	struct peer p;
	struct reply *r;

	begin();
	peer_new(&p);
	say_id(&p, FRAME_ATTACH, ID_A, FRAME_OWNER);
	UNTIL(heard.attached == 1);
	peer_close(&p);
	r = running(ID_A); /* before the loop has turned */
	CHECK(reply_head(r, 200, 0, 0, SPAN_LIT(""), false) == ERR_OK);
	CHECK_INT(heard.gone, 1);
	CHECK(!relay_has_owner(relay, ID_A));
	CHECK(reply_add(r, "on", 2) == ERR_OK);
	CHECK(loop_turn(loop, 10, NULL) == ERR_OK);
	CHECK_INT(heard.gone, 1); /* told once */
	over(r);
	finish();
}

static void whoever_leaves_takes_nobody_along(void)
{
	struct peer p[3];

	begin();
	for (int i = 0; i < 3; i++) {
		peer_new(&p[i]);
		say_id(&p[i], FRAME_ATTACH, i == 1 ? ID_LIKE_A : ID_A, FRAME_OWNER);
		UNTIL(heard.attached == i + 1);
	}
	peer_close(&p[1]); /* it stood between two, here and in the table */
	UNTIL(heard.gone == 1);
	CHECK_STR(heard.id, ID_LIKE_A);
	CHECK(relay_has_owner(relay, ID_A));
	peer_close(&p[0]);
	UNTIL(heard.gone == 2);
	CHECK(relay_has_owner(relay, ID_A));
	peer_close(&p[2]);
	UNTIL(heard.gone == 3);
	CHECK(!relay_has_owner(relay, ID_A));
	finish();
}

static void jobs_in_one_slot_of_the_table_are_told_apart(void)
{
	struct peer a, like_a;
	struct reply *r;

	begin();
	peer_new(&a);
	say_id(&a, FRAME_ATTACH, ID_A, FRAME_OWNER);
	UNTIL(heard.attached == 1);
	CHECK(!relay_has_owner(relay, ID_LIKE_A));
	peer_new(&like_a);
	say_id(&like_a, FRAME_ATTACH, ID_LIKE_A, FRAME_OWNER);
	UNTIL(heard.attached == 2);
	r = running(ID_A);
	CHECK(reply_head(r, 200, 0, 0, SPAN_LIT(""), false) == ERR_OK);
	relay_refuse(relay, ID_LIKE_A, 410, "the job has ended");
	expect(&a, FRAME_HELLO);
	expect(&a, FRAME_HEAD);
	expect(&like_a, FRAME_HELLO);
	expect(&like_a, FRAME_END);
	over(r);
	peer_close(&a);
	peer_close(&like_a);
	finish();
}

static void count_id(void *arg, const char *id)
{
	CHECK_STR(id, ID_B);
	++*(int *)arg;
}

/* A reader still has an earlier run's answer to take: the next run's is not
 * put behind it, and nothing that is said to those who wait is said to it. */
static void who_reads_an_earlier_run_is_left_with_it(void)
{
	struct peer reader, waiter;
	struct reply *first, *second;
	int waiting = 0;

	begin();
	peer_new(&reader);
	say_id(&reader, FRAME_ATTACH, ID_A, FRAME_READER);
	peer_new(&waiter);
	say_id(&waiter, FRAME_ATTACH, ID_B, FRAME_READER);
	UNTIL(heard.attached == 2);
	first = running(ID_A);
	CHECK(reply_head(first, 200, 0, 0, SPAN_LIT(""), false) == ERR_OK);
	relay_unbind(relay, ID_A); /* it has seen the head */
	reply_withdraw(first);
	second = running(ID_A);
	CHECK(reply_head(second, 200, 0, 0, SPAN_LIT(""), false) == ERR_OK);
	CHECK(reply_add(second, "other", 5) == ERR_OK);
	relay_refuse(relay, ID_A, 410, "the job has ended");
	relay_each_waiting(relay, count_id, &waiting);
	CHECK_INT(waiting, 1);
	over(first);
	over(second);
	expect(&reader, FRAME_HELLO);
	expect(&reader, FRAME_HEAD);
	CHECK_INT(expect(&reader, FRAME_END).end, FRAME_END_CLEAN);
	peer_close(&reader);
	peer_close(&waiter);
	finish();
}

static void catching_up_leaves_alone_who_is_attached(void)
{
	struct peer p;

	begin();
	peer_new(&p);
	say_id(&p, FRAME_ATTACH, ID_A, FRAME_OWNER);
	UNTIL(heard.attached == 1);
	say(&p, &(struct frame){ .type = FRAME_NUDGE });
	CHECK(relay_catch_up(relay));
	CHECK_INT(heard.nudges, 0); /* that can wait for its turn */
	UNTIL(heard.nudges == 1);
	peer_close(&p);
	finish();
}

/* So many frames of one kind, as one piece of bytes. */
static void say_often(struct peer *p, const struct frame *f, int times)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	for (int i = 0; i < times; i++)
		CHECK(frame_encode(f, &out) == ERR_OK);
	CHECK(fd_write_all(p->fd, out.p, out.len, 1000) == ERR_OK);
	buf_done(&out);
}

static void a_peer_that_talks_without_end_gets_its_share_of_a_turn(void)
{
	static const struct frame nudge = { .type = FRAME_NUDGE };
	const int times = 100 * 1024 / FRAME_HEADER; /* READ_MAX is 64 KiB */
	struct peer p;
	int first;

	begin();
	peer_new(&p);
	expect(&p, FRAME_HELLO);
	CHECK(loop_turn(loop, 10, NULL) == ERR_OK);
	say_often(&p, &nudge, times);
	CHECK(loop_turn(loop, 10, NULL) == ERR_OK);
	first = heard.nudges;
	CHECK(first > 0 && first < times);
	UNTIL(heard.nudges == times);
	peer_close(&p);
	finish();
}

/* The reads are 4 KiB long: what fills one may be followed by nothing, or by
 * what a peer says that was put out in the middle of it. */
static void bytes_that_fill_a_read_are_all_there_is(void)
{
	static const struct frame nudge = { .type = FRAME_NUDGE };
	static char bytes[4096];
	struct peer p;
	struct buf out;

	begin();
	peer_new(&p);
	expect(&p, FRAME_HELLO);
	CHECK(loop_turn(loop, 10, NULL) == ERR_OK);
	buf_init(&out, sizeof(bytes) + 100);
	while (out.len < sizeof(bytes))
		CHECK(frame_encode(&nudge, &out) == ERR_OK);
	CHECK(fd_write_all(p.fd, out.p, sizeof(bytes), 1000) == ERR_OK);
	CHECK(loop_turn(loop, 10, NULL) == ERR_OK);
	CHECK_INT(heard.nudges, sizeof(bytes) / FRAME_HEADER);
	buf_done(&out);
	memset(bytes, 0xff, sizeof(bytes));
	CHECK(fd_write_all(p.fd, bytes, sizeof(bytes), 1000) == ERR_OK);
	CHECK(fd_write_all(p.fd, bytes, sizeof(bytes), 1000) == ERR_OK);
	UNTIL((peer_read(&p), p.closed));
	peer_close(&p);
	finish();
}

/* --- who is let in ------------------------------------------------------------ */

static void a_full_relay_refuses_one_more_and_nobody_before(void)
{
	static struct peer p[LIMIT_RELAY_CLIENTS + 1];
	struct rlimit limit;
	int open = 0;

	REQUIRE(fd_raise_limit(NULL) == ERR_OK);
	REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	if (limit.rlim_cur < 2 * LIMIT_RELAY_CLIENTS + 100) {
		printf("# skipped: no more than %lu descriptors\n",
		       (unsigned long)limit.rlim_cur);
		return;
	}
	begin();
	for (int i = 0; i <= LIMIT_RELAY_CLIENTS; i++) {
		peer_new(&p[i]);
		if (i % 16 == 15) /* as many as may wait to be accepted */
			CHECK(relay_catch_up(relay));
	}
	CHECK(relay_catch_up(relay));
	UNTIL((peer_read(&p[LIMIT_RELAY_CLIENTS]), p[LIMIT_RELAY_CLIENTS].closed));
	for (int i = 0; i < LIMIT_RELAY_CLIENTS; i++) {
		peer_read(&p[i]);
		open += !p[i].closed && p[i].in.len > 0; /* greeted */
	}
	CHECK_INT(open, LIMIT_RELAY_CLIENTS);
	peer_close(&p[0]); /* its place is another's */
	for (int i = 0; i < 3; i++)
		CHECK(loop_turn(loop, 10, NULL) == ERR_OK);
	peer_close(&p[LIMIT_RELAY_CLIENTS]);
	peer_new(&p[LIMIT_RELAY_CLIENTS]);
	expect(&p[LIMIT_RELAY_CLIENTS], FRAME_HELLO);
	for (int i = 1; i <= LIMIT_RELAY_CLIENTS; i++)
		peer_close(&p[i]);
	finish();
}

/* Turns of the loop while no time passes. */
static void turns_at(int64_t ms)
{
	clock_fake(ms, ms, ms);
	for (int i = 0; i < 5; i++)
		CHECK(loop_turn(loop, 1, NULL) == ERR_OK);
}

static void without_descriptors_it_pauses_and_then_goes_on(void)
{
	struct rlimit before, none = { 0, 0 };
	int64_t now_ms = clock_mono_ms();
	struct peer p;

	begin();
	peer_open(&p);
	clock_fake(now_ms, now_ms, now_ms);
	REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
	none.rlim_max = before.rlim_max;
	REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
	CHECK(loop_turn(loop, 10, NULL) == ERR_OK);
	CHECK(!relay_catch_up(relay)); /* somebody is there whom it does not know */
	CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
	CHECK(relay_catch_up(relay));
	expect(&p, FRAME_HELLO);
	peer_close(&p);
	peer_open(&p);
	turns_at(now_ms + LIMIT_ACCEPT_PAUSE_MS - 1);
	peer_read(&p);
	CHECK_INT(p.in.len, 0);
	turns_at(now_ms + LIMIT_ACCEPT_PAUSE_MS); /* the pause ends by itself */
	clock_real();
	expect(&p, FRAME_HELLO);
	peer_close(&p);
	finish();
}

/* The other user's end: leaves with 0 when it is greeted. Not by _exit, where a
 * coverage build writes what this user may not. */
static void be_another_user(int told)
{
	int fd = -1, status = 2;
	char byte;

	if (setuid(65534) == 0 && fd_connect_unix(path, false, &fd) == ERR_OK &&
	    write(told, "c", 1) == 1)
		status = recv(fd, &byte, 1, 0) == 1 ? 0 : 1;
	syscall(SYS_exit_group, status);
}

/* Another user connects, and before it is accepted the socket becomes this (0:
 * it is no more). Is it greeted? */
static bool stranger_greeted(mode_t mode)
{
	int ends[2] = { -1, -1 }, status = -1;
	pid_t child;
	char byte;

	begin();
	CHECK(chmod(dir, 0755) == 0 && chmod(path, 0666) == 0);
	CHECK(pipe(ends) == 0);
	child = fork();
	if (child == 0)
		be_another_user(ends[1]);
	close(ends[1]);
	CHECK(read(ends[0], &byte, 1) == 1);
	close(ends[0]);
	CHECK(mode ? chmod(path, mode) == 0 : unlink(path) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(loop_turn(loop, 10, NULL) == ERR_OK);
	finish();
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
	CHECK(WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 0;
}

static void a_stranger_is_let_in_only_where_the_sockets_mode_says_something(void)
{
	if (geteuid() != 0) {
		printf("# skipped: only root can be another user\n");
		return;
	}
	CHECK(stranger_greeted(0660));  /* it is of the group */
	CHECK(!stranger_greeted(0666)); /* it may be anybody */
	CHECK(!stranger_greeted(0661));
	CHECK(!stranger_greeted(0));
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
		T(one_who_hangs_up_unheard_is_noticed_when_told_something),
		T(whoever_leaves_takes_nobody_along),
		T(jobs_in_one_slot_of_the_table_are_told_apart),
		T(who_reads_an_earlier_run_is_left_with_it),
		T(catching_up_leaves_alone_who_is_attached),
		T(a_peer_that_talks_without_end_gets_its_share_of_a_turn),
		T(bytes_that_fill_a_read_are_all_there_is),
		T(a_full_relay_refuses_one_more_and_nobody_before),
		T(without_descriptors_it_pauses_and_then_goes_on),
		T(a_stranger_is_let_in_only_where_the_sockets_mode_says_something),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
