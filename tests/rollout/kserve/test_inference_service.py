"""What is applied is what the CRD knows, changes no pod that stays, and reads as it was meant."""

import json
from pathlib import Path

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.rollout.engine.state import Rollout, RolloutError
from roadworthy.rollout.kserve import inference_service
from roadworthy.rollout.kserve.inference_service import Placed, Release
from roadworthy.rollout.kserve.kserve_settings import KServeSettings
from tests.rollout import strictly

MODES = ("Knative", "Standard")
OLD = Release(2, "s3://bucket/bundles/fuel/aaaa")
NEW = Release(3, "s3://bucket/bundles/fuel/bbbb")


@pytest.fixture(scope="module")
def crd(requires):
    directory = requires.variable("KSERVE_CRDS", "name a directory with the YAML of KServe's CRDs")
    return strictly.schema(Path(directory), "InferenceService")


def made(after, mode, now=None, **more):
    return inference_service.manifest(
        "fuel", after, mode=mode, settings=KServeSettings(**more), now=now
    )


def rollout(state="staged", weight=0, champion=2, version=3, **more):
    at = "2026-01-02T03:04:05+00:00"
    return Rollout(
        *("fuel", version, champion, "canary", "me", "h", at, at),
        state=state,
        weight=weight,
        **more,
    )


