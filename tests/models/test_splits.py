"""A hold-out shares nothing with what is trained on, and folds look back only."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.models import splits

times = st.lists(st.integers(0, 30), min_size=1, max_size=60)


def frame(rows):
    return pd.DataFrame({"row": range(rows)})


def whole(halves, rows):
    return sorted([*halves.train["row"], *halves.test["row"]]) == list(range(rows))


@given(st.integers(0, 80), st.floats(0, 1), st.integers(0, 9))
def test_seeded_holds_out_a_share_the_same_each_time(rows, share, seed):
    halves = splits.seeded(frame(rows), share=share, seed=seed)
    assert whole(halves, rows)
    assert len(halves.test) == round(share * rows)
    assert halves.test.equals(splits.seeded(frame(rows), share=share, seed=seed).test)


@given(st.lists(st.text(max_size=3), min_size=1, max_size=60), st.text(max_size=3))
def test_no_subject_is_on_both_sides_and_none_crosses_over_when_rows_are_added(people, other):
    halves = splits.by_subject(frame(len(people)), people, one_in=3, seed=1)
    assert whole(halves, len(people))
    train, test = ({people[row] for row in half["row"]} for half in halves)
    assert not train & test
    more = splits.by_subject(frame(len(people) + 1), [*people, other], one_in=3, seed=1)
    assert set(halves.test["row"]) <= set(more.test["row"])
    assert set(halves.train["row"]) <= set(more.train["row"])


@given(times, st.floats(0, 1))
def test_what_is_held_out_by_time_is_later_than_the_rest(when, share):
    halves = splits.by_time(frame(len(when)), when, share=share)
    assert whole(halves, len(when))
    assert len(halves.test) >= round(share * len(when))
    if len(halves.train) and len(halves.test):
        assert max(when[row] for row in halves.train["row"]) < min(
            when[row] for row in halves.test["row"]
        )


@given(st.lists(st.integers(0, 99), min_size=8, max_size=60), st.integers(0, 1))
def test_walking_forward_fits_on_the_past_only(when, gap):
    when = [*when, *range(8)]  # enough distinct times
    folds = list(splits.walk_forward(when, folds=3, gap=gap))
    assert len(folds) == 3
    values, tested = np.array(when), []
    for fitted_on, tested_on in folds:
        between = set(
            values[(values > values[fitted_on].max()) & (values < values[tested_on].min())]
        )
        assert values[fitted_on].max() < values[tested_on].min()
        assert len(between) == gap
        tested += tested_on.tolist()
    assert len(tested) == len(set(tested))


def test_each_row_is_tested_once_by_k_fold():
    folds = list(splits.k_fold(17, folds=4, seed=0))
    assert sorted(row for _, tested_on in folds for row in tested_on) == list(range(17))
    assert all(not set(fitted_on) & set(tested_on) for fitted_on, tested_on in folds)
