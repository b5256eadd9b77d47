/*
 * test_deliver.c - schedules, and deliveries to a receiver.
 */
#include <config.h>

#include "worker/deliver.h"

#include "disk.h"
#include "world.h"

#include "core/limits.h"
#include "store/ledger.h"
#include "store/outbox.h"
#include "store/remove.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

/* --- the schedule ---------------------------------------------------------- */

static const struct conf_schedule schedule = { .ms = { 0, 5000, 60000 },
	                                           .count = 3 };
#define MIDDLE (UINT32_MAX / 2) /* no jitter, but for rounding */

static struct deliver_verdict judged(int status, int64_t retry_after_ms,
                                     int64_t made)
{
	struct deliver_verdict v;

	deliver_judge(status, "why", retry_after_ms, made, &schedule, MIDDLE, &v);
	return v;
}

static void a_2xx_is_delivered_and_nothing_else_is(void)
{
	CHECK_INT(judged(200, -1, 0).end, DELIVER_OK);
	CHECK_INT(judged(299, -1, 2).end, DELIVER_OK);
	CHECK_INT(judged(199, -1, 0).end, DELIVER_AGAIN);
	CHECK_INT(judged(300, -1, 0).end, DELIVER_AGAIN);
	CHECK_INT(judged(0, -1, 0).end, DELIVER_AGAIN);
	CHECK_STR(judged(0, -1, 0).error, "why");
	CHECK_STR(judged(302, -1, 0).error, "redirects are not followed (status 302)");
}

static void the_schedule_is_followed_to_its_end(void)
{
	int64_t first = judged(500, -1, 0).delay_ms;
	int64_t second = judged(500, -1, 1).delay_ms;

	CHECK(first >= 4999 && first <= 5001);
	CHECK(second >= 59999 && second <= 60001);
	CHECK_INT(judged(500, -1, 2).end, DELIVER_DEAD);
	CHECK_INT(judged(500, -1, 1000).end, DELIVER_DEAD);
}

static void gone_is_dead_at_once(void)
{
	CHECK_INT(judged(410, -1, 0).end, DELIVER_DEAD);
}

static void retry_after_puts_off_but_never_hastens(void)
{
	CHECK_INT(judged(503, 3600000, 0).delay_ms, 3600000);
	CHECK(judged(503, 1, 0).delay_ms >= 4999);
	CHECK_INT(judged(503, 3600000, 2).end, DELIVER_DEAD);
}

static void a_time_the_receiver_named_is_known_as_such(void)
{
	CHECK(judged(503, 3600000, 0).told);
	CHECK(judged(429, 1, 0).told);
	CHECK(!judged(503, -1, 0).told);
	CHECK(!judged(503, 0, 0).told);
	CHECK(!judged(503, 3600000, 2).told); /* dead */
	CHECK(!judged(410, 3600000, 0).told);
	CHECK(!judged(200, 3600000, 0).told);
}

