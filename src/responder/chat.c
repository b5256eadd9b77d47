/*
 * chat.c - a waiting client becomes an attended job, and is parked.
 *
 * In this order, and no other: attach to the relay, insert the job, nudge,
 * park. So the worker never sees an attended job whose client it cannot know,
 * except while the relay is down; then the lot attaches it later.
 * Until the job is stored, every failure is an answer; after that, closing the
 * relay connection is what undoes it.
 *
 * Who asks for a model that the target says it lacks gets the target's own 404
 * at once: it would take no slot, and to wait for it in line, where no keepalive
 * may commit another status, would leave nobody to notice that the client has
 * gone. Only while the target is away does such a request wait so, in doubt.
 */
#include <config.h>

#include "responder/chat.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "core/limits.h"
#include "core/request.h"
#include "responder/answer.h"
#include "responder/lot.h"
#include "responder/pass.h"
#include "responder/relay.h"
#include "store/group.h"
#include "store/status.h"

/* --- the line ------------------------------------------------------------- */

static enum err fill_job(struct job *job, const struct call *c,
                         const struct request *r)
{
	job_init(job);
	str_copy(job->id, sizeof(job->id), c->job);
	job->state = JOB_QUEUED;
	job->event_seq = 1;
	job->attended = true;
	job->endpoint = strdup(c->upstream);
	job->model = strdup(r->model_raw);
	job->load_key = strdup(r->load_key);
	job->created_ms = job->queued_ms = clock_wall_ms();
	return job->endpoint && job->model && job->load_key ? ERR_OK : ERR_NOMEM;
}

static enum err store(struct call *c, const struct request *r, struct span headers)
{
	struct job job;
	struct submission sub = { .job = &job, .body = c->body, .headers = headers };
	enum err e = fill_job(&job, c, r);

	if (!e)
		e = group_submit(c->seat->service->group, &sub, &c->why);
	job_done(&job);
	return e;
}

static void answer_not_stored(struct call *c, enum err e)
{
	c->job[0] = '\0';
	if (e == ERR_LIMIT)
		answer_fault(c, FAULT_QUEUE_FULL, ANSWER_BUSY_TEXT);
	else
		answer_store_error(c, e);
}

/* --- does the target have it? --------------------------------------------- */

/* The model's name in an element of the target's list. */
static bool lists(const cJSON *element, struct span model)
{
	const cJSON *name = cJSON_GetObjectItemCaseSensitive(element, "name");

	return cJSON_IsString(name) && model_same(span_of(name->valuestring), model);
}

/* Is it in the target's last known list? Without a list all are. */
static bool listed(struct call *c, struct span model, bool *up)
{
	struct seat *seat = c->seat;
	struct status s;
	struct errtext why;
	const cJSON *models, *element;
	cJSON *tree = NULL;
	bool found = false;

	if (!seat->db && db_open(&seat->service->db_conf, DB_READER, &seat->db, &why))
		return true;
	if (status_read(seat->db, true, &s))
		return true;
	*up = s.target == TARGET_UP;
	if (s.tags && json_parse(span_of(s.tags), &tree, NULL) == ERR_OK) {
		models = cJSON_GetObjectItemCaseSensitive(tree, "models");
		cJSON_ArrayForEach(element, models)
		{
			found = found || lists(element, model);
		}
	}
	status_done(&s);
	found = found || !tree;
	cJSON_Delete(tree);
	return found;
}

/* The status the target gives to a question for this model; 0: it gave none. */
static int shown(struct call *c, const char *model)
{
	static const struct xfer_calls calls = { 0 };
	const struct conf *conf = c->seat->service->conf;
	struct xfer_result result = { .outcome = XFER_FAILED };
	const char *headers[3] = { "Content-Type: application/json", NULL, NULL };
	char *url = NULL, *bearer = NULL, *body = NULL;
	struct xfer_ask ask = {
		.method = "POST",
		.headers = headers,
		.connect_ms = LIMIT_PROBE_CONNECT_MS,
		.total_ms = LIMIT_PROBE_MS,
		.repeatable = true,
	};
	cJSON *tree = cJSON_CreateObject();

	json_add_str(tree, "model", model);
	body = json_text(tree);
	cJSON_Delete(tree);
	if (asprintf(&url, "%s/api/show", conf->ollama_url) < 0)
		url = NULL;
	if (conf->ollama_token &&
	    asprintf(&bearer, "Authorization: Bearer %s", conf->ollama_token) < 0)
		bearer = NULL;
	if (!c->seat->line)
		c->seat->line = xfer_line_new();
	if (url && body && c->seat->line && (bearer || !conf->ollama_token)) {
		headers[1] = bearer;
		ask.url = url;
		ask.body = span_of(body);
		xfer_call(c->seat->line, &ask, &calls, NULL, &result);
	}
	free(url);
	free(bearer);
	free(body);
	return result.outcome == XFER_OK ? result.status : 0;
}

enum doubt {
	DOUBT_NONE,
	DOUBT_SOME,  /* most likely refused, but nobody can say so now */
	DOUBT_DENIED /* the target would refuse it at once, without a slot */
};

/*
 * Whether the target has the model. To walk its list costs as much as the rest
 * of the request (3 us a model), so the last model found is remembered for as
 * long as the worker lets pass between two looks.
 */
static enum doubt doubt_of(struct call *c, const struct request *r)
{
	struct seat *seat = c->seat;
	struct span model = span_of(r->model_raw);
	int64_t now_ms = clock_mono_ms();
	bool up = false;
	int status;

