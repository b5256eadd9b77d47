/*
 * guard.c - the allow-list compiled, addresses classed, the target kept out.
 *
 * An address is taken apart once (struct place): IPv4-mapped and NAT64 forms
 * become IPv4, then it has exactly one class. The target is compared by
 * address and port; its own host under another of its addresses counts too.
 * Refused: every spelling of a URL that two parsers might read differently.
 * A target given by name is looked up within LOOKUP_MS, and only for addresses
 * on its port; while nobody can say where the target is, that port is closed.
 */
#include <config.h>

#include "http/guard.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#include "base/str.h"
#include "core/limits.h"

/* A handler must not block: hosts and a near resolver answer well within. */
#define LOOKUP_MS 250

#define HOST_MAX 253
#define HOST_SIZE (HOST_MAX + 1) /* plain: without brackets and final dot */
#define LABEL_MAX 63

enum class { CLASS_PUBLIC, CLASS_LAN, CLASS_LOOPBACK, CLASS_SPECIAL };

struct place {
	bool v6;
	unsigned char b[16]; /* 4 or 16 of them */
};

struct net {
	struct place place;
	unsigned bits;
};

struct rule {
	enum { RULE_CLASS, RULE_NET, RULE_HOST } kind;
	enum class class;
	struct net net;
	char *host;
};

struct lookup {
	pthread_mutex_t lock;
	struct gaicb request; /* one at a time; may outlive the wait for it */
	struct addrinfo hints;
	char host[HOST_SIZE];
};

struct guard {
	struct rule *rules;
	size_t count;
	char target[HOST_SIZE];
	uint16_t target_port;
	struct place target_place; /* unless it is a name: */
	struct lookup *lookup;
};

/* --- addresses ------------------------------------------------------------- */

static bool in_net(const struct place *p, const struct net *n)
{
	unsigned whole = n->bits / 8, rest = n->bits % 8;

	if (p->v6 != n->place.v6 || memcmp(p->b, n->place.b, whole) != 0)
		return false;
	return !rest || (p->b[whole] ^ n->place.b[whole]) >> (8 - rest) == 0;
}

static bool same_place(const struct place *a, const struct place *b)
{
	return in_net(a, &(struct net){ *b, b->v6 ? 128 : 32 });
}

/* ::ffff:a.b.c.d and 64:ff9b::a.b.c.d are a.b.c.d. */
static void unwrap(struct place *p)
{
	static const unsigned char mapped[12] = { [10] = 0xff, 0xff };
	static const unsigned char nat64[12] = { 0x00, 0x64, 0xff, 0x9b };

	if (!p->v6)
		return;
	if (memcmp(p->b, mapped, 12) == 0 || memcmp(p->b, nat64, 12) == 0) {
		memmove(p->b, p->b + 12, 4);
		memset(p->b + 4, 0, 12);
		p->v6 = false;
	}
}

static bool place_of(const struct sockaddr *addr, struct place *out, uint16_t *port)
{
	struct place p = { 0 };

	if (addr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)addr;

		memcpy(p.b, &in->sin_addr, 4);
		*port = ntohs(in->sin_port);
	} else if (addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)addr;

		p.v6 = true;
		memcpy(p.b, &in6->sin6_addr, 16);
		*port = ntohs(in6->sin6_port);
	} else {
		return false;
	}
	unwrap(&p);
	*out = p;
	return true;
}

/* IANA's special-purpose registries. First match counts; what stands in no row
 * is public in IPv4, and special in IPv6, where only 2000::/3 is given out. */
