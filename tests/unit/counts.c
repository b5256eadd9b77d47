/*
 * counts.c - what a process did counts also when it does not leave by exit.
 *
 * gcov's counts are written by exit alone. In a build with --enable-coverage,
 * and in no other, this stands before _exit and raise (the linker's --wrap) and
 * takes the signals that would end the process, until it has handlers of its
 * own. What is killed by SIGKILL still leaves no counts.
 */
#include <config.h>

#include <gcov.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));
int __real_raise(int number);
int __wrap_raise(int number);

/* What a test took from itself is wanted again for writing. */
static void unlimit(__rlimit_resource_t what)
{
	struct rlimit limit;

	if (getrlimit(what, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)!setrlimit(what, &limit);
}

static void write_counts(void)
{
	unlimit(RLIMIT_NOFILE);
	unlimit(RLIMIT_FSIZE);
	__gcov_dump();
}

void __wrap__exit(int status)
{
	write_counts();
	__real__exit(status);
}

int __wrap_raise(int number)
{
	write_counts();
	return __real_raise(number);
}

static void end_by(int number)
{
	__wrap_raise(number); /* the handler is reset: this ends it */
}

__attribute__((constructor)) static void take_signals(void)
{
	static const int deadly[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction act = { .sa_flags = (int)SA_RESETHAND }, now;

	act.sa_handler = end_by;
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		if (sigaction(deadly[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
			sigaction(deadly[i], &act, NULL);
}
