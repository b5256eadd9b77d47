/*
 * header.c - one header out of an HTTP reply's head.
 */
#include <config.h>

#include "worker/header.h"

#include <string.h>

bool header_find(struct span lines, const char *name, char *out, size_t size)
{
	struct span line;

	while (span_cut(&lines, '\n', &line)) {
		struct span value = line;
		struct span key;

		if (!span_cut(&value, ':', &key) || !span_eq_nocase(key, name))
			continue;
		value = span_trim(value);
		if (value.len >= size)
			return false;
		if (value.len > 0)
			memcpy(out, value.p, value.len);
		out[value.len] = '\0';
		return true;
	}
	return false;
}