static void what_went_wrong_is_told_in_readable_text(void)
{
	struct deliver_verdict v;
	char why[400];

	deliver_judge(0, "", -1, 0, &schedule, MIDDLE, &v);
	CHECK_STR(v.error, "no answer");
	deliver_judge(0, NULL, -1, 0, &schedule, MIDDLE, &v);
	CHECK_STR(v.error, "no answer");
	deliver_judge(0, "odd \x1b\xff", -1, 0, &schedule, MIDDLE, &v);
	CHECK_STR(v.error, "odd \xef\xbf\xbd\xef\xbf\xbd");
	deliver_judge(0, NULL, -1, 0, &schedule, MIDDLE, &v);
	CHECK_STR(v.error, "no answer");
	memset(why, 'w', sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	deliver_judge(0, why, -1, 0, &schedule, MIDDLE, &v);
	CHECK_INT(strlen(v.error), sizeof(v.error) - 1);
}

/* --- deliveries ------------------------------------------------------------ */

struct post {
	struct world w;
	struct guard *guard;
	struct deliver *deliver;
	const char *secret; /* of the jobs to come */
	char id[ULID_SIZE];
};

/* A job of this id that owes its first webhook to `url`. */
static void owe(struct post *p, const char *id, const char *url)
{
	struct errtext why;
	struct job job;
	struct submission sub = { .job = &job, .body = SPAN_LIT("{}") };
	struct submission *subs[] = { &sub };
	struct queue_limits limits = { 100, 100 };
	char event[] = "{\"type\":\"job.queued\"}";

	job_init(&job);
	str_copy(job.id, sizeof(job.id), id);
	job.endpoint = strdup("/api/chat");
	job.model = strdup("m");
	job.load_key = strdup("m");
	job.created_ms = job.queued_ms = clock_wall_ms();
	job.event_seq = 1;
	job.webhook_url = strdup(url);
	job.webhook_secret = p->secret ? strdup(p->secret) : NULL;
	job.webhook_events = JOB_EVENTS_ALL;
	sub.event_json = event;
	CHECK(db_begin(p->w.db, DB_SYNC_NORMAL, &why) == ERR_OK);
	CHECK(queue_submit(p->w.db, subs, 1, &limits, &why) == ERR_OK);
	CHECK(db_commit(p->w.db, &why) == ERR_OK);
	job_done(&job);
}

static bool post_begin_allowing(struct post *p, const char *allow,
                                const char *extra)
{
	struct errtext why;

	*p = (struct post){ .id = "" };
	if (!world_begin(&p->w, extra))
		return false;
	/* Another target than the receiver: the target itself is always refused. */
	CHECK(guard_new(allow, "http://127.0.0.1:1", &p->guard, &why) == ERR_OK);
	CHECK(deliver_new(p->w.loop, p->w.db, &p->w.conf, p->guard, &p->deliver) ==
	      ERR_OK);
	return !t_failed;
}

static bool post_begin_empty(struct post *p, const char *extra)
{
	return post_begin_allowing(p, "loopback", extra);
}

/* A job owes its first webhook to the world's target. */
static bool post_begin(struct post *p, const char *extra)
{
	if (!post_begin_empty(p, extra))
		return false;
	ulid_new(p->id);
	owe(p, p->id, p->w.conf.ollama_url);
	return !t_failed;
}

static void post_end(struct post *p)
{
	deliver_free(p->deliver);
	guard_free(p->guard);
	world_end(&p->w);
}

static bool settled(struct post *p, int64_t *next_ms)
{
	struct owed owed[2];
	size_t count = 0;

	deliver_step(p->deliver);
	CHECK(outbox_due(p->w.db, clock_wall_ms(), NULL, 0, owed, 2, &count, next_ms) ==
	      ERR_OK);
	for (size_t i = 0; i < count; i++)
		owed_done(&owed[i]);
	return count == 0;
}

static void an_owed_webhook_is_posted_as_it_was_frozen(void)
{
	struct post p;
	struct job job;
	int64_t next_ms;

	REQUIRE(post_begin(&p, "FOREMAN_WEBHOOK_SECRET=" SECRET));
	p.w.answer = "HTTP/1.1 204 No Content\r\n\r\n";
	deliver_look(p.deliver);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	CHECK_INT(p.w.posts, 1);
	CHECK_STR(p.w.last_body, "{\"type\":\"job.queued\"}");
	job = world_job(&p.w, p.id);
	CHECK_INT(job.webhook_pending, 0);
	CHECK_INT(job.webhook_dead, 0);
	job_done(&job);
	post_end(&p);
}

static void a_failed_one_comes_again_when_the_schedule_says(void)
{
	struct post p;
	int64_t next_ms;

	REQUIRE(post_begin(&p, "FOREMAN_WEBHOOK_SCHEDULE=0,1h"));
	p.w.answer = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
	deliver_look(p.deliver);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	CHECK(next_ms > clock_wall_ms() + 40 * 60 * 1000);
	CHECK(next_ms < clock_wall_ms() + 80 * 60 * 1000);
	CHECK(deliver_idle(p.deliver));
	post_end(&p);
}

static void an_answer_without_end_is_judged_by_its_status(void)
{
	static char endless[3000] =
	    "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
	struct post p;
	struct job job;
	int64_t next_ms;

	memset(endless + strlen(endless), 'x', sizeof(endless) - 1 - strlen(endless));
	REQUIRE(post_begin(&p, NULL));
	p.w.answer = endless;
	p.w.stays = true; /* it never ends */
	deliver_look(p.deliver);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	job = world_job(&p.w, p.id);
	CHECK_INT(job.webhook_pending, 0);
	CHECK_INT(job.webhook_dead, 0);
	job_done(&job);
	post_end(&p);
}

/* Time as told; a turn takes a millisecond of it, for transfers have timers. */
static int64_t told_mono_ms;

static void turn(struct post *p)
{
	clock_fake(told_mono_ms, told_mono_ms, told_mono_ms);
	told_mono_ms++;
	deliver_look(p->deliver);
	deliver_step(p->deliver);
	CHECK(loop_turn(p->w.loop, 5, NULL) == ERR_OK);
}

/* The receiver has so many, and within some turns gets no more. */
static bool has_just(struct post *p, int posts)
{
	for (int turns = 0; p->w.posts < posts && turns < 500; turns++)
		turn(p);
	for (int turns = 0; turns < 20; turns++)
		turn(p);
	return p->w.posts == posts;
}

static void owe_many(struct post *p, const char *url, int count)
{
	char id[ULID_SIZE];

	for (int i = 0; i < count; i++) {
		ulid_new(id);
		owe(p, id, url);
	}
}

/* The world's target under another name. */
static const char *spelled(const struct post *p, const char *host)
{
	static char url[128];

	snprintf(url, sizeof(url), "http://%s%s", host,
	         strrchr(p->w.conf.ollama_url, ':'));
	return url;
}

static void one_receiver_gets_no_more_than_its_share_at_once(void)
{
	struct post p;

	REQUIRE(post_begin_empty(&p, NULL));
	owe_many(&p, p.w.conf.ollama_url, LIMIT_WEBHOOK_PER_HOST + 2);
	owe_many(&p, spelled(&p, "127.1"), 1);
	told_mono_ms = clock_wall_ms();
	CHECK(has_just(&p, LIMIT_WEBHOOK_PER_HOST + 1)); /* it is silent */
	clock_real();
	post_end(&p);
}

static void receivers_that_keep_silent_make_room_for_others(void)
{
	static const char *const hosts[] = {
		"127.0.0.1", "127.0.1",  "127.1",      "0x7f.1",     "0x7f.0.1",
		"0177.1",    "0177.0.1", "0177.0.0.1", "2130706433", "0x7f000001",
	};
	struct post p;
	int64_t began_ms;

	REQUIRE(post_begin_empty(&p, NULL));
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		owe_many(&p, spelled(&p, hosts[i]), 1);
	began_ms = told_mono_ms = clock_wall_ms();
	CHECK(has_just(&p, LIMIT_WEBHOOK_FRESH));
	CHECK(told_mono_ms < began_ms + LIMIT_WEBHOOK_SLOW_MS);
	told_mono_ms = began_ms + LIMIT_WEBHOOK_SLOW_MS;
	CHECK(has_just(&p, ARRAY_LEN(hosts)));
	clock_real();
	post_end(&p);
}

static void all_receivers_together_get_no_more_than_there_is_room_for(void)
{
	struct post p;
	int64_t began_ms;

	REQUIRE(post_begin_empty(&p, NULL));
	for (int zeros = 1; zeros <= LIMIT_WEBHOOK_FLIGHTS / 2 + 1; zeros++) {
		char host[64];

		snprintf(host, sizeof(host), "0x%0*d7f.1", zeros, 0);
		owe_many(&p, spelled(&p, host), LIMIT_WEBHOOK_PER_HOST);
	}
	began_ms = clock_wall_ms();
	for (int n = 1; n * LIMIT_WEBHOOK_FRESH <= LIMIT_WEBHOOK_FLIGHTS; n++) {
		told_mono_ms = began_ms + n * LIMIT_WEBHOOK_SLOW_MS;
		CHECK(has_just(&p, n * LIMIT_WEBHOOK_FRESH));
	}
	told_mono_ms += LIMIT_WEBHOOK_SLOW_MS;
	CHECK(has_just(&p, LIMIT_WEBHOOK_FLIGHTS));
	clock_real();
	post_end(&p);
}

static void a_success_wakes_what_waits_for_the_receiver(void)
{
	static const struct outbox_attempt bad = { .now_ms = 1, .error = "down" };
	struct post p;
	int64_t next_ms;

	REQUIRE(post_begin(&p, NULL));
	CHECK(outbox_retry(p.w.db, 1, &bad, clock_wall_ms() + 3600000) == ERR_OK);
	owe_many(&p, p.w.conf.ollama_url, 1);
	p.w.answer = "HTTP/1.1 204 No Content\r\n\r\n";
	deliver_look(p.deliver);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms) && next_ms == 0 && p.w.posts == 2);
	post_end(&p);
}

