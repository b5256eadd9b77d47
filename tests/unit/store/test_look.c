/*
 * test_look.c - one job, pages of jobs, the state of the queue.
 */
#include <config.h>

#include "store/look.h"

#include "core/limits.h"
#include "store/status.h"
#include "store.h"

static void an_unknown_id_and_a_retired_one_differ(void)
{
	struct db *db = db_fresh();
	struct job job, seen;

	job_in(db, JOB_DONE, &job);
	CHECK_INT(look_job(db, "01ARZ3NDEKTSV4RRFFQ69G5FAV", 0, &seen), ERR_NOENT);
	shell(db, "DELETE FROM jobs");
	CHECK_INT(look_job(db, job.id, 0, &seen), ERR_DENIED);
	job_done(&job);
	db_gone(db);
}

static void every_field_survives_the_file(void)
{
	struct db *db = db_fresh();
	struct job job, seen;

	job_make_told(&job, "m:latest", 1u << JOB_DONE | 1u << JOB_FAILED);
	job.metadata = strdup("{\"a\":\"b\"}");
	job.expires_ms = NOW + 1000;
	job.timeout_ms = 5000;
	job.artifact_mode = ARTIFACT_FETCH;
	CHECK_INT(job_store(db, &job), ERR_OK);
	REQUIRE(look_job(db, job.id, 0, &seen) == ERR_OK);
	CHECK_INT(seen.seq, job.seq);
	CHECK_STR(seen.id, job.id);
	CHECK_INT(seen.state, JOB_QUEUED);
	CHECK_INT(seen.reason, REASON_NONE);
	CHECK_STR(seen.error, NULL);
	CHECK(!seen.attended);
	CHECK_STR(seen.endpoint, "/api/chat");
	CHECK_STR(seen.model, "m:latest");
	CHECK_STR(seen.load_key, "m:latest");
	CHECK_INT(seen.event_seq, 1);
	CHECK_INT(seen.created_ms, NOW);
	CHECK_INT(seen.queued_ms, NOW);
	CHECK_INT(seen.loading_ms, 0);
	CHECK_INT(seen.expires_ms, NOW + 1000);
	CHECK_INT(seen.timeout_ms, 5000);
	CHECK_INT(seen.prompt_tokens, -1);
	CHECK_INT(seen.completion_tokens, -1);
	CHECK_INT(seen.artifact_mode, ARTIFACT_FETCH);
	CHECK_STR(seen.metadata, "{\"a\":\"b\"}");
	CHECK_STR(seen.webhook_url, "https://receiver.example/hook");
	CHECK_STR(seen.webhook_secret, "whsec_c2VjcmV0");
	CHECK_INT(seen.webhook_events, 1u << JOB_DONE | 1u << JOB_FAILED);
	CHECK_INT(seen.position, 1);
	CHECK_INT(seen.waiting_on, WAITING_WORKER);
	job_done(&seen);
	job_done(&job);
	db_gone(db);
}

static void a_done_job_shows_its_artifact_up_to_the_limit(void)
{
	struct db *db = db_fresh();
	struct job job, seen;

	job_in(db, JOB_DONE, &job);
	for (int64_t limit = 1; limit <= 2; limit++) {
		REQUIRE(look_job(db, job.id, limit, &seen) == ERR_OK);
		REQUIRE(seen.artifact_count == 1);
		CHECK_STR(seen.artifacts[0].name, "response");
		CHECK_STR(seen.artifacts[0].inline_bytes, limit == 2 ? "{}" : NULL);
		CHECK_INT(seen.prompt_tokens, 3);
		CHECK_INT(seen.completion_tokens, 4);
		CHECK_INT(seen.position, 0);
		CHECK_INT(seen.waiting_on, WAITING_NONE);
		job_done(&seen);
	}
	job_done(&job);
	db_gone(db);
}

