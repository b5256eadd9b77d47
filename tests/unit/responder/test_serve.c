/*
 * test_serve.c - a whole responder child, in a process of its own, and how it
 * stops.
 */
#include <config.h>

#include "responder/serve.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "stage.h"

static pid_t child;
static int child_log = -1;     /* what it logs */
static int descriptors = -1;   /* how many it may open; -1: as many as it likes */

/* The stage, for a child. */
static void build_for(int threads)
{
	stage_build();
	stage_set("FOREMAN_THREADS=%d", threads);
	stage_configure();
}

static void build(void)
{
	build_for(4);
}

static void limit_descriptors(void)
{
	struct rlimit limit;

	if (descriptors < 0)
		return;
	STAGE_MUST(!getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = (rlim_t)(dup(0) + descriptors);
	STAGE_MUST(!setrlimit(RLIMIT_NOFILE, &limit));
}

/* Fork a child that serves on the stage's socket, and says when it is ready to
 * that descriptor. */
static void run(int ready_fd)
{
	int log[2];

	STAGE_MUST(!pipe2(log, O_CLOEXEC));
	fflush(stdout);
	child = fork();
	if (child == 0) {
		int rc;

		STAGE_MUST(dup2(log[1], STDERR_FILENO) >= 0);
		log_init("test", LOG_WARN, LOG_LOGFMT);
		limit_descriptors();
		rc = serve_run(&stage.conf, stage.listener, ready_fd);
		conf_done(&stage.conf);
		_exit(rc);
	}
	fd_close(&child_log);
	child_log = log[0];
	close(log[1]);
}

/* Run one; true when it says ready. */
static bool gets_ready(void)
{
	int ready[2];
	char byte = 0;

	STAGE_MUST(!pipe2(ready, O_CLOEXEC));
	run(ready[1]);
	close(ready[1]);
	if (read(ready[0], &byte, 1) < 0)
		byte = 0;
	close(ready[0]);
	return byte == 'r';
}

static bool serve(void)
{
	build();
	return gets_ready();
}

static void use_db(const char *path)
{
	free(stage.conf.db);
	stage.conf.db = strdup(path);
}

/* Open a connection and send a request; a thread of the child answers. */
static int ask_child(const char *method, const char *uri, const char *body)
{
	struct buf b;
	int fd;

	STAGE_MUST(!fd_connect_unix(stage.socket_path, false, &fd));
	buf_init(&b, 1 << 16);
	stage_request(&b, method, uri, NULL, body);
	STAGE_MUST(!fd_write_all(fd, b.p, b.len, -1));
	buf_done(&b);
	return fd;
}

static int status_of(int fd)
{
	struct said a = stage_listen(fd, NULL);

	close(fd);
	return a.status;
}

/* Does the child log that, after what was read of its log before? */
static bool logs(const char *text)
{
	char heard[4096];
	size_t len = 0;

	while (len + 1 < sizeof(heard) && stage_readable(child_log) &&
	       read(child_log, heard + len, 1) == 1) {
		heard[++len] = '\0';
		if (strstr(heard, text))
			return true;
	}
	return false;
}

static void limit_child(__rlimit_resource_t what, rlim_t n)
{
	struct rlimit limit;

	STAGE_MUST(!prlimit(child, what, NULL, &limit));
	limit.rlim_cur = n < limit.rlim_max ? n : limit.rlim_max;
	STAGE_MUST(!prlimit(child, what, &limit, NULL));
}

static int ends_with(void)
{
	int status;

	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void it_says_ready_answers_and_drains(void)
{
	REQUIRE(serve());
	for (int i = 0; i < 20; i++)
		CHECK_INT(status_of(ask_child("GET", "/healthz", NULL)), 200);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

static void more_requests_than_threads_are_all_answered(void)
{
	int fds[40];

	REQUIRE(serve());
	for (size_t i = 0; i < ARRAY_LEN(fds) / 2; i++)
		fds[i] = ask_child("GET", "/jobs", NULL);
	for (size_t i = 0; i < ARRAY_LEN(fds) / 2; i++)
		CHECK_INT(status_of(fds[i]), 200);
	kill(child, SIGINT);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

static void parked_clients_take_no_thread(void)
{
	int fds[12];

	REQUIRE(serve());
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = ask_child("POST", "/api/chat",
		                   "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}");
	CHECK_INT(status_of(ask_child("GET", "/healthz", NULL)), 200);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

/* A drain has begun when nobody accepts on the socket any more. */
static void await_drain(void)
{
	int fd = -1;
	enum err e;

	fd_close(&stage.listener);
	do {
		e = fd_connect_unix(stage.socket_path, true, &fd);
		fd_close(&fd);
	} while (!e || e == ERR_BUSY); /* a full backlog is somebody's, still */
}

static void a_drain_waits_for_who_is_parked_until_told_again(void)
{
	struct buf heard;
	struct pollfd p;
	int fd, relay;

	REQUIRE(serve());
	buf_init(&heard, 4096);
	fd = ask_child("POST", "/api/chat",
	               "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}");
	relay = stage_accept_relay();
	REQUIRE(relay >= 0);
	/* attached and stored is what the nudge says */
	while (stage_hear(relay, &heard).type != FRAME_NUDGE)
		;
	kill(child, SIGTERM);
	await_drain();
	p = (struct pollfd){ .fd = relay, .events = POLLIN };
	CHECK_INT(poll(&p, 1, 0), 0);
	CHECK_INT(waitpid(child, NULL, WNOHANG), 0);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	buf_done(&heard);
	close(relay);
	close(fd);
	stage_clear();
}

static void a_drain_ends_with_the_last_one_parked(void)
{
	int fd;

	REQUIRE(serve());
	fd = ask_child("POST", "/api/chat",
	               "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}");
	close(stage_accept_relay());
	kill(child, SIGTERM);
	await_drain();
	close(fd);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

static void a_child_that_was_replaced_drains_too(void)
{
	REQUIRE(serve());
	CHECK_INT(status_of(ask_child("GET", "/healthz", NULL)), 200);
	kill(child, SIGHUP);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

static void without_a_database_it_never_gets_ready(void)
{
	build();
	use_db("/nonexistent/foreman.db");
	CHECK(!gets_ready());
	CHECK_INT(ends_with(), EX_TEMPFAIL);
	stage_clear();
}

static void another_programs_or_a_newer_database_is_the_operators_mistake(void)
{
	build();
	use_db(stage_hollow_db(SCHEMA_VERSION + 1));
	CHECK(!gets_ready());
	CHECK(logs("this foreman knows up to"));
	CHECK_INT(ends_with(), EX_CONFIG);
	use_db(stage_hollow_db(0));
	CHECK(!gets_ready());
	CHECK(logs("another program's database"));
	CHECK_INT(ends_with(), EX_CONFIG);
	stage_clear();
}

/* Wherever it meets the limit. The last it opens are its four threads' own, one
 * each; the last of these may get what had been open to say that it is ready. */
static void with_too_few_descriptors_it_leaves_and_says_why(void)
{
	int unready = 0, ready = 0;

	for (descriptors = 0; ready < 3 && unready < 200; descriptors++) {
		build();
		if (gets_ready()) {
			ready++;
			if (!CHECK(logs("a thread ended by itself")))
				kill(child, SIGTERM);
			CHECK_INT(ends_with(), EX_OK); /* the master starts another */
		} else {
			unready++;
			CHECK(logs("cannot start"));
			CHECK_INT(ends_with(), EX_TEMPFAIL);
		}
		stage_clear();
	}
	descriptors = -1;
	CHECK_INT(ready, 3);
	CHECK(unready > 5);
}

static void who_does_not_wait_for_it_to_be_ready_is_served_as_well(void)
{
	int gone[2];

	build();
	run(-1);
	CHECK_INT(status_of(ask_child("GET", "/healthz", NULL)), 200);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	STAGE_MUST(!pipe2(gone, O_CLOEXEC));
	close(gone[0]);
	run(gone[1]);
	close(gone[1]);
	CHECK_INT(status_of(ask_child("GET", "/healthz", NULL)), 200);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

static void who_connects_and_says_nothing_proper_harms_nobody(void)
{
	static const char nonsense[64] = "GET / HTTP/1.1\r\n\r\n";
	int fd;

	REQUIRE(serve());
	STAGE_MUST(!fd_connect_unix(stage.socket_path, false, &fd));
	close(fd);
	STAGE_MUST(!fd_connect_unix(stage.socket_path, false, &fd));
	STAGE_MUST(!fd_write_all(fd, nonsense, sizeof(nonsense), -1));
	CHECK_INT(stage_listen(fd, NULL).status, 0);
	close(fd);
	CHECK_INT(status_of(ask_child("GET", "/healthz", NULL)), 200);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

static void a_request_without_method_and_path_is_nowhere(void)
{
	static const unsigned char begin[8] = { 0, 1 };
	struct buf b;
	int fd;

	REQUIRE(serve());
	STAGE_MUST(!fd_connect_unix(stage.socket_path, false, &fd));
	buf_init(&b, 1 << 16);
	stage_record(&b, 1, begin, 8);
	stage_record(&b, 4, "", 0);
	stage_record(&b, 5, "", 0);
	STAGE_MUST(!fd_write_all(fd, b.p, b.len, -1));
	buf_done(&b);
	CHECK_INT(status_of(fd), 404);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

static void without_descriptors_who_waits_is_accepted_later(void)
{
	int fd;

	build_for(1);
	REQUIRE(gets_ready());
	/* its thread is there, and has all that it keeps */
	CHECK_INT(status_of(ask_child("GET", "/healthz", NULL)), 200);
	limit_child(RLIMIT_NOFILE, 4); /* what it polls */
	fd = ask_child("GET", "/healthz", NULL);
	CHECK(logs("cannot accept"));
	limit_child(RLIMIT_NOFILE, RLIM_INFINITY);
	CHECK_INT(status_of(fd), 200);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

static void a_drain_is_not_lengthened_by_a_reload(void)
{
	struct buf heard;
	int fd, relay;

	REQUIRE(serve());
	buf_init(&heard, 4096);
	fd = ask_child("POST", "/api/chat",
	               "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}");
	relay = stage_accept_relay();
	REQUIRE(relay >= 0);
	while (stage_hear(relay, &heard).type != FRAME_NUDGE)
		;
	kill(child, SIGTERM);
	await_drain();
	kill(child, SIGHUP);
	kill(child, SIGCHLD);
	kill(child, SIGINT); /* the second, as if there had been no SIGHUP */
	if (!CHECK(logs("left with requests unfinished")))
		kill(child, SIGINT);
	CHECK_INT(ends_with(), EX_OK);
	buf_done(&heard);
	close(relay);
	close(fd);
	stage_clear();
}

/* One that could be used again, for as long as that is likely to go well. */
static void an_idle_connection_to_the_target_is_let_go(void)
{
	static const char answer[] =
	    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	char heard[4096];
	size_t len = 0;
	int fd, target;

	build();
	STAGE_MUST(listen(stage.target, 1) == 0);
	REQUIRE(gets_ready());
	fd = ask_child("GET", "/api/version", NULL);
	STAGE_MUST(stage_readable(stage.target));
	target = accept4(stage.target, NULL, NULL, SOCK_CLOEXEC);
	do {
		STAGE_MUST(stage_readable(target));
		len += (size_t)read(target, heard + len, sizeof(heard) - 1 - len);
		heard[len] = '\0';
	} while (!strstr(heard, "\r\n\r\n"));
	STAGE_MUST(!fd_write_all(target, answer, strlen(answer), -1));
	CHECK_INT(status_of(fd), 200);
	CHECK(stage_readable(target)); /* within LIMIT_KEPT_IDLE_MS, with patience */
	CHECK_INT(read(target, heard, 1), 0);
	close(target);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

/* --- who leaves while no worker is there ---------------------------------- */

static bool finds_job(const char *uri, char id[ULID_SIZE])
{
	int fd = ask_child("GET", uri, NULL);
	struct said a = stage_listen(fd, NULL);
	const char *at = strstr(a.body, "\"id\":\"");

	close(fd);
	snprintf(id, ULID_SIZE, "%s", at ? at + 6 : "");
	return at != NULL;
}

/* Ask until there is a job; its id. */
static const char *await_job(const char *uri)
{
	static char id[ULID_SIZE];
	int64_t end_ms = clock_mono_ms() + STAGE_PATIENCE_MS;

	while (!finds_job(uri, id) && clock_mono_ms() < end_ms)
		;
	return id;
}

/* A chat that waits in line, without a worker; our end of it. */
static int wait_alone(void)
{
	build();
	fd_close(&stage.relay);
	unlink(stage.relay_path);
	STAGE_MUST(gets_ready());
	return ask_child("POST", "/api/chat",
	                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}");
}

static void who_leaves_while_no_worker_is_there_has_the_job_cancelled(void)
{
	int fd = wait_alone();
	char id[ULID_SIZE];

	str_copy(id, sizeof(id), await_job("/jobs?state=queued"));
	CHECK(id[0]);
	close(fd);
	CHECK_STR(await_job("/jobs?state=failed"), id);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

static void a_cancel_that_cannot_be_written_is_told_once(void)
{
	int fd = wait_alone();

	CHECK(await_job("/jobs?state=queued")[0]);
	limit_child(RLIMIT_FSIZE, 1);
	close(fd);
	CHECK(logs("\"cannot cancel\" job="));
	limit_child(RLIMIT_FSIZE, RLIM_INFINITY);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	CHECK(!logs("cannot cancel"));
	stage_clear();
}

static void a_job_that_was_removed_need_not_be_cancelled(void)
{
	int fd = wait_alone();
	char uri[64];

	snprintf(uri, sizeof(uri), "/jobs/%s", await_job("/jobs?state=queued"));
	CHECK_INT(status_of(ask_child("DELETE", uri, NULL)), 204);
	close(fd);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	CHECK(!logs("cannot cancel"));
	stage_clear();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(it_says_ready_answers_and_drains),
		T(more_requests_than_threads_are_all_answered),
		T(parked_clients_take_no_thread),
		T(a_drain_waits_for_who_is_parked_until_told_again),
		T(a_drain_ends_with_the_last_one_parked),
		T(a_child_that_was_replaced_drains_too),
		T(without_a_database_it_never_gets_ready),
		T(another_programs_or_a_newer_database_is_the_operators_mistake),
		T(with_too_few_descriptors_it_leaves_and_says_why),
		T(who_does_not_wait_for_it_to_be_ready_is_served_as_well),
		T(who_connects_and_says_nothing_proper_harms_nobody),
		T(a_request_without_method_and_path_is_nowhere),
		T(without_descriptors_who_waits_is_accepted_later),
		T(a_drain_is_not_lengthened_by_a_reload),
		T(an_idle_connection_to_the_target_is_let_go),
		T(who_leaves_while_no_worker_is_there_has_the_job_cancelled),
		T(a_cancel_that_cannot_be_written_is_told_once),
		T(a_job_that_was_removed_need_not_be_cancelled),
	};

	sig_block_all();
	log_init("test", LOG_ERROR, LOG_LOGFMT);
	return t_run(cases, ARRAY_LEN(cases));
}
