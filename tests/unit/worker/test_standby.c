/*
 * test_standby.c - one worker is active; the next waits, until it may or must go.
 */
#include <config.h>

#include "worker/standby.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sig.h"
#include "t.h"

static struct {
	char dir[64], db[96], lock[112];
	int signals;
	struct gate *held; /* by the other worker */
} b;

static void set_up(void)
{
	strcpy(b.dir, "/tmp/foreman-standby-XXXXXX");
	if (!mkdtemp(b.dir))
		abort();
	snprintf(b.db, sizeof(b.db), "%s/x.db", b.dir);
	snprintf(b.lock, sizeof(b.lock), "%s.worker", b.db);
	b.signals = sig_open();
	if (b.signals < 0 || gate_open(b.lock, &b.held, NULL))
		abort();
}

static void tear_down(void)
{
	gate_close(b.held);
	fd_close(&b.signals);
	unlink(b.lock);
	rmdir(b.dir);
}

struct worker {
	pthread_t thread;
	enum err answer;
	struct gate *lock;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	w->answer = standby_wait(b.db, b.signals, &w->lock, NULL);
	return NULL;
}

static void worker_start(struct worker *w)
{
	*w = (struct worker){ .answer = ERR_BUSY };
	if (pthread_create(&w->thread, NULL, worker_main, w))
		abort();
}

static void the_first_worker_is_active_at_once(void)
{
	struct gate *lock = NULL;

	set_up();
	CHECK_INT(standby_wait(b.db, b.signals, &lock, NULL), ERR_OK);
	CHECK_INT(gate_take(b.held, 0), ERR_BUSY);
	gate_close(lock);
	CHECK_INT(gate_take(b.held, 0), ERR_OK);
	tear_down();
}

static void the_next_one_is_active_when_the_first_has_gone(void)
{
	struct worker w;

	set_up();
	REQUIRE(gate_take(b.held, 0) == ERR_OK);
	worker_start(&w);
	raise(SIGHUP); /* means nothing to one that waits */
	gate_give(b.held);
	pthread_join(w.thread, NULL);
	CHECK_INT(w.answer, ERR_OK);
	CHECK_INT(gate_take(b.held, 0), ERR_BUSY);
	gate_close(w.lock);
	tear_down();
}

static void where_no_lock_can_be_there_is_no_worker(void)
{
	struct errtext why = { "" };
	struct gate *lock = NULL;

	set_up();
	CHECK(standby_wait("/nonexistent/x.db", b.signals, &lock, &why) != ERR_OK);
	CHECK(why.s[0] && !lock);
	tear_down();
}

/* The last: the thread that waits is left behind. */
static void one_that_waits_can_be_told_to_leave(void)
{
	struct worker w;

	set_up();
	REQUIRE(gate_take(b.held, 0) == ERR_OK);
	worker_start(&w);
	kill(getpid(), SIGTERM);
	pthread_join(w.thread, NULL);
	CHECK_INT(w.answer, ERR_CLOSED);
	CHECK(!w.lock);
	tear_down();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(the_first_worker_is_active_at_once),
		T(the_next_one_is_active_when_the_first_has_gone),
		T(where_no_lock_can_be_there_is_no_worker),
		T(one_that_waits_can_be_told_to_leave),
	};

	sig_block_all();
	log_init("test", LOG_ERROR, LOG_LOGFMT);
	return t_run(cases, ARRAY_LEN(cases));
}
