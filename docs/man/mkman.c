/*
 * mkman.c - the parts of the manual that are written down elsewhere already.
 *
 *   mkman <foreman-settings.5.in >foreman-settings.5
 *
 * copies a page, and puts in place of the lines @SETTINGS@ and @COMMANDS@ what
 * the tables of core/setting.c and cli/commands.c say.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "core/setting.h"

/* Text as mdoc takes it; none of the tables' begins with a dot. */
static void print_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", stdout);
		else if (*text == '-' && text[1] == '-')
			fputs("\\-", stdout);
		else
			putchar(*text);
	}
}

/* --- settings -------------------------------------------------------------- */

static void print_setting(const struct setting *s)
{
	const char *dots = strstr(s->range, "..");
	char accepts[200];

	printf(".It Ev %s\n", s->name);
	print_text(s->help);
	puts(".");
	/* what the value looks like, and between which bounds it lies */
	snprintf(accepts, sizeof(accepts), "%s", s->type->accepts);
	if (accepts[0] && accepts[strlen(accepts) - 1] == ',')
		accepts[strlen(accepts) - 1] = '\0'; /* it went on there */
	fputs("Takes ", stdout);
	print_text(accepts);
	if (strncmp(s->range, "0 or ", 5) == 0)
		printf(" from %.*s to %s, or 0", (int)(dots - s->range - 5), s->range + 5,
		       dots + 2);
	else if (dots)
		printf(" from %.*s to %s", (int)(dots - s->range), s->range, dots + 2);
	puts(".");
	if (s->fallback[0]) {
		printf("The default is\n.Ql ");
		print_text(s->fallback);
		puts(" .");
	}
	if (s->secret)
		printf("A secret: see also\n.Ev %s_FILE .\n", s->name);
}

static void print_settings(void)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < setting_count; i++)
		print_setting(&settings[i]);
	puts(".El");
}

/* --- commands -------------------------------------------------------------- */

static void print_options(const struct cli_option *o)
{
	for (; o->name; o++) {
		printf(".It Fl -%s", o->name);
		if (o->value)
			printf(" Ns = Ns Ar %s", o->value);
		putchar('\n');
		print_text(o->help);
		puts(".");
	}
}

/* "ID [NAME]" as mdoc's arguments. */
static void print_operands(const char *text)
{
	struct span rest = span_of(text), word;

	while (text[0] && span_cut(&rest, ' ', &word)) {
		bool optional = word.p[0] == '[';
		const char *name = word.p + optional;

		printf(" %sAr %.*s%s", optional ? "Op " : "", (int)strcspn(name, ".] "),
		       name, memmem(word.p, word.len, "...", 3) ? " ..." : "");
	}
}

static void print_commands(void)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < cli_command_count; i++) {
		const struct cli_command *k = &cli_commands[i];

		printf(".It Cm %s", k->name);
		print_operands(k->operands);
		putchar('\n');
		print_text(k->help);
		puts(".");
		if (!k->options[0].name)
			continue;
		puts(".Bl -tag -width Ds -compact");
		print_options(k->options);
		puts(".El");
	}
	puts(".El\n.Pp\nAll of them take:\n.Bl -tag -width Ds -compact");
	print_options(cli_common);
	puts(".El");
}

int main(void)
{
	char line[1024];

	while (fgets(line, sizeof(line), stdin))
		if (strcmp(line, "@SETTINGS@\n") == 0)
			print_settings();
		else if (strcmp(line, "@COMMANDS@\n") == 0)
			print_commands();
		else
			fputs(line, stdout);
	return ferror(stdin) || fflush(stdout) != 0;
}
