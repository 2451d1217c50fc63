"""How much evidence there is in requests of which some are repeated."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from roadworthy.bundles.scoring import Columns

_MOST = 10_000
"""The most requests that are remembered. Further ones count as new."""


class EffectiveRows:
    """The number of rows that tell as much as the rows so far, of which some may be repeated.

    It is Kish's effective sample size, ``sum(w)**2 / sum(w**2)``, where ``w`` is how often each
    different row came (L. Kish, Survey Sampling, 1965). Twenty rows that are sent a thousand times
    each are twenty.
    """

    def __init__(self) -> None:
        self._times: dict[int, int] = {}
        self._sum = 0
        self._squares = 0
        self._lock = threading.Lock()

    def add(self, columns: Columns) -> float:
        """Return the number after another request. The rows of one request count as different."""
        key = hash(tuple(_content(columns[name]) for name in sorted(columns)))
        rows = max((len(column) for column in columns.values()), default=0)
        with self._lock:
            before = self._times.get(key, 0)
            if before or len(self._times) < _MOST:
                self._times[key] = before + 1
            self._sum += rows
            self._squares += rows * (2 * before + 1)  # from before**2 to (before + 1)**2
            return self._sum**2 / self._squares if self._squares else 0.0


def _content(column: npt.NDArray[np.generic]) -> object:
    if column.dtype != object:
        return column.tobytes()
    return tuple(
        value.tobytes() if isinstance(value, np.ndarray) else value for value in column.tolist()
    )
