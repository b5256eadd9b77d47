/*
 * serve.c - a responder child: threads that accept and answer.
 *
 * Each thread waits on an epoll of its own for {the shared listening socket,
 * exclusively; the stop event}, so that a connection wakes one of them, and
 * does one request at a time with blocking code. The first thread only reads
 * signals and counts who has ended. Nothing here outlives a request but what
 * stands in `struct seat`, the parking lot and the watch.
 */
#include <config.h>

#include "responder/serve.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sig.h"
#include "http/guard.h"
#include "responder/answer.h"
#include "responder/health.h"
#include "responder/lot.h"
#include "responder/route.h"
#include "responder/watch.h"
#include "store/group.h"

#define STACK (256 * 1024)   /* libcurl and SQLite need some 13 KB, cJSON at
                                JSON_DEPTH_MAX as much again */
#define BREATHER_MS 50       /* when accepting fails for want of descriptors */

struct serve {
	const struct conf *conf;
	struct service service;
	int listen_fd;
	int stop;                /* an eventfd: accept no more */
	int ended;               /* an eventfd: counts threads that have ended */
	struct chair *chairs;
	size_t count;            /* threads running */
};

struct chair {               /* a thread and its seat */
	struct serve *serve;
	pthread_t thread;
	struct seat seat;
};

/* --- a request ------------------------------------------------------------ */

void serve_request(struct seat *seat, struct fcgx *req)
{
	struct call c = { .seat = seat, .req = req };
	const char *method = fcgx_param(req, "REQUEST_METHOD");
	char name[16];
	struct span rest = span_of(fcgx_param(req, "REQUEST_URI"));

	str_copy(name, sizeof(name), method ? method : "");
	c.method = name;
	span_cut(&rest, '?', &c.path); /* without a URI both stay absent */
	c.query = rest;
	trail_begin(&c.trail, call_header(&c, "HTTP_X_REQUEST_ID"),
	            call_header(&c, "HTTP_TRACEPARENT"));
	route_call(&c);
	if (c.req) /* else somebody else will tell of it */
		call_end(&c);
	seat_tidy(seat);
}

/* --- a thread ------------------------------------------------------------- */

static enum err watch(const struct serve *s, int *out)
{
	struct epoll_event listening = { .events = EPOLLIN | EPOLLEXCLUSIVE,
		                             .data.fd = s->listen_fd };
	struct epoll_event stopping = { .events = EPOLLIN, .data.fd = s->stop };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0)
		return ERR_IO;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, s->listen_fd, &listening) ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, s->stop, &stopping)) {
		fd_close(&epoll);
		return ERR_IO;
	}
	*out = epoll;
	return ERR_OK;
}

/* Was the stop event raised, waiting for it at most that long? */
static bool stopped(const struct serve *s, int wait_ms)
{
	struct pollfd p = { .fd = s->stop, .events = POLLIN };

	return poll(&p, 1, wait_ms) > 0;
}

static void accept_one(struct chair *chair)
{
	struct fcgx *req;
	enum err e = fcgx_accept(chair->serve->listen_fd, &req);

	if (!e) {
		serve_request(&chair->seat, req);
	} else if (e != ERR_AGAIN && e != ERR_CLOSED) {
		log_event(LOG_WARN, "cannot accept", KV_S("reason", err_name(e)));
		(void)stopped(chair->serve, BREATHER_MS);
	}
}

static void *chair_main(void *arg)
{
	struct chair *chair = arg;
	struct serve *s = chair->serve;
	struct epoll_event ready[2];
	int epoll = -1;
	enum err e = watch(s, &epoll);

	while (!e) {
		int n = epoll_wait(epoll, ready, ARRAY_LEN(ready),
		                   xfer_line_idle_ms(chair->seat.line));

		if (n == 0)
			xfer_line_rest(chair->seat.line);
		if (n < 0 && errno != EINTR)
			e = ERR_IO;
		for (int i = 0; i < n && !e; i++)
			if (ready[i].data.fd == s->stop)
				e = ERR_CLOSED;
		if (!e && n > 0)
			accept_one(chair);
	}
	if (e != ERR_CLOSED)
		log_event(LOG_ERROR, "thread cannot wait", KV_S("reason", err_name(e)));
	fd_close(&epoll);
	seat_done(&chair->seat);
	(void)!eventfd_write(s->ended, 1);
	return NULL;
}

