/*
 * remove.h - how a job leaves the store, with all that belongs to it.
 *
 * Its row goes, and by a trigger its body, events, artifacts and webhooks,
 * owed or not; its id is remembered as retired (410), for a time.
 */
#ifndef FOREMAN_STORE_REMOVE_H
#define FOREMAN_STORE_REMOVE_H

#include "base/attr.h"
#include "base/err.h"
#include "store/db.h"

#include <stdint.h>

/*
 * Remove this job, whatever its state, in the open transaction; whoever runs it
 * finds its row gone. ERR_NOENT: no such job, or it is removed already. After
 * any other error roll back.
 */
enum err remove_job_in(struct db *db, const char *id,
                       struct errtext *why) MUST_CHECK;

/* Remove finished jobs older than before_ms that owe no webhook, the oldest
 * first, at most `batch`; *count says how many. Its own transaction, begun only
 * if there is one. */
enum err remove_old(struct db *db, int64_t before_ms, int batch, int64_t *count,
                    struct errtext *why) MUST_CHECK;

/* Forget retired ids that were made before that moment, likewise. */
enum err remove_retired(struct db *db, int64_t before_ms, int batch, int64_t *count,
                        struct errtext *why) MUST_CHECK;

#endif
