"""What is served and what the registry says of it are told together, whatever is out of reach."""

import shutil
from dataclasses import replace

import pytest

from roadworthy.rollout.actions.status import statuses
from roadworthy.rollout.engine import lease
from roadworthy.rollout.local.local_records import LocalRecords
from roadworthy.routing import routes
from roadworthy.routing.routes import Routing
from roadworthy.tracking.registry import Registry
from tests.rollout.staging import stage


@pytest.fixture
def served(settings, served_home, packed, simple):
    """Version 1 is served, and version 2 on its way; the registry is one of the test's own."""
    both = settings.model_copy(
        update={"home": served_home.home, "serving_url": served_home.serving_url}
    )
    registry = Registry.of(both)
    run = registry.log_candidate(
        "fuel", name="a", made_of="r", parameters={}, metrics={}, tags={}, figures={}
    )
    for made in (packed, simple):
        registry.register("fuel", run_id=run, digest=made.digest, tags={})
    stage(both, packed, 1)
    now = routes.read(both.routing, "fuel")
    routes.write(both.routing, replace(now, champion=now.challenger, challenger=None))
    yield both
    routes.write(both.routing, Routing("fuel"))
    shutil.rmtree(both.home / "rollouts", ignore_errors=True)


@pytest.fixture
def under_way(served, simple):
    held = lease.begin(
        *(served, LocalRecords(served), "fuel", 2),
        champion=1,
        strategy="canary",
        owner="run-1",
        why="",
    )
    stage(served, simple, 2)
    held.move("ready")
    return held


def test_a_model_that_answers_has_no_problem(served):
    (found,) = statuses(served)

    assert (found.status.champion, found.status.ready, found.problem) == (1, True, "")
    assert found.told["rollout"] == "none"
    assert (found.told["challenger"], found.told["weight"]) == ("none", "")
    assert found.to_dict()["rollout"] is None


def test_a_rollout_that_is_under_way_is_told_with_its_owner(served, under_way):
    (found,) = statuses(served, "fuel")

    assert found.told["rollout"] == "version 2 of fuel is ready at 0 %, by run-1"
    assert (found.told["challenger"], found.told["weight"]) == ("2", "0 %")
    told = found.to_dict()
    assert (told["champion"], told["challenger"], told["ready"]) == (1, 2, True)
    assert told["rollout"] | {"version": 2, "state": "ready", "alive": True} == told["rollout"]


def test_a_rollout_that_nobody_finishes_is_a_problem(served, under_way):
    gone = f"{served.holder.partition(':')[0]}:999999:1"
    under_way.settings = served.model_copy(update={"holder": "x"})
    under_way.put(replace(under_way.rollout, holder=gone, state="promoted"))

    (found,) = statuses(served, "fuel")

    assert "Version 2 of fuel is promoted, but run-1 is dead" in found.problem
    assert "`roadworthy rollout resume fuel` finishes it" in found.problem
    under_way.put(replace(under_way.rollout, settled=True))
    assert statuses(served, "fuel")[0].problem == ""


def test_a_weight_that_nobody_looks_after_is_a_problem(served, under_way):
    now = routes.read(served.routing, "fuel")
    routes.write(served.routing, replace(now, weight=10))
    assert "is dead" not in statuses(served, "fuel")[0].problem
    gone = f"{served.holder.partition(':')[0]}:999999:1"
    under_way.put(replace(under_way.rollout, holder=gone, state="shifting", weight=10))

    (found,) = statuses(served, "fuel")

    assert "Version 2 of fuel is shifting at 10 %, but run-1 is dead" in found.problem
    assert "`roadworthy rollout abort fuel` removes it from service" in found.problem


def test_an_alias_that_somebody_moved_is_a_problem_with_two_ways_out(served, under_way):
    registry = Registry.of(served)
    registry.set_alias(registry.version("fuel", 2), "champion")

    (found,) = statuses(served, "fuel")

    assert "names version 2 of fuel, but version 1 is deployed" in found.problem
    assert "`roadworthy rollout start fuel:2`" in found.problem
    assert "move the alias back to version 1" in found.problem


def test_without_its_registry_a_model_is_told_all_the_same(served):
    lost = served.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})

    found = {one.status.model: one for one in statuses(lost)}

    assert (found["fuel"].status.champion, found["fuel"].status.ready) == (1, True)
    assert "The registry http://127.0.0.1:9 does not answer" in found["fuel"].problem


def test_what_was_never_released_is_nowhere(served):
    (found,) = statuses(served, "boats")

    assert (found.status.champion, found.status.ready) == (0, False)
    assert "`roadworthy run boats` makes a first version" in found.problem
    assert (found.told["champion"], found.told["ready"]) == ("none", "no")
