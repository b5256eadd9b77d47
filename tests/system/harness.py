"""harness.py - real processes for one test: fake Ollama, responders, worker, Caddy.

A Service lives in a temporary directory and on ports of its own. Whatever is
started here is stopped here; `stop` says what went wrong: processes left over,
exit codes that are not 0, reports of a sanitizer.
"""

import contextlib
import glob
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0IQ=="
PATIENCE_S = 60  # for an event that must come; generous, for busy machines


def until(ready, what, seconds=PATIENCE_S):
    """Wait for an event that has no descriptor: ask until the answer is true."""
    end = time.monotonic() + seconds
    while True:
        got = ready()
        if got:
            return got
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def _own_ports(lowest=10000, block=500):
    """Ports of this run of tests alone, at which nobody listens: whoever holds
    the first of a block has all of it. They lie below those that the kernel
    gives to whoever connects: such a one may be gone between its choice and its
    use, and who connects to it while nobody listens may meet itself."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        end = int(f.read().split()[0])
    for first in range(lowest, max(end, 3 * lowest) - block, block):
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", first))
            break
        except OSError:
            holder.close()
    else:
        raise RuntimeError("all blocks of ports are taken")
    for port in itertools.cycle(range(first + 1, first + block)):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("", port))
            except OSError:
                continue  # a stranger's
        yield port


_ports, _ports_lock = _own_ports(), threading.Lock()


def free_port():
    """It is not given again before all others were."""
    with _ports_lock:
        return next(_ports)


class Process:
    """A started program, its log, and how it ended."""

    def __init__(self, name, argv, env, log):
        self.name = name
        self.log = log
        self.killed = False
        with open(log, "ab") as out:
            self._child = subprocess.Popen(argv, env=env, cwd=os.path.dirname(log),
                                           stdin=subprocess.DEVNULL,
                                           stdout=out, stderr=out)
        self.pid = self._child.pid

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def running(self):
        return self._child.poll() is None

    def signal(self, number):
        self._child.send_signal(number)

    def kill(self):
        """As a crash would: no last words."""
        self.killed = True
        self._child.kill()
        self._child.wait()

    def wait(self, seconds=PATIENCE_S):
        return self._child.wait(seconds)

    def stop(self, seconds=PATIENCE_S):
        """SIGTERM; how it ended, or None if it had to be killed."""
        if self.running():
            self._child.terminate()
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def children(self):
        """Pids of its living children."""
        pids = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path) as f:
                    fields = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.pid and fields[0] != "Z":
                pids.append(int(path.split("/")[2]))
        return pids

    def kill_children(self, choose=lambda pids: pids):
        """As a crash would, all or those chosen."""
        for pid in choose(self.children()):
            with contextlib.suppress(ProcessLookupError):  # it dies already
                os.kill(pid, signal.SIGKILL)


class Service:
    """foreman as it is deployed, in a directory of its own."""

    MODELS = ["a", "b", "c", "d", "embedder,embed"]

    def __init__(self, build, fake=(), **settings):
        self.build = build
        self.dir = tempfile.mkdtemp(prefix="foreman-")
        self.db = f"{self.dir}/foreman.db"
        self.port = free_port()
        self.fake_port = None
        self.starts = 0  # of the fake
        self.fake_flags = list(fake)
        self.processes = []
        self.preload = {}  # more of foreman's own programs' environment
        self.settings = {
            "FOREMAN_DB": self.db,
            "FOREMAN_SOCKET": f"{self.dir}/responder.sock",
            "FOREMAN_RELAY": f"{self.dir}/relay.sock",
            "FOREMAN_LISTEN": f":{self.port}",
            "FOREMAN_RESPONDERS": "2",
            "FOREMAN_POLL_INTERVAL": "1s",
            "FOREMAN_WEBHOOK_ALLOW": "public,lan,loopback",
            "FOREMAN_LOG_LEVEL": "debug",
        }
        self.settings.update(settings)

    # --- its processes --------------------------------------------------------

    def env(self, name, **more):
        """A clean environment: of the caller's only what all programs need."""
        report = f"log_path={self.dir}/report.{name}"
        env = {
            "PATH": os.environ["PATH"], "HOME": self.dir, "LANG": "C.UTF-8",
            "XDG_CONFIG_HOME": self.dir, "XDG_DATA_HOME": self.dir,
            # a small quarantine: a process's size must say something
            "ASAN_OPTIONS": report + ":detect_stack_use_after_return=1"
                                     ":quarantine_size_mb=16",
            "UBSAN_OPTIONS": report + ":print_stacktrace=1",
            "TSAN_OPTIONS": report + ":second_deadlock_stack=1:report_thread_leaks=0",
        }
        env.update(self.settings)
        env.update(more)
        return env

    def spawn(self, name, argv, **more):
        log = f"{self.dir}/{name}.log"
        process = Process(name, argv, self.env(name, **more), log)
        self.processes.append(process)
        return process

    def program(self, name):
        return os.path.join(self.build, name)

    def start_fake(self):
        """On the port it had before, so that it can come back."""
        self.fake_port = self.fake_port or free_port()
        argv = [self.program("tests/fake-ollama/fake-ollama"),
                "--listen", f"127.0.0.1:{self.fake_port}"]
        for model in self.MODELS:
            argv += ["--model", model]
        self.starts += 1
        self.fake = self.spawn("fake", argv + self.fake_flags)
        until(lambda: self.fake.text().count("listening on ") == self.starts,
              "the fake listens")
        self.settings["FOREMAN_OLLAMA_URL"] = f"http://127.0.0.1:{self.fake_port}"

    def start_responder(self):
        self.responder = self.spawn("responder", [self.program("foreman-responder")],
                                    **self.preload)

    def start_worker(self, name="worker"):
        self.worker = self.spawn(name, [self.program("foreman-worker")],
                                 **self.preload)
        return self.worker

    def start_caddy(self):
        self.caddy = self.spawn("caddy", [
            "caddy", "run", "--adapter", "caddyfile", "--config", f"{TOP}/Caddyfile"])

    def start(self):
        self.start_fake()
        self.start_responder()
        self.start_worker()
        self.start_caddy()
        self.wait_ready()
        return self

    def wait_ready(self):
        """Until it is ready, and the worker has looked at its target: that is away,
        or its models are known."""
        def ready():
            dead = [p for p in self.processes if not p.running() and not p.killed]
            if dead:
                raise RuntimeError(f"{dead[0].name} ended:\n{dead[0].text()}")
            try:
                answer = self.get("/readyz", {
                    "Authorization": f"Bearer {self.settings.get('FOREMAN_API_TOKEN')}"})
            except OSError:
                return False
            if answer.status != 200:
                return False
            target = answer.json()["target"]
            return target == "unreachable" or \
                target == "up" and self.query("SELECT 1 FROM target_tags")
        until(ready, "GET /readyz says 200, and how the target stands")

    def stop(self):
        """Stop everything; a list of what should not have been."""
        wrong = []
        # The target first: then nothing runs that would have to be drained.
        for p in sorted(self.processes, key=lambda p: p.name != "fake"):
            ended = p.stop()
            if ended is None:
                wrong.append(f"{p.name} did not stop on SIGTERM")
            elif ended != 0 and not p.killed:
                wrong.append(f"{p.name} ended with {ended}")
        for pid in self._left_over():
            wrong.append(f"process {pid} was left over")
            os.kill(pid, signal.SIGKILL)
        for report in glob.glob(f"{self.dir}/report.*"):
            with open(report, errors="replace") as f:
                wrong.append(f.read())
        if wrong:
            wrong.append(self.logs())
        shutil.rmtree(self.dir, ignore_errors=True)
        return wrong

    def _left_over(self):
        mark = f"FOREMAN_DB={self.db}\0".encode()
        for path in glob.glob("/proc/[0-9]*/environ"):
            try:
                with open(path, "rb") as f:
                    if mark in f.read():
                        yield int(path.split("/")[2])
            except OSError:
                pass  # gone, or not ours

    def logs(self, lines=40):
        out = []
        for path in sorted(glob.glob(f"{self.dir}/*.log")):
            with open(path, errors="replace") as f:
                tail = f.read().splitlines()[-lines:]
            out.append(f"--- {os.path.basename(path)}\n" + "\n".join(tail))
        return "\n".join(out)

    # --- speaking to it -------------------------------------------------------

    def request(self, method, path, body=None, headers=None, timeout=PATIENCE_S):
        return Answer(self.port, method, path, body, headers, timeout).finish()

    def get(self, path, headers=None):
        return self.request("GET", path, None, headers)

    def post(self, path, body=None, headers=None):
        return self.request("POST", path, body, headers)

    def open(self, method, path, body=None, headers=None):
        """The answer when its head is there; the body is the caller's to read."""
        return Answer(self.port, method, path, body, headers, PATIENCE_S)

    def direct(self, method, path, body=None, headers=None):
        """The same request to the target itself."""
        return Answer(self.fake_port, method, path, body, headers, PATIENCE_S).finish()

    def chat(self, model="a", stream=True, timeout=PATIENCE_S, **options):
        """Open a streamed chat."""
        body = {"model": model, "stream": stream, "options": options,
                "messages": [{"role": "user", "content": "hello"}]}
        return Answer(self.port, "POST", "/api/chat", body, None, timeout)

    def submit(self, model="a", webhook=None, stream=False, **options):
        """POST /jobs; the job of its 202. Not streamed, it works only when done."""
        body = {"request": {"model": model, "options": options, "stream": stream,
                            "messages": [{"role": "user", "content": "hello"}]}}
        if webhook:
            body["webhook"] = webhook
        answer = self.post("/jobs", body)
        assert answer.status == 202, answer
        return answer.json()

    def job(self, id):
        answer = self.get(f"/jobs/{id}")
        assert answer.status == 200, answer
        return answer.json()

    def wait_job(self, id, *states, seconds=PATIENCE_S):
        """Wait until the job is in one of the states (default: terminal)."""
        def there():
            job = self.job(id)
            return job if (job["state"] in states if states else job["terminal"]) else None
        return until(there, f"job {id} comes to {states or 'its end'}", seconds)

    def busy(self, model="a", token_ms=50, tokens=100000):
        """A generation that goes on until its client (the result) is closed."""
        chat = self.chat(model, fake_tokens=tokens, fake_token_ms=token_ms)
        chat.line()
        return chat

    def stats(self):
        return self.direct("GET", "/fake/stats").json()

    def query(self, sql, *args):
        """Rows as the operator's sqlite3 -readonly sees them."""
        db = sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=10)
        try:
            return db.execute(sql, args).fetchall()
        finally:
            db.close()

    def change(self, sql):
        """A row made what time would make it; while no worker writes."""
        with contextlib.closing(sqlite3.connect(self.db, timeout=10)) as db:
            db.execute(sql)
            db.commit()

    def check_whole(self):
        """Nothing in the database contradicts itself, and nothing is unfinished."""
        assert self.query("PRAGMA integrity_check") == [("ok",)]
        assert self.query("PRAGMA foreign_key_check") == []
        # a job nobody waits for comes to `done`, by one event, with its answer
        assert self.query("SELECT id, state, reason FROM jobs"
                       " WHERE NOT attended AND state <> 'done'") == []
        assert self.query("SELECT job_seq FROM events WHERE state IN ('done', 'failed')"
                       " GROUP BY job_seq HAVING count(*) <> 1") == []
        assert self.query("SELECT j.id FROM jobs j LEFT JOIN artifacts a ON a.job_seq = j.seq"
                       " AND a.name = 'response' AND a.complete"
                       " WHERE NOT j.attended AND a.bytes IS NULL") == []
        # events are numbered without a gap, and the job stands at its last
        assert self.query("SELECT j.id FROM jobs j JOIN (SELECT job_seq, count(*) n, max(seq) m,"
                       " min(seq) least FROM events GROUP BY job_seq) e ON e.job_seq = j.seq"
                       " WHERE (e.n, e.m, e.least) IS NOT (j.event_seq, j.event_seq, 1)") == []
        assert self.query("SELECT j.id FROM jobs j JOIN events e ON e.job_seq = j.seq"
                       " AND e.seq = j.event_seq WHERE e.state <> j.state") == []
        # each event of a job that is told was owed once, and delivered
        assert self.query("SELECT e.job_seq, e.seq FROM events e JOIN jobs j ON j.seq = e.job_seq"
                       " LEFT JOIN webhooks w ON w.job_seq = e.job_seq"
                       " AND w.event_seq = e.seq AND w.state = 'delivered'"
                       " WHERE j.webhook_url IS NOT NULL"
                       " GROUP BY e.job_seq, e.seq HAVING count(w.seq) <> 1") == []
        assert self.query("SELECT id FROM jobs WHERE webhook_pending OR webhook_dead") == []
        # what triggers keep is what there is
        assert self.query("SELECT t.state, t.attended FROM tallies t WHERE count <> (SELECT"
                       " count(*) FROM jobs j WHERE (j.state, j.attended) ="
                       " (t.state, t.attended))") == []
        assert self.query("SELECT * FROM waiting") == []


