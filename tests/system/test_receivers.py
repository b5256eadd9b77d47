"""The receivers of docs/receivers: each is built and run, and believes only what
is signed, lately, and once."""

import base64
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import http.client
import pytest

from harness import SECRET, TOP, free_port, until

HERE = os.path.join(TOP, "docs", "receivers")
OTHER = "whsec_" + base64.b64encode(b"another secret, of another").decode()
LIFE = ["job.queued", "job.loading", "job.working", "job.done"]
LANGUAGES = ["c", "go", "py", "js", "sh"]


class Running:
    """A receiver that listens; `port`, and what it took to be true."""

    def __init__(self, argv, secret, directory):
        self.port = free_port()
        self._out = os.path.join(directory, "told")
        with open(self._out, "wb") as out:
            self._child = subprocess.Popen(
                [*argv, str(self.port)], stdin=subprocess.DEVNULL, stdout=out,
                env={**os.environ, "WEBHOOK_SECRET": secret})
        until(self._listens, "the receiver listens")

    def _listens(self):
        assert self._child.poll() is None, "the receiver ended"
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def told(self):
        """(type, job id) of what it worked on, in that order."""
        events = []
        with open(self._out) as f:
            for line in f:
                if line.startswith("{"):  # the C one prints all of it
                    event = json.loads(line)
                    events.append((event["type"], event["data"]["job"]["id"]))
                else:
                    events.append(tuple(line.split()))
        return events

    def close(self):
        self._child.kill()
        self._child.wait()


class Inetd:
    """What inetd, socat or a socket unit of systemd does for the shell's."""

    def __init__(self, argv, secret, directory):
        self._argv, self._spool = argv, os.path.join(directory, "spool")
        self._env = {**os.environ, "WEBHOOK_SECRET": secret,
                     "WEBHOOK_SPOOL": self._spool}
        os.mkdir(self._spool)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                subprocess.run(self._argv, stdin=client, stdout=client, env=self._env,
                               check=False)

    def told(self):
        paths = [os.path.join(self._spool, name) for name in os.listdir(self._spool)
                 if not name.startswith(".")]
        events = []
        for path in sorted(paths, key=lambda p: os.stat(p).st_mtime_ns):
            with open(path) as f:
                event = json.load(f)
            events.append((event["type"], event["data"]["job"]["id"]))
        return events

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def make(language, directory):
    """What to run; skips the test where its language is not here."""
    source = os.path.join(HERE, f"receiver.{language}")
    program = os.path.join(directory, "receiver")
    tool = {"c": "cc", "go": "go", "py": sys.executable, "js": "node",
            "sh": "openssl"}[language]
    if not shutil.which(tool):
        pytest.skip(f"no {tool} here: receiver.{language} is not tested")
    if language == "c":
        subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-o", program, source,
                        "-lcrypto"], check=True)
    elif language == "go":
        subprocess.run(["go", "build", "-o", program, source], check=True, cwd=directory,
                       env={**os.environ, "GOTOOLCHAIN": "local", "GO111MODULE": "off"})
    return {"py": [sys.executable, "-B", source], "js": ["node", source],
            "sh": ["sh", source]}.get(language, [program])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """make, once for each language."""
    commands = {}

    def get(language):
        if language not in commands:
            commands[language] = make(
                language, str(tmp_path_factory.mktemp(language)))
        return commands[language]
    return get


@pytest.fixture(params=LANGUAGES)
def start(request, made, tmp_path):
    """A function that starts a receiver which knows the secret given."""
    argv = made(request.param)
    running = []

    def go(secret=SECRET):
        directory = tmp_path / str(len(running))
        directory.mkdir()
        running.append((Inetd if request.param == "sh" else Running)(
            argv, secret, str(directory)))
        return running[-1]

    yield go
    for receiver in running:
        receiver.close()


def event(number=1):
    return json.dumps({"type": "job.done", "data": {"job": {
        "id": f"JOB{number}", "model": "ü % \\ \u2028"}}}, ensure_ascii=False).encode()


