/*
 * test_queue.c - entering, every arrow and every forbidden one, being second,
 * heads against a model that counts by hand, and what is pruned.
 */
#include <config.h>

#include "store/queue.h"

#include "core/limits.h"
#include "store/remove.h"
#include "store.h"
#include "store/pace.h"

/* --- entering -------------------------------------------------------------- */

static void a_submission_is_a_job_a_body_and_an_event(void)
{
	struct db *db = db_fresh();
	struct job job;

	job_make(&job, "m:latest", true);
	CHECK_INT(job_store(db, &job), ERR_OK);
	CHECK_INT(job.seq, 1);
	CHECK_INT(job.position, 1);
	CHECK_STR(
	    ask_text(db, "SELECT cast(body AS TEXT) FROM inputs WHERE job_seq = 1"),
	    "{\"model\":\"m\"}");
	CHECK_STR(ask_text(db, "SELECT job_seq || seq || state || at_ms FROM events"),
	          "11queued1800000000000");
	CHECK_INT(ask_int(db, "SELECT count(*) FROM webhooks"), 0);
	CHECK_INT(wrong_figures(db), 0);
	job_done(&job);
	db_gone(db);
}

static void an_empty_body_is_a_body(void)
{
	struct db *db = db_fresh();
	struct submission sub = { .body = { NULL, 0 } }, *subs[] = { &sub };
	struct job job, claimed;
	struct queue_input in = { 0 };

	job_make(&job, "m:latest", false);
	sub.job = &job;
	CHECK_INT(db_begin(db, DB_SYNC_FULL, NULL), ERR_OK);
	CHECK_INT(db_finish(db, queue_submit(db, subs, 1, &no_limits, NULL), NULL),
	          ERR_OK);
	REQUIRE(queue_claim(db, job.seq, NOW, &claimed, &in, NULL) == ERR_OK);
	CHECK_INT(in.body_len, 0);
	CHECK_STR(in.body, "");
	free(in.body);
	job_done(&claimed);
	job_done(&job);
	db_gone(db);
}

/* --- keys ------------------------------------------------------------------- */

/* Submit one job under the key, in a transaction of its own. */
static enum err submit_keyed(struct db *db, struct queue_key *key,
                             const struct queue_limits *limits, char id[ULID_SIZE])
{
	struct submission sub = { .body = SPAN_LIT("{}"), .key = key };
	struct submission *const subs[] = { &sub };
	struct job job;

	job_make(&job, "m:latest", false);
	memcpy(id, job.id, ULID_SIZE);
	sub.job = &job;
	CHECK_INT(db_begin(db, DB_SYNC_FULL, NULL), ERR_OK);
	CHECK_INT(db_finish(db, queue_submit(db, subs, 1, limits, NULL), NULL), ERR_OK);
	job_done(&job);
	return sub.result;
}

static void a_key_that_came_before_stores_nothing_and_tells_whose_it_is(void)
{
	const struct queue_limits one = { .max_queue = 1, .max_jobs = 1 };
	struct queue_key key = { .text = "k", .fingerprint = "f" };
	struct queue_key other = { .text = "k", .fingerprint = "g" };
	struct queue_key next = { .text = "K", .fingerprint = "f" };
	struct db *db = db_fresh();
	char id[ULID_SIZE], unused[ULID_SIZE];

	CHECK_INT(submit_keyed(db, &key, &one, id), ERR_OK);
	/* though the queue is full: nothing is to be stored */
	CHECK_INT(submit_keyed(db, &key, &one, unused), ERR_STALE);
	CHECK(key.same);
	CHECK_STR(key.first_id, id);
	CHECK_STR(key.last_id, id);
	CHECK_INT(submit_keyed(db, &other, &one, unused), ERR_STALE);
	CHECK(!other.same);
	CHECK_STR(other.first_id, id);
	CHECK_INT(submit_keyed(db, &next, &one, unused), ERR_LIMIT); /* another key */
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 1);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM inputs"), 1);
	CHECK_INT(wrong_figures(db), 0);
	db_gone(db);
}

static void a_key_is_forgotten_with_its_job(void)
{
	struct queue_key key = { .text = "k", .fingerprint = "f" };
	struct db *db = db_fresh();
	char id[ULID_SIZE];

	CHECK_INT(submit_keyed(db, &key, &no_limits, id), ERR_OK);
	CHECK_INT(shell(db, "DELETE FROM jobs"), SQLITE_OK);
	key.fingerprint = "g";
	CHECK_INT(submit_keyed(db, &key, &no_limits, id), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 1);
	db_gone(db);
}

static void the_same_key_twice_in_one_transaction_is_one_job(void)
{
	struct queue_key keys[3] = { { .text = "k", .fingerprint = "f" },
		                         { .text = "k", .fingerprint = "f" },
		                         { .text = "k2", .fingerprint = "f" } };
	struct db *db = db_fresh();
	struct submission subs[3], *list[3];
	struct job jobs[3];

	for (int i = 0; i < 3; i++) {
		job_make(&jobs[i], "m:latest", false);
		subs[i] = (struct submission){ .job = &jobs[i],
			                           .body = SPAN_LIT("{}"),
			                           .key = &keys[i] };
		list[i] = &subs[i];
	}
	CHECK_INT(db_begin(db, DB_SYNC_FULL, NULL), ERR_OK);
	CHECK_INT(db_finish(db, queue_submit(db, list, 3, &no_limits, NULL), NULL),
	          ERR_OK);
	CHECK_INT(subs[0].result, ERR_OK);
	CHECK_INT(subs[1].result, ERR_STALE);
	CHECK_STR(keys[1].first_id, jobs[0].id);
	CHECK_INT(subs[2].result, ERR_OK); /* the others go in */
	CHECK_INT(jobs[2].position, 2);
	for (int i = 0; i < 3; i++)
		job_done(&jobs[i]);
	db_gone(db);
}

/* --- batches ----------------------------------------------------------------- */

#define BATCH 5

struct batch {
	struct job jobs[BATCH];
	struct submission subs[BATCH], *list[BATCH];
	size_t at;
};

static void batch_make(struct batch *b, struct queue_key *key)
{
	for (int i = 0; i < BATCH; i++) {
		job_make(&b->jobs[i], i % 2 ? "b:latest" : "a:latest", false);
		b->subs[i] =
		    (struct submission){ .job = &b->jobs[i], .body = SPAN_LIT("{}") };
		b->list[i] = &b->subs[i];
	}
	b->subs[0].key = key;
	if (key)
		key->last = b->jobs[BATCH - 1].id;
}

static enum err batch_store(struct db *db, struct batch *b,
                            const struct queue_limits *limits)
{
	enum err e = db_begin(db, DB_SYNC_FULL, NULL);

	b->at = 99;
	if (e == ERR_OK)
		e = db_finish(
		    db, queue_submit_all(db, b->list, BATCH, limits, &b->at, NULL), NULL);
	return e;
}

static void batch_forget(struct batch *b)
{
	for (int i = 0; i < BATCH; i++)
		job_done(&b->jobs[i]);
}

