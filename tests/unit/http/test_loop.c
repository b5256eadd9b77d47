/*
 * test_loop.c - what fires, in which order, and that nothing is called after
 * it was removed. Timers run on the real clock; nothing here asks how long
 * something took, only what came before what.
 */
#include <config.h>

#include "http/loop.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "t.h"

/* Everything that happens writes a letter. */
static char story[64];
static size_t told;

static void tell(char c)
{
	if (told < sizeof(story) - 1)
		story[told++] = c;
	story[told] = '\0';
}

static void begin(void)
{
	told = 0;
	story[0] = '\0';
}

struct actor {
	struct loop *loop;
	char letter;
	int fd;
	struct loop_fd *watch;
	struct loop_timer timer;
	struct actor *other;
	int again;             /* how often to set itself again */
};

static void tells(void *arg)
{
	tell(((struct actor *)arg)->letter);
}

static void actor_init(struct actor *a, struct loop *l, char letter,
                       loop_timer_fn *fn)
{
	*a = (struct actor){ .loop = l, .letter = letter, .fd = -1 };
	loop_timer_init(&a->timer, fn, a);
}

/* Turn until `count` letters were told; a loop that lost one stands still, and
 * the test's frame ends it. */
static void turn_until(struct loop *l, size_t count)
{
	while (told < count)
		if (loop_turn(l, -1, NULL))
			abort();
}

/* --- timers ----------------------------------------------------------------- */

/* Set from within a turn, so that all count from one and the same moment. */
static const int delays[] = { 30, 0, 20, 10, 0, 20 };
static struct actor several[ARRAY_LEN(delays)];

static void sets_several(void *arg)
{
	struct actor *a = arg;

	for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
		actor_init(&several[i], a->loop, (char)('a' + (int)i), tells);
		loop_timer_set(a->loop, &several[i].timer, delays[i]);
	}
}

static void timers_fire_in_the_order_they_are_due(void)
{
	struct actor a;
	struct loop *l;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	actor_init(&a, l, '-', sets_several);
	loop_timer_set(l, &a.timer, 0);
	turn_until(l, ARRAY_LEN(delays));
	CHECK_STR(story, "bedcfa"); /* equal ones as they were set */
	for (size_t i = 0; i < ARRAY_LEN(delays); i++)
		CHECK(!several[i].timer.armed);
	loop_free(l);
}

static void a_timer_fires_once_and_not_early(void)
{
	struct actor a;
	struct loop *l;
	int64_t due;
	bool busy = false;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	actor_init(&a, l, 'a', tells);
	due = clock_mono_ms() + 5;
	loop_timer_set(l, &a.timer, 5);
	while (!busy)
		CHECK_INT(loop_turn(l, -1, &busy), ERR_OK);
	CHECK(clock_mono_ms() >= due);
	CHECK_INT(loop_turn(l, 0, &busy), ERR_OK);
	CHECK(!busy);
	CHECK_STR(story, "a");
	loop_free(l);
}

static void sets_again_and_stops(void *arg)
{
	struct actor *a = arg;

	sets_several(a);
	loop_timer_set(a->loop, &several[1].timer, 40);
	loop_timer_set(a->loop, &several[0].timer, 5);
	loop_timer_stop(&several[2].timer);
	loop_timer_stop(&several[2].timer);
}

static void a_timer_set_again_or_stopped_does_not_fire_twice(void)
{
	struct actor a;
	struct loop *l;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	actor_init(&a, l, '-', sets_again_and_stops);
	loop_timer_set(l, &a.timer, 0);
	turn_until(l, ARRAY_LEN(delays) - 1);
	CHECK_STR(story, "eadfb");
	loop_free(l);
}

static void sets_itself(void *arg)
{
	struct actor *a = arg;

	tell(a->letter);
	if (a->again-- > 0)
		loop_timer_set(a->loop, &a->timer, 0);
}

