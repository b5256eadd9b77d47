/*
 * test_value.c - each kind of value: what is taken, at its edges, how it is
 * shown, and what is said of it.
 */
#include <config.h>

#include "core/value.h"

#include <stdlib.h>

#include "base/attr.h"
#include "core/conf.h"
#include "core/setting.h"
#include "t.h"

#define KEY24 "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

/* Is this value of a setting taken, by its type? */
static bool takes(const char *text)
{
	union {
		char *text;
		int64_t n;
		struct conf_schedule schedule;
		unsigned word;
	} field = { 0 };
	struct span value = span_of(text), name;

	span_cut(&value, '=', &name);
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &settings[i];
		enum err e;

		if (!span_eq(name, s->name))
			continue;
		e = value_read(s->type, s->range, value, &field);
		CHECK(e == ERR_OK || e == ERR_INVAL);
		value_done(s->type, &field);
		return e == ERR_OK;
	}
	abort();
}

static const struct {
	const char *setting;
	bool taken;
} values[] = {
	{ "FOREMAN_THREADS=1", true },
	{ "FOREMAN_THREADS=1024", true },
	{ "FOREMAN_THREADS=0", false },
	{ "FOREMAN_THREADS=1025", false },
	{ "FOREMAN_THREADS=-1", false },
	{ "FOREMAN_THREADS=+1", false },
	{ "FOREMAN_THREADS=0x10", false },
	{ "FOREMAN_THREADS= 1", false },
	{ "FOREMAN_THREADS=1.5", false },
	{ "FOREMAN_THREADS=1K", false },
	{ "FOREMAN_THREADS=cores", false },
	{ "FOREMAN_THREADS=18446744073709551617", false },
	{ "FOREMAN_RESPONDERS=256", true },
	{ "FOREMAN_RESPONDERS=257", false },
	{ "FOREMAN_RESPONDERS=Cores", false },

	{ "FOREMAN_KEEPALIVE=0", true },
	{ "FOREMAN_KEEPALIVE=0s", true },
	{ "FOREMAN_KEEPALIVE=99ms", false },
	{ "FOREMAN_KEEPALIVE=100ms", true },
	{ "FOREMAN_KEEPALIVE=1h", true },
	{ "FOREMAN_KEEPALIVE=3601s", false },
	{ "FOREMAN_KEEPALIVE=15", false },
	{ "FOREMAN_KEEPALIVE=15 s", false },
	{ "FOREMAN_KEEPALIVE=-15s", false },
	{ "FOREMAN_KEEPALIVE=1h30m", false },
	{ "FOREMAN_RETENTION=3650d", true },
	{ "FOREMAN_RETENTION=3651d", false },
	{ "FOREMAN_RETENTION=99999999999999999d", false },
	{ "FOREMAN_DRAIN_MAX_WAIT=250ms", true },
	{ "FOREMAN_MAX_SILENCE=0", true },
	{ "FOREMAN_MAX_SILENCE=1s", true },
	{ "FOREMAN_MAX_SILENCE=999ms", false },
	{ "FOREMAN_MAX_SILENCE=30d", true },
	{ "FOREMAN_MAX_SILENCE=31d", false },
	{ "FOREMAN_TARGET_STALL=0", true },
	{ "FOREMAN_TARGET_STALL=1s", true },
	{ "FOREMAN_TARGET_STALL=999ms", false },
	{ "FOREMAN_TARGET_STALL=31d", false },
	{ "FOREMAN_TARGET_DEAD=4s", true },
	{ "FOREMAN_TARGET_DEAD=3999ms", false },
	{ "FOREMAN_TARGET_DEAD=0", false },
	{ "FOREMAN_TARGET_DEAD=1h", true },
	{ "FOREMAN_TARGET_DEAD=61m", false },
	{ "FOREMAN_CHAT_MAX_WAIT=2h", true },

	{ "FOREMAN_MAX_BODY=512K", true },
	{ "FOREMAN_MAX_BODY=1024", true },
	{ "FOREMAN_MAX_BODY=1023", false },
	{ "FOREMAN_MAX_BODY=512M", true },
	{ "FOREMAN_MAX_BODY=513M", false },
	{ "FOREMAN_MAX_BODY=64m", false },
	{ "FOREMAN_MAX_BODY=64MB", false },
	{ "FOREMAN_MAX_BODY=0", false },
	{ "FOREMAN_INLINE_MAX=0", true },
	{ "FOREMAN_MAX_RESPONSE=9999999999999999G", false },

	{ "FOREMAN_OLLAMA_URL=http://mac.local:11434", true },
	{ "FOREMAN_OLLAMA_URL=HTTPS://mac", true },
	{ "FOREMAN_OLLAMA_URL=http://4gpu:1/prefix/x/", true },
	{ "FOREMAN_OLLAMA_URL=http://[::1]:11434", true },
	{ "FOREMAN_OLLAMA_URL=http://[::1]", true },
	{ "FOREMAN_OLLAMA_URL=http://h:65535", true },
	{ "FOREMAN_OLLAMA_URL=http://h:65536", false },
	{ "FOREMAN_OLLAMA_URL=http://h:0", false },
	{ "FOREMAN_OLLAMA_URL=http://h:", false },
	{ "FOREMAN_OLLAMA_URL=http://h:abc", false },
	{ "FOREMAN_OLLAMA_URL=http://h:1:2", false },
	{ "FOREMAN_OLLAMA_URL=http://", false },
	{ "FOREMAN_OLLAMA_URL=http:///x", false },
	{ "FOREMAN_OLLAMA_URL=http:h", false },
	{ "FOREMAN_OLLAMA_URL=//h", false },
	{ "FOREMAN_OLLAMA_URL=127.0.0.1:11434", false },
	{ "FOREMAN_OLLAMA_URL=ftp://h", false },
	{ "FOREMAN_OLLAMA_URL=http://u:p@h", false },
	{ "FOREMAN_OLLAMA_URL=http://h/?q=1", false },
	{ "FOREMAN_OLLAMA_URL=http://h/#f", false },
	{ "FOREMAN_OLLAMA_URL=http://h/a b", false },
	{ "FOREMAN_OLLAMA_URL=http://h\\x", false },
	{ "FOREMAN_OLLAMA_URL=http://h/\n", false },
	{ "FOREMAN_OLLAMA_URL=http://h.", false },
	{ "FOREMAN_OLLAMA_URL=http://a..b", false },
	{ "FOREMAN_OLLAMA_URL=http://1.2.3.4", true },
	{ "FOREMAN_OLLAMA_URL=http://1.2.3.400", false },
	{ "FOREMAN_OLLAMA_URL=http://2130706433", false },
	{ "FOREMAN_OLLAMA_URL=http://0x7f000001", false },
	{ "FOREMAN_OLLAMA_URL=http://[::1", false },
	{ "FOREMAN_OLLAMA_URL=http://[::1]x", false },
	{ "FOREMAN_OLLAMA_URL=http://[h]", false },
	{ "FOREMAN_PUBLIC_URL=https://f.example/base", true },
	{ "FOREMAN_PUBLIC_URL=/base", false },
	{ "FOREMAN_WEBHOOK_URL=https://r.example/hook?k=v", true },
	{ "FOREMAN_WEBHOOK_URL=https://r.example?k=v@x", true },
	{ "FOREMAN_WEBHOOK_URL=https://u@r.example/", false },
	{ "FOREMAN_WEBHOOK_URL=file:///etc/passwd", false },

	{ "FOREMAN_SOCKET=/run/x.sock", true },
	{ "FOREMAN_SOCKET=127.0.0.1:9000", true },
	{ "FOREMAN_SOCKET=[::1]:9000", true },
	{ "FOREMAN_SOCKET=127.0.0.1", false },
	{ "FOREMAN_SOCKET=127.0.0.1:0", false },
	{ "FOREMAN_SOCKET=::1:9000", false },
	{ "FOREMAN_SOCKET=localhost:9000", false },
	{ "FOREMAN_SOCKET=:9000", false },
	{ "FOREMAN_SOCKET=run/x.sock", false },
	{ "FOREMAN_SOCKET=/", false },
	{ "FOREMAN_SOCKET=/run/", false },
	{ "FOREMAN_SOCKET=/run/\x01", false },
	{ "FOREMAN_RELAY=/run/r.sock", true },
	{ "FOREMAN_RELAY=127.0.0.1:9000", false },
	{ "FOREMAN_DB=/x.db", true },
	{ "FOREMAN_DB=x.db", false },

	{ "FOREMAN_EMBED_MODEL=nomic-embed-text:v1.5", true },
	{ "FOREMAN_EMBED_MODEL=two words", false },
	{ "FOREMAN_EMBED_MODEL=x:cloud", false },
	{ "FOREMAN_EMBED_MODEL=nomic-embed-text\n", false },
	{ "FOREMAN_API_TOKEN=s3cret!", true },
	{ "FOREMAN_API_TOKEN=two words", false },
	{ "FOREMAN_API_TOKEN=line\nbreak", false },
	{ "FOREMAN_OLLAMA_TOKEN=gr\xc3\xbc", false },
	{ "FOREMAN_LISTEN=:80, https://f.example", true },
	{ "FOREMAN_LISTEN=:80\n", false },
	{ "FOREMAN_REQUEST_BUFFERS=request_buffers 4MiB", true },
	{ "FOREMAN_REQUEST_BUFFERS=buffer_requests\n\tmax_buffer_size 4MiB", true },
	{ "FOREMAN_REQUEST_BUFFERS=\x1b", false },
	{ "FOREMAN_URL=https://f.example/prefix/", true },
	{ "FOREMAN_URL=f.example", false },

	{ "FOREMAN_WEBHOOK_SECRET=" KEY24, true },
	{ "FOREMAN_WEBHOOK_SECRET=" KEY24 "  " KEY24 " ", true },
	{ "FOREMAN_WEBHOOK_SECRET=" KEY24 " x", false },
	{ "FOREMAN_WEBHOOK_SECRET=" KEY24 "," KEY24, false },
	{ "FOREMAN_WEBHOOK_SECRET=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", false },
	{ "FOREMAN_WEBHOOK_SECRET=whsec_!!", false },
	{ "FOREMAN_WEBHOOK_SECRET= ", false },

	{ "FOREMAN_WEBHOOK_ALLOW=public", true },
	{ "FOREMAN_WEBHOOK_ALLOW=public, lan ,loopback", true },
	{ "FOREMAN_WEBHOOK_ALLOW=10.0.0.0/8,fd00::/8,hook.example", true },
	{ "FOREMAN_WEBHOOK_ALLOW=0.0.0.0/0", true },
	{ "FOREMAN_WEBHOOK_ALLOW=1.2.3.4/32", true },
	{ "FOREMAN_WEBHOOK_ALLOW=1.2.3.4/33", false },
	{ "FOREMAN_WEBHOOK_ALLOW=::/128", true },
	{ "FOREMAN_WEBHOOK_ALLOW=::/129", false },
	{ "FOREMAN_WEBHOOK_ALLOW=1.2.3/24", false },
	{ "FOREMAN_WEBHOOK_ALLOW=1.2.3.4/", false },
	{ "FOREMAN_WEBHOOK_ALLOW=1.2.3.4/a", false },
	{ "FOREMAN_WEBHOOK_ALLOW=1.2.3.4/0032", false },
	{ "FOREMAN_WEBHOOK_ALLOW=a.0x1", false },
	{ "FOREMAN_WEBHOOK_ALLOW=1.2.3.4", true },
	{ "FOREMAN_WEBHOOK_ALLOW=10.0.0.1/8", false },
	{ "FOREMAN_WEBHOOK_ALLOW=fd00::1/8", false },
	{ "FOREMAN_WEBHOOK_ALLOW=::1", true },
	{ "FOREMAN_WEBHOOK_ALLOW=public,,lan", false },
	{ "FOREMAN_WEBHOOK_ALLOW=public,", false },
	{ "FOREMAN_WEBHOOK_ALLOW=*.example", false },
	{ "FOREMAN_WEBHOOK_ALLOW=public,\nlan", false },
	{ "FOREMAN_WEBHOOK_ALLOW=http://h", false },

	{ "FOREMAN_WEBHOOK_SCHEDULE=0", true },
	{ "FOREMAN_WEBHOOK_SCHEDULE=5s, 1m", true },
	{ "FOREMAN_WEBHOOK_SCHEDULE=365d", true },
	{ "FOREMAN_WEBHOOK_SCHEDULE=366d", false },
	{ "FOREMAN_WEBHOOK_SCHEDULE=5", false },
	{ "FOREMAN_WEBHOOK_SCHEDULE=5s,", false },
	{ "FOREMAN_WEBHOOK_SCHEDULE=,5s", false },

	{ "FOREMAN_CHECKPOINTER=other", true },
	{ "FOREMAN_CHECKPOINTER=worker", true },
	{ "FOREMAN_CHECKPOINTER=litestream", false },
	{ "FOREMAN_MODEL_ADMIN=allow", true },
	{ "FOREMAN_MODEL_ADMIN=yes", false },
	{ "FOREMAN_LOG_LEVEL=debug", true },
	{ "FOREMAN_LOG_LEVEL=INFO", false },
	{ "FOREMAN_LOG_FORMAT=json", true },
	{ "FOREMAN_LOG_FORMAT=text", false },
};