static void a_batch_is_in_the_line_in_its_order(void)
{
	struct db *db = db_fresh();
	struct batch b;

	job_put(db, "m:latest", false);
	batch_make(&b, NULL);
	CHECK_INT(batch_store(db, &b, &no_limits), ERR_OK);
	CHECK_INT(b.at, BATCH);
	for (int i = 0; i < BATCH; i++) {
		CHECK_INT(b.subs[i].result, ERR_OK);
		CHECK_INT(b.jobs[i].seq, 2 + i);
		CHECK_INT(b.jobs[i].position, 2 + i);
	}
	CHECK_INT(ask_int(db, "SELECT count(*) FROM inputs"), 1 + BATCH);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM events"), 1 + BATCH);
	CHECK_INT(wrong_figures(db), 0);
	batch_forget(&b);
	db_gone(db);
}

static void one_that_does_not_go_in_keeps_its_whole_batch_out(void)
{
	struct db *db = db_fresh();
	struct batch b;

	batch_make(&b, NULL);
	memcpy(b.jobs[3].id, b.jobs[1].id, ULID_SIZE);
	CHECK_INT(batch_store(db, &b, &no_limits), ERR_CONFLICT);
	CHECK_INT(b.at, 3);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 0);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM inputs"), 0);
	CHECK_INT(wrong_figures(db), 0);
	batch_forget(&b);
	db_gone(db);
}

static void a_disk_that_fills_within_a_batch_keeps_all_of_it_out(void)
{
	static char large[6000]; /* the third does not fit any more */
	struct db *db = db_fresh();
	char pragma[64];
	struct batch b;

	batch_make(&b, NULL);
	for (int i = 0; i < BATCH; i++)
		b.subs[i].body = (struct span){ large, sizeof(large) };
	snprintf(pragma, sizeof(pragma), "PRAGMA max_page_count = %lld",
	         (long long)ask_int(db, "PRAGMA page_count") + 5);
	shell(db, pragma);
	CHECK_INT(batch_store(db, &b, &no_limits), ERR_FULL);
	CHECK_INT(b.at, BATCH); /* it is nobody's fault */
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 0);
	CHECK_INT(wrong_figures(db), 0);
	shell(db, "PRAGMA max_page_count = 1000000");
	CHECK_INT(batch_store(db, &b, &no_limits), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), BATCH);
	batch_forget(&b);
	db_gone(db);
}

static void a_batch_goes_in_if_there_is_room_for_all_of_it(void)
{
	struct queue_limits limits = { .max_queue = 0, .max_jobs = BATCH };
	struct db *db = db_fresh();
	struct batch b;

	job_put(db, "m:latest", false);
	batch_make(&b, NULL);
	CHECK_INT(batch_store(db, &b, &limits), ERR_LIMIT);
	CHECK_INT(b.at, 0);
	CHECK_INT(b.subs[0].room_ms, 0); /* nothing ever ran */
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 1);
	limits.max_jobs++;
	CHECK_INT(batch_store(db, &b, &limits), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 1 + BATCH);
	batch_forget(&b);
	db_gone(db);
}

static void a_key_covers_its_whole_batch(void)
{
	struct queue_key key = { .text = "k", .fingerprint = "f" };
	struct queue_key again = { .text = "k", .fingerprint = "f" };
	const struct queue_limits none = { 0, 0 };
	struct db *db = db_fresh();
	struct batch b, repeated;

	batch_make(&b, &key);
	CHECK_INT(batch_store(db, &b, &no_limits), ERR_OK);
	CHECK_STR(ask_text(db, "SELECT batch_last FROM jobs WHERE idempotency_key = 'k'"),
	          b.jobs[BATCH - 1].id);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs WHERE fingerprint IS NULL"),
	          BATCH - 1);
	batch_make(&repeated, &again);
	CHECK_INT(batch_store(db, &repeated, &none), ERR_STALE);
	CHECK_INT(repeated.at, 0);
	CHECK(again.same);
	CHECK_STR(again.first_id, b.jobs[0].id);
	CHECK_STR(again.last_id, b.jobs[BATCH - 1].id);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), BATCH);
	batch_forget(&b);
	batch_forget(&repeated);
	db_gone(db);
}

/* The job may be another's, who is not through with its sync or had it fail. */
static void a_key_that_came_before_is_answered_with_its_job_on_disk(void)
{
	struct queue_key key = { .text = "k", .fingerprint = "f" };
	struct db *db = db_fresh();
	struct batch b;
	char id[ULID_SIZE];

	CHECK_INT(submit_keyed(db, &key, &no_limits, id), ERR_OK);
	batch_make(&b, &key);
	syncs_taken();
	CHECK_INT(submit_keyed(db, &key, &no_limits, id), ERR_STALE);
	CHECK_INT(syncs_taken(), 1);
	CHECK_INT(batch_store(db, &b, &no_limits), ERR_STALE);
	CHECK_INT(syncs_taken(), 1);
	sync_errno = EIO;
	CHECK_INT(batch_store(db, &b, &no_limits), ERR_IO);
	sync_errno = 0;
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 1);
	batch_forget(&b);
	db_gone(db);
}

/* --- webhooks and limits ----------------------------------------------------- */

static void a_full_queue_tells_how_fast_it_empties(void)
{
	const struct pace run = { .load_ms = 0, .run_ms = 4000, .tokens_per_s = 1 };
	const struct queue_limits one = { .max_queue = 1, .max_jobs = 1 };
	struct submission sub = { .body = SPAN_LIT("{}") };
	struct submission *const subs[] = { &sub };
	struct db *db = db_fresh();
	int64_t known = 0;
	struct job job;

	job_put(db, "m:latest", false);
	job_make(&job, "m:latest", false);
	sub.job = &job;
	CHECK_INT(db_begin(db, DB_SYNC_FULL, NULL), ERR_OK);
	CHECK_INT(pace_record(db, "m:latest", &run, NOW, NULL), ERR_OK);
	CHECK_INT(db_finish(db, queue_submit(db, subs, 1, &one, NULL), NULL), ERR_OK);
	CHECK_INT(sub.result, ERR_LIMIT);
	CHECK_INT(pace_drain_ms(db, &known), ERR_OK);
	CHECK(known > 0);
	CHECK_INT(sub.room_ms, known);
	job_done(&job);
	db_gone(db);
}

