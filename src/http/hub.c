/*
 * hub.c - exchanges in a loop.
 *
 * All of a loop's exchanges share one multi handle, the hub's, which is made with
 * the first of them and goes with the loop, or when libcurl had no memory.
 * libcurl calls us from inside itself and may not be called back from there, so
 * what a callback starts or stops is only noted, and settled when libcurl has
 * returned.
 * Not here: what is asked and what its end means (exchange).
 */
#include <config.h>

#include "http/hub.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include <curl/curl.h>

#include "http/exchange.h"

struct hub {
	struct loop *loop;
	CURLM *multi;            /* NULL: made when needed */
	struct loop_timer timer; /* libcurl's */
	bool inside;             /* libcurl is on the stack: only take notes */
	bool unsettled;          /* there are notes */
	struct xfer *xfers;
};

struct xfer {
	struct exchange exchange;
	CURL *easy;
	void (*done)(void *arg, const struct xfer_result *result);
	void *arg;
	struct hub *hub;
	struct xfer *next, *prev;
	CURLM *multi;   /* has it; NULL: not yet */
	bool dropped;   /* xfer_stop from inside: no more calls */
	bool unwatched; /* its socket cannot be watched: it would hang */
	bool ending;    /* in its last call */
};

struct watch { /* a socket libcurl wants to hear of */
	struct hub *hub;
	curl_socket_t fd;
	struct loop_fd *in_loop;
};

/* --- an exchange in the hub ------------------------------------------------- */

static struct xfer *xfer_of(CURL *easy)
{
	char *private = NULL;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
	return (struct xfer *)(void *)private;
}

static void xfer_release(struct xfer *x)
{
	struct hub *h = x->hub;

	if (x->next)
		x->next->prev = x->prev;
	if (x->prev)
		x->prev->next = x->next;
	else
		h->xfers = x->next;
	if (x->multi)
		curl_multi_remove_handle(x->multi, x->easy);
	curl_easy_cleanup(x->easy);
	exchange_done(&x->exchange);
}

/* The last call. It may start and stop others; this one is out of the hub. */
static void xfer_end(struct xfer *x, const struct xfer_result *result)
{
	xfer_release(x);
	x->ending = true;
	if (x->done)
		x->done(x->arg, result);
	free(x);
}

static void xfer_fail(struct xfer *x, const char *why)
{
	struct xfer_result result;

	exchange_fail(&x->exchange, why, &result);
	xfer_end(x, &result);
}

static CURLM *multi_new(struct hub *h);

static bool xfer_add(struct xfer *x)
{
	struct hub *h = x->hub;

	if (!h->multi)
		h->multi = multi_new(h);
	if (h->multi && curl_multi_add_handle(h->multi, x->easy) == CURLM_OK)
		x->multi = h->multi;
	return x->multi != NULL;
}

/* --- what happens in libcurl's turns ----------------------------------------- */

/* Do what was noted while libcurl was on the stack. */
static void hub_settle(struct hub *h)
{
	struct xfer *x;

	while (h->unsettled) {
		h->unsettled = false;
		for (x = h->xfers; x; x = x->next)
			/* xfer_release took what is freed off this list:
			 * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
			if (x->dropped || x->unwatched || !x->multi)
				break;
		if (!x)
			return;
		h->unsettled = true; /* look again from the start */
		if (x->dropped) {
			xfer_release(x);
			free(x);
		} else if (x->unwatched) {
			xfer_fail(x, "cannot watch a socket");
		} else if (!xfer_add(x)) {
			xfer_fail(x, "out of memory");
		}
	}
}

static void hub_harvest(struct hub *h)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(h->multi, &left))) {
		CURLcode rc = msg->data.result;
		struct xfer_result result;
		struct xfer *x;

		if (msg->msg != CURLMSG_DONE)
			continue;
		x = xfer_of(msg->easy_handle);
		if (x->dropped)
			continue; /* hub_settle's */
		exchange_judge(&x->exchange, rc, &result);
		xfer_end(x, &result);
	}
}

/*
 * libcurl had no memory to have a socket watched. It does not say whose, and
 * what it then keeps of that descriptor it must not use again (7.88 divides by
 * the 0 it finds there): what is under way ends, what comes begins anew.
 */
static void hub_renew(struct hub *h)
{
	CURLM *old = h->multi;

	h->multi = NULL;
	loop_timer_stop(&h->timer);
	for (struct xfer *x = h->xfers; x; x = x->next)
		if (x->multi)
			x->unwatched = h->unsettled = true;
	hub_settle(h);
	curl_multi_cleanup(old);
}

