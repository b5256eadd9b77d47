"""A target that sleeps, dies or fails: what becomes of jobs and chats.

ROWS is the table: a fault, how far the request was when it struck, and what that
costs a job and a chat: every move, the runs that counted and those that did not,
and what the chat's client saw. Each cell has a service of its own, and at the end
of each the next job runs. A cell mostly waits, so several run at a time.

Sleep, black holes and reboots need a LAN of our own (netns.py); the bounds on
silence are set short there. What they are by default, and half an hour of healthy
silence, is for --slow.
"""

import json
import signal
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

import netns
from harness import Answer, Service, until

LANES = 6        # cells at a time
NAP_S = 4
BODY = 16 << 20  # bytes; more than kernels take for a peer that does not read
TOKENS = 60

# --- the table ----------------------------------------------------------------

Cost = namedtuple("Cost", "moves runs client")  # runs: (attempts, interruptions)

WHOLE, CUT, TOLD = "the whole answer", "the beginning, as it came", "an error line"
IN_LINE, CONNECTING, UPLOADING, SILENT, STREAMING, ANSWERING = \
    "in line", "before connect", "in upload", "in silence", "mid-stream", "as its answer"

NOTHING = Cost("loading working done", (1, 0), WHOLE)


def again(phase, reason="target_lost"):
    """Back to its place in line, uncounted; then it runs as if nothing had been."""
    begun = "loading working" if phase == STREAMING else "loading"
    return Cost(f"{begun} queued:{reason} loading working done", (1, 1), WHOLE)


def failed(reason, begun="loading working", runs=(0, 0), client=TOLD):
    return Cost(f"{begun} failed:{reason}", runs, client)


TIRED = "queued:retry"  # from a first run that counted

LOST = failed("upstream_incomplete")


@dataclass
class Row:
    fault: str
    phase: str
    job: Cost
    chat: Cost
    settings: dict
    lan: bool = False
    options: tuple = ()

    def __str__(self):
        return f"{self.fault} {self.phase}"


def row(fault, phase, job, chat=None, lan=False, options=(), **settings):
    return Row(fault, phase, job, chat or job, settings, lan, options)


SHORT = {"FOREMAN_TARGET_DEAD": "8s"}
ROWS = [
    # A: the Mac sleeps; nobody answers ARP, or a sleep proxy does
    row("asleep", IN_LINE, NOTHING, lan=True),
    *[row(fault, phase, again(phase), LOST if phase == STREAMING else None, lan=True,
          **SHORT)
      for fault in ("asleep", "black hole")
      for phase in (CONNECTING, UPLOADING, SILENT, STREAMING)],
    # N: a nap
    *[row("nap", phase, NOTHING, lan=True)
      for phase in (CONNECTING, UPLOADING, SILENT, STREAMING)],
    # R: it was rebooted and knows nothing; or its process died
    *[row("rebooted", phase, again(phase), LOST if phase == STREAMING else None,
          lan=True, **SHORT)
      for phase in (UPLOADING, SILENT, STREAMING)],
    row("killed", IN_LINE, NOTHING),
    row("killed", CONNECTING, again(CONNECTING), FOREMAN_POLL_INTERVAL="10s"),
    *[row("killed", phase, again(phase), LOST if phase == STREAMING else None)
      for phase in (UPLOADING, SILENT, STREAMING)],
    # H: its process hangs, its kernel does not
    row("hung", IN_LINE, NOTHING),
    row("hung", UPLOADING, again(UPLOADING), **SHORT),
    *[row("hung", phase, again(phase), LOST if phase == STREAMING else None,
          FOREMAN_TARGET_STALL="3s")
      for phase in (CONNECTING, SILENT, STREAMING)],
    # B, X, E: it answers; a job's second run is its last here
    row("busy", ANSWERING, again(ANSWERING, "target_busy")),
    row("400", ANSWERING, failed("invalid_request", "loading", (1, 0), 400),
        options=(("fake_status", 400), ("fake_error", "boom"))),
    row("404", ANSWERING, failed("model_not_found", "loading", (1, 0), 404),
        options=(("fake_status", 404), ("fake_error", "model 'a' not found"))),
    row("500", ANSWERING,
        failed("attempts_exhausted", f"loading {TIRED} loading", (2, 0)),
        failed("upstream_error", "loading", (1, 0), 500),
        options=(("fake_status", 500), ("fake_error", "boom")),
        FOREMAN_MAX_ATTEMPTS="2"),
    row("error line", ANSWERING,
        failed("attempts_exhausted", f"loading working {TIRED} loading working", (2, 0)),
        failed("upstream_error", runs=(1, 0)),
        options=(("fake_error_at", 2), ("fake_error", "boom")),
        FOREMAN_MAX_ATTEMPTS="2"),
    row("no done:true", ANSWERING,
        failed("upstream_incomplete", runs=(1, 0), client=CUT),
        options=(("fake_eof_at", 2),)),
    # W: the worker dies
    *[row("no worker", phase, again(phase, "foreman_stopped"),
          failed("worker_restarted", "loading working queued:foreman_stopped", (0, 1))
          if phase == STREAMING else None)
      for phase in (SILENT, STREAMING)],
    # C, D: nobody wants it any more
    *[row("canceled", phase, failed("canceled", "loading"))
      for phase in (UPLOADING, SILENT)],
    row("canceled", STREAMING, failed("canceled")),
    *[row("client gone", phase, None, failed("canceled", "loading", client=None))
      for phase in (UPLOADING, SILENT)],
    row("client gone", STREAMING, None, failed("canceled", client=None)),
]
CELLS = [(r, kind) for r in ROWS for kind in ("job", "chat") if getattr(r, kind)]


