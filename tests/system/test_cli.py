"""The command line, as it is typed: every command, its exit codes, a terminal."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness import SECRET, TOP, free_port, until

ID = re.compile(r"^[0-9A-Z]{26}$")
NO_SUCH = "01M7XTZDW58JFZWPE0P2PW2C7G"


class Cli:
    """`foreman` with a service, if any."""

    def __init__(self, build, service=None, **env):
        self.argv = [os.path.join(build, "foreman")]
        self.service = service
        self.env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm"}
        if service:
            self.env["FOREMAN_URL"] = f"http://127.0.0.1:{service.port}"
            self.env["FOREMAN_DB"] = service.db
        self.env.update(env)

    def __call__(self, *words, stdin="", code=0, **env):
        """What it printed to stdout; it must leave with `code`."""
        return self.both(*words, stdin=stdin, code=code, **env)[0]

    def both(self, *words, stdin="", code=0, **env):
        ran = subprocess.run(self.argv + list(words), input=stdin, capture_output=True,
                             text=True, timeout=60, env={**self.env, **env})
        assert ran.returncode == code, (words, ran)
        return ran.stdout, ran.stderr

    def says(self, *words, code, stdin="", **env):
        """The complaint, which is one line of its own."""
        out, err = self.both(*words, stdin=stdin, code=code, **env)
        assert out == "", out
        assert err.startswith("foreman: ") and err.count("\n") == 1, err
        return err[len("foreman: "):-1]

    def json(self, *words, **more):
        return json.loads(self(*words, "--json", **more))

    def start(self, *words, **env):
        return subprocess.Popen(self.argv + list(words), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env={**self.env, **env})

    def submit(self, model="a", *words, **more):
        id = self("submit", f"--model={model}", *words, stdin="hello", **more).strip()
        assert ID.match(id)
        return id


class Terminal:
    """The program on a terminal of 80 columns."""

    def __init__(self, cli, *words, stdin=None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            if stdin is not None:
                read, write = os.pipe()
                os.write(write, stdin.encode())
                os.close(write)
                os.dup2(read, 0)
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.execve(cli.argv[0], cli.argv + list(words), cli.env)
        self.text = ""

    def until(self, pattern, seconds=60):
        """Read until the pattern is there; the match."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, (pattern, self.text)
            if not select.select([self.fd], [], [], 1)[0]:
                continue
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:  # it has left
                assert re.search(pattern, self.text), (pattern, self.text)
        return found

    def key(self, byte):
        os.write(self.fd, byte)

    def finish(self, seconds=60):
        end = time.monotonic() + seconds
        while True:
            assert time.monotonic() < end, ("it does not leave", self.text)
            if not select.select([self.fd], [], [], 1)[0]:
                continue
            try:
                piece = os.read(self.fd, 65536)
            except OSError:
                break
            if not piece:
                break
            self.text += piece.decode(errors="replace")
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def drawn(self):
        """What was on a line at any time, without the codes that drew it."""
        lines = re.split(r"\r\x1b\[K|\r?\n|\x1b\[H\x1b\[J", self.text)
        return [re.sub(r"\x1b\[\w", "", line) for line in lines]


@pytest.fixture
def cli(foreman, build):
    return Cli(build, foreman(fake=["--load-ms", "0", "--tokens", "10"]))


def check_width(text, columns=80):
    for line in text.splitlines():
        assert len(line) <= columns, line


# --- what needs no service -----------------------------------------------------------


def commands(cli):
    return re.findall(r"^  ([a-z]+(?: (?:list|redeliver|verify|listen|check|backup|stats"
                      r"|ready))?)", cli("--help"), re.M)


def test_help_fits_a_screen(build):
    cli = Cli(build)
    assert len(cli("--help").splitlines()) <= 30
    assert len(commands(cli)) >= 18
    for command in commands(cli):
        text = cli(*command.split(), "--help")
        check_width(text)
        assert len(text.splitlines()) <= 24, text
        assert text.startswith(f"usage: foreman {command} ")
        assert cli("help", *command.split()) == text


