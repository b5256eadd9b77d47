/*
 * test_group.c - many threads, one transaction, every job exactly once.
 */
#include <config.h>

#include "store/group.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/limits.h"
#include "store.h"

static int patience;          /* so many waits for a turn are over at once */
static bool interrupted;      /* ... after a signal */
static void (*at_wait)(void); /* ... and after this, if set */

int sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
	(void)clock;
	(void)until;
	if (__atomic_load_n(&patience, __ATOMIC_SEQ_CST) == 0)
		return sem_wait(sem);
	if (!interrupted) {
		interrupted = true;
		errno = EINTR;
	} else {
		__atomic_fetch_sub(&patience, 1, __ATOMIC_SEQ_CST);
		if (at_wait)
			at_wait();
		errno = ETIMEDOUT;
	}
	return -1;
}

static struct group *group_fresh(const struct queue_limits *limits)
{
	struct group *g = NULL;

	home_new();
	if (group_open(&conf, limits, &g, NULL) != ERR_OK)
		abort();
	return g;
}

static enum err submit(struct group *g, struct job *job)
{
	struct submission sub = { .job = job, .body = SPAN_LIT("{}") };
	enum err err = group_submit(g, &sub, NULL);

	CHECK_INT(sub.result, err);
	return err;
}

static void one_submission_is_stored_when_it_returns(void)
{
	struct group *g = group_fresh(&no_limits);
	struct db *reader = db_of(DB_READER);
	struct job job;

	job_make(&job, "m:latest", false);
	CHECK_INT(submit(g, &job), ERR_OK);
	CHECK_INT(job.seq, 1);
	CHECK_INT(job.position, 1);
	CHECK_STR(ask_text(reader, "SELECT id FROM jobs"), job.id);
	job_done(&job);
	db_close(reader);
	group_close(g);
	group_close(NULL);
	home_remove();
}

static void what_nobody_waits_for_is_on_disk(void)
{
	struct group *g = group_fresh(&no_limits);
	enum queue_cancel_answer answer;
	struct job job;

	job_make(&job, "m:latest", false);
	syncs_taken();
	CHECK_INT(submit(g, &job), ERR_OK);
	CHECK(syncs_taken() > 0);
	job_done(&job);
	job_make(&job, "m:latest", true);
	CHECK_INT(submit(g, &job), ERR_OK);
	CHECK_INT(syncs_taken(), 0); /* its client would be gone as well */
	CHECK_INT(group_cancel(g, job.id, NOW, &answer, NULL), ERR_OK);
	CHECK(syncs_taken() > 0);
	job_done(&job);
	group_close(g);
	home_remove();
}

#define THREADS 32
#define EACH 25

struct crowd {
	struct group *g;
	char ids[EACH][ULID_SIZE];
	int64_t seqs[EACH];
	enum err results[EACH];
	bool attended;
};

static void *submit_many(void *arg)
{
	struct crowd *c = arg;

	for (int i = 0; i < EACH; i++) {
		struct submission sub = { .body = SPAN_LIT("{}") };
		struct job job;

		job_make(&job, i % 2 ? "a:latest" : "b:latest", c->attended);
		memcpy(c->ids[i], job.id, ULID_SIZE);
		sub.job = &job;
		c->results[i] = group_submit(c->g, &sub, NULL);
		c->seqs[i] = job.seq;
		job_done(&job);
	}
	return NULL;
}

