/*
 * test_query.c - a query is cut, decoded, and read against what is known.
 */
#include <config.h>

#include "responder/query.h"

#include <stdlib.h>

#include "stage.h"

#define JOB "01J00000000000000000000000" /* any */

/* The query as "name=value;" pieces, "!" for a refused one. */
static const char *read_all(const char *text)
{
	static char all[512];
	struct span query = span_of(text), name;
	char *value;
	size_t len = 0;
	enum err e;

	all[0] = '\0';
	while ((e = query_next(&query, &name, &value)) != ERR_NOENT) {
		if (e) {
			len += (size_t)snprintf(all + len, sizeof(all) - len, "!");
			continue;
		}
		len += (size_t)snprintf(all + len, sizeof(all) - len, "%.*s=%s;",
		                        (int)name.len, name.p, value);
		free(value);
	}
	return all;
}

static void a_query_is_cut_and_decoded(void)
{
	CHECK_STR(read_all(NULL), "");
	CHECK_STR(read_all(""), "");
	CHECK_STR(read_all("a=1"), "a=1;");
	CHECK_STR(read_all("a=1&b=2"), "a=1;b=2;");
	CHECK_STR(read_all("a=1&&b=2&"), "a=1;b=2;");
	CHECK_STR(read_all("a"), "a=;");
	CHECK_STR(read_all("a="), "a=;");
	CHECK_STR(read_all("=1"), "=1;");
	CHECK_STR(read_all("a=b=c"), "a=b=c;");
	CHECK_STR(read_all("model=qwen3%3A8b"), "model=qwen3:8b;");
	CHECK_STR(read_all("a=%41%7a%e2"), "a=Az\xe2;");
}

static void bad_escapes_and_nuls_are_refused(void)
{
	CHECK_STR(read_all("a=%"), "!");
	CHECK_STR(read_all("a=%4"), "!");
	CHECK_STR(read_all("a=%zz"), "!");
	CHECK_STR(read_all("a=%4g"), "!");
	CHECK_STR(read_all("a=%4/"), "!"); /* beside the digits */
	CHECK_STR(read_all("a=%:4"), "!");
	CHECK_STR(read_all("a=%4@"), "!");
	CHECK_STR(read_all("a=%G4"), "!");
	CHECK_STR(read_all("a=%4`"), "!");
	CHECK_STR(read_all("a=%00"), "!");
	CHECK_STR(read_all("a=x%&b=1"), "!b=1;");
}

/* --- against what is known --------------------------------------------------- */

static struct said asked(const char *uri)
{
	return stage_ask("GET", uri, "", NULL);
}

static void what_is_not_known_is_refused(void)
{
	static const struct {
		const char *uri, *detail;
	} rows[] = {
		{ "/jobs?stat=done", "there is no such query parameter here" },
		{ "/jobs?limit=1&limit=1", "a query parameter is given twice" },
		{ "/jobs?model=%4", "the query is not properly encoded" },
		{ "/jobs?state=new", "state must be queued" },
		{ "/jobs?limit=0", QUERY_LIMIT_WANTED },
		{ "/webhooks?limit=201", QUERY_LIMIT_WANTED },
		{ "/jobs/" JOB "?wait=soon", "wait must be a number of seconds" },
		{ "/jobs/" JOB "?wait=1&wait=1", "given twice" },
		{ "/jobs/" JOB "/stream?wait=1", "there are no query parameters" },
	};

	stage_up(NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct said a = asked(rows[i].uri);

		CHECK_INT(a.status, 400);
		t_note(strstr(a.body, rows[i].detail) != NULL, __FILE__, __LINE__,
		       rows[i].uri);
	}
	stage_down();
}

static void a_list_has_as_many_as_asked_for_from_1_to_200(void)
{
	int n;

	for (int over = -1; over <= 1; over++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", LIMIT_LIST_MAX + over);
		CHECK_INT(query_limit(span_of(text), &n), over > 0 ? ERR_INVAL : ERR_OK);
	}
	CHECK_INT(query_limit(span_of("1"), &n), ERR_OK);
	CHECK_INT(n, 1);
	CHECK_INT(query_limit(span_of("0"), &n), ERR_INVAL);
	CHECK_INT(query_limit(span_of("x"), &n), ERR_INVAL);
}

static void a_wait_is_at_most_a_minute(void)
{
	int64_t ms;

	for (int over = -1; over <= 1; over++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", LIMIT_WAIT_MAX_S + over);
		CHECK_INT(query_wait(span_of(text), &ms), ERR_OK);
		CHECK_INT(ms, 1000 * (LIMIT_WAIT_MAX_S + (over < 0 ? over : 0)));
	}
	CHECK_INT(query_wait(span_of("0"), &ms), ERR_OK);
	CHECK_INT(ms, 0);
	CHECK_INT(query_wait(span_of("-1"), &ms), ERR_INVAL);
	CHECK_INT(query_wait(span_of("1.5"), &ms), ERR_INVAL);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_query_is_cut_and_decoded),
		T(bad_escapes_and_nuls_are_refused),
		T(what_is_not_known_is_refused),
		T(a_list_has_as_many_as_asked_for_from_1_to_200),
		T(a_wait_is_at_most_a_minute),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
