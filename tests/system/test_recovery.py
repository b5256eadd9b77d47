"""What is found again when a process, or the target, dies."""

import contextlib
import fcntl
import json
import os
import signal
import time

from harness import SECRET, Service, Submitters, until


def uncounted(f, id):
    """Runs of the job that ended for no reason of its own."""
    return f.query("SELECT interruptions FROM jobs WHERE id = ?", id)[0][0]


def test_a_job_whose_worker_was_killed_runs_again(foreman, receiver):
    f, r = foreman(), receiver()
    job = f.submit(webhook={"url": r.url, "secret": SECRET}, stream=True,
                   fake_tokens=20, fake_token_ms=50)
    f.wait_job(job["id"], "working")
    f.worker.kill()
    queued = f.submit("b", fake_tokens=1)  # accepted without a worker
    f.start_worker("worker-2")
    done = f.wait_job(job["id"])
    assert done["state"] == "done"
    assert uncounted(f, job["id"]) == 1
    assert f.wait_job(queued["id"])["state"] == "done"
    assert f.stats()["generations"] >= 2
    told = [d.type for d in r.wait_for_types(
        job["id"], ["queued", "loading", "working", "queued", "loading", "working", "done"])]
    assert told[:3] == ["job.queued", "job.loading", "job.working"]
    assert told[-1] == "job.done"


@contextlib.contextmanager
def nobody_writes(f):
    """Keep the write gate closed: what is to be committed waits."""
    with open(f.db + ".gate") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def test_an_answer_that_was_not_stored_is_made_again(foreman):
    f = foreman()
    job = f.submit(stream=True, fake_tokens=40, fake_token_ms=50)
    f.wait_job(job["id"], "working")
    with nobody_writes(f):
        until(lambda: f.stats()["running"] == 0, "the target has said all of it")
        assert f.job(job["id"])["state"] == "working"
        f.worker.kill()
    f.start_worker("worker-2")
    assert f.wait_job(job["id"])["state"] == "done"
    assert uncounted(f, job["id"]) == 1
    assert f.stats()["generations"] == 2


def test_a_webhook_that_was_not_noted_is_told_again_under_its_id(foreman, receiver):
    f = foreman()
    with contextlib.ExitStack() as gate:
        def answer(n, headers, event):
            if n == 0:  # it has it, but the worker cannot write that down
                gate.enter_context(nobody_writes(f))
            return 204

        r = receiver(answers=answer)
        job = f.submit(webhook={"url": r.url, "secret": SECRET, "events": ["done"]},
                       fake_tokens=1)
        r.wait_for(lambda all: len(all) == 1)
        f.worker.kill()
    f.start_worker("worker-2")
    first, again = r.wait_for(lambda all: len(all) == 2)
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.body == again.body
    assert f.wait_job(job["id"])["state"] == "done"


def test_a_killed_worker_starts_the_next_job_soon_after_its_restart(foreman, tell):
    f = foreman()
    f.worker.kill()
    job = f.submit(fake_tokens=1)
    started = time.time()
    f.start_worker("worker-2")
    f.wait_job(job["id"])
    [(loading_ms,)] = f.query("SELECT loading_ms FROM jobs WHERE id = ?", job["id"])
    tell(f"restart to the next job's start: {loading_ms - started * 1000:.0f} ms")


def test_a_standby_takes_over_when_the_active_worker_is_killed(foreman, tell):
    f = foreman()
    active, standby = f.worker, f.start_worker("standby")
    lock = f.db + ".worker"
    until(lambda: holds_open(standby.pid, lock), "the standby waits for the lock")
    assert f.wait_job(f.submit(fake_tokens=1)["id"])["state"] == "done"
    killed = time.time()
    active.kill()
    job = f.submit(fake_tokens=1)
    assert f.wait_job(job["id"])["state"] == "done"
    assert standby.running()
    [(loading_ms,)] = f.query("SELECT loading_ms FROM jobs WHERE id = ?", job["id"])
    tell(f"kill -9 to the standby's first job: {loading_ms - killed * 1000:.0f} ms")


def holds_open(pid, path):
    try:
        names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return os.path.realpath(path) in names


def test_a_chat_that_waits_survives_its_worker(foreman):
    f = foreman(FOREMAN_KEEPALIVE="250ms")
    running = f.busy("a")
    waiting = f.chat("b", fake_tokens=2)
    f.worker.kill()
    f.start_worker("worker-2")
    lines = [json.loads(l) for _, l in waiting.lines()]
    assert [l.get("done") for l in lines] == [False, False, True]
    # The one that was being answered cannot go on: it says so.
    rest = [l for _, l in running.lines()]
    assert "error" in json.loads(rest[-1])
    job = f.wait_job(running.headers["Foreman-Job-Id"])
    assert (job["state"], job["reason"]) == ("failed", "worker_restarted")


