"""The Nth call fails: of memory, writes, syncs, connects and descriptors.

A phase is gone through once to count its calls and the places they are made
from, then again for each place (a spread of them; all with --slow) with its
first call failing (tests/faults/faults.c).
Whatever fails: nobody dies of a signal or hangs; who does not start says why;
who asks gets an answer or an error; what was acknowledged is on disk, comes to
its end, and is told to who wants to know.
"""

import collections
import http.client
import json
import mmap
import os
import queue
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import uuid

import pytest

from harness import SECRET, TOP, Answer, Service, until

# As faults.c has them.
ROLES = {"worker": 1, "master": 2, "responder": 3}
KINDS = {"alloc": 1, "write": 2, "short": 3, "sync": 4, "connect": 5, "open": 6}
ALL, SPREAD, FEW = 10**6, 20, 8  # points of a kind: what is quick, waits, starts
BENCHES = 4  # points tried at a time: they mostly wait for a retry
NDJSON = {"Content-Type": "application/x-ndjson"}
QUICK = {"fake_tokens": 2, "fake_token_ms": 1}
JOB_KEYS = {"id", "state", "terminal", "reason", "error", "attended", "endpoint",
            "model", "attempts", "seq", "created_at", "timings", "usage",
            "artifacts", "webhook", "metadata", "urls"}


class Plan:
    """The file that faults.c maps: struct plan."""

    HEAD = struct.Struct("=IIQQII")
    WHERE = 4000
    PLACES = 16384
    SIZE = HEAD.size + WHERE + 8 + 5 * 8 * PLACES

    def __init__(self):
        self.path = tempfile.mkstemp(prefix="foreman-faults-")[1]
        with open(self.path, "r+b") as f:
            f.truncate(self.SIZE)
            self._map = mmap.mmap(f.fileno(), 0)

    def close(self):
        self._map.close()
        os.unlink(self.path)

    def arm(self, role, kind, nth):
        self._map[:] = bytes(self.SIZE)
        self.HEAD.pack_into(self._map, 0, 0, KINDS[kind], nth, 0, 0, 0)
        self._map[0] = ROLES[role]  # last: from here on it counts

    def disarm(self):
        self._map[0] = 0

    @property
    def count(self):
        return self.HEAD.unpack_from(self._map, 0)[3]

    @property
    def fired(self):
        return self.HEAD.unpack_from(self._map, 0)[4] != 0

    def places(self):
        """The calls that were the first from their place."""
        at = self.HEAD.size + self.WHERE
        count, = struct.unpack_from("=Q", self._map, at)
        count = min(count, self.PLACES)
        return sorted(struct.unpack_from(f"={count}Q", self._map, at + 8))

    def where(self):
        """Who called: ours by function and line, others by library."""
        told = []
        text = self._map[self.HEAD.size:][:self.WHERE].split(b"\0")[0].decode()
        for frame in text.split():
            path, _, offset = frame.rpartition("+")
            name = os.path.basename(path)
            if "foreman" in name:
                call = hex(int(offset, 16) - 1)  # not where it returns to
                name = ":".join(subprocess.run(
                    ["addr2line", "-sfe", path, call], capture_output=True,
                    text=True).stdout.split()[:2]) or frame
            told.append(name)
        return " < ".join(dict.fromkeys(told))


class Bench:
    """A service of its own, and the plan of its programs."""

    def __init__(self, build, **settings):
        self.plan = Plan()
        self.f = Service(build, ["--load-ms", "0"], **{
            "FOREMAN_RESPONDERS": "1", "FOREMAN_THREADS": "4",
            "FOREMAN_LOG_LEVEL": "info", **settings})
        self.f.preload = {
            "LD_PRELOAD": f"{build}/tests/faults/faults.so",
            "FAULTS_PLAN": self.plan.path,
            # faults.so comes before ASan's library, and calls it
            "ASAN_OPTIONS": self.f.env("faults")["ASAN_OPTIONS"] +
                            ":verify_asan_link_order=0",
            "LSAN_OPTIONS": f"suppressions={TOP}/tests/faults/lsan.supp:"
                            "print_suppressions=0"}
        self.promised = []  # ids out of a 202

    def close(self):
        wrong = self.f.stop()
        self.plan.close()
        return wrong

    def start(self):
        self.f.start()
        self.f.chat(**QUICK).finish()
        self.seen = len(self.f.responder.text())
        return self

    def no_deaths(self):
        """No process has died since this was last asked."""
        log = self.f.responder.text()
        lines = [line for line in log[self.seen:].splitlines() if "child died" in line]
        self.seen = len(log)
        assert not lines, lines
        assert self.f.responder.running() and self.f.worker.running()


