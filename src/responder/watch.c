/*
 * watch.c - who waits for which job's moves, and what they are told.
 *
 * Everything but the inbox belongs to the one thread: the watchers, their
 * connections, the reading connection to the database. Every way out of the
 * list goes through leave; every answer through answer, refuse or the events.
 * A database that cannot be read ends nobody's wait: it is asked again.
 * Refused: waiting, above LIMIT_WATCHERS. Bounds: LIMIT_WATCH_HELD bytes of
 * job objects in memory for clients that have not taken them, OUT_MAX bytes of
 * each on its way into the connection.
 */
#include <config.h>

#include "responder/watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "core/limits.h"
#include "responder/outlet.h"
#include "responder/show.h"
#include "responder/tally.h"
#include "store/look.h"

#define PIECE (32 * 1024) /* bytes of a body queued at once */
#define OUT_HIGH PIECE    /* bytes pending: queue no more */
#define OUT_MAX (OUT_HIGH + 2 * PIECE)
#define EVENTS_AT_ONCE 32
#define EVENT_SIZE 320 /* bytes of one event, at most */
/* A ping is so many writes, like a keepalive of the lot: one alone would tell
 * nobody who left. */
#define PING_PIECES 4

struct watcher {
	struct watch *watch;
	struct watcher *next, *prev;
	struct watch_ticket ticket; /* since_seq: what the client knows by now */
	bool due;                   /* answer at the next look, moved or not */
	bool turned_away;           /* there was no room to wait */
	bool ending;                /* all is said, or stands in `body` */
	bool gone;
	int status;      /* what the client was told; 0 nothing yet */
	const char *how; /* it ended, for the log */
	struct outlet out;
	char *body; /* of an answer, queued up to `at` */
	size_t body_len, at;
	int pings;               /* pieces left of the comment begun */
	struct loop_timer limit; /* of waiting; then of taking the answer; then
	                            of closing */
	struct loop_timer beat;
};

struct parked {
	struct parked *next;
	struct watch_ticket ticket;
};

struct watch {
	const struct conf *conf;
	struct db_conf db_conf;
	pthread_t thread;
	int wake;  /* an eventfd: look at the inbox */
	int ended; /* another: the loop has ended */
	atomic_size_t count;

	pthread_mutex_t lock; /* for all of the next */
	struct parked *inbox; /* newest first */
	bool closed;
	int64_t drain_mono_ms; /* 0: not asked for */

	struct loop *loop; /* the rest is the thread's own */
	struct loop_fd *wake_watch;
	struct loop_timer tick;
	struct loop_timer drain_timer;
	struct db *db; /* NULL: not opened yet */
	struct watcher *watchers;
	struct watcher *gone; /* left in this turn, freed after it */
	size_t here;          /* watchers */
	size_t waiting;       /* ... that are not ending */
	size_t held;          /* bytes of all their bodies */
	bool again;           /* look at the next tick, whatever changed */
	enum err trouble;     /* since the last tick, with the database */
	bool blind;           /* ... which the log has been told of */
	bool dismissed;       /* the drain's time is over */
	bool leaving;         /* closed, as seen by the loop */
};

/* --- from other threads --------------------------------------------------- */

static void wake(struct watch *w)
{
	/* fails only when it is full of wake-ups already */
	(void)!eventfd_write(w->wake, 1);
}

void watch_park(struct watch *w, const struct watch_ticket *ticket)
{
	struct parked *p = malloc(sizeof(*p));

	if (!p) {
		int fd = ticket->fd;

		fd_close(&fd);
		return;
	}
	p->ticket = *ticket;
	pthread_mutex_lock(&w->lock);
	p->next = w->inbox;
	w->inbox = p;
	pthread_mutex_unlock(&w->lock);
	wake(w);
}

size_t watch_count(const struct watch *w)
{
	return atomic_load(&w->count);
}

void watch_drain(struct watch *w, int64_t ms)
{
	pthread_mutex_lock(&w->lock);
	w->drain_mono_ms = clock_mono_ms() + ms;
	pthread_mutex_unlock(&w->lock);
	wake(w);
}

void watch_close(struct watch *w)
{
	pthread_mutex_lock(&w->lock);
	w->closed = true;
	pthread_mutex_unlock(&w->lock);
	wake(w);
}

