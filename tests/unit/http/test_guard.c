/*
 * test_guard.c - one table of URLs for what is refused at submit, one of
 * addresses for what is refused at connect, and the target in both.
 */
#include <config.h>

#include "http/guard.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/sig.h"
#include "core/limits.h"
#include "t.h"

#define TARGET "http://192.168.7.7:11434/ollama"
#define DEFAULT "public,lan"

static struct guard *make(const char *allow, const char *target)
{
	struct guard *g = NULL;
	struct errtext why = { "" };

	if (!CHECK(guard_new(allow, target, &g, &why) == ERR_OK)) {
		printf("#   %s: %s\n", allow, why.s);
		abort();
	}
	return g;
}

static bool allows(const struct guard *g, const char *host, const char *addr,
                   int port, struct errtext *why)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	in.sin_port = in6.sin6_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, addr, &in.sin_addr) == 1)
		return guard_allows(g, host, (struct sockaddr *)&in, why);
	if (inet_pton(AF_INET6, addr, &in6.sin6_addr) != 1)
		abort();
	return guard_allows(g, host, (struct sockaddr *)&in6, why);
}

/* --- URLs ---------------------------------------------------------------- */

struct url_row {
	enum err want;
	const char *url;
};

static const struct url_row urls[] = {
	/* as people write them */
	{ ERR_OK, "http://example.com/" },
	{ ERR_OK, "https://example.com" },
	{ ERR_OK, "HTTPS://EXAMPLE.com:8443/a/b?c=d&e=%20f" },
	{ ERR_OK, "http://example.com.:80?x" },
	{ ERR_OK, "http://my_host-1/hook" },
	{ ERR_OK, "http://8.8.8.8/" },
	{ ERR_OK, "http://192.168.1.10:8123/api/webhook/x" },
	{ ERR_OK, "http://[fd00::1]:9/" },
	{ ERR_OK, "http://[2606:4700::1111]/" },
	{ ERR_OK, "http://xn--mnchen-3ya.example/" },
	{ ERR_OK, "http://1password.example/" },
	{ ERR_OK, "http://example.com/a@b:c" },
	{ ERR_OK, "http://example.com:1/" },
	{ ERR_OK, "http://example.com:65535/" },
	{ ERR_OK, "http://192.168.7.7/" }, /* the target's machine, another port */

	/* our own machine */
	{ ERR_DENIED, "http://127.0.0.1/" },
	{ ERR_DENIED, "http://127.255.255.254/" },
	{ ERR_DENIED, "http://127.0.0.1./" },
	{ ERR_DENIED, "http://127.1/" },
	{ ERR_DENIED, "http://127.0.1:2019/stop" },
	{ ERR_DENIED, "http://2130706433/" },
	{ ERR_DENIED, "http://017700000001/" },
	{ ERR_DENIED, "http://0x7f000001/" },
	{ ERR_DENIED, "http://0X7F000001/" },
	{ ERR_DENIED, "http://0x7f.1/" },
	{ ERR_DENIED, "http://0177.0.0.1/" },
	{ ERR_DENIED, "http://0177.0x0.0.01/" },
	{ ERR_DENIED, "http://0/" },
	{ ERR_DENIED, "http://0.0.0.0/" },
	{ ERR_DENIED, "http://0.0.0.0:2019/" },
	{ ERR_DENIED, "http://00000000000/" },
	{ ERR_DENIED, "http://[::1]/" },
	{ ERR_DENIED, "http://[0:0:0:0:0:0:0:1]/" },
	{ ERR_DENIED, "http://[::]/" },
	{ ERR_DENIED, "http://[::ffff:127.0.0.1]/" },
	{ ERR_DENIED, "http://[::ffff:7f00:1]/" },
	{ ERR_DENIED, "http://[::FFFF:7f00:1]/" },
	{ ERR_DENIED, "http://[::ffff:0:127.0.0.1]/" }, /* translated */
	{ ERR_DENIED, "http://[::127.0.0.1]/" },
	{ ERR_DENIED, "http://[64:ff9b::7f00:1]/" },
	{ ERR_DENIED, "http://[64:ff9b::127.0.0.1]/" },
	{ ERR_DENIED, "http://[64:ff9b:1::7f00:1]/" },
	{ ERR_DENIED, "http://[2002:7f00:1::]/" },
	{ ERR_DENIED, "http://[2001:0:7f00:1::]/" }, /* Teredo */
	{ ERR_DENIED, "http://[2001::80ff:fffe]/" }, /* its client, inverted */
	{ ERR_DENIED, "http://localhost/" },
	{ ERR_DENIED, "http://LocalHost:80/" },
	{ ERR_DENIED, "http://localhost./" },
	{ ERR_DENIED, "http://LOCALHOST./" },
	{ ERR_DENIED, "http://foo.localhost/" },
	{ ERR_DENIED, "http://a.b.LOCALHOST./" },
	{ ERR_OK, "http://notlocalhost/" },

	/* nobody's business */
	{ ERR_DENIED, "http://169.254.169.254/latest/meta-data/" },
	{ ERR_DENIED, "http://[::ffff:169.254.169.254]/" },
	{ ERR_DENIED, "http://0xa9fea9fe/" },
	{ ERR_DENIED, "http://2852039166/" },
	{ ERR_DENIED, "http://[fe80::1]/" },
	{ ERR_DENIED, "http://[fe80::1%25eth0]/" },
	{ ERR_DENIED, "http://[ff02::1]/" },
	{ ERR_DENIED, "http://224.0.0.1/" },
	{ ERR_DENIED, "http://255.255.255.255/" },
	{ ERR_DENIED, "http://100.64.0.1/" },

	/* the target */
	{ ERR_DENIED, "http://192.168.7.7:11434/api/pull" },
	{ ERR_DENIED, "https://192.168.7.7:11434/" },
	{ ERR_DENIED, "http://3232237319:11434/" },
	{ ERR_DENIED, "http://[::ffff:192.168.7.7]:11434/" },
	{ ERR_DENIED, "http://[64:ff9b::192.168.7.7]:11434/" },
	{ ERR_DENIED, "http://0xc0.0xa8.0x707:11434/" },

	/* no URL of ours */
	{ ERR_INVAL, "" },
	{ ERR_INVAL, " " },
	{ ERR_INVAL, "/" },
	{ ERR_INVAL, "example.com/" },
	{ ERR_INVAL, "127.0.0.1:2019/stop" },
	{ ERR_INVAL, "//example.com/" },
	{ ERR_INVAL, "//127.0.0.1/" },
	{ ERR_INVAL, "http:127.0.0.1" },
	{ ERR_INVAL, "http:///127.0.0.1/" },
	{ ERR_INVAL, "http:example.com" },
	{ ERR_INVAL, "http:/example.com/" },
	{ ERR_INVAL, "http:///example.com/" },
	{ ERR_INVAL, "http://" },
	{ ERR_INVAL, "http://?x" },
	{ ERR_INVAL, "http://./" },
	{ ERR_INVAL, "http://../" },
	{ ERR_INVAL, "http://a..b/" },
	{ ERR_INVAL, "http://.a/" },
	{ ERR_INVAL, "file:///etc/passwd" },
	{ ERR_INVAL, "FILE:///etc/passwd" },
	{ ERR_INVAL, "gopher://example.com:6379/_x" },
	{ ERR_INVAL, "gopher://127.0.0.1:6379/_x" },
	{ ERR_INVAL, "dict://127.0.0.1:11211/stats" },
	{ ERR_INVAL, "scp://127.0.0.1/etc/passwd" },
	{ ERR_INVAL, "ftp://127.0.0.1/" },
	{ ERR_INVAL, "ws://127.0.0.1/" },
	{ ERR_INVAL, "ftp://example.com/" },
	{ ERR_INVAL, "ws://example.com/" },
	{ ERR_INVAL, "javascript:alert(1)" },
	{ ERR_INVAL, "http+unix://%2Frun%2Fx.sock/" },
	{ ERR_INVAL, "httpx://example.com/" },

	/* what parsers disagree about */
	{ ERR_INVAL, "http://good.example@127.0.0.1/" },
	{ ERR_INVAL, "http://user:pass@example.com/" },
	{ ERR_INVAL, "http://user:pa ss@127.0.0.1/" },
	{ ERR_INVAL, "http://@example.com/" },
	{ ERR_INVAL, "http://127.0.0.1%2f@good.example/" },
	{ ERR_INVAL, "http://example.com#" },
	{ ERR_INVAL, "http://example.com/#x" },
	{ ERR_INVAL, "http://127.0.0.1#@good.example/" },
	{ ERR_INVAL, "http://127.0.0.1\\@good.example/" },
	{ ERR_INVAL, "http:\\\\example.com/" },
	{ ERR_INVAL, "http://example.com/a b" },
	{ ERR_INVAL, " http://example.com/" },
	{ ERR_INVAL, "http://example.com/\t" },
	{ ERR_INVAL, "http://example.com/\r\nX-A: b" },
	{ ERR_INVAL, "http://127.0.0.1 good.example/" },
	{ ERR_INVAL, "http://127.0.0.1/\r\nX-A: b" },
	{ ERR_INVAL, "http://127.0.0.1:80\t/" },
	{ ERR_INVAL, "http://exam\x7fple.com/" },
	{ ERR_INVAL, "http://m\xc3\xbcnchen.example/" },
	{ ERR_INVAL, "http://\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1/" },
	{ ERR_INVAL, "http://\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.\xe2\x93\xaa."
	             "\xe2\x93\xaa.\xe2\x91\xa0/" },
	{ ERR_INVAL, "http://127\xe3\x80\x82" "0\xe3\x80\x82" "0\xe3\x80\x82" "1/" },
	{ ERR_INVAL, "http://%31%32%37.0.0.1/" },
	{ ERR_INVAL, "http://127.0.0.1%00.good.example/" },
	{ ERR_INVAL, "http://*.example/" },
	{ ERR_INVAL, "http://a,b/" },
	{ ERR_INVAL, "http://[127.0.0.1]/" },
	{ ERR_INVAL, "http://[::1/" },
	{ ERR_INVAL, "http://[]/" },
	{ ERR_INVAL, "http://[example.com]/" },
	{ ERR_INVAL, "http://[::1]x/" },
	{ ERR_INVAL, "http://[::1]x:80/" },
	{ ERR_INVAL, "http://::1/" },
	{ ERR_INVAL, "http://256.1.1.1/" },
	{ ERR_INVAL, "http://1.2.3.4.5/" },
	{ ERR_INVAL, "http://127.0.0.08/" },
	{ ERR_INVAL, "http://4294967296/" },
	{ ERR_INVAL, "http://example.123/" },
	{ ERR_INVAL, "http://1.2.3.0x/" },

	/* ports */
	{ ERR_INVAL, "http://127.0.0.1:/" },
	{ ERR_INVAL, "http://127.0.0.1:0/" },
	{ ERR_INVAL, "http://127.0.0.1:99999/" },
	{ ERR_INVAL, "http://example.com:/" },
	{ ERR_INVAL, "http://example.com:0/" },
	{ ERR_INVAL, "http://example.com:65536/" },
	{ ERR_INVAL, "http://example.com:99999999999999999999/" },
	{ ERR_INVAL, "http://example.com:000080/" },
	{ ERR_INVAL, "http://example.com:+80/" },
	{ ERR_INVAL, "http://example.com:-1/" },
	{ ERR_INVAL, "http://example.com:8o/" },
	{ ERR_INVAL, "http://example.com:80:80/" },
	{ ERR_INVAL, "http://[::1]:/" },
};

