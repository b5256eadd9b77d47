/*
 * task.h - one inference request's life: checked, scheduled, paced, answered.
 */
#ifndef FAKE_OLLAMA_TASK_H
#define FAKE_OLLAMA_TASK_H

#include "ask.h"
#include "http.h"

#include <stdbool.h>
#include <stdint.h>

/* Take the ask over and answer the connection, now or in time. */
void task_start(struct http_conn *c, struct ask *a, uint64_t n);

/* http.h's gone and drained, for connections whose work is a task. */
void task_gone(struct http_conn *c, void *work, bool reset);
void task_drained(void *work);

#endif
