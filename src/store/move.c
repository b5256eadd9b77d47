/*
 * move.c - the one function that moves a job, whichever the arrow.
 *
 * What stays true: a move is the row, the event and the owed webhook, or
 * nothing; only an arrow that core/job.c draws is made; the row must still be
 * what the caller knew, by id, state and event number, else ERR_STALE.
 */
#include <config.h>

#include "store/move.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/receiver.h"
#include "store/artifact.h"
#include "store/pace.h"
#include "store/row.h"

/* --- event and owed webhook ------------------------------------------------ */

enum err move_event(struct db *db, const struct job *job, enum job_reason reason,
                    int64_t at_ms, struct errtext *why)
{
	static const char insert[] =
	    "INSERT INTO events (job_seq, seq, state, reason, at_ms)"
	    " VALUES (?, ?, ?, ?, ?)";
	struct sql q = sql_use(db, insert);

	sql_int(&q, job->seq);
	sql_int(&q, job->event_seq);
	sql_text(&q, job_state_name(job->state));
	sql_text(&q, job_reason_name(reason));
	sql_int(&q, at_ms);
	return sql_run(&q, why);
}

enum err move_owe(struct db *db, const struct job *job, const char *body,
                  bool first, int64_t now_ms, struct errtext *why)
{
	static const char insert[] =
	    "INSERT INTO webhooks (id, job_seq, job_id, event_seq, type, url,"
	    " receiver, secret, body, state, due_ms, created_ms)"
	    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)";
	char id[sizeof("evt_") + ULID_LEN] = "evt_";
	char receiver[RECEIVER_SIZE];
	struct sql q = sql_use(db, insert);

	ulid_new(id + strlen(id));
	receiver_of(job->webhook_url, receiver);
	sql_text(&q, id);
	sql_int(&q, job->seq);
	sql_text(&q, job->id);
	sql_int(&q, job->event_seq);
	sql_text(&q, job_event_type(job->state));
	sql_text(&q, job->webhook_url);
	sql_text(&q, receiver);
	sql_text(&q, job->webhook_secret);
	sql_text(&q, body);
	sql_time(&q, first ? now_ms : 0);
	sql_int(&q, now_ms);
	return sql_run(&q, why);
}

/* --- the one function that moves ------------------------------------------- */

/* A heap copy of at most LIMIT_ERROR_TEXT bytes, cut between characters. */
static enum err copy_error(const char *error, char **out)
{
	struct span s = span_of(error);

	*out = NULL;
	if (!error)
		return ERR_OK;
	if (s.len > LIMIT_ERROR_TEXT) {
		s.len = LIMIT_ERROR_TEXT;
		while (s.len > 0 && ((unsigned char)s.p[s.len] & 0xc0) == 0x80)
			s.len--;
	}
	*out = span_dup(s);
	return *out ? ERR_OK : ERR_NOMEM;
}

/*
 * The job as it will be. *next borrows job's texts; only its error and its
 * artifacts are its own: they go to move_adopt or move_drop.
 */
static enum err plan(const struct job *job, const struct move *m, struct job *next)
{
	*next = *job;
	next->artifacts = NULL;
	next->artifact_count = 0;
	next->state = m->to;
	next->reason = m->to == JOB_FAILED ? m->reason : REASON_NONE;
	next->event_seq++;
	next->attempts += m->attempts;
	next->interruptions += m->interruptions;
	next->held_until_ms = m->held_until_ms;
	next->position = 0;
	next->waiting_on = row_waiting_on(m->to);
	if (m->to == JOB_QUEUED) {
		next->queued_ms = m->now_ms;
		next->loading_ms = next->working_ms = 0;
	} else if (m->to == JOB_LOADING) {
		next->loading_ms = m->now_ms;
	} else if (m->to == JOB_WORKING) {
		next->working_ms = m->now_ms;
	} else {
		next->finished_ms = m->now_ms;
	}
	if (m->result) {
		next->prompt_tokens = m->result->prompt_tokens;
		next->completion_tokens = m->result->completion_tokens;
	}
	return copy_error(m->error, &next->error);
}

void move_drop(struct job *job)
{
	free(job->error);
	for (size_t i = 0; i < job->artifact_count; i++)
		free(job->artifacts[i].inline_bytes);
	free(job->artifacts);
}

void move_adopt(struct job *job, const struct job *next)
{
	move_drop(job);
	*job = *next;
}

/* The guarded row. Reads back what others may have changed meanwhile. */
static enum err update_row(struct db *db, const struct job *job, struct job *next,
                           struct errtext *why)
{
	static const char update[] =
	    "UPDATE jobs SET state = ?, reason = ?, error = ?, attempts = ?,"
	    " interruptions = ?, event_seq = ?, queued_ms = ?, held_until_ms = ?,"
	    " loading_ms = ?, working_ms = ?, finished_ms = ?, prompt_tokens = ?,"
	    " completion_tokens = ?"
	    " WHERE seq = ? AND id = ? AND state = ? AND event_seq = ?"
	    " RETURNING cancel_requested, webhook_pending, webhook_dead";
	struct sql q = sql_use(db, update);
	bool matched = false;
	enum err err;

