/*
 * deliver.c - webhooks: what is owed is posted, beside the running job.
 *
 * Owns the flights: an owed webhook, its headers and its transfer. True
 * throughout: a webhook is in one flight at most; the body goes out exactly
 * as it was frozen; a receiver that answers is judged by its status, however
 * long it then talks; a flight lands when the store has noted what it came to,
 * so that a full disk has nothing posted over and over. A slow receiver with a
 * long backlog is overtaken: when its webhooks fill the whole window, they are
 * put off a little.
 * Refuses redirects, addresses the guard refuses, and more than
 * LIMIT_WEBHOOK_REPLY bytes of an answer.
 */
#include <config.h>

#include "worker/deliver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sha.h"
#include "core/header.h"
#include "core/limits.h"
#include "core/receiver.h"
#include "core/retry.h"
#include "core/signature.h"
#include "http/hub.h"
#include "store/outbox.h"

/* --- pure parts ------------------------------------------------------------ */

static void again_or_dead(int64_t retry_after_ms, int64_t made,
                          const struct conf_schedule *schedule, uint32_t random,
                          struct deliver_verdict *out)
{
	out->delay_ms = retry_schedule_ms(schedule->ms, schedule->count,
	                                  (unsigned)made + 1, random);
	out->end = out->delay_ms < 0 ? DELIVER_DEAD : DELIVER_AGAIN;
	out->told = out->end == DELIVER_AGAIN && retry_after_ms > 0;
	if (out->told && retry_after_ms > out->delay_ms)
		out->delay_ms = retry_after_ms;
}

void deliver_judge(int status, const char *why, int64_t retry_after_ms,
                   int64_t made, const struct conf_schedule *schedule,
                   uint32_t random, struct deliver_verdict *out)
{
	*out = (struct deliver_verdict){ .end = DELIVER_OK };
	if (status >= 200 && status < 300)
		return;
	if (status == 410) {
		out->end = DELIVER_DEAD;
		str_copy(out->error, sizeof(out->error),
		         "the receiver is gone (status 410)");
		return;
	}
	if (status == 0)
		str_readable(span_of(why && *why ? why : "no answer"), out->error,
		             sizeof(out->error));
	else if (status >= 300 && status < 400)
		snprintf(out->error, sizeof(out->error),
		         "redirects are not followed (status %d)", status);
	else
		snprintf(out->error, sizeof(out->error), "status %d", status);
	again_or_dead(retry_after_ms, made, schedule, random, out);
}

/* --- flights --------------------------------------------------------------- */

struct flight {
	struct deliver *deliver;
	bool used;
	struct owed owed;
	char receiver[RECEIVER_SIZE];
	struct xfer *xfer;
	int64_t began_mono_ms;
	int64_t began_wall_ms;
	int status;
	int64_t retry_after_ms;
	struct buf texts[5]; /* the headers that are not constant */
	const char *headers[8];
	struct buf reply;
	bool over; /* what follows is to be noted */
	struct deliver_verdict verdict;
	int64_t over_wall_ms;
	int64_t latency_ms;
};

struct deliver {
	struct loop *loop;
	struct db *db;
	const struct conf *conf;
	const struct guard *guard;
	bool look;
	bool leaving;
	bool failing;  /* the store; logged once */
	size_t window; /* how many due ones are looked at */
	struct flight flights[LIMIT_WEBHOOK_FLIGHTS];
	struct loop_timer again;
	struct loop_timer unnoted; /* the store refused */
};

static void land(struct flight *f)
{
	owed_done(&f->owed);
	for (size_t i = 0; i < ARRAY_LEN(f->texts); i++)
		buf_done(&f->texts[i]);
	buf_done(&f->reply);
	f->xfer = NULL;
	f->used = false;
	f->deliver->look = true;
}

static void store_says(struct deliver *d, enum err e)
{
	if (e != ERR_OK && e != ERR_STALE && !d->failing)
		log_event(LOG_ERROR, "cannot settle webhooks", KV_S("why", err_name(e)));
	d->failing = e != ERR_OK && e != ERR_STALE;
}

static void log_attempt(const struct flight *f)
{
	const struct deliver_verdict *v = &f->verdict;
	static const char *const words[] = { "webhook delivered", "webhook failed",
		                                 "webhook dead" };

	log_event(v->end == DELIVER_OK ? LOG_DEBUG : LOG_WARN, words[v->end],
	          KV_S("job", f->owed.job_id), KV_S("webhook", f->owed.id),
	          KV_S("type", f->owed.type), KV_S("receiver", f->receiver),
	          KV_I("attempt", f->owed.attempts + 1), KV_I("status", f->status),
	          KV_S("why", v->error[0] ? v->error : NULL),
	          KV_I("again_ms", v->delay_ms));
}

