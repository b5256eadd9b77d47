/*
 * receiver.c - how webhook receivers are told apart: "host:port".
 *
 * Spellings of one name are one receiver, so that its bounds cannot be had
 * several times; two names of one machine are two. Not here: whether it may
 * be reached at all (http/guard).
 */
#include <config.h>

#include "core/receiver.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* What stands between "://" and the path; *tls as the scheme says. */
static struct span authority_of(const char *url, bool *tls)
{
	const char *end = strstr(url, "://");
	struct span s = { url, end ? (size_t)(end - url) : 0 };

	*tls = span_eq_nocase(s, "https");
	s.p = end ? end + 3 : url;
	s.len = strcspn(s.p, "/?#");
	return s;
}

void receiver_of(const char *url, char out[RECEIVER_SIZE])
{
	bool tls;
	struct span host = authority_of(url, &tls);
	const char *port = tls ? "443" : "80";
	size_t port_len = strlen(port), room;

	for (size_t i = host.len; i > 0 && host.p[i - 1] != ']'; i--)
		if (host.p[i - 1] == ':') {
			port = host.p + i;
			port_len = host.len - i < 5 ? host.len - i : 5;
			host.len = i - 1;
			break;
		}
	if (host.len > 0 && host.p[host.len - 1] == '.')
		host.len--;
	room = RECEIVER_SIZE - sizeof(":65535");
	if (host.len > room)
		host.len = room;
	for (size_t i = 0; i < host.len; i++)
		out[i] = lower(host.p[i]);
	snprintf(out + host.len, RECEIVER_SIZE - host.len, ":%.*s", (int)port_len,
	         port);
}
