/*
 * pool.c - children: started, replaced, drained, counted.
 *
 * One list of children, each of a generation. Only the current generation is
 * kept at its number; others are on their way in (a reload) or out (draining).
 * A child is `ready` when it has said so on its pipe. The dead of the current
 * generation are replaced after a delay that doubles while they die young.
 */
#include <config.h>

#include "responder/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sig.h"
#include "core/limits.h"
#include "core/retry.h"

struct child {
	pid_t pid;
	unsigned generation;
	int ready_fd;           /* -1: it is ready, or will never be */
	bool ready;
	int64_t started_mono_ms;
};

struct pool {
	const struct pool_conf *conf;
	int signals;
	int listen_fd;
	struct child *children;
	struct pollfd *fds;     /* room for a child each, and the signals */
	size_t count, room;
	unsigned current;       /* the generation that is kept up */
	unsigned coming;        /* a reload's, 0: none is under way */
	unsigned newest;        /* numbers are never used twice */
	bool reload_again;      /* asked for while one was under way: the program
	                           may have changed since that began */
	unsigned early_deaths;
	int64_t respawn_mono_ms; /* none is started before this */
	bool stopping;
	bool killed;
};

/* --- the argument --------------------------------------------------------- */

int pool_child_parse(const char *text, struct pool_child *out)
{
	struct pool_child c;
	char end;

	int read = sscanf(text, "%d,%d,%d,%d%c", &c.listen_fd, &c.ready_fd, &c.tally_fd,
	                  &c.parent, &end);

	if (read != 4 || c.listen_fd < 0 || c.ready_fd < 0 || c.tally_fd < -1 ||
	    c.parent < 1)
		return -1;
	*out = c;
	return 0;
}

/* --- starting one --------------------------------------------------------- */

/* Between fork and exec; does not return. */
static void become_child(const struct pool *p, int ready_fd, pid_t master)
{
	char arg[64];
	char program[4096], option[] = "--child";
	char *argv[] = { program, option, arg, NULL };

	sig_restore();
	/* Ctrl-C on a terminal is for the master, which tells us to drain. */
	setpgid(0, 0);
	/* A master that is killed must leave nobody on its socket; one that was
	 * gone before this line is noticed by the next. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != master)
		_exit(EX_OK);
	snprintf(arg, sizeof(arg), "%d,%d,%d,%d", p->listen_fd, ready_fd,
	         p->conf->tally_fd, (int)master);
	snprintf(program, sizeof(program), "%s", p->conf->program);
	if (fd_cloexec(p->listen_fd, false) || fd_cloexec(ready_fd, false) ||
	    (p->conf->tally_fd >= 0 && fd_cloexec(p->conf->tally_fd, false)))
		_exit(EX_OSERR);
	execv(program, argv);
	_exit(EX_UNAVAILABLE);
}

static bool make_room(struct pool *p)
{
	size_t room = p->room ? p->room * 2 : 16;
	struct child *children;
	struct pollfd *fds;

	if (p->count < p->room)
		return true;
	children = realloc(p->children, room * sizeof(*children));
	if (!children)
		return false;
	p->children = children;
	fds = realloc(p->fds, (room + 1) * sizeof(*fds));
	if (!fds)
		return false;
	p->fds = fds;
	p->room = room;
	return true;
}

static enum err spawn(struct pool *p, unsigned generation)
{
	pid_t master = getpid(), pid;
	int ready[2];

	if (!make_room(p))
		return ERR_NOMEM;
	if (pipe2(ready, O_CLOEXEC | O_NONBLOCK))
		return ERR_IO;
	pid = fork();
	if (pid == 0)
		become_child(p, ready[1], master);
	fd_close(&ready[1]);
	if (pid < 0) {
		fd_close(&ready[0]);
		return ERR_IO;
	}
	p->children[p->count++] = (struct child){ .pid = pid,
		                                      .generation = generation,
		                                      .ready_fd = ready[0],
		                                      .started_mono_ms = clock_mono_ms() };
	log_event(LOG_DEBUG, "child started", KV_I("pid", pid),
	          KV_I("generation", generation));
	return ERR_OK;
}

static size_t count_of(const struct pool *p, unsigned generation, bool only_ready)
{
	size_t n = 0;

	for (size_t i = 0; i < p->count; i++)
		n += p->children[i].generation == generation &&
		     (p->children[i].ready || !only_ready);
	return n;
}

static void delay_respawn(struct pool *p)
{
	int64_t delay_ms = retry_backoff_ms(LIMIT_RESPAWN_MIN_MS,
	                                    LIMIT_RESPAWN_MAX_MS, p->early_deaths);

	p->respawn_mono_ms = clock_mono_ms() + delay_ms;
	p->early_deaths++;
}

/* Start what lacks of the current generation, when it is time. */
static void keep_up(struct pool *p)
{
	while (!p->stopping && clock_mono_ms() >= p->respawn_mono_ms &&
	       count_of(p, p->current, false) < p->conf->responders) {
		enum err e = spawn(p, p->current);

		if (!e)
			continue;
		log_event(LOG_ERROR, "cannot start a child", KV_S("reason", err_name(e)));
		delay_respawn(p);
	}
}

/* --- reload --------------------------------------------------------------- */

static void signal_generation(const struct pool *p, unsigned generation, int signo)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->children[i].generation == generation)
			kill(p->children[i].pid, signo);
}

static void give_up_reload(struct pool *p)
{
	log_event(LOG_ERROR, "reload failed, the old generation stays",
	          KV_I("generation", p->coming));
	signal_generation(p, p->coming, SIGTERM);
	p->coming = 0;
}

