"""What is applied is what the CRD knows, changes no pod that stays, and reads as it was meant."""

import json
from dataclasses import replace
from pathlib import Path

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.rollout.engine.state import Rollout, RolloutError
from roadworthy.rollout.kserve import inference_service
from roadworthy.rollout.kserve.inference_service import MANAGER, Placed, Release
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


def rollout(state="staged", share=0, champion=2, version=3, **more):
    at = "2026-01-02T03:04:05+00:00"
    return Rollout(
        *("fuel", version, champion, "canary", "me", "h", at, at), state=state, share=share, **more
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


def test_the_schema_is_strict(crd):
    wrong = made(Placed(OLD), "Standard")
    wrong["spec"]["predictor"]["canaryPercent"] = 5

    assert "canaryPercent" in strictly.problems(crd, wrong)[0]


@pytest.mark.parametrize("version", ["policy/v1"])
def test_a_budget_is_what_kubernetes_knows(version):
    budget = inference_service.budget("fuel", KServeSettings(), version)

    kubernetes_validate.validate(budget, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("mode", MODES)
@given(share=st.integers(0, 100))
def test_what_was_applied_reads_as_it_was_meant(mode, share):
    for after in (Placed(OLD), Placed(stopped=OLD), Placed(OLD, NEW, share)):
        assert inference_service.read(made(after, mode), mode) == after


def test_a_pinned_champion_reads_as_it_was_meant():
    after = Placed(OLD, pinned=True)

    found = made(after, "Knative")

    assert inference_service.read(found, "Knative") == after
    assert found["spec"]["predictor"]["canaryTrafficPercent"] == 0


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


def test_a_promoted_canary_keeps_its_name_and_is_scaled_as_a_champion():
    staged = made(Placed(OLD, NEW, 100), "Standard", made(Placed(OLD), "Standard"))

    after = made(Placed(NEW), "Standard", staged)

    assert after["spec"]["canary"] == []
    predictor = after["spec"]["predictor"]
    told = predictor.pop("annotations")  # which version it follows
    assert predictor == made(Placed(NEW), "Standard")["spec"]["predictor"]
    assert predictor["name"] == "v3"
    assert set(told) == {f"roadworthy/follows{part}" for part in ("", "-uri", "-runtime")}


@pytest.mark.parametrize("mode", MODES)
def test_each_version_names_what_serves_it_and_what_served_the_one_before(mode):
    before, after = replace(OLD, runtime="one"), replace(NEW, runtime="two")

    first = made(Placed(before), mode)
    staged = made(Placed(before, after, 10), mode, first)
    promoted = made(Placed(after), mode, staged)

    assert [one.runtime for one in inference_service.read(staged, mode).releases] == ["one", "two"]
    for found in (first, staged, promoted):
        assert inference_service.read(found, mode).champion.runtime == (
            "two" if found is promoted else "one"
        )
    assert inference_service.follows(promoted) == before
    assert inference_service.follows(promoted).runtime == "one"


@pytest.mark.parametrize("mode", MODES)
def test_a_champion_that_is_alone_again_is_served_as_before(mode):
    before, after = replace(OLD, runtime="one"), replace(NEW, runtime="two")
    staged = made(Placed(before, after, 10), mode, made(Placed(before), mode))
    read = inference_service.read(staged, mode)

    alone = made(replace(read, challenger=None, share=0), mode, staged)

    assert alone["spec"]["predictor"]["model"]["runtime"] == "one"


@pytest.mark.parametrize(("share", "pods"), [(0, 1), (10, 1), (50, 3), (100, 6)], ids=str)
def test_a_canary_has_pods_for_its_share_and_one_at_least(share, pods):
    canary = made(Placed(OLD, NEW, share), "Standard", min_replicas=6)["spec"]["canary"][0]

    assert canary["predictor"]["minReplicas"] == pods


@settings(max_examples=30)
@given(
    own=st.integers(1, 9),
    ready=st.integers(0, 20),
    shares=st.lists(st.integers(0, 100), min_size=1, max_size=3),
)
def test_pods_for_every_share_are_there_first_and_the_champion_keeps_its_own(own, ready, shares):
    now = made(Placed(OLD), "Standard", min_replicas=own, max_replicas=9)
    share, whole = 0, max(own, min(ready, 9))

    for wanted in [0, *shares]:
        for after, cover in ((share, wanted), (wanted, 0)):
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
        share = wanted
    off = made(Placed(OLD), "Standard", now, min_replicas=own, max_replicas=9)
    assert off["spec"]["predictor"]["minReplicas"] == whole
    assert made(Placed(NEW), "Standard", now)["spec"]["predictor"]["minReplicas"] == 2


@pytest.mark.parametrize("mode", MODES)
def test_pods_of_a_version_are_kept_apart_where_that_is_possible(mode):
    predictor = made(Placed(OLD), mode)["spec"]["predictor"]

    wishes = predictor.get("affinity", {}).get("podAntiAffinity", {})
    terms = wishes.get("preferredDuringSchedulingIgnoredDuringExecution", [])
    found = [one["podAffinityTerm"] for one in terms]
    assert [one["topologyKey"] for one in found] == (
        ["kubernetes.io/hostname"] if mode == "Standard" else []
    )
    for one in found:  # the labels that its own pods have
        told = {**predictor["labels"], inference_service.SERVICE_LABEL: "fuel"}
        assert one["labelSelector"]["matchLabels"].items() <= told.items()


@pytest.mark.parametrize("mode", MODES)
def test_a_container_may_do_nothing_that_it_need_not(mode):
    container = made(Placed(OLD), mode)["spec"]["predictor"]["model"]

    assert container["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


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
        (Placed(OLD, NEW, 50), rollout("rolled back"), Placed(OLD)),
        (Placed(OLD), rollout("rolled back"), Placed(OLD)),
        (Placed(NEW), rollout("rolled back", champion=0), Placed(stopped=NEW)),
        (Placed(NEW), rollout("rolled back", champion=3), Placed(NEW)),
        # the registry lost its champion, and the cluster did not
        (Placed(OLD), rollout(champion=0), Placed(OLD, NEW, 0)),
    ],
    ids=lambda value: value.state.replace(" ", "-") if isinstance(value, Rollout) else None,
)
def test_a_rollout_stands_for_what_is_on_the_road(before, now, after):
    assert inference_service.projected(before, now, NEW) == after


def test_what_is_not_staged_gets_no_share():
    with pytest.raises(RolloutError, match="not staged"):
        inference_service.projected(Placed(OLD), rollout("shifting", 10))


def test_only_what_was_applied_under_our_name_is_ours():
    live = {
        "metadata": {
            "name": "fuel",
            "managedFields": [
                {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {}}},
                {
                    "manager": MANAGER,
                    "operation": "Apply",
                    "fieldsV1": {
                        "f:spec": {
                            "f:a": {},
                            "f:list": {
                                'k:{"name":"x"}': {".": {}, "f:name": {}, "f:value": {}},
                                'v:"y"': {},
                            },
                        }
                    },
                },
            ],
        },
        "spec": {
            "a": {"whole": 1},
            "b": 2,
            "list": [{"name": "x", "value": 1, "more": 2}, {"name": "z"}, "y"],
        },
    }

    found = inference_service.applied(live)

    assert found["spec"] == {"a": {"whole": 1}, "list": [{"name": "x", "value": 1}, "y"]}
