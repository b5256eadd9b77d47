/*
 * test_arguments.c - commands, options and operands as they are written, and help
 * that fits a screen.
 */
#include <config.h>

#include "cli/arguments.h"

#include <sysexits.h>

#include "captured.h"

#define A(text) ((char *)(uintptr_t)(text))
#define ARGS(...) ((char *[]){ A("foreman"), __VA_ARGS__, NULL })

static struct cli c;
static bool done;

static int reads(char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	return arguments_read(&c, argc, argv, &done);
}

#define READ(...) reads(ARGS(__VA_ARGS__))

static void options_stand_anywhere(void)
{
	CHECK_INT(READ(A("submit"), A("--wait"), A("file"), A("--model=m"), A("--key"),
	               A("k=1"), A("--json"), A("--url"), A("http://a")),
	          EX_OK);
	CHECK(!done);
	CHECK_STR(c.command->name, "submit");
	CHECK(cli_flag(&c, "wait"));
	CHECK(!cli_flag(&c, "stream"));
	CHECK_STR(cli_option(&c, "model"), "m");
	CHECK_STR(cli_option(&c, "key"), "k=1");
	CHECK_STR(cli_option(&c, "webhook"), NULL);
	CHECK_STR(cli_option(&c, "nonsense"), NULL);
	CHECK_INT(c.operand_count, 1);
	CHECK_STR(c.operands[0], "file");
	CHECK(c.json);
	CHECK_STR(c.url, "http://a");
}

static void the_last_of_an_option_counts(void)
{
	CHECK_INT(READ(A("jobs"), A("--limit=1"), A("--limit="), A("--limit=3")),
	          EX_OK);
	CHECK_STR(cli_option(&c, "limit"), "3");
}

static void behind_two_dashes_all_are_operands(void)
{
	CHECK_INT(READ(A("submit"), A("--wait"), A("--"), A("--model")), EX_OK);
	CHECK_STR(c.operands[0], "--model");
	CHECK_INT(READ(A("submit"), A("-")), EX_OK);
	CHECK_STR(c.operands[0], "-");
}

static void a_command_may_have_two_words(void)
{
	CHECK_INT(READ(A("webhooks"), A("redeliver"), A("evt_1"), A("evt_2")), EX_OK);
	CHECK_STR(c.command->name, "webhooks redeliver");
	CHECK_INT(c.operand_count, 2);
	CHECK_STR(c.operands[1], "evt_2");
	CHECK_STR(c.operands[2], NULL);
}

static void what_is_not_understood_is_refused(void)
{
	CHECK_INT(READ(A("nonsense")), EX_USAGE);
	CHECK_INT(READ(A("")), EX_USAGE);
	CHECK_INT(READ(A("webhooks")), EX_USAGE);
	CHECK_INT(READ(A("webhooks"), A("nonsense")), EX_USAGE);
	CHECK_INT(READ(A("stat")), EX_USAGE);
	CHECK_INT(READ(A("status"), A("--nonsense")), EX_USAGE);
	CHECK_INT(READ(A("status"), A("--wat")), EX_USAGE);
	CHECK_INT(READ(A("status"), A("-w")), EX_USAGE);
	CHECK_INT(READ(A("status"), A("--watch=yes")), EX_USAGE);
	CHECK_INT(READ(A("status"), A("--json=yes")), EX_USAGE);
	CHECK_INT(READ(A("status"), A("--=")), EX_USAGE);
	CHECK_INT(READ(A("status"), A("operand")), EX_USAGE);
	CHECK_INT(READ(A("submit"), A("--model")), EX_USAGE);
	CHECK_INT(READ(A("submit"), A("a"), A("b")), EX_USAGE);
	CHECK_INT(READ(A("show")), EX_USAGE);
	CHECK_INT(READ(A("show"), A("a"), A("b")), EX_USAGE);
	CHECK_INT(reads((char *[]){ A("foreman"), NULL }), EX_USAGE);
}

static void operands_have_a_bound(void)
{
	char *argv[CLI_OPERANDS_MAX + 4] = { A("foreman"), A("rm") };
	int n = 2;

	while (n < CLI_OPERANDS_MAX + 2)
		argv[n++] = A("id");
	CHECK_INT(reads(argv), EX_OK);
	CHECK_INT(c.operand_count, CLI_OPERANDS_MAX);
	argv[n] = A("id");
	CHECK_INT(reads(argv), EX_USAGE);
}

/* Options have names of their own, a command's fit its array, and are described. */
static void the_table_is_whole(void)
{
	for (size_t i = 0; i < cli_command_count; i++) {
		const struct cli_command *k = &cli_commands[i];
		size_t n = 0;

		CHECK(k->run != NULL && k->help[0] && k->max <= CLI_OPERANDS_MAX);
		CHECK(k->min <= k->max && (k->max > 0) == (k->operands[0] != '\0'));
		for (; k->options[n].name; n++) {
			CHECK(n + 1 < CLI_OPTIONS_MAX);
			CHECK(k->options[n].help[0] != '\0');
			for (size_t j = 0; cli_common[j].name; j++)
				CHECK(strcmp(cli_common[j].name, k->options[n].name) != 0);
			for (size_t j = 0; j < n; j++)
				CHECK(strcmp(k->options[j].name, k->options[n].name) != 0);
		}
	}
}

