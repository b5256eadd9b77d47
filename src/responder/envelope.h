/*
 * envelope.h - what a client says of a job, and the job it becomes.
 *
 * Pure: text in, a draft out, which then enters the line as a submission.
 */
#ifndef FOREMAN_RESPONDER_ENVELOPE_H
#define FOREMAN_RESPONDER_ENVELOPE_H

#include "core/job.h"
#include "responder/answer.h"
#include "store/queue.h"

struct guard;

/* What the envelope says, ready to be stored. */
struct draft {
	struct job job;        /* but for id and times */
	int64_t expires_in_ms; /* 0: never */
	char *body;            /* for the target, heap */
	size_t body_len;
	char *event_json;      /* of the job.queued webhook, from draft_enter on */
};

/*
 * Read an envelope (contract, section 4). `guard` judges the webhook's URL;
 * `default_url` is FOREMAN_WEBHOOK_URL or NULL. ERR_OK: *out (draft_done it).
 * Else *fault and *why say what to answer.
 */
enum err envelope_read(struct span text, const struct guard *guard,
                       const char *default_url, struct draft *out,
                       enum fault *fault, struct errtext *why) MUST_CHECK;

/* Give it an id and the time of `view`; *sub is what to store, and borrows all
 * of the draft. ERR_NOMEM. */
enum err draft_enter(struct draft *d, const char *id, const struct job_view *view,
                     struct submission *sub) MUST_CHECK;
void draft_done(struct draft *d); /* a zeroed one is fine */

#endif
