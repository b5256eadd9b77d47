/*
 * pace.h - what runs of each load key take: the figures behind estimates.
 *
 * Means in which a new figure counts an eighth, the first one whole. They
 * outlive restarts; the LIMIT_PACE_KEYS load keys used last are remembered.
 */
#ifndef FOREMAN_STORE_PACE_H
#define FOREMAN_STORE_PACE_H

#include "base/attr.h"
#include "base/err.h"
#include "store/db.h"

#include <stdint.h>

/* Either one run's figures, or their means; below 0: not known. */
struct pace {
	double load_ms;      /* loading it; 0: it never has to be */
	double run_ms;       /* from dispatch to end, without loading */
	double tokens_per_s; /* completion tokens while it generates */
};

#define PACE_UNKNOWN                                                               \
	{                                                                              \
		-1, -1, -1                                                                 \
	}

/* A job of the load key is done; this is what it took. Part of the open
 * transaction (db_begin first). */
enum err pace_record(struct db *db, const char *load_key, const struct pace *run,
                     int64_t now_ms, struct errtext *why) MUST_CHECK;

/* The means. ERR_OK with all unknown for a load key that never ran. */
enum err pace_read(struct db *db, const char *load_key,
                   struct pace *out) MUST_CHECK;

/*
 * How long the queue takes for a job at present, in ms: the mean over all that
 * wait and whose pace is known, one load for each load key that is not loaded
 * included; with nobody waiting, that of the running job. 0: not known.
 */
enum err pace_drain_ms(struct db *db, int64_t *ms_per_job) MUST_CHECK;

#endif
