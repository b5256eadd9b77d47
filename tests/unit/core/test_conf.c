/* The settings: what is taken, what is refused, and in which words. */
#include <config.h>

#include "core/conf.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/attr.h"
#include "core/setting.h"
#include "t.h"

/* 24 bytes of base64 */
#define KEY24 "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

static enum err load(struct conf *c, struct errtext *why, const char *a,
                     const char *b)
{
	char *one = a ? strdup(a) : NULL, *two = b ? strdup(b) : NULL;
	char *env[] = { one, two, NULL };
	enum err e = conf_load(env, c, why);

	free(one);
	free(two);
	return e;
}

/* Is this one setting taken? */
static bool takes(const char *setting)
{
	struct errtext why = { "" };
	struct conf c;
	enum err e = load(&c, &why, setting, NULL);

	if (e == ERR_OK)
		conf_done(&c);
	else
		CHECK(e == ERR_INVAL && why.s[0]);
	return e == ERR_OK;
}

static void is_refused(const char *a, const char *b, const char *line)
{
	struct errtext why = { "" };
	struct conf c = { .threads = 77 };

	CHECK_INT(load(&c, &why, a, b), ERR_INVAL);
	CHECK_STR(why.s, line);
	CHECK_INT(c.threads, 77);
}

/* --- defaults ------------------------------------------------------------- */

static void the_defaults_are_the_contracts(void)
{
	static const int64_t schedule[] = { 0,        5000,     300000,   1800000,
		                                7200000,  18000000, 36000000, 50400000,
		                                72000000, 86400000 };
	char *env[] = { NULL };
	struct conf c;

	REQUIRE(conf_load(env, &c, NULL) == ERR_OK);
	CHECK_STR(c.ollama_url, "http://127.0.0.1:11434");
	CHECK_STR(c.ollama_token, NULL);
	CHECK_STR(c.embed_model, NULL);
	CHECK_STR(c.db, "/var/lib/foreman/foreman.db");
	CHECK_STR(c.socket, "/run/foreman/responder.sock");
	CHECK_STR(c.relay, "/run/foreman/relay.sock");
	CHECK_STR(c.listen, ":8080");
	CHECK_STR(c.request_buffers, NULL);
	CHECK_INT(c.threads, 32);
	CHECK_STR(c.api_token, NULL);
	CHECK_INT(c.max_body, 64 << 20);
	CHECK_INT(c.max_queue, 512);
	CHECK_INT(c.max_jobs, 1000000);
	CHECK_INT(c.drain_max_wait_ms, 600000);
	CHECK_INT(c.max_silence_ms, 2 * 60 * 60 * 1000);
	CHECK_INT(c.target_stall_ms, 15 * 60 * 1000);
	CHECK_INT(c.target_dead_ms, 2 * 60 * 1000);
	CHECK_INT(c.max_attempts, 3);
	CHECK_INT(c.keepalive_ms, 15000);
	CHECK_INT(c.chat_max_wait_ms, 0);
	CHECK_INT(c.poll_interval_ms, 5000);
	CHECK_INT(c.inline_max, 16 << 10);
	CHECK_INT(c.max_response, 64 << 20);
	CHECK_STR(c.public_url, NULL);
	CHECK_STR(c.webhook_url, NULL);
	CHECK_STR(c.webhook_secret, NULL);
	CHECK_STR(c.webhook_allow, "public,lan");
	CHECK_INT(c.webhook_schedule.count, ARRAY_LEN(schedule));
	CHECK(memcmp(c.webhook_schedule.ms, schedule, sizeof(schedule)) == 0);
	CHECK_INT(c.webhook_timeout_ms, 15000);
	CHECK_INT(c.retention_ms, INT64_C(7) * 86400000);
	CHECK(!c.model_admin);
	CHECK_INT(c.log_level, LOG_INFO);
	CHECK_INT(c.log_format, LOG_LOGFMT);
	conf_done(&c);
	conf_done(&c);
}

static void responders_are_as_many_as_processors(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct conf c;

	REQUIRE(load(&c, NULL, NULL, NULL) == ERR_OK);
	CHECK_INT(c.responders, cores < 256 ? cores : 256);
	conf_done(&c);
	REQUIRE(load(&c, NULL, "FOREMAN_RESPONDERS=cores", NULL) == ERR_OK);
	CHECK_INT(c.responders, cores < 256 ? cores : 256);
	conf_done(&c);
	REQUIRE(load(&c, NULL, "FOREMAN_RESPONDERS=7", NULL) == ERR_OK);
	CHECK_INT(c.responders, 7);
	conf_done(&c);
}

/* --- values ---------------------------------------------------------------- */

