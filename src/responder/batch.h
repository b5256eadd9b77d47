/*
 * batch.h - several jobs in one call: an envelope a line, all or none.
 */
#ifndef FOREMAN_RESPONDER_BATCH_H
#define FOREMAN_RESPONDER_BATCH_H

#include "responder/call.h"
#include "responder/envelope.h"
#include "responder/terms.h"

/* POST /jobs with NDJSON. */
void batch_handle(struct call *c, const struct terms *terms);

/* --- pure, for batch_handle and the tests ----------------------------------- */

struct batch {
	struct draft *drafts; /* heap, in the order of the lines */
	size_t count;         /* at least 1 */
};

/*
 * Read the lines; blank ones are skipped, a CR before the line's end is white
 * space, and the last need not end. As envelope_read, with the number of the
 * line in *why; FAULT_BATCH_TOO_LARGE above LIMIT_BATCH_JOBS.
 */
enum err batch_read(struct span text, const struct guard *guard,
                    const char *default_url, struct batch *out, enum fault *fault,
                    struct errtext *why) MUST_CHECK;
void batch_done(struct batch *b);

#endif
