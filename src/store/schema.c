/*
 * schema.c - what is in the file: commented DDL, one text per version.
 *
 * The rows say who moved where; triggers keep what follows from the rows:
 * tallies, the heads of the waiting line, each job's count of owed webhooks,
 * and whose turn it is among them. So the figures stay true whoever changes a
 * row, the sqlite3 shell included; no code counts or repairs.
 * A released version's text is never edited again: a change is a new version.
 */
#include <config.h>

#include "store/schema.h"

#include <stdio.h>

#include "store/sql.h"

/* UTC text of a time column, NULL staying NULL. */
#define ISO(column) \
	"strftime('%Y-%m-%dT%H:%M:%fZ', " column " / 1000.0, 'unixepoch')"

/* --- version 1: tables ----------------------------------------------------- */

static const char tables_1[] =
	"CREATE TABLE jobs ( -- one row per job; small: each move rewrites it\n"
	"	seq INTEGER PRIMARY KEY,    -- order of arrival; decides who is next\n"
	"	id TEXT NOT NULL UNIQUE,    -- ULID, the public name\n"
	"	state TEXT NOT NULL,        -- queued, loading, working, done, failed\n"
	"	reason TEXT,                -- why it failed, one word of the contract\n"
	"	error TEXT,                 -- the same for people; while queued: why it\n"
	"	                            -- was sent back\n"
	"	attended INTEGER NOT NULL,  -- 1: a client waits on an open connection\n"
	"	endpoint TEXT NOT NULL,     -- path at the target, '/api/chat'\n"
	"	model TEXT NOT NULL,        -- as the client wrote it\n"
	"	load_key TEXT NOT NULL,     -- canonical model and what shapes its load\n"
	"	attempts INTEGER NOT NULL,  -- runs that counted\n"
	"	interruptions INTEGER NOT NULL, -- runs that did not: somebody left\n"
	"	event_seq INTEGER NOT NULL, -- number of the latest row in events\n"
	"	cancel_requested INTEGER NOT NULL, -- 1: it runs and shall end\n"
	"	created_ms INTEGER NOT NULL, -- all *_ms: wall clock, ms since 1970\n"
	"	queued_ms INTEGER NOT NULL, -- when it last entered the line\n"
	"	held_until_ms INTEGER,      -- queued, not to run before; NULL: may run\n"
	"	loading_ms INTEGER,         -- when the latest run was dispatched\n"
	"	working_ms INTEGER,         -- when the target began to answer\n"
	"	finished_ms INTEGER,        -- when it was done or failed\n"
	"	expires_ms INTEGER,         -- fails if not started by then; NULL: never\n"
	"	timeout_ms INTEGER,         -- a duration: cuts a run off; NULL: none\n"
	"	prompt_tokens INTEGER,      -- usage the target reported; NULL: unknown\n"
	"	completion_tokens INTEGER,  -- the same for its answer\n"
	"	artifact_mode TEXT NOT NULL, -- auto, inline or fetch\n"
	"	metadata TEXT,              -- the client's JSON object; NULL: {}\n"
	"	webhook_url TEXT,           -- who is told; NULL: nobody\n"
	"	webhook_secret TEXT,        -- signs instead of the configured one\n"
	"	webhook_events INTEGER NOT NULL, -- which moves: a sum of 1 queued,\n"
	"	                            -- 2 loading, 4 working, 8 done, 16 failed\n"
	"	webhook_pending INTEGER NOT NULL DEFAULT 0, -- its webhooks still owed\n"
	"	webhook_dead INTEGER NOT NULL DEFAULT 0, -- its webhooks given up\n"
	"	idempotency_key TEXT,       -- the client's Idempotency-Key\n"
	"	fingerprint TEXT,           -- digest of the body that came with it\n"
	"	CHECK (state IN ('queued', 'loading', 'working', 'done', 'failed')),\n"
	"	CHECK (attended IN (0, 1)),\n"
	"	CHECK (cancel_requested IN (0, 1)),\n"
	"	CHECK (artifact_mode IN ('auto', 'inline', 'fetch')),\n"
	"	CHECK ((state IN ('done', 'failed')) = (finished_ms IS NOT NULL)),\n"
	"	CHECK ((state = 'failed') = (reason IS NOT NULL)),\n"
	"	CHECK (state <> 'queued' OR loading_ms IS NULL),\n"
	"	CHECK (state <> 'loading' OR loading_ms IS NOT NULL),\n"
	"	CHECK (state NOT IN ('working', 'done') OR working_ms IS NOT NULL),\n"
	"	CHECK (state <> 'loading' OR working_ms IS NULL),\n"
	"	CHECK (working_ms IS NULL OR loading_ms IS NOT NULL),\n"
	"	CHECK (held_until_ms IS NULL OR state = 'queued'),\n"
	"	CHECK ((idempotency_key IS NULL) = (fingerprint IS NULL))\n"
	") STRICT;\n"

	"CREATE TABLE inputs ( -- what is sent to the target\n"
	"	job_seq INTEGER PRIMARY KEY REFERENCES jobs (seq), -- whose\n"
	"	body BLOB NOT NULL,         -- the request body, byte for byte\n"
	"	headers TEXT                -- of the client's headers those that are\n"
	"	                            -- sent with it, 'Name: value' lines;\n"
	"	                            -- NULL: none\n"
	") STRICT;\n"

	"CREATE TABLE artifacts ( -- what a job left behind, without the bytes\n"
	"	artifact INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice\n"
	"	job_seq INTEGER NOT NULL REFERENCES jobs (seq), -- whose\n"
	"	name TEXT NOT NULL,         -- 'response'\n"
	"	content_type TEXT NOT NULL, -- as the target said\n"
	"	bytes INTEGER NOT NULL,     -- length\n"
	"	sha256 TEXT NOT NULL,       -- of the bytes, lower-case hex\n"
	"	complete INTEGER NOT NULL CHECK (complete IN (0, 1)), -- 0: was cut\n"
	"	UNIQUE (job_seq, name)\n"
	") STRICT;\n"

	"CREATE TABLE artifact_chunks ( -- the bytes, at most 1 MiB a row\n"
	"	artifact INTEGER NOT NULL REFERENCES artifacts (artifact), -- whose\n"
	"	n INTEGER NOT NULL,         -- 0, 1, 2 ... within the artifact\n"
	"	bytes BLOB NOT NULL,        -- as the target sent them\n"
	"	PRIMARY KEY (artifact, n)\n"
	") STRICT;\n"

	"CREATE TABLE events ( -- every move of every job\n"
	"	job_seq INTEGER NOT NULL REFERENCES jobs (seq), -- whose\n"
	"	seq INTEGER NOT NULL,       -- 1, 2, 3 ... within the job\n"
	"	state TEXT NOT NULL,        -- the state it came to\n"
	"	reason TEXT,                -- why, where there is a reason\n"
	"	at_ms INTEGER NOT NULL,     -- wall clock\n"
	"	PRIMARY KEY (job_seq, seq)\n"
	") STRICT, WITHOUT ROWID;\n"

	"CREATE TABLE webhooks ( -- one row per webhook a move owes somebody\n"
	"	seq INTEGER PRIMARY KEY AUTOINCREMENT, -- order of being owed\n"
	"	id TEXT NOT NULL UNIQUE,    -- webhook-id, the same at each attempt\n"
	"	job_seq INTEGER NOT NULL REFERENCES jobs (seq), -- whose\n"
	"	job_id TEXT NOT NULL,       -- the job's ULID\n"
	"	event_seq INTEGER NOT NULL, -- the job's event it tells of\n"
	"	type TEXT NOT NULL,         -- 'job.done'\n"
	"	url TEXT NOT NULL,          -- where to\n"
	"	secret TEXT,                -- the job's own; NULL: the configured one\n"
	"	body TEXT NOT NULL,         -- JSON, frozen when the move was made\n"
	"	state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),\n"
	"	attempts INTEGER NOT NULL DEFAULT 0, -- made so far\n"
	"	due_ms INTEGER,             -- next attempt; NULL: settled, or an earlier\n"
	"	                            -- webhook of the job goes first\n"
	"	created_ms INTEGER NOT NULL, -- when the move was made\n"
	"	last_status INTEGER,        -- HTTP status of the latest attempt\n"
	"	last_latency_ms INTEGER,    -- and how long that took\n"
	"	last_error TEXT,            -- and why it failed\n"
	"	last_reply TEXT,            -- and how the receiver's reply began\n"
	"	settled_ms INTEGER,         -- when it was delivered or given up\n"
	"	CHECK (state = 'pending' OR due_ms IS NULL)\n"
	") STRICT;\n"

	"CREATE TABLE retired ( -- ids of jobs that were removed: gone, not unknown\n"
	"	id TEXT NOT NULL PRIMARY KEY -- as it was in jobs\n"
	") STRICT, WITHOUT ROWID;\n"

	"CREATE TABLE waiting ( -- the line, a row per load key; kept by triggers\n"
	"	load_key TEXT NOT NULL,     -- as in jobs\n"
	"	attended INTEGER NOT NULL,  -- as in jobs\n"
	"	count INTEGER NOT NULL,     -- queued jobs, those on hold too\n"
	"	head_seq INTEGER,           -- the first that may run; NULL: all on hold\n"
	"	head_queued_ms INTEGER,     -- when that one entered the line\n"
	"	PRIMARY KEY (load_key, attended)\n"
	") STRICT, WITHOUT ROWID;\n"

	"CREATE TABLE tallies ( -- how many jobs are in each state; kept by triggers\n"
	"	state TEXT NOT NULL,        -- as in jobs\n"
	"	attended INTEGER NOT NULL,  -- as in jobs\n"
	"	count INTEGER NOT NULL,     -- so many jobs\n"
	"	PRIMARY KEY (state, attended)\n"
	") STRICT, WITHOUT ROWID;\n"
	"INSERT INTO tallies\n"
	"	WITH s (state) AS (VALUES ('queued'), ('loading'), ('working'), ('done'),\n"
	"		('failed')), a (attended) AS (VALUES (0), (1))\n"
	"	SELECT state, attended, 0 FROM s, a;\n"

	"CREATE TABLE webhook_tallies ( -- the same for webhooks; kept by triggers\n"
	"	state TEXT NOT NULL PRIMARY KEY, -- as in webhooks\n"
	"	count INTEGER NOT NULL      -- so many webhooks\n"
	") STRICT, WITHOUT ROWID;\n"
	"INSERT INTO webhook_tallies\n"
	"	VALUES ('pending', 0), ('delivered', 0), ('dead', 0);\n"

	"CREATE TABLE drain ( -- one row: what draining by model saved\n"
	"	one INTEGER PRIMARY KEY CHECK (one = 1), -- always 1\n"
	"	swaps INTEGER NOT NULL,     -- loads caused by a change of load key\n"
	"	fifo_swaps INTEGER NOT NULL, -- what order of arrival would have caused\n"
	"	last_key TEXT               -- load key of the latest arrival\n"
	") STRICT;\n"
	"INSERT INTO drain VALUES (1, 0, 0, NULL);\n"

	"CREATE TABLE status ( -- one row: what the worker tells everybody\n"
	"	one INTEGER PRIMARY KEY CHECK (one = 1), -- always 1\n"
	"	heartbeat_ms INTEGER,       -- the worker's last sign of life\n"
	"	worker_pid INTEGER,         -- its process\n"
	"	worker_started_ms INTEGER,  -- and since when\n"
	"	target TEXT NOT NULL        -- how the target is\n"
	"		CHECK (target IN ('unknown', 'up', 'suspect', 'unreachable')),\n"
	"	target_since_ms INTEGER,    -- since when it is in this state\n"
	"	target_seen_ms INTEGER,     -- when it last answered well\n"
	"	target_error TEXT,          -- why it does not\n"
	"	version TEXT,               -- the target's own\n"
	"	loaded_key TEXT,            -- load key in the rotating slot\n"
	"	embed_ready INTEGER NOT NULL -- 1: the embedder is resident\n"
	"		CHECK (embed_ready IN (0, 1))\n"
	") STRICT;\n"
	"INSERT INTO status (one, target, embed_ready) VALUES (1, 'unknown', 0);\n"

	"CREATE TABLE target_tags ( -- one row, or none before the first\n"
	"	one INTEGER PRIMARY KEY CHECK (one = 1), -- always 1\n"
	"	reply TEXT NOT NULL         -- the target's last /api/tags, verbatim\n"
	") STRICT;\n";

