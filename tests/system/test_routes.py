"""The table of routes, as clients see it: /v1, headers, CORS, model administration."""

import hashlib
import json
import os
import re
import threading

import pytest

from harness import until

HELLO = [{"role": "user", "content": "echo one two"}]
V1 = {
    "/v1/chat/completions": {"model": "a", "messages": HELLO},
    "/v1/completions": {"model": "a", "prompt": "echo one two"},
    "/v1/responses": {"model": "a", "input": "echo one two"},
    "/v1/messages": {"model": "a", "messages": HELLO, "max_tokens": 50},
}
OWN = ("foreman-job-id", "server-timing")


def steady(body):
    """The bytes without what differs from call to call."""
    return re.sub(rb'"created(_at)?":\d+', b'"created":0', body)


def headers(answer):
    """All of the target's: none added but foreman's own, none lost."""
    return {name.lower(): value for name, value in answer.headers.items()
            if name.lower() not in OWN + ("date", "connection", "keep-alive",
                                          "transfer-encoding", "content-length")}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", V1)
def test_v1_says_what_the_target_says(common, path, stream):
    f = common
    body = {**V1[path], "stream": stream}
    through, direct = f.post(path, body), f.direct("POST", path, body)
    assert through.status == direct.status == 200
    assert steady(through.body) == steady(direct.body)
    assert headers(through) == headers(direct)
    job = f.wait_job(through.headers["Foreman-Job-Id"])
    assert (job["state"], job["endpoint"]) == ("done", path)
    assert "queue;dur=" in through.headers["Server-Timing"]


@pytest.mark.parametrize("path", V1)
def test_v1_usage_is_the_targets(common, path):
    f = common
    body = {**V1[path], "stream": True, "stream_options": {"include_usage": True}}
    for body in (body, V1[path]):
        answer = f.post(path, body)
        usage = f.wait_job(answer.headers["Foreman-Job-Id"])["usage"]
        assert usage["completion_tokens"] == 2
        assert usage["prompt_tokens"] > 0


@pytest.mark.parametrize("path", V1)
def test_v1_errors_are_the_targets(common, path):
    f = common
    for body in ({**V1[path], "model": "nope"}, {**V1[path], "model": "nope", "stream": True},
                 "", "{", "[]", {**V1[path], "model": 7}, {**V1[path], "model": "a b"},
                 {**V1[path], "options": {"fake_status": 500, "fake_error": "broke"}}):
        through, direct = f.post(path, body), f.direct("POST", path, body)
        assert direct.status >= 400
        assert (through.status, through.type, through.body) == \
            (direct.status, direct.type, direct.body)


@pytest.mark.parametrize("path", V1)
def test_v1_events_without_their_last_are_incomplete(common, path):
    f = common
    body = {**V1[path], "stream": True, "options": {"fake_eof_at": 1}}
    answer = f.post(path, body)
    assert answer.status == 200
    job = f.wait_job(answer.headers["Foreman-Job-Id"])
    assert (job["state"], job["reason"]) == ("failed", "upstream_incomplete")


@pytest.mark.threads
@pytest.mark.parametrize("path", V1)
def test_events_that_wait_get_comments_not_spaces(foreman, path):
    f = foreman(FOREMAN_KEEPALIVE="250ms")
    running = f.busy("b")
    waiting = f.open("POST", path, {**V1[path], "stream": True})
    assert (waiting.status, waiting.type) == (200, "text/event-stream")
    running.close()
    body = waiting.finish().body
    comments, _, rest = body.rpartition(b":\n\n")
    assert set(comments + b":\n\n") == set(b":\n")
    direct = f.direct("POST", path, {**V1[path], "stream": True})
    assert steady(rest) == steady(direct.body)


def data_of(body):
    return [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]


@pytest.mark.threads
def test_an_error_behind_comments_is_an_event_in_the_familys_shape(foreman):
    f = foreman(FOREMAN_KEEPALIVE="250ms")
    for path, shape in (("/v1/chat/completions", "api_error"), ("/v1/messages", "api_error")):
        running = f.busy("b")
        waiting = f.open("POST", path, {**V1[path], "stream": True, "options": {
            "fake_status": 500, "fake_error": "it broke"}})
        running.close()
        body = waiting.finish().body
        assert body.endswith(b"\n\n")
        error = json.loads(data_of(body)[0])["error"]
        assert (error["message"], error["type"]) == ("it broke", shape)
        assert (b"event: error\n" in body) == (path == "/v1/messages")


