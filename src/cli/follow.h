/*
 * follow.h - a job on its way, told on stderr, and what it came to.
 *
 * Whoever interrupts it (Ctrl-C) is told that the job goes on.
 */
#ifndef FOREMAN_CLI_FOLLOW_H
#define FOREMAN_CLI_FOLLOW_H

#include "cli/cli.h"

/* Until it has ended, or timeout_ms (negative: no limit) is over; a line tells
 * how it goes. EX_OK and the job, or an exit code, told. */
int follow_job(struct cli *c, const char *id, int64_t timeout_ms,
               foreman_job **job);

/* The answer's text to stdout while it is written, with --json the target's lines
 * instead; then to its end, as above. */
int follow_text(struct cli *c, const char *id, const char *endpoint,
                foreman_job **job);

/* jobs.c: print it, free it; CLI_JOB_FAILED if it has failed. */
int jobs_print(struct cli *c, foreman_job *job);

#endif
