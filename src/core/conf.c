/*
 * conf.c - the settings, in one table.
 *
 * A row is all there is to know of a setting: its place in struct conf, its
 * type, range, default and meaning. Each type reads, writes and describes its
 * values; nothing below knows a single key by name. What stays true: a conf
 * that was loaded is complete and within its ranges, and no message or dump
 * holds a secret.
 *
 * An empty value (FOREMAN_X=) counts as not set, as compose files and unit
 * files write it; an empty secret file does not, because that is a mistake
 * that would open a door.
 * Refused: unknown names, a name given twice, a secret given both ways.
 * Not here: what the values do, and whether paths and hosts exist.
 */
#include <config.h>

#include "core/conf.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "core/model.h"

#define PREFIX "FOREMAN_"
#define FILE_SUFFIX "_FILE"

#define TEXT_MAX 512     /* bytes of a value without a form of its own */
#define URL_MAX 2048
#define DB_PATH_MAX 4000 /* "-wal" and the like must fit behind it */
#define TOKEN_MAX 1024   /* a header line's share */
#define SECRET_FILE_MAX 8192

/* What an unset value is refused with; long enough for every type's words. */
#define ACCEPTS_SIZE 160

struct setting;

/* A kind of value: how it is read, shown and described. */
struct type {
	const char *name;
	/* ERR_OK: *field is set. ERR_INVAL: not of the form or out of range. */
	enum err (*read)(const struct setting *s, struct span text, void *field);
	void (*show)(const void *field, FILE *to);
	const char *accepts; /* after it comes " from A to B" if there is a range */
	bool on_heap;        /* the field is a char * that conf_done frees */
};

struct setting {
	const char *name;
	const struct type *type;
	size_t field;
	const char *range;    /* "A..B" or "0 or A..B", in the type's own writing */
	const char *fallback; /* "" = none */
	const char *help;
	bool secret;
};

/* --- numbers, durations, sizes ------------------------------------------- */

typedef enum err parse_fn(struct span text, int64_t *out);

static enum err parse_number(struct span text, int64_t *out)
{
	uint64_t n;

	if (str_u64(text, &n) || n > INT64_MAX)
		return ERR_INVAL;
	*out = (int64_t)n;
	return ERR_OK;
}

/* "0 or A..B": the two ends as text, and whether 0 stands beside them. */
static bool range_of(const struct setting *s, struct span *low, struct span *high)
{
	const char *range = s->range;
	bool zero = strncmp(range, "0 or ", 5) == 0;
	const char *dots;

	if (zero)
		range += 5;
	dots = strstr(range, "..");
	*low = (struct span){ range, dots ? (size_t)(dots - range) : 0 };
	*high = span_of(dots ? dots + 2 : "");
	return zero;
}

static enum err read_ranged(const struct setting *s, struct span text,
                            parse_fn *parse, int64_t *out)
{
	struct span low, high;
	bool zero = range_of(s, &low, &high);
	int64_t n, least = 0, most = 0;

	if (parse(low, &least) || parse(high, &most) || parse(text, &n))
		return ERR_INVAL;
	if ((n < least || n > most) && !(zero && n == 0))
		return ERR_INVAL;
	*out = n;
	return ERR_OK;
}

static enum err read_number(const struct setting *s, struct span text, void *field)
{
	return read_ranged(s, text, parse_number, field);
}

static void show_number(const void *field, FILE *to)
{
	fprintf(to, "%lld", (long long)*(const int64_t *)field);
}

/* As a number; "cores" is how many processors are on line. */
static enum err read_count(const struct setting *s, struct span text, void *field)
{
	struct span low, high;
	int64_t most = 1;
	long cores;

	if (!span_eq(text, "cores"))
		return read_ranged(s, text, parse_number, field);
	range_of(s, &low, &high);
	if (parse_number(high, &most))
		return ERR_INVAL;
	cores = sysconf(_SC_NPROCESSORS_ONLN);
	*(int64_t *)field = cores < 1 ? 1 : cores > most ? most : cores;
	return ERR_OK;
}

static enum err read_duration(const struct setting *s, struct span text,
                              void *field)
{
	return read_ranged(s, text, str_duration_ms, field);
}

