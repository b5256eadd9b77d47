"""The log: each event one line that parses, request and job ids by which one can
follow, and never a prompt or a secret, whatever happens, at whatever level."""

import glob
import http.client
import json
import re

import pytest

from harness import SECRET, until

CANARY = "KANARIENVOGEL"
# One word per place, so that a find tells where it got out.
PROMPT, SYSTEM, ANSWER = f"{CANARY}prompt", f"{CANARY}system", f"{CANARY}answer"
META, KEY, QUERY = f"{CANARY}metadata", f"{CANARY}jsonkey", f"{CANARY}query"
API, OLLAMA, WRONG = f"{CANARY}apitoken", f"{CANARY}ollamatoken", f"{CANARY}wrongtoken"
USER, COOKIE, REPLY = f"{CANARY}userinfo", f"{CANARY}cookie", f"{CANARY}reply"
# base64, so that it is one and can be told
JOB_SECRET = "whsec_" + "S0FOQVJJRU5WT0dFTGpvYnNlY3JldHNlY3JldHM="
OWN_SECRET = "whsec_" + "S0FOQVJJRU5WT0dFTG93bnNlY3JldHNlY3JldHM="
CANARIES = [CANARY, JOB_SECRET[6:], OWN_SECRET[6:], "KANARIEN".lower()]


def log_lines(service):
    for path in glob.glob(f"{service.dir}/*.log"):
        if not re.search(r"/(caddy|fake)[^/]*$", path):
            for line in open(path, errors="replace").read().splitlines():
                yield line


PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]*)(?: |$)')


def parse(line):
    """The event of a line of either format; AssertionError if it is of neither."""
    if line.startswith("{"):
        event = json.loads(line)
    else:
        event, at = {}, 0
        while at < len(line):
            pair = PAIR.match(line, at)
            assert pair, line
            event[pair[1]] = pair[2].strip('"')
            at = pair.end()
    assert list(event)[:4] == ["ts", "level", "prog", "msg"], line
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["ts"]), line
    assert event["level"] in ("error", "warn", "info", "debug"), line
    return event


def events(service, **wanted):
    found = [parse(line) for line in log_lines(service)]
    return [e for e in found if all(str(e.get(k)) == v for k, v in wanted.items())]


def event(service, **wanted):
    """The one event that must come."""
    return until(lambda: events(service, **wanted), f"an event with {wanted}")[0]


