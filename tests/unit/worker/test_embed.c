/*
 * test_embed.c - the embedder's slot.
 */
#include <config.h>

#include "worker/embed.h"

#include "slot.h"

#define EMBEDDED                                                                   \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"                    \
	"{\"model\":\"e\",\"embeddings\":[]}"

static void a_missing_embedder_is_loaded_with_an_embed_of_nothing(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, "FOREMAN_EMBED_MODEL=e"));
	s.w.answer = EMBEDDED;
	CHECK(!embed_step(s.embed)); /* nobody has looked yet what is there */
	WORLD_UNTIL(&s.w, target_knows_slots(s.target));
	CHECK(embed_step(s.embed));
	CHECK(embed_step(s.embed)); /* still at it */
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_INT(s.w.posts, 1);
	CHECK_STR(s.w.last_post, "/api/embed");
	CHECK_STR(s.w.last_body, "{\"model\":\"e\",\"input\":[],\"keep_alive\":-1}");
	CHECK(target_embed_ready(s.target));
	CHECK(!embed_step(s.embed));
	slot_end(&s);
}

static void a_resident_embedder_is_left_alone(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, "FOREMAN_EMBED_MODEL=e"));
	s.w.ps = "{\"models\":[{\"name\":\"e:latest\"}]}";
	WORLD_UNTIL(&s.w, target_knows_slots(s.target));
	CHECK(!embed_step(s.embed));
	CHECK_INT(s.w.posts, 0);
	slot_end(&s);
}

static void without_an_embedder_there_is_nothing_to_do(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, NULL));
	WORLD_UNTIL(&s.w, target_knows_slots(s.target));
	CHECK(!embed_step(s.embed));
	slot_end(&s);
}

static void one_that_does_not_exist_is_not_asked_for_in_a_loop(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, "FOREMAN_EMBED_MODEL=e"));
	s.w.answer = "HTTP/1.1 404 No\r\n\r\n{\"error\":\"model \\\"e\\\" not found\"}";
	WORLD_UNTIL(&s.w, target_knows_slots(s.target));
	CHECK(embed_step(s.embed));
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(!target_embed_ready(s.target));
	CHECK(!embed_step(s.embed)); /* not before LIMIT_EMBED_AGAIN_MS */
	CHECK_INT(s.w.posts, 1);
	slot_end(&s);
}

/* Time as told; a turn takes a millisecond of it, for transfers have timers. */
static int64_t told_ms;

static void now_is(int64_t ms)
{
	told_ms = ms;
	clock_fake(ms, ms, ms);
}

static void turn(struct slot *s)
{
	now_is(told_ms + 1);
	CHECK(loop_turn(s->w.loop, 5, NULL) == ERR_OK);
}

/* Whatever is under way comes to its end. */
static void end_it(struct slot *s)
{
	for (int turns = 0; turns < 50; turns++)
		turn(s);
}

/* Does it try at this time, and not a moment sooner? */
static bool tries_after(struct slot *s, int64_t ms)
{
	int64_t due_ms = told_ms + ms;
	bool soon;

	now_is(due_ms - 1);
	soon = embed_step(s->embed);
	now_is(due_ms);
	return !soon && embed_step(s->embed);
}

static void tries_come_further_and_further_apart(void)
{
	struct slot s;
	int64_t wait_ms = LIMIT_EMBED_AGAIN_MS;

	REQUIRE(slot_begin(&s, "FOREMAN_EMBED_MODEL=e"));
	s.w.answer = "HTTP/1.1 500 No\r\n\r\n{\"error\":\"no room\"}";
	WORLD_UNTIL(&s.w, target_knows_slots(s.target));
	now_is(clock_mono_ms());
	world_catch_log(LOG_WARN);
	CHECK(embed_step(s.embed));
	for (int i = 1; i < 6; i++) {
		int64_t asked_ms = told_ms;

		end_it(&s);
		CHECK(tries_after(&s, asked_ms + wait_ms - told_ms));
		wait_ms *= 2;
	}
	CHECK_INT(world_caught("cannot load the embedding model"), 1); /* told once */
	CHECK_INT(s.w.posts, 5);
	clock_real();
	slot_end(&s);
}