def test_every_202_of_a_killed_responder_is_in_the_database(foreman):
    f = foreman(FOREMAN_RESPONDERS="1")
    running = f.busy("a")
    [child] = f.responder.children()
    clients = Submitters(f, 20)
    until(lambda: len(clients.accepted) >= 100, "submissions are under way")
    while not clients.lost:  # a child may be hit between two requests
        sent = len(clients.accepted)
        os.kill(child, signal.SIGKILL)
        until(lambda: f.responder.children() not in ([], [child]), "another is there")
        [child] = f.responder.children()
        until(lambda: len(clients.accepted) > sent + 20, "it is used")
    sent = len(clients.accepted)
    until(lambda: len(clients.accepted) > sent + 20, "submissions go on")
    clients.stop()
    assert all(getattr(lost, "status", 502) == 502 for lost in clients.lost)
    stored = {id for id, in f.query("SELECT id FROM jobs WHERE model = 'b'")}
    assert set(clients.accepted) <= stored
    # and little else: what was stored when its 202 was lost on the way
    assert len(stored) <= len(clients.accepted) + len(clients.lost)
    assert f.query("PRAGMA integrity_check") == [("ok",)]
    running.close()


def test_chats_of_a_killed_responder_are_dropped_and_stopped(foreman):
    f = foreman(FOREMAN_RESPONDERS="1", FOREMAN_KEEPALIVE="250ms")
    running = f.busy("a")
    waiting = f.chat("b")
    [child] = f.responder.children()
    os.kill(child, signal.SIGKILL)
    for chat in (running, waiting):
        assert chat.finish().status == 200
        assert b'"done":true' not in chat.body
    until(lambda: f.get("/healthz").status == 200, "another child answers")
    for chat in (running, waiting):
        job = f.wait_job(chat.headers["Foreman-Job-Id"])
        assert (job["state"], job["reason"]) == ("failed", "canceled")
    until(lambda: f.stats()["running"] == 0, "the target is idle")
    assert "b:latest" not in f.stats()["loads_by_model"]


def test_the_master_can_be_killed_and_started_again(foreman):
    f = foreman()
    job = f.submit(fake_tokens=1)
    f.responder.kill()
    until(lambda: f.get("/healthz").status == 502, "the children leave with it")
    f.start_responder()
    until(lambda: f.get("/healthz").status == 200, "it answers again")
    assert f.wait_job(job["id"])["state"] == "done"


def target_state(f):
    return f.get("/readyz").body.decode()


def test_without_its_target_foreman_takes_jobs_and_runs_them_later(foreman):
    f = foreman()
    until(lambda: f.query("SELECT 1 FROM target_tags"), "tags are known")
    f.fake.kill()
    until(lambda: "unreachable" in target_state(f), "the worker sees it")
    ready = f.get("/readyz")
    assert ready.status == 200
    ids = [f.submit("ab"[n % 2], fake_tokens=1)["id"] for n in range(6)]
    assert f.job(ids[0])["waiting_on"] == "target"
    assert f.get("/healthz").status == 200

    tags = f.get("/api/tags")  # the last known list
    assert tags.status == 200
    assert tags.headers["Foreman-Target"] == "unreachable"
    assert "a:latest" in [m["name"] for m in tags.json()["models"]]
    assert f.get("/api/ps").json() == {"models": []}
    for answer in (f.get("/api/version"), f.post("/api/show", {"model": "a"})):
        assert answer.status == 503
        assert "Retry-After" in answer.headers
        assert "error" in answer.json()

    f.start_fake()
    assert [f.wait_job(id)["state"] for id in ids] == ["done"] * 6


def test_a_job_whose_target_dies_under_it_runs_again_uncounted(foreman):
    f = foreman()
    job = f.submit(stream=True, fake_tokens=20, fake_token_ms=50)
    f.wait_job(job["id"], "working")
    f.fake.kill()
    f.wait_job(job["id"], "queued")
    f.start_fake()
    assert f.wait_job(job["id"])["state"] == "done"
    assert uncounted(f, job["id"]) == 1


def test_a_chat_waits_in_line_while_the_target_is_away(foreman):
    f = foreman(FOREMAN_KEEPALIVE="250ms")
    f.fake.kill()
    until(lambda: "unreachable" in target_state(f), "the worker sees it")
    waiting = f.chat(fake_tokens=2)
    f.start_fake()
    assert [json.loads(l)["done"] for _, l in waiting.lines()] == [False, False, True]


def test_foreman_starts_without_its_target(build):
    f = Service(build)
    try:
        f.start_fake()
        f.fake.kill()
        f.start_responder()
        f.start_worker()
        f.start_caddy()
        f.wait_ready()
        assert f.submit()["state"] == "queued"
    finally:
        wrong = f.stop()
    assert not wrong, "\n".join(wrong)
