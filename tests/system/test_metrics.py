"""GET /metrics: true from any responder and after any crash, and of use to a real
Prometheus: every query of the dashboard and every figure of the alerts is there."""

import glob
import http.client
import json
import re
import shutil
import signal
import subprocess
import threading
import urllib.parse
import urllib.request

import pytest

from harness import SECRET, TOP, Submitters, free_port, until

PROMETHEUS = f"{TOP}/deploy/prometheus"
DASHBOARDS = f"{TOP}/deploy/grafana/*.json"

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"),
    reason="NOT TESTED: the metrics' form, for want of promtool (package prometheus)")
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"),
    reason="NOT TESTED: dashboard and alerts, for want of prometheus")


def samples(text):
    """{series as written: value}"""
    lines = [l for l in text.splitlines() if l and not l.startswith("#")]
    return {l.rpartition(" ")[0]: float(l.rpartition(" ")[2]) for l in lines}


def scrape(service):
    answer = service.get("/metrics")
    assert answer.status == 200, answer
    assert answer.type == "text/plain; version=0.0.4; charset=utf-8"
    return samples(answer.body.decode())


def total(metrics, family, **labels):
    """The sum over the family's series with these labels."""
    wanted = [f'{k}="{v}"' for k, v in labels.items()]
    return sum(v for k, v in metrics.items()
               if k.partition("{")[0] == family and all(w in k for w in wanted))


