"""The fake Ollama is held to what is known of the real one.

Run with: /usr/bin/python3 -m pytest tests/fake-ollama/test_fake.py
The binary is $FAKE_OLLAMA, or fake-ollama below $builddir or beside this file.
Standard library only. Numbers in the names of groups are those of the
conformance cases the tests stand for. Nothing sleeps: events are awaited.
"""
import hashlib
import json
import math
import os
import pathlib
import re
import select
import signal
import socket
import struct
import subprocess
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
DEADLINE = 20.0  # seconds; only a broken double gets near it
BUSY = '{"error":"server busy, please try again.  maximum pending requests exceeded"}'
UTF8 = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"


def binary():
    if os.environ.get("FAKE_OLLAMA"):
        return os.environ["FAKE_OLLAMA"]
    builddir = os.environ.get("builddir")
    if builddir:
        built = pathlib.Path(builddir) / "tests/fake-ollama/fake-ollama"
        if built.exists():
            return str(built)
    return str(HERE / "fake-ollama")


class Answer:
    """One HTTP answer as it stood on the wire."""

    def __init__(self):
        self.status = None
        self.version = None
        self.fields = []
        self.chunks = []  # of a chunked one, or the body as the only one
        self.framing = None  # length, chunked, close, none
        self.end = None  # whole, cut, reset

    def field(self, name):
        got = [v for k, v in self.fields if k.lower() == name.lower()]
        return got[0] if got else None

    @property
    def type(self):
        return self.field("Content-Type")

    @property
    def body(self):
        return b"".join(self.chunks)

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def lines(self):
        return [json.loads(line) for line in self.text.splitlines()]


