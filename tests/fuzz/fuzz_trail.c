/*
 * fuzz_trail.c - a line that is a request id, a traceparent, or neither.
 */
#include <config.h>

#include "fuzz.h"
#include "responder/trail.h"

static void check(struct span line)
{
	bool id = trail_id_ok(line), parent = trail_traceparent_ok(line);
	struct trail t;

	trail_begin(&t, line, line);
	HOLDS(t.given == id);
	HOLDS(parent == (strlen(t.trace) == TRAIL_TRACE_SIZE - 1));
	HOLDS(trail_id_ok(span_of(t.id))); /* theirs or ours, it can be logged */
	if (id)
		HOLDS(span_eq(line, t.id));
	if (parent)
		HOLDS(memcmp(line.p + 3, t.trace, TRAIL_TRACE_SIZE - 1) == 0);
	for (size_t i = 0; (id || parent) && i < line.len; i++)
		HOLDS(line.p[i] > ' ' && line.p[i] < 0x7f); /* fit for a header */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = fuzz_span(data, size), piece;

	while (span_cut(&rest, '\n', &piece))
		check(piece);
	return 0;
}
