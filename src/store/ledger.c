/*
 * ledger.c - webhooks for people to read: pages of them, one with its log.
 *
 * Reads only, each statement stepped to its end; no page costs more than
 * LIMIT_LIST_SCAN rows, however many webhooks there are. Secrets are not even
 * read here.
 */
#include <config.h>

#include "store/ledger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "store/sql.h"

/* --- ids and states -------------------------------------------------------- */

enum err ledger_id_parse(struct span s, char out[LEDGER_ID_SIZE])
{
	static const char prefix[] = LEDGER_ID_PREFIX;
	size_t len = sizeof(prefix) - 1;
	char ulid[ULID_SIZE];

	if (s.len < len || memcmp(s.p, prefix, len) != 0 ||
	    ulid_parse((struct span){ s.p + len, s.len - len }, ulid) != ERR_OK)
		return ERR_INVAL;
	memcpy(out, prefix, len);
	memcpy(out + len, ulid, sizeof(ulid));
	return ERR_OK;
}

static const char *const state_names[LEDGER_STATE_COUNT] = {
	[LEDGER_PENDING] = "pending",
	[LEDGER_DELIVERED] = "delivered",
	[LEDGER_DEAD] = "dead",
};

const char *ledger_state_name(enum ledger_state state)
{
	return state_names[state];
}

enum err ledger_state_parse(struct span s, enum ledger_state *out)
{
	for (int i = 0; i < LEDGER_STATE_COUNT; i++)
		if (span_eq(s, state_names[i])) {
			*out = (enum ledger_state)i;
			return ERR_OK;
		}
	return ERR_INVAL;
}

/* --- rows ------------------------------------------------------------------ */

#define ENTRY                                                                      \
	"seq, id, job_id, type, url, state, attempts, created_ms, due_ms, "            \
	"settled_ms, last_status, coalesce(last_latency_ms, -1), last_error"

void ledger_entry_done(struct ledger_entry *e)
{
	free(e->type);
	free(e->url);
	free(e->last_error);
	*e = (struct ledger_entry){ .seq = 0 };
}

/* The row `q` stands on; a failure sticks to q, and *e needs its done. */
static void read_entry(struct sql *q, struct ledger_entry *e)
{
	*e = (struct ledger_entry){ .seq = sql_get_int(q) };
	if (!str_copy(e->id, sizeof(e->id), sql_peek_text(q)) ||
	    !str_copy(e->job_id, sizeof(e->job_id), sql_peek_text(q)))
		sql_fail(q, SQLITE_CORRUPT);
	e->type = sql_get_text(q);
	e->url = sql_get_text(q);
	if (ledger_state_parse(span_of(sql_peek_text(q)), &e->state) != ERR_OK)
		sql_fail(q, SQLITE_CORRUPT);
	e->attempts = sql_get_int(q);
	e->created_ms = sql_get_int(q);
	e->due_ms = sql_get_int(q);
	e->settled_ms = sql_get_int(q);
	e->last_status = (int)sql_get_int(q);
	e->last_latency_ms = sql_get_int(q);
	e->last_error = sql_get_text(q);
}

enum err ledger_find(struct db *db, const char *id, struct ledger_entry *out,
                     char **body)
{
	static const char read[] = "SELECT " ENTRY ", body FROM webhooks WHERE id = ?";
	struct sql q = sql_use(db, read);
	struct ledger_entry e = { .seq = 0 };
	char *text = NULL;
	enum err err;

	sql_text(&q, id);
	if (sql_row(&q)) {
		read_entry(&q, &e);
		text = sql_get_text(&q);
	}
	err = sql_end(&q, NULL);
	if (err == ERR_OK && !text)
		err = ERR_NOENT;
	if (err != ERR_OK) {
		ledger_entry_done(&e);
		free(text);
		return err;
	}
	*out = e;
	*body = text;
	return ERR_OK;
}

/* --- pages ----------------------------------------------------------------- */

/*
 * The rows to look through, newest first: seq below ?1, at most ?2, of job ?3.
 * Delivered ones have no index of their own by seq; they are most of all
 * webhooks, and found among all.
 */
static const char *list_text(const struct ledger_filter *f)
{
	static const char of_job[] =
	    "SELECT " ENTRY " FROM webhooks INDEXED BY webhooks_of_job"
	    " WHERE job_seq = (SELECT seq FROM jobs WHERE id = ?3) AND seq < ?1"
	    " ORDER BY seq DESC LIMIT ?2";
	static const char pending[] =
	    "SELECT " ENTRY " FROM webhooks INDEXED BY webhooks_unsettled"
	    " WHERE state = 'pending' AND state <> 'delivered' AND seq < ?1"
	    " AND ?3 IS NULL ORDER BY seq DESC LIMIT ?2";
	static const char dead[] =
	    "SELECT " ENTRY " FROM webhooks INDEXED BY webhooks_unsettled"
	    " WHERE state = 'dead' AND state <> 'delivered' AND seq < ?1"
	    " AND ?3 IS NULL ORDER BY seq DESC LIMIT ?2";
	static const char unsettled[] =
	    "SELECT " ENTRY " FROM webhooks WHERE seq IN"
	    " (SELECT seq FROM (SELECT seq FROM webhooks INDEXED BY webhooks_unsettled"
	    "   WHERE state = 'pending' AND state <> 'delivered' AND seq < ?1"
	    "   ORDER BY seq DESC LIMIT ?2)"
	    "  UNION ALL"
	    "  SELECT seq FROM (SELECT seq FROM webhooks INDEXED BY webhooks_unsettled"
	    "   WHERE state = 'dead' AND state <> 'delivered' AND seq < ?1"
	    "   ORDER BY seq DESC LIMIT ?2))"
	    " AND ?3 IS NULL ORDER BY seq DESC LIMIT ?2";
	static const char all[] =
	    "SELECT " ENTRY " FROM webhooks WHERE seq < ?1 AND ?3 IS NULL"
	    " ORDER BY seq DESC LIMIT ?2";

	if (f->job_id)
		return of_job;
	switch (f->states) {
	case 1u << LEDGER_PENDING:
		return pending;
	case 1u << LEDGER_DEAD:
		return dead;
	case 1u << LEDGER_PENDING | 1u << LEDGER_DEAD:
		return unsettled;
	default:
		return all;
	}
}

