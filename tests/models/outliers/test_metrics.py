"""The metrics are those of their definition, and VUS-PR is that of its authors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.models.outliers.metrics import bound_for, by_event, spans, vus_pr

# What RangeAUC_volume_opt(truth, scores, 100, 250) of PyPI's vus 0.0.6, which the project does not
# install, says of the series of `made`: seed, digits of its scores, and the value.
OF_ITS_AUTHORS = (
    (0, 15, 0.34117434752729175),
    (1, 15, 0.6064921238633386),
    (2, 15, 0.41904558688510873),
    (3, 15, 0.5603229503740788),
    (4, 1, 0.4776915412829636),
    (5, 1, 0.38894499326766374),
)
MARKS = st.lists(st.booleans(), min_size=1, max_size=80)


def made(seed, digits):
    """Four events of up to 60 values, some at the ends, and scores that are a little higher."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(600, bool)
    for start, length in zip(rng.integers(0, 600, 4), rng.integers(1, 60, 4), strict=True):
        truth[start : start + length] = True
    truth[: seed % 2] = truth[600 - seed % 3 :] = True
    return truth, np.round(rng.normal(size=600) + truth * rng.random(), digits)


@pytest.mark.parametrize(("seed", "digits", "expected"), OF_ITS_AUTHORS)
def test_vus_pr_is_that_of_its_authors(seed, digits, expected):
    assert vus_pr(*made(seed, digits)) == pytest.approx(expected, abs=1e-12)


def test_vus_pr_is_one_for_the_labels_themselves_and_unknown_without_events():
    truth = np.arange(2000) % 1000 >= 900

    assert vus_pr(truth, truth + np.random.default_rng(0).random(2000) / 2) > 0.95
    assert math.isnan(vus_pr(np.zeros(9), np.arange(9)))


def test_an_event_counts_once_and_an_alarm_that_touches_none_is_false():
    truth = np.array([0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0])
    alarm = np.array([0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0])

    found = by_event(truth, alarm)

    assert found.delays[0] == 1
    assert math.isnan(found.delays[1])
    assert (found.recall, found.precision, found.f1, found.delay) == (0.5, 0.5, 0.5, 1)
    assert (found.alarms, found.false_alarms) == (2, 1)


def test_without_an_alarm_nothing_is_found_and_nothing_is_wrong():
    found = by_event([0, 1, 0], [0, 0, 0])

    assert (found.recall, found.precision, found.f1, found.false_alarms) == (0, 0, 0, 0)
    assert math.isnan(found.delay)


@given(MARKS)
def test_spans_are_the_runs(marks):
    again = np.zeros(len(marks), bool)
    for start, stop in spans(marks):
        assert not again[max(start - 1, 0) : stop].any()
        again[start:stop] = True
    assert again.tolist() == marks


@given(st.integers(0, 2**31), st.integers(0, 6))
def test_above_the_bound_are_no_more_false_alarms_than_allowed(seed, allowed):
    rng = np.random.default_rng(seed)
    scores = [rng.normal(size=200), rng.normal(size=50)]
    truth = [rng.random(len(piece)) < 0.05 for piece in scores]

    bound = bound_for(scores, truth, allowed)

    false = [by_event(*pair).false_alarms for pair in zip(truth, [s > bound for s in scores])]  # noqa: B905
    assert sum(false) <= allowed