static void check_screen(char *text, int lines_max, const char *what)
{
	int lines = 0;

	for (char *line = text; *line; lines++) {
		size_t len = strcspn(line, "\n");

		t_note(len <= 80, __FILE__, __LINE__, what);
		line += len + (line[len] == '\n');
	}
	t_note(lines > 2 && lines <= lines_max, __FILE__, __LINE__, what);
	free(text);
}

static void help_fits_a_screen(void)
{
	captured_begin();
	CHECK_INT(READ(A("--help")), EX_OK);
	CHECK(done);
	check_screen(captured_end(), 30, "--help");
	for (size_t i = 0; i < cli_command_count; i++) {
		char first[32], *rest;

		snprintf(first, sizeof(first), "%s", cli_commands[i].name);
		rest = strchr(first, ' ');
		captured_begin();
		if (rest)
			*rest++ = '\0', READ(first, rest, A("--help"));
		else
			READ(first, A("-h"));
		CHECK(done);
		check_screen(captured_end(), 24, cli_commands[i].name);
	}
}

static void help_is_asked_for_in_several_ways(void)
{
	static const char *const ways[][3] = { { "-h" },
		                                   { "help" },
		                                   { "help", "submit" },
		                                   { "submit", "-h" },
		                                   { "submit", "--help" },
		                                   { "webhooks", "--help" },
		                                   { "help", "webhooks", "list" },
		                                   { "--version" },
		                                   { "version" } };

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		char *text;

		captured_begin();
		CHECK_INT(reads(ways[i][2]
		                    ? ARGS(A(ways[i][0]), A(ways[i][1]), A(ways[i][2]))
		                : ways[i][1] ? ARGS(A(ways[i][0]), A(ways[i][1]))
		                             : ARGS(A(ways[i][0]))),
		          EX_OK);
		text = captured_end();
		CHECK(done);
		t_note(strlen(text) > 10, __FILE__, __LINE__, ways[i][0]);
		free(text);
	}
	CHECK_INT(READ(A("help"), A("nonsense")), EX_USAGE);
}

static void numbers_and_spans_are_checked(void)
{
	int64_t ms;
	long n;

	REQUIRE(READ(A("jobs")) == EX_OK);
	CHECK(cli_number(&c, "limit", 1, 200, 7, &n) && n == 7);
	REQUIRE(READ(A("jobs"), A("--limit=200")) == EX_OK);
	CHECK(cli_number(&c, "limit", 1, 200, 7, &n) && n == 200);
	CHECK(!cli_number(&c, "limit", 1, 199, 7, &n));
	CHECK(!cli_number(&c, "limit", 201, 300, 7, &n));
	REQUIRE(READ(A("jobs"), A("--limit=x")) == EX_OK);
	CHECK(!cli_number(&c, "limit", 1, 200, 7, &n));
	REQUIRE(READ(A("wait"), A("id"), A("--timeout=2m")) == EX_OK);
	CHECK(cli_duration(&c, "timeout", -1, &ms) && ms == 120000);
	REQUIRE(READ(A("wait"), A("id"), A("--timeout=2")) == EX_OK);
	CHECK(!cli_duration(&c, "timeout", -1, &ms));
	REQUIRE(READ(A("wait"), A("id")) == EX_OK);
	CHECK(cli_duration(&c, "timeout", -1, &ms) && ms == -1);
}

static void every_outcome_has_its_exit_code(void)
{
	static const int codes[] = {
		[FOREMAN_OK] = 0,         [FOREMAN_JOB_FAILED] = 1,
		[FOREMAN_INVALID] = 64,   [FOREMAN_UNAUTHORIZED] = 77,
		[FOREMAN_NOT_FOUND] = 66, [FOREMAN_GONE] = 66,
		[FOREMAN_BUSY] = 75,      [FOREMAN_UNREACHABLE] = 69,
		[FOREMAN_TIMEOUT] = 75,   [FOREMAN_STOPPED] = 70,
		[FOREMAN_PROTOCOL] = 76,  [FOREMAN_NO_MEMORY] = 70,
	};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		CHECK_INT(cli_exit_code((foreman_code)i), codes[i]);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(options_stand_anywhere),
		T(the_last_of_an_option_counts),
		T(behind_two_dashes_all_are_operands),
		T(a_command_may_have_two_words),
		T(what_is_not_understood_is_refused),
		T(operands_have_a_bound),
		T(the_table_is_whole),
		T(help_fits_a_screen),
		T(help_is_asked_for_in_several_ways),
		T(numbers_and_spans_are_checked),
		T(every_outcome_has_its_exit_code),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
