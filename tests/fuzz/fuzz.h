/*
 * fuzz.h - what the fuzz targets share.
 *
 * A target is one function over any bytes. It claims properties with HOLDS,
 * which stops the process, so that not being crashed is the least it shows.
 * Built twice: with libFuzzer (--enable-fuzzing), and with replay.c, which
 * makes the corpus a unit test of every build.
 */
#ifndef FOREMAN_TESTS_FUZZ_H
#define FOREMAN_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* libFuzzer's name. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(cond)                                                                \
	do {                                                                           \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);     \
			abort();                                                               \
		}                                                                          \
	} while (0)

static inline struct span fuzz_span(const uint8_t *data, size_t size)
{
	return (struct span){ (const char *)data, size };
}

/* A heap copy with nothing behind it: a read too far is seen. free() it. */
static inline char *fuzz_exact(struct span s)
{
	char *copy = malloc(s.len ? s.len : 1);

	HOLDS(copy);
	if (s.len)
		memcpy(copy, s.p, s.len);
	return copy;
}

/* A C string; whatever follows a NUL in `s` is lost. free() it. */
static inline char *fuzz_text(struct span s)
{
	char *copy = span_dup(s);

	HOLDS(copy);
	return copy;
}

static inline bool fuzz_inside(struct span inner, struct span outer)
{
	return inner.p >= outer.p && inner.p + inner.len <= outer.p + outer.len;
}

#endif
