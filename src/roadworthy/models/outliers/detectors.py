"""Detectors: the score of a value from those before it, and the bound that makes it an outlier.

None looks ahead, and each looks back over a fixed number of values, its memory. So a value gets the
same score in a long window, in a short one, and one by one as the device sends them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import BaseEstimator, clone

from roadworthy.models.contract import Candidate
from roadworthy.models.outliers.metrics import bound_for
from roadworthy.models.outliers.request import NOTES
from roadworthy.models.outliers.table import CONTEXT, STEP_S, VALUES_A_DAY, joined

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

ALLOWANCE = 0.1
"""The false alarms a day that the bound allows on the days that it is set on."""
OTHER_ALLOWANCES = (0.02, 0.05, 0.2, 0.4, 0.8)
"""Others, of which the bounds are kept to compare."""
STILL = 24
"""A sensor that repeats a value so often is stuck, or its series constant."""
STEP_TOLERANCE = 0.5
"""By which part of the step the time between two values may differ from it."""
HIGHEST = 50.0
"""Deviations above this are equal, so that one value does not hide the next ones for long."""
TINY = 1e-9
MAD_TO_DEVIATION = 1.4826  # of a normal distribution
_CALIBRATION = 1 / 3


def train(candidate: Candidate, frame: pd.DataFrame) -> Detector:
    """Return the candidate, fitted to prepared rows."""
    fitted: Detector = clone(candidate.estimator).fit(frame)
    return fitted


class Verdicts(NamedTuple):
    """What is said of each value of a window, [n], and of all."""

    outlier: Booleans
    score: Floats
    bound: Floats
    judged: Booleans
    note: str


class Detector(BaseEstimator):  # type: ignore[misc]
    """What all detectors have in common.

    Attributes
    ----------
    bound_
        The highest score that is no outlier.
    bounds_
        The bound of each allowance, in false alarms a day; none where it is not set by one.
    """

    bound_: float
    bounds_: Mapping[float, float]

    @property
    @abstractmethod
    def memory(self) -> int:
        """How many values a score is made of, its own included."""

    @abstractmethod
    def learn(self, pieces: Sequence[Floats]) -> Self:
        """Learn what is usual from contiguous pieces of a series, each [n], without labels."""

    @abstractmethod
    def deviations(self, values: Floats) -> Floats:
        """Return the score of each value, [n]; the first ``memory - 1`` are 0.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            It has learnt nothing.
        """

    def fit(self, frame: pd.DataFrame) -> Self:
        """Learn from the first two thirds of the days, and set the bound on the others."""
        days = frame.sort_values("time_s")
        first = round(len(days) * (1 - _CALIBRATION))
        self.learn([values for values, _ in joined(days.iloc[:first])])
        pieces = joined(days.iloc[first:])
        scores = [self.deviations(values)[CONTEXT:] for values, _ in pieces]
        truth = [labels[CONTEXT:] != "" for _, labels in pieces]
        count = len(days) - first
        self.bounds_ = {
            allowance: bound_for(scores, truth, allowance * count)
            for allowance in sorted((ALLOWANCE, *OTHER_ALLOWANCES))
        }
        self.bound_ = self.bounds_[ALLOWANCE]
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the answer to each row of a frame of requests."""
        asked = zip(frame["values"], frame["timestamps"], frame["step_s"], strict=True)
        found = [self.judge(np.asarray(one), np.asarray(times), step) for one, times, step in asked]
        return pd.DataFrame(found, columns=list(Verdicts._fields), index=frame.index)

    def judge(
        self, values: Floats, timestamps: Floats | None = None, step_s: float = np.nan
    ) -> Verdicts:
        """Return the verdicts on a window of evenly spaced values, [n]."""
        count = len(values)
        times = np.empty(0) if timestamps is None else timestamps
        # What follows is the same in the graph: arithmetic on marks of 0 and 1.
        odd = _odd(times) if len(times) == count else np.zeros(count)
        still = _sums(np.diff(values, prepend=values[0] + 1) == 0, STILL - 1) == STILL - 1
        gap = _sums(odd, self.memory - 1) > 0 if self.memory > 1 else np.zeros(count, np.bool_)
        other_step = abs(step_s - STEP_S) > STEP_TOLERANCE * STEP_S or (odd.sum() == count - 1)
        lengths_differ = len(times) not in (0, count)
        known = np.arange(count) >= self.memory - 1
        judged = known & ~gap & ~still & (not (other_step or lengths_differ))
        score = np.where(judged, self.deviations(values), 0.0)
        bound = np.full(count, self.bound_)
        holds = (True, still.any(), odd.any(), other_step, lengths_differ)
        note = NOTES[max(place for place, one in enumerate(holds) if one)]
        return Verdicts(score > bound, score, bound, judged, note)


