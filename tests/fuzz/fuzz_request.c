/*
 * fuzz_request.c - any bytes as a request body, for every endpoint.
 */
#include <config.h>

#include "base/jscan.h"
#include "core/request.h"
#include "fuzz.h"

/* What was read of `a` is what is read of `b`, `stream` aside. */
static void same(const struct request *a, const struct request *b)
{
	HOLDS(a->named == b->named && a->has_work == b->has_work);
	HOLDS(a->unload == b->unload && !a->model_raw == !b->model_raw);
	HOLDS(!a->model_raw || strcmp(a->model_raw, b->model_raw) == 0);
	HOLDS(!a->named || strcmp(a->load_key, b->load_key) == 0);
}

/* A stored job's body: names `stream`, and nothing else of it has changed. */
static void with_stream(enum endpoint e, struct span body, const struct request *r)
{
	static const char member[] = "\"stream\":false,";
	struct request again;
	struct span sent;
	const char *put;
	size_t front, added;
	char *copy = request_with_stream(body, r, &sent.len);

	HOLDS(copy && sent.len >= body.len);
	sent.p = copy;
	HOLDS(!request_read(e, sent, &again, NULL));
	same(r, &again);
	HOLDS(again.stream == (r->stream ? r->stream : STREAM_FALSE));
	HOLDS(r->stream || !request_streams(e, &again));
	request_done(&again);

	added = sent.len - body.len;
	if (r->stream) {
		HOLDS(added == 0 && memcmp(sent.p, body.p, body.len) == 0);
	} else {
		HOLDS(added == sizeof(member) - 1 || added == sizeof(member) - 2);
		put = memmem(sent.p, sent.len, member, added);
		HOLDS(put);
		front = (size_t)(put - sent.p);
		HOLDS(memcmp(sent.p, body.p, front) == 0);
		HOLDS(memcmp(put + added, body.p + front, body.len - front) == 0);
	}
	free(copy);
}

static void check(enum endpoint e, struct span body)
{
	static const struct jscan_rules as_go = { .max_depth = JSCAN_DEPTH_MAX,
		                                      .trailing = true,
		                                      .any_utf8 = true };
	struct errtext why = { "" };
	struct jscan_value top;
	struct request r;
	enum err err = request_read(e, body, &r, &why);

	if (err) {
		HOLDS(why.s[0] && (err == ERR_INVAL || err == ERR_NOENT));
		return;
	}
	HOLDS(!jscan(body, &as_go, NULL, NULL, &top, NULL));
	HOLDS(top.type == JSCAN_OBJECT);
	HOLDS(!(r.unload && r.has_work));
	if (r.named) {
		HOLDS(r.model_raw && strlen(r.load_key) <= LIMIT_LOAD_KEY);
		HOLDS(strncmp(r.load_key, r.model.key, strlen(r.model.key)) == 0);
	}
	with_stream(e, body, &r);
	request_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int e = 0; e < ENDPOINT_COUNT; e++)
		check((enum endpoint)e, fuzz_span(data, size));
	return 0;
}
