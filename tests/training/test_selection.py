"""The best candidate that behaves is chosen, and of two alike the simpler."""

import math

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.models.contract import Bound, Criteria, Validation
from roadworthy.training.selection import NoCandidateError, choose, failed_checks

CRITERIA = Criteria(
    metric="r2",
    cross_validated=(),
    hold_out=(),
    margin=0,
    error="mae",
    slice_tolerance=0.1,
    simplicity=0.002,
    latency_ms=1,
)
BOUND = Bound("heavier_is_thriftier", "at most", 0.02)


def validations(*found):
    """What was found of each candidate, the simplest first: its metric, and whether it behaves."""
    return {
        f"candidate {number}": Validation({"cv_r2": metric}, (BOUND.check(0 if good else 0.5),))
        for number, (metric, good) in enumerate(found)
    }


@pytest.mark.parametrize(
    ("metrics", "chosen"),
    [((0.85, 0.89), 1), ((0.889, 0.89), 0), ((0.85, 0.8885, 0.89), 1), ((0.89, 0.85), 0)],
)
def test_the_best_is_chosen_and_of_two_alike_the_simpler(metrics, chosen):
    found = validations(*((metric, True) for metric in metrics))

    assert choose(found, CRITERIA) == f"candidate {chosen}"


def test_what_misbehaves_is_not_chosen_however_good():
    assert choose(validations((0.85, True), (0.95, False)), CRITERIA) == "candidate 0"


def test_when_none_behaves_the_best_of_all_is_chosen_for_the_gate_to_refuse():
    found = validations((0.85, False), (0.95, False))

    assert choose(found, CRITERIA) == "candidate 1"
    assert failed_checks(found["candidate 1"]) == 1


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=6))
def test_the_chosen_behaves_and_is_hardly_worse_than_the_best_that_does(found):
    behaved = [metric for metric, good in found if good]
    hypothesis.assume(behaved)

    metric, good = found[int(choose(validations(*found), CRITERIA).split()[-1])]

    assert good
    assert metric > max(behaved) - CRITERIA.simplicity


def test_a_candidate_whose_metric_is_no_number_is_not_chosen():
    assert choose(validations((math.nan, True), (0.85, True)), CRITERIA) == "candidate 1"
    assert choose(validations((0.85, True), (math.nan, True)), CRITERIA) == "candidate 0"
    with pytest.raises(NoCandidateError, match="is not a number"):
        choose(validations((math.nan, True)), CRITERIA)
