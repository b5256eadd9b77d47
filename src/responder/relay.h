/*
 * relay.h - the responder's end of the relay: attaching, and the bell.
 *
 * Nothing here blocks. A worker that is not there is no error worth a word:
 * it looks at the database when it comes.
 */
#ifndef FOREMAN_RESPONDER_RELAY_H
#define FOREMAN_RESPONDER_RELAY_H

#include "base/attr.h"
#include "base/err.h"
#include "base/ulid.h"
#include "core/frame.h"
#include "http/loop.h"

/* Connect and say HELLO and ATTACH. */
enum err relay_attach(const char *path, const char id[ULID_SIZE],
                      enum frame_role role, int *out) MUST_CHECK;

/* Say NUDGE on such a connection. */
enum err relay_nudge(int fd) MUST_CHECK;

/*
 * The bell: one connection per process, kept open in a loop, for nudges and
 * cancels. It is made at the first ring and again when it was lost, not more
 * often than every LIMIT_RELAY_RETRY_MS.
 */
struct bell {
	const char *path;
	struct loop *loop;
	struct loop_fd *watch;
	int fd;
	int64_t retry_mono_ms; /* no connect before this */
};

void bell_init(struct bell *b, struct loop *loop, const char *path);
void bell_done(struct bell *b);
void bell_nudge(struct bell *b);
void bell_cancel(struct bell *b, const char id[ULID_SIZE]);

#endif
