/*
 * api.c - one table of routes; what it does not list is gin's 404 or 405.
 *
 * Inference goes on to task.c; everything here is answered at once.
 */
#include <config.h>

#include "api.h"

#include "ask.h"
#include "gate.h"
#include "journal.h"
#include "models.h"
#include "reply.h"
#include "sched.h"
#include "task.h"
#include "text.h"

#include "base/sha.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_UTF8 "application/json; charset=utf-8"
#define JSON_PLAIN "application/json"
#define ALLOW_MAX 40

/* One request while it is being answered here. */
struct call {
	struct http_conn *conn;
	const struct head *head;
	struct span body;
	const char *path;
	uint64_t n; /* its number; 0 under /fake/ */
};

struct route {
	const char *method;
	const char *path; /* ending in '*': what begins so, and goes on */
	void (*fn)(struct call *k);
};

static struct pace pace;
static struct buf text; /* of the answer being made */
static uint64_t last_n;
static char **blobs; /* digests that were uploaded */
static size_t blob_count;

static struct span made(void)
{
	return (struct span){ text.p, text.len };
}

/* --- the request's entry in the log ---------------------------------------- */

static void note(struct call *k, const char *model)
{
	char hex[65];
	struct buf *b;

	if (!journal_on() || !k->n)
		return;
	sha256_hex(k->body.p ? k->body.p : "", k->body.len, hex);
	b = journal_begin("request", k->n);
	put_s(b, ",\"method\":");
	put_json(b, k->head->method);
	put_s(b, ",\"path\":");
	put_json(b, span_of(k->path));
	put_s(b, ",\"model\":");
	put_json(b, span_of(model));
	put_f(b, ",\"sha256\":\"%s\",\"bytes\":%zu", hex, k->body.len);
	journal_end();
}

static void answer(struct call *k, int status, const char *type)
{
	struct buf *b;

	http_reply(k->conn, status, type, made());
	if (!journal_on() || !k->n)
		return;
	b = journal_begin("response_end", k->n);
	put_f(b, ",\"status\":%d,\"how\":\"complete\"", status);
	journal_end();
}

/* {"error":"…"} made of `before`, the name as %q, and `after`. */
static void answer_error(struct call *k, int status, const char *before,
                         const char *name, const char *after)
{
	struct buf b;

	buf_init(&b, TEXT_MAX);
	put_s(&b, before);
	if (name)
		put_quoted(&b, span_of(name));
	put_s(&b, after);
	put_error(&text, VOICE_OLLAMA, status, buf_str(&b));
	buf_done(&b);
	answer(k, status, JSON_UTF8);
}

static void answer_missing(struct call *k, const char *name)
{
	struct buf b;

	buf_init(&b, TEXT_MAX);
	put_f(&b, "model '%s' not found", name);
	put_error(&text, VOICE_OLLAMA, 404, buf_str(&b));
	buf_done(&b);
	answer(k, 404, JSON_UTF8);
}

/* --- metadata -------------------------------------------------------------- */

static void get_root(struct call *k)
{
	put_s(&text, "Ollama is running");
	answer(k, 200, "text/plain; charset=utf-8");
}

static void get_version(struct call *k)
{
	put_s(&text, "{\"version\":");
	put_json(&text, span_of(server.version));
	put_s(&text, "}");
	answer(k, 200, JSON_UTF8);
}

static void get_status(struct call *k)
{
	put_s(&text, "{\"cloud\":{\"disabled\":false,\"source\":\"none\"}}");
	answer(k, 200, JSON_UTF8);
}

static void get_tags(struct call *k)
{
	put_tags(&text);
	answer(k, 200, JSON_UTF8);
}

static void get_ps(struct call *k)
{
	put_ps(&text);
	answer(k, 200, JSON_UTF8);
}

static void get_v1_models(struct call *k)
{
	put_v1_models(&text);
	answer(k, 200, JSON_PLAIN);
}

