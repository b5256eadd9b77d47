"""A target that sleeps, dies or fails: what becomes of jobs and chats.

The first part has a LAN of its own (netns.py) and silence as TCP sees it; the
second has a fake target that fails as it is told.
"""

import json
import time

import pytest

import netns
from harness import until


@pytest.fixture
def sleepy(build):
    """A function that starts a service whose target is on a host that sleeps."""
    reason = netns.why_not()
    if reason:
        pytest.skip(f"THE SLEEPING HOST WAS NOT TESTED: {reason}")
    started = []

    def start(**settings):
        lan = netns.Lan(str(len(started)))
        service = netns.SleepyService(build, lan, **settings)
        started.append(service)
        return service.start()

    yield start
    wrong = []
    for service in started:
        wrong += service.stop()
        service.lan.remove()
    assert not wrong, "\n".join(wrong)


def runs(f, id):
    """(attempts, interruptions): runs that counted and that did not."""
    return f.query("SELECT attempts, interruptions FROM jobs WHERE id = ?", id)[0]


def target(f):
    return f.get("/queue").json()["target"]


def lines_of(chat):
    return [json.loads(l) for _, l in chat.lines()]


# --- the sleeping host --------------------------------------------------------

def test_a_target_asleep_before_the_connection_costs_nothing(sleepy):
    f = sleepy(FOREMAN_KEEPALIVE="1s")
    f.sleep()
    job = f.submit(fake_tokens=1)  # dispatched, if nobody has noticed yet
    until(lambda: target(f)["state"] == "unreachable", "the poller notices")
    waiting = f.wait_job(job["id"], "queued")
    assert waiting["waiting_on"] == "target"
    chat = f.chat("b", fake_tokens=2)  # stays in line
    assert f.get("/readyz").status == 200
    f.wake()
    assert [l["done"] for l in lines_of(chat)] == [False, False, True]
    assert f.wait_job(job["id"])["state"] == "done"
    assert runs(f, job["id"])[0] == 1
    assert f.stats()["generations"] == 2


def test_a_nap_in_mid_stream_loses_nothing(sleepy, tell):
    f = sleepy()
    chat = f.chat(fake_tokens=30, fake_token_ms=100)
    got = [chat.line() for _ in range(5)]
    f.sleep()
    until(lambda: target(f)["state"] == "unreachable", "the poller notices")
    nap_s = time.monotonic() - got[-1][0]
    time.sleep(max(0, 10 - nap_s))  # not a wait for something: the nap itself
    f.wake()
    woken = time.monotonic()
    rest = list(chat.lines())
    lines = [json.loads(l) for _, l in got + rest]
    assert [l["done"] for l in lines] == [False] * 30 + [True]
    job = chat.headers["Foreman-Job-Id"]
    assert f.wait_job(job)["state"] == "done"
    assert runs(f, job) == (1, 0)
    assert f.stats()["generations"] == 1
    tell(f"after a nap of {max(10, nap_s):.0f} s the stream went on "
         f"{rest[0][0] - woken:.1f} s later")


@pytest.mark.slow
def test_a_reboot_is_found_by_keepalive_and_the_job_runs_again(sleepy, tell):
    f = sleepy()
    job = f.submit(stream=True, fake_tokens=20, fake_token_ms=20, fake_prompt_ms=3000)
    f.wait_job(job["id"], "loading")
    until(lambda: f.stats()["running"] == 1, "the target has the prompt")
    f.reboot()
    began = time.monotonic()
    until(lambda: runs(f, job["id"])[1] == 1, "the loss is found")
    tell(f"a reboot was noticed after {time.monotonic() - began:.0f} s")
    assert f.wait_job(job["id"])["state"] == "done"
    assert runs(f, job["id"]) == (1, 1)
    assert f.stats()["generations"] == 1  # since the reboot


