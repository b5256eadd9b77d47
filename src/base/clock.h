/*
 * clock.h - the three clocks, and their texts.
 *
 * wall: CLOCK_REALTIME, for what must outlive a boot (stored times).
 * mono: CLOCK_MONOTONIC, for durations and timeouts; stops while we sleep.
 * boot: CLOCK_BOOTTIME; boot - mono grows exactly when this host slept.
 * All in milliseconds, except where the name says us.
 */
#ifndef FOREMAN_BASE_CLOCK_H
#define FOREMAN_BASE_CLOCK_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
int64_t clock_boot_ms(void);
int64_t clock_mono_us(void);

/* For tests: from now on the clocks read these. Not thread-safe. */
void clock_fake(int64_t wall_ms, int64_t mono_ms, int64_t boot_ms);
void clock_real(void);

#define CLOCK_ISO_SIZE 25 /* "2026-11-20T18:00:00.123Z" and a NUL */

/* UTC, milliseconds, always 24 characters for years 0000-9999. */
void clock_iso(int64_t wall_ms, char out[CLOCK_ISO_SIZE]);

/* An RFC 3339 time, "2026-11-20T18:00:00Z", with any fraction (cut to
 * milliseconds) and any offset, of the years 1970 to 9999. ERR_INVAL. */
enum err clock_parse(const char *text, int64_t *wall_ms) MUST_CHECK;

#endif
