/*
 * model.c - model names as Ollama understands them, and load keys.
 *
 * The rules are Ollama's own, quirks included: separators are cut from the
 * right, a scheme in front of the host is dropped, ":cloud", "-cloud" and
 * ":local" say where the model runs and are not part of its name. What stays
 * true: names that Ollama looks up as one model get one key, and a key fits
 * its array without being cut.
 * Not here: whether the model exists, and which runner its parameters make.
 */
#include <config.h>

#include "core/model.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jscan.h"

#define HOST_DEFAULT "registry.ollama.ai"
#define NAMESPACE_DEFAULT "library"
#define TAG_DEFAULT "latest"
#define HOST_MAX 350
#define PART_MAX 80

/* Every key with all its separators, and the load key of every option. */
_Static_assert(HOST_MAX + 3 * PART_MAX + 3 <= LIMIT_MODEL_NAME, "a key must fit");
_Static_assert(HOST_MAX + 3 * PART_MAX + 3 + 256 <= LIMIT_LOAD_KEY,
               "a load key must fit");

enum part { PART_HOST, PART_NAMESPACE, PART_MODEL, PART_TAG };

/* --- the source suffix --------------------------------------------------- */

/* The length of the Unicode space at the front of `s`, 0 when there is none. */
static size_t space_at(const char *s, size_t len)
{
	static const char *const wide[] = {
		"\xc2\x85", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9",
		"\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
	};

	if (len == 0)
		return 0;
	if (*s == ' ' || (*s >= '\t' && *s <= '\r'))
		return 1;
	if (len >= 3 && memcmp(s, "\xe2\x80", 2) == 0 && (unsigned char)s[2] >= 0x80 &&
	    (unsigned char)s[2] <= 0x8a)
		return 3;
	for (size_t i = 0; i < ARRAY_LEN(wide); i++) {
		size_t n = strlen(wide[i]);

		if (len >= n && memcmp(s, wide[i], n) == 0)
			return n;
	}
	return 0;
}

/* Without the Unicode white space on both sides, as Go's TrimSpace has it. */
static struct span trim(struct span s)
{
	size_t n;

	while ((n = space_at(s.p, s.len)) > 0) {
		s.p += n;
		s.len -= n;
	}
	for (n = 1; n <= 3 && n <= s.len;) {
		if (space_at(s.p + s.len - n, n) == n) {
			s.len -= n;
			n = 1;
		} else {
			n++;
		}
	}
	return s;
}

/* Where in `s` the last `c` stands, -1 when nowhere. */
static ptrdiff_t last_of(struct span s, char c)
{
	for (size_t i = s.len; i > 0; i--)
		if (s.p[i - 1] == c)
			return (ptrdiff_t)i - 1;
	return -1;
}

/* Cut ":cloud", ":local" or the "-cloud" of a tag off the end of *name. */
static enum model_source cut_source(struct span *name)
{
	static const size_t dash_len = sizeof("-cloud") - 1;
	ptrdiff_t colon = last_of(*name, ':');
	struct span suffix, ending;

	if (colon < 0)
		return MODEL_ANY;
	suffix.p = name->p + colon + 1;
	suffix.len = name->len - (size_t)colon - 1;
	suffix = trim(suffix);
	if (span_eq_nocase(suffix, "cloud") || span_eq_nocase(suffix, "local")) {
		name->len = (size_t)colon;
		return span_eq_nocase(suffix, "cloud") ? MODEL_CLOUD : MODEL_LOCAL;
	}
	if (suffix.len < dash_len || last_of(suffix, '/') >= 0)
		return MODEL_ANY;
	ending.p = suffix.p + suffix.len - dash_len;
	ending.len = dash_len;
	if (!span_eq_nocase(ending, "-cloud"))
		return MODEL_ANY;
	name->len = (size_t)(ending.p - name->p);
	return MODEL_CLOUD;
}

/* --- the four parts ------------------------------------------------------ */

static bool valid_part(enum part kind, struct span s)
{
	if (s.len < 1 || s.len > (kind == PART_HOST ? HOST_MAX : PART_MAX))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || c == '_')
			continue;
		if (i == 0)
			return false;
		if (c == '-' || (c == '.' && kind != PART_NAMESPACE) ||
		    (c == ':' && kind == PART_HOST))
			continue;
		return false;
	}
	return true;
}