static void a_told_submission_owes_its_webhook(void)
{
	struct db *db = db_fresh();
	struct job job, quiet;

	job_make_told(&job, "m:latest", JOB_EVENTS_ALL);
	CHECK_INT(job_store(db, &job), ERR_OK);
	CHECK_INT(job.webhook_pending, 1);
	CHECK_STR(ask_text(db, "SELECT type || body || due_ms || state || event_seq"
	                       " FROM webhooks"),
	          "job.queued{\"type\":\"job.queued\"}1800000000000pending1");
	job_make_told(&quiet, "m:latest", 1u << JOB_DONE);
	CHECK_INT(job_store(db, &quiet), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM webhooks"), 1);
	CHECK_INT(wrong_figures(db), 0);
	job_done(&job);
	job_done(&quiet);
	db_gone(db);
}

static void each_class_has_its_limit_and_its_place(void)
{
	const struct queue_limits limits = { .max_queue = 2, .max_jobs = 1 };
	static const struct {
		bool attended;
		enum err result;
		int64_t position;
	} arrivals[] = {
		{ true, ERR_OK, 1 },  { true, ERR_OK, 2 },     { true, ERR_LIMIT, 0 },
		{ false, ERR_OK, 3 }, { false, ERR_LIMIT, 0 }, { true, ERR_LIMIT, 0 },
	};
	struct db *db = db_fresh();
	struct job job;

	for (size_t i = 0; i < ARRAY_LEN(arrivals); i++) {
		job_make(&job, "m:latest", arrivals[i].attended);
		CHECK_INT(job_store_limited(db, &job, &limits), arrivals[i].result);
		CHECK_INT(job.position, arrivals[i].position);
		job_done(&job);
	}
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 3);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM inputs"), 3);
	CHECK_INT(job_claim(db, 1, &job), ERR_OK); /* one waits no more */
	job_done(&job);
	job_make(&job, "m:latest", true);
	CHECK_INT(job_store_limited(db, &job, &limits), ERR_OK);
	job_done(&job);
	db_gone(db);
}

static void limits_hold_within_one_batch_and_refuse_only_what_is_over(void)
{
	const struct queue_limits limits = { .max_queue = 1, .max_jobs = 2 };
	struct submission subs[6], *list[6];
	struct job jobs[6];
	struct db *db = db_fresh();

	for (int i = 0; i < 6; i++) {
		job_make(&jobs[i], "m:latest", i % 2);
		subs[i] = (struct submission){ .job = &jobs[i], .body = SPAN_LIT("{}") };
		list[i] = &subs[i];
	}
	memcpy(jobs[2].id, jobs[0].id, ULID_SIZE); /* and one id twice */
	CHECK_INT(db_begin(db, DB_SYNC_FULL, NULL), ERR_OK);
	CHECK_INT(queue_submit(db, list, 6, &limits, NULL), ERR_OK);
	CHECK_INT(db_commit(db, NULL), ERR_OK);
	CHECK_INT(subs[0].result, ERR_OK);
	CHECK_INT(subs[1].result, ERR_OK);
	CHECK_INT(subs[2].result, ERR_CONFLICT);
	CHECK_INT(subs[3].result, ERR_LIMIT);
	CHECK_INT(subs[4].result, ERR_OK);
	CHECK_INT(subs[5].result, ERR_LIMIT);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 3);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM inputs"), 3);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM events"), 3);
	CHECK_INT(wrong_figures(db), 0);
	for (int i = 0; i < 6; i++)
		job_done(&jobs[i]);
	db_gone(db);
}

/* --- the arrows ------------------------------------------------------------ */

static void a_claim_hands_out_the_job_and_its_body(void)
{
	struct db *db = db_fresh();
	int64_t seq = job_put(db, "m:latest", true);
	struct job job;
	struct queue_input in = { 0 };

	REQUIRE(queue_claim(db, seq, NOW + 10, &job, &in, NULL) == ERR_OK);
	CHECK_INT(job.seq, seq);
	CHECK_INT(job.state, JOB_LOADING);
	CHECK_INT(job.event_seq, 2);
	CHECK_INT(job.loading_ms, NOW + 10);
	CHECK_INT(job.attempts, 0);
	CHECK_STR(job.load_key, "m:latest");
	CHECK_STR(in.body, "{\"model\":\"m\"}");
	CHECK_INT(in.body_len, strlen(in.body));
	CHECK_STR(in.headers, NULL);
	CHECK_STR(ask_text(db, "SELECT state || loading_ms FROM jobs"),
	          "loading1800000000010");
	CHECK_STR(ask_text(db, "SELECT state || at_ms FROM events WHERE seq = 2"),
	          "loading1800000000010");
	CHECK_INT(wrong_figures(db), 0);
	free(in.body);
	job_done(&job);
	db_gone(db);
}

static void a_claim_hands_out_the_headers_that_came_with_the_body(void)
{
	struct db *db = db_fresh();
	struct job job;
	struct queue_input in = { 0 };
	int64_t seq = job_put(db, "m:latest", true);

	REQUIRE(sql_exec(db, "UPDATE inputs SET headers = 'A: 1' || char(10)", NULL) ==
	        ERR_OK);
	REQUIRE(queue_claim(db, seq, NOW + 10, &job, &in, NULL) == ERR_OK);
	CHECK_STR(in.headers, "A: 1\n");
	free(in.body);
	free(in.headers);
	job_done(&job);
	db_gone(db);
}

static void a_claimed_job_is_not_claimed_again(void)
{
	struct db *db = db_fresh();
	int64_t seq = job_put(db, "m:latest", false);
	struct job job, other;

	CHECK_INT(job_claim(db, seq, &job), ERR_OK);
	CHECK_INT(job_claim(db, seq, &other), ERR_STALE);
	CHECK_INT(job_claim(db, seq + 1, &other), ERR_STALE); /* never was */
	CHECK_INT(ask_int(db, "SELECT count(*) FROM events"), 2);
	job_done(&job);
	db_gone(db);
}

static void a_job_whose_body_was_lost_can_still_be_claimed(void)
{
	struct db *db = db_fresh();
	int64_t seq = job_put(db, "m:latest", false);
	struct job job;

	shell(db, "DELETE FROM inputs");
	CHECK_INT(job_claim(db, seq, &job), ERR_OK);
	job_done(&job);
	db_gone(db);
}

static void a_run_passes_the_states_in_order_to_done(void)
{
	struct db *db = db_fresh();
	struct job job;

	job_in(db, JOB_DONE, &job);
	CHECK_INT(job.state, JOB_DONE);
	CHECK_INT(job.event_seq, 4);
	CHECK_INT(job.attempts, 1);
	CHECK_INT(job.prompt_tokens, 3);
	CHECK_INT(job.artifact_count, 1);
	CHECK_STR(ask_text(db, "SELECT group_concat(state) FROM events"),
	          "queued,loading,working,done");
	CHECK_STR(ask_text(db,
	                   "SELECT state || loading_ms || working_ms || finished_ms ||"
	                   " prompt_tokens || completion_tokens FROM jobs"),
	          "done18000000000101800000000020180000000003034");
	CHECK_INT(ask_int(db, "SELECT count(*) FROM inputs"),
	          1); /* to run it by hand */
	CHECK_INT(wrong_figures(db), 0);
	job_done(&job);
	db_gone(db);
}

static void an_attended_jobs_body_goes_with_its_end(void)
{
	const struct queue_result none = { .prompt_tokens = -1,
		                               .completion_tokens = -1 };
	struct db *db = db_fresh();
	struct job job;

	for (int fails = 0; fails < 2; fails++) {
		CHECK_INT(job_claim(db, job_put(db, "m:latest", true), &job), ERR_OK);
		CHECK_INT(ask_int(db, "SELECT count(*) FROM inputs"), 1);
		CHECK_INT(queue_working(db, &job, NOW + 20, NULL), ERR_OK);
		CHECK_INT(fails ? queue_failed(db, &job, REASON_CANCELED, "client left",
		                               false, NULL, NOW + 30, NULL)
		                : queue_done(db, &job, &none, NOW + 30, NULL),
		          ERR_OK);
		CHECK_INT(ask_int(db, "SELECT count(*) FROM inputs"), 0);
		CHECK_INT(ask_int(db, "SELECT count(*) FROM artifacts"), 0);
		job_done(&job);
	}
	db_gone(db);
}

