"""A series is read as it comes, and becomes evenly spaced values."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.models import outliers
from roadworthy.models.outliers import device, table
from roadworthy.models.tables import CsvError

NOON = pd.Timestamp("2024-07-01T12:00:00Z").timestamp()


def written(tmp_path, text):
    path = tmp_path / "series.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("stamp", "zone"),
    [
        ("2024-07-01T12:00:00Z", "Asia/Tokyo"),
        ("2024-07-01T14:00:00+02:00", "UTC"),
        ("2024-07-01 14:00:00", "Europe/Berlin"),
        ("01.07.2024 14:00", "Europe/Berlin"),
        ("1719835200", "UTC"),
        ("1719835200000", "UTC"),
        ("1719835200.0", "UTC"),
    ],
)
def test_every_way_to_write_a_time_is_the_same_time(tmp_path, stamp, zone):
    read = table.read(written(tmp_path, f"timestamp,value\n{stamp},1.5\n"), zone=zone)

    assert read.to_dict("records") == [{"time_s": NOON, "value": 1.5, "unit": "", "label": ""}]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("timestamp;value\n1;1,5\n2;-0,25\n3;1.234,5\n", [1.5, -0.25, 1234.5]),
        ('timestamp,value\n1,"1,5"\n2,\n3,NaN\n', [1.5, np.nan, np.nan]),
        ("Timestamp\tValue\n1\t1e3\n2\t1,234.5\n", [1000, 1234.5]),
    ],
)
def test_decimal_commas_and_missing_values_are_read(tmp_path, text, values):
    np.testing.assert_equal(table.read(written(tmp_path, text))["value"].to_numpy(), values)


def test_the_hour_that_comes_twice_is_an_hour_and_the_one_that_does_not_exist_no_error(tmp_path):
    # given a clock in Berlin, which goes back at 3 on 27 October, and forward at 2 on 31 March
    stamps = ["01:30", "01:00", "02:00", "02:30", "02:00", "02:30", "03:00"]
    rows = [f"2024-10-27 {stamp},1" for stamp in stamps]
    rows += ["2024-03-31 02:10,1"]

    read = table.read(
        written(tmp_path, "\n".join(["timestamp,value", *rows])), zone="Europe/Berlin"
    )

    assert np.diff(read["time_s"])[:6].tolist() == [-1800, 3600, 1800, 1800, 1800, 1800]
    assert read["time_s"].iloc[-1] == pd.Timestamp("2024-03-31T01:00:00Z").timestamp()


@pytest.mark.parametrize(
    ("label", "expected"), [("", ""), ("0", ""), ("false", ""), ("1", "outlier"), ("Dip", "dip")]
)
def test_a_label_is_a_kind(tmp_path, label, expected):
    read = table.read(written(tmp_path, f"timestamp,value,label\n1,2,{label}\n"))

    assert read["label"].tolist() == [expected]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("time,value\n1,2\n", "has no column timestamp"),
        ("timestamp,value\n1,2\n2,warm\n", "line 3: the value 'warm'"),
        ("timestamp,value\n1,2\nyesterday,2\n", "line 3: the timestamp 'yesterday'"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path, text, problem):
    with pytest.raises(CsvError, match=problem):
        table.read(written(tmp_path, text))


@given(st.integers(0, 2**31))
def test_order_late_and_double_stamps_change_no_value(seed):
    # given a series at even steps, with gaps
    rng = np.random.default_rng(seed)
    times = np.sort(rng.choice(np.arange(60), 40, replace=False)) * 60.0
    rows = pd.DataFrame({"time_s": times, "value": rng.normal(size=40), "label": ""})
    expected = table.regular(rows, 60)

    # when it comes shuffled, twice, and not on the second
    mixed = pd.concat([rows, rows.sample(9, random_state=seed)]).sample(frac=1, random_state=seed)
    mixed = mixed.assign(time_s=mixed["time_s"] + rng.uniform(-20, 20, len(mixed)))
    found = table.regular(mixed, 60)

    # then it is the same, gaps of two values are filled and others are not
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])
    gaps = np.diff(times) / 60 - 1
    assert np.isnan(expected[1]).sum() == gaps[gaps > 2].sum()


def test_days_are_celsius_whole_and_of_the_device(raw):
    prepared = outliers.prepare(raw)
    values = np.stack(list(prepared.frame["values"]))

    assert values.shape[1] == table.WINDOW
    assert np.isfinite(values).all()
    fahrenheit = table.joined(prepared.frame)[0][0][9 * 48 : 11 * 48]
    assert fahrenheit.max() < 35
    assert set(prepared.dropped) == {"comes twice", "day with a gap"}


def test_joining_days_gives_the_series_back(raw):
    frame = outliers.prepare(raw).frame
    start, values, labels = table.regular(
        raw.assign(value=raw["value"].where(raw["unit"] != "F", (raw["value"] - 32) / 1.8)), 1800
    )

    pieces = table.joined(frame)

    assert len(pieces) > 1
    at = int((frame["time_s"].iloc[0] - start) / 1800) - table.CONTEXT
    np.testing.assert_allclose(pieces[0][0], values[at : at + len(pieces[0][0])], atol=0.006)
    assert pieces[0][1].tolist() == labels[at : at + len(pieces[0][1])].tolist()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_device_sends_what_a_real_one_does(seed):
    sent = device.series(days=70, seed=seed)
    seconds = pd.to_datetime(sent["timestamp"]).astype(np.int64) // 10**9

    pd.testing.assert_frame_equal(sent, device.series(days=70, seed=seed))
    assert not seconds.is_monotonic_increasing
    assert seconds.duplicated().any()
    assert np.sort(np.diff(np.sort(seconds)))[-1] > 4 * 3600
    assert set(sent["label"]) >= {"", *device.KINDS}
    assert set(sent["unit"]) == {"C", "F"}
