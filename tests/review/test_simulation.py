"""Days are lived with what was known on them, through the gate, and the same way each time."""

import json
from dataclasses import replace

import pytest
from mlflow.tracking import MlflowClient

from roadworthy.data import validation
from roadworthy.models.contract import Windows
from roadworthy.review import simulation
from roadworthy.tracking.registry import Registry

# The model of the project that has a date in its rows; other ones are simulated the same way.
MODEL = "direction"
WINDOWS = Windows(anchor_offset=12, training=(30, 120), evaluation=7, gap=1)
DAYS = 4


@pytest.fixture(scope="module")
def model():
    return simulation.load(MODEL)


@pytest.fixture(scope="module")
def raw(model, root):
    file = root / model.data.removesuffix(".dvc")
    rows = validation.validate(validation.read(model, file), model.schema)
    return rows.tail(200).reset_index(drop=True)


@pytest.fixture(scope="module")
def lived(model, raw):
    return list(simulation.simulate(model, raw, WINDOWS, DAYS))


def ledger(days):
    return [simulation.entry(MODEL, day, WINDOWS, "run") for day in days if day.promotion]


def test_the_first_champion_is_promoted_by_bootstrap_and_others_in_pairs(lived, model):
    promoted = [json.loads(line) for line in ledger(lived)]

    assert [day.time for day in lived] == ["2018-12-19", "2018-12-20", "2018-12-21", "2018-12-24"]
    assert promoted[0]["reason"] == "bootstrap"
    assert promoted[0]["paired_interval_holds_zero"] is None
    assert {one["reason"] for one in promoted[1:]} <= {"better_than_champion"}
    for one in promoted[1:]:
        low, high = one["paired_interval"]
        metric = model.criteria.metric
        assert one["paired_interval_holds_zero"] is (low <= 0 <= high)
        needed = one["champion_metrics"][metric] + model.criteria.margin
        assert one["metrics"][metric] >= needed - 1e-9


def test_every_candidate_is_tried_with_every_window(lived, model):
    for day in lived:
        assert {tried.training_window for tried in day.tried} == {30, 120}
        assert len(day.tried) == 2 * len(model.candidates)
        assert day.evaluation[1] < day.time


def test_the_same_days_give_the_same_ledger_whatever_comes_after_them(lived, model, raw):
    # given data of which the last days are not there yet, so that the clock begins no later
    last = lived[2].time
    known = raw[raw[model.time] <= last].reset_index(drop=True)
    begins = replace(WINDOWS, anchor_offset=2)

    again = list(simulation.simulate(model, known, begins, DAYS))

    # then the first day of both is tried the same: nothing of a later day was used
    assert again[0].time == lived[0].time
    assert again[0].tried == lived[0].tried
    assert ledger(again) == ledger(lived[:3])


def test_a_challenger_without_the_margin_is_not_promoted(model, raw, lived):
    class Demanding:
        criteria = replace(model.criteria, margin=10.0)

        def __getattr__(self, part):
            return getattr(model, part)

    found = list(simulation.simulate(Demanding(), raw, WINDOWS, 2))

    assert found[0].promotion.reason == "bootstrap"
    assert found[1].promotion is None
    assert "with_margin" in found[1].verdict.reasons[0]


def test_candidates_are_runs_and_a_promotion_is_tagged(lived, settings):
    registry = Registry.of(settings)
    first = lived[0]

    run = simulation.record(registry, MODEL, "one", first, WINDOWS)
    assert simulation.record(registry, MODEL, "one", first, WINDOWS) == run

    client = MlflowClient(settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name(f"{MODEL}-simulation").experiment_id
    assert len(client.search_runs([experiment])) == len(first.tried)
    tags = client.get_run(run).data.tags
    assert tags["promotion"] == "bootstrap"
    assert (tags["anchor_time"], tags["gate"]) == (first.time, "passed")
    assert (tags["evaluation_window_days"], tags["chosen"]) == ("7", "True")
    assert registry.models() == []


def test_the_figure_is_a_picture(lived, model):
    assert simulation.figure(model, lived).startswith(b"\x89PNG")


def test_a_model_without_dates_is_told_what_it_lacks():
    with pytest.raises(simulation.SimulationError, match=r"no time, windows, losses\. Add them"):
        simulation.load("fuel")


@pytest.mark.parametrize(
    ("windows", "told"),
    [
        (replace(WINDOWS, evaluation=1), "a longer evaluation window"),
        (replace(WINDOWS, training=(5,)), "a longer training window"),
    ],
)
def test_a_window_with_too_few_rows_is_told(model, raw, windows, told):
    with pytest.raises(simulation.SimulationError, match=told):
        next(simulation.simulate(model, raw, windows, 1))
