/*
 * xfer.c - blocking exchanges, one after the other on a line.
 *
 * A line's connection is kept by libcurl and dropped with its handle. What is
 * sent on it may be sent twice: libcurl repeats what died before a line of the
 * reply, and as a line keeps no second connection, on a fresh one, thus once.
 * Not here: what is asked and what its end means (exchange), and exchanges in a
 * loop (hub).
 */
#include <config.h>

#include "http/xfer.h"

#include <assert.h>
#include <stdlib.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "core/limits.h"
#include "http/exchange.h"

struct xfer_line {
	CURL *easy;              /* NULL: made when needed */
	bool keeps;              /* a connection, since then: */
	int64_t kept_mono_ms;
	int64_t kept_gap_ms;     /* boot - mono, which grows while this host sleeps */
};

enum err xfer_global_init(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? ERR_OK : ERR_NOMEM;
}

const char *xfer_curl_version(void)
{
	return curl_version();
}

struct xfer_line *xfer_line_new(void)
{
	return calloc(1, sizeof(struct xfer_line));
}

static int64_t sleep_gap_ms(void)
{
	return clock_boot_ms() - clock_mono_ms();
}

static void line_drop(struct xfer_line *line)
{
	curl_easy_cleanup(line->easy);
	line->easy = NULL;
	line->keeps = false;
}

void xfer_line_free(struct xfer_line *line)
{
	if (!line)
		return;
	line_drop(line);
	free(line);
}

int xfer_line_idle_ms(const struct xfer_line *line)
{
	int64_t left;

	if (!line || !line->keeps)
		return -1;
	left = line->kept_mono_ms + LIMIT_KEPT_IDLE_MS - clock_mono_ms();
	if (left < 0 || sleep_gap_ms() - line->kept_gap_ms >= LIMIT_SLEPT_MS)
		return 0;
	return (int)left;
}

void xfer_line_rest(struct xfer_line *line)
{
	if (xfer_line_idle_ms(line) == 0)
		line_drop(line);
}

static void line_kept(struct xfer_line *line)
{
	line->keeps = true;
	line->kept_mono_ms = clock_mono_ms();
	line->kept_gap_ms = sleep_gap_ms();
}

void xfer_call(struct xfer_line *line, const struct xfer_ask *ask,
               const struct xfer_calls *calls, void *arg, struct xfer_result *out)
{
	struct errtext why = { "" };
	struct exchange x;

	assert(!ask->repeatable || (!ask->upload && !ask->guard));
	xfer_line_rest(line);
	if (!line->easy)
		line->easy = curl_easy_init();
	if (!line->easy) {
		*out = (struct xfer_result){ .outcome = XFER_FAILED };
		errtext_set(&out->why, "out of memory");
		return;
	}
	if (exchange_init(&x, line->easy, ask, calls, arg, ask->repeatable, &why))
		*out = (struct xfer_result){ .outcome = XFER_FAILED, .why = why };
	else
		exchange_judge(&x, curl_easy_perform(line->easy), out);
	if (ask->repeatable && out->outcome == XFER_OK)
		line_kept(line);
	curl_easy_reset(line->easy); /* before what it points to goes */
	exchange_done(&x);
}
