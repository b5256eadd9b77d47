/*
 * stage.h - a responder's insides on a stage: a real database in a temporary
 * directory, a real parking lot, the test as web server, worker and target.
 *
 *   stage_up("FOREMAN_MAX_QUEUE=1", NULL);
 *   struct said a = stage_ask("GET", "/jobs", NULL, NULL);
 *   CHECK_INT(a.status, 200); CHECK(strstr(a.body, "…"));
 *   stage_down();
 *
 * A request is answered in this thread, by serve_request, as a responder's
 * thread would; what it leaves in the lot goes on there. For a responder in a
 * process of its own (test_serve), stage_build and stage_configure are enough.
 */
#ifndef FOREMAN_TESTS_STAGE_H
#define FOREMAN_TESTS_STAGE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sig.h"
#include "core/conf.h"
#include "core/frame.h"
#include "fcgi/fcgx.h"
#include "http/guard.h"
#include "http/xfer.h"
#include "responder/call.h"
#include "responder/health.h"
#include "responder/lot.h"
#include "responder/serve.h"
#include "responder/watch.h"
#include "store/group.h"
#include "store/queue.h"
#include "store/schema.h"
#include "store/status.h"
#include "t.h"

#define STAGE_PATIENCE_MS 10000 /* what never comes fails a case after this */
#define STAGE_SETTINGS 24

static struct {
	char dir[64], db_path[96], relay_path[96], socket_path[96];
	char hollow_path[96]; /* stage_hollow_db */
	char settings[STAGE_SETTINGS][160];
	char *env[STAGE_SETTINGS + 1];
	size_t env_count;
	struct conf conf;
	struct service service;
	struct seat seat;
	struct db *worker_db; /* a DB_WORKER, for what only a worker does */
	int listener;         /* FastCGI */
	int relay;            /* listening */
	int target;           /* listening on 127.0.0.1 */
	int target_port;
	pthread_t target_thread;
	bool target_runs;
	const char *target_reply; /* raw HTTP; the connection closes behind it */
	struct buf target_heard;  /* the last request */
	int web;                  /* our end of the last request, when it is parked */
} stage;

static inline void stage_must(bool ok, const char *what)
{
	if (ok)
		return;
	printf("Bail out! stage: %s\n", what);
	fflush(stdout);
	abort();
}

#define STAGE_MUST(cond) stage_must((cond), #cond)

/* --- the target ----------------------------------------------------------- */

static inline bool stage_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, STAGE_PATIENCE_MS) == 1;
}

/* A whole request with a Content-Length, or without a body. */
static inline bool stage_whole(struct buf *b)
{
	const char *text = buf_str(b);
	const char *end = strstr(text, "\r\n\r\n");
	const char *length = strcasestr(text, "\r\nContent-Length:");

	return end && (size_t)(end + 4 - text) +
	                      (length ? strtoul(length + 17, NULL, 10) : 0) <=
	                  b->len;
}

static inline void *stage_target_main(void *arg)
{
	(void)arg;
	for (;;) {
		int fd = accept4(stage.target, NULL, NULL, SOCK_CLOEXEC);
		char chunk[4096];
		ssize_t n = 1;

		if (fd < 0 && errno == EMFILE)
			continue; /* a case wants it so, for a moment */
		if (fd < 0)
			return NULL; /* shut down by stage_down */
		buf_clear(&stage.target_heard);
		while (n > 0 && !stage_whole(&stage.target_heard)) {
			n = read(fd, chunk, sizeof(chunk));
			if (n > 0)
				STAGE_MUST(!buf_add(&stage.target_heard, chunk, (size_t)n));
		}
		STAGE_MUST(
		    !fd_write_all(fd, stage.target_reply, strlen(stage.target_reply), -1));
		close(fd);
	}
}