static void get_v1_model(struct call *k)
{
	const char *name = k->path + strlen("/v1/models/");
	struct name n;
	const struct model *m =
	    name_parse(span_of(name), &n) ? NULL : models_find(&n, false);
	struct buf b;

	if (m) {
		put_v1_model(&text, m);
		put_s(&text, "\n");
		answer(k, 200, JSON_PLAIN);
		return;
	}
	buf_init(&b, TEXT_MAX);
	put_f(&b, "model '%s' not found", name);
	put_error(&text, VOICE_OPENAI, 404, buf_str(&b));
	put_s(&text, "\n");
	buf_done(&b);
	answer(k, 404, JSON_PLAIN);
}

/* --- bodies ---------------------------------------------------------------- */

/* Decode; if that fails, answer and say false. */
static bool read_ask(struct call *k, enum ask_kind kind, struct ask *a)
{
	struct errtext why = { "" };
	enum err e = ask_read(kind, k->body, &pace, a, &why);
	enum voice v1 = voice_of(kind);

	note(k, e || !a->model ? "" : a->model);
	if (!e)
		return true;
	ask_done(a);
	put_error(&text, v1, 400,
	          e == ERR_NOENT && !v1 ? "missing request body" : why.s);
	answer(k, 400, JSON_UTF8);
	return false;
}

static void infer(struct call *k, enum ask_kind kind)
{
	struct ask a;

	if (read_ask(k, kind, &a))
		task_start(k->conn, &a, k->n);
}

static void post_chat(struct call *k)
{
	infer(k, ASK_CHAT);
}

static void post_generate(struct call *k)
{
	infer(k, ASK_GENERATE);
}

static void post_embed(struct call *k)
{
	infer(k, ASK_EMBED);
}

static void post_embeddings(struct call *k)
{
	infer(k, ASK_EMBEDDINGS);
}

static void post_v1_chat(struct call *k)
{
	infer(k, ASK_V1_CHAT);
}

static void post_v1_text(struct call *k)
{
	infer(k, ASK_V1_TEXT);
}

static void post_v1_response(struct call *k)
{
	infer(k, ASK_V1_RESPONSE);
}

static void post_v1_message(struct call *k)
{
	infer(k, ASK_V1_MESSAGE);
}

static void post_v1_embeddings(struct call *k)
{
	infer(k, ASK_V1_EMBED);
}

static const char *either_name(const struct ask *a)
{
	return *a->model ? a->model : a->name;
}

static void show(struct call *k, const struct ask *a)
{
	const char *name = either_name(a);
	struct span agent = head_get(k->head, "User-Agent");
	bool copilot = agent.len >= 18 && !strncmp(agent.p, "GitHubCopilotChat/", 18);
	enum name_verdict verdict;
	const struct model *m;
	struct name n;
	struct buf b;

	verdict = name_parse(span_of(name), &n);
	if (verdict == NAME_EMPTY) {
		answer_error(k, 400, "model is required", NULL, "");
		return;
	}
	if (verdict == NAME_CONFLICT) {
		answer_error(k, 400, "use either :local or :cloud, not both: ", name, "");
		return;
	}
	if (verdict == NAME_INVALID) {
		answer_error(k, 400, "invalid model name", NULL, "");
		return;
	}
	m = models_find(&n, false);
	if (m) {
		put_show(&text, m, copilot ? name : NULL);
		answer(k, 200, JSON_UTF8);
		return;
	}
	buf_init(&b, TEXT_MAX);
	put_name_short(&b, &n);
	answer_missing(k, buf_str(&b));
	buf_done(&b);
}

static void post_show(struct call *k)
{
	struct ask a;

	if (!read_ask(k, ASK_SHOW, &a))
		return;
	show(k, &a);
	ask_done(&a);
}

/* --- the store ------------------------------------------------------------- */

static void stream_line(struct call *k, const char *line)
{
	http_line(k->conn, span_of(line));
}