/* --- version 1: indexes ---------------------------------------------------- */

static const char indexes_1[] =
	"CREATE INDEX jobs_claimable -- the next job of a load key\n"
	"	ON jobs (load_key, attended, seq)\n"
	"	WHERE state = 'queued' AND held_until_ms IS NULL;\n"
	"CREATE INDEX jobs_held -- whose hold ends next\n"
	"	ON jobs (held_until_ms)\n"
	"	WHERE held_until_ms IS NOT NULL;\n"
	"CREATE INDEX jobs_expiring -- which expires next\n"
	"	ON jobs (expires_ms)\n"
	"	WHERE state = 'queued' AND expires_ms IS NOT NULL;\n"
	"CREATE INDEX jobs_by_state -- what runs; pages of jobs in one state. Without\n"
	"	-- the queued ones: it would cost every arrival a tenth more\n"
	"	ON jobs (state, id) WHERE state <> 'queued';\n"
	"CREATE INDEX jobs_finished -- what may be pruned\n"
	"	ON jobs (finished_ms)\n"
	"	WHERE finished_ms IS NOT NULL AND webhook_pending = 0;\n"
	"CREATE UNIQUE INDEX jobs_idempotent -- one job per Idempotency-Key\n"
	"	ON jobs (idempotency_key)\n"
	"	WHERE idempotency_key IS NOT NULL;\n"
	"CREATE INDEX webhooks_of_job -- a job's webhooks in their order\n"
	"	ON webhooks (job_seq, seq);\n"
	"CREATE INDEX webhooks_due -- which is due next\n"
	"	ON webhooks (due_ms) WHERE due_ms IS NOT NULL;\n"
	"CREATE INDEX waiting_heads -- the oldest head, whatever its load key\n"
	"	ON waiting (attended, head_seq)\n"
	"	WHERE head_seq IS NOT NULL;\n";

