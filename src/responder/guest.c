/*
 * guest.c - what a parked client is told, and when it is let go.
 *
 * One guest owns its FastCGI connection (`out`) and its connection to the
 * worker (`relay`). Every way out goes through finish (an end was said) or
 * leave (the client went); a waiting job whose client went is cancelled by
 * closing the relay connection, or in the database when there is none. A reader
 * of somebody else's job (GET /jobs/{id}/stream) cancels nothing, and does not
 * end here: the shelf, which asks the database, says how the job ended.
 * Bounds: at most OUT_MAX bytes wait for a slow client; above OUT_HIGH the
 * relay is not read; `in` holds less than one frame and one read.
 */
#include <config.h>

#include "responder/guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "core/header.h"
#include "responder/answer.h"
#include "responder/coda.h"
#include "responder/outlet.h"
#include "responder/relay.h"
#include "responder/tally.h"

#define OUT_HIGH LIMIT_FRAME       /* bytes pending: stop reading the relay */
#define OUT_MAX (4 * LIMIT_FRAME)  /* OUT_HIGH, a frame in lines, and margin */
#define BEATS 4                    /* writes in one keepalive; see the facts
                                      about when Caddy notices who left */
#define NDJSON "application/x-ndjson"
#define EVENTS "text/event-stream"

enum phase { WAITING, STREAMING, ENDING };

struct guest {
	struct rolled on_roll; /* the yard's */
	struct yard *yard;
	char id[ULID_SIZE];
	enum family family;
	enum phase phase;
	bool ndjson;       /* the answer is lines */
	bool doubtful;     /* no keepalive */
	bool reader;       /* of a job that is not its own; the head is out */
	bool committed;    /* a keepalive has said 200 before the target spoke */
	bool failing;      /* committed, and the target's answer is an error */
	bool length_told;  /* Content-Length is out: an early end shows by itself */
	struct coda coda;  /* the end of the answer; .events: it is such */
	bool answered;     /* some byte of the answer is out */
	bool greeted;      /* the worker has said HELLO */
	bool handed_over;  /* its request goes on elsewhere */
	struct trail trail;
	int status;        /* what the client was told; 0 nothing yet */
	int beats;         /* writes left of this keepalive */
	int relay;         /* -1: not connected */
	const char *how;   /* it ended, for the log */
	struct outlet out;
	struct buf in;     /* undecoded bytes of the relay */
	struct loop_fd *relay_watch; /* NULL: not read now */
	struct loop_timer beat;
	struct loop_timer limit; /* of waiting; then of ENDING */
};

/* --- leaving -------------------------------------------------------------- */

static void drop_relay(struct guest *g)
{
	loop_fd_del(g->relay_watch);
	g->relay_watch = NULL;
	fd_close(&g->relay);
	buf_done(&g->in);
	g->greeted = false;
}

/* The job is not wanted any more. Who runs it sees the connection close; when
 * there is none, the database is told. */
static void abandon(struct guest *g)
{
	if (g->relay < 0 && g->phase == WAITING && !g->reader)
		g->yard->cancel(g->yard->cancel_arg, g->id);
	drop_relay(g);
}

/* Out of the yard. The memory stays until the turn is over. */
static void leave(struct guest *g, const char *how)
{
	if (!roll_leave(&g->yard->guests, &g->on_roll))
		return;
	if (g->phase != ENDING) {
		abandon(g);
		g->how = how;
	}
	loop_timer_stop(&g->beat);
	loop_timer_stop(&g->limit);
	outlet_close(&g->out);
	if (!g->handed_over)
		trail_close(&g->trail, &(struct trail_end){ .status = g->status,
		                                            .job = g->id,
		                                            .how = g->how });
}

/* It was the client who ended it. */
static void client_left(struct guest *g)
{
	if (g->phase != ENDING)
		tally_add(g->phase == WAITING ? TALLY_LEFT_WAITING : TALLY_LEFT_READING);
	leave(g, g->phase == WAITING ? "client left the line" : "client left");
}

/* --- writing -------------------------------------------------------------- */

static bool room(const struct guest *g)
{
	return stream_pending(&g->out.stream) <= OUT_HIGH;
}

static void on_relay(void *arg, uint32_t events);

/* Read the relay exactly while the client takes what it brings. A watch with
 * no events would still fire when the worker has closed. */
