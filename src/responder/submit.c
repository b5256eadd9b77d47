/*
 * submit.c - POST /jobs: what a submission is answered, and by whom.
 *
 * Nobody waits for the disk: the thread hands the receipt in and takes the
 * next request, and the group's thread answers when the job is stored. So a
 * hundred submissions need no hundred threads, and none is woken for a commit
 * that it shared with others. What needs the job as it is then - the answer to
 * a key that came before, and to a client that waits for the end - is left to
 * the watch; the group's thread never reads.
 */
#include <config.h>

#include "responder/submit.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/limits.h"
#include "responder/answer.h"
#include "responder/batch.h"
#include "responder/envelope.h"
#include "responder/lot.h"
#include "responder/tally.h"
#include "responder/terms.h"
#include "responder/watch.h"
#include "store/group.h"

/* A larger body keeps its thread until it is stored, so that what is in hand
 * at once stays below GROUP_POSTS_MAX of these and FOREMAN_THREADS bodies. */
#define POST_BODY_MAX (64 * 1024)

/* --- one job ---------------------------------------------------------------- */

struct receipt {
	struct call call; /* a copy; its seat is the next */
	struct seat seat; /* has no more than the service */
	struct terms terms;
	struct draft draft;
	struct queue_key key;
	struct submission sub;
	struct buf traced; /* the lines that go with it (call_traced) */
	struct group_post post;
};

static void receipt_free(struct receipt *r)
{
	draft_done(&r->draft);
	buf_done(&r->traced);
	free(r);
}

/* Takes the draft over. NULL: no memory. */
static struct receipt *receipt_new(const struct call *c, const struct terms *terms,
                                   struct draft *d)
{
	struct receipt *r = calloc(1, sizeof(*r));

	if (!r) {
		draft_done(d);
		return NULL;
	}
	r->call = *c;
	r->call.seat = &r->seat;
	r->call.method = "POST"; /* the only one here; the caller's text goes */
	r->seat.service = c->seat->service;
	r->terms = *terms;
	r->draft = *d;
	buf_init(&r->traced, LIMIT_REQUEST_HEADERS);
	return r;
}

static enum err fill_in(struct receipt *r)
{
	struct job_view view = call_view(&r->call);
	enum err e;

	ulid_new(r->call.job);
	e = draft_enter(&r->draft, r->call.job, &view, &r->sub);
	if (!e) /* while the request is still ours to ask */
		e = call_traced(&r->call, &r->traced);
	r->sub.headers = (struct span){ r->traced.p, r->traced.len };
	if (!e && terms_key(&r->terms, &r->key))
		r->sub.key = &r->key;
	return e;
}

static void answer_accepted(struct receipt *r)
{
	struct call *c = &r->call;
	struct job_view view = call_view(c);
	char headers[160];

	snprintf(headers, sizeof(headers), "Location: /jobs/%s\nRetry-After: %d\n%s",
	         c->job, TERMS_LOOK_AGAIN_S,
	         r->terms.prefer.respond_async ? "Preference-Applied: respond-async\n"
	                                       : "");
	answer_json(c, 202, headers, job_json(r->sub.job, &view));
}

/* Let the watch answer, from the job as it is now or at its end. */
static void leave_to_watch(struct receipt *r, bool replayed)
{
	struct call *c = &r->call;
	struct watch_ticket ticket = {
		.what = WATCH_END,
		.wait_ms = r->terms.prefer.wait_ms,
		.submitted = true,
		.replayed = replayed,
		.preferred = r->terms.prefer.wait_ms > 0,
		.trail = c->trail,
	};
	enum err e;

	str_copy(ticket.id, sizeof(ticket.id), c->job);
	e = fcgx_detach(c->req, &ticket.fd, &ticket.fcgi_id);
	if (e) {
		answer_fault(c, FAULT_INTERNAL, "cannot wait: %s", err_name(e));
		return;
	}
	c->req = NULL;
	watch_park(c->seat->service->watch, &ticket);
}

/* The answer, the end of the request and of the receipt. */
static void conclude(struct receipt *r, enum err e)
{
	struct call *c = &r->call;

	if (!e) {
		lot_nudge(c->seat->service->lot);
		if (r->terms.prefer.wait_ms > 0)
			leave_to_watch(r, false);
		else
			answer_accepted(r);
	} else if (e == ERR_STALE) {
		str_copy(c->job, sizeof(c->job), r->key.first_id);
		if (r->key.same) {
			tally_add(TALLY_REPLAYED);
			leave_to_watch(r, true);
		} else {
			terms_refuse_key(c);
		}
	} else if (e == ERR_LIMIT) {
		terms_refuse_full(c, r->sub.room_ms);
	} else {
		answer_store_error(c, e);
	}
	if (c->req)
		call_end(c);
	receipt_free(r);
}

static void posted(struct group_post *post, const struct errtext *why)
{
	struct receipt *r =
	    (struct receipt *)((char *)post - offsetof(struct receipt, post));

	r->call.why = *why;
	conclude(r, r->sub.result);
}

static void hand_in(struct receipt *r)
{
	struct group *group = r->seat.service->group;
	enum err e = fill_in(r);

	r->post = (struct group_post){ .sub = &r->sub, .done = posted };
	if (!e && r->sub.body.len <= POST_BODY_MAX && !group_post(group, &r->post))
		return;
	if (!e)
		e = group_submit(group, &r->sub, &r->call.why);
	conclude(r, e);
}

static void submit_one(struct call *c, const struct terms *terms)
{
	const struct service *service = c->seat->service;
	struct errtext why = { 0 };
	struct receipt *r;
	enum fault fault;
	struct draft d;

	if (envelope_read(c->body, service->guard, service->conf->webhook_url, &d,
	                  &fault, &why)) {
		answer_fault(c, fault, "%s", why.s);
		return;
	}
	r = receipt_new(c, terms, &d);
	if (!r) {
		answer_fault(c, FAULT_INTERNAL, "out of memory");
		return;
	}
	c->req = NULL; /* the receipt's now */
	hand_in(r);
}

void submit_handle(struct call *c)
{
	struct terms terms;

	if (terms_read(c, &terms))
		return;
	if (terms.media == MEDIA_NDJSON)
		batch_handle(c, &terms);
	else
		submit_one(c, &terms);
}