static void show_duration(const void *field, FILE *to)
{
	char text[32];

	str_format_duration(*(const int64_t *)field, text);
	fputs(text, to);
}

static enum err read_size(const struct setting *s, struct span text, void *field)
{
	return read_ranged(s, text, str_size, field);
}

static void show_size(const void *field, FILE *to)
{
	char text[32];

	str_format_size(*(const int64_t *)field, text);
	fputs(text, to);
}

/* --- text, and what has the form of something ---------------------------- */

static enum err keep(struct span text, void *field)
{
	char *copy = span_dup(text);

	if (!copy)
		return ERR_NOMEM;
	*(char **)field = copy;
	return ERR_OK;
}

static void show_text(const void *field, FILE *to)
{
	const char *text = *(char *const *)field;

	fputs(text ? text : "", to);
}

/* Only bytes from `low` to '~'. */
static bool all_from(struct span s, char low)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < low || s.p[i] > '~')
			return false;
	return true;
}

static enum err read_text(const struct setting *s, struct span text, void *field)
{
	(void)s;
	if (text.len > TEXT_MAX || !all_from(text, ' '))
		return ERR_INVAL;
	return keep(text, field);
}

/* Lines for the Caddyfile: kept as one, for the dump has a line a key. */
static enum err read_lines(const struct setting *s, struct span text, void *field)
{
	char line[TEXT_MAX];

	if (text.len > sizeof(line))
		return ERR_INVAL;
	for (size_t i = 0; i < text.len; i++)
		line[i] = text.p[i] == '\n' || text.p[i] == '\t' ? ' ' : text.p[i];
	return read_text(s, (struct span){ line, text.len }, field);
}

static enum err read_token(const struct setting *s, struct span text, void *field)
{
	(void)s;
	if (text.len > TOKEN_MAX || !all_from(text, '!'))
		return ERR_INVAL;
	return keep(text, field);
}

static enum err read_model(const struct setting *s, struct span text, void *field)
{
	struct model_name name;

	(void)s;
	/* blanks around a name are the target's to trim; a line break is not */
	if (!all_from(text, ' ') || model_parse(text, &name, NULL) ||
	    name.source == MODEL_CLOUD)
		return ERR_INVAL;
	return keep(text, field);
}

static bool path_ok(struct span text, size_t most)
{
	return text.len > 1 && text.len <= most && text.p[0] == '/' &&
	       text.p[text.len - 1] != '/' && all_from(text, ' ');
}

static enum err read_path(const struct setting *s, struct span text, void *field)
{
	(void)s;
	return path_ok(text, DB_PATH_MAX) ? keep(text, field) : ERR_INVAL;
}

static bool socket_path_ok(struct span text)
{
	return path_ok(text, sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
}

static enum err read_socket_path(const struct setting *s, struct span text,
                                 void *field)
{
	(void)s;
	return socket_path_ok(text) ? keep(text, field) : ERR_INVAL;
}

/* An address of the family as inet_pton likes it; `out` holds an in6_addr. */
static bool read_address(struct span text, int family, unsigned char *out)
{
	char copy[INET6_ADDRSTRLEN];

	if (text.len >= sizeof(copy))
		return false;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	return inet_pton(family, copy, out) == 1;
}

static bool address_ok(struct span text, int family)
{
	unsigned char address[sizeof(struct in6_addr)];

	return read_address(text, family, address);
}

static bool port_ok(struct span text)
{
	uint64_t port;

	return text.len <= 5 && !str_u64(text, &port) && port >= 1 && port <= 65535;
}

static bool host_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* A name of DNS: labels of letters, digits, '-' and '_'. One whose last label
 * is a number is an address or nothing. */
static bool host_name_ok(struct span text)
{
	struct span rest = text, label = { NULL, 0 };

	if (text.len == 0 || text.len > 253)
		return false;
	while (span_cut(&rest, '.', &label)) {
		if (label.len < 1 || label.len > 63)
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!host_letter(label.p[i]))
				return false;
	}
	return str_u64(label, &(uint64_t){ 0 }) != ERR_OK;
}

