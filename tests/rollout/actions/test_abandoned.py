"""What a run has left on a cluster is taken back by the run's last step, in another pod."""

import json

import pytest

from roadworthy.core.errors import ExitCode
from roadworthy.core.settings import Settings
from roadworthy.rollout.actions.targets import target
from roadworthy.rollout.engine import lease, starting
from roadworthy.steps.report import JSON, LeftError, report
from roadworthy.steps.stage import stage as load
from roadworthy.tracking import records
from tests.rollout.kserve.test_commands import gateway, place  # noqa: F401 - fixtures

RUN = {"model": "fuel", "trigger": "data"}
REASON = "its run ended before it did"


def begin(settings, registry, run):
    version = registry.version("fuel", 2)
    begun = {"strategy": "canary", "owner": run, "why": "it is new", "unique": True}
    return starting.start(settings, registry, target(settings, registry), version, **begun)


@pytest.fixture
def left(place, simple):  # noqa: F811 - a fixture
    """Version 2 has a tenth of the clients, and the pod that looked after it is gone."""
    pod = Settings().model_copy(update={"holder": "a pod that is gone:7:7"})
    held = begin(pod, place.registry, "run-1")
    with records.step(pod.records, "run-1", "release"):
        load(pod, packed=simple.path, version=2, owner="run-1")
    held = lease.hold(pod, target(pod).records, "fuel", 2, "run-1")
    for state, weight in (("ready", 0), ("verified", 0), ("shifting", 10)):
        held.move(state, weight=weight)
    target(pod, place.registry).shift(held.rollout)
    assert place.status()["weight"] == 10
    return place


def test_the_champion_answers_alone_and_the_next_run_need_not_wait(left):
    found = report(Settings(), "run-1", **RUN)

    assert found.outcome == "failed"
    assert found.why.endswith(f"Version 2 of fuel is rolled back: {REASON}.")
    status = left.status()
    assert (status["champion"], status["challenger"], status["weight"]) == (1, 0, 0)
    assert (status["ready"], status["problem"]) == (True, "")
    assert left.registry.version("fuel", 2).tags["rolled_back"] == REASON
    assert begin(Settings(), left.registry, "run-2").rollout.owner == "run-2"


@pytest.mark.parametrize("place", ["Standard"], indirect=True)
def test_a_cluster_that_is_away_is_told_and_the_next_attempt_mends_it(left, kube):
    # given a cluster that is away
    settings = Settings()
    kube.stop_api()
    try:
        with pytest.raises(LeftError, match="The API server of the cluster did not answer") as lost:
            report(settings.model_copy(update={"ready_seconds": 1.0}), "run-1", **RUN)
    finally:
        kube.start_api()
    # then the report is written, and says so
    assert lost.value.exit_code == ExitCode.FAILED
    assert str(lost.value) in json.loads(records.get(settings.records, "run-1", JSON))["why"]
    assert not target(settings).records.read("fuel").rollout.ended

    # when the step is tried again
    found = report(settings, "run-1", **RUN)

    # then it is taken back
    assert found.why.endswith(f"Version 2 of fuel is rolled back: {REASON}.")
    assert left.status()["challenger"] == 0
