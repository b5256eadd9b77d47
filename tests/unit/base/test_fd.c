/* test_fd.c - whole writes, local sockets, and files, in a fresh directory. */
#include <config.h>

#include "base/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "t.h"

static char dir[] = "/tmp/foreman-fd-XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[200];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void make_file(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(write(fd, text, len) == (ssize_t)len);
	close(fd);
}

/* --- flags ----------------------------------------------------------------- */

static void closing_forgets_the_number(void)
{
	int fd = open("/dev/null", O_RDONLY), was = fd;

	errno = EDOM;
	fd_close(&fd);
	CHECK_INT(fd, -1);
	CHECK(fcntl(was, F_GETFD) == -1);
	errno = EDOM;
	fd_close(&fd);
	CHECK_INT(errno, EDOM);
}

static void flags_go_on_and_off(void)
{
	int fd = open("/dev/null", O_RDWR | O_APPEND);

	CHECK_INT(fd_nonblock(fd, true), ERR_OK);
	CHECK_INT(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_APPEND), O_NONBLOCK | O_APPEND);
	CHECK_INT(fd_nonblock(fd, false), ERR_OK);
	CHECK_INT(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_APPEND), O_APPEND);
	CHECK_INT(fd_cloexec(fd, true), ERR_OK);
	CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_INT(fd_cloexec(fd, false), ERR_OK);
	CHECK_INT(fcntl(fd, F_GETFD), 0);
	fd_close(&fd);
	CHECK_INT(fd_nonblock(-1, true), ERR_IO);
	CHECK_INT(fd_cloexec(-1, true), ERR_IO);
}

/* --- writing --------------------------------------------------------------- */

#define MANY (4 << 20) /* more than any socket or pipe holds */

struct reader {
	int fd;
	size_t got;
};

static void *read_to_end(void *arg)
{
	struct reader *r = arg;
	char bytes[4096];
	ssize_t n;

	while ((n = read(r->fd, bytes, sizeof(bytes))) > 0)
		r->got += (size_t)n;
	return NULL;
}

static void check_whole_write(int from, int to)
{
	struct reader r = { .fd = from };
	char *bytes = calloc(1, MANY);
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, read_to_end, &r) == 0);
	CHECK_INT(fd_write_all(to, bytes, MANY, -1), ERR_OK);
	fd_close(&to);
	pthread_join(thread, NULL);
	CHECK_INT(r.got, MANY);
	close(from);
	free(bytes);
}

static void more_than_fits_is_written_whole(void)
{
	int s[2], p[2];

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) == 0);
	CHECK_INT(fd_nonblock(s[0], false), ERR_OK);
	check_whole_write(s[0], s[1]);
	REQUIRE(pipe(p) == 0);
	CHECK_INT(fd_nonblock(p[1], true), ERR_OK);
	check_whole_write(p[0], p[1]);
	REQUIRE(pipe(p) == 0);
	check_whole_write(p[0], p[1]);
}

static void a_peer_that_does_not_read_runs_out_the_time(void)
{
	char *bytes = calloc(1, MANY);
	int s[2], p[2];

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0); /* a blocking one */
	CHECK_INT(fd_write_all(s[1], bytes, MANY, 1), ERR_TIMEOUT);
	CHECK_INT(fd_write_all(s[1], bytes, MANY, 0), ERR_TIMEOUT);
	REQUIRE(pipe2(p, O_NONBLOCK) == 0);
	CHECK_INT(fd_write_all(p[1], bytes, MANY, 0), ERR_TIMEOUT);
	close(s[0]);
	close(s[1]);
	close(p[0]);
	close(p[1]);
	free(bytes);
}

static void a_peer_that_left_is_closed(void)
{
	int s[2], p[2];

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	close(s[0]);
	signal(SIGPIPE, SIG_DFL); /* sockets send none; pipes need it ignored */
	CHECK_INT(fd_write_all(s[1], "x", 1, 1000), ERR_CLOSED);
	signal(SIGPIPE, SIG_IGN);
	close(s[1]);
	REQUIRE(pipe(p) == 0);
	close(p[0]);
	CHECK_INT(fd_write_all(p[1], "x", 1, 1000), ERR_CLOSED);
	close(p[1]);
}

static void a_full_disk_and_a_bad_descriptor_have_their_own_answers(void)
{
	int fd = open("/dev/full", O_WRONLY);

	CHECK_INT(fd_write_all(fd, "x", 1, -1), ERR_FULL);
	fd_close(&fd);
	CHECK_INT(fd_write_all(fd, "x", 1, -1), ERR_IO);
	CHECK_INT(fd_write_all(fd, NULL, 0, 0), ERR_OK);
}

