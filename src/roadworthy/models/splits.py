"""Hold rows out, and cut folds: seeded, by subject, by time. Functions that a model may use.

Each returns positions or halves of a frame and keeps the order of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import KFold, TimeSeriesSplit

from roadworthy.models.contract import Split

Positions = npt.NDArray[np.intp]


def seeded(frame: pd.DataFrame, *, share: float, seed: int) -> Split:
    """Hold out a share of the rows by chance, the same for equal data and seed.

    Where rows are added later, or one subject has several rows, use :func:`by_subject`.
    """
    held_out = np.zeros(len(frame), dtype=np.bool_)
    chosen = np.random.default_rng(seed).permutation(len(frame))[: round(share * len(frame))]
    held_out[chosen] = True
    return _split(frame, held_out)


def by_subject(frame: pd.DataFrame, subjects: Sequence[str], *, one_in: int, seed: int) -> Split:
    """Hold out about one in so many subjects, with all of their rows.

    Parameters
    ----------
    subjects
        Whose each row is: a person, a machine. The side depends on this string and the seed alone,
        so no row changes sides when others are added, and no subject is on both.
    """
    return _split(frame, np.array([_bucket(name, seed, one_in) == 0 for name in subjects], bool))


def by_time(frame: pd.DataFrame, times: Sequence[Any], *, share: float) -> Split:
    """Hold out the latest rows, about a share of them. Rows of one time are on one side."""
    values = np.asarray(times)
    count = round(share * len(values))
    late = values >= np.sort(values)[-count] if count else np.zeros(len(values), np.bool_)
    return _split(frame, late)


def k_fold(rows: int, *, folds: int, seed: int) -> Iterator[tuple[Positions, Positions]]:
    """Yield positions to fit on and to test on: each row is tested once."""
    yield from KFold(folds, shuffle=True, random_state=seed).split(np.empty(rows))


def walk_forward(
    times: Sequence[Any], *, folds: int, gap: int = 0
) -> Iterator[tuple[Positions, Positions]]:
    """Yield positions to fit on and to test on, where all to fit on are earlier.

    Parameters
    ----------
    times
        When each row was, in any order. Rows of one time are on one side.
    gap
        How many times to leave out between the two, where a label looks that far ahead.
    """
    values = np.asarray(times)
    distinct = np.unique(values)
    for before, after in TimeSeriesSplit(folds, gap=gap).split(distinct):
        fitted_on = values <= distinct[before[-1]]
        tested_on = (values >= distinct[after[0]]) & (values <= distinct[after[-1]])
        yield np.flatnonzero(fitted_on), np.flatnonzero(tested_on)


def _bucket(subject: str, seed: int, buckets: int) -> int:
    return int(sha256(f"{seed}|{subject}".encode()).hexdigest()[:8], 16) % buckets


def _split(frame: pd.DataFrame, held_out: npt.NDArray[np.bool_]) -> Split:
    return Split(
        train=frame[~held_out].reset_index(drop=True),
        test=frame[held_out].reset_index(drop=True),
    )
