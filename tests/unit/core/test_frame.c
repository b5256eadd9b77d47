/* The relay's bytes: exact sizes, nothing read behind the end, no crash. */
#include <config.h>

#include "core/frame.h"

#include <stdlib.h>

#include "base/attr.h"
#include "core/limits.h"
#include "t.h"

#define ID "01JD0000000000000000000000"

static const struct frame samples[] = {
	{ .type = FRAME_HELLO, .version = FRAME_VERSION },
	{ .type = FRAME_NUDGE },
	{ .type = FRAME_ATTACH, .id = ID, .role = FRAME_OWNER },
	{ .type = FRAME_ATTACH,
	  .id = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
	  .role = FRAME_READER },
	{ .type = FRAME_CANCEL, .id = ID },
	{ .type = FRAME_HEAD,
	  .status = 200,
	  .queue_ms = 4294967295u,
	  .load_ms = 7,
	  .data = { "Content-Type: application/x-ndjson\n", 35 } },
	{ .type = FRAME_HEAD, .status = 204 },
	{ .type = FRAME_BYTES, .data = { "{\"done\":true}\n\0x", 16 } },
	{ .type = FRAME_BYTES },
	{ .type = FRAME_END, .end = FRAME_END_CLEAN },
	{ .type = FRAME_END,
	  .end = FRAME_END_REFUSED,
	  .status = 503,
	  .data = { "server busy", 11 } },
};

static bool same(const struct frame *a, const struct frame *b)
{
	return a->type == b->type && a->version == b->version &&
	       strcmp(a->id, b->id) == 0 && a->role == b->role &&
	       a->status == b->status && a->queue_ms == b->queue_ms &&
	       a->load_ms == b->load_ms && a->end == b->end &&
	       a->data.len == b->data.len &&
	       (a->data.len == 0 || memcmp(a->data.p, b->data.p, a->data.len) == 0);
}

/* Decode a heap copy of exactly these bytes, so that a sanitizer sees every
 * step over the end; the data is compared before the copy goes. */
static enum err decode_copy(const void *bytes, size_t len, const struct frame *want,
                            size_t *used)
{
	char *copy = malloc(len ? len : 1);
	struct frame f = { 0 };
	enum err e;

	if (len)
		memcpy(copy, bytes, len);
	*used = 0;
	e = frame_decode((struct span){ copy, len }, &f, used);
	if (e == ERR_OK && want)
		CHECK(same(&f, want));
	free(copy);
	return e;
}

static void every_frame_decodes_to_what_was_encoded(void)
{
	for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
		struct buf b;
		size_t used;

		buf_init(&b, 1024);
		CHECK_INT(frame_encode(&samples[i], &b), ERR_OK);
		CHECK_INT(decode_copy(b.p, b.len, &samples[i], &used), ERR_OK);
		CHECK_INT(used, b.len);
		buf_done(&b);
	}
}

static void every_beginning_of_a_frame_asks_for_more(void)
{
	for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
		struct buf b;
		size_t used;

		buf_init(&b, 1024);
		CHECK_INT(frame_encode(&samples[i], &b), ERR_OK);
		for (size_t len = 0; len < b.len; len++)
			CHECK_INT(decode_copy(b.p, len, NULL, &used), ERR_AGAIN);
		buf_done(&b);
	}
}

static void frames_one_behind_the_other_decode_in_turn(void)
{
	struct buf b;
	struct span rest;

	buf_init(&b, 4096);
	for (size_t i = 0; i < ARRAY_LEN(samples); i++)
		CHECK_INT(frame_encode(&samples[i], &b), ERR_OK);
	rest = (struct span){ b.p, b.len };
	for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
		struct frame f = { 0 };
		size_t used = 0;

		CHECK_INT(frame_decode(rest, &f, &used), ERR_OK);
		CHECK(same(&f, &samples[i]));
		rest.p += used;
		rest.len -= used;
	}
	CHECK_INT(rest.len, 0);
	buf_done(&b);
}

