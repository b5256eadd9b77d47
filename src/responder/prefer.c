/*
 * prefer.c - preferences cut apart: `wait="10"; foo, respond-async`.
 *
 * Nothing is refused: a preference that is not understood is as if it were not
 * there. Of several `wait` the first counts.
 */
#include <config.h>

#include "responder/prefer.h"

#include "core/limits.h"

/* Cut the piece before `sep` off *rest, not looking into quoted strings. */
static bool cut_unquoted(struct span *rest, char sep, struct span *piece)
{
	bool quoted = false;

	if (!rest->p)
		return false;
	for (size_t i = 0; i < rest->len; i++) {
		if (rest->p[i] == '"')
			quoted = !quoted;
		else if (quoted && rest->p[i] == '\\')
			i++;
		else if (!quoted && rest->p[i] == sep) {
			*piece = (struct span){ rest->p, i };
			*rest = (struct span){ rest->p + i + 1, rest->len - i - 1 };
			return true;
		}
	}
	*piece = *rest;
	*rest = (struct span){ 0 };
	return true;
}

/* Seconds, one of any length: what is beyond the limit is the limit. */
static bool read_seconds(struct span value, int64_t *ms)
{
	int64_t got = 0;

	if (value.len > 1 && value.p[0] == '"' && value.p[value.len - 1] == '"')
		value = (struct span){ value.p + 1, value.len - 2 };
	for (size_t i = 0; i < value.len; i++) {
		if (value.p[i] < '0' || value.p[i] > '9')
			return false;
		got = got * 10 + (value.p[i] - '0');
		if (got > LIMIT_WAIT_MAX_S)
			got = LIMIT_WAIT_MAX_S;
	}
	*ms = got * 1000;
	return value.len > 0;
}

void prefer_read(struct span header, struct prefer *out)
{
	struct span one, name;
	bool waits = false;

	*out = (struct prefer){ 0 };
	while (cut_unquoted(&header, ',', &one)) {
		struct span value;

		/* parameters would follow a semicolon: neither preference has any */
		if (!cut_unquoted(&one, ';', &value) || !cut_unquoted(&value, '=', &name))
			continue;
		name = span_trim(name);
		if (span_eq_nocase(name, "respond-async")) {
			out->respond_async = true;
		} else if (span_eq_nocase(name, "wait") && !waits) {
			waits = true;
			(void)!read_seconds(span_trim(value), &out->wait_ms);
		}
	}
}
