"""A target that lives and yet does nothing: noticed, freed, and told."""

import json
import signal

from harness import until


def told(f):
    return f.get("/queue").json()["target"]["error"] or ""


def row(f, id):
    return f.query("SELECT attempts, interruptions, error FROM jobs WHERE id = ?", id)[0]


def test_a_generation_that_never_begins_goes_back_and_its_model_is_unloaded(foreman):
    f = foreman(fake=["--load-ms", "0"], FOREMAN_MAX_SILENCE="1s",
                FOREMAN_MAX_ATTEMPTS="1")
    job = f.submit(fake_hang_at=-1)
    until(lambda: "wedged" in (f.job(job["id"])["error"] or ""), "the reason is seen")
    until(lambda: "wedged" in told(f), "and told of the target")
    # a prompt that does so every time comes to an end: twice free, then counted
    failed = f.wait_job(job["id"])
    assert (failed["state"], failed["reason"]) == ("failed", "attempts_exhausted")
    assert "wedged" in failed["error"]
    assert row(f, job["id"])[:2] == (1, 2)
    until(lambda: f.stats()["unloads"] == 3, "each time the model was unloaded")
    assert f.wait_job(f.submit(fake_tokens=1)["id"])["state"] == "done"
    until(lambda: told(f) == "", "all is well again")


def test_a_stream_that_never_ends_goes_back(foreman):
    f = foreman(fake=["--load-ms", "0"], FOREMAN_MAX_SILENCE="1s",
                FOREMAN_MAX_ATTEMPTS="1")
    job = f.submit(stream=True, fake_tokens=5, fake_hang_at=2)
    until(lambda: row(f, job["id"])[1] >= 1, "it went back")
    assert f.wait_job(job["id"])["reason"] == "attempts_exhausted"


def test_a_leaked_slot_is_freed_by_the_unload(foreman):
    f = foreman(FOREMAN_MAX_SILENCE="2s")
    f.direct("POST", "/fake/set", {"leak": True})
    f.busy().close()  # whoever leaves a stream keeps the slot
    until(lambda: f.stats()["client_gone"] == 1, "the target sees it leave")
    f.direct("POST", "/fake/set", {"leak": False})
    chat = f.chat(fake_tokens=2)  # would wait for ever; so it waits in line again
    lines = [json.loads(l) for _, l in chat.lines()]
    assert [l["done"] for l in lines] == [False, False, True]
    stats = f.stats()
    assert stats["unloads"] == 1
    [(interruptions, attempts)] = f.query(
        "SELECT interruptions, attempts FROM jobs WHERE id = ?",
        chat.headers["Foreman-Job-Id"])
    assert (interruptions, attempts) == (1, 1)


def test_a_chat_that_saw_its_beginning_is_told_the_end(foreman):
    f = foreman(fake=["--load-ms", "0"], FOREMAN_MAX_SILENCE="1s")
    chat = f.chat(fake_tokens=5, fake_hang_at=2)
    lines = [json.loads(l) for _, l in chat.lines()]
    assert [l.get("done") for l in lines[:2]] == [False, False]
    assert "error" in lines[-1]
    job = f.wait_job(chat.headers["Foreman-Job-Id"])
    assert (job["state"], job["reason"]) == ("failed", "upstream_incomplete")


def test_a_healthy_silence_is_left_alone(foreman):
    f = foreman(FOREMAN_MAX_SILENCE="0", FOREMAN_TARGET_STALL="1s")
    job = f.submit(fake_prompt_ms=4000, fake_tokens=1)
    done = f.wait_job(job["id"])
    assert done["state"] == "done"
    assert row(f, job["id"])[:2] == (1, 0)


def test_a_target_whose_process_hangs_loses_the_job_uncounted(foreman):
    f = foreman(FOREMAN_TARGET_STALL="1s")
    job = f.submit(stream=True, fake_tokens=40, fake_token_ms=50)
    f.wait_job(job["id"], "working")
    f.fake.signal(signal.SIGSTOP)
    back = f.wait_job(job["id"], "queued")
    assert "hangs" in back["error"]
    assert row(f, job["id"])[:2] == (0, 1)
    f.fake.signal(signal.SIGCONT)
    assert f.wait_job(job["id"])["state"] == "done"
    assert row(f, job["id"])[:2] == (1, 1)
