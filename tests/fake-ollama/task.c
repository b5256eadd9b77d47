/*
 * task.c - from the decoded request to the last byte.
 *
 * checked, then (sched.h) waiting, then a turn: a pause for the prompt, then
 * tokens at fixed instants counted from the turn, so that delays do not add
 * up. Nothing of the answer leaves before the first token or the error. The
 * faults of the request's script strike right after the k-th line.
 * A reader that does not read stops the tokens and keeps the slot, as it does
 * with Ollama.
 */
#include <config.h>

#include "task.h"

#include "journal.h"
#include "loop.h"
#include "reply.h"
#include "text.h"
#include "v1.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_PER_TURN 64 /* then others get a turn of the loop */
#define JSON_UTF8 "application/json; charset=utf-8"
#define JSON_PLAIN "application/json"
#define RUNNER_TEXT                                                                \
	"an error was encountered while running the model: unexpected EOF"
#define NO_EMBED_TEXT                                                              \
	"This server does not support embeddings. Start it with `--embeddings`"

struct task {
	struct http_conn *conn;
	struct ask ask;
	uint64_t n;
	const struct model *model;
	struct sched_request sched;
	struct timer timer;
	struct speech speech;
	struct buf line, token;
	int64_t arrival_ns, ready_ns, turn_ns, first_ns;
	int64_t lines;
	bool generating; /* counted in counted.running */
};

static bool is_embed(const struct task *t)
{
	return t->ask.kind == ASK_EMBED || t->ask.kind == ASK_EMBEDDINGS ||
	       t->ask.kind == ASK_V1_EMBED;
}

static void finish(struct task *t, const char *how, bool leak)
{
	struct buf *b;

	timer_stop(&t->timer);
	if (t->generating) {
		t->generating = false;
		counted.running--;
		if (journal_on()) {
			b = journal_begin("generation_end", t->n);
			put_s(b, ",\"model\":");
			put_json(b, span_of(t->model->display));
			put_f(b, ",\"lines\":%" PRId64 ",\"how\":\"%s\"", t->lines, how);
			journal_end();
		}
	}
	if (journal_on()) {
		b = journal_begin("response_end", t->n);
		put_f(b, ",\"how\":\"%s\"", how);
		journal_end();
	}
	/* Last, for it may start another's turn. */
	sched_leave(&t->sched, leak);
	buf_done(&t->line);
	buf_done(&t->token);
	ask_done(&t->ask);
	loop_free(t);
}

static struct span line_of(struct task *t)
{
	return (struct span){ t->line.p, t->line.len };
}

/* An error before any line. `early`: the handler has not begun to stream. */
static void fail(struct task *t, int status, const char *text, bool early)
{
	enum voice v1 = voice_of(t->ask.kind);
	bool streams = t->ask.stream && !is_embed(t);

	buf_clear(&t->line);
	put_error(&t->line, v1, status, text);
	if (v1)
		put_s(&t->line, "\n");
	if (streams && !early) {
		http_stream(t->conn, status, JSON_PLAIN);
		http_line(t->conn, line_of(t));
		http_end(t->conn);
	} else {
		http_reply(t->conn, status, v1 ? JSON_PLAIN : JSON_UTF8, line_of(t));
	}
	finish(t, "error", false);
}

static void refused(void *arg, int status, const char *text)
{
	fail(arg, status, text, true);
}

static int64_t at_least_one(int64_t ns)
{
	return ns > 0 ? ns : 1;
}

static struct totals totals_of(const struct task *t)
{
	int64_t now = text_mono_ns();
	int64_t first = t->first_ns ? t->first_ns : now;

	return (struct totals){
		.total_ns = at_least_one(now - t->arrival_ns),
		.load_ns = at_least_one(t->ready_ns - t->arrival_ns),
		.prompt_ns = at_least_one(first - t->turn_ns),
		.eval_ns = at_least_one(now - first),
		.prompt_count = (int64_t)t->ask.prompt_words + 1,
		.eval_count = t->speech.said,
		.reason = t->speech.cut ? "length" : "stop",
	};
}

