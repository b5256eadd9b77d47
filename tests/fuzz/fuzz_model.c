/*
 * fuzz_model.c - a model name a line; each line is also the options of the
 * name above it.
 */
#include <config.h>

#include "core/model.h"
#include "fuzz.h"

/* The key is a name, its own key, and names no place. */
static void check_key(const struct model_name *name)
{
	struct model_name again;
	size_t len = strlen(name->key);

	HOLDS(len > 0 && len <= LIMIT_MODEL_NAME);
	for (size_t i = 0; i < len; i++)
		HOLDS(name->key[i] > ' ' && name->key[i] <= '~' &&
		      !(name->key[i] >= 'A' && name->key[i] <= 'Z'));
	HOLDS(!model_parse((struct span){ name->key, len }, &again, NULL));
	HOLDS(again.source == MODEL_ANY && strcmp(again.key, name->key) == 0);
}

/* Case and blanks around make no other model. */
static void check_spelling(struct span line, const struct model_name *name)
{
	struct span loud = { NULL, line.len + 2 };
	struct model_name again;
	char *text = malloc(loud.len);

	HOLDS(text);
	text[0] = ' ';
	text[loud.len - 1] = '\t';
	for (size_t i = 0; i < line.len; i++)
		text[i + 1] =
		    (char)(line.p[i] >= 'a' && line.p[i] <= 'z' ? line.p[i] - 'a' + 'A'
		                                                : line.p[i]);
	loud.p = text;
	HOLDS(!model_parse(loud, &again, NULL));
	HOLDS(again.source == name->source && strcmp(again.key, name->key) == 0);
	HOLDS(model_same(line, loud));
	free(text);
}

static void check_load_key(const struct model_name *name, struct span options)
{
	char plain[LIMIT_LOAD_KEY + 1], shaped[LIMIT_LOAD_KEY + 1];
	const struct span absent = { NULL, 0 };
	struct errtext why = { "" };
	enum err e;

	HOLDS(!model_load_key(name, absent, absent, plain, NULL));
	HOLDS(strncmp(plain, name->key, strlen(name->key)) == 0);
	e = model_load_key(name, options, SPAN_LIT("false"), shaped, &why);
	if (e) {
		HOLDS(why.s[0]);
		return;
	}
	HOLDS(strlen(shaped) <= LIMIT_LOAD_KEY);
	HOLDS(strncmp(shaped, plain, strlen(plain)) == 0);
	HOLDS(strcmp(strrchr(shaped, ' '), " shift=false") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = fuzz_span(data, size), piece, last = { NULL, 0 };
	struct model_name name, last_name;
	bool last_ok = false;

	while (span_cut(&rest, '\n', &piece)) {
		struct errtext why = { "" };
		char *exact = fuzz_exact(piece);
		struct span line = { exact, piece.len };
		bool ok = !model_parse(line, &name, &why);

		HOLDS(ok || why.s[0]);
		HOLDS(model_same(line, line) == ok);
		HOLDS(model_same(line, last) == model_same(last, line));
		if (model_same(line, last))
			HOLDS(ok && last_ok && strcmp(name.key, last_name.key) == 0);
		if (ok) {
			check_key(&name);
			check_spelling(line, &name);
		}
		if (last_ok)
			check_load_key(&last_name, line);
		if (ok)
			last_name = name;
		last_ok = ok;
		free(exact);
		last = piece;
	}
	return 0;
}