/* From now on the target answers every request with these bytes. */
static inline void stage_target_says(const char *reply)
{
	stage.target_reply = reply;
	if (stage.target_runs)
		return;
	stage.target_runs = true;
	STAGE_MUST(listen(stage.target, 16) == 0);
	STAGE_MUST(
	    !pthread_create(&stage.target_thread, NULL, stage_target_main, NULL));
}

static inline const char *stage_target_heard(void)
{
	return buf_str(&stage.target_heard);
}

/* A port that is bound, but refuses until stage_target_says listens on it. */
static inline void stage_bind_target(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);

	stage.target = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	STAGE_MUST(!bind(stage.target, (struct sockaddr *)&a, sizeof(a)));
	STAGE_MUST(!getsockname(stage.target, (struct sockaddr *)&a, &size));
	stage.target_port = ntohs(a.sin_port);
	buf_init(&stage.target_heard, 1 << 20);
}

/* --- up and down ---------------------------------------------------------- */

static inline void stage_set(const char *fmt, ...) PRINTF_LIKE(1, 2);
static inline void stage_set(const char *fmt, ...)
{
	char *setting = stage.settings[stage.env_count];
	va_list args;

	STAGE_MUST(stage.env_count < STAGE_SETTINGS);
	va_start(args, fmt);
	vsnprintf(setting, sizeof(stage.settings[0]), fmt, args);
	va_end(args);
	stage.env[stage.env_count++] = setting;
	stage.env[stage.env_count] = NULL;
}

static inline void stage_cancel(void *arg, const char *id)
{
	enum queue_cancel_answer answer;

	(void)arg;
	STAGE_MUST(
	    !group_cancel(stage.service.group, id, clock_wall_ms(), &answer, NULL));
}

static inline void stage_open(void)
{
	struct service *v = &stage.service;
	const struct queue_limits limits = { .max_queue = stage.conf.max_queue,
		                                 .max_jobs = stage.conf.max_jobs };
	const struct lot_conf lot = { .relay = stage.relay_path,
		                          .db = &v->db_conf,
		                          .keepalive_ms = stage.conf.keepalive_ms,
		                          .cancel = stage_cancel };
	struct errtext why;

	v->conf = &stage.conf;
	v->db_conf = (struct db_conf){ .path = stage.db_path,
		                           .inline_max = stage.conf.inline_max };
	STAGE_MUST(!guard_new(stage.conf.webhook_allow, stage.conf.ollama_url,
	                      &v->guard, &why));
	STAGE_MUST(!group_open(&v->db_conf, &limits, &v->group, &why));
	STAGE_MUST(!db_open(&v->db_conf, DB_WORKER, &stage.worker_db, &why));
	STAGE_MUST(!health_new(&v->health));
	STAGE_MUST(!lot_new(&lot, &v->lot));
	STAGE_MUST(!watch_new(&stage.conf, &v->db_conf, &v->watch));
	stage.seat.service = v;
	buf_init(&stage.seat.body, (size_t)stage.conf.max_body);
}

/* The directory, the sockets and the first settings; no thread, no database. */
static inline void stage_build(void)
{
	struct errtext why;

	memset(&stage, 0, sizeof(stage));
	stage.web = -1;
	strcpy(stage.dir, "/tmp/foreman-stage-XXXXXX");
	STAGE_MUST(mkdtemp(stage.dir) != NULL);
	snprintf(stage.db_path, sizeof(stage.db_path), "%s/foreman.db", stage.dir);
	snprintf(stage.relay_path, sizeof(stage.relay_path), "%s/relay", stage.dir);
	snprintf(stage.socket_path, sizeof(stage.socket_path), "%s/fcgi", stage.dir);
	stage_bind_target();
	STAGE_MUST(!fd_listen_unix(stage.socket_path, 64, &stage.listener, &why));
	STAGE_MUST(!fd_listen_unix(stage.relay_path, 64, &stage.relay, &why));
	stage_set("FOREMAN_DB=%s", stage.db_path);
	stage_set("FOREMAN_RELAY=%s", stage.relay_path);
	stage_set("FOREMAN_SOCKET=%s", stage.socket_path);
	stage_set("FOREMAN_OLLAMA_URL=http://127.0.0.1:%d", stage.target_port);
}

