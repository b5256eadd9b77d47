/*
 * test_pool.c - the master, with this program as its own child.
 *
 * A case runs the master in a process of its own. Its children are this
 * program again (--child), which sends its process id to the test over the
 * "listening" socket it was given, says ready, and waits to be told to leave.
 */
#include <config.h>

#include "responder/pool.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sig.h"
#include "base/log.h"
#include "base/str.h"
#include "t.h"

#define PATIENCE_MS 20000

static char self[PATH_MAX];
static int ours = -1; /* our end of the children's socket */
static pid_t master;

struct hello {
	pid_t pid;
	int event; /* 0: started; else the signal it was told to leave by */
};

/* --- the child ------------------------------------------------------------ */

static bool said_and_told(int fd, const struct hello *hello)
{
	char word[2];

	return send(fd, hello, sizeof(*hello), 0) == sizeof(*hello) &&
	       recv(fd, word, sizeof(word), 0) == sizeof(word);
}

static int be_child(const char *text)
{
	struct pool_child c;
	struct hello hello = { .pid = getpid() };
	struct pollfd p;
	int signals;

	sig_block_all();
	signals = sig_open();
	if (pool_child_parse(text, &c) || c.parent != getppid())
		return 70;
	if (getenv("WANTS_A_TALLY") && lseek(c.tally_fd, 0, SEEK_END) != 5)
		return 75;
	if (getenv("DIE_EARLY") && access(getenv("DIE_EARLY"), F_OK) == 0)
		return 71;
	if (getenv("READY_WHEN_TOLD") && !said_and_told(c.listen_fd, &hello))
		return 72;
	if (write(c.ready_fd, "r", 1) != 1) /* first: who has our hello may kill */
		return 73;
	if (!getenv("READY_WHEN_TOLD") &&
	    send(c.listen_fd, &hello, sizeof(hello), 0) != sizeof(hello))
		return 74;
	p = (struct pollfd){ .fd = signals, .events = POLLIN };
	while (!hello.event && poll(&p, 1, -1) > 0)
		hello.event = sig_next(signals);
	(void)send(c.listen_fd, &hello, sizeof(hello), 0);
	/* the test's end is ours */
	while (getenv("STUBBORN") && recv(c.listen_fd, &hello, sizeof(hello), 0) > 0)
		;
	return 0;
}

/* --- the test's side ------------------------------------------------------ */

static void start_with(size_t responders, int tally_fd)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		abort();
	fflush(stdout);
	master = fork();
	if (master == 0) {
		struct pool_conf conf = { .program = self,
			                      .listen_fd = pair[1],
			                      .responders = responders,
			                      .tally_fd = tally_fd };

		close(pair[0]);
		log_init("test", LOG_ERROR, LOG_LOGFMT);
		_exit(pool_run(&conf));
	}
	close(pair[1]);
	ours = pair[0];
}

static struct hello next(void)
{
	struct hello h = { 0 };
	struct pollfd p = { .fd = ours, .events = POLLIN };

	if (poll(&p, 1, PATIENCE_MS) == 1 && recv(ours, &h, sizeof(h), 0) == sizeof(h))
		return h;
	return (struct hello){ .pid = -1, .event = -1 };
}

static void start(size_t responders)
{
	start_with(responders, -1);
}

/* What it logs can be read from the descriptor. */
static int start_logged(size_t responders)
{
	int log[2], stderr_was = dup(2);

	if (stderr_was < 0 || pipe2(log, O_CLOEXEC) || dup2(log[1], 2) < 0)
		abort();
	start(responders);
	if (dup2(stderr_was, 2) < 0)
		abort();
	close(stderr_was);
	close(log[1]);
	return log[0];
}

/* Does the master log that, after all it has logged before? */
static bool logs(int fd, const char *text)
{
	char heard[4096];
	size_t len = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (len + 1 < sizeof(heard) && poll(&p, 1, PATIENCE_MS) == 1 &&
	       read(fd, heard + len, 1) == 1) {
		heard[++len] = '\0';
		if (strstr(heard, text))
			return true;
	}
	return false;
}

