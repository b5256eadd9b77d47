"""The operator's pages: every block of docs/smoke-test.md runs and gives what it says;
what deploy.md and operations.md show is so."""

import json
import os
import re
import subprocess

import pytest

from harness import TOP, free_port
from test_docs import blocks, need, rows, text_of

MARK = "--- step "


def pairs():
    """(line, script, expected) of each sh block that a text block follows."""
    page = text_of("docs/smoke-test.md")
    return [(page[:m.start()].count("\n") + 1, m[1], m[2]) for m in re.finditer(
        r"^```sh\n((?:(?!^```).*\n)*)```\n\n```text\n((?:(?!^```).*\n)*)```$", page, re.M)]


def names():
    """The names that the page's first block has the reader choose."""
    first = re.search(r"^```sh\n(.*?)^```$", text_of("docs/smoke-test.md"), re.M | re.S)[1]
    return dict(re.findall(r"^export (\w+)=(\S+)", first, re.M))


def pattern(expected):
    """`…` is anything within a line; alone on one, any number of lines."""
    lines = [r"(?:.*\n)*" if line == "…" else
             ".*".join(map(re.escape, line.split("…"))) + r"\n"
             for line in expected.splitlines()]
    return "".join(lines)


def test_the_smoke_test_passes_as_it_stands(foreman, build):
    for tool in ("curl", "jq", "openssl"):
        need(tool)
    if not os.path.exists(f"{build}/foreman"):
        pytest.skip("the command line is not built: the smoke test is not run")
    chosen = names()
    # the fake's models are those of the page; a generation takes two seconds
    f = foreman(fake=["--model", chosen["MODEL"],
                      "--model", chosen["FOREMAN_EMBED_MODEL"] + ",embed",
                      "--token-ms", "50", "--tokens", "40", "--load-ms", "50"],
                OLLAMA_MAX_LOADED_MODELS="2",
                FOREMAN_EMBED_MODEL=chosen["FOREMAN_EMBED_MODEL"])
    here = {"FOREMAN_OLLAMA_URL": f.settings["FOREMAN_OLLAMA_URL"],
            "FOREMAN_URL": f"http://127.0.0.1:{f.port}",
            "RECEIVER": f"http://127.0.0.1:{free_port()}"}
    assert set(here) < set(chosen)
    chosen.update(here)
    steps = pairs()
    assert len(steps) >= 7
    os.symlink(f"{TOP}/deploy", f"{f.dir}/deploy")
    script = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || :' EXIT\n" + "".join(
        f"echo '{MARK}{line}'\n{text}" for line, text, _ in steps)
    env = {"PATH": f"{build}:{os.environ['PATH']}", "HOME": f.dir, "LANG": "C.UTF-8",
           "FOREMAN_DB": f.db, **chosen}
    ran = subprocess.run(["bash", "-c", script], cwd=f.dir, env=env, timeout=300,
                         capture_output=True, text=True, start_new_session=True)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}\n{f.logs()}"
    came = {int(part.partition("\n")[0]): part.partition("\n")[2]
            for part in ran.stdout.split(MARK)[1:]}
    for line, _, expected in steps:
        assert re.fullmatch(pattern(expected), came[line]), \
            f"line {line}: this came:\n{came[line]}"


# --- docs/deploy.md -------------------------------------------------------------------


def block_with(page, words, kind="sh"):
    [found] = [text for _, _, text in blocks(page, kind) if words in text]
    return found


def test_by_hand_as_the_page_shows_it_serves(foreman, build, tmp_path):
    need("curl")
    f = foreman()  # for its target
    port = free_port()
    script = ("set -eu\ntrap 'kill $(jobs -p); wait' EXIT\n" +
              block_with("deploy", "foreman-responder 2>>") +
              f"until curl -fsS http://127.0.0.1:{port}/readyz; do sleep 0.1; done\n")
    env = {"PATH": f"{build}:{os.environ['PATH']}", "HOME": str(tmp_path), "LANG": "C.UTF-8",
           "FOREMAN_OLLAMA_URL": f.settings["FOREMAN_OLLAMA_URL"],
           "FOREMAN_LISTEN": f":{port}"}
    ran = subprocess.run(["bash", "-c", script], cwd=TOP, env=env, timeout=300,
                         stdout=subprocess.PIPE, text=True)
    assert '"status":"ready"' in ran.stdout
    assert oct(os.stat(tmp_path / "foreman").st_mode)[-3:] == "750"


def test_the_edit_for_tls_gives_a_site_with_a_certificate(tmp_path):
    need("caddy")
    copy = tmp_path / "Caddyfile"
    copy.write_text(text_of("Caddyfile"))
    edit = block_with("deploy", "auto_https off").replace("sudo ", "") \
        .replace("/etc/foreman/Caddyfile", str(copy))
    subprocess.run(["bash", "-euc", edit], check=True, timeout=60)
    made = subprocess.run(["caddy", "adapt", "--adapter", "caddyfile", "--config", str(copy)],
                          capture_output=True, text=True, timeout=30)
    assert made.returncode == 0, made.stderr
    [server] = json.loads(made.stdout)["apps"]["http"]["servers"].values()
    assert server["listen"] == [":443"] and "automatic_https" not in server
    assert server["routes"][0]["match"] == [{"host": ["foreman.example.org"]}]


# --- docs/operations.md ---------------------------------------------------------------


def test_every_alert_is_explained():
    alerts = re.findall(r"^ +- alert: (\w+)$",
                        text_of("deploy/prometheus/foreman.rules.yml"), re.M)
    assert len(alerts) >= 6
    assert [row[0] for row in rows("operations", "alert", "it means", "do")] == alerts


def test_the_look_at_a_glance_works(foreman, build):
    need("curl")
    need("jq")
    f = foreman()
    here = f"http://127.0.0.1:{f.port}"
    script = block_with("operations", "foreman status")
    ran = subprocess.run(
        ["bash", "-euc", script.replace("http://localhost:8080", here)], cwd=f.dir,
        env={"PATH": f"{build}:{os.environ['PATH']}", "HOME": f.dir, "FOREMAN_URL": here,
             "FOREMAN_DB": f.db}, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran
    assert "two slots" in ran.stdout and '"swaps"' in ran.stdout
