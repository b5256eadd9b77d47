/*
 * test_target.c - when the target counts as there, and what it holds.
 */
#include <config.h>

#include "worker/target.h"

#include "disk.h"
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

static void of_several_strangers_the_first_is_named_and_all_are_counted(void)
{
	struct target_ps ps = read_ps("{\"models\":[{\"name\":\"\"},{\"name\":\"b\"},"
	                              "{\"name\":\"c\"}]}",
	                              NULL, NULL);

	CHECK_INT(ps.others, 2); /* what has no name is none */
	CHECK_STR(ps.other, "b:latest");
}

static void cloud_models_and_the_embedder_do_not_turn_the_slot(void)
{
	CHECK(!target_key_rotates("", NULL)); /* the target will say what it thinks */

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

static void bytes_after_our_own_sleep_show_it_as_well(void)
{
	struct world w;
	struct target *t;
	int changes = 0;

	REQUIRE(world_begin(&w, NULL));
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, target_ready(t));
	target_slept(t);
	CHECK(!target_ready(t));
	target_hit(t);
	CHECK(target_ready(t));
	target_free(t);
	world_end(&w);
}

static struct status status_now(struct world *w)
{
	struct status s = { .target = TARGET_UNKNOWN };

	CHECK(status_read(w->db, true, &s) == ERR_OK);
	return s;
}

static bool status_says(struct world *w, const char *version, const char *error,
                        const char *tags)
{
	struct status s = status_now(w);
	bool says = (!version || (s.version && strcmp(s.version, version) == 0)) &&
	            (!error || (s.target_error && strstr(s.target_error, error))) &&
	            (!tags || (s.tags && strcmp(s.tags, tags) == 0));

	status_done(&s);
	return says;
}

/* Has it looked at all three, and begun again? */
static bool two_rounds(const struct world *w, struct target *t)
{
	target_look(t);
	return w->gets >= 4;
}

#define VERSION_64                                                                 \
	"0123456789012345678901234567890123456789012345678901234567890123"

static void a_target_that_answers_nonsense_is_there_all_the_same(void)
{
	static const char *const versions[] = { "<html>", "{}", "{\"version\":7}",
		                                    "{\"version\":\"" VERSION_64 "4\"}" };
	struct world w;
	struct target *t;
	struct status s;
	int changes = 0;

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		REQUIRE(world_begin(&w, NULL));
		w.version = versions[i];
		w.ps = "<html>";
		w.tags = "<html>";
		REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
		WORLD_UNTIL(&w, two_rounds(&w, t));
		CHECK(target_ready(t));
		CHECK(!target_knows_slots(t));
		CHECK(loop_turn(w.loop, 10, NULL) == ERR_OK);
		s = status_now(&w);
		CHECK_STR(s.version, NULL);
		status_done(&s);
		w.version = "{\"version\":\"" VERSION_64 "\"}";
		w.ps = "{\"models\":[]}";
		WORLD_UNTIL(&w, (target_look(t), target_knows_slots(t)));
		WORLD_UNTIL(&w, status_says(&w, VERSION_64, NULL, NULL));
		CHECK(!status_says(&w, NULL, NULL, "<html>"));
		target_free(t);
		world_end(&w);
	}
}

static void a_target_whose_version_is_an_error_is_not_there(void)
{
	struct world w;
	struct target *t;
	int changes = 0;

	REQUIRE(world_begin(&w, NULL));
	w.version = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, status_says(&w, NULL, "/api/version answered 502", NULL));
	CHECK(target_missing_ms(t) >= 0);
	CHECK(!target_answers(t));
	target_free(t);
	world_end(&w);
}

static void errors_of_the_other_two_looks_say_nothing_of_it(void)
{
	struct world w;
	struct target *t;
	int changes = 0;

	REQUIRE(world_begin(&w, NULL));
	w.ps = w.tags = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, two_rounds(&w, t));
	CHECK(target_answers(t));
	CHECK(!target_knows_slots(t));
	CHECK_INT(target_missing_ms(t), 0);
	target_free(t);
	world_end(&w);
}

/* The guest that asked for this, not answered yet. */
static struct guest *guest_at(struct world *w, const char *path)
{
	for (struct guest *g = w->guests; g; g = g->next)
		if (strstr(buf_str(&g->in), path))
			return g;
	return NULL;
}

