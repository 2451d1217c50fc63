"""An honest near-chance model passes, a worse or an overconfident one does not, and it is told."""

import numpy as np
import pandas as pd
import pytest

from roadworthy.models import direction
from roadworthy.models.direction.evaluation import note


def answers(probability, rows):
    up = np.broadcast_to(np.asarray(probability, float), len(rows))
    call = np.where(up > 0.5, "UP", "DOWN").astype(object)
    return pd.DataFrame({"next_close": call, "probability_up": up}, index=rows.index)


def failed(found):
    bounds = direction.criteria.hold_out
    checks = [bound.check(found.metrics[bound.name]) for bound in bounds]
    return {check.name for check in checks if not check.passed}


@pytest.fixture(scope="module")
def held_out(parts):
    return parts.test


@pytest.mark.parametrize(
    ("calls", "reasons"),
    [
        ("base rate", set()),
        ("coin", {"accuracy_gain_high"}),
        ("certain", {"brier_skill_high", "calibration_z"}),
        ("always wrong", {"brier_skill_high", "accuracy_gain_high", "calibration_z"}),
    ],
)
def test_the_bars_part_what_is_near_chance_from_what_is_worse(held_out, calls, reasons):
    is_up = (held_out["next_close"] == "UP").to_numpy(float)
    probability = {
        "base rate": held_out["base_rate"],
        "coin": 0.5 + np.random.default_rng(0).normal(0, 0.01, len(held_out)),
        "certain": 0.99,
        "always wrong": 0.6 - 0.2 * is_up,
    }[calls]

    found = direction.score(answers(probability, held_out), held_out)

    assert failed(found) == reasons
    assert {name[:5] for name in found.slices} == {"year="}


def test_a_day_s_probabilities_are_scored_as_by_hand(held_out):
    rows = held_out.head(4).assign(
        next_close=["UP", "DOWN", "UP", "UP"], base_rate=[0.5, 0.5, 0.5, 0.5]
    )

    metrics = direction.score(answers([0.6, 0.6, 0.4, 0.6], rows), rows).metrics

    brier = (0.16 + 0.36 + 0.36 + 0.16) / 4
    assert metrics["brier"] == pytest.approx(brier)
    assert metrics["brier_skill"] == pytest.approx(1 - brier / 0.25)
    assert (metrics["accuracy"], metrics["always_up_accuracy"]) == (0.5, 0.75)
    assert metrics["brier_skill_low"] < metrics["brier_skill"] < metrics["brier_skill_high"]
    assert metrics["accuracy_low"] < 0.5 < metrics["accuracy_high"]


@pytest.mark.parametrize("name", ["always_up", "logistic", "forest_50_3"])
def test_walking_forward_has_the_metric_and_behaves(parts, name):
    candidate = next(one for one in direction.candidates if one.name == name)

    found = direction.cross_validate(candidate, parts.train)

    assert -0.1 < found.metrics["cv_brier_skill"] < 0.1
    assert all(check.passed for check in found.checks)


def test_the_card_says_plainly_that_it_is_near_chance(parts):
    estimator = direction.train(direction.candidates[1], parts.train)

    found = direction.evaluate(estimator, parts.test)

    assert "near chance; do not trade on it" in found.note
    assert "the interval holds zero" in found.note
    better = {**found.metrics, "brier_skill_low": 0.001, "brier_skill_high": 0.002}
    assert "does not hold zero" in note(better)
    assert set(found.figures) == {"calibration", "skill"}
    last = parts.test.iloc[-1]
    assert len(found.record) == 22
    assert found.record[0]["Day"] == last["trading_day"]
    assert found.record[0]["Next close"] == last["next_close"]
