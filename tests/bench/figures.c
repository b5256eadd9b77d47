/*
 * figures.c - microseconds gathered, and printed as one line of JSON.
 */
#include <config.h>

#include "figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void make_room(struct figures *f, size_t more)
{
	if (f->count + more <= f->room)
		return;
	f->room = (f->count + more) * 2;
	f->us = realloc(f->us, f->room * sizeof(*f->us));
	if (!f->us) {
		perror("realloc");
		exit(1);
	}
}

void figures_add(struct figures *f, int64_t us)
{
	make_room(f, 1);
	f->us[f->count++] = us;
}

void figures_join(struct figures *to, struct figures *from)
{
	make_room(to, from->count);
	if (from->count)
		memcpy(to->us + to->count, from->us, from->count * sizeof(*to->us));
	to->count += from->count;
	figures_done(from);
}

void figures_done(struct figures *f)
{
	free(f->us);
	memset(f, 0, sizeof(*f));
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int64_t quantile(const struct figures *f, size_t percent)
{
	return f->count ? f->us[(f->count - 1) * percent / 100] : -1;
}

void figures_print(struct figures *f, const char *name)
{
	if (f->count)
		qsort(f->us, f->count, sizeof(*f->us), by_size);
	printf("\"%s\":{\"count\":%zu,\"p50\":%" PRId64 ",\"p99\":%" PRId64
	       ",\"max\":%" PRId64 "}",
	       name, f->count, quantile(f, 50), quantile(f, 99), quantile(f, 100));
}