static void the_reply_is_kept_as_people_can_read_it(void)
{
	struct ledger_attempt *log;
	struct post p;
	int64_t next_ms;
	size_t count;

	REQUIRE(post_begin(&p, "FOREMAN_WEBHOOK_SCHEDULE=0,1h"));
	p.w.answer = "HTTP/1.1 500 No\r\n\r\ngr\xc3\xbc\xc3\x9f dich\x1b\xff";
	deliver_look(p.deliver);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	REQUIRE(ledger_log(p.w.db, 1, &log, &count) == ERR_OK);
	REQUIRE(count == 1);
	CHECK_INT(log[0].status, 500);
	CHECK_STR(log[0].error, "status 500");
	CHECK_STR(log[0].reply, "gr\xc3\xbc\xc3\x9f dich\xef\xbf\xbd\xef\xbf\xbd");
	ledger_log_done(log, count);
	post_end(&p);
}

/* The only attempt of the only webhook, as people can read it. */
static void check_attempt(struct post *p, int status, const char *error)
{
	struct ledger_attempt *log;
	size_t count;

	REQUIRE(ledger_log(p->w.db, 1, &log, &count) == ERR_OK);
	CHECK_INT(count, 1);
	if (count > 0) {
		CHECK_INT(log[0].status, status);
		CHECK(log[0].error && strstr(log[0].error, error));
		if (!log[0].error || !strstr(log[0].error, error))
			printf("#   %s\n", log[0].error ? log[0].error : "NULL");
	}
	ledger_log_done(log, count);
}

