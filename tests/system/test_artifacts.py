"""What a job leaves: response and content, whole, in part, and at any speed."""

import base64
import hashlib
import json
import re
import socket
import threading

import pytest

from harness import PATIENCE_S, until

MB = 1 << 20
LARGE = 50          # MB of one artifact
SLOW = 40           # clients that take it slowly
# per responder, on top of what it has before: what is queued for each of its
# slow clients, and a sanitizer's books
CEILING = 48 * MB


def run(f, request=None, **more):
    """A job run to its end."""
    body = {"request": {"model": "a", "messages": [{"role": "user", "content": "x"}],
                        **(request or {})}, **more}
    answer = f.post("/jobs", body)
    assert answer.status == 202, answer
    return f.wait_job(answer.json()["id"])


def artifact(f, job, name, headers=None, method="GET"):
    return f.request(method, f"/jobs/{job['id']}/artifacts/{name}", None, headers)


def digest(data):
    return "sha-256=:" + base64.b64encode(hashlib.sha256(data).digest()).decode() + ":"


def named(job):
    return {a["name"]: a for a in job["artifacts"]}


# --- content ------------------------------------------------------------------

@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("endpoint, request_body", [
    ("/api/chat", {"messages": [{"role": "user", "content": "echo one two"}]}),
    ("/api/generate", {"prompt": "echo one two"}),
    ("/v1/chat/completions", {"messages": [{"role": "user",
                                            "content": "echo one two"}]}),
])
def test_the_content_is_the_assistants_text(foreman, endpoint, request_body, streamed):
    f = foreman()
    body = {"request": {"model": "a", "stream": streamed, **request_body},
            "endpoint": endpoint}
    job = f.wait_job(f.post("/jobs", body).json()["id"])
    got = artifact(f, job, "content")
    assert got.status == 200
    assert got.type == "text/plain; charset=utf-8"
    assert got.body == b"one two"
    said = named(job)["content"]
    assert said["inline"] == "one two" and said["bytes"] == 7
    assert said["href"].endswith("/artifacts/content")
    assert "complete" not in said
    assert got.headers["etag"] == f'"{said["sha256"]}"'


def test_an_embedding_has_no_content(foreman):
    f = foreman()
    job = f.wait_job(f.post("/jobs", {
        "endpoint": "/api/embed",
        "request": {"model": "embedder", "input": "x"}}).json()["id"])
    assert list(named(job)) == ["response"]
    assert artifact(f, job, "content").status == 404
    assert artifact(f, job, "content").json()["code"] == "not_found"


def test_thinking_is_no_content_and_an_empty_one_is_there(foreman):
    f = foreman()
    job = run(f, {"model": "deepseek-r1:8b", "stream": True,
                  "options": {"fake_tokens": 0}})
    assert b'"thinking":"' in artifact(f, job, "response").body
    got = named(job)
    assert got["content"]["bytes"] == 0 and got["content"]["inline"] == ""
    answer = artifact(f, job, "content")
    assert answer.status == 200 and answer.body == b""
    assert artifact(f, job, "content", {"Range": "bytes=0-"}).status == 416


# --- partial output -----------------------------------------------------------

def check_partial(f, job, reason):
    assert job["state"] == "failed" and job["reason"] == reason, job
    got = named(job)
    assert set(got) == {"response", "content"}
    assert got["response"]["complete"] is False
    assert got["content"]["complete"] is False
    response = artifact(f, job, "response").body
    text = artifact(f, job, "content").body.decode()
    parts = []
    for line in response.splitlines():
        try:
            parts.append(json.loads(line).get("message", {}).get("content", ""))
        except ValueError:
            pass  # cut in its middle
    assert text and text == "".join(parts)


def test_cut_short_by_the_target(foreman):
    f = foreman()
    job = run(f, {"stream": True, "options": {"fake_tokens": 9, "fake_eof_at": 4}})
    check_partial(f, job, "upstream_incomplete")


def test_cut_off_by_its_timeout(foreman):
    f = foreman(fake=["--load-ms", "0"])  # what comes is there long before the timeout
    job = run(f, {"stream": True, "options": {"fake_tokens": 9, "fake_token_ms": 1,
                                              "fake_hang_at": 3}}, timeout="2s")
    check_partial(f, job, "timeout")


def test_larger_than_allowed(foreman):
    f = foreman(FOREMAN_MAX_RESPONSE="64K")
    job = run(f, {"stream": True, "options": {"fake_tokens": 90, "fake_token_ms": 1,
                                              "fake_line_bytes": 1000}})
    check_partial(f, job, "response_too_large")
    assert named(job)["response"]["bytes"] == 65536


