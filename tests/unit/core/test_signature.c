/*
 * test_signature.c - Standard Webhooks' signatures, made and checked.
 */
#include <config.h>

#include "core/signature.h"

#include "core/limits.h"
#include "t.h"

#define ID "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define AT 1614265330
#define BODY SPAN_LIT("{\"test\": 2432232314}")
/* the specification's own example */
#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define OTHER "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0IQ=="

/* What is signed with these, or NULL. */
static const char *made(const char *secrets)
{
	static char text[512];
	struct buf b;
	enum err e;

	buf_init(&b, sizeof(text) - 1);
	e = signature_make(secrets, ID, AT, BODY, &b);
	snprintf(text, sizeof(text), "%s", b.len ? buf_str(&b) : "");
	buf_done(&b);
	return e ? NULL : text;
}

static enum err checked(const char *secrets, const char *header)
{
	return signature_check(secrets, ID, AT, BODY, span_of(header));
}

static void the_specifications_example_is_met(void)
{
	CHECK_STR(made(SECRET), SIGNATURE);
	CHECK_INT(checked(SECRET, SIGNATURE), ERR_OK);
}

static void each_secret_signs(void)
{
	char first[128];

	snprintf(first, sizeof(first), "%s", made(OTHER));
	CHECK(strncmp(made(" " OTHER "  " SECRET " "), first, strlen(first)) == 0);
	CHECK_STR(made(" " OTHER "  " SECRET " ") + strlen(first), " " SIGNATURE);
}

static void one_that_is_no_secret_spoils_all(void)
{
	static const char *const bad[] = { "",
		                               " ",
		                               "secret",
		                               "whsec_",
		                               "whsec_!!!!",
		                               "whsec_c2hvcnQ=",
		                               "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		                               SECRET " x" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		t_note(!made(bad[i]), __FILE__, __LINE__, bad[i]);
		CHECK_INT(checked(bad[i], SIGNATURE), ERR_INVAL);
	}
}

/* A secret of so many bytes. */
static const char *secret_of(size_t bytes)
{
	static const unsigned char key[LIMIT_WEBHOOK_SECRET_MAX + 1];
	static char text[128];

	strcpy(text, "whsec_");
	str_base64(key, bytes, text + strlen(text));
	return text;
}

static void a_secret_is_neither_too_short_nor_too_long(void)
{
	CHECK(made(secret_of(LIMIT_WEBHOOK_SECRET_MIN)));
	CHECK(!made(secret_of(LIMIT_WEBHOOK_SECRET_MIN - 1)));
	CHECK(made(secret_of(LIMIT_WEBHOOK_SECRET_MAX)));
	CHECK(!made(secret_of(LIMIT_WEBHOOK_SECRET_MAX + 1)));
}

static void nothing_is_appended_when_it_fails(void)
{
	struct buf b;

	buf_init(&b, 4096);
	CHECK_INT(buf_add_str(&b, "before"), ERR_OK);
	CHECK_INT(signature_make(SECRET " x", ID, AT, BODY, &b), ERR_INVAL);
	CHECK_STR(buf_str(&b), "before");
	CHECK_INT(signature_make(SECRET, ID, AT, BODY, &b), ERR_OK);
	CHECK_STR(buf_str(&b), "before" SIGNATURE);
	buf_done(&b);
}

static void any_of_the_secrets_and_of_the_signatures_will_do(void)
{
	CHECK_INT(checked(OTHER " " SECRET, SIGNATURE), ERR_OK);
	CHECK_INT(checked(SECRET, "v1,AAAA v2,x " SIGNATURE), ERR_OK);
	CHECK_INT(checked(OTHER, SIGNATURE), ERR_DENIED);
	CHECK_INT(checked(SECRET, ""), ERR_DENIED);
	CHECK_INT(checked(SECRET, "v1,"), ERR_DENIED);
	CHECK_INT(checked(SECRET, SIGNATURE "x"), ERR_DENIED);
}

static void another_id_time_or_body_is_another_signature(void)
{
	struct span header = SPAN_LIT(SIGNATURE);

	CHECK_INT(signature_check(SECRET, "msg_2", AT, BODY, header), ERR_DENIED);
	CHECK_INT(signature_check(SECRET, ID, AT + 1, BODY, header), ERR_DENIED);
	CHECK_INT(signature_check(SECRET, ID, AT, SPAN_LIT("{}"), header), ERR_DENIED);
	CHECK_INT(signature_check(SECRET, ID, AT, SPAN_LIT(""), header), ERR_DENIED);
}

static void an_id_has_a_longest_one(void)
{
	char id[130];

	memset(id, 'a', sizeof(id));
	id[128] = '\0';
	CHECK_INT(signature_check(SECRET, id, AT, BODY, SPAN_LIT("v1,x")), ERR_DENIED);
	id[128] = 'a', id[129] = '\0';
	CHECK_INT(signature_check(SECRET, id, AT, BODY, SPAN_LIT("v1,x")), ERR_INVAL);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(the_specifications_example_is_met),
		T(each_secret_signs),
		T(one_that_is_no_secret_spoils_all),
		T(a_secret_is_neither_too_short_nor_too_long),
		T(nothing_is_appended_when_it_fails),
		T(any_of_the_secrets_and_of_the_signatures_will_do),
		T(another_id_time_or_body_is_another_signature),
		T(an_id_has_a_longest_one),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
