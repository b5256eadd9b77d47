/*
 * main.c - foreman, the command line: reads the arguments, opens the service,
 * runs the command.
 */
#include <config.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "cli/arguments.h"

#define TOKEN_FILE_MAX 4096

/* The token out of a file, where it is not in the environment itself. */
static int read_token(char out[TOKEN_FILE_MAX])
{
	const char *path = getenv("FOREMAN_API_TOKEN_FILE");
	const char *token = getenv("FOREMAN_API_TOKEN");
	FILE *f;

	out[0] = '\0';
	if (!path || !path[0] || (token && token[0]))
		return EX_OK;
	f = fopen(path, "re");
	if (!f)
		return cli_say(EX_NOINPUT, "cannot open FOREMAN_API_TOKEN_FILE, %s", path);
	if (!fgets(out, TOKEN_FILE_MAX, f))
		out[0] = '\0';
	fclose(f);
	out[strcspn(out, "\r\n")] = '\0';
	return EX_OK;
}

static int open_service(struct cli *c)
{
	const char *url = c->url ? c->url : getenv("FOREMAN_URL");
	char token[TOKEN_FILE_MAX];
	int status = read_token(token);

	if (status)
		return status;
	c->url = url && url[0] ? url : "http://localhost:8080";
	c->service = foreman_new(c->url, token[0] ? token : NULL);
	explicit_bzero(token, sizeof(token));
	if (!c->service)
		return cli_say(EX_USAGE, "%s is no http URL, or the token is none", c->url);
	/* a person waits: they can try again themselves */
	foreman_set_patience(c->service, 0);
	return EX_OK;
}

int main(int argc, char **argv)
{
	bool done;
	struct cli c;
	int status;

	/* a reader that leaves is seen where it is written to, and a server that
	 * does is the library's to see */
	signal(SIGPIPE, SIG_IGN);
	status = arguments_read(&c, argc, argv, &done);
	if (!status && !done && !c.command->local)
		status = open_service(&c);
	if (!status && !done)
		status = c.command->run(&c);
	foreman_free(c.service);
	if (!cli_flushed(stdout) && cli_lost(stdout) && !status)
		status = EX_IOERR;
	return status;
}
