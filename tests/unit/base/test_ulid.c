/*
 * test_ulid.c - ids only go up, and are read back strictly.
 *
 * sha_random is the test's own here (the archive's is then not linked), so
 * that the random part can be made to run over.
 */
#include <config.h>

#include "base/ulid.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/sha.h"
#include "t.h"

static enum { DICE_FAIR, DICE_HIGHEST, DICE_LOWEST, DICE_LOW_HALF } dice;

void sha_random(void *p, size_t len)
{
	bool ones = dice == DICE_HIGHEST || (dice == DICE_LOW_HALF && len == 8);

	memset(p, ones ? 0xff : 0, len);
	if (dice == DICE_FAIR && getrandom(p, len, 0) != (ssize_t)len)
		abort();
}

/* Each case begins at a later time than the one before ended at. */
static int64_t later_ms(void)
{
	static int64_t wall_ms = INT64_C(1795197600000);

	dice = DICE_FAIR;
	wall_ms += 1000000;
	clock_fake(wall_ms, 0, 0);
	return wall_ms;
}

static int64_t time_of(const char *id)
{
	static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	int64_t ms = 0;

	for (int i = 0; i < 10; i++)
		ms = ms * 32 + (strchr(alphabet, id[i]) - alphabet);
	return ms;
}

static void an_id_is_canonical_and_carries_the_time(void)
{
	int64_t now = later_ms();
	char id[ULID_SIZE], again[ULID_SIZE];

	ulid_new(id);
	CHECK_INT(strlen(id), ULID_LEN);
	CHECK_INT(time_of(id), now);
	CHECK_INT(ulid_parse(span_of(id), again), ERR_OK);
	CHECK_STR(again, id);
}

static void the_text_is_the_bits_in_order(void)
{
	char id[ULID_SIZE];

	clock_fake(later_ms(), 0, 0);
	dice = DICE_HIGHEST;
	ulid_new(id);
	CHECK_STR(id + 10, "ZZZZZZZZZZZZZZZZ");
	later_ms();
	dice = DICE_LOWEST;
	ulid_new(id);
	CHECK_STR(id + 10, "0000000000000000");
	ulid_new(id);
	CHECK_STR(id + 10, "0000000000000001");
	dice = DICE_HIGHEST;
	ulid_new(id);
	CHECK_STR(id + 10, "0000000004000001"); /* 1 + 2^32 */
}

static void ids_of_one_millisecond_go_up(void)
{
	int64_t now = later_ms();
	char last[ULID_SIZE], next[ULID_SIZE];

	ulid_new(last);
	for (int i = 0; i < 1000; i++) {
		ulid_new(next);
		REQUIRE(strcmp(next, last) > 0);
		CHECK_INT(time_of(next), now);
		memcpy(last, next, sizeof(last));
	}
}

static void ids_go_up_when_the_clock_steps_back(void)
{
	int64_t now = later_ms();
	char last[ULID_SIZE], next[ULID_SIZE];

	ulid_new(last);
	for (int i = 1; i < 1000; i++) {
		clock_fake(now - i * 3600, 0, 0);
		ulid_new(next);
		REQUIRE(strcmp(next, last) > 0);
		memcpy(last, next, sizeof(last));
	}
	clock_fake(now + 1, 0, 0);
	ulid_new(next);
	CHECK(strcmp(next, last) > 0);
	CHECK_INT(time_of(next), now + 1);
}

static void a_random_part_that_runs_over_moves_the_time_on(void)
{
	int64_t now = later_ms();
	char last[ULID_SIZE], next[ULID_SIZE];

	dice = DICE_HIGHEST;
	for (int i = 0; i < 5; i++) {
		ulid_new(next);
		CHECK_INT(time_of(next), now + i);
		CHECK(i == 0 || strcmp(next, last) > 0);
		memcpy(last, next, sizeof(last));
	}
	/* the clock comes to where the ids are already */
	clock_fake(now + 4, 0, 0);
	dice = DICE_FAIR;
	ulid_new(next);
	CHECK(strcmp(next, last) > 0);
	CHECK_INT(time_of(next), now + 5);
	later_ms();
}

static void the_low_half_carries_into_the_high(void)
{
	int64_t now = later_ms();
	char id[ULID_SIZE];

	dice = DICE_LOW_HALF; /* 16 bits of zeros, 64 of ones; steps of one */
	ulid_new(id);
	CHECK_STR(id + 10, "000FZZZZZZZZZZZZ");
	ulid_new(id);
	CHECK_STR(id + 10, "000G000000000000");
	CHECK_INT(time_of(id), now);
}

#define THREADS 4
#define IDS_EACH 2000

static char ids[THREADS * IDS_EACH][ULID_SIZE];