/* --- version 1: triggers --------------------------------------------------- */

/*
 * Put NEW, which is queued, into the line; take OLD, which was, out of it. jobs
 * shows the change already when either runs, so it does not matter which of
 * them is first where a job leaves its place for another.
 */
#define ENTER_LINE \
	"	INSERT INTO waiting\n" \
	"			(load_key, attended, count, head_seq, head_queued_ms)\n" \
	"		VALUES (NEW.load_key, NEW.attended, 1,\n" \
	"			iif(NEW.held_until_ms IS NULL, NEW.seq, NULL),\n" \
	"			iif(NEW.held_until_ms IS NULL, NEW.queued_ms, NULL))\n" \
	"		ON CONFLICT (load_key, attended) DO UPDATE SET count = count + 1,\n" \
	"			head_queued_ms = iif(excluded.head_seq IS NULL OR\n" \
	"				head_seq < excluded.head_seq,\n" \
	"				head_queued_ms, excluded.head_queued_ms),\n" \
	"			head_seq = iif(excluded.head_seq IS NULL OR\n" \
	"				head_seq < excluded.head_seq, head_seq, excluded.head_seq);\n"

#define LEAVE_LINE \
	"	UPDATE waiting SET count = count - 1,\n" \
	"			(head_seq, head_queued_ms) = (SELECT seq, queued_ms\n" \
	"				FROM jobs WHERE load_key = OLD.load_key AND\n" \
	"					attended = OLD.attended AND state = 'queued' AND\n" \
	"					held_until_ms IS NULL\n" \
	"				ORDER BY seq LIMIT 1)\n" \
	"		WHERE load_key = OLD.load_key AND attended = OLD.attended;\n" \
	"	DELETE FROM waiting WHERE load_key = OLD.load_key AND\n" \
	"		attended = OLD.attended AND count = 0;\n"

