/*
 * signature.c - Standard Webhooks' v1: HMAC-SHA256 over id, timestamp and body.
 *
 * Of several secrets each signs, and any of them may have signed. Keys are
 * wiped after use, signatures compared in a time that tells nothing.
 * Refused: no secret at all, one that is not whsec_ and the base64 of as many
 * bytes as the standard wants, an id longer than ID_MAX.
 */
#include <config.h>

#include "core/signature.h"

#include <stdio.h>
#include <string.h>

#include "base/sha.h"
#include "core/limits.h"

#define PREFIX "whsec_"
#define ID_MAX 128
/* "v1," and the base64 of a digest */
#define SIGNATURE_SIZE (3 + 4 * ((SHA256_LEN + 2) / 3) + 1)

struct signed_bytes {
	char head[ID_MAX + 32];
	struct sha_piece pieces[2];
};

static enum err take_bytes(const char *id, int64_t timestamp_s, struct span body,
                           struct signed_bytes *out)
{
	int len;

	if (strlen(id) > ID_MAX)
		return ERR_INVAL;
	len = snprintf(out->head, sizeof(out->head), "%s.%lld.", id,
	               (long long)timestamp_s);
	out->pieces[0] = (struct sha_piece){ out->head, (size_t)len };
	out->pieces[1] = (struct sha_piece){ body.p, body.len };
	return ERR_OK;
}

static enum err sign(struct span secret, const struct signed_bytes *bytes,
                     char out[SIGNATURE_SIZE])
{
	unsigned char key[LIMIT_WEBHOOK_SECRET_MAX], digest[SHA256_LEN];
	size_t prefix = strlen(PREFIX), len = sizeof(key);
	enum err e;

	if (secret.len < prefix || memcmp(secret.p, PREFIX, prefix) != 0)
		return ERR_INVAL;
	e = str_unbase64((struct span){ secret.p + prefix, secret.len - prefix }, key,
	                 &len);
	if (e || len < LIMIT_WEBHOOK_SECRET_MIN)
		return ERR_INVAL;
	sha_hmac256(key, len, bytes->pieces, 2, digest);
	explicit_bzero(key, sizeof(key));
	memcpy(out, "v1,", 3);
	str_base64(digest, sizeof(digest), out + 3);
	return ERR_OK;
}

/* The next secret of the list; false at its end. */
static bool next_secret(struct span *secrets, struct span *secret)
{
	while (span_cut(secrets, ' ', secret))
		if (secret->len)
			return true;
	return false;
}

enum err signature_make(const char *secrets, const char *id, int64_t timestamp_s,
                        struct span body, struct buf *out)
{
	struct span rest = span_of(secrets), secret;
	struct signed_bytes bytes;
	size_t before = out->len;
	enum err e = take_bytes(id, timestamp_s, body, &bytes);

	while (!e && next_secret(&rest, &secret)) {
		char one[SIGNATURE_SIZE];

		e = sign(secret, &bytes, one);
		if (!e)
			e = buf_addf(out, "%s%s", out->len > before ? " " : "", one);
	}
	if (!e && out->len == before)
		e = ERR_INVAL;
	if (e)
		out->len = before;
	return e;
}

/* Compared with each of the header's, in a time that tells nothing. */
static bool named_in(struct span header, const char *signature)
{
	struct span one;
	bool found = false;

	while (span_cut(&header, ' ', &one))
		if (sha_same_secret(one.p, one.len, signature, strlen(signature)))
			found = true;
	return found;
}

enum err signature_check(const char *secrets, const char *id, int64_t timestamp_s,
                         struct span body, struct span header)
{
	struct span rest = span_of(secrets), secret;
	struct signed_bytes bytes;
	enum err e = take_bytes(id, timestamp_s, body, &bytes);
	bool any = false, good = false;

	while (!e && next_secret(&rest, &secret)) {
		char one[SIGNATURE_SIZE];

		any = true;
		e = sign(secret, &bytes, one);
		if (!e && named_in(header, one))
			good = true;
	}
	if (!e && !any)
		e = ERR_INVAL;
	return e ? e : good ? ERR_OK : ERR_DENIED;
}
