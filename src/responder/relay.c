/*
 * relay.c - a few frames to the worker, on unix sockets, without waiting.
 *
 * A message that does not fit into the socket's buffer is dropped: the worker
 * then has thousands of unread nudges and will look anyway, and what a cancel
 * asks for stands in the database too.
 */
#include <config.h>

#include "responder/relay.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "core/frame.h"
#include "core/limits.h"

#define GREETING_MAX 128 /* HELLO and one more of our small frames */

static enum err add_hello(struct buf *b)
{
	const struct frame hello = { .type = FRAME_HELLO, .version = FRAME_VERSION };

	buf_init(b, GREETING_MAX);
	return frame_encode(&hello, b);
}

/* All of it or an error; so small that the kernel takes it whole. */
static enum err say(int fd, const struct buf *b)
{
	ssize_t n;

	do
		n = send(fd, b->p, b->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)b->len)
		return ERR_OK;
	return n < 0 && errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
}

static enum err say_frame(int fd, const struct frame *f)
{
	struct buf b;
	enum err e;

	buf_init(&b, GREETING_MAX);
	e = frame_encode(f, &b);
	if (!e)
		e = say(fd, &b);
	buf_done(&b);
	return e;
}

enum err relay_attach(const char *path, const char id[ULID_SIZE],
                      enum frame_role role, int *out)
{
	struct frame attach = { .type = FRAME_ATTACH, .role = role };
	struct buf b;
	int fd = -1;
	enum err e = add_hello(&b);

	str_copy(attach.id, sizeof(attach.id), id);
	if (!e)
		e = frame_encode(&attach, &b);
	if (!e)
		e = fd_connect_unix(path, true, &fd);
	if (!e)
		e = say(fd, &b);
	buf_done(&b);
	if (e)
		fd_close(&fd);
	else
		*out = fd;
	return e;
}

enum err relay_nudge(int fd)
{
	return say_frame(fd, &(struct frame){ .type = FRAME_NUDGE });
}

/* --- the bell ------------------------------------------------------------- */

static void hang_up(struct bell *b)
{
	loop_fd_del(b->watch);
	b->watch = NULL;
	fd_close(&b->fd);
}

/* The worker says HELLO, and then only that it has gone. */
static void on_bell(void *arg, uint32_t events)
{
	struct bell *b = arg;
	char waste[64];
	ssize_t n = recv(b->fd, waste, sizeof(waste), MSG_DONTWAIT);

	(void)events;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		hang_up(b);
}

static enum err pick_up(struct bell *b)
{
	int64_t now = loop_now_ms(b->loop);
	struct buf hello;
	enum err e;

	if (b->fd >= 0)
		return ERR_OK;
	if (now < b->retry_mono_ms)
		return ERR_AGAIN;
	b->retry_mono_ms = now + LIMIT_RELAY_RETRY_MS;
	e = add_hello(&hello);
	if (!e)
		e = fd_connect_unix(b->path, true, &b->fd);
	if (!e)
		e = say(b->fd, &hello);
	if (!e)
		e = loop_fd_add(b->loop, b->fd, EPOLLIN, on_bell, b, &b->watch);
	buf_done(&hello);
	if (e)
		hang_up(b);
	return e;
}

static void ring(struct bell *b, const struct frame *f)
{
	for (int tries = 0; tries < 2; tries++) {
		if (pick_up(b))
			return;
		if (say_frame(b->fd, f) != ERR_CLOSED)
			return;
		hang_up(b);
	}
}

void bell_init(struct bell *b, struct loop *loop, const char *path)
{
	*b = (struct bell){ .path = path, .loop = loop, .fd = -1 };
}

void bell_done(struct bell *b)
{
	hang_up(b);
}

void bell_nudge(struct bell *b)
{
	ring(b, &(struct frame){ .type = FRAME_NUDGE });
}

void bell_cancel(struct bell *b, const char id[ULID_SIZE])
{
	struct frame f = { .type = FRAME_CANCEL };

	str_copy(f.id, sizeof(f.id), id);
	ring(b, &f);
}
