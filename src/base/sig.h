/*
 * sig.h - signals as events: blocked everywhere, read from one descriptor.
 *
 * Libraries turn EINTR into cut bodies and half-sent answers, so no handler
 * runs in any of our threads: the mains block everything first and read
 * SIGTERM, SIGINT, SIGHUP and SIGCHLD from a signalfd.
 */
#ifndef FOREMAN_BASE_SIG_H
#define FOREMAN_BASE_SIG_H

#include "base/attr.h"
#include "base/err.h"

/* Ignore SIGPIPE and SIGXFSZ, block TERM, INT, HUP, CHLD, USR1 and USR2 in the
 * calling thread (threads made later inherit it). Call first in main. */
void sig_block_all(void);

/* A non-blocking signalfd for TERM, INT, HUP and CHLD; -1 on failure. */
int sig_open(void);

/* The next pending signal number, 0 when there is none. */
int sig_next(int fd);

/* In a child between fork and exec: unblock everything, defaults again. */
void sig_restore(void);

#endif
