/*
 * test_memory.c - loops, guards and exchanges whose every allocation of ours
 * fails once: an error, and nothing left behind (for ASan to find).
 */
#include <config.h>

#include "http/xfer.h"

#include "base/sig.h"
#include "http/guard.h"
#include "http/hub.h"
#include "peers.h"
#include "starve.h"

static void a_loop_is_made_whole_or_not_at_all(void)
{
	struct loop *l = NULL;
	enum err e;

	STARVE_EACH(e = loop_new(&l)) CHECK_INT(e, ERR_NOMEM);
	CHECK_INT(e, ERR_OK);
	loop_free(l);
}

static void a_guard_is_made_whole_or_not_at_all(void)
{
	static const char *const targets[] = { "http://127.0.0.1:11434",
		                                   "http://target.invalid:11434" };

	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		struct guard *g = NULL;
		struct errtext why = { "" };
		int failed = 0;
		enum err e;

		STARVE_EACH(
		    e = guard_new("public,lan,10.0.0.0/8,a.example", targets[i], &g, &why))
		{
			CHECK_INT(e, ERR_NOMEM);
			failed++;
		}
		CHECK_INT(e, ERR_OK);
		CHECK(failed > 2);
		STARVE_EACH(e = guard_check_url(g, "https://b.example/x", &why))
		CHECK_INT(e, ERR_NOMEM);
		CHECK_INT(e, ERR_OK);
		guard_free(g);
	}
}

/* Those of peers.h note what they hear, for which they need memory. */
static const struct xfer_calls plain = { .done = on_done };

static const char *const headers[] = { "X-One: 1", "User-Agent:", NULL };

static struct xfer_ask ask_of(const struct server *s)
{
	return (struct xfer_ask){ .method = "POST",
		                      .url = s->url,
		                      .headers = headers,
		                      .header_lines = SPAN_LIT("X-Three: 3\n"),
		                      .body = SPAN_LIT("{}"),
		                      .connect_ms = 5000 };
}

/* Stopped as soon as it was started: nothing is asked. */
static enum err start_and_stop(struct loop *l, const struct xfer_ask *ask)
{
	struct client c;
	enum err e;

	client_init(&c);
	e = xfer_start(l, ask, &plain, &c, &c.x, NULL);
	if (!e)
		xfer_stop(c.x);
	CHECK_INT(c.heads + c.bodies + c.dones, 0);
	client_done(&c);
	return e;
}

static void an_exchange_is_begun_or_not_at_all(void)
{
	struct loop *l;
	struct server s;
	struct xfer_ask ask;
	int failed = 0;
	enum err e;

	REQUIRE(server_listen(&s) && loop_new(&l) == ERR_OK);
	ask = ask_of(&s);
	STARVE_EACH(e = start_and_stop(l, &ask))
	{
		CHECK_INT(e, ERR_NOMEM);
		failed++;
	}
	CHECK_INT(e, ERR_OK);
	CHECK(failed > 3);
	loop_free(l);
	server_done(&s);
}

/* While it runs, and wherever memory fails, it has one end. */
static void an_exchange_that_runs_out_of_memory_ends(void)
{
	bool fired = true;

	for (long nth = 1; fired; nth++) {
		struct loop *l;
		struct server s;
		struct client c;
		struct xfer_ask ask;
		enum err e;

		REQUIRE(server_listen(&s) && loop_new(&l) == ERR_OK);
		client_init(&c);
		ask = ask_of(&s);
		REQUIRE(server_run(&s, &fine));
		starve_at(nth);
		e = xfer_start(l, &ask, &plain, &c, &c.x, NULL);
		while (!e && !c.dones && loop_turn(l, -1, NULL) == ERR_OK)
			;
		fired = starve_end();
		if (!fired)
			CHECK_INT(c.result.outcome, XFER_OK);
		else if (!e)
			CHECK(c.result.outcome != XFER_UNREACHABLE);
		CHECK_INT(c.dones, !e);
		loop_free(l);
		server_join_idle(&s);
		client_done(&c);
		server_done(&s);
	}
}

static void a_line_that_runs_out_of_memory_says_so(void)
{
	struct xfer_line *line = xfer_line_new();
	bool fired = true;

	REQUIRE(line);
	for (long nth = 1; fired; nth++) {
		struct server s;
		struct client c;
		struct xfer_ask ask;

		REQUIRE(server_listen(&s));
		client_init(&c);
		ask = ask_of(&s);
		REQUIRE(server_run(&s, &fine));
		starve_at(nth);
		xfer_call(line, &ask, &plain, &c, &c.result);
		fired = starve_end();
		if (!fired)
			CHECK_INT(c.result.outcome, XFER_OK);
		else
			CHECK(c.result.outcome != XFER_UNREACHABLE);
		server_join_idle(&s);
		client_done(&c);
		server_done(&s);
	}
	xfer_line_free(line);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_loop_is_made_whole_or_not_at_all),
		T(a_guard_is_made_whole_or_not_at_all),
		T(an_exchange_is_begun_or_not_at_all),
		T(an_exchange_that_runs_out_of_memory_ends),
		T(a_line_that_runs_out_of_memory_says_so),
	};

	sig_block_all();
	if (xfer_global_init())
		return 1;
	return t_run(cases, ARRAY_LEN(cases));
}
