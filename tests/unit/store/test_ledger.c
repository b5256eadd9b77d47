/*
 * test_ledger.c - webhooks for people: pages in order, one with its log.
 */
#include <config.h>

#include "store/ledger.h"

#include "core/limits.h"
#include "store.h"
#include "store/outbox.h"

#define PENDING (1u << LEDGER_PENDING)
#define DELIVERED (1u << LEDGER_DELIVERED)
#define DEAD (1u << LEDGER_DEAD)

static const struct outbox_attempt good = {
	.now_ms = NOW + 50, .status = 200, .latency_ms = 7, .reply = "thanks"
};
static const struct outbox_attempt bad = { .now_ms = NOW + 40,
	                                       .latency_ms = 9,
	                                       .error = "no answer" };

/* A job that owes one webhook; its id in `job_id`. */
static void owe(struct db *db, char job_id[ULID_SIZE])
{
	struct job job;

	job_make_told(&job, "m:latest", 1u << JOB_QUEUED);
	CHECK_INT(job_store(db, &job), ERR_OK);
	if (job_id)
		str_copy(job_id, ULID_SIZE, job.id);
	job_done(&job);
}

static const char *id_of(struct db *db, int64_t seq)
{
	char sql[64];

	snprintf(sql, sizeof(sql), "SELECT id FROM webhooks WHERE seq = %d", (int)seq);
	return ask_text(db, sql);
}

/* "5 4 2", with " ..." when there is a next page; `next` is filled. */
static const char *page(struct db *db, const struct ledger_filter *f,
                        char next[LEDGER_ID_SIZE])
{
	static char text[256];
	struct ledger_entry *entries;
	size_t count = 0, at = 0;

	text[0] = '\0';
	if (!CHECK(ledger_list(db, f, &entries, &count, next) == ERR_OK))
		return text;
	for (size_t i = 0; i < count; i++) {
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%lld", i ? " " : "",
		                       (long long)entries[i].seq);
		ledger_entry_done(&entries[i]);
	}
	free(entries);
	if (next[0])
		snprintf(text + at, sizeof(text) - at, " ...");
	return text;
}

static void ids_are_read_in_either_case_and_nothing_else_is(void)
{
	static const char *const wrong[] = {
		"",
		"evt_",
		"01ARZ3NDEKTSV4RRFFQ69G5FAV",
		"EVT_01ARZ3NDEKTSV4RRFFQ69G5FAV",
		"evt_01ARZ3NDEKTSV4RRFFQ69G5FA",
		"evt_01ARZ3NDEKTSV4RRFFQ69G5FAVV",
		"evt_81ARZ3NDEKTSV4RRFFQ69G5FAV",
		"evt_01ARZ3NDEKTSV4RRFFQ69G5FAU",
	};
	char id[LEDGER_ID_SIZE];

	CHECK_INT(ledger_id_parse(span_of("evt_01arz3ndektsv4rrffq69g5fav"), id),
	          ERR_OK);
	CHECK_STR(id, "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV");
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		CHECK_INT(ledger_id_parse(span_of(wrong[i]), id), ERR_INVAL);
}

static void states_have_the_names_of_the_table(void)
{
	enum ledger_state state = LEDGER_STATE_COUNT;

	for (int i = 0; i < LEDGER_STATE_COUNT; i++) {
		const char *name = ledger_state_name((enum ledger_state)i);

		CHECK_INT(ledger_state_parse(span_of(name), &state), ERR_OK);
		CHECK_INT(state, i);
	}
	CHECK_INT(ledger_state_parse(SPAN_LIT("Dead"), &state), ERR_INVAL);
	CHECK_INT(ledger_state_parse(SPAN_LIT(""), &state), ERR_INVAL);
}

