/*
 * t.h - the unit tests' frame: cases are sentences, the output is TAP.
 *
 *   static void a_moved_job_is_not_moved_again(void) { CHECK(…); }
 *   int main(void) {
 *       static const struct t_case cases[] = { T(a_moved_job_…), … };
 *       return t_run(cases, ARRAY_LEN(cases));
 *   }
 *
 * CHECK* note a failure and go on; REQUIRE leaves the case.
 */
#ifndef FOREMAN_TESTS_T_H
#define FOREMAN_TESTS_T_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct t_case {
	const char *name;
	void (*fn)(void);
};

#define T(fn) { #fn, fn }

static bool t_failed;

static inline bool t_note(bool ok, const char *file, int line, const char *what)
{
	if (!ok) {
		t_failed = true;
		printf("# %s:%d: not so: %s\n", file, line, what);
	}
	return ok;
}

static inline void t_note_int(int64_t got, int64_t want, const char *file,
                              int line, const char *what)
{
	if (!t_note(got == want, file, line, what))
		printf("#   got %lld, want %lld\n", (long long)got, (long long)want);
}

static inline void t_note_str(const char *got, const char *want,
                              const char *file, int line, const char *what)
{
	bool ok = got && want ? strcmp(got, want) == 0 : got == want;

	if (!t_note(ok, file, line, what))
		printf("#   got  %s\n#   want %s\n", got ? got : "NULL",
		       want ? want : "NULL");
}

#define CHECK(cond) t_note((cond), __FILE__, __LINE__, #cond)
#define CHECK_INT(got, want) \
	t_note_int((int64_t)(got), (int64_t)(want), __FILE__, __LINE__, #got)
#define CHECK_STR(got, want) t_note_str((got), (want), __FILE__, __LINE__, #got)
#define REQUIRE(cond)                   \
	do {                                \
		if (!CHECK(cond))               \
			return;                     \
	} while (0)

static inline int t_run(const struct t_case *cases, size_t count)
{
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%zu\n", count);
	for (size_t i = 0; i < count; i++) {
		char name[160];

		snprintf(name, sizeof(name), "%s", cases[i].name);
		for (char *c = name; *c; c++)
			if (*c == '_')
				*c = ' ';
		t_failed = false;
		cases[i].fn();
		printf("%sok %zu - %s\n", t_failed ? "not " : "", i + 1, name);
		failed += t_failed;
	}
	return failed ? 1 : 0;
}

#endif