static enum err start_threads(struct serve *s)
{
	size_t wanted = (size_t)s->conf->threads;
	pthread_attr_t attr;
	enum err e = ERR_OK;

	s->chairs = calloc(wanted, sizeof(*s->chairs));
	if (!s->chairs || pthread_attr_init(&attr))
		return ERR_NOMEM;
	if (pthread_attr_setstacksize(&attr, STACK))
		e = ERR_INVAL;
	while (!e && s->count < wanted) {
		struct chair *chair = &s->chairs[s->count];

		chair->serve = s;
		chair->seat.service = &s->service;
		buf_init(&chair->seat.body, (size_t)s->conf->max_body);
		if (pthread_create(&chair->thread, &attr, chair_main, chair))
			e = ERR_NOMEM;
		else
			s->count++;
	}
	pthread_attr_destroy(&attr);
	return e;
}

/* --- set-up and tidying --------------------------------------------------- */

/* For the lot: a client has left and no worker could be told. */
static void cancel_job(void *arg, const char *id)
{
	struct serve *s = arg;
	enum queue_cancel_answer answer;
	struct errtext why = { 0 };
	enum err e = group_cancel(s->service.group, id, clock_wall_ms(), &answer, &why);

	if (e && e != ERR_NOENT)
		log_event(LOG_WARN, "cannot cancel", KV_S("job", id),
		          KV_S("reason", why.s[0] ? why.s : err_name(e)));
}

static enum err open_service(struct serve *s, struct errtext *why)
{
	const struct conf *conf = s->conf;
	struct service *v = &s->service;
	const struct queue_limits limits = { .max_queue = conf->max_queue,
		                                 .max_jobs = conf->max_jobs };
	const struct lot_conf lot = { .relay = conf->relay,
		                          .db = &v->db_conf,
		                          .keepalive_ms = conf->keepalive_ms,
		                          .max_wait_ms = conf->chat_max_wait_ms,
		                          .cancel = cancel_job,
		                          .arg = s };
	enum err e;

	v->conf = conf;
	v->db_conf = (struct db_conf){ .path = conf->db,
		                           .public_url = conf->public_url,
		                           .inline_max = conf->inline_max,
		                           .max_wait_ms = conf->drain_max_wait_ms };
	e = guard_new(conf->webhook_allow, conf->ollama_url, &v->guard, why);
	if (!e)
		e = group_open(&v->db_conf, &limits, &v->group, why);
	if (!e)
		e = health_new(&v->health);
	if (!e)
		e = lot_new(&lot, &v->lot);
	if (!e)
		e = watch_new(conf, &v->db_conf, &v->watch);
	return e;
}

static enum err open_all(struct serve *s, struct errtext *why)
{
	enum err e = fcgx_init();

	if (!e)
		e = xfer_global_init();
	s->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!e && (s->stop < 0 || s->ended < 0))
		e = ERR_IO;
	if (!e)
		e = open_service(s, why);
	if (!e)
		e = start_threads(s);
	return e;
}

/* After every thread has ended. */
static void close_all(struct serve *s)
{
	free(s->chairs);
	lot_free(s->service.lot);
	watch_free(s->service.watch);
	health_free(s->service.health);
	group_close(s->service.group);
	guard_free(s->service.guard);
	fd_close(&s->stop);
	fd_close(&s->ended);
}

/* --- the first thread ----------------------------------------------------- */

enum stage { SERVING, DRAINING_LONG, DRAINING, LEAVING };

struct progress {
	enum stage stage;
	size_t ended;             /* threads that have */
	bool all_ended;           /* ... all of them, and they were joined */
	bool lot_ended;           /* and so has the lot, */
	bool watch_ended;         /* and the watch: nothing is left to do */
	int64_t deadline_mono_ms; /* of the drain */
};

static size_t parked(const struct serve *s)
{
	return lot_count(s->service.lot) + watch_count(s->service.watch);
}

static bool all_over(const struct progress *w)
{
	return w->all_ended && w->lot_ended && w->watch_ended;
}

/* Raise the stop event and give who waits in line `ms`. Who waits for a job to
 * move loses nothing by being answered now: it asks again, elsewhere. */
static void drain(struct serve *s, struct progress *w, enum stage stage, int64_t ms)
{
	w->stage = stage;
	w->deadline_mono_ms = clock_mono_ms() + ms + LIMIT_SHUTDOWN_READ_MS;
	(void)!eventfd_write(s->stop, 1);
	lot_drain(s->service.lot, ms);
	watch_drain(s->service.watch, 0);
	log_event(LOG_INFO, "draining", KV_I("parked", parked(s)),
	          KV_I("at_most_ms", ms));
}

