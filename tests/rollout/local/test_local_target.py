"""A version is staged beside the champion, promoted or taken off; the champion goes on."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from roadworthy.bundles import bundle
from roadworthy.bundles.bundle import BundleError
from roadworthy.core.errors import ExitCode
from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import record
from roadworthy.rollout.engine.record import RollbackIntent
from roadworthy.rollout.engine.state import RefusedError, RolledBackError, RolloutError
from roadworthy.rollout.engine.target import Status
from roadworthy.rollout.local import placement
from roadworthy.rollout.local.local_target import LocalTarget
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from tests.parts.answering import Reply
from tests.rollout.staging import rollout, stage

CAR = {"weight_kg": 1200, "year": 1980}


@pytest.fixture
def home(tmp_path):
    """A home that no server watches."""
    return Settings(home=tmp_path, serving_url="http://127.0.0.1:9", ready_seconds=0.3)


@pytest.fixture
def live(served_home, packed):
    """The served home with version 1 as the champion."""
    stage(served_home, packed, 1)
    promote(served_home, 1)
    return served_home


@pytest.fixture
def own(packed, tmp_path):
    return bundle.read(Path(shutil.copytree(packed.path, tmp_path / "own")))


def ask(settings, version=None):
    """Return which version answers, or the status of the refusal."""
    answer = httpx.post(
        f"{settings.serving_url}/v1/models/fuel:predict",
        json={"instances": [CAR]},
        headers={"x-roadworthy-version": str(version)} if version else {},
        trust_env=False,
    )
    told = answer.headers.get("x-roadworthy-version")
    return int(told) if answer.is_success else answer.status_code


def promote(settings, version):
    LocalTarget(settings).promote(rollout(settings, version, "promoted"))


def roll_back(settings, version):
    LocalTarget(settings).roll_back(rollout(settings, version, "rolled back"))


def answers_soon(settings, expected, version=None):
    return any(ask(settings, version) == expected for _ in range(300))


def test_a_staged_version_answers_only_those_who_ask_for_it(live, simple):
    stage(live, simple, 2)

    assert ask(live) == 1
    assert ask(live, 2) == 2
    found = routes.read(live.routing, "fuel")
    assert (found.champion.version, found.challenger.version) == (1, 2)


def test_a_promoted_version_answers_everybody(live, simple):
    stage(live, simple, 2)

    promote(live, 2)

    assert answers_soon(live, 2)
    assert routes.read(live.routing, "fuel").challenger is None
    promote(live, 2)
    assert routes.read(live.routing, "fuel").champion.version == 2


def test_a_version_that_is_rolled_back_answers_nobody(live, simple):
    stage(live, simple, 3)

    roll_back(live, 3)
    roll_back(live, 3)

    assert answers_soon(live, 404, version=3)
    assert ask(live) == 1
    assert routes.read(live.routing, "fuel").challenger is None


def test_a_version_that_never_comes_up_is_told(live, simple):
    elsewhere = live.model_copy(update={"serving_url": "http://127.0.0.1:9", "ready_seconds": 0.3})

    with pytest.raises(RolloutError) as caught:
        stage(elsewhere, simple, 5)

    sentence = str(caught.value)
    assert "Version 5 of fuel did not come up at http://127.0.0.1:9 within 0.3 s" in sentence
    assert str(live.routing) in sentence
    assert routes.read(live.routing, "fuel").champion.version == 1
    roll_back(live, 5)


def test_another_bundle_under_the_version_is_not_taken_for_this_one(live, home, packed, simple):
    stage(live, simple, 6)
    wrong = home.model_copy(update={"serving_url": live.serving_url})

    with pytest.raises(RolloutError, match=f"it has the bundle {simple.digest[:12]}"):
        stage(wrong, packed, 6)


@pytest.mark.parametrize("weight", [10, 100, 0])
def test_a_weight_is_written_and_told_by_the_server(live, simple, weight):
    stage(live, simple, 2)

    LocalTarget(live).shift(rollout(live, 2, "shifting", weight=weight))

    found = routes.read(live.routing, "fuel")
    assert (found.weight, found.shadow, found.state) == (weight, True, "shifting")
    card = httpx.get(f"{live.serving_url}/v2/models/fuel/card", trust_env=False).json()
    assert {part["version"]: part["weight"] for part in card["split"]} == {
        1: 100 - weight,
        2: weight,
    }
    assert (100 in (weight, 100 - weight)) <= (ask(live) == (2 if weight == 100 else 1))
    # and staging it again, as whoever takes over does, keeps the weight
    stage(live, simple, 2)
    assert routes.read(live.routing, "fuel").weight == weight
    roll_back(live, 2)


def test_metrics_are_read_from_a_real_server(live, simple):
    stage(live, simple, 2)
    target, under_way = LocalTarget(live), rollout(live, 2, "shifting", weight=100)
    target.shift(under_way)
    before = target.observe(under_way)

    asked = [ask(live) for _ in range(30)]

    grown = target.observe(under_way).since(before)
    assert asked == [2] * 30
    assert (grown.asked, grown.failures, sum(grown.fallbacks.values())) == (30, 0, 0)
    assert grown.traffic > 0
    assert max(grown.seconds.values()) == 30
    roll_back(live, 2)


def test_a_routing_file_that_somebody_changed_is_left_alone(home, packed):
    release = placement.place(home, packed, 1)
    routes.write(home.routing, Routing("fuel", champion=release))
    intent = RollbackIntent("fuel", 1, (2,), "ada", "2026-01-02T03:04:05+00:00", "it smokes")
    record.leave(LocalTarget(home).records, intent)

    for act in (LocalTarget(home).shift, LocalTarget(home).observe):
        with pytest.raises(RolledBackError, match=r"rolled back by ada at 2026.*: it smokes"):
            act(rollout(home, 2, "shifting", weight=10))

    assert routes.read(home.routing, "fuel") == Routing("fuel", champion=release)


def test_rolling_means_nothing_here(home):
    with pytest.raises(RolloutError, match="no replicas"):
        LocalTarget(home).check("rolling")
    LocalTarget(home).check("canary")


def test_the_champion_before_is_kept_in_mind(home, packed, simple):
    first, second = placement.place(home, packed, 1), placement.place(home, simple, 2)
    routes.write(home.routing, Routing("fuel", champion=first, challenger=second))

    promote(home, 2)
    promote(home, 2)

    found = routes.read(home.routing, "fuel")
    assert (found.champion, found.previous) == (second, first)


def test_two_that_place_at_once_end_with_one_whole_copy(home, packed):
    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(lambda number: placement.place(home, packed, number), range(8)))

    assert {release.bundle for release in placed} == {str(home.bundles / packed.digest)}
    assert bundle.read(home.bundles / packed.digest, packed.digest)
    assert [path.name for path in home.bundles.iterdir()] == [packed.digest]


@pytest.mark.parametrize("name", [bundle.MODEL, bundle.MANIFEST])
def test_a_bundle_that_was_damaged_since_it_was_read_is_refused(home, own, name):
    file = own.path / name
    file.write_bytes(file.read_bytes() + b" ")

    with pytest.raises(BundleError):
        placement.place(home, own, 1)

    assert list(home.bundles.iterdir()) == []


@pytest.mark.parametrize("name", [bundle.MODEL, bundle.MANIFEST])
def test_a_copy_that_was_damaged_is_replaced_by_a_whole_one(home, packed, name):
    file = Path(placement.place(home, packed, 1).bundle) / name
    file.write_bytes(b"damaged")

    again = placement.place(home, packed, 1)

    assert bundle.read(Path(again.bundle), packed.digest)
    assert [path.name for path in home.bundles.iterdir()] == [packed.digest]


def test_a_process_killed_while_it_copies_leaves_nothing_that_counts(home, packed):
    code = (
        "import os, shutil, sys\n"
        "from pathlib import Path\n"
        "from roadworthy.bundles import bundle\n"
        "from roadworthy.rollout.local import placement\n"
        "from roadworthy.core.settings import Settings\n"
        "real = shutil.copytree\n"
        "def half(source, target):\n"
        "    target.mkdir(); shutil.copyfile(source / 'manifest.json', target / 'manifest.json')\n"
        "    os._exit(9)\n"
        "shutil.copytree = half\n"
        "placement.place(Settings(home=sys.argv[1]), bundle.read(Path(sys.argv[2])), 1)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, home.home, packed.path], check=False, capture_output=True
    )
    assert killed.returncode == 9
    assert not (home.bundles / packed.digest).exists()

    assert bundle.read(Path(placement.place(home, packed, 1).bundle), packed.digest)


@pytest.fixture
def refusing(home, server_of):
    """A home whose server refuses every version."""
    reason = "Version 2 of fuel is refused: it answers otherwise."
    told = {
        "GET": {"workers": [{"versions": {}, "split": []}]},
        "POST": [{"name": "fuel", "version": "2", "state": "UNAVAILABLE", "reason": reason}],
    }
    url = server_of(lambda asked: Reply.of(told[asked.method]))
    return home.model_copy(update={"serving_url": url})


def test_a_version_that_the_server_refuses_is_told_apart_from_a_server_that_is_gone(
    refusing, home, packed
):
    with pytest.raises(RefusedError, match="it answers otherwise") as refused:
        stage(refusing, packed, 2)
    with pytest.raises(RolloutError) as gone:
        stage(home, packed, 2)

    assert refused.value.exit_code == ExitCode.ROLLED_BACK
    assert gone.value.exit_code == ExitCode.FAILED


def test_a_pending_rollback_is_done_by_whoever_comes_next(home, packed, simple):
    # given an intent of which the routing file knows nothing
    first, second = placement.place(home, packed, 1), placement.place(home, simple, 2)
    routes.write(home.routing, Routing("fuel", champion=second, previous=first))
    target = LocalTarget(home)
    intent = RollbackIntent("fuel", 1, (2,), "ada", "2026-01-02T03:04:05+00:00", "it smokes")

    for _ in range(2):
        assert target.redo(intent)

    found = routes.read(home.routing, "fuel")
    assert (found.champion.version, found.previous, found.challenger) == (1, None, None)


def test_a_model_stands_as_the_server_says(live, simple):
    stage(live, simple, 2)
    target = LocalTarget(live)

    found = target.status("fuel")

    assert found == Status(
        "fuel",
        f"the server at {live.serving_url}",
        live.serving_url,
        champion=1,
        challenger=2,
        ready=True,
    )
    # and what the routing file says and the server does not hold is a problem
    now = routes.read(live.routing, "fuel")
    lost = replace(now, champion=replace(now.champion, bundle="/nowhere", digest="f" * 64))
    routes.write(live.routing, lost)
    found = target.status("fuel")
    assert (found.champion, found.ready) == (1, False)
    assert "differs from its routing file" in found.problem
    routes.write(live.routing, now)


def test_what_cannot_be_reached_is_a_problem_of_its_standing(home, packed, tmp_path):
    nowhere = LocalTarget(home).status("fuel")
    assert "fuel is not deployed: `roadworthy run fuel`" in nowhere.problem

    routes.write(home.routing, Routing("fuel", champion=placement.place(home, packed, 1)))
    gone = LocalTarget(home).status("fuel")
    assert (gone.url, gone.champion, gone.ready) == ("http://127.0.0.1:9", 1, False)
    assert "http://127.0.0.1:9 does not answer" in gone.problem

    nobody = Settings(home=tmp_path)
    routes.write(nobody.routing, Routing("fuel", champion=placement.place(nobody, packed, 1)))
    found = LocalTarget(nobody).status("fuel")
    assert (found.place, found.url, found.champion) == ("no server", "", 1)
    assert "start one with `roadworthy serve`" in found.problem

    (home.routing / "fuel.json").write_text("{")
    assert "is damaged" in LocalTarget(home).status("fuel").problem
