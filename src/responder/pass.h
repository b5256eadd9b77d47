/*
 * pass.h - straight to the target, at once and beside the queue.
 *
 * The upstream path is the route's constant (behind which a model's name or a
 * digest may stand, made of harmless bytes), the body goes byte for byte, the
 * reply comes back as it comes: status, headers but the hop-by-hop ones, and
 * bytes. The client's own Authorization is never forwarded. Each call takes
 * its thread until the target's answer ends.
 */
#ifndef FOREMAN_RESPONDER_PASS_H
#define FOREMAN_RESPONDER_PASS_H

#include "responder/call.h"

/* May these bytes of a client go into the target's path? Only those of model
 * names and digests, in segments that begin with a letter, a digit or '_'. Pure. */
bool pass_name_ok(struct span name);

/* Handlers, for what the target may as well see twice. Unreachable: 503 with Retry-After. */
void pass_handle(struct call *c);
/* ... but /api/tags answers from the worker's last known list, and */
void pass_tags(struct call *c);
/* ... /api/ps that nothing is loaded, with "Foreman-Target: unreachable". */
void pass_ps(struct call *c);
/* Pull, push, blobs and the like: 403 unless FOREMAN_MODEL_ADMIN=allow. Neither
 * body is held in memory, nor bounded. */
void pass_admin(struct call *c);

/*
 * Is a good word that was read then (of the seat, on the monotonic clock) still
 * to be believed? Then the database need not be asked again: the worker looks
 * at the target far less often. A bad one is never remembered.
 */
bool pass_believes(int64_t read_mono_ms);

/* For handlers that have read the body and found that it needs no turn.
 * total_ms bounds the whole exchange; 0: no bound. */
void pass_through(struct call *c, int total_ms);
/* ... and that the target may as well see twice: reads and embeddings. So they
 * may go on the connection the thread has kept (xfer.h). */
void pass_again(struct call *c, int total_ms);

#endif
