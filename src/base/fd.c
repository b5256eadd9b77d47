/*
 * fd.c - the system calls on descriptors, with their manners.
 *
 * Sockets are close-on-exec from birth. A unix socket is never reachable by
 * more users than it is meant for, not even between bind and chmod, and only
 * ever replaces another socket: a mistyped path costs nobody a file.
 */
#include <config.h>

#include "base/fd.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/sha.h"

#define SOCKET_MODE 0660
#define READ_STEP 65536

/* errno as the answer, and as the text. */
static enum err failed(struct errtext *why, const char *what, const char *name)
{
	int number = errno;

	errtext_set(why, "cannot %s '%s': %s", what, name, strerror(number));
	return err_of_errno(number);
}

void fd_close(int *fd)
{
	int number = errno; /* callers close on their way out of a failure */

	if (*fd >= 0)
		close(*fd); /* gone even if it says EINTR */
	*fd = -1;
	errno = number;
}

static enum err set_flag(int fd, int get, int set, int flag, bool on)
{
	int flags = fcntl(fd, get);

	if (flags < 0 || fcntl(fd, set, on ? flags | flag : flags & ~flag) < 0)
		return ERR_IO;
	return ERR_OK;
}

enum err fd_nonblock(int fd, bool on)
{
	return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

enum err fd_cloexec(int fd, bool on)
{
	return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

/* --- reading and writing --------------------------------------------------- */

/* A socket is not waited for, even a blocking one: poll keeps the time. */
static ssize_t write_some(int fd, const char *p, size_t len)
{
	ssize_t n = send(fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n < 0 && errno == ENOTSOCK ? write(fd, p, len) : n;
}

enum err fd_write_all(int fd, const void *p, size_t len, int timeout_ms)
{
	int64_t due_mono_ms = clock_mono_ms() + timeout_ms;
	const char *from = p;

	while (len) {
		struct pollfd room = { .fd = fd, .events = POLLOUT };
		ssize_t n = write_some(fd, from, len);
		int wait_ms = -1;

		if (n >= 0) {
			from += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return err_of_errno(errno);
		if (timeout_ms >= 0) {
			int64_t left_ms = due_mono_ms - clock_mono_ms();

			wait_ms = left_ms > 0 ? (int)left_ms : 0;
		}
		n = poll(&room, 1, wait_ms);
		if (n == 0)
			return ERR_TIMEOUT;
		if (n < 0 && errno != EINTR)
			return ERR_IO;
	}
	return ERR_OK;
}

/* To the end of `fd`, but no further than one byte past b->max - 1. */
static enum err read_to_end(int fd, struct buf *b)
{
	for (;;) {
		size_t room = b->max - b->len;
		size_t step = room < READ_STEP ? room : READ_STEP;
		char *to = buf_reserve(b, step);
		ssize_t n;

		if (!to)
			return ERR_NOMEM;
		n = read(fd, to, step);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		buf_commit(b, (size_t)n);
		if (n == 0)
			return ERR_OK;
		if (b->len == b->max)
			return ERR_TOOBIG;
	}
}

enum err fd_read_file(const char *path, size_t max, char **out, size_t *len,
                      struct errtext *why)
{
	/* not blocking: a FIFO must not hold us in open */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	struct buf b;
	enum err e;

	assert(max < SIZE_MAX);
	buf_init(&b, max + 1); /* one more, to see that there is more */
	if (fd < 0)
		return failed(why, "open", path);
	if (fstat(fd, &st) < 0) {
		e = failed(why, "look at", path);
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		errtext_set(why, "'%s' is not a regular file", path);
		e = ERR_INVAL;
		goto out;
	}
	e = read_to_end(fd, &b);
	if (e == ERR_TOOBIG)
		errtext_set(why, "'%s' is larger than %zu bytes", path, max);
	else if (e)
		failed(why, "read", path);
	if (!e && !buf_str(&b))
		e = ERR_NOMEM;
	if (!e) {
		*len = b.len;
		*out = b.p;
		b.p = NULL;
	}
out:
	buf_done(&b);
	fd_close(&fd);
	return e;
}

/* --- unix sockets ---------------------------------------------------------- */

static enum err unix_address(const char *path, struct sockaddr_un *out,
                             struct errtext *why)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (!*path || !str_copy(a.sun_path, sizeof(a.sun_path), path)) {
		errtext_set(why, "socket path '%.120s' has %zu bytes, not 1 to %zu", path,
		            strlen(path), sizeof(a.sun_path) - 1);
		return ERR_INVAL;
	}
	*out = a;
	return ERR_OK;
}

/* A name nobody has, in the directory of `path`: rename works within one. */
static enum err temporary_address(const char *path, struct sockaddr_un *out,
                                  struct errtext *why)
{
	const char *slash = strrchr(path, '/');
	int dir_len = slash ? (int)(slash + 1 - path) : 0;
	char name[sizeof(out->sun_path) + 16], hex[9];
	unsigned char random[4];

	sha_random(random, sizeof(random));
	str_hex(random, sizeof(random), hex);
	snprintf(name, sizeof(name), "%.*s.%s", dir_len, path, hex);
	return unix_address(name, out, why);
}

/* Bound at `a` and listening. The mode is set before bind, which gives it to
 * the file less the umask, and again after, to undo the umask's part. */
static enum err bind_unix(int fd, const struct sockaddr_un *a, int backlog,
                          struct errtext *why)
{
	enum err e;

	if (fchmod(fd, SOCKET_MODE) < 0)
		return failed(why, "set the mode of", a->sun_path);
	if (bind(fd, (const struct sockaddr *)a, sizeof(*a)) < 0)
		return failed(why, "bind", a->sun_path);
	if (chmod(a->sun_path, SOCKET_MODE) == 0 && listen(fd, backlog) == 0)
		return ERR_OK;
	e = failed(why, "listen on", a->sun_path);
	unlink(a->sun_path);
	return e;
}

enum err fd_listen_unix(const char *path, int backlog, int *out,
                        struct errtext *why)
{
	struct sockaddr_un final, temporary;
	struct stat st;
	enum err e = unix_address(path, &final, why);
	int fd;

	if (!e)
		e = temporary_address(path, &temporary, why);
	if (e)
		return e;
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		errtext_set(why, "'%s' is there already, and not a socket", path);
		return ERR_CONFLICT;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return failed(why, "make a socket for", path);
	e = bind_unix(fd, &temporary, backlog, why);
	if (!e && rename(temporary.sun_path, path) < 0) {
		e = failed(why, "put a socket at", path);
		unlink(temporary.sun_path);
	}
	if (e)
		fd_close(&fd);
	else
		*out = fd;
	return e;
}

enum err fd_connect_unix(const char *path, bool nonblock, int *out)
{
	struct sockaddr_un a;
	enum err e = unix_address(path, &a, NULL);
	int fd;

	if (e)
		return e;
	/* not blocking at first: a blocking connect waits for a full backlog */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ERR_IO;
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		e = err_of_errno(errno);
	else if (!nonblock)
		e = fd_nonblock(fd, false);
	if (e)
		fd_close(&fd);
	else
		*out = fd;
	return e;
}

enum err fd_peer_uid(int fd, uid_t *out)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return ERR_IO;
	*out = peer.uid;
	return ERR_OK;
}

/* --- TCP ------------------------------------------------------------------- */

struct tcp_address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} u;
	socklen_t size;
};

