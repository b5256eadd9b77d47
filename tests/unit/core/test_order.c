/* Which job is next: one case a rule, then whole queues played through. */
#include <config.h>

#include "core/order.h"

#include <stdlib.h>

#include "base/attr.h"
#include "t.h"

#define A ORDER_ATTENDED
#define U ORDER_UNATTENDED

#define MINUTE INT64_C(60000)
#define NOW (INT64_C(1000) * MINUTE)

static const struct order_rules rules = { .max_wait_ms = 10 * MINUTE,
	                                      .linger_ms = 100 };

/* A drain that began a minute ago, its last job long over. */
static const struct order_state draining = { .any_loaded = true,
	                                         .drain_began_ms = NOW - MINUTE,
	                                         .class_served_ms = { NOW - 5,
	                                                              NOW - 5 },
	                                         .last_end_ms = NOW - 1000 };

static struct order_head head(int64_t seq, int64_t age_ms)
{
	return (struct order_head){ seq, NOW - age_ms };
}

static void is_choice(struct order_choice c, enum order_why why, int64_t seq,
                      bool other, enum order_class cls)
{
	CHECK_INT(c.why, why);
	CHECK_INT(c.seq, seq);
	CHECK_INT(c.other, other);
	CHECK_INT(c.cls, cls);
	CHECK_INT(c.wait_ms, 0);
}

static void nothing_waits_nothing_runs(void)
{
	struct order_heads h = { 0 };

	is_choice(order_next(&h, &draining, &rules, NOW), ORDER_NONE, 0, false, A);
	is_choice(order_next(&h, &(struct order_state){ 0 }, &rules, NOW), ORDER_NONE,
	          0, false, A);
}

static void the_loaded_key_goes_on_before_an_older_job_of_another(void)
{
	struct order_heads h = { .loaded[U] = head(9, 10),
		                     .other[U] = head(1, MINUTE) };

	is_choice(order_next(&h, &draining, &rules, NOW), ORDER_DRAIN, 9, false, U);
	h = (struct order_heads){ .loaded[A] = head(9, 10),
		                      .other[A] = head(1, MINUTE) };
	is_choice(order_next(&h, &draining, &rules, NOW), ORDER_DRAIN, 9, false, A);
}

static void an_empty_drain_swaps_to_the_oldest_other(void)
{
	struct order_heads h = { .other[U] = head(4, 10) };

	is_choice(order_next(&h, &draining, &rules, NOW), ORDER_SWAP, 4, true, U);
}

static void the_first_job_of_all_needs_a_load(void)
{
	struct order_heads h = { .other[U] = head(4, 10), .other[A] = head(5, 5) };

	is_choice(order_next(&h, &(struct order_state){ 0 }, &rules, NOW), ORDER_SWAP,
	          5, true, A);
}

static void someone_waiting_goes_before_nobody_waiting(void)
{
	struct order_heads h = { .loaded = { head(9, 10), head(2, MINUTE) },
		                     .other[U] = head(1, 2 * MINUTE) };

	is_choice(order_next(&h, &draining, &rules, NOW), ORDER_DRAIN, 9, false, A);
}

static void someone_waiting_for_another_model_goes_before_the_drain(void)
{
	struct order_heads h = { .loaded[U] = head(2, MINUTE),
		                     .other[A] = head(9, 10) };

	is_choice(order_next(&h, &draining, &rules, NOW), ORDER_SWAP, 9, true, A);
}

static void a_job_passed_over_for_the_bound_takes_the_turn(void)
{
	struct order_state s = draining;
	struct order_heads h = { .loaded = { head(8, 10), head(9, 10) },
		                     .other[U] = head(1, 10 * MINUTE) };

	s.drain_began_ms = NOW - 20 * MINUTE;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_OVERDUE, 1, true, U);
	h.other[U] = head(1, 10 * MINUTE - 1);
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_DRAIN, 8, false, A);
}

static void a_deep_backlog_counts_from_the_drains_beginning(void)
{
	struct order_state s = draining;
	struct order_heads h = { .loaded[U] = head(9, 500 * MINUTE),
		                     .other[U] = head(1, 900 * MINUTE) };

	s.drain_began_ms = NOW - 10 * MINUTE + 1;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_DRAIN, 9, false, U);
	s.drain_began_ms = NOW - 10 * MINUTE;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_OVERDUE, 1, true, U);
}

