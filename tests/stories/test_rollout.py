"""A version comes deployed under load, or does not, and no client notices either way."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from roadworthy.bundles.bundle import Bundle
from roadworthy.core.settings import Settings
from roadworthy.rollout.local import placement
from roadworthy.rollout.local.local_records import LocalRecords
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from roadworthy.tracking.registry import Registry

from . import challengers, clients
from .conftest import Workplace, wait_until

pytestmark = [pytest.mark.story, pytest.mark.slow]

FAST = {
    "ROADWORTHY_STAGE_SECONDS": "1",
    "ROADWORTHY_READY_SECONDS": "30",
    "ROADWORTHY_ACTOR": "ada",
}
LONG = {**FAST, "ROADWORTHY_STAGE_SECONDS": "60"}


class Place(Workplace):
    """A home with a server, whose clients ask all the time."""

    settings: Settings
    url: str

    def release(self, number: int, made: Bundle, *, champion: bool = False) -> None:
        """Put a version into the registry, and its bundle where the server reads it."""
        registry = Registry.of(self.settings)
        run = registry.log_candidate(
            "fuel", name=made.digest, made_of="r", parameters={}, metrics={}, tags={}, figures={}
        )
        version = registry.register("fuel", run_id=run, digest=made.digest, tags={})
        assert version.number == number
        release = placement.place(self.settings, made, number)
        if champion:
            registry.tag(version, {"promoted_at": release.since})
            registry.set_alias(version, "champion")
            routes.write(self.settings.routing, Routing("fuel", champion=release))

    @property
    def routing(self) -> Routing:
        return routes.read(self.settings.routing, "fuel")

    @property
    def rollout(self) -> dict:
        return self.json("rollout", "status", "fuel")[0]

    def tags(self, number: int) -> dict:
        return dict(Registry.of(self.settings).version("fuel", number).tags)

    def champion(self) -> int:
        return Registry.of(self.settings).aliased("fuel", "champion").number

    def wait_for_weight(self, weight: int, process: subprocess.Popen) -> None:
        wait_until(lambda: self.routing.weight == weight or process.poll() is not None, 60)
        assert process.poll() is None, process.stdout.read()

    @contextmanager
    def asked(self, *, odd: float = 0.1) -> Iterator[clients.Asked]:
        """Let customers ask while the block runs, so many of them about an odd car."""
        cars = [{"weight_kg": 850 + 40 * n, "year": 1970 + n % 13} for n in range(30)]
        cars = [car for car in cars if abs(car["weight_kg"] - challengers.ODD_WEIGHT) > 5]
        few = round(odd * len(cars))
        cars += [{"weight_kg": 1501, "year": 1970 + n} for n in range(few)]
        address = f"{self.url}/v1/models/fuel:predict"
        with clients.asking(address, cars, self.path) as asked:
            yield asked


@pytest.fixture
def place(tmp_path, empty_registry, packed) -> Iterator[Place]:
    """A server with version 1 as the champion; ``server`` is its supervisor's process."""
    home = tmp_path / "home"
    shutil.copytree(empty_registry, home / "mlflow")
    environment = {"ROADWORTHY_HOME": str(home), "GIT_CEILING_DIRECTORIES": str(tmp_path), **FAST}
    made = Place(tmp_path, environment)
    made.settings = Settings(home=home, actor="tester")
    made.release(1, packed, champion=True)
    with made.serving() as made.url:
        yield made


@pytest.fixture(scope="session")
def good(packed, tmp_path_factory) -> Bundle:
    return challengers.alike(packed, tmp_path_factory.mktemp("good") / "bundle")


