/*
 * relay.c - the worker's end of the relay: responders, on a local socket.
 *
 * Owns the connections. True throughout: a connection is in the table of ids
 * exactly while it is attached; it holds at most one frame it is receiving
 * and OUT_MAX bytes it is sending, the rest of a reply stays in the reply; a
 * closed connection is freed in a later turn, so no handler loses its feet.
 * Refuses other versions, strangers, frames only the worker sends, a second
 * ATTACH, and more than LIMIT_RELAY_CLIENTS connections.
 */
#include <config.h>

#include "worker/relay.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "core/limits.h"

#define OUT_MAX (2 * (LIMIT_FRAME + FRAME_HEADER) + LIMIT_HEAD)
#define READ_MAX (64 * 1024) /* bytes taken from one connection per turn */
#define TABLE_SIZE 1024u

struct conn {
	struct relay *relay;
	struct conn *next, *prev; /* of all */
	struct conn *same;        /* next in its slot of the table, or the next
	                             to be freed */
	int fd;                   /* -1: closed, to be freed */
	struct loop_fd *watch;
	struct buf in;
	struct buf out;
	bool greeted;
	bool attached; /* and in the table */
	bool was_attached;
	char id[ULID_SIZE];
	enum frame_role role;
	struct reply_reader reader;
	bool ended; /* END is in `out` or gone */
};

struct relay {
	struct loop *loop;
	struct loop_fd *watch;
	int listen_fd;
	const char *path;
	struct replies *replies;
	struct relay_calls calls;
	void *arg;
	struct conn *first;
	int count;
	struct conn *table[TABLE_SIZE];
	struct conn *closed;
	struct loop_timer bury;
	struct loop_timer resume; /* accepting, after a pause */
};

/* --- the table of ids ------------------------------------------------------ */

/* FNV-1a. */
static size_t slot_of(const char *id)
{
	uint32_t h = 2166136261u;

	for (const char *c = id; *c; c++)
		h = (h ^ (unsigned char)*c) * 16777619u;
	return h % TABLE_SIZE;
}

static void table_add(struct conn *c)
{
	struct conn **slot = &c->relay->table[slot_of(c->id)];

	c->same = *slot;
	*slot = c;
	c->attached = true;
	c->was_attached = true;
}

static void table_del(struct conn *c)
{
	struct conn **link = &c->relay->table[slot_of(c->id)];

	if (!c->attached)
		return;
	while (*link != c)
		link = &(*link)->same;
	*link = c->same;
	c->same = NULL;
	c->attached = false;
}

/* The next attached connection for `id` behind `after` (NULL: the first). */
static struct conn *next_of(const struct relay *r, const char *id,
                            const struct conn *after)
{
	struct conn *c = after ? after->same : r->table[slot_of(id)];

	while (c && strcmp(c->id, id) != 0)
		c = c->same;
	return c;
}

/* --- closing --------------------------------------------------------------- */

static void bury_due(void *arg)
{
	struct relay *r = arg;

	while (r->closed) {
		struct conn *c = r->closed;

		r->closed = c->same;
		free(c);
	}
}

/* Without telling anybody. */
static void conn_shut(struct conn *c)
{
	struct relay *r = c->relay;

	table_del(c);
	reply_detach(&c->reader);
	loop_fd_del(c->watch);
	fd_close(&c->fd);
	buf_done(&c->in);
	buf_done(&c->out);
	if (c->prev)
		c->prev->next = c->next;
	else
		r->first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	r->count--;
	c->same = r->closed;
	r->closed = c;
	loop_timer_set(r->loop, &r->bury, 0);
}

static void conn_close(struct conn *c)
{
	struct relay *r = c->relay;
	bool left = c->attached && c->role == FRAME_OWNER && !c->ended;

	assert(c->fd >= 0);
	conn_shut(c);
	if (left)
		r->calls.gone(r->arg, c->id);
}

/* --- sending --------------------------------------------------------------- */

/* False: the peer is gone (and the connection closed). */
static bool conn_write(struct conn *c)
{
	while (c->out.len > 0) {
		ssize_t n = send(c->fd, c->out.p, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			conn_close(c);
			return false;
		}
		buf_consume(&c->out, (size_t)n);
	}
	return true;
}

/* The reader's next frames, as far as there is room for a whole one. */
static void conn_fill(struct conn *c)
{
	while (c->out.len <= LIMIT_FRAME && reply_read(&c->reader, &c->out))
		continue;
	if (c->reader.reply && c->reader.stage == READ_OVER) {
		c->ended = true;
		reply_detach(&c->reader);
		table_del(c);
	}
}

