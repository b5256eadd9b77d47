/*
 * fuzz_str.c - a small text a line, through every parser of str.h.
 */
#include <config.h>

#include <inttypes.h>

#include "fuzz.h"

static void number(struct span s)
{
	char text[32];
	uint64_t n;

	if (str_u64(s, &n))
		return;
	while (s.len > 1 && *s.p == '0')
		s.p++, s.len--;
	snprintf(text, sizeof(text), "%" PRIu64, n);
	HOLDS(span_eq(s, text));
}

/* What a formatter writes reads as the same, in the one largest unit. */
static void units(struct span s)
{
	char text[32], twice[32];
	int64_t n, again = -1;

	if (!str_duration_ms(s, &n)) {
		HOLDS(n >= 0);
		str_format_duration(n, text);
		HOLDS(!str_duration_ms(span_of(text), &again) && again == n);
		str_format_duration(again, twice);
		HOLDS(strcmp(text, twice) == 0 && strlen(text) <= s.len + 1);
	}
	if (!str_size(s, &n)) {
		HOLDS(n >= 0);
		str_format_size(n, text);
		HOLDS(!str_size(span_of(text), &again) && again == n);
		str_format_size(again, twice);
		HOLDS(strcmp(text, twice) == 0 && strlen(text) <= s.len);
	}
}

/* Bytes come back, and each has one text. */
static void base64(struct span s)
{
	size_t text_len = (s.len + 2) / 3 * 4, room = s.len, len;
	char *text = malloc(text_len + 1), *bytes = malloc(s.len + 1);

	HOLDS(text && bytes);
	str_base64(s.p, s.len, text);
	HOLDS(strlen(text) == text_len);
	len = s.len;
	HOLDS(!str_unbase64((struct span){ text, text_len }, bytes, &len));
	HOLDS(len == s.len && memcmp(bytes, s.p, len) == 0);
	if (s.len > 0) {
		len = s.len - 1;
		HOLDS(str_unbase64((struct span){ text, text_len }, bytes, &len) ==
		      ERR_TOOBIG);
	}
	len = room;
	if (!str_unbase64(s, bytes, &len)) {
		HOLDS(len <= s.len / 4 * 3);
		str_base64(bytes, len, text);
		HOLDS(span_eq(s, text));
	}
	free(text);
	free(bytes);
}

static void utf8(struct span s)
{
	size_t bad = s.len;

	if (!str_utf8_ok(s, &bad)) {
		HOLDS(bad < s.len && (unsigned char)s.p[bad] >= 0x80);
		HOLDS(str_utf8_ok((struct span){ s.p, bad }, NULL));
	} else {
		HOLDS(bad == s.len);
	}
}

/* One line of printable bytes, whatever the room. */
static void escape(struct span s)
{
	size_t sizes[] = { 1, 2, 5, 16, 4 * s.len + 1 };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		char *out = malloc(sizes[i]);
		size_t len;

		HOLDS(out);
		str_escape(s, out, sizes[i]);
		len = strnlen(out, sizes[i]);
		HOLDS(len < sizes[i]);
		for (size_t j = 0; j < len; j++)
			HOLDS(out[j] >= ' ' && out[j] <= '~');
		if (i == ARRAY_LEN(sizes) - 1)
			HOLDS(len >= s.len);
		free(out);
	}
}

/* Text without a terminal's commands, whatever the room. */
static void readable(struct span s)
{
	size_t sizes[] = { 1, 2, 5, 16, 3 * s.len + 1 };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		char *out = malloc(sizes[i]);
		size_t len;

		HOLDS(out);
		str_readable(s, out, sizes[i]);
		len = strnlen(out, sizes[i]);
		HOLDS(len < sizes[i]);
		HOLDS(str_utf8_ok((struct span){ out, len }, NULL));
		for (size_t j = 0; j < len; j++)
			HOLDS((unsigned char)out[j] >= ' ' || out[j] == '\t');
		free(out);
	}
}

static void spans(struct span s)
{
	struct span trimmed = span_trim(s), rest = s, piece;
	size_t sum = 0, pieces = 0;

	HOLDS(fuzz_inside(trimmed, s));
	HOLDS(!trimmed.len || !strchr(" \t\r\v\f", trimmed.p[0]) || !trimmed.p[0]);
	while (span_cut(&rest, ',', &piece)) {
		HOLDS(fuzz_inside(piece, s));
		HOLDS(!piece.len || !memchr(piece.p, ',', piece.len));
		sum += piece.len;
		pieces++;
	}
	HOLDS(pieces >= 1 && sum + pieces - 1 == s.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = fuzz_span(data, size), piece;

	while (span_cut(&rest, '\n', &piece)) {
		char *exact = fuzz_exact(piece);
		struct span line = { exact, piece.len };

		number(line);
		units(line);
		base64(line);
		utf8(line);
		escape(line);
		readable(line);
		spans(line);
		free(exact);
	}
	return 0;
}
