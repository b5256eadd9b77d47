/*
 * screen.h - how things look on a terminal, and without one.
 *
 * Nothing is wider than the terminal (80 columns when there is none), and
 * whatever a stranger wrote - a model's name, an error - is made harmless
 * before it is printed.
 */
#ifndef FOREMAN_CLI_SCREEN_H
#define FOREMAN_CLI_SCREEN_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SCREEN_WORDS 32 /* bytes a worded span of time needs */

int screen_columns(void);
bool screen_is_terminal(FILE *f);

/* "450 ms", "12 s", "3 min", "2 h 5 min", "4 d"; negative counts as 0. */
void screen_span(int64_t ms, char out[SCREEN_WORDS]);

/* ISO-8601 UTC as foreman gives it, to milliseconds since 1970; -1 if it is
 * none. */
int64_t screen_time(const char *iso);

/* `text` with control characters and bad UTF-8 replaced, cut to `width` columns
 * with an ellipsis; NULL gives "-". In `out`. */
const char *screen_fit(const char *text, int width, char *out, size_t size);

/* To the upper left corner of an empty screen: for --watch. */
void screen_restart(void);

/*
 * One line on stderr that tells how it goes. On a terminal it is drawn over
 * itself; elsewhere it is printed when it differs in more than its figures.
 */
struct progress {
	bool drawn;
	char last[64]; /* the words it began with */
};
void progress_show(struct progress *p, const char *words, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void progress_clear(struct progress *p);

#endif