static const char *stream_type(const struct task *t)
{
	return voice_of(t->ask.kind) ? "text/event-stream" : "application/x-ndjson";
}

/* --- the end of a generation, one way or the other ------------------------- */

/* What has been said so far, in two buffers made here. */
static void collect(struct task *t, struct buf *content, struct buf *thinking)
{
	struct speech again;
	bool thought;

	buf_init(content, TEXT_MAX);
	buf_init(thinking, TEXT_MAX);
	speech_begin(&again, &t->ask, t->model);
	for (int64_t i = 0; i < t->lines && speech_next(&again, &t->token, &thought);
	     i++)
		put(thought ? thinking : content, t->token.p, t->token.len);
}

/* The reply as one body. Not `whole`: it never got to its end. */
static void gather(struct task *t, bool whole)
{
	struct totals sum = totals_of(t);
	struct buf content, thinking;

	if (!whole)
		sum.reason = NULL;
	collect(t, &content, &thinking);
	buf_clear(&t->line);
	put_whole(&t->line, &t->ask, (struct span){ content.p, content.len },
	          (struct span){ thinking.p, thinking.len }, &sum);
	buf_done(&content);
	buf_done(&thinking);
}

static const char *body_type(const struct task *t)
{
	return voice_of(t->ask.kind) ? JSON_PLAIN : JSON_UTF8;
}

static void complete(struct task *t)
{
	struct totals sum = totals_of(t);
	struct buf content, thinking;

	if (t->ask.stream) {
		collect(t, &content, &thinking);
		buf_clear(&t->line);
		put_last(&t->line, &t->ask, (struct span){ content.p, content.len }, &sum);
		buf_done(&content);
		buf_done(&thinking);
		http_line(t->conn, line_of(t));
		http_end(t->conn);
	} else {
		gather(t, true);
		http_reply(t->conn, 200, body_type(t), line_of(t));
	}
	finish(t, "complete", false);
}

static void break_with_error(struct task *t)
{
	const char *text = t->ask.faults.error ? t->ask.faults.error : RUNNER_TEXT;
	int status = t->ask.faults.status ? (int)t->ask.faults.status : 500;

	if (!t->lines || !t->ask.stream) {
		fail(t, status, text, false);
		return;
	}
	buf_clear(&t->line);
	if (voice_of(t->ask.kind)) {
		put_v1_nothing(&t->line, &t->ask);
	} else {
		put_error(&t->line, VOICE_OLLAMA, status, text);
		put_s(&t->line, "\n");
	}
	if (t->line.len)
		http_line(t->conn, line_of(t));
	http_end(t->conn);
	finish(t, "error", false);
}

static void break_at_eof(struct task *t)
{
	if (t->ask.stream) {
		http_end(t->conn);
	} else {
		gather(t, false);
		http_reply(t->conn, 200, body_type(t), line_of(t));
	}
	finish(t, "eof", false);
}

static void break_by_cut(struct task *t)
{
	if (t->ask.stream) {
		http_cut(t->conn);
	} else {
		gather(t, true);
		http_reply_half(t->conn, 200, body_type(t), line_of(t));
	}
	finish(t, "cut", false);
}

static void break_by_reset(struct task *t)
{
	http_reset(t->conn);
	finish(t, "rst", false);
}

/* Does the script strike now? True: the task is over, or silent for ever. */
static bool struck(struct task *t)
{
	const struct faults *f = &t->ask.faults;

	if (f->hang_at == t->lines || (f->hang_at == -1 && !t->lines))
		return true;
	if (f->error_at == t->lines || (f->status && f->error_at < 0 && !t->lines))
		break_with_error(t);
	else if (f->rst_at == t->lines)
		break_by_reset(t);
	else if (f->cut_at == t->lines)
		break_by_cut(t);
	else if (f->eof_at == t->lines)
		break_at_eof(t);
	else
		return false;
	return true;
}

