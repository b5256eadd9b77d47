/*
 * test_db.c - opening, transactions, room on the disk, the checkpoint.
 */
#include <config.h>

#include "store/db.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "core/limits.h"
#include "store.h"

#include "store/gate.h"

/* --- what the system answers ------------------------------------------------- */

static int mknod_errno;
static int64_t wait_ms; /* whoever waits for the gate does so for so long, for
                           nothing; 0: as long as it takes */
static int waits;
static int statvfs_errno;
static int64_t free_bytes = -1; /* of the file system; -1: the truth */

int mknod(const char *name, mode_t mode, dev_t dev)
{
	if (!mknod_errno)
		return (int)syscall(SYS_mknod, name, mode, dev);
	errno = mknod_errno;
	return -1;
}

int flock(int fd, int how)
{
	if (!wait_ms || how & (LOCK_NB | LOCK_UN))
		return (int)syscall(SYS_flock, fd, how);
	clock_fake(clock_wall_ms(), clock_mono_ms() + wait_ms, 0);
	waits++;
	errno = EINTR;
	return -1;
}

int statvfs(const char *name, struct statvfs *out)
{
	(void)name;
	if (statvfs_errno) {
		errno = statvfs_errno;
		return -1;
	}
	memset(out, 0, sizeof(*out));
	out->f_frsize = 4096;
	out->f_bavail = (fsblkcnt_t)(free_bytes < 0 ? INT64_C(1) << 40 : free_bytes) /
	                out->f_frsize;
	return 0;
}

/* --- the connection ------------------------------------------------------------
 */

static struct gate *passer_by;
static bool gate_was_free;

static void try_the_gate(void)
{
	gate_was_free = gate_take(passer_by, 0) == ERR_OK;
	if (gate_was_free)
		gate_give(passer_by);
}

static void put_note(struct db *db, enum db_sync sync)
{
	REQUIRE(db_begin(db, sync, NULL) == ERR_OK);
	CHECK_INT(sql_exec(db, "UPDATE drain SET swaps = swaps + 1", NULL), ERR_OK);
	CHECK_INT(db_commit(db, NULL), ERR_OK);
}

static void a_durable_commit_syncs_once_and_lets_others_write_meanwhile(void)
{
	struct db *db = db_fresh();
	char gate[128];

	snprintf(gate, sizeof(gate), "%s.gate", path);
	put_note(db, DB_SYNC_FULL);
	REQUIRE(gate_open(gate, &passer_by, NULL) == ERR_OK);
	at_sync = try_the_gate;
	syncs_taken();
	put_note(db, DB_SYNC_FULL);
	CHECK_INT(syncs_taken(), 1);
	CHECK(gate_was_free);
	put_note(db, DB_SYNC_NORMAL);
	CHECK_INT(syncs_taken(), 0);
	put_note(db, DB_SYNC_FULL);
	CHECK_INT(syncs_taken(), 1);
	/* what wrote nothing has nothing to wait for */
	REQUIRE(db_begin(db, DB_SYNC_FULL, NULL) == ERR_OK);
	CHECK_INT(db_commit(db, NULL), ERR_OK);
	CHECK_INT(syncs_taken(), 0);
	at_sync = NULL;
	gate_close(passer_by);
	db_gone(db);
}

static void a_sync_that_fails_is_told_as_such_and_leaves_it_committed(void)
{
	struct db *db = db_fresh();
	struct errtext why = { "" };

	/* what went wrong before is not what goes wrong now */
	CHECK(shell(db, "ATTACH '/nowhere/at/all' AS a") == SQLITE_CANTOPEN);
	sync_errno = EIO;
	REQUIRE(db_begin(db, DB_SYNC_FULL, NULL) == ERR_OK);
	CHECK_INT(sql_exec(db, "UPDATE drain SET swaps = swaps + 1", NULL), ERR_OK);
	CHECK_INT(db_commit(db, &why), ERR_IO);
	CHECK_STR(why.s, "sync: disk I/O error");
	put_note(db, DB_SYNC_NORMAL);
	sync_errno = 0;
	put_note(db, DB_SYNC_FULL);
	CHECK_INT(ask_int(db, "SELECT swaps FROM drain"), 3);
	db_gone(db);
}

