/*
 * embed.h - the second slot: FOREMAN_EMBED_MODEL stays resident.
 *
 * When the target's /api/ps does not list it, it is loaded between two jobs,
 * by an embed of nothing with keep_alive -1; never while another load may be
 * pending, because two at once can wedge Ollama's scheduler. If it does not
 * stay (another model pushed it out, it does not exist), the next try waits
 * longer each time, so that the two slots do not fight over one memory.
 */
#ifndef FOREMAN_WORKER_EMBED_H
#define FOREMAN_WORKER_EMBED_H

#include "base/attr.h"
#include "base/err.h"
#include "core/conf.h"
#include "http/loop.h"
#include "worker/target.h"

#include <stdbool.h>

struct embed;

/* `over` comes after each try; nothing else may be started from inside it. */
enum err embed_new(struct loop *l, const struct conf *conf, struct target *target,
                   void (*over)(void *arg), void *arg,
                   struct embed **out) MUST_CHECK;
void embed_free(struct embed *e); /* NULL is fine */

/* Nothing runs: begin to load the embedder if it is wanted, missing and due.
 * True: it loads now (or still), start nothing else. */
bool embed_step(struct embed *e);

#endif
