/*
 * head.h - the head of an HTTP/1 request, as Go's net/http takes it.
 */
#ifndef FAKE_OLLAMA_HEAD_H
#define FAKE_OLLAMA_HEAD_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_BYTES_MAX ((size_t)1 << 20) /* Go's DefaultMaxHeaderBytes */
#define HEAD_FIELDS_MAX 256

struct head_field {
	struct span name, value;
};

/* Everything points into the text given to head_parse. */
struct head {
	struct span method;
	struct span raw_path; /* as sent */
	struct span query;    /* behind the '?'; absent without one */
	char *path;           /* decoded, heap */
	int minor;            /* HTTP/1.minor */
	struct head_field fields[HEAD_FIELDS_MAX];
	size_t field_count;
	bool chunked;
	bool has_length;
	uint64_t length;
	bool keep_alive;
	bool wants_continue;
};

/* ERR-less: 0 if fine, else the status Go refuses with, and its text behind
 * "400 Bad Request" (*why may be empty). head_done in either case. */
int head_parse(struct span text, struct head *out, const char **why);
void head_done(struct head *h);

/* The first field of that name, in any case; absent: .p NULL. */
struct span head_get(const struct head *h, const char *name);

/* Does a comma-separated list hold the word, in any case? */
bool head_has_token(struct span list, const char *word);

#endif
