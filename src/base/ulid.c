/*
 * ulid.c - the last id this process gave out, and the next one above it.
 *
 * A fresh millisecond brings 80 fresh random bits; within one, or behind a
 * clock that stepped back, the bits of the last id are raised by 1..2^32, so
 * that ids go up and still cannot be guessed from their neighbours. Bits that
 * would run over move the time on by one instead.
 */
#include <config.h>

#include "base/ulid.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/sha.h"

#define TIME_MAX ((INT64_C(1) << 48) - 1)

struct ulid {
	int64_t wall_ms; /* 48 bits */
	uint16_t high;   /* the 80 random bits */
	uint64_t low;
};

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ulid last = { .wall_ms = -1 };

static void draw(struct ulid *u, int64_t wall_ms)
{
	assert(wall_ms <= TIME_MAX); /* the year 10889 */
	u->wall_ms = wall_ms;
	sha_random(&u->high, sizeof(u->high));
	sha_random(&u->low, sizeof(u->low));
}

static void step_up(struct ulid *u)
{
	uint32_t random;
	uint64_t low;

	sha_random(&random, sizeof(random));
	low = u->low + random + 1;
	if (low < u->low && ++u->high == 0)
		draw(u, u->wall_ms + 1);
	else
		u->low = low;
}

static void write_id(const struct ulid *u, char out[ULID_SIZE])
{
	uint64_t high = (uint64_t)u->wall_ms << 16 | u->high;
	uint64_t low = u->low;

	for (int i = ULID_LEN; i-- > 0;) {
		out[i] = alphabet[low & 31];
		low = low >> 5 | high << 59;
		high >>= 5;
	}
	out[ULID_LEN] = '\0';
}

void ulid_new(char out[ULID_SIZE])
{
	ulid_run((char(*)[ULID_SIZE])out, 1);
}

/* All but the first are steps from it, whatever the time has come to: another
 * process would have to draw its 80 bits from a range of 2^46. */
void ulid_run(char (*out)[ULID_SIZE], size_t count)
{
	int64_t now = clock_wall_ms();

	if (now < 0)
		now = 0;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 && now > last.wall_ms)
			draw(&last, now);
		else
			step_up(&last);
		write_id(&last, out[i]);
	}
	pthread_mutex_unlock(&lock);
}

void ulid_floor(int64_t wall_ms, char out[ULID_SIZE])
{
	struct ulid u = { .wall_ms = wall_ms > 0 ? wall_ms : 0 };

	write_id(&u, out);
}

enum err ulid_parse(struct span s, char out[ULID_SIZE])
{
	char id[ULID_SIZE] = "";

	if (s.len != ULID_LEN || s.p[0] > '7')
		return ERR_INVAL;
	for (size_t i = 0; i < ULID_LEN; i++) {
		char c = s.p[i];

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (c == '\0' || !strchr(alphabet, c))
			return ERR_INVAL;
		id[i] = c;
	}
	memcpy(out, id, sizeof(id));
	return ERR_OK;
}
