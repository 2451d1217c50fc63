"""The series: from a CSV file as it comes to windows of evenly spaced values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa

from roadworthy.models import splits
from roadworthy.models.contract import Prepared, Split
from roadworthy.models.datasets import TableDataset
from roadworthy.models.outliers.metrics import spans
from roadworthy.models.tables import MISSING_NUMBERS, CsvError

Floats = npt.NDArray[np.float64]

STEP_S = 1800
"""The device's sampling step, seconds."""
VALUES_A_DAY = 86400 // STEP_S
CONTEXT = 4 * VALUES_A_DAY
"""How many earlier values a detector may look at to judge one."""
WINDOW = CONTEXT + VALUES_A_DAY
"""The values of one row: those of a day, after the context to judge them."""
_HOLD_OUT = 0.25
_FILLED = 2
"""At most so many lost values in a row are replaced."""
_MILLISECONDS = 1e11  # as seconds, the year 5138; as milliseconds, March 1973
_CELSIUS = "C"

schema = pa.DataFrameSchema(
    {
        "time_s": pa.Column(
            float, pa.Check.in_range(0, 1e11), description="When, seconds since 1970 UTC."
        ),
        "value": pa.Column(
            float, pa.Check.in_range(-200, 400), nullable=True, description="In its unit."
        ),
        "unit": pa.Column(str, pa.Check.isin(["", "C", "F"]), description="C, or F; empty is C."),
        "label": pa.Column(str, description="The kind of outlier; empty where it is none."),
    },
    strict=True,
    description="The temperatures that a device sent, in the order in which they came.",
)


def read(path: Path, *, zone: str = "UTC") -> pd.DataFrame:
    """Return the rows of a CSV file as columns ``time_s``, ``value``, ``unit`` and ``label``.

    The file has the columns ``timestamp`` and ``value``, and may have ``unit`` and ``label``. They
    are separated by commas, semicolons or tabs; decimal points may be commas. A timestamp is ISO
    8601 with or without an offset, ``31.12.2024 13:30``, or seconds or milliseconds since 1970. A
    label is empty, 0 or false where the value is no outlier, and otherwise its kind. Rows stay in
    their order, with all their gaps and repetitions.

    Parameters
    ----------
    zone
        Where the clock hung that wrote timestamps without an offset, e.g. ``Europe/Berlin``. Of
        the hour that comes twice when daylight saving ends, the first is taken until the clock
        goes back.

    Raises
    ------
    CsvError
        A column is missing, or a timestamp or value cannot be read: it names the line.
    OSError
        The file cannot be read.
    """
    text = _strings(path)
    return pd.DataFrame(
        {
            "time_s": _seconds(path, text["timestamp"].str.strip(), zone),
            "value": _numbers(path, text["value"]),
            "unit": text["unit"].str.strip().str.upper().str.removeprefix("°"),
            "label": _labels(text["label"].str.strip()),
        }
    )


dataset = TableDataset(read)


def prepare(raw: pd.DataFrame) -> Prepared:
    """Return a row for each day: the values of :data:`WINDOW` steps, the last of which are its own.

    The columns are ``time_s`` of the first of the day's values, ``values`` in °C,
    ``timestamps`` (empty: they are evenly spaced), ``step_s``, and ``truth``, the kind of outlier
    at each value. A day with a gap in its values or in their context is dropped.
    """
    celsius = raw.assign(
        value=raw["value"].where(raw["unit"] != "F", (raw["value"] - 32) / 1.8).round(2)
    )
    start, values, labels = regular(celsius, STEP_S)
    known = ~np.isnan(values)
    ends = np.arange(WINDOW, len(values) + 1, VALUES_A_DAY)
    whole = [int(end) for end in ends if known[end - WINDOW : end].all()]
    windows = [slice(end - WINDOW, end) for end in whole]
    frame = pd.DataFrame(
        {
            "time_s": [start + STEP_S * float(end - VALUES_A_DAY) for end in whole],
            "values": [values[window] for window in windows],
            "timestamps": [np.empty(0) for _ in windows],
            "step_s": float(STEP_S),
            "truth": [labels[window] for window in windows],
        }
    )
    dropped = {
        "comes twice": len(raw) - raw["time_s"].nunique(),
        "day with a gap": len(ends) - len(whole),
    }
    return Prepared(frame, {reason: count for reason, count in dropped.items() if count})


def split(frame: pd.DataFrame) -> Split:
    """Return the first three quarters of the days to train on, and the last as the hold-out."""
    return splits.by_time(frame, frame["time_s"].to_list(), share=_HOLD_OUT)


