/*
 * test_shelf.c - stored bytes at the client's pace, and how streams end.
 *
 * Everything runs in this thread: the clock is a fake one, the loop is turned
 * until nothing happens any more, then the client's end is looked at.
 */
#include <config.h>

#include "responder/shelf.h"

#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "core/limits.h"
#include "store/artifact.h"
#include "store/remove.h"
#include "store/store.h"

#define HEAD "Content-Type: text/plain\n"
#define HEAD_OUT "Status: 200\r\nContent-Type: text/plain\r\n\r\n"
#define LARGE (3 * LIMIT_ARTIFACT_CHUNK + 5)

static struct {
	struct db *db;
	struct loop *loop;
	struct shelf shelf;
	int client;         /* our end of the FastCGI connection */
	struct buf records; /* undecoded */
	struct buf out;     /* what STDOUT records held */
	bool ended, eof;
	int followed;
	int64_t mono_ms;
} b;

static void on_follow(void *arg, struct outlet *from,
                      const struct shelf_order *order)
{
	(void)arg;
	(void)order;
	b.followed++;
	outlet_close(from);
	*from = (struct outlet){ .stream.fd = -1 };
}

static void set_up(void)
{
	memset(&b, 0, sizeof(b));
	b.client = -1;
	b.mono_ms = 1000;
	clock_fake(NOW, b.mono_ms, b.mono_ms);
	b.db = db_fresh();
	buf_init(&b.records, 64 << 20);
	buf_init(&b.out, 64 << 20);
	if (loop_new(&b.loop))
		abort();
	shelf_init(&b.shelf, b.loop, &conf);
	b.shelf.follow = on_follow;
}

static void turn(void)
{
	bool busy = true;

	for (int i = 0; busy && i < 10000; i++) {
		if (loop_turn(b.loop, 0, &busy))
			abort();
		shelf_sweep(&b.shelf);
	}
}

static void tear_down(void)
{
	fd_close(&b.client);
	turn();
	CHECK_INT(b.shelf.items.count, 0);
	shelf_done(&b.shelf);
	loop_free(b.loop);
	buf_done(&b.records);
	buf_done(&b.out);
	db_gone(b.db);
	clock_real();
}

static void pass_ms(int64_t ms)
{
	b.mono_ms += ms;
	clock_fake(NOW + b.mono_ms, b.mono_ms, b.mono_ms);
	turn();
}

/* --- the client ----------------------------------------------------------- */

static void take_records(void)
{
	while (b.records.len >= 8) {
		const unsigned char *p = (const unsigned char *)b.records.p;
		size_t len = (size_t)(p[4] << 8 | p[5]);

		if (b.records.len < 8 + len + p[6])
			return;
		b.ended = b.ended || p[1] == 3;
		if (p[1] == 6 && len && buf_add(&b.out, b.records.p + 8, len))
			abort();
		buf_consume(&b.records, 8 + len + p[6]);
	}
}

/* Take at most `max` bytes off the connection. */
static void client_takes(size_t max)
{
	ssize_t n = 1;

	while (max > 0 && n > 0) {
		size_t step = max < 65536 ? max : 65536;

		n = recv(b.client, buf_reserve(&b.records, step), step, MSG_DONTWAIT);
		if (n > 0) {
			buf_commit(&b.records, (size_t)n);
			max -= (size_t)n;
		}
		b.eof = b.eof || n == 0;
		turn();
	}
	take_records();
}

static const char *out(void)
{
	client_takes(SIZE_MAX);
	return buf_str(&b.out);
}

/* A connection as from fcgx_detach; the other end is b.client. */
static int connection(void)
{
	int pair[2], room = 8192;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		abort();
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	fd_close(&b.client);
	b.client = pair[1];
	return pair[0];
}

static void enter(const struct shelf_order *order)
{
	shelf_enter(&b.shelf, connection(), 1, 200, HEAD, order);
	turn();
}

static void drop_out(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
}

