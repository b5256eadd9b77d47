/*
 * webhooks.c - looking at webhooks, and having them sent again.
 *
 * Reads are short statements on the thread's own connection. A redelivery is
 * written by the group, then the worker is nudged; it is the one who sends.
 * No answer holds a secret. Query parameters foreman does not know are
 * refused, so that a filter never silently filters nothing.
 */
#include <config.h>

#include "responder/webhooks.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "core/limits.h"
#include "responder/answer.h"
#include "responder/lot.h"
#include "responder/query.h"
#include "store/group.h"
#include "store/ledger.h"

#define NO_STORE "Cache-Control: no-store\n"

/* --- the object ----------------------------------------------------------- */

static void add_link(cJSON *urls, const char *key, const struct call *c,
                     const char *root, const char *id, const char *tail)
{
	struct span base = span_of(call_view(c).public_url);
	char *link;

	while (base.len > 0 && base.p[base.len - 1] == '/')
		base.len--;
	if (asprintf(&link, "%.*s%s%s%s", (int)base.len, base.len ? base.p : "", root,
	             id, tail) < 0) {
		json_lack(urls);
		return;
	}
	json_add_str(urls, key, link);
	free(link);
}

/* A figure that is null where there is none. */
static void add_figure(cJSON *o, const char *key, int64_t n, int64_t least)
{
	if (n < least)
		json_add_str(o, key, NULL);
	else
		json_add_int(o, key, n);
}

static cJSON *entry_json(const struct call *c, const struct ledger_entry *e)
{
	cJSON *o = cJSON_CreateObject(), *urls;

	json_add_str(o, "id", e->id);
	json_add_str(o, "job_id", e->job_id);
	json_add_str(o, "type", e->type);
	json_add_str(o, "url", e->url);
	json_add_str(o, "state", ledger_state_name(e->state));
	json_add_int(o, "attempts", e->attempts);
	json_add_time(o, "created_at", e->created_ms);
	json_add_time(o, "due_at", e->due_ms);
	json_add_time(o, "settled_at", e->settled_ms);
	add_figure(o, "last_status", e->last_status, 1);
	add_figure(o, "last_latency_ms", e->last_latency_ms, 0);
	json_add_str(o, "last_error", e->last_error);
	urls = json_add_object(o, "urls");
	add_link(urls, "self", c, "/webhooks/", e->id, "");
	add_link(urls, "job", c, "/jobs/", e->job_id, "");
	add_link(urls, "redeliver", c, "/webhooks/", e->id, "/redeliver");
	return o;
}

/* --- one ------------------------------------------------------------------ */

static bool id_ok(struct call *c, char id[LEDGER_ID_SIZE])
{
	if (ledger_id_parse(c->id, id) == ERR_OK)
		return true;
	answer_fault(c, FAULT_INVALID_WEBHOOK_ID, "not a webhook id");
	return false;
}

static void answer_webhook_error(struct call *c, enum err e)
{
	if (e == ERR_NOENT)
		answer_fault(c, FAULT_NOT_FOUND, "no such webhook");
	else
		answer_store_error(c, e);
}

static void add_log(cJSON *o, const struct ledger_attempt *log, size_t count)
{
	cJSON *list = json_add_array(o, "log");

	for (size_t i = 0; i < count; i++) {
		cJSON *one = cJSON_CreateObject();

		json_add_time(one, "at", log[i].at_ms);
		add_figure(one, "status", log[i].status, 1);
		json_add_int(one, "latency_ms", log[i].latency_ms);
		json_add_str(one, "error", log[i].error);
		json_add_str(one, "reply", log[i].reply);
		json_append(list, one);
	}
}

/* With its log and its body. */
static void answer_whole(struct call *c, struct db *db, int status, const char *id)
{
	struct ledger_attempt *log = NULL;
	struct ledger_entry entry;
	size_t count = 0;
	char *body, *text;
	cJSON *o;
	enum err e = ledger_find(db, id, &entry, &body);

	if (e) {
		answer_webhook_error(c, e);
		return;
	}
	e = ledger_log(db, entry.seq, &log, &count);
	if (e) {
		answer_store_error(c, e);
	} else {
		o = entry_json(c, &entry);
		add_log(o, log, count);
		json_add_raw(o, "body", body);
		text = json_text(o);
		cJSON_Delete(o);
		answer_json(c, status, NO_STORE, text);
		ledger_log_done(log, count);
	}
	ledger_entry_done(&entry);
	free(body);
}

void webhooks_show(struct call *c)
{
	char id[LEDGER_ID_SIZE];
	struct db *db;

	if (id_ok(c, id) && query_none(c) && !call_db(c, &db))
		answer_whole(c, db, 200, id);
}

void webhooks_again(struct call *c)
{
	char id[LEDGER_ID_SIZE];
	struct outbox_wish wish = { .id = id, .now_ms = clock_wall_ms() };
	struct db *db;
	enum err e;

	if (!id_ok(c, id) || !query_none(c) || call_db(c, &db))
		return;
	e = group_again(c->seat->service->group, &wish, &c->why);
	if (e) {
		answer_webhook_error(c, e);
		return;
	}
	lot_nudge(c->seat->service->lot);
	answer_whole(c, db, 202, id);
}

