/* test_jscan.c - what is JSON and what is not, and where its members stand. */
#include <config.h>

#include "base/jscan.h"

#include <stdlib.h>

#include "base/buf.h"
#include "t.h"

static const struct jscan_rules strict = { .max_depth = 128 };
static const struct jscan_rules as_go = {
	.max_depth = JSCAN_DEPTH_MAX,
	.trailing = true,
	.any_utf8 = true,
};

/* In memory that ends where the text does: a sanitizer sees a step too far. */
static enum err scan(struct span text, const struct jscan_rules *rules,
                     struct errtext *why)
{
	char *exact = span_dup(text), *shrunk;
	enum err e;

	shrunk = realloc(exact, text.len ? text.len : 1);
	e = jscan((struct span){ shrunk, text.len }, rules, NULL, NULL, NULL, why);
	free(shrunk);
	return e;
}

static void check_good(struct span text, const struct jscan_rules *rules)
{
	struct errtext why = { "" };

	if (!CHECK(scan(text, rules, &why) == ERR_OK))
		printf("#   %.60s: %s\n", text.p, why.s);
}

static void check_bad(struct span text, const struct jscan_rules *rules,
                      const char *reason)
{
	struct errtext why = { "" };

	if (!CHECK(scan(text, rules, &why) == ERR_INVAL))
		printf("#   %.60s\n", text.p);
	CHECK_STR(why.s, reason);
}

/* --- what is accepted, what is refused ------------------------------------- */

static void well_formed_values_are_accepted(void)
{
	static const char *const good[] = {
		"null",
		"true",
		"false",
		"0",
		"-0",
		"-1",
		"10",
		"1.5",
		"-0.0e-0",
		"1e3",
		"1E+3",
		"1e999",
		"-1e999",
		"5e-324",
		"1234567890123456789012345678901234567890",
		"\"\"",
		"\"a\"",
		"[]",
		"{}",
		"[ ]",
		"{\n}",
		" \t\r\n1\n ",
		"[1,2,3]",
		"[[],{}]",
		"[{},[],\"]}\",\"\\\"]\"]",
		"{\"a\":{\"b\":[1,{\"c\":null}]}}",
		" { \"a\" : 1 , \"b\" : [ 1 , 2 ] } ",
		"{\"a\":1,\"a\":2}",
		"{\"\":0}",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uAbCd\"",
		"\"\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
		"\"\\ud83d\\ude00\"",
		"\"\\ud800\"",
		"\"\\udc00\\ud800\"",
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		check_good(span_of(good[i]), &strict);
		check_good(span_of(good[i]), &as_go);
	}
}

static void text_that_stops_short_is_refused_at_its_end(void)
{
	static const char *const cut[] = {
		"{",         "{\"",     "{\"a",  "{\"a\"",  "{\"a\":",    "{\"a\":1",
		"{\"a\":1,", "[",       "[1",    "[1,",     "[[]",        "\"",
		"\"abc",     "\"abc\\", "\"\\u", "\"\\u12", "\"\\u123",   "t",
		"tru",       "fals",    "nul",   "-",       "1.",         "1e",
		"1e+",       "-0.",     "[ ",    "{ ",      "\"\xc3\xa9", "{\"a\" ",
		"[{\"a\":[",
	};

	for (size_t i = 0; i < ARRAY_LEN(cut); i++) {
		char reason[80];

		snprintf(reason, sizeof(reason), "invalid JSON: unexpected end at byte %zu",
		         strlen(cut[i]));
		check_bad(span_of(cut[i]), &strict, reason);
		check_bad(span_of(cut[i]), &as_go, reason);
	}
}

static void every_cut_of_a_document_is_refused(void)
{
	struct span whole =
	    SPAN_LIT("{\"a\":[1.5e+7,\"x\\u00e9\\n\",true,false,null,{}],"
	             "\"b\":{\"c\":-0.25,\"d\":[[[]]]}}");

	check_good(whole, &strict);
	for (size_t len = 1; len < whole.len; len++)
		CHECK_INT(scan((struct span){ whole.p, len }, &as_go, NULL), ERR_INVAL);
}

