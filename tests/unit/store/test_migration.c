/*
 * test_migration.c - a file of an older version becomes a current one, with all
 * that is in it, or stays as it was.
 */
#include <config.h>

#include "store/schema.h"

#include <errno.h>
#include <sys/wait.h>

#include "store.h"
#include "store/look.h"
#include "store/outbox.h"

/* --- what is written, and what becomes of it -------------------------------- */

static int writes_left = -1; /* below 0: as many as are wanted */
static bool crash;           /* then: die, else find the disk full */

static ssize_t write_at(int fd, const void *p, size_t len, off_t at)
{
	if (writes_left == 0 && crash)
		_exit(9);
	if (writes_left == 0) {
		errno = ENOSPC;
		return -1;
	}
	if (writes_left > 0)
		writes_left--;
	return syscall(SYS_pwrite64, fd, p, len, at);
}

/* SQLite's writes come here, for the program's own functions go first. */
ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
	return write_at(fd, p, len, at);
}

ssize_t pwrite64(int fd, const void *p, size_t len, off_t at)
{
	return write_at(fd, p, len, at);
}

/* --- the old file ------------------------------------------------------------ */

static char *read_file(const char *name)
{
	const char *dir = getenv("srcdir");
	char file[512];
	char *text = calloc(1, 1 << 20);
	FILE *in;

	snprintf(file, sizeof(file), "%s/tests/unit/store/%s", dir ? dir : ".", name);
	in = fopen(file, "r");
	if (!text || !in || fread(text, 1, (1 << 20) - 1, in) == 0) {
		printf("Bail out! cannot read %s\n", file);
		exit(1);
	}
	fclose(in);
	return text;
}

static void make_old(const char *where)
{
	char *text = read_file("version1.sql");
	sqlite3 *db = NULL;

	if (sqlite3_open(where, &db) != SQLITE_OK ||
	    sqlite3_exec(db,
	                 "PRAGMA synchronous = OFF; PRAGMA auto_vacuum = INCREMENTAL;"
	                 "PRAGMA journal_mode = WAL",
	                 NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(db,
	                 "PRAGMA application_id = 0x464d414e; PRAGMA user_version = 1;",
	                 NULL, NULL, NULL) != SQLITE_OK) {
		printf("# %s\n", sqlite3_errmsg(db));
		abort();
	}
	sqlite3_close(db);
	free(text);
}

static void old_home(void)
{
	home_new();
	make_old(path);
}

/* Rows of the old tables, in the old columns, that are not the same in both. */
static int64_t differences(sqlite3 *db)
{
	static const char *const tables[] = {
		"jobs",    "inputs",  "artifacts",  "artifact_chunks", "events",
		"waiting", "retired", "tallies",    "webhook_tallies", "webhooks",
		"drain",   "status",  "target_tags"
	};
	int64_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		struct db wrapped = { .handle = db };
		char sql[8192], columns[2048];

		snprintf(sql, sizeof(sql),
		         "SELECT group_concat(name) FROM pragma_table_info('%s', 'old')",
		         tables[i]);
		str_copy(columns, sizeof(columns), ask_text(&wrapped, sql));
		snprintf(sql, sizeof(sql),
		         "SELECT (SELECT count(*) FROM (SELECT %s FROM old.%s EXCEPT"
		         " SELECT %s FROM main.%s)) + abs((SELECT count(*) FROM old.%s) -"
		         " (SELECT count(*) FROM main.%s))",
		         columns, tables[i], columns, tables[i], tables[i], tables[i]);
		n += ask_int(&wrapped, sql);
	}
	return n;
}

