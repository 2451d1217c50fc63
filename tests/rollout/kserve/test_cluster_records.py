"""A record is kept at the budget of a model, whole, and changed by one process at a time."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest
from kubernetes import config

from roadworthy.core.settings import Settings
from roadworthy.rollout.engine import lease, record
from roadworthy.rollout.engine.lease import ConflictError
from roadworthy.rollout.engine.record import Record, RollbackIntent
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.kserve.cluster import Cluster
from roadworthy.rollout.kserve.cluster_records import NOTE, RECORD, ClusterRecords
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

ADAS = RollbackIntent("fuel", 2, (3,), "ada", "2026-01-02T03:04:05+00:00", "it is bad")
BOBS = replace(ADAS, by="bob")


@pytest.fixture(scope="module")
def api(kube):
    return config.new_client_from_config(str(kube.kubeconfig))


@pytest.fixture
def cluster(api, kube):
    return Cluster(api, kube.namespace(), 5)


@pytest.fixture
def store(cluster):
    return ClusterRecords(KServeSettings(namespace=cluster._namespace), cluster, 5)


def annotate(store, cluster, name, text):
    store.keep_budget("fuel")
    cluster.annotate_budget(cluster.budget("fuel"), {name: text})


def test_a_write_whose_answer_was_lost_is_known_as_ones_own(store):
    before, after = Record("fuel"), Record("fuel", champion=2, mark="a")

    assert store.compare_and_swap(before, after)
    assert store.compare_and_swap(before, after)
    assert not store.compare_and_swap(before, replace(after, mark="b"))


def test_of_many_that_begin_at_once_one_does(store, tmp_path):
    settings = Settings(home=tmp_path)

    def begin(number):
        told = {"champion": 1, "strategy": "canary", "owner": f"run-{number}", "why": ""}
        try:
            return lease.begin(settings, store, "fuel", 2, **told).rollout.owner
        except ConflictError as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        told = list(pool.map(begin, range(6)))

    winner = store.read("fuel").rollout.owner
    assert told.count(winner) == 1
    assert sum(f"is being rolled out already, by {winner} on" in text for text in told) == 5


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        (RECORD, "{", "Invalid JSON"),
        (RECORD, "{}", "Field required"),
        (RECORD, '{"model": "weather"}', "it is of weather"),
        (NOTE, json.dumps(asdict(replace(ADAS, champion=-1))), "leaves -1"),
    ],
)
def test_what_cannot_be_read_is_told_and_left_as_it_is(store, cluster, name, text, why):
    annotate(store, cluster, name, text)

    for attempt in (lambda: store.read("fuel"), lambda: record.leave(store, ADAS)):
        with pytest.raises(RolloutError, match=why) as caught:
            attempt()
        assert f"{name} of the PodDisruptionBudget fuel" in str(caught.value)
        assert "kubectl annotate poddisruptionbudget fuel" in str(caught.value)
    assert cluster.budget("fuel")["metadata"]["annotations"][name] == text

    # and when that is done, it goes on
    annotate(store, cluster, name, None)
    record.leave(store, ADAS)
    assert store.read("fuel").intent == ADAS