static void a_waiting_job_tells_when_the_target_is_away(void)
{
	const struct status away = { .target = TARGET_DOWN };
	struct db *db = db_fresh();
	struct job queued, loading, seen;

	job_in(db, JOB_QUEUED, &queued);
	job_in(db, JOB_LOADING, &loading);
	CHECK_INT(status_write(db, &away, NULL), ERR_OK);
	REQUIRE(look_job(db, queued.id, 0, &seen) == ERR_OK);
	CHECK_INT(seen.waiting_on, WAITING_TARGET);
	job_done(&seen);
	REQUIRE(look_job(db, loading.id, 0, &seen) == ERR_OK);
	CHECK_INT(seen.waiting_on, WAITING_MODEL);
	job_done(&seen);
	job_done(&queued);
	job_done(&loading);
	db_gone(db);
}

/* Read all pages; the seqs in order as "5,4,3", pages divided by '|'. */
static const char *pages(struct db *db, struct look_filter f)
{
	static char text[512];
	char next[ULID_SIZE] = "";
	size_t len = 0;

	text[0] = '\0';
	do {
		struct job *jobs = NULL;
		size_t count = 0;

		if (look_jobs(db, &f, &jobs, &count, next) != ERR_OK)
			return "failed";
		CHECK(count <= (size_t)f.limit);
		for (size_t i = 0; i < count; i++) {
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%lld",
			                        i ? "," : "", (long long)jobs[i].seq);
			job_done(&jobs[i]);
		}
		free(jobs);
		if (next[0])
			len += (size_t)snprintf(text + len, sizeof(text) - len, "|");
		f.before = next;
	} while (next[0]);
	return text;
}

static void pages_come_newest_first(void)
{
	struct db *db = db_fresh();
	const struct look_filter all = { .any_state = true, .limit = 2 };
	const struct look_filter whole = { .any_state = true, .limit = 5 };

	CHECK_STR(pages(db, all), "");
	for (int i = 0; i < 5; i++)
		job_put(db, "m:latest", false);
	CHECK_STR(pages(db, all), "5,4|3,2|1");
	CHECK_STR(pages(db, whole), "5,4,3,2,1");
	db_gone(db);
}

static void pages_of_one_state_hold_that_state(void)
{
	struct db *db = db_fresh();
	struct job job;

	for (int i = 0; i < 3; i++) {
		for (int s = 0; s < JOB_STATE_COUNT; s++) {
			job_in(db, (enum job_state)s, &job);
			job_done(&job);
		}
	}
	shell(db, "UPDATE jobs SET held_until_ms = 1 WHERE seq = 6");
	for (int s = 0; s < JOB_STATE_COUNT; s++) {
		const struct look_filter f = { .state = (enum job_state)s, .limit = 2 };
		char want[32];

		snprintf(want, sizeof(want), "%d,%d|%d", 11 + s, 6 + s, 1 + s);
		CHECK_STR(pages(db, f), want);
	}
	db_gone(db);
}

static void pages_of_a_model_take_any_spelling_and_load(void)
{
	struct db *db = db_fresh();
	const struct look_filter f = { .any_state = true,
		                           .model = "LLaMA3",
		                           .limit = 2 };
	const struct look_filter queued = { .state = JOB_QUEUED,
		                                .model = "llama3:latest",
		                                .limit = 9 };
	const struct look_filter no_name = { .any_state = true,
		                                 .model = "a b",
		                                 .limit = 2 };

	job_put(db, "llama3:latest", false);
	job_put(db, "llama3:latest num_ctx=8192", false);
	job_put(db, "llama3:8b", false);
	job_put(db, "llama3:latest-x", false);
	job_put(db, "llama3:latest", true);
	CHECK_STR(pages(db, f), "5,2|1");
	CHECK_STR(pages(db, queued), "5,2,1");
	CHECK_STR(pages(db, no_name), "failed");
	db_gone(db);
}

