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

static int64_t position_of(struct db *db, int64_t seq)
{
	char question[64], id[ULID_SIZE];
	int64_t position;
	struct job seen;

	snprintf(question, sizeof(question), "SELECT id FROM jobs WHERE seq = %lld",
	         (long long)seq);
	str_copy(id, sizeof(id), ask_text(db, question));
	if (look_job(db, id, 0, &seen) != ERR_OK)
		abort();
	position = seen.position;
	job_done(&seen);
	return position;
}

static void positions_follow_the_drain(void)
{
	static char key[] = "loaded:latest";
	const struct status status = { .loaded_key = key };
	struct db *db = db_fresh();

	job_put(db, "a:latest", false);      /* 1 */
	job_put(db, "loaded:latest", false); /* 2 */
	job_put(db, "b:latest", true);       /* 3 */
	job_put(db, "a:latest", false);      /* 4 */
	job_put(db, "loaded:latest", true);  /* 5 */
	job_put(db, "loaded:latest", false); /* 6 */
	job_put(db, "c:latest", false);      /* 7 */
	CHECK_INT(status_write(db, &status, NULL), ERR_OK);
	CHECK_INT(position_of(db, 5), 1);
	CHECK_INT(position_of(db, 3), 2);
	CHECK_INT(position_of(db, 2), 3);
	CHECK_INT(position_of(db, 6), 4);
	CHECK_INT(position_of(db, 1), 5);
	CHECK_INT(position_of(db, 4), 6);
	CHECK_INT(position_of(db, 7), 7);
	shell(db, "UPDATE jobs SET held_until_ms = 1 WHERE seq = 1");
	CHECK_INT(position_of(db, 1), 0);
	db_gone(db);
}

static void a_position_is_told_up_to_the_limit(void)
{
	struct db *db = db_fresh();

	for (int i = 0; i <= LIMIT_POSITION; i++)
		job_put(db, "a:latest", false);
	CHECK_INT(position_of(db, LIMIT_POSITION), LIMIT_POSITION);
	CHECK_INT(position_of(db, LIMIT_POSITION + 1), 0);
	shell(db, "UPDATE jobs SET load_key = 'k' || seq || ':latest'");
	CHECK_INT(position_of(db, LIMIT_POSITION), LIMIT_POSITION);
	CHECK_INT(position_of(db, LIMIT_POSITION + 1), 0);
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

static void a_deep_queue_is_paged_without_sorting_it(void)
{
	struct db *db = db_fresh();
	const struct look_filter f = { .state = JOB_QUEUED, .limit = 3 };
	struct job done, *jobs = NULL;
	char next[ULID_SIZE];
	size_t count = 0;

	for (int i = 0; i < 4; i++)
		job_put(db, "m:latest", false);
	job_in(db, JOB_DONE, &done);
	/* Say it is deep: the tally decides how the page is looked for. */
	shell(db, "UPDATE tallies SET count = 1000000 WHERE state = 'queued'");
	REQUIRE(look_jobs(db, &f, &jobs, &count, next) == ERR_OK);
	REQUIRE(count == 3);
	CHECK_INT(jobs[0].seq, 4);
	CHECK_STR(next, jobs[2].id);
	for (size_t i = 0; i < count; i++)
		job_done(&jobs[i]);
	free(jobs);
	job_done(&done);
	db_gone(db);
}

/* Newer jobs of another model, as many as one page looks at, and one more. */
static void a_rare_model_takes_more_than_one_page(void)
{
	struct db *db = db_fresh();
	const struct look_filter f = { .any_state = true, .model = "rare", .limit = 5 };
	char fill[512];

	job_put(db, "rare:latest", false);
	job_put(db, "m:latest", false);
	snprintf(
	    fill, sizeof(fill),
	    "WITH RECURSIVE n(i) AS (VALUES (3) UNION ALL SELECT i + 1 FROM n"
	    " WHERE i < %d) INSERT INTO jobs (seq, id, state, attended, endpoint, "
	    "model,"
	    " load_key, attempts, interruptions, event_seq, cancel_requested, "
	    "created_ms,"
	    " queued_ms, artifact_mode, webhook_events) SELECT i,"
	    " printf('7%%025d', i), 'queued', 0, '', '', 'm:latest', 0, 0, 1, 0, 1, 1,"
	    " 'auto', 0 FROM n",
	    LIMIT_LIST_SCAN + 1);
	REQUIRE(shell(db, fill) == SQLITE_OK);
	/* The page looks at exactly the limit: at 2, and not yet at the rare 1. */
	CHECK_STR(pages(db, f), "|1");
	shell(db, "DELETE FROM jobs WHERE seq = 2");
	CHECK_STR(pages(db, f), "1|"); /* at the limit there may be more */
	shell(db, "DELETE FROM jobs WHERE seq = 3");
	CHECK_STR(pages(db, f), "1");
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
	CHECK_INT(q.fifo_swaps, 5); /* a b held m a */
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

int main(void)
{
	static const struct t_case cases[] = {
		T(an_unknown_id_and_a_retired_one_differ),
		T(every_field_survives_the_file),
		T(a_done_job_shows_its_artifact_up_to_the_limit),
		T(a_waiting_job_tells_when_the_target_is_away),
		T(positions_follow_the_drain),
		T(a_position_is_told_up_to_the_limit),
		T(pages_come_newest_first),
		T(pages_of_one_state_hold_that_state),
		T(pages_of_a_model_take_any_spelling_and_load),
		T(a_deep_queue_is_paged_without_sorting_it),
		T(a_rare_model_takes_more_than_one_page),
		T(the_queue_is_told_from_tallies),
		T(an_empty_queue_is_empty),
		T(no_more_load_keys_are_listed_than_the_limit),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
