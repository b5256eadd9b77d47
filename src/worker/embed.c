/*
 * embed.c - the second slot: FOREMAN_EMBED_MODEL stays resident.
 *
 * Owns the one request that loads it. Tries are spaced by how many have been
 * made since it was last resident for LIMIT_EMBED_AGAIN_MAX_MS in one piece.
 */
#include <config.h>

#include "worker/embed.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "core/limits.h"
#include "core/retry.h"
#include "http/hub.h"
#include "worker/verdict.h"

struct embed {
	struct loop *loop;
	const struct conf *conf;
	struct target *target;
	void (*over)(void *arg);
	void *arg;

	struct xfer *xfer;
	char *url;
	char *auth;
	char *body;
	const char *headers[3];
	struct buf reply;
	unsigned tries;
	int64_t next_mono_ms;     /* not before */
	int64_t resident_mono_ms; /* since when; 0: it is not */
	bool complained;          /* of a failure, once */
	struct loop_timer again;
};

static bool embed_body(void *arg, const void *p, size_t len)
{
	struct embed *e = arg;

	return buf_add(&e->reply, p, len) == ERR_OK;
}

static void complain(struct embed *e, const struct xfer_result *result)
{
	char why[LIMIT_ERROR_TEXT + 1];

	if (e->complained)
		return;
	e->complained = true;
	if (result->outcome == XFER_OK)
		verdict_error_text((struct span){ e->reply.p, e->reply.len },
		                   result->status, why, sizeof(why));
	else
		str_copy(why, sizeof(why), result->why.s);
	log_event(LOG_WARN, "cannot load the embedding model",
	          KV_S("model", e->conf->embed_model), KV_S("why", why));
}

static void embed_done(void *arg, const struct xfer_result *result)
{
	struct embed *e = arg;
	bool good = result->outcome == XFER_OK && result->status == 200;

	e->xfer = NULL;
	target_disturb(e->target, false);
	if (good) {
		e->complained = false;
		log_event(LOG_INFO, "embedding model loaded",
		          KV_S("model", e->conf->embed_model),
		          KV_I("ms", result->total_ms));
		target_set_embed_ready(e->target, true);
	} else {
		complain(e, result);
		if (result->outcome == XFER_UNREACHABLE || result->outcome == XFER_LOST)
			target_miss(e->target, result->refused, result->why.s);
	}
	target_look(e->target); /* it may have pushed the other slot's model out */
	e->over(e->arg);
}

static const struct xfer_calls calls = { .body = embed_body, .done = embed_done };

static bool make_texts(struct embed *e)
{
	const char *token = e->conf->ollama_token;
	cJSON *ask = cJSON_CreateObject();

	free(e->url);
	free(e->auth);
	free(e->body);
	e->auth = NULL;
	json_add_str(ask, "model", e->conf->embed_model);
	json_add_raw(ask, "input", "[]");
	json_add_int(ask, "keep_alive", -1);
	e->body = json_text(ask);
	cJSON_Delete(ask);
	if (asprintf(&e->url, "%s/api/embed", e->conf->ollama_url) < 0)
		e->url = NULL;
	if (token && asprintf(&e->auth, "Authorization: Bearer %s", token) < 0)
		e->auth = NULL;
	e->headers[0] = "Content-Type: application/json";
	e->headers[1] = e->auth;
	return e->url && e->body && (e->auth || !token);
}

static bool load(struct embed *e)
{
	struct errtext why = { "" };
	struct xfer_ask ask = {
		.method = "POST",
		.headers = e->headers,
		.connect_ms = LIMIT_CONNECT_MS,
		.total_ms = LIMIT_EMBED_LOAD_MS,
		.dead_ms = (int)e->conf->target_dead_ms,
	};

	if (!make_texts(e))
		return false;
	ask.url = e->url;
	ask.body = span_of(e->body);
	buf_clear(&e->reply);
	if (xfer_start(e->loop, &ask, &calls, e, &e->xfer, &why) != ERR_OK) {
		e->xfer = NULL;
		log_event(LOG_ERROR, "cannot ask for the embedding model",
		          KV_S("why", why.s));
		return false;
	}
	target_disturb(e->target, true);
	return true;
}

bool embed_step(struct embed *e)
{
	int64_t now_ms = clock_mono_ms();

	if (!e->conf->embed_model || e->xfer)
		return e->xfer != NULL;
	if (target_embed_ready(e->target)) {
		if (!e->resident_mono_ms)
			e->resident_mono_ms = now_ms;
		return false;
	}
	if (e->resident_mono_ms &&
	    now_ms - e->resident_mono_ms >= LIMIT_EMBED_AGAIN_MAX_MS)
		e->tries = 0;
	e->resident_mono_ms = 0;
	if (!target_knows_slots(e->target))
		return false;
	if (now_ms < e->next_mono_ms) {
		loop_timer_set(e->loop, &e->again, e->next_mono_ms - now_ms);
		return false;
	}
	e->next_mono_ms =
	    now_ms + retry_backoff_ms(LIMIT_EMBED_AGAIN_MS, LIMIT_EMBED_AGAIN_MAX_MS,
	                              e->tries++);
	return load(e);
}

static void again_due(void *arg)
{
	struct embed *e = arg;

	e->over(e->arg);
}

enum err embed_new(struct loop *l, const struct conf *conf, struct target *target,
                   void (*over)(void *arg), void *arg, struct embed **out)
{
	struct embed *e = calloc(1, sizeof(*e));

	if (!e)
		return ERR_NOMEM;
	e->loop = l;
	e->conf = conf;
	e->target = target;
	e->over = over;
	e->arg = arg;
	buf_init(&e->reply, LIMIT_PROBE_REPLY);
	loop_timer_init(&e->again, again_due, e);
	*out = e;
	return ERR_OK;
}

void embed_free(struct embed *e)
{
	if (!e)
		return;
	xfer_stop(e->xfer);
	loop_timer_stop(&e->again);
	buf_done(&e->reply);
	free(e->url);
	free(e->auth);
	free(e->body);
	free(e);
}