/* This list of models comes as the transfer takes it, or as far as it does. */
static void guest_say_much(struct guest *g, const char *list, size_t len)
{
	struct world *w = g->world;
	int left = w->left;
	char *text = NULL;
	int whole = asprintf(&text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
	                     len, list);

	REQUIRE(whole > 0);
	for (int sent = 0; sent < whole && w->left == left;) {
		ssize_t n = send(g->fd, text + sent, (size_t)(whole - sent),
		                 MSG_DONTWAIT | MSG_NOSIGNAL);

		sent += n > 0 ? (int)n : 0;
		CHECK(loop_turn(w->loop, n > 0 ? 0 : 10, NULL) == ERR_OK);
	}
	free(text);
	if (w->left == left)
		guest_free(g);
}

/* Is a list of so many bytes stored, before the next look begins? */
static bool stores_a_list_of(size_t len)
{
	char *list = malloc(len + 1);
	struct world w;
	struct target *t = NULL;
	int changes = 0, gets;
	bool stored = false;

	if (!CHECK(list) || !world_begin(&w, NULL))
		return false;
	memset(list, ' ', len);
	memcpy(list, "{\"models\":[]", 12);
	memcpy(list + len - 1, "}", 2);
	w.tags = NULL;
	CHECK(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	for (int i = 0; i < 1000 && !guest_at(&w, "GET /api/tags "); i++)
		CHECK(loop_turn(w.loop, 10, NULL) == ERR_OK);
	gets = w.gets;
	if (CHECK(guest_at(&w, "GET /api/tags ")))
		guest_say_much(guest_at(&w, "GET /api/tags "), list, len);
	for (int i = 0; i < 1000 && w.gets == gets; i++) {
		target_look(t);
		CHECK(loop_turn(w.loop, 10, NULL) == ERR_OK);
	}
	CHECK(w.gets > gets);
	stored = status_says(&w, NULL, NULL, list);
	target_free(t);
	world_end(&w);
	free(list);
	return stored;
}

static void a_list_of_models_has_a_greatest_length(void)
{
	CHECK(stores_a_list_of(LIMIT_PROBE_REPLY));
	CHECK(!stores_a_list_of(LIMIT_PROBE_REPLY + 1));
}

static void a_look_that_a_dispatch_crossed_is_not_believed(void)
{
	struct world w;
	struct target *t;
	int changes = 0;

	REQUIRE(world_begin(&w, NULL));
	w.ps = NULL;
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, guest_at(&w, "GET /api/ps "));
	target_disturb(t,
	               true); /* a job came and went while the answer was under way */
	target_set_loaded(t, "m:latest");
	target_disturb(t, false);
	guest_say_either(guest_at(&w, "GET /api/ps "), "{\"models\":[]}");
	w.ps = "{\"models\":[{\"name\":\"m\"}]}";
	WORLD_UNTIL(&w, target_knows_slots(t)); /* by the next look */
	CHECK_STR(target_loaded(t), "m:latest");
	target_free(t);
	world_end(&w);
}

static void the_models_are_asked_for_now_and_then_and_stored_when_they_change(void)
{
	struct world w;
	struct target *t;
	int changes = 0;
	int64_t now_ms;

	REQUIRE(world_begin(&w, NULL));
	w.tags = "{\"models\":[1]}";
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, status_says(&w, NULL, NULL, "{\"models\":[1]}"));
	w.tags = "{\"models\":[2]}";
	now_ms = clock_mono_ms();
	for (int i = 0; i < 100; i++) { /* many rounds, all within LIMIT_TAGS_MS */
		now_ms += LIMIT_TAGS_MS / 200;
		clock_fake(now_ms, now_ms, now_ms);
		CHECK(loop_turn(w.loop, 5, NULL) == ERR_OK);
	}
	CHECK(status_says(&w, NULL, NULL, "{\"models\":[1]}"));
	for (int i = 0; i < 400 && !status_says(&w, NULL, NULL, "{\"models\":[2]}");
	     i++) {
		now_ms += LIMIT_TAGS_MS / 200;
		clock_fake(now_ms, now_ms, now_ms);
		CHECK(loop_turn(w.loop, 5, NULL) == ERR_OK);
	}
	CHECK(status_says(&w, NULL, NULL, "{\"models\":[2]}"));
	w.tags = "[";
	for (int i = 0; i < 400; i++) { /* the same again, or nonsense: left */
		now_ms += LIMIT_TAGS_MS / 200;
		clock_fake(now_ms, now_ms, now_ms);
		CHECK(loop_turn(w.loop, 5, NULL) == ERR_OK);
		if (i == 200)
			w.tags = "{\"models\":[2]}";
	}
	CHECK(status_says(&w, NULL, NULL, "{\"models\":[2]}"));
	clock_real();
	target_free(t);
	world_end(&w);
}

