/*
 * value.c - the kinds of values that settings have.
 *
 * A value is one of three: a number within a range, a word of a list, or a text
 * of some form; a few are read in a way of their own. What stays true: a field
 * is set only to what its type accepts.
 * Not here: what the values do, and whether paths and hosts exist.
 */
#include <config.h>

#include "core/value.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "core/address.h"
#include "core/conf.h"
#include "core/limits.h"
#include "core/model.h"

#define TEXT_MAX 512     /* bytes of a value without a form of its own */
#define URL_MAX 2048
#define DB_PATH_MAX 4000 /* "-wal" and the like must fit behind it */
#define TOKEN_MAX 1024   /* a header line's share */

/* --- numbers ---------------------------------------------------------------- */

static enum err parse_number(struct span text, int64_t *out)
{
	uint64_t n;

	if (str_u64(text, &n) || n > INT64_MAX)
		return ERR_INVAL;
	*out = (int64_t)n;
	return ERR_OK;
}

static void format_number(int64_t n, char *out)
{
	snprintf(out, 32, "%lld", (long long)n);
}

/* The two ends as text, and whether 0 stands beside them. */
static bool range_of(const char *range, struct span *low, struct span *high)
{
	bool zero = strncmp(range, "0 or ", 5) == 0;
	const char *dots;

	if (zero)
		range += 5;
	dots = strstr(range, "..");
	*low = (struct span){ range, dots ? (size_t)(dots - range) : 0 };
	*high = span_of(dots ? dots + 2 : "");
	return zero;
}

static enum err read_number(const struct value_type *t, const char *range,
                            struct span text, void *field)
{
	struct span low, high;
	bool zero = range_of(range, &low, &high);
	int64_t n, least = 0, most = 0;

	if (t->parse(low, &least) || t->parse(high, &most) || t->parse(text, &n))
		return ERR_INVAL;
	if ((n < least || n > most) && !(zero && n == 0))
		return ERR_INVAL;
	*(int64_t *)field = n;
	return ERR_OK;
}

static void show_number(const struct value_type *t, const void *field, FILE *to)
{
	char text[32];

	t->format(*(const int64_t *)field, text);
	fputs(text, to);
}

/* As a number; "cores" is how many processors are on line. */
static enum err read_count(const struct value_type *t, const char *range,
                           struct span text, void *field)
{
	struct span low, high;
	int64_t most = 1;
	long cores;

	if (!span_eq(text, "cores"))
		return read_number(t, range, text, field);
	range_of(range, &low, &high);
	if (t->parse(high, &most))
		return ERR_INVAL;
	cores = sysconf(_SC_NPROCESSORS_ONLN);
	*(int64_t *)field = cores < 1 ? 1 : cores > most ? most : cores;
	return ERR_OK;
}

static enum err read_schedule(const struct value_type *t, const char *range,
                              struct span text, void *field)
{
	struct conf_schedule schedule = { .count = 0 };
	struct span rest = text, one;

	while (span_cut(&rest, ',', &one)) {
		if (schedule.count == LIMIT_WEBHOOK_SCHEDULE ||
		    read_number(t, range, span_trim(one), &schedule.ms[schedule.count]))
			return ERR_INVAL;
		schedule.count++;
	}
	*(struct conf_schedule *)field = schedule;
	return ERR_OK;
}

static void show_schedule(const struct value_type *t, const void *field, FILE *to)
{
	const struct conf_schedule *schedule = field;

	for (size_t i = 0; i < schedule->count; i++) {
		if (i > 0)
			putc(',', to);
		show_number(t, &schedule->ms[i], to);
	}
}

/* --- words ------------------------------------------------------------------- */

static enum err read_word(const struct value_type *t, const char *range,
                          struct span text, void *field)
{
	(void)range;
	for (size_t i = 0; i < t->word_count; i++) {
		if (!span_eq(text, t->words[i]))
			continue;
		if (t->word_size == sizeof(bool))
			*(bool *)field = i == 1;
		else
			*(unsigned *)field = (unsigned)i;
		return ERR_OK;
	}
	return ERR_INVAL;
}

static void show_word(const struct value_type *t, const void *field, FILE *to)
{
	size_t i = t->word_size == sizeof(bool) ? *(const bool *)field
	                                        : *(const unsigned *)field;

	fputs(t->words[i], to);
}

/* --- text -------------------------------------------------------------------- */

static enum err keep(struct span text, void *field)
{
	char *copy = span_dup(text);

	if (!copy)
		return ERR_NOMEM;
	*(char **)field = copy;
	return ERR_OK;
}

static enum err read_text(const struct value_type *t, const char *range,
                          struct span text, void *field)
{
	(void)range;
	return t->form(text) ? keep(text, field) : ERR_INVAL;
}

static void show_text(const struct value_type *t, const void *field, FILE *to)
{
	const char *text = *(char *const *)field;

	(void)t;
	fputs(text ? text : "", to);
}

/* Lines for the Caddyfile: kept as one, for the dump has a line a key. */
static enum err read_lines(const struct value_type *t, const char *range,
                           struct span text, void *field)
{
	char line[TEXT_MAX];