static void a_timer_that_sets_itself_at_once_waits_for_the_next_turn(void)
{
	struct actor a;
	struct loop *l;
	bool busy;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	actor_init(&a, l, 'a', sets_itself);
	a.again = 2;
	loop_timer_set(l, &a.timer, -5); /* as 0 */
	for (size_t turns = 1; turns <= 3; turns++) {
		CHECK_INT(loop_turn(l, -1, &busy), ERR_OK);
		CHECK(busy);
		CHECK_INT(told, turns);
	}
	CHECK(!a.timer.armed);
	loop_free(l);
}

static void stops_the_other(void *arg)
{
	struct actor *a = arg;

	tell(a->letter);
	loop_timer_stop(&a->other->timer);
}

static void a_due_timer_can_still_be_stopped_by_one_before_it(void)
{
	struct actor a, b;
	struct loop *l;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	actor_init(&a, l, 'a', stops_the_other);
	actor_init(&b, l, 'b', tells);
	a.other = &b;
	loop_timer_set(l, &a.timer, 0);
	loop_timer_set(l, &b.timer, 0);
	CHECK_INT(loop_turn(l, -1, NULL), ERR_OK);
	CHECK_STR(story, "a");
	CHECK(!b.timer.armed);
	loop_free(l);
}

static void frees_itself(void *arg)
{
	struct actor *a = arg;

	tell(a->letter);
	free(a);
}

static void a_timer_may_go_in_its_own_call(void)
{
	struct actor *a = malloc(sizeof(*a));
	struct loop *l;

	begin();
	REQUIRE(a && loop_new(&l) == ERR_OK);
	actor_init(a, l, 'a', frees_itself);
	loop_timer_set(l, &a->timer, 0);
	turn_until(l, 1);
	loop_free(l);
}

static void a_delay_beyond_all_time_does_not_wrap_around(void)
{
	struct actor a, b;
	struct loop *l;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	actor_init(&a, l, 'a', tells);
	actor_init(&b, l, 'b', tells);
	loop_timer_set(l, &a.timer, INT64_MAX);
	CHECK_INT(loop_turn(l, 0, NULL), ERR_OK);
	loop_timer_set(l, &b.timer, 1);
	turn_until(l, 1);
	CHECK_STR(story, "b");
	loop_timer_stop(&a.timer);
	loop_free(l);
}

static void a_turn_does_not_wait_longer_than_for_the_next_timer(void)
{
	struct actor a;
	struct loop *l;
	bool busy = false;

	REQUIRE(loop_new(&l) == ERR_OK);
	begin();
	actor_init(&a, l, 'a', tells);
	loop_timer_set(l, &a.timer, 1);
	while (!busy) /* a wait may end a moment early */
		REQUIRE(loop_turn(l, 3600 * 1000, &busy) == ERR_OK);
	CHECK_STR(story, "a");
	loop_free(l);
}

static void a_turn_does_not_wait_longer_than_asked(void)
{
	struct actor a;
	struct loop *l;
	bool busy = true;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	actor_init(&a, l, 'a', tells);
	loop_timer_set(l, &a.timer, 3600 * 1000);
	CHECK_INT(loop_turn(l, 0, &busy), ERR_OK);
	CHECK(!busy);
	CHECK_INT(loop_turn(l, 1, &busy), ERR_OK);
	CHECK(!busy);
	loop_timer_stop(&a.timer);
	loop_free(l);
}

/* --- descriptors ------------------------------------------------------------ */

static bool watch(struct actor *a, struct loop *l, char letter, loop_fd_fn *fn)
{
	actor_init(a, l, letter, tells);
	a->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return a->fd >= 0 &&
	       loop_fd_add(l, a->fd, EPOLLIN, fn, a, &a->watch) == ERR_OK;
}

static void unwatch(struct actor *a)
{
	loop_fd_del(a->watch);
	a->watch = NULL;
	fd_close(&a->fd);
}

static void ring(struct actor *a)
{
	if (eventfd_write(a->fd, 1) != 0)
		abort();
}

static void hears(void *arg, uint32_t events)
{
	struct actor *a = arg;
	eventfd_t n;

	if (!(events & EPOLLIN) || eventfd_read(a->fd, &n) != 0)
		abort();
	tell(a->letter);
}

static void hears_and_keeps(void *arg, uint32_t events)
{
	(void)events;
	tell(((struct actor *)arg)->letter);
}