static const struct {
	const char *net;
	enum class class;
} classes[] = {
	{ "127.0.0.0/8", CLASS_LOOPBACK },
	{ "10.0.0.0/8", CLASS_LAN },
	{ "172.16.0.0/12", CLASS_LAN },
	{ "192.168.0.0/16", CLASS_LAN },
	{ "0.0.0.0/8", CLASS_SPECIAL },       /* this host, this network */
	{ "100.64.0.0/10", CLASS_SPECIAL },   /* carrier-grade NAT, tailnets */
	{ "169.254.0.0/16", CLASS_SPECIAL },  /* link-local, cloud metadata */
	{ "192.0.0.0/24", CLASS_SPECIAL },    /* protocol assignments */
	{ "192.0.2.0/24", CLASS_SPECIAL },    /* documentation, three times */
	{ "198.51.100.0/24", CLASS_SPECIAL },
	{ "203.0.113.0/24", CLASS_SPECIAL },
	{ "192.88.99.0/24", CLASS_SPECIAL },  /* 6to4 relays */
	{ "198.18.0.0/15", CLASS_SPECIAL },   /* benchmarks */
	{ "224.0.0.0/3", CLASS_SPECIAL },     /* multicast, reserved, broadcast */
	{ "0.0.0.0/0", CLASS_PUBLIC },
	{ "::1/128", CLASS_LOOPBACK },
	{ "fc00::/7", CLASS_LAN },            /* unique local */
	{ "2001::/23", CLASS_SPECIAL },       /* Teredo and other protocols */
	{ "2001:db8::/32", CLASS_SPECIAL },   /* documentation */
	{ "2002::/16", CLASS_SPECIAL },       /* 6to4: has an IPv4 address in it */
	{ "3fff::/20", CLASS_SPECIAL },       /* documentation */
	{ "2000::/3", CLASS_PUBLIC },
	{ "::/0", CLASS_SPECIAL },            /* fe80::/10, ff00::/8, :: ... */
};

/* "10.0.0.0/8", "::1", "[::1]" is none. Bits beyond the prefix must be 0. */
static bool net_parse(const char *text, struct net *out)
{
	struct span rest = span_of(text), part;
	char addr[INET6_ADDRSTRLEN];
	struct net n = { .bits = 0 };
	uint64_t bits;

	if (!span_cut(&rest, '/', &part) || part.len >= sizeof(addr))
		return false;
	memcpy(addr, part.p, part.len);
	addr[part.len] = '\0';
	n.place.v6 = strchr(addr, ':') != NULL;
	if (inet_pton(n.place.v6 ? AF_INET6 : AF_INET, addr, n.place.b) != 1)
		return false;
	bits = n.place.v6 ? 128 : 32;
	if (rest.p) {
		uint64_t max = bits;

		if (str_u64(rest, &bits) || bits > max)
			return false;
	}
	n.bits = (unsigned)bits;
	for (unsigned i = n.bits; i < (n.place.v6 ? 128u : 32u); i++)
		if (n.place.b[i / 8] >> (7 - i % 8) & 1)
			return false;
	if (n.bits >= 96) {
		bool was_v6 = n.place.v6;

		unwrap(&n.place);
		if (was_v6 && !n.place.v6)
			n.bits -= 96;
	}
	*out = n;
	return true;
}

static enum class class_of(const struct place *p)
{
	for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
		struct net n;

		if (net_parse(classes[i].net, &n) && in_net(p, &n))
			return classes[i].class;
	}
	return CLASS_SPECIAL;
}

/* --- host names ------------------------------------------------------------ */

/* Letters, digits, '-' and '_' in labels of 1-63; a final dot is allowed. */
static bool name_ok(struct span name)
{
	struct span label;

	if (name.len && name.p[name.len - 1] == '.')
		name.len--;
	if (!name.len || name.len > HOST_MAX)
		return false;
	while (span_cut(&name, '.', &label)) {
		if (!label.len || label.len > LABEL_MAX)
			return false;
		for (size_t i = 0; i < label.len; i++) {
			char c = label.p[i];

			if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
			    !(c >= '0' && c <= '9') && c != '-' && c != '_')
				return false;
		}
	}
	return true;
}

/* Does the last label look like a number? Then the whole is an address, in
 * one of its old spellings or in none. */
static bool looks_numeric(const char *host)
{
	const char *dot = strrchr(host, '.');
	const char *last = dot ? dot + 1 : host;

	if (last[0] == '0' && (last[1] == 'x' || last[1] == 'X'))
		return true;
	return *last && strspn(last, "0123456789") == strlen(last);
}

/* Copy without brackets and final dot. */
static bool plain_host(const char *host, char *out, size_t size)
{
	struct span s = span_of(host);

	if (s.len >= 2 && s.p[0] == '[' && s.p[s.len - 1] == ']') {
		s.p++;
		s.len -= 2;
	} else if (s.len > 1 && s.p[s.len - 1] == '.') {
		s.len--;
	}
	if (!s.len || s.len >= size)
		return false;
	memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return true;
}

