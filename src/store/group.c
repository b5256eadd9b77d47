/*
 * group.c - who waits, who leads, and what one transaction takes along.
 *
 * A thread puts its turn (on its own stack) at the end of the list. If nobody
 * leads it leads: it waits for the gate, takes what waits by then, commits
 * that, wakes those it served, and hands the lead to the first who came
 * meanwhile. So nobody works for others longer than one commit, and one fsync
 * serves everybody who arrived during the last one.
 * A posted turn has no thread that waits. The committer, a thread of the
 * group's own, leads when one of those is first, and tells all of them how it
 * went, whoever led: telling is work, and a client that waits for its own
 * turn must not be held up by it.
 * A batch is a turn that shares its transaction with no other: it is all or
 * nothing, and theirs is not to be undone with it.
 * A turn that waits may give up; one that was taken may not, but has nothing
 * left to wait for than the disk. The connection belongs to whoever leads.
 */
#include <config.h>

#include "store/group.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "core/limits.h"
#include "store/remove.h"

#define TURNS_MAX 256 /* turns in one transaction; bounds how long it takes */

/* What has been decided about a turn. */
enum verdict { NONE, LEAD, DONE };

struct turn {
	struct turn *next; /* this and `bound`: under the group's lock */
	bool bound;        /* taken by a leader, or chosen to lead */
	struct group_post *post; /* nobody waits: the turn is on the heap, and the
	                      members up to `result` are not used */

	/* Posted once, when the verdict is there. A semaphore of its own, so that
	 * those who are woken meet at no lock, and hold nobody up. The verdict is
	 * atomic because TSan knows nothing of sem_clockwait. */
	sem_t decided;
	_Atomic enum verdict verdict;

	enum err result;
	struct errtext why;
	/* what is asked for: one of these five */
	struct submission *sub;
	struct submission *const *batch;
	const char *cancel_id;
	const char *remove_id;
	struct outbox_wish *wish;

	size_t count; /* of the batch */
	size_t at;    /* whose the result is */
	int64_t now_ms;
	enum queue_cancel_answer answer;
};

struct group {
	struct db *db; /* used by the leader only */
	struct queue_limits limits;
	pthread_mutex_t lock; /* guards all below */
	struct turn *first;
	struct turn **end;
	bool led;

	pthread_t committer;
	pthread_cond_t wanted;  /* there is something for the committer */
	pthread_cond_t settled; /* nothing is left to tell */
	bool lead_wanted;       /* it is to lead */
	struct turn *served;    /* posted turns to tell, in order */
	struct turn **served_end;
	size_t posts;           /* not yet told */
	bool closing;
};

static void *committer_main(void *arg);

static void release(struct group *g)
{
	db_close(g->db);
	pthread_cond_destroy(&g->wanted);
	pthread_cond_destroy(&g->settled);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

enum err group_open(const struct db_conf *conf, const struct queue_limits *limits,
                    struct group **out, struct errtext *why)
{
	struct group *g = calloc(1, sizeof(*g));
	enum err err;

	if (!g)
		return ERR_NOMEM;
	err = db_open(conf, DB_WRITER, &g->db, why);
	if (err != ERR_OK) {
		free(g);
		return err;
	}
	g->limits = *limits;
	g->end = &g->first;
	g->served_end = &g->served;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->wanted, NULL);
	pthread_cond_init(&g->settled, NULL);
	if (pthread_create(&g->committer, NULL, committer_main, g)) {
		release(g);
		errtext_set(why, "no thread to commit with");
		return ERR_NOMEM;
	}
	*out = g;
	return ERR_OK;
}

void group_close(struct group *g)
{
	if (!g)
		return;
	pthread_mutex_lock(&g->lock);
	g->closing = true;
	pthread_cond_signal(&g->wanted);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->committer, NULL);
	release(g);
}

/* --- the leader's work ----------------------------------------------------- */

/* On disk at once, unless only attended jobs are in it. */
static enum db_sync sync_for(struct turn *const *turns, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!turns[i]->sub || !turns[i]->sub->job->attended)
			return DB_SYNC_FULL;
	return DB_SYNC_NORMAL;
}

static enum err submit_all(struct group *g, struct turn *const *turns, size_t count,
                           struct errtext *why)
{
	struct submission *subs[TURNS_MAX];
	size_t n = 0;
	enum err err;

	for (size_t i = 0; i < count; i++)
		if (turns[i]->sub)
			subs[n++] = turns[i]->sub;
	err = queue_submit(g->db, subs, n, &g->limits, why);
	for (size_t i = 0; i < count && err == ERR_OK; i++)
		if (turns[i]->sub)
			turns[i]->result = turns[i]->sub->result;
	return err;
}

/* After the submissions, so that a job can be canceled by who just got its id. */
static enum err cancel_all(struct group *g, struct turn *const *turns, size_t count,
                           struct errtext *why)
{
	for (size_t i = 0; i < count; i++) {
		struct turn *t = turns[i];

		if (!t->cancel_id)
			continue;
		t->result =
		    queue_cancel_in(g->db, t->cancel_id, t->now_ms, &t->answer, why);
		if (t->result != ERR_OK && t->result != ERR_NOENT)
			return t->result;
	}
	return ERR_OK;
}

