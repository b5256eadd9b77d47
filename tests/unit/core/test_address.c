/*
 * test_address.c - addresses, networks and names, at the edges of each spelling.
 */
#include <config.h>

#include "core/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/attr.h"
#include "t.h"

static struct address address(const char *text)
{
	struct address a = { 0 };

	if (!CHECK(address_read(text, &a)))
		printf("#   %s\n", text);
	return a;
}

static void an_address_is_read_in_every_old_spelling(void)
{
	static const char *const same[] = { "127.0.0.1",     "127.1",
		                                "0x7f000001",    "017700000001",
		                                "2130706433",    "::ffff:127.0.0.1",
		                                "::ffff:7f00:1", "64:ff9b::127.0.0.1" };
	struct address home = address("127.0.0.1"), a;

	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		a = address(same[i]);
		CHECK(address_same(&a, &home));
	}
	a = address("::7f00:1"); /* mapped in no way that counts */
	CHECK(a.v6 && !address_same(&a, &home));
	CHECK(!address_read("localhost", &a));
	CHECK(!address_read("[::1]", &a));
	CHECK(!address_read("1.2.3.256", &a));
	CHECK(!address_read("", &a));
}

static void a_family_is_told_of_the_usual_spelling_alone(void)
{
	CHECK_INT(address_family(SPAN_LIT("127.0.0.1")), AF_INET);
	CHECK_INT(address_family(SPAN_LIT("::1")), AF_INET6);
	CHECK_INT(address_family(SPAN_LIT("ffff:ffff:ffff:ffff:ffff:ffff:"
	                                  "255.255.255.255")),
	          AF_INET6);
	CHECK_INT(address_family(SPAN_LIT("127.1")), 0);
	CHECK_INT(address_family(SPAN_LIT("[::1]")), 0);
	CHECK_INT(address_family(SPAN_LIT("127.0.0.1\0")), 0);
	CHECK_INT(address_family(SPAN_LIT("")), 0);
	CHECK_INT(address_family((struct span){ NULL, 0 }), 0);
	CHECK_INT(address_family(SPAN_LIT("0000:0000:0000:0000:0000:0000:"
	                                  "255.255.255.2555")),
	          0);
}

static void a_socket_address_is_unwrapped(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(80) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(81) };
	struct sockaddr other = { .sa_family = AF_UNIX };
	struct address a, b;
	uint16_t port;

	inet_pton(AF_INET, "10.0.0.1", &in.sin_addr);
	inet_pton(AF_INET6, "::ffff:10.0.0.1", &in6.sin6_addr);
	REQUIRE(address_of((void *)&in, &a, &port));
	CHECK_INT(port, 80);
	REQUIRE(address_of((void *)&in6, &b, &port));
	CHECK_INT(port, 81);
	CHECK(address_same(&a, &b));
	CHECK(!address_of(&other, &a, &port));
}

static void every_address_has_one_class(void)
{
	static const struct {
		const char *text;
		enum address_class class;
	} rows[] = {
		{ "127.0.0.0", ADDRESS_LOOPBACK },
		{ "127.255.255.255", ADDRESS_LOOPBACK },
		{ "128.0.0.0", ADDRESS_PUBLIC },
		{ "::1", ADDRESS_LOOPBACK },
		{ "10.255.255.255", ADDRESS_LAN },
		{ "11.0.0.0", ADDRESS_PUBLIC },
		{ "172.15.255.255", ADDRESS_PUBLIC },
		{ "172.16.0.0", ADDRESS_LAN },
		{ "172.32.0.0", ADDRESS_PUBLIC },
		{ "192.168.0.1", ADDRESS_LAN },
		{ "fdff::1", ADDRESS_LAN },
		{ "169.254.169.254", ADDRESS_SPECIAL },
		{ "100.64.0.1", ADDRESS_SPECIAL },
		{ "0.0.0.0", ADDRESS_SPECIAL },
		{ "::", ADDRESS_SPECIAL },
		{ "fe80::1", ADDRESS_SPECIAL },
		{ "ff02::1", ADDRESS_SPECIAL },
		{ "224.0.0.1", ADDRESS_SPECIAL },
		{ "255.255.255.255", ADDRESS_SPECIAL },
		{ "1.1.1.1", ADDRESS_PUBLIC },
		{ "2606:4700::1111", ADDRESS_PUBLIC },
		{ "2001:db8::1", ADDRESS_SPECIAL },
		{ "64:ff9b::10.0.0.1", ADDRESS_LAN },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct address a = address(rows[i].text);

		if (!CHECK(address_class(&a) == rows[i].class))
			printf("#   %s\n", rows[i].text);
	}
}

