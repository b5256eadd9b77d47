/*
 * test_completion.c - every command and option is in every shell's script, and
 * no text of the table breaks its quotes. (test_cli.py runs them in the shells.)
 */
#include <config.h>

#include "cli/commands.h"

#include <sysexits.h>

#include "captured.h"

static char *script(const char *shell)
{
	struct cli c = { .operands = { shell }, .operand_count = 1 };

	captured_begin();
	CHECK_INT(run_completion(&c), EX_OK);
	return captured_end();
}

/* As a word of its own behind a blank. */
static bool has_word(const char *text, const char *before, const char *word)
{
	char looked_for[64];

	snprintf(looked_for, sizeof(looked_for), "%s%s", before, word);
	return strstr(text, looked_for) != NULL;
}

static void check_script(const char *shell, const char *option)
{
	char *text = script(shell);

	for (size_t i = 0; i < cli_command_count; i++) {
		const struct cli_command *k = &cli_commands[i];
		const char *second = strchr(k->name, ' ');
		char first[32];

		snprintf(first, sizeof(first), "%.*s",
		         (int)(second ? second - k->name : (long)strlen(k->name)), k->name);
		t_note(has_word(text, " ", first), __FILE__, __LINE__, k->name);
		if (second)
			t_note(has_word(text, " ", second + 1), __FILE__, __LINE__, k->name);
		for (const struct cli_option *o = k->options; o->name; o++)
			t_note(has_word(text, option, o->name), __FILE__, __LINE__, o->name);
	}
	for (const struct cli_option *o = cli_common; o->name; o++)
		t_note(has_word(text, option, o->name), __FILE__, __LINE__, o->name);
	free(text);
}

static void all_of_the_table_is_in_each_script(void)
{
	check_script("bash", " --");
	check_script("zsh", " --");
	check_script("fish", " -l ");
}

static void quotes_are_even(void)
{
	static const char *const shells[] = { "bash", "zsh", "fish" };

	for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
		char *text = script(shells[i]);
		int quotes = 0;

		for (const char *p = text; *p; p++) {
			if (*p == '\\')
				p++;
			else
				quotes += *p == '\'';
			if (*p == '\n')
				t_note(quotes % 2 == 0, __FILE__, __LINE__, shells[i]);
		}
		free(text);
	}
}

static void there_is_none_for_other_shells(void)
{
	struct cli c = { .operands = { "tcsh" }, .operand_count = 1 };

	CHECK_INT(run_completion(&c), EX_USAGE);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(all_of_the_table_is_in_each_script),
		T(quotes_are_even),
		T(there_is_none_for_other_shells),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
