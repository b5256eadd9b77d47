/*
 * header.c - the header lines of an HTTP head.
 *
 * Nothing is kept: what comes out points into what went in. What is no header
 * is not found, not passed on, and no reason to refuse the rest.
 * Refused as no header: a line without a colon, a name that is empty or not of
 * visible ASCII, a value with a control character.
 */
#include <config.h>

#include "core/header.h"

#include <string.h>

bool header_split(struct span line, struct span *name, struct span *value)
{
	struct span rest = line, key;

	if (!span_cut(&rest, ':', &key) || !rest.p || !key.len)
		return false;
	for (size_t i = 0; i < key.len; i++)
		if (key.p[i] <= ' ' || key.p[i] > '~')
			return false;
	for (size_t i = 0; i < rest.len; i++) {
		unsigned char c = (unsigned char)rest.p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	*name = key;
	*value = span_trim(rest);
	return true;
}

bool header_next(struct span *lines, struct span *name, struct span *value)
{
	struct span line;

	while (span_cut(lines, '\n', &line))
		if (header_split(line, name, value))
			return true;
	return false;
}

struct span header_find(struct span lines, const char *name)
{
	struct span key, value;

	while (header_next(&lines, &key, &value))
		if (span_eq_nocase(key, name))
			return value;
	return (struct span){ NULL, 0 };
}

bool header_copy(struct span lines, const char *name, char *out, size_t size)
{
	struct span value = header_find(lines, name);

	if (!value.p || value.len >= size)
		return false;
	memcpy(out, value.p, value.len);
	out[value.len] = '\0';
	return true;
}

/* --- what goes no further --------------------------------------------------- */

static bool same_name(struct span a, struct span b)
{
	return a.len == b.len && strncasecmp(a.p, b.p, a.len) == 0;
}

/* Is `name` among the names that some Connection header lists? */
static bool named_in_connection(struct span lines, struct span name)
{
	struct span key, list, item;

	while (header_next(&lines, &key, &list)) {
		if (!span_eq_nocase(key, "connection"))
			continue;
		while (span_cut(&list, ',', &item))
			if (same_name(span_trim(item), name))
				return true;
	}
	return false;
}

static bool is_hop_by_hop(struct span name)
{
	static const char *const always[] = {
		"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"
	};

	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		if (span_eq_nocase(name, always[i]))
			return true;
	return name.len >= 6 && strncasecmp(name.p, "proxy-", 6) == 0;
}

enum err header_pass_on(struct span lines, struct buf *out)
{
	/* a length beside a transfer coding means nothing (RFC 9112, 6.3) */
	bool no_length = header_find(lines, "transfer-encoding").p != NULL;
	bool names_more = header_find(lines, "connection").p != NULL;
	struct span all = lines, name, value;
	enum err e = ERR_OK;

	while (!e && header_next(&lines, &name, &value)) {
		if (is_hop_by_hop(name) ||
		    (no_length && span_eq_nocase(name, "content-length")) ||
		    (names_more && named_in_connection(all, name)))
			continue;
		e = buf_addf(out, "%.*s: %.*s\n", (int)name.len, name.p, (int)value.len,
		             value.p);
	}
	return e;
}