static void the_file_is_ours_and_the_groups_alone(void)
{
	static const char *const parts[] = { "", "-wal", "-shm" };
	struct db *db;

	umask(0);
	db = db_fresh();
	job_put(db, "m:latest", false);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		char name[128];
		struct stat st;

		snprintf(name, sizeof(name), "%s%s", path, parts[i]);
		REQUIRE(stat(name, &st) == 0);
		CHECK_INT(st.st_mode & 07777, 0640);
	}
	db_gone(db);
}

static void a_missing_directory_says_so(void)
{
	struct db_conf nowhere = { .path = "/nonexistent/foreman.db" };
	struct errtext why = { "" };
	struct db *db = NULL;

	CHECK_INT(db_open(&nowhere, DB_WORKER, &db, &why), ERR_NOENT);
	CHECK(strstr(why.s, "/nonexistent/foreman.db") != NULL);
	CHECK_INT(db_open(&nowhere, DB_READER, &db, &why), ERR_NOENT);
	CHECK(!db);
}

static void a_path_with_no_room_for_a_name_behind_it_is_refused(void)
{
	static char lengthy[PATH_MAX];
	struct db_conf far = { .path = lengthy };
	struct errtext why = { "" };
	struct db *db = NULL;

	memset(lengthy, '0', sizeof(lengthy) - 1);
	memcpy(lengthy, "/nonexistent", strlen("/nonexistent"));
	for (size_t i = strlen("/nonexistent"); i < sizeof(lengthy) - 1; i += 2)
		lengthy[i] = '/';
	lengthy[sizeof(lengthy) - 1 - strlen(".gate")] = '\0';
	CHECK_INT(db_open(&far, DB_WORKER, &db, &why), ERR_NOENT);
	lengthy[sizeof(lengthy) - 1 - strlen(".gate")] = '0';
	CHECK_INT(db_open(&far, DB_WORKER, &db, &why), ERR_INVAL);
	CHECK(!db);
}

static void a_file_that_cannot_be_made_says_why(void)
{
	struct errtext why = { "" };
	struct db *db = NULL;

	home_new();
	mknod_errno = EROFS;
	CHECK_INT(db_open(&conf, DB_WORKER, &db, &why), ERR_DENIED);
	mknod_errno = 0;
	CHECK(strstr(why.s, "cannot create: Read-only file system"));
	CHECK(!db);
	home_remove();
}

static void who_finds_the_gate_closed_for_good_is_told(void)
{
	struct db *db = db_fresh(), *late = NULL;
	struct errtext why = { "" };

	REQUIRE(db_begin(db, DB_SYNC_NORMAL, NULL) == ERR_OK);
	wait_ms = LIMIT_GATE_WAIT_MS;
	CHECK_INT(db_open(&conf, DB_WRITER, &late, &why), ERR_BUSY);
	CHECK(strstr(why.s, "the write gate stayed closed"));
	CHECK(!late);
	wait_ms = 0;
	db_rollback(db);
	late = db_of(DB_WORKER);
	REQUIRE(db_begin(db, DB_SYNC_NORMAL, NULL) == ERR_OK);
	wait_ms = LIMIT_GATE_WAIT_MS;
	waits = 0;
	CHECK_INT(db_begin(late, DB_SYNC_NORMAL, &why), ERR_BUSY);
	CHECK_STR(why.s, "the write gate stayed closed for 10000 ms");
	CHECK_INT(waits, 1);
	wait_ms--; /* an interrupted wait is taken up again */
	CHECK_INT(db_checkpoint(late, true, NULL), ERR_BUSY);
	CHECK_INT(waits, 3);
	wait_ms = 0;
	clock_real();
	db_rollback(db);
	CHECK_INT(db_checkpoint(late, true, NULL), ERR_OK);
	db_close(late);
	db_gone(db);
}

