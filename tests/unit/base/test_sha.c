/* test_sha.c - the published vectors, and secrets compared. */
#include <config.h>

#include "base/sha.h"

#include "base/attr.h"
#include "base/str.h"
#include "t.h"

static void digests_match_fips_180(void)
{
	char hex[2 * SHA256_LEN + 1];

	sha256_hex("", 0, hex);
	CHECK_STR(hex,
	          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	sha256_hex(NULL, 0, hex);
	CHECK_STR(hex,
	          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	sha256_hex("abc", 3, hex);
	CHECK_STR(hex,
	          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void check_hmac(const void *key, size_t key_len,
                       const struct sha_piece *pieces, size_t count,
                       const char *want)
{
	unsigned char mac[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	sha_hmac256(key, key_len, pieces, count, mac);
	str_hex(mac, sizeof(mac), hex);
	CHECK_STR(hex, want);
}

static void hmacs_match_rfc_4231(void)
{
	const struct sha_piece two = { "what do ya want for nothing?", 28 };
	const struct sha_piece six = {
		"Test Using Larger Than Block-Size Key - Hash Key First", 54
	};
	unsigned char long_key[131];

	check_hmac("Jefe", 4, &two, 1,
	           "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(long_key, 0xaa, sizeof(long_key));
	check_hmac(long_key, sizeof(long_key), &six, 1,
	           "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void pieces_are_one_message(void)
{
	const struct sha_piece cut[] = {
		{ "what do ", 8 },
		{ NULL, 0 },
		{ "ya want", 7 },
		{ " for nothing?", 13 },
	};

	check_hmac("Jefe", 4, cut, ARRAY_LEN(cut),
	           "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void key_and_message_may_be_empty(void)
{
	check_hmac(NULL, 0, NULL, 0,
	           "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void random_bytes_differ(void)
{
	unsigned char a[32], b[32] = { 0 };

	sha_random(a, sizeof(a));
	sha_random(b, sizeof(b));
	CHECK(memcmp(a, b, sizeof(a)) != 0);
}

static void no_more_random_bytes_come_than_asked_for(void)
{
	unsigned char bytes[1025];

	memset(bytes, 0x5a, sizeof(bytes));
	sha_random(bytes, 0);
	CHECK_INT(bytes[0], 0x5a);
	sha_random(bytes, 1024); /* above 256 the kernel may give fewer at once */
	CHECK_INT(bytes[1024], 0x5a);
	CHECK(memcmp(bytes, bytes + 512, 512) != 0);
}

static void secrets_are_the_same_or_not(void)
{
	CHECK(sha_same_secret("s3cret", 6, "s3cret", 6));
	CHECK(!sha_same_secret("s3cret", 6, "s3creT", 6));
	CHECK(!sha_same_secret("s3cret", 6, "s3cre", 5));
	CHECK(!sha_same_secret("s3cret", 6, "", 0));
	CHECK(!sha_same_secret("a\0b", 3, "a\0c", 3));
	CHECK(sha_same_secret("", 0, NULL, 0));
}

int main(void)
{
	static const struct t_case cases[] = {
		T(digests_match_fips_180),      T(hmacs_match_rfc_4231),
		T(pieces_are_one_message),      T(key_and_message_may_be_empty),
		T(random_bytes_differ),         T(no_more_random_bytes_come_than_asked_for),
		T(secrets_are_the_same_or_not),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