static void the_bytes_on_the_wire_are_these(void)
{
	static const char hello[] = "\0\0\0\6\1"
	                            "4MAN"
	                            "\0\1";
	static const char end[] = "\0\0\0\4\7"
	                          "\2\1\xf7"
	                          "!";
	struct frame f = { .type = FRAME_HELLO, .version = 1 };
	struct buf b;

	buf_init(&b, 64);
	CHECK_INT(frame_encode(&f, &b), ERR_OK);
	CHECK_INT(b.len, sizeof(hello) - 1);
	CHECK(memcmp(b.p, hello, b.len) == 0);
	buf_clear(&b);
	f = (struct frame){ .type = FRAME_END,
		                .end = FRAME_END_REFUSED,
		                .status = 503,
		                .data = { "!", 1 } };
	CHECK_INT(frame_encode(&f, &b), ERR_OK);
	CHECK_INT(b.len, sizeof(end) - 1);
	CHECK(memcmp(b.p, end, b.len) == 0);
	buf_done(&b);
}

static enum err decode_header(uint32_t len, unsigned type)
{
	const unsigned char header[] = { (unsigned char)(len >> 24),
		                             (unsigned char)(len >> 16),
		                             (unsigned char)(len >> 8), (unsigned char)len,
		                             (unsigned char)type };
	size_t used;

	return decode_copy(header, sizeof(header), NULL, &used);
}

static void a_wrong_size_is_refused_before_the_payload_comes(void)
{
	static const struct {
		unsigned type;
		uint32_t len;
		enum err want;
	} rows[] = {
		{ FRAME_HELLO, 5, ERR_INVAL },
		{ FRAME_HELLO, 6, ERR_AGAIN },
		{ FRAME_HELLO, 7, ERR_INVAL },
		{ FRAME_NUDGE, 1, ERR_INVAL },
		{ FRAME_NUDGE, 0, ERR_OK },
		{ FRAME_ATTACH, 26, ERR_INVAL },
		{ FRAME_ATTACH, 27, ERR_AGAIN },
		{ FRAME_ATTACH, 28, ERR_INVAL },
		{ FRAME_CANCEL, 25, ERR_INVAL },
		{ FRAME_CANCEL, 26, ERR_AGAIN },
		{ FRAME_CANCEL, 27, ERR_INVAL },
		{ FRAME_HEAD, 9, ERR_INVAL },
		{ FRAME_HEAD, 10, ERR_AGAIN },
		{ FRAME_END, 2, ERR_INVAL },
		{ FRAME_END, 3, ERR_AGAIN },
		{ FRAME_BYTES, LIMIT_FRAME, ERR_AGAIN },
		{ FRAME_BYTES, LIMIT_FRAME + 1, ERR_INVAL },
		{ FRAME_BYTES, UINT32_MAX, ERR_INVAL },
		{ FRAME_HEAD, LIMIT_FRAME + 1, ERR_INVAL },
		{ 0, 0, ERR_INVAL },
		{ FRAME_TYPE_COUNT, 0, ERR_INVAL },
		{ 255, 0, ERR_INVAL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (!CHECK(decode_header(rows[i].len, rows[i].type) == rows[i].want))
			printf("#   type %u, %u bytes\n", rows[i].type, rows[i].len);
}

static void another_protocol_is_refused(void)
{
	struct frame before = { .type = FRAME_NUDGE, .status = 77 }, f = before;
	size_t used = 99;

	CHECK_INT(frame_decode(SPAN_LIT("\0\0\0\6\1"
	                                "5MAN"
	                                "\0\1"),
	                       &f, &used),
	          ERR_INVAL);
	CHECK_INT(frame_decode(SPAN_LIT("GET / HTTP/1.1\r\n"), &f, &used), ERR_INVAL);
	CHECK_INT(frame_decode(SPAN_LIT("\0\0\0\33\3" ID "\2"), &f, &used), ERR_INVAL);
	CHECK_INT(frame_decode(SPAN_LIT("\0\0\0\32\4"
	                                "01JD000000000000000000000U"),
	                       &f, &used),
	          ERR_INVAL);
	CHECK_INT(frame_decode(SPAN_LIT("\0\0\0\32\4"
	                                "80000000000000000000000000"),
	                       &f, &used),
	          ERR_INVAL);
	CHECK_INT(frame_decode(SPAN_LIT("\0\0\0\3\7"
	                                "\3\0\0"),
	                       &f, &used),
	          ERR_INVAL);
	CHECK(same(&f, &before));
	CHECK_INT(used, 99);
}

static void another_version_is_told_and_not_judged(void)
{
	struct frame f;
	size_t used;

	CHECK_INT(frame_decode(SPAN_LIT("\0\0\0\6\1"
	                                "4MAN"
	                                "\1\2"),
	                       &f, &used),
	          ERR_OK);
	CHECK_INT(f.version, 258);
}

static void data_is_bounded_by_the_frame_and_the_buffer(void)
{
	static char data[LIMIT_FRAME + 1];
	struct frame f = { .type = FRAME_BYTES, .data = { data, LIMIT_FRAME } };
	struct buf b;
	size_t used;

	buf_init(&b, 2 * LIMIT_FRAME);
	CHECK_INT(frame_encode(&f, &b), ERR_OK);
	CHECK_INT(decode_copy(b.p, b.len, &f, &used), ERR_OK);
	buf_clear(&b);
	f.data.len = LIMIT_FRAME + 1;
	CHECK_INT(frame_encode(&f, &b), ERR_TOOBIG);
	f.type = FRAME_HEAD;
	f.data.len = LIMIT_FRAME - 10;
	CHECK_INT(frame_encode(&f, &b), ERR_OK);
	f.data.len++;
	CHECK_INT(frame_encode(&f, &b), ERR_TOOBIG);
	f.type = FRAME_END;
	f.data.len = LIMIT_FRAME - 2;
	CHECK_INT(frame_encode(&f, &b), ERR_TOOBIG);
	buf_done(&b);

	buf_init(&b, FRAME_HEADER + 9);
	f = (struct frame){ .type = FRAME_BYTES, .data = { data, 10 } };
	CHECK_INT(frame_encode(&f, &b), ERR_TOOBIG);
	CHECK_INT(b.len, 0);
	f.data.len = 9;
	CHECK_INT(frame_encode(&f, &b), ERR_OK);
	buf_done(&b);
}

/* Deterministic, so that a failure can be run again. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static void random_bytes_never_crash(void)
{
	uint32_t seed = 20261120;

	for (int round = 0; round < 50000; round++) {
		unsigned char bytes[64];
		size_t len = next_random(&seed) % sizeof(bytes);
		size_t used;
		enum err e;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (unsigned char)next_random(&seed);
		/* Half of them with a header that may fit. */
		if (len >= FRAME_HEADER && round % 2) {
			memset(bytes, 0, 3);
			bytes[3] %= 64;
			bytes[4] = (unsigned char)(1 + bytes[4] % FRAME_END);
		}
		e = decode_copy(bytes, len, NULL, &used);
		CHECK(e == ERR_OK || e == ERR_AGAIN || e == ERR_INVAL);
		CHECK(e != ERR_OK || (used >= FRAME_HEADER && used <= len));
	}
}

