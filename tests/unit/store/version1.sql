-- A database of schema version 1, as foreman 1 left it: jobs in every state, artifacts,
-- webhooks, a retired id. test_migration.c says its pragmas. Never to be edited.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE jobs ( -- one row per job; small: each move rewrites it
	seq INTEGER PRIMARY KEY,    -- order of arrival; decides who is next
	id TEXT NOT NULL UNIQUE,    -- ULID, the public name
	state TEXT NOT NULL,        -- queued, loading, working, done, failed
	reason TEXT,                -- why it failed, one word of the contract
	error TEXT,                 -- the same for people; while queued: why it
	                            -- was sent back
	attended INTEGER NOT NULL,  -- 1: a client waits on an open connection
	endpoint TEXT NOT NULL,     -- path at the target, '/api/chat'
	model TEXT NOT NULL,        -- as the client wrote it
	load_key TEXT NOT NULL,     -- canonical model and what shapes its load
	attempts INTEGER NOT NULL,  -- runs that counted
	interruptions INTEGER NOT NULL, -- runs that did not: somebody left
	event_seq INTEGER NOT NULL, -- number of the latest row in events
	cancel_requested INTEGER NOT NULL, -- 1: it runs and shall end
	created_ms INTEGER NOT NULL, -- all *_ms: wall clock, ms since 1970
	queued_ms INTEGER NOT NULL, -- when it last entered the line
	held_until_ms INTEGER,      -- queued, not to run before; NULL: may run
	loading_ms INTEGER,         -- when the latest run was dispatched
	working_ms INTEGER,         -- when the target began to answer
	finished_ms INTEGER,        -- when it was done or failed
	expires_ms INTEGER,         -- fails if not started by then; NULL: never
	timeout_ms INTEGER,         -- a duration: cuts a run off; NULL: none
	prompt_tokens INTEGER,      -- usage the target reported; NULL: unknown
	completion_tokens INTEGER,  -- the same for its answer
	artifact_mode TEXT NOT NULL, -- auto, inline or fetch
	metadata TEXT,              -- the client's JSON object; NULL: {}
	webhook_url TEXT,           -- who is told; NULL: nobody
	webhook_secret TEXT,        -- signs instead of the configured one
	webhook_events INTEGER NOT NULL, -- which moves: a sum of 1 queued,
	                            -- 2 loading, 4 working, 8 done, 16 failed
	webhook_pending INTEGER NOT NULL DEFAULT 0, -- its webhooks still owed
	webhook_dead INTEGER NOT NULL DEFAULT 0, -- its webhooks given up
	idempotency_key TEXT,       -- the client's Idempotency-Key
	fingerprint TEXT,           -- digest of the body that came with it
	CHECK (state IN ('queued', 'loading', 'working', 'done', 'failed')),
	CHECK (attended IN (0, 1)),
	CHECK (cancel_requested IN (0, 1)),
	CHECK (artifact_mode IN ('auto', 'inline', 'fetch')),
	CHECK ((state IN ('done', 'failed')) = (finished_ms IS NOT NULL)),
	CHECK ((state = 'failed') = (reason IS NOT NULL)),
	CHECK (state <> 'queued' OR loading_ms IS NULL),
	CHECK (state <> 'loading' OR loading_ms IS NOT NULL),
	CHECK (state NOT IN ('working', 'done') OR working_ms IS NOT NULL),
	CHECK (state <> 'loading' OR working_ms IS NULL),
	CHECK (working_ms IS NULL OR loading_ms IS NOT NULL),
	CHECK (held_until_ms IS NULL OR state = 'queued'),
	CHECK ((idempotency_key IS NULL) = (fingerprint IS NULL))
) STRICT;
INSERT INTO jobs VALUES(1,'01M7XSSNM25DDVF28AZMD7PQNT','queued',NULL,NULL,0,'/api/chat','m:latest','m:latest',0,0,1,0,1800000000000,1800000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'auto',NULL,NULL,NULL,31,0,0,NULL,NULL);
INSERT INTO jobs VALUES(2,'01M7XSSNM25DDVF28AZQH4D9HM','loading',NULL,NULL,0,'/api/chat','m:latest','m:latest',0,0,2,0,1800000000000,1800000000000,NULL,1800000000010,NULL,NULL,NULL,NULL,NULL,NULL,'auto',NULL,NULL,NULL,31,0,0,NULL,NULL);
INSERT INTO jobs VALUES(3,'01M7XSSNM25DDVF28AZS1TXCAX','working',NULL,NULL,0,'/api/chat','m:latest','m:latest',0,0,3,0,1800000000000,1800000000000,NULL,1800000000010,1800000000020,NULL,NULL,NULL,NULL,NULL,'auto',NULL,NULL,NULL,31,0,0,NULL,NULL);
INSERT INTO jobs VALUES(4,'01M7XSSNM4ZJFQ2KHXCDF9TW4S','done',NULL,NULL,0,'/api/chat','m:latest','m:latest',1,0,4,0,1800000000000,1800000000000,NULL,1800000000010,1800000000020,1800000000030,NULL,NULL,3,4,'auto',NULL,NULL,NULL,31,0,0,NULL,NULL);
INSERT INTO jobs VALUES(5,'01M7XSSNME5G8D162PTB2QR9QM','failed','internal','because',0,'/api/chat','m:latest','m:latest',0,0,2,0,1800000000000,1800000000000,NULL,NULL,NULL,1800000000030,NULL,NULL,NULL,NULL,'auto',NULL,NULL,NULL,31,0,0,NULL,NULL);
INSERT INTO jobs VALUES(6,'01M7XSSNMFK0QRHDGJY77853JB','done',NULL,NULL,0,'/api/chat','told:latest','told:latest',1,0,4,0,1800000000000,1800000000000,NULL,1800000000010,1800000000020,1800000000030,NULL,NULL,3,4,'auto','{"ticket":"4711"}','https://receiver.example/hook','whsec_c2VjcmV0',31,3,0,NULL,NULL);
INSERT INTO jobs VALUES(7,'01M7XSSNMHVXCDF4CMVYMPG8TM','failed','expired','not started in time',0,'/api/chat','told:latest','told:latest',0,0,2,0,1800000000000,1800000000000,NULL,NULL,NULL,1800000000040,NULL,NULL,NULL,NULL,'auto',NULL,'https://receiver.example/hook','whsec_c2VjcmV0',17,1,1,NULL,NULL);
INSERT INTO jobs VALUES(8,'01M7XSSNMKK9S87SQCG7503CS9','queued',NULL,NULL,1,'/api/chat','m:latest num_ctx=8192','m:latest num_ctx=8192',0,0,1,0,1800000000000,1800000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'auto',NULL,NULL,NULL,31,0,0,NULL,NULL);
INSERT INTO jobs VALUES(9,'01M7XSSNMKK9S87SQCG8MTP217','queued',NULL,'the runner crashed',0,'/api/chat','m:latest num_ctx=8192','m:latest num_ctx=8192',1,0,3,0,1800000000000,1800000000050,1800000060000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'auto',NULL,NULL,NULL,31,0,0,NULL,NULL);
CREATE TABLE inputs ( -- what is sent to the target
	job_seq INTEGER PRIMARY KEY REFERENCES jobs (seq), -- whose
	body BLOB NOT NULL,         -- the request body, byte for byte
	headers TEXT                -- of the client's headers those that are
	                            -- sent with it, 'Name: value' lines;
	                            -- NULL: none
) STRICT;
INSERT INTO inputs VALUES(1,X'7b226d6f64656c223a226d227d',NULL);
INSERT INTO inputs VALUES(2,X'7b226d6f64656c223a226d227d',NULL);
INSERT INTO inputs VALUES(3,X'7b226d6f64656c223a226d227d',NULL);
INSERT INTO inputs VALUES(4,X'7b226d6f64656c223a226d227d',NULL);
INSERT INTO inputs VALUES(5,X'7b226d6f64656c223a226d227d',NULL);
INSERT INTO inputs VALUES(6,X'7b226d6f64656c223a226d227d',NULL);
INSERT INTO inputs VALUES(7,X'7b226d6f64656c223a226d227d',NULL);
INSERT INTO inputs VALUES(8,X'7b226d6f64656c223a226d227d',NULL);
INSERT INTO inputs VALUES(9,X'7b226d6f64656c223a226d227d',NULL);
CREATE TABLE artifacts ( -- what a job left behind, without the bytes
	artifact INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
	job_seq INTEGER NOT NULL REFERENCES jobs (seq), -- whose
	name TEXT NOT NULL,         -- 'response'
	content_type TEXT NOT NULL, -- as the target said
	bytes INTEGER NOT NULL,     -- length
	sha256 TEXT NOT NULL,       -- of the bytes, lower-case hex
	complete INTEGER NOT NULL CHECK (complete IN (0, 1)), -- 0: was cut
	UNIQUE (job_seq, name)
) STRICT;
INSERT INTO artifacts VALUES(1,4,'response','application/json',2,'44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',1);
INSERT INTO artifacts VALUES(2,6,'response','application/json',59,'5b26021750ad63ba969f5eff7020533ffa244a1baa3ed10984bd9b1a2cb44ce6',1);
CREATE TABLE artifact_chunks ( -- the bytes, at most 1 MiB a row
	artifact INTEGER NOT NULL REFERENCES artifacts (artifact), -- whose
	n INTEGER NOT NULL,         -- 0, 1, 2 ... within the artifact
	bytes BLOB NOT NULL,        -- as the target sent them
	PRIMARY KEY (artifact, n)
) STRICT;
INSERT INTO artifact_chunks VALUES(1,0,X'7b7d');
INSERT INTO artifact_chunks VALUES(2,0,X'7b226d657373616765223a7b22726f6c65223a22617373697374616e74222c22636f6e74656e74223a226869227d2c22646f6e65223a747275657d');
CREATE TABLE events ( -- every move of every job
	job_seq INTEGER NOT NULL REFERENCES jobs (seq), -- whose
	seq INTEGER NOT NULL,       -- 1, 2, 3 ... within the job
	state TEXT NOT NULL,        -- the state it came to
	reason TEXT,                -- why, where there is a reason
	at_ms INTEGER NOT NULL,     -- wall clock
	PRIMARY KEY (job_seq, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO events VALUES(1,1,'queued',NULL,1800000000000);
INSERT INTO events VALUES(2,1,'queued',NULL,1800000000000);
INSERT INTO events VALUES(2,2,'loading',NULL,1800000000010);
INSERT INTO events VALUES(3,1,'queued',NULL,1800000000000);
INSERT INTO events VALUES(3,2,'loading',NULL,1800000000010);
INSERT INTO events VALUES(3,3,'working',NULL,1800000000020);
INSERT INTO events VALUES(4,1,'queued',NULL,1800000000000);
INSERT INTO events VALUES(4,2,'loading',NULL,1800000000010);
INSERT INTO events VALUES(4,3,'working',NULL,1800000000020);
INSERT INTO events VALUES(4,4,'done',NULL,1800000000030);
INSERT INTO events VALUES(5,1,'queued',NULL,1800000000000);
INSERT INTO events VALUES(5,2,'failed','internal',1800000000030);
INSERT INTO events VALUES(6,1,'queued',NULL,1800000000000);
INSERT INTO events VALUES(6,2,'loading',NULL,1800000000010);
INSERT INTO events VALUES(6,3,'working',NULL,1800000000020);
INSERT INTO events VALUES(6,4,'done',NULL,1800000000030);
INSERT INTO events VALUES(7,1,'queued',NULL,1800000000000);
INSERT INTO events VALUES(7,2,'failed','expired',1800000000040);
INSERT INTO events VALUES(8,1,'queued',NULL,1800000000000);
INSERT INTO events VALUES(9,1,'queued',NULL,1800000000000);
INSERT INTO events VALUES(9,2,'loading',NULL,1800000000010);
INSERT INTO events VALUES(9,3,'queued','retry',1800000000050);
CREATE TABLE webhooks ( -- one row per webhook a move owes somebody
	seq INTEGER PRIMARY KEY AUTOINCREMENT, -- order of being owed
	id TEXT NOT NULL UNIQUE,    -- webhook-id, the same at each attempt
	job_seq INTEGER NOT NULL REFERENCES jobs (seq), -- whose
	job_id TEXT NOT NULL,       -- the job's ULID
	event_seq INTEGER NOT NULL, -- the job's event it tells of
	type TEXT NOT NULL,         -- 'job.done'
	url TEXT NOT NULL,          -- where to
	secret TEXT,                -- the job's own; NULL: the configured one
	body TEXT NOT NULL,         -- JSON, frozen when the move was made
	state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
	attempts INTEGER NOT NULL DEFAULT 0, -- made so far
	due_ms INTEGER,             -- next attempt; NULL: settled, or an earlier
	                            -- webhook of the job goes first
	created_ms INTEGER NOT NULL, -- when the move was made
	last_status INTEGER,        -- HTTP status of the latest attempt
	last_latency_ms INTEGER,    -- and how long that took
	last_error TEXT,            -- and why it failed
	last_reply TEXT,            -- and how the receiver's reply began
	settled_ms INTEGER,         -- when it was delivered or given up
	CHECK (state = 'pending' OR due_ms IS NULL)
) STRICT;
INSERT INTO webhooks VALUES(1,'evt_01M7XSSNMFK0QRHDGJYAYQK5WQ',6,'01M7XSSNMFK0QRHDGJY77853JB',1,'job.queued','https://receiver.example/hook','whsec_c2VjcmV0','{"type":"job.queued"}','delivered',1,NULL,1800000000000,204,9,NULL,NULL,1800000000200);
INSERT INTO webhooks VALUES(2,'evt_01M7XSSNMFK0QRHDGJYBJPX786',6,'01M7XSSNMFK0QRHDGJY77853JB',2,'job.loading','https://receiver.example/hook','whsec_c2VjcmV0','{"type":"job.loading","timestamp":"2027-01-15T08:00:00.010Z","data":{"job":{"id":"01M7XSSNMFK0QRHDGJY77853JB","state":"loading","terminal":false,"reason":null,"error":null,"attended":false,"endpoint":"/api/chat","model":"told:latest","position":null,"waiting_on":"model","attempts":0,"seq":2,"created_at":"2027-01-15T08:00:00.000Z","loading_at":"2027-01-15T08:00:00.010Z","working_at":null,"finished_at":null,"timings":{"queued_ms":10,"loading_ms":0,"working_ms":0},"usage":{"prompt_tokens":null,"completion_tokens":null},"artifacts":[],"webhook":{"url":"https://receiver.example/hook","pending":2,"dead":0},"metadata":{"ticket":"4711"},"urls":{"self":"/jobs/01M7XSSNMFK0QRHDGJY77853JB","stream":"/jobs/01M7XSSNMFK0QRHDGJY77853JB/stream","events":"/jobs/01M7XSSNMFK0QRHDGJY77853JB/events","cancel":"/jobs/01M7XSSNMFK0QRHDGJY77853JB/cancel"}}}}','pending',0,1800000000200,1800000000010,NULL,NULL,NULL,NULL,NULL);
INSERT INTO webhooks VALUES(3,'evt_01M7XSSNMFK0QRHDGJYFACGRWB',6,'01M7XSSNMFK0QRHDGJY77853JB',3,'job.working','https://receiver.example/hook','whsec_c2VjcmV0','{"type":"job.working","timestamp":"2027-01-15T08:00:00.020Z","data":{"job":{"id":"01M7XSSNMFK0QRHDGJY77853JB","state":"working","terminal":false,"reason":null,"error":null,"attended":false,"endpoint":"/api/chat","model":"told:latest","position":null,"waiting_on":null,"attempts":0,"seq":3,"created_at":"2027-01-15T08:00:00.000Z","loading_at":"2027-01-15T08:00:00.010Z","working_at":"2027-01-15T08:00:00.020Z","finished_at":null,"timings":{"queued_ms":10,"loading_ms":10,"working_ms":0},"usage":{"prompt_tokens":null,"completion_tokens":null},"artifacts":[],"webhook":{"url":"https://receiver.example/hook","pending":3,"dead":0},"metadata":{"ticket":"4711"},"urls":{"self":"/jobs/01M7XSSNMFK0QRHDGJY77853JB","stream":"/jobs/01M7XSSNMFK0QRHDGJY77853JB/stream","events":"/jobs/01M7XSSNMFK0QRHDGJY77853JB/events","cancel":"/jobs/01M7XSSNMFK0QRHDGJY77853JB/cancel"}}}}','pending',0,NULL,1800000000020,NULL,NULL,NULL,NULL,NULL);
INSERT INTO webhooks VALUES(4,'evt_01M7XSSNMFK0QRHDGJYGGPQX6R',6,'01M7XSSNMFK0QRHDGJY77853JB',4,'job.done','https://receiver.example/hook','whsec_c2VjcmV0','{"type":"job.done","timestamp":"2027-01-15T08:00:00.030Z","data":{"job":{"id":"01M7XSSNMFK0QRHDGJY77853JB","state":"done","terminal":true,"reason":null,"error":null,"attended":false,"endpoint":"/api/chat","model":"told:latest","position":null,"waiting_on":null,"attempts":1,"seq":4,"created_at":"2027-01-15T08:00:00.000Z","loading_at":"2027-01-15T08:00:00.010Z","working_at":"2027-01-15T08:00:00.020Z","finished_at":"2027-01-15T08:00:00.030Z","timings":{"queued_ms":10,"loading_ms":10,"working_ms":10},"usage":{"prompt_tokens":3,"completion_tokens":4},"artifacts":[{"name":"response","content_type":"application/json","bytes":59,"sha256":"5b26021750ad63ba969f5eff7020533ffa244a1baa3ed10984bd9b1a2cb44ce6","href":"/jobs/01M7XSSNMFK0QRHDGJY77853JB/artifacts/response","inline":{"message":{"role":"assistant","content":"hi"},"done":true}}],"webhook":{"url":"https://receiver.example/hook","pending":4,"dead":0},"metadata":{"ticket":"4711"},"urls":{"self":"/jobs/01M7XSSNMFK0QRHDGJY77853JB","stream":"/jobs/01M7XSSNMFK0QRHDGJY77853JB/stream","events":"/jobs/01M7XSSNMFK0QRHDGJY77853JB/events","cancel":"/jobs/01M7XSSNMFK0QRHDGJY77853JB/cancel"}}}}','pending',0,NULL,1800000000030,NULL,NULL,NULL,NULL,NULL);
INSERT INTO webhooks VALUES(5,'evt_01M7XSSNMHVXCDF4CMVYW3ZTTH',7,'01M7XSSNMHVXCDF4CMVYMPG8TM',1,'job.queued','https://receiver.example/hook','whsec_c2VjcmV0','{"type":"job.queued"}','dead',1,NULL,1800000000000,500,12,'status 500','no',1800000000100);
INSERT INTO webhooks VALUES(6,'evt_01M7XSSNMHVXCDF4CMW0S9Q02X',7,'01M7XSSNMHVXCDF4CMVYMPG8TM',2,'job.failed','https://receiver.example/hook','whsec_c2VjcmV0','{"type":"job.failed","timestamp":"2027-01-15T08:00:00.040Z","data":{"job":{"id":"01M7XSSNMHVXCDF4CMVYMPG8TM","state":"failed","terminal":true,"reason":"expired","error":"not started in time","attended":false,"endpoint":"/api/chat","model":"told:latest","position":null,"waiting_on":null,"attempts":0,"seq":2,"created_at":"2027-01-15T08:00:00.000Z","loading_at":null,"working_at":null,"finished_at":"2027-01-15T08:00:00.040Z","timings":{"queued_ms":40,"loading_ms":0,"working_ms":0},"usage":{"prompt_tokens":null,"completion_tokens":null},"artifacts":[],"webhook":{"url":"https://receiver.example/hook","pending":2,"dead":0},"metadata":{},"urls":{"self":"/jobs/01M7XSSNMHVXCDF4CMVYMPG8TM","stream":"/jobs/01M7XSSNMHVXCDF4CMVYMPG8TM/stream","events":"/jobs/01M7XSSNMHVXCDF4CMVYMPG8TM/events","cancel":"/jobs/01M7XSSNMHVXCDF4CMVYMPG8TM/cancel"}}}}','pending',1,1800000005000,1800000000040,500,12,'status 500','no',NULL);
CREATE TABLE retired ( -- ids of jobs that were removed: gone, not unknown
	id TEXT NOT NULL PRIMARY KEY -- as it was in jobs
) STRICT, WITHOUT ROWID;
INSERT INTO retired VALUES('01M7XSSNMKK9S87SQCG9WBKQXP');
CREATE TABLE waiting ( -- the line, a row per load key; kept by triggers
	load_key TEXT NOT NULL,     -- as in jobs
	attended INTEGER NOT NULL,  -- as in jobs
	count INTEGER NOT NULL,     -- queued jobs, those on hold too
	head_seq INTEGER,           -- the first that may run; NULL: all on hold
	head_queued_ms INTEGER,     -- when that one entered the line
	PRIMARY KEY (load_key, attended)
) STRICT, WITHOUT ROWID;
INSERT INTO waiting VALUES('m:latest',0,1,1,1800000000000);
INSERT INTO waiting VALUES('m:latest num_ctx=8192',0,1,NULL,NULL);
INSERT INTO waiting VALUES('m:latest num_ctx=8192',1,1,8,1800000000000);
CREATE TABLE tallies ( -- how many jobs are in each state; kept by triggers
	state TEXT NOT NULL,        -- as in jobs
	attended INTEGER NOT NULL,  -- as in jobs
	count INTEGER NOT NULL,     -- so many jobs
	PRIMARY KEY (state, attended)
) STRICT, WITHOUT ROWID;
INSERT INTO tallies VALUES('done',0,2);
INSERT INTO tallies VALUES('done',1,0);
INSERT INTO tallies VALUES('failed',0,2);
INSERT INTO tallies VALUES('failed',1,0);
INSERT INTO tallies VALUES('loading',0,1);
INSERT INTO tallies VALUES('loading',1,0);
INSERT INTO tallies VALUES('queued',0,2);
INSERT INTO tallies VALUES('queued',1,1);
INSERT INTO tallies VALUES('working',0,1);
INSERT INTO tallies VALUES('working',1,0);
CREATE TABLE webhook_tallies ( -- the same for webhooks; kept by triggers
	state TEXT NOT NULL PRIMARY KEY, -- as in webhooks
	count INTEGER NOT NULL      -- so many webhooks
) STRICT, WITHOUT ROWID;
INSERT INTO webhook_tallies VALUES('dead',1);
INSERT INTO webhook_tallies VALUES('delivered',1);
INSERT INTO webhook_tallies VALUES('pending',4);
CREATE TABLE drain ( -- one row: what draining by model saved
	one INTEGER PRIMARY KEY CHECK (one = 1), -- always 1
	swaps INTEGER NOT NULL,     -- loads caused by a change of load key
	fifo_swaps INTEGER NOT NULL, -- what order of arrival would have caused
	last_key TEXT               -- load key of the latest arrival
) STRICT;
INSERT INTO drain VALUES(1,1,4,'gone:latest');
CREATE TABLE status ( -- one row: what the worker tells everybody
	one INTEGER PRIMARY KEY CHECK (one = 1), -- always 1
	heartbeat_ms INTEGER,       -- the worker's last sign of life
	worker_pid INTEGER,         -- its process
	worker_started_ms INTEGER,  -- and since when
	target TEXT NOT NULL        -- how the target is
		CHECK (target IN ('unknown', 'up', 'suspect', 'unreachable')),
	target_since_ms INTEGER,    -- since when it is in this state
	target_seen_ms INTEGER,     -- when it last answered well
	target_error TEXT,          -- why it does not
	version TEXT,               -- the target's own
	loaded_key TEXT,            -- load key in the rotating slot
	embed_ready INTEGER NOT NULL -- 1: the embedder is resident
		CHECK (embed_ready IN (0, 1))
) STRICT;
INSERT INTO status VALUES(1,1800000000000,7,1799999999995,'up',1800000000000,1800000000000,NULL,'0.13.1','m:latest',0);
CREATE TABLE target_tags ( -- one row, or none before the first
	one INTEGER PRIMARY KEY CHECK (one = 1), -- always 1
	reply TEXT NOT NULL         -- the target's last /api/tags, verbatim
) STRICT;
INSERT INTO target_tags VALUES(1,'{"models":[]}');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('artifacts',2);
INSERT INTO sqlite_sequence VALUES('webhooks',6);
CREATE INDEX jobs_claimable -- the next job of a load key
	ON jobs (load_key, attended, seq)
	WHERE state = 'queued' AND held_until_ms IS NULL
;
CREATE INDEX jobs_held -- whose hold ends next
	ON jobs (held_until_ms)
	WHERE held_until_ms IS NOT NULL
;
CREATE INDEX jobs_expiring -- which expires next
	ON jobs (expires_ms)
	WHERE state = 'queued' AND expires_ms IS NOT NULL
;
CREATE INDEX jobs_by_state -- what runs; pages of jobs in one state. Without
	-- the queued ones: it would cost every arrival a tenth more
	ON jobs (state, id) WHERE state <> 'queued'
;
CREATE INDEX jobs_finished -- what may be pruned
	ON jobs (finished_ms)
	WHERE finished_ms IS NOT NULL AND webhook_pending = 0
;
CREATE UNIQUE INDEX jobs_idempotent -- one job per Idempotency-Key
	ON jobs (idempotency_key)
	WHERE idempotency_key IS NOT NULL
;
CREATE INDEX webhooks_of_job -- a job's webhooks in their order
	ON webhooks (job_seq, seq)
;
CREATE INDEX webhooks_due -- which is due next
	ON webhooks (due_ms) WHERE due_ms IS NOT NULL
;
CREATE INDEX waiting_heads -- the oldest head, whatever its load key
	ON waiting (attended, head_seq)
	WHERE head_seq IS NOT NULL
;
CREATE TRIGGER job_arrives AFTER INSERT ON jobs BEGIN
	UPDATE tallies SET count = count + 1
		WHERE state = NEW.state AND attended = NEW.attended;
	UPDATE drain SET fifo_swaps = fifo_swaps + 1, last_key = NEW.load_key
		WHERE one = 1 AND last_key IS NOT NEW.load_key;
END;
CREATE TRIGGER job_stays_finished BEFORE UPDATE OF state ON jobs
	WHEN OLD.state IN ('done', 'failed') AND NEW.state <> OLD.state BEGIN
	SELECT raise(ABORT, 'a finished job keeps its state');
END;
CREATE TRIGGER job_moves AFTER UPDATE OF state, attended ON jobs BEGIN
	UPDATE tallies SET count = count - 1
		WHERE state = OLD.state AND attended = OLD.attended;
	UPDATE tallies SET count = count + 1
		WHERE state = NEW.state AND attended = NEW.attended;
END;
CREATE TRIGGER line_at_arrival AFTER INSERT ON jobs
	WHEN NEW.state = 'queued' BEGIN
	INSERT INTO waiting
			(load_key, attended, count, head_seq, head_queued_ms)
		VALUES (NEW.load_key, NEW.attended, 1,
			iif(NEW.held_until_ms IS NULL, NEW.seq, NULL),
			iif(NEW.held_until_ms IS NULL, NEW.queued_ms, NULL))
		ON CONFLICT (load_key, attended) DO UPDATE SET count = count + 1,
			head_queued_ms = iif(excluded.head_seq IS NULL OR
				head_seq < excluded.head_seq,
				head_queued_ms, excluded.head_queued_ms),
			head_seq = iif(excluded.head_seq IS NULL OR
				head_seq < excluded.head_seq, head_seq, excluded.head_seq);
END;
CREATE TRIGGER line_entered AFTER UPDATE OF state, attended, load_key, held_until_ms, queued_ms ON jobs
	WHEN NEW.state = 'queued' BEGIN
	INSERT INTO waiting
			(load_key, attended, count, head_seq, head_queued_ms)
		VALUES (NEW.load_key, NEW.attended, 1,
			iif(NEW.held_until_ms IS NULL, NEW.seq, NULL),
			iif(NEW.held_until_ms IS NULL, NEW.queued_ms, NULL))
		ON CONFLICT (load_key, attended) DO UPDATE SET count = count + 1,
			head_queued_ms = iif(excluded.head_seq IS NULL OR
				head_seq < excluded.head_seq,
				head_queued_ms, excluded.head_queued_ms),
			head_seq = iif(excluded.head_seq IS NULL OR
				head_seq < excluded.head_seq, head_seq, excluded.head_seq);
END;
CREATE TRIGGER line_left AFTER UPDATE OF state, attended, load_key, held_until_ms, queued_ms ON jobs
	WHEN OLD.state = 'queued' BEGIN
	UPDATE waiting SET count = count - 1,
			(head_seq, head_queued_ms) = (SELECT seq, queued_ms
				FROM jobs WHERE load_key = OLD.load_key AND
					attended = OLD.attended AND state = 'queued' AND
					held_until_ms IS NULL
				ORDER BY seq LIMIT 1)
		WHERE load_key = OLD.load_key AND attended = OLD.attended;
	DELETE FROM waiting WHERE load_key = OLD.load_key AND
		attended = OLD.attended AND count = 0;
END;
CREATE TRIGGER line_at_removal AFTER DELETE ON jobs
	WHEN OLD.state = 'queued' BEGIN
	UPDATE waiting SET count = count - 1,
			(head_seq, head_queued_ms) = (SELECT seq, queued_ms
				FROM jobs WHERE load_key = OLD.load_key AND
					attended = OLD.attended AND state = 'queued' AND
					held_until_ms IS NULL
				ORDER BY seq LIMIT 1)
		WHERE load_key = OLD.load_key AND attended = OLD.attended;
	DELETE FROM waiting WHERE load_key = OLD.load_key AND
		attended = OLD.attended AND count = 0;
END;
CREATE TRIGGER job_leaves -- all that belongs to a job goes with it
	AFTER DELETE ON jobs BEGIN
	UPDATE tallies SET count = count - 1
		WHERE state = OLD.state AND attended = OLD.attended;
	INSERT INTO retired (id) VALUES (OLD.id) ON CONFLICT DO NOTHING;
	DELETE FROM inputs WHERE job_seq = OLD.seq;
	DELETE FROM events WHERE job_seq = OLD.seq;
	DELETE FROM webhooks WHERE job_seq = OLD.seq;
	DELETE FROM artifact_chunks WHERE artifact IN
		(SELECT artifact FROM artifacts WHERE job_seq = OLD.seq);
	DELETE FROM artifacts WHERE job_seq = OLD.seq;
END
;
CREATE TRIGGER webhook_arrives AFTER INSERT ON webhooks BEGIN
	UPDATE webhook_tallies SET count = count + 1 WHERE state = NEW.state;
	UPDATE jobs SET
			webhook_pending = webhook_pending + (NEW.state = 'pending'),
			webhook_dead = webhook_dead + (NEW.state = 'dead')
		WHERE seq = NEW.job_seq;
END;
CREATE TRIGGER webhook_moves AFTER UPDATE OF state ON webhooks
	WHEN NEW.state <> OLD.state BEGIN
	UPDATE webhook_tallies SET count = count - 1 WHERE state = OLD.state;
	UPDATE webhook_tallies SET count = count + 1 WHERE state = NEW.state;
	UPDATE jobs SET webhook_pending = webhook_pending +
				(NEW.state = 'pending') - (OLD.state = 'pending'),
			webhook_dead = webhook_dead +
				(NEW.state = 'dead') - (OLD.state = 'dead')
		WHERE seq = NEW.job_seq;
	UPDATE webhooks SET due_ms = coalesce(NEW.settled_ms, created_ms)
		WHERE due_ms IS NULL AND seq = (SELECT seq FROM webhooks
			WHERE job_seq = OLD.job_seq AND state = 'pending'
			ORDER BY seq LIMIT 1);
END;
CREATE TRIGGER webhook_leaves AFTER DELETE ON webhooks BEGIN
	UPDATE webhook_tallies SET count = count - 1 WHERE state = OLD.state;
	UPDATE jobs SET
			webhook_pending = webhook_pending - (OLD.state = 'pending'),
			webhook_dead = webhook_dead - (OLD.state = 'dead')
		WHERE seq = OLD.job_seq;
	UPDATE webhooks SET due_ms = coalesce(OLD.settled_ms, created_ms)
		WHERE due_ms IS NULL AND seq = (SELECT seq FROM webhooks
			WHERE job_seq = OLD.job_seq AND state = 'pending'
			ORDER BY seq LIMIT 1);
END;
CREATE VIEW queue AS -- what waits, in running order as far as one can tell
	SELECT row_number() OVER (ORDER BY j.held_until_ms, j.attended DESC,
			j.load_key IS NOT s.loaded_key, w.head_seq, j.seq) AS position,
		j.id, j.model, j.load_key, iif(j.attended, 'yes', 'no') AS attended,
		strftime('%Y-%m-%dT%H:%M:%fZ', j.queued_ms / 1000.0, 'unixepoch') AS queued_at,
		strftime('%Y-%m-%dT%H:%M:%fZ', j.held_until_ms / 1000.0, 'unixepoch') AS held_until,
		strftime('%Y-%m-%dT%H:%M:%fZ', j.expires_ms / 1000.0, 'unixepoch') AS expires_at,
		j.attempts, j.interruptions, j.error AS sent_back_because
	FROM (SELECT * FROM jobs INDEXED BY jobs_claimable
			WHERE state = 'queued' AND held_until_ms IS NULL
		UNION ALL SELECT * FROM jobs INDEXED BY jobs_held
			WHERE held_until_ms IS NOT NULL) j
		JOIN waiting w USING (load_key, attended) JOIN status s ON s.one = 1
	ORDER BY position
;
CREATE VIEW running AS -- what the worker is at
	SELECT id, state, model, load_key,
		iif(attended, 'yes', 'no') AS attended,
		strftime('%Y-%m-%dT%H:%M:%fZ', queued_ms / 1000.0, 'unixepoch') AS queued_at,
		strftime('%Y-%m-%dT%H:%M:%fZ', loading_ms / 1000.0, 'unixepoch') AS loading_at,
		strftime('%Y-%m-%dT%H:%M:%fZ', working_ms / 1000.0, 'unixepoch') AS working_at,
		iif(cancel_requested, 'yes', 'no') AS cancel_requested,
		attempts, interruptions
	FROM jobs WHERE state IN ('loading', 'working') ORDER BY seq
;
CREATE VIEW history AS -- what has finished, the latest first
	SELECT id, state, reason, error, model, load_key,
		iif(attended, 'yes', 'no') AS attended,
		strftime('%Y-%m-%dT%H:%M:%fZ', created_ms / 1000.0, 'unixepoch') AS created_at,
		strftime('%Y-%m-%dT%H:%M:%fZ', queued_ms / 1000.0, 'unixepoch') AS queued_at,
		strftime('%Y-%m-%dT%H:%M:%fZ', loading_ms / 1000.0, 'unixepoch') AS loading_at,
		strftime('%Y-%m-%dT%H:%M:%fZ', working_ms / 1000.0, 'unixepoch') AS working_at,
		strftime('%Y-%m-%dT%H:%M:%fZ', finished_ms / 1000.0, 'unixepoch') AS finished_at,
		attempts, interruptions, prompt_tokens, completion_tokens
	FROM jobs WHERE finished_ms IS NOT NULL
	ORDER BY finished_ms DESC, seq DESC
;
CREATE VIEW owed_webhooks AS -- not delivered yet, the next due first; one
	-- without a due time waits for an earlier one of its job
	SELECT id, job_id, type, url, attempts,
		strftime('%Y-%m-%dT%H:%M:%fZ', due_ms / 1000.0, 'unixepoch') AS due_at,
		strftime('%Y-%m-%dT%H:%M:%fZ', created_ms / 1000.0, 'unixepoch') AS created_at,
		last_status, last_latency_ms, last_error, last_reply
	FROM webhooks WHERE state = 'pending'
	ORDER BY due_ms IS NULL, due_ms, seq
;
CREATE VIEW models AS -- what was asked of each load key
	SELECT load_key, sum(state = 'queued') AS waiting,
		sum(state IN ('loading', 'working')) AS running,
		sum(state = 'done') AS done, sum(state = 'failed') AS failed,
		strftime('%Y-%m-%dT%H:%M:%fZ', max(coalesce(finished_ms, working_ms, loading_ms)) / 1000.0, 'unixepoch')
			AS last_used_at
	FROM jobs GROUP BY load_key ORDER BY load_key
;
COMMIT;
