/*
 * range.c - one range of bytes, or all of them.
 *
 * Numbers beyond 63 bits are legal and mean "further than anything": they are
 * taken for the largest we have.
 */
#include <config.h>

#include "core/range.h"

#include <stdbool.h>

/* Digits only. False: no number. */
static bool read_number(struct span s, int64_t *out)
{
	int64_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		int digit = s.p[i] - '0';

		if (digit < 0 || digit > 9)
			return false;
		n = n > (INT64_MAX - digit) / 10 ? INT64_MAX : n * 10 + digit;
	}
	*out = n;
	return s.len > 0;
}

/* "-20": the last so many. */
static enum range_answer read_suffix(struct span digits, int64_t size,
                                     struct range *out)
{
	int64_t n;

	if (!read_number(digits, &n))
		return RANGE_ALL;
	if (n == 0 || size == 0)
		return RANGE_UNSATISFIABLE;
	out->len = n < size ? n : size;
	out->first = size - out->len;
	return RANGE_PART;
}

/* "100-" or "0-99". */
static enum range_answer read_span(struct span from, struct span to, int64_t size,
                                   struct range *out)
{
	int64_t first, last = INT64_MAX;

	if (!read_number(from, &first) || (to.len > 0 && !read_number(to, &last)) ||
	    last < first)
		return RANGE_ALL;
	if (first >= size)
		return RANGE_UNSATISFIABLE;
	out->first = first;
	out->len = (last < size ? last : size - 1) - first + 1;
	return RANGE_PART;
}

enum range_answer range_read(struct span header, int64_t size, struct range *out)
{
	struct span rest = header, unit, from;

	*out = (struct range){ 0, size };
	if (!span_cut(&rest, '=', &unit) || !span_eq_nocase(unit, "bytes"))
		return RANGE_ALL;
	rest = span_trim(rest);
	if (!span_cut(&rest, '-', &from) || !rest.p)
		return RANGE_ALL; /* no '-' in it */
	return from.len > 0 ? read_span(from, rest, size, out)
	                    : read_suffix(rest, size, out);
}
