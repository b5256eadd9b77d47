"""Webhooks: signed, in order, at least once, in nobody's way."""

import json

from harness import SECRET, until

LIFE = ["job.queued", "job.loading", "job.working", "job.done"]


def test_a_job_tells_its_life_in_four_signed_webhooks(foreman, receiver):
    f, r = foreman(), receiver()
    job = f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=2)
    told = r.wait_for_types(job["id"], LIFE)
    assert [d.type for d in told] == LIFE
    assert [d.problem for d in told] == [None] * 4
    assert [d.job["state"] for d in told] == ["queued", "loading", "working", "done"]
    assert [d.job["seq"] for d in told] == [1, 2, 3, 4]
    assert len({d.id for d in told}) == 4
    done = f.wait_job(job["id"])
    last = told[-1].job
    assert last["artifacts"][0]["inline"]["done"] is True
    for same in ("id", "state", "finished_at", "usage", "model"):
        assert last[same] == done[same]


def test_the_configured_receiver_and_secret_serve_jobs_that_name_none(foreman, receiver):
    r = receiver()
    f = foreman(FOREMAN_WEBHOOK_URL=r.url, FOREMAN_WEBHOOK_SECRET=SECRET)
    job = f.submit(fake_tokens=1)
    told = r.wait_for_types(job["id"], LIFE)
    assert [(d.type, d.problem) for d in told] == [(t, None) for t in LIFE]


def test_chats_tell_nobody(foreman, receiver):
    r = receiver()
    f = foreman(FOREMAN_WEBHOOK_URL=r.url, FOREMAN_WEBHOOK_SECRET=SECRET)
    f.chat(fake_tokens=1).finish()
    job = f.submit(fake_tokens=1)
    r.wait_for_types(job["id"], LIFE)
    assert {d.job["id"] for d in r.deliveries} == {job["id"]}


def test_events_narrow_what_is_told(foreman, receiver):
    f, r = foreman(), receiver()
    hook = {"url": r.url, "secret": SECRET, "events": ["done", "failed"]}
    good = f.submit(webhook=hook, fake_tokens=1)
    bad = f.submit("nope", webhook=hook)
    r.wait_for_types(good["id"], ["job.done"])
    told = r.wait_for_types(bad["id"], ["job.failed"])
    assert [d.type for d in r.of(good["id"])] == ["job.done"]
    assert [d.type for d in told] == ["job.failed"]
    assert told[0].job["reason"] == "model_not_found"


def test_a_receiver_that_fails_twice_is_told_again_with_the_same_id(foreman, receiver):
    r = receiver(answers=lambda n, headers, event: 500 if n < 2 else 204)
    f = foreman(FOREMAN_WEBHOOK_SCHEDULE="0,100ms,100ms,100ms")
    job = f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)
    told = r.wait_for_types(job["id"], LIFE)
    assert [d.type for d in told] == LIFE
    attempts = r.deliveries[:3]
    assert [d.status for d in attempts] == [500, 500, 204]
    assert len({d.id for d in attempts}) == 1
    assert [d.problem for d in r.deliveries] == [None] * 6


def test_a_redirect_is_not_followed(foreman, receiver):
    r = receiver(answers=lambda n, headers, event: 302)
    f = foreman(FOREMAN_WEBHOOK_SCHEDULE="0")
    job = f.submit(webhook={"url": r.url, "secret": SECRET, "events": ["done"]},
                   fake_tokens=1)
    r.wait_for(lambda all: all)
    f.wait_job(job["id"])
    assert len(r.deliveries) == 1


def test_gone_is_final(foreman, receiver):
    r = receiver(answers=lambda n, headers, event: 410)
    f = foreman(FOREMAN_WEBHOOK_SCHEDULE="0,100ms,100ms")
    job = f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)
    r.wait_for(lambda all: len(all) >= 4)
    until(lambda: f.job(job["id"])["webhook"]["dead"] == 4, "all four are dead")
    assert len(r.deliveries) == 4


def test_a_dead_receiver_keeps_no_job_waiting(foreman, receiver):
    f, dead, r = foreman(), receiver(), receiver()
    dead.close()  # refuses from now on
    ids = [f.submit(webhook={"url": dead.url, "secret": SECRET}, fake_tokens=1)["id"]
           for _ in range(5)]
    last = f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)["id"]
    assert [d.type for d in r.wait_for_types(last, LIFE)] == LIFE
    for id in ids:
        job = f.wait_job(id)
        assert job["state"] == "done"
        assert job["webhook"]["pending"] == 4  # in order: the first holds the rest


def test_what_is_owed_outlives_a_restart(foreman, receiver):
    down = []
    r = receiver(answers=lambda n, headers, event: 503 if down else 204)
    f = foreman(FOREMAN_WEBHOOK_SCHEDULE="0,200ms,200ms,200ms,200ms,200ms,1s,1s,1s,1s")
    down.append(True)
    job = f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)
    f.wait_job(job["id"])
    f.worker.kill()
    down.clear()
    f.start_worker("worker-2")
    told = r.wait_for_types(job["id"], LIFE)
    assert [d.type for d in told] == LIFE


def test_receivers_out_of_bounds_are_refused_at_once(foreman, receiver):
    r = receiver()
    f = foreman(FOREMAN_WEBHOOK_ALLOW="public,lan")
    answer = f.post("/jobs", {"request": {"model": "a", "messages": []},
                              "webhook": {"url": r.url}})
    assert answer.status == 422
    assert json.loads(answer.body)["code"]
    assert f.query("SELECT count(*) FROM jobs") == [(0,)]


def test_secrets_are_never_shown(foreman, receiver):
    f, r = foreman(), receiver()
    job = f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)
    r.wait_for_types(job["id"], LIFE)
    secret = SECRET.removeprefix("whsec_")
    for text in (f.get("/jobs").body, f.get(f"/jobs/{job['id']}").body,
                 r.deliveries[-1].body, f.worker.text().encode(),
                 f.responder.text().encode()):
        assert secret.encode() not in text
