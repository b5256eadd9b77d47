/*
 * tally.h - what the responders have answered, counted over all of them.
 *
 * A page that the pool's processes share: any of them tells the whole truth,
 * and one that dies takes nothing with it. It is the master's: it begins anew
 * with the service, as counters may, and outlives a reload, so its rows go by
 * their routes' names, not by their places in one program's table.
 */
#ifndef FOREMAN_RESPONDER_TALLY_H
#define FOREMAN_RESPONDER_TALLY_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* The master's: make the page, to be passed on. ERR_NOMEM. */
enum err tally_create(int *fd) MUST_CHECK;

/* A row of the table of routes, for the tally and the log: its path, and its
 * method, GET where that stands for HEAD too. Of no row: "other", "". */
struct tally_name {
	const char *method, *path;
};
struct tally_names {
	int count; /* at most TALLY_ROUTES */
	struct tally_name (*of)(int row);
};
#define TALLY_ROUTES 64

/*
 * A responder's, before its threads: these are its rows, and whatever the answer,
 * tally_name knows them. Count on the page; the descriptor is closed.
 * -1: in memory of its own. ERR_VERSION: an earlier program's master has a page
 * of another shape; ERR_NOMEM, ERR_IO. After an error, too, all is counted in
 * memory of its own, or without any not at all.
 */
enum err tally_open(int fd, const struct tally_names *names) MUST_CHECK;
void tally_close(void);

struct tally_name tally_name(int route);

/* A request to the `route`th row of the table of routes (-1: none of them) was
 * answered with this status (0: its client left before), so long after it
 * came. Any thread. */
void tally_request(int route, int status, int64_t us);

enum tally_what {
	TALLY_REPLAYED,     /* submissions answered with a job that was there */
	TALLY_LEFT_WAITING, /* clients who left while they waited */
	TALLY_LEFT_READING, /* ... while they were answered */
	TALLY_WHAT_COUNT
};
void tally_add(enum tally_what what);
uint64_t tally_total(enum tally_what what);

#define TALLY_BUCKETS 15
/* Upper bounds of how long requests took, in seconds; the last is infinite. */
extern const double tally_bounds[TALLY_BUCKETS];

struct tally_row {           /* of a route that was asked for */
	const char *method;      /* "GET", also of HEAD; "" */
	const char *path;        /* the table's; "other": none of its */
	uint64_t buckets[TALLY_BUCKETS]; /* in this one alone */
	double seconds;          /* of all of them */
};

/* Each route that was asked for; then `code` with each of its statuses. */
void tally_each(void (*row)(void *arg, const struct tally_row *row),
                void (*code)(void *arg, const struct tally_row *row, int status,
                             uint64_t count),
                void *arg);

#endif
