/*
 * test_service.c - what is told of the service as a whole: status, webhooks, the
 * doctor, and of its database.
 */
#include <config.h>

#include "cli/commands.h"

#include "base/clock.h"
#include "core/limits.h"
#include "core/signature.h"
#include "run.h"
#include "store/status.h"

/* --- status ----------------------------------------------------------------------
 */

static void a_queue_that_says_nothing_is_drawn_as_an_idle_one(void)
{
	served_up();
	served_says(200, "", "{\"target\":{\"state\":\"up\"}}");
	CHECK_INT(RUN("status"), EX_OK);
	CHECK(strstr(said.out, "target    up for -, Ollama ?, loaded: nothing\n"));
	CHECK(strstr(said.out, "running   nothing\nwaiting   0, the line is empty\n"));
	served_down();
}

static void a_busy_queue_is_drawn_with_its_rates(void)
{
	char queue[4096];

	snprintf(queue, sizeof(queue),
	         "{\"target\":{\"state\":\"suspect\",\"error\":\"no answer\"},"
	         "\"running\":{\"id\":\"%s\",\"state\":\"working\",\"model\":\"m\","
	         "\"estimate\":{\"ends_at\":\"2999-01-01T00:00:00.000Z\"}},"
	         "\"tokens_per_s\":12.5,\"waiting\":[",
	         SERVED_ID);
	for (int i = 0; i < 12; i++)
		snprintf(queue + strlen(queue), sizeof(queue) - strlen(queue),
		         "%s{\"model\":\"m%d\",\"count\":2,\"attended\":%s}", i ? "," : "",
		         i, i % 2 ? "true" : "false");
	strcat(queue, "]}");
	served_up();
	served_says(200, "", queue);
	CHECK_INT(RUN("status"), EX_OK);
	CHECK(strstr(said.out, "target    suspect for -: no answer\n"));
	CHECK(strstr(said.out, " more, 12.5 tokens/s\n"));
	CHECK(strstr(said.out, "waiting   24\n"));
	CHECK(strstr(said.out, "... and 2 more\n"));
	CHECK_INT(RUN("status", "--json"), EX_OK);
	CHECK(strncmp(said.out, "{\"target\"", 9) == 0);
	served_down();
	served_up();
	served_says(401, "", "{\"code\":\"unauthorized\"}");
	CHECK_INT(RUN("status", "--watch"), EX_NOPERM); /* which ends the watch */
	served_down();
}

/* --- webhooks
 * ---------------------------------------------------------------------- */

static void a_webhook_that_waits_says_when_it_is_due(void)
{
	served_up();
	served_says(
	    200, "",
	    "{\"webhooks\":[{\"id\":\"evt_1\",\"state\":\"pending\","
	    "\"type\":\"job.done\",\"url\":\"http://r/\",\"attempts\":2,"
	    "\"due_at\":\"2999-01-01T00:00:00.000Z\"},{\"id\":\"evt_2\","
	    "\"state\":\"dead\",\"type\":\"job.done\",\"url\":\"http://r/\"}]}");
	CHECK_INT(RUN("webhooks", "list"), EX_OK);
	CHECK(strstr(said.out, "evt_1"));
	CHECK(strstr(said.out, "0  -         http://r/\n"));
	served_down();
}

