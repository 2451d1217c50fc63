"""Every bound decides alone, not a number never passes, and worse is never better."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.models.agreement import Agreement, agree
from roadworthy.models.contract import Bound, Criteria, Scores
from roadworthy.training.gate import decide

CRITERIA = Criteria(
    metric="r2",
    cross_validated=(Bound("cv_r2", "at least", 0.885), Bound("cv_two", "at least", 0.84)),
    hold_out=(Bound("r2", "at least", 0.84), Bound("mae", "at most", 2.6, "mpg")),
    margin=-0.005,
    error="mae",
    slice_tolerance=0.1,
    simplicity=0.002,
    latency_ms=1,
)
BEHAVIOUR = Bound("heavier_is_thriftier", "at most", 0.02, description="share of cars")
SCORES = Scores({"r2": 0.9, "mae": 2.0}, {"usa": {"mae": 1.5}, "japan": {"mae": 2.5}})
METRICS = {"cv_r2": 0.89, "cv_two": 0.85, "cv_failed_checks": 0}
GOOD = {
    "metrics": METRICS,
    "candidate": SCORES,
    "champion": SCORES,
    "behaviour": [BEHAVIOUR.check(0.01)],
    "parity": Agreement({"mpg": 1e-9, "label": 0}, {"mpg": 1e-5, "label": 0}),
    "latency_ms": 0.1,
}


def verdict(**changes):
    return decide(CRITERIA, **{**GOOD, **changes})


def scores(slices=SCORES.slices, **metrics):
    return Scores(SCORES.metrics | metrics, slices)


def test_a_good_candidate_passes_every_check():
    found = verdict()

    assert found.passed
    assert found.reasons == ()
    assert str(found) == "passed all 11 checks"


def test_the_table_of_the_checks_begins_with_those_that_failed():
    lines = verdict(latency_ms=3.0).to_markdown().splitlines()

    assert lines[0].startswith("**Failed**: failed 1 of 11 checks: latency is 3 ms")
    assert lines[4].startswith("| **failed** | latency | 3 | at most 1 | ms | median time")
    assert sum(line.startswith("| passed") for line in lines) == 10


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        (
            {"metrics": {**METRICS, "cv_r2": 0.88}},
            "cv_r2",
            "cv_r2 is 0.88, at least 0.885 is required",
        ),
        (
            {"metrics": {**METRICS, "cv_two": 0.8}},
            "cv_two",
            "cv_two is 0.8, at least 0.84 is required",
        ),
        (
            {"metrics": {**METRICS, "cv_failed_checks": 2}},
            "cv_failed_checks",
            "cv_failed_checks is 2, at most 0 is required",
        ),
        (
            {"candidate": scores(r2=0.83), "champion": scores(r2=0.83)},
            "r2",
            "r2 is 0.83, at least 0.84 is required",
        ),
        (
            {"candidate": scores(mae=2.7)},
            "mae",
            "mae is 2.7 mpg, at most 2.6 mpg is required",
        ),
        (
            {"behaviour": [BEHAVIOUR.check(0.03)]},
            "heavier_is_thriftier",
            "heavier_is_thriftier is 0.03, at most 0.02 is required",
        ),
        (
            {"parity": agree({"mpg": [1.0, 2.0]}, {"mpg": [1.0, 2.00004]})},
            "onnx_parity of mpg",
            "onnx_parity of mpg is 2e-05, at most 1e-05 is required "
            "(1 of 2 rows exceed it, most row 1)",
        ),
        ({"latency_ms": 3.0}, "latency", "latency is 3 ms, at most 1 ms is required"),
        (
            {"candidate": scores(r2=0.894)},
            "r2_with_margin",
            "r2_with_margin is 0.894, at least 0.895 is required",
        ),
        (
            {"candidate": scores({"usa": {"mae": 1.66}, "japan": {"mae": 2.5}})},
            "mae of usa",
            "mae of usa is 1.66, at most 1.65 is required",
        ),
        (
            {"candidate": scores({"usa": {"mae": 1.5}})},
            "mae of japan",
            "mae of japan is nan, at most 2.75 is required",
        ),
    ],
)
def test_each_bound_fails_alone_and_is_named_with_bound_and_value(change, name, reason):
    found = verdict(**change)

    assert not found.passed
    assert [check.name for check in found.checks if not check.passed] == [name]
    assert found.reasons == (reason,)
    assert str(found) == f"failed 1 of 11 checks: {reason}"


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"cv_r2": math.nan, "cv_two": 0.85}},
        {"metrics": {"cv_two": 0.85}},
        {"candidate": scores(r2=math.nan)},
        {"candidate": Scores({"mae": 2.0}, SCORES.slices)},
        {"candidate": scores({"usa": {"mae": math.nan}, "japan": {"mae": 2.5}})},
        {"champion": scores(r2=math.nan)},
        {"behaviour": [BEHAVIOUR.check(math.nan)]},
        {"parity": Agreement({"mpg": 0.0, "label": math.inf}, {"mpg": 1e-5, "label": 1e-5})},
        {"latency_ms": math.nan},
    ],
)
def test_what_is_not_a_number_or_not_there_never_passes(change):
    assert not verdict(**change).passed


def test_the_first_release_is_held_to_the_absolute_bounds_only():
    found = verdict(champion=None)

    assert found.passed
    names = [check.name for check in found.checks]
    bounds = ["cv_r2", "cv_two", "r2", "mae", "cv_failed_checks"]
    assert names == [*bounds, BEHAVIOUR.name, "onnx_parity of mpg", "latency"]


shares = st.floats(0, 1)
errors = st.floats(0, 100)
some_scores = st.builds(
    lambda r2, mae, slices: Scores(
        {"r2": r2, "mae": mae}, {key: {"mae": value} for key, value in slices.items()}
    ),
    shares,
    errors,
    st.dictionaries(st.sampled_from(["usa", "japan", "europe"]), errors),
)


@given(some_scores, st.floats(-1, 0))
def test_a_candidate_equal_to_the_champion_keeps_up_with_it(found, margin):
    criteria = replace(CRITERIA, margin=margin)
    changes = {"candidate": found, "champion": found}

    against = decide(criteria, **{**GOOD, **changes}).checks[8:]

    assert len(against) == 1 + len(found.slices)
    assert all(check.passed for check in against)


@given(some_scores, some_scores, shares, shares, st.floats(0, 1e-4), st.floats(0, 3), st.data())
def test_making_anything_worse_never_turns_no_into_yes(
    candidate, champion, cv, two, parity, milliseconds, data
):
    def decided(candidate, cv, two, parity, milliseconds):
        return verdict(
            metrics={"cv_r2": cv, "cv_two": two},
            candidate=candidate,
            champion=champion,
            parity=Agreement({"mpg": parity}, {"mpg": 1e-5}),
            latency_ms=milliseconds,
        )

    less = st.floats(0, 1)
    more = st.floats(0, 10)
    worse = Scores(
        {
            "r2": candidate.metrics["r2"] - data.draw(less),
            "mae": candidate.metrics["mae"] + data.draw(more),
        },
        {key: {"mae": s["mae"] + data.draw(more)} for key, s in candidate.slices.items()},
    )
    before = decided(candidate, cv, two, parity, milliseconds)
    after = decided(
        worse,
        cv - data.draw(less),
        two - data.draw(less),
        parity + data.draw(more),
        milliseconds + data.draw(more),
    )

    for old, new in zip(before.checks, after.checks, strict=True):
        assert old.passed or not new.passed
    assert before.passed or not after.passed
