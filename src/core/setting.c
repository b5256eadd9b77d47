/*
 * setting.c - the table of the settings.
 *
 * A row is all there is to know of a setting: its place in struct conf, its
 * type, range, default and meaning. Nothing else knows a key by name.
 */
#include <config.h>

#include "core/setting.h"

#include <string.h>

#include "core/conf.h"

#define FIELD(name) offsetof(struct conf, name)

const struct setting settings[] = {
	{ "FOREMAN_OLLAMA_URL", &VALUE_BASE_URL, FIELD(ollama_url), "",
	  "http://127.0.0.1:11434", "the one target; a path prefix is allowed", false },
	{ "FOREMAN_OLLAMA_TOKEN", &VALUE_TOKEN, FIELD(ollama_token), "", "",
	  "sent to the target as Authorization: Bearer; a client's own Authorization "
	  "is never forwarded", true },
	{ "FOREMAN_EMBED_MODEL", &VALUE_MODEL, FIELD(embed_model), "", "",
	  "the always-resident embedder; without it every embed request bypasses the "
	  "queue", false },
	{ "FOREMAN_DB", &VALUE_PATH, FIELD(db), "", "/var/lib/foreman/foreman.db",
	  "the SQLite file, mode 0640 in a directory of mode 0750", false },
	{ "FOREMAN_CHECKPOINTER", &VALUE_CHECKPOINTER, FIELD(other_checkpoints), "",
	  "worker", "who empties the database's write-ahead log; other is a program "
	  "that copies it, such as Litestream", false },
	{ "FOREMAN_SOCKET", &VALUE_SOCKET, FIELD(socket), "",
	  "/run/foreman/responder.sock", "where the responders listen for FastCGI",
	  false },
	{ "FOREMAN_RELAY", &VALUE_SOCKET_PATH, FIELD(relay), "",
	  "/run/foreman/relay.sock", "the worker's local socket to the responders",
	  false },
	{ "FOREMAN_LISTEN", &VALUE_TEXT, FIELD(listen), "", ":8080",
	  "where HTTP is served; read by the Caddyfile alone", false },
	{ "FOREMAN_REQUEST_BUFFERS", &VALUE_LINES, FIELD(request_buffers), "", "",
	  "the request buffering lines that this Caddy understands; read by the "
	  "Caddyfile alone", false },
	{ "FOREMAN_URL", &VALUE_BASE_URL, FIELD(url), "", "http://localhost:8080",
	  "where the service is; read by the command line and libforeman alone",
	  false },
	{ "FOREMAN_RESPONDERS", &VALUE_COUNT, FIELD(responders), "1..256", "cores",
	  "responder processes; cores is the number of processors", false },
	{ "FOREMAN_THREADS", &VALUE_NUMBER, FIELD(threads), "1..1024", "32",
	  "requests one responder works on at once; clients that wait in line take no "
	  "thread", false },
	{ "FOREMAN_API_TOKEN", &VALUE_TOKEN, FIELD(api_token), "", "",
	  "if set, every request but /healthz and a preflight needs Authorization: "
	  "Bearer with it", true },
	{ "FOREMAN_MAX_BODY", &VALUE_SIZE, FIELD(max_body), "1K..512M", "64M",
	  "request body cap; 413 above it", false },
	{ "FOREMAN_MAX_QUEUE", &VALUE_NUMBER, FIELD(max_queue), "1..4096", "512",
	  "clients that may wait in line on an open connection; 503 above it", false },
	{ "FOREMAN_MAX_JOBS", &VALUE_NUMBER, FIELD(max_jobs), "1..1000000000",
	  "1000000", "queued jobs; 429 with Retry-After above it", false },
	{ "FOREMAN_DRAIN_MAX_WAIT", &VALUE_DURATION, FIELD(drain_max_wait_ms), "0..30d",
	  "10m", "once a job of another model has waited this long, the drain switches "
	  "to it; 0 is no bound", false },
	{ "FOREMAN_MAX_ATTEMPTS", &VALUE_NUMBER, FIELD(max_attempts), "1..100", "3",
	  "runs of one job that may fail for a reason of its own; a sleeping target or "
	  "a restart never counts", false },
	{ "FOREMAN_MAX_SILENCE", &VALUE_DURATION, FIELD(max_silence_ms), "0 or 1s..30d",
	  "2h", "a job whose target says nothing for this long while it answers probes "
	  "is taken back and its model unloaded; 0 is never", false },
	{ "FOREMAN_TARGET_STALL", &VALUE_DURATION, FIELD(target_stall_ms),
	  "0 or 1s..30d", "15m",
	  "a job whose target says nothing and answers no probe for this long "
	  "is taken back; 0 is never", false },
	{ "FOREMAN_TARGET_DEAD", &VALUE_DURATION, FIELD(target_dead_ms), "4s..1h", "2m",
	  "a target whose host acknowledges nothing for this long is gone; a shorter "
	  "nap loses nothing", false },
	{ "FOREMAN_KEEPALIVE", &VALUE_DURATION, FIELD(keepalive_ms), "0 or 100ms..1h",
	  "15s", "a waiting client gets a few spaces this often, the first after this "
	  "long; 0 is never", false },
	{ "FOREMAN_CHAT_MAX_WAIT", &VALUE_DURATION, FIELD(chat_max_wait_ms), "0..30d",
	  "0", "a client may wait in line this long, then gets 503; 0 is no limit",
	  false },
	{ "FOREMAN_POLL_INTERVAL", &VALUE_DURATION, FIELD(poll_interval_ms), "50ms..1h",
	  "5s", "how often the target is looked at; backs off to 30s while it sleeps",
	  false },
	{ "FOREMAN_INLINE_MAX", &VALUE_SIZE, FIELD(inline_max), "0..16M", "16K",
	  "artifacts up to this size ride inside job objects and webhooks", false },
	{ "FOREMAN_MAX_RESPONSE", &VALUE_SIZE, FIELD(max_response), "1K..1G", "64M",
	  "a reply larger than this fails the job; the part so far is kept", false },
	{ "FOREMAN_PUBLIC_URL", &VALUE_BASE_URL, FIELD(public_url), "", "",
	  "base of the links in webhooks; they are relative without it", false },
	{ "FOREMAN_WEBHOOK_URL", &VALUE_URL, FIELD(webhook_url), "", "",
	  "receiver for jobs that name none; attended requests never post webhooks",
	  false },
	{ "FOREMAN_WEBHOOK_SECRET", &VALUE_WEBHOOK_SECRET, FIELD(webhook_secret), "",
	  "", "signs webhooks; several with spaces between while rotating", true },
	{ "FOREMAN_WEBHOOK_ALLOW", &VALUE_ALLOW, FIELD(webhook_allow), "", "public,lan",
	  "what a webhook may reach; link-local, multicast and unspecified addresses "
	  "only by CIDR", false },
	{ "FOREMAN_WEBHOOK_SCHEDULE", &VALUE_SCHEDULE, FIELD(webhook_schedule),
	  "0..365d", "0,5s,5m,30m,2h,5h,10h,14h,20h,24h",
	  "delays between attempts, with 20 % "
	  "jitter either way; after the last one the delivery is dead", false },
	{ "FOREMAN_WEBHOOK_TIMEOUT", &VALUE_DURATION, FIELD(webhook_timeout_ms),
	  "100ms..10m", "15s", "one attempt", false },
	{ "FOREMAN_RETENTION", &VALUE_DURATION, FIELD(retention_ms), "0..3650d", "7d",
	  "finished jobs are kept this long, and as long as a webhook is owed; 0 is "
	  "for ever", false },
	{ "FOREMAN_MODEL_ADMIN", &VALUE_ADMIN, FIELD(model_admin), "", "deny",
	  "allow passes pull, push, create, copy, delete and blobs on to the target",
	  false },
	{ "FOREMAN_LOG_LEVEL", &VALUE_LEVEL, FIELD(log_level), "", "info",
	  "the least important events that are logged", false },
	{ "FOREMAN_LOG_FORMAT", &VALUE_FORMAT, FIELD(log_format), "", "logfmt",
	  "how log lines are written", false },
};

const size_t setting_count = ARRAY_LEN(settings);

/* --- the name that was meant ------------------------------------------------ */

/* Letters to insert, drop or change until the one is the other; counted up to
 * `most`, which is what it says for anything more. */
static size_t distance(struct span a, const char *b, size_t most)
{
	enum { NAME_MAX = 40 };
	size_t b_len = strlen(b);
	size_t row[NAME_MAX + 1];

	if (b_len > NAME_MAX || a.len > b_len + most || b_len > a.len + most)
		return most;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t changed = diagonal + (a.p[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j - 1] + 1 < changed)
				changed = row[j - 1] + 1;
			row[j] = row[j] + 1 < changed ? row[j] + 1 : changed;
		}
	}
	return row[b_len] < most ? row[b_len] : most;
}

const char *setting_nearest(struct span name)
{
	const size_t own = name.len - (sizeof(SETTING_PREFIX) - 1);
	size_t least = own / 3 < 3 ? own / 3 + 1 : 4;
	const char *nearest = NULL;

	for (size_t i = 0; i < setting_count; i++) {
		size_t d = distance(name, settings[i].name, least);

		if (d < least) {
			least = d;
			nearest = settings[i].name;
		}
	}
	return nearest;
}
