/*
 * test_backup.c - the file as a whole: checked, copied, counted.
 */
#include <config.h>

#include "store/backup.h"

#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <sys/stat.h>

#include "store.h"
#include "store/schema.h"

static char copy[96]; /* where one is made */

static struct db *begin(void)
{
	struct db *db = db_fresh();

	snprintf(copy, sizeof(copy), "%s/copy", home);
	return db;
}

static void end(struct db *db)
{
	static const char *const files[] = { "", "-wal", "-shm", ".gate" };
	char name[128];

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(name, sizeof(name), "%s%s", copy, files[i]);
		unlink(name);
	}
	db_gone(db);
}

static void put(struct db *db, int count)
{
	for (int i = 0; i < count; i++)
		job_put(db, "m", false);
}

/* How many files have the copy's name before they are whole. */
static int partials(void)
{
	char pattern[128];
	glob_t found = { 0 };
	int count;

	snprintf(pattern, sizeof(pattern), "%s.partial-*", copy);
	glob(pattern, 0, NULL, &found);
	count = (int)found.gl_pathc;
	globfree(&found);
	return count;
}

static void write_at(const char *file, off_t at, const char *bytes, size_t len)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

	CHECK(fd >= 0 && pwrite(fd, bytes, len, at) == (ssize_t)len);
	close(fd);
}

/* --- the check ------------------------------------------------------------- */

static void a_file_in_use_is_sound(void)
{
	struct errtext why = { "" };
	struct db *db = begin();

	CHECK_INT(backup_check(path, &why), ERR_OK);
	put(db, 100);
	CHECK_INT(backup_check(path, &why), ERR_OK);
	CHECK_INT(db_checkpoint(db, true, &why), ERR_OK);
	CHECK_INT(backup_check(path, &why), ERR_OK);
	CHECK_STR(why.s, "");
	end(db);
}

static void all_refuse(const char *file, enum err want)
{
	struct backup_stats s = { .bytes = 77 };
	struct errtext why = { "" };

	CHECK_INT(backup_check(file, &why), want);
	CHECK(why.s[0]);
	CHECK_INT(backup_copy(file, copy, &why), want);
	CHECK_INT(backup_stats(file, &s, &why), want);
	CHECK_INT(s.bytes, 77);
	CHECK(access(copy, F_OK) != 0);
	CHECK_INT(partials(), 0);
}

static void what_is_missing_or_not_ours_is_refused(void)
{
	struct db *db = begin();
	char other[96];
	sqlite3 *theirs = NULL;

	snprintf(other, sizeof(other), "%s/other", home);
	all_refuse(other, ERR_NOENT);
	CHECK(access(other, F_OK) != 0);
	CHECK_INT(sqlite3_open(other, &theirs), SQLITE_OK);
	CHECK_INT(sqlite3_exec(theirs, "CREATE TABLE t (x)", NULL, NULL, NULL),
	          SQLITE_OK);
	sqlite3_close(theirs);
	all_refuse(other, ERR_INVAL);
	unlink(other);
	write_at(other, 0,
	         "no database, though it is long enough to have a header, "
	         "and more than that; a hundred bytes are one",
	         100);
	all_refuse(other, ERR_INVAL);
	unlink(other);
	end(db);
}

static void damage_is_found(void)
{
	static char noise[4096];
	struct errtext why = { "" };
	struct db *db = begin();

	put(db, 200);
	CHECK_INT(db_checkpoint(db, true, &why), ERR_OK);
	db_close(db);
	memset(noise, 0x5a, sizeof(noise));
	for (int page = 2; page < 20; page++)
		write_at(path, page * 4096, noise, sizeof(noise));
	CHECK_INT(backup_check(path, &why), ERR_INVAL);
	CHECK(why.s[0]);
	end(NULL);
}

static void rows_that_refer_to_nothing_are_found(void)
{
	struct errtext why = { "" };
	struct db *db = begin();

	put(db, 3);
	CHECK_INT(shell(db, "PRAGMA foreign_keys = OFF; UPDATE inputs SET job_seq = 77 "
	                    "WHERE job_seq = 2"),
	          SQLITE_OK);
	CHECK_INT(backup_check(path, &why), ERR_INVAL);
	CHECK(strstr(why.s, "rows refer"));
	end(db);
}

