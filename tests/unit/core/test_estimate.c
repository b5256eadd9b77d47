/*
 * test_estimate.c - turns as core/order would give them, and their times.
 */
#include <config.h>

#include "core/estimate.h"

#include "t.h"

#include <stdlib.h>

#include "base/attr.h"
#include "core/order.h"

/* The answer for the job of `row` with so many before it. */
static struct estimate_answer answer(const struct estimate_now *now,
                                     const struct estimate_row *rows, size_t count,
                                     size_t row, int64_t ahead)
{
	struct estimate_answer a = { 0, -2, -2 };
	struct estimate e;

	CHECK_INT(estimate_make(now, rows, count, &e), ERR_OK);
	if (!estimate_job(&e, row, ahead, &a))
		a.place = 0;
	estimate_done(&e);
	return a;
}

static double empty_ms(const struct estimate_now *now,
                       const struct estimate_row *rows, size_t count)
{
	struct estimate e;
	double ms;

	CHECK_INT(estimate_make(now, rows, count, &e), ERR_OK);
	ms = e.empty_ms;
	estimate_done(&e);
	return ms;
}

/* --- places ---------------------------------------------------------------- */

#define KEYS 4
#define JOBS 40

struct waiter {
	int64_t seq;
	int key;
	bool attended;
	bool gone;
};

static struct order_head head_of(const struct waiter *w, const char *loaded,
                                 const char *const *keys, bool attended, bool other)
{
	for (int i = 0; i < JOBS; i++) {
		bool is_loaded = loaded && strcmp(keys[w[i].key], loaded) == 0;

		if (!w[i].gone && w[i].attended == attended && is_loaded != other)
			return (struct order_head){ w[i].seq, 1 };
	}
	return (struct order_head){ 0, 0 };
}

/* Let order_next run them all, and hold each to its foretold place. */
static void run_and_compare(struct waiter *w, const char *loaded,
                            const char *const *keys,
                            const struct estimate_row *rows, const size_t row_of[],
                            const int64_t ahead[])
{
	const struct estimate_now now = { .loaded_key = loaded };
	const struct order_rules rules = { 0, 0 };
	struct estimate e;

	REQUIRE(estimate_make(&now, rows, (size_t)KEYS * 2, &e) == ERR_OK);
	for (int place = 1; place <= JOBS; place++) {
		struct order_state state = { .any_loaded = loaded != NULL };
		struct estimate_answer a = { 0, 0, 0 };
		struct order_heads heads;
		struct order_choice choice;

		for (int c = 0; c < ORDER_CLASS_COUNT; c++) {
			heads.loaded[c] = head_of(w, loaded, keys, c == ORDER_ATTENDED, false);
			heads.other[c] = head_of(w, loaded, keys, c == ORDER_ATTENDED, true);
		}
		choice = order_next(&heads, &state, &rules, 2);
		CHECK(estimate_job(&e, row_of[choice.seq - 1], ahead[choice.seq - 1], &a));
		CHECK_INT(a.place, place);
		w[choice.seq - 1].gone = true;
		loaded = keys[w[choice.seq - 1].key];
	}
	estimate_done(&e);
}

static void places_are_those_that_order_gives(void)
{
	static const char *const keys[KEYS] = { "a", "b", "c", "d" };

	srand(5);
	for (int round = 0; round < 300; round++) {
		struct estimate_row rows[KEYS * 2] = { { .load_key = NULL } };
		struct waiter w[JOBS];
		size_t row_of[JOBS];
		int64_t ahead[JOBS];
		int mix = rand() % 5;

		for (size_t i = 0; i < (size_t)KEYS * 2; i++)
			rows[i] = (struct estimate_row){ .load_key = keys[i / 2],
				                             .attended = i % 2 != 0 };
		for (int i = 0; i < JOBS; i++) {
			w[i] = (struct waiter){ .seq = i + 1,
				                    .key = rand() % KEYS,
				                    .attended = rand() % 4 < mix };
			row_of[i] = (size_t)w[i].key * 2 + w[i].attended;
			ahead[i] = rows[row_of[i]].count++;
			if (ahead[i] == 0)
				rows[row_of[i]].head_seq = w[i].seq;
		}
		run_and_compare(w, round % 3 ? keys[rand() % KEYS] : NULL, keys, rows,
		                row_of, ahead);
	}
}

