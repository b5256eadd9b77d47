/*
 * slowsync.c - a slow disk, by LD_PRELOAD: each fsync and fdatasync takes at
 * least SLOWSYNC_US microseconds, the real one included.
 */
#include <config.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef int sync_fn(int fd);

static struct timespec later(struct timespec t, long us)
{
	t.tv_sec += us / 1000000;
	t.tv_nsec += us % 1000000 * 1000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

static int slowly(const char *name, int fd)
{
	const char *us = getenv("SLOWSYNC_US");
	struct timespec start, end;
	sync_fn *real;
	int rc, saved;

	/* POSIX's way around the missing conversion from void * */
	*(void **)&real = dlsym(RTLD_NEXT, name);
	clock_gettime(CLOCK_MONOTONIC, &start);
	rc = real(fd);
	saved = errno;
	end = later(start, us ? strtol(us, NULL, 10) : 0);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
		;
	errno = saved;
	return rc;
}

int fdatasync(int fd)
{
	return slowly("fdatasync", fd);
}

int fsync(int fd)
{
	return slowly("fsync", fd);
}