/* An address in any spelling: 127.1, 0x7f000001, 017700000001, ::ffff:… */
static bool literal_place(const char *host, struct place *out)
{
	struct place p = { .v6 = strchr(host, ':') != NULL };

	if (p.v6 ? inet_pton(AF_INET6, host, p.b) != 1
	         : inet_aton(host, (struct in_addr *)(void *)p.b) == 0)
		return false;
	unwrap(&p);
	*out = p;
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
static bool is_own(const struct place *p)
{
	struct ifaddrs *all;
	bool own = class_of(p) == CLASS_LOOPBACK;

	if (own || getifaddrs(&all) != 0)
		return own;
	for (const struct ifaddrs *i = all; i && !own; i = i->ifa_next) {
		struct place q;
		uint16_t port;

		own = i->ifa_addr && place_of(i->ifa_addr, &q, &port) &&
		      same_place(p, &q);
	}
	freeifaddrs(all);
	return own;
}

/* 0.0.0.0 and :: reach our own machine too. */
static bool reaches(const struct place *p, const struct place *target)
{
	static const struct place none4, none6 = { .v6 = true };

	if (same_place(p, target))
		return true;
	return (is_own(p) || same_place(p, &none4) || same_place(p, &none6)) &&
	       is_own(target);
}

static struct lookup *lookup_new(const char *host)
{
	struct lookup *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	if (!str_copy(k->host, sizeof(k->host), host) ||
	    pthread_mutex_init(&k->lock, NULL) != 0) {
		free(k);
		return NULL;
	}
	k->hints.ai_socktype = SOCK_STREAM;
	k->request.ar_name = k->host;
	k->request.ar_request = &k->hints;
	return k;
}

static void lookup_free(struct lookup *k)
{
	if (!k)
		return;
	gai_cancel(&k->request);
	/* one in a stuck resolver is written to when it ends: left where it is */
	if (gai_error(&k->request) == EAI_INPROGRESS)
		return;
	if (k->request.ar_result)
		freeaddrinfo(k->request.ar_result);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

/* Ask anew, and wait a moment. False: not known in time; as long as the
 * resolver is stuck with one question, the next is not even asked. */
static bool lookup_ask(struct lookup *k)
{
	const struct timespec moment = { .tv_nsec = LOOKUP_MS * 1000000L };
	const struct gaicb *waiting[1] = { &k->request };
	struct gaicb *asked[1] = { &k->request };

	if (gai_error(&k->request) == EAI_INPROGRESS)
		return false;
	if (k->request.ar_result)
		freeaddrinfo(k->request.ar_result);
	k->request.ar_result = NULL;
	if (getaddrinfo_a(GAI_NOWAIT, asked, 1, NULL) != 0)
		return false;
	while (gai_suspend(waiting, 1, &moment) == EAI_INTR)
		;
	return gai_error(&k->request) == 0;
}

/* Do the name's addresses reach that one? Unknown counts as yes. */
static bool lookup_reaches(struct lookup *k, const struct place *p)
{
	bool reached = false;

	if (!lookup_ask(k))
		return true;
	for (const struct addrinfo *a = k->request.ar_result; a && !reached;
	     a = a->ai_next) {
		struct place q;
		uint16_t port;

		reached = place_of(a->ai_addr, &q, &port) && reaches(p, &q);
	}
	return reached;
}

/* Is that address, on the target's port, the target? */
static bool is_target(const struct guard *g, const struct place *p,
                      struct errtext *why)
{
	bool is;

	if (g->lookup) {
		pthread_mutex_lock(&g->lookup->lock);
		is = lookup_reaches(g->lookup, p);
		pthread_mutex_unlock(&g->lookup->lock);
	} else {
		is = reaches(p, &g->target_place);
	}
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
		enum class class;
	} named[] = {
		{ "public", CLASS_PUBLIC },
		{ "lan", CLASS_LAN },
		{ "loopback", CLASS_LOOPBACK },
	};

	for (size_t i = 0; i < ARRAY_LEN(named); i++)
		if (strcasecmp(text, named[i].name) == 0) {
			*r = (struct rule){ RULE_CLASS, .class = named[i].class };
			return true;
		}
	if (net_parse(text, &r->net)) {
		r->kind = RULE_NET;
		return true;
	}
	r->kind = RULE_HOST;
	return !looks_numeric(text) && name_ok(span_of(text));
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
static bool url_parts(const char *url, char host[HOST_SIZE], uint16_t *port)
{
	char *h = NULL, *p = NULL;
	CURLU *u = curl_url();
	uint64_t n = 0;
	bool ok;

	ok = u && !curl_url_set(u, CURLUPART_URL, url, CURLU_PATH_AS_IS) &&
	     !curl_url_get(u, CURLUPART_HOST, &h, 0) &&
	     !curl_url_get(u, CURLUPART_PORT, &p, CURLU_DEFAULT_PORT) &&
	     plain_host(h, host, HOST_SIZE) && !str_u64(span_of(p), &n) && n &&
	     n <= UINT16_MAX;
	if (ok)
		*port = (uint16_t)n;
	curl_free(h);
	curl_free(p);
	curl_url_cleanup(u);
	return ok;
}

static enum err set_target(struct guard *g, const char *url, struct errtext *why)
{
	if (!url_parts(url, g->target, &g->target_port)) {
		errtext_set(why, "the target's URL is not understood");
		return ERR_INVAL;
	}
	if (literal_place(g->target, &g->target_place))
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
                        const struct place *p)
{
	enum class class = class_of(p);

	for (size_t i = 0; i < g->count; i++) {
		const struct rule *r = &g->rules[i];

		if ((r->kind == RULE_CLASS && r->class == class) ||
		    (r->kind == RULE_NET && in_net(p, &r->net)) ||
		    (r->kind == RULE_HOST && class != CLASS_SPECIAL &&
		     strcasecmp(r->host, host) == 0))
			return true;
	}
	return false;
}

static bool class_allowed(const struct guard *g, const char *host,
                          const struct place *p, struct errtext *why)
{
	static const char *const names[] = {
		"a public address", "an address of the local network",
		"a loopback address", "an address of a reserved range"
	};

	if (rules_allow(g, host, p))
		return true;
	errtext_set(why, "address not allowed: %s, see FOREMAN_WEBHOOK_ALLOW",
	            names[class_of(p)]);
	return false;
}

bool guard_allows(const struct guard *g, const char *host,
                  const struct sockaddr *addr, struct errtext *why)
{
	char plain[HOST_SIZE];
	struct place p;
	uint16_t port;

	if (!place_of(addr, &p, &port)) {
		errtext_set(why, "address not allowed: neither IPv4 nor IPv6");
		return false;
	}
	if (!plain_host(host, plain, sizeof(plain)))
		plain[0] = '\0';
	return class_allowed(g, plain, &p, why) &&
	       (port != g->target_port || !is_target(g, &p, why));
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
	struct span host = authority, port = { NULL, 0 };
	const char *end;
	uint64_t n;

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
		if (!name_ok(host))
			return wrong(why, "the host is neither a name nor an address");
	}
	if (host.len == authority.len)
		return ERR_OK;
	port.p = host.p + host.len + 1;
	port.len = authority.len - host.len - 1;
	if (host.p[host.len] != ':' || port.len > 5 || str_u64(port, &n) || n < 1 ||
	    n > UINT16_MAX)
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
	struct place p;
	uint16_t port;
	enum err e = check_form(span_of(url), why);

	if (e)
		return e;
	if (!url_parts(url, host, &port))
		return wrong(why, "its host or port is not understood");
	if (port == g->target_port && strcasecmp(host, g->target) == 0) {
		errtext_set(why, "address not allowed: the target's own");
		return ERR_DENIED;
	}
	if (is_localhost(host)) {
		p = (struct place){ .b = { 127, 0, 0, 1 } };
	} else if (!literal_place(host, &p)) {
		if (looks_numeric(host) || !name_ok(span_of(host)))
			return wrong(why, "the host is neither a name nor an address");
		return ERR_OK; /* where it leads, connecting will tell */
	}
	if (!class_allowed(g, host, &p, why))
		return ERR_DENIED;
	if (port == g->target_port && !g->lookup && is_target(g, &p, why))
		return ERR_DENIED;
	return ERR_OK;
}
