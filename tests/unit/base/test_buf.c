/* test_buf.c - a buf grows to its bound and not a byte further. */
#include <config.h>

#include "base/buf.h"

#include <stdlib.h>

#include "t.h"

static void bytes_are_kept_in_order(void)
{
	struct buf b;

	buf_init(&b, 1000);
	CHECK_INT(buf_add(&b, "one", 3), ERR_OK);
	CHECK_INT(buf_add_str(&b, ", two"), ERR_OK);
	CHECK_INT(buf_addf(&b, ", %d%s", 3, "!"), ERR_OK);
	CHECK_INT(b.len, 12);
	CHECK_STR(buf_str(&b), "one, two, 3!");
	buf_done(&b);
}

static void it_fills_to_its_bound_exactly(void)
{
	struct buf b;

	for (size_t max = 0; max < 200; max++) {
		buf_init(&b, max);
		for (size_t i = 0; i < max; i++)
			REQUIRE(buf_add(&b, "x", 1) == ERR_OK);
		CHECK_INT(buf_add(&b, "x", 1), ERR_TOOBIG);
		CHECK_INT(b.len, max);
		REQUIRE(buf_str(&b));
		CHECK_INT(strlen(buf_str(&b)), max);
		buf_done(&b);
	}
}

static void what_does_not_fit_is_refused_whole(void)
{
	struct buf b;

	buf_init(&b, 10);
	CHECK_INT(buf_add_str(&b, "1234567"), ERR_OK);
	CHECK_INT(buf_add_str(&b, "890+"), ERR_TOOBIG);
	CHECK_INT(buf_addf(&b, "%s", "890+"), ERR_TOOBIG);
	CHECK(buf_reserve(&b, 4) == NULL);
	CHECK(buf_reserve(&b, SIZE_MAX) == NULL);
	CHECK_STR(buf_str(&b), "1234567");
	CHECK_INT(buf_addf(&b, "%s", "890"), ERR_OK);
	CHECK_STR(buf_str(&b), "1234567890");
	buf_done(&b);
}

static void an_unbounded_buf_refuses_the_impossible(void)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	CHECK_INT(buf_add(&b, "x", 1), ERR_OK);
	CHECK_INT(buf_add(&b, "x", SIZE_MAX), ERR_TOOBIG);
	CHECK(buf_reserve(&b, SIZE_MAX - 1) == NULL);
	CHECK_STR(buf_str(&b), "x");
	buf_done(&b);
}

static void nothing_may_be_added(void)
{
	struct buf b;

	buf_init(&b, 0);
	CHECK_INT(buf_add(&b, NULL, 0), ERR_OK);
	CHECK_INT(buf_add_str(&b, ""), ERR_OK);
	CHECK_INT(buf_addf(&b, "%s", ""), ERR_OK);
	CHECK(buf_reserve(&b, 0) != NULL);
	CHECK_INT(b.len, 0);
	CHECK_STR(buf_str(&b), "");
	buf_done(&b);
}

static void reserved_room_counts_once_committed(void)
{
	struct buf b;
	char *room;

	buf_init(&b, 300);
	CHECK_INT(buf_add_str(&b, "ab"), ERR_OK);
	room = buf_reserve(&b, 298);
	REQUIRE(room);
	memset(room, 'c', 298);
	CHECK_INT(b.len, 2);
	buf_commit(&b, 3);
	CHECK_STR(buf_str(&b), "abccc");
	buf_commit(&b, 0);
	CHECK_INT(b.len, 5);
	buf_done(&b);
}

static void the_front_can_be_consumed(void)
{
	struct buf b;

	buf_init(&b, 10);
	buf_consume(&b, 0);
	CHECK_INT(buf_add_str(&b, "0123456789"), ERR_OK);
	buf_consume(&b, 0);
	buf_consume(&b, 4);
	CHECK_STR(buf_str(&b), "456789");
	CHECK_INT(buf_add_str(&b, "abcd"), ERR_OK);
	CHECK_STR(buf_str(&b), "456789abcd");
	buf_consume(&b, 10);
	CHECK_INT(b.len, 0);
	buf_done(&b);
}

static void a_string_can_be_had_of_an_empty_buf(void)
{
	struct buf b;

	buf_init(&b, 10);
	CHECK_STR(buf_str(&b), "");
	buf_done(&b);
}

static void clearing_keeps_the_memory(void)
{
	struct buf b;
	const char *p;

	buf_init(&b, 10);
	CHECK_INT(buf_add_str(&b, "0123456789"), ERR_OK);
	p = b.p;
	buf_clear(&b);
	CHECK_INT(b.len, 0);
	CHECK_INT(buf_add_str(&b, "9876543210"), ERR_OK);
	CHECK(b.p == p);
	buf_done(&b);
}

static void taken_bytes_outlive_the_buf(void)
{
	struct buf b;
	size_t len = 99;
	char *p;

	buf_init(&b, 10);
	CHECK(buf_take(&b, &len) == NULL);
	CHECK_INT(len, 0);
	CHECK_INT(buf_add(&b, "a\0b", 3), ERR_OK);
	p = buf_take(&b, &len);
	REQUIRE(p);
	CHECK_INT(len, 3);
	CHECK(memcmp(p, "a\0b", 4) == 0);
	CHECK(b.p == NULL);
	CHECK_INT(buf_add_str(&b, "0123456789"), ERR_OK);
	buf_done(&b);
	CHECK(memcmp(p, "a\0b", 4) == 0);
	free(p);
}

static void done_leaves_a_buf_that_can_be_used(void)
{
	struct buf zeroed = { 0 };
	struct buf b;

	buf_done(&zeroed);
	buf_init(&b, 3);
	CHECK_INT(buf_add_str(&b, "abc"), ERR_OK);
	buf_done(&b);
	buf_done(&b);
	CHECK(b.p == NULL);
	CHECK_INT(b.len, 0);
	CHECK_INT(buf_add_str(&b, "abc"), ERR_OK);
	CHECK_INT(buf_add_str(&b, "d"), ERR_TOOBIG);
	buf_done(&b);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(bytes_are_kept_in_order),
		T(it_fills_to_its_bound_exactly),
		T(what_does_not_fit_is_refused_whole),
		T(an_unbounded_buf_refuses_the_impossible),
		T(nothing_may_be_added),
		T(reserved_room_counts_once_committed),
		T(the_front_can_be_consumed),
		T(a_string_can_be_had_of_an_empty_buf),
		T(clearing_keeps_the_memory),
		T(taken_bytes_outlive_the_buf),
		T(done_leaves_a_buf_that_can_be_used),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
