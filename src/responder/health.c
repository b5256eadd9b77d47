/*
 * health.c - two questions of whoever watches over us.
 *
 * Whether the database can be written is found by opening it as a writer, which
 * checks the schema too, and taking the gate. That is not for every caller of
 * an open path to cause at will, so the answer holds for CHECK_EVERY_MS.
 */
#include <config.h>

#include "responder/health.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "core/limits.h"
#include "responder/answer.h"
#include "store/status.h"

#define CHECK_EVERY_MS 1000

struct health {
	pthread_mutex_t lock;
	int64_t checked_mono_ms; /* 0: never */
	enum err err;
	struct errtext why;
};

enum err health_new(struct health **out)
{
	struct health *h = calloc(1, sizeof(*h));

	if (!h)
		return ERR_NOMEM;
	pthread_mutex_init(&h->lock, NULL);
	*out = h;
	return ERR_OK;
}

void health_free(struct health *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void health_live(struct call *c)
{
	struct status s;
	struct db *db;
	enum err e;

	if (call_db(c, &db))
		return;
	e = status_read(db, false, &s);
	if (e) {
		answer_store_error(c, e);
		return;
	}
	status_done(&s);
	answer_text(c, 200, "Cache-Control: no-store\n",
	            SPAN_LIT("{\"status\":\"ok\"}"));
}

/* --- ready ---------------------------------------------------------------- */

static enum err try_writing(const struct db_conf *conf, struct errtext *why)
{
	struct db *db = NULL;
	enum err e = db_open(conf, DB_WRITER, &db, why);

	if (!e)
		e = db_writable(db, why);
	db_close(db);
	return e;
}

static enum err check_writing(const struct service *service, struct errtext *why)
{
	struct health *h = service->health;
	int64_t now = clock_mono_ms();
	enum err e;

	pthread_mutex_lock(&h->lock);
	if (!h->checked_mono_ms || now - h->checked_mono_ms >= CHECK_EVERY_MS) {
		h->why.s[0] = '\0';
		h->err = try_writing(&service->db_conf, &h->why);
		h->checked_mono_ms = clock_mono_ms();
	}
	e = h->err;
	*why = h->why;
	pthread_mutex_unlock(&h->lock);
	return e;
}

static char *ready_json(const struct status *s, int64_t age_ms)
{
	cJSON *o = cJSON_CreateObject(), *worker;
	char *text;

	json_add_str(o, "status", "ready");
	json_add_str(o, "target", target_state_name(s->target));
	json_add_time(o, "target_since", s->target_since_ms);
	json_add_str(o, "target_error", s->target_error);
	worker = json_add_object(o, "worker");
	json_add_int(worker, "pid", s->worker_pid);
	json_add_time(worker, "started_at", s->worker_started_ms);
	json_add_int(worker, "heartbeat_age_ms", age_ms);
	text = json_text(o);
	cJSON_Delete(o);
	return text;
}

static void answer_ready(struct call *c, const struct status *s)
{
	int64_t age_ms = clock_wall_ms() - s->heartbeat_ms;

	if (!s->heartbeat_ms)
		answer_fault(c, FAULT_NOT_READY, "no worker has been here yet");
	else if (age_ms > LIMIT_HEARTBEAT_STALE_MS)
		answer_fault(c, FAULT_NOT_READY,
		             "the worker's last heartbeat was %lld s ago",
		             (long long)age_ms / 1000);
	else
		answer_json(c, 200, "Cache-Control: no-store\n", ready_json(s, age_ms));
}

void health_ready(struct call *c)
{
	struct errtext why = { 0 };
	struct status s;
	struct db *db;
	enum err e;

	if (check_writing(c->seat->service, &why)) {
		c->why = why;
		answer_fault(c, FAULT_NOT_READY, "the database cannot be written");
		return;
	}
	if (call_db(c, &db))
		return;
	e = status_read(db, false, &s);
	if (e) {
		answer_store_error(c, e);
		return;
	}
	answer_ready(c, &s);
	status_done(&s);
}
