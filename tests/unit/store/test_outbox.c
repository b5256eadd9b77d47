/*
 * test_outbox.c - webhooks owed: in order per job, once settled, never lost.
 */
#include <config.h>

#include "store/outbox.h"

#include "core/limits.h"
#include "store.h"

static const struct outbox_attempt good = { .now_ms = NOW + 50,
	                                        .status = 200,
	                                        .latency_ms = 7 };
static const struct outbox_attempt bad = { .now_ms = NOW + 50,
	                                       .status = 503,
	                                       .latency_ms = 9,
	                                       .error = "status 503",
	                                       .reply = "come back later" };

/* A told job that has gone queued, loading, working: three webhooks. */
static void told(struct db *db, struct job *job)
{
	int64_t seq;

	job_make_told(job, "m:latest", JOB_EVENTS_ALL);
	if (job_store(db, job) != ERR_OK)
		abort();
	seq = job->seq;
	job_done(job);
	if (job_claim(db, seq, job) != ERR_OK ||
	    queue_working(db, job, NOW + 20, NULL) != ERR_OK)
		abort();
}

/* The first that is due; its seq, 0 when nothing is. Checks its type. */
static int64_t due(struct db *db, int64_t now_ms, const char *type,
                   int64_t *next_ms)
{
	struct owed owed;
	size_t count = 0;
	int64_t seq = 0;

	CHECK_INT(outbox_due(db, now_ms, NULL, 0, &owed, 1, &count, next_ms), ERR_OK);
	if (count == 1) {
		CHECK_STR(owed.type, type);
		seq = owed.seq;
		owed_done(&owed);
	}
	return seq;
}

static void only_the_earliest_of_a_job_is_due(void)
{
	struct db *db = db_fresh();
	struct owed owed[4];
	int64_t next = -1;
	size_t count = 0;
	struct job job;

	told(db, &job);
	REQUIRE(outbox_due(db, NOW + 99, NULL, 0, owed, 4, &count, &next) == ERR_OK);
	REQUIRE(count == 1);
	CHECK_INT(next, 0);
	CHECK(strncmp(owed[0].id, "evt_", 4) == 0 &&
	      strlen(owed[0].id) == 4 + ULID_LEN);
	CHECK_STR(owed[0].job_id, job.id);
	CHECK_STR(owed[0].type, "job.queued");
	CHECK_STR(owed[0].url, "https://receiver.example/hook");
	CHECK_STR(owed[0].secret, "whsec_c2VjcmV0");
	CHECK_STR(owed[0].body, "{\"type\":\"job.queued\"}");
	CHECK_INT(owed[0].body_len, strlen(owed[0].body));
	CHECK_INT(owed[0].attempts, 0);
	owed_done(&owed[0]);
	CHECK_INT(wrong_figures(db), 0);
	job_done(&job);
	db_gone(db);
}

static void a_delivered_one_makes_the_next_due(void)
{
	static const char *const types[] = { "job.queued", "job.loading",
		                                 "job.working" };
	struct db *db = db_fresh();
	int64_t next;
	struct job job;

	told(db, &job);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		int64_t seq = due(db, NOW + 99, types[i], &next);

		REQUIRE(seq > 0);
		CHECK_INT(outbox_delivered(db, seq, &good), ERR_OK);
		CHECK_INT(outbox_delivered(db, seq, &good), ERR_STALE);
		CHECK_INT(wrong_figures(db), 0);
	}
	CHECK_INT(due(db, NOW + 99, "", &next), 0);
	CHECK_INT(ask_int(db, "SELECT webhook_pending FROM jobs"), 0);
	CHECK_STR(ask_text(db, "SELECT attempts || ' ' || last_status || ' ' ||"
	                       " last_latency_ms || ' ' || settled_ms FROM webhooks"),
	          "1 200 7 1800000000050");
	/* What comes now waits for nobody. */
	CHECK_INT(
	    queue_failed(db, &job, REASON_INTERNAL, NULL, true, NULL, NOW + 60, NULL),
	    ERR_OK);
	CHECK(due(db, NOW + 99, "job.failed", &next) > 0);
	job_done(&job);
	db_gone(db);
}

static void a_retry_holds_back_the_rest_of_its_job_alone(void)
{
	struct db *db = db_fresh();
	struct job first, second;
	int64_t next, seq;

	told(db, &first);
	seq = due(db, NOW + 99, "job.queued", &next);
	CHECK_INT(outbox_retry(db, seq, &bad, NOW + 5000), ERR_OK);
	CHECK_INT(due(db, NOW + 4999, "", &next), 0);
	CHECK_INT(next, NOW + 5000);
	CHECK_STR(ask_text(db, "SELECT last_error || ', ' || last_reply FROM webhooks"),
	          "status 503, come back later");
	CHECK_INT(ask_int(db, "SELECT settled_ms IS NULL FROM webhooks"), 1);
	CHECK_INT(wrong_figures(db), 0);
	told(db, &second);
	CHECK(due(db, NOW + 99, "job.queued", &next) > seq);
	CHECK_INT(outbox_dead(db, due(db, NOW + 99, "job.queued", &next), &bad),
	          ERR_OK);
	CHECK_INT(outbox_dead(db, due(db, NOW + 99, "job.loading", &next), &bad),
	          ERR_OK);
	CHECK_INT(outbox_dead(db, due(db, NOW + 99, "job.working", &next), &bad),
	          ERR_OK);
	CHECK_INT(due(db, NOW + 5000, "job.queued", &next), seq);
	job_done(&first);
	job_done(&second);
	db_gone(db);
}

