/*
 * fuzz_content.c - an answer, read whole and in pieces, by every endpoint.
 */
#include <config.h>

#include "core/content.h"
#include "fuzz.h"

#define MAX 4096

static void read_by(struct content *c, const char *endpoint, const char *type,
                    struct span body, size_t step)
{
	content_init(c, endpoint, type, MAX);
	for (size_t n = step; n < body.len; n += step) {
		size_t before = content_text(c).len;

		content_more(c, (struct span){ body.p, n });
		HOLDS(content_text(c).len >= before);
	}
	content_end(c, body);
}

static void check(const char *endpoint, const char *type, struct span body)
{
	struct content whole, pieces;
	struct span a, b;

	read_by(&whole, endpoint, type, body, body.len + 1);
	read_by(&pieces, endpoint, type, body, 1 + body.len / 7);
	a = content_text(&whole);
	b = content_text(&pieces);
	HOLDS(a.len == b.len && (!a.len || memcmp(a.p, b.p, a.len) == 0));
	HOLDS(a.len <= MAX);
	HOLDS(!a.p == (strcmp(endpoint, "/api/embed") == 0));
	HOLDS(!a.len || str_utf8_ok(a, NULL));
	content_done(&whole);
	content_done(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const endpoints[] = { "/api/chat", "/api/generate",
		                                     "/v1/chat/completions", "/api/embed" };
	static const char *const types[] = { "application/x-ndjson",
		                                 "application/json; charset=utf-8",
		                                 "text/event-stream" };
	struct span body = { fuzz_exact(fuzz_span(data, size)), size };

	for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
		for (size_t j = 0; j < ARRAY_LEN(types); j++)
			check(endpoints[i], types[j], body);
	free((void *)(uintptr_t)body.p);
	return 0;
}
