/*
 * batch.c - several jobs in one call: read, stored and answered line by line.
 *
 * All of it is in one transaction, or none. What it takes is bounded by the
 * body, LIMIT_BATCH_JOBS, and a buffer through which the answer leaves. The
 * ids are a run (ulid.h): the first and the last say which jobs a batch was,
 * and that is how a repeated key finds them again.
 */
#include <config.h>

#include "responder/batch.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "responder/answer.h"
#include "responder/lot.h"
#include "responder/tally.h"
#include "store/group.h"
#include "store/look.h"

#define ANSWER_CHUNK (64 * 1024) /* bytes of the answer gathered for a write */
#define TRIM_JOBS 1000           /* what more jobs took goes back to the system */

/* --- lines -------------------------------------------------------------------- */

/* The next line that is not blank; *number counts all of them. */
static bool next_line(struct span *rest, struct span *line, size_t *number)
{
	while (rest->len > 0) {
		const char *end = memchr(rest->p, '\n', rest->len);
		size_t len = end ? (size_t)(end - rest->p) : rest->len;
		size_t used = end ? len + 1 : len;

		*line = span_trim((struct span){ rest->p, len });
		*rest = (struct span){ rest->p + used, rest->len - used };
		++*number;
		if (line->len > 0)
			return true;
	}
	return false;
}

/* Those that are not blank, at most one more than are allowed. */
static size_t count_lines(struct span text)
{
	struct span line;
	size_t number = 0, count = 0;

	while (count <= LIMIT_BATCH_JOBS && next_line(&text, &line, &number))
		count++;
	return count;
}

static enum err not_a_batch(enum fault f, const char *text, enum fault *fault,
                            struct errtext *why)
{
	*fault = f;
	errtext_set(why, "%s", text);
	return f == FAULT_INTERNAL ? ERR_NOMEM : ERR_INVAL;
}

enum err batch_read(struct span text, const struct guard *guard,
                    const char *default_url, struct batch *out, enum fault *fault,
                    struct errtext *why)
{
	size_t lines = count_lines(text), number = 0;
	struct batch b = { 0 };
	struct span line;
	enum err e = ERR_OK;

	if (lines == 0)
		return not_a_batch(FAULT_INVALID_REQUEST, "there is no job in the body",
		                   fault, why);
	if (lines > LIMIT_BATCH_JOBS) {
		errtext_set(why, "a batch has at most %d jobs", LIMIT_BATCH_JOBS);
		*fault = FAULT_BATCH_TOO_LARGE;
		return ERR_TOOBIG;
	}
	b.drafts = calloc(lines, sizeof(*b.drafts));
	if (!b.drafts)
		return not_a_batch(FAULT_INTERNAL, "out of memory", fault, why);
	while (!e && next_line(&text, &line, &number)) {
		e = envelope_read(line, guard, default_url, &b.drafts[b.count], fault, why);
		if (!e)
			b.count++;
	}
	if (!e) {
		*out = b;
		return ERR_OK;
	}
	errtext_wrap(why, "line %zu", number);
	batch_done(&b);
	return e;
}

void batch_done(struct batch *b)
{
	for (size_t i = 0; i < b->count; i++)
		draft_done(&b->drafts[i]);
	free(b->drafts);
	*b = (struct batch){ 0 };
}

/* --- the answer --------------------------------------------------------------- */

/* Lines on their way to the client. The head goes with the first of them: what
 * fails before is told by the status. */
struct answer {
	struct call *c;
	struct buf buf;
	struct job_view view;
	bool replayed;
	bool begun;
	enum err err; /* the first failure; nothing is written after it */
};

static void answer_begin(struct answer *a, struct call *c, bool replayed)
{
	*a = (struct answer){ .c = c, .view = call_view(c), .replayed = replayed };
	buf_init(&a->buf, SIZE_MAX);
}

static enum err answer_head(struct answer *a)
{
	static const char accepted[] = "Retry-After: 2\n";
	static const char again[] = "Retry-After: 2\nIdempotency-Replayed: true\n";

	_Static_assert(TERMS_LOOK_AGAIN_S == 2, "as in the header lines");
	a->begun = true;
	a->c->status = 202;
	return fcgx_head(a->c->req, a->c->status, "application/x-ndjson",
	                 a->replayed ? SPAN_LIT(again) : SPAN_LIT(accepted));
}

static void answer_flush(struct answer *a)
{
	if (!a->err && !a->begun)
		a->err = answer_head(a);
	if (!a->err && a->buf.len)
		a->err = fcgx_write(a->c->req, a->buf.p, a->buf.len);
	buf_clear(&a->buf);
}

static void answer_line(struct answer *a, const struct job *job)
{
	char *text;

	if (a->err)
		return;
	text = job_json(job, &a->view);
	if (!text || buf_add_str(&a->buf, text) || buf_add(&a->buf, "\n", 1))
		a->err = ERR_NOMEM;
	free(text);
	if (a->buf.len >= ANSWER_CHUNK)
		answer_flush(a);
}