#define LINE_COLUMNS "state, attended, load_key, held_until_ms, queued_ms"

/* The earliest webhook of a job that is still owed becomes due. */
#define NEXT_WEBHOOK_DUE(from) \
	"	UPDATE webhooks SET due_ms = coalesce(" from ", created_ms)\n" \
	"		WHERE due_ms IS NULL AND seq = (SELECT seq FROM webhooks\n" \
	"			WHERE job_seq = OLD.job_seq AND state = 'pending'\n" \
	"			ORDER BY seq LIMIT 1);\n"

static const char triggers_1[] =
	"CREATE TRIGGER job_arrives AFTER INSERT ON jobs BEGIN\n"
	"	UPDATE tallies SET count = count + 1\n"
	"		WHERE state = NEW.state AND attended = NEW.attended;\n"
	"	UPDATE drain SET fifo_swaps = fifo_swaps + 1, last_key = NEW.load_key\n"
	"		WHERE one = 1 AND last_key IS NOT NEW.load_key;\n"
	"END;\n"

	"CREATE TRIGGER job_stays_finished BEFORE UPDATE OF state ON jobs\n"
	"	WHEN OLD.state IN ('done', 'failed') AND NEW.state <> OLD.state BEGIN\n"
	"	SELECT raise(ABORT, 'a finished job keeps its state');\n"
	"END;\n"

	"CREATE TRIGGER job_moves AFTER UPDATE OF state, attended ON jobs BEGIN\n"
	"	UPDATE tallies SET count = count - 1\n"
	"		WHERE state = OLD.state AND attended = OLD.attended;\n"
	"	UPDATE tallies SET count = count + 1\n"
	"		WHERE state = NEW.state AND attended = NEW.attended;\n"
	"END;\n"

	"CREATE TRIGGER line_at_arrival AFTER INSERT ON jobs\n"
	"	WHEN NEW.state = 'queued' BEGIN\n"
	ENTER_LINE
	"END;\n"

	"CREATE TRIGGER line_entered AFTER UPDATE OF " LINE_COLUMNS " ON jobs\n"
	"	WHEN NEW.state = 'queued' BEGIN\n"
	ENTER_LINE
	"END;\n"

	"CREATE TRIGGER line_left AFTER UPDATE OF " LINE_COLUMNS " ON jobs\n"
	"	WHEN OLD.state = 'queued' BEGIN\n"
	LEAVE_LINE
	"END;\n"

	"CREATE TRIGGER line_at_removal AFTER DELETE ON jobs\n"
	"	WHEN OLD.state = 'queued' BEGIN\n"
	LEAVE_LINE
	"END;\n"

	"CREATE TRIGGER job_leaves -- all that belongs to a job goes with it\n"
	"	AFTER DELETE ON jobs BEGIN\n"
	"	UPDATE tallies SET count = count - 1\n"
	"		WHERE state = OLD.state AND attended = OLD.attended;\n"
	"	INSERT INTO retired (id) VALUES (OLD.id) ON CONFLICT DO NOTHING;\n"
	"	DELETE FROM inputs WHERE job_seq = OLD.seq;\n"
	"	DELETE FROM events WHERE job_seq = OLD.seq;\n"
	"	DELETE FROM webhooks WHERE job_seq = OLD.seq;\n"
	"	DELETE FROM artifact_chunks WHERE artifact IN\n"
	"		(SELECT artifact FROM artifacts WHERE job_seq = OLD.seq);\n"
	"	DELETE FROM artifacts WHERE job_seq = OLD.seq;\n"
	"END;\n"

	"CREATE TRIGGER webhook_arrives AFTER INSERT ON webhooks BEGIN\n"
	"	UPDATE webhook_tallies SET count = count + 1 WHERE state = NEW.state;\n"
	"	UPDATE jobs SET\n"
	"			webhook_pending = webhook_pending + (NEW.state = 'pending'),\n"
	"			webhook_dead = webhook_dead + (NEW.state = 'dead')\n"
	"		WHERE seq = NEW.job_seq;\n"
	"END;\n"

	"CREATE TRIGGER webhook_moves AFTER UPDATE OF state ON webhooks\n"
	"	WHEN NEW.state <> OLD.state BEGIN\n"
	"	UPDATE webhook_tallies SET count = count - 1 WHERE state = OLD.state;\n"
	"	UPDATE webhook_tallies SET count = count + 1 WHERE state = NEW.state;\n"
	"	UPDATE jobs SET webhook_pending = webhook_pending +\n"
	"				(NEW.state = 'pending') - (OLD.state = 'pending'),\n"
	"			webhook_dead = webhook_dead +\n"
	"				(NEW.state = 'dead') - (OLD.state = 'dead')\n"
	"		WHERE seq = NEW.job_seq;\n"
	NEXT_WEBHOOK_DUE("NEW.settled_ms")
	"END;\n"

	"CREATE TRIGGER webhook_leaves AFTER DELETE ON webhooks BEGIN\n"
	"	UPDATE webhook_tallies SET count = count - 1 WHERE state = OLD.state;\n"
	"	UPDATE jobs SET\n"
	"			webhook_pending = webhook_pending - (OLD.state = 'pending'),\n"
	"			webhook_dead = webhook_dead - (OLD.state = 'dead')\n"
	"		WHERE seq = OLD.job_seq;\n"
	NEXT_WEBHOOK_DUE("OLD.settled_ms")
	"END;\n";

