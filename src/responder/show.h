/*
 * show.h - the answer that shows one job, whoever gives it.
 *
 * A thread gives it at once (jobs.c), the watch when the job has moved
 * (watch.c): the same object under the same header lines, and the same faults.
 */
#ifndef FOREMAN_RESPONDER_SHOW_H
#define FOREMAN_RESPONDER_SHOW_H

#include "core/job.h"
#include "responder/answer.h"
#include "store/db.h"

/* The job with those artifacts' bytes that ride inline; as look_job. */
enum err show_look(struct db *db, const char *id, int64_t inline_max,
                   struct job *out) MUST_CHECK;

/* What look_job and its like answered, as a fault and a text for the client. */
enum fault show_fault(enum err e, const char **text);

/* The opaque part of the job's entity tag, with its quotes. */
#define SHOW_TAG_SIZE 24
void show_tag(const struct job *job, char out[SHOW_TAG_SIZE]);

/*
 * "ETag: …\nCache-Control: no-store\n", and Retry-After for a job that is not
 * finished. The tag is weak: it names the job's latest move, and its place in
 * line, its timings and its webhooks' counts change without one.
 */
#define SHOW_LINES_SIZE 96
void show_lines(const struct job *job, char out[SHOW_LINES_SIZE]);

#endif
