"""docs/openapi.yaml: sound by itself, complete, and what the service does."""

import json
import os
import re
import subprocess

import pytest

from harness import SECRET, TOP, until
from test_clients import below_build, python_with  # noqa: F401

YAML = os.path.join(TOP, "docs", "openapi.yaml")
HERE = os.path.join(TOP, "tests", "system", "openapi")
NOBODY = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
# what needs a fault to be seen; other tests provoke those
FAULTS = {"503", "507"}


@pytest.fixture(scope="session")
def check(below_build):  # noqa: F811
    """A function that runs check.py; its output, which must be one of success."""
    python = python_with(os.path.join(below_build, "openapi"),
                         "../openapi/requirements.txt")

    def run(*arguments):
        ran = subprocess.run([python, "-I", os.path.join(HERE, "check.py"), YAML,
                              *arguments], capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout
    return run


def source(name):
    with open(os.path.join(TOP, name)) as f:
        return f.read()


def unnamed(route):
    """Without the names of what varies; which artifacts there are is the schema's."""
    return re.sub(r"(?<=/artifacts/)\w+$", "{}", re.sub(r"\{.*?\}", "{}", route))


def own_routes():
    """'GET /jobs/{}' of what route.c answers itself."""
    for methods, path, upstream in re.findall(
            r'^\t\{ ([A-Z_ |]+), "([^"]+)", [^}]*?, (NULL|"[^"]*") \},',
            source("src/responder/route.c"), re.M):
        if upstream != "NULL":
            continue
        for method in methods.replace("READ", "METHOD_GET").split("|"):
            yield unnamed(f"{method.strip().removeprefix('METHOD_')} {path}")


def test_it_is_valid_and_so_are_its_examples(check):
    check("sound")


def test_it_has_every_route_and_no_other(check):
    documented = {unnamed(route) for route in json.loads(check("routes"))}
    assert documented == set(own_routes())


def test_it_names_every_code_and_no_other(check):
    codes = set(re.findall(r'^\t\[FAULT_\w+\] = \{ \d+, "(\w+)"',
                           source("src/responder/answer.c"), re.M))
    assert len(codes) > 20
    # the web server's own: "411 length_required false"
    codes |= set(re.findall(r"^\t\t\t(?:\d+|default) (\w+) (?:true|false)$",
                            source("Caddyfile"), re.M))
    assert set(json.loads(check("codes"))) == codes


class Recorder:
    """Requests to a service, kept as check.py wants them."""

    def __init__(self, service):
        self._service = service
        self.exchanges = []

    def ask(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        text = json.dumps(body) if isinstance(body, dict) else body
        answer = self._service.request(method, path, text, headers)
        self.exchanges.append({
            "method": method, "path": path, "body": text,
            "type": headers.get("Content-Type", "application/json"),
            "status": answer.status, "headers": list(answer.headers.items()),
            "answer": answer.body.decode()})
        return answer

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def submit(self, status=202, headers=None, **envelope):
        answer = self.ask("POST", "/jobs", envelope, **(headers or {}))
        assert answer.status == status, answer
        return answer

    def seen(self):
        return {(e["method"], e["path"].partition("?")[0], str(e["status"]))
                for e in self.exchanges}


def request(model="a", **options):
    return {"model": model, "messages": [{"role": "user", "content": "hello"}],
            "options": options}


def answers_to_submissions(f, r, hook):
    """Every way to submit, to the end of each job; the id of one that is done."""
    done = r.submit(request=request(fake_tokens=2), webhook=hook, metadata={"for": "this"},
                    artifact="auto", endpoint="/api/chat", expires_in="2h",
                    timeout="15m").json()["id"]
    f.wait_job(done)
    r.submit(200, {"Prefer": "wait=20"}, request=request(fake_tokens=1))
    r.submit(202, {"Prefer": "respond-async"}, request=request(fake_tokens=1))
    for _ in range(2):  # the second is a replay
        key = r.submit(headers={"Idempotency-Key": "a-key"}, request=request())
    r.submit(422, {"Idempotency-Key": "a-key"}, request=request("b"))
    f.wait_job(key.json()["id"])
    lines = "\n".join(json.dumps({"request": request(m)}) for m in "ab")
    for _ in range(2):
        batch = r.ask("POST", "/jobs", lines, Content_Type="application/x-ndjson",
                      Idempotency_Key="another")
        assert batch.status == 202, batch
    assert batch.headers["Idempotency-Replayed"] == "true"
    for line in batch.body.splitlines():
        f.wait_job(json.loads(line)["id"])
    failed = r.submit(request=request("nope"), webhook=hook).json()["id"]
    f.wait_job(failed)
    r.get(f"/jobs/{failed}")
    r.submit(400, request=request(), unknown=1)
    r.submit(422, request=request(), webhook={"url": "http://169.254.169.254/"})
    assert r.ask("POST", "/jobs", "x" * 70000).status == 413
    assert r.ask("POST", "/jobs", {"request": request()},
                 Content_Encoding="gzip").status == 415
    return done


def answers_about(r, done):
    """What is said of jobs that are finished, and of those that are not there."""
    tag = r.get(f"/jobs/{done}").headers["ETag"]
    assert r.get(f"/jobs/{done}?wait=1").status == 200
    assert r.get(f"/jobs/{done}", If_None_Match=tag).status == 304
    assert r.get(f"/jobs/{done.lower()}").status == 200
    assert r.get(f"/jobs/{done}/events").status == 200
    assert r.get(f"/jobs/{done}/events", Last_Event_ID="4").status == 204
    assert r.get(f"/jobs/{done}/stream").status == 200
    for name in ("response", "content"):
        path = f"/jobs/{done}/artifacts/{name}"
        whole = r.get(path)
        assert whole.status == 200, whole
        assert r.get(path, Range="bytes=0-3").status == 206
        assert r.get(path, Range="bytes=999999-").status == 416
        assert r.get(path, If_None_Match=whole.headers["ETag"]).status == 304
    for path in ("/jobs?limit=2", "/jobs?state=done&model=a", f"/jobs?before={done}",
                 "/queue", "/healthz", "/readyz", "/metrics", f"/jobs/{done}",
                 f"/jobs/{done}/artifacts/response", f"/jobs/{done}/stream",
                 f"/jobs/{done}/events", "/webhooks?state=delivered"):
        assert r.get(path).status == 200, path
        assert r.ask("HEAD", path).status == 200, path
    assert r.get("/jobs?limit=0").status == 400
    assert r.ask("POST", f"/jobs/{done}/cancel").status == 200


def run_and_cancel(f, r):
    """The status of the cancel of a job that runs: 200 if the worker was quicker."""
    running = r.submit(request={**request(fake_tokens=100000, fake_token_ms=50),
                                "stream": True}).json()["id"]
    f.wait_job(running, "working")
    waits = r.submit(request=request("b")).json()["id"]
    for path in (f"/jobs/{waits}", "/jobs?state=queued", "/queue"):
        assert r.get(path).status == 200
    assert r.ask("POST", f"/jobs/{waits}/cancel").status == 200
    status = r.ask("POST", f"/jobs/{running}/cancel").status
    f.wait_job(running)
    assert r.get(f"/jobs/{running}").json()["reason"] == "canceled"
    return status


def answers_to_cancel(f, r):
    until(lambda: run_and_cancel(f, r) == 202, "a cancel is answered before it is done")


def answers_of_webhooks(f, r):
    until(lambda: r.get("/webhooks?state=dead&limit=1").json()["webhooks"],
          "a webhook is dead")
    dead = r.get("/webhooks?state=dead").json()["webhooks"][0]["id"]
    assert r.get("/webhooks?state=pending").status == 200
    assert r.get("/webhooks?state=nope").status == 400
    assert r.get(f"/webhooks?before=evt_{NOBODY}").status == 404
    assert r.get(f"/webhooks/{dead}").status == 200
    assert r.ask("POST", f"/webhooks/{dead}/redeliver").status == 202
    for id, status in ((f"evt_{NOBODY}", 404), ("x", 400)):
        assert r.get(f"/webhooks/{id}").status == status
        assert r.ask("POST", f"/webhooks/{id}/redeliver").status == status
    assert r.ask("POST", "/webhooks/redeliver?since=2026-01-01T00:00:00Z").status < 300
    assert r.ask("POST", "/webhooks/redeliver?since=never").status == 400


def answers_of_what_is_gone(r, done):
    assert r.ask("DELETE", f"/jobs/{done}").status == 204
    for id, status in ((done, 410), (NOBODY, 404), ("x", 400)):
        assert r.ask("DELETE", f"/jobs/{id}").status == status
        assert r.ask("POST", f"/jobs/{id}/cancel").status == status
        for rest in ("", "/events", "/stream", "/artifacts/response"):
            assert r.get(f"/jobs/{id}{rest}").status == status, rest


def answers_without_a_token(r, routes):
    for route in routes:
        method, path = route.split()
        answer = r.ask(method, path.replace("{name}", "content").replace("{id}", NOBODY))
        assert answer.status == (200 if path == "/healthz" else 401), route


def answers_to_a_full_queue(f, r):
    running = f.busy()
    f.submit("b")
    f.submit("b")
    r.submit(429, request=request("b"))
    running.close()


def test_what_is_answered_is_what_is_documented(check, foreman, tmp_path):
    routes = json.loads(check("routes"))
    f = foreman(FOREMAN_MAX_BODY="64K", FOREMAN_WEBHOOK_SCHEDULE="0",
                FOREMAN_WEBHOOK_SECRET=SECRET)
    full = foreman(FOREMAN_MAX_JOBS="2")
    token = foreman(FOREMAN_API_TOKEN="s3cret")
    r, r_full, r_token = Recorder(f), Recorder(full), Recorder(token)

    done = answers_to_submissions(f, r, {"url": f"http://127.0.0.1:{f.port}/nowhere"})
    answers_about(r, done)
    answers_to_cancel(f, r)
    answers_of_webhooks(f, r)
    answers_of_what_is_gone(r, done)
    for path in {route.split()[1] for route in routes}:
        r.ask("PATCH", path.replace("{name}", "content").replace("{id}", NOBODY))
    answers_to_a_full_queue(full, r_full)
    answers_without_a_token(r_token, routes)

    exchanges = r.exchanges + r_full.exchanges + r_token.exchanges
    record = tmp_path / "exchanges.json"
    record.write_text(json.dumps(exchanges))
    check("answers", str(record))
    # nothing that is documented went unseen
    missing = json.loads(check("unseen", str(record)))
    assert [m for m in missing if m.split()[-1] not in FAULTS] == []


def test_what_webhooks_carry_is_what_is_documented(check, foreman, receiver, tmp_path):
    r = receiver()
    f = foreman()
    hook = {"url": r.url, "secret": SECRET}
    ids = [f.submit(webhook=hook, fake_tokens=1)["id"], f.submit("nope", hook)["id"]]
    for id in ids:
        f.wait_job(id)
    until(lambda: all(f.job(id)["webhook"]["pending"] == 0 for id in ids), "all are told")
    types = {d.type for d in r.deliveries}
    assert types == {"job.queued", "job.loading", "job.working", "job.done", "job.failed"}
    record = tmp_path / "deliveries.json"
    record.write_text(json.dumps([{"type": d.type, "headers": list(d.headers.items()),
                                   "body": d.body.decode()} for d in r.deliveries]))
    check("deliveries", str(record))
