"""What the documents claim: their examples run, their tables are the code's."""

import contextlib
import glob
import os
import re
import shutil
import sqlite3
import subprocess

import pytest

import receiver as demo
from harness import SECRET, TOP, until

DOCS = os.path.join(TOP, "docs")
# an example of the documents fails where its call or one of its pipes does
STRICT = 'set -euo pipefail; curl() { command curl --fail-with-body "$@"; }'


def text_of(path):
    with open(os.path.join(TOP, path)) as f:
        return f.read()


def blocks(page, *kinds):
    """(line, kind, text) of the page's fenced blocks of these kinds."""
    text = text_of(f"docs/{page}.md")
    return [(text[:m.start()].count("\n") + 1, m[1], m[2])
            for m in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
            if m[1] in kinds]


def rows(page, *header):
    """The rows of the page's table that begins with these heads, a list of cells."""
    head = re.escape("| " + " | ".join(header) + " |")
    table = re.search(rf"^{head}\n\|[-|]+\n((?:\|.*\n)+)", text_of(f"docs/{page}.md"), re.M)
    assert table, header
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
            for line in table[1].splitlines()]


def need(tool):
    if not shutil.which(tool):
        pytest.skip(f"no {tool} here: what needs it is not tested")


def run(script, service):
    """The script's output, in the service's directory; it must succeed."""
    script = script.replace("localhost:8080", f"127.0.0.1:{service.port}")
    ran = subprocess.run(["bash", "-c", script], cwd=service.dir, capture_output=True,
                         text=True, timeout=120)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}\n{service.logs()}"
    return ran.stdout


# --- docs/api.md ---------------------------------------------------------------------


def test_the_examples_of_the_api_work(foreman):
    need("curl")
    need("jq")
    f = foreman(fake=["--model", "qwen3:8b", "--tokens", "3", "--token-ms", "5",
                      "--load-ms", "20"])
    script = [STRICT]
    examples = blocks("api", "sh")
    assert len(examples) > 15
    for line, _, text in examples:
        script += [f"echo '--- line {line}'", text, "echo"]
    out = run("\n".join(script), f)
    said = {int(part.partition("\n")[0]): part.partition("\n")[2].strip()
            for part in out.split("--- line ")[1:]}
    assert all(said[line] for line, _, text in examples
               if "DELETE" not in text and "state=queued" not in text), out


def test_the_errors_are_those_of_the_code():
    table = re.findall(r'^\t\[FAULT_\w+\] = \{ (\d+), "(\w+)", (true|false)',
                       text_of("src/responder/answer.c"), re.M)
    assert len(table) > 20
    assert sorted(row[:3] for row in rows("api", "status", "`code`", "`retryable`", "when")) \
        == sorted([status, code, "yes" if again == "true" else "no"]
                  for status, code, again in table)


def test_the_reasons_are_those_of_the_code():
    enum = re.search(r"enum job_reason \{(.*?)/\* only for moves", text_of("src/core/job.h"),
                     re.S)[1]
    reasons = {name.lower() for name in re.findall(r"REASON_(\w+)", enum)} - {"none"}
    table = rows("api", "`reason`", "a job failed because")
    assert {row[0] for row in table} == reasons


def test_every_call_has_its_section_and_its_line_in_the_table():
    routes = re.findall(r'^\t\{ ([A-Z_ |]+), "([^"]+)", [^}]*?,\s+NULL \},',
                        text_of("src/responder/route.c"), re.M)
    assert len(routes) > 10
    page = text_of("docs/api.md")
    for methods, path in routes:
        path = re.sub(r"(?<=/artifacts/)\w+$", "{name}", path)
        for method in methods.replace("READ", "METHOD_GET").split("|"):
            call = f"{method.strip().removeprefix('METHOD_')} {path}"
            assert re.search(rf"^### .*`{re.escape(call)}`", page, re.M), call
            assert re.search(rf"^\| \[.*`{re.escape(call)}`.*\]\(#", page, re.M), call


def test_the_job_object_shown_has_every_member():
    members = set(re.findall(r'add_\w+\(\w+, "(\w+)"', text_of("src/core/job.c")))
    assert len(members) > 30
    [shown] = [text for _, _, text in blocks("api", "json") if '"waiting_on":' in text]
    assert set(re.findall(r'"(\w+)":', shown)) == \
        members - {"complete", "starts_at", "ends_at"}  # of one that is cut, or waits