/* It is delivered: what waits for the same receiver need not wait longer. */
static enum err wake(const struct flight *f)
{
	int64_t count = 0;
	enum err e = outbox_wake(f->deliver->db, f->receiver, clock_wall_ms(), &count);

	if (count > 0)
		log_event(LOG_INFO, "a receiver is back", KV_S("receiver", f->receiver),
		          KV_I("webhooks", count));
	return e;
}

/* The store's account of it. */
static enum err write_attempt(const struct flight *f)
{
	struct db *db = f->deliver->db;
	const struct deliver_verdict *v = &f->verdict;
	char reply[3 * LIMIT_WEBHOOK_REPLY + 1];
	const struct outbox_attempt attempt = {
		.now_ms = f->over_wall_ms,
		.status = f->status,
		.latency_ms = f->latency_ms,
		.told = v->told,
		.error = v->error[0] ? v->error : NULL,
		.reply = f->reply.len ? reply : NULL,
	};

	str_readable((struct span){ f->reply.p, f->reply.len }, reply, sizeof(reply));
	switch (v->end) {
	case DELIVER_OK:
		return outbox_delivered(db, f->owed.seq, &attempt);
	case DELIVER_AGAIN:
		return outbox_retry(db, f->owed.seq, &attempt,
		                    f->over_wall_ms + v->delay_ms);
	default:
		return outbox_dead(db, f->owed.seq, &attempt);
	}
}

/* Note it, and make room. False: the store refuses; later again. */
static bool note(struct flight *f)
{
	struct deliver *d = f->deliver;
	enum err e = write_attempt(f);
	bool noted = e == ERR_OK || e == ERR_STALE;

	if (e == ERR_OK && f->verdict.end == DELIVER_OK)
		e = wake(f);
	store_says(d, e);
	if (noted)
		land(f);
	else
		loop_timer_set(d->loop, &d->unnoted, LIMIT_SETTLE_RETRY_MS);
	return noted;
}

static void unnoted_due(void *arg)
{
	struct deliver *d = arg;

	for (size_t i = 0; i < ARRAY_LEN(d->flights); i++)
		if (d->flights[i].used && d->flights[i].over && !note(&d->flights[i]))
			return;
}

/* The attempt is over. */
static void settle(struct flight *f, const char *why)
{
	uint32_t random;

	sha_random(&random, sizeof(random));
	deliver_judge(f->status, why, f->retry_after_ms, f->owed.attempts,
	              &f->deliver->conf->webhook_schedule, random, &f->verdict);
	f->over = true;
	f->over_wall_ms = clock_wall_ms();
	f->latency_ms = clock_mono_ms() - f->began_mono_ms;
	log_attempt(f);
	(void)note(f);
}

static bool flight_head(void *arg, const struct xfer_head *head)
{
	struct flight *f = arg;
	char value[64];

	f->status = head->status;
	if (header_copy(head->headers, "Retry-After", value, sizeof(value)))
		f->retry_after_ms =
		    retry_after_ms(value, clock_wall_ms(), LIMIT_RETRY_AFTER_MS);
	return true;
}

static bool flight_body(void *arg, const void *p, size_t len)
{
	struct flight *f = arg;
	size_t room = LIMIT_WEBHOOK_REPLY - f->reply.len;

	return buf_add(&f->reply, p, len < room ? len : room) == ERR_OK && len < room;
}

static void flight_done(void *arg, const struct xfer_result *result)
{
	struct flight *f = arg;

	f->xfer = NULL;
	settle(f, result->why.s);
}

/* One header of our own making. */
static enum err add_header(struct flight *f, size_t *count, const char *name,
                           const char *value)
{
	struct buf *text = &f->texts[*count];
	enum err e;

	buf_init(text, 4096);
	e = buf_addf(text, "%s: %s", name, value);
	if (e != ERR_OK)
		return e;
	f->headers[*count] = buf_str(text);
	if (!f->headers[*count])
		return ERR_NOMEM;
	++*count;
	return ERR_OK;
}

static enum err add_signature(struct flight *f, size_t *count, int64_t timestamp_s)
{
	const char *secrets =
	    f->owed.secret ? f->owed.secret : f->deliver->conf->webhook_secret;
	struct buf signature;
	struct span body = { f->owed.body, f->owed.body_len };
	enum err e;

