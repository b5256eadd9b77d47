/*
 * address.h - network addresses, networks, and what hosts are called. Pure.
 *
 * An address is taken apart once: IPv4-mapped (::ffff:a.b.c.d) and NAT64
 * (64:ff9b::a.b.c.d) forms are the IPv4 address in them. It has one class.
 */
#ifndef FOREMAN_CORE_ADDRESS_H
#define FOREMAN_CORE_ADDRESS_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
	bool v6;
	unsigned char b[16]; /* 4 or 16 of them; the rest is 0 */
};

struct network {
	struct address first;
	unsigned bits;
};

enum address_class {
	ADDRESS_PUBLIC,
	ADDRESS_LAN,
	ADDRESS_LOOPBACK,
	ADDRESS_SPECIAL /* link-local, multicast, reserved … */
};

/* AF_INET or AF_INET6 for an address in its usual spelling, without brackets;
 * 0 for anything else. */
int address_family(struct span text);

/* An address in any spelling that a resolver takes: 127.1, 0x7f000001,
 * 017700000001, ::ffff:… False: it is none. */
bool address_read(const char *text, struct address *out);

/* False: neither IPv4 nor IPv6. */
bool address_of(const struct sockaddr *addr, struct address *out, uint16_t *port);

bool address_same(const struct address *a, const struct address *b);
enum address_class address_class(const struct address *a);

/* "10.0.0.0/8", or an address alone; "[::1]" is none. Bits behind the prefix must
 * be 0. */
bool network_read(struct span text, struct network *out);
bool network_holds(const struct network *n, const struct address *a);

#define HOST_NAME_MAX_LEN 253

/* Letters, digits, '-' and '_' in labels of 1 to 63, without a final dot: what a
 * name is made of, and an IPv4 address in any spelling. */
bool host_form_ok(struct span host);
/* Such a name. One whose last label is a number is an address or nothing. */
bool host_name_ok(struct span name);

/* 1 to 65535, in at most five digits. */
bool port_read(struct span text, uint16_t *out);

#endif