static void syntax_errors_name_the_byte(void)
{
	static const struct {
		const char *text, *what;
		int at;
	} bad[] = {
		{ "{\"a\":1,}", "unexpected '}'", 7 },
		{ "[1,]", "unexpected ']'", 3 },
		{ "[,1]", "unexpected ','", 1 },
		{ "[1,,2]", "unexpected ','", 3 },
		{ "{,}", "unexpected ','", 1 },
		{ "[1 2]", "unexpected '2'", 3 },
		{ "[1}", "unexpected '}'", 2 },
		{ "{\"a\":1]", "unexpected ']'", 6 },
		{ "{\"a\" 1}", "unexpected '1'", 5 },
		{ "{\"a\":}", "unexpected '}'", 5 },
		{ "{\"a\",1}", "unexpected ','", 4 },
		{ "{a:1}", "unexpected 'a'", 1 },
		{ "{1:1}", "unexpected '1'", 1 },
		{ "{'a':1}", "unexpected '''", 1 },
		{ "[\"a\":1]", "unexpected ':'", 4 },
		{ "]", "unexpected ']'", 0 },
		{ "}", "unexpected '}'", 0 },
		{ ",", "unexpected ','", 0 },
		{ "NaN", "unexpected 'N'", 0 },
		{ "Infinity", "unexpected 'I'", 0 },
		{ "-Infinity", "unexpected 'I'", 1 },
		{ "+1", "unexpected '+'", 0 },
		{ ".5", "unexpected '.'", 0 },
		{ "-.5", "unexpected '.'", 1 },
		{ "[01]", "unexpected '1'", 2 },
		{ "[-01]", "unexpected '1'", 3 },
		{ "[1.]", "unexpected ']'", 3 },
		{ "[1.e3]", "unexpected 'e'", 3 },
		{ "[1e]", "unexpected ']'", 3 },
		{ "[1e+]", "unexpected ']'", 4 },
		{ "[0x1]", "unexpected 'x'", 2 },
		{ "[1.2.3]", "unexpected '.'", 4 },
		{ "[--1]", "unexpected '-'", 2 },
		{ "True", "unexpected 'T'", 0 },
		{ "trux", "unexpected 'x'", 3 },
		{ "[nulll]", "unexpected 'l'", 5 },
		{ "// x\n1", "unexpected '/'", 0 },
		{ "[1\v]", "unexpected character", 2 },
		{ "[\xc2\xa0]", "unexpected character", 1 },
		{ "\xef\xbb\xbf{}", "unexpected character", 0 },
		{ "\xfe\xff", "unexpected character", 0 },
		{ "\x1f\x8b", "unexpected character", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char reason[80];

		snprintf(reason, sizeof(reason), "invalid JSON: %s at byte %d", bad[i].what,
		         bad[i].at);
		check_bad(span_of(bad[i].text), &strict, reason);
		check_bad(span_of(bad[i].text), &as_go, reason);
	}
}

static void nul_bytes_are_not_white_space(void)
{
	check_bad(SPAN_LIT("\0"), &as_go,
	          "invalid JSON: unexpected character at byte 0");
	check_bad(SPAN_LIT("[\0]"), &as_go,
	          "invalid JSON: unexpected character at byte 1");
	check_bad(SPAN_LIT("1\0"), &strict,
	          "invalid JSON: unexpected character at byte 1");
	check_bad(SPAN_LIT("{\0}\0"), &strict,
	          "invalid JSON: unexpected character at byte 1");
	check_bad(SPAN_LIT("\"\\\0\""), &as_go,
	          "invalid JSON: bad escape in string at byte 1");
}

static void control_characters_in_strings_are_refused(void)
{
	/* at every place of a machine word, behind it and in front of it */
	for (size_t at = 1; at < 20; at++) {
		for (int c = 0; c < 0x20; c++) {
			char text[22] = "\"abcdefghijklmnopqrs\"", reason[80];

			text[at] = (char)c;
			snprintf(reason, sizeof(reason),
			         "invalid JSON: control character in string at byte %zu", at);
			check_bad((struct span){ text, 21 }, &as_go, reason);
		}
	}
}

static void bad_escapes_are_refused(void)
{
	static const char *const bad[] = {
		"x",        "a",     "'",     "0",     "U0041", " ",     "\n",
		"\xc3\xa9", "u12\"", "u12G4", "u+123", "u 123", "uD8\"", "u00g0",
		"u000:",    "u00@0", "u\"",   "u{41}", "u-001", "v",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char text[32];

		snprintf(text, sizeof(text), "[\"ab\\%s\"]    ", bad[i]);
		check_bad(span_of(text), &as_go,
		          "invalid JSON: bad escape in string at byte 4");
	}
}

static void invalid_utf8_is_refused_only_by_the_strict(void)
{
	static const char *const bad[] = {
		"\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\x80", "\xe2\x82", "\xff",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char text[40];

		snprintf(text, sizeof(text), "{\"k\":\"0123456789%s\"}", bad[i]);
		check_good(span_of(text), &as_go);
		check_bad(span_of(text), &strict, "invalid JSON: invalid UTF-8 at byte 16");
		snprintf(text, sizeof(text), "[\"%s\\n\"]", bad[i]);
		check_bad(span_of(text), &strict, "invalid JSON: invalid UTF-8 at byte 2");
		snprintf(text, sizeof(text), "{\"%s\":1}", bad[i]);
		check_good(span_of(text), &as_go);
		check_bad(span_of(text), &strict, "invalid JSON: invalid UTF-8 at byte 2");
	}
}

static void a_sequence_cut_by_an_escape_is_invalid(void)
{
	check_bad(SPAN_LIT("\"\xe2\\n\x82\xac\""), &strict,
	          "invalid JSON: invalid UTF-8 at byte 1");
}

static void blank_text_is_a_missing_body(void)
{
	static const char *const blank[] = { "", " ", "\n\t\r " };

	for (size_t i = 0; i < ARRAY_LEN(blank); i++) {
		struct errtext why = { "" };

		CHECK_INT(scan(span_of(blank[i]), &as_go, &why), ERR_NOENT);
		CHECK_STR(why.s, "missing request body");
	}
	CHECK_INT(jscan(span_of(NULL), &strict, NULL, NULL, NULL, NULL), ERR_NOENT);
}

static void trailing_bytes_are_a_matter_of_rules(void)
{
	static const struct {
		const char *text;
		int at;
	} rows[] = {
		{ "{}{}", 2 }, { "{} x", 3 }, { "{}]", 2 },      { "1 2", 2 },
		{ "01", 1 },   { "[],", 2 },  { "null\xff", 4 }, { "\"a\"\"b\"", 3 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct errtext why = { "" };

		check_good(span_of(rows[i].text), &as_go);
		CHECK_INT(scan(span_of(rows[i].text), &strict, &why), ERR_INVAL);
		CHECK_INT(atoi(strrchr(why.s, ' ')), rows[i].at);
	}
	check_good(SPAN_LIT("{} \n"), &strict);
}

/* --- depth ----------------------------------------------------------------- */

/* `times` times `open`, a value, then `close` as often. Free it. */
static char *nested(size_t times, const char *open, const char *close)
{
	struct buf b;

	buf_init(&b, 1 << 24);
	for (size_t i = 0; i < times; i++)
		CHECK(buf_add_str(&b, open) == ERR_OK);
	CHECK(buf_add_str(&b, "1") == ERR_OK);
	for (size_t i = 0; i < times; i++)
		CHECK(buf_add_str(&b, close) == ERR_OK);
	return buf_take(&b, NULL);
}

static void check_depth(size_t max, size_t times, const char *open,
                        const char *close, bool fits)
{
	struct jscan_rules rules = { .max_depth = max };
	char *text = nested(times, open, close), reason[80];

	snprintf(reason, sizeof(reason), "JSON nested deeper than %zu", max);
	if (fits)
		check_good(span_of(text), &rules);
	else
		check_bad(span_of(text), &rules, reason);
	free(text);
}

static void nesting_is_allowed_up_to_the_rule_and_no_deeper(void)
{
	static const size_t depths[] = { 2, 62, 64, 66, 128, JSCAN_DEPTH_MAX };

	for (size_t i = 0; i < ARRAY_LEN(depths); i++) {
		size_t max = depths[i];

		check_depth(max, max, "[", "]", true);
		check_depth(max, max + 1, "[", "]", false);
		check_depth(max, max, "{\"a\":", "}", true);
		check_depth(max, max + 1, "{\"a\":", "}", false);
		check_depth(max, max / 2, "[{\"\":", "}]", true);
		check_depth(max, max / 2 + 1, "[{\"\":", "}]", false);
	}
	check_good(SPAN_LIT("1"), &(struct jscan_rules){ .max_depth = 0 });
	check_bad(SPAN_LIT("[]"), &(struct jscan_rules){ .max_depth = 0 },
	          "JSON nested deeper than 0");
}

static void an_empty_array_too_deep_is_too_deep(void)
{
	check_good(SPAN_LIT("[[]]"), &(struct jscan_rules){ .max_depth = 2 });
	check_bad(SPAN_LIT("[[[]]]"), &(struct jscan_rules){ .max_depth = 2 },
	          "JSON nested deeper than 2");
}

static void siblings_do_not_add_to_the_depth(void)
{
	struct jscan_rules two = { .max_depth = 2 };

	check_good(SPAN_LIT("[[],[],{},{\"a\":1},[1],[]]"), &two);
	check_good(SPAN_LIT("{\"a\":[],\"b\":[],\"c\":{}}"), &two);
}

static void a_hundred_thousand_brackets_are_refused_flat(void)
{
	char *text = nested(100000, "[", "");

	check_bad(span_of(text), &strict, "JSON nested deeper than 128");
	check_bad(span_of(text), &as_go, "JSON nested deeper than 10000");
	free(text);
	text = nested(250000, "[{\"\":", "");
	check_bad(span_of(text), &strict, "JSON nested deeper than 128");
	free(text);
}

static void brackets_of_both_kinds_must_match_at_every_level(void)
{
	char *text = nested(5000, "[{\"a\":", "}]");
	struct span whole = span_of(text);

	check_good(whole, &as_go);
	for (size_t i = 1; i < 200; i++) {
		char *closing = text + whole.len - i;
		char right = *closing;

		*closing = right == ']' ? '}' : ']';
		CHECK_INT(jscan(whole, &as_go, NULL, NULL, NULL, NULL), ERR_INVAL);
		*closing = right;
	}
	free(text);
}

/* --- members --------------------------------------------------------------- */

struct seen {
	struct buf said; /* a line for each member */
	int stop_after;  /* 0: never */
	int count;
};

static bool note_member(void *arg, struct span key, const struct jscan_value *value)
{
	static const char types[] = "0tfns[{";
	struct seen *seen = arg;

	CHECK(buf_addf(&seen->said, "%.*s %c%s %.*s\n", (int)key.len, key.p,
	               types[value->type], value->empty ? "-" : "", (int)value->raw.len,
	               value->raw.p) == ERR_OK);
	return ++seen->count != seen->stop_after;
}

static void members_are_shown_with_their_own_bytes(void)
{
	struct seen seen = { .stop_after = 0 };
	struct jscan_value top;

	buf_init(&seen.said, 4096);
	CHECK_INT(
	    jscan(SPAN_LIT("  { \"a\" : null,\"b\":true ,\"c\":false, \"d\":-1.5e3\n,"
	                   "\"e\":\"x\\\"y\",\"\":\"\",\"f\\u0041\":[1, [2]] ,"
	                   "\"g\":[ ],\"h\":{\"a\":{}},\"i\":{\n},\"a\":2}  "),
	          &strict, note_member, &seen, &top, NULL),
	    ERR_OK);
	CHECK_STR(buf_str(&seen.said), "a 0 null\n"
	                               "b t true\n"
	                               "c f false\n"
	                               "d n -1.5e3\n"
	                               "e s \"x\\\"y\"\n"
	                               " s- \"\"\n"
	                               "f\\u0041 [ [1, [2]]\n"
	                               "g [- [ ]\n"
	                               "h { {\"a\":{}}\n"
	                               "i {- {\n}\n"
	                               "a n 2\n");
	CHECK_INT(top.type, JSCAN_OBJECT);
	CHECK(!top.empty);
	CHECK_INT(top.raw.p[0], '{');
	CHECK_INT(top.raw.p[top.raw.len - 1], '}');
	buf_done(&seen.said);
}

static void a_walk_can_be_stopped_early(void)
{
	struct seen seen = { .stop_after = 2 };
	struct jscan_value top;

	buf_init(&seen.said, 4096);
	CHECK_INT(jscan(SPAN_LIT("{\"a\":1,\"b\":[2],this is not looked at"), &strict,
	                note_member, &seen, &top, NULL),
	          ERR_OK);
	CHECK_STR(buf_str(&seen.said), "a n 1\nb [ [2]\n");
	CHECK(top.raw.len == sizeof("{\"a\":1,\"b\":[2]") - 1);
	buf_done(&seen.said);
}

static void members_before_an_error_are_shown_but_the_answer_is_no(void)
{
	struct jscan_value top = { .type = JSCAN_NUMBER };
	struct errtext why = { "" };
	struct seen seen = { .stop_after = 0 };

	buf_init(&seen.said, 4096);
	CHECK_INT(jscan(SPAN_LIT("{\"a\":1,\"b\":}"), &strict, note_member, &seen, &top,
	                &why),
	          ERR_INVAL);
	CHECK_STR(why.s, "invalid JSON: unexpected '}' at byte 11");
	CHECK_INT(seen.count, 1);
	CHECK_INT(top.type, JSCAN_NUMBER);
	buf_done(&seen.said);
}

static void object_syntax_is_as_strict_with_an_eye_on_members(void)
{
	static const char *const bad[] = {
		"{",          "{\"a\"",      "{\"a\":",           "{\"a\":1",   "{\"a\":1,",
		"{\"a\":1,}", "{,}",         "{\"a\":1 \"b\":2}", "{\"a\" 1}",  "{a:1}",
		"{\"a\":1]",  "{\"a\":[1}}", "{\"a\":1}}",        "{\"a\":01}", "{1:2}",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct seen seen = { .stop_after = 0 };

		buf_init(&seen.said, 4096);
		CHECK_INT(jscan(span_of(bad[i]), &strict, note_member, &seen, NULL, NULL),
		          ERR_INVAL);
		buf_done(&seen.said);
	}
}

static void only_objects_have_members(void)
{
	static const char *const texts[] = { "[{\"a\":1}]", "\"a\"", "1", "null",
		                                 "{}" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct seen seen = { .stop_after = 0 };

		buf_init(&seen.said, 4096);
		CHECK_INT(jscan(span_of(texts[i]), &strict, note_member, &seen, NULL, NULL),
		          ERR_OK);
		CHECK_INT(seen.count, 0);
		buf_done(&seen.said);
	}
}

static void the_top_value_is_described_without_what_surrounds_it(void)
{
	static const struct {
		const char *text, *raw;
		enum jscan_type type;
		bool empty;
	} rows[] = {
		{ " null ", "null", JSCAN_NULL, false },
		{ "true", "true", JSCAN_TRUE, false },
		{ "false\n", "false", JSCAN_FALSE, false },
		{ " -0.5 ", "-0.5", JSCAN_NUMBER, false },
		{ "\"\" ", "\"\"", JSCAN_STRING, true },
		{ "\" \"", "\" \"", JSCAN_STRING, false },
		{ " [ \n] ", "[ \n]", JSCAN_ARRAY, true },
		{ "[0]", "[0]", JSCAN_ARRAY, false },
		{ "{}", "{}", JSCAN_OBJECT, true },
		{ "{\"a\":0}  ", "{\"a\":0}", JSCAN_OBJECT, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct jscan_value top;

		CHECK_INT(jscan(span_of(rows[i].text), &strict, NULL, NULL, &top, NULL),
		          ERR_OK);
		CHECK(span_eq(top.raw, rows[i].raw));
		CHECK_INT(top.type, rows[i].type);
		CHECK_INT(top.empty, rows[i].empty);
	}
}

static void strings_longer_than_any_word_are_passed_over(void)
{
	static const char tail[] = "\",\"b\":1}";
	struct seen seen;
	struct buf b;

	for (size_t len = 0; len < 70; len++) {
		char expected[128];

		buf_init(&b, 1000);
		buf_init(&seen.said, 1000);
		seen.count = seen.stop_after = 0;
		CHECK(buf_add_str(&b, "{\"a\":\"") == ERR_OK);
		for (size_t i = 0; i < len; i++)
			CHECK(buf_add_str(&b, "x") == ERR_OK);
		CHECK(buf_add_str(&b, tail) == ERR_OK);
		CHECK_INT(jscan((struct span){ b.p, b.len }, &strict, note_member, &seen,
		                NULL, NULL),
		          ERR_OK);
		snprintf(expected, sizeof(expected), "a s%s \"%.*s\"\nb n 1\n",
		         len ? "" : "-", (int)len, b.p + 6);
		CHECK_STR(buf_str(&seen.said), expected);
		buf_done(&seen.said);
		buf_done(&b);
	}
}

/* --- unescaping ------------------------------------------------------------ */

static void check_unescaped(struct span raw, struct span want)
{
	size_t len = 0;
	char *text = jscan_unescape(raw, &len);

	REQUIRE(text);
	if (!CHECK(len == want.len && memcmp(text, want.p, len + 1) == 0))
		printf("#   %.*s became %s\n", (int)raw.len, raw.p, text);
	CHECK(str_utf8_ok((struct span){ text, len }, NULL));
	free(text);
}

static void escapes_become_what_they_stand_for(void)
{
	check_unescaped(SPAN_LIT("\"\""), SPAN_LIT(""));
	check_unescaped(SPAN_LIT(""), SPAN_LIT(""));
	check_unescaped(SPAN_LIT("\"plain\""), SPAN_LIT("plain"));
	check_unescaped(SPAN_LIT("a key"), SPAN_LIT("a key"));
	check_unescaped(SPAN_LIT("\\\"x\\\""), SPAN_LIT("\"x\""));
	check_unescaped(SPAN_LIT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
	                SPAN_LIT("\"\\/\b\f\n\r\t"));
	check_unescaped(SPAN_LIT("\"\\u0041\\u007F\\u0080\\u07ff\\u0800\\uFFFF\""),
	                SPAN_LIT("A\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"));
	check_unescaped(SPAN_LIT("\"mod\\u0065l\""), SPAN_LIT("model"));
	check_unescaped(SPAN_LIT("\"\\\\u0041\""), SPAN_LIT("\\u0041"));
	check_unescaped(SPAN_LIT("\"caf\xc3\xa9\""), SPAN_LIT("caf\xc3\xa9"));
}

static void an_escaped_nul_is_counted(void)
{
	check_unescaped(SPAN_LIT("\"a\\u0000b\""), SPAN_LIT("a\0b"));
}

static void surrogate_pairs_join_and_lone_ones_are_replaced(void)
{
	check_unescaped(SPAN_LIT("\"\\ud83d\\ude00\""), SPAN_LIT("\xf0\x9f\x98\x80"));
	check_unescaped(SPAN_LIT("\"\\uD800\\uDC00\\udbff\\udfff\""),
	                SPAN_LIT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"));
	check_unescaped(SPAN_LIT("\"\\ud800\""), SPAN_LIT("\xef\xbf\xbd"));
	check_unescaped(SPAN_LIT("\"\\udc00\""), SPAN_LIT("\xef\xbf\xbd"));
	check_unescaped(SPAN_LIT("\"\\ud800x\""), SPAN_LIT("\xef\xbf\xbdx"));
	check_unescaped(SPAN_LIT("\"\\ud800\\n\""), SPAN_LIT("\xef\xbf\xbd\n"));
	check_unescaped(SPAN_LIT("\"\\ud800\\u0041\""), SPAN_LIT("\xef\xbf\xbd\x41"));
	check_unescaped(SPAN_LIT("\"\\udc00\\udc00\""),
	                SPAN_LIT("\xef\xbf\xbd\xef\xbf\xbd"));
	check_unescaped(SPAN_LIT("\"\\udc00\\ud800\""),
	                SPAN_LIT("\xef\xbf\xbd\xef\xbf\xbd"));
	check_unescaped(SPAN_LIT("\"\\ud800\\ud83d\\ude00\""),
	                SPAN_LIT("\xef\xbf\xbd\xf0\x9f\x98\x80"));
}

static void bytes_that_are_not_utf8_are_replaced_one_by_one(void)
{
	check_unescaped(SPAN_LIT("\"a\xff\""), SPAN_LIT("a\xef\xbf\xbd"));
	check_unescaped(SPAN_LIT("\"\xe2\x82\""), SPAN_LIT("\xef\xbf\xbd\xef\xbf\xbd"));
	check_unescaped(SPAN_LIT("\"\xe2\\n\x82\""),
	                SPAN_LIT("\xef\xbf\xbd\n\xef\xbf\xbd"));
	check_unescaped(SPAN_LIT("\xff\xff\xff\xff\xff\xff\xff"),
	                SPAN_LIT("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
	                         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
}

static void what_is_no_escape_stays_as_it_stands(void)
{
	check_unescaped(SPAN_LIT("\\"), SPAN_LIT("\\"));
	check_unescaped(SPAN_LIT("\\x\\u12\\u12G4"), SPAN_LIT("\\x\\u12\\u12G4"));
	check_unescaped(SPAN_LIT("\"\\\""), SPAN_LIT("\\"));
	check_unescaped(SPAN_LIT("\""), SPAN_LIT("\""));
}

int main(void)
{
	static const struct t_case cases[] = {
		T(well_formed_values_are_accepted),
		T(text_that_stops_short_is_refused_at_its_end),
		T(every_cut_of_a_document_is_refused),
		T(syntax_errors_name_the_byte),
		T(nul_bytes_are_not_white_space),
		T(control_characters_in_strings_are_refused),
		T(bad_escapes_are_refused),
		T(invalid_utf8_is_refused_only_by_the_strict),
		T(a_sequence_cut_by_an_escape_is_invalid),
		T(blank_text_is_a_missing_body),
		T(trailing_bytes_are_a_matter_of_rules),
		T(nesting_is_allowed_up_to_the_rule_and_no_deeper),
		T(an_empty_array_too_deep_is_too_deep),
		T(siblings_do_not_add_to_the_depth),
		T(a_hundred_thousand_brackets_are_refused_flat),
		T(brackets_of_both_kinds_must_match_at_every_level),
		T(members_are_shown_with_their_own_bytes),
		T(a_walk_can_be_stopped_early),
		T(members_before_an_error_are_shown_but_the_answer_is_no),
		T(object_syntax_is_as_strict_with_an_eye_on_members),
		T(only_objects_have_members),
		T(the_top_value_is_described_without_what_surrounds_it),
		T(strings_longer_than_any_word_are_passed_over),
		T(escapes_become_what_they_stand_for),
		T(an_escaped_nul_is_counted),
		T(surrogate_pairs_join_and_lone_ones_are_replaced),
		T(bytes_that_are_not_utf8_are_replaced_one_by_one),
		T(what_is_no_escape_stays_as_it_stands),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