static void each_value_is_judged_by_its_type(void)
{
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		if (!CHECK(takes(values[i].setting) == values[i].taken))
			printf("#   %s\n", values[i].setting);
}

/* A setting of `len` bytes after `front`, all 'a'. */
static bool takes_length(const char *front, size_t len)
{
	char *setting = malloc(strlen(front) + len + 1);
	bool taken;

	strcpy(setting, front);
	memset(setting + strlen(front), 'a', len);
	setting[strlen(front) + len] = '\0';
	taken = takes(setting);
	free(setting);
	return taken;
}

static void every_length_has_an_end(void)
{
	CHECK(takes_length("FOREMAN_SOCKET=/", 106));
	CHECK(!takes_length("FOREMAN_SOCKET=/", 107));
	CHECK(takes_length("FOREMAN_RELAY=/", 106));
	CHECK(!takes_length("FOREMAN_RELAY=/", 107));
	CHECK(takes_length("FOREMAN_DB=/", 3999));
	CHECK(!takes_length("FOREMAN_DB=/", 4000));
	CHECK(takes_length("FOREMAN_API_TOKEN=", 1024));
	CHECK(!takes_length("FOREMAN_API_TOKEN=", 1025));
	CHECK(takes_length("FOREMAN_LISTEN=", 512));
	CHECK(!takes_length("FOREMAN_LISTEN=", 513));
	CHECK(takes_length("FOREMAN_PUBLIC_URL=http://h/", 2048 - 9));
	CHECK(!takes_length("FOREMAN_PUBLIC_URL=http://h/", 2048 - 8));
	CHECK(takes_length("FOREMAN_PUBLIC_URL=http://", 63));
	CHECK(!takes_length("FOREMAN_PUBLIC_URL=http://", 64));
}

