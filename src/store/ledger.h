/*
 * ledger.h - webhooks for people to read: pages of them, one with its log.
 *
 * Short statements, stepped to the end. What the worker reads to deliver is
 * outbox.h.
 */
#ifndef FOREMAN_STORE_LEDGER_H
#define FOREMAN_STORE_LEDGER_H

#include "base/ulid.h"
#include "store/db.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- ids ------------------------------------------------------------------- */

#define LEDGER_ID_PREFIX "evt_"
#define LEDGER_ID_SIZE (sizeof(LEDGER_ID_PREFIX) + ULID_LEN)

/* A webhook's id in canonical form; the ULID's letters in either case.
 * ERR_INVAL. */
enum err ledger_id_parse(struct span s, char out[LEDGER_ID_SIZE]) MUST_CHECK;

/* --- webhooks -------------------------------------------------------------- */

enum ledger_state { LEDGER_PENDING, LEDGER_DELIVERED, LEDGER_DEAD,
	                LEDGER_STATE_COUNT };

const char *ledger_state_name(enum ledger_state state);
enum err ledger_state_parse(struct span s, enum ledger_state *out) MUST_CHECK;

struct ledger_entry {
	int64_t seq;
	char id[LEDGER_ID_SIZE];
	char job_id[ULID_SIZE];
	char *type;               /* "job.done" */
	char *url;
	enum ledger_state state;
	int64_t attempts;         /* since it was owed or sent again */
	int64_t created_ms;
	int64_t due_ms;           /* 0: settled, or after an earlier one of the job */
	int64_t settled_ms;       /* 0: pending */
	int last_status;          /* 0: none came */
	int64_t last_latency_ms;  /* -1: never attempted */
	char *last_error;         /* NULL: none */
};

void ledger_entry_done(struct ledger_entry *e);

struct ledger_filter {
	unsigned states;     /* a set of 1u << LEDGER_... */
	const char *job_id;  /* NULL: any */
	const char *before;  /* a webhook's id, exclusive; NULL: from the newest */
	int limit;           /* at least 1 */
};

/* Newest first. *entries is an array of *count (each ledger_entry_done, then
 * free); next[0] = 0 when there is no further page, else the `before` of it. A
 * page may be short, or empty, and still have a next one: LIMIT_LIST_SCAN rows
 * are looked at. ERR_NOENT: there is no webhook `before`. */
enum err ledger_list(struct db *db, const struct ledger_filter *f,
                     struct ledger_entry **entries, size_t *count,
                     char next[LEDGER_ID_SIZE]) MUST_CHECK;

/* One, and its frozen body, a JSON text, on the heap. ERR_NOENT. */
enum err ledger_find(struct db *db, const char *id, struct ledger_entry *out,
                     char **body) MUST_CHECK;

/* --- its log --------------------------------------------------------------- */

struct ledger_attempt {
	int64_t at_ms;
	int status;          /* 0: none came */
	int64_t latency_ms;
	char *error;         /* NULL: delivered */
	char *reply;         /* NULL: none */
};

/* The attempts kept of a webhook, at most LIMIT_WEBHOOK_LOG, oldest first. */
enum err ledger_log(struct db *db, int64_t seq, struct ledger_attempt **log,
                    size_t *count) MUST_CHECK;
void ledger_log_done(struct ledger_attempt *log, size_t count); /* NULL is fine */

#endif
