/*
 * jobs.h - looking at jobs, cancelling one, removing one.
 */
#ifndef FOREMAN_RESPONDER_JOBS_H
#define FOREMAN_RESPONDER_JOBS_H

#include "responder/call.h"

void jobs_list(struct call *c);   /* GET /jobs */
void jobs_show(struct call *c);   /* GET /jobs/{id} */
void jobs_events(struct call *c); /* GET /jobs/{id}/events */
void jobs_cancel(struct call *c); /* POST /jobs/{id}/cancel */
void jobs_remove(struct call *c); /* DELETE /jobs/{id} */
void jobs_queue(struct call *c);  /* GET /queue */

/* --- for everything under a job's path ------------------------------------- */

/* The path's job id, in canonical form, into c->job. False: it is answered. */
bool jobs_id_ok(struct call *c);

/* What look_job and its like answered, as an answer. */
void jobs_answer_error(struct call *c, enum err e);

/* Does If-None-Match name this entity tag (given with its quotes)? */
bool jobs_none_match(const struct call *c, const char *tag);

#endif