/* "127.0.0.1:9000" or "[::1]:9000". */
static enum err tcp_address(const char *host_port, struct tcp_address *out)
{
	struct tcp_address a = { 0 };
	const char *colon = strrchr(host_port, ':');
	struct span host = { host_port, colon ? (size_t)(colon - host_port) : 0 };
	char text[INET6_ADDRSTRLEN];
	bool v6 = host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']';
	uint64_t port;

	if (!colon || str_u64(span_of(colon + 1), &port) || port > 65535)
		return ERR_INVAL;
	if (v6)
		host = (struct span){ host.p + 1, host.len - 2 };
	if (host.len >= sizeof(text))
		return ERR_INVAL;
	memcpy(text, host.p, host.len);
	text[host.len] = '\0';
	if (v6) {
		a.u.v6.sin6_family = AF_INET6;
		a.u.v6.sin6_port = htons((uint16_t)port);
		a.size = sizeof(a.u.v6);
	} else {
		a.u.v4.sin_family = AF_INET;
		a.u.v4.sin_port = htons((uint16_t)port);
		a.size = sizeof(a.u.v4);
	}
	if (inet_pton(a.u.any.sa_family, text,
	              v6 ? (void *)&a.u.v6.sin6_addr : &a.u.v4.sin_addr) != 1)
		return ERR_INVAL;
	*out = a;
	return ERR_OK;
}

enum err fd_listen_tcp(const char *host_port, int backlog, int *out,
                       struct errtext *why)
{
	struct tcp_address a;
	const int on = 1;
	enum err e;
	int fd;

	if (tcp_address(host_port, &a)) {
		errtext_set(why, "'%s' is not an address and a port, as 127.0.0.1:9000",
		            host_port);
		return ERR_INVAL;
	}
	fd = socket(a.u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return failed(why, "make a socket for", host_port);
	/* without it the port stays taken for a minute after a restart */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &a.u.any, a.size) < 0 || listen(fd, backlog) < 0) {
		e = failed(why, "listen on", host_port);
		fd_close(&fd);
		return e;
	}
	*out = fd;
	return ERR_OK;
}

enum err fd_raise_limit(struct errtext *why)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return failed(why, "read", "the limit on open files");
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r))
		return failed(why, "raise", "the limit on open files");
	return ERR_OK;
}
