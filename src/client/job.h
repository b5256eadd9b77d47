/*
 * job.h - a job as the service told it (not part of the library's interface).
 */
#ifndef FOREMAN_CLIENT_JOB_H
#define FOREMAN_CLIENT_JOB_H

#include "base/attr.h"
#include "base/buf.h"
#include "client/call.h"

/* Takes the text out of `body`, which is a job object. FOREMAN_PROTOCOL if it
 * is none. */
foreman_code job_from(struct buf *body, foreman_job **out,
                      foreman_error *e) MUST_CHECK;

#endif
