"""Real clients of Ollama, unchanged, at pinned versions.

Each script in clients/ uses one client library and prints what its calls gave. It
is run against the target itself and through foreman: the results must be the same,
and so must the bodies that reached the target. The libraries are installed below
the build; where their registries cannot be reached the tests are skipped.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from harness import until

CLIENTS = os.path.join(os.path.dirname(__file__), "clients")
INSTALL_S = 300
PACE = ["--tokens", "3", "--token-ms", "5", "--load-ms", "20"]
MODELS = ["--model", "helper,tools"]


def install(directory, pins, steps):
    """Run the steps in a fresh directory, unless these pins are there already; skip
    the test where one fails."""
    mark = os.path.join(directory, "pins.sha256")
    want = hashlib.sha256()
    for pin in pins:
        with open(os.path.join(CLIENTS, pin), "rb") as f:
            want.update(f.read())
    if os.path.exists(mark) and open(mark).read() == want.hexdigest():
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    for pin in pins:
        shutil.copy(os.path.join(CLIENTS, pin), directory)
    for step in steps:
        try:
            subprocess.run(step, cwd=directory, check=True, timeout=INSTALL_S,
                           stdin=subprocess.DEVNULL, capture_output=True, text=True)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or ""
            pytest.skip(f"cannot install the clients: {error}: {said[-500:]!r}")
    with open(mark, "w") as f:
        f.write(want.hexdigest())
    return directory


# Who cannot reach the registry shall find out soon.
NPM = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1",
       "--fetch-timeout=30000", "--fetch-retry-mintimeout=1000"]


def python_with(directory, pins):
    """The path of a Python that has these."""
    there = install(directory, [pins], [
        [sys.executable, "-m", "venv", "venv"],
        ["venv/bin/python", "-m", "pip", "install", "-q", "--no-deps", "--retries", "1",
         "--timeout", "10", "--only-binary", ":all:", "-r", os.path.basename(pins)]])
    return os.path.join(there, "venv/bin/python")


@pytest.fixture(scope="session")
def below_build(build):
    return os.path.join(build, "clients")


@pytest.fixture(scope="session")
def python(below_build):
    """A Python that has the clients."""
    return [python_with(os.path.join(below_build, "python"), "requirements.txt"), "-I"]


@pytest.fixture(scope="session")
def node(below_build):
    """A Node that finds the clients: it looks beside the script."""
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")
    there = install(os.path.join(below_build, "js"),
                    ["package.json", "package-lock.json"],
                    [["npm", "ci", *NPM]])
    return ["node", there]


@pytest.fixture
def service(foreman, tmp_path):
    f = foreman(fake=PACE + MODELS + ["--log", str(tmp_path / "journal")])
    until(lambda: f.query("SELECT 1 FROM target_tags"), "the models are known")
    f.journal = tmp_path / "journal"
    return f


# What foreman asks of its own accord before it passes an unknown model on.
LOOK = ("/api/show", hashlib.sha256(b'{"model":"nope"}').hexdigest())


def posted(service):
    """(path, sha256 of the body) of every POST the target has got so far."""
    with open(service.journal) as f:
        events = [json.loads(line) for line in f]
    posts = [(e["path"], e["sha256"]) for e in events
             if e["event"] == "request" and e["method"] == "POST"]
    return [post for post in posts if post != LOOK]


def run(service, runner, script, port):
    """The script's results, and what it made reach the target."""
    before = len(posted(service))
    path = os.path.join(CLIENTS, script)
    if runner[0] == "node":
        path = shutil.copy(path, runner[1])
        runner = runner[:1]
    env = {"PATH": os.environ["PATH"], "HOME": service.dir, "LANG": "C.UTF-8"}
    ran = subprocess.run([*runner, path, f"http://127.0.0.1:{port}"], env=env,
                         capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr + service.logs()
    until(lambda: service.stats()["running"] == 0, "the target is idle")
    return json.loads(ran.stdout), posted(service)[before:]


def through_and_direct(service, runner, script):
    """The results through foreman, after they were found to be the target's."""
    direct = run(service, runner, script, service.fake_port)
    through = run(service, runner, script, service.port)
    assert through[0] == direct[0]
    assert through[1] == direct[1]
    return through[0]


MODEL_NOT_FOUND = "model 'nope' not found"
ECHOED = {"chat": "one two three", "stream": ["one", " two", " three"]}


def check_ollama(got):
    assert {"a:latest", "helper:latest", "embedder:latest"} <= set(got["list"])
    assert got["show"] == "gguf"
    for name in ("chat", "tools", "format", "images"):
        assert got[name] == ECHOED["chat"], name
    assert "".join(got["stream"]) == ECHOED["chat"] and len(got["stream"]) == 4
    assert got["generate"] == "one"
    assert "a:latest" in got["ps"]
    assert len(got["embed"]) == 2 and min(got["embed"]) > 0
    assert got["embeddings"] > 0
    assert got["abort"] == [False, False]
    assert got["unknown"] == got["unknown, streamed"] == [404, MODEL_NOT_FOUND]
    assert got["unknown, shown"] == [404, "model 'nope:latest' not found"]
    assert got["error line"][0] == -1 and got["error line"][1]


def check_openai(got):
    assert {"a:latest", "helper:latest", "embedder:latest"} <= set(got["models"])
    assert got["model"] == "model"
    assert got["chat"] == got["tools"] == got["format"] == ECHOED["chat"]
    assert got["stream"] == ECHOED["stream"]
    assert got["usage"] == [3]
    assert got["embeddings"] == [True, True]
    assert got["abort"] == [True, True]
    for name in ("unknown", "unknown, streamed", "unknown, retrieved"):
        status, error = got[name]
        assert status == 404
        assert (error["message"], error["type"]) == (MODEL_NOT_FOUND, "not_found_error")


def test_ollama_python(service, python):
    check_ollama(through_and_direct(service, python, "py_ollama.py"))


def test_ollama_js(service, node):
    check_ollama(through_and_direct(service, node, "js_ollama.mjs"))


def test_openai_python(service, python):
    check_openai(through_and_direct(service, python, "py_openai.py"))


def test_openai_js(service, node):
    check_openai(through_and_direct(service, node, "js_openai.mjs"))


def test_langchain(service, python):
    got = through_and_direct(service, python, "py_langchain.py")
    assert got["chat"] == ECHOED["chat"]
    assert got["stream"] == ECHOED["stream"]
    assert got["embed"] > 0
    assert got["embed many"] == [got["embed"]] * 2
    assert got["unknown"] == [404, MODEL_NOT_FOUND]
