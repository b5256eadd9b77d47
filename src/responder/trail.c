/*
 * trail.c - a request from its first line in the log to its last.
 *
 * Ids of our own are unique in a process and, but for a chance of one in 2^64
 * a pair, among all: a random beginning, and from there on a count, mixed.
 * What a client sends is looked at before it is believed: it goes into logs,
 * to the target and to webhooks' receivers.
 */
#include <config.h>

#include "responder/trail.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sha.h"
#include "responder/tally.h"

/* --- ids ------------------------------------------------------------------- */

static _Atomic uint64_t next_id;
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void seed(void)
{
	uint64_t first;

	sha_random(&first, sizeof(first));
	atomic_store(&next_id, first);
}

/* One-to-one, and neighbours look nothing alike (splitmix64). */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static void make_id(char out[TRAIL_ID_SIZE])
{
	pthread_once(&seeded, seed);
	snprintf(out, TRAIL_ID_SIZE, "%016llx",
	         (unsigned long long)mix(atomic_fetch_add(&next_id, 1)));
}

static bool letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

bool trail_id_ok(struct span id)
{
	if (!id.len || id.len >= TRAIL_ID_SIZE)
		return false;
	for (size_t i = 0; i < id.len; i++)
		if (!letter_or_digit(id.p[i]) && !memchr("-_.:+/=@", id.p[i], 8))
			return false;
	return true;
}

/* --- trace context --------------------------------------------------------- */

static bool hex(struct span s, size_t at, size_t len)
{
	for (size_t i = at; i < at + len; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
			return false;
	return true;
}

static bool zeros(struct span s, size_t at, size_t len)
{
	for (size_t i = at; i < at + len; i++)
		if (s.p[i] != '0')
			return false;
	return true;
}

/* The fields of "VV-TRACE-PARENT-FF" stand at 0, 3, 36 and 53. */
bool trail_traceparent_ok(struct span v)
{
	if (v.len < 55 || v.len > 255 || v.p[2] != '-' || v.p[35] != '-' ||
	    v.p[52] != '-' || !hex(v, 0, 2) || !hex(v, 3, 32) || !hex(v, 36, 16) ||
	    !hex(v, 53, 2))
		return false;
	if (zeros(v, 3, 32) || zeros(v, 36, 16) || memcmp(v.p, "ff", 2) == 0)
		return false;
	if (v.len > 55 && (memcmp(v.p, "00", 2) == 0 || v.p[55] != '-'))
		return false;
	for (size_t i = 55; i < v.len; i++)
		if (v.p[i] <= ' ' || v.p[i] >= 0x7f)
			return false;
	return true;
}

/* --- from the beginning to the end ------------------------------------------ */

void trail_begin(struct trail *t, struct span request_id, struct span traceparent)
{
	*t = (struct trail){ .route = -1, .began_mono_us = clock_mono_us() };
	t->given = trail_id_ok(request_id);
	if (t->given)
		memcpy(t->id, request_id.p, request_id.len);
	else
		make_id(t->id);
	if (trail_traceparent_ok(traceparent))
		memcpy(t->trace, traceparent.p + 3, TRAIL_TRACE_SIZE - 1);
}

void trail_close(const struct trail *t, const struct trail_end *end)
{
	enum log_level level = end->status >= 500 ? LOG_WARN : LOG_DEBUG;
	int64_t us = clock_mono_us() - t->began_mono_us;
	struct tally_name name = tally_name(t->route);

	log_event(level, "request", KV_S("request", t->id),
	          KV_S("method", end->method ? end->method : name.method),
	          KV_S("path", end->path ? end->path : name.path),
	          KV_I("status", end->status), KV_I("us", us),
	          KV_S("job", end->job && *end->job ? end->job : NULL),
	          KV_S("trace", t->trace[0] ? t->trace : NULL),
	          KV_S("reason", end->how && *end->how ? end->how : NULL));
	tally_request(t->route, end->status, us);
}

void trail_drop(const struct trail *t, const char *job)
{
	trail_close(t, &(struct trail_end){ .job = job, .how = "out of memory" });
}