/* --- version 1: views for people ------------------------------------------- */

static const char views_1[] =
	"CREATE VIEW queue AS -- what waits, in running order as far as one can tell\n"
	"	SELECT row_number() OVER (ORDER BY j.held_until_ms, j.attended DESC,\n"
	"			j.load_key IS NOT s.loaded_key, w.head_seq, j.seq) AS position,\n"
	"		j.id, j.model, j.load_key, iif(j.attended, 'yes', 'no') AS attended,\n"
	"		" ISO("j.queued_ms") " AS queued_at,\n"
	"		" ISO("j.held_until_ms") " AS held_until,\n"
	"		" ISO("j.expires_ms") " AS expires_at,\n"
	"		j.attempts, j.interruptions, j.error AS sent_back_because\n"
	"	FROM (SELECT * FROM jobs INDEXED BY jobs_claimable\n"
	"			WHERE state = 'queued' AND held_until_ms IS NULL\n"
	"		UNION ALL SELECT * FROM jobs INDEXED BY jobs_held\n"
	"			WHERE held_until_ms IS NOT NULL) j\n"
	"		JOIN waiting w USING (load_key, attended) JOIN status s ON s.one = 1\n"
	"	ORDER BY position;\n"

	"CREATE VIEW running AS -- what the worker is at\n"
	"	SELECT id, state, model, load_key,\n"
	"		iif(attended, 'yes', 'no') AS attended,\n"
	"		" ISO("queued_ms") " AS queued_at,\n"
	"		" ISO("loading_ms") " AS loading_at,\n"
	"		" ISO("working_ms") " AS working_at,\n"
	"		iif(cancel_requested, 'yes', 'no') AS cancel_requested,\n"
	"		attempts, interruptions\n"
	"	FROM jobs WHERE state IN ('loading', 'working') ORDER BY seq;\n"

	"CREATE VIEW history AS -- what has finished, the latest first\n"
	"	SELECT id, state, reason, error, model, load_key,\n"
	"		iif(attended, 'yes', 'no') AS attended,\n"
	"		" ISO("created_ms") " AS created_at,\n"
	"		" ISO("queued_ms") " AS queued_at,\n"
	"		" ISO("loading_ms") " AS loading_at,\n"
	"		" ISO("working_ms") " AS working_at,\n"
	"		" ISO("finished_ms") " AS finished_at,\n"
	"		attempts, interruptions, prompt_tokens, completion_tokens\n"
	"	FROM jobs WHERE finished_ms IS NOT NULL\n"
	"	ORDER BY finished_ms DESC, seq DESC;\n"

	"CREATE VIEW owed_webhooks AS -- not delivered yet, the next due first; one\n"
	"	-- without a due time waits for an earlier one of its job\n"
	"	SELECT id, job_id, type, url, attempts,\n"
	"		" ISO("due_ms") " AS due_at,\n"
	"		" ISO("created_ms") " AS created_at,\n"
	"		last_status, last_latency_ms, last_error, last_reply\n"
	"	FROM webhooks WHERE state = 'pending'\n"
	"	ORDER BY due_ms IS NULL, due_ms, seq;\n"

	"CREATE VIEW models AS -- what was asked of each load key\n"
	"	SELECT load_key, sum(state = 'queued') AS waiting,\n"
	"		sum(state IN ('loading', 'working')) AS running,\n"
	"		sum(state = 'done') AS done, sum(state = 'failed') AS failed,\n"
	"		" ISO("max(coalesce(finished_ms, working_ms, loading_ms))") "\n"
	"			AS last_used_at\n"
	"	FROM jobs GROUP BY load_key ORDER BY load_key;\n";

/* --- version 2: batches, the log of attempts, pace -------------------------- */

