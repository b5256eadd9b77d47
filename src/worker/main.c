/*
 * main.c - foreman-worker: the one process that runs jobs.
 *
 * Arguments, settings, the lock that makes this worker the active one (until
 * then it stands by), resources, the loop, tidy.
 *
 *   SIGTERM, SIGINT   claim no more, give what runs up to LIMIT_DRAIN_MS,
 *                     send it back to the line, leave; a second one: at once
 *   SIGHUP            read FOREMAN_OLLAMA_TOKEN and FOREMAN_WEBHOOK_SECRET
 *                     again (from their _FILEs; the rest needs a restart)
 *
 * Leaves with 0, or sysexits' 64 (usage), 75 (try again), 78 (configuration).
 */
#include <config.h>

#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sig.h"
#include "core/conf.h"
#include "http/guard.h"
#include "http/loop.h"
#include "http/xfer.h"
#include "store/db.h"
#include "store/gate.h"
#include "store/queue.h"
#include "worker/deliver.h"
#include "worker/drain.h"
#include "worker/relay.h"
#include "worker/reply.h"
#include "worker/standby.h"
#include "worker/target.h"
#include "worker/upkeep.h"

struct worker {
	struct conf conf;
	int signals;       /* signalfd */
	struct gate *lock; /* held: this is the active worker */
	struct db *db;
	struct guard *guard;
	int relay_fd;
	struct loop *loop;
	struct loop_fd *signals_watch;
	struct replies *replies;
	struct relay *relay;
	struct target *target;
	struct upkeep *upkeep;
	struct drain *drain;
	struct deliver *deliver;
	int64_t sleep_gap_ms;  /* boot - mono, as last noted */
	int terms;             /* SIGTERMs so far */
	int64_t leave_mono_ms; /* at the latest, once terms > 0 */
};

/* --- arguments ------------------------------------------------------------- */

static void usage(FILE *to)
{
	fputs("usage: foreman-worker [--check-config | --help | --version]\n"
	      "\n"
	      "Claims and runs the jobs of FOREMAN_DB on FOREMAN_OLLAMA_URL, one at a\n"
	      "time, and posts the webhooks they owe. A second worker on the same\n"
	      "database stands by. Stays in the foreground, logs to standard error.\n"
	      "All settings come from the environment (FOREMAN_*).\n"
	      "\n"
	      "  --check-config   read and print the settings, then leave\n"
	      "  --help           print this\n"
	      "  --version        print the version\n",
	      to);
}

enum mode { MODE_RUN, MODE_CHECK, MODE_HELP, MODE_VERSION, MODE_WRONG };

static enum mode mode_of(int argc, char **argv)
{
	if (argc == 1)
		return MODE_RUN;
	if (argc > 2)
		return MODE_WRONG;
	if (strcmp(argv[1], "--check-config") == 0)
		return MODE_CHECK;
	if (strcmp(argv[1], "--help") == 0)
		return MODE_HELP;
	return strcmp(argv[1], "--version") == 0 ? MODE_VERSION : MODE_WRONG;
}

/* --- settings -------------------------------------------------------------- */

static bool has_directory(const char *key, const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX] = ".";
	struct stat st;
	bool good;

	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path) + 1, path);
	good = stat(dir, &st) == 0 && S_ISDIR(st.st_mode);
	if (!good)
		log_event(LOG_ERROR, "its directory does not exist", KV_S("key", key),
		          KV_S("path", path));
	return good;
}

/* 0, or what to leave with. */
static int read_settings(struct worker *w)
{
	struct errtext why = { "" };
	const char *key = NULL;
	enum err e = conf_load(environ, &w->conf, &why);

	if (e == ERR_OK) {
		log_init("worker", w->conf.log_level, w->conf.log_format);
		key = "FOREMAN_WEBHOOK_ALLOW";
		e = guard_new(w->conf.webhook_allow, w->conf.ollama_url, &w->guard, &why);
	}
	if (e == ERR_OK)
		return 0;
	log_event(LOG_ERROR,
	          e == ERR_NOMEM ? "cannot read the settings" : "bad configuration",
	          KV_S("key", key), KV_S("why", why.s));
	return e == ERR_NOMEM ? EX_TEMPFAIL : EX_CONFIG;
}

static void swap_text(char **a, char **b)
{
	char *c = *a;

	*a = *b;
	*b = c;
}

static void reread_secrets(struct worker *w)
{
	struct errtext why = { "" };
	struct conf fresh;

	if (conf_load(environ, &fresh, &why) != ERR_OK) {
		log_event(LOG_ERROR, "bad configuration; going on with the old one",
		          KV_S("why", why.s));
		return;
	}
	swap_text(&w->conf.ollama_token, &fresh.ollama_token);
	swap_text(&w->conf.webhook_secret, &fresh.webhook_secret);
	conf_done(&fresh);
	log_event(LOG_INFO, "secrets read again",
	          KV_S("keys", "FOREMAN_OLLAMA_TOKEN "
	                       "FOREMAN_WEBHOOK_SECRET"));
}

/* --- who tells whom -------------------------------------------------------- */