static void a_job_may_fail_from_any_state_it_can_be_in(void)
{
	static const char partial[] = "so far";
	const struct queue_result result = { .content_type = "text/plain",
		                                 .response = { partial, 6 },
		                                 .prompt_tokens = -1,
		                                 .completion_tokens = -1 };
	struct db *db = db_fresh();

	for (int s = JOB_QUEUED; s <= JOB_WORKING; s++) {
		struct job job;

		job_in(db, (enum job_state)s, &job);
		CHECK_INT(queue_failed(db, &job, REASON_UPSTREAM_INCOMPLETE, "cut off",
		                       s > 0, s == JOB_WORKING ? &result : NULL, NOW + 40,
		                       NULL),
		          ERR_OK);
		CHECK_INT(job.state, JOB_FAILED);
		CHECK_INT(job.reason, REASON_UPSTREAM_INCOMPLETE);
		CHECK_STR(job.error, "cut off");
		CHECK_INT(job.attempts, s > 0);
		CHECK_INT(job.finished_ms, NOW + 40);
		job_done(&job);
	}
	CHECK_STR(ask_text(db, "SELECT group_concat(reason || error) FROM jobs"),
	          "upstream_incompletecut off,upstream_incompletecut off,"
	          "upstream_incompletecut off");
	CHECK_INT(ask_int(db, "SELECT count(*) FROM artifacts WHERE NOT complete"), 1);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM events WHERE reason NOT NULL"), 3);
	CHECK_INT(wrong_figures(db), 0);
	db_gone(db);
}

static void a_job_sent_back_keeps_its_place(void)
{
	struct db *db = db_fresh();
	struct order_heads heads;
	struct job job;

	job_put(db, "m:latest", false);
	job_put(db, "m:latest", false);
	for (int counted = 0; counted < 2; counted++) {
		CHECK_INT(job_claim(db, 1, &job), ERR_OK);
		if (counted)
			CHECK_INT(queue_working(db, &job, NOW + 20, NULL), ERR_OK);
		CHECK_INT(queue_back(db, &job, counted ? REASON_RETRY : REASON_TARGET_LOST,
		                     "connection reset", counted, 0, NOW + 30, NULL),
		          ERR_OK);
		CHECK_INT(job.state, JOB_QUEUED);
		CHECK_INT(job.attempts, counted);
		CHECK_INT(job.interruptions, 1);
		CHECK_INT(job.queued_ms, NOW + 30);
		CHECK_INT(job.loading_ms, 0);
		CHECK_INT(job.working_ms, 0);
		CHECK_STR(job.error, "connection reset");
		CHECK_INT(job.reason, REASON_NONE);
		job_done(&job);
		REQUIRE(queue_heads(db, "m:latest", &heads) == ERR_OK);
		CHECK_INT(heads.loaded[ORDER_UNATTENDED].seq, 1);
		CHECK_INT(heads.loaded[ORDER_UNATTENDED].queued_ms, NOW + 30);
		CHECK_INT(wrong_figures(db), 0);
	}
	CHECK_STR(
	    ask_text(db,
	             "SELECT group_concat(state || coalesce(reason, '')) FROM events"
	             " WHERE job_seq = 1"),
	    "queued,loading,queuedtarget_lost,loading,working,queuedretry");
	CHECK_INT(job_claim(db, 1, &job), ERR_OK);
	CHECK_STR(job.error, NULL); /* it runs again: that is past */
	job_done(&job);
	db_gone(db);
}

/* What each public function does to a job believed to be in `from`. */
static enum err try_arrow(struct db *db, struct job *job, enum job_state to)
{
	const struct queue_result none = { .prompt_tokens = -1,
		                               .completion_tokens = -1 };

	switch (to) {
	case JOB_QUEUED:
		return queue_back(db, job, REASON_RETRY, NULL, true, 0, NOW + 50, NULL);
	case JOB_LOADING:
		return job_claim(db, job->seq, job);
	case JOB_WORKING:
		return queue_working(db, job, NOW + 50, NULL);
	case JOB_DONE:
		return queue_done(db, job, &none, NOW + 50, NULL);
	default:
		return queue_failed(db, job, REASON_INTERNAL, NULL, true, NULL, NOW + 50,
		                    NULL);
	}
}

static void every_forbidden_arrow_is_refused_without_a_trace(void)
{
	struct db *db = db_fresh();
	int refused = 0;

	for (int from = 0; from < JOB_STATE_COUNT; from++) {
		for (int to = 0; to < JOB_STATE_COUNT; to++) {
			struct job job;
			int64_t events;

			if (job_may_move((enum job_state)from, (enum job_state)to))
				continue;
			job_in(db, (enum job_state)from, &job);
			events = ask_int(db, "SELECT count(*) FROM events");
			/* A claim takes a number, not a job: it can only be late. */
			CHECK_INT(try_arrow(db, &job, (enum job_state)to),
			          to == JOB_LOADING ? ERR_STALE : ERR_INVAL);
			CHECK_INT(job.state, from);
			CHECK_INT(ask_int(db, "SELECT count(*) FROM events"), events);
			CHECK_STR(ask_text(db, "SELECT state FROM jobs ORDER BY seq DESC"),
			          job_state_name((enum job_state)from));
			job_done(&job);
			refused++;
		}
	}
	CHECK_INT(refused, 25 - 8);
	CHECK_INT(wrong_figures(db), 0);
	db_gone(db);
}

/* Of two that know the same job, the second is told, and nothing is written. */
static void who_is_second_is_told_and_leaves_no_trace(void)
{
	struct db *db = db_fresh();

	for (int from = JOB_LOADING; from <= JOB_WORKING; from++) {
		for (int to = 0; to < JOB_STATE_COUNT; to++) {
			struct job job, second;
			int64_t changes;

			if (to == JOB_LOADING ||
			    !job_may_move((enum job_state)from, (enum job_state)to))
				continue;
			job_in(db, (enum job_state)from, &job);
			job_init(&second);
			second.seq = job.seq;
			memcpy(second.id, job.id, ULID_SIZE);
			second.state = job.state;
			second.event_seq = job.event_seq;
			CHECK_INT(queue_failed(db, &job, REASON_TIMEOUT, NULL, true, NULL,
			                       NOW + 40, NULL),
			          ERR_OK);
			changes = ask_int(db, "SELECT count(*) FROM events");
			CHECK_INT(try_arrow(db, &second, (enum job_state)to), ERR_STALE);
			CHECK_INT(second.state, from);
			CHECK_INT(second.event_seq, job.event_seq - 1);
			CHECK_INT(ask_int(db, "SELECT count(*) FROM events"), changes);
			CHECK_INT(ask_int(db, "SELECT count(*) FROM artifacts"), 0);
			job_done(&second);
			job_done(&job);
		}
	}
	db_gone(db);
}

