/* test_err.c - every code has a name, a text is one line that fits. */
#include <config.h>

#include "base/err.h"

#include <errno.h>

#include "t.h"

static void every_code_has_its_own_lower_case_name(void)
{
	for (int i = 0; i < ERR_COUNT; i++) {
		const char *name = err_name((enum err)i);

		REQUIRE(name && *name);
		for (const char *c = name; *c; c++)
			CHECK(*c >= 'a' && *c <= 'z');
		for (int j = 0; j < i; j++)
			CHECK(strcmp(name, err_name((enum err)j)) != 0);
	}
	CHECK_STR(err_name(ERR_OK), "ok");
	CHECK_STR(err_name(ERR_STALE), "stale");
	CHECK_STR(err_name(ERR_NOMEM), "nomem");
}

static void an_errno_says_what_to_do(void)
{
	static const struct {
		int number;
		enum err want;
	} cases[] = {
		{ EPIPE, ERR_CLOSED },  { ECONNRESET, ERR_CLOSED },
		{ ENOSPC, ERR_FULL },   { EDQUOT, ERR_FULL },
		{ ENOENT, ERR_NOENT },  { ENOTDIR, ERR_NOENT },
		{ EACCES, ERR_DENIED }, { EPERM, ERR_DENIED },
		{ EROFS, ERR_DENIED },  { ECONNREFUSED, ERR_NOENT },
		{ EAGAIN, ERR_BUSY },   { EADDRINUSE, ERR_BUSY },
		{ ENOMEM, ERR_NOMEM },  { EIO, ERR_IO },
		{ 0, ERR_IO }, /* a failure that left none is one all the same */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		CHECK_INT(err_of_errno(cases[i].number), cases[i].want);
}

static void a_text_is_set_and_wrapped(void)
{
	struct errtext t = { "" };

	errtext_set(&t, "byte %d", 12);
	CHECK_STR(t.s, "byte 12");
	errtext_wrap(&t, "cannot read '%s'", "x");
	CHECK_STR(t.s, "cannot read 'x': byte 12");
}

static void wrapping_nothing_leaves_no_colon_behind(void)
{
	struct errtext t = { "" };

	errtext_wrap(&t, "cannot start");
	CHECK_STR(t.s, "cannot start");
}

static void a_text_may_be_made_of_itself(void)
{
	struct errtext t = { "reason" };

	errtext_set(&t, "%s, and %s", t.s, t.s);
	CHECK_STR(t.s, "reason, and reason");
}

static void a_long_text_is_cut_to_fit(void)
{
	struct errtext t = { "" };
	char most[sizeof(t.s)], more[2 * sizeof(t.s)];

	memset(most, 'a', sizeof(most) - 1);
	most[sizeof(most) - 1] = '\0';
	memset(more, 'b', sizeof(more) - 1);
	more[sizeof(more) - 1] = '\0';
	errtext_set(&t, "%s", most);
	CHECK_STR(t.s, most);
	errtext_set(&t, "%s", more);
	CHECK_INT(strlen(t.s), sizeof(t.s) - 1);
	errtext_wrap(&t, "in front");
	CHECK_INT(strlen(t.s), sizeof(t.s) - 1);
	CHECK(strncmp(t.s, "in front: bbb", 13) == 0);
}

static void a_wrap_with_no_room_for_the_rest_stands_alone(void)
{
	for (size_t left = 0; left < 4; left++) {
		struct errtext t = { "old" };
		char wrap[sizeof(t.s)];
		size_t len = sizeof(t.s) - 1 - left;

		memset(wrap, 'w', len);
		wrap[len] = '\0';
		errtext_wrap(&t, "%s", wrap);
		CHECK(strncmp(t.s, wrap, len) == 0);
		CHECK(strlen(t.s) < sizeof(t.s));
	}
}

static void a_text_is_always_one_line(void)
{
	struct errtext t = { "" };

	errtext_set(&t, "no '%s'", "a\nb\r\x1b[2J\x7f");
	CHECK_STR(t.s, "no 'a?b??[2J?'");
	errtext_wrap(&t, "two\nlines");
	CHECK_STR(t.s, "two?lines: no 'a?b??[2J?'");
}

static void nobody_need_ask_why(void)
{
	errtext_set(NULL, "%s", "x");
	errtext_wrap(NULL, "%s", "x");
	CHECK(true);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(every_code_has_its_own_lower_case_name),
		T(an_errno_says_what_to_do),
		T(a_text_is_set_and_wrapped),
		T(wrapping_nothing_leaves_no_colon_behind),
		T(a_text_may_be_made_of_itself),
		T(a_long_text_is_cut_to_fit),
		T(a_wrap_with_no_room_for_the_rest_stands_alone),
		T(a_text_is_always_one_line),
		T(nobody_need_ask_why),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