	if (!secrets)
		return ERR_OK;
	buf_init(&signature, 4000);
	e = signature_make(secrets, f->owed.id, timestamp_s, body, &signature);
	if (e == ERR_OK)
		e = add_header(f, count, "webhook-signature", buf_str(&signature));
	buf_done(&signature);
	return e;
}

static enum err make_headers(struct flight *f)
{
	int64_t timestamp_s = f->began_wall_ms / 1000;
	char number[24];
	size_t count = 0;
	enum err e;

	snprintf(number, sizeof(number), "%lld", (long long)timestamp_s);
	e = add_header(f, &count, "webhook-id", f->owed.id);
	if (e == ERR_OK)
		e = add_header(f, &count, "webhook-timestamp", number);
	if (e == ERR_OK)
		e = add_header(f, &count, "foreman-job-id", f->owed.job_id);
	if (e == ERR_OK)
		e = add_signature(f, &count, timestamp_s);
	f->headers[count++] = "Content-Type: application/json";
	f->headers[count++] = "User-Agent: foreman/" PACKAGE_VERSION;
	f->headers[count] = NULL;
	return e;
}

/* Takes the owed webhook over. */
static void launch(struct deliver *d, struct flight *f, struct owed *owed)
{
	static const struct xfer_calls calls = { flight_head, flight_body,
		                                     flight_done };
	struct errtext why = { "" };
	struct xfer_ask ask = {
		.method = "POST",
		.headers = f->headers,
		.connect_ms = LIMIT_WEBHOOK_CONNECT_MS,
		.total_ms = (int)d->conf->webhook_timeout_ms,
		.guard = d->guard,
	};
	enum err e;

	*f = (struct flight){
		.deliver = d, .used = true, .owed = *owed, .retry_after_ms = -1
	};
	*owed = (struct owed){ 0 };
	f->began_mono_ms = clock_mono_ms();
	f->began_wall_ms = clock_wall_ms();
	buf_init(&f->reply, LIMIT_WEBHOOK_REPLY);
	receiver_of(f->owed.url, f->receiver);
	e = make_headers(f);
	ask.url = f->owed.url;
	ask.header_lines = span_of(f->owed.headers);
	ask.body = (struct span){ f->owed.body, f->owed.body_len };
	if (e == ERR_INVAL)
		errtext_set(&why, "the webhook secret is not of the form whsec_<base64>");
	else if (e == ERR_OK)
		e = xfer_start(d->loop, &ask, &calls, f, &f->xfer, &why);
	if (e != ERR_OK)
		settle(f, why.s[0] ? why.s : err_name(e));
}

/* --- looking --------------------------------------------------------------- */

/* How long it still counts as fresh; 0: it does not, or there is none. */
static int64_t fresh_ms(const struct flight *f)
{
	int64_t left_ms = f->began_mono_ms + LIMIT_WEBHOOK_SLOW_MS - clock_mono_ms();

	return f->used && left_ms > 0 ? left_ms : 0;
}

/* Room for one more; else NULL, and *wait_ms says when a fresh one will be
 * fresh no longer (0: there is no room at all, something must land). */
static struct flight *free_flight(struct deliver *d, int64_t *wait_ms)
{
	struct flight *room = NULL;
	int fresh = 0;

	*wait_ms = 0;
	for (size_t i = 0; i < ARRAY_LEN(d->flights); i++) {
		struct flight *f = &d->flights[i];
		int64_t left_ms = fresh_ms(f);

		if (!f->used)
			room = f;
		if (left_ms > 0 && (fresh++ == 0 || left_ms < *wait_ms))
			*wait_ms = left_ms;
	}
	return fresh < LIMIT_WEBHOOK_FRESH ? room : NULL;
}

/* Is this receiver at its limit? *slow: and has been for long. */
static bool busy(const struct deliver *d, const char *url, bool *slow)
{
	char receiver[RECEIVER_SIZE];
	int flights = 0;

	*slow = true;
	receiver_of(url, receiver);
	for (size_t i = 0; i < ARRAY_LEN(d->flights); i++) {
		const struct flight *f = &d->flights[i];

		if (!f->used || strcmp(f->receiver, receiver) != 0)
			continue;
		flights++;
		if (fresh_ms(f) > 0)
			*slow = false;
	}
	return flights >= LIMIT_WEBHOOK_PER_HOST;
}

