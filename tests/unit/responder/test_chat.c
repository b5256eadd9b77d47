/*
 * test_chat.c - which requests wait in line, and which go straight on.
 */
#include <config.h>

#include "responder/chat.h"

#include "stage.h"
#include "store/look.h"

#define CHAT                                                                       \
	"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define REPLY                                                                      \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"                        \
	"Content-Length: 9\r\nConnection: close\r\n\r\n{\"ok\":1}\n"

/* The only job of the queue; job.id is empty when there is none. */
static struct job only_job(void)
{
	struct look_filter all = { .any_state = true, .limit = 2 };
	struct job *jobs, one = { 0 };
	char next[ULID_SIZE];
	size_t count;

	job_init(&one);
	STAGE_MUST(!look_jobs(stage.worker_db, &all, &jobs, &count, next));
	STAGE_MUST(count <= 1);
	if (count)
		one = jobs[0];
	free(jobs);
	return one;
}

static bool nothing_is_queued(void)
{
	struct job job = only_job();
	bool none = job.id[0] == '\0';

	job_done(&job);
	return none;
}

/* The request waits in the lot, as a job: true, and it leaves again. */
static bool waits(const char *path, const char *body)
{
	struct job job;
	bool ok;

	stage.web = stage_send("POST", path, NULL, body, true);
	job = only_job();
	ok = job.attended && strcmp(job.endpoint, path) == 0;
	job_done(&job);
	return ok;
}

static bool is_passed_on(const char *path, const char *body)
{
	struct said a;

	stage_target_says(REPLY);
	a = stage_ask("POST", path, NULL, body);
	return a.status == 200 && strcmp(a.body, "{\"ok\":1}\n") == 0 &&
	       strstr(stage_target_heard(), path) != NULL &&
	       strstr(stage_target_heard(), body) != NULL && nothing_is_queued();
}

/* --- the line ------------------------------------------------------------- */

static void a_chat_attaches_and_only_then_is_a_job_and_a_nudge(void)
{
	struct frame f;
	struct buf heard;
	struct job job;
	int relay;

	stage_up(NULL);
	buf_init(&heard, 1 << 20);
	stage.web = stage_send("POST", "/api/chat", NULL, CHAT, true);
	relay = stage_accept_relay();
	REQUIRE(relay >= 0);
	job = only_job();
	CHECK(job.attended);
	CHECK_INT(job.state, JOB_QUEUED);
	CHECK_STR(job.endpoint, "/api/chat");
	CHECK_STR(job.model, "m");
	CHECK_STR(job.load_key, "m:latest");
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_HELLO);
	f = stage_hear(relay, &heard);
	CHECK_INT(f.type, FRAME_ATTACH);
	CHECK_INT(f.role, FRAME_OWNER);
	CHECK_STR(f.id, job.id);
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_NUDGE);
	/* the client leaves: nothing but the end of the connection says so */
	fd_close(&stage.web);
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_TYPE_COUNT);
	job_done(&job);
	buf_done(&heard);
	close(relay);
	stage_down();
}

static void without_a_worker_it_waits_all_the_same(void)
{
	stage_up(NULL);
	fd_close(&stage.relay);
	unlink(stage.relay_path);
	CHECK(waits("/api/chat", CHAT));
	stage_down();
}

static void a_generate_waits(void)
{
	stage_up(NULL);
	CHECK(waits("/api/generate", "{\"model\":\"m\",\"prompt\":\"x\"}"));
	stage_down();
}

static void everything_of_the_kind_under_v1_waits(void)
{
	static const char *const paths[] = { "/v1/chat/completions", "/v1/completions",
		                                 "/v1/responses", "/v1/messages" };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		stage_up(NULL);
		if (!CHECK(waits(paths[i], "{\"model\":\"m\"}")))
			printf("# %s\n", paths[i]);
		stage_down();
	}
}

static void a_full_line_is_told_in_the_familys_shape(void)
{
	struct said a;

	stage_up("FOREMAN_MAX_QUEUE=1", NULL);
	CHECK(waits("/v1/messages", CHAT));
	a = stage_ask("POST", "/v1/chat/completions", NULL, CHAT);
	CHECK_INT(a.status, 503);
	CHECK(strstr(a.body, "{\"error\":{\"message\":\"server busy") == a.body);
	a = stage_ask("POST", "/v1/messages", NULL, CHAT);
	CHECK_INT(a.status, 503);
	CHECK(strstr(a.body, "{\"type\":\"error\",\"error\":{\"type\":"
	                     "\"overloaded_error\"") == a.body);
	stage_down();
}

