/*
 * starve.h - the Nth allocation of this thread fails.
 *
 *   STARVE_EACH(err = thing_new(&t)) // once with the first failing, ...
 *       CHECK_INT(err, ERR_NOMEM);   // ... until it went through unharmed
 *
 * Programs that include it are linked with $(starve_ldflags) (tests/local.mk):
 * what our own code allocates comes here. A library's allocations do when the
 * test hands it these functions: cJSON is (starve_cjson), SQLite in
 * store/test_faults.c.
 */
#ifndef FOREMAN_TESTS_STARVE_H
#define FOREMAN_TESTS_STARVE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static __thread struct {
	long left;  /* the allocation that counts it down to 0 fails; 0: none does */
	bool fired; /* it did */
} starve;

static inline void starve_at(long nth)
{
	starve.left = nth;
	starve.fired = false;
}

/* No more; has one failed? */
static inline bool starve_end(void)
{
	starve.left = 0;
	return starve.fired;
}

static inline bool starved(void)
{
	if (starve.left == 0 || --starve.left > 0)
		return false;
	starve.fired = true;
	return true;
}

/* `call` with the first, second, ... allocation failing: what follows is done
 * after each, as long as there is one to fail. */
#define STARVE_EACH(call)                                                          \
	for (long nth_ = 1; starve_at(nth_), (call), starve_end(); nth_++)

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t max);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t max);
int __wrap_asprintf(char **out, const char *fmt, ...) PRINTF_LIKE(2, 3);

void *__wrap_malloc(size_t size)
{
	return starved() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return starved() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return starved() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s)
{
	return starved() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t max)
{
	return starved() ? NULL : __real_strndup(s, max);
}

int __wrap_asprintf(char **out, const char *fmt, ...)
{
	va_list args;
	int len;

	if (starved())
		return -1;
	va_start(args, fmt);
	len = vasprintf(out, fmt, args);
	va_end(args);
	return len;
}

static inline void starve_cjson(void)
{
	cJSON_Hooks hooks = { .malloc_fn = __wrap_malloc, .free_fn = free };

	cJSON_InitHooks(&hooks);
}

#endif
