"""The pages docs/go-llm.md and docs/go.md: the patch applies to a model of go-llm, and
what is made of it, and every program shown, runs against the real service."""

import os
import re
import shutil
import subprocess

import pytest

from harness import TOP, until

MODEL = os.path.join(TOP, "tests", "system", "go-llm-model")
PATCH = os.path.join(TOP, "deploy", "go-llm", "foreman.patch")
TOKEN = "a-token-of-the-tests"
PACE = ["--model", "qwen3:8b", "--load-ms", "20", "--token-ms", "5"]
NEEDED = (1, 26)


def go(directory, *args, check=True, **env):
    """Run go with nothing but what is here."""
    return subprocess.run(["go", *args], cwd=directory, check=check, text=True,
                          capture_output=True, timeout=300,
                          env={**os.environ, "GOTOOLCHAIN": "local", "GOPROXY": "off",
                               "GOFLAGS": "-mod=mod", **env})


@pytest.fixture(scope="module", autouse=True)
def toolchain(tmp_path_factory):
    if not shutil.which("go"):
        pytest.skip("no Go here: docs/go-llm.md and docs/go.md are not tested")
    version = go(tmp_path_factory.mktemp("empty"), "env", "GOVERSION").stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if not found or tuple(map(int, found.groups())) < NEEDED:
        pytest.skip(f"Go is {version}, older than 1.26: docs/go-llm.md and docs/go.md "
                    "are not tested")


def programs(page):
    """The page's programs, in order."""
    with open(os.path.join(TOP, "docs", page)) as f:
        return re.findall(r"^```go\n(package main\n.*?)^```$", f.read(), re.M | re.S)


@pytest.fixture(scope="module")
def patched(tmp_path_factory):
    """The model with the patch, and the page's programs as commands of it."""
    there = str(tmp_path_factory.mktemp("go-llm") / "model")
    shutil.copytree(MODEL, there)
    subprocess.run(["git", "apply", "--whitespace=error-all", PATCH], cwd=there, check=True,
                   env={**os.environ, "GIT_CEILING_DIRECTORIES": os.path.dirname(there)})
    for number, text in enumerate(programs("go-llm.md")):
        os.makedirs(f"{there}/cmd/{number}")
        with open(f"{there}/cmd/{number}/main.go", "w") as f:
            f.write(text)
    return there


def told(directory, package, service, token=TOKEN):
    """Build the program for this service; how it ended."""
    main = os.path.join(directory, package, "main.go")
    with open(main) as f:
        text = f.read()
    program = os.path.join(directory, "program")
    with open(main, "w") as f:
        f.write(text.replace("localhost:8080", f"127.0.0.1:{service.port}"))
    try:
        go(directory, "build", "-race", "-o", program, f"./{package}")
    finally:
        with open(main, "w") as f:
            f.write(text)
    return subprocess.Popen(
        [program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "FOREMAN_API_TOKEN": token,
             "FOREMAN_URL": f"http://127.0.0.1:{service.port}"})


def ended(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_the_patch_adds_the_file_and_nothing_else(patched):
    with open(f"{patched}/llm/foreman.go") as f, \
            open(os.path.join(TOP, "deploy", "go-llm", "foreman.go")) as own:
        assert f.read() == own.read()
    left = os.path.join(patched, "llm", "foreman.go")
    listed = {os.path.relpath(os.path.join(at, name), patched)
              for at, _, names in os.walk(patched) for name in names
              if not at.startswith(f"{patched}/cmd")}
    model = {os.path.relpath(os.path.join(at, name), MODEL)
             for at, _, names in os.walk(MODEL) for name in names}
    assert listed - {"program"} == model | {os.path.relpath(left, patched)}


def test_it_builds_and_is_clean(patched):
    go(patched, "build", "./...")
    go(patched, "vet", "./...")
    assert subprocess.run(["gofmt", "-l", "."], cwd=patched, check=True,
                          capture_output=True, text=True).stdout == ""


@pytest.mark.parametrize("number, answer", [(0, "as it is\n"), (1, "by its own name\n")])
def test_a_chat_waits_for_its_turn_like_any(foreman, patched, number, answer):
    f = foreman(PACE, FOREMAN_API_TOKEN=TOKEN)
    assert ended(told(patched, f"cmd/{number}", f)) == (0, answer, "")
    assert f.query("SELECT attended, state, endpoint FROM jobs") == [(1, "done", "/api/chat")]
    status, _, err = ended(told(patched, f"cmd/{number}", f, token="another"))
    assert status == 1 and "401" in err


def test_without_a_token_too(foreman, patched):
    f = foreman(PACE)
    assert ended(told(patched, "cmd/1", f, token="")) == (0, "by its own name\n", "")


@pytest.mark.parametrize("number, answer", [(0, "as it is\n"), (1, "by its own name\n")])
def test_the_spaces_of_a_long_wait_do_no_harm(foreman, patched, number, answer):
    f = foreman(PACE, FOREMAN_KEEPALIVE="100ms")
    ahead = f.busy(model="a")
    process = told(patched, f"cmd/{number}", f)
    until(lambda: f.query("SELECT count(*) FROM jobs WHERE state = 'queued'") == [(1,)],
          "it waits in line")
    f.chat(model="a").close()  # behind it; a keepalive began this one's answer
    assert process.poll() is None
    ahead.close()
    assert ended(process) == (0, answer, "")


def test_the_modules_page_runs(foreman, tmp_path):
    f = foreman(PACE, FOREMAN_API_TOKEN=TOKEN)
    [text] = programs("go.md")
    (tmp_path / "main.go").write_text(text)
    go(tmp_path, "mod", "init", "example.com/ask")
    go(tmp_path, "mod", "edit", "-require", "foreman@v0.0.0", "-replace",
       f"foreman={TOP}/src/go")
    go(tmp_path, "vet", ".")
    assert ended(told(str(tmp_path), ".", f)) == (0, "why the sky is blue\n", "")