# --- a cell -------------------------------------------------------------------

class Cell:
    """One request, what happens to it, and what it comes to."""

    def __init__(self, f, row, kind):
        self.f, self.row, self.kind = f, row, kind
        self.chat = self.woken = None

    def run(self):
        if self.row.phase in (IN_LINE, CONNECTING, ANSWERING):
            self.strike()
            if self.row.phase == IN_LINE:
                until(lambda: "unreachable" in self.f.get("/readyz").body.decode(),
                      "the poller notices")
            self.ask()
        else:
            self.reach()
            self.strike()
        self.bear()
        self.check_client()
        self.check_job()
        self.check_service()

    # --- how far it is --------------------------------------------------------

    def ask(self):
        options = {"fake_tokens": TOKENS, "fake_token_ms": 1, **dict(self.row.options)}
        content = "hello"
        if self.row.phase == UPLOADING:
            content *= BODY // len(content)
        elif self.row.phase == SILENT:
            options["fake_prompt_ms"] = 6000
        elif self.row.phase == STREAMING:
            options["fake_token_ms"] = 100
        body = {"model": "a", "stream": True, "options": options,
                "messages": [{"role": "user", "content": content}]}
        if self.kind == "chat":
            self.chat = Answer(self.f.port, "POST", "/api/chat", body, None, 120)
        else:
            assert self.f.post("/jobs", {"request": body}).status == 202
        [(self.id,)] = self.f.query("SELECT id FROM jobs")

    def reach(self):
        f = self.f
        if self.row.phase == UPLOADING:
            f.stop_reading()
        self.ask()
        if self.row.phase == UPLOADING:
            until(lambda: unsent(f) > 0, "the target takes no more of the body")
        elif self.row.phase == SILENT:
            until(lambda: '"generation_start"' in journal(f), "the target has the prompt")
        else:
            self.until_state("working")
        if self.row.phase == STREAMING and self.chat:
            self.seen = [self.chat.line() for _ in range(3)]

    seen = ()

    def state(self):
        return self.f.query("SELECT state, reason, attempts, interruptions, error"
                            " FROM jobs WHERE id = ?", self.id)[0]

    def until_state(self, wanted):
        until(lambda: self.state()[0] == wanted, f"the job is {wanted}", 90)

    # --- what happens ---------------------------------------------------------

    def strike(self):
        getattr(self, "strike_" + self.row.fault.replace(" ", "_"), lambda: None)()

    def bear(self):
        """What must have happened before the fault is over, if it does not pass."""
        cure = getattr(self, "cure_" + self.row.fault.replace(" ", "_"), None)
        if not cure:
            return
        want = getattr(self.row, self.kind)
        if want.runs == (0, 0):
            self.until_state("failed")
        elif want.runs == (1, 1):
            until(lambda: self.state()[3] == 1, "the loss is found", 90)
            state, reason, attempts, _, error = self.state()
            assert (state, reason, attempts) == ("queued", None, 0) and error
        elif self.row.phase == IN_LINE:
            told = self.f.job(self.id)
            assert (told["state"], told["waiting_on"]) == ("queued", "target")
        cure()

    def strike_asleep(self):
        self.f.sleep()

    def strike_black_hole(self):
        self.f.black_hole()

    strike_nap = strike_asleep

    def strike_rebooted(self):
        self.f.reboot()

    def strike_killed(self):
        self.f.fake.kill()

    def strike_hung(self):
        self.f.stop_reading()

    def strike_busy(self):
        self.f.direct("POST", "/fake/set", {"busy": True})

    def strike_no_worker(self):
        self.f.worker.kill()
        self.f.start_worker("worker-2")

    def strike_canceled(self):
        assert self.f.post(f"/jobs/{self.id}/cancel").status in (200, 202)

    def strike_client_gone(self):
        self.chat.close()

    def cure_asleep(self):
        self.f.wake()

    cure_black_hole = cure_asleep

    def cure_nap(self):
        time.sleep(NAP_S)  # not a wait for something: the nap itself
        self.f.wake()

    def cure_killed(self):
        self.f.start_fake()

    def cure_hung(self):
        self.f.fake.signal(signal.SIGCONT)

    cure_canceled = cure_client_gone = cure_hung

    def cure_busy(self):
        self.f.direct("POST", "/fake/set", {"busy": False})

    # --- what it came to ------------------------------------------------------

    def check_client(self):
        want = getattr(self.row, self.kind).client
        if not self.chat or not want:
            return
        if isinstance(want, int):
            error = dict(self.row.options)["fake_error"]
            assert (self.chat.status, self.chat.finish().json()) == (want, {"error": error})
            return
        assert self.chat.status == 200
        lines = [json.loads(l) for _, l in [*self.seen, *self.chat.lines()]]
        done = [line.get("done") for line in lines]
        if want == WHOLE:
            assert done == [False] * TOKENS + [True]
        elif want == TOLD:
            assert done[:-1] == [False] * (len(done) - 1) and "error" in lines[-1]
        else:
            assert done == [False, False]

    def check_job(self):
        want = getattr(self.row, self.kind)
        until(lambda: self.state()[0] in ("done", "failed"), "the job ends", 90)
        moves = [state + (f":{reason}" if reason else "") for state, reason in
                 self.f.query("SELECT e.state, e.reason FROM events e JOIN jobs j"
                              " ON j.seq = e.job_seq WHERE j.id = ? ORDER BY e.seq",
                              self.id)]
        _, _, attempts, interruptions, error = self.state()
        assert moves == ["queued", *want.moves.split()]
        assert (attempts, interruptions) == want.runs
        told = self.f.job(self.id)
        assert told["terminal"] and told["attempts"] == want.runs[0]
        assert not (self.row.phase == ANSWERING and self.row.options) or error

    def check_service(self):
        f = self.f
        until(lambda: f.stats()["running"] == 0, "the target is idle", 90)
        assert f.wait_job(f.submit("b", fake_tokens=1)["id"])["state"] == "done"
        assert f.query("SELECT count(*) FROM jobs WHERE finished_ms IS NULL") == [(0,)]