static void *make_ids(void *arg)
{
	char(*mine)[ULID_SIZE] = arg;

	for (int i = 0; i < IDS_EACH; i++)
		ulid_new(mine[i]);
	return NULL;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void threads_never_get_the_same_id(void)
{
	pthread_t threads[THREADS];

	later_ms();
	for (int i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, make_ids, ids[i * IDS_EACH]) ==
		        0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 1; i < THREADS * IDS_EACH; i++)
		CHECK(i % IDS_EACH == 0 || strcmp(ids[i], ids[i - 1]) > 0);
	qsort(ids, ARRAY_LEN(ids), sizeof(ids[0]), by_text);
	for (size_t i = 1; i < ARRAY_LEN(ids); i++)
		CHECK(strcmp(ids[i], ids[i - 1]) != 0);
}

static void *give_out(void *arg)
{
	char (*given)[ULID_SIZE] = arg;

	for (int i = 0; i < 1000; i++)
		ulid_new(given[i]);
	return NULL;
}

/* While another thread asks for ids as well. */
static void a_run_has_no_strangers_in_it(void)
{
	static char run[1000][ULID_SIZE], others[1000][ULID_SIZE];
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, give_out, others) == 0);
	ulid_run(run, 1000);
	pthread_join(thread, NULL);
	for (int i = 1; i < 1000; i++)
		CHECK(strcmp(run[i - 1], run[i]) < 0);
	for (int i = 0; i < 1000; i++)
		CHECK(strcmp(others[i], run[0]) < 0 || strcmp(others[i], run[999]) > 0);
}

static void lower_case_is_read_as_upper(void)
{
	char id[ULID_SIZE];

	CHECK_INT(ulid_parse(SPAN_LIT("01hxyz0000abcdefghjkmnpqrs"), id), ERR_OK);
	CHECK_STR(id, "01HXYZ0000ABCDEFGHJKMNPQRS");
	CHECK_INT(ulid_parse(SPAN_LIT("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), id), ERR_OK);
	CHECK_INT(ulid_parse(SPAN_LIT("00000000000000000000000000"), id), ERR_OK);
}

static void malformed_ids_are_refused(void)
{
	static const char *const bad[] = {
		"",
		"01HXYZ0000ABCDEFGHJKMNPQR",
		"01HXYZ0000ABCDEFGHJKMNPQRST",
		"8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
		"ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
		"01HXYZ0000ABCDEFGHJKMNPQRI",
		"01HXYZ0000ABCDEFGHJKMNPQRL",
		"01HXYZ0000ABCDEFGHJKMNPQRO",
		"01HXYZ0000ABCDEFGHJKMNPQRU",
		"01HXYZ0000ABCDEFGHJKMNPQRu",
		"01HXYZ0000ABCDEFGHJKMNPQR-",
		"01HXYZ0000ABCDEFGHJKMNPQR ",
		"01HXYZ0000ABCDEFGHJKMNPQ\xc3\xa9",
		"/1HXYZ0000ABCDEFGHJKMNPQRS",
		"\xffZZXYZ0000ABCDEFGHJKMNPQRS",
	};
	char id[ULID_SIZE] = "untouched";

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_INT(ulid_parse(span_of(bad[i]), id), ERR_INVAL);
	CHECK_INT(ulid_parse(SPAN_LIT("01HXYZ0000ABCDEFGHJKMNPQR\0"), id), ERR_INVAL);
	CHECK_INT(ulid_parse(span_of(NULL), id), ERR_INVAL);
	CHECK_STR(id, "untouched");
}

static void the_floor_of_a_moment_is_below_its_ids_and_above_all_before(void)
{
	char floor[ULID_SIZE], id[ULID_SIZE], earlier[ULID_SIZE];

	ulid_floor(0, floor);
	CHECK_STR(floor, "00000000000000000000000000");
	ulid_floor(-1, floor);
	CHECK_STR(floor, "00000000000000000000000000");
	ulid_floor(1469918176385, floor); /* the example of the ULID page */
	CHECK_STR(floor, "01ARYZ6S410000000000000000");
	ulid_floor(1469918176384, earlier);
	CHECK(strcmp(earlier, floor) < 0);
	CHECK(strcmp(earlier, "01ARYZ6S40TSV4RRFFQ69G5FAV") < 0);
	CHECK(strcmp("01ARYZ6S40TSV4RRFFQ69G5FAV", floor) < 0);
	ulid_new(id);
	CHECK(strcmp(floor, id) < 0);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_id_is_canonical_and_carries_the_time),
		T(the_text_is_the_bits_in_order),
		T(ids_of_one_millisecond_go_up),
		T(ids_go_up_when_the_clock_steps_back),
		T(a_random_part_that_runs_over_moves_the_time_on),
		T(the_low_half_carries_into_the_high),
		T(threads_never_get_the_same_id),
		T(a_run_has_no_strangers_in_it),
		T(lower_case_is_read_as_upper),
		T(malformed_ids_are_refused),
		T(the_floor_of_a_moment_is_below_its_ids_and_above_all_before),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
