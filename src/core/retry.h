/*
 * retry.h - when to try again. Pure.
 */
#ifndef FOREMAN_CORE_RETRY_H
#define FOREMAN_CORE_RETRY_H

#include <stddef.h>
#include <stdint.h>

/* min(base * 2^n, max), n counted from 0; never overflows. */
int64_t retry_backoff_ms(int64_t base_ms, int64_t max_ms, unsigned n);

/*
 * The delay before webhook attempt `attempt` (0 = the first) by the schedule,
 * with +-20 % jitter drawn from `random` (any 32 bits); -1 when the schedule
 * is used up and the delivery is dead.
 */
int64_t retry_schedule_ms(const int64_t *schedule_ms, size_t count,
                          unsigned attempt, uint32_t random);

/* Retry-After: delta-seconds or an HTTP-date, as milliseconds from now_ms,
 * capped at max_ms; -1 when it is neither. */
int64_t retry_after_ms(const char *value, int64_t now_ms, int64_t max_ms);

#endif
