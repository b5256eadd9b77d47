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

int main(void)
{
	static const struct t_case cases[] = {
		T(a_missing_embedder_is_loaded_with_an_embed_of_nothing),
		T(a_resident_embedder_is_left_alone),
		T(without_an_embedder_there_is_nothing_to_do),
		T(one_that_does_not_exist_is_not_asked_for_in_a_loop),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
