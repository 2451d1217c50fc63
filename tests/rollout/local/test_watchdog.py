"""A version whose driver is dead loses its traffic, and nothing else does."""

import subprocess
import sys

import pytest

from roadworthy.core import process_id
from roadworthy.core.settings import Settings
from roadworthy.rollout.local.watchdog import ABANDONED, Watchdog, watching
from roadworthy.routing import routes
from roadworthy.routing.routes import Release, Routing

FIRST = Release(1, "one", "ab", "2026-01-01T00:00:00+00:00")
SECOND = Release(2, "two", "cd", "2026-01-02T00:00:00+00:00")


@pytest.fixture
def home(tmp_path):
    return Settings(home=tmp_path, abandoned_seconds=5)


@pytest.fixture(scope="module")
def dead():
    """A process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    told = process_id.here(process.pid)
    process.communicate()
    return told


def shared(of, **more):
    return Routing(
        "fuel", FIRST, SECOND, weight=50, shadow=True, state="shifting", holder=of, **more
    )


def test_the_champion_answers_everybody_when_the_driver_is_dead_for_long_enough(home, dead):
    now = [0.0]
    routes.write(home.routing, shared(dead))
    watchdog = Watchdog(home, clock=lambda: now[0])

    assert watchdog.look() == []
    now[0] = 4.9
    assert watchdog.look() == []
    now[0] = 5.0
    assert watchdog.look() == ["fuel"]

    found = routes.read(home.routing, "fuel")
    assert (found.weight, found.shadow, found.state) == (0, False, ABANDONED)
    assert (found.champion, found.challenger) == (FIRST, SECOND)
    now[0] = 60.0
    assert watchdog.look() == []


def test_a_driver_that_takes_over_in_time_keeps_the_split(home, dead):
    now = [0.0]
    routes.write(home.routing, shared(dead))
    watchdog = Watchdog(home, clock=lambda: now[0])
    watchdog.look()

    routes.write(home.routing, shared(process_id.here()))
    now[0] = 60.0

    assert watchdog.look() == []
    assert routes.read(home.routing, "fuel").weight == 50


@pytest.mark.parametrize(
    "of", ["", "elsewhere:1:2", process_id.here()], ids=["nobody", "elsewhere", "here"]
)
def test_of_whom_it_is_not_known_that_he_is_dead_nothing_is_taken(home, of):
    routes.write(home.routing, shared(of))
    at_once = home.model_copy(update={"abandoned_seconds": 0.0})

    assert Watchdog(at_once).look() == []
    assert routes.read(home.routing, "fuel") == shared(of)


def test_a_thread_looks_while_the_block_runs(home, dead):
    routes.write(home.routing, shared(dead))

    with watching(home.model_copy(update={"abandoned_seconds": 0.0})):
        while routes.read(home.routing, "fuel").state != ABANDONED:
            pass
