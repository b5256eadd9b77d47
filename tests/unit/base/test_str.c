/* test_str.c - a text is wholly of the form, or refused. */
#include <config.h>

#include "base/str.h"

#include <stdlib.h>

#include "t.h"

/* --- spans ----------------------------------------------------------------- */

static void spans_compare_whole(void)
{
	CHECK(span_eq(SPAN_LIT("model"), "model"));
	CHECK(!span_eq(SPAN_LIT("model"), "Model"));
	CHECK(!span_eq(SPAN_LIT("model"), "mode"));
	CHECK(!span_eq(SPAN_LIT("model"), "models"));
	CHECK(!span_eq(SPAN_LIT("a\0b"), "a"));
	CHECK(span_eq(SPAN_LIT(""), ""));
	CHECK(!span_eq(span_of(NULL), ""));
	CHECK(span_eq_nocase(SPAN_LIT("MoDeL@["), "mOdEl@["));
	CHECK(!span_eq_nocase(SPAN_LIT("@"), "`"));
	CHECK(!span_eq_nocase(SPAN_LIT("a"), "ab"));
	CHECK(!span_eq_nocase(span_of(NULL), ""));
	CHECK_INT(span_of("abc").len, 3);
}

static void trimming_takes_white_space_off_both_ends(void)
{
	CHECK(span_eq(span_trim(SPAN_LIT(" \t\r\n\v\f a b \n")), "a b"));
	CHECK(span_eq(span_trim(SPAN_LIT("x")), "x"));
	CHECK_INT(span_trim(SPAN_LIT(" \n ")).len, 0);
	CHECK_INT(span_trim(span_of(NULL)).len, 0);
	CHECK_INT(span_trim(SPAN_LIT("\xa0\x85")).len, 2);
}

static void cutting_gives_every_piece_the_empty_too(void)
{
	static const struct {
		const char *text, *pieces[4];
	} rows[] = {
		{ "a,b", { "a", "b", NULL } },   { "a,", { "a", "", NULL } },
		{ ",a", { "", "a", NULL } },     { "", { "", NULL } },
		{ "a,,b", { "a", "", "b", NULL } }, { NULL, { NULL } },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span rest = span_of(rows[i].text), piece;
		size_t n = 0;

		while (span_cut(&rest, ',', &piece)) {
			REQUIRE(rows[i].pieces[n]);
			CHECK(span_eq(piece, rows[i].pieces[n]));
			n++;
		}
		CHECK(rows[i].pieces[n] == NULL);
	}
}

static void a_copy_is_terminated(void)
{
	char *copy = span_dup((struct span){ "abc", 2 });
	char *nothing = span_dup(span_of(NULL));

	CHECK_STR(copy, "ab");
	CHECK_STR(nothing, "");
	free(copy);
	free(nothing);
}

/* --- numbers, durations, sizes --------------------------------------------- */

static void numbers_are_digits_only(void)
{
	static const char *const bad[] = {
		"", "-1", "+1", " 1", "1 ", "1x", "0x1", "1e3", "1.0", "/", ":",
		"18446744073709551616", "99999999999999999999", "100000000000000000000",
	};
	uint64_t n = 7;

	CHECK_INT(str_u64(SPAN_LIT("0"), &n), ERR_OK);
	CHECK_INT(n, 0);
	CHECK_INT(str_u64(SPAN_LIT("007"), &n), ERR_OK);
	CHECK_INT(n, 7);
	CHECK_INT(str_u64(SPAN_LIT("18446744073709551615"), &n), ERR_OK);
	CHECK(n == UINT64_MAX);
	n = 7;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_INT(str_u64(span_of(bad[i]), &n), ERR_INVAL);
	CHECK_INT(str_u64(SPAN_LIT("1\0"), &n), ERR_INVAL);
	CHECK_INT(str_u64(span_of(NULL), &n), ERR_INVAL);
	CHECK_INT(n, 7);
}

