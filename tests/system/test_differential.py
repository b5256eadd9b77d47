"""The same bytes to the target and through foreman: what differs, and why.

CASES is the table: each request goes to the fake Ollama directly and through real
Caddy and foreman, and the two replies are compared: status, headers, framing, how
the reply ended, its lines, and that a line is a piece of its own. The only
differences allowed are named in DIFFERENCES, by a case that says so; one that is
declared and does not show is a failure too, so the list stays true. docs/api.md
tells it to people. Case 33 (the target is busy) is not among them: who stands in
foreman's line does not see it (test_sleep.py).
"""

import gzip
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from harness import TOP, Service, until
from wire import Wire, chunked, normal, request

# name: (the aspects it covers, why)
REPLACED = {"status", "body", "lines", "pieces", "framing", "header content-type",
            "header location", "header transfer-encoding"}
DIFFERENCES = {
    "no route": ({"body", "header content-type"},
                 "foreman's own 404 and 405 are an error object in JSON"),
    "one spelling": (REPLACED, "a path has one spelling: 404, not a redirect to it"),
    "denied": (REPLACED, "model administration is 403 unless it is allowed"),
    "broken stream": ({"end", "body", "lines", "pieces"},
                      "FastCGI knows no abort: a stream that breaks ends with an "
                      "error line"),
    "long line": ({"pieces"}, "Caddy copies 32 KiB at a time"),
    "any host": (REPLACED, "who may name foreman how is the web server's to decide"),
}

NDJSON = "application/x-ndjson"
STREAMS = (NDJSON, "text/event-stream")

# Headers that are about one connection or one moment, and what foreman adds to
# the answers of queued requests.
IGNORED = {"date", "connection", "keep-alive"}
ADDED = {"foreman-job-id", "server-timing"}


@dataclass
class Case:
    name: str  # the number in front is the conformance case's
    method: str
    path: str
    body: object = b""
    headers: tuple = ()
    differs: tuple = ()
    queued: bool = False  # the answer carries what foreman adds
    before: tuple = ()    # requests made of the target first, for each side,
    after: tuple = ()     # and after it
    version: str = "1.1"
    host: object = "localhost"
    admin: bool = False   # with FOREMAN_MODEL_ADMIN=allow


def get(name, path, *differs, **more):
    return Case(name, "GET", path, differs=differs, **more)


def post(name, path, body, *differs, **more):
    return Case(name, "POST", path, body, differs=differs, **more)


def chat(name, *differs, queued=True, headers=(), **body):
    return Case(name, "POST", "/api/chat", {**CHAT, **body}, headers, differs, queued)


HELLO = [{"role": "user", "content": "hello"}]
PACE = {"fake_tokens": 3, "fake_token_ms": 15}
CHAT = {"model": "a", "messages": HELLO, "options": PACE}
WARM = (("POST", "/api/generate", {"model": "a"}),)
BLOB = b"a blob of some bytes\n" * 50
DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()
NO_BLOB = "/api/blobs/sha256:" + "0" * 64
WEATHER = [{"type": "function", "function": {
    "name": "weather", "description": "", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}}}}]

METADATA = [
    get("1 root", "/"),
    Case("2 head of root", "HEAD", "/"),
    get("3 version", "/api/version"),
    Case("3 head of version", "HEAD", "/api/version"),
    get("4 tags", "/api/tags"),
    Case("4 head of tags", "HEAD", "/api/tags"),
    get("5 ps", "/api/ps", before=WARM),
    get("status", "/api/status"),
    Case("6 head of ps", "HEAD", "/api/ps", differs=("no route",)),
    get("7 get of chat", "/api/chat", "no route"),
    Case("8 put of tags", "PUT", "/api/tags", differs=("no route",)),
    get("9 nothing there", "/nope", "no route"),
    post("9 case counts", "/API/chat", CHAT, "no route"),
    get("10 slash at the end", "/api/tags/", "one spelling"),
    post("10 slash at the end of chat", "/api/chat/", CHAT, "one spelling"),
    get("11 two slashes", "//api/tags", "one spelling"),
    post("12 escaped path", "/api/%63hat", CHAT, "one spelling"),
    get("accepting gzip", "/api/tags", headers=(("Accept-Encoding", "gzip"),)),
    get("authorization is ignored", "/api/tags",
        headers=(("Authorization", "Bearer of nothing"),)),
    get("query is ignored", "/api/version?x=1"),
    post("13 show without model", "/api/show", {}),
    post("13 show unknown", "/api/show", {"name": "nope"}),
    post("13 show", "/api/show", {"model": "a"}),
    post("13 show by name, verbose", "/api/show", {"name": "a", "verbose": True}),
    post("13 show for copilot", "/api/show", {"model": "a"},
         headers=(("User-Agent", "GitHubCopilotChat/1"),)),
    get("64 unknown route", "/api/foo", "no route"),
    post("64 unknown route, posted", "/api/foo", {}, "no route"),
    get("64 version of any form", "/api/version",
        before=(("POST", "/fake/set", {"version": "0.99.1-rc2+x"}),),
        after=(("POST", "/fake/set", {"version": "0.33.0"}),)),
]

