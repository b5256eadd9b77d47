/*
 * header.h - one header out of an HTTP reply's head.
 */
#ifndef FOREMAN_WORKER_HEADER_H
#define FOREMAN_WORKER_HEADER_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

/* The value of the first header called `name` (any case) in lines
 * "Name: value\n", copied to `out`. False: not there, or longer than fits. */
bool header_find(struct span lines, const char *name, char *out, size_t size);

#endif