static void the_targets_token_goes_with_every_look(void)
{
	struct world w;
	struct target *t;
	int changes = 0;

	REQUIRE(world_begin(&w, "FOREMAN_OLLAMA_TOKEN=key-of-the-target"));
	w.ps = NULL;
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, guest_at(&w, "GET /api/ps "));
	CHECK(strstr(buf_str(&guest_at(&w, "GET /api/ps ")->in),
	             "\r\nAuthorization: Bearer key-of-the-target\r\n"));
	target_free(t);
	world_end(&w);
}

static void let_pass_by(struct world *w, int64_t *now_ms, int64_t ms,
                        int64_t step_ms)
{
	for (int64_t end_ms = *now_ms + ms; *now_ms < end_ms;) {
		*now_ms += step_ms;
		clock_fake(*now_ms, *now_ms, *now_ms);
		CHECK(loop_turn(w->loop, 1, NULL) == ERR_OK);
	}
}

/* Turns of 20 ms each. */
static void let_pass(struct world *w, int64_t *now_ms, int64_t ms)
{
	let_pass_by(w, now_ms, ms, 20);
}

#define A_LOOK_MS                                                                  \
	400 /* long enough for one to begin, and less than an interval                 \
	     */

static int64_t last_beat(struct world *w)
{
	struct status s = status_now(w);
	int64_t at_ms = s.heartbeat_ms;

	status_done(&s);
	return at_ms;
}

/* Turns of the loop while no time passes. */
static void turns_at(struct world *w, int64_t ms)
{
	clock_fake(ms, ms, ms);
	for (int i = 0; i < 10; i++)
		CHECK(loop_turn(w->loop, 1, NULL) == ERR_OK);
}

static void a_worker_with_nothing_to_tell_beats_all_the_same(void)
{
	struct world w;
	struct target *t;
	int changes = 0;
	int64_t now_ms;

	REQUIRE(world_begin(&w, NULL));
	w.conf.poll_interval_ms = 10 * LIMIT_HEARTBEAT_MS;
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, two_rounds(&w, t));
	now_ms = clock_mono_ms();
	clock_fake(now_ms, now_ms, now_ms);
	target_trouble(t, "news");
	turns_at(&w, now_ms);
	CHECK_INT(last_beat(&w), now_ms);
	turns_at(&w, now_ms + LIMIT_HEARTBEAT_MS - 1);
	CHECK_INT(last_beat(&w), now_ms);
	turns_at(&w, now_ms + LIMIT_HEARTBEAT_MS);
	CHECK_INT(last_beat(&w), now_ms + LIMIT_HEARTBEAT_MS);
	clock_real();
	target_free(t);
	world_end(&w);
}

/* A Mac in dark wake answers once and is gone again; one that has come back is
 * not kept waiting for the next poll. */
static void the_second_hit_is_looked_for_soon(void)
{
	struct world w;
	struct target *t;
	int changes = 0;
	int64_t now_ms = clock_mono_ms(), began_ms = now_ms;

	REQUIRE(world_begin(&w, NULL));
	clock_fake(now_ms, now_ms, now_ms);
	w.conf.poll_interval_ms = 10 * LIMIT_PROBE_AGAIN_MS;
	/* the round ends there */
	w.ps = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	target_miss(t, true, "gone");
	let_pass_by(&w, &now_ms, 100, 1);
	CHECK_INT(w.gets, 2);
	CHECK(!target_ready(t));
	now_ms = began_ms + LIMIT_PROBE_AGAIN_MS - 1 - 20;
	let_pass_by(&w, &now_ms, 20, 1);
	CHECK_INT(w.gets, 2);
	let_pass_by(&w, &now_ms, 200, 1);
	CHECK_INT(w.gets, 4);
	CHECK(target_ready(t));
	clock_real();
	target_free(t);
	world_end(&w);
}

/* A target that has slept for long is looked at every LIMIT_POLL_ASLEEP_MS. When
 * work comes, the next look is FOREMAN_POLL_INTERVAL after the last one, or now
 * if that was longer ago. */