@pytest.mark.threads
def test_events_that_break_end_with_an_error_event(foreman):
    f = foreman()
    for path in ("/v1/chat/completions", "/v1/messages"):
        body = f.post(path, {**V1[path], "stream": True, "options": {"fake_rst_at": 1}}).body
        assert body.endswith(b"\n\n")
        assert "message" in json.loads(data_of(body)[-1])["error"]


@pytest.mark.threads
def test_a_v1_answer_that_is_no_stream_waits_with_spaces(foreman):
    f = foreman(FOREMAN_KEEPALIVE="250ms")
    running = f.busy("b")
    waiting = f.open("POST", "/v1/chat/completions", V1["/v1/chat/completions"])
    assert waiting.type.startswith("application/json")
    running.close()
    body = waiting.finish().body
    assert body.startswith(b" ")
    assert json.loads(body)["choices"][0]["message"]["content"] == "one two"


@pytest.mark.threads
@pytest.mark.parametrize("path", ["/api/chat", *V1])
def test_an_unknown_model_gets_its_404_at_once(foreman, path):
    f = foreman()
    until(lambda: f.query("SELECT 1 FROM target_tags"), "tags are known")
    running = f.busy("b")
    body = {**V1.get(path, {"messages": HELLO}), "model": "nope"}
    through, direct = f.post(path, body), f.direct("POST", path, body)
    assert (through.status, through.body) == (404, direct.body)
    assert f.stats()["running"] == 1
    assert f.query("SELECT count(*) FROM jobs WHERE model = 'nope'") == [(0,)]
    running.close()


def test_a_model_that_has_just_come_waits_in_line_like_any_other(foreman):
    f = foreman(FOREMAN_KEEPALIVE="250ms")
    until(lambda: f.query("SELECT 1 FROM target_tags"), "tags are known")
    running = f.busy("b")
    f.direct("POST", "/api/copy", {"source": "a", "destination": "new"})
    waiting = f.chat("new", fake_tokens=1)
    assert f.query("SELECT state FROM jobs WHERE model = 'new'") == [("queued",)]
    assert waiting.status == 200
    waiting.close()  # noticed at the next keepalive
    until(lambda: f.query("SELECT 1 FROM jobs WHERE model = 'new' AND reason = 'canceled'"),
          "it is seen to leave the line")
    assert f.stats()["running"] == 1
    running.close()


def test_an_unknown_model_keeps_its_404_however_long_the_target_is_away(foreman):
    f = foreman(FOREMAN_KEEPALIVE="250ms")
    until(lambda: f.query("SELECT 1 FROM target_tags"), "tags are known")
    f.fake.kill()
    until(lambda: b"unreachable" in f.get("/readyz").body, "the poller notices")
    known = []
    unknown = threading.Thread(target=lambda: known.append(f.chat("nope").finish()))
    unknown.start()
    until(lambda: f.query("SELECT 1 FROM queue WHERE model = 'nope'"), "it stands in line")
    other = f.chat("a", fake_tokens=1)  # its keepalive says 200 soon
    f.start_fake()
    unknown.join()
    other.finish()
    assert other.status == 200
    assert (known[0].status, known[0].json()) == (404, {"error": "model 'nope' not found"})


def test_v1_embeddings_go_beside_the_queue_or_in_turn(foreman):
    f = foreman(FOREMAN_EMBED_MODEL="embedder")
    until(lambda: f.query("SELECT 1 FROM status WHERE embed_ready"), "the embedder is resident")
    running = f.busy("a")
    body = {"model": "embedder", "input": ["x", "y"]}
    through = f.post("/v1/embeddings", body)
    assert through.body == f.direct("POST", "/v1/embeddings", body).body
    assert "Foreman-Job-Id" not in through.headers
    running.close()


def test_v1_models_are_passed_on_at_once(common):
    f = common
    for path in ("/v1/models", "/v1/models/a", "/v1/models/a:latest", "/v1/models/nope",
                 "/v1/models/library/a:latest"):
        through, direct = f.get(path), f.direct("GET", path)
        assert (through.status, through.body) == (direct.status, direct.body), path
    assert f.request("HEAD", "/v1/models").status == 405