int watch_ended_fd(const struct watch *w)
{
	return w->ended;
}

/* --- leaving -------------------------------------------------------------- */

/* No more waiting: what is left is to be taken and closed. */
static void end_waiting(struct watcher *p, const char *how)
{
	if (p->ending)
		return;
	p->ending = true;
	p->how = how;
	p->watch->waiting--;
	loop_timer_stop(&p->limit);
	loop_timer_stop(&p->beat);
}

/* Out of the list. The memory stays until the turn is over. */
static void leave(struct watcher *p, const char *how)
{
	struct watch *w = p->watch;

	if (p->gone)
		return;
	end_waiting(p, how);
	loop_timer_stop(&p->limit);
	outlet_close(&p->out);
	w->held -= p->body_len;
	free(p->body);
	if (p->prev)
		p->prev->next = p->next;
	else
		w->watchers = p->next;
	if (p->next)
		p->next->prev = p->prev;
	p->gone = true;
	p->next = w->gone;
	w->gone = p;
	w->here--;
	trail_close(&p->ticket.trail, &(struct trail_end){ .status = p->status,
	                                                   .job = p->ticket.id,
	                                                   .how = p->how });
}

/* It was the client who ended it. */
static void client_left(struct watcher *p)
{
	if (!p->ending)
		tally_add(p->status ? TALLY_LEFT_READING : TALLY_LEFT_WAITING);
	leave(p, "client left");
}

static void sweep(struct watch *w)
{
	while (w->gone) {
		struct watcher *p = w->gone;

		w->gone = p->next;
		free(p);
	}
}

/* --- writing -------------------------------------------------------------- */

/* Move what stands in `body` on to the stream, and behind it the end, as far as
 * there is room. False: no memory. */
static bool feed(struct watcher *p)
{
	struct stream *s = &p->out.stream;

	while (p->at < p->body_len && stream_pending(s) <= OUT_HIGH) {
		size_t left = p->body_len - p->at;
		size_t n = left < PIECE ? left : PIECE;

		if (stream_write(s, p->body + p->at, n))
			return false;
		p->at += n;
	}
	return !p->ending || p->at < p->body_len || s->ended || !stream_end(s);
}

/* Hand over what there is. After it the watcher may be gone. */
static void settle(struct watcher *p)
{
	enum err e = ERR_OK;

	while (!p->gone && !e) {
		if (!feed(p)) {
			leave(p, "out of memory");
			return;
		}
		e = outlet_flush(&p->out, &p->limit);
		if (e && e != ERR_AGAIN)
			client_left(p);
		else if (p->at == p->body_len)
			return;
	}
}

/* Nothing more will be said than is queued, or stands in `body`. */
static void finish(struct watcher *p, const char *how)
{
	end_waiting(p, how);
	loop_timer_set(p->watch->loop, &p->limit, LIMIT_WATCH_STALL_MS);
	settle(p);
}

/* The whole answer; `body` (may be NULL) is taken over. */
static void answer(struct watcher *p, int status, const char *lines, char *body,
                   const char *how)
{
	size_t len = body ? strlen(body) : 0;
	char length[48] = "";
	struct buf head;
	enum err e;

	p->status = status;
	if (body)
		snprintf(length, sizeof(length), "Content-Length: %zu\n", len);
	buf_init(&head, STREAM_HEAD_MAX);
	e = buf_addf(&head, "%s%s", lines, length);
	if (!e)
		e = stream_head(&p->out.stream, status, (struct span){ head.p, head.len });
	buf_done(&head);
	if (e || p->ticket.head) {
		free(body);
	} else {
		p->body = body;
		p->body_len = len;
		p->watch->held += len;
	}
	if (e)
		leave(p, "out of memory");
	else
		finish(p, how);
}

static void refuse(struct watcher *p, enum fault f, const char *text)
{
	const struct fault_row *row = fault_row(f);
	char *body = answer_error_body(FAMILY_PROBLEM, row->status, row->code,
	                               row->retryable, text);
	char lines[128];
	int n = snprintf(lines, sizeof(lines), "Content-Type: %s\n",
	                 answer_error_type(FAMILY_PROBLEM));

	if (row->retry_after_s)
		snprintf(lines + n, sizeof(lines) - (size_t)n, "Retry-After: %d\n",
		         row->retry_after_s);
	answer(p, row->status, lines, body, text);
}