static void a_url_is_taken_denied_or_no_url(void)
{
	struct guard *g = make(DEFAULT, TARGET);

	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		struct errtext why = { "" };
		enum err got = guard_check_url(g, urls[i].url, &why);

		if (!CHECK(got == urls[i].want) || !CHECK(!why.s[0] == !got))
			printf("#   %s: %s, %s\n", urls[i].url, err_name(got), why.s);
	}
	guard_free(g);
}

static void long_urls_and_names_are_taken_up_to_the_limit(void)
{
	struct guard *g = make(DEFAULT, TARGET);
	char url[LIMIT_WEBHOOK_URL + 2];

	memset(url, 'a', sizeof(url));
	memcpy(url, "http://b/", 9);
	url[LIMIT_WEBHOOK_URL + 1] = '\0';
	CHECK_INT(guard_check_url(g, url, NULL), ERR_INVAL);
	url[LIMIT_WEBHOOK_URL] = '\0';
	CHECK_INT(guard_check_url(g, url, NULL), ERR_OK);
	/* a label of 63, of 64 bytes */
	snprintf(url, sizeof(url), "http://%063d.example/", 1);
	memset(url + 7, 'a', 63);
	CHECK_INT(guard_check_url(g, url, NULL), ERR_OK);
	snprintf(url, sizeof(url), "http://a%063d.example/", 1);
	CHECK_INT(guard_check_url(g, url, NULL), ERR_INVAL);
	/* a name of 253 bytes, of 254 */
	for (int extra = 0; extra < 2; extra++) {
		char *to = url + 7;

		memcpy(url, "http://", 7);
		for (int i = 0; i < 126; i++, to += 2)
			memcpy(to, "a.", 2);
		strcpy(to, extra ? "aa" : "a");
		CHECK_INT(guard_check_url(g, url, NULL), extra ? ERR_INVAL : ERR_OK);
	}
	guard_free(g);
}

