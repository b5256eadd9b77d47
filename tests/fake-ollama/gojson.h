/*
 * gojson.h - JSON as Go's encoding/json reads it, its error texts included.
 *
 * Written apart from src/base/jscan on purpose: two readings of the same
 * rules, so that a test through foreman holds one against the other.
 */
#ifndef FAKE_OLLAMA_GOJSON_H
#define FAKE_OLLAMA_GOJSON_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum gojson_type {
	GOJSON_ABSENT,
	GOJSON_NULL,
	GOJSON_BOOL,
	GOJSON_NUMBER,
	GOJSON_STRING,
	GOJSON_ARRAY,
	GOJSON_OBJECT
};

struct gojson {
	enum gojson_type type;
	struct span raw; /* the value's own bytes, quotes and brackets included */
};

/*
 * Find the first value in `text`, as json.Decoder does: what follows it is
 * not looked at. ERR_NOENT: nothing but white space ("EOF"). ERR_INVAL: the
 * text is what Go says, "unexpected EOF" or "invalid character 'x' …".
 */
enum err gojson_first(struct span text, struct gojson *out,
                      struct errtext *why) MUST_CHECK;

/* Walks the members of an object, or the elements of an array, of a value
 * that gojson_first has passed. Zero it, but for `rest` = the value's raw. */
struct gojson_walk {
	struct span rest;
	bool inside;
};

/* The next one; *key is unescaped, on the heap (NULL for array elements). */
bool gojson_next(struct gojson_walk *w, char **key, struct gojson *out);

/* A string value decoded: heap, NUL behind; *len may be NULL. Bytes that are
 * not UTF-8 and lone surrogates become U+FFFD. */
char *gojson_string(const struct gojson *v, size_t *len);

double gojson_number(const struct gojson *v);
bool gojson_true(const struct gojson *v);
bool gojson_empty(const struct gojson *v); /* "", [], {}, null, absent */

/* "number", "string", "bool", "object", "array", as Go's errors call them. */
const char *gojson_type_name(enum gojson_type t);

/* Do two names match as struct field names do: Unicode simple folding, which
 * for ASCII names adds only U+017F to s and U+212A to k. */
bool gojson_same_name(const char *key, const char *field);

#endif
