/*
 * target.c - is the target there, and what does it hold?
 *
 * Owns the poller, the loaded key and the status row. One probe at a time:
 * version, then what is loaded, then (every LIMIT_TAGS_MS) the models. True
 * throughout: the loaded key is what foreman's own requests brought in, and a
 * look at /api/ps may only correct it when no request disturbed the slot
 * while the look was under way. Silence on a stream means nothing here.
 */
#include <config.h>

#include "worker/target.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "core/model.h"
#include "http/hub.h"

/* --- pure parts ------------------------------------------------------------ */

static bool judge_move(struct target_judge *j, enum target_state to)
{
	bool changed = j->state != to;

	j->state = to;
	return changed;
}

bool target_judge_hit(struct target_judge *j)
{
	j->misses = j->refusals = 0;
	if (j->state == TARGET_DOWN && ++j->hits < 2)
		return false;
	j->hits = 0;
	return judge_move(j, TARGET_UP);
}

bool target_judge_miss(struct target_judge *j, bool refused)
{
	bool first = j->state == TARGET_UNKNOWN;

	j->hits = 0;
	j->misses++;
	j->refusals = refused ? j->refusals + 1 : 0;
	if (j->state == TARGET_DOWN)
		return false;
	if (j->misses >= 3 || j->refusals >= 2 || (first && refused))
		return judge_move(j, TARGET_DOWN);
	return judge_move(j, TARGET_SUSPECT);
}

int64_t target_interval_ms(enum target_state state, int64_t away_ms,
                           int64_t poll_interval_ms)
{
	int64_t slow = poll_interval_ms;

	if (state != TARGET_DOWN)
		return poll_interval_ms;
	if (away_ms >= 70 * 60 * 1000)
		slow = LIMIT_POLL_ASLEEP_MS;
	else if (away_ms >= 10 * 60 * 1000)
		slow = LIMIT_POLL_ASLEEP_MS / 2;
	return slow > poll_interval_ms ? slow : poll_interval_ms;
}

static struct span model_of_key(const char *load_key)
{
	return (struct span){ load_key, strcspn(load_key, " ") };
}

static void ps_entry(const char *name, const char *loaded_key,
                     const char *embed_model, struct target_ps *out)
{
	struct model_name model;
	struct span s = span_of(name);

	if (embed_model && model_same(s, span_of(embed_model))) {
		out->embed_resident = true;
	} else if (loaded_key && model_same(s, model_of_key(loaded_key))) {
		out->ours_resident = true;
	} else if (model_parse(s, &model, NULL) == ERR_OK) {
		if (out->others++ == 0)
			str_copy(out->other, sizeof(out->other), model.key);
	}
}

enum err target_read_ps(struct span reply, const char *loaded_key,
                        const char *embed_model, struct target_ps *out)
{
	struct target_ps ps = { .embed_resident = false };
	const cJSON *models, *model;
	cJSON *tree;
	enum err e = json_parse(reply, &tree, NULL);

	if (e != ERR_OK)
		return e == ERR_NOMEM ? e : ERR_INVAL;
	models = cJSON_GetObjectItemCaseSensitive(tree, "models");
	if (!cJSON_IsArray(models) && !cJSON_IsNull(models)) {
		cJSON_Delete(tree);
		return ERR_INVAL;
	}
	cJSON_ArrayForEach(model, models)
	{
		const cJSON *name = cJSON_GetObjectItemCaseSensitive(model, "name");

		if (cJSON_IsString(name))
			ps_entry(name->valuestring, loaded_key, embed_model, &ps);
	}
	cJSON_Delete(tree);
	*out = ps;
	return ERR_OK;
}

bool target_key_rotates(const char *model, const char *embed_model)
{
	struct model_name name;

	if (model_parse(span_of(model), &name, NULL) != ERR_OK ||
	    name.source == MODEL_CLOUD)
		return false;
	return !embed_model || !model_same(span_of(model), span_of(embed_model));
}

/* --- the poller ------------------------------------------------------------ */

enum look { LOOK_VERSION, LOOK_PS, LOOK_TAGS, LOOK_COUNT };

static const struct {
	const char *path;
	int total_ms;
} looks[LOOK_COUNT] = {
	[LOOK_VERSION] = { "/api/version", LIMIT_PROBE_MS },
	[LOOK_PS] = { "/api/ps", LIMIT_PS_MS },
	[LOOK_TAGS] = { "/api/tags", LIMIT_PROBE_MS },
};

