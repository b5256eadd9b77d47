"""Webhooks: signed, in order, at least once, in nobody's way."""

import base64
import json
import os
import random
import shutil
import socket
import subprocess
import time
from datetime import datetime, timezone

import pytest

from harness import SECRET, free_port, until
from nasty import ANSWERS, HOLDERS, SPELLINGS, Nasty, says, silent
from receiver import verify
from test_clients import (CLIENTS, NPM, below_build, install,  # noqa: F401 (a fixture)
                          python_with)

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
    f = foreman(FOREMAN_WEBHOOK_SCHEDULE="0" + 5 * ",200ms" + 20 * ",1s")
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


# --- the list, the log, once more ---------------------------------------------

def webhooks(f, query=""):
    answer = f.get("/webhooks" + query)
    assert answer.status == 200, answer
    return answer.json()["webhooks"]


def shown(f, id):
    answer = f.get(f"/webhooks/{id}")
    assert answer.status == 200, answer
    return answer.json()


def test_a_dead_webhook_is_looked_up_and_sent_again(foreman, receiver):
    broken = [True]
    r = receiver(answers=lambda n, headers, event: 500 if broken else 204)
    f = foreman(FOREMAN_WEBHOOK_SCHEDULE="0,50ms")
    job = f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)
    until(lambda: f.job(job["id"])["webhook"]["dead"] == 4, "all four are dead")
    dead = webhooks(f, f"?state=dead&job={job['id']}")
    assert [w["type"] for w in dead] == LIFE[::-1]
    assert {(w["attempts"], w["last_status"], w["due_at"]) for w in dead} == {(2, 500, None)}
    first = shown(f, dead[-1]["id"])
    assert [(a["status"], a["error"]) for a in first["log"]] == [(500, "status 500")] * 2
    assert first["body"] == json.loads(r.deliveries[0].body)
    assert webhooks(f, "?state=pending") == []

    broken.clear()
    again = f.post(f"/webhooks/{first['id']}/redeliver")
    assert again.status == 202
    assert again.json()["id"] == first["id"]
    told = r.wait_for_types(job["id"], LIFE[:1])
    assert told[0].id == first["id"]
    assert told[0].problem is None  # signed anew, with the time of this attempt
    until(lambda: shown(f, first["id"])["state"] == "delivered", "it is delivered")
    assert [a["status"] for a in shown(f, first["id"])["log"]] == [500, 500, 204]
    assert f.job(job["id"])["webhook"] == {"url": r.url, "pending": 0, "dead": 3}


def test_all_that_died_since_is_sent_again_in_order(foreman, receiver):
    broken = [True]
    r = receiver(answers=lambda n, headers, event: 410 if broken else 204)
    f = foreman(FOREMAN_WEBHOOK_SCHEDULE="0,50ms")
    since = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    ids = [f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)["id"]
           for _ in range(3)]
    until(lambda: len(webhooks(f, "?state=dead")) == 12, "all are dead")
    broken.clear()
    answer = f.post(f"/webhooks/redeliver?since={since}")
    assert answer.status == 202
    assert answer.json()["redelivered"] == 12 and not answer.json()["more"]
    for id in ids:
        assert [d.type for d in r.wait_for_types(id, LIFE)] == LIFE
    until(lambda: webhooks(f) == [], "none is owed any more")
    assert len(webhooks(f, "?state=delivered")) == 12


def test_a_receiver_that_is_back_gets_at_once_what_waited_for_it(foreman, receiver):
    down = [True]
    r = receiver(answers=lambda n, headers, event: 503 if down else 204)
    f = foreman(FOREMAN_WEBHOOK_SCHEDULE="0,1h,1h")
    jobs = [f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)["id"]
            for _ in range(3)]
    for id in jobs:
        f.wait_job(id)
    until(lambda: len([w for w in webhooks(f) if w["attempts"] == 1]) == 3,
          "each was tried once")
    down.clear()
    jobs.append(f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)["id"])
    for id in jobs:  # none of them waits an hour
        assert [d.type for d in r.wait_for_types(id, LIFE)] == LIFE


