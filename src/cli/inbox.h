/*
 * inbox.h - a receiver of webhooks for looking at them: one at a time, on
 * loopback and the local network's addresses alike.
 */
#ifndef FOREMAN_CLI_INBOX_H
#define FOREMAN_CLI_INBOX_H

#include <stdbool.h>

/* Print what is delivered until the process is ended: a line each, or the body
 * itself with `json`. With `secrets` (may be NULL) a delivery whose signature
 * does not fit is answered 401 and told. EX_OK when nobody reads what is printed
 * any more; else an exit code, told. */
int inbox_serve(unsigned port, const char *secrets, bool json);

#endif