static void whatever_an_odd_receiver_says_is_one_failed_attempt(void)
{
	static const struct {
		const char *answer;
		int status;
		const char *error;
	} odd[] = {
		{ "HTTP/1.1 302 Over there\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
		  302, "redirects are not followed" },
		{ "HTTP/1.1 199 Odd\r\n\r\n", 0, "" },
		{ "SSH-2.0-OpenSSH_9.2\r\n", 0, "" },
		{ "\r\n", 0, "" },
		{ "", 0, "" },
		{ "HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nhalf", 500, "status 500" },
	};

	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		struct post p;
		int64_t next_ms;

		REQUIRE(post_begin(&p, "FOREMAN_WEBHOOK_SCHEDULE=0,1h"));
		p.w.answer = odd[i].answer;
		deliver_look(p.deliver);
		WORLD_UNTIL(&p.w, settled(&p, &next_ms));
		CHECK_INT(p.w.posts, 1);
		CHECK(next_ms > clock_wall_ms());
		check_attempt(&p, odd[i].status, odd[i].error);
		post_end(&p);
	}
}

static void a_receiver_that_is_gone_is_asked_no_more(void)
{
	struct post p;
	struct job job;
	int64_t next_ms;

	REQUIRE(post_begin(&p, NULL));
	p.w.answer = "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n";
	deliver_look(p.deliver);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	CHECK_INT(next_ms, 0);
	job = world_job(&p.w, p.id);
	CHECK_INT(job.webhook_pending, 0);
	CHECK_INT(job.webhook_dead, 1);
	job_done(&job);
	post_end(&p);
}

