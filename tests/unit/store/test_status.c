/*
 * test_status.c - what the worker tells everybody.
 */
#include <config.h>

#include "store/status.h"

#include "store.h"

static void before_any_worker_all_is_unknown(void)
{
	struct db *db = db_fresh();
	struct status s;

	REQUIRE(status_read(db, true, &s) == ERR_OK);
	CHECK_INT(s.heartbeat_ms, 0);
	CHECK_INT(s.worker_pid, 0);
	CHECK_INT(s.target, TARGET_UNKNOWN);
	CHECK(!s.target_error && !s.version && !s.loaded_key && !s.tags);
	CHECK(!s.embed_ready);
	status_done(&s);
	db_gone(db);
}

static void what_is_written_is_read_by_others(void)
{
	static char error[] = "connection refused", version[] = "0.12.3",
	            key[] = "m:latest";
	const struct status told = { .heartbeat_ms = NOW,
		                         .worker_pid = 42,
		                         .worker_started_ms = NOW - 5,
		                         .target = TARGET_DOWN,
		                         .target_since_ms = NOW - 4,
		                         .target_seen_ms = NOW - 3,
		                         .target_error = error,
		                         .version = version,
		                         .loaded_key = key,
		                         .embed_ready = true };
	struct db *worker = db_fresh(), *reader = db_of(DB_READER);
	struct status s;

	CHECK_INT(status_write(worker, &told, NULL), ERR_OK);
	REQUIRE(status_read(reader, false, &s) == ERR_OK);
	CHECK_INT(s.heartbeat_ms, NOW);
	CHECK_INT(s.worker_pid, 42);
	CHECK_INT(s.worker_started_ms, NOW - 5);
	CHECK_INT(s.target, TARGET_DOWN);
	CHECK_INT(s.target_since_ms, NOW - 4);
	CHECK_INT(s.target_seen_ms, NOW - 3);
	CHECK_STR(s.target_error, "connection refused");
	CHECK_STR(s.version, "0.12.3");
	CHECK_STR(s.loaded_key, "m:latest");
	CHECK(s.embed_ready);
	status_done(&s);
	db_close(reader);
	db_gone(worker);
}

static void tags_outlive_heartbeats_and_come_when_asked_for(void)
{
	const struct status beat = { .heartbeat_ms = NOW };
	struct db *db = db_fresh();
	struct status s;

	CHECK_INT(status_write_tags(db, "{\"models\":[]}", NULL), ERR_OK);
	CHECK_INT(status_write_tags(db, "{\"models\":[1]}", NULL), ERR_OK);
	CHECK_INT(status_write(db, &beat, NULL), ERR_OK);
	REQUIRE(status_read(db, true, &s) == ERR_OK);
	CHECK_STR(s.tags, "{\"models\":[1]}");
	status_done(&s);
	REQUIRE(status_read(db, false, &s) == ERR_OK);
	CHECK(!s.tags);
	status_done(&s);
	db_gone(db);
}

static void every_target_state_survives_the_file(void)
{
	struct db *db = db_fresh();

	for (int i = 0; i < TARGET_STATE_COUNT; i++) {
		const struct status told = { .target = (enum target_state)i };
		struct status s;

		CHECK_INT(status_write(db, &told, NULL), ERR_OK);
		REQUIRE(status_read(db, false, &s) == ERR_OK);
		CHECK_INT(s.target, i);
		status_done(&s);
	}
	CHECK_STR(target_state_name(TARGET_DOWN), "unreachable");
	CHECK_STR(target_state_name(TARGET_STATE_COUNT), NULL);
	db_gone(db);
}

static void a_reader_may_not_write_it(void)
{
	const struct status beat = { .heartbeat_ms = NOW };
	struct db *worker = db_fresh(), *reader = db_of(DB_READER);

	CHECK_INT(status_write(reader, &beat, NULL), ERR_DENIED);
	CHECK_INT(status_write_tags(reader, "{}", NULL), ERR_DENIED);
	db_close(reader);
	db_gone(worker);
}

int main(void)
{
	static const struct t_case cases[] = {
		T(before_any_worker_all_is_unknown),
		T(what_is_written_is_read_by_others),
		T(tags_outlive_heartbeats_and_come_when_asked_for),
		T(every_target_state_survives_the_file),
		T(a_reader_may_not_write_it),
	};

	return t_run(cases, ARRAY_LEN(cases));
}
