/*
 * gauge.h - every figure of the store, in one look, for metrics.
 *
 * Short statements over tables that triggers keep; nothing is counted by
 * walking jobs.
 */
#ifndef FOREMAN_STORE_GAUGE_H
#define FOREMAN_STORE_GAUGE_H

#include "base/attr.h"
#include "base/err.h"
#include "core/job.h"
#include "store/db.h"
#include "store/status.h"

#include <stddef.h>
#include <stdint.h>

struct gauge_counter {
	char *name;              /* "finished" */
	char *label;             /* "done" */
	int64_t total;
};

struct gauge_bucket {        /* of a histogram; sorted by name, label, le */
	char *name;              /* "queue_wait" */
	char *label;             /* "attended" */
	double le;               /* seconds; the last is infinite */
	int64_t count;           /* in this bucket alone */
	double sum;
};

struct gauge {
	int64_t jobs[JOB_STATE_COUNT][2];  /* in each state; [1]: attended */
	int64_t arrived[2];                /* ever submitted; likewise */
	int64_t head_queued_ms[2];         /* since when the first in line waits,
	                                      wall; 0: nobody does; likewise */
	int64_t webhooks_pending;
	int64_t webhooks_dead;
	int64_t oldest_webhook_ms;         /* wall; 0: none is owed */
	int64_t swaps;
	int64_t fifo_swaps;
	int64_t file_bytes;
	int64_t free_bytes;                /* of these, not used */
	int64_t wal_bytes;
	int64_t disk_free_bytes;           /* on its file system */
	struct gauge_counter *counters;
	size_t counter_count;
	struct gauge_bucket *buckets;
	size_t bucket_count;
	double *bounds;                    /* of the buckets, ascending */
	size_t bound_count;
	struct status status;              /* without tags */
};

/* ERR_OK: gauge_done it. */
enum err gauge_read(struct db *db, struct gauge *out, struct errtext *why) MUST_CHECK;
void gauge_done(struct gauge *g);

#endif
