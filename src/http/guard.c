/*
 * guard.c - the allow-list compiled, the target kept out.
 *
 * An address is allowed by its class, a network it is in, or the name it was
 * found by. The target is compared by address and port; its own host under
 * another of its addresses counts too.
 * Refused: every spelling of a URL that two parsers might read differently.
 * A target given by name is looked up only for addresses on its port; while
 * nobody can say where the target is, that port is closed.
 */
#include <config.h>

#include "http/guard.h"

#include <ifaddrs.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/str.h"
#include "core/address.h"
#include "core/limits.h"
#include "http/lookup.h"

#define HOST_SIZE (HOST_NAME_MAX_LEN + 1) /* plain: without brackets, final dot */

struct rule {
	enum { RULE_CLASS, RULE_NET, RULE_HOST } kind;
	enum address_class class;
	struct network net;
	char *host;
};

struct guard {
	struct rule *rules;
	size_t count;
	char target[HOST_SIZE];
	uint16_t target_port;
	struct address target_address; /* unless it is a name: */
	struct lookup *lookup;
};

/* --- host names ------------------------------------------------------------ */

static struct span without_final_dot(struct span name)
{
	if (name.len > 1 && name.p[name.len - 1] == '.')
		name.len--;
	return name;
}

/* Copy without brackets and final dot. */
static bool plain_host(const char *host, char *out, size_t size)
{
	struct span s = span_of(host);

	if (s.len >= 2 && s.p[0] == '[' && s.p[s.len - 1] == ']') {
		s.p++;
		s.len -= 2;
	} else {
		s = without_final_dot(s);
	}
	if (!s.len || s.len >= size)
		return false;
	memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return true;
}

static bool is_localhost(const char *host)
{
	static const char name[] = "localhost";
	size_t len = strlen(host), n = sizeof(name) - 1;

	return len >= n && strcasecmp(host + len - n, name) == 0 &&
	       (len == n || host[len - n - 1] == '.');
}

/* --- the target ------------------------------------------------------------ */

/* Is this an address of the machine we run on? */
static bool is_own(const struct address *a)
{
	struct ifaddrs *all;
	bool own = address_class(a) == ADDRESS_LOOPBACK;

	if (own || getifaddrs(&all) != 0)
		return own;
	for (const struct ifaddrs *i = all; i && !own; i = i->ifa_next) {
		struct address b;
		uint16_t port;

		own = i->ifa_addr && address_of(i->ifa_addr, &b, &port) &&
		      address_same(a, &b);
	}
	freeifaddrs(all);
	return own;
}

/* 0.0.0.0 and :: reach our own machine too. */
static bool reaches(const struct address *a, const struct address *target)
{
	static const struct address none4, none6 = { .v6 = true };

	if (address_same(a, target))
		return true;
	return (is_own(a) || address_same(a, &none4) || address_same(a, &none6)) &&
	       is_own(target);
}

static bool reaches_found(void *arg, const struct sockaddr *found)
{
	struct address target;
	uint16_t port;

	return address_of(found, &target, &port) && reaches(arg, &target);
}

/* Is that address, on the target's port, the target? Unknown counts as yes. */
static bool is_target(const struct guard *g, struct address *a, struct errtext *why)
{
	bool is;

	if (!g->lookup)
		is = reaches(a, &g->target_address);
	else if (lookup_any(g->lookup, reaches_found, a, &is) != ERR_OK)
		is = true;
	if (is)
		errtext_set(why, "address not allowed: the target's own, or it is not "
		            "known where the target is");
	return is;
}

/* --- making one ------------------------------------------------------------ */

static bool rule_parse(const char *text, struct rule *r)
{
	static const struct {
		const char *name;
		enum address_class class;
	} named[] = {
		{ "public", ADDRESS_PUBLIC },
		{ "lan", ADDRESS_LAN },
		{ "loopback", ADDRESS_LOOPBACK },
	};

	for (size_t i = 0; i < ARRAY_LEN(named); i++)
		if (strcasecmp(text, named[i].name) == 0) {
			*r = (struct rule){ RULE_CLASS, .class = named[i].class };
			return true;
		}
	if (network_read(span_of(text), &r->net)) {
		r->kind = RULE_NET;
		return true;
	}
	r->kind = RULE_HOST;
	return host_name_ok(without_final_dot(span_of(text)));
}

