/*
 * test_artifact.c - bytes go in whole and come out in chunks.
 */
#include <config.h>

#include "store/artifact.h"

#include "core/limits.h"
#include "store.h"

static char id[ULID_SIZE]; /* of the job save() made */

/* A job with an artifact of `len` bytes. */
static void save(struct db *db, const char *bytes, size_t len)
{
	struct job job;

	job_make(&job, "m:latest", false);
	memcpy(id, job.id, sizeof(id));
	if (job_store(db, &job) != ERR_OK ||
	    db_begin(db, DB_SYNC_NORMAL, NULL) != ERR_OK ||
	    artifact_save(db, job.seq, "response", "text/plain",
	                  (struct span){ bytes, len }, true, NULL) != ERR_OK ||
	    db_commit(db, NULL) != ERR_OK)
		abort();
	job_done(&job);
}

static void a_small_one_is_one_chunk(void)
{
	struct db *db = db_fresh();
	struct artifact a;
	int64_t handle;
	struct buf b;

	save(db, "hello", 5);
	REQUIRE(artifact_find(db, id, "response", &a, &handle) == ERR_OK);
	CHECK_STR(a.name, "response");
	CHECK_STR(a.content_type, "text/plain");
	CHECK_INT(a.bytes, 5);
	CHECK_STR(a.sha256,
	          "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
	CHECK(a.complete && !a.inline_bytes);
	buf_init(&b, LIMIT_ARTIFACT_CHUNK);
	CHECK_INT(buf_add_str(&b, "left over"), ERR_OK);
	CHECK_INT(artifact_chunk(db, handle, 0, &b), ERR_OK);
	CHECK(b.len == 5 && memcmp(b.p, "hello", 5) == 0);
	CHECK_INT(artifact_chunk(db, handle, 1, &b), ERR_NOENT);
	buf_done(&b);
	db_gone(db);
}

/* One byte less than a chunk, exactly one, one more; and several. */
static void chunks_end_where_the_limit_says(void)
{
	static const size_t sizes[] = { LIMIT_ARTIFACT_CHUNK - 1, LIMIT_ARTIFACT_CHUNK,
		                            LIMIT_ARTIFACT_CHUNK + 1,
		                            3 * LIMIT_ARTIFACT_CHUNK + 7 };
	struct db *db = db_fresh();

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		char *bytes = malloc(sizes[i]);
		size_t at = 0, chunks = (sizes[i] - 1) / LIMIT_ARTIFACT_CHUNK + 1;
		struct artifact a;
		int64_t handle;
		struct buf b;
		bool same = true;

		for (size_t n = 0; n < sizes[i]; n++)
			bytes[n] = (char)(n * 31 + n / 1000);
		save(db, bytes, sizes[i]);
		REQUIRE(artifact_find(db, id, "response", &a, &handle) == ERR_OK);
		CHECK_INT(a.bytes, sizes[i]);
		buf_init(&b, LIMIT_ARTIFACT_CHUNK);
		for (size_t n = 0; n < chunks; n++) {
			CHECK_INT(artifact_chunk(db, handle, (int64_t)n, &b), ERR_OK);
			same = same && memcmp(b.p, bytes + at, b.len) == 0;
			at += b.len;
		}
		CHECK(same);
		CHECK_INT(at, sizes[i]);
		CHECK_INT(artifact_chunk(db, handle, (int64_t)chunks, &b), ERR_NOENT);
		buf_done(&b);
		free(bytes);
	}
	db_gone(db);
}