ADMIN = [
    ("HEAD", NO_BLOB, b""),
    ("HEAD", "/api/blobs/bad", b""),
    ("POST", "/api/blobs/" + DIGEST, BLOB),
    ("POST", NO_BLOB, BLOB),
    ("POST", "/api/copy", {"source": "nope", "destination": "z"}),
    ("POST", "/api/copy", {"source": "a", "destination": "z"}),
    ("DELETE", "/api/delete", {"model": "nope"}),
    ("DELETE", "/api/delete", {"model": "z"}),
    ("POST", "/api/pull", {"model": "nope", "stream": False}),
    ("POST", "/api/pull", {"model": "nope"}),
    ("POST", "/api/pull", {"name": "a"}),
]
THERE = (("POST", "/api/copy", {"source": "a", "destination": "z"}),
         ("POST", "/api/blobs/" + DIGEST, BLOB))
ADMINISTRATION = [
    Case(f"14-17 {n} {method} {path[:12]} {'allowed' if admin else 'denied'}", method,
         path, body, differs=() if admin else ("denied",), before=THERE, admin=admin)
    for admin in (True, False) for n, (method, path, body) in enumerate(ADMIN)
]

DECODING = [
    *[post(f"19-21, 24-26 {what}: {path}", path, body)
      for path in ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings",
                   "/api/show")
      for what, body in {
          "empty": b"", "blank": b"   ", "cut": b"{", "word": b"hello", "array": b"[]",
          "wrong type": b'{"model":1}', "no model": b"{}", "null": b"null",
          "bad name": b'{"model":"llama 3"}',
          "two sources": b'{"model":"x:cloud:local"}',
      }.items()],
    chat("21 stream is no bool", queued=False, stream="no"),
    post("22 keys in any case", "/api/chat",
         b'{"Model":"a","MESSAGES":[{"role":"user","content":"x"}],'
         b'"options":{"fake_tokens":1}}', queued=True),
    post("22 the last key wins", "/api/chat",
         b'{"model":"nope","Model":"a","messages":[{"role":"user","content":"x"}],'
         b'"options":{"fake_tokens":1}}', queued=True),
    post("23 garbage behind", "/api/chat", json.dumps(CHAT) + "garbage", queued=True),
    *[post(f"25 unknown model: {path} {stream}", path,
           {"model": "x", "messages": HELLO, "prompt": "p", "input": "i",
            "stream": stream})
      for path in ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings")
      for stream in (True, False)],
    chat("27 keep_alive without unit", queued=False, keep_alive="300"),
    chat("27 keep_alive true", queued=False, keep_alive=True),
    *[chat(f"27 keep_alive {k}", keep_alive=k) for k in ("5m", -1, 0.5, None)],
    chat("28 bad think", think="hi"),
    chat("28 think on a plain model", think=True),
    chat("29 tools on a plain model", tools=WEATHER),
    post("29 suffix on a plain model", "/api/generate",
         {"model": "a", "prompt": "x", "suffix": "y"}, queued=True),
    chat("29 chat with an embedder", model="embedder"),
    chat("30 option of the wrong type", options={"temperature": "hot"}),
    chat("30 unknown option", options={**PACE, "nonsense": 1}),
    chat("31 top_logprobs", top_logprobs=21),
    chat("31 format, streamed", format="xml"),
    chat("31 format", format="xml", stream=False),
    post("32 gzip", "/api/chat", gzip.compress(json.dumps(CHAT).encode()),
         headers=(("Content-Encoding", "gzip"),)),
]