static enum err add_rule(struct guard *g, struct span item, struct errtext *why)
{
	struct rule *more = realloc(g->rules, (g->count + 1) * sizeof(*more));
	char *text = span_dup(span_trim(item));
	struct rule *r;

	if (more)
		g->rules = more;
	if (!more || !text) {
		free(text);
		return ERR_NOMEM;
	}
	r = &more[g->count];
	*r = (struct rule){ 0 };
	if (!rule_parse(text, r)) {
		errtext_set(why, "'%.100s' is none of public, lan, loopback, an address, "
		            "a network in CIDR form, a host name", text);
		free(text);
		return ERR_INVAL;
	}
	g->count++;
	if (r->kind != RULE_HOST) {
		free(text);
		return ERR_OK;
	}
	if (text[strlen(text) - 1] == '.')
		text[strlen(text) - 1] = '\0';
	r->host = text;
	return ERR_OK;
}

static enum err add_rules(struct guard *g, const char *allow, struct errtext *why)
{
	struct span rest = span_of(allow), item;

	if (!span_trim(rest).len)
		return ERR_OK; /* nothing is allowed */
	while (span_cut(&rest, ',', &item)) {
		enum err e = add_rule(g, item, why);

		if (e)
			return e;
	}
	return ERR_OK;
}

/* The host (plain) and port of a URL, by the parser that will connect. */
static enum err url_parts(const char *url, char host[HOST_SIZE], uint16_t *port)
{
	char *h = NULL, *p = NULL;
	CURLU *u = curl_url();
	CURLUcode rc = CURLUE_OUT_OF_MEMORY;
	enum err e = ERR_OK;
	uint64_t n = 0;

	if (u)
		rc = curl_url_set(u, CURLUPART_URL, url, CURLU_PATH_AS_IS);
	if (!rc)
		rc = curl_url_get(u, CURLUPART_HOST, &h, 0);
	if (!rc)
		rc = curl_url_get(u, CURLUPART_PORT, &p, CURLU_DEFAULT_PORT);
	if (rc == CURLUE_OUT_OF_MEMORY)
		e = ERR_NOMEM;
	else if (rc || !plain_host(h, host, HOST_SIZE) || str_u64(span_of(p), &n) ||
	         !n || n > UINT16_MAX)
		e = ERR_INVAL;
	else
		*port = (uint16_t)n;
	curl_free(h);
	curl_free(p);
	curl_url_cleanup(u);
	return e;
}

static enum err set_target(struct guard *g, const char *url, struct errtext *why)
{
	enum err e = url_parts(url, g->target, &g->target_port);

	if (e) {
		errtext_set(why, "the target's URL is not understood");
		return e;
	}
	if (address_read(g->target, &g->target_address))
		return ERR_OK;
	g->lookup = lookup_new(g->target);
	return g->lookup ? ERR_OK : ERR_NOMEM;
}

enum err guard_new(const char *allow, const char *target_url, struct guard **out,
                   struct errtext *why)
{
	struct guard *g = calloc(1, sizeof(*g));
	enum err e = ERR_NOMEM;

	if (g)
		e = set_target(g, target_url, why);
	if (!e)
		e = add_rules(g, allow, why);
	if (e == ERR_NOMEM)
		errtext_set(why, "out of memory");
	if (e)
		guard_free(g);
	else
		*out = g;
	return e;
}

void guard_free(struct guard *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->count; i++)
		free(g->rules[i].host);
	free(g->rules);
	lookup_free(g->lookup);
	free(g);
}

/* --- judging --------------------------------------------------------------- */

/* `host` (plain) opens every class by its name, but nothing special. */
static bool rules_allow(const struct guard *g, const char *host,
                        const struct address *a)
{
	enum address_class class = address_class(a);

	for (size_t i = 0; i < g->count; i++) {
		const struct rule *r = &g->rules[i];

		if ((r->kind == RULE_CLASS && r->class == class) ||
		    (r->kind == RULE_NET && network_holds(&r->net, a)) ||
		    (r->kind == RULE_HOST && class != ADDRESS_SPECIAL &&
		     strcasecmp(r->host, host) == 0))
			return true;
	}
	return false;
}