def test_wrong_usage_is_64_and_says_what_is_wrong(build):
    cli = Cli(build)
    assert "there is no command nonsense" in cli.says("nonsense", code=64)
    assert "there is no option --nonsense" in cli.says("status", "--nonsense", code=64)
    assert "needs a value" in cli.says("submit", "--model", code=64)
    assert "operand" in cli.says("show", "a", "b", code=64)
    assert "usage: foreman show" in cli.says("show", code=64)
    assert "must be a duration" in cli.says("wait", "x", "--timeout=soon", code=64)
    assert "no http URL" in cli.says("status", "--url=nonsense", code=64)
    assert "--timeout goes with --wait" in cli.says("submit", "--timeout=2s", code=64,
                                                    stdin="{}")
    out, err = cli.both("webhooks", code=64)
    assert out == "" and "webhooks redeliver" in err
    out, err = cli.both(code=64)
    assert out == "" and err.startswith("usage: foreman COMMAND")
    assert cli("--version").startswith("foreman ")


def test_nobody_there_is_69_and_another_server_76(build):
    cli = Cli(build, FOREMAN_URL=f"http://127.0.0.1:{free_port()}")
    for words in (["status"], ["jobs"], ["show", NO_SUCH], ["wait", NO_SUCH],
                  ["cancel", NO_SUCH], ["rm", NO_SUCH], ["stream", NO_SUCH],
                  ["artifact", NO_SUCH], ["webhooks", "list"], ["submit"]):
        cli.says(*words, stdin='{"model":"a"}', code=69)
    server = subprocess.Popen(["python3", "-u", "-m", "http.server", "--bind",
                               "127.0.0.1", "0"], cwd="/var/empty" if
                              os.path.isdir("/var/empty") else "/",
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True)
    try:
        port = re.search(r"port (\d+)", server.stdout.readline())[1]
        cli.says("status", f"--url=http://127.0.0.1:{port}", code=76)
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def test_completion_completes_in_bash(build):
    cli = Cli(build)
    asked = """
eval "$(foreman completion bash)"
complete() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _foreman foreman "${!#}" "" 2>/dev/null; echo "${COMPREPLY[*]}"; }
complete foreman st
complete foreman webhooks re
complete foreman submit --mo
complete foreman status --
"""
    ran = subprocess.run(["bash", "-uc", asked], capture_output=True, text=True, env={
        **cli.env, "PATH": os.path.dirname(cli.argv[0]) + ":" + cli.env["PATH"]})
    assert ran.stdout.splitlines() == [
        "status stream", "redeliver", "--model=", "--watch --json --url= --help"], ran
    assert "completion is for" in cli.says("completion", "tcsh", code=64)


def test_completion_is_good_fish(build, tmp_path):
    if not shutil.which("fish"):
        pytest.skip("no fish here: its completion is not tested")
    cli = Cli(build, HOME=str(tmp_path))
    (tmp_path / "c.fish").write_text(cli("completion", "fish"))
    ran = subprocess.run(["fish", "-c", f"source {tmp_path}/c.fish; "
                          "complete -C 'foreman webhooks re'; complete -C 'foreman jobs --st'"],
                         capture_output=True, text=True, env=cli.env)
    assert ran.returncode == 0 and ran.stderr == "", ran
    assert ran.stdout.splitlines()[0].startswith("redeliver\tsend again")
    assert "--state" in ran.stdout


def test_completion_completes_in_zsh(build, tmp_path):
    if not shutil.which("zsh"):
        pytest.skip("no zsh here: its completion is not tested")
    shell = Cli(build, HOME=str(tmp_path))
    shell.env["PATH"] = os.path.dirname(shell.argv[0]) + ":" + shell.env["PATH"]
    shell.argv = [shutil.which("zsh"), "-f"]
    terminal = Terminal(shell)
    terminal.key(b"source <(foreman completion zsh); print rea''dy\n")
    terminal.until("ready\r")
    terminal.key(b"foreman webhooks re\t")
    terminal.until("webhooks redeliver")
    terminal.key(b"\x15foreman submit --mo\t")
    terminal.until("submit --model=")
    terminal.key(b"\x15exit\n")
    terminal.finish()