	if (text.len > sizeof(line))
		return ERR_INVAL;
	for (size_t i = 0; i < text.len; i++)
		line[i] = text.p[i] == '\n' || text.p[i] == '\t' ? ' ' : text.p[i];
	return read_text(t, range, (struct span){ line, text.len }, field);
}

/* A base that paths are put behind: no '/' at its end. */
static enum err read_base_url(const struct value_type *t, const char *range,
                              struct span text, void *field)
{
	(void)range;
	if (!t->form(text))
		return ERR_INVAL;
	while (text.p[text.len - 1] == '/')
		text.len--;
	return keep(text, field);
}

/* --- forms of text ----------------------------------------------------------- */

/* Only bytes from `low` to '~'. */
static bool all_from(struct span s, char low)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < low || s.p[i] > '~')
			return false;
	return true;
}

static bool is_text(struct span text)
{
	return text.len <= TEXT_MAX && all_from(text, ' ');
}

static bool is_token(struct span text)
{
	return text.len <= TOKEN_MAX && all_from(text, '!');
}

/* Blanks around a name are the target's to trim; a line break is not. */
static bool is_model(struct span text)
{
	struct model_name name;

	return all_from(text, ' ') && !model_parse(text, &name, NULL) &&
	       name.source != MODEL_CLOUD;
}

static bool is_path_within(struct span text, size_t most)
{
	return text.len > 1 && text.len <= most && text.p[0] == '/' &&
	       text.p[text.len - 1] != '/' && all_from(text, ' ');
}

static bool is_path(struct span text)
{
	return is_path_within(text, DB_PATH_MAX);
}

static bool is_socket_path(struct span text)
{
	return is_path_within(text, sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
}

/* Split "host:port" or "[v6]:port"; without a port *port is absent. */
static bool split_host(struct span text, struct span *host, struct span *port,
                       bool *v6)
{
	struct span rest = text;

	*v6 = text.len > 0 && text.p[0] == '[';
	if (!*v6) {
		span_cut(&rest, ':', host);
		*port = rest;
		return true;
	}
	rest.p++, rest.len--;
	*port = (struct span){ NULL, 0 };
	if (!span_cut(&rest, ']', host) || !rest.p)
		return false;
	if (rest.len > 0)
		*port = (struct span){ rest.p + 1, rest.len - 1 };
	return rest.len == 0 || rest.p[0] == ':';
}

static bool is_socket(struct span text)
{
	struct span host, port;
	uint16_t n;
	bool v6;

	if (is_socket_path(text))
		return true;
	return split_host(text, &host, &port, &v6) && port_read(port, &n) &&
	       address_family(host) == (v6 ? AF_INET6 : AF_INET);
}

/* host[:port], of a URL. */
static bool is_authority(struct span text)
{
	struct span host, port;
	uint16_t n;
	bool v6;

	if (memchr(text.p, '@', text.len) || !split_host(text, &host, &port, &v6) ||
	    (port.p && !port_read(port, &n)))
		return false;
	if (v6)
		return address_family(host) == AF_INET6;
	return address_family(host) == AF_INET || host_name_ok(host);
}

/* Without a fragment, and of visible characters. */
static bool is_url(struct span text)
{
	struct span rest = text, scheme;
	size_t len = 2;

	if (text.len > URL_MAX || !all_from(text, '!') ||
	    memchr(text.p, '#', text.len) || memchr(text.p, '\\', text.len))
		return false;
	span_cut(&rest, ':', &scheme);
	if (!span_eq_nocase(scheme, "http") && !span_eq_nocase(scheme, "https"))
		return false;
	if (rest.len < 2 || memcmp(rest.p, "//", 2) != 0)
		return false;
	while (len < rest.len && !strchr("/?", rest.p[len]))
		len++;
	return is_authority((struct span){ rest.p + 2, len - 2 });
}

static bool is_base_url(struct span text)
{
	return is_url(text) && !memchr(text.p, '?', text.len);
}

static bool is_webhook_secret(struct span text)
{
	static const struct span prefix = SPAN_LIT("whsec_");
	unsigned char key[LIMIT_WEBHOOK_SECRET_MAX];
	size_t len = sizeof(key);

	if (text.len < prefix.len || memcmp(text.p, prefix.p, prefix.len) != 0)
		return false;
	text.p += prefix.len;
	text.len -= prefix.len;
	return !str_unbase64(text, key, &len) && len >= LIMIT_WEBHOOK_SECRET_MIN;
}

/* One or more, with spaces between. */
static bool are_webhook_secrets(struct span text)
{
	struct span rest = text, one;
	size_t count = 0;

	while (span_cut(&rest, ' ', &one)) {
		if (one.len == 0)
			continue;
		if (!is_webhook_secret(one))
			return false;
		count++;
	}
	return count > 0;
}

/* public, lan and loopback have the form of host names. */
static bool is_allow(struct span text)
{
	struct span rest = text, one;
	struct network n;

	if (text.len > URL_MAX || !all_from(text, ' '))
		return false;
	while (span_cut(&rest, ',', &one)) {
		one = span_trim(one);
		if (!network_read(one, &n) && !host_name_ok(one))
			return false;
	}
	return true;
}

/* --- the types --------------------------------------------------------------- */

static const char *const checkpointer_words[] = { "worker", "other" };
static const char *const admin_words[] = { "deny", "allow" };
static const char *const level_words[LOG_LEVEL_COUNT] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};
static const char *const format_words[LOG_FORMAT_COUNT] = {
	[LOG_LOGFMT] = "logfmt",
	[LOG_JSON] = "json",
};