static void no_bound_means_no_overdue_job(void)
{
	struct order_rules unbounded = { .max_wait_ms = 0, .linger_ms = 100 };
	struct order_state s = draining;
	struct order_heads h = { .loaded[U] = head(9, 10), .other[U] = head(1, NOW) };

	s.drain_began_ms = 1;
	is_choice(order_next(&h, &s, &unbounded, NOW), ORDER_DRAIN, 9, false, U);
}

static void an_unattended_job_of_the_loaded_key_is_not_overtaken_for_ever(void)
{
	struct order_state s = draining;
	struct order_heads h = { .loaded = { head(9, 10), head(1, 30 * MINUTE) } };

	s.drain_began_ms = NOW - 60 * MINUTE;
	s.class_served_ms[U] = NOW - 10 * MINUTE;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_OVERDUE, 1, false, U);
	/* One was just served: the next waits its time again. */
	s.class_served_ms[U] = NOW - 10 * MINUTE + 1;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_DRAIN, 9, false, A);
	/* It entered the line only lately. */
	s.class_served_ms[U] = 0;
	h.loaded[U] = head(1, 10 * MINUTE - 1);
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_DRAIN, 9, false, A);
	/* The drain is young. */
	h.loaded[U] = head(1, 30 * MINUTE);
	s.drain_began_ms = NOW - 10 * MINUTE + 1;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_DRAIN, 9, false, A);
}

static void attended_ones_of_another_key_overtake_it_too(void)
{
	struct order_state s = draining;
	struct order_heads h = { .loaded[U] = head(1, 30 * MINUTE),
		                     .other[A] = head(9, 10) };

	s.drain_began_ms = NOW - 60 * MINUTE;
	s.class_served_ms[U] = NOW - 10 * MINUTE;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_OVERDUE, 1, false, U);
}

static void a_head_nobody_overtakes_is_plain_drain(void)
{
	struct order_state s = draining;
	struct order_heads h = { .loaded[U] = head(1, 30 * MINUTE) };

	s.drain_began_ms = NOW - 60 * MINUTE;
	s.class_served_ms[U] = NOW - 30 * MINUTE;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_DRAIN, 1, false, U);
}

static void of_two_overdue_jobs_the_longer_wait_wins(void)
{
	struct order_state s = draining;
	struct order_heads h = { .other = { head(7, 11 * MINUTE),
		                                head(9, 12 * MINUTE) } };

	s.drain_began_ms = NOW - 60 * MINUTE;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_OVERDUE, 9, true, U);
	h = (struct order_heads){ .other = { head(7, 12 * MINUTE),
		                                 head(9, 11 * MINUTE) } };
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_OVERDUE, 7, true, A);
}

static void of_two_equally_overdue_the_attended_one_wins(void)
{
	struct order_state s = draining;
	struct order_heads h = { .other = { head(9, 40 * MINUTE),
		                                head(1, 50 * MINUTE) } };

	/* Both count from the drain's beginning. */
	s.drain_began_ms = NOW - 11 * MINUTE;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_OVERDUE, 9, true, A);
}

static void of_two_equally_overdue_of_one_class_the_first_come_wins(void)
{
	struct order_state s = draining;
	struct order_heads h = { .loaded = { head(9, 1), head(3, 50 * MINUTE) },
		                     .other[U] = head(4, 50 * MINUTE) };

	s.drain_began_ms = NOW - 11 * MINUTE;
	s.class_served_ms[U] = 0;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_OVERDUE, 3, false, U);
	h.other[U].seq = 2;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_OVERDUE, 2, true, U);
}

static void before_a_swap_it_lingers_for_the_loaded_key(void)
{
	struct order_state s = draining;
	struct order_heads h = { .other[A] = head(4, 10) };
	struct order_choice c;

	s.last_end_ms = NOW - 30;
	c = order_next(&h, &s, &rules, NOW);
	CHECK_INT(c.why, ORDER_LINGER);
	CHECK_INT(c.wait_ms, 70);
	CHECK_INT(c.seq, 0);
	s.last_end_ms = NOW - 99;
	CHECK_INT(order_next(&h, &s, &rules, NOW).wait_ms, 1);
	s.last_end_ms = NOW;
	CHECK_INT(order_next(&h, &s, &rules, NOW).wait_ms, 100);
	s.last_end_ms = NOW - 100;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_SWAP, 4, true, A);
}

