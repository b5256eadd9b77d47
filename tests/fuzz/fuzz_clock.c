/*
 * fuzz_clock.c - a time a line.
 */
#include <config.h>

#include "base/clock.h"
#include "base/str.h"
#include "fuzz.h"

static void check(const char *text)
{
	int64_t wall_ms = -1, again_ms = -1;
	char iso[CLOCK_ISO_SIZE];

	if (clock_parse(text, &wall_ms)) {
		HOLDS(wall_ms == -1);
		return;
	}
	HOLDS(strlen(text) >= strlen("2026-11-20T18:00:00Z"));
	if (wall_ms < 0)
		return; /* of 1970 in the far east: before it here */
	clock_iso(wall_ms, iso);
	if (strncmp(iso, "9999-12-31T", 11) == 0)
		return; /* the year may end earlier in the west */
	HOLDS(!clock_parse(iso, &again_ms) && again_ms == wall_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = fuzz_span(data, size), piece;

	while (span_cut(&rest, '\n', &piece)) {
		char *line = span_dup(piece);

		HOLDS(line);
		check(line);
		free(line);
	}
	return 0;
}
