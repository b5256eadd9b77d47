/*
 * test_keeper.c - notes come in order, and the thread ends when all have gone.
 */
#include <config.h>

#include "responder/keeper.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/attr.h"
#include "base/fd.h"
#include "t.h"

#define PATIENCE_MS 10000 /* what never comes fails a case after this */
#define THREADS 4
#define EACH 100

struct note {
	struct keeper_note link;
	int number;
};

/* A keeper whose clients are numbers: each stays until it is let go. */
static struct {
	struct keeper keeper;
	int told;    /* an eventfd: counts what was called */
	size_t here; /* the rest is the keeper's until it has ended */
	int taken[THREADS * EACH];
	size_t count;
	int wakings, dismissals, endings, dropped;
	bool lets_go; /* by a wake-up */
} b;

static void tell(void)
{
	if (eventfd_write(b.told, 1))
		abort();
}

static void take(void *arg, struct keeper_note *note)
{
	struct note *n = (struct note *)note;

	if (arg != &b || b.count == ARRAY_LEN(b.taken))
		abort();
	b.taken[b.count++] = n->number;
	b.here++;
	free(n);
	tell();
}

static void woken(void *arg)
{
	(void)arg;
	b.wakings++;
	if (b.lets_go)
		b.here = 0;
}

static void dismiss(void *arg)
{
	(void)arg;
	b.dismissals++;
	b.here = 0;
	tell();
}

static size_t turned(void *arg)
{
	(void)arg;
	return b.here;
}

static void ended(void *arg)
{
	(void)arg;
	b.endings++;
}

static void drop(struct keeper_note *note)
{
	b.dropped++;
	free(note);
}

static const struct keeper_calls calls = {
	.name = "foreman-test",
	.take = take,
	.woken = woken,
	.dismiss = dismiss,
	.turned = turned,
	.ended = ended,
	.drop = drop,
};

static void set_up(void)
{
	b.here = b.count = 0;
	b.wakings = b.dismissals = b.endings = b.dropped = 0;
	b.lets_go = false;
	b.told = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	if (b.told < 0 || keeper_init(&b.keeper, &calls, &b))
		abort();
}

static void start(void)
{
	if (keeper_start(&b.keeper))
		abort();
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, PATIENCE_MS) == 1;
}

/* Wait until so many calls were made. */
static void heard(int times)
{
	eventfd_t n;

	while (times--)
		if (!CHECK(readable(b.told)) || eventfd_read(b.told, &n))
			abort();
}

static void put(int number)
{
	struct note *n = malloc(sizeof(*n));

	if (!n)
		abort();
	n->number = number;
	keeper_put(&b.keeper, &n->link);
}

static void tear_down(void)
{
	keeper_close(&b.keeper);
	CHECK(readable(keeper_ended_fd(&b.keeper)));
	keeper_join(&b.keeper);
	CHECK_INT(b.endings, 1);
	keeper_done(&b.keeper);
	fd_close(&b.told);
}

static void notes_are_taken_in_the_order_they_came(void)
{
	set_up();
	for (int i = 0; i < 10; i++)
		put(i); /* before there is a thread, too */
	start();
	for (int i = 10; i < 20; i++)
		put(i);
	heard(20);
	keeper_drain(&b.keeper, 0);
	tear_down();
	CHECK_INT(b.count, 20);
	for (int i = 0; i < 20; i++)
		CHECK_INT(b.taken[i], i);
}

static void a_closed_keeper_ends_when_the_last_one_has_left(void)
{
	struct pollfd p;

	set_up();
	start();
	put(1);
	heard(1);
	keeper_close(&b.keeper);
	p = (struct pollfd){ .fd = keeper_ended_fd(&b.keeper), .events = POLLIN };
	CHECK_INT(poll(&p, 1, 0), 0);
	keeper_drain(&b.keeper, 0);
	tear_down();
	CHECK_INT(keeper_count(&b.keeper), 0);
}

static void who_comes_behind_the_drain_is_let_go_as_well(void)
{
	set_up();
	start();
	keeper_drain(&b.keeper, 1);
	heard(1);
	put(1);
	heard(2); /* taken, and dismissed */
	tear_down();
	CHECK_INT(b.count, 1);
	CHECK(b.dismissals >= 2);
}

static void a_drain_can_be_shortened(void)
{
	set_up();
	start();
	put(1);
	heard(1);
	keeper_drain(&b.keeper, 3600000);
	keeper_drain(&b.keeper, 0);
	heard(1);
	tear_down();
}

static void a_wake_up_is_seen_to_without_a_note(void)
{
	set_up();
	put(1);
	b.lets_go = true;
	start();
	keeper_wake(&b.keeper);
	tear_down();
	CHECK(b.wakings > 0);
	CHECK_INT(b.dismissals, 0);
}

static void what_nobody_took_is_dropped(void)
{
	set_up();
	put(1);
	put(2);
	keeper_done(&b.keeper);
	CHECK_INT(b.dropped, 2);
	CHECK_INT(b.count + (size_t)b.endings, 0);
	fd_close(&b.told);
}

static void *put_many(void *arg)
{
	for (int i = 0; i < EACH; i++)
		put(*(int *)arg + i);
	return NULL;
}

static void many_threads_may_leave_notes_at_once(void)
{
	int first[THREADS], last[THREADS] = { 0 };
	pthread_t threads[THREADS];

	set_up();
	start();
	for (int i = 0; i < THREADS; i++) {
		first[i] = 1000 * (i + 1);
		if (pthread_create(&threads[i], NULL, put_many, &first[i]))
			abort();
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	heard(THREADS * EACH);
	keeper_drain(&b.keeper, 0);
	tear_down();
	CHECK_INT(b.count, THREADS * EACH);
	for (size_t i = 0; i < b.count; i++) { /* each thread's in its order */
		int *before = &last[b.taken[i] / 1000 - 1];

		CHECK(b.taken[i] > *before);
		*before = b.taken[i];
	}
}

int main(void)
{
	static const struct t_case cases[] = {
		T(notes_are_taken_in_the_order_they_came),
		T(a_closed_keeper_ends_when_the_last_one_has_left),
		T(who_comes_behind_the_drain_is_let_go_as_well),
		T(a_drain_can_be_shortened),
		T(a_wake_up_is_seen_to_without_a_note),
		T(what_nobody_took_is_dropped),
		T(many_threads_may_leave_notes_at_once),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