/* The same state, but an event number of old. */
static void a_job_that_ran_again_meanwhile_is_stale_too(void)
{
	struct db *db = db_fresh();
	struct job first, again;
	int64_t count;

	CHECK_INT(job_claim(db, job_put(db, "m:latest", false), &first), ERR_OK);
	CHECK_INT(queue_recover(db, NOW, &count, NULL), ERR_OK);
	CHECK_INT(job_claim(db, 1, &again), ERR_OK);
	CHECK_INT(again.state, first.state);
	CHECK_INT(queue_working(db, &first, NOW, NULL), ERR_STALE);
	CHECK_INT(queue_working(db, &again, NOW, NULL), ERR_OK);
	job_done(&first);
	job_done(&again);
	db_gone(db);
}

static void a_deleted_job_is_stale(void)
{
	struct db *db = db_fresh();
	struct job job;

	job_in(db, JOB_WORKING, &job);
	shell(db, "DELETE FROM jobs");
	CHECK_INT(queue_back(db, &job, REASON_RETRY, NULL, true, 0, NOW, NULL),
	          ERR_STALE);
	CHECK_INT(queue_failed(db, &job, REASON_INTERNAL, NULL, true, NULL, NOW, NULL),
	          ERR_STALE);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM events"), 0);
	job_done(&job);
	db_gone(db);
}

static void an_error_is_cut_between_characters(void)
{
	char error[LIMIT_ERROR_TEXT + 8];
	struct db *db = db_fresh();
	struct job job;

	memset(error, 'e', sizeof(error));
	error[LIMIT_ERROR_TEXT] = '\0'; /* just fits */
	job_in(db, JOB_LOADING, &job);
	CHECK_INT(queue_failed(db, &job, REASON_INTERNAL, error, true, NULL, NOW, NULL),
	          ERR_OK);
	CHECK_INT(strlen(job.error), LIMIT_ERROR_TEXT);
	job_done(&job);
	memcpy(error + LIMIT_ERROR_TEXT - 1, "\xe2\x82\xac",
	       4); /* a euro sign across */
	job_in(db, JOB_LOADING, &job);
	CHECK_INT(queue_failed(db, &job, REASON_INTERNAL, error, true, NULL, NOW, NULL),
	          ERR_OK);
	CHECK_INT(strlen(job.error), LIMIT_ERROR_TEXT - 1);
	CHECK(str_utf8_ok(span_of(job.error), NULL));
	job_done(&job);
	db_gone(db);
}

/* An end is acknowledged and told to others: it must outlive a power cut. The
 * steps before it need not: they would only be taken again. */
static void an_end_is_on_disk_and_a_step_is_not(void)
{
	const struct queue_result none = { .prompt_tokens = -1,
		                               .completion_tokens = -1 };
	struct db *db = db_fresh();
	enum queue_cancel_answer answer;
	struct job job;

	job_put(db, "m:latest", false);
	job_put(db, "m:latest", false);
	syncs_taken();
	CHECK_INT(job_claim(db, 1, &job), ERR_OK);
	CHECK_INT(queue_back(db, &job, REASON_RETRY, NULL, true, 0, NOW, NULL), ERR_OK);
	job_done(&job);
	CHECK_INT(job_claim(db, 1, &job), ERR_OK);
	CHECK_INT(queue_working(db, &job, NOW, NULL), ERR_OK);
	CHECK_INT(syncs_taken(), 0);
	CHECK_INT(queue_done(db, &job, &none, NOW, NULL), ERR_OK);
	CHECK(syncs_taken() > 0);
	job_done(&job);
	CHECK_INT(job_claim(db, 2, &job), ERR_OK);
	CHECK_INT(queue_cancel(db, job.id, NOW, &answer, NULL), ERR_OK);
	CHECK(syncs_taken() > 0);
	CHECK_INT(queue_failed(db, &job, REASON_CANCELED, NULL, false, NULL, NOW, NULL),
	          ERR_OK);
	CHECK(syncs_taken() > 0);
	job_done(&job);
	db_gone(db);
}

/* What could not be synced did happen: made again, it would be somebody else's
 * move. The steps before the end never stand on a sync. */
static void an_end_whose_sync_fails_is_made_and_known_to_be(void)
{
	const struct queue_result none = { .prompt_tokens = -1,
		                               .completion_tokens = -1 };
	struct db *db = db_fresh();
	struct job job;

	sync_errno = EIO;
	job_put(db, "m:latest", false);
	job_put(db, "m:latest", false);
	CHECK_INT(job_claim(db, 1, &job), ERR_OK);
	CHECK_INT(queue_working(db, &job, NOW, NULL), ERR_OK);
	CHECK_INT(queue_done(db, &job, &none, NOW, NULL), ERR_IO);
	CHECK_INT(job.state, JOB_DONE);
	CHECK_INT(job.attempts, 1);
	job_done(&job);
	CHECK_INT(job_claim(db, 2, &job), ERR_OK);
	CHECK_INT(queue_failed(db, &job, REASON_CANCELED, "so", false, NULL, NOW, NULL),
	          ERR_IO);
	CHECK_INT(job.state, JOB_FAILED);
	CHECK_STR(job.error, "so");
	job_done(&job);
	sync_errno = 0;
	CHECK_STR(ask_text(db, "SELECT group_concat(state) FROM jobs"), "done,failed");
	CHECK_INT(wrong_figures(db), 0);
	db_gone(db);
}

/* --- webhooks of moves ----------------------------------------------------- */

static void every_move_asked_for_is_owed_with_its_body_frozen(void)
{
	const struct queue_result result = { .content_type = "application/json",
		                                 .response = SPAN_LIT("{\"ok\":true}"),
		                                 .complete = true,
		                                 .prompt_tokens = 1,
		                                 .completion_tokens = 2 };
	struct db *db = db_fresh();
	struct job job;

	job_make_told(&job, "m:latest", JOB_EVENTS_ALL & ~(1u << JOB_WORKING));
	CHECK_INT(job_store(db, &job), ERR_OK);
	job_done(&job);
	CHECK_INT(job_claim(db, 1, &job), ERR_OK);
	CHECK_INT(job.webhook_pending, 2);
	CHECK_INT(
	    queue_back(db, &job, REASON_TARGET_LOST, NULL, false, 0, NOW + 15, NULL),
	    ERR_OK);
	job_done(&job);
	CHECK_INT(job_claim(db, 1, &job), ERR_OK);
	CHECK_INT(queue_working(db, &job, NOW + 20, NULL), ERR_OK);
	CHECK_INT(queue_done(db, &job, &result, NOW + 30, NULL), ERR_OK);
	CHECK_INT(job.webhook_pending, 5);
	CHECK_STR(ask_text(db, "SELECT group_concat(type || event_seq) FROM webhooks"),
	          "job.queued1,job.loading2,job.queued3,job.loading4,job.done6");
	CHECK_STR(ask_text(db,
	                   "SELECT json_extract(body, '$.type') ||"
	                   " json_extract(body, '$.data.job.state') ||"
	                   " json_extract(body, '$.data.job.seq') ||"
	                   " json_extract(body, '$.data.job.webhook.pending') ||"
	                   " json_extract(body, '$.data.job.artifacts[0].inline.ok')"
	                   " FROM webhooks WHERE type = 'job.done'"),
	          "job.donedone651");
	CHECK_STR(ask_text(db, "SELECT json_extract(body, '$.timestamp') FROM webhooks"
	                       " WHERE type = 'job.done'"),
	          "2027-01-15T08:00:00.030Z");
	CHECK_INT(ask_int(db, "SELECT count(due_ms) FROM webhooks"), 1);
	CHECK_INT(wrong_figures(db), 0);
	job_done(&job);
	db_gone(db);
}

