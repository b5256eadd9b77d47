/*
 * reply.c - what the target has answered to a job, and who reads it.
 *
 * Owns every reply's bytes, including those of jobs that are over. True
 * throughout: a reader's offset is never beyond `shown`, `shown` never beyond
 * the body; a reply is freed only when its run has released it and nobody
 * reads it, and in a later turn.
 * Refuses to grow beyond the bound it was opened with.
 */
#include <config.h>

#include "worker/reply.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"

struct reply {
	struct replies *set;
	struct reply *next; /* newest first */
	char id[ULID_SIZE]; /* "": nobody finds it */
	bool held;          /* by its run */
	bool headed;
	bool ended;
	bool lines;
	uint16_t status;
	uint32_t queue_ms;
	uint32_t load_ms;
	struct buf headers;
	struct buf body;
	size_t shown; /* how much of the body readers may have */
	enum frame_end how;
	uint16_t end_status;
	char end_text[LIMIT_ERROR_TEXT + 1];
	struct reply_reader *readers;
};

struct replies {
	struct loop *loop;
	size_t keep;
	struct reply *first;
	struct loop_timer sweep;
};

static void reply_free(struct reply *r)
{
	buf_done(&r->headers);
	buf_done(&r->body);
	free(r);
}

/* --- the set --------------------------------------------------------------- */

static void drop_readers(struct reply *r)
{
	while (r->readers) {
		struct reply_reader *reader = r->readers;

		reply_detach(reader);
		reader->drop(reader->arg);
	}
}

static void drop_stalled(struct reply *r, int64_t now_ms)
{
	struct reply_reader *reader = r->readers;

	while (reader) {
		struct reply_reader *next = reader->next;

		if (now_ms - reader->progress_mono_ms >= LIMIT_REPLY_STALL_MS) {
			reply_detach(reader);
			reader->drop(reader->arg);
		}
		reader = next;
	}
}

/* Newest first, so what exceeds the bound is the oldest. */
static void sweep_due(void *arg)
{
	struct replies *set = arg;
	int64_t now_ms = loop_now_ms(set->loop);
	size_t kept = 0;
	bool again = false;
	struct reply **link = &set->first;

	while (*link) {
		struct reply *r = *link;
		bool over = r->ended && !r->held;

		if (over) {
			kept += r->body.len;
			if (kept > set->keep)
				drop_readers(r);
			else
				drop_stalled(r, now_ms);
		}
		if (over && !r->readers) {
			*link = r->next;
			kept -= r->body.len;
			reply_free(r);
			continue;
		}
		again = again || over;
		link = &r->next;
	}
	if (again)
		loop_timer_set(set->loop, &set->sweep, 1000);
}

struct replies *replies_new(struct loop *l, size_t keep)
{
	struct replies *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->loop = l;
	set->keep = keep;
	loop_timer_init(&set->sweep, sweep_due, set);
	return set;
}

void replies_free(struct replies *set)
{
	if (!set)
		return;
	loop_timer_stop(&set->sweep);
	while (set->first) {
		struct reply *r = set->first;

		assert(!r->readers);
		set->first = r->next;
		reply_free(r);
	}
	free(set);
}

/* --- the run's side -------------------------------------------------------- */

struct reply *reply_open(struct replies *set, size_t max)
{
	struct reply *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->set = set;
	r->held = true;
	buf_init(&r->headers, LIMIT_HEAD);
	buf_init(&r->body, max);
	r->next = set->first;
	set->first = r;
	return r;
}

void reply_name(struct reply *r, const char *id)
{
	str_copy(r->id, sizeof(r->id), id);
}

/* A reader may detach itself when woken, and only itself. */
static void wake_all(struct reply *r)
{
	struct reply_reader *reader = r->readers;

	while (reader) {
		struct reply_reader *next = reader->next;

		reader->wake(reader->arg);
		reader = next;
	}
}

enum err reply_head(struct reply *r, uint16_t status, uint32_t queue_ms,
                    uint32_t load_ms, struct span headers, bool lines)
{
	enum err e = buf_add(&r->headers, headers.p, headers.len);

	assert(!r->headed && !r->ended);
	if (e != ERR_OK)
		return e;
	r->headed = true;
	r->status = status;
	r->queue_ms = queue_ms;
	r->load_ms = load_ms;
	r->lines = lines;
	wake_all(r);
	return ERR_OK;
}

/* How much readers may see, now that the body has grown by `added`. */
static size_t shown_of(const struct reply *r, size_t added)
{
	const char *grown = r->body.p + r->body.len - added;
	const char *newline;

	if (!r->lines)
		return r->body.len;
	newline = memrchr(grown, '\n', added);
	if (newline)
		return (size_t)(newline - r->body.p) + 1;
	/* shown < len means an unfinished line: held back, but not for ever. */
	if (r->body.len - r->shown > LIMIT_LINE_HOLD)
		return r->body.len;
	return r->shown;
}

