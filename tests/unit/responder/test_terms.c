/*
 * test_terms.c - the headers of a submission: forms, keys, fingerprints.
 */
#include <config.h>

#include "responder/terms.h"

#include "t.h"

static enum media media;

static bool media_ok(const char *type, const char *encoding)
{
	struct errtext unused;

	media = MEDIA_JSON;
	return terms_media(span_of(type), span_of(encoding), &media, &unused);
}

static void one_envelope_is_read_from_almost_any_type(void)
{
	static const char *const types[] = {
		NULL,
		"application/json",
		"application/json; charset=UTF-8",
		"application/json; charset=\"utf-8\"",
		"application/json; boundary=latin1",
		"application/json;",
		"text/plain",
		"application/x-www-form-urlencoded",
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		CHECK(media_ok(types[i], NULL));
		CHECK_INT(media, MEDIA_JSON);
	}
	CHECK(media_ok("application/json", "identity"));
}

static void ndjson_is_a_batch(void)
{
	CHECK(media_ok("application/x-ndjson", NULL));
	CHECK_INT(media, MEDIA_NDJSON);
	CHECK(media_ok("Application/X-NDJSON ; charset=utf-8", NULL));
	CHECK_INT(media, MEDIA_NDJSON);
}

static void what_would_be_misread_is_refused(void)
{
	CHECK(!media_ok("application/json; charset=latin1", NULL));
	CHECK(!media_ok("application/json; charset", NULL));
	CHECK(!media_ok("application/x-ndjson; charset=utf-16", NULL));
	CHECK(!media_ok("multipart/form-data; boundary=x", NULL));
	CHECK(!media_ok("application/json", "gzip"));
	CHECK(!media_ok("application/x-ndjson", "zstd"));
	CHECK(!media_ok(NULL, "br"));
}

static char key[LIMIT_IDEMPOTENCY_KEY + 1];

static bool key_ok(const char *header)
{
	return terms_key_read(span_of(header), key);
}

static void a_key_is_the_same_with_and_without_quotes(void)
{
	CHECK(key_ok("8e03978e-40d5-43e8-bc93-6894a57f9324"));
	CHECK_STR(key, "8e03978e-40d5-43e8-bc93-6894a57f9324");
	CHECK(key_ok("\"8e03978e-40d5-43e8-bc93-6894a57f9324\""));
	CHECK_STR(key, "8e03978e-40d5-43e8-bc93-6894a57f9324");
	CHECK(key_ok("!~"));
	CHECK_STR(key, "!~");
}

static void what_is_not_one_key_of_visible_characters_is_refused(void)
{
	static const char *const bad[] = {
		"",         "\"\"",  "\"",  "a, b", "a,b",  "a b",      "a\tb",
		"\xc3\xa9", "a\x7f", "\"a", "a\"",  "a\"b", "\"a\"b\"", "\"a\", \"a\""
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK(!key_ok(bad[i]));
	CHECK(!terms_key_read((struct span){ 0 }, key));
}

static void a_key_has_at_most_255_characters(void)
{
	char text[LIMIT_IDEMPOTENCY_KEY + 3];

	memset(text, 'k', sizeof(text));
	CHECK(terms_key_read((struct span){ text, 1 }, key));
	CHECK(terms_key_read((struct span){ text, LIMIT_IDEMPOTENCY_KEY }, key));
	CHECK_INT(strlen(key), LIMIT_IDEMPOTENCY_KEY);
	CHECK(!terms_key_read((struct span){ text, LIMIT_IDEMPOTENCY_KEY + 1 }, key));
	text[0] = text[LIMIT_IDEMPOTENCY_KEY + 1] = '"'; /* they do not count */
	CHECK(terms_key_read((struct span){ text, LIMIT_IDEMPOTENCY_KEY + 2 }, key));
	CHECK_INT(strlen(key), LIMIT_IDEMPOTENCY_KEY);
}

static void a_fingerprint_is_of_the_bytes_and_of_their_form(void)
{
	char a[2 * SHA256_LEN + 1], b[2 * SHA256_LEN + 1];

	terms_fingerprint(MEDIA_JSON, SPAN_LIT("{}"), a);
	CHECK_INT(strlen(a), 2 * SHA256_LEN);
	terms_fingerprint(MEDIA_JSON, SPAN_LIT("{}"), b);
	CHECK_STR(a, b);
	terms_fingerprint(MEDIA_JSON, SPAN_LIT("{} "), b);
	CHECK(strcmp(a, b) != 0);
	terms_fingerprint(MEDIA_NDJSON, SPAN_LIT("{}"), b);
	CHECK(strcmp(a, b) != 0);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(one_envelope_is_read_from_almost_any_type),
		T(ndjson_is_a_batch),
		T(what_would_be_misread_is_refused),
		T(a_key_is_the_same_with_and_without_quotes),
		T(what_is_not_one_key_of_visible_characters_is_refused),
		T(a_key_has_at_most_255_characters),
		T(a_fingerprint_is_of_the_bytes_and_of_their_form),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
