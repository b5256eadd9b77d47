/*
 * test_row.c - rows that nobody but a shell without its checks can have made.
 */
#include <config.h>

#include "store/row.h"

#include "store.h"
#include "store/ledger.h"
#include "store/look.h"

/* A told job that works, whose rows are then changed so. */
static struct db *db_with(const char *change, char id[ULID_SIZE])
{
	struct db *db = db_fresh();
	struct job job;

	job_make_told(&job, "m:latest", JOB_EVENTS_ALL);
	str_copy(id, ULID_SIZE, job.id);
	CHECK_INT(job_store(db, &job), ERR_OK);
	job_done(&job);
	CHECK_INT(shell(db, "PRAGMA ignore_check_constraints = ON"), SQLITE_OK);
	CHECK_INT(shell(db, change), SQLITE_OK);
	return db;
}

static enum err list_all(struct db *db)
{
	const struct look_filter all = { .any_state = true, .limit = 10 };
	struct job *jobs = NULL;
	char next[ULID_SIZE];
	size_t count = 9;
	enum err err = look_jobs(db, &all, &jobs, &count, next);

	CHECK(!jobs && count == 9);
	return err;
}

static void a_job_that_makes_no_sense_is_an_error_to_whoever_reads_it(void)
{
	static const char *const changes[] = {
		"UPDATE jobs SET state = 'lost'",
		"UPDATE jobs SET state = 'failed', finished_ms = 1, reason = 'bad luck'",
		"UPDATE jobs SET artifact_mode = 'maybe'",
		"UPDATE jobs SET id = id || 'X'",
	};

	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		struct queue_input in = { 0 };
		char id[ULID_SIZE];
		struct job job;
		struct db *db = db_with(changes[i], id);

		CHECK_INT(list_all(db), ERR_IO);
		CHECK_INT(queue_claim(db, 1, NOW, &job, &in, NULL), ERR_IO);
		CHECK(!in.body);
		CHECK_INT(db_writable(db, NULL), ERR_OK); /* nothing stayed open */
		db_gone(db);
	}
}

static void a_state_that_is_none_is_no_step(void)
{
	char id[ULID_SIZE];
	struct db *db = db_with("UPDATE jobs SET state = 'lost'", id);
	struct look_step step = { .event_seq = -1 };

	CHECK_INT(look_step(db, id, &step), ERR_IO);
	CHECK_INT(step.event_seq, -1);
	db_gone(db);
}

static void events_that_make_no_sense_are_not_told(void)
{
	static const char *const changes[] = {
		"UPDATE events SET state = 'lost'",
		"UPDATE events SET reason = 'bad luck'",
	};

	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		struct look_event events[4];
		char id[ULID_SIZE];
		struct db *db = db_with(changes[i], id);
		size_t count = 9;

		CHECK_INT(look_events(db, id, 0, events, 4, &count), ERR_IO);
		CHECK_INT(count, 9);
		db_gone(db);
	}
}

static void webhooks_that_make_no_sense_are_not_listed(void)
{
	static const struct ledger_filter all = { .states = 7, .limit = 4 };
	static const char *const changes[] = {
		"UPDATE webhooks SET state = 'lost'",
		"UPDATE webhooks SET id = id || 'X'",
		"UPDATE webhooks SET job_id = job_id || 'X'",
	};

	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		struct ledger_entry *entries = NULL;
		char id[ULID_SIZE], next[LEDGER_ID_SIZE];
		struct db *db = db_with(changes[i], id);
		size_t count = 9;

		CHECK_INT(ledger_list(db, &all, &entries, &count, next), ERR_IO);
		CHECK(!entries);
		db_gone(db);
	}
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_job_that_makes_no_sense_is_an_error_to_whoever_reads_it),
		T(a_state_that_is_none_is_no_step),
		T(events_that_make_no_sense_are_not_told),
		T(webhooks_that_make_no_sense_are_not_listed),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
