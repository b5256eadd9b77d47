/*
 * test_memory.c - what base does when there is no memory: it says so, and what was
 * there stays as it is.
 */
#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/jscan.h"
#include "base/str.h"
#include "starve.h"
#include "t.h"

static void bytes_that_cannot_grow_stay_as_they_are(void)
{
	struct buf b;
	enum err e;

	buf_init(&b, 1000);
	STARVE_EACH(e = buf_add(&b, "abc", 3))
	{
		CHECK_INT(e, ERR_NOMEM);
		CHECK_INT(b.len, 0);
	}
	CHECK_INT(e, ERR_OK);
	STARVE_EACH(e = buf_addf(&b, "%0100d", 7))
	{
		CHECK_INT(e, ERR_NOMEM);
		CHECK_STR(buf_str(&b), "abc");
	}
	CHECK_INT(b.len, 103);
	buf_done(&b);
	starve_at(1);
	CHECK(!buf_str(&b)); /* even nothing needs room for its NUL */
	CHECK(starve_end());
	CHECK_STR(buf_str(&b), "");
	buf_done(&b);
}

static void copies_are_whole_or_none(void)
{
	struct span text = SPAN_LIT("\"b\\n\"");
	char *copy;

	STARVE_EACH(copy = span_dup(text))
	{
		CHECK(!copy);
	}
	CHECK_STR(copy, text.p);
	free(copy);
	STARVE_EACH(copy = jscan_unescape(text, NULL))
	{
		CHECK(!copy);
	}
	CHECK_STR(copy, "b\n");
	free(copy);
}

static void a_file_is_read_whole_or_not_at_all(void)
{
	char *text = NULL;
	size_t len = 7;
	char path[] = "/tmp/foreman-XXXXXX";
	int fd = mkstemp(path);
	enum err e;

	CHECK_INT(fd_write_all(fd, "Name:", 5, -1), ERR_OK);
	fd_close(&fd);
	STARVE_EACH(e = fd_read_file(path, 1 << 20, &text, &len, NULL))
	{
		CHECK_INT(e, ERR_NOMEM);
		CHECK(!text);
		CHECK_INT(len, 7);
	}
	CHECK_INT(e, ERR_OK);
	CHECK_STR(text, "Name:");
	free(text);
	unlink(path);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(bytes_that_cannot_grow_stay_as_they_are),
		T(copies_are_whole_or_none),
		T(a_file_is_read_whole_or_not_at_all),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
