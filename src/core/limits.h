/*
 * limits.h - every bound that is not a setting, in one place.
 *
 * Settings (docs and defaults in setting.c) are for operators; these are for
 * readers: what a stranger can choose has a name here, and a test at its edge.
 */
#ifndef FOREMAN_CORE_LIMITS_H
#define FOREMAN_CORE_LIMITS_H

/* --- what clients may send --- */
#define LIMIT_MODEL_NAME 680          /* bytes; 350 host + 3 x 80 + separators */
#define LIMIT_LOAD_KEY 1024           /* bytes; the longest possible one fits */
#define LIMIT_METADATA_KEYS 16
#define LIMIT_METADATA_KEY 64         /* bytes */
#define LIMIT_METADATA_VALUE 512      /* bytes */
#define LIMIT_WEBHOOK_URL 2048        /* bytes */
#define LIMIT_WEBHOOK_SECRET_MIN 24   /* decoded bytes, Standard Webhooks */
#define LIMIT_WEBHOOK_SECRET_MAX 64
#define LIMIT_IDEMPOTENCY_KEY 255     /* characters */
#define LIMIT_BATCH_JOBS 10000        /* lines of one NDJSON POST /jobs */
#define LIMIT_RETRY_JOBS_S 600        /* the longest Retry-After of a full queue */
#define LIMIT_JOB_SPAN_MS (366LL * 24 * 3600 * 1000) /* expires_in, timeout */
#define LIMIT_JOB_DEPTH 128           /* nesting of a POST /jobs body */
#define LIMIT_LIST_DEFAULT 50         /* jobs a page */
#define LIMIT_LIST_MAX 200
#define LIMIT_LIST_SCAN 20000         /* rows looked at for one page of webhooks */
#define LIMIT_LIST_WAITING 2000       /* waiting jobs sorted for one page; where
                                         more wait, */
#define LIMIT_LIST_SEEK 400           /* ... so many ids are looked at */
#define LIMIT_POSITION 1000           /* further back, a job's place is not told */
#define LIMIT_QUEUE_KEYS 1000         /* load keys listed by GET /queue */
#define LIMIT_PATH 1024               /* bytes of a request path */
#define LIMIT_REQUEST_HEADERS 8192    /* bytes of a client's header lines that
                                         the target is told; 431 above */
#define LIMIT_TRACESTATE 512          /* bytes of a tracestate that is passed on */
#define LIMIT_ERROR_TEXT 1024         /* bytes of an error kept on a job */

/* --- the relay --- */
#define LIMIT_FRAME (64 * 1024)       /* payload bytes of one frame */
#define LIMIT_RELAY_CLIENTS 4096      /* connections the worker holds */
#define LIMIT_HEAD (16 * 1024)        /* bytes of upstream response headers */
#define LIMIT_LINE_HOLD (256 * 1024)  /* an unfinished NDJSON line is held back
                                         up to this, then sent in pieces */

/* --- clients that wait for a job to move --- */
#define LIMIT_WATCHERS 1024           /* parked, a process; above: no waiting */
#define LIMIT_WATCH_HELD (64 * 1024 * 1024) /* bytes of answers not yet taken:
                                         above, who comes next waits on */
#define LIMIT_WATCH_MS 50             /* between two looks for a commit */
#define LIMIT_WATCH_STALL_MS 60000    /* an answer of which nothing is taken for
                                         so long is cut off */
#define LIMIT_WAIT_MAX_S 60           /* ?wait=, Prefer: wait; seconds */

/* --- time, milliseconds --- */
#define LIMIT_GATE_WAIT_MS 10000      /* for the write gate */
#define LIMIT_SQLITE_BUSY_MS 5000     /* for a sqlite3 shell that writes */
#define LIMIT_SUBMIT_WAIT_MS 15000    /* for a group commit to be on disk */
#define LIMIT_HEARTBEAT_MS 5000       /* worker to database */
#define LIMIT_HEARTBEAT_STALE_MS 15000 /* three beats: /readyz says no */
#define LIMIT_REATTACH_MS 1000        /* a new worker waits this long for the
                                         clients of waiting chats to return */
