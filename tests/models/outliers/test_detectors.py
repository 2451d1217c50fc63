"""No detector looks ahead, a stream gets the verdicts of a batch, and so does the ONNX graph."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.bundles.scoring import Scorer, from_frame
from roadworthy.models import outliers
from roadworthy.models.agreement import agree
from roadworthy.models.outliers.detectors import STILL
from roadworthy.models.outliers.table import CONTEXT, STEP_S, joined

NAMES = [candidate.name for candidate in outliers.candidates]
each = pytest.mark.parametrize("name", NAMES)
START = 1.7e9


@pytest.fixture(scope="module")
def series(days):
    """A stretch of the hold-out."""
    return max((values for values, _ in joined(days.test)), key=len)[:400]


@pytest.fixture(scope="module")
def scorers(fitted):
    return {
        name: Scorer(outliers.export(detector).SerializeToString())
        for name, detector in fitted.items()
    }


@each
@given(at=st.integers(1, 399), seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_the_future_changes_no_verdict(fitted, series, name, at, seed):
    other = series.copy()
    other[at:] = np.random.default_rng(seed).normal(20, 30, len(series) - at)

    before, after = (fitted[name].judge(values) for values in (series, other))

    for one, two in zip(before[:4], after[:4], strict=True):
        np.testing.assert_array_equal(one[:at], two[:at])


@each
def test_a_stream_gets_the_verdicts_of_a_batch(fitted, series, name):
    batch = fitted[name].judge(series)

    for end in range(CONTEXT + 1, len(series), 23):
        last = fitted[name].judge(series[end - CONTEXT - 1 : end])
        assert last.outlier[-1] == batch.outlier[end - 1]
        assert last.judged[-1] == batch.judged[end - 1]
        assert last.score[-1] == pytest.approx(batch.score[end - 1], rel=1e-9, abs=1e-9)


@each
def test_the_graph_agrees_on_the_whole_hold_out(fitted, scorers, days, name):
    rows = days.test[list(scorers[name].inputs)]
    expected = fitted[name].predict(rows)

    answered = scorers[name].score(from_frame(rows, scorers[name].inputs))

    assert agree(from_frame(expected, expected.columns), answered, outliers.tolerance).agrees
    assert tuple(answered) == tuple(outliers.Answer.model_fields)


def asked(case, values):
    """Return values, timestamps and step of a request, and the note that it gets."""
    times = START + STEP_S * np.arange(len(values))
    none, still = np.empty(0), values.copy()
    still[200 : 200 + STILL + 3] = 20.0
    return {
        "alone": (values, none, np.nan, "ok"),
        "step": (values, none, STEP_S, "ok"),
        "times": (values, times, np.nan, "ok"),
        "gap": (values, times + 7200 * (np.arange(len(values)) >= 210), np.nan, "gap"),
        "still": (still, none, STEP_S, "constant"),
        "constant": (np.full_like(values, 20), none, STEP_S, "constant"),
        "other step": (values, none, 60.0, "other step"),
        "other times": (values, times / 30, np.nan, "other step"),
        "too few times": (values, times[:7], np.nan, "lengths differ"),
        "too many times": (values, np.append(times, 9e9), np.nan, "lengths differ"),
    }[case]


@each
@pytest.mark.parametrize(
    "case",
    [
        *("alone", "step", "times", "gap", "still", "constant", "other step", "other times"),
        *("too few times", "too many times"),
    ],
)
def test_a_window_that_cannot_be_judged_is_told_and_the_graph_says_the_same(
    fitted, scorers, series, name, case
):
    values, times, step, note = asked(case, series[:240])

    found = fitted[name].judge(values, times, step)
    answered = scorers[name].score(
        {"values": values[None], "timestamps": times[None], "step_s": np.array([step])}
    )

    assert found.note == answered["note"][0] == note
    np.testing.assert_array_equal(found.judged, answered["judged"][0])
    np.testing.assert_allclose(found.score, answered["score"][0], rtol=1e-9, atol=1e-9)
    assert not found.outlier[~found.judged].any()
    memory = fitted[name].memory
    assert not found.judged[: memory - 1].any()
    if case == "gap":
        assert not found.judged[210 : 210 + memory - 1].any()
    if note in ("other step", "lengths differ"):
        assert not found.judged.any()


def test_version_one_misses_what_version_two_and_the_best_one_find(fitted, days):
    scores = {
        name: outliers.score(detector.predict(days.test), days.test).metrics
        for name, detector in fitted.items()
    }

    assert scores["global"]["recall"] == 0
    assert scores["robust"]["recall"] >= 0.6
    assert scores["forecast"]["vus_pr"] > scores["robust"]["vus_pr"] > scores["global"]["vus_pr"]


def test_an_outlier_of_the_past_widens_the_global_bound_alone(fitted, days):
    # given the same days, in one of which a value is far too large
    spiked = days.train.copy()
    place = len(spiked) // 2
    spiked["values"] = [
        values + 500 * (np.arange(len(values)) == len(values) - 1) * (row == place)
        for row, values in enumerate(spiked["values"])
    ]

    grown = {}
    for candidate in outliers.candidates:
        again = outliers.train(candidate, spiked)
        probe = pd.Series(fitted[candidate.name].judge(days.test["values"].iloc[0]).score)
        grown[candidate.name] = probe.sum() / again.judge(days.test["values"].iloc[0]).score.sum()

    assert grown["global"] > 1.5
    assert grown["robust"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("name", "expected"), [("global", False), ("forecast", True)])
def test_behaviour_refuses_a_detector_that_misses_a_spike(fitted, days, name, expected):
    checks = outliers.behaviour(fitted[name].predict, days.test)

    assert {check.name: check.passed for check in checks} == {
        "future_changes_score": True,
        "stream_differs": True,
        "spikes_missed": expected,
    }