/* The file at `path` against a fresh copy of the old one. */
static int64_t lost_rows(void)
{
	char copy[128], sql[192];
	struct db raw = { .handle = NULL };
	int64_t n;

	snprintf(copy, sizeof(copy), "%s/copy", home);
	make_old(copy);
	snprintf(sql, sizeof(sql), "ATTACH '%s' AS old", copy);
	if (sqlite3_open(path, &raw.handle) != SQLITE_OK ||
	    sqlite3_exec(raw.handle, sql, NULL, NULL, NULL) != SQLITE_OK)
		abort();
	n = differences(raw.handle);
	if (strcmp(ask_text(&raw, "PRAGMA main.integrity_check"), "ok") != 0)
		n += 1000;
	sqlite3_close(raw.handle);
	unlink(copy);
	return n;
}

static int64_t version_of_file(void)
{
	struct db raw = { .handle = NULL };
	int64_t version;

	if (sqlite3_open(path, &raw.handle) != SQLITE_OK)
		abort();
	version = ask_int(&raw, "PRAGMA user_version");
	sqlite3_close(raw.handle);
	return version;
}

/* --- cases -------------------------------------------------------------------- */

static void an_old_file_becomes_a_current_one_with_every_row(void)
{
	struct db *db;

	old_home();
	CHECK_INT(version_of_file(), 1);
	db = db_of(DB_WRITER);
	CHECK_INT(ask_int(db, "PRAGMA user_version"), SCHEMA_VERSION);
	CHECK_INT(wrong_figures(db), 0);
	db_close(db);
	CHECK_INT(lost_rows(), 0);
	home_remove();
}

static void a_migrated_file_is_as_a_new_one(void)
{
	static const char what[] =
	    "SELECT count(*) || ' ' || sum(length(replace(replace(sql, char(10), ''),"
	    " char(9), ''))) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'";
	char fresh[64];
	struct db *db = db_fresh();

	str_copy(fresh, sizeof(fresh), ask_text(db, what));
	db_gone(db);
	old_home();
	db = db_of(DB_WORKER);
	CHECK_STR(ask_text(db, what), fresh);
	db_gone(db);
}

static void jobs_of_an_old_file_run_on(void)
{
	const struct pace took = { 100, 200, 30 };
	const struct queue_result result = { .content_type = "application/json",
		                                 .response = SPAN_LIT("{}"),
		                                 .complete = true,
		                                 .pace = &took };
	struct job job, seen;
	int64_t count = 0;
	struct db *db;

	old_home();
	db = db_of(DB_WORKER);
	CHECK_INT(queue_recover(db, NOW + 1000, &count, NULL), ERR_OK);
	CHECK_INT(count, 2);
	REQUIRE(job_claim(db, 1, &job) == ERR_OK);
	CHECK_INT(queue_working(db, &job, NOW + 2000, NULL), ERR_OK);
	CHECK_INT(queue_done(db, &job, &result, NOW + 3000, NULL), ERR_OK);
	REQUIRE(look_job(db, job.id, 100, &seen) == ERR_OK);
	CHECK_INT(seen.state, JOB_DONE);
	job_done(&seen);
	job_done(&job);
	CHECK_INT(ask_int(db, "SELECT runs FROM pace WHERE load_key = 'm:latest'"), 1);
	CHECK_INT(wrong_figures(db), 0);
	db_gone(db);
}

static void webhooks_an_old_file_owes_are_delivered(void)
{
	const struct outbox_attempt good = { .now_ms = NOW + 9000, .status = 204 };
	struct owed owed[8];
	size_t count = 0;
	int64_t next;
	struct db *db;

	old_home();
	db = db_of(DB_WORKER);
	for (int rounds = 0; rounds < 9; rounds++) {
		REQUIRE(outbox_due(db, NOW + 9000, NULL, 0, owed, 8, &count, &next) ==
		        ERR_OK);
		if (count == 0)
			break;
		for (size_t i = 0; i < count; i++) {
			CHECK_INT(outbox_delivered(db, owed[i].seq, &good), ERR_OK);
			owed_done(&owed[i]);
		}
	}
	CHECK_INT(ask_int(db, "SELECT count(*) FROM webhooks WHERE state = 'pending'"),
	          0);
	CHECK_INT(
	    ask_int(db, "SELECT count(*) FROM webhooks WHERE state = 'delivered'"), 5);
	CHECK_INT(wrong_figures(db), 0);
	db_gone(db);
}

