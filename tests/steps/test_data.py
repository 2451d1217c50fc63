"""Validation and preparation: files in, files and counts out."""

import pandas as pd
import pytest

from roadworthy.data.validation import DataError
from roadworthy.models import fuel
from roadworthy.steps.prepare import prepare
from roadworthy.steps.validate import validate


@pytest.fixture
def validated(raw_file, tmp_path):
    """Write the raw file in the schema's types, and return how."""

    def write():
        validate("fuel", raw_file, target=tmp_path / "validated")
        return tmp_path / "validated"

    return write


def test_every_row_that_keeps_the_schema_is_counted_and_typed(raw_file, tmp_path, cars):
    assert validate("fuel", raw_file, target=tmp_path / "validated") == 398
    typed = pd.read_parquet(tmp_path / "validated")
    assert fuel.prepare(typed).frame.equals(cars)


def test_a_violation_stops_and_names_column_row_and_rule(raw_file, tmp_path):
    lines = raw_file.read_text().splitlines()
    names = lines[0].split(",")
    cells = lines[5].split(",")
    cells[names.index("weight_lb")] = "99"
    raw_file.write_text("\n".join([*lines[:5], ",".join(cells), *lines[6:]]) + "\n")

    with pytest.raises(DataError, match=r"column weight_lb line 6: 99"):
        validate("fuel", raw_file, target=tmp_path / "validated")

    assert not (tmp_path / "validated").exists()


def test_rows_are_written_as_they_were_prepared(validated, halves, tmp_path):
    train, test = tmp_path / "deep" / "train", tmp_path / "test"

    counts = prepare("fuel", validated(), train=train, test=test)

    pd.testing.assert_frame_equal(pd.read_parquet(train), halves.train)
    pd.testing.assert_frame_equal(pd.read_parquet(test), halves.test)
    assert (counts.train, counts.test, counts.dropped) == (len(halves.train), len(halves.test), {})
    assert str(counts) == f"{counts.train} rows to train on, {counts.test} held out, dropped: none"


def test_dropped_rows_are_counted_by_reason(raw_file, validated, tmp_path):
    lines = raw_file.read_text().splitlines()
    raw_file.write_text("\n".join([*lines, lines[-1]]) + "\n")

    counts = prepare("fuel", validated(), train=tmp_path / "train", test=tmp_path / "test")

    assert counts.dropped == {"repeats another row": 1}
    assert str(counts).endswith("dropped: 1 (repeats another row)")


def test_too_few_rows_on_either_side_are_told(raw_file, validated, tmp_path):
    raw_file.write_text("\n".join(raw_file.read_text().splitlines()[:8]) + "\n")

    with pytest.raises(DataError, match="10 are required"):
        prepare("fuel", validated(), train=tmp_path / "train", test=tmp_path / "test")