static void a_receiver_says_when_to_come_again(void)
{
	struct post p;
	int64_t next_ms;

	REQUIRE(post_begin(&p, "FOREMAN_WEBHOOK_SCHEDULE=0,1h"));
	p.w.answer =
	    "HTTP/1.1 503 No\r\nRetry-After: 7200\r\nContent-Length: 0\r\n\r\n";
	deliver_look(p.deliver);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	CHECK(next_ms > clock_wall_ms() + 7100 * 1000);
	post_end(&p);
}

static void it_comes_again_when_it_is_due_without_being_told(void)
{
	struct post p;
	int64_t next_ms;

	REQUIRE(post_begin(&p, "FOREMAN_WEBHOOK_SCHEDULE=0,200ms"));
	p.w.answer = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	p.w.answer = "HTTP/1.1 204 No Content\r\n\r\n";
	WORLD_UNTIL(&p.w, settled(&p, &next_ms) && next_ms == 0);
	CHECK_INT(p.w.posts, 2);
	post_end(&p);
}

static void a_jobs_own_secret_signs_before_the_configured_one(void)
{
	const char *with_own;
	char first[128];
	struct post p;
	int64_t next_ms;

	REQUIRE(post_begin_empty(&p, "FOREMAN_WEBHOOK_SECRET=" SECRET));
	p.w.answer = "HTTP/1.1 204 No Content\r\n\r\n";
	p.secret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA " SECRET;
	ulid_new(p.id);
	owe(&p, p.id, p.w.conf.ollama_url);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	with_own = strstr(p.w.last_head, "webhook-signature: v1,");
	REQUIRE(with_own);
	snprintf(first, sizeof(first), "%.*s", (int)strcspn(with_own, "\r"), with_own);
	CHECK(strchr(strchr(first, ' ') + 1, ' ')); /* two: one for each secret */
	post_end(&p);
}

static void a_secret_of_another_form_is_a_failed_attempt(void)
{
	struct post p;
	int64_t next_ms;

	REQUIRE(post_begin_empty(&p, "FOREMAN_WEBHOOK_SCHEDULE=0,1h"));
	p.secret = "not a secret of the kind"; /* somebody wrote it into the file */
	ulid_new(p.id);
	owe(&p, p.id, p.w.conf.ollama_url);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	CHECK_INT(p.w.posts, 0);
	check_attempt(&p, 0, "whsec_<base64>");
	post_end(&p);
}

static void an_address_that_is_not_allowed_is_not_connected_to(void)
{
	struct post p;
	int64_t next_ms;

	REQUIRE(post_begin_allowing(&p, "public", "FOREMAN_WEBHOOK_SCHEDULE=0,1h"));
	ulid_new(p.id);
	owe(&p, p.id, p.w.conf.ollama_url);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	CHECK_INT(p.w.posts, 0);
	check_attempt(&p, 0, "FOREMAN_WEBHOOK_ALLOW");
	post_end(&p);
}

/* --- many ------------------------------------------------------------------- */

/* Some turns in which nobody says that something may be owed. */
static void quiet_turns(struct post *p)
{
	for (int turns = 0; turns < 100; turns++) {
		clock_fake(told_mono_ms, told_mono_ms, told_mono_ms);
		told_mono_ms++;
		deliver_step(p->deliver);
		CHECK(loop_turn(p->w.loop, 1, NULL) == ERR_OK);
	}
}