/* conf.inline_max is 100 here. */
static void artifacts_ride_in_webhooks_as_mode_and_size_allow(void)
{
	static const struct {
		enum artifact_mode mode;
		size_t len;
		bool rides;
	} tries[] = {
		{ ARTIFACT_AUTO, 100, true },
		{ ARTIFACT_AUTO, 101, false },
		{ ARTIFACT_INLINE, 101, true },
		{ ARTIFACT_FETCH, 1, false },
	};
	static char text[200];
	struct db *db = db_fresh();

	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		const struct queue_result result = { .content_type = "text/plain",
			                                 .response = { text, tries[i].len },
			                                 .complete = true };
		struct job job;
		int64_t seq;

		job_make_told(&job, "m:latest", 1u << JOB_DONE);
		job.artifact_mode = tries[i].mode;
		CHECK_INT(job_store(db, &job), ERR_OK);
		seq = job.seq;
		job_done(&job);
		CHECK_INT(job_claim(db, seq, &job), ERR_OK);
		CHECK_INT(queue_working(db, &job, NOW, NULL), ERR_OK);
		CHECK_INT(queue_done(db, &job, &result, NOW, NULL), ERR_OK);
		CHECK_INT(ask_int(db, "SELECT coalesce(length(json_extract(body,"
		                      " '$.data.job.artifacts[0].inline')), 0)"
		                      " FROM webhooks ORDER BY seq DESC"),
		          tries[i].rides ? (int64_t)tries[i].len : 0);
		CHECK_INT(
		    ask_int(db, "SELECT json_extract(body, '$.data.job.artifacts[0].bytes')"
		                " FROM webhooks ORDER BY seq DESC"),
		    (int64_t)tries[i].len);
		job_done(&job);
	}
	db_gone(db);
}

/* --- holds ----------------------------------------------------------------- */

static void a_held_job_waits_but_is_no_head(void)
{
	struct db *db = db_fresh();
	struct order_heads heads;
	struct job job, other;
	int64_t next = -1;

	job_in(db, JOB_LOADING, &job);
	CHECK_INT(queue_back(db, &job, REASON_TARGET_BUSY, NULL, false, NOW + 1000, NOW,
	                     NULL),
	          ERR_OK);
	CHECK_INT(job.held_until_ms, NOW + 1000);
	REQUIRE(queue_heads(db, NULL, &heads) == ERR_OK);
	CHECK_INT(heads.other[ORDER_UNATTENDED].seq, 0);
	CHECK_INT(
	    ask_int(
	        db,
	        "SELECT count FROM tallies WHERE state = 'queued' AND NOT attended"),
	    1);
	CHECK_INT(job_claim(db, job.seq, &other), ERR_STALE);
	CHECK_INT(queue_release_held(db, NOW + 999, &next), ERR_OK);
	CHECK_INT(next, NOW + 1000);
	CHECK_INT(job_claim(db, job.seq, &other), ERR_STALE);
	CHECK_INT(queue_release_held(db, NOW + 1000, &next), ERR_OK);
	CHECK_INT(next, 0);
	REQUIRE(queue_heads(db, NULL, &heads) == ERR_OK);
	CHECK_INT(heads.other[ORDER_UNATTENDED].seq, job.seq);
	CHECK_INT(wrong_figures(db), 0);
	CHECK_INT(job_claim(db, job.seq, &other), ERR_OK);
	job_done(&other);
	job_done(&job);
	db_gone(db);
}

static void no_hold_outlasts_a_clock_that_stepped_back(void)
{
	struct db *db = db_fresh();
	struct job job;
	int64_t next = -1;

	job_in(db, JOB_LOADING, &job);
	CHECK_INT(queue_back(db, &job, REASON_RETRY, NULL, true, INT64_MAX, NOW, NULL),
	          ERR_OK);
	CHECK_INT(job.held_until_ms, NOW + LIMIT_RETRY_MAX_MS);
	CHECK_INT(queue_release_held(db, NOW, &next), ERR_OK);
	CHECK_INT(next, NOW + LIMIT_RETRY_MAX_MS); /* the edge: that can be meant */
	CHECK_INT(queue_release_held(db, NOW - 1, &next), ERR_OK);
	CHECK_INT(next, 0);
	CHECK_INT(ask_int(db, "SELECT held_until_ms IS NULL FROM jobs"), 1);
	job_done(&job);
	db_gone(db);
}

/* --- recovery and expiry --------------------------------------------------- */

static void recovery_sends_back_what_ran(void)
{
	struct db *db = db_fresh();
	int64_t count = -1;

	for (int s = 0; s < JOB_STATE_COUNT; s++) {
		struct job job;

		job_in(db, (enum job_state)s, &job);
		job_done(&job);
	}
	CHECK_INT(queue_recover(db, NOW + 99, &count, NULL), ERR_OK);
	CHECK_INT(count, 2);
	CHECK_STR(
	    ask_text(db, "SELECT group_concat(state || attempts || interruptions) FROM"
	                 " (SELECT * FROM jobs ORDER BY seq)"),
	    "queued00,queued01,queued01,done10,failed00");
	CHECK_INT(
	    ask_int(db, "SELECT count(*) FROM events WHERE reason = 'foreman_stopped'"),
	    2);
	CHECK_INT(wrong_figures(db), 0);
	CHECK_INT(queue_recover(db, NOW + 99, &count, NULL), ERR_OK);
	CHECK_INT(count, 0);
	db_gone(db);
}

static void what_expires_is_what_was_not_started_in_time(void)
{
	struct db *db = db_fresh();
	int64_t count = -1;
	struct job job;

	for (int i = 0; i < 5; i++) {
		job_make(&job, "m:latest", false);
		job.expires_ms = i < 4 ? NOW + 1000 + i : 0;
		CHECK_INT(job_store(db, &job), ERR_OK);
		job_done(&job);
	}
	CHECK_INT(job_claim(db, 1, &job), ERR_OK); /* started: may finish */
	job_done(&job);
	CHECK_INT(queue_expire(db, NOW + 1000, 10, &count, NULL), ERR_OK);
	CHECK_INT(count, 0);
	CHECK_INT(queue_expire(db, NOW + 1001, 10, &count, NULL), ERR_OK);
	CHECK_INT(count, 1);
	CHECK_STR(ask_text(db, "SELECT state || reason FROM jobs WHERE seq = 2"),
	          "failedexpired");
	CHECK_INT(queue_expire(db, NOW + 9999, 1, &count, NULL),
	          ERR_OK); /* the batch */
	CHECK_INT(count, 1);
	CHECK_INT(queue_expire(db, NOW + 9999, 10, &count, NULL), ERR_OK);
	CHECK_INT(count, 1);
	CHECK_STR(ask_text(db, "SELECT state FROM jobs WHERE seq = 5"), "queued");
	CHECK_INT(wrong_figures(db), 0);
	db_gone(db);
}

