/*
 * group.h - many threads' submissions, one transaction.
 *
 * The first thread that finds no leader becomes it: it takes what waits,
 * commits it at once, wakes the others, and hands the lead to the first who
 * came meanwhile. One fsync then serves everybody who arrived during the last.
 */
#ifndef FOREMAN_STORE_GROUP_H
#define FOREMAN_STORE_GROUP_H

#include "store/outbox.h"
#include "store/queue.h"

struct group; /* owns a DB_WRITER connection and a thread; anyone may call */

enum err group_open(const struct db_conf *conf, const struct queue_limits *limits,
                    struct group **out, struct errtext *why) MUST_CHECK;
/* No thread may be inside; settles first. NULL is fine. */
void group_close(struct group *g);

/*
 * Returns when the submission is committed: on disk for an unattended job,
 * in the WAL for an attended one (its client is gone with the power anyway).
 * ERR_LIMIT: too many wait. ERR_STALE: its key was used before (sub->key).
 * ERR_FULL, ERR_BUSY: nothing was stored. ERR_IO: nobody
 * knows.
 * Waits at most LIMIT_SUBMIT_WAIT_MS for its turn (then ERR_BUSY, and it is
 * certain that nothing was or will be stored).
 */
enum err group_submit(struct group *g, struct submission *sub,
                      struct errtext *why) MUST_CHECK;

/*
 * The same without waiting: hand the submission in and go on. When it is
 * committed, or cannot be, `done` is called once with the answer in
 * sub->result, from the group's own thread (never from inside group_post). It
 * must not block, nor call into the group. The post and what it points to stay
 * untouched until then; `done` may free them.
 * ERR_BUSY: GROUP_POSTS_MAX are on their way already; the caller waits with
 * group_submit, which is what bounds the requests in hand. ERR_NOMEM.
 */
struct group_post {
	struct submission *sub;
	void (*done)(struct group_post *post, const struct errtext *why);
};

#define GROUP_POSTS_MAX 256

enum err group_post(struct group *g, struct group_post *post) MUST_CHECK;

/* Wait until all that was posted has been told; who posts must have stopped.
 * What `done` uses has to live until then. */
void group_settle(struct group *g);

/*
 * A batch (queue_submit_all) in turn with the submissions, in a transaction of
 * its own: on disk when this returns ERR_OK. Else nothing of it is stored, and
 * *at says which one's own result that is; `count`: it is nobody's, *why tells.
 * Those who come after it wait until it is done.
 */
enum err group_batch(struct group *g, struct submission *const *subs, size_t count,
                     size_t *at, struct errtext *why) MUST_CHECK;

/* Cancel through the group's connection, in turn with the submissions. */
enum err group_cancel(struct group *g, const char *id, int64_t now_ms,
                      enum queue_cancel_answer *out, struct errtext *why) MUST_CHECK;

/* Remove a job likewise (remove.h): when this returns it is gone, on disk. */
enum err group_remove(struct group *g, const char *id, struct errtext *why) MUST_CHECK;

/* Send webhooks again likewise (outbox_again). */
enum err group_again(struct group *g, struct outbox_wish *wish,
                     struct errtext *why) MUST_CHECK;

#endif