PLACED = {
    "first": Placed(NEW),
    "staged": Placed(OLD, NEW, 0),
    "shared": Placed(OLD, NEW, 50),
    "stopped": Placed(stopped=NEW),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", PLACED)
def test_what_is_applied_is_what_the_crd_knows(crd, mode, what):
    assert strictly.problems(crd, made(PLACED[what], mode)) == []


def test_every_setting_is_in_a_field_that_the_crd_knows(crd):
    both = {"scale_target": 50, "spread": "zone", "stabilization_seconds": 7, "drain_seconds": 3}

    knative = made(Placed(OLD), "Knative", container_concurrency=9, scale_metric="rps", **both)
    standard = made(
        Placed(OLD), "Standard", scale_up_seconds=9, grace_seconds=99, scale_metric="memory", **both
    )

    assert strictly.problems(crd, knative) == strictly.problems(crd, standard) == []
    predictor = knative["spec"]["predictor"]
    assert (predictor["scaleMetric"], predictor["scaleTarget"]) == ("rps", 50)
    assert predictor["annotations"]["autoscaling.knative.dev/scale-down-delay"] == "7s"
    predictor = standard["spec"]["predictor"]
    assert predictor["autoScaling"]["behavior"] == {
        "scaleDown": {"stabilizationWindowSeconds": 7},
        "scaleUp": {"stabilizationWindowSeconds": 9},
    }
    assert predictor["autoScaling"]["metrics"][0]["resource"]["name"] == "memory"
    assert predictor["terminationGracePeriodSeconds"] == 99


def test_a_budget_is_what_kubernetes_knows():
    budget = inference_service.budget("fuel", KServeSettings())

    kubernetes_validate.validate(budget, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("mode", MODES)
@given(weight=st.integers(0, 100))
def test_what_was_applied_reads_as_it_was_meant(mode, weight):
    for after in (Placed(OLD), Placed(stopped=OLD), Placed(OLD, NEW, weight)):
        assert inference_service.read(made(after, mode), mode) == after


@pytest.mark.parametrize("mode", MODES)
def test_no_verb_changes_the_pods_of_a_version_that_stays(mode):
    # given settings that are others from one verb to the next
    steps = [Placed(OLD), Placed(OLD, NEW), Placed(OLD, NEW, 10), Placed(OLD, NEW, 100)]
    now, seen = None, {}

    for n, after in enumerate([*steps, Placed(NEW)]):
        now = made(after, mode, now, memory_limit=f"{n + 1}Gi", min_replicas=2)
        entries = [now["spec"]["predictor"]]
        entries += [one["predictor"] for one in now["spec"].get("canary", [])]
        for predictor in entries:
            container = {key: told for key, told in predictor["model"].items() if key != "name"}
            pods = json.dumps([container, predictor["labels"], predictor.get("annotations")])
            version = container["env"][0]["value"]

            assert seen.setdefault(version, pods) == pods

        # KServe copies them to every pod
        assert seen.setdefault("", now["metadata"]["annotations"]) == now["metadata"]["annotations"]


@settings(max_examples=30)
@given(
    own=st.integers(1, 9),
    ready=st.integers(0, 20),
    weights=st.lists(st.integers(0, 100), min_size=1, max_size=3),
)
def test_pods_for_every_weight_are_there_first_and_the_champion_keeps_its_own(own, ready, weights):
    now = made(Placed(OLD), "Standard", min_replicas=own, max_replicas=9)
    weight, whole = 0, max(own, min(ready, 9))

    for wanted in [0, *weights]:
        for after, cover in ((weight, wanted), (wanted, 0)):
            now = inference_service.manifest(
                *("fuel", Placed(OLD, NEW, after)),
                mode="Standard",
                settings=KServeSettings(min_replicas=own, max_replicas=9),
                now=now,
                ready=ready if not after else 0,
                cover=cover,
            )
            predictor, canary = now["spec"]["predictor"], now["spec"]["canary"][0]["predictor"]
            # what KServe leaves the champion, and what there is for each percent
            assert predictor["minReplicas"] - canary["minReplicas"] == whole
            assert predictor["maxReplicas"] >= predictor["minReplicas"]
            assert canary["minReplicas"] * 100 >= whole * max(after, cover)
        weight = wanted
    off = made(Placed(OLD), "Standard", now, min_replicas=own, max_replicas=9)
    assert off["spec"]["predictor"]["minReplicas"] == whole
    assert made(Placed(NEW), "Standard", now)["spec"]["predictor"]["minReplicas"] == 2


@pytest.mark.parametrize(
    ("mode", "setting", "named"),
    [
        ("Standard", {"scale_metric": "concurrency"}, "cpu or memory"),
        ("Standard", {"container_concurrency": 4}, "CONTAINER_CONCURRENCY=4"),
        ("Standard", {"min_replicas": 0}, "at least one pod"),
        ("Standard", {"scale_target": 101}, "percentage"),
        ("Knative", {"scale_metric": "cpu"}, "concurrency or rps"),
        ("Knative", {"scale_up_seconds": 5}, "at once"),
        ("Knative", {"grace_seconds": 60}, "how long a pod may take"),
        ("Knative", {"startup_seconds": 60}, "progress-deadline"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else str(value).split()[0],
)
def test_a_setting_that_the_mode_would_ignore_is_refused(mode, setting, named):
    with pytest.raises(RolloutError, match=named):
        made(Placed(OLD), mode, **setting)


@pytest.mark.parametrize("mode", MODES)
def test_a_field_that_the_mode_would_ignore_is_refused(mode):
    other = MODES[1 - MODES.index(mode)]
    live = made(Placed(OLD, NEW, 10), other)

    with pytest.raises(RolloutError, match=f"ignores in the mode {mode}"):
        inference_service.read(live, mode)


def test_what_somebody_else_made_is_not_touched():
    foreign = {"metadata": {"name": "fuel"}, "spec": {"predictor": {"sklearn": {}}}}

    with pytest.raises(RolloutError, match="no rollout put there"):
        inference_service.read(foreign, "Knative")


@pytest.mark.parametrize(
    ("before", "now", "after"),
    [
        (Placed(), rollout(champion=0), Placed(NEW)),
        (Placed(OLD), rollout(), Placed(OLD, NEW, 0)),
        (Placed(OLD, pinned=True), rollout(), Placed(OLD, NEW, 0)),
        (Placed(OLD, NEW), rollout("shifting", 50), Placed(OLD, NEW, 50)),
        (Placed(OLD, NEW, 50), rollout("promoted"), Placed(NEW)),
        (Placed(NEW), rollout("promoted"), Placed(NEW)),
        # the registry lost its champion, and the cluster did not
        (Placed(OLD), rollout(champion=0), Placed(OLD, NEW, 0)),
    ],
    ids=lambda value: value.state.replace(" ", "-") if isinstance(value, Rollout) else None,
)
def test_a_rollout_has_its_versions_deployed(before, now, after):
    assert inference_service.projected(before, now, NEW) == after
