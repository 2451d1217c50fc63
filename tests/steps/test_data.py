"""Validation and preparation: a commit or a file in, files and counts out."""

import pandas as pd
import pytest

from roadworthy.data.validation import DataError
from roadworthy.steps.prepare import prepare, prepare_raw


@pytest.fixture
def call(raw_file, tmp_path):
    """Prepare the raw file."""

    def run():
        return prepare_raw("fuel", raw_file, train=tmp_path / "deep/train", test=tmp_path / "test")

    return run


def test_a_violation_stops_and_names_column_row_and_rule(raw_file, call, tmp_path):
    lines = raw_file.read_text().splitlines()
    names = lines[0].split(",")
    cells = lines[5].split(",")
    cells[names.index("weight_lb")] = "99"
    raw_file.write_text("\n".join([*lines[:5], ",".join(cells), *lines[6:]]) + "\n")

    with pytest.raises(DataError, match=r"column weight_lb line 6: 99"):
        call()

    assert not (tmp_path / "test").exists()


def test_rows_are_written_as_they_were_prepared(call, halves, tmp_path):
    counts = call()

    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "deep/train"), halves.train)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "test"), halves.test)
    assert (counts.rows, counts.dropped) == (398, {})
    assert (counts.train, counts.test) == (len(halves.train), len(halves.test))
    assert str(counts) == f"{counts.train} rows to train on, {counts.test} held out, dropped: none"


def test_the_data_of_a_commit_is_fetched(released_from, halves, tmp_path):
    files = {"train": tmp_path / "train", "test": tmp_path / "test"}

    counts = prepare(released_from, "fuel", "main", **files)

    assert (counts.train, counts.test) == (len(halves.train), len(halves.test))
    pd.testing.assert_frame_equal(pd.read_parquet(files["train"]), halves.train)


def test_dropped_rows_are_counted_by_reason(raw_file, call):
    lines = raw_file.read_text().splitlines()
    raw_file.write_text("\n".join([*lines, lines[-1]]) + "\n")

    counts = call()

    assert counts.dropped == {"repeats another row": 1}
    assert str(counts).endswith("dropped: 1 (repeats another row)")


def test_too_few_rows_on_either_side_are_told(raw_file, call):
    raw_file.write_text("\n".join(raw_file.read_text().splitlines()[:8]) + "\n")

    with pytest.raises(DataError, match="10 are required"):
        call()