# --- submitting ----------------------------------------------------------------------


def test_a_question_is_submitted_waited_for_and_fetched(cli):
    id = cli.submit("a")
    out, err = cli.both("wait", id)
    assert re.search(r"^state +done$", out, re.M)
    assert f"{id} done in" in err
    assert len(cli("artifact", id).split()) > 3
    assert json.loads(cli("artifact", id, "response"))["done"] is True
    assert cli.json("show", id)["state"] == "done"
    assert cli("artifact", id).strip() == \
        cli("submit", "--model=a", "--wait", stdin="hello").strip()


def test_a_request_of_ones_own_goes_as_it_is(cli, tmp_path):
    request = '{"model": "a",  "prompt":"hi", "options":{"fake_tokens":3}}'
    path = tmp_path / "request.json"
    path.write_text(request)
    id = cli("submit", "--endpoint=/api/generate", str(path)).strip()
    cli("wait", id)
    assert cli.json("show", id)["endpoint"] == "/api/generate"
    embedding = cli("submit", "--endpoint=/api/embed", "--model=embedder", "--wait", "-",
                    stdin="words")
    assert re.search(r"^artifact +response", embedding, re.M)


def test_the_options_of_submit_reach_the_job(cli, receiver):
    hooks = receiver()
    id = cli.submit("a", "--metadata", '{"ticket":"4711"}', f"--webhook={hooks.url}",
                    "--events=done", "--expires-in=1h", "--run-timeout=10m", "--key=once")
    job = cli.json("wait", id)
    assert job["metadata"] == {"ticket": "4711"}
    until(lambda: hooks.deliveries, "the webhook comes")
    assert [d.type for d in hooks.deliveries] == ["job.done"]
    # the same key: the same job
    assert cli.submit("a", "--metadata", '{"ticket":"4711"}', f"--webhook={hooks.url}",
                      "--events=done", "--expires-in=1h", "--run-timeout=10m",
                      "--key=once") == id
    cli.says("submit", "--model=b", "--key=once", stdin="x", code=64)
    assert len(cli.json("jobs")["jobs"]) == 1


def test_what_is_no_request_is_refused(cli, tmp_path):
    assert "no JSON object" in cli.says("submit", stdin="{", code=64)
    assert "no JSON object" in cli.says("submit", stdin="[]", code=64)
    assert cli.says("submit", stdin="{}", code=64)
    assert "empty" in cli.says("submit", stdin="", code=65)
    assert "no text" in cli.says("submit", stdin='{"model":"a"}\0', code=65)
    assert "cannot open" in cli.says("submit", str(tmp_path / "none"), code=66)
    assert "metadata" in cli.says("submit", "--model=a", "--metadata=x", stdin="hi", code=64)
    assert "--events needs --webhook" in cli.says("submit", "--model=a", "--events=done",
                                                  stdin="hi", code=64)
    assert cli.json("jobs")["jobs"] == []


def test_a_stream_is_printed_while_it_is_written(cli):
    text = cli("submit", "--model=a", "--stream", stdin="hello")
    id = cli.json("jobs")["jobs"][0]["id"]
    assert text == cli("artifact", id) + "\n"
    lines = cli("submit", "--model=a", "--stream", "--json", stdin="hello").splitlines()
    assert len(lines) > 5 and json.loads(lines[-1])["done"] is True
    assert cli("stream", id).splitlines()[-1].startswith('{"model":"a"')
    # one that the request does not ask to stream comes at its end
    whole = cli("submit", "--stream", stdin=json.dumps(
        {"model": "a", "messages": [{"role": "user", "content": "hello"}]}))
    assert whole == text