static void only_one_that_stayed_for_long_is_loaded_as_if_for_the_first_time(void)
{
	struct slot s;
	int64_t asked_ms;

	REQUIRE(slot_begin(&s, "FOREMAN_EMBED_MODEL=e"));
	s.w.answer = EMBEDDED;
	WORLD_UNTIL(&s.w, target_knows_slots(s.target));
	now_is(clock_mono_ms());
	asked_ms = told_ms;
	CHECK(embed_step(s.embed));
	s.w.ps = "{\"models\":[{\"name\":\"e\"}]}";
	end_it(&s);
	CHECK(!embed_step(s.embed));             /* resident from now */
	target_set_embed_ready(s.target, false); /* ... and soon pushed out */
	CHECK(tries_after(&s, asked_ms + LIMIT_EMBED_AGAIN_MS - told_ms));
	asked_ms = told_ms;
	end_it(&s);
	CHECK(!embed_step(s.embed));
	now_is(told_ms + LIMIT_EMBED_AGAIN_MAX_MS - 1);
	CHECK(!embed_step(s.embed)); /* for nearly long enough */
	target_set_embed_ready(s.target, false);
	CHECK(embed_step(s.embed));
	asked_ms = told_ms;
	end_it(&s);
	target_set_embed_ready(s.target, false);
	CHECK(tries_after(&s, asked_ms + 4 * LIMIT_EMBED_AGAIN_MS - told_ms));
	end_it(&s);
	CHECK(!embed_step(s.embed));
	now_is(told_ms + LIMIT_EMBED_AGAIN_MAX_MS);
	CHECK(!embed_step(s.embed));
	target_set_embed_ready(s.target, false);
	CHECK(embed_step(s.embed));
	asked_ms = told_ms;
	end_it(&s);
	target_set_embed_ready(s.target, false);
	CHECK(tries_after(&s, asked_ms + LIMIT_EMBED_AGAIN_MS - told_ms));
	clock_real();
	slot_end(&s);
}

static void a_target_that_goes_away_over_it_must_show_itself(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, "FOREMAN_EMBED_MODEL=e"));
	s.w.answer = ""; /* it closes the connection */
	WORLD_UNTIL(&s.w, target_knows_slots(s.target));
	CHECK(embed_step(s.embed));
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(!target_ready(s.target));
	CHECK(!target_embed_ready(s.target));
	slot_end(&s);
}

static void one_nobody_can_connect_to_must_show_itself_too(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, "FOREMAN_EMBED_MODEL=e"));
	WORLD_UNTIL(&s.w, target_knows_slots(s.target));
	loop_fd_del(s.w.watch);
	s.w.watch = NULL;
	fd_close(&s.w.listen_fd);
	CHECK(embed_step(s.embed));
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(!target_ready(s.target));
	slot_end(&s);
}

static void nonsense_for_an_answer_says_nothing_of_the_target(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, "FOREMAN_EMBED_MODEL=e"));
	s.w.answer = "SSH-2.0-OpenSSH_9.2\r\n";
	WORLD_UNTIL(&s.w, target_knows_slots(s.target));
	CHECK(embed_step(s.embed));
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(target_ready(s.target));
	CHECK(!target_embed_ready(s.target));
	slot_end(&s);
}

static void the_targets_token_goes_with_it(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, "FOREMAN_OLLAMA_TOKEN=key-of-the-target"));
	s.w.conf.embed_model = strdup("e");
	s.w.answer = EMBEDDED;
	WORLD_UNTIL(&s.w, target_knows_slots(s.target));
	CHECK(embed_step(s.embed));
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(strstr(s.w.last_head, "\r\nAuthorization: Bearer key-of-the-target\r\n"));
	slot_end(&s);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_missing_embedder_is_loaded_with_an_embed_of_nothing),
		T(a_resident_embedder_is_left_alone),
		T(without_an_embedder_there_is_nothing_to_do),
		T(one_that_does_not_exist_is_not_asked_for_in_a_loop),
		T(tries_come_further_and_further_apart),
		T(only_one_that_stayed_for_long_is_loaded_as_if_for_the_first_time),
		T(a_target_that_goes_away_over_it_must_show_itself),
		T(one_nobody_can_connect_to_must_show_itself_too),
		T(nonsense_for_an_answer_says_nothing_of_the_target),
		T(the_targets_token_goes_with_it),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
