/*
 * terms.h - on what terms a POST /jobs is made: what its headers ask for, and
 * the refusals that a job and a batch share.
 */
#ifndef FOREMAN_RESPONDER_TERMS_H
#define FOREMAN_RESPONDER_TERMS_H

#include "base/sha.h"
#include "core/limits.h"
#include "responder/call.h"
#include "responder/prefer.h"
#include "store/queue.h"

#define TERMS_LOOK_AGAIN_S 2 /* when a client that got a 202 may look again */

/* How the body is to be read. */
enum media {
	MEDIA_JSON,   /* one envelope */
	MEDIA_NDJSON, /* a batch: an envelope a line */
};

struct terms {
	enum media media;
	struct prefer prefer;
	char key[LIMIT_IDEMPOTENCY_KEY + 1]; /* "": none was sent */
	char fingerprint[2 * SHA256_LEN + 1]; /* of the body, if there is a key */
};

/* Read them, and the body's fingerprint. An error has been answered. */
enum err terms_read(struct call *c, struct terms *out) MUST_CHECK;

/* The key as the store wants it; false: there is none. It borrows the terms. */
bool terms_key(const struct terms *t, struct queue_key *out);

/* 429: there may be room in `room_ms` (0: nobody knows). */
void terms_refuse_full(struct call *c, int64_t room_ms);

/* 422: the key came with something else before. */
void terms_refuse_key(struct call *c);

/* --- pure, for terms_read and the tests ------------------------------------ */

/* May a body of this Content-Type and Content-Encoding (absent: not sent) be
 * read, and as what? */
bool terms_media(struct span type, struct span encoding, enum media *out,
                 struct errtext *why);

/* The one Idempotency-Key in this header: 1 to 255 visible ASCII characters
 * without comma and quotes, bare or (RFC draft) between quotes; both are the
 * same key. `out` has room for LIMIT_IDEMPOTENCY_KEY + 1. */
bool terms_key_read(struct span header, char *out);

/* What the same key must come with again. */
void terms_fingerprint(enum media media, struct span body,
                       char out[2 * SHA256_LEN + 1]);

/* `room_ms` in whole seconds, at most LIMIT_RETRY_JOBS_S; 0: not known. */
int terms_retry_after(int64_t room_ms);

#endif
