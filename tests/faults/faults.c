/*
 * faults.c - the Nth call fails, by LD_PRELOAD.
 *
 * FAULTS_PLAN names a file of one struct plan, shared by whoever has it mapped:
 * the test says whose calls of which kind are counted, and which of them is to
 * fail; the programs count. With nth 0 nothing fails: so a phase is measured,
 * and which calls are the first from their place is noted. One call fails, once,
 * whichever process makes it.
 *
 * Not counted: what libfcgi allocates (it asserts that it got it: the process
 * ends, and the master starts another), what goes to standard error, writes to
 * pipes and eventfds, which have no such failures, and short writes of little
 * to a unix socket, likewise.
 */
#include <config.h>

#undef _FORTIFY_SOURCE /* its inline open() would stand in the way of ours */

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)
#define FRAMES 24
#define CALLERS 6 /* what makes a place: so many, from the nearest on */
#define PLACES 16384
#define SEEN (4 * PLACES)

/* Both, and the layout of the plan, are known to tests/system/test_faults.py. */
enum role { ROLE_NONE, ROLE_WORKER, ROLE_MASTER, ROLE_RESPONDER };
enum kind {
	KIND_NONE,
	KIND_ALLOC,
	KIND_WRITE,
	KIND_SHORT,
	KIND_SYNC,
	KIND_CONNECT,
	KIND_OPEN
};

struct plan {
	uint32_t role; /* whose calls count; ROLE_NONE: nobody's */
	uint32_t kind;
	uint64_t nth;           /* this one fails; 0: none does */
	uint64_t count;         /* so many there were */
	uint32_t fired;         /* it has failed, */
	uint32_t pid;           /* ... this process's, */
	char where[4000];       /* ... called from here: "object+offset", a line each */
	uint64_t places;        /* with nth 0: so many places called, */
	uint64_t place[PLACES]; /* ... each first with this call */
	uint64_t seen[SEEN];    /* their hashes */
};

static struct plan *plan;
static enum role self;
static uintptr_t fcgi_start, fcgi_end; /* libfcgi's code */

/* --- the plan ------------------------------------------------------------- */

static int find_fcgi(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	if (!strstr(info->dlpi_name, "libfcgi.so"))
		return 0;
	fcgi_start = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr +
		                info->dlpi_phdr[i].p_memsz;

		if (info->dlpi_phdr[i].p_type == PT_LOAD && end > fcgi_end)
			fcgi_end = end;
	}
	return 1;
}

static enum role role_of(int argc, char **argv)
{
	if (strstr(argv[0], "foreman-worker"))
		return ROLE_WORKER;
	if (!strstr(argv[0], "foreman-responder"))
		return ROLE_NONE;
	return argc > 1 && strcmp(argv[1], "--child") == 0 ? ROLE_RESPONDER
	                                                   : ROLE_MASTER;
}

__attribute__((constructor)) static void begin(int argc, char **argv)
{
	const char *path = getenv("FAULTS_PLAN");
	void *warm[1], *map;
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	self = role_of(argc, argv);
	dl_iterate_phdr(find_fcgi, NULL);
	backtrace(warm, 1); /* the first loads a library */
	map = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		plan = map;
}

/* Who called, for the reader of a report; nothing here allocates. */
static void note_where(void)
{
	void *frames[FRAMES];
	int n = backtrace(frames, FRAMES);
	size_t len = 0;

	for (int i = 2; i < n && len < sizeof(plan->where); i++) {
		Dl_info info;

		if (dladdr(frames[i], &info) && info.dli_fname)
			len += (size_t)snprintf(
			    plan->where + len, sizeof(plan->where) - len, "%s+%#zx\n",
			    info.dli_fname,
			    (size_t)((char *)frames[i] - (char *)info.dli_fbase));
	}
}

/* A hash of the nearest callers; never 0. */
static uint64_t place_of_call(void)
{
	void *frames[CALLERS + 4];
	int n = backtrace(frames, CALLERS + 4);
	uint64_t hash = 14695981039346656037u;

	for (int i = 4; i < n; i++) /* behind us, note_place, fails and the call */
		hash = (hash ^ (uintptr_t)frames[i]) * 1099511628211u;
	return hash | 1;
}

