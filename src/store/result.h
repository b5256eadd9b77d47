/*
 * result.h - what a run left behind.
 */
#ifndef FOREMAN_STORE_RESULT_H
#define FOREMAN_STORE_RESULT_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct pace;

/* To be stored with the job's end, in one transaction. */
struct queue_result {
	const char *content_type;   /* of `response` */
	struct span response;       /* absent: no artifact */
	struct span content;        /* of the same answer; absent: none */
	bool complete;
	int64_t prompt_tokens;      /* -1 unknown */
	int64_t completion_tokens;
	const struct pace *pace;    /* of a success, for estimates; may be NULL */
};

#endif
