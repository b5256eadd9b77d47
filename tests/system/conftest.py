"""Fixtures: `foreman(...)` starts a service for the test and stops it after."""

import contextlib
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "deploy"))

from harness import SECRET, Service, free_port  # noqa: E402
from receiver import Receiver  # noqa: E402

# Who started us in the background had these ignored, and programs inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops what was started
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

ours = set()  # the files we have marked, with --share


def pytest_addoption(parser):
    parser.addoption("--build", default=os.getcwd(), help="where the programs are")
    parser.addoption("--storm", type=int, default=1000,
                     help="how many clients leave in test_storm.py")
    parser.addoption("--kills", type=int, default=20,
                     help="how often test_killloop.py kills")
    parser.addoption("--limit", type=int, default=0, metavar="SECONDS",
                     help="no test may take longer; 0: as long as it likes")
    parser.addoption("--share", metavar="DIR",
                     help="run only files that no other run has marked there")
    parser.addoption("--slow", action="store_true",
                     help="also what takes minutes: the tests marked slow")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="takes minutes: --slow"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    """With --share: several runs share the files, each takes the next one."""
    share = item.config.getoption("--share")
    if not share or item.path in ours:
        return None  # go on as ever
    try:
        os.mkdir(os.path.join(share, item.path.stem))
        ours.add(item.path)
        return None
    except FileExistsError:
        return True  # done with it


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """With --limit no wait is for ever."""
    limit = item.config.getoption("--limit")

    def stop(*_):
        raise TimeoutError(f"the test takes longer than {limit} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    yield
    signal.alarm(0)


@pytest.fixture(scope="session")
def build(request):
    return os.path.abspath(request.config.getoption("--build"))


@pytest.fixture
def storm(request):
    return request.config.getoption("--storm")


@pytest.fixture
def kills(request):
    return request.config.getoption("--kills")


@contextlib.contextmanager
def services(build):
    """A function that starts one; all are stopped, and nothing was wrong."""
    started = []

    def start(fake=(), **settings):
        service = Service(build, fake, **settings)
        started.append(service)
        return service.start()

    yield start
    wrong = [text for service in started for text in service.stop()]
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def foreman(build):
    """A function that starts a service with the settings and fake flags given."""
    with services(build) as start:
        yield start


@pytest.fixture(scope="module")
def common(build):
    """One service for those tests of a file that leave it as it was."""
    with services(build) as start:
        yield start()


@pytest.fixture
def receiver():
    """A function that starts a webhook receiver which knows SECRET."""
    receivers = []

    def start(answers=None):
        receivers.append(Receiver(SECRET, free_port(), answers))
        return receivers[-1]

    yield start
    for r in receivers:
        r.close()


@pytest.fixture
def tell(capsys):
    """Print a figure where the reader of the run sees it."""
    def say(text):
        with capsys.disabled():
            print(f"\n    {text}", flush=True)
    return say
