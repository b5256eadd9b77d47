/*
 * drain.c - which job runs now: the queue, drained by model, one at a time.
 *
 * Owns the run and the embedder's slot, and what it remembers of the present
 * drain. True throughout: nothing is dispatched while anything runs or loads,
 * while the target is not ready, or while the worker is leaving; an attended
 * job is dispatched only to an attached owner. Transfers and the store are
 * touched in drain_step alone, never from another's callback, so that no
 * handler starts or ends a transfer under somebody's feet.
 *
 * An attended job without an owner: its client attached before the job was
 * inserted, so whoever is not there after all the relay's news has been read
 * has left. Only in the first LIMIT_REATTACH_MS of a worker's life are clients
 * of the last one still on their way; for so long the line stands.
 */
#include <config.h>

#include "worker/drain.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/order.h"
#include "store/look.h"
#include "store/queue.h"
#include "worker/unload.h"

struct drain {
	struct run_env env;
	struct drain_calls calls;
	void *arg;
	struct run *run;
	struct embed *embed;
	struct unload *unload;

	bool look;
	bool leaving;
	bool stop_running; /* its client left, or a cancel came */
	bool failing;      /* the store; logged once */
	int64_t started_mono_ms;
	struct order_state order;
	struct loop_timer again; /* linger, grace */
	struct loop_timer idle;
	struct loop_timer waiting;

	char (*departed)[ULID_SIZE]; /* ids to cancel, in order */
	size_t departed_count;
	size_t departed_room;
	size_t departed_done; /* of them, the first so many */
};

/* --- those who wait -------------------------------------------------------- */

/* Is there still something to wait for? Else say so. */
static void check_waiting(struct drain *d, const char *id, bool must_exist)
{
	struct job job;
	enum err e = look_job(d->env.db, id, 0, &job);

	if (e == ERR_OK) {
		if (job_state_terminal(job.state) && job.attended)
			relay_refuse(d->env.relay, id, 503,
			             "its place in line was lost, please try again");
		else if (job_state_terminal(job.state))
			relay_refuse(d->env.relay, id, 410, "the job has ended");
		job_done(&job);
	} else if (e == ERR_DENIED) {
		relay_refuse(d->env.relay, id, 410, "the job was removed");
	} else if (e == ERR_NOENT && must_exist) {
		relay_refuse(d->env.relay, id, 404, "no such job");
	}
}

/* --- those who left -------------------------------------------------------- */

static void depart(struct drain *d, const char *id)
{
	const char *running = run_id(d->run);

	/* Noted as well: it may go back to the line before it can be stopped. */
	if (running && strcmp(running, id) == 0)
		d->stop_running = true;
	if (d->departed_count == d->departed_room) {
		size_t room = d->departed_room ? 2 * d->departed_room : 64;
		void *more = realloc(d->departed, room * sizeof(*d->departed));

		if (!more)
			return; /* its job is found without an owner when its turn comes */
		d->departed = more;
		d->departed_room = room;
	}
	str_copy(d->departed[d->departed_count++], ULID_SIZE, id);
}

void drain_gone(struct drain *d, const char *id)
{
	depart(d, id);
}

void drain_cancel(struct drain *d, const char *id)
{
	depart(d, id);
}

static void failing(struct drain *d, const char *what, const struct errtext *why)
{
	if (!d->failing)
		log_event(LOG_ERROR, what, KV_S("why", why->s));
	d->failing = true;
}

/* The job of one who left, or a cancel of one that does not run. False: the
 * store refuses; later. */
static bool cancel_one(struct drain *d, const char *id)
{
	struct errtext why = { "" };
	enum queue_cancel_answer answer;
	enum err e = queue_cancel(d->env.db, id, clock_wall_ms(), &answer, &why);

	if (e == ERR_NOENT) {
		check_waiting(d, id, false); /* never inserted, or removed */
		return true;
	}
	if (e != ERR_OK) {
		failing(d, "cannot cancel a job", &why);
		return false;
	}
	if (answer == CANCEL_REQUESTED)
		return true; /* it runs: run_watch finds it */
	if (answer == CANCEL_DONE) {
		log_event(LOG_INFO, "job failed", KV_S("job", id),
		          KV_S("reason", job_reason_name(REASON_CANCELED)));
		d->calls.moved(d->arg);
	}
	relay_refuse(d->env.relay, id, 499, "canceled");
	return true;
}

