/*
 * world.h - what the worker's units live among, small enough for a unit test:
 * a directory with a database, a loop, and in the same loop a target that
 * answers as it is told.
 */
#ifndef FOREMAN_TESTS_WORLD_H
#define FOREMAN_TESTS_WORLD_H

#include "t.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netinet/in.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sig.h"
#include "base/ulid.h"
#include "core/conf.h"
#include "http/loop.h"
#include "http/xfer.h"
#include "store/look.h"
#include "store/queue.h"

struct world;

/* A connection to the target. */
struct guest {
	struct world *world;
	int fd;
	struct loop_fd *watch;
	struct buf in;
	bool posted; /* and was not answered, or not to the end */
	struct guest *next;
};

struct world {
	char dir[64];
	char db_path[80];
	char relay_path[80];
	struct loop *loop;
	struct db *db;
	struct conf conf;
	int listen_fd;
	struct loop_fd *watch;
	struct guest *guests;

	/* The target: */
	bool dead;           /* it closes what connects */
	const char *version; /* what it says there: a JSON text, or raw HTTP; */
	const char *ps;      /* ... NULL: silence */
	const char *tags;
	const char *answer; /* to a POST: raw HTTP, then close; NULL: silence */
	bool stays;         /* it does not close after `answer` */
	int gets;           /* so many came, */
	int posts;          /* ... and so many of these */
	int left;           /* connections the other side closed first */
	char last_post[64]; /* path of the last */
	char last_head[1024];
	char last_body[256];

	/* The jobs to come: */
	const char *job_headers;
	int64_t job_age_ms;
	int64_t job_timeout_ms;
};

static void guest_free(struct guest *g)
{
	struct guest **link = &g->world->guests;

	while (*link != g)
		link = &(*link)->next;
	*link = g->next;
	loop_fd_del(g->watch);
	fd_close(&g->fd);
	buf_done(&g->in);
	free(g);
}

static void guest_say(struct guest *g, const char *text)
{
	CHECK(fd_write_all(g->fd, text, strlen(text), 1000) == ERR_OK);
	guest_free(g);
}

/* A JSON text, or raw HTTP; NULL: nothing, for ever. */
static void guest_say_either(struct guest *g, const char *json)
{
	char text[1024];

	if (!json)
		return;
	if (strncmp(json, "HTTP/", 5) == 0) {
		guest_say(g, json);
		return;
	}
	snprintf(text, sizeof(text),
	         "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	         "Content-Length: %zu\r\n\r\n%s",
	         strlen(json), json);
	guest_say(g, text);
}

static void guest_post(struct guest *g, const char *request, const char *body)
{
	struct world *w = g->world;

	w->posts++;
	sscanf(request, "POST %63s", w->last_post);
	snprintf(w->last_head, sizeof(w->last_head), "%.*s", (int)(body - request),
	         request);
	snprintf(w->last_body, sizeof(w->last_body), "%s", body);
	buf_clear(&g->in);
	g->posted = true;
	if (!w->answer)
		return;
	if (w->stays)
		CHECK(fd_write_all(g->fd, w->answer, strlen(w->answer), 1000) == ERR_OK);
	else
		guest_say(g, w->answer);
}

/* A whole request? Then answer it. */
static void guest_serve(struct guest *g)
{
	const char *request = buf_str(&g->in);
	const char *body = strstr(request, "\r\n\r\n");
	const char *length = strstr(request, "Content-Length: ");

	if (!body || strlen(body + 4) < (length ? strtoul(length + 16, NULL, 10) : 0))
		return;
	g->world->gets += strncmp(request, "GET ", 4) == 0;
	if (strncmp(request, "GET /api/version ", 17) == 0)
		guest_say_either(g, g->world->version);
	else if (strncmp(request, "GET /api/ps ", 12) == 0)
		guest_say_either(g, g->world->ps);
	else if (strncmp(request, "GET ", 4) == 0)
		guest_say_either(g, g->world->tags);
	else
		guest_post(g, request, body + 4);
}

