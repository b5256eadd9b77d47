/*
 * estimate.h - when a waiting job's turn comes, and when the line is empty.
 * Pure: what waits, what runs and the pace of each load key in; turns out.
 *
 * As core/order chooses, if nothing more arrived: attended jobs first; within
 * a class the loaded load key until it is empty, then the oldest head. The
 * bound on a drain is followed roughly (a turn is cut where it strikes, the
 * oldest other head is next), the moment lingered before a swap not at all.
 * Places are exact but for that bound. Times are as good as the means behind
 * them, and none is told that needs a pace which is not known.
 */
#ifndef FOREMAN_CORE_ESTIMATE_H
#define FOREMAN_CORE_ESTIMATE_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The jobs of one load key and class that may run. */
struct estimate_row {
	const char *load_key;
	bool attended;
	int64_t count;
	int64_t head_seq; /* of the oldest */
	double load_ms;   /* of the load key; below 0: not known */
	double run_ms;    /* of one job, without loading; below 0: not known */
};

/* How things stand, apart from the line. */
struct estimate_now {
	const char *loaded_key; /* NULL: none, or not known */
	double busy_ms;         /* until what runs has ended: 0, nothing runs;
	                           below 0: not known */
	int64_t max_wait_ms;    /* the drain's bound; 0: none */
};

/* Jobs of one row that run one after the other. */
struct estimate_turn {
	size_t row;
	int64_t first; /* how many of the row have run before */
	int64_t count;
	int64_t place;    /* how many of all have run before */
	double begins_ms; /* from now; below 0: not known */
	double load_ms;   /* before the first of them; below 0: not known */
	double run_ms;
};

struct estimate {
	struct estimate_turn *turns; /* in running order */
	size_t count;
	double empty_ms; /* from now until all have run; below 0: not known */
};

/* `rows` in any order, each load key and class once. ERR_NOMEM. */
enum err estimate_make(const struct estimate_now *now,
                       const struct estimate_row *rows, size_t count,
                       struct estimate *out) MUST_CHECK;
void estimate_done(struct estimate *e);

struct estimate_answer {
	int64_t place;    /* 1: next */
	double starts_ms; /* when it is dispatched, from now; below 0: not known */
	double ends_ms;
};

/* The job of that row which has `ahead` others of it before it. False: the
 * turns do not reach so far (ESTIMATE_TURNS_MAX). */
bool estimate_job(const struct estimate *e, size_t row, int64_t ahead,
                  struct estimate_answer *out);

/* When the row's first job starts and its last one ends; likewise. */
bool estimate_all(const struct estimate *e, size_t row, int64_t count,
                  struct estimate_answer *out);

/* What is left of a run dispatched `loading_ms` ago that began to answer
 * `working_ms` ago (below 0: not yet); below 0: not known. */
double estimate_rest(double load_ms, double run_ms, double loading_ms,
                     double working_ms);

/* A small bound on the drain and a deep line make many turns: the rest is not
 * told. */
#define ESTIMATE_TURNS_MAX 4096

#endif