static bool holds(const char *network, const char *text)
{
	struct address a = address(text);
	struct network n;

	if (!CHECK(network_read(span_of(network), &n)))
		printf("#   %s\n", network);
	return network_holds(&n, &a);
}

static void a_network_holds_what_shares_its_bits(void)
{
	CHECK(holds("10.0.0.0/8", "10.255.0.1"));
	CHECK(!holds("10.0.0.0/8", "11.0.0.1"));
	CHECK(holds("10.0.0.128/25", "10.0.0.128"));
	CHECK(!holds("10.0.0.128/25", "10.0.0.127"));
	CHECK(holds("0.0.0.0/0", "1.2.3.4"));
	CHECK(!holds("0.0.0.0/0", "::1"));
	CHECK(holds("1.2.3.4", "1.2.3.4"));
	CHECK(!holds("1.2.3.4", "1.2.3.5"));
	CHECK(holds("fd00::/8", "fdff::1"));
	CHECK(!holds("::/0", "1.2.3.4"));
	CHECK(holds("::ffff:10.0.0.0/104", "10.1.2.3"));
}

static void what_is_no_network_is_refused(void)
{
	static const struct span bad[] = {
		SPAN_LIT("10.0.0.1/8"), SPAN_LIT("fd00::1/8"), SPAN_LIT("1.2.3.4/33"),
		SPAN_LIT("::/129"),     SPAN_LIT("1.2.3.4/"),  SPAN_LIT("1.2.3.4/a"),
		SPAN_LIT("1.2.3/24"),   SPAN_LIT("[::1]"),     SPAN_LIT("[::]/0"),
		SPAN_LIT("/8"),         SPAN_LIT(""),          SPAN_LIT("1.2.3.4/0032"),
		SPAN_LIT("1.2.3.4/-1"), SPAN_LIT("host/8"),    SPAN_LIT("1.2.3.4/8/8"),
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct network n;

		if (!CHECK(!network_read(bad[i], &n)))
			printf("#   row %zu\n", i);
	}
}

static void a_host_has_labels_of_letters(void)
{
	char name[256];

	CHECK(host_name_ok(SPAN_LIT("mac.local")));
	CHECK(host_name_ok(SPAN_LIT("4gpu")));
	CHECK(host_name_ok(SPAN_LIT("_a-b.c1")));
	CHECK(!host_name_ok(SPAN_LIT("")));
	CHECK(!host_name_ok(SPAN_LIT("a.")));
	CHECK(!host_name_ok(SPAN_LIT(".a")));
	CHECK(!host_name_ok(SPAN_LIT("a..b")));
	CHECK(!host_name_ok(SPAN_LIT("a b")));
	CHECK(!host_name_ok(SPAN_LIT("*.example")));
	CHECK(!host_name_ok(SPAN_LIT("gr\xc3\xbc")));
	/* what may be taken for an address */
	CHECK(!host_name_ok(SPAN_LIT("1.2.3")));
	CHECK(!host_name_ok(SPAN_LIT("a.1")));
	CHECK(!host_name_ok(SPAN_LIT("0x7f000001")));
	CHECK(!host_name_ok(SPAN_LIT("a.0X1")));
	CHECK(host_name_ok(SPAN_LIT("1.a")));

	memset(name, 'a', sizeof(name));
	CHECK(host_name_ok((struct span){ name, 63 }));
	CHECK(!host_name_ok((struct span){ name, 64 }));
	for (size_t i = 63; i < sizeof(name); i += 64)
		name[i] = '.';
	CHECK(host_name_ok((struct span){ name, HOST_NAME_MAX_LEN }));
	CHECK(!host_name_ok((struct span){ name, HOST_NAME_MAX_LEN + 1 }));
}

static void a_port_has_five_digits_at_most(void)
{
	uint16_t port = 7;

	CHECK(!port_read(SPAN_LIT("0"), &port));
	CHECK(!port_read(SPAN_LIT("65536"), &port));
	CHECK(!port_read(SPAN_LIT("000080"), &port));
	CHECK(!port_read(SPAN_LIT(""), &port));
	CHECK(!port_read(SPAN_LIT("8x"), &port));
	CHECK(!port_read((struct span){ NULL, 0 }, &port));
	CHECK_INT(port, 7);
	CHECK(port_read(SPAN_LIT("1"), &port));
	CHECK_INT(port, 1);
	CHECK(port_read(SPAN_LIT("65535"), &port));
	CHECK_INT(port, 65535);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_address_is_read_in_every_old_spelling),
		T(a_family_is_told_of_the_usual_spelling_alone),
		T(a_socket_address_is_unwrapped),
		T(every_address_has_one_class),
		T(a_network_holds_what_shares_its_bits),
		T(what_is_no_network_is_refused),
		T(a_host_has_labels_of_letters),
		T(a_port_has_five_digits_at_most),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
