/*
 * sig.c - which signals wait to be read, and the way back for a child.
 *
 * What stays true: nothing is interrupted and no handler runs. What a program
 * wants to know of waits on a descriptor, the rest of the usual ones is blocked
 * or ignored. Whoever is about to exec must undo that (sig_restore).
 */
#include <config.h>

#include "base/sig.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Writes past a closed peer or a file size limit answer EPIPE and EFBIG. */
static const int ignored[] = { SIGPIPE, SIGXFSZ };

/* Blocked and read. */
static const int read_here[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };

static void read_set(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_LEN(read_here); i++)
		sigaddset(set, read_here[i]);
}

static void set_all(const int *signals, size_t count, void (*to)(int))
{
	for (size_t i = 0; i < count; i++)
		signal(signals[i], to);
}

void sig_block_all(void)
{
	sigset_t set;

	set_all(ignored, ARRAY_LEN(ignored), SIG_IGN);
	/* a SIGCHLD that our parent ignored would hide our children's ends */
	set_all(read_here, ARRAY_LEN(read_here), SIG_DFL);
	read_set(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int sig_open(void)
{
	sigset_t set;

	read_set(&set);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int sig_next(int fd)
{
	struct signalfd_siginfo info;
	ssize_t n;

	do {
		n = read(fd, &info, sizeof(info));
	} while (n < 0 && errno == EINTR);
	return n == sizeof(info) ? (int)info.ssi_signo : 0;
}

void sig_restore(void)
{
	sigset_t none;

	set_all(ignored, ARRAY_LEN(ignored), SIG_DFL);
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
}
