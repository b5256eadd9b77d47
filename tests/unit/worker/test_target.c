/*
 * test_target.c - when the target counts as there, and what it holds.
 */
#include <config.h>

#include "worker/target.h"

#include "world.h"

/* --- the judge ------------------------------------------------------------- */

static void at_the_start_one_hit_is_enough(void)
{
	struct target_judge j = { 0 };

	CHECK(target_judge_hit(&j));
	CHECK_INT(j.state, TARGET_UP);
	CHECK(!target_judge_hit(&j));
}

static void three_misses_in_a_row_are_down(void)
{
	struct target_judge j = { 0 };

	target_judge_hit(&j);
	CHECK(target_judge_miss(&j, false));
	CHECK_INT(j.state, TARGET_SUSPECT);
	CHECK(!target_judge_miss(&j, false));
	CHECK_INT(j.state, TARGET_SUSPECT);
	CHECK(target_judge_miss(&j, false));
	CHECK_INT(j.state, TARGET_DOWN);
}

static void a_hit_between_misses_starts_the_count_again(void)
{
	struct target_judge j = { 0 };

	target_judge_hit(&j);
	target_judge_miss(&j, false);
	target_judge_miss(&j, false);
	CHECK(target_judge_hit(&j));
	CHECK_INT(j.state, TARGET_UP);
	target_judge_miss(&j, false);
	target_judge_miss(&j, false);
	CHECK_INT(j.state, TARGET_SUSPECT);
}

static void two_refusals_are_down_and_one_at_the_very_start(void)
{
	struct target_judge j = { 0 };

	target_judge_hit(&j);
	target_judge_miss(&j, true);
	CHECK_INT(j.state, TARGET_SUSPECT);
	CHECK(target_judge_miss(&j, true));
	CHECK_INT(j.state, TARGET_DOWN);
	j = (struct target_judge){ 0 };
	CHECK(target_judge_miss(&j, true));
	CHECK_INT(j.state, TARGET_DOWN);
	j = (struct target_judge){ 0 };
	target_judge_miss(&j, false);
	CHECK_INT(j.state, TARGET_SUSPECT);
}

static void after_down_it_takes_two_hits_with_no_miss_between(void)
{
	struct target_judge j = { 0 };

	target_judge_miss(&j, true);
	CHECK(!target_judge_hit(&j));
	CHECK_INT(j.state, TARGET_DOWN);
	target_judge_miss(&j, false);
	CHECK(!target_judge_hit(&j));
	CHECK(target_judge_hit(&j));
	CHECK_INT(j.state, TARGET_UP);
}

static void the_poll_slows_down_only_while_it_is_away(void)
{
	CHECK_INT(target_interval_ms(TARGET_UP, 1 << 30, 5000), 5000);
	CHECK_INT(target_interval_ms(TARGET_DOWN, 10 * 60000 - 1, 5000), 5000);
	CHECK_INT(target_interval_ms(TARGET_DOWN, 10 * 60000, 5000),
	          LIMIT_POLL_ASLEEP_MS / 2);
	CHECK_INT(target_interval_ms(TARGET_DOWN, 70 * 60000, 5000),
	          LIMIT_POLL_ASLEEP_MS);
	CHECK_INT(target_interval_ms(TARGET_DOWN, 70 * 60000, 60000), 60000);
}

/* --- /api/ps --------------------------------------------------------------- */

static struct target_ps read_ps(const char *text, const char *loaded,
                                const char *embed)
{
	struct target_ps ps = { 0 };

	CHECK(target_read_ps(span_of(text), loaded, embed, &ps) == ERR_OK);
	return ps;
}

static void models_are_recognised_however_they_are_written(void)
{
	struct target_ps ps = read_ps("{\"models\":[{\"name\":\"Nomic:latest\"},"
	                              "{\"name\":\"qwen3:8b\"}]}",
	                              "qwen3:8b num_ctx=8192", "nomic");

	CHECK(ps.embed_resident);
	CHECK(ps.ours_resident);
	CHECK_INT(ps.others, 0);
}

static void a_stranger_in_the_slot_is_named(void)
{
	struct target_ps ps =
	    read_ps("{\"models\":[{\"name\":\"LLaMA3\"}]}", "qwen3:8b", NULL);

	CHECK(!ps.ours_resident && !ps.embed_resident);
	CHECK_INT(ps.others, 1);
	CHECK_STR(ps.other, "llama3:latest");
}

static void nothing_loaded_is_an_answer_and_nonsense_is_none(void)
{
	struct target_ps ps = read_ps("{\"models\":null}", "m", NULL);

	CHECK_INT(ps.others, 0);
	CHECK(target_read_ps(SPAN_LIT("{}"), NULL, NULL, &ps) == ERR_INVAL);
	CHECK(target_read_ps(SPAN_LIT("<html>"), NULL, NULL, &ps) == ERR_INVAL);
	CHECK(target_read_ps(SPAN_LIT(""), NULL, NULL, &ps) == ERR_INVAL);
	ps = read_ps("{\"models\":[1,{\"name\":7},{}]}", "m", NULL);
	CHECK_INT(ps.others, 0);
}