def journal(f):
    """What the target has noted: it stays, however late one looks."""
    with open(f"{f.dir}/journal") as events:
        return events.read()


def unsent(f):
    """Bytes that wait in the worker's kernel for the target to take them."""
    port = f.settings["FOREMAN_OLLAMA_URL"].rpartition(":")[2]
    with open(f"/proc/{f.worker.pid}/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return max((int(r[4].partition(":")[0], 16) for r in rows
                if r[2].endswith(f":{int(port):04X}")), default=0)


class HungService(Service):
    """A Service whose target can stop reading, on this very host."""

    def stop_reading(self):
        self.fake.signal(signal.SIGSTOP)

    def stop(self):
        self.fake.signal(signal.SIGCONT)
        return super().stop()


def run_cell(build, number):
    row, kind = CELLS[number]
    settings = {"FOREMAN_KEEPALIVE": "15s" if row.options else "1s", **row.settings}
    lan = netns.Lan(str(number)) if row.lan else None
    f = netns.SleepyService(build, lan, **settings) if lan \
        else HungService(build, **settings)
    f.fake_flags += ["--log", f"{f.dir}/journal"]
    try:
        f.start()
        Cell(f, row, kind).run()
    except Exception as error:
        raise AssertionError(f"{error}\n{f.logs()}") from error
    finally:
        wrong = f.stop()
        if lan:
            lan.remove()
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def no_lan():
    return netns.why_not()


