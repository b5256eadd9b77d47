/*
 * outlet.c - what is queued for a parked client leaves when it can.
 *
 * Behind the last byte the connection is only half closed, and closed when the
 * web server has done so: a close with bytes of its still unread would be a
 * reset, and could overtake what we said.
 */
#include <config.h>

#include "responder/outlet.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include "core/limits.h"

enum err outlet_open(struct outlet *o, struct loop *l, int fd, int fcgi_id,
                     size_t max, loop_fd_fn *fn, void *arg)
{
	enum err e;

	*o = (struct outlet){ .loop = l };
	stream_init(&o->stream, fd, fcgi_id, max);
	e = loop_fd_add(l, fd, EPOLLIN | EPOLLRDHUP, fn, arg, &o->watch);
	if (e)
		stream_done(&o->stream);
	return e;
}

enum err outlet_move(struct outlet *to, struct outlet *from, loop_fd_fn *fn,
                     void *arg)
{
	enum err e;

	*to = *from;
	*from = (struct outlet){ .stream.fd = -1 };
	loop_fd_del(to->watch);
	to->watch = NULL;
	e = loop_fd_add(to->loop, to->stream.fd, EPOLLIN | EPOLLRDHUP, fn, arg,
	                &to->watch);
	if (e)
		stream_done(&to->stream);
	return e;
}

enum err outlet_flush(struct outlet *o, struct loop_timer *closing)
{
	enum err e = stream_flush(&o->stream);

	if (e && e != ERR_AGAIN)
		return e;
	if (!e && o->stream.ended && !o->shut) {
		o->shut = true;
		shutdown(o->stream.fd, SHUT_WR);
		loop_timer_set(o->loop, closing, LIMIT_SHUTDOWN_READ_MS);
	}
	loop_fd_want(o->watch, EPOLLIN | EPOLLRDHUP | (e ? EPOLLOUT : 0u));
	return e;
}

void outlet_close(struct outlet *o)
{
	loop_fd_del(o->watch);
	stream_done(&o->stream);
}