/* Send what there is, as far as the peer takes it. */
static void conn_pump(struct conn *c)
{
	do {
		conn_fill(c);
		if (!conn_write(c))
			return;
	} while (c->out.len == 0 && c->reader.reply && reply_ready(&c->reader));
	loop_fd_want(c->watch, c->out.len > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void conn_send(struct conn *c, const struct frame *f)
{
	if (frame_encode(f, &c->out) != ERR_OK)
		conn_close(c);
	else
		conn_pump(c);
}

static void conn_refuse(struct conn *c, uint16_t status, const char *text)
{
	struct frame f = { .type = FRAME_END,
		               .end = FRAME_END_REFUSED,
		               .status = status,
		               .data = span_of(text) };

	c->ended = true;
	reply_detach(&c->reader);
	table_del(c);
	conn_send(c, &f);
}

static void reader_wake(void *arg)
{
	struct conn *c = arg;

	if (c->out.len == 0) /* else EPOLLOUT will tell */
		conn_pump(c);
}

static void reader_drop(void *arg)
{
	struct conn *c = arg;

	log_event(LOG_INFO, "slow reader dropped", KV_S("job", c->id));
	c->ended = true; /* its job is over: nothing to cancel */
	conn_close(c);
}

/* --- receiving ------------------------------------------------------------- */

static void conn_attach(struct conn *c, const struct frame *f)
{
	struct relay *r = c->relay;
	struct reply *reply;

	if (c->was_attached) {
		conn_close(c);
		return;
	}
	str_copy(c->id, sizeof(c->id), f->id);
	c->role = f->role;
	table_add(c);
	reply = reply_find(r->replies, c->id);
	if (reply) {
		reply_attach(reply, &c->reader);
		conn_pump(c);
	} else {
		r->calls.attached(r->arg, f->id, f->role);
	}
}

static void conn_hello(struct conn *c, const struct frame *f)
{
	if (c->greeted || f->version != FRAME_VERSION) {
		log_event(LOG_WARN, "relay peer of another version refused",
		          KV_I("version", f->version));
		conn_close(c);
		return;
	}
	c->greeted = true;
}

static void conn_frame(struct conn *c, const struct frame *f)
{
	struct relay *r = c->relay;

	if (!c->greeted && f->type != FRAME_HELLO) {
		conn_close(c);
		return;
	}
	switch (f->type) {
	case FRAME_HELLO:
		conn_hello(c, f);
		break;
	case FRAME_NUDGE:
		r->calls.nudge(r->arg);
		break;
	case FRAME_ATTACH:
		conn_attach(c, f);
		break;
	case FRAME_CANCEL:
		r->calls.cancel(r->arg, f->id);
		break;
	default: /* only the worker says the others */
		conn_close(c);
		break;
	}
}

/* The frames at the front of `in`. */
static void conn_frames(struct conn *c)
{
	size_t used = 0;

	while (c->fd >= 0) {
		struct frame f;
		struct span rest = { c->in.p + used, c->in.len - used };
		size_t one;
		enum err e = frame_decode(rest, &f, &one);

		if (e == ERR_AGAIN)
			break;
		if (e != ERR_OK) {
			log_event(LOG_WARN, "relay peer speaks nonsense",
			          KV_S("why", err_name(e)));
			conn_close(c);
			return;
		}
		used += one;
		conn_frame(c, &f);
	}
	if (c->fd >= 0)
		buf_consume(&c->in, used);
}

static void conn_read(struct conn *c)
{
	size_t taken = 0;

	while (c->fd >= 0 && taken < READ_MAX) {
		char bytes[4096];
		ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 || buf_add(&c->in, bytes, (size_t)n) != ERR_OK) {
			conn_close(c);
			return;
		}
		taken += (size_t)n;
		conn_frames(c);
		if ((size_t)n < sizeof(bytes))
			return;
	}
}

static void conn_fired(void *arg, uint32_t events)
{
	struct conn *c = arg;

	if (events & ~(uint32_t)EPOLLOUT) /* also that it hung up */
		conn_read(c);
	if (c->fd >= 0 && (events & EPOLLOUT))
		conn_pump(c);
}

/* --- accepting ------------------------------------------------------------- */

static bool may_connect(const struct relay *r, int fd)
{
	uid_t uid;
	struct stat st;

	if (fd_peer_uid(fd, &uid) != ERR_OK)
		return false;
	if (uid == geteuid() || uid == 0)
		return true;
	/* It got past the directory's and the socket's mode. That says something
	 * only while the socket is closed to those outside its group. */
	return stat(r->path, &st) == 0 && (st.st_mode & S_IRWXO) == 0;
}

static struct conn *conn_new(struct relay *r, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->relay = r;
	c->fd = fd;
	buf_init(&c->in, LIMIT_FRAME + FRAME_HEADER);
	buf_init(&c->out, OUT_MAX);
	c->reader.wake = reader_wake;
	c->reader.drop = reader_drop;
	c->reader.arg = c;
	if (loop_fd_add(r->loop, fd, EPOLLIN, conn_fired, c, &c->watch) != ERR_OK) {
		free(c);
		return NULL;
	}
	c->next = r->first;
	if (r->first)
		r->first->prev = c;
	r->first = c;
	r->count++;
	return c;
}

static void greet(struct relay *r, int fd)
{
	struct frame hello = { .type = FRAME_HELLO, .version = FRAME_VERSION };
	struct conn *c = NULL;

	if (!may_connect(r, fd))
		log_event(LOG_WARN, "relay peer of another user refused",
		          KV_S("path", r->path));
	else if (r->count >= LIMIT_RELAY_CLIENTS)
		log_event(LOG_WARN, "too many relay connections", KV_I("limit", r->count));
	else
		c = conn_new(r, fd);
	if (c)
		conn_send(c, &hello);
	else
		close(fd);
}

/* ERR_AGAIN: nobody else waits to be accepted; ERR_LIMIT: who does, cannot be. */
static enum err accept_one(struct relay *r)
{
	int fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		greet(r, fd);
		return ERR_OK;
	}
	if (errno == EAGAIN)
		return ERR_AGAIN;
	/* Out of descriptors, most likely: the listener stays readable, so look
	 * away for a while instead of spinning. */
	log_event(LOG_ERROR, "cannot accept on the relay",
	          KV_S("why", strerror(errno)));
	loop_fd_want(r->watch, 0);
	loop_timer_set(r->loop, &r->resume, LIMIT_ACCEPT_PAUSE_MS);
	return ERR_LIMIT;
}