/* --- the turn ------------------------------------------------------------- */

static int64_t due_us(const struct task *t, int64_t token)
{
	const struct faults *f = &t->ask.faults;

	return t->turn_ns / 1000 +
	       (int64_t)(1000 * (f->prompt_ms + f->token_ms * (double)token));
}

static void say(struct task *t, bool thinking)
{
	if (!t->lines)
		t->first_ns = text_mono_ns();
	t->lines++;
	if (!t->ask.stream)
		return;
	buf_clear(&t->line);
	put_part(&t->line, &t->ask, (struct span){ t->token.p, t->token.len },
	         thinking, t->lines == 1);
	http_line(t->conn, line_of(t));
}

static bool over(const struct task *t)
{
	return !t->speech.left && !t->speech.thoughts;
}

/* Say what is due, up to a bound; arm the timer for the next. */
static void speak(void *arg)
{
	struct task *t = arg;
	bool thinking;

	for (int budget = LINES_PER_TURN;; budget--) {
		int64_t due = due_us(t, t->lines + 1);

		if (struck(t))
			return;
		if (over(t)) {
			complete(t);
			return;
		}
		if (!budget || due > loop_now_us()) {
			timer_at(&t->timer, due);
			return;
		}
		if (http_blocked(t->conn))
			return; /* task_drained goes on */
		speech_next(&t->speech, &t->token, &thinking);
		say(t, thinking);
	}
}

void task_drained(void *work)
{
	struct task *t = work;

	if (t->generating && t->lines && !t->timer.slot)
		speak(t);
}

/* What an embedding comes to once its time has passed. */
static void embed(void *arg)
{
	struct task *t = arg;
	const struct faults *f = &t->ask.faults;
	bool legacy = t->ask.kind == ASK_EMBEDDINGS;
	struct totals sum = totals_of(t);

	if (f->hang_at != FAULT_NEVER)
		return;
	if (f->rst_at != FAULT_NEVER) {
		break_by_reset(t);
		return;
	}
	if (f->status || f->error_at != FAULT_NEVER) {
		break_with_error(t);
		return;
	}
	if (!(t->model->can & CAN_EMBED)) {
		fail(t, legacy ? 500 : 501, NO_EMBED_TEXT, true);
		return;
	}
	if (t->ask.no_truncate && (int64_t)t->ask.prompt_words > t->model->context) {
		fail(t, 400, "the input length exceeds the context length", true);
		return;
	}
	buf_clear(&t->line);
	put_embeddings(&t->line, &t->ask, t->model, &sum);
	if (f->cut_at != FAULT_NEVER)
		http_reply_half(t->conn, 200, body_type(t), line_of(t));
	else
		http_reply(t->conn, 200, body_type(t), line_of(t));
	finish(t, f->cut_at != FAULT_NEVER ? "cut" : "complete", false);
}

static void begin_generation(struct task *t)
{
	t->generating = true;
	counted.generations++;
	counted.running++;
	if (counted.running > counted.max_concurrent_generations)
		counted.max_concurrent_generations = counted.running;
	journal_model("generation_start", t->n, t->model->display);
	speech_begin(&t->speech, &t->ask, t->model);
	if (t->ask.faults.split)
		http_split(t->conn);
	if (t->ask.stream)
		http_stream(t->conn, 200, stream_type(t));
}

/* A slot is ours. */
static void turn(void *arg)
{
	struct task *t = arg;
	bool embeds = is_embed(t);

	t->turn_ns = text_mono_ns();
	if (embeds) {
		counted.embeds++;
		journal_model("embed", t->n, t->model->display);
		if (t->ask.faults.split)
			http_split(t->conn);
	} else {
		begin_generation(t);
	}
	t->timer = (struct timer){ .fn = embeds ? embed : speak, .arg = t };
	timer_at(&t->timer, t->turn_ns / 1000 +
	                        (int64_t)(1000 * (embeds ? t->ask.faults.embed_ms
	                                                 : t->ask.faults.prompt_ms)));
}

