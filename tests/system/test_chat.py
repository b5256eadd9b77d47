"""Chats through the queue: what a client of Ollama sees."""

import json
import threading

import pytest

from harness import until


@pytest.mark.threads
def test_a_chat_streams_line_by_line(foreman):
    """Each line is there while the target says nothing more: nobody gathers them."""
    f = foreman()
    for said in (1, 2, 5):
        chat = f.chat(fake_tokens=9, fake_token_ms=1, fake_hang_at=said)
        assert (chat.status, chat.type) == (200, "application/x-ndjson")
        lines = [json.loads(chat.line()[1]) for _ in range(said)]
        assert [l["done"] for l in lines] == [False] * said
        f.post(f"/jobs/{chat.headers['Foreman-Job-Id']}/cancel")
        assert "error" in json.loads(chat.line()[1])


def test_a_streamed_chat_says_what_the_target_says(foreman):
    f = foreman()
    body = {"model": "a", "messages": [{"role": "user", "content": "hello"}],
            "options": {"fake_tokens": 4, "fake_token_ms": 1}}
    changing = ("created_at", "total_duration", "load_duration",
                "prompt_eval_duration", "eval_duration")

    def said(answer):
        lines = [json.loads(l) for l in answer.body.splitlines()]
        return [{k: v for k, v in l.items() if k not in changing} for l in lines]

    assert said(f.post("/api/chat", body)) == said(f.direct("POST", "/api/chat", body))


def test_a_chat_without_stream_is_one_json(foreman):
    f = foreman()
    answer = f.chat(stream=False, fake_tokens=3).finish()
    assert answer.status == 200
    assert answer.type.startswith("application/json")
    assert answer.json()["done"] is True
    assert answer.json()["message"]["role"] == "assistant"


@pytest.mark.parametrize("stream", [True, False])
def test_generate_goes_the_same_way(foreman, stream):
    f = foreman()
    answer = f.post("/api/generate", {"model": "a", "prompt": "hello", "stream": stream,
                                      "options": {"fake_tokens": 3}})
    lines = answer.body.splitlines()
    assert answer.status == 200
    assert len(lines) == (4 if stream else 1)
    assert json.loads(lines[-1])["done"] is True
    assert "response" in json.loads(lines[0])


def test_nothing_is_sent_before_the_targets_first_line(foreman):
    f = foreman()
    chat = f.chat(fake_tokens=2, fake_prompt_ms=600)
    assert chat.head_at - chat.sent_at >= 0.5
    assert len(list(chat.lines())) == 3


def test_answers_name_their_job_and_its_times(foreman):
    f = foreman()
    answer = f.chat(fake_tokens=1).finish()
    assert f.job(answer.headers["Foreman-Job-Id"])["state"] == "done"
    timing = answer.headers["Server-Timing"]
    assert "queue;dur=" in timing and "load;dur=" in timing


def test_proxy_and_cgi_leave_no_headers_behind(foreman):
    headers = foreman().chat(fake_tokens=1).finish().headers
    assert not {"status", "server", "via"} & {name.lower() for name in headers}


BAD_BODIES = {
    "unknown model": {"model": "nope", "messages": [{"role": "user", "content": "x"}]},
    "no model": {"messages": []},
    "empty": "",
    "broken": '{"model": "a", ',
    "not an object": "[1]",
    "wrong type": {"model": 1},
    "wrong option": {"model": "a", "options": {"temperature": "hot"},
                     "messages": [{"role": "user", "content": "x"}]},
}


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/embed"])
@pytest.mark.parametrize("kind", BAD_BODIES)
def test_a_bad_body_is_answered_as_the_target_answers_it(common, path, kind):
    body = BAD_BODIES[kind]
    through, direct = common.post(path, body), common.direct("POST", path, body)
    assert (through.status, through.type, through.body) == \
        (direct.status, direct.type, direct.body)


def test_an_error_before_the_first_line_is_passed_on(foreman):
    f = foreman()
    answer = f.chat(fake_status=500, fake_error="it broke").finish()
    assert (answer.status, answer.json()) == (500, {"error": "it broke"})


def test_an_error_line_is_passed_on(foreman):
    f = foreman()
    answer = f.chat(fake_tokens=5, fake_error_at=2, fake_error="it broke").finish()
    lines = answer.body.splitlines()
    assert answer.status == 200
    assert len(lines) == 3
    assert json.loads(lines[-1]) == {"error": "it broke"}


@pytest.mark.threads
@pytest.mark.parametrize("fault", ["fake_rst_at", "fake_cut_at"])
def test_a_stream_that_breaks_ends_with_an_error_line(foreman, fault):
    f = foreman()
    chat = f.chat(fake_tokens=5, **{fault: 2})
    lines = [l for _, l in chat.lines()]
    assert "error" in json.loads(lines[-1])
    assert b'"done":true' not in b"".join(lines)
    job = f.wait_job(chat.headers["Foreman-Job-Id"])
    assert (job["state"], job["reason"]) == ("failed", "upstream_incomplete")