/* A stream that was live until now, its head and `shown` out. */
static void take_over(struct shelf_order order, const char *shown)
{
	struct outlet from;

	if (outlet_open(&from, b.loop, connection(), 1, 4 * LIMIT_FRAME, drop_out,
	                NULL) ||
	    stream_head(&from.stream, 200, span_of(HEAD)) ||
	    stream_write(&from.stream, shown, strlen(shown)))
		abort();
	shelf_take(&b.shelf, &from, &order);
	CHECK_INT(from.stream.fd, -1);
	turn();
}

/* --- jobs ----------------------------------------------------------------- */

/* A finished job with this response, done, or failed for `error`. */
static struct shelf_order finished(enum shelf_what what, struct span response,
                                   const char *error)
{
	const struct queue_result result = { .content_type = "application/x-ndjson",
		                                 .response = response,
		                                 .complete = !error };
	struct shelf_order order = { .what = what };
	struct artifact a;
	struct job job;

	job_in(b.db, JOB_WORKING, &job);
	if (error ? queue_failed(b.db, &job, REASON_TIMEOUT, error, true, &result, NOW,
	                         NULL)
	          : queue_done(b.db, &job, &result, NOW, NULL))
		abort();
	str_copy(order.id, sizeof(order.id), job.id);
	if (what == SHELF_BYTES &&
	    artifact_find(b.db, job.id, "response", &a, &order.handle))
		abort();
	order.left = what == SHELF_BYTES ? (int64_t)response.len : 0;
	job_done(&job);
	return order;
}

static char *pattern(size_t size)
{
	char *bytes = malloc(size);

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)('a' + (i * 7 + i / 1000) % 26);
	return bytes;
}

/* --- bytes ---------------------------------------------------------------- */

static void all_of_a_large_one_comes_in_order(void)
{
	char *bytes = pattern(LARGE);
	struct shelf_order order;

	set_up();
	order = finished(SHELF_BYTES, (struct span){ bytes, LARGE }, NULL);
	enter(&order);
	CHECK(strncmp(out(), HEAD_OUT, strlen(HEAD_OUT)) == 0);
	CHECK_INT(b.out.len, strlen(HEAD_OUT) + LARGE);
	CHECK(memcmp(b.out.p + strlen(HEAD_OUT), bytes, LARGE) == 0);
	CHECK(b.ended && b.eof);
	tear_down();
	free(bytes);
}

static void a_part_is_exactly_that_part(void)
{
	static const int64_t parts[][2] = { { 0, 1 },
		                                { LIMIT_ARTIFACT_CHUNK - 1, 2 },
		                                { LIMIT_ARTIFACT_CHUNK, 70000 },
		                                { LARGE - 1, 1 },
		                                { 5, 2 * LIMIT_ARTIFACT_CHUNK } };
	char *bytes = pattern(LARGE);
	struct shelf_order order;

	set_up();
	order = finished(SHELF_BYTES, (struct span){ bytes, LARGE }, NULL);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		order.offset = parts[i][0];
		order.left = parts[i][1];
		buf_clear(&b.out);
		enter(&order);
		out();
		CHECK_INT(b.out.len, (int64_t)strlen(HEAD_OUT) + parts[i][1]);
		CHECK(memcmp(b.out.p + strlen(HEAD_OUT), bytes + parts[i][0],
		             (size_t)parts[i][1]) == 0);
	}
	tear_down();
	free(bytes);
}

static void who_takes_nothing_costs_a_fixed_part_and_no_read_transaction(void)
{
	char *bytes = pattern(LARGE);
	struct shelf_order order;
	struct errtext why;

	set_up();
	order = finished(SHELF_BYTES, (struct span){ bytes, LARGE }, NULL);
	enter(&order);
	CHECK_INT(b.shelf.items.count, 1);
	CHECK(b.shelf.piece.cap <= 2 * LIMIT_ARTIFACT_DIRECT);
	CHECK_INT(db_checkpoint(b.db, true, &why), ERR_OK); /* nobody is in the way */
	client_takes(100000);
	CHECK_INT(b.shelf.items.count, 1);
	CHECK_INT(db_checkpoint(b.db, true, &why), ERR_OK);
	out();
	CHECK_INT(b.out.len, strlen(HEAD_OUT) + LARGE);
	tear_down();
	free(bytes);
}