static void room_comes_when_the_oldest_is_fresh_no_longer(void)
{
	static const char *const hosts[] = {
		"127.0.0.1", "127.0.1",  "127.1",      "0x7f.1",     "0x7f.0.1",
		"0177.1",    "0177.0.1", "0177.0.0.1", "2130706433", "0x7f000001",
	};
	struct post p;
	int64_t began_ms;

	REQUIRE(post_begin_empty(&p, NULL));
	began_ms = told_mono_ms = clock_wall_ms();
	for (size_t i = 0; i < 4; i++)
		owe_many(&p, spelled(&p, hosts[i]), 1);
	quiet_turns(&p);
	CHECK_INT(p.w.posts, 4);
	told_mono_ms = began_ms + LIMIT_WEBHOOK_SLOW_MS / 2;
	for (size_t i = 4; i < ARRAY_LEN(hosts); i++)
		owe_many(&p, spelled(&p, hosts[i]), 1);
	deliver_look(p.deliver);
	quiet_turns(&p);
	CHECK_INT(p.w.posts, LIMIT_WEBHOOK_FRESH);
	told_mono_ms = began_ms + LIMIT_WEBHOOK_SLOW_MS; /* of the first four */
	quiet_turns(&p);
	CHECK_INT(p.w.posts, ARRAY_LEN(hosts));
	clock_real();
	post_end(&p);
}

/* Two of its own are under way; the rest of its backlog fills the window or
 * leaves one place in it. Is another's webhook behind them posted at once, and
 * when the slow one has been slow for long? */
static void backlog(int count, int at_once, int later)
{
	struct post p;

	REQUIRE(post_begin_empty(&p, NULL));
	told_mono_ms = clock_wall_ms();
	owe_many(&p, p.w.conf.ollama_url, LIMIT_WEBHOOK_PER_HOST + count);
	owe_many(&p, spelled(&p, "127.1"), 1);
	CHECK(has_just(&p, LIMIT_WEBHOOK_PER_HOST + at_once));
	told_mono_ms += LIMIT_WEBHOOK_SLOW_MS;
	CHECK(has_just(&p, LIMIT_WEBHOOK_PER_HOST + later));
	clock_real();
	post_end(&p);
}

static void a_slow_receivers_backlog_is_looked_past_and_then_overtaken(void)
{
	backlog(LIMIT_WEBHOOK_WINDOW - 1, 1, 1);
	backlog(LIMIT_WEBHOOK_WINDOW, 0, 1);
}

/* When the next one falls due that is not due now; 0: none does. */
static int64_t next_due_ms(struct post *p, int64_t now_ms)
{
	struct owed owed[LIMIT_WEBHOOK_FRESH];
	int64_t next_ms = 0;
	size_t count = 0;

	CHECK(outbox_due(p->w.db, now_ms, NULL, 0, owed, ARRAY_LEN(owed), &count,
	                 &next_ms) == ERR_OK);
	for (size_t i = 0; i < count; i++)
		owed_done(&owed[i]);
	return next_ms > now_ms ? next_ms : 0;
}

static void what_is_overtaken_comes_so_much_later(void)
{
	struct post p;
	int64_t now_ms, next_ms = 0;

	REQUIRE(post_begin_empty(&p, NULL));
	told_mono_ms = clock_wall_ms();
	owe_many(&p, p.w.conf.ollama_url,
	         LIMIT_WEBHOOK_PER_HOST + LIMIT_WEBHOOK_WINDOW);
	CHECK(has_just(&p, LIMIT_WEBHOOK_PER_HOST));
	CHECK_INT(next_due_ms(&p, told_mono_ms), 0);
	told_mono_ms += LIMIT_WEBHOOK_SLOW_MS;
	for (int turns = 0; turns < 50 && !next_ms; turns++) {
		now_ms = told_mono_ms;
		turn(&p);
		next_ms = next_due_ms(&p, now_ms);
	}
	CHECK_INT(next_ms, now_ms + LIMIT_WEBHOOK_DEFER_MS);
	clock_real();
	post_end(&p);
}

