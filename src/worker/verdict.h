/*
 * verdict.h - what the target's answer means for the job. Pure.
 *
 * First a scan that follows the body as it grows (done:true? an error line?
 * how many tokens?), then one judgement over everything known of the run.
 * Only done:true makes a generation a success; a status class alone is no
 * policy; an unreachable or dying target is never the job's fault.
 */
#ifndef FOREMAN_WORKER_VERDICT_H
#define FOREMAN_WORKER_VERDICT_H

#include "base/str.h"
#include "core/frame.h"
#include "core/job.h"
#include "core/limits.h"
#include "http/xfer.h"
#include "store/pace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum scan_form {
	SCAN_LINES,  /* NDJSON: each line an object */
	SCAN_EVENTS, /* server-sent events, of /v1 */
	SCAN_WHOLE   /* one JSON value */
};

struct scan {
	enum scan_form form;
	bool wants_done; /* without done:true (or the event of its API that says
	                    so: [DONE], response.completed, message_stop) it is
	                    incomplete */
	bool done;
	bool error;                      /* the target reported one inside a 2xx */
	bool nonsense;                   /* a line that is no JSON object */
	char text[LIMIT_ERROR_TEXT + 1]; /* of the error */
	int64_t prompt_tokens;           /* -1: not told */
	int64_t completion_tokens;
	int64_t load_ns;                 /* Ollama's own clock; -1: not told */
	int64_t eval_ns;                 /* ... for the completion tokens */
	size_t line; /* where the line in hand begins */
	size_t seen; /* no newline between `line` and here */
};

/* For a 2xx answer of this endpoint ("/api/chat") and content type. */
void scan_init(struct scan *s, const char *endpoint, const char *content_type);

/* `body` is all of it so far; what was looked at before is not read again. */
void scan_more(struct scan *s, struct span body);

/* The end: what stands behind the last newline counts as well. */
void scan_end(struct scan *s, struct span body);

/* The target's own words out of an error reply: {"error":"…"}, OpenAI's
 * {"error":{"message":…}}, or the text itself; printable, cut to fit. */
void verdict_error_text(struct span body, int status, char *out, size_t size);

/* --- pace ------------------------------------------------------------------ */

/* What foreman itself saw of a run that was a success. */
struct run_times {
	bool rotates;    /* its model goes to the slot that changes models */
	bool known;      /* what was loaded there before is known */
	bool same;       /* ... and was this run's load key */
	int64_t head_ms; /* from dispatch to the answer's head */
	int64_t all_ms;  /* ... to its end */
};

/* The pace it shows: by the target's own figures where it gave some. */
struct pace verdict_pace(const struct scan *s, const struct run_times *t);

/* --- the judgement --------------------------------------------------------- */

/* Does this status say "not now"? Then no reader is shown it. */
bool verdict_busy(int status);

/* Why foreman itself ended the transfer, if it did. */
enum run_stop {
	STOP_NONE,
	STOP_CANCELED,  /* somebody asked, or the client left */
	STOP_TIMEOUT,   /* the job's own `timeout` */
	STOP_TOO_LARGE, /* over FOREMAN_MAX_RESPONSE */
	STOP_LEAVING,   /* the worker goes; the next one will run it */
	STOP_INTERNAL,  /* no memory for the reply */
	STOP_GONE,      /* the job was removed from under us */
	STOP_STALLED,   /* silence, and no probe is answered either */
	STOP_WEDGED     /* silence, though probes are answered */
};

struct run_facts {
	bool attended;
	int attempts; /* that counted, before this run */
	int max_attempts;
	int interruptions;
	enum run_stop stop;
	enum xfer_outcome outcome; /* XFER_STOPPED goes with `stop` */
	const char *why;           /* for anything but XFER_OK */
	int status;                /* 0: no head came, nothing was shown */
	int64_t retry_after_ms;    /* -1: not told */
	const struct scan *scan;   /* of a 2xx; else NULL */
	const char *error;         /* the target's words, when not 2xx */
};

enum verdict_kind {
	VERDICT_DONE,
	VERDICT_FAILED,
	VERDICT_BACK,   /* to the line */
	VERDICT_NOTHING /* the job is no longer there */
};

struct verdict {
	enum verdict_kind kind;
	enum job_reason reason;
	bool counted;    /* the run counts as an attempt */
	int64_t hold_ms; /* BACK: not again before */
	bool keep;       /* FAILED: store what came, as incomplete */
	bool lost;       /* the target must show that it is there again */
	char error[LIMIT_ERROR_TEXT + 1]; /* "" when there is nothing to say */
	bool quoted;     /* `error` is the target's words, which may repeat what the
	                    client said or the model: for the job, not for the log */
	/* What those who read along are told: */
	enum frame_end end;
	uint16_t end_status;
	const char *end_text; /* static */
};

void verdict_judge(const struct run_facts *f, struct verdict *out);

/* It would have gone back, but somebody had canceled it. */
void verdict_canceled(struct verdict *v);
/* The store will never take it: it fails, without what came. */
void verdict_unstorable(struct verdict *v);

#endif
