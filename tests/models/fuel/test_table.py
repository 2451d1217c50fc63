"""From the raw file to the rows to train on and the hold-out: nothing is lost unaccounted for."""

from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.models import fuel
from roadworthy.models.fuel.table import COLUMNS, ORIGINS

rows = st.integers(0, 397)


def keys(frame):
    return list(zip(frame["car_name"], frame["year"], frame["weight_kg"], strict=True))


def test_prepare_gives_the_columns_and_units_of_a_request(raw):
    frame = fuel.prepare(fuel.schema.validate(raw)).frame

    first = frame.iloc[0]
    assert list(frame.columns) == [*COLUMNS, "mpg", "car_name"]
    assert first["weight_kg"] == pytest.approx(3504 * 0.45359237)
    assert first["year"] == 1970
    assert first["origin"] == "usa"
    assert set(frame["origin"]) == set(ORIGINS)


def test_every_prepared_car_is_within_the_bounds_of_a_request(cars):
    for row in cars[list(COLUMNS)].to_dict("records"):
        fuel.Request(**{name: value for name, value in row.items() if pd.notna(value)})


@settings(max_examples=40)
@given(
    no_mpg=st.sets(rows, max_size=20),
    no_weight=st.sets(rows, max_size=20),
    repeated=st.lists(rows, max_size=20),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_row_that_is_dropped_is_counted(raw, no_mpg, no_weight, repeated, seed):
    # given the data with holes and repetitions, in any order
    damaged = pd.concat([raw, raw.loc[repeated]]).sample(frac=1, random_state=seed)
    damaged.loc[damaged.index.isin(no_mpg), "mpg"] = np.nan
    damaged = damaged.astype({"weight_lb": float})
    damaged.loc[damaged.index.isin(no_weight), "weight_lb"] = np.nan

    # when
    frame, dropped = fuel.prepare(damaged)

    # then
    holes = damaged["mpg"].isna() | damaged["weight_lb"].isna()
    assert len(damaged) == len(frame) + sum(dropped.values())
    assert dropped.get("no mpg or no weight", 0) == holes.sum()
    assert all(dropped.values())
    assert frame[["mpg", "weight_kg"]].notna().all(axis=None)


def test_the_hold_out_is_the_one_it_always_was(halves):
    # a champion and its challenger are compared on it, so it must not change unnoticed
    held_out = "\n".join(
        sorted(f"{name} {year:.0f} {kg:.1f}" for name, year, kg in keys(halves.test))
    )

    assert len(halves.test) == 84
    assert sha256(held_out.encode()).hexdigest()[:16] == "3609c1bbe8c348f3"


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(2, 398), again=st.lists(rows, max_size=10))
def test_a_car_stays_on_its_side_whatever_else_is_there(cars, halves, seed, size, again):
    # given some of the cars, in another order, some of them twice
    some = pd.concat([cars.sample(size, random_state=seed), cars.loc[again]])

    # when
    train, test = fuel.split(some)

    # then
    assert set(keys(train)) <= set(keys(halves.train))
    assert set(keys(test)) <= set(keys(halves.test))
    assert len(train) + len(test) == len(some)


def test_a_car_that_is_measured_twice_is_on_one_side(cars):
    again = cars.assign(mpg=cars["mpg"] + 1, horsepower=np.nan)

    train, test = fuel.split(pd.concat([cars, again]))

    assert not set(keys(train)) & set(keys(test))
