/*
 * test_serve.c - a whole responder child, in a process of its own, and how it
 * stops.
 */
#include <config.h>

#include "responder/serve.h"

#include <sys/wait.h>
#include <sysexits.h>

#include "stage.h"

static pid_t child;

/* Fork a child that serves on the stage's socket; true when it says ready.
 * `db_path` is not the stage's if not NULL. */
static bool serve(const char *db_path)
{
	int ready[2];
	char byte = 0;

	stage_build();
	stage_set("FOREMAN_THREADS=4");
	stage_configure();
	if (db_path) {
		free(stage.conf.db);
		stage.conf.db = strdup(db_path);
	}
	STAGE_MUST(!pipe(ready));
	fflush(stdout);
	child = fork();
	if (child == 0) {
		int rc;

		close(ready[0]);
		rc = serve_run(&stage.conf, stage.listener, ready[1]);
		conf_done(&stage.conf);
		_exit(rc);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) < 0)
		byte = 0;
	close(ready[0]);
	return byte == 'r';
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

static int ends_with(void)
{
	int status;

	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void it_says_ready_answers_and_drains(void)
{
	REQUIRE(serve(NULL));
	for (int i = 0; i < 20; i++)
		CHECK_INT(status_of(ask_child("GET", "/healthz", NULL)), 200);
	kill(child, SIGTERM);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

static void more_requests_than_threads_are_all_answered(void)
{
	int fds[40];

	REQUIRE(serve(NULL));
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

	REQUIRE(serve(NULL));
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

	REQUIRE(serve(NULL));
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

	REQUIRE(serve(NULL));
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
	REQUIRE(serve(NULL));
	CHECK_INT(status_of(ask_child("GET", "/healthz", NULL)), 200);
	kill(child, SIGHUP);
	CHECK_INT(ends_with(), EX_OK);
	stage_clear();
}

static void without_a_database_it_never_gets_ready(void)
{
	CHECK(!serve("/nonexistent/foreman.db"));
	CHECK_INT(ends_with(), EX_TEMPFAIL);
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
	};

	sig_block_all();
	log_init("test", LOG_ERROR, LOG_LOGFMT);
	return t_run(cases, ARRAY_LEN(cases));
}
