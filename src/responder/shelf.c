/*
 * shelf.c - stored answers on their way to clients of any speed.
 *
 * One item owns its connection (`out`) and knows how far it has come. At most
 * OUT_MAX bytes are queued for a client; below OUT_HIGH the next piece is read.
 * The database is asked once how a stream's job ended; what is said of it is
 * the line `last`, behind all bytes. An artifact that is removed while it is
 * sent ends short, and the client sees that by the length it was told.
 */
#include <config.h>

#include "responder/shelf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "core/limits.h"
#include "responder/answer.h"
#include "responder/tally.h"
#include "store/artifact.h"
#include "store/look.h"

#define PIECE (64 * 1024)         /* bytes read at once */
#define OUT_HIGH PIECE            /* bytes pending: read no more */
#define OUT_MAX (4 * LIMIT_FRAME) /* as a guest's, whose streams end here */
#define ROUNDS 4                  /* pieces for one client before the others' */

struct item {
	struct rolled on_roll; /* the shelf's */
	struct shelf *shelf;
	struct shelf_order order;
	struct outlet out;
	struct loop_timer limit; /* of taking nothing; then of closing */
	struct loop_timer again; /* more can be sent, after the others */
	char *last;              /* the stream's last line; NULL: none */
	bool handed_over; /* its request goes on in the yard */
	int status;       /* what the client was told */
	const char *how;  /* it ended, for the log */
};

/* --- leaving -------------------------------------------------------------- */

static void leave(struct item *it, const char *how)
{
	if (!roll_leave(&it->shelf->items, &it->on_roll))
		return;
	loop_timer_stop(&it->limit);
	loop_timer_stop(&it->again);
	outlet_close(&it->out);
	free(it->last);
	if (!it->handed_over)
		trail_close(&it->order.trail,
		            &(struct trail_end){ .status = it->status,
		                                 .job = it->order.id,
		                                 .how = it->how ? it->how : how });
}

/* It was the client who ended it. */
static void client_left(struct item *it)
{
	if (!it->out.stream.ended || stream_pending(&it->out.stream))
		tally_add(TALLY_LEFT_READING);
	leave(it, "client left");
}

/* --- the last line -------------------------------------------------------- */

/* How a stream's client is told what became of it. */
static char *line_text(const struct shelf_order *o, const char *error,
                       const char *reason)
{
	char *text;
	cJSON *tree;

	if (o->coda.events) /* as OpenAI's clients know it */
		return answer_error_body(FAMILY_OPENAI, 502, reason, false, error);
	tree = cJSON_CreateObject();
	json_add_str(tree, "error", error);
	json_add_str(tree, "reason", reason);
	text = json_text(tree);
	cJSON_Delete(tree);
	return text;
}

static void say_last(struct item *it, const char *error, const char *reason)
{
	free(it->last);
	it->last = line_text(&it->order, error, reason);
	if (!it->last)
		log_event(LOG_WARN, "a stream ends without its last line",
		          KV_S("job", it->order.id), KV_S("reason", "out of memory"));
}

static void say_interrupted(struct item *it)
{
	say_last(it, "the run was interrupted: open the stream again to follow the job",
	         "interrupted");
}

/* Say the last line, if there is one, and end the request. */
static enum err end_stream(struct item *it)
{
	enum err e = ERR_OK;

	if (it->last)
		e = coda_say(&it->order.coda, &it->out.stream, FAMILY_OPENAI, it->last);
	return e ? e : stream_end(&it->out.stream);
}

/* --- what the database knows ---------------------------------------------- */

static enum err open_db(struct shelf *s)
{
	struct errtext why = { "" };
	enum err e = ERR_OK;

	if (!s->db)
		e = db_open(s->db_conf, DB_READER, &s->db, &why);
	if (e)
		log_event(LOG_ERROR, "cannot read what is to be sent",
		          KV_S("reason", why.s[0] ? why.s : err_name(e)));
	return e;
}

static void find_response(struct item *it)
{
	struct shelf_order *o = &it->order;
	struct artifact a;

	if (artifact_find(it->shelf->db, o->id, "response", &a, &o->handle) == ERR_OK)
		o->left = a.bytes;
	else
		say_last(it, "nothing was kept of the job's answer", "not_found");
}

/* A stream's job as it is now. False: it will still run, so the stream went
 * back to wait for it. */
static bool resolve(struct item *it)
{
	struct shelf_order *o = &it->order;
	struct job job;
	enum err e;

	if (open_db(it->shelf)) {
		say_last(it, "the job cannot be read", "internal");
		return true;
	}
	e = look_job(it->shelf->db, o->id, -1, &job);
	if (e) {
		bool removed = e == ERR_NOENT || e == ERR_DENIED;

		say_last(it, removed ? "the job was removed" : "the job cannot be read",
		         removed ? "removed" : "internal");
		return true;
	}
	if (!job_state_terminal(job.state)) {
		job_done(&job);
		if (o->what == SHELF_TAIL) {
			say_interrupted(it);
			return true;
		}
		it->handed_over = true;
		it->shelf->follow(it->shelf->arg, &it->out, o);
		return false;
	}
	if (o->what == SHELF_REPLAY)
		find_response(it);
	if (job.state == JOB_FAILED)
		say_last(it, job.error ? job.error : job_reason_name(job.reason),
		         job_reason_name(job.reason));
	job_done(&job);
	return true;
}

/* --- sending -------------------------------------------------------------- */

/* Queue the next piece, or the end. */
static enum err queue_next(struct item *it)
{
	struct shelf_order *o = &it->order;
	struct buf *piece = &it->shelf->piece;
	enum err e = ERR_OK;
	size_t n;