static void watch_relay(struct guest *g)
{
	bool wanted = g->relay >= 0 && g->phase != ENDING && room(g);

	if (wanted && !g->relay_watch) {
		if (loop_fd_add(g->yard->loop, g->relay, EPOLLIN, on_relay, g,
		                &g->relay_watch))
			leave(g, "out of memory");
	} else if (!wanted && g->relay_watch) {
		loop_fd_del(g->relay_watch);
		g->relay_watch = NULL;
	}
}

/* Hand over what is pending and ask for the events that matter from here. */
static void settle(struct guest *g)
{
	enum err e;

	if (g->on_roll.gone)
		return;
	e = outlet_flush(&g->out, &g->limit);
	if (e && e != ERR_AGAIN)
		client_left(g);
	else
		watch_relay(g);
}

/* A write that must succeed: the bounds leave room, so it is memory that
 * lacks. False: the guest is gone. */
static bool write_or_leave(struct guest *g, const void *p, size_t len)
{
	if (stream_write(&g->out.stream, p, len)) {
		leave(g, "out of memory");
		return false;
	}
	return true;
}

/* Nothing more will be said. */
static void finish(struct guest *g, const char *how)
{
	drop_relay(g);
	loop_timer_stop(&g->beat);
	loop_timer_stop(&g->limit);
	g->phase = ENDING;
	g->how = how;
	if (stream_end(&g->out.stream))
		leave(g, how);
	settle(g);
}

/* --- errors of our own ---------------------------------------------------- */

static bool write_text(struct guest *g, const char *text)
{
	return write_or_leave(g, text, strlen(text));
}

static bool say_error_line(struct guest *g, int status, const char *text)
{
	char *body = answer_error_body(g->family, status, NULL, status >= 500, text);
	bool ok = body && !coda_say(&g->coda, &g->out.stream, g->family, body);

	free(body);
	if (!ok)
		leave(g, "out of memory");
	return ok;
}

static bool say_error_reply(struct guest *g, int status, const char *text)
{
	char *body = answer_error_body(g->family, status, NULL, status >= 500, text);
	char headers[256];
	bool ok;

	if (!body)
		return false;
	snprintf(headers, sizeof(headers),
	         "Content-Type: %s\nContent-Length: %zu\n%sForeman-Job-Id: %s\n",
	         answer_error_type(g->family), strlen(body),
	         status == 503 || status == 429 ? "Retry-After: 5\n" : "", g->id);
	g->status = status;
	ok = !stream_head(&g->out.stream, status, span_of(headers)) &&
	     write_or_leave(g, body, strlen(body));
	free(body);
	return ok;
}

/* No byte of an answer is out: a status and a text, or, behind a keepalive, a
 * line. Ends the guest. */
static void refuse(struct guest *g, int status, const char *text, const char *how)
{
	bool ok;

	if (g->committed)
		ok = say_error_line(g, status, text);
	else
		ok = say_error_reply(g, status, text);
	if (ok)
		finish(g, how);
	else
		leave(g, how);
}

/* The answer has begun and cannot go on. Ends the guest. */
static void break_off(struct guest *g, const char *text, const char *how)
{
	if (g->length_told || say_error_line(g, 502, text))
		finish(g, how);
	else
		leave(g, how);
}

/* A reader's stream goes on, or ends, from the shelf. */
static void hand_over(struct guest *g, enum shelf_what what)
{
	struct shelf_order order = { .what = what,
		                         .coda = g->coda,
		                         .trail = g->trail };

	str_copy(order.id, sizeof(order.id), g->id);
	drop_relay(g);
	g->handed_over = true;
	shelf_take(g->yard->shelf, &g->out, &order);
	leave(g, "handed over");
}

/* Foreman's own decision against a guest that waits or reads. */
static void put_out(struct guest *g, int status, const char *text, const char *how)
{
	abandon(g);
	if (g->phase == WAITING)
		refuse(g, status, text, how);
	else if (g->phase == STREAMING)
		break_off(g, text, how);
}

/* --- what the worker says ------------------------------------------------- */

static bool is_type(struct span type, const char *wanted)
{
	return type.len >= strlen(wanted) &&
	       span_eq_nocase((struct span){ type.p, strlen(wanted) }, wanted);
}

static enum err say_head(struct guest *g, const struct frame *f)
{
	struct span type = header_find(f->data, "Content-Type");
	struct buf head;
	enum err e;

