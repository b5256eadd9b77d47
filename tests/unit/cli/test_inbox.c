/*
 * test_inbox.c - whoever connects to the receiver, and what it answers them.
 */
#include <config.h>

#include "cli/inbox.h"

#include <sys/wait.h>

#include "base/clock.h"
#include "core/signature.h"
#include "run.h"

static const char secret[] = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0IQ==";

static struct {
	pid_t pid;
	unsigned port;
	int out; /* what it prints, and complains */
} inbox;

/* A receiver of its own process, for it serves until it is killed. */
static void inbox_up(const char *secrets, bool json)
{
	int pipes[2];
	char line[128] = "";
	const char *colon;

	SERVED_MUST(!pipe(pipes));
	fflush(stdout);
	inbox.pid = fork();
	if (inbox.pid == 0) {
		dup2(pipes[1], STDOUT_FILENO);
		dup2(pipes[1], STDERR_FILENO);
		close(pipes[0]);
		close(pipes[1]);
		_exit(inbox_serve(0, secrets, json));
	}
	close(pipes[1]);
	inbox.out = pipes[0];
	for (size_t n = 0; n < sizeof(line) - 1 && !strchr(line, '\n'); n++)
		SERVED_MUST(read(inbox.out, line + n, 1) == 1);
	colon = strrchr(line, ':');
	SERVED_MUST(colon != NULL);
	inbox.port = (unsigned)strtoul(colon + 1, NULL, 10);
}

/* What it has printed meanwhile, to its end. */
static const char *inbox_down(void)
{
	static char text[4096];
	size_t len = 0;
	ssize_t n;

	kill(inbox.pid, SIGTERM);
	while (len < sizeof(text) - 1 &&
	       (n = read(inbox.out, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(inbox.out);
	waitpid(inbox.pid, NULL, 0);
	return text;
}

static int inbox_connect(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		                      .sin_port = htons((uint16_t)inbox.port),
		                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	SERVED_MUST(!connect(fd, (struct sockaddr *)&at, sizeof(at)));
	return fd;
}

/* The status it answers to these bytes; 0 when it closes without a word. */
static int deliver(const char *bytes)
{
	int fd = inbox_connect();
	char text[256] = "";
	size_t len = 0;
	ssize_t n;

	if (fd_write_all(fd, bytes, strlen(bytes), -1) == ERR_OK)
		shutdown(fd, SHUT_WR);
	while (len < sizeof(text) - 1 &&
	       (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	return len > 9 ? atoi(text + 9) : 0;
}

#define BODY                                                                       \
	"{\"type\":\"job.failed\",\"data\":{\"job\":{\"id\":\"" SERVED_ID              \
	"\",\"reason\":\"canceled\"}}}"

static void without_a_secret_all_are_taken(void)
{
	char request[512];
	const char *text;

	inbox_up(NULL, false);
	snprintf(request, sizeof(request),
	         "POST / HTTP/1.1\r\nno header\r\nWebhook-Id: evt_1\r\n"
	         "Content-Length: %zu\r\n\r\n%s",
	         strlen(BODY), BODY);
	CHECK_INT(deliver(request), 204);
	CHECK_INT(deliver("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n[}"), 204);
	text = inbox_down();
	CHECK(strstr(text, "  job.failed   " SERVED_ID " unsigned, canceled\n"));
	CHECK(strstr(text, "\n[}\n")); /* no JSON: as it is */
}

static void what_is_no_delivery_is_refused(void)
{
	static char head[20000];

	inbox_up(NULL, false);
	CHECK_INT(deliver("POST / HTTP/1.1\r\n\r\n{}"), 411);
	CHECK_INT(deliver("POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n{}"), 411);
	CHECK_INT(deliver("POST / HTTP/1.1\r\nContent-Length: 100663297\r\n\r\n{}"),
	          411);
	memset(head, 'a', sizeof(head) - 1);
	CHECK_INT(deliver(head), 431);
	CHECK_INT(deliver(""), 0);
	CHECK_INT(deliver("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}"), 0);
	CHECK_STR(inbox_down(), "");
}

static void signed_in(const char *id, int64_t at_s, const char *body, char out[512])
{
	struct buf header;

	buf_init(&header, 1024);
	CHECK_INT(signature_make(secret, id, at_s, span_of(body), &header), ERR_OK);
	snprintf(out, 512,
	         "POST / HTTP/1.1\r\nwebhook-id: %s\r\nwebhook-timestamp: %lld\r\n"
	         "webhook-signature: %s\r\nContent-Length: %zu\r\n\r\n%s",
	         id, (long long)at_s, buf_str(&header), strlen(body), body);
	buf_done(&header);
}

static void with_a_secret_only_what_is_signed_is_taken(void)
{
	char good[512], bad[512];
	const char *text;

	signed_in("evt_2", clock_wall_ms() / 1000, BODY, good);
	signed_in("evt_3", clock_wall_ms() / 1000, BODY, bad);
	*strstr(bad, "canceled") = 'C';
	inbox_up(secret, true);
	CHECK_INT(deliver(good), 204);
	CHECK_INT(deliver(bad), 401);
	CHECK_INT(deliver("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"), 400);
	CHECK_INT(
	    deliver("POST / HTTP/1.1\r\nwebhook-timestamp: 9223372036854775808\r\n"
	            "Content-Length: 2\r\n\r\n{}"),
	    400);
	text = inbox_down();
	CHECK(strstr(text, BODY "\n"));
	CHECK(strstr(text, "foreman: evt_3: its signature does not fit\n"));
	CHECK(strstr(text, "foreman: a request: its signature does not fit\n"));
	CHECK(!strstr(text, "Canceled"));
}

static void nobody_listens_where_another_does(void)
{
	char port[16];

	inbox_up(NULL, false);
	snprintf(port, sizeof(port), "%u", inbox.port);
	CHECK_INT(RUN("webhooks", "listen", port), EX_OSERR);
	CHECK(strstr(said.err, "Address already in use"));
	inbox_down();
}

static void when_nobody_reads_it_leaves(void)
{
	int status = 0;

	signal(SIGPIPE, SIG_IGN);
	inbox_up(NULL, false);
	close(inbox.out);
	deliver("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
	CHECK_INT(waitpid(inbox.pid, &status, 0), inbox.pid);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), EX_OK);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(without_a_secret_all_are_taken),
		T(what_is_no_delivery_is_refused),
		T(with_a_secret_only_what_is_signed_is_taken),
		T(nobody_listens_where_another_does),
		T(when_nobody_reads_it_leaves),
	};
	int failed = t_run(cases, ARRAY_LEN(cases));

	said_forget();
	return failed;
}