static void pages_are_newest_first_and_hold_what_was_asked_for(void)
{
	struct ledger_filter f = { .states = PENDING | DEAD, .limit = 10 };
	char next[LEDGER_ID_SIZE], job_id[ULID_SIZE];
	struct db *db = db_fresh();

	for (int i = 1; i <= 6; i++)
		owe(db, i == 3 ? job_id : NULL);
	CHECK_INT(outbox_delivered(db, 2, &good), ERR_OK);
	CHECK_INT(outbox_delivered(db, 6, &good), ERR_OK);
	CHECK_INT(outbox_dead(db, 3, &bad), ERR_OK);
	CHECK_INT(outbox_dead(db, 5, &bad), ERR_OK);
	CHECK_STR(page(db, &f, next), "5 4 3 1");
	f.states = PENDING;
	CHECK_STR(page(db, &f, next), "4 1");
	f.states = DEAD;
	CHECK_STR(page(db, &f, next), "5 3");
	f.states = DELIVERED;
	CHECK_STR(page(db, &f, next), "6 2");
	f.states = PENDING | DEAD | DELIVERED;
	CHECK_STR(page(db, &f, next), "6 5 4 3 2 1");
	f.job_id = job_id;
	CHECK_STR(page(db, &f, next), "3");
	f.states = PENDING;
	CHECK_STR(page(db, &f, next), "");
	f.job_id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
	CHECK_STR(page(db, &f, next), "");
	db_gone(db);
}

static void a_page_ends_where_the_next_begins(void)
{
	const unsigned sets[] = { PENDING, PENDING | DEAD, PENDING | DEAD | DELIVERED };
	char next[LEDGER_ID_SIZE], before[LEDGER_ID_SIZE];
	struct db *db = db_fresh();

	for (int i = 1; i <= 5; i++)
		owe(db, NULL);
	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		struct ledger_filter f = { .states = sets[i], .limit = 2 };

		CHECK_STR(page(db, &f, next), "5 4 ...");
		CHECK_STR(next, id_of(db, 4));
		f.before = before;
		str_copy(before, sizeof(before), next);
		CHECK_STR(page(db, &f, next), "3 2 ...");
		str_copy(before, sizeof(before), next);
		CHECK_STR(page(db, &f, next), "1");
		f.limit = 5;
		f.before = NULL;
		CHECK_STR(page(db, &f, next), "5 4 3 2 1");
	}
	db_gone(db);
}

static void a_page_before_one_that_is_not_there_is_none(void)
{
	struct ledger_filter f = { .states = PENDING,
		                       .limit = 2,
		                       .before = "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV" };
	struct db *db = db_fresh();
	struct ledger_entry *entries;
	char next[LEDGER_ID_SIZE];
	size_t count;

	CHECK_INT(ledger_list(db, &f, &entries, &count, next), ERR_NOENT);
	db_gone(db);
}

static void one_is_found_with_all_that_is_known_of_it(void)
{
	struct db *db = db_fresh();
	struct ledger_entry e;
	char job_id[ULID_SIZE], id[LEDGER_ID_SIZE];
	char *body;

	owe(db, job_id);
	str_copy(id, sizeof(id), id_of(db, 1));
	REQUIRE(ledger_find(db, id, &e, &body) == ERR_OK);
	CHECK_STR(e.id, id);
	CHECK_STR(e.job_id, job_id);
	CHECK_STR(e.type, "job.queued");
	CHECK_STR(e.url, "https://receiver.example/hook");
	CHECK_INT(e.state, LEDGER_PENDING);
	CHECK_INT(e.attempts, 0);
	CHECK_INT(e.created_ms, NOW);
	CHECK_INT(e.due_ms, NOW);
	CHECK_INT(e.settled_ms, 0);
	CHECK_INT(e.last_status, 0);
	CHECK_INT(e.last_latency_ms, -1);
	CHECK_STR(e.last_error, NULL);
	CHECK_STR(body, "{\"type\":\"job.queued\"}");
	ledger_entry_done(&e);
	free(body);
	CHECK_INT(outbox_retry(db, 1, &bad, NOW + 60), ERR_OK);
	CHECK_INT(outbox_delivered(db, 1, &good), ERR_OK);
	REQUIRE(ledger_find(db, id, &e, &body) == ERR_OK);
	CHECK_INT(e.state, LEDGER_DELIVERED);
	CHECK_INT(e.attempts, 2);
	CHECK_INT(e.due_ms, 0);
	CHECK_INT(e.settled_ms, NOW + 50);
	CHECK_INT(e.last_status, 200);
	CHECK_INT(e.last_latency_ms, 7);
	CHECK_STR(e.last_error, NULL);
	ledger_entry_done(&e);
	free(body);
	CHECK_INT(ledger_find(db, "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", &e, &body),
	          ERR_NOENT);
	db_gone(db);
}

