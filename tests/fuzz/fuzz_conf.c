/*
 * fuzz_conf.c - an environment, "NAME=value" a line.
 *
 * Values written as "hush-..." must not be seen again when they are a secret's,
 * or a mistyped name's. Files are not read here: FOREMAN_X_FILE lines are left
 * out.
 */
#include <config.h>

#include "core/conf.h"
#include "core/setting.h"
#include "fuzz.h"

#define LINES_MAX 128
#define HUSH "hush-"

enum kind { UNKNOWN, OPEN, SECRET };

/* Whose is "NAME=..."? */
static enum kind kind_of(const char *line)
{
	for (size_t i = 0; i < setting_count; i++) {
		size_t len = strlen(settings[i].name);

		if (strncmp(line, settings[i].name, len) == 0 && line[len] == '=')
			return settings[i].secret ? SECRET : OPEN;
	}
	return UNKNOWN;
}

/* HUSH in a name, or in a value that may be shown? */
static bool speaks(const char *line)
{
	const char *at = strstr(line, HUSH);

	return at && (at < line + strcspn(line, "=") || kind_of(line) == OPEN);
}

static char *dump(const struct conf *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	HOLDS(to);
	conf_dump(c, to);
	HOLDS(fclose(to) == 0 && text && strlen(text) == len);
	return text;
}

/* Cut a dump into its rows, one per setting. Values stay in `text`. */
static void cut_rows(char *text, char **rows)
{
	for (size_t i = 0; i < setting_count; i++) {
		const char *name = settings[i].name;
		char *end = strchr(text, '\n');

		HOLDS(end && strncmp(text, name, strlen(name)) == 0);
		HOLDS(text[strlen(name)] == '=');
		*end = '\0';
		for (const char *p = text; *p; p++)
			HOLDS(*p >= ' ' && *p <= '~');
		rows[i] = text;
		text = end + 1;
	}
	HOLDS(*text == '\0');
}

/* What is dumped, secrets aside, is an environment that loads the same. */
static void reload(char *text)
{
	char *rows[LINES_MAX], *again_rows[LINES_MAX], *env[LINES_MAX + 1];
	struct conf again;
	char *again_text;
	size_t n = 0;

	HOLDS(setting_count <= LINES_MAX);
	cut_rows(text, rows);
	for (size_t i = 0; i < setting_count; i++)
		if (kind_of(rows[i]) == OPEN)
			env[n++] = rows[i];
	env[n] = NULL;
	HOLDS(!conf_load(env, &again, NULL));
	again_text = dump(&again);
	cut_rows(again_text, again_rows);
	for (size_t i = 0; i < setting_count; i++)
		HOLDS(kind_of(rows[i]) == SECRET || !strcmp(rows[i], again_rows[i]));
	free(again_text);
	conf_done(&again);
}

static void check(char *const *env, bool hush)
{
	struct errtext why = { "" };
	struct conf c;
	enum err e = conf_load(env, &c, &why);
	char *text;

	if (e) {
		HOLDS(e == ERR_INVAL && why.s[0] && strlen(why.s) < sizeof(why.s));
		for (const char *p = why.s; *p; p++)
			HOLDS(*p >= ' ' && *p <= '~');
		HOLDS(!hush || !strstr(why.s, HUSH));
		return;
	}
	text = dump(&c);
	HOLDS(!hush || !strstr(text, HUSH));
	conf_done(&c);
	reload(text);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = fuzz_span(data, size), line;
	char *env[LINES_MAX + 1];
	bool hush = true;
	size_t n = 0;

	while (n < LINES_MAX && span_cut(&rest, '\n', &line)) {
		char *text = fuzz_text(line);

		if (strstr(text, "_FILE=")) {
			free(text);
			continue;
		}
		hush = hush && !speaks(text);
		env[n++] = text;
	}
	env[n] = NULL;
	check(env, hush);
	while (n > 0)
		free(env[--n]);
	return 0;
}
