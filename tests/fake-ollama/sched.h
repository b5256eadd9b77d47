/*
 * sched.h - Ollama's scheduler: one pending queue in order of arrival, a few
 * runners, and on each runner a line for its slots.
 *
 *   sched_submit ─► (pending ─► load) ─► ready ─► sched_turn ─► turn ─► sched_leave
 *
 * A request for a runner that is loaded and fits skips the pending queue. No
 * grouping: A, B, A, B on a server with room for one loads four times.
 */
#ifndef FAKE_OLLAMA_SCHED_H
#define FAKE_OLLAMA_SCHED_H

#include "models.h"

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEEP_FOREVER INT64_MAX /* nanoseconds */
#define BUSY_TEXT                                                                  \
	"server busy, please try again.  maximum pending requests exceeded"
#define CANCELED_TEXT "request canceled"

struct sched_settings {
	int64_t max_loaded;
	int64_t parallel;
	int64_t max_queue;
	int64_t keep_ns;
	int64_t load_ms;
};

/* The options that shape a runner; what sets a reload off. */
struct runner_opts {
	int64_t num_ctx, num_batch; /* 0: auto */
	int64_t num_gpu;            /* -1: auto */
	int64_t main_gpu, num_thread, draft_num_predict;
	int use_mmap; /* -1: not said */
	bool no_shift;
};

#define RUNNER_OPTS_DEFAULT ((struct runner_opts){ .num_gpu = -1, .use_mmap = -1 })

struct runner;
struct pending;

/* Embed one in each request; fill the upper part. */
struct sched_request {
	const struct model *model;
	struct runner_opts opts;
	bool has_keep;
	int64_t keep_ns;        /* KEEP_FOREVER and above zero; 0: at once */
	int64_t load_ms;        /* -1: the model's or the server's */
	const char *load_error; /* the load fails with this; NULL: it does not */
	uint64_t n;             /* for the journal */
	void *arg;
	/* A runner is held for it now. Not called from inside sched_submit only
	 * when something has to be waited for. */
	void (*ready)(void *arg);
	/* One of the runner's slots is held for it now. */
	void (*turn)(void *arg);
	/* Refused; nothing is held and sched_leave is not needed. */
	void (*fail)(void *arg, int status, const char *text);

	struct runner *runner; /* the rest is sched.c's */
	struct pending *pending;
	struct sched_request *next_in_line;
	bool in_line, has_slot;
};

void sched_init(const struct sched_settings *s);
void sched_done(void);

void sched_submit(struct sched_request *r);
void sched_turn(struct sched_request *r);

/* The request is over, or its client has left, wherever it stood. `leak`: it
 * leaves its runner and slot taken, until the model is unloaded by request. */
void sched_leave(struct sched_request *r, bool leak);

/* The unload form: now if idle, else when the last one is through. */
void sched_expire(const struct model *m);

/* Go on after the deadlock (faults.h) was taken away. */
void sched_look(void);

/* The process dies: every runner is gone. Only when no request is left. */
void sched_kill(void);

size_t sched_pending(void);
/* {"models":[…]} of /api/ps: what is loaded, never what is loading. */
void put_ps(struct buf *b);

#endif
