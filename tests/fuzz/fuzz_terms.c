/*
 * fuzz_terms.c - a header a line, as a Prefer, as an Idempotency-Key and as a
 * Content-Type.
 *
 * A wait is whole seconds within the limit. A key that is taken is taken again
 * between quotes, and is the same.
 */
#include <config.h>

#include "fuzz.h"
#include "responder/terms.h"

static void check_prefer(struct span header)
{
	struct prefer p;

	prefer_read(header, &p);
	HOLDS(p.wait_ms >= 0 && p.wait_ms <= LIMIT_WAIT_MAX_S * 1000);
	HOLDS(p.wait_ms % 1000 == 0);
}

static void check_key(struct span header)
{
	char key[LIMIT_IDEMPOTENCY_KEY + 1], again[LIMIT_IDEMPOTENCY_KEY + 1];
	char quoted[LIMIT_IDEMPOTENCY_KEY + 3];

	if (!terms_key_read(header, key))
		return;
	HOLDS(key[0] && !strpbrk(key, "\" ,\t"));
	snprintf(quoted, sizeof(quoted), "\"%s\"", key);
	HOLDS(terms_key_read(span_of(quoted), again));
	HOLDS(strcmp(key, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = fuzz_span(data, size), piece;

	while (span_cut(&rest, '\n', &piece)) {
		char *line = fuzz_exact(piece);
		struct span header = { line, piece.len };
		struct errtext why = { "" };
		enum media media;

		check_prefer(header);
		check_key(header);
		HOLDS(terms_media(header, (struct span){ 0 }, &media, &why) || why.s[0]);
		free(line);
	}
	return 0;
}