/* Split "host:port" or "[v6]:port"; without a port *port is absent. */
static bool split_host(struct span text, struct span *host, struct span *port,
                       bool *v6)
{
	struct span rest = text;

	*port = (struct span){ NULL, 0 };
	*v6 = text.len > 0 && text.p[0] == '[';
	if (*v6) {
		rest.p++, rest.len--;
		if (!span_cut(&rest, ']', host) || !rest.p)
			return false;
		if (rest.len == 0)
			return true;
		if (rest.p[0] != ':')
			return false;
		*port = (struct span){ rest.p + 1, rest.len - 1 };
		return true;
	}
	span_cut(&rest, ':', host);
	*port = rest;
	return true;
}

static enum err read_socket(const struct setting *s, struct span text, void *field)
{
	struct span host, port;
	bool v6;

	(void)s;
	if (socket_path_ok(text))
		return keep(text, field);
	if (!split_host(text, &host, &port, &v6) || !port.p || !port_ok(port) ||
	    !address_ok(host, v6 ? AF_INET6 : AF_INET))
		return ERR_INVAL;
	return keep(text, field);
}

/* http(s)://host[:port][/…], of visible characters, without user, query (unless
 * allowed) or fragment. */
static bool url_ok(struct span text, bool query)
{
	struct span rest = text, scheme, authority, host, port;
	bool v6;

	if (text.len > URL_MAX || !all_from(text, '!') ||
	    memchr(text.p, '#', text.len) || memchr(text.p, '\\', text.len) ||
	    (!query && memchr(text.p, '?', text.len)))
		return false;
	span_cut(&rest, ':', &scheme);
	if (!span_eq_nocase(scheme, "http") && !span_eq_nocase(scheme, "https"))
		return false;
	if (rest.len < 2 || memcmp(rest.p, "//", 2) != 0)
		return false;
	authority = (struct span){ rest.p + 2, 0 };
	while (authority.len < rest.len - 2 &&
	       !strchr("/?", authority.p[authority.len]))
		authority.len++;
	if (memchr(authority.p, '@', authority.len) ||
	    !split_host(authority, &host, &port, &v6) || (port.p && !port_ok(port)))
		return false;
	if (v6)
		return address_ok(host, AF_INET6);
	return address_ok(host, AF_INET) || host_name_ok(host);
}

/* A base that paths are put behind: no '/' at its end. */
static enum err read_base_url(const struct setting *s, struct span text,
                              void *field)
{
	(void)s;
	if (!url_ok(text, false))
		return ERR_INVAL;
	while (text.p[text.len - 1] == '/')
		text.len--;
	return keep(text, field);
}

static enum err read_url(const struct setting *s, struct span text, void *field)
{
	(void)s;
	return url_ok(text, true) ? keep(text, field) : ERR_INVAL;
}

/* One or more whsec_…, with spaces between. */
static enum err read_webhook_secret(const struct setting *s, struct span text,
                                    void *field)
{
	static const struct span prefix = SPAN_LIT("whsec_");
	struct span rest = text, one;
	size_t count = 0;

	(void)s;
	while (span_cut(&rest, ' ', &one)) {
		unsigned char key[LIMIT_WEBHOOK_SECRET_MAX];
		size_t len = sizeof(key);

		if (one.len == 0)
			continue;
		if (one.len < prefix.len || memcmp(one.p, prefix.p, prefix.len) != 0)
			return ERR_INVAL;
		one.p += prefix.len;
		one.len -= prefix.len;
		if (str_unbase64(one, key, &len) || len < LIMIT_WEBHOOK_SECRET_MIN)
			return ERR_INVAL;
		count++;
	}
	return count > 0 ? keep(text, field) : ERR_INVAL;
}

/* Are all bits of the address from number `from` on 0? */
static bool ends_in_zeros(const unsigned char *address, size_t bytes, uint64_t from)
{
	for (uint64_t i = from; i < 8 * (uint64_t)bytes; i++)
		if (address[i / 8] >> (7 - i % 8) & 1)
			return false;
	return true;
}

/* An address, or a network: address/bits with nothing behind the bits. */
static bool cidr_ok(struct span text)
{
	unsigned char address[sizeof(struct in6_addr)] = { 0 };
	struct span bits = text, host;
	uint64_t n, most;

	span_cut(&bits, '/', &host);
	if (read_address(host, AF_INET, address))
		most = 32;
	else if (read_address(host, AF_INET6, address))
		most = 128;
	else
		return false;
	if (!bits.p)
		return true;
	if (bits.len > 3 || str_u64(bits, &n) || n > most)
		return false;
	return ends_in_zeros(address, most / 8, n);
}

