"""Copies of the database, made while it is used, and what a service finds in them."""

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import threading

import pytest

from harness import TOP, Service, Submitters, until


def foreman_db(service, *args, env=None):
    return subprocess.run([service.program("foreman"), "db", *args], text=True,
                          env=env or service.env("cli"), cwd=service.dir,
                          capture_output=True, timeout=120)


def rows(path, sql):
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(sql).fetchall()


@pytest.fixture
def again(build):
    """A function that starts a second service on a copy of the first's database."""
    services = []

    def start(copy, **settings):
        service = Service(build, **settings)
        services.append(service)
        shutil.copy(copy, service.db)
        return service.start()

    yield start
    wrong = [text for service in services for text in service.stop()]
    assert not wrong, "\n".join(wrong)


def test_a_copy_made_under_load_serves(foreman, again):
    f = foreman(fake=["--token-ms", "1", "--tokens", "2", "--load-ms", "1"])
    clients = Submitters(f, 4)
    copy = f"{f.dir}/copy.db"
    until(lambda: len(clients.accepted) > 50, "some jobs are taken")
    before = list(clients.accepted)
    ended = foreman_db(f, "backup", copy)
    until(lambda: len(clients.accepted) > len(before) + 50, "more jobs are taken")
    clients.stop()
    assert ended.returncode == 0, ended.stderr
    assert not clients.lost
    assert foreman_db(f, "check", "--db", copy).stdout == "ok\n"
    assert set(before) <= {id for id, in rows(copy, "SELECT id FROM jobs")}
    g = again(copy)
    for id in before:
        assert g.wait_job(id)["state"] == "done"
    assert g.get(f"/jobs/{clients.accepted[-1]}").status == 404


def test_owed_webhooks_come_again_under_their_old_ids(foreman, again, receiver):
    copied = threading.Event()
    heard = receiver(lambda n, headers, event: 204 if copied.is_set() else 503)
    often = "0" + ",500ms" * 31
    f = foreman(FOREMAN_WEBHOOK_SCHEDULE=often)
    f.wait_job(f.submit(webhook={"url": heard.url, "events": ["done"]},
                        fake_tokens=1)["id"], "done")
    heard.wait_for(lambda all: all)  # it is not taken
    copy = f"{f.dir}/copy.db"
    assert foreman_db(f, "backup", copy).returncode == 0
    copied.set()
    heard.wait_for(lambda all: all[-1].status == 204)  # now it is
    sent = len(heard.deliveries)
    again(copy, FOREMAN_WEBHOOK_SCHEDULE=often)
    heard.wait_for(lambda all: len(all) == sent + 1)  # and the copy delivers it too
    assert len({d.id for d in heard.deliveries}) == 1


def test_what_ran_since_runs_and_tells_again(foreman, again, receiver):
    heard = receiver()
    f = foreman()
    running = f.busy("a")
    id = f.submit("b", webhook={"url": heard.url, "events": ["done"]}, fake_tokens=1)["id"]
    copy = f"{f.dir}/copy.db"
    assert foreman_db(f, "backup", copy).returncode == 0
    running.close()
    f.wait_job(id, "done")
    until(lambda: len(heard.deliveries) == 1, "the webhook is delivered")
    g = again(copy)
    g.wait_job(id, "done")
    until(lambda: len(heard.deliveries) == 2, "it is delivered again")
    assert [d.job["id"] for d in heard.deliveries] == [id, id]


def test_the_pages_of_the_drill_are_right(foreman, build):
    """Every sh block of docs/backup.md, in its order, beside a running service."""
    f = foreman()
    f.wait_job(f.submit(fake_tokens=1)["id"])
    with open(os.path.join(TOP, "docs", "backup.md")) as page:
        blocks = re.findall(r"^```sh\n(.*?)^```$", page.read(), re.M | re.S)
    assert len(blocks) == 5
    if not shutil.which("sqlite3"):
        pytest.skip("no sqlite3 here: the drill is not tested")
    env = {**f.env("drill"), "PATH": f"{build}:{os.environ['PATH']}"}
    ran = subprocess.run(["bash", "-c", "set -euo pipefail\n" + "\n".join(blocks)],
                         env=env, cwd=f.dir, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("ok\n") == 3
    assert re.findall(r"^done +(\d+)$", ran.stdout, re.M) == ["1", "1"]
    for name in ("backup.db", "vacuumed.db", "paged.db"):
        assert rows(f"{f.dir}/{name}", "SELECT state FROM jobs") == [("done",)]


def test_ready_is_what_a_health_check_wants_to_know(foreman):
    f = foreman()
    ready = foreman_db(f, "ready")
    assert (ready.returncode, ready.stdout) == (0, "ready\n")
    assert '"ready":true' in foreman_db(f, "ready", "--json").stdout
    absent = foreman_db(f, "ready", "--db", f"{f.dir}/absent.db")
    assert absent.returncode == 1 and len(absent.stderr.splitlines()) == 1
    assert not os.path.exists(f"{f.dir}/absent.db")

    copy = f"{f.dir}/copy.db"
    assert foreman_db(f, "backup", copy).returncode == 0
    for change, says in [
            ("UPDATE status SET heartbeat_ms = heartbeat_ms - 3600000", "heartbeat was 3"),
            ("UPDATE status SET heartbeat_ms = NULL", "no worker"),
            ("PRAGMA user_version = 1", "not set up yet"),
            ("PRAGMA user_version = 999", "version 999")]:
        with contextlib.closing(sqlite3.connect(copy)) as db:
            db.execute(change)
            db.commit()
        ready = foreman_db(f, "ready", "--db", copy)
        assert ready.returncode == 1 and says in ready.stderr, ready


def wal_bytes(service):
    with contextlib.suppress(FileNotFoundError):
        return os.path.getsize(f"{service.db}-wal")
    return 0


def test_the_worker_leaves_the_log_to_another_checkpointer(foreman):
    for checkpointer, emptied in [("worker", True), ("other", False)]:
        f = foreman(FOREMAN_CHECKPOINTER=checkpointer)
        f.wait_job(f.submit(fake_tokens=1)["id"])
        assert wal_bytes(f) > 0
        f.worker.signal(signal.SIGTERM)
        assert f.worker.wait() == 0
        assert (wal_bytes(f) == 0) == emptied


def test_litestream_misses_nothing(foreman, again):
    litestream = shutil.which("litestream")
    if not litestream:
        pytest.skip("no litestream here: the continuous backup is not tested")
    f = foreman(fake=["--token-ms", "1", "--tokens", "2", "--load-ms", "1"],
                FOREMAN_CHECKPOINTER="other")
    config = os.path.join(TOP, "deploy", "litestream.yml")
    replica = f"file://{f.dir}/replica"
    replicating = f.spawn("litestream", [litestream, "replicate", "-config", config],
                          REPLICA_URL=replica)
    clients = Submitters(f, 4)
    until(lambda: len(clients.accepted) > 2000, "enough for some checkpoints")
    f.worker.kill()
    f.start_worker("worker2")
    until(lambda: len(clients.accepted) > 3000, "more jobs are taken")
    clients.stop()
    assert not clients.lost
    assert replicating.stop(60) == 0, replicating.text()
    assert "ERROR" not in replicating.text()
    copy = f"{f.dir}/restored.db"
    subprocess.run([litestream, "restore", "-o", copy, replica], check=True, timeout=120)
    assert foreman_db(f, "check", "--db", copy).stdout == "ok\n"
    assert set(clients.accepted) == {id for id, in rows(copy, "SELECT id FROM jobs")}
    g = again(copy)
    assert g.wait_job(clients.accepted[0])["terminal"]
