/*
 * test_route.c - the table of routes: what it holds and all that it does not.
 */
#include <config.h>

#include "responder/route.h"

#include <stdlib.h>

#include "core/limits.h"
#include "responder/artifacts.h"
#include "responder/chat.h"
#include "responder/follow.h"
#include "responder/health.h"
#include "responder/jobs.h"
#include "responder/pass.h"
#include "responder/submit.h"
#include "t.h"

static struct route_match find(const char *method, const char *path)
{
	return route_find(span_of(path), route_method(method));
}

static void every_route_has_its_handler(void)
{
	static const struct {
		const char *method, *path;
		void (*handle)(struct call *c);
		const char *upstream;
	} want[] = {
		{ "POST", "/api/chat", chat_handle, "/api/chat" },
		{ "POST", "/api/generate", chat_handle, "/api/generate" },
		{ "POST", "/v1/chat/completions", chat_handle, "/v1/chat/completions" },
		{ "POST", "/v1/completions", chat_handle, "/v1/completions" },
		{ "POST", "/v1/responses", chat_handle, "/v1/responses" },
		{ "POST", "/v1/messages", chat_handle, "/v1/messages" },
		{ "POST", "/v1/embeddings", chat_embed, "/v1/embeddings" },
		{ "GET", "/v1/models", pass_handle, "/v1/models" },
		{ "GET", "/v1/models/m", pass_handle, "/v1/models/" },
		{ "GET", "/v1/models/a/b:c", pass_handle, "/v1/models/" },
		{ "POST", "/api/embed", chat_embed, "/api/embed" },
		{ "POST", "/api/embeddings", chat_embed, "/api/embeddings" },
		{ "GET", "/", pass_handle, "/" },
		{ "HEAD", "/", pass_handle, "/" },
		{ "GET", "/api/version", pass_handle, "/api/version" },
		{ "HEAD", "/api/version", pass_handle, "/api/version" },
		{ "GET", "/api/tags", pass_tags, "/api/tags" },
		{ "HEAD", "/api/tags", pass_tags, "/api/tags" },
		{ "GET", "/api/ps", pass_ps, "/api/ps" },
		{ "POST", "/api/show", pass_handle, "/api/show" },
		{ "GET", "/api/status", pass_handle, "/api/status" },
		{ "POST", "/api/pull", pass_admin, "/api/pull" },
		{ "POST", "/api/push", pass_admin, "/api/push" },
		{ "POST", "/api/create", pass_admin, "/api/create" },
		{ "POST", "/api/copy", pass_admin, "/api/copy" },
		{ "DELETE", "/api/delete", pass_admin, "/api/delete" },
		{ "POST", "/api/blobs/sha256:00", pass_admin, "/api/blobs/" },
		{ "HEAD", "/api/blobs/sha256:00", pass_admin, "/api/blobs/" },
		{ "GET", "/jobs", jobs_list, NULL },
		{ "POST", "/jobs", submit_handle, NULL },
		{ "GET", "/jobs/x", jobs_show, NULL },
		{ "HEAD", "/jobs/x", jobs_show, NULL },
		{ "POST", "/jobs/x/cancel", jobs_cancel, NULL },
		{ "DELETE", "/jobs/x", jobs_remove, NULL },
		{ "GET", "/jobs/x/stream", follow_handle, NULL },
		{ "GET", "/jobs/x/artifacts/response", artifacts_response, NULL },
		{ "HEAD", "/jobs/x/artifacts/response", artifacts_response, NULL },
		{ "GET", "/jobs/x/artifacts/content", artifacts_content, NULL },
		{ "GET", "/queue", jobs_queue, NULL },
		{ "GET", "/healthz", health_live, NULL },
		{ "GET", "/readyz", health_ready, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		struct route_match m = find(want[i].method, want[i].path);

		if (!CHECK(m.route != NULL)) {
			printf("# %s %s\n", want[i].method, want[i].path);
			continue;
		}
		CHECK(m.route->handle == want[i].handle);
		CHECK_STR(m.route->upstream, want[i].upstream);
	}
}

static void a_path_spelt_otherwise_is_no_path(void)
{
	static const char *const paths[] = {
		"", "/api", "/api/", "//", "//api/chat", "/api//chat", "/api/chat/",
		"/API/chat", "/api/Chat", "/api/%63hat", "/api%2fchat", "/api/./chat",
		"/x/../api/chat", "/api/chat;x=1", "/api/chat%20", "/api/chat%00",
		"/api/chat\n", "api/chat", "/api/chatx", "/api/cha", "/api/chat/x",
		"/jobs/", "/jobs//cancel", "/jobs/x/", "/jobs/x/cancel/", "/jobs/x/y",
		"/jobs/x/artifacts", "/jobs/x/artifacts/", "/jobs/x/artifacts/other",
		"/jobs/x/artifacts/response/", "/api/blobs/", "/api/blobs/a/b",
		"/api/blobs", "/healthz/", "http://h/api/chat", "*", "/debug/pprof",
		"/api/pull/", "/api/x/../delete", "/v1", "/v1/", "/v1/chat",
		"/v1/models/", "/v1/chat/completions/", "/v1/Messages", "/v1/messages/x",
	};

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct route_match m = find("POST", paths[i]);

		if (!CHECK(m.methods == 0 && !m.route))
			printf("# %s\n", paths[i]);
	}
}

static void an_absent_path_is_no_path(void)
{
	CHECK_INT(route_find((struct span){ 0 }, METHOD_GET).methods, 0);
}

