/*
 * jobs.h - looking at jobs, cancelling one, fetching what it left.
 */
#ifndef FOREMAN_RESPONDER_JOBS_H
#define FOREMAN_RESPONDER_JOBS_H

#include "responder/call.h"

void jobs_list(struct call *c);     /* GET /jobs */
void jobs_show(struct call *c);     /* GET /jobs/{id} */
void jobs_cancel(struct call *c);   /* POST /jobs/{id}/cancel */
void jobs_response(struct call *c); /* GET /jobs/{id}/artifacts/response */
void jobs_queue(struct call *c);    /* GET /queue */

#endif