static void run_crowd(struct group *g, struct crowd *crowds)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		crowds[i].g = g;
		crowds[i].attended = i % 4 == 0;
		if (pthread_create(&threads[i], NULL, submit_many, &crowds[i]) != 0)
			abort();
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void what_a_crowd_submits_is_there_exactly_once(void)
{
	static struct crowd crowds[THREADS];
	struct group *g = group_fresh(&no_limits);
	struct db *reader = db_of(DB_READER);
	char question[128];

	syncs_taken();
	run_crowd(g, crowds);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM jobs"), THREADS * EACH);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM inputs"), THREADS * EACH);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM events"), THREADS * EACH);
	CHECK(syncs_taken() < THREADS * EACH); /* shared, which is the point */
	for (int i = 0; i < THREADS; i++) {
		for (int k = 0; k < EACH; k++) {
			CHECK_INT(crowds[i].results[k], ERR_OK);
			snprintf(question, sizeof(question),
			         "SELECT seq FROM jobs WHERE id = '%s'", crowds[i].ids[k]);
			CHECK_INT(ask_int(reader, question), crowds[i].seqs[k]);
		}
	}
	CHECK_INT(wrong_figures(reader), 0);
	db_close(reader);
	group_close(g);
	home_remove();
}

static void a_crowd_over_the_limit_gets_exactly_the_limit_in(void)
{
	static struct crowd crowds[THREADS];
	const struct queue_limits limits = { .max_queue = 10, .max_jobs = 100 };
	struct group *g = group_fresh(&limits);
	struct db *reader = db_of(DB_READER);
	int stored[2] = { 0, 0 }, refused = 0;

	run_crowd(g, crowds);
	for (int i = 0; i < THREADS; i++) {
		for (int k = 0; k < EACH; k++) {
			stored[crowds[i].attended] += crowds[i].results[k] == ERR_OK;
			refused += crowds[i].results[k] == ERR_LIMIT;
		}
	}
	CHECK_INT(stored[true], 10);
	CHECK_INT(stored[false], 100);
	CHECK_INT(refused, THREADS * EACH - 110);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM jobs"), 110);
	db_close(reader);
	group_close(g);
	home_remove();
}

static void *submit_and_cancel(void *arg)
{
	struct crowd *c = arg;

	for (int i = 0; i < EACH; i++) {
		enum queue_cancel_answer answer = CANCEL_TERMINAL;
		struct job job;

		job_make(&job, "m:latest", true);
		c->results[i] = submit(c->g, &job);
		if (c->results[i] == ERR_OK)
			c->results[i] = group_cancel(c->g, job.id, NOW + 1, &answer, NULL);
		CHECK_INT(answer, CANCEL_DONE);
		job_done(&job);
	}
	return NULL;
}

static void cancels_go_in_turn_with_submissions(void)
{
	static struct crowd crowds[8];
	struct group *g = group_fresh(&no_limits);
	struct db *reader = db_of(DB_READER);
	enum queue_cancel_answer answer = CANCEL_DONE;
	pthread_t threads[8];

	for (int i = 0; i < 8; i++) {
		crowds[i].g = g;
		REQUIRE(pthread_create(&threads[i], NULL, submit_and_cancel, &crowds[i]) ==
		        0);
	}
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	CHECK_INT(
	    ask_int(reader, "SELECT count(*) FROM jobs WHERE reason = 'canceled'"),
	    8 * EACH);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM inputs"),
	          0); /* attended: gone */
	CHECK_INT(wrong_figures(reader), 0);
	CHECK_INT(group_cancel(g, "01ARZ3NDEKTSV4RRFFQ69G5FAV", NOW, &answer, NULL),
	          ERR_NOENT);
	db_close(reader);
	group_close(g);
	home_remove();
}

static void the_same_id_twice_is_a_conflict_of_its_own(void)
{
	struct group *g = group_fresh(&no_limits);
	struct job job, twin;

	job_make(&job, "m:latest", false);
	job_make(&twin, "m:latest", false);
	memcpy(twin.id, job.id, ULID_SIZE);
	CHECK_INT(submit(g, &job), ERR_OK);
	CHECK_INT(submit(g, &twin), ERR_CONFLICT);
	job_done(&job);
	job_done(&twin);
	group_close(g);
	home_remove();
}

