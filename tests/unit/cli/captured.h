/*
 * captured.h - what a function prints to stdout, as a text.
 *
 *   captured_begin(); run(…); text = captured_end(); …; free(text);
 */
#ifndef FOREMAN_TESTS_CAPTURED_H
#define FOREMAN_TESTS_CAPTURED_H

#include <stdlib.h>

#include "t.h"

static struct {
	FILE *before;
	char *text;
	size_t len;
} captured;

static inline void captured_begin(void)
{
	captured.before = stdout;
	stdout = open_memstream(&captured.text, &captured.len);
	if (!stdout)
		abort();
}

/* free() it. */
static inline char *captured_end(void)
{
	fclose(stdout);
	stdout = captured.before;
	return captured.text;
}

#endif