class Global(Detector):
    """The distance from the mean of all past values, in their standard deviations.

    Both are of the values as they came: past outliers and the season widen the deviation, behind
    which the next outliers hide.

    Parameters
    ----------
    sigmas
        The bound. It is not set by an allowance.

    Attributes
    ----------
    mean_, deviation_
        Of all values learnt from.
    """

    def __init__(self, sigmas: float = 4.0) -> None:
        self.sigmas = sigmas

    @property
    def memory(self) -> int:
        """How many values a score is made of: the value alone."""
        return 1

    def fit(self, frame: pd.DataFrame) -> Self:
        """Learn from all days."""
        return self.learn([values for values, _ in joined(frame)])

    def learn(self, pieces: Sequence[Floats]) -> Self:
        """Learn mean and standard deviation."""
        values = np.concatenate(pieces)
        self.mean_, self.deviation_ = float(values.mean()), float(values.std()) + TINY
        self.bound_, self.bounds_ = self.sigmas, {}
        return self

    def deviations(self, values: Floats) -> Floats:
        """Return the score of each value, [n]."""
        return np.abs(values - self.mean_) / self.deviation_


class Robust(Detector):
    """The distance from the rolling median in rolling MADs, with the season taken out.

    The season of a value is the median of those at the same time on the three days before. Median
    and MAD (median absolute deviation) are of the ``window`` differences before it: neither an
    outlier of the past nor the value itself widens them.

    Parameters
    ----------
    window
        Over how many differences.
    period
        After how many values the season repeats.

    Attributes
    ----------
    floor_
        The least deviation that a score is divided by: for a series that hardly moves.
    """

    def __init__(self, window: int = VALUES_A_DAY, period: int = VALUES_A_DAY) -> None:
        self.window = window
        self.period = period

    @property
    def memory(self) -> int:
        """How many values a score is made of."""
        return SEASONS * self.period + self.window + 1

    def learn(self, pieces: Sequence[Floats]) -> Self:
        """Learn the least deviation: a quarter of the median one, or of that of a short series."""
        spreads = np.concatenate([self._centre_and_spread(values)[2] for values in pieces])
        if not len(spreads):
            values = np.concatenate(pieces)
            spreads = np.abs(values - np.median(values)) * MAD_TO_DEVIATION
        self.floor_ = float(np.median(spreads)) / 4 + TINY
        return self

    def deviations(self, values: Floats) -> Floats:
        """Return the score of each value, [n]."""
        rest, centre, spread = self._centre_and_spread(values)
        scores = np.zeros(len(values))
        found = np.abs(rest - centre) / np.maximum(spread, self.floor_)
        scores[self.memory - 1 :] = np.minimum(found, HIGHEST)
        return scores

    def _centre_and_spread(self, values: Floats) -> tuple[Floats, Floats, Floats]:
        """Return values without season, and median and deviation of those before them."""
        if len(values) < self.memory:
            return np.empty(0), np.empty(0), np.empty(0)
        days = [
            values[at * self.period : at * self.period - SEASONS * self.period]
            for at in range(SEASONS)
        ]
        rest = values[SEASONS * self.period :] - np.median(days, axis=0)
        before = sliding_window_view(rest[:-1], self.window)
        centre = np.median(before, axis=1)
        spread = np.median(np.abs(before - centre[:, None]), axis=1) * MAD_TO_DEVIATION
        return rest[self.window :], centre, spread


