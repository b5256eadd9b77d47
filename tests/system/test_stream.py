"""GET /jobs/{id}/stream: from the beginning to the end, whenever it is opened."""

import json
import signal
import socket
import threading
import time

from harness import until

LONG = 100000  # tokens: a generation that goes on until somebody ends it


def lines(answer):
    return [json.loads(line) for _, line in answer.lines()]


def words(objects):
    return "".join(o["message"]["content"] for o in objects if "message" in o)


def stream(f, id):
    answer = f.open("GET", f"/jobs/{id}/stream")
    assert answer.status == 200, answer
    assert answer.headers["foreman-job-id"] == id
    return answer


def begin(f, model="a", **options):
    """A job that streams, and its stream from the first line on."""
    job = f.submit(model, stream=True, **options)
    answer = stream(f, job["id"])
    first = answer.line()
    assert first
    return job["id"], answer, first[1]


def test_a_stream_of_a_running_job_shows_all_of_it_as_it_comes(foreman):
    f = foreman()
    id, answer, first = begin(f, fake_tokens=8, fake_token_ms=200)
    assert answer.type == "application/x-ndjson"
    assert answer.line() and f.job(id)["state"] == "working", "the lines come as they are made"
    answer.finish()
    late = stream(f, id).finish()  # the job is done: from the store
    response = f.get(f"/jobs/{id}/artifacts/response")
    assert late.body == response.body
    assert late.body.startswith(first)
    assert late.type == "application/x-ndjson"


def test_a_late_reader_starts_at_the_beginning(foreman):
    f = foreman()
    id, early, first = begin(f, fake_tokens=30, fake_token_ms=50)
    for _ in range(9):
        early.line()
    late = stream(f, id)
    assert late.line()[1] == first
    assert words(lines(early)) and words(lines(late))
    assert f.wait_job(id)["state"] == "done"


def test_a_stream_of_a_waiting_job_waits_and_follows(foreman):
    f = foreman(FOREMAN_KEEPALIVE="250ms")
    busy = f.busy("b")
    id = f.submit("a", stream=True, fake_tokens=3)["id"]
    answer = stream(f, id)  # its head is there at once
    assert answer._response.read1(1) == b" ", "and a sign of life while it waits"
    busy.close()
    got = lines(answer)
    assert got[-1]["done"] is True
    assert f.wait_job(id)["state"] == "done"


def test_a_job_that_is_not_streamed_is_one_line(foreman):
    f = foreman()
    id = f.submit(fake_tokens=3, fake_token_ms=100)["id"]
    live = lines(stream(f, id))
    again = lines(stream(f, id))
    assert live == again and len(live) == 1 and live[0]["done"] is True


def test_events_of_v1_stay_events(foreman):
    f = foreman()
    job = f.post("/jobs", {"endpoint": "/v1/chat/completions", "request": {
        "model": "a", "stream": True, "messages": [{"role": "user", "content": "x"}],
        "options": {"fake_tokens": 4, "fake_token_ms": 100}}}).json()
    live = stream(f, job["id"])
    assert live.type == "text/event-stream"
    live.finish()
    assert live.body.strip().endswith(b"data: [DONE]")
    again = stream(f, job["id"])
    assert again.type == "text/event-stream"
    assert again.finish().body == live.body
    whole = f.post("/jobs", {"endpoint": "/v1/chat/completions", "request": {
        "model": "a", "messages": [], "options": {"fake_tokens": 2}}}).json()
    assert stream(f, whole["id"]).type == "application/x-ndjson"


def test_a_job_without_output_ends_with_why(foreman):
    f = foreman()
    id = f.submit("no-such-model", stream=True)["id"]
    live = lines(stream(f, id))
    assert [o["reason"] for o in live] == ["model_not_found"]
    assert "not found" in live[0]["error"]
    assert lines(stream(f, id)) == live


def test_a_partial_answer_is_followed_by_why_it_ended(foreman):
    f = foreman()
    id, answer, _ = begin(f, fake_tokens=9, fake_token_ms=30, fake_eof_at=4)
    live = lines(answer)
    assert live[-1]["reason"] == "upstream_incomplete"
    assert lines(stream(f, id))[-1] == live[-1]


def test_canceled_while_waiting_the_stream_ends(foreman):
    f = foreman()
    busy = f.busy("b")
    id = f.submit("a", stream=True)["id"]
    answer = stream(f, id)
    assert f.post(f"/jobs/{id}/cancel").status == 200
    assert [o["reason"] for o in lines(answer)] == ["canceled"]
    busy.close()


def test_canceled_while_running_what_came_stays(foreman):
    f = foreman()
    id, answer, _ = begin(f, fake_tokens=LONG, fake_token_ms=20)
    assert f.post(f"/jobs/{id}/cancel").status in (200, 202)  # 200: ended already
    assert lines(answer)[-1]["reason"] == "canceled"
    assert f.wait_job(id)["reason"] == "canceled"
    until(lambda: f.stats()["running"] == 0, "the generation is torn down")