STREAMING = [
    chat("34 chat"),
    post("34 generate", "/api/generate", {"model": "a", "prompt": "x",
                                          "options": PACE}, queued=True),
    chat("36 error first", options={"fake_status": 500, "fake_error": "it broke"}),
    chat("36 error first, not streamed", stream=False,
         options={"fake_status": 500, "fake_error": "it broke"}),
    chat("36 status passed on", options={"fake_status": 418, "fake_error": "tea"}),
    chat("36 load fails", options={"fake_load_error": "no room"}, model="c"),
    chat("37 error line", options={**PACE, "fake_tokens": 5, "fake_error_at": 3}),
    chat("38 reset", "broken stream", options={**PACE, "fake_rst_at": 3}),
    chat("38 cut", "broken stream", options={**PACE, "fake_cut_at": 3}),
    chat("38 cut, not streamed", stream=False,
         options={**PACE, "fake_cut_at": 1}),
    chat("39 end without done", options={**PACE, "fake_tokens": 5, "fake_eof_at": 3}),
    chat("40 line of 5 MB", "long line", options={**PACE, "fake_tokens": 1,
                                                  "fake_line_bytes": 5_000_000}),
    chat("40 line of 20 KB", options={**PACE, "fake_line_bytes": 20_000}),
    chat("40 a byte a packet", options={**PACE, "fake_split": True}),
    chat("41 other scripts", options={"fake_token_ms": 15}, messages=[
        {"role": "user", "content": "echo <b> häßlich 雪 \U0001f980 & more"}]),
    chat("41 other scripts, byte by byte", options={"fake_split": True}, messages=[
        {"role": "user", "content": "echo häßlich 雪 \U0001f980"}]),
    chat("42 small reply", stream=False, options=PACE),
    chat("42 reply of 1 MB", stream=False,
         options={"fake_tokens": 1, "fake_line_bytes": 1_000_000}),
    *[post(f"43 load only: {path}", path, {"model": model, **extra}, queued=queued)
      for path, model, extra, queued in (
          ("/api/chat", "a", {"stream": True}, True),
          ("/api/generate", "a", {"stream": True}, True),
          ("/api/embed", "embedder", {"input": []}, False),
          ("/api/embeddings", "embedder", {}, False))],
    *[chat(f"61 spelled {name}", model=name)
      for name in ("a:latest", "A", "library/a", " a ")],
    post("44 unload chat", "/api/chat", {"model": "a", "keep_alive": 0}),
    post("44 unload generate", "/api/generate",
         {"model": "a", "prompt": "", "keep_alive": "0s"}),
    post("44 unload unknown", "/api/generate", {"model": "nope", "keep_alive": 0}),
    post("45 raw", "/api/generate", {"model": "a", "prompt": "x", "raw": True,
                                     "options": PACE}, queued=True),
    post("45 context", "/api/generate", {"model": "a", "prompt": "x",
                                         "context": [1, 2, 3], "options": PACE},
         queued=True),
    post("embed", "/api/embed", {"model": "embedder", "input": ["one", "two"]}),
    post("embed many", "/api/embed", {"model": "embedder", "input": ["x"] * 50}),
    post("embed legacy", "/api/embeddings", {"model": "embedder", "prompt": "one"}),
    post("embed bad input", "/api/embed", {"model": "embedder", "input": [1]}),
    post("63 cloud model", "/api/chat", {**CHAT, "model": "gpt-oss:20b-cloud"}),
]

V1 = [
    get("18 models", "/v1/models"),
    get("18 one model", "/v1/models/a"),
    get("18 unknown model", "/v1/models/nope"),
    *[post(f"46 v1 chat, stream {stream}", "/v1/chat/completions",
           {**CHAT, "stream": stream}, queued=True) for stream in (True, False)],
    post("46 v1 usage", "/v1/chat/completions",
         {**CHAT, "stream": True, "stream_options": {"include_usage": True}},
         queued=True),
    post("46 v1 unknown model", "/v1/chat/completions", {**CHAT, "model": "nope"}),
    post("46 v1 empty", "/v1/chat/completions", b""),
    post("46 v1 cut", "/v1/chat/completions", b"{"),
    post("46 v1 no messages", "/v1/chat/completions", {"model": "a", "messages": []},
         queued=True),
    post("47 v1 error line", "/v1/chat/completions",
         {**CHAT, "stream": True,
          "options": {**PACE, "fake_tokens": 5, "fake_error_at": 2}}, queued=True),
    post("v1 embeddings", "/v1/embeddings", {"model": "embedder", "input": "one"}),
    post("v1 embeddings, unknown", "/v1/embeddings", {"model": "nope", "input": "x"}),
    *[post(f"46 {path}, stream {stream}", path,
           {"model": "a", **body, "stream": stream, "options": PACE}, queued=True)
      for path, body in {"/v1/completions": {"prompt": "x"},
                         "/v1/responses": {"input": "x"},
                         "/v1/messages": {"messages": HELLO, "max_tokens": 9}}.items()
      for stream in (True, False)],
    post("38 v1 reset", "/v1/chat/completions",
         {**CHAT, "stream": True, "options": {**PACE, "fake_rst_at": 2}},
         "broken stream", queued=True),
    post("48 v1 route the target lacks", "/v1/audio/transcriptions", b"x", "no route"),
]