/* One statement that fails takes its whole batch along, and is told to all. */
static void a_batch_that_fails_leaves_nothing_of_anybody(void)
{
	static struct crowd crowds[THREADS];
	struct group *g = group_fresh(&no_limits);
	struct db *writer = db_of(DB_WRITER);
	int64_t stored = 0;

	CHECK_INT(db_begin(writer, DB_SYNC_NORMAL, NULL), ERR_OK);
	CHECK_INT(shell(writer, "CREATE TRIGGER no_more BEFORE INSERT ON inputs WHEN"
	                        " (SELECT count(*) FROM inputs) >= 40 BEGIN"
	                        " SELECT raise(ABORT, 'no room'); END"),
	          SQLITE_OK);
	CHECK_INT(db_commit(writer, NULL), ERR_OK);
	run_crowd(g, crowds);
	for (int i = 0; i < THREADS; i++)
		for (int k = 0; k < EACH; k++)
			stored += crowds[i].results[k] == ERR_OK;
	CHECK(stored <= 40);
	CHECK_INT(ask_int(writer, "SELECT count(*) FROM jobs"), stored);
	CHECK_INT(wrong_figures(writer), 0);
	db_close(writer);
	group_close(g);
	home_remove();
}

/* What the file refuses is told to who asked for it, and is undone. */
static void a_change_that_is_refused_is_told_with_its_reason(void)
{
	struct group *g = group_fresh(&no_limits);
	struct db *db = db_of(DB_WRITER);
	struct outbox_wish wish = { .id = "evt_x", .now_ms = NOW };
	enum queue_cancel_answer answer;
	struct errtext why = { "" };
	struct job job;

	job_make_told(&job, "m:latest", JOB_EVENTS_ALL);
	CHECK_INT(job_store(db, &job), ERR_OK);
	CHECK_INT(shell(db, "UPDATE webhooks SET id = 'evt_x';"
	                    "CREATE TRIGGER a BEFORE DELETE ON jobs BEGIN"
	                    " SELECT raise(ABORT, 'stays'); END;"
	                    "CREATE TRIGGER b BEFORE UPDATE ON jobs BEGIN"
	                    " SELECT raise(ABORT, 'is so'); END;"
	                    "CREATE TRIGGER c BEFORE UPDATE ON webhooks BEGIN"
	                    " SELECT raise(ABORT, 'sent'); END;"),
	          SQLITE_OK);
	CHECK_INT(group_cancel(g, job.id, NOW, &answer, &why), ERR_CONFLICT);
	CHECK(strstr(why.s, "is so"));
	CHECK_INT(group_remove(g, job.id, &why), ERR_CONFLICT);
	CHECK(strstr(why.s, "stays"));
	CHECK_INT(group_again(g, &wish, &why), ERR_CONFLICT);
	CHECK(strstr(why.s, "sent"));
	CHECK_INT(group_again(g, &wish, NULL), ERR_CONFLICT); /* nobody need ask */
	CHECK_STR(ask_text(db, "SELECT state FROM jobs"), "queued");
	job_done(&job);
	db_close(db);
	group_close(g);
	home_remove();
}

static void a_group_without_a_file_is_none(void)
{
	struct db_conf nowhere = { .path = "/nonexistent/foreman.db" };
	struct group *g = NULL;

	CHECK_INT(group_open(&nowhere, &no_limits, &g, NULL), ERR_NOENT);
	CHECK(!g);
}

/* --- submissions nobody waits for ------------------------------------------ */

struct posted {
	struct group_post post;
	struct submission sub;
	struct job job;
	int told; /* under `told_lock` */
};

static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told_changed = PTHREAD_COND_INITIALIZER;
static int told_count;

static void on_done(struct group_post *post, const struct errtext *why)
{
	struct posted *p =
	    (struct posted *)((char *)post - offsetof(struct posted, post));

	(void)why;
	pthread_mutex_lock(&told_lock);
	p->told++;
	told_count++;
	pthread_cond_signal(&told_changed);
	pthread_mutex_unlock(&told_lock);
}

