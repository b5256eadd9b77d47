/*
 * keeper.c - the one thread that keeps parked clients.
 *
 * What other threads want stands under `lock`; an eventfd in the loop tells of
 * it. Who is kept, and how they are let go, the owner's calls know.
 */
#include <config.h>

#include "responder/keeper.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

/* --- from any thread -------------------------------------------------------- */

void keeper_wake(struct keeper *k)
{
	/* fails only when it is full of wake-ups already */
	(void)!eventfd_write(k->wake, 1);
}

void keeper_put(struct keeper *k, struct keeper_note *note)
{
	note->next = NULL;
	pthread_mutex_lock(&k->lock);
	*k->end = note;
	k->end = &note->next;
	pthread_mutex_unlock(&k->lock);
	keeper_wake(k);
}

size_t keeper_count(const struct keeper *k)
{
	return atomic_load(&k->count);
}

void keeper_drain(struct keeper *k, int64_t ms)
{
	pthread_mutex_lock(&k->lock);
	k->drain_mono_ms = clock_mono_ms() + ms;
	pthread_mutex_unlock(&k->lock);
	keeper_wake(k);
}

void keeper_close(struct keeper *k)
{
	pthread_mutex_lock(&k->lock);
	k->closed = true;
	pthread_mutex_unlock(&k->lock);
	keeper_wake(k);
}

int keeper_ended_fd(const struct keeper *k)
{
	return k->ended;
}

/* --- the thread ------------------------------------------------------------- */

static void on_drained(void *arg)
{
	struct keeper *k = arg;

	k->dismissed = true;
	k->calls->dismiss(k->arg);
}

static void on_wake(void *arg, uint32_t events)
{
	struct keeper *k = arg;
	struct keeper_note *note, *next;
	eventfd_t waste;
	int64_t drain;

	(void)events;
	(void)!eventfd_read(k->wake, &waste);
	pthread_mutex_lock(&k->lock);
	note = k->first;
	k->first = NULL;
	k->end = &k->first;
	drain = k->drain_mono_ms;
	k->drain_mono_ms = 0;
	k->leaving = k->closed;
	pthread_mutex_unlock(&k->lock);
	if (drain)
		loop_timer_set(k->loop, &k->drain, drain - loop_now_ms(k->loop));
	for (; note; note = next) {
		next = note->next;
		k->calls->take(k->arg, note);
	}
	if (k->calls->woken)
		k->calls->woken(k->arg);
	if (k->dismissed)
		k->calls->dismiss(k->arg);
}

static void *keeper_main(void *arg)
{
	struct keeper *k = arg;
	enum err e = ERR_OK;
	size_t here = 0;

	(void)pthread_setname_np(pthread_self(), k->calls->name);
	while (!e && !(k->leaving && !here)) {
		e = loop_turn(k->loop, -1, NULL);
		here = k->calls->turned(k->arg);
		atomic_store(&k->count, here);
	}
	if (e)
		log_event(LOG_ERROR, "parked clients are not kept any more",
		          KV_S("thread", k->calls->name), KV_S("reason", err_name(e)));
	k->calls->ended(k->arg);
	(void)!eventfd_write(k->ended, 1);
	return NULL;
}

/* --- made and unmade -------------------------------------------------------- */

enum err keeper_init(struct keeper *k, const struct keeper_calls *calls, void *arg)
{
	enum err e;

	*k = (struct keeper){ .calls = calls, .arg = arg };
	k->end = &k->first;
	pthread_mutex_init(&k->lock, NULL);
	k->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	k->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop_timer_init(&k->drain, on_drained, k);
	if (k->wake < 0 || k->ended < 0)
		return ERR_IO;
	e = loop_new(&k->loop);
	if (!e)
		e = loop_fd_add(k->loop, k->wake, EPOLLIN, on_wake, k, &k->wake_watch);
	return e;
}

enum err keeper_start(struct keeper *k)
{
	return pthread_create(&k->thread, NULL, keeper_main, k) ? ERR_NOMEM : ERR_OK;
}

void keeper_join(struct keeper *k)
{
	pthread_join(k->thread, NULL);
}

void keeper_done(struct keeper *k)
{
	while (k->first) {
		struct keeper_note *note = k->first;

		k->first = note->next;
		k->calls->drop(note);
	}
	loop_timer_stop(&k->drain);
	loop_fd_del(k->wake_watch);
	loop_free(k->loop);
	fd_close(&k->wake);
	fd_close(&k->ended);
	pthread_mutex_destroy(&k->lock);
}
