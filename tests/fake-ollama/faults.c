/*
 * faults.c - reading scripts. Acting on them is task.c's, sched.c's and
 * api.c's.
 */
#include <config.h>

#include "faults.h"

#include "text.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct server_faults server = { .version = "0.33.0" };

#define LINE_BYTES_MAX (64 * 1024 * 1024)
#define COUNT_MAX 100000000.0

void faults_init(struct faults *f, const struct pace *pace)
{
	*f = (struct faults){
		.load_ms = -1,
		.tokens = pace->tokens,
		.token_ms = (double)pace->token_ms,
		.prompt_ms = (double)pace->prompt_ms,
		.embed_ms = (double)pace->embed_ms,
		.error_at = FAULT_NEVER,
		.rst_at = FAULT_NEVER,
		.cut_at = FAULT_NEVER,
		.eof_at = FAULT_NEVER,
		.hang_at = FAULT_NEVER,
	};
}

void faults_done(struct faults *f)
{
	free(f->error);
	free(f->load_error);
	f->error = f->load_error = NULL;
}

static void take_text(char **to, const struct gojson *v)
{
	if (v->type != GOJSON_STRING)
		return;
	free(*to);
	*to = gojson_string(v, NULL);
}

void faults_take(struct faults *f, const char *key, const struct gojson *value)
{
	const struct {
		const char *key;
		int64_t *count;
		double *ms;
	} numbers[] = {
		{ "fake_load_ms", &f->load_ms, NULL },
		{ "fake_tokens", &f->tokens, NULL },
		{ "fake_token_ms", NULL, &f->token_ms },
		{ "fake_prompt_ms", NULL, &f->prompt_ms },
		{ "fake_embed_ms", NULL, &f->embed_ms },
		{ "fake_line_bytes", &f->line_bytes, NULL },
		{ "fake_status", &f->status, NULL },
		{ "fake_error_at", &f->error_at, NULL },
		{ "fake_rst_at", &f->rst_at, NULL },
		{ "fake_cut_at", &f->cut_at, NULL },
		{ "fake_eof_at", &f->eof_at, NULL },
		{ "fake_hang_at", &f->hang_at, NULL },
	};
	double n = gojson_number(value);

	if (!strcmp(key, "fake_error"))
		take_text(&f->error, value);
	else if (!strcmp(key, "fake_load_error"))
		take_text(&f->load_error, value);
	else if (!strcmp(key, "fake_split"))
		f->split = gojson_true(value) || n > 0;
	if (value->type != GOJSON_NUMBER || n < -1 || n > COUNT_MAX)
		return;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		if (strcmp(key, numbers[i].key))
			continue;
		if (numbers[i].ms)
			*numbers[i].ms = n < 0 ? 0 : n;
		else
			*numbers[i].count = (int64_t)n;
	}
	if (f->line_bytes > LINE_BYTES_MAX)
		f->line_bytes = LINE_BYTES_MAX;
	if (f->status && (f->status < 200 || f->status > 599))
		f->status = 500;
}

static bool set_one(const char *key, const struct gojson *v)
{
	const struct {
		const char *key;
		bool *flag;
	} flags[] = {
		{ "busy", &server.busy },
		{ "leak", &server.leak },
		{ "deadlock", &server.deadlock },
		{ "down", &server.down },
	};

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (!strcmp(key, flags[i].key) && v->type == GOJSON_BOOL) {
			*flags[i].flag = gojson_true(v);
			return true;
		}
	if (!strcmp(key, "version") && v->type == GOJSON_STRING) {
		char *s = gojson_string(v, NULL);
		bool fits = str_copy(server.version, sizeof(server.version), s);

		free(s);
		return fits;
	}
	return false;
}

enum err faults_set(struct span body, struct errtext *why)
{
	struct gojson top, value;
	struct gojson_walk w;
	enum err e = gojson_first(body, &top, why);
	char *key;

	if (e)
		return e;
	if (top.type != GOJSON_OBJECT) {
		errtext_set(why, "an object is wanted");
		return ERR_INVAL;
	}
	w = (struct gojson_walk){ .rest = top.raw };
	while (gojson_next(&w, &key, &value)) {
		bool known = set_one(key, &value);

		if (!known)
			errtext_set(why, "no such switch, or not its type: %s", key);
		free(key);
		if (!known)
			return ERR_INVAL;
	}
	return ERR_OK;
}

void put_server_faults(struct buf *b)
{
	put_f(b, "{\"busy\":%s,\"leak\":%s,\"deadlock\":%s,\"down\":%s,\"version\":",
	      server.busy ? "true" : "false", server.leak ? "true" : "false",
	      server.deadlock ? "true" : "false", server.down ? "true" : "false");
	put_json(b, span_of(server.version));
	put_s(b, "}");
}
