/*
 * test_coda.c - the last words of a stream stand by themselves, whatever stood
 * before them.
 */
#include <config.h>

#include "responder/coda.h"

#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "t.h"

static void begin(struct stream *s)
{
	stream_init(s, -1, 1, 4096);
	if (stream_head(s, 200, (struct span){ NULL, 0 }))
		abort();
}

/* Is that the body, behind the head? */
static void body_is(struct stream *s, const char *expected)
{
	struct buf text;
	const char *body;

	buf_init(&text, 4096);
	for (size_t at = 0; at + 8 <= s->out.len;) {
		const unsigned char *p = (const unsigned char *)s->out.p + at;
		size_t len = (size_t)(p[4] << 8 | p[5]);

		if (buf_add(&text, p + 8, len))
			abort();
		at += 8 + len + p[6];
	}
	body = strstr(buf_str(&text), "\r\n\r\n");
	if (CHECK(body))
		CHECK_STR(body + 4, expected);
	buf_done(&text);
}

/* What is said behind these pieces of a stream. */
static void says(bool events, const char *first, const char *second,
                 const char *expected)
{
	struct coda c = { .events = events };
	struct stream s;

	if (first)
		coda_note(&c, span_of(first));
	if (second)
		coda_note(&c, span_of(second));
	begin(&s);
	CHECK_INT(coda_say(&c, &s, FAMILY_OLLAMA, "{}"), ERR_OK);
	body_is(&s, expected);
	stream_done(&s);
}

static void an_open_line_is_ended_first(void)
{
	says(false, NULL, NULL, "{}\n");
	says(false, "{\"a\":1}\n", NULL, "{}\n");
	says(false, "{\"a\"", NULL, "\n{}\n");
	says(false, "{\"a\"", ":1}\n", "{}\n");
	says(false, "{\"a\":1}\n", "x", "\n{}\n");
}

static void an_open_event_is_ended_first(void)
{
	const char *prefix = answer_event_prefix(FAMILY_OLLAMA);
	char plain[64], one[64], two[64];

	snprintf(plain, sizeof(plain), "%s{}\n\n", prefix);
	snprintf(one, sizeof(one), "\n%s{}\n\n", prefix);
	snprintf(two, sizeof(two), "\n\n%s{}\n\n", prefix);
	says(true, NULL, NULL, plain);
	says(true, "data: 1\n\n", NULL, plain);
	says(true, "data: 1\n", "\n", plain);
	says(true, "data: 1\n", NULL, one);
	says(true, "data: 1", "\n", one);
	says(true, "data: 1", NULL, two);
	says(true, "data: 1\n\n", "d", two);
}

static void closing_says_nothing_more(void)
{
	struct coda c = { .events = true };
	struct stream s;

	begin(&s);
	CHECK_INT(coda_close(&c, &s), ERR_OK);
	body_is(&s, "");
	coda_note(&c, SPAN_LIT("data"));
	CHECK_INT(coda_close(&c, &s), ERR_OK);
	body_is(&s, "\n\n");
	stream_done(&s);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_open_line_is_ended_first),
		T(an_open_event_is_ended_first),
		T(closing_says_nothing_more),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
