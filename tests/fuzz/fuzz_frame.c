/*
 * fuzz_frame.c - any bytes as what a relay connection brings.
 */
#include <config.h>

#include "core/frame.h"
#include "core/limits.h"
#include "fuzz.h"

#define FRAME_MOST (FRAME_HEADER + LIMIT_FRAME)

static void same(const struct frame *a, const struct frame *b)
{
	HOLDS(a->type == b->type && a->version == b->version && a->role == b->role);
	HOLDS(a->status == b->status && a->end == b->end);
	HOLDS(a->queue_ms == b->queue_ms && a->load_ms == b->load_ms);
	HOLDS(strcmp(a->id, b->id) == 0 && a->data.len == b->data.len);
	HOLDS(!a->data.len || memcmp(a->data.p, b->data.p, a->data.len) == 0);
}

/* Encoded again it is the same bytes, but for ids in lower case. */
static void round_trip(const struct frame *f, struct span bytes)
{
	struct frame again;
	struct buf b;
	size_t used;

	buf_init(&b, FRAME_MOST);
	HOLDS(!frame_encode(f, &b) && b.len == bytes.len);
	HOLDS(!frame_decode((struct span){ b.p, b.len }, &again, &used));
	HOLDS(used == b.len);
	same(f, &again);
	if (f->type != FRAME_ATTACH && f->type != FRAME_CANCEL)
		HOLDS(memcmp(b.p, bytes.p, b.len) == 0);
	b.max = b.len - 1;
	buf_clear(&b);
	HOLDS(frame_encode(f, &b) == ERR_TOOBIG && b.len == 0);
	buf_done(&b);
}

static void truncations(struct span bytes)
{
	struct frame f;
	size_t used;

	for (size_t n = 0; n < bytes.len; n++) {
		struct span part = { bytes.p, n };
		char *exact = n < 64 ? fuzz_exact(part) : NULL;

		if (exact)
			part.p = exact;
		HOLDS(frame_decode(part, &f, &used) == ERR_AGAIN);
		free(exact);
	}
}

/* All frames of `all`, read in pieces of `step` bytes, encoded into *out; why
 * it ended is the answer. */
static enum err read_all(struct span all, size_t step, struct buf *out)
{
	enum err e = ERR_AGAIN;
	struct buf in;

	buf_init(&in, all.len + 1);
	while (e == ERR_AGAIN && all.len > 0) {
		size_t n = step < all.len ? step : all.len;
		struct frame f;
		size_t used;

		HOLDS(!buf_add(&in, all.p, n));
		all.p += n;
		all.len -= n;
		while (!(e = frame_decode((struct span){ in.p, in.len }, &f, &used))) {
			HOLDS(!frame_encode(&f, out));
			buf_consume(&in, used);
		}
		/* nobody buffers more than a frame for a stranger */
		HOLDS(e == ERR_INVAL || in.len < FRAME_MOST);
	}
	buf_done(&in);
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t steps[] = { 1, 3, FRAME_HEADER, 64 };
	struct span all = fuzz_span(data, size), rest = all;
	struct frame f = { .type = FRAME_TYPE_COUNT };
	struct buf whole;
	size_t used = 0;
	enum err end;

	while (!frame_decode(rest, &f, &used)) {
		HOLDS(used >= FRAME_HEADER && used <= rest.len);
		HOLDS(fuzz_inside(f.data, rest) || !f.data.p);
		HOLDS(f.type < FRAME_TYPE_COUNT && f.role < FRAME_ROLE_COUNT);
		HOLDS(f.end < FRAME_END_COUNT);
		round_trip(&f, (struct span){ rest.p, used });
		truncations((struct span){ rest.p, used });
		rest.p += used;
		rest.len -= used;
	}
	buf_init(&whole, size + 1);
	end = read_all(all, size, &whole);
	HOLDS(whole.len == all.len - rest.len);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		struct buf pieces;

		buf_init(&pieces, size + 1);
		HOLDS(read_all(all, steps[i], &pieces) == end);
		HOLDS(pieces.len == whole.len);
		HOLDS(!whole.len || memcmp(pieces.p, whole.p, whole.len) == 0);
		buf_done(&pieces);
	}
	buf_done(&whole);
	return 0;
}
