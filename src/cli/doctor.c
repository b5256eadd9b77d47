/*
 * doctor.c - looks for what is wrong, one line a finding.
 *
 * It asks what can be asked without changing anything: the service over HTTP,
 * and, where this is the service's own host, its files and its environment.
 * What could not be looked at is said, not passed over.
 */
#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>

#include "base/clock.h"
#include "base/ulid.h"
#include "cli/commands.h"
#include "core/limits.h"
#include "store/backup.h"
#include "store/schema.h"

#define DISK_LOW (INT64_C(1) << 30) /* 1 GiB */
#define FLUSH_PATIENCE_MS 2000
#define TOKEN_MIN 16        /* characters */
#define TOKEN_LETTERS_MIN 8 /* different ones among them */
#define CLOCK_OFF_S 60      /* a fifth of what receivers of webhooks allow */

enum level { GOOD, WARN, BAD, UNKNOWN };

struct visit {
	struct cli *c;
	cJSON *findings; /* with --json */
	int bad;
};

static void PRINTF_LIKE(4, 5)
    found(struct visit *v, enum level level, const char *what, const char *fmt, ...)
{
	static const char *const words[] = { "ok", "warning", "FAULT", "unknown" };
	char text[300];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	v->bad += level == BAD;
	if (v->c->json) {
		cJSON *o = cJSON_CreateObject();

		json_add_str(o, "check", what);
		json_add_str(o, "level", words[level]);
		json_add_str(o, "text", text);
		json_append(v->findings, o);
	} else {
		printf("%-8s %-12s %s\n", words[level], what, text);
	}
}

/* --- over HTTP ------------------------------------------------------------- */

/* An answer of whatever status; *out NULL when there was none, or no JSON. */
static foreman_code look(struct visit *v, const char *path, cJSON **out,
                         foreman_error *e)
{
	struct call_reply reply;
	foreman_code code = call_service(
	    v->c->service, &(struct call_ask){ .method = "GET", .path = path }, &reply,
	    e);

	*out = NULL;
	if (json_parse((struct span){ reply.body.p, reply.body.len }, out, NULL))
		*out = NULL;
	buf_done(&reply.body);
	return code;
}

static void check_clock(struct visit *v, const char *date)
{
	struct tm tm = { 0 };
	int64_t off_s;

	if (!strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm)) {
		found(v, UNKNOWN, "clock", "the server does not tell its time");
		return;
	}
	off_s = (int64_t)timegm(&tm) - clock_wall_ms() / 1000;
	if (off_s < -CLOCK_OFF_S || off_s > CLOCK_OFF_S)
		found(v, BAD, "clock",
		      "the server's is %lld s off this host's: signatures "
		      "will be refused",
		      (long long)off_s);
	else
		found(v, GOOD, "clock", "the server's and this host's agree");
}

/* False: nothing else can be asked of it. */
static bool check_service(struct visit *v)
{
	struct call_ask ask = { .method = "GET", .path = "/healthz" };
	struct call_reply reply;
	foreman_error e;
	foreman_code code = call_service(v->c->service, &ask, &reply, &e);
	cJSON *o;

	buf_done(&reply.body);
	if (code) {
		found(v, BAD, "service", "%s: %s", v->c->url, e.text);
		return false;
	}
	check_clock(v, reply.date);
	code = look(v, "/readyz", &o, &e);
	if (code == FOREMAN_UNAUTHORIZED)
		found(v, BAD, "token", "the service wants FOREMAN_API_TOKEN, %s",
		      getenv("FOREMAN_API_TOKEN") ? "and another one" : "which is not set");
	else if (code)
		found(v, BAD, "worker", "%s", e.text);
	else
		found(v, GOOD, "service", "%s answers, its worker is alive", v->c->url);
	cJSON_Delete(o);
	return code == FOREMAN_OK;
}

static void check_target(struct visit *v)
{
	const cJSON *target;
	const char *state, *error;
	foreman_error e;
	cJSON *queue;

	if (look(v, "/queue", &queue, &e)) {
		found(v, UNKNOWN, "target", "%s", e.text);
		return;
	}
	target = cli_member(queue, "target");
	state = cli_text(target, "state");
	error = cli_text(target, "error");
	if (state && strcmp(state, "up") == 0)
		found(v, GOOD, "target", "up, Ollama %s",
		      cli_text(target, "version") ? cli_text(target, "version") : "?");
	else
		found(v, WARN, "target", "%s%s%s; jobs wait for it",
		      state ? state : "unknown", error ? ": " : "", error ? error : "");
	if (cli_value(cli_member(queue, "webhooks"), "dead") > 0)
		found(v, WARN, "webhooks",
		      "%.0f given up; foreman webhooks list --state=dead",
		      cli_value(cli_member(queue, "webhooks"), "dead"));
	cJSON_Delete(queue);
}

/* Both slots: with an embedder of its own, two models should stay loaded. */
static void check_slots(struct visit *v)
{
	const char *embedder = getenv("FOREMAN_EMBED_MODEL");
	foreman_error e;
	cJSON *ps;
	int loaded;

	if (look(v, "/api/ps", &ps, &e)) {
		found(v, UNKNOWN, "two slots", "%s", e.text);
		return;
	}
	loaded = cJSON_GetArraySize(cli_member(ps, "models"));
	if (loaded >= 2)
		found(v, GOOD, "two slots", "%d models are loaded at the target", loaded);
	else
		found(v, embedder && embedder[0] ? WARN : UNKNOWN, "two slots",
		      "%d loaded now; OLLAMA_MAX_LOADED_MODELS must be 2 or more", loaded);
	cJSON_Delete(ps);
}

