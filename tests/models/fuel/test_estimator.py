"""The estimators: what is left out is imputed, the interval holds, and a fit can be repeated."""

import io

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import KFold

from roadworthy.models import fuel
from roadworthy.models.fuel.estimator import (
    ANSWER,
    CONFIDENCE,
    CarFeatures,
    scaled,
    without_optional,
)
from roadworthy.models.fuel.table import COLUMNS, OPTIONAL_NUMBERS, ORIGINS
from roadworthy.models.fuel.units import L_PER_100KM_TIMES_MPG

NAMES = [candidate.name for candidate in fuel.candidates]
requests = st.fixed_dictionaries(
    {"weight_kg": st.floats(700, 2400), "year": st.integers(1970, 1982)},
    optional={
        "cylinders": st.integers(3, 8),
        "displacement": st.floats(60, 480),
        "horsepower": st.floats(40, 240),
        "acceleration": st.floats(7, 26),
        "origin": st.sampled_from(ORIGINS),
    },
)


def frame_of(*cars):
    return pd.DataFrame([fuel.Request(**car).model_dump() for car in cars])


def dumped(estimator):
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", NAMES)
@given(car=requests)
def test_any_valid_request_gets_finite_answers_within_the_interval(fitted, name, car):
    answer = fitted[name].predict(frame_of(car)).iloc[0]

    assert tuple(answer.index) == ANSWER
    assert np.isfinite(answer).all()
    assert 0 < answer["l_per_100km_low"] < answer["l_per_100km"] < answer["l_per_100km_high"]
    assert 0 < answer["mpg_low"] < answer["mpg"] < answer["mpg_high"]
    fuel.Answer(**answer)


@given(car=requests)
def test_mpg_and_litres_say_the_same_thing(chosen, car):
    answer = chosen.predict(frame_of(car)).iloc[0]

    for litres, miles in (("", ""), ("_low", "_high"), ("_high", "_low")):
        product = answer[f"l_per_100km{litres}"] * answer[f"mpg{miles}"]
        assert product == pytest.approx(L_PER_100KM_TIMES_MPG, rel=1e-12)


@pytest.mark.parametrize("left_out", [*OPTIONAL_NUMBERS, "origin"])
def test_leaving_any_one_field_out_takes_the_wider_interval(chosen, halves, left_out):
    # given a car of which everything is said
    whole = halves.test[list(COLUMNS)].dropna().head(1)
    lacking = whole.assign(**{left_out: "" if left_out == "origin" else np.nan})

    widths = [
        np.log(answer["mpg_high"] / answer["mpg_low"]).iloc[0] / 2
        for answer in (chosen.predict(whole), chosen.predict(lacking))
    ]

    assert widths == pytest.approx([chosen.complete_, chosen.incomplete_], rel=1e-9)
    assert widths[1] > widths[0]


@pytest.mark.parametrize(
    "least_said", [False, True], ids=["everything said", "weight and year said"]
)
def test_the_interval_is_the_conformal_quantile_of_errors_on_unseen_cars(
    best, chosen, halves, least_said
):
    # given the errors of ten folds, computed without the library
    frame, target = halves.train[list(COLUMNS)], np.log(halves.train["mpg"].to_numpy())
    asked = without_optional(frame) if least_said else frame
    errors = np.empty_like(target)
    for known, unseen in KFold(10, shuffle=True, random_state=0).split(frame):
        point = clone(best.estimator.point).fit(frame.iloc[known], target[known])
        errors[unseen] = np.abs(target[unseen] - point.predict(asked.iloc[unseen]))

    # then
    rank = int(np.ceil(CONFIDENCE * (len(errors) + 1)))
    width = chosen.incomplete_ if least_said else chosen.complete_
    assert width == pytest.approx(np.sort(errors)[rank - 1], rel=1e-9)


@pytest.mark.parametrize("candidate", fuel.candidates, ids=NAMES)
def test_two_fits_are_the_same_to_the_last_byte(fitted, halves, candidate):
    again = fuel.train(candidate, halves.train)

    assert dumped(again) == dumped(fitted[candidate.name])


@pytest.mark.parametrize("name", OPTIONAL_NUMBERS)
def test_what_is_imputed_is_closer_to_the_truth_than_a_median(halves, name):
    features = CarFeatures(COLUMNS).fit(halves.train)
    truth = scaled(halves.test, name)
    known = ~np.isnan(truth)

    imputed = features.transform(without_optional(halves.test))[:, COLUMNS.index(name)]

    median = np.nanmedian(scaled(halves.train, name))
    error, error_of_median = (
        np.abs(guess - truth)[known].mean() for guess in (imputed, np.full_like(truth, median))
    )
    assert error < error_of_median
    if name != "acceleration":
        assert error < error_of_median / 2