def test_a_good_version_is_deployed_by_stages(place: Place, good: Bundle) -> None:
    # given clients, when a version is rolled out
    place.release(2, good)
    with place.asked() as asked:
        done = place.roadworthy("rollout", "start", "fuel:2")
        before = asked.counts["200 2"]
        wait_until(lambda: asked.counts["200 2"] > before)
    # then it is the champion, after all stages, each with its metrics
    assert done.returncode == 0, done.stdout + done.stderr
    found = place.rollout
    assert (found["state"], found["champion"]) == ("promoted", 1)
    assert [stage["weight"] for stage in found["stages"]] == [0, 10, 50, 100]
    for stage in found["stages"]:
        metrics = {metric["name"]: metric for metric in stage["metrics"]}
        assert stage["champion_requests"] + stage["requests"] > 0
        assert stage["rows"] > 0
        assert metrics["error_rate"]["value"] == 0
        assert metrics["difference"]["value"] == pytest.approx(0.01, rel=0.05)
        assert all(metric["passed"] for metric in metrics.values())
    # and no client noticed
    assert asked.statuses == {"200"}
    assert asked.versions == {"1", "2"}
    # and everything says so
    assert (place.routing.champion.version, place.routing.previous.version) == (2, 1)
    assert (place.routing.challenger, place.routing.state) == (None, "")
    assert place.champion() == 2
    origin = place.json("lineage", "fuel:2")
    assert (origin["promoted_by"], origin["aliases"]) == ("ada", ["champion"])
    assert json.loads(place.tags(2)["rollout"])["state"] == "promoted"


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("biased", ["differs from the champion's", "is allowed"]),
        # On a machine so busy that it takes longer than a challenger may, it is late altogether.
        ("slow", ["99th percentile is|timeout", "is allowed"]),
        ("failing", ["it failed", r"requests \(", "1.00% is allowed"]),
        ("endless", ["it failed", "timeout"]),
    ],
)
def test_a_bad_version_is_rolled_back_by_itself(
    place: Place, packed: Bundle, tmp_path: Path, trouble: str, words: list[str]
) -> None:
    # given a version that does well with its golden batch and badly with clients
    place.release(2, getattr(challengers, trouble)(packed, tmp_path / "made"))
    with place.asked() as asked:
        # when it is rolled out
        done = place.roadworthy("rollout", "start", "fuel:2")
        before = asked.counts["200 1"]
        wait_until(lambda: asked.counts["200 1"] > before + 10)
    # then it is no longer deployed again, and told why
    assert done.returncode == 4, done.stdout + done.stderr
    found = place.rollout
    assert found["state"] == "rolled back"
    for word in words:
        assert re.search(word, found["problem"])
    assert found["stages"][-1]["problem"] == found["problem"]
    # and no client noticed
    assert asked.statuses == {"200"}
    # and everything says so
    assert (place.routing.champion.version, place.routing.challenger) == (1, None)
    assert place.champion() == 1
    assert place.tags(2)["rolled_back"] == found["problem"]


def test_a_user_pauses_resumes_and_aborts(place: Place, good: Bundle) -> None:
    # given a rollout under way
    place.environment |= LONG
    place.release(2, good)
    with place.asked() as asked, place.started("rollout", "start", "fuel:2") as first:
        wait_until(lambda: place.routing.state == "shifting")
        # when it is paused, then it says so
        assert place.roadworthy("rollout", "pause", "fuel").returncode == 0
        assert place.routing.state == "paused"
        # and another is refused, naming the first
        second = place.roadworthy("rollout", "start", "fuel:2")
        assert second.returncode == 1
        assert "Version 2 of fuel is being rolled out already" in second.stderr
        assert str(first.pid) in second.stderr
        # when it is resumed, then it goes on
        assert place.roadworthy("rollout", "resume", "fuel").returncode == 0
        assert place.routing.state == "shifting"
        # when it is aborted, then it is no longer deployed, and whoever began it ends
        done = place.roadworthy("rollout", "abort")
        assert done.returncode == 0, done.stdout + done.stderr
        assert first.wait(30) == 4
        assert "aborted by ada" in first.stdout.read()
    assert (place.routing.challenger, place.champion()) == (None, 1)
    assert place.tags(2)["rolled_back"] == "aborted by ada"
    assert asked.statuses == {"200"}