static void webhooks_are_sent_again_by_id_or_by_time(void)
{
	served_up();
	served_says(202, "", "{\"redelivered\":3,\"more\":true}");
	CHECK_INT(RUN("webhooks", "redeliver", "--since=2026-11-20T18:00:00Z"), EX_OK);
	CHECK(served_asked(0, "POST /webhooks/redeliver?since=2026-11-20T18:00:00Z"));
	CHECK_STR(said.out, "3 will be sent again; there are more\n");
	served_down();
	served_up();
	served_says(202, "", "{\"redelivered\":3,\"more\":false}");
	served_says(202, "", "{\"id\":\"evt_1\"}");
	served_says(404, "", "{\"code\":\"webhook_not_found\"}");
	CHECK_INT(RUN("webhooks", "redeliver", "--since=yesterday"), EX_OK);
	CHECK_STR(said.out, "3 will be sent again\n");
	CHECK_INT(RUN("webhooks", "redeliver", "evt_1"), EX_OK);
	CHECK_STR(said.out, "evt_1 will be sent again\n");
	CHECK_INT(RUN("webhooks", "redeliver", "evt_2"), EX_NOINPUT);
	CHECK_INT(served_count(), 3);
	CHECK_INT(RUN("webhooks", "redeliver", "--since="), EX_USAGE);
	CHECK_INT(RUN("webhooks", "redeliver", "--since=a b"), EX_USAGE);
	CHECK_INT(RUN("webhooks", "redeliver", "a/b"), EX_USAGE);
	CHECK_INT(
	    RUN("webhooks", "redeliver",
	        "0123456789012345678901234567890123456789012345678901234567890123"),
	    EX_USAGE);
	CHECK_INT(RUN("webhooks", "redeliver"), EX_USAGE);
	CHECK_INT(RUN("webhooks", "redeliver", "evt_1", "--since=x"), EX_USAGE);
	CHECK_INT(served_count(), 3);
	served_down();
}

#define SECRET "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0IQ=="

/* A delivery of nothing at that time, as it is verified. */
static int verified(int64_t at_s, const char *file, const char *more)
{
	struct buf signature;
	char timestamp[32];
	int status;

	buf_init(&signature, 1024);
	CHECK_INT(signature_make(SECRET, "evt_1", at_s, SPAN_LIT(""), &signature),
	          ERR_OK);
	snprintf(timestamp, sizeof(timestamp), "%lld", (long long)at_s);
	status = RUN("webhooks", "verify", file, "--id=evt_1", "--timestamp", timestamp,
	             "--signature", buf_str(&signature), more);
	buf_done(&signature);
	return status;
}

static void a_signature_is_judged_with_its_time(void)
{
	int64_t now_s = clock_wall_ms() / 1000;

	setenv("FOREMAN_WEBHOOK_SECRET", SECRET, 1);
	CHECK_INT(verified(now_s, "/dev/null", NULL), EX_OK);
	CHECK_STR(said.out, "good\n");
	CHECK_INT(verified(now_s - 400, "/dev/null", NULL), 1);
	CHECK(strstr(said.err, "its time is 40"));
	CHECK_INT(verified(now_s + 400, "/dev/null", "--json"), 1);
	CHECK(strstr(said.out, "\"good\":false"));
	CHECK_INT(verified(now_s, "/dev/null", "--json"), EX_OK);
	CHECK_STR(said.out, "{\"good\":true,\"text\":null}\n");
	CHECK_INT(verified(now_s, "/proc/self/status", NULL), 1);
	CHECK(strstr(said.err, "no signature fits"));
	CHECK_INT(verified(now_s, "/nonexistent/file", NULL), EX_NOINPUT);
	CHECK_INT(verified(now_s, "/", NULL), EX_IOERR);
	setenv("FOREMAN_WEBHOOK_SECRET", "none", 1);
	CHECK_INT(verified(now_s, "/dev/null", NULL), EX_USAGE);
	CHECK(strstr(said.err, "is no secret"));
}

static void what_is_needed_to_verify_is_asked_for(void)
{
	setenv("FOREMAN_WEBHOOK_SECRET", SECRET, 1);
	CHECK_INT(RUN("webhooks", "verify", "/dev/null", "--timestamp=-1"), EX_USAGE);
	CHECK_INT(RUN("webhooks", "verify", "/dev/null", "--timestamp=1"), EX_USAGE);
	CHECK_INT(RUN("webhooks", "verify", "/dev/null", "--timestamp=1", "--id=a"),
	          EX_USAGE);
	CHECK_INT(RUN("webhooks", "verify", "/dev/null", "--signature=v1,", "--id=a"),
	          EX_USAGE);
	setenv("FOREMAN_WEBHOOK_SECRET", "", 1);
	CHECK_INT(RUN("webhooks", "verify", "/dev/null"), EX_USAGE);
	CHECK(strstr(said.err, "FOREMAN_WEBHOOK_SECRET is not set"));
	unsetenv("FOREMAN_WEBHOOK_SECRET");
	CHECK_INT(RUN("webhooks", "verify", "/dev/null"), EX_USAGE);
	CHECK_INT(RUN("webhooks", "listen", "65536"), EX_USAGE);
	CHECK_INT(RUN("webhooks", "listen", "http"), EX_USAGE);
}