	if (seat->known_mono_ms && now_ms - seat->known_mono_ms < LIMIT_TAGS_MS &&
	    span_eq(model, seat->known))
		return DOUBT_NONE;
	if (!listed(c, model, &up)) {
		status = up ? shown(c, r->model_raw) : 0;
		if (status == 404)
			return DOUBT_DENIED;
		if (status != 200)
			return DOUBT_SOME;
	}
	seat->known_mono_ms = now_ms;
	str_copy(seat->known, sizeof(seat->known), r->model_raw);
	return DOUBT_NONE;
}

/* Hand the stored job's client to the lot. */
static void park(struct call *c, const struct request *r, enum endpoint endpoint,
                 int relay, bool doubtful)
{
	struct lot *lot = c->seat->service->lot;
	bool streams = request_streams(endpoint, r);
	bool v1 = c->family != FAMILY_OLLAMA;
	struct lot_ticket ticket = {
		.relay = relay,
		.family = c->family,
		.ndjson = streams && !v1,
		.events = streams && v1,
		.doubtful = doubtful,
		.trail = c->trail,
	};
	enum err e;

	str_copy(ticket.id, sizeof(ticket.id), c->job);
	/* on its own connection, so that the worker reads ATTACH first */
	if (relay < 0 || relay_nudge(relay))
		lot_nudge(lot);
	e = fcgx_detach(c->req, &ticket.fd, &ticket.fcgi_id);
	if (e) {
		fd_close(&relay); /* the worker fails the job */
		answer_fault(c, FAULT_INTERNAL, "cannot wait in line: %s", err_name(e));
		return;
	}
	c->req = NULL;
	lot_park(lot, &ticket);
}

/*
 * Attach to the worker, so that it knows the client before the job; *relay -1
 * when there is no worker: the next one waits for its clients to return. One
 * that is there and was not reached would take the job for an orphan, so then
 * it must not be stored.
 */
static enum err attach(const struct call *c, int *relay)
{
	const char *path = c->seat->service->conf->relay;
	enum err e = relay_attach(path, c->job, FRAME_OWNER, relay);

	if (e == ERR_CLOSED) /* it left just now, and another may be there */
		e = relay_attach(path, c->job, FRAME_OWNER, relay);
	if (e == ERR_NOENT)
		*relay = -1;
	return e == ERR_NOENT ? ERR_OK : e;
}

static void wait_in_line(struct call *c, const struct request *r,
                         enum endpoint endpoint)
{
	enum doubt doubt = doubt_of(c, r);
	struct buf headers;
	int relay = -1;
	enum err e;

	if (doubt == DOUBT_DENIED) {
		pass_through(c, LIMIT_PASS_MS);
		return;
	}
	if (call_forwarded(c, &headers))
		return;
	ulid_new(c->job);
	e = attach(c, &relay);
	if (e) {
		buf_done(&headers);
		answer_fault(c, FAULT_BUSY, "the worker cannot be reached: %s",
		             err_name(e));
		return;
	}
	e = store(c, r, (struct span){ headers.p, headers.len });
	buf_done(&headers);
	if (!e) {
		park(c, r, endpoint, relay, doubt == DOUBT_SOME);
		return;
	}
	fd_close(&relay);
	answer_not_stored(c, e);
}

/* --- handlers ------------------------------------------------------------- */

/* Read what foreman reads. ERR_INVAL: the target is to answer it at once;
 * ERR_NOMEM: that was answered. */
static enum err read_request(struct call *c, struct request *r,
                             enum endpoint *endpoint)
{
	struct errtext unused;
	enum err e = endpoint_parse(span_of(c->upstream), endpoint);

	if (!e)
		e = request_read(*endpoint, c->body, r, &unused);
	if (e == ERR_NOMEM)
		answer_fault(c, FAULT_INTERNAL, "out of memory");
	if (e)
		return e == ERR_NOMEM ? e : ERR_INVAL;
	if (r->named && r->model.source != MODEL_CLOUD)
		return ERR_OK;
	request_done(r);
	return ERR_INVAL;
}

void chat_handle(struct call *c)
{
	enum endpoint endpoint;
	struct request r;
	enum err e = read_request(c, &r, &endpoint);

	if (e == ERR_INVAL)
		pass_through(c, 0);
	if (e)
		return;
	if (r.unload)
		pass_through(c, LIMIT_PASS_MS);
	else
		wait_in_line(c, &r, endpoint);
	request_done(&r);
}

/*
 * An embedding may go past the queue if it cannot cause a load: it is for the
 * resident embedder, and the worker saw that resident. When no embedder is
 * configured the operator has said that all of them may.
 */
static bool needs_no_turn(struct call *c, const struct request *r)
{
	const char *resident = c->seat->service->conf->embed_model;
	struct seat *seat = c->seat;
	struct status s;
	struct db *db;
	bool ready;

	if (!resident)
		return true;
	if (!model_same(span_of(r->model_raw), span_of(resident)))
		return false;
	if (pass_believes(seat->ready_mono_ms))
		return true;
	if (call_db(c, &db) || status_read(db, false, &s))
		return false;
	ready = s.embed_ready;
	seat->ready_mono_ms = ready ? clock_mono_ms() : 0;
	status_done(&s);
	return ready;
}

void chat_embed(struct call *c)
{
	enum endpoint endpoint;
	struct request r;
	enum err e = read_request(c, &r, &endpoint);

	if (e == ERR_INVAL)
		pass_again(c, LIMIT_EMBED_MS);
	if (e)
		return;
	if (needs_no_turn(c, &r))
		pass_again(c, LIMIT_EMBED_MS);
	else if (!c->status)
		wait_in_line(c, &r, endpoint);
	request_done(&r);
}