# --- signatures ------------------------------------------------------------------

def secret_of(byte):
    return "whsec_" + base64.b64encode(bytes([byte]) * 32).decode()


def test_while_secrets_are_exchanged_both_sign_and_a_jobs_own_wins(foreman, receiver):
    old, new, own = secret_of(1), secret_of(2), secret_of(3)
    r = receiver()
    r.secret = None
    f = foreman(FOREMAN_WEBHOOK_SECRET=f"{new} {old}")
    both = f.submit(webhook={"url": r.url}, fake_tokens=1)["id"]
    alone = f.submit(webhook={"url": r.url, "secret": own}, fake_tokens=1)["id"]
    for d in r.wait_for_types(both, LIFE):
        assert [verify(s, d.headers, d.body) is None for s in (new, old, own)] == \
            [True, True, False]
        assert len(d.headers["webhook-signature"].split()) == 2
    for d in r.wait_for_types(alone, LIFE):
        assert [verify(s, d.headers, d.body) is None for s in (new, old, own)] == \
            [False, False, True]


@pytest.fixture(scope="module")
def python_library(below_build):  # noqa: F811
    python = python_with(os.path.join(below_build, "webhooks-python"), "webhooks.txt")
    return [python, "-I", os.path.join(CLIENTS, "py_standardwebhooks.py")]


@pytest.fixture(scope="module")
def js_library(below_build):  # noqa: F811
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")
    there = install(os.path.join(below_build, "webhooks-js"), ["webhooks.json"], [
        ["cp", "webhooks.json", "package.json"],
        ["npm", "install", *NPM]])
    return ["node", shutil.copy(os.path.join(CLIENTS, "js_standardwebhooks.mjs"), there)]


@pytest.mark.parametrize("library", ["python_library", "js_library"])
def test_an_independent_library_accepts_our_deliveries(foreman, receiver, library, request):
    argv = request.getfixturevalue(library)
    r = receiver()
    f = foreman(FOREMAN_WEBHOOK_SECRET=f"{secret_of(9)} {SECRET}")
    own = f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)["id"]
    shared = f.submit(webhook={"url": r.url}, fake_tokens=1)["id"]
    told = r.wait_for_types(own, LIFE) + r.wait_for_types(shared, LIFE)
    lines = [json.dumps({"headers": {k.lower(): v for k, v in d.headers.items()},
                         "body": d.body.decode()}) for d in told]
    forged = json.loads(lines[0])
    forged["body"] = forged["body"].replace("queued", "qu3ued", 1)
    ran = subprocess.run([*argv, SECRET], input="\n".join([*lines, json.dumps(forged)]),
                         capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["ok"] * 8 + ["refused"]


# --- receivers that do everything wrong -------------------------------------------

@pytest.fixture
def nasty():
    """A function that starts one; all are closed before foreman is stopped, which
    would wait for them."""
    started = []

    def start(make):
        started.append(make())
        return started[-1]

    yield start
    for n in started:
        n.close()


def test_receivers_that_hold_on_cost_nobody_else_anything(foreman, receiver, nasty):
    r = receiver()
    f = foreman(FOREMAN_WEBHOOK_TIMEOUT="10m")  # longer than this test
    holders = {name: nasty(make) for name, make in HOLDERS.items()}
    for n in holders.values():
        for _ in range(4):
            f.submit(webhook={"url": n.url, "events": ["queued"]}, fake_tokens=1)
    for name, n in holders.items():
        n.wait(lambda: n.open_now() == 2, f"{name} holds two connections")
    ids = [f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)["id"]
           for _ in range(10)]
    for id in ids:
        assert [d.type for d in r.wait_for_types(id, LIFE)] == LIFE
    for name, n in holders.items():
        assert (n.open_now(), n.most, n.asked) == (2, 2, 2), name
    for n in holders.values():
        n.close()
    # those that were held, and the others, which are refused now
    until(lambda: len([w for w in webhooks(f, "?limit=200") if w["attempts"]]) == 18,
          "all have failed but the two that were answered 200")
    said = {(w["url"], w["last_status"]) for w in webhooks(f)}
    assert (holders["drips a body"].url, 500) in said
    done = [w["url"] for w in webhooks(f, "?state=delivered&limit=200")]
    assert done.count(holders["promises more"].url) == 2


