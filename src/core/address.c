/*
 * address.c - network addresses, networks, and what hosts are called.
 *
 * The table of classes is IANA's; everything else is spelling. Refused: every
 * spelling of a name that somebody might take for an address.
 */
#include <config.h>

#include "core/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/attr.h"

#define LABEL_MAX 63

static unsigned width(const struct address *a)
{
	return a->v6 ? 128 : 32;
}

/* Whether an IPv4 address stands in it: then that is what it is. */
static bool unwrap(struct address *a)
{
	static const unsigned char mapped[12] = { [10] = 0xff, 0xff };
	static const unsigned char nat64[12] = { 0x00, 0x64, 0xff, 0x9b };

	if (!a->v6 || (memcmp(a->b, mapped, 12) != 0 && memcmp(a->b, nat64, 12) != 0))
		return false;
	memmove(a->b, a->b + 12, 4);
	memset(a->b + 4, 0, 12);
	a->v6 = false;
	return true;
}

/* --- networks ---------------------------------------------------------------- */

/* As inet_pton reads it, nothing unwrapped. */
static bool plain_read(struct span text, struct address *out)
{
	char copy[INET6_ADDRSTRLEN];
	struct address a = { .v6 = text.len && memchr(text.p, ':', text.len) };

	if (!text.len || text.len >= sizeof(copy) || memchr(text.p, '\0', text.len))
		return false;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	if (inet_pton(a.v6 ? AF_INET6 : AF_INET, copy, a.b) != 1)
		return false;
	*out = a;
	return true;
}

/* Are all bits from number `from` on 0? */
static bool ends_in_zeros(const struct address *a, unsigned from)
{
	for (unsigned i = from; i < width(a); i++)
		if (a->b[i / 8] >> (7 - i % 8) & 1)
			return false;
	return true;
}

bool network_read(struct span text, struct network *out)
{
	struct span rest = text, part;
	struct network n = { .bits = 0 };
	uint64_t bits;

	if (!span_cut(&rest, '/', &part) || !plain_read(part, &n.first))
		return false;
	bits = width(&n.first);
	if (rest.p && (rest.len > 3 || str_u64(rest, &bits) || bits > width(&n.first)))
		return false;
	n.bits = (unsigned)bits;
	if (!ends_in_zeros(&n.first, n.bits))
		return false;
	if (n.bits >= 96 && unwrap(&n.first))
		n.bits -= 96;
	*out = n;
	return true;
}

bool network_holds(const struct network *n, const struct address *a)
{
	unsigned whole = n->bits / 8, rest = n->bits % 8;

	if (a->v6 != n->first.v6 || memcmp(a->b, n->first.b, whole) != 0)
		return false;
	return !rest || (a->b[whole] ^ n->first.b[whole]) >> (8 - rest) == 0;
}

/* --- addresses --------------------------------------------------------------- */

int address_family(struct span text)
{
	struct address a;

	if (!plain_read(text, &a))
		return 0;
	return a.v6 ? AF_INET6 : AF_INET;
}

bool address_read(const char *text, struct address *out)
{
	struct address a = { .v6 = strchr(text, ':') != NULL };

	if (a.v6 ? inet_pton(AF_INET6, text, a.b) != 1
	         : inet_aton(text, (struct in_addr *)(void *)a.b) == 0)
		return false;
	unwrap(&a);
	*out = a;
	return true;
}

bool address_of(const struct sockaddr *addr, struct address *out, uint16_t *port)
{
	struct address a = { 0 };

	if (addr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)addr;

		memcpy(a.b, &in->sin_addr, 4);
		*port = ntohs(in->sin_port);
	} else if (addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)addr;

		a.v6 = true;
		memcpy(a.b, &in6->sin6_addr, 16);
		*port = ntohs(in6->sin6_port);
	} else {
		return false;
	}
	unwrap(&a);
	*out = a;
	return true;
}