static void a_wide_look_launches_no_more_than_there_is_room_for(void)
{
	struct post p;

	REQUIRE(post_begin_empty(&p, NULL));
	told_mono_ms = clock_wall_ms();
	owe_many(&p, p.w.conf.ollama_url, LIMIT_WEBHOOK_PER_HOST + LIMIT_WEBHOOK_FRESH);
	for (int zeros = 1; zeros <= LIMIT_WEBHOOK_FRESH; zeros++) {
		char host[64];

		snprintf(host, sizeof(host), "0x%0*d7f.1", zeros, 0);
		owe_many(&p, spelled(&p, host), 1);
	}
	CHECK(has_just(&p, LIMIT_WEBHOOK_FRESH));
	told_mono_ms += LIMIT_WEBHOOK_SLOW_MS;
	CHECK(has_just(&p, LIMIT_WEBHOOK_PER_HOST + LIMIT_WEBHOOK_FRESH));
	clock_real();
	post_end(&p);
}

/* --- a disk in trouble ------------------------------------------------------- */

static void turns(struct post *p, int64_t ms)
{
	int64_t end_ms = clock_mono_ms() + ms;

	while (clock_mono_ms() < end_ms) {
		deliver_step(p->deliver);
		CHECK(loop_turn(p->w.loop, 20, NULL) == ERR_OK);
	}
}

static void what_a_full_disk_cannot_note_is_not_posted_again(void)
{
	struct post p;
	struct job job;
	int64_t next_ms;

	REQUIRE(post_begin(&p, NULL));
	owe_many(&p, spelled(&p, "127.1"), 1);
	owe_many(&p, spelled(&p, "127.0.1"), 1);
	deliver_step(p.deliver);
	WORLD_UNTIL(&p.w, p.w.posts == 3);
	disk.full = true;
	world_catch_log(LOG_ERROR);
	world_answer(&p.w, "HTTP/1.1 204 No Content\r\n\r\n");
	world_answer(&p.w, "HTTP/1.1 204 No Content\r\n\r\n");
	turns(&p, 2 * LIMIT_SETTLE_RETRY_MS + LIMIT_SETTLE_RETRY_MS / 2);
	CHECK_INT(world_caught("cannot settle webhooks"), 1); /* not at each try */
	CHECK_INT(p.w.posts, 3);
	CHECK(!deliver_idle(p.deliver));
	disk.full = false;
	turns(&p, LIMIT_SETTLE_RETRY_MS + 100);
	CHECK(!deliver_idle(p.deliver)); /* the third has not been answered yet */
	world_answer(&p.w, "HTTP/1.1 204 No Content\r\n\r\n");
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	CHECK_INT(p.w.posts, 3);
	CHECK(deliver_idle(p.deliver));
	job = world_job(&p.w, p.id);
	CHECK_INT(job.webhook_pending, 0);
	job_done(&job);
	post_end(&p);
}

static void what_nobody_could_note_is_posted_by_the_next_worker(void)
{
	struct post p;
	int64_t next_ms;

	REQUIRE(post_begin(&p, NULL));
	deliver_step(p.deliver);
	WORLD_UNTIL(&p.w, p.w.posts == 1);
	disk.full = true;
	world_answer(&p.w, "HTTP/1.1 204 No Content\r\n\r\n");
	turns(&p, 100);
	deliver_free(p.deliver);
	disk.full = false;
	p.w.answer = "HTTP/1.1 204 No Content\r\n\r\n";
	CHECK(deliver_new(p.w.loop, p.w.db, &p.w.conf, p.guard, &p.deliver) == ERR_OK);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms));
	CHECK_INT(p.w.posts, 2);
	post_end(&p);
}

