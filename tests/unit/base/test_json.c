/* test_json.c - a tree holds what the text said, or there is no tree. */
#include <config.h>

#include "base/json.h"

#include <stdlib.h>

#include "t.h"

static void a_value_is_parsed_and_written_back(void)
{
	static const char text[] =
	    "{\"a\":[1,2.5,\"x\\n\\u00e9\"],\"b\":{\"c\":null,\"d\":true}}";
	struct errtext why = { "" };
	cJSON *tree = NULL;
	char *back;

	REQUIRE(json_parse(SPAN_LIT(text), &tree, &why) == ERR_OK);
	CHECK(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(
	    cJSON_GetObjectItemCaseSensitive(tree, "b"), "c")));
	back = json_text(tree);
	CHECK_STR(back,
	          "{\"a\":[1,2.5,\"x\\n\xc3\xa9\"],\"b\":{\"c\":null,\"d\":true}}");
	free(back);
	cJSON_Delete(tree);
}

static void only_the_span_is_read(void)
{
	cJSON *tree = NULL;

	REQUIRE(json_parse((struct span){ "123456", 3 }, &tree, NULL) == ERR_OK);
	CHECK_INT(tree->valueint, 123);
	cJSON_Delete(tree);
}

static void what_cjson_takes_and_json_is_not_is_refused(void)
{
	static const char *const bad[] = {
		"[01]",
		"[1.]",
		"[\"\t\"]",
		"[\"\xff\"]",
		"{} x",
		"[1,]",
		"nullx",
		"\xef\xbb\xbf{}",
		"[\"\\ud800\"]",
		"[\"\\udc00\"]",
		"[\"\\ud800\\u0041\"]",
	};
	cJSON *tree = NULL;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct errtext why = { "" };

		CHECK_INT(json_parse(span_of(bad[i]), &tree, &why), ERR_INVAL);
		CHECK(strncmp(why.s, "invalid JSON", 12) == 0);
	}
	CHECK_INT(json_parse(SPAN_LIT("[1]\0"), &tree, NULL), ERR_INVAL);
	CHECK(tree == NULL);
}

static void blank_text_is_no_value(void)
{
	cJSON *tree = NULL;

	CHECK_INT(json_parse(SPAN_LIT(" \n"), &tree, NULL), ERR_NOENT);
	CHECK_INT(json_parse(SPAN_LIT(""), &tree, NULL), ERR_NOENT);
	CHECK(tree == NULL);
}

static void a_string_is_never_cut_short_by_a_nul(void)
{
	struct errtext why = { "" };
	cJSON *tree = NULL;

	CHECK_INT(json_parse(SPAN_LIT("{\"a\":\"x\\u0000y\"}"), &tree, &why),
	          ERR_INVAL);
	CHECK_STR(why.s, "invalid JSON: \\u0000 is not allowed here");
	CHECK_INT(json_parse(SPAN_LIT("{\"\\u0000\":1}"), &tree, NULL), ERR_INVAL);
	CHECK_INT(json_parse(SPAN_LIT("[\"\\n\\\\\\u0000\"]"), &tree, NULL), ERR_INVAL);
	CHECK(tree == NULL);
	REQUIRE(json_parse(SPAN_LIT("\"\\\\u0000\\\\\""), &tree, NULL) == ERR_OK);
	CHECK_STR(tree->valuestring, "\\u0000\\");
	cJSON_Delete(tree);
}

static void a_long_number_is_whole_or_refused(void)
{
	char text[101] = "";
	cJSON *tree = NULL;

	for (size_t len = 1; len < sizeof(text); len++) {
		enum err e;

		text[len - 1] = '7';
		e = json_parse(span_of(text), &tree, NULL);
		CHECK(e == ERR_OK || (e == ERR_INVAL && len > 63));
		if (e)
			continue;
		CHECK(tree->valuedouble >= atof(text) && tree->valuedouble <= atof(text));
		cJSON_Delete(tree);
	}
}

