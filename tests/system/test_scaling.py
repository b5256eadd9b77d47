"""docs/scaling.md: two foremen behind its Caddyfile, each with a target of its own."""

import os
import re
import shutil

import pytest

from harness import PATIENCE_S, Answer, Process, free_port, until
from test_docs import text_of


@pytest.fixture
def pair(foreman, tmp_path):
    """Two services and the page's Caddy before them; its port is pair.port."""
    if not shutil.which("caddy"):
        pytest.skip("no caddy here")
    a, b = (foreman(fake=["--token-ms", "5", "--tokens", "3"]) for _ in "ab")
    port = free_port()
    page = re.search(r"^```caddyfile\n(.*?)^```$", text_of("docs/scaling.md"),
                     re.M | re.S)[1]
    for old, new in ((":8090", f":{port}"), (":8081", f":{a.port}"),
                     (":8082", f":{b.port}"), ("_interval 5s", "_interval 100ms")):
        assert old in page
        page = page.replace(old, new)
    config = tmp_path / "Caddyfile"
    config.write_text(page)
    caddy = Process("caddy", ["caddy", "run", "--adapter", "caddyfile", "--config",
                              str(config)],
                    {"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
                    str(tmp_path / "caddy.log"))
    try:
        until(lambda: "serving initial configuration" in caddy.text(), "Caddy serves")
        yield port, a, b
    finally:
        caddy.stop()


def ask(port, method, path, body=None):
    return Answer(port, method, path, body, None, PATIENCE_S).finish()


def test_two_chats_at_once_run_on_two_targets(pair):
    port, a, b = pair
    body = {"model": "a", "messages": [{"role": "user", "content": "hello"}],
            "options": {"fake_tokens": 100000, "fake_token_ms": 50}}
    chats = [Answer(port, "POST", "/api/chat", body, None, PATIENCE_S)]
    assert chats[0].status == 200 and chats[0].line(), chats[0]
    chats.append(Answer(port, "POST", "/api/chat", body, None, PATIENCE_S))
    assert chats[1].status == 200 and chats[1].line(), chats[1]
    try:
        # in one line the second would still wait
        assert [s.get("/queue").json()["running"] is not None for s in (a, b)] == [True] * 2
    finally:
        for chat in chats:
            chat.close()


def test_a_client_finds_its_jobs_again(pair):
    port, _, _ = pair
    for _ in range(4):
        job = ask(port, "POST", "/jobs", {"request": {"model": "a", "messages": []}}).json()
        found = ask(port, "GET", f"/jobs/{job['id']}?wait=30")
        assert found.status == 200 and found.json()["id"] == job["id"]


def test_chats_avoid_a_target_that_is_away_and_jobs_wait_for_it(pair):
    port, a, b = pair
    a.fake.kill()
    until(lambda: a.get("/queue").json()["target"]["state"] != "up", "a's target is missed")

    # of ten of these one would be a's, which answers 503; a chat would wait there
    until(lambda: all(ask(port, "GET", "/api/version").status == 200 for _ in range(10)),
          "Caddy has found out")
    body = {"model": "a", "messages": [], "stream": False}
    assert all(ask(port, "POST", "/api/chat", body).status == 200 for _ in range(4))
    job = ask(port, "POST", "/jobs", {"request": {"model": "a", "messages": []}})
    assert job.status == 202
    a.start_fake()
    id = job.json()["id"]
    until(lambda: ask(port, "GET", f"/jobs/{id}").json()["state"] == "done", "it is done")
