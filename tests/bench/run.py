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

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "system"))
from harness import Service, free_port, until  # noqa: E402

MODELS = "abcd"
SLOW_SYNC_US = 2000
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
    args = parser.parse_args()
    bench = Bench(args.build, args.quick)
    for name, part in (("streams", bench.streams), ("swaps", bench.swaps),
                       ("submissions", lambda: bench.submissions(False)),
                       ("submissions on a slow disk", lambda: bench.submissions(True))):
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        part()
    bench.table()


if __name__ == "__main__":
    main()