/* --- the job as an answer ------------------------------------------------- */

static void answer_loaded(struct watcher *p, const struct job *job)
{
	const struct watch_ticket *t = &p->ticket;
	const struct conf *conf = p->watch->conf;
	struct job_view view = { .public_url = conf->public_url,
		                     .now_ms = clock_wall_ms(),
		                     .inline_max = conf->inline_max };
	bool moved = job->event_seq != t->since_seq;
	char shown[SHOW_LINES_SIZE], lines[512], *body;

	show_lines(job, shown);
	if (t->what == WATCH_MOVE && t->conditional && !moved) {
		answer(p, 304, shown, NULL, "not moved");
		return;
	}
	body = job_json(job, &view);
	if (!body) {
		refuse(p, FAULT_INTERNAL, "out of memory");
		return;
	}
	snprintf(lines, sizeof(lines), "%s%s%s%s%s%sContent-Type: application/json\n",
	         shown, t->submitted ? "Location: /jobs/" : "",
	         t->submitted ? t->id : "", t->submitted ? "\n" : "",
	         t->replayed ? "Idempotency-Replayed: true\n" : "",
	         t->preferred ? "Preference-Applied: wait\n" : "");
	answer(p, t->submitted && !job_state_terminal(job->state) ? 202 : 200, lines,
	       body, "answered");
}

/* Answer from the job as it is now; while clients have too much to take as it
 * is, at a later look. */
static enum err answer_job(struct watcher *p)
{
	struct watch *w = p->watch;
	struct job job;
	enum err e;

	if (w->held >= LIMIT_WATCH_HELD) {
		p->due = true;
		w->again = true;
		return ERR_OK;
	}
	e = show_look(w->db, p->ticket.id, w->conf->inline_max, &job);
	if (e)
		return e;
	answer_loaded(p, &job);
	job_done(&job);
	return ERR_OK;
}

/* --- the job's moves as events -------------------------------------------- */

static bool write_text(struct watcher *p, const char *text)
{
	if (!stream_write(&p->out.stream, text, strlen(text)))
		return true;
	leave(p, "out of memory");
	return false;
}

static const char *const ping[PING_PIECES] = { ":", " ping", "\n", "\n" };

/* No event stands in the middle of a comment. */
static bool end_ping(struct watcher *p)
{
	while (p->pings)
		if (!write_text(p, ping[PING_PIECES - p->pings--]))
			return false;
	return true;
}

/* The head, and how soon a client that lost us may ask again. */
static bool open_events(struct watcher *p)
{
	static const struct span lines =
	    SPAN_LIT("Content-Type: text/event-stream\nCache-Control: no-store\n");

	if (p->status)
		return true;
	p->status = 200;
	if (!stream_head(&p->out.stream, 200, lines))
		return p->ticket.head || write_text(p, "retry: 1000\n\n");
	leave(p, "out of memory");
	return false;
}

static bool write_event(struct watcher *p, const struct look_event *event)
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
	return end_ping(p) && write_text(p, text);
}

/* False: the client is behind, or gone, or all is said. */
static bool write_events(struct watcher *p, const struct look_event *events,
                         size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!write_event(p, &events[i]))
			return false;
		if (job_state_terminal(events[i].state)) {
			finish(p, "all events told");
			return false;
		}
	}
	settle(p);
	return !p->gone && stream_pending(&p->out.stream) <= OUT_HIGH;
}

/* All moves there are behind since_seq. */
static enum err say_events(struct watcher *p)
{
	struct look_event events[EVENTS_AT_ONCE];
	size_t count = EVENTS_AT_ONCE;

	while (count == EVENTS_AT_ONCE) {
		enum err e = look_events(p->watch->db, p->ticket.id, p->ticket.since_seq,
		                         events, EVENTS_AT_ONCE, &count);

		if (e)
			return e;
		if (!write_events(p, events, count))
			break;
	}
	return ERR_OK;
}

/* The job is not there any more, said in the way that is left. */
static void say_removed(struct watcher *p)
{
	char text[EVENT_SIZE];

	snprintf(text, sizeof(text), "event: job.removed\ndata: {\"id\":\"%s\"}\n\n",
	         p->ticket.id);
	if (end_ping(p) && write_text(p, text))
		finish(p, "job removed");
}

/* --- looking -------------------------------------------------------------- */

