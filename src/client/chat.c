/*
 * chat.c - a chat as one call: submitted, followed, waited for, fetched.
 *
 * The stream is only for showing what is being written; what counts is the job
 * as it ended and the text it left. So a connection that breaks, a service that
 * is restarted and a target that sleeps cost nothing but time.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "client/call.h"
#include "client/job.h"
#include "core/content.h"

#define CHAT_PATH "/api/chat"
#define SHOWN_MAX (64u * 1024 * 1024) /* FOREMAN_MAX_RESPONSE's default */
#define SETTLE_MS 2000                /* between a stream's end and the job's */

/* An array of objects; any other text, "[1, 2]" too, is a question. */
static bool is_messages(const char *prompt)
{
	struct span text = span_trim(span_of(prompt));
	const cJSON *message;
	cJSON *list = NULL;
	bool all;

	if (text.len == 0 || text.p[0] != '[' || json_parse(text, &list, NULL))
		return false;
	all = cJSON_GetArraySize(list) > 0;
	cJSON_ArrayForEach(message, list) all = all && cJSON_IsObject(message);
	cJSON_Delete(list);
	return all;
}

/* {"role":"user","content":prompt}, or the caller's own messages. */
static void add_messages(cJSON *request, const char *prompt)
{
	cJSON *message;

	if (is_messages(prompt)) {
		json_add_raw(request, "messages", prompt);
		return;
	}
	message = cJSON_CreateObject();
	json_add_str(message, "role", "user");
	json_add_str(message, "content", prompt);
	json_append(json_add_array(request, "messages"), message);
}

static char *request_text(const char *model, const char *prompt, bool stream)
{
	cJSON *request = cJSON_CreateObject();
	char *text;

	json_add_str(request, "model", model);
	json_add_bool(request, "stream", stream);
	add_messages(request, prompt);
	text = json_text(request);
	cJSON_Delete(request);
	return text;
}

/* --- showing --------------------------------------------------------------- */

struct show {
	foreman_sink piece;
	void *arg;
	struct content content;
	struct buf lines; /* what content reads from */
	size_t shown;     /* bytes of the text */
	bool stopped;
};

static int on_line(void *arg, const char *line, size_t len)
{
	struct show *s = arg;
	struct span text;

	if (buf_add(&s->lines, line, len) || buf_add(&s->lines, "\n", 1))
		return 0; /* too much to show; the job itself goes on */
	content_more(&s->content, (struct span){ s->lines.p, s->lines.len });
	text = content_text(&s->content);
	if (!text.p || text.len <= s->shown)
		return 0;
	s->stopped = s->piece(s->arg, text.p + s->shown, text.len - s->shown) != 0;
	s->shown = text.len;
	return s->stopped;
}

/* FOREMAN_OK: the stream has ended, or broke. */
static foreman_code show_once(foreman *f, const char *id, foreman_sink piece,
                              void *arg, foreman_error *e)
{
	struct show s = { .piece = piece, .arg = arg };
	foreman_code code;

	buf_init(&s.lines, SHOWN_MAX);
	content_init(&s.content, CHAT_PATH, "application/x-ndjson", SHOWN_MAX);
	code = foreman_stream(f, id, on_line, &s, e);
	content_done(&s.content);
	buf_done(&s.lines);
	return code == FOREMAN_UNREACHABLE || code == FOREMAN_BUSY ? FOREMAN_OK : code;
}

/* Until the job has ended. */
static foreman_code show(foreman *f, const char *id, foreman_sink piece, void *arg,
                         foreman_job **ended, foreman_error *e)
{
	foreman_code code;

	for (;;) {
		code = show_once(f, id, piece, arg, e);
		if (code == FOREMAN_STOPPED) {
			foreman_cancel(f, id, NULL, NULL);
			return call_error(e, FOREMAN_STOPPED, "stopped by the caller");
		}
		if (code != FOREMAN_OK)
			return code;
		code = foreman_wait(f, id, SETTLE_MS, ended, e);
		if (code != FOREMAN_TIMEOUT)
			return code;
		foreman_job_free(*ended);
		*ended = NULL;
	}
}

/* --- the call -------------------------------------------------------------- */

static foreman_code outcome(foreman *f, const foreman_job *ended, char **text,
                            foreman_error *e)
{
	const char *reason = foreman_job_reason(ended);
	const char *error = foreman_job_error(ended);

	if (strcmp(foreman_job_state(ended), "done") == 0) {
		if (text)
			return foreman_fetch_all(f, foreman_job_id(ended), "content", text,
			                         NULL, e);
		return call_error(e, FOREMAN_OK, "ok");
	}
	call_error(e, FOREMAN_JOB_FAILED, "%s",
	           error    ? error
	           : reason ? reason
	                    : "failed");
	if (e)
		str_copy(e->name, sizeof(e->name), reason ? reason : "");
	return FOREMAN_JOB_FAILED;
}

foreman_code foreman_chat(foreman *f, const char *model, const char *prompt,
                          foreman_sink piece, void *arg, char **text,
                          foreman_error *e)
{
	foreman_submission what = { .endpoint = CHAT_PATH };
	foreman_job *job = NULL, *ended = NULL;
	foreman_code code;
	char *request;

	if (!model || !prompt)
		return call_error(e, FOREMAN_INVALID, "a model and a prompt are needed");
	request = request_text(model, prompt, piece != NULL);
	if (!request)
		return call_error(e, FOREMAN_NO_MEMORY, "out of memory");
	what.request = request;
	code = foreman_submit(f, &what, &job, e);
	free(request);
	if (code != FOREMAN_OK)
		return code;
	if (piece)
		code = show(f, foreman_job_id(job), piece, arg, &ended, e);
	else
		code = foreman_wait(f, foreman_job_id(job), -1, &ended, e);
	if (code == FOREMAN_OK)
		code = outcome(f, ended, text, e);
	foreman_job_free(ended);
	foreman_job_free(job);
	return code;
}