def regular(raw: pd.DataFrame, step_s: float) -> tuple[float, Floats, npt.NDArray[np.object_]]:
    """Return a series at even steps: when it starts, its values and its labels, both [n].

    A value goes to the nearest step; of those of one step the last that came stays. In a gap of at
    most two steps they are on the line between its neighbours, in a longer one they are NaN. So a
    filled value is made of a later one, and the verdict on any value that came is not.
    """
    came = raw.dropna(subset="value")
    steps = np.round(came["time_s"].to_numpy(np.float64) / step_s).astype(int)
    first = int(steps.min())
    places = steps - first
    values = np.full(int(places.max()) + 1, np.nan)
    labels = np.full(len(values), "", dtype=object)
    values[places] = came["value"]  # of those of one place, the last one in the order of the rows
    labels[places] = came["label"]
    lost = np.isnan(values)
    values = pd.Series(values).interpolate().to_numpy(np.float64, copy=True)
    for start, stop in spans(lost):
        if stop - start > _FILLED:
            values[start:stop] = np.nan
    return first * float(step_s), values, labels


def joined(frame: pd.DataFrame) -> list[tuple[Floats, npt.NDArray[np.object_]]]:
    """Return the contiguous pieces of the series that prepared rows hold: values and labels.

    Each piece starts with the context of its first day.
    """
    pieces: list[tuple[list[Any], list[Any]]] = []
    expected = np.nan
    ordered = frame.sort_values("time_s")
    columns = (ordered["time_s"], ordered["values"], ordered["truth"])
    for time, values, labels in zip(*columns, strict=True):
        if time == expected:
            values, labels = values[CONTEXT:], labels[CONTEXT:]  # noqa: PLW2901 - the day alone
        else:
            pieces.append(([], []))
        pieces[-1][0].append(values)
        pieces[-1][1].append(labels)
        expected = time + VALUES_A_DAY * STEP_S
    return [(np.concatenate(values), np.concatenate(labels)) for values, labels in pieces]


def _strings(path: Path) -> pd.DataFrame:
    """Return the four columns as strings; those that are left out are empty."""
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    separator = max(",;\t", key=header.count)
    try:
        text = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise CsvError(f"{path.name} cannot be read: {error}") from error
    text.columns = text.columns.str.strip().str.lower()
    if missing := [name for name in ("timestamp", "value") if name not in text]:
        raise CsvError(
            f"{path.name} has no column {' and no column '.join(missing)}: name them in its first "
            f"line, timestamp and value"
        )
    return text.reindex(columns=["timestamp", "value", "unit", "label"]).fillna("")


def _numbers(path: Path, text: pd.Series) -> pd.Series:
    stripped = text.str.strip()
    comma = stripped.str.rfind(",") > stripped.str.rfind(".")
    pointed = stripped.str.replace(",", "").where(
        ~comma, stripped.str.replace(".", "").str.replace(",", ".")
    )
    missing = pointed.isin(["", *MISSING_NUMBERS])
    found = pd.to_numeric(pointed.where(~missing), errors="coerce")
    _check_read(path, "value", text, found.isna() & ~missing)
    return found.astype(np.float64)


def _labels(text: pd.Series) -> pd.Series:
    lower = text.str.lower()
    named = lower.where(~lower.isin(["0", "0.0", "false", "no"]), "")
    return named.where(~named.isin(["1", "1.0", "true", "yes"]), "outlier")


def _seconds(path: Path, text: pd.Series, zone: str) -> Floats:
    found: Floats = pd.to_numeric(text, errors="coerce").to_numpy(np.float64, copy=True)
    found[found > _MILLISECONDS] /= 1000
    written = np.isnan(found)
    offset = written & text.str.contains(_OFFSET).to_numpy()
    found[offset] = _since_1970(pd.to_datetime(text[offset], format="ISO8601", utc=True, **_NAT))
    local = text[written & ~offset]
    day_first = local.str.match(_DAY_FIRST)
    parsed = pd.to_datetime(local.where(~day_first), format="ISO8601", **_NAT)
    parsed = parsed.fillna(
        pd.to_datetime(local.where(day_first), format="mixed", dayfirst=True, **_NAT)
    )
    found[written & ~offset] = _since_1970(_located(parsed, zone))
    _check_read(path, "timestamp", text, pd.Series(np.isnan(found), text.index))
    return found


_OFFSET = re.compile(r"(?:Z|[+-]\d{2}:?\d{2})$")
_DAY_FIRST = re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}")
_NAT: dict[str, Any] = {"errors": "coerce"}


def _located(times: pd.Series, zone: str) -> pd.Series:
    """Return local times with their zone.

    A time that comes twice is summer's until the clock goes back: until a row of that hour is
    earlier than the row before it.
    """
    once = times.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward")
    twice = once.isna() & times.notna()
    back = twice & (times.diff() < pd.Timedelta(0))
    summer = ~back.groupby(times.dt.date).cummax().fillna(value=False).to_numpy(np.bool_)
    located: pd.Series = times.dt.tz_localize(zone, ambiguous=summer, nonexistent="shift_forward")
    return located


def _since_1970(times: pd.Series) -> npt.NDArray[np.floating[Any]]:
    return (times - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(np.float64)


def _check_read(path: Path, column: str, text: pd.Series, unread: pd.Series) -> None:
    if unread.any():
        row = int(np.argmax(unread.to_numpy()))
        raise CsvError(
            f"{path.name}, line {row + 2}: the {column} {text.iloc[row]!r} cannot be read. Write "
            f"it as in the other lines, or leave a missing value empty"
        )
