/*
 * backup.h - the file as a whole: is it sound, a copy of it, what is in it.
 *
 * For the command line; connections of its own, read-only, so it may run
 * beside everything else and on a copy that lies anywhere.
 */
#ifndef FOREMAN_STORE_BACKUP_H
#define FOREMAN_STORE_BACKUP_H

#include "base/attr.h"
#include "base/err.h"

#include <stdint.h>

/* SQLite's integrity check and that of foreign keys, without the tables' CHECKs:
 * it forgets them in a file that it only reads. ERR_INVAL: it is damaged, or not
 * foreman's; the first complaint in `why`. */
enum err backup_check(const char *path, struct errtext *why) MUST_CHECK;

/* A whole, compact copy of the file as it is at this moment, made while others
 * read and write; on disk when this returns. ERR_CONFLICT: `to` exists. */
enum err backup_copy(const char *path, const char *to,
                     struct errtext *why) MUST_CHECK;

struct backup_stats {
	int64_t bytes;           /* of the file */
	int64_t free_bytes;      /* of it, not used */
	int64_t wal_bytes;       /* of the log beside it */
	int64_t disk_free_bytes; /* on its file system, for this user */
	int version;             /* of the schema */
	int64_t queued, loading, working, done, failed; /* jobs */
	int64_t artifacts;
	int64_t artifact_bytes;
	int64_t webhooks_pending, webhooks_dead;
	int64_t retired;
};

enum err backup_stats(const char *path, struct backup_stats *out,
                      struct errtext *why) MUST_CHECK;

#endif
