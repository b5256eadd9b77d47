/*
 * gate.c - first the Origin (CORS), then the Host, as Ollama orders them.
 */
#include <config.h>

#include "gate.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define METHODS "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
#define HEADERS                                                                    \
	"Authorization,Content-Type,User-Agent,Accept,X-Requested-With,"               \
	"Openai-Beta,X-Stainless-Arch,X-Stainless-Async,"                              \
	"X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,"                  \
	"X-Stainless-Lang,X-Stainless-Os,X-Stainless-Package-Version,"                 \
	"X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,"         \
	"X-Stainless-Runtime-Version,X-Stainless-Timeout"
#define ORIGIN_MAX 512

/* The host of "host", "host:port" or "[v6]:port". */
static void cut_port(struct span s, char *out, size_t size)
{
	const char *end;
	size_t len = s.len;

	if (len && *s.p == '[') {
		end = memchr(s.p, ']', len);
		s.p++;
		len = end ? (size_t)(end - s.p) : len - 1;
	} else if ((end = memchr(s.p, ':', len)) && end == memrchr(s.p, ':', len)) {
		len = (size_t)(end - s.p);
	}
	if (len >= size)
		len = size - 1;
	memcpy(out, s.p, len);
	out[len] = '\0';
}

static bool ends(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcasecmp(s + n - m, end);
}

static bool near_address(const char *host, bool *literal)
{
	struct in6_addr six;
	struct in_addr four;
	uint32_t a;

	*literal = true;
	if (inet_pton(AF_INET, host, &four) == 1) {
		a = ntohl(four.s_addr);
		return !a || a >> 24 == 127 || a >> 24 == 10 || a >> 20 == 0xac1 ||
		       a >> 16 == 0xc0a8;
	}
	if (inet_pton(AF_INET6, host, &six) == 1)
		return IN6_IS_ADDR_LOOPBACK(&six) || IN6_IS_ADDR_UNSPECIFIED(&six) ||
		       (six.s6_addr[0] & 0xfe) == 0xfc;
	*literal = false;
	return false;
}

static bool name_allowed(const char *host)
{
	char own[256] = "";

	gethostname(own, sizeof(own) - 1);
	return !*host || !strcasecmp(host, "localhost") || !strcasecmp(host, own) ||
	       ends(host, ".localhost") || ends(host, ".local") ||
	       ends(host, ".internal");
}

/* Of those allowed out of the box: this host by any scheme of a browser, and
 * the schemes of desktop applications. */
static bool origin_allowed(struct span origin)
{
	static const char *const schemes[] = { "app://", "file://", "tauri://",
		                                   "vscode-webview://", "vscode-file://" };
	static const char *const hosts[] = { "localhost", "127.0.0.1", "0.0.0.0" };
	char host[ORIGIN_MAX];
	size_t skip;

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (origin.len >= strlen(schemes[i]) &&
		    !strncmp(origin.p, schemes[i], strlen(schemes[i])))
			return true;
	skip = origin.len > 8 && !strncmp(origin.p, "https://", 8)  ? 8
	       : origin.len > 7 && !strncmp(origin.p, "http://", 7) ? 7
	                                                            : 0;
	if (!skip)
		return false;
	cut_port((struct span){ origin.p + skip, origin.len - skip }, host,
	         sizeof(host));
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		if (!strcmp(host, hosts[i]))
			return true;
	return false;
}

static bool same_origin(struct span origin, struct span host)
{
	size_t skip = origin.len > 8 && !strncmp(origin.p, "https://", 8) ? 8 : 7;

	return origin.len == skip + host.len && !strncmp(origin.p, "http", 4) &&
	       !memcmp(origin.p + skip, host.p, host.len);
}

static bool pass_origin(struct http_conn *c, const struct head *h)
{
	static char echo[ORIGIN_MAX];
	struct span origin = head_get(h, "Origin"), host = head_get(h, "Host");

	if (!origin.len || (host.p && same_origin(origin, host)))
		return true;
	if (!origin_allowed(origin) || origin.len >= sizeof(echo)) {
		http_reply(c, 403, NULL, SPAN_LIT(""));
		return false;
	}
	if (!span_eq(h->method, "OPTIONS"))
		http_field(c, "Vary", "Origin");
	snprintf(echo, sizeof(echo), "%.*s", (int)origin.len, origin.p);
	http_field(c, "Access-Control-Allow-Origin", echo);
	if (!span_eq(h->method, "OPTIONS"))
		return true;
	http_field(c, "Access-Control-Allow-Methods", METHODS);
	http_field(c, "Access-Control-Allow-Headers", HEADERS);
	http_field(c, "Access-Control-Max-Age", "43200");
	http_field(c, "Vary", "Origin");
	http_field(c, "Vary", "Access-Control-Request-Method");
	http_field(c, "Vary", "Access-Control-Request-Headers");
	http_reply(c, 204, NULL, SPAN_LIT(""));
	return false;
}

bool gate_pass(struct http_conn *c, const struct head *h, const char *allow)
{
	struct span field = head_get(h, "Host");
	char host[ORIGIN_MAX] = "";
	bool literal = false, near = false;

	if (!pass_origin(c, h))
		return false;
	if (field.len) {
		cut_port(field, host, sizeof(host));
		near = near_address(host, &literal);
	}
	if (near)
		return true;
	if (literal || !name_allowed(host)) {
		http_reply(c, 403, NULL, SPAN_LIT(""));
		return false;
	}
	if (!span_eq(h->method, "OPTIONS"))
		return true;
	if (allow)
		http_field(c, "Allow", allow);
	http_reply(c, 204, NULL, SPAN_LIT(""));
	return false;
}
