/*
 * sched.c - who loads, who is evicted, who waits.
 *
 * The head of the pending queue is looked at alone: nothing behind it moves
 * until it has its runner. Places in the queue of clients that left stay
 * taken until their turn comes. A victim that is busy is awaited; while it is,
 * others may go on using it, and a keep_alive of theirs may even save it.
 * All of that is Ollama's; none of it is a wish.
 */
#include <config.h>

#include "sched.h"

#include "faults.h"
#include "journal.h"
#include "loop.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_MAX_LOADED 3 /* 3 a GPU; and without one */
#define MIN_CTX 4
#define AUTO_CTX 4096

struct pending {
	struct pending *next;
	struct sched_request *request; /* NULL: its client has left */
};

struct runner {
	struct runner *next;
	const struct model *model;
	char blob[65];
	struct runner_opts opts;
	bool loading;
	struct timer load;   /* while loading */
	struct timer expire; /* while idle */
	int64_t session_ns;
	int64_t expires_ns; /* wall; 0: has never been idle */
	size_t refs, slots, used, leaked;
	struct sched_request *line, **line_end;
};

static struct sched_settings settings;
static struct runner *runners;
static struct pending *queue, **queue_end = &queue;
static size_t queued;
static struct pending *head;  /* being placed; not counted in `queued` */
static struct runner *victim; /* the head waits for this one to go */
static bool placing;

static void kick(void);

/* --- runners -------------------------------------------------------------- */

static struct runner *find(const struct model *m)
{
	struct runner *r = runners;

	while (r && strcmp(r->blob, m->blob))
		r = r->next;
	return r;
}

static int64_t runner_count(void)
{
	int64_t n = 0;

	for (struct runner *r = runners; r; r = r->next)
		n++;
	return n;
}

static struct runner_opts normal(const struct sched_request *q)
{
	struct runner_opts o = q->opts;

	if (o.num_ctx && o.num_ctx < MIN_CTX)
		o.num_ctx = MIN_CTX;
	if (o.num_ctx > q->model->context)
		o.num_ctx = q->model->context;
	return o;
}

static bool needs_reload(const struct runner *r, const struct sched_request *q)
{
	struct runner_opts a = r->opts, b = normal(q);

	if (b.num_gpu < 0)
		a.num_gpu = b.num_gpu = -1;
	return a.num_ctx != b.num_ctx || a.num_batch != b.num_batch ||
	       a.num_gpu != b.num_gpu || a.main_gpu != b.main_gpu ||
	       a.num_thread != b.num_thread || a.use_mmap != b.use_mmap ||
	       a.draft_num_predict != b.draft_num_predict || a.no_shift != b.no_shift;
}

/* Idle before busy, then the shortest session, then the path. */
static struct runner *choose_victim(void)
{
	struct runner *best = NULL;

	for (struct runner *r = runners; r; r = r->next) {
		if (!best || (!r->refs && best->refs)) {
			best = r;
			continue;
		}
		if ((r->refs > 0) != (best->refs > 0))
			continue;
		if (r->session_ns < best->session_ns ||
		    (r->session_ns == best->session_ns && strcmp(r->blob, best->blob) < 0))
			best = r;
	}
	return best;
}

static void destroy(struct runner *r)
{
	struct runner **at = &runners;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	timer_stop(&r->load);
	timer_stop(&r->expire);
	loop_free(r);
}

static void unload(struct runner *r)
{
	counted.unloads++;
	journal_model("unload", 0, r->model->display);
	destroy(r);
	victim = NULL; /* whatever went, the head looks again */
	kick();
}

static void expired(void *arg)
{
	unload(arg);
}

static void gone_idle(struct runner *r)
{
	if (r->session_ns <= 0) {
		unload(r);
		return;
	}
	r->expires_ns = text_wall_ns();
	if (r->session_ns == KEEP_FOREVER ||
	    r->expires_ns > INT64_MAX - r->session_ns) {
		r->expires_ns = INT64_MAX;
		return;
	}
	r->expires_ns += r->session_ns;
	timer_at(&r->expire, loop_now_us() + r->session_ns / 1000);
}

static void end_soon(struct runner *r)
{
	timer_stop(&r->expire);
	r->session_ns = 0;
	if (!r->refs)
		unload(r);
}

