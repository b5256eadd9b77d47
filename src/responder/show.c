/*
 * show.c - one job as an answer: what is loaded, which lines stand over it.
 *
 * No request is needed here and nothing is sent. A finished job gets no
 * Retry-After: clients that loop on that header stop.
 */
#include <config.h>

#include "responder/show.h"

#include <stdio.h>
#include <string.h>

#include "store/look.h"

#define RETRY_AFTER_S 2

/* Only a job that asked for it carries large artifacts, so they are loaded when
 * that is known. */
enum err show_look(struct db *db, const char *id, int64_t inline_max,
                   struct job *out)
{
	enum err e = look_job(db, id, inline_max, out);

	if (e || out->artifact_mode != ARTIFACT_INLINE)
		return e;
	job_done(out);
	return look_job(db, id, INT64_MAX, out);
}

enum fault show_fault(enum err e, const char **text)
{
	switch (e) {
	case ERR_NOENT:
		*text = "no such job";
		return FAULT_NOT_FOUND;
	case ERR_DENIED:
		*text = "the job was removed";
		return FAULT_RETIRED;
	default:
		return answer_store_fault(e, text);
	}
}

void show_tag(const struct job *job, char out[SHOW_TAG_SIZE])
{
	snprintf(out, SHOW_TAG_SIZE, "\"%lld\"", (long long)job->event_seq);
}

void show_lines(const struct job *job, char out[SHOW_LINES_SIZE])
{
	char tag[SHOW_TAG_SIZE];
	int n;

	show_tag(job, tag);
	n = snprintf(out, SHOW_LINES_SIZE, "ETag: W/%s\nCache-Control: no-store\n",
	             tag);
	if (!job_state_terminal(job->state))
		snprintf(out + n, SHOW_LINES_SIZE - (size_t)n, "Retry-After: %d\n",
		         RETRY_AFTER_S);
}
