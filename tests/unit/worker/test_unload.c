/*
 * test_unload.c - a wedged model is taken out.
 */
#include <config.h>

#include "worker/unload.h"

#include "slot.h"

#define UNLOADED "HTTP/1.1 200 OK\r\n\r\n{\"done\":true,\"done_reason\":\"unload\"}"

static void nothing_wanted_is_nothing_done(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, NULL));
	CHECK(!unload_step(s.unload));
	CHECK_INT(s.w.posts, 0);
	slot_end(&s);
}

static void a_model_is_unloaded_once_and_the_slot_is_unknown(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, NULL));
	s.w.answer = UNLOADED;
	target_set_loaded(s.target, "m:latest");
	unload_want(s.unload, "other");
	unload_want(s.unload, "m"); /* the latest counts */
	CHECK(unload_step(s.unload));
	CHECK(unload_step(s.unload)); /* still at it */
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_INT(s.w.posts, 1);
	CHECK_STR(s.w.last_post, "/api/generate");
	CHECK_STR(s.w.last_body, "{\"model\":\"m\",\"keep_alive\":0}");
	CHECK_STR(target_loaded(s.target), NULL);
	CHECK(!unload_step(s.unload));
	slot_end(&s);
}

static void an_unloaded_embedder_is_not_resident(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, "FOREMAN_EMBED_MODEL=e"));
	s.w.answer = UNLOADED;
	target_set_loaded(s.target, "m:latest");
	target_set_embed_ready(s.target, true);
	unload_want(s.unload, "e:latest");
	CHECK(unload_step(s.unload));
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK(!target_embed_ready(s.target));
	CHECK_STR(target_loaded(s.target), "m:latest");
	slot_end(&s);
}

static void a_refusal_is_the_end_of_it(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, NULL));
	s.w.answer = "HTTP/1.1 500 No\r\n\r\n{}";
	target_set_loaded(s.target, "m:latest");
	unload_want(s.unload, "m");
	CHECK(unload_step(s.unload));
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_STR(target_loaded(s.target), NULL);
	CHECK(!unload_step(s.unload));
	CHECK_INT(s.w.posts, 1);
	slot_end(&s);
}

static void a_connection_that_dies_is_the_end_of_it_as_well(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, "FOREMAN_EMBED_MODEL=e"));
	s.w.answer = "";
	target_set_loaded(s.target, "m:latest");
	target_set_embed_ready(s.target, true);
	unload_want(s.unload, "m");
	world_catch_log(LOG_WARN);
	CHECK(unload_step(s.unload));
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_INT(world_caught("cannot unload a model"), 1);
	CHECK_STR(target_loaded(s.target), NULL);
	CHECK(target_embed_ready(s.target)); /* the other slot is another matter */
	CHECK(!unload_step(s.unload));
	slot_end(&s);
}

static void what_is_wanted_while_one_is_under_way_is_not(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, "FOREMAN_OLLAMA_TOKEN=key-of-the-target"));
	unload_want(s.unload, "m");
	CHECK(unload_step(s.unload));
	WORLD_UNTIL(&s.w, s.w.posts == 1);
	CHECK(strstr(s.w.last_head, "\r\nAuthorization: Bearer key-of-the-target\r\n"));
	unload_want(s.unload, "n");
	world_catch_log(LOG_WARN);
	world_answer(&s.w, UNLOADED);
	WORLD_UNTIL(&s.w, s.over == 1);
	CHECK_INT(world_caught("msg=\"wedged model unloaded\" model=m"), 1);
	CHECK(!unload_step(s.unload));
	CHECK_INT(s.w.posts, 1);
	slot_end(&s);
}

static void one_under_way_is_torn_down_with_the_rest(void)
{
	struct slot s;

	REQUIRE(slot_begin(&s, NULL));
	unload_want(s.unload, "m");
	CHECK(unload_step(s.unload));
	WORLD_UNTIL(&s.w, s.w.posts == 1);
	slot_end(&s);
	CHECK_INT(s.over, 0);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(nothing_wanted_is_nothing_done),
		T(a_model_is_unloaded_once_and_the_slot_is_unknown),
		T(an_unloaded_embedder_is_not_resident),
		T(a_refusal_is_the_end_of_it),
		T(a_connection_that_dies_is_the_end_of_it_as_well),
		T(what_is_wanted_while_one_is_under_way_is_not),
		T(one_under_way_is_torn_down_with_the_rest),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
