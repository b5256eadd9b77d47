"""Clients that leave at any moment, many at once: nothing stays behind."""

import http.client
import os
import random
import threading
import time

import pytest

from harness import until

CLIENTS = 16
THREADS = 8


def held(f, pid):
    """(descriptors, threads) of a process. Those of the database aside: each
    thread opens its own the first time it needs one, and keeps it."""
    names = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass  # just closed
    base = [name for name in names if name.startswith(f.db)]
    assert len(base) <= 3 * (THREADS + 2), names
    return len(names) - len(base), len(os.listdir(f"/proc/{pid}/task"))


def everything(f):
    return {pid: held(f, pid) for pid in [f.worker.pid, f.responder.pid,
                                          *f.responder.children()]}


class Leavers:
    """Clients that begin something and leave, until there were so many."""

    def __init__(self, f, count):
        self.left = {"waiting": 0, "loading": 0, "streaming": 0, "late": 0}
        self.failed = []
        self._f = f
        self._lock = threading.Lock()
        self._rest = count
        threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def _run(self, seed):
        dice = random.Random(seed)
        while True:
            with self._lock:
                if self._rest == 0:
                    return
                self._rest -= 1
            phase = dice.choice(list(self.left))
            try:
                self._leave(phase, dice)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append((phase, repr(error)))
            with self._lock:
                self.left[phase] += 1

    def _leave(self, phase, dice):
        model = dice.choice("ab")
        if phase in ("waiting", "loading"):
            # no head comes before the target's: the socket is all there is
            wire = http.client.HTTPConnection("127.0.0.1", self._f.port)
            wire.request("POST", dice.choice(["/api/chat", "/api/generate"]),
                         '{"model":"%s","prompt":"x","options":{"fake_load_ms":%d,'
                         '"num_ctx":%d}}' % (model, dice.choice([0, 30]),
                                             dice.choice([2048, 4096])))
            if phase == "loading":
                until(lambda: not self._f.query("SELECT 1 FROM queue LIMIT 1") or
                      self._f.query("SELECT 1 FROM running LIMIT 1"), "something runs")
            wire.sock.settimeout(dice.random() / 20)
            try:
                wire.sock.recv(1)
            except TimeoutError:
                pass
            wire.close()
            return
        chat = self._f.chat(model, fake_tokens=dice.randint(1, 6), fake_token_ms=5,
                            fake_line_bytes=dice.choice([1, 100_000]))
        chat.line()
        if phase == "late":
            chat.line()
        chat.close()


@pytest.mark.threads
def test_whoever_leaves_leaves_nothing_behind(foreman, storm, tell):
    f = foreman(FOREMAN_KEEPALIVE="200ms", FOREMAN_THREADS=str(THREADS))
    f.chat(fake_tokens=1).finish()
    Leavers(f, CLIENTS)  # what is made once is made now
    idle(f)
    before = everything(f)
    began = time.monotonic()
    leavers = Leavers(f, storm)
    idle(f)
    assert not leavers.failed
    assert sum(leavers.left.values()) == storm
    # who left ended as told, and by nothing else
    assert f.query("SELECT DISTINCT reason FROM jobs WHERE reason IS NOT NULL") in (
        [], [("canceled",)])
    assert set(everything(f)) == set(before), "the same processes"
    until(lambda: all(now <= then for pid, then in before.items()
                      for now, then in zip(held(f, pid), then)),
          f"descriptors and threads are as before: {before}, {everything(f)}", 30)
    # the slot is free, for who asks the target itself and for who asks foreman
    direct = {"model": "c", "stream": False, "options": {"fake_tokens": 1},
              "messages": [{"role": "user", "content": "hello"}]}
    assert f.direct("POST", "/api/chat", direct).json()["done"]
    assert f.wait_job(f.submit("c", fake_tokens=1)["id"])["state"] == "done"
    tell(f"{sum(leavers.left.values())} clients left ({leavers.left}) "
         f"within {time.monotonic() - began:.1f} s; the target saw {f.stats()['client_gone']} go")


def idle(f):
    until(lambda: not f.query("SELECT 1 FROM jobs WHERE state NOT IN ('done','failed')"),
          "no job is left")
    until(lambda: (now := f.stats())["running"] == now["pending"] == 0,
          "the target is idle")


def to_target(f):
    """How many of the responders' descriptors lead to the target."""
    sockets = set()
    for pid in f.responder.children():
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                sockets.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except FileNotFoundError:
                pass  # just closed
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(int(row[2].split(":")[1], 16) == f.fake_port and
               f"socket:[{row[9]}]" in sockets for row in rows)


def test_connections_to_the_target_are_kept_for_a_moment_only(foreman):
    f = foreman()
    for _ in range(20):
        answer = f.post("/api/embed", {"model": "embedder", "input": "x"})
        assert answer.status == 200, answer
    until(lambda: to_target(f) == 0, "the last kept connection is closed")