#define LIMIT_RELAY_RETRY_MS 200      /* responder: between two connects */
#define LIMIT_NUDGE_GAP_MS 5          /* a responder nudges at most this often */
#define LIMIT_LINGER_MS 100           /* before a swap, for one more job of the
                                         loaded model (ADR 0020) */
#define LIMIT_DRAIN_MS 30000          /* SIGTERM: for what is running */
#define LIMIT_RELOAD_DRAIN_MS 900000  /* SIGHUP: for the old generation */
#define LIMIT_CONNECT_MS 10000        /* to the target: SYNs at 0, 1, 3, 7 s */
#define LIMIT_PROBE_CONNECT_MS 3000
#define LIMIT_PROBE_MS 5000
#define LIMIT_PS_MS 2000              /* /api/ps may block while a load runs */
#define LIMIT_PASS_MS 30000           /* tags, show, version passed at once */
#define LIMIT_EMBED_MS 60000          /* one embedding through the bypass */
#define LIMIT_KEPT_IDLE_MS 2000       /* a responder thread's connection to the
                                         target, between two requests: less than
                                         servers wait, or a lid takes to close */
#define LIMIT_GOOD_WORD_MS 100        /* a responder thread believes that the
                                         target is up, the embedder resident */
#define LIMIT_POLL_ASLEEP_MS 30000    /* slowest poll while the target sleeps */
#define LIMIT_RETRY_BASE_MS 5000      /* job retries: 5 s x 2^n, at most ... */
#define LIMIT_RETRY_MAX_MS 600000
#define LIMIT_RESPAWN_MIN_MS 100      /* a responder that dies: 0.1 s x 2^n ... */
#define LIMIT_RESPAWN_MAX_MS 10000
#define LIMIT_HEARTBEAT_GAP_MS 20     /* between the four spaces of a keepalive */
#define LIMIT_SHUTDOWN_READ_MS 2000   /* for Caddy to close after our last byte */

/* --- the worker --- */
#define LIMIT_REPLY_STALL_MS 60000    /* a reader that takes nothing of a
                                         finished reply this long is cut loose */
#define LIMIT_REPLY_KEEP (128 * 1024 * 1024) /* bytes of finished replies kept
                                         for slow readers, over all of them:
                                         beyond it the oldest lose theirs */
#define LIMIT_MAP_BYTES (1024 * 1024) /* replies above this are given back to
                                         the system when they are freed */
#define LIMIT_PROBE_REPLY (4 * 1024 * 1024) /* bytes of /api/ps and /api/tags */
#define LIMIT_PROBE_AGAIN_MS 2000     /* the second hit after DOWN: a Mac in
                                         dark wake is gone again by then */
#define LIMIT_TAGS_MS 30000           /* between two looks at /api/tags */
#define LIMIT_SLEPT_MS 2000           /* boot - mono grew so much: we slept */
#define LIMIT_IDLE_LOOK_MS 1000       /* the queue is looked at unasked */
#define LIMIT_WAITING_LOOK_MS 10000   /* are those who wait still waited for? */
#define LIMIT_ACCEPT_PAUSE_MS 1000    /* out of descriptors: no accept so long */
#define LIMIT_STEP_MOVES 16           /* jobs of clients who left, per turn */
#define LIMIT_SETTLE_RETRY_MS 1000    /* a move the disk refused, again */
#define LIMIT_BUSY_HOLD_MS 5000       /* 503 or 429 without Retry-After */
#define LIMIT_LOST_HOLD_MS 1000       /* the 2nd loss of a job: 1 s x 2^n ... */
#define LIMIT_LOST_HOLD_ATTENDED_MS 5000 /* ... at most, while someone waits */
#define LIMIT_RETRY_AFTER_MS 86400000 /* the longest Retry-After believed */
#define LIMIT_WEDGES_FREE 2           /* a job taken back from a silent target is
                                         not counted until it was lost so often */
