"""show.py - what foreman does, seen from outside: quickstart.sh's demonstration.

    python3 deploy/show.py http://127.0.0.1:8080

A streamed chat, two embeddings while it runs, and a job whose webhooks are
checked by a receiver of our own. The status is 0 only if all of it worked.
"""

import json
import os
import secrets
import sys
import threading
import time
import urllib.request
from base64 import b64encode

sys.dont_write_bytecode = True
from receiver import Receiver  # noqa: E402

BASE = sys.argv[1].rstrip("/")
LIFE = ["job.queued", "job.loading", "job.working", "job.done"]
EMBEDDERS = ("embed", "minilm", "bge")
PATIENCE_S = 600  # a real model may have to be loaded


def call(path, body=None):
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("FOREMAN_API_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, headers)
    return urllib.request.urlopen(request, timeout=PATIENCE_S)


def heading(text):
    print(f"\n\033[1m{text}\033[0m", flush=True)


class Clock:
    """Prints lines with the time since the heading."""

    def __init__(self):
        self.began = time.monotonic()
        self._lock = threading.Lock()

    def note(self, text):
        with self._lock:
            print(f"  {time.monotonic() - self.began:7.3f} s  {text}", flush=True)


def choose_models():
    """(for chats, for embeddings): names the target lists."""
    names = [m["name"] for m in json.load(call("/api/tags"))["models"]]
    embedders = [n for n in names if any(part in n for part in EMBEDDERS)]
    others = [n for n in names if n not in embedders]
    if not others:
        sys.exit("the target has no model to chat with: ollama pull one")
    return others[0], (embedders or others)[0]


def chat_with_embeddings(model, embedder):
    heading(f"A streamed chat with {model}, and two embeddings while it runs")
    clock, answered = Clock(), []

    def embed(number):
        answer = json.load(call("/api/embed", {"model": embedder, "input": "a line"}))
        answered.append(time.monotonic())
        width = len(answer["embeddings"][0])
        clock.note(f"        embedding {number} is answered: {width} numbers")

    arrivals, embeds = [], []
    for line in call("/api/chat", {
            "model": model, "options": {"num_predict": 200},
            "messages": [{"role": "user", "content": "Count to fifty in words."}]}):
        part = json.loads(line)
        arrivals.append(time.monotonic())
        clock.note("done" if part["done"] else repr(part["message"]["content"]))
        if len(arrivals) == 3:
            embeds = [threading.Thread(target=embed, args=(n,)) for n in (1, 2)]
            for thread in embeds:
                thread.start()
    for thread in embeds:
        thread.join()

    apart = len(arrivals) > 2 and arrivals[-1] - arrivals[0] > 0.1
    beside = len(answered) == 2 and max(answered) < arrivals[-1]
    print(f"{len(arrivals)} lines came " + ("one by one" if apart else "AT ONCE") +
          ", both embeddings " + ("while they did" if beside else "NOT WHILE THEY DID"))
    return apart and beside and part["done"]


def job_with_webhooks(model):
    heading("A job nobody waits for, told by signed webhooks")
    secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
    receiver, clock = Receiver(secret), Clock()
    answer = call("/jobs", {
        "request": {"model": model, "stream": True, "options": {"num_predict": 50},
                    "messages": [{"role": "user", "content": "Say hello."}]},
        "webhook": {"url": receiver.url, "secret": secret}})
    job = json.load(answer)
    clock.note(f"{answer.status}, job {job['id']} is {job['state']}")
    told = []
    while len(told) < len(LIFE):
        told = receiver.wait_for(lambda all: len(all) > len(told), PATIENCE_S)
        last = told[-1]
        clock.note(f"webhook {last.type:12} {last.problem or 'signature ok'}")
    receiver.close()

    job = json.load(call(f"/jobs/{job['id']}"))
    good = ([d.type for d in told] == LIFE and job["state"] == "done" and
            not any(d.problem for d in told))
    print(f"job {job['id']} is {job['state']}, its timings "
          f"{json.dumps(job['timings'])}, its response at {job['artifacts'][0]['href']}")
    return good


def main():
    model, embedder = choose_models()
    worked = chat_with_embeddings(model, embedder)
    worked = job_with_webhooks(model) and worked
    heading("All of it worked" if worked else "NOT ALL OF IT WORKED")
    return 0 if worked else 1


if __name__ == "__main__":
    sys.exit(main())
