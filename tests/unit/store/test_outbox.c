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

/* --- the log --------------------------------------------------------------- */

static void every_settled_attempt_is_in_the_log_once(void)
{
	struct db *db = db_fresh();
	struct job job;

	told(db, &job);
	CHECK_INT(outbox_retry(db, 1, &bad, NOW + 60), ERR_OK);
	CHECK_INT(outbox_delivered(db, 1, &good), ERR_OK);
	CHECK_INT(outbox_delivered(db, 1, &good), ERR_STALE);
	CHECK_INT(outbox_retry(db, 99, &bad, NOW + 60), ERR_STALE);
	CHECK_STR(ask_text(db, "SELECT group_concat(webhook_seq || ' ' || n || ' ' ||"
	                       " at_ms || ' ' || status || ' ' || latency_ms || ' ' ||"
	                       " coalesce(error, '-') || ' ' || coalesce(reply, '-'),"
	                       " '; ') FROM webhook_attempts"),
	          "1 1 1800000000050 503 9 status 503 come back later; "
	          "1 2 1800000000050 200 7 - -");
	CHECK_STR(ask_text(db, "SELECT attempt || ' ' || at FROM webhook_log"),
	          "2 2027-01-15T08:00:00.050Z");
	job_done(&job);
	db_gone(db);
}

static void the_log_of_a_webhook_is_bounded_and_leaves_with_it(void)
{
	struct db *db = db_fresh();
	struct job job;

	told(db, &job);
	for (int i = 0; i < LIMIT_WEBHOOK_LOG; i++)
		CHECK_INT(outbox_retry(db, 1, &bad, NOW), ERR_OK);
	CHECK_STR(
	    ask_text(db, "SELECT min(n) || ' ' || count(*) FROM webhook_attempts"),
	    "1 64");
	CHECK_INT(outbox_retry(db, 1, &bad, NOW), ERR_OK);
	CHECK_STR(
	    ask_text(db, "SELECT min(n) || ' ' || count(*) FROM webhook_attempts"),
	    "2 64");
	CHECK_INT(shell(db, "DELETE FROM jobs"), SQLITE_OK);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM webhook_attempts"), 0);
	job_done(&job);
	db_gone(db);
}

static void a_reply_is_cut_between_its_characters(void)
{
	static char reply[LIMIT_WEBHOOK_REPLY + 3];
	const struct outbox_attempt attempt = { .now_ms = NOW, .reply = reply };
	struct db *db = db_fresh();
	struct job job;

	memset(reply, 'r', LIMIT_WEBHOOK_REPLY - 1);
	memcpy(reply + LIMIT_WEBHOOK_REPLY - 1, "\xc3\xbc", 2);
	told(db, &job);
	CHECK_INT(outbox_retry(db, 1, &attempt, NOW + 1), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT length(CAST(last_reply AS BLOB)) FROM webhooks"),
	          LIMIT_WEBHOOK_REPLY - 1);
	memmove(reply, reply + 1, sizeof(reply) - 1);
	CHECK_INT(outbox_retry(db, 1, &attempt, NOW + 1), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT length(CAST(last_reply AS BLOB)) FROM webhooks"),
	          LIMIT_WEBHOOK_REPLY);
	job_done(&job);
	db_gone(db);
}

/* --- a receiver that is back ------------------------------------------------ */

#define RECEIVER "receiver.example:443"

static int64_t wake(struct db *db, const char *receiver, int64_t now_ms)
{
	int64_t count = -1;

	CHECK_INT(outbox_wake(db, receiver, now_ms, &count), ERR_OK);
	CHECK_INT(wrong_figures(db), 0);
	return count;
}