def test_an_error_of_the_target_in_mid_stream(foreman):
    f = foreman(FOREMAN_MAX_ATTEMPTS="1")
    job = run(f, {"stream": True, "options": {"fake_tokens": 9, "fake_error_at": 3}})
    check_partial(f, job, "attempts_exhausted")


def test_canceled_while_it_runs(foreman):
    f = foreman()
    id = f.submit(stream=True, fake_tokens=100000, fake_token_ms=20)["id"]
    stream = f.open("GET", f"/jobs/{id}/stream")
    assert stream.line()
    f.post(f"/jobs/{id}/cancel")
    stream.close()
    check_partial(f, f.wait_job(id), "canceled")


# --- asking for it ------------------------------------------------------------

@pytest.fixture(scope="module")
def small(common):
    """(a service, a finished job of it, its response)"""
    job = run(common, {"stream": True, "options": {"fake_tokens": 5}})
    return common, job, artifact(common, job, "response")


def test_an_artifact_says_what_it_is(small):
    f, job, whole = small
    said = named(job)["response"]
    assert whole.type == "application/x-ndjson"
    assert int(whole.headers["content-length"]) == len(whole.body) == said["bytes"]
    assert whole.headers["etag"] == f'"{hashlib.sha256(whole.body).hexdigest()}"'
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-digest"] == digest(whole.body)
    assert whole.headers["repr-digest"] == digest(whole.body)
    assert whole.headers["content-disposition"] == (
        f'attachment; filename="{job["id"]}-response.ndjson"')
    head = artifact(f, job, "response", method="HEAD")
    assert head.status == 200 and head.body == b""
    same = {k.lower(): v for k, v in whole.headers.items() if k.lower() != "date"}
    got = {k.lower(): v for k, v in head.headers.items() if k.lower() != "date"}
    assert got == same


def test_who_has_it_need_not_fetch_it_again(small):
    f, job, whole = small
    tag = whole.headers["etag"]
    for value in (tag, f'"x", {tag}', "*", f"W/{tag}"):
        again = artifact(f, job, "response", {"If-None-Match": value})
        assert again.status == 304 and again.body == b"", value
        assert again.headers["etag"] == tag
    assert artifact(f, job, "response", {"If-None-Match": '"x"'}).status == 200


@pytest.mark.parametrize("range, first, last", [
    ("bytes=0-0", 0, 0), ("bytes=5-9", 5, 9), ("bytes=5-", 5, -1),
    ("bytes=-7", -7, -1), ("bytes=0-99999999", 0, -1), ("bytes=-99999999", 0, -1)])
def test_a_part_of_it(small, range, first, last):
    f, job, whole = small
    size = len(whole.body)
    first, last = first % size, last % size
    part = artifact(f, job, "response", {"Range": range})
    assert part.status == 206
    assert part.body == whole.body[first:last + 1]
    assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
    assert part.headers["repr-digest"] == digest(whole.body)
    assert "content-digest" not in part.headers
    assert part.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize("range", ["bytes=0-1,3-4", "bytes=", "bytes=x-", "lines=0-1",
                                   "bytes=5-3"])
def test_what_is_no_range_is_all_of_it(small, range):
    f, job, whole = small
    got = artifact(f, job, "response", {"Range": range})
    assert got.status == 200 and got.body == whole.body


def test_a_range_behind_the_end(small):
    f, job, whole = small
    got = artifact(f, job, "response", {"Range": f"bytes={len(whole.body)}-"})
    assert got.status == 416
    assert got.headers["content-range"] == f"bytes */{len(whole.body)}"
    assert got.json()["code"] == "range_not_satisfiable"


def test_a_range_counts_only_for_what_the_client_has(small):
    f, job, whole = small
    part = {"Range": "bytes=0-3"}
    tag = whole.headers["etag"]
    assert artifact(f, job, "response", {**part, "If-Range": tag}).status == 206
    for other in ('"x"', f"W/{tag}", "Sat, 21 Nov 2026 00:00:00 GMT"):
        assert artifact(f, job, "response", {**part, "If-Range": other}).status == 200


def test_names_that_are_none(common):
    f = common
    job = run(f)
    assert artifact(f, job, "nothing").status == 404
    assert artifact(f, job, "nothing").type == "application/problem+json"
    assert f.get("/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV/artifacts/content").status == 404
    assert f.get("/jobs/nonsense/artifacts/content").status == 400
    assert f.request("DELETE", f"/jobs/{job['id']}").status == 204
    assert artifact(f, job, "content").status == 410


# --- large ones, slow ones ------------------------------------------------------