static void a_path_longer_than_the_limit_is_no_path(void)
{
	char path[LIMIT_PATH + 2];

	memset(path, 'x', sizeof(path));
	memcpy(path, "/jobs/", 6);
	CHECK(route_find((struct span){ path, LIMIT_PATH }, METHOD_GET).route != NULL);
	CHECK(!route_find((struct span){ path, LIMIT_PATH + 1 }, METHOD_GET).methods);
}

static void the_id_is_the_segment_where_the_pattern_has_it(void)
{
	struct route_match m = find("POST", "/jobs/01ABC/cancel");

	CHECK(span_eq(m.id, "01ABC"));
	m = find("GET", "/jobs");
	CHECK(!m.id.p);
	m = find("GET", "/jobs/{id}");
	CHECK(span_eq(m.id, "{id}"));
}

static void a_name_is_all_that_is_left(void)
{
	struct route_match m = find("GET", "/v1/models/hf.co/u/r:q4");

	CHECK(span_eq(m.id, "hf.co/u/r:q4"));
	m = find("GET", "/v1/models");
	CHECK(!m.id.p);
}

static void a_method_the_path_has_not_finds_no_route_but_the_path(void)
{
	static const char *const methods[] = { "GET", "PUT",    "DELETE", "PATCH",
		                                   "FOO", "post",   "TRACE",  "CONNECT",
		                                   "",    "OPTIONS" };
	char allow[ROUTE_ALLOW_SIZE];

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct route_match m = find(methods[i], "/api/chat");

		CHECK(!m.route);
		CHECK_INT(m.methods, METHOD_POST);
	}
	route_allow(find("PUT", "/api/tags").methods, allow);
	CHECK_STR(allow, "HEAD, GET");
	route_allow(find("HEAD", "/api/ps").methods, allow);
	CHECK_STR(allow, "GET");
	route_allow(find("PUT", "/jobs").methods, allow);
	CHECK_STR(allow, "HEAD, GET, POST");
	route_allow(~0u, allow);
	CHECK_STR(allow, "HEAD, GET, POST, DELETE, OPTIONS");
}

static void only_healthz_is_open(void)
{
	CHECK(find("GET", "/healthz").route->open);
	CHECK(!find("GET", "/readyz").route->open);
	CHECK(!find("GET", "/").route->open);
	CHECK(!find("POST", "/jobs").route->open);
}

static void errors_are_worded_by_the_path_known_or_not(void)
{
	CHECK_INT(route_family(span_of("/api/chat")), FAMILY_OLLAMA);
	CHECK_INT(route_family(span_of("/nope")), FAMILY_OLLAMA);
	CHECK_INT(route_family(span_of("")), FAMILY_OLLAMA);
	CHECK_INT(route_family(span_of("/jobsx")), FAMILY_OLLAMA);
	CHECK_INT(route_family(span_of("/jobs")), FAMILY_PROBLEM);
	CHECK_INT(route_family(span_of("/jobs/x/nope")), FAMILY_PROBLEM);
	CHECK_INT(route_family(span_of("/queue")), FAMILY_PROBLEM);
	CHECK_INT(route_family(span_of("/webhooks/x")), FAMILY_PROBLEM);
	CHECK_INT(route_family(span_of("/healthz")), FAMILY_PROBLEM);
	CHECK_INT(route_family(span_of("/readyz")), FAMILY_PROBLEM);
	CHECK_INT(route_family(span_of("/metrics")), FAMILY_PROBLEM);
	CHECK_INT(route_family(span_of("/v1/models")), FAMILY_OPENAI);
	CHECK_INT(route_family(span_of("/v1/messages")), FAMILY_ANTHROPIC);
	CHECK_INT(route_family(span_of("/v1/messagesx")), FAMILY_OPENAI);
	CHECK_INT(route_family(span_of("/v11")), FAMILY_OLLAMA);
}

static void a_token_is_taken_as_bearer_only_and_whole(void)
{
	CHECK(route_authorized(span_of("Bearer s3cret"), "s3cret"));
	CHECK(route_authorized(span_of("bearer   s3cret "), "s3cret"));
	CHECK(!route_authorized(span_of("Basic s3cret"), "s3cret"));
	CHECK(!route_authorized(span_of("s3cret"), "s3cret"));
	CHECK(!route_authorized(span_of("Bearer"), "s3cret"));
	CHECK(!route_authorized(span_of("Bearer "), "s3cret"));
	CHECK(!route_authorized(span_of("Bearer s3cre"), "s3cret"));
	CHECK(!route_authorized(span_of("Bearer s3cretx"), "s3cret"));
	CHECK(!route_authorized(span_of("Bearer S3CRET"), "s3cret"));
	CHECK(!route_authorized(span_of("Bearer s3cret, Bearer s3cret"), "s3cret"));
	CHECK(!route_authorized(span_of(""), "s3cret"));
	CHECK(!route_authorized((struct span){ 0 }, "s3cret"));
}

int main(void)
{
	static const struct t_case cases[] = {
		T(every_route_has_its_handler),
		T(a_path_spelt_otherwise_is_no_path),
		T(an_absent_path_is_no_path),
		T(a_path_longer_than_the_limit_is_no_path),
		T(the_id_is_the_segment_where_the_pattern_has_it),
		T(a_name_is_all_that_is_left),
		T(a_method_the_path_has_not_finds_no_route_but_the_path),
		T(only_healthz_is_open),
		T(errors_are_worded_by_the_path_known_or_not),
		T(a_token_is_taken_as_bearer_only_and_whole),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
