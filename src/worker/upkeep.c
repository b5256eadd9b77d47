/*
 * upkeep.c - what must be done now and then.
 *
 * Owns five timers. Only this connection checkpoints, and only from here (and
 * at the worker's end); with FOREMAN_CHECKPOINTER=other it does not either, but
 * says so when nobody does. Wall-clock times are looked at again at least every
 * LIMIT_UPKEEP_MS, so a clock that steps costs no more than that.
 */
#include <config.h>

#include "worker/upkeep.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/limits.h"
#include "store/queue.h"
#include "store/remove.h"

enum chore {
	CHORE_HOLDS,
	CHORE_EXPIRY,
	CHORE_PRUNE,
	CHORE_WAL,
	CHORE_ROOM,
	CHORE_COUNT
};

struct upkeep {
	struct loop *loop;
	struct db *db;
	const struct conf *conf;
	struct upkeep_calls calls;
	void *arg;
	struct loop_timer timers[CHORE_COUNT];
	bool failing[CHORE_COUNT]; /* logged once */
	int64_t wal_bytes;         /* at the last look */
	int64_t wal_since_mono_ms; /* unchanged since */
	bool wal_large;            /* logged */
};

static void outcome(struct upkeep *u, enum chore chore, enum err e,
                    const struct errtext *why)
{
	static const char *const words[CHORE_COUNT] = {
		[CHORE_HOLDS] = "cannot release held jobs",
		[CHORE_EXPIRY] = "cannot expire jobs",
		[CHORE_PRUNE] = "cannot remove old jobs",
		[CHORE_WAL] = "cannot checkpoint",
		[CHORE_ROOM] = "cannot give room back",
	};

	if (e != ERR_OK && !u->failing[chore])
		log_event(LOG_ERROR, words[chore],
		          KV_S("why", why->s[0] ? why->s : err_name(e)));
	u->failing[chore] = e != ERR_OK;
}

static void again(struct upkeep *u, enum chore chore, int64_t delay_ms)
{
	loop_timer_set(u->loop, &u->timers[chore], delay_ms);
}

static void holds_due(void *arg)
{
	struct upkeep *u = arg;
	struct errtext why = { "" };
	int64_t now_ms = clock_wall_ms();
	int64_t next_ms = 0;
	int64_t delay_ms = LIMIT_UPKEEP_MS;
	enum err e = queue_release_held(u->db, now_ms, &next_ms);

	outcome(u, CHORE_HOLDS, e, &why);
	u->calls.released(u->arg);
	if (next_ms > now_ms && next_ms - now_ms < delay_ms)
		delay_ms = next_ms - now_ms;
	again(u, CHORE_HOLDS, delay_ms);
}

static void expiry_due(void *arg)
{
	struct upkeep *u = arg;
	struct errtext why = { "" };
	int64_t count = 0;
	enum err e =
	    queue_expire(u->db, clock_wall_ms(), LIMIT_STEP_MOVES, &count, &why);

	outcome(u, CHORE_EXPIRY, e, &why);
	if (count > 0) {
		log_event(LOG_INFO, "jobs expired", KV_I("jobs", count));
		u->calls.expired(u->arg);
	}
	again(u, CHORE_EXPIRY, count == LIMIT_STEP_MOVES ? 0 : LIMIT_UPKEEP_MS);
}

static void prune_due(void *arg)
{
	struct upkeep *u = arg;
	struct errtext why = { "" };
	int64_t now_ms = clock_wall_ms();
	int64_t count = 0, forgotten = 0;
	enum err e = ERR_OK;

	if (u->conf->retention_ms > 0)
		e = remove_old(u->db, now_ms - u->conf->retention_ms, LIMIT_PRUNE_BATCH,
		               &count, &why);
	if (e == ERR_OK)
		e = remove_retired(u->db, now_ms - LIMIT_RETIRED_MS, LIMIT_RETIRED_BATCH,
		                   &forgotten, &why);
	outcome(u, CHORE_PRUNE, e, &why);
	if (count > 0)
		log_event(LOG_INFO, "old jobs removed", KV_I("jobs", count));
	again(u, CHORE_PRUNE,
	      count == LIMIT_PRUNE_BATCH || forgotten == LIMIT_RETIRED_BATCH
	          ? LIMIT_WAL_CHECK_MS
	          : LIMIT_PRUNE_MS);
}

bool upkeep_wal_due(int64_t bytes, int64_t bytes_before, int64_t unchanged_ms)
{
	if (bytes > LIMIT_WAL_BYTES)
		return true;
	return bytes > LIMIT_WAL_IDLE_BYTES && bytes == bytes_before &&
	       unchanged_ms >= LIMIT_WAL_IDLE_MS;
}

bool upkeep_wal_shrink(int64_t bytes)
{
	return bytes <= LIMIT_WAL_BYTES || bytes > LIMIT_WAL_LARGE;
}