/* public, lan and loopback have the form of host names. */
static enum err read_allow(const struct setting *s, struct span text, void *field)
{
	struct span rest = text, one;

	(void)s;
	if (text.len > URL_MAX || !all_from(text, ' '))
		return ERR_INVAL;
	while (span_cut(&rest, ',', &one)) {
		one = span_trim(one);
		if (!cidr_ok(one) && !host_name_ok(one))
			return ERR_INVAL;
	}
	return keep(text, field);
}

static enum err read_schedule(const struct setting *s, struct span text,
                              void *field)
{
	struct conf_schedule schedule = { .count = 0 };
	struct span rest = text, one;

	while (span_cut(&rest, ',', &one)) {
		if (schedule.count == LIMIT_WEBHOOK_SCHEDULE ||
		    read_ranged(s, span_trim(one), str_duration_ms,
		                &schedule.ms[schedule.count]))
			return ERR_INVAL;
		schedule.count++;
	}
	*(struct conf_schedule *)field = schedule;
	return ERR_OK;
}

static void show_schedule(const void *field, FILE *to)
{
	const struct conf_schedule *schedule = field;

	for (size_t i = 0; i < schedule->count; i++) {
		if (i > 0)
			putc(',', to);
		show_duration(&schedule->ms[i], to);
	}
}

/* --- words --------------------------------------------------------------- */

static int word_index(const char *const *words, int count, struct span text)
{
	for (int i = 0; i < count; i++)
		if (span_eq(text, words[i]))
			return i;
	return -1;
}

static const char *const admin_words[] = { "deny", "allow" };

static enum err read_admin(const struct setting *s, struct span text, void *field)
{
	int i = word_index(admin_words, ARRAY_LEN(admin_words), text);

	(void)s;
	if (i < 0)
		return ERR_INVAL;
	*(bool *)field = i == 1;
	return ERR_OK;
}

static void show_admin(const void *field, FILE *to)
{
	fputs(admin_words[*(const bool *)field], to);
}

static const char *const checkpointer_words[] = { "worker", "other" };

static enum err read_checkpointer(const struct setting *s, struct span text,
                                  void *field)
{
	int i = word_index(checkpointer_words, ARRAY_LEN(checkpointer_words), text);

	(void)s;
	if (i < 0)
		return ERR_INVAL;
	*(bool *)field = i == 1;
	return ERR_OK;
}

static void show_checkpointer(const void *field, FILE *to)
{
	fputs(checkpointer_words[*(const bool *)field], to);
}

static const char *const level_words[LOG_LEVEL_COUNT] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

static enum err read_level(const struct setting *s, struct span text, void *field)
{
	int i = word_index(level_words, LOG_LEVEL_COUNT, text);

	(void)s;
	if (i < 0)
		return ERR_INVAL;
	*(enum log_level *)field = (enum log_level)i;
	return ERR_OK;
}

static void show_level(const void *field, FILE *to)
{
	fputs(level_words[*(const enum log_level *)field], to);
}

static const char *const format_words[LOG_FORMAT_COUNT] = {
	[LOG_LOGFMT] = "logfmt",
	[LOG_JSON] = "json",
};

static enum err read_format(const struct setting *s, struct span text, void *field)
{
	int i = word_index(format_words, LOG_FORMAT_COUNT, text);

	(void)s;
	if (i < 0)
		return ERR_INVAL;
	*(enum log_format *)field = (enum log_format)i;
	return ERR_OK;
}

static void show_format(const void *field, FILE *to)
{
	fputs(format_words[*(const enum log_format *)field], to);
}

/* --- the tables ---------------------------------------------------------- */

