/*
 * test_deliver.c - signatures, schedules, and deliveries to a receiver.
 */
#include <config.h>

#include "worker/deliver.h"

#include "world.h"

#include "store/outbox.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

/* --- signing --------------------------------------------------------------- */

static const char *signature(const char *secrets, enum err want)
{
	static struct buf out;

	buf_done(&out);
	buf_init(&out, 1024);
	CHECK_INT(deliver_sign(secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
	                       SPAN_LIT("{\"test\": 2432232314}"), &out),
	          want);
	return out.len ? buf_str(&out) : "";
}

#define VECTOR "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

static void the_specs_own_vector_is_signed_as_it_says(void)
{
	CHECK_STR(signature(SECRET, ERR_OK), VECTOR);
}

static void while_rotating_every_secret_signs(void)
{
	const char *both =
	    signature(SECRET "  whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", ERR_OK);

	CHECK(strncmp(both, VECTOR " v1,", sizeof(VECTOR " v1,") - 1) == 0);
	CHECK_INT(strlen(both), 2 * (sizeof(VECTOR) - 1) + 1);
}

static void a_secret_of_another_form_signs_nothing(void)
{
	CHECK_STR(signature("", ERR_INVAL), "");
	CHECK_STR(signature("whsec_", ERR_INVAL), "");
	CHECK_STR(signature("secret", ERR_INVAL), "");
	CHECK_STR(signature("whsec_***", ERR_INVAL), "");
	CHECK_STR(signature(SECRET " whsec_*", ERR_INVAL), "");
}

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

static void receivers_are_told_apart_by_host_and_port(void)
{
	char host[16];

	deliver_host("https://Ex.org:8443/a?b", host, sizeof(host));
	CHECK_STR(host, "ex.org:8443");
	deliver_host("http://[::1]?x", host, sizeof(host));
	CHECK_STR(host, "[::1]");
	deliver_host("http://0123456789abcdefghi/", host, sizeof(host));
	CHECK_STR(host, "0123456789abcde");
}

/* --- deliveries ------------------------------------------------------------ */

struct post {
	struct world w;
	struct guard *guard;
	struct deliver *deliver;
	char id[ULID_SIZE];
};

/* A job that owes its first webhook to the world's target. */
static bool post_begin(struct post *p, const char *extra)
{
	struct errtext why;
	struct job job;
	struct submission sub = { .job = &job, .body = SPAN_LIT("{}") };
	struct submission *subs[] = { &sub };
	struct queue_limits limits = { 10, 10 };
	char event[] = "{\"type\":\"job.queued\"}";

	*p = (struct post){ .id = "" };
	if (!world_begin(&p->w, extra))
		return false;
	/* Another target than the receiver: the target itself is always refused. */
	CHECK(guard_new("loopback", "http://127.0.0.1:1", &p->guard, &why) == ERR_OK);
	CHECK(deliver_new(p->w.loop, p->w.db, &p->w.conf, p->guard, &p->deliver) ==
	      ERR_OK);
	job_init(&job);
	ulid_new(p->id);
	str_copy(job.id, sizeof(job.id), p->id);
	job.endpoint = strdup("/api/chat");
	job.model = strdup("m");
	job.load_key = strdup("m");
	job.created_ms = job.queued_ms = clock_wall_ms();
	job.event_seq = 1;
	job.webhook_url = strdup(p->w.conf.ollama_url);
	job.webhook_events = JOB_EVENTS_ALL;
	sub.event_json = event;
	CHECK(db_begin(p->w.db, DB_SYNC_NORMAL, &why) == ERR_OK);
	CHECK(queue_submit(p->w.db, subs, 1, &limits, &why) == ERR_OK);
	CHECK(db_commit(p->w.db, &why) == ERR_OK);
	job_done(&job);
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
		T(the_specs_own_vector_is_signed_as_it_says),
		T(while_rotating_every_secret_signs),
		T(a_secret_of_another_form_signs_nothing),
		T(a_2xx_is_delivered_and_nothing_else_is),
		T(the_schedule_is_followed_to_its_end),
		T(gone_is_dead_at_once),
		T(retry_after_puts_off_but_never_hastens),
		T(receivers_are_told_apart_by_host_and_port),
		T(an_owed_webhook_is_posted_as_it_was_frozen),
		T(a_failed_one_comes_again_when_the_schedule_says),
		T(an_answer_without_end_is_judged_by_its_status),
		T(one_that_leaves_begins_no_more),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
