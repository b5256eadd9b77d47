/*
 * range.h - which bytes of a thing a Range header asks for (RFC 9110 §14). Pure.
 */
#ifndef FOREMAN_CORE_RANGE_H
#define FOREMAN_CORE_RANGE_H

#include "base/str.h"

#include <stdint.h>

enum range_answer {
	RANGE_ALL,          /* 200: none asked for, several, or nonsense */
	RANGE_PART,         /* 206 */
	RANGE_UNSATISFIABLE /* 416: no byte of it exists */
};

struct range {
	int64_t first; /* offset of its first byte */
	int64_t len;   /* at least 1 for a part */
};

/*
 * Read the header's value (absent: none) against `size` bytes. "bytes=0-99",
 * "bytes=100-" and "bytes=-20" are one range; whatever RFC 9110 lets a server
 * ignore (another unit, several ranges, an end before its begin, no number)
 * is ignored. *out is what to send: all of it for RANGE_ALL.
 */
enum range_answer range_read(struct span header, int64_t size, struct range *out);

#endif