static enum err remove_all(struct group *g, struct turn *const *turns, size_t count,
                           struct errtext *why)
{
	for (size_t i = 0; i < count; i++) {
		struct turn *t = turns[i];

		if (!t->remove_id)
			continue;
		t->result = remove_job_in(g->db, t->remove_id, why);
		if (t->result != ERR_OK && t->result != ERR_NOENT)
			return t->result;
	}
	return ERR_OK;
}

static enum err send_again_all(struct group *g, struct turn *const *turns,
                               size_t count, struct errtext *why)
{
	for (size_t i = 0; i < count; i++) {
		struct turn *t = turns[i];

		if (!t->wish)
			continue;
		t->result = outbox_again(g->db, t->wish, why);
		if (t->result != ERR_OK && t->result != ERR_NOENT)
			return t->result;
	}
	return ERR_OK;
}

/* All that was asked for, in the open transaction. */
static enum err do_all(struct group *g, struct turn *const *turns, size_t count,
                       struct errtext *why)
{
	struct turn *first = turns[0];
	enum err err;

	assert(count > 0);
	if (first->batch)
		return queue_submit_all(g->db, first->batch, first->count, &g->limits,
		                        &first->at, why);
	err = submit_all(g, turns, count, why);
	if (err == ERR_OK)
		err = cancel_all(g, turns, count, why);
	if (err == ERR_OK)
		err = remove_all(g, turns, count, why);
	if (err == ERR_OK)
		err = send_again_all(g, turns, count, why);
	return err;
}

/* `err` is how taking the gate went. */
static void serve(struct group *g, struct turn *const *turns, size_t count,
                  enum err err, struct errtext *why)
{
	if (err == ERR_OK)
		err = db_begin(g->db, sync_for(turns, count), why);
	if (err == ERR_OK)
		err = db_finish(g->db, do_all(g, turns, count, why), why);
	for (size_t i = 0; i < count && err != ERR_OK; i++) {
		turns[i]->result = err;
		turns[i]->why = *why;
	}
}

/* --- the list; with the group's lock held ---------------------------------- */

static void append(struct group *g, struct turn *t)
{
	*g->end = t;
	g->end = &t->next;
}

static void remove_turn(struct group *g, struct turn *t)
{
	struct turn **at = &g->first;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	if (g->end == &t->next)
		g->end = at;
}

/* A batch alone, or all up to the next one. */
static size_t take_turns(struct group *g, struct turn **turns)
{
	size_t count = 0;

	while (g->first && count < TURNS_MAX) {
		struct turn *t = g->first;

		if (count > 0 && (t->batch || turns[0]->batch))
			break;
		g->first = t->next;
		t->bound = true;
		turns[count++] = t;
	}
	if (!g->first)
		g->end = &g->first;
	return count;
}

/* --- turns ----------------------------------------------------------------- */

/* The turn may be gone with this. */
static void decide(struct turn *t, enum verdict verdict)
{
	t->verdict = verdict;
	sem_post(&t->decided);
}

/* Until somebody decides, or the deadline (NULL: none): NONE. */
static enum verdict await(struct turn *t, const struct timespec *deadline)
{
	int rc;

	do
		rc = deadline ? sem_clockwait(&t->decided, CLOCK_MONOTONIC, deadline)
		              : sem_wait(&t->decided);
	while (rc != 0 && errno == EINTR);
	return rc == 0 ? t->verdict : NONE;
}

/* Take oneself out of the list; false if that is too late. */
static bool give_up(struct group *g, struct turn *t)
{
	bool in_time;

	pthread_mutex_lock(&g->lock);
	in_time = !t->bound;
	if (in_time)
		remove_turn(g, t);
	pthread_mutex_unlock(&g->lock);
	return in_time;
}

/* Whose is the lead after this one? The heir, if it is a thread that waits;
 * the lock is held. */
static struct turn *pass_lead(struct group *g)
{
	struct turn *heir = g->first;

	if (!heir) {
		g->led = false;
	} else if (heir->post) {
		g->lead_wanted = true;
		pthread_cond_signal(&g->wanted);
		heir = NULL;
	} else {
		heir->bound = true;
	}
	return heir;
}

/* Leave the posted ones of these turns to the committer, who may free them at
 * once; how many others are left, in front. The lock is held. */
static size_t add_served(struct group *g, struct turn **turns, size_t count)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		struct turn *t = turns[i];

		if (!t->post) {
			turns[left++] = t;
			continue;
		}
		t->next = NULL;
		*g->served_end = t;
		g->served_end = &t->next;
	}
	if (left < count)
		pthread_cond_signal(&g->wanted);
	return left;
}

/* One commit. `own` is the caller's turn, first in the list; NULL for the
 * committer. */