/* Open it, with so many writes; how that ended: 0 opened, 9 died. */
static int open_with(int writes)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		writes_left = writes;
		crash = true;
		db_close(db_of(DB_WORKER));
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Whatever write is the last: a process that finds what is left goes on. */
static void a_crash_at_any_write_leaves_the_one_or_the_other(void)
{
	int died = 0, n = 0;

	for (;; n++) {
		int ended;

		old_home();
		ended = open_with(n);
		if (ended == 0)
			break;
		REQUIRE(ended == 9);
		died++;
		CHECK(version_of_file() == 1 || version_of_file() == 2);
		CHECK_INT(lost_rows(), 0);
		db_close(db_of(DB_WORKER));
		CHECK_INT(version_of_file(), SCHEMA_VERSION);
		CHECK_INT(lost_rows(), 0);
		home_remove();
	}
	home_remove();
	CHECK(died > 10);
}

static void a_disk_that_is_full_leaves_the_old_version_whole(void)
{
	int refused = 0;

	for (int n = 0;; n++) {
		struct errtext why = { "" };
		struct db *db = NULL;
		enum err err;

		old_home();
		crash = false;
		writes_left = n;
		err = db_open(&conf, DB_WORKER, &db, &why);
		writes_left = -1;
		if (err == ERR_OK) {
			db_gone(db);
			break;
		}
		refused++;
		CHECK_INT(err, ERR_FULL);
		CHECK_INT(version_of_file(), 1);
		CHECK_INT(lost_rows(), 0);
		db_close(db_of(DB_WORKER)); /* there is room again */
		CHECK_INT(version_of_file(), SCHEMA_VERSION);
		home_remove();
	}
	CHECK(refused > 10);
}

static void a_reader_leaves_an_old_file_alone(void)
{
	struct errtext why = { "" };
	struct db *db = NULL;

	old_home();
	CHECK_INT(db_open(&conf, DB_READER, &db, &why), ERR_NOENT);
	CHECK_INT(version_of_file(), 1);
	home_remove();
}

static void what_metrics_count_begins_with_what_is_there(void)
{
	struct db *db;

	old_home();
	db = db_of(DB_WORKER);
	CHECK(ask_int(db, "SELECT count(*) FROM jobs") > 0);
	CHECK_INT(ask_int(db, "SELECT sum(arrived) FROM tallies"),
	          ask_int(db, "SELECT count(*) FROM jobs"));
	CHECK_INT(ask_int(db, "SELECT sum(arrived) FROM tallies WHERE attended"),
	          ask_int(db, "SELECT count(*) FROM jobs WHERE attended"));
	CHECK_INT(ask_int(db, "SELECT count(*) FROM tallies WHERE arrived > 0"
	                      " AND state <> 'queued'"),
	          0);
	CHECK_INT(
	    ask_int(db, "SELECT sum(total) FROM counters WHERE name = 'finished'"),
	    ask_int(db, "SELECT count(*) FROM jobs WHERE finished_ms IS NOT NULL"));
	CHECK_INT(ask_int(db, "SELECT total FROM counters WHERE name = 'finished'"
	                      " AND label = 'done'"),
	          ask_int(db, "SELECT count(*) FROM jobs WHERE state = 'done'"));
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(an_old_file_becomes_a_current_one_with_every_row),
		T(a_migrated_file_is_as_a_new_one),
		T(jobs_of_an_old_file_run_on),
		T(webhooks_an_old_file_owes_are_delivered),
		T(what_metrics_count_begins_with_what_is_there),
		T(a_crash_at_any_write_leaves_the_one_or_the_other),
		T(a_disk_that_is_full_leaves_the_old_version_whole),
		T(a_reader_leaves_an_old_file_alone),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
