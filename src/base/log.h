/*
 * log.h - one line per event, on standard error.
 *
 *   log_event(LOG_INFO, "job done", KV_S("job", id), KV_I("bytes", n));
 *
 * writes, as one write(2), a logfmt line (or one JSON object):
 *
 *   ts=2026-11-20T18:00:00.123Z level=info prog=worker msg="job done" job=01J… bytes=812
 *
 * Every value from outside is escaped, so that an event is always one line.
 * Prompts, replies and secrets are never passed here. Thread-safe.
 */
#ifndef FOREMAN_BASE_LOG_H
#define FOREMAN_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVEL_COUNT };
enum log_format { LOG_LOGFMT, LOG_JSON, LOG_FORMAT_COUNT };

struct log_kv {
	const char *key;
	enum { LOG_KV_STR, LOG_KV_INT } type;
	const char *str; /* NULL is written as "-" */
	int64_t num;
};

#define KV_S(k, v) ((struct log_kv){ .key = (k), .type = LOG_KV_STR, .str = (v) })
#define KV_I(k, v) ((struct log_kv){ .key = (k), .type = LOG_KV_INT, .num = (int64_t)(v) })

/* Call once before the first event; `prog` must stay valid ("worker"). */
void log_init(const char *prog, enum log_level level, enum log_format format);

/* A longer value than this many bytes is cut, and ends in "...". */
#define LOG_VALUE_MAX 512

void log_write(enum log_level level, const char *msg, const struct log_kv *kv,
               size_t kv_count);

/* The variadic part may be empty (GNU extension avoided by the leading KV). */
#define log_event(level, msg, ...)                                         \
	log_write((level), (msg), (const struct log_kv[]){ __VA_ARGS__ },      \
	          sizeof((const struct log_kv[]){ __VA_ARGS__ }) /             \
	              sizeof(struct log_kv))

#endif