@pytest.fixture(scope="module")
def cells(request, no_lan):
    """The cells asked for, running."""
    build = request.config.getoption("--build")
    wanted = [item.callspec.params["number"] for item in request.session.items
              if item.originalname == "test_a_fault_costs_what_the_table_says"]
    with ThreadPoolExecutor(LANES) as lanes:
        yield {n: lanes.submit(run_cell, build, n) for n in wanted
               if not (no_lan and CELLS[n][0].lan)}
        lanes.shutdown(cancel_futures=True)


@pytest.mark.parametrize("number", range(len(CELLS)),
                         ids=[f"{kind}, {row}" for row, kind in CELLS])
def test_a_fault_costs_what_the_table_says(cells, no_lan, number):
    if number not in cells:
        pytest.skip(f"THE SLEEPING HOST WAS NOT TESTED: {no_lan}")
    cells[number].result()


# --- the sleeping host, with the bounds as they are by default ------------------

HALF_AN_HOUR_S = 1800


@pytest.fixture
def sleepy(build, no_lan):
    """A function that starts a service whose target is on a host that sleeps."""
    if no_lan:
        pytest.skip(f"THE SLEEPING HOST WAS NOT TESTED: {no_lan}")
    started = []

    def start(**settings):
        service = netns.SleepyService(build, netns.Lan(f"s{len(started)}"), **settings)
        service.fake_flags += ["--log", f"{service.dir}/journal"]
        started.append(service)
        return service.start()

    yield start
    wrong = []
    for service in started:
        wrong += service.stop()
        service.lan.remove()
    assert not wrong, "\n".join(wrong)


def runs(f, id):
    """(attempts, interruptions): runs that counted and that did not."""
    return f.query("SELECT attempts, interruptions FROM jobs WHERE id = ?", id)[0]


@pytest.mark.slow
def test_half_an_hour_of_healthy_silence_is_left_alone(sleepy, tell):
    for_job, for_chat = sleepy(), sleepy()  # a target each; both are silent at once
    silence = {"fake_prompt_ms": HALF_AN_HOUR_S * 1000, "fake_tokens": 2}
    job = for_job.submit(stream=True, **silence)
    chat = for_chat.chat(timeout=HALF_AN_HOUR_S + 60, **silence)
    lines = list(chat.lines())
    assert [json.loads(l)["done"] for _, l in lines] == [False, False, True]
    assert lines[0][0] - chat.sent_at > HALF_AN_HOUR_S
    tell(f"the first line came after {lines[0][0] - chat.sent_at:.0f} s of silence")
    assert for_job.wait_job(job["id"])["state"] == "done"
    for f, id in ((for_job, job["id"]), (for_chat, chat.headers["Foreman-Job-Id"])):
        assert runs(f, id) == (1, 0)
        assert f.stats()["generations"] == 1