static inline void stage_configure(void)
{
	struct errtext why = { 0 };

	if (conf_load(stage.env, &stage.conf, &why))
		stage_must(false, why.s);
}

/* All of it, with further "KEY=value" settings, NULL at the end. */
static inline void stage_up(const char *setting, ...)
{
	static bool once;
	va_list args;

	if (!once) {
		sig_block_all();
		log_init("test", LOG_ERROR, LOG_LOGFMT);
		STAGE_MUST(!fcgx_init() && !xfer_global_init());
		once = true;
	}
	stage_build();
	va_start(args, setting);
	for (const char *s = setting; s; s = va_arg(args, const char *))
		stage_set("%s", s);
	va_end(args);
	stage_configure();
	stage_open();
}

/* What stage_build and stage_configure made. */
static inline void stage_clear(void)
{
	static const char *const names[] = { "foreman.db",     "foreman.db-wal",
		                                 "foreman.db-shm", "foreman.db.gate",
		                                 "relay",          "fcgi",
		                                 "hollow",         "hollow-wal",
		                                 "hollow-shm",     "hollow.gate" };

	fd_close(&stage.web);
	fd_close(&stage.target);
	fd_close(&stage.relay);
	fd_close(&stage.listener);
	buf_done(&stage.target_heard);
	conf_done(&stage.conf);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%s", stage.dir, names[i]);
		unlink(path);
	}
	rmdir(stage.dir);
}

static inline void stage_down(void)
{
	fd_close(&stage.web);
	lot_drain(stage.service.lot, 0);
	lot_close(stage.service.lot);
	lot_free(stage.service.lot);
	watch_drain(stage.service.watch, 0);
	watch_close(stage.service.watch);
	watch_free(stage.service.watch);
	seat_done(&stage.seat);
	health_free(stage.service.health);
	group_close(stage.service.group);
	guard_free(stage.service.guard);
	db_close(stage.worker_db);
	shutdown(stage.target, SHUT_RDWR);
	if (stage.target_runs)
		pthread_join(stage.target_thread, NULL);
	stage_clear();
}

/* --- the web server ------------------------------------------------------- */

struct said {
	int status;
	char headers[2048];
	char body[512 * 1024];
};

static inline void stage_record(struct buf *b, int type, const void *p, size_t len)
{
	const unsigned char head[8] = { 1,
		                            (unsigned char)type,
		                            0,
		                            1,
		                            (unsigned char)(len >> 8),
		                            (unsigned char)len,
		                            0,
		                            0 };

	STAGE_MUST(len < 65536 && !buf_add(b, head, 8) && !buf_add(b, p, len));
}

static inline void stage_param(struct buf *b, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value);
	const unsigned char lens[8] = {
		0x80, 0, (unsigned char)(n >> 8), (unsigned char)n,
		0x80, 0, (unsigned char)(v >> 8), (unsigned char)v
	};

	STAGE_MUST(!buf_add(b, lens, 8) && !buf_add_str(b, name) &&
	           !buf_add_str(b, value));
}

