"""A record survives being written, and one of the release before is read and carried over."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes import config

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import finalising, record
from roadworthy.rollout.engine.lease import ConflictError
from roadworthy.rollout.engine.record import Command, Record, RollbackIntent
from roadworthy.rollout.engine.state import RolledBackError, RolloutError
from roadworthy.rollout.kserve.cluster import Cluster
from roadworthy.rollout.kserve.cluster_records import ClusterRecords
from roadworthy.rollout.kserve.kserve_settings import KServeSettings
from roadworthy.rollout.local.local_records import LocalRecords
from roadworthy.tracking.registry import Registry
from tests.rollout.engine.test_state import rollouts

RELEASE = Path(__file__).parents[2] / "fixtures" / "release"
STATES = {
    name: (RELEASE / f"rollout-{name}.json").read_text()
    for name in ("staged", "shifting", "promoted", "rolled-back")
}
INTENT = RollbackIntent("fuel", 2, (3,), "ada", "2026-01-02T03:04:05+00:00", "it is bad")
NOTE = '{"model": "fuel", "champion": 2, "taken_off": [3], "by": "ada", "at": "now", "why": "bad"}'


@given(rollouts, st.none() | st.just(Command("abort", 4, "ada", "now")), st.integers(0, 9))
def test_what_is_written_is_read_again_the_same(rollout, command, champion):
    found = Record(rollout.model, champion, rollout, command, mark="a")

    told = record.encode(found)

    assert record.decode(told, rollout.model) == found
    # and so it is with what a later release adds
    raw = json.loads(told)
    raw["rollout"]["later"] = raw["later"] = {"x": 1}
    assert record.decode(json.dumps(raw), rollout.model) == found


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"a"', '{"model": "other"}'])
def test_what_is_no_record_is_told_and_left_as_it_is(tmp_path, text):
    store = LocalRecords(Settings(home=tmp_path))
    file = tmp_path / "rollouts" / "fuel.json"
    file.parent.mkdir()
    file.write_text(text)

    for attempt in (lambda: store.read("fuel"), lambda: record.leave(store, INTENT)):
        with pytest.raises(RolloutError, match=r"rollouts/fuel\.json.*Delete it, and run again"):
            attempt()
    assert file.read_text() == text


@pytest.mark.parametrize(
    "change",
    [{"champion": -1}, {"taken_off": []}, {"taken_off": [0]}, {"by": 1}, {"model": "weather"}],
)
def test_an_intent_is_read_only_if_it_is_whole(change):
    assert record.decode_intent(NOTE, "fuel").taken_off == (3,)
    with pytest.raises(ValueError, match=r"\w"):
        record.decode_intent(json.dumps(json.loads(NOTE) | change), "fuel")


@pytest.fixture(params=["machine", "cluster"])
def kept(request, tmp_path):
    """A store, and a function that writes a pending rollback as the release before did."""
    if request.param == "machine":
        home = Settings(home=tmp_path)
        home.routing.mkdir()
        return LocalRecords(home), (home.routing / ".fuel.note").write_text
    kube = request.getfixturevalue("kube")
    namespace = kube.namespace()
    cluster = Cluster(config.new_client_from_config(str(kube.kubeconfig)), namespace, 5)
    store = ClusterRecords(KServeSettings(namespace=namespace), cluster, 5)

    def note(text):
        store.keep_budget("fuel")
        cluster.annotate_budget(cluster.budget("fuel"), {"roadworthy/note": text})

    return store, note


def test_a_pending_rollback_stays_until_it_is_forgotten(kept):
    store, _ = kept
    assert store.read("fuel") == Record("fuel")
    record.leave(store, INTENT)
    record.leave(store, INTENT)

    with pytest.raises(RolledBackError, match=r"rolled back by ada at .*: it is bad"):
        record.leave(store, replace(INTENT, by="bob"))
    record.forget(store, replace(INTENT, by="bob"))
    assert store.read("fuel").intent == INTENT
    assert store.read("weather") == Record("weather")
    record.forget(store, INTENT, champion=2)

    assert (store.read("fuel").intent, store.read("fuel").champion) == (None, 2)


def test_a_pending_rollback_of_the_release_before_is_carried_over(kept):
    store, note = kept
    note(NOTE)

    intent = store.read("fuel").intent

    assert (intent.champion, intent.taken_off, intent.by) == (2, (3,), "ada")
    record.forget(store, intent)
    assert store.read("fuel").intent is None


@pytest.mark.parametrize("name", sorted(STATES))
def test_a_rollout_of_the_release_before_is_carried_over_once(settings, name):
    registry, store = Registry.of(settings), LocalRecords(settings)
    run = registry.log_candidate(
        "fuel", name="a", made_of="r", parameters={}, metrics={}, tags={}, figures={}
    )
    registry.register("fuel", run_id=run, digest="a", tags={})
    registry.set_model_tag("fuel", "rollout", STATES[name])

    finalising.carry_over(settings, registry, store, "fuel")

    found = store.read("fuel").rollout
    assert found.state == name.replace("-", " ")
    raw = json.loads(STATES[name])
    assert (found.version, found.owner, found.actor) == (3, raw["owner"], raw.get("actor", ""))
    assert [stage.weight for stage in found.stages] == [
        one["share"] for one in raw.get("stages", ())
    ]
    assert not registry.model_tags("fuel")["rollout"]
    finalising.carry_over(settings, registry, store, "fuel")
    assert store.read("fuel").rollout == found


def test_a_rollout_of_the_release_before_whose_owner_lives_is_its_own(settings):
    registry, store = Registry.of(settings), LocalRecords(settings)
    run = registry.log_candidate(
        "fuel", name="a", made_of="r", parameters={}, metrics={}, tags={}, figures={}
    )
    registry.register("fuel", run_id=run, digest="a", tags={})
    raw = json.loads(STATES["shifting"]) | {"holder": settings.holder}
    registry.set_model_tag("fuel", "rollout", json.dumps(raw))

    with pytest.raises(ConflictError, match="is being rolled out already, by run-"):
        finalising.carry_over(settings, registry, store, "fuel")
    assert store.read("fuel").rollout is None
