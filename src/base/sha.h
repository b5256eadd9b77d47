/*
 * sha.h - the one door to libcrypto: digests, HMAC, randomness, comparison.
 */
#ifndef FOREMAN_BASE_SHA_H
#define FOREMAN_BASE_SHA_H

#include <stdbool.h>
#include <stddef.h>

#define SHA256_LEN 32

void sha256(const void *p, size_t len, unsigned char out[SHA256_LEN]);
void sha256_hex(const void *p, size_t len, char out[2 * SHA256_LEN + 1]);

/* HMAC-SHA256 over the concatenation of `count` pieces. */
struct sha_piece {
	const void *p;
	size_t len;
};
void sha_hmac256(const void *key, size_t key_len, const struct sha_piece *pieces,
                 size_t count, unsigned char out[SHA256_LEN]);

/* Unpredictable bytes; does not return without them. */
void sha_random(void *p, size_t len);

/* Equal? Takes the same time whatever the texts hold (it compares digests). */
bool sha_same_secret(const void *a, size_t a_len, const void *b, size_t b_len);

#endif