/* Cut what follows the last `sep` off *rest into *part. False when there is no
 * `sep`; then all of *rest is the part. */
static bool cut_last(struct span *rest, char sep, struct span *part)
{
	ptrdiff_t at = last_of(*rest, sep);

	if (at < 0) {
		*part = *rest;
		return false;
	}
	part->p = rest->p + at + 1;
	part->len = rest->len - (size_t)at - 1;
	rest->len = (size_t)at;
	return true;
}

/* The host, without "scheme://"; a scheme alone means the default host. */
static struct span host_of(struct span s)
{
	for (size_t i = 0; i + 3 <= s.len; i++) {
		if (memcmp(s.p + i, "://", 3) != 0)
			continue;
		s.p += i + 3;
		s.len -= i + 3;
		return s.len ? s : SPAN_LIT(HOST_DEFAULT);
	}
	return s;
}

/* False when a separator has nothing on one side, or a part is not valid. */
static bool cut_parts(struct span name, struct span parts[4])
{
	parts[PART_HOST] = SPAN_LIT(HOST_DEFAULT);
	parts[PART_NAMESPACE] = SPAN_LIT(NAMESPACE_DEFAULT);
	parts[PART_TAG] = SPAN_LIT(TAG_DEFAULT);
	/* A colon left of the last slash belongs to a host's port. */
	if (last_of(name, ':') > last_of(name, '/'))
		cut_last(&name, ':', &parts[PART_TAG]);
	/* An empty left side falls through to be an empty, invalid part. */
	if (cut_last(&name, '/', &parts[PART_MODEL]) &&
	    cut_last(&name, '/', &parts[PART_NAMESPACE]))
		parts[PART_HOST] = host_of(name);
	for (int i = PART_HOST; i <= PART_TAG; i++)
		if (!valid_part((enum part)i, parts[i]))
			return false;
	return true;
}

static char *put_lower(char *to, struct span s, char sep)
{
	for (size_t i = 0; i < s.len; i++)
		*to++ = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + 32 : s.p[i]);
	*to++ = sep;
	return to;
}

enum err model_parse(struct span name, struct model_name *out, struct errtext *why)
{
	struct span base = trim(name), rest, parts[4];
	enum model_source source;
	bool host, ns;
	char *to;

	if (base.len == 0) {
		errtext_set(why, "model is required");
		return ERR_INVAL;
	}
	rest = base;
	source = cut_source(&rest);
	if (source != MODEL_ANY) {
		struct span again = rest;

		if (cut_source(&again) != MODEL_ANY) {
			char shown[128];

			str_escape(base, shown, sizeof(shown));
			errtext_set(why, "use either :local or :cloud, not both: \"%s\"",
			            shown);
			return ERR_INVAL;
		}
	}
	if (!cut_parts(rest, parts)) {
		errtext_set(why, "invalid model name");
		return ERR_INVAL;
	}
	host = !span_eq_nocase(parts[PART_HOST], HOST_DEFAULT);
	ns = host || !span_eq_nocase(parts[PART_NAMESPACE], NAMESPACE_DEFAULT);
	to = out->key;
	if (host)
		to = put_lower(to, parts[PART_HOST], '/');
	if (ns)
		to = put_lower(to, parts[PART_NAMESPACE], '/');
	to = put_lower(to, parts[PART_MODEL], ':');
	put_lower(to, parts[PART_TAG], '\0');
	out->source = source;
	return ERR_OK;
}

bool model_same(struct span a, struct span b)
{
	struct model_name x, y;

	if (model_parse(a, &x, NULL) || model_parse(b, &y, NULL))
		return false;
	/* "m" and "m:local" are one runner; "m:cloud" is a machine far away. */
	return strcmp(x.key, y.key) == 0 &&
	       (x.source == MODEL_CLOUD) == (y.source == MODEL_CLOUD);
}

/* --- load keys ----------------------------------------------------------- */

enum option {
	NUM_CTX,
	NUM_BATCH,
	NUM_GPU,
	MAIN_GPU,
	USE_MMAP,
	NUM_THREAD,
	DRAFT_NUM_PREDICT,
	OPTION_COUNT
};

static const char *const option_names[OPTION_COUNT] = {
	[NUM_CTX] = "num_ctx",
	[NUM_BATCH] = "num_batch",
	[NUM_GPU] = "num_gpu",
	[MAIN_GPU] = "main_gpu",
	[USE_MMAP] = "use_mmap",
	[NUM_THREAD] = "num_thread",
	[DRAFT_NUM_PREDICT] = "draft_num_predict",
};

