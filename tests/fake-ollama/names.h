/*
 * names.h - model names, read by Ollama's rules.
 *
 * Written apart from src/core/model on purpose, as gojson is from jscan.
 */
#ifndef FAKE_OLLAMA_NAMES_H
#define FAKE_OLLAMA_NAMES_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>

#define NAME_HOST_MAX 350
#define NAME_PART_MAX 80

enum name_verdict { NAME_OK, NAME_EMPTY, NAME_INVALID, NAME_CONFLICT };

struct name {
	char host[NAME_HOST_MAX + 1];
	char ns[NAME_PART_MAX + 1];
	char model[NAME_PART_MAX + 1];
	char tag[NAME_PART_MAX + 1];
	bool cloud; /* ":cloud" or "-cloud" was there: nothing runs here */
};

/* Defaults filled in, spelling kept. *out is meaningful for NAME_OK only. */
enum name_verdict name_parse(struct span text, struct name *out);

/* One model, whatever the case; or letter for letter. */
bool name_same(const struct name *a, const struct name *b);
bool name_equal(const struct name *a, const struct name *b);

void put_name_short(struct buf *b, const struct name *n); /* llama3:latest */
void put_name_full(struct buf *b, const struct name *n);  /* host/ns/model:tag */

#endif