	sql_text(&q, job_state_name(next->state));
	sql_text(&q, job_reason_name(next->reason));
	sql_text(&q, next->error);
	sql_int(&q, next->attempts);
	sql_int(&q, next->interruptions);
	sql_int(&q, next->event_seq);
	sql_int(&q, next->queued_ms);
	sql_time(&q, next->held_until_ms);
	sql_time(&q, next->loading_ms);
	sql_time(&q, next->working_ms);
	sql_time(&q, next->finished_ms);
	sql_count(&q, next->prompt_tokens);
	sql_count(&q, next->completion_tokens);
	sql_int(&q, job->seq);
	sql_text(&q, job->id);
	sql_text(&q, job_state_name(job->state));
	sql_int(&q, job->event_seq);
	while (sql_row(&q)) {
		matched = true;
		next->cancel_requested = sql_get_int(&q) != 0;
		next->webhook_pending = sql_get_int(&q);
		next->webhook_dead = sql_get_int(&q);
	}
	err = sql_end(&q, why);
	return err == ERR_OK && !matched ? ERR_STALE : err;
}

/* The artifacts of a finished run, and their bytes if they may ride in webhooks. */
static enum err save_result(struct db *db, struct job *next,
                            const struct queue_result *result, struct errtext *why)
{
	int64_t inline_limit = next->artifact_mode == ARTIFACT_INLINE ? INT64_MAX
	                       : next->artifact_mode == ARTIFACT_AUTO
	                           ? db->conf.inline_max
	                           : -1;
	enum err err;

	if (!result || !result->response.p)
		return ERR_OK;
	err = artifact_save(db, next->seq, "response", result->content_type,
	                    result->response, result->complete, why);
	if (err == ERR_OK && result->content.p)
		err = artifact_save(db, next->seq, "content", "text/plain; charset=utf-8",
		                    result->content, result->complete, why);
	return err == ERR_OK ? artifact_list(db, next, inline_limit, why) : err;
}

static enum err remove_body(struct db *db, int64_t seq, struct errtext *why)
{
	static const char delete[] = "DELETE FROM inputs WHERE job_seq = ?";
	struct sql q = sql_use(db, delete);

	sql_int(&q, seq);
	return sql_run(&q, why);
}

static enum err owe_move(struct db *db, struct job *next, int64_t now_ms,
                         struct errtext *why)
{
	const struct job_view view = { .public_url = db->conf.public_url,
		                           .now_ms = now_ms,
		                           .inline_max = db->conf.inline_max };
	bool first = next->webhook_pending == 0;
	char *body;
	enum err err;

	if (!next->webhook_url || !(next->webhook_events & 1u << next->state))
		return ERR_OK;
	next->webhook_pending++;
	body = job_event_json(next, &view, now_ms);
	err = body ? move_owe(db, next, body, first, now_ms, why) : ERR_NOMEM;
	free(body);
	return err;
}

struct move move_canceled(int64_t now_ms)
{
	return (struct move){ .to = JOB_FAILED,
		                  .reason = REASON_CANCELED,
		                  .error = "canceled",
		                  .now_ms = now_ms };
}

enum err move_cancel_wanted(struct db *db, int64_t seq, bool *out)
{
	static const char read[] = "SELECT cancel_requested FROM jobs WHERE seq = ?";
	struct sql q = sql_use(db, read);
	bool found, wanted;
	enum err err;

	sql_int(&q, seq);
	found = sql_row(&q);
	wanted = found && sql_get_int(&q) != 0;
	err = sql_end(&q, NULL);
	if (err != ERR_OK)
		return err;
	if (!found)
		return ERR_NOENT;
	*out = wanted;
	return ERR_OK;
}

/* A job that somebody asked to cancel does not go back to the line. */
static enum err unless_canceled(struct db *db, const struct job *job,
                                struct move *m)
{
	bool wanted = false;
	enum err err = move_cancel_wanted(db, job->seq, &wanted);

	if (wanted)
		*m = move_canceled(m->now_ms);
	return err == ERR_NOENT ? ERR_STALE : err;
}

/* A trigger on events would make every submission pay for the few. */
static enum err count_sent_back(struct db *db, enum job_reason reason,
                                struct errtext *why)
{
	static const char count[] =
	    "INSERT INTO counters VALUES ('sent_back', ?, 1)"
	    " ON CONFLICT DO UPDATE SET total = total + 1";
	struct sql q = sql_use(db, count);

	sql_text(&q, job_reason_name(reason));
	return sql_run(&q, why);
}

static enum err write_move(struct db *db, const struct job *job,
                           const struct move *m, struct job *next,
                           struct errtext *why)
{
	enum err err = plan(job, m, next);

	if (err == ERR_OK)
		err = update_row(db, job, next, why);
	if (err == ERR_OK)
		err = save_result(db, next, m->result, why);
	if (err == ERR_OK && m->to == JOB_DONE && m->result && m->result->pace)
		err = pace_record(db, next->load_key, m->result->pace, m->now_ms, why);
	if (err == ERR_OK)
		err = move_event(db, next, m->reason, m->now_ms, why);
	if (err == ERR_OK && m->to == JOB_QUEUED)
		err = count_sent_back(db, m->reason, why);
	if (err == ERR_OK)
		err = owe_move(db, next, m->now_ms, why);
	if (err == ERR_OK && next->attended && job_state_terminal(m->to))
		err = remove_body(db, next->seq, why); /* nobody will run or ask for it */
	if (err != ERR_OK)
		move_drop(next);
	return err;
}

enum err move_in(struct db *db, const struct job *job, const struct move *asked,
                 struct job *next, struct errtext *why)
{
	struct move m = *asked;
	enum err err = ERR_OK;

	assert(db->in_transaction);
	if (!job_may_move(job->state, m.to)) {
		errtext_set(why, "a %s job cannot become %s", job_state_name(job->state),
		            job_state_name(m.to));
		return ERR_INVAL;
	}
	if (m.to == JOB_QUEUED)
		err = unless_canceled(db, job, &m);
	return err == ERR_OK ? write_move(db, job, &m, next, why) : err;
}
