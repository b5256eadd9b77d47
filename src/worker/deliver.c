/*
 * deliver.c - webhooks: what is owed is posted, beside the running job.
 *
 * Owns the flights: an owed webhook, its headers and its transfer. True
 * throughout: a webhook is in one flight at most; the body goes out exactly
 * as it was frozen; a receiver that answers is judged by its status, however
 * long it then talks. A slow receiver with a long backlog is overtaken: when
 * its webhooks fill the whole window, they are put off a little.
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
#include "core/limits.h"
#include "core/retry.h"
#include "store/outbox.h"
#include "worker/header.h"

#define HOST_SIZE 272 /* a DNS name, brackets, a port */

/* --- pure parts ------------------------------------------------------------ */

static enum err sign_one(struct span secret, const struct sha_piece *pieces,
                         size_t count, struct buf *out)
{
	static const char prefix[] = "whsec_";
	unsigned char key[LIMIT_WEBHOOK_SECRET_MAX];
	unsigned char mac[SHA256_LEN];
	char text[4 * ((SHA256_LEN + 2) / 3) + 1];
	size_t key_len = sizeof(key);

	if (secret.len < sizeof(prefix) ||
	    memcmp(secret.p, prefix, sizeof(prefix) - 1) != 0)
		return ERR_INVAL;
	secret.p += sizeof(prefix) - 1;
	secret.len -= sizeof(prefix) - 1;
	if (str_unbase64(secret, key, &key_len) != ERR_OK)
		return ERR_INVAL;
	sha_hmac256(key, key_len, pieces, count, mac);
	str_base64(mac, sizeof(mac), text);
	return buf_addf(out, "%sv1,%s", out->len ? " " : "", text);
}

enum err deliver_sign(const char *secrets, const char *id, int64_t timestamp_s,
                      struct span body, struct buf *out)
{
	char head[160];
	int len = snprintf(head, sizeof(head), "%s.%lld.", id, (long long)timestamp_s);
	const struct sha_piece pieces[] = { { head, (size_t)len },
		                                { body.p, body.len } };
	struct span rest = span_of(secrets);
	struct span secret;
	struct buf all;
	enum err e = ERR_OK;

	if (len < 0 || (size_t)len >= sizeof(head))
		return ERR_INVAL;
	buf_init(&all, 4096);
	while (e == ERR_OK && span_cut(&rest, ' ', &secret))
		if (secret.len > 0)
			e = sign_one(secret, pieces, ARRAY_LEN(pieces), &all);
	if (e == ERR_OK && all.len == 0)
		e = ERR_INVAL;
	if (e == ERR_OK)
		e = buf_add(out, all.p, all.len);
	buf_done(&all);
	return e;
}

static void again_or_dead(int64_t retry_after_ms, int64_t made,
                          const struct conf_schedule *schedule, uint32_t random,
                          struct deliver_verdict *out)
{
	out->delay_ms = retry_schedule_ms(schedule->ms, schedule->count,
	                                  (unsigned)made + 1, random);
	out->end = out->delay_ms < 0 ? DELIVER_DEAD : DELIVER_AGAIN;
	if (out->end == DELIVER_AGAIN && retry_after_ms > out->delay_ms)
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
		str_copy(out->error, sizeof(out->error), why && *why ? why : "no answer");
	else if (status >= 300 && status < 400)
		snprintf(out->error, sizeof(out->error),
		         "redirects are not followed (status %d)", status);
	else
		snprintf(out->error, sizeof(out->error), "status %d", status);
	again_or_dead(retry_after_ms, made, schedule, random, out);
}

void deliver_host(const char *url, char *out, size_t size)
{
	const char *from = strstr(url, "://");
	size_t len;

	from = from ? from + 3 : url;
	len = strcspn(from, "/?#");
	if (len >= size)
		len = size - 1;
	for (size_t i = 0; i < len; i++)
		out[i] = (char)(from[i] >= 'A' && from[i] <= 'Z' ? from[i] - 'A' + 'a'
		                                                 : from[i]);
	out[len] = '\0';
}

/* --- flights --------------------------------------------------------------- */