static void one_whose_job_was_removed_meanwhile_is_let_go_of(void)
{
	struct post p;

	REQUIRE(post_begin(&p, NULL));
	deliver_step(p.deliver);
	WORLD_UNTIL(&p.w, p.w.posts == 1);
	CHECK(db_begin(p.w.db, DB_SYNC_FULL, NULL) == ERR_OK);
	CHECK(db_finish(p.w.db, remove_job_in(p.w.db, p.id, NULL), NULL) == ERR_OK);
	world_catch_log(LOG_ERROR);
	world_answer(&p.w, "HTTP/1.1 204 No Content\r\n\r\n");
	WORLD_UNTIL(&p.w, deliver_idle(p.deliver));
	CHECK_INT(world_caught("cannot settle"), 0); /* that is no trouble */
	post_end(&p);
}

static void a_file_that_cannot_be_read_for_a_while_loses_no_webhook(void)
{
	struct post p;
	int64_t next_ms;

	REQUIRE(post_begin(&p, NULL));
	p.w.answer = "HTTP/1.1 204 No Content\r\n\r\n";
	disk_forget(&p.w);
	disk.unreadable = true;
	world_catch_log(LOG_ERROR);
	deliver_step(p.deliver);
	deliver_look(p.deliver);
	deliver_step(p.deliver);
	CHECK_INT(world_caught("cannot settle webhooks"), 1);
	disk.unreadable = false;
	CHECK_INT(p.w.posts, 0);
	WORLD_UNTIL(&p.w, settled(&p, &next_ms)); /* the timer looks again */
	CHECK_INT(p.w.posts, 1);
	post_end(&p);
}

static void one_that_leaves_begins_no_more(void)
{
	struct post p;

	REQUIRE(post_begin(&p, NULL));
	deliver_leave(p.deliver);
	deliver_step(p.deliver);
	CHECK(deliver_idle(p.deliver));
	post_end(&p);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_2xx_is_delivered_and_nothing_else_is),
		T(the_schedule_is_followed_to_its_end),
		T(gone_is_dead_at_once),
		T(retry_after_puts_off_but_never_hastens),
		T(a_time_the_receiver_named_is_known_as_such),
		T(what_went_wrong_is_told_in_readable_text),
		T(an_owed_webhook_is_posted_as_it_was_frozen),
		T(a_failed_one_comes_again_when_the_schedule_says),
		T(an_answer_without_end_is_judged_by_its_status),
		T(one_receiver_gets_no_more_than_its_share_at_once),
		T(receivers_that_keep_silent_make_room_for_others),
		T(all_receivers_together_get_no_more_than_there_is_room_for),
		T(a_success_wakes_what_waits_for_the_receiver),
		T(the_reply_is_kept_as_people_can_read_it),
		T(whatever_an_odd_receiver_says_is_one_failed_attempt),
		T(a_receiver_that_is_gone_is_asked_no_more),
		T(a_receiver_says_when_to_come_again),
		T(it_comes_again_when_it_is_due_without_being_told),
		T(a_jobs_own_secret_signs_before_the_configured_one),
		T(a_secret_of_another_form_is_a_failed_attempt),
		T(an_address_that_is_not_allowed_is_not_connected_to),
		T(room_comes_when_the_oldest_is_fresh_no_longer),
		T(a_slow_receivers_backlog_is_looked_past_and_then_overtaken),
		T(what_is_overtaken_comes_so_much_later),
		T(a_wide_look_launches_no_more_than_there_is_room_for),
		T(what_a_full_disk_cannot_note_is_not_posted_again),
		T(what_nobody_could_note_is_posted_by_the_next_worker),
		T(one_whose_job_was_removed_meanwhile_is_let_go_of),
		T(a_file_that_cannot_be_read_for_a_while_loses_no_webhook),
		T(one_that_leaves_begins_no_more),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