/* The id of a job that has not ended: the running one, else one that waits. */
static bool find_open_job(struct visit *v, char id[ULID_SIZE])
{
	static const char *const paths[] = { "/jobs?state=working&limit=1",
		                                 "/jobs?state=loading&limit=1",
		                                 "/jobs?state=queued&limit=1" };
	bool found_one = false;

	for (size_t i = 0; i < ARRAY_LEN(paths) && !found_one; i++) {
		foreman_error e;
		cJSON *page;

		if (look(v, paths[i], &page, &e) == FOREMAN_OK) {
			const char *text =
			    cli_text(cJSON_GetArrayItem(cli_member(page, "jobs"), 0), "id");

			found_one = text && ulid_parse(span_of(text), id) == ERR_OK;
		}
		cJSON_Delete(page);
	}
	return found_one;
}

static int go_on(void *arg, const char *bytes, size_t len)
{
	(void)arg, (void)bytes, (void)len;
	return 0;
}

/*
 * Does what is written come through at once? The head of a job's stream is sent
 * when it is asked for, long before the end; a proxy without flush_interval -1
 * keeps it until some kilobytes are together. (Events it lets through anyway.)
 */
static void check_flush(struct visit *v)
{
	char id[ULID_SIZE], path[64];
	struct call_ask ask = { .method = "GET",
		                    .path = path,
		                    .at_most_ms = FLUSH_PATIENCE_MS,
		                    .once = true,
		                    .sink = go_on };
	struct call_reply reply;
	foreman_code code;
	foreman_error e;

	if (!find_open_job(v, id)) {
		found(v, UNKNOWN, "streaming",
		      "no job to see it on; ask while one waits or runs");
		return;
	}
	snprintf(path, sizeof(path), "/jobs/%s/stream", id);
	code = call_service(v->c->service, &ask, &reply, &e);
	if (code == FOREMAN_OK)
		found(v, UNKNOWN, "streaming",
		      "the job ended while it was looked at; ask again");
	else if (reply.status == 200)
		found(v, GOOD, "streaming", "what is written comes through at once");
	else
		found(v, BAD, "streaming",
		      "it is held back: the proxy needs flush_interval -1");
	buf_done(&reply.body);
}

/* --- on this host ---------------------------------------------------------- */

static const char *setting(const char *name, const char *otherwise)
{
	const char *set = getenv(name);

	return set && set[0] ? set : otherwise;
}

static void check_files(struct visit *v)
{
	const char *path = setting("FOREMAN_DB", "/var/lib/foreman/foreman.db");
	struct errtext why = { "" };
	struct backup_stats s;
	struct stat st;

	if (stat(path, &st) != 0 || backup_stats(path, &s, &why)) {
		found(v, UNKNOWN, "database", "%s cannot be read from here", path);
		return;
	}
	found(v, st.st_mode & 0007 ? BAD : GOOD, "permissions", "%s has mode %04o",
	      path, (unsigned)(st.st_mode & 07777));
	found(v, s.version == SCHEMA_VERSION ? GOOD : BAD, "schema",
	      "version %d, this foreman's is %d", s.version, SCHEMA_VERSION);
	found(v, s.disk_free_bytes < DISK_LOW ? BAD : GOOD, "disk", "%lld MiB are free",
	      (long long)(s.disk_free_bytes >> 20));
	found(v, s.wal_bytes > 4 * LIMIT_WAL_BYTES ? WARN : GOOD, "log",
	      "the write-ahead log has %lld MiB%s", (long long)(s.wal_bytes >> 20),
	      s.wal_bytes > 4 * LIMIT_WAL_BYTES ? ": a reader holds it" : "");
}

static bool weak(const char *token)
{
	size_t letters = 0;

	for (const char *c = token; *c; c++)
		letters += memchr(token, *c, (size_t)(c - token)) == NULL;
	return strlen(token) < TOKEN_MIN || letters < TOKEN_LETTERS_MIN;
}

static void check_secrets(struct visit *v)
{
	const char *token = setting("FOREMAN_API_TOKEN", NULL);

	if (token && weak(token))
		found(v, WARN, "token",
		      "FOREMAN_API_TOKEN is easily guessed; take 32 random "
		      "characters");
	if (!setting("FOREMAN_WEBHOOK_SECRET", NULL) &&
	    !setting("FOREMAN_WEBHOOK_SECRET_FILE", NULL))
		found(v, UNKNOWN, "webhooks",
		      "no FOREMAN_WEBHOOK_SECRET here: none is signed");
}

int run_doctor(struct cli *c)
{
	struct visit v = { .c = c, .findings = c->json ? cJSON_CreateArray() : NULL };

	found(&v, GOOD, "version", "foreman %s", foreman_version());
	if (check_service(&v)) {
		check_target(&v);
		check_slots(&v);
		check_flush(&v);
	}
	check_files(&v);
	check_secrets(&v);
	if (c->json)
		cli_print_json(v.findings);
	cJSON_Delete(v.findings);
	return v.bad ? 1 : EX_OK;
}
