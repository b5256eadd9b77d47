"""Jobs: submitted, listed, cancelled, read."""

import hashlib
import json
import re
import threading

import pytest

ULID = re.compile(r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")
PROBLEM = "application/problem+json"


def problem(answer, status):
    """The answer is a problem of that status; its document."""
    assert answer.status == status, answer
    assert answer.type == PROBLEM
    document = answer.json()
    assert document["status"] == status
    assert re.match(r"^[a-z_]+$", document["code"])
    assert isinstance(document["retryable"], bool)
    return document


@pytest.mark.threads
def test_a_job_is_accepted_run_and_kept(foreman):
    f = foreman()
    answer = f.post("/jobs", {"request": {"model": "a", "messages": [
        {"role": "user", "content": "hello"}], "options": {"fake_tokens": 3}},
        "metadata": {"for": "a test"}})
    assert answer.status == 202
    job = answer.json()
    assert ULID.match(job["id"])
    assert answer.headers["Location"] == f"/jobs/{job['id']}"
    assert (job["state"], job["terminal"], job["attended"]) == ("queued", False, False)
    assert f.query("SELECT count(*) FROM jobs WHERE id = ?", job["id"]) == [(1,)]

    done = f.wait_job(job["id"])
    assert (done["state"], done["reason"], done["error"]) == ("done", None, None)
    assert (done["endpoint"], done["model"]) == ("/api/chat", "a")
    assert done["metadata"] == {"for": "a test"}
    assert done["created_at"] <= done["loading_at"] <= done["working_at"] \
        <= done["finished_at"]
    assert done["usage"]["completion_tokens"] == 3


def test_a_job_passes_all_states_in_order(foreman):
    f = foreman()
    job = f.submit(fake_tokens=1)
    f.wait_job(job["id"])
    states = f.query("SELECT e.state FROM events e JOIN jobs j ON j.seq = e.job_seq "
                     "WHERE j.id = ? ORDER BY e.seq", job["id"])
    assert states == [("queued",), ("loading",), ("working",), ("done",)]


def test_the_artifact_is_what_the_target_answered(foreman):
    f = foreman()
    job = f.wait_job(f.submit(fake_tokens=2)["id"])
    artifact, content = job["artifacts"]
    answer = f.get(artifact["href"])
    assert answer.status == 200
    assert answer.type.startswith("application/json")  # "stream": false was added
    assert len(answer.body) == artifact["bytes"]
    assert hashlib.sha256(answer.body).hexdigest() == artifact["sha256"]
    assert answer.json()["done"] is True
    assert artifact["inline"] == answer.json()
    assert content["inline"] == answer.json()["message"]["content"]


def test_a_streamed_job_keeps_every_line(foreman):
    f = foreman()
    job = f.wait_job(f.submit(stream=True, fake_tokens=3)["id"])
    response = f.get(f"/jobs/{job['id']}/artifacts/response")
    assert response.type == "application/x-ndjson"
    assert len(response.body.splitlines()) == 4


def test_a_large_artifact_is_fetched_not_inline(foreman):
    f = foreman(FOREMAN_INLINE_MAX="1K")
    job = f.wait_job(f.submit(fake_tokens=1, fake_line_bytes=2_500_000)["id"])
    assert [a["name"] for a in job["artifacts"]] == ["response", "content"]
    for artifact in job["artifacts"]:
        assert artifact["bytes"] >= 2_500_000
        assert artifact.get("inline") is None
        body = f.get(artifact["href"]).body
        assert hashlib.sha256(body).hexdigest() == artifact["sha256"]


def test_a_reply_over_the_cap_fails_the_job_and_keeps_the_part(foreman):
    f = foreman(FOREMAN_MAX_RESPONSE="64K")
    job = f.wait_job(f.submit(fake_tokens=10, fake_line_bytes=20_000)["id"])
    assert (job["state"], job["reason"]) == ("failed", "response_too_large")


def test_hundred_jobs_over_four_models_load_each_once(foreman, tell):
    f = foreman(OLLAMA_MAX_LOADED_MODELS="1")
    running = f.busy("a")  # until all stand in line
    ids = [f.submit("abcd"[n % 4], fake_tokens=1)["id"] for n in range(100)]
    running.close()
    for id in ids:
        assert f.wait_job(id)["state"] == "done"
    stats = f.stats()
    assert stats["max_concurrent_generations"] == 1
    assert stats["loads"] == 4
    tell(f"100 jobs over four models, interleaved: {stats['loads']} loads")


def test_a_job_of_another_model_waits_no_longer_than_the_bound(foreman):
    f = foreman(FOREMAN_DRAIN_MAX_WAIT="1s")
    running = f.busy("a")
    ids = [f.submit("a", fake_tokens=5, fake_token_ms=60)["id"] for _ in range(20)]
    other = f.submit("b", fake_tokens=1)["id"]
    running.close()
    other = f.wait_job(other)
    last = max(f.wait_job(id)["loading_at"] for id in ids)
    assert other["loading_at"] < last


def test_without_that_bound_the_loaded_model_is_drained_first(foreman):
    f = foreman()
    running = f.busy("a")
    other = f.submit("b", fake_tokens=1)["id"]
    ids = [f.submit("a", fake_tokens=2, fake_token_ms=5)["id"] for _ in range(10)]
    running.close()
    other = f.wait_job(other)
    assert other["loading_at"] > max(f.wait_job(id)["loading_at"] for id in ids)


def test_the_jobs_own_failures(foreman):
    f = foreman()
    unknown = f.wait_job(f.submit("nope")["id"])
    assert (unknown["state"], unknown["reason"]) == ("failed", "model_not_found")
    refused = f.wait_job(f.submit(fake_status=400, fake_error="bad idea")["id"])
    assert (refused["state"], refused["reason"]) == ("failed", "invalid_request")
    assert "bad idea" in refused["error"]
    after = f.wait_job(f.submit(fake_tokens=1)["id"])
    assert after["state"] == "done"  # they held nobody up


@pytest.mark.threads
def test_a_queued_job_is_cancelled_at_once(foreman):
    f = foreman()
    running = f.busy("a")
    id = f.submit("b")["id"]
    first = f.post(f"/jobs/{id}/cancel")
    assert first.status in (200, 202)
    job = f.wait_job(id)
    assert (job["state"], job["reason"], job["loading_at"]) == ("failed", "canceled", None)
    assert f.post(f"/jobs/{id}/cancel").status == 200  # idempotent
    running.close()


@pytest.mark.threads
@pytest.mark.parametrize("stream,state", [(True, "working"), (False, "loading")])
def test_a_running_job_is_torn_down(foreman, stream, state):
    f = foreman()
    id = f.submit(stream=stream, fake_tokens=100000, fake_token_ms=50)["id"]
    f.wait_job(id, state)
    assert f.post(f"/jobs/{id}/cancel").status in (200, 202)  # 200: ended already
    job = f.wait_job(id)
    assert (job["state"], job["reason"]) == ("failed", "canceled")
    assert f.wait_job(f.submit(fake_tokens=1)["id"])["state"] == "done"


@pytest.mark.threads
def test_jobs_are_listed_newest_first_page_by_page(foreman):
    f = foreman()
    running = f.busy("a")
    ids = [f.submit("ab"[n % 2])["id"] for n in range(7)]
    seen, path = [], "/jobs?state=queued&limit=3"
    while path:
        page = f.get(path).json()
        seen += [job["id"] for job in page["jobs"]]
        path = page["next"] and f"/jobs?state=queued&limit=3&before={page['next']}"
    assert seen == sorted(ids, reverse=True)
    of_b = [job["id"] for job in f.get("/jobs?state=queued&model=b").json()["jobs"]]
    assert of_b == sorted(ids[1::2], reverse=True)
    assert f.get("/jobs?state=failed").json() == {"jobs": [], "next": None}
    for bad in ("state=nope", "limit=0", "limit=x", "before=x"):
        problem(f.get(f"/jobs?{bad}"), 400)
    running.close()


@pytest.mark.threads
def test_the_queue_says_who_runs_and_who_waits(foreman):
    f = foreman()
    running = f.busy("a")
    for model in "bbc":
        f.submit(model)
    text = json.dumps(f.get("/queue").json())
    assert running.headers["Foreman-Job-Id"] in text
    assert "b:latest" in text and "c:latest" in text
    position = [job["position"] for job in f.get("/jobs?state=queued").json()["jobs"]]
    assert all(p is None or p >= 1 for p in position)
    running.close()


@pytest.mark.threads
def test_jobs_arrive_from_many_clients_at_once(foreman):
    f = foreman()
    running = f.busy("a")
    ids, lock = [], threading.Lock()

    def client():
        for _ in range(10):
            id = f.submit("b")["id"]
            with lock:
                ids.append(id)

    clients = [threading.Thread(target=client) for _ in range(16)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert len(set(ids)) == 160
    stored = {id for id, in f.query("SELECT id FROM jobs WHERE model = 'b'")}
    assert stored == set(ids)
    running.close()


GOOD = {"model": "a", "messages": [{"role": "user", "content": "x"}]}
BAD_JOBS = {
    "empty": ("", 400),
    "blank": ("  \n", 400),
    "broken": ('{"request": {"model": "a"', 400),
    "two values": (json.dumps({"request": GOOD}) + "{}", 400),
    "an array": ("[]", 400),
    "no request": ({}, 400),
    "request not an object": ({"request": "x"}, 400),
    "no model": ({"request": {"messages": []}}, 400),
    "model not a string": ({"request": {"model": 7}}, 400),
    "empty model": ({"request": {"model": ""}}, 400),
    "unknown key": ({"request": GOOD, "webhok": {}}, 400),
    "unknown endpoint": ({"request": GOOD, "endpoint": "/api/pull"}, 400),
    "metadata not strings": ({"request": GOOD, "metadata": {"a": 1}}, 400),
    "17 metadata keys": ({"request": GOOD,
                          "metadata": {str(n): "" for n in range(17)}}, 400),
    "too deep": ('{"request": {"model": "a", "x": ' + "[" * 300 + "]" * 300 + "}}", 400),
    "webhook to nowhere": ({"request": GOOD, "webhook": {"url": "nowhere"}}, None),
    "webhook to the metadata service":
        ({"request": GOOD, "webhook": {"url": "http://169.254.169.254/"}}, 422),
    "not JSON at all": (b"\xff\xfe\x00", 400),
}


@pytest.mark.parametrize("kind", BAD_JOBS)
def test_a_bad_job_is_refused_and_leaves_no_trace(common, kind):
    body, status = BAD_JOBS[kind]
    answer = common.post("/jobs", body)
    assert answer.status == status or (status is None and answer.status in (400, 422))
    problem(answer, answer.status)
    if kind == "unknown key":
        assert "webhok" in answer.body.decode()
    assert common.query("SELECT count(*) FROM jobs") == [(0,)]


@pytest.mark.threads
def test_a_body_over_the_cap_is_413_in_the_shape_of_its_path(foreman):
    f = foreman()
    huge = b'{"request": {"model": "a", "prompt": "' + b"x" * (70 << 20) + b'"}}'
    problem(f.post("/jobs", huge), 413)
    chat = f.post("/api/chat", huge)
    assert (chat.status, list(chat.json())) == (413, ["error"])
    assert f.query("SELECT count(*) FROM jobs") == [(0,)]
    assert f.wait_job(f.submit(fake_tokens=1)["id"])["state"] == "done"


def test_a_body_at_the_cap_is_taken_and_one_byte_more_is_not(foreman):
    f = foreman(FOREMAN_MAX_BODY="64K")

    def body(size):
        head, tail = b'{"request":{"model":"a","prompt":"', b'"},"endpoint":"/api/generate"}'
        return head + b"x" * (size - len(head) - len(tail)) + tail

    assert f.post("/jobs", body(64 * 1024)).status == 202
    problem(f.post("/jobs", body(64 * 1024 + 1)), 413)


@pytest.mark.threads
def test_unknown_ids_routes_and_methods(foreman):
    f = foreman()
    problem(f.get("/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV"), 404)
    problem(f.get("/jobs/not-a-ulid"), 400)
    problem(f.post("/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV/cancel"), 404)
    problem(f.get("/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV/artifacts/response"), 404)
    nowhere = f.get("/api/nope")
    assert (nowhere.status, list(nowhere.json())) == (404, ["error"])
    wrong = f.get("/api/chat")
    assert (wrong.status, list(wrong.json())) == (405, ["error"])
    assert "POST" in wrong.headers["Allow"]
    refused = f.request("PUT", "/jobs", "{}")
    problem(refused, 405)
    assert {"GET", "POST"} <= set(re.split(r", *", refused.headers["Allow"]))


def test_ids_are_taken_in_lower_case_too(foreman):
    f = foreman()
    job = f.submit(fake_tokens=1)
    assert f.get(f"/jobs/{job['id'].lower()}").json()["id"] == job["id"]


def test_too_many_queued_jobs_are_429(foreman):
    f = foreman(FOREMAN_MAX_JOBS="2")
    running = f.busy()
    f.submit("b")
    f.submit("b")
    answer = f.post("/jobs", {"request": {"model": "b", "messages": []}})
    assert problem(answer, 429)["retryable"] is True
    assert int(answer.headers["Retry-After"]) > 0
    running.close()


@pytest.mark.threads
def test_a_token_is_asked_for_everywhere_but_healthz(foreman):
    f = foreman(FOREMAN_API_TOKEN="s3cret")
    assert f.get("/healthz").status == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
        problem(f.get("/jobs", headers), 401)
        chat = f.post("/api/chat", {"model": "a"}, headers)
        assert (chat.status, list(chat.json())) == (401, ["error"])
    assert f.get("/jobs", {"Authorization": "Bearer s3cret"}).status == 200
