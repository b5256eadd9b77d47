/*
 * row.c - rows as structs: words to enums, NULL times to 0.
 *
 * Columns are read in the order of ROW_JOB and ROW_ARTIFACT. Refused, as a
 * damaged file: a row with a word that is none of ours.
 */
#include <config.h>

#include "store/row.h"

#include <string.h>

#include "base/str.h"

enum job_waiting row_waiting_on(enum job_state state)
{
	return state == JOB_QUEUED    ? WAITING_WORKER
	       : state == JOB_LOADING ? WAITING_MODEL
	                              : WAITING_NONE;
}

static bool read_words(struct sql *q, struct job *out)
{
	const char *id = sql_peek_text(q);
	const char *state, *reason;

	if (!id || !str_copy(out->id, sizeof(out->id), id))
		return false;
	state = sql_peek_text(q);
	if (job_state_parse(span_of(state), &out->state) != ERR_OK)
		return false;
	reason = sql_peek_text(q);
	return !reason || job_reason_parse(span_of(reason), &out->reason) == ERR_OK;
}

void row_read(struct sql *q, struct job *out)
{
	const char *mode;
	bool ok;

	job_init(out);
	out->seq = sql_get_int(q);
	ok = read_words(q, out);
	q->at = 4; /* after seq, id, state, reason, read or not */
	out->error = sql_get_text(q);
	out->attended = sql_get_int(q) != 0;
	out->endpoint = sql_get_text(q);
	out->model = sql_get_text(q);
	out->load_key = sql_get_text(q);
	out->attempts = (int)sql_get_int(q);
	out->interruptions = (int)sql_get_int(q);
	out->event_seq = sql_get_int(q);
	out->cancel_requested = sql_get_int(q) != 0;
	out->created_ms = sql_get_int(q);
	out->queued_ms = sql_get_int(q);
	out->held_until_ms = sql_get_int(q);
	out->loading_ms = sql_get_int(q);
	out->working_ms = sql_get_int(q);
	out->finished_ms = sql_get_int(q);
	out->expires_ms = sql_get_int(q);
	out->timeout_ms = sql_get_int(q);
	out->prompt_tokens = sql_get_int(q);
	out->completion_tokens = sql_get_int(q);
	mode = sql_peek_text(q);
	ok = ok && artifact_mode_parse(span_of(mode), &out->artifact_mode) == ERR_OK;
	out->metadata = sql_get_text(q);
	out->webhook_url = sql_get_text(q);
	out->webhook_secret = sql_get_text(q);
	out->webhook_events = (unsigned)sql_get_int(q);
	out->webhook_pending = sql_get_int(q);
	out->webhook_dead = sql_get_int(q);
	out->waiting_on = row_waiting_on(out->state);
	if (!ok)
		sql_fail(q, SQLITE_CORRUPT);
	if (q->rc != SQLITE_OK)
		job_done(out);
}

static void read_into(struct sql *q, char *out, size_t size)
{
	const char *s = sql_peek_text(q);

	str_copy(out, size, s ? s : "");
}

void row_read_artifact(struct sql *q, struct artifact *out, int64_t *handle)
{
	memset(out, 0, sizeof(*out));
	*handle = sql_get_int(q);
	read_into(q, out->name, sizeof(out->name));
	read_into(q, out->content_type, sizeof(out->content_type));
	out->bytes = sql_get_int(q);
	read_into(q, out->sha256, sizeof(out->sha256));
	out->complete = sql_get_int(q) != 0;
}
