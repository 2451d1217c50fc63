"""The note of a rollback is kept at the budget of a model, whole, and by nobody twice."""

import json
from dataclasses import asdict, replace

import pytest
from kubernetes import config

from roadworthy.rollout.engine.intent import Note
from roadworthy.rollout.engine.state import RolledBackError, RolloutError
from roadworthy.rollout.kserve.budgets import NOTE, Budgets
from roadworthy.rollout.kserve.cluster import Cluster
from roadworthy.rollout.kserve.kserve_settings import KServeSettings

ADAS = Note("fuel", 2, (3,), "ada", "2026-01-02T03:04:05+00:00", "it is bad")
BOBS = replace(ADAS, by="bob")


@pytest.fixture(scope="module")
def api(kube):
    return config.new_client_from_config(str(kube.kubeconfig))


@pytest.fixture
def cluster(api, kube):
    return Cluster(api, kube.namespace(), 5)


@pytest.fixture
def budgets(cluster):
    return Budgets(KServeSettings(namespace=cluster._namespace), cluster, 5)


@pytest.fixture
def annotate(budgets, cluster):
    """Put an annotation where the note is."""

    def put(text):
        budgets.keep("fuel")
        cluster.annotate_budget(cluster.budget("fuel"), NOTE, text)

    return put


def annotation(cluster):
    return cluster.budget("fuel")["metadata"].get("annotations", {}).get(NOTE)


def test_without_a_note_nobody_is_disturbed(budgets):
    assert budgets.note("fuel") is None
    budgets.keep("fuel")
    assert budgets.note("fuel") is None
    budgets.check_undisturbed("fuel")


def test_a_note_stays_until_it_is_forgotten(budgets):
    budgets.leave(ADAS)  # which makes the budget, too
    budgets.leave(ADAS)
    budgets.keep("fuel")

    assert budgets.note("fuel") == ADAS
    with pytest.raises(RolledBackError, match=r"rolled back by ada at .*: it is bad"):
        budgets.check_undisturbed("fuel")
    budgets.forget(ADAS)
    budgets.check_undisturbed("fuel")
    assert budgets.note("fuel") is None


def test_a_note_of_another_is_neither_written_over_nor_forgotten(budgets):
    budgets.leave(ADAS)

    with pytest.raises(RolledBackError, match="by ada"):
        budgets.leave(BOBS)
    budgets.forget(BOBS)

    assert budgets.note("fuel") == ADAS


def test_the_note_of_one_model_disturbs_no_other(budgets):
    budgets.leave(ADAS)

    budgets.leave(replace(BOBS, model="weather"))

    assert (budgets.note("fuel").by, budgets.note("weather").by) == ("ada", "bob")


def test_a_note_without_a_budget_is_forgotten_already(budgets, cluster):
    budgets.forget(ADAS)

    assert cluster.budget("fuel") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Invalid JSON"),
        ("{}", "Field required"),
        (json.dumps(asdict(replace(ADAS, model="weather"))), "it is of weather"),
        (json.dumps(asdict(replace(ADAS, champion=-1))), "leaves -1"),
    ],
    ids=["broken", "empty", "another model's", "no version"],
)
def test_what_cannot_be_read_is_told_and_left_as_it_is(budgets, cluster, annotate, text, why):
    annotate(text)

    for attempt in (
        lambda: budgets.note("fuel"),
        lambda: budgets.check_undisturbed("fuel"),
        lambda: budgets.leave(ADAS),
        lambda: budgets.forget(ADAS),
    ):
        with pytest.raises(RolloutError, match=why) as caught:
            attempt()
        assert f"{NOTE} of the PodDisruptionBudget fuel" in str(caught.value)
        assert "Delete the annotation, and roll back again." in str(caught.value)
    assert annotation(cluster) == text

    # and when that is done, it goes on
    annotate(None)
    budgets.leave(ADAS)
    assert budgets.note("fuel") == ADAS