/* A runner is ours: without work, that was all that was wanted. */
static void ready(void *arg)
{
	struct task *t = arg;
	struct totals none = { 0 };

	t->ready_ns = text_mono_ns();
	if (t->ask.has_work) {
		sched_turn(&t->sched);
		return;
	}
	buf_clear(&t->line);
	if (is_embed(t))
		put_embeddings(&t->line, &t->ask, t->model, &none);
	else
		put_idle(&t->line, &t->ask, "load");
	http_reply(t->conn, 200, body_type(t), line_of(t));
	finish(t, "complete", false);
}

/* --- what is refused before the scheduler sees it -------------------------- */

static bool refuse(struct task *t, int status, const char *fmt, const char *arg)
{
	struct buf b;

	buf_init(&b, TEXT_MAX);
	for (; *fmt; fmt++) {
		if (*fmt == '~')
			put_s(&b, arg);
		else if (*fmt == '^')
			put_quoted(&b, span_of(arg));
		else
			put(&b, fmt, 1);
	}
	fail(t, status, b.len ? buf_str(&b) : "", true);
	buf_done(&b);
	return false;
}

/* The name's own troubles; ~ and ^ in refuse's texts are the name as sent,
 * plain and as %q. */
static bool check_name(struct task *t, struct name *n)
{
	const char *model = t->ask.model;
	bool old = t->ask.kind == ASK_GENERATE || t->ask.kind == ASK_EMBED ||
	           t->ask.kind == ASK_V1_EMBED;

	switch (name_parse(span_of(model), n)) {
	case NAME_EMPTY:
		return old ? refuse(t, 404, "model '~' not found", model)
		           : refuse(t, 400, "model is required", model);
	case NAME_INVALID:
		return refuse(t, 400, "invalid model name", model);
	case NAME_CONFLICT:
		return refuse(t, 400, "use either :local or :cloud, not both: ^", model);
	case NAME_OK:
		break;
	}
	t->model = models_find(n, t->ask.kind == ASK_EMBEDDINGS);
	if (t->model || n->cloud)
		return true;
	return is_embed(t)
	           ? refuse(t, 404, "model ^ not found, try pulling it first", model)
	           : refuse(t, 404, "model '~' not found", model);
}

/* Nobody is signed in here, so what runs in the cloud does not. */
static bool refuse_cloud(struct task *t)
{
	static const char body[] = "{\"error\":\"unauthorized\",\"signin_url\":"
	                           "\"https://ollama.com/connect?name=fake&key=fake\"}";

	http_reply(t->conn, 401, JSON_UTF8, SPAN_LIT(body));
	finish(t, "error", false);
	return false;
}

static bool refuse_ability(struct task *t, const char *what)
{
	struct buf b;

	buf_init(&b, TEXT_MAX);
	put_name_full(&b, &t->model->name);
	put_f(&b, " does not support %s", what);
	fail(t, 400, buf_str(&b), true);
	buf_done(&b);
	return false;
}

static bool check_abilities(struct task *t)
{
	const struct ask *a = &t->ask;
	unsigned can = t->model->can;

	if (!(can & CAN_COMPLETE))
		return refuse(t, 400,
		              a->kind == ASK_GENERATE ? "^ does not support generate"
		                                      : "^ does not support chat",
		              a->model);
	if (a->tools && !(can & CAN_TOOLS))
		return refuse_ability(t, "tools");
	if (a->suffix && !(can & CAN_INSERT))
		return refuse_ability(t, "insert");
	if (a->think == THINK_ON && !(can & CAN_THINK))
		return refuse(t, 400, "^ does not support thinking", a->model);
	return true;
}