/* --- addresses ----------------------------------------------------------- */

/* Which of the classes alone lets an address pass: 'p', 'l', 'o'; or none. */
static const struct {
	const char *addr;
	char class;
} places[] = {
	{ "1.1.1.1", 'p' },         { "9.255.255.255", 'p' },
	{ "11.0.0.0", 'p' },        { "100.63.255.255", 'p' },
	{ "100.128.0.0", 'p' },     { "126.255.255.255", 'p' },
	{ "128.0.0.0", 'p' },       { "169.253.255.255", 'p' },
	{ "169.255.0.0", 'p' },     { "172.15.255.255", 'p' },
	{ "172.32.0.0", 'p' },      { "192.167.255.255", 'p' },
	{ "192.169.0.0", 'p' },     { "198.17.255.255", 'p' },
	{ "198.20.0.0", 'p' },      { "223.255.255.255", 'p' },
	{ "10.0.0.0", 'l' },        { "10.255.255.255", 'l' },
	{ "172.16.0.0", 'l' },      { "172.31.255.255", 'l' },
	{ "192.168.0.0", 'l' },     { "192.168.255.255", 'l' },
	{ "127.0.0.0", 'o' },       { "127.0.0.1", 'o' },
	{ "127.255.255.255", 'o' }, { "0.0.0.0", '-' },
	{ "0.255.255.255", '-' },   { "100.64.0.0", '-' },
	{ "100.127.255.255", '-' }, { "169.254.0.0", '-' },
	{ "169.254.169.254", '-' }, { "169.254.255.255", '-' },
	{ "192.0.0.1", '-' },       { "192.0.1.0", 'p' },
	{ "192.0.2.1", '-' },       { "192.88.99.1", '-' },
	{ "198.18.0.0", '-' },      { "198.19.255.255", '-' },
	{ "198.51.100.1", '-' },    { "203.0.113.1", '-' },
	{ "224.0.0.0", '-' },       { "239.255.255.255", '-' },
	{ "240.0.0.0", '-' },       { "255.255.255.255", '-' },
	{ "::", '-' },              { "::1", 'o' },
	{ "::2", '-' },             { "::127.0.0.1", '-' },
	{ "::ffff:1.1.1.1", 'p' },  { "::ffff:10.0.0.1", 'l' },
	{ "::ffff:127.0.0.1", 'o' }, { "::ffff:169.254.1.1", '-' },
	{ "::ffff:0:1.1.1.1", '-' }, { "64:ff9b::1.1.1.1", 'p' },
	{ "64:ff9b::10.0.0.1", 'l' }, { "64:ff9b::127.0.0.1", 'o' },
	{ "64:ff9b::0.0.0.0", '-' }, { "64:ff9b:1::1", '-' },
	{ "100::1", '-' },          { "1fff::1", '-' },
	{ "2000::1", 'p' },         { "2001::1", '-' },
	{ "2001:1ff::1", '-' },     { "2001:200::1", 'p' },
	{ "2001:db8::1", '-' },     { "2001:db9::1", 'p' },
	{ "2002:a00:1::", '-' },    { "2a00:1450::1", 'p' },
	{ "3fff::1", '-' },         { "3fff:1000::1", 'p' },
	{ "4000::1", '-' },         { "fbff::1", '-' },
	{ "fc00::1", 'l' },         { "fdff:ffff::1", 'l' },
	{ "fe00::1", '-' },         { "fe80::1", '-' },
	{ "fec0::1", '-' },         { "ff02::1", '-' },
};