/* A schedule of so many entries. */
static bool takes_schedule(size_t entries)
{
	char setting[32 + 2 * LIMIT_WEBHOOK_SCHEDULE + 2] =
	    "FOREMAN_WEBHOOK_SCHEDULE=0";

	for (size_t i = 1; i < entries; i++)
		strcat(setting, ",0");
	return takes(setting);
}

static void a_schedule_has_a_most_of_entries(void)
{
	CHECK(takes_schedule(LIMIT_WEBHOOK_SCHEDULE));
	CHECK(!takes_schedule(LIMIT_WEBHOOK_SCHEDULE + 1));
}

/* A webhook secret of so many bytes. */
static bool takes_secret(size_t bytes)
{
	static const unsigned char key[LIMIT_WEBHOOK_SECRET_MAX + 1];
	char setting[160] = "FOREMAN_WEBHOOK_SECRET=whsec_";

	str_base64(key, bytes, setting + strlen(setting));
	return takes(setting);
}

static void a_secret_is_neither_too_short_nor_too_long(void)
{
	CHECK(takes_secret(LIMIT_WEBHOOK_SECRET_MIN));
	CHECK(!takes_secret(LIMIT_WEBHOOK_SECRET_MIN - 1));
	CHECK(takes_secret(LIMIT_WEBHOOK_SECRET_MAX));
	CHECK(!takes_secret(LIMIT_WEBHOOK_SECRET_MAX + 1));
}