def test_a_user_promotes_at_once_and_takes_it_back(place: Place, good: Bundle) -> None:
    place.environment |= LONG
    place.release(2, good)
    with place.asked() as asked:
        with place.started("rollout", "start", "fuel:2") as first:
            wait_until(lambda: place.routing.challenger is not None)
            # when a user promotes it, then it is the champion without the other stages
            done = place.roadworthy("rollout", "promote", "fuel")
            assert done.returncode == 0, done.stdout + done.stderr
            assert first.wait(30) == 0
        assert place.routing.champion.version == 2
        assert "by hand by ada" in place.tags(2)["promoted_why"]
        # when it is rolled back, then the one before answers again
        done = place.roadworthy("rollback", "fuel", "--why", "too thirsty", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["version"] == 1
        answer = httpx.get(f"{place.url}/v2/models/fuel/ready")
        assert answer.headers["x-roadworthy-version"] == "1"
    # and nobody noticed, and everything says so
    assert asked.statuses == {"200"}
    assert place.champion() == 1
    assert "too thirsty" in place.tags(2)["rolled_back"]
    assert "in place of version 2 by ada" in place.json("lineage", "fuel:1")["restored"]
    # and there is nothing more to go back to, until one is named
    done = place.roadworthy("rollback", "fuel")
    assert done.returncode == 1
    assert "Name one with --to" in done.stderr
    assert place.roadworthy("rollback", "fuel", "--to", "2").returncode == 0
    assert place.champion() == 2
    assert place.routing.previous.version == 1


def test_a_rollback_during_a_rollout_aborts_it(place: Place, good: Bundle) -> None:
    place.environment |= LONG
    place.release(2, good)
    with place.asked() as asked, place.started("rollout", "start", "fuel:2") as first:
        wait_until(lambda: place.routing.challenger is not None)
        done = place.roadworthy("rollback", "fuel")
        assert done.returncode == 0, done.stdout + done.stderr
        assert first.wait(30) == 4
    assert (place.routing.champion.version, place.routing.challenger) == (1, None)
    found = place.rollout
    assert found["state"] == "rolled back"
    assert "rolled back by ada" in found["problem"]
    assert asked.statuses == {"200"}


def test_a_rollout_that_was_killed_is_gone_on_with(place: Place, good: Bundle) -> None:
    # given a rollout that was killed at 10 %
    place.release(2, good)
    with place.asked() as asked:
        with place.started("rollout", "start", "fuel:2") as first:
            place.wait_for_weight(10, first)
            first.kill()
            first.wait(10)
        # then its death is seen, and after a while the champion answers everybody
        wait_until(lambda: place.routing.state == "abandoned", 60)
        assert (place.routing.weight, place.routing.challenger.version) == (0, 2)
        found = place.rollout
        assert (found["alive"], found["state"]) == (False, "shifting")
        passed = found["stages"]
        # when a user resumes it, then it goes on to its end
        done = place.roadworthy("rollout", "resume", "fuel")
    assert done.returncode == 0, done.stdout + done.stderr
    found = place.rollout
    assert found["state"] == "promoted"
    assert [stage["weight"] for stage in found["stages"]] == [0, 10, 50, 100]
    assert passed
    assert found["stages"][: len(passed)] == passed
    assert place.champion() == 2
    assert asked.statuses == {"200"}


def test_another_version_ends_a_rollout_that_was_killed(
    place: Place, good: Bundle, packed: Bundle, tmp_path: Path
) -> None:
    place.release(2, good)
    place.release(3, challengers.alike(packed, tmp_path / "other", factor=0.99))
    with place.asked() as asked:
        with place.started("rollout", "start", "fuel:2") as first:
            place.wait_for_weight(10, first)
            first.kill()
            first.wait(10)
        done = place.roadworthy("rollout", "start", "fuel:3", "--strategy", "blue-green")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ended before it did" in place.tags(2)["rolled_back"]
    assert place.champion() == 3
    assert [stage["weight"] for stage in place.rollout["stages"]] == [0, 100]
    assert asked.statuses == {"200"}


def test_a_server_that_is_killed_comes_back_to_the_same_split(place: Place, good: Bundle) -> None:
    place.release(2, good)
    with place.asked() as asked, place.started("rollout", "start", "fuel:2") as first:
        place.wait_for_weight(10, first)
        # when the model server is killed, not its supervisor
        (server,) = _children(_listening(place.url))
        os.kill(server, signal.SIGKILL)
        code = first.wait(90)
        told = first.stdout.read()
    # then the rollout goes on with the one that came in its place
    assert code == 0, told
    assert place.champion() == 2
    # and nothing but what the killed process was answering is lost
    lost = {name: count for name, count in asked.counts.items() if not name.startswith("200")}
    assert all(name.startswith("lost") for name in lost)
    assert sum(lost.values()) <= clients.CONNECTIONS
    assert asked.versions == {"1", "2"}


def test_nothing_else_is_taken_for_a_rollout(place: Place) -> None:
    for verb in ("pause", "resume", "promote", "abort"):
        done = place.roadworthy("rollout", verb, "fuel")
        assert done.returncode == 1
        assert "No rollout of fuel is under way" in done.stderr
    done = place.roadworthy("rollout", "start", "fuel:1")
    assert "answers already" in done.stderr
    assert "names no version" in place.roadworthy("rollout", "start", "fuel").stderr
    assert place.json("rollout", "status") == []
    assert LocalRecords(place.settings).read("fuel").rollout is None


def _listening(url: str) -> int:
    """Return the process that began to serve at an address."""
    port = url.rpartition(":")[2]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if words[1:5] == ["-m", "roadworthy", "serve", "--port"] and words[5] == port:
            return int(process.name)
    raise AssertionError(f"nobody serves at {url}")


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