	g->ndjson = is_type(type, NDJSON);
	g->coda.events = is_type(type, EVENTS);
	g->length_told = header_find(f->data, "Content-Length").p != NULL;
	buf_init(&head, STREAM_HEAD_MAX);
	e = buf_addf(&head,
	             "Foreman-Job-Id: %s\n"
	             "Server-Timing: queue;dur=%u, load;dur=%u\n",
	             g->id, f->queue_ms, f->load_ms);
	if (!e && f->data.len)
		e = buf_add(&head, f->data.p, f->data.len);
	if (!e)
		e = stream_head(&g->out.stream, f->status, (struct span){ head.p, head.len });
	buf_done(&head);
	return e;
}

static void take_head(struct guest *g, const struct frame *f)
{
	loop_timer_stop(&g->beat);
	loop_timer_stop(&g->limit);
	if (g->committed) {
		g->failing = f->status >= 400;
		g->phase = STREAMING;
		return;
	}
	if (say_head(g, f)) {
		put_out(g, 502, "foreman: the target's headers cannot be passed on",
		        "bad headers");
		return;
	}
	g->status = f->status;
	g->phase = STREAMING;
}

/* An error's body behind a committed 200 is one line, whatever it was; among
 * events it is one of them. */
static void join_lines(struct yard *y, struct span data)
{
	char *p = y->scratch + (data.p - y->scratch);

	for (size_t i = 0; i < data.len; i++)
		if (p[i] == '\n' || p[i] == '\r')
			p[i] = ' ';
}

static void take_bytes(struct guest *g, struct span data)
{
	/* of an error a reader is told by the shelf */
	if (!data.len || (g->reader && g->failing))
		return;
	if (g->failing) {
		join_lines(g->yard, data);
		if (g->coda.events && !g->answered &&
		    !write_text(g, answer_event_prefix(g->family)))
			return;
	}
	coda_note(&g->coda, data);
	g->answered = true;
	while (data.len) {
		/* a line a record, for a client that keeps up */
		bool cut = g->ndjson && stream_pending(&g->out.stream) <= 2 * OUT_HIGH;
		const char *end = cut ? memchr(data.p, '\n', data.len) : NULL;
		size_t n = end ? (size_t)(end - data.p) + 1 : data.len;

		if (!write_or_leave(g, data.p, n))
			return;
		data.p += n;
		data.len -= n;
	}
}

static void take_clean_end(struct guest *g)
{
	if (g->phase == WAITING) {
		refuse(g, 502, "foreman: the target gave no answer", "no answer");
		return;
	}
	if (g->failing && !g->answered &&
	    !say_error_line(g, 502, "foreman: the target answered with an error"))
		return;
	if (g->failing && coda_close(&g->coda, &g->out.stream))
		leave(g, "out of memory");
	else
		finish(g, "answered");
}

static void say_end(struct guest *g, const struct frame *f)
{
	char text[LIMIT_ERROR_TEXT + 1];
	int n = f->data.len < LIMIT_ERROR_TEXT ? (int)f->data.len : LIMIT_ERROR_TEXT;
	int status = f->status >= 400 && f->status <= 599 ? f->status : 502;

	if (f->end == FRAME_END_CLEAN) {
		take_clean_end(g);
		return;
	}
	if (n)
		snprintf(text, sizeof(text), "%.*s", n, f->data.p);
	else
		str_copy(text, sizeof(text), "foreman: the answer broke off");
	if (g->phase == WAITING)
		refuse(g, status, text, "refused");
	else
		break_off(g, text, "broken off");
}

static void take_end(struct guest *g, const struct frame *f)
{
	if (g->reader)
		hand_over(g, g->answered ? SHELF_TAIL : SHELF_REPLAY);
	else
		say_end(g, f);
}

static void wait_again(struct guest *g)
{
	struct yard *y = g->yard;

	g->phase = WAITING;
	g->failing = false;
	if (!y->retry.armed)
		loop_timer_set(y->loop, &y->retry, LIMIT_RELAY_RETRY_MS);
	if (y->conf->keepalive_ms && !g->doubtful && !g->beat.armed)
		loop_timer_set(y->loop, &g->beat, y->conf->keepalive_ms);
}

/*
 * The connection to the worker is of no use any more. Who has seen nothing of
 * an answer waits on and is attached again; who has seen a part is told.
 */
