/*
 * artifacts.h - the bytes a job left, whole or in part.
 */
#ifndef FOREMAN_RESPONDER_ARTIFACTS_H
#define FOREMAN_RESPONDER_ARTIFACTS_H

#include "responder/call.h"

void artifacts_response(struct call *c); /* GET /jobs/{id}/artifacts/response */
void artifacts_content(struct call *c);  /* GET /jobs/{id}/artifacts/content */

#endif
