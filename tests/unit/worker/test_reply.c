/*
 * test_reply.c - many readers of one growing reply.
 */
#include <config.h>

#include "worker/reply.h"

#include "t.h"

#include <stdlib.h>

#include "base/clock.h"
#include "core/limits.h"

/* A reader that takes everything at once, as long as it is not `slow`. */
struct taker {
	struct reply_reader reader;
	bool slow;
	bool dropped;
	int heads, bytes_frames, ends;
	struct frame last; /* its data is not kept */
	char end_text[64];
	struct buf body;
};

static struct loop *loop;
static struct replies *set;
static int64_t now_ms;

static void take_frame(struct taker *t, struct buf *out)
{
	struct frame f;
	size_t used;

	REQUIRE(frame_decode((struct span){ out->p, out->len }, &f, &used) == ERR_OK);
	CHECK_INT(used, out->len);
	t->heads += f.type == FRAME_HEAD;
	t->bytes_frames += f.type == FRAME_BYTES;
	t->ends += f.type == FRAME_END;
	if (f.type == FRAME_BYTES)
		CHECK(buf_add(&t->body, f.data.p, f.data.len) == ERR_OK);
	if (f.type == FRAME_END && f.data.len < sizeof(t->end_text)) {
		if (f.data.len)
			memcpy(t->end_text, f.data.p, f.data.len);
		t->end_text[f.data.len] = '\0';
	}
	t->last = f;
}

static void take(struct taker *t)
{
	struct buf out;

	buf_init(&out, LIMIT_FRAME + FRAME_HEADER);
	while (reply_read(&t->reader, &out)) {
		take_frame(t, &out);
		buf_clear(&out);
	}
	buf_done(&out);
	if (t->reader.stage == READ_OVER)
		reply_detach(&t->reader);
}

static void woken(void *arg)
{
	struct taker *t = arg;

	if (!t->slow)
		take(t);
}

static void dropped(void *arg)
{
	struct taker *t = arg;

	t->dropped = true;
}

static void taker_init(struct taker *t)
{
	*t = (struct taker){ .reader = { .wake = woken, .drop = dropped, .arg = t } };
	buf_init(&t->body, 1 << 24);
}

static void taker_done(struct taker *t)
{
	reply_detach(&t->reader);
	buf_done(&t->body);
}

static void begin(size_t keep)
{
	now_ms = 1000;
	clock_fake(1, now_ms, now_ms);
	REQUIRE(loop_new(&loop) == ERR_OK);
	set = replies_new(loop, keep);
	REQUIRE(set);
}

static void pass(int64_t ms)
{
	now_ms += ms;
	clock_fake(1, now_ms, now_ms);
	CHECK(loop_turn(loop, 0, NULL) == ERR_OK);
}

static void finish(void)
{
	replies_free(set);
	loop_free(loop);
	clock_real();
}

static struct reply *open_reply(const char *id, size_t max, bool lines)
{
	struct reply *r = reply_open(set, max);

	reply_name(r, id);
	CHECK(reply_head(r, 200, 3, 4, SPAN_LIT("Content-Type: x\n"), lines) == ERR_OK);
	return r;
}

static void add(struct reply *r, const char *text)
{
	CHECK(reply_add(r, text, strlen(text)) == ERR_OK);
}

static void close_reply(struct reply *r)
{
	reply_end(r, FRAME_END_CLEAN, 200, NULL);
	reply_release(r);
}

static const char *body_of(struct taker *t)
{
	return t->body.len ? buf_str(&t->body) : "";
}

static void a_reader_gets_head_bytes_and_end_as_they_come(void)
{
	struct taker t;
	struct reply *r;

	begin(1 << 20);
	taker_init(&t);
	r = reply_open(set, 100);
	reply_name(r, "A");
	reply_attach(r, &t.reader);
	take(&t);
	CHECK_INT(t.heads, 0);
	CHECK(reply_head(r, 201, 3, 4, SPAN_LIT("A: b\n"), false) == ERR_OK);
	CHECK_INT(t.heads, 1);
	CHECK_INT(t.last.status, 201);
	CHECK_INT(t.last.queue_ms, 3);
	CHECK_INT(t.last.load_ms, 4);
	add(r, "one");
	add(r, "two");
	CHECK_INT(t.bytes_frames, 2);
	close_reply(r);
	CHECK_INT(t.ends, 1);
	CHECK_STR(body_of(&t), "onetwo");
	taker_done(&t);
	finish();
}

static void a_late_reader_starts_at_the_beginning(void)
{
	struct taker t;
	struct reply *r;

	begin(1 << 20);
	taker_init(&t);
	r = open_reply("A", 100, false);
	add(r, "all ");
	add(r, "of it");
	CHECK(reply_find(set, "A") == r);
	reply_attach(r, &t.reader);
	take(&t);
	CHECK_INT(t.heads, 1);
	CHECK_STR(body_of(&t), "all of it");
	close_reply(r);
	taker_done(&t);
	finish();
}

