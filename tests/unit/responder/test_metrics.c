/*
 * test_metrics.c - the text of GET /metrics: every family explained once, every
 * label spelled as the format wants it, histograms that add up.
 */
#include <config.h>

#include "responder/metrics.h"

#include <math.h>

#include "responder/route.h"
#include "responder/tally.h"
#include "stage.h"

static double bounds[] = { 0.1, 2.5, 14400, INFINITY };

static char *text_of(const struct gauge *g, int64_t now_ms)
{
	struct buf b;
	char *text;

	buf_init(&b, 1 << 22);
	if (metrics_text(g, now_ms, &b) != ERR_OK)
		abort();
	text = buf_take(&b, NULL);
	buf_done(&b);
	return text;
}

/* Is this one of the lines? */
static bool has(const char *text, const char *line)
{
	struct span all = span_of(text), one;

	while (span_cut(&all, '\n', &one))
		if (span_eq(one, line))
			return true;
	printf("#   no line %s\n", line);
	return false;
}

static void a_store_without_anything_is_told_in_full(void)
{
	struct gauge g = { .bounds = bounds, .bound_count = 4 };
	char *text = text_of(&g, 1000);

	CHECK(has(text, "foreman_jobs{state=\"queued\",class=\"attended\"} 0"));
	CHECK(has(text, "foreman_jobs_finished_total{outcome=\"done\",reason=\"\"} 0"));
	CHECK(has(text, "foreman_jobs_finished_total{outcome=\"failed\","
	                "reason=\"worker_restarted\"} 0"));
	CHECK(has(text, "foreman_jobs_requeued_total{cause=\"target_lost\"} 0"));
	CHECK(has(text, "foreman_webhook_attempts_total{result=\"failed\"} 0"));
	CHECK(has(text, "foreman_target_up 0"));
	CHECK(has(text, "foreman_target_state{state=\"unknown\"} 1"));
	/* no worker ever is not a fresh one */
	CHECK(has(text, "foreman_worker_heartbeat_age_seconds +Inf"));
	CHECK(has(text, "foreman_queue_oldest_age_seconds{class=\"attended\"} 0"));
	CHECK(strstr(text, "{version=\"" PACKAGE_VERSION "\",sqlite=\"3.") != NULL);
	CHECK(!strstr(text, "libcurl/")); /* its number alone */
	free(text);
}

static void ages_count_from_now_and_never_below_naught(void)
{
	struct gauge g = { .head_queued_ms = { 61500, 70000 },
		               .oldest_webhook_ms = 1,
		               .status = { .heartbeat_ms = 60000 } };
	char *text = text_of(&g, 62000);

	CHECK(has(text, "foreman_queue_oldest_age_seconds{class=\"unattended\"} 0.5"));
	CHECK(has(text, "foreman_queue_oldest_age_seconds{class=\"attended\"} 0"));
	CHECK(has(text, "foreman_webhook_oldest_pending_seconds 61.999"));
	CHECK(has(text, "foreman_worker_heartbeat_age_seconds 2"));
	free(text);
}

static void a_models_name_is_escaped(void)
{
	static char name[] = "completion_tokens", odd[] = "a\"b\\c\nd";
	struct gauge_counter counter = { name, odd, 7 };
	struct gauge g = { .counters = &counter, .counter_count = 1 };
	char *text = text_of(&g, 0);

	CHECK(has(text, "foreman_tokens_total{direction=\"completion\","
	                "model=\"a\\\"b\\\\c\\nd\"} 7"));
	free(text);
}

static void a_name_longer_than_any_model_is_cut_and_breaks_nothing(void)
{
	static char name[] = "completion_tokens", longest[2000];
	struct gauge_counter counter = { name, longest, 7 };
	struct gauge g = { .counters = &counter, .counter_count = 1 };
	char *text;

	memset(longest, '"', sizeof(longest) - 1);
	text = text_of(&g, 0);
	CHECK(strstr(text, "\\\"\"} 7\n") != NULL);
	free(text);
}