static enum err post(struct group *g, struct posted *p)
{
	memset(p, 0, sizeof(*p));
	job_make(&p->job, "m:latest", false);
	p->sub = (struct submission){ .job = &p->job, .body = SPAN_LIT("{}") };
	p->post = (struct group_post){ .sub = &p->sub, .done = on_done };
	return group_post(g, &p->post);
}

static void await_told(int count)
{
	pthread_mutex_lock(&told_lock);
	while (told_count < count)
		pthread_cond_wait(&told_changed, &told_lock);
	told_count = 0;
	pthread_mutex_unlock(&told_lock);
}

static void a_post_is_told_once_when_it_is_on_disk(void)
{
	struct group *g = group_fresh(&no_limits);
	struct db *reader = db_of(DB_READER);
	struct posted p;

	syncs_taken();
	CHECK_INT(post(g, &p), ERR_OK);
	await_told(1);
	CHECK(syncs_taken() > 0);
	CHECK_INT(p.sub.result, ERR_OK);
	CHECK_INT(p.job.seq, 1);
	CHECK_STR(ask_text(reader, "SELECT id FROM jobs"), p.job.id);
	group_close(g);
	CHECK_INT(p.told, 1);
	job_done(&p.job);
	db_close(reader);
	home_remove();
}

struct sent {
	struct group *g;
	struct job job;
	struct errtext why;
	enum err result;
};

static void *send_one(void *arg)
{
	struct sent *s = arg;
	struct submission sub = { .job = &s->job, .body = SPAN_LIT("{}") };

	s->result = group_submit(s->g, &sub, &s->why);
	return NULL;
}

/* Where a leader is within its transaction: it waits here, once. */
static sem_t at_disk, go_on;
static int leaders;

static void stop_the_leader(void)
{
	if (__atomic_fetch_add(&leaders, 1, __ATOMIC_SEQ_CST) > 0)
		return;
	sem_post(&at_disk);
	sem_wait(&go_on);
}

static void who_gets_no_turn_in_time_is_told_and_leaves_nothing(void)
{
	struct group *g = group_fresh(&no_limits);
	struct sent first = { .g = g }, late = { .g = g }, next = { .g = g };
	struct db *reader = db_of(DB_READER);
	char said[64];
	pthread_t thread;

	job_make(&first.job, "m:latest", false);
	job_make(&late.job, "m:latest", false);
	job_make(&next.job, "m:latest", false);
	sem_init(&at_disk, 0, 0);
	sem_init(&go_on, 0, 0);
	leaders = 0;
	at_sync = stop_the_leader;
	REQUIRE(pthread_create(&thread, NULL, send_one, &first) == 0);
	sem_wait(&at_disk);
	interrupted = false;
	patience = 1;
	send_one(&late);
	CHECK_INT(late.result, ERR_BUSY);
	snprintf(said, sizeof(said), "no turn to write within %d ms",
	         LIMIT_SUBMIT_WAIT_MS);
	CHECK_STR(late.why.s, said);
	sem_post(&go_on);
	pthread_join(thread, NULL);
	at_sync = NULL;
	CHECK_INT(first.result, ERR_OK);
	send_one(&next); /* behind the one that left, in a list that is whole */
	CHECK_INT(next.result, ERR_OK);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM jobs"), 2);
	job_done(&first.job);
	job_done(&late.job);
	job_done(&next.job);
	db_close(reader);
	group_close(g);
	home_remove();
}

static struct group *of_posts;
static struct posted posts_behind;

static void post_behind(void)
{
	CHECK_INT(post(of_posts, &posts_behind), ERR_OK);
}