static void an_index_that_is_not_its_tables_is_found(void)
{
	struct errtext why = { "" };
	struct db *db = begin();
	sqlite3 *shell = NULL;

	put(db, 3);
	REQUIRE(sqlite3_open(path, &shell) == SQLITE_OK);
	CHECK_INT(sqlite3_exec(shell,
	                       "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET"
	                       " rootpage = (SELECT rootpage FROM sqlite_schema WHERE"
	                       " name = 'webhooks_due') WHERE name = 'jobs_by_state'",
	                       NULL, NULL, NULL),
	          SQLITE_OK);
	sqlite3_close(shell);
	CHECK_INT(backup_check(path, &why), ERR_INVAL);
	CHECK(why.s[0]);
	end(db);
}

/* --- the copy -------------------------------------------------------------- */

static int64_t jobs_of(const char *file)
{
	struct errtext why = { "" };
	struct backup_stats s = { 0 };

	CHECK_INT(backup_check(file, &why), ERR_OK);
	CHECK_INT(backup_stats(file, &s, &why), ERR_OK);
	return s.queued;
}

static void a_copy_has_what_was_committed_and_nothing_else(void)
{
	struct errtext why = { "" };
	struct db *db = begin();
	struct stat st = { 0 };

	put(db, 5); /* in the log alone */
	CHECK_INT(db_begin(db, DB_SYNC_NORMAL, &why), ERR_OK);
	CHECK_INT(shell(db, "DELETE FROM jobs"), SQLITE_OK);
	CHECK_INT(backup_copy(path, copy, &why), ERR_OK);
	db_rollback(db);
	CHECK_INT(jobs_of(copy), 5);
	CHECK_INT(stat(copy, &st), 0);
	CHECK_INT(st.st_mode & 07777, 0640);
	CHECK_INT(partials(), 0);
	end(db);
}

static void a_copy_is_on_disk_before_it_has_its_name(void)
{
	struct errtext why = { "" };
	struct db *db = begin();

	put(db, 1);
	syncs_taken();
	CHECK_INT(backup_copy(path, copy, &why), ERR_OK);
	CHECK(syncs_taken() >= 2); /* the file's, its directory's */
	end(db);
}

static void a_copy_replaces_nothing(void)
{
	struct errtext why = { "" };
	struct db *db = begin();
	struct stat st = { 0 };

	write_at(copy, 0, "mine", 4);
	CHECK_INT(backup_copy(path, copy, &why), ERR_CONFLICT);
	CHECK(strstr(why.s, "exists"));
	CHECK_INT(stat(copy, &st), 0);
	CHECK_INT(st.st_size, 4);
	CHECK_INT(partials(), 0);
	end(db);
}

static void where_none_can_be_made_none_is_left(void)
{
	struct errtext why = { "" };
	struct db *db = begin();

	CHECK(backup_copy(path, "/nonexistent/copy", &why) != ERR_OK);
	CHECK(why.s[0]);
	end(db);
}

/* Another's file comes to stand there while the copy is made. */
static void take_the_name(void)
{
	write_at(copy, 0, "mine", 4);
}

static void who_takes_the_name_meanwhile_keeps_it(void)
{
	struct errtext why = { "" };
	struct db *db = begin();
	struct stat st = { 0 };

	at_fsync = take_the_name;
	CHECK_INT(backup_copy(path, copy, &why), ERR_CONFLICT);
	at_fsync = NULL;
	CHECK(strstr(why.s, "File exists"));
	CHECK_INT(stat(copy, &st), 0);
	CHECK_INT(st.st_size, 4);
	CHECK_INT(partials(), 0);
	end(db);
}

static void a_copy_that_is_not_on_disk_is_none(void)
{
	struct errtext why = { "" };
	struct db *db = begin();

	fsync_errno = EIO;
	CHECK_INT(backup_copy(path, copy, &why), ERR_IO);
	fsync_errno = 0;
	CHECK(strstr(why.s, "Input/output error"));
	CHECK(access(copy, F_OK) != 0);
	CHECK_INT(partials(), 0);
	end(db);
}

static void a_copy_may_be_named_without_a_directory(void)
{
	struct errtext why = { "" };
	struct db *db = begin();
	int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	put(db, 3);
	REQUIRE(back >= 0 && chdir(home) == 0);
	CHECK_INT(backup_copy(path, "copy", &why), ERR_OK);
	CHECK_INT(fchdir(back), 0);
	close(back);
	CHECK_INT(jobs_of(copy), 3);
	end(db);
}