static void buckets_add_up_and_absent_ones_are_told_too(void)
{
	static char load[] = "load", work[] = "work", a[] = "a:latest",
	            b[] = "b:latest";
	struct gauge_bucket buckets[] = { { load, a, 2.5, 3, 4.5 },
		                              { load, a, INFINITY, 1, 20000 },
		                              { load, b, 0.1, 2, 0.125 },
		                              { work, a, 14400, 1, 100 } };
	struct gauge g = { .bounds = bounds,
		               .bound_count = 4,
		               .buckets = buckets,
		               .bucket_count = ARRAY_LEN(buckets) };
	char *text = text_of(&g, 0);

#define LOAD "foreman_model_load_seconds"
	CHECK(has(text, LOAD "_bucket{model=\"a:latest\",le=\"0.1\"} 0"));
	CHECK(has(text, LOAD "_bucket{model=\"a:latest\",le=\"2.5\"} 3"));
	CHECK(has(text, LOAD "_bucket{model=\"a:latest\",le=\"14400\"} 3"));
	CHECK(has(text, LOAD "_bucket{model=\"a:latest\",le=\"+Inf\"} 4"));
	CHECK(has(text, LOAD "_sum{model=\"a:latest\"} 20004.5"));
	CHECK(has(text, LOAD "_count{model=\"a:latest\"} 4"));
	CHECK(has(text, LOAD "_bucket{model=\"b:latest\",le=\"+Inf\"} 2"));
	CHECK(has(text, "foreman_job_work_seconds_count{model=\"a:latest\"} 1"));
	free(text);
}

static void what_the_store_counted_is_told_under_its_name(void)
{
	static char finished[] = "finished", done[] = "done", canceled[] = "canceled",
	            attempts[] = "webhook_attempts", failed[] = "failed";
	struct gauge_counter counters[] = { { finished, done, 7 },
		                                { finished, canceled, 2 },
		                                { attempts, failed, 5 } };
	struct gauge g = { .bounds = bounds, .bound_count = 4,
		               .counters = counters,
		               .counter_count = ARRAY_LEN(counters),
		               .status = { .target = TARGET_UP } };
	char *text = text_of(&g, 0);

	CHECK(has(text, "foreman_jobs_finished_total{outcome=\"done\",reason=\"\"} 7"));
	CHECK(has(text, "foreman_jobs_finished_total{outcome=\"failed\","
	                "reason=\"canceled\"} 2"));
	CHECK(has(text, "foreman_jobs_finished_total{outcome=\"failed\","
	                "reason=\"timeout\"} 0"));
	CHECK(has(text, "foreman_webhook_attempts_total{result=\"failed\"} 5"));
	CHECK(has(text, "foreman_webhook_attempts_total{result=\"delivered\"} 0"));
	CHECK(has(text, "foreman_target_up 1"));
	free(text);
}

static void what_has_no_room_is_no_text_at_all(void)
{
	struct gauge g = { .bounds = bounds, .bound_count = 4 };
	char *text = text_of(&g, 0);
	size_t whole = strlen(text);

	for (size_t room = 0; room <= whole; room += room < 200 ? 1 : whole / 16) {
		struct buf b;

		buf_init(&b, room);
		CHECK_INT(metrics_text(&g, 0, &b), room < whole ? ERR_TOOBIG : ERR_OK);
		buf_done(&b);
	}
	free(text);
}

static void buckets_of_a_bound_that_is_none_end_nothing(void)
{
	static char load[] = "load", a[] = "a:latest";
	struct gauge_bucket buckets[] = { { load, a, NAN, 3, 1 } };
	struct gauge g = {
		.bounds = bounds, .bound_count = 4, .buckets = buckets, .bucket_count = 1
	};
	char *text = text_of(&g, 0);

	CHECK(strstr(text, "foreman_build_info") != NULL);
	free(text);
}