/* One leaves from the middle of the line, then one from its end. */
static void those_around_who_leaves_keep_their_turns(void)
{
	struct group *g = group_fresh(&no_limits);
	struct sent first = { .g = g }, late = { .g = g };
	struct db *reader = db_of(DB_READER);
	struct posted ahead, last;
	pthread_t thread;

	job_make(&first.job, "m:latest", false);
	job_make(&late.job, "m:latest", false);
	sem_init(&at_disk, 0, 0);
	sem_init(&go_on, 0, 0);
	leaders = 0;
	at_sync = stop_the_leader;
	REQUIRE(pthread_create(&thread, NULL, send_one, &first) == 0);
	sem_wait(&at_disk);
	CHECK_INT(post(g, &ahead), ERR_OK);
	of_posts = g;
	for (int i = 0; i < 2; i++) {
		at_wait = i == 0 ? post_behind : NULL;
		patience = 1;
		send_one(&late);
		CHECK_INT(late.result, ERR_BUSY);
	}
	CHECK_INT(post(g, &last), ERR_OK);
	sem_post(&go_on);
	pthread_join(thread, NULL);
	await_told(3);
	at_sync = NULL;
	CHECK_INT(ahead.sub.result, ERR_OK);
	CHECK_INT(posts_behind.sub.result, ERR_OK);
	CHECK_INT(last.sub.result, ERR_OK);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM jobs"), 4);
	job_done(&first.job);
	job_done(&late.job);
	job_done(&ahead.job);
	job_done(&posts_behind.job);
	job_done(&last.job);
	db_close(reader);
	group_close(g);
	home_remove();
}

/* While somebody else holds the gate nothing is told, so all pile up. */
static void only_so_many_posts_are_on_their_way(void)
{
	static struct posted posts[GROUP_POSTS_MAX + 1];
	struct group *g = group_fresh(&no_limits);
	struct db *writer = db_of(DB_WRITER);

	CHECK_INT(db_begin(writer, DB_SYNC_NORMAL, NULL), ERR_OK);
	for (int i = 0; i < GROUP_POSTS_MAX; i++)
		CHECK_INT(post(g, &posts[i]), ERR_OK);
	CHECK_INT(post(g, &posts[GROUP_POSTS_MAX]), ERR_BUSY);
	job_done(&posts[GROUP_POSTS_MAX].job);
	db_rollback(writer);
	await_told(GROUP_POSTS_MAX);
	CHECK_INT(ask_int(writer, "SELECT count(*) FROM jobs"), GROUP_POSTS_MAX);
	for (int i = 0; i < GROUP_POSTS_MAX; i++) {
		CHECK_INT(posts[i].told, 1);
		job_done(&posts[i].job);
	}
	group_settle(g); /* the last was told; it may not be counted so yet */
	CHECK_INT(post(g, &posts[0]), ERR_OK); /* there is room again */
	await_told(1);
	job_done(&posts[0].job);
	db_close(writer);
	group_close(g);
	home_remove();
}

static void settling_waits_for_what_was_posted(void)
{
	static struct posted posts[20];
	struct group *g = group_fresh(&no_limits);
	struct db *reader;

	for (int i = 0; i < 20; i++)
		CHECK_INT(post(g, &posts[i]), ERR_OK);
	group_settle(g);
	for (int i = 0; i < 20; i++)
		CHECK_INT(posts[i].told, 1);
	group_settle(g); /* nothing is left to wait for */
	group_close(g);
	await_told(20);
	reader = db_of(DB_READER);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM jobs"), 20);
	for (int i = 0; i < 20; i++) {
		CHECK_INT(posts[i].sub.result, ERR_OK);
		job_done(&posts[i].job);
	}
	db_close(reader);
	home_remove();
}

static void posts_over_the_limit_are_told_so(void)
{
	const struct queue_limits two = { .max_queue = 10, .max_jobs = 2 };
	struct group *g = group_fresh(&two);
	struct posted posts[3];

	for (int i = 0; i < 3; i++)
		CHECK_INT(post(g, &posts[i]), ERR_OK);
	await_told(3);
	CHECK_INT(posts[0].sub.result, ERR_OK);
	CHECK_INT(posts[1].sub.result, ERR_OK);
	CHECK_INT(posts[2].sub.result, ERR_LIMIT);
	for (int i = 0; i < 3; i++)
		job_done(&posts[i].job);
	group_close(g);
	home_remove();
}

