/*
 * submit.h - POST /jobs: an envelope checked strictly, a job stored durably.
 */
#ifndef FOREMAN_RESPONDER_SUBMIT_H
#define FOREMAN_RESPONDER_SUBMIT_H

#include "core/job.h"
#include "responder/answer.h"
#include "responder/call.h"

/* The handler. 202 only after the job is on disk. */
void submit_handle(struct call *c);

/* --- pure, for submit_handle and the tests -------------------------------- */

/* What the envelope says, ready to be stored. */
struct draft {
	struct job job;      /* but for id and times */
	int64_t expires_in_ms; /* 0: never */
	char *body;          /* for the target, heap */
	size_t body_len;
};

/*
 * Read an envelope (contract, section 4). `guard` judges the webhook's URL;
 * `default_url` is FOREMAN_WEBHOOK_URL or NULL. ERR_OK: *out (draft_done it).
 * Else *fault and *why say what to answer.
 */
enum err submit_read(struct span text, const struct guard *guard,
                     const char *default_url, struct draft *out,
                     enum fault *fault, struct errtext *why) MUST_CHECK;
void draft_done(struct draft *d);

/* May a body of this Content-Type and Content-Encoding (absent: not sent) be
 * read as one JSON envelope? */
bool submit_media_ok(struct span type, struct span encoding, struct errtext *why);

/* Is this one Idempotency-Key of 1 to 255 visible characters? */
bool submit_key_ok(struct span key);

#endif
