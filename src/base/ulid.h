/*
 * ulid.h - job identifiers: 48 bits of wall-clock milliseconds, 80 random.
 *
 * Within a process ids only go up: in the same millisecond (or after the
 * clock stepped back) the next id is the last one plus a random step. Across
 * processes they are ordered as well as the clock is. An id proves nothing
 * about who may see the job.
 */
#ifndef FOREMAN_BASE_ULID_H
#define FOREMAN_BASE_ULID_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

#include <stddef.h>

#define ULID_LEN 26
#define ULID_SIZE (ULID_LEN + 1)

/* The next id, canonical upper-case Crockford base 32. Thread-safe. */
void ulid_new(char out[ULID_SIZE]);

/* The next `count` ids, with none between the first and the last of them that
 * anybody else will ever be given. */
void ulid_run(char (*out)[ULID_SIZE], size_t count);

/* The lowest id of that moment (wall, ms; before 1970 as 1970): every id given
 * out earlier sorts before it. */
void ulid_floor(int64_t wall_ms, char out[ULID_SIZE]);

/* Lower case accepted, canonical form out. ERR_INVAL: wrong length, a letter
 * outside the alphabet (I, L, O, U), or above 7ZZZ… */
enum err ulid_parse(struct span s, char out[ULID_SIZE]) MUST_CHECK;

#endif