static void answer_finish(struct answer *a)
{
	answer_flush(a);
	if (a->err && !a->begun)
		answer_store_error(a->c, a->err);
	else if (a->err)
		errtext_set(&a->c->why, "the answer was cut: %s", err_name(a->err));
	buf_done(&a->buf);
}

static void answer_accepted(struct call *c, const struct batch *b)
{
	struct answer a;

	answer_begin(&a, c, false);
	for (size_t i = 0; i < b->count; i++)
		answer_line(&a, &b->drafts[i].job);
	answer_finish(&a);
}

/* What is left of the batch that came with this key before, as it is now. */
static void answer_again(struct call *c, const struct queue_key *key)
{
	char after[ULID_SIZE] = "";
	size_t count = LIMIT_LIST_MAX;
	struct answer a;
	struct db *db;
	enum err e = ERR_OK;

	if (call_db(c, &db))
		return;
	answer_begin(&a, c, true);
	while (!e && count == LIMIT_LIST_MAX) {
		struct job *jobs;

		e = look_batch(db, key->first_id, key->last_id, after, LIMIT_LIST_MAX,
		               &jobs, &count);
		if (e)
			break;
		for (size_t i = 0; i < count; i++) {
			str_copy(after, sizeof(after), jobs[i].id);
			answer_line(&a, &jobs[i]);
			job_done(&jobs[i]);
		}
		free(jobs);
	}
	if (e)
		a.err = e;
	answer_finish(&a);
}

/* --- storing ------------------------------------------------------------------ */

/* Everything group_batch wants, in arrays beside each other. */
struct entry {
	struct submission *subs;
	struct submission **list;
	char (*ids)[ULID_SIZE];
	struct buf traced; /* the lines that go with each (call_traced) */
};

static void entry_done(struct entry *en)
{
	free(en->subs);
	free(en->list);
	free(en->ids);
	buf_done(&en->traced);
}

static enum err enter_all(struct call *c, struct batch *b, struct entry *en)
{
	struct job_view view = call_view(c);
	enum err e;

	assert(b->count > 0); /* batch_read takes no less */
	*en = (struct entry){
		.subs = calloc(b->count, sizeof(*en->subs)),
		.list = calloc(b->count, sizeof(struct submission *)),
		.ids = calloc(b->count, sizeof(*en->ids)),
	};
	buf_init(&en->traced, LIMIT_REQUEST_HEADERS);
	if (!en->subs || !en->list || !en->ids)
		return ERR_NOMEM;
	e = call_traced(c, &en->traced);
	ulid_run(en->ids, b->count);
	for (size_t i = 0; i < b->count && !e; i++) {
		en->list[i] = &en->subs[i];
		e = draft_enter(&b->drafts[i], en->ids[i], &view, &en->subs[i]);
		en->subs[i].headers = (struct span){ en->traced.p, en->traced.len };
	}
	return e;
}

static void store(struct call *c, const struct terms *terms, struct batch *b,
                  struct entry *en)
{
	const struct service *service = c->seat->service;
	struct queue_key key;
	size_t at;
	enum err e;

	if (terms_key(terms, &key)) {
		key.last = en->ids[b->count - 1];
		en->subs[0].key = &key;
	}
	str_copy(c->job, sizeof(c->job), en->ids[0]);
	e = group_batch(service->group, en->list, b->count, &at, &c->why);
	if (!e) {
		lot_nudge(service->lot);
		answer_accepted(c, b);
	} else if (e == ERR_STALE) {
		str_copy(c->job, sizeof(c->job), key.first_id);
		if (key.same) {
			tally_add(TALLY_REPLAYED);
			answer_again(c, &key);
		} else {
			terms_refuse_key(c);
		}
	} else if (e == ERR_LIMIT) {
		terms_refuse_full(c, en->subs[at].room_ms);
	} else {
		answer_store_error(c, e);
	}
}

void batch_handle(struct call *c, const struct terms *terms)
{
	const struct service *service = c->seat->service;
	struct errtext why = { 0 };
	enum fault fault;
	struct entry en;
	struct batch b;
	bool large;

	if (batch_read(c->body, service->guard, service->conf->webhook_url, &b, &fault,
	               &why)) {
		answer_fault(c, fault, "%s", why.s);
		return;
	}
	if (enter_all(c, &b, &en))
		answer_fault(c, FAULT_INTERNAL, "out of memory");
	else
		store(c, terms, &b, &en);
	large = b.count > TRIM_JOBS;
	entry_done(&en);
	batch_done(&b);
	/* pieces of a kilobyte, which malloc would keep, in this thread's arena */
	if (large)
		malloc_trim(0);
}
