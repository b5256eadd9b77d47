/*
 * slot.h - the target's two slots and who looks after them: the embedder's
 * loading and a wedged model's unloading, both told of in `over`.
 */
#ifndef FOREMAN_TESTS_SLOT_H
#define FOREMAN_TESTS_SLOT_H

#include "worker/embed.h"
#include "worker/unload.h"

#include "world.h"

struct slot {
	struct world w;
	struct target *target;
	struct embed *embed;
	struct unload *unload;
	int over;
};

static void slot_changed(void *arg)
{
	(void)arg;
}

static void slot_over(void *arg)
{
	struct slot *s = arg;

	s->over++;
}

static inline bool slot_begin(struct slot *s, const char *extra)
{
	*s = (struct slot){ .over = 0 };
	if (!world_begin(&s->w, extra))
		return false;
	CHECK(target_new(s->w.loop, s->w.db, &s->w.conf, slot_changed, s,
	                 &s->target) == ERR_OK);
	CHECK(embed_new(s->w.loop, &s->w.conf, s->target, slot_over, s, &s->embed) ==
	      ERR_OK);
	return CHECK(unload_new(s->w.loop, &s->w.conf, s->target, slot_over, s,
	                        &s->unload) == ERR_OK);
}

static inline void slot_end(struct slot *s)
{
	unload_free(s->unload);
	embed_free(s->embed);
	target_free(s->target);
	world_end(&s->w);
}

#endif