class Sweep:
    """Goes over the points of phases, and gathers what is wrong at them."""

    def __init__(self, build, slow):
        self.build = build
        self.slow = slow
        self.benches = []
        self.lines = []  # what was swept, for the reader of the run
        self.failures = 0
        self.wrong = []

    def bench(self, **settings):
        self.benches.append(Bench(self.build, **settings))
        return self.benches[-1]

    @staticmethod
    def count(bench, role, kind, step, runs):
        """The calls of one run, and which of them are a place's first. What is made
        once, or by a timer now and then, is not in the fewest of some."""
        counts = []
        for _ in range(runs):
            bench.plan.arm(role, kind, 0)
            step(bench, kind)
            counts.append((bench.plan.count, bench.plan.places()))
            bench.plan.disarm()
        return min(counts)

    def points(self, places, most):
        if self.slow or len(places) <= most:
            return places
        return [places[i * (len(places) - 1) // (most - 1)] for i in range(most)]

    def point(self, bench, phase, role, kind, nth, step):
        """Whether it was reached. What goes wrong is told with its place."""
        bench.plan.arm(role, kind, nth)
        try:
            step(bench, kind)
        except Exception as e:
            self.wrong.append(f"{phase}, {kind} {nth}: {type(e).__name__}: {e}\n"
                              f"    at {bench.plan.where()}")
        bench.plan.disarm()
        return bench.plan.fired

    def over(self, benches, phase, role, step, most=SPREAD):
        told = []
        for kind in KINDS:
            # a process that starts does what it did when it started before
            total, places = self.count(benches[0], role, kind, step,
                                       runs=1 if most == FEW else 3)
            points = queue.SimpleQueue()
            for nth in self.points(places, most):
                points.put(nth)
            reached = collections.Counter()

            def work(bench):
                while True:
                    try:
                        nth = points.get_nowait()
                    except queue.Empty:
                        return
                    reached[bench] += self.point(bench, phase, role, kind, nth, step)

            threads = [threading.Thread(target=work, args=[b]) for b in benches]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.failures += reached.total()
            told.append(f"{reached.total()} {kind} of {len(places)} ({total})")
        self.lines.append(f"{phase}: {', '.join(told)}")

    def close(self):
        return [text for bench in self.benches for text in bench.close()]


@pytest.fixture
def sweep(build, request, tell):
    if not os.path.exists(f"{build}/tests/faults/faults.so"):
        pytest.skip("tests/faults/faults.so is not built: make check TESTS=")
    s = Sweep(build, request.config.getoption("--slow"))
    yield s
    wrong = s.wrong + s.close()
    tell(f"{s.failures} calls failed\n      " + "\n      ".join(s.lines))
    assert not wrong, "\n".join(wrong)


# --- what is asked, and what an answer promises ---------------------------------

def ask(f, path, body, headers=None):
    """An Answer within ten seconds, or None where it broke off."""
    try:
        return Answer(f.port, "POST", path, body, headers, 10).finish()
    except http.client.IncompleteRead:
        return None


def job_body(**more):
    return {"request": {"model": "a", "options": QUICK, "stream": False,
                        "messages": []}, **more}


def broken_off(answer, kind):
    """There was no memory for the request, or its connection broke."""
    assert kind in ("write", "alloc"), answer
    assert answer is None or answer.json(), answer


def take(b, answer, kind, count):
    """A 202 with whole job objects, or an error that says which."""
    if answer is None or answer.status == 502:
        broken_off(answer, kind)
    elif answer.status == 202:
        if kind == "sync":
            assert not b.plan.fired or b.plan.count > 1, "promised, not synced"
        jobs = [json.loads(line) for line in answer.body.splitlines(True)
                if line.endswith(b"\n") or count == 1]
        assert len(jobs) == count or kind == "write", answer
        for job in jobs:
            assert JOB_KEYS <= set(job), f"lacks {JOB_KEYS - set(job)}"
        b.promised += [job["id"] for job in jobs]
    else:
        assert kind != "short", answer
        assert answer.status in (500, 503, 507), answer
        assert answer.type == "application/problem+json", answer
        assert answer.json()["retryable"] is True, answer


def job(b, kind):
    """With all that a job can have."""
    body = job_body(metadata={"for": kind}, artifact="inline", expires_in="1h",
                    webhook={"url": b.webhook, "secret": SECRET})
    take(b, ask(b.f, "/jobs", body, {"Idempotency-Key": str(uuid.uuid4())}), kind, 1)
    b.no_deaths()


def batch(b, kind):
    lines = "".join(json.dumps(job_body()) + "\n" for _ in range(3))
    take(b, ask(b.f, "/jobs", lines, NDJSON), kind, 3)
    b.no_deaths()


def chat(b, kind):
    """To its end, or to an error; never to neither."""
    answer = ask(b.f, "/api/chat", {"model": "a", "options": QUICK, "messages": []})
    b.no_deaths()
    if answer is None or answer.headers["server"] == "Caddy":
        broken_off(answer, kind)
    elif answer.status == 200:
        last = json.loads(answer.body.splitlines()[-1])
        assert last.get("done") or (last["error"] and kind != "short"), answer
    else:
        assert kind != "short", answer
        assert answer.status in (500, 502, 503, 507), answer
        assert answer.json()["error"], answer


def submitted(b, **more):
    """The id of a job that was taken, by a responder that nothing happens to."""
    answer = ask(b.f, "/jobs", job_body(**more))
    assert answer.status == 202, answer
    b.promised.append(answer.json()["id"])
    return b.promised[-1]


def wait_run(b, id, also="1"):
    """The job is at its end, or back in line for a later run."""
    until(lambda: not b.f.worker.running() or b.f.query(
        "SELECT 1 FROM jobs WHERE id = ? AND (finished_ms OR (state = 'queued' AND"
        f" attempts + interruptions > 0)) AND {also}", id), f"job {id} runs", 10)
    b.no_deaths()


def kept(b):
    """All is killed; what was promised is there, and comes to a good end."""
    for child in b.f.responder.children():
        os.kill(child, signal.SIGKILL)
    b.f.responder.kill()
    b.f.worker.kill()
    b.f.start_responder()
    b.f.start_worker()
    b.f.wait_ready()
    stored = {id for id, in b.f.query("SELECT id FROM jobs")}
    assert not set(b.promised) - stored
    until(lambda: b.f.query("SELECT count(*) FROM jobs WHERE finished_ms IS NULL OR"
                            " webhook_pending") == [(0,)], "all comes to its end")
    b.f.check_whole()


# --- submit, run, deliver -------------------------------------------------------

def test_submissions_are_stored_or_refused(sweep, receiver):
    b = sweep.bench().start()
    b.webhook = receiver().url
    sweep.over([b], "submit, a job", "responder", job, ALL)
    sweep.over([b], "submit, a batch", "responder", batch, ALL)
    sweep.over([b], "submit, a chat", "responder", chat, ALL)
    kept(b)


def test_what_runs_comes_to_its_end(sweep):
    benches = [sweep.bench().start() for _ in range(BENCHES)]
    sweep.over(benches, "run, a job", "worker",
               lambda b, kind: wait_run(b, submitted(b)))
    sweep.over(benches, "run, a chat", "worker", chat)
    for b in benches:
        kept(b)


def test_what_is_owed_is_told(sweep, receiver):
    soon = "0," + ",".join(6 * ["50ms"])
    benches = [sweep.bench(FOREMAN_WEBHOOK_SCHEDULE=soon).start()
               for _ in range(BENCHES)]
    r = receiver()
    webhook = {"url": r.url, "secret": SECRET}
    sweep.over(benches, "deliver", "worker", lambda b, kind: wait_run(
        b, submitted(b, webhook=webhook), "webhook_pending = 0"))
    for b in benches:
        kept(b)
        for id in b.promised:
            told = [d.job["seq"] for d in r.of(id)]
            assert told == sorted(told) and r.of(id)[-1].type == "job.done", told


# --- start-up -------------------------------------------------------------------

def started(b, start, word):
    """Start; the process, its log, and whether the word came or it ended."""
    path = f"{b.f.dir}/{start.__name__.removeprefix('start_')}.log"
    had = os.path.getsize(path) if os.path.exists(path) else 0
    start()
    process = b.f.processes.pop()  # how it ends is looked at here

    def log():
        return process.text()[had:]

    until(lambda: word in log() or not process.running(), f"{word} or an end", 10)
    return process, log


def stopped(process, log):
    assert process.stop() == 0, log()


def refused(process, log):
    """It left, said why, and that it may be tried again."""
    if process.running():
        return False
    assert process.wait() in range(69, 76), f"{process.wait()}: {log()}"
    assert "foreman-responder: " in log() or "level=error" in log(), log()
    return True


def start_worker(b, kind):
    """With a job that waits: it runs now, or when the worker starts again."""
    id = submitted(b)
    process, log = started(b, b.f.start_worker, "msg=active")
    try:
        until(lambda: not process.running() or b.f.query(
            "SELECT 1 FROM jobs WHERE id = ? AND (finished_ms OR attempts +"
            " interruptions > 0)", id), f"job {id} runs", 10)
    finally:
        if not refused(process, log):
            stopped(process, log)


def start_responder(b, kind):
    process, log = started(b, b.f.start_responder, "msg=ready")
    for line in log().splitlines():
        if "child died" in line:  # that it failed, or found a thread missing
            assert "how=exit" in line and ("code=7" in line or "a thread" in log())
    if not refused(process, log):
        stopped(process, log)


def start_fresh(b, start, word):
    """Where there is no database: what a start leaves half done the next mends."""
    shutil.rmtree(b.fresh, ignore_errors=True)
    os.mkdir(b.fresh)
    process, log = started(b, start, word)
    if refused(process, log):
        b.plan.disarm()
        process, log = started(b, start, word)
    assert process.running(), log()
    stopped(process, log)
    assert b.f.query("PRAGMA integrity_check") == [("ok",)]


def test_a_worker_starts_or_says_why_not(sweep):
    benches = [sweep.bench().start() for _ in range(2)]
    for b in benches:
        b.f.processes.remove(b.f.worker)
        assert b.f.worker.stop() == 0
    sweep.over(benches, "start, worker", "worker", start_worker, FEW)
    for b in benches:
        b.f.start_worker()
        kept(b)


def test_responders_start_or_say_why_not(sweep):
    benches = [sweep.bench().start() for _ in range(2)]
    for b in benches:
        b.f.processes.remove(b.f.responder)
        assert b.f.responder.stop() == 0
    sweep.over(benches, "start, responder", "responder", start_responder, FEW)
    sweep.over(benches, "start, master", "master", start_responder, FEW)


def test_a_database_is_made_or_left_to_the_next(sweep):
    benches = []
    for _ in range(2):
        b = sweep.bench()
        b.fresh = f"{b.f.dir}/fresh"
        b.f.db = b.f.settings["FOREMAN_DB"] = f"{b.fresh}/foreman.db"
        b.f.settings["FOREMAN_OLLAMA_URL"] = "http://127.0.0.1:9"
        benches.append(b)
    sweep.over(benches, "start, first worker", "worker", lambda b, kind: start_fresh(
        b, b.f.start_worker, "msg=active"), FEW)
    sweep.over(benches, "start, first responder", "responder",
               lambda b, kind: start_fresh(b, b.f.start_responder, "msg=ready"), FEW)
