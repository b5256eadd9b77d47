/*
 * foreman.h - jobs for an Ollama behind foreman, from C.
 *
 *	foreman *f = foreman_new("http://localhost:8080", NULL);
 *	foreman_error e;
 *	char *text;
 *
 *	if (foreman_chat(f, "qwen3:8b", "Why is the sky blue?", NULL, NULL, &text, &e))
 *		fprintf(stderr, "%s\n", e.text);
 *	else
 *		puts(text), free(text);
 *	foreman_free(f);
 *
 * Calls block. A handle may be used by any number of threads at once. What a
 * call hands out is the caller's: jobs go to foreman_job_free, texts and bytes
 * to free(). Every function that returns a foreman_code takes an error to fill
 * in, which may be NULL; on anything but FOREMAN_OK the other results are left
 * as they were, except where it says otherwise.
 *
 * Compile with `pkg-config --cflags --libs foreman`.
 */
#ifndef FOREMAN_H
#define FOREMAN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- how a call ended ------------------------------------------------------ */

typedef enum foreman_code {
	FOREMAN_OK = 0,
	FOREMAN_JOB_FAILED,   /* the job has ended as failed; its reason tells why */
	FOREMAN_INVALID,      /* what was asked is wrong; asking again will not help */
	FOREMAN_UNAUTHORIZED, /* the token is missing or wrong */
	FOREMAN_NOT_FOUND,    /* no such job or artifact */
	FOREMAN_GONE,         /* the job was there once and has been removed */
	FOREMAN_BUSY,         /* too much is queued, or no room: later may work */
	FOREMAN_UNREACHABLE,  /* no foreman answers there */
	FOREMAN_TIMEOUT,      /* the time given to the call is over */
	FOREMAN_STOPPED,      /* the caller's callback said so */
	FOREMAN_PROTOCOL,     /* something answers that is no foreman */
	FOREMAN_NO_MEMORY
} foreman_code;

typedef struct foreman_error {
	foreman_code code;
	int http_status; /* of the service's answer; 0 if none came */
	int retryable;   /* the same call may work later */
	char name[48];   /* the service's stable word for it, or "" */
	char text[256];  /* for people: one line, always something */
} foreman_error;

/* A static text for a code, for when there is no foreman_error at hand. */
const char *foreman_strerror(foreman_code code);

/* This library's: "0.1.0". */
const char *foreman_version(void);

/* --- the service ----------------------------------------------------------- */

typedef struct foreman foreman;

/*
 * A handle on the service at `url` ("http://host:8080", a path prefix is
 * allowed); NULL: the environment's FOREMAN_URL, else http://localhost:8080.
 * `token` goes with every request as a bearer token; NULL: the environment's
 * FOREMAN_API_TOKEN, else none ("" is none as well). Nothing is sent yet. NULL
 * when there is no memory, the URL is none, or the token cannot stand in a header.
 */
foreman *foreman_new(const char *url, const char *token);
void foreman_free(foreman *f); /* no call may be under way; NULL is fine */

/*
 * For so long a call goes on trying while the service cannot be reached or has
 * no room: milliseconds, 30000 by default, 0 never. It is safe: a submission
 * carries an idempotency key, so that it makes one job however often it is
 * sent. Not while other threads use the handle.
 */
void foreman_set_patience(foreman *f, int64_t ms);

/* --- a job ----------------------------------------------------------------- */

/* A job as it was when it was asked for; it does not change by itself. */
typedef struct foreman_job foreman_job;

void foreman_job_free(foreman_job *job); /* NULL is fine */

/* Texts live as long as the job. NULL where there is none. */
const char *foreman_job_id(const foreman_job *job);
const char *foreman_job_state(const foreman_job *job);  /* "queued", "loading",
                                                   "working", "done", "failed" */
