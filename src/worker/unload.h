/*
 * unload.h - a model that is wedged is taken out of the target's memory.
 *
 * What a runner of Ollama's that hangs, or whose slots have leaked, needs to
 * come back is the unload form of a request: {"model":…,"keep_alive":0}. One
 * at a time, at most LIMIT_UNLOAD_MS; whether it helped, the next run shows.
 */
#ifndef FOREMAN_WORKER_UNLOAD_H
#define FOREMAN_WORKER_UNLOAD_H

#include "base/attr.h"
#include "base/err.h"
#include "core/conf.h"
#include "http/loop.h"
#include "worker/target.h"

#include <stdbool.h>

struct unload;

/* `over` comes after each try; nothing else may be started from inside it. */
enum err unload_new(struct loop *l, const struct conf *conf, struct target *target,
                    void (*over)(void *arg), void *arg,
                    struct unload **out) MUST_CHECK;
void unload_free(struct unload *u); /* NULL is fine */

/* To be unloaded in the next step; the latest counts. */
void unload_want(struct unload *u, const char *model);

/* Nothing runs: unload what is wanted. True: it is under way, start nothing. */
bool unload_step(struct unload *u);

#endif
