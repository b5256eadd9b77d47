/*
 * metrics.c - GET /metrics: figures in Prometheus' text format.
 *
 * Base units, HELP and TYPE with each family, labels from bounded sets: states,
 * reasons, routes of the table, and of models those the store keeps apart.
 * Series whose labels are known beforehand are there from the start, at 0, so
 * that their first increase is seen as one.
 */
#include <config.h>

#include "responder/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "http/xfer.h"
#include "responder/answer.h"
#include "responder/tally.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define METRICS_MAX (4 * 1024 * 1024)
#define LABEL_SIZE 512

struct text {
	struct buf *b;
	enum err err; /* the first sticks */
};

static void PRINTF_LIKE(2, 3) put(struct text *t, const char *fmt, ...)
{
	char line[2 * LABEL_SIZE];
	va_list args;
	int len;

	if (t->err)
		return;
	va_start(args, fmt);
	len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	t->err = len < 0 || (size_t)len >= sizeof(line)
	             ? ERR_TOOBIG
	             : buf_add(t->b, line, (size_t)len);
}

static void family(struct text *t, const char *name, const char *type,
                   const char *help)
{
	put(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* As the format spells it: C says inf. */
static const char *number(double value, char out[32])
{
	if (isinf(value))
		return value > 0 ? "+Inf" : "-Inf";
	snprintf(out, 32, "%.15g", value);
	return out;
}

/* A family of one figure without labels. */
static void figure(struct text *t, const char *name, const char *type,
                   const char *help, double value)
{
	char shown[32];

	family(t, name, type, help);
	put(t, "%s %s\n", name, number(value, shown));
}

/* A label's value: backslash, quote and newline escaped; what is too long, cut. */
static const char *label(const char *value, char out[LABEL_SIZE])
{
	size_t n = 0;

	for (; *value && n + 3 < LABEL_SIZE; value++) {
		if (*value == '\\' || *value == '"' || *value == '\n')
			out[n++] = '\\';
		out[n++] = *value == '\n' ? 'n' : *value;
	}
	out[n] = '\0';
	return out;
}

/* 0 for what has not begun, and where a clock stepped back. */
static double seconds_since(int64_t wall_ms, int64_t now_ms)
{
	return wall_ms > 0 && now_ms > wall_ms ? (double)(now_ms - wall_ms) / 1000 : 0;
}

/* --- jobs ------------------------------------------------------------------ */

static const char *const classes[] = { "unattended", "attended" };

static void put_jobs(struct text *t, const struct gauge *g, int64_t now_ms)
{
	char shown[32];

	family(t, "foreman_jobs", "gauge", "Jobs that are kept, by state and class.");
	for (int s = 0; s < JOB_STATE_COUNT; s++)
		for (int c = 0; c < 2; c++)
			put(t, "foreman_jobs{state=\"%s\",class=\"%s\"} %" PRId64 "\n",
			    job_state_name((enum job_state)s), classes[c], g->jobs[s][c]);
	family(t, "foreman_jobs_submitted_total", "counter",
	       "Jobs that were submitted; an attended one has a waiting client.");
	for (int c = 0; c < 2; c++)
		put(t, "foreman_jobs_submitted_total{class=\"%s\"} %" PRId64 "\n",
		    classes[c], g->arrived[c]);
	family(t, "foreman_queue_oldest_age_seconds", "gauge",
	       "How long the first in line has waited.");
	for (int c = 0; c < 2; c++)
		put(t, "foreman_queue_oldest_age_seconds{class=\"%s\"} %s\n", classes[c],
		    number(seconds_since(g->head_queued_ms[c], now_ms), shown));
	figure(t, "foreman_model_swaps_total", "counter",
	       "Loads that a change of model caused.", (double)g->swaps);
	figure(t, "foreman_model_swaps_in_order_of_arrival_total", "counter",
	       "Loads that running in order of arrival would have caused.",
	       (double)g->fifo_swaps);
}

/* --- what the store counts ------------------------------------------------- */

static int64_t total(const struct gauge *g, const char *name, const char *which)
{
	for (size_t i = 0; i < g->counter_count; i++)
		if (strcmp(g->counters[i].name, name) == 0 &&
		    strcmp(g->counters[i].label, which) == 0)
			return g->counters[i].total;
	return 0;
}

static void put_ends(struct text *t, const struct gauge *g)
{
	static const char ended[] = "foreman_jobs_finished_total";
	static const char back[] = "foreman_jobs_requeued_total";

	family(t, ended, "counter", "Jobs that ended, and why where they failed.");
	put(t, "%s{outcome=\"done\",reason=\"\"} %" PRId64 "\n", ended,
	    total(g, "finished", "done"));
	for (int r = REASON_CANCELED; r <= REASON_INTERNAL; r++) {
		const char *reason = job_reason_name((enum job_reason)r);

		put(t, "%s{outcome=\"failed\",reason=\"%s\"} %" PRId64 "\n", ended, reason,
		    total(g, "finished", reason));
	}
	family(t, back, "counter", "Runs that ended back in the line, and why.");
	for (int r = REASON_TARGET_LOST; r < REASON_COUNT; r++) {
		const char *cause = job_reason_name((enum job_reason)r);

		put(t, "%s{cause=\"%s\"} %" PRId64 "\n", back, cause,
		    total(g, "sent_back", cause));
	}
	family(t, "foreman_webhook_attempts_total", "counter",
	       "Attempts to deliver a webhook.");
	for (int i = 0; i < 2; i++) {
		const char *result = i ? "failed" : "delivered";

		put(t, "foreman_webhook_attempts_total{result=\"%s\"} %" PRId64 "\n",
		    result, total(g, "webhook_attempts", result));
	}
}

static void put_tokens(struct text *t, const struct gauge *g)
{
	static const struct {
		const char *name, *direction;
	} kinds[] = { { "prompt_tokens", "prompt" },
		          { "completion_tokens", "completion" } };
	char shown[LABEL_SIZE];

	family(t, "foreman_tokens_total", "counter",
	       "Tokens the target reported for jobs that were done.");
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (size_t i = 0; i < g->counter_count; i++)
			if (strcmp(g->counters[i].name, kinds[k].name) == 0)
				put(t,
				    "foreman_tokens_total{direction=\"%s\",model=\"%s\"} %" PRId64
				    "\n",
				    kinds[k].direction, label(g->counters[i].label, shown),
				    g->counters[i].total);
}

/* --- histograms ------------------------------------------------------------ */

struct series {
	const char *name;   /* of the family */
	const char *labels; /* 'model="a:latest"' */
	double sum;
	uint64_t count; /* so far: buckets hold those below them as well */
};

static void put_bucket(struct text *t, struct series *s, double le, uint64_t more)
{
	char shown[32];

	s->count += more;
	put(t, "%s_bucket{%s,le=\"%s\"} %" PRIu64 "\n", s->name, s->labels,
	    number(le, shown), s->count);
}

static void put_rest(struct text *t, const struct series *s)
{
	char shown[32];

	put(t, "%s_sum{%s} %s\n", s->name, s->labels, number(s->sum, shown));
	put(t, "%s_count{%s} %" PRIu64 "\n", s->name, s->labels, s->count);
}

/* The buckets from `at` on that are one series; where the next begin. */
static size_t put_stored(struct text *t, const struct gauge *g, size_t at,
                         const char *name, const char *key)
{
	const struct gauge_bucket *first = &g->buckets[at];
	char shown[LABEL_SIZE], labels[LABEL_SIZE + 32];
	struct series s = { .name = name, .labels = labels };

	snprintf(labels, sizeof(labels), "%s=\"%s\"", key, label(first->label, shown));
	for (size_t b = 0; b < g->bound_count; b++) {
		const struct gauge_bucket *next = &g->buckets[at];
		bool here = at < g->bucket_count && next->le <= g->bounds[b] &&
		            strcmp(next->name, first->name) == 0 &&
		            strcmp(next->label, first->label) == 0;

		if (here) {
			s.sum += next->sum;
			at++;
		}
		put_bucket(t, &s, g->bounds[b], here ? (uint64_t)next->count : 0);
	}
	put_rest(t, &s);
	return at;
}

static void put_histograms(struct text *t, const struct gauge *g)
{
	static const struct {
		const char *in_store, *name, *label, *help;
	} all[] = {
		{ "queue_wait", "foreman_queue_wait_seconds", "class",
		  "From entering the line to being dispatched." },
		{ "load", "foreman_model_load_seconds", "model",
		  "From dispatch to the target's first answer, of jobs that were done." },
		{ "work", "foreman_job_work_seconds", "model",
		  "From the target's first answer to its last, of jobs that were done." },
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		size_t at = 0;

		family(t, all[i].name, "histogram", all[i].help);
		while (at < g->bucket_count) {
			size_t was = at;

			if (strcmp(g->buckets[at].name, all[i].in_store) == 0)
				at = put_stored(t, g, at, all[i].name, all[i].label);
			if (at == was)
				at++; /* another's, or of a bound that is none */
		}
	}
}

/* --- what the responders count --------------------------------------------- */

static void put_code(void *arg, const struct tally_row *row, int status,
                     uint64_t count)
{
	put(arg,
	    "foreman_http_requests_total{method=\"%s\",route=\"%s\",code=\"%d\"} "
	    "%" PRIu64 "\n",
	    row->method, row->path, status, count);
}

static void put_duration(void *arg, const struct tally_row *row)
{
	char labels[96];
	struct series s = { .name = "foreman_http_request_duration_seconds",
		                .labels = labels,
		                .sum = row->seconds };

	snprintf(labels, sizeof(labels), "method=\"%s\",route=\"%s\"", row->method,
	         row->path);
	for (int b = 0; b < TALLY_BUCKETS; b++)
		put_bucket(arg, &s, tally_bounds[b], row->buckets[b]);
	put_rest(arg, &s);
}

static void put_requests(struct text *t)
{
	family(t, "foreman_http_requests_total", "counter",
	       "Requests by route and status; code 0: the client left before any.");
	tally_each(NULL, put_code, t);
	family(t, "foreman_http_request_duration_seconds", "histogram",
	       "From a request's arrival to its end, waiting in line included.");
	tally_each(put_duration, NULL, t);
	family(t, "foreman_client_disconnects_total", "counter",
	       "Clients who left while they waited, or before their answer's end.");
	put(t, "foreman_client_disconnects_total{phase=\"waiting\"} %" PRIu64 "\n",
	    tally_total(TALLY_LEFT_WAITING));
	put(t, "foreman_client_disconnects_total{phase=\"reading\"} %" PRIu64 "\n",
	    tally_total(TALLY_LEFT_READING));
	figure(t, "foreman_idempotent_replays_total", "counter",
	       "Submissions that were answered with the job of an earlier one.",
	       (double)tally_total(TALLY_REPLAYED));
}

/* --- the rest -------------------------------------------------------------- */

static void put_target(struct text *t, const struct gauge *g, int64_t now_ms)
{
	const struct status *s = &g->status;

	figure(t, "foreman_target_up", "gauge", "1 if the target answers.",
	       s->target == TARGET_UP);
	family(t, "foreman_target_state", "gauge", "1 for the state it is in.");
	for (int i = 0; i < TARGET_STATE_COUNT; i++)
		put(t, "foreman_target_state{state=\"%s\"} %d\n",
		    target_state_name((enum target_state)i),
		    s->target == (enum target_state)i);
	figure(t, "foreman_embedder_ready", "gauge",
	       "1 if FOREMAN_EMBED_MODEL is resident at the target.", s->embed_ready);
	figure(t, "foreman_worker_heartbeat_age_seconds", "gauge",
	       "Since the worker's last sign of life; +Inf: there was none ever.",
	       s->heartbeat_ms ? seconds_since(s->heartbeat_ms, now_ms) : INFINITY);
	figure(t, "foreman_worker_start_time_seconds", "gauge",
	       "When the active worker took over, since 1970.",
	       (double)s->worker_started_ms / 1000);
}

static void put_store(struct text *t, const struct gauge *g, int64_t now_ms)
{
	figure(t, "foreman_webhooks_pending", "gauge", "Webhooks that are owed.",
	       (double)g->webhooks_pending);
	figure(t, "foreman_webhooks_dead", "gauge", "Webhooks that were given up.",
	       (double)g->webhooks_dead);
	figure(t, "foreman_webhook_oldest_pending_seconds", "gauge",
	       "How long the one owed longest has been owed.",
	       seconds_since(g->oldest_webhook_ms, now_ms));
	figure(t, "foreman_db_bytes", "gauge", "Size of the database file.",
	       (double)g->file_bytes);
	figure(t, "foreman_db_free_bytes", "gauge",
	       "Of these, what holds nothing at present.", (double)g->free_bytes);
	figure(t, "foreman_db_wal_bytes", "gauge",
	       "What of the write-ahead log is not in the file yet.",
	       (double)g->wal_bytes);
	figure(t, "foreman_db_disk_free_bytes", "gauge",
	       "Room left on the database's file system.", (double)g->disk_free_bytes);
}

/* "7.88.1" of "libcurl/7.88.1 OpenSSL/3.0.22 ...". */
static const char *curl_version(char out[LABEL_SIZE])
{
	struct span all = span_of(xfer_curl_version()), name;

	span_cut(&all, '/', &name);
	span_cut(&all, ' ', &name);
	snprintf(out, LABEL_SIZE, "%.*s", (int)name.len, name.p ? name.p : "");
	return out;
}

static void put_build(struct text *t)
{
	char curl[LABEL_SIZE];

	family(t, "foreman_build_info", "gauge", "1; what this foreman is made of.");
	put(t,
	    "foreman_build_info{version=\"%s\",sqlite=\"%s\",libcurl=\"%s\","
	    "fcgi2=\"%s\"} 1\n",
	    PACKAGE_VERSION, db_sqlite_version(), curl_version(curl), FCGI_VERSION);
}

enum err metrics_text(const struct gauge *g, int64_t now_ms, struct buf *b)
{
	struct text t = { .b = b };

	put_build(&t);
	put_jobs(&t, g, now_ms);
	put_ends(&t, g);
	put_tokens(&t, g);
	put_histograms(&t, g);
	put_target(&t, g, now_ms);
	put_store(&t, g, now_ms);
	put_requests(&t);
	return t.err;
}

void metrics_handle(struct call *c)
{
	struct gauge g;
	struct db *db;
	struct buf b;
	enum err e;

	if (call_db(c, &db))
		return;
	e = gauge_read(db, &g, &c->why);
	if (e) {
		answer_store_error(c, e);
		return;
	}
	buf_init(&b, METRICS_MAX);
	e = metrics_text(&g, clock_wall_ms(), &b);
	if (e)
		answer_fault(c, FAULT_INTERNAL, "cannot tell the metrics: %s", err_name(e));
	else
		answer_typed(c, 200, METRICS_TYPE, "Cache-Control: no-store\n",
		             (struct span){ b.p, b.len });
	buf_done(&b);
	gauge_done(&g);
}
