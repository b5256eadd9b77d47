/*
 * arguments.h - which command is asked for, and with what.
 */
#ifndef FOREMAN_CLI_ARGUMENTS_H
#define FOREMAN_CLI_ARGUMENTS_H

#include "cli/cli.h"

/*
 * Read all of argv into *c, whose texts then live as long as argv. EX_OK: run
 * c->command, unless *done, when what was asked for has been printed. EX_USAGE:
 * told.
 */
int arguments_read(struct cli *c, int argc, char **argv, bool *done) MUST_CHECK;

#endif