static void hold(struct runner *r, struct sched_request *q)
{
	q->runner = r;
	r->refs++;
	timer_stop(&r->expire);
	if (q->has_keep)
		r->session_ns = q->keep_ns;
	q->ready(q->arg);
}

static void next_in_line(struct runner *r)
{
	while (r->line && r->used < r->slots) {
		struct sched_request *q = r->line;

		r->line = q->next_in_line;
		if (!r->line)
			r->line_end = &r->line;
		q->in_line = false;
		q->has_slot = true;
		r->used++;
		q->turn(q->arg);
	}
}

/* --- loading -------------------------------------------------------------- */

static void head_done(void)
{
	free(head);
	head = NULL;
}

static void loaded(void *arg)
{
	struct runner *r = arg;
	struct sched_request *q = head->request;

	head_done();
	q->pending = NULL;
	if (q->load_error) {
		counted.load_aborts++;
		journal_model("load_failed", q->n, r->model->display);
		destroy(r);
		q->fail(q->arg, 500, q->load_error);
		kick();
		return;
	}
	r->loading = false;
	count_load(r->model->display);
	journal_model("loaded", q->n, r->model->display);
	hold(r, q);
	kick();
}

static void load(struct sched_request *q)
{
	struct runner *r = text_alloc(sizeof(*r));
	int64_t ms = q->load_ms >= 0          ? q->load_ms
	             : q->model->load_ms >= 0 ? q->model->load_ms
	                                      : settings.load_ms;

	r->model = q->model;
	memcpy(r->blob, q->model->blob, sizeof(r->blob));
	r->opts = normal(q);
	r->loading = true;
	r->load = (struct timer){ .fn = loaded, .arg = r };
	r->expire = (struct timer){ .fn = expired, .arg = r };
	r->session_ns = settings.keep_ns;
	r->slots = q->model->can & CAN_EMBED ? 1 : (size_t)settings.parallel;
	r->line_end = &r->line;
	r->next = runners;
	runners = r;
	journal_model("load", q->n, q->model->display);
	timer_at(&r->load, loop_now_us() + ms * 1000);
}

static void abort_load(struct runner *r)
{
	counted.load_aborts++;
	journal_model("load_aborted", 0, r->model->display);
	destroy(r);
	head_done();
	kick();
}

/* --- the pending queue ---------------------------------------------------- */

/* Give the head its runner, or start what it has to wait for. True: look at
 * the head again, this one or the next; false: it waits for an event. */
static bool place_head(void)
{
	struct sched_request *q = head->request;
	struct runner *r, *out;

	if (!q) {
		head_done();
		return true;
	}
	r = find(q->model);
	if (r && r->loading)
		return false; /* its own load */
	if (r && !needs_reload(r, q)) {
		q->pending = NULL;
		head_done();
		hold(r, q);
		return true;
	}
	out = r ? r : runner_count() >= settings.max_loaded ? choose_victim() : NULL;
	if (!out) {
		load(q);
		return false;
	}
	if (r)
		counted.reloads++;
	else
		counted.evictions++;
	journal_model(r ? "reload" : "evict", q->n, out->model->display);
	victim = out;
	end_soon(out); /* its unload clears `victim`: then place again */
	return !victim;
}

/* Place heads until one has to wait. Re-entered from callbacks: once is
 * enough, the outer one goes on. */
static void kick(void)
{
	if (placing || server.deadlock)
		return;
	placing = true;
	while (!victim) {
		if (!head) {
			if (!queue)
				break;
			head = queue;
			queue = head->next;
			if (!queue)
				queue_end = &queue;
			queued--;
		}
		if (!place_head())
			break;
	}
	placing = false;
}

void sched_look(void)
{
	kick();
}

void sched_submit(struct sched_request *q)
{
	struct runner *r = find(q->model);

	q->runner = NULL;
	q->pending = NULL;
	q->in_line = q->has_slot = false;
	if (server.busy) {
		q->fail(q->arg, 503, BUSY_TEXT);
		return;
	}
	if (r && !r->loading && !needs_reload(r, q)) {
		hold(r, q);
		return;
	}
	/* A queue of 0 still takes what the scheduler can look at at once. */
	if ((int64_t)queued >= settings.max_queue && (head || queue)) {
		q->fail(q->arg, 503, BUSY_TEXT);
		return;
	}
	q->pending = text_alloc(sizeof(*q->pending));
	q->pending->request = q;
	*queue_end = q->pending;
	queue_end = &q->pending->next;
	queued++;
	kick();
}