static void on_nudge(void *arg)
{
	struct worker *w = arg;

	drain_look(w->drain);
	deliver_look(w->deliver);
	target_nudge(w->target);
}

static void on_attached(void *arg, const char *id, enum frame_role role)
{
	struct worker *w = arg;

	drain_attached(w->drain, id, role);
}

static void on_gone(void *arg, const char *id)
{
	struct worker *w = arg;

	drain_gone(w->drain, id);
}

static void on_cancel(void *arg, const char *id)
{
	struct worker *w = arg;

	drain_cancel(w->drain, id);
}

static void on_target(void *arg)
{
	struct worker *w = arg;

	if (w->drain)
		drain_look(w->drain);
}

static void on_moved(void *arg)
{
	struct worker *w = arg;

	if (w->deliver)
		deliver_look(w->deliver);
}

static void on_held(void *arg, int64_t until_ms)
{
	struct worker *w = arg;

	upkeep_held(w->upkeep, until_ms);
}

static void on_released(void *arg)
{
	struct worker *w = arg;

	drain_look(w->drain);
}

static bool on_busy(void *arg)
{
	struct worker *w = arg;

	return !drain_empty(w->drain);
}

static void on_expired(void *arg)
{
	struct worker *w = arg;

	drain_expired(w->drain);
	deliver_look(w->deliver);
}

/* --- signals --------------------------------------------------------------- */

static void told_to_leave(struct worker *w)
{
	if (w->terms++ == 0) {
		log_event(LOG_INFO, "leaving", KV_I("drain_ms", LIMIT_DRAIN_MS));
		w->leave_mono_ms = clock_mono_ms() + LIMIT_DRAIN_MS;
		drain_leave(w->drain);
		deliver_leave(w->deliver);
	} else {
		w->leave_mono_ms = clock_mono_ms();
	}
}

static void on_signal(void *arg, uint32_t events)
{
	struct worker *w = arg;
	int number;

	(void)events;
	while ((number = sig_next(w->signals))) {
		if (number == SIGTERM || number == SIGINT)
			told_to_leave(w);
		else if (number == SIGHUP)
			reread_secrets(w);
	}
}

/* --- resources ------------------------------------------------------------- */

static int cannot(const char *what, enum err e, const struct errtext *why)
{
	log_event(LOG_ERROR, what, KV_S("why", why->s[0] ? why->s : err_name(e)));
	return e == ERR_VERSION || e == ERR_INVAL || e == ERR_NOENT || e == ERR_DENIED
	           ? EX_CONFIG
	           : EX_TEMPFAIL;
}

static int open_store(struct worker *w)
{
	struct errtext why = { "" };
	struct db_conf conf = { w->conf.db, w->conf.public_url, w->conf.inline_max,
		                    w->conf.drain_max_wait_ms };
	int64_t count = 0;
	enum err e = db_open(&conf, DB_WORKER, &w->db, &why);

	if (e != ERR_OK)
		return cannot("cannot open the database", e, &why);
	e = queue_recover(w->db, clock_wall_ms(), &count, &why);
	if (e != ERR_OK)
		return cannot("cannot put back the jobs of the last worker", e, &why);
	if (count > 0)
		log_event(LOG_WARN, "jobs of the last worker put back",
		          KV_I("jobs", count));
	return 0;
}

static int open_relay(struct worker *w)
{
	struct errtext why = { "" };
	enum err e = fd_listen_unix(w->conf.relay, 4096, &w->relay_fd, &why);

	return e == ERR_OK ? 0 : cannot("cannot listen on the relay", e, &why);
}

static enum err build(struct worker *w)
{
	static const struct relay_calls relay_calls = { on_nudge, on_attached, on_gone,
		                                            on_cancel };
	static const struct upkeep_calls upkeep_calls = { on_released, on_expired,
		                                              on_busy };
	static const struct drain_calls drain_calls = { on_moved, on_held };
	struct run_env env = { .db = w->db, .conf = &w->conf };
	enum err e = loop_new(&w->loop);

	if (e != ERR_OK)
		return e;
	w->replies = replies_new(w->loop, LIMIT_REPLY_KEEP);
	if (!w->replies)
		return ERR_NOMEM;
	e = loop_fd_add(w->loop, w->signals, EPOLLIN, on_signal, w, &w->signals_watch);
	if (e == ERR_OK)
		e = relay_new(w->loop, w->relay_fd, w->conf.relay, w->replies, &relay_calls,
		              w, &w->relay);
	if (e == ERR_OK)
		e = target_new(w->loop, w->db, &w->conf, on_target, w, &w->target);
	env.loop = w->loop;
	env.target = w->target;
	env.replies = w->replies;
	env.relay = w->relay;
	if (e == ERR_OK)
		e = drain_new(&env, &drain_calls, w, &w->drain);
	if (e == ERR_OK)
		e = deliver_new(w->loop, w->db, &w->conf, w->guard, &w->deliver);
	if (e == ERR_OK)
		e = upkeep_new(w->loop, w->db, &w->conf, &upkeep_calls, w, &w->upkeep);
	return e;
}

/* --- the loop -------------------------------------------------------------- */