/* At most LIMIT_STEP_MOVES, each a transaction. True: there are more. */
static bool see_off(struct drain *d)
{
	int moves = 0;

	while (d->departed_done < d->departed_count && moves++ < LIMIT_STEP_MOVES) {
		if (!cancel_one(d, d->departed[d->departed_done]))
			return false; /* the idle timer tries again */
		d->departed_done++;
	}
	if (d->departed_done < d->departed_count)
		return true;
	d->departed_done = d->departed_count = 0;
	return false;
}

/* --- those who come -------------------------------------------------------- */

void drain_attached(struct drain *d, const char *id, enum frame_role role)
{
	/* An owner attaches before it inserts. */
	check_waiting(d, id, role == FRAME_READER);
	d->look = true;
}

static void check_one(void *arg, const char *id)
{
	check_waiting(arg, id, false);
}

void drain_expired(struct drain *d)
{
	relay_each_waiting(d->env.relay, check_one, d);
}

/* --- dispatch -------------------------------------------------------------- */

/* Its client is not there and will not come. */
static void fail_orphan(struct drain *d, const char *id)
{
	struct errtext why = { "" };
	struct job job;
	enum job_reason reason;
	enum err e = look_job(d->env.db, id, 0, &job);

	if (e != ERR_OK)
		return;
	reason = job.interruptions > 0 ? REASON_WORKER_RESTARTED : REASON_CANCELED;
	e = queue_failed(d->env.db, &job, reason, "its client has gone", false, NULL,
	                 clock_wall_ms(), &why);
	if (e != ERR_OK && e != ERR_STALE)
		failing(d, "cannot fail a job whose client has gone", &why);
	if (job.state == JOB_FAILED)
		log_event(LOG_INFO, "job failed", KV_S("job", id),
		          KV_S("reason", job_reason_name(reason)),
		          KV_S("why", "its client has gone"));
	if (e == ERR_STALE || job.state == JOB_FAILED)
		d->look = true;
	job_done(&job);
}

/* May this attended job be dispatched? If not, what is to be done is done. */
static bool owner_there(struct drain *d, int64_t seq)
{
	int64_t up_ms = clock_mono_ms() - d->started_mono_ms;
	char id[ULID_SIZE];
	bool all_known;
	enum err e = queue_id(d->env.db, seq, id);

	if (e != ERR_OK) {
		d->look = e == ERR_NOENT; /* else the idle timer tries again */
		return false;
	}
	if (relay_has_owner(d->env.relay, id))
		return true;
	all_known = relay_catch_up(d->env.relay);
	if (relay_has_owner(d->env.relay, id))
		return true;
	if (!all_known)
		loop_timer_set(d->env.loop, &d->again, LIMIT_ACCEPT_PAUSE_MS);
	else if (up_ms < LIMIT_REATTACH_MS)
		loop_timer_set(d->env.loop, &d->again, LIMIT_REATTACH_MS - up_ms);
	else
		fail_orphan(d, id);
	return false;
}