static void a_client_that_waits_is_stored_with_its_harmless_headers(void)
{
	struct queue_input in = { 0 };
	struct job job;

	stage_up(NULL);
	stage.web = stage_send("POST", "/api/chat",
	                       "HTTP_CONTENT_TYPE=application/json\n"
	                       "HTTP_USER_AGENT=u/1\nHTTP_ACCEPT=a/b\n"
	                       "HTTP_ANTHROPIC_VERSION=1\nHTTP_AUTHORIZATION=Bearer x\n"
	                       "HTTP_COOKIE=c\nHTTP_OPENAI_BETA=\n"
	                       "CONTENT_TYPE=invented\nHTTP_ORIGIN=http://o\n"
	                       "HTTP_HOST=h", CHAT, true);
	REQUIRE(queue_claim(stage.worker_db, 1, clock_wall_ms(), &job, &in, NULL) ==
	        ERR_OK);
	CHECK_STR(in.headers, "Accept: a/b\nContent-Type: application/json\n"
	                      "User-Agent: u/1\nOrigin: http://o\n"
	                      "Anthropic-Version: 1\n");
	free(in.body);
	free(in.headers);
	job_done(&job);
	stage_down();
}

static void our_own_origin_is_kept_from_the_target(void)
{
	struct queue_input in = { 0 };
	struct job job;

	stage_up(NULL);
	stage.web = stage_send("POST", "/api/chat",
	                       "HTTP_ORIGIN=https://h:8080\nHTTP_HOST=h:8080", CHAT,
	                       true);
	REQUIRE(queue_claim(stage.worker_db, 1, clock_wall_ms(), &job, &in, NULL) ==
	        ERR_OK);
	CHECK_STR(in.headers, NULL);
	free(in.body);
	free(in.headers);
	job_done(&job);
	stage_down();
}

/* Headers of so many bytes as lines, in one of them. */
static int asked_with_headers(size_t bytes)
{
	static const char name[] = "HTTP_ACCEPT=";
	size_t value = bytes - strlen("Accept: \n");
	char *text = malloc(sizeof(name) + value);
	struct said a;

	memcpy(text, name, sizeof(name));
	memset(text + sizeof(name) - 1, 'x', value);
	text[sizeof(name) - 1 + value] = '\0';
	a = stage_ask("POST", "/api/chat", text, "{}");
	free(text);
	return a.status;
}

static void headers_are_taken_up_to_the_limit(void)
{
	stage_up(NULL);
	stage_target_says(REPLY);
	CHECK_INT(asked_with_headers(LIMIT_REQUEST_HEADERS), 200);
	CHECK_INT(asked_with_headers(LIMIT_REQUEST_HEADERS + 1), 431);
	CHECK(nothing_is_queued());
	stage_down();
}

static void a_load_without_work_waits_as_it_needs_the_slot(void)
{
	stage_up(NULL);
	CHECK(waits("/api/chat", "{\"model\":\"m\"}"));
	stage_down();
}

static void a_full_line_is_refused_in_ollamas_words_and_stores_nothing(void)
{
	struct said a;
	struct job job;

	stage_up("FOREMAN_MAX_QUEUE=1", NULL);
	CHECK(waits("/api/chat", CHAT));
	a = stage_ask("POST", "/api/chat", NULL, CHAT);
	CHECK_INT(a.status, 503);
	CHECK_STR(a.body, "{\"error\":\"server busy, please try again.  "
	                  "maximum pending requests exceeded\"}");
	CHECK(strstr(a.headers, "Retry-After: ") != NULL);
	job = only_job();
	CHECK(job.id[0] != '\0');
	job_done(&job);
	stage_down();
}

/* --- past it -------------------------------------------------------------- */

static void what_cannot_be_stored_is_an_error_and_waits_for_nothing(void)
{
	struct buf heard;
	struct said a;
	int relay;

	stage_up(NULL);
	buf_init(&heard, 1 << 20);
	stage_files_may_grow(false);
	a = stage_ask("POST", "/api/chat", NULL, CHAT);
	stage_files_may_grow(true);
	CHECK_INT(a.status, 500);
	CHECK_STR(a.body, "{\"error\":\"the database cannot be used\"}");
	CHECK(nothing_is_queued());
	relay = stage_accept_relay(); /* attached, and left again without a word */
	REQUIRE(relay >= 0);
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_HELLO);
	CHECK_INT(stage_hear(relay, &heard).type, FRAME_ATTACH);
	CHECK(stage_readable(relay) && read(relay, &(char){ 0 }, 1) == 0);
	close(relay);
	buf_done(&heard);
	CHECK(waits("/api/chat", CHAT));
	stage_down();
}