#define LIMIT_UNLOAD_MS 10000         /* for a wedged model to be unloaded */
#define LIMIT_EMBED_LOAD_MS 600000    /* loading the embedder, at most */
#define LIMIT_EMBED_AGAIN_MS 5000     /* before loading it again: 5 s x 2^n ... */
#define LIMIT_EMBED_AGAIN_MAX_MS 600000

/* --- the worker's store keeping --- */
#define LIMIT_WAL_CHECK_MS 250        /* between two looks at the WAL's size,
                                         while it grows */
#define LIMIT_WAL_IDLE_BYTES (1024 * 1024) /* above this when nothing was */
#define LIMIT_WAL_IDLE_MS 2000        /* ... written for so long: checkpoint */
#define LIMIT_WAL_BUSY_MS 2000        /* a reader was in the way: not before */
#define LIMIT_UPKEEP_MS 1000          /* between two looks at all else */
#define LIMIT_PRUNE_MS 60000          /* removal of old jobs */
#define LIMIT_WAL_BYTES (16 * 1024 * 1024) /* checkpoint above this */
#define LIMIT_WAL_LARGE (64 * 1024 * 1024) /* a reader let it grow: warn, and
                                         give the room back when it has gone */
#define LIMIT_FREE_BYTES (16 * 1024 * 1024) /* unused bytes left in the file: they
                                         are used again. More are given back, */
#define LIMIT_VACUUM_PAGES 256        /* ... so many pages a transaction, */
#define LIMIT_VACUUM_IDLE_MS 50       /* ... one so often while nothing runs */
#define LIMIT_VACUUM_BUSY_MS 1000     /* ... and so often while a job does */
#define LIMIT_PRUNE_BATCH 200         /* finished jobs removed per transaction */
#define LIMIT_RETIRED_MS (90LL * 24 * 3600 * 1000) /* removed ids older than this
                                         are forgotten: 404 instead of 410 */
#define LIMIT_RETIRED_BATCH 2000      /* ... so many per transaction */

/* --- estimates --- */
#define LIMIT_PACE_KEYS 1000          /* load keys whose pace is remembered */
#define LIMIT_PACE_LOAD_MS 100        /* what the target calls loading and takes
                                         less was none: the model was there */

/* --- webhooks --- */
#define LIMIT_WEBHOOK_FLIGHTS 64      /* deliveries at once ... */
#define LIMIT_WEBHOOK_FRESH 8         /* ... of them in their first
                                         LIMIT_WEBHOOK_SLOW_MS: those who hold
                                         theirs longer leave these to others */
#define LIMIT_WEBHOOK_PER_HOST 2
#define LIMIT_WEBHOOK_CONNECT_MS 5000
#define LIMIT_WEBHOOK_REPLY 1024      /* bytes of a receiver's reply kept */
#define LIMIT_WEBHOOK_WAKE 200        /* that a success to their receiver makes
                                         due at once */
#define LIMIT_WEBHOOK_LOG 64          /* attempts kept of each webhook */
#define LIMIT_REDELIVER 1000          /* webhooks one call sends again */
#define LIMIT_WEBHOOK_SCHEDULE 32     /* entries */
#define LIMIT_WEBHOOK_WINDOW 64       /* due ones looked at at once */
#define LIMIT_WEBHOOK_SLOW_MS 1000    /* a receiver that takes longer may be
                                         overtaken by others' webhooks ... */
#define LIMIT_WEBHOOK_DEFER_MS 10000  /* ... its own then come so much later */

/* --- artifacts --- */
#define LIMIT_ARTIFACT_CHUNK (1024 * 1024) /* bytes a row; sqlite facts, part 5 */
#define LIMIT_ARTIFACT_DIRECT (64 * 1024) /* up to so many go out in one write;
                                         more by the shelf, at the client's pace */
#define LIMIT_SHELF_CLIENTS 512       /* who is sent artifacts, per responder;
                                         503 above */
#define LIMIT_SHELF_STALL_MS 60000    /* a client that takes nothing so long is
                                         let go */

#endif