/* This host slept: timers stood still, peers may have gone. */
static void check_sleep(struct worker *w)
{
	int64_t slept_ms = upkeep_slept_ms(&w->sleep_gap_ms);

	if (slept_ms == 0)
		return;
	log_event(LOG_INFO, "this host slept", KV_I("ms", slept_ms));
	target_slept(w->target);
	upkeep_look(w->upkeep);
	deliver_look(w->deliver);
	drain_look(w->drain);
}

/* May it end now? */
static bool may_leave(struct worker *w)
{
	if (w->terms == 0)
		return false;
	if (drain_empty(w->drain) && deliver_idle(w->deliver))
		return true;
	if (clock_mono_ms() < w->leave_mono_ms)
		return false;
	drain_abandon(w->drain);
	return true;
}

/* At the longest: for the deadline of a worker that leaves, and for sleep. */
static int turn_ms(const struct worker *w)
{
	return w->terms > 0 ? LIMIT_WAL_CHECK_MS : LIMIT_IDLE_LOOK_MS;
}

static int serve(struct worker *w)
{
	bool more = true;

	w->sleep_gap_ms = clock_boot_ms() - clock_mono_ms();
	while (!may_leave(w)) {
		enum err e = loop_turn(w->loop, more ? 0 : turn_ms(w), NULL);

		if (e != ERR_OK) {
			log_event(LOG_ERROR, "the event loop failed", KV_S("why", err_name(e)));
			return EX_TEMPFAIL;
		}
		check_sleep(w);
		more = drain_step(w->drain);
		deliver_step(w->deliver);
	}
	return 0;
}

static void tidy(struct worker *w)
{
	struct errtext why = { "" };

	deliver_free(w->deliver);
	drain_free(w->drain);
	upkeep_free(w->upkeep);
	target_free(w->target);
	relay_free(w->relay);
	replies_free(w->replies);
	loop_fd_del(w->signals_watch);
	if (w->relay_fd >= 0) {
		unlink(w->conf.relay); /* ours as long as the lock is */
		fd_close(&w->relay_fd);
	}
	loop_free(w->loop);
	if (w->db && !w->conf.other_checkpoints &&
	    db_checkpoint(w->db, true, &why) != ERR_OK)
		log_event(LOG_INFO, "no checkpoint at the end", KV_S("why", why.s));
	db_close(w->db);
	guard_free(w->guard);
	gate_close(w->lock);
	fd_close(&w->signals);
	conf_done(&w->conf);
}

/* From settings to the end. */
static int work(struct worker *w)
{
	struct errtext why = { 0 };
	int exit_code;
	enum err e;

	if (!has_directory("FOREMAN_DB", w->conf.db) ||
	    !has_directory("FOREMAN_RELAY", w->conf.relay))
		return EX_CONFIG;
	e = standby_wait(w->conf.db, w->signals, &w->lock, &why);
	if (e == ERR_CLOSED)
		return 0;
	if (e != ERR_OK) {
		log_event(LOG_ERROR, "cannot take the worker's lock",
		          KV_S("why", why.s[0] ? why.s : err_name(e)));
		return EX_TEMPFAIL;
	}
	if (fd_raise_limit(&why) != ERR_OK)
		log_event(LOG_WARN, "few clients can stream", KV_S("why", why.s));
	exit_code = open_store(w);
	if (exit_code == 0)
		exit_code = open_relay(w);
	if (exit_code != 0)
		return exit_code;
	e = build(w);
	if (e != ERR_OK) {
		log_event(LOG_ERROR, "cannot start", KV_S("why", err_name(e)));
		return EX_TEMPFAIL;
	}
	log_event(LOG_INFO, "active", KV_S("version", PACKAGE_VERSION),
	          KV_S("target", w->conf.ollama_url), KV_S("db", w->conf.db));
	exit_code = serve(w);
	log_event(LOG_INFO, "left", KV_I("exit", exit_code));
	return exit_code;
}

int main(int argc, char **argv)
{
	struct worker w = { .signals = -1, .relay_fd = -1 };
	enum mode mode = mode_of(argc, argv);
	int exit_code;

	if (mode == MODE_WRONG || mode == MODE_HELP) {
		usage(mode == MODE_HELP ? stdout : stderr);
		return mode == MODE_HELP ? 0 : EX_USAGE;
	}
	if (mode == MODE_VERSION) {
		printf("foreman-worker %s (sqlite %s, curl %s)\n", PACKAGE_VERSION,
		       db_sqlite_version(), xfer_curl_version());
		return 0;
	}
	umask(0027);
	mallopt(M_MMAP_THRESHOLD, LIMIT_MAP_BYTES); /* else it grows with them */
	sig_block_all();
	log_init("worker", LOG_INFO, LOG_LOGFMT);
	exit_code = read_settings(&w);
	if (exit_code == 0 && mode == MODE_CHECK) {
		conf_dump(&w.conf, stdout);
	} else if (exit_code == 0) {
		w.signals = sig_open();
		if (w.signals < 0 || xfer_global_init() != ERR_OK)
			exit_code = EX_TEMPFAIL;
		else
			exit_code = work(&w);
	}
	tidy(&w);
	return exit_code;
}