/* --- the doctor
 * ---------------------------------------------------------------------- */

/* Something is found of `what`, at that level. */
static bool found(const char *level, const char *what)
{
	char row[64];

	snprintf(row, sizeof(row), "%-8s %-12s ", level, what);
	return strstr(said.out, row) != NULL;
}

static void a_service_that_is_not_there_is_the_first_thing_to_mend(void)
{
	served_up();
	served_says_raw("");
	CHECK_INT(RUN("doctor"), 1);
	CHECK(found("FAULT", "service"));
	CHECK(!found("ok", "target") && !found("FAULT", "target"));
	served_down();
}

static void a_service_without_its_date_or_token_is_told(void)
{
	served_up();
	served_says(200, "", "{}");
	served_says(401, "", "{\"code\":\"unauthorized\"}");
	unsetenv("FOREMAN_API_TOKEN");
	CHECK_INT(RUN("doctor"), 1);
	CHECK(strstr(said.out, "the server does not tell its time"));
	CHECK(
	    strstr(said.out, "the service wants FOREMAN_API_TOKEN, which is not set"));
	served_down();
	served_up();
	served_says(200, "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n", "{}");
	served_says(401, "", "{\"code\":\"unauthorized\"}");
	setenv("FOREMAN_API_TOKEN", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1);
	CHECK_INT(RUN("doctor"), 1);
	CHECK(strstr(said.out, "signatures will be refused"));
	CHECK(strstr(said.out, "and another one"));
	CHECK(strstr(said.out, "easily guessed"));
	unsetenv("FOREMAN_API_TOKEN");
	served_down();
}

static void a_service_that_tells_little_leaves_much_unknown(void)
{
	served_up();
	served_says(200, "Date: Thu, 01 Jan 2999 00:00:00 GMT\r\n", "{}");
	served_says(200, "", "{}");
	served_says(500, "", "no JSON");
	CHECK_INT(RUN("doctor"), 1);
	CHECK(strstr(said.out, "signatures will be refused"));
	CHECK(strstr(said.out, "its worker is alive"));
	CHECK(strstr(said.out, "no job to see it on"));
	served_down();
}

static void a_well_target_is_found_well(void)
{
	char date[64];
	time_t now = time(NULL);
	struct tm tm;

	strftime(date, sizeof(date), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n",
	         gmtime_r(&now, &tm));
	served_up();
	served_says(200, date, "{}");
	served_says(200, "", "{}");
	served_says(200, "",
	            "{\"target\":{\"state\":\"up\"},\"webhooks\":{\"dead\":2}}");
	served_says(200, "", "{\"models\":[{},{}]}");
	served_says(200, "", "{\"jobs\":[{\"id\":\"" SERVED_ID "\"}]}");
	served_says(200, "", "");
	RUN("doctor");
	CHECK(strstr(said.out, "this host's agree"));
	CHECK(strstr(said.out, "up, Ollama ?\n"));
	CHECK(strstr(said.out, "2 given up"));
	CHECK(strstr(said.out, "2 models are loaded"));
	CHECK(strstr(said.out, "the job ended while it was looked at"));
	served_down();
	served_up();
	served_says(200, date, "{}");
	served_says(200, "", "{}");
	served_says(200, "", "{\"target\":{\"error\":\"asleep\"}}");
	served_says(200, "", "{\"models\":[]}");
	served_says(200, "", "{\"jobs\":[{\"id\":\"no id\"}]}");
	setenv("FOREMAN_EMBED_MODEL", "e", 1);
	RUN("doctor");
	CHECK(strstr(said.out, "unknown: asleep; jobs wait for it"));
	CHECK(strstr(said.out, "0 loaded now"));
	unsetenv("FOREMAN_EMBED_MODEL");
	served_down();
}