_Static_assert(sizeof(enum log_level) == sizeof(unsigned) &&
               sizeof(enum log_format) == sizeof(unsigned) &&
               sizeof(bool) != sizeof(unsigned), "a word's field");

#define NUMBER_AS(reader, parser, writer)                                          \
	.read = (reader), .show = show_number, .parse = (parser), .format = (writer)
#define TEXT_AS(reader, checker)                                                   \
	.read = (reader), .show = show_text, .form = (checker), .on_heap = true
#define WORD_OF(list, type)                                                        \
	.read = read_word, .show = show_word, .words = (list),                         \
	.word_count = ARRAY_LEN(list), .word_size = sizeof(type)

const struct value_type
	VALUE_NUMBER = { "number", "a number",
	                 NUMBER_AS(read_number, parse_number, format_number) },
	VALUE_COUNT = { "count", "cores, or a number",
	                NUMBER_AS(read_count, parse_number, format_number) },
	VALUE_DURATION = { "duration", "a duration",
	                   NUMBER_AS(read_number, str_duration_ms,
	                             str_format_duration) },
	VALUE_SIZE = { "size", "a size",
	               NUMBER_AS(read_number, str_size, str_format_size) },
	VALUE_SCHEDULE = { "durations", "a comma list of at most 32 durations",
	                   .read = read_schedule, .show = show_schedule,
	                   .parse = str_duration_ms, .format = str_format_duration },
	VALUE_TEXT = { "text", "printable ASCII of at most 512 bytes",
	               TEXT_AS(read_text, is_text) },
	VALUE_LINES = { "lines",
	                "printable ASCII and line breaks, of at most 512 bytes,",
	                TEXT_AS(read_lines, is_text) },
	VALUE_TOKEN = { "token", "visible ASCII without blanks, at most 1024 bytes,",
	                TEXT_AS(read_text, is_token) },
	VALUE_MODEL = { "model",
	                "the name of a local model, such as nomic-embed-text",
	                TEXT_AS(read_text, is_model) },
	VALUE_PATH = { "path", "an absolute path", TEXT_AS(read_text, is_path) },
	VALUE_SOCKET_PATH = { "path", "an absolute path of at most 107 bytes",
	                      TEXT_AS(read_text, is_socket_path) },
	VALUE_SOCKET = { "socket",
	                 "an absolute path of at most 107 bytes, or 127.0.0.1:9000,",
	                 TEXT_AS(read_text, is_socket) },
	VALUE_BASE_URL = { "URL", "http(s)://host[:port][/path] without user, query or "
	                   "fragment", TEXT_AS(read_base_url, is_base_url) },
	VALUE_URL = { "URL", "http(s)://host[:port][/path][?query] without user or "
	              "fragment", TEXT_AS(read_text, is_url) },
	VALUE_WEBHOOK_SECRET = { "secrets", "whsec_ with the base64 of 24 to 64 bytes, "
	                         "or several with spaces between,",
	                         TEXT_AS(read_text, are_webhook_secrets) },
	VALUE_ALLOW = { "list", "a comma list of public, lan, loopback, addresses, "
	                "CIDRs and host names", TEXT_AS(read_text, is_allow) },
	VALUE_CHECKPOINTER = { "word", "worker or other",
	                       WORD_OF(checkpointer_words, bool) },
	VALUE_ADMIN = { "word", "deny or allow", WORD_OF(admin_words, bool) },
	VALUE_LEVEL = { "word", "error, warn, info or debug",
	                WORD_OF(level_words, enum log_level) },
	VALUE_FORMAT = { "word", "logfmt or json",
	                 WORD_OF(format_words, enum log_format) };

/* --- what every type does ---------------------------------------------------- */

enum err value_read(const struct value_type *t, const char *range, struct span text,
                    void *field)
{
	return t->read(t, range, text, field);
}

void value_show(const struct value_type *t, const void *field, FILE *to)
{
	t->show(t, field, to);
}

void value_done(const struct value_type *t, void *field)
{
	if (!t->on_heap)
		return;
	free(*(char **)field);
	*(char **)field = NULL;
}

void value_accepts(const struct value_type *t, const char *range,
                   char out[VALUE_ACCEPTS_SIZE])
{
	struct span low, high;
	bool zero = range_of(range, &low, &high);

	if (low.len > 0)
		snprintf(out, VALUE_ACCEPTS_SIZE, "%s%s from %.*s to %.*s is accepted",
		         zero ? "0, or " : "", t->accepts, (int)low.len, low.p,
		         (int)high.len, high.p);
	else
		snprintf(out, VALUE_ACCEPTS_SIZE, "%s is accepted", t->accepts);
}
