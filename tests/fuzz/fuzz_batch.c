/*
 * fuzz_batch.c - the body of an NDJSON submission: lines, and an envelope each.
 *
 * What is taken can be stored and sent: it has a model, a load key and a body
 * that is one JSON object on its own. What is not is a fault with a text that
 * names a line.
 */
#include <config.h>

#include "base/jscan.h"
#include "core/limits.h"
#include "fuzz.h"
#include "http/guard.h"
#include "responder/batch.h"

static void check(const struct draft *d)
{
	static const struct jscan_rules strict = { .max_depth = LIMIT_JOB_DEPTH };
	struct jscan_value top;

	HOLDS(d->job.model && d->job.model[0]);
	HOLDS(d->job.load_key && strlen(d->job.load_key) <= LIMIT_LOAD_KEY);
	HOLDS(!jscan((struct span){ d->body, d->body_len }, &strict, NULL, NULL, &top,
	             NULL));
	HOLDS(top.type == JSCAN_OBJECT);
	HOLDS(d->expires_in_ms >= 0 && d->expires_in_ms <= LIMIT_JOB_SPAN_MS);
	HOLDS(d->job.timeout_ms >= 0 && d->job.timeout_ms <= LIMIT_JOB_SPAN_MS);
	HOLDS(!d->job.webhook_url || strlen(d->job.webhook_url) <= LIMIT_WEBHOOK_URL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guard *guard;
	char *text = fuzz_exact(fuzz_span(data, size));
	struct errtext why = { "" };
	enum fault fault = FAULT_COUNT;
	struct batch b;

	if (!guard)
		HOLDS(!guard_new("public,lan", "http://127.0.0.1:11434", &guard, NULL));
	if (!batch_read((struct span){ text, size }, guard, NULL, &b, &fault, &why)) {
		HOLDS(b.count > 0 && b.count <= LIMIT_BATCH_JOBS);
		for (size_t i = 0; i < b.count; i++)
			check(&b.drafts[i]);
		batch_done(&b);
	} else {
		HOLDS(fault < FAULT_COUNT && why.s[0]);
	}
	free(text);
	return 0;
}
