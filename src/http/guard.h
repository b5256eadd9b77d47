/*
 * guard.h - which addresses a webhook may reach.
 *
 * FOREMAN_WEBHOOK_ALLOW compiled: classes (public, lan, loopback), CIDRs, host
 * names. What counts is the address actually connected to, after DNS, with
 * IPv4-mapped and NAT64 forms unwrapped; so a name that resolves elsewhere
 * later gains nothing. The target's own address and port are always refused,
 * and so is that port at every other address of the target's machine, if that
 * is ours; where the target's name does not resolve at once, the port is closed.
 * Link-local, multicast, unspecified and reserved ranges only by CIDR, not by a
 * host name either. An empty list allows nothing.
 */
#ifndef FOREMAN_HTTP_GUARD_H
#define FOREMAN_HTTP_GUARD_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/socket.h>

struct guard;

/* `target_url` is resolved again at every check that needs it, if it is a
 * name. ERR_INVAL: the list is not understood. */
enum err guard_new(const char *allow, const char *target_url, struct guard **out,
                   struct errtext *why) MUST_CHECK;
void guard_free(struct guard *g);

/*
 * At submit: is this a webhook URL at all (http/https, a host, no userinfo,
 * no fragment, no control characters or '\', port 1-65535, at most
 * LIMIT_WEBHOOK_URL bytes), and if its host is an address in any spelling, is
 * that allowed? Names pass here; no DNS. ERR_INVAL, ERR_DENIED.
 */
enum err guard_check_url(const struct guard *g, const char *url,
                         struct errtext *why) MUST_CHECK;

/* At connect: `host` is the URL's, for allowed host names. */
bool guard_allows(const struct guard *g, const char *host,
                  const struct sockaddr *addr, struct errtext *why);

#endif