/* For a sqlite3 shell that writes; of our own, who waits does so at the gate. */
static void every_connection_waits_for_a_writer_without_a_gate(void)
{
	static const enum db_role roles[] = { DB_WRITER, DB_WORKER, DB_READER };
	struct db *first = db_fresh();

	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		struct db *db = db_of(roles[i]);

		CHECK_INT(ask_int(db, "PRAGMA busy_timeout"), LIMIT_SQLITE_BUSY_MS);
		if (roles[i] == DB_WORKER)
			CHECK_INT(db_checkpoint(db, true, NULL), ERR_OK); /* is impatient */
		CHECK_INT(ask_int(db, "PRAGMA busy_timeout"), LIMIT_SQLITE_BUSY_MS);
		db_close(db);
	}
	db_gone(first);
}

static void a_reader_finds_nothing_before_a_writer_was_there(void)
{
	struct db *db = NULL;
	int fd;

	home_new();
	CHECK_INT(db_open(&conf, DB_READER, &db, NULL), ERR_NOENT);
	CHECK_INT(access(path, F_OK), -1); /* and makes nothing */
	fd = open(path, O_CREAT | O_RDWR, 0640);
	close(fd);
	CHECK_INT(db_open(&conf, DB_READER, &db, NULL), ERR_NOENT);
	db = db_of(DB_WRITER); /* an empty file is as good as none */
	CHECK_INT(ask_int(db, "PRAGMA auto_vacuum"), 2);
	db_gone(db);
}

static void a_reader_cannot_write(void)
{
	struct db *worker = db_fresh(), *reader = db_of(DB_READER);
	struct errtext why = { "" };

	CHECK_INT(db_begin(reader, DB_SYNC_NORMAL, &why), ERR_DENIED);
	CHECK_STR(why.s, "this connection only reads");
	CHECK_INT(db_writable(reader, NULL), ERR_DENIED);
	CHECK((shell(reader, "DELETE FROM jobs") & 0xff) == SQLITE_READONLY);
	db_close(reader);
	db_gone(worker);
}

static void no_connection_checkpoints_by_itself(void)
{
	struct db *db = db_fresh();
	int64_t before;

	CHECK_INT(ask_int(db, "PRAGMA wal_autocheckpoint"), 0);
	CHECK_INT(ask_int(db, "PRAGMA mmap_size"), 0);
	for (int i = 0; i < 20; i++)
		job_put(db, "m:latest", false);
	before = db_wal_bytes(db);
	CHECK(before > 0);
	db_close(db); /* the last one; the WAL stays */
	db = db_of(DB_WRITER);
	CHECK_INT(db_wal_bytes(db), before);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 20);
	db_gone(db);
}

static void the_worker_empties_the_wal(void)
{
	struct db *db = db_fresh();

	job_put(db, "m:latest", false);
	CHECK(db_wal_bytes(db) > 0);
	CHECK_INT(db_checkpoint(db, true, NULL), ERR_OK);
	CHECK_INT(db_wal_bytes(db), 0);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 1);
	db_gone(db);
}

static int64_t wal_file_bytes(struct db *db)
{
	char wal[256];
	struct stat st;

	snprintf(wal, sizeof(wal), "%s-wal", db->conf.path);
	return stat(wal, &st) == 0 ? (int64_t)st.st_size : -1;
}

