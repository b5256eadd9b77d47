/*
 * test_hub.c - exchanges in one loop start and stop each other, from outside and
 * from every call.
 */
#include <config.h>

#include "http/hub.h"

#include "base/sig.h"
#include "peers.h"

/* Two exchanges in one loop, `a` and `b`; the cases say who does what. */
struct duo {
	struct loop *loop;
	struct server sa, sb;
	struct xfer_ask ask_a, ask_b;
	struct client a, b;
};

static bool duo_init(struct duo *d, const struct script *a, const struct script *b)
{
	client_init(&d->a);
	client_init(&d->b);
	if (loop_new(&d->loop) || !server_listen(&d->sa) || !server_listen(&d->sb) ||
	    !server_run(&d->sa, a) || !server_run(&d->sb, b))
		return false;
	d->ask_a =
	    (struct xfer_ask){ .method = "GET", .url = d->sa.url, .connect_ms = 5000 };
	d->ask_b = d->ask_a;
	d->ask_b.url = d->sb.url;
	d->a.duo = d->b.duo = d;
	return true;
}

static bool duo_start(struct duo *d)
{
	return !xfer_start(d->loop, &d->ask_a, &calls, &d->a, &d->a.x, NULL) &&
	       !xfer_start(d->loop, &d->ask_b, &calls, &d->b, &d->b.x, NULL);
}

static void duo_done(struct duo *d)
{
	loop_free(d->loop);
	client_done(&d->a);
	client_done(&d->b);
	server_done(&d->sa);
	server_done(&d->sb);
}

/* Nobody answers until told; so the other is under way when it is stopped. */
static const struct script holds = { { NULL, 0 }, HOLD };
static const struct script talks = {
	SPAN_LIT(OK_HEAD "Content-Length: 9\r\n\r\nhello"), HOLD
};

static void stops_itself(struct client *c)
{
	xfer_stop(c->x);
	c->in_body = NULL;
}

static void stops_the_other(struct client *c)
{
	xfer_stop(c->duo->b.x);
	c->duo->b.x = NULL;
}

static void starts_the_other(struct client *c)
{
	struct duo *d = c->duo;

	if (xfer_start(d->loop, &d->ask_b, &calls, &d->b, &d->b.x, NULL))
		abort();
	c->in_body = NULL;
}

static void an_exchange_stopped_from_outside_is_silent(void)
{
	struct duo d;

	REQUIRE(duo_init(&d, &holds, &holds) && duo_start(&d));
	for (int i = 0; i < 5; i++)
		CHECK_INT(loop_turn(d.loop, 1, NULL), ERR_OK);
	xfer_stop(d.a.x);
	xfer_stop(d.b.x);
	xfer_stop(NULL);
	for (int i = 0; i < 3; i++)
		CHECK_INT(loop_turn(d.loop, 1, NULL), ERR_OK);
	CHECK_INT(d.a.dones + d.b.dones + d.a.heads + d.b.heads, 0);
	server_join_idle(&d.sa);
	server_join_idle(&d.sb);
	duo_done(&d);
}

static void an_exchange_stopped_before_the_first_turn_never_was(void)
{
	struct duo d;

	REQUIRE(duo_init(&d, &holds, &holds) && duo_start(&d));
	xfer_stop(d.a.x);
	xfer_stop(d.b.x);
	CHECK_INT(loop_turn(d.loop, 1, NULL), ERR_OK);
	CHECK_INT(d.a.dones + d.b.dones, 0);
	server_join_idle(&d.sa);
	server_join_idle(&d.sb);
	duo_done(&d);
}

static void exchanges_are_stopped_in_any_order(void)
{
	for (int first = 0; first < 2; first++) {
		struct duo d;

		REQUIRE(duo_init(&d, &fine, &fine) && duo_start(&d));
		xfer_stop(first ? d.a.x : d.b.x);
		turn_until(d.loop, first ? &d.b.dones : &d.a.dones);
		CHECK_INT(d.a.dones + d.b.dones, 1);
		server_join_idle(&d.sa);
		server_join_idle(&d.sb);
		duo_done(&d);
	}
}