/* --- the database
 * ------------------------------------------------------------------- */

static void a_database_is_ready_when_its_worker_lives(void)
{
	char dir[64], file[96], option[128];
	const char *tmp = getenv("TMPDIR");
	struct db_conf conf = { .path = file };
	struct status s = { .heartbeat_ms = 0 };
	struct db *db;

	snprintf(dir, sizeof(dir), "%.40s/foreman-XXXXXX", tmp ? tmp : "/tmp");
	SERVED_MUST(mkdtemp(dir) != NULL);
	snprintf(file, sizeof(file), "%s/foreman.db", dir);
	snprintf(option, sizeof(option), "--db=%s", file);
	CHECK_INT(RUN("db", "ready", option), 1);
	CHECK_INT(RUN("db", "stats", option), EX_NOINPUT);
	SERVED_MUST(!db_open(&conf, DB_WORKER, &db, NULL));
	CHECK_INT(RUN("db", "ready", option), 1);
	CHECK(strstr(said.err, "no worker has been here yet"));
	s.heartbeat_ms = clock_wall_ms() - LIMIT_HEARTBEAT_STALE_MS - 1000;
	CHECK_INT(status_write(db, &s, NULL), ERR_OK);
	CHECK_INT(RUN("db", "ready", option), 1);
	CHECK(strstr(said.err, "the worker's last heartbeat was "));
	s.heartbeat_ms = clock_wall_ms();
	CHECK_INT(status_write(db, &s, NULL), ERR_OK);
	CHECK_INT(RUN("db", "ready", option), EX_OK);
	CHECK_STR(said.out, "ready\n");
	CHECK_INT(RUN("db", "ready", option, "--json"), EX_OK);
	CHECK(strncmp(said.out, "{\"ready\":true,", 14) == 0);
	setenv("FOREMAN_DB", file, 1);
	CHECK_INT(RUN("db", "check"), EX_OK);
	CHECK_STR(said.out, "ok\n");
	CHECK_INT(RUN("db", "backup", file), EX_CANTCREAT);
	CHECK_INT(RUN("db", "backup", "/nonexistent/copy"), EX_NOINPUT);
	CHECK_INT(RUN("db", "check", "--db=/etc/passwd"), EX_DATAERR);
	RUN("doctor");
	CHECK(found("ok", "schema"));
	CHECK(found("ok", "permissions"));
	setenv("FOREMAN_DB", "", 1); /* as if it was not there */
	CHECK(RUN("db", "check") != EX_USAGE);
	unsetenv("FOREMAN_DB");
	db_close(db);
	for (size_t i = 0; i < 4; i++) {
		static const char *const ends[] = { "", "-wal", "-shm", ".gate" };

		snprintf(option, sizeof(option), "%s%s", file, ends[i]);
		unlink(option);
	}
	rmdir(dir);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_queue_that_says_nothing_is_drawn_as_an_idle_one),
		T(a_busy_queue_is_drawn_with_its_rates),
		T(a_webhook_that_waits_says_when_it_is_due),
		T(webhooks_are_sent_again_by_id_or_by_time),
		T(a_signature_is_judged_with_its_time),
		T(what_is_needed_to_verify_is_asked_for),
		T(a_service_that_is_not_there_is_the_first_thing_to_mend),
		T(a_service_without_its_date_or_token_is_told),
		T(a_service_that_tells_little_leaves_much_unknown),
		T(a_well_target_is_found_well),
		T(a_database_is_ready_when_its_worker_lives),
	};
	int failed = t_run(cases, ARRAY_LEN(cases));

	said_forget();
	return failed;
}
