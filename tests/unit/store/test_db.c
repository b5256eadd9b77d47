/*
 * test_db.c - opening, transactions, room on the disk, the checkpoint.
 */
#include <config.h>

#include "store/db.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store.h"

#include "store/gate.h"

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
		T(the_file_is_ours_and_the_groups_alone),
		T(a_missing_directory_says_so),
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
		T(the_sqlite_version_is_told),
		T(a_commit_elsewhere_is_seen_once),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