struct target {
	struct loop *loop;
	struct db *db;
	const struct conf *conf;
	void (*changed)(void *arg);
	void *arg;

	struct target_judge judge;
	bool held;               /* a run lost it: wait for a fresh hit */
	int64_t missing_mono_ms; /* since when nothing but misses; 0: not so */
	int64_t away_mono_ms;    /* since when DOWN, or since work last came */
	int64_t probed_mono_ms;  /* when the last probe began */
	struct loop_timer poll;
	struct loop_timer beat;

	struct xfer *xfer; /* the probe under way */
	enum look look;
	char *url;
	char *auth;
	const char *headers[2];
	struct buf reply;
	bool looked;            /* /api/ps has been read */
	bool loading;           /* a request of ours may be loading something */
	int64_t disturbed;      /* how often that changed */
	int64_t disturbed_then; /* at the probe's beginning */
	int64_t tags_mono_ms;   /* when tags were last read; 0: never */
	char *tags;

	struct status status;
	bool status_dirty;
	bool status_failing; /* logged once */
};

static void probe(struct target *t, enum look look);

/* --- the status row -------------------------------------------------------- */

static void set_text(struct target *t, char **field, const char *text)
{
	char *copy;

	if (text && *field && strcmp(*field, text) == 0)
		return;
	if (!text && !*field)
		return;
	copy = text ? strdup(text) : NULL;
	free(*field);
	*field = copy;
	t->status_dirty = true;
}

static void tell(struct target *t)
{
	struct errtext why = { "" };
	enum err e;

	t->status.heartbeat_ms = clock_wall_ms();
	e = status_write(t->db, &t->status, &why);
	if (e == ERR_OK)
		t->status_dirty = false;
	else if (!t->status_failing)
		log_event(LOG_ERROR, "cannot write the status", KV_S("why", why.s));
	t->status_failing = e != ERR_OK;
}

static void beat_due(void *arg)
{
	struct target *t = arg;

	tell(t);
	loop_timer_set(t->loop, &t->beat, LIMIT_HEARTBEAT_MS);
}

/* What changed goes out in the next turn, at once for all of a turn. */
static void settle(struct target *t)
{
	if (t->status_dirty)
		loop_timer_set(t->loop, &t->beat, 0);
}

static void state_changed(struct target *t, const char *why)
{
	t->status.target = t->judge.state;
	t->status.target_since_ms = clock_wall_ms();
	t->status_dirty = true;
	if (t->judge.state == TARGET_DOWN)
		t->away_mono_ms = clock_mono_ms();
	log_event(t->judge.state == TARGET_UP ? LOG_INFO : LOG_WARN, "target",
	          KV_S("state", target_state_name(t->judge.state)), KV_S("why", why));
}

/* --- hits and misses ------------------------------------------------------- */

static void poll_in(struct target *t, int64_t delay_ms)
{
	loop_timer_set(t->loop, &t->poll, delay_ms);
}

static int64_t second_hit_ms(const struct target *t)
{
	return t->conf->poll_interval_ms < LIMIT_PROBE_AGAIN_MS
	           ? t->conf->poll_interval_ms
	           : LIMIT_PROBE_AGAIN_MS;
}

static void poll_later(struct target *t)
{
	int64_t away_ms = clock_mono_ms() - t->away_mono_ms;

	if (t->judge.state == TARGET_DOWN && t->judge.hits > 0)
		poll_in(t, second_hit_ms(t));
	else
		poll_in(t, target_interval_ms(t->judge.state, away_ms,
		                              t->conf->poll_interval_ms));
}

static void hit(struct target *t)
{
	bool was_ready = target_ready(t);

	t->held = false;
	t->missing_mono_ms = 0;
	t->status.target_seen_ms = clock_wall_ms();
	if (target_judge_hit(&t->judge)) {
		set_text(t, &t->status.target_error, NULL);
		state_changed(t, "it answers");
	}
	if (!was_ready && target_ready(t))
		t->changed(t->arg);
}

static void miss(struct target *t, bool refused, const char *why)
{
	if (t->missing_mono_ms == 0)
		t->missing_mono_ms = clock_mono_ms();
	set_text(t, &t->status.target_error, why);
	if (target_judge_miss(&t->judge, refused))
		state_changed(t, why);
}

