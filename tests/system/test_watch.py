"""Waiting for a job's moves: ?wait=, entity tags, server-sent events."""

import contextlib
import glob
import http.client
import json
import os
import select
import signal
import socket
import threading
import time

import pytest

from harness import Submitters, until

WATCHERS = 200


class Events:
    """A job's events as they come; pings counted, fields kept as sent."""

    def __init__(self, f, id, last=None):
        headers = {"Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        self.answer = f.open("GET", f"/jobs/{id}/events", headers=headers)
        self.status = self.answer.status
        self.pings = 0

    def __iter__(self):
        event = {}
        while (line := self._line()) is not None:
            name, _, value = line.partition(":")
            if line == ": ping":
                self.pings += 1
            elif name in ("id", "event", "data"):
                event[name] = value.strip()
            elif not line and event:
                event["data"] = json.loads(event["data"])
                yield event
                event = {}
        assert not event, "the stream ended inside an event"

    def _line(self):
        got = self.answer.line()
        return got[1].decode() if got else None

    def take(self, count):
        """The next so many; the stream stays open."""
        taken = []
        for event in self:
            taken.append(event)
            if len(taken) == count:
                break
        return taken

    def close(self):
        self.answer.close()


def waiting_job(f):
    """(a chat that holds the line, a job behind it); whoever asked has left."""
    chat, id = f.busy("a"), f.submit("b", fake_tokens=1)["id"]
    until(lambda: len(accepted(f) & open_sockets(f)) == 1, "only the chat is answered")
    return chat, id


def open_sockets(f):
    """Those that the responders hold, as socket:[number]; a listening one may be
    shared."""
    names = []
    for pid in f.responder.children():
        for path in glob.glob(f"/proc/{pid}/fd/*"):
            with contextlib.suppress(OSError):  # just closed
                names.append(os.readlink(path))
    return {name for name in names if name.startswith("socket:")}


def sockets(f):
    return len(open_sockets(f))


def accepted(f):
    """Connections to this service, at their accepted ends."""
    with open("/proc/net/unix") as table:
        rows = [line.split() for line in table]
    return {f"socket:[{row[6]}]" for row in rows[1:]
            if row[5] == "03" and row[-1].startswith(f.dir)}


class Waiter(threading.Thread):
    """One request that may take its time."""

    def __init__(self, f, path, headers=None):
        super().__init__()
        self._ask = lambda: f.get(path, headers)
        self.answer = None
        self.start()

    def run(self):
        try:
            self.answer = self._ask()
        except (OSError, http.client.HTTPException) as error:
            self.answer = error

    def result(self):
        self.join()
        return self.answer


def parked(f, count, before):
    until(lambda: sockets(f) >= before + count, f"{count} clients are parked")


def test_a_wait_returns_when_the_job_moves(foreman):
    f = foreman()
    chat, id = waiting_job(f)
    before = sockets(f)
    waiters = [Waiter(f, f"/jobs/{id}?wait=60") for _ in range(10)]
    parked(f, len(waiters), before)
    chat.close()  # by the worker, then
    for waiter in waiters:
        answer = waiter.result()
        assert answer.status == 200
        assert answer.json()["state"] != "queued"
        assert answer.headers["ETag"] == f'W/"{answer.json()["seq"]}"'
    f.wait_job(id)


def test_a_wait_returns_when_another_responder_moved_the_job(foreman):
    f = foreman()
    chat, id = waiting_job(f)
    before = sockets(f)
    waiters = [Waiter(f, f"/jobs/{id}?wait=60") for _ in range(10)]
    parked(f, len(waiters), before)
    assert f.post(f"/jobs/{id}/cancel").status == 200
    seen = [waiter.result().json() for waiter in waiters]
    assert {(job["state"], job["reason"]) for job in seen} == {("failed", "canceled")}
    chat.close()


def test_nothing_new_in_time_is_not_modified(foreman):
    f = foreman()
    chat, id = waiting_job(f)
    tag = f.get(f"/jobs/{id}").headers["ETag"]
    began = time.monotonic()
    answer = f.get(f"/jobs/{id}?wait=1", {"If-None-Match": tag})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["ETag"] == tag
    assert time.monotonic() - began >= 1
    answer = f.get(f"/jobs/{id}?wait=1")
    assert (answer.status, answer.json()["state"]) == (200, "queued")
    assert f.get(f"/jobs/{id}", {"If-None-Match": tag}).status == 304
    chat.close()
    f.wait_job(id)
    answer = f.get(f"/jobs/{id}?wait=60", {"If-None-Match": tag})
    assert (answer.status, answer.json()["state"]) == (200, "done")


def ask_to_wait(f, id):
    s = socket.create_connection(("127.0.0.1", f.port), 60)
    s.sendall(f"GET /jobs/{id}?wait=60 HTTP/1.1\r\nHost: localhost\r\n"
              "Connection: close\r\n\r\n".encode())
    return s


def test_two_hundred_may_wait_at_once(foreman):
    f = foreman(FOREMAN_THREADS="4")
    chat, id = waiting_job(f)
    before = sockets(f)
    clients = [ask_to_wait(f, id) for _ in range(WATCHERS)]
    parked(f, WATCHERS, before)
    assert select.select(clients, [], [], 0)[0] == []
    assert f.get("/healthz").status == 200  # no thread waits with them
    f.post(f"/jobs/{id}/cancel")
    for s in clients:
        answer = http.client.HTTPResponse(s)
        answer.begin()
        assert json.loads(answer.read())["state"] == "failed"
        s.close()
    until(lambda: sockets(f) <= before, "all places are free again")
    chat.close()


def test_clients_that_leave_free_their_places(foreman):
    f = foreman(FOREMAN_KEEPALIVE="100ms")
    chat, id = waiting_job(f)
    before = sockets(f)
    streams = [Events(f, id) for _ in range(30)]
    for stream in streams:
        assert stream.take(1)[0]["event"] == "job.queued"
    parked(f, len(streams), before)
    for stream in streams:
        stream.close()
    until(lambda: sockets(f) <= before, "all places are free again")
    chat.close()


def test_events_are_told_in_order_to_the_end(foreman):
    f = foreman()
    chat, id = waiting_job(f)
    stream = Events(f, id)
    assert stream.answer.type == "text/event-stream"
    assert stream.answer.headers["Cache-Control"] == "no-store"
    [first] = stream.take(1)
    chat.close()
    events = [first, *stream]
    assert [e["event"] for e in events] == \
        ["job.queued", "job.loading", "job.working", "job.done"]
    assert [e["id"] for e in events] == ["1", "2", "3", "4"]
    assert [e["data"]["terminal"] for e in events] == [False, False, False, True]
    rows = f.query("SELECT e.seq, e.state, e.reason FROM events e"
                   " JOIN jobs j ON j.seq = e.job_seq WHERE j.id = ? ORDER BY e.seq", id)
    assert [(e["data"]["seq"], e["data"]["state"], e["data"]["reason"])
            for e in events] == rows
    assert {e["data"]["id"] for e in events} == {id}


def test_events_resume_where_the_client_left(foreman):
    f = foreman()
    id = f.submit("a", stream=True, fake_tokens=1000000, fake_token_ms=50)["id"]
    stream = Events(f, id)
    assert [e["id"] for e in stream.take(3)] == ["1", "2", "3"]
    stream.close()
    stream = Events(f, id, last=2)
    assert [e["event"] for e in stream.take(1)] == ["job.working"]
    f.post(f"/jobs/{id}/cancel")
    [end] = stream
    assert (end["event"], end["data"]["reason"]) == ("job.failed", "canceled")
    # a browser's EventSource asks again behind the end, and stops at a 204
    assert Events(f, id, last=end["id"]).status == 204
    assert [e["id"] for e in Events(f, id, last=3)] == ["4"]
    assert Events(f, id, last="x").status == 400


def test_a_silent_stream_is_pinged(foreman):
    f = foreman(FOREMAN_KEEPALIVE="100ms")
    chat, id = waiting_job(f)
    stream = Events(f, id)
    stream.take(1)
    while (line := stream._line()) != ": ping":
        assert line == ""
    chat.close()
    assert [e["id"] for e in stream] == ["2", "3", "4"]


def test_events_survive_a_responder_that_is_killed(foreman):
    f = foreman(FOREMAN_RESPONDERS="1")
    chat, id = waiting_job(f)
    stream = Events(f, id)
    assert [e["id"] for e in stream.take(1)] == ["1"]
    [child] = f.responder.children()
    os.kill(child, signal.SIGKILL)
    assert list(stream) == []  # the end, and no half event
    chat.close()
    until(lambda: f.get("/healthz").status == 200, "another responder is there")
    assert [e["event"] for e in Events(f, id, last=1)] == \
        ["job.loading", "job.working", "job.done"]


def test_a_reload_ends_every_wait(foreman):
    f = foreman()
    chat, id = waiting_job(f)
    before = sockets(f)
    waiter = Waiter(f, f"/jobs/{id}?wait=60")
    stream = Events(f, id)
    assert [e["id"] for e in stream.take(1)] == ["1"]
    parked(f, 2, before)
    f.responder.signal(signal.SIGHUP)
    answer = waiter.result()
    assert (answer.status, answer.json()["state"]) == (200, "queued")
    assert list(stream) == []
    chat.close()
    assert [e["id"] for e in Events(f, id, last=1)] == ["2", "3", "4"]


def test_a_stop_ends_every_wait(foreman):
    f = foreman()
    chat, id = waiting_job(f)
    before = sockets(f)
    waiter = Waiter(f, f"/jobs/{id}?wait=60")
    stream = Events(f, id)
    assert [e["id"] for e in stream.take(1)] == ["1"]
    parked(f, 2, before)
    f.responder.signal(signal.SIGTERM)
    answer = waiter.result()
    assert (answer.status, answer.json()["state"]) == (200, "queued")
    assert list(stream) == []
    chat.close()
    assert f.responder.wait() == 0


def test_a_job_that_is_removed_ends_its_waits(foreman):
    f = foreman()
    chat, id = waiting_job(f)
    before = sockets(f)
    waiter = Waiter(f, f"/jobs/{id}?wait=60")
    stream = Events(f, id, last=1)
    parked(f, 2, before)
    assert f.request("DELETE", f"/jobs/{id}").status == 204
    answer = waiter.result()
    assert answer.status in (200, 410), answer  # canceled first, or gone already
    last = list(stream)[-1]
    assert last["event"] in ("job.failed", "job.removed")
    assert f.get(f"/jobs/{id}/events").status == 410
    chat.close()


def watch_seconds(pid):
    """CPU time of the process's thread that watches jobs."""
    for path in glob.glob(f"/proc/{pid}/task/*/comm"):
        with open(path) as f:
            if f.read().strip() != "foreman-watch":
                continue
        with open(path.removesuffix("comm") + "stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    raise AssertionError("no thread watches jobs")


def private_bytes(pid):
    with open(f"/proc/{pid}/status") as f:
        [line] = [line for line in f if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


@pytest.mark.slow
def test_a_thousand_that_wait_cost_little(foreman, tell):
    """Each for a job of its own, while others submit as fast as they can."""
    f = foreman(FOREMAN_RESPONDERS="1", FOREMAN_THREADS="4", FOREMAN_LOG_LEVEL="warn")
    chat = f.busy("a", token_ms=1000)
    ids = [f.submit("b", fake_tokens=1)["id"] for _ in range(1000)]
    [pid] = f.responder.children()
    before, bytes_before = sockets(f), private_bytes(pid)
    clients = [ask_to_wait(f, id) for id in ids]
    parked(f, len(clients), before)
    each = (private_bytes(pid) - bytes_before) / len(clients)
    submitters = Submitters(f, 4, model="d")
    until(lambda: len(submitters.accepted) > 100, "jobs come in")
    began, cpu, count = time.monotonic(), watch_seconds(pid), len(submitters.accepted)
    until(lambda: time.monotonic() > began + 8, "eight seconds")
    took = time.monotonic() - began
    share = (watch_seconds(pid) - cpu) / took
    rate = (len(submitters.accepted) - count) / took
    submitters.stop()
    tell(f"1,000 waiting clients, {rate:.0f} jobs/s coming in: {share:.1%} of a core, "
         f"{each / 1024:.1f} KiB each")
    assert select.select(clients, [], [], 0)[0] == []
    assert each < 32 * 1024
    for s in clients:
        s.close()
    chat.close()