void sched_turn(struct sched_request *q)
{
	struct runner *r = q->runner;

	q->in_line = true;
	q->next_in_line = NULL;
	*r->line_end = q;
	r->line_end = &q->next_in_line;
	next_in_line(r);
}

static void leave_line(struct runner *r, struct sched_request *q)
{
	struct sched_request **at = &r->line;

	while (*at != q)
		at = &(*at)->next_in_line;
	*at = q->next_in_line;
	if (!*at)
		r->line_end = at;
	q->in_line = false;
}

void sched_leave(struct sched_request *q, bool leak)
{
	struct runner *r = q->runner;

	if (q->pending) {
		q->pending->request = NULL;
		r = find(q->model);
		if (head == q->pending && r && r->loading)
			abort_load(r);
		q->pending = NULL;
		return;
	}
	if (!r)
		return;
	q->runner = NULL;
	if (q->in_line)
		leave_line(r, q);
	if (leak && q->has_slot) {
		r->leaked++;
		return;
	}
	if (q->has_slot) {
		q->has_slot = false;
		r->used--;
	}
	if (--r->refs)
		next_in_line(r);
	else
		gone_idle(r);
}

void sched_expire(const struct model *m)
{
	struct runner *r = find(m);

	if (!r || r->loading)
		return;
	r->refs -= r->leaked;
	r->used -= r->leaked;
	r->leaked = 0;
	end_soon(r);
	next_in_line(r);
}

void sched_init(const struct sched_settings *s)
{
	settings = *s;
	if (settings.max_loaded <= 0)
		settings.max_loaded = DEFAULT_MAX_LOADED;
	if (settings.parallel < 1)
		settings.parallel = 1;
}

void sched_kill(void)
{
	while (queue) {
		struct pending *p = queue;

		queue = p->next;
		free(p);
	}
	queue_end = &queue;
	queued = 0;
	head_done();
	victim = NULL;
	while (runners)
		destroy(runners);
}

void sched_done(void)
{
	sched_kill();
}

size_t sched_pending(void)
{
	size_t n = 0;

	for (struct pending *p = queue; p; p = p->next)
		n += p->request != NULL;
	return n + (head && head->request);
}

/* --- /api/ps -------------------------------------------------------------- */

static int64_t expires_at(const struct runner *r)
{
	int64_t now = text_wall_ns();

	if (r->expires_ns)
		return r->expires_ns;
	return r->session_ns > INT64_MAX - now ? INT64_MAX : now + r->session_ns;
}

static void put_runner(struct buf *b, const struct runner *r)
{
	const struct model *m = r->model;
	int64_t ctx = r->opts.num_ctx ? r->opts.num_ctx : AUTO_CTX;

	put_f(b,
	      "{\"name\":\"%s\",\"model\":\"%s\",\"size\":%lld,\"digest\":\"%s\","
	      "\"details\":",
	      m->display, m->display, (long long)m->size, m->digest);
	put_details(b, m);
	put_s(b, ",\"expires_at\":\"");
	put_local(b, expires_at(r));
	put_f(b, "\",\"size_vram\":%lld,\"context_length\":%lld}", (long long)m->size,
	      (long long)(ctx < m->context ? ctx : m->context));
}

void put_ps(struct buf *b)
{
	const struct runner **list =
	    text_alloc(((size_t)runner_count() + 1) * sizeof(*list));
	size_t n = 0;

	for (const struct runner *r = runners; r; r = r->next) {
		size_t at = n;

		if (r->loading)
			continue;
		for (; at && expires_at(list[at - 1]) < expires_at(r); at--)
			list[at] = list[at - 1];
		list[at] = r;
		n++;
	}
	put_s(b, "{\"models\":[");
	for (size_t i = 0; i < n; i++) {
		put_s(b, i ? "," : "");
		put_runner(b, list[i]);
	}
	put_s(b, "]}");
	free(list);
}