static void resume_due(void *arg)
{
	struct relay *r = arg;

	loop_fd_want(r->watch, EPOLLIN);
}

static void listen_fired(void *arg, uint32_t events)
{
	(void)events;
	for (int i = 0; i < 64 && accept_one(arg) == ERR_OK; i++)
		continue;
}

/* --- the relay ------------------------------------------------------------- */

enum err relay_new(struct loop *l, int listen_fd, const char *path,
                   struct replies *replies, const struct relay_calls *calls,
                   void *arg, struct relay **out)
{
	struct relay *r = calloc(1, sizeof(*r));
	enum err e;

	if (!r)
		return ERR_NOMEM;
	r->loop = l;
	r->listen_fd = listen_fd;
	r->path = path;
	r->replies = replies;
	r->calls = *calls;
	r->arg = arg;
	loop_timer_init(&r->bury, bury_due, r);
	loop_timer_init(&r->resume, resume_due, r);
	e = loop_fd_add(l, listen_fd, EPOLLIN, listen_fired, r, &r->watch);
	if (e != ERR_OK) {
		free(r);
		return e;
	}
	*out = r;
	return ERR_OK;
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	while (r->first)
		conn_shut(r->first);
	bury_due(r);
	loop_timer_stop(&r->bury);
	loop_timer_stop(&r->resume);
	loop_fd_del(r->watch);
	free(r);
}

bool relay_catch_up(struct relay *r)
{
	enum err e = ERR_OK;
	struct conn *c;

	for (int i = 0; i < LIMIT_RELAY_CLIENTS && e == ERR_OK; i++)
		e = accept_one(r);
	c = r->first;
	while (c) {
		struct conn *next = c->next;

		/* A connection's attachment ends nobody else's: `next` stays good. */
		if (!c->was_attached)
			conn_read(c);
		c = next;
	}
	return e != ERR_LIMIT;
}

bool relay_has_owner(const struct relay *r, const char *id)
{
	for (const struct conn *c = next_of(r, id, NULL); c; c = next_of(r, id, c))
		if (c->role == FRAME_OWNER)
			return true;
	return false;
}

void relay_bind(struct relay *r, const char *id, struct reply *reply)
{
	struct conn *c = next_of(r, id, NULL);

	while (c) {
		struct conn *next = next_of(r, id, c);

		if (!c->reader.reply) {
			reply_attach(reply, &c->reader);
			conn_pump(c);
		}
		c = next;
	}
}

void relay_unbind(struct relay *r, const char *id)
{
	for (struct conn *c = next_of(r, id, NULL); c; c = next_of(r, id, c))
		if (c->reader.stage == READ_HEAD)
			reply_detach(&c->reader);
}

void relay_refuse(struct relay *r, const char *id, uint16_t status,
                  const char *text)
{
	struct conn *c = next_of(r, id, NULL);

	while (c) {
		struct conn *next = next_of(r, id, c);

		if (!c->reader.reply)
			conn_refuse(c, status, text);
		c = next;
	}
}

void relay_each_waiting(struct relay *r, void (*fn)(void *arg, const char *id),
                        void *arg)
{
	struct conn *c = r->first;

	while (c) {
		struct conn *next = c->next;
		char id[ULID_SIZE];

		if (c->attached && !c->reader.reply) {
			str_copy(id, sizeof(id), c->id);
			fn(arg, id);
		}
		c = next;
	}
}