static void note_place(uint64_t nth)
{
	uint64_t place = place_of_call(), at;

	for (size_t i = place >> 32, tries = 0; tries < SEEN; i++, tries++) {
		uint64_t seen = 0;

		if (__atomic_compare_exchange_n(&plan->seen[i % SEEN], &seen, place, false,
		                                __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			break;
		if (seen == place)
			return;
	}
	at = __atomic_fetch_add(&plan->places, 1, __ATOMIC_RELAXED);
	if (at < PLACES)
		plan->place[at] = nth;
}

/* Is this the call that fails? */
static bool fails(enum kind kind)
{
	uint64_t nth;

	if (!plan || plan->kind != (uint32_t)kind || plan->role != (uint32_t)self)
		return false;
	nth = __atomic_add_fetch(&plan->count, 1, __ATOMIC_RELAXED);
	if (!plan->nth)
		note_place(nth);
	if (nth != plan->nth)
		return false;
	plan->pid = (uint32_t)getpid();
	note_where();
	__atomic_store_n(&plan->fired, 1, __ATOMIC_RELEASE);
	return true;
}

/* The function that ours stands before. */
static void next(const char *name, void *fn)
{
	*(void **)fn = dlsym(RTLD_NEXT, name);
	if (!*(void **)fn)
		abort();
}

#define NEXT(name)                                                                 \
	static __typeof__(name) *real;                                                 \
	if (!real)                                                                     \
	next(#name, &real)

/* --- memory --------------------------------------------------------------- */

static bool starves(const void *caller)
{
	uintptr_t at = (uintptr_t)caller;

	if ((at >= fcgi_start && at < fcgi_end) || !fails(KIND_ALLOC))
		return false;
	errno = ENOMEM;
	return true;
}

EXPORT void *malloc(size_t size)
{
	NEXT(malloc);
	return starves(CALLER) ? NULL : real(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
	NEXT(calloc);
	return starves(CALLER) ? NULL : real(count, size);
}

EXPORT void *realloc(void *p, size_t size)
{
	NEXT(realloc);
	return size > 0 && starves(CALLER) ? NULL : real(p, size);
}

/* --- writing -------------------------------------------------------------- */

static mode_t type_of(int fd)
{
	struct stat st;

	return fd > STDERR_FILENO && fstat(fd, &st) == 0 ? st.st_mode & S_IFMT : 0;
}

/* A disk is full; a peer has gone, in either way of finding that. */
static bool fails_writing(int fd)
{
	mode_t type = plan && plan->kind == KIND_WRITE ? type_of(fd) : 0;

	if ((type != S_IFREG && type != S_IFSOCK) || !fails(KIND_WRITE))
		return false;
	errno = type == S_IFREG ? ENOSPC : plan->nth % 2 ? EPIPE : ECONNRESET;
	return true;
}

static int family_of(int fd)
{
	int family = AF_UNSPEC;
	socklen_t size = sizeof(family);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 ? family
	                                                                  : AF_UNSPEC;
}

/* How much of `len` is taken. A unix socket takes a little at once or not. */
static size_t taken(int fd, size_t len)
{
	bool may = plan && plan->kind == KIND_SHORT && len > 1 &&
	           type_of(fd) == S_IFSOCK && (len > 256 || family_of(fd) != AF_UNIX);

	return may && fails(KIND_SHORT) ? len / 2 : len;
}

EXPORT ssize_t write(int fd, const void *p, size_t len)
{
	NEXT(write);
	return fails_writing(fd) ? -1 : real(fd, p, taken(fd, len));
}

EXPORT ssize_t send(int fd, const void *p, size_t len, int flags)
{
	NEXT(send);
	return fails_writing(fd) ? -1 : real(fd, p, taken(fd, len), flags);
}

EXPORT ssize_t writev(int fd, const struct iovec *v, int count)
{
	NEXT(writev);
	return fails_writing(fd) ? -1 : real(fd, v, count);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	NEXT(sendmsg);
	return fails_writing(fd) ? -1 : real(fd, m, flags);
}

EXPORT ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
	NEXT(pwrite);
	return fails_writing(fd) ? -1 : real(fd, p, len, at);
}

EXPORT ssize_t pwrite64(int fd, const void *p, size_t len, off64_t at)
{
	NEXT(pwrite64);
	return fails_writing(fd) ? -1 : real(fd, p, len, at);
}

EXPORT int ftruncate(int fd, off_t len)
{
	NEXT(ftruncate);
	return fails_writing(fd) ? -1 : real(fd, len);
}

EXPORT int ftruncate64(int fd, off64_t len)
{
	NEXT(ftruncate64);
	return fails_writing(fd) ? -1 : real(fd, len);
}

/* --- syncing -------------------------------------------------------------- */

EXPORT int fsync(int fd)
{
	NEXT(fsync);
	if (!fails(KIND_SYNC))
		return real(fd);
	errno = EIO;
	return -1;
}

EXPORT int fdatasync(int fd)
{
	NEXT(fdatasync);
	if (!fails(KIND_SYNC))
		return real(fd);
	errno = EIO;
	return -1;
}

/* --- connecting ----------------------------------------------------------- */

EXPORT int connect(int fd, const struct sockaddr *to, socklen_t len)
{
	static const int ways[] = { ECONNREFUSED, ENETUNREACH, ETIMEDOUT };

	NEXT(connect);
	if (!fails(KIND_CONNECT))
		return real(fd, to, len);
	/* of a unix socket that is there, the backlog is full */
	errno = to->sa_family == AF_UNIX ? EAGAIN : ways[plan->nth % 3];
	return -1;
}

/* --- descriptors ---------------------------------------------------------- */

static bool out_of_descriptors(void)
{
	if (!fails(KIND_OPEN))
		return false;
	errno = EMFILE;
	return true;
}

#define MODE(flags)                                                                \
	mode_t mode = 0;                                                               \
	if ((flags) & (O_CREAT | __O_TMPFILE)) {                                       \
		va_list args;                                                              \
		va_start(args, flags);                                                     \
		mode = va_arg(args, mode_t);                                               \
		va_end(args);                                                              \
	}

EXPORT int open(const char *path, int flags, ...)
{
	MODE(flags)
	NEXT(open);
	return out_of_descriptors() ? -1 : real(path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
	MODE(flags)
	NEXT(open64);
	return out_of_descriptors() ? -1 : real(path, flags, mode);
}

EXPORT int socket(int domain, int type, int protocol)
{
	NEXT(socket);
	return out_of_descriptors() ? -1 : real(domain, type, protocol);
}

EXPORT int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
	NEXT(accept4);
	return out_of_descriptors() ? -1 : real(fd, from, len, flags);
}

EXPORT int eventfd(unsigned first, int flags)
{
	NEXT(eventfd);
	return out_of_descriptors() ? -1 : real(first, flags);
}

EXPORT int epoll_create1(int flags)
{
	NEXT(epoll_create1);
	return out_of_descriptors() ? -1 : real(flags);
}

EXPORT int pipe2(int fds[2], int flags)
{
	NEXT(pipe2);
	return out_of_descriptors() ? -1 : real(fds, flags);
}
