/*
 * setting.h - what is known of each setting: one table, a row each.
 *
 * Reading, checking, dumping and the documentation's tests come from it; to add
 * a setting, add its field (conf.h) and its row.
 */
#ifndef FOREMAN_CORE_SETTING_H
#define FOREMAN_CORE_SETTING_H

#include "base/str.h"
#include "core/value.h"

#include <stdbool.h>
#include <stddef.h>

#define SETTING_PREFIX "FOREMAN_"

struct setting {
	const char *name;
	const struct value_type *type;
	size_t field;         /* where in struct conf */
	const char *range;    /* "A..B" or "0 or A..B", in the type's own writing */
	const char *fallback; /* the default as written; "" = none */
	const char *help;
	bool secret;
};

extern const struct setting settings[];
extern const size_t setting_count;

/* The setting that was perhaps meant: off by up to three letters, and by no more
 * than a third of what stands behind the prefix. NULL: none is that near. */
const char *setting_nearest(struct span name);

#endif
