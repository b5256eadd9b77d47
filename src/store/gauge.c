/*
 * gauge.c - every figure of the store, in one look.
 *
 * Each statement is a look of its own, so figures of one answer may be a
 * commit apart; nothing is held open between them.
 */
#include <config.h>

#include "store/gauge.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "store/sql.h"

#define LIST_MAX 4096 /* rows of a list; schema.c keeps them below */

/* Room for one more in a list of `count`, which grows by halves. */
static void *grow(void *list, size_t count, size_t size)
{
	if (count >= LIST_MAX)
		return NULL;
	/* full at 0, 16, 32, 64 ...: powers of two from 16 on */
	if (count != 0 && (count < 16 || (count & (count - 1)) != 0))
		return list;
	return realloc(list, (count < 16 ? 16 : 2 * count) * size);
}

static enum err read_tallies(struct db *db, struct gauge *g, struct errtext *why)
{
	static const char read[] =
	    "SELECT state, attended, count, arrived FROM tallies";
	struct sql q = sql_use(db, read);

	while (sql_row(&q)) {
		enum job_state state;
		bool known = job_state_parse(span_of(sql_peek_text(&q)), &state) == ERR_OK;
		int attended = sql_get_int(&q) != 0;
		int64_t count = sql_get_int(&q);

		if (known)
			g->jobs[state][attended] = count;
		g->arrived[attended] += sql_get_int(&q);
	}
	return sql_end(&q, why);
}

/* Who stands first in line: of all load keys the one whose head came first. */
static enum err read_heads(struct db *db, struct gauge *g, struct errtext *why)
{
	static const char read[] =
	    "SELECT head_queued_ms FROM waiting INDEXED BY waiting_heads"
	    " WHERE attended = ? AND head_seq IS NOT NULL ORDER BY head_seq LIMIT 1";
	enum err e = ERR_OK;

	for (int attended = 0; attended < 2 && !e; attended++) {
		struct sql q = sql_use(db, read);

		sql_int(&q, attended);
		if (sql_row(&q))
			g->head_queued_ms[attended] = sql_get_int(&q);
		e = sql_end(&q, why);
	}
	return e;
}

static enum err read_counters(struct db *db, struct gauge *g, struct errtext *why)
{
	static const char read[] = "SELECT name, label, total FROM counters";
	struct sql q = sql_use(db, read);

	while (sql_row(&q)) {
		struct gauge_counter *list =
		    grow(g->counters, g->counter_count, sizeof(*list));
		struct gauge_counter *c;

		if (!list) {
			sql_fail(&q, SQLITE_NOMEM);
			break;
		}
		g->counters = list;
		c = &list[g->counter_count++];
		c->name = sql_get_text(&q);
		c->label = sql_get_text(&q);
		c->total = sql_get_int(&q);
		if (!c->name || !c->label)
			sql_fail(&q, SQLITE_NOMEM);
	}
	return sql_end(&q, why);
}

static enum err read_buckets(struct db *db, struct gauge *g, struct errtext *why)
{
	static const char read[] = "SELECT name, label, le, count, sum FROM histograms"
	                           " ORDER BY name, label, le";
	struct sql q = sql_use(db, read);

	while (sql_row(&q)) {
		struct gauge_bucket *list =
		    grow(g->buckets, g->bucket_count, sizeof(*list));
		struct gauge_bucket *b;

		if (!list) {
			sql_fail(&q, SQLITE_NOMEM);
			break;
		}
		g->buckets = list;
		b = &list[g->bucket_count++];
		b->name = sql_get_text(&q);
		b->label = sql_get_text(&q);
		b->le = sql_get_real(&q);
		b->count = sql_get_int(&q);
		b->sum = sql_get_real(&q);
		if (!b->name || !b->label)
			sql_fail(&q, SQLITE_NOMEM);
	}
	return sql_end(&q, why);
}

static enum err read_bounds(struct db *db, struct gauge *g, struct errtext *why)
{
	static const char read[] = "SELECT le FROM histogram_bounds ORDER BY le";
	struct sql q = sql_use(db, read);

	while (sql_row(&q)) {
		double *list = grow(g->bounds, g->bound_count, sizeof(*list));

		if (!list) {
			sql_fail(&q, SQLITE_NOMEM);
			break;
		}
		g->bounds = list;
		list[g->bound_count++] = sql_get_real(&q);
	}
	return sql_end(&q, why);
}

static enum err read_numbers(struct db *db, struct gauge *g, struct errtext *why)
{
	static const char read[] =
	    "SELECT (SELECT count FROM webhook_tallies WHERE state = 'pending'),"
	    " (SELECT count FROM webhook_tallies WHERE state = 'dead'),"
	    " (SELECT created_ms FROM webhooks INDEXED BY webhooks_unsettled"
	    "  WHERE state = 'pending' AND state <> 'delivered' ORDER BY seq LIMIT 1),"
	    " swaps, fifo_swaps,"
	    " (SELECT page_count FROM pragma_page_count) * page_size,"
	    " (SELECT freelist_count FROM pragma_freelist_count) * page_size"
	    " FROM drain, pragma_page_size";
	struct sql q = sql_use(db, read);
	struct statvfs disk;

	if (sql_row(&q)) {
		g->webhooks_pending = sql_get_int(&q);
		g->webhooks_dead = sql_get_int(&q);
		g->oldest_webhook_ms = sql_get_int(&q);
		g->swaps = sql_get_int(&q);
		g->fifo_swaps = sql_get_int(&q);
		g->file_bytes = sql_get_int(&q);
		g->free_bytes = sql_get_int(&q);
	}
	g->wal_bytes = db_wal_bytes(db);
	if (statvfs(db->conf.path, &disk) == 0)
		g->disk_free_bytes = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
	return sql_end(&q, why);
}

enum err gauge_read(struct db *db, struct gauge *out, struct errtext *why)
{
	enum err e;

	memset(out, 0, sizeof(*out));
	e = read_tallies(db, out, why);
	if (!e)
		e = read_heads(db, out, why);
	if (!e)
		e = read_numbers(db, out, why);
	if (!e)
		e = read_counters(db, out, why);
	if (!e)
		e = read_bounds(db, out, why);
	if (!e)
		e = read_buckets(db, out, why);
	if (!e)
		e = status_read(db, false, &out->status);
	if (e)
		gauge_done(out);
	return e;
}

void gauge_done(struct gauge *g)
{
	for (size_t i = 0; i < g->counter_count; i++) {
		free(g->counters[i].name);
		free(g->counters[i].label);
	}
	for (size_t i = 0; i < g->bucket_count; i++) {
		free(g->buckets[i].name);
		free(g->buckets[i].label);
	}
	free(g->counters);
	free(g->buckets);
	free(g->bounds);
	status_done(&g->status);
	memset(g, 0, sizeof(*g));
}
