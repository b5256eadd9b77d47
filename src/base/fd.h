/*
 * fd.h - descriptors: flags, whole writes, local sockets, locks on files.
 *
 * Everything opened here is close-on-exec. EINTR is handled inside.
 */
#ifndef FOREMAN_BASE_FD_H
#define FOREMAN_BASE_FD_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

void fd_close(int *fd); /* closes and sets -1; -1 is fine */
enum err fd_nonblock(int fd, bool on) MUST_CHECK;
enum err fd_cloexec(int fd, bool on) MUST_CHECK;

/* Write it all, waiting at most timeout_ms overall for room (-1: for ever).
 * ERR_CLOSED (EPIPE, ECONNRESET), ERR_TIMEOUT, ERR_FULL, ERR_IO. The time is
 * kept on sockets of either mode, on pipes only if they are non-blocking. */
enum err fd_write_all(int fd, const void *p, size_t len, int timeout_ms) MUST_CHECK;

/* Read a whole regular file of at most `max` bytes; heap, NUL-terminated.
 * ERR_TOOBIG, ERR_NOENT, ERR_DENIED, ERR_INVAL (not a regular file), ERR_IO. */
enum err fd_read_file(const char *path, size_t max, char **out, size_t *len,
                      struct errtext *why) MUST_CHECK;

/*
 * A listening unix stream socket, non-blocking, of mode 0660, made under a
 * temporary name and renamed into place, so that a client sees the old one
 * or the new one and never none. Replaces a socket that stood at `path`;
 * anything else there is ERR_CONFLICT. A path too long for an address is
 * ERR_INVAL and the text says so.
 */
enum err fd_listen_unix(const char *path, int backlog, int *out,
                        struct errtext *why) MUST_CHECK;

/* A listening TCP socket on "host:port" (numeric host), non-blocking. */
enum err fd_listen_tcp(const char *host_port, int backlog, int *out,
                       struct errtext *why) MUST_CHECK;

/* Connect to a unix socket; blocking connect, which on unix sockets does not
 * wait for the peer. The result is non-blocking if asked. ERR_NOENT when
 * nobody listens, ERR_BUSY when the backlog is full. */
enum err fd_connect_unix(const char *path, bool nonblock, int *out) MUST_CHECK;

/* Let this process, and those it starts, open as many descriptors as the hard
 * limit allows. On an error the old limit stays. */
enum err fd_raise_limit(struct errtext *why) MUST_CHECK;

/* The user id of the process at the other end of a unix socket. */
enum err fd_peer_uid(int fd, uid_t *out) MUST_CHECK;

#endif