/* --- one probe ------------------------------------------------------------- */

static bool probe_body(void *arg, const void *p, size_t len)
{
	struct target *t = arg;

	return buf_add(&t->reply, p, len) == ERR_OK;
}

static void read_version(struct target *t)
{
	struct span text = { t->reply.p, t->reply.len };
	const cJSON *version;
	cJSON *tree;

	if (json_parse(text, &tree, NULL) != ERR_OK)
		return;
	version = cJSON_GetObjectItemCaseSensitive(tree, "version");
	if (cJSON_IsString(version) && strlen(version->valuestring) <= 64)
		set_text(t, &t->status.version, version->valuestring);
	cJSON_Delete(tree);
}

/*
 * Ours is gone: then the slot holds what stands there instead, or who knows
 * what. With several others there is no telling which one would stay.
 */
static void read_ps(struct target *t)
{
	struct span text = { t->reply.p, t->reply.len };
	struct target_ps ps;

	if (t->loading || t->disturbed != t->disturbed_then ||
	    target_read_ps(text, t->status.loaded_key, t->conf->embed_model, &ps) !=
	        ERR_OK)
		return;
	if (!t->looked)
		t->changed(t->arg);
	t->looked = true;
	target_set_embed_ready(t, ps.embed_resident);
	if (!ps.ours_resident)
		target_set_loaded(t, ps.others == 1 ? ps.other : NULL);
}

static void read_tags(struct target *t)
{
	const char *text = buf_str(&t->reply);
	struct errtext why = { "" };
	struct span whole = { t->reply.p, t->reply.len };
	cJSON *tree;

	t->tags_mono_ms = clock_mono_ms();
	if (!text || (t->tags && strcmp(t->tags, text) == 0) ||
	    json_parse(whole, &tree, NULL) != ERR_OK)
		return;
	cJSON_Delete(tree);
	if (status_write_tags(t->db, text, &why) != ERR_OK) {
		log_event(LOG_ERROR, "cannot store the list of models", KV_S("why", why.s));
		return;
	}
	free(t->tags);
	t->tags = buf_take(&t->reply, NULL);
}

static bool tags_due(const struct target *t)
{
	return t->tags_mono_ms == 0 ||
	       clock_mono_ms() - t->tags_mono_ms >= LIMIT_TAGS_MS;
}

/* What the probe found; then the next of the round, or the next round. */
static void probe_good(struct target *t)
{
	if (t->look == LOOK_VERSION) {
		read_version(t);
		hit(t);
	} else if (t->look == LOOK_PS) {
		read_ps(t);
	} else {
		read_tags(t);
	}
	if (t->look == LOOK_VERSION)
		probe(t, LOOK_PS);
	else if (t->look == LOOK_PS && tags_due(t))
		probe(t, LOOK_TAGS);
}

static void probe_done(void *arg, const struct xfer_result *result)
{
	struct target *t = arg;
	char why[64];

	t->xfer = NULL;
	if (result->outcome == XFER_OK && result->status == 200) {
		probe_good(t);
	} else if (t->look == LOOK_VERSION) {
		snprintf(why, sizeof(why), "/api/version answered %d", result->status);
		miss(t, result->refused, result->outcome == XFER_OK ? why : result->why.s);
	} else if (t->look == LOOK_TAGS) {
		t->tags_mono_ms = clock_mono_ms();
	}
	buf_clear(&t->reply);
	if (!t->xfer)
		poll_later(t);
	settle(t);
}

static const struct xfer_calls probe_calls = {
	.body = probe_body,
	.done = probe_done,
};

/* The texts of the ask; they stay until the next probe. */
static bool probe_texts(struct target *t, enum look look)
{
	const char *token = t->conf->ollama_token;

	free(t->url);
	free(t->auth);
	t->auth = NULL;
	if (asprintf(&t->url, "%s%s", t->conf->ollama_url, looks[look].path) < 0)
		t->url = NULL;
	if (token && asprintf(&t->auth, "Authorization: Bearer %s", token) < 0)
		t->auth = NULL;
	t->headers[0] = t->auth;
	return t->url && (t->auth || !token);
}

