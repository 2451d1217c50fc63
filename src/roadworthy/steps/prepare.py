"""Fetch the raw data of a commit, validate it, clean it and hold rows out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roadworthy.bundles import releases
from roadworthy.core.settings import Settings
from roadworthy.data import dvc, validation
from roadworthy.data.validation import DataError
from roadworthy.models import contract
from roadworthy.models.contract import FEWEST_ROWS


@dataclass(frozen=True)
class Counts:
    """How many rows each part has; the dropped ones by reason."""

    rows: int
    train: int
    test: int
    dropped: dict[str, int]

    def __str__(self) -> str:
        """Return it for the terminal."""
        reasons = ", ".join(f"{count} ({reason})" for reason, count in self.dropped.items())
        told = f"{self.train} rows to train on, {self.test} held out"
        return f"{told}, dropped: {reasons or 'none'}"


def prepare(settings: Settings, model: str, commit: str, *, train: Path, test: Path) -> Counts:
    """Write the rows to train on and the hold-out of a commit's data.

    Raises
    ------
    GitError, DvcError
        The remotes do not have the commit, or its data.
    DataError
        The data violates the schema, or is too little.
    """
    with releases.source(settings, commit) as repository:
        raw = dvc.pull(repository, contract.load(model).data)
        return prepare_raw(model, raw, train=train, test=test)


def prepare_raw(model: str, raw: Path, *, train: Path, test: Path) -> Counts:
    """Write the rows to train on and the hold-out of raw data, as the model's dataset keeps them.

    Raises
    ------
    DataError
        The data violates the schema, or is too little.
    """
    chosen = contract.load(model)
    dataset = chosen.dataset
    validated = validation.validate(validation.read(chosen, raw), chosen.schema)
    frame, dropped = chosen.prepare(validated)
    halves = chosen.split(frame)
    counts = Counts(
        dataset.count(validated), dataset.count(halves.train), dataset.count(halves.test), dropped
    )
    for count, name in ((counts.train, "to train on"), (counts.test, "held out")):
        if count < FEWEST_ROWS:
            raise DataError(
                f"Of {dataset.count(frame)} rows only {count} are {name}, {FEWEST_ROWS} are "
                f"required. Give the model more data, or check its split."
            )
    dataset.write(halves.train, train)
    dataset.write(halves.test, test)
    return counts
