/*
 * tally.c - what the responders have answered, counted over all of them.
 *
 * Counts are relaxed atomic additions: no lock that a process could die with.
 * A row is given out under a record lock of the file, which the kernel gives
 * back for the dead, and shows when it is whole; it is never taken back.
 * Two readers may see the figures of one request apart: they are a scrape's.
 */
#include <config.h>

#include "responder/tally.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define SHAPE 1        /* another with each change of struct page */
#define ROWS_MAX 128   /* routes of all programs since the master began */
#define STATUS_MIN 100 /* others are counted as 0: nobody got an answer */
#define STATUS_MAX 599

const double tally_bounds[TALLY_BUCKETS] = { 0.001, 0.0025, 0.005, 0.01, 0.025,
	                                         0.05,  0.1,    0.5,   1,    5,
	                                         10,    60,     300,   1800, INFINITY };

struct row {
	char method[8];
	char path[48];
	_Atomic uint64_t statuses[STATUS_MAX - STATUS_MIN + 2];
	_Atomic uint64_t buckets[TALLY_BUCKETS];
	_Atomic uint64_t us;
};

struct page {
	uint64_t shape; /* 0: nobody has come yet */
	_Atomic uint32_t count;
	_Atomic uint64_t others[TALLY_WHAT_COUNT];
	struct row rows[ROWS_MAX];
};

static struct page *page;
static struct row *of_route[TALLY_ROUTES + 1]; /* the first: of none; NULL: full */
static struct tally_names routes;

/* --- the page -------------------------------------------------------------- */

enum err tally_create(int *fd)
{
	int made = memfd_create("foreman-tally", MFD_CLOEXEC);

	if (made < 0)
		return ERR_NOMEM;
	if (ftruncate(made, sizeof(struct page))) {
		fd_close(&made);
		return ERR_NOMEM;
	}
	*fd = made;
	return ERR_OK;
}

static struct page *map(int fd)
{
	int flags = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0);
	void *p = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, flags, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static enum err lock(int fd)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int rc;

	do
		rc = fcntl(fd, F_SETLKW, &whole);
	while (rc && errno == EINTR);
	return rc ? ERR_IO : ERR_OK;
}

struct tally_name tally_name(int route)
{
	if (route < 0 || route >= routes.count)
		return (struct tally_name){ .method = "", .path = "other" };
	return routes.of(route);
}

/* The row with this name, made if need be; NULL: no room. */
static struct row *row_of(struct tally_name name)
{
	uint32_t count = atomic_load(&page->count);
	struct row *r;

	for (uint32_t i = 0; i < count; i++) {
		r = &page->rows[i];
		if (strcmp(r->path, name.path) == 0 && strcmp(r->method, name.method) == 0)
			return r;
	}
	if (count == ROWS_MAX)
		return NULL;
	r = &page->rows[count];
	str_copy(r->method, sizeof(r->method), name.method);
	str_copy(r->path, sizeof(r->path), name.path);
	atomic_store(&page->count, count + 1);
	return r;
}

static void take_rows(void)
{
	page->shape = sizeof(*page) << 8 | SHAPE;
	for (int i = -1; i < routes.count; i++)
		of_route[i + 1] = row_of(tally_name(i));
}

static enum err join(int fd)
{
	struct stat st;
	enum err e = lock(fd);

	if (e)
		return e;
	if (fstat(fd, &st) || st.st_size != sizeof(struct page))
		return ERR_VERSION;
	page = map(fd);
	if (!page)
		return ERR_NOMEM;
	if (!page->shape || page->shape == (sizeof(*page) << 8 | SHAPE)) {
		take_rows();
		return ERR_OK;
	}
	tally_close();
	return ERR_VERSION;
}

enum err tally_open(int fd, const struct tally_names *names)
{
	enum err e;

	assert(names->count <= TALLY_ROUTES);
	routes = *names;
	e = fd < 0 ? ERR_OK : join(fd);
	fd_close(&fd); /* and with it the lock */
	if (page)
		return e;
	page = map(-1);
	if (!page)
		return ERR_NOMEM;
	take_rows();
	return e;
}

void tally_close(void)
{
	if (page)
		munmap(page, sizeof(*page));
	page = NULL;
}

/* --- counting -------------------------------------------------------------- */

static void add(_Atomic uint64_t *count, uint64_t n)
{
	atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

static uint64_t total(const _Atomic uint64_t *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

static int bucket_of(int64_t us)
{
	int i = 0;

	while ((double)us > tally_bounds[i] * 1e6)
		i++;
	return i;
}

void tally_request(int route, int status, int64_t us)
{
	bool known = status >= STATUS_MIN && status <= STATUS_MAX;
	struct row *r;

	if (!page)
		return;
	r = of_route[route >= 0 && route < TALLY_ROUTES ? route + 1 : 0];
	if (!r)
		return;
	if (us < 0)
		us = 0;
	add(&r->statuses[known ? status - STATUS_MIN + 1 : 0], 1);
	add(&r->buckets[bucket_of(us)], 1);
	add(&r->us, (uint64_t)us);
}

void tally_add(enum tally_what what)
{
	if (page)
		add(&page->others[what], 1);
}

/* --- telling --------------------------------------------------------------- */

uint64_t tally_total(enum tally_what what)
{
	return page ? total(&page->others[what]) : 0;
}

/* False: nobody has asked for it. */
static bool read_row(const struct row *r, struct tally_row *out)
{
	uint64_t any = 0;

	*out = (struct tally_row){ .method = r->method, .path = r->path };
	for (int b = 0; b < TALLY_BUCKETS; b++) {
		out->buckets[b] = total(&r->buckets[b]);
		any |= out->buckets[b];
	}
	out->seconds = (double)total(&r->us) / 1e6;
	return any != 0;
}

void tally_each(void (*row)(void *arg, const struct tally_row *row),
                void (*code)(void *arg, const struct tally_row *row, int status,
                             uint64_t count),
                void *arg)
{
	uint32_t count = page ? atomic_load(&page->count) : 0;
	struct tally_row out;

	for (uint32_t i = 0; i < count; i++) {
		const struct row *r = &page->rows[i];

		if (!read_row(r, &out))
			continue;
		if (row)
			row(arg, &out);
		for (int s = 0; code && s <= STATUS_MAX - STATUS_MIN + 1; s++) {
			uint64_t n = total(&r->statuses[s]);

			if (n)
				code(arg, &out, s ? s + STATUS_MIN - 1 : 0, n);
		}
	}
}