static void probe(struct target *t, enum look look)
{
	struct errtext why = { "out of memory" };
	struct xfer_ask ask = {
		.method = "GET",
		.headers = t->headers,
		.connect_ms = LIMIT_PROBE_CONNECT_MS,
		.total_ms = looks[look].total_ms,
	};

	t->look = look;
	buf_clear(&t->reply);
	t->disturbed_then = t->disturbed;
	if (probe_texts(t, look)) {
		ask.url = t->url;
		if (xfer_start(t->loop, &ask, &probe_calls, t, &t->xfer, &why) == ERR_OK)
			return;
	}
	t->xfer = NULL;
	miss(t, false, why.s);
	poll_later(t);
}

static void poll_due(void *arg)
{
	struct target *t = arg;

	assert(!t->xfer); /* one at a time; its end sets the timer again */
	t->probed_mono_ms = clock_mono_ms();
	probe(t, LOOK_VERSION);
}

/* --- what others tell and ask ---------------------------------------------- */

bool target_ready(const struct target *t)
{
	return !t->held &&
	       (t->judge.state == TARGET_UP || t->judge.state == TARGET_SUSPECT);
}

const char *target_loaded(const struct target *t)
{
	return t->status.loaded_key;
}

bool target_embed_ready(const struct target *t)
{
	return t->status.embed_ready;
}

bool target_answers(const struct target *t)
{
	return t->judge.state == TARGET_UP;
}

int64_t target_missing_ms(const struct target *t)
{
	return t->missing_mono_ms ? clock_mono_ms() - t->missing_mono_ms : 0;
}

bool target_knows_slots(const struct target *t)
{
	return t->looked;
}

void target_disturb(struct target *t, bool loading)
{
	t->loading = loading;
	t->disturbed++;
}

void target_set_loaded(struct target *t, const char *load_key)
{
	set_text(t, &t->status.loaded_key, load_key);
	if (t->status_dirty)
		t->changed(t->arg);
	settle(t);
}

void target_set_embed_ready(struct target *t, bool ready)
{
	if (t->status.embed_ready == ready)
		return;
	t->status.embed_ready = ready;
	t->status_dirty = true;
	t->changed(t->arg);
	settle(t);
}

void target_hit(struct target *t)
{
	if (t->judge.state == TARGET_UP && !t->held)
		return;
	hit(t);
	settle(t);
}

/* Dispatch waits for a hit of a probe that begins now. */
static void hold(struct target *t)
{
	t->held = true;
	xfer_stop(t->xfer);
	t->xfer = NULL;
	poll_in(t, 0);
}

void target_miss(struct target *t, bool refused, const char *why)
{
	miss(t, refused, why);
	hold(t);
	settle(t);
}

void target_slept(struct target *t)
{
	hold(t);
}

void target_trouble(struct target *t, const char *why)
{
	set_text(t, &t->status.target_error, why);
	settle(t);
}

void target_nudge(struct target *t)
{
	int64_t now_ms = clock_mono_ms();
	int64_t due_ms = t->probed_mono_ms + t->conf->poll_interval_ms;

	if (t->judge.state != TARGET_DOWN)
		return;
	t->away_mono_ms = now_ms;
	if (!t->xfer && t->poll.armed && t->poll.due_mono_ms > due_ms)
		poll_in(t, due_ms > now_ms ? due_ms - now_ms : 0);
}

void target_look(struct target *t)
{
	if (!t->xfer)
		poll_in(t, 0);
}

enum err target_new(struct loop *l, struct db *db, const struct conf *conf,
                    void (*changed)(void *arg), void *arg, struct target **out)
{
	struct target *t = calloc(1, sizeof(*t));

	if (!t)
		return ERR_NOMEM;
	t->loop = l;
	t->db = db;
	t->conf = conf;
	t->changed = changed;
	t->arg = arg;
	buf_init(&t->reply, LIMIT_PROBE_REPLY);
	t->status.worker_pid = getpid();
	t->status.worker_started_ms = clock_wall_ms();
	t->status.target_since_ms = t->status.worker_started_ms;
	loop_timer_init(&t->poll, poll_due, t);
	loop_timer_init(&t->beat, beat_due, t);
	poll_in(t, 0);
	loop_timer_set(l, &t->beat, 0);
	*out = t;
	return ERR_OK;
}

void target_free(struct target *t)
{
	if (!t)
		return;
	xfer_stop(t->xfer);
	loop_timer_stop(&t->poll);
	loop_timer_stop(&t->beat);
	buf_done(&t->reply);
	status_done(&t->status);
	free(t->url);
	free(t->auth);
	free(t->tags);
	free(t);
}