static void its_log_is_oldest_first_and_bounded(void)
{
	struct db *db = db_fresh();
	struct ledger_attempt *log;
	size_t count;

	owe(db, NULL);
	CHECK_INT(ledger_log(db, 1, &log, &count), ERR_OK);
	CHECK_INT(count, 0);
	ledger_log_done(log, count);
	for (int i = 0; i < LIMIT_WEBHOOK_LOG; i++)
		CHECK_INT(outbox_retry(db, 1, &bad, NOW), ERR_OK);
	CHECK_INT(outbox_delivered(db, 1, &good), ERR_OK);
	REQUIRE(ledger_log(db, 1, &log, &count) == ERR_OK);
	REQUIRE(count == LIMIT_WEBHOOK_LOG);
	CHECK_INT(log[0].at_ms, NOW + 40);
	CHECK_INT(log[0].status, 0);
	CHECK_INT(log[0].latency_ms, 9);
	CHECK_STR(log[0].error, "no answer");
	CHECK_STR(log[0].reply, NULL);
	CHECK_INT(log[count - 1].status, 200);
	CHECK_STR(log[count - 1].error, NULL);
	CHECK_STR(log[count - 1].reply, "thanks");
	ledger_log_done(log, count);
	db_gone(db);
}

static void a_page_looks_at_so_many_rows_and_no_more(void)
{
	struct ledger_filter f = { .states = DELIVERED, .limit = 2 };
	char next[LEDGER_ID_SIZE], before[LEDGER_ID_SIZE], sql[400];
	struct db *db = db_fresh();

	owe(db, NULL);
	CHECK_INT(outbox_delivered(db, 1, &good), ERR_OK);
	snprintf(sql, sizeof(sql),
	         "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n"
	         " WHERE n <= %d) INSERT INTO webhooks (id, job_seq, job_id, event_seq,"
	         " type, url, body, state, created_ms) SELECT"
	         " printf('evt_%%026d', n), 1, '', 1, '', '', '', 'pending', 1 FROM n",
	         LIMIT_LIST_SCAN);
	CHECK_INT(shell(db, sql), SQLITE_OK); /* the newest one is on its edge */
	CHECK_STR(page(db, &f, next), " ...");
	CHECK_STR(next, id_of(db, 2));
	f.before = before;
	str_copy(before, sizeof(before), next);
	CHECK_STR(page(db, &f, next), "1");
	CHECK_INT(shell(db, "DELETE FROM webhooks WHERE seq = 2"), SQLITE_OK);
	f.before = NULL;
	CHECK_STR(page(db, &f, next), "1 ...");
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(ids_are_read_in_either_case_and_nothing_else_is),
		T(states_have_the_names_of_the_table),
		T(pages_are_newest_first_and_hold_what_was_asked_for),
		T(a_page_ends_where_the_next_begins),
		T(a_page_before_one_that_is_not_there_is_none),
		T(one_is_found_with_all_that_is_known_of_it),
		T(its_log_is_oldest_first_and_bounded),
		T(a_page_looks_at_so_many_rows_and_no_more),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