def test_pieces_come_before_the_end(cli):
    request = {"model": "a", "stream": True, "options": {"fake_tokens": 1000,
                                                         "fake_token_ms": 50},
               "messages": [{"role": "user", "content": "hello"}]}
    going = cli.start("submit", "--stream")
    going.stdin.write(json.dumps(request))
    going.stdin.close()
    assert going.stdout.read(3)
    job = cli.json("jobs")["jobs"][0]
    assert job["state"] == "working"
    cli("cancel", job["id"])
    assert going.wait(60) == 1
    assert "canceled" in going.stderr.read()
    going.stdout.close(), going.stderr.close()


def test_a_failed_job_is_1_and_says_why(cli):
    out, err = cli.both("submit", "--model=nobody", "--wait", stdin="hi", code=1)
    assert "model_not_found" in err and "not found" in err
    assert re.search(r"^state +failed: model_not_found$", out, re.M)
    id = cli.json("jobs")["jobs"][0]["id"]
    assert cli.both("wait", id, code=1)
    assert "model_not_found" in cli("show", id)  # showing it is no failure
    cli.both("submit", "--model=nobody", "--stream", stdin="hi", code=1)


def slow(cli, tokens=100000):
    """The id of a job that works for long."""
    request = {"model": "a", "stream": True, "messages": [{"role": "user", "content": "x"}],
               "options": {"fake_tokens": tokens, "fake_token_ms": 50}}
    id = cli("submit", stdin=json.dumps(request)).strip()
    cli.service.wait_job(id, "working")
    return id


def test_a_wait_that_is_over_is_75(cli):
    id = slow(cli)
    assert "still working" in cli.both("wait", id, "--timeout=1s", code=75)[1]
    _, err = cli.both("submit", "--model=b", "--wait", "--timeout=1s", stdin="x", code=75)
    assert "queued" in err
    cli("cancel", id)


def test_whoever_interrupts_is_told_that_the_job_goes_on(cli):
    id = slow(cli)
    going = cli.start("wait", id)
    assert "working" in going.stderr.readline()
    going.send_signal(signal.SIGINT)
    assert going.wait(20) == -signal.SIGINT
    assert f"{id} goes on" in going.stderr.read()
    going.stdin.close(), going.stdout.close(), going.stderr.close()
    assert cli.json("show", id)["state"] == "working"
    cli("cancel", id)


# --- jobs ----------------------------------------------------------------------------


def test_jobs_are_listed_filtered_and_paged(cli):
    ids = [cli.submit(model) for model in ("a", "b", "a")]
    for id in ids:
        cli("wait", id)
    text = cli("jobs")
    check_width(text)
    assert [line.split()[0] for line in text.splitlines()[1:]] == ids[::-1]
    assert [j["id"] for j in cli.json("jobs", "--model=b")["jobs"]] == [ids[1]]
    assert cli.json("jobs", "--state=queued")["jobs"] == []
    out, err = cli.both("jobs", "--limit=2")
    assert len(out.splitlines()) == 3
    again = re.search(r"foreman jobs (--before=\S+)", err)[1]
    assert [line.split()[0] for line in cli("jobs", again).splitlines()[1:]] == ids[:1]
    cli.says("jobs", "--state=nonsense", code=64)
    cli.says("jobs", "--limit=x", code=64)


def test_jobs_are_cancelled_and_removed(cli):
    running, waiting = slow(cli), cli.submit("b")
    assert cli("cancel", waiting) == f"{waiting} failed\n"
    assert re.match(rf"{running} (is being canceled|failed)$", cli("cancel", running))
    assert cli.json("cancel", waiting)["reason"] == "canceled"
    cli.service.wait_job(running, "failed")
    assert cli("rm", waiting) == ""
    assert cli.json("rm", running) == {"removed": running}
    for words in (["show"], ["rm"], ["cancel"], ["wait"], ["stream"], ["artifact"]):
        assert "removed" in cli.says(*words, waiting, code=66)
        assert cli.says(*words, NO_SUCH, code=66)
        assert "not a job id" in cli.says(*words, "nonsense", code=64)
    # one that is not there does not keep the others
    other = cli.submit("b")
    cli.both("rm", NO_SUCH, other, code=66)
    assert cli.json("jobs")["jobs"] == []


