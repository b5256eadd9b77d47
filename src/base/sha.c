/*
 * sha.c - SHA-256, its HMAC, and the kernel's random bytes.
 *
 * None of these can fail but for want of memory or a broken installation, and
 * nobody could go on without them: such a process stops where it stands.
 */
#include <config.h>

#include "base/sha.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/str.h"

static void need(bool done)
{
	if (!done)
		abort();
}

void sha256(const void *p, size_t len, unsigned char out[SHA256_LEN])
{
	need(EVP_Digest(p, len, out, NULL, EVP_sha256(), NULL));
}

void sha256_hex(const void *p, size_t len, char out[2 * SHA256_LEN + 1])
{
	unsigned char digest[SHA256_LEN];

	sha256(p, len, digest);
	str_hex(digest, sizeof(digest), out);
}

void sha_hmac256(const void *key, size_t key_len, const struct sha_piece *pieces,
                 size_t count, unsigned char out[SHA256_LEN])
{
	char digest[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string("digest", digest, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
	size_t len;

	/* a NULL key would mean "the one set before", and there is none */
	need(ctx && EVP_MAC_init(ctx, key_len ? key : "", key_len, params));
	for (size_t i = 0; i < count; i++)
		need(EVP_MAC_update(ctx, pieces[i].p, pieces[i].len));
	need(EVP_MAC_final(ctx, out, &len, SHA256_LEN));
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
}

void sha_random(void *p, size_t len)
{
	unsigned char *to = p;

	while (len) {
		ssize_t got = getrandom(to, len, 0);

		need(got > 0 || errno == EINTR);
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