def test_a_long_line_arrives_whole(foreman):
    f = foreman()
    answer = f.chat(fake_tokens=2, fake_line_bytes=3_000_000).finish()
    lines = answer.body.splitlines()
    assert len(lines) == 3
    assert len(lines[0]) >= 3_000_000
    assert json.loads(lines[0])["done"] is False


@pytest.mark.threads
def test_waiting_clients_get_blanks_that_json_ignores(foreman):
    f = foreman(FOREMAN_KEEPALIVE="250ms")
    running = f.busy()
    waiting = f.chat("b", fake_tokens=2)  # its head comes with the first blanks
    running.close()
    lines = [json.loads(l) for _, l in waiting.lines()]
    assert waiting.status == 200
    assert [l["done"] for l in lines] == [False, False, True]


@pytest.mark.threads
def test_a_client_that_leaves_the_line_never_reaches_the_target(foreman):
    f = foreman(FOREMAN_KEEPALIVE="250ms")
    running = f.busy("a")
    waiting = f.chat("b")  # comes back with the keepalive's head
    job = waiting.headers["Foreman-Job-Id"]
    waiting.close()
    assert f.wait_job(job)["reason"] == "canceled"
    running.close()
    f.wait_job(f.submit("a")["id"])
    assert not [m for m in f.stats()["loads_by_model"] if m.startswith("b")]


@pytest.mark.threads
def test_a_client_that_leaves_its_answer_stops_the_generation(foreman):
    f = foreman()
    running = f.busy()
    job = running.headers["Foreman-Job-Id"]
    assert f.stats()["running"] == 1
    running.close()
    assert f.wait_job(job)["reason"] == "canceled"
    until(lambda: f.stats()["running"] == 0, "the target is idle again")


@pytest.mark.threads
def test_a_client_that_does_not_read_holds_nobody_up(foreman):
    f = foreman()
    stalled = f.chat(fake_tokens=200, fake_token_ms=0, fake_line_bytes=50_000)
    next_one = f.chat("b", fake_tokens=1).finish()
    assert next_one.status == 200
    assert b'"done":true' in stalled.finish().body


def test_someone_who_waits_goes_before_jobs_nobody_waits_for(foreman):
    f = foreman()
    running = f.busy("a")
    job = f.submit("a", fake_tokens=1)
    answers = []
    client = threading.Thread(
        target=lambda: answers.append(f.chat("b", fake_tokens=1).finish()))
    client.start()
    until(lambda: f.query("SELECT 1 FROM queue WHERE attended = 'yes'"),
          "the client stands in line")
    running.close()
    client.join()
    f.wait_job(job["id"])
    chat = f.job(answers[0].headers["Foreman-Job-Id"])
    assert chat["loading_at"] < f.job(job["id"])["loading_at"]


@pytest.mark.threads
def test_a_full_line_answers_503_in_ollamas_words(foreman):
    f = foreman(FOREMAN_MAX_QUEUE="1", FOREMAN_KEEPALIVE="250ms")
    running = f.busy()
    waiting = f.chat("b", fake_tokens=1)
    refused = f.chat("c").finish()
    assert refused.status == 503
    assert refused.json() == {
        "error": "server busy, please try again.  maximum pending requests exceeded"}
    running.close()
    assert b'"done":true' in waiting.finish().body


@pytest.mark.threads
def test_patience_has_an_end_where_one_is_set(foreman):
    f = foreman(FOREMAN_CHAT_MAX_WAIT="1s", FOREMAN_KEEPALIVE="0")
    running = f.busy()
    answer = f.chat("b").finish()
    assert answer.status == 503
    assert "error" in answer.json()
    running.close()


@pytest.mark.threads
def test_two_responders_feed_one_queue(foreman):
    f = foreman(FOREMAN_RESPONDERS="2")
    answers = []
    clients = [threading.Thread(target=lambda n=n: answers.append(
        f.chat("ab"[n % 2], fake_tokens=2, fake_token_ms=20).finish()))
        for n in range(12)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert [a.status for a in answers] == [200] * 12
    stats = f.stats()
    assert stats["max_concurrent_generations"] == 1
    assert stats["generations"] == 12


def test_models_are_named_in_any_spelling(foreman):
    f = foreman()
    for name in ("a", "a:latest", "A", "library/a"):
        assert f.chat(name, fake_tokens=1).finish().status == 200
    assert f.stats()["loads"] == 1


def test_an_unload_does_not_wait_in_line(foreman):
    f = foreman()
    running = f.busy("a")
    answer = f.post("/api/generate", {"model": "b", "keep_alive": 0})
    assert answer.status == 200
    assert answer.json()["done_reason"] == "unload"
    running.close()
