/*
 * run.h - a command as it is typed, with a service to ask: what it printed, what
 * it complained, what it left with.
 *
 *   served_up(); served_says(200, "", "{…}");
 *   CHECK_INT(RUN("show", SERVED_ID), EX_OK);
 *   CHECK(strstr(said.out, "…")); CHECK_STR(said.err, "…");
 *   served_down();
 */
#ifndef FOREMAN_TESTS_RUN_H
#define FOREMAN_TESTS_RUN_H

#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>

#include "cli/arguments.h"
#include "client/served.h"

#define RUN_WORDS 16

static struct {
	char *out, *err; /* until the next run */
	size_t out_len, err_len;
} said;

static inline void said_forget(void)
{
	free(said.out);
	free(said.err);
	said.out = said.err = NULL;
}

static inline int run_words(const char *const *words)
{
	FILE *out = stdout, *err = stderr;
	char *argv[RUN_WORDS + 2] = { strdup("foreman") };
	struct cli c;
	int argc = 1, status;
	bool done = false;

	signal(SIGPIPE, SIG_IGN);
	said_forget();
	for (; words[argc - 1]; argc++)
		argv[argc] = strdup(words[argc - 1]);
	stdout = open_memstream(&said.out, &said.out_len);
	stderr = open_memstream(&said.err, &said.err_len);
	status = arguments_read(&c, argc, argv, &done);
	if (!status && !done) {
		c.url = served_url();
		c.service = c.command->local ? NULL : foreman_new(c.url, NULL);
		if (c.service)
			foreman_set_patience(c.service, 0);
		status = c.command->run(&c);
		foreman_free(c.service);
	}
	fclose(stdout);
	fclose(stderr);
	stdout = out;
	stderr = err;
	while (argc > 0)
		free(argv[--argc]);
	return status;
}

#define RUN(...) run_words((const char *const[]){ __VA_ARGS__, NULL })

#endif
