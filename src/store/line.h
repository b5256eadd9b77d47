/*
 * line.h - where a waiting job stands, and when its turn comes (store only).
 *
 * Read once for a whole answer: how things stand, and - when the first waiting
 * job asks for its place - the line by load keys with their pace.
 */
#ifndef FOREMAN_STORE_LINE_H
#define FOREMAN_STORE_LINE_H

#include "core/estimate.h"
#include "core/job.h"
#include "store/sql.h"
#include "store/status.h"

/* What was learnt about a row while jobs of it were placed. */
struct line_mark {
	int64_t far_seq; /* from here on they are further back than LIMIT_POSITION */
	int64_t seq;     /* this one, 0: none yet, */
	int64_t ahead;   /* has so many before it */
};

struct line {
	struct status status; /* the target, and the loaded key */
	bool live;            /* a worker lives and the target is up: times hold */
	int64_t now_ms;
	bool planned;              /* what follows is there */
	struct estimate_row *rows; /* attended, unattended: by load key */
	struct line_mark *marks;   /* of each row */
	size_t count;
	bool whole; /* nothing is on hold, no row is left out */
	struct estimate plan;
};

/* Give it to line_done whatever the answer. */
enum err line_read(struct db *db, struct line *out) MUST_CHECK;
void line_done(struct line *line);

/* Fill the job's position, estimate and waiting_on, if it is queued. One on
 * hold has no place; places are told up to LIMIT_POSITION, estimates of jobs
 * with fewer than that before them of their own load key. */
enum err line_place(struct db *db, struct line *line, struct job *job) MUST_CHECK;

/* Have rows and plan ready. */
enum err line_plan(struct db *db, struct line *line) MUST_CHECK;

/* When the first of those that wait for this load key starts and the last one
 * ends (wall); false: not known. After line_plan. */
bool line_times(const struct line *line, const char *load_key, bool attended,
                int64_t *starts_ms, int64_t *ends_ms);

/* When all that wait have run (wall); 0: not known. After line_plan. */
int64_t line_empty_ms(const struct line *line);

#endif
