/*
 * gate.h - one writer at a time, in turn, and a bound on the wait.
 *
 * SQLite's own busy handler naps and retries, which under load leaves some
 * writers waiting for seconds. So whoever writes takes flock(2) on a file
 * beside the database first: the kernel queues them. The same lock on another
 * file says which worker is the active one.
 */
#ifndef FOREMAN_STORE_GATE_H
#define FOREMAN_STORE_GATE_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>

struct gate; /* one per connection: flock belongs to the open file */

/* Opens (creating it, mode 0660) the file; takes nothing yet. */
enum err gate_open(const char *path, struct gate **out, struct errtext *why) MUST_CHECK;
void gate_close(struct gate *g); /* gives it back first if held; NULL is fine */

/* Wait up to timeout_ms (0: do not wait). ERR_BUSY: somebody kept it. */
enum err gate_take(struct gate *g, int timeout_ms) MUST_CHECK;
void gate_give(struct gate *g);

/* Block without bound; for the standby worker's own thread, which may be
 * left behind when the process exits. */
enum err gate_wait(struct gate *g) MUST_CHECK;

#endif
