/*
 * figures.h - microseconds gathered, and printed as one line of JSON.
 */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stddef.h>
#include <stdint.h>

struct figures {
	int64_t *us;
	size_t count;
	size_t room;
};

int64_t now_us(void); /* CLOCK_MONOTONIC */

void figures_add(struct figures *f, int64_t us);
void figures_join(struct figures *to, struct figures *from); /* frees `from` */
void figures_done(struct figures *f);

/* Prints "name":{"count":…,"p50":…,"p99":…,"max":…}; sorts what is there. */
void figures_print(struct figures *f, const char *name);

#endif
