/*
 * commands.c - the table of commands: everything about them that is not code.
 */
#include <config.h>

#include "cli/commands.h"

const struct cli_option cli_common[] = {
	{ "json", NULL, "print JSON, as the service tells it" },
	{ "url", "URL", "the service, instead of FOREMAN_URL" },
	{ "help", NULL, "tell this" },
	{ 0 },
};

/* A row says what it says in a line or two. */
/* clang-format off */
const struct cli_command cli_commands[] = {
	{ "status", "", 0, 0, "target, running job, who waits, webhooks", run_status,
	  { { "watch", NULL, "draw it again every second" } }, false },
	{ "submit", "[FILE]", 0, 1, "submit a request; FILE or - for stdin", run_submit,
	  { { "model", "NAME", "ask this model; FILE is then the question's text" },
	    { "endpoint", "PATH", "instead of /api/chat" },
	    { "wait", NULL, "wait until it has ended" },
	    { "timeout", "SPAN", "with --wait: for so long at most (30s, 10m, 2h)" },
	    { "stream", NULL, "print the answer while it is written" },
	    { "webhook", "URL", "tell this receiver of its moves" },
	    { "events", "LIST", "of these only: done,failed" },
	    { "key", "TEXT", "idempotency key: the same one makes the same job" },
	    { "expires-in", "SPAN", "drop it if it has not started by then" },
	    { "run-timeout", "SPAN", "cut it off when it runs longer" },
	    { "metadata", "JSON", "an object of strings, kept with the job" } }, false },
	{ "jobs", "", 0, 0, "list jobs, the newest first", run_jobs,
	  { { "state", "STATE", "queued, loading, working, done or failed" },
	    { "model", "NAME", "of this model" },
	    { "limit", "N", "so many, 1 to 200" },
	    { "before", "ID", "older than this job" } }, false },
	{ "show", "ID", 1, 1, "tell all of a job", run_show, { { 0 } }, false },
	{ "wait", "ID", 1, 1, "wait until a job has ended", run_wait,
	  { { "timeout", "SPAN", "give up after this long" } }, false },
	{ "cancel", "ID...", 1, CLI_OPERANDS_MAX, "cancel jobs", run_cancel,
	  { { 0 } }, false },
	{ "rm", "ID...", 1, CLI_OPERANDS_MAX, "cancel jobs and remove all of them",
	  run_rm, { { 0 } }, false },
	{ "stream", "ID", 1, 1, "follow what the target sends to a job", run_stream,
	  { { 0 } }, false },
	{ "artifact", "ID [NAME]", 1, 2, "print content, or response", run_artifact,
	  { { "output", "FILE", "write it there instead" } }, false },
	{ "webhooks list", "", 0, 0, "deliveries that are owed or given up",
	  run_webhooks_list,
	  { { "state", "STATE", "pending, dead or delivered" },
	    { "limit", "N", "so many, 1 to 200" },
	    { "before", "ID", "older than this one" } }, false },
	{ "webhooks redeliver", "[ID...]", 0, CLI_OPERANDS_MAX, "send again",
	  run_webhooks_redeliver,
	  { { "since", "TIME", "all dead ones since then: 2026-11-20T18:00:00Z" } },
	  false },
	{ "webhooks verify", "FILE", 1, 1, "check a signature; FILE or - is the body",
	  run_webhooks_verify,
	  { { "id", "TEXT", "the webhook-id header" },
	    { "timestamp", "N", "the webhook-timestamp header" },
	    { "signature", "TEXT", "the webhook-signature header" } }, true },
	{ "webhooks listen", "[PORT]", 0, 1, "print what is delivered here",
	  run_webhooks_listen, { { 0 } }, true },
	{ "doctor", "", 0, 0, "look for what is wrong", run_doctor, { { 0 } }, false },
	{ "db check", "", 0, 0, "is the database file sound", run_db_check,
	  { { "db", "FILE", "instead of FOREMAN_DB" } }, true },
	{ "db backup", "FILE", 1, 1, "copy the database while it is used",
	  run_db_backup, { { "db", "FILE", "instead of FOREMAN_DB" } }, true },
	{ "db stats", "", 0, 0, "how large it is, and what is in it", run_db_stats,
	  { { "db", "FILE", "instead of FOREMAN_DB" } }, true },
	{ "db ready", "", 0, 0, "is the schema current, does the worker live", run_db_ready,
	  { { "db", "FILE", "instead of FOREMAN_DB" } }, true },
	{ "completion", "SHELL", 1, 1, "completion for bash, zsh or fish",
	  run_completion, { { 0 } }, true },
};
/* clang-format on */

const size_t cli_command_count = ARRAY_LEN(cli_commands);