static void a_wal_that_is_begun_again_keeps_its_file(void)
{
	struct db *db = db_fresh();
	int64_t size;

	for (int i = 0; i < 20; i++)
		job_put(db, "m:latest", false);
	size = wal_file_bytes(db);
	CHECK(db_wal_bytes(db) <= size && size > 0);
	CHECK_INT(db_checkpoint(db, false, NULL), ERR_OK);
	CHECK_INT(db_wal_bytes(db), 0);
	CHECK_INT(wal_file_bytes(db), size);
	job_put(db, "m:latest", false);
	CHECK(db_wal_bytes(db) > 0 && db_wal_bytes(db) < size);
	CHECK_INT(wal_file_bytes(db), size);
	CHECK_INT(db_checkpoint(db, true, NULL), ERR_OK);
	CHECK_INT(wal_file_bytes(db), 0);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 21);
	db_gone(db);
}

static void a_reader_in_the_way_of_the_checkpoint_is_told(void)
{
	struct db *db = db_fresh(), *reader;

	job_put(db, "m:latest", false);
	reader = db_of(DB_READER);
	shell(reader, "BEGIN");
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM jobs"), 1);
	job_put(db, "m:latest", false);
	CHECK_INT(db_checkpoint(db, true, NULL), ERR_BUSY);
	CHECK_INT(db_begin(db, DB_SYNC_NORMAL, NULL), ERR_OK); /* the gate is free */
	db_rollback(db);
	shell(reader, "COMMIT");
	CHECK_INT(db_checkpoint(db, true, NULL), ERR_OK);
	db_close(reader);
	db_gone(db);
}

static void who_has_entered_keeps_others_out_until_it_is_done(void)
{
	struct db *db = db_fresh(), *reader = db_of(DB_READER);
	struct gate *gate;
	char name[128];

	snprintf(name, sizeof(name), "%s.gate", path);
	REQUIRE(gate_open(name, &gate, NULL) == ERR_OK);
	CHECK_INT(db_enter(db, NULL), ERR_OK);
	CHECK_INT(gate_take(gate, 0), ERR_BUSY);
	CHECK_INT(db_begin(db, DB_SYNC_FULL, NULL), ERR_OK);
	CHECK_INT(gate_take(gate, 0), ERR_BUSY);
	CHECK_INT(db_commit(db, NULL), ERR_OK);
	CHECK_INT(gate_take(gate, 0), ERR_OK);
	gate_give(gate);
	CHECK_INT(db_begin(db, DB_SYNC_FULL, NULL), ERR_OK); /* and without */
	db_rollback(db);
	CHECK_INT(db_enter(reader, NULL), ERR_DENIED);
	gate_close(gate);
	db_close(reader);
	db_gone(db);
}

static void what_was_rolled_back_was_never_there(void)
{
	struct db *db = db_fresh();

	CHECK_INT(db_begin(db, DB_SYNC_FULL, NULL), ERR_OK);
	CHECK_INT(shell(db, "UPDATE drain SET swaps = 9"), SQLITE_OK);
	db_rollback(db);
	CHECK_INT(db_begin(db, DB_SYNC_FULL, NULL), ERR_OK);
	CHECK_INT(shell(db, "UPDATE drain SET swaps = 7"), SQLITE_OK);
	db_close(db); /* in the middle of it */
	db = db_of(DB_WORKER);
	CHECK_INT(ask_int(db, "SELECT swaps FROM drain"), 0);
	db_gone(db);
}