static void depth_is_bounded(void)
{
	char text[2 * (JSON_DEPTH_MAX + 1)];
	struct errtext why = { "" };
	cJSON *tree = NULL;
	size_t n = JSON_DEPTH_MAX;

	memset(text, '[', n);
	memset(text + n, ']', n);
	REQUIRE(json_parse((struct span){ text, 2 * n }, &tree, &why) == ERR_OK);
	cJSON_Delete(tree);
	n++;
	memset(text, '[', n);
	memset(text + n, ']', n);
	CHECK_INT(json_parse((struct span){ text, 2 * n }, &tree, &why), ERR_INVAL);
	CHECK_STR(why.s, "JSON nested deeper than 128");
}

static void integers_are_exact(void)
{
	cJSON *o = cJSON_CreateObject();
	char *text;

	json_add_int(o, "max", INT64_MAX);
	json_add_int(o, "min", INT64_MIN);
	json_add_int(o, "odd", INT64_C(9007199254740993));
	json_add_int(o, "zero", 0);
	text = json_text(o);
	CHECK_STR(text, "{\"max\":9223372036854775807,\"min\":-9223372036854775808,"
	                "\"odd\":9007199254740993,\"zero\":0}");
	free(text);
	cJSON_Delete(o);
}

static void members_are_added_in_order(void)
{
	cJSON *o = cJSON_CreateObject();
	char *text;

	json_add_str(o, "s", "a\"b\n");
	json_add_str(o, "none", NULL);
	json_add_bool(o, "yes", true);
	json_add_bool(o, "no", false);
	json_add_time(o, "at", INT64_C(1795197600123));
	json_add_time(o, "never", 0);
	json_add_raw(o, "raw", "{\"x\": 1e999}");
	json_add_raw(o, "nothing", NULL);
	text = json_text(o);
	CHECK_STR(text, "{\"s\":\"a\\\"b\\n\",\"none\":null,\"yes\":true,\"no\":false,"
	                "\"at\":\"2026-11-20T18:00:00.123Z\",\"never\":null,"
	                "\"raw\":{\"x\": 1e999},\"nothing\":null}");
	free(text);
	cJSON_Delete(o);
}

static void a_missing_tree_takes_everything_and_says_nothing(void)
{
	json_add_str(NULL, "s", "x");
	json_add_str(NULL, "s", NULL);
	json_add_int(NULL, "i", 1);
	json_add_bool(NULL, "b", true);
	json_add_time(NULL, "t", 1);
	json_add_raw(NULL, "r", "1");
	json_add_raw(NULL, "r", NULL);
	CHECK(json_add_object(NULL, "o") == NULL);
	CHECK(json_add_array(NULL, "a") == NULL);
	json_append(NULL, cJSON_CreateNull());
	json_lack(NULL);
	CHECK(json_text(NULL) == NULL);
}

static void a_tree_that_lacks_a_part_has_no_text(void)
{
	cJSON *o = cJSON_CreateObject(), *list, *inner;
	char *text;

	list = json_add_array(o, "list");
	inner = cJSON_CreateObject();
	json_append(list, inner);
	json_add_object(inner, "deep");
	text = json_text(o);
	CHECK_STR(text, "{\"list\":[{\"deep\":{}}]}");
	free(text);
	json_append(list, NULL); /* there was no memory for it */
	CHECK(json_text(o) == NULL);
	list->valueint = 0;
	json_lack(cJSON_GetObjectItem(inner, "deep"));
	CHECK(json_text(o) == NULL);
	cJSON_Delete(o);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_value_is_parsed_and_written_back),
		T(only_the_span_is_read),
		T(what_cjson_takes_and_json_is_not_is_refused),
		T(blank_text_is_no_value),
		T(a_string_is_never_cut_short_by_a_nul),
		T(a_long_number_is_whole_or_refused),
		T(depth_is_bounded),
		T(integers_are_exact),
		T(members_are_added_in_order),
		T(a_missing_tree_takes_everything_and_says_nothing),
		T(a_tree_that_lacks_a_part_has_no_text),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
