/*
 * gate.c - one writer at a time: flock(2) with a bound on the wait.
 *
 * flock has no timeout, so a timer interrupts it: its signal goes to this
 * thread alone, has a handler that does nothing, and is unblocked only while
 * we wait. The timer repeats after the deadline, because the first signal may
 * come in the moment before flock blocks and would then be lost.
 * The kernel drops the lock with the process, however that ends.
 */
#include <config.h>

#include "store/gate.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#ifndef sigev_notify_thread_id /* older glibc has the field, not its name */
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define ALARM_SIGNAL (SIGRTMIN + 2)
#define ALARM_REPEAT_NS 2000000 /* once late, how often to interrupt */

struct gate {
	int fd;
	bool held;
};

enum err gate_open(const char *path, struct gate **out, struct errtext *why)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
	struct gate *g;

	if (fd < 0) {
		int e = errno;

		errtext_set(why, "cannot open '%s': %s", path, strerror(e));
		return err_of_errno(e);
	}
	g = calloc(1, sizeof(*g));
	if (!g) {
		fd_close(&fd);
		return ERR_NOMEM;
	}
	g->fd = fd;
	*out = g;
	return ERR_OK;
}

void gate_close(struct gate *g)
{
	if (!g)
		return;
	fd_close(&g->fd);
	free(g);
}

static void alarm_nothing(int signo)
{
	(void)signo; /* interrupting flock is all it is for */
}

static pthread_once_t alarm_once = PTHREAD_ONCE_INIT;

static void alarm_install(void)
{
	struct sigaction sa = { .sa_handler = alarm_nothing }; /* no SA_RESTART */

	sigemptyset(&sa.sa_mask);
	sigaction(ALARM_SIGNAL, &sa, NULL);
}

/* Have this thread interrupted in timeout_ms, and from then on until disarmed. */
static bool alarm_arm(timer_t *timer, int timeout_ms, sigset_t *old_mask)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID };
	struct itimerspec when = {
		.it_value = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L },
		.it_interval = { 0, ALARM_REPEAT_NS },
	};
	sigset_t set;

	pthread_once(&alarm_once, alarm_install);
	ev.sigev_signo = ALARM_SIGNAL;
	ev.sigev_notify_thread_id = gettid();
	if (timer_create(CLOCK_MONOTONIC, &ev, timer) != 0)
		return false;
	sigemptyset(&set);
	sigaddset(&set, ALARM_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, old_mask);
	timer_settime(*timer, 0, &when, NULL);
	return true;
}

/* Delete first: what already fired is then taken here, unblocked. */
static void alarm_disarm(timer_t timer, const sigset_t *old_mask)
{
	timer_delete(timer);
	pthread_sigmask(SIG_SETMASK, old_mask, NULL);
}

enum err gate_take(struct gate *g, int timeout_ms)
{
	int64_t deadline = clock_mono_us() + (int64_t)timeout_ms * 1000;
	enum err err = ERR_BUSY;
	sigset_t old_mask;
	timer_t timer;
	int rc;

	assert(!g->held);
	if (flock(g->fd, LOCK_EX | LOCK_NB) == 0) {
		g->held = true;
		return ERR_OK;
	}
	if (errno != EWOULDBLOCK && errno != EINTR)
		return ERR_IO;
	if (timeout_ms <= 0)
		return ERR_BUSY;
	if (!alarm_arm(&timer, timeout_ms, &old_mask))
		return ERR_IO; /* rather than a wait without bound */
	do {
		rc = flock(g->fd, LOCK_EX);
	} while (rc != 0 && errno == EINTR && clock_mono_us() < deadline);
	if (rc == 0) {
		g->held = true;
		err = ERR_OK;
	} else if (errno != EINTR) {
		err = ERR_IO;
	}
	alarm_disarm(timer, &old_mask);
	return err;
}

void gate_give(struct gate *g)
{
	assert(g->held);
	g->held = false;
	flock(g->fd, LOCK_UN);
}

enum err gate_wait(struct gate *g)
{
	int rc;

	assert(!g->held);
	do {
		rc = flock(g->fd, LOCK_EX);
	} while (rc != 0 && errno == EINTR);
	if (rc != 0)
		return ERR_IO;
	g->held = true;
	return ERR_OK;
}
