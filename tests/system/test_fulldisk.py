"""A disk that is full, at each step, and that has room again: no restart, no loss.

The database lies on a small tmpfs of its own; mounting one needs root.
"""

import json
import os
import signal
import subprocess
import tempfile
import threading

import pytest

from harness import SECRET, Service, until

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def small_disk():
    where = tempfile.mkdtemp(prefix="foreman-disk-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0750",
                              "tmpfs", where], capture_output=True, text=True)
    if mounted.returncode:
        os.rmdir(where)
        pytest.skip(f"no small disk without a mount: {mounted.stderr.strip()}")
    yield where
    subprocess.run(["umount", "-l", where], check=True)
    os.rmdir(where)


@pytest.fixture
def foreman(build, small_disk):
    """One service whose database is on the small disk."""
    f = Service(build, ["--load-ms", "0"], FOREMAN_RESPONDERS="1")
    f.db = f.settings["FOREMAN_DB"] = f"{small_disk}/foreman.db"
    f.disk = small_disk
    yield f.start()
    wrong = f.stop()
    assert not wrong, "\n".join(wrong)


def body(size):
    return {"request": {"model": "b", "messages": [
        {"role": "user", "content": "x" * size}]}}


def fill(f):
    """Until neither the file system nor what SQLite has of it takes a job."""
    with open(f"{f.disk}/filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(65536))
        except OSError:
            pass
    accepted = []
    for size in (200000, 20000, 10):
        while True:
            answer = f.post("/jobs", body(size))
            if answer.status == 507:
                break
            assert answer.status == 202, answer
            accepted.append(answer.json()["id"])
    return accepted, answer


def free(f):
    os.unlink(f"{f.disk}/filler")


def test_submissions_are_answered_507_and_taken_when_there_is_room(foreman):
    f = foreman
    running = f.busy("a")
    accepted, refused = fill(f)
    problem = refused.json()
    assert (problem["code"], problem["retryable"]) == ("storage_full", True)
    lines = "".join(json.dumps(body(1000)) + "\n" for _ in range(20))
    batch = f.post("/jobs", lines, NDJSON)
    assert (batch.status, batch.json()["code"]) == (507, "storage_full")
    chat = f.post("/api/chat", {"model": "b", "messages": []})
    assert chat.status == 507 and "error" in chat.json()
    until(lambda: f.get("/readyz").status == 503, "it says that it is not ready")
    assert f.get("/healthz").status == 200
    assert f.get("/queue").json()["jobs"]["queued"] == len(accepted)
    assert f.query("SELECT count(*) FROM jobs WHERE NOT attended") == [(len(accepted),)]
    free(f)
    until(lambda: f.get("/readyz").status == 200, "it is ready again")
    again = f.post("/jobs", body(10))
    assert again.status == 202
    batch = f.post("/jobs", lines, NDJSON)
    assert batch.status == 202
    accepted += [again.json()["id"]]
    accepted += [json.loads(line)["id"] for line in batch.body.splitlines()]
    running.close()
    for id in accepted:
        assert f.wait_job(id)["state"] == "done"
    assert f.query("PRAGMA integrity_check") == [("ok",)]


def test_what_a_job_came_to_is_kept_until_there_is_room(foreman):
    f = foreman
    job = f.submit(stream=True, fake_tokens=40, fake_token_ms=50)
    f.wait_job(job["id"], "working")
    f.fake.signal(signal.SIGSTOP)  # it ends when the disk is full, not before
    accepted, _ = fill(f)
    f.fake.signal(signal.SIGCONT)
    until(lambda: "cannot store what a job came to" in f.worker.text(),
          "the worker has its answer and no room for it")
    assert f.job(job["id"])["state"] == "working"
    free(f)
    done = f.wait_job(job["id"])
    assert (done["state"], done["attempts"]) == ("done", 1)
    assert done["artifacts"][0]["bytes"] > 0
    assert f.query("SELECT interruptions FROM jobs WHERE id = ?", job["id"]) == [(0,)]
    for id in accepted:
        assert f.wait_job(id)["state"] == "done"
    assert f.worker.running()
    assert f.query("SELECT count(*) FROM events WHERE state = 'done' AND job_seq ="
                   " (SELECT seq FROM jobs WHERE id = ?)", job["id"]) == [(1,)]
    assert f.query("PRAGMA integrity_check") == [("ok",)]


def test_webhooks_are_delivered_when_there_is_room(foreman, receiver):
    f = foreman
    full = threading.Event()
    r = receiver(answers=lambda number, headers, event: full.wait(60) and 204)
    running = f.busy("a")
    job = f.submit("b", webhook={"url": r.url, "secret": SECRET}, fake_tokens=2)
    fill(f)
    full.set()  # delivered, with no room to note it
    r.wait_for_types(job["id"], ["queued"])
    running.close()
    free(f)
    assert f.wait_job(job["id"])["state"] == "done"
    r.wait_for_types(job["id"], ["queued", "loading", "working", "done"])
    until(lambda: f.query("SELECT count(*) FROM owed_webhooks") == [(0,)],
          "all of it is noted")
    assert f.query("SELECT DISTINCT state FROM webhooks") == [("delivered",)]
    assert f.query("PRAGMA integrity_check") == [("ok",)]
