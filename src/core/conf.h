/*
 * conf.h - the settings: FOREMAN_* of the environment, and nothing else.
 *
 * One table (setting.c) holds every key's name, type, range, default, secrecy
 * and help; reading, checking, dumping and the documentation come from it.
 * A key foreman does not know, or a value out of form or range, stops the
 * start with one line that names the key, the value and what is accepted.
 * An empty value counts as not set. A secret FOREMAN_X may stand in a file that
 * FOREMAN_X_FILE names; both at once are refused.
 */
#ifndef FOREMAN_CORE_CONF_H
#define FOREMAN_CORE_CONF_H

#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"
#include "core/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct conf_schedule {
	int64_t ms[LIMIT_WEBHOOK_SCHEDULE];
	size_t count;
};

/* Strings are owned; NULL where a key without default is unset. */
struct conf {
	char *ollama_url;        /* http(s)://host[:port][/prefix], no final '/' */
	char *ollama_token;
	char *embed_model;
	char *db;
	bool other_checkpoints;  /* FOREMAN_CHECKPOINTER=other: the worker does not */
	char *socket;            /* a path, or host:port */
	char *relay;
	char *listen;            /* the Caddyfile's; only checked for form */
	char *request_buffers;   /* the Caddyfile's */
	char *url;               /* the command line's and libforeman's */
	int64_t responders;
	int64_t threads;
	char *api_token;
	int64_t max_body;        /* bytes */
	int64_t max_queue;
	int64_t max_jobs;
	int64_t drain_max_wait_ms;
	int64_t max_attempts;
	int64_t max_silence_ms;  /* 0 = never */
	int64_t target_stall_ms; /* 0 = never */
	int64_t target_dead_ms;  /* TCP's patience with its host */
	int64_t keepalive_ms;    /* 0 = never */
	int64_t chat_max_wait_ms; /* 0 = no limit */
	int64_t poll_interval_ms;
	int64_t inline_max;      /* bytes */
	int64_t max_response;    /* bytes */
	char *public_url;
	char *webhook_url;
	char *webhook_secret;    /* one or more whsec_…, space-separated */
	char *webhook_allow;     /* checked for form here, compiled by http/guard */
	struct conf_schedule webhook_schedule;
	int64_t webhook_timeout_ms;
	int64_t retention_ms;    /* 0 = for ever */
	bool model_admin;
	enum log_level log_level;
	enum log_format log_format;
};

/*
 * Read all settings from `env` ("NAME=value" strings, NULL at the end).
 * ERR_OK: *out is complete; conf_done it. ERR_INVAL: `why` is the line.
 */
enum err conf_load(char *const *env, struct conf *out, struct errtext *why) MUST_CHECK;
void conf_done(struct conf *c);

/* Every key and its effective value, one "KEY=value" a line, secrets masked;
 * this is what --check-config prints. */
void conf_dump(const struct conf *c, FILE *to);

#endif
