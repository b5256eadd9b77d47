/*
 * terms.c - the headers of a submission, checked before its body is read.
 *
 * What may be ignored is (a preference); what must not be misread is refused:
 * an encoding, a charset, a key that is more than one.
 */
#include <config.h>

#include "responder/terms.h"

#include <string.h>

#include "responder/answer.h"

/* --- the body's form -------------------------------------------------------- */

static bool charset_ok(struct span parameters)
{
	struct span parameter, key;

	while (span_cut(&parameters, ';', &parameter)) {
		if (!span_cut(&parameter, '=', &key) ||
		    !span_eq_nocase(span_trim(key), "charset"))
			continue;
		parameter = span_trim(parameter);
		if (!span_eq_nocase(parameter, "utf-8") &&
		    !span_eq_nocase(parameter, "\"utf-8\""))
			return false;
	}
	return true;
}

bool terms_media(struct span type, struct span encoding, enum media *out,
                 struct errtext *why)
{
	struct span name;

	*out = MEDIA_JSON;
	if (encoding.p && !span_eq_nocase(span_trim(encoding), "identity")) {
		errtext_set(why, "encoded request bodies are not read");
		return false;
	}
	if (!type.p || !span_cut(&type, ';', &name))
		return true;
	name = span_trim(name);
	if (span_eq_nocase(name, "multipart/form-data")) {
		errtext_set(why, "the body must be a JSON object, or several as "
		                 "application/x-ndjson");
		return false;
	}
	if (!charset_ok(type)) {
		errtext_set(why, "the body must be UTF-8");
		return false;
	}
	if (span_eq_nocase(name, "application/x-ndjson"))
		*out = MEDIA_NDJSON;
	return true;
}

/* --- the key ---------------------------------------------------------------- */

bool terms_key_read(struct span header, char *out)
{
	if (header.len > 1 && header.p[0] == '"' && header.p[header.len - 1] == '"')
		header = (struct span){ header.p + 1, header.len - 2 };
	if (!header.len || header.len > LIMIT_IDEMPOTENCY_KEY)
		return false;
	/* a header sent twice arrives joined by a comma */
	for (size_t i = 0; i < header.len; i++)
		if (header.p[i] <= 0x20 || header.p[i] > 0x7e || header.p[i] == ',' ||
		    header.p[i] == '"')
			return false;
	memcpy(out, header.p, header.len);
	out[header.len] = '\0';
	return true;
}

/* The form is part of it: the same bytes are one job, or a batch of one. */
void terms_fingerprint(enum media media, struct span body,
                       char out[2 * SHA256_LEN + 1])
{
	static const struct span forms[] = {
		[MEDIA_JSON] = SPAN_LIT("job"),
		[MEDIA_NDJSON] = SPAN_LIT("batch"),
	};
	const struct sha_piece piece = { body.p, body.len };
	unsigned char digest[SHA256_LEN];

	sha_hmac256(forms[media].p, forms[media].len, &piece, 1, digest);
	str_hex(digest, sizeof(digest), out);
}

bool terms_key(const struct terms *t, struct queue_key *out)
{
	*out = (struct queue_key){ .text = t->key, .fingerprint = t->fingerprint };
	return t->key[0] != '\0';
}

/* --- all of them ------------------------------------------------------------ */

enum err terms_read(struct call *c, struct terms *out)
{
	const char *key = fcgx_param(c->req, "HTTP_IDEMPOTENCY_KEY");
	struct terms t = { .key = "" };
	struct errtext why;

	if (!terms_media(call_header(c, "HTTP_CONTENT_TYPE"),
	                 call_header(c, "HTTP_CONTENT_ENCODING"), &t.media, &why)) {
		answer_fault(c, FAULT_MEDIA_TYPE, "%s", why.s);
		return ERR_INVAL;
	}
	if (key && !terms_key_read(span_trim(span_of(key)), t.key)) {
		answer_fault(c, FAULT_INVALID_REQUEST,
		             "Idempotency-Key must be one key of 1 to 255 visible "
		             "ASCII characters");
		return ERR_INVAL;
	}
	prefer_read(call_header(c, "HTTP_PREFER"), &t.prefer);
	if (t.key[0])
		terms_fingerprint(t.media, c->body, t.fingerprint);
	*out = t;
	return ERR_OK;
}

/* --- refusals ---------------------------------------------------------------- */

int terms_retry_after(int64_t room_ms)
{
	if (room_ms > LIMIT_RETRY_JOBS_S * INT64_C(1000))
		return LIMIT_RETRY_JOBS_S;
	return (int)((room_ms + 999) / 1000);
}

void terms_refuse_full(struct call *c, int64_t room_ms)
{
	answer_fault_after(c, FAULT_TOO_MANY_JOBS, terms_retry_after(room_ms),
	                   "too many jobs are queued");
}

void terms_refuse_key(struct call *c)
{
	answer_fault(c, FAULT_KEY_REUSED,
	             "this Idempotency-Key came with another request before");
}