# --- docs/webhooks.md ----------------------------------------------------------------


def test_the_deliveries_shown_verify(monkeypatch):
    secrets = re.findall(r"<!-- with the secret (\S+) -->\n```http", text_of("docs/webhooks.md"))
    shown = blocks("webhooks", "http")
    assert len(shown) == len(secrets) == 2
    for secret, (line, _, text) in zip(secrets, shown):
        head, _, body = text.partition("\n\n")
        body = body.removesuffix("\n").encode()
        headers = {name.lower(): value for name, value in
                   re.findall(r"^([\w-]+): (.*)$", head, re.M)}
        monkeypatch.setattr(demo.DOCUMENTED.time, "time",
                            lambda: int(headers["webhook-timestamp"]))
        assert demo.verify(secret, headers, body) is None, line
        assert demo.verify(secret, headers, body + b" "), line
        assert int(headers.get("content-length", len(body))) == len(body)


def test_the_receivers_shown_are_the_files():
    shown = blocks("webhooks", "python", "javascript", "go", "c", "sh")
    files = [text_of(os.path.relpath(path, TOP))
             for path in glob.glob(os.path.join(DOCS, "receivers", "receiver.*"))]
    assert len(files) == 5
    for line, kind, text in shown:
        if "openssl rand -base64" in text or text.startswith("curl "):
            continue  # not of a receiver
        assert any(text in file for file in files), f"line {line} is in no file"


def test_a_secret_made_as_shown_is_taken_and_the_calls_work(foreman):
    for tool in ("openssl", "curl", "jq"):
        need(tool)
    shown = [text for _, _, text in blocks("webhooks", "sh")]
    [made] = [text for text in shown if "openssl rand -base64" in text]
    f = foreman()
    secret = run(made, f).strip()
    f.submit(webhook={"url": "https://app.example/hook", "secret": secret})
    calls = [text for text in shown if text.startswith("curl ")]
    assert calls
    for text in calls:
        run(f"{STRICT}\n{text}", f)


# --- docs/architecture.md, docs/hacking.md ---------------------------------------------


def texts(*patterns):
    """What these files hold, one after the other."""
    return "".join(text_of(path) for pattern in patterns
                   for path in glob.glob(f"{TOP}/{pattern}", recursive=True))