static void what_the_target_cannot_parse_it_answers_itself(void)
{
	static const char *const bodies[] = { "",
		                                  " ",
		                                  "{",
		                                  "[]",
		                                  "hello",
		                                  "{\"model\":1}",
		                                  "{\"model\":\"m\",\"stream\":\"no\"}" };

	stage_up(NULL);
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		if (!CHECK(is_passed_on("/api/chat", bodies[i])))
			printf("# %s\n", bodies[i]);
	stage_down();
}

static void what_names_no_model_is_passed_on(void)
{
	stage_up(NULL);
	CHECK(is_passed_on("/api/chat", "{}"));
	CHECK(is_passed_on("/api/generate", "{\"model\":\"a b\"}"));
	stage_down();
}

static void an_unload_and_a_cloud_model_need_no_turn(void)
{
	stage_up(NULL);
	CHECK(is_passed_on("/api/chat", "{\"model\":\"m\",\"keep_alive\":0}"));
	CHECK(is_passed_on("/api/generate", "{\"model\":\"m\",\"keep_alive\":\"0s\"}"));
	CHECK(is_passed_on("/api/chat", "{\"model\":\"m:cloud\",\"messages\":[{}]}"));
	stage_down();
}

/* --- is there such a model? ----------------------------------------------- */

#define UNKNOWN "{\"model\":\"nope\",\"messages\":[{\"content\":\"hi\"}]}"

static void the_target_has(enum target_state state, const char *tags)
{
	struct errtext why;

	stage_up(NULL);
	stage_worker_says(
	    &(struct status){ .heartbeat_ms = clock_wall_ms(), .target = state });
	STAGE_MUST(!status_write_tags(stage.worker_db, tags, &why));
}

static void what_the_target_says_it_lacks_does_not_wait(void)
{
	struct said a;

	the_target_has(TARGET_UP, "{\"models\":[{\"name\":\"m:latest\"}]}");
	stage_target_says("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n"
	                  "Connection: close\r\n\r\nnope");
	CHECK(waits("/api/chat", CHAT)); /* a known one; only it is remembered */
	fd_close(&stage.web);
	a = stage_ask("POST", "/api/chat", NULL, UNKNOWN);
	CHECK_INT(a.status, 404);
	CHECK_STR(a.body, "nope");
	CHECK(strstr(a.headers, "Foreman-Job-Id") == NULL);
	CHECK(strstr(stage_target_heard(), UNKNOWN) != NULL);
	stage_down();
}

static void what_the_target_shows_waits_though_it_is_on_no_list(void)
{
	the_target_has(TARGET_UP, "{\"models\":[]}");
	stage_target_says(REPLY);
	CHECK(waits("/api/chat", UNKNOWN));
	CHECK(strstr(stage_target_heard(), "POST /api/show HTTP/1.1\r\n") ==
	      stage_target_heard());
	CHECK(strstr(stage_target_heard(), "\r\n\r\n{\"model\":\"nope\"}") != NULL);
	stage_down();
}

static void an_error_of_the_targets_is_no_word_about_the_model(void)
{
	the_target_has(TARGET_UP, "{\"models\":[]}");
	stage_target_says("HTTP/1.1 500 No\r\nContent-Length: 0\r\n"
	                  "Connection: close\r\n\r\n");
	CHECK(waits("/api/chat", UNKNOWN));
	stage_down();
}

static void a_target_that_is_away_is_not_asked(void)
{
	the_target_has(TARGET_DOWN, "{\"models\":[]}");
	stage_target_says("HTTP/1.1 404 Never\r\nContent-Length: 0\r\n"
	                  "Connection: close\r\n\r\n");
	CHECK(waits("/api/chat", UNKNOWN));
	CHECK_STR(stage_target_heard(), "");
	stage_down();
}

static void what_is_on_the_list_is_not_asked_for(void)
{
	the_target_has(TARGET_UP, "{\"models\":[{\"name\":\"a:latest\"},"
	                          "{\"name\":\"nope:latest\"},{\"name\":\"b\"}]}");
	stage_target_says(REPLY);
	CHECK(waits("/api/chat", UNKNOWN));
	CHECK_STR(stage_target_heard(), "");
	stage_down();
}

/* --- embeddings ----------------------------------------------------------- */