/* --- the list ------------------------------------------------------------- */

struct listing {
	struct ledger_filter filter;
	char job_id[ULID_SIZE];
	char before[LEDGER_ID_SIZE];
};

static enum err take_state(void *to, struct span value)
{
	struct listing *l = to;
	enum ledger_state state;

	if (ledger_state_parse(value, &state))
		return ERR_INVAL;
	l->filter.states = 1u << state;
	return ERR_OK;
}

static enum err take_job(void *to, struct span value)
{
	struct listing *l = to;

	l->filter.job_id = l->job_id;
	return ulid_parse(value, l->job_id);
}

static enum err take_limit(void *to, struct span value)
{
	struct listing *l = to;

	return query_limit(value, &l->filter.limit);
}

static enum err take_before(void *to, struct span value)
{
	struct listing *l = to;

	l->filter.before = l->before;
	return ledger_id_parse(value, l->before);
}

static char *list_json(const struct call *c, const struct ledger_entry *entries,
                       size_t count, const char *next)
{
	cJSON *o = cJSON_CreateObject();
	cJSON *list = json_add_array(o, "webhooks");
	char *text;

	for (size_t i = 0; i < count; i++) {
		cJSON *one = entry_json(c, &entries[i]);

		json_append(list, one);
	}
	json_add_str(o, "next", next[0] ? next : NULL);
	text = json_text(o);
	cJSON_Delete(o);
	return text;
}

static void answer_list(struct call *c, struct db *db,
                        const struct ledger_filter *f)
{
	struct ledger_entry *entries;
	char next[LEDGER_ID_SIZE];
	size_t count;
	enum err e = ledger_list(db, f, &entries, &count, next);

	if (e == ERR_NOENT) {
		answer_fault(c, FAULT_NOT_FOUND, "there is no webhook 'before'");
		return;
	}
	if (e) {
		answer_store_error(c, e);
		return;
	}
	answer_json(c, 200, NO_STORE, list_json(c, entries, count, next));
	for (size_t i = 0; i < count; i++)
		ledger_entry_done(&entries[i]);
	free(entries);
}

void webhooks_list(struct call *c)
{
	static const struct query_parameter known[] = {
		{ "state", take_state, "state must be pending, dead or delivered" },
		{ "job", take_job, "job must be a job id" },
		{ "limit", take_limit, QUERY_LIMIT_WANTED },
		{ "before", take_before, "before must be a webhook id" },
	};
	struct listing l = { .filter = { .states =
		                                 1u << LEDGER_PENDING | 1u << LEDGER_DEAD,
		                             .limit = LIMIT_LIST_DEFAULT } };
	struct db *db;

	if (query_read(c, known, ARRAY_LEN(known), &l) && !call_db(c, &db))
		answer_list(c, db, &l.filter);
}

/* --- many of them again --------------------------------------------------- */

struct again {
	struct outbox_wish wish;
	bool since_given;
};

static enum err take_settled(void *to, struct span value)
{
	struct again *a = to;
	enum ledger_state state;

	if (ledger_state_parse(value, &state) || state == LEDGER_PENDING)
		return ERR_INVAL;
	a->wish.state = ledger_state_name(state);
	return ERR_OK;
}

static enum err take_since(void *to, struct span value)
{
	struct again *a = to;

	a->since_given = true;
	return clock_parse(value.p, &a->wish.since_ms);
}

static enum err take_until(void *to, struct span value)
{
	struct again *a = to;

	return clock_parse(value.p, &a->wish.until_ms);
}

static char *again_json(const struct outbox_wish *wish)
{
	cJSON *o = cJSON_CreateObject();
	char *text;

	json_add_int(o, "redelivered", wish->count);
	json_add_bool(o, "more", wish->more);
	json_add_time(o, "until", wish->until_ms);
	text = json_text(o);
	cJSON_Delete(o);
	return text;
}

void webhooks_again_all(struct call *c)
{
	static const struct query_parameter known[] = {
		{ "since", take_since, "since must be a time like 2026-11-20T18:00:00Z" },
		{ "until", take_until, "until must be a time like 2026-11-20T18:00:00Z" },
		{ "state", take_settled, "state must be dead or delivered" },
	};
	int64_t now_ms = clock_wall_ms();
	struct again a = { .wish = { .state = ledger_state_name(LEDGER_DEAD),
		                         .until_ms = now_ms + 1,
		                         .max = LIMIT_REDELIVER,
		                         .now_ms = now_ms } };
	enum err e;

	if (!query_read(c, known, ARRAY_LEN(known), &a))
		return;
	if (!a.since_given) {
		answer_fault(c, FAULT_INVALID_REQUEST,
		             "since is required: those settled from then on are sent");
		return;
	}
	e = group_again(c->seat->service->group, &a.wish, &c->why);
	if (e) {
		answer_store_error(c, e);
		return;
	}
	if (a.wish.count > 0)
		lot_nudge(c->seat->service->lot);
	answer_json(c, 202, NO_STORE, again_json(&a.wish));
}