/* --- reading --------------------------------------------------------------- */

static void a_file_is_read_up_to_the_bound(void)
{
	const char *path = in_dir("file");
	struct errtext why = { "" };
	char *text = NULL;
	size_t len = 0;

	make_file(path, "12345", 5);
	REQUIRE(fd_read_file(path, 5, &text, &len, &why) == ERR_OK);
	CHECK_STR(text, "12345");
	CHECK_INT(len, 5);
	free(text);
	text = NULL;
	CHECK_INT(fd_read_file(path, 4, &text, &len, &why), ERR_TOOBIG);
	CHECK(strstr(why.s, "larger than 4 bytes") != NULL);
	CHECK(text == NULL);
	CHECK_INT(len, 5);
}

static void an_empty_file_is_an_empty_text(void)
{
	const char *path = in_dir("empty");
	char *text = NULL;
	size_t len = 9;

	make_file(path, "", 0);
	REQUIRE(fd_read_file(path, 0, &text, &len, NULL) == ERR_OK);
	CHECK_STR(text, "");
	CHECK_INT(len, 0);
	free(text);
}

static void a_long_file_is_read_in_steps(void)
{
	const char *path = in_dir("long");
	size_t size = 65536 * 2 + 1, len = 0;
	char *bytes = malloc(size), *text = NULL;

	memset(bytes, 'l', size);
	make_file(path, bytes, size);
	REQUIRE(fd_read_file(path, 1 << 20, &text, &len, NULL) == ERR_OK);
	CHECK_INT(len, size);
	CHECK(memcmp(text, bytes, size) == 0);
	CHECK_INT(text[len], '\0');
	free(text);
	free(bytes);
}

static void what_is_no_regular_file_is_refused_without_waiting(void)
{
	struct errtext why = { "" };
	char *text = NULL;
	size_t len;

	CHECK_INT(fd_read_file(dir, 10, &text, &len, &why), ERR_INVAL);
	CHECK(strstr(why.s, "not a regular file") != NULL);
	REQUIRE(mkfifo(in_dir("fifo"), 0600) == 0);
	CHECK_INT(fd_read_file(in_dir("fifo"), 10, &text, &len, NULL), ERR_INVAL);
	CHECK_INT(fd_read_file(in_dir("none\n"), 10, &text, &len, &why), ERR_NOENT);
	CHECK(strstr(why.s, "cannot open '") != NULL);
	CHECK(strchr(why.s, '\n') == NULL);
	CHECK(text == NULL);
}

/* --- unix sockets ---------------------------------------------------------- */

static void check_mode_under(mode_t mask)
{
	const char *path = in_dir("mode.sock");
	mode_t before = umask(mask);
	struct stat st;
	int fd = -1;

	CHECK_INT(fd_listen_unix(path, 5, &fd, NULL), ERR_OK);
	umask(before);
	REQUIRE(lstat(path, &st) == 0);
	CHECK(S_ISSOCK(st.st_mode));
	CHECK_INT(st.st_mode & 07777, 0660);
	CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	fd_close(&fd);
}

static void a_socket_has_mode_0660_whatever_the_umask(void)
{
	check_mode_under(0);
	check_mode_under(022);
	check_mode_under(077);
	check_mode_under(0777);
}

static void a_client_connects_and_is_known_by_its_user(void)
{
	const char *path = in_dir("talk.sock");
	int server = -1, client = -1, peer;
	uid_t uid = (uid_t)-1;
	char got[3] = "";

	REQUIRE(fd_listen_unix(path, 5, &server, NULL) == ERR_OK);
	REQUIRE(fd_connect_unix(path, false, &client) == ERR_OK);
	CHECK(!(fcntl(client, F_GETFL) & O_NONBLOCK));
	CHECK_INT(fcntl(client, F_GETFD), FD_CLOEXEC);
	peer = accept(server, NULL, NULL);
	REQUIRE(peer >= 0);
	CHECK_INT(fd_peer_uid(peer, &uid), ERR_OK);
	CHECK_INT(uid, getuid());
	CHECK_INT(fd_write_all(client, "hi", 2, 1000), ERR_OK);
	CHECK_INT(read(peer, got, 2), 2);
	CHECK_STR(got, "hi");
	fd_close(&client);
	REQUIRE(fd_connect_unix(path, true, &client) == ERR_OK);
	CHECK(fcntl(client, F_GETFL) & O_NONBLOCK);
	fd_close(&client);
	fd_close(&peer);
	fd_close(&server);
	CHECK_INT(fd_peer_uid(-1, &uid), ERR_IO);
}