def promtool(*args, text=None, cwd=None):
    done = subprocess.run(["promtool", *args], input=text, cwd=cwd, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr.strip() or "SUCCESS" in done.stdout, done.stderr


def families(text):
    return set(re.findall(r"^# TYPE (\S+)", text, re.M))


@needs_promtool
def test_promtool_accepts_what_we_say(foreman):
    service = foreman()
    service.chat().finish()
    service.wait_job(service.submit("nope")["id"])
    service.get("/no/such/path")
    text = service.get("/metrics").body.decode()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                          capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


@needs_promtool
def test_alerts_fire_when_they_shall():
    promtool("check", "rules", "foreman.rules.yml", cwd=PROMETHEUS)
    promtool("check", "config", "prometheus.yml", cwd=PROMETHEUS)
    promtool("test", "rules", "foreman.test.yml", cwd=PROMETHEUS)


def test_every_family_is_documented_and_none_besides(foreman):
    service = foreman()
    told = families(service.get("/metrics").body.decode())
    page = open(f"{TOP}/docs/metrics.md").read()
    assert set(re.findall(r"^\| `(foreman_\w+)`", page, re.M)) == told


def test_any_responder_tells_the_whole_truth(foreman):
    service = foreman(FOREMAN_RESPONDERS="4")
    for _ in range(40):
        assert service.get("/queue").status == 200
    assert service.get("/jobs/nonsense").status == 400

    key = 'foreman_http_requests_total{method="GET",route="/queue",code="200"}'
    seen = [scrape(service) for _ in range(30)]
    assert {m[key] for m in seen} == {40}
    own = 'foreman_http_requests_total{method="GET",route="/metrics",code="200"}'
    assert [m.get(own, 0) for m in seen] == list(range(30))
    assert total(seen[0], "foreman_http_requests_total", route="/jobs/{id}", code="400") == 1

    # those killed take nothing along, nor do those a reload sends away
    service.responder.kill_children(lambda pids: pids[:2])
    service.responder.signal(signal.SIGHUP)
    until(lambda: "msg=reloaded" in service.responder.text(), "the reload is done")
    assert {scrape(service)[key] for _ in range(8)} == {40}


def test_a_token_keeps_strangers_out(foreman):
    service = foreman(FOREMAN_API_TOKEN="a-token-for-this-test")
    assert service.get("/metrics").status == 401
    assert service.get("/metrics", {"Authorization": "Bearer a-token-for-this-test"}
                       ).status == 200


def test_clients_who_leave_are_counted_by_phase(foreman):
    service = foreman(FOREMAN_KEEPALIVE="250ms")
    running = service.busy()
    waiting = service.chat("b")
    until(lambda: total(scrape(service), "foreman_jobs", state="queued") == 1,
          "one waits")
    waiting.close()
    until(lambda: total(scrape(service), "foreman_client_disconnects_total",
                        phase="waiting") == 1, "who left the line is counted")
    running.close()
    until(lambda: total(scrape(service), "foreman_client_disconnects_total",
                        phase="reading") == 1, "who left an answer is counted")


def test_a_key_that_came_before_is_counted(foreman):
    service = foreman()
    body = {"request": {"model": "a", "messages": []}}
    for _ in range(3):
        assert service.post("/jobs", body, {"Idempotency-Key": '"k"'}).status in (200, 202)
    metrics = scrape(service)
    assert metrics["foreman_idempotent_replays_total"] == 2
    assert total(metrics, "foreman_jobs_submitted_total") == 1


def wrong_figures(service):
    """What metrics say against what the rows say."""
    m = scrape(service)
    row = lambda sql: service.query(sql)[0][0] or 0
    wrong = []

    def same(what, said, sql):
        if said != row(sql):
            wrong.append((what, said, row(sql)))

    same("submitted", total(m, "foreman_jobs_submitted_total"),
         "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM retired)")
    for attended, name in enumerate(("unattended", "attended")):
        same(f"submitted {name}", total(m, "foreman_jobs_submitted_total", **{"class": name}),
             f"SELECT count(*) FROM jobs WHERE attended = {attended}")
    for state in ("queued", "loading", "working", "done", "failed"):
        same(state, total(m, "foreman_jobs", state=state),
             f"SELECT count(*) FROM jobs WHERE state = '{state}'")
    same("finished done", total(m, "foreman_jobs_finished_total", outcome="done"),
         "SELECT count(*) FROM jobs WHERE state = 'done'")
    for reason in ("canceled", "model_not_found", "worker_restarted", "upstream_error"):
        same(f"finished {reason}", total(m, "foreman_jobs_finished_total", reason=reason),
             f"SELECT count(*) FROM jobs WHERE reason = '{reason}'")
    same("finished", total(m, "foreman_jobs_finished_total"),
         "SELECT count(*) FROM jobs WHERE finished_ms IS NOT NULL")
    same("sent back", total(m, "foreman_jobs_requeued_total"),
         "SELECT count(*) FROM events WHERE state = 'queued' AND seq > 1")
    same("dispatched", total(m, "foreman_queue_wait_seconds_count"),
         "SELECT count(*) FROM events WHERE state = 'loading'")
    same("worked", total(m, "foreman_job_work_seconds_count"),
         "SELECT count(*) FROM jobs WHERE state = 'done'")
    same("tokens", total(m, "foreman_tokens_total", direction="completion"),
         "SELECT sum(completion_tokens) FROM jobs WHERE state = 'done'")
    same("attempts", total(m, "foreman_webhook_attempts_total"),
         "SELECT sum(attempts) FROM webhooks")
    same("owed", m["foreman_webhooks_pending"],
         "SELECT count(*) FROM webhooks WHERE state = 'pending'")
    return wrong


def test_after_a_crash_metrics_agree_with_the_database(foreman, receiver):
    service = foreman(fake=["--token-ms", "0", "--load-ms", "5", "--tokens", "2"])
    told = receiver()
    clients = Submitters(service, 1)
    for i in range(3):
        before = len(clients.accepted)
        chat = service.chat("a", fake_tokens=100000, fake_token_ms=5)
        service.submit("c", webhook={"url": told.url, "secret": SECRET})
        service.submit("nope")
        until(lambda: len(clients.accepted) > before + 20, "submissions go on")
        service.worker.kill()
        service.responder.kill_children()
        chat.close()
        service.start_worker(f"worker{i}")
        until(lambda: total(scrape_again(service), "foreman_target_up") == 1,
              "metrics are told again")
    clients.stop()
    until(lambda: service.query("SELECT count(*) FROM jobs WHERE finished_ms IS NULL")
          == [(0,)] and service.query("SELECT count(*) FROM webhooks WHERE state = "
                                      "'pending'") == [(0,)],
          "all jobs have ended, and their receivers know", 120)
    metrics = scrape(service)
    assert total(metrics, "foreman_jobs_submitted_total") >= len(clients.accepted)
    assert total(metrics, "foreman_jobs_requeued_total", cause="foreman_stopped") > 0
    assert wrong_figures(service) == []


def scrape_again(service):
    try:
        return scrape(service)
    except (OSError, AssertionError, http.client.HTTPException):
        return {}


# --- a real Prometheus ---------------------------------------------------------


class Prometheus:
    def __init__(self, service):
        self.port = free_port()
        config = open(f"{PROMETHEUS}/prometheus.yml").read()
        config = config.replace("15s", "1s").replace("localhost:8080",
                                                     f"localhost:{service.port}")
        config = config.replace("foreman.rules.yml", f"{PROMETHEUS}/foreman.rules.yml")
        path = f"{service.dir}/prometheus.yml"
        with open(path, "w") as f:
            f.write(config)
        service.spawn("prometheus", [
            "prometheus", f"--config.file={path}",
            f"--storage.tsdb.path={service.dir}/prometheus",
            f"--web.listen-address=127.0.0.1:{self.port}"])
        until(self.ready, "Prometheus is ready")

    def ready(self):
        try:
            return self.ask("/-/ready")
        except OSError:
            return False

    def ask(self, path, **query):
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read()

    def query(self, expr):
        answer = json.loads(self.ask("/api/v1/query", query=expr))
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def rules(self):
        groups = json.loads(self.ask("/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def dashboard_queries():
    for path in glob.glob(DASHBOARDS):
        for panel in json.load(open(path))["panels"]:
            for target in panel.get("targets", []):
                expr = target["expr"].replace("$instance", ".*")
                yield panel["title"], expr.replace("$__rate_interval", "20s")


def figures_of(expr):
    """The selectors an alert compares with something."""
    return re.findall(r"foreman_\w+(?:\{[^}]*\})?", expr)


class Load:
    """Somebody uses everything, over and over."""

    def __init__(self, service, url):
        self.service, self.url = service, url
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        service, n = self.service, 0
        while not self.stopped.is_set():
            n += 1
            try:
                service.submit("ab"[n % 2], webhook={"url": self.url, "secret": SECRET})
                service.submit("nope")
                service.chat("c", fake_tokens=3).finish()
                service.get("/queue")
                service.get("/jobs")
                service.get("/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV")
            except (OSError, AssertionError, http.client.HTTPException):
                pass  # the worker is killed in between
            self.stopped.wait(0.2)

    def stop(self):
        self.stopped.set()
        self.thread.join()


@needs_prometheus
def test_every_query_returns_data_in_a_real_prometheus(foreman, receiver, tell):
    service = foreman(fake=["--token-ms", "2", "--load-ms", "20"])
    told = receiver()
    prometheus = Prometheus(service)
    load = Load(service, told.url)
    try:
        until(lambda: prometheus.query('up{job="foreman"} == 1'), "it is scraped")
        # a run that a crash cuts short goes back to the line, and is seen to
        slow = service.submit("d", fake_tokens=2000, stream=True)
        service.wait_job(slow["id"], "working")
        service.worker.kill()
        service.start_worker("worker2")
        empty = {}

        def all_answered():
            empty.clear()
            for panel, expr in dashboard_queries():
                if not prometheus.query(expr):
                    empty[panel] = expr
            for rule in prometheus.rules():
                for figure in figures_of(rule["query"]):
                    if not prometheus.query(figure):
                        empty[rule["name"]] = figure
            return not empty

        try:
            until(all_answered, "every query returns data", 60)
        except Exception:
            assert not empty, empty
            raise
    finally:
        load.stop()
    rules = prometheus.rules()
    assert len(rules) >= 5 and all(rule["health"] == "ok" for rule in rules), rules
    quiet = {rule["name"] for rule in rules if rule["state"] == "inactive"}
    assert {"ForemanDown", "ForemanDiskLow", "ForemanWalLarge"} <= quiet
    tell(f"{len(list(dashboard_queries()))} queries, {len(rules)} alerts")
