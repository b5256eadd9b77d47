/*
 * job.h - what a job is, and where it may go.
 *
 *            ┌────────── target or foreman went away ─────────┐
 *            ▼                      │                         │
 *   ──► queued ───────► loading ────┴──► working ─────────────┤
 *          │               │                │                 │
 *          │               │                └──► done         │
 *          └──► failed ◄───┴◄───────────────┘                 │
 *
 * The table in job.c is this drawing; the store refuses every other move.
 * No I/O here.
 */
#ifndef FOREMAN_CORE_JOB_H
#define FOREMAN_CORE_JOB_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "base/ulid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum job_state {
	JOB_QUEUED,
	JOB_LOADING, /* dispatched; the target has not answered yet */
	JOB_WORKING, /* the target answers */
	JOB_DONE,
	JOB_FAILED,
	JOB_STATE_COUNT
};

/* Why a job failed, or was sent back; the texts are part of the contract. */
enum job_reason {
	REASON_NONE,
	REASON_CANCELED,
	REASON_EXPIRED,
	REASON_TIMEOUT,
	REASON_MODEL_NOT_FOUND,
	REASON_INVALID_REQUEST,
	REASON_UPSTREAM_ERROR,
	REASON_UPSTREAM_INCOMPLETE,
	REASON_RESPONSE_TOO_LARGE,
	REASON_ATTEMPTS_EXHAUSTED,
	REASON_WORKER_RESTARTED,
	REASON_INTERNAL,
	/* only for moves back to queued, told in events: */
	REASON_TARGET_LOST,     /* unreachable, asleep, died: not counted */
	REASON_TARGET_BUSY,     /* 503, 429: not counted */
	REASON_FOREMAN_STOPPED, /* our own restart: not counted */
	REASON_RETRY,           /* the run failed, another will be tried: counted */
	REASON_COUNT
};

enum job_waiting { WAITING_NONE, WAITING_WORKER, WAITING_MODEL, WAITING_TARGET, WAITING_COUNT };

enum artifact_mode { ARTIFACT_AUTO, ARTIFACT_INLINE, ARTIFACT_FETCH, ARTIFACT_MODE_COUNT };

const char *job_state_name(enum job_state s);
enum err job_state_parse(struct span s, enum job_state *out) MUST_CHECK;
bool job_state_terminal(enum job_state s);
const char *job_reason_name(enum job_reason r); /* NULL for REASON_NONE */
enum err job_reason_parse(struct span s, enum job_reason *out) MUST_CHECK;
const char *job_waiting_name(enum job_waiting w); /* NULL for WAITING_NONE */
const char *artifact_mode_name(enum artifact_mode m);
enum err artifact_mode_parse(struct span s, enum artifact_mode *out) MUST_CHECK;

/* May a job move from one state to the other? The table of arrows. */
bool job_may_move(enum job_state from, enum job_state to);

/* The webhook type of having arrived in a state: "job.queued" … */
const char *job_event_type(enum job_state s);
/* A set of states, for webhook filters: bit (1u << state). */
#define JOB_EVENTS_ALL ((1u << JOB_STATE_COUNT) - 1u)

/* What is known of one artifact; the bytes stay in the store. */
struct artifact {
	char name[16];          /* "response" */
	char content_type[64];
	int64_t bytes;
	char sha256[65];        /* lower-case hex */
	bool complete;
	char *inline_bytes;     /* `bytes` of them, or NULL when not loaded */
};

/*
 * One job as read from the store. Strings are owned and may be NULL where
 * the contract says null; job_done frees them. Times are wall-clock
 * milliseconds, 0 meaning "not yet".
 */
struct job {
	int64_t seq;            /* order of arrival, the store's key */
	char id[ULID_SIZE];
	enum job_state state;
	enum job_reason reason;
	char *error;            /* for people */
	bool attended;          /* a client waits on an open connection */
	char *endpoint;         /* "/api/chat" */
	char *model;            /* as the client wrote it */
	char *load_key;         /* model.h */
	int attempts;           /* runs that counted */
	int interruptions;      /* runs that did not: sleep, our restarts */
	int64_t event_seq;      /* of the latest event; 1 = queued */
	bool cancel_requested;
	int64_t created_ms;
	int64_t queued_ms;      /* when it last entered the line */
	int64_t held_until_ms;  /* not before this (retry backoff); 0 = now */
	int64_t loading_ms;     /* of the latest run */
	int64_t working_ms;
	int64_t finished_ms;
	int64_t expires_ms;     /* drop if not started by then; 0 = never */
	int64_t timeout_ms;     /* a duration: cut off after; 0 = none */
	int64_t prompt_tokens;  /* -1: unknown */
	int64_t completion_tokens;
	enum artifact_mode artifact_mode;
	char *metadata;         /* a JSON object, NULL = {} */
	char *webhook_url;
	char *webhook_secret;   /* never shown */
	unsigned webhook_events; /* set of states */
	int64_t webhook_pending;
	int64_t webhook_dead;
	int64_t position;       /* 1 = next; 0 = does not wait or not known */
	int64_t starts_ms;      /* estimated, while it waits; 0 = not known */
	int64_t ends_ms;
	enum job_waiting waiting_on;
	struct artifact *artifacts;
	size_t artifact_count;
};

void job_init(struct job *job);
void job_done(struct job *job);

/* How a job object is rendered; the same for answers and webhooks. */
struct job_view {
	const char *public_url; /* NULL: relative links */
	int64_t now_ms;         /* wall; running timings count up to here */
	int64_t inline_max;     /* for ARTIFACT_AUTO */
};

/* The contract's job object as compact JSON on the heap (free() it). NULL when
 * there is no memory. Artifacts ride inline when their bytes are loaded and
 * mode and size allow. */
char *job_json(const struct job *job, const struct job_view *view);

/* {"type":"job.done","timestamp":"…","data":{"job":…}} for the job's current
 * state at `at_ms`; heap, NULL when there is no memory. */
char *job_event_json(const struct job *job, const struct job_view *view,
                     int64_t at_ms);

#endif