int foreman_job_terminal(const foreman_job *job);       /* done or failed */
const char *foreman_job_reason(const foreman_job *job); /* of failed */
const char *foreman_job_error(const foreman_job *job);  /* the same for people */
const char *foreman_job_model(const foreman_job *job);
int64_t foreman_job_position(const foreman_job *job); /* 1: next; 0: unknown */
int64_t foreman_job_seq(const foreman_job *job);      /* grows with each move */
const char *foreman_job_json(const foreman_job *job); /* all of it */

/* What to submit. Zero it, then set what you want; `request` is required. */
typedef struct foreman_submission {
	const char *endpoint; /* NULL: "/api/chat" */
	const char *request;  /* its JSON body, with a model */
	const char *webhook_url;
	const char *webhook_secret;  /* "whsec_..." */
	const char *webhook_events;  /* "done,failed"; NULL: all five */
	const char *artifact;        /* NULL: "auto"; "inline", "fetch" */
	const char *metadata;        /* a JSON object of strings */
	const char *expires_in;      /* "2h": dropped if not started by then */
	const char *timeout;         /* "15m": cut off when it runs longer */
	const char *idempotency_key; /* NULL: one is made for this call */
} foreman_submission;

/* Returns when the job is on the service's disk. `job` may be NULL. */
foreman_code foreman_submit(foreman *f, const foreman_submission *what,
                            foreman_job **job, foreman_error *e);

foreman_code foreman_get(foreman *f, const char *id, foreman_job **job,
                         foreman_error *e);

/* Until it is done or failed, both of which are FOREMAN_OK here; at most
 * timeout_ms (counted in whole seconds, rounded up; negative: no limit), then
 * FOREMAN_TIMEOUT, and *job is the job as it is. `job` may be NULL. */
foreman_code foreman_wait(foreman *f, const char *id, int64_t timeout_ms,
                          foreman_job **job, foreman_error *e);

/* One that has ended stays as it is; one that runs ends a moment later: wait for
 * it to see how. `job` may be NULL. */
foreman_code foreman_cancel(foreman *f, const char *id, foreman_job **job,
                            foreman_error *e);

/* Cancel it if need be, and remove all of it. */
foreman_code foreman_remove(foreman *f, const char *id, foreman_error *e);

/* --- what it answers ------------------------------------------------------- */

/* Takes a piece; anything but 0 stops the call, which is FOREMAN_STOPPED. */
typedef int (*foreman_sink)(void *arg, const char *bytes, size_t len);

/*
 * What the target has sent to the job so far, then live, to its end: a line a
 * call, without its newline. Waits for a job that has not started. The end of
 * the stream is FOREMAN_OK whatever became of the job. A connection that breaks
 * is FOREMAN_UNREACHABLE: the stream may be opened again, from its beginning.
 */
foreman_code foreman_stream(foreman *f, const char *id, foreman_sink line,
                            void *arg, foreman_error *e);

/* An artifact: "response", the target's reply byte for byte, or "content", the
 * assistant's text. */
foreman_code foreman_fetch(foreman *f, const char *id, const char *name,
                           foreman_sink piece, void *arg, foreman_error *e);

/* The same in one piece, with a NUL behind it that *len does not count; `len`
 * may be NULL. At most 64 MiB, else FOREMAN_INVALID. */
foreman_code foreman_fetch_all(foreman *f, const char *id, const char *name,
                               char **bytes, size_t *len, foreman_error *e);

/*
 * All of it in one call: submit a chat of one message, wait for its turn, give
 * the assistant's text. `prompt` may also be the JSON array of a longer chat's
 * messages. With `piece`, the text comes to it while it is written; should the
 * run be interrupted and begin again, so does the text, and *text, which comes
 * at the end and may be NULL, is what counts. FOREMAN_JOB_FAILED: e->name is the
 * job's reason. A callback that stops cancels the job; any other error leaves it
 * to go on by itself.
 */
foreman_code foreman_chat(foreman *f, const char *model, const char *prompt,
                          foreman_sink piece, void *arg, char **text,
                          foreman_error *e);

#ifdef __cplusplus
}
#endif

#endif