static void an_address_has_one_class(void)
{
	struct guard *public = make("public", TARGET);
	struct guard *lan = make("lan", TARGET);
	struct guard *loopback = make("loopback", TARGET);
	struct guard *all = make(" public, LAN ,loopback", TARGET);
	struct guard *none = make("", TARGET);

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		const char *addr = places[i].addr;
		char class = places[i].class;

		if (!CHECK(allows(public, "h", addr, 80, NULL) == (class == 'p')) ||
		    !CHECK(allows(lan, "h", addr, 80, NULL) == (class == 'l')) ||
		    !CHECK(allows(loopback, "h", addr, 80, NULL) == (class == 'o')) ||
		    !CHECK(allows(all, "h", addr, 80, NULL) == (class != '-')) ||
		    !CHECK(!allows(none, "h", addr, 80, NULL)))
			printf("#   %s\n", addr);
	}
	guard_free(public);
	guard_free(lan);
	guard_free(loopback);
	guard_free(all);
	guard_free(none);
}

static void networks_are_matched_to_the_bit(void)
{
	static const struct {
		const char *allow, *addr;
		bool want;
	} rows[] = {
		{ "10.1.2.0/23", "10.1.2.0", true },
		{ "10.1.2.0/23", "10.1.3.255", true },
		{ "10.1.2.0/23", "10.1.4.0", false },
		{ "10.1.2.0/23", "10.1.1.255", false },
		{ "10.1.2.3", "10.1.2.3", true },
		{ "10.1.2.3", "10.1.2.2", false },
		{ "10.1.2.3/32", "::ffff:10.1.2.3", true },
		{ "10.1.2.3/32", "64:ff9b::10.1.2.3", true },
		{ "::ffff:10.1.0.0/112", "10.1.2.3", true },
		{ "::ffff:10.1.0.0/112", "10.2.2.3", false },
		{ "0.0.0.0/0", "169.254.169.254", true },
		{ "0.0.0.0/0", "255.255.255.255", true },
		{ "0.0.0.0/0", "2a00::1", false },
		{ "::/0", "fe80::1", true },
		{ "::/0", "1.2.3.4", false },
		{ "169.254.0.0/16", "169.254.169.254", true },
		{ "fe80::/10", "febf::1", true },
		{ "fe80::/10", "fec0::1", false },
		{ "2a00:1:2::/47", "2a00:1:3::1", true },
		{ "2a00:1:2::/47", "2a00:1:4::1", false },
		{ "100.64.0.0/10,lan", "100.100.1.1", true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct guard *g = make(rows[i].allow, TARGET);

		if (!CHECK(allows(g, "h", rows[i].addr, 80, NULL) == rows[i].want))
			printf("#   %s in %s\n", rows[i].addr, rows[i].allow);
		guard_free(g);
	}
}

static void a_name_opens_what_it_leads_to_but_nothing_reserved(void)
{
	struct guard *g = make("hooks.example.,ci,localhost", TARGET);

	CHECK(allows(g, "hooks.example", "127.0.0.1", 80, NULL));
	CHECK(allows(g, "HOOKS.example.", "10.0.0.1", 80, NULL));
	CHECK(allows(g, "ci", "1.1.1.1", 80, NULL));
	CHECK(!allows(g, "ci.example", "1.1.1.1", 80, NULL));
	CHECK(!allows(g, "x.hooks.example", "10.0.0.1", 80, NULL));
	CHECK(!allows(g, "hooks.example", "169.254.169.254", 80, NULL));
	CHECK(!allows(g, "hooks.example", "0.0.0.0", 80, NULL));
	CHECK(!allows(g, "hooks.example", "192.168.7.7", 11434, NULL));
	CHECK_INT(guard_check_url(g, "http://localhost/", NULL), ERR_OK);
	CHECK_INT(guard_check_url(g, "http://x.localhost/", NULL), ERR_DENIED);
	guard_free(g);
}

static void an_unknown_kind_of_address_is_refused(void)
{
	struct guard *g = make("public,lan,loopback,0.0.0.0/0,::/0", TARGET);
	const struct sockaddr local = { .sa_family = AF_UNIX };
	struct errtext why = { "" };

	CHECK(!guard_allows(g, "h", &local, &why));
	CHECK(why.s[0]);
	guard_free(g);
}

static void a_list_not_understood_is_refused_and_named(void)
{
	static const char *const bad[] = {
		"public,,lan",  ",",           "public,",     "private lan",
		"10.0.0.0/33",  "10.0.0.0/",   "10.0.0.0/-1", "10.0.0.0/8/8",
		"10.0.0/8",     "10.0.0.1/8",  "256.0.0.1",   "::/129",
		"fe80::1/10",   "*.example",   "*",           "http://x/",
		"a..b",         "[::1]",       "host:80",     "1.2.3",
		"0x7f000001",   "m\xc3\xbcnchen.example",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct errtext why = { "" };
		struct guard *g = NULL;

		if (!CHECK(guard_new(bad[i], TARGET, &g, &why) == ERR_INVAL) ||
		    !CHECK(!g && strstr(why.s, "CIDR")))
			printf("#   %s\n", bad[i]);
	}
}

/* --- the target ---------------------------------------------------------- */

static void the_target_is_refused_whatever_the_list_says(void)
{
	static const struct {
		const char *target, *addr;
		int port;
		bool want;
	} rows[] = {
		{ "http://192.168.7.7:11434", "192.168.7.7", 11434, false },
		{ "http://192.168.7.7:11434", "192.168.7.7", 11435, true },
		{ "http://192.168.7.7:11434", "192.168.7.8", 11434, true },
		{ "http://192.168.7.7:11434", "::ffff:192.168.7.7", 11434, false },
		{ "http://192.168.7.7:11434", "64:ff9b::192.168.7.7", 11434, false },
		{ "http://192.168.7.7/prefix", "192.168.7.7", 80, false },
		{ "https://192.168.7.7", "192.168.7.7", 443, false },
		{ "http://[2a00::7]:11434", "2a00::7", 11434, false },
		{ "http://[2a00::7]:11434", "2a00::8", 11434, true },
		/* its own machine by another of its addresses */
		{ "http://127.0.0.1:11434", "127.0.0.1", 11434, false },
		{ "http://127.0.0.1:11434", "127.9.9.9", 11434, false },
		{ "http://127.0.0.1:11434", "::1", 11434, false },
		{ "http://127.0.0.1:11434", "0.0.0.0", 11434, false },
		{ "http://127.0.0.1:11434", "::", 11434, false },
		{ "http://127.0.0.1:11434", "127.0.0.1", 2019, true },
		{ "http://127.1:11434", "127.0.0.1", 11434, false },
		{ "http://127.0.0.1:11434", "192.0.2.77", 11434, true },
		/* by name */
		{ "http://localhost:11434", "127.0.0.1", 11434, false },
		{ "http://localhost:11434", "::1", 11434, false },
		{ "http://localhost:11434", "127.0.0.1", 80, true },
		{ "http://localhost:11434", "192.0.2.77", 11434, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct guard *g = make("loopback,0.0.0.0/0,::/0,h", rows[i].target);
		struct errtext why = { "" };
		bool got = allows(g, "h", rows[i].addr, rows[i].port, &why);

		if (!CHECK(got == rows[i].want) || !CHECK(got || strstr(why.s, "target")))
			printf("#   %s port %d, target %s\n", rows[i].addr, rows[i].port,
			       rows[i].target);
		guard_free(g);
	}
}

static void every_address_of_ours_is_the_target_on_this_machine(void)
{
	struct guard *g = make("loopback,0.0.0.0/0,::/0", "http://127.0.0.1:11434");
	struct ifaddrs *all;

	REQUIRE(getifaddrs(&all) == 0);
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		struct sockaddr_storage a = { 0 };
		struct sockaddr_in *in = (void *)&a;
		struct sockaddr_in6 *in6 = (void *)&a;

		if (!i->ifa_addr)
			continue;
		if (i->ifa_addr->sa_family == AF_INET) {
			memcpy(in, i->ifa_addr, sizeof(*in));
			in->sin_port = htons(11434);
		} else if (i->ifa_addr->sa_family == AF_INET6) {
			memcpy(in6, i->ifa_addr, sizeof(*in6));
			in6->sin6_port = htons(11434);
		} else {
			continue;
		}
		CHECK(!guard_allows(g, "h", (struct sockaddr *)&a, NULL));
	}
	freeifaddrs(all);
	guard_free(g);
}

static void a_target_that_cannot_be_found_closes_its_port(void)
{
	/* a name no resolver is asked for: its label is too long */
	char target[128];
	struct guard *g;

	snprintf(target, sizeof(target), "http://a%080d.x:11434", 0);
	g = make(DEFAULT, target);
	CHECK(!allows(g, "h", "1.1.1.1", 11434, NULL));
	CHECK(!allows(g, "h", "1.1.1.1", 11434, NULL));
	CHECK(allows(g, "h", "1.1.1.1", 80, NULL));
	guard_free(g);
}

static void a_targets_name_is_refused_as_such(void)
{
	struct guard *g = make(DEFAULT, "http://mac.local:11434");

	CHECK_INT(guard_check_url(g, "http://MAC.local.:11434/api/pull", NULL),
	          ERR_DENIED);
	CHECK_INT(guard_check_url(g, "http://mac.local/", NULL), ERR_OK);
	/* an address on its port: connecting will tell; no lookup here */
	CHECK_INT(guard_check_url(g, "http://192.168.1.1:11434/", NULL), ERR_OK);
	CHECK_INT(guard_check_url(g, "http://127.0.0.1:11434/", NULL), ERR_DENIED);
	guard_free(g);
	guard_free(NULL);
}

static void a_target_that_is_no_url_is_refused(void)
{
	static const char *const bad[] = { "", "mac:11434", "http://", "http://x:0" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct errtext why = { "" };
		struct guard *g = NULL;

		if (!CHECK(guard_new(DEFAULT, bad[i], &g, &why) == ERR_INVAL) ||
		    !CHECK(!g && why.s[0]))
			printf("#   %s\n", bad[i]);
	}
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_url_is_taken_denied_or_no_url),
		T(long_urls_and_names_are_taken_up_to_the_limit),
		T(an_address_has_one_class),
		T(networks_are_matched_to_the_bit),
		T(a_name_opens_what_it_leads_to_but_nothing_reserved),
		T(an_unknown_kind_of_address_is_refused),
		T(a_list_not_understood_is_refused_and_named),
		T(the_target_is_refused_whatever_the_list_says),
		T(every_address_of_ours_is_the_target_on_this_machine),
		T(a_target_that_cannot_be_found_closes_its_port),
		T(a_targets_name_is_refused_as_such),
		T(a_target_that_is_no_url_is_refused),
	};

	sig_block_all();
	return t_run(cases, ARRAY_LEN(cases));
}
