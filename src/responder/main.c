/*
 * main.c - foreman-responder: turns HTTP requests into decisions.
 *
 * Started by a person or a service manager it is the master (pool.c), which
 * starts itself again as the responders (serve.c). Settings come from the
 * environment alone; every start, and every reload, reads them again.
 */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/sig.h"
#include "core/conf.h"
#include "http/guard.h"
#include "responder/pool.h"
#include "responder/route.h"
#include "responder/serve.h"
#include "responder/tally.h"

#define BACKLOG 4096     /* who finds it full is told 502 at once */
#define SYSTEMD_FIRST 3  /* sd_listen_fds(3) */

extern char **environ;

static const char usage[] =
	"usage: foreman-responder [--help | --version | --check-config]\n"
	"\n"
	"Answers HTTP requests that Caddy sends over FastCGI: jobs and waiting\n"
	"chats go to the queue in FOREMAN_DB, embeddings and lists straight to\n"
	"FOREMAN_OLLAMA_URL. Runs in the foreground and logs to standard error.\n"
	"\n"
	"  --check-config  print the effective settings, secrets masked, and leave\n"
	"  --version       print the version and leave\n"
	"  --help          print this and leave\n"
	"\n"
	"Signals: TERM, INT drain and leave (twice: at once); HUP starts new\n"
	"responders from the program on disk and drains the old ones.\n"
	"Settings are FOREMAN_* in the environment; see foreman-responder(8).\n";

/* --- settings ------------------------------------------------------------- */

static int load(struct conf *conf)
{
	struct guard *guard = NULL;
	struct errtext why = { 0 };
	enum err e = conf_load(environ, conf, &why);

	if (!e) {
		e = guard_new(conf->webhook_allow, conf->ollama_url, &guard, &why);
		guard_free(guard);
		if (e)
			conf_done(conf);
	}
	if (e)
		fprintf(stderr, "foreman-responder: %s\n", why.s);
	if (e == ERR_NOMEM)
		return EX_TEMPFAIL;
	return e ? EX_CONFIG : EX_OK;
}

static int check_config(void)
{
	struct conf conf;
	int rc = load(&conf);

	if (rc)
		return rc;
	conf_dump(&conf, stdout);
	conf_done(&conf);
	return EX_OK;
}

/* --- the master's resources ----------------------------------------------- */

/* A socket from systemd, if there is one for us; -1. */
static int inherited_socket(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	uint64_t who, count;
	bool ours = pid && fds && !str_u64(span_of(pid), &who) &&
	            !str_u64(span_of(fds), &count) && who == (uint64_t)getpid() &&
	            count >= 1;

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (!ours || fd_cloexec(SYSTEMD_FIRST, true) ||
	    fd_nonblock(SYSTEMD_FIRST, true))
		return -1;
	return SYSTEMD_FIRST;
}

static enum err open_socket(const struct conf *conf, int *out, struct errtext *why)
{
	int fd = inherited_socket();

	if (fd >= 0) {
		*out = fd;
		return ERR_OK;
	}
	if (strchr(conf->socket, '/'))
		return fd_listen_unix(conf->socket, BACKLOG, out, why);
	return fd_listen_tcp(conf->socket, BACKLOG, out, why);
}

/*
 * Where this program is found again after an upgrade: as it was called, not
 * where links led to at the time. NULL: cannot be told.
 */
static char *program_path(const char *argv0)
{
	struct span dirs = span_of(getenv("PATH")), dir;
	char *path = NULL, *cwd = NULL;

	if (argv0[0] == '/')
		return strdup(argv0);
	if (strchr(argv0, '/')) {
		cwd = getcwd(NULL, 0);
		if (!cwd || asprintf(&path, "%s/%s", cwd, argv0) < 0)
			path = NULL;
		free(cwd);
		return path;
	}
	while (span_cut(&dirs, ':', &dir)) {
		if (asprintf(&path, "%.*s/%s", (int)dir.len, dir.p, argv0) < 0)
			return NULL;
		if (dir.len && access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

/* --- the two programs ----------------------------------------------------- */

static int run_master(const char *argv0)
{
	struct pool_conf pool = { .listen_fd = -1, .tally_fd = -1 };
	struct errtext why = { 0 };
	struct conf conf;
	char *program;
	int rc = load(&conf);

	if (rc)
		return rc;
	log_init("responder", conf.log_level, conf.log_format);
	if (fd_raise_limit(&why)) /* every parked client is two descriptors */
		log_event(LOG_WARN, "few clients can wait", KV_S("why", why.s));
	program = program_path(argv0);
	if (!program) {
		errtext_set(&why, "cannot find the program '%s' again", argv0);
		rc = EX_OSFILE;
	} else if (open_socket(&conf, &pool.listen_fd, &why)) {
		rc = EX_UNAVAILABLE;
	}
	if (rc) {
		fprintf(stderr, "foreman-responder: %s\n", why.s);
	} else {
		log_event(LOG_INFO, "started", KV_S("version", PACKAGE_VERSION),
		          KV_S("socket", conf.socket), KV_I("responders", conf.responders),
		          KV_I("threads", conf.threads));
		if (tally_create(&pool.tally_fd))
			log_event(LOG_WARN, "each responder counts for itself",
			          KV_S("reason", "no shared memory"));
		pool.program = program;
		pool.responders = (size_t)conf.responders;
		rc = pool_run(&pool);
	}
	fd_close(&pool.tally_fd);
	free(program);
	conf_done(&conf);
	return rc;
}

static int run_child(const char *text)
{
	const struct tally_names names = route_names();
	struct pool_child child;
	struct conf conf;
	enum err e;
	int rc;

	if (pool_child_parse(text, &child)) {
		fputs("foreman-responder: --child is for its own use\n", stderr);
		return EX_USAGE;
	}
	if (getppid() != child.parent)
		return EX_OK; /* the master was gone before we were started */
	rc = load(&conf);
	if (rc)
		return rc;
	log_init("responder", conf.log_level, conf.log_format);
	e = tally_open(child.tally_fd, &names);
	if (e)
		log_event(LOG_WARN, "this responder counts for itself",
		          KV_S("reason", err_name(e)));
	if (fd_cloexec(child.listen_fd, true) || fd_cloexec(child.ready_fd, true))
		rc = EX_OSERR;
	else
		rc = serve_run(&conf, child.listen_fd, child.ready_fd);
	tally_close();
	conf_done(&conf);
	return rc;
}

int main(int argc, char **argv)
{
	umask(0007);
	sig_block_all();
	if (argc == 1)
		return run_master(argv[0]);
	if (argc == 3 && strcmp(argv[1], "--child") == 0)
		return run_child(argv[2]);
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return fputs(usage, stdout) < 0 ? EX_IOERR : EX_OK;
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return puts("foreman-responder " PACKAGE_VERSION) < 0 ? EX_IOERR : EX_OK;
	if (argc == 2 && strcmp(argv[1], "--check-config") == 0)
		return check_config();
	fputs(usage, stderr);
	return EX_USAGE;
}