static void a_receiver_that_is_back_gets_at_once_what_waits_for_it(void)
{
	struct db *db = db_fresh();
	struct job first, second, elsewhere;
	int64_t next;

	told(db, &first);
	told(db, &second);
	job_make_told(&elsewhere, "m:latest", 1u << JOB_QUEUED);
	free(elsewhere.webhook_url);
	elsewhere.webhook_url = strdup("http://receiver.example/");
	CHECK_INT(job_store(db, &elsewhere), ERR_OK);
	CHECK_STR(ask_text(db, "SELECT group_concat(DISTINCT receiver) FROM webhooks"),
	          RECEIVER ",receiver.example:80");
	CHECK_INT(outbox_retry(db, 1, &bad, NOW + 5000), ERR_OK);
	CHECK_INT(outbox_retry(db, 4, &bad, NOW + 9000), ERR_OK);
	CHECK_INT(outbox_retry(db, 7, &bad, NOW + 9000), ERR_OK);
	CHECK_INT(wake(db, "other.example:443", NOW + 100), 0);
	CHECK_INT(wake(db, RECEIVER, NOW + 100), 2);
	CHECK_INT(
	    ask_int(db, "SELECT count(*) FROM webhooks WHERE due_ms = 1800000000100"),
	    2);
	CHECK_INT(due(db, NOW + 100, "job.queued", &next), 1);
	CHECK_INT(wake(db, RECEIVER, NOW + 101), 0);
	job_done(&first);
	job_done(&second);
	job_done(&elsewhere);
	db_gone(db);
}

static void what_fails_though_its_receiver_is_back_is_hurried_every_other_time(void)
{
	struct db *db = db_fresh();
	struct job job;

	told(db, &job);
	CHECK_INT(outbox_retry(db, 1, &bad, NOW + 1000), ERR_OK);
	CHECK_INT(wake(db, RECEIVER, NOW + 10), 1);
	CHECK_INT(outbox_retry(db, 1, &bad, NOW + 2000), ERR_OK);
	CHECK_INT(wake(db, RECEIVER, NOW + 20), 0);
	CHECK_INT(outbox_retry(db, 1, &bad, NOW + 3000), ERR_OK);
	CHECK_INT(wake(db, RECEIVER, NOW + 2010), 1);
	job_done(&job);
	db_gone(db);
}

static void a_time_the_receiver_named_is_kept(void)
{
	struct outbox_attempt later = bad;
	struct db *db = db_fresh();
	struct job job;

	later.told = true;
	told(db, &job);
	CHECK_INT(outbox_retry(db, 1, &later, NOW + 1000), ERR_OK);
	CHECK_INT(wake(db, RECEIVER, NOW + 10), 0);
	CHECK_INT(outbox_retry(db, 1, &bad, NOW + 2000), ERR_OK);
	CHECK_INT(wake(db, RECEIVER, NOW + 1010), 1);
	job_done(&job);
	db_gone(db);
}

static void dead_ones_and_those_put_off_are_not_woken(void)
{
	const int64_t first[] = { 1 };
	struct db *db = db_fresh();
	struct job job;

	told(db, &job);
	CHECK_INT(outbox_defer(db, first, 1, NOW + 1000), ERR_OK);
	CHECK_INT(wake(db, RECEIVER, NOW + 10), 0);
	CHECK_INT(outbox_dead(db, 1, &bad), ERR_OK);
	CHECK_INT(wake(db, RECEIVER, NOW + 10), 0);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM webhooks WHERE state = 'dead'"), 1);
	job_done(&job);
	db_gone(db);
}

static void so_many_are_woken_at_once_and_the_rest_the_next_time(void)
{
	struct db *db = db_fresh();

	for (int i = 0; i <= LIMIT_WEBHOOK_WAKE; i++) {
		struct job job;

		job_make_told(&job, "m:latest", 1u << JOB_QUEUED);
		CHECK_INT(job_store(db, &job), ERR_OK);
		job_done(&job);
		CHECK_INT(outbox_retry(db, i + 1, &bad, NOW + 1000), ERR_OK);
	}
	CHECK_INT(wake(db, RECEIVER, NOW + 10), LIMIT_WEBHOOK_WAKE);
	CHECK_INT(wake(db, RECEIVER, NOW + 10), 1);
	db_gone(db);
}

/* --- once more ------------------------------------------------------------- */

/* In a transaction of its own; the answer. */
static enum err again(struct db *db, struct outbox_wish *wish)
{
	enum err err = db_begin(db, DB_SYNC_NORMAL, NULL);

	return err != ERR_OK ? err : db_finish(db, outbox_again(db, wish, NULL), NULL);
}

static enum err again_one(struct db *db, int64_t seq, int64_t now_ms)
{
	char sql[64], id[64];
	struct outbox_wish wish = { .id = id, .now_ms = now_ms };
	enum err err;

