/*
 * arguments.c - which command is asked for, and with what; --help.
 *
 * Options may stand before, between and behind operands, until "--"; "-" is an
 * operand. A value follows its option, or stands behind "=". The last one of an
 * option given twice counts.
 * Refused: short options (but -h), abbreviations, a value for a flag.
 */
#include <config.h>

#include "cli/arguments.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/str.h"

/* --- help ------------------------------------------------------------------ */

static void print_options(const struct cli_option *o)
{
	char left[40];

	for (; o->name; o++) {
		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value ? "=" : "",
		         o->value ? o->value : "");
		printf("  %-22s %s\n", left, o->help);
	}
}

static void print_row(FILE *to, const struct cli_command *k)
{
	char left[64];

	snprintf(left, sizeof(left), "%s %s", k->name, k->operands);
	fprintf(to, "  %-28s %s\n", left, k->help);
}

static void print_help(FILE *to)
{
	fputs("usage: foreman COMMAND [OPTION...] [OPERAND...]\n\n", to);
	for (size_t i = 0; i < cli_command_count; i++)
		print_row(to, &cli_commands[i]);
	fputs("\nThe service is FOREMAN_URL, or http://localhost:8080; its token is\n"
	      "FOREMAN_API_TOKEN, or in the file FOREMAN_API_TOKEN_FILE.\n"
	      "foreman COMMAND --help tells a command's options; see foreman(1).\n",
	      to);
}

static void print_help_of(const struct cli_command *k)
{
	printf("usage: foreman %s [OPTION...]%s%s\n\n%s\n\n", k->name,
	       k->operands[0] ? " " : "", k->operands, k->help);
	print_options(k->options);
	print_options(cli_common);
}

/* --- finding the command --------------------------------------------------- */

/* How many of the words name this command; 0: they do not. */
static int matches(const struct cli_command *k, int argc, char **argv)
{
	struct span name = span_of(k->name), word;
	int used = 0;

	while (span_cut(&name, ' ', &word))
		if (used >= argc || !span_eq(word, argv[used++]))
			return 0;
	return used;
}

static const struct cli_command *find(int argc, char **argv, int *used)
{
	for (size_t i = 0; i < cli_command_count; i++) {
		*used = matches(&cli_commands[i], argc, argv);
		if (*used)
			return &cli_commands[i];
	}
	return NULL;
}

/* Does `word` begin this command's name of two words? */
static bool begins(const struct cli_command *k, const char *word)
{
	size_t len = strlen(word);

	return len > 0 && strncmp(k->name, word, len) == 0 && k->name[len] == ' ';
}

/* Words that name no command: those they may have meant, when they are the
 * first half of some. */
static int explain(int argc, char **argv, bool *done)
{
	bool asked =
	    argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
	FILE *to = asked ? stdout : stderr;
	bool found = false;

	for (size_t i = 0; i < cli_command_count; i++) {
		if (!begins(&cli_commands[i], argv[0]))
			continue;
		if (!found)
			fprintf(to, "usage: foreman %s COMMAND [OPTION...] [OPERAND...]\n\n",
			        argv[0]);
		found = true;
		print_row(to, &cli_commands[i]);
	}
	if (!found)
		return cli_say(
		    EX_USAGE, "there is no command %s; foreman --help lists them", argv[0]);
	*done = asked;
	return asked ? EX_OK : EX_USAGE;
}

/* --- reading its options --------------------------------------------------- */

enum took { TOOK_ONE, TOOK_TWO, TOOK_HELP, TOOK_NONE };

static const struct cli_option *find_option(const struct cli_option *list,
                                            struct span name)
{
	for (; list->name; list++)
		if (span_eq(name, list->name))
			return list;
	return NULL;
}

static void keep(struct cli *c, const struct cli_option *o, const char *value)
{
	if (strcmp(o->name, "json") == 0)
		c->json = true;
	else if (strcmp(o->name, "url") == 0)
		c->url = value;
	else
		c->values[o - c->command->options] = value;
}

static enum took take_option(struct cli *c, const char *arg, const char *next)
{
	struct span rest = span_of(arg), name;
	const struct cli_option *o;
	const char *value = strchr(arg, '=');

	if (strcmp(arg, "-h") == 0)
		return TOOK_HELP;
	span_cut(&rest, '=', &name);
	if (name.len > 2 && memcmp(name.p, "--", 2) == 0)
		name = (struct span){ name.p + 2, name.len - 2 };
	else
		name = SPAN_LIT("");
	o = find_option(c->command->options, name);
	if (!o)
		o = find_option(cli_common, name);
	if (!o) {
		cli_say(0, "%s: there is no option %s", c->command->name, arg);
		return TOOK_NONE;
	}
	if (!o->value && value) {
		cli_say(0, "--%s takes no value", o->name);
		return TOOK_NONE;
	}
	if (o->value && !value && !next) {
		cli_say(0, "--%s needs a value: %s", o->name, o->value);
		return TOOK_NONE;
	}
	if (strcmp(o->name, "help") == 0)
		return TOOK_HELP;
	keep(c, o, !o->value ? "" : value ? value + 1 : next);
	return o->value && !value ? TOOK_TWO : TOOK_ONE;
}

/* The options and operands behind the command's name. */
static int read_rest(struct cli *c, int argc, char **argv, bool *done)
{
	bool options = true;

	for (int i = 0; i < argc; i++) {
		enum took took = TOOK_ONE;

		if (options && strcmp(argv[i], "--") == 0)
			options = false;
		else if (options && argv[i][0] == '-' && argv[i][1])
			took = take_option(c, argv[i], argv[i + 1]);
		else if (c->operand_count < c->command->max)
			c->operands[c->operand_count++] = argv[i];
		else
			return cli_say(EX_USAGE, "%s: one operand too many: %s",
			               c->command->name, argv[i]);
		*done = took == TOOK_HELP;
		if (*done)
			return EX_OK;
		if (took == TOOK_NONE)
			return EX_USAGE;
		i += took == TOOK_TWO;
	}
	if (c->operand_count < c->command->min)
		return cli_say(EX_USAGE, "usage: foreman %s [OPTION...] %s",
		               c->command->name, c->command->operands);
	return EX_OK;
}

int arguments_read(struct cli *c, int argc, char **argv, bool *done)
{
	bool help = argc > 1 && strcmp(argv[1], "help") == 0;
	int used, status;

	*c = (struct cli){ 0 };
	*done = false;
	if (argc < 2) {
		print_help(stderr);
		return EX_USAGE;
	}
	*done = true;
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0)
		return printf("foreman %s\n", foreman_version()), EX_OK;
	if ((help && argc == 2) || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0)
		return print_help(stdout), EX_OK;
	argv += 1 + help;
	argc -= 1 + help;
	*done = false;
	c->command = find(argc, argv, &used);
	if (!c->command)
		return explain(argc, argv, done);
	*done = help;
	status = help ? EX_OK : read_rest(c, argc - used, argv + used, done);
	if (*done)
		print_help_of(c->command);
	return status;
}