static void a_base_url_loses_its_last_slashes(void)
{
	struct conf c;

	REQUIRE(load(&c, NULL, "FOREMAN_OLLAMA_URL=http://h:1/p//",
	             "FOREMAN_PUBLIC_URL=https://f/") == ERR_OK);
	CHECK_STR(c.ollama_url, "http://h:1/p");
	CHECK_STR(c.public_url, "https://f");
	conf_done(&c);
}

static void values_arrive(void)
{
	struct conf c;

	REQUIRE(load(&c, NULL, "FOREMAN_MODEL_ADMIN=allow",
	             "FOREMAN_WEBHOOK_SCHEDULE=1s, 2m") == ERR_OK);
	CHECK(c.model_admin);
	CHECK_INT(c.webhook_schedule.count, 2);
	CHECK_INT(c.webhook_schedule.ms[1], 120000);
	CHECK(!c.other_checkpoints);
	conf_done(&c);
	REQUIRE(load(&c, NULL, "FOREMAN_CHECKPOINTER=other", NULL) == ERR_OK);
	CHECK(c.other_checkpoints);
	conf_done(&c);
	REQUIRE(load(&c, NULL, "FOREMAN_LOG_LEVEL=error", "FOREMAN_LOG_FORMAT=json") ==
	        ERR_OK);
	CHECK_INT(c.log_level, LOG_ERROR);
	CHECK_INT(c.log_format, LOG_JSON);
	conf_done(&c);
}

/* --- names --------------------------------------------------------------- */

static void other_programs_variables_are_none_of_ours(void)
{
	CHECK(takes("PATH=/bin"));
	CHECK(takes("FOREMANX=1"));
	CHECK(takes("foreman_threads=0"));
	CHECK(takes("XFOREMAN_THREADS=0"));
	CHECK(takes("="));
}

static void an_empty_value_counts_as_not_set(void)
{
	struct conf c;

	REQUIRE(load(&c, NULL, "FOREMAN_THREADS=", "FOREMAN_API_TOKEN=") == ERR_OK);
	CHECK_INT(c.threads, 32);
	CHECK_STR(c.api_token, NULL);
	conf_done(&c);
	REQUIRE(load(&c, NULL, "FOREMAN_API_TOKEN=x", "FOREMAN_API_TOKEN_FILE=") ==
	        ERR_OK);
	CHECK_STR(c.api_token, "x");
	conf_done(&c);
	CHECK(takes("FOREMAN_THREADS"));
}

static void an_unknown_name_is_refused_with_the_nearest_known_one(void)
{
	is_refused("FOREMAN_THREAD=5", NULL,
	           "FOREMAN_THREAD=***: unknown setting; FOREMAN_THREADS is accepted");
	is_refused("FOREMAN_OLAMA_URL=http://h", NULL,
	           "FOREMAN_OLAMA_URL=***: unknown setting; FOREMAN_OLLAMA_URL is "
	           "accepted");
	is_refused(
	    "FOREMAN_API_TOKNE=secret", NULL,
	    "FOREMAN_API_TOKNE=***: unknown setting; FOREMAN_API_TOKEN is accepted");
	is_refused(
	    "FOREMAN_threads=5", NULL,
	    "FOREMAN_threads=***: unknown setting; only documented FOREMAN_ names "
	    "are accepted");
	is_refused("FOREMAN_X=", NULL,
	           "FOREMAN_X=***: unknown setting; only documented FOREMAN_ names are "
	           "accepted");
	is_refused("FOREMAN_=", NULL,
	           "FOREMAN_=***: unknown setting; only documented FOREMAN_ names are "
	           "accepted");
	is_refused("FOREMAN_QUITE_ANOTHER_THING=5", NULL,
	           "FOREMAN_QUITE_ANOTHER_THING=***: unknown setting; only documented "
	           "FOREMAN_ names are accepted");
	is_refused(
	    "FOREMAN_X\n\x1b[31m=5", NULL,
	    "FOREMAN_X\\x0a\\x1b[31m=***: unknown setting; only documented FOREMAN_ "
	    "names are accepted");
	/* even when empty, and only secrets come from files */
	CHECK(!takes("FOREMAN_THREAD="));
	CHECK(!takes("FOREMAN_THREADS_FILE=/etc/hostname"));
}

static void a_very_long_unknown_name_is_survived(void)
{
	char setting[4096];

	memset(setting, 'X', sizeof(setting));
	memcpy(setting, "FOREMAN_", 8);
	memcpy(setting + sizeof(setting) - 3, "=1", 3);
	CHECK(!takes(setting));
}

static void a_name_given_twice_is_refused(void)
{
	is_refused("FOREMAN_THREADS=5", "FOREMAN_THREADS=5",
	           "FOREMAN_THREADS=***: given twice; one of each is accepted");
	is_refused("FOREMAN_THREADS=", "FOREMAN_THREADS=5",
	           "FOREMAN_THREADS=***: given twice; one of each is accepted");
}