/* Threads that wait and posts, all at once: each lead goes to whom it must. */
static void a_crowd_and_posts_share_the_lead(void)
{
	static struct crowd crowds[THREADS];
	static struct posted posts[GROUP_POSTS_MAX];
	struct group *g = group_fresh(&no_limits);
	struct db *reader = db_of(DB_READER);
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		crowds[i].g = g;
		crowds[i].attended = i % 4 == 0;
		if (pthread_create(&threads[i], NULL, submit_many, &crowds[i]) != 0)
			abort();
	}
	for (int i = 0; i < GROUP_POSTS_MAX; i++)
		CHECK_INT(post(g, &posts[i]), ERR_OK);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	await_told(GROUP_POSTS_MAX);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM jobs"),
	          THREADS * EACH + GROUP_POSTS_MAX);
	CHECK_INT(ask_int(reader, "SELECT count(DISTINCT id) FROM jobs"),
	          THREADS * EACH + GROUP_POSTS_MAX);
	for (int i = 0; i < GROUP_POSTS_MAX; i++)
		job_done(&posts[i].job);
	db_close(reader);
	group_close(g);
	home_remove();
}

/* --- batches ----------------------------------------------------------------- */

#define LINES 300 /* more than one turn's worth */

struct lines {
	struct job jobs[LINES];
	struct submission subs[LINES], *list[LINES];
};

static void lines_make(struct lines *l)
{
	static char ids[LINES][ULID_SIZE];

	ulid_run(ids, LINES);
	for (int i = 0; i < LINES; i++) {
		job_make(&l->jobs[i], "m:latest", false);
		memcpy(l->jobs[i].id, ids[i], ULID_SIZE);
		l->subs[i] =
		    (struct submission){ .job = &l->jobs[i], .body = SPAN_LIT("{}") };
		l->list[i] = &l->subs[i];
	}
}

static void lines_done(struct lines *l)
{
	for (int i = 0; i < LINES; i++)
		job_done(&l->jobs[i]);
}

static void a_batch_is_on_disk_as_one_when_it_returns(void)
{
	static struct lines l;
	struct group *g = group_fresh(&no_limits);
	struct db *reader = db_of(DB_READER);
	size_t at = 0;

	lines_make(&l);
	syncs_taken();
	CHECK_INT(group_batch(g, l.list, LINES, &at, NULL), ERR_OK);
	CHECK_INT(at, LINES);
	CHECK_INT(syncs_taken(), 1);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM jobs"), LINES);
	CHECK_INT(ask_int(reader, "SELECT max(seq) - min(seq) + 1 FROM jobs"), LINES);
	lines_done(&l);
	db_close(reader);
	group_close(g);
	home_remove();
}

static void a_batch_with_one_bad_job_leaves_nothing_and_says_which(void)
{
	static struct lines l;
	struct group *g = group_fresh(&no_limits);
	struct db *reader = db_of(DB_READER);
	size_t at = 0;
	struct job job;

	lines_make(&l);
	memcpy(l.jobs[280].id, l.jobs[0].id, ULID_SIZE);
	CHECK_INT(group_batch(g, l.list, LINES, &at, NULL), ERR_CONFLICT);
	CHECK_INT(at, 280);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM jobs"), 0);
	job_make(&job, "m:latest", false);
	CHECK_INT(submit(g, &job), ERR_OK); /* and the next is served */
	job_done(&job);
	lines_done(&l);
	db_close(reader);
	group_close(g);
	home_remove();
}