static void on_signal(struct serve *s, struct progress *w, int signo)
{
	switch (signo) {
	case SIGTERM:
	case SIGINT:
		if (w->stage == DRAINING)
			w->stage = LEAVING;
		else
			drain(s, w, DRAINING, LIMIT_DRAIN_MS);
		break;
	case SIGHUP:
		if (w->stage == SERVING)
			drain(s, w, DRAINING_LONG, LIMIT_RELOAD_DRAIN_MS);
		break;
	default:
		break;
	}
}

/* The last request in hand is answered; only parked ones are left. */
static void end_threads(struct serve *s)
{
	for (size_t i = 0; i < s->count; i++)
		pthread_join(s->chairs[i].thread, NULL);
	fd_close(&s->listen_fd);
	group_settle(s->service.group); /* answers to jobs, which nudge the lot */
	lot_close(s->service.lot);
	watch_close(s->service.watch);
}

static void on_ended(struct serve *s, struct progress *w)
{
	eventfd_t n;

	if (eventfd_read(s->ended, &n) == 0)
		w->ended += (size_t)n;
	if (eventfd_read(lot_ended_fd(s->service.lot), &n) == 0)
		w->lot_ended = true;
	if (eventfd_read(watch_ended_fd(s->service.watch), &n) == 0)
		w->watch_ended = true;
	if (w->stage == SERVING && (w->ended || w->lot_ended || w->watch_ended)) {
		log_event(LOG_ERROR, "a thread ended by itself", KV_I("count", w->ended));
		drain(s, w, DRAINING, LIMIT_DRAIN_MS);
	}
	if (w->ended == s->count && !w->all_ended) {
		w->all_ended = true;
		end_threads(s);
	}
}

static int time_left(const struct progress *w)
{
	int64_t left = w->deadline_mono_ms - clock_mono_ms();

	if (w->stage == SERVING)
		return -1;
	return left > 0 ? (int)left : 0;
}

/* True: every thread has ended. False: the time was over, or a second signal
 * came, with some still busy. */
static bool attend(struct serve *s, int signals)
{
	struct progress w = { .stage = SERVING };
	struct pollfd p[] = { { .fd = signals, .events = POLLIN },
		                  { .fd = s->ended, .events = POLLIN },
		                  { .fd = lot_ended_fd(s->service.lot),
		                    .events = POLLIN },
		                  { .fd = watch_ended_fd(s->service.watch),
		                    .events = POLLIN } };

	while (w.stage != LEAVING && !all_over(&w)) {
		int left = time_left(&w);

		if (!left)
			break;
		if (poll(p, ARRAY_LEN(p), left) < 0 && errno != EINTR)
			break;
		for (int signo; (signo = sig_next(signals));)
			on_signal(s, &w, signo);
		on_ended(s, &w);
	}
	return all_over(&w);
}

static void say_ready(int fd)
{
	if (fd < 0)
		return;
	if (write(fd, "r", 1) != 1)
		log_event(LOG_DEBUG, "nobody waits for us to be ready", KV_I("fd", fd));
	fd_close(&fd);
}

int serve_run(const struct conf *conf, int listen_fd, int ready_fd)
{
	struct serve s = { .conf = conf, .listen_fd = listen_fd,
		               .stop = -1, .ended = -1 };
	struct errtext why = { 0 };
	int signals = sig_open();
	enum err e = signals < 0 ? ERR_IO : open_all(&s, &why);

	if (e) {
		log_event(LOG_ERROR, "cannot start",
		          KV_S("reason", why.s[0] ? why.s : err_name(e)));
		_exit(e == ERR_INVAL || e == ERR_VERSION ? EX_CONFIG : EX_TEMPFAIL);
	}
	say_ready(ready_fd);
	log_event(LOG_DEBUG, "responder serves", KV_I("threads", conf->threads));
	if (!attend(&s, signals)) {
		log_event(LOG_WARN, "left with requests unfinished",
		          KV_I("parked", parked(&s)));
		_exit(EX_OK);
	}
	close_all(&s);
	fd_close(&signals);
	log_event(LOG_DEBUG, "responder drained", KV_I("threads", conf->threads));
	return EX_OK;
}
