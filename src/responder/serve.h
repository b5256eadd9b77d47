/*
 * serve.h - one responder process: its threads, and how they stop.
 *
 * SIGTERM and SIGINT: accept no more, end what is in hand; clients parked in
 * line or on a stream get LIMIT_DRAIN_MS, those that watch a job are answered.
 * SIGHUP is the same with LIMIT_RELOAD_DRAIN_MS, for a responder that was
 * replaced. A second SIGTERM or SIGINT leaves at once.
 */
#ifndef FOREMAN_RESPONDER_SERVE_H
#define FOREMAN_RESPONDER_SERVE_H

#include "core/conf.h"
#include "fcgi/fcgx.h"
#include "responder/call.h"

/*
 * Serve until a signal says otherwise; the exit status. `listen_fd` is the
 * pool's, non-blocking; a byte goes to `ready_fd` (closed then; -1: none) when
 * requests are answered. Signals must be blocked (sig_block_all).
 */
int serve_run(const struct conf *conf, int listen_fd, int ready_fd);

/* One request, from its parameters to its log line; it is ended or parked
 * when this returns. */
void serve_request(struct seat *seat, struct fcgx *req);

#endif