@pytest.mark.slow
def test_asleep_in_silence_ends_after_two_minutes(sleepy, tell):
    f = sleepy()
    job = f.submit(fake_prompt_ms=5000, fake_tokens=1)
    f.wait_job(job["id"], "loading")
    until(lambda: f.stats()["running"] == 1, "the target has the prompt")
    f.sleep()
    began = time.monotonic()
    f.wait_job(job["id"], "queued", seconds=180)
    tell(f"asleep in silence: noticed after {time.monotonic() - began:.0f} s")
    assert time.monotonic() - began > 90  # naps survive
    f.wake()
    assert f.wait_job(job["id"])["state"] == "done"
    assert runs(f, job["id"]) == (1, 1)


# --- the failing target -------------------------------------------------------

def test_a_target_that_refuses_holds_all_and_fails_none(foreman):
    f = foreman(FOREMAN_KEEPALIVE="1s")
    f.fake.kill()
    until(lambda: target(f)["state"] == "unreachable", "the poller notices")
    job = f.submit(fake_tokens=1)
    chat = f.chat("b", fake_tokens=1)
    assert f.job(job["id"])["waiting_on"] == "target"
    f.start_fake()
    assert lines_of(chat)[-1]["done"]
    assert f.wait_job(job["id"])["state"] == "done"
    assert runs(f, job["id"])[0] == 1


@pytest.mark.parametrize("fault", ["fake_rst_at", "fake_cut_at"])
def test_a_job_whose_stream_breaks_goes_back_uncounted(foreman, fault):
    f = foreman()
    job = f.submit(stream=True, fake_tokens=5, **{fault: 2})
    until(lambda: runs(f, job["id"])[1] >= 2, "it was lost twice")
    # it lets others pass, and may still be canceled
    assert f.wait_job(f.submit("b", fake_tokens=1)["id"])["state"] == "done"
    assert runs(f, job["id"])[0] == 0
    f.post(f"/jobs/{job['id']}/cancel")
    assert f.wait_job(job["id"])["reason"] == "canceled"


def test_an_end_without_done_keeps_the_part_that_came(foreman):
    f = foreman()
    job = f.wait_job(f.submit(stream=True, fake_tokens=5, fake_eof_at=2)["id"])
    assert (job["state"], job["reason"]) == ("failed", "upstream_incomplete")
    [response] = [a for a in job["artifacts"] if a["name"] == "response"]
    assert response["complete"] is False


def test_a_chat_that_ends_without_done_ends_as_the_target_ended_it(foreman):
    f = foreman()
    chat = f.chat(fake_tokens=5, fake_eof_at=2)
    assert [l["done"] for l in lines_of(chat)] == [False, False]
    job = f.wait_job(chat.headers["Foreman-Job-Id"])
    assert (job["state"], job["reason"]) == ("failed", "upstream_incomplete")


def test_a_busy_target_is_waited_for(foreman):
    f = foreman()
    f.direct("POST", "/fake/set", {"busy": True})
    job = f.submit(fake_tokens=1)
    until(lambda: runs(f, job["id"])[1] == 1, "it was sent back")
    assert "busy" in f.job(job["id"])["error"]
    f.direct("POST", "/fake/set", {"busy": False})
    assert f.wait_job(job["id"])["state"] == "done"
    assert runs(f, job["id"]) == (1, 1)


@pytest.mark.parametrize("fault, reason", [
    ({"fake_error_at": 2, "fake_error": "boom"}, "attempts_exhausted"),
    ({"fake_status": 500, "fake_error": "boom"}, "attempts_exhausted"),
    ({"fake_status": 400, "fake_error": "boom"}, "invalid_request"),
])
def test_a_failure_of_the_targets_own_counts(foreman, fault, reason):
    f = foreman(FOREMAN_MAX_ATTEMPTS="1")
    job = f.wait_job(f.submit(stream=True, fake_tokens=5, **fault)["id"])
    assert (job["state"], job["reason"], job["error"]) == ("failed", reason, "boom")
    assert runs(f, job["id"]) == (1, 0)


def test_done_and_then_a_reset_is_a_success(foreman):
    f = foreman()
    job = f.wait_job(f.submit(stream=True, fake_tokens=2, fake_rst_at=3)["id"])
    assert job["state"] == "done"
    assert runs(f, job["id"]) == (1, 0)
