"""What is served and what the registry says of it are told together, whatever is out of reach."""

from dataclasses import replace

import pytest

from roadworthy.rollout.actions.status import survey
from roadworthy.rollout.engine import lease
from roadworthy.rollout.local import local_target
from roadworthy.routing import routes
from roadworthy.routing.routes import Road
from roadworthy.tracking.registry import Registry


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
    local_target.stage(both, packed, 1)
    now = routes.read(both.road, "fuel")
    routes.write(both.road, replace(now, champion=now.challenger, challenger=None))
    yield both
    routes.write(both.road, Road("fuel"))


@pytest.fixture
def under_way(served, simple):
    registry = Registry.of(served)
    held = lease.begin(
        served, registry, "fuel", 2, champion=1, strategy="canary", owner="run-1", why=""
    )
    local_target.stage(served, simple, 2)
    held.move("ready")
    return held


def test_a_model_that_answers_has_no_problem(served):
    (found,) = survey(served)

    assert (found.standing.champion, found.standing.ready, found.problem) == (1, True, "")
    assert found.told["rollout"] == "none"
    assert (found.told["challenger"], found.told["share"]) == ("none", "")
    assert found.to_dict()["rollout"] is None


def test_a_rollout_that_is_under_way_is_told_with_its_owner(served, under_way):
    (found,) = survey(served, "fuel")

    assert found.told["rollout"] == "version 2 of fuel is ready at 0 %, by run-1"
    assert (found.told["challenger"], found.told["share"]) == ("2", "0 %")
    told = found.to_dict()
    assert (told["champion"], told["challenger"], told["ready"]) == (1, 2, True)
    assert told["rollout"] | {"version": 2, "state": "ready", "alive": True} == told["rollout"]


def test_an_owner_that_is_gone_is_told(served, under_way):
    under_way.settings = served.model_copy(update={"holder": "x"})
    under_way.put(replace(under_way.rollout, holder=f"{served.holder.partition(':')[0]}:999999:1"))

    (found,) = survey(served, "fuel")

    assert not found.alive
    assert found.told["rollout"].endswith("by run-1, which is gone")


def test_a_rollout_that_has_ended_is_none(served, under_way):
    under_way.put(under_way.rollout.back("it smokes"))

    assert survey(served, "fuel")[0].rollout is None


def test_a_rollout_that_nobody_finishes_is_a_problem(served, under_way):
    gone = f"{served.holder.partition(':')[0]}:999999:1"
    under_way.settings = served.model_copy(update={"holder": "x"})
    under_way.put(replace(under_way.rollout, holder=gone, state="promoted"))

    (found,) = survey(served, "fuel")

    assert "Version 2 of fuel is promoted, but run-1 is gone" in found.problem
    assert "`roadworthy rollout resume fuel` finishes it" in found.problem
    under_way.put(replace(under_way.rollout, settled=True))
    assert survey(served, "fuel")[0].problem == ""


def test_a_share_that_nobody_looks_after_is_a_problem(served, under_way):
    now = routes.read(served.road, "fuel")
    routes.write(served.road, replace(now, share=10))
    assert "is gone" not in survey(served, "fuel")[0].problem
    gone = f"{served.holder.partition(':')[0]}:999999:1"
    under_way.put(replace(under_way.rollout, holder=gone, state="shifting", share=10))

    (found,) = survey(served, "fuel")

    assert "Version 2 of fuel is shifting at 10 %, but run-1 is gone" in found.problem
    assert "`roadworthy rollout abort fuel` takes it off the road" in found.problem


def test_without_its_registry_a_model_is_told_all_the_same(served):
    lost = served.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})

    found = {one.standing.model: one for one in survey(lost)}

    assert (found["fuel"].standing.champion, found["fuel"].standing.ready) == (1, True)
    assert "The registry http://127.0.0.1:9 does not answer" in found["fuel"].problem


def test_a_server_and_a_registry_that_are_gone_are_both_told(served):
    lost = served.model_copy(
        update={
            "mlflow_tracking_uri": "http://127.0.0.1:9",
            "serving_url": "http://127.0.0.1:10",
        }
    )

    (found,) = survey(lost, "fuel")

    assert "http://127.0.0.1:10 gives no answer" in found.problem
    assert "The registry http://127.0.0.1:9 does not answer" in found.problem


def test_what_was_never_released_is_nowhere(served):
    (found,) = survey(served, "boats")

    assert (found.standing.champion, found.standing.ready) == (0, False)
    assert "`roadworthy run boats` makes a first version" in found.problem
    assert (found.told["champion"], found.told["ready"]) == ("none", "no")