/* The options of one request that shape its runner. */
struct runner {
	bool given[OPTION_COUNT];
	int64_t value[OPTION_COUNT];
	enum err err;
	struct errtext *why;
};

/* A JSON number as Ollama stores it: a double cut to an integer. Go refuses
 * what no double holds, such as 1e999. */
static enum err integer_of(struct span raw, int64_t *out)
{
	char *text = span_dup(raw);
	double d;

	if (!text)
		return ERR_NOMEM;
	d = strtod(text, NULL);
	free(text);
	if (isinf(d))
		return ERR_INVAL;
	if (d >= 0x1p63)
		*out = INT64_MAX;
	else if (d < -0x1p63)
		*out = INT64_MIN;
	else
		*out = (int64_t)d;
	return ERR_OK;
}

static bool option_member(void *arg, struct span key,
                          const struct jscan_value *value)
{
	struct runner *r = arg;
	struct span name;
	char *text = jscan_unescape(key, &name.len);
	int i = 0;

	if (!text) {
		r->err = ERR_NOMEM;
		return false;
	}
	name.p = text;
	while (i < OPTION_COUNT && !span_eq(name, option_names[i]))
		i++;
	free(text);
	if (i == OPTION_COUNT)
		return true;
	r->given[i] = value->type != JSCAN_NULL;
	if (!r->given[i])
		return true;
	if (i == USE_MMAP) {
		r->value[i] = value->type == JSCAN_TRUE;
		if (value->type != JSCAN_TRUE && value->type != JSCAN_FALSE)
			r->err = ERR_INVAL;
	} else if (value->type == JSCAN_NUMBER) {
		r->err = integer_of(value->raw, &r->value[i]);
	} else {
		r->err = ERR_INVAL;
	}
	if (r->err == ERR_INVAL)
		errtext_set(r->why, "option \"%s\" must be of type %s", option_names[i],
		            i == USE_MMAP ? "boolean" : "integer");
	return r->err == ERR_OK;
}

static enum err read_options(struct span options, struct runner *r)
{
	static const struct jscan_rules rules = { .max_depth = JSCAN_DEPTH_MAX,
		                                      .any_utf8 = true };
	struct jscan_value top;
	enum err e;

	if (options.len == 0)
		return ERR_OK;
	e = jscan(options, &rules, option_member, r, &top, r->why);
	if (e || r->err)
		return e ? e : r->err;
	if (top.type != JSCAN_OBJECT && top.type != JSCAN_NULL) {
		errtext_set(r->why, "options must be an object");
		return ERR_INVAL;
	}
	/* "As many layers as fit", which is what it is without. */
	if (r->given[NUM_GPU] && r->value[NUM_GPU] < 0)
		r->given[NUM_GPU] = false;
	return ERR_OK;
}

enum err model_load_key(const struct model_name *name, struct span options,
                        struct span shift, char *out, struct errtext *why)
{
	struct runner r = { .why = why };
	size_t at;
	enum err e;

	shift = span_trim(shift);
	if (shift.len > 0 && !span_eq(shift, "true") && !span_eq(shift, "false") &&
	    !span_eq(shift, "null")) {
		errtext_set(why, "shift must be true or false");
		return ERR_INVAL;
	}
	e = read_options(options, &r);
	if (e)
		return e;
	at = (size_t)snprintf(out, LIMIT_LOAD_KEY + 1, "%s%s", name->key,
	                      name->source == MODEL_CLOUD ? " cloud" : "");
	for (int i = 0; i < OPTION_COUNT; i++) {
		if (!r.given[i])
			continue;
		if (i == USE_MMAP)
			at += (size_t)snprintf(out + at, LIMIT_LOAD_KEY + 1 - at, " %s=%s",
			                       option_names[i], r.value[i] ? "true" : "false");
		else
			at += (size_t)snprintf(out + at, LIMIT_LOAD_KEY + 1 - at,
			                       " %s=%" PRId64, option_names[i], r.value[i]);
	}
	/* true is what Ollama takes when it is not given: no other runner. */
	if (span_eq(shift, "false"))
		snprintf(out + at, LIMIT_LOAD_KEY + 1 - at, " shift=false");
	return ERR_OK;
}
