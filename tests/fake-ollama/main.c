/*
 * main.c - a faithful, scriptable stand-in for Ollama: arguments, resources,
 * loop, tidy. See README.md.
 */
#include <config.h>

#include "api.h"
#include "faults.h"
#include "http.h"
#include "journal.h"
#include "loop.h"
#include "models.h"
#include "sched.h"

#include "base/fd.h"
#include "base/sig.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#define DEFAULT_LISTEN "127.0.0.1:11434"
#define DEFAULT_KEEP_NS (INT64_C(300) * 1000000000)

struct settings {
	const char *listen;
	const char *log;
	struct sched_settings sched;
	struct pace pace;
};

static const char usage[] =
    "usage: fake-ollama [--listen 127.0.0.1:PORT] [--log FILE]\n"
    "         [--model NAME[:TAG][,embed][,tools][,think][,load-ms=N]]...\n"
    "         [--load-ms N] [--tokens N] [--token-ms N] [--prompt-ms N]\n"
    "         [--embed-ms N] [--version-string V]\n"
    "environment: OLLAMA_MAX_LOADED_MODELS OLLAMA_NUM_PARALLEL\n"
    "             OLLAMA_MAX_QUEUE OLLAMA_KEEP_ALIVE\n";

static bool say_bad(const char *what, const char *value)
{
	fprintf(stderr, "fake-ollama: cannot use %s '%s'\n", what, value);
	return false;
}

static bool read_count(const char *what, const char *value, int64_t *out)
{
	uint64_t n;

	if (str_u64(span_of(value), &n) || n > INT32_MAX)
		return say_bad(what, value);
	*out = (int64_t)n;
	return true;
}

/* Whole seconds, or a number with a unit; negative means for ever. */
static bool read_keep_alive(const char *value, int64_t *out)
{
	int64_t ms;
	uint64_t s;

	if (*value == '-')
		*out = KEEP_FOREVER;
	else if (!str_u64(span_of(value), &s) && s < 1000000000)
		*out = (int64_t)s * 1000000000;
	else if (!str_duration_ms(span_of(value), &ms) && ms < INT64_C(1000000000000))
		*out = ms * 1000000;
	else
		return say_bad("OLLAMA_KEEP_ALIVE", value);
	return true;
}

static bool read_environment(struct settings *s)
{
	const struct {
		const char *name;
		int64_t *to;
	} counts[] = {
		{ "OLLAMA_MAX_LOADED_MODELS", &s->sched.max_loaded },
		{ "OLLAMA_NUM_PARALLEL", &s->sched.parallel },
		{ "OLLAMA_MAX_QUEUE", &s->sched.max_queue },
	};
	const char *value;

	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		value = getenv(counts[i].name);
		if (value && *value && !read_count(counts[i].name, value, counts[i].to))
			return false;
	}
	value = getenv("OLLAMA_KEEP_ALIVE");
	return !value || !*value || read_keep_alive(value, &s->sched.keep_ns);
}

static bool read_arguments(int argc, char **argv, struct settings *s)
{
	static const struct option options[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "log", required_argument, NULL, 'o' },
		{ "model", required_argument, NULL, 'm' },
		{ "version-string", required_argument, NULL, 'v' },
		{ "load-ms", required_argument, NULL, 'L' },
		{ "tokens", required_argument, NULL, 't' },
		{ "token-ms", required_argument, NULL, 'T' },
		{ "prompt-ms", required_argument, NULL, 'p' },
		{ "embed-ms", required_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool ok = true;
	int c;

	while (ok && (c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			s->listen = optarg;
			break;
		case 'o':
			s->log = optarg;
			break;
		case 'm':
			ok = models_add(optarg) || say_bad("--model", optarg);
			break;
		case 'v':
			ok = str_copy(server.version, sizeof(server.version), optarg) ||
			     say_bad("--version-string", optarg);
			break;
		case 'L':
			ok = read_count("--load-ms", optarg, &s->sched.load_ms);
			break;
		case 't':
			ok = read_count("--tokens", optarg, &s->pace.tokens);
			break;
		case 'T':
			ok = read_count("--token-ms", optarg, &s->pace.token_ms);
			break;
		case 'p':
			ok = read_count("--prompt-ms", optarg, &s->pace.prompt_ms);
			break;
		case 'e':
			ok = read_count("--embed-ms", optarg, &s->pace.embed_ms);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			ok = false;
		}
	}
	if (ok && optind == argc)
		return true;
	fputs(usage, stderr);
	return false;
}

static void on_signal(void *arg, uint32_t events UNUSED)
{
	struct watch *w = arg;
	int sig;

	while ((sig = sig_next(w->fd)))
		if (sig == SIGTERM || sig == SIGINT)
			loop_stop();
}

/* As many connections as the system lets us have. */
static void raise_fd_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* Listen and serve until a signal. */
static int serve(const struct settings *s)
{
	static struct watch signals = { .fn = on_signal, .arg = &signals };
	struct errtext why = { "" };
	char bound[64];

	signals.fd = sig_open();
	if (!loop_init() || signals.fd < 0 || !loop_watch(&signals, EPOLLIN)) {
		fputs("fake-ollama: cannot set up the event loop\n", stderr);
		return 1;
	}
	if (s->log && !journal_open(s->log)) {
		say_bad("--log", s->log);
		return 1;
	}
	sched_init(&s->sched);
	api_init(&s->pace);
	if (http_listen(s->listen, &api_handler, bound, sizeof(bound), &why)) {
		fprintf(stderr, "fake-ollama: cannot listen on '%s': %s\n", s->listen,
		        why.s);
		return 1;
	}
	printf("listening on %s\n", bound);
	fflush(stdout);
	loop_run(journal_flush);
	http_stop();
	sched_done();
	api_done();
	fd_close(&signals.fd);
	return 0;
}

int main(int argc, char **argv)
{
	struct settings s = {
		.listen = DEFAULT_LISTEN,
		.sched = { .max_loaded = 2,
		           .parallel = 1,
		           .max_queue = 512,
		           .keep_ns = DEFAULT_KEEP_NS,
		           .load_ms = 300 },
		.pace = { .tokens = 8, .token_ms = 30, .prompt_ms = 10, .embed_ms = 2 },
	};
	int status;

	sig_block_all();
	raise_fd_limit();
	models_init();
	if (!read_environment(&s) || !read_arguments(argc, argv, &s))
		return 2;
	status = serve(&s);
	journal_close();
	models_done();
	return status;
}