bool address_same(const struct address *a, const struct address *b)
{
	return a->v6 == b->v6 && memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

/* IANA's special-purpose registries. First match counts; what stands in no row
 * is public in IPv4, and special in IPv6, where only 2000::/3 is given out. */
static const struct {
	const char *net;
	enum address_class class;
} classes[] = {
	{ "127.0.0.0/8", ADDRESS_LOOPBACK },
	{ "10.0.0.0/8", ADDRESS_LAN },
	{ "172.16.0.0/12", ADDRESS_LAN },
	{ "192.168.0.0/16", ADDRESS_LAN },
	{ "0.0.0.0/8", ADDRESS_SPECIAL },      /* this host, this network */
	{ "100.64.0.0/10", ADDRESS_SPECIAL },  /* carrier-grade NAT, tailnets */
	{ "169.254.0.0/16", ADDRESS_SPECIAL }, /* link-local, cloud metadata */
	{ "192.0.0.0/24", ADDRESS_SPECIAL },   /* protocol assignments */
	{ "192.0.2.0/24", ADDRESS_SPECIAL },   /* documentation, three times */
	{ "198.51.100.0/24", ADDRESS_SPECIAL },
	{ "203.0.113.0/24", ADDRESS_SPECIAL },
	{ "192.88.99.0/24", ADDRESS_SPECIAL }, /* 6to4 relays */
	{ "198.18.0.0/15", ADDRESS_SPECIAL },  /* benchmarks */
	{ "224.0.0.0/3", ADDRESS_SPECIAL },    /* multicast, reserved, broadcast */
	{ "0.0.0.0/0", ADDRESS_PUBLIC },
	{ "::1/128", ADDRESS_LOOPBACK },
	{ "fc00::/7", ADDRESS_LAN },          /* unique local */
	{ "2001::/23", ADDRESS_SPECIAL },     /* Teredo and other protocols */
	{ "2001:db8::/32", ADDRESS_SPECIAL }, /* documentation */
	{ "2002::/16", ADDRESS_SPECIAL },     /* 6to4: has an IPv4 address in it */
	{ "3fff::/20", ADDRESS_SPECIAL },     /* documentation */
	{ "2000::/3", ADDRESS_PUBLIC },
	{ "::/0", ADDRESS_SPECIAL }, /* fe80::/10, ff00::/8, :: ... */
};

enum address_class address_class(const struct address *a)
{
	for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
		struct network n;

		if (network_read(span_of(classes[i].net), &n) && network_holds(&n, a))
			return classes[i].class;
	}
	return ADDRESS_SPECIAL;
}

/* --- what hosts are called --------------------------------------------------- */

static bool label_ok(struct span label)
{
	for (size_t i = 0; i < label.len; i++) {
		char c = label.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return false;
	}
	return label.len >= 1 && label.len <= LABEL_MAX;
}

/* Then the whole is an address, in one of its old spellings or in none. */
static bool looks_numeric(struct span label)
{
	if (label.len >= 2 && label.p[0] == '0' && (label.p[1] | 0x20) == 'x')
		return true;
	for (size_t i = 0; i < label.len; i++)
		if (label.p[i] < '0' || label.p[i] > '9')
			return false;
	return true;
}

bool host_form_ok(struct span host)
{
	struct span label;

	if (!host.len || host.len > HOST_NAME_MAX_LEN)
		return false;
	while (span_cut(&host, '.', &label))
		if (!label_ok(label))
			return false;
	return true;
}

bool host_name_ok(struct span name)
{
	const char *dot = name.len ? memrchr(name.p, '.', name.len) : NULL;
	struct span last = name;

	if (dot)
		last = (struct span){ dot + 1, (size_t)(name.p + name.len - dot) - 1 };
	return host_form_ok(name) && !looks_numeric(last);
}

bool port_read(struct span text, uint16_t *out)
{
	uint64_t n;

	if (text.len > 5 || str_u64(text, &n) || n < 1 || n > UINT16_MAX)
		return false;
	*out = (uint16_t)n;
	return true;
}
