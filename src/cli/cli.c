/*
 * cli.c - what all commands share: their options, their calls, their errors.
 */
#include <config.h>

#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/str.h"

/* --- options --------------------------------------------------------------- */

const char *cli_option(const struct cli *c, const char *name)
{
	for (size_t i = 0; c->command->options[i].name; i++)
		if (strcmp(c->command->options[i].name, name) == 0)
			return c->values[i];
	return NULL;
}

bool cli_flag(const struct cli *c, const char *name)
{
	return cli_option(c, name) != NULL;
}

bool cli_number(const struct cli *c, const char *name, long min, long max,
                long absent, long *out)
{
	const char *given = cli_option(c, name);
	uint64_t n;

	*out = absent;
	if (!given)
		return true;
	if (str_u64(span_of(given), &n) || n > (uint64_t)max || (long)n < min) {
		cli_say(EX_USAGE, "--%s must be a number from %ld to %ld", name, min, max);
		return false;
	}
	*out = (long)n;
	return true;
}

bool cli_duration(const struct cli *c, const char *name, int64_t absent_ms,
                  int64_t *out_ms)
{
	const char *given = cli_option(c, name);

	*out_ms = absent_ms;
	if (!given || str_duration_ms(span_of(given), out_ms) == ERR_OK)
		return true;
	cli_say(EX_USAGE, "--%s must be a duration like 30s, 10m or 2h", name);
	return false;
}

/* --- errors ---------------------------------------------------------------- */

int cli_say(int exit_code, const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fputs("foreman: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return exit_code;
}

int cli_exit_code(foreman_code code)
{
	switch (code) {
	case FOREMAN_OK:
		return EX_OK;
	case FOREMAN_JOB_FAILED:
		return CLI_JOB_FAILED;
	case FOREMAN_INVALID:
		return EX_USAGE;
	case FOREMAN_UNAUTHORIZED:
		return EX_NOPERM;
	case FOREMAN_NOT_FOUND:
	case FOREMAN_GONE:
		return EX_NOINPUT;
	case FOREMAN_BUSY:
	case FOREMAN_TIMEOUT:
		return EX_TEMPFAIL;
	case FOREMAN_UNREACHABLE:
		return EX_UNAVAILABLE;
	case FOREMAN_PROTOCOL:
		return EX_PROTOCOL;
	default:
		return EX_SOFTWARE;
	}
}

int cli_fail(const foreman_error *e)
{
	return cli_say(cli_exit_code(e->code), "%s", e->text);
}

/* --- input ----------------------------------------------------------------- */

int cli_read(const char *path, const char *too_large, struct buf *out)
{
	bool standard = !path || strcmp(path, "-") == 0;
	FILE *f = standard ? stdin : fopen(path, "re");
	int status = EX_OK;
	char chunk[16384];
	size_t got;

	if (!f)
		return cli_say(EX_NOINPUT, "cannot open %s: %s", path, strerror(errno));
	while (!status && (got = fread(chunk, 1, sizeof(chunk), f)) > 0)
		if (buf_add(out, chunk, got))
			status = cli_say(EX_DATAERR, "%s", too_large);
	if (!status && ferror(f))
		status = cli_say(EX_IOERR, "cannot read %s", standard ? "stdin" : path);
	if (!standard)
		fclose(f);
	return status;
}

/* --- output ---------------------------------------------------------------- */

bool cli_flushed(FILE *out)
{
	return fflush(out) == 0 && !ferror(out);
}

int cli_lost(FILE *out)
{
	struct pollfd reader = { .fd = fileno(out), .events = POLLOUT };
	static bool told;
	int why = errno;

	if (poll(&reader, 1, 0) == 1 && (reader.revents & (POLLERR | POLLHUP)))
		return EX_OK;
	if (!told)
		cli_say(0, "cannot write: %s", strerror(why));
	told = true;
	return EX_IOERR;
}

/* --- calls ----------------------------------------------------------------- */

int cli_ask(struct cli *c, const struct call_ask *ask, cJSON **out)
{
	struct call_reply reply;
	foreman_error e;
	foreman_code code = call_service(c->service, ask, &reply, &e);
	int status = code ? cli_fail(&e) : 0;

	*out = NULL;
	if (!status && reply.body.len &&
	    json_parse((struct span){ reply.body.p, reply.body.len }, out, NULL))
		status =
		    cli_say(EX_PROTOCOL, "%s answers something that is no JSON", c->url);
	buf_done(&reply.body);
	return status;
}

int cli_get(struct cli *c, const char *path, cJSON **out)
{
	int status =
	    cli_ask(c, &(struct call_ask){ .method = "GET", .path = path }, out);

	if (!status && !*out)
		return cli_say(EX_PROTOCOL, "%s answers nothing", c->url);
	return status;
}

void cli_print_json(const cJSON *tree)
{
	char *text = json_text(tree);

	puts(text ? text : "null");
	free(text);
}

const cJSON *cli_member(const cJSON *o, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(o, name);
}

const char *cli_text(const cJSON *o, const char *name)
{
	return cJSON_GetStringValue(cli_member(o, name));
}

double cli_value(const cJSON *o, const char *name)
{
	const cJSON *n = cli_member(o, name);

	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}
