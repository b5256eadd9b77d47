/*
 * journal.h - what happened: the event log (--log) and the counters
 * (/fake/stats).
 *
 * A log line is one JSON object: t (CLOCK_MONOTONIC seconds), event, n (the
 * request's number, where there is one), then what the event is about.
 */
#ifndef FAKE_OLLAMA_JOURNAL_H
#define FAKE_OLLAMA_JOURNAL_H

#include "base/attr.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct counters {
	uint64_t requests;    /* all but those to /fake/ */
	uint64_t generations; /* chat and generate runs that got their turn */
	uint64_t embeds;      /* the same for embeddings */
	uint64_t running;     /* generations now */
	uint64_t max_concurrent_generations;
	uint64_t loads; /* completed */
	uint64_t load_aborts;
	uint64_t evictions; /* unloads to make room for another model */
	uint64_t reloads;   /* unloads because the same model's options differ */
	uint64_t unloads;   /* all of them */
	uint64_t client_gone;
};

extern struct counters counted;

bool journal_open(const char *path) MUST_CHECK;
bool journal_on(void);

/* Begin a line; put further members (",\"key\":value") into the answer, then
 * end it. The answer is scratch while the log is off. n 0: no request. */
struct buf *journal_begin(const char *event, uint64_t n);
void journal_end(void);
/* A line about a model, whole. */
void journal_model(const char *event, uint64_t n, const char *model);

void journal_flush(void);
void journal_close(void);

/* Count a completed load of a model. */
void count_load(const char *model);
/* The counters as JSON; `pending` is the scheduler's. */
void put_stats(struct buf *b, size_t pending);
/* All to zero, but for what runs now. */
void counters_reset(void);

#endif