static void it_does_not_linger_when_there_is_nothing_to_gain(void)
{
	struct order_state s = draining;
	struct order_rules never = rules;
	struct order_heads h = { .other[U] = head(4, 10) };

	s.last_end_ms = NOW - 30;
	s.any_loaded = false;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_SWAP, 4, true, U);
	s.any_loaded = true;
	s.last_end_ms = 0;
	is_choice(order_next(&h, &s, &rules, 30), ORDER_SWAP, 4, true, U);
	s.last_end_ms = NOW - 30;
	never.linger_ms = 0;
	is_choice(order_next(&h, &s, &never, NOW), ORDER_SWAP, 4, true, U);
	/* The loaded key has a job, but someone waits for another model. */
	h = (struct order_heads){ .loaded[U] = head(1, 10), .other[A] = head(4, 10) };
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_SWAP, 4, true, A);
	/* No swap at all. */
	h = (struct order_heads){ .loaded[U] = head(1, 10) };
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_DRAIN, 1, false, U);
}

static void an_overdue_job_is_not_lingered_before(void)
{
	struct order_state s = draining;
	struct order_heads h = { .other[U] = head(4, 20 * MINUTE) };

	s.drain_began_ms = NOW - 20 * MINUTE;
	s.last_end_ms = NOW - 1;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_OVERDUE, 4, true, U);
}

static void a_clock_that_stepped_back_makes_nobody_overdue_and_holds_nobody(void)
{
	struct order_state s = { .any_loaded = true,
		                     .drain_began_ms = NOW + 60 * MINUTE,
		                     .class_served_ms = { NOW + 60 * MINUTE,
		                                          NOW + 60 * MINUTE },
		                     .last_end_ms = NOW + 60 * MINUTE };
	struct order_heads h = { .loaded = { head(8, -60 * MINUTE), head(9, 0) },
		                     .other = { head(1, -60 * MINUTE), head(2, 0) } };

	is_choice(order_next(&h, &s, &rules, NOW), ORDER_DRAIN, 8, false, A);
	h.loaded[A].seq = h.loaded[U].seq = 0;
	is_choice(order_next(&h, &s, &rules, NOW), ORDER_SWAP, 1, true, A);
}

/* --- whole queues, played through ---------------------------------------- */

enum { JOBS = 100 };

struct job {
	int key;
	enum order_class cls;
	int64_t queued_ms;
	int64_t began_ms; /* 0: waits */
};

struct play {
	struct job jobs[JOBS];
	struct order_state state;
	int loaded; /* key, -1: none */
	int loads;
	int64_t now_ms;
};

static struct order_heads heads_of(const struct play *p)
{
	struct order_heads h = { 0 };

	for (int i = JOBS - 1; i >= 0; i--) {
		const struct job *j = &p->jobs[i];
		struct order_head *at = j->key == p->loaded ? h.loaded : h.other;

		if (!j->began_ms && j->queued_ms <= p->now_ms)
			at[j->cls] = (struct order_head){ i + 1, j->queued_ms };
	}
	return h;
}

/* As the worker does: take the choice, load if it must, run for `run_ms`. */
static void play_all(struct play *p, const struct order_rules *r, int64_t run_ms)
{
	int done = 0;

	for (int turns = 0; done < JOBS && turns < 100 * JOBS; turns++) {
		struct order_heads h = heads_of(p);
		struct order_choice c = order_next(&h, &p->state, r, p->now_ms);
		struct job *j = c.seq ? &p->jobs[c.seq - 1] : NULL;

		if (!j) {
			p->now_ms += c.wait_ms ? c.wait_ms : 1000;
			continue;
		}
		CHECK(!j->began_ms);
		CHECK_INT(c.other, j->key != p->loaded);
		CHECK_INT(c.cls, j->cls);
		if (c.other) {
			p->loaded = j->key;
			p->loads++;
			p->state.any_loaded = true;
			p->state.drain_began_ms = p->now_ms;
		}
		p->state.class_served_ms[j->cls] = p->now_ms;
		j->began_ms = p->now_ms;
		p->now_ms += run_ms;
		p->state.last_end_ms = p->now_ms;
		done++;
	}
	CHECK_INT(done, JOBS);
}

static void a_hundred_interleaved_jobs_over_four_models_take_four_loads(void)
{
	struct play p = { .loaded = -1, .now_ms = NOW };

	for (int i = 0; i < JOBS; i++)
		p.jobs[i] = (struct job){ .key = i % 4, .cls = U, .queued_ms = NOW };
	play_all(&p, &rules, 2000);
	CHECK_INT(p.loads, 4);
}

static void so_do_old_ones_after_a_long_sleep(void)
{
	struct play p = { .loaded = -1, .now_ms = NOW };

	for (int i = 0; i < JOBS; i++)
		p.jobs[i] = (struct job){ .key = i % 4, .cls = U, .queued_ms = 1 + i };
	play_all(&p, &rules, 2000);
	CHECK_INT(p.loads, 4);
}

