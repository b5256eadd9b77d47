/*
 * models.h - the models this double has, and what it says about them.
 */
#ifndef FAKE_OLLAMA_MODELS_H
#define FAKE_OLLAMA_MODELS_H

#include "names.h"

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CAN_COMPLETE = 1u << 0,
	CAN_TOOLS = 1u << 1,
	CAN_THINK = 1u << 2,
	CAN_INSERT = 1u << 3,
	CAN_SEE = 1u << 4,
	CAN_EMBED = 1u << 5,
};

struct model {
	struct name name;
	char *display; /* the short form, always with its tag */
	bool present;  /* false after a delete, until pulled again */
	unsigned can;
	char blob[65];   /* sha256 of the weights: the runner's identity */
	char digest[65]; /* of the manifest */
	const char *family;
	const char *params; /* "8.2B" */
	const char *quant;  /* "Q4_K_M" */
	int64_t size;
	int64_t context;     /* tokens it was trained on */
	int64_t width;       /* numbers in an embedding */
	int64_t load_ms;     /* -1: the server's default */
	int64_t modified_ns; /* wall */
};

/* Put the default catalogue in. */
void models_init(void);
void models_done(void);

/* "NAME[:TAG][,embed][,tools][,think][,load-ms=N]", as in --model. An entry
 * of the same name is replaced. False: not of that form. */
bool models_add(const char *spec) MUST_CHECK;

/* The present model of that name in any case; `exact`: spelled so. */
struct model *models_find(const struct name *n, bool exact);

/* Any entry, deleted ones included: what a registry would know. */
struct model *models_known(const struct name *n);

/* The same weights and manifest under another name. */
void models_copy(const struct model *from, const struct name *to);

/* Compact JSON, keys in Go's order. */
void put_tags(struct buf *b);
void put_details(struct buf *b, const struct model *m);
/* `basename`: what general.basename says, NULL for the model's own. */
void put_show(struct buf *b, const struct model *m, const char *basename);
void put_v1_model(struct buf *b, const struct model *m);
void put_v1_models(struct buf *b);

#endif