static void lose_relay(struct guest *g)
{
	drop_relay(g);
	if (g->phase == WAITING || (g->reader && !g->answered))
		wait_again(g);
	else if (g->reader)
		hand_over(g, SHELF_CUT);
	else if (g->phase == STREAMING)
		break_off(g, "foreman: the worker went away", "worker lost");
}

/* False: what came is not what a worker of our build says. */
static bool take_frame(struct guest *g, const struct frame *f)
{
	if (!g->greeted) {
		g->greeted = f->type == FRAME_HELLO && f->version == FRAME_VERSION;
		return g->greeted;
	}
	switch (f->type) {
	case FRAME_HEAD:
		if (g->phase != WAITING)
			return false;
		take_head(g, f);
		return true;
	case FRAME_BYTES:
		if (g->phase != STREAMING)
			return false;
		take_bytes(g, f->data);
		return true;
	case FRAME_END:
		take_end(g, f);
		return true;
	default:
		return false;
	}
}

static enum err keep(struct guest *g, const char *p, size_t len)
{
	buf_clear(&g->in);
	if (len)
		return buf_add(&g->in, p, len);
	buf_done(&g->in); /* who waits holds no memory for it */
	return ERR_OK;
}

/*
 * Decode the first `len` bytes of the scratch as far as the client takes them;
 * keep the rest in `in`. The relay may be lost, or the guest gone, after it.
 */
static void take_scratch(struct guest *g, size_t len)
{
	const char *p = g->yard->scratch;
	size_t at = 0, used;
	struct frame f;
	enum err e = ERR_OK;

	while (!e && g->relay >= 0) {
		if (!room(g)) {
			settle(g);
			if (g->on_roll.gone || !room(g))
				break;
		}
		e = frame_decode((struct span){ p + at, len - at }, &f, &used);
		if (e)
			break;
		at += used;
		if (!take_frame(g, &f))
			e = ERR_INVAL;
	}
	if (e == ERR_AGAIN)
		e = ERR_OK;
	if (g->relay >= 0 && !e)
		e = keep(g, p + at, len - at);
	if (g->relay >= 0 && e)
		lose_relay(g);
	settle(g);
}

static size_t load_scratch(struct guest *g)
{
	if (g->in.len)
		memcpy(g->yard->scratch, g->in.p, g->in.len);
	return g->in.len;
}

static void on_relay(void *arg, uint32_t events)
{
	struct guest *g = arg;
	size_t have = load_scratch(g);
	ssize_t n = recv(g->relay, g->yard->scratch + have,
	                 GUEST_SCRATCH - have, MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		take_scratch(g, have + (size_t)n);
	} else {
		lose_relay(g);
		settle(g);
	}
}

/* --- events of the client ------------------------------------------------- */

/* The request was read in full: whatever comes now is its end. */
static void on_out(void *arg, uint32_t events)
{
	struct guest *g = arg;

	if (events & ~(uint32_t)EPOLLOUT) {
		client_left(g);
		return;
	}
	settle(g);
	if (!g->on_roll.gone && g->relay >= 0 && g->in.len && room(g))
		take_scratch(g, load_scratch(g));
}

static bool commit(struct guest *g)
{
	const char *type = g->ndjson   ? NDJSON
	                   : g->coda.events ? EVENTS
	                               : "application/json; charset=utf-8";
	char headers[256];

	snprintf(headers, sizeof(headers), "Content-Type: %s\n%sForeman-Job-Id: %s\n",
	         type, g->reader ? LOT_STREAM_LINES : "", g->id);
	if (stream_head(&g->out.stream, 200, span_of(headers)))
		return false;
	g->committed = true;
	g->status = 200;
	return true;
}

/* One write of a keepalive: a space, or, where that would spoil the first
 * event, a comment. A client that has not taken the last one yet gets no
 * other. */
static void on_beat(void *arg)
{
	struct guest *g = arg;
	struct yard *y = g->yard;

	bool behind = stream_pending(&g->out.stream) > 0;

	if (!g->beats)
		g->beats = BEATS;
	g->beats--;
	loop_timer_set(y->loop, &g->beat,
	               g->beats ? LIMIT_HEARTBEAT_GAP_MS : y->conf->keepalive_ms);
	if (!g->committed && !commit(g))
		leave(g, "out of memory");
	else if (!behind)
		(void)write_text(g, g->coda.events ? ":\n\n" : " ");
	settle(g);
}

