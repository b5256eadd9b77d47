/*
 * test_gauge.c - the figures for metrics: what triggers keep is what the rows
 * would say, and stays when the rows are gone.
 */
#include <config.h>

#include "store/gauge.h"

#include <math.h>

#include "store.h"
#include "store/outbox.h"

static struct gauge look_at(struct db *db)
{
	struct gauge g;
	struct errtext why = { "" };

	if (gauge_read(db, &g, &why) != ERR_OK) {
		printf("Bail out! %s\n", why.s);
		exit(1);
	}
	return g;
}

static int64_t total(const struct gauge *g, const char *name, const char *label)
{
	for (size_t i = 0; i < g->counter_count; i++)
		if (strcmp(g->counters[i].name, name) == 0 &&
		    strcmp(g->counters[i].label, label) == 0)
			return g->counters[i].total;
	return -1;
}

/* How many spans in all, their sum, and the bound of the last bucket. */
static int64_t spans(const struct gauge *g, const char *name, const char *label,
                     double *sum, double *le)
{
	int64_t count = 0;

	*sum = *le = 0;
	for (size_t i = 0; i < g->bucket_count; i++)
		if (strcmp(g->buckets[i].name, name) == 0 &&
		    strcmp(g->buckets[i].label, label) == 0) {
			count += g->buckets[i].count;
			*sum += g->buckets[i].sum;
			*le = g->buckets[i].le;
		}
	return count;
}

/* Done, with what is not told `job_in`. */
static void run_one(struct db *db, const char *key, int64_t load_ms,
                    int64_t work_ms, int64_t tokens)
{
	const struct queue_result result = { .content_type = "application/json",
		                                 .response = SPAN_LIT("{}"),
		                                 .complete = true,
		                                 .prompt_tokens = tokens,
		                                 .completion_tokens = tokens };
	struct job job;
	int64_t loading = NOW + 10;

	if (job_claim(db, job_put(db, key, false), &job) ||
	    queue_working(db, &job, loading + load_ms, NULL) ||
	    queue_done(db, &job, &result, loading + load_ms + work_ms, NULL))
		abort();
	job_done(&job);
}

static void an_empty_store_has_all_figures_at_naught(void)
{
	struct db *db = db_fresh();
	struct gauge g = look_at(db);

	for (int s = 0; s < JOB_STATE_COUNT; s++)
		CHECK_INT(g.jobs[s][0] + g.jobs[s][1], 0);
	CHECK_INT(g.arrived[0] + g.arrived[1], 0);
	CHECK_INT(g.head_queued_ms[0] + g.head_queued_ms[1], 0);
	CHECK_INT(g.webhooks_pending + g.webhooks_dead + g.oldest_webhook_ms, 0);
	CHECK_INT(g.counter_count + g.bucket_count, 0);
	CHECK(g.bound_count > 10 && isinf(g.bounds[g.bound_count - 1]));
	CHECK(g.file_bytes > 0 && g.disk_free_bytes > 0);
	CHECK_INT(g.status.heartbeat_ms, 0);
	gauge_done(&g);
	db_gone(db);
}

static void arrivals_are_counted_and_stay_so_when_jobs_go(void)
{
	struct db *db = db_fresh();
	struct job done, failed;
	struct gauge g;

	job_put(db, "a:latest", true);
	job_put(db, "a:latest", false);
	job_in(db, JOB_DONE, &done);
	job_in(db, JOB_FAILED, &failed);
	for (int i = 0; i < 2; i++) {
		g = look_at(db);
		CHECK_INT(g.arrived[0], 3);
		CHECK_INT(g.arrived[1], 1);
		CHECK_INT(total(&g, "finished", "done"), 1);
		CHECK_INT(total(&g, "finished", "internal"), 1);
		CHECK_INT(g.jobs[JOB_QUEUED][1], i == 0 ? 1 : 0);
		CHECK_INT(g.jobs[JOB_DONE][0], i == 0 ? 1 : 0);
		gauge_done(&g);
		CHECK_INT(shell(db, "DELETE FROM jobs"), SQLITE_OK);
	}
	job_done(&done);
	job_done(&failed);
	db_gone(db);
}

static void the_first_in_line_is_told_by_class(void)
{
	struct db *db = db_fresh();
	struct gauge g;

	job_put(db, "b:latest", false);
	job_put(db, "a:latest", true);
	CHECK_INT(shell(db, "UPDATE jobs SET queued_ms = 1000 + seq"), SQLITE_OK);
	job_put(db, "b:latest", false);
	g = look_at(db);
	CHECK_INT(g.head_queued_ms[0], 1001);
	CHECK_INT(g.head_queued_ms[1], 1002);
	gauge_done(&g);
	db_gone(db);
}

