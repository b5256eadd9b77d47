/*
 * jscan.h - where the members of a JSON object stand, without building a tree.
 *
 * foreman passes bodies on byte for byte and reads a handful of members of
 * them; a body may be 64 MB of base64. So this walks the bytes once, with a
 * bit per nesting level instead of recursion, checks RFC 8259 strictly, and
 * tells where each top-level member's key and value begin and end. Values
 * that are worth a tree go to json_parse (json.h) piece by piece.
 */
#ifndef FOREMAN_BASE_JSCAN_H
#define FOREMAN_BASE_JSCAN_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum jscan_type {
	JSCAN_NULL,
	JSCAN_TRUE,
	JSCAN_FALSE,
	JSCAN_NUMBER,
	JSCAN_STRING,
	JSCAN_ARRAY,
	JSCAN_OBJECT
};

struct jscan_value {
	enum jscan_type type;
	struct span raw; /* the value's own bytes, quotes and brackets included */
	bool empty;      /* "", [] or {} (white space inside allowed) */
};

/* How strict the walk is. */
struct jscan_rules {
	size_t max_depth;     /* of arrays and objects; at most JSCAN_DEPTH_MAX */
	bool trailing;        /* bytes after the value are ignored, as Go does */
	bool any_utf8;        /* strings need not be valid UTF-8, as in Go */
};

#define JSCAN_DEPTH_MAX 10000 /* encoding/json's own limit */

/*
 * One member of the object: `key` is the raw bytes between the quotes.
 * Return false to stop the walk early (the rest is then not checked).
 */
typedef bool jscan_member_fn(void *arg, struct span key,
                             const struct jscan_value *value);

/*
 * Walk the one JSON value in `text`. `fn` (NULL: none) is called for each
 * member if it is an object. ERR_OK: well formed, *top describes it (may be
 * NULL; after an early stop its bytes end there). ERR_INVAL: not JSON; the
 * text says what and at which byte, e.g. "invalid JSON: unexpected end at byte
 * 12", "JSON nested deeper than 128". Lone surrogates are not refused.
 * Empty or blank text is ERR_NOENT ("missing request body").
 */
enum err jscan(struct span text, const struct jscan_rules *rules,
               jscan_member_fn *fn, void *arg, struct jscan_value *top,
               struct errtext *why) MUST_CHECK;

/*
 * Decode a JSON string's raw bytes (with its quotes, or a key without them).
 * A heap copy, NUL-terminated; escapes become UTF-8; lone surrogates and bytes
 * that are not UTF-8 become U+FFFD, as in Go, so the copy is always UTF-8.
 * *len (may be NULL) counts the bytes, which may include NULs from \u0000.
 * NULL when there is no memory.
 */
char *jscan_unescape(struct span raw, size_t *len);

#endif