static const struct type
	T_NUMBER = { "number", read_number, show_number, "a number", false },
	T_COUNT = { "count", read_count, show_number, "cores, or a number", false },
	T_DURATION = { "duration", read_duration, show_duration, "a duration", false },
	T_SIZE = { "size", read_size, show_size, "a size", false },
	T_TEXT = { "text", read_text, show_text,
	           "printable ASCII of at most 512 bytes", true },
	T_LINES = { "lines", read_lines, show_text,
	            "printable ASCII and line breaks, of at most 512 bytes,", true },
	T_TOKEN = { "token", read_token, show_text,
	            "visible ASCII without blanks, at most 1024 bytes,", true },
	T_MODEL = { "model", read_model, show_text,
	            "the name of a local model, such as nomic-embed-text", true },
	T_PATH = { "path", read_path, show_text, "an absolute path", true },
	T_SOCKET_PATH = { "path", read_socket_path, show_text,
	                  "an absolute path of at most 107 bytes", true },
	T_SOCKET = { "socket", read_socket, show_text,
	             "an absolute path of at most 107 bytes, or 127.0.0.1:9000,",
	             true },
	T_BASE_URL = { "URL", read_base_url, show_text,
	               "http(s)://host[:port][/path] without user, query or fragment",
	               true },
	T_URL = { "URL", read_url, show_text,
	          "http(s)://host[:port][/path][?query] without user or fragment",
	          true },
	T_WEBHOOK_SECRET = { "secrets", read_webhook_secret, show_text,
	                     "whsec_ with the base64 of 24 to 64 bytes, or several "
	                     "with spaces between,", true },
	T_ALLOW = { "list", read_allow, show_text,
	            "a comma list of public, lan, loopback, addresses, CIDRs and host names",
	            true },
	T_SCHEDULE = { "durations", read_schedule, show_schedule,
	               "a comma list of at most 32 durations", false },
	T_CHECKPOINTER = { "word", read_checkpointer, show_checkpointer,
	                   "worker or other", false },
	T_ADMIN = { "word", read_admin, show_admin, "deny or allow", false },
	T_LEVEL = { "word", read_level, show_level, "error, warn, info or debug",
	            false },
	T_FORMAT = { "word", read_format, show_format, "logfmt or json", false };

#define FIELD(name) offsetof(struct conf, name)