struct writer {
	pthread_mutex_t lock;
	int committed;
	bool stop;
};

static void *write_on(void *arg)
{
	struct writer *w = arg;
	struct db *db = db_of(DB_WRITER);
	bool stop = false;

	while (!stop) {
		job_put(db, "m", false);
		pthread_mutex_lock(&w->lock);
		w->committed++;
		stop = w->stop;
		pthread_mutex_unlock(&w->lock);
	}
	db_close(db);
	return NULL;
}

static int committed(struct writer *w, bool stop)
{
	int count;

	pthread_mutex_lock(&w->lock);
	count = w->committed;
	w->stop = stop;
	pthread_mutex_unlock(&w->lock);
	return count;
}

static void a_copy_made_under_load_has_all_that_came_before_it(void)
{
	struct writer w = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct errtext why = { "" };
	struct db *db = begin();
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, write_on, &w) == 0);
	for (int i = 0; i < 5; i++) {
		int before = committed(&w, false), after;

		while (committed(&w, false) == before)
			sched_yield();
		before = committed(&w, false);
		CHECK_INT(backup_copy(path, copy, &why), ERR_OK);
		after = committed(&w, false);
		CHECK(jobs_of(copy) >= before);
		CHECK(jobs_of(copy) <= after + 1);
		CHECK_INT(unlink(copy), 0);
	}
	committed(&w, true);
	pthread_join(thread, NULL);
	end(db);
}

static void a_copy_is_a_database_to_go_on_with(void)
{
	struct errtext why = { "" };
	struct db *db = begin(), *restored = NULL;

	put(db, 4);
	CHECK_INT(backup_copy(path, copy, &why), ERR_OK);
	REQUIRE(db_open(&(struct db_conf){ .path = copy, .inline_max = 100 }, DB_WORKER,
	                &restored, &why) == ERR_OK);
	put(restored, 1);
	CHECK_STR(ask_text(restored, "PRAGMA journal_mode"), "wal");
	CHECK_INT(ask_int(restored, "PRAGMA auto_vacuum"), 2);
	CHECK_INT(ask_int(restored, "SELECT max(seq) FROM jobs"), 5);
	db_close(restored);
	CHECK_INT(jobs_of(copy), 5);
	end(db);
}

/* --- the figures ----------------------------------------------------------- */

static void the_figures_are_those_of_the_file(void)
{
	struct errtext why = { "" };
	struct backup_stats s = { 0 };
	struct db *db = begin();
	struct job job;

	put(db, 3);
	job_in(db, JOB_DONE, &job);
	job_done(&job);
	CHECK_INT(backup_stats(path, &s, &why), ERR_OK);
	CHECK_INT(s.version, SCHEMA_VERSION);
	CHECK_INT(s.queued, 3);
	CHECK_INT(s.done, 1);
	CHECK_INT(s.loading + s.working + s.failed + s.retired, 0);
	CHECK(s.wal_bytes > 0 && s.disk_free_bytes > 0 && s.artifacts >= 1);
	CHECK_INT(db_checkpoint(db, true, &why), ERR_OK);
	CHECK_INT(backup_stats(path, &s, &why), ERR_OK);
	CHECK_INT(s.wal_bytes, 0);
	CHECK_INT(s.bytes % 4096, 0);
	end(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_file_in_use_is_sound),
		T(what_is_missing_or_not_ours_is_refused),
		T(damage_is_found),
		T(rows_that_refer_to_nothing_are_found),
		T(an_index_that_is_not_its_tables_is_found),
		T(a_copy_has_what_was_committed_and_nothing_else),
		T(a_copy_is_on_disk_before_it_has_its_name),
		T(a_copy_replaces_nothing),
		T(where_none_can_be_made_none_is_left),
		T(who_takes_the_name_meanwhile_keeps_it),
		T(a_copy_that_is_not_on_disk_is_none),
		T(a_copy_may_be_named_without_a_directory),
		T(a_copy_made_under_load_has_all_that_came_before_it),
		T(a_copy_is_a_database_to_go_on_with),
		T(the_figures_are_those_of_the_file),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