	snprintf(sql, sizeof(sql), "SELECT id FROM webhooks WHERE seq = %d", (int)seq);
	str_copy(id, sizeof(id), ask_text(db, sql));
	err = again(db, &wish);
	CHECK_INT(wish.count, 1);
	CHECK_INT(wrong_figures(db), 0);
	return err;
}

static void a_dead_one_is_sent_again_under_its_id_with_the_whole_schedule(void)
{
	struct db *db = db_fresh();
	struct owed owed;
	struct job job;
	size_t count;
	int64_t next;
	char id[64];

	job_make_told(&job, "m:latest", 1u << JOB_QUEUED);
	CHECK_INT(job_store(db, &job), ERR_OK);
	str_copy(id, sizeof(id), ask_text(db, "SELECT id FROM webhooks"));
	CHECK_INT(outbox_retry(db, 1, &bad, NOW + 60), ERR_OK);
	CHECK_INT(outbox_dead(db, 1, &bad), ERR_OK);
	CHECK_INT(again_one(db, 1, NOW + 99), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT webhook_pending - 10 * webhook_dead FROM jobs"),
	          1);
	CHECK_INT(outbox_due(db, NOW + 98, NULL, 0, &owed, 1, &count, &next), ERR_OK);
	CHECK_INT(count, 0);
	CHECK_INT(next, NOW + 99);
	CHECK_INT(outbox_due(db, NOW + 99, NULL, 0, &owed, 1, &count, &next), ERR_OK);
	REQUIRE(count == 1);
	CHECK_STR(owed.id, id);
	CHECK_INT(owed.attempts, 0);
	CHECK_STR(owed.body, "{\"type\":\"job.queued\"}");
	owed_done(&owed);
	CHECK_INT(outbox_delivered(db, 1, &good), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT max(n) FROM webhook_attempts"), 3);
	/* a delivered one too */
	CHECK_INT(again_one(db, 1, NOW + 100), ERR_OK);
	CHECK_INT(due(db, NOW + 100, "job.queued", &next), 1);
	job_done(&job);
	db_gone(db);
}

static void one_that_is_pending_is_due_now_however_often_one_asks(void)
{
	struct db *db = db_fresh();
	struct job job;
	int64_t next;

	told(db, &job);
	CHECK_INT(outbox_retry(db, 1, &bad, NOW + 5000), ERR_OK);
	CHECK_INT(again_one(db, 1, NOW + 99), ERR_OK);
	CHECK_INT(again_one(db, 1, NOW + 99), ERR_OK);
	CHECK_INT(due(db, NOW + 99, "job.queued", &next), 1);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM webhooks WHERE due_ms"), 1);
	CHECK_INT(ask_int(db, "SELECT sum(attempts) FROM webhooks"), 0);
	/* it is not its turn */
	CHECK_INT(again_one(db, 3, NOW + 99), ERR_OK);
	CHECK_INT(due(db, NOW + 99, "job.queued", &next), 1);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM webhooks WHERE due_ms"), 1);
	job_done(&job);
	db_gone(db);
}

static void the_order_of_a_job_holds_when_one_is_sent_again(void)
{
	struct db *db = db_fresh();
	struct job job;
	int64_t next;

	told(db, &job);
	CHECK_INT(outbox_dead(db, due(db, NOW + 99, "job.queued", &next), &bad),
	          ERR_OK);
	CHECK_INT(outbox_dead(db, due(db, NOW + 99, "job.loading", &next), &bad),
	          ERR_OK);
	CHECK_INT(due(db, NOW + 99, "job.working", &next), 3);
	/* the middle one goes before what is due, the first before both */
	CHECK_INT(again_one(db, 2, NOW + 99), ERR_OK);
	CHECK_INT(due(db, NOW + 99, "job.loading", &next), 2);
	CHECK_INT(again_one(db, 1, NOW + 99), ERR_OK);
	CHECK_INT(due(db, NOW + 99, "job.queued", &next), 1);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM webhooks WHERE due_ms"), 1);
	CHECK_INT(outbox_delivered(db, 1, &good), ERR_OK);
	CHECK_INT(outbox_delivered(db, due(db, NOW + 99, "job.loading", &next), &good),
	          ERR_OK);
	CHECK_INT(due(db, NOW + 99, "job.working", &next), 3);
	CHECK_INT(wrong_figures(db), 0);
	job_done(&job);
	db_gone(db);
}

static void one_in_flight_then_fails_and_waits_for_the_earlier_one(void)
{
	struct db *db = db_fresh();
	struct job job;
	int64_t next;

	told(db, &job);
	CHECK_INT(outbox_dead(db, 1, &bad), ERR_OK);
	CHECK_INT(due(db, NOW + 99, "job.loading", &next), 2); /* it takes off */
	CHECK_INT(again_one(db, 1, NOW + 99), ERR_OK);
	CHECK_INT(outbox_retry(db, 2, &bad, NOW + 60), ERR_OK);
	CHECK_INT(wrong_figures(db), 0);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM webhooks WHERE due_ms"), 1);
	CHECK_INT(due(db, NOW + 99, "job.queued", &next), 1);
	CHECK_INT(outbox_delivered(db, 1, &good), ERR_OK);
	CHECK_INT(due(db, NOW + 99, "job.loading", &next), 2);
	job_done(&job);
	db_gone(db);
}

static void those_settled_since_are_sent_again_so_many_at_a_time(void)
{
	struct outbox_wish wish = { .state = "dead",
		                        .since_ms = NOW + 51,
		                        .until_ms = NOW + 54,
		                        .max = 2,
		                        .now_ms = NOW + 99 };
	struct db *db = db_fresh();

	/* dead at 50, 51 ... 54, the last one delivered at 52 */
	for (int i = 0; i < 6; i++) {
		struct outbox_attempt a = { .now_ms = NOW + (i < 5 ? 50 + i : 52) };
		struct job job;

		job_make_told(&job, "m:latest", 1u << JOB_QUEUED);
		CHECK_INT(job_store(db, &job), ERR_OK);
		job_done(&job);
		CHECK_INT(i < 5 ? outbox_dead(db, i + 1, &a) : outbox_delivered(db, 6, &a),
		          ERR_OK);
	}
	CHECK_INT(again(db, &wish), ERR_OK);
	CHECK_INT(wish.count, 2);
	CHECK(wish.more);
	CHECK_STR(ask_text(db, "SELECT group_concat(seq) FROM webhooks WHERE due_ms"),
	          "2,3");
	CHECK_INT(again(db, &wish), ERR_OK);
	CHECK_INT(wish.count, 1);
	CHECK(!wish.more);
	CHECK_STR(ask_text(db, "SELECT group_concat(seq) FROM webhooks"
	                       " WHERE state = 'dead'"),
	          "1,5");
	CHECK_INT(again(db, &wish), ERR_OK);
	CHECK_INT(wish.count, 0);
	wish.state = "delivered";
	wish.max = 1;
	CHECK_INT(again(db, &wish), ERR_OK);
	CHECK_INT(wish.count, 1);
	CHECK(!wish.more);
	CHECK_INT(wrong_figures(db), 0);
	db_gone(db);
}

static void what_was_never_owed_is_not_sent_again(void)
{
	struct outbox_wish wish = { .id = "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV" };
	struct db *db = db_fresh();

	CHECK_INT(again(db, &wish), ERR_NOENT);
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
		T(every_settled_attempt_is_in_the_log_once),
		T(the_log_of_a_webhook_is_bounded_and_leaves_with_it),
		T(a_reply_is_cut_between_its_characters),
		T(a_receiver_that_is_back_gets_at_once_what_waits_for_it),
		T(what_fails_though_its_receiver_is_back_is_hurried_every_other_time),
		T(a_time_the_receiver_named_is_kept),
		T(dead_ones_and_those_put_off_are_not_woken),
		T(so_many_are_woken_at_once_and_the_rest_the_next_time),
		T(a_dead_one_is_sent_again_under_its_id_with_the_whole_schedule),
		T(one_that_is_pending_is_due_now_however_often_one_asks),
		T(the_order_of_a_job_holds_when_one_is_sent_again),
		T(one_in_flight_then_fails_and_waits_for_the_earlier_one),
		T(those_settled_since_are_sent_again_so_many_at_a_time),
		T(what_was_never_owed_is_not_sent_again),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