static void a_descriptor_is_called_while_it_has_something(void)
{
	struct actor a;
	struct loop *l;
	bool busy;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	REQUIRE(watch(&a, l, 'a', hears_and_keeps));
	CHECK_INT(loop_turn(l, 0, &busy), ERR_OK);
	CHECK(!busy);
	ring(&a);
	CHECK_INT(loop_turn(l, -1, &busy), ERR_OK);
	CHECK(busy);
	CHECK_INT(loop_turn(l, -1, NULL), ERR_OK); /* level-triggered */
	CHECK_STR(story, "aa");
	unwatch(&a);
	CHECK_INT(loop_turn(l, 0, &busy), ERR_OK);
	CHECK(!busy);
	loop_free(l);
}

/* It is further off than an int of milliseconds is long. */
static void a_timer_of_next_month_keeps_nobody_from_being_heard(void)
{
	struct actor a;
	struct loop *l;
	bool busy = false;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	REQUIRE(watch(&a, l, 'a', hears));
	loop_timer_set(l, &a.timer, INT64_C(1) << 33);
	ring(&a);
	CHECK_INT(loop_turn(l, -1, &busy), ERR_OK);
	CHECK(busy);
	CHECK_STR(story, "a");
	loop_timer_stop(&a.timer);
	unwatch(&a);
	loop_free(l);
}

static void what_is_wanted_can_change(void)
{
	struct actor a;
	struct loop *l;
	bool busy;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	REQUIRE(watch(&a, l, 'a', hears));
	ring(&a);
	loop_fd_want(a.watch, 0);
	CHECK_INT(loop_turn(l, 0, &busy), ERR_OK);
	CHECK(!busy);
	loop_fd_want(a.watch, EPOLLIN);
	loop_fd_want(a.watch, EPOLLIN);
	turn_until(l, 1);
	unwatch(&a);
	loop_free(l);
}

static void removes_the_other(void *arg, uint32_t events)
{
	struct actor *a = arg;

	(void)events;
	tell(a->letter);
	loop_fd_del(a->other->watch);
	a->other->watch = NULL;
	loop_fd_del(a->watch);
	a->watch = NULL;
}

static void who_was_removed_is_not_called_though_it_had_fired(void)
{
	struct actor a, b;
	struct loop *l;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	REQUIRE(watch(&a, l, 'a', removes_the_other));
	REQUIRE(watch(&b, l, 'b', removes_the_other));
	a.other = &b;
	b.other = &a;
	ring(&a);
	ring(&b);
	CHECK_INT(loop_turn(l, -1, NULL), ERR_OK);
	CHECK_INT(told, 1); /* whichever came first */
	CHECK(!a.watch && !b.watch);
	loop_fd_del(NULL);
	fd_close(&a.fd);
	fd_close(&b.fd);
	loop_free(l);
}

static void hangs_up(void *arg, uint32_t events)
{
	struct actor *a = arg;

	tell(events & EPOLLHUP ? a->letter : '?');
	unwatch(a);
}

static void a_hang_up_is_told_unasked(void)
{
	struct actor a;
	struct loop *l;
	int ends[2];

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	REQUIRE(pipe(ends) == 0);
	actor_init(&a, l, 'a', tells);
	a.fd = ends[0];
	REQUIRE(loop_fd_add(l, a.fd, 0, hangs_up, &a, &a.watch) == ERR_OK);
	fd_close(&ends[1]);
	turn_until(l, 1);
	CHECK_STR(story, "a");
	loop_free(l);
}

static void a_descriptor_that_cannot_be_watched_is_an_error(void)
{
	struct loop_fd *f = NULL;
	struct loop *l;

	REQUIRE(loop_new(&l) == ERR_OK);
	CHECK_INT(loop_fd_add(l, -1, EPOLLIN, hears, NULL, &f), ERR_IO);
	CHECK(!f);
	loop_free(l);
}