static void a_list_that_is_none_has_every_model(void)
{
	static const char *const lists[] = { "no JSON", "{", "" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		the_target_has(TARGET_UP, lists[i]);
		stage_target_says(REPLY);
		CHECK(waits("/api/chat", UNKNOWN));
		CHECK_STR(stage_target_heard(), "");
		stage_down();
	}
}

static void a_list_of_something_else_has_no_model(void)
{
	static const char *const lists[] = { "{\"models\":3}", "[]", "{\"models\":[7]}",
		                                 "{\"models\":[{\"name\":7},{\"a\":1}]}" };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		the_target_has(TARGET_UP, lists[i]);
		stage_target_says(REPLY);
		CHECK(waits("/api/chat", UNKNOWN));
		CHECK(strstr(stage_target_heard(), "POST /api/show ") != NULL);
		stage_down();
	}
}

static void a_target_that_hangs_up_is_no_word_about_the_model(void)
{
	the_target_has(TARGET_UP, "{\"models\":[]}");
	stage_target_says("");
	CHECK(waits("/api/chat", UNKNOWN));
	stage_down();
}

static void a_model_is_asked_for_with_our_token_and_again_on_one_line(void)
{
	stage_up("FOREMAN_OLLAMA_TOKEN=t0ken", NULL);
	stage_worker_says(&(struct status){ .heartbeat_ms = clock_wall_ms(),
	                                    .target = TARGET_UP });
	STAGE_MUST(!status_write_tags(stage.worker_db, "{\"models\":[]}", NULL));
	stage_target_says("HTTP/1.1 500 No\r\nContent-Length: 0\r\n"
	                  "Connection: close\r\n\r\n");
	for (int i = 0; i < 2; i++) {
		stage.web = stage_send("POST", "/api/chat", NULL, UNKNOWN, true);
		CHECK(strstr(stage_target_heard(), "Authorization: Bearer t0ken\r\n"));
		fd_close(&stage.web);
	}
	stage_down();
}

/* The seat's memory of the list's word is as old as it may get. */
static void a_model_that_was_listed_is_looked_for_again_in_time(void)
{
	the_target_has(TARGET_UP, "{\"models\":[{\"name\":\"nope:latest\"}]}");
	stage_target_says(REPLY);
	CHECK(waits("/api/chat", UNKNOWN));
	fd_close(&stage.web);
	STAGE_MUST(!status_write_tags(stage.worker_db, "{\"models\":[]}", NULL));
	stage.web = stage_send("POST", "/api/chat", NULL, UNKNOWN, true);
	CHECK_STR(stage_target_heard(), "");
	fd_close(&stage.web);
	stage.seat.known_mono_ms -= LIMIT_TAGS_MS;
	stage.web = stage_send("POST", "/api/chat", NULL, UNKNOWN, true);
	CHECK(strstr(stage_target_heard(), "POST /api/show ") != NULL);
	stage_down();
}

static void who_cannot_read_the_list_waits(void)
{
	stage_up(NULL);
	stage_reads("/nonexistent/foreman.db");
	CHECK(waits("/api/chat", CHAT));
	fd_close(&stage.web);
	stage_down();
	stage_up(NULL);
	stage_reads(stage_hollow_db(SCHEMA_VERSION));
	CHECK(waits("/api/chat", CHAT));
	stage_down();
}

static void who_asks_for_a_stream_is_kept_alive_in_its_form(void)
{
	struct said a;

	stage_up("FOREMAN_KEEPALIVE=100ms", NULL);
	stage.web = stage_send("POST", "/v1/chat/completions", NULL,
	                       "{\"model\":\"m\",\"stream\":true,\"messages\":[{}]}",
	                       true);
	a = stage_listen(stage.web, ":\n\n");
	CHECK_STR(a.body, ":\n\n");
	CHECK(strstr(a.headers, "Content-Type: text/event-stream\r\n") != NULL);
	fd_close(&stage.web);
	stage.web = stage_send("POST", "/v1/chat/completions", NULL,
	                       "{\"model\":\"m\",\"messages\":[{}]}", true);
	a = stage_listen(stage.web, "\n\r\n ");
	CHECK(strstr(a.headers, "Content-Type: application/json; charset=utf-8\r\n"));
	fd_close(&stage.web);
	stage.web = stage_send("POST", "/api/chat", NULL, CHAT, true);
	a = stage_listen(stage.web, "\n\r\n ");
	CHECK(strstr(a.headers, "Content-Type: application/x-ndjson\r\n") != NULL);
	stage_down();
}