static void an_empty_line_is_empty_now(void)
{
	const struct estimate_now idle = { 0 };
	const struct estimate_now busy = { .busy_ms = 700 };

	CHECK_INT(empty_ms(&idle, NULL, 0), 0);
	CHECK_INT(empty_ms(&busy, NULL, 0), 700);
}

/* --- times ----------------------------------------------------------------- */

static void a_job_starts_after_what_is_before_it_and_each_load(void)
{
	const struct estimate_now now = { .loaded_key = "a", .busy_ms = 500 };
	const struct estimate_row rows[] = {
		{ "b", false, 2, 1, 3000, 2000 },
		{ "a", false, 3, 2, 9000, 1000 },
	};
	struct estimate_answer a = answer(&now, rows, 2, 1, 0);

	CHECK_INT(a.place, 1);
	CHECK_INT(a.starts_ms, 500); /* what runs ends first; no load */
	CHECK_INT(a.ends_ms, 1500);
	a = answer(&now, rows, 2, 1, 2);
	CHECK_INT(a.place, 3);
	CHECK_INT(a.starts_ms, 2500);
	a = answer(&now, rows, 2, 0, 0); /* its load is in its time */
	CHECK_INT(a.place, 4);
	CHECK_INT(a.starts_ms, 3500);
	CHECK_INT(a.ends_ms, 8500);
	a = answer(&now, rows, 2, 0, 1);
	CHECK_INT(a.starts_ms, 8500);
	CHECK_INT(a.ends_ms, 10500);
	CHECK_INT(empty_ms(&now, rows, 2), 10500);
	CHECK_INT(answer(&now, rows, 2, 0, 2).place, 0); /* there is none */
}

static void all_of_a_row_lasts_from_its_first_to_its_last(void)
{
	const struct estimate_now now = { .loaded_key = "a" };
	const struct estimate_row rows[] = { { "b", false, 3, 1, 100, 10 } };
	struct estimate_answer a;
	struct estimate e;

	REQUIRE(estimate_make(&now, rows, 1, &e) == ERR_OK);
	CHECK(estimate_all(&e, 0, 3, &a));
	CHECK_INT(a.starts_ms, 0);
	CHECK_INT(a.ends_ms, 130);
	CHECK(!estimate_all(&e, 1, 1, &a));
	estimate_done(&e);
}

static void what_needs_an_unknown_pace_is_not_told(void)
{
	const struct estimate_now now = { .loaded_key = "a" };
	const struct estimate_now strange = { .loaded_key = "a", .busy_ms = -1 };
	struct estimate_row rows[] = {
		{ "a", false, 1, 1, -1, 10 }, /* loaded: its load does not matter */
		{ "b", false, 1, 2, -1, 10 },
		{ "c", false, 1, 3, 5, 10 },
	};

	CHECK_INT(answer(&now, rows, 3, 0, 0).ends_ms, 10);
	CHECK(answer(&now, rows, 3, 1, 0).ends_ms < 0);   /* its own load */
	CHECK(answer(&now, rows, 3, 2, 0).starts_ms < 0); /* one before it */
	CHECK_INT(answer(&now, rows, 3, 2, 0).place, 3);
	CHECK(empty_ms(&now, rows, 3) < 0);
	rows[1].load_ms = 5;
	CHECK_INT(empty_ms(&now, rows, 3), 40);
	CHECK(answer(&strange, rows, 3, 0, 0).starts_ms < 0);
	CHECK(empty_ms(&strange, rows, 3) < 0);
	rows[1].run_ms = -1;
	CHECK(empty_ms(&now, rows, 3) < 0);
}

/* --- the bound ------------------------------------------------------------- */