def test_artifacts_go_where_they_are_told(cli, tmp_path):
    id = cli.submit("a")
    cli("wait", id)
    path = tmp_path / "answer"
    assert cli("artifact", id, "--output", str(path)) == ""
    assert path.read_text() == cli("artifact", id)
    row = cli.json("artifact", id, "response")
    assert row["name"] == "response" and row["bytes"] > 10
    assert "cannot write" in cli.says("artifact", id, "--output=/nonexistent/x", code=73)
    cli.says("artifact", id, "nonsense", code=66)
    cli.says("artifact", id, "nonsense", "--json", code=66)
    cli.says("artifact", id, "../queue", code=64)


def test_a_reader_that_leaves_is_no_error(cli):
    id = cli.submit("a")
    cli("wait", id)
    program = cli.argv[0]
    for words in ("jobs", f"show {id}", f"stream {id}", f"artifact {id} response",
                  "status --watch", "completion bash", "--help"):
        ran = subprocess.run(["bash", "-c", f"{program} {words} | true; "
                              "echo ${PIPESTATUS[0]}"], capture_output=True, text=True,
                             timeout=60, env=cli.env)
        assert (ran.stdout, ran.stderr) == ("0\n", ""), (words, ran)
    for words in ("jobs", f"stream {id}", f"artifact {id}", "--help"):
        ran = subprocess.run(["bash", "-c", f"{program} {words} >/dev/full"],
                             capture_output=True, text=True, timeout=60, env=cli.env)
        assert ran.returncode == 74, words
        assert ran.stderr == "foreman: cannot write: No space left on device\n"


# --- the token -----------------------------------------------------------------------


def test_a_token_is_needed_where_one_is_set(foreman, build, tmp_path):
    token = "0123456789abcdef"
    service = foreman(FOREMAN_API_TOKEN=token)
    cli = Cli(build, service)
    assert cli.says("status", code=77)
    cli.says("jobs", code=77, FOREMAN_API_TOKEN="wrong")
    cli("status", FOREMAN_API_TOKEN=token)
    path = tmp_path / "token"
    path.write_text(token + "\n")
    cli("status", FOREMAN_API_TOKEN_FILE=str(path))
    cli.says("status", code=66, FOREMAN_API_TOKEN_FILE=str(tmp_path / "none"))
    assert "FAULT" in cli("doctor", code=1)
    out = cli("doctor", FOREMAN_API_TOKEN=token)
    assert "FAULT" not in out


# --- status --------------------------------------------------------------------------


def test_status_fits_80_columns(cli):
    long = "registry.example.org/library/a-model-with-a-very-long-name-indeed:70b-instruct-q8"
    text = cli("status")
    check_width(text)
    assert re.search(r"^target +up for .*Ollama", text, re.M)
    assert re.search(r"^running +nothing$", text, re.M)
    id = slow(cli)
    cli.submit("b")
    cli.submit("b")
    cli.both("submit", f"--model={long}", stdin="x")
    text = cli("status")
    check_width(text)
    assert re.search(r"^running +a:?\w* working \d+ m?s", text, re.M), text
    assert id in text
    assert re.search(r"^waiting +3$", text, re.M)
    assert re.search(r"^ +2 unattended  oldest .* b", text, re.M)
    assert "…" in text  # the long one
    queue = cli.json("status")
    assert queue["running"]["id"] == id
    cli("cancel", id)