/* --- the line ------------------------------------------------------------ */

static void a_refusal_is_one_line_with_key_value_and_what_is_accepted(void)
{
	is_refused("FOREMAN_THREADS=0", NULL,
	           "FOREMAN_THREADS=0: a number from 1 to 1024 is accepted");
	is_refused(
	    "FOREMAN_RESPONDERS=0", NULL,
	    "FOREMAN_RESPONDERS=0: cores, or a number from 1 to 256 is accepted");
	is_refused(
	    "FOREMAN_KEEPALIVE=15", NULL,
	    "FOREMAN_KEEPALIVE=15: 0, or a duration from 100ms to 1h is accepted");
	is_refused("FOREMAN_MAX_BODY=64MB", NULL,
	           "FOREMAN_MAX_BODY=64MB: a size from 1K to 512M is accepted");
	is_refused("FOREMAN_LOG_LEVEL=loud", NULL,
	           "FOREMAN_LOG_LEVEL=loud: error, warn, info or debug is accepted");
	is_refused(
	    "FOREMAN_WEBHOOK_SCHEDULE=5", NULL,
	    "FOREMAN_WEBHOOK_SCHEDULE=5: a comma list of at most 32 durations from 0 "
	    "to 365d is accepted");
	is_refused("FOREMAN_DB=a\nb", NULL,
	           "FOREMAN_DB=a\\x0ab: an absolute path is accepted");
}

static void a_refusal_does_not_tell_a_secret(void)
{
	is_refused(
	    "FOREMAN_API_TOKEN=top secret", NULL,
	    "FOREMAN_API_TOKEN=***: visible ASCII without blanks, at most 1024 bytes, "
	    "is accepted");
	is_refused(
	    "FOREMAN_WEBHOOK_SECRET=hunter2", NULL,
	    "FOREMAN_WEBHOOK_SECRET=***: whsec_ with the base64 of 24 to 64 bytes, or "
	    "several with spaces between, is accepted");
}

/* Every refusal there is must fit, whatever the value. */
static void no_refusal_is_cut(void)
{
	for (size_t i = 0; i < setting_count; i++) {
		struct errtext why = { "" };
		char setting[8000];
		struct conf c;
		int at = snprintf(setting, sizeof(setting), "%s=", settings[i].name);

		memset(setting + at, '\n', sizeof(setting) - (size_t)at);
		setting[sizeof(setting) - 1] = '\0';
		CHECK_INT(load(&c, &why, setting, NULL), ERR_INVAL);
		if (!CHECK(strlen(why.s) > 11 &&
		           strcmp(why.s + strlen(why.s) - 11, "is accepted") == 0))
			printf("#   %s\n", why.s);
	}
}

/* --- secrets in files ---------------------------------------------------- */

struct file {
	char path[64];
	char setting[128];
};

static struct file file_with(const char *name, const char *bytes, size_t len)
{
	struct file f = { .path = "/tmp/test_conf.XXXXXX" };
	int fd = mkstemp(f.path);

	CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	close(fd);
	snprintf(f.setting, sizeof(f.setting), "%s=%s", name, f.path);
	return f;
}

static void a_secret_is_read_from_its_file(void)
{
	struct file f = file_with("FOREMAN_API_TOKEN_FILE", "s3cret\n", 7);
	struct conf c;

	REQUIRE(load(&c, NULL, f.setting, NULL) == ERR_OK);
	CHECK_STR(c.api_token, "s3cret");
	conf_done(&c);
	unlink(f.path);
	f = file_with("FOREMAN_WEBHOOK_SECRET_FILE", KEY24 " " KEY24 "\r\n",
	              2 * sizeof(KEY24) + 1);
	REQUIRE(load(&c, NULL, f.setting, NULL) == ERR_OK);
	CHECK_STR(c.webhook_secret, KEY24 " " KEY24);
	conf_done(&c);
	unlink(f.path);
}

static void is_refused_file(const char *bytes, size_t len)
{
	struct file f = file_with("FOREMAN_API_TOKEN_FILE", bytes, len);
	struct errtext why = { "" };
	char front[192];
	struct conf c;

	CHECK_INT(load(&c, &why, f.setting, NULL), ERR_INVAL);
	snprintf(front, sizeof(front), "%s: holds something else; visible", f.setting);
	CHECK(strncmp(why.s, front, strlen(front)) == 0);
	CHECK(!strstr(why.s, "top"));
	unlink(f.path);
}

static void a_secret_file_must_hold_a_secret(void)
{
	is_refused_file("", 0);
	is_refused_file("\n", 1);
	is_refused_file("top secret\n", 11);
	is_refused_file("top\nsecret\n", 11);
	is_refused_file("top\0secret", 10);
}

