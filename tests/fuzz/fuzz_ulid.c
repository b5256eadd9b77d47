/*
 * fuzz_ulid.c - a job id a line.
 */
#include <config.h>

#include "base/ulid.h"
#include "fuzz.h"

static void check(struct span s)
{
	char id[ULID_SIZE] = "untouched", again[ULID_SIZE], quiet[ULID_SIZE];

	if (ulid_parse(s, id)) {
		HOLDS(strcmp(id, "untouched") == 0);
		return;
	}
	HOLDS(s.len == ULID_LEN && strlen(id) == ULID_LEN && id[0] <= '7');
	HOLDS(strspn(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == ULID_LEN);
	HOLDS(span_eq_nocase(s, id));
	HOLDS(!ulid_parse(span_of(id), again) && strcmp(id, again) == 0);
	for (size_t i = 0; i < ULID_SIZE; i++)
		quiet[i] = (char)(id[i] >= 'A' ? id[i] - 'A' + 'a' : id[i]);
	HOLDS(!ulid_parse(span_of(quiet), again) && strcmp(id, again) == 0);
}

/* Ids made meanwhile are ids, and only go up. */
static void check_new(void)
{
	static char last[ULID_SIZE];
	char id[ULID_SIZE], again[ULID_SIZE];

	ulid_new(id);
	HOLDS(!ulid_parse(span_of(id), again) && strcmp(id, again) == 0);
	HOLDS(strcmp(id, last) > 0);
	memcpy(last, id, sizeof(last));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = fuzz_span(data, size), piece;

	while (span_cut(&rest, '\n', &piece)) {
		char *exact = fuzz_exact(piece);

		check((struct span){ exact, piece.len });
		free(exact);
	}
	check_new();
	return 0;
}