static void within_a_key_jobs_run_in_the_order_they_came(void)
{
	struct play p = { .loaded = -1, .now_ms = NOW };
	int64_t last[4] = { 0 };

	for (int i = 0; i < JOBS; i++)
		p.jobs[i] =
		    (struct job){ .key = (i * 7) % 4, .cls = U, .queued_ms = NOW + i };
	play_all(&p, &rules, 2000);
	for (int i = 0; i < JOBS; i++) {
		CHECK(p.jobs[i].began_ms > last[p.jobs[i].key]);
		last[p.jobs[i].key] = p.jobs[i].began_ms;
	}
}

static void an_endless_drain_does_not_starve_another_model(void)
{
	struct play p = { .loaded = 0, .now_ms = NOW };

	/* Key 0 gets a new job each time one ends; key 1 has one, at the start. */
	p.state = (struct order_state){ .any_loaded = true, .drain_began_ms = NOW };
	for (int i = 0; i < JOBS; i++)
		p.jobs[i] =
		    (struct job){ .key = i == 1,
			              .cls = i % 3 ? U : A,
			              .queued_ms = i < 2 ? NOW : NOW + (i - 2) * MINUTE };
	p.jobs[1].cls = U;
	play_all(&p, &rules, MINUTE);
	CHECK(p.jobs[1].began_ms - NOW >= 10 * MINUTE);
	CHECK(p.jobs[1].began_ms - NOW <= 12 * MINUTE);
}

static void endless_chats_do_not_starve_a_job_of_the_same_model(void)
{
	struct play p = { .loaded = 0, .now_ms = NOW };

	p.state = (struct order_state){ .any_loaded = true, .drain_began_ms = NOW };
	for (int i = 0; i < JOBS; i++)
		p.jobs[i] =
		    (struct job){ .key = 0, .cls = A, .queued_ms = NOW + i * MINUTE };
	p.jobs[5].cls = U;
	play_all(&p, &rules, MINUTE);
	CHECK(p.jobs[5].began_ms - p.jobs[5].queued_ms <= 11 * MINUTE);
	CHECK_INT(p.loads, 0);
}

static void a_lock_step_client_keeps_its_model(void)
{
	struct play p = { .loaded = -1, .now_ms = NOW };

	/* Key 1 waits all along; key 0's next job comes 10 ms after each end. */
	for (int i = 0; i < JOBS; i++)
		p.jobs[i] =
		    i < 50 ? (struct job){ .key = 0, .cls = U, .queued_ms = NOW + i * 1010 }
		           : (struct job){ .key = 1, .cls = U, .queued_ms = NOW + 1 };
	play_all(&p, &rules, 1000);
	CHECK_INT(p.loads, 2);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(nothing_waits_nothing_runs),
		T(the_loaded_key_goes_on_before_an_older_job_of_another),
		T(an_empty_drain_swaps_to_the_oldest_other),
		T(the_first_job_of_all_needs_a_load),
		T(someone_waiting_goes_before_nobody_waiting),
		T(someone_waiting_for_another_model_goes_before_the_drain),
		T(a_job_passed_over_for_the_bound_takes_the_turn),
		T(a_deep_backlog_counts_from_the_drains_beginning),
		T(no_bound_means_no_overdue_job),
		T(an_unattended_job_of_the_loaded_key_is_not_overtaken_for_ever),
		T(attended_ones_of_another_key_overtake_it_too),
		T(a_head_nobody_overtakes_is_plain_drain),
		T(of_two_overdue_jobs_the_longer_wait_wins),
		T(of_two_equally_overdue_the_attended_one_wins),
		T(of_two_equally_overdue_of_one_class_the_first_come_wins),
		T(before_a_swap_it_lingers_for_the_loaded_key),
		T(it_does_not_linger_when_there_is_nothing_to_gain),
		T(an_overdue_job_is_not_lingered_before),
		T(a_clock_that_stepped_back_makes_nobody_overdue_and_holds_nobody),
		T(a_hundred_interleaved_jobs_over_four_models_take_four_loads),
		T(so_do_old_ones_after_a_long_sleep),
		T(within_a_key_jobs_run_in_the_order_they_came),
		T(an_endless_drain_does_not_starve_another_model),
		T(endless_chats_do_not_starve_a_job_of_the_same_model),
		T(a_lock_step_client_keeps_its_model),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