def everything(service, url):
    """The whole surface, in good order and bad, canaries wherever text can be."""
    auth = {"Authorization": f"Bearer {API}", "Cookie": COOKIE,
            "User-Agent": "test", "X-Request-Id": "surface-1"}
    messages = [{"role": "system", "content": SYSTEM},
                {"role": "user", "content": f'{PROMPT}\n"level=error" {PROMPT}'}]

    def ask(method, path, body=None, **headers):
        try:
            return service.request(method, path, body, {**auth, **headers})
        except (OSError, http.client.HTTPException):
            return None

    def chat(**options):
        return {"model": "a", "messages": messages, "options": options}

    def job(request, **more):
        return {"request": request, "metadata": {"note": META}, **more}

    # the Ollama face, good, refused and broken in every way the fake knows
    for path in ("/api/chat", "/v1/chat/completions", "/v1/messages", "/v1/responses"):
        ask("POST", path, {**chat(), "max_tokens": 5, "input": PROMPT})
    for path in ("/api/generate", "/v1/completions"):
        ask("POST", path, {"model": "a", "prompt": PROMPT, "system": SYSTEM})
    for path in ("/api/embed", "/api/embeddings", "/v1/embeddings"):
        ask("POST", path, {"model": "embedder", "input": PROMPT, "prompt": PROMPT})
    for fault in ({"fake_status": 400, "fake_error": f"invalid: {PROMPT}"},
                  {"fake_status": 500, "fake_error": f"runner: {ANSWER}"},
                  {"fake_error_at": 2, "fake_error": f"parsing tool call: {ANSWER}"},
                  {"fake_rst_at": 2}, {"fake_cut_at": 2}, {"fake_eof_at": 2}):
        ask("POST", "/api/chat", chat(**fault))
        ask("POST", "/jobs", job(chat(**fault)))
    ask("POST", "/api/chat", '{"model":"a","messages":[{"content":"' + PROMPT)
    ask("POST", "/api/chat", {"model": f"{PROMPT} {PROMPT}", "messages": "x"})
    ask("POST", "/api/show", {"model": "a", KEY: PROMPT})
    ask("POST", "/api/pull", {"model": "a", "secret": PROMPT})
    for path in ("/", "/api/tags", "/api/ps", "/api/version", "/v1/models",
                 f"/api/tags?{QUERY}={QUERY}", f"/jobs?{QUERY}={QUERY}",
                 f"/jobs?model={QUERY}", f"/nowhere?{QUERY}"):
        ask("GET", path)
    # jobs
    webhook = {"url": f"{url}?token={QUERY}", "secret": JOB_SECRET}
    answer = ask("POST", "/jobs", job(chat(), webhook=webhook), **{"Idempotency-Key": '"k"'})
    assert answer.status == 202, answer
    id = answer.json()["id"]
    ask("POST", "/jobs", job(chat(), webhook=webhook), **{"Idempotency-Key": '"k"'})
    ask("POST", "/jobs", job(chat(), metadata={KEY: META}), **{"Idempotency-Key": '"k"'})
    ask("POST", "/jobs", job(chat(), webhook={"url": f"http://{USER}:{USER}@127.0.0.1/"}))
    ask("POST", "/jobs", job(chat(), webhook={"url": f"http://127.0.0.1:1/{QUERY}?{QUERY}"}))
    ask("POST", "/jobs", job(chat(), webhook={"url": f"ftp://x/{QUERY}", "secret": WRONG}))
    ask("POST", "/jobs", job(chat(), webhook={"url": url, "secret": WRONG}))
    ask("POST", "/jobs", job(chat(), **{KEY: PROMPT}))
    ask("POST", "/jobs", job(chat(), metadata={KEY * 9: META}))
    ask("POST", "/jobs", job(chat(), endpoint=f"/api/{PROMPT}", timeout=PROMPT))
    ask("POST", "/jobs", '{"request": {"model": "a", "x": "' + PROMPT)
    ask("POST", "/jobs", "\n".join([json.dumps(job(chat())), '{"' + KEY + '":']),
        **{"Content-Type": "application/x-ndjson"})
    ask("POST", "/jobs", "\n".join([json.dumps(job(chat()))] * 2),
        **{"Content-Type": "application/x-ndjson"})
    for path in ("", "/events", "/stream", "/artifacts/response", "/artifacts/content",
                 "?wait=1", f"?wait={QUERY}"):
        ask("GET", f"/jobs/{id}{path}", **{"If-None-Match": COOKIE})
    for path in ("/queue", "/webhooks", "/webhooks?state=dead", f"/webhooks?state={QUERY}",
                 "/metrics", "/healthz", "/readyz"):
        ask("GET", path)
    # strangers
    for header in (f"Bearer {WRONG}", f"Basic {WRONG}", WRONG):
        assert ask("GET", "/jobs", Authorization=header).status == 401
    ask("POST", f"/jobs/{id}/cancel")
    ask("DELETE", f"/jobs/{id}")
    return id


