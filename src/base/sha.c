/*
 * sha.c - SHA-256, its HMAC, and the kernel's random bytes.
 *
 * Digests are made where they stand, without memory or a provider that could
 * be missing, so that none of them can fail: hence libcrypto's old calls, its
 * new ones allocate. Random bytes may fail on a kernel that has none; nobody
 * could go on without them, and such a process stops where it stands.
 */
#include <config.h>

#include "base/sha.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/str.h"

#define BLOCK 64 /* bytes SHA-256 takes at a time (RFC 2104's B) */

void sha256(const void *p, size_t len, unsigned char out[SHA256_LEN])
{
	SHA256_CTX c;

	SHA256_Init(&c);
	SHA256_Update(&c, p, len);
	SHA256_Final(out, &c);
}

void sha256_hex(const void *p, size_t len, char out[2 * SHA256_LEN + 1])
{
	unsigned char digest[SHA256_LEN];

	sha256(p, len, digest);
	str_hex(digest, sizeof(digest), out);
}

/* Begin a digest with the key, each of its bytes turned by `pad`. */
static void begin_padded(SHA256_CTX *c, const unsigned char key[BLOCK], int pad)
{
	unsigned char block[BLOCK];

	for (size_t i = 0; i < BLOCK; i++)
		block[i] = (unsigned char)(key[i] ^ pad);
	SHA256_Init(c);
	SHA256_Update(c, block, sizeof(block));
	OPENSSL_cleanse(block, sizeof(block));
}

void sha_hmac256(const void *key, size_t key_len, const struct sha_piece *pieces,
                 size_t count, unsigned char out[SHA256_LEN])
{
	unsigned char whole[BLOCK] = { 0 }, inner[SHA256_LEN];
	SHA256_CTX c;

	if (key_len > BLOCK)
		sha256(key, key_len, whole);
	else if (key_len > 0)
		memcpy(whole, key, key_len);
	begin_padded(&c, whole, 0x36);
	for (size_t i = 0; i < count; i++)
		SHA256_Update(&c, pieces[i].p, pieces[i].len);
	SHA256_Final(inner, &c);
	begin_padded(&c, whole, 0x5c);
	SHA256_Update(&c, inner, sizeof(inner));
	SHA256_Final(out, &c);
	OPENSSL_cleanse(whole, sizeof(whole));
}

void sha_random(void *p, size_t len)
{
	unsigned char *to = p;

	while (len) {
		ssize_t got = getrandom(to, len, 0);

		if (got <= 0 && errno != EINTR)
			abort();
		if (got > 0) {
			to += got;
			len -= (size_t)got;
		}
	}
}

bool sha_same_secret(const void *a, size_t a_len, const void *b, size_t b_len)
{
	unsigned char of_a[SHA256_LEN], of_b[SHA256_LEN];

	sha256(a, a_len, of_a);
	sha256(b, b_len, of_b);
	return CRYPTO_memcmp(of_a, of_b, SHA256_LEN) == 0;
}
