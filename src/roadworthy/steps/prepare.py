"""Clean the raw data and hold rows out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from roadworthy.data.validation import DataError
from roadworthy.models import contract

_FEWEST = 10
"""Below that a cross-validation or a metric of the hold-out says nothing."""


@dataclass(frozen=True)
class Counts:
    """How many rows went where; those that were dropped, by reason."""

    train: int
    test: int
    dropped: dict[str, int]

    def __str__(self) -> str:
        """Return it for the terminal."""
        reasons = ", ".join(f"{count} ({reason})" for reason, count in self.dropped.items())
        told = f"{self.train} rows to train on, {self.test} held out"
        return f"{told}, dropped: {reasons or 'none'}"


def prepare(model: str, validated: Path, *, train: Path, test: Path) -> Counts:
    """Write the rows to train on and the hold-out as Parquet files."""
    chosen = contract.load(model)
    frame, dropped = chosen.prepare(pd.read_parquet(validated))
    halves = chosen.split(frame)
    for part, name in ((halves.train, "to train on"), (halves.test, "held out")):
        if len(part) < _FEWEST:
            raise DataError(
                f"Of {len(frame)} rows only {len(part)} are {name}, {_FEWEST} are needed. "
                f"Give the model more data, or look at its split."
            )
    for part, target in ((halves.train, train), (halves.test, test)):
        target.parent.mkdir(parents=True, exist_ok=True)
        part.to_parquet(target, index=False)
    return Counts(len(halves.train), len(halves.test), dropped)
