/*
 * frame.h - the relay's messages, as bytes. No I/O.
 *
 * The worker listens on FOREMAN_RELAY; a responder connects, says hello, and
 * then attaches to a job, cancels one, or nudges the worker to look at the
 * queue. The relay is only speed: whatever is lost with it is found again in
 * the database.
 *
 *   frame   = u32 payload length (big endian), u8 type, payload
 *
 *   HELLO   both ways, first: u32 magic "4MAN", u16 version
 *   NUDGE   to the worker: look at the queue (empty)
 *   ATTACH  to the worker: ULID (26), u8 role: FRAME_OWNER is the client an
 *           attended job exists for (its leaving cancels the job),
 *           FRAME_READER any other
 *   CANCEL  to the worker: ULID (26)
 *   HEAD    to the responder: u16 status, u32 queue ms, u32 load ms, then
 *           header lines "Name: value\n"
 *   BYTES   to the responder: body bytes; for NDJSON whole lines, unless one
 *           is longer than LIMIT_LINE_HOLD
 *   END     to the responder: u8 how (enum frame_end), u16 status, error text
 *
 * A frame longer than LIMIT_FRAME, of an unknown type, or of the wrong size
 * for its type ends the connection. Versions must be equal: both ends come
 * from one build.
 */
#ifndef FOREMAN_CORE_FRAME_H
#define FOREMAN_CORE_FRAME_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/ulid.h"

#include <stdint.h>

#define FRAME_MAGIC 0x344d414eu
#define FRAME_VERSION 1
#define FRAME_HEADER 5

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_NUDGE,
	FRAME_ATTACH,
	FRAME_CANCEL,
	FRAME_HEAD,
	FRAME_BYTES,
	FRAME_END,
	FRAME_TYPE_COUNT
};

enum frame_role { FRAME_OWNER, FRAME_READER, FRAME_ROLE_COUNT };

enum frame_end {
	FRAME_END_CLEAN,   /* the upstream ended as it should, or as it does */
	FRAME_END_ABORTED, /* after some bytes: what follows will not come */
	FRAME_END_REFUSED, /* before the head: answer with status and text */
	FRAME_END_COUNT
};

/* A decoded frame; spans point into the bytes it was decoded from. */
struct frame {
	enum frame_type type;
	uint16_t version;       /* HELLO */
	char id[ULID_SIZE];     /* ATTACH, CANCEL */
	enum frame_role role;   /* ATTACH */
	uint16_t status;        /* HEAD, END */
	uint32_t queue_ms;      /* HEAD */
	uint32_t load_ms;       /* HEAD */
	enum frame_end end;     /* END */
	struct span data;       /* HEAD: header lines; BYTES; END: text */
};

/*
 * Decode the frame at the front of `bytes`. ERR_OK: *used bytes belong to it.
 * ERR_AGAIN: more bytes are needed. ERR_INVAL: not our protocol; close.
 */
enum err frame_decode(struct span bytes, struct frame *out, size_t *used) MUST_CHECK;

/* Append an encoded frame to `b` (data at most LIMIT_FRAME, less for HEAD and
 * END's fixed parts). ERR_TOOBIG when over the bound or over b's. */
enum err frame_encode(const struct frame *f, struct buf *b) MUST_CHECK;

#endif