static void pull_stream(struct call *k, const struct model *m)
{
	http_stream(k->conn, 200, "application/x-ndjson");
	stream_line(k, "{\"status\":\"pulling manifest\"}\n");
	if (!m) {
		stream_line(k,
		            "{\"error\":\"pull model manifest: file does not exist\"}\n");
	} else {
		put_f(
		    &text,
		    "{\"status\":\"pulling %.12s\",\"digest\":\"sha256:%s\",\"total\":%lld,"
		    "\"completed\":%lld}\n",
		    m->blob, m->blob, (long long)m->size, (long long)m->size);
		http_line(k->conn, made());
		stream_line(k, "{\"status\":\"verifying sha256 digest\"}\n");
		stream_line(k, "{\"status\":\"writing manifest\"}\n");
		stream_line(k, "{\"status\":\"success\"}\n");
	}
	http_end(k->conn);
}

static void pull(struct call *k, const struct ask *a)
{
	const char *name = either_name(a);
	enum name_verdict verdict;
	struct model *m;
	struct name n;

	verdict = name_parse(span_of(name), &n);
	if (verdict) {
		answer_error(k, 400,
		             verdict == NAME_EMPTY ? "model is required"
		                                   : "invalid model name",
		             NULL, "");
		return;
	}
	m = models_known(&n);
	if (m)
		m->present = true;
	if (a->stream) {
		pull_stream(k, m);
		return;
	}
	put_s(&text, m ? "{\"status\":\"success\"}"
	               : "{\"error\":\"pull model manifest: file does not exist\"}");
	answer(k, m ? 200 : 500, JSON_PLAIN);
}

static void post_pull(struct call *k)
{
	struct ask a;

	if (!read_ask(k, ASK_PULL, &a))
		return;
	pull(k, &a);
	ask_done(&a);
}

static void delete_model(struct call *k)
{
	struct model *m;
	struct name n;
	struct ask a;

	if (!read_ask(k, ASK_DELETE, &a))
		return;
	if (name_parse(span_of(either_name(&a)), &n)) {
		answer_error(k, 400, "name ", either_name(&a), " is invalid");
	} else {
		m = models_find(&n, false);
		if (m) {
			m->present = false;
			answer(k, 200, NULL);
		} else {
			answer_missing(k, either_name(&a));
		}
	}
	ask_done(&a);
}

static void post_copy(struct call *k)
{
	struct name from, to;
	const struct model *m;
	struct ask a;

	if (!read_ask(k, ASK_COPY, &a))
		return;
	if (name_parse(span_of(a.model), &from)) {
		answer_error(k, 400, "source ", a.model, " is invalid");
	} else if (name_parse(span_of(a.name), &to)) {
		answer_error(k, 400, "destination ", a.name, " is invalid");
	} else if ((m = models_find(&from, false))) {
		models_copy(m, &to);
		answer(k, 200, NULL);
	} else {
		answer_error(k, 404, "model ", a.model, " not found");
	}
	ask_done(&a);
}

static bool is_digest(const char *s)
{
	return !strncmp(s, "sha256:", 7) && strlen(s) == 71 &&
	       strspn(s + 7, "0123456789abcdef") == 64;
}

static bool have_blob(const char *digest)
{
	for (size_t i = 0; i < blob_count; i++)
		if (!strcmp(blobs[i], digest))
			return true;
	return false;
}

static void head_blob(struct call *k)
{
	const char *digest = k->path + strlen("/api/blobs/");

	if (!is_digest(digest))
		answer_error(k, 400, "invalid digest format", NULL, "");
	else if (!have_blob(digest))
		answer_error(k, 404, "blob ", digest, " not found");
	else
		answer(k, 200, NULL);
}