/* A value as it is shown, once it was read. */
static void shows(const struct value_type *t, const char *range, const char *text,
                  const char *expected)
{
	union {
		char *text;
		int64_t n;
		struct conf_schedule schedule;
		unsigned word;
	} field = { 0 };
	char *shown = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&shown, &len);

	if (!to)
		abort();
	CHECK_INT(value_read(t, range, span_of(text), &field), ERR_OK);
	value_show(t, &field, to);
	value_done(t, &field);
	fclose(to);
	CHECK_STR(shown, expected);
	free(shown);
}

static void a_value_is_shown_as_it_may_be_written(void)
{
	char *unset = NULL;

	shows(&VALUE_NUMBER, "1..9", "7", "7");
	shows(&VALUE_DURATION, "0..1d", "90000ms", "90s");
	shows(&VALUE_DURATION, "0 or 1s..1d", "0", "0");
	shows(&VALUE_SIZE, "0..1G", "65536", "64K");
	shows(&VALUE_SCHEDULE, "0..1d", "0, 60s,1h", "0,1m,1h");
	shows(&VALUE_TEXT, "", "a b", "a b");
	shows(&VALUE_LINES, "", "a\n\tb", "a  b");
	shows(&VALUE_BASE_URL, "", "http://h/p//", "http://h/p");
	shows(&VALUE_ADMIN, "", "allow", "allow");
	shows(&VALUE_LEVEL, "", "debug", "debug");
	value_show(&VALUE_TEXT, &unset, stdout); /* nothing */
	value_done(&VALUE_TEXT, &unset);
}

static void what_is_accepted_is_said_with_its_range(void)
{
	char text[VALUE_ACCEPTS_SIZE];

	value_accepts(&VALUE_NUMBER, "1..1024", text);
	CHECK_STR(text, "a number from 1 to 1024 is accepted");
	value_accepts(&VALUE_DURATION, "0 or 100ms..1h", text);
	CHECK_STR(text, "0, or a duration from 100ms to 1h is accepted");
	value_accepts(&VALUE_PATH, "", text);
	CHECK_STR(text, "an absolute path is accepted");
	for (size_t i = 0; i < setting_count; i++) { /* and none is cut */
		value_accepts(settings[i].type, settings[i].range, text);
		CHECK_STR(text + strlen(text) - 12, " is accepted");
	}
}

int main(void)
{
	static const struct t_case cases[] = {
		T(each_value_is_judged_by_its_type),
		T(every_length_has_an_end),
		T(a_schedule_has_a_most_of_entries),
		T(a_secret_is_neither_too_short_nor_too_long),
		T(a_value_is_shown_as_it_may_be_written),
		T(what_is_accepted_is_said_with_its_range),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