static void on_limit(void *arg)
{
	struct guest *g = arg;

	if (g->phase == ENDING)
		leave(g, "not closed");
	else
		put_out(g, 503, "foreman: waited in line for too long", "waited too long");
}

/* --- the yard ------------------------------------------------------------- */

/* Connect those who wait without a relay; the first that fails tells that
 * nobody is there yet. */
static void on_retry(void *arg)
{
	struct yard *y = arg;

	for (struct rolled *r = y->guests.first, *next; r; r = next) {
		struct guest *g = (struct guest *)r;

		next = r->next;
		if (g->relay >= 0 || g->phase != WAITING)
			continue;
		if (relay_attach(y->conf->relay, g->id,
		                 g->reader ? FRAME_READER : FRAME_OWNER, &g->relay)) {
			loop_timer_set(y->loop, &y->retry, LIMIT_RELAY_RETRY_MS);
			return;
		}
		watch_relay(g);
	}
}

enum err yard_init(struct yard *y, struct loop *loop, const struct lot_conf *conf)
{
	*y = (struct yard){ .loop = loop, .conf = conf };
	y->scratch = malloc(GUEST_SCRATCH);
	if (!y->scratch)
		return ERR_NOMEM;
	loop_timer_init(&y->retry, on_retry, y);
	return ERR_OK;
}

void yard_done(struct yard *y)
{
	loop_timer_stop(&y->retry);
	yard_sweep(y);
	free(y->scratch);
}

void yard_sweep(struct yard *y)
{
	roll_sweep(&y->guests);
}

void yard_dismiss(struct yard *y)
{
	for (struct rolled *r = y->guests.first, *next; r; r = next) {
		struct guest *g = (struct guest *)r;

		next = r->next;
		put_out(g, 503, "foreman: is stopping, please try again", "stopped");
	}
}

static void start_timers(struct guest *g)
{
	struct yard *y = g->yard;

	if (y->conf->keepalive_ms && !g->doubtful)
		loop_timer_set(y->loop, &g->beat, y->conf->keepalive_ms);
	if (y->conf->max_wait_ms && !g->reader)
		loop_timer_set(y->loop, &g->limit, y->conf->max_wait_ms);
	if (g->relay < 0 && !y->retry.armed)
		loop_timer_set(y->loop, &y->retry, LIMIT_RELAY_RETRY_MS);
}

/* In the yard, its connection open. */
static void admit(struct yard *y, struct guest *g, const struct lot_ticket *ticket)
{
	g->yard = y;
	g->relay = ticket->relay;
	g->family = ticket->family;
	g->ndjson = ticket->ndjson;
	g->coda.events = ticket->events;
	g->doubtful = ticket->doubtful;
	g->reader = ticket->reader;
	g->trail = ticket->trail;
	str_copy(g->id, sizeof(g->id), ticket->id);
	buf_init(&g->in, GUEST_SCRATCH);
	loop_timer_init(&g->beat, on_beat, g);
	loop_timer_init(&g->limit, on_limit, g);
	roll_add(&y->guests, &g->on_roll);
	start_timers(g);
}

void yard_enter(struct yard *y, const struct lot_ticket *ticket)
{
	struct guest *g = calloc(1, sizeof(*g));
	int fd = ticket->fd, relay = ticket->relay;

	if (!g) {
		fd_close(&fd);
		fd_close(&relay);
		trail_drop(&ticket->trail, ticket->id);
		return;
	}
	if (outlet_open(&g->out, y->loop, fd, ticket->fcgi_id, OUT_MAX, on_out, g)) {
		fd_close(&relay);
		trail_drop(&ticket->trail, ticket->id);
		free(g);
		return;
	}
	admit(y, g, ticket);
	if (!g->reader)
		watch_relay(g);
	else if (commit(g))
		settle(g);
	else
		leave(g, "out of memory");
}

void yard_follow(struct yard *y, struct outlet *from,
                 const struct lot_ticket *ticket)
{
	struct guest *g = calloc(1, sizeof(*g));

	if (!g) {
		outlet_close(from);
		*from = (struct outlet){ .stream.fd = -1 };
		trail_drop(&ticket->trail, ticket->id);
		return;
	}
	if (outlet_move(&g->out, from, on_out, g)) {
		trail_drop(&ticket->trail, ticket->id);
		free(g);
		return;
	}
	admit(y, g, ticket);
	g->committed = true;
	g->status = 200;
	settle(g);
}
