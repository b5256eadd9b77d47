"""deploy/systemd: where `make install` puts the units, how closed they are, and
that the responders' way to the target leads there. (That they start, restart and
come back on a booted machine: docs/deploy.md.)"""

import os
import re
import shutil
import subprocess

import pytest

from harness import TOP, Process, Service, free_port, until

SYSTEMD = os.path.join(TOP, "deploy", "systemd")
PROXY = "/usr/lib/systemd/systemd-socket-proxyd"


def text_of(path):
    with open(os.path.join(TOP, path)) as f:
        return f.read()


def need(tool):
    if not shutil.which(tool):
        pytest.skip(f"no {tool} here: the units are not analysed")


@pytest.fixture
def installed(build, tmp_path):
    """Where `make install` put what belongs to systemd."""
    made = subprocess.run(
        ["make", "-C", build, "install-data", f"DESTDIR={tmp_path}", "prefix=/usr"],
        capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr
    return tmp_path / "usr"


def settings(unit):
    """{key: [values]} of the unit; lines that go on are one."""
    text = re.sub(r"\\\n\s*", " ", unit.read_text())
    found = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.M):
        found.setdefault(key, []).append(value)
    return found


def test_install_places_all_of_it_below_the_prefix(installed):
    units = installed / "lib/systemd/system"
    assert {p.name for p in units.iterdir()} == {
        "foreman-worker.service", "foreman-responder.service",
        "foreman-target.service", "foreman-target.socket"}
    for name in ("worker", "responder"):
        unit = settings(units / f"foreman-{name}.service")
        assert unit["ExecStart"][0].endswith(f"/sbin/foreman-{name}")
    assert (installed / "lib/sysusers.d/foreman.conf").read_text().count("foreman")
    assert "/run/foreman 0750 foreman foreman" in \
        (installed / "lib/tmpfiles.d/foreman.conf").read_text()
    share = {p.name for p in (installed / "share/foreman").iterdir()}
    assert {"Caddyfile", "caddy.service.conf", "env.example", "pull-models.sh"} <= share


# exposure times ten: the threshold systemd-analyze compares with
@pytest.mark.parametrize("name, most", [("worker", 15), ("responder", 6), ("target", 12)])
def test_a_unit_is_closed(installed, name, most):
    need("systemd-analyze")
    unit = installed / f"lib/systemd/system/foreman-{name}.service"
    ran = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                          f"--threshold={most}", str(unit)],
                         capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Overall exposure level" in ran.stdout


def test_the_units_are_understood(installed):
    need("systemd-analyze")
    units = installed / "lib/systemd/system"
    for unit in units.glob("*.service"):
        # what they start is not installed here
        unit.write_text(re.sub(r"/\S*/sbin/foreman-\w+", "/bin/true", unit.read_text()))
    ran = subprocess.run(["systemd-analyze", "verify", "--man=no",
                          *map(str, sorted(units.iterdir()))],
                         capture_output=True, text=True, timeout=60)
    ours = [line for line in ran.stderr.splitlines() if "foreman" in line]
    assert not ours, ran.stderr


def test_both_ends_of_the_private_network_name_each_other(installed):
    """One alone does not do: whichever starts first makes the network."""
    units = installed / "lib/systemd/system"
    responder = settings(units / "foreman-responder.service")
    socket = settings(units / "foreman-target.socket")
    assert responder["JoinsNamespaceOf"] == ["foreman-target.socket"]
    assert socket["JoinsNamespaceOf"] == ["foreman-responder.service"]
    assert responder["PrivateNetwork"] == socket["PrivateNetwork"] == ["yes"]
    assert f"http://{socket['ListenStream'][0]} " in responder["ExecStart"][0]


def test_no_secret_reaches_the_way_to_the_target(installed):
    rows = re.findall(r'\{ "(FOREMAN_\w+)",.*?(true|false) \},', text_of("src/core/setting.c"),
                      re.S)
    secrets = {name for name, secret in rows if secret == "true"}
    assert len(secrets) >= 3
    unit = settings(installed / "lib/systemd/system/foreman-target.service")
    assert set(unit["UnsetEnvironment"][0].split()) == secrets


# --- foreman-target.service's own line ------------------------------------------------


def line(installed):
    """The script of ExecStart=/bin/sh -euc '…', as the shell gets it."""
    unit = settings(installed / "lib/systemd/system/foreman-target.service")
    start = re.fullmatch(r"/bin/sh -euc '(.*)'", unit["ExecStart"][0])
    return start[1].replace("%%", "%").replace("$$", "$")


@pytest.mark.parametrize("url, place", [
    (None, "127.0.0.1:11434"), ("http://mac.lan:11434", "mac.lan:11434"),
    ("http://10.0.0.7:11434/", "10.0.0.7:11434"), ("http://mac.lan", "mac.lan:80"),
    ("http://[fd00::7]:11434", "[fd00::7]:11434"), ("http://[fd00::7]", "[fd00::7]:80"),
    ("http://mac.lan:1/ollama/x", "mac.lan:1")])
def test_the_target_is_found_in_its_url(installed, tmp_path, url, place):
    program = tmp_path / "proxyd"
    program.write_text("#!/bin/sh\nfor last; do :; done\necho \"$last\"\n")
    program.chmod(0o755)
    env = {"PATH": os.environ["PATH"], **({"FOREMAN_OLLAMA_URL": url} if url else {})}
    ran = subprocess.run(["/bin/sh", "-euc", line(installed).replace(PROXY, str(program))],
                         env=env, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == place


def test_the_way_to_the_target_leads_there(build, installed, tmp_path):
    need("systemd-socket-activate")
    if not os.path.exists(PROXY):
        pytest.skip(f"no {PROXY} here")
    service = Service(build)
    try:
        service.start_fake()
        port = free_port()
        env = {"PATH": os.environ["PATH"],
               "FOREMAN_OLLAMA_URL": service.settings["FOREMAN_OLLAMA_URL"]}
        way = Process("way", ["systemd-socket-activate", "--setenv=FOREMAN_OLLAMA_URL",
                              f"--listen=127.0.0.1:{port}", "/bin/sh", "-euc",
                              line(installed)], env, str(tmp_path / "way.log"))
        try:
            until(lambda: "Listening on" in way.text(), "the socket listens")
            service.fake_port, there = port, service.fake_port
            assert "version" in service.direct("GET", "/api/version").json()
            service.fake_port = there
        finally:
            way.stop()
    finally:
        assert not service.stop()