static void a_new_listener_takes_the_path_over(void)
{
	const char *path = in_dir("again.sock");
	int old = -1, new = -1, client = -1, peer;

	REQUIRE(fd_listen_unix(path, 5, &old, NULL) == ERR_OK);
	REQUIRE(fd_listen_unix(path, 5, &new, NULL) == ERR_OK);
	REQUIRE(fd_connect_unix(path, false, &client) == ERR_OK);
	peer = accept(old, NULL, NULL);
	CHECK(peer < 0 && errno == EAGAIN);
	peer = accept(new, NULL, NULL);
	CHECK(peer >= 0);
	fd_close(&peer);
	fd_close(&client);
	fd_close(&old);
	fd_close(&new);
}

static void a_path_without_a_slash_is_in_the_working_directory(void)
{
	char before[4096];
	int fd = -1;

	REQUIRE(getcwd(before, sizeof(before)) && chdir(dir) == 0);
	CHECK_INT(fd_listen_unix("bare.sock", 5, &fd, NULL), ERR_OK);
	CHECK_INT(access("bare.sock", F_OK), 0);
	fd_close(&fd);
	REQUIRE(chdir(before) == 0);
}

static void nothing_but_a_socket_is_replaced(void)
{
	const char *path = in_dir("precious");
	struct errtext why = { "" };
	int fd = -1;

	make_file(path, "data", 4);
	CHECK_INT(fd_listen_unix(path, 5, &fd, &why), ERR_CONFLICT);
	CHECK(strstr(why.s, "not a socket") != NULL);
	CHECK_INT(fd_listen_unix(dir, 5, &fd, NULL), ERR_CONFLICT);
	CHECK_INT(fd, -1);
}

static void a_path_longer_than_an_address_is_refused_clearly(void)
{
	const size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	struct errtext why = { "" };
	char path[200];
	int fd = -1;

	memset(path, 'p', sizeof(path));
	memcpy(path, dir, strlen(dir));
	path[strlen(dir)] = '/';
	path[most] = '\0';
	CHECK_INT(fd_listen_unix(path, 5, &fd, &why), ERR_OK);
	fd_close(&fd);
	path[most] = 'p';
	path[most + 1] = '\0';
	CHECK_INT(fd_listen_unix(path, 5, &fd, &why), ERR_INVAL);
	CHECK(strstr(why.s, "has 108 bytes, not 1 to 107") != NULL);
	CHECK_INT(fd_connect_unix(path, false, &fd), ERR_INVAL);
	CHECK_INT(fd_listen_unix("", 5, &fd, NULL), ERR_INVAL);
	CHECK_INT(fd_connect_unix("", false, &fd), ERR_INVAL);
	CHECK_INT(fd, -1);
}

static void a_missing_directory_is_named(void)
{
	struct errtext why = { "" };
	int fd = -1;

	CHECK_INT(fd_listen_unix(in_dir("no/such.sock"), 5, &fd, &why), ERR_NOENT);
	CHECK(strstr(why.s, "cannot bind '") != NULL);
	CHECK(strstr(why.s, "/no/") != NULL);
}

static void no_listener_is_noent(void)
{
	const char *path = in_dir("gone.sock");
	int fd = -1, client = -1;

	CHECK_INT(fd_connect_unix(path, false, &client), ERR_NOENT);
	REQUIRE(fd_listen_unix(path, 5, &fd, NULL) == ERR_OK);
	fd_close(&fd);
	CHECK_INT(fd_connect_unix(path, false, &client), ERR_NOENT);
	CHECK_INT(client, -1);
}

static void a_full_backlog_is_busy_and_not_waited_for(void)
{
	const char *path = in_dir("full.sock");
	int server = -1, clients[8], n = 0;
	enum err e = ERR_OK;

	REQUIRE(fd_listen_unix(path, 1, &server, NULL) == ERR_OK);
	while (n < 8 && !(e = fd_connect_unix(path, false, &clients[n])))
		n++;
	CHECK_INT(e, ERR_BUSY);
	CHECK(n > 0 && n < 8);
	while (n > 0)
		fd_close(&clients[--n]);
	fd_close(&server);
}

static int counted;

static int count_hidden(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
	(void)st;
	(void)type;
	counted += path[ftw->base] == '.';
	return 0;
}

static void no_temporary_name_is_left_behind(void)
{
	counted = 0;
	nftw(dir, count_hidden, 8, FTW_PHYS);
	CHECK_INT(counted, 0);
}

/* --- TCP ------------------------------------------------------------------- */