static bool unload_form(struct task *t)
{
	const struct model *m = t->model;

	if (t->ask.has_work || !t->ask.has_keep || t->ask.keep_ns ||
	    voice_of(t->ask.kind))
		return false;
	put_idle(&t->line, &t->ask, "unload");
	http_reply(t->conn, 200, JSON_UTF8, line_of(t));
	finish(t, "complete", false);
	sched_expire(m);
	return true;
}

/* An error of /v1's own middleware: its shape, but no newline. */
static bool refuse_v1(struct task *t, const char *text)
{
	put_error(&t->line, voice_of(t->ask.kind), 400, text);
	http_reply(t->conn, 400, JSON_UTF8, line_of(t));
	finish(t, "error", false);
	return false;
}

static bool check(struct task *t)
{
	const struct ask *a = &t->ask;
	struct name n;

	if (a->kind == ASK_V1_CHAT && !a->has_work)
		return refuse_v1(t, "[] is too short - 'messages'");
	if (a->kind == ASK_V1_MESSAGE && a->num_predict <= 0)
		return refuse_v1(t, "max_tokens is required and must be positive");
	if (a->kind == ASK_V1_MESSAGE && !a->has_work)
		return refuse_v1(t, "messages is required");
	if (a->bad_input)
		return a->kind == ASK_V1_EMBED ? refuse_v1(t, "invalid input")
		                               : refuse(t, 400, "invalid input type", "");
	if (a->top_logprobs < 0 || a->top_logprobs > 20)
		return refuse(t, 400, "top_logprobs must be between 0 and 20", "");
	if (!check_name(t, &n))
		return false;
	if (n.cloud)
		return refuse_cloud(t);
	if (a->raw && a->templated)
		return refuse(t, 400,
		              "raw mode does not support template, system, or context", "");
	if (is_embed(t))
		return true;
	if (unload_form(t))
		return false;
	return check_abilities(t);
}

void task_start(struct http_conn *c, struct ask *a, uint64_t n)
{
	struct task *t = text_alloc(sizeof(*t));

	t->conn = c;
	t->ask = *a;
	t->n = n;
	t->arrival_ns = text_mono_ns();
	buf_init(&t->line, TEXT_MAX);
	buf_init(&t->token, TEXT_MAX);
	http_set_work(c, t);
	if (!check(t))
		return;
	if (t->ask.option_error) {
		fail(t, 500, t->ask.option_error, true);
		return;
	}
	/* A format that is none is found out by the runner only, at its turn. */
	if (t->ask.format_error && !t->ask.faults.error) {
		t->ask.faults.error = text_dup(span_of(t->ask.format_error));
		t->ask.faults.error_at = 0;
	}
	t->sched = (struct sched_request){
		.model = t->model,
		.opts = t->ask.opts,
		.has_keep = t->ask.has_keep,
		.keep_ns = t->ask.keep_ns,
		.load_ms = t->ask.faults.load_ms,
		.load_error = t->ask.faults.load_error,
		.n = n,
		.arg = t,
		.ready = ready,
		.turn = turn,
		.fail = refused,
	};
	sched_submit(&t->sched);
}

/* --- the client left ------------------------------------------------------ */

void task_gone(struct http_conn *c, void *work, bool reset)
{
	struct task *t = work;
	bool leak = server.leak && t->generating && t->ask.stream;

	counted.client_gone++;
	if (journal_on()) {
		journal_begin("client_gone", t->n);
		journal_end();
	}
	if (!reset && t->lines && t->ask.stream) {
		http_end(c);
	} else if (!reset) {
		buf_clear(&t->line);
		put_error(&t->line, voice_of(t->ask.kind), 499, CANCELED_TEXT);
		http_reply(c, 499, JSON_UTF8, line_of(t));
	}
	finish(t, "gone", leak);
}