/* A reader with an old view keeps the WAL growing; it is told of once. */
static void tell_wal(struct upkeep *u, int64_t bytes, enum err e)
{
	if (e == ERR_BUSY && bytes > LIMIT_WAL_LARGE && !u->wal_large) {
		log_event(LOG_WARN,
		          u->conf->other_checkpoints
		              ? "the other checkpointer does not empty the WAL"
		              : "a reader keeps the WAL from being emptied",
		          KV_I("bytes", bytes));
		u->wal_large = true;
	} else if (e == ERR_OK && u->wal_large) {
		log_event(LOG_INFO, "the WAL is emptied again", KV_I("bytes", bytes));
		u->wal_large = false;
	}
}

static enum err empty_wal(struct upkeep *u, int64_t bytes, struct errtext *why)
{
	if (u->conf->other_checkpoints)
		return bytes > LIMIT_WAL_LARGE ? ERR_BUSY : ERR_OK;
	return db_checkpoint(u->db, upkeep_wal_shrink(bytes), why);
}

static void wal_due(void *arg)
{
	struct upkeep *u = arg;
	struct errtext why = { "" };
	int64_t bytes = db_wal_bytes(u->db);
	int64_t now_ms = clock_mono_ms();
	int64_t delay_ms = LIMIT_UPKEEP_MS;
	enum err e = ERR_OK;

	if (upkeep_wal_due(bytes, u->wal_bytes, now_ms - u->wal_since_mono_ms)) {
		e = empty_wal(u, bytes, &why);
		tell_wal(u, bytes, e);
	}
	/* A reader in the way is nobody's fault, and writers wait meanwhile. */
	outcome(u, CHORE_WAL, e == ERR_BUSY ? ERR_OK : e, &why);
	if (bytes != u->wal_bytes) {
		u->wal_since_mono_ms = now_ms;
		delay_ms = LIMIT_WAL_CHECK_MS;
	}
	u->wal_bytes = bytes;
	again(u, CHORE_WAL, e == ERR_BUSY ? LIMIT_WAL_BUSY_MS : delay_ms);
}

/* Rows that were removed leave pages behind; a little is kept for new ones. */
static void room_due(void *arg)
{
	struct upkeep *u = arg;
	struct errtext why = { "" };
	int64_t free_bytes = 0;
	int64_t delay_ms = LIMIT_PRUNE_MS;
	enum err e = db_free_bytes(u->db, &free_bytes);

	if (e == ERR_OK && free_bytes > LIMIT_FREE_BYTES) {
		e = db_vacuum(u->db, &why);
		delay_ms = u->calls.busy(u->arg) || e != ERR_OK ? LIMIT_VACUUM_BUSY_MS
		                                                : LIMIT_VACUUM_IDLE_MS;
	}
	outcome(u, CHORE_ROOM, e, &why);
	again(u, CHORE_ROOM, delay_ms);
}

void upkeep_held(struct upkeep *u, int64_t until_ms)
{
	int64_t delay_ms = until_ms - clock_wall_ms();

	if (delay_ms < LIMIT_UPKEEP_MS)
		again(u, CHORE_HOLDS, delay_ms > 0 ? delay_ms : 0);
}

void upkeep_look(struct upkeep *u)
{
	for (int i = 0; i < CHORE_COUNT; i++)
		again(u, (enum chore)i, 0);
}

int64_t upkeep_slept_ms(int64_t *gap_ms)
{
	int64_t now_ms = clock_boot_ms() - clock_mono_ms();
	int64_t grown_ms = now_ms - *gap_ms;

	if (grown_ms < LIMIT_SLEPT_MS)
		return 0;
	*gap_ms = now_ms;
	return grown_ms;
}

enum err upkeep_new(struct loop *l, struct db *db, const struct conf *conf,
                    const struct upkeep_calls *calls, void *arg,
                    struct upkeep **out)
{
	static loop_timer_fn *const dues[CHORE_COUNT] = {
		[CHORE_HOLDS] = holds_due, [CHORE_EXPIRY] = expiry_due,
		[CHORE_PRUNE] = prune_due, [CHORE_WAL] = wal_due,
		[CHORE_ROOM] = room_due,
	};
	struct upkeep *u = calloc(1, sizeof(*u));

	if (!u)
		return ERR_NOMEM;
	u->loop = l;
	u->db = db;
	u->conf = conf;
	u->calls = *calls;
	u->arg = arg;
	for (int i = 0; i < CHORE_COUNT; i++)
		loop_timer_init(&u->timers[i], dues[i], u);
	upkeep_look(u);
	*out = u;
	return ERR_OK;
}

void upkeep_free(struct upkeep *u)
{
	if (!u)
		return;
	for (int i = 0; i < CHORE_COUNT; i++)
		loop_timer_stop(&u->timers[i]);
	free(u);
}