static void who_takes_nothing_for_too_long_is_let_go(void)
{
	char *bytes = pattern(LARGE);
	struct shelf_order order;

	set_up();
	order = finished(SHELF_BYTES, (struct span){ bytes, LARGE }, NULL);
	enter(&order);
	pass_ms(LIMIT_SHELF_STALL_MS - 1);
	CHECK_INT(b.shelf.items.count, 1);
	client_takes(100000); /* so the time begins again */
	pass_ms(LIMIT_SHELF_STALL_MS - 1);
	CHECK_INT(b.shelf.items.count, 1);
	pass_ms(1);
	CHECK_INT(b.shelf.items.count, 0);
	CHECK(!b.ended);
	tear_down();
	free(bytes);
}

static void who_leaves_is_gone(void)
{
	char *bytes = pattern(LARGE);
	struct shelf_order order;

	set_up();
	order = finished(SHELF_BYTES, (struct span){ bytes, LARGE }, NULL);
	enter(&order);
	fd_close(&b.client);
	turn();
	CHECK_INT(b.shelf.items.count, 0);
	tear_down();
	free(bytes);
}

static void what_is_removed_meanwhile_ends_short(void)
{
	char *bytes = pattern(LARGE);
	struct shelf_order order;
	int64_t count;

	set_up();
	order = finished(SHELF_BYTES, (struct span){ bytes, LARGE }, NULL);
	enter(&order);
	CHECK_INT(remove_old(b.db, NOW + 100, 10, &count, NULL), ERR_OK);
	out();
	CHECK(b.eof && !b.ended);
	CHECK(b.out.len < LARGE);
	tear_down();
	free(bytes);
}

static void one_more_than_the_limit_is_503(void)
{
	static int clients[LIMIT_SHELF_CLIENTS];
	char *bytes = pattern(LARGE);
	struct shelf_order order;

	REQUIRE(!fd_raise_limit(NULL)); /* two descriptors a client */
	set_up();
	order = finished(SHELF_BYTES, (struct span){ bytes, LARGE }, NULL);
	for (int i = 0; i < LIMIT_SHELF_CLIENTS; i++) {
		enter(&order);
		clients[i] = b.client;
		b.client = -1;
	}
	CHECK_INT(b.shelf.items.count, LIMIT_SHELF_CLIENTS);
	enter(&order);
	CHECK(strncmp(out(), "Status: 503\r\n", 13) == 0);
	CHECK(strstr(out(), "Retry-After: ") && strstr(out(), "\"code\":\"busy\""));
	CHECK(b.ended);
	fd_close(&clients[0]);
	fd_close(&b.client);
	turn();
	buf_clear(&b.out);
	enter(&order);
	client_takes(1000); /* there is room again */
	CHECK(strncmp(buf_str(&b.out), "Status: 503", 11) != 0);
	for (int i = 1; i < LIMIT_SHELF_CLIENTS; i++)
		fd_close(&clients[i]);
	tear_down();
	free(bytes);
}

/* --- streams -------------------------------------------------------------- */

static void a_replay_is_the_response(void)
{
	struct shelf_order order;

	set_up();
	order = finished(SHELF_REPLAY, SPAN_LIT("{\"a\":1}\n"), NULL);
	enter(&order);
	CHECK_STR(out(), HEAD_OUT "{\"a\":1}\n");
	CHECK(b.ended);
	tear_down();
}

static void a_replay_of_a_failed_job_ends_with_why(void)
{
	struct shelf_order order;

	set_up();
	order = finished(SHELF_REPLAY, SPAN_LIT("{\"a\""), "too slow");
	enter(&order);
	CHECK_STR(out(),
	          HEAD_OUT "{\"a\"\n{\"error\":\"too slow\",\"reason\":\"timeout\"}\n");
	tear_down();
}

static void among_events_the_end_is_one(void)
{
	struct shelf_order order;

	set_up();
	order = finished(SHELF_REPLAY, SPAN_LIT("data: 1\n"), "too slow");
	order.coda.events = true;
	enter(&order);
	CHECK(strstr(out(), "data: 1\n\ndata: {\"error\":{\"message\":\"too slow\""));
	CHECK(strstr(out(), "\"code\":\"timeout\"}}\n\n"));
	tear_down();
}

