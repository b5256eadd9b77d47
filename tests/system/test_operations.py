"""Starting, stopping, reloading, and being looked at."""

import glob
import os
import signal
import stat
import subprocess
import threading

import pytest

from harness import TOP, Service, Submitters, until

PROGRAMS = ["foreman-responder", "foreman-worker"]


def run(build, program, *args, **env):
    """Run it to its end with nothing but these settings."""
    base = {"PATH": os.environ["PATH"]}
    return subprocess.run([os.path.join(build, program), *args], env={**base, **env},
                          capture_output=True, text=True, timeout=60)


BAD_SETTINGS = [
    ("FOREMAN_NOPE", "1"),
    ("FOREMAN_THREADS", "0"),
    ("FOREMAN_THREADS", "many"),
    ("FOREMAN_MAX_BODY", "64X"),
    ("FOREMAN_KEEPALIVE", "15"),
    ("FOREMAN_OLLAMA_URL", "ftp://x"),
    ("FOREMAN_MODEL_ADMIN", "yes"),
    ("FOREMAN_WEBHOOK_ALLOW", "everything everywhere"),
    ("FOREMAN_API_TOKEN_FILE", "/nonexistent/token"),
]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("key,value", BAD_SETTINGS)
def test_a_bad_setting_stops_the_start_and_is_named(build, program, key, value):
    for args in ((), ("--check-config",)):
        ended = run(build, program, *args, **{key: value})
        assert ended.returncode == 78
        assert key.removesuffix("_FILE") in ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_explain_themselves(build, program):
    assert program in run(build, program, "--help").stdout
    assert run(build, program, "--version").stdout.strip()
    assert run(build, program, "--nope").returncode == 64
    assert run(build, program, "stray").returncode == 64


@pytest.mark.parametrize("program", PROGRAMS)
def test_check_config_shows_the_settings_without_secrets(build, program):
    ended = run(build, program, "--check-config", FOREMAN_API_TOKEN="s3cret-token",
                FOREMAN_KEEPALIVE="7s")
    assert ended.returncode == 0
    assert "FOREMAN_KEEPALIVE=7s" in ended.stdout
    assert "s3cret-token" not in ended.stdout + ended.stderr


def test_the_example_names_every_key_with_its_default(build):
    defaults = {}
    with open(os.path.join(TOP, ".env.example")) as f:
        lines = f.read().splitlines()
    for above, line in zip(lines, lines[1:]):
        if line.startswith("#FOREMAN_"):
            key, _, value = line[1:].partition("=")
            defaults[key] = value
            assert above.startswith("# "), f"{key} stands there without its meaning"
    shown = run(build, "foreman-worker", "--check-config").stdout
    assert sorted(defaults) == sorted(l.partition("=")[0] for l in shown.splitlines())
    given = {key: value for key, value in defaults.items() if value}
    assert run(build, "foreman-worker", "--check-config", **given).stdout == shown


def test_modes_keep_others_out(foreman):
    f = foreman()
    f.submit(fake_tokens=1)
    for path in glob.glob(f"{f.db}*"):
        assert stat.S_IMODE(os.stat(path).st_mode) & 0o007 == 0, path
    for socket in ("responder.sock", "relay.sock"):
        assert stat.S_IMODE(os.stat(f"{f.dir}/{socket}").st_mode) == 0o660


def test_the_database_can_be_read_while_it_works(foreman):
    f = foreman()
    running = f.busy("a")
    id = f.submit("b")["id"]
    assert f.query("SELECT id, model FROM queue") == [(id, "b")]
    assert f.query("SELECT id, state FROM running") == \
        [(running.headers["Foreman-Job-Id"], "working")]
    f.post(f"/jobs/{id}/cancel")
    f.wait_job(id)
    assert f.query("SELECT id, reason FROM history") == [(id, "canceled")]
    assert f.query("SELECT * FROM owed_webhooks") == []
    assert f.query("SELECT * FROM models")
    assert f.query("PRAGMA user_version") != [(0,)]
    running.close()


@pytest.mark.threads
def test_a_reload_under_load_loses_nothing(foreman):
    f = foreman()
    running = f.busy("a")
    clients = Submitters(f, 6)
    for number in range(1, 4):
        before, sent = set(f.responder.children()), len(clients.accepted)
        f.responder.signal(signal.SIGHUP)
        until(lambda: f.responder.text().count("msg=reloaded") == number, "the reload is done")
        assert set(f.responder.children()) - before
        until(lambda: len(clients.accepted) > sent + 20, "requests go on")
    clients.stop()
    assert clients.lost == []
    stored = {id for id, in f.query("SELECT id FROM jobs WHERE model = 'b'")}
    assert set(clients.accepted) <= stored
    assert running.line()  # the stream of the first generation still flows
    running.close()


@pytest.mark.threads
def test_responders_answer_what_they_have_before_they_leave(foreman):
    f = foreman()
    chat = f.chat(fake_tokens=10, fake_token_ms=50)
    f.responder.signal(signal.SIGTERM)
    lines = list(chat.lines())
    assert b'"done":true' in lines[-1][1]
    assert f.responder.wait() == 0


def test_a_worker_finishes_what_runs_before_it_leaves(foreman):
    f = foreman()
    job = f.submit(stream=True, fake_tokens=40, fake_token_ms=50)
    f.wait_job(job["id"], "working")
    waiting = f.submit("b", fake_tokens=1)
    f.worker.signal(signal.SIGTERM)
    assert f.worker.wait() == 0
    assert f.job(job["id"])["state"] == "done"
    assert f.job(waiting["id"])["state"] == "queued"


def test_readiness_needs_a_worker_and_health_does_not(foreman):
    f = foreman()
    f.worker.kill()
    until(lambda: f.get("/readyz").status == 503, "the heartbeat goes stale")
    assert f.get("/healthz").status == 200
    f.start_worker("worker-2")
    until(lambda: f.get("/readyz").status == 200, "the new one is seen")


def test_a_database_of_a_newer_foreman_is_refused(build):
    f = Service(build)
    try:
        f.start_worker()
        until(lambda: os.path.exists(f.db) and f.query("PRAGMA user_version") != [(0,)],
              "the database is made")
        f.worker.stop()
        subprocess.run(["sqlite3", f.db, "PRAGMA user_version = 999"], check=True)
        worker = f.start_worker("refused")
        assert worker.wait() != 0
        assert "version 999" in worker.text()
        worker.killed = True  # it was meant to fail
        f.start_responder()  # whose children keep trying
        until(lambda: "version 999" in f.responder.text(), "it is refused there too")
    finally:
        wrong = f.stop()
    assert not wrong, "\n".join(wrong)


@pytest.mark.threads
def test_many_waiting_clients_starve_nobody(foreman):
    f = foreman(FOREMAN_RESPONDERS="1", FOREMAN_THREADS="2")
    running = f.busy("a")
    chats = []
    clients = [threading.Thread(target=lambda: chats.append(
        f.chat("b", fake_tokens=1).finish())) for _ in range(20)]
    for c in clients:
        c.start()
    until(lambda: f.query("SELECT count(*) FROM queue") == [(20,)], "all stand in line")
    assert f.get("/healthz").status == 200
    assert f.submit("c", fake_tokens=1)["state"] == "queued"
    assert f.post("/api/embed", {"model": "embedder", "input": "x"}).status == 200
    running.close()
    for c in clients:
        c.join()
    assert all(b'"done":true' in chat.body for chat in chats)
