/*
 * json.h - the one door to cJSON: small trees in, small texts out.
 *
 * For what foreman itself says or must look into (job objects, options,
 * metadata); bodies that only pass through are walked by jscan instead.
 * All cJSON functions may be used through this header; none is used without.
 */
#ifndef FOREMAN_BASE_JSON_H
#define FOREMAN_BASE_JSON_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

#include <cjson/cJSON.h>

#include <stdbool.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 128 /* cJSON recurses: some 100 bytes of stack a level */

/*
 * Parse exactly one value (checked by jscan first, so strictly and bounded in
 * depth). Free with cJSON_Delete. ERR_INVAL with a text, ERR_NOENT if blank.
 * Also refused, as a tree cannot hold them: \u0000 in strings, lone surrogates,
 * and, by some versions of cJSON, numbers of more than 63 characters. The target
 * takes all three, so what it would take is for jscan to say.
 */
enum err json_parse(struct span text, cJSON **out, struct errtext *why) MUST_CHECK;

/* Compact text on the heap (free() it); NULL when there is no memory, or was
 * none for a part of the tree. */
char *json_text(const cJSON *tree);

/* Add to an object. All are safe on NULL trees; on lack of memory the member
 * is missing, and json_text will say so. */
void json_add_str(cJSON *o, const char *key, const char *s);  /* NULL: null */
void json_add_int(cJSON *o, const char *key, int64_t n);      /* exact */
void json_add_bool(cJSON *o, const char *key, bool b);
void json_add_time(cJSON *o, const char *key, int64_t wall_ms); /* 0: null */
/* `json_value` must be well-formed JSON; NULL adds null. */
void json_add_raw(cJSON *o, const char *key, const char *json_value);
/* The new member, which is its parent's; NULL when there is no memory. */
cJSON *json_add_object(cJSON *o, const char *key);
cJSON *json_add_array(cJSON *o, const char *key);

/* Add to an array, which takes the item over, come what may; a NULL item is one
 * that there was no memory for. */
void json_append(cJSON *list, cJSON *item);

/* There was no memory for something that belongs into this object or array. */
void json_lack(cJSON *o);

#endif
