/*
 * standby.h - which worker is the active one: who holds the lock.
 */
#ifndef FOREMAN_WORKER_STANDBY_H
#define FOREMAN_WORKER_STANDBY_H

#include "base/attr.h"
#include "base/err.h"
#include "store/gate.h"

/*
 * Become the active worker of the database at `db`: take the lock on `db`.worker,
 * and wait for it, without bound, while another has it. Signals come in by
 * `signals` (sig.h); of those that come meanwhile only the ones to leave count.
 * ERR_OK: gate_close *lock at the end. ERR_CLOSED: told to leave while waiting;
 * the process must end now. Anything else is trouble.
 */
enum err standby_wait(const char *db, int signals, struct gate **lock,
                      struct errtext *why) MUST_CHECK;

#endif