static void lead(struct group *g, const struct turn *own)
{
	struct turn *turns[TURNS_MAX] = { NULL }, *heir;
	struct errtext why = { "" };
	enum err err = db_enter(g->db, &why);
	size_t count;

	pthread_mutex_lock(&g->lock);
	count = take_turns(g, turns);
	pthread_mutex_unlock(&g->lock);
	serve(g, turns, count, err, &why);
	pthread_mutex_lock(&g->lock);
	count = add_served(g, turns, count);
	pthread_mutex_unlock(&g->lock);
	for (size_t i = 0; i < count; i++)
		if (turns[i] != own)
			decide(turns[i], DONE);
	pthread_mutex_lock(&g->lock);
	heir = pass_lead(g);
	pthread_mutex_unlock(&g->lock);
	if (heir)
		decide(heir, LEAD);
}

/* Be served, or lead: false when neither happened in time. */
static bool take_turn(struct group *g, struct turn *t)
{
	enum verdict verdict = LEAD;
	struct timespec deadline;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += LIMIT_SUBMIT_WAIT_MS / 1000;
	pthread_mutex_lock(&g->lock);
	append(g, t);
	if (g->led)
		verdict = NONE;
	g->led = true;
	pthread_mutex_unlock(&g->lock);
	if (verdict == NONE)
		verdict = await(t, &deadline);
	if (verdict == NONE && give_up(g, t))
		return false;
	if (verdict == NONE)
		verdict = await(t, NULL);
	if (verdict == LEAD)
		lead(g, t);
	return true;
}

static enum err run_turn(struct group *g, struct turn *t, struct errtext *why)
{
	sem_init(&t->decided, 0, 0);
	if (!take_turn(g, t)) {
		t->result = ERR_BUSY;
		errtext_set(&t->why, "no turn to write within %d ms", LIMIT_SUBMIT_WAIT_MS);
	}
	sem_destroy(&t->decided);
	if (why && t->result != ERR_OK)
		*why = t->why;
	return t->result;
}

/* --- posted turns ---------------------------------------------------------- */

static void tell(struct turn *t)
{
	struct group_post *post = t->post;
	struct errtext why = t->why;

	post->sub->result = t->result;
	free(t);
	post->done(post, &why);
}

/* Tell all that were served; the lock is held, but not while telling. */
static void tell_served(struct group *g)
{
	struct turn *t = g->served;
	size_t told = 0;

	g->served = NULL;
	g->served_end = &g->served;
	pthread_mutex_unlock(&g->lock);
	while (t) {
		struct turn *next = t->next;

		tell(t);
		told++;
		t = next;
	}
	pthread_mutex_lock(&g->lock);
	g->posts -= told;
	if (!g->posts)
		pthread_cond_broadcast(&g->settled);
}

static void *committer_main(void *arg)
{
	struct group *g = arg;

	pthread_mutex_lock(&g->lock);
	for (;;) {
		if (g->lead_wanted) {
			g->lead_wanted = false;
			pthread_mutex_unlock(&g->lock);
			lead(g, NULL);
			pthread_mutex_lock(&g->lock);
		}
		if (g->served)
			tell_served(g);
		else if (!g->lead_wanted && g->closing)
			break;
		else if (!g->lead_wanted)
			pthread_cond_wait(&g->wanted, &g->lock);
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

/* --- what callers see ------------------------------------------------------ */

enum err group_submit(struct group *g, struct submission *sub, struct errtext *why)
{
	struct turn t = { .sub = sub };

	sub->result = run_turn(g, &t, why);
	return sub->result;
}

enum err group_batch(struct group *g, struct submission *const *subs, size_t count,
                     size_t *at, struct errtext *why)
{
	struct turn t = { .batch = subs, .count = count, .at = count };
	enum err err = run_turn(g, &t, why);

	*at = t.at;
	return err;
}

enum err group_cancel(struct group *g, const char *id, int64_t now_ms,
                      enum queue_cancel_answer *out, struct errtext *why)
{
	struct turn t = { .cancel_id = id, .now_ms = now_ms };
	enum err err = run_turn(g, &t, why);

	if (err == ERR_OK)
		*out = t.answer;
	return err;
}

enum err group_remove(struct group *g, const char *id, struct errtext *why)
{
	struct turn t = { .remove_id = id };

	return run_turn(g, &t, why);
}

enum err group_again(struct group *g, struct outbox_wish *wish, struct errtext *why)
{
	struct turn t = { .wish = wish };

	return run_turn(g, &t, why);
}

enum err group_post(struct group *g, struct group_post *post)
{
	struct turn *t = calloc(1, sizeof(*t));
	enum err e = ERR_OK;

	if (!t)
		return ERR_NOMEM;
	t->post = post;
	t->sub = post->sub;
	pthread_mutex_lock(&g->lock);
	if (g->posts == GROUP_POSTS_MAX) {
		e = ERR_BUSY;
	} else {
		g->posts++;
		append(g, t);
		if (!g->led) {
			g->led = g->lead_wanted = true;
			pthread_cond_signal(&g->wanted);
		}
	}
	pthread_mutex_unlock(&g->lock);
	if (e)
		free(t);
	return e;
}

void group_settle(struct group *g)
{
	pthread_mutex_lock(&g->lock);
	while (g->posts)
		pthread_cond_wait(&g->settled, &g->lock);
	pthread_mutex_unlock(&g->lock);
}