static void ndjson_is_shown_in_whole_lines(void)
{
	struct taker t;
	struct reply *r;

	begin(1 << 20);
	taker_init(&t);
	r = open_reply("A", 100, true);
	reply_attach(r, &t.reader);
	take(&t);
	add(r, "{\"a\":");
	CHECK_STR(body_of(&t), "");
	add(r, "1}\n{\"b\"");
	CHECK_STR(body_of(&t), "{\"a\":1}\n");
	reply_end(r, FRAME_END_ABORTED, 0, "cut");
	CHECK_STR(body_of(&t), "{\"a\":1}\n{\"b\"");
	CHECK_STR(t.end_text, "cut");
	reply_release(r);
	taker_done(&t);
	finish();
}

static void an_unfinished_line_is_held_back_up_to_the_limit_only(void)
{
	struct taker t;
	struct reply *r;
	char *x = malloc(LIMIT_LINE_HOLD);

	begin(1 << 20);
	taker_init(&t);
	memset(x, 'x', LIMIT_LINE_HOLD);
	r = open_reply("A", 1 << 20, true);
	reply_attach(r, &t.reader);
	take(&t);
	CHECK(reply_add(r, x, LIMIT_LINE_HOLD) == ERR_OK);
	CHECK_INT(t.body.len, 0);
	add(r, "x");
	CHECK_INT(t.body.len, LIMIT_LINE_HOLD + 1);
	close_reply(r);
	free(x);
	taker_done(&t);
	finish();
}

static void a_frame_ends_where_a_line_ends_if_one_does(void)
{
	struct taker t;
	struct reply *r;
	char *x = malloc(LIMIT_FRAME);
	struct buf out;

	begin(1 << 20);
	taker_init(&t);
	t.slow = true;
	memset(x, 'x', LIMIT_FRAME);
	r = open_reply("A", 1 << 20, true);
	reply_attach(r, &t.reader);
	add(r, "first\n");
	CHECK(reply_add(r, x, LIMIT_FRAME) == ERR_OK);
	add(r, "\n");
	buf_init(&out, LIMIT_FRAME + FRAME_HEADER);
	CHECK(reply_read(&t.reader, &out)); /* the head */
	buf_clear(&out);
	CHECK(reply_read(&t.reader, &out));
	CHECK_INT(out.len, FRAME_HEADER + 6);
	buf_clear(&out);
	CHECK(reply_read(&t.reader, &out)); /* a line longer than a frame: in pieces */
	CHECK_INT(out.len, FRAME_HEADER + LIMIT_FRAME);
	CHECK(!reply_read(&t.reader, &out)); /* no room */
	buf_clear(&out);
	CHECK(reply_read(&t.reader, &out));
	CHECK_INT(out.len, FRAME_HEADER + 1);
	buf_done(&out);
	close_reply(r);
	free(x);
	taker_done(&t);
	finish();
}

static void a_reply_takes_as_much_as_its_bound_and_no_more(void)
{
	struct reply *r;

	begin(1 << 20);
	r = open_reply("A", 10, false);
	CHECK(reply_add(r, "0123456789", 10) == ERR_OK);
	CHECK(reply_add(r, "x", 1) == ERR_TOOBIG);
	CHECK_INT(reply_body(r).len, 10);
	close_reply(r);
	r = open_reply("B", 10, false);
	CHECK(reply_add(r, "0123456789ab", 12) == ERR_TOOBIG);
	CHECK_INT(reply_body(r).len, 10);
	close_reply(r);
	finish();
}

static void a_slow_reader_holds_up_neither_the_run_nor_the_others(void)
{
	struct taker slow, fast;
	struct reply *r;

	begin(1 << 20);
	taker_init(&slow);
	taker_init(&fast);
	slow.slow = true;
	r = open_reply("A", 100, false);
	reply_attach(r, &slow.reader);
	reply_attach(r, &fast.reader);
	add(r, "x");
	close_reply(r);
	pass(0);
	CHECK_INT(fast.ends, 1);
	CHECK_INT(slow.heads, 0);
	take(&slow);
	CHECK_INT(slow.ends, 1);
	CHECK_STR(body_of(&slow), "x");
	pass(0);
	CHECK(!reply_find(set, "A"));
	taker_done(&slow);
	taker_done(&fast);
	finish();
}

static void a_finished_reply_nobody_reads_is_freed(void)
{
	struct reply *r;

	begin(1 << 20);
	r = open_reply("A", 100, false);
	reply_end(r, FRAME_END_CLEAN, 200, NULL);
	pass(0);
	CHECK(reply_find(set, "A") == r); /* its run still holds it */
	reply_release(r);
	pass(0);
	CHECK(!reply_find(set, "A"));
	finish();
}