static void a_stream_shown_to_its_end_just_ends(void)
{
	struct shelf_order order;

	set_up();
	order = finished(SHELF_TAIL, SPAN_LIT("{\"a\":1}\n"), NULL);
	take_over(order, "{\"a\":1}\n");
	CHECK_STR(out(), HEAD_OUT "{\"a\":1}\n"); /* not twice */
	CHECK(b.ended);
	tear_down();
}

static void a_stream_of_a_failed_job_ends_with_why(void)
{
	struct shelf_order order;

	set_up();
	order = finished(SHELF_TAIL, SPAN_LIT("{\"a\":1}\nxx"), "too slow");
	order.coda.line_open = true;
	take_over(order, "{\"a\":1}\nxx");
	CHECK_STR(out(), HEAD_OUT
	          "{\"a\":1}\nxx\n{\"error\":\"too slow\",\"reason\":\"timeout\"}\n");
	tear_down();
}

static void a_run_that_will_be_made_again_is_an_interruption(void)
{
	struct shelf_order order = { .what = SHELF_TAIL };
	struct job job;

	set_up();
	job_in(b.db, JOB_QUEUED, &job);
	str_copy(order.id, sizeof(order.id), job.id);
	take_over(order, "{\"a\":1}\n");
	CHECK(strstr(out(), "{\"a\":1}\n{\"error\":\"the run was interrupted"));
	CHECK(strstr(out(), "\"reason\":\"interrupted\"}\n"));
	CHECK(b.ended && !b.followed);
	job_done(&job);
	tear_down();
}

static void
a_stream_that_broke_off_is_an_interruption_whatever_came_of_the_job(void)
{
	struct shelf_order order;

	set_up();
	order = finished(SHELF_CUT, SPAN_LIT("{\"a\":1}\n{\"b\":2}\n"), NULL);
	take_over(order, "{\"a\":1}\n");
	CHECK(strstr(out(), "\"reason\":\"interrupted\"}\n"));
	CHECK(!strstr(out(), "\"b\""));
	tear_down();
}

static void who_has_seen_nothing_of_a_job_that_will_run_goes_back(void)
{
	struct shelf_order order = { .what = SHELF_REPLAY };
	struct job job;

	set_up();
	job_in(b.db, JOB_LOADING, &job);
	str_copy(order.id, sizeof(order.id), job.id);
	take_over(order, " ");
	CHECK_INT(b.followed, 1);
	CHECK_INT(b.shelf.items.count, 0);
	job_done(&job);
	tear_down();
}

static void a_removed_job_is_told_as_such(void)
{
	static const enum shelf_what whats[] = { SHELF_REPLAY, SHELF_TAIL };

	for (size_t i = 0; i < sizeof(whats) / sizeof(whats[0]); i++) {
		struct shelf_order order;
		int64_t count;

		set_up();
		order = finished(whats[i], SPAN_LIT("{}"), NULL);
		CHECK_INT(remove_old(b.db, NOW + 100, 10, &count, NULL), ERR_OK);
		take_over(order, "");
		CHECK_STR(out(), HEAD_OUT "{\"error\":\"the job was removed\","
		                          "\"reason\":\"removed\"}\n");
		tear_down();
	}
}

static void a_job_that_kept_nothing_says_so(void)
{
	struct shelf_order order;

	set_up();
	order = finished(SHELF_REPLAY, (struct span){ 0 }, NULL);
	enter(&order);
	CHECK(strstr(out(), "\"reason\":\"not_found\"}\n"));
	tear_down();
}

static void a_database_that_cannot_be_read_is_an_internal_error(void)
{
	struct shelf_order order = { .what = SHELF_REPLAY };
	struct db_conf nowhere = { .path = "/nonexistent/foreman.db" };

	set_up();
	b.shelf.db_conf = &nowhere;
	enter(&order);
	CHECK(strstr(out(), "\"reason\":\"internal\"}\n"));
	CHECK(b.ended);
	tear_down();
}

static void an_artifact_that_cannot_be_read_ends_short(void)
{
	char *bytes = pattern(LARGE);
	struct db_conf nowhere = { .path = "/nonexistent/foreman.db" };
	struct shelf_order order;

	set_up();
	order = finished(SHELF_BYTES, (struct span){ bytes, LARGE }, NULL);
	b.shelf.db_conf = &nowhere;
	enter(&order);
	CHECK_STR(out(), HEAD_OUT);
	CHECK(b.eof && !b.ended);
	CHECK_INT(b.shelf.items.count, 0);
	tear_down();
	free(bytes);
}