static void a_nudge_looks_at_a_sleeping_target_sooner(void)
{
	const int64_t interval_ms = 1000;
	struct world w;
	struct target *t;
	int changes = 0, gets;
	int64_t now_ms = clock_mono_ms();

	REQUIRE(world_begin(&w, NULL));
	clock_fake(now_ms, now_ms, now_ms);
	w.version = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	target_nudge(t); /* nobody knows yet: nothing to hurry */
	let_pass(&w, &now_ms, 3 * interval_ms);
	now_ms += 80 * 60 * 1000;
	let_pass(&w, &now_ms, A_LOOK_MS);
	gets = w.gets;
	let_pass(&w, &now_ms, LIMIT_POLL_ASLEEP_MS - 2 * A_LOOK_MS);
	CHECK_INT(w.gets, gets); /* that long nothing */
	let_pass(&w, &now_ms, 2 * A_LOOK_MS);
	CHECK_INT(w.gets, gets + 1);
	target_nudge(t);
	target_nudge(t); /* twice is not sooner */
	let_pass(&w, &now_ms, 100);
	CHECK_INT(w.gets, gets + 1); /* it was just looked at */
	let_pass(&w, &now_ms, interval_ms);
	CHECK_INT(w.gets, gets + 2);
	now_ms += 80 * 60 * 1000; /* it sleeps on */
	let_pass(&w, &now_ms, A_LOOK_MS);
	gets = w.gets;
	let_pass(&w, &now_ms, 5 * interval_ms);
	CHECK_INT(w.gets, gets);
	target_nudge(t);
	let_pass(&w, &now_ms, A_LOOK_MS);
	CHECK_INT(w.gets, gets + 1); /* the last look was long ago */
	w.version = NULL;
	target_nudge(t);
	let_pass(&w, &now_ms, interval_ms);
	CHECK(guest_at(&w, "GET /api/version "));
	gets = w.gets;
	target_nudge(t); /* it is being looked at */
	let_pass(&w, &now_ms, A_LOOK_MS);
	CHECK_INT(w.gets, gets);
	clock_real();
	target_free(t);
	world_end(&w);
}

static void a_full_disk_makes_the_status_late_and_is_told_once(void)
{
	struct world w;
	struct target *t;
	int changes = 0;

	REQUIRE(world_begin(&w, NULL));
	disk.full = true;
	world_catch_log(LOG_ERROR);
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, target_knows_slots(t));
	CHECK(target_ready(t));
	for (int i = 0; i < 3; i++) {
		target_set_loaded(t, i % 2 ? "m:latest" : "n:latest");
		CHECK(loop_turn(w.loop, 10, NULL) == ERR_OK);
	}
	CHECK_INT(world_caught("cannot write the status"), 1);
	disk.full = false;
	target_set_loaded(t, "o:latest");
	WORLD_UNTIL(&w, status_says(&w, "0.33.0", NULL, NULL));
	target_free(t);
	world_end(&w);
}

static void a_list_of_models_the_disk_refused_is_stored_the_next_time(void)
{
	struct world w;
	struct target *t;
	int changes = 0;
	int64_t now_ms;

	REQUIRE(world_begin(&w, NULL));
	w.tags = NULL;
	REQUIRE(target_new(w.loop, w.db, &w.conf, count, &changes, &t) == ERR_OK);
	WORLD_UNTIL(&w, guest_at(&w, "GET /api/tags "));
	disk.full = true;
	world_catch_log(LOG_ERROR);
	w.tags = "{\"models\":[1]}";
	guest_say_either(guest_at(&w, "GET /api/tags "), w.tags);
	for (int i = 0; i < 10; i++)
		CHECK(loop_turn(w.loop, 10, NULL) == ERR_OK);
	disk.full = false;
	CHECK_INT(world_caught("cannot store the list of models"), 1);
	CHECK(!status_says(&w, NULL, NULL, w.tags));
	now_ms = clock_mono_ms();
	for (int i = 0; i < 400 && !status_says(&w, NULL, NULL, w.tags); i++) {
		now_ms += LIMIT_TAGS_MS / 200;
		clock_fake(now_ms, now_ms, now_ms);
		CHECK(loop_turn(w.loop, 5, NULL) == ERR_OK);
	}
	CHECK(status_says(&w, NULL, NULL, w.tags));
	clock_real();
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
		T(of_several_strangers_the_first_is_named_and_all_are_counted),
		T(it_is_missing_from_the_first_miss_to_the_next_hit),
		T(bytes_after_our_own_sleep_show_it_as_well),
		T(a_target_that_answers_nonsense_is_there_all_the_same),
		T(a_target_whose_version_is_an_error_is_not_there),
		T(errors_of_the_other_two_looks_say_nothing_of_it),
		T(a_look_that_a_dispatch_crossed_is_not_believed),
		T(the_models_are_asked_for_now_and_then_and_stored_when_they_change),
		T(the_targets_token_goes_with_every_look),
		T(a_list_of_models_has_a_greatest_length),
		T(a_worker_with_nothing_to_tell_beats_all_the_same),
		T(the_second_hit_is_looked_for_soon),
		T(a_nudge_looks_at_a_sleeping_target_sooner),
		T(a_full_disk_makes_the_status_late_and_is_told_once),
		T(a_list_of_models_the_disk_refused_is_stored_the_next_time),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