static void without_an_embedder_every_embedding_goes_straight_on(void)
{
	stage_up(NULL);
	CHECK(is_passed_on("/api/embed", "{\"model\":\"e\",\"input\":\"x\"}"));
	CHECK(is_passed_on("/api/embeddings", "{\"model\":\"e\",\"prompt\":\"x\"}"));
	CHECK(is_passed_on("/v1/embeddings", "{\"model\":\"e\",\"input\":\"x\"}"));
	stage_down();
}

static void the_resident_embedder_goes_straight_on(void)
{
	stage_up("FOREMAN_EMBED_MODEL=e", NULL);
	stage_worker_says(&(struct status){ .heartbeat_ms = clock_wall_ms(),
	                                    .target = TARGET_UP,
	                                    .embed_ready = true });
	CHECK(is_passed_on("/api/embed", "{\"model\":\"E:latest\",\"input\":\"x\"}"));
	CHECK(is_passed_on("/api/embed", "{"));
	CHECK(is_passed_on("/v1/embeddings", "{\"model\":\"e\",\"input\":\"x\"}"));
	stage_down();
}

static void an_embedder_that_is_not_resident_waits(void)
{
	stage_up("FOREMAN_EMBED_MODEL=e", NULL);
	CHECK(waits("/api/embed", "{\"model\":\"e\",\"input\":\"x\"}"));
	stage_down();
}

static void an_embedder_that_cannot_be_looked_for_waits_or_is_told(void)
{
	static const char embed[] = "{\"model\":\"emb\",\"input\":\"x\"}";
	struct said a;

	stage_up("FOREMAN_EMBED_MODEL=emb", NULL);
	stage_target_says(REPLY);
	stage_reads(stage_hollow_db(SCHEMA_VERSION));
	CHECK(waits("/v1/embeddings", embed));
	fd_close(&stage.web);
	stage_reads("/nonexistent/foreman.db");
	a = stage_ask("POST", "/v1/embeddings", NULL, embed);
	CHECK_INT(a.status, 500);
	CHECK(strstr(a.body, "{\"error\":{\"message\":\"the database cannot be used") ==
	      a.body);
	CHECK_STR(stage_target_heard(), "");
	stage_down();
}

static void another_embedder_waits(void)
{
	stage_up("FOREMAN_EMBED_MODEL=e", NULL);
	stage_worker_says(&(struct status){ .heartbeat_ms = clock_wall_ms(),
	                                    .target = TARGET_UP,
	                                    .embed_ready = true });
	CHECK(waits("/api/embed", "{\"model\":\"other\",\"input\":\"x\"}"));
	stage_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_chat_attaches_and_only_then_is_a_job_and_a_nudge),
		T(without_a_worker_it_waits_all_the_same),
		T(a_generate_waits),
		T(everything_of_the_kind_under_v1_waits),
		T(a_full_line_is_told_in_the_familys_shape),
		T(a_client_that_waits_is_stored_with_its_harmless_headers),
		T(our_own_origin_is_kept_from_the_target),
		T(headers_are_taken_up_to_the_limit),
		T(a_load_without_work_waits_as_it_needs_the_slot),
		T(a_full_line_is_refused_in_ollamas_words_and_stores_nothing),
		T(what_cannot_be_stored_is_an_error_and_waits_for_nothing),
		T(what_the_target_cannot_parse_it_answers_itself),
		T(what_names_no_model_is_passed_on),
		T(an_unload_and_a_cloud_model_need_no_turn),
		T(what_the_target_says_it_lacks_does_not_wait),
		T(what_the_target_shows_waits_though_it_is_on_no_list),
		T(an_error_of_the_targets_is_no_word_about_the_model),
		T(a_target_that_is_away_is_not_asked),
		T(what_is_on_the_list_is_not_asked_for),
		T(a_list_that_is_none_has_every_model),
		T(a_list_of_something_else_has_no_model),
		T(a_target_that_hangs_up_is_no_word_about_the_model),
		T(a_model_is_asked_for_with_our_token_and_again_on_one_line),
		T(a_model_that_was_listed_is_looked_for_again_in_time),
		T(who_cannot_read_the_list_waits),
		T(who_asks_for_a_stream_is_kept_alive_in_its_form),
		T(without_an_embedder_every_embedding_goes_straight_on),
		T(the_resident_embedder_goes_straight_on),
		T(an_embedder_that_is_not_resident_waits),
		T(an_embedder_that_cannot_be_looked_for_waits_or_is_told),
		T(another_embedder_waits),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