static void a_database_without_its_jobs_is_an_internal_error(void)
{
	struct shelf_order order;

	set_up();
	order = finished(SHELF_REPLAY, SPAN_LIT("{}\n"), NULL);
	CHECK_INT(shell(b.db, "ALTER TABLE jobs RENAME TO elsewhere"), 0);
	enter(&order);
	CHECK(strstr(out(), "{\"error\":\"the job cannot be read\","
	                    "\"reason\":\"internal\"}\n"));
	CHECK(b.ended);
	tear_down();
}

static void a_failure_without_words_is_told_by_its_reason(void)
{
	struct shelf_order order;

	set_up();
	order = finished(SHELF_REPLAY, SPAN_LIT("{}\n"), "x");
	CHECK_INT(shell(b.db, "UPDATE jobs SET error = NULL"), 0);
	enter(&order);
	CHECK_STR(out(), HEAD_OUT "{}\n{\"error\":\"timeout\","
	                          "\"reason\":\"timeout\"}\n");
	tear_down();
}

static void who_never_closes_is_closed(void)
{
	struct shelf_order order;

	set_up();
	order = finished(SHELF_BYTES, SPAN_LIT("{}\n"), NULL);
	enter(&order);
	CHECK_STR(out(), HEAD_OUT "{}\n");
	CHECK(b.ended);
	pass_ms(LIMIT_SHUTDOWN_READ_MS - 1);
	CHECK_INT(b.shelf.items.count, 1);
	shelf_dismiss(&b.shelf); /* all is said: there is nothing to cut */
	CHECK_STR(out(), HEAD_OUT "{}\n");
	CHECK_INT(b.shelf.items.count, 1);
	pass_ms(1);
	CHECK_INT(b.shelf.items.count, 0);
	tear_down();
}

static void stopping_ends_streams_and_cuts_the_rest(void)
{
	char *bytes = pattern(LARGE);
	struct shelf_order order;
	int other;

	set_up();
	order = finished(SHELF_BYTES, (struct span){ bytes, LARGE }, NULL);
	enter(&order);
	other = b.client;
	b.client = -1;
	order.what = SHELF_REPLAY;
	enter(&order);
	shelf_dismiss(&b.shelf);
	turn();
	CHECK(strstr(out(), "\"reason\":\"interrupted\"}\n"));
	CHECK(b.ended && b.out.len < LARGE);
	close(other);
	tear_down();
	free(bytes);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(all_of_a_large_one_comes_in_order),
		T(a_part_is_exactly_that_part),
		T(who_takes_nothing_costs_a_fixed_part_and_no_read_transaction),
		T(who_takes_nothing_for_too_long_is_let_go),
		T(who_leaves_is_gone),
		T(what_is_removed_meanwhile_ends_short),
		T(one_more_than_the_limit_is_503),
		T(a_replay_is_the_response),
		T(a_replay_of_a_failed_job_ends_with_why),
		T(among_events_the_end_is_one),
		T(a_stream_shown_to_its_end_just_ends),
		T(a_stream_of_a_failed_job_ends_with_why),
		T(a_run_that_will_be_made_again_is_an_interruption),
		T(a_stream_that_broke_off_is_an_interruption_whatever_came_of_the_job),
		T(who_has_seen_nothing_of_a_job_that_will_run_goes_back),
		T(a_removed_job_is_told_as_such),
		T(a_job_that_kept_nothing_says_so),
		T(a_database_that_cannot_be_read_is_an_internal_error),
		T(an_artifact_that_cannot_be_read_ends_short),
		T(a_database_without_its_jobs_is_an_internal_error),
		T(a_failure_without_words_is_told_by_its_reason),
		T(who_never_closes_is_closed),
		T(stopping_ends_streams_and_cuts_the_rest),
	};

	log_init("test", LOG_ERROR, LOG_LOGFMT);
	return t_run(cases, sizeof(cases) / sizeof(cases[0]));
}
