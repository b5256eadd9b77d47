/*
 * cli.h - the command line: one table of commands, and what each is given.
 *
 * A command's row says what it takes; the parser, --help, the man page and the
 * shell completion are made from the table. A command prints to stdout what
 * was asked for, to stderr what it has to say about it, and returns an exit
 * code of sysexits(3):
 *
 *	0   done                     66  no such job, artifact or file
 *	1   the job has failed       69  no foreman answers
 *	64  wrong usage              75  too busy, or time is over: try later
 *	70  our own failure          76  something answers that is no foreman
 *	                             77  the token is missing or wrong
 */
#ifndef FOREMAN_CLI_CLI_H
#define FOREMAN_CLI_CLI_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/json.h"
#include "client/call.h"
#include "client/foreman.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CLI_JOB_FAILED 1
#define CLI_OPTIONS_MAX 12 /* of one command */
#define CLI_OPERANDS_MAX 16

struct cli_option {
	const char *name;  /* "wait", without the dashes; NULL ends a list */
	const char *value; /* what it takes, "SECONDS"; NULL: it is a flag */
	const char *help;
};

struct cli;

struct cli_command {
	const char *name;     /* "webhooks list" */
	const char *operands; /* "ID [NAME]"; "" for none */
	int min, max;         /* how many of them */
	const char *help;     /* one line */
	int (*run)(struct cli *c);
	struct cli_option options[CLI_OPTIONS_MAX];
	bool local; /* needs no service */
};

extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;
extern const struct cli_option cli_common[]; /* every command takes these */

struct cli {
	foreman *service; /* NULL for a local command */
	const char *url;  /* as it is shown */
	const struct cli_command *command;
	const char *values[CLI_OPTIONS_MAX]; /* of the options; "" for a given flag */
	const char *operands[CLI_OPERANDS_MAX + 1]; /* NULL at the end */
	int operand_count;
	bool json;
};

/* The value of an option of the running command; NULL when not given. */
const char *cli_option(const struct cli *c, const char *name);
bool cli_flag(const struct cli *c, const char *name);
/* A whole number from `min` to `max`, `absent` when not given; false (told) for
 * anything else. */
bool cli_number(const struct cli *c, const char *name, long min, long max,
                long absent, long *out);
/* A duration as foreman writes them, "90s"; likewise. */
bool cli_duration(const struct cli *c, const char *name, int64_t absent_ms,
                  int64_t *out_ms);

/* To stderr: "foreman: ...". Returns `exit_code`. */
int cli_say(int exit_code, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same about a call, with the exit code that it amounts to. */
int cli_fail(const foreman_error *e);
int cli_exit_code(foreman_code code);

/* All of a file, or of stdin for NULL and "-", appended to `out`, whose bound
 * amounts to `too_large`. Anything but 0 has been told and is the exit code. */
int cli_read(const char *path, const char *too_large, struct buf *out);

/* Flush `out`; false when something that was printed there cannot be written. */
bool cli_flushed(FILE *out);
/* What to leave with then: EX_IOERR, told once; but EX_OK when it is the reader of
 * a pipe that has left (| head), for that one has what it wanted. */
int cli_lost(FILE *out);

/* GET `path`, parsed; cJSON_Delete it. Anything but 0 has been told and is the
 * exit code. */
int cli_get(struct cli *c, const char *path, cJSON **out);
/* Any call that answers with JSON or nothing (*out NULL). */
int cli_ask(struct cli *c, const struct call_ask *ask, cJSON **out);

/* A JSON text as it is, and a newline. */
void cli_print_json(const cJSON *tree);

/* Members of a tree: NULL, 0 and false for what is not there. */
const char *cli_text(const cJSON *o, const char *name);
double cli_value(const cJSON *o, const char *name);
const cJSON *cli_member(const cJSON *o, const char *name);

#endif
