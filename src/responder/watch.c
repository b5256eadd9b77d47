/*
 * watch.c - who waits for which job's moves, and when they are told.
 *
 * The keeper's thread has the watchers and the one reading connection. Each look
 * at a job is a few short statements, and no look is missed: what a client
 * has no room for, or the database no answer, is looked at again.
 * A database that cannot be read ends nobody's wait: it is asked again.
 * Refused: waiting, above LIMIT_WATCHERS. Bound: LIMIT_WATCH_HELD bytes of job
 * objects in memory for clients that have not taken them.
 * Not here: how a client is told (watcher).
 */
#include <config.h>

#include "responder/watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "core/limits.h"
#include "responder/keeper.h"
#include "responder/show.h"
#include "responder/watcher.h"
#include "store/look.h"

#define EVENTS_AT_ONCE 32
#define EVENT_SIZE 320 /* bytes of one event, at most */

struct parked {
	struct keeper_note link;
	struct watch_ticket ticket;
};

struct watch {
	const struct conf *conf;
	struct db_conf db_conf;
	struct keeper keeper;

	struct watchers watchers; /* the rest is the keeper's */
	struct loop_timer tick;
	struct db *db;    /* NULL: not opened yet */
	bool again;       /* look at the next tick, whatever changed */
	enum err trouble; /* since the last tick, with the database */
	bool blind;       /* ... which the log has been told of */
};

/* --- from other threads --------------------------------------------------- */

void watch_park(struct watch *w, const struct watch_ticket *ticket)
{
	struct parked *parked = malloc(sizeof(*parked));

	if (!parked) {
		int fd = ticket->fd;

		fd_close(&fd);
		trail_drop(&ticket->trail, ticket->id);
		return;
	}
	parked->ticket = *ticket;
	keeper_put(&w->keeper, &parked->link);
}

size_t watch_count(const struct watch *w)
{
	return keeper_count(&w->keeper);
}

void watch_drain(struct watch *w, int64_t ms)
{
	keeper_drain(&w->keeper, ms);
}

void watch_close(struct watch *w)
{
	keeper_close(&w->keeper);
}

int watch_ended_fd(const struct watch *w)
{
	return keeper_ended_fd(&w->keeper);
}

/* --- the job as an answer ------------------------------------------------- */

static void answer_loaded(struct watch *w, struct watcher *p, const struct job *job)
{
	const struct watch_ticket *t = &p->ticket;
	struct job_view view = { .public_url = w->conf->public_url,
		                     .now_ms = clock_wall_ms(),
		                     .inline_max = w->conf->inline_max };
	bool moved = job->event_seq != t->since_seq;
	char shown[SHOW_LINES_SIZE], lines[512], *body;

	show_lines(job, shown);
	if (t->what == WATCH_MOVE && t->conditional && !moved) {
		watcher_answer(p, 304, shown, NULL, "not moved");
		return;
	}
	body = job_json(job, &view);
	if (!body) {
		watcher_refuse(p, FAULT_INTERNAL, "out of memory");
		return;
	}
	snprintf(lines, sizeof(lines), "%s%s%s%s%s%sContent-Type: application/json\n",
	         shown, t->submitted ? "Location: /jobs/" : "",
	         t->submitted ? t->id : "", t->submitted ? "\n" : "",
	         t->replayed ? "Idempotency-Replayed: true\n" : "",
	         t->preferred ? "Preference-Applied: wait\n" : "");
	watcher_answer(p, t->submitted && !job_state_terminal(job->state) ? 202 : 200,
	               lines, body, "answered");
}

/* Answer from the job as it is now; while clients have too much to take as it
 * is, at a later look. */
static enum err answer_job(struct watch *w, struct watcher *p)
{
	struct job job;
	enum err e;

	if (w->watchers.held >= LIMIT_WATCH_HELD) {
		p->due = true;
		w->again = true;
		return ERR_OK;
	}
	e = show_look(w->db, p->ticket.id, w->conf->inline_max, &job);
	if (e)
		return e;
	answer_loaded(w, p, &job);
	job_done(&job);
	return ERR_OK;
}

/* --- the job's moves as events -------------------------------------------- */