static void durations_have_a_unit(void)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {
		{ "0", 0 },          { "0s", 0 },          { "250ms", 250 },
		{ "30s", 30000 },    { "10m", 600000 },    { "2h", 7200000 },
		{ "7d", 604800000 }, { "9223372036854775807ms", INT64_MAX },
		{ "106751991167d", INT64_C(106751991167) * 86400000 },
	};
	static const char *const bad[] = {
		"",    "1",   "00",   "s",    "-1s",  "+1s", "1.5s", "1 s", " 1s", "1s ",
		"1S",  "1sm", "1h1m", "1min", "1e3s", "1w",  "ms",   "1mss",
		"9223372036854775808ms", "106751991168d", "99999999999999999999s",
	};
	int64_t ms = 5;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		CHECK_INT(str_duration_ms(span_of(good[i].text), &ms), ERR_OK);
		CHECK_INT(ms, good[i].ms);
	}
	ms = 5;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_INT(str_duration_ms(span_of(bad[i]), &ms), ERR_INVAL);
	CHECK_INT(str_duration_ms(span_of(NULL), &ms), ERR_INVAL);
	CHECK_INT(ms, 5);
}

static void sizes_are_powers_of_1024(void)
{
	static const struct {
		const char *text;
		int64_t bytes;
	} good[] = {
		{ "0", 0 },          { "512", 512 },
		{ "512K", 524288 },  { "64M", 67108864 },
		{ "1G", 1073741824 }, { "9223372036854775807", INT64_MAX },
		{ "8589934591G", INT64_C(8589934591) << 30 },
	};
	static const char *const bad[] = {
		"", "K", "1k", "1KB", "1.5M", "-1", "1 K", "1T", "1MM",
		"9223372036854775808", "8589934592G",
	};
	int64_t bytes = 5;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		CHECK_INT(str_size(span_of(good[i].text), &bytes), ERR_OK);
		CHECK_INT(bytes, good[i].bytes);
	}
	bytes = 5;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_INT(str_size(span_of(bad[i]), &bytes), ERR_INVAL);
	CHECK_INT(bytes, 5);
}

static void what_is_formatted_reads_back_the_same(void)
{
	static const struct {
		int64_t n;
		const char *duration, *size;
	} rows[] = {
		{ 0, "0", "0" },
		{ 1, "1ms", "1" },
		{ 1000, "1s", "1000" },
		{ 1024, "1024ms", "1K" },
		{ 90000, "90s", "90000" },
		{ 600000, "10m", "600000" },
		{ 3600000, "1h", "3600000" },
		{ 86400000, "1d", "84375K" },
		{ 67108864, "67108864ms", "64M" },
		{ INT64_C(1) << 31, "2147483648ms", "2G" },
		{ INT64_MAX, "9223372036854775807ms", "9223372036854775807" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[32];
		int64_t n;

		str_format_duration(rows[i].n, text);
		CHECK_STR(text, rows[i].duration);
		CHECK_INT(str_duration_ms(span_of(text), &n), ERR_OK);
		CHECK_INT(n, rows[i].n);
		str_format_size(rows[i].n, text);
		CHECK_STR(text, rows[i].size);
		CHECK_INT(str_size(span_of(text), &n), ERR_OK);
		CHECK_INT(n, rows[i].n);
	}
}

static void a_copy_that_does_not_fit_is_cut_and_says_so(void)
{
	char four[4];

	CHECK(str_copy(four, sizeof(four), "abc"));
	CHECK_STR(four, "abc");
	CHECK(!str_copy(four, sizeof(four), "defg"));
	CHECK_STR(four, "def");
	CHECK(!str_copy(four, 1, "x"));
	CHECK_STR(four, "");
	CHECK(str_copy(four, 1, ""));
}

/* --- hex and base64 -------------------------------------------------------- */

static void hex_is_lower_case(void)
{
	char hex[9];

	str_hex("\x00\x7f\xab\xff", 4, hex);
	CHECK_STR(hex, "007fabff");
	str_hex(NULL, 0, hex);
	CHECK_STR(hex, "");
}

static void base64_follows_rfc_4648(void)
{
	static const struct {
		const char *plain, *coded;
	} rows[] = {
		{ "", "" },           { "f", "Zg==" },         { "fo", "Zm8=" },
		{ "foo", "Zm9v" },    { "foob", "Zm9vYg==" },  { "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" }, { "\xff\xfe\xfd", "//79" },
		{ "\xfb\xef\xbe", "++++" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char coded[16], plain[8];
		size_t len = strlen(rows[i].plain), room = len;

		str_base64(rows[i].plain, len, coded);
		CHECK_STR(coded, rows[i].coded);
		CHECK_INT(str_unbase64(span_of(coded), plain, &room), ERR_OK);
		CHECK_INT(room, len);
		CHECK(memcmp(plain, rows[i].plain, len) == 0);
	}
}

static void base64_of_every_byte_and_length_reads_back(void)
{
	unsigned char bytes[256], back[256];
	char coded[4 * 86 + 1];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 167);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		size_t room = sizeof(back);

		str_base64(bytes, len, coded);
		CHECK_INT(str_unbase64(span_of(coded), back, &room), ERR_OK);
		CHECK_INT(room, len);
		CHECK(memcmp(back, bytes, len) == 0);
	}
}

