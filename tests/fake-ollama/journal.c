/*
 * journal.c - lines gather in memory during a turn of the loop and are
 * written before it waits, so a reader that waits for a line gets it.
 */
#include <config.h>

#include "journal.h"

#include "text.h"

#include "base/fd.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct counters counted;

static struct {
	char *model;
	uint64_t loads;
} * by_model;
static size_t by_model_count;

static int log_fd = -1;
static struct buf lines = { .max = TEXT_MAX };

bool journal_open(const char *path)
{
	log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	return log_fd >= 0;
}

bool journal_on(void)
{
	return log_fd >= 0;
}

struct buf *journal_begin(const char *event, uint64_t n)
{
	int64_t us = text_mono_ns() / 1000;

	put_f(&lines, "{\"t\":%" PRId64 ".%06d,\"event\":\"%s\"", us / 1000000,
	      (int)(us % 1000000), event);
	if (n)
		put_f(&lines, ",\"n\":%" PRIu64, n);
	return &lines;
}

void journal_end(void)
{
	put_s(&lines, "}\n");
	if (log_fd < 0)
		buf_clear(&lines);
}

void journal_model(const char *event, uint64_t n, const char *model)
{
	struct buf *b;

	if (log_fd < 0)
		return;
	b = journal_begin(event, n);
	put_s(b, ",\"model\":");
	put_json(b, span_of(model));
	journal_end();
}

void journal_flush(void)
{
	if (!lines.len)
		return;
	if (fd_write_all(log_fd, lines.p, lines.len, -1))
		fputs("fake-ollama: cannot write the log\n", stderr);
	buf_clear(&lines);
}

void journal_close(void)
{
	journal_flush();
	buf_done(&lines);
	fd_close(&log_fd);
	counters_reset();
}

void count_load(const char *model)
{
	size_t i = 0;

	counted.loads++;
	while (i < by_model_count && strcmp(by_model[i].model, model))
		i++;
	if (i == by_model_count) {
		by_model = realloc(by_model, (i + 1) * sizeof(*by_model));
		if (!by_model)
			abort();
		by_model[i].model = text_dup(span_of(model));
		by_model[i].loads = 0;
		by_model_count++;
	}
	by_model[i].loads++;
}

void put_stats(struct buf *b, size_t pending)
{
	const struct {
		const char *name;
		uint64_t n;
	} all[] = {
		{ "requests", counted.requests },
		{ "generations", counted.generations },
		{ "embeds", counted.embeds },
		{ "running", counted.running },
		{ "pending", pending },
		{ "max_concurrent_generations", counted.max_concurrent_generations },
		{ "loads", counted.loads },
		{ "load_aborts", counted.load_aborts },
		{ "evictions", counted.evictions },
		{ "reloads", counted.reloads },
		{ "unloads", counted.unloads },
		{ "client_gone", counted.client_gone },
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		put_f(b, "%s\"%s\":%" PRIu64, i ? "," : "{", all[i].name, all[i].n);
	put_s(b, ",\"loads_by_model\":{");
	for (size_t i = 0; i < by_model_count; i++) {
		put_s(b, i ? "," : "");
		put_json(b, span_of(by_model[i].model));
		put_f(b, ":%" PRIu64, by_model[i].loads);
	}
	put_s(b, "}}");
}

void counters_reset(void)
{
	uint64_t running = counted.running;

	counted = (struct counters){ .running = running,
		                         .max_concurrent_generations = running };
	while (by_model_count)
		free(by_model[--by_model_count].model);
	free(by_model);
	by_model = NULL;
}
