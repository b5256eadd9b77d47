/*
 * standby.c - the lock that makes a worker the active one.
 *
 * flock(2) queues those who wait and frees the lock with its holder, however it
 * dies. A thread waits in it, for signals are to be heard meanwhile. It cannot
 * be called back: told to leave, it is left where it is and goes with the
 * process, so what it uses is static.
 */
#include <config.h>

#include "worker/standby.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/sig.h"

struct wait {
	struct gate *lock;
	enum err result;
	int done; /* an eventfd: the result is there */
};

static void *wait_for_lock(void *arg)
{
	struct wait *wait = arg;

	wait->result = gate_wait(wait->lock);
	(void)!eventfd_write(wait->done, 1);
	return NULL;
}

static bool told_to_leave(int signals)
{
	bool told = false;
	int number;

	while ((number = sig_next(signals)))
		told = told || number == SIGTERM || number == SIGINT;
	return told;
}

static enum err await_turn(int done, int signals)
{
	struct pollfd p[] = { { .fd = done, .events = POLLIN },
		                  { .fd = signals, .events = POLLIN } };

	while (!p[0].revents) {
		if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
			return ERR_IO;
		if (told_to_leave(signals))
			return ERR_CLOSED;
	}
	return ERR_OK;
}

/* The lock is the thread's until this has answered ERR_OK. */
static enum err stand_by(struct gate *lock, int signals, struct errtext *why)
{
	static struct wait wait;
	pthread_t thread;
	enum err e;

	wait = (struct wait){ .lock = lock, .done = eventfd(0, EFD_CLOEXEC) };
	if (wait.done < 0 || pthread_create(&thread, NULL, wait_for_lock, &wait) != 0) {
		errtext_set(why, "cannot wait for it: %s", strerror(errno));
		return ERR_IO;
	}
	e = await_turn(wait.done, signals);
	if (e) {
		pthread_detach(thread);
		return e;
	}
	pthread_join(thread, NULL);
	fd_close(&wait.done);
	return wait.result;
}

enum err standby_wait(const char *db, int signals, struct gate **lock,
                      struct errtext *why)
{
	struct gate *gate;
	char *path;
	enum err e;

	if (asprintf(&path, "%s.worker", db) < 0)
		return ERR_NOMEM;
	e = gate_open(path, &gate, why);
	free(path);
	if (e)
		return e;
	if (gate_take(gate, 0)) {
		log_event(LOG_INFO, "standby", KV_S("db", db));
		e = stand_by(gate, signals, why);
	}
	if (!e)
		*lock = gate;
	return e;
}