static void post_blob(struct call *k)
{
	const char *digest = k->path + strlen("/api/blobs/");
	char real[80] = "sha256:";
	struct buf b;

	if (!is_digest(digest)) {
		answer_error(k, 400, "invalid digest format", NULL, "");
		return;
	}
	if (have_blob(digest)) {
		answer(k, 200, NULL);
		return;
	}
	sha256_hex(k->body.p ? k->body.p : "", k->body.len, real + 7);
	if (strcmp(real, digest)) {
		buf_init(&b, TEXT_MAX);
		put_f(&b, "digest mismatch, expected \"%s\", got \"%s\"", digest, real);
		answer_error(k, 400, buf_str(&b), NULL, "");
		buf_done(&b);
		return;
	}
	blobs = realloc(blobs, (blob_count + 1) * sizeof(char *));
	if (!blobs)
		abort();
	blobs[blob_count++] = text_dup(span_of(digest));
	answer(k, 201, NULL);
}

/* --- the double's own ------------------------------------------------------ */

static void get_stats(struct call *k)
{
	put_stats(&text, sched_pending());
	answer(k, 200, JSON_PLAIN);
}

static void post_reset(struct call *k)
{
	counters_reset();
	put_s(&text, "{}");
	answer(k, 200, JSON_PLAIN);
}

static void post_set(struct call *k)
{
	struct errtext why = { "" };
	bool was_down = server.down;

	if (faults_set(k->body, &why)) {
		put_error(&text, VOICE_OLLAMA, 400, why.s);
		answer(k, 400, JSON_PLAIN);
		return;
	}
	if (server.down && !was_down) {
		http_cut_all(k->conn);
		sched_kill();
	}
	sched_look();
	put_server_faults(&text);
	answer(k, 200, JSON_PLAIN);
}

/* --- routing --------------------------------------------------------------- */

/* Within a path in the order in which gin lists the others in Allow. */
static const struct route routes[] = {
	{ "HEAD", "/", get_root },
	{ "GET", "/", get_root },
	{ "HEAD", "/api/version", get_version },
	{ "GET", "/api/version", get_version },
	{ "GET", "/api/status", get_status },
	{ "HEAD", "/api/tags", get_tags },
	{ "GET", "/api/tags", get_tags },
	{ "GET", "/api/ps", get_ps },
	{ "POST", "/api/show", post_show },
	{ "POST", "/api/chat", post_chat },
	{ "POST", "/api/generate", post_generate },
	{ "POST", "/api/embed", post_embed },
	{ "POST", "/api/embeddings", post_embeddings },
	{ "POST", "/api/pull", post_pull },
	{ "POST", "/api/copy", post_copy },
	{ "DELETE", "/api/delete", delete_model },
	{ "HEAD", "/api/blobs/*", head_blob },
	{ "POST", "/api/blobs/*", post_blob },
	{ "POST", "/v1/chat/completions", post_v1_chat },
	{ "POST", "/v1/completions", post_v1_text },
	{ "POST", "/v1/responses", post_v1_response },
	{ "POST", "/v1/messages", post_v1_message },
	{ "POST", "/v1/embeddings", post_v1_embeddings },
	{ "GET", "/v1/models", get_v1_models },
	{ "GET", "/v1/models/*", get_v1_model },
	{ "GET", "/fake/stats", get_stats },
	{ "POST", "/fake/reset", post_reset },
	{ "POST", "/fake/set", post_set },
};

static bool path_matches(const char *pattern, const char *path, size_t len)
{
	size_t n = strlen(pattern);

	if (pattern[n - 1] != '*')
		return n == len && !memcmp(pattern, path, len);
	return len >= n && !memcmp(pattern, path, n - 1) &&
	       !memchr(path + n - 1, '/', len - n + 1);
}

static const struct route *find_route(struct span method, const char *path,
                                      size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(routes); i++)
		if (span_eq(method, routes[i].method) &&
		    path_matches(routes[i].path, path, len))
			return &routes[i];
	return NULL;
}

/* "HEAD, GET", or NULL for a path that no method has. */
static const char *allowed(const char *path)
{
	static char list[ALLOW_MAX];
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_LEN(routes); i++)
		if (path_matches(routes[i].path, path, strlen(path)))
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
			                        len ? ", " : "", routes[i].method);
	return len ? list : NULL;
}

/* path.Clean as ServeMux applies it: no empty, "." or ".." element; a slash at
 * the end stays. Heap. */