HTTP = [
    get("55 http/1.0", "/api/version", version="1.0"),
    get("55 http/1.0 without host", "/api/version", version="1.0", host=None),
    post("55 http/1.0 chat", "/api/chat", CHAT, version="1.0", queued=True),
    get("55 closing", "/api/version", headers=(("Connection", "close"),)),
    post("56 expect", "/api/chat", {**CHAT, "pad": "x" * 100_000}, queued=True,
         headers=(("Expect", "100-continue"),)),
    post("56 chunked request", "/api/chat", chunked(json.dumps(CHAT).encode()),
         queued=True, headers=(("Transfer-Encoding", "chunked"),)),
    post("56 length and chunks", "/api/show", chunked(b'{"model":"a"}'),
         headers=(("Content-Length", "5"), ("Transfer-Encoding", "chunked"))),
    get("57 foreign host", "/api/version", "any host", host="evil.example"),
    get("57 local host", "/api/version", host="127.0.0.1"),
    get("57 mdns host", "/api/version", host="mac.local"),
    get("57 no host", "/api/version", host=None),
    *[Case(f"58 {method} {path} from {origin}", method, path,
           CHAT if method == "POST" else b"",
           headers=(("Origin", origin),), queued=method == "POST")
      for origin in ("http://localhost:3000", "http://evil.example", "null",
                     "app://obsidian.md")
      for method, path in (("GET", "/api/tags"), ("POST", "/api/chat"),
                           ("OPTIONS", "/api/chat"), ("POST", "/v1/chat/completions"),
                           ("OPTIONS", "/v1/chat/completions"))],
    Case("58 preflight", "OPTIONS", "/api/chat", headers=(
        ("Origin", "http://localhost:3000"), ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type,x-stainless-lang"))),
    get("58 same origin", "/api/tags", host="mac.local",
        headers=(("Origin", "http://mac.local"),)),
    Case("58 options without origin", "OPTIONS", "/api/chat"),
    Case("58 options without origin, by address", "OPTIONS", "/api/chat",
         differs=("any host",), host="127.0.0.1"),
]

CASES = METADATA + ADMINISTRATION + DECODING + STREAMING + V1 + HTTP


# --- comparing ----------------------------------------------------------------

def lines(reply):
    return normal(reply.body).splitlines(keepends=True)


def differing(direct, through, added):
    """{aspect: (the target's, foreman's)} of what is not the same."""
    ours, theirs = {}, {}
    for aspects, reply in ((theirs, direct), (ours, through)):
        aspects["status"] = reply.status
        aspects["framing"] = reply.framing
        aspects["end"] = reply.end
        aspects["lines"] = len(lines(reply))
        aspects["body"] = normal(reply.body)
        if reply.header("content-type") in STREAMS and reply.framing == "chunked":
            aspects["pieces"] = [normal(p) for p in reply.pieces]
        for name in {n for n, _ in reply.headers} - IGNORED:
            aspects["header " + name] = reply.header(name)
        if reply.framing == "length":  # times and durations have no fixed length
            del aspects["header content-length"]
    for name in added:
        if "header " + name not in ours:
            theirs["header " + name] = "(what foreman adds)"
        ours.pop("header " + name, None)
    return {a: (theirs.get(a), ours.get(a)) for a in sorted({*theirs, *ours})
            if theirs.get(a) != ours.get(a)}


# --- the table, run ------------------------------------------------------------

@pytest.fixture(scope="module")
def services(request):
    """One service for each way it is set up; kept for all cases."""
    running = {}

    def service(admin):
        if admin not in running:
            running[admin] = Service(
                request.config.getoption("--build"),
                FOREMAN_MODEL_ADMIN="allow" if admin else "deny")
            running[admin].start()
            until(lambda: running[admin].query("SELECT 1 FROM target_tags"),
                  "the models are known")
        return running[admin]

    yield service
    wrong = [text for s in running.values() for text in s.stop()]
    assert not wrong, "\n".join(wrong)


def ask(service, port, case):
    for method, path, body in case.before:
        service.direct(method, path, body)
    with Wire(port) as wire:
        wire.send(request(case.method, case.path, case.body, case.headers,
                          case.version, case.host))
        reply = wire.read(case.method)
    for method, path, body in case.after:
        service.direct(method, path, body)
    return reply


def compare(service, case):
    """What differs, and whether lines shared a chunk."""
    direct = ask(service, service.fake_port, case)
    through = ask(service, service.port, case)
    found = differing(direct, through, ADDED if case.queued else ())
    shared = through.header("content-type") == NDJSON and \
        through.framing == "chunked" and any(b"\n" in p[:-1] for p in through.pieces)
    return found, shared


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_foreman_says_what_the_target_says(services, case):
    allowed = {a for name in case.differs for a in DIFFERENCES[name][0]}
    for _ in range(5):
        found, shared = compare(services(case.admin), case)
        # who is kept from a busy processor finds two lines: once, not every time
        if not shared and not set(found) - allowed == {"pieces"}:
            break
    shown = "\n".join(f"{a}:\n  target  {t!r:.600}\n  foreman {f!r:.600}"
                      for a, (t, f) in found.items())
    assert set(found) <= allowed, shown
    assert not shared, "lines share a chunk"
    for name in case.differs:
        assert DIFFERENCES[name][0] & set(found), f"'{name}' does not show any more"


# --- more than one request -------------------------------------------------------

@pytest.fixture(params=["direct", "through"])
def port(services, request):
    service = services(False)
    return service.fake_port if request.param == "direct" else service.port


def test_a_connection_is_good_for_the_next_request(port):
    """Cases 2, 37 and 55: behind a head, an error line and a whole stream."""
    failing = {**CHAT, "options": {**PACE, "fake_error_at": 1}}
    with Wire(port) as wire:
        for method, path, body, length in (
                ("HEAD", "/", b"", 0), ("POST", "/api/chat", failing, 2),
                ("POST", "/api/chat", CHAT, 4), ("GET", "/", b"", 1)):
            wire.send(request(method, path, body))
            reply = wire.read(method)
            assert (reply.status, reply.end) == (200, "complete")
            assert len(reply.body.splitlines()) == length


def test_requests_may_be_sent_ahead(port):
    """Case 55: the second is answered after the first."""
    with Wire(port) as wire:
        wire.send(request("GET", "/") + request("GET", "/api/version"))
        assert wire.read().body == b"Ollama is running"
        assert "version" in wire.read().json()


ODD_BODIES = {
    "spaces and order": b' {"stream":false,\n "messages" : [], "model":"a" } ',
    "escapes": b'{"mod\\u0065l":"a","stream":false,"system":"\\u003c\\ud83e\\udd80"}',
    "invalid UTF-8": b'{"model":"a","stream":false,"system":"\xff\xfe"}',
    "keys twice": b'{"model":"x","model":"a","stream":true,"stream":false}',
    "large numbers": b'{"model":"a","stream":false,"x":12345678901234567890.1230}',
    "20 MB of images": b'{"model":"a","stream":false,"images":["'
                       + b"iVBORw0K" * 2_500_000 + b'"]}',
}


@pytest.mark.parametrize("what", ODD_BODIES)
def test_a_body_reaches_the_target_byte_for_byte(foreman, tmp_path, what):
    """Case 45. The target notes a digest of what it was sent."""
    body = ODD_BODIES[what]
    f = foreman(fake=["--log", str(tmp_path / "journal")])
    for path in ("/api/generate", "/api/embed"):
        f.post(path, body)
    f.stats()  # the log is written before the target turns to another request
    with open(tmp_path / "journal") as journal:
        events = [json.loads(line) for line in journal]
    digests = [e["sha256"] for e in events
               if e["event"] == "request" and e["method"] == "POST"]
    assert digests == [hashlib.sha256(body).hexdigest()] * 2


@pytest.mark.threads
def test_many_ask_for_tags_while_one_generates(services):
    """Case 59: all are answered before the generation has ended."""
    service = services(False)
    running = service.busy()
    with ThreadPoolExecutor(30) as clients:
        replies = list(clients.map(lambda _: service.get("/api/tags"), range(300)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    assert service.stats()["running"] == 1
    running.close()


def test_the_docs_name_every_difference():
    with open(f"{TOP}/docs/api.md") as f:
        _, _, section = f.read().partition("## Where foreman differs on purpose")
    section = section.partition("\n## ")[0]
    assert [name for name in DIFFERENCES if f"| {name} |" not in section] == []