static void guest_fired(void *arg, uint32_t events)
{
	struct guest *g = arg;
	char bytes[4096];
	ssize_t n = recv(g->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	(void)events;
	if (n <= 0) {
		g->world->left++;
		guest_free(g);
		return;
	}
	CHECK(buf_add(&g->in, bytes, (size_t)n) == ERR_OK);
	guest_serve(g);
}

static void world_accept(void *arg, uint32_t events)
{
	struct world *w = arg;
	int fd = accept(w->listen_fd, NULL, NULL);
	struct guest *g;

	(void)events;
	if (fd < 0)
		return;
	if (w->dead) {
		close(fd);
		return;
	}
	g = calloc(1, sizeof(*g));
	g->world = w;
	g->fd = fd;
	buf_init(&g->in, 1 << 20);
	g->next = w->guests;
	w->guests = g;
	CHECK(loop_fd_add(w->loop, fd, EPOLLIN, guest_fired, g, &g->watch) == ERR_OK);
}

/* `extra`: further settings, "NAME=value", or NULL. */
static bool world_begin(struct world *w, const char *extra)
{
	char url[64], db[128], relay[128];
	char poll[] = "FOREMAN_POLL_INTERVAL=1s";
	char *env[] = { url, db, relay, poll, NULL, NULL };
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	struct errtext why = { "" };
	struct db_conf db_conf = { .inline_max = 1000 };

	*w = (struct world){ .version = "{\"version\":\"0.33.0\"}",
		                 .ps = "{\"models\":[]}",
		                 .tags = "{\"models\":[]}" };
	sig_block_all();
	log_init("test", LOG_ERROR, LOG_LOGFMT);
	snprintf(w->dir, sizeof(w->dir), "/tmp/foreman-unit-XXXXXX");
	if (!CHECK(mkdtemp(w->dir)) || !CHECK(xfer_global_init() == ERR_OK))
		return false;
	snprintf(w->db_path, sizeof(w->db_path), "%s/f.db", w->dir);
	snprintf(w->relay_path, sizeof(w->relay_path), "%s/r.sock", w->dir);
	CHECK(fd_listen_tcp("127.0.0.1:0", 16, &w->listen_fd, &why) == ERR_OK);
	CHECK(getsockname(w->listen_fd, (struct sockaddr *)&at, &len) == 0);
	snprintf(url, sizeof(url), "FOREMAN_OLLAMA_URL=http://127.0.0.1:%d",
	         ntohs(at.sin_port));
	snprintf(db, sizeof(db), "FOREMAN_DB=%s", w->db_path);
	snprintf(relay, sizeof(relay), "FOREMAN_RELAY=%s", w->relay_path);
	env[4] = extra ? strdup(extra) : NULL;
	db_conf.path = w->db_path;
	CHECK(conf_load(env, &w->conf, &why) == ERR_OK);
	free(env[4]);
	CHECK(db_open(&db_conf, DB_WORKER, &w->db, &why) == ERR_OK);
	CHECK(loop_new(&w->loop) == ERR_OK);
	CHECK(loop_fd_add(w->loop, w->listen_fd, EPOLLIN, world_accept, w, &w->watch) ==
	      ERR_OK);
	if (why.s[0])
		printf("# %s\n", why.s);
	return !t_failed;
}

static void world_end(struct world *w)
{
	static const char *const names[] = { "f.db",      "f.db-wal",    "f.db-shm",
		                                 "f.db.gate", "f.db.worker", "r.sock" };

	while (w->guests)
		guest_free(w->guests);
	loop_fd_del(w->watch);
	fd_close(&w->listen_fd);
	loop_free(w->loop);
	db_close(w->db);
	conf_done(&w->conf);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%s", w->dir, names[i]);
		unlink(path);
	}
	CHECK(rmdir(w->dir) == 0);
}

/* What `answer` left open ends so. */
static UNUSED void world_answer(struct world *w, const char *rest)
{
	struct guest *g = w->guests;

	while (g && !g->posted)
		g = g->next;
	if (CHECK(g != NULL))
		guest_say(g, rest);
}

/* Insert a chat for `model`; its id goes to `id` if that is "", else it is it. */
static UNUSED int64_t world_submit(struct world *w, const char *model,
                                   bool attended, char id[ULID_SIZE])
{
	struct job job;
	struct submission sub = { .job = &job,
		                      .body = SPAN_LIT("{\"the\":\"body\"}"),
		                      .headers = span_of(w->job_headers) };
	struct submission *subs[] = { &sub };
	struct queue_limits limits = { 1000, 1000 };
	struct errtext why = { "" };
	int64_t seq;

	job_init(&job);
	if (!id[0])
		ulid_new(id);
	str_copy(job.id, sizeof(job.id), id);
	job.attended = attended;
	job.endpoint = strdup("/api/chat");
	job.model = strdup(model);
	job.load_key = strdup(model);
	job.created_ms = job.queued_ms = clock_wall_ms() - w->job_age_ms;
	job.timeout_ms = w->job_timeout_ms;
	job.event_seq = 1;
	CHECK(db_begin(w->db, DB_SYNC_NORMAL, &why) == ERR_OK);
	CHECK(queue_submit(w->db, subs, 1, &limits, &why) == ERR_OK);
	CHECK(sub.result == ERR_OK);
	CHECK(db_commit(w->db, &why) == ERR_OK);
	seq = job.seq;
	job_done(&job);
	return seq;
}

static UNUSED struct job world_job(struct world *w, const char *id)
{
	struct job job;

	job_init(&job);
	CHECK(look_job(w->db, id, 1 << 20, &job) == ERR_OK);
	return job;
}

/* Is the job in this state, for this reason? */
static UNUSED bool world_job_is(struct world *w, const char *id,
                                enum job_state state, enum job_reason reason)
{
	struct job job = world_job(w, id);
	bool is = job.state == state && job.reason == reason;

	job_done(&job);
	return is;
}

/* --- what the log says ------------------------------------------------------ */

static FILE *world_log;
static int world_log_before;

/* From now on the log is read by us, at this level and above. */
static UNUSED void world_catch_log(enum log_level level)
{
	log_init("test", level, LOG_LOGFMT);
	world_log = tmpfile();
	world_log_before = dup(STDERR_FILENO);
	CHECK(world_log && dup2(fileno(world_log), STDERR_FILENO) >= 0);
}

/* How many lines say this; ends the catching. */
static UNUSED int world_caught(const char *what)
{
	char line[2048];
	int count = 0;

	dup2(world_log_before, STDERR_FILENO);
	close(world_log_before);
	rewind(world_log);
	while (fgets(line, sizeof(line), world_log))
		count += strstr(line, what) != NULL;
	fclose(world_log);
	log_init("test", LOG_ERROR, LOG_LOGFMT);
	return count;
}

/* Turn the loop until `cond` holds; a case that waits 10 s has failed. */
#define WORLD_UNTIL(w, cond)                                                       \
	do {                                                                           \
		int64_t world_end_ms = clock_mono_ms() + 10000;                            \
		while (!(cond) && clock_mono_ms() < world_end_ms)                          \
			CHECK(loop_turn((w)->loop, 20, NULL) == ERR_OK);                       \
		REQUIRE(cond);                                                             \
	} while (0)

#define WORLD_DONE                                                                 \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"                    \
	"{\"done\":true,\"prompt_eval_count\":1,\"eval_count\":2}"

#endif
