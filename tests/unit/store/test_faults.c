/*
 * test_faults.c - whatever fails below the store, at whatever point of it.
 *
 * Every operation is done again and again, with the first, the second, ... call
 * of a kind failing: an allocation, a step of a statement, a write. Each time
 * the answer tells, nothing was changed, the gate is free and nothing is lost
 * (that is ASan's to say); and what does say ERR_OK tells the same as ever.
 */
#include <config.h>

#include <fcntl.h>
#include <glob.h>

#include "core/limits.h"
#include "starve.h"
#include "store.h"
#include "store/artifact.h"
#include "store/backup.h"
#include "store/gauge.h"
#include "store/group.h"
#include "store/ledger.h"
#include "store/look.h"
#include "store/outbox.h"
#include "store/pace.h"
#include "store/remove.h"
#include "store/schema.h"
#include "store/status.h"

/* --- the ways to fail ------------------------------------------------------- */

enum fault { FAULT_MEMORY, FAULT_STEP, FAULT_WRITE, FAULT_COUNT };

static const char *const fault_names[FAULT_COUNT] = { "allocation", "step",
	                                                  "write" };

static struct {
	enum fault kind;
	long left; /* as in starve.h */
	bool fired;
} ill;

static bool fails(enum fault kind)
{
	if (ill.kind != kind || ill.left == 0 || --ill.left > 0)
		return false;
	ill.fired = true;
	return true;
}

static ssize_t fail_write(int fd, const void *p, size_t len, off_t at)
{
	if (!fails(FAULT_WRITE))
		return pwrite(fd, p, len, at);
	errno = ENOSPC;
	return -1;
}

/* Amid a statement: at its very end it has happened. */
static int fail_step(void *handle)
{
	bool amid = false;

	for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(handle, s));)
		amid = amid || sqlite3_stmt_busy(s);
	return amid && fails(FAULT_STEP);
}

/* Every connection made while steps fail is one whose steps fail. */
static int watch_new(sqlite3 *handle, char **why, const sqlite3_api_routines *api)
{
	(void)why;
	(void)api;
	if (ill.kind == FAULT_STEP && ill.left)
		sqlite3_progress_handler(handle, 1, fail_step, handle);
	return SQLITE_OK;
}

/* SQLite asks for memory where our own code does. */
static int no_init(void *unused)
{
	(void)unused;
	return SQLITE_OK;
}

static void no_end(void *unused)
{
	(void)unused;
}

static int64_t *before_block(void *p)
{
	return (int64_t *)p - 2;
}

static int block_size(void *p)
{
	return (int)*before_block(p);
}

static void *block_new(int size)
{
	int64_t *p = __wrap_malloc((size_t)size + 16);

	if (!p)
		return NULL;
	*p = size;
	return p + 2;
}

static void block_free(void *p)
{
	free(before_block(p));
}

static void *block_resize(void *p, int size)
{
	int64_t *q = __wrap_realloc(before_block(p), (size_t)size + 16);

	if (!q)
		return NULL;
	*q = size;
	return q + 2;
}

static int block_round(int size)
{
	return (size + 7) & ~7;
}

static void faults_install(void)
{
	static const sqlite3_mem_methods memory = { block_new,    block_free,
		                                        block_resize, block_size,
		                                        block_round,  no_init,
		                                        no_end,       NULL };
	sqlite3_vfs *vfs;

	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &memory) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK ||
	    sqlite3_initialize() != SQLITE_OK)
		abort();
	vfs = sqlite3_vfs_find(NULL);
	vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)fail_write);
	vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)fail_write);
	if (sqlite3_auto_extension((void (*)(void))watch_new) != SQLITE_OK)
		abort();
	starve_cjson();
}

/* From here on the nth call of that kind fails. */
static void fault_at(struct db *db, enum fault kind, long nth)
{
	ill.kind = kind;
	ill.left = kind == FAULT_MEMORY ? 0 : nth;
	ill.fired = false;
	starve_at(kind == FAULT_MEMORY ? nth : 0);
	if (kind == FAULT_STEP && db)
		sqlite3_progress_handler(db->handle, 1, fail_step, db->handle);
}

/* No more; has one failed? */
static bool fault_end(struct db *db)
{
	ill.left = 0;
	if (db)
		sqlite3_progress_handler(db->handle, 0, NULL, NULL);
	return starve_end() || ill.fired;
}

/* --- a world with some of everything ----------------------------------------- */

