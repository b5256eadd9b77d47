/*
 * reply.h - what the target has answered to a job, and who reads it.
 *
 * One bounded buffer per reply; each reader has a place of its own in it and
 * takes relay frames from there: HEAD, BYTES ..., END. Whoever comes late
 * starts at the beginning; whoever is slow stays behind and holds nobody up.
 *
 *   reader:  HEAD ──► BYTES ──► END ──► over
 *              └──────────────► END        (refused before any head)
 *
 * NDJSON is shown in whole lines only, until an unfinished one is longer than
 * LIMIT_LINE_HOLD. A finished reply stays until its readers have it, have
 * taken nothing for LIMIT_REPLY_STALL_MS, or finished replies hold more than
 * LIMIT_REPLY_KEEP bytes in all (the oldest goes first).
 */
#ifndef FOREMAN_WORKER_REPLY_H
#define FOREMAN_WORKER_REPLY_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "core/frame.h"
#include "http/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct replies; /* all there are */
struct reply;   /* one; opened by the run that fills it */

/* `keep` bounds the bytes of finished replies: LIMIT_REPLY_KEEP outside tests.
 * NULL when there is no memory. */
struct replies *replies_new(struct loop *l, size_t keep);
void replies_free(struct replies *set); /* after the last reader was detached */

/* --- the run's side -------------------------------------------------------- */

/* A reply of at most `max` body bytes; the run's until reply_release, whatever
 * happens to its readers. NULL when there is no memory. */
struct reply *reply_open(struct replies *set, size_t max);

/* From now on reply_find knows it as this job's. */
void reply_name(struct reply *r, const char *id);

/* The head, once and first. `lines`: the body is NDJSON. */
enum err reply_head(struct reply *r, uint16_t status, uint32_t queue_ms,
                    uint32_t load_ms, struct span headers, bool lines) MUST_CHECK;

/* More of the body. ERR_TOOBIG: over `max`; as much as fits was taken.
 * ERR_NOMEM: nothing was. */
enum err reply_add(struct reply *r, const void *p, size_t len) MUST_CHECK;

/* No more will come; `text` (may be NULL) is for END_ABORTED and _REFUSED. */
void reply_end(struct reply *r, enum frame_end how, uint16_t status,
               const char *text);

/* Before reply_end, when the job will run again: reply_find does not know this
 * one any more, so whoever comes now waits for the next. */
void reply_withdraw(struct reply *r);

/* The body so far; valid until the next reply_add or reply_release. */
struct span reply_body(const struct reply *r);

/* The run needs it no longer; it must have ended. */
void reply_release(struct reply *r);

/* --- the readers' side ----------------------------------------------------- */

struct reply_reader {        /* embed it, zeroed */
	void (*wake)(void *arg); /* there is more; may read, may detach itself */
	void (*drop)(void *arg); /* cut loose, already detached */
	void *arg;
	struct reply *reply; /* NULL: reads nothing */
	enum { READ_HEAD, READ_BYTES, READ_OVER } stage;
	size_t offset;
	int64_t progress_mono_ms;
	struct reply_reader *next, *prev;
};

/* The reply of this job that still can be read; NULL: none. */
struct reply *reply_find(const struct replies *set, const char *id);

/* Read it from its beginning; no wake comes before this returns. */
void reply_attach(struct reply *r, struct reply_reader *reader);
void reply_detach(struct reply_reader *reader); /* fine when not attached */

/* Is there a next frame? */
bool reply_ready(const struct reply_reader *reader);

/* Append the reader's next frame to `out`. False: there is none now, or `out`
 * has no room for it. */
bool reply_read(struct reply_reader *reader, struct buf *out);

#endif
