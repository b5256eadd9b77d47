"""Fixtures: `foreman(...)` starts a service for the test and stops it after."""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "deploy"))

from harness import SECRET, Service  # noqa: E402
from receiver import Receiver  # noqa: E402

# Who started us in the background had these ignored, and programs inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser):
    parser.addoption("--build", default=os.getcwd(), help="where the programs are")
    parser.addoption("--storm", type=int, default=1000,
                     help="how many clients leave in test_storm.py")
    parser.addoption("--kills", type=int, default=20,
                     help="how often test_killloop.py kills")
    parser.addoption("--slow", action="store_true",
                     help="also what takes minutes: the tests marked slow")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="takes minutes: --slow"))


@pytest.fixture
def build(request):
    return os.path.abspath(request.config.getoption("--build"))


@pytest.fixture
def storm(request):
    return request.config.getoption("--storm")


@pytest.fixture
def kills(request):
    return request.config.getoption("--kills")


@pytest.fixture
def foreman(build):
    """A function that starts a service with the settings and fake flags given."""
    services = []

    def start(fake=(), **settings):
        service = Service(build, fake, **settings)
        services.append(service)
        return service.start()

    yield start
    wrong = [text for service in services for text in service.stop()]
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def receiver():
    """A function that starts a webhook receiver which knows SECRET."""
    receivers = []

    def start(answers=None):
        receivers.append(Receiver(SECRET, answers=answers))
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