def test_status_watches_on_a_terminal(cli):
    terminal = Terminal(cli, "status", "--watch")
    terminal.until(r"(?s)loads .*\x1b\[H\x1b\[J.*loads ")
    id = slow(cli)
    terminal.until(f"(?s)running +a.*working.*{id}")
    terminal.key(b"\x03")
    assert terminal.finish() == -signal.SIGINT
    assert max(len(line) for line in terminal.drawn()) <= 80
    cli("cancel", id)


def test_progress_is_one_line_on_a_terminal_and_plain_lines_elsewhere(cli):
    first = slow(cli)
    terminal = Terminal(cli, "submit", "--model=b", "--wait", stdin="hello")
    terminal.until(r"queued \d+ s, place 1 for b")
    assert "\n" not in terminal.text
    plain = cli.start("submit", "--model=b", "--wait")
    plain.stdin.write("hello")
    plain.stdin.close()
    line = plain.stderr.readline()
    assert re.match(r"[0-9A-Z]{26} queued \d+ m?s, place \d for b", line), line
    cli("cancel", first)
    assert terminal.finish() == 0
    drawn = [line for line in terminal.drawn() if line]
    assert max(len(line) for line in drawn) < 80
    assert re.search(r"done in .* tokens", terminal.text)
    assert plain.wait(60) == 0
    rest = plain.stderr.read()
    assert "\r" not in rest and "\x1b" not in rest
    assert rest.splitlines()[-1].split()[1:3] == ["done", "in"]
    plain.stdout.close(), plain.stderr.close()


# --- webhooks ------------------------------------------------------------------------


def test_webhooks_are_listed_and_sent_again(cli, receiver):
    hooks = receiver(lambda n, headers, event: 410 if n == 0 else 204)
    id = cli.submit("a", f"--webhook={hooks.url}", "--events=done")
    cli("wait", id)
    dead = until(lambda: cli.json("webhooks", "list", "--state=dead")["webhooks"], "it is dead")
    text = cli("webhooks", "list")
    check_width(text)
    assert dead[0]["id"][:30] in text and "dead" in text
    assert "will be sent again" in cli("webhooks", "redeliver", dead[0]["id"])
    until(lambda: cli.json("webhooks", "list", "--state=delivered")["webhooks"],
          "it is delivered")
    assert cli.json("webhooks", "list")["webhooks"] == []
    since = cli.json("webhooks", "redeliver", "--since=2026-01-01T00:00:00Z")
    assert since["redelivered"] == 0
    assert cli("webhooks", "redeliver", "--since=2026-01-01T00:00:00Z") == \
        "0 will be sent again\n"
    cli.says("webhooks", "redeliver", code=64)
    cli.says("webhooks", "redeliver", "../jobs", code=64)
    cli.says("webhooks", "redeliver", "evt_01M7XTZDW58JFZWPE0P2PW2C7G", code=66)
    cli.says("webhooks", "list", "--state=nonsense", code=64)


def test_deliveries_are_listened_to_and_verified(foreman, build, receiver, tmp_path):
    service = foreman(FOREMAN_WEBHOOK_SECRET=SECRET)
    cli = Cli(build, service)
    hooks = receiver()
    cli("wait", cli.submit("a", f"--webhook={hooks.url}", "--events=done"))
    until(lambda: hooks.deliveries, "the webhook comes")
    got = hooks.deliveries[0]
    body = tmp_path / "body"
    body.write_bytes(got.body)
    options = [f"--id={got.headers['webhook-id']}",
               f"--timestamp={got.headers['webhook-timestamp']}",
               f"--signature={got.headers['webhook-signature']}"]
    known = {"FOREMAN_WEBHOOK_SECRET": SECRET}
    assert cli("webhooks", "verify", str(body), *options, **known) == "good\n"
    assert cli("webhooks", "verify", "-", *options, stdin=got.body.decode(), **known)
    assert cli.json("webhooks", "verify", str(body), *options, **known)["good"] is True
    body.write_bytes(got.body + b" ")
    assert "no signature fits" in cli.says("webhooks", "verify", str(body), *options,
                                           code=1, **known)
    assert cli.json("webhooks", "verify", str(body), *options, code=1,
                    **known)["good"] is False
    cli.says("webhooks", "verify", str(body), *options, code=64)  # no secret
    cli.says("webhooks", "verify", str(body), code=64, **known)
    cli.says("webhooks", "verify", str(tmp_path / "none"), *options, code=66, **known)


