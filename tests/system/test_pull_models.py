"""deploy/pull-models.sh against the fake Ollama: what it pulls, shows and finds."""

import os
import subprocess

import pytest

from harness import TOP, Service

SCRIPT = os.path.join(TOP, "deploy", "pull-models.sh")


@pytest.fixture
def target(build):
    """A function that starts a fake Ollama with so many slots; nothing else."""
    services = []

    def start(slots=2, *flags):
        service = Service(build, flags, OLLAMA_MAX_LOADED_MODELS=str(slots))
        services.append(service)
        service.start_fake()
        return service

    yield start
    wrong = [text for service in services for text in service.stop()]
    assert not wrong, "\n".join(wrong)


def pull(target, *arguments, shell="sh", **env):
    full = {"PATH": os.environ["PATH"], "FOREMAN_EMBED_MODEL": "embedder",
            "FOREMAN_OLLAMA_URL": target.settings["FOREMAN_OLLAMA_URL"], **env}
    return subprocess.run([shell, SCRIPT, *arguments], env=full, capture_output=True,
                          text=True, timeout=60)


def forget(target, *models):
    for model in models:
        assert target.direct("DELETE", "/api/delete", {"model": model}).status == 200



@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_what_is_missing_is_pulled_with_its_progress_and_both_stay(target, shell):
    t = target()
    forget(t, "a", "embedder")
    ran = pull(t, "a", "b", shell=shell)
    assert ran.returncode == 0, ran
    out = ran.stdout
    assert "a: pulling manifest\na: pulling " in out and ", 100 % of " in out
    assert "a: success" in out and "embedder: success" in out and "b: is there" in out
    assert out.endswith("a: is resident\nembedder: is resident\nboth stay resident\n")
    resident = {m["name"]: m for m in t.direct("GET", "/api/ps").json()["models"]}
    assert set(resident) == {"a:latest", "embedder:latest"}


def test_a_second_run_pulls_nothing_and_an_update_asks_for_all(target):
    t = target()
    assert pull(t, "a").returncode == 0
    again = pull(t, "a")
    assert again.returncode == 0 and "manifest" not in again.stdout, again
    update = pull(t, "--update", "a")
    assert update.returncode == 0, update
    assert update.stdout.count("pulling manifest") == 2


def test_one_slot_is_found_out_and_explained(target):
    ran = pull(target(1), "a")
    assert ran.returncode == 1
    assert "embedder did not stay loaded beside the other" in ran.stderr
    assert "OLLAMA_MAX_LOADED_MODELS=2" in ran.stderr and "launchctl" in ran.stderr


def test_a_model_that_no_registry_has_fails_with_the_targets_words(target):
    ran = pull(target(), "nowhere")
    assert ran.returncode == 1
    assert "nowhere: pull model manifest: file does not exist" in ran.stdout
    assert "nowhere was not pulled" in ran.stderr


def test_no_target_is_said_and_nothing_waits(target):
    t = target()
    t.fake.kill()
    ran = pull(t, "a")
    assert ran.returncode == 1 and "no Ollama at http://127.0.0.1:" in ran.stderr


@pytest.mark.parametrize("arguments, env", [
    ((), {"FOREMAN_EMBED_MODEL": ""}), (("--unknown", "a"), {}), (("a b",), {}),
    (('a","stream":false,"x":"',), {}), (("a",), {"FOREMAN_EMBED_MODEL": 'x"y'})])
def test_what_it_cannot_mean_is_a_usage_error(target, arguments, env):
    assert pull(target(), *arguments, **env).returncode == 64


def test_one_model_alone_is_loaded_and_that_is_said(target):
    ran = pull(target(1), "a", FOREMAN_EMBED_MODEL="")
    assert ran.returncode == 0 and "whether two stay was not tried" in ran.stdout


def fake_systemctl(directory, units="ollama.service"):
    """A systemctl that knows one unit and writes down what it is told."""
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, "systemctl")
    with open(path, "w") as f:
        f.write(f"#!/bin/sh\necho \"$@\" >>{directory}/told\n"
                f"[ \"$1\" != cat ] || [ \"$2\" = {units} ]\n")
    os.chmod(path, 0o755)
    return f"{directory}:{os.environ['PATH']}", os.path.join(directory, "told")


def test_set_writes_the_units_settings_once(target, tmp_path):
    t = target()
    path, told = fake_systemctl(str(tmp_path / "bin"))
    dropin = tmp_path / "ollama.service.d" / "foreman.conf"
    first = pull(t, "--set", "a", PATH=path, OLLAMA_DROPIN=str(dropin))
    assert first.returncode == 0, first
    assert "Environment=OLLAMA_MAX_LOADED_MODELS=2\nEnvironment=OLLAMA_KEEP_ALIVE=30m\n" \
        in dropin.read_text()
    second = pull(t, "--set", "a", PATH=path, OLLAMA_DROPIN=str(dropin))
    assert second.returncode == 0 and "settings: are there" in second.stdout
    with open(told) as f:
        assert f.read().count("restart ollama.service") == 1


def test_set_without_an_ollama_unit_changes_nothing(target, tmp_path):
    path, _ = fake_systemctl(str(tmp_path / "bin"), units="nothing")
    dropin = tmp_path / "ollama.service.d" / "foreman.conf"
    ran = pull(target(), "--set", "a", PATH=path, OLLAMA_DROPIN=str(dropin))
    assert ran.returncode == 1 and "no ollama.service" in ran.stderr
    assert not dropin.exists()


def test_the_token_is_sent_and_seen_by_nobody(target, tmp_path):
    """A curl in front of the real one looks at the arguments as `ps` would."""
    t = target()
    seen = tmp_path / "seen"
    curl = tmp_path / "bin" / "curl"
    curl.parent.mkdir()
    curl.write_text(f"#!/bin/sh\necho \"$@\" >>{seen}\n"
                    "for a; do case $a in @*headers) "
                    f"cat \"${{a#@}}\" >>{tmp_path}/headers;; esac; done\n"
                    f"PATH={os.environ['PATH']} exec curl \"$@\"\n")
    curl.chmod(0o755)
    ran = pull(t, "a", FOREMAN_OLLAMA_TOKEN="canary-token",
               PATH=f"{curl.parent}:{os.environ['PATH']}")
    assert ran.returncode == 0, ran
    assert "canary-token" not in seen.read_text() + ran.stdout + ran.stderr
    assert "Authorization: Bearer canary-token" in (tmp_path / "headers").read_text()