static const struct setting settings[] = {
	{ "FOREMAN_OLLAMA_URL", &T_BASE_URL, FIELD(ollama_url), "",
	  "http://127.0.0.1:11434", "the one target; a path prefix is allowed", false },
	{ "FOREMAN_OLLAMA_TOKEN", &T_TOKEN, FIELD(ollama_token), "", "",
	  "sent to the target as Authorization: Bearer; a client's own Authorization "
	  "is never forwarded", true },
	{ "FOREMAN_EMBED_MODEL", &T_MODEL, FIELD(embed_model), "", "",
	  "the always-resident embedder; without it every embed request bypasses the "
	  "queue", false },
	{ "FOREMAN_DB", &T_PATH, FIELD(db), "", "/var/lib/foreman/foreman.db",
	  "the SQLite file, mode 0640 in a directory of mode 0750", false },
	{ "FOREMAN_CHECKPOINTER", &T_CHECKPOINTER, FIELD(other_checkpoints), "",
	  "worker", "who empties the database's write-ahead log; other is a program "
	  "that copies it, such as Litestream", false },
	{ "FOREMAN_SOCKET", &T_SOCKET, FIELD(socket), "", "/run/foreman/responder.sock",
	  "where the responders listen for FastCGI", false },
	{ "FOREMAN_RELAY", &T_SOCKET_PATH, FIELD(relay), "", "/run/foreman/relay.sock",
	  "the worker's local socket to the responders", false },
	{ "FOREMAN_LISTEN", &T_TEXT, FIELD(listen), "", ":8080",
	  "where HTTP is served; read by the Caddyfile alone", false },
	{ "FOREMAN_REQUEST_BUFFERS", &T_LINES, FIELD(request_buffers), "", "",
	  "the request buffering lines that this Caddy understands; read by the "
	  "Caddyfile alone", false },
	{ "FOREMAN_URL", &T_BASE_URL, FIELD(url), "", "http://localhost:8080",
	  "where the service is; read by the command line and libforeman alone", false },
	{ "FOREMAN_RESPONDERS", &T_COUNT, FIELD(responders), "1..256", "cores",
	  "responder processes; cores is the number of processors", false },
	{ "FOREMAN_THREADS", &T_NUMBER, FIELD(threads), "1..1024", "32",
	  "requests one responder works on at once; clients that wait in line take no "
	  "thread", false },
	{ "FOREMAN_API_TOKEN", &T_TOKEN, FIELD(api_token), "", "",
	  "if set, every request but /healthz and a preflight needs Authorization: "
	  "Bearer with it", true },
	{ "FOREMAN_MAX_BODY", &T_SIZE, FIELD(max_body), "1K..512M", "64M",
	  "request body cap; 413 above it", false },
	{ "FOREMAN_MAX_QUEUE", &T_NUMBER, FIELD(max_queue), "1..4096", "512",
	  "clients that may wait in line on an open connection; 503 above it", false },
	{ "FOREMAN_MAX_JOBS", &T_NUMBER, FIELD(max_jobs), "1..1000000000", "1000000",
	  "queued jobs; 429 with Retry-After above it", false },
	{ "FOREMAN_DRAIN_MAX_WAIT", &T_DURATION, FIELD(drain_max_wait_ms), "0..30d",
	  "10m", "once a job of another model has waited this long, the drain switches "
	  "to it; 0 is no bound", false },
	{ "FOREMAN_MAX_ATTEMPTS", &T_NUMBER, FIELD(max_attempts), "1..100", "3",
	  "runs of one job that may fail for a reason of its own; a sleeping target or "
	  "a restart never counts", false },
	{ "FOREMAN_MAX_SILENCE", &T_DURATION, FIELD(max_silence_ms), "0 or 1s..30d",
	  "2h", "a job whose target says nothing for this long while it answers probes "
	  "is taken back and its model unloaded; 0 is never", false },
	{ "FOREMAN_TARGET_STALL", &T_DURATION, FIELD(target_stall_ms), "0 or 1s..30d",
	  "15m", "a job whose target says nothing and answers no probe for this long "
	  "is taken back; 0 is never", false },
	{ "FOREMAN_TARGET_DEAD", &T_DURATION, FIELD(target_dead_ms), "4s..1h", "2m",
	  "a target whose host acknowledges nothing for this long is gone; a shorter "
	  "nap loses nothing", false },
	{ "FOREMAN_KEEPALIVE", &T_DURATION, FIELD(keepalive_ms), "0 or 100ms..1h",
	  "15s", "a waiting client gets a few spaces this often, the first after this "
	  "long; 0 is never", false },
	{ "FOREMAN_CHAT_MAX_WAIT", &T_DURATION, FIELD(chat_max_wait_ms), "0..30d", "0",
	  "a client may wait in line this long, then gets 503; 0 is no limit", false },
	{ "FOREMAN_POLL_INTERVAL", &T_DURATION, FIELD(poll_interval_ms), "50ms..1h",
	  "5s", "how often the target is looked at; backs off to 30s while it sleeps",
	  false },
	{ "FOREMAN_INLINE_MAX", &T_SIZE, FIELD(inline_max), "0..16M", "16K",
	  "artifacts up to this size ride inside job objects and webhooks", false },
	{ "FOREMAN_MAX_RESPONSE", &T_SIZE, FIELD(max_response), "1K..1G", "64M",
	  "a reply larger than this fails the job; the part so far is kept", false },
	{ "FOREMAN_PUBLIC_URL", &T_BASE_URL, FIELD(public_url), "", "",
	  "base of the links in webhooks; they are relative without it", false },
	{ "FOREMAN_WEBHOOK_URL", &T_URL, FIELD(webhook_url), "", "",
	  "receiver for jobs that name none; attended requests never post webhooks",
	  false },
	{ "FOREMAN_WEBHOOK_SECRET", &T_WEBHOOK_SECRET, FIELD(webhook_secret), "", "",
	  "signs webhooks; several with spaces between while rotating", true },
	{ "FOREMAN_WEBHOOK_ALLOW", &T_ALLOW, FIELD(webhook_allow), "", "public,lan",
	  "what a webhook may reach; link-local, multicast and unspecified addresses "
	  "only by CIDR", false },
	{ "FOREMAN_WEBHOOK_SCHEDULE", &T_SCHEDULE, FIELD(webhook_schedule), "0..365d",
	  "0,5s,5m,30m,2h,5h,10h,14h,20h,24h", "delays between attempts, with 20 % "
	  "jitter either way; after the last one the delivery is dead", false },
	{ "FOREMAN_WEBHOOK_TIMEOUT", &T_DURATION, FIELD(webhook_timeout_ms),
	  "100ms..10m", "15s", "one attempt", false },
	{ "FOREMAN_RETENTION", &T_DURATION, FIELD(retention_ms), "0..3650d", "7d",
	  "finished jobs are kept this long, and as long as a webhook is owed; 0 is "
	  "for ever", false },
	{ "FOREMAN_MODEL_ADMIN", &T_ADMIN, FIELD(model_admin), "", "deny",
	  "allow passes pull, push, create, copy, delete and blobs on to the target",
	  false },
	{ "FOREMAN_LOG_LEVEL", &T_LEVEL, FIELD(log_level), "", "info",
	  "the least important events that are logged", false },
	{ "FOREMAN_LOG_FORMAT", &T_FORMAT, FIELD(log_format), "", "logfmt",
	  "how log lines are written", false },
};

