/*
 * follow.c - looking at a job, waiting for it, cancelling and removing it.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/ulid.h"
#include "client/call.h"
#include "client/job.h"

#define WAIT_S 30 /* one long poll; the service allows 60 */

struct path {
	char s[128];
};

/* Whatever stands in `id`, the path is one of a job. */
static foreman_code path_of(const char *id, const char *behind, struct path *out,
                            foreman_error *e)
{
	char canonical[ULID_SIZE];

	if (!id || ulid_parse(span_of(id), canonical))
		return call_error(e, FOREMAN_INVALID, "not a job id");
	snprintf(out->s, sizeof(out->s), "/jobs/%s%s", canonical, behind);
	return FOREMAN_OK;
}

/* One call about one job that answers with it. */
static foreman_code ask_job(foreman *f, const char *method, const struct path *path,
                            int64_t wait_ms, foreman_job **job, foreman_error *e)
{
	struct call_ask ask = { .method = method, .path = path->s, .wait_ms = wait_ms };
	struct call_reply reply;
	foreman_job *found = NULL;
	foreman_code code = call_service(f, &ask, &reply, e);

	if (code == FOREMAN_OK)
		code = job_from(&reply.body, &found, e);
	buf_done(&reply.body);
	if (code == FOREMAN_OK && job)
		*job = found;
	else
		foreman_job_free(found);
	return code;
}

foreman_code foreman_get(foreman *f, const char *id, foreman_job **job,
                         foreman_error *e)
{
	struct path path;
	foreman_code code = path_of(id, "", &path, e);

	return code ? code : ask_job(f, "GET", &path, 0, job, e);
}

/* Whole seconds until then, at least 0; WAIT_S stands for all longer ones. */
static int seconds_until(int64_t end_ms)
{
	int64_t left_ms = end_ms - clock_mono_ms();

	if (left_ms <= 0)
		return 0;
	return left_ms > WAIT_S * 1000 ? WAIT_S : (int)(left_ms + 999) / 1000;
}

/*
 * A service that stops, or has too many who wait, answers at once; it is not
 * asked again at full speed then. Returns how long the next pause is to be.
 */
static int64_t pause_after(const foreman_job *job, int64_t asked_ms, char last[16],
                           int64_t pause_ms, int64_t end_ms)
{
	int64_t now_ms = clock_mono_ms();
	bool moved = strcmp(last, foreman_job_state(job)) != 0;

	str_copy(last, 16, foreman_job_state(job));
	if (moved || now_ms - asked_ms >= CALL_PAUSE_MS)
		return CALL_PAUSE_MS;
	call_pause(pause_ms < end_ms - now_ms ? pause_ms : end_ms - now_ms);
	return 2 * pause_ms < CALL_PAUSE_MAX_MS ? 2 * pause_ms : CALL_PAUSE_MAX_MS;
}

foreman_code foreman_wait(foreman *f, const char *id, int64_t timeout_ms,
                          foreman_job **job, foreman_error *e)
{
	bool forever = timeout_ms < 0 || timeout_ms > INT64_MAX - clock_mono_ms();
	int64_t end_ms = forever ? INT64_MAX : clock_mono_ms() + timeout_ms;
	int64_t pause_ms = CALL_PAUSE_MS;
	foreman_job *now = NULL;
	char last[16] = "";
	bool ended;

	for (;;) {
		int64_t asked_ms = clock_mono_ms();
		int wait_s = seconds_until(end_ms);
		char behind[32];
		struct path path;
		foreman_code code;

		snprintf(behind, sizeof(behind), "?wait=%d", wait_s);
		code = path_of(id, behind, &path, e);
		if (!code)
			code = ask_job(f, "GET", &path, wait_s * 1000, &now, e);
		if (code)
			return code;
		ended = foreman_job_terminal(now);
		if (ended || wait_s == 0)
			break;
		pause_ms = pause_after(now, asked_ms, last, pause_ms, end_ms);
		foreman_job_free(now);
	}
	if (!ended)
		call_error(e, FOREMAN_TIMEOUT, "the job is still %s",
		           foreman_job_state(now));
	if (job)
		*job = now;
	else
		foreman_job_free(now);
	return ended ? FOREMAN_OK : FOREMAN_TIMEOUT;
}

foreman_code foreman_cancel(foreman *f, const char *id, foreman_job **job,
                            foreman_error *e)
{
	struct path path;
	foreman_code code = path_of(id, "/cancel", &path, e);

	return code ? code : ask_job(f, "POST", &path, 0, job, e);
}

foreman_code foreman_remove(foreman *f, const char *id, foreman_error *e)
{
	struct path path;
	struct call_reply reply;
	foreman_code code = path_of(id, "", &path, e);

	if (code)
		return code;
	code = call_service(f, &(struct call_ask){ .method = "DELETE", .path = path.s },
	                    &reply, e);
	buf_done(&reply.body);
	/* an earlier try, whose answer was lost, may have removed it */
	if (code == FOREMAN_GONE && reply.tries > 1)
		return call_error(e, FOREMAN_OK, "ok");
	return code;
}