static void the_bound_cuts_a_turn_for_those_who_wait(void)
{
	const struct estimate_now now = { .loaded_key = "a", .max_wait_ms = 1000 };
	const struct estimate_row rows[] = {
		{ "a", false, 8, 10, 50, 300 },
		{ "b", false, 2, 11, 50, 300 },
	};

	/* dispatched at 0, 300, 600, 900; then b with its load; then the rest */
	CHECK_INT(answer(&now, rows, 2, 0, 3).place, 4);
	CHECK_INT(answer(&now, rows, 2, 1, 0).place, 5);
	CHECK_INT(answer(&now, rows, 2, 1, 0).starts_ms, 1200);
	CHECK_INT(answer(&now, rows, 2, 0, 4).place, 7);
	CHECK_INT(answer(&now, rows, 2, 0, 4).starts_ms, 1200 + 50 + 600);
	CHECK_INT(answer(&now, rows, 2, 0, 7).place, 10);
}

static void a_run_longer_than_the_bound_is_a_turn_of_its_own(void)
{
	const struct estimate_now now = { .max_wait_ms = 100 };
	const struct estimate_row rows[] = {
		{ "a", false, 2, 1, 500, 300 },
		{ "b", false, 2, 2, 500, 300 },
	};

	CHECK_INT(answer(&now, rows, 2, 0, 0).place, 1);
	CHECK_INT(answer(&now, rows, 2, 1, 0).place, 2);
	CHECK_INT(answer(&now, rows, 2, 0, 1).place, 3);
	CHECK_INT(answer(&now, rows, 2, 1, 1).place, 4);
}

static void who_waits_alone_is_not_cut(void)
{
	const struct estimate_now now = { .loaded_key = "a", .max_wait_ms = 100 };
	const struct estimate_row rows[] = { { "a", false, 500, 1, 500, 300 } };

	CHECK_INT(answer(&now, rows, 1, 0, 499).place, 500);
	CHECK_INT(empty_ms(&now, rows, 1), 150000);
}

static void there_are_only_so_many_turns(void)
{
	const struct estimate_now now = { .max_wait_ms = 1 };
	struct estimate_row rows[] = {
		{ "a", false, ESTIMATE_TURNS_MAX / 2, 1, 0, 1 },
		{ "b", false, ESTIMATE_TURNS_MAX / 2, 2, 0, 1 },
	};

	CHECK_INT(empty_ms(&now, rows, 2), ESTIMATE_TURNS_MAX);
	rows[0].count++;
	rows[1].count++;
	CHECK(empty_ms(&now, rows, 2) < 0);
	CHECK_INT(answer(&now, rows, 2, 0, 5).place, 11);
	CHECK_INT(answer(&now, rows, 2, 1, rows[1].count - 1).place, 0);
}

/* --- what runs ------------------------------------------------------------- */

static void what_runs_is_given_what_is_left_of_its_mean(void)
{
	CHECK_INT(estimate_rest(5000, 1000, 300, -1), 700);
	CHECK_INT(estimate_rest(5000, 1000, 3300, 400), 600);
	CHECK_INT(estimate_rest(5000, 1000, 9300, 1400), 0);
	/* no answer in the time a run takes: it is loading */
	CHECK_INT(estimate_rest(5000, 1000, 1500, -1), 4500);
	CHECK_INT(estimate_rest(5000, 1000, 7000, -1), 0);
	CHECK_INT(estimate_rest(-1, 1000, 1500, -1), 0);
	CHECK(estimate_rest(5000, -1, 300, -1) < 0);
	CHECK_INT(estimate_rest(5000, 1000, -50, -1), 1050); /* a clock that stepped */
}

int main(void)
{
	static const struct t_case cases[] = {
		T(places_are_those_that_order_gives),
		T(an_empty_line_is_empty_now),
		T(a_job_starts_after_what_is_before_it_and_each_load),
		T(all_of_a_row_lasts_from_its_first_to_its_last),
		T(what_needs_an_unknown_pace_is_not_told),
		T(the_bound_cuts_a_turn_for_those_who_wait),
		T(a_run_longer_than_the_bound_is_a_turn_of_its_own),
		T(who_waits_alone_is_not_cut),
		T(there_are_only_so_many_turns),
		T(what_runs_is_given_what_is_left_of_its_mean),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
