/*
 * group.c - who waits, who leads, and what one transaction takes along.
 *
 * A thread puts its turn (on its own stack) at the end of the list. If nobody
 * leads it leads: it takes what waits, commits that, wakes those it served,
 * and hands the lead to the first who came meanwhile. So nobody works for
 * others longer than one commit, and one fsync serves everybody who arrived
 * during the last one.
 * A posted turn has no thread that waits. The committer, a thread of the
 * group's own, leads when one of those is first, and tells all of them how it
 * went, whoever led: telling is work, and a client that waits for its own
 * turn must not be held up by it.
 * A turn that waits may give up; one that was taken may not: its leader's
 * wait for the gate is bounded. The connection belongs to whoever leads.
 */
#include <config.h>

#include "store/group.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "core/limits.h"

#define BATCH_MAX 256 /* turns in one transaction; bounds how long it takes */

/* What has been decided about a turn. */
enum verdict { NONE, LEAD, DONE };

struct turn {
	struct turn *next; /* this and `bound`: under the group's lock */
	bool bound;        /* taken by a leader, or chosen to lead */
	struct group_post *post; /* nobody waits: the turn is on the heap, and the
	                      members up to `result` are not used */

	/* A lock of its own, so that those who are woken do not meet at the
	 * group's, and the leader is not held up by them. */
	pthread_mutex_t lock;
	pthread_cond_t decided;
	enum verdict verdict; /* under `lock` */

	enum err result;
	struct errtext why;
	struct submission *sub; /* or NULL: a cancel */
	const char *cancel_id;
	int64_t now_ms;
	enum queue_cancel_answer answer;
};

struct group {
	struct db *db; /* used by the leader only */
	struct queue_limits limits;
	pthread_condattr_t monotonic;
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
	pthread_condattr_destroy(&g->monotonic);
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
	pthread_condattr_init(&g->monotonic);
	pthread_condattr_setclock(&g->monotonic, CLOCK_MONOTONIC);
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
static enum db_sync sync_for(struct turn *const *batch, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!batch[i]->sub || !batch[i]->sub->job->attended)
			return DB_SYNC_FULL;
	return DB_SYNC_NORMAL;
}

static enum err submit_all(struct group *g, struct turn *const *batch, size_t count,
                           struct errtext *why)
{
	struct submission *subs[BATCH_MAX];
	size_t n = 0;
	enum err err;

	for (size_t i = 0; i < count; i++)
		if (batch[i]->sub)
			subs[n++] = batch[i]->sub;
	err = queue_submit(g->db, subs, n, &g->limits, why);
	for (size_t i = 0; i < count && err == ERR_OK; i++)
		if (batch[i]->sub)
			batch[i]->result = batch[i]->sub->result;
	return err;
}

/* After the submissions, so that a job can be canceled by who just got its id. */
static enum err cancel_all(struct group *g, struct turn *const *batch, size_t count,
                           struct errtext *why)
{
	for (size_t i = 0; i < count; i++) {
		struct turn *t = batch[i];

		if (t->sub)
			continue;
		t->result =
		    queue_cancel_in(g->db, t->cancel_id, t->now_ms, &t->answer, why);
		if (t->result != ERR_OK && t->result != ERR_NOENT)
			return t->result;
	}
	return ERR_OK;
}

static void serve(struct group *g, struct turn *const *batch, size_t count)
{
	struct errtext why = { "" };
	enum err err = db_begin(g->db, sync_for(batch, count), &why);

	if (err == ERR_OK) {
		err = submit_all(g, batch, count, &why);
		if (err == ERR_OK)
			err = cancel_all(g, batch, count, &why);
		err = db_finish(g->db, err, &why);
	}
	for (size_t i = 0; i < count && err != ERR_OK; i++) {
		batch[i]->result = err;
		batch[i]->why = why;
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

static size_t take_batch(struct group *g, struct turn **batch)
{
	size_t count = 0;

	while (g->first && count < BATCH_MAX) {
		struct turn *t = g->first;

		g->first = t->next;
		t->bound = true;
		batch[count++] = t;
	}
	if (!g->first)
		g->end = &g->first;
	return count;
}

/* --- turns ----------------------------------------------------------------- */

/* The turn may be gone the moment its lock is free again. */
static void decide(struct turn *t, enum verdict verdict)
{
	pthread_mutex_lock(&t->lock);
	t->verdict = verdict;
	pthread_cond_signal(&t->decided);
	pthread_mutex_unlock(&t->lock);
}

/* Until somebody decides, or the deadline (NULL: none). */
static enum verdict await(struct turn *t, const struct timespec *deadline)
{
	enum verdict verdict;
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	while (t->verdict == NONE && rc != ETIMEDOUT)
		rc = deadline ? pthread_cond_timedwait(&t->decided, &t->lock, deadline)
		              : pthread_cond_wait(&t->decided, &t->lock);
	verdict = t->verdict;
	pthread_mutex_unlock(&t->lock);
	return verdict;
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

/* Leave the posted turns of a batch to the committer, who may free them at
 * once; how many others are left, in front. The lock is held. */
static size_t add_served(struct group *g, struct turn **batch, size_t count)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		struct turn *t = batch[i];

		if (!t->post) {
			batch[left++] = t;
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
	struct turn *batch[BATCH_MAX], *heir;
	size_t count;

	pthread_mutex_lock(&g->lock);
	count = take_batch(g, batch);
	pthread_mutex_unlock(&g->lock);
	serve(g, batch, count);
	pthread_mutex_lock(&g->lock);
	count = add_served(g, batch, count);
	pthread_mutex_unlock(&g->lock);
	for (size_t i = 0; i < count; i++)
		if (batch[i] != own)
			decide(batch[i], DONE);
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
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->decided, &g->monotonic);
	if (!take_turn(g, t)) {
		t->result = ERR_BUSY;
		errtext_set(&t->why, "no turn to write within %d ms", LIMIT_SUBMIT_WAIT_MS);
	}
	pthread_cond_destroy(&t->decided);
	pthread_mutex_destroy(&t->lock);
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

enum err group_cancel(struct group *g, const char *id, int64_t now_ms,
                      enum queue_cancel_answer *out, struct errtext *why)
{
	struct turn t = { .cancel_id = id, .now_ms = now_ms };
	enum err err = run_turn(g, &t, why);

	if (err == ERR_OK)
		*out = t.answer;
	return err;
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