static void the_queue_is_told_from_tallies(void)
{
	struct db *db = db_fresh();
	struct job job, running;
	struct look_queue q;

	job_put(db, "a:latest", false);
	job_put(db, "a:latest", false);
	job_put(db, "b:latest", true);
	job_put(db, "held:latest", false);
	shell(db, "UPDATE jobs SET held_until_ms = 1, queued_ms = 77 WHERE seq = 4");
	job_in(db, JOB_DONE, &job);
	job_done(&job);
	job_in(db, JOB_FAILED, &job);
	job_done(&job);
	job_in(db, JOB_WORKING, &running);
	job_make_told(&job, "a:latest", JOB_EVENTS_ALL);
	CHECK_INT(job_store(db, &job), ERR_OK);
	job_done(&job);
	CHECK_INT(queue_count_swap(db), ERR_OK);
	REQUIRE(look_queue(db, &q) == ERR_OK);
	CHECK_STR(q.running, running.id);
	REQUIRE(q.running_job != NULL);
	CHECK_INT(q.running_job->state, JOB_WORKING);
	CHECK_INT(q.states[JOB_QUEUED], 5);
	CHECK_INT(q.states[JOB_LOADING], 0);
	CHECK_INT(q.states[JOB_WORKING], 1);
	CHECK_INT(q.states[JOB_DONE], 1);
	CHECK_INT(q.states[JOB_FAILED], 1);
	REQUIRE(q.waiting_count == 3);
	CHECK_STR(q.waiting[0].load_key, "b:latest");
	CHECK(q.waiting[0].attended);
	CHECK_STR(q.waiting[1].load_key, "a:latest");
	CHECK_INT(q.waiting[1].count, 3);
	CHECK_INT(q.waiting[1].oldest_ms, NOW);
	CHECK_STR(q.waiting[2].load_key, "held:latest");
	CHECK_INT(q.waiting[2].oldest_ms, 77);
	CHECK_INT(q.webhooks_pending, 1);
	CHECK_INT(q.webhooks_dead, 0);
	CHECK_INT(q.swaps, 1);
	CHECK_INT(q.fifo_swaps, 4); /* a b held m a */
	look_queue_done(&q);
	look_queue_done(&q); /* done twice is fine */
	job_done(&running);
	db_gone(db);
}

static void an_empty_queue_is_empty(void)
{
	struct db *db = db_fresh();
	struct look_queue q;

	REQUIRE(look_queue(db, &q) == ERR_OK);
	CHECK_STR(q.running, "");
	CHECK(!q.running_job);
	CHECK_INT(q.waiting_count, 0);
	look_queue_done(&q);
	db_gone(db);
}

static void no_more_load_keys_are_listed_than_the_limit(void)
{
	struct db *db = db_fresh();
	struct look_queue q;

	for (int i = 0; i <= LIMIT_QUEUE_KEYS; i++)
		job_put(db, "a:latest", false);
	shell(db, "UPDATE jobs SET load_key = 'k' || seq || ':latest'");
	REQUIRE(look_queue(db, &q) == ERR_OK);
	CHECK_INT(q.waiting_count, LIMIT_QUEUE_KEYS);
	CHECK_INT(q.states[JOB_QUEUED], LIMIT_QUEUE_KEYS + 1);
	look_queue_done(&q);
	db_gone(db);
}

static void a_batch_is_found_by_its_first_and_last_id(void)
{
	struct db *db = db_fresh();
	char ids[6][ULID_SIZE], text[128];
	struct job *page, job;
	size_t count = 0;

	ulid_run(ids, 6);
	for (int i = 0; i < 6; i++) {
		job_make(&job, "m:latest", false);
		memcpy(job.id, ids[i], ULID_SIZE);
		CHECK_INT(job_store(db, &job), ERR_OK);
		job_done(&job);
	}
	/* the last is not of it, the fourth has gone, its seq serves another */
	snprintf(text, sizeof(text), "DELETE FROM jobs WHERE id = '%s'", ids[3]);
	CHECK_INT(shell(db, text), SQLITE_OK);
	job_put(db, "m:latest", false);
	REQUIRE(look_batch(db, ids[0], ids[4], "", 3, &page, &count) == ERR_OK);
	CHECK_INT(count, 3);
	for (size_t i = 0; i < count; i++) {
		CHECK_STR(page[i].id, ids[i]);
		CHECK_INT(page[i].position, i + 1);
		job_done(&page[i]);
	}
	free(page);
	REQUIRE(look_batch(db, ids[0], ids[4], ids[2], 3, &page, &count) == ERR_OK);
	REQUIRE(count == 1);
	CHECK_STR(page[0].id, ids[4]);
	job_done(&page[0]);
	free(page);
	REQUIRE(look_batch(db, ids[0], ids[4], ids[4], 3, &page, &count) == ERR_OK);
	CHECK_INT(count, 0);
	free(page);
	db_gone(db);
}

