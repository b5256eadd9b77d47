/*
 * test_setting.c - the table of the settings agrees with itself.
 */
#include <config.h>

#include "core/setting.h"

#include <stdlib.h>

#include "base/attr.h"
#include "core/conf.h"
#include "t.h"

static void the_table_explains_every_setting(void)
{
	size_t secrets = 0;

	CHECK_INT(setting_count, 36);
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &settings[i];

		CHECK(strncmp(s->name, "FOREMAN_", 8) == 0);
		CHECK(s->type->name[0] && s->help[0] && s->range && s->fallback);
		for (size_t j = 0; j < i; j++)
			CHECK(strcmp(s->name, settings[j].name) != 0);
		secrets += s->secret;
	}
	CHECK_INT(secrets, 3);
}

/* Is this one setting taken? */
static bool takes(char *setting)
{
	char *env[] = { setting, NULL };
	struct conf c;
	enum err e = conf_load(env, &c, NULL);

	if (e == ERR_OK)
		conf_done(&c);
	return e == ERR_OK;
}

static void every_default_in_the_table_is_taken(void)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &settings[i];
		char setting[256];

		snprintf(setting, sizeof(setting), "%s=%s", s->name, s->fallback);
		if (!CHECK(takes(setting)))
			printf("#   %s\n", setting);
	}
}

/* The ends of "A..B" or "0 or A..B". */
static void every_range_ends_where_the_table_says(void)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &settings[i];
		const char *dots = strstr(s->range, "..");
		const char *low = strncmp(s->range, "0 or ", 5) ? s->range : s->range + 5;
		char setting[256];

		if (!dots || strcmp(s->type->name, "durations") == 0)
			continue;
		snprintf(setting, sizeof(setting), "%s=%.*s", s->name, (int)(dots - low),
		         low);
		if (!CHECK(takes(setting)))
			printf("#   %s\n", setting);
		snprintf(setting, sizeof(setting), "%s=%s", s->name, dots + 2);
		if (!CHECK(takes(setting)))
			printf("#   %s\n", setting);
		/* ten times the end is over every end */
		snprintf(setting, sizeof(setting), "%s=%d0%s", s->name, atoi(dots + 2),
		         dots + 2 + strspn(dots + 2, "0123456789"));
		if (!CHECK(!takes(setting)))
			printf("#   %s\n", setting);
		snprintf(setting, sizeof(setting), "%s=0", s->name);
		if (!CHECK(takes(setting) == (s->range[0] == '0')))
			printf("#   %s\n", setting);
	}
}

static void nearest(const char *name, const char *expected)
{
	CHECK_STR(setting_nearest(span_of(name)), expected);
}

static void the_nearest_name_is_off_by_few_letters(void)
{
	nearest("FOREMAN_THREAD", "FOREMAN_THREADS");
	nearest("FOREMAN_THREADSS", "FOREMAN_THREADS");
	nearest("FOREMAN_TREADS", "FOREMAN_THREADS");
	nearest("FOREMAN_OLAMA_URL", "FOREMAN_OLLAMA_URL");
	nearest("FOREMAN_MAX_QEUE", "FOREMAN_MAX_QUEUE");
	/* and by no more than a third of them */
	nearest("FOREMAN_D", NULL);
	nearest("FOREMAN_", NULL);
	nearest("FOREMAN_X", NULL);
	nearest("FOREMAN_QUITE_ANOTHER_THING", NULL);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(the_table_explains_every_setting),
		T(every_default_in_the_table_is_taken),
		T(every_range_ends_where_the_table_says),
		T(the_nearest_name_is_off_by_few_letters),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
