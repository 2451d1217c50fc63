"""The schema accepts the data as it is and finds every kind of violation, with its row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandera.errors import SchemaErrors

from roadworthy.models import fuel

RANGES = {
    "mpg": (5, 60),
    "cylinders": (3, 12),
    "displacement_cu_in": (50, 500),
    "horsepower_hp": (30, 300),
    "weight_lb": (1500, 6000),
    "acceleration_s": (5, 30),
    "model_year": (70, 82),
    "origin": (1, 3),
}


def violations(frame):
    with pytest.raises(SchemaErrors) as caught:
        fuel.schema.validate(frame, lazy=True)
    return caught.value.failure_cases


def damaged(raw, column, row, value):
    frame = raw.copy()
    frame[column] = frame[column].astype(object)
    frame.loc[row, column] = value
    return frame


def test_the_data_are_valid(raw):
    assert len(fuel.schema.validate(raw, lazy=True)) == 398


def test_a_question_mark_in_horsepower_is_accepted_and_unknown(tmp_path, raw):
    file = tmp_path / "cars.csv"
    raw.head(3).astype({"horsepower_hp": object}).assign(horsepower_hp="?").to_csv(
        file, index=False
    )

    valid = fuel.schema.validate(fuel.read(file), lazy=True)

    assert valid["horsepower_hp"].isna().all()


@pytest.mark.parametrize("column", [name for name in RANGES if name != "horsepower_hp"])
def test_only_horsepower_may_be_unknown(raw, column):
    found = violations(damaged(raw, column, 7, None))

    assert (column, 7) in zip(found["column"], found["index"], strict=True)


@given(
    column=st.sampled_from(sorted(RANGES)),
    row=st.integers(0, 397),
    beyond=st.floats(0.5, 1e6),
    above=st.booleans(),
)
def test_what_is_out_of_range_is_found_with_column_row_and_value(raw, column, row, beyond, above):
    lowest, highest = RANGES[column]
    value = highest + beyond if above else lowest - beyond

    found = violations(damaged(raw, column, row, value))

    assert set(found["column"]) == {column}
    assert set(found["index"]) == {row}
    assert set(found["failure_case"]) == {value}


@pytest.mark.parametrize(("column", "value"), [("cylinders", 4.5), ("model_year", 75.5)])
def test_a_fraction_where_a_whole_number_belongs_is_found_not_cut_off(raw, column, value):
    found = violations(damaged(raw, column, 11, value))

    assert found[["column", "check", "index", "failure_case"]].to_numpy().tolist() == [
        [column, "whole_number", 11, value]
    ]