static char *clean(const char *path)
{
	char *out = text_alloc(strlen(path) + 2), *o = out;
	bool slash = path[strlen(path) - 1] == '/';

	while (*path) {
		size_t n;

		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (n == 2 && !strncmp(path, "..", 2)) {
			while (o > out && *--o != '/')
				;
		} else if (n && !(n == 1 && *path == '.')) {
			*o++ = '/';
			memcpy(o, path, n);
			o += n;
		}
		path += n;
	}
	if (o == out || slash)
		*o++ = '/';
	*o = '\0';
	return out;
}

/* http.Redirect: a body for GET only. */
static void redirect(struct call *k, int status, const char *to)
{
	struct span q = k->head->query;
	bool get = span_eq(k->head->method, "GET");
	struct buf location;

	buf_init(&location, TEXT_MAX);
	for (; *to; to++) {
		if (*to <= ' ' || *to & 0x80 || strchr("\"%<>\\^`{|}?#", *to))
			put_f(&location, "%%%02X", (unsigned char)*to);
		else
			put(&location, to, 1);
	}
	if (q.p)
		put_f(&location, "?%.*s", (int)q.len, q.p);
	http_field(k->conn, "Location", buf_str(&location));
	if (get)
		put_f(&text, "<a href=\"%s\">%s</a>.\n\n", location.p,
		      status == 301 ? "Moved Permanently" : "Temporary Redirect");
	answer(k, status,
	       get || span_eq(k->head->method, "HEAD") ? "text/html; charset=utf-8"
	                                               : NULL);
	buf_done(&location);
}

/* A path that another spelling would serve. True: answered. */
static bool redirected(struct call *k)
{
	size_t len = strlen(k->path);
	char *cleaned = clean(k->path);
	bool other = strcmp(cleaned, k->path) != 0;

	if (other) {
		redirect(k, 307, cleaned);
	} else if (len > 1 && k->path[len - 1] == '/' &&
	           find_route(k->head->method, k->path, len - 1)) {
		cleaned[len - 1] = '\0';
		redirect(k, span_eq(k->head->method, "GET") ? 301 : 307, cleaned);
		other = true;
	}
	free(cleaned);
	return other;
}

static void not_routed(struct call *k, const char *allow)
{
	if (allow)
		http_field(k->conn, "Allow", allow);
	put_s(&text, allow ? "405 method not allowed" : "404 page not found");
	answer(k, allow ? 405 : 404, "text/plain");
}

static bool is_own(const struct head *h)
{
	return !strncmp(h->path, "/fake/", 6);
}

static enum http_want on_head(const struct head *h)
{
	if (server.down && !is_own(h))
		return HTTP_DROP;
	return find_route(h->method, h->path, strlen(h->path)) ? HTTP_READ_BODY
	                                                       : HTTP_IGNORE_BODY;
}

static void on_request(struct http_conn *c, const struct head *h, struct span body)
{
	struct call k = { .conn = c, .head = h, .body = body, .path = h->path };
	const struct route *r = find_route(h->method, h->path, strlen(h->path));
	const char *allow = r ? NULL : allowed(h->path);
	bool reads = r &&
	             (span_eq(h->method, "POST") || span_eq(h->method, "DELETE")) &&
	             strncmp(h->path, "/api/blobs/", 11);

	buf_clear(&text);
	if (!is_own(h)) {
		counted.requests++;
		k.n = ++last_n;
	}
	if (!reads)
		note(&k, "");
	if (redirected(&k) || !gate_pass(c, h, allow))
		return;
	if (r)
		r->fn(&k);
	else
		not_routed(&k, allow);
}

const struct http_handler api_handler = {
	.head = on_head,
	.request = on_request,
	.gone = task_gone,
	.drained = task_drained,
};

void api_init(const struct pace *p)
{
	pace = *p;
	buf_init(&text, TEXT_MAX);
}

void api_done(void)
{
	while (blob_count)
		free(blobs[--blob_count]);
	free(blobs);
	buf_done(&text);
}
