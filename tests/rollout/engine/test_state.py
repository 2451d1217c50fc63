"""A rollout goes its way state by state, and survives being written down."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.rollout.engine import state
from roadworthy.rollout.engine.state import NEXT, SHARES, Figure, Rollout, RolloutError, Stage

NOW = "2026-01-02T03:04:05.000+00:00"

numbers = st.floats(0, 1e6)
figures = st.builds(
    Figure,
    name=st.sampled_from(["error_rate", "p99_ms", "psi", "difference"]),
    value=st.none() | numbers,
    limit=numbers,
    judged=st.booleans(),
    passed=st.booleans(),
)
stages = st.builds(
    Stage,
    share=st.integers(0, 100),
    seconds=numbers,
    requests=st.integers(0, 10**6),
    champion_requests=st.integers(0, 10**6),
    rows=st.integers(0, 10**6),
    golden=st.none() | numbers,
    champion_p99_ms=st.none() | numbers,
    figures=st.lists(figures, max_size=4).map(tuple),
    problem=st.text(max_size=20),
)
rollouts = st.builds(
    Rollout,
    model=st.text(min_size=1, max_size=8),
    version=st.integers(1, 99),
    champion=st.integers(0, 98),
    strategy=st.sampled_from(sorted(SHARES)),
    owner=st.text(max_size=8),
    holder=st.text(max_size=8),
    started=st.just(NOW),
    renewed=st.just(NOW),
    state=st.sampled_from(list(NEXT)),
    share=st.integers(0, 100),
    paused=st.booleans(),
    stages=st.lists(stages, max_size=4).map(tuple),
    problem=st.text(max_size=20),
    by_hand=st.text(max_size=5),
    settled=st.booleans(),
)


def begun(**changes):
    return replace(Rollout("fuel", 4, 3, "canary", "run-1", "h:1:2", NOW, NOW), **changes)


def encoded(**changes):
    return json.dumps(json.loads(state.encode(begun())) | changes)


@given(rollouts)
def test_what_is_written_down_is_read_again_the_same(rollout):
    told = state.encode(rollout)

    assert state.decode(told) == rollout
    assert state.encode(state.decode(told)) == told


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

    assert (back.state, back.share, back.ended) == ("rolled back", 0, True)
    assert len(back.problem) <= 400


@pytest.mark.parametrize(
    ("champion", "strategy", "plan"),
    [
        (3, "canary", (0, 10, 50, 100)),
        (3, "blue-green", (0, 100)),
        (0, "canary", ()),
        (4, "canary", ()),
    ],
)
def test_a_strategy_is_a_plan_where_there_is_a_champion_to_split_with(champion, strategy, plan):
    rollout = begun(champion=champion, strategy=strategy)

    assert rollout.plan == rollout.left == plan


def test_a_stage_that_failed_is_left():
    rollout = begun(stages=(Stage(0, 1.0), Stage(10, 1.0, problem="bad")))

    assert rollout.left == (10, 50, 100)


def test_a_tag_holds_a_rollout_with_all_that_can_be_said():
    figure = Figure("error_rate", 0.123456789012345678, 0.123456789012345678, True, False)
    stage = Stage(100, 12345.678, 10**7, 10**7, 10**7, 1e-15, 1234.56789012345, (figure,) * 4)
    whole = begun(stages=(stage,) * 4, owner="o" * 100, why="w" * 200)

    assert len(state.encode(whole.back("p" * 1000))) < 5000


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"model": 1}', '"a"', "null", encoded(state="flying")]
)
def test_a_tag_of_something_else_is_refused(text):
    with pytest.raises(RolloutError, match="Delete the tag in MLflow"):
        state.decode(text)


def test_fresh_is_who_spoke_lately():
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    assert state.is_fresh(begun(), now + timedelta(seconds=15), 15)
    assert not state.is_fresh(begun(), now + timedelta(seconds=15.1), 15)


def test_the_verdict_leaves_out_who_held_it():
    assert not {"holder", "renewed", "settled"} & set(begun().verdict())
    assert str(begun().back("it smokes")) == "version 4 of fuel is rolled back: it smokes"
    assert str(begun(paused=True)) == "version 4 of fuel is staged at 0 %, paused"


@pytest.mark.parametrize(
    ("stage", "told", "quiet"),
    [
        (Stage(10, 1.0), "no live request", True),
        (Stage(10, 1.0, blind=True), "requests not counted", False),
        (Stage(10, 1.0, requests=3, champion_requests=27), "3 of 30 requests", False),
    ],
)
def test_a_stage_tells_what_was_asked_and_whether_that_is_known(stage, told, quiet):
    assert (stage.traffic, stage.quiet) == (told, quiet)
    assert f"({told})" in str(stage)