def test_what_a_receiver_does_wrong_is_in_the_log(foreman, receiver, nasty):
    r = receiver()
    f = foreman(FOREMAN_WEBHOOK_SCHEDULE="0,1h")
    bad = {name: nasty(row[0]) for name, row in ANSWERS.items()}
    refused = f"http://127.0.0.1:{free_port()}/"
    rows = {name: (n.url, *ANSWERS[name][1:]) for name, n in bad.items()}
    rows["refuses"] = (refused, None, "", "pending")
    ids = {name: f.submit(webhook={"url": row[0], "events": ["queued"]}, fake_tokens=1)["id"]
           for name, row in rows.items()}
    good = f.submit(webhook={"url": r.url, "secret": SECRET}, fake_tokens=1)["id"]
    assert [d.type for d in r.wait_for_types(good, LIFE)] == LIFE
    for name, (url, status, error, state) in rows.items():
        def tried():
            (one,) = webhooks(f, f"?job={ids[name]}") or \
                webhooks(f, f"?state=delivered&job={ids[name]}")
            return one["attempts"] and one
        one = shown(f, until(tried, f"a receiver that {name} was tried")["id"])
        (attempt,) = one["log"]
        assert (one["state"], attempt["status"]) == (state, status), (name, one)
        if error is None:
            assert attempt["error"] is None, (name, attempt)
        else:
            assert attempt["error"] and error in attempt["error"], (name, attempt)
        assert len(attempt["reply"] or "") <= 1024
        if name == "fails":
            assert attempt["reply"] == "not today"
        if name == "has a limit":
            due = datetime.fromisoformat(one["due_at"].replace("Z", "+00:00")).timestamp()
            assert 23 * 3600 < due - time.time() <= 24 * 3600
    for name, n in bad.items():
        assert n.asked == 1, name


def test_a_redirect_leads_nowhere(foreman, nasty):
    inner = nasty(lambda: Nasty(silent))
    outer = nasty(lambda: Nasty(says("HTTP/1.1 307 There\r\nContent-Length: 0\r\n"
                                     f"Location: {inner.url}\r\n\r\n")))
    f = foreman(FOREMAN_WEBHOOK_SCHEDULE="0")
    f.submit(webhook={"url": outer.url, "events": ["queued"]}, fake_tokens=1)
    (dead,) = until(lambda: webhooks(f, "?state=dead"), "it is dead")
    assert dead["last_error"] == "redirects are not followed (status 307)"
    assert (outer.asked, inner.most) == (1, 0)


# --- where they may go --------------------------------------------------------------

def test_no_spelling_of_a_forbidden_address_is_taken(foreman):
    f = foreman(FOREMAN_WEBHOOK_ALLOW="public,lan")
    for url in SPELLINGS:
        answer = f.post("/jobs", {"request": {"model": "a", "messages": []},
                                  "webhook": {"url": url}})
        assert answer.status == 422, (url, answer)
        assert answer.json()["code"] == "webhook_refused", (url, answer)
    assert f.query("SELECT count(*) FROM jobs") == [(0,)]


