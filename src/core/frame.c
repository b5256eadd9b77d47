/*
 * frame.c - the relay's messages, as bytes.
 *
 * Big endian, no padding, one place that knows each type's size. What stays
 * true: decode never reads behind the bytes it was given, says ERR_AGAIN to
 * every beginning of a good frame, and refuses a bad header before its
 * payload has come, so nobody buffers for a stranger.
 * Not here: who may send what in which order (the worker's and the
 * responder's relay code).
 */
#include <config.h>

#include "core/frame.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "core/limits.h"

#define HELLO_SIZE 6
#define ATTACH_SIZE (ULID_LEN + 1)
#define CANCEL_SIZE ULID_LEN
#define HEAD_FIXED 10
#define END_FIXED 3

/* Payload sizes by type: exactly `fixed`, or at least that many. */
static const struct {
	size_t fixed;
	bool open; /* `data` follows */
} sizes[FRAME_TYPE_COUNT] = {
	[FRAME_HELLO] = { HELLO_SIZE, false },
	[FRAME_NUDGE] = { 0, false },
	[FRAME_ATTACH] = { ATTACH_SIZE, false },
	[FRAME_CANCEL] = { CANCEL_SIZE, false },
	[FRAME_HEAD] = { HEAD_FIXED, true },
	[FRAME_BYTES] = { 0, true },
	[FRAME_END] = { END_FIXED, true },
};

static uint16_t get16(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint16_t)(u[0] << 8 | u[1]);
}

static uint32_t get32(const char *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static char *put8(char *p, unsigned v)
{
	*p = (char)(unsigned char)v;
	return p + 1;
}

static char *put16(char *p, uint16_t v)
{
	return put8(put8(p, v >> 8), v & 0xff);
}

static char *put32(char *p, uint32_t v)
{
	return put16(put16(p, (uint16_t)(v >> 16)), (uint16_t)v);
}

/* Fill the members of `f` from the payload; its size is right for the type. */
static enum err read_payload(const char *p, struct frame *f)
{
	switch (f->type) {
	case FRAME_HELLO:
		f->version = get16(p + 4);
		return get32(p) == FRAME_MAGIC ? ERR_OK : ERR_INVAL;
	case FRAME_ATTACH:
		f->role = (enum frame_role)(unsigned char)p[ULID_LEN];
		if (f->role >= FRAME_ROLE_COUNT)
			return ERR_INVAL;
		return ulid_parse((struct span){ p, ULID_LEN }, f->id);
	case FRAME_CANCEL:
		return ulid_parse((struct span){ p, ULID_LEN }, f->id);
	case FRAME_HEAD:
		f->status = get16(p);
		f->queue_ms = get32(p + 2);
		f->load_ms = get32(p + 6);
		return ERR_OK;
	case FRAME_END:
		f->end = (enum frame_end)(unsigned char)p[0];
		f->status = get16(p + 1);
		return f->end < FRAME_END_COUNT ? ERR_OK : ERR_INVAL;
	case FRAME_NUDGE:
	case FRAME_BYTES:
	case FRAME_TYPE_COUNT:
		break;
	}
	return ERR_OK;
}

enum err frame_decode(struct span bytes, struct frame *out, size_t *used)
{
	struct frame f = { 0 };
	const char *payload;
	size_t len, fixed;
	unsigned type;
	enum err e;

	if (bytes.len < FRAME_HEADER)
		return ERR_AGAIN;
	len = get32(bytes.p);
	type = (unsigned char)bytes.p[4];
	if (len > LIMIT_FRAME || type < FRAME_HELLO || type >= FRAME_TYPE_COUNT)
		return ERR_INVAL;
	fixed = sizes[type].fixed;
	if (len < fixed || (len > fixed && !sizes[type].open))
		return ERR_INVAL;
	if (bytes.len - FRAME_HEADER < len)
		return ERR_AGAIN;

	payload = bytes.p + FRAME_HEADER;
	f.type = (enum frame_type)type;
	e = read_payload(payload, &f);
	if (e)
		return e;
	if (sizes[type].open)
		f.data = (struct span){ payload + fixed, len - fixed };
	*out = f;
	*used = FRAME_HEADER + len;
	return ERR_OK;
}

/* The fixed part of the payload; returns where `data` goes. */
static char *write_fixed(const struct frame *f, char *p)
{
	switch (f->type) {
	case FRAME_HELLO:
		return put16(put32(p, FRAME_MAGIC), f->version);
	case FRAME_ATTACH:
		memcpy(p, f->id, ULID_LEN);
		return put8(p + ULID_LEN, f->role);
	case FRAME_CANCEL:
		memcpy(p, f->id, ULID_LEN);
		return p + ULID_LEN;
	case FRAME_HEAD:
		return put32(put32(put16(p, f->status), f->queue_ms), f->load_ms);
	case FRAME_END:
		return put16(put8(p, f->end), f->status);
	case FRAME_NUDGE:
	case FRAME_BYTES:
	case FRAME_TYPE_COUNT:
		break;
	}
	return p;
}

enum err frame_encode(const struct frame *f, struct buf *b)
{
	size_t data_len, len;
	char *p;

	assert(f->type >= FRAME_HELLO && f->type < FRAME_TYPE_COUNT);
	data_len = sizes[f->type].open ? f->data.len : 0;
	if (data_len > LIMIT_FRAME - sizes[f->type].fixed)
		return ERR_TOOBIG;
	len = sizes[f->type].fixed + data_len;
	if (FRAME_HEADER + len > b->max - b->len)
		return ERR_TOOBIG;

	p = buf_reserve(b, FRAME_HEADER + len);
	if (!p)
		return ERR_NOMEM;
	p = write_fixed(f, put8(put32(p, (uint32_t)len), f->type));
	if (data_len > 0)
		memcpy(p, f->data.p, data_len);
	buf_commit(b, FRAME_HEADER + len);
	return ERR_OK;
}
