/* test_log.c - an event is one line, one write, whatever is in it. */
#include <config.h>

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/clock.h"
#include "base/json.h"
#include "t.h"

#define TS "ts=2026-11-20T18:00:00.123Z level="

/* Standard error goes to a pipe in packet mode: one write, one read. */
static int saved = -1, from = -1;

static void begin(enum log_level level, enum log_format format)
{
	int p[2];

	clock_fake(INT64_C(1795197600123), 0, 0);
	log_init("worker", level, format);
	if (pipe2(p, O_DIRECT | O_NONBLOCK | O_CLOEXEC))
		abort();
	saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	dup2(p[1], STDERR_FILENO);
	close(p[1]);
	from = p[0];
}

/* The next single write, "" when there was none. */
static const char *next(void)
{
	static char line[PIPE_BUF + 1];
	ssize_t n = read(from, line, PIPE_BUF);

	line[n > 0 ? n : 0] = '\0';
	return line;
}

static void end(void)
{
	CHECK_STR(next(), "");
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(from);
}

static void an_event_is_a_logfmt_line(void)
{
	begin(LOG_INFO, LOG_LOGFMT);
	log_event(LOG_INFO, "job done", KV_S("job", "01J"), KV_I("bytes", 812),
	          KV_I("least", INT64_MIN));
	CHECK_STR(next(), TS "info prog=worker msg=\"job done\" job=01J bytes=812 "
	                     "least=-9223372036854775808\n");
	end();
}

static void an_event_needs_no_values(void)
{
	begin(LOG_INFO, LOG_LOGFMT);
	log_event(LOG_WARN, "draining");
	CHECK_STR(next(), TS "warn prog=worker msg=draining\n");
	end();
}

static void an_event_can_be_a_json_object(void)
{
	begin(LOG_INFO, LOG_JSON);
	log_event(LOG_ERROR, "a \"b\"", KV_S("v", "x\\\n\xff"), KV_I("n", -1),
	          KV_S("none", NULL));
	CHECK_STR(next(),
	          "{\"ts\":\"2026-11-20T18:00:00.123Z\",\"level\":\"error\","
	          "\"prog\":\"worker\",\"msg\":\"a \\\"b\\\"\","
	          "\"v\":\"x\\\\x5c\\\\x0a\\\\xff\",\"n\":-1,\"none\":\"-\"}\n");
	end();
}

static void lower_levels_are_left_out(void)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	for (int level = 0; level < LOG_LEVEL_COUNT; level++) {
		begin((enum log_level)level, LOG_LOGFMT);
		for (int event = 0; event < LOG_LEVEL_COUNT; event++) {
			const char *line;

			log_event((enum log_level)event, "x");
			line = next();
			CHECK((*line != '\0') == (event <= level));
			CHECK(!*line || strstr(line, names[event]));
		}
		end();
	}
}

static void values_are_quoted_when_they_need_it(void)
{
	static const struct {
		const char *value, *written;
	} rows[] = {
		{ "plain", "plain" },
		{ "a:b/c?d", "a:b/c?d" },
		{ "two words", "\"two words\"" },
		{ "", "\"\"" },
		{ "a=b", "\"a=b\"" },
		{ "say \"hi\"", "\"say \\\"hi\\\"\"" },
		{ "\"", "\"\\\"\"" },
		{ NULL, "-" },
		{ "a\nlevel=error msg=forged", "\"a\\x0alevel=error msg=forged\"" },
		{ "\r\t\x1b[31m", "\\x0d\\x09\\x1b[31m" },
		{ "back\\slash", "back\\x5cslash" },
		{ "caf\xc3\xa9", "caf\\xc3\\xa9" },
	};

	begin(LOG_INFO, LOG_LOGFMT);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char want[160];

		snprintf(want, sizeof(want), TS "info prog=worker msg=x v=%s\n",
		         rows[i].written);
		log_event(LOG_INFO, "x", KV_S("v", rows[i].value));
		CHECK_STR(next(), want);
	}
	end();
}

static void every_byte_gives_one_line_of_valid_json(void)
{
	for (int c = 1; c < 256; c++) {
		char value[] = { 'a', (char)c, 'b', '\0' };
		const char *line;
		cJSON *tree = NULL;

		begin(LOG_INFO, LOG_JSON);
		log_event(LOG_INFO, value, KV_S("v", value));
		line = next();
		CHECK(strchr(line, '\n') == line + strlen(line) - 1);
		CHECK_INT(json_parse(span_of(line), &tree, NULL), ERR_OK);
		cJSON_Delete(tree);
		end();
	}
}

