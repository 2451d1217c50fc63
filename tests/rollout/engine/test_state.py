"""A rollout goes its way state by state, and survives being written down."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.rollout.engine.state import (
    NEXT,
    WEIGHTS,
    MetricResult,
    Rollout,
    RolloutError,
    Stage,
)

NOW = "2026-01-02T03:04:05.000+00:00"

numbers = st.floats(0, 1e6)
results = st.builds(
    MetricResult,
    name=st.sampled_from(["error_rate", "p99_ms", "psi", "difference"]),
    value=st.none() | numbers,
    limit=numbers,
    conclusive=st.booleans(),
    passed=st.booleans(),
)
stages = st.builds(
    Stage,
    weight=st.integers(0, 100),
    seconds=numbers,
    requests=st.integers(0, 10**6),
    champion_requests=st.integers(0, 10**6),
    rows=st.integers(0, 10**6),
    golden=st.none() | numbers,
    champion_p99_ms=st.none() | numbers,
    metrics=st.lists(results, max_size=4).map(tuple),
    problem=st.text(max_size=20),
)
rollouts = st.builds(
    Rollout,
    model=st.text(min_size=1, max_size=8),
    version=st.integers(1, 99),
    champion=st.integers(0, 98),
    strategy=st.sampled_from(sorted(WEIGHTS)),
    owner=st.text(max_size=8),
    holder=st.text(max_size=8),
    started=st.just(NOW),
    renewed=st.just(NOW),
    state=st.sampled_from(list(NEXT)),
    weight=st.integers(0, 100),
    paused=st.booleans(),
    stages=st.lists(stages, max_size=4).map(tuple),
    problem=st.text(max_size=20),
    by_hand=st.text(max_size=5),
    settled=st.booleans(),
)


def begun(**changes):
    return replace(Rollout("fuel", 4, 3, "canary", "run-1", "h:1:2", NOW, NOW), **changes)


@given(rollouts, st.sampled_from(list(NEXT)))
def test_no_state_follows_but_those_that_may(rollout, after):
    allowed = after in NEXT[rollout.state]
    if after == "promoted":
        allowed = allowed and bool(rollout.by_hand or not rollout.left)
    try:
        moved = rollout.moved(after)
    except RolloutError:
        assert not allowed
    else:
        assert allowed
        assert moved.state == after


@given(rollouts, st.text(max_size=2000))
def test_from_every_state_on_the_way_it_can_be_rolled_back(rollout, problem):
    if rollout.ended:
        with pytest.raises(RolloutError):
            rollout.back(problem)
        return
    back = rollout.back(problem)

    assert (back.state, back.weight, back.ended) == ("rolled back", 0, True)
    assert len(back.problem) <= 400


def test_a_stage_that_failed_is_left():
    rollout = begun(stages=(Stage(0, 1.0), Stage(10, 1.0, problem="bad")))

    assert rollout.left == (10, 50, 100)


def test_the_verdict_leaves_out_who_held_it():
    assert not {"holder", "renewed", "settled"} & set(begun().verdict())
    assert str(begun().back("it smokes")) == "version 4 of fuel is rolled back: it smokes"
    assert str(begun(paused=True)) == "version 4 of fuel is staged at 0 %, paused"