struct window {
	struct owed owed[LIMIT_WEBHOOK_WINDOW];
	size_t count;
	int64_t next_ms;
	int64_t put_off[LIMIT_WEBHOOK_WINDOW]; /* of slow receivers */
	size_t put_off_count;
};

static enum err read_window(struct deliver *d, struct window *w)
{
	int64_t skip[LIMIT_WEBHOOK_FLIGHTS];
	size_t skip_count = 0;

	for (size_t i = 0; i < ARRAY_LEN(d->flights); i++)
		if (d->flights[i].used)
			skip[skip_count++] = d->flights[i].owed.seq;
	return outbox_due(d->db, clock_wall_ms(), skip, skip_count, w->owed, d->window,
	                  &w->count, &w->next_ms);
}

/* Launch what may fly. False: nothing may, all are for busy receivers. */
static bool use_window(struct deliver *d, struct window *w)
{
	bool launched = false;

	for (size_t i = 0; i < w->count; i++) {
		int64_t wait_ms;
		struct flight *f = free_flight(d, &wait_ms);
		bool slow;

		if (!f)
			return true;
		if (!busy(d, w->owed[i].url, &slow)) {
			launch(d, f, &w->owed[i]);
			launched = true;
		} else if (slow) {
			w->put_off[w->put_off_count++] = w->owed[i].seq;
		}
	}
	return launched || w->count < d->window;
}

/* Busy receivers fill the window: look further, and when it is as wide as it
 * gets, let others overtake the slow ones. */
static void widen(struct deliver *d, const struct window *w, int64_t now_ms)
{
	if (d->window < LIMIT_WEBHOOK_WINDOW) {
		d->window = LIMIT_WEBHOOK_WINDOW;
		d->look = true;
	} else if (w->put_off_count == LIMIT_WEBHOOK_WINDOW) {
		store_says(d, outbox_defer(d->db, w->put_off, w->put_off_count,
		                           now_ms + LIMIT_WEBHOOK_DEFER_MS));
		d->look = true;
	}
}

/* One read of what is due. */
static void look(struct deliver *d)
{
	struct window w = { .count = 0 };
	int64_t now_ms = clock_wall_ms();
	int64_t again_ms = LIMIT_IDLE_LOOK_MS, wait_ms;
	enum err e = read_window(d, &w);

	if (e != ERR_OK) {
		store_says(d, e);
	} else {
		if (use_window(d, &w))
			d->window = LIMIT_WEBHOOK_FRESH;
		else
			widen(d, &w, now_ms);
		if (w.next_ms > now_ms && w.next_ms - now_ms < again_ms)
			again_ms = w.next_ms - now_ms;
		if (!free_flight(d, &wait_ms) && wait_ms > 0 && wait_ms < again_ms)
			again_ms = wait_ms;
		for (size_t i = 0; i < w.count; i++)
			owed_done(&w.owed[i]);
	}
	loop_timer_set(d->loop, &d->again, again_ms);
}

void deliver_look(struct deliver *d)
{
	d->look = true;
}

void deliver_step(struct deliver *d)
{
	int64_t wait_ms;

	if (!d->look || d->leaving || !free_flight(d, &wait_ms))
		return;
	d->look = false;
	look(d);
}

static void again_due(void *arg)
{
	deliver_look(arg);
}

void deliver_leave(struct deliver *d)
{
	d->leaving = true;
}

bool deliver_idle(const struct deliver *d)
{
	for (size_t i = 0; i < ARRAY_LEN(d->flights); i++)
		if (d->flights[i].used)
			return false;
	return true;
}

enum err deliver_new(struct loop *l, struct db *db, const struct conf *conf,
                     const struct guard *guard, struct deliver **out)
{
	struct deliver *d = calloc(1, sizeof(*d));

	if (!d)
		return ERR_NOMEM;
	d->loop = l;
	d->db = db;
	d->conf = conf;
	d->guard = guard;
	d->look = true;
	d->window = LIMIT_WEBHOOK_FRESH;
	loop_timer_init(&d->again, again_due, d);
	loop_timer_init(&d->unnoted, unnoted_due, d);
	loop_timer_set(l, &d->again, LIMIT_IDLE_LOOK_MS);
	*out = d;
	return ERR_OK;
}

void deliver_free(struct deliver *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < ARRAY_LEN(d->flights); i++) {
		struct flight *f = &d->flights[i];

		if (!f->used)
			continue;
		xfer_stop(f->xfer);
		land(f);
	}
	loop_timer_stop(&d->again);
	loop_timer_stop(&d->unnoted);
	free(d);
}