static void *batch_in(void *arg)
{
	static struct lines l;
	struct group *g = arg;
	size_t at;

	lines_make(&l);
	for (int i = 0; i < 5; i++) {
		/* the second time around its ids are there already */
		enum err want = i == 0 ? ERR_OK : ERR_CONFLICT;

		CHECK_INT(group_batch(g, l.list, LINES, &at, NULL), want);
	}
	lines_done(&l);
	return NULL;
}

static void what_a_batch_undoes_is_nobody_elses(void)
{
	static struct crowd crowds[THREADS];
	static struct posted posts[GROUP_POSTS_MAX];
	struct group *g = group_fresh(&no_limits);
	struct db *reader = db_of(DB_READER);
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, batch_in, g) == 0);
	for (int i = 0; i < GROUP_POSTS_MAX; i++)
		CHECK_INT(post(g, &posts[i]), ERR_OK);
	run_crowd(g, crowds);
	pthread_join(thread, NULL);
	await_told(GROUP_POSTS_MAX);
	for (int i = 0; i < THREADS; i++)
		for (int k = 0; k < EACH; k++)
			CHECK_INT(crowds[i].results[k], ERR_OK);
	CHECK_INT(ask_int(reader, "SELECT count(*) FROM jobs"),
	          LINES + THREADS * EACH + GROUP_POSTS_MAX);
	CHECK_INT(wrong_figures(reader), 0);
	for (int i = 0; i < GROUP_POSTS_MAX; i++)
		job_done(&posts[i].job);
	db_close(reader);
	group_close(g);
	home_remove();
}

/* --- one key, many processes ------------------------------------------------- */

#define PROCESSES 4
#define IN_EACH 25

static struct group *keyed_group;
static int keyed_told; /* a pipe's end */

/* Tell the id under the key, and whether it is ours. */
static void *submit_keyed(void *arg)
{
	struct queue_key key = { .text = "the-key", .fingerprint = "f" };
	struct submission sub = { .body = SPAN_LIT("{}"), .key = &key };
	char told[ULID_SIZE + 1] = "?";
	struct job job;

	(void)arg;
	job_make(&job, "m:latest", false);
	sub.job = &job;
	switch (group_submit(keyed_group, &sub, NULL)) {
	case ERR_OK:
		snprintf(told, sizeof(told), "+%s", job.id);
		break;
	case ERR_STALE:
		snprintf(told, sizeof(told), "%c%s", key.same ? '=' : '!', key.first_id);
		break;
	default:
		break;
	}
	if (write(keyed_told, told, sizeof(told)) != sizeof(told))
		abort();
	job_done(&job);
	return NULL;
}

static void keyed_process(void)
{
	pthread_t threads[IN_EACH];

	if (group_open(&conf, &no_limits, &keyed_group, NULL) != ERR_OK)
		_exit(1);
	for (int i = 0; i < IN_EACH; i++)
		if (pthread_create(&threads[i], NULL, submit_keyed, NULL) != 0)
			_exit(1);
	for (int i = 0; i < IN_EACH; i++)
		pthread_join(threads[i], NULL);
	group_close(keyed_group);
	_exit(0);
}

static void a_hundred_submissions_under_one_key_are_one_job(void)
{
	struct db *db = db_fresh();
	char told[ULID_SIZE + 1], id[ULID_SIZE] = "";
	pid_t pids[PROCESSES];
	int ends[2], first = 0, repeated = 0;

	REQUIRE(pipe(ends) == 0);
	keyed_told = ends[1];
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			keyed_process();
	}
	str_copy(id, sizeof(id), "");
	for (int i = 0; i < PROCESSES * IN_EACH; i++) {
		REQUIRE(read(ends[0], told, sizeof(told)) == sizeof(told));
		first += told[0] == '+';
		repeated += told[0] == '=';
		if (!id[0])
			str_copy(id, sizeof(id), told + 1);
		CHECK_STR(told + 1, id);
	}
	for (int i = 0; i < PROCESSES; i++)
		waitpid(pids[i], NULL, 0);
	CHECK_INT(first, 1);
	CHECK_INT(repeated, PROCESSES * IN_EACH - 1);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 1);
	CHECK_STR(ask_text(db, "SELECT id FROM jobs"), id);
	close(ends[0]);
	close(ends[1]);
	db_gone(db);
}

