/*
 * move.h - one move of one job, inside a transaction (store only).
 *
 * queue.c says which arrow and how durable; here it is made.
 */
#ifndef FOREMAN_STORE_MOVE_H
#define FOREMAN_STORE_MOVE_H

#include "core/job.h"
#include "store/result.h"
#include "store/sql.h"

/* A move as asked for. */
struct move {
	enum job_state to;
	enum job_reason reason; /* of the event; of the row too when it fails */
	const char *error;      /* cut to LIMIT_ERROR_TEXT */
	int attempts;           /* to add */
	int interruptions;      /* to add */
	int64_t held_until_ms;
	const struct queue_result *result; /* or NULL */
	int64_t now_ms;
};

/* Has somebody asked to cancel the job at `seq`, which runs? ERR_NOENT: its row
 * is gone. */
enum err move_cancel_wanted(struct db *db, int64_t seq, bool *out) MUST_CHECK;

struct move move_canceled(int64_t now_ms); /* -> failed, `canceled` */

/*
 * In the open transaction: `job` as the caller knows it becomes *next, which
 * borrows job's texts until move_adopt makes it *job, or move_drop forgets it
 * (because the commit failed). On any answer but ERR_OK *next is void and the
 * transaction must be rolled back: ERR_STALE, ERR_INVAL (no such arrow), or
 * what the database says. A job on its way back to the line that somebody
 * asked to cancel fails instead.
 */
enum err move_in(struct db *db, const struct job *job, const struct move *asked,
                 struct job *next, struct errtext *why) MUST_CHECK;
void move_adopt(struct job *job, const struct job *next);
void move_drop(struct job *next);

/* The parts a new job needs as well: the event of having come to job->state,
 * and `body` owed to its receiver, due at once if `first`, else when the
 * job's earlier ones are settled. */
enum err move_event(struct db *db, const struct job *job, enum job_reason reason,
                    int64_t at_ms, struct errtext *why) MUST_CHECK;
enum err move_owe(struct db *db, const struct job *job, const char *body,
                  bool first, int64_t now_ms, struct errtext *why) MUST_CHECK;

#endif