def test_deliveries_can_be_looked_at(foreman, build):
    service = foreman(FOREMAN_WEBHOOK_SECRET=SECRET)
    cli = Cli(build, service)
    listening = cli.start("webhooks", "listen", "0", FOREMAN_WEBHOOK_SECRET=SECRET)
    port = re.search(r":(\d+)/", listening.stderr.readline())[1]
    id = cli.submit("a", f"--webhook=http://127.0.0.1:{port}/", "--events=done")
    line = listening.stdout.readline()
    assert re.match(rf"evt_\w+ +job\.done +{id} signed$", line), line
    ran = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-d",
                          "\x1b[2J", f"http://127.0.0.1:{port}/"],
                         capture_output=True, text=True, timeout=30)
    assert ran.stdout == "400"
    assert "does not fit" in listening.stderr.readline()
    listening.terminate()
    listening.wait(20)
    listening.stdin.close(), listening.stdout.close(), listening.stderr.close()


# --- the doctor ----------------------------------------------------------------------


def findings(cli, code=0, **env):
    found = {}
    for row in cli.json("doctor", code=code, **env):
        found.setdefault(row["check"], row)
    return found


def test_the_doctor_finds_a_well_service_well(cli):
    id = slow(cli)
    text = cli("doctor")
    check_width(text.replace(cli.service.dir, ""))
    found = findings(cli)
    for check in ("service", "clock", "target", "streaming", "permissions", "schema",
                  "disk", "log"):
        assert found[check]["level"] == "ok", found[check]
    assert found["two slots"]["level"] == "unknown"
    assert findings(cli, FOREMAN_EMBED_MODEL="embedder")["two slots"]["level"] == "warning"
    cli("cancel", id)


def test_the_doctor_sees_a_proxy_that_holds_streams_back(cli):
    caddyfile = f"{cli.service.dir}/Caddyfile"
    port = free_port()
    with open(caddyfile, "w") as f:
        f.write("{\n admin off\n auto_https off\n}\nhttp://:%d {\n"
                " reverse_proxy unix/%s/responder.sock {\n  transport fastcgi {\n"
                "   root /nonexistent\n  }\n }\n}\n" % (port, cli.service.dir))
    caddy = cli.service.spawn("caddy2", ["caddy", "run", "--adapter", "caddyfile",
                                         "--config", caddyfile])
    url = f"http://127.0.0.1:{port}"
    until(lambda: "serving initial configuration" in caddy.text(), "Caddy serves")
    # a reply that is slow: nothing fills the proxy's buffer
    request = {"model": "a", "stream": True, "messages": [{"role": "user", "content": "x"}],
               "options": {"fake_tokens": 1000, "fake_token_ms": 1000}}
    id = cli("submit", stdin=json.dumps(request)).strip()
    cli.service.wait_job(id, "loading", "working")
    found = findings(cli, code=1, FOREMAN_URL=url)
    assert found["streaming"]["level"] == "FAULT"
    assert "flush_interval" in found["streaming"]["text"]
    assert findings(cli)["streaming"]["level"] == "ok"
    cli("cancel", id)


