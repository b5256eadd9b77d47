/*
 * value.h - the kinds of values that settings have.
 *
 * A type says how a value is read from text, how it is shown, and what is
 * accepted, in words. It knows of no setting.
 */
#ifndef FOREMAN_CORE_VALUE_H
#define FOREMAN_CORE_VALUE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct value_type {
	const char *name;    /* "duration", "size", "number" … */
	const char *accepts; /* behind it comes " from A to B" if there is a range */
	enum err (*read)(const struct value_type *t, const char *range,
	                 struct span text, void *field);
	void (*show)(const struct value_type *t, const void *field, FILE *to);

	/* a number, an int64_t: how it is written */
	enum err (*parse)(struct span text, int64_t *out);
	void (*format)(int64_t n, char *out);

	bool (*form)(struct span text); /* a text, an owned char *: may it be so? */
	bool on_heap;

	const char *const *words; /* a word: its number, in … */
	size_t word_count;
	size_t word_size; /* … a bool, or an enum */
};

extern const struct value_type VALUE_NUMBER, VALUE_COUNT, VALUE_DURATION,
    VALUE_SIZE, VALUE_TEXT, VALUE_LINES, VALUE_TOKEN, VALUE_MODEL, VALUE_PATH,
    VALUE_SOCKET_PATH, VALUE_SOCKET, VALUE_BASE_URL, VALUE_URL,
    VALUE_WEBHOOK_SECRET, VALUE_ALLOW, VALUE_SCHEDULE, VALUE_CHECKPOINTER,
    VALUE_ADMIN, VALUE_LEVEL, VALUE_FORMAT;

/* `range` is "", "A..B" or "0 or A..B", in the type's own writing. ERR_OK:
 * *field is set. ERR_INVAL: not of the form or out of range. ERR_NOMEM. */
enum err value_read(const struct value_type *t, const char *range, struct span text,
                    void *field) MUST_CHECK;
void value_show(const struct value_type *t, const void *field, FILE *to);
/* Free what the field holds; it is as if never set. */
void value_done(const struct value_type *t, void *field);

/* What is accepted, in one line: "a duration from 1s to 30d is accepted". */
#define VALUE_ACCEPTS_SIZE 160
void value_accepts(const struct value_type *t, const char *range,
                   char out[VALUE_ACCEPTS_SIZE]);

#endif
