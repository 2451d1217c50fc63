"""Intervals that say how much of a figure may be chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95


def mean_interval(values: npt.ArrayLike) -> tuple[float, float]:
    """Return the interval of a mean by Student's t, e.g. of the differences of pairs.

    Both ends are not a number where there are fewer than two values.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < 2:
        return float("nan"), float("nan")
    error = numbers.std(ddof=1) / np.sqrt(len(numbers))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(numbers) - 1) * error)
    return float(numbers.mean()) - half, float(numbers.mean()) + half


def share_interval(hits: npt.ArrayLike) -> tuple[float, float]:
    """Return Wilson's interval of the share of hits."""
    counted = np.asarray(hits, dtype=np.bool_)
    found: Any = stats.binomtest(int(counted.sum()), len(counted)).proportion_ci(
        CONFIDENCE, method="wilson"
    )
    return float(found.low), float(found.high)
