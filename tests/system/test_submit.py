"""test_submit.py - POST /jobs: keys, preferences, batches, limits; durable."""

import json
import re
import threading

from harness import until

HELD = ["--load-ms", "0"]
NDJSON = {"Content-Type": "application/x-ndjson"}


def envelope(model="b", **more):
    return json.dumps({"request": {"model": model, "messages": [
        {"role": "user", "content": "hello"}]}, **more})


def batch(count, model="b"):
    return "".join(envelope(model, metadata={"n": str(i)}) + "\n" for i in range(count))


def jobs_of(answer):
    assert answer.type == "application/x-ndjson", answer
    return [json.loads(line) for line in answer.body.splitlines()]


def at_once(count, ask):
    """Ask from so many threads at the same moment; the answers."""
    answers, gate = [], threading.Barrier(count)

    def run():
        gate.wait()
        answers.append(ask())
    threads = [threading.Thread(target=run) for _ in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return answers


# --- Idempotency-Key ------------------------------------------------------------


def test_a_hundred_identical_submits_are_one_job(foreman):
    f = foreman(fake=HELD, FOREMAN_RESPONDERS="4")
    running = f.busy("a")
    body = envelope()
    answers = at_once(100, lambda: f.post("/jobs", body, {"Idempotency-Key": '"once"'}))
    assert {a.status for a in answers} == {202}
    assert len({a.json()["id"] for a in answers}) == 1
    assert len({a.headers["location"] for a in answers}) == 1
    replayed = [a for a in answers if a.headers.get("idempotency-replayed") == "true"]
    assert len(replayed) == 99
    assert f.query("SELECT count(*) FROM jobs WHERE NOT attended") == [(1,)]
    running.close()


def test_a_key_answers_its_job_as_it_is_now(foreman):
    f = foreman(fake=HELD)
    key = {"Idempotency-Key": "k-1"}
    job = f.post("/jobs", envelope(), key).json()
    f.wait_job(job["id"])
    again = f.post("/jobs", envelope(), key)
    assert again.status == 200
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == job["id"] and again.json()["state"] == "done"


def test_a_key_with_another_body_is_refused(foreman):
    f = foreman(fake=HELD)
    f.post("/jobs", envelope(), {"Idempotency-Key": "k"})
    for body, headers in ((envelope("c"), {}), (envelope(), NDJSON)):
        other = f.post("/jobs", body, {"Idempotency-Key": '"k"', **headers})
        assert other.status == 422
        assert other.type == "application/problem+json"
        assert other.json()["code"] == "idempotency_key_reused"
        assert other.json()["retryable"] is False
    assert f.query("SELECT count(*) FROM jobs") == [(1,)]


def test_a_key_has_its_bounds(foreman):
    f = foreman(fake=HELD)
    for good in ("k" * 255, '"' + "q" * 255 + '"', "!#$%&'()*+-./:;<=>?@[\\]^_`{|}~"):
        assert f.post("/jobs", envelope(), {"Idempotency-Key": good}).status == 202
    for bad in ("k" * 256, "a b", "a,b", "", '""'):
        answer = f.post("/jobs", envelope(), {"Idempotency-Key": bad})
        assert answer.status == 400, bad
        assert answer.json()["code"] == "invalid_request"


# --- Prefer -----------------------------------------------------------------------


def test_who_prefers_to_wait_gets_the_finished_job(foreman):
    f = foreman(fake=HELD)
    answer = f.post("/jobs", envelope(), {"Prefer": "wait=30"})
    assert answer.status == 200
    assert answer.headers["preference-applied"] == "wait"
    job = answer.json()
    assert job["state"] == "done" and job["artifacts"][0]["name"] == "response"
    assert answer.headers["location"] == f"/jobs/{job['id']}"


def test_who_waited_in_vain_gets_202(foreman):
    f = foreman(fake=HELD)
    running = f.busy("a")
    answer = f.post("/jobs", envelope(), {"Prefer": "respond-async, wait=1"})
    assert answer.status == 202
    assert answer.headers["preference-applied"] == "wait"
    assert answer.headers["retry-after"]
    assert answer.json()["state"] == "queued"
    assert answer.head_at - answer.sent_at >= 1
    running.close()


# --- batches ----------------------------------------------------------------------


def test_a_batch_is_stored_whole_and_answered_in_order(foreman):
    f = foreman(fake=HELD)
    running = f.busy("a")
    body = envelope("b") + "\r\n\n" + envelope("c", endpoint="/api/generate") \
        + "\n  \n" + envelope("d")
    answer = f.post("/jobs", body, NDJSON)
    assert answer.status == 202
    jobs = jobs_of(answer)
    assert [j["model"] for j in jobs] == ["b", "c", "d"]
    assert [j["id"] for j in jobs] == sorted(j["id"] for j in jobs)
    assert [j["position"] for j in jobs] == [1, 2, 3]
    for job in jobs:
        assert f.job(job["id"])["state"] == "queued"
    running.close()


def test_a_batch_with_a_bad_line_stores_nothing(foreman):
    f = foreman(fake=HELD)
    for bad, status, code in (
            ('{"request":{"model":"a"},"bogus":1}', 400, "invalid_request"),
            ("not json", 400, "invalid_request"),
            (envelope(webhook={"url": "http://169.254.169.254/"}), 422,
             "webhook_refused")):
        answer = f.post("/jobs", envelope() + "\n\n" + bad + "\n" + envelope(), NDJSON)
        assert answer.status == status, answer
        assert answer.json()["code"] == code
        assert answer.json()["detail"].startswith("line 3: ")
    assert f.query("SELECT count(*) FROM jobs") == [(0,)]


def test_a_batch_has_its_bounds(foreman):
    f = foreman(fake=HELD, FOREMAN_MAX_BODY="4M", FOREMAN_MAX_JOBS="10010")
    running = f.busy("a")
    full = batch(10000)
    answer = f.post("/jobs", full + envelope(), NDJSON)
    assert answer.status == 413 and answer.json()["code"] == "batch_too_large"
    answer = f.post("/jobs", full + " " * (4 << 20), NDJSON)
    assert answer.status == 413 and answer.json()["code"] == "body_too_large"
    answer = f.post("/jobs", "\n\n", NDJSON)
    assert answer.status == 400
    answer = f.post("/jobs", full, NDJSON)
    assert answer.status == 202 and len(jobs_of(answer)) == 10000
    answer = f.post("/jobs", batch(11), NDJSON)  # one more than there is room for
    assert answer.status == 429 and answer.json()["code"] == "too_many_jobs"
    assert int(answer.headers["retry-after"]) > 0
    answer = f.post("/jobs", batch(10), NDJSON)
    assert answer.status == 202
    assert f.query("SELECT count(*) FROM jobs WHERE NOT attended") == [(10010,)]
    running.close()


def test_a_repeated_batch_is_answered_as_it_is_now(foreman):
    f = foreman(fake=HELD)
    busy = f.busy("a")
    key = {"Idempotency-Key": "batch-1", **NDJSON}
    body = batch(450)  # several pages
    first = jobs_of(f.post("/jobs", body, key))
    f.submit("c")  # its ids and its place in the file come after
    again = f.post("/jobs", body, key)
    assert again.status == 202
    assert again.headers["idempotency-replayed"] == "true"
    assert [j["id"] for j in jobs_of(again)] == [j["id"] for j in first]
    f.post(f"/jobs/{first[7]['id']}/cancel")
    assert f.request("DELETE", f"/jobs/{first[8]['id']}").status == 204
    again = {j["id"]: j for j in jobs_of(f.post("/jobs", body, key))}
    assert again[first[7]["id"]]["reason"] == "canceled"
    assert first[8]["id"] not in again and len(again) == 449
    assert f.post("/jobs", batch(449), key).status == 422
    busy.close()


def test_concurrent_identical_batches_are_one(foreman):
    f = foreman(fake=HELD, FOREMAN_RESPONDERS="4")
    running = f.busy("a")
    key = {"Idempotency-Key": "batch", **NDJSON}
    body = batch(50)
    answers = at_once(20, lambda: f.post("/jobs", body, key))
    assert {a.status for a in answers} == {202}
    assert len({tuple(j["id"] for j in jobs_of(a)) for a in answers}) == 1
    assert f.query("SELECT count(*) FROM jobs WHERE NOT attended") == [(50,)]
    running.close()


def test_a_killed_batch_is_all_there_or_not_at_all(foreman):
    """kill -9 of every responder while batches come in: what was acknowledged
    is there, and of no batch only a part."""
    f = foreman(fake=HELD)
    running = f.busy("a")
    acknowledged, stop = [], threading.Event()

    def submit(client):
        for n in range(1000):
            if stop.is_set():
                return
            body = "".join(envelope(metadata={"batch": f"{client}-{n}"}) + "\n"
                           for _ in range(100))
            try:
                answer = f.post("/jobs", body, NDJSON)
            except Exception:
                continue
            if answer.status == 202:
                acknowledged.append((f"{client}-{n}", answer.body.count(b"\n")))

    clients = [threading.Thread(target=submit, args=(i,)) for i in range(4)]
    for c in clients:
        c.start()
    for round in range(4):
        have = len(acknowledged)
        until(lambda: len(acknowledged) > have + 3, "batches are acknowledged")
        f.responder.kill_children()
    stop.set()
    for c in clients:
        c.join()
    stored = dict(f.query("SELECT json_extract(metadata, '$.batch'), count(*) FROM jobs"
                          " WHERE NOT attended GROUP BY 1"))
    assert set(stored.values()) == {100}
    for name, lines in acknowledged:
        assert stored[name] == 100
    assert f.query("PRAGMA integrity_check") == [("ok",)]
    running.close()


# --- limits -------------------------------------------------------------------------


def test_a_full_queue_says_when_to_come_back(foreman):
    f = foreman(fake=HELD, FOREMAN_MAX_JOBS="2")
    for _ in range(2):  # so that the pace of this model is known
        f.wait_job(f.submit("b")["id"])
    running = f.busy("a")
    f.submit("b")
    f.submit("b")
    answer = f.post("/jobs", envelope())
    assert answer.status == 429
    problem = answer.json()
    assert problem["code"] == "too_many_jobs" and problem["retryable"] is True
    assert re.fullmatch("[1-9][0-9]{0,2}", answer.headers["retry-after"])
    assert int(answer.headers["retry-after"]) <= 600
    running.close()