def test_the_doctor_finds_what_is_wrong(cli, build):
    os.chmod(cli.service.db, 0o644)
    assert findings(cli, code=1)["permissions"]["level"] == "FAULT"
    os.chmod(cli.service.db, 0o640)
    assert findings(cli)["streaming"]["level"] == "unknown"
    assert findings(cli, FOREMAN_API_TOKEN="short")["token"]["level"] == "warning"
    assert findings(cli, FOREMAN_API_TOKEN="a" * 40)["token"]["level"] == "warning"
    assert "token" not in findings(cli, FOREMAN_API_TOKEN="9sK2nQ8vX4mB7tR1")
    assert findings(cli, FOREMAN_DB="/nonexistent")["database"]["level"] == "unknown"
    nobody = f"http://127.0.0.1:{free_port()}"
    assert findings(cli, code=1, FOREMAN_URL=nobody)["service"]["level"] == "FAULT"
    cli.service.fake.stop()
    until(lambda: cli.service.get("/queue").json()["target"]["state"] == "unreachable",
          "the target is missed")
    found = findings(cli)
    assert found["target"]["level"] == "warning" and "jobs wait" in found["target"]["text"]
    cli.service.worker.stop()
    cli.service.change("UPDATE status SET heartbeat_ms = heartbeat_ms - 60000")
    assert findings(cli, code=1)["worker"]["level"] == "FAULT"


def test_the_doctor_compares_the_clocks(build):
    """A server whose Date is an hour off."""
    import http.server

    class Late(http.server.BaseHTTPRequestHandler):
        def date_time_string(self, timestamp=None):
            return super().date_time_string(time.time() - 3600)

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Late)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        cli = Cli(build, FOREMAN_URL=f"http://127.0.0.1:{server.server_port}",
                  FOREMAN_DB="/nonexistent")
        clock = findings(cli, code=1)["clock"]
        assert clock["level"] == "FAULT"
        assert re.search(r"-(3599|360\d) s off", clock["text"])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- the database --------------------------------------------------------------------


def test_the_database_is_checked_copied_and_counted(cli, tmp_path):
    cli("wait", cli.submit("a"))
    assert cli("db", "check") == "ok\n"
    assert cli.json("db", "check") == {"ok": True}
    assert re.search(r"^done +1$", cli("db", "stats"), re.M)
    stats = cli.json("db", "stats")
    assert stats["done"] == 1 and stats["artifacts"] >= 1
    copy = str(tmp_path / "copy.db")
    assert cli("db", "backup", copy) == ""
    assert cli.json("db", "backup", copy + "2") == {"backup": copy + "2"}
    assert cli.json("db", "stats", f"--db={copy}")["done"] == 1
    cli.says("db", "backup", copy, code=73)
    cli.says("db", "check", "--db=/nonexistent/x.db", code=66)
    (tmp_path / "junk").write_bytes(b"no database" * 1000)
    cli.says("db", "check", f"--db={tmp_path}/junk", code=65)


# --- docs/cli.md ---------------------------------------------------------------------


def page():
    with open(f"{TOP}/docs/cli.md") as f:
        return f.read()


def test_the_examples_of_the_page_work(foreman, build):
    if not shutil.which("jq"):
        pytest.skip("no jq here: the examples are not run")
    service = foreman(fake=["--load-ms", "0", "--tokens", "10", "--model", "qwen3:8b",
                            "--model", "all-minilm,embed"])
    cli = Cli(build, service)
    examples = re.findall(r"^```sh\n(.*?)^```$", page(), re.M | re.S)
    assert len(examples) > 6
    ran = subprocess.run(["bash", "-c", "set -euo pipefail\n" + "\n".join(examples)],
                         cwd=service.dir, capture_output=True, text=True, timeout=120,
                         env={**cli.env, "PATH": os.path.dirname(cli.argv[0]) + ":" +
                              cli.env["PATH"]})
    assert ran.returncode == 0, ran


def test_the_page_names_every_command_and_fits_its_screens(build):
    text = page()
    for command in commands(Cli(build)):
        assert f"foreman {command}" in text or f"`{command}`" in text, command
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    screens = [block for kind, block in blocks if not kind]
    assert len(screens) == 4
    for screen in screens:
        for line in screen.splitlines():
            if not line.startswith("foreman: "):
                assert len(line) <= 80, line