#define SETTING_COUNT ARRAY_LEN(settings)

/* --- saying no ----------------------------------------------------------- */

/* `name=value: ` and why; one line however strange the value is. */
static enum err refuse(struct errtext *why, struct span name, const char *value,
                       const char *reason)
{
	char shown_name[64], shown[72];

	str_escape(name, shown_name, sizeof(shown_name));
	str_escape(span_of(value), shown, sizeof(shown));
	errtext_set(why, "%s=%s: %s", shown_name, shown, reason);
	return ERR_INVAL;
}

static enum err refuse_value(const struct setting *s, const char *value,
                             struct errtext *why)
{
	char reason[ACCEPTS_SIZE];
	struct span low, high;
	bool zero = range_of(s, &low, &high);

	if (low.p && low.len > 0)
		snprintf(reason, sizeof(reason), "%s%s from %.*s to %.*s is accepted",
		         zero ? "0, or " : "", s->type->accepts, (int)low.len, low.p,
		         (int)high.len, high.p);
	else
		snprintf(reason, sizeof(reason), "%s is accepted", s->type->accepts);
	return refuse(why, span_of(s->name), s->secret ? "***" : value, reason);
}

/* Letters to insert, drop or change until the one is the other; counted up to
 * `most`, which is what it says for anything more. */
static size_t distance(struct span a, const char *b, size_t most)
{
	enum { NAME_MAX = 40 };
	size_t b_len = strlen(b);
	size_t row[NAME_MAX + 1];

	if (b_len > NAME_MAX || a.len > b_len + most || b_len > a.len + most)
		return most;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t changed = diagonal + (a.p[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j - 1] + 1 < changed)
				changed = row[j - 1] + 1;
			row[j] = row[j] + 1 < changed ? row[j] + 1 : changed;
		}
	}
	return row[b_len] < most ? row[b_len] : most;
}

/* Names that are off by up to three letters, and by no more than a third, get
 * a hint. The value stays hidden: a mistyped name may well hold a secret. */
static enum err refuse_unknown(struct span name, struct errtext *why)
{
	const size_t own = name.len - (sizeof(PREFIX) - 1);
	size_t least = own / 3 < 3 ? own / 3 + 1 : 4;
	const char *nearest = NULL;
	char reason[ACCEPTS_SIZE];

	for (size_t i = 0; i < SETTING_COUNT; i++) {
		size_t d = distance(name, settings[i].name, least);

		if (d < least) {
			least = d;
			nearest = settings[i].name;
		}
	}
	if (nearest)
		snprintf(reason, sizeof(reason), "unknown setting; %s is accepted",
		         nearest);
	else
		snprintf(reason, sizeof(reason),
		         "unknown setting; only documented FOREMAN_ names are accepted");
	return refuse(why, name, "***", reason);
}

/* --- reading the environment --------------------------------------------- */

/* What the environment says, by row; NULL where a name does not occur. */
struct given {
	const char *value[SETTING_COUNT];
	const char *file[SETTING_COUNT]; /* FOREMAN_X_FILE */
};

/* The place for the value of `name`; NULL when it is no setting. */
static const char **place_of(struct given *g, struct span name)
{
	static const size_t suffix = sizeof(FILE_SUFFIX) - 1;

	for (size_t i = 0; i < SETTING_COUNT; i++) {
		size_t len = strlen(settings[i].name);

		if (name.len < len || memcmp(name.p, settings[i].name, len) != 0)
			continue;
		if (name.len == len)
			return &g->value[i];
		if (settings[i].secret && name.len == len + suffix &&
		    memcmp(name.p + len, FILE_SUFFIX, suffix) == 0)
			return &g->file[i];
	}
	return NULL;
}