/* `headers`: "HTTP_X=value" lines, may be NULL. */
static inline void stage_request(struct buf *b, const char *method, const char *uri,
                                 const char *headers, const char *body)
{
	static const unsigned char begin[8] = { 0, 1 };
	struct span rest = span_of(headers), line, name;
	struct buf params;
	char length[24];
	size_t left = body ? strlen(body) : 0;

	buf_init(&params, 60000);
	snprintf(length, sizeof(length), "%zu", left);
	stage_param(&params, "REQUEST_METHOD", method);
	stage_param(&params, "REQUEST_URI", uri);
	stage_param(&params, "CONTENT_LENGTH", length);
	while (span_cut(&rest, '\n', &line) && span_cut(&line, '=', &name)) {
		char *n = span_dup(name), *v = span_dup(line);

		stage_param(&params, n, v ? v : "");
		free(n);
		free(v);
	}
	stage_record(b, 1, begin, 8);
	stage_record(b, 4, params.p, params.len);
	stage_record(b, 4, "", 0);
	while (left) {
		size_t n = left < 32768 ? left : 32768;

		stage_record(b, 5, body, n);
		body += n;
		left -= n;
	}
	stage_record(b, 5, "", 0);
	buf_done(&params);
}

static inline void stage_take_head(struct said *a, struct buf *text)
{
	const char *all = buf_str(text);
	const char *end = strstr(all, "\r\n\r\n");

	if (!end || sscanf(all, "Status: %d", &a->status) != 1)
		return;
	snprintf(a->headers, sizeof(a->headers), "%.*s", (int)(end + 2 - all), all);
	snprintf(a->body, sizeof(a->body), "%s", end + 4);
}

/* All that comes until the connection ends, or until `enough` is in it. */
static inline struct said stage_listen(int fd, const char *enough)
{
	struct buf in, text;
	struct said a = { 0 };
	bool ended = false;
	ssize_t n = 1;

	buf_init(&in, 1 << 22);
	buf_init(&text, 1 << 22);
	while (n > 0 && !ended) {
		char *to = buf_reserve(&in, 65536);

		n = stage_readable(fd) ? read(fd, to, 65536) : 0;
		if (n > 0)
			buf_commit(&in, (size_t)n);
		while (in.len >= 8) {
			const unsigned char *p = (const unsigned char *)in.p;
			size_t len = (size_t)(p[4] << 8 | p[5]), pad = p[6];

			if (in.len < 8 + len + pad)
				break;
			if (p[1] == 6)
				STAGE_MUST(!buf_add(&text, in.p + 8, len));
			ended = ended || p[1] == 3;
			buf_consume(&in, 8 + len + pad);
		}
		if (enough && text.len && strstr(buf_str(&text), enough))
			break;
	}
	stage_take_head(&a, &text);
	buf_done(&in);
	buf_done(&text);
	return a;
}

/* A connection with a request on it; nobody has accepted it yet. */
static inline int stage_call(const char *method, const char *uri,
                             const char *headers, const char *body)
{
	int room = 4 << 20, fd;
	struct buf b;

	STAGE_MUST(!fd_connect_unix(stage.socket_path, false, &fd));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	buf_init(&b, 1 << 22);
	stage_request(&b, method, uri, headers, body);
	STAGE_MUST(!fd_write_all(fd, b.p, b.len, 0));
	buf_done(&b);
	return fd;
}

/* Have the next connection's request served. */
static inline void stage_serve(void)
{
	struct fcgx *req;

	STAGE_MUST(!fcgx_accept(stage.listener, &req));
	serve_request(&stage.seat, req);
}

/* Send a request and have it served; our end of its connection. */
static inline int stage_send(const char *method, const char *uri,
                             const char *headers, const char *body, bool will_wait)
{
	int fd = stage_call(method, uri, headers, body);

	/* so that finishing does not wait for us; but for who waits in line a
	 * half close is a leave */
	if (!will_wait)
		shutdown(fd, SHUT_WR);
	stage_serve();
	return fd;
}

/* A client that has gone when its request is served. */
static inline void stage_call_and_leave(const char *method, const char *uri,
                                        const char *headers, const char *body)
{
	close(stage_call(method, uri, headers, body));
	stage_serve();
}

static inline struct said stage_ask(const char *method, const char *uri,
                                    const char *headers, const char *body)
{
	int fd = stage_send(method, uri, headers, body, false);
	struct said a = stage_listen(fd, NULL);

	close(fd);
	return a;
}