/* The master's exit status, or -1 if it was killed. */
static int finish(void)
{
	int status;

	fd_close(&ours);
	waitpid(master, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_argument_is_read_whole_or_not_at_all(void)
{
	static const char *const bad[] = { "",         "1",        "1,2",
		                               "1,2,3",    "1,2,3,",   "1,2,3,4,",
		                               "1,2,3,4x", "-1,2,3,4", "1,-1,3,4",
		                               "1,2,-2,4", "1,2,3,0",  "a,b,c,d" };
	struct pool_child c = { 0 };

	CHECK_INT(pool_child_parse("3,4,-1,5", &c), 0);
	CHECK_INT(c.tally_fd, -1);
	CHECK_INT(pool_child_parse("3,4,6,5", &c), 0);
	CHECK_INT(c.tally_fd, 6);
	CHECK_INT(c.listen_fd, 3);
	CHECK_INT(c.ready_fd, 4);
	CHECK_INT(c.parent, 5);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_INT(pool_child_parse(bad[i], &c), -1);
}

static void a_stop_is_passed_on_and_waited_for(void)
{
	start(2);
	CHECK_INT(next().event, 0);
	CHECK_INT(next().event, 0);
	kill(master, SIGTERM);
	CHECK_INT(next().event, SIGTERM);
	CHECK_INT(next().event, SIGTERM);
	CHECK_INT(finish(), 0);
}

static void an_interrupt_is_a_stop(void)
{
	start(1);
	CHECK_INT(next().event, 0);
	kill(master, SIGINT);
	CHECK_INT(next().event, SIGTERM);
	CHECK_INT(finish(), 0);
}

static void a_dead_child_is_replaced(void)
{
	struct hello first, second;

	start(1);
	first = next();
	REQUIRE(first.pid > 0);
	kill(first.pid, SIGKILL);
	second = next();
	CHECK(second.pid > 0 && second.pid != first.pid);
	kill(master, SIGTERM);
	CHECK_INT(next().pid, second.pid);
	CHECK_INT(finish(), 0);
}

static void let_one_be_ready(void)
{
	if (send(ours, "go", 2, 0) != 2)
		abort();
}

static void a_reload_starts_the_new_before_the_old_are_told_to_drain(void)
{
	struct hello a, b, c;

	setenv("READY_WHEN_TOLD", "1", 1);
	start(1);
	unsetenv("READY_WHEN_TOLD");
	a = next();
	REQUIRE(a.pid > 0);
	let_one_be_ready();
	kill(master, SIGHUP);
	b = next(); /* not ready yet, so nobody was told anything */
	CHECK_INT(b.event, 0);
	CHECK(b.pid != a.pid);
	let_one_be_ready();
	c = next();
	CHECK_INT(c.pid, a.pid);
	CHECK_INT(c.event, SIGHUP);
	kill(master, SIGTERM);
	c = next();
	CHECK_INT(c.pid, b.pid);
	CHECK_INT(c.event, SIGTERM);
	CHECK_INT(finish(), 0);
}

/* The second SIGHUP comes while the first reload's child is not ready yet. */
static void a_reload_asked_for_during_a_reload_follows_it(void)
{
	struct hello a, b, c, d;

	setenv("READY_WHEN_TOLD", "1", 1);
	start(1);
	unsetenv("READY_WHEN_TOLD");
	a = next();
	REQUIRE(a.pid > 0);
	let_one_be_ready();
	kill(master, SIGHUP);
	b = next();
	REQUIRE(b.pid > 0 && b.event == 0);
	kill(master, SIGHUP);
	let_one_be_ready();
	c = next();
	d = next();
	if (c.pid == a.pid) { /* the two have no order */
		struct hello swap = c;

		c = d;
		d = swap;
	}
	CHECK_INT(d.pid, a.pid);
	CHECK_INT(d.event, SIGHUP);
	CHECK_INT(c.event, 0);
	let_one_be_ready();
	d = next();
	CHECK_INT(d.pid, b.pid);
	CHECK_INT(d.event, SIGHUP);
	kill(master, SIGTERM);
	d = next();
	CHECK_INT(d.pid, c.pid);
	CHECK_INT(d.event, SIGTERM);
	CHECK_INT(finish(), 0);
}

static void a_master_that_is_killed_takes_its_children_along(void)
{
	struct hello a;

	start(1);
	a = next();
	REQUIRE(a.pid > 0);
	kill(master, SIGKILL);
	CHECK_INT(next().event, SIGTERM);
	CHECK_INT(finish(), -1);
}

static void children_that_never_get_ready_do_not_keep_it_from_stopping(void)
{
	setenv("DIE_EARLY", "/", 1);
	start(3);
	unsetenv("DIE_EARLY");
	kill(master, SIGTERM);
	CHECK_INT(finish(), 0);
}

/* The next are `n` times the one and `m` times the other, in any order. */
static bool next_are(int n, int event, int m, int other)
{
	for (int left = n + m; left; left--) {
		struct hello h = next();

		n -= h.event == event;
		m -= h.event == other;
	}
	return n == 0 && m == 0;
}

static void a_reload_whose_children_die_leaves_the_old_in_place(void)
{
	char path[] = "/tmp/foreman-pool-XXXXXX";
	int file = mkstemp(path), log;

	REQUIRE(file >= 0);
	unlink(path);
	setenv("DIE_EARLY", path, 1); /* while it is there */
	log = start_logged(2);
	unsetenv("DIE_EARLY");
	CHECK(next_are(2, 0, 0, SIGHUP));
	REQUIRE(symlink("/", path) == 0);
	kill(master, SIGHUP);
	CHECK(logs(log, "reload failed, the old generation stays"));
	unlink(path);
	kill(master, SIGHUP); /* nobody was told anything by the first */
	CHECK(next_are(2, 0, 2, SIGHUP));
	kill(master, SIGTERM);
	CHECK(next_are(2, SIGTERM, 0, SIGHUP));
	CHECK_INT(finish(), 0);
	close(file);
	close(log);
}

/* Those that were replaced as well; and a reload is none any more. */
static void who_will_not_leave_is_killed_when_told_again(void)
{
	setenv("STUBBORN", "1", 1);
	start(2);
	unsetenv("STUBBORN");
	CHECK(next_are(2, 0, 0, SIGHUP));
	kill(master, SIGHUP);
	CHECK(next_are(2, 0, 2, SIGHUP));
	kill(master, SIGTERM);
	CHECK(next_are(2, SIGTERM, 0, SIGHUP));
	CHECK_INT(waitpid(master, NULL, WNOHANG), 0);
	kill(master, SIGHUP);
	kill(master, SIGINT);
	CHECK_INT(finish(), 0);
}

static void limit_descriptors(rlim_t n)
{
	struct rlimit limit;

	if (prlimit(master, RLIMIT_NOFILE, NULL, &limit))
		abort();
	limit.rlim_cur = n < limit.rlim_max ? n : limit.rlim_max;
	if (prlimit(master, RLIMIT_NOFILE, &limit, NULL))
		abort();
}

static void without_descriptors_it_keeps_what_it_has_and_tries_again(void)
{
	int log = start_logged(1);
	struct hello a, b;

	a = next();
	REQUIRE(a.pid > 0);
	limit_descriptors(3);
	kill(master, SIGHUP);
	CHECK(logs(log, "reload failed, the old generation stays"));
	CHECK_INT(kill(a.pid, 0), 0);
	kill(a.pid, SIGKILL);
	CHECK(logs(log, "cannot start a child"));
	limit_descriptors(RLIM_INFINITY);
	b = next();
	CHECK(b.pid > 0 && b.pid != a.pid);
	kill(master, SIGTERM);
	CHECK_INT(next().pid, b.pid);
	CHECK_INT(finish(), 0);
	close(log);
}

static void children_are_given_the_tally(void)
{
	FILE *tally = tmpfile();

	REQUIRE(tally && fputs("tally", tally) > 0 && fflush(tally) == 0);
	REQUIRE(fd_cloexec(fileno(tally), true) == ERR_OK);
	setenv("WANTS_A_TALLY", "1", 1);
	start_with(1, fileno(tally));
	unsetenv("WANTS_A_TALLY");
	CHECK_INT(next().event, 0);
	kill(master, SIGTERM);
	CHECK_INT(next().event, SIGTERM);
	CHECK_INT(finish(), 0);
	fclose(tally);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T(the_argument_is_read_whole_or_not_at_all),
		T(a_stop_is_passed_on_and_waited_for),
		T(an_interrupt_is_a_stop),
		T(a_dead_child_is_replaced),
		T(a_reload_starts_the_new_before_the_old_are_told_to_drain),
		T(a_reload_asked_for_during_a_reload_follows_it),
		T(a_master_that_is_killed_takes_its_children_along),
		T(children_that_never_get_ready_do_not_keep_it_from_stopping),
		T(a_reload_whose_children_die_leaves_the_old_in_place),
		T(who_will_not_leave_is_killed_when_told_again),
		T(without_descriptors_it_keeps_what_it_has_and_tries_again),
		T(children_are_given_the_tally),
	};

	if (argc == 3 && strcmp(argv[1], "--child") == 0)
		return be_child(argv[2]);
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	sig_block_all(); /* the masters inherit it, before a case signals them */
	return t_run(cases, ARRAY_LEN(cases));
}
