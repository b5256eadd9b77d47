/*
 * fuzz_jscan.c - any bytes as JSON text, strictly and as Go reads it.
 */
#include <config.h>

#include "base/jscan.h"
#include "base/json.h"
#include "fuzz.h"

static const struct jscan_rules strict = { .max_depth = JSON_DEPTH_MAX };
static const struct jscan_rules shallow = { .max_depth = 3 };
static const struct jscan_rules as_go = { .max_depth = JSCAN_DEPTH_MAX,
	                                      .trailing = true,
	                                      .any_utf8 = true };

static bool blank(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!s.p[i] || !strchr(" \t\r\n", s.p[i]))
			return false;
	return true;
}

/* What was said of a value must be said again of its own bytes alone. */
static void rescan(const struct jscan_value *v, const struct jscan_rules *rules)
{
	char *exact = fuzz_exact(v->raw);
	struct jscan_rules alone = *rules;
	struct jscan_value again;

	alone.trailing = false;
	HOLDS(!jscan((struct span){ exact, v->raw.len }, &alone, NULL, NULL, &again,
	             NULL));
	HOLDS(again.type == v->type && again.empty == v->empty);
	HOLDS(again.raw.p == exact && again.raw.len == v->raw.len);
	free(exact);
}

/* Of a string with its quotes, or of anything: UTF-8 all the same. */
static void unescape(struct span raw, bool quoted)
{
	size_t len = 0;
	char *text = jscan_unescape(raw, &len);

	HOLDS(text && text[len] == '\0');
	HOLDS(str_utf8_ok((struct span){ text, len }, NULL));
	if (quoted && !memchr(raw.p, '\\', raw.len) && str_utf8_ok(raw, NULL)) {
		HOLDS(len == raw.len - 2);
		HOLDS(memcmp(text, raw.p + 1, len) == 0);
	}
	free(text);
}

struct walked {
	struct span text;
	const struct jscan_rules *rules;
	const char *behind; /* the last member's end */
	size_t members;
};

static bool member(void *arg, struct span key, const struct jscan_value *value)
{
	struct walked *w = arg;
	struct jscan_value quoted = { .type = JSCAN_STRING, .empty = key.len == 0 };

	HOLDS(fuzz_inside(key, w->text) && fuzz_inside(value->raw, w->text));
	HOLDS(!w->behind || key.p > w->behind);
	HOLDS(key.p[-1] == '"' && key.p[key.len] == '"');
	HOLDS(value->raw.p > key.p + key.len && value->raw.len > 0);
	quoted.raw = (struct span){ key.p - 1, key.len + 2 };
	rescan(&quoted, w->rules);
	rescan(value, w->rules);
	unescape(quoted.raw, true);
	if (value->type == JSCAN_STRING)
		unescape(value->raw, true);
	w->behind = value->raw.p + value->raw.len;
	w->members++;
	return true;
}

/* *members: of an object, those of its own level. */
static enum err check(struct span text, const struct jscan_rules *rules,
                      struct jscan_value *top, size_t *members)
{
	struct walked w = { .text = text, .rules = rules };
	struct errtext why = { "" };
	enum err e = jscan(text, rules, member, &w, top, &why);
	struct span before, after;

	HOLDS(e == jscan(text, rules, NULL, NULL, NULL, NULL));
	HOLDS((e == ERR_NOENT) == blank(text));
	if (e) {
		HOLDS(why.s[0] && (e == ERR_NOENT || e == ERR_INVAL));
		return e;
	}
	HOLDS(fuzz_inside(top->raw, text));
	before = (struct span){ text.p, (size_t)(top->raw.p - text.p) };
	after.p = top->raw.p + top->raw.len;
	after.len = text.len - before.len - top->raw.len;
	HOLDS(blank(before) && (rules->trailing || blank(after)));
	rescan(top, rules);
	*members = w.members;
	return ERR_OK;
}

/* cJSON, which reads on its own, finds the same. */
static void compare_tree(struct span text, const struct jscan_value *top,
                         size_t members)
{
	cJSON *tree;

	if (json_parse(text, &tree, NULL)) {
		/* what only a tree cannot hold; see json.h */
		HOLDS(text.len > 63 || memmem(text.p, text.len, "\\u", 2));
		return;
	}
	HOLDS(cJSON_IsObject(tree) == (top->type == JSCAN_OBJECT));
	HOLDS(cJSON_IsArray(tree) == (top->type == JSCAN_ARRAY));
	if (top->type == JSCAN_OBJECT)
		HOLDS((size_t)cJSON_GetArraySize(tree) == members);
	if (top->type == JSCAN_STRING) {
		char *mine = jscan_unescape(top->raw, NULL);

		HOLDS(mine && strcmp(mine, cJSON_GetStringValue(tree)) == 0);
		free(mine);
	}
	cJSON_Delete(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = fuzz_span(data, size);
	struct jscan_value top, go, low;
	size_t members, others;

	unescape(text, false);
	if (check(text, &strict, &top, &members)) {
		HOLDS(check(text, &shallow, &low, &others));
		(void)!check(text, &as_go, &go, &others);
		return 0;
	}
	HOLDS(str_utf8_ok(text, NULL));
	HOLDS(!check(text, &as_go, &go, &others));
	HOLDS(go.raw.p == top.raw.p && go.raw.len == top.raw.len);
	HOLDS(go.type == top.type && go.empty == top.empty);
	if (!check(text, &shallow, &low, &others))
		HOLDS(low.raw.len == top.raw.len);
	compare_tree(text, &top, members);
	return 0;
}