static void a_piece_begins_anywhere_and_ends_with_its_chunk(void)
{
	size_t size = LIMIT_ARTIFACT_CHUNK + 10;
	char *bytes = malloc(size);
	struct db *db = db_fresh();
	struct artifact a;
	int64_t handle;
	struct buf b;

	for (size_t n = 0; n < size; n++)
		bytes[n] = (char)(n * 31 + n / 1000);
	save(db, bytes, size);
	REQUIRE(artifact_find(db, id, "response", &a, &handle) == ERR_OK);
	buf_init(&b, 100);
	CHECK_INT(artifact_piece(db, handle, 0, 100, &b), ERR_OK);
	CHECK(b.len == 100 && memcmp(b.p, bytes, 100) == 0);
	CHECK_INT(artifact_piece(db, handle, LIMIT_ARTIFACT_CHUNK - 7, 100, &b),
	          ERR_OK);
	CHECK(b.len == 7 && memcmp(b.p, bytes + LIMIT_ARTIFACT_CHUNK - 7, 7) == 0);
	CHECK_INT(artifact_piece(db, handle, LIMIT_ARTIFACT_CHUNK, 100, &b), ERR_OK);
	CHECK(b.len == 10 && memcmp(b.p, bytes + LIMIT_ARTIFACT_CHUNK, 10) == 0);
	CHECK_INT(artifact_piece(db, handle, (int64_t)size - 1, 100, &b), ERR_OK);
	CHECK_INT(b.len, 1);
	CHECK_INT(artifact_piece(db, handle, (int64_t)size, 100, &b), ERR_NOENT);
	CHECK_INT(artifact_piece(db, handle, 5LL * LIMIT_ARTIFACT_CHUNK, 100, &b),
	          ERR_NOENT);
	CHECK_INT(artifact_piece(db, handle + 1, 0, 100, &b), ERR_NOENT);
	CHECK_INT(artifact_piece(db, handle, 0, 101, &b), ERR_TOOBIG);
	buf_done(&b);
	free(bytes);
	db_gone(db);
}

static void an_empty_one_has_no_chunk(void)
{
	struct db *db = db_fresh();
	struct artifact a;
	int64_t handle;
	struct buf b;

	save(db, "", 0);
	REQUIRE(artifact_find(db, id, "response", &a, &handle) == ERR_OK);
	CHECK_INT(a.bytes, 0);
	buf_init(&b, 10);
	CHECK_INT(artifact_chunk(db, handle, 0, &b), ERR_NOENT);
	buf_done(&b);
	db_gone(db);
}

static void what_is_not_there_is_not_found(void)
{
	struct db *db = db_fresh();
	struct artifact a;
	int64_t handle;

	save(db, "x", 1);
	CHECK_INT(artifact_find(db, id, "content", &a, &handle), ERR_NOENT);
	CHECK_INT(
	    artifact_find(db, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "response", &a, &handle),
	    ERR_NOENT);
	db_gone(db);
}

static void a_removed_one_is_not_taken_for_the_next(void)
{
	struct db *db = db_fresh();
	struct artifact a;
	int64_t handle, later;
	struct buf b;

	save(db, "first", 5);
	REQUIRE(artifact_find(db, id, "response", &a, &handle) == ERR_OK);
	shell(db, "DELETE FROM jobs");
	save(db, "other", 5);
	REQUIRE(artifact_find(db, id, "response", &a, &later) == ERR_OK);
	CHECK(later != handle);
	buf_init(&b, 10);
	CHECK_INT(artifact_chunk(db, handle, 0, &b), ERR_NOENT);
	CHECK_INT(artifact_chunk(db, later, 0, &b), ERR_OK);
	buf_done(&b);
	db_gone(db);
}

static void a_chunk_larger_than_the_buffer_is_refused(void)
{
	struct db *db = db_fresh();
	struct artifact a;
	int64_t handle;
	struct buf b;

	save(db, "hello", 5);
	REQUIRE(artifact_find(db, id, "response", &a, &handle) == ERR_OK);
	buf_init(&b, 4);
	CHECK_INT(artifact_chunk(db, handle, 0, &b), ERR_TOOBIG);
	buf_done(&b);
	buf_init(&b, 5);
	CHECK_INT(artifact_chunk(db, handle, 0, &b), ERR_OK);
	buf_done(&b);
	db_gone(db);
}

static void bytes_are_listed_up_to_the_limit(void)
{
	struct db *db = db_fresh();
	struct job job;

	save(db, "hello", 5);
	for (int limit = 4; limit <= 5; limit++) {
		job_init(&job);
		job.seq = 1;
		CHECK_INT(artifact_list(db, &job, limit, NULL), ERR_OK);
		REQUIRE(job.artifact_count == 1);
		if (limit == 4)
			CHECK(!job.artifacts[0].inline_bytes);
		else
			CHECK_STR(job.artifacts[0].inline_bytes, "hello");
		job_done(&job);
	}
	db_gone(db);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(a_small_one_is_one_chunk),
		T(chunks_end_where_the_limit_says),
		T(a_piece_begins_anywhere_and_ends_with_its_chunk),
		T(an_empty_one_has_no_chunk),
		T(what_is_not_there_is_not_found),
		T(a_removed_one_is_not_taken_for_the_next),
		T(a_chunk_larger_than_the_buffer_is_refused),
		T(bytes_are_listed_up_to_the_limit),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
