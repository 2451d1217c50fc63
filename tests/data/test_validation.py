"""A violation is told by column, line of the file and rule."""

import math
import re

import hypothesis
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import strategies as st

from roadworthy.data.validation import DataError, read, validate
from roadworthy.models import fuel
from tests.conftest import SAMPLE

NAMED = re.compile(r"column (\w+) line (\d+): (.+?) breaks ([^;]+?)(?=;|\. Correct)")
# A value that breaks each column's rules, and the rule.
DAMAGE = {
    "mpg": (1000.0, "in_range(5, 60)"),
    "cylinders": (4.5, "whole_number"),
    "displacement_cu_in": (math.nan, "not_nullable"),
    "horsepower_hp": (-1.0, "in_range(30, 300)"),
    "weight_lb": ("heavy", "coerce_dtype('float64')"),
    "acceleration_s": (math.inf, "in_range(5, 30)"),
    "origin": (4.0, "isin([1, 2, 3])"),
    "car_name": ("", "str_length(1, None)"),
}


def damaged(raw, cells):
    """Return the data with cells, by row and column, put to a value that is not allowed."""
    frame = raw.astype(object)
    for row, column in cells:
        frame.loc[row, column] = DAMAGE[column][0]
    return frame


def complaint(raw):
    with pytest.raises(DataError) as caught:
        validate(raw, fuel.schema)
    return str(caught.value)


def test_sound_data_comes_back_in_the_schemas_types(raw):
    validated = validate(raw, fuel.schema)

    assert len(validated) == 398
    assert validated["cylinders"].dtype == float


@pytest.mark.parametrize("column", DAMAGE)
def test_one_violation_names_column_line_value_and_rule(raw, column):
    value, rule = DAMAGE[column]

    assert complaint(damaged(raw, [(3, column)])) == (
        f"The data violates its schema, 1 violation: column {column} line 5: {value!r} "
        f"breaks {rule}. Correct the data, or change the schema with the model."
    )


def test_the_line_is_the_files(tmp_path):
    lines = SAMPLE.read_text().splitlines()
    lines[41] = lines[41].replace(lines[41].split(",")[0], "1000", 1)
    (tmp_path / "data.csv").write_text("\n".join(lines))

    assert "column mpg line 42: 1000.0 breaks" in complaint(fuel.read(tmp_path / "data.csv"))


def test_the_first_ten_are_named_and_all_are_counted(raw):
    sentence = complaint(damaged(raw, [(row, "mpg") for row in range(20, 33)]))

    assert "13 violations" in sentence
    assert [int(line) for _, line, _, _ in NAMED.findall(sentence)] == list(range(22, 32))
    assert "; and 3 more. Correct" in sentence


def test_they_are_told_in_the_order_of_the_file(raw):
    cells = [(30, "mpg"), (7, "car_name"), (7, "mpg"), (1, "origin")]

    told = [(column, line) for column, line, _, _ in NAMED.findall(complaint(damaged(raw, cells)))]

    assert told == [("origin", "3"), ("mpg", "9"), ("car_name", "9"), ("mpg", "32")]


def test_what_concerns_a_whole_column_comes_first(raw):
    sentence = complaint(damaged(raw, [(0, "origin")]).drop(columns="mpg").assign(colour="red"))

    assert "3 violations" in sentence
    assert "column colour is not in the schema" in sentence
    assert sentence.index("column mpg is missing") < sentence.index("column origin line 2")


def test_a_word_among_numbers_hides_no_other_violation(raw):
    frame = raw.astype(object)
    frame.loc[5, "mpg"] = "many"
    frame.loc[8, "mpg"] = 1000

    sentence = complaint(frame)

    assert "2 violations" in sentence
    assert "column mpg line 7: 'many' breaks coerce_dtype('float64')" in sentence
    assert "column mpg line 10: 1000.0 breaks in_range(5, 60)" in sentence


def test_data_without_rows_is_refused(raw):
    assert complaint(raw.head(0)) == (
        "The data has no rows. Check the file that its .dvc file names."
    )


def test_a_rule_over_the_whole_table_is_told():
    schema = pa.DataFrameSchema({"a": pa.Column(float)}, unique=["a"])

    with pytest.raises(DataError, match=r"2 violations: column a line 2: 1\.0 breaks"):
        validate(pd.DataFrame({"a": [1.0, 1.0]}), schema)


@hypothesis.given(
    cells=st.sets(
        st.tuples(st.integers(0, 397), st.sampled_from(sorted(DAMAGE))), min_size=1, max_size=10
    )
)
@hypothesis.settings(max_examples=25)
def test_exactly_the_damaged_cells_are_named(raw, cells):
    sentence = complaint(damaged(raw, cells))

    told = {(column, int(line), rule) for column, line, _, rule in NAMED.findall(sentence)}
    assert told == {(column, row + 2, DAMAGE[column][1]) for row, column in cells}
    assert f"{len(cells)} violation{'s' if len(cells) > 1 else ''}:" in sentence


@pytest.mark.parametrize("content", [b"", b'mpg,"a\nb', b"\xff\xfe\x00"])
def test_a_file_of_another_format_is_told_in_a_sentence(tmp_path, content):
    (tmp_path / "data.csv").write_bytes(content)
    with pytest.raises(DataError, match="The data cannot be read"):
        read(fuel, tmp_path / "data.csv")


def test_a_blank_line_is_named_by_its_place(tmp_path):
    lines = SAMPLE.read_text().splitlines()
    (tmp_path / "data.csv").write_text("\n".join([*lines[:5], "", *lines[5:]]) + "\n")
    with pytest.raises(DataError, match="line 6"):
        validate(read(fuel, tmp_path / "data.csv"), fuel.schema)