static const char tables_2[] =
	"ALTER TABLE jobs ADD COLUMN\n" /* a comment stays where it is inside */
	"	batch_last -- id of the last job of the batch that came with this\n"
	"	           -- one's idempotency_key; NULL: it came alone\n"
	"	TEXT;\n"

	"ALTER TABLE webhooks ADD COLUMN\n"
	"	receiver -- 'host:port' of url, by which receivers are told apart;\n"
	"	         -- NULL: owed since before version 2\n"
	"	TEXT;\n"
	"ALTER TABLE webhooks ADD COLUMN\n"
	"	hurry -- what a success to its receiver does to its due time: 0, it is\n"
	"	      -- due now; 1, that has happened; 2, nothing: not before its time\n"
	"	INTEGER NOT NULL DEFAULT 0;\n"

	"CREATE TABLE webhook_attempts ( -- every attempt to deliver, the log\n"
	"	webhook_seq INTEGER NOT NULL REFERENCES webhooks (seq), -- whose\n"
	"	n INTEGER NOT NULL,         -- 1, 2, 3 ... within the webhook\n"
	"	at_ms INTEGER NOT NULL,     -- when its outcome was known\n"
	"	status INTEGER,             -- HTTP status; NULL: none came\n"
	"	latency_ms INTEGER NOT NULL, -- how long it took\n"
	"	error TEXT,                 -- why it failed; NULL: delivered\n"
	"	reply TEXT,                 -- how the receiver's reply began\n"
	"	PRIMARY KEY (webhook_seq, n)\n"
	") STRICT, WITHOUT ROWID;\n"

	"CREATE TABLE pace ( -- what runs of a load key took, for estimates;\n"
	"	-- means in which a new figure counts an eighth\n"
	"	load_key TEXT PRIMARY KEY,  -- as in jobs\n"
	"	loads INTEGER NOT NULL,     -- times it was seen to be loaded\n"
	"	load_ms REAL,               -- mean of those; NULL: none yet\n"
	"	runs INTEGER NOT NULL,      -- jobs done\n"
	"	run_ms REAL,                -- mean from dispatch to end, without loading\n"
	"	tokens_per_s REAL,          -- mean rate of completion tokens; NULL: unknown\n"
	"	updated_ms INTEGER NOT NULL -- wall clock; the longest unused goes first\n"
	") STRICT, WITHOUT ROWID;\n";

static const char indexes_2[] =
	"CREATE INDEX jobs_by_model -- pages of a model's jobs, but for the queued:\n"
	"	-- the load key without what shapes a load\n"
	"	ON jobs (substr(load_key, 1, instr(load_key || ' ', ' ') - 1), state, id)\n"
	"	WHERE state <> 'queued';\n"
	"CREATE INDEX webhooks_unsettled -- pages of owed and of dead ones\n"
	"	ON webhooks (state, seq) WHERE state <> 'delivered';\n"
	"CREATE INDEX webhooks_by_receiver -- what waits for one receiver\n"
	"	ON webhooks (receiver, due_ms) WHERE due_ms IS NOT NULL;\n"
	"CREATE INDEX webhooks_settled -- which were settled since a given time\n"
	"	ON webhooks (state, settled_ms) WHERE settled_ms IS NOT NULL;\n"
	"CREATE INDEX pace_oldest ON pace (updated_ms); -- which is forgotten first\n";

static const char triggers_2[] =
	"CREATE TRIGGER webhook_log_leaves AFTER DELETE ON webhooks BEGIN\n"
	"	DELETE FROM webhook_attempts WHERE webhook_seq = OLD.seq;\n"
	"END;\n";

static const char views_2[] =
	"DROP VIEW queue;\n" /* what attended jobs leave loaded was forgotten */
	"CREATE VIEW queue AS -- what waits, in running order as far as one can tell\n"
	"	SELECT row_number() OVER (ORDER BY j.held_until_ms, j.attended DESC,\n"
	"			j.load_key IS NOT iif(j.attended, l.first_key, l.then_key),\n"
	"			w.head_seq, j.seq) AS position,\n"
	"		j.id, j.model, j.load_key, iif(j.attended, 'yes', 'no') AS attended,\n"
	"		" ISO("j.queued_ms") " AS queued_at,\n"
	"		" ISO("j.held_until_ms") " AS held_until,\n"
	"		" ISO("j.expires_ms") " AS expires_at,\n"
	"		j.attempts, j.interruptions, j.error AS sent_back_because\n"
	"	FROM (SELECT * FROM jobs INDEXED BY jobs_claimable\n"
	"			WHERE state = 'queued' AND held_until_ms IS NULL\n"
	"		UNION ALL SELECT * FROM jobs INDEXED BY jobs_held\n"
	"			WHERE held_until_ms IS NOT NULL) j\n"
	"		JOIN waiting w USING (load_key, attended)\n"
	"		JOIN (SELECT s.loaded_key AS first_key, -- and when the attended are done:\n"
	"				coalesce((SELECT load_key FROM waiting\n"
	"					WHERE attended = 1 AND head_seq IS NOT NULL\n"
	"					ORDER BY load_key IS (SELECT loaded_key FROM status),\n"
	"						head_seq DESC LIMIT 1),\n"
	"					s.loaded_key) AS then_key\n"
	"			FROM status s WHERE s.one = 1) l\n"
	"	ORDER BY position;\n"

	"DROP VIEW running;\n" /* it read every job */
	"CREATE VIEW running AS -- what the worker is at\n"
	"	SELECT id, state, model, load_key,\n"
	"		iif(attended, 'yes', 'no') AS attended,\n"
	"		" ISO("queued_ms") " AS queued_at,\n"
	"		" ISO("loading_ms") " AS loading_at,\n"
	"		" ISO("working_ms") " AS working_at,\n"
	"		iif(cancel_requested, 'yes', 'no') AS cancel_requested,\n"
	"		attempts, interruptions\n"
	"	FROM jobs INDEXED BY jobs_by_state\n"
	"	WHERE state IN ('loading', 'working') AND state <> 'queued' ORDER BY seq;\n"

	"CREATE VIEW webhook_log AS -- every attempt to deliver, the latest first\n"
	"	SELECT w.id, w.job_id, w.type, w.url, a.n AS attempt,\n"
	"		" ISO("a.at_ms") " AS at, a.status, a.latency_ms, a.error, a.reply\n"
	"	FROM webhook_attempts a JOIN webhooks w ON w.seq = a.webhook_seq\n"
	"	ORDER BY a.at_ms DESC, a.webhook_seq DESC, a.n DESC;\n";