def named(page):
    """What the page puts in backticks, but for its blocks."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text_of(page),
                                                 flags=re.M | re.S)))


@pytest.mark.parametrize("page", ["architecture", "hacking"])
def test_the_pages_for_hackers_name_what_is_there(page):
    """Paths, functions, limits and test cases: a word of four parts or more is a case."""
    code, limits = texts("src/**/*.[ch]"), texts("src/core/limits.h")
    cases = texts("tests/unit/**/*.c", "tests/system/*.py")
    layers = "|".join(next(os.walk(f"{TOP}/src"))[1])
    wrong = []
    for name in named(f"docs/{page}.md"):
        word = re.escape(name.removesuffix("()"))
        if name.endswith("()"):
            there = re.search(rf"^(?:[a-z].*|#define )\b{word}\(", code, re.M)
        elif re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+){3,}", name):
            there = re.search(rf"^(static void|def) {word}\(", cases, re.M)
        elif name.startswith("LIMIT_"):
            there = re.search(rf"^#define {word}\b", limits, re.M)
        elif re.match(rf"({layers}|src|tests|docs|deploy)/", name) and "LAYER" not in name:
            path = name.partition(" ")[0]  # and its arguments
            there = [p for form in ("{}", "{}.c", "src/{}") for p in
                     glob.glob(f"{TOP}/{form.format(path)}")]
        elif re.fullmatch(r"\w+\.[ch]", name):
            there = glob.glob(f"{TOP}/src/*/{name}") or glob.glob(f"{TOP}/tests/unit/**/{name}",
                                                               recursive=True)
        else:
            continue
        if not there:
            wrong.append(name)
    assert not wrong


# --- docs/database.md ----------------------------------------------------------------


@pytest.fixture
def lived(foreman, receiver):
    """A service that has seen a bit of everything; the id of a job that is done."""
    f, r = foreman(), receiver()
    hook = {"url": r.url, "secret": SECRET}
    f.lived = f.submit(webhook=hook, fake_tokens=2)["id"]
    for id in (f.lived, f.submit("nope", hook)["id"]):
        f.wait_job(id)
        r.wait_for(lambda all, id=id: any(d.job["id"] == id and d.job["terminal"]
                                          for d in all))
    until(lambda: f.query("SELECT count(*) FROM owed_webhooks") == [(0,)], "all are noted")
    return f


def test_every_query_of_the_database_page_works(lived):
    need("sqlite3")
    copy = f"{lived.dir}/copy.db"
    queries = blocks("database", "sql", "sh")
    assert len(queries) > 10
    for line, kind, text in queries:
        for old, new in (("/var/lib/foreman/foreman.db", lived.db),
                         ("/var/backups/foreman.db", copy),
                         ("01M7XR80TGK73853VMB7H13J24", lived.lived)):
            text = text.replace(old, new)
        if kind == "sql":
            text = f"sqlite3 -readonly -batch -bail {lived.db} <<'END'\n{text}\nEND"
        out = run(text, lived)
        if "SELECT" in text and "queue" not in text and "4711" not in text and \
                "pending" not in text:
            assert out.strip(), f"line {line} finds nothing"
    with contextlib.closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_database_page_names_every_table_and_view(foreman):
    f = foreman()
    page = text_of("docs/database.md")
    tables = {name for row in rows("database", "table", "rows", "kept by")
              for name in row[0].replace("`", "").split(", ")}
    views = {row[0] for row in rows("database", "view", "what it shows")}
    of = lambda type: {name for name, in f.query(  # noqa: E731
        "SELECT name FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'sqlite_%'", type)}
    assert (tables, views) == (of("table"), of("view"))
    [(version,)] = f.query("PRAGMA user_version")
    assert f"This is version {version} of the schema" in page
    assert rows("database", "version", "came with", "what it brought")[-1][0] == str(version)


# --- docs/scaling.md -----------------------------------------------------------------

# what stands there: the row of docs/performance.md it is rounded from
ROUNDED = {
    r"([\d,]+)/s from one client": "POST /jobs, 1 client, plain disk",
    r"([\d,]+)/s from 64": "POST /jobs, 64 clients, plain disk",
    r"an fsync ([\d,]+)/s": "POST /jobs, 1 client, fdatasync takes 2 ms",
    r"an fsync [\d,]+/s and ([\d,]+)/s": "POST /jobs, 64 clients, fdatasync takes 2 ms",
    r"embeddings past the queue \| ([\d,]+)/s": "POST /api/embed, small, 16 clients",
    r"4096\), ([\d,]+) KB each": "RSS of the responders for a parked chat beyond 128",
    r"a claim takes ([\d,]+) µs": "store, 100,000 queued and 1,000,000 finished: claim",
    r"([\d.]+) instead of 76": "loads for 100 jobs over four models in random order",
}


def test_its_figures_are_those_of_the_benchmarks_table():
    table = {what: float(figure) for what, figure in
             re.findall(r"^\| ([^|]+) \| ([\d.]+)", text_of("docs/performance.md"), re.M)}
    page = text_of("docs/scaling.md")
    for shown, what in ROUNDED.items():
        figure = re.search(shown, page)
        assert figure, shown
        told, measured = float(figure[1].replace(",", "")), table[what]
        assert abs(told - measured) <= measured / 10, (what, told, measured)


# --- all of them ---------------------------------------------------------------------


def anchors(page):
    """The names a heading can be linked by, as GitHub makes them."""
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page,
                                                   flags=re.M | re.S), re.M):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_link_leads_somewhere():
    pages = [os.path.join(TOP, "README.md"), *glob.glob(f"{DOCS}/**/*.md", recursive=True)]
    wrong = []
    for page in pages:
        text = text_of(page)
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            there = os.path.normpath(os.path.join(os.path.dirname(page), path)) \
                if path else page
            if not os.path.exists(there):
                wrong.append(f"{page}: {link}")
            elif anchor and anchor not in anchors(text_of(there)):
                wrong.append(f"{page}: {link}")
    assert not wrong
