/*
 * test_memory.c - what core does when there is no memory: it says so, and nothing
 * comes out that lacks a part.
 */
#include <config.h>

#include "core/content.h"
#include "core/estimate.h"
#include "core/job.h"
#include "core/request.h"
#include "starve.h"
#include "t.h"

static void a_job_is_rendered_whole_or_not_at_all(void)
{
	struct artifact artifact = { .name = "response",
		                         .content_type = "application/json",
		                         .bytes = 2,
		                         .inline_bytes = (char[]){ "{}" } };
	const struct job job = { .id = "01M7XTZDW58JFZWPE0P2PW2C7G",
		                     .state = JOB_DONE,
		                     .model = (char[]){ "m" },
		                     .endpoint = (char[]){ "/api/chat" },
		                     .metadata = (char[]){ "{\"a\":\"b\"}" },
		                     .webhook_url = (char[]){ "http://r/" },
		                     .error = (char[]){ "none" },
		                     .artifacts = &artifact,
		                     .artifact_count = 1 };
	static const struct job_view view = { .public_url = "http://foreman",
		                                  .inline_max = 100 };
	char *whole = job_json(&job, &view), *text;

	CHECK(whole);
	STARVE_EACH(text = job_json(&job, &view))
	{
		if (!CHECK(!text))
			printf("# %s\n", text);
		free(text);
	}
	CHECK_STR(text, whole);
	free(whole);
	free(text);
	whole = job_event_json(&job, &view, 0);
	STARVE_EACH(text = job_event_json(&job, &view, 0))
	{
		CHECK(!text);
		free(text);
	}
	CHECK_STR(text, whole);
	free(whole);
	free(text);
}

static void a_request_is_read_whole_or_not_at_all(void)
{
	static const char body[] =
	    "{\"m\\u006fdel\":\"a\\u0062\",\"options\":{\"num_ctx\":4096},"
	    "\"keep_alive\":\"1m\",\"prompt\":\"hello\"}";
	struct request r;
	char *sent;
	size_t len;
	enum err e;

	STARVE_EACH(e = request_read(ENDPOINT_GENERATE, SPAN_LIT(body), &r, NULL))
	{
		CHECK_INT(e, ERR_NOMEM);
	}
	CHECK_INT(e, ERR_OK);
	CHECK_STR(r.model_raw, "ab");
	STARVE_EACH(sent = request_with_stream(SPAN_LIT(body), &r, &len))
	{
		CHECK(!sent);
	}
	CHECK(sent && strstr(sent, "\"stream\":false"));
	free(sent);
	request_done(&r);
}

static void an_estimate_is_made_whole_or_not_at_all(void)
{
	static const struct estimate_row rows[] = {
		{ .load_key = "a", .count = 3, .head_seq = 1, .load_ms = 1, .run_ms = 2 },
		{ .load_key = "b", .count = 2, .head_seq = 4, .load_ms = 1, .run_ms = 2 },
	};
	static const struct estimate_now now = { .loaded_key = "a" };
	struct estimate made;
	enum err e;

	STARVE_EACH(e = estimate_make(&now, rows, ARRAY_LEN(rows), &made))
	{
		CHECK_INT(e, ERR_NOMEM);
	}
	CHECK_INT(e, ERR_OK);
	CHECK_INT(made.count, 2);
	estimate_done(&made);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_job_is_rendered_whole_or_not_at_all),
		T(a_request_is_read_whole_or_not_at_all),
		T(an_estimate_is_made_whole_or_not_at_all),
	};

	starve_cjson();
	return t_run(cases, ARRAY_LEN(cases));
}
