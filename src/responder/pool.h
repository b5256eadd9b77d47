/*
 * pool.h - the master: it owns the socket, keeps its children alive, and does
 * nothing else. No threads, no database, no requests.
 *
 * SIGHUP starts a new generation from the program on disk, with the secret
 * files read anew; when all of it is ready the old one drains. One that does
 * not get ready is given up and the old one stays.
 * SIGTERM, SIGINT: the children drain, then the master leaves; once more: they
 * are killed.
 */
#ifndef FOREMAN_RESPONDER_POOL_H
#define FOREMAN_RESPONDER_POOL_H

#include <stddef.h>

struct pool_conf {
	const char *program;    /* a path; run as PROGRAM --child and what is read by
	                           pool_child_parse */
	int listen_fd;          /* taken over */
	size_t responders;
	int tally_fd;           /* tally.h; -1: there is none. The caller's */
};

/* Runs until told to stop; the exit status. sig_block_all first. */
int pool_run(const struct pool_conf *conf);

/* What --child is given: descriptors and the master's process id. */
struct pool_child {
	int listen_fd;
	int ready_fd;
	int tally_fd;           /* -1: there is none */
	int parent;
};

/* Read it; 0, or -1 if it is none. */
int pool_child_parse(const char *text, struct pool_child *out);

#endif