@pytest.mark.slow
def test_asleep_in_silence_ends_after_two_minutes(sleepy, tell):
    f = sleepy()
    job = f.submit(fake_prompt_ms=15000, fake_tokens=1)
    f.wait_job(job["id"], "loading")
    until(lambda: '"generation_start"' in journal(f), "the target has the prompt")
    f.sleep()
    began = time.monotonic()
    f.wait_job(job["id"], "queued", seconds=180)
    tell(f"asleep in silence: noticed after {time.monotonic() - began:.0f} s")
    assert time.monotonic() - began > 90  # naps survive
    f.wake()
    assert f.wait_job(job["id"])["state"] == "done"
    assert runs(f, job["id"]) == (1, 1)


def test_silence_much_longer_than_any_bound_on_the_dead_is_left_alone(sleepy):
    """Half an hour of it, the short way: TCP's patience and the poller's are over
    many times, and a prompt is still a prompt."""
    for_job, for_chat = (sleepy(FOREMAN_TARGET_DEAD="4s", FOREMAN_TARGET_STALL="2s",
                                FOREMAN_KEEPALIVE="1s") for _ in "jc")
    job = for_job.submit(stream=True, fake_prompt_ms=9000, fake_tokens=2)
    chat = for_chat.chat(fake_prompt_ms=9000, fake_tokens=2)
    assert [json.loads(l)["done"] for _, l in chat.lines()] == [False, False, True]
    assert for_job.wait_job(job["id"])["state"] == "done"
    for f, id in ((for_job, job["id"]), (for_chat, chat.headers["Foreman-Job-Id"])):
        assert runs(f, id) == (1, 0)
        assert f.stats()["generations"] == 1


# --- the failing target, further ------------------------------------------------

@pytest.mark.parametrize("fault", ["fake_rst_at", "fake_cut_at"])
def test_a_job_whose_stream_breaks_goes_back_uncounted(foreman, fault):
    f = foreman()
    job = f.submit(stream=True, fake_tokens=5, **{fault: 2})
    until(lambda: runs(f, job["id"])[1] >= 2, "it was lost twice")
    # it lets others pass, and may still be canceled
    assert f.wait_job(f.submit("b", fake_tokens=1)["id"])["state"] == "done"
    assert runs(f, job["id"])[0] == 0
    f.post(f"/jobs/{job['id']}/cancel")
    assert f.wait_job(job["id"])["reason"] == "canceled"


def test_an_end_without_done_keeps_the_part_that_came(foreman):
    f = foreman()
    job = f.wait_job(f.submit(stream=True, fake_tokens=5, fake_eof_at=2)["id"])
    assert (job["state"], job["reason"]) == ("failed", "upstream_incomplete")
    [response] = [a for a in job["artifacts"] if a["name"] == "response"]
    assert response["complete"] is False


def test_a_client_of_a_busy_target_keeps_its_place(foreman):
    f = foreman(FOREMAN_KEEPALIVE="250ms")
    f.direct("POST", "/fake/set", {"busy": True})
    first = f.chat("b", fake_tokens=1)
    later = f.chat("b", fake_tokens=1)  # asked for the same model after it
    ids = [c.headers["Foreman-Job-Id"] for c in (first, later)]
    until(lambda: all(runs(f, id)[1] >= 1 for id in ids), "both were sent back")
    f.direct("POST", "/fake/set", {"busy": False})
    for chat in (first, later):
        assert json.loads(list(chat.lines())[-1][1])["done"]
    ended = f.query("SELECT id FROM jobs ORDER BY finished_ms, seq")
    assert [id for id, in ended] == ids


def test_done_and_then_a_reset_is_a_success(foreman):
    f = foreman()
    job = f.wait_job(f.submit(stream=True, fake_tokens=2, fake_rst_at=3)["id"])
    assert job["state"] == "done"
    assert runs(f, job["id"]) == (1, 0)
