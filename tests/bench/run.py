"""run.py - the table of docs/performance.md, measured here and now.

    make bench                     (or: python3 tests/bench/run.py --build DIR)

Every row sets foreman against something in the same run, repetitions
interleaved; each figure is the median of them. Read the ratios: the absolute
numbers belong to the machine. --quick runs each part once, to see it work.
"""

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "system"))
from harness import TOP, Service, free_port, until  # noqa: E402

MODELS = "abcd"
SLOW_SYNC_US = 2000
BATCH = 10000
EMBED = json.dumps({"model": "embedder", "input": "hello world", "dimensions": 32})
PARKED = 500
WARM = 128  # clients that make every thread of every responder work once
QUIET = {"FOREMAN_LOG_LEVEL": "error", "FOREMAN_MAX_JOBS": "10000000"}

PLAIN_CADDY = """{
	admin off
	auto_https off
}
http://:%d {
	reverse_proxy 127.0.0.1:%d {
		flush_interval -1
	}
}
"""


class Bench:
    def __init__(self, build, quick):
        self.build = os.path.abspath(build)
        self.reps = 1 if quick else 5
        self.seconds = 1 if quick else 3
        self.rows = []

    def tool(self, name, *args, **env):
        path = os.path.join(self.build, "tests", "bench", name)
        out = subprocess.run([path, *map(str, args)], env={**os.environ, **env},
                             check=True, stdout=subprocess.PIPE, text=True).stdout
        got = json.loads(out)
        if got.get("bad"):
            raise RuntimeError(f"{name} {args[:4]}: {got['bad']} answers were no 2xx")
        return got

    def row(self, what, ours, against, theirs, ratio):
        self.rows.append((what, ours, against, theirs, ratio))

    # --- a streamed chat against plain Caddy ------------------------------------

    def streams(self):
        f = Service(self.build, ["--load-ms", "0", "--prompt-ms", "0"], **QUIET)
        try:
            f.start()
            f.chat(fake_tokens=1).finish()  # the model is loaded now
            ports = {"foreman": f.port, "caddy": self.plain_caddy(f)}
            first = {name: [] for name in ports}
            late50 = {name: [] for name in ports}
            late99 = {name: [] for name in ports}
            for rep in range(2 * self.reps):
                for name in sorted(ports, reverse=rep % 2):
                    got = self.lines(ports[name], 40, tokens=1, token_ms=0)
                    first[name].append(got["first_byte_us"]["p50"])
                    got = self.lines(ports[name], 1, tokens=500, token_ms=2)
                    late50[name].append(got["late_us"]["p50"])
                    late99[name].append(got["late_us"]["p99"])
        finally:
            f.stop()
        self.compare("first byte of a chat on an idle service, p50", "us", first,
                     difference=True)
        self.compare("lateness of a streamed line (one every 2 ms), p50", "us", late50)
        self.compare("the same, p99", "us", late99)

    def plain_caddy(self, f):
        port = free_port()
        path = f"{f.dir}/plain.caddyfile"
        with open(path, "w") as out:
            out.write(PLAIN_CADDY % (port, f.fake_port))
        f.spawn("plain-caddy", ["caddy", "run", "--adapter", "caddyfile",
                                "--config", path])
        until(lambda: reachable(port), "plain Caddy serves")
        return port

    def lines(self, port, times, tokens, token_ms):
        body = {"model": "a", "messages": [{"role": "user", "content": "hello"}],
                "options": {"fake_tokens": tokens, "fake_token_ms": token_ms}}
        return self.tool("load", "lines", port, "/api/chat", json.dumps(body), times)

    def compare(self, what, unit, figures, difference=False):
        ours, theirs = (statistics.median(figures[n]) for n in ("foreman", "caddy"))
        ratio = f"{ours / theirs:.2f} x"
        if difference:
            ratio = f"+{(ours - theirs) / 1000:.2f} ms"
        self.row(what, f"{ours:.0f} {unit}", "Caddy reverse_proxy",
                 f"{theirs:.0f} {unit}", ratio)

    # --- durable submissions ----------------------------------------------------

    def submissions(self, slow):
        env = {}
        disk = "plain disk"
        if slow:
            env = {"LD_PRELOAD": os.path.join(self.build, "tests/bench/slowsync.so"),
                   "SLOWSYNC_US": str(SLOW_SYNC_US)}
            disk = f"fdatasync takes {SLOW_SYNC_US // 1000} ms"
        f = Service(self.build, ["--load-ms", "0"], **QUIET)
        f.preload = env
        try:
            f.start()
            running = f.busy("a", token_ms=200)  # what is submitted stays queued
            for clients in (1, 16, 64):
                self.submit_at(f, clients, disk, env)
            running.close()
        finally:
            f.stop()

    def submit_at(self, f, clients, disk, env):
        body = json.dumps({"request": {
            "model": "b", "messages": [{"role": "user", "content": "x" * 900}]}})
        jobs, health, rows = [], [], []
        for _ in range(self.reps):
            health.append(self.tool("load", "rate", f.port, "GET", "/healthz", "",
                                    clients, self.seconds))
            jobs.append(self.tool("load", "rate", f.port, "POST", "/jobs", body,
                                  clients, self.seconds))
            rows.append(self.tool("syncloop", f"{f.dir}/rows", self.seconds, **env))
        what = f"POST /jobs, {clients} client{'s' * (clients > 1)}, {disk}"
        figure = f"{median(jobs, 'per_s'):.0f}/s"
        self.row(what, figure, "GET /healthz", f"{median(health, 'per_s'):.0f}/s",
                 f"{median(jobs, 'per_s') / median(health, 'per_s'):.2f} x")
        self.row(what, figure, "a row, an fdatasync", f"{median(rows, 'per_s'):.0f}/s",
                 f"{median(jobs, 'per_s') / median(rows, 'per_s'):.2f} x")
        p50, p99 = median(jobs, "us", "p50"), median(jobs, "us", "p99")
        self.row(what + ", p99", f"{p99 / 1000:.1f} ms", "its own p50",
                 f"{p50 / 1000:.1f} ms", f"{p99 / p50:.1f} x")

    # --- embeddings past the queue ------------------------------------------------

    def embeds(self):
        f = self.embedder()
        try:
            size = len(f.post("/api/embed", EMBED).body)
            at = {"foreman": (f.port, "POST", "/api/embed", EMBED),
                  "a trivial FastCGI answer of that size":
                      (self.trivial(f, "still", size), "POST", "/api/embed", EMBED),
                  "a trivial FastCGI program that asks the target":
                      (self.trivial(f, "asking", f":{f.fake_port}"),
                       "POST", "/api/embed", EMBED),
                  "GET /healthz": (f.port, "GET", "/healthz", "")}
            rates = {name: [] for name in at}
            for rep in range(2 * self.reps):
                for name in sorted(at, reverse=rep % 2):
                    port, *request = at[name]
                    rates[name].append(self.tool("load", "rate", port, *request,
                                                 16, self.seconds))
        finally:
            f.stop()
        ours = median(rates.pop("foreman"), "per_s")
        for name, runs in rates.items():
            theirs = median(runs, "per_s")
            self.row("POST /api/embed, small, 16 clients", f"{ours:.0f}/s",
                     name, f"{theirs:.0f}/s", f"{ours / theirs:.2f} x")

    def embedder(self):
        f = Service(self.build, ["--load-ms", "0", "--embed-ms", "0"],
                    FOREMAN_EMBED_MODEL="embedder", **QUIET)
        f.start()
        until(lambda: f.query("SELECT 1 FROM status WHERE embed_ready"),
              "the embedder is resident")
        return f

    def trivial(self, f, name, answer):
        """A peer of the responders behind a Caddy of its own; that one's port."""
        socket_path, port = f"{f.dir}/{name}.sock", free_port()
        f.spawn(name, [f.program("tests/bench/trivial"), socket_path, "32", str(answer)])
        until(lambda: os.path.exists(socket_path), f"{name} listens")
        f.spawn(f"{name}-caddy",
                ["caddy", "run", "--adapter", "caddyfile", "--config", f"{TOP}/Caddyfile"],
                FOREMAN_SOCKET=socket_path, FOREMAN_LISTEN=f":{port}")
        until(lambda: reachable(port), f"{name}'s Caddy serves")
        return port

    # --- clients that wait in line ----------------------------------------------

    def parked(self):
        asked = {"GET /api/tags": "", "GET /readyz": "", "POST /api/embed": EMBED}
        idle = {name: [] for name in asked}
        busy = {name: [] for name in asked}
        grown = []
        f = self.embedder()
        try:
            self.warm(f)
            self.tails(f, asked)
            for _ in range(self.reps):
                for name, took in self.tails(f, asked).items():
                    idle[name].append(took)
                before = self.responders_rss(f)
                running = f.busy("a")
                waiting = self.park(f)
                grown.append(self.responders_rss(f) - before)
                for name, took in self.tails(f, asked).items():
                    busy[name].append(took)
                waiting.communicate()  # its input ends, they leave
                running.close()
                self.nobody(f)
        finally:
            f.stop()
        for name in asked:
            ours, theirs = statistics.median(busy[name]), statistics.median(idle[name])
            self.row(f"{name}, p99, with {PARKED} parked chats", f"{ours:.0f} us",
                     "nobody there", f"{theirs:.0f} us", f"{ours / theirs:.2f} x")
        each = max(grown) / (PARKED - WARM)
        self.row(f"RSS of the responders for a parked chat beyond {WARM}",
                 f"{each:.1f} KB", "its bound", "16 KB", f"{each / 16:.2f} x")

    def warm(self, f):
        """What a thread makes once, it makes now: its database connection, its
        line to the target. So many clients were parked then, and cost no more."""
        body = {"model": "a", "messages": [{"role": "user", "content": "x"}],
                "options": {"fake_tokens": 1, "fake_token_ms": 0, "fake_prompt_ms": 0}}
        for path, body in (("/api/chat", json.dumps(body)), ("/api/embed", EMBED)):
            self.tool("load", "rate", f.port, "POST", path, body, WARM, 3)
        self.nobody(f)

    def nobody(self, f):
        until(lambda: not f.query("SELECT 1 FROM jobs WHERE state NOT IN "
                                  "('done', 'failed')"), "all have left")

    def tails(self, f, asked):
        """The p99 of each, asked by one client, one after the other."""
        return {name: self.tool("load", "rate", f.port, *name.split(), body, 1,
                                self.seconds)["us"]["p99"]
                for name, body in asked.items()}

    def park(self, f):
        body = json.dumps({"model": "b", "messages": [{"role": "user", "content": "x"}]})
        waiting = subprocess.Popen(
            [f.program("tests/bench/load"), "park", str(f.port), "/api/chat", body,
             str(PARKED)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        until(lambda: f.query("SELECT count(*) FROM queue") == [(PARKED,)],
              f"{PARKED} chats wait")
        return waiting

    def responders_rss(self, f):
        """KB, of all of them."""
        total = 0
        for pid in f.responder.children():
            with open(f"/proc/{pid}/status") as status:
                total += int(status.read().split("VmRSS:")[1].split()[0])
        return total

    # --- the store alone, and batches -------------------------------------------

    def store(self):
        """64 writers in 4 processes. The peer is SQLite itself: one writer, no
        figures, no events, 64 rows of the same size a transaction."""
        ours, raw, batches = [], [], []
        f = Service(self.build, ["--load-ms", "0"], **QUIET)
        try:
            f.start()
            running = f.busy("a", token_ms=200)  # what is submitted stays queued
            for rep in range(self.reps):
                raw.append(self.tool("store", "raw", f"{f.dir}/raw{rep}.db",
                                     self.seconds))
                ours.append(self.tool("store", "group", f"{f.dir}/group{rep}.db",
                                      self.seconds, 4, 16))
                batches.append(self.batch(f))
            running.close()
        finally:
            f.stop()
        theirs, peer = f"{median(raw, 'per_s'):.0f}/s", "raw SQLite, 64 rows a sync"
        self.row("durable inserts, 64 writers in 4 processes",
                 f"{median(ours, 'per_s'):.0f}/s", peer, theirs,
                 f"{median(ours, 'per_s') / median(raw, 'per_s'):.2f} x")
        syncs = statistics.median(o["us"]["count"] / o["syncs"] for o in ours)
        self.row("the same, jobs a sync", f"{syncs:.1f}", "a sync each", "1",
                 f"{syncs:.1f} x")
        longest = median(ours, "us", "max")
        self.row("the same, longest wait", f"{longest / 1000:.0f} ms", "its bound",
                 "200 ms", f"{longest / 200000:.2f} x")
        per_s = statistics.median(batches)
        self.row(f"an NDJSON batch of {BATCH} jobs through Caddy", f"{per_s:.0f}/s",
                 peer, theirs, f"{per_s / median(raw, 'per_s'):.2f} x")

    def batch(self, f):
        line = json.dumps({"request": {
            "model": "b", "messages": [{"role": "user", "content": "x" * 100}]}})
        began = time.monotonic()
        answer = f.post("/jobs", (line + "\n") * BATCH,
                        {"Content-Type": "application/x-ndjson"})
        took = time.monotonic() - began
        if answer.status != 202 or answer.body.count(b"\n") != BATCH:
            raise RuntimeError(f"a batch was answered {answer}")
        return BATCH / took

    # --- many jobs ----------------------------------------------------------------

    def scale(self):
        """The store's looks and moves in a large file, against a small one."""
        with tempfile.TemporaryDirectory(prefix="foreman-scale-") as where:
            took = self.tool("scale", where, 100000, 1000000, 20 * self.reps)
        pages = [what for what in took if what.startswith("GET /jobs?")]
        worst = max(pages, key=lambda what: growth(took[what]))
        for what in ("claim", "insert", "GET /queue", "GET /readyz",
                     "GET /jobs/{id}, queued", "GET /jobs", "GET /jobs, last page", worst):
            name = what
            if what == worst:
                name = f"the worst of {len(pages)} filtered pages, {what}"
            small, large = (took[what][size]["p50"] for size in ("small", "large"))
            self.row(f"store, 100,000 queued and 1,000,000 finished: {name}",
                     f"{large} us", "1,000 and 1,000", f"{small} us",
                     f"{growth(took[what]):.2f} x")

    # --- swaps ------------------------------------------------------------------

    def swaps(self):
        choose = random.Random(7).choice  # the same order every time
        order = [choose(MODELS) for _ in range(100)]
        f = Service(self.build, ["--load-ms", "0"], OLLAMA_MAX_LOADED_MODELS="1", **QUIET)
        try:
            f.start()
            running = f.busy(order[0])
            ids = [f.submit(model, fake_tokens=1, fake_token_ms=0)["id"] for model in order]
            running.close()
            for id in ids:
                f.wait_job(id)
            drained = f.stats()["loads"]
            f.direct("POST", "/fake/reset")
            for model in order:  # as they come
                f.direct("POST", "/api/chat", {
                    "model": model, "options": {"fake_tokens": 1, "fake_token_ms": 0},
                    "messages": [{"role": "user", "content": "x"}]})
            fifo = f.stats()["loads"]
        finally:
            f.stop()
        self.row("loads for 100 jobs over four models in random order", str(drained),
                 "first in, first out", str(fifo), f"{drained / fifo:.2f} x")

    # --- the table --------------------------------------------------------------

    def table(self):
        print("| what | foreman | against | | ratio |")
        print("|---|---|---|---|---|")
        for row in self.rows:
            print("| " + " | ".join(row) + " |")


def median(runs, *path):
    def of(run):
        for key in path:
            run = run[key]
        return run
    return statistics.median(of(run) for run in runs)


def growth(took):
    return took["large"]["p50"] / max(took["small"]["p50"], 1)


def reachable(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=".")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", metavar="WORD", default="",
                        help="the parts with this in their name")
    args = parser.parse_args()
    bench = Bench(args.build, args.quick)
    for name, part in (("streams", bench.streams), ("embeddings", bench.embeds),
                       ("parked chats", bench.parked), ("swaps", bench.swaps),
                       ("scale", bench.scale),
                       ("the store and batches", bench.store),
                       ("submissions", lambda: bench.submissions(False)),
                       ("submissions on a slow disk", lambda: bench.submissions(True))):
        if args.only not in name:
            continue
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        part()
    bench.table()


if __name__ == "__main__":
    main()