static struct {
	char done[ULID_SIZE], waiting[ULID_SIZE], attended[ULID_SIZE];
	char running[ULID_SIZE], removed[ULID_SIZE];
	struct job loading, working;
	struct job fresh[2]; /* not stored */
	int64_t waiting_seq;
	struct owed owed; /* the webhook that is due first */
	int64_t settled;  /* one that is dead */
	char settled_id[LEDGER_ID_SIZE];
} world;

static char answer[8192]; /* what an operation told */

static void tell(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void tell(const char *fmt, ...)
{
	size_t len = strlen(answer);
	va_list args;

	va_start(args, fmt);
	vsnprintf(answer + len, sizeof(answer) - len, fmt, args);
	va_end(args);
}

static void must(enum err err)
{
	if (err == ERR_OK)
		return;
	printf("# the world could not be made: %s\n", err_name(err));
	abort();
}

static const struct pace some_pace = { 3000, 500, 42 };
static char reply[LIMIT_ARTIFACT_CHUNK + 1]; /* two chunks */

static struct queue_result result_of_run(void)
{
	memset(reply, 'x', sizeof(reply));
	return (struct queue_result){ .content_type = "text/plain",
		                          .response = { reply, sizeof(reply) },
		                          .content = SPAN_LIT("hello"),
		                          .complete = true,
		                          .prompt_tokens = 3,
		                          .completion_tokens = 4,
		                          .pace = &some_pace };
}

static void run_to(struct db *db, enum job_state state, struct job *job)
{
	const struct queue_result result = result_of_run();
	int64_t seq;

	job_make_told(job, "m:latest", JOB_EVENTS_ALL);
	must(job_store(db, job));
	seq = job->seq;
	job_done(job);
	must(job_claim(db, seq, job));
	if (state != JOB_LOADING)
		must(queue_working(db, job, NOW + 20, NULL));
	if (state == JOB_DONE)
		must(queue_done(db, job, &result, NOW + 30, NULL));
}

static void put_waiting(struct db *db, const char *key, bool attended, char *id)
{
	struct job job;

	job_make(&job, key, attended);
	job.expires_ms = NOW + 1000;
	must(job_store(db, &job));
	str_copy(id, ULID_SIZE, job.id);
	world.waiting_seq = job.seq;
	job_done(&job);
}

static void put_held(struct db *db)
{
	struct job job;

	run_to(db, JOB_LOADING, &job);
	must(queue_back(db, &job, REASON_TARGET_LOST, "away", true, NOW + 500, NOW + 40,
	                NULL));
	job_done(&job);
}

static void put_removed(struct db *db)
{
	put_waiting(db, "m:latest", false, world.removed);
	must(db_begin(db, DB_SYNC_NORMAL, NULL));
	must(db_finish(db, remove_job_in(db, world.removed, NULL), NULL));
}

/* Two attempts on the first webhook: one is logged, then it is dead. */
static void settle_some(struct db *db)
{
	const struct outbox_attempt bad = {
		.now_ms = NOW + 50, .status = 503, .error = "status 503", .reply = "go away"
	};
	int64_t next;
	size_t count;

	must(outbox_due(db, NOW + 50, NULL, 0, &world.owed, 1, &count, &next));
	must(outbox_retry(db, world.owed.seq, &bad, NOW + 60));
	must(outbox_dead(db, world.owed.seq, &bad));
	world.settled = world.owed.seq;
	str_copy(world.settled_id, sizeof(world.settled_id), world.owed.id);
	owed_done(&world.owed);
	must(outbox_due(db, NOW + 50, NULL, 0, &world.owed, 1, &count, &next));
	/* another waits for its second attempt */
	must(outbox_retry(db, world.owed.seq, &bad, NOW + 9000));
}

static void put_status(struct db *db)
{
	struct status s = { .heartbeat_ms = NOW,
		                .worker_pid = 7,
		                .target = TARGET_UP,
		                .version = strdup("0.5.0"),
		                .loaded_key = strdup("m:latest") };

	must(status_write(db, &s, NULL));
	must(status_write_tags(db, "{\"models\":[]}", NULL));
	status_done(&s);
}

static void world_make(void)
{
	struct job done;
	struct db *db = db_fresh();

	clock_fake(NOW + 50, 1000, 1000);
	no_sync = true;
	run_to(db, JOB_DONE, &done);
	str_copy(world.done, sizeof(world.done), done.id);
	job_done(&done);
	put_held(db);
	put_removed(db);
	put_waiting(db, "other:latest", true, world.attended);
	put_waiting(db, "other:latest", false, world.waiting);
	put_waiting(db, "m:latest", false, world.waiting);
	run_to(db, JOB_LOADING, &world.loading);
	run_to(db, JOB_WORKING, &world.working);
	str_copy(world.running, sizeof(world.running), world.working.id);
	settle_some(db);
	put_status(db);
	job_make_told(&world.fresh[0], "m:latest", JOB_EVENTS_ALL);
	job_make(&world.fresh[1], "m:latest", false);
	must(db_checkpoint(db, true, NULL));
	CHECK_INT(wrong_figures(db), 0);
	db_close(db);
}

static void world_end(void)
{
	job_done(&world.loading);
	job_done(&world.working);
	job_done(&world.fresh[0]);
	job_done(&world.fresh[1]);
	owed_done(&world.owed);
	home_remove();
	clock_real();
}

/* --- what is done in it: entering --------------------------------------------- */

static enum err do_submit(struct db *db)
{
	struct queue_key key = { .text = "key", .fingerprint = "f" };
	struct submission sub = { .job = &world.fresh[0],
		                      .body = SPAN_LIT("{}"),
		                      .headers = SPAN_LIT("a: b\n"),
		                      .event_json = (char[]){ "{}" },
		                      .key = &key };
	struct submission *subs[] = { &sub };
	enum err err = db_begin(db, DB_SYNC_FULL, NULL);

	if (err != ERR_OK)
		return err;
	err = db_finish(db, queue_submit(db, subs, 1, &no_limits, NULL), NULL);
	if (err == ERR_OK)
		tell("%d position %lld", sub.result, (long long)sub.job->position);
	return err;
}

static enum err submit_both(struct db *db, const struct queue_limits *limits)
{
	struct submission sub[] = { { .job = &world.fresh[0], .body = SPAN_LIT("{}") },
		                        { .job = &world.fresh[1],
		                          .body = SPAN_LIT("{}") } };
	struct submission *subs[] = { &sub[0], &sub[1] };
	enum err err = db_begin(db, DB_SYNC_FULL, NULL);
	size_t at = 9;

	if (err != ERR_OK)
		return err;
	err = db_finish(db, queue_submit_all(db, subs, 2, limits, &at, NULL), NULL);
	if (err == ERR_OK || err == ERR_LIMIT)
		tell("%zu room %lld", at, (long long)sub[0].room_ms);
	return err;
}

static enum err do_submit_all(struct db *db)
{
	return submit_both(db, &no_limits);
}

static enum err do_submit_too_many(struct db *db)
{
	const struct queue_limits none = { 0 };

	return submit_both(db, &none);
}

/* --- choosing, moving -----------------------------------------------------------
 */

static enum err do_heads(struct db *db)
{
	struct order_heads heads;
	enum err err = queue_heads(db, "m:latest", &heads);

	if (err == ERR_OK)
		tell("%lld %lld", (long long)heads.loaded[ORDER_UNATTENDED].seq,
		     (long long)heads.other[ORDER_ATTENDED].seq);
	return err;
}

static enum err do_id(struct db *db)
{
	char id[ULID_SIZE];
	enum err err = queue_id(db, world.waiting_seq, id);

	if (err == ERR_OK)
		tell("%d", strcmp(id, world.waiting) == 0);
	return err;
}

static enum err do_release_held(struct db *db)
{
	int64_t next = -1;
	enum err err = queue_release_held(db, NOW + 1000, &next);

	if (err == ERR_OK)
		tell("next %lld", (long long)next);
	return err;
}

static enum err do_claim(struct db *db)
{
	struct queue_input in;
	struct job job;
	enum err err = queue_claim(db, world.waiting_seq, NOW + 60, &job, &in, NULL);

	if (err != ERR_OK)
		return err;
	tell("%s %s", job_state_name(job.state), in.body);
	free(in.body);
	free(in.headers);
	job_done(&job);
	return ERR_OK;
}

static enum err told_move(const struct job *job, enum err err)
{
	if (err == ERR_OK)
		tell("%s %lld", job_state_name(job->state), (long long)job->event_seq);
	return err;
}

static enum err do_working(struct db *db)
{
	return told_move(&world.loading,
	                 queue_working(db, &world.loading, NOW + 60, NULL));
}

static enum err do_done(struct db *db)
{
	const struct queue_result result = result_of_run();

	return told_move(&world.working,
	                 queue_done(db, &world.working, &result, NOW + 60, NULL));
}

static enum err do_failed(struct db *db)
{
	const struct queue_result result = result_of_run();

	return told_move(&world.working,
	                 queue_failed(db, &world.working, REASON_UPSTREAM_INCOMPLETE,
	                              "cut off", true, &result, NOW + 60, NULL));
}

static enum err do_back(struct db *db)
{
	return told_move(&world.working,
	                 queue_back(db, &world.working, REASON_TARGET_LOST, "away",
	                            false, NOW + 900, NOW + 60, NULL));
}

static enum err do_recover(struct db *db)
{
	int64_t count = -1;
	enum err err = queue_recover(db, NOW + 60, &count, NULL);

	if (err == ERR_OK)
		tell("%lld", (long long)count);
	return err;
}

static enum err do_expire(struct db *db)
{
	int64_t count = -1;
	enum err err = queue_expire(db, NOW + 5000, 10, &count, NULL);

	if (err == ERR_OK)
		tell("%lld", (long long)count);
	return err;
}

static enum err cancel(struct db *db, const char *id)
{
	enum queue_cancel_answer said = CANCEL_DONE;
	enum err err = queue_cancel(db, id, NOW + 60, &said, NULL);

	if (err == ERR_OK)
		tell("%d", said);
	return err;
}

static enum err do_cancel_waiting(struct db *db)
{
	return cancel(db, world.waiting);
}

static enum err do_cancel_running(struct db *db)
{
	return cancel(db, world.running);
}

static enum err do_cancel_wanted(struct db *db)
{
	bool wanted = true;
	enum err err = queue_cancel_wanted(db, world.working.seq, &wanted);

	if (err == ERR_OK)
		tell("%d", wanted);
	return err;
}

/* --- looking -------------------------------------------------------------------
 */

static enum err look(struct db *db, const char *id)
{
	struct job job;
	enum err err = look_job(db, id, LIMIT_ARTIFACT_CHUNK * 2, &job);

	if (err != ERR_OK)
		return err;
	tell("%s %s at %lld;", job.model, job_state_name(job.state),
	     (long long)job.position);
	for (size_t i = 0; i < job.artifact_count; i++)
		tell(" %s %lld%s", job.artifacts[i].name, (long long)job.artifacts[i].bytes,
		     job.artifacts[i].inline_bytes ? " loaded" : "");
	job_done(&job);
	return ERR_OK;
}

static enum err do_look_done(struct db *db)
{
	return look(db, world.done);
}

static enum err do_look_waiting(struct db *db)
{
	return look(db, world.waiting);
}

static enum err do_look_removed(struct db *db)
{
	return look(db, world.removed);
}

static enum err do_look_step(struct db *db)
{
	struct look_step step;
	enum err err = look_step(db, world.done, &step);

	if (err == ERR_OK)
		tell("%lld %d", (long long)step.event_seq, step.state);
	return err;
}

static enum err do_look_events(struct db *db)
{
	struct look_event events[8];
	size_t count;
	enum err err = look_events(db, world.done, 0, events, 8, &count);

	if (err == ERR_OK)
		tell("%zu to %d", count, events[count - 1].state);
	return err;
}

static enum err do_look_events_behind_the_last(struct db *db)
{
	struct look_event events[8];
	size_t count;
	enum err err = look_events(db, world.done, 4, events, 8, &count);

	if (err == ERR_OK)
		tell("%zu", count);
	return err;
}

static enum err do_look_body(struct db *db)
{
	size_t len;
	char *body;
	enum err err = look_body(db, world.done, &body, &len);

	if (err != ERR_OK)
		return err;
	tell("%s", body);
	free(body);
	return ERR_OK;
}

static enum err told_page(enum err err, struct job *jobs, size_t count)
{
	if (err != ERR_OK)
		return err;
	for (size_t i = 0; i < count; i++) {
		tell(" %s %lld", job_state_name(jobs[i].state),
		     (long long)jobs[i].position);
		job_done(&jobs[i]);
	}
	free(jobs);
	return ERR_OK;
}

static enum err look_page(struct db *db, const struct look_filter *f)
{
	struct job *jobs = NULL;
	char next[ULID_SIZE];
	size_t count = 0;
	enum err err = look_jobs(db, f, &jobs, &count, next);

	return told_page(err, jobs, count);
}

static enum err do_look_jobs(struct db *db)
{
	return look_page(db, &(struct look_filter){ .any_state = true, .limit = 3 });
}

static enum err do_look_waiting_of_model(struct db *db)
{
	return look_page(
	    db, &(struct look_filter){ .state = JOB_QUEUED, .model = "m", .limit = 9 });
}

static enum err do_look_batch(struct db *db)
{
	struct job *jobs = NULL;
	size_t count = 0;
	enum err err = look_batch(db, world.done, world.running, "", 9, &jobs, &count);

	return told_page(err, jobs, count);
}

static enum err do_look_queue(struct db *db)
{
	struct look_queue q;
	enum err err = look_queue(db, &q);

	if (err != ERR_OK)
		return err;
	tell("%s %lld %lld %.1f;", q.running_job->model, (long long)q.empty_ms,
	     (long long)q.ms_per_job, q.tokens_per_s);
	for (size_t i = 0; i < q.waiting_count; i++)
		tell(" %s %lld", q.waiting[i].load_key, (long long)q.waiting[i].count);
	look_queue_done(&q);
	return ERR_OK;
}

static enum err do_gauge(struct db *db)
{
	struct gauge g;
	enum err err = gauge_read(db, &g, NULL);

	if (err != ERR_OK)
		return err;
	tell("%zu %zu %zu %lld %s", g.counter_count, g.bucket_count, g.bound_count,
	     (long long)g.jobs[JOB_QUEUED][0], g.status.version);
	gauge_done(&g);
	return ERR_OK;
}

static enum err do_status(struct db *db)
{
	struct status s;
	enum err err = status_read(db, true, &s);

	if (err != ERR_OK)
		return err;
	tell("%s %s %s", s.version, s.loaded_key, s.tags);
	status_done(&s);
	return ERR_OK;
}

static enum err do_status_write(struct db *db)
{
	const struct status s = { .heartbeat_ms = NOW + 60, .target = TARGET_DOWN };

	return status_write(db, &s, NULL);
}

static enum err do_status_write_tags(struct db *db)
{
	return status_write_tags(db, "{}", NULL);
}

static enum err do_pace(struct db *db)
{
	struct pace pace;
	enum err err = pace_read(db, "m:latest", &pace);

	if (err == ERR_OK)
		tell("%.0f", pace.run_ms);
	return err;
}

static enum err do_drain_ms(struct db *db)
{
	int64_t ms;
	enum err err = pace_drain_ms(db, &ms);

	if (err == ERR_OK)
		tell("%lld", (long long)ms);
	return err;
}

static enum err do_artifact(struct db *db)
{
	struct artifact found;
	int64_t handle;
	struct buf b;
	enum err err = artifact_find(db, world.done, "response", &found, &handle);

	buf_init(&b, LIMIT_ARTIFACT_CHUNK);
	if (err == ERR_OK)
		err = artifact_chunk(db, handle, 1, &b);
	if (err == ERR_OK)
		tell("%lld %zu", (long long)found.bytes, b.len);
	if (err == ERR_OK)
		err = artifact_piece(db, handle, LIMIT_ARTIFACT_CHUNK - 1, 9, &b);
	if (err == ERR_OK)
		tell(" %zu", b.len);
	buf_done(&b);
	return err;
}

/* --- webhooks --------------------------------------------------------------------
 */

static enum err do_due(struct db *db)
{
	struct owed owed[4];
	size_t count;
	int64_t next;
	enum err err = outbox_due(db, NOW + 60, NULL, 0, owed, 4, &count, &next);

	if (err != ERR_OK)
		return err;
	for (size_t i = 0; i < count; i++) {
		tell("%s %s;", owed[i].type, owed[i].url);
		owed_done(&owed[i]);
	}
	tell(" %lld", (long long)next);
	return ERR_OK;
}

static enum err do_defer(struct db *db)
{
	return outbox_defer(db, &world.owed.seq, 1, NOW + 90);
}

static const struct outbox_attempt again = {
	.now_ms = NOW + 80, .status = 500, .error = "status 500", .reply = "no"
};

static enum err do_delivered(struct db *db)
{
	return outbox_delivered(db, world.owed.seq, &again);
}

static enum err do_retry(struct db *db)
{
	return outbox_retry(db, world.owed.seq, &again, NOW + 900);
}

static enum err do_dead_twice(struct db *db)
{
	return outbox_dead(db, world.settled, &again);
}

static enum err do_wake(struct db *db)
{
	int64_t count;
	enum err err = outbox_wake(db, "https://receiver.example", NOW + 80, &count);

	if (err == ERR_OK)
		tell("%lld", (long long)count);
	return err;
}

static enum err send_again(struct db *db, struct outbox_wish *wish)
{
	enum err err = db_begin(db, DB_SYNC_FULL, NULL);

	if (err != ERR_OK)
		return err;
	err = db_finish(db, outbox_again(db, wish, NULL), NULL);
	if (err == ERR_OK)
		tell("%lld", (long long)wish->count);
	return err;
}

static enum err do_again(struct db *db)
{
	return send_again(
	    db, &(struct outbox_wish){ .id = world.settled_id, .now_ms = NOW + 80 });
}

static enum err do_again_the_dead(struct db *db)
{
	return send_again(db, &(struct outbox_wish){ .state = "dead",
	                                             .until_ms = INT64_MAX,
	                                             .max = 5,
	                                             .now_ms = NOW + 80 });
}

static enum err do_ledger(struct db *db)
{
	const struct ledger_filter all = { .states = 7, .limit = 3 };
	struct ledger_entry *entries;
	char next[LEDGER_ID_SIZE];
	size_t count;
	enum err err = ledger_list(db, &all, &entries, &count, next);

	if (err != ERR_OK)
		return err;
	for (size_t i = 0; i < count; i++) {
		tell("%s %s;", entries[i].type, entries[i].url);
		ledger_entry_done(&entries[i]);
	}
	free(entries);
	return ERR_OK;
}

static enum err do_ledger_of_job(struct db *db)
{
	const struct ledger_filter f = { .states = 1u << LEDGER_PENDING,
		                             .job_id = world.running,
		                             .limit = 1 };
	struct ledger_entry *entries;
	char next[LEDGER_ID_SIZE];
	size_t count;
	enum err err = ledger_list(db, &f, &entries, &count, next);

	if (err != ERR_OK)
		return err;
	tell("%zu", count);
	for (size_t i = 0; i < count; i++)
		ledger_entry_done(&entries[i]);
	free(entries);
	return ERR_OK;
}

static enum err do_ledger_find(struct db *db)
{
	struct ledger_entry entry;
	char *body;
	enum err err = ledger_find(db, world.settled_id, &entry, &body);

	if (err != ERR_OK)
		return err;
	tell("%s %s", entry.type, body);
	ledger_entry_done(&entry);
	free(body);
	return ERR_OK;
}

static enum err do_ledger_log(struct db *db)
{
	struct ledger_attempt *log;
	size_t count;
	enum err err = ledger_log(db, world.settled, &log, &count);

	if (err != ERR_OK)
		return err;
	tell("%zu %s", count, log[0].reply);
	ledger_log_done(log, count);
	return ERR_OK;
}

/* --- removing, upkeep
 * --------------------------------------------------------------- */

static enum err do_remove(struct db *db)
{
	enum err err = db_begin(db, DB_SYNC_FULL, NULL);

	return err != ERR_OK
	           ? err
	           : db_finish(db, remove_job_in(db, world.waiting, NULL), NULL);
}

static enum err do_remove_old(struct db *db)
{
	int64_t count;
	enum err err = remove_old(db, NOW + 900, 10, &count, NULL);

	if (err == ERR_OK)
		tell("%lld", (long long)count);
	return err;
}

static enum err do_remove_retired(struct db *db)
{
	int64_t count;
	enum err err = remove_retired(db, INT64_MAX, 10, &count, NULL);

	if (err == ERR_OK)
		tell("%lld", (long long)count);
	return err;
}

static enum err do_changed(struct db *db)
{
	bool changed;
	enum err err = db_changed(db, &changed);

	if (err == ERR_OK)
		tell("%d", changed);
	return err;
}

static enum err do_free_bytes(struct db *db)
{
	int64_t bytes;

	return db_free_bytes(db, &bytes);
}

static enum err do_writable(struct db *db)
{
	return db_writable(db, NULL);
}

static enum err do_vacuum(struct db *db)
{
	return db_vacuum(db, NULL);
}

static enum err do_checkpoint(struct db *db)
{
	return db_checkpoint(db, true, NULL);
}

/* --- the file as a whole; on connections of their own
 * ------------------------------ */

static enum err open_once(enum db_role role)
{
	struct db *opened;
	enum err err = db_open(&conf, role, &opened, NULL);

	if (err == ERR_OK)
		db_close(opened);
	return err;
}

static enum err do_open(struct db *db)
{
	(void)db;
	return open_once(DB_WORKER);
}

static enum err do_open_to_read(struct db *db)
{
	(void)db;
	return open_once(DB_READER);
}

static enum err do_backup_check(struct db *db)
{
	(void)db;
	return backup_check(path, NULL);
}

static enum err do_backup_stats(struct db *db)
{
	struct backup_stats s;
	enum err err = backup_stats(path, &s, NULL);

	(void)db;
	if (err == ERR_OK)
		tell("%lld %lld %d", (long long)s.queued, (long long)s.artifact_bytes,
		     s.wal_bytes >= 0);
	return err;
}

/* A copy that failed is not there, not even in part. */
static enum err do_backup_copy(struct db *db)
{
	char copy[128], pattern[160];
	glob_t found = { 0 };
	enum err err;

	(void)db;
	snprintf(copy, sizeof(copy), "%s/copy", home);
	snprintf(pattern, sizeof(pattern), "%s*", copy);
	err = backup_copy(path, copy, NULL);
	CHECK_INT(unlink(copy), err == ERR_OK ? 0 : -1);
	CHECK_INT(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
	globfree(&found);
	return err;
}

struct operation {
	const char *name;
	enum err (*run)(struct db *db);
	enum err want; /* of a run that nothing fails */
	enum err or ;  /* what it may tell of a failure as well */
	bool harmless; /* it may be done though it tells of a failure behind that */
};

#define OP(what)                                                                   \
	{                                                                              \
		.name = #what, .run = do_##what                                            \
	}

static const struct operation operations[] = {
	OP(submit),
	OP(submit_all),
	{ "submit_too_many", do_submit_too_many, .want = ERR_LIMIT },
	OP(heads),
	OP(id),
	{ "release_held", do_release_held, .harmless = true },
	OP(claim),
	OP(working),
	OP(done),
	OP(failed),
	OP(back),
	OP(recover),
	OP(expire),
	OP(cancel_waiting),
	OP(cancel_running),
	OP(cancel_wanted),
	OP(look_done),
	OP(look_waiting),
	{ "look_removed", do_look_removed, .want = ERR_DENIED },
	OP(look_step),
	OP(look_events),
	OP(look_events_behind_the_last),
	OP(look_body),
	OP(look_jobs),
	OP(look_waiting_of_model),
	OP(look_batch),
	OP(look_queue),
	OP(gauge),
	OP(status),
	OP(status_write),
	OP(status_write_tags),
	OP(pace),
	OP(drain_ms),
	OP(artifact),
	OP(due),
	OP(defer),
	OP(delivered),
	OP(retry),
	{ "dead_twice", do_dead_twice, .want = ERR_STALE },
	OP(wake),
	OP(again),
	OP(again_the_dead),
	OP(ledger),
	OP(ledger_of_job),
	OP(ledger_find),
	OP(ledger_log),
	OP(remove),
	OP(remove_old),
	OP(remove_retired),
	OP(changed),
	OP(free_bytes),
	OP(writable),
	OP(vacuum),
	OP(checkpoint),
	OP(open),
	OP(open_to_read),
	/* a page that cannot be had counts as damage; the text has SQLite's code */
	{ .name = "backup_check", .run = do_backup_check, .or = ERR_INVAL },
	OP(backup_stats),
	OP(backup_copy),
};

/* --- again and again
 * ------------------------------------------------------------------ */

/* The answers that are right when this fails. */
static bool tells(enum fault kind, enum err err)
{
	switch (kind) {
	case FAULT_MEMORY:
		return err == ERR_NOMEM;
	case FAULT_WRITE:
		return err == ERR_FULL;
	default:
		return err == ERR_IO;
	}
}

/* Prepared statements are part of what can fail. */
static void forget_statements(struct db *db)
{
	for (size_t i = 0; i < SQL_CACHE; i++) {
		sqlite3_finalize(db->cache[i].stmt);
		db->cache[i].stmt = NULL;
		db->cache[i].text = NULL;
	}
}

static enum err attempt(struct db *db, const struct operation *op, enum fault kind,
                        long nth, bool *fired)
{
	enum err err;

	forget_statements(db);
	answer[0] = '\0';
	fault_at(db, kind, nth);
	err = op->run(db);
	*fired = fault_end(db);
	return err;
}

/* What an operation left is part of what it tells: how much of everything. */
static void tell_rows(struct db *watcher)
{
	static const char *const tables[] = {
		"jobs",     "inputs",  "events",           "artifacts", "artifact_chunks",
		"webhooks", "retired", "webhook_attempts", "models",    "waiting"
	};
	char question[64];

	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		snprintf(question, sizeof(question), "SELECT count(*) FROM %s", tables[i]);
		tell(" %lld", (long long)ask_int(watcher, question));
	}
	CHECK_INT(wrong_figures(watcher), 0);
}

static bool changed_since(struct db *watcher)
{
	bool changed = true;

	return db_changed(watcher, &changed) != ERR_OK || changed;
}

static void complain(const struct operation *op, enum fault kind, long nth,
                     const char *what, enum err err)
{
	t_failed = true;
	printf("# %s: %s %ld failed: %s: %s %s\n", op->name, fault_names[kind], nth,
	       what, err_name(err), answer);
}

/* The first ones, then one in ever so many: where there are some ten allocations
 * there are a thousand steps. */
static long next_of(enum fault kind, long nth)
{
	return nth + 1 + nth / (kind == FAULT_STEP ? 2 : 16);
}

/*
 * From call *nth on, until one fails and it does not matter (SQLite can do
 * without some memory): that changes the world. False: none failed.
 */
static bool fail_in_turn(const struct operation *op, enum fault kind, long *nth)
{
	struct db *db = db_of(DB_WORKER), *watcher = db_of(DB_READER);
	bool fired;
	enum err err;

	changed_since(watcher);
	for (;; *nth = next_of(kind, *nth)) {
		err = attempt(db, op, kind, *nth, &fired);
		if (!fired || err == op->want)
			break;
		if (!tells(kind, err) && (err == ERR_OK || err != op->or))
			complain(op, kind, *nth, "it answers", err);
		if (changed_since(watcher) && !op->harmless)
			complain(op, kind, *nth, "half done", err);
	}
	if (err != op->want)
		complain(op, kind, *nth, "and then", err);
	tell_rows(watcher);
	*nth = next_of(kind, *nth);
	db_close(watcher);
	db_close(db);
	return fired;
}

/* The same, each time in a world where it has not been done. How many failed. */
static long sweep(const struct operation *op, enum fault kind)
{
	char usual[sizeof(answer)] = "";
	bool fired = true;
	long nth = 0; /* none fails: so it is usually */

	while (fired || nth == 1) {
		world_make();
		fired = fail_in_turn(op, kind, &nth);
		if (!usual[0])
			snprintf(usual, sizeof(usual), "%s", answer);
		else if (strcmp(answer, usual) != 0)
			complain(op, kind, nth, "it tells something else", op->want);
		world_end();
	}
	return nth;
}

static void sweep_all(enum fault kind)
{
	long count = 0;

	for (size_t i = 0; i < ARRAY_LEN(operations); i++)
		count += sweep(&operations[i], kind);
	CHECK(count > 3 * (long)ARRAY_LEN(operations)); /* the faults do come */
}

static void without_memory_nothing_is_half_done(void)
{
	sweep_all(FAULT_MEMORY);
}

static void a_statement_that_fails_leaves_nothing_half_done(void)
{
	sweep_all(FAULT_STEP);
}

static void a_disk_that_takes_no_more_leaves_nothing_half_done(void)
{
	sweep_all(FAULT_WRITE);
}

/* The first opening of all: what it got to, the next one goes on from. */
static void a_set_up_that_fails_is_made_good_by_the_next(void)
{
	for (int kind = 0; kind < FAULT_COUNT; kind++) {
		bool fired = true;

		for (long nth = 1; fired; nth += 1 + nth / 4) {
			struct db *db = NULL;
			enum err err;

			home_new();
			fault_at(NULL, (enum fault)kind, nth);
			err = db_open(&conf, DB_WORKER, &db, NULL);
			fired = fault_end(NULL);
			CHECK(err == ERR_OK || (fired && tells((enum fault)kind, err)));
			if (err == ERR_OK)
				db_close(db);
			db = db_of(DB_WORKER);
			job_put(db, "m:latest", false);
			CHECK_STR(ask_text(db, "PRAGMA integrity_check"), "ok");
			CHECK_INT(wrong_figures(db), 0);
			db_gone(db);
		}
	}
}

static void on_done(struct group_post *post, const struct errtext *why)
{
	(void)post;
	(void)why;
	t_note(false, __FILE__, __LINE__, "nobody is told of what was not taken");
}

static void a_group_without_memory_takes_nothing(void)
{
	struct submission sub = { .body = SPAN_LIT("{}") };
	struct group_post post = { .sub = &sub, .done = on_done };
	struct group *g = NULL;
	enum err err;

	home_new();
	for (long nth = 1;; nth = next_of(FAULT_MEMORY, nth)) {
		starve_at(nth);
		err = group_open(&conf, &no_limits, &g, NULL);
		if (!starve_end())
			break;
		CHECK(err == ERR_NOMEM || err == ERR_OK); /* SQLite may do without */
		CHECK_INT(g != NULL, err == ERR_OK);
		group_close(g);
		g = NULL;
	}
	CHECK_INT(err, ERR_OK);
	starve_at(1);
	CHECK_INT(group_post(g, &post), ERR_NOMEM);
	CHECK(starve_end());
	group_close(g);
	home_remove();
}

int main(void)
{
	static const struct t_case cases[] = {
		T(without_memory_nothing_is_half_done),
		T(a_statement_that_fails_leaves_nothing_half_done),
		T(a_disk_that_takes_no_more_leaves_nothing_half_done),
		T(a_set_up_that_fails_is_made_good_by_the_next),
		T(a_group_without_memory_takes_nothing),
	};

	faults_install();
	return t_run(cases, ARRAY_LEN(cases));
}