static void a_flipped_bit_never_crashes(void)
{
	for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
		struct buf b;
		size_t used;

		buf_init(&b, 1024);
		CHECK_INT(frame_encode(&samples[i], &b), ERR_OK);
		for (size_t bit = 0; bit < 8 * b.len; bit++) {
			enum err e;

			b.p[bit / 8] = (char)(b.p[bit / 8] ^ (1 << bit % 8));
			e = decode_copy(b.p, b.len, NULL, &used);
			CHECK(e == ERR_OK || e == ERR_AGAIN || e == ERR_INVAL);
			b.p[bit / 8] = (char)(b.p[bit / 8] ^ (1 << bit % 8));
		}
		buf_done(&b);
	}
}

int main(void)
{
	static const struct t_case cases[] = {
		T(every_frame_decodes_to_what_was_encoded),
		T(every_beginning_of_a_frame_asks_for_more),
		T(frames_one_behind_the_other_decode_in_turn),
		T(the_bytes_on_the_wire_are_these),
		T(a_wrong_size_is_refused_before_the_payload_comes),
		T(another_protocol_is_refused),
		T(another_version_is_told_and_not_judged),
		T(data_is_bounded_by_the_frame_and_the_buffer),
		T(random_bytes_never_crash),
		T(a_flipped_bit_never_crashes),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