static void say_event(struct watcher *p, const struct look_event *event)
{
	const char *state = job_state_name(event->state);
	const char *reason = job_reason_name(event->reason);
	char at[CLOCK_ISO_SIZE], text[EVENT_SIZE];

	clock_iso(event->at_ms, at);
	snprintf(text, sizeof(text),
	         "id: %lld\nevent: %s\n"
	         "data: {\"id\":\"%s\",\"seq\":%lld,\"state\":\"%s\","
	         "\"reason\":%s%s%s,\"at\":\"%s\",\"terminal\":%s}\n\n",
	         (long long)event->seq, job_event_type(event->state), p->ticket.id,
	         (long long)event->seq, state, reason ? "\"" : "",
	         reason ? reason : "null", reason ? "\"" : "", at,
	         job_state_terminal(event->state) ? "true" : "false");
	p->ticket.since_seq = event->seq;
	watcher_event(p, text);
	if (job_state_terminal(event->state) && watcher_waits(p))
		watcher_finish(p, "all events told");
}

/* All moves there are behind since_seq, as far as the client takes them. */
static enum err say_events(struct watch *w, struct watcher *p)
{
	struct look_event events[EVENTS_AT_ONCE];
	size_t count = EVENTS_AT_ONCE;
	bool room = true;

	while (room && count == EVENTS_AT_ONCE) {
		enum err e = look_events(w->db, p->ticket.id, p->ticket.since_seq, events,
		                         EVENTS_AT_ONCE, &count);

		if (e)
			return e;
		for (size_t i = 0; i < count && watcher_waits(p); i++)
			say_event(p, &events[i]);
		room = watcher_settle(p);
	}
	return ERR_OK;
}

/* The job is not there any more, said in the way that is left. */
static void say_removed(struct watcher *p)
{
	char text[EVENT_SIZE];

	snprintf(text, sizeof(text), "event: job.removed\ndata: {\"id\":\"%s\"}\n\n",
	         p->ticket.id);
	watcher_event(p, text);
	if (watcher_waits(p))
		watcher_finish(p, "job removed");
}

/* --- looking -------------------------------------------------------------- */

static enum err look_for_events(struct watch *w, struct watcher *p,
                                const struct look_step *at)
{
	struct watch_ticket *t = &p->ticket;
	enum err e = ERR_OK;

	if (t->since_seq > at->event_seq)
		t->since_seq = at->event_seq;
	if (!p->status && job_state_terminal(at->state) &&
	    t->since_seq == at->event_seq) {
		watcher_answer(p, 204, "Cache-Control: no-store\n", NULL,
		               "nothing follows");
		return ERR_OK;
	}
	watcher_open_events(p);
	if (t->head && watcher_waits(p))
		watcher_finish(p, "head told");
	if (t->since_seq < at->event_seq && watcher_waits(p))
		e = say_events(w, p);
	if (!e && p->due && watcher_waits(p))
		watcher_finish(p, "stopped");
	watcher_settle(p);
	return e;
}

static enum err look_and_act(struct watch *w, struct watcher *p)
{
	const struct watch_ticket *t = &p->ticket;
	struct look_step at;
	enum err e = look_step(w->db, t->id, &at);

	if (e)
		return e;
	if (t->what == WATCH_EVENTS)
		return look_for_events(w, p, &at);
	if (p->due || job_state_terminal(at.state) ||
	    (t->what == WATCH_MOVE && at.event_seq != t->since_seq))
		return answer_job(w, p);
	return ERR_OK;
}

/* The first time somebody waits. What is wrong with the file is not the job's
 * absence. */
static enum err open_reader(struct watch *w)
{
	enum err e = w->db ? ERR_OK : db_open(&w->db_conf, DB_READER, &w->db, NULL);

	return e == ERR_NOENT || e == ERR_DENIED ? ERR_IO : e;
}

/* A job that is not there ends the wait. A database that cannot be read does
 * not, but whoever was promised an answer now gets the fault. */
static void look_failed(struct watch *w, struct watcher *p, enum err e)
{
	bool removed = e == ERR_NOENT || e == ERR_DENIED;
	const char *text;
	enum fault f = show_fault(e, &text);

	if (!removed && !p->due) {
		w->trouble = e;
		w->again = true;
	} else if (!p->status) {
		watcher_refuse(p, f, text);
	} else if (removed) {
		say_removed(p);
	} else {
		watcher_finish(p, "stopped");
	}
}

