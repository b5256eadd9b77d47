/*
 * page.h - one page of a list the service keeps: asked for, printed, and how to
 * come by the next.
 */
#ifndef FOREMAN_CLI_PAGE_H
#define FOREMAN_CLI_PAGE_H

#include "cli/cli.h"

struct page {
	const char *path;            /* "/jobs" */
	const char *list;            /* the answer's member: "jobs" */
	const char *const *filters;  /* options that are query parameters too; NULL
	                                at the end */
	const char *heading;         /* the first line */
	void (*print_row)(const cJSON *item, int columns);
};

/* The exit code; what is wrong has been told. */
int page_show(struct cli *c, const struct page *page);

#endif