static void one_that_its_run_holds_outlives_the_sweep_of_another(void)
{
	struct reply *held, *free_one;

	begin(1 << 20);
	held = open_reply("A", 100, false);
	free_one = open_reply("B", 100, false);
	reply_end(held, FRAME_END_CLEAN, 200, NULL);
	close_reply(free_one);
	pass(0);
	CHECK(!reply_find(set, "B"));
	CHECK(reply_find(set, "A") == held);
	reply_release(held);
	pass(0);
	CHECK(!reply_find(set, "A"));
	finish();
}

static void one_of_many_that_leaves_takes_nobody_along(void)
{
	struct taker t[3];
	struct reply *r;

	begin(1 << 20);
	r = open_reply("A", 100, false);
	for (int i = 0; i < 3; i++) {
		taker_init(&t[i]);
		reply_attach(r, &t[i].reader);
	}
	reply_detach(&t[1].reader); /* it stood between two */
	CHECK(!reply_ready(&t[1].reader));
	add(r, "so");
	CHECK_INT(t[0].body.len, 2);
	CHECK_INT(t[1].body.len, 0);
	CHECK_INT(t[2].body.len, 2);
	reply_detach(&t[0].reader);
	add(r, "on");
	CHECK_INT(t[2].body.len, 4);
	close_reply(r);
	CHECK_INT(t[2].ends, 1);
	for (int i = 0; i < 3; i++)
		taker_done(&t[i]);
	finish();
}

static void a_reader_that_takes_nothing_is_dropped_after_a_while(void)
{
	struct taker t;
	struct reply *r;

	begin(1 << 20);
	taker_init(&t);
	t.slow = true;
	r = open_reply("A", 100, false);
	reply_attach(r, &t.reader);
	pass(10 * LIMIT_REPLY_STALL_MS); /* while it runs, silence is fine */
	close_reply(r);
	pass(0);
	pass(LIMIT_REPLY_STALL_MS - 1);
	CHECK(!t.dropped);
	pass(1001); /* the next sweep */
	CHECK(t.dropped);
	CHECK(!t.reader.reply);
	pass(0);
	CHECK(!reply_find(set, "A"));
	taker_done(&t);
	finish();
}

static void the_oldest_finished_replies_go_when_they_hold_too_much(void)
{
	struct taker t[3];
	struct reply *r;

	begin(20);
	for (int i = 0; i < 3; i++) {
		char id[] = { (char)('A' + i), '\0' };

		taker_init(&t[i]);
		t[i].slow = true;
		r = open_reply(id, 100, false);
		reply_attach(r, &t[i].reader);
		add(r, "0123456789");
		close_reply(r);
	}
	pass(0);
	CHECK(t[0].dropped);
	CHECK(!t[1].dropped);
	CHECK(!t[2].dropped);
	for (int i = 0; i < 3; i++)
		taker_done(&t[i]);
	finish();
}

static void a_reader_of_a_run_that_never_answered_is_told_why(void)
{
	struct taker t;
	struct reply *r;

	begin(20);
	taker_init(&t);
	r = reply_open(set, 10);
	reply_name(r, "A");
	reply_attach(r, &t.reader);
	reply_end(r, FRAME_END_REFUSED, 503, "no");
	CHECK_INT(t.heads, 0);
	CHECK_INT(t.last.end, FRAME_END_REFUSED);
	CHECK_INT(t.last.status, 503);
	CHECK_STR(t.end_text, "no");
	reply_release(r);
	taker_done(&t);
	finish();
}

static void a_withdrawn_reply_is_found_no_more(void)
{
	struct reply *r;

	begin(20);
	r = open_reply("A", 10, false);
	reply_withdraw(r);
	CHECK(!reply_find(set, "A"));
	close_reply(r);
	finish();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_reader_gets_head_bytes_and_end_as_they_come),
		T(a_late_reader_starts_at_the_beginning),
		T(ndjson_is_shown_in_whole_lines),
		T(an_unfinished_line_is_held_back_up_to_the_limit_only),
		T(a_frame_ends_where_a_line_ends_if_one_does),
		T(a_reply_takes_as_much_as_its_bound_and_no_more),
		T(a_slow_reader_holds_up_neither_the_run_nor_the_others),
		T(a_finished_reply_nobody_reads_is_freed),
		T(one_that_its_run_holds_outlives_the_sweep_of_another),
		T(one_of_many_that_leaves_takes_nobody_along),
		T(a_reader_that_takes_nothing_is_dropped_after_a_while),
		T(the_oldest_finished_replies_go_when_they_hold_too_much),
		T(a_reader_of_a_run_that_never_answered_is_told_why),
		T(a_withdrawn_reply_is_found_no_more),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