@pytest.mark.parametrize("format", ["logfmt", "json"])
def test_no_prompt_and_no_secret_gets_out(foreman, receiver, format, tell):
    # a receiver that answers with its reasons, and is given up at once
    told = receiver(answers=lambda n, headers, body: 410 if n % 3 == 0 else 500)
    service = foreman(FOREMAN_LOG_FORMAT=format, FOREMAN_API_TOKEN=API,
                      FOREMAN_OLLAMA_TOKEN=OLLAMA, FOREMAN_WEBHOOK_SECRET=OWN_SECRET,
                      FOREMAN_WEBHOOK_URL=f"{told.url}?token={QUERY}",
                      FOREMAN_WEBHOOK_SCHEDULE="0,1s", FOREMAN_EMBED_MODEL="embedder")
    everything(service, told.url)
    # and what restarts, a reload and a target that goes have to say
    service.worker.kill()
    service.start_worker("worker2")
    service.responder.signal(1)
    until(lambda: "reloaded" in service.responder.text(), "the reload is done")
    service.fake.kill()
    service.request("GET", "/api/tags", None, {"Authorization": f"Bearer {API}"})
    service.request("POST", "/api/show", {"model": PROMPT},
                    {"Authorization": f"Bearer {API}"})
    until(lambda: "unreachable" in service.worker.text(), "the target's end is told")
    service.worker.stop()
    service.responder.stop()

    lines = list(log_lines(service))
    out = [line for line in lines if any(c in line for c in CANARIES)]
    assert not out, "\n".join(out)
    for line in lines:
        parse(line)
    assert len({e["msg"] for e in map(parse, lines)}) > 15
    # it did quote, and was not quoted
    assert any("the target said why" in line for line in lines)
    assert PROMPT in str(service.query("SELECT error FROM jobs WHERE error IS NOT NULL"))
    tell(f"{len(lines)} lines")


def test_one_can_follow_from_the_request_to_the_run(foreman, receiver):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    told = receiver()
    service = foreman()
    answer = service.post("/jobs", {
        "request": {"model": "a", "messages": []},
        "webhook": {"url": told.url, "secret": SECRET}},
        {"X-Request-Id": "checkout-17", "traceparent": parent, "tracestate": "v=1"})
    id = answer.json()["id"]
    service.wait_job(id)

    submitted = event(service, prog="responder", request="checkout-17")
    assert submitted["job"] == id and submitted["trace"] == trace
    assert (submitted["method"], submitted["path"]) == ("POST", "/jobs")
    for what in ("job loading", "job working", "job done"):
        assert event(service, prog="worker", msg=what)["job"] == id
    begun = event(service, prog="worker", msg="job loading")
    assert (begun["request"], begun["trace"]) == ("checkout-17", trace)
    deliveries = told.wait_for(lambda d: len(d) >= 4)
    assert event(service, prog="worker", msg="webhook delivered")["job"] == id
    # the target and the receiver are told as well
    for delivery in deliveries:
        assert delivery.headers["traceparent"] == parent
        assert delivery.headers["tracestate"] == "v=1"
        assert delivery.headers["x-request-id"] == "checkout-17"


def test_a_waiting_client_is_followed_too(foreman):
    service = foreman()
    chat = service.open("POST", "/api/chat", {"model": "a", "messages": []},
                        {"X-Request-Id": "chat-1"})
    id = chat.headers["foreman-job-id"]
    chat.finish()
    ended = event(service, prog="responder", request="chat-1")
    assert ended["job"] == id and ended["path"] == "/api/chat"
    assert ended["method"] == "POST" and ended["status"] == "200"
    assert event(service, prog="worker", msg="job done")["job"] == id


def test_each_request_is_told_once_under_an_id_of_its_own(foreman):
    service = foreman()
    service.wait_job(service.submit()["id"])
    id = service.submit()["id"]
    service.wait_job(id)
    before = len(events(service, msg="request"))
    for path in ("", "/stream", "/events", "/artifacts/response", "?wait=1"):
        assert service.get(f"/jobs/{id}{path}").status in (200, 304)
    service.get("/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV", {"X-Request-Id": "not sane\\"})
    until(lambda: len(events(service, msg="request")) >= before + 6, "all are told")
    told = events(service, msg="request")
    assert len(told) == before + 6
    assert len({e["request"] for e in told}) == len(told)
    assert all(re.fullmatch("[0-9a-f]{16}", e["request"]) for e in told)
    assert {e["path"] for e in told} >= {"/jobs/{id}/stream", "/jobs/{id}/events"}