def asked_of(log, mark):
    """The paths the fake was asked for, once this one is among them."""
    def paths():
        events = [json.loads(line) for line in open(log) if line.endswith("\n")]
        return [e["path"] for e in events if e["event"] == "request"]

    until(lambda: mark in paths(), "the log has the mark")
    return paths()


@pytest.mark.parametrize("path", [
    "/v1/models/..", "/v1/models/../../api/tags", "/v1/models/a/../../api/tags",
    "/v1/models/a%2f..%2fb", "/v1/models//a", "/v1/models/a%00",
    "/v1/models/.a", "/v1/models/a//b", "/v1/models/a/"])
def test_no_other_path_is_reached_through_a_name(foreman, tmp_path, path):
    f = foreman(fake=["--log", str(tmp_path / "log")])
    assert f.direct("GET", "/v1/models").status == 200  # a mark in the log
    answer = f.get(path)
    assert answer.status in (400, 404)  # 400: Caddy's own
    assert "error" in answer.json()
    asked = asked_of(tmp_path / "log", "/v1/models")
    assert not [p for p in asked[asked.index("/v1/models") + 1:] if p.startswith("/v1")]


def test_a_query_is_not_passed_on(foreman, tmp_path):
    f = foreman(fake=["--log", str(tmp_path / "log")])
    assert f.get("/v1/models/a?x=%2e%2e/..").json()["id"].startswith("a")
    assert asked_of(tmp_path / "log", "/v1/models/a").count("/v1/models/a") == 1


# --- headers and CORS ----------------------------------------------------------------

ORIGIN = {"Origin": "http://localhost:3000"}


def test_a_queued_answer_carries_the_targets_cors_headers(common):
    f = common
    body = {"model": "a", "messages": HELLO}
    through = f.post("/api/chat", body, ORIGIN)
    direct = f.direct("POST", "/api/chat", body, ORIGIN)
    assert direct.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
    assert headers(through) == headers(direct)


def test_a_strangers_origin_is_refused_by_the_target(common):
    f = common
    evil = {"Origin": "http://evil.example"}
    for path, body in (("/api/chat", {"model": "a", "messages": HELLO}), ("/api/tags", None)):
        method = "POST" if body else "GET"
        through, direct = f.request(method, path, body, evil), f.direct(method, path, body, evil)
        assert direct.status == 403
        assert (through.status, through.body) == (direct.status, direct.body)


def test_a_page_of_the_same_address_is_no_stranger(foreman):
    f = foreman()
    own = {"Origin": f"http://127.0.0.1:{f.port}"}
    answer = f.post("/api/chat", {"model": "a", "messages": HELLO}, own)
    assert answer.status == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/api/chat", "/api/tags", "/v1/chat/completions", "/api/pull",
                                  "/v1/models/a"])
@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://evil.example"])
def test_a_preflight_is_answered_by_the_target(common, path, origin):
    f = common
    ask = {"Origin": origin, "Access-Control-Request-Method": "POST",
           "Access-Control-Request-Headers": "content-type"}
    through, direct = f.request("OPTIONS", path, None, ask), f.direct("OPTIONS", path, None, ask)
    assert direct.status == (204 if "localhost" in origin else 403)
    assert (through.status, through.body, headers(through)) == \
        (direct.status, direct.body, headers(direct))


def test_options_without_origin_is_foremans(common):
    f = common
    answer = f.request("OPTIONS", "/api/tags")
    assert (answer.status, answer.headers["Allow"]) == (204, "HEAD, GET")
    answer = f.request("OPTIONS", "/jobs", None, ORIGIN)
    assert answer.status == 204
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_queued_requests_keep_their_headers_but_not_their_secrets(foreman):
    f = foreman()
    running = f.busy("b")
    waiting = f.submit("a")  # a job has none
    client = threading.Thread(target=lambda: f.post(
        "/v1/messages", V1["/v1/messages"],
        {"User-Agent": "somebody/1", "Accept": "text/x", "Anthropic-Version": "2023-06-01",
         "Anthropic-Beta": "b", "Authorization": "Bearer secret", "Cookie": "secret",
         "X-Api-Key": "secret"}))
    client.start()
    kept = until(lambda: f.query(
        "SELECT headers FROM inputs JOIN jobs ON seq = job_seq"
        " WHERE attended AND endpoint = '/v1/messages'"), "it stands in line")[0][0]
    assert f.query("SELECT headers FROM inputs JOIN jobs ON seq = job_seq"
                   " WHERE id = ?", waiting["id"]) == [(None,)]
    running.close()
    client.join()
    for line in ("User-Agent: somebody/1\n", "Accept: text/x\n",
                 "Anthropic-Version: 2023-06-01\n", "Anthropic-Beta: b\n"):
        assert line in kept
    assert "secret" not in kept