static void base64_that_is_not_exact_is_refused(void)
{
	static const char *const bad[] = {
		"Z",     "Zg",    "Zg=",   "Zm9vY", "====",  "Z===", "=Zg=", "Zg==Zg==",
		"Zh==",  "Zm9=",  "Zm 9v", "Zm9v\n", "Zm9-", "Zm9_", "Zm9\xff", "Z=8=",
		"Zm9v====",
	};
	char out[16] = "untouched";

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		size_t room = sizeof(out);

		CHECK_INT(str_unbase64(span_of(bad[i]), out, &room), ERR_INVAL);
		CHECK_INT(room, sizeof(out));
	}
	CHECK_STR(out, "untouched");
}

static void base64_never_writes_past_the_room_given(void)
{
	char out[4] = "abc";
	size_t room = 2;

	CHECK_INT(str_unbase64(SPAN_LIT("Zm9v"), out, &room), ERR_TOOBIG);
	CHECK_INT(room, 2);
	CHECK_STR(out, "abc");
	room = 3;
	CHECK_INT(str_unbase64(SPAN_LIT("Zm9v"), out, &room), ERR_OK);
	CHECK_STR(out, "foo");
}

/* --- UTF-8 and escapes ----------------------------------------------------- */

static void well_formed_utf8_is_accepted_at_its_edges(void)
{
	static const char *const good[] = {
		"",
		"ascii only, longer than one machine word",
		"\x7f\xc2\x80",
		"\xdf\xbf\xe0\xa0\x80",
		"\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
		"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
		"1234567\xc3\xa9\x31\x32\x33\x34\x35\x36\x37\xe2\x82\xac",
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		CHECK(str_utf8_ok(span_of(good[i]), NULL));
	CHECK(str_utf8_ok(SPAN_LIT("\0"), NULL));
	CHECK(str_utf8_ok(span_of(NULL), NULL));
}

static void ill_formed_utf8_is_refused_where_it_begins(void)
{
	static const struct {
		const char *text;
		size_t at;
	} bad[] = {
		{ "\x80", 0 },         { "\xbf", 0 },         { "\xc0\xaf", 0 },
		{ "\xc1\xbf", 0 },     { "\xc2", 0 },         { "\xc2\x41", 0 },
		{ "\xc2\xc2", 0 },     { "\xe0\x9f\xbf", 0 }, { "\xed\xa0\x80", 0 },
		{ "\xed\xbf\xbf", 0 }, { "\xe2\x82", 0 },     { "\xe2\x82\x41", 0 },
		{ "\xf0\x8f\xbf\xbf", 0 }, { "\xf4\x90\x80\x80", 0 },
		{ "\xf5\x80\x80\x80", 0 }, { "\xff", 0 },
		{ "\xf0\x9f\x98", 0 },     { "\xf0\x9f\x98\x41", 0 },
		{ "12345678\x80", 8 },     { "1234567\xc3\xa9\xc3", 9 },
		{ "1234567\x80", 7 },      { "0123456789abcdef\xed\xa0\x80", 16 },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		size_t at = 99;

		CHECK(!str_utf8_ok(span_of(bad[i].text), &at));
		CHECK_INT(at, bad[i].at);
	}
}

static void odd_bytes_are_escaped(void)
{
	char out[64];

	str_escape(SPAN_LIT(" az~\"\\\n\x1b\x7f\xc3\xff\0."), out, sizeof(out));
	CHECK_STR(out, " az~\"\\x5c\\x0a\\x1b\\x7f\\xc3\\xff\\x00.");
	str_escape(span_of(NULL), out, sizeof(out));
	CHECK_STR(out, "");
}

static void escaped_text_is_cut_between_escapes(void)
{
	static const struct {
		const char *text;
		size_t size;
		const char *escaped;
	} rows[] = {
		{ "abcdef", 7, "abcdef" },     { "abcdefg", 7, "abc..." },
		{ "\n\n", 9, "\\x0a\\x0a" },   { "\n\n", 8, "\\x0a..." },
		{ "\n\n", 7, "..." },          { "abc\n", 8, "abc\\x0a" },
		{ "abc\n", 7, "abc..." },      { "abcd", 4, "..." },
		{ "abc", 4, "abc" },           { "abcd", 3, ".." },
		{ "abcd", 2, "." },            { "abcd", 1, "" },
		{ "", 1, "" },                 { "a\nb", 7, "a\\x0ab" },
		{ "a\nbc", 7, "a..." },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *out = malloc(rows[i].size); /* exact, for the sanitizer */

		REQUIRE(out);
		str_escape(span_of(rows[i].text), out, rows[i].size);
		CHECK_STR(out, rows[i].escaped);
		free(out);
	}
}

static void text_for_people_is_utf8_without_controls(void)
{
#define UNKNOWN "\xef\xbf\xbd"
	static const struct {
		struct span text;
		size_t size;
		const char *readable;
	} rows[] = {
		{ SPAN_LIT(""), 1, "" },
		{ SPAN_LIT("plain\ttext\n"), 32, "plain\ttext\n" },
		{ SPAN_LIT("a\r\nb\\"), 32, "a\nb\\" },
		{ SPAN_LIT("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"), 32,
		  "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80" },
		{ SPAN_LIT("\x1b[2J\0\x7f"), 32, UNKNOWN "[2J" UNKNOWN UNKNOWN },
		{ SPAN_LIT("\xc2\x9b" "1m\xc2\xa0"), 32, UNKNOWN "1m\xc2\xa0" },
		{ SPAN_LIT("a\xff" "b\xc3("), 32, "a" UNKNOWN "b" UNKNOWN "(" },
		{ SPAN_LIT("\xed\xa0\x80x"), 32, UNKNOWN UNKNOWN UNKNOWN "x" },
		/* cut by who gave it: */
		{ SPAN_LIT("a\xf0\x9f\x98"), 32, "a" },
		{ SPAN_LIT("a\xc3"), 32, "a" },
		{ SPAN_LIT("a\xff"), 32, "a" UNKNOWN },
		/* to fit: */
		{ SPAN_LIT("abcd"), 5, "abcd" },
		{ SPAN_LIT("abcd"), 4, "abc" },
		{ SPAN_LIT("abc\xc3\xbc"), 6, "abc\xc3\xbc" },
		{ SPAN_LIT("abc\xc3\xbc"), 5, "abc" },
		{ SPAN_LIT("\xff\xff"), 6, UNKNOWN },
		{ SPAN_LIT("x"), 1, "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *out = malloc(rows[i].size); /* exact, for the sanitizer */

		REQUIRE(out);
		str_readable(rows[i].text, out, rows[i].size);
		CHECK_STR(out, rows[i].readable);
		free(out);
	}
}

int main(void)
{
	static const struct t_case cases[] = {
		T(spans_compare_whole),
		T(trimming_takes_white_space_off_both_ends),
		T(cutting_gives_every_piece_the_empty_too),
		T(a_copy_is_terminated),
		T(numbers_are_digits_only),
		T(durations_have_a_unit),
		T(sizes_are_powers_of_1024),
		T(what_is_formatted_reads_back_the_same),
		T(a_copy_that_does_not_fit_is_cut_and_says_so),
		T(hex_is_lower_case),
		T(base64_follows_rfc_4648),
		T(base64_of_every_byte_and_length_reads_back),
		T(base64_that_is_not_exact_is_refused),
		T(base64_never_writes_past_the_room_given),
		T(well_formed_utf8_is_accepted_at_its_edges),
		T(ill_formed_utf8_is_refused_where_it_begins),
		T(odd_bytes_are_escaped),
		T(escaped_text_is_cut_between_escapes),
		T(text_for_people_is_utf8_without_controls),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
