/*
 * webhooks.c - deliveries: what is owed, sending again, and a receiver's side.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/inbox.h"
#include "cli/page.h"
#include "cli/screen.h"
#include "core/signature.h"

#define BODY_MAX (96u * 1024 * 1024) /* a job with FOREMAN_MAX_RESPONSE inline */
#define TOLERANCE_S 300 /* Standard Webhooks: five minutes either way */

/* --- the service's side ---------------------------------------------------- */

static void print_row(const cJSON *hook, int columns)
{
	char url[600], when[SCREEN_WORDS] = "-";
	int64_t due_ms = screen_time(cli_text(hook, "due_at"));

	if (due_ms >= 0)
		screen_span(due_ms - clock_wall_ms(), when);
	printf("%-30.30s  %-9s %-11s %3.0f  %-9s %s\n", cli_text(hook, "id"),
	       cli_text(hook, "state"), cli_text(hook, "type"),
	       cli_value(hook, "attempts"), when,
	       screen_fit(cli_text(hook, "url"), columns - 69, url, sizeof(url)));
}

int run_webhooks_list(struct cli *c)
{
	static const char *const filters[] = { "state", "limit", "before", NULL };
	static const struct page page = {
		.path = "/webhooks",
		.list = "webhooks",
		.filters = filters,
		.heading = "ID                              STATE     TYPE        TRY  DUE IN    RECEIVER",
		.print_row = print_row,
	};

	return page_show(c, &page);
}

/* Ids and times have no character that a path could not hold. */
static bool plain(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                          "0123456789_-:.");

	return len > 0 && len < 64 && text[len] == '\0';
}

static int redeliver(struct cli *c, const char *path)
{
	struct call_ask ask = { .method = "POST", .path = path };
	cJSON *answer = NULL;
	int status = cli_ask(c, &ask, &answer);

	if (!status && c->json)
		cli_print_json(answer);
	else if (!status && cli_member(answer, "redelivered"))
		printf("%.0f will be sent again%s\n", cli_value(answer, "redelivered"),
		       cJSON_IsTrue(cli_member(answer, "more")) ? "; there are more" : "");
	else if (!status)
		printf("%s will be sent again\n", cli_text(answer, "id"));
	cJSON_Delete(answer);
	return status;
}

int run_webhooks_redeliver(struct cli *c)
{
	const char *since = cli_option(c, "since");
	int status = EX_OK;
	char path[160];

	if (!since == !c->operand_count)
		return cli_say(EX_USAGE, "give ids, or --since");
	if (since) {
		if (!plain(since))
			return cli_say(EX_USAGE, "--since must be a time like "
			                         "2026-11-20T18:00:00Z");
		snprintf(path, sizeof(path), "/webhooks/redeliver?since=%s", since);
		return redeliver(c, path);
	}
	for (int i = 0; i < c->operand_count; i++) {
		int one;

		if (!plain(c->operands[i]))
			return cli_say(EX_USAGE, "%s is no webhook's id", c->operands[i]);
		snprintf(path, sizeof(path), "/webhooks/%s/redeliver", c->operands[i]);
		one = redeliver(c, path);
		status = one ? one : status;
	}
	return status;
}

/* --- a receiver's side ----------------------------------------------------- */

static const char *secrets(void)
{
	const char *text = getenv("FOREMAN_WEBHOOK_SECRET");

	return text && text[0] ? text : NULL;
}

/* A verdict, and the exit code it amounts to. */
static int judge(const struct cli *c, bool good, const char *text)
{
	cJSON *o;

	if (!c->json)
		return good ? (puts("good"), EX_OK) : cli_say(1, "%s", text);
	o = cJSON_CreateObject();
	json_add_bool(o, "good", good);
	json_add_str(o, "text", text);
	cli_print_json(o);
	cJSON_Delete(o);
	return good ? EX_OK : 1;
}

int run_webhooks_verify(struct cli *c)
{
	const char *id = cli_option(c, "id"), *signature = cli_option(c, "signature");
	struct buf body;
	long timestamp;
	char off[96];
	int64_t age_s;
	int status;
	enum err e;

	if (!secrets())
		return cli_say(EX_USAGE, "FOREMAN_WEBHOOK_SECRET is not set");
	if (!cli_number(c, "timestamp", 0, 1L << 40, -1, &timestamp))
		return EX_USAGE;
	if (!id || !signature || timestamp < 0)
		return cli_say(EX_USAGE, "--id, --timestamp and --signature are needed");
	buf_init(&body, BODY_MAX);
	status = cli_read(c->operands[0], "the body is larger than a webhook's", &body);
	e = signature_check(secrets(), id, timestamp,
	                    (struct span){ body.p ? body.p : "", body.len },
	                    span_of(signature));
	buf_done(&body);
	if (status)
		return status;
	if (e == ERR_DENIED)
		return judge(c, false, "no signature fits: another secret, or other bytes");
	if (e)
		return cli_say(EX_USAGE,
		               "FOREMAN_WEBHOOK_SECRET is no secret, or --id too long");
	age_s = clock_wall_ms() / 1000 - timestamp;
	snprintf(off, sizeof(off), "the signature fits, but its time is %lld s off",
	         (long long)age_s);
	if (age_s > TOLERANCE_S || age_s < -TOLERANCE_S)
		return judge(c, false, off);
	return judge(c, true, NULL);
}

int run_webhooks_listen(struct cli *c)
{
	uint64_t port = 9099;

	if (c->operands[0] && (str_u64(span_of(c->operands[0]), &port) || port > 65535))
		return cli_say(EX_USAGE, "%s is no port", c->operands[0]);
	return inbox_serve((unsigned)port, secrets(), c->json);
}
