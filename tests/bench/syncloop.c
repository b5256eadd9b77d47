/*
 * syncloop.c - the plainest durable queue: a row of 1 KiB, one fdatasync, the
 * next. What a store that does not commit in groups reaches.
 *
 * usage: syncloop FILE SECONDS
 */
#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "figures.h"

int main(int argc, char **argv)
{
	struct figures took = { 0 };
	int64_t start = now_us(), end, began;
	char row[1024];
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: syncloop FILE SECONDS\n");
		return 64;
	}
	fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	memset(row, 'x', sizeof(row));
	end = start + strtol(argv[2], NULL, 10) * 1000000;
	for (began = start; began < end; began = now_us()) {
		if (write(fd, row, sizeof(row)) != sizeof(row) || fdatasync(fd) != 0) {
			perror(argv[1]);
			return 1;
		}
		figures_add(&took, now_us() - began);
	}
	printf("{\"per_s\":%.1f,", (double)took.count * 1e6 / (double)(began - start));
	figures_print(&took, "us");
	printf("}\n");
	figures_done(&took);
	close(fd);
	return 0;
}
