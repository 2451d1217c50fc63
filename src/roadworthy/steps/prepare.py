"""Validate the raw data, clean it and hold rows out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roadworthy.data import validation
from roadworthy.data.validation import DataError
from roadworthy.models import contract

_FEWEST = 10
"""Below that a cross-validation or a metric of the hold-out says nothing."""


@dataclass(frozen=True)
class Counts:
    """How many rows the raw data has and went where; those that were dropped, by reason."""

    rows: int
    train: int
    test: int
    dropped: dict[str, int]

    def __str__(self) -> str:
        """Return it for the terminal."""
        reasons = ", ".join(f"{count} ({reason})" for reason, count in self.dropped.items())
        told = f"{self.train} rows to train on, {self.test} held out"
        return f"{told}, dropped: {reasons or 'none'}"


def prepare(model: str, raw: Path, *, train: Path, test: Path) -> Counts:
    """Write the rows to train on and the hold-out of raw data as Parquet files.

    Raises
    ------
    DataError
        The data violates the schema, or is too little.
    """
    chosen = contract.load(model)
    validated = validation.validate(validation.read(chosen, raw), chosen.schema)
    frame, dropped = chosen.prepare(validated)
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
    return Counts(len(validated), len(halves.train), len(halves.test), dropped)