/* --- how far a job has come ------------------------------------------------ */

static void a_step_is_the_latest_event_and_the_state(void)
{
	struct db *db = db_fresh();
	struct look_step step;
	struct job job;

	job_in(db, JOB_WORKING, &job);
	REQUIRE(look_step(db, job.id, &step) == ERR_OK);
	CHECK_INT(step.event_seq, 3);
	CHECK_INT(step.state, JOB_WORKING);
	CHECK_INT(look_step(db, "01ARZ3NDEKTSV4RRFFQ69G5FAV", &step), ERR_NOENT);
	shell(db, "DELETE FROM jobs");
	CHECK_INT(look_step(db, job.id, &step), ERR_DENIED);
	CHECK_INT(step.event_seq, 3); /* untouched */
	job_done(&job);
	db_gone(db);
}

static void moves_are_told_in_order_behind_the_one_known(void)
{
	static const enum job_state states[] = { JOB_QUEUED, JOB_LOADING, JOB_WORKING,
		                                     JOB_FAILED };
	struct db *db = db_fresh();
	struct look_event events[8];
	struct job job;
	size_t n;

	job_in(db, JOB_WORKING, &job);
	CHECK_INT(queue_failed(db, &job, REASON_TIMEOUT, "over", true, NULL, NOW + 99,
	                       NULL),
	          ERR_OK);
	REQUIRE(look_events(db, job.id, 0, events, ARRAY_LEN(events), &n) == ERR_OK);
	REQUIRE(n == 4);
	for (size_t i = 0; i < n; i++) {
		CHECK_INT(events[i].seq, i + 1);
		CHECK_INT(events[i].state, states[i]);
		CHECK_INT(events[i].reason, i == 3 ? REASON_TIMEOUT : REASON_NONE);
	}
	CHECK_INT(events[0].at_ms, NOW);
	CHECK_INT(events[3].at_ms, NOW + 99);
	REQUIRE(look_events(db, job.id, 2, events, ARRAY_LEN(events), &n) == ERR_OK);
	REQUIRE(n == 2);
	CHECK_INT(events[0].seq, 3);
	REQUIRE(look_events(db, job.id, 1, events, 2, &n) == ERR_OK);
	REQUIRE(n == 2);
	CHECK_INT(events[1].seq, 3);
	job_done(&job);
	db_gone(db);
}

static void no_further_move_differs_from_no_such_job(void)
{
	struct db *db = db_fresh();
	struct look_event event;
	struct job job;
	size_t n = 7;

	job_in(db, JOB_DONE, &job);
	CHECK_INT(look_events(db, job.id, 4, &event, 1, &n), ERR_OK);
	CHECK_INT(n, 0);
	CHECK_INT(look_events(db, job.id, INT64_MAX, &event, 1, &n), ERR_OK);
	CHECK_INT(look_events(db, "01ARZ3NDEKTSV4RRFFQ69G5FAV", 0, &event, 1, &n),
	          ERR_NOENT);
	shell(db, "DELETE FROM jobs");
	CHECK_INT(look_events(db, job.id, 0, &event, 1, &n), ERR_DENIED);
	job_done(&job);
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_unknown_id_and_a_retired_one_differ),
		T(a_batch_is_found_by_its_first_and_last_id),
		T(every_field_survives_the_file),
		T(a_done_job_shows_its_artifact_up_to_the_limit),
		T(a_waiting_job_tells_when_the_target_is_away),
		T(pages_come_newest_first),
		T(pages_of_one_state_hold_that_state),
		T(pages_of_a_model_take_any_spelling_and_load),
		T(the_queue_is_told_from_tallies),
		T(an_empty_queue_is_empty),
		T(no_more_load_keys_are_listed_than_the_limit),
		T(a_step_is_the_latest_event_and_the_state),
		T(moves_are_told_in_order_behind_the_one_known),
		T(no_further_move_differs_from_no_such_job),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