/* The seq of the webhook `before`; above all without one. */
static enum err read_before(struct db *db, const char *before, int64_t *seq)
{
	static const char read[] = "SELECT seq FROM webhooks WHERE id = ?";
	struct sql q;
	enum err err;

	*seq = INT64_MAX;
	if (!before)
		return ERR_OK;
	q = sql_use(db, read);
	sql_text(&q, before);
	*seq = sql_row(&q) ? sql_get_int(&q) : 0;
	err = sql_end(&q, NULL);
	return err == ERR_OK && *seq == 0 ? ERR_NOENT : err;
}

/* So many rows may have to be read for a page: those that are not wanted stand
 * among them where no index tells them apart. */
static int scan_limit(const struct ledger_filter *f)
{
	const char *text = list_text(f);
	struct ledger_filter any = { .states = 1u << LEDGER_DELIVERED };

	return f->job_id || text == list_text(&any) ? LIMIT_LIST_SCAN : f->limit + 1;
}

static enum err read_page(struct db *db, const struct ledger_filter *f,
                          int64_t before, struct ledger_entry *page, size_t *count,
                          char next[LEDGER_ID_SIZE])
{
	struct sql q = sql_use(db, list_text(f));
	int scan = scan_limit(f), looked = 0;
	char last[LEDGER_ID_SIZE] = "";
	bool full = false;

	sql_int(&q, before);
	sql_int(&q, scan);
	sql_text(&q, f->job_id);
	while (!full && sql_row(&q)) {
		struct ledger_entry e;

		if (*count == (size_t)f->limit) {
			full = true; /* and there is one more */
			break;
		}
		read_entry(&q, &e);
		looked++;
		str_copy(last, sizeof(last), e.id);
		if (q.rc == SQLITE_OK && f->states & 1u << e.state)
			page[(*count)++] = e;
		else
			ledger_entry_done(&e);
	}
	str_copy(next, LEDGER_ID_SIZE, full || looked == scan ? last : "");
	return sql_end(&q, NULL);
}

enum err ledger_list(struct db *db, const struct ledger_filter *f,
                     struct ledger_entry **entries, size_t *count,
                     char next[LEDGER_ID_SIZE])
{
	struct ledger_entry *page;
	char after[LEDGER_ID_SIZE];
	int64_t before;
	size_t n = 0;
	enum err err;

	assert(f->limit > 0);
	err = read_before(db, f->before, &before);
	if (err != ERR_OK)
		return err;
	page = calloc((size_t)f->limit, sizeof(*page));
	if (!page)
		return ERR_NOMEM;
	err = read_page(db, f, before, page, &n, after);
	if (err != ERR_OK) {
		while (n > 0)
			ledger_entry_done(&page[--n]);
		free(page);
		return err;
	}
	*entries = page;
	*count = n;
	str_copy(next, LEDGER_ID_SIZE, after);
	return ERR_OK;
}

/* --- the log --------------------------------------------------------------- */

void ledger_log_done(struct ledger_attempt *log, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(log[i].error);
		free(log[i].reply);
	}
	free(log);
}

enum err ledger_log(struct db *db, int64_t seq, struct ledger_attempt **log,
                    size_t *count)
{
	static const char read[] =
	    "SELECT at_ms, status, latency_ms, error, reply FROM webhook_attempts"
	    " WHERE webhook_seq = ? ORDER BY n DESC LIMIT ?";
	struct ledger_attempt *rows = calloc(LIMIT_WEBHOOK_LOG, sizeof(*rows));
	struct sql q = sql_use(db, read);
	size_t n = 0;
	enum err err;

	if (!rows)
		sql_fail(&q, SQLITE_NOMEM);
	sql_int(&q, seq);
	sql_int(&q, LIMIT_WEBHOOK_LOG);
	while (rows && sql_row(&q)) {
		struct ledger_attempt *a = &rows[n++];

		a->at_ms = sql_get_int(&q);
		a->status = (int)sql_get_int(&q);
		a->latency_ms = sql_get_int(&q);
		a->error = sql_get_text(&q);
		a->reply = sql_get_text(&q);
	}
	err = sql_end(&q, NULL);
	if (err != ERR_OK) {
		ledger_log_done(rows, n);
		return err;
	}
	for (size_t i = 0; i < n / 2; i++) { /* the oldest first */
		struct ledger_attempt a = rows[i];

		rows[i] = rows[n - 1 - i];
		rows[n - 1 - i] = a;
	}
	*log = rows;
	*count = n;
	return ERR_OK;
}
