/*
 * test_embed.c - the embedder's slot.
 */
#include <config.h>

#include "worker/embed.h"

#include "world.h"

struct slot {
	struct world w;
	struct target *target;
	struct embed *embed;
	int over;
};

static void ignore(void *arg)
{
	(void)arg;
}

static void on_over(void *arg)
{
	struct slot *s = arg;

	s->over++;
}

static bool slot_begin(struct slot *s, const char *extra)
{
	*s = (struct slot){ .over = 0 };
	if (!world_begin(&s->w, extra))
		return false;
	CHECK(target_new(s->w.loop, s->w.db, &s->w.conf, ignore, s, &s->target) ==
	      ERR_OK);
	return CHECK(embed_new(s->w.loop, &s->w.conf, s->target, on_over, s,
	                       &s->embed) == ERR_OK);
}

static void slot_end(struct slot *s)
{
	embed_free(s->embed);
	target_free(s->target);
	world_end(&s->w);
}

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
