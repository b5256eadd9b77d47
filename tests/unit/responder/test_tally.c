/*
 * test_tally.c - counts over processes: any of them tells all, whoever died.
 */
#include <config.h>

#include "responder/tally.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "responder/route.h"
#include "stage.h"

static struct {
	uint64_t requests, of_chat, in_first, in_last;
	double seconds;
	char paths[4096];
} seen;

static void on_row(void *arg, const struct tally_row *row)
{
	(void)arg;
	seen.in_first += row->buckets[0];
	seen.in_last += row->buckets[TALLY_BUCKETS - 1];
	seen.seconds += row->seconds;
	strncat(seen.paths, row->method, 10);
	strncat(seen.paths, " ", 2);
	strncat(seen.paths, row->path, 60);
	strncat(seen.paths, "\n", 2);
}

static void on_code(void *arg, const struct tally_row *row, int status,
                    uint64_t count)
{
	(void)arg;
	seen.requests += count;
	if (strcmp(row->path, "/api/chat") == 0 && status == 200)
		seen.of_chat += count;
}

static void look(void)
{
	memset(&seen, 0, sizeof(seen));
	tally_each(on_row, on_code, NULL);
}

static enum err join(int fd)
{
	const struct tally_names names = route_names();

	return tally_open(fd, &names);
}

static int row_of(const char *method, const char *path)
{
	const struct tally_names names = route_names();

	for (int i = 0; i < names.count; i++)
		if (strcmp(names.of(i).method, method) == 0 &&
		    strcmp(names.of(i).path, path) == 0)
			return i;
	return -2;
}

static void rows_of_the_table_have_names_of_their_own(void)
{
	int count = route_names().count;

	CHECK_INT(join(-1), ERR_OK);
	for (int i = -1; i < count; i++)
		for (int k = -1; k < i; k++)
			CHECK(strcmp(tally_name(i).path, tally_name(k).path) ||
			      strcmp(tally_name(i).method, tally_name(k).method));
	CHECK_STR(tally_name(-1).path, "other");
	CHECK_STR(tally_name(count).path, "other");
	CHECK(row_of("GET", "/jobs") >= 0); /* and HEAD */
	CHECK(row_of("POST", "/jobs") >= 0);
	tally_close();
}

static void without_a_page_nothing_is_counted_and_nothing_breaks(void)
{
	tally_request(0, 200, 5);
	tally_add(TALLY_REPLAYED);
	look();
	CHECK_INT(seen.requests, 0);
	CHECK_INT(tally_total(TALLY_REPLAYED), 0);
}

static void every_request_has_its_row_status_and_bucket(void)
{
	int chat = row_of("POST", "/api/chat");

	CHECK_INT(join(-1), ERR_OK);
	tally_request(chat, 200, 0);
	tally_request(chat, 200, 1000); /* just the first bound */
	tally_request(chat, 503, 1001);
	tally_request(chat, 0, -7);               /* nobody answered; clocks */
	tally_request(-1, 404, INT64_C(1) << 50); /* years */
	tally_request(9999, 999, 1);              /* no such row, no such status */
	look();
	CHECK_INT(seen.requests, 6);
	CHECK_INT(seen.of_chat, 2);
	CHECK_INT(seen.in_first, 4);
	CHECK_INT(seen.in_last, 1);
	CHECK_STR(seen.paths, " other\nPOST /api/chat\n");
	tally_close();
}

static void count_in_a_child(int fd, int count, bool die)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (join(fd))
			_exit(1);
		for (int i = 0; i < count; i++)
			tally_request(row_of("POST", "/api/chat"), 200, 10);
		tally_add(TALLY_LEFT_WAITING);
		if (die)
			raise(SIGKILL);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CHECK(die ? WIFSIGNALED(status) : status == 0);
}

static void all_processes_count_together_and_the_dead_take_nothing(void)
{
	int fd = -1;

	CHECK_INT(tally_create(&fd), ERR_OK);
	count_in_a_child(fd, 3, false);
	count_in_a_child(fd, 4, true);
	CHECK_INT(join(dup(fd)), ERR_OK);
	look();
	CHECK_INT(seen.of_chat, 7);
	CHECK_INT(tally_total(TALLY_LEFT_WAITING), 2);
	tally_close();
	fd_close(&fd);
}

static void who_dies_while_it_joins_keeps_nobody_out(void)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = -1, status;
	pid_t pid;

	CHECK_INT(tally_create(&fd), ERR_OK);
	pid = fork();
	if (pid == 0) {
		if (fcntl(fd, F_SETLK, &whole))
			_exit(1);
		raise(SIGKILL);
	}
	waitpid(pid, &status, 0);
	CHECK(WIFSIGNALED(status));
	count_in_a_child(fd, 1, false);
	fd_close(&fd);
}

static void a_page_of_another_shape_is_left_alone(void)
{
	uint64_t shape = 0;
	int fd = -1, keep;

	CHECK_INT(tally_create(&fd), ERR_OK);
	CHECK(pwrite(fd, "another", 8, 0) == 8);
	keep = dup(fd);
	CHECK_INT(join(fd), ERR_VERSION);
	tally_request(-1, 200, 1);
	look();
	CHECK_INT(seen.requests, 1); /* in memory of its own */
	CHECK(pread(keep, &shape, 8, 0) == 8);
	CHECK(memcmp(&shape, "another", 8) == 0);
	tally_close();
	CHECK(ftruncate(keep, 8) == 0);
	CHECK_INT(join(keep), ERR_VERSION);
	tally_close();
}

static void what_cannot_be_locked_is_left_alone(void)
{
	CHECK_INT(join(open("/dev/null", O_RDONLY | O_CLOEXEC)), ERR_IO);
	tally_request(-1, 200, 1);
	look();
	CHECK_INT(seen.requests, 1); /* in memory of its own */
	tally_close();
}

/* As after many upgrades: all rows are given out, to routes that are no more. */
static void a_full_page_counts_nobody_new_and_breaks_nothing(void)
{
	const uint32_t all = 128; /* tally.c's ROWS_MAX, behind its shape */
	int fd = -1;

	CHECK_INT(tally_create(&fd), ERR_OK);
	CHECK(pwrite(fd, &all, sizeof(all), sizeof(uint64_t)) == sizeof(all));
	CHECK_INT(join(fd), ERR_OK);
	for (int i = -1; i < route_names().count; i++)
		tally_request(i, 200, 1);
	look();
	CHECK_INT(seen.requests, 0);
	tally_add(TALLY_REPLAYED); /* what has no row is counted as ever */
	CHECK_INT(tally_total(TALLY_REPLAYED), 1);
	tally_close();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(rows_of_the_table_have_names_of_their_own),
		T(without_a_page_nothing_is_counted_and_nothing_breaks),
		T(every_request_has_its_row_status_and_bucket),
		T(all_processes_count_together_and_the_dead_take_nothing),
		T(who_dies_while_it_joins_keeps_nobody_out),
		T(a_page_of_another_shape_is_left_alone),
		T(what_cannot_be_locked_is_left_alone),
		T(a_full_page_counts_nobody_new_and_breaks_nothing),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