static void spans_fall_into_the_bucket_whose_bound_they_do_not_pass(void)
{
	struct db *db = db_fresh();
	struct gauge g;
	double sum, le;

	run_one(db, "a:latest num_ctx=1", 100, 101, 7); /* shaping is no model's name */
	g = look_at(db);
	CHECK_INT(spans(&g, "load", "a:latest", &sum, &le), 1);
	CHECK(le == 0.1 && fabs(sum - 0.1) < 1e-9);
	CHECK_INT(spans(&g, "work", "a:latest", &sum, &le), 1);
	CHECK(le == 0.5 && fabs(sum - 0.101) < 1e-9);
	CHECK_INT(spans(&g, "queue_wait", "unattended", &sum, &le), 1);
	CHECK(le == 0.1);
	CHECK_INT(total(&g, "completion_tokens", "a:latest"), 7);
	gauge_done(&g);
	run_one(db, "a:latest", 20 * 3600 * 1000, -5000, -1); /* a clock set back */
	g = look_at(db);
	CHECK_INT(spans(&g, "load", "a:latest", &sum, &le), 2);
	CHECK(isinf(le) && fabs(sum - 72000.1) < 1e-6);
	CHECK_INT(spans(&g, "work", "a:latest", &sum, &le), 2);
	CHECK(fabs(sum - 0.101) < 1e-9);
	CHECK_INT(total(&g, "completion_tokens", "a:latest"), 7); /* unknown: none */
	gauge_done(&g);
	db_gone(db);
}

static void models_beyond_the_first_64_are_one(void)
{
	struct db *db = db_fresh();
	struct gauge g;
	char key[32];
	double sum, le;

	for (int i = 0; i < 66; i++) {
		snprintf(key, sizeof(key), "m%d:latest", i);
		run_one(db, key, 1, 1, 2);
	}
	run_one(db, "m63:latest", 1, 1, 2);
	run_one(db, "m64:latest", 1, 1, 2);
	job_put(db, "invented:latest", false); /* never ran: no label */
	g = look_at(db);
	CHECK_INT(total(&g, "completion_tokens", "m0:latest"), 2);
	CHECK_INT(total(&g, "completion_tokens", "m63:latest"), 4);
	CHECK_INT(total(&g, "completion_tokens", "m64:latest"), -1);
	CHECK_INT(total(&g, "completion_tokens", "other"), 6);
	CHECK_INT(total(&g, "prompt_tokens", "other"), 6);
	CHECK_INT(spans(&g, "work", "other", &sum, &le), 3);
	CHECK_INT(spans(&g, "work", "m63:latest", &sum, &le), 2);
	CHECK_INT(total(&g, "completion_tokens", "invented:latest"), -1);
	gauge_done(&g);
	db_gone(db);
}

static void runs_that_go_back_are_counted_by_their_cause(void)
{
	struct db *db = db_fresh();
	struct job job;
	struct gauge g;
	int64_t seq = job_put(db, "a:latest", false);

	CHECK_INT(job_claim(db, seq, &job), ERR_OK);
	CHECK_INT(
	    queue_back(db, &job, REASON_TARGET_LOST, "gone", false, 0, NOW + 30, NULL),
	    ERR_OK);
	job_done(&job);
	CHECK_INT(job_claim(db, seq, &job), ERR_OK);
	CHECK_INT(queue_back(db, &job, REASON_RETRY, "again", true, 0, NOW + 40, NULL),
	          ERR_OK);
	job_done(&job);
	g = look_at(db);
	CHECK_INT(total(&g, "sent_back", "target_lost"), 1);
	CHECK_INT(total(&g, "sent_back", "retry"), 1);
	CHECK_INT(g.arrived[0], 1); /* it came once */
	gauge_done(&g);
	db_gone(db);
}

static void webhooks_and_their_attempts_are_counted(void)
{
	const struct outbox_attempt failed = { .now_ms = NOW + 60,
		                                   .error = "no answer" };
	const struct outbox_attempt well = { .now_ms = NOW + 70, .status = 200 };
	struct db *db = db_fresh();
	struct gauge g;
	struct job job;

	job_make_told(&job, "m:latest", 1u << JOB_QUEUED);
	CHECK_INT(job_store(db, &job), ERR_OK);
	g = look_at(db);
	CHECK_INT(g.webhooks_pending, 1);
	CHECK_INT(g.oldest_webhook_ms, NOW);
	gauge_done(&g);
	CHECK_INT(outbox_retry(db, 1, &failed, NOW + 65), ERR_OK);
	CHECK_INT(outbox_delivered(db, 1, &well), ERR_OK);
	g = look_at(db);
	CHECK_INT(g.webhooks_pending, 0);
	CHECK_INT(g.oldest_webhook_ms, 0);
	CHECK_INT(total(&g, "webhook_attempts", "failed"), 1);
	CHECK_INT(total(&g, "webhook_attempts", "delivered"), 1);
	gauge_done(&g);
	job_done(&job);
	db_gone(db);
}

static void a_reader_may_look_too(void)
{
	struct db *db = db_fresh(), *reader = db_of(DB_READER);
	struct gauge g = look_at(reader);

	gauge_done(&g);
	db_close(reader);
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_empty_store_has_all_figures_at_naught),
		T(arrivals_are_counted_and_stay_so_when_jobs_go),
		T(the_first_in_line_is_told_by_class),
		T(spans_fall_into_the_bucket_whose_bound_they_do_not_pass),
		T(models_beyond_the_first_64_are_one),
		T(runs_that_go_back_are_counted_by_their_cause),
		T(webhooks_and_their_attempts_are_counted),
		T(a_reader_may_look_too),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