/* --- cancel ---------------------------------------------------------------- */

static void a_cancel_answers_by_state(void)
{
	static const enum queue_cancel_answer answers[JOB_STATE_COUNT] = {
		CANCEL_DONE, CANCEL_REQUESTED, CANCEL_REQUESTED, CANCEL_TERMINAL,
		CANCEL_TERMINAL
	};
	struct db *db = db_fresh();
	enum queue_cancel_answer answer;

	for (int s = 0; s < JOB_STATE_COUNT; s++) {
		struct job job;
		bool wanted = false;

		job_in(db, (enum job_state)s, &job);
		for (int again = 0; again < 2; again++) { /* idempotent */
			CHECK_INT(queue_cancel(db, job.id, NOW + 40, &answer, NULL), ERR_OK);
			CHECK_INT(answer,
			          again && s == JOB_QUEUED ? CANCEL_TERMINAL : answers[s]);
		}
		CHECK_INT(queue_cancel_wanted(db, job.seq, &wanted), ERR_OK);
		CHECK_INT(wanted, answers[s] == CANCEL_REQUESTED);
		job_done(&job);
	}
	CHECK_STR(
	    ask_text(
	        db,
	        "SELECT group_concat(state) FROM (SELECT * FROM jobs ORDER BY seq)"),
	    "failed,loading,working,done,failed");
	CHECK_STR(ask_text(db, "SELECT reason FROM jobs WHERE seq = 1"), "canceled");
	CHECK_INT(queue_cancel(db, "01ARZ3NDEKTSV4RRFFQ69G5FAV", NOW, &answer, NULL),
	          ERR_NOENT);
	CHECK_INT(queue_cancel_wanted(db, 99, &(bool){ false }), ERR_NOENT);
	CHECK_INT(wrong_figures(db), 0);
	db_gone(db);
}

static void a_job_whose_cancel_was_requested_does_not_return_to_the_line(void)
{
	struct db *db = db_fresh();
	enum queue_cancel_answer answer;
	int64_t count;
	struct job job;

	job_in(db, JOB_WORKING, &job);
	CHECK_INT(queue_cancel(db, job.id, NOW, &answer, NULL), ERR_OK);
	CHECK_INT(
	    queue_back(db, &job, REASON_TARGET_LOST, NULL, false, 0, NOW + 30, NULL),
	    ERR_OK);
	CHECK_INT(job.state, JOB_FAILED);
	CHECK_INT(job.reason, REASON_CANCELED);
	job_done(&job);
	job_in(db, JOB_LOADING, &job);
	CHECK_INT(queue_cancel(db, job.id, NOW, &answer, NULL), ERR_OK);
	CHECK_INT(queue_recover(db, NOW + 99, &count, NULL), ERR_OK);
	CHECK_INT(count, 1);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs WHERE reason = 'canceled'"),
	          2);
	CHECK_INT(wrong_figures(db), 0);
	job_done(&job);
	db_gone(db);
}

static void a_cancel_that_comes_too_late_does_not_undo_done(void)
{
	const struct queue_result none = { .prompt_tokens = -1,
		                               .completion_tokens = -1 };
	struct db *db = db_fresh();
	enum queue_cancel_answer answer;
	struct job job;

	job_in(db, JOB_WORKING, &job);
	CHECK_INT(queue_cancel(db, job.id, NOW, &answer, NULL), ERR_OK);
	CHECK_INT(queue_done(db, &job, &none, NOW + 30, NULL), ERR_OK);
	CHECK_INT(job.state, JOB_DONE);
	CHECK(job.cancel_requested);
	job_done(&job);
	db_gone(db);
}

/* --- pruning --------------------------------------------------------------- */

static void pruning_takes_the_old_and_leaves_what_is_owed(void)
{
	const struct queue_result none = { .prompt_tokens = -1,
		                               .completion_tokens = -1 };
	struct db *db = db_fresh();
	int64_t count = -1;
	struct job job;

	for (int i = 0; i < 4; i++) { /* finished at NOW + 30 */
		job_in(db, i % 2 ? JOB_FAILED : JOB_DONE, &job);
		job_done(&job);
	}
	job_put(db, "m:latest", false);                  /* 5: waits */
	job_make_told(&job, "m:latest", 1u << JOB_DONE); /* 6: owes a webhook */
	CHECK_INT(job_store(db, &job), ERR_OK);
	job_done(&job);
	CHECK_INT(job_claim(db, 6, &job), ERR_OK);
	CHECK_INT(queue_working(db, &job, NOW, NULL), ERR_OK);
	CHECK_INT(queue_done(db, &job, &none, NOW + 20, NULL), ERR_OK);
	CHECK_INT(remove_old(db, NOW + 30, 10, &count, NULL), ERR_OK);
	CHECK_INT(count, 0); /* the edge: finished at that time is not older */
	CHECK_INT(remove_old(db, NOW + 31, 3, &count, NULL), ERR_OK);
	CHECK_INT(count, 3);
	CHECK_INT(remove_old(db, NOW + 31, 3, &count, NULL), ERR_OK);
	CHECK_INT(count, 1);
	CHECK_STR(
	    ask_text(db,
	             "SELECT group_concat(seq) FROM (SELECT * FROM jobs ORDER BY seq)"),
	    "5,6");
	CHECK_INT(ask_int(db, "SELECT count(*) FROM artifacts"), 0);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM retired"), 4);
	CHECK_INT(wrong_figures(db), 0);
	shell(db, "UPDATE webhooks SET state = 'dead', due_ms = NULL");
	CHECK_INT(remove_old(db, NOW + 31, 3, &count, NULL), ERR_OK);
	CHECK_INT(count, 1); /* given up: no longer owed */
	CHECK_INT(wrong_figures(db), 0);
	job_done(&job);
	db_gone(db);
}

/* --- heads: what the store says against what anybody can count ------------- */

#define KEYS 5

static const char *const keys[KEYS] = { "a:1", "b:1", "c:1", "d:1", "e:1" };

static uint64_t rng_state;

static unsigned rng(unsigned below)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (unsigned)(rng_state % below);
}

static int64_t head_by_hand(struct db *db, const char *key, bool same, int attended)
{
	char question[256];
	int64_t seq;

	snprintf(
	    question, sizeof(question),
	    "SELECT seq FROM jobs NOT INDEXED WHERE state = 'queued' AND attended = %d"
	    " AND held_until_ms IS NULL AND load_key %s '%s' ORDER BY +seq LIMIT 1",
	    attended, same ? "=" : "<>", key);
	seq = ask_int(db, question);
	return seq > 0 ? seq : 0;
}

static bool heads_are_right(struct db *db, const char *loaded)
{
	struct order_heads heads;
	bool right = true;

	if (queue_heads(db, loaded, &heads) != ERR_OK)
		return false;
	for (int c = 0; c < ORDER_CLASS_COUNT; c++) {
		int attended = c == ORDER_ATTENDED;

		right =
		    right && heads.loaded[c].seq ==
		                 (loaded ? head_by_hand(db, loaded, true, attended) : 0);
		right =
		    right && heads.other[c].seq ==
		                 head_by_hand(db, loaded ? loaded : "", false, attended);
	}
	return right;
}