def rss(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024


def log_number(f):
    """How often the WAL was begun: the 4th number of its header."""
    with open(f.db + "-wal", "rb") as wal:
        return int.from_bytes(wal.read(16)[12:], "big")


def test_large_artifacts_come_in_full_and_slow_clients_cost_little(foreman, tell):
    f = foreman(FOREMAN_THREADS="32", FOREMAN_RESPONDERS="1")
    job = run(f, {"stream": True, "options": {
        "fake_tokens": LARGE, "fake_token_ms": 0, "fake_line_bytes": MB}},
        artifact="fetch")
    path = f"/jobs/{job['id']}/artifacts/response"
    pid, = f.responder.children()
    whole = f.get(path)
    assert len(whole.body) > LARGE * MB
    assert hashlib.sha256(whole.body).hexdigest() == named(job)["response"]["sha256"]
    middle = f.get(path, {"Range": f"bytes={7 * MB - 5}-{9 * MB + 5}"})
    assert middle.status == 206
    assert middle.body == whole.body[7 * MB - 5:9 * MB + 6]

    before = rss(pid)
    slow = []
    for _ in range(SLOW):
        s = socket.socket()
        s.settimeout(PATIENCE_S)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", f.port))
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert s.recv(15) == b"HTTP/1.1 200 OK"
        slow.append(s)
    # everybody else is served as ever
    assert f.get("/readyz").status == 200
    for _ in range(50):
        assert f.get(f"/jobs/{job['id']}").status == 200
    assert f.wait_job(f.submit("b", fake_tokens=2)["id"])["state"] == "done"
    # no read transaction is open: the log is copied to its end, and begun again
    begun, sizes = log_number(f), 0
    def begun_again():
        nonlocal sizes
        f.wait_job(f.submit("b", fake_tokens=4, fake_line_bytes=MB)["id"])
        sizes += len(slow[0].recv(1 << 16))  # who takes nothing for long is let go
        return log_number(f) > begun + 1
    until(begun_again, "a checkpoint has succeeded, and the log begins again")
    grown = rss(pid) - before
    tell(f"{SLOW} slow clients of a {LARGE} MB artifact: +{grown / MB:.0f} MB")
    assert grown < CEILING
    # and who takes it slowly gets it right
    first, rest = slow[0], slow[1:]
    for s in rest:
        s.close()
    while sizes < LARGE * MB:
        piece = first.recv(MB)
        assert piece
        sizes += len(piece)
    first.close()


def test_removed_while_it_is_sent_it_ends_short(foreman):
    f = foreman()
    job = run(f, {"stream": True, "options": {
        "fake_tokens": 20, "fake_token_ms": 0, "fake_line_bytes": MB}},
        artifact="fetch")
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("127.0.0.1", f.port))
    s.sendall(f"GET /jobs/{job['id']}/artifacts/response HTTP/1.1\r\nHost: x\r\n"
              "Connection: close\r\n\r\n".encode())
    assert s.recv(12) == b"HTTP/1.1 200"
    assert f.request("DELETE", f"/jobs/{job['id']}").status == 204
    s.settimeout(60)
    size = 0
    while True:
        try:
            piece = s.recv(MB)
        except ConnectionResetError:
            break
        if not piece:
            break
        size += len(piece)
    assert size < 20 * MB, "less than its head has promised: the client can tell"
    s.close()


# --- removing -------------------------------------------------------------------

def test_a_removed_job_leaves_nothing(foreman, receiver):
    r = receiver(answers=lambda *_: 500)
    f = foreman(FOREMAN_WEBHOOK_SECRET="")
    job = f.submit(webhook={"url": r.url}, fake_tokens=2)
    f.wait_job(job["id"])
    assert f.job(job["id"])["webhook"]["pending"] > 0
    assert f.request("DELETE", f"/jobs/{job['id']}").status == 204
    for table in ("jobs", "inputs", "events", "artifacts", "artifact_chunks",
                  "webhooks", "webhook_attempts"):
        assert f.query(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert f.request("DELETE", f"/jobs/{job['id']}").status == 410
    assert f.request("DELETE", "/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV").status == 404
    assert f.request("DELETE", "/jobs/nonsense").status == 400
    assert f.wait_job(f.submit(fake_tokens=1)["id"])["state"] == "done"


def test_removing_races_the_end_and_one_of_them_wins(foreman):
    f = foreman()
    ids = [f.submit(fake_tokens=1)["id"] for _ in range(40)]
    answers = []

    def remove(id):
        answers.append(f.request("DELETE", f"/jobs/{id}").status)

    threads = [threading.Thread(target=remove, args=(id,)) for id in ids for _ in "ab"]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(answers) == [204] * len(ids) + [410] * len(ids)
    until(lambda: f.stats()["running"] == 0, "nothing runs any more")
    assert f.query("SELECT count(*) FROM jobs") == [(0,)]
    assert f.query("SELECT sum(count) FROM tallies") == [(0,)]
    assert f.wait_job(f.submit(fake_tokens=1)["id"])["state"] == "done"
