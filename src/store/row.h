/*
 * row.h - rows of `jobs` and `artifacts` as the structs of core/job.h (store only).
 */
#ifndef FOREMAN_STORE_ROW_H
#define FOREMAN_STORE_ROW_H

#include "core/job.h"
#include "store/sql.h"

/* What to SELECT from jobs, in the order row_read wants. */
#define ROW_JOB                                                                  \
	"seq, id, state, reason, error, attended, endpoint, model, load_key, "       \
	"attempts, interruptions, event_seq, cancel_requested, created_ms, "         \
	"queued_ms, held_until_ms, loading_ms, working_ms, finished_ms, "            \
	"expires_ms, timeout_ms, coalesce(prompt_tokens, -1), "                      \
	"coalesce(completion_tokens, -1), artifact_mode, metadata, webhook_url, "    \
	"webhook_secret, webhook_events, webhook_pending, webhook_dead"

/*
 * Read the row `q` stands on into *out, which then needs job_done; position
 * and artifacts are not filled. A row that makes no sense (a hand-made one)
 * or a lack of memory sticks to `q` as a failure, and *out is empty.
 */
void row_read(struct sql *q, struct job *out);

/* The canonical model of a load key, what shapes the load left out: as the index
 * jobs_by_model has it, to the letter. */
#define ROW_MODEL "substr(load_key, 1, instr(load_key || ' ', ' ') - 1)"

/* What to SELECT from artifacts, in the order row_read_artifact wants; the
 * bytes are not loaded. */
#define ROW_ARTIFACT "artifact, name, content_type, bytes, sha256, complete"

void row_read_artifact(struct sql *q, struct artifact *out, int64_t *handle);

/* What a job in this state waits for when the target answers. */
enum job_waiting row_waiting_on(enum job_state state);

#endif
