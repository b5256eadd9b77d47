"""Embeddings, and what else needs no turn."""

import json

import pytest

from harness import until


@pytest.mark.threads
def test_embeddings_are_answered_while_a_generation_runs(foreman):
    f = foreman()
    running = f.busy()
    for _ in range(3):
        answer = f.post("/api/embed", {"model": "embedder", "input": ["one", "two"]})
        assert answer.status == 200
        assert len(answer.json()["embeddings"]) == 2
    assert f.stats()["running"] == 1  # it still does
    running.close()


def test_the_old_embeddings_route_works_too(foreman):
    f = foreman()
    answer = f.post("/api/embeddings", {"model": "embedder", "prompt": "one"})
    assert answer.status == 200
    assert answer.json()["embedding"]


def test_the_resident_embedder_is_loaded_and_goes_past_the_line(foreman):
    f = foreman(FOREMAN_EMBED_MODEL="embedder")
    assert f.post("/api/embed", {"model": "embedder", "input": "x"}).status == 200
    until(lambda: f.query("SELECT 1 FROM status WHERE embed_ready"), "it is resident")
    running = f.busy()
    answer = f.post("/api/embed", {"model": "embedder", "input": "x"})
    assert answer.status == 200
    assert f.stats()["running"] == 1
    running.close()


def test_another_embedder_waits_for_its_turn(foreman):
    f = foreman(FOREMAN_EMBED_MODEL="embedder")
    answer = f.post("/api/embed", {"model": "a", "input": "x"})
    assert "Foreman-Job-Id" in answer.headers


@pytest.mark.threads
@pytest.mark.parametrize("path", ["/", "/api/version", "/api/tags"])
def test_what_needs_no_turn_is_the_targets_own_answer(common, path):
    running = common.busy()
    through, direct = common.get(path), common.direct("GET", path)
    assert (through.status, through.type, through.body) == \
        (direct.status, direct.type, direct.body)
    running.close()


def test_show_and_ps_do_not_wait_in_line(foreman):
    f = foreman()
    running = f.busy("a")
    assert [m["name"] for m in f.get("/api/ps").json()["models"]] == ["a:latest"]
    assert f.post("/api/show", {"model": "a"}).status == 200
    assert f.post("/api/show", {"model": "nope"}).status == 404
    running.close()


def test_head_has_a_head_and_no_body(foreman):
    f = foreman()
    for path in ("/", "/api/version", "/api/tags"):
        answer = f.request("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("method,path", [
    ("POST", "/api/pull"), ("POST", "/api/push"), ("POST", "/api/create"),
    ("POST", "/api/copy"), ("DELETE", "/api/delete"),
    ("POST", "/api/blobs/sha256:" + "0" * 64)])
def test_model_administration_is_denied(common, method, path):
    answer = common.request(method, path, {"model": "a"})
    assert answer.status == 403
    assert json.loads(answer.body)["error"]
