/*
 * signature.h - Standard Webhooks 1.0.0: v1 signatures, made and checked. Pure.
 *
 * A secret is "whsec_" and the base64 of LIMIT_WEBHOOK_SECRET_MIN to _MAX
 * bytes; while one is replaced by another there are several, separated by
 * blanks. Signed is "id.timestamp.body".
 */
#ifndef FOREMAN_CORE_SIGNATURE_H
#define FOREMAN_CORE_SIGNATURE_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* The webhook-signature of these bytes, "v1,<base64>" for each secret, blanks
 * between, appended to `out`. ERR_INVAL: one of them is no secret, or there is
 * none; then nothing was appended. */
enum err signature_make(const char *secrets, const char *id, int64_t timestamp_s,
                        struct span body, struct buf *out) MUST_CHECK;

/* Is one of the signatures in `header` one of these secrets'? ERR_DENIED: no.
 * ERR_INVAL: as above. Whether the timestamp is recent is the caller's to ask. */
enum err signature_check(const char *secrets, const char *id, int64_t timestamp_s,
                         struct span body, struct span header) MUST_CHECK;

#endif