static void requests_are_told_by_their_routes(void)
{
	const struct tally_names names = route_names();
	struct gauge g = { 0 };
	char *text;

	CHECK_INT(tally_open(-1, &names), ERR_OK);
	tally_request(0, 200, 2000);
	tally_request(0, 200, 6000);
	tally_request(-1, 404, 10);
	tally_add(TALLY_LEFT_WAITING);
	text = text_of(&g, 0);
	CHECK(has(text,
	          "foreman_http_requests_total{method=\"POST\",route=\"/api/chat\","
	          "code=\"200\"} 2"));
	CHECK(has(text, "foreman_http_requests_total{method=\"\",route=\"other\","
	                "code=\"404\"} 1"));
#define TOOK "foreman_http_request_duration_seconds"
	CHECK(has(text,
	          TOOK "_bucket{method=\"POST\",route=\"/api/chat\",le=\"0.0025\"} 1"));
	CHECK(has(text,
	          TOOK "_bucket{method=\"POST\",route=\"/api/chat\",le=\"+Inf\"} 2"));
	CHECK(has(text, TOOK "_sum{method=\"POST\",route=\"/api/chat\"} 0.008"));
	CHECK(has(text, "foreman_client_disconnects_total{phase=\"waiting\"} 1"));
	free(text);
	tally_close();
}

/* Each line is a comment or a sample of a family explained above it, once. */
static bool well_formed(const char *text)
{
	struct span all = span_of(text), line;
	char name[128] = "", help[160];

	while (span_cut(&all, '\n', &line) && line.len) {
		if (line.len > 7 && memcmp(line.p, "# HELP ", 7) == 0) {
			struct span rest = { line.p + 7, line.len - 7 }, first;

			span_cut(&rest, ' ', &first);
			snprintf(name, sizeof(name), "%.*s", (int)first.len, first.p);
			snprintf(help, sizeof(help), "# HELP %s ", name);
			if (!rest.len || strstr(strstr(text, help) + 1, help))
				return false;
		} else if (line.p[0] != '#' && (line.len < strlen(name) ||
		                                memcmp(line.p, name, strlen(name)))) {
			printf("#   %.*s\n", (int)line.len, line.p);
			return false;
		}
	}
	return true;
}

static void who_asks_gets_text_of_the_formats_type(void)
{
	struct said a;

	stage_up(NULL);
	a = stage_ask("GET", "/metrics", NULL, NULL);
	CHECK_INT(a.status, 200);
	CHECK(strstr(a.headers, "text/plain; version=0.0.4; charset=utf-8") != NULL);
	CHECK(strstr(a.headers, "Cache-Control: no-store") != NULL);
	CHECK(well_formed(a.body));
	CHECK_INT(stage_ask("HEAD", "/metrics", NULL, NULL).status, 200);
	CHECK_INT(stage_ask("POST", "/metrics", NULL, "").status, 405);
	stage_down();
}

static void it_needs_the_token_like_the_rest(void)
{
	stage_up("FOREMAN_API_TOKEN=secret-enough-for-this", NULL);
	CHECK_INT(stage_ask("GET", "/metrics", NULL, NULL).status, 401);
	CHECK_INT(stage_ask("GET", "/metrics",
	                    "HTTP_AUTHORIZATION=Bearer secret-enough-for-this", NULL)
	              .status,
	          200);
	stage_down();
}

static void without_a_database_it_says_so(void)
{
	stage_up(NULL);
	stage.service.db_conf.path = "/nonexistent/foreman.db";
	CHECK_INT(stage_ask("GET", "/metrics", NULL, NULL).status, 500);
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_store_without_anything_is_told_in_full),
		T(ages_count_from_now_and_never_below_naught),
		T(a_models_name_is_escaped),
		T(a_name_longer_than_any_model_is_cut_and_breaks_nothing),
		T(buckets_add_up_and_absent_ones_are_told_too),
		T(what_the_store_counted_is_told_under_its_name),
		T(what_has_no_room_is_no_text_at_all),
		T(buckets_of_a_bound_that_is_none_end_nothing),
		T(requests_are_told_by_their_routes),
		T(who_asks_gets_text_of_the_formats_type),
		T(it_needs_the_token_like_the_rest),
		T(without_a_database_it_says_so),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
