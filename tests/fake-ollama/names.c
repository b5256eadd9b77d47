/*
 * names.c - [scheme://][host/][namespace/]model[:tag][:cloud|:local|-cloud].
 */
#include <config.h>

#include "names.h"

#include "text.h"

#include <string.h>
#include <strings.h>
#include <sys/types.h>

#define DEFAULT_HOST "registry.ollama.ai"
#define DEFAULT_NS "library"
#define DEFAULT_TAG "latest"

enum source { SOURCE_NONE, SOURCE_LOCAL, SOURCE_CLOUD };

/* The length of the Unicode white space at `p`, 0 if it is none. */
static size_t space_at(const char *p, size_t left)
{
	static const char *const wide[] = {
		"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\xa8",
		"\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
	};

	if (left && (*p == ' ' || (*p >= '\t' && *p <= '\r')))
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(wide); i++) {
		size_t n = strlen(wide[i]);

		if (n <= left && !memcmp(p, wide[i], n))
			return n;
	}
	if (left >= 3 && !memcmp(p, "\xe2\x80", 2) && (unsigned char)p[2] >= 0x80 &&
	    (unsigned char)p[2] <= 0x8a)
		return 3;
	return 0;
}

static struct span trim(struct span s)
{
	size_t n;

	while ((n = space_at(s.p, s.len))) {
		s.p += n;
		s.len -= n;
	}
	for (size_t back = 1; back <= 3 && back <= s.len; back++)
		if (space_at(s.p + s.len - back, back) == back) {
			s.len -= back;
			back = 0;
		}
	return s;
}

/* Where `c` last stands; -1: nowhere. */
static ssize_t last(struct span s, char c)
{
	const char *at = s.len ? memrchr(s.p, c, s.len) : NULL;

	return at ? at - s.p : -1;
}

static bool ends_nocase(struct span s, const char *end)
{
	size_t n = strlen(end);

	return s.len >= n && !strncasecmp(s.p + s.len - n, end, n);
}

/* Cut ":cloud", ":local" or a tag's "-cloud" off the end. */
static enum source cut_source(struct span *s)
{
	ssize_t colon = last(*s, ':');
	struct span after;

	if (colon < 0)
		return SOURCE_NONE;
	after = (struct span){ s->p + colon + 1, s->len - (size_t)colon - 1 };
	if (span_eq_nocase(after, "cloud") || span_eq_nocase(after, "local")) {
		s->len = (size_t)colon;
		return span_eq_nocase(after, "cloud") ? SOURCE_CLOUD : SOURCE_LOCAL;
	}
	if (!memchr(after.p, '/', after.len) && ends_nocase(after, "-cloud")) {
		s->len -= strlen("-cloud");
		return SOURCE_CLOUD;
	}
	return SOURCE_NONE;
}

static bool part_ok(struct span s, size_t max, bool dots, bool colons)
{
	if (!s.len || s.len > max)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];
		bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		            (c >= '0' && c <= '9') || c == '_';

		if (word || (i && (c == '-' || (c == '.' && dots) || (c == ':' && colons))))
			continue;
		return false;
	}
	return true;
}

static bool take(struct span s, size_t max, bool dots, bool colons, char *out)
{
	if (!part_ok(s, max, dots, colons))
		return false;
	memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return true;
}

/* Cut what stands behind the last `c` off into *tail; true if there is one. */
static bool cut_tail(struct span *s, char c, struct span *tail)
{
	ssize_t at = last(*s, c);

	if (at < 0)
		return false;
	*tail = (struct span){ s->p + at + 1, s->len - (size_t)at - 1 };
	s->len = (size_t)at;
	return true;
}

static bool read_parts(struct span s, struct name *out)
{
	struct span tag = SPAN_LIT(DEFAULT_TAG), ns = SPAN_LIT(DEFAULT_NS);
	struct span host = SPAN_LIT(DEFAULT_HOST), model = s;
	const char *scheme;

	if (last(s, ':') > last(s, '/'))
		cut_tail(&s, ':', &tag);
	model = s;
	if (cut_tail(&s, '/', &model)) {
		ns = s;
		if (cut_tail(&s, '/', &ns)) {
			host = s;
			scheme = memmem(host.p, host.len, "://", 3);
			if (scheme) {
				host.len -= (size_t)(scheme + 3 - host.p);
				host.p = scheme + 3;
			}
		}
	}
	return take(host, NAME_HOST_MAX, true, true, out->host) &&
	       take(ns, NAME_PART_MAX, false, false, out->ns) &&
	       take(model, NAME_PART_MAX, true, false, out->model) &&
	       take(tag, NAME_PART_MAX, true, false, out->tag);
}

enum name_verdict name_parse(struct span text, struct name *out)
{
	struct span s, rest;
	enum source source;

	s = trim(text);
	if (!s.len)
		return NAME_EMPTY;
	source = cut_source(&s);
	rest = s;
	if (source && cut_source(&rest))
		return NAME_CONFLICT;
	out->cloud = source == SOURCE_CLOUD;
	return read_parts(s, out) ? NAME_OK : NAME_INVALID;
}

bool name_same(const struct name *a, const struct name *b)
{
	return !strcasecmp(a->host, b->host) && !strcasecmp(a->ns, b->ns) &&
	       !strcasecmp(a->model, b->model) && !strcasecmp(a->tag, b->tag);
}

bool name_equal(const struct name *a, const struct name *b)
{
	return !strcmp(a->host, b->host) && !strcmp(a->ns, b->ns) &&
	       !strcmp(a->model, b->model) && !strcmp(a->tag, b->tag);
}

void put_name_short(struct buf *b, const struct name *n)
{
	bool usual_host = !strcasecmp(n->host, DEFAULT_HOST);

	if (!usual_host)
		put_f(b, "%s/", n->host);
	if (!usual_host || strcasecmp(n->ns, DEFAULT_NS))
		put_f(b, "%s/", n->ns);
	put_f(b, "%s:%s", n->model, n->tag);
}

void put_name_full(struct buf *b, const struct name *n)
{
	put_f(b, "%s/%s/%s:%s", n->host, n->ns, n->model, n->tag);
}