static void an_exchange_can_stop_itself_from_its_body(void)
{
	struct duo d;

	REQUIRE(duo_init(&d, &talks, &talks) && duo_start(&d));
	d.a.in_body = stops_itself;
	d.b.in_body = stops_itself;
	while (!d.a.bodies || !d.b.bodies)
		REQUIRE(loop_turn(d.loop, -1, NULL) == ERR_OK);
	server_join(&d.sa); /* both connections were closed, though it HOLDs */
	server_join(&d.sb);
	CHECK_INT(loop_turn(d.loop, 0, NULL), ERR_OK);
	CHECK_INT(d.a.dones + d.b.dones, 0);
	CHECK_INT(d.a.bodies, 1);
	duo_done(&d);
}

static void the_last_call_may_stop_what_has_ended(void)
{
	struct duo d;

	REQUIRE(duo_init(&d, &fine, &fine));
	d.a.in_done = stops_itself;
	REQUIRE(duo_start(&d));
	turn_until(d.loop, &d.a.dones);
	turn_until(d.loop, &d.b.dones);
	CHECK_INT(d.a.dones, 1);
	CHECK_INT(d.a.result.outcome, XFER_OK);
	server_join(&d.sa);
	server_join(&d.sb);
	duo_done(&d);
}

/* Nobody wants to know how it ends. */
static void an_exchange_may_end_untold(void)
{
	static const struct xfer_calls untold = { on_head, on_body, NULL };
	struct duo d;

	REQUIRE(duo_init(&d, &fine, &fine));
	REQUIRE(!xfer_start(d.loop, &d.ask_a, &untold, &d.a, &d.a.x, NULL));
	turn_until(d.loop, &d.a.bodies);
	REQUIRE(!xfer_start(d.loop, &d.ask_b, &calls, &d.b, &d.b.x, NULL));
	turn_until(d.loop, &d.b.dones);
	CHECK_INT(d.a.bodies, 1);
	CHECK_INT(d.a.dones, 0);
	server_join(&d.sa);
	server_join(&d.sb);
	duo_done(&d);
}

/* `b` never gets an answer; `a` stops it from where `where` says. */
static void stop_the_other(bool in_body)
{
	struct duo d;

	REQUIRE(duo_init(&d, &fine, &holds));
	if (in_body)
		d.a.in_body = stops_the_other;
	else
		d.a.in_done = stops_the_other;
	REQUIRE(duo_start(&d));
	turn_until(d.loop, &d.a.dones);
	CHECK_INT(d.a.result.outcome, XFER_OK);
	CHECK(!d.b.x);
	server_join(&d.sa);
	server_join_idle(&d.sb);
	CHECK_INT(loop_turn(d.loop, 0, NULL), ERR_OK);
	CHECK_INT(d.b.dones + d.b.heads, 0);
	duo_done(&d);
}

static void an_exchange_can_stop_another_from_its_body(void)
{
	stop_the_other(true);
}

static void the_last_call_can_stop_another(void)
{
	stop_the_other(false);
}

static void an_exchange_can_start_another_from_its_body(void)
{
	struct duo d;

	REQUIRE(duo_init(&d, &fine, &fine));
	d.a.in_body = starts_the_other;
	REQUIRE(!xfer_start(d.loop, &d.ask_a, &calls, &d.a, &d.a.x, NULL));
	turn_until(d.loop, &d.b.dones);
	CHECK_INT(d.a.dones, 1);
	CHECK_INT(d.a.result.outcome, XFER_OK);
	CHECK_INT(d.b.result.outcome, XFER_OK);
	server_join(&d.sa);
	server_join(&d.sb);
	duo_done(&d);
}

static void the_last_call_can_start_another(void)
{
	struct duo d;

	REQUIRE(duo_init(&d, &fine, &fine));
	d.a.in_done = starts_the_other;
	REQUIRE(!xfer_start(d.loop, &d.ask_a, &calls, &d.a, &d.a.x, NULL));
	turn_until(d.loop, &d.b.dones);
	CHECK_INT(d.b.result.outcome, XFER_OK);
	server_join(&d.sa);
	server_join(&d.sb);
	duo_done(&d);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_exchange_stopped_from_outside_is_silent),
		T(an_exchange_stopped_before_the_first_turn_never_was),
		T(exchanges_are_stopped_in_any_order),
		T(an_exchange_can_stop_itself_from_its_body),
		T(the_last_call_may_stop_what_has_ended),
		T(an_exchange_may_end_untold),
		T(an_exchange_can_stop_another_from_its_body),
		T(the_last_call_can_stop_another),
		T(an_exchange_can_start_another_from_its_body),
		T(the_last_call_can_start_another),
	};

	sig_block_all();
	if (xfer_global_init())
		return 1;
	return t_run(cases, ARRAY_LEN(cases));
}
