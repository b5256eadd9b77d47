/*
 * artifact.h - what a job left behind: metadata in one row, bytes in chunks.
 *
 * Chunks of LIMIT_ARTIFACT_CHUNK are rows of their own, read one statement
 * each, so that a slow client holds no read transaction open.
 */
#ifndef FOREMAN_STORE_ARTIFACT_H
#define FOREMAN_STORE_ARTIFACT_H

#include "base/buf.h"
#include "core/job.h"
#include "store/db.h"

/* Part of the transaction that ends a job (store only). content_type NULL:
 * application/octet-stream. */
enum err artifact_save(struct db *db, int64_t job_seq, const char *name,
                       const char *content_type, struct span bytes, bool complete,
                       struct errtext *why) MUST_CHECK;

/* ERR_NOENT: no such job or artifact. *handle is for artifact_chunk. */
enum err artifact_find(struct db *db, const char *job_id, const char *name,
                       struct artifact *out, int64_t *handle) MUST_CHECK;

/* Chunk n (from 0) into `b` (cleared first). ERR_NOENT past the last one, or
 * when the artifact was removed meanwhile. */
enum err artifact_chunk(struct db *db, int64_t handle, int64_t n, struct buf *b) MUST_CHECK;

/* At most `max` bytes (at most LIMIT_ARTIFACT_CHUNK) from `offset` on into `b`
 * (cleared first), fewer at the end of a chunk. ERR_NOENT as above. */
enum err artifact_piece(struct db *db, int64_t handle, int64_t offset, size_t max,
                        struct buf *b) MUST_CHECK;

/* Fill job->artifacts; those not above inline_limit bytes get their bytes
 * loaded (-1: none). The job must have none yet (store only). */
enum err artifact_list(struct db *db, struct job *job, int64_t inline_limit,
                       struct errtext *why) MUST_CHECK;

#endif