static void long_values_are_cut_at_the_limit(void)
{
	char value[LOG_VALUE_MAX + 2], want[LOG_VALUE_MAX + 100];
	size_t len = LOG_VALUE_MAX;

	begin(LOG_INFO, LOG_LOGFMT);
	memset(value, 'v', sizeof(value));
	value[len] = '\0';
	snprintf(want, sizeof(want), TS "info prog=worker msg=x v=%s\n", value);
	log_event(LOG_INFO, "x", KV_S("v", value));
	CHECK_STR(next(), want);
	value[len] = 'v';
	value[len + 1] = '\0';
	snprintf(want, sizeof(want), TS "info prog=worker msg=x v=%.*s...\n",
	         LOG_VALUE_MAX - 3, value);
	log_event(LOG_INFO, "x", KV_S("v", value));
	CHECK_STR(next(), want);
	end();
}

static void pairs_that_do_not_fit_are_counted(void)
{
	char odd[LOG_VALUE_MAX + 1];
	const char *line;

	memset(odd, '\n', sizeof(odd) - 1);
	odd[sizeof(odd) - 1] = '\0';
	begin(LOG_INFO, LOG_LOGFMT);
	log_event(LOG_INFO, odd, KV_S("a", odd), KV_S("b", odd), KV_I("c", 3));
	line = next();
	CHECK(strstr(line, " a=") == NULL || strstr(line, " b=") == NULL);
	CHECK(strstr(line, " c=3 left_out=1\n") != NULL ||
	      strstr(line, " c=3 left_out=2\n") != NULL);
	CHECK(strlen(line) <= PIPE_BUF);
	end();
}

static void a_full_line_is_still_valid_json(void)
{
	char odd[LOG_VALUE_MAX + 1];
	struct log_kv kv[40];
	cJSON *tree = NULL;
	const char *line;

	memset(odd, '"', sizeof(odd) - 1);
	odd[sizeof(odd) - 1] = '\0';
	for (size_t len = 0; len < 40; len++) {
		odd[len] = '\0';
		for (size_t i = 0; i < ARRAY_LEN(kv); i++)
			kv[i] = KV_S("key", i % 7 ? odd + len + 1 : odd);
		begin(LOG_INFO, LOG_JSON);
		log_write(LOG_INFO, odd, kv, ARRAY_LEN(kv));
		line = next();
		CHECK(strlen(line) <= PIPE_BUF);
		CHECK_INT(json_parse(span_of(line), &tree, NULL), ERR_OK);
		CHECK(cJSON_GetObjectItemCaseSensitive(tree, "left_out") != NULL);
		cJSON_Delete(tree);
		odd[len] = '"';
		end();
	}
}

static void logging_leaves_errno_alone(void)
{
	begin(LOG_INFO, LOG_LOGFMT);
	errno = EDOM;
	log_event(LOG_INFO, "x");
	CHECK_INT(errno, EDOM);
	next();
	end();
	close(STDERR_FILENO);
	errno = EDOM;
	log_event(LOG_INFO, "x");
	CHECK_INT(errno, EDOM);
	if (open("/dev/null", O_WRONLY) != STDERR_FILENO)
		abort();
}

#define THREADS 3
#define EVENTS_EACH 5 /* fewer in all than the 16 packets a pipe holds */

static void *log_some(void *arg)
{
	for (int i = 0; i < EVENTS_EACH; i++)
		log_event(LOG_INFO, "from a thread", KV_S("job", arg), KV_I("i", i));
	return NULL;
}

static void lines_of_threads_do_not_mix(void)
{
	pthread_t threads[THREADS];
	char name[] = "01JAAAAAAAAAAAAAAAAAAAAAAA";

	begin(LOG_INFO, LOG_LOGFMT);
	for (int i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, log_some, name) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS * EVENTS_EACH; i++) {
		const char *line = next();

		CHECK(strncmp(line, TS, strlen(TS)) == 0);
		CHECK(strchr(line, '\n') == line + strlen(line) - 1);
	}
	end();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_event_is_a_logfmt_line),
		T(an_event_needs_no_values),
		T(an_event_can_be_a_json_object),
		T(lower_levels_are_left_out),
		T(values_are_quoted_when_they_need_it),
		T(every_byte_gives_one_line_of_valid_json),
		T(long_values_are_cut_at_the_limit),
		T(pairs_that_do_not_fit_are_counted),
		T(a_full_line_is_still_valid_json),
		T(logging_leaves_errno_alone),
		T(lines_of_threads_do_not_mix),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