/* A process is killed between begin and commit. */
static void a_killed_writer_leaves_neither_rows_nor_gate(void)
{
	struct db *db;
	int pipes[2];
	char byte;
	pid_t pid;

	home_new();
	REQUIRE(pipe(pipes) == 0);
	pid = fork();
	if (pid == 0) {
		db = db_of(DB_WRITER);
		if (db_begin(db, DB_SYNC_FULL, NULL) != ERR_OK ||
		    shell(db, "UPDATE drain SET swaps = 9") != SQLITE_OK ||
		    write(pipes[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	REQUIRE(read(pipes[0], &byte, 1) == 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pipes[0]);
	close(pipes[1]);
	db = db_of(DB_WORKER);
	CHECK_INT(db_begin(db, DB_SYNC_FULL, NULL), ERR_OK);
	CHECK_INT(ask_int(db, "SELECT swaps FROM drain"), 0);
	db_rollback(db);
	db_gone(db);
}

/* Several processes that find no file all end up with one good schema. */
static void who_comes_first_sets_up_and_the_others_find_it(void)
{
	struct db *db;
	int failed = 0;

	home_new();
	for (int i = 0; i < 6; i++) {
		if (fork() == 0) {
			db = NULL;
			if (db_open(&conf, i % 2 ? DB_WRITER : DB_WORKER, &db, NULL) != ERR_OK)
				_exit(1);
			job_put(db, "m:latest", false);
			db_close(db);
			_exit(0);
		}
	}
	for (int i = 0; i < 6; i++) {
		int status = 0;

		wait(&status);
		failed += status != 0;
	}
	CHECK_INT(failed, 0);
	db = db_of(DB_READER);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 6);
	CHECK_STR(ask_text(db, "PRAGMA integrity_check"), "ok");
	CHECK_INT(wrong_figures(db), 0);
	db_gone(db);
}

/* Limit the file to so few more pages, as a full disk would. */
static void allow_pages(struct db *db, int64_t more)
{
	char pragma[64];

	snprintf(pragma, sizeof(pragma), "PRAGMA max_page_count = %lld",
	         (long long)(ask_int(db, "PRAGMA page_count") + more));
	shell(db, pragma);
}

static void a_full_disk_refuses_and_recovers(void)
{
	struct db *db = db_fresh();
	int64_t stored = 0;
	enum err err = ERR_OK;

	allow_pages(db, 3);
	for (int i = 0; i < 1000 && err == ERR_OK; i++) {
		struct job job;

		job_make(&job, "m:latest", false);
		err = job_store(db, &job);
		stored += err == ERR_OK;
		job_done(&job);
	}
	CHECK_INT(err, ERR_FULL);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), stored);
	CHECK_INT(wrong_figures(db), 0);
	allow_pages(db, 100); /* somebody made room */
	job_put(db, "m:latest", false);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), stored + 1);
	CHECK_STR(ask_text(db, "PRAGMA integrity_check"), "ok");
	db_gone(db);
}

static void a_job_that_did_not_fit_ends_when_there_is_room(void)
{
	static char reply[100000];
	const struct queue_result result = { .content_type = "text/plain",
		                                 .response = { reply, sizeof(reply) },
		                                 .complete = true,
		                                 .prompt_tokens = -1,
		                                 .completion_tokens = -1 };
	struct db *db = db_fresh();
	struct errtext why = { "" };
	struct job job;

	memset(reply, 'x', sizeof(reply));
	job_in(db, JOB_WORKING, &job);
	allow_pages(db, 3);
	CHECK_INT(queue_done(db, &job, &result, NOW + 30, &why), ERR_FULL);
	CHECK(strstr(why.s, "full") != NULL);
	CHECK_INT(job.state, JOB_WORKING);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM artifacts"), 0);
	CHECK_STR(ask_text(db, "SELECT state FROM jobs"), "working");
	allow_pages(db, 100);
	CHECK_INT(queue_done(db, &job, &result, NOW + 31, &why), ERR_OK);
	CHECK_INT(job.state, JOB_DONE);
	CHECK_INT(wrong_figures(db), 0);
	job_done(&job);
	db_gone(db);
}

static void writable_is_said_of_a_database_with_room(void)
{
	struct db *db = db_fresh();

	CHECK_INT(db_writable(db, NULL), ERR_OK);
	CHECK_INT(db_begin(db, DB_SYNC_FULL, NULL), ERR_OK); /* nothing stayed open */
	db_rollback(db);
	db_gone(db);
}

