/*
 * completion.c - what a shell may complete, made from the table of commands.
 *
 * Each script asks for words with the same two lists: the first words of the
 * commands, and a command's own second words and options.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "cli/commands.h"

/* "webhooks" of "webhooks list", and "list"; rest is "" for one word. */
static void split(const char *name, char first[32], const char **rest)
{
	size_t len = strcspn(name, " ");

	snprintf(first, 32, "%.*s", (int)len, name);
	*rest = name[len] ? name + len + 1 : "";
}

/* Is this the first row with its first word? */
static bool leads(size_t i)
{
	char first[32], before[32];
	const char *rest;

	split(cli_commands[i].name, first, &rest);
	if (i == 0)
		return true;
	split(cli_commands[i - 1].name, before, &rest);
	return strcmp(first, before) != 0;
}

static void print_firsts(void)
{
	for (size_t i = 0; i < cli_command_count; i++) {
		char first[32];
		const char *rest;

		split(cli_commands[i].name, first, &rest);
		if (leads(i))
			printf(" %s", first);
	}
}

/* Second words and options of all rows that begin as row i does. */
static void print_seconds(size_t i)
{
	char first[32], other[32];
	const char *rest;

	split(cli_commands[i].name, first, &rest);
	for (; i < cli_command_count; i++) {
		split(cli_commands[i].name, other, &rest);
		if (strcmp(first, other) != 0)
			return;
		if (rest[0])
			printf(" %s", rest);
		for (const struct cli_option *o = cli_commands[i].options; o->name; o++)
			printf(" --%s%s", o->name, o->value ? "=" : "");
		for (const struct cli_option *o = cli_common; leads(i) && o->name; o++)
			printf(" --%s%s", o->name, o->value ? "=" : "");
	}
}

static void bash(void)
{
	puts("_foreman() {\n"
	     "    local words\n"
	     "    case ${COMP_WORDS[1]} in");
	for (size_t i = 0; i < cli_command_count; i++) {
		char first[32];
		const char *rest;

		if (!leads(i))
			continue;
		split(cli_commands[i].name, first, &rest);
		printf("    %s) words='", first);
		print_seconds(i);
		puts("' ;;");
	}
	puts("    *) words='' ;;\n    esac");
	printf("    [ \"$COMP_CWORD\" -gt 1 ] || words='");
	print_firsts();
	puts("'\n"
	     "    COMPREPLY=($(compgen -W \"$words\" -- \"$2\"))\n"
	     "    case ${COMPREPLY[*]-} in *=) compopt -o nospace ;; esac\n"
	     "}\n"
	     "complete -o default -F _foreman foreman");
}

static void zsh(void)
{
	/* zsh runs bash's completions itself */
	puts("autoload -U +X compinit && compinit\n"
	     "autoload -U +X bashcompinit && bashcompinit");
	bash();
}

/* Behind -d: in quotes, with those in the text escaped. */
static void fish_text(const char *text)
{
	fputs(" -d '", stdout);
	for (; *text; text++)
		printf("%s%c", *text == '\'' || *text == '\\' ? "\\" : "", *text);
	puts("'");
}

static void fish_options(const char *condition, const struct cli_option *o)
{
	for (; o->name; o++) {
		printf("complete -c foreman %s-l %s%s", condition, o->name,
		       o->value ? " -r" : "");
		fish_text(o->help);
	}
}

static void fish(void)
{
	for (size_t i = 0; i < cli_command_count; i++) {
		const struct cli_command *k = &cli_commands[i];
		char first[32], condition[96];
		const char *rest;

		split(k->name, first, &rest);
		snprintf(condition, sizeof(condition),
		         "-n '__fish_seen_subcommand_from %s' ", first);
		if (leads(i)) {
			printf("complete -c foreman -f -n __fish_use_subcommand -a %s", first);
			fish_text(rest[0] ? "" : k->help);
		}
		if (rest[0]) {
			printf("complete -c foreman -f %s-a %s", condition, rest);
			fish_text(k->help);
		}
		fish_options(condition, k->options);
	}
	fish_options("", cli_common);
}

int run_completion(struct cli *c)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };

	for (size_t i = 0; i < ARRAY_LEN(shells); i++)
		if (strcmp(c->operands[0], shells[i].name) == 0) {
			shells[i].print();
			return EX_OK;
		}
	return cli_say(EX_USAGE, "completion is for bash, zsh and fish");
}