struct flight {
	struct deliver *deliver;
	bool used;
	struct owed owed;
	char host[HOST_SIZE];
	struct xfer *xfer;
	int64_t began_mono_ms;
	int64_t began_wall_ms;
	int status;
	int64_t retry_after_ms;
	struct buf texts[5]; /* the headers that are not constant */
	const char *headers[8];
	struct buf reply;
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

static void log_attempt(const struct flight *f, const struct deliver_verdict *v)
{
	static const char *const words[] = { "webhook delivered", "webhook failed",
		                                 "webhook dead" };

	log_event(v->end == DELIVER_OK ? LOG_DEBUG : LOG_WARN, words[v->end],
	          KV_S("job", f->owed.job_id), KV_S("webhook", f->owed.id),
	          KV_S("type", f->owed.type), KV_S("receiver", f->host),
	          KV_I("attempt", f->owed.attempts + 1), KV_I("status", f->status),
	          KV_S("why", v->error[0] ? v->error : NULL),
	          KV_I("again_ms", v->delay_ms));
}

/* The attempt is over: settle it, and make room. */
static void settle(struct flight *f, const char *why)
{
	struct deliver *d = f->deliver;
	struct deliver_verdict v;
	char reply[LIMIT_WEBHOOK_REPLY + 1];
	struct outbox_attempt attempt = {
		.now_ms = clock_wall_ms(),
		.status = f->status,
		.latency_ms = clock_mono_ms() - f->began_mono_ms,
	};
	uint32_t random;
	enum err e;

	sha_random(&random, sizeof(random));
	deliver_judge(f->status, why, f->retry_after_ms, f->owed.attempts,
	              &d->conf->webhook_schedule, random, &v);
	str_escape((struct span){ f->reply.p, f->reply.len }, reply, sizeof(reply));
	attempt.reply = f->reply.len ? reply : NULL;
	attempt.error = v.error[0] ? v.error : NULL;
	if (v.end == DELIVER_OK)
		e = outbox_delivered(d->db, f->owed.seq, &attempt);
	else if (v.end == DELIVER_AGAIN)
		e = outbox_retry(d->db, f->owed.seq, &attempt, attempt.now_ms + v.delay_ms);
	else
		e = outbox_dead(d->db, f->owed.seq, &attempt);
	log_attempt(f, &v);
	store_says(d, e);
	land(f);
}

static bool flight_head(void *arg, const struct xfer_head *head)
{
	struct flight *f = arg;
	char value[64];

	f->status = head->status;
	if (header_find(head->headers, "Retry-After", value, sizeof(value)))
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
	e = deliver_sign(secrets, f->owed.id, timestamp_s, body, &signature);
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
	deliver_host(f->owed.url, f->host, sizeof(f->host));
	e = make_headers(f);
	ask.url = f->owed.url;
	ask.body = (struct span){ f->owed.body, f->owed.body_len };
	if (e == ERR_INVAL)
		errtext_set(&why, "the webhook secret is not of the form whsec_<base64>");
	else if (e == ERR_OK)
		e = xfer_start(d->loop, &ask, &calls, f, &f->xfer, &why);
	if (e != ERR_OK)
		settle(f, why.s[0] ? why.s : err_name(e));
}

/* --- looking --------------------------------------------------------------- */

static struct flight *free_flight(struct deliver *d)
{
	for (size_t i = 0; i < ARRAY_LEN(d->flights); i++)
		if (!d->flights[i].used)
			return &d->flights[i];
	return NULL;
}

/* Is this receiver at its limit? *slow: and has been for long. */
static bool busy(const struct deliver *d, const char *url, bool *slow)
{
	char host[HOST_SIZE];
	int flights = 0;

	*slow = true;
	deliver_host(url, host, sizeof(host));
	for (size_t i = 0; i < ARRAY_LEN(d->flights); i++) {
		const struct flight *f = &d->flights[i];

		if (!f->used || strcmp(f->host, host) != 0)
			continue;
		flights++;
		if (clock_mono_ms() - f->began_mono_ms < LIMIT_WEBHOOK_SLOW_MS)
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
		struct flight *f = free_flight(d);
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
	struct window *w = calloc(1, sizeof(*w));
	int64_t now_ms = clock_wall_ms();
	int64_t again_ms = LIMIT_IDLE_LOOK_MS;
	enum err e;

	if (!w)
		return;
	e = read_window(d, w);
	store_says(d, e);
	if (e == ERR_OK) {
		if (use_window(d, w))
			d->window = LIMIT_WEBHOOK_FLIGHTS;
		else
			widen(d, w, now_ms);
		if (w->next_ms > now_ms && w->next_ms - now_ms < again_ms)
			again_ms = w->next_ms - now_ms;
		for (size_t i = 0; i < w->count; i++)
			owed_done(&w->owed[i]);
	}
	free(w);
	loop_timer_set(d->loop, &d->again, again_ms);
}

void deliver_look(struct deliver *d)
{
	d->look = true;
}

void deliver_step(struct deliver *d)
{
	if (!d->look || d->leaving || !free_flight(d))
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
	d->window = LIMIT_WEBHOOK_FLIGHTS;
	loop_timer_init(&d->again, again_due, d);
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
	free(d);
}