def sign(secret, id, timestamp, body):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def post(receiver, body, headers):
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=20)
    connection.request("POST", "/hook", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def deliver(receiver, id="evt_1", body=None, at=None, signature=None, secret=SECRET):
    body = event() if body is None else body
    at = int(time.time()) if at is None else at
    return post(receiver, body, {
        "webhook-id": id, "webhook-timestamp": str(at),
        "webhook-signature": signature or sign(secret, id, at, body)})


@pytest.mark.parametrize("own", [True, False])
def test_what_foreman_delivers_is_believed(foreman, start, own):
    """With the job's own secret; with two configured, of which it knows the second."""
    r = start()
    f = foreman(FOREMAN_WEBHOOK_SECRET=f"{OTHER} {SECRET}")
    hook = {"url": f"http://127.0.0.1:{r.port}/hook"}
    job = f.submit(webhook={**hook, "secret": SECRET} if own else hook, fake_tokens=2)
    until(lambda: (now := f.job(job["id"]))["terminal"] and now["webhook"]["pending"] == 0,
          "all are settled")
    assert r.told() == [(type, job["id"]) for type in LIFE]
    assert f.query("SELECT state, attempts, last_status FROM webhooks") == \
        [("delivered", 1, 204)] * 4


def test_a_forged_one_is_refused(start):
    r = start()
    now = int(time.time())
    good = sign(SECRET, "evt_1", now, event())
    forged = {
        "with another secret": dict(secret=OTHER),
        "for another id": dict(signature=sign(SECRET, "evt_2", now, event())),
        "for another time": dict(signature=good, at=now + 1),
        "for another body": dict(signature=good, body=event(2)),
        "cut": dict(signature=good[:-1]),
        "longer": dict(signature=good + "="),
        "of another version": dict(signature="v1a," + good[3:]),
        "without a version": dict(signature=good[3:]),
        "empty": dict(signature="v1,"),
    }
    answers = {what: deliver(r, **{"at": now, **how}) for what, how in forged.items()}
    assert answers == dict.fromkeys(forged, 401)
    unsigned = {"webhook-id": "evt_1", "webhook-timestamp": str(now)}
    assert post(r, event(), unsigned) == 401
    assert r.told() == []
    assert deliver(r, at=now, signature=f"v1a,x v1,{'A' * 43}= {good}") == 204
    assert r.told() == [("job.done", "JOB1")]


def test_one_of_another_time_is_refused(start):
    r = start()
    now = int(time.time())
    for at in (0, now - 302, now + 360, 99999999999):
        assert deliver(r, at=at) in (400, 401), at
    assert r.told() == []
    assert deliver(r, "evt_a", at=now - 270) == 204
    assert deliver(r, "evt_b", at=now + 270) == 204


def test_a_repeat_is_good_and_changes_nothing(start):
    r = start()
    now = int(time.time())
    assert deliver(r, "evt_1", at=now) == 204
    assert deliver(r, "evt_1", at=now) == 204      # the same attempt
    assert deliver(r, "evt_1", at=now - 1) == 204  # another one
    assert deliver(r, "evt_2", event(2)) == 204
    assert r.told() == [("job.done", "JOB1"), ("job.done", "JOB2")]


def test_what_is_no_webhook_is_refused(start):
    r = start()
    now = str(int(time.time()))
    for headers in ({}, {"webhook-id": "evt_1"}, {"webhook-timestamp": now},
                    {"webhook-id": "evt_1", "webhook-timestamp": "soon"},
                    {"webhook-id": "evt_1", "webhook-timestamp": "-5"},
                    {"webhook-id": "", "webhook-timestamp": now}):
        assert post(r, event(), headers) in (400, 401), headers
    assert deliver(r) == 204  # and is none the worse


def test_one_that_is_cut_or_endless_is_not_taken(start):
    r = start()
    now = int(time.time())
    good = sign(SECRET, "evt_1", now, event())
    head = (f"POST / HTTP/1.1\r\nHost: x\r\nwebhook-id: evt_1\r\nwebhook-timestamp: {now}"
            f"\r\nwebhook-signature: {good}\r\ncontent-length: ").encode()
    for length, body in ((len(event()), event()[:-1]), (1 << 40, b"x"), (-1, b"")):
        with socket.create_connection(("127.0.0.1", r.port), timeout=20) as s:
            s.sendall(head + f"{length}\r\n\r\n".encode() + body)
            s.shutdown(socket.SHUT_WR)
            try:
                answer = s.recv(64)
            except ConnectionResetError:
                answer = b""
            assert b" 204 " not in answer
    assert r.told() == []
    assert deliver(r) == 204


@pytest.mark.parametrize("size", [24, 32, 33, 64])
def test_secrets_of_every_length(start, size):
    secret = "whsec_" + base64.b64encode(bytes(range(200, 200 - size, -1))).decode()
    r = start(secret)
    assert deliver(r, secret=secret) == 204
    assert deliver(r, "evt_2") == 401


def test_the_shells_is_clean():
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck here")
    subprocess.run(["shellcheck", os.path.join(HERE, "receiver.sh")], check=True)
