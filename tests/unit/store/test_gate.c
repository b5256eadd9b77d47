/*
 * test_gate.c - the write gate between connections, threads and processes.
 */
#include <config.h>

#include "store/gate.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "t.h"

static char path[96];

/* --- what the system answers ------------------------------------------------ */

static const int *flock_answers; /* errnos, in turn; 0: from here on the truth */
static bool no_timers;

int flock(int fd, int how)
{
	if (flock_answers && *flock_answers) {
		errno = *flock_answers++;
		return -1;
	}
	return (int)syscall(SYS_flock, fd, how);
}

int timer_settime(timer_t timer, int flags, const struct itimerspec *when,
                  struct itimerspec *before)
{
	int kernels = (int)(intptr_t)timer;

	return (int)syscall(SYS_timer_settime, kernels, flags, when, before);
}

int timer_delete(timer_t timer)
{
	return (int)syscall(SYS_timer_delete, (int)(intptr_t)timer);
}

int timer_create(clockid_t clock, struct sigevent *ev, timer_t *out)
{
	int timer;

	if (no_timers) {
		errno = EAGAIN;
		return -1;
	}
	if (syscall(SYS_timer_create, clock, ev, &timer) != 0)
		return -1;
	*out = (timer_t)(intptr_t)timer;
	return 0;
}

/* --- the gate ---------------------------------------------------------------- */

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");
	int fd;

	snprintf(path, sizeof(path), "%.60s/foreman-XXXXXX", tmp ? tmp : "/tmp");
	fd = mkstemp(path);
	close(fd);
	unlink(path);
}

static struct gate *opened(void)
{
	struct gate *g = NULL;

	if (gate_open(path, &g, NULL) != ERR_OK)
		abort();
	return g;
}

static void a_free_gate_is_taken_at_once(void)
{
	struct gate *g;
	struct stat st;

	setup();
	umask(0);
	g = opened();
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_mode & 07777, 0660);
	CHECK_INT(gate_take(g, 0), ERR_OK);
	gate_give(g);
	CHECK_INT(gate_take(g, 1000), ERR_OK);
	gate_close(g);
	unlink(path);
}

static void a_taken_gate_stays_closed_to_another_connection(void)
{
	struct gate *a, *b;

	setup();
	a = opened();
	b = opened();
	CHECK_INT(gate_take(a, 0), ERR_OK);
	CHECK_INT(gate_take(b, 0), ERR_BUSY);
	gate_give(a);
	CHECK_INT(gate_take(b, 0), ERR_OK);
	gate_close(a);
	gate_close(b);
	unlink(path);
}

static void closing_gives_it_back(void)
{
	struct gate *a, *b;

	setup();
	a = opened();
	b = opened();
	CHECK_INT(gate_take(a, 0), ERR_OK);
	gate_close(a);
	CHECK_INT(gate_take(b, 0), ERR_OK);
	gate_close(b);
	gate_close(NULL);
	unlink(path);
}

static void a_file_that_cannot_be_opened_says_why(void)
{
	static const struct {
		const char *path, *why;
		enum err want;
	} cases[] = {
		{ "/nonexistent/gate",
		  "cannot open '/nonexistent/gate': No such file or "
		  "directory",
		  ERR_NOENT },
		{ "/dev/null/gate", "cannot open '/dev/null/gate': Not a directory",
		  ERR_NOENT },
		{ "/", "cannot open '/': Is a directory", ERR_IO },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct errtext why = { "" };
		struct gate *g = NULL;

		CHECK_INT(gate_open(cases[i].path, &g, &why), cases[i].want);
		CHECK_STR(why.s, cases[i].why);
		CHECK(!g);
	}
}

static void a_signal_does_not_end_the_wait(void)
{
	static const int once[] = { EINTR, 0 };
	static const int later[] = { EWOULDBLOCK, EINTR, EINTR, 0 };
	struct gate *g;

	setup();
	g = opened();
	flock_answers = once;
	CHECK_INT(gate_wait(g), ERR_OK);
	gate_give(g);
	flock_answers = once;
	CHECK_INT(gate_take(g, 60000), ERR_OK);
	gate_give(g);
	flock_answers = later;
	CHECK_INT(gate_take(g, 60000), ERR_OK);
	CHECK_INT(*flock_answers, 0);
	gate_close(g);
	unlink(path);
}

static void a_lock_that_fails_is_not_taken_for_a_busy_one(void)
{
	static const int at_once[] = { ENOLCK, 0 };
	static const int later[] = { EWOULDBLOCK, ENOLCK, 0 };
	struct gate *g;

	setup();
	g = opened();
	flock_answers = at_once;
	CHECK_INT(gate_take(g, 60000), ERR_IO);
	flock_answers = later;
	CHECK_INT(gate_take(g, 60000), ERR_IO);
	flock_answers = at_once;
	CHECK_INT(gate_wait(g), ERR_IO);
	CHECK_INT(gate_take(g, 0), ERR_OK); /* none of them left it held */
	gate_close(g);
	unlink(path);
}

