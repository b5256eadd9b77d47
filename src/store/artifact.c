/*
 * artifact.c - artifacts: one row of metadata, the bytes in rows of 1 MiB.
 *
 * An artifact is written whole in the transaction that ends its job and never
 * changed; it goes with the job. Its number is never used again, so a reader
 * that comes back for the next chunk gets that artifact's or none.
 */
#include <config.h>

#include "store/artifact.h"

#include <stdlib.h>
#include <string.h>

#include "base/sha.h"
#include "core/limits.h"
#include "store/row.h"

static enum err save_chunks(struct db *db, int64_t artifact, struct span bytes,
                            struct errtext *why)
{
	static const char insert[] =
	    "INSERT INTO artifact_chunks (artifact, n, bytes) VALUES (?, ?, ?)";
	enum err err = ERR_OK;

	for (int64_t n = 0; bytes.len > 0 && err == ERR_OK; n++) {
		size_t len =
		    bytes.len < LIMIT_ARTIFACT_CHUNK ? bytes.len : LIMIT_ARTIFACT_CHUNK;
		struct sql q = sql_use(db, insert);

		sql_int(&q, artifact);
		sql_int(&q, n);
		sql_blob(&q, bytes.p, len);
		err = sql_run(&q, why);
		bytes.p += len;
		bytes.len -= len;
	}
	return err;
}

enum err artifact_save(struct db *db, int64_t job_seq, const char *name,
                       const char *content_type, struct span bytes, bool complete,
                       struct errtext *why)
{
	static const char insert[] =
	    "INSERT INTO artifacts"
	    " (job_seq, name, content_type, bytes, sha256, complete)"
	    " VALUES (?, ?, ?, ?, ?, ?)";
	char digest[2 * SHA256_LEN + 1];
	struct sql q = sql_use(db, insert);
	enum err err;

	sha256_hex(bytes.p, bytes.len, digest);
	sql_int(&q, job_seq);
	sql_text(&q, name);
	sql_text(&q, content_type ? content_type : "application/octet-stream");
	sql_int(&q, (int64_t)bytes.len);
	sql_text(&q, digest);
	sql_int(&q, complete);
	err = sql_run(&q, why);
	if (err != ERR_OK)
		return err;
	return save_chunks(db, sql_last_seq(db), bytes, why);
}

enum err artifact_find(struct db *db, const char *job_id, const char *name,
                       struct artifact *out, int64_t *handle)
{
	static const char find[] =
	    "SELECT " ROW_ARTIFACT " FROM artifacts WHERE name = ?"
	    " AND job_seq = (SELECT seq FROM jobs WHERE id = ?)";
	struct sql q = sql_use(db, find);
	struct artifact found;
	int64_t number = 0;
	bool any;
	enum err err;

	sql_text(&q, name);
	sql_text(&q, job_id);
	any = sql_row(&q);
	if (any)
		row_read_artifact(&q, &found, &number);
	err = sql_end(&q, NULL);
	if (err != ERR_OK)
		return err;
	if (!any)
		return ERR_NOENT;
	*out = found;
	*handle = number;
	return ERR_OK;
}

enum err artifact_chunk(struct db *db, int64_t handle, int64_t n, struct buf *b)
{
	static const char read[] =
	    "SELECT bytes FROM artifact_chunks WHERE artifact = ? AND n = ?";
	struct sql q = sql_use(db, read);
	enum err err = ERR_NOENT, end;

	buf_clear(b);
	sql_int(&q, handle);
	sql_int(&q, n);
	if (sql_row(&q)) {
		size_t len;
		const void *p = sql_peek_blob(&q, &len);

		err = buf_add(b, p, len);
	}
	end = sql_end(&q, NULL);
	return end != ERR_OK ? end : err;
}

enum err artifact_piece(struct db *db, int64_t handle, int64_t offset, size_t max,
                        struct buf *b)
{
	static const char read[] = "SELECT substr(bytes, ?, ?) FROM artifact_chunks"
	                           " WHERE artifact = ? AND n = ?";
	struct sql q = sql_use(db, read);
	enum err err = ERR_NOENT, end;

	buf_clear(b);
	sql_int(&q, offset % LIMIT_ARTIFACT_CHUNK + 1);
	sql_int(&q, (int64_t)max);
	sql_int(&q, handle);
	sql_int(&q, offset / LIMIT_ARTIFACT_CHUNK);
	if (sql_row(&q)) {
		size_t len;
		const void *p = sql_peek_blob(&q, &len);

		if (len > 0)
			err = buf_add(b, p, len);
	}
	end = sql_end(&q, NULL);
	return end != ERR_OK ? end : err;
}

/* All chunks of `a` into a->inline_bytes. */
static enum err load(struct db *db, int64_t handle, struct artifact *a)
{
	char *bytes = malloc((size_t)a->bytes + 1);
	size_t at = 0, size = (size_t)a->bytes;
	enum err err = bytes ? ERR_OK : ERR_NOMEM;
	struct buf chunk;

	buf_init(&chunk, LIMIT_ARTIFACT_CHUNK);
	for (int64_t n = 0; at < size && err == ERR_OK; n++) {
		err = artifact_chunk(db, handle, n, &chunk);
		if (err == ERR_OK && chunk.len > size - at)
			err = ERR_IO;
		if (err != ERR_OK)
			break;
		memcpy(bytes + at, chunk.p, chunk.len);
		at += chunk.len;
	}
	buf_done(&chunk);
	if (err != ERR_OK) {
		free(bytes);
		return err;
	}
	bytes[size] = '\0';
	a->inline_bytes = bytes;
	return ERR_OK;
}

#define PER_JOB_MAX 8 /* artifacts listed; two names exist so far */

enum err artifact_list(struct db *db, struct job *job, int64_t inline_limit,
                       struct errtext *why)
{
	static const char list[] =
	    "SELECT " ROW_ARTIFACT
	    " FROM artifacts WHERE job_seq = ? ORDER BY artifact";
	struct artifact found[PER_JOB_MAX];
	int64_t handles[PER_JOB_MAX];
	struct sql q = sql_use(db, list);
	size_t count = 0;
	enum err err;

	sql_int(&q, job->seq);
	while (count < PER_JOB_MAX && sql_row(&q)) {
		row_read_artifact(&q, &found[count], &handles[count]);
		count++;
	}
	err = sql_end(&q, why);
	if (err != ERR_OK || count == 0)
		return err;
	job->artifacts = malloc(count * sizeof(found[0]));
	if (!job->artifacts)
		return ERR_NOMEM;
	memcpy(job->artifacts, found, count * sizeof(found[0]));
	job->artifact_count = count;
	for (size_t i = 0; i < count && err == ERR_OK; i++)
		if (found[i].bytes <= inline_limit)
			err = load(db, handles[i], &job->artifacts[i]);
	return err;
}