class Wire:
    """One connection, read byte by byte as HTTP/1 frames it."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.held = b""

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def ask(self, method, path, body=None, fields=(), version="1.1", host="localhost"):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        head = f"{method} {path} HTTP/{version}\r\n"
        if host is not None:
            head += f"Host: {host}\r\n"
        for name, value in fields:
            head += f"{name}: {value}\r\n"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        return self.send(head.encode() + b"\r\n" + (body or b""))

    def more(self):
        """Some bytes more; False at the end."""
        got = self.sock.recv(65536)
        self.held += got
        return bool(got)

    def silent(self, seconds=0.15):
        """Nothing has come, and nothing comes for that long."""
        return not self.held and not select.select([self.sock], [], [], seconds)[0]

    def until(self, mark):
        while mark not in self.held:
            if not self.more():
                raise EOFError(self.held)
        got, self.held = self.held.split(mark, 1)
        return got

    def exactly(self, n):
        while len(self.held) < n:
            if not self.more():
                raise EOFError(self.held)
        got, self.held = self.held[:n], self.held[n:]
        return got

    def head(self):
        a = Answer()
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        a.version, status, _ = (lines[0] + " ").split(" ", 2)
        a.status = int(status)
        a.fields = [tuple(line.split(": ", 1)) for line in lines[1:]]
        return a

    def chunk(self):
        """The next chunk; b"" is the last one."""
        n = int(self.until(b"\r\n"), 16)
        data = self.exactly(n)
        assert self.exactly(2) == b"\r\n"
        return data

    def answer(self, method="GET"):
        a = self.head()
        a.end = "whole"
        try:
            if method == "HEAD" or a.status == 204 or a.status < 200:
                a.framing = "none"
            elif a.field("Transfer-Encoding") == "chunked":
                a.framing = "chunked"
                while True:
                    data = self.chunk()
                    if not data:
                        break
                    a.chunks.append(data)
            elif a.field("Content-Length") is not None:
                a.framing = "length"
                a.chunks.append(self.exactly(int(a.field("Content-Length"))))
            else:
                a.framing = "close"
                while self.more():
                    pass
                a.chunks.append(self.held)
        except EOFError:
            a.end = "cut"
        except ConnectionResetError:
            a.end = "reset"
        return a

    def gone(self):
        """How the connection ended: closed or reset."""
        try:
            while self.more():
                pass
            return "closed"
        except ConnectionResetError:
            return "reset"

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


class Fake:
    """A running double."""

    def __init__(self, log, args, env):
        self.log = log
        self.wires = []  # kept, for one that is collected is closed
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OLLAMA_")}
        clean.update({k: str(v) for k, v in env.items()})
        self.process = subprocess.Popen(
            [binary(), "--listen", "127.0.0.1:0", "--log", str(log), *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean, text=True)
        line = self.process.stdout.readline()
        match = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
        assert match, (line, self.process.stderr.read())
        self.port = int(match.group(1))

    def wire(self):
        self.wires.append(Wire(self.port))
        return self.wires[-1]

    def ask(self, method, path, body=None, **how):
        wire = self.wire()
        try:
            return wire.ask(method, path, body, **how).answer(method)
        finally:
            wire.close()

    def post(self, path, body):
        return self.ask("POST", path, body)

    def chat(self, model="tiny", content="hi", stream=True, **more):
        """Send a chat, do not wait for it."""
        body = {"model": model, "messages": [{"role": "user", "content": content}],
                "stream": stream, **more}
        return self.wire().ask("POST", "/api/chat", body)

    def stats(self):
        return self.ask("GET", "/fake/stats").json

    def loaded(self):
        return [m["name"] for m in self.ask("GET", "/api/ps").json["models"]]

    def set(self, **switches):
        a = self.post("/fake/set", switches)
        assert a.status == 200, a.text
        return a.json

    def events(self, *names):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        events = [json.loads(line) for line in lines]
        return [e for e in events if not names or e["event"] in names]

    def wait(self, condition):
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, "it never came to be so"
            time.sleep(0.002)

    def wait_event(self, name, count=1):
        self.wait(lambda: len(self.events(name)) >= count)

    def stop(self):
        for wire in self.wires:
            wire.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            _, err = self.process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert self.process.returncode == 0, err
        assert not err, err


@pytest.fixture
def start(tmp_path):
    """Starts doubles with these arguments and this environment."""
    running = []

    def go(*args, **env):
        quick = ["--load-ms", "30", "--token-ms", "2", "--prompt-ms", "2", "--tokens", "4"]
        log = tmp_path / f"log{len(running)}"
        running.append(Fake(log, [*quick, *args], env))
        return running[-1]

    yield go
    for one in running:
        one.stop()


@pytest.fixture
def fake(start):
    return start()


# --- metadata and routing: 1-11, 13, 14-18 ------------------------------------


def test_the_root_says_that_ollama_is_running(fake):
    a = fake.ask("GET", "/")
    assert (a.status, a.type, a.field("Content-Length")) == (
        200, "text/plain; charset=utf-8", "17")
    assert a.body == b"Ollama is running"
    assert a.field("Date").endswith(" GMT") and a.field("Server") is None


def test_a_head_request_has_the_length_but_no_body_and_the_connection_goes_on(fake):
    wire = fake.wire()
    a = wire.ask("HEAD", "/").answer("HEAD")
    assert (a.status, a.field("Content-Length")) == (200, "17")
    assert wire.ask("GET", "/").answer().body == b"Ollama is running"


def test_the_version_is_what_it_was_told(start):
    fake = start("--version-string", "0.6.4")
    a = fake.ask("GET", "/api/version")
    assert (a.status, a.type, a.body) == (200, UTF8, b'{"version":"0.6.4"}')
    fake.set(version="0.33.1")
    assert fake.ask("GET", "/api/version").body == b'{"version":"0.33.1"}'
    head = fake.ask("HEAD", "/api/version")
    assert (head.status, head.field("Content-Length")) == (200, "20")


def test_the_tags_exceed_2048_bytes_and_so_come_chunked(fake):
    a = fake.ask("GET", "/api/tags")
    assert (a.status, a.type, a.framing) == (200, UTF8, "chunked")
    assert len(a.body) > 2048 and not a.body.endswith(b"\n")
    first = a.json["models"][0]
    assert list(first) == ["name", "model", "modified_at", "size", "digest", "details"]
    names = {m["name"] for m in a.json["models"]}
    assert names >= {"llama3.2:latest", "qwen3:8b", "mistral:7b", "gemma3:4b", "phi4:14b",
                     "nomic-embed-text:latest", "all-minilm:latest", "tiny:latest"}


def test_ps_is_an_empty_list_when_nothing_is_loaded(fake):
    assert fake.ask("GET", "/api/ps").body == b'{"models":[]}'
    assert fake.ask("GET", "/api/status").body == (
        b'{"cloud":{"disabled":false,"source":"none"}}')


def test_ps_tells_what_is_loaded_with_the_keys_of_ollama(fake):
    fake.chat(stream=False).answer()
    (m,) = fake.ask("GET", "/api/ps").json["models"]
    assert list(m) == ["name", "model", "size", "digest", "details", "expires_at",
                       "size_vram", "context_length"]
    assert m["name"] == "tiny:latest" and len(m["digest"]) == 64


@pytest.mark.parametrize("method, path, allow", [
    ("HEAD", "/api/ps", "GET"), ("GET", "/api/chat", "POST"),
    ("PUT", "/api/tags", "HEAD, GET"), ("POST", "/", "HEAD, GET"),
    ("GET", "/api/delete", "DELETE"), ("GET", "/v1/embeddings", "POST")])
def test_a_wrong_method_is_405_and_lists_the_right_ones(fake, method, path, allow):
    a = fake.ask(method, path)
    assert (a.status, a.type, a.field("Allow")) == (405, "text/plain", allow)
    if method != "HEAD":
        assert a.body == b"405 method not allowed"


@pytest.mark.parametrize("path", ["/nope", "/API/chat", "/api", "/api/blobs/a/b",
                                  "/api/tags%00"])
def test_an_unknown_path_is_gins_404(fake, path):
    a = fake.ask("GET", path)
    assert (a.status, a.type, a.body) == (404, "text/plain", b"404 page not found")


def test_a_trailing_slash_redirects_with_301_for_get_and_307_for_post(fake):
    a = fake.ask("GET", "/api/tags/?x=1")
    assert (a.status, a.field("Location")) == (301, "/api/tags?x=1")
    assert a.body == b'<a href="/api/tags?x=1">Moved Permanently</a>.\n\n'
    a = fake.post("/api/chat/", {})
    assert (a.status, a.field("Location"), a.body) == (307, "/api/chat", b"")


def test_a_path_that_is_not_clean_redirects_with_307(fake):
    for path in ("//api/tags", "/api/./tags", "/api/x/../tags", "/../api/tags"):
        a = fake.ask("GET", path)
        assert (a.status, a.field("Location")) == (307, "/api/tags"), path


def test_show_answers_by_the_normalised_name(fake):
    assert fake.post("/api/show", {}).body == b'{"error":"model is required"}'
    a = fake.post("/api/show", {"name": "nope"})
    assert (a.status, a.body) == (404, b"{\"error\":\"model 'nope:latest' not found\"}")
    a = fake.post("/api/show", {"model": "nomic-embed-text"})
    assert a.status == 200 and a.json["capabilities"] == ["embedding"]
    assert fake.post("/api/show", {"model": "a b"}).json["error"] == "invalid model name"


def test_show_echoes_the_name_to_copilot(fake):
    a = fake.ask("POST", "/api/show", {"model": "LLaMA3.2"},
                 fields=[("User-Agent", "GitHubCopilotChat/1")])
    assert a.json["model_info"]["general.basename"] == "LLaMA3.2"
    a = fake.post("/api/show", {"model": "LLaMA3.2"})
    assert a.json["model_info"]["general.basename"] == "llama3.2"


def test_copy_and_delete_answer_with_nothing(fake):
    a = fake.post("/api/copy", {"source": "tiny", "destination": "mine"})
    assert (a.status, a.type, a.field("Content-Length")) == (200, None, "0")
    a = fake.ask("DELETE", "/api/delete", {"model": "mine"})
    assert (a.status, a.type, a.field("Content-Length")) == (200, None, "0")
    a = fake.ask("DELETE", "/api/delete", {"name": "mine"})
    assert (a.status, a.json["error"]) == (404, "model 'mine' not found")
    a = fake.post("/api/copy", {"source": "nope", "destination": "b"})
    assert (a.status, a.json["error"]) == (404, 'model "nope" not found')
    a = fake.post("/api/copy", {"source": "a b", "destination": "b"})
    assert (a.status, a.json["error"]) == (400, 'source "a b" is invalid')
    a = fake.ask("DELETE", "/api/delete", {"model": "a b"})
    assert (a.status, a.json["error"]) == (400, 'name "a b" is invalid')


def test_a_pull_of_an_unknown_model_fails_in_band_or_with_500(fake):
    a = fake.post("/api/pull", {"model": "nope"})
    assert (a.status, a.type) == (200, NDJSON)
    assert a.chunks == [b'{"status":"pulling manifest"}\n',
                        b'{"error":"pull model manifest: file does not exist"}\n']
    a = fake.post("/api/pull", {"model": "nope", "stream": False})
    assert (a.status, a.type) == (500, "application/json")


def test_a_deleted_model_can_be_pulled_again(fake):
    fake.ask("DELETE", "/api/delete", {"model": "tiny"})
    assert fake.chat(stream=False).answer().status == 404
    assert fake.post("/api/pull", {"name": "tiny"}).lines[-1] == {"status": "success"}
    assert fake.chat(stream=False).answer().status == 200


def test_blobs_are_checked_against_their_digest(fake):
    data = b"x" * 300000
    right = "sha256:" + hashlib.sha256(data).hexdigest()
    a = fake.ask("HEAD", "/api/blobs/" + right)
    assert (a.status, int(a.field("Content-Length")) > 0) == (404, True)
    assert fake.ask("HEAD", "/api/blobs/bad").status == 400
    assert "digest mismatch" in fake.post("/api/blobs/sha256:" + "0" * 64, "x").text
    assert fake.post("/api/blobs/" + right, data.decode()).status == 201
    assert fake.post("/api/blobs/" + right, data.decode()).status == 200


def test_v1_models_speak_openai(fake):
    a = fake.ask("GET", "/v1/models")
    assert a.type == "application/json" and a.text.endswith("}\n")
    assert a.json["data"][0]["object"] == "model"
    a = fake.ask("GET", "/v1/models/nope")
    assert (a.status, a.json["error"]["type"]) == (404, "not_found_error")
    assert a.text.endswith("}\n")
    for m in fake.ask("GET", "/api/tags").json["models"]:
        fake.ask("DELETE", "/api/delete", {"model": m["name"]})
    assert fake.ask("GET", "/v1/models").body == b'{"object":"list","data":null}\n'


# --- decoding: 12, 19-33 -------------------------------------------------------


def error_of(a):
    return a.status, a.json["error"]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/embed",
                                  "/api/embeddings", "/api/show"])
@pytest.mark.parametrize("body", ["", "   \n"])
def test_an_empty_body_is_missing(fake, path, body):
    a = fake.post(path, body)
    assert (a.type, a.framing) == (UTF8, "length")
    assert a.status == 400 and a.body == b'{"error":"missing request body"}'


@pytest.mark.parametrize("body, error", [
    ("{", "unexpected EOF"),
    ('{"model":"ti', "unexpected EOF"),
    ('{"model":tru', "unexpected EOF"),
    ("hello", "invalid character 'h' looking for beginning of value"),
    ("\x1f\x8b", "invalid character '\\x1f' looking for beginning of value"),
    ("'", "invalid character '\\'' looking for beginning of value"),
    ("{,", "invalid character ',' looking for beginning of object key string"),
    ('{"a" 1}', "invalid character '1' after object key"),
    ('{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
    ('{"a":[1 2]}', "invalid character '2' after array element"),
    ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
    ('{"a":trux}', "invalid character 'x' in literal true (expecting 'e')"),
    ('{"a":-x}', "invalid character 'x' in numeric literal"),
    ('{"a":1.x}', "invalid character 'x' after decimal point in numeric literal"),
    ('{"a":1ex}', "invalid character 'x' in exponent of numeric literal"),
    ('{"a":"\\x"}', "invalid character 'x' in string escape code"),
    ('{"a":"\\u00g"}', "invalid character 'g' in \\u hexadecimal character escape"),
    ('{"a":"\n"}', "invalid character '\\n' in string literal"),
    ("[" * 10001, "exceeded max depth"),
    ("[]", "json: cannot unmarshal array into Go value of type api.ChatRequest"),
    ('"x"', "json: cannot unmarshal string into Go value of type api.ChatRequest"),
    ('{"model":1}',
     "json: cannot unmarshal number into Go struct field ChatRequest.model of type string"),
    ('{"model":"m","stream":"no"}',
     "json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool"),
    ('{"messages":[{"content":[]}]}',
     "json: cannot unmarshal array into Go struct field "
     "ChatRequest.messages.content of type string"),
    ('{"keep_alive":"300","model":"tiny"}', 'time: missing unit in duration "300"'),
    ('{"keep_alive":"5x"}', 'time: unknown unit "x" in duration "5x"'),
    ('{"keep_alive":""}', 'time: invalid duration ""'),
    ('{"keep_alive":true}', "Unsupported type: 'bool'"),
    ('{"think":"hi"}', 'invalid think value: "hi" (must be "high", "medium", "low", '
                       '"max", true, or false)'),
])
def test_a_body_that_cannot_be_decoded_is_400_in_gos_words(fake, body, error):
    a = fake.post("/api/chat", body)
    assert error_of(a) == (400, error)
    assert (a.type, a.framing) == (UTF8, "length")


def test_what_stands_behind_the_first_value_is_ignored(fake):
    a = fake.post("/api/chat", '{"model":"tiny","stream":false,"messages":[{"content":'
                               '"echo yes"}]}garbage')
    assert a.json["message"]["content"] == "yes"


def test_keys_are_matched_in_any_case_and_the_last_one_wins(fake):
    a = fake.post("/api/chat", '{"model":"nope","Model":"tiny","MESSAGES":[{"content":'
                               '"echo ok"}],"\u017ftream":false}')
    assert a.json["model"] == "tiny" and a.json["message"]["content"] == "ok"
    a = fake.post("/api/chat", '{"model":"tiny","mode\\u006c":"nope","stream":false}')
    assert error_of(a) == (404, "model 'nope' not found")


def test_a_percent_encoded_path_is_the_same_path(fake):
    a = fake.post("/api/%63hat", {"model": "tiny", "stream": False,
                                  "messages": [{"role": "user", "content": "x"}]})
    assert a.json["done"] is True


@pytest.mark.parametrize("path, status, error", [
    ("/api/chat", 400, "model is required"),
    ("/api/generate", 404, "model '' not found"),
    ("/api/embed", 404, "model '' not found"),
    ("/api/embeddings", 400, "model is required"),
])
def test_an_empty_model_is_refused_differently_by_each(fake, path, status, error):
    assert error_of(fake.post(path, {})) == (status, error)
    assert error_of(fake.post(path, "null")) == (status, error)


@pytest.mark.parametrize("path, error", [
    ("/api/chat", "model 'x' not found"),
    ("/api/generate", "model 'x' not found"),
    ("/api/embed", 'model "x" not found, try pulling it first'),
    ("/api/embeddings", 'model "x" not found, try pulling it first'),
])
def test_an_unknown_model_is_404_even_for_a_stream(fake, path, error):
    a = fake.post(path, {"model": "x", "prompt": "p", "input": "i", "stream": True})
    assert error_of(a) == (404, error)
    assert (a.type, a.framing) == (UTF8, "length")


@pytest.mark.parametrize("name", [
    "a b", "x@sha256:ab", "llama3:", "/llama3", ":latest", "-m", ".m", "my.ns/m",
    "host:5000/m", "a/b/c/d", "mod\u00e8le", "llama3:-cloud", "a" * 81])
def test_a_name_that_is_none_is_invalid(fake, name):
    assert error_of(fake.post("/api/chat", {"model": name})) == (400, "invalid model name")


@pytest.mark.parametrize("name", ["x:cloud:local", "foo:20b-cloud:cloud"])
def test_a_name_cannot_be_local_and_cloud(fake, name):
    assert error_of(fake.post("/api/chat", {"model": name})) == (
        400, f'use either :local or :cloud, not both: "{name}"')


@pytest.mark.parametrize("name", [
    "tiny", " tiny ", "TiNy:LATEST", "library/tiny", "tiny:local",
    "registry.ollama.ai/library/tiny:latest", "https://registry.ollama.ai/library/tiny"])
def test_all_spellings_of_a_name_are_one_model_and_are_echoed(fake, name):
    a = fake.chat(name, stream=False).answer()
    assert (a.status, a.json["model"]) == (200, name)
    assert fake.loaded() == ["tiny:latest"]


def test_embeddings_looks_names_up_letter_for_letter(fake):
    assert fake.post("/api/embed", {"model": "ALL-minilm", "input": "x"}).status == 200
    a = fake.post("/api/embeddings", {"model": "ALL-minilm", "prompt": "x"})
    assert error_of(a) == (404, 'model "ALL-minilm" not found, try pulling it first')


def test_a_cloud_model_never_reaches_the_scheduler(fake):
    a = fake.chat("gpt-oss:20b-cloud").answer()
    assert a.status == 401 and a.json["signin_url"].startswith("https://ollama.com/")
    assert fake.stats()["loads"] == 0


@pytest.mark.parametrize("value", ["5m", -1, 0.5, None, "1h30m", "-1s"])
def test_these_keep_alives_are_fine(fake, value):
    assert fake.chat(stream=False, keep_alive=value).answer().status == 200


@pytest.mark.parametrize("body, error", [
    ({"think": True, "model": "tiny"}, '"tiny" does not support thinking'),
    ({"tools": [{"type": "function"}], "model": "tiny"},
     "registry.ollama.ai/library/tiny:latest does not support tools"),
    ({"model": "all-minilm"}, '"all-minilm" does not support chat'),
    ({"model": "tiny", "top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
])
def test_what_a_model_cannot_do_is_400(fake, body, error):
    a = fake.post("/api/chat", {"messages": [{"role": "user", "content": "x"}], **body})
    assert error_of(a) == (400, error)
    assert fake.stats()["loads"] == 0


@pytest.mark.parametrize("body, error", [
    ({"suffix": "s", "prompt": "p"},
     "registry.ollama.ai/library/tiny:latest does not support insert"),
    ({"raw": True, "system": "s", "prompt": "p"},
     "raw mode does not support template, system, or context"),
])
def test_generate_refuses_its_own_things(fake, body, error):
    assert error_of(fake.post("/api/generate", {"model": "tiny", **body})) == (400, error)


def test_an_embedding_model_does_not_generate_even_to_load(fake):
    a = fake.post("/api/generate", {"model": "all-minilm"})
    assert error_of(a) == (400, '"all-minilm" does not support generate')


@pytest.mark.parametrize("options, wanted", [
    ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
    ({"num_ctx": "big"}, 'option "num_ctx" must be of type integer'),
    ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean')])
def test_an_option_of_the_wrong_type_is_500(fake, options, wanted):
    a = fake.chat(options=options).answer()
    assert error_of(a) == (500, wanted) and a.type == UTF8


def test_an_unknown_option_is_ignored(fake):
    assert fake.chat(options={"nope": "x", "num_ctx": None}).answer().status == 200


def test_a_bad_format_is_500_and_framed_by_where_it_is_found(fake):
    a = fake.chat(format="xml").answer()
    assert a.json["error"].startswith('invalid format: "\\"xml\\""')
    assert (a.status, a.type, a.framing) == (500, "application/json", "chunked")
    a = fake.chat(format="xml", stream=False).answer()
    assert (a.status, a.type, a.framing) == (500, UTF8, "length")
    assert fake.chat(format="json").answer().status == 200
    assert fake.chat(format={"type": "object"}).answer().status == 200


def test_embed_takes_texts_only(fake):
    for wrong in (1, [1], {"a": 1}):
        a = fake.post("/api/embed", {"model": "all-minilm", "input": wrong})
        assert error_of(a) == (400, "invalid input type")


def test_a_full_server_says_503_with_two_spaces_and_no_retry_after(fake):
    fake.set(busy=True)
    for stream in (True, False):
        a = fake.chat(stream=stream).answer()
        assert (a.status, a.text, a.type, a.framing) == (503, BUSY, UTF8, "length")
        assert a.field("Retry-After") is None
    fake.set(busy=False)
    assert fake.chat().answer().status == 200


# --- streaming: 34-47 ----------------------------------------------------------


def test_a_stream_is_one_chunk_per_line_and_the_last_is_done(fake):
    a = fake.chat(content="echo one two three").answer()
    assert (a.status, a.type, a.framing, a.end) == (200, NDJSON, "chunked", "whole")
    assert a.field("Content-Length") is None
    assert len(a.chunks) == 4 and all(c.endswith(b"\n") for c in a.chunks)
    assert all(c.count(b"\n") == 1 for c in a.chunks)
    assert [m["message"]["content"] for m in a.lines] == ["one", " two", " three", ""]
    assert [m["done"] for m in a.lines] == [False, False, False, True]
    assert list(a.lines[0]) == ["model", "created_at", "message", "done"]
    assert list(a.lines[-1]) == [
        "model", "created_at", "message", "done", "done_reason", "total_duration",
        "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count",
        "eval_duration"]
    assert a.lines[-1]["done_reason"] == "stop" and a.lines[-1]["eval_count"] == 3
    assert a.lines[-1]["load_duration"] > 0


def test_times_are_utc_with_trailing_zeros_trimmed(fake):
    a = fake.chat(options={"fake_tokens": 50, "fake_token_ms": 0}).answer()
    for line in a.lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z",
                            line["created_at"])


def test_generate_has_a_response_and_a_context_unless_raw(fake):
    a = fake.post("/api/generate", {"model": "tiny", "prompt": "echo a b"})
    assert [m["response"] for m in a.lines] == ["a", " b", ""]
    assert list(a.lines[-1])[:6] == ["model", "created_at", "response", "done",
                                     "done_reason", "context"]
    a = fake.post("/api/generate", {"model": "tiny", "prompt": "x", "raw": True,
                                    "stream": False})
    assert "context" not in a.json


def test_a_reply_without_streaming_is_the_concatenation(fake):
    a = fake.chat(content="echo  a  b\n c ", stream=False).answer()
    assert (a.status, a.type, a.framing) == (200, UTF8, "length")
    assert a.json["message"]["content"] == " a  b\n c "
    assert a.json["done"] is True and not a.body.endswith(b"\n")


def test_num_predict_limits_the_tokens(fake):
    a = fake.chat(options={"num_predict": 2, "fake_tokens": 9}, stream=False).answer()
    assert a.json["done_reason"] == "length" and a.json["eval_count"] == 2


def test_html_is_escaped_as_go_escapes_it(fake):
    a = fake.chat(content="echo <b>&\u2028\u00fc\u0007\x7f", stream=False).answer()
    assert b'"\\u003cb\\u003e\\u0026\\u2028\xc3\xbc\\u0007\x7f"' in a.body


def test_a_body_of_2048_bytes_has_a_length_and_one_of_2049_is_chunked(fake):
    for size, framing in ((2048, "length"), (2049, "chunked")):
        text = "x" * (size - len('{"error":""}'))
        a = fake.chat(options={"fake_status": 500, "fake_error": text}, stream=False).answer()
        assert (len(a.body), a.framing, a.json["error"]) == (size, framing, text)


def test_nothing_arrives_before_the_first_token(start):
    fake = start()
    wire = fake.chat(options={"fake_prompt_ms": 2000, "fake_load_ms": 0})
    fake.wait_event("generation_start")
    assert wire.silent(0.15)
    assert wire.answer().status == 200


def test_the_gaps_between_tokens_are_kept(fake):
    """By its own clock, which is ours; and none waits for the next."""
    wire = fake.chat(options={"fake_tokens": 6, "fake_token_ms": 200})
    wire.head()
    at = []
    while wire.chunk():
        at.append(time.monotonic())
    fake.wait_event("generation_end")
    [begun, ended] = [e["t"] for e in fake.events("generation_start", "generation_end")]
    assert ended - begun >= 5 * 0.2
    assert len(at) == 7 and at[2] < ended


def test_an_error_before_the_first_line_has_its_status(fake):
    script = {"fake_status": 500, "fake_error": "llama-server <died>"}
    a = fake.chat(options=script).answer()
    assert (a.status, a.type, a.framing) == (500, "application/json", "chunked")
    assert a.body == b'{"error":"llama-server \\u003cdied\\u003e"}'
    a = fake.chat(options=script, stream=False).answer()
    assert (a.status, a.type, a.framing) == (500, UTF8, "length")


def test_an_error_after_three_lines_is_a_line_and_the_connection_stays(fake):
    wire = fake.chat(options={"fake_tokens": 9, "fake_error_at": 3, "fake_error": "oops"})
    a = wire.answer()
    assert (a.status, a.end, len(a.chunks)) == (200, "whole", 4)
    assert a.chunks[-1] == b'{"error":"oops"}\n'
    assert wire.ask("GET", "/").answer().status == 200


def test_a_reset_after_three_lines_is_a_reset(fake):
    a = fake.chat(options={"fake_tokens": 9, "fake_rst_at": 3}).answer()
    assert (a.status, a.end, len(a.chunks)) == (200, "reset", 3)


def test_a_reset_may_come_before_anything(fake):
    assert fake.chat(options={"fake_rst_at": 0}).gone() == "reset"


def test_a_cut_stream_lacks_the_last_chunk(fake):
    a = fake.chat(options={"fake_tokens": 9, "fake_cut_at": 3}).answer()
    assert (a.status, a.end, len(a.chunks)) == (200, "cut", 3)


def test_a_cut_reply_lacks_half_of_its_body(fake):
    a = fake.chat(options={"fake_cut_at": 2}, stream=False).answer()
    assert (a.status, a.framing, a.end) == (200, "length", "cut")


def test_a_stream_can_end_cleanly_without_done(fake):
    a = fake.chat(options={"fake_tokens": 9, "fake_eof_at": 2}).answer()
    assert (a.status, a.end, len(a.chunks)) == (200, "whole", 2)
    assert not any(line["done"] for line in a.lines)


def test_a_hung_generation_is_silent_and_keeps_its_slot(fake):
    hung = fake.chat(options={"fake_tokens": 9, "fake_hang_at": 1})
    assert hung.head().status == 200 and hung.chunk()
    waiting = fake.chat()
    assert hung.silent() and waiting.silent()
    assert fake.stats()["running"] == 1
    hung.close()
    assert waiting.answer().lines[-1]["done"] is True


def test_a_hang_can_come_before_the_head(fake):
    hung = fake.chat(options={"fake_hang_at": -1})
    fake.wait(lambda: fake.stats()["running"] == 1)
    assert hung.silent()


def test_a_line_can_be_five_megabytes(fake):
    a = fake.chat(options={"fake_tokens": 1, "fake_line_bytes": 5000000}).answer()
    assert len(a.chunks) == 2 and len(a.lines[0]["message"]["content"]) == 5000000


def test_a_split_answer_comes_byte_by_byte(fake):
    wire = fake.chat(content="echo \u00fc", options={"fake_split": True})
    a = wire.answer()
    assert a.lines[0]["message"]["content"] == "\u00fc" and a.end == "whole"
    assert wire.ask("GET", "/").answer().status == 200


@pytest.mark.parametrize("path, body", [
    ("/api/chat", b'"message":{"role":"assistant","content":""},'),
    ("/api/generate", b'"response":"",')])
def test_a_request_without_work_only_loads(fake, path, body):
    a = fake.post(path, {"model": "tiny", "stream": True})
    assert (a.status, a.type, a.framing) == (200, UTF8, "length")
    assert a.json["done_reason"] == "load" and body in a.body
    assert a.body.endswith(b'"done":true,"done_reason":"load"}')
    assert fake.loaded() == ["tiny:latest"] and fake.stats()["generations"] == 0


def test_an_embed_without_input_only_loads(fake):
    for nothing in ({}, {"input": ""}, {"input": []}, {"input": None}):
        a = fake.post("/api/embed", {"model": "all-minilm", **nothing})
        assert a.body == b'{"model":"all-minilm","embeddings":[]}'
    a = fake.post("/api/embeddings", {"model": "all-minilm"})
    assert a.body == b'{"embedding":[]}'
    assert fake.loaded() == ["all-minilm:latest"] and fake.stats()["embeds"] == 0


def test_an_unload_is_answered_at_once_while_a_generation_runs(fake):
    running = fake.chat(options={"fake_tokens": 500, "fake_token_ms": 20})
    running.head()
    a = fake.post("/api/generate", {"model": "tiny", "keep_alive": "0s"})
    assert (a.status, a.type, a.json["done_reason"]) == (200, UTF8, "unload")
    assert fake.loaded() == ["tiny:latest"]
    running.close()
    fake.wait(lambda: fake.loaded() == [])


def test_an_unload_of_what_is_not_loaded_is_fine_but_it_must_exist(fake):
    a = fake.post("/api/chat", {"model": "tiny", "keep_alive": 0})
    assert a.json["done_reason"] == "unload"
    assert fake.post("/api/chat", {"model": "nope", "keep_alive": 0}).status == 404


def test_a_body_of_twenty_megabytes_is_hashed_as_it_was_sent(fake):
    body = json.dumps({"model": "tiny", "prompt": "echo big", "stream": False,
                       "images": ["A" * 20_000_000]})
    assert fake.post("/api/generate", body).json["response"] == "big"
    (request,) = fake.events("request")
    assert request["sha256"] == hashlib.sha256(body.encode()).hexdigest()
    assert request["bytes"] == len(body) and request["model"] == "tiny"


def test_a_thinking_model_thinks_unless_told_not_to(fake):
    a = fake.chat("deepseek-r1:8b", content="echo so").answer()
    thoughts = [m["message"].get("thinking") for m in a.lines]
    assert thoughts == ["Hmm,", " well.", None, None]
    a = fake.chat("deepseek-r1:8b", content="echo so", think=False).answer()
    assert [m["message"]["content"] for m in a.lines] == ["so", ""]


# --- embeddings ------------------------------------------------------------------


def test_vectors_have_length_one_and_follow_the_text(fake):
    a = fake.post("/api/embed", {"model": "all-minilm", "input": ["a", "b", "a"]})
    assert list(a.json) == ["model", "embeddings", "total_duration", "load_duration",
                            "prompt_eval_count"]
    one, two, three = a.json["embeddings"]
    assert len(one) == 384 and one == three and one != two
    assert abs(math.sqrt(sum(x * x for x in one)) - 1) < 1e-3
    assert a.framing == "chunked" and a.type == UTF8


def test_dimensions_shorten_a_vector(fake):
    a = fake.post("/api/embed", {"model": "all-minilm", "input": "a", "dimensions": 8})
    assert len(a.json["embeddings"][0]) == 8


def test_the_legacy_endpoint_widens_the_same_floats(fake):
    new = fake.post("/api/embed", {"model": "all-minilm", "input": "a"}).json
    old = fake.post("/api/embeddings", {"model": "all-minilm", "prompt": "a"}).json
    assert list(old) == ["embedding"]
    assert all(abs(x - y) < 1e-6 for x, y in zip(old["embedding"], new["embeddings"][0]))
    assert old["embedding"] != new["embeddings"][0]


def test_a_generation_model_does_not_embed(fake):
    a = fake.post("/api/embed", {"model": "tiny", "input": "a"})
    assert a.status == 501 and "does not support embeddings" in a.json["error"]
    assert fake.post("/api/embeddings", {"model": "tiny", "prompt": "a"}).status == 500


def test_an_input_too_long_is_refused_only_without_truncation(fake):
    long = {"model": "all-minilm", "input": "w " * 300}
    assert fake.post("/api/embed", long).status == 200
    a = fake.post("/api/embed", {**long, "truncate": False})
    assert error_of(a) == (400, "the input length exceeds the context length")


def test_embeddings_can_be_scripted_to_fail_too(fake):
    def embed(**script):
        return fake.wire().ask("POST", "/api/embed", {
            "model": "all-minilm", "input": "a", "options": script})
    assert error_of(embed(fake_status=500, fake_error="no").answer()) == (500, "no")
    assert embed(fake_rst_at=0).gone() == "reset"
    assert embed(fake_cut_at=0).answer().end == "cut"
    hung = embed(fake_hang_at=0)
    fake.wait(lambda: fake.stats()["embeds"] == 4)
    assert hung.silent()


# --- /v1: 46, 47 -----------------------------------------------------------------


def v1(fake, **body):
    return fake.post("/v1/chat/completions", {
        "model": "tiny", "messages": [{"role": "user", "content": "echo a b"}], **body})


def test_a_v1_stream_is_sse_and_ends_in_done(fake):
    a = v1(fake, stream=True, stream_options={"include_usage": True})
    assert (a.status, a.type, a.framing) == (200, "text/event-stream", "chunked")
    events = a.text.split("\n\n")
    assert all(e.startswith("data: ") for e in events[:-1]) and events[-1] == ""
    assert events[-2] == "data: [DONE]"
    data = [json.loads(e[6:]) for e in events[:-2]]
    assert [c["choices"][0]["delta"]["content"] for c in data[:3]] == ["a", " b", ""]
    assert [c["choices"][0]["finish_reason"] for c in data[:3]] == [None, None, "stop"]
    assert data[3]["choices"] == [] and data[3]["usage"]["completion_tokens"] == 2


def test_v1_does_not_stream_by_default_and_ends_in_a_newline(fake):
    a = v1(fake)
    assert (a.type, a.framing) == ("application/json", "length") and a.text.endswith("}\n")
    assert a.json["choices"][0]["message"]["content"] == "a b"


def test_v1_content_may_be_parts(fake):
    parts = [{"type": "text", "text": "echo "}, {"type": "text", "text": "joined"}]
    a = v1(fake, messages=[{"role": "user", "content": parts}])
    assert a.json["choices"][0]["message"]["content"] == "joined"


def test_v1_errors_have_openais_shape(fake):
    a = v1(fake, model="nope")
    assert (a.status, a.type) == (404, "application/json") and a.text.endswith("}\n")
    assert a.json == {"error": {"message": "model 'nope' not found",
                                "type": "not_found_error", "param": None, "code": None}}
    a = v1(fake, messages=[])
    assert (a.status, a.type) == (400, UTF8) and not a.text.endswith("\n")
    assert a.json["error"]["message"] == "[] is too short - 'messages'"
    assert fake.post("/v1/chat/completions", "").json["error"]["message"] == "EOF"
    fake.set(busy=True)
    assert v1(fake).json["error"]["type"] == "api_error"


def test_a_v1_error_in_the_middle_is_an_empty_chunk_without_done(fake):
    a = v1(fake, stream=True, options={"fake_error_at": 1})
    assert a.end == "whole" and len(a.chunks) == 2
    last = json.loads(a.chunks[-1][6:])
    assert last["choices"][0]["delta"]["content"] == "" and last["model"] == ""


def events(a):
    """(name, data) of each event; the name is None where it has none."""
    assert a.text.endswith("\n\n")
    found = []
    for block in a.text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("event"), fields["data"]))
    return found


def test_v1_completions_are_texts(fake):
    ask = {"model": "tiny", "prompt": "echo a b"}
    a = fake.post("/v1/completions", ask)
    assert (a.status, a.type, a.text[-1]) == (200, "application/json", "\n")
    assert a.json["object"] == "text_completion" and a.json["choices"][0]["text"] == "a b"
    assert a.json["usage"]["completion_tokens"] == 2
    a = fake.post("/v1/completions", {**ask, "stream": True})
    assert a.type == "text/event-stream"
    said = events(a)
    assert [json.loads(d)["choices"][0]["text"] for _, d in said[:-1]] == ["a", " b", ""]
    assert said[-1] == (None, "[DONE]")


def test_v1_responses_are_named_events_up_to_completed(fake):
    for question in ("echo a b", [{"role": "user", "content": "echo a b"}]):
        ask = {"model": "tiny", "input": question}
        a = fake.post("/v1/responses", ask)
        assert (a.status, a.type, a.text[-1]) == (200, "application/json", "\n")
        assert a.json["output"][0]["content"][0]["text"] == "a b"
        assert a.json["usage"]["output_tokens"] == 2
    a = fake.post("/v1/responses", {**ask, "stream": True})
    assert a.type == "text/event-stream"
    said = [(name, json.loads(data)) for name, data in events(a)]
    assert all(name == data["type"] for name, data in said)
    assert said[0][0] == "response.created" and said[-1][0] == "response.completed"
    assert [d["delta"] for n, d in said if n == "response.output_text.delta"] == ["a", " b"]
    assert said[-1][1]["response"]["usage"]["output_tokens"] == 2


def messages(fake, **body):
    return fake.post("/v1/messages", {
        "model": "tiny", "max_tokens": 100,
        "messages": [{"role": "user", "content": "echo a b"}], **body})


def test_v1_messages_speak_anthropic(fake):
    a = messages(fake)
    assert (a.status, a.type, a.text[-1]) == (200, "application/json", "\n")
    assert a.json["content"][0]["text"] == "a b" and a.json["stop_reason"] == "end_turn"
    assert a.json["usage"]["output_tokens"] == 2
    a = messages(fake, stream=True, max_tokens=1)
    assert a.type == "text/event-stream"
    said = [(name, json.loads(data)) for name, data in events(a)]
    assert all(name == data["type"] for name, data in said)
    assert said[0][0] == "message_start" and said[-1][0] == "message_stop"
    assert [d["delta"]["text"] for n, d in said if n == "content_block_delta"] == ["a"]
    assert said[-2][1]["delta"]["stop_reason"] == "max_tokens"


def test_v1_messages_err_in_anthropics_shape(fake):
    a = messages(fake, model="nope")
    assert (a.status, a.type) == (404, "application/json")
    assert a.json["type"] == "error" and a.json["error"]["type"] == "not_found_error"
    assert messages(fake, max_tokens=0).json["error"]["type"] == "invalid_request_error"
    fake.set(busy=True)
    assert messages(fake).json["error"]["type"] == "overloaded_error"


@pytest.mark.parametrize("path, last", [("/v1/responses", "response.completed"),
                                        ("/v1/messages", "message_stop")])
def test_named_events_that_break_off_lack_their_last(fake, path, last):
    a = fake.post(path, {"model": "tiny", "stream": True, "max_tokens": 9, "input": "echo a b",
                         "messages": [{"content": "echo a b"}], "options": {"fake_error_at": 1}})
    assert a.status == 200 and last not in a.text


def test_v1_embeddings_are_a_list(fake):
    a = fake.post("/v1/embeddings", {"model": "all-minilm", "input": ["a", "b"]})
    assert a.json["object"] == "list" and [d["index"] for d in a.json["data"]] == [0, 1]
    assert a.json["usage"]["prompt_tokens"] > 0


# --- HTTP: 55-58 -----------------------------------------------------------------


def test_http_1_0_gets_no_chunks_and_is_closed_at_the_end(fake):
    body = json.dumps({"model": "tiny", "messages": [{"content": "echo a b"}]})
    wire = fake.wire().ask("POST", "/api/chat", body, version="1.0", host=None)
    a = wire.answer()
    assert (a.version, a.framing) == ("HTTP/1.0", "close")
    assert a.field("Transfer-Encoding") is None and a.field("Connection") is None
    assert [m["message"]["content"] for m in a.lines] == ["a", " b", ""]


def test_http_1_0_can_ask_to_be_kept(fake):
    wire = fake.wire().ask("GET", "/", version="1.0", fields=[("Connection", "keep-alive")])
    assert wire.answer().field("Connection") == "keep-alive"
    assert wire.ask("GET", "/").answer().status == 200


def test_connection_close_is_obeyed(fake):
    wire = fake.wire().ask("GET", "/", fields=[("Connection", "close")])
    assert wire.answer().field("Connection") == "close" and wire.gone() == "closed"


def test_pipelined_requests_are_answered_in_order(fake):
    wire = fake.wire()
    wire.ask("GET", "/").ask("GET", "/api/version").ask("GET", "/nope")
    assert [wire.answer().status for _ in range(3)] == [200, 200, 404]


def test_a_request_behind_a_generation_waits_for_it(fake):
    wire = fake.chat(content="echo first").ask("GET", "/api/version")
    assert wire.answer().lines[-1]["done"] is True
    assert wire.answer().body == b'{"version":"0.33.0"}'


def test_a_chunked_upload_is_the_same_body(fake):
    body = json.dumps({"model": "tiny", "prompt": "echo " + "x" * 70000, "stream": False})
    wire = fake.wire().send("POST /api/generate HTTP/1.1\r\nHost: localhost\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n")
    for at in range(0, len(body), 1000):
        piece = body[at:at + 1000]
        wire.send(f"{len(piece):x};ext=1\r\n{piece}\r\n")
    wire.send("0\r\nTrailer: x\r\n\r\n")
    assert len(wire.answer().json["response"]) == 70000
    assert wire.ask("GET", "/").answer().status == 200
    assert fake.events("request")[0]["sha256"] == hashlib.sha256(body.encode()).hexdigest()


def test_a_chunked_upload_may_arrive_byte_by_byte(fake):
    wire = fake.wire()
    for byte in (b"POST /api/show HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked"
                 b"\r\n\r\n10\r\n{\"model\":\"tiny\"}\r\n0\r\n\r\n"):
        wire.send(bytes([byte]))
    assert wire.answer().status == 200


def test_a_body_can_be_waited_for_with_100_continue(fake):
    body = json.dumps({"model": "tiny"})
    wire = fake.wire().ask("POST", "/api/show", fields=[
        ("Content-Length", len(body)), ("Expect", "100-continue")])
    assert wire.head().status == 100
    assert wire.send(body).answer().status == 200
    wire = fake.wire().ask("POST", "/nope", fields=[
        ("Content-Length", "5"), ("Expect", "100-continue")])
    assert wire.answer().status == 404 and wire.gone() == "closed"


@pytest.mark.parametrize("head, status", [
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("GET nonsense HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ("POST / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", 417),
    ("POST /api/show HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
])
def test_a_malformed_request_is_refused_and_the_connection_closed(fake, head, status):
    wire = fake.wire().send(head)
    a = wire.answer()
    assert (a.status, a.field("Connection")) == (status, "close")
    assert fake.ask("GET", "/").status == 200


def test_a_head_over_a_megabyte_is_431(fake):
    wire = fake.wire()
    try:
        wire.send("GET / HTTP/1.1\r\nHost: a\r\nX: " + "x" * 1_200_000)
        assert wire.answer().status == 431
    except (ConnectionResetError, BrokenPipeError):
        pass  # refused before we were through


def test_with_length_and_chunks_the_chunks_win(fake):
    wire = fake.wire().send("POST /api/show HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3"
                            "\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n"
                            '{"model":"tiny"}\r\n0\r\n\r\n')
    assert wire.answer().status == 200


@pytest.mark.parametrize("host, status", [
    ("localhost", 200), ("127.0.0.1:1", 200), ("[::1]:80", 200), ("x.local", 200),
    ("10.1.2.3", 200), ("", 200), ("evil.com", 403), ("8.8.8.8", 403)])
def test_the_host_is_checked_as_on_a_loopback_listener(fake, host, status):
    a = fake.ask("GET", "/", host=host)
    assert a.status == status and (status == 200 or a.body == b"")


def test_a_local_origin_is_echoed_and_an_evil_one_is_403(fake):
    a = fake.ask("GET", "/", fields=[("Origin", "http://localhost:3000")])
    assert a.field("Access-Control-Allow-Origin") == "http://localhost:3000"
    assert a.field("Vary") == "Origin"
    a = fake.ask("GET", "/", fields=[("Origin", "http://evil")])
    assert (a.status, a.body) == (403, b"")
    a = fake.ask("GET", "/", fields=[("Origin", "http://localhost")])
    assert (a.status, a.field("Vary")) == (200, None)


def test_preflights_are_answered(fake):
    a = fake.ask("OPTIONS", "/api/chat", fields=[("Origin", "http://127.0.0.1:9")])
    assert (a.status, a.field("Access-Control-Max-Age")) == (204, "43200")
    assert len([1 for k, _ in a.fields if k == "Vary"]) == 3
    assert a.field("Transfer-Encoding") is None
    assert fake.ask("OPTIONS", "/api/chat").status == 204
    assert fake.ask("OPTIONS", "/api/chat", host="127.0.0.1").status == 405


def test_three_hundred_tags_are_answered_while_one_generates(fake):
    running = fake.chat(options={"fake_hang_at": 0})
    wires = [fake.wire().ask("GET", "/api/tags") for _ in range(300)]
    assert all(w.answer().status == 200 for w in wires)
    assert running.silent(0)
    for w in wires:
        w.close()


def test_a_thousand_connections_are_held(fake):
    fake.post("/api/generate", {"model": "tiny"})  # else most would be one too many
    wires = [fake.chat(options={"fake_token_ms": 0}) for _ in range(1000)]
    assert all(w.answer().lines[-1]["done"] for w in wires)
    assert fake.stats()["generations"] == 1000
    for w in wires:
        w.close()


def test_it_binds_to_loopback_only():
    got = subprocess.run([binary(), "--listen", "0.0.0.0:0"], capture_output=True,
                         text=True, timeout=DEADLINE)
    assert got.returncode == 1 and "only 127." in got.stderr


@pytest.mark.parametrize("args", [["--tokens", "x"], ["--model", "a b"], ["--nope"],
                                  ["extra"], ["--model", "a,wings"]])
def test_bad_arguments_are_refused(args):
    got = subprocess.run([binary(), *args], capture_output=True, text=True,
                         timeout=DEADLINE)
    assert got.returncode == 2 and got.stderr


# --- the scheduler ---------------------------------------------------------------


def test_a_b_a_b_with_room_for_one_loads_four_times(start):
    fake = start(OLLAMA_MAX_LOADED_MODELS=1)
    for model in ("qwen3:8b", "mistral:7b", "qwen3:8b", "mistral:7b"):
        assert fake.chat(model).answer().end == "whole"
    got = fake.stats()
    assert (got["loads"], got["evictions"], got["unloads"]) == (4, 3, 3)
    assert got["loads_by_model"] == {"qwen3:8b": 2, "mistral:7b": 2}
    assert fake.loaded() == ["mistral:7b"]


def test_pending_requests_are_not_grouped(start):
    fake = start(OLLAMA_MAX_LOADED_MODELS=1)
    wires = []
    for n, model in enumerate(("qwen3:8b", "mistral:7b", "qwen3:8b", "mistral:7b")):
        wires.append(fake.chat(model))
        fake.wait_event("request", n + 1)
    assert all(w.answer().end == "whole" for w in wires)
    assert fake.stats()["loads"] == 4
    starts = [e["model"] for e in fake.events("generation_start")]
    assert starts == ["qwen3:8b", "mistral:7b"] * 2


def test_two_models_fit_by_default(fake):
    for model in ("qwen3:8b", "mistral:7b") * 2:
        fake.chat(model).answer()
    assert fake.stats()["loads"] == 2
    assert sorted(fake.loaded()) == ["mistral:7b", "qwen3:8b"]


def test_the_victim_is_the_one_with_the_shortest_session(fake):
    fake.chat("qwen3:8b", keep_alive="1h").answer()
    fake.chat("mistral:7b", keep_alive="10m").answer()
    fake.chat("tiny").answer()
    assert sorted(fake.loaded()) == ["qwen3:8b", "tiny:latest"]


def test_an_idle_victim_goes_before_a_busy_one_and_for_ever_does_not_protect(fake):
    busy = fake.chat("qwen3:8b", keep_alive="1s", options={"fake_hang_at": 1})
    busy.head()
    fake.chat("mistral:7b", keep_alive=-1).answer()
    fake.chat("tiny").answer()
    assert sorted(fake.loaded()) == ["qwen3:8b", "tiny:latest"]


def test_a_busy_victim_is_awaited_and_blocks_all_other_loads(start):
    fake = start(OLLAMA_MAX_LOADED_MODELS=1)
    busy = fake.chat("qwen3:8b", options={"fake_hang_at": 1})
    busy.head()
    next_one, after = fake.chat("mistral:7b"), fake.chat("tiny")
    fake.wait(lambda: fake.stats()["pending"] == 2)
    assert next_one.silent() and after.silent(0)
    busy.close()
    assert next_one.answer().end == "whole" and after.answer().end == "whole"
    assert [e["model"] for e in fake.events("loaded")] == [
        "qwen3:8b", "mistral:7b", "tiny:latest"]


def test_other_runner_options_reload_the_same_model(fake):
    for options in ({}, {"num_ctx": 1024}, {"num_ctx": 1024}, {}, {"temperature": 0}):
        fake.chat(options=options).answer()
    got = fake.stats()
    assert (got["loads"], got["reloads"], got["evictions"]) == (3, 2, 0)
    assert fake.loaded() == ["tiny:latest"]


@pytest.mark.parametrize("first, second, loads", [
    ({"num_ctx": 999999}, {"num_ctx": 888888}, 1),  # both clamped to what it can
    ({"num_gpu": 10}, {}, 1),  # automatic fits whatever is there
    ({}, {"num_gpu": 10}, 2),
    ({"use_mmap": False}, {}, 2),
    ({"num_thread": 0}, {}, 1),
    ({"num_batch": 64}, {"num_batch": 128}, 2),
])
def test_what_counts_as_the_same_options(fake, first, second, loads):
    fake.chat(options=first).answer()
    fake.chat(options=second).answer()
    assert fake.stats()["loads"] == loads


def test_shift_is_a_load_attribute(fake):
    for shift in (None, True, False):
        fake.chat(shift=shift).answer()
    assert fake.stats()["loads"] == 2


def test_a_copy_shares_the_runner_and_ps_shows_who_loaded_it(fake):
    fake.post("/api/copy", {"source": "tiny", "destination": "mine"})
    fake.chat("mine").answer()
    fake.chat("tiny").answer()
    assert fake.stats()["loads"] == 1 and fake.loaded() == ["mine:latest"]


def test_a_loading_model_is_not_in_ps(fake):
    wire = fake.chat(options={"fake_load_ms": 400})
    fake.wait_event("load")
    assert fake.loaded() == [] and fake.stats()["pending"] == 1
    assert wire.answer().lines[-1]["load_duration"] >= 400_000_000
    assert fake.loaded() == ["tiny:latest"]


def test_a_load_is_aborted_when_its_client_leaves_and_the_next_begins_anew(fake):
    first = fake.chat(options={"fake_load_ms": 60000})
    fake.wait_event("load")
    second = fake.chat(options={"fake_load_ms": 10})
    fake.wait(lambda: fake.stats()["pending"] == 2)
    first.close()
    assert second.answer().end == "whole"
    got = fake.stats()
    assert (got["load_aborts"], got["loads"], got["client_gone"]) == (1, 1, 1)
    assert [e["event"] for e in fake.events("load", "load_aborted", "loaded")] == [
        "load", "load_aborted", "load", "loaded"]


def test_a_half_close_counts_as_leaving_and_can_still_read_499(fake):
    wire = fake.chat(options={"fake_load_ms": 60000})
    fake.wait_event("load")
    wire.sock.shutdown(socket.SHUT_WR)
    a = wire.answer()
    assert error_of(a) == (499, "request canceled")
    assert fake.stats()["load_aborts"] == 1


def test_a_load_can_fail(fake):
    a = fake.chat(options={"fake_load_error": "model requires more system memory"}).answer()
    assert error_of(a) == (500, "model requires more system memory") and a.type == UTF8
    assert fake.loaded() == [] and fake.chat().answer().status == 200


def test_one_generation_at_a_time_by_default_in_order_of_arrival(fake):
    fake.post("/api/generate", {"model": "tiny"})
    wires = []
    for n in range(5):
        wires.append(fake.chat(content=f"echo {n}", options={"fake_token_ms": 20}))
        fake.wait_event("request", n + 2)
    assert [w.answer().lines[0]["message"]["content"] for w in wires] == list("01234")
    assert fake.stats()["max_concurrent_generations"] == 1
    order = [e["n"] for e in fake.events("generation_start")]
    assert order == sorted(order)


def test_num_parallel_lets_more_run_at_once_but_never_for_embeddings(start):
    fake = start(OLLAMA_NUM_PARALLEL=3)
    fake.post("/api/generate", {"model": "tiny"})
    wires = [fake.chat(options={"fake_hang_at": 0}) for _ in range(5)]
    fake.wait(lambda: fake.stats()["running"] == 3)
    assert fake.stats()["max_concurrent_generations"] == 3
    for w in wires:
        w.close()
    for _ in range(2):
        fake.wire().ask("POST", "/api/embed", {"model": "all-minilm", "input": "a",
                                               "options": {"fake_hang_at": 0}})
    fake.wait(lambda: fake.stats()["embeds"] == 1)
    assert fake.stats()["embeds"] == 1


def test_the_queue_bounds_only_what_needs_a_load(start):
    fake = start(OLLAMA_MAX_QUEUE=1, OLLAMA_MAX_LOADED_MODELS=1)
    fake.post("/api/generate", {"model": "tiny"})
    hung = fake.chat(options={"fake_hang_at": 0})
    fake.wait(lambda: fake.stats()["running"] == 1)
    same = [fake.chat() for _ in range(20)]  # wait on the runner, unbounded
    fake.wait_event("request", 22)
    looked_at, waiting = fake.chat("qwen3:8b"), fake.chat("qwen3:8b")
    fake.wait(lambda: fake.stats()["pending"] == 2)
    a = fake.chat("qwen3:8b").answer()
    assert (a.status, a.text, a.type) == (503, BUSY, UTF8)
    hung.close()
    for w in [*same, looked_at, waiting]:
        assert w.answer().status == 200


def test_the_place_of_a_client_that_left_stays_taken(start):
    fake = start(OLLAMA_MAX_QUEUE=1, OLLAMA_MAX_LOADED_MODELS=1)
    hung = fake.chat(options={"fake_hang_at": 1})
    hung.head()
    fake.chat("qwen3:8b")
    fake.wait(lambda: fake.stats()["pending"] == 1)
    left = fake.chat("qwen3:8b")
    fake.wait(lambda: fake.stats()["pending"] == 2)
    left.close()
    fake.wait(lambda: fake.stats()["pending"] == 1)
    assert fake.chat("qwen3:8b").answer().status == 503


def test_an_embed_for_a_model_that_is_not_resident_may_evict(start):
    fake = start(OLLAMA_MAX_LOADED_MODELS=1)
    fake.chat("qwen3:8b").answer()
    assert fake.post("/api/embed", {"model": "all-minilm", "input": "a"}).status == 200
    assert fake.loaded() == ["all-minilm:latest"] and fake.stats()["evictions"] == 1


def test_a_resident_embedder_answers_during_a_generation(fake):
    fake.post("/api/embed", {"model": "all-minilm"})
    hung = fake.chat(options={"fake_hang_at": 1})
    hung.head()
    assert fake.post("/api/embed", {"model": "all-minilm", "input": "a"}).status == 200
    assert fake.stats()["running"] == 1


def test_keep_alive_runs_from_the_end_of_the_request(fake):
    fake.chat(keep_alive=0.1).answer()
    fake.wait(lambda: fake.loaded() == [])
    end, gone = fake.events("generation_end")[0], fake.events("unload")[0]
    assert 0.1 <= gone["t"] - end["t"] < 5


def test_keep_alive_zero_with_work_unloads_right_after_it(fake):
    assert fake.chat(keep_alive=0).answer().end == "whole"
    fake.wait(lambda: fake.loaded() == [])
    fake.post("/api/embed", {"model": "all-minilm", "keep_alive": 0})
    fake.wait(lambda: fake.stats()["unloads"] == 2)


def test_keep_alive_for_ever_is_the_year_2318_or_so_and_sticks(fake):
    fake.chat(keep_alive=-1).answer()
    fake.chat().answer()
    (m,) = fake.ask("GET", "/api/ps").json["models"]
    assert int(m["expires_at"][:4]) > 2200


def test_the_default_keep_alive_comes_from_the_environment(start):
    fake = start(OLLAMA_KEEP_ALIVE="100ms")
    fake.chat().answer()
    fake.wait(lambda: fake.loaded() == [])


def test_a_client_that_leaves_in_mid_generation_frees_the_slot(fake):
    first = fake.chat(options={"fake_tokens": 100000, "fake_token_ms": 5})
    first.head()
    second = fake.chat()
    first.reset()
    assert second.answer().end == "whole"
    assert fake.stats()["client_gone"] == 1
    assert [e["how"] for e in fake.events("generation_end")] == ["gone", "complete"]


def test_a_reader_that_does_not_read_holds_the_slot(fake):
    slow = fake.chat(options={"fake_tokens": 40, "fake_token_ms": 0,
                              "fake_line_bytes": 300000})
    fake.wait(lambda: fake.stats()["running"] == 1)
    second = fake.chat()
    assert second.silent(0.3)
    a = slow.answer()
    assert a.end == "whole" and len(a.chunks) == 41
    assert second.answer().end == "whole"


def test_a_leak_keeps_the_slot_until_the_model_is_unloaded(fake):
    fake.set(leak=True)
    first = fake.chat(options={"fake_hang_at": 1})
    first.head()
    first.close()
    fake.wait(lambda: fake.stats()["client_gone"] == 1)
    stuck = fake.chat()
    fake.wait_event("request", 2)
    assert stuck.silent() and fake.loaded() == ["tiny:latest"]
    fake.post("/api/generate", {"model": "tiny", "keep_alive": 0})
    assert stuck.answer().end == "whole"


def test_a_reply_without_streaming_does_not_leak(fake):
    fake.set(leak=True)
    first = fake.chat(options={"fake_hang_at": 1}, stream=False)
    fake.wait(lambda: fake.stats()["running"] == 1)
    first.close()
    assert fake.chat().answer().end == "whole"


def test_in_a_deadlock_only_what_is_loaded_still_answers(fake):
    fake.chat().answer()
    fake.set(deadlock=True)
    stuck = fake.chat("qwen3:8b")
    fake.wait(lambda: fake.stats()["pending"] == 1)
    assert fake.chat().answer().end == "whole" and fake.ask("GET", "/api/tags").status == 200
    assert stuck.silent()
    fake.set(deadlock=False)
    assert stuck.answer().end == "whole"


def test_a_server_that_is_down_cuts_everything_and_forgets_its_models(fake):
    running = fake.chat(options={"fake_tokens": 100000})
    running.head()
    idle = fake.wire()
    idle.ask("GET", "/").answer()
    fake.set(down=True)
    assert running.gone() == "reset" and idle.gone() == "reset"
    assert fake.wire().ask("GET", "/api/version").gone() == "reset"
    fake.set(down=False)
    assert fake.loaded() == []


def test_a_killed_server_cuts_its_streams(start):
    fake = start()
    wire = fake.chat(options={"fake_tokens": 100000})
    wire.head()
    fake.process.send_signal(signal.SIGTERM)
    while True:
        try:
            if not wire.chunk():
                pytest.fail("the stream ended cleanly")
        except (EOFError, ConnectionResetError):
            break


# --- the double's own ------------------------------------------------------------


def test_models_can_be_added_with_their_load_time(start):
    fake = start("--model", "big:70b,load-ms=0", "--model", "vec,embed",
                 "--model", "helper,tools,think", "--load-ms", "60000")
    assert fake.chat("big:70b").answer().end == "whole"
    assert fake.post("/api/show", {"model": "vec"}).json["capabilities"] == ["embedding"]
    assert fake.post("/api/show", {"model": "helper"}).json["capabilities"] == [
        "completion", "tools", "thinking"]


def test_reset_sets_the_counters_to_zero(fake):
    fake.chat().answer()
    assert fake.stats()["loads"] == 1
    fake.post("/fake/reset", "")
    got = fake.stats()
    assert got.pop("loads_by_model") == {} and not any(got.values())


def test_an_unknown_switch_is_refused(fake):
    assert fake.post("/fake/set", {"nope": True}).status == 400
    assert fake.post("/fake/set", {"busy": "yes"}).status == 400
    assert fake.post("/fake/set", "[]").status == 400


def test_the_log_tells_a_request_from_beginning_to_end(fake):
    fake.chat().answer()
    fake.wait_event("response_end")
    events = fake.events()
    assert [e["event"] for e in events] == [
        "request", "load", "loaded", "generation_start", "generation_end", "response_end"]
    assert all(e["n"] == 1 for e in events)
    assert events == sorted(events, key=lambda e: e["t"])
    assert abs(events[0]["t"] - time.monotonic()) < DEADLINE
    assert events[-1]["how"] == "complete"