def test_removed_while_it_is_followed(foreman):
    f = foreman()
    id, answer, _ = begin(f, fake_tokens=LONG, fake_token_ms=20)
    busy = f.submit("b", stream=True)["id"]
    waiting = stream(f, busy)
    assert f.request("DELETE", f"/jobs/{busy}").status == 204
    assert [o["reason"] for o in lines(waiting)] == ["removed"]
    assert f.request("DELETE", f"/jobs/{id}").status == 204
    assert lines(answer)[-1]["reason"] == "removed"
    until(lambda: f.stats()["running"] == 0, "the generation is torn down")
    assert f.get(f"/jobs/{id}/stream").status == 410
    assert f.get(f"/jobs/{id}").status == 410
    assert f.request("DELETE", f"/jobs/{id}").status == 410


def test_a_run_that_went_back_says_so_and_may_be_opened_again(foreman):
    f = foreman()
    id, answer, _ = begin(f, fake_tokens=8, fake_token_ms=50, fake_rst_at=3)
    last = lines(answer)[-1]
    assert last["reason"] == "interrupted" and "again" in last["error"]
    assert f.request("DELETE", f"/jobs/{id}").status == 204


def test_the_worker_killed_in_mid_stream(foreman):
    f = foreman()
    id, answer, _ = begin(f, fake_tokens=20, fake_token_ms=100)
    f.worker.kill()
    assert lines(answer)[-1]["reason"] == "interrupted"
    again = stream(f, id)  # nobody runs it: it waits
    f.start_worker("worker2")
    got = lines(again)
    assert got[-1]["done"] is True
    assert f.wait_job(id)["state"] == "done"


def test_a_chat_can_be_read_along_and_its_reader_may_leave(foreman):
    f = foreman()
    chat = f.chat(fake_tokens=40, fake_token_ms=50)
    assert chat.line()
    id = chat.headers["foreman-job-id"]
    reader, leaver = stream(f, id), stream(f, id)
    assert leaver.line()
    leaver.close()
    own = [line for _, line in chat.lines()]
    theirs = [line for _, line in reader.lines()]
    assert theirs[1:] == own, "beside its owner it sees the same"
    assert f.wait_job(id)["state"] == "done"
    assert f.get(f"/jobs/{id}/stream").status == 404, "only jobs leave it behind"


def test_the_owner_leaving_ends_its_readers(foreman):
    f = foreman()
    chat = f.busy()
    reader = stream(f, chat.headers["foreman-job-id"])
    assert reader.line()
    chat.close()
    assert lines(reader)[-1]["reason"] == "canceled"


def test_a_reader_that_does_not_read_holds_up_nothing(foreman):
    f = foreman()
    tokens, size = 128, 65536  # 8 MB: more than any buffer on the way
    id = f.submit(stream=True, fake_tokens=tokens, fake_token_ms=1,
                  fake_line_bytes=size)["id"]
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", f.port))
    stalled.sendall(f"GET /jobs/{id}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert f.wait_job(id)["state"] == "done"
    assert f.wait_job(f.submit("b", fake_tokens=2)["id"])["state"] == "done"
    assert len(f.get(f"/jobs/{id}/stream").body) > tokens * size
    stalled.close()


def test_opened_at_any_moment_a_stream_has_all_of_it(foreman):
    """Also between the end of the run and its last reader: no gap, no repeat."""
    f = foreman()
    wrong = []

    def read(id, after):
        time.sleep(after)  # not for an event: any moment will do
        got = lines(stream(f, id))
        if got[-1].get("done") is not True or len(got) != 6:
            wrong.append(got)

    for _ in range(6):
        id = f.submit(stream=True, fake_tokens=5, fake_token_ms=5)["id"]
        readers = [threading.Thread(target=read, args=(id, n * 0.004))
                   for n in range(24)]
        for r in readers:
            r.start()
        for r in readers:
            r.join()
    assert not wrong, wrong[:3]


def test_what_is_no_stream(foreman):
    f = foreman()
    assert f.get("/jobs/nonsense/stream").status == 400
    assert f.get("/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV/stream").status == 404
    id = f.submit(fake_tokens=1)["id"]
    assert f.get(f"/jobs/{id}/stream?from=3").status == 400
    assert f.post(f"/jobs/{id}/stream").status == 405
    head = f.request("HEAD", f"/jobs/{id}/stream")
    assert head.status == 200 and head.body == b""
    assert head.headers["content-type"] == "application/x-ndjson"


def test_a_responder_that_stops_ends_its_streams(foreman):
    f = foreman()
    id, answer, _ = begin(f, fake_tokens=LONG, fake_token_ms=50)
    f.post(f"/jobs/{id}/cancel")
    assert lines(answer)[-1]["reason"] == "canceled"
    waiting = stream(f, f.submit("no-such", stream=True)["id"])
    waiting.finish()
    f.responder.signal(signal.SIGTERM)
    assert f.responder.wait() == 0