static void more_descriptors_than_fit_a_turn_are_all_heard(void)
{
	enum { MANY = 200 };
	static struct actor a[MANY];
	struct loop *l;
	size_t i;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	for (i = 0; i < MANY; i++) {
		REQUIRE(watch(&a[i], l, 'x', hears));
		ring(&a[i]);
	}
	for (i = 0; i < 4; i++)
		CHECK_INT(loop_turn(l, -1, NULL), ERR_OK);
	for (i = 0; i < MANY; i++) {
		eventfd_t n;

		CHECK(eventfd_read(a[i].fd, &n) != 0); /* emptied by its handler */
		unwatch(&a[i]);
	}
	loop_free(l);
}

static void sets_the_others_timer(void *arg, uint32_t events)
{
	struct actor *a = arg;

	hears(a, events);
	loop_timer_set(a->loop, &a->other->timer, 0);
}

static void handlers_come_before_timers_and_set_them_for_the_next_turn(void)
{
	struct actor a, b, c;
	struct loop *l;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	REQUIRE(watch(&a, l, 'a', sets_the_others_timer));
	actor_init(&b, l, 'b', tells);
	actor_init(&c, l, 'c', tells);
	a.other = &b;
	loop_timer_set(l, &c.timer, 0);
	ring(&a);
	CHECK_INT(loop_turn(l, -1, NULL), ERR_OK);
	CHECK_STR(story, "ac");
	CHECK_INT(loop_turn(l, -1, NULL), ERR_OK);
	CHECK_STR(story, "acb");
	unwatch(&a);
	loop_free(l);
}

/* --- the loop itself -------------------------------------------------------- */

static int64_t seen_ms[2];

static void sees_the_time(void *arg)
{
	struct actor *a = arg;

	seen_ms[a->letter - 'a'] = loop_now_ms(a->loop);
	if (a->letter == 'a')
		while (clock_mono_ms() <= seen_ms[0])
			; /* the clock moves on; the turn's time does not */
	tell(a->letter);
}

static void the_time_stands_still_for_a_turn(void)
{
	struct actor a, b;
	struct loop *l;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	actor_init(&a, l, 'a', sees_the_time);
	actor_init(&b, l, 'b', sees_the_time);
	loop_timer_set(l, &a.timer, 0);
	loop_timer_set(l, &b.timer, 0);
	CHECK_INT(loop_turn(l, -1, NULL), ERR_OK);
	CHECK_STR(story, "ab");
	CHECK_INT(seen_ms[0], seen_ms[1]);
	CHECK(loop_now_ms(l) > seen_ms[0]);
	loop_free(l);
}

static void destroys(void *p)
{
	struct actor *a = p;

	unwatch(a); /* the loop still works */
	tell('d');
}

static void what_is_attached_goes_with_the_loop(void)
{
	struct actor a;
	struct loop *l;

	begin();
	REQUIRE(loop_new(&l) == ERR_OK);
	CHECK(!loop_attached(l));
	REQUIRE(watch(&a, l, 'a', hears));
	loop_attach(l, &a, destroys);
	CHECK(loop_attached(l) == &a);
	loop_free(l);
	CHECK_STR(story, "d");
	loop_free(NULL);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(timers_fire_in_the_order_they_are_due),
		T(a_timer_fires_once_and_not_early),
		T(a_timer_set_again_or_stopped_does_not_fire_twice),
		T(a_timer_that_sets_itself_at_once_waits_for_the_next_turn),
		T(a_due_timer_can_still_be_stopped_by_one_before_it),
		T(a_timer_may_go_in_its_own_call),
		T(a_delay_beyond_all_time_does_not_wrap_around),
		T(a_turn_does_not_wait_longer_than_for_the_next_timer),
		T(a_timer_of_next_month_keeps_nobody_from_being_heard),
		T(a_turn_does_not_wait_longer_than_asked),
		T(a_descriptor_is_called_while_it_has_something),
		T(what_is_wanted_can_change),
		T(who_was_removed_is_not_called_though_it_had_fired),
		T(a_hang_up_is_told_unasked),
		T(a_descriptor_that_cannot_be_watched_is_an_error),
		T(more_descriptors_than_fit_a_turn_are_all_heard),
		T(handlers_come_before_timers_and_set_them_for_the_next_turn),
		T(the_time_stands_still_for_a_turn),
		T(what_is_attached_goes_with_the_loop),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
