/*
 * watcher.c - one client that waits for a job to move, and all it is told.
 *
 * A watcher owns its connection and the answer on its way into it. Every way
 * out of the list goes through watcher_leave; every last word through
 * watcher_finish.
 * Bounds: OUT_MAX bytes on their way into a connection. What stands in `body`
 * is counted in `held`, which the watch keeps in bounds.
 */
#include <config.h>

#include "responder/watcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/buf.h"
#include "base/fd.h"
#include "core/limits.h"
#include "responder/tally.h"

#define PIECE (32 * 1024) /* bytes of a body queued at once */
#define OUT_HIGH PIECE    /* bytes pending: queue no more */
#define OUT_MAX (OUT_HIGH + 2 * PIECE)
/* A ping is so many writes, like a keepalive of the lot: one alone would tell
 * nobody who left. */
#define PING_PIECES 4

static const char *const ping[PING_PIECES] = { ":", " ping", "\n", "\n" };

/* --- leaving -------------------------------------------------------------- */

bool watcher_waits(const struct watcher *p)
{
	return !p->ending && !p->on_roll.gone;
}

/* What is left is to be taken and closed. */
static void end_waiting(struct watcher *p, const char *how)
{
	if (p->ending)
		return;
	p->ending = true;
	p->how = how;
	p->all->waiting--;
	loop_timer_stop(&p->limit);
	loop_timer_stop(&p->beat);
}

/* The memory stays until the turn is over. */
void watcher_leave(struct watcher *p, const char *how)
{
	if (!roll_leave(&p->all->roll, &p->on_roll))
		return;
	end_waiting(p, how);
	loop_timer_stop(&p->limit);
	outlet_close(&p->out);
	p->all->held -= p->body_len;
	free(p->body);
	trail_close(&p->ticket.trail, &(struct trail_end){ .status = p->status,
	                                                   .job = p->ticket.id,
	                                                   .how = p->how });
}

/* It was the client who ended it. */
static void client_left(struct watcher *p)
{
	if (!p->ending)
		tally_add(p->status ? TALLY_LEFT_READING : TALLY_LEFT_WAITING);
	watcher_leave(p, "client left");
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

bool watcher_settle(struct watcher *p)
{
	enum err e = ERR_OK;
	bool all_queued = false;

	while (!p->on_roll.gone && !e && !all_queued) {
		if (!feed(p)) {
			watcher_leave(p, "out of memory");
			break;
		}
		e = outlet_flush(&p->out, &p->limit);
		if (e && e != ERR_AGAIN)
			client_left(p);
		all_queued = p->at == p->body_len;
	}
	return watcher_waits(p) && stream_pending(&p->out.stream) <= OUT_HIGH;
}

void watcher_finish(struct watcher *p, const char *how)
{
	end_waiting(p, how);
	loop_timer_set(p->all->loop, &p->limit, LIMIT_WATCH_STALL_MS);
	watcher_settle(p);
}

static bool write_text(struct watcher *p, const char *text)
{
	if (!stream_write(&p->out.stream, text, strlen(text)))
		return true;
	watcher_leave(p, "out of memory");
	return false;
}

/* --- answers -------------------------------------------------------------- */

void watcher_answer(struct watcher *p, int status, const char *lines, char *body,
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
		p->all->held += len;
	}
	if (e)
		watcher_leave(p, "out of memory");
	else
		watcher_finish(p, how);
}

void watcher_refuse(struct watcher *p, enum fault f, const char *text)
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
	watcher_answer(p, row->status, lines, body, text);
}

/* --- events --------------------------------------------------------------- */

void watcher_open_events(struct watcher *p)
{
	static const struct span lines =
	    SPAN_LIT("Content-Type: text/event-stream\nCache-Control: no-store\n");

	if (p->status)
		return;
	p->status = 200;
	if (stream_head(&p->out.stream, 200, lines))
		watcher_leave(p, "out of memory");
	else if (!p->ticket.head)
		write_text(p, "retry: 1000\n\n");
}

/* The next piece of the ping that was begun. */
static bool ping_on(struct watcher *p)
{
	return write_text(p, ping[PING_PIECES - p->pings--]);
}

void watcher_event(struct watcher *p, const char *text)
{
	while (p->pings)
		if (!ping_on(p))
			return;
	write_text(p, text);
}

/* A client that has not taken the last piece yet gets no new ping. */
static void on_beat(void *arg)
{
	struct watcher *p = arg;

	if (!p->pings && !stream_pending(&p->out.stream))
		p->pings = PING_PIECES;
	if (p->pings && !ping_on(p))
		return;
	loop_timer_set(p->all->loop, &p->beat,
	               p->pings ? LIMIT_HEARTBEAT_GAP_MS : p->all->conf->keepalive_ms);
	watcher_settle(p);
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
		loop_timer_set(p->all->loop, &p->limit, LIMIT_WATCH_STALL_MS);
	watcher_settle(p);
	if (watcher_waits(p))
		p->all->look(p->all->arg, p); /* there may be events it had no room for */
}

static void on_limit(void *arg)
{
	struct watcher *p = arg;

	if (p->ending) {
		watcher_leave(p, "not taken");
		return;
	}
	p->due = true;
	p->all->look(p->all->arg, p);
}

/* --- coming in ------------------------------------------------------------ */

struct watcher *watcher_enter(struct watchers *all,
                              const struct watch_ticket *ticket, bool due)
{
	struct watcher *p = calloc(1, sizeof(*p));
	int fd = ticket->fd;

	if (!p) {
		fd_close(&fd);
		trail_drop(&ticket->trail, ticket->id);
		return NULL;
	}
	if (outlet_open(&p->out, all->loop, fd, ticket->fcgi_id, OUT_MAX, on_out, p)) {
		trail_drop(&ticket->trail, ticket->id);
		free(p);
		return NULL;
	}
	p->all = all;
	p->ticket = *ticket;
	p->due = due;
	loop_timer_init(&p->limit, on_limit, p);
	loop_timer_init(&p->beat, on_beat, p);
	roll_add(&all->roll, &p->on_roll);
	all->waiting++;
	return p;
}

void watcher_wait(struct watcher *p)
{
	struct watchers *all = p->all;

	if (p->ticket.what != WATCH_EVENTS)
		loop_timer_set(all->loop, &p->limit, p->ticket.wait_ms);
	else if (all->conf->keepalive_ms)
		loop_timer_set(all->loop, &p->beat, all->conf->keepalive_ms);
}
