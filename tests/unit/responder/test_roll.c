/*
 * test_roll.c - who leaves is off the roll at once, and freed when it is swept.
 */
#include <config.h>

#include "responder/roll.h"

#include <stdlib.h>

#include "base/attr.h"
#include "t.h"

static struct rolled *come(struct roll *r)
{
	struct rolled *who = calloc(1, sizeof(*who));

	if (!who)
		abort();
	roll_add(r, who);
	return who;
}

static void the_newest_is_the_first(void)
{
	struct roll r = { 0 };
	struct rolled *a = come(&r), *b = come(&r), *c = come(&r);

	CHECK_INT(r.count, 3);
	CHECK(r.first == c && c->next == b && b->next == a && !a->next);
	CHECK(!c->prev && b->prev == c && a->prev == b);
	while (r.first)
		roll_leave(&r, r.first);
	roll_sweep(&r);
	CHECK_INT(r.count, 0);
}

static void anybody_may_leave_from_any_place(void)
{
	for (int place = 0; place < 3; place++) {
		struct roll r = { 0 };
		struct rolled *all[3] = { come(&r), come(&r), come(&r) };

		CHECK(roll_leave(&r, all[place]));
		CHECK(all[place]->gone);
		CHECK_INT(r.count, 2);
		for (struct rolled *w = r.first; w; w = w->next)
			CHECK(w != all[place] && !w->gone && (!w->next || w->next->prev == w));
		CHECK(!roll_leave(&r, all[place])); /* only once */
		CHECK_INT(r.count, 2);
		while (r.first)
			roll_leave(&r, r.first);
		roll_sweep(&r);
		CHECK(!r.first && !r.gone);
	}
}

static void who_left_is_there_until_the_sweep(void)
{
	struct roll r = { 0 };
	struct rolled *a = come(&r);

	roll_leave(&r, a);
	CHECK(!r.first && r.gone == a);
	CHECK(a->gone);
	roll_sweep(&r);
	CHECK(!r.gone);
	roll_sweep(&r);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(the_newest_is_the_first),
		T(anybody_may_leave_from_any_place),
		T(who_left_is_there_until_the_sweep),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