/* --- version 2: what metrics are made of ----------------------------------- */

/* So much more of a label in a counter. */
#define COUNT(name, label, amount) \
	"	INSERT INTO counters VALUES ('" name "', " label ", " amount ")\n" \
	"		ON CONFLICT DO UPDATE SET total = total + excluded.total;\n"

/* A span of so many milliseconds falls into its bucket; of a clock that stepped
 * back it is 0. */
#define OBSERVE(name, label, ms) \
	"	INSERT INTO histograms\n" \
	"		SELECT '" name "', " label ", min(le), 1, max(" ms ", 0) / 1000.0\n" \
	"			FROM histogram_bounds WHERE le >= max(" ms ", 0) / 1000.0\n" \
	"		ON CONFLICT DO UPDATE SET count = count + 1,\n" \
	"			sum = sum + excluded.sum;\n"

/* The canonical model, what shapes its load left out. Any client may invent
 * names, so only those count that have run to the end; and of them the first so
 * many, the rest being one. */
#define MODEL "substr(NEW.load_key, 1, instr(NEW.load_key || ' ', ' ') - 1)"
#define MODELS "(SELECT count(*) FROM counters WHERE name = 'completion_tokens')"
#define MODEL_SEEN \
	"(SELECT label FROM counters WHERE name = 'completion_tokens'\n" \
	"			AND label = " MODEL ")"

static const char metrics_2[] =
	"ALTER TABLE tallies ADD COLUMN\n"
	"	arrived -- jobs that ever were submitted, in the row they came to\n"
	"	INTEGER NOT NULL DEFAULT 0;\n"
	"UPDATE tallies SET arrived = (SELECT sum(t.count) FROM tallies t\n"
	"	WHERE t.attended = tallies.attended) WHERE state = 'queued';\n"
	"DROP TRIGGER job_arrives;\n" /* it called the very first arrival a swap */
	"CREATE TRIGGER job_arrives AFTER INSERT ON jobs BEGIN\n"
	"	UPDATE tallies SET count = count + 1, arrived = arrived + 1\n"
	"		WHERE state = NEW.state AND attended = NEW.attended;\n"
	"	UPDATE drain SET fifo_swaps = fifo_swaps + (last_key IS NOT NULL),\n"
	"		last_key = NEW.load_key\n"
	"		WHERE one = 1 AND last_key IS NOT NEW.load_key;\n"
	"END;\n"

	"CREATE TABLE counters ( -- what only grows, for metrics; kept by triggers,\n"
	"	-- and 'sent_back', whose reason no row but the event's has, by the move\n"
	"	name TEXT NOT NULL,         -- finished, sent_back, prompt_tokens,\n"
	"	                            -- completion_tokens or webhook_attempts\n"
	"	label TEXT NOT NULL,        -- which: a reason, a model, an outcome\n"
	"	total INTEGER NOT NULL,     -- so many since the file was made\n"
	"	PRIMARY KEY (name, label)\n"
	") STRICT, WITHOUT ROWID;\n"
	"INSERT INTO counters SELECT 'finished', coalesce(reason, 'done'), count(*)\n"
	"	FROM jobs WHERE state IN ('done', 'failed') AND state <> 'queued'\n"
	"	GROUP BY 2;\n"

	"CREATE TABLE histogram_bounds ( -- of the buckets of all histograms\n"
	"	le REAL PRIMARY KEY         -- seconds; the last is infinite\n"
	") STRICT, WITHOUT ROWID;\n"
	"INSERT INTO histogram_bounds VALUES (0.1), (0.5), (1), (2.5), (5), (10), (30),\n"
	"	(60), (120), (300), (600), (1800), (3600), (14400), (9e999);\n"

	"CREATE TABLE histograms ( -- spans of time, for metrics; kept by triggers\n"
	"	name TEXT NOT NULL,         -- queue_wait, load or work\n"
	"	label TEXT NOT NULL,        -- which: attended or not, a model\n"
	"	le REAL NOT NULL,           -- a bound: spans up to it, above the next\n"
	"	                            -- lower one\n"
	"	count INTEGER NOT NULL,     -- so many\n"
	"	sum REAL NOT NULL,          -- seconds, of all of them\n"
	"	PRIMARY KEY (name, label, le)\n"
	") STRICT, WITHOUT ROWID;\n"

	"CREATE TRIGGER job_dispatched AFTER UPDATE OF state ON jobs\n"
	"	WHEN NEW.state = 'loading' AND OLD.state = 'queued' BEGIN\n"
	OBSERVE("queue_wait", "iif(NEW.attended, 'attended', 'unattended')",
	        "NEW.loading_ms - NEW.queued_ms")
	"END;\n"

	"CREATE TRIGGER job_finished AFTER UPDATE OF state ON jobs\n"
	"	WHEN NEW.state IN ('done', 'failed') AND NEW.state <> OLD.state BEGIN\n"
	COUNT("finished", "coalesce(NEW.reason, 'done')", "1")
	"END;\n"

	"CREATE TRIGGER job_done AFTER UPDATE OF state ON jobs\n"
	"	WHEN NEW.state = 'done' AND OLD.state <> 'done' BEGIN\n"
	COUNT("completion_tokens",
	      "iif(" MODELS " < 64, " MODEL ", coalesce(" MODEL_SEEN ", 'other'))",
	      "coalesce(NEW.completion_tokens, 0)")
	COUNT("prompt_tokens", "coalesce(" MODEL_SEEN ", 'other')",
	      "coalesce(NEW.prompt_tokens, 0)")
	OBSERVE("load", "coalesce(" MODEL_SEEN ", 'other')",
	        "NEW.working_ms - NEW.loading_ms")
	OBSERVE("work", "coalesce(" MODEL_SEEN ", 'other')",
	        "NEW.finished_ms - NEW.working_ms")
	"END;\n"

	"CREATE TRIGGER webhook_attempted AFTER INSERT ON webhook_attempts BEGIN\n"
	COUNT("webhook_attempts", "iif(NEW.error IS NULL, 'delivered', 'failed')", "1")
	"END;\n";