static void hub_act(struct hub *h, curl_socket_t fd, int events)
{
	CURLMcode rc;
	int running;

	h->inside = true;
	rc = curl_multi_socket_action(h->multi, fd, events, &running);
	h->inside = false;
	hub_harvest(h);
	if (rc)
		hub_renew(h);
	else
		hub_settle(h);
}

/* --- its sockets and its timer ----------------------------------------------- */

static void on_watch(void *arg, uint32_t events)
{
	struct watch *w = arg;
	int bits = 0;

	if (events & EPOLLIN)
		bits |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		bits |= CURL_CSELECT_OUT;
	/* told of an error, libcurl gives up; told to read, it learns which */
	if (events & (EPOLLERR | EPOLLHUP))
		bits |= CURL_CSELECT_IN | CURL_CSELECT_OUT;
	hub_act(w->hub, w->fd, bits); /* `w` may be gone now */
}

static void on_timer(void *arg)
{
	hub_act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct hub *h = arg;

	if (multi != h->multi)
		return 0; /* one that is left */
	if (timeout_ms < 0)
		loop_timer_stop(&h->timer);
	else
		loop_timer_set(h->loop, &h->timer, timeout_ms);
	return 0;
}

static enum err watch_new(struct hub *h, curl_socket_t fd, uint32_t events)
{
	struct watch *w = calloc(1, sizeof(*w));
	enum err e;

	if (!w)
		return ERR_NOMEM;
	*w = (struct watch){ .hub = h, .fd = fd };
	e = loop_fd_add(h->loop, fd, events, on_watch, w, &w->in_loop);
	if (e) {
		free(w);
		return e;
	}
	curl_multi_assign(h->multi, fd, w);
	return ERR_OK;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
                          void *watch)
{
	struct hub *h = arg;
	struct watch *w = watch;
	uint32_t events = 0;

	if (what == CURL_POLL_REMOVE) {
		if (w)
			loop_fd_del(w->in_loop);
		free(w);
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	if (w) {
		loop_fd_want(w->in_loop, events);
	} else if (watch_new(h, fd, events)) {
		struct xfer *x = xfer_of(easy);

		/* -1 would be the end of the whole multi handle */
		if (x) {
			x->unwatched = true;
			h->unsettled = true;
		}
	}
	return 0;
}

/* --- the hub of a loop ------------------------------------------------------- */

static void hub_free(void *p)
{
	struct hub *h = p;

	assert(!h->xfers);
	if (h->multi)
		curl_multi_cleanup(h->multi);
	loop_timer_stop(&h->timer);
	free(h);
}

static CURLM *multi_new(struct hub *h)
{
	CURLM *multi = curl_multi_init();

	if (!multi ||
	    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket) ||
	    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, h) ||
	    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_curl_timer) ||
	    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, h)) {
		curl_multi_cleanup(multi);
		return NULL;
	}
	return multi;
}

static struct hub *hub_new(struct loop *l)
{
	struct hub *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->loop = l;
	loop_timer_init(&h->timer, on_timer, h);
	loop_attach(l, h, hub_free);
	return h;
}

/* --- starting and stopping --------------------------------------------------- */

enum err xfer_start(struct loop *l, const struct xfer_ask *ask,
                    const struct xfer_calls *calls, void *arg, struct xfer **out,
                    struct errtext *why)
{
	struct hub *h = loop_attached(l);
	struct xfer *x = NULL;
	CURL *easy = NULL;
	enum err e = ERR_NOMEM;

	if (!h)
		h = hub_new(l);
	if (h)
		x = calloc(1, sizeof(*x));
	if (x)
		easy = curl_easy_init();
	if (!easy) {
		errtext_set(why, "out of memory");
		free(x);
		return e;
	}
	x->easy = easy;
	x->done = calls->done;
	x->arg = arg;
	x->hub = h;
	e = exchange_init(&x->exchange, easy, ask, calls, arg, false, why);
	if (!e && (curl_easy_setopt(easy, CURLOPT_PRIVATE, (void *)x) ||
	           (!h->inside && !xfer_add(x))))
		e = ERR_NOMEM;
	if (e) {
		if (e == ERR_NOMEM)
			errtext_set(why, "out of memory");
		curl_easy_cleanup(easy);
		exchange_done(&x->exchange);
		free(x);
		return e;
	}
	h->unsettled |= h->inside;
	x->next = h->xfers;
	if (x->next)
		x->next->prev = x;
	h->xfers = x;
	*out = x;
	return ERR_OK;
}

void xfer_stop(struct xfer *x)
{
	if (!x || x->ending)
		return;
	if (x->hub->inside) {
		x->dropped = true;
		exchange_stop(&x->exchange);
		x->hub->unsettled = true;
		return;
	}
	xfer_release(x);
	free(x);
}