static void cloud_models_and_the_embedder_do_not_turn_the_slot(void)
{
	CHECK(target_key_rotates("qwen3:8b", NULL));
	CHECK(target_key_rotates("qwen3:8b", "nomic"));
	CHECK(!target_key_rotates("Nomic:latest", "nomic"));
	CHECK(!target_key_rotates("gpt-oss:120b-cloud", NULL));
}

/* --- the poller ------------------------------------------------------------ */

static void count(void *arg)
{
	++*(int *)arg;
}

static void the_poller_finds_the_target_and_tells_everybody(void)
{
	struct world w;
	struct target *t;
	struct status s;
	int changes = 0;

	REQUIRE(world_begin(&w, "FOREMAN_EMBED_MODEL=e"));
	w.ps = "{\"models\":[{\"name\":\"e:latest\"},{\"name\":\"m:latest\"}]}";
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	CHECK(!target_ready(t));
	WORLD_UNTIL(&w, target_knows_slots(t));
	CHECK(target_ready(t));
	CHECK(target_embed_ready(t));
	CHECK_STR(target_loaded(t), "m:latest");
	CHECK(changes > 0);
	do {
		CHECK(loop_turn(w.loop, 20, NULL) == ERR_OK);
		REQUIRE(status_read(w.db, true, &s) == ERR_OK);
		if (s.tags)
			break;
		status_done(&s);
	} while (true);
	CHECK_INT(s.target, TARGET_UP);
	CHECK_STR(s.version, "0.33.0");
	CHECK(s.embed_ready);
	CHECK_STR(s.tags, "{\"models\":[]}");
	CHECK_INT(s.worker_pid, getpid());
	status_done(&s);
	target_free(t);
	world_end(&w);
}

static void a_look_from_before_a_dispatch_is_not_believed(void)
{
	struct world w;
	struct target *t;
	int changes = 0;

	REQUIRE(world_begin(&w, NULL));
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, target_knows_slots(t));
	CHECK_STR(target_loaded(t), NULL);
	target_disturb(t, true);
	target_set_loaded(t, "m:latest"); /* it loads; /api/ps does not list it yet */
	for (int i = 0; i < 3; i++) {
		int64_t end_ms = clock_mono_ms() + 50;

		target_look(t);
		while (clock_mono_ms() < end_ms)
			CHECK(loop_turn(w.loop, 10, NULL) == ERR_OK);
	}
	CHECK_STR(target_loaded(t), "m:latest");
	target_disturb(t, false);
	target_look(t); /* now it should be there, and is not */
	WORLD_UNTIL(&w, !target_loaded(t));
	target_free(t);
	world_end(&w);
}

static void a_lost_target_must_show_itself_again(void)
{
	struct world w;
	struct target *t;
	int changes = 0;

	REQUIRE(world_begin(&w, NULL));
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, target_ready(t));
	target_miss(t, false, "gone");
	CHECK(!target_ready(t));
	changes = 0;
	WORLD_UNTIL(&w, target_ready(t));
	CHECK(changes > 0);
	w.dead = true;
	target_miss(t, false, "gone");
	target_miss(t, false, "gone");
	target_miss(t, false, "gone");
	CHECK(loop_turn(w.loop, 100, NULL) == ERR_OK);
	CHECK(!target_ready(t));
	target_hit(t); /* bytes on a stream: one hit */
	CHECK(!target_ready(t));
	target_hit(t);
	CHECK(target_ready(t));
	target_free(t);
	world_end(&w);
}

static void after_our_own_sleep_the_target_must_show_itself(void)
{
	struct world w;
	struct target *t;
	int changes = 0;

	REQUIRE(world_begin(&w, NULL));
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, target_ready(t));
	target_slept(t);
	CHECK(!target_ready(t));
	CHECK(target_answers(t)); /* nobody says it is gone */
	WORLD_UNTIL(&w, target_ready(t));
	target_free(t);
	world_end(&w);
}

static void it_is_missing_from_the_first_miss_to_the_next_hit(void)
{
	struct world w;
	struct target *t;
	int changes = 0;

	REQUIRE(world_begin(&w, NULL));
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, target_answers(t));
	CHECK_INT(target_missing_ms(t), 0);
	w.dead = true;
	WORLD_UNTIL(&w, !target_answers(t));
	WORLD_UNTIL(&w, target_missing_ms(t) > 0);
	target_hit(t); /* a byte */
	CHECK_INT(target_missing_ms(t), 0);
	target_free(t);
	world_end(&w);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(at_the_start_one_hit_is_enough),
		T(three_misses_in_a_row_are_down),
		T(a_hit_between_misses_starts_the_count_again),
		T(two_refusals_are_down_and_one_at_the_very_start),
		T(after_down_it_takes_two_hits_with_no_miss_between),
		T(the_poll_slows_down_only_while_it_is_away),
		T(models_are_recognised_however_they_are_written),
		T(a_stranger_in_the_slot_is_named),
		T(nothing_loaded_is_an_answer_and_nonsense_is_none),
		T(cloud_models_and_the_embedder_do_not_turn_the_slot),
		T(the_poller_finds_the_target_and_tells_everybody),
		T(a_look_from_before_a_dispatch_is_not_believed),
		T(a_lost_target_must_show_itself_again),
		T(after_our_own_sleep_the_target_must_show_itself),
		T(it_is_missing_from_the_first_miss_to_the_next_hit),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