/* --- the worker ----------------------------------------------------------- */

/* The next frame of a relay connection; FRAME_TYPE_COUNT at its end. */
static inline struct frame stage_hear(int fd, struct buf *heard)
{
	struct frame f = { 0 };
	size_t used;

	while (frame_decode((struct span){ heard->p, heard->len }, &f, &used)) {
		char *to = buf_reserve(heard, 4096);
		ssize_t n = stage_readable(fd) ? read(fd, to, 4096) : 0;

		if (n <= 0)
			return (struct frame){ .type = FRAME_TYPE_COUNT };
		buf_commit(heard, (size_t)n);
	}
	buf_consume(heard, used);
	return f;
}

static inline int stage_accept_relay(void)
{
	return stage_readable(stage.relay)
	           ? accept4(stage.relay, NULL, NULL, SOCK_CLOEXEC)
	           : -1;
}

/* --- trouble -------------------------------------------------------------- */

static inline void stage_put_u32(unsigned char *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* What only reads opens this in place of the database, from its next request on;
 * what writes has its own already. */
static inline void stage_reads(const char *path)
{
	db_close(stage.seat.db);
	stage.seat.db = NULL;
	stage.service.db_conf.path = path;
}

/* False: from now on no file of ours grows, the database's as little as any. */
static inline void stage_files_may_grow(bool may)
{
	struct rlimit limit;

	STAGE_MUST(!getrlimit(RLIMIT_FSIZE, &limit));
	limit.rlim_cur = may ? limit.rlim_max : 1;
	STAGE_MUST(!setrlimit(RLIMIT_FSIZE, &limit));
}

/* A database of this schema version that has lost all its tables: the header
 * of a SQLite file and an empty list of them. */
static inline const char *stage_hollow_db(uint32_t version)
{
	static unsigned char file[4096];
	static const struct {
		size_t at;
		uint32_t value;
	} header[] = { { 16, 0x10000101 }, /* pages of 4096; a rollback journal */
		           { 20, 0x00402020 }, /* payload fractions, as they must be */
		           { 24, 1 },          /* changes */
		           { 28, 1 },          /* pages */
		           { 44, 4 },          /* schema format */
		           { 56, 1 },          /* UTF-8 */
		           { 68, SCHEMA_APPLICATION_ID },
		           { 92, 1 },
		           { 100, 0x0d000000 }, /* an empty leaf */
		           { 104, 0x00100000 } };
	int fd;

	memset(file, 0, sizeof(file));
	strcpy((char *)file, "SQLite format 3");
	for (size_t i = 0; i < ARRAY_LEN(header); i++)
		stage_put_u32(file + header[i].at, header[i].value);
	stage_put_u32(file + 60, version);
	snprintf(stage.hollow_path, sizeof(stage.hollow_path), "%s/hollow", stage.dir);
	fd = open(stage.hollow_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	STAGE_MUST(fd >= 0 && !fd_write_all(fd, file, sizeof(file), 0));
	close(fd);
	return stage.hollow_path;
}

static inline void stage_worker_says(const struct status *s)
{
	STAGE_MUST(!status_write(stage.worker_db, s, NULL));
}

/* Take the queue's only job to its end with this response. */
static inline void stage_run_job(int64_t seq, const char *type,
                                 struct span response)
{
	struct queue_result result = { .content_type = type,
		                           .response = response,
		                           .complete = true,
		                           .prompt_tokens = 1,
		                           .completion_tokens = 2 };
	int64_t now = clock_wall_ms();
	struct errtext why;
	struct job job;
	struct queue_input in = { 0 };

	STAGE_MUST(!queue_claim(stage.worker_db, seq, now, &job, &in, &why));
	STAGE_MUST(!queue_working(stage.worker_db, &job, now, &why));
	STAGE_MUST(!queue_done(stage.worker_db, &job, &result, now, &why));
	job_done(&job);
	free(in.body);
}

#endif
