/*
 * fuzz_guard.c - a webhook URL a line, under the default allow-list; each line
 * is also tried as an allow-list.
 *
 * Every host that the C library takes for an address is judged here a second
 * time, by the ranges that must never pass, and a third time as a socket
 * address: what submit lets through, connect must too, and the other way.
 */
#include <config.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "core/limits.h"
#include "fuzz.h"
#include "http/guard.h"

#define TARGET "http://127.0.0.1:11434"

static bool shut_out4(const unsigned char *b)
{
	return b[0] == 127 || b[0] == 0 || b[0] >= 224 || (b[0] == 169 && b[1] == 254);
}

static bool shut_out6(const unsigned char *b)
{
	static const unsigned char zero[15], mapped[12] = { [10] = 0xff, 0xff };
	static const unsigned char nat64[12] = { 0x00, 0x64, 0xff, 0x9b };

	if (memcmp(b, mapped, 12) == 0 || memcmp(b, nat64, 12) == 0)
		return shut_out4(b + 12);
	return (memcmp(b, zero, 15) == 0 && b[15] <= 1) || b[0] == 0xff ||
	       (b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
}

/* The host between "://" and what ends it, without brackets, zone, final dot;
 * also "7.0.0.1" of "7.0.0.1:80@h", which a guard must not let pass. */
static void host_of(const char *url, char *host, size_t size)
{
	const char *from = strstr(url, "://");
	size_t len;

	from = from ? from + 3 : url;
	if (*from == '[')
		len = strcspn(++from, "]%/?#");
	else
		len = strcspn(from, ":/?#");
	if (len >= size)
		len = size - 1;
	memcpy(host, from, len);
	host[len] = '\0';
	if (len > 1 && host[len - 1] == '.')
		host[len - 1] = '\0';
}

/* At connect, on a port that is not the target's. */
static bool allows4(const struct guard *g, const char *host, const void *b)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(1) };

	memcpy(&in.sin_addr, b, 4);
	return guard_allows(g, host, (const struct sockaddr *)&in, NULL);
}

static bool allows6(const struct guard *g, const char *host, const void *b)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(1) };

	memcpy(&in6.sin6_addr, b, 16);
	return guard_allows(g, host, (const struct sockaddr *)&in6, NULL);
}

static void check(const struct guard *g, const char *url)
{
	struct errtext why = { "" };
	enum err e = guard_check_url(g, url, &why);
	unsigned char b[16];
	char host[300];

	HOLDS(e == ERR_OK || e == ERR_INVAL || e == ERR_DENIED);
	if (e)
		HOLDS(why.s[0]);
	else
		HOLDS(strlen(url) <= LIMIT_WEBHOOK_URL && !strpbrk(url, " \t\r\n\\#"));
	if (e == ERR_INVAL)
		return;
	host_of(url, host, sizeof(host));
	if (inet_pton(AF_INET6, host, b) == 1) {
		HOLDS(e || !shut_out6(b));
		HOLDS(e || allows6(g, host, b));
		HOLDS(!e || strstr(url, ":11434") || !allows6(g, host, b));
	} else if (inet_aton(host, (struct in_addr *)(void *)b)) {
		HOLDS(e || !shut_out4(b));
		HOLDS(e || allows4(g, host, b));
		HOLDS(!e || strstr(url, ":11434") || !allows4(g, host, b));
	}
}

static void check_list(const char *allow)
{
	static const unsigned char metadata[] = { 169, 254, 169, 254 };
	struct errtext why = { "" };
	struct guard *g;

	if (guard_new(allow, TARGET, &g, &why)) {
		HOLDS(why.s[0]);
		return;
	}
	/* special addresses by an address or network alone, never by a name */
	HOLDS(strpbrk(allow, "0123456789") || !allows4(g, "metadata", metadata));
	guard_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = fuzz_span(data, size), piece;
	static struct guard *g;

	if (!g)
		HOLDS(!guard_new("public,lan", TARGET, &g, NULL));
	while (span_cut(&rest, '\n', &piece)) {
		char *line = fuzz_text(piece);

		check(g, line);
		check_list(line);
		free(line);
	}
	return 0;
}
