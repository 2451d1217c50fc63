"""Make the series of a temperature sensor as such a device really gives it, with known outliers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from roadworthy.models.outliers.table import STEP_S, VALUES_A_DAY

Floats = npt.NDArray[np.float64]

KINDS = ("spike", "burst", "shift", "drift", "dip")
_START = pd.Timestamp("2024-01-01T00:00:00Z")
_DAYS_BETWEEN = 2.6
_FAHRENHEIT_DAYS = (9, 10)
"""Days of the second week on which the gateway sends Fahrenheit, and says so."""
_MISTAKE = (6.3, 10)
"""When in days, and for how many values, it sends Fahrenheit and does not say so."""


def series(days: int = 112, *, seed: int = 0) -> pd.DataFrame:
    """Return raw rows as the device sends them: ``timestamp,value,unit,label``.

    The temperature has a daily and a weekly season, a trend, weather that wanders, and noise whose
    size changes from week to week. Outliers of every kind of :data:`KINDS` and of many sizes are
    labelled with their kind, about one in 2.6 days. Some values are lost, some stuck, some come
    late or twice, and for two days all are in Fahrenheit. A mistake of the first week, Fahrenheit
    that calls itself Celsius, is labelled as a spike.

    Parameters
    ----------
    days
        How many: 14 or more.
    seed
        The same seed gives the same rows.
    """
    rng = np.random.default_rng(seed)
    count = days * VALUES_A_DAY
    values, noise = _temperature(rng, count)
    labels = _add_outliers(rng, values, noise)
    seconds = np.arange(count, dtype=np.float64) * STEP_S
    unit = np.full(count, "C", dtype=object)
    fahrenheit = np.isin(np.arange(count) // VALUES_A_DAY, _FAHRENHEIT_DAYS)
    unit[fahrenheit] = "F"
    start, length = int(_MISTAKE[0] * VALUES_A_DAY), _MISTAKE[1]
    wrong = slice(start, start + length)
    labels[start : start + length + 1] = "spike"
    sent = np.where(fahrenheit, values * 1.8 + 32, values)
    sent[wrong] = values[wrong] * 1.8 + 32
    _stick(rng, sent, labels)
    return _as_sent(rng, seconds, sent, unit, labels)


def _temperature(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Return the temperatures and the size of their noise, both [count]."""
    day = np.arange(count) / VALUES_A_DAY
    season = 4 * np.sin(2 * np.pi * (day - 0.35)) + 0.9 * np.sin(4 * np.pi * (day - 0.1))
    weekend = -1.5 * np.clip(np.sin(2 * np.pi * (day + 0.25) / 7 - 2.25 * np.pi), 0, 1)
    noise = 0.25 * np.exp(rng.normal(0, 0.3, int(day[-1] // 7) + 1))[(day // 7).astype(int)]
    shocks = rng.normal(0, 1, (2, count))
    weather, quick = np.zeros(count), np.zeros(count)
    for at in range(1, count):
        weather[at] = 0.998 * weather[at - 1] + 0.05 * shocks[0, at]
        quick[at] = 0.6 * quick[at - 1] + noise[at] * shocks[1, at]
    return 19 + 0.01 * day + season + weekend + weather + quick, noise


def _add_outliers(
    rng: np.random.Generator, values: Floats, noise: Floats
) -> npt.NDArray[np.object_]:
    """Add outliers to the values and return the kind at each of them, [n]."""
    labels = np.full(len(values), "", dtype=object)
    at, number = 8.0 * VALUES_A_DAY, 0
    while at < len(values) - 2 * VALUES_A_DAY:
        kind, start = KINDS[number % len(KINDS)], int(at)
        size = rng.uniform(6, 14) * noise[start]
        if kind == "spike":
            shape = size * rng.uniform(1.2, 2, int(rng.integers(1, 3)))
        elif kind == "burst":
            shape = rng.normal(0, size / 1.5, int(rng.integers(10, 20)))
        elif kind == "shift":
            shape = np.full(int(rng.integers(8, 24)), size)
        elif kind == "drift":
            shape = np.linspace(0, 1.5 * size, int(rng.integers(16, 32)))
        else:
            shape = -size * rng.uniform(1, 1.5, int(rng.integers(2, 6)))
        values[start : start + len(shape)] += shape
        labels[start : start + len(shape) + 1] = kind  # with the return to what is usual
        at += VALUES_A_DAY * _DAYS_BETWEEN * rng.uniform(0.7, 1.3)
        number += 1
    return labels


def _stick(rng: np.random.Generator, values: Floats, labels: npt.NDArray[np.object_]) -> None:
    """Make the sensor repeat a value for a while, once a month, where there is no outlier."""
    for start in rng.integers(14 * VALUES_A_DAY, len(values), len(values) // (28 * VALUES_A_DAY)):
        run = slice(int(start), int(start) + int(rng.integers(6, 14)))
        if not any(labels[run]):
            values[run] = values[run.start]
            labels[run.start : run.stop + 1] = "stuck"


def _as_sent(
    rng: np.random.Generator,
    seconds: Floats,
    values: Floats,
    unit: npt.NDArray[np.object_],
    labels: npt.NDArray[np.object_],
) -> pd.DataFrame:
    """Return the rows in the order of arrival: with gaps, and late and double ones."""
    count = len(values)
    lost = rng.random(count) < 0.002
    start = int(rng.integers(20 * VALUES_A_DAY, count // 2))
    lost[start : start + 9] = True  # a gap of some hours
    stamps = _START + pd.to_timedelta(seconds + rng.integers(-40, 41, count), unit="s")
    frame = pd.DataFrame(
        {
            "timestamp": stamps.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "value": values.round(2),
            "unit": unit,
            "label": labels,
        }
    )
    arrival = np.arange(count) + np.where(rng.random(count) < 0.01, rng.integers(2, 6, count), 0)
    twice = rng.random(count) < 0.004
    order = np.argsort(np.concatenate([arrival, arrival[twice] + 1]), kind="stable")
    places = np.concatenate([np.arange(count), np.flatnonzero(twice)])[order]
    sent: pd.DataFrame = frame.iloc[places[~lost[places]]].reset_index(drop=True)
    return sent