	if (o->left == 0)
		return end_stream(it);
	e = open_db(it->shelf);
	if (!e)
		e = artifact_piece(it->shelf->db, o->handle, o->offset, PIECE, piece);
	if (e)
		return e;
	n = (int64_t)piece->len < o->left ? piece->len : (size_t)o->left;
	e = stream_write(&it->out.stream, piece->p, n);
	if (!e)
		coda_note(&o->coda, (struct span){ piece->p, n });
	o->offset += (int64_t)n;
	o->left -= (int64_t)n;
	return e;
}

/* Send what the client takes, for a few pieces. */
static void pump(struct item *it)
{
	for (int i = 0; i < ROUNDS; i++) {
		size_t pending = stream_pending(&it->out.stream);
		enum err e = outlet_flush(&it->out, &it->limit);

		if (e && e != ERR_AGAIN) {
			client_left(it);
			return;
		}
		if (stream_pending(&it->out.stream) < pending && !it->out.shut)
			loop_timer_set(it->shelf->loop, &it->limit, LIMIT_SHELF_STALL_MS);
		if (it->out.stream.ended || stream_pending(&it->out.stream) > OUT_HIGH)
			return;
		e = queue_next(it);
		if (e) {
			leave(it, e == ERR_NOENT ? "cut short" : "cannot be sent");
			return;
		}
		if (it->out.stream.ended)
			it->how = "sent";
	}
	loop_timer_set(it->shelf->loop, &it->again, 0);
}

static void on_out(void *arg, uint32_t events)
{
	struct item *it = arg;

	if (events & ~(uint32_t)EPOLLOUT)
		client_left(it);
	else
		pump(it);
}

static void on_limit(void *arg)
{
	struct item *it = arg;

	leave(it, it->out.shut ? "not closed" : "takes nothing");
}

static void on_again(void *arg)
{
	pump(arg);
}

/* --- the shelf ------------------------------------------------------------ */

void shelf_init(struct shelf *s, struct loop *l, const struct db_conf *conf)
{
	*s = (struct shelf){ .loop = l, .db_conf = conf };
	buf_init(&s->piece, PIECE);
}

void shelf_done(struct shelf *s)
{
	shelf_sweep(s);
	buf_done(&s->piece);
	db_close(s->db);
	s->db = NULL;
}

void shelf_sweep(struct shelf *s)
{
	roll_sweep(&s->items);
}

/* On the list, its connection open. */
static void add(struct shelf *s, struct item *it)
{
	it->shelf = s;
	loop_timer_init(&it->limit, on_limit, it);
	loop_timer_init(&it->again, on_again, it);
	loop_timer_set(s->loop, &it->limit, LIMIT_SHELF_STALL_MS);
	roll_add(&s->items, &it->on_roll);
}

/* What is to be sent is found out, and the first of it sent. */
static void begin(struct item *it)
{
	enum shelf_what what = it->order.what;

	if (what == SHELF_CUT)
		say_interrupted(it);
	if ((what == SHELF_REPLAY || what == SHELF_TAIL) && !resolve(it))
		leave(it, "goes on following");
	else
		pump(it);
}

static bool say_full(struct item *it)
{
	char *body = answer_error_body(FAMILY_PROBLEM, 503, "busy", true,
	                               "too many clients are being sent artifacts");
	char head[128];
	bool ok;

	snprintf(head, sizeof(head), "Content-Type: %s\nRetry-After: 5\n",
	         answer_error_type(FAMILY_PROBLEM));
	ok = body && !stream_head(&it->out.stream, 503, span_of(head)) &&
	     !stream_write(&it->out.stream, body, strlen(body));
	free(body);
	return ok;
}

void shelf_enter(struct shelf *s, int fd, int fcgi_id, int status,
                 const char *headers, const struct shelf_order *order)
{
	struct item *it = calloc(1, sizeof(*it));
	bool full = s->items.count >= LIMIT_SHELF_CLIENTS;

	if (!it) {
		fd_close(&fd);
		trail_drop(&order->trail, order->id);
		return;
	}
	it->order = *order;
	if (full)
		it->order = (struct shelf_order){ .what = SHELF_BYTES,
			                              .trail = order->trail };
	it->status = full ? 503 : status;
	if (outlet_open(&it->out, s->loop, fd, fcgi_id, OUT_MAX, on_out, it)) {
		trail_drop(&order->trail, order->id);
		free(it);
		return;
	}
	add(s, it);
	if (full ? say_full(it)
	         : !stream_head(&it->out.stream, status, span_of(headers)))
		begin(it);
	else
		leave(it, "cannot be answered");
}

void shelf_take(struct shelf *s, struct outlet *from,
                const struct shelf_order *order)
{
	struct item *it = calloc(1, sizeof(*it));

	if (!it) {
		outlet_close(from);
		*from = (struct outlet){ .stream.fd = -1 };
		trail_drop(&order->trail, order->id);
		return;
	}
	it->order = *order;
	it->status = 200;
	if (outlet_move(&it->out, from, on_out, it)) {
		trail_drop(&order->trail, order->id);
		free(it);
		return;
	}
	add(s, it);
	begin(it);
}

void shelf_dismiss(struct shelf *s)
{
	for (struct rolled *r = s->items.first, *next; r; r = next) {
		struct item *it = (struct item *)r;

		next = r->next;
		if (it->out.stream.ended)
			continue;
		if (it->order.what == SHELF_BYTES) {
			leave(it, "stopped");
			continue;
		}
		it->order.left = 0;
		say_last(it, "foreman is stopping: open the stream again", "interrupted");
		pump(it);
	}
}
