/*
 * outlet.h - the answer to a parked client, to its proper end.
 *
 * A detached request's stream (fcgi/stream.h) inside a loop: what is queued
 * leaves as the client takes it, and whoever leaves is noticed. When the end
 * of the request is out, our half of the connection is shut, and the web
 * server has LIMIT_SHUTDOWN_READ_MS to close the other.
 */
#ifndef FOREMAN_RESPONDER_OUTLET_H
#define FOREMAN_RESPONDER_OUTLET_H

#include "fcgi/stream.h"
#include "http/loop.h"

struct outlet { /* embed it; outlet_open, outlet_close */
	struct stream stream;
	struct loop *loop;
	struct loop_fd *watch;
	bool shut; /* all is out, the connection is half closed */
};

/*
 * Take over `fd` (from fcgx_detach); it is closed if this fails. The request
 * was read in full, so `fn` hears EPOLLOUT, while something is pending, or
 * anything else, and that is the client's leaving: close.
 */
enum err outlet_open(struct outlet *o, struct loop *l, int fd, int fcgi_id,
                     size_t max, loop_fd_fn *fn, void *arg) MUST_CHECK;

/* The connection of `from`, and what is pending on it, goes to `to`, with
 * another listener; of `from` nothing is left to be closed. On failure it is
 * closed. */
enum err outlet_move(struct outlet *to, struct outlet *from, loop_fd_fn *fn,
                     void *arg) MUST_CHECK;

/*
 * Hand over what is pending on the stream; call it when something was queued,
 * and at EPOLLOUT. ERR_AGAIN: the client is behind. ERR_CLOSED: it has left.
 * When the end (stream_end) is out, `closing` is set: close when it fires.
 */
enum err outlet_flush(struct outlet *o, struct loop_timer *closing) MUST_CHECK;

/* Stop watching, and close. */
void outlet_close(struct outlet *o);

#endif