static enum err gather(char *const *env, struct given *g, struct errtext *why)
{
	for (; *env; env++) {
		struct span rest = span_of(*env), name;
		const char **place;

		if (strncmp(*env, PREFIX, sizeof(PREFIX) - 1) != 0)
			continue;
		span_cut(&rest, '=', &name);
		place = place_of(g, name);
		if (!place)
			return refuse_unknown(name, why);
		if (*place)
			return refuse(why, name, "***", "given twice; one of each is accepted");
		*place = rest.p ? rest.p : "";
	}
	/* Only now that a second empty one would have been seen. */
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		if (g->value[i] && !*g->value[i])
			g->value[i] = NULL;
		if (g->file[i] && !*g->file[i])
			g->file[i] = NULL;
	}
	return ERR_OK;
}

/* Set the field of `s` from FOREMAN_X_FILE. */
static enum err load_file(const struct setting *s, const char *path, void *field,
                          struct errtext *why)
{
	char name[64], reason[ACCEPTS_SIZE];
	struct errtext cause = { "" };
	struct span text;
	char *bytes = NULL;
	enum err e;

	snprintf(name, sizeof(name), "%s" FILE_SUFFIX, s->name);
	e = fd_read_file(path, SECRET_FILE_MAX, &bytes, &text.len, &cause);
	if (e) {
		snprintf(reason, sizeof(reason), "%.80s; a readable file is accepted",
		         cause.s[0] ? cause.s : err_name(e));
		return refuse(why, span_of(name), path, reason);
	}
	text.p = bytes;
	while (text.len > 0 && (text.p[text.len - 1] == '\n' ||
	                        text.p[text.len - 1] == '\r'))
		text.len--;
	e = text.len > 0 ? s->type->read(s, text, field) : ERR_INVAL;
	free(bytes);
	if (e != ERR_INVAL)
		return e;
	snprintf(reason, sizeof(reason), "holds something else; %s is accepted",
	         s->type->accepts);
	return refuse(why, span_of(name), path, reason);
}

static enum err load_setting(const struct setting *s, const char *value,
                             const char *file, struct conf *c, struct errtext *why)
{
	void *field = (char *)c + s->field;
	enum err e;

	if (value && file)
		return refuse(why, span_of(s->name), "***",
		              "given beside its _FILE; one of the two is accepted");
	if (file)
		return load_file(s, file, field, why);
	if (!value)
		value = s->fallback;
	if (!*value)
		return ERR_OK;
	e = s->type->read(s, span_of(value), field);
	return e == ERR_INVAL ? refuse_value(s, value, why) : e;
}

enum err conf_load(char *const *env, struct conf *out, struct errtext *why)
{
	struct given g = { 0 };
	struct conf c = { 0 };
	enum err e;

	e = gather(env, &g, why);
	for (size_t i = 0; !e && i < SETTING_COUNT; i++)
		e = load_setting(&settings[i], g.value[i], g.file[i], &c, why);
	if (e) {
		conf_done(&c);
		return e;
	}
	*out = c;
	return ERR_OK;
}

void conf_done(struct conf *c)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		void *field = (char *)c + settings[i].field;

		if (!settings[i].type->on_heap)
			continue;
		free(*(char **)field);
		*(char **)field = NULL;
	}
}

/* --- showing it ---------------------------------------------------------- */

void conf_dump(const struct conf *c, FILE *to)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting *s = &settings[i];
		const void *field = (const char *)c + s->field;

		fprintf(to, "%s=", s->name);
		if (s->secret)
			fputs(*(char *const *)field ? "***" : "", to);
		else
			s->type->show(field, to);
		putc('\n', to);
	}
}

size_t conf_help_count(void)
{
	return SETTING_COUNT;
}

struct conf_help conf_help(size_t i)
{
	const struct setting *s = &settings[i];

	return (struct conf_help){
		.name = s->name,
		.type = s->type->name,
		.accepts = s->type->accepts,
		.range = s->range,
		.fallback = s->fallback,
		.help = s->help,
		.secret = s->secret,
	};
}