def test_the_target_is_no_receiver_whatever_the_list_says(foreman):
    f = foreman(FOREMAN_WEBHOOK_ALLOW="loopback,0.0.0.0/0,::/0")
    for host in ("127.0.0.1", "127.1", "0x7f000001", "0.0.0.0", "[::1]",
                 "[::ffff:127.0.0.1]"):
        url = f"http://{host}:{f.fake_port}/api/pull"
        answer = f.post("/jobs", {"request": {"model": "a", "messages": []},
                                  "webhook": {"url": url}})
        assert answer.status == 422, (url, answer)


REBIND_C = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

/* rebind.example is where the environment says. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
	int (*next)(const char *, const char *, const struct addrinfo *,
	            struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");

	if (node && strcmp(node, "rebind.example") == 0)
		node = getenv("REBIND");
	return next(node, service, hints, out);
}
"""


def test_a_name_that_leads_elsewhere_later_gains_nothing(foreman, receiver, tmp_path):
    r = receiver()
    port = int(r.url.split(":")[2].split("/")[0])
    (tmp_path / "rebind.c").write_text(REBIND_C)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "rebind.so", "rebind.c", "-ldl"],
                   cwd=tmp_path, check=True)
    f = foreman(FOREMAN_WEBHOOK_ALLOW="127.0.0.1", FOREMAN_WEBHOOK_SCHEDULE="0")

    def told_while_at(address):
        f.worker.stop()
        f.preload = {"LD_PRELOAD": str(tmp_path / "rebind.so"), "REBIND": address,
                     "ASAN_OPTIONS": "verify_asan_link_order=0"}
        f.start_worker(f"worker-{address}")
        job = f.submit(webhook={"url": f"http://rebind.example:{port}/", "secret": SECRET},
                       fake_tokens=1)
        f.wait_job(job["id"])
        until(lambda: f.job(job["id"])["webhook"]["pending"] == 0, "all are settled")
        return [d.type for d in r.of(job["id"])]

    with socket.create_server(("127.0.0.2", port)) as inner:
        inner.setblocking(False)
        assert told_while_at("127.0.0.1") == LIFE
        assert told_while_at("127.0.0.2") == []
        with pytest.raises(BlockingIOError):  # nobody came
            inner.accept()
    dead = webhooks(f, "?state=dead")
    assert len(dead) == 4
    assert all("address not allowed" in w["last_error"] for w in dead), dead


# --- at least once, in order --------------------------------------------------------

def test_every_event_arrives_in_order_though_half_fail_and_workers_die(foreman, receiver,
                                                                        tell):
    """1,000 events, a receiver that fails half the time, a worker killed 20 times."""
    chance = random.Random(7)
    r = receiver(answers=lambda n, headers, event: chance.choice([204, 500]))
    f = foreman(fake=["--load-ms", "1"],
                FOREMAN_WEBHOOK_SCHEDULE=",".join(["0"] + ["20ms"] * 31))
    hook = {"url": r.url, "secret": SECRET}
    ids = [f.submit(webhook=hook, fake_tokens=1, fake_token_ms=1)["id"] for _ in range(250)]
    for n in range(20):
        # a worker that is in the middle of it: so many more came since the last
        r.wait_for(lambda all: len(all) >= 80 * (n + 1), 60)
        f.worker.kill()
        f.start_worker(f"worker-{n + 2}")

    def count(rows):
        return f.query(f"SELECT count(*) FROM {rows}")[0][0]

    until(lambda: not count("jobs WHERE finished_ms IS NULL")
          and not count("webhooks WHERE state = 'pending'"), "nothing is owed")
    assert count("webhooks WHERE state = 'dead'") == 0
    assert {d.problem for d in r.deliveries} == {None}
    moves = dict(f.query("SELECT id, event_seq FROM jobs"))
    assert set(moves) == set(ids)
    for id, last in moves.items():
        seqs = list(dict.fromkeys(d.job["seq"] for d in r.of(id)))  # the first of each
        assert seqs == list(range(1, last + 1)), (id, seqs)
    tell(f"{sum(moves.values())} events in {len(r.deliveries)} deliveries")