/* Does it have what it waits for? */
static void look(void *arg, struct watcher *p)
{
	struct watch *w = arg;
	enum err e = open_reader(w);

	if (!e)
		e = look_and_act(w, p);
	if (e && watcher_waits(p))
		look_failed(w, p, e);
}

static void look_at_all(struct watch *w)
{
	for (struct rolled *r = w->watchers.roll.first, *next; r; r = next) {
		struct watcher *p = (struct watcher *)r;

		next = r->next;
		if (watcher_waits(p))
			look(w, p);
	}
}

/* Trouble with the database is told when it begins and when it is over. */
static void tell_trouble(struct watch *w)
{
	if (w->trouble && !w->blind)
		log_event(LOG_WARN, "cannot look at jobs that clients wait for",
		          KV_S("reason", err_name(w->trouble)),
		          KV_I("waiting", w->watchers.waiting));
	else if (!w->trouble && w->blind)
		log_event(LOG_INFO, "jobs can be looked at again",
		          KV_I("waiting", w->watchers.waiting));
	w->blind = w->trouble != ERR_OK;
	w->trouble = ERR_OK;
}

static void on_tick(void *arg)
{
	struct watch *w = arg;
	bool wanted = w->again, changed = false;
	enum err e = open_reader(w);

	w->again = false;
	if (!e)
		e = db_changed(w->db, &changed);
	if (e) {
		w->trouble = e;
		w->again = true;
	} else if (wanted || changed) {
		look_at_all(w);
	}
	tell_trouble(w);
	if (w->watchers.waiting)
		loop_timer_set(w->keeper.loop, &w->tick, LIMIT_WATCH_MS);
}

/* --- the keeper's calls ----------------------------------------------------- */

static void take(void *arg, struct keeper_note *note)
{
	struct watch *w = arg;
	struct parked *parked = (struct parked *)note;
	const struct watch_ticket *t = &parked->ticket;
	bool full = w->watchers.waiting >= LIMIT_WATCHERS;
	struct watcher *p = watcher_enter(
	    &w->watchers, t, full || (t->what != WATCH_EVENTS && t->wait_ms <= 0));

	free(parked);
	if (!p)
		return;
	if (full && p->ticket.what == WATCH_EVENTS)
		watcher_refuse(p, FAULT_BUSY,
		               "too many clients watch jobs, please try again");
	else
		look(w, p);
	if (!watcher_waits(p))
		return;
	watcher_wait(p);
	if (!w->tick.armed)
		loop_timer_set(w->keeper.loop, &w->tick, LIMIT_WATCH_MS);
}

static void dismiss(void *arg)
{
	struct watch *w = arg;

	for (struct rolled *r = w->watchers.roll.first; r; r = r->next)
		((struct watcher *)r)->due = true;
	look_at_all(w);
}

static size_t turned(void *arg)
{
	struct watch *w = arg;

	roll_sweep(&w->watchers.roll);
	return w->watchers.roll.count;
}

static void ended(void *arg)
{
	struct watch *w = arg;

	while (w->watchers.roll.first)
		watcher_leave((struct watcher *)w->watchers.roll.first, "watching failed");
	roll_sweep(&w->watchers.roll);
	loop_timer_stop(&w->tick);
}

static void drop(struct keeper_note *note)
{
	struct parked *parked = (struct parked *)note;

	fd_close(&parked->ticket.fd);
	free(parked);
}

static const struct keeper_calls calls = {
	.name = "foreman-watch",
	.take = take,
	.dismiss = dismiss,
	.turned = turned,
	.ended = ended,
	.drop = drop,
};

/* --- made and unmade ------------------------------------------------------ */

static void release(struct watch *w)
{
	db_close(w->db);
	keeper_done(&w->keeper);
	free(w);
}

enum err watch_new(const struct conf *conf, const struct db_conf *db,
                   struct watch **out)
{
	struct watch *w = calloc(1, sizeof(*w));
	enum err e;

	if (!w)
		return ERR_NOMEM;
	w->conf = conf;
	w->db_conf = *db;
	e = keeper_init(&w->keeper, &calls, w);
	w->watchers = (struct watchers){
		.loop = w->keeper.loop, .conf = conf, .look = look, .arg = w
	};
	loop_timer_init(&w->tick, on_tick, w);
	if (!e)
		e = keeper_start(&w->keeper);
	if (e) {
		release(w);
		return e;
	}
	*out = w;
	return ERR_OK;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	keeper_join(&w->keeper);
	release(w);
}
