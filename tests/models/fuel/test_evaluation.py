"""The bars that a fuel model must clear, and that what is bad does not clear them."""

import struct

import numpy as np
import pandas as pd
import pytest

from roadworthy.models import fuel
from roadworthy.models.contract import Candidate
from roadworthy.models.fuel.evaluation import behave

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="session")
def evaluation(chosen, halves):
    return fuel.evaluate(chosen, halves.test)


def values(checks):
    return {check.name: check.value for check in checks}


def test_cross_validated_r2_clears_the_bars(validations, best):
    metrics = validations[best.name].metrics

    assert metrics["cv_r2"] >= 0.885
    assert metrics["cv_r2_weight_and_year"] >= 0.84


def test_the_hold_out_clears_every_bound(evaluation):
    failed = [
        check
        for bound in fuel.criteria.hold_out
        if not (check := bound.check(evaluation.metrics[bound.name])).passed
    ]

    assert failed == []


@pytest.mark.parametrize("name", ["coverage", "coverage_weight_and_year"])
def test_nine_cars_in_ten_are_inside_their_interval(evaluation, name):
    assert 0.84 <= evaluation.metrics[name] <= 0.98


def test_cars_of_which_only_weight_and_year_are_said_behave_too(chosen):
    # given every weight between those of the lightest and heaviest cars of most years; beyond
    # them, where there are next to no cars, a radial kernel bends back to the mean
    weights, years = np.meshgrid(np.arange(830, 2001, 10.0), np.arange(1970, 1980.0))
    requests = pd.DataFrame({"weight_kg": weights.ravel(), "year": years.ravel()}).assign(
        cylinders=np.nan, displacement=np.nan, horsepower=np.nan, acceleration=np.nan, origin=""
    )

    checks = behave(lambda rows: chosen.predict(rows)["l_per_100km"].to_numpy(), requests)

    assert [str(check) for check in checks if not check.passed] == []


def test_unseen_cars_of_every_fold_behave(validations, best):
    assert all(check.passed for check in validations[best.name].checks)


@pytest.mark.parametrize(
    ("predict", "broken"),
    [
        (
            lambda rows: 10000 / rows["weight_kg"].to_numpy(),
            {"heavier_is_thriftier", "heavier_saves_at_most"},
        ),
        (
            lambda rows: np.exp((rows["year"].to_numpy() - 1970) / 10),
            {"newer_is_thirstier", "newer_costs_at_most"},
        ),
        (lambda rows: 10 + rows["weight_kg"].to_numpy() * 1e6 % 7, {"kilograms_and_pounds_differ"}),
    ],
    ids=["the wrong way with weight", "the wrong way with the years", "another answer in pounds"],
)
def test_what_answers_badly_fails_the_checks_that_are_meant_for_it(halves, predict, broken):
    checks = behave(predict, halves.test)

    assert broken <= {check.name for check in checks if not check.passed}


def test_the_checks_tell_a_share_of_the_cars_and_the_worst_car(halves):
    # given an estimator that finds one car in particular 10 % thriftier when it is heavier
    rows = halves.test.reset_index(drop=True)

    def predict(cars):
        odd = (cars.index == 3) & (cars["weight_kg"] > rows["weight_kg"] * 1.05)
        return np.where(odd, 9.0, 10.0)

    found = values(behave(predict, rows))

    assert found["heavier_is_thriftier"] == pytest.approx(1 / len(rows))
    assert found["heavier_saves_at_most"] == pytest.approx(0.1)


class Backwards:
    """Says that heavy cars are thrifty."""

    def get_params(self, deep=True):
        return {}

    def fit(self, frame, target):
        return self

    def predict(self, frame):
        return np.log(frame["weight_kg"].to_numpy() / 50)


def test_cross_validation_finds_out_a_candidate_that_misbehaves(halves):
    class Estimator:
        point = Backwards()

    validation = fuel.cross_validate(Candidate("backwards", Estimator(), {}, ""), halves.train)

    found = values(validation.checks)
    assert found["heavier_is_thriftier"] == 1.0
    assert found["heavier_saves_at_most"] == pytest.approx(1 - 1 / 1.1)
    assert validation.metrics["cv_r2"] < 0


def test_figures_are_pngs_of_some_size_and_the_same_when_made_again(evaluation, chosen, halves):
    again = fuel.evaluate(chosen, halves.test).figures

    assert set(evaluation.figures) == {"actual-against-predicted", "residuals"}
    for name, figure in evaluation.figures.items():
        assert figure.startswith(PNG)
        width, height = struct.unpack(">II", figure[16:24])
        assert min(width, height) >= 400
        assert figure == again[name]
