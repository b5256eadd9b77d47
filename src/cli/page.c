/*
 * page.c - one page of a list the service keeps.
 */
#include <config.h>

#include "cli/page.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/buf.h"
#include "cli/screen.h"

#define PATH_MAX_BYTES 8192

static bool add_query(struct buf *path, const char *name, const char *value)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
	                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
	bool ok = buf_addf(path, "%c%s=", strchr(buf_str(path), '?') ? '&' : '?',
	                   name) == ERR_OK;

	for (; ok && *value; value++)
		ok = (strchr(plain, *value)
		          ? buf_add(path, value, 1)
		          : buf_addf(path, "%%%02X", (unsigned char)*value)) == ERR_OK;
	return ok;
}

static int fetch(struct cli *c, const struct page *page, cJSON **out)
{
	struct buf path;
	int status = EX_OK;

	buf_init(&path, PATH_MAX_BYTES);
	if (buf_add_str(&path, page->path))
		status = cli_say(EX_SOFTWARE, "out of memory");
	for (const char *const *name = page->filters; !status && *name; name++) {
		const char *value = cli_option(c, *name);

		if (value && !add_query(&path, *name, value))
			status = cli_say(EX_USAGE, "--%s is too long", *name);
	}
	if (!status)
		status = cli_get(c, buf_str(&path), out);
	buf_done(&path);
	return status;
}

int page_show(struct cli *c, const struct page *page)
{
	const cJSON *item;
	const char *next;
	cJSON *answer = NULL;
	int columns = screen_columns();
	int status = fetch(c, page, &answer);

	if (status)
		return status;
	next = cli_text(answer, "next");
	if (c->json) {
		cli_print_json(answer);
	} else {
		puts(page->heading);
		cJSON_ArrayForEach(item, cli_member(answer, page->list))
		    page->print_row(item, columns);
		if (next)
			fprintf(stderr, "more: foreman %s --before=%s\n", c->command->name,
			        next);
	}
	cJSON_Delete(answer);
	return EX_OK;
}
