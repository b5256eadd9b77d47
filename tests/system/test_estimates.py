"""Places in line and estimates, as clients see them, against what then happens."""

from datetime import datetime


def at(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_an_estimate_is_told_as_soon_as_the_pace_is_known(foreman):
    f = foreman(["--load-ms", "0"])
    running = f.busy("a")
    first = f.submit("a", fake_tokens=5, fake_token_ms=10)
    job = f.job(first["id"])
    assert (job["position"], job["estimate"]) == (1, None)  # no run of it is known
    assert f.get("/queue").json()["estimate"] is None
    running.close()
    f.wait_job(first["id"])

    running = f.busy("a")
    queued = [f.submit("a", fake_tokens=5, fake_token_ms=10) for _ in range(3)]
    strange = f.submit("b")
    shown = [f.job(job["id"]) for job in queued]
    assert [job["position"] for job in shown] == [1, 2, 3]
    for job, following in zip(shown, shown[1:]):
        assert at(job["estimate"]["starts_at"]) < at(job["estimate"]["ends_at"])
        assert at(job["estimate"]["starts_at"]) <= at(following["estimate"]["starts_at"])
    listed = {job["id"]: job for job in f.get("/jobs?state=queued").json()["jobs"]}
    assert [listed[job["id"]]["position"] for job in queued] == [1, 2, 3]
    assert listed[queued[2]["id"]]["estimate"]
    job = f.job(strange["id"])
    assert (job["position"], job["estimate"]) == (4, None)
    line = {row["model"]: row for row in f.get("/queue").json()["waiting"]}
    assert at(line["a:latest"]["estimate"]["starts_at"]) < \
        at(line["a:latest"]["estimate"]["ends_at"])
    assert line["b:latest"]["estimate"] is None
    running.close()
    f.wait_job(strange["id"])
    assert f.job(strange["id"])["estimate"] is None
    queue = f.get("/queue").json()
    assert queue["estimate"]["empty_at"] and queue["waiting"] == []


def test_places_come_true(foreman):
    f = foreman(["--load-ms", "0"])
    running = f.busy("a")
    jobs = [f.submit(model, fake_tokens=1, fake_token_ms=0) for model in "cbacbabc"]
    foretold = {job["id"]: f.job(job["id"])["position"] for job in jobs}
    assert sorted(foretold.values()) == list(range(1, 9))
    running.close()
    for job in jobs:
        f.wait_job(job["id"])
    ran = [id for id, in f.query("SELECT id FROM jobs WHERE NOT attended"
                                 " ORDER BY loading_ms, finished_ms")]
    assert ran == sorted(foretold, key=foretold.get)