static void a_secret_file_must_be_there_and_small(void)
{
	static char large[8194];
	struct errtext why = { "" };
	struct file f;
	struct conf c;

	CHECK_INT(load(&c, &why, "FOREMAN_API_TOKEN_FILE=/nonexistent/x", NULL),
	          ERR_INVAL);
	CHECK(strstr(why.s, "FOREMAN_API_TOKEN_FILE=/nonexistent/x: ") == why.s);
	CHECK(strstr(why.s, "a readable file is accepted"));
	CHECK_INT(load(&c, &why, "FOREMAN_API_TOKEN_FILE=/tmp", NULL), ERR_INVAL);
	memset(large, 'x', sizeof(large));
	f = file_with("FOREMAN_API_TOKEN_FILE", large, 8193);
	CHECK_INT(load(&c, &why, f.setting, NULL), ERR_INVAL);
	CHECK(strstr(why.s, "a readable file is accepted"));
	unlink(f.path);
}

static void a_secret_given_both_ways_is_refused(void)
{
	is_refused("FOREMAN_API_TOKEN=x", "FOREMAN_API_TOKEN_FILE=/tmp/x",
	           "FOREMAN_API_TOKEN=***: given beside its _FILE; one of the two is "
	           "accepted");
}

/* --- showing it ---------------------------------------------------------- */

static char *dumped(const struct conf *c)
{
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	conf_dump(c, to);
	fclose(to);
	return text;
}

static void a_dump_shows_all_and_hides_secrets(void)
{
	struct conf c;
	char *text;
	size_t lines = 0;

	REQUIRE(load(&c, NULL, "FOREMAN_API_TOKEN=s3cret",
	             "FOREMAN_WEBHOOK_SECRET=" KEY24) == ERR_OK);
	text = dumped(&c);
	for (const char *p = text; *p; p++)
		lines += *p == '\n';
	CHECK_INT(lines, setting_count);
	CHECK(strstr(text, "\nFOREMAN_API_TOKEN=***\n"));
	CHECK(strstr(text, "\nFOREMAN_WEBHOOK_SECRET=***\n"));
	CHECK(strstr(text, "\nFOREMAN_OLLAMA_TOKEN=\n"));
	CHECK(!strstr(text, "s3cret") && !strstr(text, "whsec_"));
	CHECK(strstr(text, "\nFOREMAN_THREADS=32\n"));
	CHECK(strstr(text, "\nFOREMAN_MAX_BODY=64M\n"));
	CHECK(strstr(text, "\nFOREMAN_DRAIN_MAX_WAIT=10m\n"));
	CHECK(strstr(text,
	             "\nFOREMAN_WEBHOOK_SCHEDULE=0,5s,5m,30m,2h,5h,10h,14h,20h,1d\n"));
	CHECK(strstr(text, "\nFOREMAN_MODEL_ADMIN=deny\n"));
	CHECK(strstr(text, "\nFOREMAN_LOG_FORMAT=logfmt\n"));
	free(text);
	conf_done(&c);
}

static void what_is_dumped_can_be_read_again(void)
{
	char *env[64] = { NULL }, *first, *second, *rest;
	struct conf c;
	size_t n = 0;

	REQUIRE(load(&c, NULL, "FOREMAN_KEEPALIVE=250ms",
	             "FOREMAN_WEBHOOK_ALLOW=lan,10.0.0.0/8") == ERR_OK);
	first = dumped(&c);
	conf_done(&c);
	rest = second = strdup(first);
	for (char *line; (line = strsep(&rest, "\n")) && *line;)
		env[n++] = line;
	REQUIRE(conf_load(env, &c, NULL) == ERR_OK);
	free(second);
	second = dumped(&c);
	CHECK_STR(second, first);
	conf_done(&c);
	free(first);
	free(second);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(the_defaults_are_the_contracts),
		T(responders_are_as_many_as_processors),
		T(a_base_url_loses_its_last_slashes),
		T(values_arrive),
		T(other_programs_variables_are_none_of_ours),
		T(an_empty_value_counts_as_not_set),
		T(an_unknown_name_is_refused_with_the_nearest_known_one),
		T(a_very_long_unknown_name_is_survived),
		T(a_name_given_twice_is_refused),
		T(a_refusal_is_one_line_with_key_value_and_what_is_accepted),
		T(a_refusal_does_not_tell_a_secret),
		T(no_refusal_is_cut),
		T(a_secret_is_read_from_its_file),
		T(a_secret_file_must_hold_a_secret),
		T(a_secret_file_must_be_there_and_small),
		T(a_secret_given_both_ways_is_refused),
		T(a_dump_shows_all_and_hides_secrets),
		T(what_is_dumped_can_be_read_again),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
