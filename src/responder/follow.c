/*
 * follow.c - reading along with a job's answer, or reading it again.
 *
 * Here it is only decided where a stream begins: a job that has finished is
 * replayed from the store (shelf.h), any other is waited for and followed at
 * the worker (lot.h). Should it finish in between, the worker refuses the
 * reader, and the lot sends it to the shelf; so no look here can come too
 * early or too late.
 * The media type is known before the answer: server-sent events where the
 * request asks the target for them, lines for everything else.
 */
#include <config.h>

#include "responder/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "core/request.h"
#include "responder/answer.h"
#include "responder/jobs.h"
#include "responder/lot.h"
#include "responder/query.h"
#include "responder/relay.h"
#include "store/artifact.h"
#include "store/look.h"

#define NDJSON "application/x-ndjson"
#define EVENTS "text/event-stream"

/* Will the target answer this job in events? */
static bool asks_for_events(struct db *db, const struct job *job)
{
	enum endpoint endpoint;
	struct request r;
	size_t len;
	char *body;
	bool events = false;

	if (strncmp(job->endpoint, "/v1/", 4) != 0 ||
	    endpoint_parse(span_of(job->endpoint), &endpoint) ||
	    look_body(db, job->id, &body, &len))
		return false;
	if (request_read(endpoint, (struct span){ body, len }, &r, NULL) == ERR_OK) {
		events = request_streams(endpoint, &r);
		request_done(&r);
	}
	free(body);
	return events;
}

static void wait_and_follow(struct call *c, bool events)
{
	const struct service *service = c->seat->service;
	struct lot_ticket ticket = { .family = events ? FAMILY_OPENAI : FAMILY_OLLAMA,
		                         .ndjson = !events,
		                         .events = events,
		                         .reader = true,
		                         .trail = c->trail };
	enum err e;

	str_copy(ticket.id, sizeof(ticket.id), c->job);
	if (relay_attach(service->conf->relay, c->job, FRAME_READER, &ticket.relay))
		ticket.relay = -1;
	e = fcgx_detach(c->req, &ticket.fd, &ticket.fcgi_id);
	if (e) {
		fd_close(&ticket.relay);
		answer_fault(c, FAULT_INTERNAL, "cannot follow: %s", err_name(e));
		return;
	}
	c->req = NULL;
	lot_park(service->lot, &ticket);
}

static void put_headers(const struct call *c, bool events,
                        char out[LOT_HEADERS_SIZE])
{
	snprintf(out, LOT_HEADERS_SIZE, "Content-Type: %s\n%sForeman-Job-Id: %s\n",
	         events ? EVENTS : NDJSON, LOT_STREAM_LINES, c->job);
}

static void replay(struct call *c, bool events)
{
	struct lot_sending sending = {
		.status = 200,
		.order = { .what = SHELF_REPLAY, .coda.events = events,
		           .trail = c->trail },
	};
	enum err e = fcgx_detach(c->req, &sending.fd, &sending.fcgi_id);

	if (e) {
		answer_fault(c, FAULT_INTERNAL, "cannot replay: %s", err_name(e));
		return;
	}
	c->req = NULL;
	put_headers(c, events, sending.headers);
	str_copy(sending.order.id, sizeof(sending.order.id), c->job);
	lot_send(c->seat->service->lot, &sending);
}

static void answer_head(struct call *c, bool events)
{
	char headers[LOT_HEADERS_SIZE];
	enum err e;

	put_headers(c, events, headers);
	e = fcgx_head(c->req, 200, NULL, span_of(headers));
	c->status = 200;
	if (e)
		errtext_set(&c->why, "not sent: %s", err_name(e));
}

static void stream(struct call *c, struct db *db, const struct job *job)
{
	bool ended = job_state_terminal(job->state), events;
	const struct artifact *response =
	    job->artifact_count ? &job->artifacts[0] : NULL;

	if (ended && !response && job->state == JOB_DONE) {
		answer_fault(c, FAULT_NOT_FOUND, "the job left no response");
		return;
	}
	if (ended)
		events = response &&
		         strncmp(response->content_type, EVENTS, strlen(EVENTS)) == 0;
	else
		events = asks_for_events(db, job);
	if (call_by(c, "HEAD"))
		answer_head(c, events);
	else if (ended)
		replay(c, events);
	else
		wait_and_follow(c, events);
}

void follow_handle(struct call *c)
{
	struct job job;
	struct db *db;
	enum err e;

	if (!jobs_id_ok(c) || !query_none(c) || call_db(c, &db))
		return;
	e = look_job(db, c->job, -1, &job);
	if (e) {
		jobs_answer_error(c, e);
		return;
	}
	stream(c, db, &job);
	job_done(&job);
}