static void writable_is_not_said_without_room(void)
{
	const int64_t least = 16 << 20;
	struct errtext why = { "" };
	struct db *db = db_fresh();

	free_bytes = least;
	CHECK_INT(db_writable(db, &why), ERR_OK);
	free_bytes = least - 4096;
	CHECK_INT(db_writable(db, &why), ERR_FULL);
	CHECK_STR(why.s, "less than 16 MB free");
	free_bytes = -1;
	statvfs_errno = EIO;
	CHECK_INT(db_writable(db, &why), ERR_IO);
	CHECK(strstr(why.s, "Input/output error"));
	statvfs_errno = 0;
	db_gone(db);
}

static void a_file_of_the_largest_pages_tells_its_log_as_well(void)
{
	struct db *db = db_fresh();

	CHECK_INT(shell(db, "PRAGMA journal_mode = DELETE; PRAGMA page_size = 65536;"
	                    "VACUUM; PRAGMA journal_mode = WAL"),
	          SQLITE_OK);
	CHECK_INT(ask_int(db, "PRAGMA page_size"), 65536);
	job_put(db, "m:latest", false);
	CHECK_INT(db_wal_bytes(db), wal_file_bytes(db) - 32); /* its header */
	db_gone(db);
}

static void the_sqlite_version_is_told(void)
{
	CHECK(strncmp(db_sqlite_version(), "3.", 2) == 0);
	db_close(NULL);
}

static void a_commit_elsewhere_is_seen_once(void)
{
	struct db *db = db_fresh(), *reader = db_of(DB_READER);
	bool changed = false;

	CHECK_INT(db_changed(reader, &changed), ERR_OK);
	CHECK(changed); /* the first answer */
	CHECK_INT(db_changed(reader, &changed), ERR_OK);
	CHECK(!changed);
	for (int i = 0; i < 2; i++) {
		job_put(db, "m:latest", false);
		CHECK_INT(ask_int(reader, "SELECT count(*) FROM jobs"), i + 1);
		CHECK_INT(db_changed(reader, &changed), ERR_OK);
		CHECK(changed); /* though this connection has read it meanwhile */
		CHECK_INT(db_changed(reader, &changed), ERR_OK);
		CHECK(!changed);
	}
	CHECK_INT(db_begin(db, DB_SYNC_NORMAL, NULL), ERR_OK);
	db_rollback(db);
	CHECK_INT(db_changed(reader, &changed), ERR_OK);
	CHECK(!changed);
	db_close(reader);
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_durable_commit_syncs_once_and_lets_others_write_meanwhile),
		T(a_sync_that_fails_is_told_as_such_and_leaves_it_committed),
		T(the_file_is_ours_and_the_groups_alone),
		T(a_missing_directory_says_so),
		T(a_path_with_no_room_for_a_name_behind_it_is_refused),
		T(a_file_that_cannot_be_made_says_why),
		T(who_finds_the_gate_closed_for_good_is_told),
		T(every_connection_waits_for_a_writer_without_a_gate),
		T(a_reader_finds_nothing_before_a_writer_was_there),
		T(a_reader_cannot_write),
		T(no_connection_checkpoints_by_itself),
		T(the_worker_empties_the_wal),
		T(a_wal_that_is_begun_again_keeps_its_file),
		T(a_reader_in_the_way_of_the_checkpoint_is_told),
		T(who_has_entered_keeps_others_out_until_it_is_done),
		T(what_was_rolled_back_was_never_there),
		T(a_killed_writer_leaves_neither_rows_nor_gate),
		T(who_comes_first_sets_up_and_the_others_find_it),
		T(a_full_disk_refuses_and_recovers),
		T(a_job_that_did_not_fit_ends_when_there_is_room),
		T(writable_is_said_of_a_database_with_room),
		T(writable_is_not_said_without_room),
		T(a_file_of_the_largest_pages_tells_its_log_as_well),
		T(the_sqlite_version_is_told),
		T(a_commit_elsewhere_is_seen_once),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
