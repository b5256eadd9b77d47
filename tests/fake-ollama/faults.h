/*
 * faults.h - what a test may script: per request through `options`, for the
 * whole server through /fake/set.
 */
#ifndef FAKE_OLLAMA_FAULTS_H
#define FAKE_OLLAMA_FAULTS_H

#include "gojson.h"

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define FAULT_NEVER INT64_C(-2) /* an _at that was not given */

/* The pace of every request, unless its options say otherwise. */
struct pace {
	int64_t load_ms;
	int64_t tokens;
	int64_t token_ms;
	int64_t prompt_ms;
	int64_t embed_ms;
};

/* One request's script. */
struct faults {
	int64_t load_ms; /* -1: the model's */
	int64_t tokens;  /* -1: the server's */
	double token_ms, prompt_ms, embed_ms;
	int64_t line_bytes; /* 0: a word a line */
	int64_t status;     /* 0: none */
	char *error;        /* heap or NULL */
	char *load_error;   /* heap or NULL: the load fails with this text */
	int64_t error_at, rst_at, cut_at, eof_at, hang_at; /* FAULT_NEVER */
	bool split;
};

void faults_init(struct faults *f, const struct pace *pace);
void faults_done(struct faults *f);

/* Take one member of `options` if its key begins with fake_; else ignore it.
 * A wrong type is ignored too. */
void faults_take(struct faults *f, const char *key, const struct gojson *value);

/* The whole server's. */
struct server_faults {
	bool busy;     /* every inference is refused: 503, queue full */
	bool leak;     /* #17131: who leaves a stream keeps the runner's slot */
	bool deadlock; /* #17408: nothing that needs a load gets anywhere */
	bool down;     /* connections are closed as soon as they speak */
	char version[64];
};

extern struct server_faults server;

/* Apply a /fake/set body. ERR_INVAL: not an object, or an unknown key. */
enum err faults_set(struct span body, struct errtext *why) MUST_CHECK;
void put_server_faults(struct buf *b);

#endif
