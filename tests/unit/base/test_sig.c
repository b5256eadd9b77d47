/* test_sig.c - signals wait in a descriptor, and a child starts clean. */
#include <config.h>

#include "base/sig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

static int fd = -1;

static void signals_wait_to_be_read(void)
{
	static const int wanted[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	CHECK_INT(sig_next(fd), 0);
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		CHECK_INT(kill(getpid(), wanted[i]), 0);
		CHECK_INT(poll(&ready, 1, 10000), 1);
		CHECK_INT(sig_next(fd), wanted[i]);
		CHECK_INT(sig_next(fd), 0);
	}
}

static void several_signals_are_read_one_by_one(void)
{
	int seen = 0, n = 0, number;

	CHECK_INT(kill(getpid(), SIGTERM), 0);
	CHECK_INT(kill(getpid(), SIGHUP), 0);
	CHECK_INT(kill(getpid(), SIGHUP), 0);
	while ((number = sig_next(fd))) {
		seen |= 1 << number;
		n++;
	}
	CHECK_INT(n, 2);
	CHECK_INT(seen, 1 << SIGTERM | 1 << SIGHUP);
}

static void the_descriptor_neither_blocks_nor_leaks(void)
{
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_INT(sig_next(-1), 0);
}

static void *block_mask(void *arg)
{
	pthread_sigmask(SIG_BLOCK, NULL, arg);
	return NULL;
}

static void threads_made_later_block_them_too(void)
{
	static const int blocked[] = { SIGTERM, SIGINT,  SIGHUP,
		                           SIGCHLD, SIGUSR1, SIGUSR2 };
	pthread_t thread;
	sigset_t mask;

	REQUIRE(pthread_create(&thread, NULL, block_mask, &mask) == 0);
	pthread_join(thread, NULL);
	for (size_t i = 0; i < ARRAY_LEN(blocked); i++)
		CHECK(sigismember(&mask, blocked[i]) == 1);
	CHECK(sigismember(&mask, SIGSEGV) == 0);
}

static void a_closed_pipe_is_an_answer_not_a_death(void)
{
	int p[2];

	REQUIRE(pipe(p) == 0);
	close(p[0]);
	CHECK(write(p[1], "x", 1) == -1 && errno == EPIPE);
	close(p[1]);
	CHECK_INT(raise(SIGXFSZ), 0);
}

/* What a child says of itself after sig_restore: 0, or the first signal that
 * is not as it was. */
static int restored(void)
{
	struct sigaction now;
	sigset_t mask;

	sig_restore();
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	for (int i = 1; i < 32; i++) {
		if (sigismember(&mask, i) == 1)
			return i;
		if (sigaction(i, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
			return i;
	}
	return 0;
}

static void a_child_gets_everything_back(void)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0)
		_exit(restored());
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), 0);
	CHECK_INT(sig_next(fd), SIGCHLD);
}

static void a_restored_child_dies_of_sigterm(void)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		sig_restore();
		raise(SIGTERM);
		_exit(0);
	}
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	CHECK_INT(sig_next(fd), SIGCHLD);
}

static void children_are_seen_even_if_our_parent_ignored_its_own(void)
{
	int status = -1;
	pid_t child;

	signal(SIGCHLD, SIG_IGN);
	sig_block_all();
	child = fork();
	if (child == 0)
		_exit(7);
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
	CHECK_INT(WEXITSTATUS(status), 7);
	CHECK_INT(sig_next(fd), SIGCHLD);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(signals_wait_to_be_read),
		T(several_signals_are_read_one_by_one),
		T(the_descriptor_neither_blocks_nor_leaks),
		T(threads_made_later_block_them_too),
		T(a_closed_pipe_is_an_answer_not_a_death),
		T(a_child_gets_everything_back),
		T(a_restored_child_dies_of_sigterm),
		T(children_are_seen_even_if_our_parent_ignored_its_own),
	};

	/* who starts us in the background may have let some be ignored */
	signal(SIGHUP, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGQUIT, SIG_DFL);
	sig_block_all();
	fd = sig_open();
	if (fd < 0)
		return 1;
	return t_run(cases, ARRAY_LEN(cases));
}
