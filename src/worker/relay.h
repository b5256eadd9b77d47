/*
 * relay.h - the worker's end of the relay: responders, on a local socket.
 *
 *   connection:  new ──HELLO──► greeted ──ATTACH──► waiting ──run──► reading
 *                                                      ▲               │
 *                                                      └─ run went back ┤
 *                                                         with nothing  ▼
 *                                                         shown       ended
 *
 * One connection belongs to one client and one job at most; NUDGE and CANCEL
 * may come on any. The relay is only speed: nothing is kept here that the
 * database does not know.
 *
 * The callbacks come from inside the connections' handlers: they may call
 * back into the relay, and must not start or stop transfers.
 */
#ifndef FOREMAN_WORKER_RELAY_H
#define FOREMAN_WORKER_RELAY_H

#include "base/attr.h"
#include "base/err.h"
#include "core/frame.h"
#include "http/loop.h"
#include "worker/reply.h"

#include <stdbool.h>

struct relay;

struct relay_calls {
	void (*nudge)(void *arg);
	/* Somebody waits for this job; no reply of it is there to be read. */
	void (*attached)(void *arg, const char *id, enum frame_role role);
	/* The owner left before the reply's end: its job is to be canceled. */
	void (*gone)(void *arg, const char *id);
	void (*cancel)(void *arg, const char *id);
};

/*
 * Serve the listening socket `listen_fd`, bound at `path`, both the caller's.
 * Who may connect: the same user, root, and, as long as others have no
 * permission on the socket, whoever could open it (its group).
 */
enum err relay_new(struct loop *l, int listen_fd, const char *path,
                   struct replies *replies, const struct relay_calls *calls,
                   void *arg, struct relay **out) MUST_CHECK;
void relay_free(struct relay *r); /* closes every connection; NULL is fine */

/* Take in what has arrived, without waiting: new connections, and the first
 * words of those that are not attached yet. After it, a client that attached
 * before it inserted its job is known. False: some could not be accepted, and
 * are not known; try later. Not from a callback. */
bool relay_catch_up(struct relay *r);

bool relay_has_owner(const struct relay *r, const char *id);

/* Everybody waiting for this job reads this reply. */
void relay_bind(struct relay *r, const char *id, struct reply *reply);

/* The run went back: readers that saw nothing wait for the next one. Call
 * before reply_withdraw and reply_end. */
void relay_unbind(struct relay *r, const char *id);

/* Nothing will come for those who wait for this job: END_REFUSED. */
void relay_refuse(struct relay *r, const char *id, uint16_t status,
                  const char *text);

/* Every id that is waited for, once per connection. `fn` may refuse it. */
void relay_each_waiting(struct relay *r, void (*fn)(void *arg, const char *id),
                        void *arg);

#endif