static void begin_reload(struct pool *p)
{
	p->reload_again = p->coming != 0;
	if (p->reload_again)
		return;
	p->coming = ++p->newest;
	log_event(LOG_INFO, "reload", KV_I("generation", p->coming));
	for (size_t i = 0; i < p->conf->responders; i++) {
		if (spawn(p, p->coming)) {
			give_up_reload(p);
			return;
		}
	}
}

static void finish_reload(struct pool *p)
{
	if (!p->coming ||
	    count_of(p, p->coming, true) < p->conf->responders)
		return;
	signal_generation(p, p->current, SIGHUP);
	p->current = p->coming;
	p->coming = 0;
	log_event(LOG_INFO, "reloaded", KV_I("generation", p->current));
}

/* --- events --------------------------------------------------------------- */

static void on_ready(struct pool *p, struct child *c)
{
	char byte;

	c->ready = read(c->ready_fd, &byte, 1) == 1;
	fd_close(&c->ready_fd); /* at its end too: the child is dying */
	if (c->ready && c->generation == p->current && !p->coming &&
	    count_of(p, p->current, true) == p->conf->responders)
		log_event(LOG_INFO, "ready", KV_I("responders", p->conf->responders));
	finish_reload(p);
}

static void log_death(const struct child *c, int status, int64_t lived_ms,
                      bool expected)
{
	bool signaled = WIFSIGNALED(status);
	enum log_level level = expected ? LOG_DEBUG : LOG_WARN;

	log_event(level, "child died", KV_I("pid", c->pid),
	          KV_I("generation", c->generation),
	          KV_S("how", signaled ? "signal" : "exit"),
	          KV_I("code", signaled ? WTERMSIG(status) : WEXITSTATUS(status)),
	          KV_I("lived_ms", lived_ms));
}

static void on_death(struct pool *p, size_t at, int status)
{
	struct child c = p->children[at];
	int64_t lived_ms = clock_mono_ms() - c.started_mono_ms;
	bool kept = c.generation == p->current && !p->stopping;

	fd_close(&p->children[at].ready_fd);
	p->children[at] = p->children[--p->count];
	log_death(&c, status, lived_ms,
	          !kept && c.generation != p->coming && !WIFSIGNALED(status));
	if (p->stopping)
		return;
	if (c.generation == p->coming)
		give_up_reload(p);
	if (!kept)
		return;
	if (lived_ms >= LIMIT_RESPAWN_MAX_MS)
		p->early_deaths = 0;
	delay_respawn(p);
}

static void reap(struct pool *p)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < p->count; i++)
			if (p->children[i].pid == pid) {
				on_death(p, i, status);
				break;
			}
}

static void stop(struct pool *p)
{
	int signo = p->stopping ? SIGKILL : SIGTERM;

	log_event(LOG_INFO, p->stopping ? "killing children" : "stopping",
	          KV_I("children", p->count));
	p->stopping = true;
	p->coming = 0;
	/* whoever connects now is told at once that nobody is here */
	fd_close(&p->listen_fd);
	for (size_t i = 0; i < p->count; i++)
		kill(p->children[i].pid, signo);
}

static void on_signals(struct pool *p)
{
	int signo;

	while ((signo = sig_next(p->signals))) {
		if (signo == SIGCHLD)
			reap(p);
		else if (signo == SIGHUP && !p->stopping)
			begin_reload(p);
		else if (signo == SIGTERM || signo == SIGINT)
			stop(p);
	}
}

/* --- the loop ------------------------------------------------------------- */

static int until_respawn(const struct pool *p)
{
	int64_t left = p->respawn_mono_ms - clock_mono_ms();

	if (p->stopping || count_of(p, p->current, false) >= p->conf->responders)
		return -1;
	return left > 0 ? (int)left : 0;
}

/* Wait for a signal, a child that is ready, or a respawn that is due. */
static void turn(struct pool *p)
{
	size_t watched = p->count; /* the list changes while it is handled */
	struct pollfd *fds = p->fds;

	for (size_t i = 0; i < watched; i++)
		fds[i] = (struct pollfd){ .fd = p->children[i].ready_fd,
			                      .events = POLLIN };
	fds[watched] = (struct pollfd){ .fd = p->signals, .events = POLLIN };
	if (poll(fds, watched + 1, until_respawn(p)) > 0) {
		for (size_t i = 0; i < watched; i++)
			if (fds[i].revents)
				on_ready(p, &p->children[i]);
		on_signals(p);
	}
	if (p->reload_again && !p->coming && !p->stopping)
		begin_reload(p);
	keep_up(p);
}

int pool_run(const struct pool_conf *conf)
{
	struct pool p = { .conf = conf, .listen_fd = conf->listen_fd,
		              .signals = sig_open(), .current = 1, .newest = 1 };
	enum err e = p.signals < 0 ? ERR_IO : ERR_OK;

	if (!e && !make_room(&p))
		e = ERR_NOMEM;
	if (!e)
		keep_up(&p);
	while (!e && !(p.stopping && !p.count))
		turn(&p);
	if (e)
		log_event(LOG_ERROR, "master failed", KV_S("reason", err_name(e)));
	else
		log_event(LOG_INFO, "drained", KV_I("children", 0));
	free(p.children);
	free(p.fds);
	fd_close(&p.listen_fd);
	fd_close(&p.signals);
	return e ? EX_OSERR : EX_OK;
}
