/*
 * hub.h - HTTP exchanges in a loop, any number at once.
 */
#ifndef FOREMAN_HTTP_HUB_H
#define FOREMAN_HTTP_HUB_H

#include "base/attr.h"
#include "base/err.h"
#include "http/loop.h"
#include "http/xfer.h"

struct xfer;

/* Nothing is called back before this returns. May be called from callbacks.
 * ERR_INVAL: the URL (its scheme must be written) or a header line is none. */
enum err xfer_start(struct loop *l, const struct xfer_ask *ask,
                    const struct xfer_calls *calls, void *arg, struct xfer **out,
                    struct errtext *why) MUST_CHECK;
/* Tear down now; no callback comes after this, not even done. NULL is fine.
 * May be called from any callback, for any exchange of the loop. */
void xfer_stop(struct xfer *x);

#endif