/* The running job, if any: state JOB_STATE_COUNT when there is none. */
static void act(struct db *db, struct job *running, int64_t now_ms)
{
	const struct queue_result none = { .prompt_tokens = -1,
		                               .completion_tokens = -1 };
	enum queue_cancel_answer answer;
	struct order_heads heads;
	struct job job;
	int64_t ignored;
	char id[64];

	switch (rng(12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		job_make(&job, keys[rng(KEYS)], rng(3) == 0);
		job.expires_ms = rng(4) ? 0 : now_ms + rng(40);
		CHECK_INT(job_store(db, &job), ERR_OK);
		job_done(&job);
		break;
	case 4:
	case 5: /* claim some head */
		if (running->state != JOB_STATE_COUNT ||
		    queue_heads(db, keys[rng(KEYS)], &heads) != ERR_OK)
			break;
		if (job_claim(db, heads.other[rng(2)].seq, &job) == ERR_OK)
			*running = job;
		break;
	case 6:
		if (running->state == JOB_LOADING)
			CHECK_INT(queue_working(db, running, now_ms, NULL), ERR_OK);
		break;
	case 7:
		if (running->state != JOB_WORKING)
			break;
		CHECK_INT(queue_done(db, running, &none, now_ms, NULL), ERR_OK);
		job_done(running);
		running->state = JOB_STATE_COUNT;
		break;
	case 8:
		if (running->state == JOB_STATE_COUNT)
			break;
		CHECK_INT(queue_back(db, running, REASON_RETRY, NULL, rng(2),
		                     rng(2) ? now_ms + rng(50) : 0, now_ms, NULL),
		          ERR_OK);
		job_done(running);
		running->state = JOB_STATE_COUNT;
		break;
	case 9:
		str_copy(id, sizeof(id),
		         ask_text(db, "SELECT id FROM jobs WHERE state = 'queued'"
		                      " ORDER BY random()"));
		CHECK(queue_cancel(db, id, now_ms, &answer, NULL) != ERR_IO);
		break;
	case 10:
		CHECK_INT(queue_release_held(db, now_ms, &ignored), ERR_OK);
		CHECK_INT(queue_expire(db, now_ms, 2, &ignored, NULL), ERR_OK);
		break;
	default:
		if (rng(2)) {
			CHECK_INT(remove_old(db, now_ms, 3, &ignored, NULL), ERR_OK);
		} else if (running->state == JOB_STATE_COUNT) {
			CHECK_INT(queue_recover(db, now_ms, &ignored, NULL), ERR_OK);
		} else {
			shell(db, "DELETE FROM jobs WHERE state = 'queued' AND seq % 7 = 0");
		}
	}
}

static void heads_and_tallies_stay_true_whatever_happens(void)
{
	for (unsigned seed = 1; seed <= 4; seed++) {
		struct db *db = db_fresh();
		struct job running = { .state = JOB_STATE_COUNT };
		bool right = true;

		rng_state = seed * 0x9e3779b97f4a7c15u;
		for (int i = 0; i < 400 && right; i++) {
			act(db, &running, NOW + i);
			right = CHECK(heads_are_right(db, rng(6) ? keys[rng(KEYS)] : NULL)) &&
			        CHECK(wrong_figures(db) == 0);
			if (!right)
				printf("#   seed %u, step %d\n", seed, i);
		}
		CHECK_STR(ask_text(db, "PRAGMA integrity_check"), "ok");
		if (running.state != JOB_STATE_COUNT)
			job_done(&running);
		db_gone(db);
	}
}

static void nothing_waits_and_there_are_no_heads(void)
{
	struct db *db = db_fresh();
	struct order_heads heads;

	REQUIRE(queue_heads(db, NULL, &heads) == ERR_OK);
	for (int c = 0; c < ORDER_CLASS_COUNT; c++) {
		CHECK_INT(heads.loaded[c].seq, 0);
		CHECK_INT(heads.other[c].seq, 0);
	}
	db_gone(db);
}

static void a_jobs_id_is_known_by_its_seq(void)
{
	struct db *db = db_fresh();
	char id[ULID_SIZE] = "";
	struct job job;

	job_make(&job, "m:latest", false);
	CHECK_INT(job_store(db, &job), ERR_OK);
	CHECK_INT(queue_id(db, job.seq, id), ERR_OK);
	CHECK_STR(id, job.id);
	CHECK_INT(queue_id(db, job.seq + 1, id), ERR_NOENT);
	job_done(&job);
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_submission_is_a_job_a_body_and_an_event),
		T(an_empty_body_is_a_body),
		T(a_key_that_came_before_stores_nothing_and_tells_whose_it_is),
		T(a_key_is_forgotten_with_its_job),
		T(the_same_key_twice_in_one_transaction_is_one_job),
		T(a_batch_is_in_the_line_in_its_order),
		T(one_that_does_not_go_in_keeps_its_whole_batch_out),
		T(a_disk_that_fills_within_a_batch_keeps_all_of_it_out),
		T(a_batch_goes_in_if_there_is_room_for_all_of_it),
		T(a_key_covers_its_whole_batch),
		T(a_key_that_came_before_is_answered_with_its_job_on_disk),
		T(a_full_queue_tells_how_fast_it_empties),
		T(a_told_submission_owes_its_webhook),
		T(each_class_has_its_limit_and_its_place),
		T(limits_hold_within_one_batch_and_refuse_only_what_is_over),
		T(a_claim_hands_out_the_job_and_its_body),
		T(a_claim_hands_out_the_headers_that_came_with_the_body),
		T(a_claimed_job_is_not_claimed_again),
		T(a_job_whose_body_was_lost_can_still_be_claimed),
		T(a_run_passes_the_states_in_order_to_done),
		T(an_attended_jobs_body_goes_with_its_end),
		T(a_job_may_fail_from_any_state_it_can_be_in),
		T(a_job_sent_back_keeps_its_place),
		T(every_forbidden_arrow_is_refused_without_a_trace),
		T(who_is_second_is_told_and_leaves_no_trace),
		T(a_job_that_ran_again_meanwhile_is_stale_too),
		T(a_deleted_job_is_stale),
		T(an_error_is_cut_between_characters),
		T(an_end_is_on_disk_and_a_step_is_not),
		T(an_end_whose_sync_fails_is_made_and_known_to_be),
		T(every_move_asked_for_is_owed_with_its_body_frozen),
		T(artifacts_ride_in_webhooks_as_mode_and_size_allow),
		T(a_held_job_waits_but_is_no_head),
		T(no_hold_outlasts_a_clock_that_stepped_back),
		T(recovery_sends_back_what_ran),
		T(what_expires_is_what_was_not_started_in_time),
		T(a_cancel_answers_by_state),
		T(a_job_whose_cancel_was_requested_does_not_return_to_the_line),
		T(a_cancel_that_comes_too_late_does_not_undo_done),
		T(pruning_takes_the_old_and_leaves_what_is_owed),
		T(nothing_waits_and_there_are_no_heads),
		T(a_jobs_id_is_known_by_its_seq),
		T(heads_and_tallies_stay_true_whatever_happens),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