static void a_dead_one_is_counted_and_lets_the_next_go(void)
{
	struct db *db = db_fresh();
	struct job job;
	int64_t next, seq;

	told(db, &job);
	seq = due(db, NOW + 99, "job.queued", &next);
	CHECK_INT(outbox_dead(db, seq, &bad), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT webhook_dead FROM jobs"), 1);
	CHECK_INT(ask_int(db, "SELECT webhook_pending FROM jobs"), 2);
	CHECK(due(db, NOW + 99, "job.loading", &next) > seq);
	CHECK_INT(outbox_retry(db, seq, &bad, NOW), ERR_STALE);
	CHECK_INT(outbox_delivered(db, 999, &good), ERR_STALE);
	CHECK_INT(wrong_figures(db), 0);
	job_done(&job);
	db_gone(db);
}

static void what_is_in_flight_is_skipped_and_the_rest_comes_in_order(void)
{
	struct db *db = db_fresh();
	struct owed owed[2];
	int64_t skip[1], next = 0;
	size_t count = 0;

	for (int i = 0; i < 5; i++) {
		struct job job;

		job_make_told(&job, "m:latest", 1u << JOB_QUEUED);
		job.created_ms = NOW + 5 - i; /* the last one is due first */
		CHECK_INT(job_store(db, &job), ERR_OK);
		job_done(&job);
	}
	skip[0] = 5;
	CHECK_INT(outbox_due(db, NOW + 99, skip, 1, owed, 2, &count, &next), ERR_OK);
	REQUIRE(count == 2);
	CHECK_INT(owed[0].seq, 4);
	CHECK_INT(owed[1].seq, 3);
	CHECK_INT(next, NOW + 4); /* seq 2: due, but there was no room */
	owed_done(&owed[0]);
	owed_done(&owed[1]);
	CHECK_INT(outbox_due(db, NOW + 2, skip, 1, owed, 2, &count, &next), ERR_OK);
	CHECK_INT(count, 1);
	CHECK_INT(next, NOW + 3);
	owed_done(&owed[0]);
	CHECK_INT(outbox_due(db, NOW, skip, 1, owed, 2, &count, &next), ERR_OK);
	CHECK_INT(count, 0);
	CHECK_INT(next, NOW + 2);
	CHECK_INT(outbox_due(db, NOW + 99, skip, 1, owed, 0, &count, &next), ERR_OK);
	CHECK_INT(count, 0);
	CHECK_INT(next, NOW + 2);
	db_gone(db);
}

static void long_texts_of_strangers_are_cut(void)
{
	static char error[LIMIT_ERROR_TEXT + 2], reply[LIMIT_WEBHOOK_REPLY + 2];
	const struct outbox_attempt attempt = { .now_ms = NOW,
		                                    .error = error,
		                                    .reply = reply };
	struct db *db = db_fresh();
	struct job job;

	memset(error, 'e', sizeof(error) - 1);
	memset(reply, 'r', sizeof(reply) - 1);
	job_make_told(&job, "m:latest", 1u << JOB_QUEUED);
	CHECK_INT(job_store(db, &job), ERR_OK);
	CHECK_INT(outbox_retry(db, 1, &attempt, NOW + 1), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT length(last_error) FROM webhooks"),
	          LIMIT_ERROR_TEXT);
	CHECK_INT(ask_int(db, "SELECT length(last_reply) FROM webhooks"),
	          LIMIT_WEBHOOK_REPLY);
	CHECK_INT(ask_int(db, "SELECT last_status IS NULL FROM webhooks"), 1);
	job_done(&job);
	db_gone(db);
}

static void a_shell_that_settles_or_deletes_one_keeps_the_rest_going(void)
{
	struct db *db = db_fresh();
	struct job job;
	int64_t next;

	told(db, &job);
	CHECK_INT(shell(db, "UPDATE webhooks SET state = 'dead', due_ms = NULL"
	                    " WHERE type = 'job.queued'"),
	          SQLITE_OK);
	CHECK_INT(wrong_figures(db), 0);
	CHECK(due(db, NOW + 99, "job.loading", &next) > 0);
	CHECK_INT(shell(db, "DELETE FROM webhooks WHERE type = 'job.loading'"),
	          SQLITE_OK);
	CHECK_INT(wrong_figures(db), 0);
	CHECK(due(db, NOW + 99, "job.working", &next) > 0);
	job_done(&job);
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(only_the_earliest_of_a_job_is_due),
		T(a_delivered_one_makes_the_next_due),
		T(a_retry_holds_back_the_rest_of_its_job_alone),
		T(a_dead_one_is_counted_and_lets_the_next_go),
		T(what_is_in_flight_is_skipped_and_the_rest_comes_in_order),
		T(long_texts_of_strangers_are_cut),
		T(a_shell_that_settles_or_deletes_one_keeps_the_rest_going),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