SEASONS = 3
"""The season is the median of so many days."""


class Forecast(Detector):
    """The root mean square of the last errors of a forecast of the next value.

    The forecast is linear in the ``lags`` values before, fitted by ridge regression. The sum of its
    squared errors over a window is the squared length of the window after whitening: the distance
    of a principal component analysis of windows that counts all components alike.

    Parameters
    ----------
    lags
        From how many values the next one is forecast.
    energy
        Over how many errors the mean is taken.
    ridge
        The penalty, as a part of the variance of a lag.

    Attributes
    ----------
    kernel_
        From a value and the ``lags`` before it, the newest first, to its error: [lags + 1]. An
        error is in deviations, by the MAD of those of training.
    offset_
        What is added.
    """

    def __init__(self, lags: int = 16, energy: int = 4, ridge: float = 1e-3) -> None:
        self.lags = lags
        self.energy = energy
        self.ridge = ridge

    @property
    def memory(self) -> int:
        """How many values a score is made of."""
        return self.lags + self.energy

    def learn(self, pieces: Sequence[Floats]) -> Self:
        """Learn the coefficients of the forecast and the size of its errors."""
        longest = [values for values in pieces if len(values) > self.lags]
        rows = np.concatenate([sliding_window_view(values, self.lags + 1) for values in longest])
        mean = float(rows[:, -1].mean())
        past, value = rows[:, -2::-1] - mean, rows[:, -1] - mean
        products = past.T @ past
        penalty = self.ridge * np.trace(products) / self.lags + TINY
        coefficients = np.linalg.solve(products + penalty * np.eye(self.lags), past.T @ value)
        kernel = np.concatenate([[1.0], -coefficients])
        errors = value - past @ coefficients
        scale = MAD_TO_DEVIATION * np.median(np.abs(errors)) + TINY * (1 + value.std())
        self.kernel_ = kernel / scale
        self.offset_ = -mean * float(kernel.sum()) / scale
        return self

    def deviations(self, values: Floats) -> Floats:
        """Return the score of each value, [n]."""
        errors = np.clip(_filtered(values, self.kernel_) + self.offset_, -HIGHEST, HIGHEST)
        errors[: self.lags] = 0
        scores = np.sqrt(_filtered(errors**2, np.full(self.energy, 1 / self.energy)))
        scores[: self.memory - 1] = 0
        return scores


def _filtered(values: npt.ArrayLike, kernel: Floats) -> Floats:
    """Return the product of the kernel with each value and those before it, [n]."""
    found = np.convolve(np.asarray(values, np.float64), kernel)
    return found[: len(found) - len(kernel) + 1]


def _sums(marks: npt.ArrayLike, count: int) -> Floats:
    """Return how many of the last ``count`` marks are set, [n]."""
    return np.round(_filtered(marks, np.ones(count)))


def _odd(timestamps: Floats) -> Floats:
    """Return 1 where a value does not come a step after the one before it, [n]."""
    apart = np.diff(timestamps, prepend=timestamps[0] - STEP_S)
    return (np.abs(apart - STEP_S) > STEP_TOLERANCE * STEP_S).astype(np.float64)


def _candidate(name: str, detector: Detector, description: str) -> Candidate:
    return Candidate(name, detector, detector.get_params(), description)


candidates = (
    _candidate("global", Global(), "a bound of mean and standard deviation of all past values"),
    _candidate("robust", Robust(), "rolling median and MAD, with the season taken out"),
    _candidate("forecast", Forecast(), "errors of a linear forecast over a window"),
)