class Submitters:
    """Clients that submit jobs one after the other until stopped."""

    def __init__(self, service, count, model="b"):
        self.accepted = []  # ids, each from a 202
        self.lost = []      # any other answer, or an OSError
        self._service = service
        self._body = {"request": {"model": model, "messages": []}}
        self._stop = threading.Event()
        self._clients = [threading.Thread(target=self._submit) for _ in range(count)]
        for client in self._clients:
            client.start()

    def _submit(self):
        while not self._stop.is_set():
            try:
                answer = self._service.post("/jobs", self._body)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(error)
                continue
            if answer.status == 202:
                self.accepted.append(answer.json()["id"])
            else:
                self.lost.append(answer)

    def stop(self):
        self._stop.set()
        for client in self._clients:
            client.join()


class Answer:
    """One HTTP exchange; pieces of the body are stamped when they arrive."""

    def __init__(self, port, method, path, body, headers, timeout):
        self.sent_at = time.monotonic()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        self._connection.request(method, path, body, headers or {})
        self._response = self._connection.getresponse()
        self.head_at = time.monotonic()
        self.status = self._response.status
        self.headers = self._response.headers
        self.type = self.headers.get("content-type")
        self.body = b""
        self._rest = b""

    def line(self):
        """(when, the next line without leading blanks), or None at the end."""
        while b"\n" not in self._rest:
            piece = self._response.read1(65536)
            if not piece:
                line, self._rest = self._rest.strip(), b""
                return (time.monotonic(), line) if line else None
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return time.monotonic(), line.lstrip()

    def lines(self):
        while True:
            line = self.line()
            if line is None:
                return
            yield line

    def finish(self):
        self.body = self._response.read()
        self.close()
        return self

    def close(self):
        """Leave, read or not."""
        if self._connection.sock:
            self._connection.sock.close()
        self._response.close()
        self._connection.close()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {dict(self.headers)} {self.body[:500]!r}>"