static void a_removal_is_on_disk_when_it_returns(void)
{
	struct db *db = db_fresh();
	char id[ULID_SIZE];
	struct group *g;
	struct job job;

	REQUIRE(group_open(&conf, &no_limits, &g, NULL) == ERR_OK);
	job_in(db, JOB_QUEUED, &job);
	memcpy(id, job.id, sizeof(id));
	job_done(&job);
	syncs_taken();
	CHECK_INT(group_remove(g, id, NULL), ERR_OK);
	CHECK(syncs_taken() > 0);
	CHECK_INT(ask_int(db, "SELECT count(*) FROM jobs"), 0);
	CHECK_INT(group_remove(g, id, NULL), ERR_NOENT);
	job_in(db, JOB_LOADING, &job);
	CHECK_INT(group_remove(g, job.id, NULL), ERR_OK);
	job_done(&job);
	group_close(g);
	db_gone(db);
}

static void webhooks_are_sent_again_on_disk(void)
{
	const struct outbox_attempt bad = { .now_ms = NOW + 1, .error = "down" };
	struct outbox_wish wish = { .state = "dead",
		                        .since_ms = NOW,
		                        .until_ms = NOW + 9,
		                        .max = 5,
		                        .now_ms = NOW + 9 };
	struct outbox_wish unknown = { .id = "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV" };
	struct db *db = db_fresh();
	struct group *g;
	struct job job;

	REQUIRE(group_open(&conf, &no_limits, &g, NULL) == ERR_OK);
	job_make_told(&job, "m:latest", 1u << JOB_QUEUED);
	CHECK_INT(job_store(db, &job), ERR_OK);
	CHECK_INT(outbox_dead(db, 1, &bad), ERR_OK);
	CHECK_INT(group_again(g, &unknown, NULL), ERR_NOENT);
	syncs_taken();
	CHECK_INT(group_again(g, &wish, NULL), ERR_OK);
	CHECK(syncs_taken() > 0);
	CHECK_INT(wish.count, 1);
	CHECK_INT(ask_int(db, "SELECT due_ms FROM webhooks WHERE state = 'pending'"),
	          NOW + 9);
	job_done(&job);
	group_close(g);
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(one_submission_is_stored_when_it_returns),
		T(what_nobody_waits_for_is_on_disk),
		T(what_a_crowd_submits_is_there_exactly_once),
		T(a_crowd_over_the_limit_gets_exactly_the_limit_in),
		T(cancels_go_in_turn_with_submissions),
		T(the_same_id_twice_is_a_conflict_of_its_own),
		T(a_batch_that_fails_leaves_nothing_of_anybody),
		T(who_gets_no_turn_in_time_is_told_and_leaves_nothing),
		T(those_around_who_leaves_keep_their_turns),
		T(a_change_that_is_refused_is_told_with_its_reason),
		T(a_group_without_a_file_is_none),
		T(a_post_is_told_once_when_it_is_on_disk),
		T(only_so_many_posts_are_on_their_way),
		T(settling_waits_for_what_was_posted),
		T(posts_over_the_limit_are_told_so),
		T(a_crowd_and_posts_share_the_lead),
		T(a_batch_is_on_disk_as_one_when_it_returns),
		T(a_batch_with_one_bad_job_leaves_nothing_and_says_which),
		T(what_a_batch_undoes_is_nobody_elses),
		T(a_hundred_submissions_under_one_key_are_one_job),
		T(a_removal_is_on_disk_when_it_returns),
		T(webhooks_are_sent_again_on_disk),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
