/*
 * commands.h - what the rows of the table run.
 */
#ifndef FOREMAN_CLI_COMMANDS_H
#define FOREMAN_CLI_COMMANDS_H

#include "cli/cli.h"

int run_status(struct cli *c);

int run_submit(struct cli *c);

int run_jobs(struct cli *c);
int run_show(struct cli *c);
int run_wait(struct cli *c);
int run_cancel(struct cli *c);
int run_rm(struct cli *c);
int run_stream(struct cli *c);
int run_artifact(struct cli *c);

int run_webhooks_list(struct cli *c);
int run_webhooks_redeliver(struct cli *c);
int run_webhooks_verify(struct cli *c);
int run_webhooks_listen(struct cli *c);

int run_doctor(struct cli *c);

int run_db_check(struct cli *c);
int run_db_backup(struct cli *c);
int run_db_stats(struct cli *c);
int run_db_ready(struct cli *c);

int run_completion(struct cli *c);

#endif
