/*
 * json.c - small trees, parsed after jscan has vouched for the text.
 *
 * cJSON alone takes what RFC 8259 does not (01, raw control characters,
 * invalid UTF-8), recurses as deep as the text says, and keeps strings with
 * \u0000 in them cut short. So the text is walked first and such a NUL is
 * refused: what is in a tree is what stood in the text.
 */
#include <config.h>

#include "base/json.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jscan.h"

/* Well-formed JSON has backslashes in strings only, each before one more byte. */
static bool has_escaped_nul(struct span text)
{
	const char *p = text.p, *end = text.p + text.len;

	while ((p = memchr(p, '\\', (size_t)(end - p)))) {
		if (end - p >= 6 && memcmp(p + 1, "u0000", 5) == 0)
			return true;
		p += 2;
	}
	return false;
}

enum err json_parse(struct span text, cJSON **out, struct errtext *why)
{
	const struct jscan_rules strict = { .max_depth = JSON_DEPTH_MAX };
	enum err e = jscan(text, &strict, NULL, NULL, NULL, why);
	struct span rest;
	const char *end;
	cJSON *tree;

	if (e)
		return e;
	if (has_escaped_nul(text)) {
		errtext_set(why, "invalid JSON: \\u0000 is not allowed here");
		return ERR_INVAL;
	}
	tree = cJSON_ParseWithLengthOpts(text.p, text.len, &end, false);
	if (tree) {
		rest = (struct span){ end, (size_t)(text.p + text.len - end) };
		if (!span_trim(rest).len) {
			*out = tree;
			return ERR_OK;
		}
	}
	/* some versions cut a long number that is the whole text, and refuse it
	 * elsewhere; want of memory looks the same */
	cJSON_Delete(tree);
	errtext_set(why, "invalid JSON: lone surrogate or overlong number");
	return ERR_INVAL;
}

/* --- what lacks a part ----------------------------------------------------- */

/* Stands in the valueint of an object or array, which cJSON does not use. */
#define LACKS 1

void json_lack(cJSON *o)
{
	if (o)
		o->valueint = LACKS;
}

static bool whole(const cJSON *tree)
{
	const cJSON *part;

	if (!cJSON_IsObject(tree) && !cJSON_IsArray(tree))
		return true;
	if (tree->valueint == LACKS)
		return false;
	cJSON_ArrayForEach(part, tree)
	{
		if (!whole(part))
			return false;
	}
	return true;
}

char *json_text(const cJSON *tree)
{
	return whole(tree) ? cJSON_PrintUnformatted(tree) : NULL;
}

/* --- adding ---------------------------------------------------------------- */

/* Takes the item over; NULL: there was no memory for it. */
static cJSON *add(cJSON *o, const char *key, cJSON *item)
{
	if (item && cJSON_AddItemToObject(o, key, item))
		return item;
	cJSON_Delete(item);
	json_lack(o);
	return NULL;
}

void json_add_str(cJSON *o, const char *key, const char *s)
{
	add(o, key, s ? cJSON_CreateString(s) : cJSON_CreateNull());
}

void json_add_int(cJSON *o, const char *key, int64_t n)
{
	char digits[24]; /* cJSON's numbers are doubles: exact to 2^53 only */

	snprintf(digits, sizeof(digits), "%lld", (long long)n);
	json_add_raw(o, key, digits);
}

void json_add_bool(cJSON *o, const char *key, bool b)
{
	add(o, key, cJSON_CreateBool(b));
}

void json_add_time(cJSON *o, const char *key, int64_t wall_ms)
{
	char iso[CLOCK_ISO_SIZE];

	if (wall_ms)
		clock_iso(wall_ms, iso);
	json_add_str(o, key, wall_ms ? iso : NULL);
}

void json_add_raw(cJSON *o, const char *key, const char *json_value)
{
	add(o, key, json_value ? cJSON_CreateRaw(json_value) : cJSON_CreateNull());
}

cJSON *json_add_object(cJSON *o, const char *key)
{
	return add(o, key, cJSON_CreateObject());
}

cJSON *json_add_array(cJSON *o, const char *key)
{
	return add(o, key, cJSON_CreateArray());
}

void json_append(cJSON *list, cJSON *item)
{
	if (item && cJSON_AddItemToArray(list, item))
		return;
	cJSON_Delete(item);
	json_lack(list);
}
