/*
 * disk.h - a disk that fails when it is told to. SQLite's calls come here, for
 * the program's own functions go first.
 */
#ifndef FOREMAN_TESTS_DISK_H
#define FOREMAN_TESTS_DISK_H

#include <errno.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "world.h"

static struct {
	bool full;       /* nothing can be written any more */
	bool unsynced;   /* what is written does not reach it for certain */
	bool unreadable; /* after so many reads more: */
	int reads_left;
} disk;

static ssize_t disk_fails(int e)
{
	errno = e;
	return -1;
}

int fdatasync(int fd)
{
	return disk.unsynced ? (int)disk_fails(EIO) : (int)syscall(SYS_fdatasync, fd);
}

static ssize_t disk_write(int fd, const void *p, size_t len, off_t at)
{
	return disk.full ? disk_fails(ENOSPC) : syscall(SYS_pwrite64, fd, p, len, at);
}

static ssize_t disk_read(int fd, void *p, size_t len, off_t at)
{
	if (disk.unreadable && disk.reads_left-- <= 0)
		return disk_fails(EIO);
	return syscall(SYS_pread64, fd, p, len, at);
}

ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
	return disk_write(fd, p, len, at);
}

ssize_t pwrite64(int fd, const void *p, size_t len, off_t at)
{
	return disk_write(fd, p, len, at);
}

ssize_t pread(int fd, void *p, size_t len, off_t at)
{
	return disk_read(fd, p, len, at);
}

ssize_t pread64(int fd, void *p, size_t len, off_t at)
{
	return disk_read(fd, p, len, at);
}

/* Another process writes: what our connection had in memory is out of date. */
static UNUSED void disk_forget(struct world *w)
{
	struct db_conf conf = { .path = w->db_path };
	struct errtext why = { "" };
	struct db *other = NULL;

	CHECK(db_open(&conf, DB_WRITER, &other, &why) == ERR_OK);
	if (other)
		CHECK(queue_count_swap(other) == ERR_OK);
	db_close(other);
}

#endif