static bool class_allowed(const struct guard *g, const char *host,
                          const struct address *a, struct errtext *why)
{
	static const char *const names[] = {
		"a public address", "an address of the local network",
		"a loopback address", "an address of a reserved range"
	};

	if (rules_allow(g, host, a))
		return true;
	errtext_set(why, "address not allowed: %s, see FOREMAN_WEBHOOK_ALLOW",
	            names[address_class(a)]);
	return false;
}

bool guard_allows(const struct guard *g, const char *host,
                  const struct sockaddr *addr, struct errtext *why)
{
	char plain[HOST_SIZE];
	struct address a;
	uint16_t port;

	if (!address_of(addr, &a, &port)) {
		errtext_set(why, "address not allowed: neither IPv4 nor IPv6");
		return false;
	}
	if (!plain_host(host, plain, sizeof(plain)))
		plain[0] = '\0';
	return class_allowed(g, plain, &a, why) &&
	       (port != g->target_port || !is_target(g, &a, why));
}

/* --- URLs ------------------------------------------------------------------ */

static enum err wrong(struct errtext *why, const char *what)
{
	errtext_set(why, "not a webhook URL: %s", what);
	return ERR_INVAL;
}

/* "host:port" as it stands in the URL; only what has one reading. */
static enum err check_authority(struct span authority, struct errtext *why)
{
	struct span host = authority, port;
	const char *end;
	uint16_t n;

	if (!authority.len)
		return wrong(why, "no host");
	if (authority.p[0] == '[') {
		end = memchr(authority.p, ']', authority.len);
		if (!end)
			return wrong(why, "'[' without ']'");
		host.len = (size_t)(end + 1 - authority.p);
	} else {
		end = memchr(authority.p, ':', authority.len);
		if (end)
			host.len = (size_t)(end - authority.p);
		if (!host_form_ok(without_final_dot(host)))
			return wrong(why, "the host is neither a name nor an address");
	}
	if (host.len == authority.len)
		return ERR_OK;
	port.p = host.p + host.len + 1;
	port.len = authority.len - host.len - 1;
	if (host.p[host.len] != ':' || !port_read(port, &n))
		return wrong(why, "the port is not a number from 1 to 65535");
	return ERR_OK;
}

/* Before any parser is asked: what parsers disagree about is refused. */
static enum err check_form(struct span url, struct errtext *why)
{
	struct span rest;
	size_t len = 0;

	if (url.len > LIMIT_WEBHOOK_URL)
		return wrong(why, "too long");
	for (size_t i = 0; i < url.len; i++)
		if (url.p[i] <= ' ' || url.p[i] > '~' || url.p[i] == '\\')
			return wrong(why, "a character that must be percent-encoded "
			             "(host names: punycode)");
	if (memchr(url.p, '#', url.len))
		return wrong(why, "it has a fragment");
	if (url.len >= 7 && strncasecmp(url.p, "http://", 7) == 0)
		rest = (struct span){ url.p + 7, url.len - 7 };
	else if (url.len >= 8 && strncasecmp(url.p, "https://", 8) == 0)
		rest = (struct span){ url.p + 8, url.len - 8 };
	else
		return wrong(why, "it does not begin with http:// or https://");
	while (len < rest.len && rest.p[len] != '/' && rest.p[len] != '?')
		len++;
	if (memchr(rest.p, '@', len))
		return wrong(why, "it has a user name or password");
	return check_authority((struct span){ rest.p, len }, why);
}

enum err guard_check_url(const struct guard *g, const char *url,
                         struct errtext *why)
{
	char host[HOST_SIZE];
	struct address a;
	uint16_t port;
	enum err e = check_form(span_of(url), why);

	if (e)
		return e;
	e = url_parts(url, host, &port);
	if (e == ERR_NOMEM)
		return e;
	if (e)
		return wrong(why, "its host or port is not understood");
	if (port == g->target_port && strcasecmp(host, g->target) == 0) {
		errtext_set(why, "address not allowed: the target's own");
		return ERR_DENIED;
	}
	if (is_localhost(host)) {
		a = (struct address){ .b = { 127, 0, 0, 1 } };
	} else if (!address_read(host, &a)) {
		if (!host_name_ok(span_of(host)))
			return wrong(why, "the host is neither a name nor an address");
		return ERR_OK; /* where it leads, connecting will tell */
	}
	if (!class_allowed(g, host, &a, why))
		return ERR_DENIED;
	if (port == g->target_port && !g->lookup && is_target(g, &a, why))
		return ERR_DENIED;
	return ERR_OK;
}