/* --- bringing a file up to date -------------------------------------------- */

struct version {
	const char *const texts[6]; /* NULL after the last */
};

static const struct version versions[SCHEMA_VERSION] = {
	{ { tables_1, indexes_1, triggers_1, views_1 } },
	{ { tables_2, indexes_2, triggers_2, views_2, metrics_2 } },
};

static enum err read_int(struct db *db, const char *text, int64_t *out,
                         struct errtext *why)
{
	struct sql q = sql_use(db, text);
	int64_t n = sql_row(&q) ? sql_get_int(&q) : 0;
	enum err err = sql_end(&q, why);

	if (err == ERR_OK)
		*out = n;
	return err;
}

enum err schema_check(struct db *db, int *version, struct errtext *why)
{
	static const char read_application[] = "PRAGMA application_id";
	static const char read_version[] = "PRAGMA user_version";
	static const char count_tables[] = "SELECT count(*) FROM sqlite_schema";
	int64_t application = 0, made_by = 0, tables = 0;
	enum err err = read_int(db, read_application, &application, why);

	if (err == ERR_OK)
		err = read_int(db, read_version, &made_by, why);
	if (err == ERR_OK)
		err = read_int(db, count_tables, &tables, why);
	if (err != ERR_OK)
		return err;
	if (application == 0 && made_by == 0 && tables == 0) {
		*version = 0;
		return ERR_OK;
	}
	if (application != SCHEMA_APPLICATION_ID || made_by < 1) {
		errtext_set(why, "another program's database");
		return ERR_INVAL;
	}
	if (made_by > SCHEMA_VERSION) {
		errtext_set(why, "its schema is version %lld, this foreman knows up to %d",
		            (long long)made_by, SCHEMA_VERSION);
		return ERR_VERSION;
	}
	*version = (int)made_by;
	return ERR_OK;
}

static enum err apply(struct db *db, int version, struct errtext *why)
{
	const char *const *text = versions[version - 1].texts;
	char stamp[96];
	enum err err = ERR_OK;

	for (; *text && err == ERR_OK; text++)
		err = sql_exec(db, *text, why);
	snprintf(stamp, sizeof(stamp),
	         "PRAGMA application_id = %d; PRAGMA user_version = %d",
	         SCHEMA_APPLICATION_ID, version);
	return err == ERR_OK ? sql_exec(db, stamp, why) : err;
}

enum err schema_update(struct db *db, int version, struct errtext *why)
{
	enum err err = ERR_OK;

	while (version < SCHEMA_VERSION && err == ERR_OK) {
		err = sql_exec(db, "BEGIN IMMEDIATE", why);
		if (err != ERR_OK)
			break;
		err = apply(db, ++version, why);
		if (err == ERR_OK)
			err = sql_exec(db, "COMMIT", why);
		if (err != ERR_OK && !sqlite3_get_autocommit(db->handle))
			sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
	}
	if (err != ERR_OK)
		errtext_wrap(why, "schema version %d", version);
	return err;
}
