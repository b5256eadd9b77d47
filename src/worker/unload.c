/*
 * unload.c - a model that is wedged is taken out of the target's memory.
 *
 * Owns the name of the model and the one request. True throughout: whatever
 * came of it, the slot counts as unknown afterwards and `over` is called, so
 * that a target which does not even unload holds nobody up for longer.
 */
#include <config.h>

#include "worker/unload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "core/limits.h"
#include "core/model.h"
#include "http/hub.h"

struct unload {
	struct loop *loop;
	const struct conf *conf;
	struct target *target;
	void (*over)(void *arg);
	void *arg;

	char *model; /* wanted, or under way; NULL: none */
	struct xfer *xfer;
	char *url;
	char *auth;
	char *body;
	const char *headers[3];
};

static void note_slots(struct unload *u)
{
	const char *embedder = u->conf->embed_model;

	if (embedder && model_same(span_of(u->model), span_of(embedder)))
		target_set_embed_ready(u->target, false);
	else
		target_set_loaded(u->target, NULL);
	target_disturb(u->target, false);
	target_look(u->target);
}

static void settle(struct unload *u, bool good, const char *why)
{
	log_event(LOG_WARN, good ? "wedged model unloaded" : "cannot unload a model",
	          KV_S("model", u->model), KV_S("why", good ? NULL : why));
	note_slots(u);
	free(u->model);
	u->model = NULL;
}

static void unload_done(void *arg, const struct xfer_result *result)
{
	struct unload *u = arg;
	char why[64];

	u->xfer = NULL;
	snprintf(why, sizeof(why), "it answered %d", result->status);
	settle(u, result->outcome == XFER_OK && result->status == 200,
	       result->outcome == XFER_OK ? why : result->why.s);
	u->over(u->arg);
}

static const struct xfer_calls calls = { .done = unload_done };

static bool make_texts(struct unload *u)
{
	const char *token = u->conf->ollama_token;
	cJSON *ask = cJSON_CreateObject();

	free(u->url);
	free(u->auth);
	free(u->body);
	u->auth = NULL;
	json_add_str(ask, "model", u->model);
	json_add_int(ask, "keep_alive", 0);
	u->body = json_text(ask);
	cJSON_Delete(ask);
	/* /api/generate has the unload form for every kind of model. */
	if (asprintf(&u->url, "%s/api/generate", u->conf->ollama_url) < 0)
		u->url = NULL;
	if (token && asprintf(&u->auth, "Authorization: Bearer %s", token) < 0)
		u->auth = NULL;
	u->headers[0] = "Content-Type: application/json";
	u->headers[1] = u->auth;
	return u->url && u->body && (u->auth || !token);
}

void unload_want(struct unload *u, const char *model)
{
	if (u->xfer)
		return; /* nothing runs beside it, so nothing can be wedged */
	free(u->model);
	u->model = strdup(model);
}

bool unload_step(struct unload *u)
{
	struct errtext why = { "out of memory" };
	struct xfer_ask ask = {
		.method = "POST",
		.headers = u->headers,
		.connect_ms = LIMIT_CONNECT_MS,
		.total_ms = LIMIT_UNLOAD_MS,
		.dead_ms = (int)u->conf->target_dead_ms,
	};

	if (u->xfer || !u->model)
		return u->xfer != NULL;
	if (make_texts(u)) {
		ask.url = u->url;
		ask.body = span_of(u->body);
		target_disturb(u->target, true);
		if (xfer_start(u->loop, &ask, &calls, u, &u->xfer, &why) == ERR_OK)
			return true;
	}
	u->xfer = NULL;
	settle(u, false, why.s);
	return false;
}

enum err unload_new(struct loop *l, const struct conf *conf, struct target *target,
                    void (*over)(void *arg), void *arg, struct unload **out)
{
	struct unload *u = calloc(1, sizeof(*u));

	if (!u)
		return ERR_NOMEM;
	u->loop = l;
	u->conf = conf;
	u->target = target;
	u->over = over;
	u->arg = arg;
	*out = u;
	return ERR_OK;
}

void unload_free(struct unload *u)
{
	if (!u)
		return;
	xfer_stop(u->xfer);
	free(u->model);
	free(u->url);
	free(u->auth);
	free(u->body);
	free(u);
}