static void without_a_timer_nobody_waits_without_bound(void)
{
	static const int busy[] = { EWOULDBLOCK, 0 };
	struct gate *g;

	setup();
	g = opened();
	no_timers = true;
	flock_answers = busy;
	CHECK_INT(gate_take(g, 60000), ERR_IO);
	no_timers = false;
	CHECK_INT(gate_take(g, 0), ERR_OK);
	gate_close(g);
	unlink(path);
}

/* A child that holds the gate until its standard input ends. */
static pid_t holder(int *hold)
{
	int ready[2], end[2];
	char byte;
	pid_t pid;

	if (pipe(ready) != 0 || pipe(end) != 0)
		abort();
	pid = fork();
	if (pid == 0) {
		struct gate *g = opened();

		close(end[1]);
		if (gate_take(g, 0) != ERR_OK || write(ready[1], "x", 1) != 1)
			_exit(1);
		if (read(end[0], &byte, 1) < 0)
			_exit(2);
		_exit(0);
	}
	close(end[0]);
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		abort();
	close(ready[0]);
	*hold = end[1];
	return pid;
}

static void the_wait_for_another_process_is_bounded(void)
{
	struct gate *g;
	int64_t began;
	pid_t pid;
	int hold;

	setup();
	pid = holder(&hold);
	g = opened();
	began = clock_mono_ms();
	CHECK_INT(gate_take(g, 60), ERR_BUSY);
	CHECK(clock_mono_ms() - began >= 60);
	CHECK_INT(gate_take(g, 1), ERR_BUSY); /* and again: nothing was left armed */
	close(hold);
	CHECK_INT(gate_take(g, 10000), ERR_OK); /* comes as soon as the other ends */
	waitpid(pid, NULL, 0);
	gate_close(g);
	unlink(path);
}

static void a_killed_process_leaves_the_gate_open(void)
{
	struct gate *g;
	pid_t pid;
	int hold;

	setup();
	pid = holder(&hold);
	g = opened();
	CHECK_INT(gate_take(g, 0), ERR_BUSY);
	kill(pid, SIGKILL);
	CHECK_INT(gate_wait(g), ERR_OK); /* blocks until the kernel gives it back */
	waitpid(pid, NULL, 0);
	close(hold);
	gate_close(g);
	unlink(path);
}

#define THREADS 8
#define ROUNDS 200

static int64_t counter; /* guarded by nothing but the gate */

static void *count_up(void *arg)
{
	struct gate *g = opened();
	bool ok = true;

	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		ok = gate_take(g, 60000) == ERR_OK && ok;
		__atomic_store_n(&counter, __atomic_load_n(&counter, __ATOMIC_RELAXED) + 1,
		                 __ATOMIC_RELAXED);
		gate_give(g);
	}
	gate_close(g);
	return ok ? NULL : (void *)&counter;
}

static void one_thread_at_a_time_is_inside(void)
{
	pthread_t threads[THREADS];
	void *failed;

	setup();
	for (int i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, count_up, NULL) == 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &failed);
		CHECK(!failed);
	}
	CHECK_INT(counter, THREADS * ROUNDS);
	unlink(path);
}

static void the_signal_mask_is_as_it_was(void)
{
	struct gate *a, *b;
	sigset_t before, after;

	setup();
	a = opened();
	b = opened();
	sigfillset(&before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	CHECK_INT(gate_take(a, 0), ERR_OK);
	CHECK_INT(gate_take(b, 20), ERR_BUSY); /* interrupted though all is blocked */
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	CHECK(sigismember(&after, SIGRTMIN + 2) == 1);
	CHECK(sigismember(&after, SIGTERM) == 1);
	sigpending(&after);
	CHECK(sigisemptyset(&after)); /* nothing to strike later */
	gate_close(a);
	gate_close(b);
	unlink(path);
}

static void a_gate_in_no_directory_says_so(void)
{
	struct errtext why = { "" };
	struct gate *g = NULL;

	CHECK_INT(gate_open("/nonexistent/x.gate", &g, &why), ERR_NOENT);
	CHECK(!g);
	CHECK_STR(why.s,
	          "cannot open '/nonexistent/x.gate': No such file or directory");
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_free_gate_is_taken_at_once),
		T(a_taken_gate_stays_closed_to_another_connection),
		T(closing_gives_it_back),
		T(a_file_that_cannot_be_opened_says_why),
		T(a_signal_does_not_end_the_wait),
		T(a_lock_that_fails_is_not_taken_for_a_busy_one),
		T(without_a_timer_nobody_waits_without_bound),
		T(the_wait_for_another_process_is_bounded),
		T(a_killed_process_leaves_the_gate_open),
		T(one_thread_at_a_time_is_inside),
		T(the_signal_mask_is_as_it_was),
		T(a_gate_in_no_directory_says_so),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
