"""kill -9 of worker and responders, again and again, under load.

--kills=N says how often; 20 by default, 1,000 by hand.
"""

import http.client
import json
import random
import threading
import time

import pytest

from harness import SECRET, until

MODELS = ["a", "b", "c"]
QUICK = {"fake_tokens": 2, "fake_token_ms": 1}
GAP_S = 0.01  # between two submissions of a client: the target keeps up


class Client:
    """Asks the same again and again until stopped, whatever it is answered."""

    def __init__(self, ask):
        self.answered = self.refused = 0
        self._ask = ask
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(GAP_S):
            try:
                good = self._ask()
            except (OSError, http.client.HTTPException, ValueError):
                good = False  # it, or what stood behind it, was killed
            self.answered += good
            self.refused += not good

    def stop(self):
        self._stop.set()
        self._thread.join()


class Load:
    """Single jobs with and without webhooks, batches, attended chats."""

    def __init__(self, f, webhook_url):
        self.f = f
        self.webhook = {"url": webhook_url, "secret": SECRET}
        self.acknowledged = []  # ids out of a 202
        self.clients = [Client(ask) for ask in (
            self.single, self.single, self.told, self.batch, self.chat, self.chat)]

    def body(self):
        return {"request": {"model": random.choice(MODELS), "options": QUICK,
                            "stream": random.choice([True, False]), "messages": []}}

    def single(self):
        return self.take(self.f.post("/jobs", self.body()))

    def told(self):
        return self.take(self.f.post("/jobs", {**self.body(), "webhook": self.webhook}))

    def batch(self):
        lines = "".join(json.dumps(self.body()) + "\n" for _ in range(10))
        return self.take(self.f.post("/jobs", lines,
                                     {"Content-Type": "application/x-ndjson"}))

    def take(self, answer):
        if answer.status != 202:
            return False
        self.acknowledged += [json.loads(line)["id"] for line in answer.body.splitlines()]
        return True

    def chat(self):
        answer = self.f.chat(random.choice(MODELS), **QUICK).finish()
        return answer.status == 200 and b'"done":true' in answer.body

    def stop(self):
        for client in self.clients:
            client.stop()


def kill_worker(f):
    f.worker.kill()
    f.start_worker()


def kill_responder(f):
    f.responder.kill_children(lambda pids: random.sample(pids, min(1, len(pids))))


def kill_responders(f):
    f.responder.kill_children()


def kill_all(f):
    kill_responders(f)
    kill_worker(f)


# the master gives children that die at once more and more time
KILLS = 5 * [kill_worker] + [kill_responder, kill_responders, kill_all]


def rows(f, sql):
    return f.query(sql)[0][0]


@pytest.mark.threads
def test_kills_lose_no_job_and_run_none_twice_to_its_end(foreman, receiver, kills, tell):
    f, r = foreman(["--load-ms", "5"], FOREMAN_LOG_LEVEL="error"), receiver()
    load = Load(f, r.url)
    began = time.monotonic()
    for n in range(kills):
        had = len(load.acknowledged)
        time.sleep(random.random() / 5)  # the moment is to be any
        random.choice(KILLS)(f)
        if n % 4 == 0:  # sometimes all is well again before the next one
            until(lambda: len(load.acknowledged) > had, "submissions go on")
    until(lambda: all(client.answered for client in load.clients), "each was answered once")
    load.stop()
    took = time.monotonic() - began
    until(lambda: rows(f, "SELECT count(*) FROM jobs WHERE finished_ms IS NULL") == 0,
          "every job comes to its end", 600)
    until(lambda: rows(f, "SELECT count(*) FROM owed_webhooks") == 0,
          "every webhook is delivered", 600)
    stored = {id for id, in f.query("SELECT id FROM jobs")}
    lost = set(load.acknowledged) - stored
    tell(f"{kills} kills in {took:.0f} s: {len(load.acknowledged)} jobs acknowledged, "
         f"{len(lost)} lost; {rows(f, 'SELECT count(*) FROM jobs WHERE attended')} chats; "
         f"{rows(f, 'SELECT sum(interruptions) FROM jobs')} runs interrupted; "
         f"{rows(f, 'SELECT count(*) FROM webhooks')} webhooks")
    assert not lost
    f.check_whole()