def test_headers_have_a_bound(common):
    f = common
    for path in ("/api/chat", "/api/show"):
        answer = f.post(path, {"model": "a"}, {"Accept": "x" * 9000})
        assert answer.status == 431
        assert "error" in answer.json()


# --- model administration ---------------------------------------------------------------


def test_administration_is_denied_unless_allowed(common):
    f = common
    for method, path in (("POST", "/api/pull"), ("POST", "/api/push"), ("POST", "/api/create"),
                         ("POST", "/api/copy"), ("DELETE", "/api/delete"),
                         ("POST", "/api/blobs/sha256:" + "0" * 64),
                         ("HEAD", "/api/blobs/sha256:" + "0" * 64)):
        assert f.request(method, path, "{}").status == 403, path


def test_allowed_administration_says_what_the_target_says(foreman):
    f = foreman(FOREMAN_MODEL_ADMIN="allow")
    digest = "sha256:" + "0" * 64
    asks = [
        ("POST", "/api/pull", {"model": "tiny"}),
        ("POST", "/api/pull", {"model": "tiny", "stream": False}),
        ("POST", "/api/pull", {"model": "nope"}),
        ("POST", "/api/pull", {"model": "nope", "stream": False}),
        ("POST", "/api/copy", {"source": "nope", "destination": "x"}),
        ("POST", "/api/copy", {"source": "a", "destination": "copied"}),
        ("DELETE", "/api/delete", {"model": "nope"}),
        ("POST", "/api/push", {"model": "nope"}),
        ("POST", "/api/create", {"model": "nope"}),
        ("POST", "/api/pull", ""),
        ("HEAD", f"/api/blobs/{digest}", None),
        ("HEAD", "/api/blobs/bad", None),
        ("POST", "/api/blobs/bad", "x"),
        ("POST", f"/api/blobs/{digest}", "not these"),
    ]
    for method, path, body in asks:
        through, direct = f.request(method, path, body), f.direct(method, path, body)
        assert (through.status, through.type, through.body) == \
            (direct.status, direct.type, direct.body), (path, body)
    assert f.request("DELETE", "/api/delete", {"model": "copied"}).status == 200
    assert f.direct("DELETE", "/api/delete", {"model": "copied"}).status == 404


def resident_kib(service):
    """Of all responders together, what is their own."""
    total = 0
    for pid in service.responder.children():
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            total += sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
    return total


def test_a_blob_larger_than_any_body_goes_through_in_flat_memory(foreman):
    f = foreman(FOREMAN_MODEL_ADMIN="allow", FOREMAN_MAX_BODY="64K")
    blob = os.urandom(1 << 20) * 48
    path = "/api/blobs/sha256:" + hashlib.sha256(blob).hexdigest()
    f.post(path, b"wrong")  # a first one, for what a thread makes once
    before = resident_kib(f)
    assert f.post(path, blob).status == 201
    assert resident_kib(f) - before < 8 << 10
    assert f.request("HEAD", path).status == 200
    assert f.direct("HEAD", path).status == 200
    assert f.post("/api/chat", blob[:1 << 17]).status == 413


def test_a_blob_of_unknown_length_goes_through(foreman):
    f = foreman(FOREMAN_MODEL_ADMIN="allow")
    pieces = [os.urandom(50000) for _ in range(40)]
    path = "/api/blobs/sha256:" + hashlib.sha256(b"".join(pieces)).hexdigest()
    answer = f.request("POST", path, iter(pieces))  # in chunks
    if answer.status == 411:
        pytest.skip("this Caddy takes no chunked uploads without request_buffers")
    assert answer.status == 201