static enum err look_for_events(struct watcher *p, const struct look_step *at)
{
	struct watch_ticket *t = &p->ticket;
	enum err e = ERR_OK;

	if (t->since_seq > at->event_seq)
		t->since_seq = at->event_seq;
	if (!p->status && job_state_terminal(at->state) &&
	    t->since_seq == at->event_seq) {
		answer(p, 204, "Cache-Control: no-store\n", NULL, "nothing follows");
		return ERR_OK;
	}
	if (!open_events(p))
		return ERR_OK;
	if (t->head) {
		finish(p, "head told");
		return ERR_OK;
	}
	if (t->since_seq < at->event_seq)
		e = say_events(p);
	if (!e && p->due && !p->gone && !p->ending)
		finish(p, "stopped");
	settle(p);
	return e;
}

static enum err look_and_act(struct watcher *p)
{
	const struct watch_ticket *t = &p->ticket;
	struct look_step at;
	enum err e = look_step(p->watch->db, t->id, &at);

	if (e)
		return e;
	if (t->what == WATCH_EVENTS)
		return look_for_events(p, &at);
	if (p->due || job_state_terminal(at.state) ||
	    (t->what == WATCH_MOVE && at.event_seq != t->since_seq))
		return answer_job(p);
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
static void look_failed(struct watcher *p, enum err e)
{
	bool removed = e == ERR_NOENT || e == ERR_DENIED;
	const char *text;
	enum fault f = show_fault(e, &text);

	if (!removed && !p->due) {
		p->watch->trouble = e;
		p->watch->again = true;
	} else if (!p->status) {
		refuse(p, f, text);
	} else if (removed) {
		say_removed(p);
	} else {
		finish(p, "stopped");
	}
}

/* Does it have what it waits for? */
static void look(struct watcher *p)
{
	enum err e;

	if (p->turned_away && p->ticket.what == WATCH_EVENTS) {
		refuse(p, FAULT_BUSY, "too many clients watch jobs, please try again");
		return;
	}
	e = open_reader(p->watch);
	if (!e)
		e = look_and_act(p);
	if (e && !p->gone && !p->ending)
		look_failed(p, e);
}

static void look_at_all(struct watch *w)
{
	for (struct watcher *p = w->watchers, *next; p; p = next) {
		next = p->next;
		if (!p->ending)
			look(p);
	}
}

/* Trouble with the database is told when it begins and when it is over. */
static void tell_trouble(struct watch *w)
{
	if (w->trouble && !w->blind)
		log_event(LOG_WARN, "cannot look at jobs that clients wait for",
		          KV_S("reason", err_name(w->trouble)),
		          KV_I("waiting", w->waiting));
	else if (!w->trouble && w->blind)
		log_event(LOG_INFO, "jobs can be looked at again",
		          KV_I("waiting", w->waiting));
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
	if (w->waiting)
		loop_timer_set(w->loop, &w->tick, LIMIT_WATCH_MS);
}

/* --- one watcher's own events --------------------------------------------- */

static void on_out(void *arg, uint32_t events)
{
	struct watcher *p = arg;

	if (events & ~(uint32_t)EPOLLOUT) {
		client_left(p);
		return;
	}
	if (p->ending)
		loop_timer_set(p->watch->loop, &p->limit, LIMIT_WATCH_STALL_MS);
	settle(p);
	if (!p->gone && !p->ending)
		look(p); /* there may be events it had no room for */
}

static void on_limit(void *arg)
{
	struct watcher *p = arg;

	if (p->ending) {
		leave(p, "not taken");
		return;
	}
	p->due = true;
	look(p);
}

/* One piece of a ping; a client that has not taken the last one yet gets no
 * other. */
static void on_beat(void *arg)
{
	struct watcher *p = arg;
	struct watch *w = p->watch;

	if (!p->pings && !stream_pending(&p->out.stream))
		p->pings = PING_PIECES;
	if (p->pings && !write_text(p, ping[PING_PIECES - p->pings--]))
		return;
	loop_timer_set(w->loop, &p->beat,
	               p->pings ? LIMIT_HEARTBEAT_GAP_MS : w->conf->keepalive_ms);
	settle(p);
}

/* --- coming in ------------------------------------------------------------ */

static void start_timers(struct watcher *p)
{
	struct watch *w = p->watch;

	if (p->ticket.what != WATCH_EVENTS)
		loop_timer_set(w->loop, &p->limit, p->ticket.wait_ms);
	else if (w->conf->keepalive_ms)
		loop_timer_set(w->loop, &p->beat, w->conf->keepalive_ms);
	if (!w->tick.armed)
		loop_timer_set(w->loop, &w->tick, LIMIT_WATCH_MS);
}

static void enter(struct watch *w, const struct watch_ticket *ticket)
{
	struct watcher *p = calloc(1, sizeof(*p));
	int fd = ticket->fd;

	if (!p) {
		fd_close(&fd);
		return;
	}
	if (outlet_open(&p->out, w->loop, fd, ticket->fcgi_id, OUT_MAX, on_out, p)) {
		free(p);
		return;
	}
	p->watch = w;
	p->ticket = *ticket;
	p->turned_away = w->waiting >= LIMIT_WATCHERS;
	p->due = p->turned_away || w->dismissed ||
	         (ticket->what != WATCH_EVENTS && ticket->wait_ms <= 0);
	loop_timer_init(&p->limit, on_limit, p);
	loop_timer_init(&p->beat, on_beat, p);
	p->next = w->watchers;
	if (p->next)
		p->next->prev = p;
	w->watchers = p;
	w->here++;
	w->waiting++;
	look(p);
	if (!p->gone && !p->ending)
		start_timers(p);
}

static void on_drained(void *arg)
{
	struct watch *w = arg;

	w->dismissed = true;
	for (struct watcher *p = w->watchers; p; p = p->next)
		p->due = true;
	look_at_all(w);
}

static void on_wake(void *arg, uint32_t events)
{
	struct watch *w = arg;
	struct parked *parked;
	eventfd_t waste;
	int64_t drain;

	(void)events;
	(void)!eventfd_read(w->wake, &waste);
	pthread_mutex_lock(&w->lock);
	parked = w->inbox;
	drain = w->drain_mono_ms;
	w->inbox = NULL;
	w->drain_mono_ms = 0;
	w->leaving = w->closed;
	pthread_mutex_unlock(&w->lock);
	if (drain)
		loop_timer_set(w->loop, &w->drain_timer, drain - loop_now_ms(w->loop));
	while (parked) {
		struct parked *next = parked->next;

		enter(w, &parked->ticket);
		free(parked);
		parked = next;
	}
}

/* --- the thread, made and unmade ------------------------------------------ */

static void *loop_main(void *arg)
{
	struct watch *w = arg;
	enum err e = ERR_OK;

	while (!e && !(w->leaving && !w->here)) {
		e = loop_turn(w->loop, -1, NULL);
		sweep(w);
		atomic_store(&w->count, w->here);
	}
	if (e)
		log_event(LOG_ERROR, "watching jobs failed", KV_S("reason", err_name(e)));
	while (w->watchers)
		leave(w->watchers, "watching failed");
	sweep(w);
	loop_timer_stop(&w->tick);
	loop_timer_stop(&w->drain_timer);
	loop_fd_del(w->wake_watch);
	(void)!eventfd_write(w->ended, 1);
	return NULL;
}

static void release(struct watch *w)
{
	while (w->inbox) {
		struct parked *p = w->inbox;

		w->inbox = p->next;
		fd_close(&p->ticket.fd);
		free(p);
	}
	db_close(w->db);
	loop_free(w->loop);
	fd_close(&w->wake);
	fd_close(&w->ended);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static enum err start(struct watch *w)
{
	enum err e = w->wake < 0 || w->ended < 0 ? ERR_IO : loop_new(&w->loop);

	if (!e)
		e = loop_fd_add(w->loop, w->wake, EPOLLIN, on_wake, w, &w->wake_watch);
	if (e)
		return e;
	loop_timer_init(&w->tick, on_tick, w);
	loop_timer_init(&w->drain_timer, on_drained, w);
	if (pthread_create(&w->thread, NULL, loop_main, w)) {
		loop_fd_del(w->wake_watch);
		return ERR_NOMEM;
	}
	(void)pthread_setname_np(w->thread, "foreman-watch"); /* for top -H */
	return ERR_OK;
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
	pthread_mutex_init(&w->lock, NULL);
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e = start(w);
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
	pthread_join(w->thread, NULL);
	release(w);
}
