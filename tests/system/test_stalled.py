"""Readers that do not read: they hold up nobody and have a price with an end."""

import json
import re
import socket

import pytest

from harness import until

MB = 1 << 20
READERS = 64
REPLY = 4 * MB
LINE = 64 << 10

# docs/performance.md, "Memory": what finished replies may hold, and one reply
# in the making, whose buffer doubles; of a reply, what a responder may hold for
# a client; and what a program needs besides, with a sanitizer's books more.
KEPT = 128 * MB
MAKING = 2 * REPLY
FRAMES = 256 << 10
BESIDES = 16 * MB
BOOKS = 96 * MB


def rss(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read())[1]) * 1024


def besides(pid):
    with open(f"/proc/{pid}/maps") as f:
        return BOOKS if re.search(r"lib[at]san", f.read()) else BESIDES


class Stalled:
    """A client that asks for a large answer and never reads a byte of it."""

    def __init__(self, f):
        body = json.dumps({
            "model": "a", "messages": [{"role": "user", "content": "hello"}],
            "options": {"fake_tokens": REPLY // LINE, "fake_token_ms": 0,
                        "fake_line_bytes": LINE}}).encode()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", f.port))
        self.socket.sendall(b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: %d"
                            b"\r\n\r\n%s" % (len(body), body))

    def close(self):
        self.socket.close()


@pytest.fixture
def stalled():
    """A function that starts so many; what it returns lets them all go."""
    clients = []

    def leave():
        for c in clients:
            c.close()

    def start(f, count):
        clients.extend(Stalled(f) for _ in range(count))
        return leave

    yield start
    leave()


def test_stalled_readers_hold_neither_the_target_nor_more_memory_than_allowed(
        foreman, stalled, tell):
    f = foreman(FOREMAN_KEEPALIVE="1s")
    before = rss(f.worker.pid)
    pids = f.responder.children()
    before_responders = [rss(pid) for pid in pids]
    leave = stalled(f, READERS)
    until(lambda: f.stats()["generations"] == READERS and f.stats()["running"] == 0,
          "every generation has come to its end, read or not")
    until(lambda: not f.query("SELECT 1 FROM jobs WHERE state != 'done'"),
          "and so has every job")
    peak = rss(f.worker.pid)
    # whoever reads is served as ever, and the next generation begins
    assert b'"done":true' in f.chat("b", fake_tokens=2).finish().body
    assert f.wait_job(f.submit(fake_tokens=1)["id"])["state"] == "done"
    grown = [rss(pid) - b for pid, b in zip(pids, before_responders)]
    tell(f"worker {before / MB:.0f} -> {peak / MB:.0f} MB with {READERS} stalled "
         f"readers of {REPLY / MB:.0f} MB; responders +{[g >> 20 for g in grown]} MB")
    assert peak - before < KEPT + MAKING + besides(f.worker.pid)
    assert sum(grown) < READERS * FRAMES + sum(besides(pid) for pid in pids)
    leave()
    until(lambda: rss(f.worker.pid) < before + 32 * MB, "the memory is given back")