enum err reply_add(struct reply *r, const void *p, size_t len)
{
	size_t room = r->body.max - r->body.len;
	size_t take = len < room ? len : room;
	enum err e;

	assert(r->headed && !r->ended);
	if (take > 0) {
		e = buf_add(&r->body, p, take);
		if (e != ERR_OK)
			return e;
		r->shown = shown_of(r, take);
		wake_all(r);
	}
	return take < len ? ERR_TOOBIG : ERR_OK;
}

void reply_end(struct reply *r, enum frame_end how, uint16_t status,
               const char *text)
{
	assert(!r->ended);
	r->ended = true;
	r->how = how;
	r->end_status = status;
	str_copy(r->end_text, sizeof(r->end_text), text ? text : "");
	r->shown = r->body.len;
	for (struct reply_reader *i = r->readers; i; i = i->next)
		i->progress_mono_ms = loop_now_ms(r->set->loop);
	wake_all(r);
}

void reply_withdraw(struct reply *r)
{
	r->id[0] = '\0';
}

struct span reply_body(const struct reply *r)
{
	return (struct span){ r->body.p ? r->body.p : "", r->body.len };
}

void reply_release(struct reply *r)
{
	assert(r->held && r->ended);
	r->held = false;
	loop_timer_set(r->set->loop, &r->set->sweep, 0);
}

/* --- the readers' side ----------------------------------------------------- */

struct reply *reply_find(const struct replies *set, const char *id)
{
	for (struct reply *r = set->first; r; r = r->next)
		if (strcmp(r->id, id) == 0)
			return r; /* the newest run's */
	return NULL;
}

void reply_attach(struct reply *r, struct reply_reader *reader)
{
	assert(!reader->reply);
	reader->reply = r;
	reader->stage = READ_HEAD;
	reader->offset = 0;
	reader->progress_mono_ms = loop_now_ms(r->set->loop);
	reader->prev = NULL;
	reader->next = r->readers;
	if (r->readers)
		r->readers->prev = reader;
	r->readers = reader;
}

void reply_detach(struct reply_reader *reader)
{
	struct reply *r = reader->reply;

	if (!r)
		return;
	if (reader->prev)
		reader->prev->next = reader->next;
	else
		r->readers = reader->next;
	if (reader->next)
		reader->next->prev = reader->prev;
	reader->reply = NULL;
	reader->next = reader->prev = NULL;
	if (r->ended && !r->held)
		loop_timer_set(r->set->loop, &r->set->sweep, 0);
}

/* The next piece for one BYTES frame: whole lines when one ends inside it. */
static struct span next_piece(const struct reply *r, size_t offset)
{
	struct span piece = { r->body.p + offset, r->shown - offset };
	const char *newline;

	if (piece.len <= LIMIT_FRAME)
		return piece;
	piece.len = LIMIT_FRAME;
	newline = r->lines ? memrchr(piece.p, '\n', piece.len) : NULL;
	if (newline)
		piece.len = (size_t)(newline - piece.p) + 1;
	return piece;
}

static bool next_frame(const struct reply_reader *reader, struct frame *f)
{
	const struct reply *r = reader->reply;

	memset(f, 0, sizeof(*f));
	if (reader->stage == READ_HEAD && r->headed) {
		f->type = FRAME_HEAD;
		f->status = r->status;
		f->queue_ms = r->queue_ms;
		f->load_ms = r->load_ms;
		f->data = (struct span){ r->headers.p, r->headers.len };
		return true;
	}
	if (reader->stage == READ_BYTES && reader->offset < r->shown) {
		f->type = FRAME_BYTES;
		f->data = next_piece(r, reader->offset);
		return true;
	}
	if (reader->stage == READ_OVER || !r->ended)
		return false;
	f->type = FRAME_END;
	f->end = r->how;
	f->status = r->end_status;
	f->data = span_of(r->end_text);
	return true;
}

bool reply_ready(const struct reply_reader *reader)
{
	struct frame f;

	return reader->reply && next_frame(reader, &f);
}

bool reply_read(struct reply_reader *reader, struct buf *out)
{
	struct frame f;

	if (!reader->reply || !next_frame(reader, &f))
		return false;
	if (frame_encode(&f, out) != ERR_OK)
		return false;
	if (f.type == FRAME_HEAD)
		reader->stage = READ_BYTES;
	else if (f.type == FRAME_BYTES)
		reader->offset += f.data.len;
	else
		reader->stage = READ_OVER;
	reader->progress_mono_ms = loop_now_ms(reader->reply->set->loop);
	return true;
}