static void check_tcp(const char *host_port, int family)
{
	struct sockaddr_storage a = { 0 };
	socklen_t size = sizeof(a);
	int fd = -1, on = 0;
	socklen_t on_size = sizeof(on);

	REQUIRE(fd_listen_tcp(host_port, 5, &fd, NULL) == ERR_OK);
	CHECK_INT(getsockname(fd, (struct sockaddr *)&a, &size), 0);
	CHECK_INT(a.ss_family, family);
	CHECK_INT(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &on_size), 0);
	CHECK_INT(on, 1);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
	fd_close(&fd);
}

static void tcp_listens_on_numeric_addresses(void)
{
	check_tcp("127.0.0.1:0", AF_INET);
	if (access("/proc/net/if_inet6", F_OK) == 0)
		check_tcp("[::1]:0", AF_INET6);
}

static void a_taken_port_is_busy(void)
{
	struct sockaddr_in a = { 0 };
	socklen_t size = sizeof(a);
	struct errtext why = { "" };
	int first = -1, second = -1;
	char again[32];

	REQUIRE(fd_listen_tcp("127.0.0.1:0", 5, &first, NULL) == ERR_OK);
	CHECK_INT(getsockname(first, (struct sockaddr *)&a, &size), 0);
	snprintf(again, sizeof(again), "127.0.0.1:%u", ntohs(a.sin_port));
	CHECK_INT(fd_listen_tcp(again, 5, &second, &why), ERR_BUSY);
	CHECK(strstr(why.s, again) != NULL);
	CHECK_INT(second, -1);
	fd_close(&first);
}

static void names_and_odd_addresses_are_refused(void)
{
	static const char *const bad[] = {
		"", ":", "9000", ":9000", "127.0.0.1", "127.0.0.1:", "localhost:0",
		"127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:x", "127.0.0.1: 1",
		"127.1:0", "0x7f.0.0.1:0", "::1:0", "[::1]", "[::1:0", "[127.0.0.1]:0",
		"[]:0", "256.0.0.1:0", "127.0.0.1 :0",
		"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc]:0",
	};
	int fd = -1;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct errtext why = { "" };

		CHECK_INT(fd_listen_tcp(bad[i], 5, &fd, &why), ERR_INVAL);
		CHECK(strstr(why.s, "127.0.0.1:9000") != NULL);
	}
	CHECK_INT(fd, -1);
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void the_limit_on_descriptors_goes_up_to_the_hard_one(void)
{
	struct rlimit r, low;

	REQUIRE(!getrlimit(RLIMIT_NOFILE, &r));
	low = (struct rlimit){ .rlim_cur = 64, .rlim_max = r.rlim_max };
	REQUIRE(!setrlimit(RLIMIT_NOFILE, &low));
	CHECK_INT(fd_raise_limit(NULL), ERR_OK);
	REQUIRE(!getrlimit(RLIMIT_NOFILE, &low));
	CHECK_INT(low.rlim_cur, r.rlim_max);
	REQUIRE(!setrlimit(RLIMIT_NOFILE, &r));
}

int main(void)
{
	static const struct t_case cases[] = {
		T(closing_forgets_the_number),
		T(flags_go_on_and_off),
		T(more_than_fits_is_written_whole),
		T(a_peer_that_does_not_read_runs_out_the_time),
		T(a_peer_that_left_is_closed),
		T(a_full_disk_and_a_bad_descriptor_have_their_own_answers),
		T(a_file_is_read_up_to_the_bound),
		T(an_empty_file_is_an_empty_text),
		T(a_long_file_is_read_in_steps),
		T(what_is_no_regular_file_is_refused_without_waiting),
		T(a_socket_has_mode_0660_whatever_the_umask),
		T(a_client_connects_and_is_known_by_its_user),
		T(a_new_listener_takes_the_path_over),
		T(a_path_without_a_slash_is_in_the_working_directory),
		T(nothing_but_a_socket_is_replaced),
		T(a_path_longer_than_an_address_is_refused_clearly),
		T(a_missing_directory_is_named),
		T(no_listener_is_noent),
		T(a_full_backlog_is_busy_and_not_waited_for),
		T(no_temporary_name_is_left_behind),
		T(tcp_listens_on_numeric_addresses),
		T(a_taken_port_is_busy),
		T(names_and_odd_addresses_are_refused),
		T(the_limit_on_descriptors_goes_up_to_the_hard_one),
	};
	int rc;

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(dir))
		return 1;
	rc = t_run(cases, ARRAY_LEN(cases));
	nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	return rc;
}