static bool same_key(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Run it, and remember what that means for the order. */
static void start(struct drain *d, const struct order_choice *choice)
{
	const char *loaded = target_loaded(d->env.target);
	char *before = loaded ? strdup(loaded) : NULL;
	struct errtext why = { "" };
	int64_t now_ms = clock_wall_ms();
	enum err e = run_start(d->run, choice->seq, &why);

	if (e == ERR_OK) {
		d->failing = false;
		d->order.class_served_ms[choice->cls] = now_ms;
		if (!same_key(before, target_loaded(d->env.target)))
			d->order.drain_began_ms = now_ms;
	} else if (e == ERR_STALE) {
		d->look = true;
	} else {
		failing(d, "cannot claim a job", &why);
	}
	free(before);
}

/* `ready`: the target is; else only a client that has gone is noticed. */
static void dispatch(struct drain *d, bool ready)
{
	const char *loaded = target_loaded(d->env.target);
	struct order_rules rules = {
		.max_wait_ms = d->env.conf->drain_max_wait_ms,
		.linger_ms = LIMIT_LINGER_MS,
	};
	struct order_heads heads;
	struct order_choice choice;
	enum err e = queue_heads(d->env.db, loaded, &heads);

	if (e != ERR_OK) {
		struct errtext why;

		errtext_set(&why, "%s", err_name(e));
		failing(d, "cannot read the queue", &why);
		return;
	}
	d->order.any_loaded = loaded != NULL;
	choice = order_next(&heads, &d->order, &rules, clock_wall_ms());
	if (choice.why == ORDER_NONE)
		return;
	if (choice.why == ORDER_LINGER)
		loop_timer_set(d->env.loop, &d->again, choice.wait_ms);
	else if (choice.cls == ORDER_ATTENDED && !owner_there(d, choice.seq))
		return;
	else if (ready)
		start(d, &choice);
}

bool drain_step(struct drain *d)
{
	bool more, ready;

	if (d->stop_running)
		run_stop(d->run, STOP_CANCELED);
	d->stop_running = false;
	more = see_off(d);
	if (!d->look || d->leaving || run_busy(d->run))
		return more;
	if (unload_step(d->unload))
		return more; /* its end looks again */
	d->look = false;
	ready = target_ready(d->env.target);
	if (!ready || !embed_step(d->embed))
		dispatch(d, ready);
	return more || (d->look && !run_busy(d->run));
}

/* --- events ---------------------------------------------------------------- */

void drain_look(struct drain *d)
{
	d->look = true;
}

static void run_moved(void *arg)
{
	struct drain *d = arg;

	d->calls.moved(d->arg);
}

static void run_over(void *arg, int64_t hold_until_ms)
{
	struct drain *d = arg;

	d->order.last_end_ms = clock_wall_ms();
	d->look = true;
	d->stop_running = false; /* it was for the job that is over */
	if (hold_until_ms)
		d->calls.held(d->arg, hold_until_ms);
}

static void run_wedged(void *arg, const char *model)
{
	struct drain *d = arg;

	unload_want(d->unload, model);
}

static void slot_over(void *arg)
{
	drain_look(arg);
}

static void again_due(void *arg)
{
	drain_look(arg);
}

static void idle_due(void *arg)
{
	struct drain *d = arg;

	d->look = true;
	loop_timer_set(d->env.loop, &d->idle, LIMIT_IDLE_LOOK_MS);
}

/* A cancel of a waiting job may have been lost on its way to us. */
static void waiting_due(void *arg)
{
	struct drain *d = arg;

	relay_each_waiting(d->env.relay, check_one, d);
	loop_timer_set(d->env.loop, &d->waiting, LIMIT_WAITING_LOOK_MS);
}

/* --- leaving --------------------------------------------------------------- */

void drain_leave(struct drain *d)
{
	d->leaving = true;
}

bool drain_empty(const struct drain *d)
{
	return !run_busy(d->run);
}

void drain_abandon(struct drain *d)
{
	run_stop(d->run, STOP_LEAVING);
}

enum err drain_new(const struct run_env *env, const struct drain_calls *calls,
                   void *arg, struct drain **out)
{
	static const struct run_calls run_calls = { run_moved, run_wedged, run_over };
	struct drain *d = calloc(1, sizeof(*d));
	enum err e;

	if (!d)
		return ERR_NOMEM;
	d->env = *env;
	d->calls = *calls;
	d->arg = arg;
	d->look = true;
	d->started_mono_ms = clock_mono_ms();
	loop_timer_init(&d->again, again_due, d);
	loop_timer_init(&d->idle, idle_due, d);
	loop_timer_init(&d->waiting, waiting_due, d);
	e = run_new(env, &run_calls, d, &d->run);
	if (e == ERR_OK)
		e = embed_new(env->loop, env->conf, env->target, slot_over, d, &d->embed);
	if (e == ERR_OK)
		e = unload_new(env->loop, env->conf, env->target, slot_over, d, &d->unload);
	if (e != ERR_OK) {
		drain_free(d);
		return e;
	}
	loop_timer_set(env->loop, &d->idle, LIMIT_IDLE_LOOK_MS);
	loop_timer_set(env->loop, &d->waiting, LIMIT_WAITING_LOOK_MS);
	*out = d;
	return ERR_OK;
}

void drain_free(struct drain *d)
{
	if (!d)
		return;
	run_free(d->run);
	embed_free(d->embed);
	unload_free(d->unload);
	loop_timer_stop(&d->again);
	loop_timer_stop(&d->idle);
	loop_timer_stop(&d->waiting);
	free(d->departed);
	free(d);
}
